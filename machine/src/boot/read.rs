//! Little-endian fields at an offset of a byte slice: `None` where the slice is too short.

pub fn bytes(from: &[u8], at: usize, len: usize) -> Option<&[u8]> {
    from.get(at..at.checked_add(len)?)
}

pub fn u8(from: &[u8], at: usize) -> Option<u8> {
    from.get(at).copied()
}

pub fn u16(from: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes(from, at, 2)?.try_into().ok()?))
}

pub fn u32(from: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes(from, at, 4)?.try_into().ok()?))
}

pub fn u64(from: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes(from, at, 8)?.try_into().ok()?))
}
