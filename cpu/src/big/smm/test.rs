use crate::event::{Event, pending, runnable};
use crate::testing::Bench;
use crate::{Activity, Stopped, step};

/// A core in protected mode at 0x1000 with an RSM at the handler's entry.
fn bench() -> Bench {
    let mut b = Bench::new();
    b.put(0x3_8000, &[0x0F, 0xAA]);
    let s = &mut b.core.state;
    s.seg[1] = crate::Segment { sel: 8, attr: 0xC0_9B00, limit: !0, base: 0 };
    s.seg[2] = crate::Segment { sel: 16, attr: 0xC0_9300, limit: !0, base: 0 };
    s.cr0 = 0x11;
    s.rip = 0x1000;
    s.gpr = std::array::from_fn(|n| 0x1111_0000_0000 * n as u64 + n as u64);
    s.set_flags(0x246);
    b.core.refresh();
    b
}

#[test]
fn a_handler_that_does_nothing_leaves_no_trace() {
    let mut b = bench();
    b.core.state.smi_pending = true;
    let before = b.core.state.clone();
    assert_eq!(pending(&mut b.interp()), Some(Event::Smi));
    let s = &b.core.state;
    assert!(s.smm && s.nmi_blocked && !s.smi_pending);
    assert_eq!((s.rip, s.seg[1].base, s.seg[3].limit, s.cr0 & 1), (0x8000, 0x3_0000, !0, 0));
    assert_eq!(b.core.mode.bits(), 16);
    // The revision, SMBASE, RIP and RAX where firmware looks for them.
    let at = |n: u64| b.get_u64(0x3_8000 + n);
    assert_eq!((at(0x7EFC) as u32, at(0x7F00) as u32), (0x2_0064, 0x3_0000));
    assert_eq!((at(0x7F78), at(0x7FF0), at(0x7FF8)), (0x1000, 0x1111_0000_0001, 0));
    b.core.state.gpr = [7; 16];
    step(&mut b.interp()).unwrap();
    b.core.state.settle();
    assert_eq!(b.core.state, crate::State { smi_pending: false, ..before });
}

#[test]
fn smbase_moves_and_a_second_interrupt_waits() {
    let mut b = bench();
    b.core.state.smi_pending = true;
    pending(&mut b.interp());
    b.put_u32(0x3_FF00, 0x8_0000);
    b.core.state.smi_pending = true;
    assert_eq!(pending(&mut b.interp()), None);
    step(&mut b.interp()).unwrap();
    assert_eq!(b.core.state.msr.smbase, 0x8_0000);
    assert_eq!(pending(&mut b.interp()), Some(Event::Smi));
    assert_eq!((b.core.state.seg[1].base, b.core.state.seg[1].sel), (0x8_0000, 0x8000));
    b.core.state.init_pending = true;
    assert_eq!(pending(&mut b.interp()), None, "INIT waits, too");
}

#[test]
fn a_halted_core_wakes_and_sleeps_on() {
    let mut b = bench();
    b.core.set_activity(Activity::Halted);
    b.core.state.smi_pending = true;
    assert!(runnable(&b.core));
    pending(&mut b.interp());
    assert_eq!(b.core.activity(), Activity::Running);
    step(&mut b.interp()).unwrap();
    assert_eq!(b.core.activity(), Activity::Halted);
    b.core.state.smi_pending = true;
    pending(&mut b.interp());
    b.put(0x3_FEC9, &[0]);
    step(&mut b.interp()).unwrap();
    assert_eq!(b.core.activity(), Activity::Running, "unless the handler says otherwise");
}

#[test]
fn rsm_is_no_instruction_outside_and_checks_what_it_loads() {
    let mut b = bench();
    b.put(0x1000, &[0x0F, 0xAA]);
    match step(&mut b.interp()) {
        Err(Stopped::Fault(e)) => assert_eq!(e, crate::Exception::UD),
        other => panic!("{other:?}"),
    }
    // CR0 with paging but no protection; CR4 and EFER with bits that are not there.
    for (at, value) in [(0x7F58, 0x8000_0000), (0x7F48, 1 << 31), (0x7ED0, 1 << 20)] {
        let mut b = bench();
        b.core.state.smi_pending = true;
        pending(&mut b.interp());
        b.put_u64(0x3_8000 + at, value);
        step(&mut b.interp()).unwrap();
        assert_eq!(b.core.activity(), Activity::Shutdown, "{at:#x}");
        assert!(!b.core.state.smm && b.core.state.check().is_ok());
    }
}
