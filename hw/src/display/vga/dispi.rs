//! Bochs' display interface: resolutions and depths beyond the VGA's.  Bochs, "VBE Display HOWTO"; QEMU
//! docs/specs/standard-vga.rst.
//!
//! There is nobody to tell of an error: a value that cannot be becomes the nearest that can.

use super::Vram;
use super::state::*;
use device::Dma;

/// Versions of the interface, as its first register has them.
pub const OLDEST: u16 = 0xB0C0;
pub const NEWEST: u16 = 0xB0C5;

/// Registers.
const ID: usize = 0;
const WIDTH: usize = 1;
const HEIGHT: usize = 2;
const DEPTH: usize = 3;
const ENABLE: usize = 4;
const BANK: usize = 5;
const VIRTUAL_WIDTH: usize = 6;
const VIRTUAL_HEIGHT: usize = 7;
const X: usize = 8;
const Y: usize = 9;
const MEMORY_SIZE: u16 = 10;

/// Bits of [`ENABLE`].
const ENABLED: u16 = 0x01;
const CAPABILITIES: u16 = 0x02;
const WIDE_DAC: u16 = 0x20;
const NO_CLEAR: u16 = 0x80;

const MAX_WIDTH: u16 = 16_000;
const MAX_HEIGHT: u16 = 12_000;
const MAX_DEPTH: u16 = 32;

/// A picture in video memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flat {
    pub width: u32,
    pub height: u32,
    /// Bytes a line, and where the first begins.
    pub pitch: u32,
    pub start: u32,
}

impl Dispi {
    fn enabled(&self) -> bool {
        self.registers[ENABLE] & ENABLED != 0
    }
    /// Bits a pixel, when the extension is on.
    pub fn depth(&self) -> Option<u16> {
        self.enabled().then_some(self.registers[DEPTH])
    }
    /// Colours have eight bits a component.
    pub fn wide_dac(&self) -> bool {
        self.registers[ENABLE] & WIDE_DAC != 0
    }
    fn bits(&self) -> u64 {
        match self.registers[DEPTH] {
            15 => 16,
            bits => bits.into(),
        }
    }
    fn pitch(&self) -> u64 {
        u64::from(self.registers[VIRTUAL_WIDTH]) * self.bits() / 8
    }
    /// The picture, when the extension is on.
    pub fn flat(&self) -> Option<Flat> {
        let start = u64::from(self.registers[X]) * self.bits() / 8
            + u64::from(self.registers[Y]) * self.pitch();
        self.enabled().then(|| Flat {
            width: self.registers[WIDTH].into(),
            height: self.registers[HEIGHT].into(),
            pitch: self.pitch() as u32,
            start: (start & !3) as u32,
        })
    }
    /// Makes the registers fit each other and the video memory.
    pub fn fix(&mut self, vram: u64) {
        if !self.enabled() {
            return;
        }
        let r = &mut self.registers;
        if ![4, 8, 15, 16, 24, 32].contains(&r[DEPTH]) {
            r[DEPTH] = 8;
        }
        r[WIDTH] = (r[WIDTH] & !7).clamp(8, MAX_WIDTH);
        r[VIRTUAL_WIDTH] = (r[VIRTUAL_WIDTH] & !7).min(MAX_WIDTH).max(r[WIDTH]);
        let pitch = self.pitch();
        let fits = vram / pitch;
        let r = &mut self.registers;
        r[HEIGHT] = r[HEIGHT].clamp(1, MAX_HEIGHT).min(fits.min(0xFFFF) as u16);
        (r[X], r[Y]) = (r[X].min(MAX_WIDTH), r[Y].min(MAX_HEIGHT));
        let (x, y, height) = (u64::from(r[X]), u64::from(r[Y]), u64::from(r[HEIGHT]));
        let bits = self.bits();
        let bytes = |x: u64, y: u64| x * bits / 8 + (y + height) * pitch;
        if bytes(x, y) > vram {
            self.registers[Y] = 0;
            if bytes(x, 0) > vram {
                self.registers[X] = 0;
            }
        }
        self.registers[VIRTUAL_HEIGHT] = fits as u16;
    }
    pub fn read(&self, vram: u64) -> u16 {
        let capabilities = self.registers[ENABLE] & CAPABILITIES != 0;
        match (self.index, usize::from(self.index)) {
            (MEMORY_SIZE, _) => (vram >> 16) as u16,
            (_, WIDTH) if capabilities => MAX_WIDTH,
            (_, HEIGHT) if capabilities => MAX_HEIGHT,
            (_, DEPTH) if capabilities => MAX_DEPTH,
            (_, n) => self.registers.get(n).copied().unwrap_or(0),
        }
    }
}

impl State {
    /// A write to the register that the index selects.
    pub fn write_dispi(&mut self, v: u16, vram: Vram, memory: &mut dyn Dma) {
        let d = &mut self.dispi;
        match usize::from(d.index) {
            ID if (OLDEST..=NEWEST).contains(&v) => d.registers[ID] = v,
            BANK => {
                let all = if d.registers[DEPTH] == 4 { vram.bytes / 4 } else { vram.bytes };
                d.registers[BANK] = v & (all >> 16).saturating_sub(1) as u16;
                d.bank = u32::from(d.registers[BANK]) << 16;
            }
            ENABLE => self.enable(v, vram, memory),
            n @ (WIDTH | HEIGHT | DEPTH | VIRTUAL_WIDTH | X | Y) => {
                d.registers[n] = v;
                d.fix(vram.bytes);
                self.hold();
            }
            _ => {}
        }
    }
    fn enable(&mut self, v: u16, vram: Vram, memory: &mut dyn Dma) {
        let d = &mut self.dispi;
        let before = d.enabled();
        d.registers[ENABLE] = v;
        if !d.enabled() || before {
            d.bank = 0;
            return;
        }
        (d.registers[VIRTUAL_WIDTH], d.registers[X], d.registers[Y]) = (0, 0, 0);
        d.fix(vram.bytes);
        if v & NO_CLEAR == 0 {
            vram.clear(d.pitch() * u64::from(d.registers[HEIGHT]), memory);
        }
        self.hold();
    }
    /// While the extension is on, some registers of the VGA are held at what goes with it.
    pub fn hold(&mut self) {
        let (Some(depth), Some(flat)) = (self.dispi.depth(), self.dispi.flat()) else { return };
        // Graphics, in the window at 0xA0000.
        self.graphics.0[MISC] = self.graphics.0[MISC] & !0x0C | 0x05;
        self.graphics.0[MODE] = self.graphics.0[MODE] & !0x60 | if depth == 4 { 0 } else { 0x40 };
        let crtc = &mut self.crtc.0;
        crtc[CRTC_MODE] |= 3;
        crtc[OFFSET] = (flat.pitch >> 3) as u8;
        crtc[H_DISPLAY] = (flat.width / 8).wrapping_sub(1) as u8;
        let last = flat.height.wrapping_sub(1);
        crtc[V_DISPLAY] = last as u8;
        crtc[OVERFLOW] =
            crtc[OVERFLOW] & !0x42 | (last >> 7 & 0x02 | last >> 3 & 0x40) as u8 | 0x10;
        crtc[LINE_COMPARE] = 0xFF;
        crtc[SCAN_LINES] = crtc[SCAN_LINES] & !0x9F | 0x40;
    }
}
