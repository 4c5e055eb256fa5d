//! Vector instructions: reading and writing their operands. SDM 1, 14.3 for what VEX encodings do to the upper half.
//!
//! An SSE encoding names `destination = first source, second source` and keeps the upper half of the register; a VEX
//! encoding names the destination apart and zeroes what lies above. 256-bit instructions do the same thing to each half.

pub mod arith;
pub mod convert;
pub mod float;
pub mod fma;
pub mod lane;
pub mod moves;
pub mod permute;
pub mod shuffle;

use super::operand;
use crate::vector::{Form, Lane, Vector, Y};
use crate::{Insn, Opnd, Res};

/// The number of the first source: the destination itself in SSE encodings.
#[inline(always)]
pub fn first(i: &Insn) -> usize {
    i.vex() as usize
}

/// The form of a packed floating-point instruction.
#[inline(always)]
pub fn packed(i: &Insn) -> Form {
    if i.wide() { Form::Y } else { Form::X }
}

/// Reads a vector operand. Memory of 16 bytes must be aligned if `aligned`; smaller memory is zero-extended.
#[inline]
pub fn read_from<S: Vector>(
    s: &mut S,
    i: &Insn,
    n: usize,
    aligned: bool,
) -> Result<Y<S>, S::Fault> {
    match i.op[n] {
        Opnd::Xmm(r) => {
            let lo = s.get_x(r, 0);
            Ok(if i.wide() { [lo, s.get_x(r, 1)] } else { [lo, lo] })
        }
        Opnd::Mmx(r) => {
            let v = s.get_mm(r);
            let x = s.scalar(Lane::Q, v);
            Ok([x, x])
        }
        _ => {
            let at = operand::address(s, i);
            match i.bytes {
                32 => s.load_y(i.seg, at, aligned),
                16 => s.load_x(i.seg, at, aligned).map(|x| [x, x]),
                _ => {
                    let v = s.load(i.seg, i.ow[n], at)?;
                    let x = s.scalar(Lane::Q, v);
                    Ok([x, x])
                }
            }
        }
    }
}

/// Reads a vector operand; SSE encodings want 16 bytes of memory aligned.  SDM 1, 11.3 and 14.9.
#[inline]
pub fn read<S: Vector>(s: &mut S, i: &Insn, n: usize) -> Result<Y<S>, S::Fault> {
    read_from(s, i, n, !i.vex())
}

/// Both sources of an instruction with two.
#[inline]
pub fn sources<S: Vector>(s: &mut S, i: &Insn) -> Result<(Y<S>, Y<S>), S::Fault> {
    let k = first(i);
    let b = read(s, i, k + 1)?;
    Ok((read(s, i, k)?, b))
}

/// Writes the destination register.
#[inline]
pub fn write<S: Vector>(s: &mut S, i: &Insn, v: Y<S>) {
    if let Opnd::Xmm(r) = i.op[0] {
        s.set_x(r, 0, v[0]);
        if i.wide() {
            s.set_x(r, 1, v[1]);
        } else if i.vex() {
            let zero = s.imm_x(0);
            s.set_x(r, 1, zero);
        }
    }
}

/// Writes a destination register that is 128 bits whatever the sources are.
#[inline]
pub fn write_low<S: Vector>(s: &mut S, i: &Insn, v: S::X) {
    let zero = if i.wide() { s.imm_x(0) } else { v };
    write(s, i, [v, zero])
}

/// Writes the low `bytes` of `v` over those of the first source.
#[inline]
pub fn write_merged<S: Vector>(s: &mut S, i: &Insn, bytes: u8, v: S::X) -> Res<S> {
    let old = read(s, i, first(i))?[0];
    let from = std::array::from_fn(|n| if (n as u8) < bytes { 16 + n as u8 } else { n as u8 });
    let v = s.shuffle(old, v, from);
    write(s, i, [v, v]);
    Ok(())
}

/// `f` of both sources, half by half.
#[inline(always)]
pub fn two<S: Vector>(
    s: &mut S,
    i: &Insn,
    f: impl Fn(&mut S, usize, S::X, S::X) -> S::X,
) -> Res<S> {
    let (a, b) = sources(s, i)?;
    let lo = f(s, 0, a[0], b[0]);
    let hi = if i.wide() { f(s, 1, a[1], b[1]) } else { lo };
    write(s, i, [lo, hi]);
    Ok(())
}

/// `f` of the only source, half by half.
#[inline(always)]
pub fn one<S: Vector>(s: &mut S, i: &Insn, f: impl Fn(&mut S, usize, S::X) -> S::X) -> Res<S> {
    let a = read(s, i, 1)?;
    let lo = f(s, 0, a[0]);
    let hi = if i.wide() { f(s, 1, a[1]) } else { lo };
    write(s, i, [lo, hi]);
    Ok(())
}

/// Whether this is the MMX form of an instruction that has both.
#[inline(always)]
pub fn is_mmx(i: &Insn) -> bool {
    matches!(i.op[0], Opnd::Mmx(_))
}

/// The 64 bits of an MMX source.
#[inline]
pub fn read_mm<S: Vector>(s: &mut S, i: &Insn, n: usize) -> Result<S::V, S::Fault> {
    match i.op[n] {
        Opnd::Mmx(r) => Ok(s.get_mm(r)),
        _ => operand::read(s, i, n),
    }
}

/// `f` of both MMX sources in the low 64 bits, zero above; its low 64 bits are the result.
#[inline(always)]
pub fn two_mm<S: Vector>(
    s: &mut S,
    i: &Insn,
    f: impl FnOnce(&mut S, S::X, S::X) -> S::X,
) -> Res<S> {
    s.mmx_check()?;
    let b = read_mm(s, i, 1)?;
    let a = read_mm(s, i, 0)?;
    let (a, b) = (s.scalar(Lane::Q, a), s.scalar(Lane::Q, b));
    let r = f(s, a, b);
    write_mm(s, i, 0, r);
    Ok(())
}

/// Writes 64-bit lane `n` of `v` to the MMX destination.
#[inline]
pub fn write_mm<S: Vector>(s: &mut S, i: &Insn, n: u8, v: S::X) {
    let v = s.extract(Lane::Q, n, v);
    s.mmx_enter();
    if let Opnd::Mmx(r) = i.op[0] {
        s.set_mm(r, v);
    }
}

/// The integer in lane 0, or in memory of the lane's width.
#[inline]
pub fn read_lane<S: Vector>(s: &mut S, i: &Insn, n: usize, lane: Lane) -> Result<S::V, S::Fault> {
    match i.op[n] {
        Opnd::Xmm(r) => {
            let x = s.get_x(r, 0);
            Ok(s.extract(lane, 0, x))
        }
        _ => operand::read(s, i, n),
    }
}
