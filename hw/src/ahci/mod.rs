//! AHCI: ICH9's serial ATA controller with six ports.
//!
//! Serial ATA AHCI 1.3.1; Intel ICH9 data sheet, chapter 15; reset values as QEMU has them. Banks: 4 the index and data
//! pair (BAR 4, ports), 5 the registers (BAR 5). Unit `n` is port `n`.

mod fis;
mod port;
mod prdt;

use crate::ata::{self, DriveConfig};
use crate::pci::{self, Bar, Config, Function, Ids};
use device::*;
use port::{Port, PortState};

const PORTS: usize = 6;
/// 64-bit addresses, native queueing, AHCI alone, first generation, 32 slots, six ports.
const CAPABILITIES: u32 = 0xC014_1F00 | (PORTS as u32 - 1);
/// Global control: AHCI is always on; interrupts; reset.
const AHCI_ON: u32 = 1 << 31;
const INTERRUPTS: u32 = 2;
const RESET: u32 = 1;
/// Where the MSI capability is.
const MSI: usize = 0x80;

state! {
    /// What it has beside its configuration space.
    pub struct AhciState {
        1 control: u32 = AHCI_ON,
        2 index: u32 = 0,
        3 ports: [PortState; PORTS] = std::array::from_fn(|_| PortState::default()),
        4 drives: Vec<Option<ata::State>> = Vec::new(),
    }
}

/// The function 1f.2 of `q35`.
pub struct Ahci {
    config: Config,
    control: u32,
    index: u32,
    ports: [Port; PORTS],
}

impl Ahci {
    pub fn new(drives: [Option<DriveConfig>; PORTS]) -> Self {
        let ids = Ids { vendor: 0x8086, device: 0x2922, class: 0x01_0601, revision: 2 };
        let mut config = Config::new(ids)
            .own_registers()
            .multifunction()
            .interrupt_pin(1)
            .bar(4, Bar::io(32))
            .bar(5, Bar::memory(0x1000));
        // AHCI mode.
        config.set(0x90, &[0x40]);
        // MSI: one vector, 64-bit addresses.
        let writable = [1, 0, 0xFC, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];
        config.capability_at(MSI, 5, &[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &writable);
        // Serial ATA: index and data are at 0x10 of BAR 4.
        config.capability_at(0xA8, 0x12, &[0x10, 0, 0x48, 0, 0, 0], &[]);
        let mut unit = 0;
        let ports = drives.map(|drive| {
            unit += 1;
            Port::new(unit - 1, drive)
        });
        Self { config, control: AHCI_ON, index: 0, ports }
    }
    /// Ports whose interrupt is wanted.
    fn pending(&self) -> u32 {
        self.ports.iter().enumerate().fold(0, |all, (n, p)| all | (p.pending() as u32) << n)
    }
    /// Sets the interrupt line, or sends the message that stands for it.
    fn tell(&mut self, acknowledged: bool, cx: &mut dyn Cx) {
        let wanted = self.control & INTERRUPTS != 0 && self.pending() != 0;
        let mut event = acknowledged;
        for port in &mut self.ports {
            event |= std::mem::take(&mut port.event) && port.pending();
        }
        let messages = self.config.u16(MSI + 2) & 1 != 0;
        self.config.set_intx(wanted && !messages);
        if !messages || !wanted || !event {
            return;
        }
        let (to, data) = (self.config.u64(MSI + 4), u32::from(self.config.u16(MSI + 12)));
        if self.config.bus_master() && cx.dma().write(to, &data.to_le_bytes()).is_err() {
            cx.complain(format_args!("ahci: message to no address {to:#x}"));
        }
    }
    fn register(&self, at: u64) -> u32 {
        match at {
            0x00 => CAPABILITIES,
            0x04 => self.control,
            0x08 => self.pending(),
            0x0C => (1 << PORTS) - 1,
            0x10 => 0x0001_0000,
            0x100..0x400 => self.ports[(at as usize - 0x100) / 0x80].read(at & 0x7F),
            _ => 0,
        }
    }
    fn set_register(&mut self, at: u64, mask: u32, v: u32, cx: &mut dyn Cx) {
        let mut acknowledged = matches!(at, 0x04 | 0x08);
        match at {
            0x04 => {
                if v & mask & RESET != 0 {
                    self.control = AHCI_ON;
                    self.ports.iter_mut().for_each(|p| p.adapter_reset(cx));
                } else {
                    self.control = AHCI_ON | (self.control & !mask | v & mask) & INTERRUPTS;
                }
            }
            0x100..0x400 => {
                acknowledged = matches!(at & 0x7F, 0x10 | 0x14);
                self.ports[(at as usize - 0x100) / 0x80].write(at & 0x7F, mask, v, cx);
            }
            _ => {}
        }
        self.tell(acknowledged, cx);
    }
    fn check(&self, s: &AhciState) -> Result<(), Misfit> {
        ata::Drive::check_all(self.ports.iter().map(|p| p.drive.as_ref()), &s.drives)?;
        match self.ports.iter().zip(&s.ports).all(|(p, s)| p.fits(s)) {
            true => Ok(()),
            false => Err(Misfit::Unfit("ahci: commands that cannot be under way".into())),
        }
    }
}

impl Function for Ahci {
    fn config(&self) -> &Config {
        &self.config
    }
    fn config_mut(&mut self) -> &mut Config {
        &mut self.config
    }
    fn config_written(&mut self, cx: &mut dyn Cx) {
        // MSI may have been turned on or off.
        self.tell(false, cx);
    }
}

impl Device for Ahci {
    fn name(&self) -> &'static str {
        "ich9-ahci"
    }
    fn read(&mut self, at: Reg, w: Width, _: &mut dyn Cx) -> u64 {
        match at.bank {
            4 => join(at.at, w, 4, |i| match i {
                0x10 => self.index.into(),
                0x14 => self.register(self.index.into()).into(),
                _ => 0,
            }),
            5 => join(at.at, w, 4, |i| self.register(i).into()),
            _ => w.mask(),
        }
    }
    fn write(&mut self, at: Reg, w: Width, value: u64, cx: &mut dyn Cx) {
        split(at.at, w, 4, value, |i, mask, v| {
            let (mask, v) = (mask as u32, v as u32);
            match (at.bank, i) {
                (4, 0x10) => self.index = (self.index & !mask | v) & 0xFFC,
                (4, 0x14) => self.set_register(self.index.into(), mask, v, cx),
                (5, _) => self.set_register(i, mask, v, cx),
                _ => {}
            }
        });
    }
    fn input(&mut self, what: Input, cx: &mut dyn Cx) {
        let (Input::Disk { unit, .. } | Input::Medium { unit, .. } | Input::EjectRequest { unit }) =
            what
        else {
            return;
        };
        if let Some(port) = self.ports.get_mut(usize::from(unit)) {
            port.input(what, cx);
            self.tell(false, cx);
        }
    }
    fn reset(&mut self) {
        self.config.reset();
        (self.control, self.index) = (AHCI_ON, 0);
        self.ports.iter_mut().for_each(Port::reset);
    }
    fn settle(&mut self, cx: &mut dyn Cx) {
        self.ports.iter_mut().filter_map(|p| p.drive.as_mut()).for_each(|d| d.settle(cx));
        self.tell(false, cx);
    }
    fn save(&self) -> Vec<u8> {
        let ports = std::array::from_fn(|n| self.ports[n].s.clone());
        let drives = self.ports.iter().map(|p| p.drive.as_ref().map(|d| d.s.clone())).collect();
        let state = AhciState { control: self.control, index: self.index, ports, drives };
        pci::save(&self.config, state.save())
    }
    fn load(&mut self, from: &[u8]) -> Result<(), Misfit> {
        let mut state = AhciState::default();
        let mut config = std::mem::replace(&mut self.config, Config::new(NOBODY));
        let loaded = pci::load(&mut config, from, |rest| {
            state = AhciState::load(rest)?;
            self.check(&state)
        });
        self.config = config;
        loaded?;
        (self.control, self.index) = (AHCI_ON | state.control & INTERRUPTS, state.index & 0xFFC);
        let parts = state.ports.into_iter().zip(state.drives);
        for (port, (s, drive)) in self.ports.iter_mut().zip(parts) {
            (port.s, port.event) = (s, false);
            if let (Some(drive), Some(s)) = (&mut port.drive, drive) {
                drive.load(s);
            }
        }
        Ok(())
    }
    fn describe(&self) -> String {
        self.ports.iter().map(Port::describe).collect()
    }
}

/// Stands in for the function's own configuration while that is loaded.
const NOBODY: Ids = Ids { vendor: 0, device: 0, class: 0, revision: 0 };

#[cfg(test)]
mod test;
