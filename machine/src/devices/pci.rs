//! Functions on a PCI bus.

use super::PropKind::{Number, OnOff, OnOffAuto, PciAddr, Size, Text};
use super::props::prop;
use super::{Driver, Env, Home, Made, Prop, Props};
use hw::pci::bridge::Bridge;
use hw::pci::port::{PortOptions, RootPort};
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
    Driver {
        name: "pcie-root-port", home: Home::Pci(port), carries: None,
        about: "PCI Express root port with one slot",
        props: &[&RESERVES, &[
            prop("chassis", Number(0, 0xFF), "default: 0"),
            prop("slot", Number(0, 0x1FFF), "default: 0; with the chassis, unlike all others"),
            prop("hotplug", OnOff, "default: on"),
            prop("power_controller_present", OnOff, "default: on"),
            prop("disable-acs", OnOff, "default: off"),
            prop("aer", OnOff, "default: on"),
            prop("port", Number(0, 0xFF), "accepted: without effect"),
            prop("aer_log_max", Number(0, 128), "accepted: without effect"),
            prop("x-speed", Text, "accepted: without effect"),
            prop("x-width", Text, "accepted: without effect"),
        ]],
    },
    Driver {
        name: "pci-bridge", home: Home::Pci(bridge), carries: None, about: "bridge to another PCI bus",
        props: &[&RESERVES, &[
            prop("chassis_nr", Number(0, 0xFF), "above 0, unlike all others"),
            prop("shpc", OnOff, "accepted: it has no hot-plug controller"),
            prop("msi", OnOffAuto, "accepted: it has no interrupts"),
        ]],
    },
    Driver {
        name: "pcie-pci-bridge", home: Home::Pci(express_to_pci), carries: None,
        about: "bridge from PCI Express to a PCI bus",
        props: &[&RESERVES, &[
            prop("shpc", OnOff, "accepted: it has no hot-plug controller"),
            prop("msi", OnOffAuto, "accepted: without effect"),
        ]],
    },
];

/// What firmware may be told to keep free behind a bridge.
const RESERVES: [Prop; 5] = [
    prop("bus-reserve", Number(0, 0xFFFF_FFFF), "accepted: firmware is not told"),
    prop("io-reserve", Size, "accepted: firmware is not told"),
    prop("mem-reserve", Size, "accepted: firmware is not told"),
    prop("pref32-reserve", Size, "accepted: firmware is not told"),
    prop("pref64-reserve", Size, "accepted: firmware is not told"),
];

fn port(p: &Props, _: &mut Env<'_>) -> Result<Made, String> {
    let options = PortOptions {
        slot: p.number("slot").unwrap_or(0) as u16,
        hotplug: p.on("hotplug").unwrap_or(true),
        power: p.on("power_controller_present").unwrap_or(true),
        error_reporting: p.on("aer").unwrap_or(true),
        access_control: p.on("disable-acs") != Some(true),
    };
    Ok(Made::new(RootPort::new(options)))
}

fn bridge(p: &Props, _: &mut Env<'_>) -> Result<Made, String> {
    let chassis = p.number("chassis_nr").filter(|n| *n != 0).ok_or(
        "Bridge chassis not specified. Each bridge is required to be assigned a unique chassis id > 0.",
    )?;
    Ok(Made::new(Bridge::pci(chassis as u8)))
}

fn express_to_pci(_: &Props, _: &mut Env<'_>) -> Result<Made, String> {
    Ok(Made::new(Bridge::express_to_pci()))
}

fn testdev(p: &Props, _: &mut Env<'_>) -> Result<Made, String> {
    let membar = p.number("membar").unwrap_or(0);
    if membar != 0 && !(membar.is_power_of_two() && membar <= 1 << 40) {
        return Err(format!("membar={membar}: expected a power of two up to 1T"));
    }
    Ok(Made::new(testdev::TestDev::new(membar)))
}
