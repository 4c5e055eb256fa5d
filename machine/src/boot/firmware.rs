//! What firmware would have left in memory: the BIOS data area, ACPI and SMBIOS tables.

use super::layout::{EBDA, F_SEGMENT};
use super::{BootError, E820Row, GuestRam, Layout, Range};
use crate::{acpi, smbios};

/// The RSDP opens the firmware segment; SMBIOS follows, 16-byte aligned as both are searched for.
pub const RSDP: u64 = F_SEGMENT;
pub const SMBIOS: u64 = F_SEGMENT + 0x40;

/// Real-mode handlers, at the addresses that the BIOS of the IBM PC made known: the timer's at F000:FEA5 with those of the
/// other interrupt lines behind it, and an IRET at F000:FF53.
pub const HANDLERS: u64 = F_SEGMENT + 0xFEA5;
const IRET: u64 = F_SEGMENT + 0xFF53;

/// Counts the tick at 40:6C and the midnight at 40:70, calls INT 1Ch, and ends the interrupt.
#[rustfmt::skip]
const TIMER: &[u8] = &[
    0x50,                                                 // push ax
    0x1E,                                                 // push ds
    0xB8, 0x40, 0x00,                                     // mov ax, 40h
    0x8E, 0xD8,                                           // mov ds, ax
    0x66, 0xFF, 0x06, 0x6C, 0x00,                         // inc dword [6Ch]
    0x66, 0x81, 0x3E, 0x6C, 0x00, 0xB0, 0x00, 0x18, 0x00, // cmp dword [6Ch], 1800B0h
    0x72, 11,                                             // jb past the next two
    0x66, 0x83, 0x26, 0x6C, 0x00, 0x00,                   // and dword [6Ch], 0
    0xC6, 0x06, 0x70, 0x00, 0x01,                         // mov byte [70h], 1
    0xCD, 0x1C,                                           // int 1Ch
    0xB0, 0x20,                                           // mov al, 20h
    0xE6, 0x20,                                           // out 20h, al
    0x1F,                                                 // pop ds
    0x58,                                                 // pop ax
    0xCF,                                                 // iret
];
/// Ends an interrupt of the master: push ax; mov al, 20h; out 20h, al; pop ax; iret.
const MASTER: &[u8] = &[0x50, 0xB0, 0x20, 0xE6, 0x20, 0x58, 0xCF];
/// The same of the slave, at 0A0h first.
const SLAVE: &[u8] = &[0x50, 0xB0, 0x20, 0xE6, 0xA0, 0xE6, 0x20, 0x58, 0xCF];
/// Where the 8259s' lines arrive in real mode.
pub const MASTER_VECTORS: u8 = 0x08;
pub const SLAVE_VECTORS: u8 = 0x70;

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
    write_vectors(ram)?;
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

/// Real-mode vectors that lead somewhere: an interrupt that nobody asked for comes back.
fn write_vectors(ram: &mut dyn GuestRam) -> Result<(), BootError> {
    let master = HANDLERS + TIMER.len() as u64;
    let slave = master + MASTER.len() as u64;
    for (at, code) in [(HANDLERS, TIMER), (master, MASTER), (slave, SLAVE), (IRET, &[0xCF])] {
        ram.write(at, code)?;
    }
    for vector in 0..=255u8 {
        let to = match (vector.wrapping_sub(MASTER_VECTORS), vector.wrapping_sub(SLAVE_VECTORS)) {
            (0, _) => HANDLERS,
            (1..8, _) => master,
            (_, 0..8) => slave,
            _ => IRET,
        };
        let pointer = (F_SEGMENT >> 4) << 16 | (to - F_SEGMENT);
        ram.write(4 * u64::from(vector), &(pointer as u32).to_le_bytes())?;
    }
    Ok(())
}
