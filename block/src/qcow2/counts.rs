//! Reference counts of 1 to 64 bits in a refcount block.  QEMU docs/interop/qcow2.txt, "Host cluster management".

use std::ops::Range;

/// The bytes that hold count `n`.
pub fn bytes_of(n: usize, order: u32) -> Range<usize> {
    if order < 3 {
        let byte = n >> (3 - order);
        byte..byte + 1
    } else {
        let width = 1 << (order - 3);
        n * width..(n + 1) * width
    }
}

/// Count `n` of a block.
pub fn get(block: &[u8], n: usize, order: u32) -> u64 {
    let bytes = &block[bytes_of(n, order)];
    if order < 3 {
        let (bits, in_byte) = (1 << order, n & (1 << (3 - order)) - 1);
        return (bytes[0] >> (in_byte * bits)) as u64 & (1 << bits) - 1;
    }
    bytes.iter().fold(0, |all, &b| all << 8 | b as u64)
}

/// Sets count `n`; it fits, because it is at most what was there, or one.
pub fn set(block: &mut [u8], n: usize, order: u32, count: u64) {
    let bytes = &mut block[bytes_of(n, order)];
    if order < 3 {
        let (bits, in_byte) = (1 << order, n & (1 << (3 - order)) - 1);
        let mask = ((1u16 << bits) - 1) as u8;
        let shift = in_byte * bits;
        bytes[0] = bytes[0] & !(mask << shift) | (count as u8 & mask) << shift;
        return;
    }
    let width = bytes.len();
    bytes.copy_from_slice(&count.to_be_bytes()[8 - width..]);
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn each_width_keeps_its_neighbours() {
        for order in 0..=6 {
            let mut block = vec![0; 512];
            let counts = 512 * 8 >> order;
            let value = |n: usize| (n as u64 * 7 + 1) & (u64::MAX >> (64 - (1 << order)));
            (0..counts).for_each(|n| set(&mut block, n, order, value(n)));
            assert!((0..counts).all(|n| get(&block, n, order) == value(n)), "{order}");
            set(&mut block, 3, order, 0);
            assert!(get(&block, 3, order) == 0 && get(&block, 4, order) == value(4));
        }
        // Bit 0 is the first one's, and wide ones are big-endian.
        assert_eq!((get(&[1], 0, 0), get(&[1], 1, 0), get(&[1, 2], 0, 4)), (1, 0, 0x102));
    }
}
