//! Bytes on their way between guest and host: aligned as direct access (O_DIRECT) wants it, their memory used again.
//!
//! The host gives new memory page by page, cleared, which takes longer than the copying: so memory of buffers that are
//! gone is kept for the next ones, up to a bound.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

/// Buffers start at a multiple of this; nobody asks for more.
pub const ALIGNED: usize = 4096;
/// Memory of this many bytes is kept, in pieces of powers of two; larger pieces go back to the host.
const KEPT: usize = 16 << 20;
const SMALLEST: u32 = 12;
const LARGEST: u32 = 21;
const SIZES: usize = (LARGEST - SMALLEST) as usize + 1;

/// Pieces by size, and how many bytes they are in all.
struct Pool {
    pieces: [Vec<Vec<u8>>; SIZES],
    bytes: usize,
}
static POOL: Mutex<Pool> = Mutex::new(Pool { pieces: [const { Vec::new() }; SIZES], bytes: 0 });

/// A row of bytes.
#[derive(Default)]
pub struct Buffer {
    piece: Vec<u8>,
    from: usize,
    len: usize,
}

/// Which pieces a buffer of this length takes; `None`: one of its own.
fn size(len: usize) -> Option<usize> {
    let bits = len.checked_next_power_of_two()?.trailing_zeros().max(SMALLEST);
    (bits <= LARGEST).then(|| (bits - SMALLEST) as usize)
}

impl Buffer {
    /// With whatever bytes an earlier buffer had: for who writes all of them.
    pub fn any(len: usize) -> Buffer {
        if len == 0 {
            return Buffer::default();
        }
        let size = size(len);
        let bytes = size.map_or(len, |n| 1 << (n as u32 + SMALLEST));
        let kept = size.and_then(|n| {
            let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
            let piece = pool.pieces[n].pop()?;
            pool.bytes -= bytes;
            Some(piece)
        });
        let piece = kept.unwrap_or_else(|| vec![0; bytes + ALIGNED]);
        let from = piece.as_ptr().align_offset(ALIGNED).min(ALIGNED);
        Buffer { piece, from, len }
    }
    pub fn zeroed(len: usize) -> Buffer {
        let mut b = Buffer::any(len);
        b.fill(0);
        b
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some(n) = size(self.len) else { return };
        let bytes = 1 << (n as u32 + SMALLEST);
        if self.piece.len() == bytes + ALIGNED {
            let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
            if pool.bytes + bytes <= KEPT {
                pool.bytes += bytes;
                pool.pieces[n].push(std::mem::take(&mut self.piece));
            }
        }
    }
}
impl Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.piece[self.from..self.from + self.len]
    }
}
impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.piece[self.from..self.from + self.len]
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
        drop(many);
        let pool = POOL.lock().unwrap();
        let bytes: usize =
            pool.pieces.iter().enumerate().map(|(n, all)| all.len() << (n as u32 + SMALLEST)).sum();
        assert!(bytes == pool.bytes && bytes <= KEPT && bytes > 0);
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
