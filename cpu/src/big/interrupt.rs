//! INT n, INT3, INTO, INT1, BOUND, IRET.  SDM 2A, INT n; SDM 2A, IRET; SDM 3B, chapter 22 (virtual-8086 mode).

use super::far::{check_rip, outer_stack, return_code, return_stack, set_real_code};
use super::segment::{Stack, vm86_segment};
use super::task;
use crate::event::{Cause, check, inject};
use crate::mmu::SYSTEM;
use crate::{Exception, Insn, Interp, Raised, Width, flags};

pub const VME: u64 = 1;

/// INT n.
pub fn int(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    let vector = i.imm as u8;
    if s.c.state.vm86() {
        if s.c.state.cr4 & VME != 0 && !redirected(s, vector)? {
            return vm86_int(s, vector);
        }
        if s.iopl() < 3 {
            return s.raise(Exception::GP0);
        }
    }
    inject(s, vector, None, Cause::Software)
}
/// INT3.
pub fn int3(s: &mut Interp<'_>, _: &Insn) -> Result<(), Raised> {
    inject(s, 3, None, Cause::Software)
}
/// INT1 (ICEBP). Breakpoints that MOV SS held back are reported with it.
pub fn int1(s: &mut Interp<'_>, _: &Insn) -> Result<(), Raised> {
    inject(s, 1, None, Cause::Icebp)?;
    let due = std::mem::take(&mut s.c.state.pending_debug);
    s.c.state.dr6 = s.c.state.dr6 & !15 | due as u64;
    s.c.state.dr7 &= !(1 << 13);
    s.c.refresh();
    Ok(())
}
/// INTO.
pub fn into(s: &mut Interp<'_>, _: &Insn) -> Result<(), Raised> {
    if s.c.state.flags() & flags::OF == 0 {
        return Ok(());
    }
    inject(s, 4, None, Cause::Software)
}

/// Whether the task state sends this vector to protected mode: a set bit in the map below the I/O permission map.
fn redirected(s: &mut Interp<'_>, vector: u8) -> Result<bool, Raised> {
    let tr = s.c.state.tr;
    if tr.limit < 0x67 {
        return s.raise(Exception::GP0);
    }
    let base = tr.base;
    let map = s.load_in(SYSTEM, base.wrapping_add(0x66) & 0xffff_ffff, Width::W16)?;
    let at = map.wrapping_sub(32).wrapping_add(vector as u64 / 8);
    if map < 32 || at > tr.limit as u64 {
        return s.raise(Exception::GP0);
    }
    let byte = s.load_in(SYSTEM, base.wrapping_add(at) & 0xffff_ffff, Width::W8)?;
    Ok(byte >> (vector % 8) & 1 != 0)
}

/// An interrupt that stays in virtual-8086 mode.
fn vm86_int(s: &mut Interp<'_>, vector: u8) -> Result<(), Raised> {
    let mut image = s.c.state.flags();
    let virtual_if = s.iopl() < 3;
    if virtual_if {
        image |= flags::IOPL;
        image &= !flags::IF;
        if image & flags::VIF != 0 {
            image |= flags::IF;
        }
    }
    let to = s.load_linear(4 * vector as u64, Width::W32)?;
    let mut st = Stack::current(s, 0);
    let (cs, ip) = (s.c.state.seg[1].sel as u64, s.c.state.rip);
    st.push(s, Width::W16, image)?;
    st.push(s, Width::W16, cs)?;
    st.push(s, Width::W16, ip)?;
    st.commit(s);
    let f = &mut s.c.state.rflags;
    *f &= !(flags::TF | flags::NT | if virtual_if { flags::VIF } else { flags::IF });
    set_real_code(s, (to >> 16) as u16, to & 0xffff);
    Ok(())
}

/// IRET.
pub fn iret(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    use iced_x86::Code::*;
    let w = match i.iced() {
        Iretw => Width::W16,
        Iretq => Width::W64,
        _ => Width::W32,
    };
    s.c.state.nmi_blocked = false;
    let r = match (s.c.state.protected(), s.c.state.vm86()) {
        (false, _) => iret_real(s, w),
        (_, true) => iret_vm86(s, w),
        _ if s.c.state.rflags & flags::NT != 0 => {
            if s.lma() {
                return s.raise(Exception::GP0);
            }
            return task::back(s);
        }
        _ => iret_protected(s, w),
    };
    check(s);
    r
}

/// Flags that any IRET and POPF may change.
pub const PLAIN: u64 = flags::STATUS | flags::TF | flags::DF | flags::NT | flags::AC | flags::ID;

/// Takes the flags of `mask` from an image of width `w`.
pub fn set_flags(s: &mut Interp<'_>, image: u64, mask: u64, w: Width) {
    let mask = if w == Width::W16 { mask & 0xffff } else { mask };
    let old = s.c.state.flags();
    s.c.state.set_flags(old & !mask | image & mask);
    s.c.refresh();
}

fn iret_real(s: &mut Interp<'_>, w: Width) -> Result<(), Raised> {
    let mut st = Stack::current(s, 0);
    let (ip, cs) = (st.pop(s, w)?, st.pop(s, w)?);
    let image = st.pop(s, w)?;
    if ip > s.c.state.seg[1].limit as u64 {
        return s.raise(Exception::GP0);
    }
    st.commit(s);
    set_real_code(s, cs as u16, ip);
    set_flags(s, image, PLAIN | flags::IF | flags::IOPL | flags::RF, w);
    Ok(())
}

fn iret_vm86(s: &mut Interp<'_>, w: Width) -> Result<(), Raised> {
    let virtual_if = s.iopl() < 3;
    if virtual_if && (w != Width::W16 || s.c.state.cr4 & VME == 0) {
        return s.raise(Exception::GP0);
    }
    let mut st = Stack::current(s, 0);
    let (ip, cs) = (st.pop(s, w)?, st.pop(s, w)?);
    let image = st.pop(s, w)?;
    if ip > s.c.state.seg[1].limit as u64 {
        return s.raise(Exception::GP0);
    }
    let vif = image & flags::IF != 0;
    if virtual_if && (vif && s.c.state.rflags & flags::VIP != 0 || image & flags::TF != 0) {
        return s.raise(Exception::GP0);
    }
    st.commit(s);
    set_real_code(s, cs as u16, ip);
    if virtual_if {
        let f = &mut s.c.state.rflags;
        *f = if vif { *f | flags::VIF } else { *f & !flags::VIF };
        set_flags(s, image, PLAIN, w);
    } else {
        set_flags(s, image, PLAIN | flags::IF | flags::RF, w);
    }
    Ok(())
}

fn iret_protected(s: &mut Interp<'_>, w: Width) -> Result<(), Raised> {
    let mut st = Stack::current(s, 0);
    let (to, sel) = (st.pop(s, w)?, st.pop(s, w)? as u16);
    let image = st.pop(s, w)?;
    let cpl = s.cpl();
    if !s.lma() && w == Width::W32 && image & flags::VM != 0 && cpl == 0 {
        return to_vm86(s, st, to, sel, image);
    }
    let cs = return_code(s, sel)?;
    let rpl = (sel & 3) as u8;
    let mut mask = PLAIN | flags::RF;
    if cpl <= s.iopl() {
        mask |= flags::IF;
    }
    if cpl == 0 {
        mask |= flags::IOPL | flags::VIF | flags::VIP;
    }
    if rpl == cpl && !s.c.mode.long64() {
        check_rip(s, &cs, to)?;
        st.commit(s);
        s.set_code(cs, rpl, to);
        set_flags(s, image, mask, w);
        return Ok(());
    }
    let (sp, ss) = (st.pop(s, w)?, st.pop(s, w)? as u16);
    let ss = return_stack(s, ss, &cs)?;
    check_rip(s, &cs, to)?;
    s.set_code(cs, rpl, to);
    if rpl != cpl {
        outer_stack(s, ss, sp, w);
    } else {
        s.c.state.seg[2] = ss;
        s.c.refresh();
        let old = s.c.state.gpr[4];
        s.c.state.gpr[4] = match s.c.mode.stack_width() {
            Width::W16 => old & !0xffff | sp & 0xffff,
            _ => sp & w.mask(),
        };
    }
    set_flags(s, image, mask, w);
    Ok(())
}

/// Back to a virtual-8086 task: the frame goes on with ESP, SS, ES, DS, FS and GS.
fn to_vm86(s: &mut Interp<'_>, mut st: Stack, to: u64, cs: u16, image: u64) -> Result<(), Raised> {
    let mut rest = [0; 6];
    for v in &mut rest {
        *v = st.pop(s, Width::W32)?;
    }
    if to > 0xffff {
        return s.raise(Exception::GP0);
    }
    let [sp, ss, es, ds, fs, gs] = rest;
    s.c.state.set_flags(image & 0x3f_7fd7);
    s.c.state.cpl = 3;
    for (n, sel) in [(0, es), (1, cs as u64), (2, ss), (3, ds), (4, fs), (5, gs)] {
        s.c.state.seg[n] = vm86_segment(sel as u16);
    }
    s.c.state.gpr[4] = sp;
    s.c.state.rip = to;
    s.c.refresh();
    Ok(())
}
