//! RFLAGS as a whole, and the interrupt flag.  SDM 2, CLI, STI, PUSHF, POPF; SDM 3B, 22.3.

use super::interrupt::{PLAIN, VME, set_flags};
use super::segment::Stack;
use crate::event::check;
use crate::{Exception, Insn, Interp, Raised, Width, flags};
use iced_x86::Code;

/// CR4.PVI.
const PVI: u64 = 2;

/// How the interrupt flag may be changed: directly, through VIF, or not at all.
fn virtual_if(s: &mut Interp<'_>) -> Result<bool, Raised> {
    let st = &s.c.state;
    if !st.protected() || st.cpl <= s.iopl() {
        return Ok(false);
    }
    let virtualized = match st.vm86() {
        true => st.cr4 & VME != 0,
        false => st.cr4 & PVI != 0 && st.cpl == 3,
    };
    if virtualized { Ok(true) } else { s.raise(Exception::GP0) }
}

pub fn cli(s: &mut Interp<'_>, _: &Insn) -> Result<(), Raised> {
    let bit = if virtual_if(s)? { flags::VIF } else { flags::IF };
    s.c.state.rflags &= !bit;
    Ok(())
}

pub fn sti(s: &mut Interp<'_>, _: &Insn) -> Result<(), Raised> {
    if virtual_if(s)? {
        if s.c.state.rflags & flags::VIP != 0 {
            return s.raise(Exception::GP0);
        }
        s.c.state.rflags |= flags::VIF;
        return Ok(());
    }
    if s.c.state.rflags & flags::IF == 0 {
        s.c.state.rflags |= flags::IF;
        s.c.state.shadow |= 1;
        s.c.refresh();
        check(s);
    }
    Ok(())
}

fn width(i: &Insn) -> Width {
    match i.iced() {
        Code::Pushfw | Code::Popfw => Width::W16,
        Code::Pushfq | Code::Popfq => Width::W64,
        _ => Width::W32,
    }
}

pub fn pushf(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    let w = width(i);
    let mut image = s.c.state.flags() & !(flags::VM | flags::RF);
    if s.c.state.vm86() && s.iopl() < 3 {
        if w != Width::W16 || s.c.state.cr4 & VME == 0 {
            return s.raise(Exception::GP0);
        }
        let vif = image & flags::VIF != 0;
        image = image & !flags::IF | flags::IOPL | if vif { flags::IF } else { 0 };
    }
    let mut st = Stack::current(s, 0);
    st.push(s, w, image)?;
    st.commit(s);
    Ok(())
}

pub fn popf(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    let w = width(i);
    let (vm86, iopl, cpl) = (s.c.state.vm86(), s.iopl(), s.cpl());
    let virtual_if = vm86 && iopl < 3;
    if virtual_if && (w != Width::W16 || s.c.state.cr4 & VME == 0) {
        return s.raise(Exception::GP0);
    }
    let mut st = Stack::current(s, 0);
    let mut image = st.pop(s, w)?;
    let mut mask = PLAIN;
    if virtual_if {
        let on = image & flags::IF != 0;
        if on && s.c.state.rflags & flags::VIP != 0 || image & flags::TF != 0 {
            return s.raise(Exception::GP0);
        }
        let f = &mut s.c.state.rflags;
        *f = if on { *f | flags::VIF } else { *f & !flags::VIF };
    } else {
        if !s.c.state.protected() || cpl <= iopl {
            mask |= flags::IF;
        }
        if cpl == 0 {
            mask |= flags::IOPL;
        }
        if !vm86 {
            mask |= flags::VIF | flags::VIP;
            image &= !(flags::VIF | flags::VIP);
        }
    }
    st.commit(s);
    set_flags(s, image, mask | flags::RF, w);
    s.c.state.rflags &= !flags::RF;
    s.c.refresh();
    check(s);
    Ok(())
}

/// CLAC and STAC.
pub fn clac(s: &mut Interp<'_>, _: &Insn) -> Result<(), Raised> {
    s.c.state.rflags &= !flags::AC;
    s.c.refresh();
    Ok(())
}
pub fn stac(s: &mut Interp<'_>, _: &Insn) -> Result<(), Raised> {
    s.c.state.rflags |= flags::AC;
    s.c.refresh();
    Ok(())
}
