//! The DSDT's outline: what the machine has that cannot be found by probing.

use acpi_tables::Aml;
use acpi_tables::aml::{Arg, Device, Method, Name, Package, Scope, Store, ZERO};
use acpi_tables::aml::{EISAName, IO, Memory32Fixed, Path, ResourceTemplate};

use super::resource::{Raw, bytes};
use super::{hotplug, isa, link, pci};
use crate::boot::Layout;

pub fn build(l: &Layout) -> Vec<u8> {
    let mut out = interrupt_model();
    out.extend(soft_off());
    let mut system = pci::host_bridge(l, isa::bridge(l));
    system.extend(reserved(l));
    system.extend(link::all(l.board));
    if let Some(base) = l.hpet {
        system.extend(hpet(base));
    }
    system.extend(processors(l.apic_ids.len(), l.present));
    out.extend(bytes(&Scope::new("\\_SB_".into(), vec![&Raw(system)])));
    if l.hotplug.is_some() {
        out.extend(hotplug::event());
    }
    out
}

/// `\_PIC`: the system says whether it uses the PICs (0) or the I/O APIC (1); kept for `_PRT`.
fn interrupt_model() -> Vec<u8> {
    let mut out = bytes(&Name::new("PICF".into(), &ZERO));
    out.extend(bytes(&Method::new(
        "_PIC".into(),
        1,
        false,
        vec![&Store::new(&Path::new("PICF"), &Arg(0))],
    )));
    out
}

/// `\_S5`: sleep type 0 turns off both ICH9 and PIIX4.
fn soft_off() -> Vec<u8> {
    bytes(&Name::new("_S5_".into(), &Package::new(vec![&ZERO, &ZERO, &ZERO, &ZERO])))
}

/// Ranges that no other device may be given: configuration space, other chipset memory, and the
/// general-purpose event block where it is not among the power-management function's own ports.
fn reserved(l: &Layout) -> Vec<u8> {
    const PM_PORTS: u16 = 0x80;
    let mut parts = Vec::new();
    if !(l.pm_base..l.pm_base + PM_PORTS).contains(&l.gpe0) {
        parts.push(Raw(bytes(&IO::new(l.gpe0, l.gpe0, 1, l.gpe0_len))));
    }
    for r in l.ecam.iter().chain(&l.reserved) {
        if let (Ok(start), Ok(len)) = (u32::try_from(r.start), u32::try_from(r.len())) {
            parts.push(Raw(bytes(&Memory32Fixed::new(true, start, len))));
        }
    }
    if parts.is_empty() {
        return Vec::new();
    }
    let parts = parts.iter().map(|p| p as _).collect();
    bytes(&Device::new(
        "MRES".into(),
        vec![
            &Name::new("_HID".into(), &EISAName::new("PNP0C02")),
            &Name::new("_UID".into(), &ZERO),
            &Name::new("_CRS".into(), &ResourceTemplate::new(parts)),
        ],
    ))
}

fn hpet(base: u32) -> Vec<u8> {
    const BLOCK: u32 = 0x400;
    bytes(&Device::new(
        "HPET".into(),
        vec![
            &Name::new("_HID".into(), &EISAName::new("PNP0103")),
            &Name::new("_UID".into(), &ZERO),
            &Name::new("_STA".into(), &0x0Fu8),
            &Name::new(
                "_CRS".into(),
                &ResourceTemplate::new(vec![&Memory32Fixed::new(false, base, BLOCK)]),
            ),
        ],
    ))
}

/// A container with a device for each processor; `_UID` is the number the MADT gives it. Those
/// that are not there say so.
fn processors(count: usize, present: usize) -> Vec<u8> {
    let mut inner = bytes(&Name::new("_HID".into(), &"ACPI0010"));
    inner.extend(bytes(&Name::new("_CID".into(), &EISAName::new("PNP0A05"))));
    for n in 0..count as u32 {
        let name = format!("C{n:03X}");
        let hid = Name::new("_HID".into(), &"ACPI0007");
        let (uid, absent) = (Name::new("_UID".into(), &n), Name::new("_STA".into(), &ZERO));
        let mut inside: Vec<&dyn Aml> = vec![&hid, &uid];
        if n as usize >= present {
            inside.push(&absent);
        }
        inner.extend(bytes(&Device::new(name.as_str().into(), inside)));
    }
    bytes(&Device::new("CPUS".into(), vec![&Raw(inner)]))
}
