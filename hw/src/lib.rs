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

pub mod ahci;
pub mod ata;
mod bytes;
pub mod chipset;
pub mod display;
pub mod flash;
pub mod ide;
pub mod input;
pub mod pci;
pub mod serial;
pub mod virtio;

pub use bytes::Bytes;
pub use chipset::debug::{DebugCon, DebugExit, PvPanic, TestDev};
pub use chipset::{
    dma8237::Dma8237, fw_cfg::FwCfg, hpet::Hpet, ioapic::IoApic, lapic::Lapic, pic::Pic, pit::Pit,
    port92::Port92, rtc::Rtc,
};
pub use display::{Legacy, Picture, Vga, VgaConfig};
pub use input::i8042::I8042;
pub use pci::{Chipset, Function, Root};
pub use serial::uart16550::Uart;
