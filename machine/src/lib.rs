//! Boards: which parts, where, and joined how; guest time; the loop that runs the cores.

pub mod acpi;
mod board;
pub mod boot;
mod bus;
mod clock;
pub mod config;
pub mod devices;
mod drives;
mod fabric;
pub mod firmware;
mod machine;
mod parts;
mod plug;
pub mod profile;
mod qtree;
mod saved;
pub mod smbios;
pub mod text;

pub use board::{End, check_cpu};
pub use drives::{Counts, Disk, Drive, DriveEvent, KINDS as COUNTED};
pub use fabric::World;
pub use machine::{Machine, MachineError, Slice};
pub use parts::{DeviceId, Parts};
pub use profile::{Profile, symbols::Symbols};
