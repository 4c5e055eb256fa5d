//! The width of an integer access.

/// 1, 2, 4 or 8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Width {
    W8 = 8,
    W16 = 16,
    W32 = 32,
    W64 = 64,
}

impl Width {
    #[inline(always)]
    pub const fn bits(self) -> u32 {
        self as u32
    }
    #[inline(always)]
    pub const fn bytes(self) -> u64 {
        self as u64 / 8
    }
    /// All ones in this width.
    #[inline(always)]
    pub const fn mask(self) -> u64 {
        u64::MAX >> (64 - self as u32)
    }
    /// The width of this many bytes.
    pub const fn of_bytes(n: u64) -> Option<Width> {
        match n {
            1 => Some(Width::W8),
            2 => Some(Width::W16),
            4 => Some(Width::W32),
            8 => Some(Width::W64),
            _ => None,
        }
    }
}
