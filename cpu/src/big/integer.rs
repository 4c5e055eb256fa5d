//! Integer instructions with data-dependent loops or several accesses.

use crate::sem::operand::{address, read, write};
use crate::{Access, Exception, Flag, Insn, Interp, Raised, SegReg, Sem, Var, Width};

/// PDEP.  SDM 2B.
pub fn pdep(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    let (mut v, mut mask, mut r) = (read(s, i, 1)?, read(s, i, 2)?, 0);
    while mask != 0 {
        let bit = mask & mask.wrapping_neg();
        if v & 1 != 0 {
            r |= bit;
        }
        v >>= 1;
        mask ^= bit;
    }
    write(s, i, 0, r)
}
/// PEXT.
pub fn pext(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    let (v, mut mask, mut r, mut n) = (read(s, i, 1)?, read(s, i, 2)?, 0, 0);
    while mask != 0 {
        let bit = mask & mask.wrapping_neg();
        r |= ((v & bit != 0) as u64) << n;
        n += 1;
        mask ^= bit;
    }
    write(s, i, 0, r)
}

/// CMPXCHG8B.
pub fn cmpxchg8b(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    let at = address(s, i);
    let g = s.c.state.gpr;
    let want = g[0] & 0xffff_ffff | g[2] << 32;
    let new = g[3] & 0xffff_ffff | g[1] << 32;
    let mut old = 0;
    s.rmw(i.seg, Width::W64, at, true, |_, v| {
        old = v;
        Ok(if v == want { new } else { v })
    })?;
    if old != want {
        s.set(Var::Gpr(0), old & 0xffff_ffff);
        s.set(Var::Gpr(2), old >> 32);
    }
    crate::sem::arith::set_flag(s, Flag::Zf, (old == want) as u64);
    Ok(())
}
/// CMPXCHG16B: memory must be aligned to 16 bytes, which is looked at before all else.
pub fn cmpxchg16b(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    let at = address(s, i);
    let base = match i.seg {
        SegReg::Fs | SegReg::Gs => s.c.state.seg[i.seg as usize].base,
        _ => 0,
    };
    if at.wrapping_add(base) & 15 != 0 {
        return s.raise(Exception::GP0);
    }
    let la = s.linear(i.seg, at, 16, Access::Write)?;
    s.probe(la, 16, Access::Write)?;
    let (lo, hi) = (s.load_linear(la, Width::W64)?, s.load_linear(la + 8, Width::W64)?);
    let g = s.c.state.gpr;
    let same = (lo, hi) == (g[0], g[2]);
    let (new_lo, new_hi) = if same { (g[3], g[1]) } else { (lo, hi) };
    s.store_linear(la, Width::W64, new_lo)?;
    s.store_linear(la + 8, Width::W64, new_hi)?;
    if !same {
        s.set(Var::Gpr(0), lo);
        s.set(Var::Gpr(2), hi);
    }
    crate::sem::arith::set_flag(s, Flag::Zf, same as u64);
    Ok(())
}

/// PUSHA, PUSHAD: eight registers, the stack pointer as it was. As on Intel's processors, what was pushed before a fault
/// stays in memory.
pub fn pusha(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    let w = if i.iced() == iced_x86::Code::Pushaw { Width::W16 } else { Width::W32 };
    let (m, n) = (i.sw.mask(), w.bytes());
    let sp = s.c.state.gpr[4];
    for k in 0..8u64 {
        let v = s.c.state.gpr[k as usize] & w.mask();
        s.store(SegReg::Ss, w, sp.wrapping_sub((k + 1) * n) & m, v)?;
    }
    crate::sem::operand::set_gpr(s, 4, i.sw, sp.wrapping_sub(8 * n) & m);
    Ok(())
}
/// POPA, POPAD: the stack pointer's own place is skipped. As on Intel's processors, what was popped before a fault has
/// been loaded; the stack pointer is as before.
pub fn popa(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    let w = if i.iced() == iced_x86::Code::Popaw { Width::W16 } else { Width::W32 };
    let (m, n) = (i.sw.mask(), w.bytes());
    let sp = s.c.state.gpr[4];
    for (k, r) in (0..8).rev().enumerate() {
        let v = s.load(SegReg::Ss, w, sp.wrapping_add(k as u64 * n) & m)?;
        if r != 4 {
            crate::sem::operand::set_gpr(s, r, w, v);
        }
    }
    crate::sem::operand::set_gpr(s, 4, i.sw, sp.wrapping_add(8 * n) & m);
    Ok(())
}

/// BOUND: #BR if the index is outside the signed bounds in memory.
pub fn bound(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    let w = i.ow[0];
    let at = address(s, i);
    let index = crate::sem::signed(w, read(s, i, 0)?);
    let low = crate::sem::signed(w, s.load(i.seg, w, at)?);
    // An index below the lower bound is enough: the upper one is not read then.
    if index < low {
        return s.raise(Exception::BR);
    }
    let high = crate::sem::signed(w, s.load(i.seg, w, at.wrapping_add(w.bytes()) & i.aw.mask())?);
    if index > high {
        return s.raise(Exception::BR);
    }
    Ok(())
}
