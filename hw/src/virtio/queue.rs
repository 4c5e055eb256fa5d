//! Split virtqueues, seen from the device.  Virtio 1.2, 2.7.
//!
//! Rings and descriptors are read in pieces, not field by field. A chain that makes no sense ends the device's work until
//! the driver resets it (2.1.2, DEVICE_NEEDS_RESET).

use super::{EVENT_IDX, NO_VECTOR, NOTIFY_ON_EMPTY};
use device::*;

/// Most descriptors in a chain, and in a queue.
pub const MAX: u16 = 1024;
/// Most chains taken in one call: rings that lie in each other's way cannot keep the device busy.
const BUDGET: u32 = 16384;
/// Heads read ahead.
const HEADS: u16 = 64;
/// Descriptors read at once from a queue's own table, and from an indirect one.
const DIRECT: u16 = 8;
const INDIRECT: u16 = 256;

const F_NEXT: u16 = 1;
const F_WRITE: u16 = 2;
const F_INDIRECT: u16 = 4;

state! {
    /// A virtqueue.
    pub struct Queue {
        /// A power of two; 0: there is no such queue.
        1 size: u16 = 0,
        2 enabled: bool = false,
        3 vector: u16 = NO_VECTOR,
        4 desc: u64 = 0,
        5 avail: u64 = 0,
        6 used: u64 = 0,
        /// Chains taken so far.
        7 taken: u16 = 0,
        /// Chains given back so far.
        8 given: u16 = 0,
        /// What `given` was when the driver was last told.
        9 told: Option<u16> = None,
        /// Chains taken and not yet given back.
        10 in_flight: u16 = 0,
    }
}

/// A run of guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    pub addr: u64,
    pub len: u32,
}

/// Segments as a field of saved state, 12 bytes each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Segments(pub Vec<Segment>);

impl Field for Segments {
    fn put(&self, out: &mut Vec<u8>) {
        for s in &self.0 {
            out.extend(s.addr.to_le_bytes());
            out.extend(s.len.to_le_bytes());
        }
    }
    fn take(from: &[u8]) -> Option<Self> {
        let (all, []) = from.as_chunks::<12>() else { return None };
        Some(Self(all.iter().map(|b| segment(b)).collect()))
    }
}

fn segment(bytes: &[u8]) -> Segment {
    Segment { addr: le(&bytes[..8]), len: le(&bytes[8..12]) as u32 }
}

/// A number of up to eight bytes.
pub(super) fn le(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b))
}

/// A chain of buffers.
#[derive(Default)]
pub struct Chain {
    pub head: u16,
    /// What the device reads, and what it writes.
    pub out: Vec<Segment>,
    pub inn: Vec<Segment>,
}

/// The bytes in some segments.
pub fn total(segments: &[Segment]) -> u64 {
    segments.iter().map(|s| u64::from(s.len)).sum()
}

/// What a call leaves behind for the transport, and buffers that are used again.
#[derive(Default)]
pub struct Scratch {
    table: Vec<u8>,
    /// The next heads, last first, and of which queue.
    ahead: Vec<u16>,
    ahead_of: usize,
    /// The available index that was last read, of the same queue.
    known: Option<u16>,
    budget: u32,
    /// Queues that chains were given back to.
    pub(super) given: Vec<usize>,
    pub(super) broken: bool,
    pub(super) config_changed: bool,
}

/// The world of a virtio device during one call.
pub struct Io<'a> {
    pub cx: &'a mut dyn Cx,
    /// What driver and device agreed on.
    pub features: u64,
    /// The driver has said DRIVER_OK.
    pub running: bool,
    queues: &'a mut [Queue],
    /// Memory can be reached, and the device is not broken.
    live: bool,
    scratch: &'a mut Scratch,
}

/// The descriptors of a chain, and what of them has been read.
struct Table {
    at: u64,
    len: u32,
    first: u32,
    read: u32,
    piece: u16,
}

impl<'a> Io<'a> {
    pub(super) fn new(
        cx: &'a mut dyn Cx,
        features: u64,
        running: bool,
        queues: &'a mut [Queue],
        live: bool,
        scratch: &'a mut Scratch,
    ) -> Self {
        scratch.forget(0);
        scratch.budget = BUDGET;
        Self { cx, features, running, queues, live, scratch }
    }
    pub fn has(&self, feature: u32) -> bool {
        self.features >> feature & 1 != 0
    }
    /// Whether the driver has set this queue up.
    pub fn ready(&self, n: usize) -> bool {
        self.live && self.queues.get(n).is_some_and(|q| q.enabled && q.size > 0)
    }
    /// Whether a chain waits in a queue.
    pub fn waiting(&mut self, n: usize) -> bool {
        let head = if self.ready(n) { self.head(n) } else { Ok(None) };
        head.map_err(|why| self.fail(why)).is_ok_and(|head| head.is_some())
    }
    /// What the guest sees in the device's configuration has changed.
    pub fn config_changed(&mut self) {
        self.scratch.config_changed = true;
    }
    /// The driver did what makes no sense: nothing more until it resets the device.
    pub fn fail(&mut self, why: &str) {
        // Without bus mastering nothing can be reached, which is no fault of the rings.
        if self.live {
            self.cx.complain(format_args!("virtio: {why}"));
            (self.live, self.scratch.broken) = (false, true);
        }
    }

    /// Takes the next chain of a queue.
    pub fn next(&mut self, n: usize, chain: &mut Chain) -> bool {
        if !self.ready(n) || self.scratch.budget == 0 {
            return false;
        }
        self.scratch.budget -= 1;
        let found = self.take(n, chain);
        found.unwrap_or_else(|why| {
            self.fail(why);
            false
        })
    }
    fn take(&mut self, n: usize, chain: &mut Chain) -> Result<bool, &'static str> {
        let Some(head) = self.head(n)? else { return Ok(false) };
        if self.queues[n].in_flight >= self.queues[n].size {
            return Err("more chains in flight than the queue has descriptors");
        }
        self.walk(n, head, chain)?;
        let q = &mut self.queues[n];
        (q.taken, q.in_flight) = (q.taken.wrapping_add(1), q.in_flight + 1);
        self.scratch.ahead.pop();
        Ok(true)
    }
    /// The head that is next, if there is one. When there is none, the driver is asked for a notification.
    fn head(&mut self, n: usize) -> Result<Option<u16>, &'static str> {
        const FAULT: &str = "the available ring is not in memory";
        if self.scratch.ahead_of != n {
            self.scratch.forget(n);
        }
        if let Some(head) = self.scratch.ahead.last() {
            return Ok(Some(*head));
        }
        let index = self.available(n).map_err(|_| FAULT)?;
        let q = &self.queues[n];
        let count = index.wrapping_sub(q.taken);
        if count > q.size {
            return Err("the available index has moved further than the queue is long");
        }
        if count == 0 {
            return Ok(None);
        }
        let slot = q.taken & (q.size - 1);
        let count = count.min(q.size - slot).min(HEADS);
        let mut ring = [0; 2 * HEADS as usize];
        let ring = &mut ring[..2 * usize::from(count)];
        let at = q.avail.wrapping_add(4 + 2 * u64::from(slot));
        self.cx.dma().read(at, ring).map_err(|_| FAULT)?;
        let heads = ring.as_chunks::<2>().0.iter().map(|b| u16::from_le_bytes(*b));
        self.scratch.ahead.extend(heads.rev());
        Ok(self.scratch.ahead.last().copied())
    }
    /// The available index. Before it says that there is nothing, it asks the driver for a notification and looks again,
    /// so that nothing is lost that comes between.
    fn available(&mut self, n: usize) -> Result<u16, DmaFault> {
        let (event, q, dma) = (self.has(EVENT_IDX), &self.queues[n], self.cx.dma());
        let look = |dma: &mut dyn Dma| {
            let mut index = [0; 2];
            dma.read(q.avail.wrapping_add(2), &mut index)?;
            Ok(u16::from_le_bytes(index))
        };
        let mut index = match self.scratch.known {
            Some(index) => index,
            None => look(dma)?,
        };
        if index == q.taken {
            if event {
                let at = q.used.wrapping_add(4 + 8 * u64::from(q.size));
                dma.write(at, &q.taken.to_le_bytes())?;
            }
            index = look(dma)?;
        }
        self.scratch.known = Some(index);
        Ok(index)
    }
    fn walk(&mut self, n: usize, head: u16, chain: &mut Chain) -> Result<(), &'static str> {
        chain.head = head;
        chain.out.clear();
        chain.inn.clear();
        let q = &self.queues[n];
        let mut table = Table { at: q.desc, len: q.size.into(), first: 0, read: 0, piece: DIRECT };
        let (mut at, mut count, mut indirect) = (u32::from(head), 0, false);
        loop {
            let bytes = self.descriptor(&mut table, at)?;
            let (s, flags) = (segment(&bytes), u16::from_le_bytes([bytes[12], bytes[13]]));
            let next = u16::from_le_bytes([bytes[14], bytes[15]]);
            if flags & F_INDIRECT != 0 {
                if indirect || flags & F_NEXT != 0 || s.len == 0 || s.len % 16 != 0 {
                    return Err("an indirect table that is none");
                }
                table = Table { at: s.addr, len: s.len / 16, first: 0, read: 0, piece: INDIRECT };
                (at, count, indirect) = (0, 0, true);
                continue;
            }
            count += 1;
            if count > table.len || chain.out.len() + chain.inn.len() >= MAX.into() {
                return Err("a chain of descriptors without an end");
            }
            chain.add(s, flags & F_WRITE != 0)?;
            if flags & F_NEXT == 0 {
                return Ok(());
            }
            at = next.into();
        }
    }
    /// A descriptor of a table; several are read at once.
    fn descriptor(&mut self, t: &mut Table, at: u32) -> Result<[u8; 16], &'static str> {
        if at >= t.len {
            return Err("a descriptor beyond the end of its table");
        }
        if at < t.first || at - t.first >= t.read {
            (t.first, t.read) = (at, (t.len - at).min(t.piece.into()));
            let addr = t.at.checked_add(16 * u64::from(at)).ok_or("a table beyond all memory")?;
            self.scratch.table.resize(16 * t.read as usize, 0);
            let read = self.cx.dma().read(addr, &mut self.scratch.table);
            read.map_err(|_| "descriptors that are not in memory")?;
        }
        Ok(self.scratch.table.as_chunks::<16>().0[(at - t.first) as usize])
    }

    /// Gives a chain back, with so many bytes written to it.
    pub fn push(&mut self, n: usize, head: u16, len: u32) {
        if !self.ready(n) {
            return;
        }
        let q = &mut self.queues[n];
        let mut element = [0; 8];
        element[..2].copy_from_slice(&head.to_le_bytes());
        element[4..].copy_from_slice(&len.to_le_bytes());
        let at = q.used.wrapping_add(4 + 8 * u64::from(q.given & (q.size - 1)));
        (q.given, q.in_flight) = (q.given.wrapping_add(1), q.in_flight.saturating_sub(1));
        if !self.scratch.given.contains(&n) {
            self.scratch.given.push(n);
        }
        if self.cx.dma().write(at, &element).is_err() {
            self.fail("the used ring is not in memory");
        }
    }
    /// Reads what lies `skip` bytes into the segments. Fails the device where there is no memory.
    pub fn gather(&mut self, from: &[Segment], skip: u64, into: &mut [u8]) -> bool {
        let (mut skip, mut done) = (skip, 0);
        for s in from {
            if skip >= u64::from(s.len) {
                skip -= u64::from(s.len);
                continue;
            }
            let n = (u64::from(s.len) - skip).min((into.len() - done) as u64) as usize;
            if n > 0 && self.cx.dma().read(s.addr + skip, &mut into[done..done + n]).is_err() {
                self.fail("a buffer that is not in memory");
                return false;
            }
            (done, skip) = (done + n, 0);
            if done == into.len() {
                break;
            }
        }
        done == into.len()
    }
    /// All that lies `skip` bytes into the segments.
    pub fn collect(&mut self, from: &[Segment], skip: u64) -> Option<Buffer> {
        let mut all = Buffer::any(total(from).saturating_sub(skip) as usize);
        self.gather(from, skip, &mut all).then_some(all)
    }
    /// Writes to the segments, as much as there is room. Fails the device where there is no memory.
    pub fn scatter(&mut self, into: &[Segment], mut from: &[u8]) -> bool {
        for s in into {
            let (now, rest) = from.split_at(from.len().min(s.len as usize));
            if !now.is_empty() && self.cx.dma().write(s.addr, now).is_err() {
                self.fail("a buffer that is not in memory");
                return false;
            }
            from = rest;
        }
        true
    }
}

impl Scratch {
    fn forget(&mut self, n: usize) {
        self.ahead.clear();
        (self.ahead_of, self.known) = (n, None);
    }
}

impl Chain {
    fn add(&mut self, s: Segment, write: bool) -> Result<(), &'static str> {
        if s.len == 0 || s.addr.checked_add(s.len.into()).is_none() {
            return Err("a buffer of no bytes, or beyond all memory");
        }
        if write {
            self.inn.push(s);
        } else if self.inn.is_empty() {
            self.out.push(s);
        } else {
            return Err("a buffer to read behind one to write");
        }
        Ok(())
    }
}

impl Queue {
    /// Shows the driver what was given back. Whether it wants an interrupt for that: 2.7.7.
    pub(super) fn publish(&mut self, features: u64, dma: &mut dyn Dma) -> Result<bool, DmaFault> {
        dma.write(self.used.wrapping_add(2), &self.given.to_le_bytes())?;
        let told = self.told.replace(self.given);
        let has = |feature: u32| features >> feature & 1 != 0;
        let mut word = [0; 2];
        if has(NOTIFY_ON_EMPTY) && self.in_flight == 0 {
            return Ok(true);
        }
        if !has(EVENT_IDX) {
            dma.read(self.avail, &mut word)?;
            return Ok(word[0] & 1 == 0);
        }
        dma.read(self.avail.wrapping_add(4 + 2 * u64::from(self.size)), &mut word)?;
        let event = u16::from_le_bytes(word);
        // Whether the index has passed the one that the driver waits for.
        Ok(told.is_none_or(|told| {
            self.given.wrapping_sub(event).wrapping_sub(1) < self.given.wrapping_sub(told)
        }))
    }
    /// Whether a saved queue can be one of at most `max` descriptors with so many vectors.
    pub(super) fn fits(&self, max: u16, vectors: u16) -> bool {
        let vector = self.vector == NO_VECTOR || self.vector < vectors;
        let size = if max == 0 { self.size == 0 } else { self.size.is_power_of_two() };
        vector && size && self.size <= max && self.in_flight <= self.size
    }
}
