//! Enough ACPI to switch off: RSDP, FADT, \_S5 in the DSDT, PM1a control.  ACPI 6.5, 5.2 and 16.1.6.

use crate::port::{read16, write16};

/// `len` bytes of physical memory below 4 GiB.
fn bytes(at: u64, len: usize) -> Option<&'static [u8]> {
    let end = at.checked_add(len as u64)?;
    // SAFETY: all of the first 4 GiB is mapped, and tables do not change.
    (at != 0 && end <= 1 << 32)
        .then(|| unsafe { core::slice::from_raw_parts(at as *const u8, len) })
}

fn number(table: &[u8], at: usize, len: usize) -> Option<u64> {
    let bytes = table.get(at..at + len)?;
    Some(bytes.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)))
}

/// A table with its header, its checksum being right.
fn table(at: u64) -> Option<&'static [u8]> {
    let len = number(bytes(at, 36)?, 4, 4)? as usize;
    let all = bytes(at, len.min(1 << 20))?;
    (all.iter().fold(0u8, |sum, b| sum.wrapping_add(*b)) == 0).then_some(all)
}

/// The RSDP that the loader named, or the one in the firmware's segment.
fn rsdp(named: u64) -> Option<&'static [u8]> {
    let at = |at| bytes(at, 36).filter(|b| b.starts_with(b"RSD PTR "));
    at(named).or_else(|| (0xE_0000..0x10_0000).step_by(16).find_map(at))
}

fn find(rsdp: &[u8], name: &[u8]) -> Option<&'static [u8]> {
    let (root, size) = match number(rsdp, 15, 1)? {
        0 => (table(number(rsdp, 16, 4)?)?, 4),
        _ => (table(number(rsdp, 24, 8)?)?, 8),
    };
    let mut entries = root[36..].chunks_exact(size).filter_map(|e| table(number(e, 0, size)?));
    entries.find(|t| t.starts_with(name))
}

/// The number after `\_S5 = Package (n) {`, as iasl and we write it.
fn sleep_type(dsdt: &[u8]) -> Option<u16> {
    let at = dsdt.windows(5).position(|w| w == b"_S5_\x12")? + 5;
    let length_bytes = 1 + usize::from(*dsdt.get(at)? >> 6);
    let value = dsdt.get(at + length_bytes + 1..)?;
    match *value.first()? {
        0x0A => value.get(1).map(|n| u16::from(*n)),
        n @ (0 | 1) => Some(u16::from(n)),
        _ => None,
    }
}

/// Switches the machine off; comes back, with `None`, only if that cannot be done.
pub fn power_off(named: u64) -> Option<()> {
    let fadt = find(rsdp(named)?, b"FACP")?;
    let kind = sleep_type(table(number(fadt, 40, 4)?)?)?;
    let control = number(fadt, 64, 4)? as u16;
    write16(control, read16(control) & !0x3C00 | kind << 10 | 1 << 13);
    None
}
