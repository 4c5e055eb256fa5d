//! The programs around a machine: the command line, character devices, monitors and the log.

pub mod options;
