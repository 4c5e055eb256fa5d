//! The parts of a computer: one folder a family, one file a part.
//!
//! Every part is a [`device::Device`]: a pure function of its calls. See `hw/README.md` for how to add one.

/// `save` and `load` of a device whose whole state is its field `s: State`.
macro_rules! saved {
    () => {
        fn save(&self) -> Vec<u8> {
            self.s.save()
        }
        fn load(&mut self, from: &[u8]) -> Result<(), device::Misfit> {
            self.s = State::load(from)?;
            Ok(())
        }
    };
}

mod bytes;
pub mod chipset;
pub mod input;
pub mod pci;
pub mod serial;

pub use bytes::Bytes;
