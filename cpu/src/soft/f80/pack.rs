//! Rounding to the register format.  SDM vol. 1, 4.8.4, 8.5.4 to 8.5.6.

use super::*;

/// Rounds `(hi + lo / 2^64) / 2^63 * 2^(exp - BIAS)` as precision and rounding control say.  The top bit of `hi` is set;
/// `lo` may be jammed.
#[inline(always)]
pub(super) fn round_pack(sign: bool, exp: i32, hi: u64, lo: u64, env: &mut Env) -> F80 {
    if env.pc != Precision::Extended || (exp - 1) as u32 >= EXP_MAX as u32 - 1 {
        return round_pack_to(env.pc as u32, sign, exp, hi, lo, env);
    }
    let (mut exp, mut hi) = (exp, hi);
    if lo != 0 {
        env.flags |= flag::PE;
        if env.rc.goes_up(sign, hi & 1 != 0, lo) {
            env.c1 = true;
            let (sum, carry) = hi.overflowing_add(1);
            (hi, exp) = (sum | (carry as u64) << 63, exp + carry as i32);
            if exp == EXP_MAX {
                return overflow(64, sign, exp, hi, true, env);
            }
        }
    }
    F80::new(sign, exp, hi)
}

/// [`round_pack`] to 64 bits whatever precision control says.
pub(super) fn round_pack_full(sign: bool, exp: i32, hi: u64, lo: u64, env: &mut Env) -> F80 {
    round_pack_to(64, sign, exp, hi, lo, env)
}

/// `hi` and `lo` cut to `p` bits: the kept part, whether it must go up, whether anything was lost.
fn cut(p: u32, sign: bool, hi: u64, lo: u64, rc: Round) -> (u64, bool, bool) {
    if p == 64 {
        return (hi, rc.goes_up(sign, hi & 1 != 0, lo), lo != 0);
    }
    let rest = hi << p | (lo != 0) as u64;
    (hi >> (64 - p) << (64 - p), rc.goes_up(sign, hi >> (64 - p) & 1 != 0, rest), rest != 0)
}

/// The general case, to `p` bits.
#[cold]
fn round_pack_to(p: u32, sign: bool, exp: i32, hi: u64, lo: u64, env: &mut Env) -> F80 {
    let (kept, up, inexact) = cut(p, sign, hi, lo, env.rc);
    let (sum, carry) = kept.overflowing_add((up as u64) << (64 - p));
    let (rounded, rounded_exp) = (sum | (carry as u64) << 63, exp + carry as i32);
    if rounded_exp <= 0 && !env.unmasked(flag::UE) {
        return tiny(p, sign, exp, hi, lo, env);
    }
    if inexact {
        env.raise(flag::PE);
        env.c1 = up;
    }
    if rounded_exp >= EXP_MAX {
        return overflow(p, sign, rounded_exp, rounded, inexact, env);
    }
    if rounded_exp > 0 && exp > 0 {
        return F80::new(sign, rounded_exp, rounded);
    }
    if rounded_exp > 0 {
        // Not tiny after rounding, but below the range before: the bits come from rounding at the fixed place.
        return tiny(p, sign, exp, hi, lo, env);
    }
    env.raise(flag::UE);
    match rounded_exp + WRAP {
        e @ 1.. => F80::new(sign, e, rounded),
        // Massive underflow, which only FSCALE reaches.
        _ => {
            env.raise(flag::PE);
            F80::zero(sign)
        }
    }
}

/// Rounds below the normal range, at the place where denormals end.
fn tiny(p: u32, sign: bool, exp: i32, hi: u64, lo: u64, env: &mut Env) -> F80 {
    let (_, up, _) = cut(p, sign, hi, lo, env.rc);
    let reaches_normal = exp == 0 && up && hi >> (64 - p) == u64::MAX >> (64 - p);
    let x = shr_jam128((hi as u128) << 64 | lo as u128, (1 - exp) as u32);
    let (kept, up, inexact) = cut(p, sign, (x >> 64) as u64, x as u64, env.rc);
    let sig = kept + ((up as u64) << (64 - p));
    env.c1 = inexact && up;
    if inexact {
        env.raise(if reaches_normal { flag::PE } else { flag::PE | flag::UE });
    }
    F80::new(sign, (sig >> 63) as i32, sig)
}

/// A result too large; `sig` is rounded.
#[cold]
fn overflow(p: u32, sign: bool, exp: i32, sig: u64, inexact: bool, env: &mut Env) -> F80 {
    env.raise(flag::OE);
    if env.unmasked(flag::OE) {
        return match exp - WRAP {
            e if e < EXP_MAX => F80::new(sign, e, sig),
            // Massive overflow, which only FSCALE reaches.
            _ => {
                env.raise(flag::PE);
                env.c1 = true;
                F80::infinity(sign)
            }
        };
    }
    let _ = inexact;
    env.raise(flag::PE);
    env.c1 = env.rc.overflows_to_infinity(sign);
    if env.c1 { F80::infinity(sign) } else { F80::new(sign, EXP_MAX - 1, u64::MAX << (64 - p)) }
}
