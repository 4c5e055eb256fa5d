//! How functions come and go while the machine runs.
//!
//! Behind a port with a slot the way of PCI Express 4.0, 6.7, is gone; on `pc`'s buses ACPI's
//! (`../acpi_hotplug.rs`). In both a device of several functions comes with its function 0, the last to be plugged, and
//! goes as a whole.

use super::child::abandon;
use super::*;
use crate::pci::acpi_hotplug::{EVENT, Eject};
use crate::pci::express::ENDPOINT_LINK;
use crate::pci::port::Card;

/// How long a request to give a device back is waited for before another can be made: at a slot, and by ACPI.
const SLOT_PATIENCE: Tick = 3 * SECOND;
const ACPI_PATIENCE: Tick = 5 * SECOND;

/// Why a function cannot be plugged or unplugged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlugError {
    /// There is no function, or no bus below the function, of this number.
    NotThere(u16),
    /// Nothing can be plugged into this bus (below this bridge) while the machine runs.
    NoHotplug(Option<u16>),
    /// No such device and function on this bus.
    NoSuchPlace { device: u8, function: u8 },
    /// The function of this number is there.
    Taken(u16),
    /// Function 0 is there already, so the guest would not look for another.
    Complete(u16),
    /// Functions are there, but function 0 says that it is alone.
    SingleFunction,
    /// The bus has no numbers left.
    Full,
    /// It is a part of the machine.
    Fixed,
    /// The slot's indicator blinks: the guest is about to power it up or down.
    Blinking,
    /// It was asked for already.
    Asked,
}

impl std::fmt::Display for PlugError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotThere(n) => write!(f, "there is no PCI function or bus {n}"),
            Self::NoHotplug(_) => write!(f, "the bus does not support hotplugging"),
            Self::NoSuchPlace { device, function } => {
                write!(f, "PCI: slot {device} function {function} is not valid on this bus")
            }
            Self::Taken(_) => write!(f, "PCI: the slot and function are in use"),
            Self::Complete(_) => write!(
                f,
                "PCI: function 0 of the slot is there already, a new function cannot be exposed to guest"
            ),
            Self::SingleFunction => {
                write!(f, "PCI: function 0 indicates single function, but others are populated")
            }
            Self::Full => write!(f, "PCI: too many functions"),
            Self::Fixed => write!(f, "the device is a part of the machine"),
            Self::Blinking => write!(f, "guest is busy (power indicator blinking)"),
            Self::Asked => write!(f, "the device is already in the process of unplug"),
        }
    }
}

impl std::error::Error for PlugError {}

impl Root {
    /// Puts a function into a running machine. The guest hears of it with function 0 of its device.
    pub fn plug(
        &mut self,
        parent: Option<u16>,
        device: u8,
        function: u8,
        part: Box<dyn Function>,
        cx: &mut dyn Cx,
    ) -> Result<u16, PlugError> {
        self.can_plug(parent, device, function, &*part)?;
        let n = self.put_in(parent, device, function, part, false);
        self.child(n, cx, |f, cx| {
            f.config_mut().show_all(cx);
            f.settle(cx);
        });
        if function == 0 {
            let link = self.link(n);
            match parent.filter(|p| self.is_port(*p)) {
                Some(port) => self.happened(port, Card::In(link), cx),
                None => self.acpi(cx, |h| h.plugged(below(parent), device)),
            }
        }
        self.show_below(below(parent), cx);
        self.tell(cx);
        Ok(n)
    }
    fn can_plug(
        &mut self,
        parent: Option<u16>,
        device: u8,
        function: u8,
        part: &dyn Function,
    ) -> Result<(), PlugError> {
        if let Some(n) = parent.filter(|n| !self.is_bridge(*n)) {
            return Err(PlugError::NotThere(n));
        }
        if !self.is_hot(parent) {
            return Err(PlugError::NoHotplug(parent));
        }
        let single = parent.is_some_and(|n| self.is_port(n));
        if device > 31 || function > 7 || single && device != 0 {
            return Err(PlugError::NoSuchPlace { device, function });
        }
        let at = |f: u8| self.at.get(&(below(parent), device << 3 | f)).copied();
        if let Some(n) = at(function) {
            return Err(PlugError::Taken(n));
        }
        if let Some(n) = at(0) {
            return Err(PlugError::Complete(n));
        }
        let alone = part.config().u8(0x0E) & 0x80 == 0;
        if function == 0 && alone && self.holds(parent, device).next().is_some() {
            return Err(PlugError::SingleFunction);
        }
        if self.at.len() >= MOST { Err(PlugError::Full) } else { Ok(()) }
    }
    /// Whether functions come and go on a bus while the machine runs.
    pub fn is_hot(&mut self, parent: Option<u16>) -> bool {
        match parent.and_then(|n| self.slot_mut(n)?.function.port().map(|p| p.hotplug())) {
            Some(hot) => hot,
            None => self.acpi_serves(below(parent)),
        }
    }
    /// The user wants a function back. When the guest has let it go, the bus asks [`Request::Unplugged`].
    pub fn unplug_request(&mut self, number: u16, cx: &mut dyn Cx) -> Result<(), PlugError> {
        let slot = self.slot(number).ok_or(PlugError::NotThere(number))?;
        let (parent, device) = (slot.parent, slot.devfn >> 3);
        if !slot.ejectable() && !parent.is_some_and(|n| self.is_port(n)) {
            return Err(PlugError::Fixed);
        }
        if !self.is_hot(parent) {
            return Err(PlugError::NoHotplug(parent));
        }
        if self.slot(number).is_some_and(|s| s.unplugging.is_some_and(|until| cx.now() < until)) {
            return Err(PlugError::Asked);
        }
        match parent.filter(|n| self.is_port(*n)) {
            Some(port) => self.press(port, number, cx)?,
            None if self.is_announced(number) => {
                self.wait(number, cx.now().saturating_add(ACPI_PATIENCE));
                self.acpi(cx, |h| h.wanted(below(parent), device));
            }
            None => self.take_out(number, cx),
        }
        self.tell(cx);
        Ok(())
    }
    /// Asks through the slot's button, if there is somebody to be asked.
    fn press(&mut self, port: u16, number: u16, cx: &mut dyn Cx) -> Result<(), PlugError> {
        let announced = self.is_announced(number);
        let Some(p) = self.slot_mut(port).and_then(|s| s.function.port()) else { return Ok(()) };
        let (blinking, released) = (p.blinking(), p.released());
        if !announced {
            self.take_out(number, cx);
        } else if blinking {
            return Err(PlugError::Blinking);
        } else if released {
            self.empty(port, cx);
        } else {
            self.wait(number, cx.now().saturating_add(SLOT_PATIENCE));
            self.happened(port, Card::Button, cx);
        }
        Ok(())
    }
    fn wait(&mut self, number: u16, until: Tick) {
        if let Some(slot) = self.slot_mut(number) {
            slot.unplugging = Some(until);
        }
    }
    /// Whether its device has its function 0, so that the guest may know of it.
    fn is_announced(&self, number: u16) -> bool {
        let first = |s: &Slot| (below(s.parent), s.devfn & !7);
        self.slot(number).is_some_and(|s| self.at.contains_key(&first(s)))
    }
    /// Takes a function out without asking anybody: with it all of its device, and all that is below.
    pub fn remove(&mut self, number: u16, cx: &mut dyn Cx) -> Result<(), PlugError> {
        let slot = self.slot(number).ok_or(PlugError::NotThere(number))?;
        let (parent, device) = (slot.parent, slot.devfn >> 3);
        if !slot.function.removable() {
            return Err(PlugError::Fixed);
        }
        match parent.filter(|n| self.is_port(*n)) {
            _ if !self.is_announced(number) => self.take_out(number, cx),
            Some(port) => self.empty(port, cx),
            None => {
                let all: Vec<u16> = self.holds(parent, device).collect();
                all.into_iter().for_each(|n| self.take_out(n, cx));
                if let Some(h) = &mut self.hotplug {
                    h.gone(below(parent), device);
                }
            }
        }
        self.tell(cx);
        Ok(())
    }

    // What the slots and registers do.

    /// Takes all out of a port's slot.
    fn empty(&mut self, port: u16, cx: &mut dyn Cx) {
        let all: Vec<u16> = self.on(port + 1).collect();
        all.into_iter().for_each(|n| self.take_out(n, cx));
        self.happened(port, Card::Out, cx);
    }
    /// After a write to a function that may be a port: whether it let its card go.
    pub(super) fn let_go(&mut self, n: u16, cx: &mut dyn Cx) {
        let port = self.slot_mut(n).filter(|s| s.is_port).and_then(|s| s.function.port());
        if port.is_some_and(|p| p.take_release()) {
            self.empty(n, cx);
        }
    }
    fn happened(&mut self, port: u16, what: Card, cx: &mut dyn Cx) {
        self.child(port, cx, |f, cx| f.port().map(|p| p.happened(what, cx)));
        self.look_through(port, cx);
    }
    /// A port finds at power-on what stands in its slot.
    pub(super) fn populate(&mut self, port: Option<u16>) {
        let Some(port) = port.filter(|n| self.is_port(*n)) else { return };
        let link = self.at.get(&(port + 1, 0)).map(|n| self.link(*n));
        if let Some(p) = self.slot_mut(port).and_then(|s| s.function.port()) {
            p.populate(link);
        }
    }
    fn link(&self, n: u16) -> u16 {
        self.slot(n).and_then(|s| s.function.config().link()).unwrap_or(ENDPOINT_LINK)
    }
    fn acpi(&mut self, cx: &mut dyn Cx, body: impl FnOnce(&mut AcpiHotplug)) {
        if let Some(h) = &mut self.hotplug {
            body(h);
            self.for_each(cx, |f, cx| f.general_event(EVENT, cx));
        }
    }
    pub(super) fn read_hotplug(&mut self, at: u64, w: Width) -> u64 {
        let Some(mut h) = self.hotplug.take() else { return w.mask() };
        let value = h.read(at, w, |bus| self.removable(bus));
        self.hotplug = Some(h);
        value
    }
    pub(super) fn write_hotplug(&mut self, at: u64, w: Width, value: u64, cx: &mut dyn Cx) {
        if let Some(eject) = self.hotplug.as_mut().and_then(|h| h.write(at, w, value)) {
            self.eject(eject, cx);
        }
    }
    /// Takes out what ACPI ejects.
    pub(super) fn eject(&mut self, Eject { bus, device }: Eject, cx: &mut dyn Cx) {
        if !self.acpi_serves(bus) {
            return;
        }
        let all: Vec<u16> = self.holds(bus.checked_sub(1), device).collect();
        if all.iter().filter_map(|n| self.slot(*n)).all(Slot::ejectable) {
            all.into_iter().for_each(|n| self.take_out(n, cx));
            if let Some(h) = &mut self.hotplug {
                h.gone(bus, device);
            }
        }
    }
    /// Takes a function out, and first what is below it.
    fn take_out(&mut self, n: u16, cx: &mut dyn Cx) {
        let all: Vec<u16> = self.on(n + 1).collect();
        all.into_iter().for_each(|n| self.take_out(n, cx));
        self.child(n, cx, |f, cx| f.unplugged(cx));
        self.give_up(n, cx);
        let Some(slot) = self.slots.get_mut(usize::from(n)).and_then(Option::take) else { return };
        self.at.remove(&(below(slot.parent), slot.devfn));
        for bank in slot.wanted.into_keys() {
            if self.shown.remove(&bank).flatten().is_some() {
                cx.map(bank, None);
            }
        }
        while let Some(None) = self.slots.last() {
            self.slots.pop();
        }
        self.look(below(slot.parent));
        self.changed.wake = true;
        cx.ask(Request::Unplugged(n));
    }
    /// Gives up what a function asked of disks.
    fn give_up(&mut self, n: u16, cx: &mut dyn Cx) {
        let units = self.slot_mut(n).map(|s| std::mem::take(&mut s.units));
        for unit in units.unwrap_or_default() {
            cx.ask(Request::From(n, Box::new(abandon(unit))));
        }
    }

    // Resets of parts.

    /// Resets one function: on its own wish (PCIe 4.0, 6.6.2), or because its bus or slot is.
    pub(super) fn reset_function(&mut self, n: u16, cx: &mut dyn Cx) {
        self.give_up(n, cx);
        let Some(slot) = self.slot_mut(n) else { return };
        slot.function.reset();
        (slot.wake, slot.lines) = (None, 0);
        (self.changed.lines, self.changed.wake) = (true, true);
        self.populate(Some(n));
        self.child(n, cx, |f, cx| {
            f.config_mut().show_all(cx);
            f.settle(cx);
        });
    }
    pub(super) fn reset_below(&mut self, bus: BusKey, cx: &mut dyn Cx) {
        let all: Vec<u16> = self.on(bus).collect();
        for n in all {
            self.reset_function(n, cx);
            self.reset_below(n + 1, cx);
        }
    }
}
