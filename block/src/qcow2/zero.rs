//! Zeroes and discards: whole clusters by their table entries, the rest by writing.

use super::entry::{OFFSET, Place, ZERO, place};
use super::map::Busy;
use super::{Qcow2, hold};
use crate::bytes::{put, u64_at};
use std::io::Result;
use std::ops::Range;

/// What is to become of whole clusters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// They read as zero; a place that they have stays theirs.
    Zero,
    /// They read as zero and have no place.
    Unmap,
}

impl Qcow2 {
    pub(super) fn zero_all(&self, at: u64, len: u64, unmap: bool) -> Result<()> {
        let (first, end) = self.whole(at, len);
        if first >= end {
            return self.write_zeroes(at, at + len);
        }
        self.write_zeroes(at, first)?;
        self.write_zeroes(end.min(at + len), at + len)?;
        if self.header.version < 3 && first < self.backed() {
            return self.write_zeroes(first, end.min(at + len));
        }
        self.change(first, end, if unmap { Wish::Unmap } else { Wish::Zero })
    }

    pub(super) fn discard_clusters(&self, at: u64, len: u64) -> Result<()> {
        let (first, end) = self.whole(at, len);
        // Without a mark for zeroes, the backing file would show through.
        if first >= end || self.header.version < 3 && first < self.backed() {
            return Ok(());
        }
        self.change(first, end, Wish::Unmap)
    }

    /// The whole clusters of a range. The last one of the disk is whole if it is meant to its end.
    fn whole(&self, at: u64, len: u64) -> (u64, u64) {
        let (cluster, end) = (self.cluster(), at + len);
        let size = self.size.load(std::sync::atomic::Ordering::Acquire);
        let end = if end == size { end.next_multiple_of(cluster) } else { end - end % cluster };
        (at.next_multiple_of(cluster), end)
    }

    /// Writes zeroes where there are others.
    fn write_zeroes(&self, mut at: u64, end: u64) -> Result<()> {
        let step = self.cluster().max(64 << 10);
        let mut bytes = vec![0; step.min(end - at) as usize];
        while at < end {
            let n = (step - at % step).min(end - at) as usize;
            self.read_all(at, &mut bytes[..n])?;
            if bytes[..n].iter().any(|&b| b != 0) {
                bytes[..n].fill(0);
                self.write_all(at, &bytes[..n])?;
            }
            at += n as u64;
        }
        Ok(())
    }

    /// Lets whole clusters read as zero.
    pub(super) fn change_to_zero(&self, first: u64, end: u64) -> Result<()> {
        self.change(first, end, Wish::Zero)
    }

    fn change(&self, mut at: u64, end: u64, wish: Wish) -> Result<()> {
        let covers = self.header.l2_covers();
        while at < end {
            let to = end.min(at - at % covers + covers);
            self.change_in_table(at, to, wish).map_err(|e| self.note(e))?;
            at = to;
        }
        Ok(())
    }

    /// The same for clusters of one L2 table.
    fn change_in_table(&self, at: u64, end: u64, wish: Wish) -> Result<()> {
        let (bits, covers) = (self.header.cluster_bits, self.header.l2_covers());
        let n = (at / covers) as usize;
        let clusters = at >> bits..end >> bits;
        let mut map = hold(&self.map);
        while map.idle(clusters.clone()) != clusters {
            map = self.idle.wait(map).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        if map.l1.get(n).is_none_or(|e| e & OFFSET == 0) && at >= self.backed() {
            return Ok(());
        }
        let _busy = Busy::new(self, &mut map, clusters);
        drop(map);
        let (mut map, table) = self.own_table(n)?;
        let index = |at: u64| ((at % covers) >> bits) as usize;
        let entries = index(at)..index(end - 1) + 1;
        let old = self.change_entries(&mut map, table, entries, at, wish);
        old.into_iter().for_each(|p| self.unlink(&mut map, p));
        drop(map);
        Ok(())
    }

    /// Changes entries of a table; gives the places that they refer to no more.
    fn change_entries(
        &self,
        map: &mut super::map::Map,
        table: u64,
        entries: Range<usize>,
        at: u64,
        wish: Wish,
    ) -> Vec<Place> {
        let (bits, version) = (self.header.cluster_bits, self.header.version);
        let mut gone = Vec::new();
        let backed = self.backed();
        let bytes = entries.start * 8..entries.end * 8;
        let Some(bytes) = map.l2.change(table, bytes) else { return gone };
        for (n, e) in entries.enumerate() {
            let entry = u64_at(bytes, e * 8);
            let old = place(entry, bits, version);
            let below = version >= 3 && at + ((n as u64) << bits) < backed;
            let blank = if below { ZERO } else { 0 };
            let new = match (old, wish) {
                (Place::Nowhere, _) => blank,
                (Place::Data { own: true, .. }, Wish::Zero) if version >= 3 => entry | ZERO,
                (Place::Zero { .. }, Wish::Zero) => entry,
                (Place::Zero { host: None, .. }, Wish::Unmap) => entry,
                _ => {
                    gone.push(old);
                    blank
                }
            };
            put(bytes, e * 8, &new.to_be_bytes());
        }
        gone
    }
}
