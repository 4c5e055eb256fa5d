//! What a flash chip tells of itself: the CFI query table.  JEDEC JEP137, JESD68.01; Intel application note 646.

use super::SECTOR;

/// Bytes of a chip's write buffer, as a power of two.
pub const BUFFER_SHIFT: u8 = 8;

/// The table of a chip of `sectors` blocks; it is read from offset 0x10 on.
pub fn table(sectors: u32) -> [u8; 0x52] {
    let mut t = [0; 0x52];
    let mut put = |at: usize, bytes: &[u8]| t[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x10, b"QRY");
    // Intel's command set, and where its own table is.
    put(0x13, &[1, 0, 0x31, 0]);
    // Supply: 4.5 V to 5.5 V; no voltage of its own to program.
    put(0x1B, &[0x45, 0x55]);
    // How long a byte, a buffer and a block take, and how much longer at most: powers of two.
    put(0x1F, &[7, 7, 10, 0, 4, 4, 4, 0]);
    let bytes = u64::from(sectors) * SECTOR;
    put(0x27, &[bytes.trailing_zeros() as u8]);
    // 8 and 16 bits wide.
    put(0x28, &[2, 0, BUFFER_SHIFT, 0]);
    // One region of equal blocks: how many less one, their length in 256 bytes.
    put(0x2C, &[1]);
    put(0x2D, &((sectors - 1) as u16).to_le_bytes());
    put(0x2F, &((SECTOR >> 8) as u16).to_le_bytes());
    put(0x31, b"PRI10");
    // One protection field.
    put(0x3F, &[1]);
    t
}
