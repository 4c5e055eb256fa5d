//! Guest memory: RAM, the address map, dirty pages, and the soft TLB that reads and writes RAM at host speed.
//!
//! One of the two crates with unsafe code. All RAM-like memory of a machine (RAM, ROM, video memory) is one host mapping;
//! a place in it is an *offset*. Guest-physical addresses become offsets through the [`Map`].

mod buffer;
mod map;
mod ram;
mod tlb;
mod width;

pub use buffer::{ALIGNED, Buffer};
pub use map::{Entry, Map, Target, Window};
pub use ram::{CODE, DISPLAY, MIGRATION, PAGE, Ram, RamError};
pub use tlb::{BranchTarget, BranchTargets, CODE_SETS, TARGET_MASK, TARGET_PART, TARGET_ROWS};
pub use tlb::{DATA_SETS, INVALID, OTHER, SLOW, TLB_SIZE, Tlb, TlbCounts, TlbEntries, TlbInfo};
pub use width::Width;
