//! Near control transfers.  SDM 2; SDM 1, chapter 6.

use super::operand::{drop, gpr, push, read, set_gpr, stack, top};
use crate::{Cond, Flag, Insn, Op2, Opnd, Res, SegReg, Sem, Var, Width};

/// The width of a near branch: of its target in a register or memory, or as encoded.
#[inline(always)]
fn width(i: &Insn) -> Width {
    i.ow[0]
}

/// Jcc.
#[inline(always)]
pub fn jcc<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    let c = s.cond(Cond::ALL[i.sub as usize & 15]);
    s.branch(c, width(i), i.imm)
}

/// JMP near; far ones are the system's.
#[inline(always)]
pub fn jmp<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    match i.op[0] {
        Opnd::Near => s.jump_rel(width(i), i.imm),
        Opnd::Far => s.big(crate::big::moves::jmp_far, i),
        Opnd::Mem if is_far(i) => s.big(crate::big::moves::jmp_far, i),
        _ => {
            let to = read(s, i, 0)?;
            let to = s.target(width(i), to)?;
            s.jump(to);
            Ok(())
        }
    }
}
/// A far pointer in memory.
#[inline(always)]
fn is_far(i: &Insn) -> bool {
    use iced_x86::Code::*;
    matches!(i.iced(), Jmp_m1616 | Jmp_m1632 | Jmp_m1664 | Call_m1616 | Call_m1632 | Call_m1664)
}

/// CALL near; far ones are the system's.
#[inline(always)]
pub fn call<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    if i.op[0] == Opnd::Far || i.op[0] == Opnd::Mem && is_far(i) {
        return s.big(crate::big::moves::call_far, i);
    }
    let w = width(i);
    let next = s.get(Var::Rip);
    if i.op[0] == Opnd::Near {
        // The target is checked before the push; a relative one is then taken as a direct jump.
        let dist = s.imm(i.imm as u64);
        let to = s.op2(Op2::Add, Width::W64, next, dist);
        s.target(w, to)?;
        push(s, i, w, next)?;
        return s.jump_rel(w, i.imm);
    }
    // A fault of the stack comes before that of the target (seen on Intel's processors).
    let mut to = read(s, i, 0)?;
    if S::LEAVES {
        to = s.target(w, to)?;
    }
    let sp = stack(s, i, -(w.bytes() as i64));
    s.store(SegReg::Ss, w, sp, next)?;
    if !S::LEAVES {
        to = s.target(w, to)?;
    }
    set_gpr(s, 4, i.sw, sp);
    s.jump(to);
    Ok(())
}

/// RET near, with or without bytes to release.
#[inline(always)]
pub fn ret<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    use iced_x86::Code::*;
    let w = match i.iced() {
        Retnw | Retnw_imm16 => Width::W16,
        Retnd | Retnd_imm16 => Width::W32,
        _ => Width::W64,
    };
    let to = top(s, i, w)?;
    let to = s.target(w, to)?;
    let extra = if i.op[0] == Opnd::Imm { i.imm as u64 & 0xffff } else { 0 };
    drop(s, i, w.bytes() + extra);
    s.jump(to);
    Ok(())
}

/// LOOP, LOOPE, LOOPNE: rCX is counted in the address width.
#[inline(always)]
fn looping<S: Sem>(s: &mut S, i: &Insn, want: Option<bool>) -> Res<S> {
    let (c, one) = (gpr(s, 1, i.aw), s.imm(1));
    let c = s.op2(Op2::Sub, i.aw, c, one);
    let zero = s.imm(0);
    let mut go = s.op2(Op2::Ne, i.aw, c, zero);
    if let Some(z) = want {
        let flag = s.flag(Flag::Zf);
        let ok = if z { flag } else { s.op2(Op2::Xor, Width::W64, flag, one) };
        go = s.op2(Op2::And, Width::W64, go, ok);
    }
    s.branch(go, width(i), i.imm)?;
    set_gpr(s, 1, i.aw, c);
    Ok(())
}
#[inline(always)]
pub fn loop_<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    looping(s, i, None)
}
#[inline(always)]
pub fn loope<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    looping(s, i, Some(true))
}
#[inline(always)]
pub fn loopne<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    looping(s, i, Some(false))
}
/// JCXZ, JECXZ, JRCXZ.
#[inline(always)]
pub fn jcxz<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    let (c, zero) = (gpr(s, 1, i.aw), s.imm(0));
    let c = s.op2(Op2::Eq, i.aw, c, zero);
    s.branch(c, width(i), i.imm)
}
