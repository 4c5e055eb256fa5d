//! Functions on a PCI bus.

use super::PropKind::{OnOff, PciAddr, Size, Text};
use super::props::prop;
use super::{Driver, Env, Home, Made, Prop, Props};
use hw::pci::testdev;

/// What can be said of any function.
pub(super) const PROPS: &[Prop] = &[
    prop("bus", Text, "default: the root bus"),
    prop("addr", PciAddr, "default: the first free slot"),
    prop("multifunction", OnOff, "default: off"),
];

#[rustfmt::skip]
pub(super) const DRIVERS: &[Driver] = &[
    Driver {
        name: "pci-testdev", home: Home::Pci(testdev), carries: None,
        about: "PCI test device",
        props: &[&[prop("membar", Size, "default: 0")]],
    },
];

fn testdev(p: &Props, _: &mut Env<'_>) -> Result<Made, String> {
    let membar = p.number("membar").unwrap_or(0);
    if membar != 0 && !(membar.is_power_of_two() && membar <= 1 << 40) {
        return Err(format!("membar={membar}: expected a power of two up to 1T"));
    }
    Ok(Made::new(testdev::TestDev::new(membar)))
}
