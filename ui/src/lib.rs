//! The programs around a machine: the command line, character devices, monitors and the log.

pub mod blocks;
pub mod chardev;
pub mod guest;
pub mod inbox;
pub mod log;
pub mod monitor;
pub mod mux;
pub mod options;
pub mod picture;
mod profile;
pub mod program;
pub mod session;
mod signals;
pub mod vm;
pub mod whole;
