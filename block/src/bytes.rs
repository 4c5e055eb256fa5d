//! Big-endian numbers in bytes, as disk formats keep them. What lies beyond the end reads as zero.

fn take<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    if let Some(found) = bytes.get(at..).and_then(|b| b.get(..N)) {
        out.copy_from_slice(found);
    }
    out
}
pub fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(take(bytes, at))
}
pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(take(bytes, at))
}
pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(take(bytes, at))
}
/// Puts bytes at a place that exists.
pub fn put(bytes: &mut [u8], at: usize, what: &[u8]) {
    bytes[at..at + what.len()].copy_from_slice(what);
}
