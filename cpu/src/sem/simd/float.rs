//! Floating-point arithmetic of SSE and AVX.  SDM 1, chapters 10, 11 and 14.

use super::{first, packed, read, sources, write, write_merged};
use crate::vector::{F1, F2, Fmt, Form, Vector};
use crate::{Insn, Opnd, Res};
use F2::{Add, AddSub, Div, HAdd, HSub, Max, Min, Mul, Sub};
use Fmt::{F32, F64};

/// Two sources. The rest of a scalar result is that of the first.
#[inline(always)]
fn two<S: Vector>(s: &mut S, i: &Insn, op: F2, fmt: Fmt, form: Form) -> Res<S> {
    let (a, b) = sources(s, i)?;
    let r = s.f2(op, fmt, form, a, b)?;
    write(s, i, r);
    Ok(())
}

macro_rules! float { ($($($name:ident = $op:ident $fmt:ident $scalar:tt),*;)*) => {$($(
    #[inline(always)]
    pub fn $name<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
        two(s, i, $op, $fmt, form!($scalar i))
    }
)*)*}}
macro_rules! form {
    (p $i:ident) => {
        packed($i)
    };
    (s $i:ident) => {
        Form::Scalar
    };
}
float! {
    addps = Add F32 p, addpd = Add F64 p, addss = Add F32 s, addsd = Add F64 s;
    subps = Sub F32 p, subpd = Sub F64 p, subss = Sub F32 s, subsd = Sub F64 s;
    mulps = Mul F32 p, mulpd = Mul F64 p, mulss = Mul F32 s, mulsd = Mul F64 s;
    divps = Div F32 p, divpd = Div F64 p, divss = Div F32 s, divsd = Div F64 s;
    minps = Min F32 p, minpd = Min F64 p, minss = Min F32 s, minsd = Min F64 s;
    maxps = Max F32 p, maxpd = Max F64 p, maxss = Max F32 s, maxsd = Max F64 s;
    addsubps = AddSub F32 p, addsubpd = AddSub F64 p;
    haddps = HAdd F32 p, haddpd = HAdd F64 p;
    hsubps = HSub F32 p, hsubpd = HSub F64 p;
}

/// Comparisons: SSE encodings know eight predicates, VEX encodings 32.
macro_rules! compare { ($($name:ident = $fmt:ident $scalar:tt;)*) => {$(
    #[inline(always)]
    pub fn $name<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
        let p = i.imm as u8 & if i.vex() { 31 } else { 7 };
        two(s, i, F2::Cmp(p), $fmt, form!($scalar i))
    }
)*}}
compare! {
    cmpps = F32 p;
    cmppd = F64 p;
    cmpss = F32 s;
    cmpsd_vector = F64 s;
}

/// CMPSD of vector registers; the string instruction shares the mnemonic.
#[inline(always)]
pub fn cmpsd<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    if !i.op.iter().any(|o| matches!(o, Opnd::Xmm(_))) {
        return s.big(crate::big::string::cmps, i);
    }
    cmpsd_vector(s, i)
}

/// DPPS.
#[inline(always)]
pub fn dpps<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    two(s, i, F2::Dot(i.imm as u8), F32, packed(i))
}
/// DPPD.
#[inline(always)]
pub fn dppd<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    two(s, i, F2::Dot(i.imm as u8), F64, packed(i))
}

/// One source. A scalar result goes into a copy of the first operand's register.
#[inline(always)]
fn one<S: Vector>(s: &mut S, i: &Insn, op: F1, fmt: Fmt, form: Form) -> Res<S> {
    if form == Form::Scalar {
        let a = read(s, i, first(i) + 1)?;
        let r = s.f1(op, fmt, form, a)?;
        return write_merged(s, i, fmt.lane().bytes(), r[0]);
    }
    let a = read(s, i, 1)?;
    let r = s.f1(op, fmt, form, a)?;
    write(s, i, r);
    Ok(())
}

macro_rules! unary { ($($name:ident = $op:expr, $fmt:ident $scalar:tt;)*) => {$(
    #[inline(always)]
    pub fn $name<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
        one(s, i, $op, $fmt, form!($scalar i))
    }
)*}}
unary! {
    sqrtps = F1::Sqrt, F32 p;
    sqrtpd = F1::Sqrt, F64 p;
    sqrtss = F1::Sqrt, F32 s;
    sqrtsd = F1::Sqrt, F64 s;
    rcpps = F1::Rcp, F32 p;
    rcpss = F1::Rcp, F32 s;
    rsqrtps = F1::Rsqrt, F32 p;
    rsqrtss = F1::Rsqrt, F32 s;
}
macro_rules! round { ($($name:ident = $fmt:ident $scalar:tt;)*) => {$(
    #[inline(always)]
    pub fn $name<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
        one(s, i, F1::Round(i.imm as u8), $fmt, form!($scalar i))
    }
)*}}
round! {
    roundps = F32 p;
    roundpd = F64 p;
    roundss = F32 s;
    roundsd = F64 s;
}

/// COMISS, COMISD, UCOMISS, UCOMISD.
macro_rules! comi { ($($name:ident = $fmt:ident $quiet:literal;)*) => {$(
    #[inline(always)]
    pub fn $name<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
        let b = read(s, i, 1)?[0];
        let a = read(s, i, 0)?[0];
        let f = s.fcomi($fmt, $quiet, a, b)?;
        s.set_status(f);
        Ok(())
    }
)*}}
comi! {
    comiss = F32 false;
    comisd = F64 false;
    ucomiss = F32 true;
    ucomisd = F64 true;
}
