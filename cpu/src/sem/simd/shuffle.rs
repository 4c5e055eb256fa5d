//! Bytes in another order, as immediates say: unpacking, shuffles, alignment, blends. All are one constant shuffle a half.

use super::{is_mmx, one, two, two_mm};
use crate::vector::{Lane, Vector};
use crate::{Insn, Res};
use Lane::{B, D, Q, W};

/// A byte shuffle from one of lanes: `lanes(n)` is where lane `n` comes from, counted through both sources.
#[inline(always)]
pub fn by_lanes(lane: Lane, lanes: impl Fn(u8) -> u8) -> [u8; 16] {
    let b = lane.bytes();
    std::array::from_fn(|n| lanes(n as u8 / b) * b + n as u8 % b)
}

/// Lanes of both sources in turn, from lane `from` on.
#[inline(always)]
fn interleave(lane: Lane, from: u8) -> [u8; 16] {
    by_lanes(lane, |n| from + n / 2 + (n & 1) * lane.count())
}

macro_rules! unpack { ($($low:ident $high:ident = $lane:ident;)*) => {$(
    #[inline(always)]
    pub fn $low<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
        if is_mmx(i) {
            return two_mm(s, i, |s, a, b| s.shuffle(a, b, interleave($lane, 0)));
        }
        two(s, i, |s, _, a, b| s.shuffle(a, b, interleave($lane, 0)))
    }
    #[inline(always)]
    pub fn $high<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
        if is_mmx(i) {
            return two_mm(s, i, |s, a, b| {
                s.shuffle(a, b, interleave($lane, $lane.count() / 4))
            });
        }
        two(s, i, |s, _, a, b| s.shuffle(a, b, interleave($lane, $lane.count() / 2)))
    }
)*}}
unpack! {
    punpcklbw punpckhbw = B;
    punpcklwd punpckhwd = W;
    punpckldq punpckhdq = D;
    punpcklqdq punpckhqdq = Q;
}

/// PSHUFD, VPERMILPS with an immediate.
#[inline(always)]
pub fn pshufd<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    let from = by_lanes(D, |n| i.imm as u8 >> (2 * n) & 3);
    one(s, i, |s, _, a| s.shuffle(a, a, from))
}
#[inline(always)]
pub fn pshuflw<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    let from = by_lanes(W, |n| if n < 4 { i.imm as u8 >> (2 * n) & 3 } else { n });
    one(s, i, |s, _, a| s.shuffle(a, a, from))
}
#[inline(always)]
pub fn pshufhw<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    let from = by_lanes(W, |n| if n < 4 { n } else { 4 + (i.imm as u8 >> (2 * (n - 4)) & 3) });
    one(s, i, |s, _, a| s.shuffle(a, a, from))
}
/// PSHUFW, which only MMX has.
#[inline(always)]
pub fn pshufw<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    let from = by_lanes(W, |n| if n < 4 { i.imm as u8 >> (2 * n) & 3 } else { n });
    two_mm(s, i, |s, _, b| s.shuffle(b, b, from))
}
/// SHUFPS: two lanes of each source.
#[inline(always)]
pub fn shufps<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    let from = by_lanes(D, |n| (i.imm as u8 >> (2 * n) & 3) + if n < 2 { 0 } else { 4 });
    two(s, i, |s, _, a, b| s.shuffle(a, b, from))
}
/// SHUFPD: one lane of each; two bits of the immediate for each half.
#[inline(always)]
pub fn shufpd<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    two(s, i, |s, half, a, b| {
        let imm = i.imm as u8 >> (2 * half);
        s.shuffle(a, b, by_lanes(Q, |n| (imm >> n & 1) + 2 * n))
    })
}
#[inline(always)]
pub fn movddup<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    one(s, i, |s, _, a| s.shuffle(a, a, by_lanes(Q, |_| 0)))
}
#[inline(always)]
pub fn movsldup<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    one(s, i, |s, _, a| s.shuffle(a, a, by_lanes(D, |n| n & 2)))
}
#[inline(always)]
pub fn movshdup<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    one(s, i, |s, _, a| s.shuffle(a, a, by_lanes(D, |n| n | 1)))
}

/// PALIGNR: both sources, the first above the second, moved down by bytes.
#[inline(always)]
pub fn palignr<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    let by = i.imm as u8 as usize;
    if is_mmx(i) {
        // Byte n of the 16: below 8 of the second source, then of the first.
        let from = std::array::from_fn(|n| match n + by {
            m if m < 8 => m as u8,
            m if m < 16 => m as u8 + 8,
            _ => 0x80,
        });
        return two_mm(s, i, |s, a, b| s.shuffle(b, a, from));
    }
    let from = std::array::from_fn(|n| if n + by < 32 { (n + by) as u8 } else { 0x80 });
    two(s, i, |s, _, a, b| s.shuffle(b, a, from))
}

/// Blends by immediate: bits for the lanes of one half, then of the other, or the same for both.
macro_rules! blend { ($($name:ident = $lane:ident $next:literal;)*) => {$(
    #[inline(always)]
    pub fn $name<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
        two(s, i, |s, half, a, b| {
            let imm = i.imm as u8 >> ($next * half);
            s.shuffle(a, b, by_lanes($lane, |n| n + (imm >> n & 1) * $lane.count()))
        })
    }
)*}}
blend! {
    blendps = D 4;
    blendpd = Q 2;
    pblendw = W 0;
}

/// INSERTPS: a lane of the second source (memory has just one), then lanes to zero.
#[inline(always)]
pub fn insertps<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    let imm = i.imm as u8;
    let from_lane = if i.bytes == 0 { imm >> 6 } else { 0 };
    two(s, i, |s, _, a, b| {
        let mut from = by_lanes(D, |n| if n == imm >> 4 & 3 { 4 + from_lane } else { n });
        for (n, f) in from.iter_mut().enumerate() {
            if imm >> (n / 4) & 1 != 0 {
                *f = 0x80;
            }
        }
        s.shuffle(a, b, from)
    })
}

#[inline(always)]
pub fn movhlps<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    two(s, i, |s, _, a, b| s.shuffle(a, b, by_lanes(Q, |n| if n == 0 { 3 } else { 1 })))
}
#[inline(always)]
pub fn movlhps<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    two(s, i, |s, _, a, b| s.shuffle(a, b, by_lanes(Q, |n| 2 * n)))
}
