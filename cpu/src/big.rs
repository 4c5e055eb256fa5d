//! Instructions too big for the words: plain Rust over the interpreter's state, called by both tiers.

pub mod bcd;
pub mod cpuid;
pub mod gate;
pub mod integer;
pub mod io;
pub mod moves;
pub mod string;

pub use crate::x87;
