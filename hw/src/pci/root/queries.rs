//! What the board asks of the bus.

use super::*;

impl Root {
    /// Does something with the function at a place of the root bus, and tells what follows from it.
    pub fn with_at<T: Function, R>(
        &mut self,
        device: u8,
        function: u8,
        cx: &mut dyn Cx,
        body: impl FnOnce(&mut T, &mut dyn Cx) -> R,
    ) -> Option<R> {
        let n = self.at(device << 3 | function)?;
        self.with(n, cx, body)
    }
    /// The numbers of all functions.
    pub fn functions(&self) -> impl Iterator<Item = u16> + use<> {
        self.at.values().copied().collect::<std::collections::BTreeSet<u16>>().into_iter()
    }
    pub fn chipset(&self) -> Chipset {
        self.chipset
    }
    /// Where a function stands: below which bridge, its device and function there.
    pub fn place_of(&self, number: u16) -> Option<(Option<u16>, u8, u8)> {
        self.slot(number).map(|s| (s.parent, s.devfn >> 3, s.devfn & 7))
    }
    /// Who stands at a place of a bus.
    pub fn number_at(&self, parent: Option<u16>, device: u8, function: u8) -> Option<u16> {
        self.at.get(&(below(parent), device << 3 | function & 7)).copied()
    }
    /// Who stands on a bus, by their places.
    pub fn below(&self, parent: Option<u16>) -> impl Iterator<Item = u16> + '_ {
        self.on(below(parent))
    }
    /// A function, whatever it is.
    pub fn peek(&self, number: u16) -> Option<&dyn Function> {
        Some(&*self.slot(number)?.function)
    }
    /// What the user calls it.
    pub fn id_of(&self, number: u16) -> &str {
        self.slot(number).map_or("", |s| &s.id)
    }
    /// Where configuration space is seen as memory.
    pub fn ecam(&self) -> Option<Place> {
        let host = self.at(0).filter(|_| self.chipset == Chipset::Q35)?;
        crate::pci::q35::ecam(self.slot(host)?.function.config())
    }
    /// Where the power management ports are.
    pub fn pm_base(&self) -> Option<u16> {
        let (at, enable) = match self.chipset {
            Chipset::I440fx => (1 << 3 | 3, (0x80, 1)),
            Chipset::Q35 => (0x1F << 3, (0x44, 0x80)),
        };
        let c = self.slot(self.at(at)?)?.function.config();
        let base = c.u16(0x40) & 0xFFC0;
        (base != 0 && c.u8(enable.0) & enable.1 != 0).then_some(base)
    }
    /// Where base address registers show memory.
    pub fn places(&self) -> impl Iterator<Item = Place> + '_ {
        let bar = |n: u16, i| {
            let place = self.slot(n).and_then(|s| s.function.config().place(i));
            self.visible(n, place)
        };
        let numbers = self.at.values().copied();
        let all = numbers.flat_map(move |n| (0..7).filter_map(move |i| bar(n, i)));
        all.filter(|p| p.space == Space::Memory)
    }
    /// The buses whose devices ACPI can plug and eject, as their numbers in its registers: 0 for the root bus, else one
    /// more than the number of the bridge above.
    pub fn hotplug_buses(&self) -> impl Iterator<Item = u16> + '_ {
        let buses = std::iter::once(0).chain(self.at.values().map(|n| n + 1));
        buses.filter(|bus| self.acpi_serves(*bus))
    }
    /// Which of a bus's 32 devices can be ejected: all but those that are part of the machine.
    pub fn removable(&self, bus: u16) -> u32 {
        let fixed = self.on(bus).filter_map(|n| self.slot(n)).filter(|s| !s.ejectable());
        !fixed.fold(0, |all, s| all | 1 << (s.devfn >> 3))
    }
    /// Whether ACPI's registers speak of this bus.
    pub(super) fn acpi_serves(&self, bus: BusKey) -> bool {
        let below = |bridge: u16| {
            self.slot(bridge).is_some_and(|s| s.cold && s.forward.is_some() && !s.is_port)
        };
        self.hotplug.is_some() && bus.checked_sub(1).is_none_or(below)
    }
}

impl Slot {
    /// Whether ACPI can eject it: no part of the chipset, no bridge that the tables know.
    pub(super) fn ejectable(&self) -> bool {
        self.function.removable() && !(self.cold && self.forward.is_some())
    }
}
