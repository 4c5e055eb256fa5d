//! Far jumps, calls and returns.  SDM 2, JMP, CALL, RET; SDM 3A, 6.8.

use super::segment::{Descriptor, Stack, code, far_pointer, null, null_segment, vm86_segment};
use super::task;
use crate::mmu::{SYSTEM, canonical};
use crate::{Exception, Insn, Interp, Opnd, Raised, Segment, Width};
use iced_x86::Code;

/// The far pointer that the instruction names, and its operand size.
fn target(s: &mut Interp<'_>, i: &Insn) -> Result<(u16, u64, Width), Raised> {
    if i.op[0] == Opnd::Far {
        let w = i.ow[0];
        return Ok((i.disp as u16, i.imm as u64 & w.mask(), w));
    }
    let w = match i.iced() {
        Code::Jmp_m1616 | Code::Call_m1616 => Width::W16,
        Code::Jmp_m1664 | Code::Call_m1664 => Width::W64,
        _ => Width::W32,
    };
    let (to, sel) = far_pointer(s, i, w)?;
    Ok((sel, to, w))
}

pub fn is_jmp(i: &Insn) -> bool {
    use Code::*;
    matches!(i.iced(), Jmp_m1616 | Jmp_m1632 | Jmp_m1664 | Jmp_ptr1616 | Jmp_ptr1632)
}
pub fn is_call(i: &Insn) -> bool {
    use Code::*;
    matches!(i.iced(), Call_m1616 | Call_m1632 | Call_m1664 | Call_ptr1616 | Call_ptr1632)
}

/// Far JMP.
pub fn jmp(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    let (sel, to, _) = target(s, i)?;
    if !s.protected() {
        return real(s, sel, to);
    }
    let (d, gp) = target_descriptor(s, sel)?;
    if d.is_code() {
        let seg = direct(s, sel, d)?;
        check_rip(s, &seg, to)?;
        let cpl = s.cpl();
        s.set_code(seg, cpl, to);
        return Ok(());
    }
    match (d.is_system(), d.kind(), s.lma()) {
        (true, 4 | 12, false) | (true, 12, true) => {
            let (sel, seg, to) = through_gate(s, sel, d, gp)?;
            let cpl = s.cpl();
            if if seg.is_conforming() { seg.dpl() > cpl } else { seg.dpl() != cpl } {
                return s.raise(Exception::gp(code(sel, 0)));
            }
            if !seg.present() {
                return s.raise(Exception::np(code(sel, 0)));
            }
            let seg = s.mark_accessed(sel, seg)?.segment(sel);
            check_rip(s, &seg, to)?;
            s.set_code(seg, cpl, to);
            Ok(())
        }
        (true, 1 | 5 | 9, false) => task::transfer(s, sel, d, task::How::Jump),
        _ => s.raise(gp),
    }
}

/// Far CALL.
pub fn call(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    let (sel, to, w) = target(s, i)?;
    let (cs, next) = (s.c.state.seg[1].sel as u64, s.c.state.rip);
    if !s.protected() {
        let mut st = Stack::current(s, 0);
        st.push(s, w, cs)?;
        st.push(s, w, next)?;
        real(s, sel, to)?;
        st.commit(s);
        return Ok(());
    }
    let (d, gp) = target_descriptor(s, sel)?;
    if d.is_code() {
        let seg = direct(s, sel, d)?;
        let mut st = Stack::current(s, 0);
        st.push(s, w, cs)?;
        st.push(s, w, next)?;
        check_rip(s, &seg, to)?;
        st.commit(s);
        let cpl = s.cpl();
        s.set_code(seg, cpl, to);
        return Ok(());
    }
    match (d.is_system(), d.kind(), s.lma()) {
        (true, 4 | 12, false) | (true, 12, true) => call_gate(s, sel, d, gp),
        (true, 1 | 5 | 9, false) => task::transfer(s, sel, d, task::How::Call),
        _ => s.raise(gp),
    }
}

/// Far branches in real and virtual-8086 mode.
fn real(s: &mut Interp<'_>, sel: u16, to: u64) -> Result<(), Raised> {
    if to > s.c.state.seg[1].limit as u64 {
        return s.raise(Exception::GP0);
    }
    set_real_code(s, sel, to);
    Ok(())
}
pub fn set_real_code(s: &mut Interp<'_>, sel: u16, to: u64) {
    let seg = if s.c.state.vm86() {
        vm86_segment(sel)
    } else {
        Segment { sel, base: (sel as u64) << 4, ..s.c.state.seg[1] }
    };
    s.c.state.seg[1] = seg;
    s.c.state.rip = to;
    s.c.refresh();
}

fn target_descriptor(s: &mut Interp<'_>, sel: u16) -> Result<(Descriptor, Exception), Raised> {
    if null(sel) {
        return s.raise(Exception::GP0);
    }
    let gp = Exception::gp(code(sel, 0));
    let d = s.descriptor_or(sel, gp)?;
    Ok((d, gp))
}

/// A code segment that a far branch names itself.
fn direct(s: &mut Interp<'_>, sel: u16, d: Descriptor) -> Result<Segment, Raised> {
    let (cpl, rpl) = (s.cpl(), (sel & 3) as u8);
    let wrong = if d.is_conforming() { d.dpl() > cpl } else { rpl > cpl || d.dpl() != cpl };
    if wrong || s.lma() && d.long() && d.big() {
        return s.raise(Exception::gp(code(sel, 0)));
    }
    if !d.present() {
        return s.raise(Exception::np(code(sel, 0)));
    }
    Ok(s.mark_accessed(sel, d)?.segment(sel))
}

/// #GP(0) if an instruction pointer is not in the segment.
pub fn check_rip(s: &mut Interp<'_>, seg: &Segment, to: u64) -> Result<(), Raised> {
    let good = if s.lma() && seg.attr & Segment::LONG != 0 {
        canonical(to, s.la57())
    } else {
        to <= seg.limit as u64
    };
    if good { Ok(()) } else { s.raise(Exception::GP0) }
}

/// Follows a call gate to a code segment: its selector, descriptor and the offset in it.
fn through_gate(
    s: &mut Interp<'_>,
    sel: u16,
    gate: Descriptor,
    gp: Exception,
) -> Result<(u16, Descriptor, u64), Raised> {
    if gate.dpl() < s.cpl() || gate.dpl() < (sel & 3) as u8 {
        return s.raise(gp);
    }
    let mut to = gate.gate_offset() as u64;
    if s.lma() {
        to |= s.upper(sel, gp)? << 32;
    }
    if !gate.present() {
        return s.raise(Exception::np(code(sel, 0)));
    }
    if gate.kind() == 4 {
        to &= 0xffff;
    }
    let sel = gate.gate_selector();
    if null(sel) {
        return s.raise(Exception::GP0);
    }
    let gp = Exception::gp(code(sel, 0));
    let d = s.descriptor_or(sel, gp)?;
    if !d.is_code() || d.dpl() > s.cpl() || s.lma() && (!d.long() || d.big()) {
        return s.raise(gp);
    }
    Ok((sel, d, to))
}

fn call_gate(s: &mut Interp<'_>, sel: u16, gate: Descriptor, gp: Exception) -> Result<(), Raised> {
    let (sel, d, to) = through_gate(s, sel, gate, gp)?;
    if !d.present() {
        return s.raise(Exception::np(code(sel, 0)));
    }
    let w = match (gate.kind(), s.lma()) {
        (_, true) => Width::W64,
        (4, _) => Width::W16,
        _ => Width::W32,
    };
    let (cs, next) = (s.c.state.seg[1].sel as u64, s.c.state.rip);
    let cpl = s.cpl();
    if d.is_conforming() || d.dpl() == cpl {
        let mut st = Stack::current(s, 0);
        if w == Width::W64 && st.sw != Width::W64 {
            // From compatibility mode the pushes already are those of 64-bit mode.
            st = Stack::flat(s, s.c.state.gpr[4], cpl, 0);
        }
        st.push(s, w, cs)?;
        st.push(s, w, next)?;
        let seg = s.mark_accessed(sel, d)?.segment(sel);
        check_rip(s, &seg, to)?;
        st.commit(s);
        s.set_code(seg, cpl, to);
        return Ok(());
    }
    let new = d.dpl();
    let (old_ss, old_sp) = (s.c.state.seg[2].sel as u64, s.c.state.gpr[4]);
    let mut old = Stack::current(s, 0);
    let (mut st, ss) = inner_stack(s, new, 0, 0)?;
    st.push(s, w, old_ss)?;
    st.push(s, w, old_sp)?;
    if w != Width::W64 {
        let mut all = [0; 31];
        let n = gate.gate_count() as usize;
        for v in &mut all[..n] {
            *v = old.pop(s, w)?;
        }
        for &v in all[..n].iter().rev() {
            st.push(s, w, v)?;
        }
    }
    st.push(s, w, cs)?;
    st.push(s, w, next)?;
    let seg = s.mark_accessed(sel, d)?.segment(sel);
    check_rip(s, &seg, to)?;
    s.c.state.seg[2] = ss;
    s.c.state.gpr[4] = if st.sw == Width::W64 { st.sp } else { s.c.state.gpr[4] };
    st.commit(s);
    s.set_code(seg, new, to);
    Ok(())
}

/// The stack that the task state names for privilege `cpl`, or (64-bit) interrupt stack `ist`; and what SS will hold.
/// SDM 3A, 7.12.1 and 8.7.
pub fn inner_stack(
    s: &mut Interp<'_>,
    cpl: u8,
    ist: u64,
    ext: u32,
) -> Result<(Stack, Segment), Raised> {
    let tr = s.c.state.tr;
    let ts = Exception::ts(code(tr.sel, ext));
    if s.lma() {
        let at = if ist != 0 { 0x1c + 8 * ist } else { 4 + 8 * cpl as u64 };
        if at + 7 > tr.limit as u64 {
            return s.raise(ts);
        }
        let sp = s.load_in(SYSTEM, tr.base.wrapping_add(at), Width::W64)?;
        if !canonical(sp, s.la57()) {
            return s.raise(Exception::ss(ext));
        }
        return Ok((Stack::flat(s, sp, cpl, ext), null_segment(cpl as u16)));
    }
    let wide = tr.kind() & 8 != 0;
    let (at, bytes) = if wide { (4 + 8 * cpl as u64, 5) } else { (2 + 4 * cpl as u64, 3) };
    if at + bytes > tr.limit as u64 {
        return s.raise(ts);
    }
    let la = |by: u64| tr.base.wrapping_add(at + by) & 0xffff_ffff;
    let (sp, sel) = if wide {
        (s.load_in(SYSTEM, la(0), Width::W32)?, s.load_in(SYSTEM, la(4), Width::W16)?)
    } else {
        (s.load_in(SYSTEM, la(0), Width::W16)?, s.load_in(SYSTEM, la(2), Width::W16)?)
    };
    let sel = sel as u16;
    if null(sel) {
        return s.raise(Exception::ts(ext));
    }
    let ts = Exception::ts(code(sel, ext));
    let d = s.descriptor_or(sel, ts)?;
    if sel as u8 & 3 != cpl || d.dpl() != cpl || !d.is_writable_data() {
        return s.raise(ts);
    }
    if !d.present() {
        return s.raise(Exception::ss(code(sel, ext)));
    }
    let seg = s.mark_accessed(sel, d)?.segment(sel);
    Ok((Stack::of(s, seg, sp, cpl, code(sel, ext)), seg))
}

/// The code segment that RET or IRET goes back to.
pub fn return_code(s: &mut Interp<'_>, sel: u16) -> Result<Segment, Raised> {
    if null(sel) {
        return s.raise(Exception::GP0);
    }
    let gp = Exception::gp(code(sel, 0));
    let d = s.descriptor_or(sel, gp)?;
    let rpl = (sel & 3) as u8;
    let wrong = if d.is_conforming() { d.dpl() > rpl } else { d.dpl() != rpl };
    if !d.is_code() || rpl < s.cpl() || wrong || s.lma() && d.long() && d.big() {
        return s.raise(gp);
    }
    if !d.present() {
        return s.raise(Exception::np(code(sel, 0)));
    }
    Ok(s.mark_accessed(sel, d)?.segment(sel))
}

/// The stack segment that RET or IRET goes back to, at the privilege of `cs`.
pub fn return_stack(s: &mut Interp<'_>, sel: u16, cs: &Segment) -> Result<Segment, Raised> {
    let rpl = (cs.sel & 3) as u8;
    if null(sel) {
        let fine = s.lma() && cs.attr & Segment::LONG != 0 && rpl != 3 && sel & 3 == cs.sel & 3;
        return if fine { Ok(null_segment(sel)) } else { s.raise(Exception::GP0) };
    }
    let gp = Exception::gp(code(sel, 0));
    let d = s.descriptor_or(sel, gp)?;
    if (sel & 3) as u8 != rpl || d.dpl() != rpl || !d.is_writable_data() {
        return s.raise(gp);
    }
    if !d.present() {
        return s.raise(Exception::ss(code(sel, 0)));
    }
    Ok(s.mark_accessed(sel, d)?.segment(sel))
}

/// Far RET.
pub fn ret(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    use Code::*;
    let w = match i.iced() {
        Retfw | Retfw_imm16 => Width::W16,
        Retfq | Retfq_imm16 => Width::W64,
        _ => Width::W32,
    };
    let extra = if i.op[0] == Opnd::Imm { i.imm as u64 & 0xffff } else { 0 };
    let mut st = Stack::current(s, 0);
    let to = st.pop(s, w)?;
    let sel = st.pop(s, w)? as u16;
    st.skip(extra);
    if !s.protected() {
        real(s, sel, to)?;
        st.commit(s);
        return Ok(());
    }
    let cs = return_code(s, sel)?;
    let rpl = (sel & 3) as u8;
    if rpl == s.cpl() {
        check_rip(s, &cs, to)?;
        st.commit(s);
        s.set_code(cs, rpl, to);
        return Ok(());
    }
    let sp = st.pop(s, w)?;
    let ss = st.pop(s, w)? as u16;
    let ss = return_stack(s, ss, &cs)?;
    check_rip(s, &cs, to)?;
    s.set_code(cs, rpl, to);
    outer_stack(s, ss, sp.wrapping_add(extra), w);
    Ok(())
}

/// Loads SS and the stack pointer of less privilege, and drops the segments that it may not have.
pub fn outer_stack(s: &mut Interp<'_>, ss: Segment, sp: u64, w: Width) {
    s.c.state.seg[2] = ss;
    s.c.refresh();
    let sw = s.c.mode.stack_width();
    let old = s.c.state.gpr[4];
    s.c.state.gpr[4] = match sw {
        // A 16-bit stack gets 16 bits; the rest of ESP stays, as is well known.
        Width::W16 => old & !0xffff | sp & 0xffff,
        _ => sp & w.mask(),
    };
    s.drop_segments();
    s.c.refresh();
}
