//! F2XM1, FYL2X, FYL2XP1.  SDM vol. 1, 8.3.9; vol. 2A.

use super::super::wide::mul_high128;
use super::tables::{LN2, LOG2, LOG2_E, POW2};
use super::wide::{Wide, factorials, inexact, odd_parts, series};
use super::*;

/// 1/2!, 1/3!, ...
const EXP: [u128; 15] = factorials(2, 1);
/// 1/3, 1/5, ...
const ATANH: [u128; 9] = odd_parts();

/// F2XM1: 2^a - 1.  The manual defines it from -1 to 1; beyond, processors leave the operand.
pub fn exp2m1(a: F80, env: &mut Env) -> F80 {
    if let Some(nan) = nan1(a, env) {
        return nan;
    }
    match a.class() {
        Class::Infinity if a.sign() => return ONE.neg(),
        Class::Zero | Class::Infinity => return a,
        _ => {}
    }
    if denormal(a, a, env) {
        return a;
    }
    if a.exp() >= BIAS {
        let minus_one = a == ONE.neg();
        return inexact(if minus_one { F80::new(true, BIAS - 1, TOP) } else { a }, env);
    }
    let x = Finite::of(a);
    if x.exp < BIAS - 6 {
        return exp_minus_one(Wide::from(x)).round(env);
    }
    // 2^(i/32 + f) - 1 = (2^(i/32) - 1) + 2^(i/32) * (2^f - 1); i/32 is near x, and f exact in units of 2^-127.
    let size = ((x.sig as u128) << 63 >> (BIAS - 1 - x.exp)) as i128;
    let x = if x.sign { -size } else { size };
    let i = ((x >> 121) + 1) >> 1;
    let f = x.wrapping_sub(i << 122);
    let base = POW2[(i + 32) as usize];
    if f == 0 {
        return Wide::signed(base.wrapping_sub(1 << 126) as i128, 126).round(env);
    }
    let small = exp_minus_one(Wide::signed(f, 127));
    if i == 0 {
        return small.round(env);
    }
    let part = mul_high128(base, small.to_fixed(128)) as i128;
    let sum = base.wrapping_sub(1 << 126) as i128 + if small.sign { -part } else { part };
    Wide::signed(sum, 126).round(env)
}

/// 2^f - 1 for |f| up to 1/64.
fn exp_minus_one(f: Wide) -> Wide {
    let z = f.mul(Wide::fixed(false, LN2, 128));
    let terms = series(z.to_fixed(128), &EXP, !z.sign);
    if z.sign { z.less(terms) } else { z.more(terms) }
}

/// FYL2X: `y * log2(x)`, `y` being ST1 and `x` ST0.
pub fn ylog2(y: F80, x: F80, env: &mut Env) -> F80 {
    if let Some(nan) = nan2(x, y, env) {
        return nan;
    }
    let (cx, cy) = (x.class(), y.class());
    let one = x == ONE;
    let invalid_pair = match cx {
        Class::Zero => cy == Class::Zero,
        _ if x.sign() => true,
        Class::Infinity => cy == Class::Zero,
        _ => one && cy == Class::Infinity,
    };
    if invalid_pair {
        return invalid(env);
    }
    if cx == Class::Zero && cy != Class::Infinity {
        env.raise(flag::ZE);
        return if env.unmasked(flag::ZE) { x } else { F80::infinity(!y.sign()) };
    }
    if denormal(x, y, env) {
        return x;
    }
    let negative_log = cx != Class::Infinity && x.exp() < BIAS;
    let sign = y.sign() != negative_log;
    match (cy, cx) {
        (Class::Infinity, _) | (_, Class::Infinity | Class::Zero) => F80::infinity(sign),
        (Class::Zero, _) => F80::zero(sign),
        _ if one => F80::zero(sign),
        _ => {
            let x = Finite::of(x);
            let log = log2(x.exp - BIAS, (x.sig as u128) << 64);
            log.mul(Wide::from(Finite::of(y))).round_as(x.sig == TOP, env)
        }
    }
}

/// FYL2XP1: `y * log2(x + 1)`, `y` being ST1 and `x` ST0.
pub fn ylog2p1(y: F80, x: F80, env: &mut Env) -> F80 {
    if let Some(nan) = nan2(x, y, env) {
        return nan;
    }
    let (cx, cy) = (x.class(), y.class());
    let invalid_pair = match cx {
        Class::Zero => cy == Class::Infinity,
        Class::Infinity => x.sign() || cy == Class::Zero,
        _ => false,
    };
    if invalid_pair {
        return invalid(env);
    }
    if denormal(x, y, env) {
        return x;
    }
    let sign = y.sign() != x.sign();
    match (cy, cx) {
        (Class::Infinity, _) | (_, Class::Infinity) => return F80::infinity(sign),
        (Class::Zero, _) | (_, Class::Zero) => return F80::zero(sign),
        _ => {}
    }
    if x.sign() && x.exp() >= BIAS && cx == Class::Normal {
        // -1 or less, far outside of what the manual defines: processors leave the operand.
        return inexact(x, env);
    }
    let x = Finite::of(x);
    let y = Wide::from(Finite::of(y));
    if x.exp < BIAS - 7 {
        return near_one(x).mul(y).round(env);
    }
    let (sum, exp) = plus_one(x);
    let shift = sum.leading_zeros();
    let sum = sum << shift;
    log2(exp - shift as i32, sum).mul(y).round_as(sum == 1 << 127, env)
}

/// `1 + x` for |x| of 2^-7 or more, -1 excluded: significand and exponent, not normalized.
fn plus_one(x: Finite) -> (u128, i32) {
    let exp = x.exp - BIAS;
    let sig = (x.sig as u128) << 63;
    if exp <= 0 {
        // Units of 2^-126; both parts are exact.
        let part = sig >> -exp;
        return (if x.sign { (1 << 126) - part } else { (1 << 126) + part }, 1);
    }
    (sig + if exp < 127 { (1u128 << 126) >> exp } else { 1 }, exp + 1)
}

/// log2(1 + x) for |x| below 2^-7, as 2 atanh(x / (2 + x)) / ln 2.
fn near_one(x: Finite) -> Wide {
    let wide = Wide::from(x);
    let part = Wide { exp: wide.exp.max(-200), ..wide }.to_fixed(126);
    let two = 1u128 << 127;
    let sum = Wide::fixed(false, if x.sign { two - part.max(1) } else { two + part }, 126);
    atanh_scaled(wide.div(sum))
}

/// 2 atanh(s) / ln 2 for |s| up to 1/128.
fn atanh_scaled(s: Wide) -> Wide {
    let terms = series(s.mul(s).to_fixed(128), &ATANH, true);
    s.more(terms).mul(Wide { sign: false, exp: 1, sig: LOG2_E })
}

/// The binary logarithm of `sig / 2^127 * 2^exp`; of `sig` only the top 72 bits may be set.  Not zero.
fn log2(exp: i32, sig: u128) -> Wide {
    let part = (sig >> 120) as usize & 127;
    let (factor, log) = LOG2[part];
    // The number, halved in the upper half, times the factor, minus and plus one; in units of 2^-(111 + 8).
    let halved = (part >= 64) as i32;
    let near = (sig >> 16) as i128 * factor as i128 >> halved;
    let one = 1i128 << (111 + 8);
    let exp = exp + halved;
    if near == one {
        return Wide::signed(((exp as i128) << 112) + log, 112);
    }
    let s = Wide::signed(near - one, 0).div(Wide::signed(near + one, 0));
    let rest = atanh_scaled(s);
    if exp == 0 && log == 0 {
        return rest;
    }
    let rest_fixed = rest.to_fixed(112) as i128;
    Wide::signed(
        ((exp as i128) << 112) + log + if rest.sign { -rest_fixed } else { rest_fixed },
        112,
    )
}
