//! The words of vector instructions.
//!
//! A meaning decides everything from the [`Insn`](crate::Insn) (registers, immediates, widths) and does the rest in these
//! words, one 128-bit half after the other; 256-bit instructions do everything twice. The operations are values of the
//! enums in [`ops`], and each has one pure evaluation in [`crate::lanes`], which the interpreter uses and a translator may
//! call for what it does not translate.
//!
//! The rule of [`crate::sem`] holds here too: whatever can fault comes before the first `set_x`, `set_mm`, `set` and
//! store. Floating-point words fault (#XM, or #UD without CR4.OSXMMEXCPT) after they have noted their MXCSR flags.

pub mod gather;
mod interp;
pub mod mask;
pub mod mmx;
pub mod ops;
pub mod text;

pub use ops::{Conv, F1, F2, F3, Fmt, Form, Lane, Shift, X1, X2, X3};

use crate::{Res, SegReg, Sem, Width};

/// Both halves of a 256-bit value, the low one first.
pub type Y<S> = [<S as Vector>::X; 2];

/// Words over 128-bit halves of vector registers.
pub trait Vector: Sem {
    /// 128 bits: `u128` when interpreting, an SSA name when translating.
    type X: Copy;

    /// Half `half` (0 low, 1 high) of vector register `n`.
    fn get_x(&mut self, n: u8, half: u8) -> Self::X;
    fn set_x(&mut self, n: u8, half: u8, v: Self::X);

    /// Reads 16 bytes. `aligned`: #GP(0) unless the linear address is a multiple of 16.
    fn load_x(&mut self, seg: SegReg, at: Self::V, aligned: bool) -> Result<Self::X, Self::Fault>;
    /// Writes 16 bytes, or faults before it writes anything.
    fn store_x(&mut self, seg: SegReg, at: Self::V, v: Self::X, aligned: bool) -> Res<Self>;
    /// Reads 32 bytes. `aligned`: to 32.
    fn load_y(&mut self, seg: SegReg, at: Self::V, aligned: bool) -> Result<Y<Self>, Self::Fault>;
    /// Writes 32 bytes, or faults before it writes anything.
    fn store_y(&mut self, seg: SegReg, at: Self::V, v: Y<Self>, aligned: bool) -> Res<Self>;

    /// A constant.
    fn imm_x(&mut self, v: u128) -> Self::X;
    fn x1(&mut self, op: X1, a: Self::X) -> Self::X;
    fn x2(&mut self, op: X2, a: Self::X, b: Self::X) -> Self::X;
    fn x3(&mut self, op: X3, a: Self::X, b: Self::X, c: Self::X) -> Self::X;
    /// Each byte of the result is the one that `from` names of the 32 bytes of `a` and, from 16 on, `b`; 0x80 gives zero.
    fn shuffle(&mut self, a: Self::X, b: Self::X, from: [u8; 16]) -> Self::X;
    /// Shifts each lane by the same count, all 64 bits of which matter: too large a one gives zero (Sar: the sign).
    fn shift_x(&mut self, op: Shift, lane: Lane, a: Self::X, count: Self::V) -> Self::X;

    /// Lane `n`, zero-extended.
    fn extract(&mut self, lane: Lane, n: u8, a: Self::X) -> Self::V;
    /// `a` with lane `n` from the low bits of `v`.
    fn insert(&mut self, lane: Lane, n: u8, a: Self::X, v: Self::V) -> Self::X;
    /// The low bits of `v` in every lane.
    fn splat(&mut self, lane: Lane, v: Self::V) -> Self::X;
    /// The low bits of `v` in lane 0, zero elsewhere.
    fn scalar(&mut self, lane: Lane, v: Self::V) -> Self::X {
        let zero = self.imm_x(0);
        self.insert(lane, 0, zero, v)
    }
    /// The sign bits of all lanes, lane 0 in bit 0.
    fn movemask(&mut self, lane: Lane, a: Self::X) -> Self::V;
    /// 1 if any bit is set, else 0.
    fn any(&mut self, a: Self::X) -> Self::V;

    /// Floating point on one operand. Operands are whole: of [`Form::X`] and [`Form::Scalar`] the high halves are not looked
    /// at, and the high half of the answer means nothing. Scalar: the other lanes of the low half are those of `a`.
    fn f1(&mut self, op: F1, fmt: Fmt, form: Form, a: Y<Self>) -> Result<Y<Self>, Self::Fault>;
    fn f2(
        &mut self,
        op: F2,
        fmt: Fmt,
        form: Form,
        a: Y<Self>,
        b: Y<Self>,
    ) -> Result<Y<Self>, Self::Fault>;
    fn f3(
        &mut self,
        op: F3,
        fmt: Fmt,
        form: Form,
        a: Y<Self>,
        b: Y<Self>,
        c: Y<Self>,
    ) -> Result<Y<Self>, Self::Fault>;
    /// Converts between vectors of formats. `form` is that of the wider side; where the result is the narrower side, the
    /// rest of its half is zero, and the high half means nothing. Scalar: lane 0 alone, and zero in the rest.
    fn convert(&mut self, op: Conv, form: Form, a: Y<Self>) -> Result<Y<Self>, Self::Fault>;
    /// Compares lane 0 of both: ZF, PF and CF at their places in RFLAGS. `quiet`: a quiet NaN is not invalid (UCOMISS).
    fn fcomi(
        &mut self,
        fmt: Fmt,
        quiet: bool,
        a: Self::X,
        b: Self::X,
    ) -> Result<Self::V, Self::Fault>;
    /// Lane 0 as a signed integer of width `w` (32 or 64), rounded by MXCSR or toward zero (`trunc`).
    fn to_int(
        &mut self,
        fmt: Fmt,
        w: Width,
        trunc: bool,
        a: Self::X,
    ) -> Result<Self::V, Self::Fault>;
    /// A signed integer of width `w` (32 or 64) as lane 0, zero elsewhere.
    fn from_int(&mut self, fmt: Fmt, w: Width, v: Self::V) -> Result<Self::X, Self::Fault>;

    /// The CRC32 instruction: `crc` with the `w` bits of `data` taken in, 32 bits.
    fn crc32c(&mut self, w: Width, crc: Self::V, data: Self::V) -> Self::V;

    /// Starts an MMX instruction: #MF if an x87 exception waits.
    fn mmx_check(&mut self) -> Res<Self>;
    /// Makes the x87 registers the MMX ones: TOP 0, all tags valid. Comes after whatever can fault.
    fn mmx_enter(&mut self);
    /// Sets TOP to 0 before an MMX store, which processors do even if it faults. Only the interpreter needs to: a translator
    /// leaves a faulting instruction to it.
    fn mmx_top(&mut self) {}
    fn get_mm(&mut self, n: u8) -> Self::V;
    /// Writes an MMX register; its exponent and sign become all ones.
    fn set_mm(&mut self, n: u8, v: Self::V);
}
