//! FPREM, FPREM1, FRNDINT, FSCALE, FXTRACT.  SDM vol. 2A.

use super::super::wide::div128;
use super::pack::round_pack_full;
use super::*;

/// The outcome of FPREM or FPREM1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Remainder {
    /// The remainder, or the partial one.
    pub value: F80,
    /// The low three bits of the quotient: bit 2 goes to C0, bit 1 to C3, bit 0 to C1.  Zero if incomplete.
    pub quotient: u8,
    /// C2: the exponents were 64 or more apart and the instruction must run again.
    pub incomplete: bool,
}

/// FPREM (quotient cut off) or, `nearest`, FPREM1 (quotient to nearest even).
pub fn rem(a: F80, b: F80, nearest: bool, env: &mut Env) -> Remainder {
    let done = |value, quotient| Remainder { value, quotient, incomplete: false };
    if let Some(nan) = nan2(a, b, env) {
        return done(nan, 0);
    }
    if a.class() == Class::Infinity || b.class() == Class::Zero {
        return done(invalid(env), 0);
    }
    if denormal(a, b, env) || a.class() == Class::Zero {
        return done(a, 0);
    }
    let x = Finite::of(a);
    if b.class() == Class::Infinity {
        // The same number, which may be too small where underflow is not masked (seen on AMD's processors).
        return done(round_pack_full(x.sign, x.exp, x.sig, 0, env), 0);
    }
    let y = Finite::of(b);
    let d = x.exp - y.exp;
    if d >= 64 {
        // Take away so many quotient bits that the rest of the distance is a multiple of 32.
        let n = (d & 31) | 32;
        let (_, rest) = quotient(x.sig, y.sig, n as u32);
        return Remainder {
            value: exact(x.sign, y.exp + d - n, rest, env),
            quotient: 0,
            incomplete: true,
        };
    }
    if d < -1 || (d < 0 && !nearest) {
        return done(round_pack_full(x.sign, x.exp, x.sig, 0, env), 0);
    }
    let (mut q, mut rest, mut sign) = if d >= 0 {
        let (q, rest) = quotient(x.sig, y.sig, d as u32);
        (q, rest as u128, x.sign)
    } else {
        (0, x.sig as u128, x.sign)
    };
    // In units of the divisor's last place, or half of that if the dividend's exponent is one below.
    let (unit, divisor) = if d >= 0 { (0, y.sig as u128) } else { (1, (y.sig as u128) << 1) };
    if nearest && (rest * 2 > divisor || (rest * 2 == divisor && q & 1 != 0)) {
        (q, rest, sign) = (q.wrapping_add(1), divisor - rest, !sign);
    }
    if rest == 0 {
        return done(F80::zero(x.sign), (q & 7) as u8);
    }
    done(exact(sign, y.exp - unit, rest as u64, env), (q & 7) as u8)
}

/// `(x << n) / y`: the low 64 bits of the quotient and the remainder; `n` is below 64, `x` and `y` are normalized.
fn quotient(x: u64, y: u64, n: u32) -> (u64, u64) {
    if n == 0 {
        return if x >= y { (1, x - y) } else { (0, x) };
    }
    div128(x >> (64 - n), x << n, y)
}

/// `rest` units of the last place at exponent `exp`, as a register.
fn exact(sign: bool, exp: i32, rest: u64, env: &mut Env) -> F80 {
    if rest == 0 {
        return F80::zero(sign);
    }
    let shift = rest.leading_zeros();
    round_pack_full(sign, exp - shift as i32, rest << shift, 0, env)
}

/// FRNDINT.
pub fn round_to_int(a: F80, env: &mut Env) -> F80 {
    if let Some(nan) = nan1(a, env) {
        return nan;
    }
    if matches!(a.class(), Class::Zero | Class::Infinity) || denormal(a, a, env) {
        return a;
    }
    let x = Finite::of(a);
    let Some((size, up, inexact)) = convert::integral(x, env.rc) else {
        return a;
    };
    if inexact {
        env.raise(flag::PE);
        env.c1 = up;
    }
    if size == 0 {
        return F80::zero(x.sign);
    }
    let shift = size.leading_zeros();
    F80::new(x.sign, BIAS + 63 - shift as i32, size << shift)
}

/// FSCALE: `a * 2^trunc(b)`.
pub fn scale(a: F80, b: F80, env: &mut Env) -> F80 {
    if let Some(nan) = nan2(a, b, env) {
        return nan;
    }
    let (ca, cb) = (a.class(), b.class());
    if cb == Class::Infinity && (ca == if b.sign() { Class::Infinity } else { Class::Zero }) {
        return invalid(env);
    }
    if denormal(a, b, env) {
        return a;
    }
    match (ca, cb) {
        (Class::Zero | Class::Infinity, _) => return a,
        (_, Class::Infinity) if b.sign() => return F80::zero(a.sign()),
        (_, Class::Infinity) => return F80::infinity(a.sign()),
        _ => {}
    }
    let x = Finite::of(a);
    // Beyond this every result is as far out of range, wrapped or not.
    const FAR: u64 = 0x2_0000;
    let by = match cb {
        // The same number, which may be too small where underflow is not masked (seen on AMD's processors).
        Class::Zero => 0,
        _ => match convert::integral(Finite::of(b), Round::Zero) {
            Some((size, ..)) => size.min(FAR) as i32,
            None => FAR as i32,
        },
    };
    let exp = x.exp + if b.sign() { -by } else { by };
    round_pack_full(x.sign, exp, x.sig, 0, env)
}

/// FXTRACT: (exponent, significand), the second to be pushed.
pub fn extract(a: F80, env: &mut Env) -> (F80, F80) {
    if let Some(nan) = nan1(a, env) {
        return (nan, nan);
    }
    match a.class() {
        Class::Zero => {
            env.raise(flag::ZE);
            return (INFINITY.neg(), a);
        }
        Class::Infinity => return (INFINITY, a),
        _ => {}
    }
    denormal(a, a, env);
    let x = Finite::of(a);
    (from_i32(x.exp - BIAS), F80::new(x.sign, BIAS, x.sig))
}
