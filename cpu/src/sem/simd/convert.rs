//! Conversions between integers and formats.  SDM 1, 11.6.3 and 14.4.

use super::{first, packed, read, read_mm, write, write_low, write_merged, write_mm};
use crate::sem::operand;
use crate::vector::{Conv, Fmt, Form, Lane, Vector};
use crate::{Insn, Opnd, Res};
use Fmt::{F32, F64};

/// To lanes of the same size or larger.
macro_rules! packed_to { ($($name:ident = $op:expr;)*) => {$(
    #[inline(always)]
    pub fn $name<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
        let a = read(s, i, 1)?;
        let r = s.convert($op, packed(i), a)?;
        write(s, i, r);
        Ok(())
    }
)*}}
packed_to! {
    cvtdq2ps = Conv::I32ToF32;
    cvtdq2pd = Conv::I32ToF64;
    cvtps2dq = Conv::F32ToI32 { trunc: false };
    cvttps2dq = Conv::F32ToI32 { trunc: true };
    cvtps2pd = Conv::F32ToF64;
    vcvtph2ps = Conv::F16ToF32;
}

/// To smaller lanes: the result is one half.
macro_rules! narrow { ($($name:ident = $op:expr;)*) => {$(
    #[inline(always)]
    pub fn $name<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
        let a = read(s, i, 1)?;
        let r = s.convert($op, packed(i), a)?;
        write_low(s, i, r[0]);
        Ok(())
    }
)*}}
narrow! {
    cvtpd2dq = Conv::F64ToI32 { trunc: false };
    cvttpd2dq = Conv::F64ToI32 { trunc: true };
    cvtpd2ps = Conv::F64ToF32;
}

/// VCVTPS2PH, whose destination may be memory.
#[inline(always)]
pub fn vcvtps2ph<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    let a = read(s, i, 1)?;
    let wide = matches!(i.op[1], Opnd::Xmm(_)) && i.wide();
    let form = if wide { Form::Y } else { Form::X };
    let r = s.convert(Conv::F32ToF16(i.imm as u8), form, a)?[0];
    if i.op[0] != Opnd::Mem {
        write_low(s, i, r);
        return Ok(());
    }
    let at = operand::address(s, i);
    if wide {
        s.store_x(i.seg, at, r, false)
    } else {
        let v = s.extract(Lane::Q, 0, r);
        s.store(i.seg, crate::Width::W64, at, v)
    }
}

/// CVTSS2SD.
#[inline(always)]
pub fn cvtss2sd<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    let a = read(s, i, first(i) + 1)?;
    let r = s.convert(Conv::F32ToF64, Form::Scalar, a)?;
    write_merged(s, i, 8, r[0])
}
/// CVTSD2SS.
#[inline(always)]
pub fn cvtsd2ss<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    let a = read(s, i, first(i) + 1)?;
    let r = s.convert(Conv::F64ToF32, Form::Scalar, a)?;
    write_merged(s, i, 4, r[0])
}

/// From a general register or memory.
macro_rules! from_int { ($($name:ident = $fmt:ident;)*) => {$(
    #[inline(always)]
    pub fn $name<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
        let k = first(i) + 1;
        let v = operand::read(s, i, k)?;
        let r = s.from_int($fmt, i.ow[k], v)?;
        write_merged(s, i, $fmt.lane().bytes(), r)
    }
)*}}
from_int! { cvtsi2ss = F32; cvtsi2sd = F64; }

/// To a general register.
macro_rules! to_int { ($($name:ident = $fmt:ident $trunc:literal;)*) => {$(
    #[inline(always)]
    pub fn $name<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
        let a = read(s, i, 1)?[0];
        let v = s.to_int($fmt, i.ow[0], $trunc, a)?;
        operand::write(s, i, 0, v)
    }
)*}}
to_int! {
    cvtss2si = F32 false; cvttss2si = F32 true;
    cvtsd2si = F64 false; cvttsd2si = F64 true;
}

/// CVTPI2PS: two integers of an MMX register or memory into the low half.
#[inline(always)]
pub fn cvtpi2ps<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    let a = from_mm(s, i)?;
    let r = s.convert(Conv::I32ToF32, Form::X, [a, a])?[0];
    write_merged(s, i, 8, r)
}
/// CVTPI2PD.
#[inline(always)]
pub fn cvtpi2pd<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    let a = from_mm(s, i)?;
    let r = s.convert(Conv::I32ToF64, Form::X, [a, a])?;
    write(s, i, r);
    Ok(())
}
/// The MMX register or the memory operand, zero above. Memory leaves the x87 unit alone.  SDM 2, CVTPI2PD.
#[inline(always)]
fn from_mm<S: Vector>(s: &mut S, i: &Insn) -> Result<S::X, S::Fault> {
    if i.op[1] != Opnd::Mem {
        s.mmx_check()?;
    }
    let v = read_mm(s, i, 1)?;
    if i.op[1] != Opnd::Mem {
        s.mmx_enter();
    }
    Ok(s.scalar(Lane::Q, v))
}

/// CVTPS2PI, CVTTPS2PI, CVTPD2PI, CVTTPD2PI: two lanes to an MMX register.
macro_rules! to_mm { ($($name:ident = $op:expr;)*) => {$(
    #[inline(always)]
    pub fn $name<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
        s.mmx_check()?;
        let mut a = read(s, i, 1)?[0];
        // Processors do this even if the conversion then faults; once more does no harm.
        s.mmx_enter();
        if matches!($op, Conv::F32ToI32 { .. }) {
            // The upper lanes take no part, so they must raise nothing.
            let v = s.extract(Lane::Q, 0, a);
            a = s.scalar(Lane::Q, v);
        }
        let r = s.convert($op, Form::X, [a, a])?;
        write_mm(s, i, 0, r[0]);
        Ok(())
    }
)*}}
to_mm! {
    cvtps2pi = Conv::F32ToI32 { trunc: false };
    cvttps2pi = Conv::F32ToI32 { trunc: true };
    cvtpd2pi = Conv::F64ToI32 { trunc: false };
    cvttpd2pi = Conv::F64ToI32 { trunc: true };
}
