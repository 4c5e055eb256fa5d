//! Control of the unit.  SDM vol. 1, 8.3.11.

use super::*;
use crate::sem::operand;
use crate::state::Fpu;

/// Works ES and B out again after the control or status word has changed.
pub(super) fn summary(fpu: &mut Fpu) {
    let pending = fpu.sw as u8 & !(fpu.cw as u8) & flag::ALL != 0;
    fpu.sw = fpu.sw & !(ES | BUSY) | if pending { ES | BUSY } else { 0 };
}

/// The state after FNINIT; the registers keep their contents.
pub(super) fn reset(fpu: &mut Fpu) {
    (fpu.cw, fpu.sw, fpu.top, fpu.empty) = (0x37f, 0, 0, 0xff);
    (fpu.op, fpu.ip, fpu.dp, fpu.cs, fpu.ds) = (0, 0, 0, 0, 0);
}

/// The control word with the bits that cannot be changed.
pub(super) fn control_word(v: u64) -> u16 {
    v as u16 & 0x1f7f | 0x40
}

pub fn fninit(s: &mut Interp<'_>, _: &Insn) -> Done {
    s.x87_no_wait()?;
    reset(&mut s.c.state.fpu);
    Ok(())
}
pub fn fnclex(s: &mut Interp<'_>, _: &Insn) -> Done {
    s.x87_no_wait()?;
    s.c.state.fpu.sw &= 0x7f00;
    Ok(())
}
/// FNOP, and the 8087's and 80287's FNENI, FNDISI, FNSETPM, which do nothing now.
pub fn fnop(s: &mut Interp<'_>, _: &Insn) -> Done {
    s.x87_wait()
}
pub fn nothing(s: &mut Interp<'_>, _: &Insn) -> Done {
    s.x87_no_wait()
}
/// WAIT obeys CR0.MP together with TS, and not EM.
pub fn wait(s: &mut Interp<'_>, _: &Insn) -> Done {
    let m = s.c.mode;
    if m.has(Mode::MP) && m.has(Mode::TS) {
        return s.raise(Exception::NM);
    }
    if s.c.state.fpu.sw & ES != 0 && s.c.state.cr0 & NE != 0 {
        return s.raise(Exception::MF);
    }
    Ok(())
}
pub fn fldcw(s: &mut Interp<'_>, i: &Insn) -> Done {
    s.x87_wait()?;
    let v = s.x87_load(i, 0, Width::W16)?;
    s.c.state.fpu.cw = control_word(v);
    summary(&mut s.c.state.fpu);
    Ok(())
}
pub fn fnstcw(s: &mut Interp<'_>, i: &Insn) -> Done {
    s.x87_no_wait()?;
    let v = s.c.state.fpu.cw as u64;
    s.x87_store(i, 0, Width::W16, v)
}
/// FNSTSW to AX or memory.
pub fn fnstsw(s: &mut Interp<'_>, i: &Insn) -> Done {
    s.x87_no_wait()?;
    let v = status_word(&s.c.state.fpu) as u64;
    operand::write(s, i, 0, v)
}
/// The status word with TOP in its place.
pub(super) fn status_word(fpu: &Fpu) -> u16 {
    fpu.sw | (fpu.top as u16) << 11
}

pub fn fincstp(s: &mut Interp<'_>, i: &Insn) -> Done {
    let env = s.x87(i)?;
    s.note(&env);
    let fpu = &mut s.c.state.fpu;
    fpu.top = fpu.top.wrapping_add(1) & 7;
    Ok(())
}
pub fn fdecstp(s: &mut Interp<'_>, i: &Insn) -> Done {
    let env = s.x87(i)?;
    s.note(&env);
    s.grow();
    Ok(())
}
pub fn ffree(s: &mut Interp<'_>, i: &Insn) -> Done {
    let env = s.x87(i)?;
    s.note(&env);
    let k = s.at(number(i.op[0]));
    s.c.state.fpu.empty |= 1 << k;
    Ok(())
}
pub fn ffreep(s: &mut Interp<'_>, i: &Insn) -> Done {
    ffree(s, i)?;
    s.pop();
    Ok(())
}
