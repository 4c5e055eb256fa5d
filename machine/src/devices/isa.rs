//! Devices on the ISA bus.

use super::PropKind::{Chardev, Number, OnOff};
use super::props::prop;
use super::{Driver, Home, Props};
use crate::board::{Builder, IsaLines, mmio, ports};
use device::Pin;
use hw::chipset::debug;
use hw::serial::uart16550;

#[rustfmt::skip]
pub(super) const DRIVERS: &[Driver] = &[
    Driver {
        name: "isa-debug-exit", home: Home::Isa(debug_exit), carries: None,
        about: "a write of n ends the emulator with status n * 2 + 1",
        props: &[&[prop("iobase", Number(0, 0xFFFF), "default: 0x501"), prop("iosize", Number(1, 4), "default: 2")]],
    },
    Driver {
        name: "isa-debugcon", home: Home::Isa(debugcon), carries: None,
        about: "each byte written goes to a character device",
        props: &[&[
            prop("chardev", Chardev, ""),
            prop("iobase", Number(0, 0xFFFF), "default: 0xe9"),
            prop("readback", Number(0, 0xFF), "default: 0xe9"),
        ]],
    },
    Driver {
        name: "isa-serial", home: Home::Isa(serial), carries: None,
        about: "serial port, 16550A",
        props: &[&[
            prop("chardev", Chardev, ""),
            prop("index", Number(0, 3), "default: 0"),
            prop("iobase", Number(0, 0xFFF8), "default: by index"),
            prop("irq", Number(0, 15), "default: by index"),
            prop("paced", OnOff, "default: off; on: characters take their time, by the baud rate"),
        ]],
    },
    Driver { name: "pc-testdev", home: Home::Isa(testdev), carries: None, about: "test device of kvm-unit-tests", props: &[] },
    Driver {
        name: "pvpanic", home: Home::Isa(pvpanic), carries: None,
        about: "lets the guest say that it panicked",
        props: &[&[prop("ioport", Number(0, 0xFFFF), "default: 0x505"), prop("events", Number(0, 7), "default: 7")]],
    },
];

/// COM1 to COM4: port and interrupt line.
pub(crate) const COM: [(u16, u16); 4] = [(0x3F8, 4), (0x2F8, 3), (0x3E8, 4), (0x2E8, 3)];

fn debug_exit(b: &mut Builder, _: &IsaLines, p: &Props) -> Result<(), String> {
    let (at, len) = (p.number("iobase").unwrap_or(0x501), p.number("iosize").unwrap_or(2));
    b.part("isa-debug-exit", debug::DebugExit, &[ports(at as u16, len)]);
    Ok(())
}

fn debugcon(b: &mut Builder, _: &IsaLines, p: &Props) -> Result<(), String> {
    let readback = p.number("readback").unwrap_or(0xE9) as u8;
    let at = p.number("iobase").unwrap_or(0xE9) as u16;
    let id = b.part("isa-debugcon", debug::DebugCon { readback }, &[ports(at, 1)]);
    b.backend(p.backend(), id, vec![]);
    Ok(())
}

pub(crate) fn serial(b: &mut Builder, isa: &IsaLines, p: &Props) -> Result<(), String> {
    let (at, irq) = COM[p.number("index").unwrap_or(0) as usize % COM.len()];
    let at = p.number("iobase").map_or(at, |n| n as u16);
    let irq = p.number("irq").map_or(irq, |n| n as u16);
    let paced = p.on("paced").unwrap_or(false);
    let id = b.part("isa-serial", uart16550::Uart::new(paced), &[ports(at, 8)]);
    isa.join(b, id, uart16550::IRQ, irq);
    b.backend(p.backend(), id, vec![]);
    Ok(())
}

fn testdev(b: &mut Builder, isa: &IsaLines, _: &Props) -> Result<(), String> {
    let windows = [
        ports(0xE0, 4),
        ports(0xE4, 4),
        ports(0xE8, 4),
        ports(0x2000, 24),
        mmio(0xFF00_0000, 0x1_0000),
    ];
    let id = b.part("pc-testdev", debug::TestDev::new(), &windows);
    for n in 0..24 {
        match n {
            0..16 => isa.join(b, id, Pin(n), n),
            _ => b.parts.join((id, Pin(n)), (isa.ioapic, Pin(n))),
        }
    }
    Ok(())
}

/// Where a pvpanic port is, if one was asked for.
pub(crate) fn pvpanic_port(p: &Props) -> u16 {
    p.number("ioport").unwrap_or(0x505) as u16
}

fn pvpanic(b: &mut Builder, _: &IsaLines, p: &Props) -> Result<(), String> {
    let events = p.number("events").unwrap_or(7) as u8;
    b.part("pvpanic", debug::PvPanic { events }, &[ports(pvpanic_port(p), 1)]);
    Ok(())
}
