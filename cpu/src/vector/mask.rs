//! Moves of some lanes: MASKMOVQ, MASKMOVDQU, VMASKMOVPS and relatives. Lanes that are masked off are not accessed, so
//! they do not fault; a store faults before it writes anything.

use crate::sem::operand;
use crate::{Access, Insn, Interp, Opnd, Raised, Width};
use memory::PAGE;

/// A vector register as bytes; an MMX one has zeroes above.
fn bytes(s: &Interp<'_>, o: Opnd) -> [u8; 32] {
    let mut r = [0; 32];
    match o {
        Opnd::Xmm(n) => {
            let v = s.c.state.ymm[n as usize & 15];
            r[..16].copy_from_slice(&v[0].to_le_bytes());
            r[16..].copy_from_slice(&v[1].to_le_bytes());
        }
        Opnd::Mmx(n) => r[..8].copy_from_slice(&s.c.state.fpu.sig[n as usize & 7].to_le_bytes()),
        _ => {}
    }
    r
}

/// The linear addresses of the lanes of width `w` whose mask is set, all checked for the access.
fn places(
    s: &mut Interp<'_>,
    i: &Insn,
    base: u64,
    w: Width,
    mask: &[u8],
    a: Access,
) -> Result<[Option<u64>; 32], Raised> {
    let (n, mut all) = (w.bytes(), [None; 32]);
    for (k, place) in (0u64..).zip(&mut all).take(mask.len() / n as usize) {
        // The sign bit of the lane.
        if mask[((k + 1) * n - 1) as usize] & 0x80 != 0 {
            *place = Some(s.linear(i.seg, base.wrapping_add(k * n), n, a)?);
        }
    }
    let first = all.iter().flatten().next().copied();
    for la in all.iter().flatten() {
        let end = la.wrapping_add(n - 1);
        let crosses = first.is_some_and(|f| (f ^ end) & !(PAGE - 1) != 0);
        if a == Access::Write && crosses {
            // A store that reaches the next page faults there with the address of its last byte.
            if let Some(f) = first {
                s.probe(f, 1, a)?;
            }
            let last = all.iter().flatten().last().copied().unwrap_or(end);
            s.probe(last.wrapping_add(n - 1), 1, a)?;
        } else {
            s.probe(*la, n, a)?;
        }
    }
    Ok(all)
}

fn lane(from: &[u8; 32], n: usize, w: Width) -> u64 {
    let b = w.bytes() as usize;
    from[n * b..(n + 1) * b].iter().rev().fold(0, |v, x| v << 8 | *x as u64)
}

fn store(
    s: &mut Interp<'_>,
    i: &Insn,
    base: u64,
    w: Width,
    mask: &[u8],
    from: &[u8; 32],
) -> Result<(), Raised> {
    for (n, la) in places(s, i, base, w, mask, Access::Write)?.into_iter().enumerate() {
        if let Some(la) = la {
            s.store_linear(la, w, lane(from, n, w))?;
        }
    }
    Ok(())
}

/// MASKMOVQ, MASKMOVDQU: bytes to DS:rDI.
pub fn maskmov_bytes(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    let mmx = matches!(i.op[1], Opnd::Mmx(_));
    if mmx && s.c.state.fpu.sw & 0x80 != 0 {
        return s.raise(crate::Exception::MF);
    }
    if mmx {
        // Even if the store then faults.
        (s.c.state.fpu.top, s.c.state.fpu.empty) = (0, 0);
    }
    let at = |s: &Interp<'_>, n: u64| (s.c.state.gpr[7] & i.aw.mask()).wrapping_add(n);
    let (from, mask) = (bytes(s, i.op[1]), bytes(s, i.op[2]));
    // All bytes must be writable, whatever the mask says; the upper ones are looked at first. SDM 2, MASKMOVDQU leaves
    // that to the processor, and this is what Intel's do.
    for n in if mmx { &[0][..] } else { &[8, 0] } {
        let la = s.linear(i.seg, at(s, *n), 8, Access::Write)?;
        s.probe(la, 8, Access::Write)?;
    }
    for n in (0..if mmx { 8 } else { 16 }).filter(|n| mask[*n as usize] & 0x80 != 0) {
        let la = s.linear(i.seg, at(s, n), 1, Access::Write)?;
        s.store_linear(la, Width::W8, from[n as usize] as u64)?;
    }
    Ok(())
}

/// VMASKMOVPS, VPMASKMOVD.
pub fn maskmov_d(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    maskmov(s, i, Width::W32)
}
/// VMASKMOVPD, VPMASKMOVQ.
pub fn maskmov_q(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    maskmov(s, i, Width::W64)
}

fn maskmov(s: &mut Interp<'_>, i: &Insn, w: Width) -> Result<(), Raised> {
    let base = operand::address(s, i);
    let mask = bytes(s, i.op[1]);
    let len = if i.wide() { 32 } else { 16 };
    let Opnd::Xmm(to) = i.op[0] else {
        let from = bytes(s, i.op[2]);
        return store(s, i, base, w, &mask[..len], &from);
    };
    let mut r = [0u128; 2];
    for (n, la) in places(s, i, base, w, &mask[..len], Access::Read)?.into_iter().enumerate() {
        if let Some(la) = la {
            let at = n as u32 * w.bits();
            r[at as usize / 128] |= (s.load_linear(la, w)? as u128) << (at % 128);
        }
    }
    s.c.state.ymm[to as usize & 15] = r;
    Ok(())
}
