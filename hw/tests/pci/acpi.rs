//! Hot plug by ACPI's registers, as the methods of `pc`'s tables use them.

use super::World;
use super::card::{self, Card};
use device::Width::*;
use device::*;
use hw::pci::bridge::Bridge;
use hw::pci::{HOTPLUG, PlugError};

const BRIDGE: u16 = 3;
const COLD: u16 = 4;

fn pc() -> World {
    World::pc(|r| {
        r.add(4, 0, Bridge::pci(3));
        r.add(5, 0, Card::new(1));
    })
}
fn port(w: &mut World, at: u64) -> u64 {
    w.r.read(Reg { bank: HOTPLUG, at }, W32, &mut w.b)
}
fn set(w: &mut World, at: u64, value: u64) {
    w.r.write(Reg { bank: HOTPLUG, at }, W32, value, &mut w.b);
}
/// General purpose events: status, and whether the interrupt is up.
fn event(w: &mut World) -> (u64, bool) {
    let at = Reg { bank: 0x30B, at: 0 };
    let status = w.r.read(at, W16, &mut w.b);
    let up = w.b.pin(Pin(9));
    w.r.write(at, W16, status, &mut w.b);
    (status, up)
}

#[test]
fn a_device_is_plugged_and_ejected() {
    let mut w = pc();
    assert_eq!(w.b.windows[&HOTPLUG].base, 0xAE00);
    w.r.write(Reg { bank: 0x30B, at: 2 }, W16, 2, &mut w.b);
    let got = [0, 4, 8, 12, 16, 20].map(|at| port(&mut w, at));
    assert_eq!(got, [0, 0, 0, 0xFFFF_FFEC, 0, 0]);
    let n = w.r.plug(None, 6, 0, Card::new(1).boxed(), &mut w.b).unwrap();
    assert_eq!((event(&mut w), port(&mut w, 0), port(&mut w, 0)), ((2, true), 0x40, 0));
    assert_eq!(w.get((0, 6, 0), 0, W32), 0x5678_1234);
    w.poke(n, 0, card::DISK, 1);
    w.r.unplug_request(n, &mut w.b).unwrap();
    assert_eq!(w.r.unplug_request(n, &mut w.b), Err(PlugError::Asked));
    assert_eq!((event(&mut w), port(&mut w, 4)), ((2, true), 0x40));
    set(&mut w, 8, 0x40);
    let abandon = Request::From(n, Box::new(Request::DiskAbandon { unit: 3 }));
    assert!(w.b.asked.contains(&abandon));
    assert_eq!((w.unplugged(), port(&mut w, 4)), (vec![n], 0));
    assert_eq!(w.get((0, 6, 0), 0, W32), 0xFFFF_FFFF);
}

#[test]
fn what_was_there_at_power_on_can_go_but_not_the_machine() {
    let mut w = pc();
    set(&mut w, 8, 1 << 5);
    assert_eq!(w.unplugged(), [COLD], "whether asked for or not");
    for device in [0, 1, 4] {
        set(&mut w, 8, 1 << device);
    }
    assert!(w.unplugged().is_empty());
    assert_eq!(w.r.unplug_request(0, &mut w.b), Err(PlugError::Fixed));
    assert_eq!(w.r.unplug_request(BRIDGE, &mut w.b), Err(PlugError::Fixed));
}

#[test]
fn a_bus_below_a_bridge_is_chosen_by_its_number() {
    let mut w = pc();
    assert_eq!(w.r.hotplug_buses().collect::<Vec<_>>(), [0, BRIDGE + 1]);
    let n = w.r.plug(Some(BRIDGE), 2, 0, Card::new(1).boxed(), &mut w.b).unwrap();
    assert_eq!(port(&mut w, 0), 0);
    set(&mut w, 16, u64::from(BRIDGE) + 1);
    assert_eq!([16, 0, 12].map(|at| port(&mut w, at)), [4, 4, 0xFFFF_FFFF]);
    set(&mut w, 8, 4);
    assert_eq!(w.unplugged(), [n]);
    let bridge = Box::new(Bridge::pci(9));
    let hot = w.r.plug(None, 9, 0, bridge, &mut w.b).unwrap();
    let below = w.r.plug(Some(hot), 1, 0, Card::new(1).boxed(), &mut w.b);
    assert_eq!(below, Err(PlugError::NoHotplug(Some(hot))), "no table knows that bus");
}

#[test]
fn functions_come_with_the_first_and_go_together() {
    let mut w = pc();
    let one = w.r.plug(None, 7, 1, Card::new(1).boxed(), &mut w.b).unwrap();
    assert_eq!((port(&mut w, 0), w.get((0, 7, 1), 0, W32)), (0, 0xFFFF_FFFF));
    let zero = w.r.plug(None, 7, 0, Card::new(1).multifunction().boxed(), &mut w.b).unwrap();
    assert_eq!((port(&mut w, 0), w.get((0, 7, 1), 0, W32)), (0x80, 0x5678_1234));
    w.r.unplug_request(one, &mut w.b).unwrap();
    set(&mut w, 8, 0x80);
    assert_eq!(w.unplugged(), [zero, one]);
}

#[test]
fn a_reset_takes_out_what_was_asked_for() {
    let mut w = pc();
    let n = w.r.plug(None, 6, 0, Card::new(1).boxed(), &mut w.b).unwrap();
    w.r.unplug_request(n, &mut w.b).unwrap();
    w.r.reset();
    w.r.settle(&mut w.b);
    assert_eq!((w.unplugged(), port(&mut w, 4)), (vec![n], 0));
    assert_eq!(w.get((0, 6, 0), 0, W32), 0xFFFF_FFFF);
}

#[test]
fn what_waits_is_saved() {
    let mut w = pc();
    let n = w.r.plug(None, 6, 0, Card::new(1).boxed(), &mut w.b).unwrap();
    let asked = w.r.unplug_request(n, &mut w.b);
    assert_eq!(asked, Ok(()));
    let mut copy = w.copy_to(World::pc(|r| {
        r.add(4, 0, Bridge::pci(3));
        r.add(5, 0, Card::new(1));
        r.add(6, 0, Card::new(1));
    }));
    assert_eq!([0, 4].map(|at| port(&mut copy, at)), [0x40, 0x40]);
    set(&mut copy, 8, 0x40);
    assert_eq!(copy.unplugged(), [n]);
}
