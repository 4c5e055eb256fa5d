//! The bus master's list of memory regions.  Programming Interface for Bus Master IDE Controller 1.0, 1.2.

use device::*;

/// How a transfer ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// All was moved; whether that used up the list.
    Moved { exhausted: bool },
    /// The list was too short.
    Short,
}

/// The list may not cross a 64 KiB boundary.
const MOST: u32 = 0x1_0000 / 8;

/// Moves `len` bytes over the regions of the list at `table`: `step` gets each region's address and which bytes.
pub fn walk(
    table: u32,
    len: usize,
    dma: &mut dyn Dma,
    mut step: impl FnMut(&mut dyn Dma, u64, std::ops::Range<usize>) -> Result<(), DmaFault>,
) -> Result<End, DmaFault> {
    let mut done = 0;
    for n in 0..MOST {
        let mut entry = [0; 8];
        dma.read(u64::from(table & !3) + u64::from(8 * n), &mut entry)?;
        let entry = u64::from_le_bytes(entry);
        let (base, last) = (entry & 0xFFFF_FFFE, entry >> 63 != 0);
        let size = match entry >> 32 & 0xFFFE {
            0 => 0x1_0000,
            n => n as usize,
        };
        let now = size.min(len - done);
        step(dma, base, done..done + now)?;
        done += now;
        if done == len {
            return Ok(End::Moved { exhausted: last && now == size });
        }
        if last {
            break;
        }
    }
    Ok(End::Short)
}
