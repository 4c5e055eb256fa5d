//! Sum, product, quotient, square root.  SDM vol. 2, ADDPS to SQRTSD; vol. 1, 11.5.2.

use super::super::wide::{div128, mul64, shr_jam64, sqrt128};
use super::*;

/// `a + b`.
#[inline]
pub fn add<F: Format>(a: F::Bits, b: F::Bits, env: &mut Env) -> F::Bits {
    F::narrow(sum::<F>(F::wide(a), F::wide(b), false, env))
}

/// `a - b`.
#[inline]
pub fn sub<F: Format>(a: F::Bits, b: F::Bits, env: &mut Env) -> F::Bits {
    F::narrow(sum::<F>(F::wide(a), F::wide(b), true, env))
}

fn sum<F: Format>(a: u64, b: u64, negate: bool, env: &mut Env) -> u64 {
    let (x, mut y) = (unpack::<F>(a, env.daz), unpack::<F>(b, env.daz));
    if x.kind == Kind::Nan || y.kind == Kind::Nan {
        return nan2::<F>(a, b, env);
    }
    y.sign ^= negate;
    if x.denormal || y.denormal {
        env.raise(flag::DE);
    }
    match (x.kind, y.kind) {
        (Kind::Infinity, Kind::Infinity) if x.sign != y.sign => invalid::<F>(env),
        (Kind::Infinity, _) => signed::<F>(x.sign, F::INFINITY),
        (_, Kind::Infinity) => signed::<F>(y.sign, F::INFINITY),
        (Kind::Zero, Kind::Zero) => {
            let sign = if x.sign == y.sign { x.sign } else { env.rc == Round::Down };
            signed::<F>(sign, 0)
        }
        (Kind::Zero, _) => round_pack::<F>(y.sign, y.exp, y.sig, env),
        (_, Kind::Zero) => round_pack::<F>(x.sign, x.exp, x.sig, env),
        _ => finite_sum::<F>(x, y, env),
    }
}

/// At least ten bits of a significand are clear at the low end, so one bit of room for the carry costs nothing.
#[inline]
fn finite_sum<F: Format>(x: Num, y: Num, env: &mut Env) -> u64 {
    let (big, small) = if x.exp >= y.exp { (x, y) } else { (y, x) };
    let hi = big.sig >> 1;
    let lo = shr_jam64(small.sig >> 1, (big.exp - small.exp) as u32);
    let (sign, sig) = if big.sign == small.sign {
        (big.sign, hi + lo)
    } else if hi >= lo {
        (big.sign, hi - lo)
    } else {
        (small.sign, lo - hi)
    };
    if sig == 0 {
        return signed::<F>(env.rc == Round::Down, 0);
    }
    let shift = sig.leading_zeros();
    round_pack::<F>(sign, big.exp + 1 - shift as i32, sig << shift, env)
}

/// `a * b`.
#[inline]
pub fn mul<F: Format>(a: F::Bits, b: F::Bits, env: &mut Env) -> F::Bits {
    F::narrow(product::<F>(F::wide(a), F::wide(b), env))
}

fn product<F: Format>(a: u64, b: u64, env: &mut Env) -> u64 {
    let (x, y) = (unpack::<F>(a, env.daz), unpack::<F>(b, env.daz));
    if x.kind == Kind::Nan || y.kind == Kind::Nan {
        return nan2::<F>(a, b, env);
    }
    let sign = x.sign != y.sign;
    match (x.kind, y.kind) {
        (Kind::Infinity, Kind::Zero) | (Kind::Zero, Kind::Infinity) => return invalid::<F>(env),
        _ if x.denormal || y.denormal => env.raise(flag::DE),
        _ => {}
    }
    match (x.kind, y.kind) {
        (Kind::Infinity, _) | (_, Kind::Infinity) => signed::<F>(sign, F::INFINITY),
        (Kind::Zero, _) | (_, Kind::Zero) => signed::<F>(sign, 0),
        _ => {
            let p = mul64(x.sig, y.sig);
            let shift = p.leading_zeros();
            let p = p << shift;
            let sig = (p >> 64) as u64 | (p as u64 != 0) as u64;
            round_pack::<F>(sign, x.exp + y.exp + 1 - shift as i32, sig, env)
        }
    }
}

/// `a / b`.
#[inline]
pub fn div<F: Format>(a: F::Bits, b: F::Bits, env: &mut Env) -> F::Bits {
    F::narrow(quotient::<F>(F::wide(a), F::wide(b), env))
}

fn quotient<F: Format>(a: u64, b: u64, env: &mut Env) -> u64 {
    let (x, y) = (unpack::<F>(a, env.daz), unpack::<F>(b, env.daz));
    if x.kind == Kind::Nan || y.kind == Kind::Nan {
        return nan2::<F>(a, b, env);
    }
    let sign = x.sign != y.sign;
    match (x.kind, y.kind) {
        (Kind::Infinity, Kind::Infinity) | (Kind::Zero, Kind::Zero) => return invalid::<F>(env),
        (Kind::Finite, Kind::Zero) => {
            env.raise(flag::ZE);
            return signed::<F>(sign, F::INFINITY);
        }
        _ if x.denormal || y.denormal => env.raise(flag::DE),
        _ => {}
    }
    match (x.kind, y.kind) {
        (Kind::Infinity, _) => signed::<F>(sign, F::INFINITY),
        (_, Kind::Infinity) | (Kind::Zero, _) => signed::<F>(sign, 0),
        _ => {
            // Halve the dividend where it is not below the divisor, so that the quotient has 64 bits.
            let over = x.sig >= y.sig;
            let (high, low) = if over { (x.sig >> 1, x.sig << 63) } else { (x.sig, 0) };
            let (q, rest) = div128(high, low, y.sig);
            round_pack::<F>(sign, x.exp - y.exp - !over as i32, q | (rest != 0) as u64, env)
        }
    }
}

/// The square root of `a`.
pub fn sqrt<F: Format>(a: F::Bits, env: &mut Env) -> F::Bits {
    let a = F::wide(a);
    let x = unpack::<F>(a, env.daz);
    F::narrow(match x.kind {
        Kind::Nan => nan2::<F>(a, a, env),
        Kind::Zero => signed::<F>(x.sign, 0),
        _ if x.sign => invalid::<F>(env),
        Kind::Infinity => F::INFINITY,
        Kind::Finite => {
            if x.denormal {
                env.raise(flag::DE);
            }
            // The exponent must be even: sig / 2^63 = n / 2^126 or, doubled, n / 2^127.
            let odd = (x.exp & 1) as u32;
            let (root, rest) = sqrt128((x.sig as u128) << (63 + odd));
            round_pack::<F>(false, (x.exp - odd as i32) / 2, root | (rest != 0) as u64, env)
        }
    })
}
