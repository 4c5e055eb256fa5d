//! The functions as they are saved: in the order of their places, whatever their numbers are.

use super::{MOST, Root, Slot, State};
use crate::Bytes;
use crate::pci::acpi_hotplug::AcpiHotplug;
use device::*;

state! {
    /// Where a function stands, and what the bus knows of it.
    pub struct Place {
        /// Device and function on each bus, from the root on.
        1 path: Bytes = Bytes::default(),
        2 unplugging: Option<Tick> = None,
        3 units: Vec<u32> = Vec::new(),
    }
}

impl Root {
    fn path(&self, slot: &Slot) -> Vec<u8> {
        let mut path = slot.parent.and_then(|n| self.slot(n)).map_or(Vec::new(), |s| self.path(s));
        path.push(slot.devfn);
        path
    }
    /// All functions by their places.
    fn in_order(&self) -> Vec<(Vec<u8>, u16)> {
        let numbers =
            (0..self.slots.len() as u16).filter_map(|n| Some((self.path(self.slot(n)?), n)));
        let mut all: Vec<_> = numbers.collect();
        all.sort();
        all
    }
    pub(super) fn saved(&self) -> State {
        let mut s = State { functions: Vec::new(), places: Vec::new(), ..self.s.clone() };
        for (path, n) in self.in_order() {
            let Some(slot) = self.slot(n) else { continue };
            s.functions.push(Bytes(slot.function.save()));
            let units = slot.units.iter().copied().collect();
            s.places.push(Place { path: Bytes(path), unplugging: slot.unplugging, units });
        }
        s.hotplug = self.hotplug.as_ref().map(|h| h.s.clone()).unwrap_or_default();
        s
    }
    pub(super) fn take(&mut self, mut s: State) -> Result<(), Misfit> {
        let order = self.in_order();
        let fits = s.functions.len() == order.len()
            && s.places.len() == order.len()
            && s.places.iter().zip(&order).all(|(place, (path, _))| place.path.0 == *path);
        if !fits {
            return Err(Misfit::Unfit(format!(
                "{} functions on PCI buses, where this machine has {}, or at other places",
                s.functions.len(),
                order.len()
            )));
        }
        let mut hotplug = AcpiHotplug::default();
        hotplug.load(std::mem::take(&mut s.hotplug))?;
        let before = self.saved().functions;
        if let Err(misfit) = self.load_all(&order, &s.functions) {
            self.load_all(&order, &before).expect("a function takes what it saved");
            return Err(misfit);
        }
        for ((_, n), place) in order.iter().zip(std::mem::take(&mut s.places)) {
            if let Some(slot) = self.slot_mut(*n) {
                slot.unplugging = place.unplugging;
                slot.units = place.units.into_iter().take(MOST).collect();
            }
        }
        self.hotplug = self.hotplug.is_some().then_some(hotplug);
        s.address &= 0x80FF_FFFC;
        s.functions.clear();
        self.s = s;
        Ok(())
    }
    fn load_all(&mut self, order: &[(Vec<u8>, u16)], functions: &[Bytes]) -> Result<(), Misfit> {
        for ((_, n), from) in order.iter().zip(functions) {
            if let Some(slot) = self.slot_mut(*n) {
                slot.function.load(&from.0)?;
            }
        }
        Ok(())
    }
}
