//! The chips of the board `q35`: the memory controller hub, ICH9's LPC bridge.
//!
//! Intel 3 Series Express Chipset (Q35) and ICH9 data sheets; reset values as QEMU has them.

use super::dram::{self, Around, Smram};
use super::{Config, Function, Ids, Pam};
use crate::Bytes;
use crate::chipset::pm::{self, Chip, Pm};
use device::*;

const INTEL: u16 = 0x8086;

/// The host bridge, 0.0. The bus obeys its PCIEXBAR. Its own banks are those of [`dram`].
pub struct Mch {
    config: Config,
    around: Around,
}

/// QEMU's own: how large TSEG is when it is more than 8 MiB. All ones ask.
const EXTENDED_TSEG: usize = 0x50;
/// QEMU's own: whether there is system management RAM at the default SMBASE. All ones ask.
const SMBASE: usize = 0x9C;
const SMRAM: usize = 0x9D;
const ESMRAM: usize = 0x9E;

bits! {
    /// Extended system management RAM control.
    struct Extended: u8 { tseg: 0, tseg_size: 1..3, high: 7 }
}

impl Mch {
    pub fn new(around: Around) -> Self {
        let ids = Ids { vendor: INTEL, device: 0x29C0, class: 0x06_0000, revision: 0 };
        let mut config = Config::new(ids).own_registers();
        config.set(0x60, &0xB000_0000u64.to_le_bytes());
        config.allow(0x60, &[0x07, 0, 0, 0xFC, 0xFF, 0, 0, 0]);
        let asks = if around.smm && around.extended_tseg != 0 { 0xFF } else { 0 };
        config.allow(EXTENDED_TSEG, &[asks; 2]);
        config.set(SMRAM, &[0x02, 0x38]);
        Self { config, around }
    }
    /// Which parts of the BIOS area are RAM.
    pub fn pam(&self) -> [Pam; 13] {
        Pam::decode(&self.config.bytes()[0x90..0x97])
    }
    /// What software finds out by writing all ones.
    fn answer(&mut self) {
        let c = &mut self.config;
        if c.u16(EXTENDED_TSEG) == 0xFFFF {
            let [low, high] = self.around.extended_tseg.to_le_bytes();
            c.put(EXTENDED_TSEG, low);
            c.put(EXTENDED_TSEG + 1, high);
        }
        if c.u8(SMBASE) == 0xFF {
            c.put(SMBASE, 1);
        }
        // From "there is" it can be locked, and then it stays.
        let mask = match c.u8(SMBASE) {
            _ if !self.around.smm => 0,
            0 => 0xFF,
            1 => 2,
            _ => 0,
        };
        c.allow(SMBASE, &[mask]);
    }
    fn smram(&mut self) -> Smram {
        let c = &mut self.config;
        let control = dram::Control(c.u8(SMRAM));
        let locked = control.locked();
        let masks = if locked { [dram::CONTROL_LOCKED, 0] } else { [dram::CONTROL, 0x87] };
        c.allow(SMRAM, &masks);
        let control = control.with_open(control.open() && !locked);
        c.put(SMRAM, control.0);
        let extended = Extended(c.u8(ESMRAM));
        let (open, on) = (control.open(), control.enabled() && self.around.smm);
        let high = extended.high();
        let size = match extended.tseg_size() {
            0 => 1,
            1 => 2,
            2 => 8,
            _ => u64::from(c.u16(EXTENDED_TSEG)),
        };
        let tseg = if extended.tseg() && on { size << 20 } else { 0 };
        Smram {
            low: (open && !high, on && !high),
            high: (open && high, on && high),
            tseg: if tseg < self.around.ram_low { tseg } else { 0 },
            smbase: c.u8(SMBASE) & 2 != 0,
        }
    }
}

impl Default for Mch {
    fn default() -> Self {
        Self::new(Around::default())
    }
}

impl Function for Mch {
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

impl Device for Mch {
    fn name(&self) -> &'static str {
        "mch"
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
        self.answer();
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

/// Where PCIEXBAR shows configuration space.  Q35 data sheet, 5.1.16.
pub(super) fn ecam(config: &Config) -> Option<Place> {
    let bar = config.u64(0x60);
    let len = match bar >> 1 & 3 {
        0 => 256 << 20,
        1 => 128 << 20,
        2 => 64 << 20,
        _ => return None,
    };
    let base = bar & 0xFF_FC00_0000 & !(len - 1);
    (bar & 1 != 0).then_some(Place { space: Space::Memory, base, len, what: Seen::Registers })
}

/// Chipset configuration registers.
const RCRB: usize = 0x4000;
const GENERAL_CONTROL: usize = 0x3410;

/// The LPC bridge, 1f.0, with power management.
///
/// Banks of its own: 8 the chipset configuration registers (RCBA), 9 the power management ports, 10 the SMI command
/// ports 0xB2. Its PIRQ registers are obeyed by the bus.
pub struct Ich9Lpc {
    config: Config,
    pub pm: Pm,
    rcrb: Vec<u8>,
}

/// The chipset configuration registers after reset.
fn rcrb() -> Vec<u8> {
    let mut bytes = vec![0; RCRB];
    // D31IR to D25IR: INTA to INTD are PIRQA to PIRQD; D30IR is zero.
    for at in [0x3140, 0x3144, 0x3146, 0x3148, 0x314C, 0x3150] {
        bytes[at..at + 2].copy_from_slice(&[0x10, 0x32]);
    }
    bytes
}

impl Ich9Lpc {
    pub fn new(smm: bool) -> Self {
        let ids = Ids { vendor: INTEL, device: 0x2918, class: 0x06_0100, revision: 2 };
        let mut config = Config::new(ids).own_registers().multifunction();
        let reset: [(usize, &[u8]); 6] = [
            (0x04, &[0x07, 0x00, 0x00, 0x02]),
            (0x40, &[0x01, 0, 0, 0]),
            (0x60, &[0x80; 4]),
            (0x68, &[0x80; 4]),
            // Both serial ports are decoded.
            (0x82, &[0x03]),
            (0xA0, &[0x00, 0x02]),
        ];
        reset.into_iter().for_each(|(at, bytes)| config.set(at, bytes));
        config.allow(0x40, &[0x80, 0xFF, 0, 0]);
        config.allow(0xF0, &[0x01, 0xC0, 0xFF, 0xFF]);
        Self { config, pm: Pm::new(Chip::Ich9, smm), rcrb: rcrb() }
    }
    /// The line of the system control interrupt.  ICH9 data sheet, 13.1.12.
    fn sci_line(&self) -> Option<u16> {
        match self.config.u8(0x44) & 7 {
            n @ 0..=2 => Some(9 + u16::from(n)),
            n @ 4..=5 => Some(16 + u16::from(n)),
            _ => None,
        }
    }
    fn tell(&mut self, cx: &mut dyn Cx) {
        if std::mem::take(&mut self.pm.s.tco.bite) {
            self.pm.s.tco.since = None;
            // Its "no reboot" bit.
            if self.rcrb[GENERAL_CONTROL] & 0x20 == 0 {
                cx.ask(Request::Reset);
            }
        }
        for line in [9, 10, 11, 20, 21] {
            cx.irq(Pin(line), self.pm.sci() && self.sci_line() == Some(line));
        }
        cx.wake_at(self.pm.next());
    }
    fn show(&self, cx: &mut dyn Cx) {
        let c = &self.config;
        let (pm, rcba) = (u64::from(c.u16(0x40) & 0xFF80), c.u32(0xF0));
        let pm_on = pm != 0 && c.u8(0x44) & 0x80 != 0;
        cx.map(
            8,
            (rcba & 1 != 0).then_some(Place {
                space: Space::Memory,
                base: (rcba & 0xFFFF_C000).into(),
                len: RCRB as u64,
                what: Seen::Registers,
            }),
        );
        cx.map(
            9,
            pm_on.then_some(Place { space: Space::Io, base: pm, len: 128, what: Seen::Registers }),
        );
        cx.map(10, Some(Place { space: Space::Io, base: 0xB2, len: 2, what: Seen::Registers }));
    }
}

impl Function for Ich9Lpc {
    fn config(&self) -> &Config {
        &self.config
    }
    fn config_mut(&mut self) -> &mut Config {
        &mut self.config
    }
    fn config_written(&mut self, cx: &mut dyn Cx) {
        // "SMI lock" of GEN_PMCON_1 cannot be taken back.  ICH9 data sheet, 13.8.1.1.
        if self.config.u8(0xA0) & 0x10 != 0 {
            self.pm.lock_smi();
        }
        self.settle(cx);
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
    pub struct LpcState {
        1 pm: pm::State = pm::State::default(),
        2 rcrb: Bytes = Bytes(rcrb()),
    }
}

impl Device for Ich9Lpc {
    fn name(&self) -> &'static str {
        "ICH9-LPC"
    }
    fn read(&mut self, at: Reg, w: Width, cx: &mut dyn Cx) -> u64 {
        let value = match at.bank {
            8 => join(at.at, w, 1, |i| self.rcrb.get(i as usize).map_or(0xFF, |b| u64::from(*b))),
            9 => self.pm.read(at.at, w, cx.now()),
            10 => self.pm.read_apm(at.at, w),
            _ => w.mask(),
        };
        self.tell(cx);
        value
    }
    fn write(&mut self, at: Reg, w: Width, value: u64, cx: &mut dyn Cx) {
        match at.bank {
            8 => split(at.at, w, 1, value, |i, _, v| {
                let fixed = (0x3000..0x3200).contains(&i) && i & !1 == 0x3142;
                match self.rcrb.get_mut(i as usize) {
                    Some(byte) if !fixed && i as usize != GENERAL_CONTROL => *byte = v as u8,
                    // "No reboot" may be set, boot straps are fixed.
                    Some(byte) if i as usize == GENERAL_CONTROL => *byte = v as u8 & 0x20,
                    _ => {}
                }
            }),
            9 => self.pm.write(at.at, w, value, cx),
            10 => self.pm.write_apm(at.at, w, value, true, cx),
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
        self.rcrb = rcrb();
    }
    fn settle(&mut self, cx: &mut dyn Cx) {
        let writable = if self.pm.s.smi_locked { 0xEF } else { 0xFF };
        self.config.allow(0xA0, &[writable]);
        self.show(cx);
        self.tell(cx);
    }
    fn save(&self) -> Vec<u8> {
        let state = LpcState { pm: self.pm.s.clone(), rcrb: Bytes(self.rcrb.clone()) };
        super::save(&self.config, state.save())
    }
    fn load(&mut self, from: &[u8]) -> Result<(), Misfit> {
        super::load(&mut self.config, from, |rest| {
            let state = LpcState::load(rest)?;
            if state.rcrb.0.len() != RCRB {
                return Err(Misfit::Unfit("chipset configuration registers are 16 KiB".into()));
            }
            (self.pm.s, self.rcrb) = (state.pm, state.rcrb.0);
            Ok(())
        })
    }
    fn describe(&self) -> String {
        self.pm.describe()
    }
}
