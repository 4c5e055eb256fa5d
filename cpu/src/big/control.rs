//! Control and debug registers, and flushes.  SDM 3A, 2.5; SDM 3B, chapter 19; SDM 2B, MOV.

use super::cpuid::Feature;
use crate::mmu::canonical;
use crate::sem::operand::{address, gpr, set_gpr};
use crate::{Exception, Insn, Interp, Opnd, Raised, Sem, Width};

pub mod cr0 {
    pub const PE: u64 = 1;
    pub const TS: u64 = 1 << 3;
    pub const ET: u64 = 1 << 4;
    pub const WP: u64 = 1 << 16;
    pub const NW: u64 = 1 << 29;
    pub const CD: u64 = 1 << 30;
    pub const PG: u64 = 1 << 31;
    pub const ALL: u64 = 0xe005_003f;
}
pub mod cr4 {
    pub const PSE: u64 = 1 << 4;
    pub const PAE: u64 = 1 << 5;
    pub const PGE: u64 = 1 << 7;
    pub const LA57: u64 = 1 << 12;
    pub const PCIDE: u64 = 1 << 17;
    pub const SMEP: u64 = 1 << 20;
    pub const SMAP: u64 = 1 << 21;
    pub const PKE: u64 = 1 << 22;
    pub const PKS: u64 = 1 << 24;
}
/// EFER.
pub mod efer {
    pub const SCE: u64 = 1;
    pub const LME: u64 = 1 << 8;
    pub const LMA: u64 = 1 << 10;
    pub const NXE: u64 = 1 << 11;
}

/// Bits of CR4 that this core has.
fn cr4_bits(s: &Interp<'_>) -> u64 {
    use Feature::*;
    #[rustfmt::skip]
    let table = [
        (0, Vme), (1, Vme), (2, Tsc), (3, De), (4, Pse), (5, Pae), (6, Mce), (7, Pge), (9, Fxsr), (10, Sse),
        (11, Umip), (12, La57), (16, Fsgsbase), (17, Pcid), (18, Xsave), (20, Smep), (21, Smap), (22, Pku), (24, Pks),
    ];
    // PCE goes without a feature bit.
    table.iter().filter(|&&(_, f)| s.c.model.offers(f)).fold(1 << 8, |all, &(n, _)| all | 1 << n)
}

/// Bits of CR4 and EFER that this core has.
pub fn bits(s: &Interp<'_>) -> (u64, u64) {
    (cr4_bits(s), super::msr::efer_bits(s))
}

/// Whether a value of CR0 goes together.
pub fn cr0_is_sound(v: u64) -> bool {
    use cr0::*;
    v >> 32 == 0 && (v & PG == 0 || v & PE != 0) && (v & NW == 0 || v & CD != 0)
}

/// MOV to CR0, and LMSW.
pub fn set_cr0(s: &mut Interp<'_>, v: u64) -> Result<(), Raised> {
    use cr0::*;
    let old = s.c.state.cr0;
    if !cr0_is_sound(v) {
        return s.raise(Exception::GP0);
    }
    let new = v & ALL | ET;
    let (cr4, long_code) = (s.c.state.cr4, s.c.state.seg[1].attr & crate::Segment::LONG != 0);
    let lme = s.c.state.msr.efer & efer::LME != 0;
    if new & PG != 0 && old & PG == 0 && lme {
        if cr4 & cr4::PAE == 0 || long_code {
            return s.raise(Exception::GP0);
        }
        s.c.state.msr.efer |= efer::LMA;
    } else if new & PG == 0 && old & PG != 0 {
        if cr4 & cr4::PCIDE != 0 || s.c.mode.long64() {
            return s.raise(Exception::GP0);
        }
        s.c.state.msr.efer &= !efer::LMA;
    }
    let pae = new & PG != 0 && cr4 & cr4::PAE != 0 && !s.lma();
    if pae && (old ^ new) & (PG | CD | NW) != 0 {
        s.load_pdptes(s.c.state.cr3)?;
    }
    s.c.state.cr0 = new;
    if (old ^ new) & (PG | PE | WP) != 0 {
        s.flush_all();
    }
    s.c.refresh();
    Ok(())
}

fn set_cr3(s: &mut Interp<'_>, v: u64) -> Result<(), Raised> {
    let pcide = s.c.state.cr4 & cr4::PCIDE != 0;
    let keep = pcide && v >> 63 != 0;
    let v = if pcide { v & !(1 << 63) } else { v };
    if s.c.mode.long64() && v >> s.c.model.phys_bits() != 0 {
        return s.raise(Exception::GP0);
    }
    let st = &s.c.state;
    if st.cr0 & cr0::PG != 0 && st.cr4 & cr4::PAE != 0 && !st.long() {
        s.load_pdptes(v)?;
    }
    let same = (s.c.state.cr3 ^ v) & 0xfff == 0;
    s.c.state.cr3 = v;
    if !(keep && same) {
        s.switch_space(if pcide { v & 0xfff } else { 0 }, keep);
    }
    Ok(())
}

fn set_cr4(s: &mut Interp<'_>, v: u64) -> Result<(), Raised> {
    use cr4::*;
    let old = s.c.state.cr4;
    let changed = old ^ v;
    let lma = s.lma();
    let wrong = v & !cr4_bits(s) != 0
        || lma && (v & PAE == 0 || changed & LA57 != 0)
        || changed & v & PCIDE != 0 && (!lma || s.c.state.cr3 & 0xfff != 0);
    if wrong {
        return s.raise(Exception::GP0);
    }
    let pae = s.c.state.cr0 & cr0::PG != 0 && v & PAE != 0 && !lma;
    if pae && changed & (PAE | PSE | PGE | SMEP) != 0 {
        s.load_pdptes(s.c.state.cr3)?;
    }
    s.c.state.cr4 = v;
    if changed & (PSE | PAE | PGE | LA57 | PCIDE | SMEP | SMAP | PKE | PKS) != 0 {
        s.flush_all();
    }
    s.c.refresh();
    Ok(())
}

/// MOV to and from control and debug registers, and the other MOVs that the row shares with them.
pub fn mov(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    if s.cpl() != 0 {
        return s.raise(Exception::GP0);
    }
    let w = if s.c.mode.long64() { Width::W64 } else { Width::W32 };
    // The row is that of every MOV; this one ends the block.
    s.c.stop = true;
    match (i.op[0], i.op[1]) {
        (Opnd::Cr(n), Opnd::Gpr(r)) => {
            let v = gpr(s, r, w);
            match n {
                0 => set_cr0(s, v),
                2 => {
                    s.c.state.cr2 = v;
                    Ok(())
                }
                3 => set_cr3(s, v),
                4 => set_cr4(s, v),
                8 if v > 15 => s.raise(Exception::GP0),
                8 => {
                    s.bus.set_tpr(s.c.retired(), v as u8);
                    s.after_bus();
                    Ok(())
                }
                _ => s.raise(Exception::UD),
            }
        }
        (Opnd::Gpr(r), Opnd::Cr(n)) => {
            let st = &s.c.state;
            let v = match n {
                0 => st.cr0,
                2 => st.cr2,
                3 => st.cr3,
                4 => st.cr4,
                8 => s.bus.tpr() as u64,
                _ => return s.raise(Exception::UD),
            };
            set_gpr(s, r, w, v & w.mask());
            Ok(())
        }
        (Opnd::Dr(n), Opnd::Gpr(r)) => {
            let n = debug_register(s, n)?;
            let v = gpr(s, r, w);
            set_dr(s, n, v)
        }
        (Opnd::Gpr(r), Opnd::Dr(n)) => {
            let n = debug_register(s, n)?;
            let st = &s.c.state;
            let v = match n {
                6 => st.dr6,
                7 => st.dr7,
                n => st.dr[n & 3],
            };
            set_gpr(s, r, w, v & w.mask());
            Ok(())
        }
        _ => s.raise(Exception::UD),
    }
}

/// DR4 and DR5 are DR6 and DR7, unless CR4.DE is set. #DB where DR7.GD guards them.
fn debug_register(s: &mut Interp<'_>, n: u8) -> Result<usize, Raised> {
    if n > 7 || matches!(n, 4 | 5) && s.c.state.cr4 & 8 != 0 {
        return s.raise(Exception::UD);
    }
    if s.c.state.dr7 & 1 << 13 != 0 {
        return s.raise(Exception::db(crate::event::BD as u64));
    }
    Ok(if matches!(n, 4 | 5) { n as usize + 2 } else { n as usize })
}

fn set_dr(s: &mut Interp<'_>, n: usize, v: u64) -> Result<(), Raised> {
    if n >= 6 && v >> 32 != 0 {
        return s.raise(Exception::GP0);
    }
    let before = s.c.state.dr7;
    match n {
        6 => s.c.state.dr6 = v & 0xe00f | 0xffff_0ff0,
        7 => s.c.state.dr7 = v & 0xffff_23ff | 0x400,
        n => s.c.state.dr[n & 3] = v,
    }
    // Pages with data breakpoints have no TLB entries.
    if (before | s.c.state.dr7) & 0xff != 0 && n != 6 {
        s.flush_all();
    }
    s.c.refresh();
    Ok(())
}

pub fn clts(s: &mut Interp<'_>, _: &Insn) -> Result<(), Raised> {
    s.c.state.cr0 &= !cr0::TS;
    s.c.refresh();
    Ok(())
}

pub fn invlpg(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    let at = address(s, i);
    let based = !s.c.mode.long64() || matches!(i.seg, crate::SegReg::Fs | crate::SegReg::Gs);
    let base = if based { s.c.state.seg[i.seg as usize].base } else { 0 };
    let la = at.wrapping_add(base);
    s.flush_page(if s.lma() { la } else { la & 0xffff_ffff });
    Ok(())
}

/// INVPCID.  SDM 2A. To drop more than was asked for is always allowed.
pub fn invpcid(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    let w = if s.c.mode.long64() { Width::W64 } else { Width::W32 };
    let Opnd::Gpr(r) = i.op[0] else { return s.raise(Exception::UD) };
    let kind = gpr(s, r, w);
    let at = address(s, i);
    let la = s.linear(i.seg, at, 16, crate::Access::Read)?;
    s.probe(la, 16, crate::Access::Read)?;
    let pcid = s.load(i.seg, Width::W64, at)?;
    let address = s.load(i.seg, Width::W64, at.wrapping_add(8) & i.aw.mask())?;
    let pcide = s.c.state.cr4 & cr4::PCIDE != 0;
    let wrong = kind > 3
        || kind < 2 && (pcid >> 12 != 0 || !pcide && pcid != 0)
        || kind == 0 && !canonical(address, s.c.model.offers(Feature::La57));
    if wrong {
        return s.raise(Exception::GP0);
    }
    match kind {
        0 => s.flush_page(address),
        1 if pcid == s.c.state.cr3 & 0xfff => s.flush_non_global(),
        _ => s.flush_all(),
    }
    Ok(())
}

/// INVD, WBINVD, WBNOINVD: there are no caches.
pub fn nothing(_: &mut Interp<'_>, _: &Insn) -> Result<(), Raised> {
    Ok(())
}
