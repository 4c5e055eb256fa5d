use super::*;
use crate::Segment;
use crate::testing::Bench;

fn run_bytes(b: &mut Bench, at: u64, code: &[u8], steps: usize) -> Boundary {
    b.put(at, code);
    let mut last = Boundary::Asleep;
    for _ in 0..steps {
        last = step_with_events(&mut b.interp());
    }
    last
}

/// What these bytes raise in 64-bit mode at privilege `cpl`.
fn raises(cpl: u8, setup: impl FnOnce(&mut crate::State), code: &[u8]) -> Option<Exception> {
    let mut b = Bench::new();
    b.long(0x1000, cpl);
    b.put(0x1000, code);
    setup(&mut b.core.state);
    b.core.refresh();
    match step(&mut b.interp()) {
        Ok(()) => None,
        Err(Stopped::Fault(e)) => Some(e),
    }
}

#[test]
fn privileged_instructions_are_gp_and_unknown_ones_ud() {
    let gp = Some(Exception::GP0);
    let ud = Some(Exception::UD);
    #[rustfmt::skip]
    let rows: &[(&[u8], Option<Exception>)] = &[
        (&[0xf4], gp),                          // hlt
        (&[0x0f, 0x20, 0xc0], gp),              // mov rax, cr0
        (&[0x0f, 0x21, 0xf8], gp),              // mov rax, dr7
        (&[0x0f, 0x30], gp),                    // wrmsr
        (&[0x0f, 0x32], gp),                    // rdmsr
        (&[0x0f, 0x01, 0x38], gp),              // invlpg [rax]
        (&[0x0f, 0x01, 0xf8], gp),              // swapgs
        (&[0x0f, 0x06], gp),                    // clts
        (&[0x0f, 0x09], gp),                    // wbinvd
        (&[0x0f, 0x00, 0xd8], gp),              // ltr ax
        (&[0xfa], gp),                          // cli
        (&[0xe4, 0x60], gp),                    // in al, 0x60
        (&[0x0f, 0x01, 0xca], ud),              // clac
        (&[0x0f, 0x01, 0xc8], ud),              // monitor
        (&[0x0f, 0x01, 0xc1], ud),              // vmcall, the other vendor's
        (&[0x0f, 0x01, 0xd9], None),            // vmmcall
        (&[0x0f, 0x0b], ud),                    // ud2
        (&[0xf0, 0x90], ud),                    // lock nop
        (&[0x62, 0xf1, 0x7c, 0x48, 0x58, 0xc0], ud), // vaddps zmm0, zmm0, zmm0
        (&[0xf3, 0x0f, 0x1e, 0xfa], None),      // endbr64 is a hint
        (&[0x0f, 0x31], None),                  // rdtsc
        (&[0xf3, 0x90], None),                  // pause
    ];
    for (code, want) in rows {
        assert_eq!(raises(3, |_| {}, code), *want, "{code:02x?}");
    }
    assert_eq!(raises(3, |s| s.cr4 |= 4, &[0x0f, 0x31]), gp, "rdtsc with TSD");
    assert_eq!(raises(3, |s| s.cr4 |= 1 << 11, &[0x0f, 0x01, 0xe0]), gp, "smsw with UMIP");
    assert_eq!(raises(3, |_| {}, &[0x0f, 0x01, 0xe0]), None, "smsw");
}

#[test]
fn units_that_are_switched_off_are_nm_or_ud() {
    let (nm, ud) = (Some(Exception::NM), Some(Exception::UD));
    let fxsave: &[u8] = &[0x0f, 0xae, 0x04, 0x25, 0, 0x20, 0, 0];
    assert_eq!(raises(0, |s| s.cr0 |= 8, fxsave), nm);
    assert_eq!(raises(0, |s| s.cr0 |= 4, fxsave), nm);
    assert_eq!(raises(0, |_| {}, fxsave), None);
    let stmxcsr: &[u8] = &[0x0f, 0xae, 0x1c, 0x25, 0, 0x20, 0, 0];
    assert_eq!(raises(0, |_| {}, stmxcsr), ud, "without OSFXSR");
    assert_eq!(raises(0, |s| s.cr4 |= 0x200, stmxcsr), None);
    assert_eq!(raises(0, |s| (s.cr4, s.cr0) = (s.cr4 | 0x200, s.cr0 | 8), stmxcsr), nm);
    let xgetbv: &[u8] = &[0x0f, 0x01, 0xd0];
    assert_eq!(raises(0, |s| s.gpr[1] = 0, xgetbv), ud);
    let on = |s: &mut crate::State| s.cr4 |= 1 << 18;
    assert_eq!(raises(0, |s| (on(s), s.gpr[1] = 0).0, xgetbv), None);
    assert_eq!(raises(0, |s| (on(s), s.gpr[1] = 9).0, xgetbv), Some(Exception::GP0));
}

#[test]
fn control_register_writes_are_checked() {
    let gp = Some(Exception::GP0);
    let cr = |n: u8| [0x0f, 0x22, 0xc0 | n << 3];
    let set = |v: u64| move |s: &mut crate::State| s.gpr[0] = v;
    #[rustfmt::skip]
    let rows: &[(u8, u64, Option<Exception>)] = &[
        (0, 0x8000_0031, None),
        (0, 0x8000_0030, gp),           // PG without PE
        (0, 0xa000_0031, gp),           // NW without CD
        (0, 0x0000_0031, gp),           // no paging in 64-bit mode
        (0, 1 << 32, gp),
        (3, 1 << 45, gp),               // beyond the address width
        (3, 0x70018, None),
        (4, 0x20, None),
        (4, 0, gp),                     // PAE stays on
        (4, 0x20 | 1 << 13, gp),        // VMXE
        (4, 0x20 | 1 << 12, gp),        // LA57 in long mode
        (4, 0x20 | 1 << 17, None),      // PCIDE
        (4, 1 << 33, gp),
        (2, 5, None),
        (5, 0, Some(Exception::UD)),
    ];
    for &(n, v, want) in rows {
        assert_eq!(raises(0, set(v), &cr(n)), want, "cr{n} = {v:#x}");
    }
    // CR3[11:0] must be zero for PCIDE to be set.
    assert_eq!(raises(0, |s| (s.cr3, s.gpr[0]) = (0x70001, 0x20020), &cr(4)), gp);
    // DR7 and DR6 have 32 bits; GD makes #DB.
    assert_eq!(raises(0, set(1 << 32), &[0x0f, 0x23, 0xf8]), gp);
    let guarded = |s: &mut crate::State| s.dr7 |= 1 << 13;
    assert_eq!(raises(0, guarded, &[0x0f, 0x21, 0xf8]), Some(Exception::db(0x2000)));
    assert_eq!(raises(0, |s| s.cr4 |= 8, &[0x0f, 0x21, 0xe0]), Some(Exception::UD), "dr4, DE");
}

#[test]
fn msrs_know_their_reserved_bits() {
    let gp = Some(Exception::GP0);
    let w = |msr: u64, v: u64| {
        raises(
            0,
            |s| (s.gpr[1], s.gpr[0], s.gpr[2]) = (msr, v & 0xffff_ffff, v >> 32),
            &[0x0f, 0x30],
        )
    };
    assert_eq!(w(0xc000_0080, 0xd01), None);
    assert_eq!(w(0xc000_0080, 0x801), gp, "LME cannot change under paging");
    assert_eq!(w(0xc000_0080, 0x1d01), gp, "SVME");
    assert_eq!(w(0xc000_0082, 1 << 60), gp);
    assert_eq!(w(0x277, 2), gp);
    assert_eq!(w(0x400, 5), gp);
    assert_eq!(w(0x401, 1), gp);
    assert_eq!(w(0x400 + 40, 0), gp);
    assert_eq!(w(0x1234, 0), gp);
    assert_eq!(w(0xda0, 1 << 8), gp);
    assert_eq!(w(0x3b, 77), None);
}

#[test]
fn single_stepping_traps_after_each_instruction() {
    let mut b = Bench::new();
    b.real(0x1000);
    b.put(4, &[0x00, 0x20, 0, 0]); // vector 1: 0:2000
    b.core.state.rflags |= flags::TF;
    b.core.refresh();
    assert_eq!(run_bytes(&mut b, 0x1000, &[0x90, 0x90], 1), Boundary::Retired);
    assert_eq!(run_bytes(&mut b, 0x2000, &[0xcf], 1), Boundary::Took(Event::Debug));
    assert_eq!((b.core.state.rip, b.core.state.dr6 & 0xffff), (0x2000, 0x4ff0));
    assert_eq!(b.core.retired(), 2, "the instruction and the trap");
    // IRET brings TF back; the trap comes after the instruction that follows it.
    assert_eq!(run_bytes(&mut b, 0x2000, &[0xcf], 1), Boundary::Retired);
    assert_eq!(b.core.state.rip, 0x1001);
    assert_eq!(step_with_events(&mut b.interp()), Boundary::Retired);
    assert_eq!(step_with_events(&mut b.interp()), Boundary::Took(Event::Debug));
}

#[test]
fn instruction_breakpoints_come_before_and_rf_gets_past_them() {
    let mut b = Bench::new();
    b.real(0x1000);
    b.put(4, &[0x00, 0x20, 0, 0]);
    b.core.state.dr[0] = 0x1000;
    b.core.state.dr7 = 0x401;
    b.core.refresh();
    assert_eq!(run_bytes(&mut b, 0x1000, &[0x90], 1), Boundary::Took(Event::Debug));
    assert_eq!((b.core.state.rip, b.core.state.dr6 & 0xf), (0x2000, 1));
    b.real(0x1000);
    b.core.state.rflags |= flags::RF;
    assert_eq!(run_bytes(&mut b, 0x1000, &[0x90], 1), Boundary::Retired);
    assert_eq!(b.core.state.rflags & flags::RF, 0);
}

#[test]
fn mov_ss_suppresses_instruction_breakpoints_with_intel_only() {
    for (vendor, want) in [("AMD", Boundary::Took(Event::Debug)), ("Intel", Boundary::Retired)] {
        let name = if vendor == "AMD" { "Opteron_G1" } else { "Conroe" };
        let mut b = Bench::new();
        b.core.model = std::sync::Arc::new(crate::big::cpuid::Model::parse(name).unwrap());
        b.real(0x1000);
        b.put(4, &[0x00, 0x20, 0, 0]);
        b.core.state.dr[0] = 0x1002;
        b.core.state.dr7 = 0x401;
        b.core.refresh();
        // mov ss, ax; nop
        assert_eq!(run_bytes(&mut b, 0x1000, &[0x8e, 0xd0, 0x90], 2), want, "{vendor}");
    }
}

#[test]
fn hypercalls_are_answered_as_kvm_does() {
    // vmmcall
    let call = |cpl: u8, number: u64, suffix: &str| {
        let mut b = Bench::new();
        let model = format!("max{suffix}");
        b.core.model = std::sync::Arc::new(crate::big::cpuid::Model::parse(&model).unwrap());
        b.long(0x1000, cpl);
        b.put(0x1000, &[0x0f, 0x01, 0xd9]);
        b.core.state.gpr[0] = number;
        b.core.state.gpr[3] = 0b101;
        b.core.state.gpr[1] = 1;
        b.core.state.gpr[2] = 4;
        b.core.state.gpr[6] = 0x4030;
        let done = step(&mut b.interp()).is_ok();
        let sent = std::mem::take(&mut b.bus.ipis);
        (done.then_some(b.core.state.gpr[0] as i64), sent)
    };
    assert_eq!(call(0, 99, ""), (Some(-1000), vec![]));
    assert_eq!(call(3, 10, ""), (Some(-1), vec![]));
    assert_eq!(call(0, 99, ",-hypervisor"), (None, vec![]));
    let want = vec![(4, 0x4030), (6, 0x4030), (68, 0x4030)];
    assert_eq!(call(0, 10, ""), (Some(3), want));
}

#[test]
fn sti_and_mov_ss_hold_interrupts_off_for_one_instruction() {
    let mut b = Bench::new();
    b.real(0x1000);
    b.put(0x21 * 4, &[0x00, 0x30, 0, 0]);
    b.bus.vector = Some(0x21);
    b.core.intr = true;
    // sti; nop; nop
    assert_eq!(run_bytes(&mut b, 0x1000, &[0xfb, 0x90, 0x90], 2), Boundary::Retired);
    assert_eq!(b.core.state.rip, 0x1002);
    assert_eq!(step_with_events(&mut b.interp()), Boundary::Took(Event::Interrupt(0x21)));
    assert_eq!((b.core.state.rip, b.core.state.rflags & flags::IF), (0x3000, 0));
    // mov ss, ax; nop: even an NMI waits
    b.real(0x1000);
    b.core.intr = false;
    b.core.state.nmi_pending = true;
    b.core.state.nmi_blocked = true;
    run_bytes(&mut b, 0x1000, &[0x8e, 0xd0, 0x90, 0x90], 1);
    b.core.state.nmi_blocked = false;
    assert_eq!(step_with_events(&mut b.interp()), Boundary::Retired);
    assert_eq!(step_with_events(&mut b.interp()), Boundary::Took(Event::Nmi));
    assert!(b.core.state.nmi_blocked);
    b.put(8, &[0, 0, 0, 0]);
}

#[test]
fn hlt_sleeps_until_an_interrupt() {
    let mut b = Bench::new();
    b.real(0x1000);
    b.put(0x40 * 4, &[0x00, 0x30, 0, 0]);
    b.core.state.rflags |= flags::IF;
    b.core.refresh();
    assert_eq!(run_bytes(&mut b, 0x1000, &[0xf4], 1), Boundary::Retired);
    assert_eq!(step_with_events(&mut b.interp()), Boundary::Asleep);
    assert!(!event::runnable(&b.core));
    (b.core.intr, b.bus.vector) = (true, Some(0x40));
    assert!(event::runnable(&b.core));
    assert_eq!(step_with_events(&mut b.interp()), Boundary::Took(Event::Interrupt(0x40)));
    assert_eq!(b.get_u32(b.core.state.gpr[4]) as u16, 0x1001);
}

#[test]
fn an_instruction_across_pages_faults_on_the_second() {
    let mut b = Bench::new();
    b.real(0xffff);
    b.put(0xffff, &[0x0f, 0x0b]);
    assert_eq!(step(&mut b.interp()), Err(Stopped::Fault(Exception::GP0)), "CS limit");
    b.real(0x1000);
    b.put(0x1000, &[0x66; 16]);
    assert_eq!(step(&mut b.interp()), Err(Stopped::Fault(Exception::GP0)), "16 prefixes");
}

#[test]
fn from_reset_into_long_mode() {
    // The way every kernel goes: CR4.PAE, CR3, EFER.LME, CR0.PG, a far jump.
    let mut b = Bench::new();
    b.flat32(0x1000, 0);
    b.put_u64(0x70000, 0x71007);
    b.put_u64(0x71000, 0x87);
    b.put_u64(0x3008, 0x00af_9b00_0000_ffff);
    let s = &mut b.core.state;
    (s.gdtr.base, s.gdtr.limit) = (0x3000, 0xf);
    s.gpr[1] = 0xc000_0080;
    #[rustfmt::skip]
    let code = [
        0xb8, 0x20, 0, 0, 0,            // mov eax, 0x20
        0x0f, 0x22, 0xe0,               // mov cr4, eax
        0xb8, 0, 0, 7, 0,               // mov eax, 0x70000
        0x0f, 0x22, 0xd8,               // mov cr3, eax
        0xb8, 0, 1, 0, 0,               // mov eax, 0x100
        0x31, 0xd2,                     // xor edx, edx
        0x0f, 0x30,                     // wrmsr
        0xb8, 0x31, 0, 0, 0x80,         // mov eax, 0x80000031
        0x0f, 0x22, 0xc0,               // mov cr0, eax
        0xea, 0, 0x20, 0, 0, 8, 0,      // jmp 8:0x2000
    ];
    assert_eq!(run_bytes(&mut b, 0x1000, &code, 10), Boundary::Retired);
    assert!(b.core.mode.long64() && b.core.state.long());
    assert_eq!((b.core.state.rip, b.core.state.seg[1].sel), (0x2000, 8));
    assert_ne!(b.core.state.seg[1].attr & Segment::LONG, 0);
    assert_eq!(b.get_u64(0x3008) >> 40 & 1, 1);
}

#[test]
fn a_handler_that_faults_for_ever_ends_with_the_budget() {
    let mut b = Bench::new();
    b.real(0x1000);
    b.put(0x1000, &[0x0f, 0x0b]); // ud2, whose handler it is itself
    b.put_u32(4 * 6, 0x1000);
    b.core.set_budget(1000);
    run(&mut b.interp());
    assert_eq!((b.core.left, b.core.state.rip), (0, 0x1000));
}

#[test]
fn breakpoints_at_the_end_of_the_address_space_are_no_trouble() {
    let mut b = Bench::new();
    b.long(0x1000, 0);
    let s = &mut b.core.state;
    s.cr4 |= 8;
    // Breakpoint 0 is for I/O, 1 for writes; both of one byte.
    (s.dr[0], s.dr[1], s.dr7) = (u64::MAX, u64::MAX, 0x12_0405);
    s.gpr[2] = 0x60;
    b.core.refresh();
    let read = run_bytes(&mut b, 0x1000, &[0xec], 1); // in al, dx
    assert_eq!((read, b.core.state.pending_debug), (Boundary::Retired, 0));
}
