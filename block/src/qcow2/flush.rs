//! When changes of tables reach the file.
//!
//! All of them are made in memory first. A checkpoint takes what is dirty, as it is at one moment, and writes it in an order
//! in which the file is a good image after each step:
//!
//! 1. refcount blocks, and L2 tables that nothing refers to yet;  a barrier, which takes the data along;
//! 2. entries of the refcount table for new blocks;  a barrier, if there were any;
//! 3. L2 tables that are in use, entries of the L1 table;  a barrier.
//!
//! Only then is counted down what lost a reference in 3: before, the file may still refer to it. If a step fails, what was
//! to be written is dirty again, and the next checkpoint does all of it.

use super::header::{AT_AUTOCLEAR, AT_INCOMPATIBLE, AT_L1, AT_REFTABLE, CORRUPT};
use super::tables::Write;
use super::{Qcow2, hold};
use crate::bytes::put;
use std::io::Result;
use std::ops::Range;
use std::sync::atomic::Ordering::*;

/// What only whoever flushes changes.
pub struct Flusher {
    pub l1_at: u64,
    pub l1_size: u32,
    /// The host failed when the header was to name another place: nobody knows which one it names.
    pub unsure: bool,
}

/// What has to be written, as it was at one moment.
struct Dirty {
    blocks: Vec<Write>,
    reftable: Vec<(usize, u64)>,
    reftable_at: u64,
    tables: Vec<Write>,
    l1: Vec<(usize, u64)>,
    dropped: Vec<Range<u64>>,
    time: u64,
}

impl Qcow2 {
    /// All that was changed before is in the file, and outlives the host, if this goes well.
    pub(super) fn checkpoint(&self) -> Result<()> {
        let mut flusher = hold(&self.flusher);
        self.checkpoint_with(&mut flusher)?;
        drop(flusher);
        self.reclaim();
        Ok(())
    }

    pub(super) fn checkpoint_with(&self, flusher: &mut Flusher) -> Result<()> {
        if flusher.unsure {
            self.write_places(flusher)?;
            self.file.flush()?;
            flusher.unsure = false;
        }
        let dirty = self.take_dirty();
        let result = self.write_out(&dirty, flusher.l1_at);
        let well = result.is_ok();
        let (mut alloc, mut map) = (hold(&self.alloc), hold(&self.map));
        alloc.written(&dirty.blocks, &dirty.reftable, well);
        map.l2.written(&dirty.tables, well);
        if !well {
            map.l1_dirty.extend(dirty.l1.iter().map(|e| e.0));
            map.dropped.splice(0..0, dirty.dropped);
        } else if !dirty.dropped.is_empty() {
            hold(&self.limbo).push((dirty.time, dirty.dropped));
        }
        result
    }

    fn take_dirty(&self) -> Dirty {
        let (mut alloc, mut map) = (hold(&self.alloc), hold(&self.map));
        let (blocks, reftable) = alloc.to_write();
        let l1 = std::mem::take(&mut map.l1_dirty).into_iter().map(|n| (n, map.l1[n])).collect();
        let time = {
            let mut pins = hold(&self.pins);
            pins.now += 1;
            pins.now - 1
        };
        Dirty {
            blocks,
            reftable,
            reftable_at: alloc.table_at,
            tables: map.l2.to_write(),
            l1,
            dropped: std::mem::take(&mut map.dropped),
            time,
        }
    }

    fn write_out(&self, d: &Dirty, l1_at: u64) -> Result<()> {
        let fresh = || d.tables.iter().filter(|t| t.fresh);
        let used = || d.tables.iter().filter(|t| !t.fresh);
        for w in d.blocks.iter().chain(fresh()) {
            self.write_table(w)?;
        }
        let below = !d.blocks.is_empty() || fresh().next().is_some();
        let above = used().next().is_some() || !d.l1.is_empty();
        if below && (above || !d.reftable.is_empty()) {
            self.file.flush()?;
        }
        if !d.reftable.is_empty() {
            self.write_entries(d.reftable_at, &d.reftable)?;
            if above {
                self.file.flush()?;
            }
        } else if above && !below {
            // Data that was written before a table refers to it.
            self.file.flush()?;
        }
        for w in used() {
            self.write_table(w)?;
        }
        self.write_entries(l1_at, &d.l1)?;
        self.file.flush()
    }

    /// Writes the changed part of a table, in whole sectors.
    fn write_table(&self, w: &Write) -> Result<()> {
        let step = 4096.min(w.bytes.len());
        let from = w.range.start / step * step;
        let to = w.range.end.next_multiple_of(step).min(w.bytes.len());
        self.file.write(w.at + from as u64, &w.bytes[from..to])
    }

    /// Writes entries of a table: neighbours at once.
    fn write_entries(&self, at: u64, entries: &[(usize, u64)]) -> Result<()> {
        let mut rest = entries;
        while let Some(&(first, _)) = rest.first() {
            let n = rest.iter().enumerate().take_while(|(i, e)| e.0 == first + i).count();
            let mut bytes = vec![0; n * 8];
            rest[..n]
                .iter()
                .enumerate()
                .for_each(|(i, e)| put(&mut bytes, i * 8, &e.1.to_be_bytes()));
            self.file.write(at + first as u64 * 8, &bytes)?;
            rest = &rest[n..];
        }
        Ok(())
    }

    /// Lets the header name the places of the L1 table and of the refcount table.
    fn write_places(&self, flusher: &Flusher) -> Result<()> {
        let (at, clusters) = hold(&self.alloc).table_place();
        self.write_reftable_place(at, clusters)?;
        self.write_l1_place(flusher.l1_at, flusher.l1_size)
    }
    fn write_reftable_place(&self, at: u64, clusters: u64) -> Result<()> {
        let mut bytes = [0; 12];
        put(&mut bytes, 0, &at.to_be_bytes());
        put(&mut bytes, 8, &(clusters as u32).to_be_bytes());
        self.file.write(AT_REFTABLE, &bytes)
    }
    pub(super) fn write_l1_place(&self, at: u64, size: u32) -> Result<()> {
        let mut bytes = [0; 12];
        put(&mut bytes, 0, &size.to_be_bytes());
        put(&mut bytes, 4, &at.to_be_bytes());
        self.file.write(AT_L1, &bytes)
    }

    /// Counts down what nothing refers to any more, neither in the file nor among those who look at it. What fails is lost
    /// space, no more, so nobody has to hear of it.
    pub(super) fn reclaim(&self) {
        let (ready, time) = {
            let mut limbo = hold(&self.limbo);
            if limbo.is_empty() {
                return;
            }
            let oldest = hold(&self.pins).oldest();
            let n = limbo.iter().take_while(|(time, _)| *time < oldest).count();
            let time = limbo[0].0;
            (limbo.drain(..n).flat_map(|(_, ranges)| ranges).collect::<Vec<_>>(), time)
        };
        if ready.is_empty() {
            return;
        }
        hold(&self.unpacked).clear();
        if self.options.discard {
            self.punch(&ready);
        }
        let mut alloc = hold(&self.alloc);
        for (n, range) in ready.iter().enumerate() {
            let clusters = alloc.clusters(range.start, range.end - range.start);
            if let Err(e) = alloc.release(clusters) {
                drop(alloc);
                self.note(e);
                hold(&self.limbo).insert(0, (time, ready[n + 1..].to_vec()));
                return;
            }
        }
    }

    /// Gives the space of clusters back whose last reference this was. Nobody can get them meanwhile: they are still counted.
    fn punch(&self, ready: &[Range<u64>]) {
        let cluster = self.cluster();
        for range in ready.iter().filter(|r| (r.start | r.end) % cluster == 0) {
            let mut alloc = hold(&self.alloc);
            let clusters = alloc.clusters(range.start, range.end - range.start);
            let end = clusters.end;
            let mut last = Vec::new();
            for c in clusters {
                last.push(alloc.count(c).is_ok_and(|n| n == 1));
            }
            drop(alloc);
            let first = end - last.len() as u64;
            let mut at = 0;
            while at < last.len() {
                let n = last[at..].iter().take_while(|&&l| l == last[at]).count();
                let from = (first + at as u64) * cluster;
                let there = self.file.info().len.saturating_sub(from).min(n as u64 * cluster);
                if last[at] && there > 0 {
                    // That space comes back is a wish, no promise.
                    let _ = self.file.discard(from, there);
                }
                at += n;
            }
        }
    }

    /// The header says from the first change on that what others keep beside the data is out of date.
    pub(super) fn touch(&self) -> Result<()> {
        let _flusher = hold(&self.flusher);
        if !self.touched.load(Acquire) {
            self.file.write(AT_AUTOCLEAR, &[0; 8])?;
            self.file.flush()?;
            self.touched.store(true, Release);
        }
        Ok(())
    }

    /// Something is wrong with the tables: the header says so, and nothing is written any more.
    pub(super) fn mark_corrupt(&self) {
        if !self.corrupt.swap(true, AcqRel) && self.header.version >= 3 {
            let bits = self.header.incompatible | CORRUPT;
            // It is an error already; that it cannot be noted makes no difference.
            let _ = self.file.write(AT_INCOMPATIBLE, &bits.to_be_bytes());
        }
    }

    pub(super) fn grow_refcount_table(&self) -> Result<()> {
        let mut flusher = hold(&self.flusher);
        // What refers to the old place is written before.
        self.checkpoint_with(&mut flusher)?;
        let mut alloc = hold(&self.alloc);
        let larger = alloc.larger_table()?;
        // From here on the header may name either; what is in memory decides, and the next checkpoint makes sure.
        flusher.unsure = true;
        self.write_reftable_place(larger.at, larger.clusters)?;
        let old = alloc.moved(larger);
        // The old one is free when the header is known not to name it.
        hold(&self.map).drop_ref(old);
        self.file.flush()?;
        flusher.unsure = false;
        Ok(())
    }
}
