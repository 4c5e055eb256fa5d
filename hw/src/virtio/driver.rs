//! For tests: a small driver, with its rings in the bench's memory.

use super::pci::{PciOptions, VirtioPci};
use super::*;
use crate::pci::Function;
use Width::*;

pub const CONFIG: u64 = 0x2000;
pub const NOTIFY: u64 = 0x3000;

/// Descriptor flags.
pub const NEXT: u16 = 1;
pub const WRITE: u16 = 2;
pub const INDIRECT: u16 = 4;

/// One buffer: address, length, whether the device writes it.
pub type Piece = (u64, u32, bool);

#[derive(Clone, Default)]
pub struct Ring {
    pub size: u16,
    pub desc: u64,
    pub avail: u64,
    pub used: u64,
    pub index: u16,
    pub seen: u16,
    free: u16,
}

/// A device, its world, and a driver's memory of both.
pub struct Guest<D> {
    pub d: VirtioPci<D>,
    pub b: Bench,
    pub rings: Vec<Ring>,
    pub legacy: bool,
    pub indirect: bool,
    heap: u64,
}

impl<D: VirtioDevice> Guest<D> {
    pub fn new(device: D, options: PciOptions) -> Self {
        let mut g = Self {
            d: VirtioPci::new(device, options),
            b: Bench::with_ram(4 << 20),
            rings: Vec::new(),
            legacy: false,
            indirect: false,
            heap: 0x1000,
        };
        g.config_write(4, W16, 7);
        g.d.settle(&mut g.b);
        g
    }
    pub fn config_write(&mut self, at: u64, w: Width, value: u64) {
        self.d.config_mut().write(at, w, value);
        self.d.config_written(&mut self.b);
    }
    pub fn read(&mut self, bank: u16, at: u64, w: Width) -> u64 {
        self.d.read(Reg { bank, at }, w, &mut self.b)
    }
    pub fn write(&mut self, bank: u16, at: u64, w: Width, value: u64) {
        self.d.write(Reg { bank, at }, w, value, &mut self.b)
    }
    pub fn input(&mut self, what: Input) {
        self.d.input(what, &mut self.b)
    }
    pub fn status(&mut self) -> u8 {
        let (bank, at) = if self.legacy { (0, 0x12) } else { (4, 0x14) };
        self.read(bank, at, W8) as u8
    }

    // Memory.

    pub fn alloc(&mut self, len: u64) -> u64 {
        let at = self.heap;
        self.heap = (at + len).next_multiple_of(16);
        at
    }
    /// Memory with these bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> u64 {
        let at = self.alloc(bytes.len() as u64);
        self.put(at, bytes);
        at
    }
    pub fn put(&mut self, at: u64, bytes: &[u8]) {
        self.b.ram[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
    }
    pub fn get(&self, at: u64, len: usize) -> &[u8] {
        &self.b.ram[at as usize..at as usize + len]
    }
    pub fn u16(&self, at: u64) -> u16 {
        u16::from_le_bytes(self.get(at, 2).try_into().unwrap())
    }
    pub fn u32(&self, at: u64) -> u32 {
        u32::from_le_bytes(self.get(at, 4).try_into().unwrap())
    }

    // Setting up.

    /// As Linux and OVMF do it: what is offered of these features is taken. Gives those.
    pub fn start_modern(&mut self, features: u64) -> u64 {
        let w = |g: &mut Self, at, w, v| g.write(4, at, w, v);
        w(self, 0x14, W8, 0);
        assert_eq!(self.status(), 0);
        w(self, 0x14, W8, 3);
        let mut taken = 0;
        for word in 0..2 {
            w(self, 0, W32, word);
            let offered = self.read(4, 4, W32);
            let take = offered & (features >> (32 * word) & 0xFFFF_FFFF);
            w(self, 8, W32, word);
            w(self, 0xC, W32, take);
            taken |= take << (32 * word);
        }
        w(self, 0x14, W8, 0xB);
        assert_eq!(self.status(), 0xB);
        self.rings.clear();
        for n in 0..self.read(4, 0x12, W16) {
            w(self, 0x16, W16, n);
            let size = self.read(4, 0x18, W16).min(16);
            let ring = self.ring(size as u16);
            w(self, 0x18, W16, size);
            for (at, v) in [(0x20, ring.desc), (0x28, ring.avail), (0x30, ring.used)] {
                w(self, at, W32, v & 0xFFFF_FFFF);
                w(self, at + 4, W32, v >> 32);
            }
            assert_eq!(self.read(4, 0x1E, W16), n);
            w(self, 0x1C, W16, 1);
            self.rings.push(ring);
        }
        w(self, 0x14, W8, 0xF);
        self.indirect = taken >> INDIRECT_DESC & 1 != 0;
        self.b.asked.clear();
        taken
    }
    fn ring(&mut self, size: u16) -> Ring {
        let n = u64::from(size);
        let (desc, avail, used) =
            (self.alloc(16 * n), self.alloc(6 + 2 * n), self.alloc(6 + 8 * n));
        Ring { size, desc, avail, used, ..Ring::default() }
    }
    /// As SeaBIOS, iPXE and old Linux do it, for the first `queues` queues.
    pub fn start_legacy(&mut self, features: u32, queues: u64) {
        self.legacy = true;
        let w = |g: &mut Self, at, w, v| g.write(0, at, w, v);
        for status in [0, 1, 3] {
            w(self, 0x12, W8, status);
        }
        let offered = self.read(0, 0, W32);
        w(self, 4, W32, offered & u64::from(features));
        self.rings.clear();
        for n in 0..queues {
            w(self, 0xE, W16, n);
            let size = self.read(0, 0xC, W16);
            assert_eq!(self.read(0, 8, W32), 0, "nobody uses it");
            let desc = self.heap.next_multiple_of(4096);
            let avail = desc + 16 * size;
            let used = (avail + 4 + 2 * size).next_multiple_of(4096);
            self.heap = used + 4 + 8 * size + 16;
            w(self, 8, W32, desc >> 12);
            self.rings.push(Ring { size: size as u16, desc, avail, used, ..Ring::default() });
        }
        w(self, 0x12, W8, 7);
        self.b.asked.clear();
    }
    /// Turns MSI-X on: vector `v` writes `v + 1` to [`Guest::message`]. Queues get these vectors.
    pub fn start_msix(&mut self, config: u64, queues: &[u64]) {
        for v in 0..4 {
            for (i, word) in [0x100 + 4 * v, 0, v + 1, 0].into_iter().enumerate() {
                self.write(1, 16 * v + 4 * i as u64, W32, word);
            }
        }
        let at = self.msix_at();
        self.config_write(at + 2, W16, 0x8000);
        let (bank, select, vector, own) =
            if self.legacy { (0, 0xE, 0x16, 0x14) } else { (4, 0x16, 0x1A, 0x10) };
        self.write(bank, own, W16, config);
        for (n, v) in queues.iter().enumerate() {
            self.write(bank, select, W16, n as u64);
            self.write(bank, vector, W16, *v);
        }
    }
    pub fn msix_at(&self) -> u64 {
        let c = self.d.config();
        let mut at = c.u8(0x34) as usize;
        while c.u8(at) != 0x11 {
            at = c.u8(at + 1) as usize;
        }
        at as u64
    }
    /// What a vector has written since the last look.
    pub fn message(&mut self, vector: u64) -> u32 {
        let at = 0x100 + 4 * vector;
        let value = self.u32(at);
        self.put(at, &[0; 4]);
        value
    }
    /// Whether INTx is pulled; reads the ISR, which takes it back.
    pub fn intx(&mut self) -> Option<u8> {
        let up = self.d.config().intx().is_some();
        let (bank, at) = if self.legacy { (0, 0x13) } else { (4, 0x1000) };
        let isr = self.read(bank, at, W8) as u8;
        assert!(self.d.config().intx().is_none());
        up.then_some(isr)
    }

    // Requests.

    pub fn descriptor(&mut self, at: u64, (addr, len, write): Piece, flags: u16, next: u16) {
        self.put(at, &addr.to_le_bytes());
        self.put(at + 8, &len.to_le_bytes());
        self.put(at + 12, &(flags | if write { WRITE } else { 0 }).to_le_bytes());
        self.put(at + 14, &next.to_le_bytes());
    }
    /// Puts a chain into a queue, without telling. Gives its head.
    pub fn queue(&mut self, n: usize, buffers: &[Piece]) -> u16 {
        let table = if self.indirect { self.alloc(16 * buffers.len() as u64) } else { 0 };
        let Ring { size, desc, free, .. } = self.rings[n];
        for (i, buffer) in buffers.iter().enumerate() {
            let last = i + 1 == buffers.len();
            let slot = |i: usize| (free + i as u16) % size;
            let (at, next) = match self.indirect {
                true => (table + 16 * i as u64, i as u16 + 1),
                false => (desc + 16 * u64::from(slot(i)), slot(i + 1)),
            };
            self.descriptor(at, *buffer, if last { 0 } else { NEXT }, next);
        }
        let used = if self.indirect { 1 } else { buffers.len() as u16 };
        if self.indirect {
            let len = 16 * buffers.len() as u32;
            self.descriptor(desc + 16 * u64::from(free), (table, len, false), INDIRECT, 0);
        }
        self.rings[n].free = (free + used) % size;
        self.offer(n, free);
        free
    }
    /// Puts a head into the available ring.
    pub fn offer(&mut self, n: usize, head: u16) {
        let r = &mut self.rings[n];
        let (slot, avail) = (u64::from(r.index % r.size), r.avail);
        r.index = r.index.wrapping_add(1);
        let index = r.index;
        self.put(avail + 4 + 2 * slot, &head.to_le_bytes());
        self.put(avail + 2, &index.to_le_bytes());
    }
    pub fn kick(&mut self, n: usize) {
        if self.legacy {
            self.write(0, 0x10, W16, n as u64)
        } else {
            self.write(4, NOTIFY + 4 * n as u64, W16, n as u64)
        }
    }
    /// A chain, and the notification.
    pub fn send(&mut self, n: usize, buffers: &[Piece]) -> u16 {
        let head = self.queue(n, buffers);
        self.kick(n);
        head
    }
    /// What the device has given back since the last look: heads and lengths.
    pub fn used(&mut self, n: usize) -> Vec<(u16, u32)> {
        let r = self.rings[n].clone();
        let count = self.u16(r.used + 2).wrapping_sub(r.seen);
        self.rings[n].seen = r.seen.wrapping_add(count);
        let at = |i: u16| r.used + 4 + 8 * u64::from(r.seen.wrapping_add(i) % r.size);
        (0..count).map(|i| (self.u32(at(i)) as u16, self.u32(at(i) + 4))).collect()
    }
    /// The driver wants an interrupt for the next that it has not seen: event index.
    pub fn want(&mut self, n: usize, after: u16) {
        let (at, seen) =
            (self.rings[n].avail + 4 + 2 * u64::from(self.rings[n].size), self.rings[n].seen);
        self.put(at, &seen.wrapping_add(after).to_le_bytes());
    }
    /// Saves, loads into a fresh function, and goes on with that.
    pub fn move_to(&mut self, device: D, options: PciOptions) {
        let saved = self.d.save();
        let mut other = VirtioPci::new(device, options);
        other.load(&saved).unwrap();
        assert_eq!(other.save(), saved);
        self.d = other;
        self.d.settle(&mut self.b);
    }
}
