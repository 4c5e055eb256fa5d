//! The VGA on a bench: what its tests share.

mod memory;
mod pictures;
mod registers;

use super::*;
use crate::display::Picture;
use Width::*;

const LFB: u64 = 0xE000_0000;

/// A VGA and its world.
struct Desk {
    d: Vga,
    b: Bench,
}

impl Desk {
    fn with(config: VgaConfig) -> Self {
        let (mut d, mut b) = (Vga::new(config), Bench::default());
        b.backing.0 = vec![0; (config.vram + config.vram_bytes) as usize];
        d.settle(&mut b);
        Self { d, b }
    }
    /// One megabyte of video memory, not at the beginning of the board's.
    fn new() -> Self {
        let mut desk =
            Self::with(VgaConfig { vram: 0x1000, vram_bytes: 1 << 20, ..VgaConfig::default() });
        // Ports at 0x3Dx, and a write to video memory at any time.
        desk.out(0x3C2, 0x67);
        desk
    }
    fn place(&self, space: Space, at: u64) -> Option<(u16, Place)> {
        let has = |p: &Place| p.space == space && (p.base..p.base + p.len).contains(&at);
        self.b.windows.iter().find(|(_, p)| has(p)).map(|(bank, p)| (*bank, *p))
    }
    fn inp(&mut self, port: u16) -> u8 {
        let Some((bank, p)) = self.place(Space::Io, port.into()) else { return 0xFF };
        self.d.read(Reg { bank, at: u64::from(port) - p.base }, W8, &mut self.b) as u8
    }
    fn out(&mut self, port: u16, v: u8) {
        if let Some((bank, p)) = self.place(Space::Io, port.into()) {
            self.d.write(Reg { bank, at: u64::from(port) - p.base }, W8, v.into(), &mut self.b);
        }
    }
    /// Writes a register behind an index port.
    fn set(&mut self, port: u16, index: u8, v: u8) {
        self.out(port, index);
        self.out(port + 1, v);
    }
    fn get(&mut self, port: u16, index: u8) -> u8 {
        self.out(port, index);
        self.inp(port + 1)
    }
    fn set_all(&mut self, port: u16, values: &[u8]) {
        values.iter().enumerate().for_each(|(n, v)| self.set(port, n as u8, *v));
    }
    /// Writes an attribute controller register and leaves the picture on.
    fn attribute(&mut self, index: u8, v: u8) {
        self.inp(0x3DA);
        self.out(0x3C0, index);
        self.out(0x3C0, v);
        self.out(0x3C0, 0x20);
        self.inp(0x3DA);
    }
    fn bochs(&mut self, index: u16, v: u16) {
        self.d.write(Reg { bank: BOCHS, at: 0 }, W16, index.into(), &mut self.b);
        self.d.write(Reg { bank: BOCHS, at: 1 }, W16, v.into(), &mut self.b);
    }
    fn bochs_read(&mut self, index: u16) -> u16 {
        self.d.write(Reg { bank: BOCHS, at: 0 }, W16, index.into(), &mut self.b);
        self.d.read(Reg { bank: BOCHS, at: 1 }, W16, &mut self.b) as u16
    }
    /// Sets an extended mode: width, height, bits a pixel.
    fn extended(&mut self, width: u16, height: u16, depth: u16) {
        for (index, v) in [(4, 0), (1, width), (2, height), (3, depth), (4, 0x41)] {
            self.bochs(index, v);
        }
        self.attribute(0x20, 0);
    }
    fn peek(&mut self, at: u64) -> u8 {
        let Some((bank, p)) = self.place(Space::Memory, at) else { return 0xFF };
        match p.what {
            Seen::Ram { offset } => self.b.backing.0[(offset + at - p.base) as usize],
            _ => self.d.read(Reg { bank, at: at - p.base }, W8, &mut self.b) as u8,
        }
    }
    fn poke(&mut self, at: u64, v: u8) {
        let Some((bank, p)) = self.place(Space::Memory, at) else { return };
        match p.what {
            Seen::Ram { offset } => self.b.backing.0[(offset + at - p.base) as usize] = v,
            _ => self.d.write(Reg { bank, at: at - p.base }, W8, v.into(), &mut self.b),
        }
    }
    /// Video memory itself.
    fn vram(&mut self) -> &mut [u8] {
        &mut self.b.backing.0[0x1000..]
    }
    fn picture(&mut self) -> Picture {
        let memory = &mut self.b.backing;
        let mut read = |at: u64, into: &mut [u8]| memory.read(at, into).expect("memory is there");
        self.d.picture(&mut read, self.b.now)
    }
    /// A palette where entry `n` is a grey of `n` (6 bits).
    fn greys(&mut self) {
        self.out(0x3C8, 0);
        (0..768u32).for_each(|n| self.out(0x3C9, (n / 3) as u8 & 0x3F));
        (0..16).for_each(|n| self.attribute(n, n));
    }
}

/// What a grey of the palette looks like.
fn grey(n: u8) -> [u8; 3] {
    [n << 2 | (n & 1) * 3; 3]
}

/// 80 by 25 characters of 9 by 16 dots.
fn text(d: &mut Desk) {
    d.set_all(0x3C4, &[3, 0, 3, 0, 2]);
    d.set(0x3D4, 0x11, 0);
    d.set_all(0x3D4, &[0x5F, 0x4F, 0x50, 0x82, 0x55, 0x81, 0xBF, 0x1F, 0, 0x4F, 0x2D, 0x0E]);
    for (index, v) in [(0x10, 0x9C), (0x11, 0x8E), (0x12, 0x8F), (0x13, 0x28), (0x14, 0x1F)] {
        d.set(0x3D4, index, v);
    }
    d.set_all(0x3CE, &[0, 0, 0, 0, 0, 0x10, 0x0E, 0x0F, 0xFF]);
    d.set(0x3D4, 0x17, 0xA3);
    d.set(0x3D4, 0x18, 0xFF);
    d.greys();
    d.attribute(0x10, 0x0C);
    d.attribute(0x12, 0x0F);
    d.attribute(0x13, 0x08);
}

/// Graphics of these many 8-pixel columns and lines, in planes.
fn planar(d: &mut Desk, columns: u8, lines: u16) {
    let last = lines - 1;
    d.set_all(0x3C4, &[3, 1, 0x0F, 0, 6]);
    d.set(0x3D4, 0x11, 0);
    d.set(0x3D4, 1, columns - 1);
    d.set(0x3D4, 7, (last >> 7 & 2 | last >> 3 & 0x40) as u8 | 0x10);
    d.set(0x3D4, 9, 0x40);
    d.set(0x3D4, 0x12, last as u8);
    for (index, v) in [(0x13, columns / 2), (0x17, 0xE3), (0x18, 0xFF)] {
        d.set(0x3D4, index, v);
    }
    d.set_all(0x3CE, &[0, 0, 0, 0, 0, 0, 5, 0x0F, 0xFF]);
    d.greys();
    d.attribute(0x10, 1);
    d.attribute(0x12, 0x0F);
    d.attribute(0x13, 0);
}
