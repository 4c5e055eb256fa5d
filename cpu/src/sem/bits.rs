//! Single bits and bit fields: BT and friends, bit scans, BMI1, BMI2.  SDM 2.

use super::arith::set_flag;
use super::operand::{address, read, write};
use crate::{Flag, Insn, Op1, Op2, Opnd, Res, Sem, Width};

/// What a bit test does to the bit.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Leave,
    Set,
    Clear,
    Flip,
}

#[inline(always)]
fn change<S: Sem>(s: &mut S, w: Width, a: S::V, n: S::V, then: Then) -> S::V {
    let one = s.imm(1);
    let m = s.op2(Op2::Shl, w, one, n);
    match then {
        Then::Leave => a,
        Then::Set => s.op2(Op2::Or, w, a, m),
        Then::Clear => s.op2(Op2::AndNot, w, a, m),
        Then::Flip => s.op2(Op2::Xor, w, a, m),
    }
}

/// BT, BTS, BTR, BTC. With memory and a register, the register's upper bits move the address.
#[inline(always)]
fn test<S: Sem>(s: &mut S, i: &Insn, then: Then) -> Res<S> {
    let w = i.w;
    let n = read(s, i, 1)?;
    let limit = s.imm(w.bits() as u64 - 1);
    let low = s.op2(Op2::And, w, n, limit);
    let mut old = low;
    if i.op[0] == Opnd::Mem {
        let mut at = address(s, i);
        if i.op[1] != Opnd::Imm {
            let wide = s.op1(Op1::Sext(w), Width::W64, n);
            let log = s.imm(w.bits().trailing_zeros() as u64);
            let units = s.op2(Op2::Sar, Width::W64, wide, log);
            let log = s.imm(w.bytes().trailing_zeros() as u64);
            let bytes = s.op2(Op2::Shl, Width::W64, units, log);
            at = s.op2(Op2::Add, i.aw, at, bytes);
        }
        if then == Then::Leave {
            old = s.load(i.seg, w, at)?;
        } else {
            s.rmw(i.seg, w, at, i.lock(), |s, a| {
                old = a;
                Ok(change(s, w, a, low, then))
            })?;
        }
    } else {
        old = read(s, i, 0)?;
        if then != Then::Leave {
            let r = change(s, w, old, low, then);
            write(s, i, 0, r)?;
        }
    }
    let (v, one) = (s.op2(Op2::Shr, w, old, low), s.imm(1));
    let v = s.op2(Op2::And, Width::W64, v, one);
    set_flag(s, Flag::Cf, v);
    Ok(())
}
#[inline(always)]
pub fn bt<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    test(s, i, Then::Leave)
}
#[inline(always)]
pub fn bts<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    test(s, i, Then::Set)
}
#[inline(always)]
pub fn btr<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    test(s, i, Then::Clear)
}
#[inline(always)]
pub fn btc<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    test(s, i, Then::Flip)
}

/// The six flags out of those given; the others are zero.
#[inline(always)]
fn only<S: Sem>(s: &mut S, parts: &[(Flag, S::V)]) {
    let mut all = s.imm(0);
    for &(f, v) in parts {
        let n = s.imm(f.bit() as u64);
        let v = s.op2(Op2::Shl, Width::W64, v, n);
        all = s.op2(Op2::Or, Width::W64, all, v);
    }
    s.set_status(all);
}
#[inline(always)]
fn is_zero<S: Sem>(s: &mut S, w: Width, v: S::V) -> S::V {
    let zero = s.imm(0);
    s.op2(Op2::Eq, w, v, zero)
}
#[inline(always)]
fn sign<S: Sem>(s: &mut S, w: Width, v: S::V) -> S::V {
    let (n, one) = (s.imm(w.bits() as u64 - 1), s.imm(1));
    let v = s.op2(Op2::Shr, w, v, n);
    s.op2(Op2::And, Width::W64, v, one)
}

/// BSF and BSR: a source of zero leaves the destination; ZF says so. The other flags are undefined.
#[inline(always)]
fn scan<S: Sem>(s: &mut S, i: &Insn, up: bool) -> Res<S> {
    let w = i.w;
    let (v, old) = (read(s, i, 1)?, read(s, i, 0)?);
    let n = if up {
        s.op1(Op1::Ctz, w, v)
    } else {
        let (n, top) = (s.op1(Op1::Clz, w, v), s.imm(w.bits() as u64 - 1));
        s.op2(Op2::Sub, w, top, n)
    };
    // A 32-bit destination keeps even its upper half when the source is zero.
    let z = is_zero(s, w, v);
    if w == Width::W32 {
        let Opnd::Gpr(r) = i.op[0] else { return Ok(()) };
        let whole = s.get(crate::Var::Gpr(r));
        let r64 = s.pick(v, n, whole);
        s.set(crate::Var::Gpr(r), r64);
    } else {
        let r = s.pick(v, n, old);
        write(s, i, 0, r)?;
    }
    only(s, &[(Flag::Zf, z)]);
    Ok(())
}
#[inline(always)]
pub fn bsf<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    scan(s, i, true)
}
#[inline(always)]
pub fn bsr<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    scan(s, i, false)
}

/// LZCNT and TZCNT: CF for a source of zero, ZF for a result of zero.
#[inline(always)]
fn zeroes<S: Sem>(s: &mut S, i: &Insn, op: Op1) -> Res<S> {
    let w = i.w;
    let v = read(s, i, 1)?;
    let r = s.op1(op, w, v);
    write(s, i, 0, r)?;
    let (c, z) = (is_zero(s, w, v), is_zero(s, w, r));
    only(s, &[(Flag::Cf, c), (Flag::Zf, z)]);
    Ok(())
}
#[inline(always)]
pub fn lzcnt<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    zeroes(s, i, Op1::Clz)
}
#[inline(always)]
pub fn tzcnt<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    zeroes(s, i, Op1::Ctz)
}
#[inline(always)]
pub fn popcnt<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    let v = read(s, i, 1)?;
    let r = s.op1(Op1::Popcnt, i.w, v);
    write(s, i, 0, r)?;
    let z = is_zero(s, i.w, v);
    only(s, &[(Flag::Zf, z)]);
    Ok(())
}

/// ANDN.
#[inline(always)]
pub fn andn<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    let (a, b) = (read(s, i, 1)?, read(s, i, 2)?);
    let r = s.op2(Op2::AndNot, i.w, b, a);
    write(s, i, 0, r)?;
    s.flags(crate::FlagKind::Logic, i.w, a, b, r);
    Ok(())
}

/// BLSI, BLSMSK, BLSR: operations on `v` and `v - 1`. CF says whether the source is zero (BLSI: is not).
#[inline(always)]
fn lowest<S: Sem>(
    s: &mut S,
    i: &Insn,
    f: impl Fn(&mut S, S::V, S::V) -> S::V,
    not_zero: bool,
) -> Res<S> {
    let w = i.w;
    let (v, one) = (read(s, i, 1)?, s.imm(1));
    let less = s.op2(Op2::Sub, w, v, one);
    let r = f(s, v, less);
    write(s, i, 0, r)?;
    let mut c = is_zero(s, w, v);
    if not_zero {
        c = s.op2(Op2::Xor, Width::W64, c, one);
    }
    let (z, n) = (is_zero(s, w, r), sign(s, w, r));
    only(s, &[(Flag::Cf, c), (Flag::Zf, z), (Flag::Sf, n)]);
    Ok(())
}
#[inline(always)]
pub fn blsi<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    lowest(s, i, |s, v, less| s.op2(Op2::AndNot, i.w, v, less), true)
}
#[inline(always)]
pub fn blsmsk<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    lowest(s, i, |s, v, less| s.op2(Op2::Xor, i.w, v, less), false)
}
#[inline(always)]
pub fn blsr<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    lowest(s, i, |s, v, less| s.op2(Op2::And, i.w, v, less), false)
}

/// BEXTR: a field by start (bits 0-7 of the control) and length (bits 8-15).
#[inline(always)]
pub fn bextr<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    let w = i.w;
    let (v, c) = (read(s, i, 1)?, read(s, i, 2)?);
    let (ff, eight) = (s.imm(0xff), s.imm(8));
    let start = s.op2(Op2::And, Width::W64, c, ff);
    let len = s.op2(Op2::Shr, Width::W64, c, eight);
    let len = s.op2(Op2::And, Width::W64, len, ff);
    let v = s.op2(Op2::Shr, w, v, start);
    let r = low_bits(s, w, v, len);
    write(s, i, 0, r)?;
    let z = is_zero(s, w, r);
    only(s, &[(Flag::Zf, z)]);
    Ok(())
}
/// The low `n` bits of `v`; all for `n` beyond the width.
#[inline(always)]
fn low_bits<S: Sem>(s: &mut S, w: Width, v: S::V, n: S::V) -> S::V {
    let all = s.imm(w.mask());
    let m = s.op2(Op2::Shl, w, all, n);
    s.op2(Op2::AndNot, w, v, m)
}
/// BZHI: zeroes the bits from an index on; CF if the index is beyond the width.
#[inline(always)]
pub fn bzhi<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    let w = i.w;
    let (v, c, ff) = (read(s, i, 1)?, read(s, i, 2)?, s.imm(0xff));
    let n = s.op2(Op2::And, Width::W64, c, ff);
    let r = low_bits(s, w, v, n);
    write(s, i, 0, r)?;
    let last = s.imm(w.bits() as u64 - 1);
    let cf = s.op2(Op2::Ltu, Width::W64, last, n);
    let (z, g) = (is_zero(s, w, r), sign(s, w, r));
    only(s, &[(Flag::Cf, cf), (Flag::Zf, z), (Flag::Sf, g)]);
    Ok(())
}
