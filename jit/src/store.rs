//! Code that is kept for the next run: a block's code is found again by its own bytes, so that nothing is made twice for the same
//! image, wherever the guest has it in memory.
//!
//! What is found is compared with the guest's bytes before it is used, so that it does not matter which guest it was made for. That
//! the code is right for those bytes is only as sure as the file is this program's own: see [`file`].

mod file;
mod record;

use crate::emit::{self, Emitted};
use cpu::{Features, Mode};
use file::{Added, Hash, Identity, Old};
use memory::PAGE;
pub use record::About;
use std::collections::HashSet;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128};

/// Names of files begin with this.
const NAME: &str = "code-";
/// So many bytes of a block, if its page has as many behind its start, tell it from most others.
const TOLD_BY: usize = 8;
/// Bytes of a file at most.
const MOST: u64 = 256 << 20;
/// A file is made anew for one record more in so many.
const WORTH: u32 = 64;

/// Code of earlier runs, and what this run adds to it.
pub struct Store {
    path: PathBuf,
    identity: Identity,
    old: Option<Old>,
    new: Option<Added>,
    /// Those that are new, by more than their hashes: they are not added twice.
    seen: HashSet<u64>,
}

/// A block that is looked for or added: its mode, and where it is in RAM.
#[derive(Clone, Copy)]
pub struct Place {
    pub mode: Mode,
    pub at: u64,
}
impl Place {
    /// A hash of bytes in this mode at this place in a page.
    fn with(self, bytes: &[u8]) -> u64 {
        xxh3_64_with_seed(bytes, u64::from(self.mode.0) << 12 | self.at % PAGE)
    }
    fn hash(self, ahead: &[u8]) -> Hash {
        self.with(&ahead[..ahead.len().min(TOLD_BY)]) as u32
    }
}

impl Store {
    /// The store in a folder, for cores with these features, and code that the engine's `config` makes.
    pub fn open(folder: &Path, features: &Features, config: &str) -> io::Result<Store> {
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
        let who = format!("{} {} {features:?} {config}", env!("BUILD"), emit::host());
        let identity = xxh3_128(who.as_bytes());
        let path = folder.join(format!("{NAME}{:016x}", identity as u64));
        let new = Some(Added::new(folder)?);
        let old = Old::open(&path, identity);
        Ok(Store { path, identity, old, new, seen: HashSet::default() })
    }

    /// The code of the block at a place where memory goes on with `ahead`, and the bytes it is of.
    pub fn find(&mut self, place: Place, ahead: &[u8]) -> Option<(About, usize, Emitted)> {
        let old = self.old.as_mut()?;
        old.find(place.hash(ahead), |r| record::read(r, place.at, ahead))
    }
    /// Keeps the code of a block whose guest code is `text`, where memory goes on with `ahead`.
    pub fn add(&mut self, place: Place, ahead: &[u8], text: usize, about: &About, code: &Emitted) {
        let Some(new) = &mut self.new else { return };
        let text = &ahead[..text];
        if !self.seen.insert(place.with(text)) {
            return;
        }
        let record = record::write(about, place.at, text, code);
        if new.add(place.hash(ahead), &record).is_err() {
            self.new = None;
        }
    }
}

impl Drop for Store {
    /// Has all of it in the file for the next run, if there is enough that is new.
    fn drop(&mut self) {
        let had = self.old.as_ref().map_or(0, |o| o.records);
        if let Some(new) = self.new.take()
            && new.records() > (had / WORTH) as usize
        {
            // There may be no room: the next run is a slow one then.
            let _ = new.save(&self.path, self.identity, self.old.take(), MOST);
        }
    }
}
