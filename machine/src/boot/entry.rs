//! How processor 0 has to be set before it runs its first instruction.
//!
//! All of it is spelled out, so that the machine needs no rules of its own: copy the fields,
//! and everything not named here stays as reset leaves it.

use super::{BootError, GuestRam};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As after reset: the firmware's entry at F000:FFF0.
    Real16,
    /// Flat 32-bit segments, paging off.
    Protected32,
    /// 64-bit code with an identity map.
    Long64,
}

/// A segment register with its hidden part. `attr` is the descriptor's bits 40..56:
/// type, S, DPL, P in the low byte; AVL, L, D/B, G in bits 12..16 (SDM vol. 3, 3.4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    pub selector: u16,
    pub base: u64,
    pub limit: u32,
    pub attr: u16,
}

/// GDTR or IDTR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableReg {
    pub base: u64,
    pub limit: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryState {
    pub mode: Mode,
    pub rip: u64,
    pub rsp: u64,
    pub rflags: u64,
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rbp: u64,
    pub cr0: u64,
    pub cr3: u64,
    pub cr4: u64,
    pub efer: u64,
    /// IA32_MTRR_DEF_TYPE, for every processor: firmware makes memory write-back, and a system
    /// that finds the MTRRs off gives up on PAT as well.
    pub mtrr_def_type: u64,
    pub cs: Segment,
    /// DS, ES, FS, GS and SS are all this.
    pub data: Segment,
    pub tr: Segment,
    pub gdt: TableReg,
    pub idt: TableReg,
}

const CR0_PE: u64 = 1;
const CR0_ET: u64 = 1 << 4;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;
/// MTRRs on, memory write-back (SDM vol. 3, 12.11.2.1).
const MTRR_WRITE_BACK: u64 = 1 << 11 | 6;
const RESET_CR0: u64 = 0x6000_0010;

/// Selectors of the table that [`write_gdt`] lays down. Linux wants code at 0x10 and data at 0x18
/// (boot.rst, "64-bit boot protocol": __BOOT_CS and __BOOT_DS).
pub const CODE: u16 = 0x10;
pub const DATA: u16 = 0x18;
pub const TASK: u16 = 0x20;

const ATTR_CODE32: u16 = 0xC09B;
const ATTR_CODE64: u16 = 0xA09B;
const ATTR_DATA: u16 = 0xC093;
const ATTR_TSS_BUSY: u16 = 0x008B;

const FLAT: u32 = 0xFFFF_FFFF;

/// Bytes that [`write_gdt`] takes.
pub const GDT_LEN: u64 = 6 * 8;

fn descriptor(base: u32, limit: u32, attr: u16) -> u64 {
    let (base, limit) = (u64::from(base), u64::from(limit));
    (limit & 0xFFFF)
        | (base & 0xFF_FFFF) << 16
        | u64::from(attr) << 40
        | (limit >> 16 & 0xF) << 48
        | (base >> 24) << 56
}

/// Writes null, null, flat code, flat data and a task segment; answers the GDTR.
pub fn write_gdt(ram: &mut dyn GuestRam, at: u64, mode: Mode) -> Result<TableReg, BootError> {
    let code = if mode == Mode::Long64 { ATTR_CODE64 } else { ATTR_CODE32 };
    let rows = [
        0,
        0,
        descriptor(0, 0xF_FFFF, code),
        descriptor(0, 0xF_FFFF, ATTR_DATA),
        descriptor(0, 0x67, ATTR_TSS_BUSY),
        0, // the upper half of the task segment in 64-bit mode
    ];
    for (i, row) in rows.iter().enumerate() {
        ram.write(at + 8 * i as u64, &row.to_le_bytes())?;
    }
    Ok(TableReg { base: at, limit: GDT_LEN as u16 - 1 })
}

impl EntryState {
    /// After reset, for a machine that starts with firmware (SDM vol. 3, table 10-1).
    pub fn reset() -> Self {
        let data = Segment { selector: 0, base: 0, limit: 0xFFFF, attr: 0x0093 };
        EntryState {
            cs: Segment { selector: 0xF000, base: 0xFFFF_0000, limit: 0xFFFF, attr: 0x009B },
            data,
            tr: Segment { selector: 0, base: 0, limit: 0xFFFF, attr: ATTR_TSS_BUSY },
            mode: Mode::Real16,
            rip: 0xFFF0,
            cr0: RESET_CR0,
            mtrr_def_type: 0,
            idt: TableReg { base: 0, limit: 0xFFFF },
            gdt: TableReg { base: 0, limit: 0xFFFF },
            ..Self::zero()
        }
    }

    /// Flat 32-bit code, paging and interrupts off.
    pub fn protected32(entry: u32, gdt: TableReg) -> Self {
        EntryState {
            cs: Segment { selector: CODE, base: 0, limit: FLAT, attr: ATTR_CODE32 },
            mode: Mode::Protected32,
            rip: entry.into(),
            cr0: CR0_PE | CR0_ET,
            gdt,
            ..Self::zero()
        }
    }

    /// 64-bit code with the page tables at `cr3`, interrupts off.
    pub fn long64(entry: u64, gdt: TableReg, cr3: u64) -> Self {
        EntryState {
            cs: Segment { selector: CODE, base: 0, limit: FLAT, attr: ATTR_CODE64 },
            mode: Mode::Long64,
            rip: entry,
            cr0: CR0_PE | CR0_ET | CR0_PG,
            cr3,
            cr4: CR4_PAE,
            efer: EFER_LME | EFER_LMA,
            gdt,
            ..Self::zero()
        }
    }

    fn zero() -> Self {
        EntryState {
            mode: Mode::Protected32,
            rip: 0,
            rsp: 0,
            rflags: 2,
            rax: 0,
            rbx: 0,
            rcx: 0,
            rdx: 0,
            rsi: 0,
            rdi: 0,
            rbp: 0,
            cr0: 0,
            cr3: 0,
            cr4: 0,
            efer: 0,
            mtrr_def_type: MTRR_WRITE_BACK,
            cs: Segment { selector: CODE, base: 0, limit: FLAT, attr: ATTR_CODE32 },
            data: Segment { selector: DATA, base: 0, limit: FLAT, attr: ATTR_DATA },
            tr: Segment { selector: TASK, base: 0, limit: 0x67, attr: ATTR_TSS_BUSY },
            gdt: TableReg::default(),
            idt: TableReg::default(),
        }
    }
}

/// Writes an identity map of the first `gigabytes` (1..=512) with 2 MiB pages, at `at`, and
/// answers its length: one PML4, one PDPT and a page directory for each gigabyte.
pub fn write_identity_map(
    ram: &mut dyn GuestRam,
    at: u64,
    gigabytes: u64,
) -> Result<u64, BootError> {
    const PRESENT_WRITE: u64 = 0b11;
    const LARGE: u64 = 1 << 7;
    let len = identity_map_len(gigabytes);
    ram.zero(at, len)?;
    ram.write(at, &((at + 0x1000) | PRESENT_WRITE).to_le_bytes())?;
    for gb in 0..gigabytes {
        let directory = at + 0x2000 + gb * 0x1000;
        ram.write(at + 0x1000 + gb * 8, &(directory | PRESENT_WRITE).to_le_bytes())?;
        let page: Vec<u8> = (0..512u64)
            .flat_map(|i| (gb << 30 | i << 21 | PRESENT_WRITE | LARGE).to_le_bytes())
            .collect();
        ram.write(directory, &page)?;
    }
    Ok(len)
}

pub fn identity_map_len(gigabytes: u64) -> u64 {
    (2 + gigabytes) * 0x1000
}
