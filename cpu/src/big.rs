//! Instructions too big for the words: plain Rust over the interpreter's state, called by both tiers.

pub mod bcd;
pub mod control;
pub mod cpuid;
pub mod far;
pub mod flags;
pub mod gate;
pub mod hypercall;
pub mod integer;
pub mod interrupt;
pub mod io;
pub mod misc;
pub mod moves;
pub mod msr;
pub mod segment;
pub mod smm;
pub mod string;
pub mod syscall;
pub mod table;
pub mod task;
pub mod xsave;

pub use crate::x87;
