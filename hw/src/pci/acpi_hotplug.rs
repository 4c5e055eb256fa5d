//! The PCI hot-plug registers that ACPI's methods use: 24 bytes of ports, on `pc` at 0xAE00.
//!
//! QEMU docs/specs/acpi_pci_hotplug.rst. A part of the bus, which keeps it (`root/plug.rs`), shows it ([`super::Root`]'s
//! bank 2), takes out what is ejected, and raises general purpose event 1 through the function that has such.
//!
//! | offset | read | write |
//! |---|---|---|
//! | 0 | devices that were put in, one bit each; forgotten with the read | |
//! | 4 | devices that the user wants back | |
//! | 8 | features: none | eject these devices (the lowest bit only is looked at) |
//! | 12 | devices that can be ejected | |
//! | 16 | the bus that all others are about | choose it |
//! | 20 | index of the device for `_DSM`: none, zero | |
//!
//! Bus numbers here are not those of configuration space: 0 is the root bus, `n + 1` the bus below the function of
//! number `n` ([`super::Root::hotplug_buses`]), for bridges that were there at power-on.
//!
//! # What the AML has to be
//!
//! - `\_SB.PCI0`: an operation region over these ports, SystemIO, 24 bytes, with dword fields `PCIU`, `PCID`, `B0EJ`
//!   (the same dword also reads the features), `RMV_`, `BNUM`; and a mutex around all of it, because the bus is chosen by
//!   a write. The ports are part of `_CRS` of a PNP0A06 device, so that nobody else takes them.
//! - Each hot-pluggable bus: a device object per slot (0 to 31; on the root bus those that the chipset does not hold),
//!   `_ADR` = slot << 16, `_SUN` = slot, and `_EJ0`: acquire, `BNUM` = bus, `B0EJ` = 1 << slot, release. No `_EJ0` where
//!   RMV's bit is clear at power-on (the chipset, bridges).
//! - Each such bus: a method that notifies its slots: for each bit of its first argument `Notify (slot, second)`.
//! - `\_GPE._E01`: acquire; for each bus: `BNUM` = bus, notify the slots in `PCIU` with 1 (device check) and those in
//!   `PCID` with 3 (eject request); release.
//! - The FADT says GPE0 is at port 0xAFE0, four bytes; event 1 is edge-triggered.

use device::*;

/// How many bytes of ports.
pub const LEN: u64 = 24;
/// Where they are on `pc`.
pub const PC_BASE: u64 = 0xAE00;
/// The general purpose event that is raised.
pub const EVENT: u32 = 1;
/// Buses are chosen among so many.
const BUSES: u32 = 256;

state! {
    /// What is waiting on one bus.
    pub struct Waiting { 1 bus: u32 = 0, 2 up: u32 = 0, 3 down: u32 = 0 }
}
state! {
    /// Everything the guest can see.
    pub struct State { 1 bus: u32 = 0, 2 waiting: Vec<Waiting> = Vec::new() }
}

/// Devices to be ejected: a bus, and the device's number on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eject {
    pub bus: u16,
    pub device: u8,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct AcpiHotplug {
    pub s: State,
}

impl AcpiHotplug {
    fn on(&mut self, bus: u32) -> &mut Waiting {
        let s = &mut self.s.waiting;
        let n = s.iter().position(|w| w.bus == bus).unwrap_or_else(|| {
            s.push(Waiting { bus, ..Waiting::default() });
            s.len() - 1
        });
        &mut s[n]
    }
    fn waiting(&self, bus: u32) -> Option<&Waiting> {
        self.s.waiting.iter().find(|w| w.bus == bus)
    }
    /// The bus that is chosen.
    pub fn bus(&self) -> Option<u16> {
        (self.s.bus < BUSES).then_some(self.s.bus as u16)
    }
    /// A device was put in.
    pub fn plugged(&mut self, bus: u16, device: u8) {
        self.on(bus.into()).up |= 1 << (device & 31);
    }
    /// The user wants a device back.
    pub fn wanted(&mut self, bus: u16, device: u8) {
        self.on(bus.into()).down |= 1 << (device & 31);
    }
    /// A device is no longer there.
    pub fn gone(&mut self, bus: u16, device: u8) {
        let bit = 1 << (device & 31);
        let w = self.on(bus.into());
        (w.up, w.down) = (w.up & !bit, w.down & !bit);
        self.s.waiting.retain(|w| w.up | w.down != 0);
    }
    /// `removable`: the devices that can be ejected of a bus.
    pub fn read(&mut self, at: u64, w: Width, removable: impl Fn(u16) -> u32) -> u64 {
        let Some(bus) = self.bus() else { return 0 };
        let value = join(at, w, 4, |at| match at {
            0 => self.waiting(bus.into()).map_or(0, |w| w.up.into()),
            4 => self.waiting(bus.into()).map_or(0, |w| w.down.into()),
            12 => removable(bus).into(),
            16 => bus.into(),
            _ => 0,
        });
        if at < 4 {
            self.on(bus.into()).up = 0;
            self.s.waiting.retain(|w| w.up | w.down != 0);
        }
        value
    }
    /// Whom the write ejects.
    pub fn write(&mut self, at: u64, w: Width, value: u64) -> Option<Eject> {
        match (at, w) {
            (8, Width::W32) if value != 0 => {
                Some(Eject { bus: self.bus()?, device: (value as u32).trailing_zeros() as u8 & 31 })
            }
            (16, Width::W32) => {
                self.s.bus = value as u32;
                None
            }
            _ => None,
        }
    }
    /// At reset, all that the user wanted back is let go: gives whom.
    pub fn reset(&mut self) -> Vec<Eject> {
        let waiting = std::mem::take(&mut self.s).waiting;
        let devices = |w: &Waiting| {
            let (bus, down) = (w.bus as u16, w.down);
            (0..32).filter(move |n| down >> n & 1 != 0).map(move |device| Eject { bus, device })
        };
        waiting.iter().flat_map(devices).collect()
    }
    /// Takes a saved state: at most one entry a bus.
    pub fn load(&mut self, s: State) -> Result<(), Misfit> {
        let sorted = s.waiting.windows(2).all(|w| w[0].bus != w[1].bus);
        if s.waiting.len() > BUSES as usize || !sorted || s.waiting.iter().any(|w| w.bus >= BUSES) {
            return Err(Misfit::Unfit("ACPI hot plug with buses that there are not".into()));
        }
        self.s = s;
        Ok(())
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use Width::*;

    fn read(h: &mut AcpiHotplug, at: u64) -> u64 {
        h.read(at, W32, |bus| if bus == 0 { 0xFFFF_FFEC } else { u32::MAX })
    }

    #[test]
    fn what_was_put_in_is_told_once_and_what_is_wanted_until_it_is_gone() {
        let mut h = AcpiHotplug::default();
        h.plugged(0, 6);
        assert_eq!([0, 0, 4, 12].map(|at| read(&mut h, at)), [0x40, 0, 0, 0xFFFF_FFEC]);
        h.wanted(0, 6);
        assert_eq!([4, 4].map(|at| read(&mut h, at)), [0x40, 0x40]);
        assert_eq!(h.write(8, W32, 0x40), Some(Eject { bus: 0, device: 6 }));
        h.gone(0, 6);
        assert_eq!((read(&mut h, 4), h.s), (0, State::default()));
    }

    #[test]
    fn each_bus_has_its_own() {
        let mut h = AcpiHotplug::default();
        h.plugged(3, 2);
        assert_eq!(read(&mut h, 0), 0);
        assert_eq!(h.write(16, W32, 3), None);
        assert_eq!([16, 0, 12].map(|at| read(&mut h, at)), [3, 4, 0xFFFF_FFFF]);
        h.write(16, W32, 0x1_2345);
        assert_eq!([16, 0, 12].map(|at| read(&mut h, at)), [0; 3], "no such bus");
        assert_eq!(h.write(8, W32, 1), None);
        assert_eq!(read(&mut h, 99), 0);
    }

    #[test]
    fn a_reset_lets_go_what_was_wanted() {
        let mut h = AcpiHotplug::default();
        h.plugged(0, 5);
        h.wanted(2, 31);
        assert_eq!(h.reset(), [Eject { bus: 2, device: 31 }]);
        assert_eq!(h.s, State::default());
    }

    #[test]
    fn a_state_with_a_thousand_buses_is_refused() {
        let mut h = AcpiHotplug::default();
        let waiting = vec![Waiting { bus: 1, up: 1, down: 0 }; 1000];
        assert!(h.load(State { bus: 0, waiting }).is_err());
        assert_eq!(h, AcpiHotplug::default());
    }
}
