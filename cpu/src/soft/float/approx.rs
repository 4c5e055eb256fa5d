//! RCPPS and RSQRTPS: 12-bit approximations.  SDM vol. 2, RCPPS, RSQRTPS: relative error at most 1.5 * 2^-12.
//!
//! The manual leaves the bits open.  Here the top bits of the significand choose an interval, and the answer is the
//! function at its middle, rounded to 13 bits; that is also what Intel's processors (measured: Ice Lake) answer for
//! every operand.  No flag is ever raised, denormals count as zeros and tiny results become zero.

use super::{F32, Kind, Layout, is_nan, signed, unpack};

/// The common part: answers for zeros, infinities and NaNs.
fn special(a: u32) -> Option<u32> {
    let a = a as u64;
    let x = unpack::<F32>(a, true);
    match x.kind {
        Kind::Zero => Some(signed::<F32>(x.sign, F32::INFINITY) as u32),
        Kind::Infinity => Some(signed::<F32>(x.sign, 0) as u32),
        Kind::Nan => Some((a | F32::QUIET) as u32),
        Kind::Finite => None,
    }
}

/// RCPPS, one lane: about `1 / a`.
pub fn rcp(a: u32) -> u32 {
    if let Some(r) = special(a) {
        return r;
    }
    let sign = a & 0x8000_0000;
    let exp = 253 - (a >> 23 & 0xff) as i32;
    if exp <= 0 {
        return sign;
    }
    // The middle of the interval is (2048 + i + 1/2) / 2048.
    let middle = 4097 + 2 * (a >> 12 & 0x7ff);
    let r = ((1u32 << 26) / middle + 1) >> 1;
    sign | (exp as u32) << 23 | (r & 0xfff) << 11
}

/// RSQRTPS, one lane: about `1 / sqrt(a)`; negative numbers give the indefinite.
pub fn rsqrt(a: u32) -> u32 {
    let negative = a > 0x8000_0000 && !is_nan::<F32>(a as u64);
    if negative && a >> 23 != 0x100 {
        return F32::INDEFINITE as u32;
    }
    if let Some(r) = special(a) {
        return r;
    }
    let exp = (a >> 23) as i32 - 127;
    let odd = exp & 1;
    // The middle of the interval is (1024 + i + 1/2) / 1024, doubled if the exponent is odd.
    let middle = (2049 + 2 * (a >> 13 & 0x3ff) as u64) << odd;
    // 4 * (2^13)^2 / middle, so that the root has one bit more for rounding.
    let r = ((1u64 << 39) / middle).isqrt().div_ceil(2) as u32;
    (126 - (exp - odd) / 2) as u32 * (1 << 23) | (r & 0xfff) << 11
}
