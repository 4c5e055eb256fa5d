//! Moves of some lanes: MASKMOVQ, MASKMOVDQU, VMASKMOVPS and relatives. Lanes that are masked off are not accessed, so
//! they do not fault; a store faults before it writes anything.

use crate::sem::operand;
use crate::{Access, Insn, Interp, Opnd, Raised, Width};

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

/// The linear addresses of the lanes of width `w` whose mask is set, checked and probed.
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
            let la = s.linear(i.seg, base.wrapping_add(k * n) & i.aw.mask(), n, a)?;
            s.probe(la, n, a)?;
            *place = Some(la);
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
    let base = s.c.state.gpr[7] & i.aw.mask();
    let (from, mask) = (bytes(s, i.op[1]), bytes(s, i.op[2]));
    let len = if mmx { 8 } else { 16 };
    store(s, i, base, Width::W8, &mask[..len], &from)?;
    if mmx {
        (s.c.state.fpu.top, s.c.state.fpu.empty) = (0, 0);
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
