use super::*;
use Width::*;

const CONFIG: Config =
    Config { cpu: 0, id: 0, bsp: true, phys_bits: 40, x2apic: true, tsc_hz: 2_000_000_000 };

fn lapic(id: u32) -> (Lapic, Bench) {
    let (mut l, mut b) = (Lapic::new(Config { id, cpu: id, ..CONFIG }), Bench::default());
    l.settle(&mut b);
    write(&mut l, &mut b, 0xF0, 0x1FF);
    (l, b)
}
fn write(l: &mut Lapic, b: &mut Bench, at: u64, value: u64) {
    l.write(Reg { bank: 0, at }, W32, value, b)
}
fn read(l: &mut Lapic, b: &mut Bench, at: u64) -> u64 {
    l.read(Reg { bank: 0, at }, W32, b)
}
fn fixed(to: Target, vector: u8) -> ApicMessage {
    ApicMessage { to, how: Delivery::Fixed, vector, level_triggered: false }
}
fn x2apic(l: &mut Lapic, b: &mut Bench) {
    l.msr_write(APIC_BASE, 0xFEE0_0D00, b).unwrap();
}
fn intr(b: &Bench) -> bool {
    let last = b.asked.iter().rev().find_map(|r| match r {
        Request::Cpu { what: CpuSignal::Intr(level), .. } => Some(*level),
        _ => None,
    });
    last.unwrap_or(false)
}

#[test]
fn a_fixed_interrupt_goes_from_irr_to_isr_to_eoi() {
    let (mut l, mut b) = lapic(0);
    l.accept(&fixed(Target::All, 0x51), &mut b);
    assert_eq!((read(&mut l, &mut b, 0x220), intr(&b)), (1 << 0x11, true));
    assert_eq!(l.ack(&mut b), Interrupt::Vector(0x51));
    assert_eq!((read(&mut l, &mut b, 0x120), intr(&b)), (1 << 0x11, false));
    assert_eq!(read(&mut l, &mut b, 0xA0), 0x50);
    l.accept(&fixed(Target::All, 0x5F), &mut b);
    assert_eq!(l.pending(), None, "the same class has to wait");
    l.accept(&fixed(Target::All, 0x60), &mut b);
    assert_eq!(l.pending(), Some(Interrupt::Vector(0x60)));
    write(&mut l, &mut b, 0xB0, 0);
    assert_eq!(read(&mut l, &mut b, 0x120), 0);
    assert!(!b.asked.contains(&Request::Eoi(0x51)), "an edge is no business of the I/O APIC");
}

#[test]
fn the_task_priority_holds_interrupts_back() {
    let (mut l, mut b) = lapic(0);
    l.set_cr8(5, &mut b);
    l.accept(&fixed(Target::All, 0x5F), &mut b);
    assert_eq!((l.pending(), intr(&b)), (None, false));
    write(&mut l, &mut b, 0x80, 0x4F);
    assert_eq!((l.pending(), intr(&b), l.cr8()), (Some(Interrupt::Vector(0x5F)), true, 4));
    assert_eq!(read(&mut l, &mut b, 0xA0), 0x4F);
}

#[test]
fn eoi_of_a_level_interrupt_is_told_to_the_io_apic() {
    let (mut l, mut b) = lapic(0);
    l.accept(&ApicMessage { level_triggered: true, ..fixed(Target::All, 0x77) }, &mut b);
    assert_eq!(read(&mut l, &mut b, 0x1B0), 1 << 0x17);
    l.ack(&mut b);
    write(&mut l, &mut b, 0xB0, 0);
    assert!(b.asked.contains(&Request::Eoi(0x77)));
    l.accept(&fixed(Target::All, 0x77), &mut b);
    assert_eq!(read(&mut l, &mut b, 0x1B0), 0, "an edge clears the trigger mode");
}

#[test]
fn a_one_shot_timer_fires_once_and_stays_at_zero() {
    let (mut l, mut b) = lapic(0);
    write(&mut l, &mut b, 0x320, 0xEE);
    write(&mut l, &mut b, 0x3E0, 0xB);
    write(&mut l, &mut b, 0x380, 1000);
    b.now = 400;
    assert_eq!(read(&mut l, &mut b, 0x390), 600);
    b.run_to_wake(&mut l);
    assert_eq!((b.now, l.ack(&mut b)), (1000, Interrupt::Vector(0xEE)));
    assert_eq!((read(&mut l, &mut b, 0x390), b.wake), (0, None));
    write(&mut l, &mut b, 0x320, 0x200EE);
    assert_eq!((read(&mut l, &mut b, 0x390), b.wake), (0, None), "a change of mode starts nothing");
}

#[test]
fn a_periodic_timer_goes_on_and_a_late_one_does_not_storm() {
    let (mut l, mut b) = lapic(0);
    write(&mut l, &mut b, 0x3E0, 0x3);
    write(&mut l, &mut b, 0x320, 0x200EE);
    write(&mut l, &mut b, 0x380, 100);
    assert_eq!(b.wake, Some(1600));
    b.run_to_wake(&mut l);
    assert_eq!(b.wake, Some(3200));
    b.now = 16_000_800;
    l.wake(&mut b);
    assert_eq!(b.wake, Some(16_001_600));
    assert_eq!(read(&mut l, &mut b, 0x390), 50);
    write(&mut l, &mut b, 0x320, 0xEE);
    assert_eq!(read(&mut l, &mut b, 0x390), 50, "to one-shot without a new start");
    b.now += 100_000;
    assert_eq!(read(&mut l, &mut b, 0x390), 0);
}

#[test]
fn what_a_masked_timer_misses_is_lost() {
    let (mut l, mut b) = lapic(0);
    write(&mut l, &mut b, 0x320, 0x100EE);
    write(&mut l, &mut b, 0x380, 1000);
    assert_eq!(b.wake, None);
    b.now = 5000;
    write(&mut l, &mut b, 0x320, 0xEE);
    assert_eq!((l.pending(), b.wake), (None, None));
}

#[test]
fn a_deadline_fires_when_the_tsc_gets_there_and_clears_itself() {
    let (mut l, mut b) = lapic(0);
    assert_eq!(l.msr_write(TSC_DEADLINE, 100, &mut b), Ok(()), "ignored in another mode");
    assert_eq!(l.msr_read(TSC_DEADLINE, &mut b), Ok(0));
    write(&mut l, &mut b, 0x320, 0x400EF);
    l.msr_write(TSC_DEADLINE, 2001, &mut b).unwrap();
    assert_eq!(b.wake, Some(1001));
    b.run_to_wake(&mut l);
    assert_eq!(l.msr_read(TSC_DEADLINE, &mut b), Ok(0));
    assert_eq!(l.ack(&mut b), Interrupt::Vector(0xEF));
    l.eoi(&mut b);
    l.msr_write(TSC_DEADLINE, 5, &mut b).unwrap();
    assert_eq!(l.pending(), Some(Interrupt::Vector(0xEF)), "one that is past fires at once");
    l.set_tsc(1_000_000_000, 1 << 40, &mut b);
    l.msr_write(TSC_DEADLINE, (1 << 40) + 5000, &mut b).unwrap();
    assert_eq!(b.wake, Some(5000));
    // The guest sets its TSC back.
    l.set_tsc(1_000_000_000, 0u64.wrapping_sub(b.now), &mut b);
    l.msr_write(TSC_DEADLINE, 300, &mut b).unwrap();
    assert_eq!(b.wake, Some(b.now + 300));
}

#[test]
fn the_base_register_knows_the_legal_changes_of_mode() {
    let (mut l, mut b) = lapic(0);
    let base = 0xFEE0_0100;
    for (value, legal) in [
        (base | 0x400, false),
        (base | 0xC00, true),
        (base | 0x400, false),
        (base | 0x800, false),
        (base, true),
        (base | 0x400, false),
        (base | 0xC00, false),
        (base | 0x800, true),
        (base | 0x801, false),
        (base | 0x800 | 1 << 40, false),
    ] {
        assert_eq!(l.msr_write(APIC_BASE, value, &mut b).is_ok(), legal, "{value:#x}");
    }
    let mut old = Lapic::new(Config { x2apic: false, ..CONFIG });
    assert_eq!(old.msr_write(APIC_BASE, base | 0xC00, &mut b), Err(GpFault));
}

#[test]
fn the_window_moves_and_goes_with_the_mode() {
    let (mut l, mut b) = lapic(0);
    assert_eq!(b.windows[&0].base, 0xFEE0_0000);
    l.msr_write(APIC_BASE, 0xFED4_0900, &mut b).unwrap();
    assert_eq!((b.windows[&0].base, l.window()), (0xFED4_0000, Some(0xFED4_0000)));
    l.msr_write(APIC_BASE, 0xFED4_0100, &mut b).unwrap();
    assert!(b.windows.is_empty());
    assert_eq!(read(&mut l, &mut b, 0x30), 0xFFFF_FFFF);
    l.set_cr8(0xF, &mut b);
    write(&mut l, &mut b, 0x80, 0);
    assert_eq!(l.cr8(), 0xF, "a disabled APIC hears no write, but CR8 is there");
}

#[test]
fn disabling_forgets_a_changed_id() {
    let (mut l, mut b) = lapic(3);
    write(&mut l, &mut b, 0x20, 9 << 24);
    assert_eq!((read(&mut l, &mut b, 0x20), l.id()), (9 << 24, 9));
    x2apic(&mut l, &mut b);
    assert_eq!(l.msr_read(0x802, &mut b), Ok(3));
    assert_eq!(l.msr_write(0x802, 9, &mut b), Err(GpFault));
    l.msr_write(APIC_BASE, 0xFEE0_0000, &mut b).unwrap();
    l.msr_write(APIC_BASE, 0xFEE0_0800, &mut b).unwrap();
    assert_eq!(read(&mut l, &mut b, 0x20), 3 << 24);
}

#[test]
fn x2apic_registers_fault_as_the_manual_says() {
    let (mut l, mut b) = lapic(0x12);
    assert!((0x800..0x900).all(|n| l.msr_read(n, &mut b) == Err(GpFault)));
    x2apic(&mut l, &mut b);
    let readable =
        |n: u32| matches!(n, 2 | 3 | 8 | 0xA | 0xD | 0xF..=0x28 | 0x30 | 0x32..=0x39 | 0x3E);
    let writable = |n: u32| matches!(n, 8 | 0xB | 0xF | 0x28 | 0x30 | 0x32..=0x38 | 0x3E | 0x3F);
    for n in 0..0x100 {
        assert_eq!(l.msr_read(0x800 + n, &mut b).is_ok(), readable(n), "read of {n:#x}");
        assert_eq!(l.msr_write(0x800 + n, 0, &mut b).is_ok(), writable(n), "write of {n:#x}");
        if n != 0x30 {
            assert_eq!(
                l.msr_write(0x800 + n, u64::MAX, &mut b),
                Err(GpFault),
                "all ones to {n:#x}"
            );
        }
    }
    for value in [0x100, 0xFF00, 0xFF00_0000] {
        assert_eq!(l.msr_write(0x83F, value, &mut b), Err(GpFault));
    }
    assert_eq!(l.msr_write(0x828, 1, &mut b), Err(GpFault), "the ESR takes zero only");
    assert_eq!(l.msr_write(0x80B, 1, &mut b), Err(GpFault), "so does EOI");
    assert_eq!(l.msr_write(0x830, 1 << 20, &mut b), Err(GpFault));
    assert_eq!(l.msr_read(0x80D, &mut b), Ok(0x0001_0004));
}

#[test]
fn the_self_ipi_register_interrupts_oneself() {
    let (mut l, mut b) = lapic(1);
    x2apic(&mut l, &mut b);
    l.msr_write(0x83F, 0xB0, &mut b).unwrap();
    assert_eq!((l.ack(&mut b), b.messages.len()), (Interrupt::Vector(0xB0), 0));
    l.msr_write(0x83F, 3, &mut b).unwrap();
    l.msr_write(0x828, 0, &mut b).unwrap();
    assert_eq!(l.msr_read(0x828, &mut b), Ok(0x60), "sent and received an illegal vector");
}

#[test]
fn the_command_register_sends_what_it_says() {
    let (mut l, mut b) = lapic(1);
    for (high, low, to, how) in [
        (2 << 24, 0x40F1, Target::Physical(2), Delivery::Fixed),
        (0xFF << 24, 0x40F1, Target::All, Delivery::Fixed),
        (3 << 24, 0x48F1, Target::Logical(3), Delivery::Fixed),
        (3 << 24, 0x49F1, Target::Logical(3), Delivery::LowestPriority),
        (0, 0x840F1, Target::All, Delivery::Fixed),
        (0, 0xC40F1, Target::AllButSender, Delivery::Fixed),
        (2 << 24, 0x44F1, Target::Physical(2), Delivery::Nmi),
        (2 << 24, 0xC5F1, Target::Physical(2), Delivery::Init),
        (2 << 24, 0x85F1, Target::Physical(2), Delivery::InitDeassert),
        (2 << 24, 0x46F1, Target::Physical(2), Delivery::Startup),
    ] {
        write(&mut l, &mut b, 0x310, high);
        write(&mut l, &mut b, 0x300, low | 0x1000);
        assert_eq!(
            b.messages.pop(),
            Some(ApicMessage { to, how, vector: 0xF1, level_triggered: false })
        );
        assert_eq!(read(&mut l, &mut b, 0x300), low, "never busy");
    }
    write(&mut l, &mut b, 0x300, 0x440F1);
    assert_eq!((b.messages.len(), l.ack(&mut b)), (0, Interrupt::Vector(0xF1)));
    x2apic(&mut l, &mut b);
    l.msr_write(0x830, 0xFF << 32 | 0x40F1, &mut b).unwrap();
    assert_eq!(b.messages.pop().unwrap().to, Target::Physical(0xFF), "CPU 255 and not everybody");
    l.msr_write(0x830, 0xFFFF_FFFF << 32 | 0x40F1, &mut b).unwrap();
    assert_eq!(b.messages.pop().unwrap().to, Target::All);
    assert_eq!(l.msr_read(0x830, &mut b), Ok(0xFFFF_FFFF << 32 | 0x40F1));
}

#[test]
fn logical_destinations_are_matched_flat_and_by_cluster() {
    let (mut l, mut b) = lapic(0x25);
    let to = |l: &Lapic, n| l.matches(&fixed(Target::Logical(n), 0x40));
    assert!(!to(&l, 1) && to(&l, 0xFF));
    write(&mut l, &mut b, 0xD0, 0x42 << 24);
    assert!(to(&l, 2) && to(&l, 0x40) && !to(&l, 0xBD));
    write(&mut l, &mut b, 0xE0, 0x0FFF_FFFF);
    assert!(to(&l, 0x42) && to(&l, 0x4F) && !to(&l, 0x41) && !to(&l, 0x52) && !to(&l, 2));
    x2apic(&mut l, &mut b);
    assert!(to(&l, 0x2_0020) && to(&l, 0x2_FFFF) && !to(&l, 0x20) && !to(&l, 0x2_0010));
    assert!(to(&l, 0xFFFF_FFFF));
}

#[test]
fn physical_destinations_know_each_modes_broadcast() {
    let (mut l, mut b) = lapic(5);
    let to = |l: &Lapic, n| l.matches(&fixed(Target::Physical(n), 0x40));
    assert!(to(&l, 5) && to(&l, 0xFF) && !to(&l, 4));
    x2apic(&mut l, &mut b);
    assert!(to(&l, 5) && !to(&l, 0xFF) && to(&l, 0xFFFF_FFFF));
    l.msr_write(APIC_BASE, 0, &mut b).unwrap();
    assert!(!to(&l, 5) && !to(&l, 0xFF), "a disabled one hears nothing");
}

#[test]
fn lowest_priority_picks_the_idlest() {
    let (mut a, mut b) = lapic(0);
    let (mut c, _) = lapic(1);
    let m = ApicMessage { how: Delivery::LowestPriority, ..fixed(Target::All, 0x40) };
    assert_eq!(lowest_priority([(0, &a), (1, &c)], &m), Some(0));
    a.set_tpr(0x20, &mut b);
    assert_eq!(lowest_priority([(0, &a), (1, &c)], &m), Some(1));
    c.write(Reg { bank: 0, at: 0xF0 }, W32, 0xFF, &mut b);
    assert_eq!(lowest_priority([(0, &a), (1, &c)], &m), Some(0), "not a disabled one");
}

#[test]
fn lint0_passes_the_8259a_through() {
    let (mut l, mut b) = lapic(0);
    l.wire(LINT0, true, &mut b);
    assert_eq!((l.pending(), intr(&b)), (None, false));
    write(&mut l, &mut b, 0x350, 0x700);
    assert_eq!((l.pending(), intr(&b)), (Some(Interrupt::ExtInt), true));
    assert_eq!(l.ack(&mut b), Interrupt::ExtInt);
    l.wire(LINT0, false, &mut b);
    assert!(!intr(&b));
    l.msr_write(APIC_BASE, 0xFEE0_0100, &mut b).unwrap();
    l.wire(LINT0, true, &mut b);
    assert_eq!(l.pending(), Some(Interrupt::ExtInt), "a disabled APIC is a wire");
}

#[test]
fn lint1_is_nmi_and_a_level_pin_comes_again_after_eoi() {
    let (mut l, mut b) = lapic(0);
    write(&mut l, &mut b, 0x360, 0x400);
    l.wire(LINT1, true, &mut b);
    assert_eq!(b.asked.last(), Some(&Request::Cpu { cpu: 0, what: CpuSignal::Nmi }));
    l.wire(LINT1, false, &mut b);
    write(&mut l, &mut b, 0x360, 0x8055);
    l.wire(LINT1, true, &mut b);
    assert_eq!(l.ack(&mut b), Interrupt::Vector(0x55));
    assert_eq!(read(&mut l, &mut b, 0x360), 0xC055);
    l.eoi(&mut b);
    assert_eq!(l.ack(&mut b), Interrupt::Vector(0x55));
    l.wire(LINT1, false, &mut b);
    l.eoi(&mut b);
    assert_eq!((l.pending(), read(&mut l, &mut b, 0x360)), (None, 0x8055));
}

#[test]
fn a_software_disabled_apic_masks_its_lvt_and_takes_nmi_only() {
    let (mut l, mut b) = lapic(2);
    write(&mut l, &mut b, 0x320, 0xEE);
    write(&mut l, &mut b, 0xF0, 0xFF);
    write(&mut l, &mut b, 0x350, 0x700);
    assert_eq!((read(&mut l, &mut b, 0x320), read(&mut l, &mut b, 0x350)), (0x100EE, 0x10700));
    l.accept(&fixed(Target::All, 0x40), &mut b);
    assert_eq!(l.pending(), None);
    l.accept(&ApicMessage { how: Delivery::Startup, ..fixed(Target::All, 8) }, &mut b);
    assert_eq!(b.asked.last(), Some(&Request::Cpu { cpu: 2, what: CpuSignal::Startup(8) }));
}

#[test]
fn errors_gather_until_the_register_is_written() {
    let (mut l, mut b) = lapic(0);
    write(&mut l, &mut b, 0x370, 0xFE);
    l.accept(&fixed(Target::All, 5), &mut b);
    assert_eq!(read(&mut l, &mut b, 0x280), 0);
    assert_eq!(l.ack(&mut b), Interrupt::Vector(0xFE));
    read(&mut l, &mut b, 0x40);
    write(&mut l, &mut b, 0x280, 0);
    assert_eq!(read(&mut l, &mut b, 0x280), 0xC0);
    write(&mut l, &mut b, 0x280, 0);
    assert_eq!(read(&mut l, &mut b, 0x280), 0);
}

#[test]
fn a_performance_interrupt_masks_itself() {
    let (mut l, mut b) = lapic(0);
    write(&mut l, &mut b, 0x340, 0x400);
    l.local(Local::Perf, &mut b);
    assert_eq!(b.asked.last(), Some(&Request::Cpu { cpu: 0, what: CpuSignal::Nmi }));
    assert_eq!(read(&mut l, &mut b, 0x340), 0x10400);
}

#[test]
fn with_nothing_to_take_the_vector_is_spurious() {
    let (mut l, mut b) = lapic(0);
    assert_eq!(l.ack(&mut b), Interrupt::Vector(0xFF));
    assert_eq!(read(&mut l, &mut b, 0x170), 0);
}

#[test]
fn init_keeps_the_id_and_the_mode() {
    let (mut l, mut b) = lapic(4);
    x2apic(&mut l, &mut b);
    l.msr_write(0x808, 0x50, &mut b).unwrap();
    l.init(&mut b);
    assert!(l.is_x2apic());
    assert_eq!((l.tpr(), l.id(), l.msr_read(0x80F, &mut b)), (0, 4, Ok(0xFF)));
}

#[test]
fn what_is_saved_goes_on_after_load() {
    let (mut l, mut b) = lapic(0);
    write(&mut l, &mut b, 0x320, 0x200EE);
    write(&mut l, &mut b, 0x380, 1000);
    l.accept(&fixed(Target::All, 0x51), &mut b);
    let mut m = Lapic::new(CONFIG);
    let mut c = Bench::default();
    c.now = b.now;
    m.load(&l.save()).unwrap();
    m.settle(&mut c);
    assert_eq!((c.wake, intr(&c), m.save()), (b.wake, true, l.save()));
}
