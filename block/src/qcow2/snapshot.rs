//! Snapshots inside an image: they are listed and kept as they are.  QEMU docs/interop/qcow2.txt, "Snapshots".

use super::alloc::read_padded;
use super::header::{Header, MOST_L1};
use crate::Image;
use crate::bytes::{u16_at, u32_at, u64_at};

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub id: String,
    pub name: String,
    /// Bytes of the machine's state that are kept with it.
    pub vm_state: u64,
    /// Seconds since 1970, and nanoseconds.
    pub date: (u32, u32),
    /// Nanoseconds that the guest had run.
    pub vm_clock: u64,
    /// Length of the disk.
    pub size: u64,
    l1_at: u64,
    l1_size: u32,
    /// Bytes of its entry in the table.
    entry: u64,
}

/// Bytes of the table; QEMU's limit.
const MOST: u64 = 64 << 20;

/// Reads the snapshot table.
pub fn list(file: &dyn Image, h: &Header) -> Result<Vec<Snapshot>, String> {
    let mut all = Vec::new();
    let mut at = h.snapshots_at;
    for n in 0..h.snapshots {
        let bad = |what: &str| format!("snapshot {}: {what}", n + 1);
        if at >= file.info().len || at - h.snapshots_at > MOST {
            return Err(bad("the table is cut off"));
        }
        let mut fixed = [0; 40];
        read_padded(file, at, &mut fixed).map_err(|e| bad(&e.to_string()))?;
        let (id, name) = (u16_at(&fixed, 12) as usize, u16_at(&fixed, 14) as usize);
        let extra = u32_at(&fixed, 36) as usize;
        if extra > 1024 {
            return Err(bad("too much extra data"));
        }
        let mut rest = vec![0; extra + id + name];
        read_padded(file, at + 40, &mut rest).map_err(|e| bad(&e.to_string()))?;
        let text = |from: usize, len| String::from_utf8_lossy(&rest[from..from + len]).into_owned();
        let entry = (40 + rest.len() as u64).next_multiple_of(8);
        let s = Snapshot {
            id: text(extra, id),
            name: text(extra + id, name),
            vm_state: if extra >= 8 { u64_at(&rest, 0) } else { u32_at(&fixed, 32) as u64 },
            date: (u32_at(&fixed, 16), u32_at(&fixed, 20)),
            vm_clock: u64_at(&fixed, 24),
            size: if extra >= 16 { u64_at(&rest, 8) } else { h.size },
            l1_at: u64_at(&fixed, 0),
            l1_size: u32_at(&fixed, 8),
            entry,
        };
        if s.l1_size as u64 * 8 > MOST_L1 || s.l1_at >= 1 << 56 {
            return Err(bad("its L1 table makes no sense"));
        }
        at += entry;
        all.push(s);
    }
    Ok(all)
}

/// Where the table and the snapshots' L1 tables are: place and length.
pub fn places<'a>(h: &Header, all: &'a [Snapshot]) -> impl Iterator<Item = (u64, u64)> + use<'a> {
    let table = all.iter().map(|s| s.entry).sum();
    let one = (h.snapshots_at, table);
    // Tables of many snapshots could be many bytes: what matters is that memory is bounded.
    let mut left = MOST_L1 * 4;
    let l1 = all.iter().map(|s| (s.l1_at, s.l1_size as u64 * 8)).take_while(move |s| {
        left = left.saturating_sub(s.1);
        left > 0
    });
    (table > 0).then_some(one).into_iter().chain(l1)
}
