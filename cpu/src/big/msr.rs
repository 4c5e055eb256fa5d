//! Model-specific registers.  SDM 4.

use super::control::efer;
use super::cpuid::Feature;
use super::misc::set_edx_eax;
use crate::mmu::canonical;
use crate::{Exception, Insn, Interp, Raised};

/// Machine-check banks.
pub const BANKS: u32 = 10;
/// MTRR: eight variable ranges, fixed ranges, write combining.
const MTRR_CAP: u64 = 8 | 1 << 8 | 1 << 10;
const FIXED: [u32; 11] =
    [0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f];

fn number(s: &Interp<'_>) -> u32 {
    s.c.state.gpr[1] as u32
}

pub fn rdmsr(s: &mut Interp<'_>, _: &Insn) -> Result<(), Raised> {
    let n = number(s);
    match read(s, n) {
        Some(v) => {
            set_edx_eax(s, v);
            Ok(())
        }
        None => s.raise(Exception::GP0),
    }
}
pub fn wrmsr(s: &mut Interp<'_>, _: &Insn) -> Result<(), Raised> {
    let v = s.c.state.gpr[0] & 0xffff_ffff | s.c.state.gpr[2] << 32;
    let n = number(s);
    match write(s, n, v) {
        Some(()) => {
            s.c.refresh();
            Ok(())
        }
        None => s.raise(Exception::GP0),
    }
}

/// The time-stamp counter as the guest sees it.
pub fn tsc(s: &mut Interp<'_>) -> u64 {
    let raw = s.bus.tsc(s.c.retired());
    raw.wrapping_add(s.c.state.msr.tsc_offset)
}

/// A register's value; `None`: #GP.
pub fn read(s: &mut Interp<'_>, n: u32) -> Option<u64> {
    let has = |f| s.c.model.offers(f);
    let st = &s.c.state;
    let m = &st.msr;
    Some(match n {
        0x10 => tsc(s),
        0x17 | 0x2a | 0xce | 0x198 | 0x19c | 0x1fc => 0,
        0x3a => m.feature_control,
        0x3b if has(Feature::TscAdjust) => m.tsc_adjust,
        0x48 if has(Feature::SpecCtrl) => m.spec_ctrl,
        0x79 => return None,
        0x8b => m.bios_sign,
        0x10a if has(Feature::ArchCaps) => 0x1eb,
        0xfe if has(Feature::Mtrr) => MTRR_CAP,
        0x174 => m.sysenter_cs,
        0x175 => m.sysenter_esp,
        0x176 => m.sysenter_eip,
        0x179 => BANKS as u64 | 1 << 8 | 1 << 24,
        0x17a => m.mcg_status,
        0x17b => u64::MAX,
        0x1a0 => m.misc_enable,
        0x1d9 => m.debugctl,
        0x200..=0x20f if has(Feature::Mtrr) => {
            let k = (n - 0x200) as usize;
            if k % 2 == 0 { m.mtrr_base[k / 2] } else { m.mtrr_mask[k / 2] }
        }
        0x250..=0x26f if has(Feature::Mtrr) => m.mtrr_fixed[FIXED.iter().position(|&f| f == n)?],
        0x277 => m.pat,
        0x2ff if has(Feature::Mtrr) => m.mtrr_def_type,
        0x400.. if n < 0x400 + 4 * BANKS => {
            let k = (n - 0x400) as usize;
            [&m.mc_ctl, &m.mc_status, &m.mc_addr, &m.mc_misc][k % 4][k / 4]
        }
        0x6e1 if has(Feature::Pks) => m.pkrs,
        0xda0 if has(Feature::Xsaves) => m.xss,
        0xc000_0080 if has(Feature::Nx) || has(Feature::Lm) || has(Feature::Syscall) => m.efer,
        0xc000_0081 => m.star,
        0xc000_0082 if has(Feature::Lm) => m.lstar,
        0xc000_0083 if has(Feature::Lm) => m.cstar,
        0xc000_0084 if has(Feature::Lm) => m.sfmask,
        0xc000_0100 if has(Feature::Lm) => st.seg[4].base,
        0xc000_0101 if has(Feature::Lm) => st.seg[5].base,
        0xc000_0102 if has(Feature::Lm) => m.kernel_gs_base,
        0xc000_0103 if has(Feature::Rdtscp) || has(Feature::Rdpid) => m.tsc_aux,
        // MPERF and APERF: as the time-stamp counter.
        0xe7 | 0xe8 => tsc(s),
        _ if s.c.model.amd() => match n {
            0xc001_0010 | 0xc001_0015 | 0xc001_001f | 0xc001_0055 | 0xc001_0140 | 0xc001_0141
            | 0xc001_1022 | 0xc001_102a | 0xc001_0114 | 0xc001_0064 | 0xc001_0063 | 0xc001_0062
            | 0xc001_0061 => 0,
            // LFENCE serializes.
            0xc001_1029 => 2,
            // Performance counters of old: none count.
            0xc001_0000..=0xc001_0007 => 0,
            _ => return s.bus.msr_read(s.c.retired(), n),
        },
        _ => {
            let count = s.c.retired();
            let v = s.bus.msr_read(count, n)?;
            s.after_bus();
            v
        }
    })
}

fn memory_type(t: u64) -> bool {
    matches!(t, 0 | 1 | 4 | 5 | 6)
}

/// Writes a register; `None`: #GP.
pub fn write(s: &mut Interp<'_>, n: u32, v: u64) -> Option<()> {
    let model = s.c.model.clone();
    let has = |f| model.offers(f);
    let la57 = has(Feature::La57);
    let phys = (1u64 << model.phys_bits()) - 1;
    let need = |on: bool| on.then_some(());
    let m = &mut s.c.state.msr;
    match n {
        0x10 => {
            let by = v.wrapping_sub(tsc(s));
            let m = &mut s.c.state.msr;
            m.tsc_offset = m.tsc_offset.wrapping_add(by);
            m.tsc_adjust = m.tsc_adjust.wrapping_add(by);
        }
        0x3b if has(Feature::TscAdjust) => {
            m.tsc_offset = m.tsc_offset.wrapping_add(v.wrapping_sub(m.tsc_adjust));
            m.tsc_adjust = v;
        }
        0x3a => {
            need(m.feature_control & 1 == 0 || v == m.feature_control)?;
            m.feature_control = v;
        }
        0x48 if has(Feature::SpecCtrl) => {
            need(v & !7 == 0)?;
            m.spec_ctrl = v;
        }
        // PRED_CMD, microcode update, platform bits: nothing to do.
        0x49 if has(Feature::SpecCtrl) => need(v & !1 == 0)?,
        0x79 | 0x8b => {}
        0x2a | 0x198 | 0x19c | 0xe7 | 0xe8 | 0x1fc => {}
        0x174 => m.sysenter_cs = v & 0xffff_ffff,
        0x175 => {
            need(canonical(v, la57))?;
            m.sysenter_esp = v;
        }
        0x176 => {
            need(canonical(v, la57))?;
            m.sysenter_eip = v;
        }
        0x17a => m.mcg_status = v,
        0x17b => need(v == 0 || v == u64::MAX)?,
        0x1a0 => m.misc_enable = v,
        0x1d9 => {
            need(v & !0xdfc3 == 0)?;
            m.debugctl = v & !0xc1;
        }
        0x200..=0x20f if has(Feature::Mtrr) => {
            let k = (n - 0x200) as usize;
            if k % 2 == 0 {
                need(v & !(phys & !0xfff | 0xff) == 0 && memory_type(v & 0xff))?;
                m.mtrr_base[k / 2] = v;
            } else {
                need(v & !(phys & !0xfff | 0x800) == 0)?;
                m.mtrr_mask[k / 2] = v;
            }
        }
        0x250..=0x26f if has(Feature::Mtrr) => {
            let k = FIXED.iter().position(|&f| f == n)?;
            need(v.to_le_bytes().iter().all(|&t| memory_type(t as u64)))?;
            m.mtrr_fixed[k] = v;
        }
        0x277 => {
            need(v.to_le_bytes().iter().all(|&t| memory_type(t as u64) || t == 7))?;
            m.pat = v;
        }
        0x2ff if has(Feature::Mtrr) => {
            need(v & !0xcff == 0 && memory_type(v & 0xff))?;
            m.mtrr_def_type = v;
        }
        0x400.. if n < 0x400 + 4 * BANKS => {
            let k = (n - 0x400) as usize;
            match k % 4 {
                0 => {
                    // All or nothing; Linux leaves bit 10 of AMD's bank 4 off, others bit 0.
                    need(v == 0 || v | 1 << 10 | 1 == u64::MAX)?;
                    m.mc_ctl[k / 4] = v;
                }
                1 => {
                    need(v == 0)?;
                    m.mc_status[k / 4] = v;
                }
                2 => m.mc_addr[k / 4] = v,
                _ => m.mc_misc[k / 4] = v,
            }
        }
        0x6e1 if has(Feature::Pks) => {
            need(v >> 32 == 0)?;
            if m.pkrs != v {
                m.pkrs = v;
                s.flush_all();
            }
        }
        // No supervisor state is managed by XSAVES.
        0xda0 if has(Feature::Xsaves) => need(v == 0)?,
        0xc000_0080 if has(Feature::Nx) || has(Feature::Lm) || has(Feature::Syscall) => {
            return set_efer(s, v);
        }
        0xc000_0081 => m.star = v,
        0xc000_0082 if has(Feature::Lm) => {
            need(canonical(v, la57))?;
            m.lstar = v;
        }
        0xc000_0083 if has(Feature::Lm) => {
            need(canonical(v, la57))?;
            m.cstar = v;
        }
        0xc000_0084 if has(Feature::Lm) => m.sfmask = v & 0xffff_ffff,
        0xc000_0100 | 0xc000_0101 if has(Feature::Lm) => {
            need(canonical(v, la57))?;
            s.c.state.seg[if n == 0xc000_0100 { 4 } else { 5 }].base = v;
        }
        0xc000_0102 if has(Feature::Lm) => {
            need(canonical(v, la57))?;
            m.kernel_gs_base = v;
        }
        0xc000_0103 if has(Feature::Rdtscp) || has(Feature::Rdpid) => {
            m.tsc_aux = v & 0xffff_ffff;
        }
        _ => {
            if model.amd() {
                match n {
                    0xc001_0000..=0xc001_0007
                    | 0xc001_0010
                    | 0xc001_0015
                    | 0xc001_001f
                    | 0xc001_0055
                    | 0xc001_0062
                    | 0xc001_1022
                    | 0xc001_1029
                    | 0xc001_102a => {
                        return Some(());
                    }
                    _ => {}
                }
            }
            let count = s.c.retired();
            s.bus.msr_write(count, n, v)?;
            if n == 0x1b {
                s.c.state.msr.apic_base = v;
            }
            s.after_bus();
        }
    }
    Some(())
}

/// Bits of EFER that this core has.
pub(super) fn efer_bits(s: &Interp<'_>) -> u64 {
    use efer::*;
    let table = [(SCE, Feature::Syscall), (LME, Feature::Lm), (NXE, Feature::Nx)];
    table.iter().filter(|(_, f)| s.c.model.offers(*f)).fold(LMA, |all, (bit, _)| all | bit)
}

fn set_efer(s: &mut Interp<'_>, v: u64) -> Option<()> {
    use efer::*;
    let old = s.c.state.msr.efer;
    let allowed = efer_bits(s);
    let paging = s.c.state.cr0 >> 31 & 1 != 0;
    if v & !allowed != 0 || paging && (v ^ old) & LME != 0 {
        return None;
    }
    s.c.state.msr.efer = v & !LMA | old & LMA;
    if (v ^ old) & NXE != 0 {
        s.flush_all();
    }
    Some(())
}
