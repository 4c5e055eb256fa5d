//! The one host mapping behind all RAM-like memory, with a flag byte per page.
// UNSAFE: guest memory is read and written by emitted code and by the soft TLB through raw pointers, so it cannot be a Rust
// slice; this module is where its bytes are touched.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};

/// Bytes in a page of the flag table, and in the smallest guest page.
pub const PAGE: u64 = 4096;

/// The page holds translated code: writes to it are noted in [`Ram::take_code_writes`].
pub const CODE: u8 = 1;
/// Dirty bit of the display.
pub const DISPLAY: u8 = 2;
/// Dirty bit of migration and snapshots.
pub const MIGRATION: u8 = 4;

/// Why RAM could not be had.
#[derive(Debug)]
pub enum RamError {
    Map { bytes: u64, why: std::io::Error },
}
impl std::fmt::Display for RamError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let RamError::Map { bytes, why } = self;
        write!(f, "cannot map {} MiB of guest memory: {why}", bytes >> 20)
    }
}
impl std::error::Error for RamError {}

/// Guest memory. All methods take offsets into it; an access that does not fit gives `None` or `false`.
///
/// One thread at a time may touch the bytes: the machine's. The type is `Send` and not `Sync`.
pub struct Ram {
    map: memmap2::MmapRaw,
    len: u64,
    flags: Box<[AtomicU8]>,
    /// Dirty clients that are watching.
    watching: AtomicU8,
    code_written: AtomicBool,
    code_writes: RefCell<Vec<(u64, u32)>>,
}

impl Ram {
    /// `len` bytes of zeroes, rounded up to whole pages. Host memory is taken as the guest touches it.
    pub fn new(len: u64) -> Result<Ram, RamError> {
        let len = len.next_multiple_of(PAGE).max(PAGE);
        let fail = |why| RamError::Map { bytes: len, why };
        let size =
            usize::try_from(len).map_err(|_| fail(std::io::ErrorKind::OutOfMemory.into()))?;
        let map =
            memmap2::MmapOptions::new().len(size).no_reserve_swap().map_anon().map_err(fail)?;
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        let flags = (0..len / PAGE).map(|_| AtomicU8::new(0)).collect();
        Ok(Ram {
            map: map.into(),
            len,
            flags,
            watching: AtomicU8::new(0),
            code_written: AtomicBool::new(false),
            code_writes: RefCell::new(Vec::new()),
        })
    }

    /// Bytes of memory.
    pub fn len(&self) -> u64 {
        self.len
    }
    pub fn is_empty(&self) -> bool {
        false
    }
    /// The host address of offset 0. Valid as long as `self`.
    pub fn base(&self) -> *mut u8 {
        self.map.as_mut_ptr()
    }

    fn span(&self, at: u64, len: usize) -> Option<*mut u8> {
        let end = at.checked_add(len as u64)?;
        // SAFETY: `at` is inside the mapping, so the pointer is too.
        (end <= self.len).then(|| unsafe { self.base().add(at as usize) })
    }

    /// Copies bytes out.
    #[inline]
    pub fn read(&self, at: u64, into: &mut [u8]) -> Option<()> {
        let from = self.span(at, into.len())?;
        // SAFETY: `span` checked the range; `into` is Rust memory and cannot overlap guest memory.
        unsafe { from.copy_to_nonoverlapping(into.as_mut_ptr(), into.len()) }
        Some(())
    }

    /// Copies bytes in and notes the pages as written.
    #[inline]
    pub fn write(&self, at: u64, from: &[u8]) -> Option<()> {
        let to = self.span(at, from.len())?;
        // SAFETY: as in `read`.
        unsafe { to.copy_from_nonoverlapping(from.as_ptr(), from.len()) }
        self.note_write(at, from.len() as u64);
        Some(())
    }

    /// Copies `len` bytes inside guest memory as if forwards byte by byte only when the ranges do not overlap; overlapping
    /// ranges are moved as by `memmove`.
    #[inline]
    pub fn copy(&self, from: u64, to: u64, len: u64) -> Option<()> {
        let (src, dst) = (self.span(from, len as usize)?, self.span(to, len as usize)?);
        // SAFETY: both ranges were checked; `copy` allows overlap.
        unsafe { src.copy_to(dst, len as usize) }
        self.note_write(to, len);
        Some(())
    }

    /// Sets `len` bytes to `byte`.
    pub fn fill(&self, at: u64, len: u64, byte: u8) -> Option<()> {
        let to = self.span(at, len as usize)?;
        // SAFETY: the range was checked.
        unsafe { to.write_bytes(byte, len as usize) }
        self.note_write(at, len);
        Some(())
    }

    /// A little-endian 64-bit word; `at` need not be aligned.
    #[inline(always)]
    pub fn read_u64(&self, at: u64) -> Option<u64> {
        let from = self.span(at, 8)?;
        // SAFETY: the range was checked.
        Some(u64::from_le(unsafe { from.cast::<u64>().read_unaligned() }))
    }
    #[inline(always)]
    pub fn read_u32(&self, at: u64) -> Option<u32> {
        let from = self.span(at, 4)?;
        // SAFETY: the range was checked.
        Some(u32::from_le(unsafe { from.cast::<u32>().read_unaligned() }))
    }

    /// The flag byte of the page at `at`.
    #[inline(always)]
    pub fn flags(&self, at: u64) -> u8 {
        self.flags.get((at / PAGE) as usize).map_or(0, |f| f.load(Relaxed))
    }
    pub fn set_flags(&self, at: u64, bits: u8) {
        if let Some(f) = self.flags.get((at / PAGE) as usize) {
            f.fetch_or(bits, Relaxed);
        }
    }
    pub fn clear_flags(&self, at: u64, bits: u8) {
        if let Some(f) = self.flags.get((at / PAGE) as usize) {
            f.fetch_and(!bits, Relaxed);
        }
    }
    /// Starts (or ends) dirty tracking for these clients. TLBs must be flushed after it.
    pub fn watch(&self, clients: u8, on: bool) {
        match on {
            true => self.watching.fetch_or(clients, Relaxed),
            false => self.watching.fetch_and(!clients, Relaxed),
        };
    }
    /// Whether a write to this page must be seen by somebody, so that no fast path may do it.
    #[inline(always)]
    pub fn write_is_watched(&self, at: u64) -> bool {
        let (f, w) = (self.flags(at), self.watching.load(Relaxed));
        f & CODE != 0 || f & w != w
    }

    /// Notes that `len` bytes at `at` were written: sets dirty bits, and queues writes to code.
    #[inline]
    pub fn note_write(&self, at: u64, len: u64) {
        if len == 0 {
            return;
        }
        let mut page = at & !(PAGE - 1);
        while page < at + len {
            if self.write_is_watched(page) {
                self.note_page(page, at, len);
            }
            page += PAGE;
        }
    }

    #[cold]
    fn note_page(&self, page: u64, at: u64, len: u64) {
        self.set_flags(page, self.watching.load(Relaxed));
        if self.flags(page) & CODE != 0 {
            let from = at.max(page);
            let to = (at + len).min(page + PAGE);
            self.code_writes.borrow_mut().push((from, (to - from) as u32));
            self.code_written.store(true, Relaxed);
        }
    }

    /// Whether translated code was written to since [`Ram::take_code_writes`].
    #[inline(always)]
    pub fn code_was_written(&self) -> bool {
        self.code_written.load(Relaxed)
    }
    /// The writes to pages with translated code: `(offset, bytes)`, each within one page.
    pub fn take_code_writes(&self) -> Vec<(u64, u32)> {
        self.code_written.store(false, Relaxed);
        std::mem::take(&mut *self.code_writes.borrow_mut())
    }

    /// Gives the host memory back; the bytes read as zero afterwards.
    pub fn discard_all(&self) {
        self.discard(self.len);
    }

    /// The same of the first `len` bytes, which are whole pages.
    pub fn discard(&self, len: u64) {
        let len = len.min(self.len) & !(PAGE - 1);
        // SAFETY: anonymous private memory; nobody holds references into it, and its bytes may be anything to a guest.
        #[cfg(target_os = "linux")]
        if let how = memmap2::UncheckedAdvice::DontNeed
            && unsafe { self.map.unchecked_advise_range(how, 0, len as usize) }.is_ok()
        {
            (0..len).step_by(PAGE as usize).for_each(|at| {
                if self.flags(at) != 0 {
                    self.note_write(at, PAGE)
                }
            });
            return;
        }
        let _ = self.fill(0, len, 0);
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn accesses_outside_are_refused() {
        let r = Ram::new(8192).unwrap();
        let mut b = [0; 8];
        assert_eq!(r.write(8184, &[1; 8]), Some(()));
        assert_eq!(r.read(8184, &mut b), Some(()));
        assert_eq!(b, [1; 8]);
        assert_eq!(r.read(8185, &mut b), None);
        assert_eq!(r.read_u64(u64::MAX - 3), None);
        assert_eq!(r.write(u64::MAX, &[1]), None);
        assert_eq!(r.copy(0, 8190, 4), None);
    }

    #[test]
    fn what_is_behind_the_discarded_stays() {
        let r = Ram::new(4 * PAGE).unwrap();
        r.fill(0, 4 * PAGE, 7).unwrap();
        r.discard(2 * PAGE + 5);
        let at = |n: u64| r.read_u32(n).unwrap() as u8;
        assert_eq!([at(0), at(2 * PAGE - 4), at(2 * PAGE), at(4 * PAGE - 4)], [0, 0, 7, 7]);
    }

    #[test]
    fn writes_to_code_are_queued_by_page() {
        let r = Ram::new(3 * PAGE).unwrap();
        r.write(0, &[1; 64]).unwrap();
        assert!(!r.code_was_written());
        r.set_flags(PAGE, CODE);
        r.set_flags(2 * PAGE, CODE);
        r.write(2 * PAGE - 2, &[0; 4]).unwrap();
        assert_eq!(r.take_code_writes(), [(2 * PAGE - 2, 2), (2 * PAGE, 2)]);
        assert!(!r.code_was_written());
    }

    #[test]
    fn dirty_bits_are_set_only_for_watchers() {
        let r = Ram::new(2 * PAGE).unwrap();
        r.write(0, &[1]).unwrap();
        assert_eq!(r.flags(0), 0);
        r.watch(MIGRATION, true);
        assert!(r.write_is_watched(0));
        r.write(0, &[1]).unwrap();
        assert_eq!(r.flags(0), MIGRATION);
        assert!(!r.write_is_watched(0));
    }
}
