//! Carries, increments, negation, multiplication and division.  SDM 2.

use super::operand::{gpr, read, set_gpr, update, write};
use crate::{Flag, FlagKind, Insn, Op1, Op2, Opnd, Res, Sem, Var, Width};

/// ADC and SBB.
#[inline(always)]
fn with_carry<S: Sem>(s: &mut S, i: &Insn, op: Op2, kind: FlagKind) -> Res<S> {
    let (w, mut saved) = (i.w, None);
    let b = read(s, i, 1)?;
    update(s, i, 0, |s, a| {
        let r = s.carried(op, w, a, b);
        saved = Some((a, r));
        Ok(r)
    })?;
    if let Some((a, r)) = saved {
        s.flags(kind, w, a, b, r);
    }
    Ok(())
}
#[inline(always)]
pub fn adc<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    with_carry(s, i, Op2::Add, FlagKind::Adc)
}
#[inline(always)]
pub fn sbb<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    with_carry(s, i, Op2::Sub, FlagKind::Sbb)
}

/// ADCX and ADOX: an addition that reads and writes one flag only.
#[inline(always)]
fn add_with<S: Sem>(s: &mut S, i: &Insn, flag: Flag) -> Res<S> {
    let (a, b) = (read(s, i, 0)?, read(s, i, 1)?);
    let r = s.added(flag, i.w, a, b);
    write(s, i, 0, r)
}
/// [`Sem::added`] in other words.
#[inline(always)]
pub(super) fn added<S: Sem>(s: &mut S, flag: Flag, w: Width, a: S::V, b: S::V) -> S::V {
    let c = s.flag(flag);
    let r = s.op2(Op2::Add, w, a, b);
    let c1 = s.op2(Op2::Ltu, w, r, a);
    let r = s.op2(Op2::Add, w, r, c);
    let c2 = s.op2(Op2::Ltu, w, r, c);
    let carry = s.op2(Op2::Or, w, c1, c2);
    set_flag(s, flag, carry);
    r
}
#[inline(always)]
pub fn adcx<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    add_with(s, i, Flag::Cf)
}
#[inline(always)]
pub fn adox<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    add_with(s, i, Flag::Of)
}

/// Sets one status flag to `v` (0 or 1) and keeps the others.
#[inline(always)]
pub fn set_flag<S: Sem>(s: &mut S, flag: Flag, v: S::V) {
    let n = s.imm(flag.bit() as u64);
    let v = s.op2(Op2::Shl, Width::W64, v, n);
    s.patch_flags(1 << flag.bit(), v);
}

#[inline(always)]
fn step<S: Sem>(s: &mut S, i: &Insn, op: Op2, kind: FlagKind) -> Res<S> {
    let (w, mut saved) = (i.w, None);
    update(s, i, 0, |s, a| {
        let one = s.imm(1);
        let r = s.op2(op, w, a, one);
        saved = Some((a, r));
        Ok(r)
    })?;
    if let Some((a, r)) = saved {
        s.flags_but_carry(kind, w, a, r);
    }
    Ok(())
}
#[inline(always)]
pub fn inc<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    step(s, i, Op2::Add, FlagKind::Inc)
}
#[inline(always)]
pub fn dec<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    step(s, i, Op2::Sub, FlagKind::Dec)
}

#[inline(always)]
pub fn neg<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    let (w, mut saved) = (i.w, None);
    update(s, i, 0, |s, a| {
        let r = s.op1(Op1::Neg, w, a);
        saved = Some((a, r));
        Ok(r)
    })?;
    if let Some((a, r)) = saved {
        let zero = s.imm(0);
        s.flags(FlagKind::Sub, w, zero, a, r);
    }
    Ok(())
}
#[inline(always)]
pub fn not<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    update(s, i, 0, |s, a| Ok(s.op1(Op1::Not, i.w, a)))
}

/// MUL and one-operand IMUL: the double-width product to rDX:rAX (AX for bytes).
#[inline(always)]
fn multiply<S: Sem>(s: &mut S, i: &Insn, sign: bool) -> Res<S> {
    let w = i.w;
    let b = read(s, i, 0)?;
    let a = gpr(s, 0, w);
    let (lo, hi) = s.products(sign, w, a, b);
    let over = if s.wants_flags() {
        let plain = if sign { sign_of(s, w, lo) } else { s.imm(0) };
        s.op2(Op2::Ne, w, hi, plain)
    } else {
        s.imm(0)
    };
    if w == Width::W8 {
        let eight = s.imm(8);
        let hi = s.op2(Op2::Shl, Width::W16, hi, eight);
        let ax = s.op2(Op2::Or, Width::W16, hi, lo);
        set_gpr(s, 0, Width::W16, ax);
    } else {
        set_gpr(s, 0, w, lo);
        set_gpr(s, 2, w, hi);
    }
    s.flags(FlagKind::Mul, w, a, over, lo);
    Ok(())
}
/// [`Sem::products`] in other words.
#[inline(always)]
pub fn products<S: Sem>(s: &mut S, sign: bool, w: Width, a: S::V, b: S::V) -> (S::V, S::V) {
    let high = if sign { Op2::MulHiS } else { Op2::MulHiU };
    (s.op2(Op2::Mul, w, a, b), s.op2(high, w, a, b))
}
/// All ones if `v` is negative, else zero.
#[inline(always)]
pub(super) fn sign_of<S: Sem>(s: &mut S, w: Width, v: S::V) -> S::V {
    let n = s.imm(w.bits() as u64 - 1);
    s.op2(Op2::Sar, w, v, n)
}
#[inline(always)]
pub fn mul<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    multiply(s, i, false)
}

/// IMUL in its three forms.
#[inline(always)]
pub fn imul<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    if i.op[1] == Opnd::None {
        return multiply(s, i, true);
    }
    let w = i.w;
    let three = i.op[2] != Opnd::None;
    let (a, b) = match three {
        true => (read(s, i, 1)?, read(s, i, 2)?),
        false => (read(s, i, 0)?, read(s, i, 1)?),
    };
    let (lo, over) = s.product(w, a, b);
    write(s, i, 0, lo)?;
    s.flags(FlagKind::Mul, w, a, over, lo);
    Ok(())
}

#[inline(always)]
fn division<S: Sem>(s: &mut S, i: &Insn, sign: bool) -> Res<S> {
    let w = i.w;
    let d = read(s, i, 0)?;
    if w == Width::W8 {
        let (ax, eight) = (gpr(s, 0, Width::W16), s.imm(8));
        let hi = s.op2(Op2::Shr, Width::W16, ax, eight);
        let lo = s.op1(Op1::Zext, Width::W8, ax);
        let (q, r) = s.divide(sign, w, hi, lo, d)?;
        let r = s.op2(Op2::Shl, Width::W16, r, eight);
        let ax = s.op2(Op2::Or, Width::W16, r, q);
        set_gpr(s, 0, Width::W16, ax);
        return Ok(());
    }
    let (hi, lo) = (gpr(s, 2, w), gpr(s, 0, w));
    let (q, r) = s.divide(sign, w, hi, lo, d)?;
    set_gpr(s, 0, w, q);
    set_gpr(s, 2, w, r);
    Ok(())
}
/// DIV. The flags are undefined and stay as they were.
#[inline(always)]
pub fn div<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    division(s, i, false)
}
#[inline(always)]
pub fn idiv<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    division(s, i, true)
}

/// MULX: an unsigned product without flags; the low half goes to operand 1, then the high one to operand 0.
#[inline(always)]
pub fn mulx<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    let b = read(s, i, 2)?;
    let a = gpr(s, 2, i.w);
    let (lo, hi) = s.products(false, i.w, a, b);
    write(s, i, 1, lo)?;
    write(s, i, 0, hi)
}

/// CBW, CWDE, CDQE: the low half of rAX sign-extended; `i.w` is the result's width.
#[inline(always)]
fn widen<S: Sem>(s: &mut S, from: Width, to: Width) -> Res<S> {
    let a = s.get(Var::Gpr(0));
    let v = s.op1(Op1::Sext(from), to, a);
    set_gpr(s, 0, to, v);
    Ok(())
}
#[inline(always)]
pub fn cbw<S: Sem>(s: &mut S, _: &Insn) -> Res<S> {
    widen(s, Width::W8, Width::W16)
}
#[inline(always)]
pub fn cwde<S: Sem>(s: &mut S, _: &Insn) -> Res<S> {
    widen(s, Width::W16, Width::W32)
}
#[inline(always)]
pub fn cdqe<S: Sem>(s: &mut S, _: &Insn) -> Res<S> {
    widen(s, Width::W32, Width::W64)
}

/// CWD, CDQ, CQO: rDX filled with rAX's sign.
#[inline(always)]
fn spread<S: Sem>(s: &mut S, w: Width) -> Res<S> {
    let a = gpr(s, 0, w);
    let v = sign_of(s, w, a);
    set_gpr(s, 2, w, v);
    Ok(())
}
#[inline(always)]
pub fn cwd<S: Sem>(s: &mut S, _: &Insn) -> Res<S> {
    spread(s, Width::W16)
}
#[inline(always)]
pub fn cdq<S: Sem>(s: &mut S, _: &Insn) -> Res<S> {
    spread(s, Width::W32)
}
#[inline(always)]
pub fn cqo<S: Sem>(s: &mut S, _: &Insn) -> Res<S> {
    spread(s, Width::W64)
}
