//! Exceptions as values.

/// An exception that an instruction raises.  SDM 3A, chapter 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exception {
    pub vector: u8,
    pub code: Option<u32>,
    /// #PF: the linear address for CR2. #DB: the bits to set in DR6.
    pub detail: u64,
}

impl Exception {
    pub const DE: Exception = Exception::plain(0);
    pub const BP: Exception = Exception::plain(3);
    pub const OF: Exception = Exception::plain(4);
    pub const BR: Exception = Exception::plain(5);
    pub const UD: Exception = Exception::plain(6);
    pub const NM: Exception = Exception::plain(7);
    pub const MF: Exception = Exception::plain(16);
    pub const XM: Exception = Exception::plain(19);
    pub const GP0: Exception = Exception::gp(0);

    pub const fn plain(vector: u8) -> Self {
        Exception { vector, code: None, detail: 0 }
    }
    pub const fn with_code(vector: u8, code: u32) -> Self {
        Exception { vector, code: Some(code), detail: 0 }
    }
    pub const fn db(dr6: u64) -> Self {
        Exception { vector: 1, code: None, detail: dr6 }
    }
    pub const fn df() -> Self {
        Self::with_code(8, 0)
    }
    pub const fn ts(code: u32) -> Self {
        Self::with_code(10, code)
    }
    pub const fn np(code: u32) -> Self {
        Self::with_code(11, code)
    }
    pub const fn ss(code: u32) -> Self {
        Self::with_code(12, code)
    }
    pub const fn gp(code: u32) -> Self {
        Self::with_code(13, code)
    }
    pub const fn pf(code: u32, linear: u64) -> Self {
        Exception { vector: 14, code: Some(code), detail: linear }
    }
    pub const fn ac() -> Self {
        Self::with_code(17, 0)
    }
}

/// An exception is waiting in [`crate::Core::fault`]. It has no contents, so that a result of a word stays in registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raised;
