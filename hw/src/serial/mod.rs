//! Serial lines.

pub mod uart16550;
