//! FADD, FSUB, FMUL, FDIV, FSQRT.  SDM vol. 2A, tables 3-18 and following.

use super::super::wide::{div128, mul64, shr_jam64, sqrt128};
use super::pack::round_pack;
use super::*;

/// `a + b`.
#[inline]
pub fn add(a: F80, b: F80, env: &mut Env) -> F80 {
    if a.is_normal() && b.is_normal() {
        return finite_sum(normal(a), normal(b), env);
    }
    rare_sum(a, b, false, env)
}

/// `a - b`.
#[inline]
pub fn sub(a: F80, b: F80, env: &mut Env) -> F80 {
    if a.is_normal() && b.is_normal() {
        return finite_sum(normal(a), normal(b.neg()), env);
    }
    rare_sum(a, b, true, env)
}

#[inline(always)]
fn normal(x: F80) -> Finite {
    Finite { sign: x.sign(), exp: x.exp(), sig: x.sig }
}

#[inline(always)]
fn finite_sum(x: Finite, y: Finite, env: &mut Env) -> F80 {
    let (x, y) = if (x.exp, x.sig) >= (y.exp, y.sig) { (x, y) } else { (y, x) };
    let d = (x.exp - y.exp) as u32;
    // The smaller one moved to the exponent of the larger: 64 bits and 64 more, the last jammed.
    let (hi, lo) = if d == 0 {
        (y.sig, 0)
    } else if d < 64 {
        (y.sig >> d, y.sig << (64 - d))
    } else {
        (0, shr_jam64(y.sig, d - 64))
    };
    if x.sign == y.sign {
        let (sum, carry) = x.sig.overflowing_add(hi);
        if carry {
            let lo = lo >> 1 | lo & 1 | sum << 63;
            return round_pack(x.sign, x.exp + 1, sum >> 1 | TOP, lo, env);
        }
        return round_pack(x.sign, x.exp, sum, lo, env);
    }
    let left = (((x.sig as u128) << 64) - ((hi as u128) << 64)).wrapping_sub(lo as u128);
    if left == 0 {
        return F80::zero(env.rc == Round::Down);
    }
    // More than one place is lost only if `d` is below two, and then nothing was jammed.
    let shift = left.leading_zeros();
    let left = left << shift;
    round_pack(x.sign, x.exp - shift as i32, (left >> 64) as u64, left as u64, env)
}

#[cold]
fn rare_sum(a: F80, b: F80, negate: bool, env: &mut Env) -> F80 {
    if let Some(nan) = nan2(a, b, env) {
        return nan;
    }
    let b = if negate { b.neg() } else { b };
    let (ca, cb) = (a.class(), b.class());
    if ca == Class::Infinity && cb == Class::Infinity && a.sign() != b.sign() {
        return invalid(env);
    }
    if denormal(a, b, env) {
        return a;
    }
    match (ca, cb) {
        (Class::Infinity, _) => a,
        (_, Class::Infinity) => b,
        (Class::Zero, Class::Zero) if a.sign() == b.sign() => a,
        (Class::Zero, Class::Zero) => F80::zero(env.rc == Round::Down),
        (Class::Zero, _) => repack(b, env),
        (_, Class::Zero) => repack(a, env),
        _ => finite_sum(Finite::of(a), Finite::of(b), env),
    }
}

/// A finite number as a result: precision control and the underflow rules apply.
fn repack(x: F80, env: &mut Env) -> F80 {
    let x = Finite::of(x);
    round_pack(x.sign, x.exp, x.sig, 0, env)
}

/// `a * b`.
#[inline]
pub fn mul(a: F80, b: F80, env: &mut Env) -> F80 {
    if a.is_normal() && b.is_normal() {
        return finite_product(normal(a), normal(b), env);
    }
    rare_product(a, b, env)
}

#[inline(always)]
fn finite_product(x: Finite, y: Finite, env: &mut Env) -> F80 {
    let p = mul64(x.sig, y.sig);
    let over = (p >> 127) as i32;
    let p = p << (1 - over);
    let exp = x.exp + y.exp - BIAS + over;
    round_pack(x.sign != y.sign, exp, (p >> 64) as u64, p as u64, env)
}

#[cold]
fn rare_product(a: F80, b: F80, env: &mut Env) -> F80 {
    if let Some(nan) = nan2(a, b, env) {
        return nan;
    }
    let sign = a.sign() != b.sign();
    let (ca, cb) = (a.class(), b.class());
    if matches!((ca, cb), (Class::Zero, Class::Infinity) | (Class::Infinity, Class::Zero)) {
        return invalid(env);
    }
    if denormal(a, b, env) {
        return a;
    }
    match (ca, cb) {
        (Class::Infinity, _) | (_, Class::Infinity) => F80::infinity(sign),
        (Class::Zero, _) | (_, Class::Zero) => F80::zero(sign),
        _ => finite_product(Finite::of(a), Finite::of(b), env),
    }
}

/// `a / b`.
#[inline]
pub fn div(a: F80, b: F80, env: &mut Env) -> F80 {
    if a.is_normal() && b.is_normal() {
        return finite_quotient(normal(a), normal(b), env);
    }
    rare_quotient(a, b, env)
}

#[inline]
fn finite_quotient(x: Finite, y: Finite, env: &mut Env) -> F80 {
    let over = x.sig >= y.sig;
    let (high, low) = if over { (x.sig >> 1, x.sig << 63) } else { (x.sig, 0) };
    let (q, rest) = div128(high, low, y.sig);
    // The rest as a fraction of the divisor; it is never just a half.
    let lo = if rest == 0 {
        0
    } else if rest < y.sig - rest {
        1
    } else {
        TOP | 1
    };
    round_pack(x.sign != y.sign, x.exp - y.exp + BIAS - !over as i32, q, lo, env)
}

#[cold]
fn rare_quotient(a: F80, b: F80, env: &mut Env) -> F80 {
    if let Some(nan) = nan2(a, b, env) {
        return nan;
    }
    let sign = a.sign() != b.sign();
    let (ca, cb) = (a.class(), b.class());
    if ca == cb && matches!(ca, Class::Zero | Class::Infinity) {
        return invalid(env);
    }
    if cb == Class::Zero && ca != Class::Infinity {
        env.raise(flag::ZE);
        return if env.unmasked(flag::ZE) { a } else { F80::infinity(sign) };
    }
    if denormal(a, b, env) {
        return a;
    }
    match (ca, cb) {
        (Class::Infinity, _) => F80::infinity(sign),
        (_, Class::Infinity) | (Class::Zero, _) => F80::zero(sign),
        _ => finite_quotient(Finite::of(a), Finite::of(b), env),
    }
}

/// FSQRT.
pub fn sqrt(a: F80, env: &mut Env) -> F80 {
    if let Some(nan) = nan1(a, env) {
        return nan;
    }
    match a.class() {
        Class::Zero => return a,
        _ if a.sign() => return invalid(env),
        Class::Infinity => return a,
        _ => {}
    }
    if denormal(a, a, env) {
        return a;
    }
    let x = Finite::of(a);
    let exp = x.exp - BIAS;
    let odd = exp & 1;
    let (root, rest) = sqrt128((x.sig as u128) << (63 + odd));
    // The root's own fraction: above a half exactly if the rest is above the root, and never just a half.
    let lo = if rest == 0 {
        0
    } else if rest <= root as u128 {
        1
    } else {
        TOP | 1
    };
    round_pack(false, (exp - odd) / 2 + BIAS, root, lo, env)
}

/// An operation with a binary32 memory operand: `with_f32(st0, m, env, f80::add)`; for FSUBR and FDIVR let the closure
/// exchange its arguments.  A denormal in memory is a denormal operand although it is a normal number here.
#[inline]
pub fn with_f32(a: F80, m: u32, env: &mut Env, op: impl Fn(F80, F80, &mut Env) -> F80) -> F80 {
    let denormal = (m & 0x7fff_ffff).wrapping_sub(1) < 0x7f_ffff;
    with_memory(a, convert::widen_f32(m), denormal, env, op)
}

/// [`with_f32`] for binary64.
#[inline]
pub fn with_f64(a: F80, m: u64, env: &mut Env, op: impl Fn(F80, F80, &mut Env) -> F80) -> F80 {
    let denormal = (m & !TOP).wrapping_sub(1) < 0xf_ffff_ffff_ffff;
    with_memory(a, convert::widen_f64(m), denormal, env, op)
}

#[inline(always)]
fn with_memory(
    a: F80,
    m: F80,
    denormal: bool,
    env: &mut Env,
    op: impl Fn(F80, F80, &mut Env) -> F80,
) -> F80 {
    if denormal && a.class() != Class::Nan && a.class() != Class::Unsupported {
        let before = env.flags;
        let r = op(a, m, env);
        if env.flags & !before & (flag::IE | flag::ZE) != 0 {
            return r;
        }
        env.raise(flag::DE);
        if env.unmasked(flag::DE) {
            env.flags = before | flag::DE;
            env.c1 = false;
        }
        return r;
    }
    op(a, m, env)
}
