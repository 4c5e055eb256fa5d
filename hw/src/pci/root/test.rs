use super::*;
use crate::pci::i440fx::{I440fx, Piix3, Piix4Pm};
use crate::pci::q35::{Ich9Lpc, Mch};
use crate::pci::smbus::Ich9Smbus;
use crate::pci::testdev::TestDev;
use Width::*;

fn q35() -> (Root, Bench) {
    let (mut r, mut b) = (Root::new(Chipset::Q35), Bench::default());
    r.add(0, 0, Mch::default());
    r.add(0x1F, 0, Ich9Lpc::new(false));
    r.add(0x1F, 3, Ich9Smbus::default());
    r.add(1, 0, TestDev::default());
    r.settle(&mut b);
    (r, b)
}
fn pc() -> (Root, Bench) {
    let (mut r, mut b) = (Root::new(Chipset::I440fx), Bench::default());
    r.add(0, 0, I440fx::default());
    r.add(1, 0, Piix3::default());
    r.add(1, 3, Piix4Pm::new(false));
    r.settle(&mut b);
    (r, b)
}
fn port(at: u64) -> Reg {
    Reg { bank: 0, at }
}
fn config(device: u64, function: u64, at: u64) -> u64 {
    1 << 31 | device << 11 | function << 8 | at & !3
}
fn get(r: &mut Root, b: &mut Bench, (dev, f): (u64, u64), at: u64, w: Width) -> u64 {
    r.write(port(0), W32, config(dev, f, at), b);
    r.read(port(4 + at % 4), w, b)
}
fn put(r: &mut Root, b: &mut Bench, (dev, f): (u64, u64), at: u64, w: Width, value: u64) {
    r.write(port(0), W32, config(dev, f, at), b);
    r.write(port(4 + at % 4), w, value, b)
}
const LPC: (u64, u64) = (0x1F, 0);

#[test]
fn mechanism_1_finds_what_is_there() {
    let (mut r, mut b) = q35();
    assert_eq!(get(&mut r, &mut b, (0, 0), 0, W32), 0x29C0_8086);
    assert_eq!(get(&mut r, &mut b, LPC, 2, W16), 0x2918);
    assert_eq!(get(&mut r, &mut b, LPC, 0xB, W8), 0x06);
    assert_eq!(get(&mut r, &mut b, (5, 0), 0, W32), 0xFFFF_FFFF);
    assert_eq!(get(&mut r, &mut b, LPC, 0xE, W8), 0x80);
    r.write(port(0), W32, 0x8001_0000, &mut b);
    assert_eq!(r.read(port(4), W32, &mut b), 0xFFFF_FFFF, "no bus 1");
    r.write(port(0), W32, 0, &mut b);
    assert_eq!(r.read(port(4), W16, &mut b), 0xFFFF, "not enabled");
    r.write(port(0), W32, 0x8000_0000, &mut b);
    r.write(port(0), W16, 0x1234, &mut b);
    assert_eq!(r.read(port(0), W32, &mut b), 0x8000_0000, "the address port takes dwords");
    let (mut r, mut b) = pc();
    let ids = [(0, 0), (1, 0), (1, 3)].map(|f| get(&mut r, &mut b, f, 0, W32));
    assert_eq!(ids, [0x1237_8086, 0x7000_8086, 0x7113_8086]);
}

#[test]
fn the_express_window_shows_the_same_space() {
    let (mut r, mut b) = q35();
    assert!(!b.windows.contains_key(&ECAM));
    put(&mut r, &mut b, (0, 0), 0x60, W32, 0xB000_0001);
    assert_eq!(
        b.windows[&ECAM],
        Place { space: Space::Memory, base: 0xB000_0000, len: 256 << 20, what: Seen::Registers }
    );
    let at = |dev: u64, f: u64, at: u64| Reg { bank: ECAM, at: dev << 15 | f << 12 | at };
    assert_eq!(r.read(at(0x1F, 3, 0), W32, &mut b), 0x2930_8086);
    assert_eq!(r.read(at(0x1F, 3, 0x100), W32, &mut b), 0);
    assert_eq!(r.read(at(7, 0, 0), W16, &mut b), 0xFFFF);
    r.write(at(0x1F, 3, 0x3C), W8, 11, &mut b);
    assert_eq!(get(&mut r, &mut b, (0x1F, 3), 0x3C, W8), 11);
}

#[test]
fn a_bar_is_shown_and_its_function_reached() {
    let (mut r, mut b) = q35();
    put(&mut r, &mut b, (1, 0), 0x14, W32, 0xC000);
    put(&mut r, &mut b, (1, 0), 4, W16, 1);
    let (bank, place) = b.windows.iter().find(|(_, p)| p.base == 0xC000).unwrap();
    assert_eq!((*bank, place.len), (0x401, 256));
    r.write(Reg { bank: 0x401, at: 0 }, W8, 0, &mut b);
    assert_eq!(r.read(Reg { bank: 0x401, at: 8 }, W8, &mut b), 0xFA);
    assert_eq!(r.read(Reg { bank: 0xFF00, at: 0 }, W8, &mut b), 0xFF, "no such function");
}

#[test]
fn ich9_places_its_power_management() {
    let (mut r, mut b) = q35();
    put(&mut r, &mut b, LPC, 0x40, W32, 0x601);
    assert!(!b.windows.contains_key(&0x209));
    put(&mut r, &mut b, LPC, 0x44, W8, 0x80);
    assert_eq!(
        b.windows[&0x209],
        Place { space: Space::Io, base: 0x600, len: 128, what: Seen::Registers }
    );
    assert_eq!(get(&mut r, &mut b, LPC, 0x40, W32), 0x601);
    r.write(Reg { bank: 0x209, at: 2 }, W16, 0x100, &mut b);
    r.input(Input::PowerButton, &mut b);
    assert!(b.pin(Pin(9)));
    put(&mut r, &mut b, LPC, 0x44, W8, 0x84);
    assert!(!b.pin(Pin(9)) && b.pin(Pin(20)), "the SCI moved");
    r.write(Reg { bank: 0x209, at: 0 }, W16, 0x100, &mut b);
    assert!(!b.pin(Pin(20)));
    put(&mut r, &mut b, LPC, 0xF0, W32, 0xFED1_C001);
    assert_eq!(b.windows[&0x208].base, 0xFED1_C000);
    assert_eq!(r.read(Reg { bank: 0x208, at: 0x3140 }, W16, &mut b), 0x3210);
}

#[test]
fn the_watchdog_resets_the_machine() {
    for no_reboot in [0, 0x20] {
        let (mut r, mut b) = q35();
        r.write(Reg { bank: 0x208, at: 0x3410 }, W8, no_reboot, &mut b);
        r.write(Reg { bank: 0x209, at: 0x60 }, W16, 1, &mut b);
        b.run_for(&mut r, 10 * SECOND);
        assert_eq!((b.asked.contains(&Request::Reset), b.wake), (no_reboot == 0, None));
    }
}

#[test]
fn the_power_management_timer_wakes_through_the_bus() {
    let (mut r, mut b) = pc();
    put(&mut r, &mut b, (1, 3), 0x40, W32, 0x600);
    put(&mut r, &mut b, (1, 3), 0x80, W8, 1);
    assert_eq!(b.windows[&0x308].base, 0x600);
    r.write(Reg { bank: 0x308, at: 2 }, W16, 1, &mut b);
    b.run_to_wake(&mut r);
    assert!(b.pin(Pin(9)) && b.now > 2 * SECOND);
}

/// A function that pulls its interrupt when told.
struct Puller(Config);
impl Function for Puller {
    fn config(&self) -> &Config {
        &self.0
    }
    fn config_mut(&mut self) -> &mut Config {
        &mut self.0
    }
}
impl Device for Puller {
    fn name(&self) -> &'static str {
        "puller"
    }
    fn read(&mut self, _: Reg, _: Width, _: &mut dyn Cx) -> u64 {
        0
    }
    fn write(&mut self, _: Reg, _: Width, value: u64, cx: &mut dyn Cx) {
        self.0.set_intx(value != 0);
        cx.ask(Request::Send(vec![value as u8]));
    }
    fn reset(&mut self) {}
    fn save(&self) -> Vec<u8> {
        crate::pci::save(&self.0, Vec::new())
    }
    fn load(&mut self, from: &[u8]) -> Result<(), Misfit> {
        crate::pci::load(&mut self.0, from, |_| Ok(()))
    }
}
use crate::pci::{Config, Ids};
fn puller(pin: u8) -> Puller {
    Puller(Config::new(Ids { vendor: 1, device: 2, class: 0, revision: 0 }).interrupt_pin(pin))
}

#[test]
fn interrupts_are_routed_as_on_q35() {
    let (mut r, mut b) = q35();
    for (device, pin, gsi) in
        [(2, 1, 22), (3, 1, 23), (4, 1, 20), (5, 2, 22), (25, 1, 16), (30, 2, 21)]
    {
        let n = r.add(device, 0, puller(pin));
        r.write(Reg { bank: (n + 1) << 8, at: 0 }, W8, 1, &mut b);
        assert!(b.pin(Pin(gsi)), "device {device} pin {pin}");
        assert_eq!(b.asked.last(), Some(&Request::From(n, Box::new(Request::Send(vec![1])))));
        r.write(Reg { bank: (n + 1) << 8, at: 0 }, W8, 0, &mut b);
        assert!((0..24).all(|n| !b.pin(Pin(n))));
    }
    let n = r.at(2 << 3).unwrap();
    put(&mut r, &mut b, LPC, 0x6A, W8, 10);
    r.write(Reg { bank: (n + 1) << 8, at: 0 }, W8, 1, &mut b);
    assert!(b.pin(Pin(10)) && b.pin(Pin(22)), "to the 8259A as well");
    put(&mut r, &mut b, (2, 0), 4, W16, 0x400);
    assert!(!b.pin(Pin(10)) && !b.pin(Pin(22)));
}

#[test]
fn interrupts_are_routed_as_on_pc() {
    let (mut r, mut b) = pc();
    let n = r.add(3, 0, puller(1));
    r.write(Reg { bank: (n + 1) << 8, at: 0 }, W8, 1, &mut b);
    assert!((0..24).all(|n| !b.pin(Pin(n))));
    put(&mut r, &mut b, (1, 0), 0x62, W8, 11);
    assert!(b.pin(Pin(11)));
}

#[test]
fn port_cf9_resets() {
    let (mut r, mut b) = q35();
    r.write(port(1), W8, 2, &mut b);
    assert_eq!((r.read(port(1), W8, &mut b), b.asked.len()), (2, 0));
    r.write(port(1), W8, 6, &mut b);
    assert_eq!(b.asked, [Request::Reset]);
}

#[test]
fn the_bus_is_saved_with_its_functions() {
    let (mut r, mut b) = q35();
    put(&mut r, &mut b, (0, 0), 0x60, W32, 0xB000_0001);
    put(&mut r, &mut b, (0, 0), 0x90, W8, 0x30);
    let saved = r.save();
    let (mut q, mut c) = q35();
    q.load(&saved).unwrap();
    q.settle(&mut c);
    assert_eq!((&c.windows, q.save()), (&b.windows, saved.clone()));
    assert!(q.function::<Mch>(0).unwrap().pam()[0].read_ram);
    let (mut other, _) = pc();
    let before = other.save();
    assert!(other.load(&saved).is_err());
    assert_eq!(other.save(), before);
    q.reset();
    q.settle(&mut c);
    assert!(!c.windows.contains_key(&ECAM));
}

#[test]
fn a_function_is_reached_as_what_it_is() {
    let (mut r, mut b) = q35();
    let done = r.with(1, &mut b, |lpc: &mut Ich9Lpc, cx| {
        lpc.pm.write(2, W16, 0x100, cx);
        lpc.pm.power_button();
        lpc.settle(cx);
        true
    });
    assert_eq!((done, b.pin(Pin(9))), (Some(true), true));
    assert_eq!(r.with(0, &mut b, |_: &mut Ich9Lpc, _| ()), None, "that is the MCH");
}
