//! The chips of the board `pc`: 82441FX host bridge, PIIX3 ISA bridge, PIIX4 power management.
//!
//! Intel 82441FX, 82371SB (PIIX3) and 82371AB (PIIX4) data sheets; reset values as QEMU has them.

use super::dram::{self, Around, Smram};
use super::smbus::Host;
use super::{Config, Function, Ids, Pam};
use crate::chipset::pm::{self, Chip, Pm};
use device::*;

const INTEL: u16 = 0x8086;

/// The host bridge, 0.0. Its own banks are those of [`dram`].
pub struct I440fx {
    config: Config,
    around: Around,
}

const SMRAM: usize = 0x72;

impl I440fx {
    pub fn new(around: Around) -> Self {
        let ids = Ids { vendor: INTEL, device: 0x1237, class: 0x06_0000, revision: 2 };
        let mut config = Config::new(ids).own_registers();
        config.set(SMRAM, &[0x02]);
        Self { config, around }
    }
    /// Which parts of the BIOS area are RAM.
    pub fn pam(&self) -> [Pam; 13] {
        Pam::decode(&self.config.bytes()[0x59..0x60])
    }
    /// Once locked, system management RAM is open to nobody else until the next reset.
    fn smram(&mut self) -> Smram {
        let control = dram::Control(self.config.u8(SMRAM));
        let locked = control.locked();
        self.config.allow(SMRAM, &[if locked { dram::CONTROL_LOCKED } else { dram::CONTROL }]);
        let control = control.with_open(control.open() && !locked);
        self.config.put(SMRAM, control.0);
        Smram { low: (control.open(), control.enabled() && self.around.smm), ..Smram::default() }
    }
}

impl Default for I440fx {
    fn default() -> Self {
        Self::new(Around::default())
    }
}

impl Function for I440fx {
    fn config(&self) -> &Config {
        &self.config
    }
    fn config_mut(&mut self) -> &mut Config {
        &mut self.config
    }
    fn config_written(&mut self, cx: &mut dyn Cx) {
        self.settle(cx);
    }
    fn removable(&self) -> bool {
        false
    }
}

impl Device for I440fx {
    fn name(&self) -> &'static str {
        "i440FX"
    }
    fn read(&mut self, _: Reg, w: Width, _: &mut dyn Cx) -> u64 {
        w.mask()
    }
    fn write(&mut self, at: Reg, w: Width, value: u64, cx: &mut dyn Cx) {
        dram::write(&self.pam(), at, w, value, cx);
    }
    fn reset(&mut self) {
        self.config.reset();
    }
    fn settle(&mut self, cx: &mut dyn Cx) {
        let smram = self.smram();
        dram::show(&self.around, &self.pam(), smram, cx);
    }
    fn save(&self) -> Vec<u8> {
        super::save(&self.config, Vec::new())
    }
    fn load(&mut self, from: &[u8]) -> Result<(), Misfit> {
        super::load(&mut self.config, from, |_| Ok(()))
    }
}

/// The ISA bridge, 1.0. Its PIRQ registers are obeyed by the bus.
pub struct Piix3 {
    config: Config,
}
impl Default for Piix3 {
    fn default() -> Self {
        let ids = Ids { vendor: INTEL, device: 0x7000, class: 0x06_0100, revision: 0 };
        let mut config = Config::new(ids).own_registers().multifunction();
        let reset: [(usize, &[u8]); 8] = [
            // Always a bus master, always decoding.
            (0x04, &[0x07, 0x00, 0x00, 0x02]),
            (0x4C, &[0x4D, 0x00, 0x03, 0x00]),
            (0x60, &[0x80; 4]),
            (0x69, &[0x02]),
            (0x70, &[0x80]),
            (0x76, &[0x0C, 0x0C, 0x02, 0x00]),
            (0xA0, &[0x08]),
            (0xAA, &[0x0F]),
        ];
        reset.into_iter().for_each(|(at, bytes)| config.set(at, bytes));
        Self { config }
    }
}

impl Function for Piix3 {
    fn config(&self) -> &Config {
        &self.config
    }
    fn config_mut(&mut self) -> &mut Config {
        &mut self.config
    }
    fn removable(&self) -> bool {
        false
    }
}

impl Device for Piix3 {
    fn name(&self) -> &'static str {
        "PIIX3"
    }
    fn read(&mut self, _: Reg, w: Width, _: &mut dyn Cx) -> u64 {
        w.mask()
    }
    fn write(&mut self, _: Reg, _: Width, _: u64, _: &mut dyn Cx) {}
    fn reset(&mut self) {
        self.config.reset();
    }
    fn save(&self) -> Vec<u8> {
        super::save(&self.config, Vec::new())
    }
    fn load(&mut self, from: &[u8]) -> Result<(), Misfit> {
        super::load(&mut self.config, from, |_| Ok(()))
    }
}

/// Power management and SMBus, 1.3.
///
/// Banks of its own: 8 the power management ports, 9 SMBus, 10 the SMI command ports 0xB2, 11 general events at 0xAFE0.
pub struct Piix4Pm {
    config: Config,
    pub pm: Pm,
    smbus: Host,
}

impl Piix4Pm {
    pub fn new(smm: bool) -> Self {
        let ids = Ids { vendor: INTEL, device: 0x7113, class: 0x06_8000, revision: 3 };
        let mut config = Config::new(ids).own_registers().interrupt_pin(1);
        let reset: [(usize, &[u8]); 8] = [
            (0x06, &[0x80, 0x02]),
            (0x40, &[0x01]),
            (0x5B, &[if smm { 0 } else { 2 }]),
            // Serial and parallel ports are decoded.
            (0x5F, &[0x10]),
            (0x63, &[0x60]),
            (0x67, &[0x98]),
            (0x90, &[0x01, 0xB1, 0, 0]),
            (0xD2, &[0x09]),
        ];
        reset.into_iter().for_each(|(at, bytes)| config.set(at, bytes));
        config.allow(0x40, &[0xC0, 0xFF, 0, 0]);
        config.allow(0x90, &[0xC0, 0xFF, 0, 0]);
        Self { config, pm: Pm::new(Chip::Piix4, smm), smbus: Host::default() }
    }
    fn tell(&self, cx: &mut dyn Cx) {
        cx.irq(Pin(9), self.pm.sci());
        cx.wake_at(self.pm.next());
    }
    fn show(&self, cx: &mut dyn Cx) {
        let c = &self.config;
        let io = |base: u16, len, on| {
            (on && base != 0).then_some(Place {
                space: Space::Io,
                base: base.into(),
                len,
                what: Seen::Registers,
            })
        };
        cx.map(8, io(c.u16(0x40) & 0xFFC0, 64, c.u8(0x80) & 1 != 0));
        cx.map(9, io(c.u16(0x90) & 0xFFC0, 64, c.u8(0xD2) & 1 != 0));
        cx.map(10, io(0xB2, 2, true));
        cx.map(11, io(0xAFE0, 4, true));
    }
}

impl Function for Piix4Pm {
    fn config(&self) -> &Config {
        &self.config
    }
    fn config_mut(&mut self) -> &mut Config {
        &mut self.config
    }
    fn config_written(&mut self, cx: &mut dyn Cx) {
        self.show(cx);
    }
    fn removable(&self) -> bool {
        false
    }
    fn general_event(&mut self, n: u32, cx: &mut dyn Cx) {
        self.pm.event(n);
        self.tell(cx);
    }
}

state! {
    /// What it has beside its configuration space.
    pub struct Piix4State {
        1 pm: pm::State = pm::State::default(),
        2 smbus: super::smbus::State = super::smbus::State::default(),
    }
}

impl Device for Piix4Pm {
    fn name(&self) -> &'static str {
        "PIIX4_PM"
    }
    fn read(&mut self, at: Reg, w: Width, cx: &mut dyn Cx) -> u64 {
        let value = match at.bank {
            8 => self.pm.read(at.at, w, cx.now()),
            9 => self.smbus.read(at.at, w),
            10 => self.pm.read_apm(at.at, w),
            11 => self.pm.read_gpe(at.at, w),
            _ => w.mask(),
        };
        self.tell(cx);
        value
    }
    fn write(&mut self, at: Reg, w: Width, value: u64, cx: &mut dyn Cx) {
        match at.bank {
            8 => self.pm.write(at.at, w, value, cx),
            9 => self.smbus.write(at.at, w, value),
            10 => {
                let gate = self.config.u8(0x5B) & 2 != 0;
                self.pm.write_apm(at.at, w, value, gate, cx)
            }
            11 => self.pm.write_gpe(at.at, w, value),
            _ => {}
        }
        self.tell(cx);
    }
    fn wake(&mut self, cx: &mut dyn Cx) {
        self.pm.wake(cx.now());
        self.tell(cx);
    }
    fn input(&mut self, what: Input, cx: &mut dyn Cx) {
        if what == Input::PowerButton {
            self.pm.power_button();
            self.tell(cx);
        }
    }
    fn reset(&mut self) {
        self.config.reset();
        self.pm.reset();
        self.smbus = Host::default();
    }
    fn settle(&mut self, cx: &mut dyn Cx) {
        self.show(cx);
        self.tell(cx);
    }
    fn save(&self) -> Vec<u8> {
        let state = Piix4State { pm: self.pm.s.clone(), smbus: self.smbus.s.clone() };
        super::save(&self.config, state.save())
    }
    fn load(&mut self, from: &[u8]) -> Result<(), Misfit> {
        super::load(&mut self.config, from, |rest| {
            let state = Piix4State::load(rest)?;
            (self.pm.s, self.smbus.s) = (state.pm, state.smbus);
            Ok(())
        })
    }
    fn describe(&self) -> String {
        self.pm.describe()
    }
}
