//! A drive: its registers, the command it is at, and its side of the disk behind it.

use super::packet::PacketState;
use super::smart::Smart;
use super::{DriveConfig, Geometry, Kind, error, status};
use crate::Bytes;
use device::*;

state! {
    /// The registers of a command: what was written last in the low byte, what before that in the high one.
    pub struct Regs {
        1 feature: u16 = 0,
        2 count: u16 = 1,
        3 low: u16 = 1,
        4 mid: u16 = 0,
        5 high: u16 = 0,
        6 device: u8 = 0,
    }
}

impl Regs {
    /// A 48-bit sector number.
    pub fn lba48(&self) -> u64 {
        let [low, mid, high] = [self.low, self.mid, self.high].map(u64::from);
        let of = |v: u64, n: u32| (v & 0xFF) << (8 * n) | (v >> 8) << (8 * n + 24);
        of(low, 0) | of(mid, 1) | of(high, 2)
    }
    pub fn set_lba48(&mut self, lba: u64) {
        let of = |n: u32| ((lba >> (8 * n)) & 0xFF | (lba >> (8 * n + 24) & 0xFF) << 8) as u16;
        (self.low, self.mid, self.high) = (of(0), of(1), of(2));
    }
}

/// What a command under way is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Read,
    Write,
    Flush,
    Trim,
    /// A reply that is at hand.
    Reply,
    /// Data that the drive takes and forgets.
    Take,
    /// Waits for a packet.
    Packet,
    /// CD sectors with all that surrounds the data.
    ReadRaw,
}

const WHATS: [What; 8] = [
    What::Read,
    What::Write,
    What::Flush,
    What::Trim,
    What::Reply,
    What::Take,
    What::Packet,
    What::ReadRaw,
];

impl Field for What {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(WHATS.iter().position(|w| w == self).unwrap_or(0) as u8)
    }
    fn take(from: &[u8]) -> Option<Self> {
        let [n] = from else { return None };
        WHATS.get(usize::from(*n)).copied()
    }
}

state! {
    /// A command under way.
    pub struct Job {
        1 what: What = What::Read,
        /// The first of the tags that are waited for, how many were given, how many answers are still to come.
        2 tag: u64 = 0,
        3 tags: u32 = 0,
        4 waiting: u32 = 0,
        /// Where on the disk, how much is left, how much of it is moving now; in bytes.
        5 at: u64 = 0,
        6 left: u32 = 0,
        7 chunk: u32 = 0,
        /// Bytes that PIO moves without asking.
        8 block: u32 = 512,
        9 dma: bool = false,
        10 fua: bool = false,
        /// The command came as a packet.
        11 packet: bool = false,
        12 reply: Bytes = Bytes::default(),
        13 failed: bool = false,
    }
}

state! {
    /// What went wrong in the queue, for log 10h.
    pub struct QueueError { 1 slot: u8 = 0, 2 error: u8 = 0, 3 regs: Regs = Regs::default() }
}

state! {
    /// Everything the guest can see.
    pub struct State {
        1 regs: Regs = Regs::default(),
        2 status: u8 = status::READY,
        3 error: u8 = 1,
        /// The tag of the next request; never the same twice.
        4 tag: u64 = 1,
        5 job: Option<Job> = None,
        /// Sectors a block of READ and WRITE MULTIPLE; 0: not allowed.
        6 multiple: u8 = 16,
        /// INITIALIZE DEVICE PARAMETERS.
        7 heads: Option<u8> = None,
        8 sectors: Option<u8> = None,
        /// Transfer mode, as SET FEATURES takes it.
        9 mode: u8 = 0x45,
        10 cache: Option<bool> = None,
        11 look_ahead: bool = true,
        12 smart: Smart = Smart::default(),
        13 packet: PacketState = PacketState::default(),
        14 queue_error: Option<QueueError> = None,
        /// Nothing but a reset wakes it.
        15 asleep: bool = false,
        16 standby: bool = false,
    }
}

/// What a drive wants next.
#[derive(Debug, PartialEq)]
pub enum Next {
    /// The command is over; registers say how. An interrupt is due.
    Done,
    /// It waits for the disk.
    Wait,
    /// Data for the host, `block` bytes at a time by PIO. When it is moved: [`Drive::moved`].
    In { data: Buffer, block: u32 },
    /// Data from the host, for [`Drive::received`].
    Out { len: u32, block: u32 },
    /// DMA of so many bytes: when it can begin, [`Drive::dma_ready`], or [`Drive::received`] if the data goes `out`.
    Dma { out: bool, len: u32 },
    /// A packet of 12 bytes, for [`Drive::packet`].
    Packet,
}

/// A queued command that was found good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queued {
    pub slot: u8,
    pub write: bool,
    pub fua: bool,
    pub at: u64,
    pub len: u32,
}

/// No command moves more.
pub const LONGEST: u32 = 256 << 20;

pub struct Drive {
    pub s: State,
    pub(super) config: DriveConfig,
    pub(super) unit: u16,
    /// With native queueing, and without parallel cables.
    pub(super) sata: bool,
    /// The most bytes that PIO asks of the disk at once.
    pub(super) most: u32,
    number: u16,
    /// What is in it; the world says it again after a load.
    pub(super) medium: Option<Medium>,
    /// The world has said what is in it.
    pub(super) told: bool,
    pub(super) told_lock: bool,
    /// Requests of before a reset may still be under way.
    stale: bool,
}

impl Drive {
    /// Drive `unit` of its controller; by default its serial number is `number`.
    pub fn new(config: DriveConfig, unit: u16, number: u16, sata: bool) -> Self {
        let most = if sata { LONGEST } else { 0x1_0000 };
        let mut d = Self {
            s: State::default(),
            config,
            unit,
            sata,
            most,
            number,
            medium: None,
            told: false,
            told_lock: false,
            stale: false,
        };
        d.sign();
        d
    }
    pub fn is_cd(&self) -> bool {
        self.config.kind == Kind::Cd
    }
    pub(super) fn serial(&self) -> String {
        self.config.serial.clone().unwrap_or_else(|| format!("QM{:05}", self.number))
    }
    pub(super) fn block(&self) -> u32 {
        self.medium.as_ref().map_or(512, |m| m.block.clamp(512, 1 << 16))
    }
    pub(super) fn physical(&self) -> u32 {
        self.medium.as_ref().map_or(512, |m| m.physical.max(512))
    }
    pub(super) fn sectors(&self) -> u64 {
        (self.medium.as_ref().map_or(0, |m| m.len) / u64::from(self.block())).min(1 << 48)
    }
    pub(super) fn geometry(&self) -> Geometry {
        self.config.geometry.unwrap_or_else(|| Geometry::of(self.sectors()))
    }
    /// The geometry that INITIALIZE DEVICE PARAMETERS has chosen.
    pub(super) fn translation(&self) -> Geometry {
        let g = self.geometry();
        let (Some(heads), Some(sectors)) = (self.s.heads, self.s.sectors) else {
            let (heads, sectors) = (g.heads.clamp(1, 255), g.sectors.clamp(1, 255));
            return Geometry { cylinders: g.cylinders.min(0xFFFF), heads, sectors };
        };
        let (heads, sectors) = (u32::from(heads).max(1), u32::from(sectors).max(1));
        let cylinders = (self.sectors() / u64::from(heads * sectors)).min(0xFFFF) as u32;
        Geometry { cylinders, heads, sectors }
    }
    pub(super) fn write_cache(&self) -> bool {
        self.s.cache.unwrap_or_else(|| self.medium.as_ref().is_none_or(|m| m.write_cache))
    }
    pub(super) fn look_ahead(&self) -> bool {
        self.s.look_ahead
    }
    /// Whether writes are to be safe when they are answered.
    pub(super) fn through(&self) -> bool {
        self.s.cache == Some(false)
    }

    // Ends.

    pub(super) fn end(&mut self) -> Option<Job> {
        self.s.job.take()
    }
    pub(super) fn done(&mut self) -> Next {
        if self.end().is_some_and(|job| job.packet) {
            self.s.regs.count = self.s.regs.count & 0xF8 | 3;
        }
        (self.s.status, self.s.error) = (status::READY, 0);
        Next::Done
    }
    pub(super) fn fail(&mut self, error: u8) -> Next {
        self.end();
        (self.s.status, self.s.error) = (status::FAILED, error);
        Next::Done
    }
    pub(super) fn abort(&mut self) -> Next {
        self.fail(error::ABORTED)
    }
    /// The transfer failed between drive and memory.
    pub fn transfer_failed(&mut self, cx: &mut dyn Cx) -> Next {
        self.abandon(cx);
        self.fail(error::CRC | error::ABORTED)
    }
    /// Memory had less room than the command has data: it is over, and nobody says so.
    pub fn too_short(&mut self) {
        self.end();
        (self.s.status, self.s.error) = (status::READY, 0);
    }
    /// What the status register shows while the drive wants this.
    fn show(&mut self, next: Next) -> Next {
        match next {
            Next::Done => {}
            Next::Wait => self.s.status = status::BUSY | status::READY,
            _ => self.s.status = status::READY | status::DATA,
        }
        if matches!(next, Next::Packet) {
            self.s.regs.count = self.s.regs.count & 0xF8 | 1;
        }
        next
    }

    // Commands.

    /// Executes the command `code` with the registers as they are.
    pub fn command(&mut self, code: u8, cx: &mut dyn Cx) -> Next {
        self.s.error = 0;
        let next = match self.config.kind {
            Kind::Disk => self.disk_command(code, cx),
            Kind::Cd => self.cd_command(code),
        };
        self.show(next)
    }
    /// The packet of a PACKET command.
    pub fn packet(&mut self, packet: &[u8; 12], cx: &mut dyn Cx) -> Next {
        let next = self.packet_command(packet, cx);
        self.show(next)
    }
    /// By PIO a block of `n` bytes is next: a packet command tells the host.
    pub fn announce(&mut self, n: u32, out: bool) {
        if self.s.job.as_ref().is_some_and(|job| job.packet) {
            let r = &mut self.s.regs;
            (r.mid, r.high) = ((n & 0xFF) as u16, (n >> 8 & 0xFF) as u16);
            r.count = r.count & 0xF8 | if out { 0 } else { 2 };
        }
    }
    pub(super) fn start(&mut self, job: Job, cx: &mut dyn Cx) -> Next {
        let next = match job.what {
            _ if job.left == 0 => {
                self.s.job = Some(job);
                return self.done();
            }
            What::Write | What::Trim | What::Take if job.dma => {
                Next::Dma { out: true, len: job.left }
            }
            _ if job.dma => Next::Dma { out: false, len: job.left },
            What::Write | What::Trim | What::Take => {
                let chunk = job.left.min(self.most);
                self.s.job = Some(Job { chunk, ..job });
                return Next::Out {
                    len: chunk,
                    block: self.s.job.as_ref().map_or(512, |j| j.block),
                };
            }
            _ => {
                self.s.job = Some(job);
                return self.fetch(cx);
            }
        };
        self.s.job = Some(Job { chunk: job.left, ..job });
        next
    }
    /// Gives what is at hand, as a command whose answer it is.
    pub(super) fn reply(&mut self, data: Vec<u8>) -> Next {
        let block = data.len() as u32;
        self.s.job = Some(Job { what: What::Reply, left: block, block, ..Job::default() });
        Next::In { data: data.into(), block }
    }
    /// Gets the next data for the host.
    fn fetch(&mut self, cx: &mut dyn Cx) -> Next {
        let most = self.most;
        let Some(job) = &mut self.s.job else { return Next::Done };
        if job.what == What::Reply {
            let data = std::mem::take(&mut job.reply.0);
            return Next::In { data: data.into(), block: job.block };
        }
        job.chunk = if job.dma { job.left } else { job.left.min(most) };
        let op = DiskOp::Read { at: job.at, len: job.chunk };
        self.ask_all([op], cx)
    }
    /// Asks for the job under way.
    pub(super) fn ask_all(
        &mut self,
        ops: impl IntoIterator<Item = DiskOp>,
        cx: &mut dyn Cx,
    ) -> Next {
        let first = self.s.tag;
        for op in ops {
            self.ask(op, cx);
        }
        let n = self.s.tag.wrapping_sub(first) as u32;
        if let Some(job) = &mut self.s.job {
            (job.tag, job.tags, job.waiting) = (first, n, n);
        }
        Next::Wait
    }
    /// Asks the world; gives the tag.
    pub fn ask(&mut self, op: DiskOp, cx: &mut dyn Cx) -> u64 {
        let tag = self.s.tag;
        self.s.tag = tag.wrapping_add(1);
        cx.ask(Request::Disk { unit: self.unit, tag, op });
        tag
    }
    /// DMA to memory can begin.
    pub fn dma_ready(&mut self, cx: &mut dyn Cx) -> Next {
        let next = self.fetch(cx);
        self.show(next)
    }
    /// The host has all of what [`Next::In`] gave.
    pub fn moved(&mut self, cx: &mut dyn Cx) -> Next {
        let Some(job) = &mut self.s.job else { return self.done() };
        if matches!(job.what, What::Read | What::ReadRaw) {
            job.at = job.at.saturating_add(job.chunk.into());
            job.left = job.left.saturating_sub(job.chunk);
            if job.left != 0 {
                let next = self.fetch(cx);
                return self.show(next);
            }
        }
        self.done()
    }
    /// Data from the host, as much as was wanted.
    pub fn received(&mut self, data: Buffer, cx: &mut dyn Cx) -> Next {
        let through = self.through();
        let Some(job) = &mut self.s.job else { return self.done() };
        let next = match job.what {
            What::Write => {
                job.chunk = data.len() as u32;
                let op = DiskOp::Write { at: job.at, data, fua: job.fua || through };
                self.ask_all([op], cx)
            }
            What::Trim => self.trim(&data, cx),
            _ => self.done(),
        };
        self.show(next)
    }
    /// The answer to a request; `None` if it is of none of this drive's own.
    pub fn answer(
        &mut self,
        tag: u64,
        result: Result<Buffer, DiskError>,
        cx: &mut dyn Cx,
    ) -> Option<Next> {
        let job = self.s.job.as_mut()?;
        if job.waiting == 0 || tag.wrapping_sub(job.tag) >= u64::from(job.tags) {
            return None;
        }
        job.waiting -= 1;
        job.failed |= result.is_err();
        if job.waiting != 0 {
            return Some(Next::Wait);
        }
        let next = match (result, job.what) {
            (Ok(data), What::Read | What::ReadRaw) if data.len() as u64 != job.chunk.into() => {
                let _ = data;
                self.disk_failed(DiskError::Io)
            }
            (Ok(data), What::Read) => Next::In { data, block: job.block },
            (Ok(data), What::ReadRaw) => {
                let data = super::packet::raw_sectors(job.at, &data);
                Next::In { data: data.into(), block: job.block }
            }
            (Ok(_), What::Write) => self.written(cx),
            (Ok(_), _) if !job.failed => self.done(),
            (Ok(_), _) => self.disk_failed(DiskError::Io),
            (Err(e), _) => self.disk_failed(e),
        };
        Some(self.show(next))
    }
    fn written(&mut self, _cx: &mut dyn Cx) -> Next {
        let most = self.most;
        let Some(job) = &mut self.s.job else { return self.done() };
        job.at = job.at.saturating_add(job.chunk.into());
        job.left = job.left.saturating_sub(job.chunk);
        if job.left == 0 || job.dma {
            return self.done();
        }
        job.chunk = job.left.min(most);
        Next::Out { len: job.chunk, block: job.block }
    }

    // Resets.

    /// Whether something was asked for the command under way.
    fn asking(&self) -> bool {
        self.s.job.as_ref().is_some_and(|job| job.waiting != 0)
    }
    /// Gives up what was asked for the command under way, and for `more`.
    pub fn abandon(&mut self, cx: &mut dyn Cx) {
        if self.asking() {
            cx.ask(Request::DiskAbandon { unit: self.unit });
        }
        self.end();
    }
    /// The registers after a reset: what the drive is.
    pub(super) fn sign(&mut self) {
        let (mid, high) = if self.is_cd() { (0x14, 0xEB) } else { (0, 0) };
        self.s.regs = Regs { mid, high, device: self.s.regs.device & 0x10, ..Regs::default() };
    }
    /// Software reset, or DEVICE RESET: settings stay.
    pub fn soft_reset(&mut self, cx: &mut dyn Cx) {
        self.abandon(cx);
        self.sign();
        // A packet drive is not ready before its first command.
        let ready = if self.is_cd() && !self.sata { 0 } else { status::READY };
        (self.s.status, self.s.error, self.s.asleep) = (ready, 1, false);
    }
    /// Power on. What was asked is given up in `settle`.
    pub fn reset(&mut self, queued: bool) {
        self.stale |= self.asking() || queued;
        let packet = self.s.packet.after_reset();
        self.s = State { tag: self.s.tag, packet, ..State::default() };
        self.sign();
    }
    pub fn settle(&mut self, cx: &mut dyn Cx) {
        if std::mem::take(&mut self.stale) {
            cx.ask(Request::DiskAbandon { unit: self.unit });
        }
        self.tell_lock(cx);
    }
    /// Whether a saved state can be lived with.
    pub fn check(&self, s: &State) -> Result<(), Misfit> {
        let job = s.job.as_ref().is_none_or(|j| {
            let small = j.dma || j.chunk <= self.most.max(j.block);
            let long = j.left <= LONGEST && j.chunk <= j.left.max(j.block) && j.block <= 1 << 24;
            let own = j.what != What::ReadRaw && j.what != What::Packet || self.is_cd();
            small && long && own && j.block != 0 && j.waiting <= j.tags && j.reply.0.len() < 1 << 17
        });
        if job && s.smart.fits() {
            return Ok(());
        }
        Err(Misfit::Unfit(format!("drive {}: no such command can be under way", self.unit)))
    }
    /// The same of all places for drives that a controller has.
    pub fn check_all<'a>(
        drives: impl ExactSizeIterator<Item = Option<&'a Drive>>,
        saved: &[Option<State>],
    ) -> Result<(), Misfit> {
        let fits = drives.len() == saved.len();
        for pair in drives.zip(saved).filter(|_| fits) {
            match pair {
                (Some(drive), Some(s)) => drive.check(s)?,
                (None, None) => {}
                _ => return Err(Misfit::Unfit("other drives than this controller has".into())),
            }
        }
        match fits {
            true => Ok(()),
            false => Err(Misfit::Unfit(format!("{} places for drives", saved.len()))),
        }
    }
    pub fn load(&mut self, s: State) {
        (self.s, self.told, self.told_lock, self.stale) = (s, false, false, false);
    }
    pub fn describe(&self) -> String {
        let size = match &self.medium {
            Some(m) => {
                format!("{} MiB{}", m.len >> 20, if m.read_only { ", read-only" } else { "" })
            }
            None => "no medium".into(),
        };
        let job = self.s.job.as_ref().map_or("idle".into(), |j| {
            format!("{:?}, {} bytes left, {} answers to come", j.what, j.left, j.waiting)
        });
        let tray = if self.is_cd() { self.s.packet.describe() } else { "" };
        let model = &self.config.model;
        format!(
            "{model} {}: {size}{tray}, status {:02x}, mode {:02x}, {job}",
            self.serial(),
            self.s.status,
            self.s.mode
        )
    }
}
