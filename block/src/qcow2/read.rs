//! Reading: where the bytes are is looked up for many clusters at once, then they are read without a lock.

use super::alloc::{corrupt, read_padded};
use super::entry::{Place, place};
use super::{Qcow2, hold};
use crate::bytes::u64_at;
use std::io::Result;
use std::sync::TryLockError;

/// Bytes of the disk that are in one place.
#[derive(Clone, Copy)]
struct Extent {
    place: Place,
    /// Where in the cluster, or in the row of clusters, they begin.
    skip: u64,
    len: usize,
}

/// Extents that are looked up at once.
const EXTENTS: usize = 16;

impl Qcow2 {
    pub(super) fn read_all(&self, mut at: u64, mut into: &mut [u8]) -> Result<()> {
        let _pin = self.pin();
        while !into.is_empty() {
            let (extents, n) = self.look_up(at, into.len())?;
            for e in &extents[..n] {
                let (now, rest) = into.split_at_mut(e.len);
                self.read_extent(at, e, now)?;
                at += e.len as u64;
                into = rest;
            }
        }
        Ok(())
    }

    /// Where the bytes from `at` on are: some extents in a row.
    fn look_up(&self, at: u64, len: usize) -> Result<([Extent; EXTENTS], usize)> {
        let covers = self.header.l2_covers();
        let map = hold(&self.map);
        let (map, table) = self.table(map, (at / covers) as usize)?;
        drop(map);
        let len = (len as u64).min(covers - at % covers) as usize;
        Ok(self.extents(table.as_ref().map(|t| &t[..]), at, len))
    }

    /// The same, within one L2 table.
    fn extents(&self, table: Option<&[u8]>, mut at: u64, len: usize) -> ([Extent; EXTENTS], usize) {
        let cluster = self.cluster();
        let mut all = [Extent { place: Place::Nowhere, skip: 0, len: 0 }; EXTENTS];
        let (mut n, mut left) = (0, len);
        let Some(table) = table else {
            all[0].len = len;
            return (all, 1);
        };
        while left > 0 {
            let index = (at % self.header.l2_covers()) >> self.header.cluster_bits;
            let entry = u64_at(table, index as usize * 8);
            let place = place(entry, self.header.cluster_bits, self.header.version);
            let skip = at % cluster;
            let now = left.min((cluster - skip) as usize);
            if n > 0 && follows(&all[n - 1], place) {
                all[n - 1].len += now;
            } else if n < EXTENTS {
                all[n] = Extent { place, skip, len: now };
                n += 1;
            } else {
                break;
            }
            at += now as u64;
            left -= now;
        }
        (all, n)
    }

    fn read_extent(&self, at: u64, e: &Extent, into: &mut [u8]) -> Result<()> {
        match e.place {
            Place::Nowhere => self.read_backing(at, into),
            Place::Zero { .. } => {
                into.fill(0);
                Ok(())
            }
            Place::Data { host, .. } => read_padded(&*self.file, host + e.skip, into),
            Place::Packed { host, len } => {
                let bytes = self.unpack(host, len)?;
                into.copy_from_slice(&bytes[e.skip as usize..e.skip as usize + into.len()]);
                Ok(())
            }
            Place::Bad => Err(corrupt(&format!("where the cluster at {at:#x} is, makes no sense"))),
        }
    }

    pub(super) fn read_backing(&self, at: u64, into: &mut [u8]) -> Result<()> {
        match &self.backing {
            Some(b) => read_padded(&**b, at, into),
            None => {
                into.fill(0);
                Ok(())
            }
        }
    }

    /// Reads if nothing has to be waited for.
    pub(super) fn read_at_once(&self, at: u64, into: &mut [u8]) -> Option<Result<()>> {
        let covers = self.header.l2_covers();
        if at % covers + into.len() as u64 > covers {
            return None;
        }
        let _pin = self.pin();
        let table = {
            let mut map = match self.map.try_lock() {
                Ok(map) => map,
                Err(TryLockError::Poisoned(p)) => p.into_inner(),
                Err(TryLockError::WouldBlock) => return None,
            };
            match map.l1.get((at / covers) as usize).copied()? & super::entry::OFFSET {
                0 => None,
                place => Some(map.l2.get(place)?.clone()),
            }
        };
        let (extents, n) = self.extents(table.as_ref().map(|t| &t[..]), at, into.len());
        let (mut at, mut rest) = (at, into);
        for e in &extents[..n] {
            let (now, behind) = rest.split_at_mut(e.len);
            match e.place {
                Place::Zero { .. } => now.fill(0),
                Place::Data { host, .. } => {
                    if let Err(e) = self.file.try_read(host + e.skip, now)? {
                        return Some(Err(e));
                    }
                }
                Place::Nowhere if at >= self.backed() => now.fill(0),
                Place::Nowhere => {
                    if let Err(e) = self.backing.as_ref()?.try_read(at, now)? {
                        return Some(Err(e));
                    }
                }
                Place::Packed { .. } | Place::Bad => return None,
            }
            at += now.len() as u64;
            rest = behind;
        }
        rest.is_empty().then_some(Ok(()))
    }
}

/// Whether a cluster goes on where an extent ends.
fn follows(e: &Extent, place: Place) -> bool {
    match (e.place, place) {
        (Place::Nowhere, Place::Nowhere) | (Place::Zero { .. }, Place::Zero { .. }) => true,
        (Place::Data { host, .. }, Place::Data { host: next, .. }) => {
            host + e.skip + e.len as u64 == next
        }
        _ => false,
    }
}
