//! IN and OUT, and who may use a port.  SDM 1, chapter 20.

use crate::mmu::{SYSTEM, breakpoint};
use crate::sem::operand::{gpr, set_gpr};
use crate::{Exception, Insn, Interp, Opnd, Raised, Width, flags};

/// #GP(0) if the current privilege and the task's permission map do not allow the port.
pub fn check(s: &mut Interp<'_>, port: u16, w: Width) -> Result<(), Raised> {
    let st = &s.c.state;
    if !st.protected() || st.rflags & flags::VM == 0 && st.cpl <= s.iopl() {
        return Ok(());
    }
    let tr = st.tr;
    let wide = tr.present() && matches!(tr.kind(), 9 | 11);
    if !wide || tr.limit < 0x67 {
        return s.raise(Exception::GP0);
    }
    let mask = if s.lma() { u64::MAX } else { 0xffff_ffff };
    let map = s.load_in(SYSTEM, tr.base.wrapping_add(0x66) & mask, Width::W16)?;
    let at = map + port as u64 / 8;
    if at + 1 > tr.limit as u64 {
        return s.raise(Exception::GP0);
    }
    let bits = s.load_in(SYSTEM, tr.base.wrapping_add(at) & mask, Width::W16)?;
    if bits >> (port % 8) & ((1 << w.bytes()) - 1) != 0 {
        return s.raise(Exception::GP0);
    }
    Ok(())
}

/// Notes which I/O breakpoints an access hits.
fn watch(s: &mut Interp<'_>, port: u16, w: Width) {
    let (dr7, port) = (s.c.state.dr7, port as u64);
    if dr7 & 0xff == 0 || s.c.state.cr4 & 8 == 0 {
        return;
    }
    for n in 0..4 {
        let (kind, len) = breakpoint(dr7, n);
        let at = s.c.state.dr[n] & !(len - 1);
        let meets = port.wrapping_sub(at) < len || at.wrapping_sub(port) < w.bytes();
        if kind == 2 && dr7 >> (2 * n) & 3 != 0 && meets {
            s.c.state.pending_debug |= 1 << n;
        }
    }
}

/// Reads a port that was checked.
pub fn read(s: &mut Interp<'_>, port: u16, w: Width) -> u64 {
    watch(s, port, w);
    let v = s.bus.port_read(s.c.retired(), port, w);
    s.after_bus();
    v & w.mask()
}
/// Writes a port that was checked.
pub fn write(s: &mut Interp<'_>, port: u16, w: Width, v: u64) {
    watch(s, port, w);
    s.bus.port_write(s.c.retired(), port, w, v & w.mask());
    s.after_bus();
}

fn port(s: &Interp<'_>, o: Opnd, i: &Insn) -> u16 {
    if o == Opnd::Imm { i.imm as u8 as u16 } else { s.c.state.gpr[2] as u16 }
}

/// IN.
pub fn input(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    let (w, p) = (i.ow[0], port(s, i.op[1], i));
    check(s, p, w)?;
    let v = read(s, p, w);
    set_gpr(s, 0, w, v);
    Ok(())
}
/// OUT.
pub fn output(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    let (w, p) = (i.ow[1], port(s, i.op[0], i));
    check(s, p, w)?;
    let v = gpr(s, 0, w);
    write(s, p, w, v);
    Ok(())
}
