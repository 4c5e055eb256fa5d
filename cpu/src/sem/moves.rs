//! Moves, exchanges, the stack, address arithmetic.  SDM 2.

use super::operand::{
    address, drop, gpr, push as push_value, read, set_gpr, stack, top, update, write,
};
use crate::{Cond, FlagKind, Insn, Op1, Op2, Opnd, Res, SegReg, Sem, Var, Width};

/// MOV between registers, memory and immediates. Segment, control and debug registers are the system's.
#[inline(always)]
pub fn mov<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    if matches!(i.op[0], Opnd::Gpr(_) | Opnd::High(_) | Opnd::Mem)
        && matches!(i.op[1], Opnd::Gpr(_) | Opnd::High(_) | Opnd::Mem | Opnd::Imm)
    {
        let v = read(s, i, 1)?;
        return write(s, i, 0, v);
    }
    s.big(crate::big::moves::mov, i)
}

/// MOVZX.
#[inline(always)]
pub fn movzx<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    let v = read(s, i, 1)?;
    write(s, i, 0, v)
}
/// MOVSX and MOVSXD.
#[inline(always)]
pub fn movsx<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    let v = read(s, i, 1)?;
    let v = s.op1(Op1::Sext(i.ow[1]), i.ow[0], v);
    write(s, i, 0, v)
}
/// LEA: the offset, without a segment.
#[inline(always)]
pub fn lea<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    let v = address(s, i);
    let v = s.op1(Op1::Zext, i.ow[0], v);
    write(s, i, 0, v)
}

/// XCHG; with memory it is always locked.
#[inline(always)]
pub fn xchg<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    if i.op[0] == Opnd::Mem || i.op[1] == Opnd::Mem {
        let reg = (i.op[0] == Opnd::Mem) as usize;
        let new = read(s, i, reg)?;
        let at = address(s, i);
        let mut old = new;
        s.rmw(i.seg, i.w, at, true, |_, v| {
            old = v;
            Ok(new)
        })?;
        return write(s, i, reg, old);
    }
    let (a, b) = (read(s, i, 0)?, read(s, i, 1)?);
    write(s, i, 0, b)?;
    write(s, i, 1, a)
}

/// XADD.
#[inline(always)]
pub fn xadd<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    let (w, mut saved) = (i.w, None);
    let b = read(s, i, 1)?;
    if i.op[0] == Opnd::Mem {
        update(s, i, 0, |s, a| {
            let r = s.op2(Op2::Add, w, a, b);
            saved = Some((a, r));
            Ok(r)
        })?;
        if let Some((a, r)) = saved {
            write(s, i, 1, a)?;
            s.flags(FlagKind::Add, w, a, b, r);
        }
        return Ok(());
    }
    let a = read(s, i, 0)?;
    let r = s.op2(Op2::Add, w, a, b);
    write(s, i, 1, a)?;
    write(s, i, 0, r)?;
    s.flags(FlagKind::Add, w, a, b, r);
    Ok(())
}

/// CMPXCHG. Memory is written either way; a register only on a match.
#[inline(always)]
pub fn cmpxchg<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    let w = i.w;
    let (want, new) = (gpr(s, 0, w), read(s, i, 1)?);
    let mut old = want;
    if i.op[0] == Opnd::Mem {
        update(s, i, 0, |s, v| {
            old = v;
            let same = s.op2(Op2::Eq, w, v, want);
            Ok(s.pick(same, new, v))
        })?;
    } else {
        old = read(s, i, 0)?;
        let same = s.op2(Op2::Eq, w, old, want);
        match i.op[0] {
            // Without a match even the upper half of a 32-bit register stays.
            Opnd::Gpr(r) if w == Width::W32 => {
                let whole = s.get(Var::Gpr(r));
                let v = s.pick(same, new, whole);
                s.set(Var::Gpr(r), v);
            }
            _ => {
                let v = s.pick(same, new, old);
                write(s, i, 0, v)?;
            }
        }
    }
    // The accumulator is written only on a mismatch: a 32-bit write would clear the upper half otherwise. Where it is the
    // destination as well, a match has just written it.
    let (same, whole) = (s.op2(Op2::Eq, w, old, want), s.get(Var::Gpr(0)));
    let merged = match w {
        Width::W64 | Width::W32 => old,
        _ => {
            let keep = s.imm(!w.mask());
            let rest = s.op2(Op2::And, Width::W64, whole, keep);
            s.op2(Op2::Or, Width::W64, rest, old)
        }
    };
    let v = s.pick(same, whole, merged);
    s.set(Var::Gpr(0), v);
    let r = s.op2(Op2::Sub, w, want, old);
    s.flags(FlagKind::Sub, w, want, old, r);
    Ok(())
}

/// BSWAP. Of a 16-bit register it gives zero, as hardware does (undefined by the manual).
#[inline(always)]
pub fn bswap<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    let v = read(s, i, 0)?;
    let v = if i.w == Width::W16 { s.imm(0) } else { s.op1(Op1::Bswap, i.w, v) };
    write(s, i, 0, v)
}
/// MOVBE.
#[inline(always)]
pub fn movbe<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    let v = read(s, i, 1)?;
    let v = s.op1(Op1::Bswap, i.w, v);
    write(s, i, 0, v)
}
/// XLAT.
#[inline(always)]
pub fn xlat<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    let (b, al) = (s.get(Var::Gpr(3)), gpr(s, 0, Width::W8));
    let at = s.op2(Op2::Add, i.aw, b, al);
    let v = s.load(i.seg, Width::W8, at)?;
    set_gpr(s, 0, Width::W8, v);
    Ok(())
}

#[inline(always)]
fn cond(i: &Insn) -> Cond {
    Cond::ALL[i.sub as usize & 15]
}
/// SETcc.
#[inline(always)]
pub fn setcc<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    let v = s.cond(cond(i));
    write(s, i, 0, v)
}
/// CMOVcc: the source is read, and a 32-bit destination's upper half cleared, whatever the condition.
#[inline(always)]
pub fn cmovcc<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    let (new, old) = (read(s, i, 1)?, read(s, i, 0)?);
    let c = s.cond(cond(i));
    let v = s.pick(c, new, old);
    write(s, i, 0, v)
}

/// PUSH of registers, memory and immediates; segment registers are the system's.
#[inline(always)]
pub fn push<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    let (w, v) = match i.op[0] {
        Opnd::Seg(_) => return s.big(crate::big::moves::push_seg, i),
        // An immediate is sign-extended to the operand size.
        Opnd::Imm => {
            let w = push_width(i);
            (w, s.imm(i.imm as u64 & w.mask()))
        }
        _ => (i.w, read(s, i, 0)?),
    };
    push_value(s, i, w, v)
}
/// The operand size of PUSH imm, which iced-x86 names in the code.
#[inline(always)]
fn push_width(i: &Insn) -> Width {
    use iced_x86::Code::*;
    match i.iced() {
        Push_imm16 | Pushw_imm8 => Width::W16,
        Pushd_imm32 | Pushd_imm8 => Width::W32,
        _ => Width::W64,
    }
}

/// POP. An address that uses rSP sees it after the pop.
#[inline(always)]
pub fn pop<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    if matches!(i.op[0], Opnd::Seg(_)) {
        return s.big(crate::big::moves::pop_seg, i);
    }
    let w = i.w;
    let v = top(s, i, w)?;
    if i.op[0] == Opnd::Mem {
        if i.base == 4 {
            let mut j = *i;
            j.disp = j.disp.wrapping_add(w.bytes() as i32);
            let at = address(s, &j);
            s.store(i.seg, w, at, v)?;
        } else {
            write(s, i, 0, v)?;
        }
        drop(s, i, w.bytes());
        return Ok(());
    }
    drop(s, i, w.bytes());
    write(s, i, 0, v)
}

/// LEAVE.
#[inline(always)]
pub fn leave<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    let w = i.w;
    let bp = gpr(s, 5, i.sw);
    let v = s.load(SegReg::Ss, w, bp)?;
    let by = s.imm(w.bytes());
    let sp = s.op2(Op2::Add, i.sw, bp, by);
    set_gpr(s, 4, i.sw, sp);
    set_gpr(s, 5, w, v);
    Ok(())
}

/// ENTER without nesting; nested frames are plain Rust.
#[inline(always)]
pub fn enter<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    let w = i.w;
    // A nesting level, or a frame pointer that is wider than the stack pointer.
    if i.disp & 31 != 0 || (i.sw == Width::W16 && w == Width::W32) {
        return s.big(crate::big::moves::enter, i);
    }
    let bp = gpr(s, 5, w);
    let sp = stack(s, i, -(w.bytes() as i64));
    s.store(SegReg::Ss, w, sp, bp)?;
    let room = s.imm(i.imm as u64 & 0xffff);
    let low = s.op2(Op2::Sub, i.sw, sp, room);
    // The new top of the stack must be writable.
    s.rmw(SegReg::Ss, w, low, false, |_, v| Ok(v))?;
    let frame = s.op1(Op1::Zext, w, sp);
    set_gpr(s, 5, w, frame);
    set_gpr(s, 4, i.sw, low);
    Ok(())
}

/// LAHF.
#[inline(always)]
pub fn lahf<S: Sem>(s: &mut S, _: &Insn) -> Res<S> {
    let v = s.status();
    let (two, low) = (s.imm(2), s.imm(0xd7));
    let v = s.op2(Op2::Or, Width::W64, v, two);
    let v = s.op2(Op2::And, Width::W64, v, low);
    set_ah(s, v);
    Ok(())
}
#[inline(always)]
fn set_ah<S: Sem>(s: &mut S, v: S::V) {
    let (a, keep, eight) = (s.get(Var::Gpr(0)), s.imm(!0xff00), s.imm(8));
    let v = s.op2(Op2::Shl, Width::W64, v, eight);
    let a = s.op2(Op2::And, Width::W64, a, keep);
    let a = s.op2(Op2::Or, Width::W64, a, v);
    s.set(Var::Gpr(0), a);
}
/// SAHF: all status flags but OF.
#[inline(always)]
pub fn sahf<S: Sem>(s: &mut S, _: &Insn) -> Res<S> {
    let (old, of) = (s.status(), s.imm(crate::flags::OF));
    let of = s.op2(Op2::And, Width::W64, old, of);
    let (a, eight, low) = (s.get(Var::Gpr(0)), s.imm(8), s.imm(0xd5));
    let v = s.op2(Op2::Shr, Width::W64, a, eight);
    let v = s.op2(Op2::And, Width::W64, v, low);
    let v = s.op2(Op2::Or, Width::W64, v, of);
    s.set_status(v);
    Ok(())
}
/// SALC (undocumented): AL all ones if CF.
#[inline(always)]
pub fn salc<S: Sem>(s: &mut S, _: &Insn) -> Res<S> {
    let c = s.flag(crate::Flag::Cf);
    let v = s.op1(Op1::Neg, Width::W8, c);
    set_gpr(s, 0, Width::W8, v);
    Ok(())
}

#[inline(always)]
pub fn nop<S: Sem>(_: &mut S, _: &Insn) -> Res<S> {
    Ok(())
}

/// CLC, STC, CMC.
#[inline(always)]
pub fn clc<S: Sem>(s: &mut S, _: &Insn) -> Res<S> {
    let v = s.imm(0);
    super::arith::set_flag(s, crate::Flag::Cf, v);
    Ok(())
}
#[inline(always)]
pub fn stc<S: Sem>(s: &mut S, _: &Insn) -> Res<S> {
    let v = s.imm(1);
    super::arith::set_flag(s, crate::Flag::Cf, v);
    Ok(())
}
#[inline(always)]
pub fn cmc<S: Sem>(s: &mut S, _: &Insn) -> Res<S> {
    let (v, one) = (s.flag(crate::Flag::Cf), s.imm(1));
    let v = s.op2(Op2::Xor, Width::W64, v, one);
    super::arith::set_flag(s, crate::Flag::Cf, v);
    Ok(())
}
/// CLD.
#[inline(always)]
pub fn cld<S: Sem>(s: &mut S, _: &Insn) -> Res<S> {
    let (v, m) = (s.get(Var::System), s.imm(!crate::flags::DF));
    let v = s.op2(Op2::And, Width::W64, v, m);
    s.set(Var::System, v);
    Ok(())
}
/// STD.
#[inline(always)]
pub fn std<S: Sem>(s: &mut S, _: &Insn) -> Res<S> {
    let (v, m) = (s.get(Var::System), s.imm(crate::flags::DF));
    let v = s.op2(Op2::Or, Width::W64, v, m);
    s.set(Var::System, v);
    Ok(())
}
