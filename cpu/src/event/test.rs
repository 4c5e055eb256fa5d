use super::*;
use crate::testing::Bench;
use crate::{Boundary, step_with_events};

const IDT: u64 = 0x60000;

fn gate(b: &mut Bench, vector: u64, kind: u64, sel: u64, to: u64, dpl: u64, ist: u64) {
    let low = to & 0xffff
        | sel << 16
        | ist << 32
        | (0x80 | dpl << 5 | kind) << 40
        | (to >> 16 & 0xffff) << 48;
    if b.core.state.long() {
        b.put_u64(IDT + 16 * vector, low);
        b.put_u64(IDT + 16 * vector + 8, to >> 32);
    } else {
        b.put_u64(IDT + 8 * vector, low);
    }
    (b.core.state.idtr.base, b.core.state.idtr.limit) = (IDT, 0xfff);
}
fn stack<const N: usize>(b: &Bench, w: u64) -> [u64; N] {
    let sp = b.core.state.gpr[4];
    std::array::from_fn(|n| match w {
        8 => b.get_u64(sp + 8 * n as u64),
        4 => b.get_u32(sp + 4 * n as u64) as u64,
        _ => b.get_u32(sp + 2 * n as u64) as u16 as u64,
    })
}
fn long(cpl: u8) -> Bench {
    let mut b = Bench::new();
    b.long(0x1000, cpl);
    b.table();
    b
}
fn flat(cpl: u8) -> Bench {
    let mut b = Bench::new();
    b.flat32(0x1000, cpl);
    b.table();
    b
}

#[test]
fn real_mode_pushes_six_bytes() {
    let mut b = Bench::new();
    b.real(0x1234);
    b.put(0xd * 4, &[0x00, 0x20, 0x10, 0x00]);
    b.core.state.rflags |= flags::IF;
    deliver(&mut b.interp(), Exception::gp(0));
    assert_eq!(b.core.state.seg[1].base, 0x100);
    assert_eq!((b.core.state.rip, b.core.state.gpr[4]), (0x2000, 0x7ffa));
    assert_eq!(stack(&b, 2), [0x1234, 0, 0x0202]);
    assert_eq!(b.core.state.rflags & flags::IF, 0);
}

#[test]
fn thirty_two_bit_gates() {
    let mut b = flat(0);
    gate(&mut b, 13, 14, 8, 0x2000, 0, 0);
    deliver(&mut b.interp(), Exception::gp(0x18));
    assert_eq!(stack(&b, 4), [0x18, 0x1000, 8, 0x10002]);
    assert_eq!((b.core.state.rip, b.core.state.gpr[4]), (0x2000, 0x8ff0));
    // From privilege 3 the stack of the task state is used.
    let mut b = flat(3);
    gate(&mut b, 14, 15, 8, 0x2000, 0, 0);
    b.core.state.rflags |= flags::IF;
    deliver(&mut b.interp(), Exception::pf(6, 0xdead_0000));
    assert_eq!(stack(&b, 4), [6, 0x1000, 0x1b, 0x10202, 0x9000, 0x23]);
    let s = &b.core.state;
    assert_eq!((s.cpl, s.cr2, s.seg[2].sel, s.gpr[4]), (0, 0xdead_0000, 0x10, 0xa000 - 24));
    assert_ne!(s.rflags & flags::IF, 0, "a trap gate leaves IF");
    // A 16-bit gate pushes words.
    let mut b = flat(0);
    gate(&mut b, 6, 6, 8, 0x2000, 0, 0);
    deliver(&mut b.interp(), Exception::UD);
    assert_eq!(stack(&b, 2), [0x1000, 8, 2]);
}

#[test]
fn long_mode_gates_align_the_stack_and_have_stacks_of_their_own() {
    let mut b = long(0);
    b.core.state.gpr[4] = 0x9009;
    gate(&mut b, 6, 14, 8, 0x2000, 0, 0);
    deliver(&mut b.interp(), Exception::UD);
    assert_eq!(stack(&b, 8), [0x1000, 8, 0x10002, 0x9009, 0x10]);
    assert_eq!(b.core.state.gpr[4], 0x9000 - 40);
    let mut b = long(3);
    gate(&mut b, 13, 14, 8, 0x2000, 0, 3);
    deliver(&mut b.interp(), Exception::gp(5));
    // IST 3 is at offset 0x34: the seventh of the bench's stacks.
    assert_eq!(b.core.state.gpr[4], 0xa600 - 48);
    assert_eq!(stack(&b, 8), [5, 0x1000, 0x1b, 0x10002, 0x9000, 0x23]);
    assert_eq!((b.core.state.seg[2].sel, b.core.state.cpl), (0, 0));
}

#[test]
fn gates_that_are_wrong_make_the_faults_of_the_manual() {
    // What a user's INT n raises, by gate: (kind, selector, DPL, present) -> exception.
    let vector = 0x40u64;
    #[rustfmt::skip]
    let rows: &[(u64, u64, u64, Exception)] = &[
        (14, 8, 0, Exception::gp(0x202)),       // privilege
        (12, 8, 3, Exception::gp(0x202)),       // a call gate
        (14, 0, 3, Exception::gp(0)),           // a null selector
        (14, 0x10, 3, Exception::gp(0x10)),     // not code
        (14, 0xff8 + 8, 3, Exception::gp(0x1000)), // outside the table
    ];
    for &(kind, sel, dpl, want) in rows {
        for mode in [flat as fn(u8) -> Bench, long] {
            let mut b = mode(3);
            gate(&mut b, vector, kind, sel, 0x2000, dpl, 0);
            b.put(0x1000, &[0xcd, vector as u8]);
            let got = crate::step(&mut b.interp());
            assert_eq!(got, Err(crate::Stopped::Fault(want)), "{kind} {sel:#x} {dpl}");
            assert_eq!(b.core.state.rip, 0x1000);
        }
    }
    // The limit, and a gate that is not present; an external event sets EXT.
    let mut b = long(3);
    gate(&mut b, 0x40, 14, 8, 0x2000, 3, 0);
    b.core.state.idtr.limit = 0x40f - 1;
    assert!(inject(&mut b.interp(), 0x40, None, Cause::External).is_err());
    assert_eq!(b.core.fault, Exception::gp(0x203));
    let mut b = long(3);
    gate(&mut b, 0x40, 14, 8, 0x2000, 3, 0);
    let d = b.get_u64(IDT + 0x400) & !(1 << 47);
    b.put_u64(IDT + 0x400, d);
    assert!(inject(&mut b.interp(), 0x40, None, Cause::Software).is_err());
    assert_eq!(b.core.fault, Exception::np(0x202));
    // Only 64-bit code may handle in long mode.
    let mut b = long(3);
    gate(&mut b, 0x40, 14, 0x28, 0x2000, 3, 0);
    assert!(inject(&mut b.interp(), 0x40, None, Cause::Software).is_err());
    assert_eq!(b.core.fault, Exception::gp(0x28));
}

#[test]
fn double_faults_and_the_end() {
    // #NP gate missing while #GP is delivered: #DF. A page fault over a #GP: served one after the other.
    let mut b = long(0);
    gate(&mut b, 8, 14, 8, 0x2000, 0, 0);
    deliver(&mut b.interp(), Exception::gp(0x55));
    assert_eq!((b.core.state.rip, stack(&b, 8)), (0x2000, [0, 0x1000]));
    // A benign one first: #UD without a gate is #GP with the vector's index.
    let mut b = long(0);
    gate(&mut b, 13, 14, 8, 0x3000, 0, 0);
    deliver(&mut b.interp(), Exception::UD);
    assert_eq!((b.core.state.rip, stack(&b, 8)), (0x3000, [6 * 8 + 3, 0x1000]));
    // A page fault on the stack, over a page fault.
    let mut b = long(3);
    gate(&mut b, 14, 14, 8, 0x2000, 0, 0);
    gate(&mut b, 8, 14, 8, 0x4000, 0, 1);
    b.put_u64(0x6f004, 0x8000_0000);
    deliver(&mut b.interp(), Exception::pf(4, 0x1111));
    assert_eq!((b.core.state.rip, b.core.state.cr2), (0x4000, 0x7fff_fff8));
    // Nothing at all: shutdown.
    let mut b = long(0);
    b.core.state.idtr.limit = 0;
    deliver(&mut b.interp(), Exception::UD);
    assert_eq!(b.core.activity(), Activity::Shutdown);
    assert_eq!(b.bus.complaints.len(), 1);
    assert!(!runnable(&b.core));
    // INIT gets it out.
    b.core.state.init_pending = true;
    assert_eq!(pending(&mut b.interp()), Some(Event::Init));
    assert_eq!((b.core.state.rip, b.core.activity()), (0xfff0, Activity::Running));
}

#[test]
fn application_processors_wait_for_a_startup_message() {
    let mut b = Bench::new();
    power_on(&mut b.core, false);
    assert!(!runnable(&b.core));
    // INIT and the message may both have come before it looks.
    b.core.state.init_pending = true;
    b.core.state.sipi = 0x19a;
    assert_eq!(pending(&mut b.interp()), Some(Event::Init));
    assert_eq!(pending(&mut b.interp()), Some(Event::Startup));
    let s = &b.core.state;
    assert_eq!((s.seg[1].sel, s.seg[1].base, s.rip), (0x9a00, 0x9a000, 0));
}

#[test]
fn events_come_in_order() {
    let mut b = long(0);
    for v in [1, 2, 0x30] {
        gate(&mut b, v, 14, 8, 0x2000 + 0x100 * v, 0, 0);
    }
    b.core.state.rflags |= flags::IF;
    b.core.state.pending_debug = BS;
    b.core.state.nmi_pending = true;
    (b.core.intr, b.bus.vector) = (true, Some(0x30));
    assert_eq!(pending(&mut b.interp()), Some(Event::Debug));
    assert_eq!(pending(&mut b.interp()), Some(Event::Nmi));
    assert_eq!(b.core.state.rip, 0x2200);
    assert_eq!(pending(&mut b.interp()), None, "interrupt gates cleared IF");
    b.core.state.rflags |= flags::IF;
    assert_eq!(pending(&mut b.interp()), Some(Event::Interrupt(0x30)));
    assert_eq!(b.core.state.rip, 0x2000 + 0x3000);
}

#[test]
fn iret_goes_back_and_unblocks_nmi() {
    // 64-bit, to privilege 3, with SS:RSP.
    let mut b = long(0);
    b.put(0x1000, &[0x48, 0xcf]);
    b.core.state.nmi_blocked = true;
    for (n, v) in [0x5000, 0x1b, 0x3202, 0x8888, 0x23].into_iter().enumerate() {
        b.put_u64(0x9000 + 8 * n as u64, v);
    }
    assert_eq!(step_with_events(&mut b.interp()), Boundary::Retired);
    let s = &b.core.state;
    assert_eq!((s.rip, s.cpl, s.gpr[4], s.flags()), (0x5000, 3, 0x8888, 0x3202));
    assert!(!s.nmi_blocked);
    // A null SS is fine at privilege 0 only; a code selector with the wrong privilege is not.
    for (cs, ss, want) in [
        (8, 0, None),
        (0x1b, 3, Some(Exception::GP0)),
        (0, 0x10, Some(Exception::GP0)),
        (0x18, 0x23, Some(Exception::gp(0x18))),
        (0x1b, 0x10, Some(Exception::gp(0x10))),
        (0x10, 0x10, Some(Exception::gp(0x10))),
        (0x1ff8, 0x10, Some(Exception::gp(0x1ff8))),
    ] {
        let mut b = long(0);
        b.put(0x1000, &[0x48, 0xcf]);
        for (n, v) in [0x5000, cs, 2, 0x8888, ss].into_iter().enumerate() {
            b.put_u64(0x9000 + 8 * n as u64, v);
        }
        let got = crate::step(&mut b.interp()).err().map(|crate::Stopped::Fault(e)| e);
        assert_eq!(got, want, "cs {cs:#x} ss {ss:#x}");
    }
}

#[test]
fn virtual_8086_mode_and_back() {
    let mut b = flat(0);
    gate(&mut b, 13, 14, 8, 0x2000, 0, 0);
    b.put(0x1000, &[0xcf]);
    let frame = [0x100, 0x2000, 0x20202, 0xfff0, 0x3000, 0x4000, 0x5000, 0x6000, 0x7000];
    for (n, v) in frame.into_iter().enumerate() {
        b.put_u32(0x9000 + 4 * n as u64, v);
    }
    assert_eq!(step_with_events(&mut b.interp()), Boundary::Retired);
    assert!(b.core.state.vm86());
    assert_eq!((b.core.state.cpl, b.core.state.seg[2].base), (3, 0x30000));
    // CLI with IOPL 0 is #GP(0): the monitor finds all segments on its stack.
    b.put(0x20100, &[0xfa]);
    let got = step_with_events(&mut b.interp());
    assert_eq!(got, Boundary::Faulted(Exception::GP0));
    assert_eq!(
        stack(&b, 4),
        [0, 0x100, 0x2000, 0x30202, 0xfff0, 0x3000, 0x4000, 0x5000, 0x6000, 0x7000]
    );
    assert_eq!(b.core.state.seg[3].attr, 0);
    assert!(!b.core.state.vm86());
}

#[test]
fn a_task_gate_switches_tasks_and_iret_comes_back() {
    let mut b = flat(0);
    // Descriptors: 0x38 the running task, 0x40 the handler's.
    b.put_u64(0x6e038, 0x0000_8b06_f000_0067);
    b.put_u64(0x6e040, 0x0000_8906_d000_0067);
    b.put(0x6d000, &[0; 0x68]);
    b.put_u32(0x6d020, 0x2000);
    b.put_u32(0x6d024, 2);
    b.put_u32(0x6d038, 0x7f00);
    for (n, sel) in [0x10, 8, 0x10, 0x10, 0, 0].into_iter().enumerate() {
        b.put_u32(0x6d048 + 4 * n as u64, sel);
    }
    gate(&mut b, 13, 5, 0x40, 0, 0, 0);
    b.core.state.gpr[0] = 0x1111;
    deliver(&mut b.interp(), Exception::gp(0x77));
    let s = &b.core.state;
    assert_eq!((s.rip, s.gpr[0], s.gpr[4], s.tr.sel), (0x2000, 0, 0x7efc, 0x40));
    assert_eq!(b.get_u32(0x7efc), 0x77);
    assert_ne!(s.rflags & flags::NT, 0);
    assert_ne!(s.cr0 & 8, 0);
    assert_eq!(b.get_u32(0x6d000) & 0xffff, 0x38);
    assert_eq!((b.get_u32(0x6f020), b.get_u32(0x6f028)), (0x1000, 0x1111));
    assert_eq!((b.get_u64(0x6e038) >> 40 & 15, b.get_u64(0x6e040) >> 40 & 15), (11, 11));
    b.put(0x2000, &[0xcf]);
    assert_eq!(step_with_events(&mut b.interp()), Boundary::Retired);
    let s = &b.core.state;
    assert_eq!((s.rip, s.gpr[0], s.tr.sel), (0x1000, 0x1111, 0x38));
    assert_eq!(s.rflags & flags::NT, 0);
    assert_eq!(b.get_u64(0x6e040) >> 40 & 15, 9, "no longer busy");
}

#[test]
fn call_gates_and_far_returns_change_privilege() {
    let mut b = flat(3);
    // Gate at 0x38: privilege 3 may call 8:3000, two parameters.
    b.put_u64(0x6e038, 0x0000_ec02_0008_3000);
    b.put(0x1000, &[0x9a, 0, 0, 0, 0, 0x3b, 0]);
    b.put_u32(0x9000, 0xaaaa);
    b.put_u32(0x9004, 0xbbbb);
    assert_eq!(step_with_events(&mut b.interp()), Boundary::Retired);
    assert_eq!((b.core.state.cpl, b.core.state.rip), (0, 0x3000));
    assert_eq!(stack(&b, 4), [0x1007, 0x1b, 0xaaaa, 0xbbbb, 0x9000, 0x23]);
    // retf 8
    b.put(0x3000, &[0xca, 8, 0]);
    b.core.state.seg[3] = b.core.state.seg[2];
    assert_eq!(step_with_events(&mut b.interp()), Boundary::Retired);
    let s = &b.core.state;
    assert_eq!((s.cpl, s.rip, s.gpr[4], s.seg[2].sel), (3, 0x1007, 0x9008, 0x23));
    assert_eq!(s.seg[3].sel, 0, "a segment of privilege 0 became null");
    // 64-bit: eight-byte frame, null SS.
    let mut b = long(3);
    b.put_u64(0x6e038, 0x0000_ec00_0008_3000);
    b.put_u64(0x6e040, 0);
    b.put(0x1000, &[0xff, 0x1c, 0x25, 0, 0x50, 0, 0]); // call far [0x5000]
    b.put(0x5000, &[0, 0, 0, 0, 0x3b, 0]);
    assert_eq!(step_with_events(&mut b.interp()), Boundary::Retired);
    assert_eq!(stack(&b, 8), [0x1007, 0x1b, 0x9000, 0x23]);
    assert_eq!((b.core.state.seg[2].sel, b.core.state.gpr[4]), (0, 0xa000 - 32));
}

#[test]
fn syscall_and_sysret() {
    let mut b = long(3);
    let m = &mut b.core.state.msr;
    (m.star, m.lstar, m.sfmask) = (0x0013_0008 << 32, 0x2000, flags::IF);
    b.core.state.rflags |= flags::IF;
    b.put(0x1000, &[0x0f, 0x05]);
    b.put(0x2000, &[0x48, 0x0f, 0x07]);
    assert_eq!(step_with_events(&mut b.interp()), Boundary::Retired);
    let s = &b.core.state;
    assert_eq!((s.rip, s.cpl, s.gpr[1], s.gpr[11]), (0x2000, 0, 0x1002, 0x202));
    assert_eq!((s.seg[1].sel, s.seg[2].sel, s.rflags & flags::IF), (8, 0x10, 0));
    assert_eq!(step_with_events(&mut b.interp()), Boundary::Retired);
    let s = &b.core.state;
    assert_eq!((s.rip, s.cpl, s.flags()), (0x1002, 3, 0x202));
    assert_eq!((s.seg[1].sel, s.seg[2].sel), (0x23, 0x1b));
}

#[test]
fn sysret_with_tf_traps_at_once_and_gs_keeps_its_base() {
    let mut b = long(0);
    gate(&mut b, 1, 14, 8, 0x3000, 0, 0);
    b.core.state.msr.star = 0x0013_0008 << 32;
    (b.core.state.gpr[1], b.core.state.gpr[11]) = (0x1002, 0x302);
    b.core.state.seg[5].base = 0x1234_5678_9abc;
    // SYSRET wants user code after user data.
    b.put_u64(0x6e018, 0x00cf_f300_0000_ffff);
    b.put_u64(0x6e020, 0x00af_fb00_0000_ffff);
    b.put(0x1000, &[0x48, 0x0f, 0x07]);
    assert_eq!(step_with_events(&mut b.interp()), Boundary::Retired);
    assert_eq!(step_with_events(&mut b.interp()), Boundary::Took(Event::Debug));
    assert_eq!((b.core.state.rip, stack(&b, 8)), (0x3000, [0x1002, 0x23]));
    // IRET to privilege 3 takes the kernel's GS away, not its base.
    b.put(0x3000, &[0x48, 0xcf]);
    assert_eq!(step_with_events(&mut b.interp()), Boundary::Retired);
    let gs = b.core.state.seg[5];
    assert_eq!((gs.sel, gs.attr, gs.base), (0, 0, 0x1234_5678_9abc));
}

#[test]
fn segment_loads_are_checked() {
    use crate::SegReg::*;
    #[rustfmt::skip]
    let rows: &[(u8, crate::SegReg, u16, Option<Exception>)] = &[
        (0, Ds, 0x10, None),
        (0, Ds, 0, None),
        (0, Ss, 0, Some(Exception::GP0)),
        (0, Ss, 0x13, Some(Exception::gp(0x10))),   // RPL
        (0, Ss, 8, Some(Exception::gp(8))),         // code
        (0, Ds, 0x1000, Some(Exception::gp(0x1000))),
        (0, Ds, 0x14, Some(Exception::gp(0x14))),   // no LDT
        (3, Ds, 0x13, Some(Exception::gp(0x10))),   // privilege
        (3, Ds, 0x23, None),
        (0, Es, 0x38, Some(Exception::np(0x38))),   // not present
        (0, Ss, 0x38, Some(Exception::ss(0x38))),
        (0, Fs, 0x40, Some(Exception::gp(0x40))),   // execute only
    ];
    for &(cpl, reg, sel, want) in rows {
        let mut b = flat(cpl);
        b.put_u64(0x6e038, 0x00cf_1300_0000_ffff);
        b.put_u64(0x6e040, 0x00cf_9900_0000_ffff);
        let got = b.interp().load_segment(reg, sel).err().map(|_| b.core.fault);
        assert_eq!(got, want, "{reg:?} {sel:#x}");
    }
    // In 64-bit mode a kernel's SS may be null.
    let mut b = long(0);
    assert!(b.interp().load_segment(Ss, 0).is_ok());
    assert!(b.interp().load_segment(Ss, 3).is_err());
}
