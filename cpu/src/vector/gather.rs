//! VGATHERDPS and relatives.  SDM 2, VGATHERDPD.

use crate::insn::NO_REG;
use crate::{Access, Insn, Interp, Opnd, Raised, Width};

/// 32-bit indices and data.
pub fn gather_dd(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    gather(s, i, Width::W32, Width::W32)
}
/// 32-bit indices, 64-bit data.
pub fn gather_dq(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    gather(s, i, Width::W32, Width::W64)
}
/// 64-bit indices, 32-bit data.
pub fn gather_qd(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    gather(s, i, Width::W64, Width::W32)
}
/// 64-bit indices and data.
pub fn gather_qq(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    gather(s, i, Width::W64, Width::W64)
}

/// Lane `n` of a register.
fn lane(v: &[u128; 2], w: Width, n: usize) -> u64 {
    let at = n * w.bits() as usize;
    (v[at / 128 & 1] >> (at % 128)) as u64 & w.mask()
}
fn set_lane(v: &mut [u128; 2], w: Width, n: usize, x: u64) {
    let at = n * w.bits() as usize;
    let half = &mut v[at / 128 & 1];
    *half = *half & !((w.mask() as u128) << (at % 128)) | (x as u128) << (at % 128);
}

/// Elements are done from the lowest on. One that is done has its mask lane cleared, so that after a fault the
/// instruction goes on where it stopped.
fn gather(s: &mut Interp<'_>, i: &Insn, iw: Width, dw: Width) -> Result<(), Raised> {
    let (Opnd::Xmm(to), Opnd::Xmm(mask)) = (i.op[0], i.op[2]) else { return Ok(()) };
    let (to, mask) = (to as usize & 15, mask as usize & 15);
    // The larger of both lanes fills the vector.
    let bits = if i.wide() { 256 } else { 128 };
    let count = bits / iw.bits().max(dw.bits()) as usize;
    let base = if i.base == NO_REG { 0 } else { s.c.state.gpr[i.base as usize & 15] };
    let index = s.c.state.ymm[i.index as usize & 15];
    for n in 0..count {
        if lane(&s.c.state.ymm[mask], dw, n) >> (dw.bits() - 1) != 0 {
            let x = crate::sem::signed(iw, lane(&index, iw, n)) << i.scale;
            let at = base.wrapping_add(x as u64).wrapping_add(i.disp as i64 as u64) & i.aw.mask();
            let la = s.linear(i.seg, at, dw.bytes(), Access::Read)?;
            let v = s.load_linear(la, dw)?;
            set_lane(&mut s.c.state.ymm[to], dw, n, v);
        }
        set_lane(&mut s.c.state.ymm[mask], dw, n, 0);
    }
    // What lies above the data is zeroed: 64 bits if the indices are the larger ones, and the upper half.
    let kept = count * dw.bits() as usize;
    s.c.state.ymm[mask] = [0; 2];
    let r = &mut s.c.state.ymm[to];
    if kept < 256 {
        r[1] = 0;
    }
    if kept < 128 {
        r[0] &= u64::MAX as u128;
    }
    Ok(())
}
