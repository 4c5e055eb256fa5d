//! Conversions between formats and integers, and rounding to an integer.  SDM vol. 2, CVTxx2yy, VCVTPS2PH,
//! VCVTPH2PS, ROUNDPS; vol. 1, table 4-4 (integer indefinite).

use super::*;

/// From one format to another; a NaN keeps the high end of its payload and becomes quiet.
#[inline]
pub fn convert<F: Format, T: Format>(a: F::Bits, env: &mut Env) -> T::Bits {
    let a = F::wide(a);
    let x = unpack::<F>(a, env.daz);
    T::narrow(match x.kind {
        Kind::Zero => signed::<T>(x.sign, 0),
        Kind::Infinity => signed::<T>(x.sign, T::INFINITY),
        Kind::Nan => {
            let payload = nan2::<F>(a, a, env) << (64 - F::FRACTION) >> 1;
            signed::<T>(x.sign, T::INFINITY | payload >> (63 - T::FRACTION))
        }
        Kind::Finite => {
            if x.denormal {
                env.raise(flag::DE);
            }
            round_pack::<T>(x.sign, x.exp, x.sig, env)
        }
    })
}

/// VCVTPH2PS: binary16 denormals are numbers whatever DAZ says, and raise nothing.
#[inline]
pub fn widen_half(a: u16, env: &mut Env) -> u32 {
    let mut inner = Env { daz: false, ..*env };
    let r = convert::<F16, F32>(a, &mut inner);
    env.raise(inner.flags & !flag::DE);
    r
}

/// VCVTPS2PH: rounds as bits 1:0 of `imm` say, or by MXCSR if bit 2 is set; FTZ does not matter.
#[inline]
pub fn to_half(a: u32, imm: u8, env: &mut Env) -> u16 {
    let mut inner = Env { rc: mode(imm, env), ftz: false, ..*env };
    let r = convert::<F32, F16>(a, &mut inner);
    env.raise(inner.flags);
    r
}

/// The rounding mode an immediate chooses.
fn mode(imm: u8, env: &Env) -> Round {
    if imm & 4 != 0 { env.rc } else { Round::from_bits(imm) }
}

/// The magnitude of a finite operand rounded to an integer, and whether that was inexact.  None: 2^64 or more.
#[inline]
fn integral(x: &Num, rc: Round) -> Option<(u64, bool)> {
    let (whole, rest) = match 63 - x.exp {
        ..0 => return None,
        0 => (x.sig, 0),
        s @ 1..64 => (x.sig >> s, x.sig << (64 - s)),
        s => (0, shr_jam64(x.sig, (s - 64) as u32)),
    };
    Some((whole + rc.goes_up(x.sign, whole & 1 != 0, rest) as u64, rest != 0))
}

/// To an integer between `-below` and `above`; None (and invalid) if it does not fit.
#[inline]
fn to_int<F: Format>(a: F::Bits, below: u64, above: u64, rc: Round, env: &mut Env) -> Option<u64> {
    let x = unpack::<F>(F::wide(a), env.daz);
    let fit = match x.kind {
        Kind::Zero => return Some(0),
        Kind::Finite => {
            integral(&x, rc).filter(|&(size, _)| size <= if x.sign { below } else { above })
        }
        _ => None,
    };
    let Some((size, inexact)) = fit else {
        env.raise(flag::IE);
        return None;
    };
    if inexact {
        env.raise(flag::PE);
    }
    Some(if x.sign { size.wrapping_neg() } else { size })
}

/// CVTSS2SI and CVTPS2DQ: rounded by the environment; 0x8000_0000 if it does not fit.
#[inline]
pub fn to_i32<F: Format>(a: F::Bits, env: &mut Env) -> i32 {
    to_int::<F>(a, 1 << 31, (1 << 31) - 1, env.rc, env).map_or(i32::MIN, |x| x as i32)
}

/// CVTTSS2SI and CVTTPS2DQ: toward zero.
#[inline]
pub fn to_i32_trunc<F: Format>(a: F::Bits, env: &mut Env) -> i32 {
    to_int::<F>(a, 1 << 31, (1 << 31) - 1, Round::Zero, env).map_or(i32::MIN, |x| x as i32)
}

/// CVTSS2SI to 64 bits.
#[inline]
pub fn to_i64<F: Format>(a: F::Bits, env: &mut Env) -> i64 {
    to_int::<F>(a, 1 << 63, (1 << 63) - 1, env.rc, env).map_or(i64::MIN, |x| x as i64)
}

/// CVTTSS2SI to 64 bits.
#[inline]
pub fn to_i64_trunc<F: Format>(a: F::Bits, env: &mut Env) -> i64 {
    to_int::<F>(a, 1 << 63, (1 << 63) - 1, Round::Zero, env).map_or(i64::MIN, |x| x as i64)
}

/// VCVTSS2USI, rounded as `rc` says; all ones if it does not fit.
#[inline]
pub fn to_u32<F: Format>(a: F::Bits, rc: Round, env: &mut Env) -> u32 {
    to_int::<F>(a, 0, u32::MAX as u64, rc, env).map_or(u32::MAX, |x| x as u32)
}

/// VCVTSS2USI to 64 bits.
#[inline]
pub fn to_u64<F: Format>(a: F::Bits, rc: Round, env: &mut Env) -> u64 {
    to_int::<F>(a, 0, u64::MAX, rc, env).unwrap_or(u64::MAX)
}

#[inline]
fn from_size<F: Format>(sign: bool, size: u64, env: &mut Env) -> F::Bits {
    if size == 0 {
        return F::narrow(0);
    }
    let shift = size.leading_zeros();
    F::narrow(round_pack::<F>(sign, 63 - shift as i32, size << shift, env))
}

/// CVTSI2SS, CVTDQ2PS and relatives.
#[inline]
pub fn from_i32<F: Format>(a: i32, env: &mut Env) -> F::Bits {
    from_size::<F>(a < 0, a.unsigned_abs() as u64, env)
}

/// CVTSI2SS from 64 bits.
#[inline]
pub fn from_i64<F: Format>(a: i64, env: &mut Env) -> F::Bits {
    from_size::<F>(a < 0, a.unsigned_abs(), env)
}

/// VCVTUSI2SS.
#[inline]
pub fn from_u32<F: Format>(a: u32, env: &mut Env) -> F::Bits {
    from_size::<F>(false, a as u64, env)
}

/// VCVTUSI2SS from 64 bits.
#[inline]
pub fn from_u64<F: Format>(a: u64, env: &mut Env) -> F::Bits {
    from_size::<F>(false, a, env)
}

/// ROUNDPS: bits 1:0 of `imm` are the mode, bit 2 takes MXCSR's instead, bit 3 keeps an inexact result quiet.
pub fn round_to_int<F: Format>(a: F::Bits, imm: u8, env: &mut Env) -> F::Bits {
    let a = F::wide(a);
    let x = unpack::<F>(a, env.daz);
    F::narrow(match x.kind {
        Kind::Zero => signed::<F>(x.sign, 0),
        Kind::Infinity => a,
        Kind::Nan => nan2::<F>(a, a, env),
        Kind::Finite if x.exp >= F::FRACTION as i32 => a,
        Kind::Finite => {
            let (size, inexact) = integral(&x, mode(imm, env)).unwrap_or((0, false));
            if inexact && imm & 8 == 0 {
                env.raise(flag::PE);
            }
            if size == 0 {
                signed::<F>(x.sign, 0)
            } else {
                let shift = size.leading_zeros();
                round_pack::<F>(x.sign, 63 - shift as i32, size << shift, env)
            }
        }
    })
}
