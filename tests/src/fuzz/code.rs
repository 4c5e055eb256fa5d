//! Random code: valid instructions, nearly valid ones, what systems are made of, and noise; in loops.

use crate::rng::{Rng, integer};

/// Where loops count, in the data segment: an offset from its base.
pub const COUNTERS: u64 = 0x7F00;

/// Encodings of instances of every form, as 64-bit code.
pub fn pool() -> Vec<Vec<u8>> {
    let files = [
        include_str!("../../insn/vectors.txt"),
        include_str!("../../insn/integer.ins"),
        include_str!("../../insn/memory.ins"),
        include_str!("../../insn/vector.ins"),
        include_str!("../../insn/x87.ins"),
    ];
    let lines = files.iter().flat_map(|f| f.lines()).filter(|l| !l.starts_with('#'));
    lines.filter_map(|l| bytes(l.split('|').next()?.trim())).collect()
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let pairs = hex.as_bytes().chunks(2);
    let all: Option<Vec<u8>> =
        pairs.map(|p| u8::from_str_radix(std::str::from_utf8(p).ok()?, 16).ok()).collect();
    all.filter(|b| !b.is_empty())
}

/// Writes code for one size of code segment.
pub struct Coder<'a> {
    pub r: &'a mut Rng,
    pub bits: u32,
    pub pool: &'a [Vec<u8>],
    /// The linear address of the data segment's first byte as code names it.
    pub data: u64,
    pub out: Vec<u8>,
}

impl Coder<'_> {
    /// Loops one after the other, and a jump back to the first.
    pub fn program(&mut self) {
        for n in 0..1 + self.r.below(6) {
            self.looped(n);
        }
        let back = -(self.out.len() as i64);
        self.jump(&[0xE9], back);
    }

    fn looped(&mut self, n: u64) {
        let rounds = 1 + self.r.below(40);
        self.counter(&[0xC7], 0x00, n);
        let wide = if self.bits == 16 { 2 } else { 4 };
        self.out.extend(&rounds.to_le_bytes()[..wide]);
        let start = self.out.len();
        for _ in 0..1 + self.r.below(14) {
            self.instruction();
        }
        self.counter(&[0xFF], 0x08, n);
        let back = start as i64 - self.out.len() as i64;
        self.jump(&[0x0F, 0x85], back);
    }

    /// An operation on a loop's counter in memory: opcode, and the register part of ModRM.
    fn counter(&mut self, op: &[u8], reg: u8, n: u64) {
        self.out.extend(op);
        let at = self.data + COUNTERS + 4 * n;
        match self.bits {
            16 => {
                self.out.push(reg | 0x06);
                self.out.extend(&at.to_le_bytes()[..2]);
            }
            32 => {
                self.out.push(reg | 0x05);
                self.out.extend(&at.to_le_bytes()[..4]);
            }
            _ => {
                self.out.extend([reg | 0x04, 0x25]);
                self.out.extend(&at.to_le_bytes()[..4]);
            }
        }
    }

    /// A near branch by so many bytes from the start of this instruction.
    fn jump(&mut self, op: &[u8], by: i64) {
        let wide = if self.bits == 16 { 2 } else { 4 };
        let by = by - op.len() as i64 - wide;
        self.out.extend(op);
        self.out.extend(&by.to_le_bytes()[..wide as usize]);
    }

    fn instruction(&mut self) {
        match self.r.below(100) {
            0..45 => self.known(),
            45..60 => {
                let at = self.out.len();
                self.known();
                for _ in 0..1 + self.r.below(3) {
                    let n = at + self.r.below((self.out.len() - at) as u64) as usize;
                    self.out[n] ^= 1 << self.r.below(8);
                }
            }
            60..72 => self.shaped(),
            72..76 => self.noise(16),
            76..88 => self.system(),
            _ => self.plain(),
        }
    }

    fn known(&mut self) {
        let n = self.r.below(self.pool.len() as u64) as usize;
        let code = &self.pool[n];
        // REX is INC and DEC elsewhere.
        let skip = usize::from(self.bits != 64 && code[0] & 0xF0 == 0x40);
        self.out.extend(&code[skip..]);
    }

    fn noise(&mut self, most: u64) {
        for _ in 0..self.r.below(most) {
            let byte = self.r.next() as u8;
            self.out.push(byte);
        }
    }

    /// Prefixes, an opcode of any map, ModRM, and what may follow.
    fn shaped(&mut self) {
        const PREFIXES: [u8; 11] =
            [0x66, 0x67, 0xF2, 0xF3, 0xF0, 0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65];
        while self.r.below(3) == 0 {
            let p = self.r.pick(&PREFIXES);
            self.out.push(p);
        }
        if self.bits == 64 && self.r.below(2) == 0 {
            let rex = 0x40 | self.r.below(16) as u8;
            self.out.push(rex);
        }
        let op = self.r.next() as u8;
        match self.r.below(8) {
            0 | 1 => self.out.push(op),
            2..=4 => self.out.extend([0x0F, op]),
            5 => self.out.extend([0x0F, self.r.pick(&[0x38, 0x3A]), op]),
            6 => {
                let (a, b) = (self.r.next() as u8 & 0xE3, self.r.next() as u8);
                self.out.extend([0xC4, a | 1, b, op]);
            }
            _ => self.out.extend([0xC5, self.r.next() as u8, op]),
        }
        self.noise(8);
    }

    /// What programs do most of the time.
    fn plain(&mut self) {
        let r = self.r.below(8) as u8;
        match self.r.below(10) {
            0 => self.out.push(0x50 | r),
            1 => self.out.push(0x58 | r),
            2 => {
                let v = integer(self.r, 32) as u32;
                self.set(r, v);
            }
            // A branch over a few bytes.
            3 => {
                let by = self.r.below(6);
                self.out.extend([0x70 | self.r.below(16) as u8, by as u8]);
                self.noise(by + 1);
            }
            // A call to the next instruction, and back past it.
            4 => {
                self.jump(&[0xE8], 0);
                self.out.push(0xC3);
            }
            5 => self.out.extend([0x90]),
            6 => self.out.extend([0x8B, 0x00 | r << 3 | self.r.below(4) as u8]),
            7 => self.out.extend([0x89, 0x00 | r << 3 | self.r.below(4) as u8]),
            8 => self.out.extend([self.r.pick(&[0xA4, 0xA5, 0xAA, 0xAB, 0xAC, 0xAE, 0xA6])]),
            _ => self.out.extend([0x01 | self.r.below(8) as u8 * 8, 0xC0 | r << 3 | (r ^ 1)]),
        }
    }

    /// MOV of a number to a register.
    fn set(&mut self, reg: u8, v: u32) {
        if self.bits == 16 {
            self.out.push(0x66);
        }
        self.out.push(0xB8 | reg & 7);
        self.out.extend(v.to_le_bytes());
    }

    /// A selector that may well be in the tables.
    fn selector(&mut self) -> u32 {
        (self.r.below(40) << 3 | self.r.below(8)) as u32
    }

    fn system(&mut self) {
        let modrm = self.r.next() as u8;
        match self.r.below(22) {
            0 => {
                let cr = self.r.pick(&[0u8, 0, 2, 3, 4, 4, 8]);
                self.out.extend([0x0F, 0x20, 0xC0 | cr << 3]);
                self.noise(3);
                // A bit or so changed, and written back.
                let bit = self.r.below(26) as u8;
                self.out.extend([0x0F, 0xBA, 0xF8, bit, 0x0F, 0x22, 0xC0 | cr << 3]);
            }
            1 => self.out.extend([0x0F, self.r.pick(&[0x20, 0x21, 0x22, 0x23]), modrm | 0xC0]),
            2 => self.out.extend([0x0F, 0x00, modrm]),
            3 => self.out.extend([0x0F, 0x01, modrm]),
            4 => self.out.extend([0x0F, 0x01, 0xC0 | modrm]),
            5 => self
                .out
                .extend([0x0F, self.r.pick(&[2, 3, 5, 6, 7, 8, 9, 0x0B, 0x34, 0x35, 0xAA, 0xA2])]),
            6 | 7 => {
                let msr = self.msr();
                self.set(1, msr);
                let op = self.r.pick(&[0x30, 0x32, 0x32, 0x33]);
                self.out.extend([0x0F, op]);
            }
            8 => self
                .out
                .extend([self.r.pick(&[0xCF, 0xCB, 0x48, 0x66]), self.r.pick(&[0xCF, 0xCB])]),
            9 => {
                let sel = self.selector();
                self.set(0, sel);
                let to = self.r.pick(&[0u8, 2, 3, 4, 5, 0, 3, 1, 6]);
                self.out.extend([0x8E, 0xC0 | to << 3]);
            }
            10 => {
                let sel = self.selector();
                let to = self.r.next() as u32 & 0x1FFFF;
                self.out.push(self.r.pick(&[0x9A, 0xEA]));
                self.out.extend(&to.to_le_bytes()[..if self.bits == 16 { 2 } else { 4 }]);
                self.out.extend(&sel.to_le_bytes()[..2]);
            }
            11 => self.out.extend([0xFF, self.r.pick(&[0x18, 0x28]) | modrm & 0xC7]),
            12 => self.out.extend([0xCD, if modrm & 1 == 0 { modrm >> 2 } else { modrm }]),
            13 => self.out.extend([self.r.pick(&[0xCC, 0xCE, 0xF1, 0x9C, 0x9D, 0x9B, 0xC9])]),
            14 => self.out.extend([self.r.pick(&[0xFA, 0xFB, 0xFB, 0xFB, 0xF4, 0x90, 0x17, 0x16])]),
            15 => {
                let port = self.port();
                self.set(2, port);
                if modrm & 3 == 0 {
                    self.out.push(0xF3);
                }
                self.out.push(self.r.pick(&[0xEC, 0xED, 0xEE, 0xEF, 0x6C, 0x6D, 0x6E, 0x6F]));
            }
            16 => self.out.extend([self.r.pick(&[0xE4, 0xE5, 0xE6, 0xE7]), modrm]),
            17 => self.out.extend([0x0F, 0xAE, modrm]),
            18 => self.out.extend([0x0F, 0xC7, modrm]),
            19 => self.out.extend([0x66, 0x0F, 0x38, 0x82, modrm & 0x3F]),
            20 => self.out.extend([
                self.r.pick(&[0x62, 0x63, 0xC8, 0xD4, 0xD5, 0x27, 0x37, 0xC4]),
                modrm,
                0,
            ]),
            _ => self.out.extend([
                0x0F,
                self.r.pick(&[0xB2, 0xB4, 0xB5, 0xA0, 0xA1, 0xA8, 0xA9]),
                modrm,
            ]),
        }
    }

    fn msr(&mut self) -> u32 {
        const FIRST: [u32; 22] = [
            0x10,
            0x1B,
            0x3A,
            0x48,
            0x8B,
            0xE7,
            0x174,
            0x179,
            0x1A0,
            0x1D9,
            0x200,
            0x250,
            0x268,
            0x277,
            0x2FF,
            0x400,
            0x6E0,
            0x802,
            0xDA0,
            0xC000_0080,
            0xC000_0100,
            0xC001_0015,
        ];
        match self.r.below(8) {
            0 => self.r.next() as u32,
            _ => self.r.pick(&FIRST) + self.r.below(8) as u32 * self.r.below(8) as u32,
        }
    }

    fn port(&mut self) -> u32 {
        const FIRST: [u32; 16] = [
            0x20, 0x40, 0x60, 0x70, 0x80, 0x92, 0xA0, 0xCF8, 0xCFC, 0x3F8, 0x402, 0x505, 0x510,
            0x514, 0x600, 0x2000,
        ];
        match self.r.below(8) {
            0 => self.r.next() as u32,
            _ => self.r.pick(&FIRST) + self.r.below(8) as u32,
        }
    }
}
