//! The PCI host bridge: its windows, and which pin of which slot is which interrupt link.

use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable as Cache, And, Arg, CreateDWordField, Device, EISAName,
    Else, Equal, IO, If, Local, Method, Name, NotEqual, Or, PackageBuilder, Path, ResourceTemplate,
    Return, Store, Uuid, ZERO,
};

use super::resource::{Raw, bytes};
use crate::boot::{Board, Layout, Range};

const SLOTS: u32 = 32;

pub fn host_bridge(l: &Layout, isa_bridge: Vec<u8>) -> Vec<u8> {
    let q35 = l.board == Board::Q35;
    let mut inner = Vec::new();
    if q35 {
        inner.extend(bytes(&Name::new("_HID".into(), &EISAName::new("PNP0A08"))));
        inner.extend(bytes(&Name::new("_CID".into(), &EISAName::new("PNP0A03"))));
    } else {
        inner.extend(bytes(&Name::new("_HID".into(), &EISAName::new("PNP0A03"))));
    }
    inner.extend(bytes(&Name::new("_UID".into(), &ZERO)));
    inner.extend(bytes(&Name::new("_BBN".into(), &ZERO)));
    inner.extend(windows(l));
    if q35 {
        inner.extend(capabilities());
    }
    inner.extend(isa_bridge);
    inner.extend(routing(l.board));
    inner.extend(l.hotplug.iter().flat_map(super::hotplug::root));
    bytes(&Device::new("PCI0".into(), vec![&Raw(inner)]))
}

/// `_CRS`: bus numbers, ports and memory that belong to PCI.
fn windows(l: &Layout) -> Vec<u8> {
    let buses = l.ecam.map_or(256, |e| e.len() >> 20).clamp(1, 256);
    let mut parts = vec![
        Raw(bytes(&AddressSpace::<u16>::new_bus_number(0, buses as u16 - 1))),
        Raw(bytes(&IO::new(0xCF8, 0xCF8, 1, 8))),
        Raw(bytes(&AddressSpace::<u16>::new_io(0, 0xCF7, None))),
        Raw(bytes(&AddressSpace::<u16>::new_io(0xD00, 0xFFFF, None))),
        memory(Range::new(0xA_0000, 0xC_0000), Cache::Cacheable),
    ];
    for r in l.pci_mmio32.iter().filter(|r| !r.is_empty()) {
        parts.push(memory(*r, Cache::NotCacheable));
    }
    if let Some(r) = l.pci_mmio64 {
        let window =
            AddressSpace::<u64>::new_memory(Cache::Cacheable, true, r.start, r.end - 1, None);
        parts.push(Raw(bytes(&window)));
    }
    let parts = parts.iter().map(|p| p as _).collect();
    bytes(&Name::new("_CRS".into(), &ResourceTemplate::new(parts)))
}

fn memory(r: Range, cache: Cache) -> Raw {
    let (first, last) = (r.start as u32, (r.end - 1) as u32);
    Raw(bytes(&AddressSpace::<u32>::new_memory(cache, true, first, last, None)))
}

/// The host bridge's identifier for `_OSC` (PCI Firmware 3.3, 4.5.1).
const OSC_HOST_BRIDGE: &str = "33db4d5b-1ff7-401c-9657-7441c03dd766";
/// What the system may have: native hot plug, SHPC, PME, AER, the capability structure.
const OSC_GRANT: u32 = 0x1F;
const OSC_BAD_UUID: u32 = 1 << 2;
const OSC_BAD_REVISION: u32 = 1 << 3;
const OSC_MASKED: u32 = 1 << 4;

/// `_OSC(uuid, revision, count, buffer)`: grants all that PCI Express has and this board models.
fn capabilities() -> Vec<u8> {
    let name = Path::new;
    let set = |bits: u32| Raw(bytes(&Or::new(&name("CDW1"), &name("CDW1"), &bits)));
    bytes(&Method::new(
        "_OSC".into(),
        4,
        false,
        vec![
            &CreateDWordField::new(&name("CDW1"), &Arg(3), &0u8),
            &If::new(
                &Equal::new(&Arg(0), &Uuid::new(OSC_HOST_BRIDGE)),
                vec![
                    &CreateDWordField::new(&name("CDW3"), &Arg(3), &8u8),
                    &And::new(&Local(0), &name("CDW3"), &OSC_GRANT),
                    &If::new(&NotEqual::new(&Arg(1), &1u8), vec![&set(OSC_BAD_REVISION)]),
                    &If::new(&NotEqual::new(&name("CDW3"), &Local(0)), vec![&set(OSC_MASKED)]),
                    &Store::new(&name("CDW3"), &Local(0)),
                ],
            ),
            &Else::new(vec![&set(OSC_BAD_UUID)]),
            &Return::new(&Arg(3)),
        ],
    ))
}

/// Which link pin `pin` (0 is INTA) of slot `slot` is joined to, as an index from A.
/// q35: slots 0-24 turn through E-H; the chipset's own are wired straight, 30 (the PCI bridge) to
/// E-H and the rest (25-29, 31) to A-D.
/// pc: all slots turn through A-D; slot 1 is the chipset, whose INTA is the SCI (`None`).
fn link_of(board: Board, slot: u32, pin: u32) -> Option<u32> {
    match (board, slot) {
        (Board::Q35, 25..=29 | 31) => Some(pin),
        (Board::Q35, 30) => Some(4 + pin),
        (Board::Q35, _) => Some(4 + (slot + pin) % 4),
        (Board::Pc, 1) if pin == 0 => None,
        (Board::Pc, _) => Some((slot + pin + 3) % 4),
    }
}

fn table(board: Board, prefix: &str) -> PackageBuilder {
    let mut all = PackageBuilder::new();
    for slot in 0..SLOTS {
        for pin in 0..4 {
            let letter = link_of(board, slot, pin).map_or('S', |i| (b'A' + i as u8) as char);
            let mut row = PackageBuilder::new();
            row.add_element(&(slot << 16 | 0xFFFF));
            row.add_element(&pin);
            row.add_element(&Path::new(&format!("{prefix}{letter}")));
            row.add_element(&ZERO);
            all.add_element(&row);
        }
    }
    all
}

/// `_PRT`. On q35 there are two, chosen by what `\_PIC` was told.
fn routing(board: Board) -> Vec<u8> {
    let mut out = bytes(&Name::new("PRTP".into(), &table(board, "LNK")));
    let pics = bytes(&Return::new(&Path::new("PRTP")));
    let body = match board {
        Board::Pc => pics,
        Board::Q35 => {
            out.extend(bytes(&Name::new("PRTA".into(), &table(board, "GSI"))));
            let mut body =
                bytes(&If::new(&Equal::new(&Path::new("\\PICF"), &ZERO), vec![&Raw(pics)]));
            body.extend(bytes(&Return::new(&Path::new("PRTA"))));
            body
        }
    };
    out.extend(bytes(&Method::new("_PRT".into(), 0, false, vec![&Raw(body)])));
    out
}

#[cfg(test)]
mod test {
    use super::*;

    /// INTA to INTD of a slot, as the letters of the links.
    fn letters(board: Board, slot: u32) -> String {
        (0..4)
            .map(|pin| link_of(board, slot, pin).map_or('S', |i| (b'A' + i as u8) as char))
            .collect()
    }

    #[test]
    fn slots_are_wired_as_on_the_boards() {
        use Board::{Pc, Q35};
        for (board, slot, want) in [
            (Q35, 0, "EFGH"),
            (Q35, 1, "FGHE"),
            (Q35, 3, "HEFG"),
            (Q35, 24, "EFGH"),
            (Q35, 25, "ABCD"),
            (Q35, 29, "ABCD"),
            (Q35, 30, "EFGH"),
            (Q35, 31, "ABCD"),
            (Pc, 0, "DABC"),
            (Pc, 1, "SBCD"),
            (Pc, 2, "BCDA"),
            (Pc, 31, "CDAB"),
        ] {
            assert_eq!(letters(board, slot), want, "{board:?} slot {slot}");
        }
    }
}
