//! PCI devices that come and go by ACPI's methods (ACPI 6.5, 5.6.4 and 6.3; the registers: `hw::pci::acpi_hotplug`).
//!
//! Each bus has a device object for each slot that can be emptied, with `_EJ0`, and a method `DVNT` that tells some of the
//! slots something. `\_GPE._E01` looks through all buses. A bridge's bus is an object below its parent's.

use acpi_tables::aml::{
    Acquire, And, Arg, Device, EISAName, Field, FieldAccessType, FieldEntry, FieldLockRule,
    FieldUpdateRule, IO, If, Method, MethodCall, Mutex, Name, Notify, ONE, OpRegion, OpRegionSpace,
    Path, Release, ResourceTemplate, Scope, ShiftLeft, Store, ZERO,
};

use super::resource::{Raw, bytes};
use crate::boot::HotBus;
use hw::pci::acpi_hotplug::{LEN, PC_BASE};

/// What a slot is told: look again, and give back.
const DEVICE_CHECK: u8 = 1;
const EJECT_REQUEST: u8 = 3;
/// A wait without end.
const FOREVER: u16 = 0xFFFF;

/// What belongs into the host bridge's object.
pub fn root(bus: &HotBus) -> Vec<u8> {
    let mut out = registers();
    out.extend(eject());
    out.extend(slots(bus));
    out.extend(look(bus));
    out
}

/// `\_GPE._E01`: hot plug is general purpose event 1, and an edge.
pub fn event() -> Vec<u8> {
    let look = MethodCall::new("\\_SB_.PCI0.PCNT".into(), vec![]);
    let method = Method::new("_E01".into(), 0, false, vec![&look]);
    bytes(&Scope::new("\\_GPE".into(), vec![&method]))
}

/// The registers, a lock for who uses them, and a device so that nobody else is given the ports.
fn registers() -> Vec<u8> {
    let (port, len) = (PC_BASE as u16, LEN as u8);
    let mut out = bytes(&OpRegion::new("PCST".into(), OpRegionSpace::SystemIO, &port, &len));
    let names = [*b"PCIU", *b"PCID", *b"B0EJ", *b"PRMV", *b"BNUM"];
    out.extend(bytes(&Field::new(
        "PCST".into(),
        FieldAccessType::DWord,
        FieldLockRule::NoLock,
        FieldUpdateRule::WriteAsZeroes,
        names.map(|name| FieldEntry::Named(name, 32)).into(),
    )));
    out.extend(bytes(&Mutex::new("BLCK".into(), 0)));
    out.extend(bytes(&Device::new(
        "PHPR".into(),
        vec![
            &Name::new("_HID".into(), &EISAName::new("PNP0A06")),
            &Name::new("_UID".into(), &"PCI hot plug"),
            &Name::new("_STA".into(), &0x0Bu8),
            &Name::new("_CRS".into(), &ResourceTemplate::new(vec![&IO::new(port, port, 1, len)])),
        ],
    )));
    out
}

/// `PCEJ(bus, slot)`: empties a slot.
fn eject() -> Vec<u8> {
    bytes(&Method::new(
        "PCEJ".into(),
        2,
        false,
        vec![
            &Acquire::new("BLCK".into(), FOREVER),
            &Store::new(&Path::new("BNUM"), &Arg(0)),
            &ShiftLeft::new(&Path::new("B0EJ"), &ONE, &Arg(1)),
            &Release::new("BLCK".into()),
        ],
    ))
}

fn name(slot: u8) -> String {
    format!("S{slot:02X}_")
}

/// The slots of a bus with what is behind bridges in them, and `DVNT(slots, what)`.
fn slots(bus: &HotBus) -> Vec<u8> {
    let mut out = Vec::new();
    for (device, function, below) in &bus.below {
        let address = u32::from(*device) << 16 | u32::from(*function);
        let inner = Raw(slots(below));
        let name = bridge(*device, *function);
        let address = Name::new("_ADR".into(), &address);
        out.extend(bytes(&Device::new(name.as_str().into(), vec![&address, &inner])));
    }
    let free = |slot: &u8| bus.removable >> slot & 1 != 0;
    for slot in (0..32).filter(free) {
        let call = Raw(bytes(&MethodCall::new("PCEJ".into(), vec![&bus.number, &slot])));
        out.extend(bytes(&Device::new(
            name(slot).as_str().into(),
            vec![
                &Name::new("_SUN".into(), &slot),
                &Name::new("_ADR".into(), &(u32::from(slot) << 16)),
                &Method::new("_EJ0".into(), 1, false, vec![&call]),
            ],
        )));
    }
    let tell = (0..32).filter(free).map(|slot| {
        let told = Raw(bytes(&Notify::new(&Path::new(&name(slot)), &Arg(1))));
        Raw(bytes(&If::new(&And::new(&ZERO, &Arg(0), &(1u32 << slot)), vec![&told])))
    });
    let tell: Vec<Raw> = tell.collect();
    let body = tell.iter().map(|t| t as _).collect();
    out.extend(bytes(&Method::new("DVNT".into(), 2, false, body)));
    out
}

/// A bridge's object.
fn bridge(device: u8, function: u8) -> String {
    format!("B{device:02X}{function}")
}

/// `PCNT`: tells all slots what there is to be told.
fn look(root: &HotBus) -> Vec<u8> {
    let mut body = bytes(&Acquire::new("BLCK".into(), FOREVER));
    each(root, "\\_SB_.PCI0", &mut body);
    body.extend(bytes(&Release::new("BLCK".into())));
    bytes(&Method::new("PCNT".into(), 0, false, vec![&Raw(body)]))
}

fn each(bus: &HotBus, path: &str, body: &mut Vec<u8>) {
    body.extend(bytes(&Store::new(&Path::new("BNUM"), &bus.number)));
    for (register, what) in [("PCIU", DEVICE_CHECK), ("PCID", EJECT_REQUEST)] {
        let tell = Path::new(&format!("{path}.DVNT"));
        body.extend(bytes(&MethodCall::new(tell, vec![&Path::new(register), &what])));
    }
    for (device, function, below) in &bus.below {
        each(below, &format!("{path}.{}", bridge(*device, *function)), body);
    }
}
