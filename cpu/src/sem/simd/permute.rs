//! AVX moves across and between 128-bit halves.

use super::shuffle::by_lanes;
use super::{one, read, two, write, write_low};
use crate::sem::operand;
use crate::vector::{Lane, Vector, X2, X3};
use crate::{Insn, Opnd, Res};
use Lane::Q;

/// VPERMILPS: by immediate or by the lanes of the second source.
#[inline(always)]
pub fn vpermilps<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    if i.op[2] == Opnd::Imm {
        return super::shuffle::pshufd(s, i);
    }
    two(s, i, |s, _, a, b| s.x2(X2::PickD, a, b))
}
/// VPERMILPD.
#[inline(always)]
pub fn vpermilpd<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    if i.op[2] == Opnd::Imm {
        return one(s, i, |s, half, a| {
            let imm = i.imm as u8 >> (2 * half);
            s.shuffle(a, a, by_lanes(Q, |n| imm >> n & 1))
        });
    }
    two(s, i, |s, _, a, b| s.x2(X2::PickQ, a, b))
}
/// VPERMQ, VPERMPD: any 64-bit lane of the 256 bits to any.
#[inline(always)]
pub fn vpermq<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    let a = read(s, i, 1)?;
    let from = |half: u8| by_lanes(Q, |n| i.imm as u8 >> (4 * half + 2 * n) & 3);
    let lo = s.shuffle(a[0], a[1], from(0));
    let hi = s.shuffle(a[0], a[1], from(1));
    write(s, i, [lo, hi]);
    Ok(())
}
/// VPERMD, VPERMPS: the first source has the lane numbers.
#[inline(always)]
pub fn vpermd<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    let from = read(s, i, 2)?;
    let n = read(s, i, 1)?;
    let lo = s.x3(X3::PickD, from[0], from[1], n[0]);
    let hi = s.x3(X3::PickD, from[0], from[1], n[1]);
    write(s, i, [lo, hi]);
    Ok(())
}
/// VPERM2F128, VPERM2I128: each half is one of the four, or zero.
#[inline(always)]
pub fn vperm2x128<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    let b = read(s, i, 2)?;
    let a = read(s, i, 1)?;
    let zero = s.imm_x(0);
    let pick = |imm: u8| match (imm & 8, imm & 3) {
        (0, n) => [a, b][n as usize >> 1][n as usize & 1],
        _ => zero,
    };
    let imm = i.imm as u8;
    write(s, i, [pick(imm), pick(imm >> 4)]);
    Ok(())
}
/// VINSERTF128, VINSERTI128.
#[inline(always)]
pub fn vinsertx128<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    let b = read(s, i, 2)?[0];
    let a = read(s, i, 1)?;
    write(s, i, if i.imm & 1 == 0 { [b, a[1]] } else { [a[0], b] });
    Ok(())
}
/// VEXTRACTF128, VEXTRACTI128.
#[inline(always)]
pub fn vextractx128<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    let a = read(s, i, 1)?[i.imm as usize & 1];
    if i.op[0] == Opnd::Mem {
        let at = operand::address(s, i);
        return s.store_x(i.seg, at, a, false);
    }
    write_low(s, i, a);
    Ok(())
}
/// VBROADCASTF128, VBROADCASTI128.
#[inline(always)]
pub fn vbroadcastx128<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    let a = read(s, i, 1)?[0];
    write(s, i, [a, a]);
    Ok(())
}
