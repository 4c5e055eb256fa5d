//! A small seeded generator of numbers, and the "interesting" values that tests are made of.
//!
//! Recorded vectors store seeds instead of whole register files, so nothing in this file may
//! change its answers once vectors are recorded.

/// SplitMix64 (Steele, Lea, Flood 2014): one 64-bit state word, every seed good.
#[derive(Clone, Debug)]
pub struct Rng(pub u64);

impl Rng {
    /// A generator for the `index`-th part of the work that `seed` names.
    pub fn of(seed: u64, index: u64) -> Rng {
        let mut r = Rng(seed.wrapping_mul(0xD129_0F5B_3A11_9E45) ^ index);
        r.next();
        r
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in `0..n`; `n` is at least 1.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }

    /// True in `n` of 1000 calls.
    pub fn permille(&mut self, n: u64) -> bool {
        self.below(1000) < n
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

/// An integer of `bits` bits: edges, small numbers, single bits, runs of ones, or anything.
pub fn integer(r: &mut Rng, bits: u32) -> u64 {
    let mask = u64::MAX >> (64 - bits);
    let v = match r.below(16) {
        0 => 0,
        1 => 1,
        2 => u64::MAX,
        3 => 1 << (bits - 1),
        4 => (1 << (bits - 1)) - 1,
        5 => r.below(16),
        6 => r.below(16).wrapping_neg(),
        7 => 1 << r.below(u64::from(bits)),
        8 => u64::MAX << r.below(u64::from(bits)),
        9 => mask >> r.below(u64::from(bits)),
        10 => r.below(256),
        11 => (1u64 << (bits - 1)).wrapping_add(r.below(5)).wrapping_sub(2),
        _ => r.next(),
    };
    v & mask
}

/// An IEEE 754 number with `exp` exponent bits and `frac` fraction bits: zeros, denormals,
/// infinities, both kinds of NaN, ones, integers, near the edges, or any bits.
pub fn float(r: &mut Rng, exp: u32, frac: u32) -> u64 {
    let bits = 1 + exp + frac;
    let frac_mask = (1u64 << frac) - 1;
    let exp_max = (1u64 << exp) - 1;
    let bias = exp_max >> 1;
    let near = |r: &mut Rng, spread: u64| bias + r.below(2 * spread + 1) - spread;
    let (e, f) = match r.below(20) {
        0 => (0, 0),
        1 => (0, 1 + r.below(3)),
        2 => (0, r.next() & frac_mask),
        3 => (0, frac_mask),
        4 => (exp_max, 0),
        5 => (exp_max, (1 << (frac - 1)) | (r.next() & frac_mask)),
        6 => (exp_max, 1 + (r.next() & (frac_mask >> 2))),
        7 => (bias, 0),
        8 => (1, r.below(2)),
        9 => (exp_max - 1, frac_mask),
        10 => (near(r, 6), 0),
        11 => (near(r, 4), (r.next() & 7) << (frac - 3)),
        12..=14 => (near(r, (bias / 2).min(20)), r.next() & frac_mask),
        15 => (near(r, (bias / 2).min(70)), r.next() & frac_mask),
        16 => (near(r, 2), frac_mask),
        17 => (bias - 1, frac_mask),
        _ => (r.next() & exp_max, r.next() & frac_mask),
    };
    let sign = r.next() & 1;
    ((sign << (bits - 1)) | (e << frac) | f) & (u64::MAX >> (64 - bits))
}

/// An 80-bit x87 number in the low bits: the classes of SDM vol. 1, table 8-3, with the
/// unsupported encodings now and then.
pub fn extended(r: &mut Rng) -> u128 {
    let top = 1u64 << 63;
    let near = |r: &mut Rng, spread: u64| 16383 + r.below(2 * spread + 1) - spread;
    let (e, m) = match r.below(24) {
        0 => (0, 0),
        1 => (0, 1 + r.below(3)),
        2 => (0, r.next() >> 1),
        3 => (0, top | r.next()), // pseudo-denormal
        4 => (32767, top),
        5 => (32767, top | (3 << 61) | r.next()),
        6 => (32767, top | 1 | (r.next() >> 2)),
        7 => (16383, top),
        8 => (1, top),
        9 => (32766, u64::MAX),
        10 => (near(r, 6), top),
        11 => (near(r, 70), top | r.next()),
        12 => (near(r, 3), u64::MAX),
        13 => (r.next() & 32767, r.next() >> 1), // often an unsupported unnormal
        14 => (16383 + r.below(66), top | (r.next() & (u64::MAX << r.below(64)))),
        15 => (r.next() & 32767, top | r.next()),
        _ => (near(r, 20), top | r.next()),
    };
    (u128::from(r.next() & 1) << 79) | (u128::from(e) << 64) | u128::from(m)
}

/// 64 bits as lanes of one kind.
pub fn lanes(r: &mut Rng, kind: u64) -> u64 {
    match kind {
        0 => (0..8).fold(0, |v, i| v | (integer(r, 8) << (8 * i))),
        1 => (0..4).fold(0, |v, i| v | (integer(r, 16) << (16 * i))),
        2 => integer(r, 32) | (integer(r, 32) << 32),
        3 => integer(r, 64),
        4 => (0..4).fold(0, |v, i| v | (float(r, 5, 10) << (16 * i))),
        5 | 6 => float(r, 8, 23) | (float(r, 8, 23) << 32),
        7 | 8 => float(r, 11, 52),
        _ => r.next(),
    }
}
