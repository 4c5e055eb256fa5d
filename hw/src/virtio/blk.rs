//! `virtio-blk`: a disk.  Virtio 1.2, 5.2.
//!
//! Each request of the driver is one [`Request::Disk`]: its data is gathered from memory into the request, or scattered
//! from the answer, without another copy between. What is in flight is part of the saved state.

mod config;
#[cfg(test)]
mod test;

pub use config::BlkConfig;
use config::*;

use super::queue::{Chain, Io, Segment, Segments, le, total};
use super::{Kind, VirtioDevice};
use device::*;

// Request types: 5.2.6. The lowest bit says that data goes to the device.
const IN: u32 = 0;
const OUT: u32 = 1;
const FLUSH: u32 = 4;
const GET_ID: u32 = 8;
const DISCARD: u32 = 11;
const WRITE_ZEROES: u32 = 13;
/// Drivers of long ago set it; it means nothing.
const BARRIER: u32 = 1 << 31;

const OK: u8 = 0;
const IOERR: u8 = 1;
const UNSUPP: u8 = 2;

const SECTOR: u64 = 512;
const HEADER: u64 = 16;
/// Bytes of a discard's description, and of a serial number.
const RANGE: usize = 16;
const ID: usize = 20;
/// The longest data of one request, as on QEMU.
const LONGEST: u64 = 0x7FFF_FE00;
/// With so much data in flight no further request is begun.
const ENOUGH: u64 = 64 << 20;
/// Lists of segments kept for later requests.
const SPARE: usize = 64;

state! {
    /// A request that the disk works on.
    pub struct Pending {
        1 tag: u64 = 0,
        2 queue: u16 = 0,
        3 head: u16 = 0,
        /// Where the status byte goes.
        4 status: u64 = 0,
        /// Where data goes.
        5 data: Segments = Segments::default(),
        /// What the used ring says was written.
        6 written: u32 = 0,
        /// Data in flight.
        7 bytes: u64 = 0,
        /// It is to be safe before the driver hears of it.
        8 flush: bool = false,
    }
}

state! {
    /// Everything the guest can see.
    pub struct State {
        1 next_tag: u64 = 0,
        /// In the order of their tags.
        2 pending: Vec<Pending> = Vec::new(),
        /// The write cache is on.
        3 cache: bool = true,
        /// There was enough in flight, and there may be more in the queues.
        4 stalled: bool = false,
        /// The disk as the guest knows it.
        5 disk: Known = Known::default(),
    }
}

pub struct Blk {
    config: BlkConfig,
    s: State,
    /// Data in flight: the sum over `pending`.
    bytes: u64,
    /// What was asked before a reset is to be given up.
    abandon: bool,
    chain: Chain,
    spare: Vec<Vec<Segment>>,
}

impl Blk {
    pub fn new(config: BlkConfig) -> Self {
        let mut config = config;
        config.queues = config.queues.clamp(1, 1024);
        config.queue_size = config.queue_size.clamp(4, 1024).next_power_of_two();
        Self {
            config,
            s: State::default(),
            bytes: 0,
            abandon: false,
            chain: Chain::default(),
            spare: Vec::new(),
        }
    }
    fn fresh(&self) -> State {
        // The medium stays in the drive.
        State { disk: self.s.disk.clone(), cache: self.s.disk.write_cache, ..State::default() }
    }

    /// Begins what a queue holds.
    fn run(&mut self, queue: usize, io: &mut Io) {
        let mut chain = std::mem::take(&mut self.chain);
        loop {
            if self.bytes >= ENOUGH {
                self.s.stalled = true;
                break;
            }
            if !io.next(queue, &mut chain) {
                break;
            }
            self.begin(queue, &mut chain, io);
        }
        self.chain = chain;
    }
    fn begin(&mut self, queue: usize, chain: &mut Chain, io: &mut Io) {
        let written = total(&chain.inn).min(u32::MAX.into()) as u32;
        // The last byte is the status; before it lies the data.
        let Some(last) = chain.inn.last_mut() else {
            return io.fail("a disk request without room for its status");
        };
        last.len -= 1;
        let status = last.addr + u64::from(last.len);
        if last.len == 0 {
            chain.inn.pop();
        }
        let mut header = [0; HEADER as usize];
        if !io.gather(&chain.out, 0, &mut header) {
            return io.fail("a disk request without a header");
        }
        let (kind, sector) = (le(&header[..4]) as u32 & !BARRIER, le(&header[8..]));
        let (queue, head) = (queue as u16, chain.head);
        let p = Pending { queue, head, status, written, ..Pending::default() };
        match self.plan(kind, sector, chain, io) {
            Plan::Ask(op) => self.ask(op, p, chain, io),
            Plan::Done(status) => finish(&p, status, io),
            Plan::Failed => {}
        }
    }
    /// What a request comes to.
    fn plan(&mut self, kind: u32, sector: u64, chain: &Chain, io: &mut Io) -> Plan {
        match kind & !OUT {
            IN if kind == IN => {
                let len = total(&chain.inn);
                match self.range(sector, len) {
                    Some(_) if len == 0 => Plan::Done(OK),
                    Some(at) => Plan::Ask(DiskOp::Read { at, len: len as u32 }),
                    None => Plan::Done(IOERR),
                }
            }
            IN => self.plan_write(sector, chain, io),
            FLUSH => Plan::Ask(DiskOp::Flush),
            GET_ID => {
                // With its end, if there is room.
                let mut id = self.config.serial.as_bytes().to_vec();
                id.push(0);
                id.truncate(ID);
                if io.scatter(&chain.inn, &id) { Plan::Done(OK) } else { Plan::Failed }
            }
            _ if kind == DISCARD && self.config.discard => self.plan_range(kind, chain, io),
            _ if kind == WRITE_ZEROES && self.config.write_zeroes => {
                self.plan_range(kind, chain, io)
            }
            _ => Plan::Done(UNSUPP),
        }
    }
    fn plan_write(&mut self, sector: u64, chain: &Chain, io: &mut Io) -> Plan {
        let len = total(&chain.out) - HEADER;
        let Some(at) = self.range(sector, len).filter(|_| !self.s.disk.read_only) else {
            return Plan::Done(IOERR);
        };
        if len == 0 {
            return Plan::Done(OK);
        }
        let Some(data) = io.collect(&chain.out, HEADER) else { return Plan::Failed };
        Plan::Ask(DiskOp::Write { at, data, fua: !self.s.cache })
    }
    /// Discards and zeroes: 5.2.6, one range a request.
    fn plan_range(&mut self, kind: u32, chain: &Chain, io: &mut Io) -> Plan {
        let mut range = [0; RANGE];
        if total(&chain.out) > HEADER + RANGE as u64 {
            return Plan::Done(UNSUPP);
        }
        if !io.gather(&chain.out, HEADER, &mut range) {
            io.fail("a discard without its range");
            return Plan::Failed;
        }
        let (sector, count, flags) = (le(&range[..8]), le(&range[8..12]), le(&range[12..]));
        let zero = kind == WRITE_ZEROES;
        let max = if zero { self.config.max_write_zeroes } else { self.config.max_discard };
        let len = count * SECTOR;
        let at = self.range(sector, len).filter(|_| !self.s.disk.read_only);
        let Some(at) = at.filter(|_| count <= max.into()) else { return Plan::Done(IOERR) };
        let allowed = if zero { 1 } else { 0 };
        match (flags & !allowed, len) {
            (0, 0) => Plan::Done(OK),
            (0, _) if zero => Plan::Ask(DiskOp::Zero { at, len, unmap: flags & 1 != 0 }),
            (0, _) => Plan::Ask(DiskOp::Discard { at, len }),
            _ => Plan::Done(UNSUPP),
        }
    }
    /// The byte position of a range on the disk.
    fn range(&self, sector: u64, len: u64) -> Option<u64> {
        let mask = u64::from(self.logical()) - 1;
        let at = sector.checked_mul(SECTOR)?;
        let end = at.checked_add(len)?;
        let whole = at & mask == 0 && len & mask == 0;
        (whole && len <= LONGEST && end <= self.sectors() * SECTOR).then_some(at)
    }
    fn ask(&mut self, op: DiskOp, mut p: Pending, chain: &mut Chain, io: &mut Io) {
        match &op {
            DiskOp::Read { len, .. } => {
                p.bytes = (*len).into();
                let spare = self.spare.pop().unwrap_or_default();
                p.data = Segments(std::mem::replace(&mut chain.inn, spare));
            }
            DiskOp::Write { data, .. } => p.bytes = data.len() as u64,
            DiskOp::Zero { .. } => p.flush = !self.s.cache,
            _ => {}
        }
        self.send(op, p, io);
    }
    fn send(&mut self, op: DiskOp, mut p: Pending, io: &mut Io) {
        let (unit, tag) = (self.config.unit, self.s.next_tag);
        self.s.next_tag = tag.wrapping_add(1);
        p.tag = tag;
        self.bytes += p.bytes;
        self.s.pending.push(p);
        io.cx.ask(Request::Disk { unit, tag, op });
    }
    /// The disk has done what was asked.
    fn answer(&mut self, tag: u64, result: Result<Buffer, DiskError>, io: &mut Io) {
        let Ok(n) = self.s.pending.binary_search_by_key(&tag, |p| p.tag) else { return };
        let mut p = self.s.pending.remove(n);
        self.bytes = self.bytes.saturating_sub(p.bytes);
        if !io.ready(p.queue.into()) {
            return;
        }
        let status = match result {
            Ok(data) if data.len() as u64 != total(&p.data.0) => IOERR,
            Ok(data) if !io.scatter(&p.data.0, &data) => return,
            Ok(_) => OK,
            Err(_) => IOERR,
        };
        if status == OK && p.flush {
            (p.flush, p.bytes) = (false, 0);
            return self.send(DiskOp::Flush, p, io);
        }
        finish(&p, status, io);
        if self.spare.len() < SPARE && p.data.0.capacity() > 0 {
            p.data.0.clear();
            self.spare.push(p.data.0);
        }
        if std::mem::take(&mut self.s.stalled) {
            (0..self.config.queues.into()).for_each(|queue| self.run(queue, io));
        }
    }
    fn medium(&mut self, medium: Option<Medium>, io: &mut Io) {
        let (before, disk) = (self.config(), Known::new(medium));
        if disk.write_cache != self.s.disk.write_cache {
            self.s.cache = disk.write_cache;
        }
        self.s.disk = disk;
        if self.config() != before {
            io.config_changed();
        }
    }
}

/// What is to be done for a request.
enum Plan {
    Ask(DiskOp),
    Done(u8),
    Failed,
}

/// Tells the driver how a request ended.
fn finish(p: &Pending, status: u8, io: &mut Io) {
    if io.scatter(&[Segment { addr: p.status, len: 1 }], &[status]) {
        io.push(p.queue.into(), p.head, p.written);
    }
}

impl VirtioDevice for Blk {
    fn kind(&self) -> Kind {
        Kind { name: "virtio-blk-pci", id: 2, transitional: 0x1001, class: 0x01_0000 }
    }
    fn queues(&self) -> Vec<u16> {
        vec![self.config.queue_size; self.config.queues.into()]
    }
    fn vectors(&self) -> u16 {
        self.config.queues + 1
    }
    fn features(&self) -> u64 {
        self.own_features()
    }
    fn config(&self) -> Vec<u8> {
        self.own_config()
    }
    fn write_config(&mut self, at: usize, bytes: &[u8], io: &mut Io) {
        let cache = WRITEBACK.checked_sub(at).and_then(|n| bytes.get(n));
        if let (Some(on), true) = (cache, io.has(CONFIG_WCE)) {
            self.s.cache = *on != 0;
        }
    }
    fn kick(&mut self, queue: usize, io: &mut Io) {
        self.run(queue, io);
    }
    fn input(&mut self, what: Input, io: &mut Io) {
        match what {
            Input::Disk { unit, tag, result } if unit == self.config.unit => {
                self.answer(tag, result, io)
            }
            Input::Medium { unit, medium } if unit == self.config.unit => self.medium(medium, io),
            _ => {}
        }
    }
    fn started(&mut self, io: &mut Io) {
        // A driver that can neither flush nor turn the cache off is to have none: 5.2.6.2.
        if !io.has(CONFIG_WCE) {
            self.s.cache = io.has(FLUSHES);
        }
    }
    fn reset_queue(&mut self, queue: usize) {
        self.s.pending.retain(|p| usize::from(p.queue) != queue);
        self.bytes = self.s.pending.iter().map(|p| p.bytes).sum();
    }
    fn reset(&mut self) {
        self.s = self.fresh();
        (self.bytes, self.abandon) = (0, true);
    }
    fn settle(&mut self, io: &mut Io) {
        if std::mem::take(&mut self.abandon) {
            io.cx.ask(Request::DiskAbandon { unit: self.config.unit });
        }
    }
    fn save(&self) -> Vec<u8> {
        self.s.save()
    }
    fn load(&mut self, from: &[u8]) -> Result<(), Misfit> {
        let s = State::load(from)?;
        let ordered = s.pending.windows(2).all(|p| p[0].tag < p[1].tag)
            && s.pending.last().is_none_or(|p| p.tag < s.next_tag);
        let most = usize::from(self.config.queues) * usize::from(self.config.queue_size);
        let sane = |p: &Pending| p.queue < self.config.queues && p.bytes <= LONGEST;
        if !ordered || s.pending.len() > most || !s.pending.iter().all(sane) {
            return Err(Misfit::Unfit("disk requests in flight that cannot be".into()));
        }
        self.bytes = s.pending.iter().map(|p| p.bytes).sum();
        (self.s, self.abandon) = (s, false);
        Ok(())
    }
    fn describe(&self) -> String {
        format!(
            "{} sectors, write cache {}, {} requests in flight ({} bytes)\n",
            self.sectors(),
            if self.s.cache { "on" } else { "off" },
            self.s.pending.len(),
            self.bytes
        )
    }
}
