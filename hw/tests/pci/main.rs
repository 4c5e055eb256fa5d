//! PCI buses below buses, on the bench: software that enumerates them, that plugs and unplugs, and that is mad.

mod acpi;
mod card;
mod firmware;
mod hostile;
mod pciehp;
mod tree;

use device::Width::*;
use device::*;
use hw::pci::i440fx::{I440fx, Piix3, Piix4Pm};
use hw::pci::q35::{Ich9Lpc, Mch};
use hw::pci::{Chipset, ECAM, Root};

/// A machine's buses and the world around them.
pub struct World {
    pub r: Root,
    pub b: Bench,
}

/// Bus, device, function.
pub type Bdf = (u8, u8, u8);

impl World {
    pub fn q35(build: impl FnOnce(&mut Root)) -> Self {
        let mut r = Root::new(Chipset::Q35);
        r.add(0, 0, Mch::default());
        r.add(0x1F, 0, Ich9Lpc::new(false));
        build(&mut r);
        let mut w = Self { r, b: Bench::with_ram(0x10000) };
        w.r.settle(&mut w.b);
        w.put((0, 0, 0), 0x60, W32, 0xB000_0001);
        w
    }
    pub fn pc(build: impl FnOnce(&mut Root)) -> Self {
        let mut r = Root::new(Chipset::I440fx).with_acpi_hotplug();
        r.add(0, 0, I440fx::default());
        r.add(1, 0, Piix3::default());
        r.add(1, 3, Piix4Pm::new(false));
        build(&mut r);
        let mut w = Self { r, b: Bench::with_ram(0x10000) };
        w.r.settle(&mut w.b);
        w
    }
    /// By configuration mechanism #1.
    pub fn get(&mut self, (bus, dev, f): Bdf, at: u64, w: Width) -> u64 {
        let address = 1 << 31 | u64::from(bus) << 16 | u64::from(dev) << 11 | u64::from(f) << 8;
        self.r.write(Reg { bank: 0, at: 0 }, W32, address | at & 0xFC, &mut self.b);
        self.r.read(Reg { bank: 0, at: 4 + at % 4 }, w, &mut self.b)
    }
    pub fn put(&mut self, (bus, dev, f): Bdf, at: u64, w: Width, value: u64) {
        let address = 1 << 31 | u64::from(bus) << 16 | u64::from(dev) << 11 | u64::from(f) << 8;
        self.r.write(Reg { bank: 0, at: 0 }, W32, address | at & 0xFC, &mut self.b);
        self.r.write(Reg { bank: 0, at: 4 + at % 4 }, w, value, &mut self.b)
    }
    /// By the window of PCI Express.
    pub fn ecam(&mut self, (bus, dev, f): Bdf, at: u64, w: Width) -> u64 {
        let at = u64::from(bus) << 20 | u64::from(dev) << 15 | u64::from(f) << 12 | at;
        self.r.read(Reg { bank: ECAM, at }, w, &mut self.b)
    }
    pub fn ecam_put(&mut self, (bus, dev, f): Bdf, at: u64, w: Width, value: u64) {
        let at = u64::from(bus) << 20 | u64::from(dev) << 15 | u64::from(f) << 12 | at;
        self.r.write(Reg { bank: ECAM, at }, w, value, &mut self.b)
    }
    /// Where bank `bank` of the function of this number is seen.
    pub fn seen(&self, number: u16, bank: u16) -> Option<u64> {
        self.b.windows.get(&((number + 1) << 8 | bank)).map(|p| p.base)
    }
    /// Writes to a function's bank.
    pub fn poke(&mut self, number: u16, bank: u16, at: u64, value: u64) {
        self.r.write(Reg { bank: (number + 1) << 8 | bank, at }, W32, value, &mut self.b);
    }
    /// A copy in `other`, made from what this one saves.
    pub fn copy_to(&self, mut other: World) -> World {
        let saved = self.r.save();
        other.b = Bench::with_ram(0x10000);
        other.b.now = self.b.now;
        other.r.load(&saved).expect("a machine of the same make");
        other.r.settle(&mut other.b);
        assert_eq!(other.r.save(), saved);
        other
    }
    /// Whom the bus has told to be gone since the last time.
    pub fn unplugged(&mut self) -> Vec<u16> {
        let asked = std::mem::take(&mut self.b.asked);
        let gone = |r: &Request| if let Request::Unplugged(n) = r { Some(*n) } else { None };
        asked.iter().filter_map(gone).collect()
    }
    /// Which of the lines 16 to 23 are up.
    pub fn lines(&self) -> Vec<u16> {
        (16..24).filter(|n| self.b.pin(Pin(*n))).collect()
    }
}
