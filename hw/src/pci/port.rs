//! `pcie-root-port` (1b36:000c): a root port with one slot, into which cards are put and from which they are taken while
//! the machine runs.
//!
//! PCI Express Base 4.0, 6.7 (hot plug) and 7.5.3.9 to 7.5.3.11 (slot registers). BAR 0 holds the tables of MSI-X with one
//! vector. What a card in the slot means for the bus is the bus's work ([`Port`]). As on QEMU, a card that is put in
//! presses the attention button, too; a user who wants it back presses it again; a command is completed at once; and
//! the card is let go when power and power indicator have both been turned off.

use super::bridge::Forward;
use super::express::{self, Express, SlotAbilities};
use super::msi::{Msix, MsixState};
use super::{Bar, Config, Function, Ids};
use device::*;

bits! {
    /// Slot status; the enable bits of slot control stand at the same places, but for the link's.
    pub struct SlotStatus: u16 {
        button: 0, power_fault: 1, latch: 2, presence_changed: 3, completed: 4, present: 6, interlock: 7, link_changed: 8
    }
}
bits! {
    /// Slot control.
    pub struct SlotControl: u16 {
        events: 0..5, interrupts: 5, attention: 6..8, indicator: 8..10, power_off: 10, interlock: 11, link_changed: 12
    }
}

/// The power indicator.
const BLINKING: u16 = 2;
const DARK: u16 = 3;
/// The link is up.
const LINK_ACTIVE: u16 = 1 << 13;

/// What happens at a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Card {
    /// One was put in; its link's speed and width.
    In(u16),
    /// It was taken out.
    Out,
    /// The attention button was pressed.
    Button,
}

/// A port with a slot, as the bus and the user see it.
pub trait Port {
    /// Whether cards come and go while the machine runs.
    fn hotplug(&self) -> bool;
    /// Whether the slot has power: without, no card answers.
    fn powered(&self) -> bool;
    /// Whether the power indicator blinks: software is about to turn it on or off.
    fn blinking(&self) -> bool;
    /// Whether power and its indicator are off: the card can be taken out.
    fn released(&self) -> bool;
    /// At power-on a card is there, with this link, or none.
    fn populate(&mut self, link: Option<u16>);
    fn happened(&mut self, what: Card, cx: &mut dyn Cx);
    /// Whether software has let the card go since the last time.
    fn take_release(&mut self) -> bool;
}

state! {
    /// What it has beside its configuration space.
    pub struct State {
        1 msix: MsixState = MsixState::default(),
        /// Whether an event is being signalled.
        2 told: bool = false,
    }
}

/// How a root port is to be.
#[derive(Clone, Copy, Debug)]
pub struct PortOptions {
    pub slot: u16,
    pub hotplug: bool,
    pub power: bool,
    pub error_reporting: bool,
    pub access_control: bool,
}

impl Default for PortOptions {
    fn default() -> Self {
        Self { slot: 0, hotplug: true, power: true, error_reporting: true, access_control: true }
    }
}

pub struct RootPort {
    config: Config,
    msix: Msix,
    options: PortOptions,
    express: usize,
    told: bool,
    /// Slot control as it was before software's last write.
    control: SlotControl,
    released: bool,
}

impl RootPort {
    pub fn new(options: PortOptions) -> Self {
        let ids = Ids { vendor: 0x1B36, device: 0x000C, class: 0x06_0400, revision: 0 };
        let mut config = Config::new(ids)
            .extended()
            .newest_first()
            .bridge(0x005F)
            .interrupt_pin(1)
            .bar(0, Bar::memory(0x1000));
        // All windows closed.
        config.set(0x1C, &[0xF0, 0x00]);
        config.set(0x20, &[0xF0, 0xFF, 0x00, 0x00, 0xF1, 0xFF, 0x01, 0x00]);
        // Subsystem vendor of bridges.
        config.capability(0xD, &[0, 0, 0x36, 0x1B, 0, 0], &[]);
        let msix = Msix::add(&mut config, 1, 0, 0, 0x800);
        let PortOptions { slot, hotplug, power, .. } = options;
        let abilities = SlotAbilities { number: slot, hotplug, power };
        let express = config.express(Express::RootPort(abilities));
        if options.error_reporting {
            config.error_reporting(true, if options.access_control { 0x148 } else { 0 });
        }
        if options.access_control {
            config.access_control(if options.error_reporting { 0x148 } else { 0x100 });
        }
        let mut port = Self {
            config,
            msix,
            options,
            express,
            told: false,
            control: SlotControl(0),
            released: false,
        };
        port.populate(None);
        port
    }
    fn slot_control(&self) -> SlotControl {
        SlotControl(self.config.u16(self.express + express::SLOT_CONTROL))
    }
    fn status(&self) -> SlotStatus {
        SlotStatus(self.config.u16(self.express + express::SLOT_STATUS))
    }
    fn put_status(&mut self, status: SlotStatus) {
        self.config.put_u16(self.express + express::SLOT_STATUS, status.0);
    }
    fn put_link(&mut self, link: Option<u16>) {
        let status = link.map_or(express::WIDEST_LINK, |l| l & 0x3FF | LINK_ACTIVE);
        self.config.put_u16(self.express + express::LINK_STATUS, status);
    }
    fn off(&self, control: SlotControl) -> bool {
        self.options.power && control.power_off() && control.indicator() == DARK
    }
    /// After a write to slot control.  PCIe 4.0, 7.5.3.10.
    fn commanded(&mut self) {
        let (old, mut new) = (self.control, self.slot_control());
        let mut status = self.status();
        if new.interlock() {
            // A pulse that reads as zero.
            new = new.with_interlock(false);
            self.config.put_u16(self.express + express::SLOT_CONTROL, new.0);
            status = status.with_interlock(!status.interlock());
        }
        // Software that only repeats what is so does not mean it.
        let off = self.off(new) && !self.off(old);
        self.released |= self.options.hotplug && status.present() && off;
        self.put_status(status.with_completed(true));
        self.control = new;
    }
    /// Signals that there is something to be signalled, when there was not.  PCIe 4.0, 6.7.3.4.
    fn notify(&mut self, cx: &mut dyn Cx) {
        let (control, status) = (self.slot_control(), self.status());
        let link = status.link_changed() && control.link_changed();
        let due = control.interrupts() && (status.0 & control.events() != 0 || link);
        let messages = self.msix.enabled(&self.config);
        self.config.set_intx(due && !messages);
        if due && !self.told && messages {
            self.msix.notify(0, &self.config, cx);
        }
        self.told = due;
    }
}

impl Port for RootPort {
    fn hotplug(&self) -> bool {
        self.options.hotplug
    }
    fn powered(&self) -> bool {
        !self.options.power || !self.slot_control().power_off()
    }
    fn blinking(&self) -> bool {
        self.slot_control().indicator() == BLINKING
    }
    fn released(&self) -> bool {
        self.off(self.slot_control())
    }
    fn populate(&mut self, link: Option<u16>) {
        let there = link.is_some();
        self.put_link(link);
        self.put_status(SlotStatus(0).with_present(there));
        let control = self.slot_control().with_power_off(!there && self.options.power);
        self.config.put_u16(self.express + express::SLOT_CONTROL, control.0);
        self.control = control;
    }
    fn happened(&mut self, what: Card, cx: &mut dyn Cx) {
        let status = self.status();
        let changed = |present| {
            status.with_present(present).with_presence_changed(true).with_link_changed(true)
        };
        match what {
            Card::In(link) => {
                self.put_link(Some(link));
                self.put_status(changed(true).with_button(true));
            }
            Card::Out => {
                self.put_link(None);
                self.put_status(changed(false));
            }
            Card::Button => self.put_status(status.with_button(true)),
        }
        self.notify(cx);
    }
    fn take_release(&mut self) -> bool {
        std::mem::take(&mut self.released)
    }
}

impl Function for RootPort {
    fn config(&self) -> &Config {
        &self.config
    }
    fn config_mut(&mut self) -> &mut Config {
        &mut self.config
    }
    fn config_written(&mut self, cx: &mut dyn Cx) {
        let (written, at) = (self.config.written(), self.express + express::SLOT_CONTROL);
        if written.start < at + 2 && at < written.end {
            self.commanded();
        }
        self.msix.flush(&self.config, cx);
        self.notify(cx);
    }
    fn port(&mut self) -> Option<&mut dyn Port> {
        Some(self)
    }
    fn forward(&self) -> Option<Forward> {
        Some(Forward::of(&self.config).with_power(self.powered()))
    }
}

impl Device for RootPort {
    fn name(&self) -> &'static str {
        "pcie-root-port"
    }
    fn read(&mut self, at: Reg, w: Width, _: &mut dyn Cx) -> u64 {
        match (at.bank, at.at) {
            (0, 0..0x800) => self.msix.read_table(at.at, w),
            (0, at) => self.msix.read_pending(at - 0x800, w),
            _ => w.mask(),
        }
    }
    fn write(&mut self, at: Reg, w: Width, value: u64, cx: &mut dyn Cx) {
        if at.bank == 0 && at.at < 0x800 {
            self.msix.write_table(at.at, w, value, &self.config, cx);
        }
    }
    fn reset(&mut self) {
        self.config.reset();
        self.msix.reset();
        (self.told, self.released) = (false, false);
        self.populate(None);
    }
    fn save(&self) -> Vec<u8> {
        let state = State { msix: self.msix.s.clone(), told: self.told };
        super::save(&self.config, state.save())
    }
    fn load(&mut self, from: &[u8]) -> Result<(), Misfit> {
        super::load(&mut self.config, from, |rest| {
            let state = State::load(rest)?;
            self.msix.load(state.msix)?;
            (self.told, self.released) = (state.told, false);
            Ok(())
        })?;
        self.control = self.slot_control();
        Ok(())
    }
}
