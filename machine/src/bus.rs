//! What a core reaches: memory, devices, ports, its local APIC.

use crate::clock::{Clock, TSC_HZ};
use crate::fabric::World;
use crate::parts::{DeviceId, Parts};
use device::Reg;
use hw::chipset::lapic::{Interrupt, Lapic};
use hw::chipset::pic::Pic;
use memory::{Target, Width, Window};

/// The machine as one core sees it.
pub struct CoreBus<'a> {
    pub world: &'a mut World,
    pub parts: &'a mut Parts,
    pub clock: &'a Clock,
    /// Instructions of all cores so far, less this core's own count: added to the core's count, the machine's.
    pub base: u64,
    pub lapic: Option<DeviceId>,
    pub pic: Option<DeviceId>,
    /// Every core sees its own local APIC here, whatever the map says.
    pub lapic_at: Option<u64>,
    /// The core is in system management mode, which has memory of its own.
    pub smm: bool,
}

impl CoreBus<'_> {
    fn sync(&mut self, count: u64) {
        self.world.now = self.clock.now(self.base.wrapping_add(count));
    }
    fn target(&self, phys: u64) -> Target {
        match (self.lapic_at, self.lapic) {
            (Some(at), Some(id)) if phys & !0xfff == at => {
                Target::Io { device: id.0, bank: 0, at: phys & 0xfff }
            }
            // The map has the windows of all local APICs; those of the others are not for this core.
            _ => match self.at(phys) {
                Target::Io { device, .. }
                    if self.parts.get::<Lapic>(DeviceId(device)).is_some() =>
                {
                    Target::Hole
                }
                t => t,
            },
        }
    }
    /// What the map says of an address.
    fn at(&self, phys: u64) -> Target {
        match self.world.smm.at(phys) {
            t if self.smm && t != Target::Hole => t,
            _ => self.world.memory.at(phys),
        }
    }
    /// For how many bytes it says the same.
    fn run(&self, phys: u64) -> u64 {
        let run = self.world.memory.run(phys);
        if self.smm { run.min(self.world.smm.run(phys)) } else { run }
    }
    fn read_target(&mut self, t: Target, w: Width) -> u64 {
        match t {
            Target::Io { device, bank, at } => {
                self.parts.read(self.world, DeviceId(device), Reg { bank, at }, w)
            }
            Target::Ram { offset } | Target::Rom { offset, .. } => {
                let mut b = [0; 8];
                let _ = self.world.ram.read(offset, &mut b[..w.bytes() as usize]);
                u64::from_le_bytes(b)
            }
            Target::Hole => w.mask(),
        }
    }
    fn write_target(&mut self, t: Target, w: Width, value: u64) {
        match t {
            Target::Io { device, bank, at } => {
                self.parts.write(self.world, DeviceId(device), Reg { bank, at }, w, value)
            }
            Target::Ram { offset } => {
                let _ = self.world.ram.write(offset, &value.to_le_bytes()[..w.bytes() as usize]);
            }
            Target::Rom { writes: Some(Window { device, bank, at }), .. } => {
                self.parts.write(self.world, DeviceId(device), Reg { bank, at }, w, value)
            }
            Target::Rom { .. } | Target::Hole => {}
        }
    }
    /// After the APIC base MSR may have changed.
    fn refresh(&mut self) {
        self.lapic_at =
            self.lapic.and_then(|id| self.parts.get::<Lapic>(id)).and_then(Lapic::window);
    }
}

/// Ports wider than a device decodes are served in pieces.
fn pieces(map: &memory::Map, port: u16, w: Width) -> Option<Width> {
    let run = map.run(port as u64);
    (run < w.bytes()).then_some(if run >= 2 { Width::W16 } else { Width::W8 })
}

impl cpu::Bus for CoreBus<'_> {
    fn page(&mut self, phys: u64) -> Option<Target> {
        if self.lapic_at == Some(phys & !0xfff) {
            return None;
        }
        if self.smm && self.world.smm.page(phys) != Some(Target::Hole) {
            return self.world.smm.page(phys);
        }
        self.world.memory.page(phys)
    }
    fn read(&mut self, count: u64, phys: u64, w: Width) -> u64 {
        self.sync(count);
        if self.run(phys) < w.bytes() {
            return (0..w.bytes()).fold(0, |v, n| {
                let t = self.target(phys + n);
                v | (self.read_target(t, Width::W8) & 0xff) << (8 * n)
            });
        }
        let t = self.target(phys);
        self.read_target(t, w)
    }
    fn write(&mut self, count: u64, phys: u64, w: Width, value: u64) {
        self.sync(count);
        if self.run(phys) < w.bytes() {
            for n in 0..w.bytes() {
                let t = self.target(phys + n);
                self.write_target(t, Width::W8, value >> (8 * n) & 0xff);
            }
            return;
        }
        let t = self.target(phys);
        self.write_target(t, w, value);
    }
    fn port_read(&mut self, count: u64, port: u16, w: Width) -> u64 {
        self.sync(count);
        if let Some(piece) = pieces(&self.world.ports, port, w) {
            return (0..w.bytes() / piece.bytes()).fold(0, |v, n| {
                let at = port.wrapping_add((n * piece.bytes()) as u16);
                let t = self.world.ports.at(at as u64);
                v | (self.read_target(t, piece) & piece.mask()) << (piece.bits() as u64 * n)
            });
        }
        let t = self.world.ports.at(port as u64);
        self.read_target(t, w) & w.mask()
    }
    fn port_write(&mut self, count: u64, port: u16, w: Width, value: u64) {
        self.sync(count);
        if let Some(piece) = pieces(&self.world.ports, port, w) {
            for n in 0..w.bytes() / piece.bytes() {
                let at = port.wrapping_add((n * piece.bytes()) as u16);
                let t = self.world.ports.at(at as u64);
                self.write_target(t, piece, value >> (piece.bits() as u64 * n) & piece.mask());
            }
            return;
        }
        let t = self.world.ports.at(port as u64);
        self.write_target(t, w, value & w.mask());
    }
    fn tsc(&mut self, count: u64) -> u64 {
        const _: () = assert!(TSC_HZ == device::SECOND);
        self.clock.now(self.base.wrapping_add(count))
    }
    fn acknowledge(&mut self, count: u64) -> Option<u8> {
        self.sync(count);
        let what = match self.lapic {
            Some(id) => {
                self.parts.get::<Lapic>(id)?.pending()?;
                self.parts.with_as(self.world, id, |l: &mut Lapic, cx| l.ack(cx))?
            }
            None => Interrupt::ExtInt,
        };
        match what {
            Interrupt::Vector(v) => Some(v),
            Interrupt::ExtInt => {
                self.parts.with_as(self.world, self.pic?, |p: &mut Pic, cx| p.ack(cx))
            }
        }
    }
    fn msr_read(&mut self, count: u64, msr: u32) -> Option<u64> {
        self.sync(count);
        self.parts.with_as(self.world, self.lapic?, |l: &mut Lapic, cx| l.msr_read(msr, cx))?.ok()
    }
    fn msr_write(&mut self, count: u64, msr: u32, value: u64) -> Option<()> {
        self.sync(count);
        let r = self
            .parts
            .with_as(self.world, self.lapic?, |l: &mut Lapic, cx| l.msr_write(msr, value, cx))?;
        self.refresh();
        r.ok()
    }
    fn send_ipi(&mut self, count: u64, id: u32, command: u32) -> bool {
        self.sync(count);
        let there =
            self.parts.lapic_ids().iter().any(|&l| {
                self.parts.get::<Lapic>(l).is_some_and(|l| l.is_enabled() && l.id() == id)
            });
        let Some(own) = self.lapic.filter(|_| there) else { return false };
        self.parts.with_as(self.world, own, |l: &mut Lapic, cx| l.send_to(id, command, cx));
        true
    }
    fn set_smm(&mut self, on: bool) {
        self.smm = on;
    }
    fn tpr(&mut self) -> u8 {
        self.lapic.and_then(|id| self.parts.get::<Lapic>(id)).map_or(0, Lapic::cr8)
    }
    fn set_tpr(&mut self, count: u64, class: u8) {
        self.sync(count);
        if let Some(id) = self.lapic {
            self.parts.with_as(self.world, id, |l: &mut Lapic, cx| l.set_cr8(class, cx));
        }
    }
    fn random(&mut self) -> u64 {
        self.world.random.next()
    }
    fn attention(&mut self) -> bool {
        self.world.attention
    }
    fn complain(&mut self, what: std::fmt::Arguments<'_>) {
        self.world.complain(what)
    }
}
