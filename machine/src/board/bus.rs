//! The PCI bus: the chipset's functions, and those asked for.

use super::behind::{Behind, Own, controller_name};
use super::{Builder, End, IsaLines, ports};
use crate::MachineError;
use crate::config::{Backend, Chipset, Config, DeviceSpec, DriveId};
use crate::devices::{Child, Driver, Env, Home, Made, Props};
use crate::parts::DeviceId;
use crate::plug::{self, At, Seat, Standing};
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
    let mut root = match config.board.chipset {
        Chipset::Q35 => Root::new(pci::Chipset::Q35),
        Chipset::Pc if config.board.acpi => Root::new(pci::Chipset::I440fx).with_acpi_hotplug(),
        Chipset::Pc => Root::new(pci::Chipset::I440fx),
    };
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
        if let Some(Driver { home: Home::Pci(_), .. }) = Driver::named(spec.driver) {
            let children = behind.of(&controller_name(spec, n));
            let one = put(&mut root, b, config, spec, &children);
            let one = one.map_err(|why| refused(spec, why))?;
            b.standing.push(Standing { spec: spec.clone(), at: At::Function(one.0) });
            note_children(b, config, one.0, &children);
            joined.push(one);
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
    note_children(b, config, number, &children);
    Ok((number, Joins { drives, backends }))
}

/// Puts a function that was asked for where it says, or into the first free slot.
fn put(
    root: &mut Root,
    b: &mut Builder,
    config: &Config,
    spec: &DeviceSpec,
    children: &[Child<'_>],
) -> Result<Joined, String> {
    let seat = Seat::find(root, spec)?;
    let earlier = b.standing.iter().map(|s| &s.spec);
    plug::own_slot(spec, earlier)?;
    let made = plug::make(root, &seat, spec, &mut env(b, config, children))?;
    let Made { function, drives, backends } = made;
    seat.fits(root, spec.driver, &*function)?;
    let number = match seat.parent {
        None => root.add_boxed(seat.device, seat.function, function),
        Some(bridge) => root.add_below_boxed(bridge, seat.device, seat.function, function),
    };
    root.set_id(number, spec.id.as_deref().unwrap_or(""));
    Ok((number, Joins { drives, backends }))
}

/// Notes who stands behind a controller.
fn note_children(b: &mut Builder, config: &Config, number: u16, children: &[Child<'_>]) {
    for c in children {
        // Children only borrow what was said of them.
        let spec = config.devices.iter().find(|s| std::ptr::eq(&s.props, c.props));
        let at = At::Behind(number, c.unit);
        b.standing.extend(spec.map(|spec| Standing { spec: spec.clone(), at }));
    }
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
