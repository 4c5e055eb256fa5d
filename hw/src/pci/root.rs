//! The host bridge's bus and all buses below it: the functions on them, and who of them is reached how.
//!
//! Banks: 0 the eight ports at 0xCF8 (configuration mechanism #1 and the reset register 0xCF9), [`ECAM`] the memory
//! window of PCI Express, [`HOTPLUG`] the ports of ACPI hot plug, `(n + 1) << 8 | b` bank `b` of the function of number
//! `n`. Output pin `n` is interrupt line `n`: ISA lines up to 15, then the I/O APIC's own.
//!
//! A function keeps its number as long as it is there; then the number is free. In the folder: `child.rs` what a function
//! sees of the world, `tree.rs` the way to it (configuration cycles, windows of bridges, power), `lines.rs` the way of its
//! interrupts, `plug.rs` how it comes and goes, `saved.rs`, and `info.rs` for the monitor.

use super::Function;
use super::acpi_hotplug::{self, AcpiHotplug};
use super::bridge::Forward;
use device::*;
use std::collections::{BTreeMap, BTreeSet};

/// The bank of the PCI Express configuration window.
pub const ECAM: u16 = 1;
/// The bank of the ports of ACPI hot plug.
pub const HOTPLUG: u16 = 2;

/// Numbers are `u8`s but for the last two, so that banks are 16 bits.
const MOST: usize = 254;

/// Which chips route the interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chipset {
    /// 440FX with PIIX3 at 1.0.
    I440fx,
    /// Q35 with ICH9's LPC bridge at 1f.0.
    Q35,
}

state! {
    /// What the bus itself remembers. How functions stand in it, `saved.rs` knows.
    pub struct State {
        1 address: u32 = 0,
        /// Port 0xCF9.
        2 reset: u8 = 0,
        3 functions: Vec<crate::Bytes> = Vec::new(),
        4 places: Vec<saved::Place> = Vec::new(),
        5 hotplug: acpi_hotplug::State = acpi_hotplug::State::default(),
    }
}

/// A bus: 0 is the root bus, `n + 1` the one below the function of number `n`.
type BusKey = u16;

fn below(parent: Option<u16>) -> BusKey {
    parent.map_or(0, |n| n + 1)
}

struct Slot {
    parent: Option<u16>,
    devfn: u8,
    /// What the user calls it.
    id: String,
    function: Box<dyn Function>,
    wake: Option<Tick>,
    /// ISA lines that it holds up.
    lines: u32,
    /// The INTx pin that it pulls.
    intx: Option<u8>,
    /// The windows that it wants to have shown, by their banks on the board.
    wanted: BTreeMap<u16, Option<Place>>,
    /// Whether it is reached at all: all bridges above have power, and function 0 says that there are others.
    seen: bool,
    /// What it lets through, if it is a bridge, as of the last look.
    forward: Option<Forward>,
    /// Whether it is a port with a slot.
    is_port: bool,
    /// Whether it was there at power-on.
    cold: bool,
    /// The user asked for it; another request before then makes no sense.
    unplugging: Option<Tick>,
    /// The units of disks that it has used: see `child.rs`.
    units: BTreeSet<u32>,
}

/// What has changed since the world was told.
#[derive(Default)]
struct Changed {
    lines: bool,
    wake: bool,
    /// Banks whose function moved them.
    banks: Vec<u16>,
}

pub struct Root {
    s: State,
    chipset: Chipset,
    slots: Vec<Option<Slot>>,
    /// Who stands where: by bus, then device and function.
    at: BTreeMap<(BusKey, u8), u16>,
    hotplug: Option<AcpiHotplug>,
    /// What a reset has ejected, until somebody can be told.
    ejected: Vec<acpi_hotplug::Eject>,
    changed: Changed,
    /// The lines as last told.
    told: Option<u32>,
    /// The windows as last shown.
    shown: BTreeMap<u16, Option<Place>>,
}

impl Root {
    pub fn new(chipset: Chipset) -> Self {
        Self {
            s: State::default(),
            chipset,
            slots: Vec::new(),
            at: BTreeMap::new(),
            hotplug: None,
            ejected: Vec::new(),
            changed: Changed::default(),
            told: None,
            shown: BTreeMap::new(),
        }
    }
    /// With the ports through which ACPI's methods plug and eject: on `pc`.
    pub fn with_acpi_hotplug(mut self) -> Self {
        self.hotplug = Some(AcpiHotplug::default());
        self
    }
    /// Puts a function at `device`.`function` of bus 0. Gives its number, for [`Request::From`].
    pub fn add(&mut self, device: u8, function: u8, part: impl Function) -> u16 {
        self.add_boxed(device, function, Box::new(part))
    }
    pub fn add_boxed(&mut self, device: u8, function: u8, part: Box<dyn Function>) -> u16 {
        self.put_in(None, device, function, part, true)
    }
    /// The same on the bus below the bridge of number `parent`, before the machine runs.
    pub fn add_below(&mut self, parent: u16, device: u8, function: u8, part: impl Function) -> u16 {
        self.add_below_boxed(parent, device, function, Box::new(part))
    }
    pub fn add_below_boxed(
        &mut self,
        parent: u16,
        device: u8,
        function: u8,
        part: Box<dyn Function>,
    ) -> u16 {
        self.put_in(Some(parent), device, function, part, true)
    }
    fn put_in(
        &mut self,
        parent: Option<u16>,
        device: u8,
        function: u8,
        mut part: Box<dyn Function>,
        cold: bool,
    ) -> u16 {
        assert!(self.is_free_on(parent, device, function), "PCI address {device:x}.{function}");
        let devfn = device << 3 | function;
        let slot = Slot {
            parent,
            devfn,
            id: String::new(),
            is_port: part.port().is_some(),
            function: part,
            wake: None,
            lines: 0,
            intx: None,
            wanted: BTreeMap::new(),
            seen: false,
            forward: None,
            cold,
            unplugging: None,
            units: BTreeSet::new(),
        };
        let n = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        if n == self.slots.len() {
            self.slots.push(None);
        }
        self.slots[n] = Some(slot);
        self.at.insert((below(parent), devfn), n as u16);
        if cold {
            self.populate(parent);
        }
        self.look(below(parent));
        n as u16
    }
    /// What the user calls the function of this number.
    pub fn set_id(&mut self, number: u16, id: &str) {
        if let Some(slot) = self.slot_mut(number) {
            slot.id = id.into();
        }
    }
    /// Whether the function of this number is a bridge, with a bus below it.
    pub fn is_bridge(&self, number: u16) -> bool {
        self.slot(number).is_some_and(|s| s.function.config().is_bridge())
    }
    /// The first device number that is free on the root bus.
    pub fn free_device(&self) -> Option<u8> {
        (1..32).find(|device| self.holds(None, *device).next().is_none())
    }
    /// The first device number that is free below a bridge.
    pub fn free_device_below(&self, parent: u16) -> Option<u8> {
        let free = |d: &u8| self.is_free_on(Some(parent), *d, 0);
        (0..32).find(|d| free(d) && self.holds(Some(parent), *d).next().is_none())
    }
    /// Whether a function can be put there.
    pub fn is_free(&self, device: u8, function: u8) -> bool {
        self.is_free_on(None, device, function)
    }
    /// The same on the bus below a bridge. Behind a port there is device 0 only.
    pub fn is_free_on(&self, parent: Option<u16>, device: u8, function: u8) -> bool {
        let bus = parent.is_none_or(|n| self.is_bridge(n) && (device == 0 || !self.is_port(n)));
        let free = !self.at.contains_key(&(below(parent), device << 3 | function & 7));
        let room = self.at.len() < MOST;
        bus && device < 32 && function < 8 && free && room
    }
    fn slot(&self, n: u16) -> Option<&Slot> {
        self.slots.get(usize::from(n))?.as_ref()
    }
    fn slot_mut(&mut self, n: u16) -> Option<&mut Slot> {
        self.slots.get_mut(usize::from(n))?.as_mut()
    }
    /// The function of this number, as what it is.
    pub fn function<T: Function>(&self, number: u16) -> Option<&T> {
        let f: &dyn std::any::Any = &*self.slot(number)?.function;
        f.downcast_ref()
    }
    /// Does something with a function, and tells what follows from it.
    pub fn with<T: Function, R>(
        &mut self,
        number: u16,
        cx: &mut dyn Cx,
        body: impl FnOnce(&mut T, &mut dyn Cx) -> R,
    ) -> Option<R> {
        let result = self.child(number, cx, |f, cx| {
            let f: &mut dyn std::any::Any = f;
            f.downcast_mut().map(|f| body(f, cx))
        })?;
        self.tell(cx);
        result
    }
    fn for_each(&mut self, cx: &mut dyn Cx, mut body: impl FnMut(&mut dyn Function, &mut dyn Cx)) {
        for n in 0..self.slots.len() {
            self.child(n as u16, cx, &mut body);
        }
    }
}

impl Device for Root {
    fn name(&self) -> &'static str {
        if self.chipset == Chipset::Q35 { "q35-pcihost" } else { "i440FX-pcihost" }
    }
    fn read(&mut self, at: Reg, w: Width, cx: &mut dyn Cx) -> u64 {
        match at.bank {
            0 => self.read_port(at.at, w, cx),
            ECAM => {
                let (bus, devfn) = ((at.at >> 20) as u8, (at.at >> 12) as u8);
                self.config_read(bus, devfn, at.at & 0xFFF, w, cx)
            }
            HOTPLUG => self.read_hotplug(at.at, w),
            bank => {
                let (n, bank) = ((bank >> 8).wrapping_sub(1), bank & 0xFF);
                let value = self.child(n, cx, |f, cx| f.read(Reg { bank, at: at.at }, w, cx));
                self.tell(cx);
                value.unwrap_or(w.mask())
            }
        }
    }
    fn write(&mut self, at: Reg, w: Width, value: u64, cx: &mut dyn Cx) {
        match at.bank {
            0 => self.write_port(at.at, w, value, cx),
            ECAM => {
                let (bus, devfn) = ((at.at >> 20) as u8, (at.at >> 12) as u8);
                self.config_write(bus, devfn, at.at & 0xFFF, w, value, cx)
            }
            HOTPLUG => self.write_hotplug(at.at, w, value, cx),
            bank => {
                let (n, bank) = ((bank >> 8).wrapping_sub(1), bank & 0xFF);
                self.child(n, cx, |f, cx| f.write(Reg { bank, at: at.at }, w, value, cx));
            }
        }
        self.tell(cx);
    }
    fn wake(&mut self, cx: &mut dyn Cx) {
        for n in 0..self.slots.len() as u16 {
            if let Some(slot) = self.slot_mut(n).filter(|s| s.wake.is_some_and(|at| at <= cx.now()))
            {
                slot.wake = None;
                self.child(n, cx, |f, cx| f.wake(cx));
            }
        }
        self.changed.wake = true;
        self.tell(cx);
    }
    fn input(&mut self, what: Input, cx: &mut dyn Cx) {
        match what {
            Input::To(n, what) => {
                self.child(n, cx, |f, cx| f.input(*what, cx));
            }
            // Whom it is for, knows it.
            what => self.for_each(cx, |f, cx| f.input(what.clone(), cx)),
        }
        self.tell(cx);
    }
    fn reset(&mut self) {
        self.s = State::default();
        for slot in self.slots.iter_mut().flatten() {
            slot.function.reset();
            (slot.wake, slot.lines, slot.unplugging) = (None, 0, None);
        }
        self.ejected.extend(self.hotplug.iter_mut().flat_map(AcpiHotplug::reset));
        for n in 0..self.slots.len() as u16 {
            self.populate(Some(n));
        }
    }
    fn settle(&mut self, cx: &mut dyn Cx) {
        (self.told, self.shown) = (None, BTreeMap::new());
        self.slots.iter_mut().flatten().for_each(|s| s.wanted.clear());
        for eject in std::mem::take(&mut self.ejected) {
            self.eject(eject, cx);
        }
        self.look(0);
        self.for_each(cx, |f, cx| {
            f.config_mut().show_all(cx);
            f.settle(cx);
        });
        self.show_own(cx);
        (self.changed.lines, self.changed.wake) = (true, true);
        self.tell(cx);
    }
    fn save(&self) -> Vec<u8> {
        self.saved().save()
    }
    fn load(&mut self, from: &[u8]) -> Result<(), Misfit> {
        self.take(State::load(from)?)
    }
    fn describe(&self) -> String {
        self.info()
    }
}

mod child;
mod info;
mod lines;
mod plug;
mod queries;
mod saved;
mod tree;

pub use plug::PlugError;

#[cfg(test)]
mod test;
