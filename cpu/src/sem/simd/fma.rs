//! Fused multiply-add.  SDM 2, VFMADD132PD and relatives.

use super::{packed, read, write};
use crate::vector::{F3, Fmt, Form, Vector};
use crate::{Insn, Res};

/// The digits of the mnemonic say which operands are multiplied, and which one is added.
#[inline(always)]
fn fma<S: Vector>(s: &mut S, i: &Insn, order: u32, op: F3, fmt: Fmt, form: Form) -> Res<S> {
    let z = read(s, i, 2)?;
    let (x, y) = (read(s, i, 0)?, read(s, i, 1)?);
    let (a, b, c) = match order {
        132 => (x, z, y),
        213 => (y, x, z),
        _ => (y, z, x),
    };
    let r = s.f3(op, fmt, form, a, b, c)?;
    if form != Form::Scalar {
        write(s, i, r);
        return Ok(());
    }
    // The rest stays that of the destination, which is not the first source of the product in all orders.
    let from =
        std::array::from_fn(
            |n| {
                if (n as u8) < fmt.lane().bytes() { 16 + n as u8 } else { n as u8 }
            },
        );
    let v = s.shuffle(x[0], r[0], from);
    write(s, i, [v, v]);
    Ok(())
}

macro_rules! orders { ($($name:ident = $order:literal $op:ident $fmt:ident $form:expr;)*) => {$(
    #[inline(always)]
    pub fn $name<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
        fma(s, i, $order, F3::$op, Fmt::$fmt, $form(i))
    }
)*}}
#[inline(always)]
fn scalar(_: &Insn) -> Form {
    Form::Scalar
}
#[rustfmt::skip]
orders! {
    vfmadd132ps = 132 MulAdd F32 packed;
    vfmadd132pd = 132 MulAdd F64 packed;
    vfmadd132ss = 132 MulAdd F32 scalar;
    vfmadd132sd = 132 MulAdd F64 scalar;
    vfmadd213ps = 213 MulAdd F32 packed;
    vfmadd213pd = 213 MulAdd F64 packed;
    vfmadd213ss = 213 MulAdd F32 scalar;
    vfmadd213sd = 213 MulAdd F64 scalar;
    vfmadd231ps = 231 MulAdd F32 packed;
    vfmadd231pd = 231 MulAdd F64 packed;
    vfmadd231ss = 231 MulAdd F32 scalar;
    vfmadd231sd = 231 MulAdd F64 scalar;
    vfmsub132ps = 132 MulSub F32 packed;
    vfmsub132pd = 132 MulSub F64 packed;
    vfmsub132ss = 132 MulSub F32 scalar;
    vfmsub132sd = 132 MulSub F64 scalar;
    vfmsub213ps = 213 MulSub F32 packed;
    vfmsub213pd = 213 MulSub F64 packed;
    vfmsub213ss = 213 MulSub F32 scalar;
    vfmsub213sd = 213 MulSub F64 scalar;
    vfmsub231ps = 231 MulSub F32 packed;
    vfmsub231pd = 231 MulSub F64 packed;
    vfmsub231ss = 231 MulSub F32 scalar;
    vfmsub231sd = 231 MulSub F64 scalar;
    vfnmadd132ps = 132 NegMulAdd F32 packed;
    vfnmadd132pd = 132 NegMulAdd F64 packed;
    vfnmadd132ss = 132 NegMulAdd F32 scalar;
    vfnmadd132sd = 132 NegMulAdd F64 scalar;
    vfnmadd213ps = 213 NegMulAdd F32 packed;
    vfnmadd213pd = 213 NegMulAdd F64 packed;
    vfnmadd213ss = 213 NegMulAdd F32 scalar;
    vfnmadd213sd = 213 NegMulAdd F64 scalar;
    vfnmadd231ps = 231 NegMulAdd F32 packed;
    vfnmadd231pd = 231 NegMulAdd F64 packed;
    vfnmadd231ss = 231 NegMulAdd F32 scalar;
    vfnmadd231sd = 231 NegMulAdd F64 scalar;
    vfnmsub132ps = 132 NegMulSub F32 packed;
    vfnmsub132pd = 132 NegMulSub F64 packed;
    vfnmsub132ss = 132 NegMulSub F32 scalar;
    vfnmsub132sd = 132 NegMulSub F64 scalar;
    vfnmsub213ps = 213 NegMulSub F32 packed;
    vfnmsub213pd = 213 NegMulSub F64 packed;
    vfnmsub213ss = 213 NegMulSub F32 scalar;
    vfnmsub213sd = 213 NegMulSub F64 scalar;
    vfnmsub231ps = 231 NegMulSub F32 packed;
    vfnmsub231pd = 231 NegMulSub F64 packed;
    vfnmsub231ss = 231 NegMulSub F32 scalar;
    vfnmsub231sd = 231 NegMulSub F64 scalar;
    vfmaddsub132ps = 132 MulAddSub F32 packed;
    vfmaddsub132pd = 132 MulAddSub F64 packed;
    vfmaddsub213ps = 213 MulAddSub F32 packed;
    vfmaddsub213pd = 213 MulAddSub F64 packed;
    vfmaddsub231ps = 231 MulAddSub F32 packed;
    vfmaddsub231pd = 231 MulAddSub F64 packed;
    vfmsubadd132ps = 132 MulSubAdd F32 packed;
    vfmsubadd132pd = 132 MulSubAdd F64 packed;
    vfmsubadd213ps = 213 MulSubAdd F32 packed;
    vfmsubadd213pd = 213 MulSubAdd F64 packed;
    vfmsubadd231ps = 231 MulSubAdd F32 packed;
    vfmsubadd231pd = 231 MulSubAdd F64 packed;
}
