//! Shifts, and single lanes in and out: PSLLW, PINSRW, PEXTRW, PMOVMSKB, PTEST, CRC32.

use super::{first, is_mmx, read, read_mm, two_mm, write, write_mm};
use crate::sem::operand;
use crate::vector::{Lane, Shift, Vector, X1, X2};
use crate::{Insn, Op2, Opnd, Res, Var, Width};
use Lane::{B, D, Q, W};

macro_rules! shifts { ($($name:ident = $op:ident $lane:ident;)*) => {$(
    #[inline(always)]
    pub fn $name<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
        shift(s, i, Shift::$op, $lane)
    }
)*}}
shifts! {
    psllw = Shl W; pslld = Shl D; psllq = Shl Q;
    psrlw = Shr W; psrld = Shr D; psrlq = Shr Q;
    psraw = Sar W; psrad = Sar D;
}

/// All lanes by one count: an immediate, or the low 64 bits of a 128-bit operand even if the data is 256 bits wide.
#[inline(always)]
fn shift<S: Vector>(s: &mut S, i: &Insn, op: Shift, lane: Lane) -> Res<S> {
    let k = first(i);
    let by_imm = i.op[k + 1] == Opnd::Imm;
    if is_mmx(i) {
        if by_imm {
            s.mmx_check()?;
            let a = read_mm(s, i, 0)?;
            let a = s.scalar(Q, a);
            let r = s.x1(X1::Shift(op, lane, i.imm as u8), a);
            write_mm(s, i, 0, r);
            return Ok(());
        }
        return two_mm(s, i, |s, a, b| {
            let n = s.extract(Q, 0, b);
            s.shift_x(op, lane, a, n)
        });
    }
    let n = if by_imm {
        None
    } else {
        let b = read(s, i, k + 1)?[0];
        Some(s.extract(Q, 0, b))
    };
    let a = read(s, i, k)?;
    let f = |s: &mut S, a| match n {
        None => s.x1(X1::Shift(op, lane, i.imm as u8), a),
        Some(n) => s.shift_x(op, lane, a, n),
    };
    let lo = f(s, a[0]);
    let hi = if i.wide() { f(s, a[1]) } else { lo };
    write(s, i, [lo, hi]);
    Ok(())
}

/// PSLLDQ.
#[inline(always)]
pub fn pslldq<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    let by = i.imm as u8 as usize;
    bytes(s, i, std::array::from_fn(|n| if n >= by { (n - by) as u8 } else { 0x80 }))
}
/// PSRLDQ.
#[inline(always)]
pub fn psrldq<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    let by = i.imm as u8 as usize;
    bytes(s, i, std::array::from_fn(|n| if n + by < 16 { (n + by) as u8 } else { 0x80 }))
}
#[inline(always)]
fn bytes<S: Vector>(s: &mut S, i: &Insn, from: [u8; 16]) -> Res<S> {
    let a = read(s, i, first(i))?;
    let lo = s.shuffle(a[0], a[0], from);
    let hi = if i.wide() { s.shuffle(a[1], a[1], from) } else { lo };
    write(s, i, [lo, hi]);
    Ok(())
}

/// PINSRB, PINSRW, PINSRD, PINSRQ.
macro_rules! insert { ($($name:ident = $lane:ident;)*) => {$(
    #[inline(always)]
    pub fn $name<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
        let at = i.imm as u8 & ($lane.count() - 1);
        if is_mmx(i) {
            s.mmx_check()?;
            let v = operand::read(s, i, 1)?;
            let a = read_mm(s, i, 0)?;
            let a = s.scalar(Q, a);
            let a = s.insert($lane, at & ($lane.count() / 2 - 1), a, v);
            write_mm(s, i, 0, a);
            return Ok(());
        }
        let k = first(i);
        let v = operand::read(s, i, k + 1)?;
        let a = read(s, i, k)?[0];
        let a = s.insert($lane, at, a, v);
        write(s, i, [a, a]);
        Ok(())
    }
)*}}
insert! { pinsrb = B; pinsrw = W; pinsrd = D; pinsrq = Q; }

/// PEXTRB, PEXTRW, PEXTRD, PEXTRQ, EXTRACTPS: registers are zero-extended.
macro_rules! extract { ($($name:ident = $lane:ident;)*) => {$(
    #[inline(always)]
    pub fn $name<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
        let at = i.imm as u8 & ($lane.count() - 1);
        let v = if let Opnd::Mmx(r) = i.op[1] {
            s.mmx_check()?;
            let a = s.get_mm(r);
            let a = s.scalar(Q, a);
            s.mmx_enter();
            s.extract($lane, at & ($lane.count() / 2 - 1), a)
        } else {
            let a = read(s, i, 1)?[0];
            s.extract($lane, at, a)
        };
        operand::write(s, i, 0, v)
    }
)*}}
extract! { pextrb = B; pextrw = W; pextrd = D; pextrq = Q; }

/// MOVMSKPS, MOVMSKPD, PMOVMSKB.
macro_rules! masks { ($($name:ident = $lane:ident;)*) => {$(
    #[inline(always)]
    pub fn $name<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
        let v = if let Opnd::Mmx(r) = i.op[1] {
            s.mmx_check()?;
            let a = s.get_mm(r);
            let a = s.scalar(Q, a);
            s.mmx_enter();
            s.movemask($lane, a)
        } else {
            let a = read(s, i, 1)?;
            let lo = s.movemask($lane, a[0]);
            if i.wide() {
                let (hi, n) = (s.movemask($lane, a[1]), s.imm($lane.count() as u64));
                let hi = s.op2(Op2::Shl, Width::W64, hi, n);
                s.op2(Op2::Or, Width::W64, lo, hi)
            } else {
                lo
            }
        };
        operand::write(s, i, 0, v)
    }
)*}}
masks! { pmovmskb = B; movmskps = D; movmskpd = Q; }

/// PTEST: ZF if the operands share no bit, CF if the first has all that the second has. VTESTPS, VTESTPD: of sign bits.
macro_rules! tests { ($($name:ident = $mask:expr;)*) => {$(
    #[inline(always)]
    pub fn $name<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
        let b = read(s, i, 1)?;
        let a = read(s, i, 0)?;
        let (and, not) = (both(s, i, X2::And, a, b), both(s, i, X2::AndNot, a, b));
        let mask: u128 = $mask;
        let (and, not) = if mask == !0 {
            (and, not)
        } else {
            let m = s.imm_x(mask);
            (s.x2(X2::And, and, m), s.x2(X2::And, not, m))
        };
        let (z, c) = (s.any(and), s.any(not));
        let (zf, cf, zero) = (s.imm(0x40), s.imm(1), s.imm(0));
        let (z, c) = (s.pick(z, zero, zf), s.pick(c, zero, cf));
        let f = s.op2(Op2::Or, Width::W64, z, c);
        s.set_status(f);
        Ok(())
    }
)*}}
tests! {
    ptest = !0;
    vtestps = 0x80000000_80000000_80000000_80000000;
    vtestpd = 0x80000000_00000000_80000000_00000000;
}

/// `op` of both halves, ORed.
#[inline(always)]
fn both<S: Vector>(s: &mut S, i: &Insn, op: X2, a: [S::X; 2], b: [S::X; 2]) -> S::X {
    let lo = s.x2(op, a[0], b[0]);
    if !i.wide() {
        return lo;
    }
    let hi = s.x2(op, a[1], b[1]);
    s.x2(X2::Or, lo, hi)
}

/// CRC32. The result is 32 bits in either size of register.
#[inline(always)]
pub fn crc32<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    let data = operand::read(s, i, 1)?;
    if let Opnd::Gpr(r) = i.op[0] {
        let crc = operand::gpr(s, r, Width::W32);
        let crc = s.crc32c(i.ow[1], crc, data);
        s.set(Var::Gpr(r), crc);
    }
    Ok(())
}

/// VPBROADCASTB and relatives, VBROADCASTSS, VBROADCASTSD: from lane 0 or memory.
macro_rules! broadcast { ($($name:ident = $lane:ident;)*) => {$(
    #[inline(always)]
    pub fn $name<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
        let v = super::read_lane(s, i, 1, $lane)?;
        let x = s.splat($lane, v);
        write(s, i, [x, x]);
        Ok(())
    }
)*}}
broadcast! { broadcast_b = B; broadcast_w = W; broadcast_d = D; broadcast_q = Q; }
