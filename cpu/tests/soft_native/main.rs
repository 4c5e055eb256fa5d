//! The soft floating point against the processor that runs the test: bits, flags and C1 must agree.
//!
//! Only on x86-64; elsewhere the fixed vectors beside the code stand alone.
#![cfg(target_arch = "x86_64")]
#![allow(unsafe_code)]

mod sse;
mod transcendental;
mod x87;

/// Whether the host is of Intel's make, whose answers are ours where makers differ.
pub fn intel() -> bool {
    core::arch::x86_64::__cpuid(0).ecx == u32::from_le_bytes(*b"ntel")
}

/// A small generator (splitmix64): the same operands in every run.
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        ((self.next() as u128 * n as u128) >> 64) as u64
    }

    /// `bits` bits, often with long runs, single bits or all ones: where rounding goes wrong.
    pub fn pattern(&mut self, bits: u32) -> u64 {
        let all = u64::MAX >> (64 - bits);
        let x = match self.below(8) {
            0 => 0,
            1 => all,
            2 => 1 << self.below(bits as u64),
            3 => all - (1 << self.below(bits as u64)),
            4 => all << self.below(bits as u64),
            5 => self.next() << self.below(bits as u64),
            _ => self.next(),
        };
        x & all
    }

    /// An operand of a format with `f` fraction and `e` exponent bits.
    pub fn float(&mut self, f: u32, e: u32) -> u64 {
        let max = (1u64 << e) - 1;
        let bias = max / 2;
        let field = match self.below(8) {
            0 => self.below(2),
            1 => max - self.below(2),
            2 => self.below(f as u64 + 3),
            3 | 4 => (bias + self.below(2 * f as u64 + 4)).saturating_sub(f as u64 + 2) & max,
            5 => bias,
            6 => (bias / 2 + self.below(4)).min(max),
            _ => self.below(max + 1),
        };
        (self.next() & 1) << (e + f) | field << f | self.pattern(f)
    }

    /// An operand often close to `x`, to make operands cancel.
    pub fn near(&mut self, x: u64, f: u32, e: u32) -> u64 {
        let y = x ^ (self.next() & 1) << (e + f);
        match self.below(4) {
            0 => y ^ self.below(4),
            1 => y ^ (self.below(4) << f) ^ self.pattern(f),
            _ => self.float(f, e),
        }
    }
}
