//! The PCI bus: the chipset's functions, and those asked for.

use super::behind::{Behind, Own, controller_name};
use super::{Builder, End, IsaLines, ports};
use crate::MachineError;
use crate::config::{Backend, Chipset, Config, DeviceSpec, DriveId};
use crate::devices::{Child, Driver, Env, Home, Made, Props};
use crate::parts::DeviceId;
use device::Pin;
use hw::pci::dram::Around;
use hw::pci::{self, Root};

/// A function's number on the bus, with what has to be joined to it.
type Joined = (u16, Joins);

struct Joins {
    drives: Vec<(DriveId, u16)>,
    backends: Vec<(Backend, Option<u16>)>,
}

/// Adds the host bridge with everything on its bus.
pub(super) fn pci(
    b: &mut Builder,
    config: &Config,
    isa: &IsaLines,
    around: Around,
) -> Result<DeviceId, MachineError> {
    let smm = around.smm;
    let q35 = config.board.chipset == Chipset::Q35;
    let behind = Behind::place(config, own(q35)).map_err(|(spec, why)| refused(spec, why))?;
    let mut root = Root::new(if q35 { pci::Chipset::Q35 } else { pci::Chipset::I440fx });
    let mut joined = Vec::new();
    if q35 {
        root.add(0, 0, pci::q35::Mch::new(around));
        root.add(0x1F, 0, pci::q35::Ich9Lpc::new(smm));
        root.add(0x1F, 3, pci::smbus::Ich9Smbus::default());
    } else {
        root.add(0, 0, pci::i440fx::I440fx::new(around));
        root.add(1, 0, pci::i440fx::Piix3::default());
        root.add(1, 3, pci::i440fx::Piix4Pm::new(smm));
    }
    joined.push(disks(&mut root, b, config, &behind)?);
    for (n, spec) in config.devices.iter().enumerate() {
        if let Some(Driver { home: Home::Pci(make), .. }) = Driver::named(spec.driver) {
            let children = behind.of(&controller_name(spec, n));
            let made = make(&spec.props, &mut env(b, config, &children))
                .map_err(|why| refused(spec, why))?;
            joined.push(put(&mut root, spec, made).map_err(|why| refused(spec, why))?);
        }
    }
    let id = b.part("pci", root, &[ports(0xCF8, 8)]);
    for n in 0..24 {
        match n {
            0..16 => isa.join(b, id, Pin(n), n),
            _ => b.parts.join((id, Pin(n)), (isa.ioapic, Pin(n))),
        }
    }
    joined.into_iter().for_each(|j| join(b, id, j));
    Ok(id)
}

/// The buses of the board's own controllers.
fn own(q35: bool) -> &'static [Own] {
    if q35 { &[(DISKS, "IDE", 6, 1)] } else { &[(DISKS, "IDE", 2, 2)] }
}
/// What the buses of the board's disk controller are called: `ide.0` and so on.
const DISKS: &str = "ide";

fn env<'a>(b: &'a mut Builder, config: &'a Config, children: &'a [Child<'a>]) -> Env<'a> {
    Env {
        cpus: config.topology.cpus,
        builder: b,
        without_firmware: config.boot.firmware.is_none(),
        dirs: &config.boot.firmware_dirs,
        children,
    }
}

/// Adds the board's own disk controller.
fn disks(
    root: &mut Root,
    b: &mut Builder,
    config: &Config,
    behind: &Behind<'_>,
) -> Result<Joined, MachineError> {
    let (driver, slot, function) = match config.board.chipset {
        Chipset::Q35 => ("ich9-ahci", 0x1F, 2),
        Chipset::Pc => ("piix3-ide", 1, 1),
    };
    let Some(Driver { home: Home::Pci(make), .. }) = Driver::named(driver) else {
        return Err(MachineError::Option(format!("no device '{driver}'")));
    };
    let children = behind.of(DISKS);
    let made = make(&Props::default(), &mut env(b, config, &children))
        .map_err(|why| MachineError::Option(format!("{driver}: {why}")))?;
    let Made { function: part, drives, backends } = made;
    let number = root.add_boxed(slot, function, part);
    Ok((number, Joins { drives, backends }))
}

/// Puts a function that was asked for into its slot, or the first free one.
fn put(root: &mut Root, spec: &DeviceSpec, mut made: Made) -> Result<Joined, String> {
    let (slot, function) = match spec.props.addr() {
        Some(a) => (a.slot, a.function),
        None => (root.free_device().ok_or("the bus is full")?, 0),
    };
    if !root.is_free(slot, function) {
        return Err(format!("PCI slot {slot:02x}.{function} is taken"));
    }
    if spec.props.on("multifunction") == Some(true) {
        let config = made.function.config_mut();
        let header = config.u8(0x0E) | 0x80;
        config.set(0x0E, &[header]);
    }
    let (drives, backends) = (made.drives, made.backends);
    let number = root.add_boxed(slot, function, made.function);
    Ok((number, Joins { drives, backends }))
}

/// Joins a function to drives and back ends.
fn join(b: &mut Builder, id: DeviceId, (number, joins): Joined) {
    for (drive, unit) in joins.drives {
        b.drives.push((drive, End { device: id, path: vec![number] }, unit));
    }
    for (backend, port) in joins.backends {
        b.backend(Some(backend), id, std::iter::once(number).chain(port).collect());
    }
}

/// A `-device` that cannot be made.
pub(super) fn refused(spec: &DeviceSpec, why: String) -> MachineError {
    MachineError::Option(format!("-device {}: {why}", spec.driver))
}
