//! The way to a function: configuration cycles, and windows through the bridges above.
//!
//! Buses are joined as the functions stand, so whatever numbers software gives them, a way down ends.
//! PCI 3.0, 3.2.2.3; PCI-to-PCI Bridge 1.2, 3.1.2 and 4.

use super::*;
use crate::pci::acpi_hotplug::{LEN, PC_BASE};

/// In the header type: there are other functions, too.
const MULTIFUNCTION: u8 = 0x80;

impl Root {
    /// Who stands at this place of the root bus.
    pub(super) fn at(&self, devfn: u8) -> Option<u16> {
        self.at.get(&(0, devfn)).copied()
    }
    /// The functions of a bus, in order.
    pub(super) fn on(&self, bus: BusKey) -> impl Iterator<Item = u16> + '_ {
        self.at.range((bus, 0)..=(bus, 0xFF)).map(|(_, n)| *n)
    }
    /// The functions of a device.
    pub(super) fn holds(&self, parent: Option<u16>, device: u8) -> impl Iterator<Item = u16> + '_ {
        let (bus, first) = (below(parent), (device & 31) << 3);
        self.at.range((bus, first)..=(bus, first | 7)).map(|(_, n)| *n)
    }
    /// Whether the function of this number is a port with a slot.
    pub fn is_port(&self, n: u16) -> bool {
        self.slot(n).is_some_and(|s| s.is_port)
    }

    // Who is seen.

    /// Looks anew who is reached below a bus.
    pub(super) fn look(&mut self, bus: BusKey) {
        let seen = match bus.checked_sub(1).and_then(|n| self.slot(n)) {
            Some(bridge) => {
                let open = bridge.forward.unwrap_or_default();
                bridge.seen && open.powered && !open.reset
            }
            None => bus == 0,
        };
        let all: Vec<u16> = self.on(bus).collect();
        for n in all {
            let Some(slot) = self.slot(n) else { continue };
            let seen = seen && self.announced(slot);
            let Some(slot) = self.slot_mut(n) else { continue };
            slot.seen = seen;
            slot.forward = slot.function.forward();
            slot.intx = slot.function.config().intx();
            if slot.forward.is_some() {
                self.look(n + 1);
            }
        }
        self.changed.lines = true;
    }
    /// Functions other than 0 are looked for only where function 0 says that there are some.
    fn announced(&self, slot: &Slot) -> bool {
        let first = self.at.get(&(below(slot.parent), slot.devfn & !7)).and_then(|n| self.slot(*n));
        let several = |s: &Slot| s.function.config().u8(0x0E) & MULTIFUNCTION != 0;
        slot.devfn & 7 == 0 || first.is_some_and(several)
    }
    /// Looks anew at what a bridge lets through; shows what follows from it.
    pub(super) fn look_through(&mut self, n: u16, cx: &mut dyn Cx) {
        let Some(slot) = self.slot_mut(n) else { return };
        let (old, new) = (slot.forward, slot.function.forward());
        if old == new {
            return;
        }
        slot.forward = new;
        let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
        // Who loses power, or is reset by its bridge, begins anew.
        if old.powered && !new.powered || !old.reset && new.reset {
            self.reset_below(n + 1, cx);
        }
        self.look(n + 1);
        self.show_below(n + 1, cx);
    }

    // Windows.

    /// Where a window that a function wants is to be seen.
    pub(super) fn visible(&self, n: u16, place: Option<Place>) -> Option<Place> {
        let (place, mut slot) = (place?, self.slot(n)?);
        if !slot.seen {
            return None;
        }
        while let Some(bridge) = slot.parent.and_then(|n| self.slot(n)) {
            if !bridge.forward.is_some_and(|f| f.passes(&place)) {
                return None;
            }
            slot = bridge;
        }
        Some(place)
    }
    fn show(&mut self, n: u16, bank: u16, cx: &mut dyn Cx) {
        let wanted = self.slot(n).and_then(|s| s.wanted.get(&bank).copied().flatten());
        let place = self.visible(n, wanted);
        if self.shown.insert(bank, place) != Some(place) {
            cx.map(bank, place);
        }
    }
    /// Shows the windows that a function has moved.
    pub(super) fn show_changed(&mut self, n: u16, cx: &mut dyn Cx) {
        let mut banks = std::mem::take(&mut self.changed.banks);
        banks.drain(..).for_each(|bank| self.show(n, bank, cx));
        self.changed.banks = banks;
    }
    /// Shows, or hides, all windows below a bus.
    pub(super) fn show_below(&mut self, bus: BusKey, cx: &mut dyn Cx) {
        let all: Vec<u16> = self.on(bus).collect();
        for n in all {
            let banks: Vec<u16> =
                self.slot(n).iter().flat_map(|s| s.wanted.keys().copied()).collect();
            banks.into_iter().for_each(|bank| self.show(n, bank, cx));
            self.show_below(n + 1, cx);
        }
    }
    fn show_one(&mut self, bank: u16, place: Option<Place>, cx: &mut dyn Cx) {
        if self.shown.insert(bank, place) != Some(place) {
            cx.map(bank, place);
        }
    }
    /// Shows the bus's own windows: PCI Express's where the memory controller's PCIEXBAR says, and ACPI's.
    pub(super) fn show_own(&mut self, cx: &mut dyn Cx) {
        self.show_one(ECAM, self.ecam(), cx);
        if self.hotplug.is_some() {
            let what = Seen::Registers;
            let place = Place { space: Space::Io, base: PC_BASE, len: LEN, what };
            self.show_one(HOTPLUG, Some(place), cx);
        }
    }

    // Configuration access.

    /// Who answers configuration cycles for this address.
    pub(super) fn find(&self, number: u8, devfn: u8) -> Option<u16> {
        let mut bus = 0;
        let mut here = 0;
        while here != number {
            let bridge = self.on(bus).find_map(|n| {
                let f = self.slot(n).filter(|s| s.seen)?.forward?;
                f.leads_to(number).then_some((n, f.secondary))
            });
            let (n, secondary) = bridge?;
            (bus, here) = (n + 1, secondary);
        }
        let n = *self.at.get(&(bus, devfn))?;
        self.slot(n).filter(|s| s.seen).map(|_| n)
    }
    pub(super) fn config_read(
        &mut self,
        bus: u8,
        devfn: u8,
        at: u64,
        w: Width,
        cx: &mut dyn Cx,
    ) -> u64 {
        let Some(n) = self.find(bus, devfn) else { return w.mask() };
        if self.child(n, cx, |f, cx| f.config_reading(at, w, cx)) == Some(true) {
            self.tell(cx);
        }
        self.slot(n).map_or(w.mask(), |s| s.function.config().read(at, w))
    }
    pub(super) fn config_write(
        &mut self,
        bus: u8,
        devfn: u8,
        at: u64,
        w: Width,
        value: u64,
        cx: &mut dyn Cx,
    ) {
        let Some(n) = self.find(bus, devfn) else { return };
        let reset = self.child(n, cx, |f, cx| {
            f.config_mut().write(at, w, value);
            f.config_mut().show(cx);
            f.config_written(cx);
            f.config_mut().take_reset()
        });
        if reset == Some(true) {
            self.reset_function(n, cx);
        }
        self.let_go(n, cx);
        self.look_through(n, cx);
        self.show_own(cx);
        // It may have been the router.
        self.changed.lines = true;
    }
    /// The bus, device and register that the address port selects.  PCI 3.0, 3.2.2.3.2.
    fn selected(&self) -> Option<(u8, u8, u64)> {
        let a = self.s.address;
        (a >> 31 != 0).then_some(((a >> 16) as u8, (a >> 8) as u8, u64::from(a & 0xFC)))
    }
    pub(super) fn read_port(&mut self, at: u64, w: Width, cx: &mut dyn Cx) -> u64 {
        match (at, w) {
            (0, Width::W32) => self.s.address.into(),
            (1, Width::W8) => self.s.reset.into(),
            (4..8, _) => match self.selected() {
                Some((bus, devfn, reg)) => self.config_read(bus, devfn, reg + at - 4, w, cx),
                None => w.mask(),
            },
            _ => w.mask(),
        }
    }
    pub(super) fn write_port(&mut self, at: u64, w: Width, value: u64, cx: &mut dyn Cx) {
        match (at, w) {
            (0, Width::W32) => self.s.address = value as u32 & 0x80FF_FFFC,
            (1, Width::W8) => {
                // PIIX3 data sheet, 2.5.5: bit 2 resets, bits 1 and 3 say how.
                self.s.reset = value as u8 & 0xA;
                if value & 4 != 0 {
                    cx.ask(Request::Reset);
                }
            }
            (4..8, _) => {
                if let Some((bus, devfn, reg)) = self.selected() {
                    self.config_write(bus, devfn, reg + at - 4, w, value, cx);
                }
            }
            _ => {}
        }
    }
}
