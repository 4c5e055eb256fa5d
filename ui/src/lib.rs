//! The programs around a machine: the command line, character devices, monitors and the log.

pub mod chardev;
pub mod guest;
pub mod options;
