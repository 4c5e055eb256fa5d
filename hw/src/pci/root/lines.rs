//! The way of interrupts: from a function's INTx through bridges and the chipset's router to lines.

use super::{Chipset, Root, Slot};
use device::*;

impl Chipset {
    /// The function whose registers route PIRQs.
    fn router(self) -> u8 {
        if self == Chipset::I440fx { 1 << 3 } else { 0x1F << 3 }
    }
}

impl Root {
    /// The PIRQ of an INTx on the root bus.
    fn pirq(&self, devfn: u8, pin: u8) -> usize {
        let slot = devfn >> 3;
        match self.chipset {
            Chipset::I440fx => (slot.wrapping_add(pin).wrapping_sub(1) & 3).into(),
            // Devices 25 to 31 are ICH9's own: A to D, but those behind the bridge at 30.
            Chipset::Q35 if slot >= 25 && slot != 30 => pin.into(),
            Chipset::Q35 if slot == 30 => (pin + 4).into(),
            Chipset::Q35 => usize::from(slot.wrapping_add(pin) & 3) + 4,
        }
    }
    /// Where on the root bus a pin arrives: each bridge turns it by the number of the device.  PCI-to-PCI Bridge 1.2, 9.1.
    fn at_root(&self, slot: &Slot, pin: u8) -> (u8, u8) {
        let (mut slot, mut pin) = (slot, pin);
        while let Some(bridge) = slot.parent.and_then(|n| self.slot(n)) {
            pin = pin.wrapping_add(slot.devfn >> 3) & 3;
            slot = bridge;
        }
        (slot.devfn, pin)
    }
    /// The lines that are up now.
    fn lines(&self) -> u32 {
        let there = || self.slots.iter().flatten();
        let mut lines = there().fold(0, |all, s| all | s.lines);
        let router = self.at(self.chipset.router()).and_then(|n| self.slot(n));
        for s in there().filter(|s| s.seen) {
            let Some(pin) = s.intx else { continue };
            let (devfn, pin) = self.at_root(s, pin);
            let pirq = self.pirq(devfn, pin);
            if self.chipset == Chipset::Q35 {
                lines |= 1 << (16 + pirq);
            }
            let register = if pirq < 4 { 0x60 + pirq } else { 0x64 + pirq };
            // Bit 7: not to the 8259A.
            let route = router.map_or(0x80, |r| r.function.config().u8(register));
            if route & 0x80 == 0 {
                lines |= 1 << (route & 0xF);
            }
        }
        lines
    }
    /// Tells what has changed.
    pub(super) fn tell(&mut self, cx: &mut dyn Cx) {
        if std::mem::take(&mut self.changed.lines) {
            let lines = self.lines();
            let changed = lines ^ self.told.unwrap_or(!lines);
            self.told = Some(lines);
            let pins = (0..24).filter(|n| changed >> n & 1 != 0);
            pins.for_each(|n| cx.irq(Pin(n), lines >> n & 1 != 0));
        }
        if std::mem::take(&mut self.changed.wake) {
            cx.wake_at(self.slots.iter().flatten().filter_map(|s| s.wake).min());
        }
    }
}
