//! The x87 double extended format and the arithmetic of the FPU.  SDM vol. 1, chapters 4 and 8.
//!
//! ```
//! use cpu::soft::f80::{self, Env, F80};
//! let mut env = Env::from_control(0x037f);          // one instruction: no flags yet, C1 clear
//! let r = f80::div(f80::ONE, f80::from_i32(3), &mut env);
//! assert_eq!(r, F80 { sig: 0xaaaa_aaaa_aaaa_aaab, sign_exp: 0x3ffd });
//! assert_eq!((env.flags, env.c1), (cpu::soft::flag::PE, true));
//! ```
//!
//! What a row does with the outcome: OR `flags` into the status word (then ES and B follow from the masks), copy `c1`,
//! and store the result unless [`Env::aborted`].  Unmasked overflow and underflow deliver a result to a register with
//! its exponent wrapped by 24576 (SDM vol. 1, 8.5.4 and 8.5.5); a store to memory in a smaller format stores nothing
//! then: there the row asks [`Env::store_aborted`].  Stack faults are the row's business.

mod arith;
mod bcd;
mod compare;
mod convert;
mod log;
mod pack;
mod partial;
mod tables;
mod trig;
mod wide;

pub use super::{Order, Round, flag};
pub use arith::{add, div, mul, sqrt, sub, with_f32, with_f64};
pub use bcd::{from_bcd, to_bcd};
pub use compare::{compare, test};
pub use convert::{
    from_f32, from_f64, from_i16, from_i32, from_i64, to_f32, to_f64, to_i16, to_i32, to_i64,
};
pub use log::{exp2m1, ylog2, ylog2p1};
pub use partial::{Remainder, extract, rem, round_to_int, scale};
pub use trig::{atan, cos, sin, sincos, tan};

#[cfg(test)]
mod test;

use super::wide::shr_jam128;

/// A register of the FPU: 64 bits of significand with an explicit integer bit, then exponent and sign.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct F80 {
    /// The significand.
    pub sig: u64,
    /// Bit 15 is the sign, the rest the biased exponent.
    pub sign_exp: u16,
}

const TOP: u64 = 1 << 63;
const BIAS: i32 = 0x3fff;
const EXP_MAX: i32 = 0x7fff;
/// How far an unmasked overflow or underflow moves the exponent.
const WRAP: i32 = 0x6000;

/// +0.0
pub const ZERO: F80 = F80 { sig: 0, sign_exp: 0 };
/// +1.0
pub const ONE: F80 = F80 { sig: TOP, sign_exp: BIAS as u16 };
/// Positive infinity.
pub const INFINITY: F80 = F80 { sig: TOP, sign_exp: 0x7fff };
/// The masked response to an invalid operation.  SDM vol. 1, 4.8.3.7.
pub const INDEFINITE: F80 = F80 { sig: 3 << 62, sign_exp: 0xffff };

/// A constant to 66 bits or more: the part kept and the part rounded away.
#[derive(Clone, Copy)]
pub struct Constant(F80, u64);

/// FLDPI.
pub const PI: Constant = Constant(F80 { sig: 0xc90f_daa2_2168_c234, sign_exp: 0x4000 }, 0xc << 60);
/// FLDL2T: the binary logarithm of ten.
pub const LOG2_10: Constant =
    Constant(F80 { sig: 0xd49a_784b_cd1b_8afe, sign_exp: 0x4000 }, 4 << 60);
/// FLDL2E: the binary logarithm of e.
pub const LOG2_E: Constant =
    Constant(F80 { sig: 0xb8aa_3b29_5c17_f0bb, sign_exp: 0x3fff }, 0xb << 60);
/// FLDLG2: the decimal logarithm of two.
pub const LOG10_2: Constant =
    Constant(F80 { sig: 0x9a20_9a84_fbcf_f798, sign_exp: 0x3ffd }, 8 << 60 | 1);
/// FLDLN2: the natural logarithm of two.
pub const LN_2: Constant =
    Constant(F80 { sig: 0xb172_17f7_d1cf_79ab, sign_exp: 0x3ffe }, 0xc << 60);

impl Constant {
    /// As loaded under this rounding control; precision control does not matter and no flag is raised.
    /// SDM vol. 1, 8.3.8.
    pub const fn load(self, rc: Round) -> F80 {
        let up = rc.goes_up(false, self.0.sig & 1 != 0, self.1);
        F80 { sig: self.0.sig + up as u64, sign_exp: self.0.sign_exp }
    }
}

/// Precision control: how many bits add, subtract, multiply, divide and square root keep.  SDM vol. 1, 8.1.5.2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Precision {
    /// 24 bits.
    Single = 24,
    /// 53 bits.
    Double = 53,
    /// All 64 bits.
    Extended = 64,
}

/// Control and outcome of one instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Env {
    /// Rounding control.
    pub rc: Round,
    /// Precision control.
    pub pc: Precision,
    /// Exception masks, a set bit masks, in [`flag`] order.
    pub masks: u8,
    /// Exceptions raised, in [`flag`] order.
    pub flags: u8,
    /// C1: the last rounding went up.
    pub c1: bool,
}

impl Env {
    /// From an x87 control word.  The reserved precision 01 counts as extended.
    #[inline(always)]
    pub const fn from_control(control: u16) -> Self {
        let pc = match control >> 8 & 3 {
            0 => Precision::Single,
            2 => Precision::Double,
            _ => Precision::Extended,
        };
        let rc = Round::from_bits((control >> 10) as u8);
        Env { rc, pc, masks: control as u8 & flag::ALL, flags: 0, c1: false }
    }

    /// An unmasked invalid operation, denormal operand or division by zero: nothing is written or popped.
    #[inline(always)]
    pub const fn aborted(&self) -> bool {
        self.flags & !self.masks & flag::BEFORE != 0
    }

    /// The same for loads: an unmasked denormal operand is noted but the push is done (SDM vol. 1, 8.5.2).
    #[inline(always)]
    pub const fn load_aborted(&self) -> bool {
        self.flags & !self.masks & flag::IE != 0
    }

    /// The same for stores to memory, which an unmasked overflow or underflow stops too.
    #[inline(always)]
    pub const fn store_aborted(&self) -> bool {
        self.flags & !self.masks & !flag::PE != 0
    }

    #[inline(always)]
    fn raise(&mut self, flags: u8) {
        self.flags |= flags;
    }

    fn unmasked(&self, flag: u8) -> bool {
        self.masks & flag == 0
    }
}

/// What a register holds.  SDM vol. 1, 4.8.3 and 8.2.2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// An encoding that means nothing: unnormal, pseudo-infinity or pseudo-NaN.  Invalid everywhere.
    Unsupported,
    /// Not a number.
    Nan,
    /// A normal number.
    Normal,
    /// Infinity.
    Infinity,
    /// Zero.
    Zero,
    /// Denormal or pseudo-denormal.
    Denormal,
}

impl Class {
    /// What FXAM puts into C3, C2, C0 (an empty register is (true, false, true)).  SDM vol. 2A, FXAM.
    pub const fn fxam(self) -> (bool, bool, bool) {
        match self {
            Class::Unsupported => (false, false, false),
            Class::Nan => (false, false, true),
            Class::Normal => (false, true, false),
            Class::Infinity => (false, true, true),
            Class::Zero => (true, false, false),
            Class::Denormal => (true, true, false),
        }
    }
}

impl F80 {
    /// Whether the sign bit is set.
    #[inline(always)]
    pub const fn sign(self) -> bool {
        self.sign_exp >> 15 != 0
    }

    /// The biased exponent.
    #[inline(always)]
    const fn exp(self) -> i32 {
        (self.sign_exp & 0x7fff) as i32
    }

    /// FCHS.
    #[inline(always)]
    pub const fn neg(self) -> F80 {
        F80 { sign_exp: self.sign_exp ^ 0x8000, ..self }
    }

    /// FABS.
    #[inline(always)]
    pub const fn abs(self) -> F80 {
        F80 { sign_exp: self.sign_exp & 0x7fff, ..self }
    }

    /// The bytes as FSTP m80 stores them.
    #[inline]
    pub const fn to_bytes(self) -> [u8; 10] {
        let s = self.sig.to_le_bytes();
        let e = self.sign_exp.to_le_bytes();
        [s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], e[0], e[1]]
    }

    /// From the bytes in memory.
    #[inline]
    pub const fn from_bytes(b: [u8; 10]) -> F80 {
        F80 {
            sig: u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]),
            sign_exp: u16::from_le_bytes([b[8], b[9]]),
        }
    }

    /// What it holds.
    #[inline]
    pub const fn class(self) -> Class {
        let integer = self.sig & TOP != 0;
        match self.exp() {
            0 if self.sig == 0 => Class::Zero,
            0 => Class::Denormal,
            _ if !integer => Class::Unsupported,
            EXP_MAX if self.sig == TOP => Class::Infinity,
            EXP_MAX => Class::Nan,
            _ => Class::Normal,
        }
    }

    /// An ordinary number: the fast paths are for these.
    #[inline(always)]
    const fn is_normal(self) -> bool {
        self.sig & TOP != 0 && (self.sign_exp & 0x7fff).wrapping_sub(1) < 0x7ffe
    }

    const fn is_signalling(self) -> bool {
        matches!(self.class(), Class::Nan) && self.sig & 1 << 62 == 0
    }

    #[inline(always)]
    const fn new(sign: bool, exp: i32, sig: u64) -> F80 {
        F80 { sig, sign_exp: exp as u16 | (sign as u16) << 15 }
    }

    const fn zero(sign: bool) -> F80 {
        F80::new(sign, 0, 0)
    }

    const fn infinity(sign: bool) -> F80 {
        F80::new(sign, EXP_MAX, TOP)
    }

    const fn quiet(self) -> F80 {
        F80 { sig: self.sig | 3 << 62, ..self }
    }
}

/// A finite operand that is not zero: `sig / 2^63 * 2^(exp - BIAS)`, the top bit of `sig` set, `exp` maybe negative.
#[derive(Clone, Copy, Debug)]
struct Finite {
    sign: bool,
    exp: i32,
    sig: u64,
}

impl Finite {
    #[inline]
    const fn of(x: F80) -> Finite {
        let shift = x.sig.leading_zeros();
        let exp = if x.exp() == 0 { 1 } else { x.exp() };
        Finite { sign: x.sign(), exp: exp - shift as i32, sig: x.sig << shift }
    }
}

/// The masked response to an invalid operation.
#[cold]
fn invalid(env: &mut Env) -> F80 {
    env.raise(flag::IE);
    INDEFINITE
}

/// If an operand is unsupported or a NaN, the result: a quiet NaN beats a signalling one, then the larger significand
/// wins, then the positive one.  SDM vol. 1, table 4-7.
fn nan2(a: F80, b: F80, env: &mut Env) -> Option<F80> {
    let (ca, cb) = (a.class(), b.class());
    if ca == Class::Unsupported || cb == Class::Unsupported {
        return Some(invalid(env));
    }
    let (sa, sb) = (a.is_signalling(), b.is_signalling());
    if sa || sb {
        env.raise(flag::IE);
    }
    let first = match (ca == Class::Nan, cb == Class::Nan) {
        (false, false) => return None,
        (true, false) => true,
        (false, true) => false,
        _ if sa != sb => sb,
        _ if a.sig != b.sig => a.sig > b.sig,
        _ => !a.sign(),
    };
    Some(if first { a } else { b }.quiet())
}

/// [`nan2`] for one operand.
fn nan1(a: F80, env: &mut Env) -> Option<F80> {
    nan2(a, a, env)
}

/// Notes denormal operands; true if that ends the instruction.
fn denormal(a: F80, b: F80, env: &mut Env) -> bool {
    if a.class() == Class::Denormal || b.class() == Class::Denormal {
        env.raise(flag::DE);
        return env.unmasked(flag::DE);
    }
    false
}
