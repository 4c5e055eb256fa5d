//! Descriptor tables and what reads them: LGDT and its like, LLDT, LTR, LAR, LSL, VERR, VERW, ARPL, SMSW, LMSW.

use super::cpuid::Feature;
use super::segment::{code, null, null_segment};
use crate::mmu::{SYSTEM, canonical};
use crate::sem::operand::{address, read, write};
use crate::state::Table;
use crate::{Exception, Insn, Interp, Opnd, Raised, Sem, Width, flags};

/// CR4.UMIP: these are #GP(0) outside privilege 0.
fn umip(s: &mut Interp<'_>) -> Result<(), Raised> {
    if s.c.state.cr4 & 1 << 11 != 0 && s.cpl() != 0 {
        return s.raise(Exception::GP0);
    }
    Ok(())
}

fn load_table(s: &mut Interp<'_>, i: &Insn) -> Result<Table, Raised> {
    let at = address(s, i);
    let long = s.c.mode.long64();
    let w = if long { Width::W64 } else { Width::W32 };
    let limit = s.load(i.seg, Width::W16, at)? as u16;
    let mut base = s.load(i.seg, w, at.wrapping_add(2) & i.aw.mask())?;
    use iced_x86::Code::*;
    if matches!(i.iced(), Lgdt_m1632_16 | Lidt_m1632_16) {
        base &= 0xff_ffff;
    }
    if long && !canonical(base, s.c.model.offers(Feature::La57)) {
        return s.raise(Exception::GP0);
    }
    Ok(Table { base, limit })
}
pub fn lgdt(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    s.c.state.gdtr = load_table(s, i)?;
    Ok(())
}
pub fn lidt(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    s.c.state.idtr = load_table(s, i)?;
    Ok(())
}

fn store_table(s: &mut Interp<'_>, i: &Insn, t: Table) -> Result<(), Raised> {
    umip(s)?;
    let at = address(s, i);
    let (w, bytes) = if s.c.mode.long64() { (Width::W64, 10) } else { (Width::W32, 6) };
    let la = s.linear(i.seg, at, bytes, crate::Access::Write)?;
    s.probe(la, bytes, crate::Access::Write)?;
    s.store(i.seg, Width::W16, at, t.limit as u64)?;
    s.store(i.seg, w, at.wrapping_add(2) & i.aw.mask(), t.base & w.mask())
}
pub fn sgdt(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    store_table(s, i, s.c.state.gdtr)
}
pub fn sidt(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    store_table(s, i, s.c.state.idtr)
}

/// A selector-sized result: memory takes two bytes, a register its own width.
fn put(s: &mut Interp<'_>, i: &Insn, v: u64) -> Result<(), Raised> {
    let mut i = *i;
    if i.op[0] == Opnd::Mem {
        i.ow[0] = Width::W16;
    }
    write(s, &i, 0, v)
}
/// A selector-sized source, operand `n`.
fn selector(s: &mut Interp<'_>, i: &Insn, n: usize) -> Result<u16, Raised> {
    let mut i = *i;
    if i.op[n] == Opnd::Mem {
        i.ow[n] = Width::W16;
    }
    Ok(read(s, &i, n)? as u16)
}

pub fn sldt(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    umip(s)?;
    put(s, i, s.c.state.ldtr.sel as u64)
}
pub fn str(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    umip(s)?;
    put(s, i, s.c.state.tr.sel as u64)
}
pub fn smsw(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    umip(s)?;
    put(s, i, s.c.state.cr0)
}
/// LMSW: PE can be set and not cleared.
pub fn lmsw(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    let v = selector(s, i, 0)? as u64;
    let old = s.c.state.cr0;
    super::control::set_cr0(s, old & !14 | v & 15)
}

pub fn lldt(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    let sel = selector(s, i, 0)?;
    if null(sel) {
        s.c.state.ldtr = null_segment(sel);
        return Ok(());
    }
    let gp = Exception::gp(code(sel, 0));
    if sel & 4 != 0 {
        return s.raise(gp);
    }
    let d = s.descriptor_or(sel, gp)?;
    if !d.is_system() || d.kind() != 2 {
        return s.raise(gp);
    }
    let mut seg = d.segment(sel);
    if s.lma() {
        seg.base |= s.upper(sel, gp)? << 32;
        if !canonical(seg.base, s.c.model.offers(Feature::La57)) {
            return s.raise(gp);
        }
    }
    if !d.present() {
        return s.raise(Exception::np(code(sel, 0)));
    }
    s.c.state.ldtr = seg;
    Ok(())
}

pub fn ltr(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    let sel = selector(s, i, 0)?;
    if null(sel) {
        return s.raise(Exception::GP0);
    }
    let gp = Exception::gp(code(sel, 0));
    if sel & 4 != 0 {
        return s.raise(gp);
    }
    let d = s.descriptor_or(sel, gp)?;
    let wanted = d.kind() == 9 || d.kind() == 1 && !s.lma();
    if !d.is_system() || !wanted {
        return s.raise(gp);
    }
    let mut seg = d.segment(sel);
    if s.lma() {
        seg.base |= s.upper(sel, gp)? << 32;
        if !canonical(seg.base, s.c.model.offers(Feature::La57)) {
            return s.raise(gp);
        }
    }
    if !d.present() {
        return s.raise(Exception::np(code(sel, 0)));
    }
    if let Some(la) = s.descriptor_at(sel, 8) {
        s.store_in(SYSTEM, la.wrapping_add(5), Width::W8, (d.0 >> 40 & 0xff) | 2)?;
    }
    seg.attr |= 2 << 8;
    s.c.state.tr = seg;
    Ok(())
}

fn set_zf(s: &mut Interp<'_>, on: bool) {
    let f = s.c.state.lazy.status() & !flags::ZF;
    s.set_status(f | if on { flags::ZF } else { 0 });
}

/// Whether the current privilege and the selector's may see this descriptor.
fn visible(s: &Interp<'_>, sel: u16, d: super::segment::Descriptor) -> bool {
    d.is_conforming() || d.dpl() >= s.cpl() && d.dpl() >= (sel & 3) as u8
}

/// LAR and LSL: the descriptor if its type is one of these (a set of system types).
fn look(
    s: &mut Interp<'_>,
    i: &Insn,
    legacy: u16,
    long: u16,
) -> Result<Option<super::segment::Descriptor>, Raised> {
    let sel = selector(s, i, 1)?;
    if null(sel) {
        return Ok(None);
    }
    let Some(d) = s.descriptor(sel)? else { return Ok(None) };
    if d.is_system() {
        let types = if s.lma() { long } else { legacy };
        if types >> d.kind() & 1 == 0 {
            return Ok(None);
        }
        if s.lma() && s.descriptor_at(sel, 16).is_none() {
            return Ok(None);
        }
    }
    Ok(visible(s, sel, d).then_some(d))
}
pub fn lar(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    // 16-bit TSS 1 and 3, LDT 2, call gates 4 and 12, task gate 5, 32-bit TSS 9 and 11.
    match look(s, i, 0b0001_1010_0011_1110, 0b0001_1010_0000_0100)? {
        Some(d) => {
            set_zf(s, true);
            write(s, i, 0, d.0 >> 32 & 0x00ff_ff00 & i.ow[0].mask())
        }
        None => {
            set_zf(s, false);
            Ok(())
        }
    }
}
pub fn lsl(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    match look(s, i, 0b0000_1010_0000_1110, 0b0000_1010_0000_0100)? {
        Some(d) => {
            set_zf(s, true);
            write(s, i, 0, d.segment(0).limit as u64 & i.ow[0].mask())
        }
        None => {
            set_zf(s, false);
            Ok(())
        }
    }
}

fn verify(s: &mut Interp<'_>, i: &Insn, writing: bool) -> Result<(), Raised> {
    let sel = selector(s, i, 0)?;
    let mut good = false;
    if !null(sel)
        && let Some(d) = s.descriptor(sel)?
    {
        good = if writing { d.is_writable_data() } else { d.is_readable() } && visible(s, sel, d);
    }
    set_zf(s, good);
    Ok(())
}
pub fn verr(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    verify(s, i, false)
}
pub fn verw(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    verify(s, i, true)
}

/// ARPL: raises the requested privilege level of a selector to that of another.
pub fn arpl(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    let rpl = read(s, i, 1)? & 3;
    let mut i = *i;
    i.ow[0] = Width::W16;
    // Written only if it changes: a segment that cannot be written is no fault otherwise.
    let v = read(s, &i, 0)?;
    let raised = v & 3 < rpl;
    if raised {
        crate::sem::operand::write(s, &i, 0, v & !3 | rpl)?;
    }
    set_zf(s, raised);
    Ok(())
}
