//! The world as devices see it: time, wires, messages, DMA, requests.

use crate::config::{Item, Log};
use crate::drives::Drives;
use crate::parts::DeviceId;
use device::{ApicMessage, Cx, Dma, DmaFault, Pin, Place, Request, Seen, Space, Tick};
use memory::{Entry, Map, Ram, Target, Window};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// What follows from a device's work, done once it has returned.
pub(crate) enum Effect {
    Pin { from: DeviceId, pin: Pin, high: bool },
    Message { from: Option<DeviceId>, message: ApicMessage },
    Eoi(u8),
}

/// Everything around the devices but the devices themselves.
pub struct World {
    /// Guest time, as far as it is known; brought up to date before any device works.
    pub now: Tick,
    pub ram: Arc<Ram>,
    backing: Backing,
    pub drives: Drives,
    pub memory: Map,
    pub ports: Map,
    /// What a CPU in system management mode sees in front of `memory`.
    pub smm: Map,
    pub(crate) effects: VecDeque<Effect>,
    /// Requests for the front end.
    pub(crate) requests: Vec<(DeviceId, Request)>,
    /// Requests for the cores and the board.
    pub(crate) orders: Vec<Request>,
    wakes: BTreeSet<(Tick, DeviceId)>,
    wake_of: BTreeMap<DeviceId, Tick>,
    /// Something happened that the run loop must look at before a core goes on.
    pub(crate) attention: bool,
    pub random: Random,
    pub log: Log,
    complaints: u32,
}

/// Priority of a device's window in the address map: above RAM, so that a guest that maps one over RAM sees it.
const WINDOW: i32 = 1;
/// The same of a window of the memory controller.
const FRONT: i32 = 2;

impl World {
    pub fn new(ram: Arc<Ram>, seed: u64, drives: Drives) -> Self {
        World {
            now: 0,
            backing: Backing(ram.clone()),
            ram,
            drives,
            memory: Map::default(),
            ports: Map::default(),
            smm: Map::default(),
            effects: VecDeque::new(),
            requests: Vec::new(),
            orders: Vec::new(),
            wakes: BTreeSet::new(),
            wake_of: BTreeMap::new(),
            attention: false,
            random: Random(seed),
            log: Log::default(),
            complaints: 0,
        }
    }
    /// When the next device is to be woken, or has an answer.
    pub fn next_wake(&self) -> Option<Tick> {
        let wake = self.wakes.first().map(|&(at, _)| at);
        match (wake, self.drives.next_due()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
    /// A device whose time has come; it is no longer waiting.
    pub(crate) fn due(&mut self) -> Option<(DeviceId, Tick)> {
        let &(at, id) = self.wakes.first().filter(|&&(at, _)| at <= self.now)?;
        self.wakes.pop_first();
        self.wake_of.remove(&id);
        Some((id, at))
    }
    /// Forgets wishes and effects, before every device says them again.
    pub(crate) fn forget(&mut self) {
        self.wakes.clear();
        self.wake_of.clear();
        self.effects.clear();
        self.orders.clear();
    }
    /// A line for `-d guest_errors`; a flood of them is cut off.
    pub(crate) fn complain(&mut self, what: std::fmt::Arguments<'_>) {
        const LINES: u32 = 1000;
        self.complaints = self.complaints.saturating_add(1);
        if self.complaints <= LINES {
            self.log.line(Item::GuestErrors, what);
        }
    }
    fn map_of(&mut self, space: Space) -> &mut Map {
        match space {
            Space::Memory | Space::Front => &mut self.memory,
            Space::Io => &mut self.ports,
            Space::Smm => &mut self.smm,
        }
    }
    /// How often the maps of memory have changed.
    pub fn map_changes(&self) -> u64 {
        self.memory.changes() + self.smm.changes()
    }
}

/// A small generator (xorshift64*), so that a seed says all.
pub struct Random(pub u64);
impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.max(1);
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}

/// One device's [`Cx`].
pub struct Link<'a> {
    pub(crate) world: &'a mut World,
    pub(crate) id: DeviceId,
}

impl Cx for Link<'_> {
    fn now(&self) -> Tick {
        self.world.now
    }
    fn wake_at(&mut self, at: Option<Tick>) {
        let (w, id) = (&mut *self.world, self.id);
        if w.wake_of.get(&id).copied() == at {
            return;
        }
        if let Some(old) = w.wake_of.remove(&id) {
            w.wakes.remove(&(old, id));
        }
        if let Some(at) = at {
            if w.next_wake().is_none_or(|first| at < first) {
                w.attention = true;
            }
            w.wakes.insert((at, id));
            w.wake_of.insert(id, at);
        }
    }
    fn irq(&mut self, pin: Pin, high: bool) {
        self.world.effects.push_back(Effect::Pin { from: self.id, pin, high });
    }
    fn dma(&mut self) -> &mut dyn Dma {
        self
    }
    fn backing(&mut self) -> &mut dyn Dma {
        &mut self.world.backing
    }
    fn ask(&mut self, what: Request) {
        if Drives::serves(&what) {
            let (now, due) = (self.world.now, self.world.next_wake());
            self.world.drives.ask(now, self.id, what);
            // An answer that is due before all else shortens what a core may still run.
            self.world.attention |= self.world.next_wake() != due;
            return;
        }
        match what {
            Request::Eoi(vector) => self.world.effects.push_back(Effect::Eoi(vector)),
            Request::Cpu { .. }
            | Request::A20(_)
            | Request::Reset
            | Request::FirmwareItem
            | Request::Smi { .. } => {
                self.world.orders.push(what);
                self.world.attention = true;
            }
            _ => {
                self.world.requests.push((self.id, what));
                self.world.attention = true;
            }
        }
    }
    fn apic(&mut self, message: ApicMessage) {
        self.world.effects.push_back(Effect::Message { from: Some(self.id), message });
    }
    fn map(&mut self, bank: u16, place: Option<Place>) {
        let device = self.id.0;
        let writes = Window { device, bank, at: 0 };
        for space in [Space::Memory, Space::Front, Space::Io, Space::Smm] {
            let priority = if space == Space::Front { FRONT } else { WINDOW };
            let owner = |e: &Entry| e.owner == Some((device, bank)) && e.priority == priority;
            let map = self.world.map_of(space);
            let old = map.entries().iter().find(|e| owner(e)).map(|e| (e.base, e.len, e.target));
            let new = place.filter(|p| p.space == space).map(|p| {
                let target = match p.what {
                    Seen::Registers => Target::Io { device, bank, at: 0 },
                    Seen::Ram { offset } => Target::Ram { offset },
                    Seen::Rom { offset } => Target::Rom { offset, writes: Some(writes) },
                };
                (p.base, p.len, target)
            });
            if old == new {
                continue;
            }
            if old.is_some() {
                map.remove(owner);
            }
            if let Some((base, len, target)) = new {
                map.add(Entry {
                    base,
                    len,
                    target,
                    priority,
                    name: format!("device {device} window {bank}"),
                    owner: Some((device, bank)),
                });
            }
            self.world.attention = true;
        }
    }
    fn random(&mut self) -> u64 {
        self.world.random.next()
    }
    fn complain(&mut self, what: std::fmt::Arguments<'_>) {
        self.world.complain(what)
    }
}

/// Memory behind devices' windows: offsets into RAM.
pub struct Backing(Arc<Ram>);

impl Dma for Backing {
    fn read(&mut self, addr: u64, into: &mut [u8]) -> Result<(), DmaFault> {
        self.0.read(addr, into).ok_or(DmaFault)
    }
    fn write(&mut self, addr: u64, from: &[u8]) -> Result<(), DmaFault> {
        self.0.write(addr, from).ok_or(DmaFault)
    }
}

impl Dma for Link<'_> {
    fn read(&mut self, addr: u64, into: &mut [u8]) -> Result<(), DmaFault> {
        let (mut addr, mut into) = (addr, into);
        while !into.is_empty() {
            let run = self.world.memory.run(addr).min(into.len() as u64) as usize;
            let (now, rest) = into.split_at_mut(run);
            match self.world.memory.at(addr) {
                Target::Ram { offset } | Target::Rom { offset, .. } => {
                    self.world.ram.read(offset, now).ok_or(DmaFault)?
                }
                _ => return Err(DmaFault),
            }
            (addr, into) = (addr.checked_add(run as u64).ok_or(DmaFault)?, rest);
        }
        Ok(())
    }
    fn write(&mut self, addr: u64, from: &[u8]) -> Result<(), DmaFault> {
        if let (0xFEE0_0000..=0xFEEF_FFFF, Ok(data)) = (addr, <[u8; 4]>::try_from(from)) {
            if let Some(message) = hw::chipset::msi::decode(addr, u32::from_le_bytes(data)) {
                self.world.effects.push_back(Effect::Message { from: None, message });
            }
            return Ok(());
        }
        let (mut addr, mut from) = (addr, from);
        while !from.is_empty() {
            let run = self.world.memory.run(addr).min(from.len() as u64) as usize;
            let (now, rest) = from.split_at(run);
            match self.world.memory.at(addr) {
                Target::Ram { offset } => self.world.ram.write(offset, now).ok_or(DmaFault)?,
                Target::Rom { .. } => {}
                _ => return Err(DmaFault),
            }
            (addr, from) = (addr.checked_add(run as u64).ok_or(DmaFault)?, rest);
        }
        Ok(())
    }
}
