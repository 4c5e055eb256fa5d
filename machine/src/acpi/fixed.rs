//! The tables of fixed form: FACS, FADT, MADT, HPET, MCFG, WAET.

use crate::boot::{Board, Layout, Range};

/// Offsets of pointers in the FADT (ACPI 6.5, 5.2.9).
pub const FADT_FACS: usize = 36;
pub const FADT_DSDT: usize = 40;
pub const FADT_X_DSDT: usize = 140;
const FADT_LEN: usize = 276;

/// Firmware ACPI Control Structure: only its signature, length and version matter (5.2.10).
pub fn facs() -> Vec<u8> {
    let mut f = b"FACS".to_vec();
    f.extend(64u32.to_le_bytes());
    f.resize(64, 0);
    f[32] = 2;
    f
}

/// A table body under construction, addressed as the manual does: from the table's start.
struct Body(Vec<u8>);

impl Body {
    fn put(&mut self, at: usize, bytes: &[u8]) {
        let at = at - super::HEADER;
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// A port block: the 32-bit address, its length, and the same as a generic address.
    fn block(&mut self, at: usize, len_at: usize, generic_at: usize, port: u16, len: u8) {
        self.put(at, &u32::from(port).to_le_bytes());
        self.put(len_at, &[len]);
        self.generic_port(generic_at, port, len.saturating_mul(8), 0);
    }

    fn generic_port(&mut self, at: usize, port: u16, bits: u8, access: u8) {
        const SYSTEM_IO: u8 = 1;
        self.put(at, &[SYSTEM_IO, bits, 0, access]);
        self.put(at + 4, &u64::from(port).to_le_bytes());
    }
}

/// The reset port and the value that resets both PIIX3 and ICH9.
pub const RESET_PORT: u16 = 0xCF9;
const RESET_VALUE: u8 = 0x0F;

/// Flags of the FADT (table 5.10): WBINVD works; C1 on all processors; no fixed sleep button;
/// RTC wakes from S4; there is a reset register; the PM timer is a good clock.
const FADT_FLAGS: u32 = 1 << 0 | 1 << 2 | 1 << 5 | 1 << 7 | 1 << 10 | 1 << 15;

const BOOT_8042: u16 = 1 << 1;
const BOOT_NO_VGA: u16 = 1 << 2;

pub fn fadt(l: &Layout) -> Vec<u8> {
    let mut b = Body(vec![0; FADT_LEN - super::HEADER]);
    b.put(46, &u16::from(l.sci_irq).to_le_bytes());
    if let Some(smi) = l.smi {
        b.put(48, &u32::from(smi.port).to_le_bytes());
        b.put(52, &[smi.enable, smi.disable]);
    }
    b.block(56, 88, 148, l.pm_base, 4);
    b.block(64, 89, 172, l.pm_base + 4, 2);
    b.block(76, 91, 208, l.pm_base + 8, 4);
    b.block(80, 92, 220, l.gpe0, l.gpe0_len);
    // C2 and C3 latencies beyond what counts as supported.
    b.put(96, &0xFFFu16.to_le_bytes());
    b.put(98, &0xFFFu16.to_le_bytes());
    b.put(108, &[0x32]); // the century's byte in CMOS
    let mut arch = 0;
    if l.ps2 {
        arch |= BOOT_8042;
    }
    if !l.vga {
        arch |= BOOT_NO_VGA;
    }
    b.put(109, &arch.to_le_bytes());
    b.put(112, &FADT_FLAGS.to_le_bytes());
    b.generic_port(116, RESET_PORT, 8, 1);
    b.put(128, &[RESET_VALUE]);
    b.0
}

/// Interrupt source override flags: active high, level triggered (5.2.12.5).
const LEVEL_HIGH: u16 = 0b1101;

/// Multiple APIC Description Table (5.2.12).
pub fn madt(l: &Layout) -> Vec<u8> {
    const PCAT_COMPAT: u32 = 1;
    const ENABLED: u32 = 1;
    let mut t = l.local_apic.to_le_bytes().to_vec();
    t.extend(PCAT_COMPAT.to_le_bytes());
    let mut any_wide = false;
    for (uid, &id) in l.apic_ids.iter().enumerate() {
        let flags = if uid < l.present { ENABLED } else { 0 };
        match (u8::try_from(uid), u8::try_from(id)) {
            (Ok(uid), Ok(id)) if uid < 255 && id < 255 => {
                t.extend([0, 8, uid, id]);
                t.extend(flags.to_le_bytes());
            }
            _ => {
                any_wide = true;
                t.extend([9, 16, 0, 0]);
                t.extend(id.to_le_bytes());
                t.extend(flags.to_le_bytes());
                t.extend((uid as u32).to_le_bytes());
            }
        }
    }
    t.extend([1, 12, l.io_apic_id, 0]);
    t.extend(l.io_apic.to_le_bytes());
    t.extend(0u32.to_le_bytes());
    // The timer comes in at pin 2; the interrupts that PCI shares are level ones.
    for (irq, pin, flags) in [
        (0u8, 2u32, 0),
        (5, 5, LEVEL_HIGH),
        (9, 9, LEVEL_HIGH),
        (10, 10, LEVEL_HIGH),
        (11, 11, LEVEL_HIGH),
    ] {
        t.extend([2, 10, 0, irq]);
        t.extend(pin.to_le_bytes());
        t.extend(flags.to_le_bytes());
    }
    // NMI at LINT1 of all processors.
    t.extend([4, 6, 0xFF, 0, 0, 1]);
    if any_wide {
        t.extend([10, 12, 0, 0]);
        t.extend(u32::MAX.to_le_bytes());
        t.extend([1, 0, 0, 0]);
    }
    t
}

/// High Precision Event Timer table (IA-PC HPET 1.0a, 3.2.4): three comparators, 64-bit, able to
/// stand in for the PIT and RTC.
pub fn hpet(base: u32) -> Vec<u8> {
    const BLOCK_ID: u32 = 0x8086_A201;
    let mut t = BLOCK_ID.to_le_bytes().to_vec();
    t.extend([0, 0, 0, 0]); // system memory
    t.extend(u64::from(base).to_le_bytes());
    t.extend([0; 4]);
    t
}

/// PCI Express memory-mapped configuration space (PCI Firmware 3.3, 4.1.2).
pub fn mcfg(ecam: &Range) -> Vec<u8> {
    let last_bus = (ecam.len() >> 20).clamp(1, 256) - 1;
    let mut t = vec![0; 8];
    t.extend(ecam.start.to_le_bytes());
    t.extend([0, 0, 0, last_bus as u8]);
    t.extend([0; 4]);
    t
}

/// Windows ACPI Emulated Devices Table: one read of the PM timer is enough.
pub fn waet() -> Vec<u8> {
    2u32.to_le_bytes().to_vec()
}

/// The device and function number of the PCI-to-ISA bridge, as an ACPI `_ADR`.
pub fn isa_bridge(board: Board) -> u32 {
    match board {
        Board::Q35 => 0x001F_0000,
        Board::Pc => 0x0001_0000,
    }
}
