//! Whole machines under test: what they boot, how they are started, talked to and judged.
//!
//! The program under test is `target/release/reprise`, built if need be, or the words of the variable `REPRISE`: with
//! `REPRISE=qemu-system-x86_64` the tests themselves are put to the test.

pub mod cpio;
pub mod debian;
pub mod drivers;
pub mod guest;
pub mod kernel_log;
pub mod machine;
pub mod monitor;
pub mod place;
pub mod qmp;
pub mod runner;

pub use machine::{Machine, Running};
pub use runner::{Skip, Test};
