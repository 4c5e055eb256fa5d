//! What firmware would have left in memory: the BIOS data area, ACPI and SMBIOS tables.

use super::layout::{EBDA, F_SEGMENT};
use super::{BootError, E820Row, GuestRam, Layout, Range};
use crate::{acpi, smbios};

/// The RSDP opens the firmware segment; SMBIOS follows, 16-byte aligned as both are searched for.
pub const RSDP: u64 = F_SEGMENT;
pub const SMBIOS: u64 = F_SEGMENT + 0x40;

/// Where things were put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    pub rsdp: u64,
    /// Pages at the top of low RAM that hold the ACPI tables.
    pub tables: Range,
    pub memory_map: Vec<E820Row>,
}

/// Builds and writes the tables and the fields of the BIOS data area that systems still read.
pub fn place(ram: &mut dyn GuestRam, layout: &Layout) -> Result<Placed, BootError> {
    layout.check()?;
    let tables = acpi::Tables::build(layout);
    let len = tables.len().next_multiple_of(0x1000);
    let start = layout.ram_low.checked_sub(len).filter(|s| *s >= 1 << 20).ok_or_else(|| {
        BootError::Layout(format!("no room for {len} bytes of ACPI tables in RAM"))
    })?;
    let tables_at = Range::new(start, layout.ram_low);
    ram.zero(tables_at.start, tables_at.len())?;
    for (at, bytes) in tables.place(RSDP, tables_at.start) {
        ram.write(at, &bytes)?;
    }
    for (at, bytes) in smbios::place(layout, SMBIOS)? {
        ram.write(at, &bytes)?;
    }
    write_bios_data(ram, layout)?;
    Ok(Placed { rsdp: RSDP, tables: tables_at, memory_map: layout.e820(&tables_at) })
}

/// BIOS data area at 400h: serial ports at +0, EBDA segment at +0Eh, conventional memory in KiB
/// at +13h; the EBDA begins with its length in KiB.
fn write_bios_data(ram: &mut dyn GuestRam, layout: &Layout) -> Result<(), BootError> {
    ram.zero(0, 0x500)?;
    for (i, port) in [0x3F8u16, 0x2F8].iter().enumerate() {
        if layout.com[i] {
            ram.write(0x400 + 2 * i as u64, &port.to_le_bytes())?;
        }
    }
    ram.write(0x40E, &((EBDA >> 4) as u16).to_le_bytes())?;
    ram.write(0x413, &((EBDA >> 10) as u16).to_le_bytes())?;
    ram.zero(EBDA, 0xA_0000 - EBDA)?;
    ram.write(EBDA, &[((0xA_0000 - EBDA) >> 10) as u8])
}
