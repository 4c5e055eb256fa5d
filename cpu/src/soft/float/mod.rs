//! IEEE binary16, binary32 and binary64 as SSE, AVX, F16C and FMA treat them.  SDM vol. 1, 4.8, 4.9 and 11.5.
//!
//! Numbers travel as their bits (`u16`, `u32`, `u64`).  Every function is generic over a [`Format`]:
//! `add::<F32>(a, b, &mut env)`.  Operand order is that of the Intel syntax: the first source comes first, and it
//! wins when both are NaNs.

mod approx;
mod arith;
mod compare;
mod convert;
mod fma;

pub use super::{Order, Round, flag};
pub use approx::{rcp, rsqrt};
pub use arith::{add, div, mul, sqrt, sub};
pub use compare::{comi, compare, max, min, predicate, ucomi};
pub use convert::{
    convert, from_i32, from_i64, from_u32, from_u64, round_to_int, to_half, to_i32, to_i32_trunc,
    to_i64, to_i64_trunc, to_u32, to_u64, widen_half,
};
pub use fma::{fma, fma_as};

#[cfg(test)]
mod test;

use super::wide::shr_jam64;

/// An interchange format.
pub trait Format: Copy + 'static {
    /// Its bits as an unsigned integer.
    type Bits: Copy + Eq + core::fmt::Debug + core::fmt::LowerHex;
    /// Bits of precision, the hidden one included.
    const P: u32;
    /// Bits of the exponent field.
    const E: u32;
    /// The bits in the low end of a word.
    fn wide(bits: Self::Bits) -> u64;
    /// The low end of a word.
    fn narrow(word: u64) -> Self::Bits;
}

macro_rules! formats {
    ($($(#[$doc:meta])* $name:ident $bits:ty, $p:literal, $e:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $name {}
        impl Format for $name {
            type Bits = $bits;
            const P: u32 = $p;
            const E: u32 = $e;
            #[inline(always)]
            fn wide(bits: $bits) -> u64 {
                bits as u64
            }
            #[inline(always)]
            fn narrow(word: u64) -> $bits {
                word as $bits
            }
        }
    )*};
}

formats! {
    /// binary16, half precision.
    F16 u16, 11, 5;
    /// binary32, single precision.
    F32 u32, 24, 8;
    /// binary64, double precision.
    F64 u64, 53, 11;
}

/// Derived constants of a format, all as words.
pub(crate) trait Layout: Format {
    const FRACTION: u32 = Self::P - 1;
    const EXP_MAX: u64 = (1 << Self::E) - 1;
    const BIAS: i32 = (1 << (Self::E - 1)) - 1;
    const SIGN: u64 = 1 << (Self::P - 1 + Self::E);
    const INFINITY: u64 = Self::EXP_MAX << Self::FRACTION;
    const QUIET: u64 = 1 << (Self::FRACTION - 1);
    /// The "real indefinite": a negative quiet NaN.  SDM vol. 1, 4.8.3.7.
    const INDEFINITE: u64 = Self::SIGN | Self::INFINITY | Self::QUIET;
}
impl<F: Format> Layout for F {}

/// Control and flags of one instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Env {
    /// Rounding control.
    pub rc: Round,
    /// Denormals are zeros: denormal operands count as zero and raise nothing.
    pub daz: bool,
    /// Flush to zero: a tiny result becomes zero, if underflow is masked.
    pub ftz: bool,
    /// Exception masks, a set bit masks, in [`flag`] order.
    pub masks: u8,
    /// Flags raised so far, in [`flag`] order.
    pub flags: u8,
}

impl Env {
    /// The control part of an MXCSR value; flags start empty.  SDM vol. 1, 10.2.3.
    #[inline]
    pub const fn from_mxcsr(mxcsr: u32) -> Self {
        Env {
            rc: Round::from_bits((mxcsr >> 13) as u8),
            daz: mxcsr & 0x40 != 0,
            ftz: mxcsr & 0x8000 != 0,
            masks: (mxcsr >> 7) as u8 & flag::ALL,
            flags: 0,
        }
    }

    /// The control of instructions with embedded rounding: this mode, all exceptions suppressed.
    pub const fn suppressed(self, rc: Round) -> Self {
        Env { rc, masks: flag::ALL, ..self }
    }

    /// Ends an instruction: the flags to OR into MXCSR, and whether #XM is due, in which case no register changes.
    /// An unmasked flag of the first group (invalid, denormal, divide by zero) keeps the second group (overflow,
    /// underflow, precision) of all lanes from being noted.  SDM vol. 1, 4.9.2 and 11.5.2.
    #[inline]
    pub const fn finish(&self) -> (u8, bool) {
        let fault = self.flags & !self.masks;
        if fault & flag::BEFORE != 0 {
            (self.flags & flag::BEFORE, true)
        } else {
            (self.flags, fault != 0)
        }
    }

    #[inline(always)]
    fn raise(&mut self, flags: u8) {
        self.flags |= flags;
    }

    fn unmasked(&self, flag: u8) -> bool {
        self.masks & flag == 0
    }
}

/// What kind of number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Zero,
    Finite,
    Infinity,
    Nan,
}

/// An operand taken apart.  A finite one is `sig / 2^63 * 2^exp`, the top bit of `sig` set.
#[derive(Clone, Copy, Debug)]
struct Num {
    sign: bool,
    kind: Kind,
    exp: i32,
    sig: u64,
    denormal: bool,
}

/// Takes an operand apart.
#[inline(always)]
fn unpack<F: Format>(x: u64, daz: bool) -> Num {
    let sign = x & F::SIGN != 0;
    let field = (x >> F::FRACTION) & F::EXP_MAX;
    let fraction = x & ((1 << F::FRACTION) - 1);
    let top = fraction << (64 - F::P);
    let num = |kind, exp, sig, denormal| Num { sign, kind, exp, sig, denormal };
    if field == 0 {
        if fraction == 0 || daz {
            return num(Kind::Zero, 0, 0, false);
        }
        let shift = top.leading_zeros();
        return num(Kind::Finite, 1 - F::BIAS - shift as i32, top << shift, true);
    }
    if field == F::EXP_MAX {
        let kind = if fraction == 0 { Kind::Infinity } else { Kind::Nan };
        return num(kind, 0, 0, false);
    }
    num(Kind::Finite, field as i32 - F::BIAS, top | 1 << 63, false)
}

#[inline(always)]
fn is_nan<F: Format>(x: u64) -> bool {
    x & !F::SIGN > F::INFINITY
}

#[inline(always)]
fn is_signalling<F: Format>(x: u64) -> bool {
    is_nan::<F>(x) && x & F::QUIET == 0
}

/// Whether the value is denormal and DAZ does not hide that.
#[inline(always)]
fn is_denormal<F: Format>(x: u64, env: &Env) -> bool {
    let size = x & !F::SIGN;
    size != 0 && size < 1 << F::FRACTION && !env.daz
}

/// The result when `a` or `b` is a NaN: the first NaN made quiet.  SDM vol. 1, table 4-7.
#[cold]
fn nan2<F: Format>(a: u64, b: u64, env: &mut Env) -> u64 {
    if is_signalling::<F>(a) || is_signalling::<F>(b) {
        env.raise(flag::IE);
    }
    (if is_nan::<F>(a) { a } else { b }) | F::QUIET
}

/// The masked response to an invalid operation.
#[cold]
fn invalid<F: Format>(env: &mut Env) -> u64 {
    env.raise(flag::IE);
    F::INDEFINITE
}

#[inline(always)]
fn signed<F: Format>(sign: bool, size: u64) -> u64 {
    size | if sign { F::SIGN } else { 0 }
}

/// Rounds `sig / 2^63 * 2^exp` (top bit of `sig` set, bit 0 jammed) into the format.
#[inline]
fn round_pack<F: Format>(sign: bool, exp: i32, sig: u64, env: &mut Env) -> u64 {
    let cut = 64 - F::P;
    let field = exp + F::BIAS;
    if field >= 1 {
        let rest = sig << F::P;
        let mut size = ((field as u64 - 1) << F::FRACTION).wrapping_add(sig >> cut);
        if rest != 0 {
            size += env.rc.goes_up(sign, sig >> cut & 1 != 0, rest) as u64;
        }
        if field >= F::EXP_MAX as i32 || size >= F::INFINITY {
            return overflow::<F>(sign, rest != 0, env);
        }
        if rest != 0 {
            env.raise(flag::PE);
        }
        return signed::<F>(sign, size);
    }
    tiny::<F>(sign, field, sig, env)
}

#[cold]
fn overflow<F: Format>(sign: bool, inexact: bool, env: &mut Env) -> u64 {
    env.raise(flag::OE);
    if inexact || !env.unmasked(flag::OE) {
        env.raise(flag::PE);
    }
    signed::<F>(sign, F::INFINITY - !env.rc.overflows_to_infinity(sign) as u64)
}

/// [`round_pack`] below the normal range; `field` (biased exponent) is zero or less.  Tininess is judged after
/// rounding to the full precision with an unbounded exponent.  SDM vol. 1, 4.9.1.5.
#[cold]
fn tiny<F: Format>(sign: bool, field: i32, sig: u64, env: &mut Env) -> u64 {
    let cut = 64 - F::P;
    let up = env.rc.goes_up(sign, sig >> cut & 1 != 0, sig << F::P);
    let reaches_normal = field == 0 && up && sig >> cut == (1 << F::P) - 1;
    if !reaches_normal && env.ftz && !env.unmasked(flag::UE) {
        env.raise(flag::UE | flag::PE);
        return signed::<F>(sign, 0);
    }
    let whole = sig << F::P;
    let sig = shr_jam64(sig, (1 - field) as u32);
    let rest = sig << F::P;
    let size = (sig >> cut) + env.rc.goes_up(sign, sig >> cut & 1 != 0, rest) as u64;
    if !reaches_normal && env.unmasked(flag::UE) {
        // What the handler would get is the result with its exponent wrapped: exact if the full precision suffices.
        env.raise(if whole != 0 { flag::UE | flag::PE } else { flag::UE });
    } else if rest != 0 {
        env.raise(if reaches_normal { flag::PE } else { flag::UE | flag::PE });
    }
    signed::<F>(sign, size)
}
