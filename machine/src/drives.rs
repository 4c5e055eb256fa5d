//! Drives: the images behind the board's disk controllers, and the requests in flight between them.
//!
//! A request goes to the image's threads at once. Where guest time is the host's, the answer enters as soon as it is there.
//! Where it is the count of instructions, the answer enters at a time that follows from the request alone, and the machine
//! waits for the host if that is late.

mod flight;
mod saved;
#[cfg(test)]
mod test;

use crate::config::{self, DriveId, OnError};
use crate::parts::DeviceId;
use block::{Image, Op, Queue};
use device::{DiskError, DiskOp, Input, Medium, Request, Tick};
use flight::{Failed, Flight, Socket};
use memory::Buffer;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::*};
use std::sync::{Arc, OnceLock};

/// How long a request takes when guest time is the count of instructions: so much,
const LATENCY: Tick = 100_000;
/// and so many nanoseconds for each so many bytes.
const BYTES_A_NS: u64 = 2;
/// Threads that work for a drive.
const THREADS: usize = 4;

/// What is put into a drive.
#[derive(Clone)]
pub struct Disk {
    pub image: Arc<dyn Image>,
    /// Writes may be lost until a flush, and the guest is told so.
    pub write_cache: bool,
}

/// Something that happened to a drive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DriveEvent {
    /// An error of the image, and what was done about it.
    Error { drive: DriveId, write: bool, no_space: bool, done: OnError, why: String },
    /// The guest, or the user, opened or closed the tray.
    Tray { drive: DriveId, open: bool },
}

/// What went through a drive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub operations: u64,
    pub bytes: u64,
    pub failed: u64,
    /// Guest time that the operations took, in all.
    pub time: Tick,
}

/// The kinds of operations that are counted.
pub const KINDS: [&str; 4] = ["rd", "wr", "flush", "unmap"];

/// Tells the machine's thread that an answer is there.
#[derive(Default)]
struct Bell {
    rung: AtomicBool,
    /// What wakes that thread if it sleeps.
    waker: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Bell {
    fn ring(&self) {
        if !self.rung.swap(true, AcqRel)
            && let Some(wake) = self.waker.get()
        {
            wake();
        }
    }
}

/// A drive of the board.
pub struct Drive {
    pub config: config::Drive,
    socket: Option<Socket>,
    disk: Option<(Disk, Queue)>,
    flights: BTreeMap<u64, Flight>,
    /// What failed and is tried again when the machine goes on, by the device's tags.
    held: Vec<(u64, Op)>,
    pub tray_open: bool,
    pub locked: bool,
    pub counts: [Counts; KINDS.len()],
    /// It was removed; its number is free.
    gone: bool,
}

/// All drives of a machine.
pub struct Drives {
    all: Vec<Drive>,
    /// Answers enter at a time of their own.
    timed: bool,
    /// The next request's number.
    next: u64,
    /// Answers that are there, when time is the host's.
    ready: VecDeque<(usize, u64)>,
    /// When answers are due, when it is not.
    due: BTreeSet<(Tick, u64, usize)>,
    pub(crate) events: Vec<DriveEvent>,
    bell: Arc<Bell>,
}

impl Drives {
    pub fn new(drives: &[config::Drive], timed: bool) -> Drives {
        Drives {
            all: drives.iter().cloned().map(Drive::new).collect(),
            timed,
            next: 0,
            ready: VecDeque::new(),
            due: BTreeSet::new(),
            events: Vec::new(),
            bell: Arc::default(),
        }
    }
    /// What wakes the machine's thread when an answer is there. The first one stays.
    pub(crate) fn set_waker(&self, waker: Box<dyn Fn() + Send + Sync>) {
        let _ = self.bell.waker.set(waker);
    }
    pub fn iter(&self) -> impl Iterator<Item = (DriveId, &Drive)> {
        let all = self.all.iter().enumerate().filter(|(_, d)| !d.gone);
        all.map(|(n, d)| (DriveId(n as u32), d))
    }
    pub fn get(&self, id: DriveId) -> Option<&Drive> {
        self.all.get(id.0 as usize)
    }
    pub fn get_mut(&mut self, id: DriveId) -> Option<&mut Drive> {
        self.all.get_mut(id.0 as usize)
    }

    /// Joins a drive to a device: `path` are the numbers of [`Request::From`], outermost first.
    pub fn join(&mut self, id: DriveId, device: DeviceId, path: Vec<u16>, unit: u16) {
        if let Some(d) = self.all.get_mut(id.0 as usize) {
            d.socket = Some(Socket { device, path, unit });
        }
    }
    /// One more drive, joined to nothing yet.
    pub(crate) fn add(&mut self, config: config::Drive) -> DriveId {
        let n = self.all.iter().position(|d| d.gone).unwrap_or(self.all.len());
        match self.all.get_mut(n) {
            Some(d) => *d = Drive::new(config),
            None => self.all.push(Drive::new(config)),
        }
        DriveId(n as u32)
    }
    /// The device that a drive was joined to is gone.
    pub(crate) fn part(&mut self, id: DriveId) {
        let n = id.0 as usize;
        if n < self.all.len() {
            self.abandon(n);
            self.all[n].socket = None;
        }
    }
    /// Forgets a drive.
    pub(crate) fn remove(&mut self, id: DriveId) {
        self.part(id);
        if let Some(d) = self.all.get_mut(id.0 as usize) {
            (d.disk, d.gone) = (None, true);
        }
        while self.all.last().is_some_and(|d| d.gone) {
            self.all.pop();
        }
    }
    /// Puts a disk in, or takes it out. All requests to the old one are waited for.
    pub fn insert(&mut self, id: DriveId, disk: Option<Disk>) -> io::Result<()> {
        let n = id.0 as usize;
        self.wait_all(n);
        let Some(d) = self.all.get_mut(n) else { return Ok(()) };
        let bell = self.bell.clone();
        d.disk = match disk {
            Some(disk) => {
                let woken = Arc::new(move || bell.ring());
                let queue = Queue::new(disk.image.clone(), THREADS, woken)?;
                Some((disk, queue))
            }
            None => None,
        };
        Ok(())
    }
    /// What a device is told of its medium.
    pub(crate) fn medium(&self, id: DriveId) -> Option<(DeviceId, Input)> {
        let d = self.get(id)?;
        let socket = d.socket.as_ref()?;
        let medium = d.medium();
        Some((socket.device, socket.wrap(Input::Medium { unit: socket.unit, medium })))
    }
    /// The user asks the guest for the medium.
    pub(crate) fn eject_request(&self, id: DriveId) -> Option<(DeviceId, Input)> {
        let socket = self.get(id)?.socket.as_ref()?;
        Some((socket.device, socket.wrap(Input::EjectRequest { unit: socket.unit })))
    }

    /// Whether a request is for a drive.
    pub(crate) fn serves(what: &Request) -> bool {
        match what {
            Request::Disk { .. } | Request::DiskAbandon { .. } => true,
            Request::From(_, what) => Drives::serves(what),
            _ => false,
        }
    }
    /// Does what a device asks of its drive. A controller without a drive there asks nothing.
    pub(crate) fn ask(&mut self, now: Tick, from: DeviceId, what: Request) {
        let (path, what) = flight::unwrap(what);
        let (Request::Disk { unit, .. } | Request::DiskAbandon { unit }) = what else { return };
        let socket = Socket { device: from, path, unit };
        let Some(n) = self.all.iter().position(|d| d.socket.as_ref() == Some(&socket)) else {
            return;
        };
        match what {
            Request::Disk { tag, op, .. } => self.begin(n, now, tag, op),
            _ => self.abandon(n),
        }
    }

    fn begin(&mut self, n: usize, now: Tick, tag: u64, op: DiskOp) {
        let number = self.next;
        self.next += 1;
        let due = now + LATENCY + flight::bytes(&op) / BYTES_A_NS;
        let d = &mut self.all[n];
        let mut flight = Flight::new(tag, now, due, &op);
        let mut no_wait = true;
        match (op, &mut d.disk) {
            (DiskOp::Tray { open }, _) => {
                d.tray_open = open;
                self.events.push(DriveEvent::Tray { drive: DriveId(n as u32), open });
                flight.result = Some(Ok(Buffer::default()));
            }
            (DiskOp::Lock(on), _) => {
                d.locked = on;
                flight.result = Some(Ok(Buffer::default()));
            }
            (_, None) => flight.result = Some(Err(DiskError::NoMedium)),
            (op, Some((disk, queue))) => {
                no_wait = false;
                let mut op = flight::plain(op);
                // Without a write cache every write is safe by itself.
                if let Op::Write { fua, .. } = &mut op {
                    *fua &= disk.write_cache;
                }
                queue.submit(number, op);
            }
        }
        d.flights.insert(number, flight);
        if self.timed {
            self.due.insert((due, number, n));
        } else if no_wait {
            self.ready.push_back((n, number));
            self.bell.ring();
        }
    }

    /// When the next answer is due, where answers have their times.
    pub fn next_due(&self) -> Option<Tick> {
        self.due.first().map(|d| d.0)
    }

    /// The next answer, and for whom it is.
    pub(crate) fn answer(&mut self, now: Tick) -> Option<(DeviceId, Input)> {
        if !self.timed && self.bell.rung.swap(false, AcqRel) {
            (0..self.all.len()).for_each(|n| self.collect(n));
        }
        loop {
            let (n, number) = if self.timed {
                let &(_, number, n) = self.due.first().filter(|d| d.0 <= now)?;
                self.due.pop_first();
                self.wait_for(n, number);
                (n, number)
            } else {
                self.ready.pop_front()?
            };
            if let Some(answer) = self.finish(n, number, now) {
                return Some(answer);
            }
        }
    }
    /// Takes in what is done.
    fn collect(&mut self, n: usize) {
        while let Some(done) = self.all[n].disk.as_mut().and_then(|(_, q)| q.take()) {
            self.note(n, done);
        }
    }
    /// Waits until a request is done.
    fn wait_for(&mut self, n: usize, number: u64) {
        let open = |d: &Drive| d.flights.get(&number).is_some_and(|f| f.result.is_none());
        while open(&self.all[n])
            && let Some(done) = self.all[n].disk.as_mut().and_then(|(_, q)| q.wait())
        {
            self.note(n, done);
        }
    }
    /// Waits until all requests of a drive are done; their answers are kept.
    fn wait_all(&mut self, n: usize) {
        while let Some(done) =
            self.all.get_mut(n).and_then(|d| d.disk.as_mut()).and_then(|(_, q)| q.wait())
        {
            self.note(n, done);
        }
    }
    /// A request is done: its result is kept, or it is to be tried again.
    fn note(&mut self, n: usize, done: block::Done) {
        let d = &mut self.all[n];
        let Some(flight) = d.flights.get_mut(&done.tag) else { return };
        let result = match done.result {
            Ok(bytes) => Ok(bytes),
            Err(why) => {
                let failed = Failed::new(&done.op, &why);
                let drive = DriveId(n as u32);
                let policy = d.config.policy(failed.write);
                let (what, answer) = failed.decide(policy, &done.op);
                if answer.is_none()
                    && std::mem::take(&mut flight.forgiven)
                    && let Some((_, queue)) = &mut d.disk
                {
                    return queue.submit(done.tag, done.op);
                }
                self.events.push(DriveEvent::Error {
                    drive,
                    write: failed.write,
                    no_space: failed.error == DiskError::NoSpace,
                    done: what,
                    why: why.to_string(),
                });
                match answer {
                    Some(answer) => answer,
                    None => {
                        let tag = flight.tag;
                        d.flights.remove(&done.tag);
                        d.held.push((tag, done.op));
                        return;
                    }
                }
            }
        };
        flight.result = Some(result);
        if !self.timed {
            self.ready.push_back((n, done.tag));
        }
    }
    /// Hands over an answer.
    fn finish(&mut self, n: usize, number: u64, now: Tick) -> Option<(DeviceId, Input)> {
        let d = &mut self.all[n];
        let flight = d.flights.remove(&number)?;
        let result = flight.result?;
        let counts = &mut d.counts[flight.kind];
        counts.operations += 1;
        counts.time += now.saturating_sub(flight.since);
        match result {
            Ok(_) => counts.bytes += flight.bytes,
            Err(_) => counts.failed += 1,
        }
        let socket = d.socket.as_ref()?;
        let input = Input::Disk { unit: socket.unit, tag: flight.tag, result };
        Some((socket.device, socket.wrap(input)))
    }

    /// Nobody waits for the answers any more.
    fn abandon(&mut self, n: usize) {
        self.wait_all(n);
        let d = &mut self.all[n];
        d.flights.clear();
        d.held.clear();
        self.ready.retain(|r| r.0 != n);
        self.due.retain(|r| r.2 != n);
    }
    /// The same for all drives: the machine is reset.
    pub(crate) fn reset(&mut self) {
        for n in 0..self.all.len() {
            self.abandon(n);
            self.all[n].locked = false;
        }
    }
    /// The machine goes on: tries again what failed and was held. What fails of requests older than that is also tried
    /// again, for the user has seen to such errors since they were asked, and the machine need not stop once more.
    pub(crate) fn go_on(&mut self, now: Tick) {
        for n in 0..self.all.len() {
            let d = &mut self.all[n];
            d.flights.values_mut().for_each(|f| f.forgiven = true);
            for (tag, op) in std::mem::take(&mut d.held) {
                self.begin(n, now, tag, flight::asked(op));
            }
        }
    }
    /// All requests in flight are over when this returns, and what was written outlives the host.
    pub fn finish_all(&mut self) -> Vec<(DriveId, io::Error)> {
        let mut failed = Vec::new();
        for n in 0..self.all.len() {
            self.wait_all(n);
            if let Some((disk, _)) = &self.all[n].disk
                && let Err(why) = disk.image.flush()
            {
                failed.push((DriveId(n as u32), why));
            }
        }
        failed
    }
}

impl Drive {
    fn new(config: config::Drive) -> Drive {
        Drive {
            config,
            socket: None,
            disk: None,
            flights: BTreeMap::new(),
            held: Vec::new(),
            tray_open: false,
            locked: false,
            counts: Default::default(),
            gone: false,
        }
    }
    pub fn disk(&self) -> Option<&Disk> {
        self.disk.as_ref().map(|d| &d.0)
    }
    fn medium(&self) -> Option<Medium> {
        let disk = self.disk()?;
        let info = disk.image.info();
        Some(Medium {
            len: info.len,
            read_only: info.read_only,
            block: 512,
            physical: 512,
            write_cache: disk.write_cache,
        })
    }
}
