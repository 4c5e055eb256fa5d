//! The x87 unit in all tiers: what is in the host's unit must be in the core whenever somebody looks.

mod guest;

use cpu::{Exception, Interp};
use guest::{CODE, Chance, DATA, DEVICE, Guest, NEVER, asm, configs, tiers};
use iced_x86::IcedError;
use iced_x86::code_asm::*;
use jit::Config;

type Written = Result<(), IcedError>;

/// What programs compute with: integers, and floats of three sizes.
const NUMBERS: u64 = DATA + 0x1000;
/// Where they put results: those of one round behind those of the one before, so that none is lost.
const RESULTS: u64 = DATA + 0x40000;
const RESULTS_END: i32 = 0x1_0000;
/// Where they save the unit.
const SAVED: u64 = DATA + 0x3000;

/// A guest in a loop of these instructions. RBX points to numbers, RDI to where results go, RSI to where the unit is saved.
fn guest(config: Config, write: &dyn Fn(&mut CodeAssembler) -> Written) -> Guest {
    let code = asm(|a| {
        let mut top = a.create_label();
        a.set_label(&mut top)?;
        a.inc(qword_ptr(rbx))?;
        a.sub(rdi, RESULTS as i32 - 0x80)?;
        a.and(rdi, RESULTS_END - 1)?;
        a.add(rdi, RESULTS as i32)?;
        write(a)?;
        a.jmp(top)
    });
    let mut g = Guest::new(&code, config);
    let put = |n: u64, b: &[u8]| g.ram.write(NUMBERS + n, b).unwrap();
    put(0, &3u64.to_le_bytes());
    put(8, &(-7.25f64).to_le_bytes());
    put(16, &1.5f32.to_le_bytes());
    put(32, &0xc90f_daa2_2168_c235u64.to_le_bytes());
    put(40, &0x4000u16.to_le_bytes());
    let s = &mut g.core.state;
    // NE, and the unit is there.
    s.cr0 |= 1 << 5 | 1 << 1;
    (s.gpr[3], s.gpr[7], s.gpr[6], s.gpr[5]) = (NUMBERS, RESULTS, SAVED, DEVICE);
    g.core.refresh();
    g
}

/// A handler of an exception, behind the program.
const HANDLER: u64 = CODE + 0x800;
const IDT: u64 = DATA + 0x8000;
const GDT: u64 = DATA + 0x9000;
fn handle(g: &mut Guest, vector: u64, write: &dyn Fn(&mut CodeAssembler) -> Written) {
    g.ram.write(HANDLER, &asm(|a| write(a))).unwrap();
    let put = |at: u64, v: u64| g.ram.write(at, &v.to_le_bytes()).unwrap();
    put(GDT + 8, 0x00af_9b00_0000_ffff);
    put(GDT + 16, 0x00cf_9300_0000_ffff);
    put(IDT + 16 * vector, HANDLER & 0xffff | 8 << 16 | 0x8e00 << 32 | HANDLER >> 16 << 48);
    let s = &mut g.core.state;
    (s.gdtr.base, s.gdtr.limit, s.idtr.base, s.idtr.limit) = (GDT, 0x17, IDT, 0xfff);
    (s.seg[1].sel, s.seg[2].sel) = (8, 16);
}

/// What changes most.
fn registers(g: &Guest) -> String {
    let s = &g.core.state;
    format!("{:x?} rip={:x} flags={:x} {:x?}", s.gpr, s.rip, s.flags(), s.fpu)
}

/// Has every tier run the guest in pieces of many sizes; after each its state must be that of single steps.
fn same(make: &dyn Fn(Config) -> Guest, native: bool) {
    const PIECES: u64 = 60;
    let size = |n: u64| n * 37 % 211;
    let mut o = make(tiers(NEVER, NEVER));
    let mut want = Vec::new();
    for n in 0..PIECES {
        o.core.set_budget(size(n));
        while o.core.left > 0 {
            cpu::step_with_events(&mut Interp { c: &mut o.core, bus: &mut o.bus });
        }
        want.push(registers(&o));
    }
    for config in configs() {
        let mut g = make(config);
        for n in 0..PIECES {
            g.run(size(n));
            assert_eq!(registers(&g), want[n as usize], "piece {n}, {config:?}");
        }
        assert_eq!(g.state(), o.state(), "{config:?}");
        let n = g.engine.counters();
        let emits = cfg!(target_arch = "x86_64") && config.baseline != NEVER;
        assert!(!native || !emits || n.native > n.tier0, "{config:?} {n:?}");
    }
}
fn same_loop(write: &dyn Fn(&mut CodeAssembler) -> Written) {
    same(&|config| guest(config, write), true);
}

/// Something of everything that computes, with operands of all kinds.
fn compute(a: &mut CodeAssembler) -> Written {
    a.fild(qword_ptr(rbx))?;
    a.fmul(qword_ptr(rbx + 8))?;
    a.fld(tbyte_ptr(rbx + 32))?;
    a.fdivrp(st1, st0)?;
    a.fadd(dword_ptr(rbx + 16))?;
    a.fld(st0)?;
    a.fabs()?;
    a.fsqrt()?;
    a.fst(dword_ptr(rdi))?;
    a.fxch(st0, st1)?;
    a.frndint()?;
    a.fisttp(word_ptr(rdi + 8))?;
    a.fist(dword_ptr(rdi + 12))?;
    a.fld1()?;
    a.fcomip(st0, st1)?;
    a.setb(al)?;
    a.cmovne(rcx, rbx)?;
    a.fldpi()?;
    a.cmp(byte_ptr(rbx), 0x40)?;
    a.fcmovb(st0, st1)?;
    a.fcmovnu(st0, st1)?;
    a.fcom_2(st0, st1)?;
    a.fnstsw(ax)?;
    a.fnstcw(word_ptr(rdi + 20))?;
    a.fstp(tbyte_ptr(rdi + 32))?;
    a.fxam()?;
    a.fnstsw(word_ptr(rdi + 22))?;
    a.fstp(qword_ptr(rdi + 48))
}

#[test]
fn what_computes_does_so_in_every_tier() {
    same_loop(&compute);
}

#[test]
fn the_stack_may_be_empty_or_full() {
    same_loop(&|a| {
        a.fld1()?;
        a.fldz()?;
        a.fadd_2(st0, st3)?;
        a.fxch(st0, st5)?;
        a.ffree(st2)?;
        a.fincstp()?;
        a.test(byte_ptr(rbx), 7)?;
        let mut skip = a.create_label();
        a.jne(skip)?;
        a.fstp(st4)?;
        a.fcompp()?;
        a.fucomi(st0, st2)?;
        a.pushfq()?;
        a.pop(rcx)?;
        a.fdecstp()?;
        a.set_label(&mut skip)?;
        a.fnop()
    });
}

#[test]
fn the_core_has_the_state_where_code_is_left_in_the_middle_of_a_block() {
    same_loop(&|a| {
        compute(a)?;
        a.fldpi()?;
        a.mov(dword_ptr(rbp), eax)?; // a device
        a.fadd_2(st0, st0)?;
        a.rdtsc()?;
        a.fstp(qword_ptr(rbp + 8))?; // the same
        a.fld1()?;
        a.fsin()?; // the interpreter's
        a.fstp(qword_ptr(rdi + 56))
    });
}

#[test]
fn mmx_registers_are_those_of_the_unit() {
    same_loop(&|a| {
        a.fld(tbyte_ptr(rbx + 32))?;
        a.fld(st0)?;
        a.paddd(mm7, qword_ptr(rbx))?;
        a.movq(qword_ptr(rdi), mm6)?;
        a.fstp(tbyte_ptr(rdi + 16))?;
        a.movq2dq(xmm1, mm7)?;
        a.emms()?;
        a.fild(dword_ptr(rbx))?;
        a.fstp(tbyte_ptr(rdi + 32))
    });
}

#[test]
fn what_saves_the_state_sees_it() {
    same_loop(&|a| {
        compute(a)?;
        a.fldpi()?;
        a.fxsave64(ptr(rsi))?;
        a.fadd_2(st0, st0)?;
        a.mov(eax, 3)?;
        a.xor(edx, edx)?;
        a.xsave(ptr(rsi + 0x200))?;
        a.fmul(qword_ptr(rbx + 8))?;
        a.fnsave(ptr(rsi + 0x800))?;
        a.fld1()?;
        a.frstor(ptr(rsi + 0x800))?;
        a.fstp(tbyte_ptr(rdi + 64))?;
        a.fldl2e()?;
        a.fxrstor64(ptr(rsi))?;
        a.fstp(tbyte_ptr(rdi + 80))?;
        a.fldlg2()?;
        a.xrstor(ptr(rsi + 0x200))?;
        a.fnstenv(ptr(rsi + 0x900))?;
        a.fstp(tbyte_ptr(rdi + 96))
    });
}

#[test]
fn a_control_word_that_lets_exceptions_through_is_obeyed() {
    let make = |config| {
        let mut g = guest(config, &|a| {
            a.mov(word_ptr(rdi + 4), 0x0f7f)?; // rounds towards zero
            a.fldcw(word_ptr(rdi + 4))?;
            compute(a)?;
            a.mov(word_ptr(rdi + 6), 0x037b)?; // a division by zero is an exception
            a.fldcw(word_ptr(rdi + 6))?;
            a.fld1()?;
            a.fldz()?;
            a.fdivp(st1, st0)?;
            a.inc(r9)?;
            a.wait()?;
            a.mov(word_ptr(rdi + 4), 0x037f)?;
            a.fldcw(word_ptr(rdi + 4))?;
            a.fstp(qword_ptr(rdi + 8))
        });
        handle(&mut g, 16, &|a| {
            a.inc(r10)?;
            a.fnstenv(ptr(rsi))?;
            a.fnclex()?;
            a.iretq()
        });
        g
    };
    same(&make, false);
    let mut g = make(tiers(NEVER, 0));
    g.run(5000);
    assert!(g.core.state.gpr[10] > 20, "the handler ran");
}

#[test]
fn another_task_gets_the_unit_when_it_first_needs_it() {
    let make = |config| {
        let mut g = guest(config, &|a| {
            a.fld(tbyte_ptr(rbx + 32))?;
            a.fiadd(dword_ptr(rbx))?;
            a.mov(rcx, cr0)?;
            a.or(rcx, 8)?; // TS
            a.mov(cr0, rcx)?;
            a.inc(r9)?;
            a.fld(st0)?; // #NM
            a.fstp(qword_ptr(rdi))?;
            a.fstp(qword_ptr(rdi + 8))
        });
        handle(&mut g, 7, &|a| {
            a.clts()?;
            a.inc(r10)?;
            a.fxsave64(ptr(rsi))?;
            a.xor(rsi, 0x400)?;
            a.fxrstor64(ptr(rsi))?;
            a.iretq()
        });
        g.ram.write(SAVED + 0x400, &0x37fu64.to_le_bytes()).unwrap();
        g.ram.write(SAVED + 0x400 + 24, &0x1f80u64.to_le_bytes()).unwrap();
        g
    };
    same(&make, false);
    let mut g = make(tiers(NEVER, 0));
    g.run(5000);
    assert!(g.core.state.gpr[10] > 20, "the handler ran");
}

/// Page tables: each level's is a page after that before it.
const TABLES: u64 = 0x20_0000;
/// A page that is not there, and one that is not to be written.
const HOLE: u64 = DATA + 0x20000;
const ROM: u64 = DATA + 0x22000;

/// With paging; the store goes to another place in round 100.
fn faulting(config: Config, to: u64, store: &dyn Fn(&mut CodeAssembler) -> Written) -> Guest {
    let mut g = guest(config, &|a| {
        compute(a)?;
        a.fldl2t()?;
        a.fld1()?;
        a.mov(r11, rdi)?;
        a.cmp(dword_ptr(rbx), 103)?;
        a.cmove(r11, r8)?;
        a.fadd_2(st1, st0)?;
        store(a)?;
        a.fcompp()
    });
    let ram = g.ram.clone();
    let put = |at: u64, v: u64| ram.write(at, &v.to_le_bytes()).unwrap();
    for level in 0..3 {
        put(TABLES + 0x1000 * level, TABLES + 0x1000 * (level + 1) | 3);
    }
    for n in 0..512 {
        let right = if n << 12 == ROM { 1 } else { 3 };
        put(TABLES + 0x3000 + 8 * n, if n << 12 == HOLE { 0 } else { n << 12 | right });
    }
    let s = &mut g.core.state;
    (s.cr3, s.cr4, s.cr0) = (TABLES, s.cr4 | 1 << 5, s.cr0 | 1 << 31 | 1 << 16);
    s.gpr[8] = to;
    g.core.refresh();
    g
}

#[test]
fn a_fault_of_an_operand_leaves_the_unit_as_it_was() {
    type Write<'a> = &'a dyn Fn(&mut CodeAssembler) -> Written;
    let stores: [Write<'_>; 6] = [
        &|a| a.fstp(dword_ptr(r11)),
        &|a| a.fstp(tbyte_ptr(r11)),
        &|a| a.fisttp(qword_ptr(r11)),
        &|a| a.fnstsw(word_ptr(r11)),
        &|a| a.fld(qword_ptr(r11)),
        &|a| a.fidiv(word_ptr(r11)),
    ];
    // The page itself; across its beginning; no address at all; what may be read.
    for to in [HOLE, HOLE - 1, 0x8000_0000_0000_0000, ROM + 8] {
        for (n, store) in stores.iter().enumerate() {
            let mut o = faulting(tiers(NEVER, NEVER), to, store);
            o.core.set_budget(10_000);
            let mut want: Option<Exception> = None;
            while o.core.left > 0 && want.is_none() {
                let mut s = Interp { c: &mut o.core, bus: &mut o.bus };
                if cpu::step(&mut s).is_err() {
                    want = Some(o.core.fault);
                }
            }
            assert_eq!(want.is_some(), to != ROM + 8 || n < 4, "{n}");
            for config in configs() {
                let mut g = faulting(config, to, store);
                g.core.set_budget(10_000);
                let got = g.engine.run_to_fault(&mut g.core, &mut g.bus);
                assert_eq!(got, want, "{to:x} {n} {config:?}");
                assert_eq!(g.state(), o.state(), "{to:x} {n} {config:?}");
            }
        }
    }
}

#[test]
fn the_host_gets_its_unit_back() {
    let mut g = guest(tiers(NEVER, 0), &|a| a.fldpi());
    g.run(1000);
    #[cfg(target_arch = "x86_64")]
    assert!(g.engine.counters().native > 900);
    assert_eq!((g.core.state.fpu.empty, g.core.state.fpu.sw & 0x41), (0, 0x41));
}

/// A state of the unit with numbers of all kinds. Three of four mask all exceptions.
fn random_unit(next: &mut dyn FnMut() -> u64) -> cpu::Fpu {
    let mut f = cpu::Fpu::default();
    for n in 0..8 {
        let r = next();
        let near = 0x3fff + (r >> 8) as u16 % 67 - 2;
        (f.sig[n], f.sexp[n]) = match r % 16 {
            0 => (0, 0),
            1 => (1 << 63, 0x7fff),
            2 => (3 << 62 | next() >> 2, 0x7fff),
            3 => (1 << 63 | next() >> 2, 0x7fff),
            4 => (next() >> 1, 0),
            5 => (next() >> 1, near),
            6 => (next() | 1 << 63, (r >> 8) as u16),
            7 => (1 << 63, near),
            _ => (next() | 1 << 63, near),
        };
        f.sexp[n] |= (r >> 32 & 1) as u16 * 0x8000;
    }
    let r = next();
    let masks = if r & 3 == 0 { r >> 4 & 0x3f } else { 0x3f };
    f.cw = (r >> 16) as u16 & 0x1f00 | 0x40 | masks as u16;
    f.sw = (r >> 32) as u16 & 0x4700 & !0x3800;
    (f.top, f.empty) = ((r >> 48) as u8 & 7, (r >> 51) as u8 & (r >> 55) as u8);
    f
}

#[test]
fn every_opcode_does_the_same_to_the_unit_and_its_notes() {
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let mut next = || chance.next();
    // With [RBX], and the registers.
    let forms = (0..8).map(|n| 8 * n + 3).chain(0xc0..=0xffu8);
    for (opcode, form) in (0xd8..=0xdfu8).flat_map(|o| forms.clone().map(move |f| (o, f))) {
        // inc rcx; the instruction; inc rcx; nop; a jump to itself
        let code = [0x48, 0xff, 0xc1, opcode, form, 0x48, 0xff, 0xc1, 0x90, 0xeb, 0xfe];
        let mut g = Guest::new(&code, tiers(NEVER, 0));
        let mut o = Guest::new(&code, tiers(NEVER, NEVER));
        for _ in 0..24 {
            let (fpu, data) = (random_unit(&mut next), [next(), next() & next()]);
            for g in [&mut g, &mut o] {
                let s = &mut g.core.state;
                (s.fpu, s.rip, s.cr0) = (fpu.clone(), CODE, s.cr0 | 1 << 5);
                (s.gpr[3], s.gpr[1], s.gpr[0]) = (NUMBERS, data[0], data[1]);
                s.set_flags(2 | data[0] & 0x8d5);
                for n in 0..16 {
                    g.ram.write(NUMBERS + 8 * n, &data[n as usize & 1].to_le_bytes()).unwrap();
                }
                g.core.set_budget(5);
            }
            let got = g.engine.run_to_fault(&mut g.core, &mut g.bus);
            let mut want = None;
            while o.core.left > 0 && want.is_none() {
                let mut s = Interp { c: &mut o.core, bus: &mut o.bus };
                want = cpu::step(&mut s).is_err().then_some(()).map(|()| o.core.fault);
            }
            let memory = |g: &Guest| -> Vec<_> {
                (0..16).map(|n| g.ram.read_u64(NUMBERS + 8 * n).unwrap()).collect()
            };
            assert_eq!((got, registers(&g)), (want, registers(&o)), "{opcode:x} {form:x} {fpu:x?}");
            assert_eq!(memory(&g), memory(&o), "{opcode:x} {form:x} {fpu:x?}");
        }
    }
}
