//! Bytes on their way between guest and host: aligned as direct access (O_DIRECT) wants it, their memory used again.
//!
//! The host gives new memory page by page, cleared, which takes longer than the copying: so memory of buffers that are
//! gone is kept for the next ones, up to a bound.

use memmap2::{Advice, MmapMut};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Buffers start at a multiple of this; nobody asks for more.
pub const ALIGNED: usize = 4096;
/// Memory of this many bytes is kept, in pieces of powers of two; larger pieces go back to the host.
const KEPT: usize = 16 << 20;
const SMALLEST: u32 = 12;
const LARGEST: u32 = 21;
const SIZES: usize = (LARGEST - SMALLEST) as usize + 1;
/// Pieces from this size (as a power of two) are cut from huge pages, as long as there are some: a disk that reads 1 MiB into
/// one place instead of 256 is twice as fast.
const HUGE_FROM: u32 = 16;
/// Bytes of a huge page, and how many there are at most. They are not given back.
const HUGE: usize = 1 << LARGEST;
const HUGE_PAGES: usize = 8;

/// Memory of a buffer.
enum Piece {
    Own(Vec<u8>),
    Cut(&'static mut [u8]),
}
impl Piece {
    fn new(bytes: usize) -> Piece {
        Piece::Own(vec![0; bytes + ALIGNED])
    }
    /// Its first aligned byte.
    fn from(&self) -> usize {
        self.bytes().as_ptr().align_offset(ALIGNED).min(ALIGNED)
    }
    fn bytes(&self) -> &[u8] {
        match self {
            Piece::Own(v) => v,
            Piece::Cut(v) => v,
        }
    }
    fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Piece::Own(v) => v,
            Piece::Cut(v) => v,
        }
    }
}

/// Pieces that are free, by size.
struct Pool {
    own: [Vec<Vec<u8>>; SIZES],
    /// How many bytes those are.
    bytes: usize,
    cut: [Vec<&'static mut [u8]>; SIZES],
    /// Huge pages cut so far.
    huge: usize,
}
static POOL: Mutex<Pool> = Mutex::new(Pool {
    own: [const { Vec::new() }; SIZES],
    bytes: 0,
    cut: [const { Vec::new() }; SIZES],
    huge: 0,
});

impl Pool {
    fn lock() -> MutexGuard<'static, Pool> {
        POOL.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn take(&mut self, size: usize) -> Piece {
        if self.cut[size].is_empty() && size as u32 + SMALLEST >= HUGE_FROM {
            self.cut(size);
        }
        if let Some(piece) = self.cut[size].pop() {
            return Piece::Cut(piece);
        }
        let Some(piece) = self.own[size].pop() else { return Piece::new(bytes(size)) };
        self.bytes -= bytes(size);
        Piece::Own(piece)
    }
    fn keep(&mut self, size: usize, piece: Piece) {
        let bytes = bytes(size);
        match piece {
            Piece::Cut(piece) => self.cut[size].push(piece),
            Piece::Own(piece) if self.bytes + bytes <= KEPT => {
                self.bytes += bytes;
                self.own[size].push(piece);
            }
            Piece::Own(_) => {}
        }
    }
    /// Cuts one more huge page into pieces of a size.
    fn cut(&mut self, size: usize) {
        if self.huge == HUGE_PAGES {
            return;
        }
        // Twice as much as it takes, so that a whole page is within; what is around it is never touched.
        let Ok(map) = MmapMut::map_anon(2 * HUGE) else { return };
        let _ = map.advise(Advice::HugePage);
        let all = Box::leak(Box::new(map));
        let from = all.as_ptr().align_offset(HUGE).min(HUGE);
        self.cut[size].extend(all[from..from + HUGE].chunks_exact_mut(bytes(size)));
        self.huge += 1;
    }
}

/// A row of bytes.
#[derive(Default)]
pub struct Buffer {
    piece: Option<Piece>,
    from: usize,
    len: usize,
}

/// Which pieces a buffer of this length takes; `None`: one of its own.
fn size(len: usize) -> Option<usize> {
    let bits = len.checked_next_power_of_two()?.trailing_zeros().max(SMALLEST);
    (bits <= LARGEST).then(|| (bits - SMALLEST) as usize)
}
/// How long those are.
fn bytes(size: usize) -> usize {
    1 << (size as u32 + SMALLEST)
}

impl Buffer {
    /// With whatever bytes an earlier buffer had: for who writes all of them.
    pub fn any(len: usize) -> Buffer {
        if len == 0 {
            return Buffer::default();
        }
        let piece = match size(len) {
            Some(size) => Pool::lock().take(size),
            None => Piece::new(len),
        };
        Buffer { from: piece.from(), piece: Some(piece), len }
    }
    pub fn zeroed(len: usize) -> Buffer {
        let mut b = Buffer::any(len);
        b.fill(0);
        b
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let (Some(size), Some(piece)) = (size(self.len), self.piece.take()) {
            Pool::lock().keep(size, piece);
        }
    }
}
impl Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        let Some(piece) = &self.piece else { return &[] };
        &piece.bytes()[self.from..self.from + self.len]
    }
}
impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        let Some(piece) = &mut self.piece else { return &mut [] };
        &mut piece.bytes_mut()[self.from..self.from + self.len]
    }
}
impl From<&[u8]> for Buffer {
    fn from(bytes: &[u8]) -> Buffer {
        let mut b = Buffer::any(bytes.len());
        b.copy_from_slice(bytes);
        b
    }
}
impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Buffer {
        bytes.as_slice().into()
    }
}
impl Clone for Buffer {
    fn clone(&self) -> Buffer {
        (**self).into()
    }
}
impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
impl<T: AsRef<[u8]> + ?Sized> PartialEq<T> for Buffer {
    fn eq(&self, other: &T) -> bool {
        **self == *other.as_ref()
    }
}
impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}
impl Eq for Buffer {}

#[cfg(test)]
mod test {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn buffers_are_aligned_and_as_long_as_asked() {
        for len in [1, 512, 4096, 70_001, 2 << 20, (2 << 20) + 1] {
            let mut b = Buffer::zeroed(len);
            assert!(b.len() == len && b.iter().all(|&x| x == 0));
            assert_eq!(b.as_ptr() as usize % ALIGNED, 0);
            b.fill(7);
            drop(b);
            assert!(Buffer::zeroed(len).iter().all(|&x| x == 0), "what was there before is gone");
        }
        assert!(Buffer::any(0).is_empty() && Buffer::default() == [0u8; 0]);
    }

    #[test]
    fn memory_that_is_kept_is_bounded() {
        let many: Vec<_> = (0..64).map(|_| Buffer::any(1 << 20)).collect();
        let places: BTreeSet<_> = many.iter().map(|b| b.as_ptr()).collect();
        assert_eq!(places.len(), many.len());
        drop(many);
        let pool = POOL.lock().unwrap();
        let own: usize = pool.own.iter().enumerate().map(|(n, all)| all.len() * bytes(n)).sum();
        assert!(own == pool.bytes && own <= KEPT && own > 0);
        assert!(pool.huge > 0 && pool.huge <= HUGE_PAGES);
    }

    #[test]
    fn a_copy_has_the_same_bytes_and_memory_of_its_own() {
        let b = Buffer::from(vec![1, 2, 3]);
        let mut c = b.clone();
        c[0] = 9;
        assert!(b == [1, 2, 3] && c == [9, 2, 3] && b != c);
        assert_eq!(format!("{b:?}"), "[1, 2, 3]");
    }
}
