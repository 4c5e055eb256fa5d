//! Where the disk's clusters are: the L1 table and L2 tables in memory, and who is busy with which cluster.
//!
//! The lock on [`Map`] is never held while the host reads or writes. What follows:
//! - a table is read without it, and put in only if no table was dropped meanwhile (else what was read may be old);
//! - who fills, zeroes or discards clusters notes them as busy, and others who want to do so wait;
//! - who reads or overwrites clusters in place holds a [`Pin`] from before its look-up until it is done, and a cluster
//!   that was given up is used again only when all pins of that time are gone.

use super::alloc::{corrupt, read_padded};
use super::entry::{COPIED, OFFSET};
use super::tables::{Bytes, Tables};
use super::{Qcow2, hold};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Result;
use std::ops::Range;
use std::sync::{Arc, MutexGuard};

pub struct Map {
    pub l1: Vec<u64>,
    pub l1_dirty: BTreeSet<usize>,
    pub l2: Tables,
    /// Clusters of the disk, first and end, that somebody changes.
    busy: BTreeMap<u64, u64>,
    /// Bytes of the file to which one reference less is made since the last flush.
    pub dropped: Vec<Range<u64>>,
    cluster: u64,
}

/// References dropped that are remembered before they are written.
const MOST_DROPPED: usize = 1 << 16;

impl Map {
    pub fn new(l1: Vec<u64>, tables: usize, cluster: u64) -> Map {
        Map {
            l1,
            l1_dirty: BTreeSet::new(),
            l2: Tables::new(tables),
            busy: BTreeMap::new(),
            dropped: Vec::new(),
            cluster,
        }
    }
    /// The first clusters of `of` that nobody is busy with; empty: somebody is busy with the first one.
    pub fn idle(&self, of: Range<u64>) -> Range<u64> {
        if self.busy.range(..=of.start).next_back().is_some_and(|(_, &end)| end > of.start) {
            return of.start..of.start;
        }
        let next = self.busy.range(of.start..).next().map_or(u64::MAX, |(&first, _)| first);
        of.start..of.end.min(next)
    }
    /// Notes one reference less to bytes of the file.
    pub fn drop_ref(&mut self, bytes: Range<u64>) {
        let whole = |r: &Range<u64>| (r.start | r.end) % self.cluster == 0;
        match self.dropped.last_mut() {
            // Neighbours in one piece: whole clusters only, as compressed ones share theirs.
            Some(last) if last.end == bytes.start && whole(last) && whole(&bytes) => {
                last.end = bytes.end;
            }
            _ => self.dropped.push(bytes),
        }
    }
}

/// Clusters that the holder is busy with.
pub struct Busy<'a> {
    image: &'a Qcow2,
    first: u64,
}

impl<'a> Busy<'a> {
    pub fn new(image: &'a Qcow2, map: &mut Map, of: Range<u64>) -> Busy<'a> {
        map.busy.insert(of.start, of.end);
        Busy { image, first: of.start }
    }
    /// Fewer of them.
    pub fn shorten(&self, end: u64) {
        let mut map = hold(&self.image.map);
        if let Some(e) = map.busy.get_mut(&self.first) {
            *e = end.min(*e);
        }
        drop(map);
        self.image.idle.notify_all();
    }
}
impl Drop for Busy<'_> {
    fn drop(&mut self) {
        hold(&self.image.map).busy.remove(&self.first);
        self.image.idle.notify_all();
    }
}

/// Who is looking at clusters since when.
#[derive(Default)]
pub struct Pins {
    pub now: u64,
    active: BTreeMap<u64, usize>,
}
impl Pins {
    /// The oldest time at which somebody began who is not done.
    pub fn oldest(&self) -> u64 {
        self.active.first_key_value().map_or(u64::MAX, |(&t, _)| t)
    }
}

pub struct Pin<'a>(&'a Qcow2, u64);

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        let mut pins = hold(&self.0.pins);
        if let Some(n) = pins.active.get_mut(&self.1) {
            *n -= 1;
            if *n == 0 {
                pins.active.remove(&self.1);
            }
        }
    }
}

impl Qcow2 {
    pub(super) fn pin(&self) -> Pin<'_> {
        let mut pins = hold(&self.pins);
        let now = pins.now;
        *pins.active.entry(now).or_default() += 1;
        Pin(self, now)
    }

    /// The L2 table for entry `n` of the L1 table. The lock is given up while the table is read.
    pub(super) fn table<'a>(
        &'a self,
        mut map: MutexGuard<'a, Map>,
        n: usize,
    ) -> Result<(MutexGuard<'a, Map>, Option<Bytes>)> {
        loop {
            let at = map.l1.get(n).copied().unwrap_or(0) & OFFSET;
            if at == 0 {
                return Ok((map, None));
            }
            if at % self.cluster() != 0 {
                return Err(corrupt(&format!("L2 table {n} is at {at:#x}")));
            }
            if let Some(bytes) = map.l2.get(at) {
                let bytes = bytes.clone();
                return Ok((map, Some(bytes)));
            }
            let stamp = map.l2.dropped;
            drop(map);
            let mut bytes = vec![0; self.cluster() as usize];
            read_padded(&*self.file, at, &mut bytes)?;
            let bytes = Arc::new(bytes);
            map = hold(&self.map);
            let same = map.l1.get(n).is_some_and(|e| e & OFFSET == at);
            if same && map.l2.dropped == stamp && !map.l2.has(at) {
                map.l2.insert(at, bytes.clone(), false);
                return Ok((map, Some(bytes)));
            }
        }
    }

    /// Makes sure that the L2 table for entry `n` of the L1 table is there, ours alone, and in memory; gives its place.
    pub(super) fn own_table(&self, n: usize) -> Result<(MutexGuard<'_, Map>, u64)> {
        loop {
            let map = hold(&self.map);
            if map.l2.crowded() || map.dropped.len() > MOST_DROPPED {
                drop(map);
                self.checkpoint()?;
                continue;
            }
            let (mut map, bytes) = self.table(map, n)?;
            let entry = map.l1[n];
            let at = entry & OFFSET;
            if let Some(bytes) = &bytes
                && entry & COPIED != 0
            {
                if !map.l2.has(at) {
                    map.l2.insert(at, bytes.clone(), true);
                }
                return Ok((map, at));
            }
            drop(map);
            let got = self.allocate(1)?;
            let fresh = match bytes {
                Some(bytes) => bytes.as_ref().clone(),
                None => vec![0; self.cluster() as usize],
            };
            let mut map = hold(&self.map);
            if map.l1[n] != entry {
                // Somebody else was faster.
                drop(map);
                self.unallocate(got.at, 1);
                continue;
            }
            map.l2.insert_fresh(got.at, Arc::new(fresh));
            map.l1[n] = got.at | COPIED;
            map.l1_dirty.insert(n);
            if at != 0 {
                map.drop_ref(at..at + self.cluster());
            }
            drop(map);
            hold(&self.alloc).note_meta(got.at, 1);
        }
    }
}
