//! ACPI power management: PM1 events and control, the timer, general events, the SMI command port.
//!
//! ACPI 6.5, 4.8.3 and 4.8.4; ICH9 data sheet, 13.8.3; PIIX4 data sheet, 7.2. It is a part of the PCI functions that map
//! it (ICH9's LPC bridge, PIIX4's function 3), not a device of its own. Sleep types are those of QEMU's tables: 0 is soft
//! off, 1 suspend to RAM, 2 suspend to disk.

use super::tco;
use device::*;

/// The timer's clocks in a second.
pub const HZ: u64 = 3_579_545;

bits! {
    /// PM1 status; the enable register has the same layout.  ACPI 6.5, tables 4.13 and 4.14.
    pub struct Pm1: u16 { timer: 0, bus_master: 4, global: 5, power_button: 8, sleep_button: 9, rtc: 10, wake: 15 }
}
bits! {
    /// PM1 control.  ACPI 6.5, table 4.15.
    pub struct Control: u16 { sci: 0, bus_master_reload: 1, global_release: 2, sleep_type: 10..13, sleep: 13 }
}

/// Which chip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chip {
    Ich9,
    Piix4,
}

state! {
    /// Everything the guest can see.
    pub struct State {
        1 status: Pm1 = Pm1(0),
        2 enable: Pm1 = Pm1(0),
        3 control: Control = Control(0),
        /// How often the timer's top bit had toggled when its status was last worked out.
        4 toggles: u64 = 0,
        5 gpe_status: u64 = 0,
        6 gpe_enable: u64 = 0,
        7 smi_enable: u32 = 0,
        8 smi_status: u32 = 0,
        /// The SMI command port and the status port beside it.
        9 apm: [u8; 2] = [0; 2],
        /// ICH9's watchdog.
        11 tco: tco::State = tco::State::default(),
        /// What firmware and board have agreed on. Bit 0: commands interrupt all CPUs.
        12 agreed: u64 = 0,
        /// The global enable of SMIs stays as it is until reset.
        13 smi_locked: bool = false,
    }
}

/// APM command SMIs: enabled at all, and for writes to port 0xB2.
const GLOBAL_SMI: u32 = 1;
const APM_SMI: u32 = 1 << 5;

pub struct Pm {
    pub s: State,
    chip: Chip,
    /// Whether there is firmware in system management mode.
    smm: bool,
}

impl Pm {
    pub fn new(chip: Chip, smm: bool) -> Self {
        let mut pm = Self { s: State::default(), chip, smm };
        pm.reset();
        pm
    }
    pub fn reset(&mut self) {
        // Without system management mode, firmware must think it done already.
        let smi_enable = if self.smm { 0 } else { APM_SMI };
        self.s = State { smi_enable, ..State::default() };
    }
    fn clocks(now: Tick) -> u64 {
        (u128::from(now) * u128::from(HZ) / u128::from(SECOND)) as u64
    }
    /// The timer: 24 bits.
    pub fn timer(now: Tick) -> u32 {
        Self::clocks(now) as u32 & 0xFF_FFFF
    }
    fn advance(&mut self, now: Tick) {
        let toggles = Self::clocks(now) >> 23;
        if toggles != self.s.toggles {
            self.s.status = self.s.status.with_timer(true);
            self.s.toggles = toggles;
        }
        self.s.tco.advance(now);
    }
    /// The level of the system control interrupt.
    pub fn sci(&self) -> bool {
        let gpe = self.s.gpe_status & self.s.gpe_enable != 0;
        self.s.status.0 & self.s.enable.0 & 0x0721 != 0 || gpe
    }
    /// When the timer's status will be set, where that is an interrupt, or the watchdog's time is up.
    pub fn next(&self) -> Option<Tick> {
        let wanted = self.s.enable.timer() && !self.s.status.timer();
        let clocks = u128::from(self.s.toggles.saturating_add(1)) << 23;
        let at = (clocks * u128::from(SECOND)).div_ceil(HZ.into());
        let timer = u64::try_from(at).ok().filter(|_| wanted);
        timer.into_iter().chain(self.s.tco.next()).min()
    }
    pub fn wake(&mut self, now: Tick) {
        self.advance(now);
    }
    /// The power button was pressed.
    pub fn power_button(&mut self) {
        self.s.status = self.s.status.with_power_button(true);
    }
    /// The machine wakes from S3, by its clock's alarm or otherwise.
    pub fn resumed(&mut self, by_clock: bool) {
        self.s.status = self.s.status.with_wake(true).with_rtc(by_clock || self.s.status.rtc());
    }
    /// A general purpose event (PCI, CPU or memory hot plug).
    pub fn event(&mut self, n: u32) {
        self.s.gpe_status |= 1 << (n & 63) & self.gpe_mask();
    }
    fn gpe_mask(&self) -> u64 {
        if self.chip == Chip::Ich9 { u64::MAX } else { 0xFFFF }
    }

    /// The register block that PMBASE places: 128 bytes on ICH9, 64 on PIIX4.
    pub fn read(&mut self, at: u64, w: Width, now: Tick) -> u64 {
        self.advance(now);
        join(at, w, 2, |at| self.read_reg(at, now).into())
    }
    fn read_reg(&self, at: u64, now: Tick) -> u16 {
        let s = &self.s;
        let half = |v: u64, n: u64| (v >> (16 * n)) as u16;
        match (at, self.chip) {
            (0, _) => s.status.0,
            (2, _) => s.enable.0,
            (4, _) => s.control.0,
            (8 | 10, _) => half(Self::timer(now).into(), at / 2 - 4),
            (0x20..0x28, Chip::Ich9) => half(s.gpe_status, (at - 0x20) / 2),
            (0x28..0x30, Chip::Ich9) => half(s.gpe_enable, (at - 0x28) / 2),
            (0x30..0x34, Chip::Ich9) => half(s.smi_enable.into(), (at - 0x30) / 2),
            (0x34..0x38, Chip::Ich9) => half(s.smi_status.into(), (at - 0x34) / 2),
            (0x60..0x80, Chip::Ich9) => s.tco.read(at - 0x60, now),
            _ => 0,
        }
    }
    pub fn write(&mut self, at: u64, w: Width, value: u64, cx: &mut dyn Cx) {
        self.advance(cx.now());
        split(at, w, 2, value, |at, mask, v| self.write_reg(at, mask as u16, v as u16, cx));
    }
    fn write_reg(&mut self, at: u64, mask: u16, v: u16, cx: &mut dyn Cx) {
        let wide = |n: u64| (u64::from(mask) << (16 * n), u64::from(v) << (16 * n));
        let s = &mut self.s;
        match (at, self.chip) {
            (0, _) => s.status.0 &= !v,
            (2, _) => s.enable.0 = s.enable.0 & !mask | v,
            (4, _) => {
                let control = Control(s.control.0 & !mask | v);
                s.control = control.with_sleep(false);
                if control.sleep() {
                    cx.ask(match control.sleep_type() {
                        1 => Request::Suspend,
                        _ => Request::PowerOff,
                    });
                }
            }
            (0x20..0x28, Chip::Ich9) => s.gpe_status &= !wide((at - 0x20) / 2).1,
            (0x28..0x30, Chip::Ich9) => {
                let (mask, v) = wide((at - 0x28) / 2);
                s.gpe_enable = s.gpe_enable & !mask | v;
            }
            (0x30..0x34, Chip::Ich9) => {
                let (mask, v) = wide((at - 0x30) / 2);
                let keep = !(mask as u32) | if s.smi_locked { GLOBAL_SMI } else { 0 };
                s.smi_enable = s.smi_enable & keep | v as u32 & !keep;
            }
            (0x34..0x38, Chip::Ich9) => s.smi_status &= !(wide((at - 0x34) / 2).1 as u32),
            (0x60..0x80, Chip::Ich9) => s.tco.write(at - 0x60, mask, v, cx.now()),
            _ => {}
        }
    }

    /// PIIX4's general events: four bytes at port 0xAFE0.
    pub fn read_gpe(&self, at: u64, w: Width) -> u64 {
        join(at, w, 2, |at| match at {
            0 => self.s.gpe_status & 0xFFFF,
            2 => self.s.gpe_enable & 0xFFFF,
            _ => 0,
        })
    }
    pub fn write_gpe(&mut self, at: u64, w: Width, value: u64) {
        split(at, w, 2, value, |at, mask, v| match at {
            0 => self.s.gpe_status &= !v,
            2 => self.s.gpe_enable = self.s.gpe_enable & !mask | v,
            _ => {}
        });
    }

    /// Ports 0xB2 and 0xB3.
    pub fn read_apm(&self, at: u64, w: Width) -> u64 {
        join(at, w, 1, |at| self.s.apm.get(at as usize).map_or(0xFF, |v| u64::from(*v)))
    }
    /// Whether commands interrupt: PIIX4 has that bit in configuration space.
    pub fn write_apm(&mut self, at: u64, w: Width, value: u64, gate: bool, cx: &mut dyn Cx) {
        split(at, w, 1, value, |at, _, v| {
            if at < 2 {
                self.s.apm[at as usize] = v as u8;
            }
            if at == 0 {
                self.command(v as u8, gate, cx);
            }
        });
    }
    /// Software takes over, or gives back, power management.  ACPI 6.5, 4.8.2.1 and 5.2.9.
    fn command(&mut self, command: u8, gate: bool, cx: &mut dyn Cx) {
        let (enable, disable) = self.acpi_commands();
        let sci = command == enable || command != disable && self.s.control.sci();
        self.s.control = self.s.control.with_sci(sci);
        if self.chip == Chip::Piix4 && (command == enable || command == disable) {
            return;
        }
        let wanted = GLOBAL_SMI | APM_SMI;
        let enabled = match self.chip {
            Chip::Piix4 => gate,
            Chip::Ich9 => self.s.smi_enable & wanted == wanted,
        };
        if self.smm && enabled {
            self.s.smi_status |= APM_SMI;
            cx.ask(Request::Smi { all: self.s.agreed & 1 != 0 });
        }
    }
    /// Firmware asked for features of system management interrupts that there are.
    pub fn agree(&mut self, features: u64) {
        self.s.agreed = features;
    }
    /// Locks the global enable of SMIs.
    pub fn lock_smi(&mut self) {
        self.s.smi_locked = true;
    }
    /// What the firmware tables say to write to port 0xB2 to enable and to disable ACPI.
    pub fn acpi_commands(&self) -> (u8, u8) {
        if self.chip == Chip::Ich9 { (2, 3) } else { (0xF1, 0xF0) }
    }
    pub fn describe(&self) -> String {
        let s = &self.s;
        format!(
            "pm1 status {:#06x} enable {:#06x} control {:#06x} gpe {:#x}/{:#x} smi {:#x}\n",
            s.status.0, s.enable.0, s.control.0, s.gpe_status, s.gpe_enable, s.smi_enable
        )
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use Width::*;

    fn world() -> (Pm, Bench) {
        (Pm::new(Chip::Ich9, false), Bench::default())
    }

    #[test]
    fn the_timer_has_24_bits_at_its_frequency() {
        let (mut pm, _) = world();
        assert_eq!(pm.read(8, W32, SECOND), HZ);
        assert_eq!(pm.read(8, W32, 10 * SECOND), (HZ * 10) & 0xFF_FFFF);
        assert_eq!(pm.read(9, W8, SECOND), HZ >> 8 & 0xFF);
    }

    #[test]
    fn the_sci_rises_when_bit_23_toggles() {
        let (mut pm, mut b) = world();
        pm.write(2, W16, 1, &mut b);
        let at = pm.next().unwrap();
        pm.wake(at - 1);
        assert!(!pm.sci());
        pm.wake(at);
        assert!(pm.sci() && pm.read(8, W32, at) == 0x80_0000);
        b.now = at;
        pm.write(0, W16, 1, &mut b);
        assert!(!pm.sci() && pm.next().unwrap() > at);
    }

    #[test]
    fn the_power_button_is_a_status_cleared_by_a_one() {
        let (mut pm, mut b) = world();
        pm.write(2, W16, 0x100, &mut b);
        pm.power_button();
        assert!(pm.sci());
        pm.write(0, W16, 0x20, &mut b);
        assert!(pm.sci());
        pm.write(0, W16, 0x100, &mut b);
        assert!(!pm.sci());
    }

    #[test]
    fn sleep_types_suspend_or_power_off() {
        let (mut pm, mut b) = world();
        pm.write(4, W16, 0x2401, &mut b);
        pm.write(4, W16, 0x2001, &mut b);
        assert_eq!(b.asked, [Request::Suspend, Request::PowerOff]);
        assert_eq!(pm.read(4, W16, 0), 1);
        pm.resumed(true);
        assert_eq!(pm.read(0, W16, 0), 0x8400);
    }

    #[test]
    fn the_command_port_hands_power_management_over() {
        for (chip, enable, disable) in [(Chip::Ich9, 2, 3), (Chip::Piix4, 0xF1, 0xF0)] {
            let (mut pm, mut b) = (Pm::new(chip, false), Bench::default());
            pm.write_apm(0, W8, enable, true, &mut b);
            assert_eq!((pm.read(4, W16, 0), pm.read_apm(0, W8)), (1, enable));
            pm.write_apm(0, W8, 0x55, true, &mut b);
            assert_eq!(pm.read(4, W16, 0), 1);
            pm.write_apm(0, W8, disable, true, &mut b);
            assert_eq!((pm.read(4, W16, 0), b.asked.len()), (0, 0));
        }
    }

    #[test]
    fn commands_interrupt_when_that_is_enabled() {
        let smi = |all| Request::Smi { all };
        let (mut pm, mut b) = (Pm::new(Chip::Ich9, true), Bench::default());
        pm.write_apm(0, W8, 9, true, &mut b);
        pm.write(0x30, W32, 0x20, &mut b);
        pm.write_apm(0, W8, 9, true, &mut b);
        assert!(b.asked.is_empty());
        pm.write(0x30, W32, 0x21, &mut b);
        pm.write_apm(0, W8, 9, true, &mut b);
        pm.agree(1);
        pm.write_apm(1, W8, 9, true, &mut b);
        pm.write_apm(0, W8, 9, true, &mut b);
        assert_eq!((&b.asked[..], pm.read(0x34, W32, 0)), (&[smi(false), smi(true)][..], 0x20));
        pm.lock_smi();
        pm.write(0x30, W32, 0, &mut b);
        assert_eq!(pm.read(0x30, W32, 0), 1);
        let (mut pm, mut b) = (Pm::new(Chip::Piix4, true), Bench::default());
        pm.write_apm(0, W8, 9, false, &mut b);
        pm.write_apm(0, W8, 0xF1, true, &mut b);
        assert!(b.asked.is_empty(), "switched off; and the switch to ACPI is the chip's own");
        pm.write_apm(0, W8, 9, true, &mut b);
        assert_eq!(b.asked, [smi(false)]);
    }

    #[test]
    fn general_events_differ_in_place() {
        let (mut pm, mut b) = world();
        pm.write(0x28, W32, 4, &mut b);
        pm.event(2);
        assert!(pm.sci() && pm.read(0x20, W32, 0) == 4);
        pm.write(0x20, W8, 4, &mut b);
        assert!(!pm.sci());
        let mut pm = Pm::new(Chip::Piix4, false);
        pm.write_gpe(2, W16, 2);
        pm.event(1);
        assert!(pm.sci() && pm.read_gpe(0, W32) == 0x2_0002);
    }
}
