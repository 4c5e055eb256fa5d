//! Exact floating point in integers: what the x87, SSE, AVX, F16C and FMA units compute, bit for bit, on any host.
//!
//! No host `f32` or `f64` arithmetic is used anywhere below, so every host, tier and optimisation level gives the
//! same bits, the same sticky flags and the same C1.  Two families:
//!
//! * [`float`]: IEEE binary16, 32 and 64 under MXCSR rules (SDM vol. 1, 4.8, 4.9, 11.5 and 14.5).
//! * [`f80`]: the x87 double extended format under control-word rules (SDM vol. 1, chapter 8).
//!
//! # Use from SSE and AVX rows
//! ```
//! use cpu::soft::float::{self, Env, F32, F64};
//! let mut env = Env::from_mxcsr(0x1f80);            // flags start empty: they are of this instruction only
//! let sum = float::add::<F64>(1.5f64.to_bits(), 2.0f64.to_bits(), &mut env);
//! assert_eq!(sum, 3.5f64.to_bits());
//! let small = float::convert::<F64, F32>(sum, &mut env);
//! assert_eq!(small, 3.5f32.to_bits());
//! let (sticky, fault) = env.finish();               // after the last lane
//! assert_eq!((sticky, fault), (0, false));
//! ```
//! A packed instruction runs all lanes with one `Env`, so that the flags of the lanes are ORed, then calls
//! [`float::Env::finish`]: it gives the bits to OR into MXCSR and whether #XM must be raised (then no register
//! changes).  The lane functions always return a result; it is meaningless when `finish` says fault.
//!
//! # Use from x87 rows
//! See [`f80`]: the same shape with [`f80::Env`], which adds precision control and C1.  After the call the row looks
//! at [`f80::Env::aborted`] (unmasked #IA, #D, #Z: the destination stays as it was).

pub mod f80;
pub mod float;
mod wide;

/// Exception flags, in the bit order that MXCSR and the x87 status word share.  SDM vol. 1, 8.1.3 and 10.2.3.
pub mod flag {
    /// Invalid operation.
    pub const IE: u8 = 1;
    /// Denormal operand.
    pub const DE: u8 = 2;
    /// Divide by zero.
    pub const ZE: u8 = 4;
    /// Overflow.
    pub const OE: u8 = 8;
    /// Underflow.
    pub const UE: u8 = 16;
    /// Precision (inexact result).
    pub const PE: u8 = 32;
    /// Those found before computing; unmasked, they stop the operation before anything else is flagged.
    pub const BEFORE: u8 = IE | DE | ZE;
    /// All six.
    pub const ALL: u8 = 63;
}

/// Rounding control, numbered as in MXCSR.RC, FCW.RC and the immediate of ROUNDSS.  SDM vol. 1, table 4-8.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Round {
    /// To nearest, ties to even.
    Nearest = 0,
    /// Toward minus infinity.
    Down = 1,
    /// Toward plus infinity.
    Up = 2,
    /// Toward zero.
    Zero = 3,
}

impl Round {
    /// From the two control bits; higher bits are ignored.
    #[inline(always)]
    pub const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Round::Nearest,
            1 => Round::Down,
            2 => Round::Up,
            _ => Round::Zero,
        }
    }

    /// Whether the magnitude goes up by one unit, when the part cut off is `rest` / 2^64 of that unit.
    #[inline(always)]
    const fn goes_up(self, sign: bool, odd: bool, rest: u64) -> bool {
        const HALF: u64 = 1 << 63;
        match self {
            Round::Nearest => rest > HALF || (rest == HALF && odd),
            Round::Down => sign && rest != 0,
            Round::Up => !sign && rest != 0,
            Round::Zero => false,
        }
    }

    /// Whether a masked overflow gives infinity (else the largest finite number).  SDM vol. 1, table 4-10.
    #[inline(always)]
    const fn overflows_to_infinity(self, sign: bool) -> bool {
        match self {
            Round::Nearest => true,
            Round::Down => sign,
            Round::Up => !sign,
            Round::Zero => false,
        }
    }
}

/// How two operands compare.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// The first is less.
    Less,
    /// Equal; zeros of either sign are.
    Equal,
    /// The first is greater.
    Greater,
    /// At least one is not a number.
    Unordered,
}

impl Order {
    /// As COMISS, UCOMISS, FCOMI and FUCOMI set (ZF, PF, CF).  SDM vol. 2A, COMISS.
    pub const fn zpc(self) -> (bool, bool, bool) {
        match self {
            Order::Less => (false, false, true),
            Order::Equal => (true, false, false),
            Order::Greater => (false, false, false),
            Order::Unordered => (true, true, true),
        }
    }
}
