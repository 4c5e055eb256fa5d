//! The parts that both boards have, and the chipset of each.

use super::{Board, Builder, IsaLines, mmio, ports, unix_time};
use crate::MachineError;
use crate::boot::Layout;
use crate::clock::TSC_HZ;
use crate::config::Config;
use cpu::big::cpuid::Model;
use device::Pin;
use hw::chipset::{hpet, ioapic, lapic, pic, pit, rtc};
use hw::serial::uart16550;

/// COM1 to COM4: port and interrupt line.
const COM: [(u16, u16); 4] = [(0x3F8, 4), (0x2F8, 3), (0x3E8, 4), (0x2E8, 3)];
/// I/O APIC pins that HPET timers may be routed to.
const HPET_ROUTES: u32 = 0xFF_0104;

/// Adds and joins all parts.
pub(crate) fn wire(
    b: &mut Builder,
    config: &Config,
    layout: Layout,
    model: &Model,
) -> Result<Board, MachineError> {
    let pic = b.part("i8259", pic::Pic::new(), &[ports(0x20, 2), ports(0xA0, 2), ports(0x4D0, 2)]);
    let ioapic = b.part("ioapic", ioapic::IoApic::new(), &[mmio(layout.io_apic.into(), 0x1000)]);
    let isa = IsaLines { pic, ioapic };
    for (n, &id) in layout.apic_ids.iter().enumerate() {
        let config = lapic::Config {
            cpu: n as u32,
            id,
            bsp: n == 0,
            phys_bits: model.phys_bits(),
            x2apic: model.has("x2apic"),
            tsc_hz: TSC_HZ,
        };
        let lapic = b.part("lapic", lapic::Lapic::new(config), &[]);
        if n == 0 {
            b.parts.join((pic, pic::INTR), (lapic, lapic::LINT0));
        }
    }
    let pit = b.part("pit", pit::Pit::new(), &[ports(0x40, 4), ports(0x61, 1)]);
    let mut clock = rtc::Rtc::new(unix_time(config));
    clock.set_memory(layout.ram_low, layout.ram_high);
    let rtc = b.part("rtc", clock, &[ports(0x70, 2)]);
    match layout.hpet {
        Some(at) => {
            // The PIT's and the clock's interrupts pass through it: it replaces them in legacy mode.
            let hpet = b.part("hpet", hpet::Hpet::new(HPET_ROUTES), &[mmio(at.into(), 0x400)]);
            b.parts.join((pit, pit::IRQ0), (hpet, hpet::PIT));
            b.parts.join((rtc, rtc::IRQ8), (hpet, hpet::RTC));
            b.parts.join((hpet, hpet::LEGACY), (pit, pit::OFF));
            isa.join(b, hpet, Pin(0), 0);
            isa.join(b, hpet, Pin(8), 8);
            for n in (2..24).filter(|n| *n != 8) {
                b.parts.join((hpet, Pin(n)), (ioapic, Pin(n)));
            }
        }
        None => {
            isa.join(b, pit, pit::IRQ0, 0);
            isa.join(b, rtc, rtc::IRQ8, 8);
        }
    }
    for (n, (at, irq)) in COM.into_iter().enumerate() {
        if let Some(backend) = config.serial[n] {
            let uart = b.part("isa-serial", uart16550::Uart::new(true), &[ports(at, 8)]);
            isa.join(b, uart, uart16550::IRQ, irq);
            b.backend(Some(backend), uart);
        }
    }
    Ok(Board {
        layout,
        pic: Some(pic),
        ioapic,
        rtc,
        keyboard: None,
        pm: None,
        backends: std::mem::take(&mut b.backends),
    })
}
