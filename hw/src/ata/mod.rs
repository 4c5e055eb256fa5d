//! ATA drives: what a disk and a CD drive do, whatever controller they hang on.  ATA8-ACS, MMC-6.
//!
//! A controller gives a [`Drive`] registers and a command, and is told by [`Next`] what the drive wants: to wait for the
//! disk behind it, to hand data over, to be given data. Data moves by PIO or DMA as the controller does it.

mod config;
mod disk;
mod drive;
mod identify;
mod packet;
mod smart;

pub use config::{DriveConfig, Geometry, Kind};
pub use drive::{Drive, LONGEST, Next, Queued, Regs, State};

/// Status register.
pub mod status {
    pub const BUSY: u8 = 0x80;
    pub const DATA: u8 = 0x08;
    pub const ERROR: u8 = 0x01;
    /// Ready, and the obsolete "seek complete", as drives show it.
    pub const READY: u8 = 0x50;
    pub const FAILED: u8 = 0x41;
}

/// Error register.
pub mod error {
    /// A transfer on the wire failed.
    pub const CRC: u8 = 0x80;
    /// Data could not be read.
    pub const UNCORRECTABLE: u8 = 0x40;
    /// No such sector.
    pub const NOT_FOUND: u8 = 0x10;
    pub const ABORTED: u8 = 0x04;
}

#[cfg(test)]
mod test;
