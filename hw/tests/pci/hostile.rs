//! Software gone mad, and users who plug and unplug meanwhile: nothing panics, nothing loops, and a copy is the same.

use super::World;
use super::card::Card;
use super::firmware::Firmware;
use device::Width::*;
use device::*;
use hw::pci::bridge::Bridge;
use hw::pci::port::{PortOptions, RootPort};
use hw::pci::{Function, HOTPLUG, Root};

/// xorshift64.
struct Random(u64);
impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n
    }
}

/// Registers worth writing: commands, BARs, bus numbers, windows, bridge control, a port's capabilities.
const REGISTERS: &[u64] = &[
    4, 0x10, 0x14, 0x18, 0x19, 0x1A, 0x1C, 0x20, 0x24, 0x28, 0x2C, 0x30, 0x3E, 0x48, 0x4A, 0x5C,
    0x6C, 0x6C, 0x6C, 0x6E, 0x88,
];

fn write(w: &mut World, r: &mut Random) {
    let bus = if r.below(8) == 0 { r.below(256) } else { r.below(5) };
    let bdf = (bus as u8, r.below(6) as u8, r.below(8) as u8 / 7);
    // Slots that are turned on, turned off, and blink.
    if r.below(3) == 0 {
        let control = [0x11F1, 0x17F1, 0x12F1][r.below(3) as usize];
        return w.put((0, 2 + r.below(2) as u8, 0), 0x6C, W16, control);
    }
    let at = REGISTERS[r.below(REGISTERS.len() as u64) as usize];
    let value = match r.below(5) {
        0 => r.below(8),
        1 => 0x7FFF_FFFF,
        2 => r.below(4) << 16 | r.below(4) << 8 | r.below(4),
        3 => 0xFE00_FD00,
        _ => r.next(),
    };
    let width = [W8, W16, W32][r.below(3) as usize];
    w.put(bdf, at, width, value & width.mask());
    let _ = w.get(bdf, at, W32);
}

/// How often something was put in, and was gone; and the most windows that were seen.
#[derive(Default)]
struct Count {
    plugged: u32,
    gone: usize,
    windows: usize,
}

fn plug(w: &mut World, r: &mut Random) -> bool {
    let parent = Some(r.below(10) as u16).filter(|n| *n < 9);
    let part: Box<dyn Function> = match r.below(5) {
        0 => Box::new(Bridge::pci(1)),
        1 => Box::new(RootPort::new(PortOptions::default())),
        2 => Card::express().multifunction().boxed(),
        _ => Card::express().boxed(),
    };
    let (device, function) = (r.below(2) as u8 * 4, r.below(4).saturating_sub(1) as u8);
    w.r.plug(parent, device, function, part, &mut w.b).is_ok()
}

fn step(w: &mut World, r: &mut Random, count: &mut Count) {
    match r.below(16) {
        0 => count.plugged += u32::from(plug(w, r)),
        1 => {
            let _ = w.r.unplug_request(r.below(12) as u16, &mut w.b);
        }
        2 if r.below(20) == 0 => {
            let _ = w.r.remove(r.below(12) as u16, &mut w.b);
        }
        3 => w.r.write(Reg { bank: HOTPLUG, at: r.below(6) * 4 }, W32, r.below(64), &mut w.b),
        4 => {
            let _ = w.r.read(Reg { bank: HOTPLUG, at: r.below(6) * 4 }, W32, &mut w.b);
        }
        5 => {
            let n = r.below(12) as u16;
            w.poke(n, r.below(3) as u16, r.below(4) * 4, r.below(8));
        }
        6 if r.below(50) == 0 => {
            w.r.reset();
            w.r.settle(&mut w.b);
        }
        7 => {
            w.b.now += r.below(SECOND);
            if w.b.wake.is_some_and(|at| at <= w.b.now) {
                w.b.run_to_wake(&mut w.r);
            }
        }
        _ => write(w, r),
    }
    count.gone += w.unplugged().len();
    count.windows = count.windows.max(w.b.windows.len());
    w.b.complaints.clear();
}

/// After all that, what is shown is what would be shown by a machine that begins here.
fn check(w: &mut World) {
    let saved = w.r.save();
    assert!(saved.len() < 1 << 20, "grown to {} bytes", saved.len());
    let (windows, pins, wake) = (w.b.windows.clone(), w.lines(), w.b.wake);
    w.b.windows.clear();
    w.r.load(&saved).expect("it takes what it saved");
    w.r.settle(&mut w.b);
    assert_eq!((&w.b.windows, w.lines(), w.b.wake), (&windows, pins, wake));
    assert_eq!(w.r.save(), saved);
    let _ = w.r.describe();
}

fn rows(r: &mut Root) {
    let port = r.add(2, 0, RootPort::new(PortOptions::default()));
    let upper = r.add_below(port, 0, 0, Bridge::express_to_pci());
    let lower = r.add_below(upper, 4, 0, Bridge::pci(1));
    r.add_below(lower, 0, 0, Card::new(2));
    r.add(3, 0, RootPort::new(PortOptions::default()));
    r.add(4, 0, Bridge::pci(2));
}

#[test]
fn mad_software_gets_nowhere() {
    for (seed, make) in
        [(1, World::q35 as fn(fn(&mut Root)) -> World), (2, World::pc), (3, World::q35)]
    {
        let (mut w, mut r) = (make(rows), Random(0x9E37_79B9 + seed));
        let mut count = Count::default();
        for i in 0..40_000 {
            // Another life, with all in order at first.
            if i % 400 == 0 {
                w = make(rows);
                Firmware::run(&mut w);
            }
            step(&mut w, &mut r, &mut count);
            if i % 100 == 99 {
                check(&mut w);
            }
        }
        assert!(count.plugged > 100 && count.gone > 100 && count.windows > 5, "it did too little");
    }
}
