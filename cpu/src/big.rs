//! Instructions too big for the words: plain Rust over the interpreter's state, called by both tiers.

pub mod cpuid;
pub mod gate;
