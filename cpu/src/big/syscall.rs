//! SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS.  SDM 3A, 6.8.7 and 6.8.8; APM 3.

use super::control::efer;
use crate::event::check;
use crate::mmu::canonical;
use crate::{Exception, Insn, Interp, Raised, Segment, flags};

/// A flat code segment: 32 bits or 64.
fn code(sel: u16, dpl: u32, long: bool) -> Segment {
    let size = if long { Segment::LONG } else { Segment::BIG };
    let attr = 0x9b00 | Segment::GRANULAR | dpl << 13 | size;
    Segment { sel, attr, limit: u32::MAX, base: 0 }
}
fn stack(sel: u16, dpl: u32) -> Segment {
    let attr = 0x9300 | Segment::GRANULAR | Segment::BIG | dpl << 13;
    Segment { sel, attr, limit: u32::MAX, base: 0 }
}

pub fn syscall(s: &mut Interp<'_>, _: &Insn) -> Result<(), Raised> {
    let m = &s.c.state.msr;
    // Intel has it in 64-bit mode only.
    if m.efer & efer::SCE == 0 || !s.c.model.amd() && !s.c.mode.long64() {
        return s.raise(Exception::UD);
    }
    let (star, lstar, cstar, fmask) = (m.star, m.lstar, m.cstar, m.sfmask);
    let sel = (star >> 32) as u16 & 0xfffc;
    let long = s.lma();
    let image = s.c.state.flags() & !flags::RF;
    let next = s.c.state.rip;
    if long {
        s.c.state.gpr[1] = next;
        s.c.state.gpr[11] = image;
        s.c.state.set_flags(image & !fmask);
    } else {
        s.c.state.gpr[1] = next & 0xffff_ffff;
        s.c.state.set_flags(image & !(flags::IF | flags::VM | flags::RF));
    }
    let to = match (long, s.c.mode.long64()) {
        (false, _) => star & 0xffff_ffff,
        (true, true) => lstar,
        (true, false) => cstar,
    };
    s.c.state.seg[2] = stack(sel.wrapping_add(8), 0);
    s.set_code(code(sel, 0, long), 0, to);
    Ok(())
}

/// Where `i` is SYSRETQ: the 64-bit form.
fn wide(i: &Insn) -> bool {
    use iced_x86::Code::*;
    matches!(i.iced(), Sysretq | Sysexitq)
}

pub fn sysret(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    let m = &s.c.state.msr;
    if m.efer & efer::SCE == 0 || !s.c.model.amd() && !s.c.mode.long64() {
        return s.raise(Exception::UD);
    }
    let base = (m.star >> 48) as u16;
    let long = s.c.mode.long64();
    if s.cpl() != 0 || !s.c.state.protected() {
        return s.raise(Exception::GP0);
    }
    let to = s.c.state.gpr[1];
    let (sel, to) = if wide(i) && long {
        if !canonical(to, s.la57()) && !s.c.model.amd() {
            return s.raise(Exception::GP0);
        }
        (base.wrapping_add(16), to)
    } else {
        (base, to & 0xffff_ffff)
    };
    if long {
        let image = s.c.state.gpr[11];
        s.c.state.set_flags(image & 0x3c_7fd7);
    } else {
        s.c.state.rflags |= flags::IF;
    }
    let ss = base.wrapping_add(8) | 3;
    if s.c.model.amd() {
        // AMD loads the selector and leaves the rest of SS.
        s.c.state.seg[2].sel = ss;
        let seg = &mut s.c.state.seg[2];
        seg.attr |= 3 << 13;
        if !seg.present() {
            *seg = stack(ss, 3);
        }
    } else {
        s.c.state.seg[2] = stack(ss, 3);
    }
    // The flags it brings back count at once: TF traps before the first instruction there.
    if s.c.state.rflags & flags::TF != 0 {
        s.c.state.pending_debug |= crate::event::BS;
    }
    s.set_code(code(sel | 3, 3, wide(i) && long), 3, to);
    check(s);
    Ok(())
}

/// AMD has these outside long mode only.
fn not_amd_long(s: &mut Interp<'_>) -> Result<(), Raised> {
    if s.c.model.amd() && s.lma() { s.raise(Exception::UD) } else { Ok(()) }
}
pub fn sysenter(s: &mut Interp<'_>, _: &Insn) -> Result<(), Raised> {
    not_amd_long(s)?;
    let m = &s.c.state.msr;
    let (cs, sp, ip) = (m.sysenter_cs, m.sysenter_esp, m.sysenter_eip);
    if !s.c.state.protected() || cs & 0xfffc == 0 {
        return s.raise(Exception::GP0);
    }
    let long = s.lma();
    let mask = if long { u64::MAX } else { 0xffff_ffff };
    s.c.state.rflags &= !(flags::VM | flags::IF | flags::RF);
    s.c.state.gpr[4] = sp & mask;
    let sel = cs as u16 & 0xfffc;
    s.c.state.seg[2] = stack(sel.wrapping_add(8), 0);
    s.set_code(code(sel, 0, long), 0, ip & mask);
    Ok(())
}

pub fn sysexit(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    not_amd_long(s)?;
    let cs = s.c.state.msr.sysenter_cs as u16 & 0xfffc;
    if !s.c.state.protected() || s.cpl() != 0 || cs == 0 {
        return s.raise(Exception::GP0);
    }
    let (sp, to) = (s.c.state.gpr[1], s.c.state.gpr[2]);
    let long = wide(i) && s.c.mode.long64();
    if long && !(canonical(sp, s.la57()) && canonical(to, s.la57())) {
        return s.raise(Exception::GP0);
    }
    let mask = if long { u64::MAX } else { 0xffff_ffff };
    s.c.state.gpr[4] = sp & mask;
    let (code_sel, ss) = if long { (32, 40) } else { (16, 24) };
    s.c.state.seg[2] = stack(cs.wrapping_add(ss) | 3, 3);
    s.set_code(code(cs.wrapping_add(code_sel) | 3, 3, long), 3, to & mask);
    Ok(())
}

pub fn swapgs(s: &mut Interp<'_>, _: &Insn) -> Result<(), Raised> {
    let st = &mut s.c.state;
    std::mem::swap(&mut st.seg[5].base, &mut st.msr.kernel_gs_base);
    Ok(())
}
