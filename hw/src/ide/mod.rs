//! IDE: two channels of two drives behind PIIX3's or PIIX4's PCI function.
//!
//! Intel 82371SB (PIIX3) and 82371AB (PIIX4) data sheets; Programming Interface for Bus Master IDE Controller 1.0;
//! reset values as QEMU has them. Banks: 4 the bus master's ports (BAR 4); of its own 8 the ports at 0x1F0, 9 at 0x3F6,
//! 10 at 0x170, 11 at 0x376. Pins: 14 and 15. Unit `n` is drive `n`: 0 and 1 on the first channel, 2 and 3 on the second.

mod channel;
mod master;

use crate::ata::{self, DriveConfig};
use crate::pci::{self, Bar, Config, Function, Ids};
use channel::{Channel, ChannelState};
use device::*;

/// PIIX3's IDE function, 1.1 of `pc`.
pub struct Piix3Ide {
    config: Config,
    name: &'static str,
    channels: [Channel; 2],
}

state! {
    /// What it has beside its configuration space.
    pub struct IdeState {
        1 channels: [ChannelState; 2] = std::array::from_fn(|_| ChannelState::default()),
        2 drives: Vec<Option<ata::State>> = Vec::new(),
    }
}

impl Piix3Ide {
    pub fn new(drives: [Option<DriveConfig>; 4]) -> Self {
        Self::with_id(0x7010, "piix3-ide", drives)
    }
    /// The same as PIIX4 has it.
    pub fn piix4(drives: [Option<DriveConfig>; 4]) -> Self {
        Self::with_id(0x7111, "piix4-ide", drives)
    }
    fn with_id(device: u16, name: &'static str, drives: [Option<DriveConfig>; 4]) -> Self {
        let ids = Ids { vendor: 0x8086, device, class: 0x01_0180, revision: 0 };
        let mut config = Config::new(ids).own_registers().bar(4, Bar::io(16));
        config.set(0x06, &[0x80, 0x02]);
        let [a, b, c, d] = drives;
        Self { config, name, channels: [Channel::new(0, [a, b]), Channel::new(1, [c, d])] }
    }
    fn show(cx: &mut dyn Cx) {
        for (bank, base, len) in [(8, 0x1F0, 8), (9, 0x3F6, 1), (10, 0x170, 8), (11, 0x376, 1)] {
            let what = Seen::Registers;
            cx.map(bank, Some(Place { space: Space::Io, base, len, what }));
        }
    }
    fn drives(&self) -> impl Iterator<Item = Option<&ata::Drive>> {
        self.channels.iter().flat_map(|c| c.drives.iter().map(Option::as_ref))
    }
    fn check(&self, s: &IdeState) -> Result<(), Misfit> {
        ata::Drive::check_all(self.drives().collect::<Vec<_>>().into_iter(), &s.drives)?;
        match self.channels.iter().zip(&s.channels).all(|(c, s)| c.fits(s)) {
            true => Ok(()),
            false => Err(Misfit::Unfit(format!("{}: a transfer that cannot be", self.name))),
        }
    }
}

impl Function for Piix3Ide {
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

impl Device for Piix3Ide {
    fn name(&self) -> &'static str {
        self.name
    }
    fn read(&mut self, at: Reg, w: Width, cx: &mut dyn Cx) -> u64 {
        let [first, second] = &mut self.channels;
        match at.bank {
            4 => join(at.at, w, 1, |i| {
                let c = if i < 8 { &first } else { &second };
                if i < 16 { c.read_master(i & 7).into() } else { 0xFF }
            }),
            8 => first.read(at.at, w, cx),
            9 => first.read_alternate(at.at, w),
            10 => second.read(at.at, w, cx),
            11 => second.read_alternate(at.at, w),
            _ => w.mask(),
        }
    }
    fn write(&mut self, at: Reg, w: Width, value: u64, cx: &mut dyn Cx) {
        let [first, second] = &mut self.channels;
        match at.bank {
            4 => split(at.at, w, 1, value, |i, _, v| {
                let c = if i < 8 { &mut *first } else { &mut *second };
                if i < 16 {
                    c.write_master(i & 7, v as u8, cx);
                }
            }),
            8 => first.write(at.at, w, value, cx),
            9 if at.at == 0 => first.write_control(value as u8, cx),
            10 => second.write(at.at, w, value, cx),
            11 if at.at == 0 => second.write_control(value as u8, cx),
            _ => {}
        }
    }
    fn input(&mut self, what: Input, cx: &mut dyn Cx) {
        let (Input::Disk { unit, .. } | Input::Medium { unit, .. } | Input::EjectRequest { unit }) =
            what
        else {
            return;
        };
        if let Some(channel) = self.channels.get_mut(usize::from(unit / 2)) {
            channel.input(usize::from(unit % 2), what, cx);
        }
    }
    fn reset(&mut self) {
        self.config.reset();
        self.channels.iter_mut().for_each(Channel::reset);
    }
    fn settle(&mut self, cx: &mut dyn Cx) {
        Self::show(cx);
        self.channels.iter_mut().for_each(|c| c.settle(cx));
    }
    fn save(&self) -> Vec<u8> {
        let channels = std::array::from_fn(|n| self.channels[n].s.clone());
        let drives = self.drives().map(|d| d.map(|d| d.s.clone())).collect();
        pci::save(&self.config, IdeState { channels, drives }.save())
    }
    fn load(&mut self, from: &[u8]) -> Result<(), Misfit> {
        let mut state = IdeState::default();
        let mut config = std::mem::replace(&mut self.config, Config::new(NOBODY));
        let loaded = pci::load(&mut config, from, |rest| {
            state = IdeState::load(rest)?;
            self.check(&state)
        });
        self.config = config;
        loaded?;
        let mut drives = state.drives.into_iter();
        for (channel, s) in self.channels.iter_mut().zip(state.channels) {
            channel.s = s;
            for drive in &mut channel.drives {
                if let (Some(drive), Some(Some(s))) = (drive, drives.next()) {
                    drive.load(s);
                }
            }
        }
        Ok(())
    }
    fn describe(&self) -> String {
        self.channels.iter().map(Channel::describe).collect()
    }
}

/// Stands in for the function's own configuration while that is loaded.
const NOBODY: Ids = Ids { vendor: 0, device: 0, class: 0, revision: 0 };

#[cfg(test)]
mod test;
