//! What a controller asks of a disk, and what it hears back.
//!
//! Requests run at the same time and end in any order: whoever needs an order waits for the answers before. A write that was
//! answered is where the next read finds it; that it outlives the host only a [`DiskOp::Flush`] that was answered after it, or
//! `fua`, says.

use memory::Buffer;

/// What is to be done. Positions and lengths are in bytes, and multiples of the medium's block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskOp {
    Read {
        at: u64,
        len: u32,
    },
    /// `fua`: the answer says that the data is as safe as after a flush.
    Write {
        at: u64,
        data: Buffer,
        fua: bool,
    },
    /// All writes answered before are to outlive a failure of the host.
    Flush,
    /// The contents do not matter any more.
    Discard {
        at: u64,
        len: u64,
    },
    /// Zeroes; `unmap`: their space may be given back.
    Zero {
        at: u64,
        len: u64,
        unmap: bool,
    },
    /// The guest opens or closes the tray, or locks it.
    Tray {
        open: bool,
    },
    Lock(bool),
}

/// Why it was not done. What of a write has reached the disk is then unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskError {
    /// The host could not read or write.
    Io,
    /// The host has no room left.
    NoSpace,
    /// Beyond the end, or not whole blocks.
    Range,
    ReadOnly,
    NoMedium,
}

/// What is in a drive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Medium {
    /// Length in bytes.
    pub len: u64,
    pub read_only: bool,
    /// Bytes of a logical and of a physical block, powers of two.
    pub block: u32,
    pub physical: u32,
    /// Writes may be lost until a flush.
    pub write_cache: bool,
}
