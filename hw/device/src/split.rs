//! Accesses of another size than the register's: a device sees whole registers.

use memory::Width;

/// The bytes of a read of `w` at offset `at`, from registers of `reg` bytes that `read` gives by their aligned offset.
pub fn join(at: u64, w: Width, reg: u64, mut read: impl FnMut(u64) -> u64) -> u64 {
    let (mut value, mut done) = (0, 0);
    while done < w.bytes() {
        let here = at + done;
        let (base, skip) = (here & !(reg - 1), here & (reg - 1));
        let n = (reg - skip).min(w.bytes() - done);
        value |= (read(base) >> (8 * skip) & (u64::MAX >> (64 - 8 * n))) << (8 * done);
        done += n;
    }
    value
}

/// Splits a write over registers of `reg` bytes: `write(offset, mask, value)` with the mask of the bits written.
pub fn split(at: u64, w: Width, reg: u64, value: u64, mut write: impl FnMut(u64, u64, u64)) {
    let mut done = 0;
    while done < w.bytes() {
        let here = at + done;
        let (base, skip) = (here & !(reg - 1), here & (reg - 1));
        let n = (reg - skip).min(w.bytes() - done);
        let bits = u64::MAX >> (64 - 8 * n);
        write(base, bits << (8 * skip), (value >> (8 * done) & bits) << (8 * skip));
        done += n;
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_read_joins_the_registers_it_covers() {
        let regs = |at: u64| 0x1111_1111 * (at / 4 + 1);
        assert_eq!(join(0, Width::W64, 4, regs), 0x2222_2222_1111_1111);
        assert_eq!(join(3, Width::W16, 4, regs), 0x2211);
        assert_eq!(join(5, Width::W8, 4, regs), 0x22);
    }

    #[test]
    fn a_write_is_split_with_masks() {
        let mut seen = Vec::new();
        split(2, Width::W32, 4, 0xAABB_CCDD, |at, mask, v| seen.push((at, mask, v)));
        assert_eq!(seen, [(0, 0xFFFF_0000, 0xCCDD_0000), (4, 0xFFFF, 0xAABB)]);
    }
}
