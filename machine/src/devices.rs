//! The devices that can be asked for, a row each: what they are, what can be said of them, how they are made.
//!
//! `-device`, `-global` and `device_add` read these rows; the board makes what they describe.

mod ata;
mod display;
mod isa;
mod pci;
mod props;
mod virtio;

pub(crate) use isa::{pvpanic_port, serial};
pub use props::{Prop, PropKind, Props, Value};

use crate::board::{Builder, IsaLines};
use crate::config::{Backend, DriveId};
use hw::pci::Function;
use std::path::PathBuf;

/// A device that can be asked for.
pub struct Driver {
    pub name: &'static str,
    pub about: &'static str,
    pub(crate) home: Home,
    /// The kind of bus that it has for others, how many of them, and how many places on each.
    pub(crate) carries: Option<(&'static str, u16, u16)>,
    /// What can be said of it, beside what its bus asks.
    pub props: &'static [&'static [Prop]],
}

/// Where a device stands, and how it is made.
#[derive(Clone, Copy)]
pub(crate) enum Home {
    /// On the ISA bus.
    Isa(fn(&mut Builder, &IsaLines, &Props) -> Result<(), String>),
    /// A function on a PCI bus.
    Pci(fn(&Props, &mut Env<'_>) -> Result<Made, String>),
    /// Behind a controller that has this kind of bus.
    Behind(&'static str),
}

/// What a function is told of its machine.
pub(crate) struct Env<'a> {
    pub cpus: u32,
    /// For memory of its own, and images to put there.
    pub builder: &'a mut Builder,
    /// A kernel starts without firmware.
    pub without_firmware: bool,
    /// Where firmware is looked for.
    pub dirs: &'a [PathBuf],
    /// What stands behind it.
    pub children: &'a [Child<'a>],
}

/// A device behind a controller: its driver, what was said of it, and its number on that bus.
pub(crate) struct Child<'a> {
    pub driver: &'static Driver,
    pub props: &'a Props,
    pub unit: u16,
}

/// A PCI function with what it is joined to: units of drives, and ports of back ends.
pub(crate) struct Made {
    pub function: Box<dyn Function>,
    pub drives: Vec<(DriveId, u16)>,
    pub backends: Vec<(Backend, Option<u16>)>,
}

impl Made {
    fn new(function: impl Function) -> Made {
        Made { function: Box::new(function), drives: Vec::new(), backends: Vec::new() }
    }
}

impl Driver {
    /// The driver of this name.
    pub fn named(name: &str) -> Option<&'static Driver> {
        all().find(|d| d.name == name)
    }
    /// The same; an error in QEMU's words if there is none.
    pub fn find(name: &str) -> Result<&'static Driver, String> {
        Driver::named(name).ok_or_else(|| format!("'{name}' is not a valid device model name"))
    }
    /// What kind of bus it stands on, as `-device help` says.
    pub fn bus(&self) -> &'static str {
        match self.home {
            Home::Isa(_) => "ISA",
            Home::Pci(_) => "PCI",
            Home::Behind(bus) => bus,
        }
    }
    /// Everything that can be said of it.
    pub fn all_props(&self) -> impl Iterator<Item = &'static Prop> {
        let of_bus = match self.home {
            Home::Isa(_) => &[][..],
            Home::Pci(_) => pci::PROPS,
            Home::Behind(_) => props::BEHIND,
        };
        self.props.iter().copied().flatten().chain(of_bus)
    }
}

/// All of them.
pub fn all() -> impl Iterator<Item = &'static Driver> {
    isa::DRIVERS
        .iter()
        .chain(pci::DRIVERS)
        .chain(ata::DRIVERS)
        .chain(display::DRIVERS)
        .chain(virtio::DRIVERS)
}
