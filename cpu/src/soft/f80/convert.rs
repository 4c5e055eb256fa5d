//! Loads and stores of other formats: FLD, FST, FILD, FIST, FISTTP.  SDM vol. 1, 8.1.6 and 8.3.3.

use super::*;
use crate::soft::wide::shr_jam64;

/// A binary format in memory: fraction bits and exponent bits.
const SINGLE: (u32, u32) = (23, 8);
const DOUBLE: (u32, u32) = (52, 11);

/// Widens without judging: no flags, signalling NaNs stay so.
#[inline(always)]
fn widen((f, e): (u32, u32), x: u64) -> F80 {
    let sign = x >> (f + e) & 1 != 0;
    let max = (1u64 << e) - 1;
    let field = x >> f & max;
    let top = x << (63 - f) & !TOP;
    let rebias = BIAS - (max / 2) as i32;
    if field == 0 {
        if top == 0 {
            return F80::zero(sign);
        }
        let shift = top.leading_zeros();
        return F80::new(sign, rebias + 1 - shift as i32, top << shift);
    }
    let exp = if field == max { EXP_MAX } else { field as i32 + rebias };
    F80::new(sign, exp, top | TOP)
}

#[inline(always)]
pub(super) fn widen_f32(x: u32) -> F80 {
    widen(SINGLE, x as u64)
}

#[inline(always)]
pub(super) fn widen_f64(x: u64) -> F80 {
    widen(DOUBLE, x)
}

#[inline(always)]
fn load(x: F80, denormal: bool, env: &mut Env) -> F80 {
    if denormal {
        env.raise(flag::DE);
    }
    if x.is_signalling() {
        env.raise(flag::IE);
        return x.quiet();
    }
    x
}

/// FLD m32fp: denormals and signalling NaNs are noticed.
#[inline]
pub fn from_f32(x: u32, env: &mut Env) -> F80 {
    load(widen_f32(x), (x & 0x7fff_ffff).wrapping_sub(1) < 0x7f_ffff, env)
}

/// FLD m64fp.
#[inline]
pub fn from_f64(x: u64, env: &mut Env) -> F80 {
    load(widen_f64(x), (x & !TOP).wrapping_sub(1) < 0xf_ffff_ffff_ffff, env)
}

/// FST m32fp.
#[inline]
pub fn to_f32(a: F80, env: &mut Env) -> u32 {
    narrow(SINGLE, a, env) as u32
}

/// FST m64fp.
#[inline]
pub fn to_f64(a: F80, env: &mut Env) -> u64 {
    narrow(DOUBLE, a, env)
}

#[inline]
fn narrow((f, e): (u32, u32), a: F80, env: &mut Env) -> u64 {
    let max = (1u64 << e) - 1;
    let sign = (a.sign() as u64) << (f + e);
    let cut = 63 - f;
    let field = a.exp() - BIAS + (max / 2) as i32;
    if a.is_normal() && (field - 1) as u64 <= max - 3 {
        let rest = a.sig << (f + 1);
        let mut size = ((field as u64 - 1) << f) + (a.sig >> cut);
        if rest != 0 {
            env.flags |= flag::PE;
            let up = env.rc.goes_up(a.sign(), a.sig >> cut & 1 != 0, rest);
            env.c1 = up;
            size += up as u64;
        }
        return sign | size;
    }
    match a.class() {
        Class::Zero => sign,
        Class::Infinity => sign | max << f,
        Class::Unsupported => {
            env.raise(flag::IE);
            1 << (f + e) | (2 * max + 1) << (f - 1)
        }
        Class::Nan => {
            if a.is_signalling() {
                env.raise(flag::IE);
            }
            sign | (2 * max + 1) << (f - 1) | a.quiet().sig << 1 >> (64 - f)
        }
        _ => {
            let x = Finite::of(a);
            sign | narrow_rare((f, e), x, x.exp - BIAS + (max / 2) as i32, env)
        }
    }
}

/// The magnitude where the result may leave the normal range.
#[cold]
fn narrow_rare((f, e): (u32, u32), x: Finite, field: i32, env: &mut Env) -> u64 {
    let (max, cut) = ((1u64 << e) - 1, 63 - f);
    let up = env.rc.goes_up(x.sign, x.sig >> cut & 1 != 0, x.sig << (f + 1));
    let full = (x.sig >> cut) + up as u64;
    let carried = full >> (f + 1) != 0;
    if field + carried as i32 >= max as i32 {
        env.raise(flag::OE);
        if env.unmasked(flag::OE) {
            return 0;
        }
        env.raise(flag::PE);
        env.c1 = env.rc.overflows_to_infinity(x.sign);
        return (max << f) - !env.c1 as u64;
    }
    let is_tiny = field + (carried as i32) < 1;
    if is_tiny && env.unmasked(flag::UE) {
        env.raise(flag::UE);
        return 0;
    }
    let (shift, base) = if field < 1 { ((1 - field) as u32, 0) } else { (0, field as u64 - 1) };
    let sig = shr_jam64(x.sig, shift);
    let rest = sig << (f + 1);
    let up = env.rc.goes_up(x.sign, sig >> cut & 1 != 0, rest);
    if rest != 0 {
        env.raise(if is_tiny { flag::PE | flag::UE } else { flag::PE });
        env.c1 = up;
    }
    (base << f) + (sig >> cut) + up as u64
}

/// FILD m64int: exact.
#[inline]
pub fn from_i64(x: i64) -> F80 {
    if x == 0 {
        return ZERO;
    }
    let size = x.unsigned_abs();
    let shift = size.leading_zeros();
    F80::new(x < 0, BIAS + 63 - shift as i32, size << shift)
}

/// FILD m32int.
#[inline]
pub fn from_i32(x: i32) -> F80 {
    from_i64(x as i64)
}

/// FILD m16int.
#[inline]
pub fn from_i16(x: i16) -> F80 {
    from_i64(x as i64)
}

/// A finite number's magnitude rounded to an integer below 2^64, and the direction.
pub(super) fn integral(x: Finite, rc: Round) -> Option<(u64, bool, bool)> {
    let (whole, rest) = match BIAS + 63 - x.exp {
        ..0 => return None,
        0 => (x.sig, 0),
        s @ 1..64 => (x.sig >> s, x.sig << (64 - s)),
        s => (0, shr_jam64(x.sig, (s - 64) as u32)),
    };
    let up = rc.goes_up(x.sign, whole & 1 != 0, rest);
    Some((whole + up as u64, up, rest != 0))
}

/// To a two's complement integer of `bits` bits; None and invalid if it does not fit.
#[inline]
pub(super) fn to_int(a: F80, below: u64, above: u64, rc: Round, env: &mut Env) -> Option<i64> {
    let fit = match a.class() {
        Class::Zero => return Some(0),
        Class::Normal | Class::Denormal => integral(Finite::of(a), rc)
            .filter(|&(size, ..)| size <= if a.sign() { below } else { above }),
        _ => None,
    };
    let Some((size, up, inexact)) = fit else {
        env.raise(flag::IE);
        return None;
    };
    if inexact {
        env.raise(flag::PE);
        env.c1 = up;
    }
    Some(if a.sign() { size.wrapping_neg() } else { size } as i64)
}

/// FIST m16int (rounded by `env.rc`) and FISTTP (pass [`Round::Zero`]); 0x8000 if it does not fit.
#[inline]
pub fn to_i16(a: F80, rc: Round, env: &mut Env) -> i16 {
    to_int(a, 1 << 15, (1 << 15) - 1, rc, env).map_or(i16::MIN, |x| x as i16)
}

/// FIST m32int and FISTTP.
#[inline]
pub fn to_i32(a: F80, rc: Round, env: &mut Env) -> i32 {
    to_int(a, 1 << 31, (1 << 31) - 1, rc, env).map_or(i32::MIN, |x| x as i32)
}

/// FISTP m64int and FISTTP.
#[inline]
pub fn to_i64(a: F80, rc: Round, env: &mut Env) -> i64 {
    to_int(a, 1 << 63, (1 << 63) - 1, rc, env).unwrap_or(i64::MIN)
}
