//! Memory as direct access (O_DIRECT) wants it.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

/// The largest alignment that anybody asks for.
pub const MOST: usize = 4096;

/// Zeroed bytes that start at a multiple of [`MOST`].
pub struct Buffer {
    bytes: Vec<u8>,
    from: usize,
    len: usize,
}

impl Buffer {
    pub fn new(len: usize) -> Buffer {
        let bytes = vec![0; len + MOST];
        let from = bytes.as_ptr().align_offset(MOST);
        Buffer { bytes, from, len }
    }
}
impl Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[self.from..self.from + self.len]
    }
}
impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.from..self.from + self.len]
    }
}

/// Buffers that are used again: the host gives new memory page by page, which takes longer than the copying.
#[derive(Default)]
pub struct Pool(Mutex<Vec<Buffer>>);

/// Buffers that are kept, and the smallest that is worth it.
const KEPT: usize = 8;
const WORTH: usize = 64 << 10;

impl Pool {
    /// A buffer with any bytes in it.
    pub fn take(&self, len: usize) -> Lent<'_> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = all.iter().position(|b| b.bytes.len() >= len + MOST && len >= WORTH);
        let mut buffer = match found {
            Some(n) => all.swap_remove(n),
            None => {
                drop(all);
                Buffer::new(len)
            }
        };
        buffer.len = len;
        Lent { pool: self, buffer }
    }
}

/// A buffer of a pool; it goes back there.
pub struct Lent<'a> {
    pool: &'a Pool,
    buffer: Buffer,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut all = self.pool.0.lock().unwrap_or_else(PoisonError::into_inner);
        if self.buffer.bytes.len() > WORTH && all.len() < KEPT {
            all.push(std::mem::replace(
                &mut self.buffer,
                Buffer { bytes: Vec::new(), from: 0, len: 0 },
            ));
        }
    }
}
impl Deref for Lent<'_> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.buffer
    }
}
impl DerefMut for Lent<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.buffer
    }
}

/// Whether bytes at this place, from this memory, may go to the host as they are.
pub fn fits(at: u64, memory: &[u8], position: u32, address: u32) -> bool {
    let whole = |n: u64, by: u32| n & (by as u64 - 1) == 0;
    whole(at | memory.len() as u64, position) && whole(memory.as_ptr() as u64, address)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn lent_buffers_are_aligned_and_come_back() {
        let pool = Pool::default();
        let first = pool.take(1 << 20).as_ptr();
        let again = pool.take(70_000);
        assert!(again.as_ptr() == first && again.len() == 70_000 && first as usize % MOST == 0);
        assert_ne!(pool.take(1 << 20).as_ptr(), first);
        (0..20).map(|_| pool.take(100_000)).for_each(drop);
        let many: Vec<_> = (0..20).map(|_| pool.take(100_000)).collect();
        drop((many, again));
        assert_eq!(pool.0.lock().unwrap().len(), KEPT);
    }

    #[test]
    fn buffers_are_aligned_and_zero() {
        for len in [1, 512, 4096, 70_001] {
            let mut b = Buffer::new(len);
            assert!(b.len() == len && b.iter().all(|&x| x == 0));
            assert_eq!(b.as_ptr() as usize % MOST, 0);
            b[len - 1] = 7;
            assert!(fits(8192, &b[..len & !511], 512, 4096));
        }
        let b = Buffer::new(1024);
        assert!(!fits(100, &b, 512, 512));
        assert!(!fits(0, &b[1..513], 512, 512));
        assert!(!fits(0, &b[..100], 512, 1));
    }
}
