//! Numbers with 128 bits of significand, in which the transcendental functions are computed.

use super::super::wide::{div_fraction128, mul_high128};
use super::pack::round_pack_full;
use super::*;

/// `sig / 2^127 * 2^exp`, the top bit of `sig` set.  Operations cut off: errors are a few units of 2^-127.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wide {
    pub sign: bool,
    pub exp: i32,
    pub sig: u128,
}

impl Wide {
    /// `fraction / 2^scale`, not zero.
    pub fn fixed(sign: bool, fraction: u128, scale: i32) -> Wide {
        let shift = fraction.leading_zeros();
        Wide { sign, exp: 127 - scale - shift as i32, sig: fraction << shift }
    }

    /// The same for a number with a sign.
    pub fn signed(value: i128, scale: i32) -> Wide {
        Wide::fixed(value < 0, value.unsigned_abs(), scale)
    }

    pub fn from(x: Finite) -> Wide {
        Wide { sign: x.sign, exp: x.exp - BIAS, sig: (x.sig as u128) << 64 }
    }

    pub fn mul(self, y: Wide) -> Wide {
        let p = mul_high128(self.sig, y.sig);
        let over = (p >> 127) as i32;
        let sign = self.sign != y.sign;
        Wide { sign, exp: self.exp + y.exp + over, sig: p << (1 - over) }
    }

    pub fn div(self, y: Wide) -> Wide {
        self.div_exact(y).0
    }

    /// The quotient and whether it is exact.
    pub fn div_exact(self, y: Wide) -> (Wide, bool) {
        let over = self.sig >= y.sig;
        // Half of the dividend may lose its last bit: an error of the last place again.
        let num = if over { self.sig >> 1 } else { self.sig };
        let (q, rest) = div_fraction128(num, y.sig);
        let exp = self.exp - y.exp - !over as i32;
        // Where the dividend was below the divisor, the top bit of the quotient is set; see that it is.
        let q = Wide { sign: self.sign != y.sign, exp, sig: q | 1 << 127 };
        (q, !rest && (!over || self.sig & 1 == 0))
    }

    /// `self * (1 - x / 2^128)`, and a last place less, so that the result is never too large for its true value.
    pub fn less(self, x: u128) -> Wide {
        let sig = self.sig - mul_high128(self.sig, x) - 1;
        Wide::fixed(self.sign, sig, 127 - self.exp)
    }

    /// `self * (1 + x / 2^128)`.
    pub fn more(self, x: u128) -> Wide {
        let (sum, carry) = self.sig.overflowing_add(mul_high128(self.sig, x));
        match carry {
            true => Wide { exp: self.exp + 1, sig: sum >> 1 | 1 << 127, ..self },
            false => Wide { sig: sum, ..self },
        }
    }

    /// The magnitude in units of 2^-scale, cut off; it must fit.
    pub fn to_fixed(self, scale: i32) -> u128 {
        let shift = 127 - scale - self.exp;
        if shift >= 128 { 0 } else { self.sig >> shift }
    }

    /// Rounds to a register, all 64 bits.
    pub fn round(self, env: &mut Env) -> F80 {
        let lo = self.sig as u64 | 1;
        round_pack_full(self.sign, self.exp + BIAS, (self.sig >> 64) as u64, lo, env)
    }

    /// The same where the value is `exact`, as far as the processor computes it.
    pub fn round_as(self, exact: bool, env: &mut Env) -> F80 {
        if !exact {
            return self.round(env);
        }
        let (hi, lo) = ((self.sig >> 64) as u64, self.sig as u64);
        let r = round_pack_full(self.sign, self.exp + BIAS, hi, lo, env);
        inexact(r, env)
    }
}

/// Processors call every result of a transcendental function inexact (seen on Intel's), except at zeros and infinities.
pub(super) fn inexact(r: F80, env: &mut Env) -> F80 {
    env.raise(if r.exp() == 0 { flag::PE | flag::UE } else { flag::PE });
    r
}

/// `x * (c[0] - x * (c[1] - x * (...)))`, or with plus signs if `plus`; all fractions of 2^128.
#[inline]
pub(super) fn series(x: u128, c: &[u128], plus: bool) -> u128 {
    let sum = c.iter().rev().fold(0u128, |acc, &c| {
        let step = mul_high128(x, acc);
        if plus { c.wrapping_add(step) } else { c.wrapping_sub(step) }
    });
    mul_high128(x, sum)
}

/// `1 / n!` for `n = first, first + step, ...` as fractions of 2^128; `first` is 2 or more.
pub(super) const fn factorials<const N: usize>(first: u32, step: u32) -> [u128; N] {
    let mut c = [0; N];
    let (mut n, mut value, mut i) = (2, 1u128 << 127, 0);
    while i < N {
        while n < first + i as u32 * step {
            n += 1;
            value /= n as u128;
        }
        c[i] = value;
        i += 1;
    }
    c
}

/// `1 / 3, 1 / 5, 1 / 7, ...` as fractions of 2^128.
pub(super) const fn odd_parts<const N: usize>() -> [u128; N] {
    let mut c = [0; N];
    let mut i = 0;
    while i < N {
        c[i] = u128::MAX / (2 * i as u128 + 3);
        i += 1;
    }
    c
}
