//! Products and sums across lanes.

use super::{b, d, q, w};

/// PMADDWD. Only four times -32768 overflows, and it wraps.  SDM 2, PMADDWD.
#[inline]
pub fn madd(x: u128, y: u128) -> u128 {
    let (x, y) = (w::split(x), w::split(y));
    let product = |n: usize| x[n] as i16 as i32 * y[n] as i16 as i32;
    d::join(std::array::from_fn(|n| product(2 * n).wrapping_add(product(2 * n + 1)) as u32))
}

/// PMADDUBSW.
#[inline]
pub fn madd_us(x: u128, y: u128) -> u128 {
    let (x, y) = (b::split(x), b::split(y));
    let product = |n: usize| x[n] as i32 * y[n] as i8 as i32;
    w::join(std::array::from_fn(|n| {
        (product(2 * n) + product(2 * n + 1)).clamp(-0x8000, 0x7fff) as u16
    }))
}

/// PSADBW.
#[inline]
pub fn sad(x: u128, y: u128) -> u128 {
    let (x, y) = (b::split(x), b::split(y));
    let sum = |from: usize| (from..from + 8).map(|n| x[n].abs_diff(y[n]) as u64).sum();
    q::join([sum(0), sum(8)])
}

/// MPSADBW: the four bytes of `y` that `imm` names against eight overlapping fours of `x`.
#[inline]
pub fn mpsad(x: u128, y: u128, imm: u8) -> u128 {
    let (x, y) = (b::split(x), b::split(y));
    let (at_x, at_y) = (imm as usize & 4, 4 * (imm as usize & 3));
    w::join(std::array::from_fn(|n| {
        (0..4).map(|k| x[at_x + n + k].abs_diff(y[at_y + k]) as u16).sum()
    }))
}
