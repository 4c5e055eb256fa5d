//! Tests of the whole: every instruction in three columns (interpreter, JIT, the host's own CPU).

pub mod case;
pub mod columns;
pub mod emulator;
pub mod fuzz;
pub mod generate;
pub mod lines;
pub mod mode;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod native;
pub mod policy;
pub mod rng;
pub mod text;
