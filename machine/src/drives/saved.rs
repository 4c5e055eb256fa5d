//! Requests in flight as they are saved: done by the host, but not yet known to the guest.

use super::flight::Flight;
use super::{Drives, KINDS};
use block::Op;
use device::{DiskError, Misfit, Tick};
use hw::Bytes;
use state::state;

state! {
    /// A request whose answer has not entered, or one that waits for another try.
    struct Request {
        1 drive: u32 = 0,
        2 tag: u64 = 0,
        3 since: Tick = 0,
        4 due: Tick = 0,
        5 kind: u8 = 0,
        6 bytes: u64 = 0,
        /// 0: it went well, and `data` is what was read; else the error.
        7 error: u8 = 0,
        8 data: Bytes = Bytes::default(),
        /// Held: what was asked, by number, with its place.
        9 held: Option<u8> = None,
        10 at: u64 = 0,
        11 len: u64 = 0,
        12 flag: bool = false,
    }
}
state! {
    /// A drive as it is saved.
    struct Saved {
        1 name: String = String::new(),
        /// The medium's length, if there is one.
        2 len: Option<u64> = None,
        3 tray_open: bool = false,
        4 locked: bool = false,
    }
}
state! {
    struct All { 1 drives: Vec<Bytes> = Vec::new(), 2 requests: Vec<Bytes> = Vec::new() }
}

const ERRORS: [DiskError; 5] =
    [DiskError::Io, DiskError::NoSpace, DiskError::Range, DiskError::ReadOnly, DiskError::NoMedium];

fn error_number(e: DiskError) -> u8 {
    ERRORS.iter().position(|x| *x == e).map_or(1, |n| n as u8 + 1)
}

/// A request whose answer is there.
fn flying(drive: u32, f: &Flight) -> Option<Request> {
    let (error, data) = match f.result.as_ref()? {
        Ok(bytes) => (0, bytes.to_vec()),
        Err(e) => (error_number(*e), Vec::new()),
    };
    let (tag, since, due, kind, bytes) = (f.tag, f.since, f.due, f.kind as u8, f.bytes);
    let data = Bytes(data);
    Some(Request { drive, tag, since, due, kind, bytes, error, data, ..Request::default() })
}

fn held(drive: u32, tag: u64, op: &Op) -> Request {
    let r = Request { drive, tag, ..Request::default() };
    match op.clone() {
        Op::Read { at, len } => Request { held: Some(0), at, len: len.into(), ..r },
        Op::Write { at, data, fua } => {
            Request { held: Some(1), at, data: Bytes(data.to_vec()), flag: fua, ..r }
        }
        Op::Flush => Request { held: Some(2), ..r },
        Op::Discard { at, len } => Request { held: Some(3), at, len, ..r },
        Op::Zero { at, len, unmap } => Request { held: Some(4), at, len, flag: unmap, ..r },
    }
}
fn unheld(r: Request) -> Option<Op> {
    Some(match r.held? {
        0 => Op::Read { at: r.at, len: r.len.try_into().ok()? },
        1 => Op::Write { at: r.at, data: r.data.0.into(), fua: r.flag },
        2 => Op::Flush,
        3 => Op::Discard { at: r.at, len: r.len },
        4 => Op::Zero { at: r.at, len: r.len, unmap: r.flag },
        _ => return None,
    })
}

impl Drives {
    /// Those that are there, by their names: their numbers depend on what came and went before.
    fn in_order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.all.len()).filter(|n| !self.all[*n].gone).collect();
        order.sort_by(|a, b| self.all[*a].config.name.cmp(&self.all[*b].config.name));
        order
    }

    /// What has to be kept. Everything in flight is waited for.
    pub(crate) fn save(&mut self) -> Vec<u8> {
        let mut all = All::default();
        // With their numbers, as answers that are due at the same time enter in the order of these.
        let mut flights = Vec::new();
        let mut waiting = Vec::new();
        for (place, n) in self.in_order().into_iter().enumerate() {
            self.wait_all(n);
            let (d, place) = (&self.all[n], place as u32);
            let len = d.disk().map(|d| d.image.info().len);
            let name = d.config.name.clone();
            let saved = Saved { name, len, tray_open: d.tray_open, locked: d.locked };
            all.drives.push(Bytes(saved.save()));
            flights.extend(d.flights.iter().filter_map(|(n, f)| Some((*n, flying(place, f)?))));
            waiting.extend(d.held.iter().map(|(tag, op)| held(place, *tag, op)));
        }
        flights.sort_by_key(|f| f.0);
        let requests = flights.into_iter().map(|f| f.1).chain(waiting);
        all.requests = requests.map(|r| Bytes(r.save())).collect();
        all.save()
    }

    /// Which of our drives the saved ones are: those of the same names, and the others in their order.
    fn matched(&self, saved: &[Saved]) -> Result<Vec<usize>, Misfit> {
        let mut mine = self.in_order();
        if saved.len() != mine.len() {
            let (was, is) = (saved.len(), mine.len());
            return Err(Misfit::Unfit(format!("it has {was} drives; this machine has {is}")));
        }
        let same = |s: &Saved, n: &usize| self.all[*n].config.name == s.name;
        let by_name: Vec<Option<usize>> = saved
            .iter()
            .map(|s| mine.iter().position(|n| same(s, n)).map(|at| mine.remove(at)))
            .collect();
        let mut rest = mine.into_iter();
        Ok(by_name.into_iter().filter_map(|n| n.or_else(|| rest.next())).collect())
    }

    /// Checks that a saved state is of these drives, with the same media.
    pub(crate) fn check(&self, from: &[u8]) -> Result<(), Misfit> {
        let all = All::load(from)?;
        let saved = all.saved()?;
        for (n, saved) in self.matched(&saved)?.into_iter().zip(&saved) {
            let d = &self.all[n];
            let len = d.disk().map(|d| d.image.info().len);
            if saved.len != len {
                let say = |l: Option<u64>| l.map_or("nothing".into(), |n| format!("{n} bytes"));
                let name = &d.config.name;
                let (was, is) = (say(saved.len), say(len));
                return Err(Misfit::Unfit(format!("drive {name} had {was}; now it has {is}")));
            }
        }
        all.requests.iter().try_for_each(|r| Request::load(&r.0).map(drop))
    }

    /// Takes what [`Drives::check`] found good.
    pub(crate) fn load(&mut self, from: &[u8]) -> Result<(), Misfit> {
        let all = All::load(from)?;
        let saved = all.saved()?;
        let order = self.matched(&saved)?;
        self.reset();
        for (n, saved) in order.iter().zip(&saved) {
            let d = &mut self.all[*n];
            (d.tray_open, d.locked) = (saved.tray_open, saved.locked);
        }
        for r in &all.requests {
            let r = Request::load(&r.0)?;
            if let Some(n) = order.get(r.drive as usize) {
                self.load_one(*n, r);
            }
        }
        self.bell.ring();
        Ok(())
    }

    fn load_one(&mut self, n: usize, r: Request) {
        let (d, tag) = (&mut self.all[n], r.tag);
        if r.held.is_some() {
            d.held.extend(unheld(r).map(|op| (tag, op)));
            return;
        }
        let number = self.next;
        self.next += 1;
        let result = match r.error {
            0 => Ok(r.data.0.into()),
            e => Err(ERRORS.get(e as usize - 1).copied().unwrap_or(DiskError::Io)),
        };
        let kind = r.kind as usize % KINDS.len();
        let (since, due, bytes) = (r.since, r.due, r.bytes);
        let result = Some(result);
        let flight = Flight { tag, since, due, kind, bytes, result, forgiven: false };
        d.flights.insert(number, flight);
        if self.timed {
            self.due.insert((due, number, n));
        } else {
            self.ready.push_back((n, number));
        }
    }
}

impl All {
    fn saved(&self) -> Result<Vec<Saved>, Misfit> {
        self.drives.iter().map(|d| Saved::load(&d.0)).collect()
    }
}
