//! Any device, any calls, any jumps of time: nothing panics, nothing grows, and what is saved is all there is.

use device::*;
use hw::ahci::Ahci;
use hw::ata::DriveConfig;
use hw::chipset::lapic::{Config, Lapic};
use hw::chipset::{debug, dma8237, fw_cfg, hpet, ioapic, pic, pit, port92, rtc};
use hw::flash::{self, Cfi};
use hw::ide::Piix3Ide;
use hw::input::i8042::I8042;
use hw::pci::bridge::Bridge;
use hw::pci::i440fx::{I440fx, Piix3, Piix4Pm};
use hw::pci::port::{PortOptions, RootPort};
use hw::pci::q35::{Ich9Lpc, Mch};
use hw::pci::smbus::Ich9Smbus;
use hw::pci::testdev::TestDev;
use hw::pci::{Chipset, Function, Root};
use hw::serial::uart16550::Uart;
use hw::virtio::{
    Blk, BlkConfig, Console, ConsoleConfig, PciOptions, Port, Rng, RngConfig, VirtioPci,
};
use hw::{Vga, VgaConfig};

/// A device, and the banks to hit with their lengths.
struct Case {
    make: fn() -> Box<dyn Device>,
    banks: &'static [(u16, u64)],
    pins: u16,
}

fn root(chipset: Chipset) -> Box<dyn Device> {
    let mut r = Root::new(chipset);
    if chipset == Chipset::Q35 {
        r.add(0, 0, Mch::default());
        r.add(31, 0, Ich9Lpc::new(true));
        r.add(31, 3, Ich9Smbus::default());
    } else {
        r.add(0, 0, I440fx::default());
        r.add(1, 0, Piix3::default());
        r.add(1, 3, Piix4Pm::new(true));
    }
    r.add(5, 0, TestDev::default());
    Box::new(r)
}

/// Bridges below bridges. Nothing can be taken out: a copy would have other functions (see `pci/hostile.rs`).
fn tree() -> Box<dyn Device> {
    let fixed = PortOptions { hotplug: false, ..PortOptions::default() };
    let mut r = Root::new(Chipset::Q35);
    r.add(0, 0, Mch::default());
    r.add(31, 0, Ich9Lpc::new(true));
    let port = r.add(1, 0, RootPort::new(fixed));
    let upper = r.add_below(port, 0, 0, Bridge::express_to_pci());
    let lower = r.add_below(upper, 0, 0, Bridge::pci(1));
    r.add_below(lower, 1, 0, TestDev::default());
    Box::new(r)
}

fn lapic() -> Box<dyn Device> {
    let tsc_hz = 2_000_000_001;
    Box::new(Lapic::new(Config { cpu: 0, id: 1, bsp: true, phys_bits: 40, x2apic: true, tsc_hz }))
}

fn vga() -> Box<dyn Device> {
    Box::new(Vga::new(VgaConfig { vram_bytes: 1 << 20, ..VgaConfig::default() }))
}

fn flash() -> Box<dyn Device> {
    Box::new(Cfi::new(flash::Config { base: 0, len: 0x4000, backing: 0, read_only: false }))
}

fn items() -> Box<dyn Device> {
    let mut d = fw_cfg::FwCfg::new();
    d.add_file("a", vec![1; 100]);
    d.add_writable_file("b", vec![2; 100]);
    Box::new(d)
}

fn virtio<D: hw::virtio::VirtioDevice>(device: D) -> Box<dyn Device> {
    Box::new(VirtioPci::new(device, PciOptions::default()))
}
fn serial() -> Box<dyn Device> {
    let port = |number, console| Port { number, console, name: "name".into() };
    let ports = vec![port(0, true), port(3, false)];
    virtio(Console::new(ConsoleConfig { ports, max_ports: 5, emergency_write: true }))
}

const VIRTIO: &[(u16, u64)] = &[(0, 0x50), (1, 0x40), (4, 0x40), (4, 0x3010), (4, 0x100C)];
fn ide() -> Box<dyn Device> {
    let (disk, cd) = (Some(DriveConfig::disk()), Some(DriveConfig::cd()));
    Box::new(Piix3Ide::new([disk.clone(), cd.clone(), cd, None]))
}

fn ahci() -> Box<dyn Device> {
    let (disk, cd) = (Some(DriveConfig::disk()), Some(DriveConfig::cd()));
    let mut d = Ahci::new([disk, cd, None, None, None, None]);
    d.config_mut().write(4, Width::W16, 7);
    Box::new(d)
}

#[rustfmt::skip]
const CASES: &[Case] = &[
    Case { make: lapic, banks: &[(0, 0x400)], pins: 3 },
    Case { make: || Box::new(ioapic::IoApic::new()), banks: &[(0, 0x48)], pins: 26 },
    Case { make: || Box::new(pic::Pic::new()), banks: &[(0, 2), (1, 2), (2, 2)], pins: 17 },
    Case { make: || Box::new(pit::Pit::new()), banks: &[(0, 4), (1, 1)], pins: 1 },
    Case { make: || Box::new(rtc::Rtc::new(1_700_000_000)), banks: &[(0, 2)], pins: 0 },
    Case { make: || Box::new(hpet::Hpet::new(0xFF0104)), banks: &[(0, 0x160)], pins: 2 },
    Case { make: || Box::new(port92::Port92::new()), banks: &[(0, 1)], pins: 0 },
    Case { make: || Box::new(dma8237::Dma8237::new()), banks: &[(0, 16), (1, 32), (2, 16)], pins: 0 },
    Case { make: || Box::new(debug::TestDev::new()), banks: &[(0, 4), (2, 4), (3, 24), (4, 0x10000)], pins: 0 },
    Case { make: || Box::<debug::DebugCon>::default(), banks: &[(0, 1)], pins: 0 },
    Case { make: || Box::new(debug::DebugExit), banks: &[(0, 4)], pins: 0 },
    Case { make: || Box::<debug::PvPanic>::default(), banks: &[(0, 1)], pins: 0 },
    Case { make: items, banks: &[(0, 12)], pins: 0 },
    Case { make: flash, banks: &[(0, 0x4000)], pins: 0 },
    Case { make: || Box::new(Uart::new(true)), banks: &[(0, 8)], pins: 0 },
    Case { make: || Box::new(Uart::new(false)), banks: &[(0, 8)], pins: 0 },
    Case { make: || Box::new(I8042::new()), banks: &[(0, 1), (1, 1)], pins: 0 },
    Case { make: vga, pins: 0,
           banks: &[(2, 0x1000), (8, 16), (9, 2), (11, 2), (12, 1), (13, 4), (14, 0x20000), (16, 0x10000)] },
    Case { make: || virtio(Blk::new(BlkConfig { queues: 2, ..BlkConfig::default() })), pins: 0, banks: VIRTIO },
    Case { make: || virtio(Rng::new(RngConfig { limit: Some((100, 5_000_000)) })), pins: 0, banks: VIRTIO },
    Case { make: serial, pins: 0, banks: VIRTIO },
    Case { make: ide, banks: &[(4, 16), (8, 8), (8, 1), (9, 1), (10, 8), (10, 1), (11, 1)], pins: 0 },
    Case { make: ahci, banks: &[(4, 32), (5, 0x300), (5, 0x180), (5, 8)], pins: 0 },
    Case { make: || root(Chipset::Q35), pins: 0,
           banks: &[(0, 8), (1, 0x100000), (0x208, 0x4000), (0x209, 128), (0x20A, 2), (0x304, 32), (0x400, 4096), (0x401, 256)] },
    Case { make: tree, pins: 0,
           banks: &[(0, 8), (1, 0x400000), (1, 0x10000), (0x300, 0x1000), (0x600, 4096), (0x601, 256)] },
    Case { make: || root(Chipset::I440fx), pins: 0,
           banks: &[(0, 8), (0x308, 64), (0x309, 64), (0x30A, 2), (0x30B, 4), (0x400, 4096), (0x401, 256)] },
];

/// xorshift64*.
struct Random(u64);
impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }
    /// Small numbers, single bits, all ones, anything.
    fn value(&mut self) -> u64 {
        match self.below(5) {
            0 => self.below(8),
            1 => self.below(256),
            2 => 1 << self.below(64),
            3 => u64::MAX,
            _ => self.next(),
        }
    }
}

/// A world with memory for DMA and for windows.
fn bench() -> Bench {
    let mut b = Bench::with_ram(0x1_0000);
    b.backing.0 = vec![0; 1 << 20];
    b
}

/// Time stays where sums of times make sense.
const END: Tick = 1 << 61;

fn medium(r: &mut Random) -> Option<Medium> {
    let block = 512 << r.below(4);
    let len = if r.below(4) == 0 { r.value() } else { 1 << 20 };
    (r.below(4) != 0).then(|| Medium {
        len,
        read_only: r.below(8) == 0,
        block,
        physical: block << r.below(4),
        write_cache: r.below(2) == 0,
    })
}

/// The disk's answer, mostly the right one.
fn disk_answer(op: &DiskOp, r: &mut Random) -> Result<Buffer, DiskError> {
    let len = if let DiskOp::Read { len, .. } = op { *len as usize } else { 0 };
    match r.below(8) {
        0 => Err(DiskError::Io),
        1 => Ok(Buffer::zeroed(r.below(5000) as usize)),
        _ if len > 1 << 20 => Err(DiskError::Range),
        _ => Ok(vec![0x5A; len].into()),
    }
}

/// A command header, a frame and a list of regions, all in one place, as AHCI finds them when nobody says where.
fn command_in_memory(b: &mut Bench, r: &mut Random) {
    let at = 32 * r.below(4) as usize;
    let codes = [0x25, 0x35, 0x60, 0x61, 0xEC, 0xA0, 0xA1, 0x24, 0x34, 0x06, 0xE7, 0x2F, 0xEF];
    let code = if r.below(3) == 0 { r.next() } else { codes[r.below(13) as usize] };
    let mut bytes: Vec<u8> = (0..256).map(|_| r.value() as u8 & 0x3F).collect();
    bytes[..3].copy_from_slice(&[
        0x27,
        0x80 & r.next() as u8 | 0x80 * r.below(8).min(1) as u8,
        code as u8,
    ]);
    bytes[2] = code as u8;
    // The same table for all, in the first bytes of memory.
    bytes[8..16].fill(0);
    b.ram[at..at + 256].copy_from_slice(&bytes);
}

fn input(r: &mut Random) -> Input {
    let number = |r: &mut Random| r.value() as i32;
    match r.below(12) {
        9 => Input::Medium { unit: r.below(4) as u16, medium: medium(r) },
        10 => Input::EjectRequest { unit: r.below(4) as u16 },
        11 => {
            Input::Disk { unit: r.below(4) as u16, tag: r.value(), result: Ok(vec![1; 512].into()) }
        }
        0 => Input::Bytes((0..r.below(40)).map(|i| i as u8).collect()),
        1 => Input::Break,
        2 => Input::Carrier(r.below(2) == 0),
        3 | 4 => Input::Key { code: r.next() as u8, down: r.below(2) == 0 },
        5 => {
            Input::Pointer { dx: number(r), dy: number(r), dz: number(r), buttons: r.next() as u8 }
        }
        6 => Input::PowerButton,
        7 => Input::Nmi,
        _ => Input::TimeOfDay(r.value() as i64),
    }
}

fn step(case: &Case, d: &mut dyn Device, b: &mut Bench, r: &mut Random) {
    let widths = [Width::W8, Width::W8, Width::W16, Width::W32, Width::W32, Width::W64];
    let w = widths[r.below(6) as usize];
    let (bank, len) = case.banks[r.below(case.banks.len() as u64) as usize];
    let at = if r.below(50) == 0 { r.value() >> 1 } else { r.below(len) };
    let reg = Reg { bank, at: if r.below(2) == 0 { at & !(w.bytes() - 1) } else { at } };
    match r.below(20) {
        0..=7 => d.write(reg, w, r.value() & w.mask(), b),
        8..=12 => {
            let value = d.read(reg, w, b);
            assert_eq!(
                value & !w.mask(),
                0,
                "{}: a wide answer to a {w:?} read at {reg:?}",
                d.name()
            );
        }
        13 => d.wire(Pin(r.below(case.pins.into()) as u16), r.below(2) == 0, b),
        14 => d.input(input(r), b),
        15 | 16 => b.now = (b.now + r.below(10_000_000)).min(END),
        17 if b.wake.is_some_and(|at| at <= END) => {
            b.run_to_wake(d);
            // A board wakes whom the time has come for, until there is nobody left.
            let again = b.wake.is_some_and(|at| at <= b.now);
            assert!(
                !again,
                "{}: woken at {}, it wants to be woken at {:?}",
                d.name(),
                b.now,
                b.wake
            );
        }
        18 if r.below(20) == 0 => b.now = (b.now + (1 << r.below(61))).min(END),
        19 if r.below(200) == 0 => {
            d.reset();
            d.settle(b);
        }
        _ => {}
    }
    if r.below(16) == 0 {
        command_in_memory(b, r);
    }
    for what in std::mem::take(&mut b.asked) {
        if let Request::Disk { unit, tag, op } = what
            && r.below(8) != 0
        {
            d.input(Input::Disk { unit, tag, result: disk_answer(&op, r) }, b);
        }
    }
    b.asked.clear();
    b.messages.clear();
    b.complaints.clear();
}

/// A copy has the same state and the same outputs.
fn check_copy(case: &Case, d: &mut dyn Device, now: Tick, seed: u64) {
    let outputs = |d: &mut dyn Device| {
        let mut b = Bench::with_ram(0x1000);
        b.now = now;
        d.settle(&mut b);
        (b.pins, b.wake, b.windows)
    };
    let saved = d.save();
    assert!(saved.len() < 200_000, "{} has grown to {} bytes", d.name(), saved.len());
    let mut copy = (case.make)();
    copy.load(&saved).unwrap_or_else(|e| panic!("{}: {e} (seed {seed})", d.name()));
    assert!(copy.save() == saved, "{}: saved, loaded, saved again (seed {seed})", d.name());
    assert_eq!(outputs(d), outputs(&mut *copy), "{} (seed {seed})", d.name());
}

#[test]
fn any_device_stands_any_calls() {
    for (n, case) in CASES.iter().enumerate() {
        let seed = 0x9E37_79B9_7F4A_7C15 ^ n as u64;
        let (mut r, mut b, mut d) = (Random(seed), bench(), (case.make)());
        d.settle(&mut b);
        for i in 0..200_000 {
            step(case, &mut *d, &mut b, &mut r);
            if i % 10_000 == 0 {
                check_copy(case, &mut *d, b.now, seed);
                d.settle(&mut b);
                let _ = d.describe();
                // Another life, at an early time.
                if i % 40_000 == 0 {
                    (d, b) = ((case.make)(), bench());
                    d.settle(&mut b);
                }
            }
        }
    }
}

#[test]
fn a_damaged_state_is_refused_or_lived_with() {
    for (n, case) in CASES.iter().enumerate() {
        let (mut r, mut b, mut d) = (Random(77 + n as u64), bench(), (case.make)());
        for _ in 0..500 {
            step(case, &mut *d, &mut b, &mut r);
        }
        let good = d.save();
        for _ in 0..200 {
            let mut bad = good.clone();
            for _ in 0..=r.below(4) {
                if let Some(at) = (!bad.is_empty()).then(|| r.below(bad.len() as u64) as usize) {
                    bad[at] = r.value() as u8;
                }
            }
            if r.below(8) == 0 {
                bad.truncate(r.below(bad.len() as u64 + 1) as usize);
            }
            let (mut e, mut b) = ((case.make)(), bench());
            let before = e.save();
            match e.load(&bad) {
                Err(_) => assert!(e.save() == before, "{} changed by a refused state", e.name()),
                Ok(()) => {
                    e.settle(&mut b);
                    (0..100).for_each(|_| step(case, &mut *e, &mut b, &mut r));
                    let _ = e.describe();
                }
            }
        }
    }
}
