//! Operands: effective addresses, and reading and writing what an operand names.

use crate::insn::{NO_REG, RIP};
use crate::{Insn, Op1, Op2, Opnd, Res, SegReg, Sem, Var, Width};

/// The effective address (segment offset) of the memory operand, of the address width.  SDM 1, 3.7.5.
#[inline(always)]
pub fn address<S: Sem>(s: &mut S, i: &Insn) -> S::V {
    if i.bits & Insn::MOFFS != 0 {
        return s.imm(i.imm as u64);
    }
    let sum = s.sum(i);
    if i.aw == Width::W64 { sum } else { s.op1(Op1::Zext, i.aw, sum) }
}
/// See [`Sem::sum`].
#[inline(always)]
pub fn sum<S: Sem>(s: &mut S, i: &Insn) -> S::V {
    let mut sum = None;
    if i.base == RIP {
        sum = Some(s.get(Var::Rip));
    } else if i.base != NO_REG {
        sum = Some(s.get(Var::Gpr(i.base)));
    }
    if i.index != NO_REG {
        let mut x = s.get(Var::Gpr(i.index));
        if i.scale != 0 {
            let n = s.imm(i.scale as u64);
            x = s.op2(Op2::Shl, Width::W64, x, n);
        }
        sum = Some(match sum {
            Some(b) => s.op2(Op2::Add, Width::W64, b, x),
            None => x,
        });
    }
    let disp = i.disp as i64 as u64;
    match sum {
        None => s.imm(disp & i.aw.mask()),
        Some(v) if disp == 0 => v,
        Some(v) => {
            let d = s.imm(disp);
            s.op2(Op2::Add, Width::W64, v, d)
        }
    }
}

/// The value of general register `r` in width `w`.
#[inline(always)]
pub fn gpr<S: Sem>(s: &mut S, r: u8, w: Width) -> S::V {
    let v = s.get(Var::Gpr(r));
    if w == Width::W64 { v } else { s.op1(Op1::Zext, w, v) }
}

/// Writes general register `r` in width `w`: 32 bits clear the upper half, 8 and 16 keep the rest.
#[inline(always)]
pub fn set_gpr<S: Sem>(s: &mut S, r: u8, w: Width, v: S::V) {
    let v = match w {
        Width::W64 | Width::W32 => v,
        Width::W16 | Width::W8 => {
            let old = s.get(Var::Gpr(r));
            s.merge(old, 0, w, v)
        }
    };
    s.set(Var::Gpr(r), v);
}

/// See [`Sem::merge`].
#[inline(always)]
pub fn merge<S: Sem>(s: &mut S, old: S::V, at: u64, w: Width, v: S::V) -> S::V {
    let keep = s.imm(!(w.mask() << at));
    let old = s.op2(Op2::And, Width::W64, old, keep);
    let v = if at == 0 {
        v
    } else {
        let n = s.imm(at);
        s.op2(Op2::Shl, Width::W64, v, n)
    };
    s.op2(Op2::Or, Width::W64, old, v)
}

/// Reads operand `n` in its own width. Vectors and the like are not read here.
#[inline(always)]
pub fn read<S: Sem>(s: &mut S, i: &Insn, n: usize) -> Result<S::V, S::Fault> {
    let w = i.ow[n];
    Ok(match i.op[n] {
        Opnd::Gpr(r) => gpr(s, r, w),
        Opnd::Mem => {
            let at = address(s, i);
            s.load(i.seg, w, at)?
        }
        Opnd::Imm | Opnd::Near => s.imm(i.imm as u64 & w.mask()),
        Opnd::High(r) => {
            let (v, eight) = (s.get(Var::Gpr(r)), s.imm(8));
            let v = s.op2(Op2::Shr, Width::W64, v, eight);
            s.op1(Op1::Zext, Width::W8, v)
        }
        Opnd::Imm2 => s.imm(i.disp as u64 & w.mask()),
        _ => s.imm(0),
    })
}

/// Writes operand `n` in its own width. It may fault if it is memory.
#[inline(always)]
pub fn write<S: Sem>(s: &mut S, i: &Insn, n: usize, v: S::V) -> Res<S> {
    let w = i.ow[n];
    match i.op[n] {
        Opnd::Gpr(r) => set_gpr(s, r, w, v),
        Opnd::Mem => {
            let at = address(s, i);
            s.store(i.seg, w, at, v)?
        }
        Opnd::High(r) => {
            let old = s.get(Var::Gpr(r));
            let v = s.merge(old, 8, Width::W8, v);
            s.set(Var::Gpr(r), v)
        }
        _ => {}
    }
    Ok(())
}

/// Reads operand `n`, gives it to `f`, and writes what `f` answers. Memory is one read-modify-write.
#[inline(always)]
pub fn update<S: Sem>(
    s: &mut S,
    i: &Insn,
    n: usize,
    f: impl FnOnce(&mut S, S::V) -> Result<S::V, S::Fault>,
) -> Res<S> {
    if i.op[n] == Opnd::Mem {
        let at = address(s, i);
        return s.rmw(i.seg, i.ow[n], at, i.lock(), f);
    }
    let old = read(s, i, n)?;
    let new = f(s, old)?;
    write(s, i, n, new)
}

/// The stack address `by` bytes from the top, in the stack width.
#[inline(always)]
pub fn stack<S: Sem>(s: &mut S, i: &Insn, by: i64) -> S::V {
    let sp = s.get(Var::Gpr(4));
    let by = s.imm(by as u64);
    s.op2(Op2::Add, i.sw, sp, by)
}

/// Pushes `v` of width `w`.
#[inline(always)]
pub fn push<S: Sem>(s: &mut S, i: &Insn, w: Width, v: S::V) -> Res<S> {
    let sp = stack(s, i, -(w.bytes() as i64));
    s.store(SegReg::Ss, w, sp, v)?;
    set_gpr(s, 4, i.sw, sp);
    Ok(())
}

/// What is on top of the stack; [`drop`] takes it off once nothing can fault any more.
#[inline(always)]
pub fn top<S: Sem>(s: &mut S, i: &Insn, w: Width) -> Result<S::V, S::Fault> {
    let sp = stack(s, i, 0);
    s.load(SegReg::Ss, w, sp)
}

/// Moves the stack pointer up by `by` bytes.
#[inline(always)]
pub fn drop<S: Sem>(s: &mut S, i: &Insn, by: u64) {
    let sp = stack(s, i, by as i64);
    set_gpr(s, 4, i.sw, sp);
}
