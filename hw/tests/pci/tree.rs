//! Buses below buses: what is reached, what is seen, whose interrupts arrive where.

use super::card::{self, Card};
use super::firmware::Firmware;
use super::{Bdf, World};
use device::Width::*;
use device::*;
use hw::pci::bridge::Bridge;
use hw::pci::port::{PortOptions, RootPort};

/// A root port at 2.0 with a bridge to PCI, with a bridge, with a card as device 5; a card in another port at 3.0.
/// The numbers begin with 2: ports, bridges and cards.
const PORT: u16 = 2;
const UPPER: u16 = 3;
const LOWER: u16 = 4;
const DEEP: u16 = 5;
const PORT2: u16 = 6;
const FLAT: u16 = 7;

fn deep() -> World {
    World::q35(|r| {
        let port = r.add(2, 0, RootPort::new(PortOptions::default()));
        let upper = r.add_below(port, 0, 0, Bridge::express_to_pci());
        let lower = r.add_below(upper, 1, 0, Bridge::pci(1));
        let deep = r.add_below(lower, 5, 0, Card::new(2));
        let port2 = r.add(3, 0, RootPort::new(PortOptions { slot: 1, ..PortOptions::default() }));
        let flat = r.add_below(port2, 0, 0, Card::express());
        assert_eq!(
            [port, upper, lower, deep, port2, flat],
            [PORT, UPPER, LOWER, DEEP, PORT2, FLAT]
        );
    })
}
const DEEP_AT: Bdf = (3, 5, 0);
const BRIDGES: [Bdf; 3] = [(0, 2, 0), (1, 0, 0), (2, 1, 0)];

#[test]
fn a_root_port_has_the_peers_registers() {
    let mut w = deep();
    w.put((0, 3, 0), 0x18, W32, 0x0001_0100);
    #[rustfmt::skip]
    let want = [
        (0x00, 0x000C_1B36), (0x04, 0x0010_0000), (0x08, 0x0604_0000), (0x0C, 0x0001_0000), (0x1C, 0x0000_00F0),
        (0x20, 0x0000_FFF0), (0x24, 0x0001_FFF1), (0x34, 0x54), (0x3C, 0x100), (0x40, 0xD), (0x44, 0x1B36),
        (0x48, 0x4011), (0x4C, 0), (0x50, 0x800), (0x54, 0x0142_4810), (0x58, 0x8020), (0x5C, 0), (0x60, 0x0030_0604),
        (0x64, 0x2011_0000), (0x68, 0x000A_007B), (0x6C, 0x0040_03C0), (0x70, 0), (0x78, 0x0030_0020), (0x80, 0x1E),
        (0x84, 4), (0x100, 0x1482_0001), (0x118, 0x2A0), (0x148, 0x0001_000D), (0x14C, 0x5F),
    ];
    for (at, value) in want {
        assert_eq!(w.ecam((0, 3, 0), at, W32), value, "register {at:#x}");
    }
    let card = w.ecam((1, 0, 0), 0x40, W32);
    assert_eq!(card, 0x0002_0010, "it is an endpoint");
}

#[test]
fn nothing_is_found_until_buses_have_numbers() {
    let mut w = deep();
    assert!((1..=255).all(|bus| w.get((bus, 0, 0), 0, W32) == 0xFFFF_FFFF));
    let f = Firmware::run(&mut w);
    let below: Vec<Bdf> = f.found.into_iter().filter(|(bus, ..)| *bus != 0).collect();
    assert_eq!(below, [(1, 0, 0), (2, 1, 0), (3, 5, 0), (4, 0, 0)]);
    assert_eq!(w.ecam(DEEP_AT, 0, W32), 0x5678_1234);
    assert_eq!(w.ecam((3, 4, 0), 0, W32), 0xFFFF_FFFF);
    assert_eq!(w.ecam((5, 0, 0), 0, W32), 0xFFFF_FFFF);
    w.put((0, 2, 0), 0x1A, W8, 2);
    assert_eq!(w.ecam(DEEP_AT, 0, W32), 0xFFFF_FFFF, "the port does not lead there any more");
}

#[test]
fn a_bar_is_seen_while_all_bridges_above_let_it_through() {
    let mut w = deep();
    Firmware::run(&mut w);
    let bars = |w: &World| [0, 1, 2].map(|bank| w.seen(DEEP, bank));
    let all = bars(&w);
    assert!(all.iter().all(Option::is_some), "{all:x?}");
    assert!(all[0] > Some(0xFC00_0000) && all[2] >= Some(0x8_0000_0000));
    for bridge in BRIDGES {
        w.put(bridge, 4, W16, 6);
        assert_eq!(bars(&w), [all[0], None, all[2]], "no ports through {bridge:?}");
        w.put(bridge, 4, W16, 5);
        assert_eq!(bars(&w), [None, all[1], None], "no memory through {bridge:?}");
        w.put(bridge, 4, W16, 7);
        assert_eq!(bars(&w), all);
        let window = w.get(bridge, 0x20, W32);
        w.put(bridge, 0x20, W32, window + 0x10_0010);
        assert_eq!(bars(&w), [None, all[1], all[2]], "the window moved");
        w.put(bridge, 0x20, W32, window);
        w.put(bridge, 0x2C, W32, 7);
        assert_eq!(bars(&w), [all[0], all[1], None], "an inverted window");
        w.put(bridge, 0x2C, W32, 8);
        assert_eq!(bars(&w), all);
    }
    w.put(DEEP_AT, 0x10, W32, 0xFE00_0000);
    assert_eq!(bars(&w), [None, all[1], all[2]], "it moved out itself");
}

#[test]
fn dma_passes_bridges_that_firmware_has_not_made_masters() {
    let mut w = deep();
    Firmware::run(&mut w);
    BRIDGES.into_iter().for_each(|bridge| w.put(bridge, 4, W16, 3));
    w.put(DEEP_AT, 4, W16, 3);
    w.poke(DEEP, 0, card::DMA, 0x1234);
    assert_eq!(w.b.ram[0x100..0x104], [0; 4], "the card itself is none");
    w.put(DEEP_AT, 4, W16, 7);
    w.poke(DEEP, 0, card::DMA, 0x1234);
    assert_eq!(w.b.ram[0x100..0x104], [0x34, 0x12, 0, 0]);
}

#[test]
fn pins_are_turned_by_each_bridge() {
    let mut w = deep();
    Firmware::run(&mut w);
    // INTB of device 5: 1 + 5 = INTC; as device 1: INTD; as device 0: INTD. The port is device 2: PIRQ 4 + (2 + 3) % 4.
    w.poke(DEEP, 0, card::LEVEL, 1);
    assert_eq!(w.lines(), [16 + 4 + 1]);
    w.poke(FLAT, 0, card::LEVEL, 1);
    assert_eq!(w.lines(), [16 + 4 + 1, 16 + 4 + 3], "INTA behind the port at device 3");
    w.put(DEEP_AT, 4, W16, 0x407);
    assert_eq!(w.lines(), [16 + 4 + 3], "disabled in the card");
    w.put((0, 3, 0), 4, W16, 0x407);
    assert_eq!(w.lines(), [16 + 4 + 3], "a port's own bit is about its own interrupts");
    w.poke(FLAT, 0, card::LEVEL, 0);
    assert!(w.lines().is_empty());
}

#[test]
fn a_secondary_bus_reset_resets_what_is_below() {
    let mut w = deep();
    Firmware::run(&mut w);
    w.poke(DEEP, 0, card::LEVEL, 3);
    assert!(w.b.wake.is_some());
    w.poke(DEEP, 0, card::DISK, 1);
    w.b.asked.clear();
    w.put((1, 0, 0), 0x3E, W16, 0x40);
    let abandon = Request::DiskAbandon { unit: 3 };
    assert_eq!(w.b.asked, [Request::From(DEEP, Box::new(abandon))]);
    assert_eq!((w.lines(), w.b.wake, w.seen(DEEP, 0)), (vec![], None, None));
    assert_eq!(w.get((2, 1, 0), 0, W32), 0xFFFF_FFFF, "in reset nobody answers");
    w.put((1, 0, 0), 0x3E, W16, 0);
    assert_eq!((w.get((2, 1, 0), 0, W32), w.get((2, 1, 0), 0x18, W32)), (0x0001_1B36, 0));
    assert!(w.seen(FLAT, 0).is_some(), "the others went on");
}

#[test]
fn a_function_level_reset_is_done_by_the_bus() {
    let mut w = deep();
    Firmware::run(&mut w);
    w.poke(FLAT, 0, card::LEVEL, 1);
    w.put((4, 0, 0), 0x48, W16, 0x8000);
    assert_eq!((w.lines(), w.seen(FLAT, 0), w.get((4, 0, 0), 4, W16)), (vec![], None, 0));
}

#[test]
fn other_functions_are_found_if_function_0_says_so() {
    let mut w = World::q35(|r| {
        r.add(4, 1, Card::new(1));
        r.add(4, 0, Card::new(1));
        r.add(5, 1, Card::new(1));
        r.add(5, 0, Card::new(1).multifunction());
        r.add(6, 2, Card::new(1));
    });
    let there = [(4, 0), (4, 1), (5, 0), (5, 1), (6, 0), (6, 2)];
    let got = there.map(|(d, f)| w.get((0, d, f), 0, W16) == 0x1234);
    assert_eq!(got, [true, false, true, true, false, false]);
}

#[test]
fn numbers_that_lead_in_circles_lead_nowhere() {
    let mut w = deep();
    for numbers in [0x00FF_0000, 0x00FF_0100, 0x0000_0100, 0x0001_FF00, 0x00FF_FF00] {
        for bus in 0..=255 {
            for device in 0..8 {
                if w.get((bus, device, 0), 0xE, W8) & 0x7F == 1 {
                    w.put((bus, device, 0), 0x18, W32, numbers);
                }
            }
        }
        (0..=255).for_each(|bus| {
            let _ = w.get((bus, 0, 0), 0, W32);
        });
        let _ = w.r.describe();
    }
    assert_eq!(w.get((0, 2, 0), 0, W32), 0x000C_1B36);
}

#[test]
fn the_tree_is_saved_and_loaded_at_the_same_places_only() {
    let mut w = deep();
    Firmware::run(&mut w);
    w.poke(DEEP, 0, card::LEVEL, 3);
    let copy = w.copy_to(deep());
    assert_eq!((&copy.b.windows, copy.lines(), copy.b.wake), (&w.b.windows, w.lines(), w.b.wake));
    let mut other = World::q35(|r| {
        let port = r.add(2, 0, RootPort::new(PortOptions::default()));
        let upper = r.add_below(port, 0, 0, Bridge::express_to_pci());
        let lower = r.add_below(upper, 2, 0, Bridge::pci(1));
        r.add_below(lower, 5, 0, Card::new(2));
        let port2 = r.add(3, 0, RootPort::new(PortOptions::default()));
        r.add_below(port2, 0, 0, Card::express());
    });
    let before = other.r.save();
    assert!(other.r.load(&w.r.save()).is_err(), "a bridge is elsewhere");
    assert_eq!(other.r.save(), before);
}

#[test]
fn the_monitor_shows_the_tree_as_the_peer_does() {
    let mut w = deep();
    Firmware::run(&mut w);
    w.r.set_id(PORT, "rp");
    w.r.set_id(DEEP, "n0");
    let got = w.r.describe();
    let want = "  Bus  0, device   2, function 0:
    PCI bridge: PCI device 1b36:000c
      IRQ 0, pin A
      BUS 0.
      secondary bus 1.
      subordinate bus 3.
      IO range [0xc000, 0xcfff]
      memory range [0xfc100000, 0xfc1fffff]
      prefetchable memory range [0x800000000, 0x8000fffff]
      BAR0: 32 bit memory at 0xfc000000 [0xfc000fff]
      id \"rp\"
  Bus  1, device   0, function 0:
";
    assert!(got.contains(want), "{got}");
    let want = "  Bus  3, device   5, function 0:
    Ethernet controller: PCI device 1234:5678
      PCI subsystem 1af4:1100
      IRQ 0, pin B
      BAR0: 32 bit memory at 0xfc100000 [0xfc100fff]
      BAR1: I/O at 0xc000 [0xc01f]
      BAR2: 64 bit prefetchable memory at 0x800000000 [0x8000fffff]
      id \"n0\"
  Bus  0, device   3, function 0:
";
    assert!(got.contains(want), "{got}");
    assert!(
        got.starts_with(
            "  Bus  0, device   0, function 0:\n    Host bridge: PCI device 8086:29c0\n"
        )
    );
}
