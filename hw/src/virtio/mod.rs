//! Virtio: devices made of queues in memory.  Virtual I/O Device (VIRTIO) 1.2.
//!
//! A device says what it is and what its queues carry ([`VirtioDevice`]); [`VirtioPci`] is the way it is reached. All that
//! it does to queues and memory goes through [`Io`].

pub mod blk;
pub mod console;
#[cfg(test)]
mod driver;
pub mod pci;
pub mod queue;
#[cfg(test)]
mod random;
pub mod rng;

pub use blk::{Blk, BlkConfig};
pub use console::{Console, ConsoleConfig, Port};
pub use pci::{PciOptions, VirtioPci};
pub use queue::{Chain, Io, Segment};
pub use rng::{Rng, RngConfig};

use device::*;

/// No interrupt vector.
pub const NO_VECTOR: u16 = 0xFFFF;

// Feature bits that are not a device's own: 6.
pub const NOTIFY_ON_EMPTY: u32 = 24;
pub const ANY_LAYOUT: u32 = 27;
pub const INDIRECT_DESC: u32 = 28;
pub const EVENT_IDX: u32 = 29;
/// Offered by the legacy interface to find drivers that take what they do not know.
pub const BAD_FEATURE: u32 = 30;
pub const VERSION_1: u32 = 32;
pub const RING_RESET: u32 = 40;

/// What a device is called.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub name: &'static str,
    /// Virtio's number: 5.
    pub id: u16,
    /// The PCI device id of a transitional device: 4.1.2.1.
    pub transitional: u16,
    /// Class, subclass, programming interface.
    pub class: u32,
}

/// A virtio device, whatever way it is reached.
///
/// What is not state ([`Input::Medium`], buffers) outlives `reset`.
pub trait VirtioDevice: Send + 'static {
    fn kind(&self) -> Kind;
    /// The sizes of its queues.
    fn queues(&self) -> Vec<u16>;
    /// How many interrupt vectors it likes to have.
    fn vectors(&self) -> u16;
    /// Its own feature bits.
    fn features(&self) -> u64;
    /// Its configuration space. The length stays.
    fn config(&self) -> Vec<u8>;
    fn write_config(&mut self, _at: usize, _bytes: &[u8], _io: &mut Io) {}
    /// The driver says that there is something new in a queue.
    fn kick(&mut self, queue: usize, io: &mut Io);
    fn input(&mut self, _what: Input, _io: &mut Io) {}
    fn wake(&mut self, _io: &mut Io) {}
    /// The driver is ready.
    fn started(&mut self, _io: &mut Io) {}
    /// Everything taken from this queue is forgotten.
    fn reset_queue(&mut self, _queue: usize) {}
    /// The driver, or power, resets the device. Followed by `settle`.
    fn reset(&mut self);
    /// Outputs that follow from the state: wake time, room for input. After each change, reset and load.
    fn settle(&mut self, _io: &mut Io) {}
    fn save(&self) -> Vec<u8>;
    /// On an error the device is as it was.
    fn load(&mut self, from: &[u8]) -> Result<(), Misfit>;
    fn describe(&self) -> String {
        String::new()
    }
}
