//! Native hot plug: a root port's slot, as Linux's `pciehp` drives it.

use super::card::{self, Card};
use super::{Bdf, World};
use device::Width::*;
use device::*;
use hw::pci::PlugError;
use hw::pci::bridge::Bridge;
use hw::pci::port::{PortOptions, RootPort};

const PORT: u16 = 2;
const AT: Bdf = (0, 2, 0);
const CONTROL: u64 = 0x6C;
const STATUS: u64 = 0x6E;
/// Slot control of a slot in use, of an empty one, and while software waits: power on, off, on with a blinking indicator.
const ON: u64 = 0x11E1 | 0x10;
const OFF: u64 = 0x17E1 | 0x10 | 0x300;
const BLINK: u64 = 0x12F1;

fn one_port() -> World {
    World::q35(|r| {
        r.add(2, 0, RootPort::new(PortOptions { slot: 9, ..PortOptions::default() }));
    })
}
/// A port whose bus has a number, with the interrupt as a message to 0x40.
fn ready(mut w: World) -> World {
    w.put(AT, 0x18, W32, 0x0001_0100);
    w.put(AT, 0x10, W32, 0xFE00_0000);
    w.put(AT, 0x20, W32, 0xFD00_FD00);
    w.put(AT, 4, W16, 7);
    for (at, v) in [(0, 0x40), (4, 0), (8, 0x77), (0xC, 0)] {
        w.poke(PORT, 0, at, v);
    }
    w.put(AT, 0x4A, W16, 0x8000);
    w.put(AT, STATUS, W16, 0x11F);
    w
}
/// The interrupt handler: what has happened, and whether a message came.
fn events(w: &mut World) -> (u64, bool) {
    let happened = w.get(AT, STATUS, W16) & 0x11F;
    w.put(AT, STATUS, W16, happened);
    let message = std::mem::replace(&mut w.b.ram[0x40], 0) == 0x77;
    (happened, message)
}
fn status(w: &mut World) -> u64 {
    w.get(AT, STATUS, W16) & 0x5F
}
fn link(w: &mut World) -> u64 {
    w.get(AT, 0x66, W16)
}
/// Writes slot control and acknowledges that the command is done.
fn command(w: &mut World, value: u64) {
    w.put(AT, CONTROL, W16, value);
    let (happened, message) = events(w);
    assert!(happened & 0x10 != 0 && message, "{happened:#x}");
}
fn plugged() -> (World, u16) {
    let mut w = ready(one_port());
    command(&mut w, OFF);
    let n = w.r.plug(Some(PORT), 0, 0, Card::express().boxed(), &mut w.b).unwrap();
    events(&mut w);
    command(&mut w, ON);
    w.put((1, 0, 0), 0x10, W32, 0xFD00_0000);
    w.put((1, 0, 0), 4, W16, 7);
    (w, n)
}

#[test]
fn a_card_is_put_in() {
    let mut w = ready(one_port());
    assert_eq!((w.get(AT, CONTROL, W16), status(&mut w), link(&mut w)), (0x7C0, 0, 0x204));
    command(&mut w, OFF);
    let n = w.r.plug(Some(PORT), 0, 0, Card::express().boxed(), &mut w.b).unwrap();
    assert_eq!((n, link(&mut w)), (3, 0x2011));
    assert_eq!(w.get((1, 0, 0), 0, W32), 0xFFFF_FFFF, "the slot has no power yet");
    assert_eq!(events(&mut w), (0x109, true), "button, presence, link");
    assert_eq!((events(&mut w), status(&mut w)), ((0, false), 0x40));
    command(&mut w, ON);
    assert_eq!(w.get((1, 0, 0), 0, W32), 0x5678_1234);
    w.put((1, 0, 0), 0x10, W32, 0xFD00_0000);
    w.put((1, 0, 0), 4, W16, 7);
    assert_eq!(w.seen(n, 0), Some(0xFD00_0000));
    w.poke(n, 0, card::LEVEL, 1);
    assert_eq!(w.lines(), [16 + 4 + 2]);
}

#[test]
fn a_card_is_given_back() {
    let (mut w, n) = plugged();
    w.poke(n, 0, card::LEVEL, 1);
    w.poke(n, 0, card::DISK, 5);
    w.b.asked.clear();
    assert_eq!(w.r.unplug_request(n, &mut w.b), Ok(()));
    assert_eq!(events(&mut w), (1, true), "the button");
    assert_eq!(w.r.unplug_request(n, &mut w.b), Err(PlugError::Asked));
    command(&mut w, BLINK);
    w.b.now += 4 * SECOND;
    assert_eq!(w.r.unplug_request(n, &mut w.b), Err(PlugError::Blinking));
    assert!(w.unplugged().is_empty());
    w.put(AT, CONTROL, W16, OFF);
    let (bye, abandon) = (Request::Send(b"bye".to_vec()), Request::DiskAbandon { unit: 3 });
    let from = |what| Request::From(n, Box::new(what));
    assert_eq!(w.b.asked, [from(bye), from(abandon), Request::Unplugged(n)]);
    assert_eq!(events(&mut w), (0x118, true), "presence, link, command completed");
    assert_eq!((status(&mut w), link(&mut w)), (0, 0x204));
    assert_eq!((w.lines(), w.seen(n, 0), w.get((1, 0, 0), 0, W32)), (vec![], None, 0xFFFF_FFFF));
    let again = w.r.plug(Some(PORT), 0, 0, Card::express().boxed(), &mut w.b);
    assert_eq!(again, Ok(n), "the number is free again");
}

#[test]
fn power_alone_takes_nothing_out_but_resets() {
    let (mut w, n) = plugged();
    w.put(AT, CONTROL, W16, BLINK | 0x400);
    assert_eq!((w.get((1, 0, 0), 0, W32), w.seen(n, 0)), (0xFFFF_FFFF, None));
    w.put(AT, CONTROL, W16, ON);
    assert_eq!((w.get((1, 0, 0), 0, W32), w.get((1, 0, 0), 4, W16)), (0x5678_1234, 0));
    assert!(w.unplugged().is_empty());
}

#[test]
fn a_card_in_a_slot_without_power_is_gone_at_once() {
    let mut w = ready(one_port());
    command(&mut w, OFF);
    let n = w.r.plug(Some(PORT), 0, 0, Card::express().boxed(), &mut w.b).unwrap();
    events(&mut w);
    assert_eq!(w.r.unplug_request(n, &mut w.b), Ok(()));
    assert_eq!((w.unplugged(), status(&mut w) & 0x40), (vec![n], 0));
}

#[test]
fn a_card_is_torn_out() {
    let (mut w, n) = plugged();
    assert_eq!(w.r.remove(n, &mut w.b), Ok(()));
    assert_eq!((w.unplugged(), events(&mut w)), (vec![n], (0x108, true)));
    assert_eq!((status(&mut w), w.get((1, 0, 0), 0, W32)), (0, 0xFFFF_FFFF));
    assert_eq!(w.r.remove(n, &mut w.b), Err(PlugError::NotThere(n)));
    w.poke(n, 0, card::LEVEL, 1);
    w.r.input(Input::To(n, Box::new(Input::Break)), &mut w.b);
}

#[test]
fn a_card_of_several_functions_comes_with_its_first_and_goes_as_a_whole() {
    let mut w = ready(one_port());
    command(&mut w, ON);
    let first = w.r.plug(Some(PORT), 0, 1, Card::express().boxed(), &mut w.b).unwrap();
    assert_eq!((events(&mut w), w.get((1, 0, 1), 0, W32)), ((0, false), 0xFFFF_FFFF));
    let single = w.r.plug(Some(PORT), 0, 0, Card::express().boxed(), &mut w.b);
    assert_eq!(single, Err(PlugError::SingleFunction));
    let last = w.r.plug(Some(PORT), 0, 0, Card::express().multifunction().boxed(), &mut w.b);
    assert_eq!((last, events(&mut w)), (Ok(first + 1), (0x109, true)));
    assert_eq!([0, 1].map(|f| w.get((1, 0, f), 0, W16)), [0x1234; 2]);
    let late = w.r.plug(Some(PORT), 0, 2, Card::express().boxed(), &mut w.b);
    assert_eq!(late, Err(PlugError::Complete(first + 1)));
    w.r.unplug_request(first, &mut w.b).unwrap();
    w.put(AT, CONTROL, W16, OFF);
    assert_eq!(w.unplugged(), [first + 1, first]);
}

#[test]
fn a_function_that_was_never_shown_goes_without_a_word() {
    let mut w = ready(one_port());
    command(&mut w, ON);
    let n = w.r.plug(Some(PORT), 0, 3, Card::express().boxed(), &mut w.b).unwrap();
    assert_eq!(w.r.unplug_request(n, &mut w.b), Ok(()));
    assert_eq!((w.unplugged(), events(&mut w)), (vec![n], (0, false)));
}

#[test]
fn what_cannot_be_plugged_is_refused() {
    let mut w = World::q35(|r| {
        let fixed = PortOptions { hotplug: false, ..PortOptions::default() };
        let (hot, cold) = (RootPort::new(PortOptions::default()), RootPort::new(fixed));
        let ports = (r.add(2, 0, hot), r.add(3, 0, cold));
        r.add(4, 0, Bridge::pci(1));
        r.add(5, 0, Card::new(1));
        r.add_below(ports.0, 0, 0, Card::express());
        r.add_below(ports.1, 0, 0, Card::express());
    });
    let mut plug = |parent, device| {
        w.r.plug(parent, device, 0, Card::express().boxed(), &mut w.b).unwrap_err()
    };
    assert_eq!(plug(None, 8), PlugError::NoHotplug(None));
    assert_eq!(plug(Some(3), 0), PlugError::NoHotplug(Some(3)));
    assert_eq!(plug(Some(4), 0), PlugError::NoHotplug(Some(4)));
    assert_eq!(plug(Some(5), 0), PlugError::NotThere(5));
    assert_eq!(plug(Some(99), 0), PlugError::NotThere(99));
    assert_eq!(plug(Some(PORT), 1), PlugError::NoSuchPlace { device: 1, function: 0 });
    assert_eq!(plug(Some(PORT), 0), PlugError::Taken(6));
    let mut unplug = |n| w.r.unplug_request(n, &mut w.b);
    assert_eq!(unplug(0), Err(PlugError::Fixed));
    assert_eq!(unplug(5), Err(PlugError::NoHotplug(None)));
    assert_eq!(unplug(7), Err(PlugError::NoHotplug(Some(3))));
}

#[test]
fn a_bridge_is_plugged_and_goes_with_all_that_is_below() {
    let mut w = ready(one_port());
    command(&mut w, ON);
    let bridge = Box::new(Bridge::express_to_pci());
    let n = w.r.plug(Some(PORT), 0, 0, bridge, &mut w.b).unwrap();
    let card = w.r.add_below(n, 3, 0, Card::new(1));
    w.put(AT, 0x18, W32, 0x0002_0100);
    w.put((1, 0, 0), 0x18, W32, 0x0002_0201);
    assert_eq!(w.get((2, 3, 0), 0, W32), 0x5678_1234);
    w.r.remove(n, &mut w.b).unwrap();
    assert_eq!(w.unplugged(), [card, n]);
}

#[test]
fn without_messages_a_line_tells() {
    let mut w = ready(one_port());
    w.put(AT, 0x4A, W16, 0);
    w.put(AT, CONTROL, W16, OFF);
    assert_eq!(w.lines(), [16 + 4 + 2], "the command is completed");
    w.put(AT, STATUS, W16, 0x10);
    assert!(w.lines().is_empty());
    w.put(AT, CONTROL, W16, 0x7C0);
    w.put(AT, STATUS, W16, 0x10);
    w.r.plug(Some(PORT), 0, 0, Card::express().boxed(), &mut w.b).unwrap();
    assert!(w.lines().is_empty(), "nobody wants to know");
    w.put(AT, CONTROL, W16, 0x7E1);
    assert_eq!(w.lines(), [16 + 4 + 2], "now somebody does");
}

#[test]
fn an_interlock_turns_with_each_pulse() {
    let mut w = ready(one_port());
    for want in [0x80, 0] {
        w.put(AT, CONTROL, W16, 0xFC0);
        assert_eq!((w.get(AT, STATUS, W16) & 0x80, w.get(AT, CONTROL, W16)), (want, 0x7C0));
    }
}

#[test]
fn half_way_through_it_is_saved() {
    let with_card = || {
        World::q35(|r| {
            let port =
                r.add(2, 0, RootPort::new(PortOptions { slot: 9, ..PortOptions::default() }));
            r.add_below(port, 0, 0, Card::express());
        })
    };
    let (mut w, n) = plugged();
    w.r.unplug_request(n, &mut w.b).unwrap();
    w.put(AT, CONTROL, W16, BLINK);
    let mut copy = w.copy_to(with_card());
    assert_eq!(copy.b.windows, w.b.windows);
    assert_eq!(copy.r.unplug_request(n, &mut copy.b), Err(PlugError::Asked));
    assert_eq!(copy.get(AT, STATUS, W16), w.get(AT, STATUS, W16));
    copy.put(AT, CONTROL, W16, OFF);
    assert_eq!(copy.unplugged(), [n]);
    let mut empty = one_port();
    assert!(empty.r.load(&w.r.save()).is_err(), "there is no card in it");
}

#[test]
fn a_reset_leaves_the_card_in() {
    let (mut w, n) = plugged();
    w.r.reset();
    w.r.settle(&mut w.b);
    assert_eq!(w.seen(n, 0), None);
    w.put(AT, 0x18, W32, 0x0001_0100);
    assert_eq!((w.get(AT, CONTROL, W16), status(&mut w), link(&mut w)), (0x3C0, 0x40, 0x2011));
    assert_eq!(w.get((1, 0, 0), 0, W32), 0x5678_1234, "and it has power");
}
