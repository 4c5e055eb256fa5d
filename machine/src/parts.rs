//! The parts of a machine and the wires between them.

use crate::fabric::{Effect, Link, World};
use device::{Device, Input, Pin, Reg, Width};
use hw::chipset::ioapic::IoApic;
use hw::chipset::lapic::{Lapic, lowest_priority};
use std::any::Any;
use std::collections::BTreeMap;

/// A part, by its place in the board's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceId(pub u32);

/// The far end of a wire: an input pin of a device.
type End = (DeviceId, Pin);

struct Slot {
    /// Taken out while the device is at work.
    device: Option<Box<dyn Device>>,
    name: String,
}

/// All devices of a machine, with who is joined to whom.
#[derive(Default)]
pub struct Parts {
    slots: Vec<Slot>,
    wires: BTreeMap<End, Vec<End>>,
    /// The levels of output pins that are high.
    high: BTreeMap<End, bool>,
    /// How many outputs hold an input high: joined outputs are OR-ed.
    held: BTreeMap<End, u32>,
    /// The local APICs by CPU.
    lapics: Vec<DeviceId>,
    ioapics: Vec<DeviceId>,
}

impl Parts {
    pub fn add(&mut self, name: impl Into<String>, device: impl Device) -> DeviceId {
        let id = DeviceId(self.slots.len() as u32);
        let device: Box<dyn Device> = Box::new(device);
        let any: &dyn Any = &*device;
        if any.is::<Lapic>() {
            self.lapics.push(id);
        }
        if any.is::<IoApic>() {
            self.ioapics.push(id);
        }
        self.slots.push(Slot { device: Some(device), name: name.into() });
        id
    }
    /// Joins an output pin to an input pin.
    pub fn join(&mut self, from: End, to: End) {
        self.wires.entry(from).or_default().push(to);
    }
    pub fn ids(&self) -> impl Iterator<Item = DeviceId> + use<> {
        (0..self.slots.len() as u32).map(DeviceId)
    }
    pub fn name(&self, id: DeviceId) -> &str {
        self.slots.get(id.0 as usize).map_or("?", |s| &s.name)
    }
    pub fn lapic_ids(&self) -> &[DeviceId] {
        &self.lapics
    }
    /// The device as it is, for looking at.
    pub fn peek(&self, id: DeviceId) -> Option<&dyn Device> {
        self.slots.get(id.0 as usize)?.device.as_deref()
    }
    /// The part if it is a `T`.
    pub fn get<T: Device>(&self, id: DeviceId) -> Option<&T> {
        let any: &dyn Any = self.peek(id)?;
        any.downcast_ref()
    }
    /// The part if it is a `T`, to be changed. Nothing follows from the change: see [`Parts::with_as`] where something must.
    pub fn get_mut<T: Device>(&mut self, id: DeviceId) -> Option<&mut T> {
        let any: &mut dyn Any = self.slots.get_mut(id.0 as usize)?.device.as_deref_mut()?;
        any.downcast_mut()
    }

    /// Lets a device work, then carries out what followed from it.
    pub fn with<R>(
        &mut self,
        world: &mut World,
        id: DeviceId,
        f: impl FnOnce(&mut dyn Device, &mut Link<'_>) -> R,
    ) -> Option<R> {
        let r = self.call(world, id, f);
        self.settle(world);
        r
    }
    /// The same with a device of a known type.
    pub fn with_as<T: Device, R>(
        &mut self,
        world: &mut World,
        id: DeviceId,
        f: impl FnOnce(&mut T, &mut Link<'_>) -> R,
    ) -> Option<R> {
        self.with(world, id, |d, cx| {
            let any: &mut dyn Any = d;
            any.downcast_mut().map(|d| f(d, cx))
        })?
    }

    fn call<R>(
        &mut self,
        world: &mut World,
        id: DeviceId,
        f: impl FnOnce(&mut dyn Device, &mut Link<'_>) -> R,
    ) -> Option<R> {
        let mut device = self.slots.get_mut(id.0 as usize)?.device.take()?;
        let r = f(&mut *device, &mut Link { world, id });
        self.slots[id.0 as usize].device = Some(device);
        Some(r)
    }

    /// Carries out queued effects until there are none: pin changes, interrupt messages.
    fn settle(&mut self, world: &mut World) {
        // A loop of parts that keep changing each other's pins would be our bug; the guest must not hang us with it.
        for _ in 0..10_000 {
            let Some(effect) = world.effects.pop_front() else { return };
            match effect {
                Effect::Pin { from, pin, high } => self.pin(world, (from, pin), high),
                Effect::Message { from, message } => self.message(world, from, &message),
                Effect::Eoi(vector) => {
                    for id in self.ioapics.clone() {
                        self.call_as(world, id, |d: &mut IoApic, cx| d.eoi(vector, cx));
                    }
                }
            }
        }
        world.effects.clear();
    }
    fn call_as<T: Device, R>(
        &mut self,
        world: &mut World,
        id: DeviceId,
        f: impl FnOnce(&mut T, &mut Link<'_>) -> R,
    ) -> Option<R> {
        self.call(world, id, |d, cx| {
            let any: &mut dyn Any = d;
            any.downcast_mut().map(|d| f(d, cx))
        })?
    }

    fn pin(&mut self, world: &mut World, from: End, high: bool) {
        for (to, pin) in self.changed(from, high) {
            if let Some(is) = self.hold((to, pin), high) {
                self.call(world, to, |d, cx| d.wire(pin, is, cx));
            }
        }
    }
    /// Notes the level of an output. Gives the inputs that it is joined to, or none if it was so already.
    fn changed(&mut self, from: End, high: bool) -> Vec<End> {
        if self.high.insert(from, high).unwrap_or(false) == high {
            return Vec::new();
        }
        self.wires.get(&from).cloned().unwrap_or_default()
    }
    /// One of the outputs that are joined to an input has changed. Gives the input's level if that has, too.
    fn hold(&mut self, to: End, high: bool) -> Option<bool> {
        let held = self.held.entry(to).or_default();
        let was = *held != 0;
        *held = if high { *held + 1 } else { held.saturating_sub(1) };
        let is = *held != 0;
        (was != is).then_some(is)
    }

    fn message(&mut self, world: &mut World, from: Option<DeviceId>, m: &device::ApicMessage) {
        use device::{Delivery, Target};
        if m.how == Delivery::LowestPriority {
            let all =
                self.lapics.iter().enumerate().filter_map(|(n, &id)| Some((n, self.get(id)?)));
            if let Some(n) = lowest_priority(all, m) {
                let id = self.lapics[n];
                self.call_as(world, id, |d: &mut Lapic, cx| d.accept(m, cx));
            }
            return;
        }
        for id in self.lapics.clone() {
            let own = from == Some(id);
            let hit = match m.to {
                Target::AllButSender if own => false,
                Target::Oneself => own,
                _ => self.get::<Lapic>(id).is_some_and(|l| l.matches(m)),
            };
            if hit {
                self.call_as(world, id, |d: &mut Lapic, cx| d.accept(m, cx));
            }
        }
    }

    /// Power-on or reset values for all, with the outputs that follow from them.
    pub fn reset(&mut self, world: &mut World) {
        self.high.clear();
        self.held.clear();
        world.forget();
        for slot in &mut self.slots {
            if let Some(d) = &mut slot.device {
                d.reset();
            }
        }
        self.settle_all(world);
    }
    /// Every device sets its outputs from its state.
    pub fn settle_all(&mut self, world: &mut World) {
        for id in self.ids() {
            self.with(world, id, |d, cx| d.settle(cx));
        }
    }
    /// Gives a device a saved state; its outputs follow by [`Parts::resume`].
    pub fn load(&mut self, id: DeviceId, from: &[u8]) -> Result<(), device::Misfit> {
        match self.slots.get_mut(id.0 as usize).and_then(|s| s.device.as_deref_mut()) {
            Some(d) => d.load(from),
            None => Err(device::Misfit::Unfit("no such part".into())),
        }
    }
    /// After a load: all outputs are as the states say. No input hears of them, for what it heard is in its own state, and
    /// that may be more than the levels of now.
    pub fn resume(&mut self, world: &mut World) {
        self.high.clear();
        self.held.clear();
        world.forget();
        for id in self.ids() {
            self.call(world, id, |d, cx| d.settle(cx));
            while let Some(effect) = world.effects.pop_front() {
                let Effect::Pin { from, pin, high } = effect else { continue };
                for to in self.changed((from, pin), high) {
                    self.hold(to, high);
                }
            }
        }
    }

    /// Wakes the devices whose time has come.
    pub fn wake_due(&mut self, world: &mut World) {
        while let Some((id, _)) = world.due() {
            self.with(world, id, |d, cx| d.wake(cx));
        }
    }
    pub fn input(&mut self, world: &mut World, id: DeviceId, what: Input) {
        self.with(world, id, |d, cx| d.input(what, cx));
    }
    pub fn read(&mut self, world: &mut World, id: DeviceId, at: Reg, w: Width) -> u64 {
        self.with(world, id, |d, cx| d.read(at, w, cx)).unwrap_or(w.mask())
    }
    pub fn write(&mut self, world: &mut World, id: DeviceId, at: Reg, w: Width, v: u64) {
        self.with(world, id, |d, cx| d.write(at, w, v, cx));
    }
}
