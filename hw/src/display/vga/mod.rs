//! The standard VGA: IBM's registers, Bochs' display interface, flat video memory.  QEMU docs/specs/standard-vga.rst.
//!
//! BAR 0 is video memory, BAR 2 registers: what the monitor says of itself at 0, the ports from 0x3C0 on at 0x400, Bochs'
//! registers at 0x500, QEMU's at 0x600. Own banks: 8 to 12 the ports, 13 Bochs' ports at 0x1CE, 14 to 16 the window at
//! 0xA0000: where video memory is flat, bank 15 shows it there, and 14 and 16 what lies before and behind. No interrupts.

mod dispi;
mod planes;
mod ports;
mod render;
mod state;
mod text;
mod timing;

use super::edid::Edid;
use crate::pci::{Bar, Config, Function, Ids};
use device::*;
use state::State;

/// Which of a VGA's fixed addresses a function answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Legacy {
    /// All, whatever its command register says, as QEMU's does.
    #[default]
    Always,
    /// Ports and memory while the command register enables such.  PCI 3.0, 6.2.2.
    Decoded,
    /// None: a second display, `secondary-vga`.
    None,
}

/// What a board chooses.
#[derive(Clone, Copy, Debug)]
pub struct VgaConfig {
    /// Where in the board's memory video memory begins.
    pub vram: u64,
    /// Its size: a power of two from 1 to 512 MiB.
    pub vram_bytes: u64,
    /// Where in the board's memory the ROM lies, and its size, a power of two.
    pub rom: Option<(u64, u64)>,
    pub edid: Option<Edid>,
    pub legacy: Legacy,
}

impl Default for VgaConfig {
    /// 16 MiB at offset 0, a monitor, no ROM.
    fn default() -> Self {
        let edid = Some(Edid::default());
        Self { vram: 0, vram_bytes: 16 << 20, rom: None, edid, legacy: Legacy::default() }
    }
}

/// Video memory.
#[derive(Clone, Copy, Debug)]
struct Vram {
    offset: u64,
    bytes: u64,
}

impl Vram {
    fn holds(self, at: u64, len: usize) -> bool {
        at.checked_add(len as u64).is_some_and(|end| end <= self.bytes)
    }
    fn read(self, at: u64, into: &mut [u8], memory: &mut dyn Dma) -> bool {
        self.holds(at, into.len()) && memory.read(self.offset + at, into).is_ok()
    }
    fn write(self, at: u64, from: &[u8], memory: &mut dyn Dma) {
        if self.holds(at, from.len()) {
            // A board without memory there has been built wrongly; a guest cannot bring it about.
            let _ = memory.write(self.offset + at, from);
        }
    }
    /// Zeroes the first bytes.
    fn clear(self, bytes: u64, memory: &mut dyn Dma) {
        const ZEROES: [u8; 4096] = [0; 4096];
        let end = bytes.min(self.bytes);
        for at in (0..end).step_by(ZEROES.len()) {
            let n = (end - at).min(ZEROES.len() as u64) as usize;
            if memory.write(self.offset + at, &ZEROES[..n]).is_err() {
                return;
            }
        }
    }
}

/// Banks of ports: where, and how many.
#[rustfmt::skip]
const PORTS: [(u16, u16, u64); 6] = [
    (8, 0x3C0, 16), (9, 0x3B4, 2), (10, 0x3BA, 1), (11, 0x3D4, 2), (12, 0x3DA, 1), (BOCHS, 0x1CE, 4),
];
const BOCHS: u16 = 13;
const WINDOW: [u16; 3] = [14, 15, 16];
const WINDOW_BASE: u64 = 0xA_0000;
const WINDOW_LEN: u64 = 0x2_0000;

/// So much of BAR 2 is for what the monitor says.
const EDID_LEN: u64 = 0x180;
/// Byte order register of BAR 2: what is written for each.
const LITTLE: u32 = 0x1E1E_1E1E;
const BIG: u32 = 0xBEBE_BEBE;

pub struct Vga {
    config: Config,
    s: State,
    vram: Vram,
    edid: Option<Box<[u8; 256]>>,
    legacy: Legacy,
    /// The window at 0xA0000 as last shown.
    shown: Option<[Option<Place>; 3]>,
}

impl Vga {
    pub fn new(c: VgaConfig) -> Self {
        let bytes = c.vram_bytes.clamp(1 << 20, 512 << 20).next_power_of_two();
        let class = if c.legacy == Legacy::None { 0x03_8000 } else { 0x03_0000 };
        let ids = Ids { vendor: 0x1234, device: 0x1111, class, revision: 2 };
        let memory = Bar::memory(bytes).prefetchable().seen(Seen::Ram { offset: c.vram });
        let mut config = Config::new(ids).bar(0, memory).bar(2, Bar::memory(0x1000));
        if let Some((offset, len)) = c.rom {
            config = config.rom(len, offset);
        }
        let vram = Vram { offset: c.vram, bytes };
        let edid = c.edid.map(|e| Box::new(e.bytes()));
        Self { config, s: State::default(), vram, edid, legacy: c.legacy, shown: None }
    }
    /// What the monitor shows now. `memory` reads the board's memory, at the offsets that [`VgaConfig`] speaks of.
    pub fn picture(&self, memory: &mut dyn FnMut(u64, &mut [u8]), now: Tick) -> super::Picture {
        render::picture(&self.s, self.vram, memory, now)
    }
    /// Whether its fixed addresses are decoded: those that need this bit of the command register.
    fn decodes(&self, bit: u8) -> bool {
        match self.legacy {
            Legacy::Always => true,
            Legacy::Decoded => self.config.u8(4) & bit != 0,
            Legacy::None => false,
        }
    }
    /// Where the three parts of the window at 0xA0000 are.
    fn window(&self) -> [Option<Place>; 3] {
        let place = |from: u64, to: u64, what: Seen| {
            let (base, len) = (WINDOW_BASE + from, to - from);
            (len != 0).then_some(Place { space: Space::Memory, base, len, what })
        };
        if !self.decodes(2) {
            return [None; 3];
        }
        let flat = self.s.chained() && self.s.sequencer(state::PLANES) & 0xF == 0xF;
        let bank = u64::from(self.s.dispi.bank);
        let (from, to, at) = match self.s.graphics.0[state::MISC] >> 2 & 3 {
            _ if !flat => (WINDOW_LEN, WINDOW_LEN, 0),
            0 => (0, WINDOW_LEN, 0),
            1 => (0, 0x1_0000, bank),
            2 => (0x1_0000, 0x1_8000, 0),
            _ => (0x1_8000, WINDOW_LEN, 0),
        };
        [
            place(0, from, Seen::Registers),
            place(from, to, Seen::Ram { offset: self.vram.offset + at }),
            place(to, WINDOW_LEN, Seen::Registers),
        ]
    }
    /// Shows the window, if it is another than before.
    fn show(&mut self, cx: &mut dyn Cx) {
        let window = self.window();
        if self.shown == Some(window) {
            return;
        }
        // What has to go, goes before something else is put there.
        let before = self.shown.replace(window).unwrap_or_default();
        for n in (0..3).filter(|n| before[*n] != window[*n]) {
            cx.map(WINDOW[n], None);
        }
        for n in (0..3).filter(|n| before[*n] != window[*n] && window[*n].is_some()) {
            cx.map(WINDOW[n], window[n]);
        }
    }
    fn show_ports(&mut self, cx: &mut dyn Cx) {
        for (bank, base, len) in PORTS {
            let place = Place { space: Space::Io, base: base.into(), len, what: Seen::Registers };
            cx.map(bank, self.decodes(1).then_some(place));
        }
    }
    /// The offset into the window of an access to one of its parts.
    fn into_window(&self, at: Reg) -> u64 {
        let part = self.window()[usize::from(at.bank - WINDOW[0]) % 3];
        part.map_or(u64::MAX, |p| (p.base - WINDOW_BASE).saturating_add(at.at))
    }
    fn write_bochs(&mut self, v: u16, cx: &mut dyn Cx) {
        self.s.write_dispi(v, self.vram, cx.backing());
        self.show(cx);
    }
    fn write_port(&mut self, port: u16, v: u8, cx: &mut dyn Cx) {
        ports::write(&mut self.s, port, v);
        if port == 0x3C5 || port == 0x3CF {
            self.show(cx);
        }
    }
    fn read_mmio(&mut self, at: u64, w: Width, cx: &mut dyn Cx) -> u64 {
        let now = cx.now();
        match at {
            0..EDID_LEN if self.edid.is_some() => {
                let edid = self.edid.as_deref().map_or(&[][..], |e| e);
                join(at, w, 1, |i| edid.get(i as usize).copied().unwrap_or(0).into())
            }
            0x400..0x420 => join(at, w, 1, |i| match i {
                0x400..0x420 => ports::read(&mut self.s, i as u16 - 0x40, now).into(),
                _ => 0xFF,
            }),
            0x500..0x516 => join(at, w, 2, |i| {
                self.s.dispi.index = (i as u16 & 0x1F) / 2;
                self.s.dispi.read(self.vram.bytes).into()
            }),
            0x600..0x608 => join(at, w, 4, |i| match i {
                0x600 => 8,
                0x604 if self.s.dispi.big_endian => BIG.into(),
                0x604 => LITTLE.into(),
                _ => u32::MAX.into(),
            }),
            _ => w.mask(),
        }
    }
    fn write_mmio(&mut self, at: u64, w: Width, value: u64, cx: &mut dyn Cx) {
        match at {
            0x400..0x420 => split(at, w, 1, value, |i, _, v| {
                if i < 0x420 {
                    self.write_port(i as u16 - 0x40, v as u8, cx);
                }
            }),
            0x500..0x516 => split(at, w, 2, value, |i, _, v| {
                self.s.dispi.index = (i as u16 & 0x1F) / 2;
                self.write_bochs(v as u16, cx);
            }),
            0x600..0x608 => split(at, w, 4, value, |i, _, v| match (i, v as u32) {
                (0x604, BIG) => self.s.dispi.big_endian = true,
                (0x604, LITTLE) => self.s.dispi.big_endian = false,
                _ => {}
            }),
            _ => {}
        }
    }
}

/// The port at an offset into a bank of ports.
fn port(at: Reg) -> Option<u16> {
    let (_, base, len) = PORTS.iter().find(|(bank, ..)| *bank == at.bank)?;
    (at.at < *len).then(|| base + at.at as u16)
}

impl Function for Vga {
    fn config(&self) -> &Config {
        &self.config
    }
    fn config_mut(&mut self) -> &mut Config {
        &mut self.config
    }
    fn config_written(&mut self, cx: &mut dyn Cx) {
        if self.legacy == Legacy::Decoded {
            self.show_ports(cx);
            self.show(cx);
        }
    }
    fn removable(&self) -> bool {
        false
    }
}

impl Device for Vga {
    fn name(&self) -> &'static str {
        if self.legacy == Legacy::None { "secondary-vga" } else { "VGA" }
    }
    fn read(&mut self, at: Reg, w: Width, cx: &mut dyn Cx) -> u64 {
        match at.bank {
            2 => self.read_mmio(at.at, w, cx),
            // Words only: the index, and the data at two places.
            BOCHS => match (at.at, w) {
                (0, Width::W16) => self.s.dispi.index.into(),
                (1 | 2, Width::W16) => self.s.dispi.read(self.vram.bytes).into(),
                _ => w.mask(),
            },
            8..BOCHS => join(at.at, w, 1, |i| match port(Reg { at: i, ..at }) {
                Some(port) => ports::read(&mut self.s, port, cx.now()).into(),
                None => 0xFF,
            }),
            14..=16 => {
                let first = self.into_window(at);
                join(0, w, 1, |i| {
                    planes::read(&mut self.s, first.saturating_add(i), self.vram, cx.backing())
                        .into()
                })
            }
            _ => w.mask(),
        }
    }
    fn write(&mut self, at: Reg, w: Width, value: u64, cx: &mut dyn Cx) {
        match at.bank {
            2 => self.write_mmio(at.at, w, value, cx),
            BOCHS => match (at.at, w) {
                (0, Width::W16) => self.s.dispi.index = value as u16,
                (1 | 2, Width::W16) => self.write_bochs(value as u16, cx),
                _ => {}
            },
            8..BOCHS => split(at.at, w, 1, value, |i, _, v| {
                if let Some(port) = port(Reg { at: i, ..at }) {
                    self.write_port(port, v as u8, cx);
                }
            }),
            14..=16 => {
                let first = self.into_window(at);
                split(0, w, 1, value, |i, _, v| {
                    let at = first.saturating_add(i);
                    planes::write(&self.s, at, v as u8, self.vram, cx.backing());
                })
            }
            _ => {}
        }
    }
    fn reset(&mut self) {
        self.config.reset();
        self.s = State::default();
        self.shown = None;
    }
    fn settle(&mut self, cx: &mut dyn Cx) {
        self.show_ports(cx);
        // Whatever was shown before: nothing of it may stay.
        WINDOW.iter().for_each(|bank| cx.map(*bank, None));
        self.shown = None;
        self.show(cx);
    }
    fn save(&self) -> Vec<u8> {
        crate::pci::save(&self.config, self.s.save())
    }
    fn load(&mut self, from: &[u8]) -> Result<(), Misfit> {
        let vram = self.vram.bytes;
        crate::pci::load(&mut self.config, from, |rest| {
            let s = State::load(rest)?;
            s.check(vram)?;
            self.s = s;
            Ok(())
        })?;
        self.shown = None;
        Ok(())
    }
    fn describe(&self) -> String {
        let shows = render::shows(&self.s);
        format!("{} MiB of video memory, shows {shows}\n", self.vram.bytes >> 20)
    }
}

#[cfg(test)]
mod test;
