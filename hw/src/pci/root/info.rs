//! The buses in words: `info pci`.

use super::{BusKey, Root, Slot};
use crate::pci::ROM;
use crate::pci::bridge::Forward;
use device::Space;
use std::fmt::Write;

/// What the monitor calls a class and subclass.
#[rustfmt::skip]
const CLASSES: &[(u16, &str)] = &[
    (0x0001, "VGA controller"),      (0x0100, "SCSI controller"),    (0x0101, "IDE controller"),
    (0x0102, "Floppy controller"),   (0x0104, "RAID controller"),    (0x0106, "SATA controller"),
    (0x0180, "Storage controller"),  (0x0200, "Ethernet controller"), (0x0280, "Network controller"),
    (0x0300, "VGA controller"),      (0x0302, "3D controller"),      (0x0380, "Display controller"),
    (0x0400, "Video controller"),    (0x0401, "Audio controller"),   (0x0403, "Audio controller"),
    (0x0480, "Multimedia controller"), (0x0500, "RAM controller"),   (0x0501, "Flash controller"),
    (0x0580, "Memory controller"),   (0x0600, "Host bridge"),        (0x0601, "ISA bridge"),
    (0x0604, "PCI bridge"),          (0x0680, "Bridge"),             (0x0700, "Serial port"),
    (0x0701, "Parallel port"),       (0x0800, "Interrupt controller"), (0x0801, "DMA controller"),
    (0x0802, "Timer"),               (0x0803, "RTC"),                (0x0C00, "Firewire controller"),
    (0x0C03, "USB controller"),      (0x0C04, "Fibre channel controller"), (0x0C05, "SMBus"),
];

fn class(class: u16) -> String {
    let known = CLASSES.iter().find(|(n, _)| *n == class);
    known.map_or_else(|| format!("Class {class:04}"), |(_, name)| (*name).into())
}

impl Root {
    pub(super) fn info(&self) -> String {
        let mut out = String::new();
        self.bus_info(0, 0, &mut out);
        out
    }
    fn bus_info(&self, bus: BusKey, number: u8, out: &mut String) {
        for n in self.on(bus) {
            let Some(slot) = self.slot(n).filter(|s| s.seen) else { continue };
            let (device, function) = (slot.devfn >> 3, slot.devfn & 7);
            let _ = writeln!(out, "  Bus {number:2}, device {device:3}, function {function}:");
            slot.info(out);
            if let Some(f) = slot.forward {
                self.bus_info(n + 1, f.secondary, out);
            }
        }
    }
}

impl Slot {
    fn info(&self, out: &mut String) {
        let c = self.function.config();
        let (vendor, device, name) = (c.u16(0), c.u16(2), class(c.u16(0xA)));
        let _ = writeln!(out, "    {name}: PCI device {vendor:04x}:{device:04x}");
        if self.forward.is_none() {
            let _ = writeln!(out, "      PCI subsystem {:04x}:{:04x}", c.u16(0x2C), c.u16(0x2E));
        }
        if let Some(pin) = c.u8(0x3D).checked_sub(1) {
            let pin = char::from(b'A' + (pin & 3));
            let _ = writeln!(out, "      IRQ {}, pin {pin}", c.u8(0x3C));
        }
        if let Some(f) = self.forward {
            let _ = writeln!(out, "      BUS {}.", f.primary);
            let _ = writeln!(out, "      secondary bus {}.", f.secondary);
            let _ = writeln!(out, "      subordinate bus {}.", f.subordinate);
            let [io, memory, prefetchable] = Forward::ranges(c);
            let _ = writeln!(out, "      IO range [{:#06x}, {:#06x}]", io.0, io.1);
            for (name, r) in [("memory", memory), ("prefetchable memory", prefetchable)] {
                let _ = writeln!(out, "      {name} range [{:#010x}, {:#010x}]", r.0, r.1);
            }
        }
        (0..=ROM).for_each(|n| self.bar_info(n, out));
        let _ = writeln!(out, "      id \"{}\"", self.id);
    }
    fn bar_info(&self, n: usize, out: &mut String) {
        let c = self.function.config();
        let Some(bar) = c.bar_at(n) else { return };
        let io = bar.space == Space::Io;
        let kind = match (io, bar.wide, bar.prefetchable) {
            (true, ..) => "I/O".into(),
            (_, wide, prefetchable) => format!(
                "{} bit{} memory",
                if wide { 64 } else { 32 },
                if prefetchable { " prefetchable" } else { "" }
            ),
        };
        let place = match c.place(n) {
            None => "(not mapped)".into(),
            Some(p) if io => format!("at {:#06x} [{:#06x}]", p.base, p.base + p.len - 1),
            Some(p) => format!("at {:#010x} [{:#010x}]", p.base, p.base + p.len - 1),
        };
        let _ = writeln!(out, "      BAR{n}: {kind} {place}");
    }
}
