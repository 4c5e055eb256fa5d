//! qcow2 images, versions 2 and 3.  QEMU docs/interop/qcow2.txt.
//!
//! The README of this crate says in which order things are written, and why nothing is lost. Locks, from the outermost:
//! `flusher`, `alloc`, `map`, `pins`.

mod alloc;
mod counts;
mod create;
mod entry;
mod flush;
mod header;
mod map;
mod packed;
mod read;
mod resize;
mod snapshot;
mod tables;
#[cfg(test)]
mod test;
mod write;
mod zero;

pub use create::{Create, create};
pub use header::{Compression, Header, LAZY_REFCOUNTS, MAGIC};
pub use snapshot::Snapshot;

use crate::bytes::u64_at;
use crate::{Image, Info, within};
use alloc::{Alloc, Got, Stuck, read_padded};
use map::{Map, Pins};
use std::io::{Error, ErrorKind, Result};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// How an image is to be used.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub read_only: bool,
    /// Bytes of memory for L2 tables (`l2-cache-size=`) and refcount blocks (`refcount-cache-size=`).
    pub l2_cache: u64,
    pub refcount_cache: u64,
    /// Clusters that are given up give their space back to the host (`discard=unmap`).
    pub discard: bool,
    /// New bytes of the file read as zero: it is a file, not a device.
    pub zeroed: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            read_only: false,
            l2_cache: 32 << 20,
            refcount_cache: 4 << 20,
            discard: false,
            zeroed: true,
        }
    }
}

/// A qcow2 image.
pub struct Qcow2 {
    file: Arc<dyn Image>,
    backing: Option<Arc<dyn Image>>,
    header: Header,
    options: Options,
    snapshots: Vec<Snapshot>,
    size: AtomicU64,
    /// The header's place and length of the L1 table, by who flushes or resizes.
    flusher: Mutex<flush::Flusher>,
    alloc: Mutex<Alloc>,
    map: Mutex<Map>,
    pins: Mutex<Pins>,
    /// Clusters that nothing in the file refers to, as soon as nobody looks at them any more.
    limbo: Mutex<Vec<(u64, Vec<Range<u64>>)>>,
    unpacked: Mutex<packed::Recent>,
    /// Somebody is not busy any more.
    idle: Condvar,
    /// The header says that it was written to.
    touched: AtomicBool,
    /// Something was found that cannot be: nothing is written any more.
    corrupt: AtomicBool,
}

/// Locks. A thread that panicked leaves what is behind a lock as it is: each change is complete in itself.
fn hold<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Qcow2 {
    /// Reads an image's header alone.
    pub fn header_of(file: &dyn Image) -> std::result::Result<Header, String> {
        let mut first = vec![0; header::MOST.min(file.info().len as usize)];
        file.read(0, &mut first).map_err(|e| format!("reading the header: {e}"))?;
        Header::parse(&first)
    }

    /// Opens an image. `backing` is what its header names, or what it is to stand on instead.
    pub fn open(
        file: Arc<dyn Image>,
        backing: Option<Arc<dyn Image>>,
        options: Options,
    ) -> std::result::Result<Qcow2, String> {
        let header = Qcow2::header_of(&*file)?;
        let options = Options { read_only: options.read_only || file.info().read_only, ..options };
        if !options.read_only {
            header.may_be_written()?;
        }
        let io = |what: &'static str| move |e: Error| format!("reading {what}: {e}");
        let mut l1 = vec![0; header.l1_size as usize * 8];
        read_padded(&*file, header.l1_at, &mut l1).map_err(io("the L1 table"))?;
        let l1: Vec<u64> = (0..l1.len() / 8).map(|n| u64_at(&l1, n * 8)).collect();
        let snapshots = snapshot::list(&*file, &header)?;
        let cache = options.refcount_cache.min(256 << 20) as usize;
        let cache = (!options.read_only).then_some(cache);
        let alloc = Alloc::new(file.clone(), &header, cache, options.zeroed);
        let mut alloc = alloc.map_err(io("the refcount table"))?;
        if !options.read_only {
            alloc.note_meta(header.l1_at, header.l1_size as u64 * 8);
            l1.iter().filter(|&e| e & entry::OFFSET != 0).for_each(|e| {
                alloc.note_meta(e & entry::OFFSET, 1);
            });
            snapshot::places(&header, &snapshots).for_each(|(at, len)| alloc.note_meta(at, len));
        }
        // No more than the whole image needs.
        let needed = header.l1_size as u64 * header.cluster();
        let tables = options.l2_cache.min(needed).min(1 << 30) / header.cluster();
        Ok(Qcow2 {
            file,
            backing,
            size: header.size.into(),
            flusher: Mutex::new(flush::Flusher {
                l1_at: header.l1_at,
                l1_size: header.l1_size,
                unsure: false,
            }),
            alloc: Mutex::new(alloc),
            map: Mutex::new(Map::new(l1, tables as usize, header.cluster())),
            pins: Mutex::default(),
            limbo: Mutex::default(),
            unpacked: Mutex::default(),
            idle: Condvar::new(),
            touched: AtomicBool::new(header.autoclear == 0),
            corrupt: AtomicBool::new(false),
            header,
            options,
            snapshots,
        })
    }

    pub fn header(&self) -> &Header {
        &self.header
    }
    /// Snapshots inside the image.
    pub fn snapshots(&self) -> &[Snapshot] {
        &self.snapshots
    }
    pub fn is_corrupt(&self) -> bool {
        self.header.is_corrupt() || self.corrupt.load(Relaxed)
    }
    fn cluster(&self) -> u64 {
        self.header.cluster()
    }
    /// Bytes of the disk for which the backing file matters.
    fn backed(&self) -> u64 {
        self.backing.as_ref().map_or(0, |b| b.info().len)
    }

    /// New clusters.
    fn allocate(&self, want: u64) -> Result<Got> {
        self.reclaim();
        loop {
            let stuck = match hold(&self.alloc).allocate(want) {
                Ok(got) => return Ok(got),
                Err(stuck) => stuck,
            };
            match stuck {
                Stuck::Crowded => self.checkpoint()?,
                Stuck::Table => self.grow_refcount_table()?,
                Stuck::Failed(e) => return Err(self.note(e)),
            }
        }
    }
    /// Gives clusters back to which nothing was made to refer.
    fn unallocate(&self, at: u64, count: u64) {
        let first = at >> self.header.cluster_bits;
        // It cannot fail but for reading a refcount block that was there before; the clusters are lost then, no more.
        let _ = hold(&self.alloc).release(first..first + count);
    }

    /// Before the first change.
    fn before_write(&self) -> Result<()> {
        if self.options.read_only {
            return Err(ErrorKind::ReadOnlyFilesystem.into());
        }
        if self.corrupt.load(Relaxed) {
            return Err(alloc::corrupt("it is not written to any more"));
        }
        if self.touched.load(Acquire) { Ok(()) } else { self.touch() }
    }
    /// Looks at an error; one that says that the image is corrupt ends writing.
    fn note(&self, e: Error) -> Error {
        if e.kind() == ErrorKind::InvalidData && !self.options.read_only {
            self.mark_corrupt();
        }
        e
    }
}

impl Header {
    /// Whether it may be opened for writing.
    fn may_be_written(&self) -> std::result::Result<(), String> {
        if self.is_corrupt() {
            return Err("marked as corrupt: it can be opened read-only, or repaired with 'qemu-img check -r all'".into());
        }
        if self.is_dirty() {
            return Err("its refcounts were not written when it was last closed (lazy_refcounts): it can be opened \
                        read-only, or repaired with 'qemu-img check -r all'"
                .into());
        }
        Ok(())
    }
}

impl Image for Qcow2 {
    fn info(&self) -> Info {
        Info {
            len: self.size.load(Acquire),
            read_only: self.options.read_only,
            best: self.cluster().min(64 << 10) as u32,
            discard: self.options.discard,
        }
    }
    fn read(&self, at: u64, into: &mut [u8]) -> Result<()> {
        within(self.info().len, at, into.len() as u64)?;
        self.read_all(at, into)
    }
    fn try_read(&self, at: u64, into: &mut [u8]) -> Option<Result<()>> {
        within(self.info().len, at, into.len() as u64).ok()?;
        self.read_at_once(at, into)
    }
    fn write(&self, at: u64, from: &[u8]) -> Result<()> {
        within(self.info().len, at, from.len() as u64)?;
        self.before_write()?;
        self.write_all(at, from)
    }
    fn flush(&self) -> Result<()> {
        if self.options.read_only { Ok(()) } else { self.checkpoint() }
    }
    fn discard(&self, at: u64, len: u64) -> Result<()> {
        within(self.info().len, at, len)?;
        self.before_write()?;
        self.discard_clusters(at, len)
    }
    fn zero(&self, at: u64, len: u64, unmap: bool) -> Result<()> {
        within(self.info().len, at, len)?;
        self.before_write()?;
        self.zero_all(at, len, unmap)
    }
    fn resize(&self, len: u64) -> Result<()> {
        self.before_write()?;
        self.grow(len)
    }
    fn on_host(&self) -> u64 {
        self.file.on_host()
    }
}

impl Drop for Qcow2 {
    /// What is in memory is written; whoever wants to hear of errors flushes before.
    fn drop(&mut self) {
        if !self.options.read_only {
            // The second one writes which clusters the first one made free.
            let _ = self.checkpoint().and_then(|()| self.checkpoint());
        }
    }
}
