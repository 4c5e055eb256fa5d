//! The PCI-to-ISA bridge (LPC on ICH9) and the devices behind it.

use acpi_tables::aml::{
    Device, EISAName, Field, FieldAccessType, FieldEntry, FieldLockRule, FieldUpdateRule, IO, Name,
    OpRegion, OpRegionSpace, ResourceTemplate,
};

use super::fixed::isa_bridge;
use super::resource::{Irq, Raw, bytes};
use crate::boot::{Board, Layout};

pub fn bridge(l: &Layout) -> Vec<u8> {
    let mut inner = bytes(&Name::new("_ADR".into(), &isa_bridge(l.board)));
    inner.extend(routing_registers(l.board));
    for d in DEVICES.iter().filter(|d| (d.present)(l)) {
        inner.extend(device(d.name, d.hid, d.uid, d.ports, d.irq));
    }
    if let Some(port) = l.pvpanic {
        inner.extend(named("PEVT", "QEMU0001", (port, 1)));
    }
    if l.fw_cfg {
        inner.extend(named("FWCF", "QEMU0002", (0x510, 12)));
    }
    bytes(&Device::new("ISA_".into(), vec![&Raw(inner)]))
}

/// The bridge's interrupt routing registers, PRQA to PRQD at 60h and (ICH9) PRQE to PRQH at 68h.
/// Bit 7 turns a link off, bits 3:0 are its IRQ.
fn routing_registers(board: Board) -> Vec<u8> {
    let letters: &[u8] = if board == Board::Q35 { b"ABCDEFGH" } else { b"ABCD" };
    let len: u8 = if board == Board::Q35 { 12 } else { 4 };
    let mut fields = Vec::new();
    for letter in letters {
        if *letter == b'E' {
            fields.push(FieldEntry::Reserved(32));
        }
        fields.push(FieldEntry::Named([b'P', b'R', b'Q', *letter], 8));
    }
    let mut out = bytes(&OpRegion::new("PIRQ".into(), OpRegionSpace::PCIConfig, &0x60u8, &len));
    out.extend(bytes(&Field::new(
        "PIRQ".into(),
        FieldAccessType::Byte,
        FieldLockRule::NoLock,
        FieldUpdateRule::Preserve,
        fields,
    )));
    out
}

struct Row {
    name: &'static str,
    hid: &'static str,
    uid: u8,
    ports: &'static [(u16, u8)],
    irq: Option<u8>,
    present: fn(&Layout) -> bool,
}

#[rustfmt::skip]
const DEVICES: &[Row] = &[
    Row { name: "RTC_", hid: "PNP0B00", uid: 0, ports: &[(0x70, 8)],             irq: Some(8),  present: |_| true },
    Row { name: "KBD_", hid: "PNP0303", uid: 0, ports: &[(0x60, 1), (0x64, 1)],  irq: Some(1),  present: |l| l.ps2 },
    Row { name: "MOU_", hid: "PNP0F13", uid: 0, ports: &[],                      irq: Some(12), present: |l| l.ps2 },
    Row { name: "COM1", hid: "PNP0501", uid: 1, ports: &[(0x3F8, 8)],            irq: Some(4),  present: |l| l.com[0] },
    Row { name: "COM2", hid: "PNP0501", uid: 2, ports: &[(0x2F8, 8)],            irq: Some(3),  present: |l| l.com[1] },
];

fn device(name: &str, hid: &str, uid: u8, ports: &[(u16, u8)], irq: Option<u8>) -> Vec<u8> {
    let mut parts: Vec<Raw> =
        ports.iter().map(|&(at, len)| Raw(bytes(&IO::new(at, at, 1, len)))).collect();
    parts.extend(irq.map(|n| Raw(bytes(&Irq(n)))));
    bytes(&Device::new(
        name.into(),
        vec![
            &Name::new("_HID".into(), &EISAName::new(hid)),
            &Name::new("_UID".into(), &uid),
            &Name::new("_STA".into(), &0x0Fu8),
            &Name::new(
                "_CRS".into(),
                &ResourceTemplate::new(parts.iter().map(|p| p as _).collect()),
            ),
        ],
    ))
}

/// A device of the emulator's own, with a textual identifier; hidden from user interfaces.
fn named(name: &str, hid: &'static str, (port, len): (u16, u8)) -> Vec<u8> {
    bytes(&Device::new(
        name.into(),
        vec![
            &Name::new("_HID".into(), &hid),
            &Name::new("_STA".into(), &0x0Bu8),
            &Name::new("_CRS".into(), &ResourceTemplate::new(vec![&IO::new(port, port, 1, len)])),
        ],
    ))
}
