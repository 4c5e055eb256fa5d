//! The list of memory regions of a command.  AHCI 1.3.1, 4.2.3.3.

use device::*;
use std::ops::Range;

/// Entries read at once.
const AT_ONCE: usize = 32;

/// Moves up to `len` bytes over the list of `entries` at `table`, from its byte `skip` on: `step` gets each region's
/// address and which bytes. Gives how many bytes the list had room for.
pub fn walk(
    (table, entries): (u64, u16),
    mut skip: u64,
    len: usize,
    dma: &mut dyn Dma,
    mut step: impl FnMut(&mut dyn Dma, u64, Range<usize>) -> Result<(), DmaFault>,
) -> Result<usize, DmaFault> {
    let mut raw = [0; 16 * AT_ONCE];
    let (mut done, mut next) = (0, 0);
    while done < len && next < usize::from(entries) {
        let raw = &mut raw[..16 * AT_ONCE.min(usize::from(entries) - next)];
        dma.read(table.wrapping_add(0x80 + 16 * next as u64), raw)?;
        next += raw.len() / 16;
        for entry in raw.as_chunks::<16>().0 {
            let entry = u128::from_le_bytes(*entry);
            let (base, size) = (entry as u64 & !1, (entry >> 96) as u64 & 0x3F_FFFF);
            let size = size + 1;
            if skip >= size {
                skip -= size;
                continue;
            }
            let now = ((size - skip) as usize).min(len - done);
            step(dma, base.wrapping_add(skip), done..done + now)?;
            (done, skip) = (done + now, 0);
            if done == len {
                break;
            }
        }
    }
    Ok(done)
}
