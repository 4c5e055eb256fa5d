//! Moves and transfers that touch segment, control or debug registers, and nested ENTER.

use crate::sem::operand::{gpr, set_gpr};
use crate::{Access, Insn, Interp, Opnd, Raised, SegReg, Sem};

pub use super::far::{call as call_far, jmp as jmp_far};
pub use super::segment::{pop as pop_seg, push as push_seg};

/// MOV with a segment, control or debug register.
pub fn mov(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    match (i.op[0], i.op[1]) {
        (Opnd::Seg(_), _) | (_, Opnd::Seg(_)) => super::segment::mov(s, i),
        _ => super::control::mov(s, i),
    }
}

/// ENTER with a nesting level: copies the frame pointers of the enclosing frames; and with a 32-bit frame pointer on a
/// 16-bit stack.  SDM 2A.
pub fn enter(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    let (w, n, m) = (i.w, i.w.bytes(), i.sw.mask());
    let level = (i.disp & 31) as u64;
    let (sp, bp) = (s.c.state.gpr[4], s.c.state.gpr[5]);
    let room = i.imm as u64 & 0xffff;
    let low = sp.wrapping_sub(n * (level + 1) + room) & m;
    let frame = sp.wrapping_sub(n) & m;
    // All of the stack pointer, of which a 16-bit stack changes only the low half.
    let whole = (sp & !m | frame) & w.mask();
    // In the order of the manual's pseudocode: a fault leaves in memory what was pushed before it, and a frame that is
    // read may be one just pushed.
    let old = gpr(s, 5, w);
    s.store(SegReg::Ss, w, frame, old)?;
    for k in 1..level {
        let outer = s.load(SegReg::Ss, w, bp.wrapping_sub(k * n) & m)?;
        s.store(SegReg::Ss, w, frame.wrapping_sub(k * n) & m, outer)?;
    }
    if level != 0 {
        s.store(SegReg::Ss, w, frame.wrapping_sub(level * n) & m, whole)?;
    }
    // The new top of the stack must be writable.
    let la = s.linear(SegReg::Ss, low, n, Access::Write)?;
    s.probe(la, n, Access::Write)?;
    set_gpr(s, 5, w, whole);
    set_gpr(s, 4, i.sw, low);
    Ok(())
}
