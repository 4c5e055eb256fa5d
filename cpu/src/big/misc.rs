//! HLT, MONITOR, time, random numbers, protection keys, segment bases.

use super::cpuid::Feature;
use super::msr;
use crate::mmu::canonical;
use crate::sem::operand::{address, gpr, read, set_gpr, write};
use crate::{Access, Activity, Exception, Insn, Interp, Opnd, Raised, Sem, Width, flags};

pub fn set_edx_eax(s: &mut Interp<'_>, v: u64) {
    s.c.state.gpr[0] = v & 0xffff_ffff;
    s.c.state.gpr[2] = v >> 32;
}

pub fn hlt(s: &mut Interp<'_>, _: &Insn) -> Result<(), Raised> {
    s.c.set_activity(Activity::Halted);
    Ok(())
}

/// PAUSE: somebody spins, so another core should have its turn.
pub fn pause(s: &mut Interp<'_>, _: &Insn) -> Result<(), Raised> {
    if s.c.shares {
        s.c.yields = true;
        s.c.stop = true;
    }
    Ok(())
}
/// What leaves the core unchanged.
pub fn nop(_: &mut Interp<'_>, _: &Insn) -> Result<(), Raised> {
    Ok(())
}

/// MONITOR watches the line of an address.
pub fn monitor(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    if s.c.state.gpr[1] & 0xffff_ffff != 0 {
        return s.raise(Exception::GP0);
    }
    let at = s.c.state.gpr[0] & i.aw.mask();
    let la = s.linear(i.seg, at, 1, Access::Read)?;
    s.load_linear(la, Width::W8)?;
    let page = s.page(s.c.mode.data_set(), la, Access::Read)?;
    s.c.state.monitor = page.ram.map(|at| (at | la & 0xfff) & !63);
    if let Some(at) = s.c.state.monitor {
        s.c.state.monitor_line = crate::event::line(s.c, at);
    }
    Ok(())
}

/// MWAIT. Bit 0 of ECX, kept in bit 0 of the monitored address: an interrupt that is masked ends it too.
pub fn mwait(s: &mut Interp<'_>, _: &Insn) -> Result<(), Raised> {
    let ecx = s.c.state.gpr[1];
    if ecx & 0xffff_fffe != 0 {
        return s.raise(Exception::GP0);
    }
    if let Some(line) = s.c.state.monitor {
        s.c.state.monitor = Some(line & !1 | ecx & 1);
        s.c.set_activity(Activity::Mwait);
    }
    Ok(())
}

/// CR4.TSD.
fn time_allowed(s: &mut Interp<'_>) -> Result<(), Raised> {
    if s.c.state.cr4 & 4 != 0 && s.cpl() != 0 {
        return s.raise(Exception::GP0);
    }
    Ok(())
}
pub fn rdtsc(s: &mut Interp<'_>, _: &Insn) -> Result<(), Raised> {
    time_allowed(s)?;
    let v = msr::tsc(s);
    set_edx_eax(s, v);
    Ok(())
}
pub fn rdtscp(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    rdtsc(s, i)?;
    s.c.state.gpr[1] = s.c.state.msr.tsc_aux;
    Ok(())
}
pub fn rdpid(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    let Opnd::Gpr(r) = i.op[0] else { return s.raise(Exception::UD) };
    s.c.state.gpr[r as usize & 15] = s.c.state.msr.tsc_aux & 0xffff_ffff;
    Ok(())
}
/// RDPMC: the four counters there always were; none counts.
pub fn rdpmc(s: &mut Interp<'_>, _: &Insn) -> Result<(), Raised> {
    let allowed = s.cpl() == 0 || !s.c.state.protected() || s.c.state.cr4 & 1 << 8 != 0;
    if !allowed || s.c.state.gpr[1] as u32 > 3 {
        return s.raise(Exception::GP0);
    }
    set_edx_eax(s, 0);
    Ok(())
}
/// RDPRU: MPERF and APERF for everyone.  APM 3.
pub fn rdpru(s: &mut Interp<'_>, _: &Insn) -> Result<(), Raised> {
    time_allowed(s)?;
    let v = if s.c.state.gpr[1] as u32 <= 1 { msr::tsc(s) } else { 0 };
    set_edx_eax(s, v);
    Ok(())
}

/// RDRAND and RDSEED: there always is one.
pub fn random(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    let Opnd::Gpr(r) = i.op[0] else { return s.raise(Exception::UD) };
    let v = s.bus.random() & i.ow[0].mask();
    set_gpr(s, r, i.ow[0], v);
    s.set_status(flags::CF);
    Ok(())
}

/// Changes the rights of user pages by key.
pub fn set_pkru(s: &mut Interp<'_>, v: u32) {
    let changed = s.c.state.pkru ^ v;
    if changed != 0 {
        s.c.state.pkru = v;
        // What is known of pages has their keys' rights in it.
        let keys = (0..16).filter(|k| changed >> (2 * k) & 3 != 0).fold(0, |all, k| all | 1 << k);
        if s.c.state.cr4 & super::control::cr4::PKE != 0 && s.c.tlb.has_keys(keys) {
            s.flush_all();
        }
    }
}
fn pke(s: &mut Interp<'_>) -> Result<(), Raised> {
    if s.c.state.cr4 & super::control::cr4::PKE == 0 {
        return s.raise(Exception::UD);
    }
    if s.c.state.gpr[1] & 0xffff_ffff != 0 {
        return s.raise(Exception::GP0);
    }
    Ok(())
}
pub fn rdpkru(s: &mut Interp<'_>, _: &Insn) -> Result<(), Raised> {
    pke(s)?;
    set_edx_eax(s, s.c.state.pkru as u64);
    Ok(())
}
pub fn wrpkru(s: &mut Interp<'_>, _: &Insn) -> Result<(), Raised> {
    pke(s)?;
    if s.c.state.gpr[2] & 0xffff_ffff != 0 {
        return s.raise(Exception::GP0);
    }
    let v = s.c.state.gpr[0] as u32;
    set_pkru(s, v);
    Ok(())
}

fn fsgsbase(s: &mut Interp<'_>) -> Result<(), Raised> {
    if s.c.state.cr4 & 1 << 16 == 0 {
        return s.raise(Exception::UD);
    }
    Ok(())
}
fn read_base(s: &mut Interp<'_>, i: &Insn, seg: usize) -> Result<(), Raised> {
    fsgsbase(s)?;
    let v = s.c.state.seg[seg].base & i.ow[0].mask();
    write(s, i, 0, v)
}
fn write_base(s: &mut Interp<'_>, i: &Insn, seg: usize) -> Result<(), Raised> {
    fsgsbase(s)?;
    let v = read(s, i, 0)?;
    if !canonical(v, s.c.model.offers(Feature::La57)) {
        return s.raise(Exception::GP0);
    }
    s.c.state.seg[seg].base = v;
    Ok(())
}
pub fn rdfsbase(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    read_base(s, i, 4)
}
pub fn rdgsbase(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    read_base(s, i, 5)
}
pub fn wrfsbase(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    write_base(s, i, 4)
}
pub fn wrgsbase(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    write_base(s, i, 5)
}

/// CLFLUSH, CLFLUSHOPT, CLWB: a read of one byte, as far as faults go.
pub fn clflush(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    let at = address(s, i);
    let la = s.linear(i.seg, at, 1, Access::Read)?;
    s.probe(la, 1, Access::Read)
}
/// CLZERO: a line of zeroes.  APM 3.
pub fn clzero(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    let at = gpr(s, 0, i.aw) & !63;
    let la = s.linear(i.seg, at, 64, Access::Write)?;
    s.store_bytes(la, &[0; 64])
}
