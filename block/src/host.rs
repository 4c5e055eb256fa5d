//! A file or block device of the host, with or without the host's page cache.

use crate::patience::Patience;
use crate::{Cache, Image, Info, OpenError, lock, within};
use memory::{ALIGNED, Buffer};
use rustix::fs::FallocateFlags;
use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::sync::{Mutex, PoisonError};

/// How a file is to be opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Access {
    pub write: bool,
    /// Other writers are welcome.
    pub shared: bool,
    /// Nobody is asked, and nobody is told.
    pub no_lock: bool,
    pub cache: Cache,
}

/// A file or block device.
pub struct HostFile {
    file: File,
    len: AtomicU64,
    write: bool,
    cache: Cache,
    /// Alignment of positions and of memory; 1 without direct access.
    position: u32,
    memory: u32,
    device: bool,
    /// The host has refused once: it is not asked again.
    no_punch: AtomicBool,
    no_zero: AtomicBool,
    no_try: AtomicBool,
    patience: Patience,
    /// The host could not flush, once: what it has dropped then, nobody knows.
    lost: AtomicBool,
    /// Held by who writes a part of a block, which takes reading it first.
    parts: Mutex<()>,
}

/// Bytes that go through a bounce buffer at once.
const BOUNCE: usize = 1 << 20;
/// Zeroes are written in pieces of this size where the host cannot make them.
const PIECE: usize = 64 << 10;
/// How often, and after what time, a lock is tried again.
const LOCK_TRIES: u32 = 5;
const LOCK_PAUSE: std::time::Duration = std::time::Duration::from_millis(10);

impl HostFile {
    pub fn open(path: &Path, how: Access) -> std::result::Result<HostFile, OpenError> {
        let file = || path.display().to_string();
        // Whoever opens a pipe waits for its other end.
        if let Ok(kind) = std::fs::metadata(path).map(|m| m.file_type())
            && (kind.is_fifo() || kind.is_socket() || kind.is_char_device())
        {
            return Err(OpenError::Kind { file: file() });
        }
        let mut options = OpenOptions::new();
        options.read(true).write(how.write);
        if how.cache.direct {
            options.custom_flags(rustix::fs::OFlags::DIRECT.bits() as i32);
        }
        let opened = options.open(path).map_err(|why| {
            if how.cache.direct && why.kind() == ErrorKind::InvalidInput {
                OpenError::NoDirect { file: file() }
            } else if why.kind() == ErrorKind::IsADirectory {
                OpenError::Directory { file: file() }
            } else {
                OpenError::Open { file: file(), why }
            }
        })?;
        HostFile::of(opened, path, how)
    }

    /// A file that is open already; `path` is what messages call it.
    pub fn of(opened: File, path: &Path, how: Access) -> std::result::Result<HostFile, OpenError> {
        let file = || path.display().to_string();
        let fail = |why: Error| OpenError::Open { file: file(), why };
        let meta = opened.metadata().map_err(fail)?;
        if meta.is_dir() {
            return Err(OpenError::Directory { file: file() });
        }
        if !how.no_lock {
            let locked = || lock::lock(&opened, how.write, how.shared);
            // A program that is just being started has the files of the one that starts it, for a moment.
            let again = (0..LOCK_TRIES).find_map(|_| match locked() {
                Ok(()) => Some(()),
                Err(_) => {
                    std::thread::sleep(LOCK_PAUSE);
                    None
                }
            });
            again.map_or_else(locked, Ok).map_err(|h| OpenError::Locked {
                file: file(),
                what: h.what,
                by: h.by,
            })?;
        }
        let len =
            rustix::fs::seek(&opened, rustix::fs::SeekFrom::End(0)).map_err(|e| fail(e.into()))?;
        let mut host = HostFile {
            file: opened,
            len: len.into(),
            write: how.write,
            cache: how.cache,
            position: 1,
            memory: 1,
            device: meta.file_type().is_block_device(),
            no_punch: false.into(),
            no_zero: false.into(),
            no_try: how.cache.direct.into(),
            patience: Patience::default(),
            lost: false.into(),
            parts: Mutex::new(()),
        };
        if how.cache.direct {
            host.probe().map_err(|_| OpenError::NoDirect { file: file() })?;
        }
        Ok(host)
    }

    /// Finds out by trying how accesses have to be aligned.
    fn probe(&mut self) -> Result<()> {
        let mut b = Buffer::zeroed(2 * ALIGNED);
        for position in [512, 1024, 2048, 4096] {
            if self.file.read_at(&mut b[..position], 0).is_ok() {
                self.position = position as u32;
                // Memory: from strict to lax, as long as it works.
                self.memory = ALIGNED as u32;
                for memory in [4096usize, 2048, 1024, 512] {
                    let from = memory % ALIGNED;
                    if self.file.read_at(&mut b[from..from + position], 0).is_err() {
                        break;
                    }
                    self.memory = memory as u32;
                }
                return Ok(());
            }
        }
        Err(ErrorKind::Unsupported.into())
    }

    /// The pieces that an access has to be made in: whole aligned blocks, of which only `part` is meant.
    fn pieces(&self, at: u64, len: usize) -> impl Iterator<Item = Piece> + use<> {
        let block = self.position as u64;
        let (mut now, end) = (at, at + len as u64);
        std::iter::from_fn(move || {
            (now < end).then(|| {
                let from = now & !(block - 1);
                let to = end.next_multiple_of(block).min(from + BOUNCE as u64);
                let until = end.min(to);
                let p = Piece {
                    from,
                    len: (to - from) as usize,
                    part: (now - from) as usize..(until - from) as usize,
                };
                now = until;
                p
            })
        })
    }

    /// Reads whole blocks; what lies behind the end of the file is zero.
    fn read_blocks(&self, at: u64, into: &mut [u8]) -> Result<()> {
        let mut done = 0;
        while done < into.len() {
            match self.file.read_at(&mut into[done..], at + done as u64) {
                Ok(0) => {
                    into[done..].fill(0);
                    break;
                }
                Ok(n) => done += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
            // A short read that ends off the grid is the end of the file.
            if done < into.len() && done & (self.position as usize - 1) != 0 {
                into[done..].fill(0);
                break;
            }
        }
        Ok(())
    }

    fn after_write(&self) -> Result<()> {
        if self.cache.writeback { Ok(()) } else { self.flush() }
    }

    fn punch(&self, at: u64, len: u64) -> Result<()> {
        let how = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        Ok(rustix::fs::fallocate(&self.file, how, at, len)?)
    }

    fn write_zeroes(&self, at: u64, len: u64) -> Result<()> {
        let zeroes = Buffer::zeroed(PIECE.min(len as usize));
        let mut done = 0;
        while done < len {
            let n = (len - done).min(zeroes.len() as u64);
            self.put(at + done, &zeroes[..n as usize])?;
            done += n;
        }
        Ok(())
    }

    /// Writes, through a bounce buffer if need be.
    fn put(&self, at: u64, from: &[u8]) -> Result<()> {
        if fits(at, from, self.position, self.memory) {
            return self.file.write_all_at(from, at);
        }
        let mut given = 0;
        for p in self.pieces(at, from.len()) {
            let mut b = Buffer::any(p.len);
            let n = p.part.len();
            let mut _alone = None;
            if n < p.len {
                _alone = Some(self.parts.lock().unwrap_or_else(PoisonError::into_inner));
                self.read_blocks(p.from, &mut b)?;
            }
            b[p.part].copy_from_slice(&from[given..given + n]);
            self.file.write_all_at(&b, p.from)?;
            given += n;
        }
        Ok(())
    }
}

/// A piece of an access: bytes `part` of the aligned `len` bytes at `from`.
struct Piece {
    from: u64,
    len: usize,
    part: std::ops::Range<usize>,
}

/// Whether bytes at this place, from this memory, may go to the host as they are.
fn fits(at: u64, memory: &[u8], position: u32, address: u32) -> bool {
    let whole = |n: u64, by: u32| n & (by as u64 - 1) == 0;
    whole(at | memory.len() as u64, position) && whole(memory.as_ptr() as u64, address)
}

fn unsupported(e: &Error) -> bool {
    matches!(e.kind(), ErrorKind::Unsupported | ErrorKind::InvalidInput)
}

impl Image for HostFile {
    fn info(&self) -> Info {
        Info {
            len: self.len.load(Acquire),
            read_only: !self.write,
            best: self.position.max(512),
            discard: !self.no_punch.load(Relaxed),
        }
    }

    fn read(&self, at: u64, into: &mut [u8]) -> Result<()> {
        within(self.len.load(Acquire), at, into.len() as u64)?;
        if fits(at, into, self.position, self.memory) {
            return self.read_blocks(at, into);
        }
        let mut given = 0;
        for p in self.pieces(at, into.len()) {
            let mut b = Buffer::any(p.len);
            self.read_blocks(p.from, &mut b)?;
            let n = p.part.len();
            into[given..given + n].copy_from_slice(&b[p.part]);
            given += n;
        }
        Ok(())
    }

    fn write(&self, at: u64, from: &[u8]) -> Result<()> {
        within(self.len.load(Acquire), at, from.len() as u64)?;
        self.put(at, from)?;
        self.after_write()
    }

    fn flush(&self) -> Result<()> {
        if self.cache.no_flush || !self.write {
            return Ok(());
        }
        // The host forgets what it could not write, and the next flush would go well: it must not.
        if self.lost.load(Acquire) {
            return Err(Error::other("an earlier flush failed, and what was written may be lost"));
        }
        self.file.sync_data().inspect_err(|_| self.lost.store(!self.cache.direct, Release))
    }

    fn discard(&self, at: u64, len: u64) -> Result<()> {
        within(self.len.load(Acquire), at, len)?;
        if len == 0 || self.no_punch.load(Relaxed) {
            return Ok(());
        }
        match self.punch(at, len) {
            Err(e) if unsupported(&e) => {
                self.no_punch.store(true, Relaxed);
                Ok(())
            }
            other => other,
        }
    }

    fn zero(&self, at: u64, len: u64, unmap: bool) -> Result<()> {
        within(self.len.load(Acquire), at, len)?;
        if len == 0 {
            return Ok(());
        }
        if unmap && !self.no_punch.load(Relaxed) {
            match self.punch(at, len) {
                Err(e) if unsupported(&e) => self.no_punch.store(true, Relaxed),
                other => return other.and_then(|()| self.after_write()),
            }
        }
        if !self.no_zero.load(Relaxed) {
            match rustix::fs::fallocate(&self.file, FallocateFlags::ZERO_RANGE, at, len) {
                Ok(()) => return self.after_write(),
                Err(e) if unsupported(&e.into()) => self.no_zero.store(true, Relaxed),
                Err(e) => return Err(e.into()),
            }
        }
        self.write_zeroes(at, len)?;
        self.after_write()
    }

    fn resize(&self, len: u64) -> Result<()> {
        if self.device {
            return Err(Error::new(ErrorKind::Unsupported, "a block device has the size it has"));
        }
        self.file.set_len(len)?;
        self.len.store(len, Release);
        Ok(())
    }

    fn try_read(&self, at: u64, into: &mut [u8]) -> Option<Result<()>> {
        if self.no_try.load(Relaxed)
            || within(self.len.load(Acquire), at, into.len() as u64).is_err()
        {
            return None;
        }
        let mut parts = [std::io::IoSliceMut::new(into)];
        let flags = rustix::io::ReadWriteFlags::NOWAIT;
        match rustix::io::preadv2(&self.file, &mut parts, at, flags) {
            Ok(n) if n == into.len() => Some(Ok(())),
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                self.no_try.store(true, Relaxed);
                None
            }
            _ => None,
        }
    }
    fn try_write(&self, at: u64, from: &[u8]) -> Option<Result<()>> {
        let cached = !self.cache.direct && self.cache.writeback;
        if !cached || within(self.len.load(Acquire), at, from.len() as u64).is_err() {
            return None;
        }
        self.patience.spend(|| self.file.write_all_at(from, at))
    }
    fn on_host(&self) -> u64 {
        use std::os::unix::fs::MetadataExt;
        self.file.metadata().map_or(0, |m| m.blocks() * 512)
    }
}

#[cfg(test)]
#[path = "host/test.rs"]
mod test;
