//! A run of bytes as a field of saved state, without a length for each.

/// Bytes, saved as they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bytes(pub Vec<u8>);

impl device::Field for Bytes {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend(&self.0)
    }
    fn take(from: &[u8]) -> Option<Self> {
        Some(Self(from.to_vec()))
    }
}
