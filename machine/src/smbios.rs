//! SMBIOS tables (DSP0134 3.0): who made the machine, its processors and its memory.
//!
//! Two entry points, 2.8 and 3.0, lead to the same structures.

use crate::acpi::checksum;
use crate::boot::firmware::HANDLERS;
use crate::boot::{BootError, Layout, Range};

const MAKER: &str = "Reprise";
const VERSION: &str = env!("CARGO_PKG_VERSION");
const DATE: &str = "01/01/2026";

/// Memory is shown as modules of this size.
const MODULE: u64 = 16 << 30;
const FOUR_GB: u64 = 4 << 30;

const HANDLE_PROCESSOR: u16 = 0x400;
const HANDLE_ARRAY: u16 = 0x1000;
const HANDLE_MODULE: u16 = 0x1100;
const HANDLE_RANGE: u16 = 0x1300;
const NO_HANDLE: u16 = 0xFFFE;

/// The structures, and what the entry points say about them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Smbios {
    pub structures: Vec<u8>,
    pub count: u16,
    pub longest: u16,
}

/// The entry points at `at` (16-byte aligned) and the structures behind them, as (address, bytes).
pub fn place(layout: &Layout, at: u64) -> Result<Vec<(u64, Vec<u8>)>, BootError> {
    const SECOND: u64 = 0x20;
    const FIRST_STRUCTURE: u64 = 0x40;
    let all = build(layout)?;
    let table = at + FIRST_STRUCTURE;
    let room = HANDLERS.saturating_sub(table);
    if all.structures.len() as u64 > room {
        let why = format!(
            "SMBIOS tables of {} bytes for {} sockets, {room} fit",
            all.structures.len(),
            layout.topology.sockets
        );
        return Err(BootError::Layout(why));
    }
    Ok(vec![
        (at, entry_2_8(&all, table as u32)),
        (at + SECOND, entry_3_0(&all, table)),
        (table, all.structures),
    ])
}

/// 32-bit entry point (5.2.1).
pub fn entry_2_8(all: &Smbios, table: u32) -> Vec<u8> {
    let mut e = b"_SM_".to_vec();
    e.extend([0, 0x1F, 2, 8]);
    e.extend(all.longest.to_le_bytes());
    e.extend([0; 6]);
    e.extend(b"_DMI_\0");
    e.extend((all.structures.len() as u16).to_le_bytes());
    e.extend(table.to_le_bytes());
    e.extend(all.count.to_le_bytes());
    e.push(0x28);
    e[0x15] = checksum(&e[0x10..]);
    e[4] = checksum(&e);
    e
}

/// 64-bit entry point (5.2.2).
pub fn entry_3_0(all: &Smbios, table: u64) -> Vec<u8> {
    let mut e = b"_SM3_".to_vec();
    e.extend([0, 0x18, 3, 0, 0, 1, 0]);
    e.extend((all.structures.len() as u32).to_le_bytes());
    e.extend(table.to_le_bytes());
    e[5] = checksum(&e);
    e
}

pub fn build(l: &Layout) -> Result<Smbios, BootError> {
    let mut all = Smbios::default();
    all.add(bios());
    all.add(system(l));
    all.add(chassis());
    for socket in 0..l.topology.sockets {
        all.add(processor(l, socket as u16));
    }
    let ranges: Vec<Range> = [Range::sized(0, l.ram_low), Range::sized(FOUR_GB, l.ram_high)]
        .into_iter()
        .filter(|r| !r.is_empty())
        .collect();
    let total = l.ram_low + l.ram_high;
    let modules = total.div_ceil(MODULE);
    // Handles of modules end where those of ranges begin.
    if modules > u64::from(HANDLE_RANGE - HANDLE_MODULE) {
        return Err(BootError::Layout(format!("{total} bytes of RAM, 8 TiB can be described")));
    }
    all.add(array(total, modules as u16));
    for n in 0..modules {
        all.add(module(n as u16, (total - n * MODULE).min(MODULE)));
    }
    for (n, range) in ranges.iter().enumerate() {
        all.add(mapped(HANDLE_RANGE + n as u16, range));
    }
    all.add(Structure::new(32, 0x2000, 0x0B));
    all.add(Structure::new(127, 0x7F00, 4));
    Ok(all)
}

impl Smbios {
    fn add(&mut self, s: Structure) {
        let bytes = s.finish();
        self.longest = self.longest.max(bytes.len() as u16);
        self.count = self.count.saturating_add(1);
        self.structures.extend(bytes);
    }
}

/// One structure: a formatted part addressed by the manual's offsets, and its strings.
struct Structure {
    fixed: Vec<u8>,
    strings: Vec<u8>,
    last: u8,
}

impl Structure {
    fn new(kind: u8, handle: u16, len: u8) -> Self {
        let mut fixed = vec![0; usize::from(len)];
        fixed[0] = kind;
        fixed[1] = len;
        fixed[2..4].copy_from_slice(&handle.to_le_bytes());
        Structure { fixed, strings: Vec::new(), last: 0 }
    }

    fn put(mut self, at: usize, bytes: &[u8]) -> Self {
        self.fixed[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// Adds a string and puts its number at `at`. A NUL would end it early and is left out.
    fn text(mut self, at: usize, text: &str) -> Self {
        if text.is_empty() {
            return self;
        }
        self.last += 1;
        self.fixed[at] = self.last;
        self.strings.extend(text.bytes().filter(|b| *b != 0));
        self.strings.push(0);
        self
    }

    fn finish(mut self) -> Vec<u8> {
        if self.strings.is_empty() {
            self.strings.push(0);
        }
        self.strings.push(0);
        self.fixed.extend(self.strings);
        self.fixed
    }
}

/// Type 0 (7.1).
fn bios() -> Structure {
    const NOT_SUPPORTED: u64 = 1 << 3;
    /// Second extension byte: targeted content distribution, and "this is a virtual machine".
    const VIRTUAL_MACHINE: u8 = 1 << 2 | 1 << 4;
    Structure::new(0, 0, 0x18)
        .text(4, MAKER)
        .text(5, VERSION)
        .put(6, &0xF000u16.to_le_bytes())
        .text(8, DATE)
        .put(0x0A, &NOT_SUPPORTED.to_le_bytes())
        .put(0x13, &[VIRTUAL_MACHINE])
        .put(0x16, &[0xFF, 0xFF])
}

/// Type 1 (7.2).
fn system(l: &Layout) -> Structure {
    const POWER_SWITCH: u8 = 6;
    Structure::new(1, 0x100, 0x1B)
        .text(4, MAKER)
        .text(5, &l.name)
        .text(6, VERSION)
        .put(8, &l.uuid)
        .put(0x18, &[POWER_SWITCH])
}

/// Type 3 (7.4): kind "other", all states "safe", security "unknown".
fn chassis() -> Structure {
    Structure::new(3, 0x300, 0x16)
        .text(4, MAKER)
        .put(5, &[1])
        .text(6, VERSION)
        .put(9, &[3, 3, 3, 2])
}

/// Type 4 (7.5): one a socket.
fn processor(l: &Layout, socket: u16) -> Structure {
    const CENTRAL: u8 = 3;
    const SEE_FAMILY_2: u8 = 0xFE;
    const OTHER: u8 = 1;
    const POPULATED_ENABLED: u8 = 0x41;
    /// 64-bit capable; several cores; several threads a core (7.5.9).
    const CAPABLE_64: u16 = 1 << 2;
    const MULTI_CORE: u16 = 1 << 3;
    const MULTI_THREAD: u16 = 1 << 4;
    let t = &l.topology;
    let (cores, threads) = (t.cores, t.cores.saturating_mul(t.threads));
    // One byte holds up to 254; 255 sends to the two-byte fields.
    let byte = |n: u32| n.min(255) as u8;
    let word = |n: u32| (n.min(0xFFFE) as u16).to_le_bytes();
    let mut can = if l.long_mode { CAPABLE_64 } else { 0 };
    if t.cores > 1 {
        can |= MULTI_CORE;
    }
    if t.threads > 1 {
        can |= MULTI_THREAD;
    }
    Structure::new(4, HANDLE_PROCESSOR.wrapping_add(socket), 0x30)
        .text(4, &format!("CPU {socket}"))
        .put(5, &[CENTRAL, SEE_FAMILY_2])
        .text(7, MAKER)
        .put(8, &l.cpu_id[0].to_le_bytes())
        .put(12, &l.cpu_id[1].to_le_bytes())
        .text(0x10, &l.name)
        .put(0x14, &2000u16.to_le_bytes())
        .put(0x16, &2000u16.to_le_bytes())
        .put(0x18, &[POPULATED_ENABLED, OTHER])
        .put(0x1A, &[0xFF; 6])
        .put(0x23, &[byte(cores), byte(cores), byte(threads)])
        .put(0x26, &can.to_le_bytes())
        .put(0x28, &u16::from(OTHER).to_le_bytes())
        .put(0x2A, &word(cores))
        .put(0x2C, &word(cores))
        .put(0x2E, &word(threads))
}

/// Type 16 (7.17).
fn array(total: u64, modules: u16) -> Structure {
    const SYSTEM_MEMORY: u8 = 3;
    const MULTI_BIT_ECC: u8 = 6;
    const SEE_EXTENDED: u32 = 0x8000_0000;
    let kb = total >> 10;
    let (short, long) = match u32::try_from(kb) {
        Ok(kb) if kb < SEE_EXTENDED => (kb, 0),
        _ => (SEE_EXTENDED, total),
    };
    Structure::new(16, HANDLE_ARRAY, 0x17)
        .put(4, &[1, SYSTEM_MEMORY, MULTI_BIT_ECC])
        .put(7, &short.to_le_bytes())
        .put(0x0B, &NO_HANDLE.to_le_bytes())
        .put(0x0D, &modules.to_le_bytes())
        .put(0x0F, &long.to_le_bytes())
}

/// Type 17 (7.18). At most 16 GiB, so the short size field in MiB is enough.
fn module(n: u16, size: u64) -> Structure {
    const DIMM: u8 = 9;
    const RAM: u8 = 7;
    const DETAIL_OTHER: u16 = 2;
    Structure::new(17, HANDLE_MODULE + n, 0x28)
        .put(4, &HANDLE_ARRAY.to_le_bytes())
        .put(6, &NO_HANDLE.to_le_bytes())
        .put(8, &[0xFF; 4])
        .put(0x0C, &((size >> 20) as u16).to_le_bytes())
        .put(0x0E, &[DIMM, 0])
        .text(0x10, &format!("DIMM {n}"))
        .put(0x12, &[RAM])
        .put(0x13, &DETAIL_OTHER.to_le_bytes())
        .text(0x17, MAKER)
}

/// Type 19 (7.20): in KiB with an inclusive end, or in bytes where that is too small.
fn mapped(handle: u16, range: &Range) -> Structure {
    let s = Structure::new(19, handle, 0x1F).put(0x0C, &HANDLE_ARRAY.to_le_bytes()).put(0x0E, &[1]);
    let last = (range.end >> 10) - 1;
    match u32::try_from(last) {
        Ok(last) if last != u32::MAX => {
            s.put(4, &((range.start >> 10) as u32).to_le_bytes()).put(8, &last.to_le_bytes())
        }
        _ => s
            .put(4, &[0xFF; 8])
            .put(0x0F, &range.start.to_le_bytes())
            .put(0x17, &(range.end - 1).to_le_bytes()),
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::boot::Board;

    fn sum(bytes: &[u8]) -> u8 {
        bytes.iter().fold(0, |s: u8, b| s.wrapping_add(*b))
    }

    /// Walks the structures as a system does: formatted part, strings, double NUL.
    fn walk(bytes: &[u8]) -> Vec<(u8, Vec<u8>, Vec<String>)> {
        let mut all = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let len = usize::from(bytes[at + 1]);
            let fixed = bytes[at..at + len].to_vec();
            let mut end = at + len;
            while bytes[end..end + 2] != [0, 0] {
                end += 1;
            }
            let text = String::from_utf8(bytes[at + len..end].to_vec()).unwrap();
            all.push((fixed[0], fixed, text.split('\0').map(str::to_owned).collect()));
            at = end + 2;
        }
        all
    }

    #[test]
    fn both_entry_points_add_up_and_lead_to_the_structures() {
        let mut l = Layout::new(Board::Q35, 256 << 20, 2);
        l.topology = crate::boot::Topology { sockets: 2, cores: 1, threads: 1 };
        let parts = place(&l, 0xF_0040).unwrap();
        let (old, new, table) = (&parts[0].1, &parts[1].1, &parts[2]);
        assert_eq!((old.len(), new.len()), (0x1F, 0x18));
        assert_eq!((sum(old), sum(&old[0x10..]), sum(new)), (0, 0, 0));
        assert_eq!(u32::from_le_bytes(old[0x18..0x1C].try_into().unwrap()) as u64, table.0);
        assert_eq!(u64::from_le_bytes(new[0x10..0x18].try_into().unwrap()), table.0);
        let all = walk(&table.1);
        assert_eq!(u16::from_le_bytes([old[0x1C], old[0x1D]]) as usize, all.len());
        let kinds: Vec<u8> = all.iter().map(|s| s.0).collect();
        assert_eq!(kinds, [0, 1, 3, 4, 4, 16, 17, 19, 32, 127]);
        assert!(parts.windows(2).all(|w| w[0].0 + w[0].1.len() as u64 <= w[1].0));
    }

    #[test]
    fn memory_adds_up_whatever_its_size() {
        for (ram, modules, ranges) in
            [(64u64 << 20, 1, 1), (16 << 30, 1, 2), (100 << 30, 7, 2), (5 << 40, 320, 2)]
        {
            let l = Layout::new(Board::Pc, ram, 1);
            let all = walk(&build(&l).unwrap().structures);
            let sizes = all.iter().filter(|s| s.0 == 17);
            let sizes: Vec<u64> =
                sizes.map(|s| u64::from(u16::from_le_bytes([s.1[0xC], s.1[0xD]])) << 20).collect();
            assert_eq!((sizes.len(), sizes.iter().sum::<u64>()), (modules, ram));
            assert_eq!(all.iter().filter(|s| s.0 == 19).count(), ranges);
        }
    }

    #[test]
    fn processors_have_their_cpuid() {
        let mut l = Layout::new(Board::Pc, 1 << 30, 1);
        l.cpu_id = [0x663, 0x0FCB_FBFD];
        let all = walk(&build(&l).unwrap().structures);
        let cpu = &all.iter().find(|s| s.0 == 4).unwrap().1;
        assert_eq!(cpu[8..16], [0x63, 6, 0, 0, 0xFD, 0xFB, 0xCB, 0x0F]);
    }

    #[test]
    fn more_than_254_cores_use_the_wide_fields() {
        let l = Layout::new(Board::Q35, 1 << 30, 300);
        let all = walk(&build(&l).unwrap().structures);
        let cpu = &all.iter().find(|s| s.0 == 4).unwrap().1;
        assert_eq!(cpu[0x23], 255);
        assert_eq!(u16::from_le_bytes([cpu[0x2A], cpu[0x2B]]), 300);
    }
}
