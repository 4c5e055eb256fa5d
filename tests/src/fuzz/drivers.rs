//! What `fuzz-devices` does to the functions it finds: a small firmware, and drivers gone mad.

use super::devices::ConfigSpace;
use super::rack::{self, FLASH};
use super::script::{Script, Step};
use device::Width::{self, *};

/// A function that was found, with its places: in memory or among the ports, and how long.
pub struct Found {
    /// Bus, device and function, as configuration addresses have them.
    at: u64,
    id: u64,
    class: u64,
    bars: Vec<(bool, u64, u64)>,
}

/// Where the next BAR and bus go.
struct Free {
    memory: u64,
    ports: u64,
    bus: u64,
}

impl Found {
    /// Finds all functions, and gives each a place.
    pub fn all(act: &mut dyn FnMut(Step) -> Result<u64, String>) -> Result<Vec<Found>, String> {
        let mut free = Free { memory: 0xE000_0000, ports: 0xC000, bus: 0 };
        let mut all = Vec::new();
        bus(&mut ConfigSpace(act), 0, &mut free, &mut all)?;
        Ok(all)
    }
    fn bar(&self, n: usize) -> u64 {
        self.bars.get(n).map_or(0, |b| b.1)
    }
}

fn bus(
    c: &mut ConfigSpace,
    number: u64,
    free: &mut Free,
    all: &mut Vec<Found>,
) -> Result<(), String> {
    for devfn in 0..256 {
        let at = number << 8 | devfn;
        let id = c.read(at, 0)?;
        if id & 0xFFFF == 0xFFFF {
            continue;
        }
        let (class, header) = (c.read(at, 8)? >> 16, c.read(at, 0xC)? >> 16 & 0x7F);
        let mut bars = Vec::new();
        let mut n = 0;
        while n < if header == 1 { 2 } else { 6 } {
            bars.push(bar(c, at, n, free)?);
            n += if bars[bars.len() - 1].2 == 0 { 1 } else { wide(c, at, n)? };
        }
        if header == 1 {
            bridge(c, at, number, free, all)?;
        }
        c.write(at, 4, 7)?;
        all.push(Found { at, id, class, bars });
    }
    Ok(())
}

/// How many registers a BAR takes.
fn wide(c: &mut ConfigSpace, at: u64, n: u64) -> Result<u64, String> {
    Ok(if c.read(at, 0x10 + 4 * n)? & 7 == 4 { 2 } else { 1 })
}

fn bar(c: &mut ConfigSpace, at: u64, n: u64, free: &mut Free) -> Result<(bool, u64, u64), String> {
    c.write(at, 0x10 + 4 * n, 0xFFFF_FFFF)?;
    let mask = c.read(at, 0x10 + 4 * n)?;
    let port = mask & 1 == 1;
    let low = mask & if port { 0xFFFC } else { 0xFFFF_FFF0 };
    if low == 0 {
        return Ok((false, 0, 0));
    }
    let len = low & low.wrapping_neg();
    let next = if port { &mut free.ports } else { &mut free.memory };
    let base = next.next_multiple_of(len);
    *next = base + len;
    c.write(at, 0x10 + 4 * n, base)?;
    if !port && mask & 7 == 4 {
        c.write(at, 0x14 + 4 * n, 0)?;
    }
    Ok((port, base, len))
}

fn bridge(
    c: &mut ConfigSpace,
    at: u64,
    number: u64,
    free: &mut Free,
    all: &mut Vec<Found>,
) -> Result<(), String> {
    free.bus += 1;
    let second = free.bus;
    c.write(at, 0x18, number | second << 8 | 0xFF << 16)?;
    free.memory = free.memory.next_multiple_of(1 << 20);
    free.ports = free.ports.next_multiple_of(0x1000);
    let (memory, ports) = (free.memory, free.ports);
    bus(c, second, free, all)?;
    free.memory = (free.memory + 1).next_multiple_of(1 << 20);
    free.ports = (free.ports + 1).next_multiple_of(0x1000);
    c.write(at, 0x18, number | second << 8 | free.bus << 16)?;
    c.write(at, 0x1C, ports >> 8 | free.ports - 0x1000)?;
    c.write(at, 0x20, memory >> 16 | free.memory - (1 << 20))?;
    c.write(at, 0x24, 0xFFF0)
}

/// Where drivers put their tables and data.
const TABLES: u64 = 0x2_0000;
const DATA: u64 = 0x10_0000;

/// Commands of ATA: some of each kind.
const ATA: [u64; 28] = [
    0x20, 0x24, 0x25, 0x29, 0x30, 0x34, 0x35, 0x39, 0x3D, 0x40, 0xC4, 0xC5, 0xC6, 0xC8, 0xCA, 0xE7,
    0xEA, 0xEC, 0xA0, 0xA1, 0xEF, 0xB0, 0x06, 0x60, 0x61, 0x2F, 0x08, 0xE0,
];
/// Commands of CD drives.
const PACKETS: [u8; 16] = [
    0x00, 0x03, 0x12, 0x1B, 0x1E, 0x25, 0x28, 0x43, 0x46, 0x4A, 0x51, 0x52, 0x5A, 0xA8, 0xBD, 0xBE,
];

/// Drivers that are out of their minds.
pub struct Mad {
    found: Vec<Found>,
    q35: bool,
    /// How far available rings are.
    offered: u16,
}

impl Mad {
    pub fn new(found: Vec<Found>, q35: bool) -> Mad {
        Mad { found, q35, offered: 0 }
    }

    /// The next steps.
    pub fn next(&mut self, s: &mut Script, out: &mut Vec<Step>) {
        match s.r.below(100) {
            0..20 => s.next(out),
            20..40 if self.q35 => self.ahci(s, out),
            20..40 => self.ide(s, out),
            40..58 => self.virtio(s, out),
            58..75 => self.poke(s, out),
            75..80 => self.configure(s, out),
            80..86 => vga(s, out),
            86..89 => flash(s, out),
            89..97 => {
                let longest = s.r.pick(&[1000u64, 200_000, 10_000_000]);
                out.push(Step::Wait(s.r.below(longest)));
            }
            97 => out.push(Step::Retry),
            _ if s.r.below(4) != 0 => {}
            _ => match s.r.below(3) {
                0 => out.push(Step::Plug(rack::spare(self.q35, s.r.below(2)))),
                1 => out.push(Step::Unplug("x")),
                _ => out.push(Step::Unplug(s.r.pick(&["v", "w", "r"]))),
            },
        }
    }

    fn of_class(&self, class: u64) -> Option<&Found> {
        self.found.iter().find(|f| f.class == class)
    }

    /// A command by the task file, and what moves its data.
    fn ide(&self, s: &mut Script, out: &mut Vec<Step>) {
        let master = self.of_class(0x0101).map_or(0, |f| f.bar(4));
        let second = s.r.below(2);
        let port = [0x1F0u16, 0x170][second as usize];
        let master = (master + 8 * second) as u16;
        let list = TABLES + s.r.below(4) * 0x7F8;
        out.push(Step::Put(list, regions(s, 8)));
        out.push(Step::PortWrite(master + 4, W32, list));
        let (command, to_disk) = (command(s), s.r.below(2) << 3);
        out.push(Step::PortWrite(master, W8, to_disk));
        out.push(Step::PortWrite(port + 6, W8, 0xE0 | s.r.below(2) << 4));
        for _ in 0..1 + s.r.below(2) {
            for n in 1..6 {
                let v = if n == 2 { s.r.below(20) } else { place(s) };
                out.push(Step::PortWrite(port + n, W8, v & 0xFF));
            }
        }
        out.push(Step::PortWrite(port + 7, W8, command));
        if command == 0xA0 {
            let packet = packet(s);
            for word in packet.chunks(2) {
                let word = u64::from(word[0]) | u64::from(word[1]) << 8;
                out.push(Step::PortWrite(port, W16, word));
            }
        }
        if s.r.below(4) != 0 {
            out.push(Step::PortWrite(master, W8, to_disk | 1));
        }
        out.push(Step::Wait(s.r.below(1_000_000)));
        for _ in 0..s.r.below(300) * s.r.below(2) {
            let w = s.r.pick(&[W16, W32]);
            let read = s.r.below(2) == 0;
            out.push(if read { Step::PortRead(port, w) } else { Step::PortWrite(port, w, 0x5A) });
        }
        out.push(Step::PortRead(port + 7, W8));
        out.push(Step::PortRead(master + 2, W8));
        out.push(Step::PortWrite(master + 2, W8, s.value() & 0xFF));
    }

    /// Command slots with their tables, and the bits that start them.
    fn ahci(&self, s: &mut Script, out: &mut Vec<Step>) {
        let base = self.of_class(0x0106).map_or(0, |f| f.bar(5));
        let n = s.r.below(3);
        let port = base + 0x100 + 0x80 * n;
        let list = TABLES + 0x4000 * n;
        let mut slots = 0;
        for _ in 0..1 + s.r.below(4) {
            let slot = s.r.below(6);
            slots |= 1 << slot;
            let table = list + 0x1000 + 0x400 * slot;
            let count = s.r.below(8);
            let command = command(s);
            let atapi = u64::from(command == 0xA0) << 5;
            let length = if s.r.below(20) == 0 { s.r.below(32) } else { 5 };
            let head = length | atapi | s.r.below(2) << 6 | count << 16;
            let mut header = head.to_le_bytes()[..4].to_vec();
            header.extend([0; 4]);
            header.extend(table.to_le_bytes());
            out.push(Step::Put(list + 32 * slot, header));
            let mut bytes = vec![0x27, 0x80, command as u8, slot as u8];
            for n in 0..16 {
                let v = if n == 9 { slot << 3 } else { place(s) & 0xFF };
                bytes.push(v as u8);
            }
            (bytes[7], bytes[8], bytes[10]) = (0x40, 0, 0);
            bytes.resize(0x40, 0);
            bytes.extend(packet(s));
            bytes.resize(0x80, 0);
            bytes.extend(regions(s, 16));
            out.push(Step::Put(table, bytes));
        }
        if s.r.below(3) == 0 {
            let set = [(0x00, list), (0x04, 0), (0x08, list + 0x400), (0x0C, 0), (0x14, !0)];
            out.push(Step::Write(base + 4, W32, 1 << 31 | 2));
            out.extend(set.map(|(at, v)| Step::Write(port + at, W32, v & 0xFFFF_FFFF)));
            out.push(Step::Write(port + 0x18, W32, 0x17));
        }
        if s.r.below(3) == 0 {
            out.push(Step::Write(port + 0x34, W32, slots));
        }
        out.push(Step::Write(port + 0x38, W32, slots));
        out.push(Step::Wait(s.r.below(1_000_000)));
        if s.r.below(4) == 0 {
            // Off and on again, as after an error.
            out.push(Step::Write(port + 0x18, W32, s.r.pick(&[0x16, 0x06, 0x1E])));
            out.push(Step::Write(port + 0x30, W32, 0xFFFF_FFFF));
            out.push(Step::Write(port + 0x18, W32, 0x17));
        }
        out.push(Step::Read(port + 0x10, W32));
        out.push(Step::Write(port + 0x10, W32, s.value() & 0xFFFF_FFFF));
    }

    /// Rings with chains that are almost good.
    fn virtio(&mut self, s: &mut Script, out: &mut Vec<Step>) {
        let all: Vec<_> = self.found.iter().filter(|f| f.id & 0xFFFF == 0x1AF4).collect();
        let Some(n) = (!all.is_empty()).then(|| s.r.below(all.len() as u64)) else { return };
        let common = all[n as usize].bar(4);
        let queue = s.r.below(3);
        let ring = TABLES + 0x1_0000 + 0x1000 * n + 0x400 * queue;
        if s.r.below(4) == 0 {
            let features = s.r.next();
            #[rustfmt::skip]
            let set = [
                (0x14, W8, 0), (0x14, W8, 3), (8, W32, 0), (0xC, W32, features & 0xFFFF_FFFF), (8, W32, 1), (0xC, W32, 1),
                (0x14, W8, 0xB), (0x10, W16, features >> 40 & 3),
            ];
            out.extend(set.map(|(at, w, v)| Step::Write(common + at, w, v)));
            for queue in 0..3 {
                let ring = TABLES + 0x1_0000 + 0x1000 * n + 0x400 * queue;
                #[rustfmt::skip]
                let set = [
                    (0x16, W16, queue), (0x18, W16, 8), (0x1A, W16, queue), (0x20, W32, ring), (0x24, W32, 0),
                    (0x28, W32, ring + 0x100), (0x2C, W32, 0), (0x30, W32, ring + 0x200), (0x34, W32, 0), (0x1C, W16, 1),
                ];
                out.extend(set.map(|(at, w, v)| Step::Write(common + at, w, v)));
            }
            out.push(Step::Write(common + 0x14, W8, 0xF));
        }
        let header = DATA + 0x1000 * s.r.below(8);
        let kind = s.r.pick(&[0u32, 1, 4, 8, 11, 13, 7]);
        let mut bytes = kind.to_le_bytes().to_vec();
        bytes.extend([0; 4]);
        bytes.extend(place(s).to_le_bytes());
        out.push(Step::Put(header, bytes));
        let mut table = Vec::new();
        for n in 0..8u64 {
            let (at, len, flags) = match n % 3 {
                0 => (header, 16, 1),
                1 => (
                    target(s),
                    s.r.pick(&[16u64, 512, 1024, 4096, 0x1_0000]),
                    1 | s.r.below(2) << 1,
                ),
                _ => (DATA + 0x8000 + n, 1, 2),
            };
            let odd = s.r.below(20) == 0;
            let flags = if odd { s.r.below(8) } else { flags };
            table.extend(at.to_le_bytes());
            table.extend((len as u32).to_le_bytes());
            table.extend((flags as u16).to_le_bytes());
            table.extend(((n + 1) as u16 % 8).to_le_bytes());
        }
        out.push(Step::Put(ring, table));
        self.offered = self.offered.wrapping_add(s.r.below(3) as u16);
        let mut avail = vec![0, 0];
        avail.extend(self.offered.to_le_bytes());
        avail.extend((0..8u16).flat_map(|n| [0u16, 3, 0, 3][n as usize % 4].to_le_bytes()));
        out.push(Step::Put(ring + 0x100, avail));
        out.push(Step::Write(common + 0x3000 + 4 * queue, W16, queue));
        out.push(Step::Wait(s.r.below(500_000)));
        out.push(Step::Read(common + 0x1000, W8));
    }

    /// Somewhere in a BAR, mostly near its beginning.
    fn poke(&self, s: &mut Script, out: &mut Vec<Step>) {
        let with: Vec<_> = self.found.iter().flat_map(|f| &f.bars).filter(|b| b.2 != 0).collect();
        for _ in 0..1 + s.r.below(6) {
            let Some(n) = (!with.is_empty()).then(|| s.r.below(with.len() as u64)) else { return };
            let (port, base, len) = *with[n as usize];
            let w: Width = s.r.pick(&[W8, W16, W32, W32]);
            let reach = if s.r.below(3) == 0 { len } else { len.min(0x400) };
            let at = base + (s.r.below(reach) & !(w.bytes() - 1));
            let (v, read) = (s.value() & w.mask(), s.r.below(3) == 0);
            out.push(match (port, read) {
                (true, true) => Step::PortRead(at as u16, w),
                (true, false) => Step::PortWrite(at as u16, w, v),
                (false, true) => Step::Read(at, w),
                (false, false) => Step::Write(at, w, v),
            });
        }
    }

    fn configure(&self, s: &mut Script, out: &mut Vec<Step>) {
        let n = s.r.below(self.found.len().max(1) as u64) as usize;
        let Some(f) = self.found.get(n) else { return };
        let reg = match s.r.below(3) {
            0 => s.r.pick(&[4u64, 0xC, 0x18, 0x1C, 0x20, 0x24, 0x3C]),
            _ => s.r.below(64) << 2,
        };
        out.push(Step::PortWrite(0xCF8, W32, 1 << 31 | f.at << 8 | reg));
        let (w, v) = (s.r.pick(&[W8, W16, W32]), s.value());
        out.push(Step::PortWrite(0xCFC, w, v & w.mask()));
        out.push(Step::PortRead(0xCFC, W32));
        if s.r.below(3) != 0 {
            // Mostly it goes on to be seen.
            out.push(Step::PortWrite(0xCF8, W32, 1 << 31 | f.at << 8 | 4));
            out.push(Step::PortWrite(0xCFC, W16, 7));
        }
    }
}

fn command(s: &mut Script) -> u64 {
    if s.r.below(12) == 0 { s.r.below(256) } else { s.r.pick(&ATA) }
}

/// A sector's number, mostly on the disk.
fn place(s: &mut Script) -> u64 {
    match s.r.below(12) {
        0 => s.value(),
        1 => s.r.below(600),
        _ => s.r.below(3),
    }
}

/// Where data goes: mostly memory.
fn target(s: &mut Script) -> u64 {
    match s.r.below(30) {
        0 => s.value(),
        1 => 0xE000_0000 + s.r.below(1 << 24),
        2 => TABLES + s.r.below(0x8000),
        _ => DATA + s.r.below(0x4_0000),
    }
}

fn packet(s: &mut Script) -> Vec<u8> {
    let mut bytes = vec![s.r.pick(&PACKETS)];
    bytes.extend((1..16).map(|n| if n == 8 { 4 } else { place(s) as u8 }));
    bytes.truncate(16);
    bytes
}

/// A list of regions: IDE's of 8 bytes each, or AHCI's of 16.
fn regions(s: &mut Script, size: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for n in 0..8 {
        let (at, len) = (target(s), s.r.pick(&[512u64, 512, 2048, 4096, 0, 2, 0xFFFE]));
        bytes.extend((at as u32 & !1).to_le_bytes());
        if size == 16 {
            bytes.extend([0; 8]);
            bytes.extend((len.wrapping_sub(1) as u32 & 0x3F_FFFF).to_le_bytes());
        } else {
            let last = u32::from(n == 7 || s.r.below(4) == 0) << 31;
            bytes.extend((len as u32 | last).to_le_bytes());
        }
    }
    bytes
}

fn vga(s: &mut Script, out: &mut Vec<Step>) {
    for _ in 0..1 + s.r.below(8) {
        let v = s.value();
        let (w, v) = if s.r.below(3) == 0 { (W16, v & 0xFFFF) } else { (W8, v & 0xFF) };
        let port = s.r.pick(&[0x1CEu16, 0x1CF, 0x3C0, 0x3C4, 0x3C5, 0x3CE, 0x3CF, 0x3D4, 0x3D5]);
        out.push(match s.r.below(4) {
            0 => Step::Write(0xA_0000 + s.r.below(0x2_0000 - 8), w, v),
            1 => Step::Read(0xA_0000 + s.r.below(0x2_0000 - 8), w),
            2 => Step::PortWrite(port, w, v),
            _ => Step::PortWrite(0x3C0 + s.r.below(32) as u16, w, v),
        });
    }
}

fn flash(s: &mut Script, out: &mut Vec<Step>) {
    let base = (1 << 32) - FLASH;
    for _ in 0..1 + s.r.below(10) {
        let at = base + s.r.below(FLASH - 8);
        let v = s.r.pick(&[0x10u64, 0x20, 0x40, 0x50, 0x70, 0x90, 0x98, 0xD0, 0xE8, 0xFF, 3, 0]);
        out.push(if s.r.below(3) == 0 { Step::Read(at, W16) } else { Step::Write(at, W8, v) });
    }
}
