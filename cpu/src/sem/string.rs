//! String instructions without REP.  SDM 1, 7.3.9.1. With it, they are plain Rust: [`crate::big::string`].

use super::operand::{gpr, set_gpr};
use crate::big::string::{self as big, element};
use crate::{Insn, Op2, Res, SegReg, Sem, Var, Width, flags};

const RAX: u8 = 0;
const RSI: u8 = 6;
const RDI: u8 = 7;

fn repeats(i: &Insn) -> bool {
    i.rep() || i.repne()
}

/// Moves a pointer to the next element: up, or down with DF.
#[inline(always)]
fn advance<S: Sem>(s: &mut S, i: &Insn, r: u8) {
    let bytes = element(i).bytes();
    let bit = u64::from(flags::DF.trailing_zeros());
    let (system, bit, df) = (s.get(Var::System), s.imm(bit), s.imm(1));
    let down = s.op2(Op2::Shr, Width::W64, system, bit);
    let down = s.op2(Op2::And, Width::W64, down, df);
    let twice = s.imm(u64::from(bytes.trailing_zeros()) + 1);
    let back = s.op2(Op2::Shl, Width::W64, down, twice);
    let up = s.imm(bytes);
    let at = gpr(s, r, i.aw);
    let at = s.op2(Op2::Add, i.aw, at, up);
    let at = s.op2(Op2::Sub, i.aw, at, back);
    set_gpr(s, r, i.aw, at);
}

/// MOVS.
#[inline(always)]
pub fn movs<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    if repeats(i) {
        return s.big(big::movs, i);
    }
    let from = gpr(s, RSI, i.aw);
    let v = s.load(i.seg, element(i), from)?;
    let to = gpr(s, RDI, i.aw);
    s.store(SegReg::Es, element(i), to, v)?;
    advance(s, i, RSI);
    advance(s, i, RDI);
    Ok(())
}

/// STOS.
#[inline(always)]
pub fn stos<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    if repeats(i) {
        return s.big(big::stos, i);
    }
    let v = gpr(s, RAX, element(i));
    let to = gpr(s, RDI, i.aw);
    s.store(SegReg::Es, element(i), to, v)?;
    advance(s, i, RDI);
    Ok(())
}

/// LODS.
#[inline(always)]
pub fn lods<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    if repeats(i) {
        return s.big(big::lods, i);
    }
    let from = gpr(s, RSI, i.aw);
    let v = s.load(i.seg, element(i), from)?;
    set_gpr(s, RAX, element(i), v);
    advance(s, i, RSI);
    Ok(())
}
