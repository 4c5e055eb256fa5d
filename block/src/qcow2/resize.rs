//! A longer disk. What was behind the old end is zero, whatever a backing file has there.

use super::header::{AT_SIZE, MOST_L1};
use super::{Qcow2, hold};
use std::io::{Error, ErrorKind, Result};
use std::sync::atomic::Ordering::*;

impl Qcow2 {
    pub(super) fn grow(&self, len: u64) -> Result<()> {
        let no = |what: &str| Err(Error::new(ErrorKind::Unsupported, what.to_owned()));
        let old = self.size.load(Acquire);
        if len == old {
            return Ok(());
        }
        if len % 512 != 0 || len >= 1 << 62 {
            return Err(Error::new(ErrorKind::InvalidInput, "the length of a disk is in sectors"));
        }
        if len < old {
            return no("a qcow2 image cannot be made shorter");
        }
        if self.header.version < 3 && !self.snapshots.is_empty() {
            return no("a version 2 image with snapshots keeps its length");
        }
        let needed = self.header.l1_needed(len);
        if needed * 8 > MOST_L1 {
            return no("so long a disk needs larger clusters");
        }
        if needed as usize > hold(&self.map).l1.len() {
            self.grow_l1(needed as usize)?;
        }
        if self.backed() > old {
            self.hide_backing(old, len.min(self.backed()))?;
        }
        let flusher = hold(&self.flusher);
        self.file.write(AT_SIZE, &len.to_be_bytes())?;
        self.file.flush()?;
        self.size.store(len, Release);
        drop(flusher);
        Ok(())
    }

    /// The backing file is longer than the disk was: what the disk gets must not be its bytes.
    fn hide_backing(&self, old: u64, end: u64) -> Result<()> {
        if self.header.version < 3 {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "a version 2 image with a longer backing file keeps its length",
            ));
        }
        let bytes = self.cluster() - old % self.cluster();
        if bytes < self.cluster() {
            // The last cluster gets a place of its own with zeroes behind the old end.
            let from = old - old % self.cluster();
            let mut all = vec![0; self.cluster() as usize];
            self.read_all(from, &mut all[..(old % self.cluster()) as usize])?;
            self.write_all(from, &all)?;
        }
        let end = end.next_multiple_of(self.cluster());
        self.change_to_zero(old.next_multiple_of(self.cluster()), end)?;
        self.checkpoint()
    }

    /// A longer L1 table at a new place.
    fn grow_l1(&self, needed: usize) -> Result<()> {
        let bytes = needed as u64 * 8;
        let clusters = bytes.div_ceil(self.cluster());
        let at = self.allocate_row(clusters)?;
        let moved = self.move_l1(at, needed);
        match moved {
            Ok(true) => {
                hold(&self.alloc).note_meta(at, bytes);
                Ok(())
            }
            other => {
                // The header may name it, so it is free when it is known not to.
                hold(&self.map).drop_ref(at..at + clusters * self.cluster());
                // Somebody wrote meanwhile: once more.
                other.and_then(|_| self.grow_l1(needed))
            }
        }
    }

    /// Lets the L1 table go on at a new place. `false`: it has changed meanwhile.
    fn move_l1(&self, at: u64, needed: usize) -> Result<bool> {
        let mut flusher = hold(&self.flusher);
        self.checkpoint_with(&mut flusher)?;
        let mut map = hold(&self.map);
        if !map.l1_dirty.is_empty() {
            return Ok(false);
        }
        let entry = |n: usize| map.l1.get(n).copied().unwrap_or(0);
        let table: Vec<u8> = (0..needed).flat_map(|n| entry(n).to_be_bytes()).collect();
        self.file.write(at, &table)?;
        self.file.flush()?;
        // From here on the header may name either; what is in memory decides, and the next checkpoint makes sure.
        flusher.unsure = true;
        self.write_l1_place(at, needed as u32)?;
        let old = flusher.l1_at..flusher.l1_at + map.l1.len() as u64 * 8;
        (flusher.l1_at, flusher.l1_size) = (at, needed as u32);
        map.l1.resize(needed, 0);
        if !old.is_empty() {
            map.drop_ref(old);
        }
        // If this fails, the next checkpoint does it.
        flusher.unsure = self.file.flush().is_err();
        Ok(true)
    }

    /// So many clusters in a row.
    fn allocate_row(&self, want: u64) -> Result<u64> {
        if want >= hold(&self.alloc).per_block() {
            return Err(Error::new(ErrorKind::Unsupported, "so long a disk needs larger clusters"));
        }
        let mut tries = Vec::new();
        let found = loop {
            match self.allocate(want) {
                Ok(got) if got.count == want => break Ok(got.at),
                Ok(got) => tries.push(got),
                Err(e) => break Err(e),
            }
        };
        tries.into_iter().for_each(|got| self.unallocate(got.at, got.count));
        found
    }
}
