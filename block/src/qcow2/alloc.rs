//! Clusters of the file: how often each is referred to, and which are free.
//!
//! All changes are made in memory; [`super::flush`] says when they reach the file. Whoever holds the lock may wait for the
//! host, as only those who need new clusters want it.

use super::counts;
use super::header::{Header, MOST_REFTABLE};
use super::tables::{Bytes, Tables, Write};
use crate::Image;
use crate::bytes::u64_at;
use std::collections::{BTreeSet, HashSet};
use std::io::{Error, ErrorKind, Result};
use std::ops::Range;
use std::sync::Arc;

pub struct Alloc {
    pub(super) file: Arc<dyn Image>,
    pub(super) cluster_bits: u32,
    pub(super) order: u32,
    pub(super) table: Vec<u64>,
    pub(super) table_at: u64,
    table_dirty: BTreeSet<usize>,
    pub(super) blocks: Tables,
    /// No cluster before this one is free.
    hint: u64,
    /// Nothing was ever written to the file from here on.
    unused: u64,
    /// New bytes of the file are zero.
    pub(super) zeroed: bool,
    /// Clusters that hold tables, by number: whoever says that they are free lies.
    pub(super) meta: HashSet<u64>,
}

/// Why there is no cluster right now.
pub enum Stuck {
    /// Too much has to be written first.
    Crowded,
    /// The refcount table has to grow.
    Table,
    Failed(Error),
}
impl From<Error> for Stuck {
    fn from(e: Error) -> Stuck {
        Stuck::Failed(e)
    }
}

/// New clusters in a row.
#[derive(Clone, Copy, Debug)]
pub struct Got {
    pub at: u64,
    pub count: u64,
    /// They read as zero.
    pub zero: bool,
}

pub fn corrupt(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("the image is corrupt: {what}"))
}

/// Reads from a file; what lies behind its end is zero.
pub fn read_padded(file: &dyn Image, at: u64, into: &mut [u8]) -> Result<()> {
    let there = file.info().len.saturating_sub(at).min(into.len() as u64) as usize;
    let (have, behind) = into.split_at_mut(there);
    behind.fill(0);
    if have.is_empty() { Ok(()) } else { file.read(at, have) }
}

impl Alloc {
    /// Reads the refcount table; `None` where nothing is going to be written.
    pub fn new(
        file: Arc<dyn Image>,
        h: &Header,
        cache: Option<usize>,
        zeroed: bool,
    ) -> Result<Alloc> {
        let clusters = if cache.is_some() { h.reftable_clusters as u64 } else { 0 };
        let mut bytes = vec![0; (clusters * h.cluster()) as usize];
        read_padded(&*file, h.reftable_at, &mut bytes)?;
        let table: Vec<u64> = (0..bytes.len() / 8).map(|n| u64_at(&bytes, n * 8) & !511).collect();
        let unused = file.info().len.next_multiple_of(h.cluster());
        let mut alloc = Alloc {
            file,
            cluster_bits: h.cluster_bits,
            order: h.refcount_order,
            table,
            table_at: h.reftable_at,
            table_dirty: BTreeSet::new(),
            blocks: Tables::new(cache.unwrap_or(0).div_ceil(h.cluster() as usize).max(4)),
            hint: 0,
            unused,
            zeroed,
            meta: HashSet::new(),
        };
        alloc.meta.insert(0);
        alloc.note_meta(h.reftable_at, bytes.len() as u64);
        for n in 0..alloc.table.len() {
            let at = alloc.table[n];
            // A block that counts for several ranges would be searched for each of them.
            if at != 0 && !alloc.meta.insert(at >> alloc.cluster_bits) {
                return Err(corrupt(&format!(
                    "refcount block {n} at {at:#x} is another table, too"
                )));
            }
        }
        Ok(alloc)
    }
    /// These bytes hold tables.
    pub fn note_meta(&mut self, at: u64, len: u64) {
        self.meta.extend(self.clusters(at, len));
    }
    /// The clusters that some bytes touch.
    pub fn clusters(&self, at: u64, len: u64) -> Range<u64> {
        at >> self.cluster_bits..at.saturating_add(len).div_ceil(1 << self.cluster_bits)
    }
    pub fn per_block(&self) -> u64 {
        1 << (self.cluster_bits + 3 - self.order)
    }
    fn cluster(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// A refcount block; `None`: there is none, all of its counts are zero.
    fn block(&mut self, n: u64) -> Result<Option<Bytes>> {
        let Some(&at) = self.table.get(n as usize).filter(|&&at| at != 0) else { return Ok(None) };
        if at & (self.cluster() - 1) != 0 || at >= 1 << 56 {
            return Err(corrupt(&format!("refcount block {n} is at {at:#x}")));
        }
        if let Some(b) = self.blocks.get(at) {
            return Ok(Some(b.clone()));
        }
        let mut bytes = vec![0; self.cluster() as usize];
        read_padded(&*self.file, at, &mut bytes)?;
        let bytes = Arc::new(bytes);
        self.blocks.insert(at, bytes.clone(), true);
        Ok(Some(bytes))
    }
    /// How often a cluster is referred to.
    pub fn count(&mut self, cluster: u64) -> Result<u64> {
        let (n, order) = ((cluster % self.per_block()) as usize, self.order);
        Ok(self.block(cluster / self.per_block())?.map_or(0, |b| counts::get(&b, n, order)))
    }
    fn set(&mut self, cluster: u64, count: u64) -> Result<()> {
        let (n, order) = ((cluster % self.per_block()) as usize, self.order);
        let block = cluster / self.per_block();
        if self.block(block)?.is_some()
            && let Some(bytes) =
                self.blocks.change(self.table[block as usize], counts::bytes_of(n, order))
        {
            counts::set(bytes, n, order, count);
        }
        Ok(())
    }
    /// One reference less. Whoever asks knows that the file has none to it any more.
    pub fn release(&mut self, clusters: Range<u64>) -> Result<()> {
        for c in clusters {
            let count = self.count(c)?;
            if count == 0 {
                return Err(corrupt(&format!("cluster {c} is in use and counted as free")));
            }
            self.set(c, count - 1)?;
            if count == 1 {
                self.hint = self.hint.min(c);
                self.meta.remove(&c);
            }
        }
        Ok(())
    }

    /// Up to `want` free clusters in a row, counted as used from now on.
    pub fn allocate(&mut self, want: u64) -> std::result::Result<Got, Stuck> {
        if self.blocks.crowded() {
            return Err(Stuck::Crowded);
        }
        let per = self.per_block();
        let mut at = self.hint;
        let found = loop {
            let n = at / per;
            if n >= self.table.len() as u64 {
                return Err(Stuck::Table);
            }
            let Some(block) = self.block(n)? else {
                self.new_block(n)?;
                continue;
            };
            let end = (n + 1) * per;
            let free = |c: &u64| counts::get(&block, (*c % per) as usize, self.order) == 0;
            if let Some(first) = (at..end).find(free) {
                let limit = end.min(first.saturating_add(want));
                break first..(first..limit).find(|c| !free(c)).unwrap_or(limit);
            }
            at = end;
        };
        if let Some(c) = found.clone().find(|c| self.meta.contains(c)) {
            return Err(
                corrupt(&format!("cluster {c} holds a table and is counted as free")).into()
            );
        }
        self.hint = found.start;
        let (at, end) = (found.start << self.cluster_bits, found.end << self.cluster_bits);
        self.reach(end)?;
        for c in found.clone() {
            self.set(c, 1)?;
        }
        self.hint = found.end;
        let zero = self.zeroed && at >= self.unused;
        self.unused = self.unused.max(end);
        Ok(Got { at, count: found.end - found.start, zero })
    }

    /// Makes the file so long that these bytes are in it.
    pub fn reach(&mut self, end: u64) -> Result<()> {
        if end <= self.file.info().len {
            return Ok(());
        }
        if end >= 1 << 56 {
            return Err(Error::new(ErrorKind::StorageFull, "the format's largest file is full"));
        }
        self.file.resize(end).map_err(|e| match e.kind() {
            ErrorKind::Unsupported | ErrorKind::FileTooLarge => {
                Error::new(ErrorKind::StorageFull, "the file cannot grow any more")
            }
            _ => e,
        })
    }
    /// Somebody writes there whose cluster lies behind the end of the file.
    pub fn reach_for(&mut self, end: u64) -> Result<()> {
        self.reach(end)?;
        self.unused = self.unused.max(end.next_multiple_of(self.cluster()));
        Ok(())
    }

    /// A new refcount block, in the first of the clusters that it counts.
    fn new_block(&mut self, n: u64) -> Result<()> {
        let c = n * self.per_block();
        if self.meta.contains(&c) {
            return Err(corrupt(&format!("cluster {c} holds a table and has no refcount")));
        }
        let at = c << self.cluster_bits;
        self.reach_for(at + self.cluster())?;
        let mut bytes = vec![0; self.cluster() as usize];
        counts::set(&mut bytes, 0, self.order, 1);
        self.blocks.insert_fresh(at, Arc::new(bytes));
        self.table[n as usize] = at;
        self.table_dirty.insert(n as usize);
        self.meta.insert(c);
        Ok(())
    }

    /// What has to be written: blocks, and entries of the table.
    pub fn to_write(&mut self) -> (Vec<Write>, Vec<(usize, u64)>) {
        let entries = std::mem::take(&mut self.table_dirty);
        (self.blocks.to_write(), entries.into_iter().map(|n| (n, self.table[n])).collect())
    }
    pub fn written(&mut self, blocks: &[Write], entries: &[(usize, u64)], well: bool) {
        self.blocks.written(blocks, well);
        if !well {
            self.table_dirty.extend(entries.iter().map(|e| e.0));
        }
    }

    /// A larger refcount table, behind all that the old one counts; gives its place and length in clusters, and what the
    /// old one leaves. Nobody else may write tables meanwhile. The header has to name it, then [`Alloc::moved`] is told.
    pub fn larger_table(&mut self) -> Result<Larger> {
        let (per, cluster) = (self.per_block(), self.cluster());
        let most = (MOST_REFTABLE / 8) as usize;
        let old = self.table.len();
        let len = (old + old / 2 + 1).next_multiple_of(cluster as usize / 8).min(most);
        let first = old as u64 * per;
        let clusters = (len as u64 * 8).div_ceil(cluster);
        let mut blocks = 1;
        while blocks * per < blocks + clusters {
            blocks += 1;
        }
        if old as u64 + blocks > len as u64 {
            return Err(Error::new(ErrorKind::StorageFull, "the refcount table is full"));
        }
        let at = first + blocks << self.cluster_bits;
        self.reach_for(at + clusters * cluster)?;
        for b in 0..blocks {
            let mut bytes = vec![0; cluster as usize];
            let here = (blocks + clusters).saturating_sub(b * per).min(per);
            (0..here).for_each(|n| counts::set(&mut bytes, n as usize, self.order, 1));
            self.file.write(first + b << self.cluster_bits, &bytes)?;
        }
        let mut table = self.table.clone();
        table.extend((0..blocks).map(|b| first + b << self.cluster_bits));
        table.resize(len, 0);
        // Blocks that are not in the file yet are not pointed to yet.
        let on_disk = |n: usize| if self.table_dirty.contains(&n) { 0 } else { table[n] };
        let bytes: Vec<u8> = (0..len).flat_map(|n| on_disk(n).to_be_bytes()).collect();
        self.file.write(at, &bytes)?;
        self.file.flush()?;
        Ok(Larger { at, clusters, table, first, end: first + blocks + clusters })
    }
    /// The header names the larger table. Gives what the old one leaves, which is still counted.
    pub fn moved(&mut self, to: Larger) -> Range<u64> {
        let old = self.table_at..self.table_at + self.table.len() as u64 * 8;
        self.table = to.table;
        self.table_at = to.at;
        self.meta.extend(to.first..to.end);
        old
    }
    /// Where the refcount table is, and how many clusters it has.
    pub fn table_place(&self) -> (u64, u64) {
        (self.table_at, (self.table.len() as u64 * 8).div_ceil(self.cluster()))
    }
}

/// A larger refcount table, see [`Alloc::larger_table`].
pub struct Larger {
    pub at: u64,
    pub clusters: u64,
    table: Vec<u64>,
    first: u64,
    end: u64,
}
