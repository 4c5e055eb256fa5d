//! Shifts and rotates.  SDM 2, SAL/SAR/SHL/SHR, RCL/RCR/ROL/ROR, SHLD, SHRD, SARX/SHLX/SHRX, RORX.

use super::arith::set_flag;
use super::operand::{read, update, write};
use crate::{Flag, FlagKind, Insn, Op1, Op2, Opnd, Res, Sem, Width};

/// The count as the instruction masks it: to 6 bits for 64-bit operands, else to 5.
#[inline(always)]
fn count<S: Sem>(s: &mut S, i: &Insn, n: usize) -> Result<S::V, S::Fault> {
    let limit = if i.w == Width::W64 { 63 } else { 31 };
    if i.op[n] == Opnd::Imm {
        return Ok(s.imm(i.imm as u64 & limit));
    }
    let c = read(s, i, n)?;
    let limit = s.imm(limit);
    Ok(s.op2(Op2::And, Width::W64, c, limit))
}
/// The count, if it is known while decoding.
#[inline(always)]
fn fixed(i: &Insn, n: usize) -> Option<u64> {
    (i.op[n] == Opnd::Imm).then_some(i.imm as u64 & if i.w == Width::W64 { 63 } else { 31 })
}

/// A shift of operand 0 by the count in operand `n`. `compute` gives the result of a count (zero included, which must change
/// nothing) and whatever `note` needs to set the flags; a count of zero leaves them.
#[inline(always)]
fn counted<S: Sem, T: Copy>(
    s: &mut S,
    i: &Insn,
    n: usize,
    compute: impl FnOnce(&mut S, S::V, S::V) -> (S::V, T),
    note: impl FnOnce(&mut S, T, S::V) -> Res<S>,
) -> Res<S> {
    let c = count(s, i, n)?;
    let mut saved = None;
    update(s, i, 0, |s, a| {
        let (r, extra) = compute(s, a, c);
        saved = Some(extra);
        Ok(r)
    })?;
    match (saved, fixed(i, n)) {
        (None, _) | (_, Some(0)) => Ok(()),
        (Some(extra), Some(_)) => note(s, extra, c),
        (Some(extra), None) => s.when(c, |s| note(s, extra, c)),
    }
}

macro_rules! shifts { ($($name:ident = $op:ident, $kind:ident;)*) => {$(
    #[inline(always)]
    pub fn $name<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
        let w = i.w;
        counted(
            s,
            i,
            1,
            |s, a, c| {
                let r = s.op2(Op2::$op, w, a, c);
                (r, (a, r))
            },
            |s, (a, r), c| {
                s.flags(FlagKind::$kind, w, a, c, r);
                Ok(())
            },
        )
    }
)*}}
shifts! {
    shl = Shl, Shl;
    shr = Shr, Shr;
    sar = Sar, Sar;
}

/// ROL and ROR: only CF and (for a count of one) OF change.
#[inline(always)]
fn rotate<S: Sem>(s: &mut S, i: &Insn, left: bool) -> Res<S> {
    let w = i.w;
    counted(
        s,
        i,
        1,
        |s, a, c| {
            let r = s.op2(if left { Op2::Rol } else { Op2::Ror }, w, a, c);
            (r, r)
        },
        |s, r, _| {
            s.turned(left, w, r);
            Ok(())
        },
    )
}
/// See [`Sem::turned`].
#[inline(always)]
pub fn turned<S: Sem>(s: &mut S, left: bool, w: Width, r: S::V) {
    let top = bit(s, w, r, w.bits() as u64 - 1);
    let (cf, other) = match left {
        true => (bit(s, w, r, 0), top),
        false => (top, bit(s, w, r, w.bits() as u64 - 2)),
    };
    let of = s.op2(Op2::Xor, Width::W64, cf, other);
    set_cf_of(s, cf, of);
}
#[inline(always)]
pub fn rol<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    rotate(s, i, true)
}
#[inline(always)]
pub fn ror<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    rotate(s, i, false)
}

/// Bit `n` of `v`.
#[inline(always)]
fn bit<S: Sem>(s: &mut S, w: Width, v: S::V, n: u64) -> S::V {
    let (n, one) = (s.imm(n), s.imm(1));
    let v = s.op2(Op2::Shr, w, v, n);
    s.op2(Op2::And, Width::W64, v, one)
}
#[inline(always)]
fn set_cf_of<S: Sem>(s: &mut S, cf: S::V, of: S::V) {
    let eleven = s.imm(11);
    let of = s.op2(Op2::Shl, Width::W64, of, eleven);
    let both = s.op2(Op2::Or, Width::W64, of, cf);
    s.patch_flags(crate::flags::CF | crate::flags::OF, both);
}

/// RCL and RCR: a rotate through CF, of one bit more than the width.
#[inline(always)]
fn rotate_carry<S: Sem>(s: &mut S, i: &Insn, left: bool) -> Res<S> {
    let (w, bits) = (i.w, i.w.bits() as u64);
    let cf = s.flag(Flag::Cf);
    counted(
        s,
        i,
        1,
        |s, a, c| {
            let c = modulo(s, w, c);
            let (one, full) = (s.imm(1), s.imm(bits));
            let less = s.op2(Op2::Sub, Width::W64, c, one);
            let back = s.op2(Op2::Sub, Width::W64, full, c);
            let back1 = s.op2(Op2::Add, Width::W64, back, one);
            let (ahead, behind) = if left { (Op2::Shl, Op2::Shr) } else { (Op2::Shr, Op2::Shl) };
            let (x, y) = (s.op2(ahead, w, a, c), s.op2(behind, w, a, back1));
            let mid = s.op2(Op2::Shl, w, cf, if left { less } else { back });
            let out = s.op2(Op2::Shr, w, a, if left { back } else { less });
            let r = s.op2(Op2::Or, w, x, y);
            let r = s.op2(Op2::Or, w, r, mid);
            let out = s.op2(Op2::And, Width::W64, out, one);
            // A count that is zero after the modulus leaves everything.
            let (r, out) = (s.pick(c, r, a), s.pick(c, out, cf));
            (r, (r, out))
        },
        |s, (r, out), _| {
            let top = bit(s, w, r, bits - 1);
            let other = if left { out } else { bit(s, w, r, bits - 2) };
            let of = s.op2(Op2::Xor, Width::W64, top, other);
            set_cf_of(s, out, of);
            Ok(())
        },
    )
}
/// The count of RCL and RCR modulo width + 1, for the widths where the mask does not see to it.
#[inline(always)]
fn modulo<S: Sem>(s: &mut S, w: Width, c: S::V) -> S::V {
    let n = match w {
        Width::W8 => 9,
        Width::W16 => 17,
        _ => return c,
    };
    let mut c = c;
    for k in [2, 1, 1] {
        // 31 = 3 * 9 + 4 = 17 + 14: three subtractions are enough.
        let m = s.imm(n * k);
        let (less, d) = (s.op2(Op2::Ltu, Width::W64, c, m), s.op2(Op2::Sub, Width::W64, c, m));
        c = s.pick(less, c, d);
    }
    c
}
#[inline(always)]
pub fn rcl<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    rotate_carry(s, i, true)
}
#[inline(always)]
pub fn rcr<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    rotate_carry(s, i, false)
}

/// SHLD and SHRD. With 16-bit operands and counts above 16 the bits come round again, as hardware does it.
#[inline(always)]
fn double<S: Sem>(s: &mut S, i: &Insn, left: bool) -> Res<S> {
    let (w, bits) = (i.w, i.w.bits() as u64);
    let b = read(s, i, 1)?;
    counted(
        s,
        i,
        2,
        |s, a, c| {
            let full = s.imm(bits);
            let (ahead, behind) = if left { (Op2::Shl, Op2::Shr) } else { (Op2::Shr, Op2::Shl) };
            let back = s.op2(Op2::Sub, Width::W64, full, c);
            let (x, y) = (s.op2(ahead, w, a, c), s.op2(behind, w, b, back));
            let mut r = s.op2(Op2::Or, w, x, y);
            if w == Width::W16 {
                let big = s.op2(Op2::Ltu, Width::W64, full, c);
                let over = s.op2(Op2::Sub, Width::W64, c, full);
                let two = s.op2(Op2::Add, Width::W64, full, back);
                let (x, y) = (s.op2(ahead, w, b, over), s.op2(behind, w, a, two));
                let round = s.op2(Op2::Or, w, x, y);
                r = s.pick(big, round, r);
            }
            (r, (a, r))
        },
        |s, (a, r), c| {
            s.flags(if left { FlagKind::Shl } else { FlagKind::Shr }, w, a, c, r);
            if !left {
                // OF is the change of sign; a plain right shift knows only of zeroes coming in.
                let x = s.op2(Op2::Xor, w, a, r);
                let of = bit(s, w, x, bits - 1);
                set_flag(s, Flag::Of, of);
            }
            Ok(())
        },
    )
}
#[inline(always)]
pub fn shld<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    double(s, i, true)
}
#[inline(always)]
pub fn shrd<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    double(s, i, false)
}

/// SARX, SHLX, SHRX: no flags.
#[inline(always)]
fn shift_x<S: Sem>(s: &mut S, i: &Insn, op: Op2) -> Res<S> {
    let (a, c) = (read(s, i, 1)?, count(s, i, 2)?);
    let r = s.op2(op, i.w, a, c);
    write(s, i, 0, r)
}
#[inline(always)]
pub fn sarx<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    shift_x(s, i, Op2::Sar)
}
#[inline(always)]
pub fn shlx<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    shift_x(s, i, Op2::Shl)
}
#[inline(always)]
pub fn shrx<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    shift_x(s, i, Op2::Shr)
}
#[inline(always)]
pub fn rorx<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    let a = read(s, i, 1)?;
    let c = s.imm(i.imm as u64 & (i.w.bits() as u64 - 1));
    let r = s.op2(Op2::Ror, i.w, a, c);
    let r = s.op1(Op1::Zext, i.w, r);
    write(s, i, 0, r)
}
