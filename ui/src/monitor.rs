//! What users and programs say to a running machine.

mod block;
pub mod editor;
pub mod examine;
pub mod expression;
pub mod hmp;
mod hmp_info;
pub mod keys;
mod pointer;
pub mod qmp;
mod qmp_block;
mod qmp_commands;
mod qmp_device;
