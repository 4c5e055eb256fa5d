//! The world of one function.

use super::{Changed, Root};
use crate::pci::Function;
use device::*;
use std::collections::{BTreeMap, BTreeSet};

/// So many units of disks are remembered for a function that goes.
const MOST_UNITS: usize = 1024;

pub(super) struct Child<'a> {
    cx: &'a mut dyn Cx,
    number: u16,
    /// Whether it may be a bus master.
    master: bool,
    wake: &'a mut Option<Tick>,
    lines: &'a mut u32,
    wanted: &'a mut BTreeMap<u16, Option<Place>>,
    units: &'a mut BTreeSet<u32>,
    changed: &'a mut Changed,
}

/// A disk of a function, or of one of its parts, as a number.
fn unit(what: &Request) -> Option<u32> {
    match what {
        Request::Disk { unit, .. } => Some(u32::from(*unit)),
        Request::From(part, what) => match **what {
            Request::Disk { unit, .. } => Some((u32::from(*part) + 1) << 16 | u32::from(unit)),
            _ => None,
        },
        _ => None,
    }
}

/// Gives up what was asked of the disk of such a number.
pub(super) fn abandon(unit: u32) -> Request {
    let abandon = Request::DiskAbandon { unit: unit as u16 };
    match (unit >> 16).checked_sub(1) {
        Some(part) => Request::From(part as u16, Box::new(abandon)),
        None => abandon,
    }
}

impl Cx for Child<'_> {
    fn now(&self) -> Tick {
        self.cx.now()
    }
    fn wake_at(&mut self, at: Option<Tick>) {
        self.changed.wake |= *self.wake != at;
        *self.wake = at
    }
    fn irq(&mut self, pin: Pin, high: bool) {
        if pin.0 < 24 {
            let lines = *self.lines & !(1 << pin.0) | (high as u32) << pin.0;
            self.changed.lines |= lines != *self.lines;
            *self.lines = lines;
        }
    }
    fn dma(&mut self) -> &mut dyn Dma {
        self
    }
    fn backing(&mut self) -> &mut dyn Dma {
        self.cx.backing()
    }
    fn ask(&mut self, what: Request) {
        if let Some(unit) = unit(&what)
            && self.units.len() < MOST_UNITS
        {
            self.units.insert(unit);
        }
        // What is answered, or goes to a back end, has to say from whom it is.
        let what = match what {
            Request::Send(_)
            | Request::Accept(_)
            | Request::SendBreak
            | Request::TimeOfDay
            | Request::Disk { .. }
            | Request::DiskAbandon { .. }
            | Request::From(..) => Request::From(self.number, Box::new(what)),
            what => what,
        };
        self.cx.ask(what)
    }
    fn apic(&mut self, message: ApicMessage) {
        self.cx.apic(message)
    }
    fn map(&mut self, bank: u16, place: Option<Place>) {
        let bank = (self.number + 1) << 8 | bank & 0xFF;
        if self.wanted.insert(bank, place) != Some(place) {
            self.changed.banks.push(bank);
        }
    }
    fn random(&mut self) -> u64 {
        self.cx.random()
    }
    fn complain(&mut self, what: std::fmt::Arguments<'_>) {
        self.cx.complain(what)
    }
}

/// Memory as a function sees it: only with bus mastering on in it.  PCI 3.0, 6.2.2. That of the bridges above does not count,
/// as on QEMU: SeaBIOS boots from disks behind bridges in which it is off.
impl Dma for Child<'_> {
    fn read(&mut self, addr: u64, into: &mut [u8]) -> Result<(), DmaFault> {
        if self.master { self.cx.dma().read(addr, into) } else { Err(DmaFault) }
    }
    fn write(&mut self, addr: u64, from: &[u8]) -> Result<(), DmaFault> {
        if self.master { self.cx.dma().write(addr, from) } else { Err(DmaFault) }
    }
}

impl Root {
    /// Calls a function, and shows the windows that it moved.
    pub(super) fn child<R>(
        &mut self,
        n: u16,
        cx: &mut dyn Cx,
        body: impl FnOnce(&mut dyn Function, &mut dyn Cx) -> R,
    ) -> Option<R> {
        let slot = self.slots.get_mut(usize::from(n))?.as_mut()?;
        let changed = &mut self.changed;
        let mut child = Child {
            cx,
            number: n,
            master: slot.seen && slot.function.config().bus_master(),
            wake: &mut slot.wake,
            lines: &mut slot.lines,
            wanted: &mut slot.wanted,
            units: &mut slot.units,
            changed,
        };
        let result = body(&mut *slot.function, &mut child);
        let intx = slot.function.config().intx();
        self.changed.lines |= intx != slot.intx;
        slot.intx = intx;
        if !self.changed.banks.is_empty() {
            self.show_changed(n, cx);
        }
        Some(result)
    }
}
