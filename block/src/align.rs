//! Memory as direct access (O_DIRECT) wants it.

use std::ops::{Deref, DerefMut};

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

/// Whether bytes at this place, from this memory, may go to the host as they are.
pub fn fits(at: u64, memory: &[u8], position: u32, address: u32) -> bool {
    let whole = |n: u64, by: u32| n & (by as u64 - 1) == 0;
    whole(at | memory.len() as u64, position) && whole(memory.as_ptr() as u64, address)
}

#[cfg(test)]
mod test {
    use super::*;

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
