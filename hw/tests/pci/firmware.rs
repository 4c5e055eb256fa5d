//! What firmware does: numbers the buses, sizes what is on them and places it, and opens the bridges.

use super::{Bdf, World};
use device::Width::*;

/// Where the next thing is put.
pub struct Firmware {
    io: u64,
    memory: u64,
    prefetchable: u64,
    next_bus: u8,
    /// All that was found.
    pub found: Vec<Bdf>,
}

/// The next multiple.
fn up(at: &mut u64, to: u64) -> u64 {
    *at = at.next_multiple_of(to);
    *at
}

impl Firmware {
    pub fn run(w: &mut World) -> Self {
        let (io, memory, prefetchable) = (0xC000, 0xFC00_0000, 0x8_0000_0000);
        let mut f = Self { io, memory, prefetchable, next_bus: 1, found: Vec::new() };
        f.number(w, 0);
        f.place(w, 0);
        f
    }
    fn functions(w: &mut World, bus: u8) -> Vec<Bdf> {
        let mut all = Vec::new();
        for device in 0..32 {
            for function in 0..8 {
                let bdf = (bus, device, function);
                if w.get(bdf, 0, W16) != 0xFFFF {
                    all.push(bdf);
                } else if function == 0 {
                    break;
                }
            }
        }
        all
    }
    fn is_bridge(w: &mut World, bdf: Bdf) -> bool {
        w.get(bdf, 0xE, W8) & 0x7F == 1
    }
    /// Numbers the buses, depth first.
    fn number(&mut self, w: &mut World, bus: u8) {
        for bdf in Self::functions(w, bus) {
            self.found.push(bdf);
            if Self::is_bridge(w, bdf) {
                let below = self.next_bus;
                self.next_bus += 1;
                w.put(bdf, 0x18, W32, 0xFF << 16 | u64::from(below) << 8 | u64::from(bus));
                self.number(w, below);
                w.put(bdf, 0x1A, W8, u64::from(self.next_bus - 1));
            }
        }
    }
    /// Places all of a bus, and of the buses below it.
    fn place(&mut self, w: &mut World, bus: u8) {
        for bdf in Self::functions(w, bus) {
            let bridge = Self::is_bridge(w, bdf);
            let mut n = 0;
            while n < if bridge { 2 } else { 6 } {
                n += self.bar(w, bdf, n);
            }
            if bridge {
                self.through(w, bdf);
            }
            w.put(bdf, 4, W16, 7);
        }
    }
    /// How many registers the BAR takes.
    fn bar(&mut self, w: &mut World, bdf: Bdf, n: u64) -> u64 {
        let at = 0x10 + 4 * n;
        w.put(bdf, at, W32, 0xFFFF_FFFF);
        let mask = w.get(bdf, at, W32);
        let low = if mask & 1 != 0 { 3 } else { 0xF };
        let len = (!(mask & !low) & 0xFFFF_FFFF) + 1;
        match mask & 0xF {
            _ if mask == 0 => {}
            kind if kind & 1 != 0 => {
                let len = len & 0xFFFF;
                w.put(bdf, at, W32, up(&mut self.io, len));
                self.io += len;
            }
            0xC => {
                let base = up(&mut self.prefetchable, len);
                w.put(bdf, at, W32, base & 0xFFFF_FFFF);
                w.put(bdf, at + 4, W32, base >> 32);
                self.prefetchable += len;
                return 2;
            }
            _ => {
                w.put(bdf, at, W32, up(&mut self.memory, len));
                self.memory += len;
            }
        }
        1
    }
    /// Opens a bridge's windows for what is below.
    fn through(&mut self, w: &mut World, bdf: Bdf) {
        const MB: u64 = 0x10_0000;
        let (io, memory) = (up(&mut self.io, 0x1000), up(&mut self.memory, MB));
        let prefetchable = up(&mut self.prefetchable, MB);
        let below = w.get(bdf, 0x19, W8) as u8;
        self.place(w, below);
        let end = |at: &mut u64, to| up(at, to) - 1;
        let io_end = end(&mut self.io, 0x1000);
        let memory_end = end(&mut self.memory, MB);
        let prefetchable_end = end(&mut self.prefetchable, MB);
        w.put(bdf, 0x1C, W16, io >> 8 & 0xF0 | io_end & 0xF000);
        w.put(bdf, 0x20, W32, memory >> 16 & 0xFFF0 | memory_end & 0xFFF0_0000);
        w.put(bdf, 0x24, W32, prefetchable >> 16 & 0xFFF0 | prefetchable_end & 0xFFF0_0000);
        w.put(bdf, 0x28, W32, prefetchable >> 32);
        w.put(bdf, 0x2C, W32, prefetchable_end >> 32);
    }
}
