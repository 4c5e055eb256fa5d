//! Decimal arithmetic of 16 and 32-bit modes: AAA, AAS, AAD, AAM, DAA, DAS.  SDM 2.

use crate::flags::{AF, CF, PF, SF, ZF};
use crate::{Exception, Insn, Interp, Raised, Sem};

fn ax(s: &Interp<'_>) -> u16 {
    s.c.state.gpr[0] as u16
}
fn set_ax(s: &mut Interp<'_>, v: u16) {
    s.c.state.gpr[0] = s.c.state.gpr[0] & !0xffff | v as u64;
}
/// SF, ZF and PF of a byte.
fn szp(v: u8) -> u64 {
    let p = if v.count_ones() & 1 == 0 { PF } else { 0 };
    p | if v == 0 { ZF } else { 0 } | if v & 0x80 != 0 { SF } else { 0 }
}

fn adjust_ascii(s: &mut Interp<'_>, add: bool) -> Result<(), Raised> {
    let (v, f) = (ax(s), s.status());
    let (mut r, mut out) = (v, 0);
    if v & 15 > 9 || f & AF != 0 {
        r = if add { v.wrapping_add(0x106) } else { v.wrapping_sub(0x106) };
        out = AF | CF;
    }
    let r = r & 0xff0f;
    set_ax(s, r);
    s.set_status(out | szp(r as u8));
    Ok(())
}
pub fn aaa(s: &mut Interp<'_>, _: &Insn) -> Result<(), Raised> {
    adjust_ascii(s, true)
}
pub fn aas(s: &mut Interp<'_>, _: &Insn) -> Result<(), Raised> {
    adjust_ascii(s, false)
}
pub fn aad(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    let v = ax(s);
    let r = (v as u8).wrapping_add(((v >> 8) as u8).wrapping_mul(i.imm as u8));
    set_ax(s, r as u16);
    s.set_status(szp(r));
    Ok(())
}
pub fn aam(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    let (al, base) = (ax(s) as u8, i.imm as u8);
    if base == 0 {
        return s.raise(Exception::DE);
    }
    let r = al % base;
    set_ax(s, (al / base) as u16 * 0x100 + r as u16);
    s.set_status(szp(r));
    Ok(())
}

fn adjust_decimal(s: &mut Interp<'_>, add: bool) -> Result<(), Raised> {
    let (v, f) = (ax(s) as u8, s.status());
    let step = |v: u8, by: u8| if add { v.wrapping_add(by) } else { v.wrapping_sub(by) };
    let (mut r, mut out) = (v, 0);
    if v & 15 > 9 || f & AF != 0 {
        r = step(r, 6);
        out |= AF;
        // DAS borrows out of the byte when the low digit's correction does.
        if !add && v < 6 {
            out |= CF;
        }
    }
    if v > 0x99 || f & CF != 0 {
        r = step(r, 0x60);
        out |= CF;
    }
    let whole = ax(s) & 0xff00 | r as u16;
    set_ax(s, whole);
    s.set_status(out | szp(r));
    Ok(())
}
pub fn daa(s: &mut Interp<'_>, _: &Insn) -> Result<(), Raised> {
    adjust_decimal(s, true)
}
pub fn das(s: &mut Interp<'_>, _: &Insn) -> Result<(), Raised> {
    adjust_decimal(s, false)
}
