//! PCI: configuration space, the host bridge's bus, and the chips that boards are made of.

pub mod acpi_hotplug;
pub mod bridge;
mod config;
pub mod dram;
pub mod express;
pub mod i440fx;
pub mod msi;
pub mod port;
pub mod q35;
mod root;
pub mod smbus;
pub mod testdev;

pub use config::{Bar, Config, Ids, Pam, ROM};
pub use root::{Chipset, ECAM, HOTPLUG, PlugError, Root};

use device::{Cx, Device, Misfit, Width, state};

/// A function on the bus.
///
/// As a [`Device`], its banks 0 to 5 are its BARs and 6 its ROM; the bus maps them. From bank 8 on it maps its own. Its
/// output pins are ISA interrupt lines, for parts that have such; INTx is [`Config::set_intx`].
pub trait Function: Device {
    fn config(&self) -> &Config;
    fn config_mut(&mut self) -> &mut Config;
    /// Software wrote to configuration space, and `config` has taken it. Not for BARs.
    fn config_written(&mut self, _cx: &mut dyn Cx) {}
    /// Software is about to read configuration space from `at`. Whether that does anything to the function.
    fn config_reading(&mut self, _at: u64, _w: Width, _cx: &mut dyn Cx) -> bool {
        false
    }
    /// What it lets through to the bus below, if it is a bridge.
    fn forward(&self) -> Option<bridge::Forward> {
        self.config().is_bridge().then(|| bridge::Forward::of(self.config()))
    }
    /// Its slot, if it is a port with one.
    fn port(&mut self) -> Option<&mut dyn port::Port> {
        None
    }
    /// Whether the user can have it taken out. Parts of the chipset cannot.
    fn removable(&self) -> bool {
        true
    }
    /// It is being taken out, and this is its last call. What it asked of disks is given up for it afterwards.
    fn unplugged(&mut self, _cx: &mut dyn Cx) {}
    /// General purpose event `n` of ACPI, for the function that has the event registers.
    fn general_event(&mut self, _n: u32, _cx: &mut dyn Cx) {}
}

state! {
    /// A function as it is saved: configuration space, then what else it has.
    pub struct Saved { 1 config: crate::Bytes = crate::Bytes::default(), 2 rest: crate::Bytes = crate::Bytes::default() }
}

/// Saves a function.
pub fn save(config: &Config, rest: Vec<u8>) -> Vec<u8> {
    Saved { config: crate::Bytes(config.bytes().to_vec()), rest: crate::Bytes(rest) }.save()
}

/// Loads a function: `rest` takes its other state, and may refuse it.
pub fn load(
    config: &mut Config,
    from: &[u8],
    rest: impl FnOnce(&[u8]) -> Result<(), Misfit>,
) -> Result<(), Misfit> {
    let saved = Saved::load(from)?;
    config.check(&saved.config.0)?;
    rest(&saved.rest.0)?;
    config.set_bytes(saved.config.0);
    Ok(())
}
