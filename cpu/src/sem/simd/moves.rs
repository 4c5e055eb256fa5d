//! Moves between vector registers, memory, MMX and general registers.

use super::{first, read, read_from, write, write_merged};
use crate::sem::operand;
use crate::vector::{Lane, Vector};
use crate::{Insn, Opnd, Res, Width};

/// A whole vector in either direction; `aligned` memory must be, in VEX encodings too.
#[inline(always)]
fn whole<S: Vector>(s: &mut S, i: &Insn, aligned: bool) -> Res<S> {
    let v = read_from(s, i, 1, aligned)?;
    if i.op[0] != Opnd::Mem {
        write(s, i, v);
        return Ok(());
    }
    let at = operand::address(s, i);
    if i.wide() { s.store_y(i.seg, at, v, aligned) } else { s.store_x(i.seg, at, v[0], aligned) }
}

/// MOVAPS, MOVAPD, MOVDQA, MOVNTPS, MOVNTPD, MOVNTDQ, MOVNTDQA.
#[inline(always)]
pub fn aligned<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    whole(s, i, true)
}
/// MOVUPS, MOVUPD, MOVDQU, LDDQU.
#[inline(always)]
pub fn unaligned<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    whole(s, i, false)
}

/// MOVD and MOVQ in all their forms: the low bits from anywhere to anywhere, zero-extended.
#[inline(always)]
fn low<S: Vector>(s: &mut S, i: &Insn, w: Width, lane: Lane) -> Res<S> {
    let mmx = matches!(i.op[0], Opnd::Mmx(_)) || matches!(i.op[1], Opnd::Mmx(_));
    if mmx {
        s.mmx_check()?;
    }
    let v = match i.op[1] {
        Opnd::Mmx(r) => {
            let v = s.get_mm(r);
            if w == Width::W32 { s.op1(crate::Op1::Zext, w, v) } else { v }
        }
        Opnd::Xmm(r) => {
            let x = s.get_x(r, 0);
            s.extract(lane, 0, x)
        }
        _ => operand::read(s, i, 1)?,
    };
    match i.op[0] {
        Opnd::Mmx(r) => {
            s.mmx_enter();
            s.set_mm(r, v);
        }
        Opnd::Xmm(_) => {
            if mmx {
                s.mmx_enter();
            }
            let x = s.scalar(Lane::Q, v);
            write(s, i, [x, x]);
        }
        _ => {
            if mmx {
                s.mmx_top();
            }
            operand::write(s, i, 0, v)?;
            if mmx {
                s.mmx_enter();
            }
        }
    }
    Ok(())
}
#[inline(always)]
pub fn movd<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    low(s, i, Width::W32, Lane::D)
}
/// MOVQ, MOVNTQ, MOVQ2DQ, MOVDQ2Q.
#[inline(always)]
pub fn movq<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    low(s, i, Width::W64, Lane::Q)
}

/// MOVSS and MOVSD: between registers the rest of the (first source's) register stays, from memory it is zeroed.
#[inline(always)]
fn scalar<S: Vector>(s: &mut S, i: &Insn, lane: Lane) -> Res<S> {
    match (i.op[0], i.op[1]) {
        (Opnd::Mem, Opnd::Xmm(r)) => {
            let x = s.get_x(r, 0);
            let v = s.extract(lane, 0, x);
            operand::write(s, i, 0, v)
        }
        (_, Opnd::Mem) => {
            let v = read(s, i, 1)?;
            write(s, i, v);
            Ok(())
        }
        _ => {
            let v = read(s, i, first(i) + 1)?[0];
            write_merged(s, i, lane.bytes(), v)
        }
    }
}
#[inline(always)]
pub fn movss<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    scalar(s, i, Lane::D)
}
/// MOVSD of vector registers; the string instruction shares the mnemonic.
#[inline(always)]
pub fn movsd<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    if !i.op.iter().any(|o| matches!(o, Opnd::Xmm(_))) {
        return crate::sem::string::movs(s, i);
    }
    scalar(s, i, Lane::Q)
}

/// MOVLPS, MOVLPD, MOVHPS, MOVHPD: one 64-bit half of the 128.
#[inline(always)]
fn half<S: Vector>(s: &mut S, i: &Insn, n: u8) -> Res<S> {
    if let (Opnd::Mem, Opnd::Xmm(r)) = (i.op[0], i.op[1]) {
        let x = s.get_x(r, 0);
        let v = s.extract(Lane::Q, n, x);
        return operand::write(s, i, 0, v);
    }
    let k = first(i);
    let v = operand::read(s, i, k + 1)?;
    let a = read(s, i, k)?[0];
    let a = s.insert(Lane::Q, n, a, v);
    write(s, i, [a, a]);
    Ok(())
}
#[inline(always)]
pub fn movlp<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    half(s, i, 0)
}
#[inline(always)]
pub fn movhp<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    half(s, i, 1)
}

/// MOVNTI.
#[inline(always)]
pub fn movnti<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    let v = operand::read(s, i, 1)?;
    operand::write(s, i, 0, v)
}

/// EMMS: all x87 tags empty.
#[inline(always)]
pub fn emms<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    s.big(crate::vector::mmx::emms, i)
}

/// VZEROUPPER.
#[inline(always)]
pub fn vzeroupper<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    zero(s, i, false)
}
/// VZEROALL.
#[inline(always)]
pub fn vzeroall<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    zero(s, i, true)
}
/// Outside 64-bit mode there are eight registers: the stack pointer is then at most 32 bits wide.
#[inline(always)]
fn zero<S: Vector>(s: &mut S, i: &Insn, low: bool) -> Res<S> {
    let zero = s.imm_x(0);
    for r in 0..if i.sw == Width::W64 { 16 } else { 8 } {
        s.set_x(r, 1, zero);
        if low {
            s.set_x(r, 0, zero);
        }
    }
    Ok(())
}

/// Moves under a mask and gathers are plain Rust.
macro_rules! big { ($($name:ident = $module:ident;)*) => {$(
    #[inline(always)]
    pub fn $name<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
        s.big(crate::vector::$module::$name, i)
    }
)*}}
big! {
    maskmov_bytes = mask;
    maskmov_d = mask;
    maskmov_q = mask;
    gather_dd = gather;
    gather_dq = gather;
    gather_qd = gather;
    gather_qq = gather;
    pcmpestri = text;
    pcmpestrm = text;
    pcmpistri = text;
    pcmpistrm = text;
}
