//! The engine against plain single steps, at all thresholds.

mod guest;
#[path = "guest/programs.rs"]
mod programs;
#[path = "guest/random.rs"]
mod random;

use guest::{CALL, CODE, DATA, Guest, NEVER, VECTOR, asm, configs, tiers};
use iced_x86::code_asm::*;
use jit::Config;

/// The state after `insns` plain steps.
fn oracle(code: &[u8], insns: u64) -> String {
    let mut g = Guest::new(code, tiers(NEVER, NEVER));
    g.core.set_budget(insns);
    let mut s = cpu::Interp { c: &mut g.core, bus: &mut g.bus };
    for _ in 0..insns {
        cpu::step(&mut s).unwrap();
    }
    assert_eq!(g.core.left, 0);
    g.state()
}

#[test]
fn odd_programs_end_in_the_same_state_in_every_tier() {
    for (name, code) in programs::odd() {
        for insns in [1000, 60_001] {
            let want = oracle(&code, insns);
            for config in configs() {
                let mut g = Guest::new(&code, config);
                let mut left = insns;
                while left > 0 {
                    g.run(left.min(777));
                    left -= left.min(777);
                }
                assert_eq!(g.state(), want, "{name}, {config:?}");
                let n = g.engine.counters();
                // Code that is overwritten all the time is not compiled.
                let emits = cfg!(target_arch = "x86_64") && config.baseline != NEVER;
                let native = config.threshold != NEVER || emits;
                let compiled = native && insns > 1000 && name != "self-modifying";
                assert!(n.native > 0 || !compiled, "{name} {config:?}: {n:?}");
                assert!(n.native == 0 || native, "{name}: {n:?}");
            }
        }
    }
}

#[test]
fn loops_end_in_the_same_state_at_every_threshold() {
    for (name, code) in programs::all() {
        let want = oracle(&code, 300_000);
        for config in configs() {
            let mut g = Guest::new(&code, config);
            g.run(300_000);
            assert_eq!(g.core.left, 0);
            assert_eq!(g.state(), want, "{name}, {config:?}");
        }
    }
}

#[test]
fn programs_made_by_chance_end_in_the_same_state_in_every_tier() {
    // More on request.
    let many = std::env::var("PROGRAMS").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    for seed in 1..=many {
        let code = random::program(seed);
        let want = oracle(&code, 20_000);
        for config in configs() {
            let mut g = Guest::new(&code, config);
            [1, 7_000, 333, 12_666].into_iter().for_each(|n| g.run(n));
            assert_eq!(g.state(), want, "program {seed}, {config:?}");
        }
    }
}

/// Page tables: each level's is a page after that before it, then one for 2 MiB at a time.
const TABLES: u64 = 0x20_0000;
/// The page behind the first one of code, and where it is every other time.
const SECOND: [u64; 2] = [CODE + 0x1000, CODE + 0x2000];

/// A guest with paging, in a loop whose first instruction goes on in a page that each round maps to another place.
fn remapping(config: Config) -> Guest {
    let code = asm(|a| {
        let mut top = a.create_label();
        a.jmp(top)?;
        a.nops_with_size(0x1000 - 5 - 4)?;
        a.set_label(&mut top)?;
        a.mov(rdx, 0x1122_3344_5566_7788u64)?;
        a.add(rbx, rdx)?;
        a.inc(rcx)?;
        a.xor(qword_ptr(rdi), rsi)?;
        a.invlpg(byte_ptr(r8))?;
        a.jmp(top)
    });
    // There the instruction has another end.
    two_second_pages(&code, config, 0)
}
/// A guest with paging, in a loop that jumps to, calls and comes back from a page which each eighth round maps to another place.
fn visiting(config: Config) -> Guest {
    let code = asm(|a| {
        let (mut top, mut stay, mut back) = (a.create_label(), a.create_label(), a.create_label());
        let (mut routine, mut there) = (a.create_label(), a.create_label());
        a.set_label(&mut top)?;
        a.inc(rcx)?;
        a.test(ecx, 7)?;
        a.jnz(stay)?;
        a.xor(qword_ptr(rdi), rsi)?;
        a.invlpg(byte_ptr(r8))?;
        a.set_label(&mut stay)?;
        // At the second one the page is there.
        a.call(routine)?;
        a.call(routine)?;
        a.test(ecx, 3)?;
        a.jz(there)?;
        a.set_label(&mut back)?;
        a.jmp(top)?;
        a.nops_with_size(0x1000 - 32)?;
        a.set_label(&mut routine)?;
        a.add(rbx, 0x11_2233)?;
        a.ret()?;
        a.set_label(&mut there)?;
        a.rol(rbx, 1)?;
        a.jmp(back)
    });
    // There the routine adds another number.
    let number = 0x11_2233u32.to_le_bytes();
    let at = code.windows(4).position(|w| w == number).unwrap();
    two_second_pages(&code, config, at - 0x1000)
}
/// A guest with paging whose second page of code is in two places, which differ in a byte.
fn two_second_pages(code: &[u8], config: Config, differs: usize) -> Guest {
    let g = paging(code, config, SECOND);
    let ram = g.ram.clone();
    let mut copy = vec![0; code.len() - 0x1000];
    ram.read(SECOND[0], &mut copy).unwrap();
    copy[differs] ^= 0x5a;
    ram.write(SECOND[1], &copy).unwrap();
    g
}
/// A guest with paging. R8 is a page that may be here or there in RAM, RDI where its entry is, and RSI what flips that.
fn paging(code: &[u8], config: Config, page: [u64; 2]) -> Guest {
    let mut g = Guest::new(code, config);
    let ram = g.ram.clone();
    let put = |at: u64, v: u64| ram.write(at, &v.to_le_bytes()).unwrap();
    let present = |to: u64| to | 3;
    put(TABLES, present(TABLES + 0x1000));
    put(TABLES + 0x1000, present(TABLES + 0x2000));
    for n in 0..2 {
        put(TABLES + 0x2000 + 8 * n, present(TABLES + 0x3000 + 0x1000 * n));
    }
    for n in 0..1024 {
        put(TABLES + 0x3000 + 8 * n, present(n << 12));
    }
    let s = &mut g.core.state;
    (s.cr3, s.cr4, s.cr0) = (TABLES, s.cr4 | 1 << 5, s.cr0 | 1 << 31);
    s.gpr[7] = TABLES + 0x3000 + 8 * (page[0] >> 12);
    s.gpr[6] = page[0] ^ page[1];
    s.gpr[8] = page[0];
    g.core.refresh();
    g
}
/// Runs it in all tiers, which end in the state that plain steps do.
fn same_everywhere(make: impl Fn(Config) -> Guest) {
    let insns = 20_000;
    let mut o = make(tiers(NEVER, NEVER));
    o.core.set_budget(insns);
    let mut s = cpu::Interp { c: &mut o.core, bus: &mut o.bus };
    (0..insns).for_each(|_| cpu::step(&mut s).unwrap());
    let want = o.state();
    for config in configs() {
        let mut g = make(config);
        g.run(insns);
        assert_eq!(g.state(), want, "{config:?}");
    }
}

#[test]
fn an_instruction_goes_on_where_its_second_page_is_now() {
    same_everywhere(remapping);
}

#[test]
fn a_jump_goes_to_where_its_page_is_now() {
    same_everywhere(visiting);
}

/// So far apart, pages are in each other's way in the TLB.
const APART: u64 = 16 << 20;

#[test]
fn pages_in_each_others_place_are_all_there() {
    const PAGES: [u64; 2] = [0x14_0000, 0x14_2000];
    // Behind the jump.
    const ROUTINE: u64 = CODE + 2;
    let code = asm(|a| {
        let (mut start, mut top, mut stay) = (a.create_label(), a.create_label(), a.create_label());
        a.jmp(start)?;
        a.rol(rbx, 1)?;
        a.xor(rbx, rcx)?;
        a.ret()?;
        a.set_label(&mut start)?;
        a.mov(r10, APART)?;
        a.set_label(&mut top)?;
        a.inc(rcx)?;
        a.call(ROUTINE)?;
        a.call(ROUTINE + APART)?;
        a.lea(rax, qword_ptr(r10 + ROUTINE as i32))?;
        a.call(rax)?;
        a.inc(qword_ptr(r8 + 8))?;
        a.lock().add(qword_ptr(r8 + r10 + 8), rbx)?;
        a.mov(qword_ptr(r8 + 0x10), rcx)?;
        a.add(rbx, qword_ptr(r8 + r10 + 0x10))?;
        a.mov(qword_ptr(r8 + r10 + 0x18), rbx)?;
        a.xor(rbx, qword_ptr(r8 + 8))?;
        a.test(ecx, 15)?;
        a.jnz(stay)?;
        a.xor(qword_ptr(rdi), rsi)?;
        a.invlpg(byte_ptr(r8))?;
        a.invlpg(byte_ptr(r8 + r10))?;
        a.set_label(&mut stay)?;
        a.jmp(top)
    });
    same_everywhere(|config| {
        let g = paging(&code, config, PAGES);
        let entry = (TABLES + 0x3000) | 3;
        g.ram.write(TABLES + 0x2000 + 8 * (APART >> 21), &entry.to_le_bytes()).unwrap();
        g
    });
}

#[test]
fn the_stack_is_where_its_page_is_now_and_may_go_across_its_end() {
    const STACK: [u64; 2] = [0x14_0000, 0x14_2000];
    let code = asm(|a| {
        let (mut top, mut callee) = (a.create_label(), a.create_label());
        a.set_label(&mut top)?;
        a.lea(rsp, qword_ptr(r8 + 0x800))?;
        a.push(rcx)?;
        a.push(rbx)?;
        a.add(rbx, qword_ptr(rsp + 8))?;
        a.pop(rax)?;
        a.xor(qword_ptr(rdi), rsi)?;
        a.invlpg(byte_ptr(r8))?;
        a.add(rbx, qword_ptr(rsp))?;
        a.push(rax)?;
        a.call(callee)?;
        a.pop(rdx)?;
        a.add(rbx, rdx)?;
        a.lea(rsp, qword_ptr(r8 + 0x100c))?;
        a.push(rcx)?;
        a.push(rbx)?;
        a.inc(dword_ptr(rsp - 0x10))?;
        a.add(dword_ptr(rsp + 3), ebx)?;
        a.call(callee)?;
        a.pop(rax)?;
        a.add(rdx, rax)?;
        a.pop(r9)?;
        a.inc(rcx)?;
        a.jmp(top)?;
        a.set_label(&mut callee)?;
        a.sti()?;
        a.lock().bts(qword_ptr(rsp - 0x20), rcx)?;
        a.adc(rbx, 0)?;
        a.cli()?;
        a.lock().cmpxchg(qword_ptr(rsp - 0x28), rbx)?;
        a.cmovne(rdx, rax)?;
        a.bzhi(r10, rbx, rcx)?;
        a.sete(r11b)?;
        a.shrd(rdx, r10, 9)?;
        a.ret()
    });
    same_everywhere(|config| paging(&code, config, STACK));
}

#[test]
fn a_kernel_may_use_the_stack_of_a_user_while_it_says_so() {
    const USERS: [u64; 2] = [0x14_0000, 0x14_2000];
    let code = asm(|a| {
        let mut top = a.create_label();
        a.set_label(&mut top)?;
        a.stac()?;
        a.lea(rsp, qword_ptr(r8 + 0x800))?;
        a.push(rcx)?;
        a.add(rbx, qword_ptr(rsp))?;
        a.clac()?;
        a.lea(r10, qword_ptr(r8 + 0x7f8))?;
        a.cmp(rcx, 700)?;
        a.mov(rsp, r9)?;
        a.cmove(rsp, r10)?;
        a.add(rbx, qword_ptr(rsp))?;
        a.inc(rcx)?;
        a.jmp(top)
    });
    let make = |config| {
        let mut g = paging(&code, config, USERS);
        for level in 0..3 {
            let at = TABLES + 0x1000 * level;
            g.ram.write(at, &((at + 0x1000) | 7).to_le_bytes()).unwrap();
        }
        let at = g.core.state.gpr[7];
        g.ram.write(at, &(USERS[0] | 7).to_le_bytes()).unwrap();
        (g.core.state.gpr[1], g.core.state.gpr[9]) = (0, DATA);
        g.core.state.cr4 |= 1 << 21;
        g.core.refresh();
        g
    };
    let mut o = make(tiers(NEVER, NEVER));
    o.core.set_budget(20_000);
    let mut s = cpu::Interp { c: &mut o.core, bus: &mut o.bus };
    while cpu::step(&mut s).is_ok() {}
    assert_eq!(o.core.state.gpr[1], 700);
    let want = o.state();
    for config in configs() {
        let mut g = make(config);
        g.core.set_budget(20_000);
        let fault = g.engine.run_to_fault(&mut g.core, &mut g.bus);
        assert_eq!(fault.map(|f| f.vector), Some(14), "{config:?}");
        assert_eq!(g.state(), want, "{config:?}");
    }
}

/// Where the handler of interrupts is.
const HANDLER: u64 = CODE + 0x800;

/// A guest that holds interrupts off and lets them in, in many ways. Its handler adds up where it interrupted.
fn interrupted(config: Config) -> Guest {
    const IDT: u64 = DATA + 0x8000;
    const GDT: u64 = DATA + 0x9000;
    let code = asm(|a| {
        let mut top = a.create_label();
        a.set_label(&mut top)?;
        a.cli()?;
        a.inc(r15)?;
        a.out(CALL as u32, al)?;
        a.inc(r14)?;
        a.sti()?;
        a.inc(r13)?;
        a.inc(r13)?;
        a.cli()?;
        a.out(CALL as u32, al)?;
        a.sti()?;
        a.cli()?;
        a.inc(r12)?;
        a.sti()?;
        a.sti()?;
        a.rdtsc()?;
        a.add(r11, rax)?;
        a.cli()?;
        a.sti()?;
        a.out(CALL as u32, al)?;
        a.inc(r8)?;
        a.pushfq()?;
        a.cli()?;
        a.stac()?;
        a.inc(rsi)?;
        a.clac()?;
        a.popfq()?;
        a.inc(rdi)?;
        a.mov(cx, ss)?;
        a.sti()?;
        a.mov(ss, cx)?;
        a.inc(rbp)?;
        a.jmp(top)
    });
    let handler = asm(|a| {
        a.imul_3(r9, r9, 31)?;
        a.add(r9, qword_ptr(rsp))?;
        a.inc(r10)?;
        a.iretq()
    });
    let mut g = Guest::new(&code, config);
    assert!(code.len() < 0x800);
    let put = |at: u64, v: u64| g.ram.write(at, &v.to_le_bytes()).unwrap();
    g.ram.write(HANDLER, &handler).unwrap();
    put(GDT + 8, 0x00af_9b00_0000_ffff);
    put(GDT + 16, 0x00cf_9300_0000_ffff);
    put(IDT + 16 * VECTOR as u64, HANDLER & 0xffff | 8 << 16 | 0x8e00 << 32 | HANDLER >> 16 << 48);
    let s = &mut g.core.state;
    (s.gdtr.base, s.gdtr.limit, s.idtr.base, s.idtr.limit) = (GDT, 0x17, IDT, 0xfff);
    (s.seg[1].sel, s.seg[2].sel) = (8, 16);
    g
}

/// What a machine does when the engine is back: it tells the core of the interrupt, which also comes every so often.
fn see_to(g: &mut Guest) {
    const OFTEN: u64 = 97;
    g.bus.called |= g.core.left == 0 && g.core.retired() % OFTEN == 0;
    g.bus.attention = false;
    g.core.intr = g.bus.called;
}

#[test]
fn interrupts_come_between_the_same_instructions_in_every_tier() {
    let insns = 97 * 300;
    let mut o = interrupted(tiers(NEVER, NEVER));
    o.core.set_budget(0);
    while o.core.retired() < insns {
        o.core.set_budget(1);
        while o.core.left > 0 {
            cpu::step_with_events(&mut cpu::Interp { c: &mut o.core, bus: &mut o.bus });
            see_to(&mut o);
        }
    }
    assert!(o.core.state.gpr[10] > insns / 97, "the handler ran");
    let want = o.state();
    for config in configs() {
        let mut g = interrupted(config);
        g.core.set_budget(0);
        while g.core.retired() < insns {
            g.core.set_budget(97);
            while g.core.left > 0 {
                g.engine.run(&mut g.core, &mut g.bus);
                // An interrupt that was taken wants attention (see the bus) before the handler begins.
                let rip = g.core.state.rip;
                let late = g.core.left > 0 && (HANDLER + 1..HANDLER + 0x100).contains(&rip);
                assert!(!late, "{rip:x} {config:?}");
                see_to(&mut g);
            }
        }
        assert_eq!(g.state(), want, "{config:?}");
    }
}

#[test]
fn a_core_that_did_not_run_for_long_knows_what_became_code_meanwhile() {
    const PAGES: u64 = 1100;
    const FIRST: u64 = 0x40_0000;
    const STEP: u64 = 0x1000;
    for config in configs() {
        // In each page: inc rax, and a jump to the next one. The last one goes on to the first.
        let mut g = Guest::new(&[0x90], config);
        for n in 0..PAGES {
            let at = FIRST + n * STEP;
            let to = FIRST + (n + 1) % PAGES * STEP;
            let distance = (to.wrapping_sub(at + 8) as i32).to_le_bytes();
            g.ram.write(at, &[&[0x48, 0xff, 0xc0, 0xe9][..], &distance].concat()).unwrap();
        }
        // The other core: mov [rdi], al; jmp back to it.
        let store = [0x88, 0x07, 0xeb, 0xfc];
        g.ram.write(CODE, &store).unwrap();
        let mut other = cpu::Core::new(1, g.ram.clone(), g.core.model.clone());
        other.state = g.core.state.clone();
        let s = &mut other.state;
        (s.rip, s.gpr[7], s.gpr[0]) = (CODE, FIRST + STEP + 2, 0xc0);
        other.refresh();
        let mut write = |g: &mut Guest, byte: u64| {
            other.state.gpr[0] = byte;
            other.set_budget(20);
            g.engine.run(&mut other, &mut g.bus);
        };
        write(&mut g, 0xc0);
        g.core.state.rip = FIRST;
        g.run(2 * PAGES * 3);
        assert_eq!(g.core.state.gpr[0], PAGES * 3, "{config:?}");
        // dec rax
        write(&mut g, 0xc8);
        g.run(2 * PAGES);
        assert_eq!(g.core.state.gpr[0], PAGES * 4 - 2, "{config:?}");
    }
}

#[test]
fn exits_are_counted_by_their_causes() {
    for cranelift in [false, true] {
        let mut g = Guest::new(&programs::device(), Config { cranelift, ..tiers(50, 0) });
        (0..100).for_each(|_| g.run(777));
        let n = g.engine.counters();
        if cfg!(not(target_arch = "x86_64")) && !cranelift {
            continue;
        }
        let sorted = n.short + n.pages + n.not_ram + n.crossings;
        // Each of the runs ends one way or the other; regions give up earlier, and may be tried again.
        assert!(n.short + n.over >= 100, "{n:?}");
        assert!(n.not_ram > 100 && sorted <= n.side_exits, "{n:?}");
        assert!(cranelift || n.hot > 0 && n.hot <= n.events && n.baseline_nanos > 0, "{n:?}");
        assert!(n.memory_used > 0 && n.memory_used <= n.memory, "{n:?}");
        let report = g.engine.report(memory::TlbCounts::default());
        let fallen = report.split("left to tier 0").nth(1).unwrap_or_default();
        let has = |name: &str| fallen.lines().any(|l| l.split_whitespace().next() == Some(name));
        // The first that uses the device, after which tier 0 does the block's rest; and the one that the interpreter does.
        assert!(has("mov") && has("rdtsc") && !has("jmp"), "{report}");
    }
}

#[test]
fn the_budget_is_exact_at_every_count() {
    for (name, code) in programs::all() {
        for config in configs() {
            let mut g = Guest::new(&code, config);
            let mut o = Guest::new(&code, tiers(NEVER, NEVER));
            for n in 0..300 {
                g.run(n);
                assert_eq!(g.core.left, 0);
                o.core.set_budget(n);
                let mut s = cpu::Interp { c: &mut o.core, bus: &mut o.bus };
                (0..n).for_each(|_| cpu::step(&mut s).unwrap());
                assert_eq!(g.core.state.rip, o.core.state.rip, "{name} {n} {config:?}");
                assert_eq!(g.core.state.gpr, o.core.state.gpr, "{name} {n} {config:?}");
                assert_eq!(g.core.state.flags(), o.core.state.flags(), "{name} {n} {config:?}");
            }
        }
    }
}

#[test]
fn upper_halves_that_32_bit_code_cannot_name_stay() {
    // vzeroupper; dec ecx; jnz back; jmp here
    let code = [0xc5, 0xf8, 0x77, 0x49, 0x75, 0xfa, 0xeb, 0xfe];
    let run = |config| {
        let mut g = Guest::new(&code, config);
        let s = &mut g.core.state;
        s.msr.efer = 0;
        s.seg[1].attr = 0xc09b00;
        s.gpr[1] = 9;
        s.ymm = [[3, 7]; 16];
        g.core.refresh();
        g.run(40);
        let upper = g.core.state.ymm.map(|r| r[1]);
        assert_eq!(upper, std::array::from_fn(|n| if n < 8 { 0 } else { 7 }), "{config:?}");
    };
    configs().for_each(run);
}
