//! FXSAVE, XSAVE and their like.  SDM 1, chapter 13; SDM 2A, FXSAVE.

use super::cpuid::{Feature, Model};
use crate::mmu::canonical;
use crate::sem::operand::{address, read, write};
use crate::{Access, Exception, Insn, Interp, Raised};
use iced_x86::Code;

const X87: u64 = 1;
const SSE: u64 = 2;
const AVX: u64 = 4;
const PKRU: u64 = 1 << 9;
const COMPACT: u64 = 1 << 63;
/// The bits that MXCSR has.
pub const MXCSR_MASK: u32 = 0xffff;
/// Where the header is.
const HEADER: u64 = 512;

/// The state components that a model has, as XCR0 names them.
pub fn components(m: &Model) -> u64 {
    X87 | if m.offers(Feature::Sse) { SSE } else { 0 }
        | if m.offers(Feature::Avx) { AVX } else { 0 }
        | if m.offers(Feature::Pku) { PKRU } else { 0 }
}
/// Offset (in the standard form) and size of a component from 2 on.
pub fn place(component: u32) -> (u32, u32) {
    match component {
        2 => (576, 256),
        9 => (2688, 8),
        _ => (0, 0),
    }
}
/// Bytes of the standard form for a set of components.
pub fn size(set: u64) -> u32 {
    [2, 9].iter().filter(|&&n| set >> n & 1 != 0).fold(576, |_, &n| place(n).0 + place(n).1)
}
/// Bytes of the compacted form.
pub fn compact_size(set: u64) -> u32 {
    [2, 9].iter().filter(|&&n| set >> n & 1 != 0).fold(576, |all, &n| all + place(n).1)
}

/// The components that are not in their initial state.
fn in_use(s: &Interp<'_>) -> u64 {
    let st = &s.c.state;
    let f = &st.fpu;
    let mut all = 0;
    if (f.cw, f.sw, f.top, f.empty) != (0x37f, 0, 0, 0xff)
        || (f.op, f.ip, f.dp, f.cs, f.ds) != (0, 0, 0, 0, 0)
        || f.sig != [0; 8]
        || f.sexp != [0; 8]
    {
        all |= X87;
    }
    if st.ymm.iter().any(|r| r[0] != 0) {
        all |= SSE;
    }
    if st.ymm.iter().any(|r| r[1] != 0) {
        all |= AVX;
    }
    if st.pkru != 0 {
        all |= PKRU;
    }
    all
}

/// How many vector registers the mode reaches.
fn registers(s: &Interp<'_>) -> usize {
    if s.c.mode.long64() { 16 } else { 8 }
}

fn put(s: &mut Interp<'_>, la: u64, at: u64, b: &[u8]) -> Result<(), Raised> {
    s.store_bytes(la.wrapping_add(at), b)
}
fn get<const N: usize>(s: &mut Interp<'_>, la: u64, at: u64) -> Result<[u8; N], Raised> {
    let mut b = [0; N];
    s.load_bytes(la.wrapping_add(at), &mut b)?;
    Ok(b)
}
fn get_u64(s: &mut Interp<'_>, la: u64, at: u64) -> Result<u64, Raised> {
    Ok(u64::from_le_bytes(get(s, la, at)?))
}

/// The x87 part: control words, pointers (64 bits wide with `wide`) and registers, without MXCSR.
fn save_x87(s: &mut Interp<'_>, la: u64, wide: bool) -> Result<(), Raised> {
    let f = s.c.state.fpu.clone();
    let mut b = [0; 24];
    b[0..2].copy_from_slice(&f.cw.to_le_bytes());
    b[2..4].copy_from_slice(&(f.sw & !0x3800 | (f.top as u16 & 7) << 11).to_le_bytes());
    b[4] = !f.empty;
    b[6..8].copy_from_slice(&f.op.to_le_bytes());
    b[8..16].copy_from_slice(&f.ip.to_le_bytes());
    b[16..24].copy_from_slice(&f.dp.to_le_bytes());
    if !wide {
        b[12..16].copy_from_slice(&(f.cs as u32).to_le_bytes());
        b[20..24].copy_from_slice(&(f.ds as u32).to_le_bytes());
    }
    put(s, la, 0, &b)?;
    let mut regs = [0; 128];
    for n in 0..8 {
        let r = (f.top as usize + n) & 7;
        regs[16 * n..16 * n + 8].copy_from_slice(&f.sig[r].to_le_bytes());
        regs[16 * n + 8..16 * n + 10].copy_from_slice(&f.sexp[r].to_le_bytes());
    }
    put(s, la, 32, &regs)
}
fn load_x87(s: &mut Interp<'_>, la: u64, wide: bool) -> Result<(), Raised> {
    let b: [u8; 24] = get(s, la, 0)?;
    let regs: [u8; 128] = get(s, la, 32)?;
    let half = |at: usize| u16::from_le_bytes([b[at], b[at + 1]]);
    let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|n| b[at + n]));
    let la57 = s.la57();
    let f = &mut s.c.state.fpu;
    // Bit 6 reads as one, 13 to 15 as zero.
    f.cw = half(0) & 0x1f7f | 0x40;
    let sw = half(2);
    f.top = (sw >> 11 & 7) as u8;
    f.sw = sw & !0x3800;
    f.empty = !b[4];
    f.op = half(6) & 0x7ff;
    (f.ip, f.dp) = (word(8), word(16));
    if wide {
        // Pointers that are not canonical are made so.
        for p in [&mut f.ip, &mut f.dp] {
            if !canonical(*p, la57) {
                let n = if la57 { 7 } else { 16 };
                *p = ((*p << n) as i64 >> n) as u64;
            }
        }
        (f.cs, f.ds) = (0, 0);
    } else {
        (f.cs, f.ds) = (half(12), half(20));
        f.ip &= 0xffff_ffff;
        f.dp &= 0xffff_ffff;
    }
    for n in 0..8 {
        let r = (f.top as usize + n) & 7;
        let at = 16 * n;
        f.sig[r] = u64::from_le_bytes(std::array::from_fn(|k| regs[at + k]));
        f.sexp[r] = u16::from_le_bytes([regs[at + 8], regs[at + 9]]);
    }
    fix_summary(s);
    Ok(())
}
/// The summary and busy bits of the status word follow from the exceptions and their masks.
fn fix_summary(s: &mut Interp<'_>) {
    let f = &mut s.c.state.fpu;
    f.sw &= !0x8080;
    if f.sw & !f.cw & 0x3f != 0 {
        f.sw |= 0x8080;
    }
}

fn save_half(s: &mut Interp<'_>, la: u64, at: u64, half: usize) -> Result<(), Raised> {
    for n in 0..registers(s) {
        let b = s.c.state.ymm[n][half].to_le_bytes();
        put(s, la, at + 16 * n as u64, &b)?;
    }
    Ok(())
}
fn load_half(s: &mut Interp<'_>, la: u64, at: u64, half: usize) -> Result<(), Raised> {
    for n in 0..registers(s) {
        s.c.state.ymm[n][half] = u128::from_le_bytes(get(s, la, at + 16 * n as u64)?);
    }
    Ok(())
}
fn save_mxcsr(s: &mut Interp<'_>, la: u64) -> Result<(), Raised> {
    let v = s.c.state.mxcsr as u64 | (MXCSR_MASK as u64) << 32;
    put(s, la, 24, &v.to_le_bytes())
}
/// Checks MXCSR in memory; #GP(0) if a reserved bit is set.
fn mxcsr_in(s: &mut Interp<'_>, la: u64) -> Result<u32, Raised> {
    let v = u32::from_le_bytes(get(s, la, 24)?);
    if v & !MXCSR_MASK != 0 { s.raise(Exception::GP0) } else { Ok(v) }
}

/// The linear address of the area, which must be aligned.
fn area(s: &mut Interp<'_>, i: &Insn, align: u64, bytes: u64, a: Access) -> Result<u64, Raised> {
    let at = address(s, i);
    // An area that is not aligned is #GP, not #AC: look at an aligned address first.
    let la = s.linear(i.seg, at & !(align - 1), bytes, a)? | at & (align - 1);
    let la = if s.c.mode.long64() { la } else { la & 0xffff_ffff };
    if la & (align - 1) != 0 {
        return s.raise(Exception::GP0);
    }
    s.probe(la, bytes, a)?;
    Ok(la)
}

pub fn fxsave(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    let la = area(s, i, 16, 512, Access::Write)?;
    save_x87(s, la, i.iced() == Code::Fxsave64_m512byte)?;
    save_mxcsr(s, la)?;
    if s.c.state.cr4 & 1 << 9 != 0 { save_half(s, la, 160, 0) } else { Ok(()) }
}
pub fn fxrstor(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    let la = area(s, i, 16, 512, Access::Read)?;
    let sse = s.c.state.cr4 & 1 << 9 != 0;
    let mxcsr = mxcsr_in(s, la)?;
    load_x87(s, la, i.iced() == Code::Fxrstor64_m512byte)?;
    if sse {
        s.c.state.mxcsr = mxcsr;
        load_half(s, la, 160, 0)?;
    }
    s.c.refresh();
    Ok(())
}

/// The components that EDX:EAX asks for, of those enabled.
fn requested(s: &Interp<'_>, supervisor: bool) -> u64 {
    let st = &s.c.state;
    let asked = st.gpr[0] & 0xffff_ffff | st.gpr[2] << 32;
    asked & (st.xcr0 | if supervisor { st.msr.xss } else { 0 })
}

fn save_standard(s: &mut Interp<'_>, i: &Insn, wide: bool, opt: bool) -> Result<(), Raised> {
    let set = requested(s, false);
    let la = area(s, i, 64, size(set) as u64, Access::Write)?;
    let used = in_use(s);
    let old = get_u64(s, la, HEADER)?;
    let save = if opt { set & used } else { set };
    if save & X87 != 0 {
        save_x87(s, la, wide)?;
    }
    if set & (SSE | AVX) != 0 {
        save_mxcsr(s, la)?;
    }
    if save & SSE != 0 {
        save_half(s, la, 160, 0)?;
    }
    if save & AVX != 0 {
        save_half(s, la, place(2).0 as u64, 1)?;
    }
    if save & PKRU != 0 {
        let v = s.c.state.pkru as u64;
        put(s, la, place(9).0 as u64, &v.to_le_bytes())?;
    }
    put(s, la, HEADER, &(old & !set | set & used).to_le_bytes())
}
pub fn xsave(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    save_standard(s, i, i.iced() == Code::Xsave64_mem, false)
}
pub fn xsaveopt(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    save_standard(s, i, i.iced() == Code::Xsaveopt64_mem, true)
}

fn save_compact(s: &mut Interp<'_>, i: &Insn, wide: bool, sup: bool) -> Result<(), Raised> {
    let set = requested(s, sup);
    let la = area(s, i, 64, compact_size(set) as u64, Access::Write)?;
    let mut used = in_use(s);
    if s.c.state.mxcsr != 0x1f80 {
        used |= SSE;
    }
    let save = set & used;
    if save & X87 != 0 {
        save_x87(s, la, wide)?;
    }
    if save & SSE != 0 {
        save_mxcsr(s, la)?;
        save_half(s, la, 160, 0)?;
    }
    let mut at = 576;
    if save & AVX != 0 {
        save_half(s, la, at, 1)?;
    }
    if set & AVX != 0 {
        at += place(2).1 as u64;
    }
    if save & PKRU != 0 {
        let v = s.c.state.pkru as u64;
        put(s, la, at, &v.to_le_bytes())?;
    }
    put(s, la, HEADER, &save.to_le_bytes())?;
    put(s, la, HEADER + 8, &(set | COMPACT).to_le_bytes())
}
pub fn xsavec(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    save_compact(s, i, i.iced() == Code::Xsavec64_mem, false)
}
pub fn xsaves(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    save_compact(s, i, i.iced() == Code::Xsaves64_mem, true)
}

fn restore(s: &mut Interp<'_>, i: &Insn, wide: bool, sup: bool) -> Result<(), Raised> {
    let set = requested(s, sup);
    let la = area(s, i, 64, 576, Access::Read)?;
    let enabled = s.c.state.xcr0 | if sup { s.c.state.msr.xss } else { 0 };
    let has = get_u64(s, la, HEADER)?;
    let form = get_u64(s, la, HEADER + 8)?;
    let rest: [u8; 48] = get(s, la, HEADER + 16)?;
    let compact = form & COMPACT != 0;
    let wrong = if compact {
        !(s.c.model.offers(Feature::Xsavec) || s.c.model.offers(Feature::Xsaves))
            || form & !COMPACT & !enabled != 0
            || has & !form != 0
            || rest != [0; 48]
    } else {
        sup || form != 0 || rest[..8] != [0; 8] || has & !enabled != 0
    };
    if wrong {
        return s.raise(Exception::GP0);
    }
    let load = set & has;
    let (bytes, avx, pkru) = if compact {
        let avx = 576;
        let pkru = avx + if form & AVX != 0 { 256 } else { 0 };
        (compact_size(form & !COMPACT), avx, pkru)
    } else {
        (size(set), place(2).0 as u64, place(9).0 as u64)
    };
    s.probe(la, bytes as u64, Access::Read)?;
    let from_memory = if compact { load & SSE != 0 } else { set & (SSE | AVX) != 0 };
    let mxcsr = if from_memory { mxcsr_in(s, la)? } else { 0x1f80 };
    if from_memory || compact && set & SSE != 0 {
        s.c.state.mxcsr = mxcsr;
    }
    if load & X87 != 0 {
        load_x87(s, la, wide)?;
    } else if set & X87 != 0 {
        s.c.state.fpu = crate::Fpu::default();
    }
    for (bit, at, half) in [(SSE, 160, 0), (AVX, avx, 1)] {
        if load & bit != 0 {
            load_half(s, la, at, half)?;
        } else if set & bit != 0 {
            for n in 0..registers(s) {
                s.c.state.ymm[n][half] = 0;
            }
        }
    }
    if set & PKRU != 0 {
        let v = if load & PKRU != 0 { get_u64(s, la, pkru)? as u32 } else { 0 };
        super::misc::set_pkru(s, v);
    }
    s.c.refresh();
    Ok(())
}
pub fn xrstor(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    restore(s, i, i.iced() == Code::Xrstor64_mem, false)
}
pub fn xrstors(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    restore(s, i, i.iced() == Code::Xrstors64_mem, true)
}

pub fn xgetbv(s: &mut Interp<'_>, _: &Insn) -> Result<(), Raised> {
    let v = match s.c.state.gpr[1] as u32 {
        0 => s.c.state.xcr0,
        1 if s.c.model.offers(Feature::Xgetbv1) => s.c.state.xcr0 & in_use(s),
        _ => return s.raise(Exception::GP0),
    };
    super::misc::set_edx_eax(s, v);
    Ok(())
}
pub fn xsetbv(s: &mut Interp<'_>, _: &Insn) -> Result<(), Raised> {
    let v = s.c.state.gpr[0] & 0xffff_ffff | s.c.state.gpr[2] << 32;
    let wrong = s.c.state.gpr[1] as u32 != 0
        || v & X87 == 0
        || v & !components(&s.c.model) != 0
        || v & AVX != 0 && v & SSE == 0;
    if wrong {
        return s.raise(Exception::GP0);
    }
    s.c.state.xcr0 = v;
    s.c.refresh();
    Ok(())
}

pub fn ldmxcsr(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    let v = read(s, i, 0)? as u32;
    if v & !MXCSR_MASK != 0 {
        return s.raise(Exception::GP0);
    }
    s.c.state.mxcsr = v;
    s.c.refresh();
    Ok(())
}
pub fn stmxcsr(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    write(s, i, 0, s.c.state.mxcsr as u64)
}
