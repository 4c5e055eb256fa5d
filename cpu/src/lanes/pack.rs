//! Narrowing, widening, and neighbours.

use super::{b, d, q, w};
use crate::vector::Lane;

/// The W lanes of both, each made a byte.
#[inline(always)]
pub fn pack_w(x: u128, y: u128, f: impl Fn(i16) -> u8) -> u128 {
    let (x, y) = (w::split(x), w::split(y));
    b::join(std::array::from_fn(|n| f(if n < 8 { x[n] } else { y[n - 8] } as i16)))
}

/// The D lanes of both, each made a word.
#[inline(always)]
pub fn pack_d(x: u128, y: u128, f: impl Fn(i32) -> u16) -> u128 {
    let (x, y) = (d::split(x), d::split(y));
    w::join(std::array::from_fn(|n| f(if n < 4 { x[n] } else { y[n - 4] } as i32)))
}

#[inline(always)]
pub fn neighbours_w(x: u128, y: u128, f: impl Fn(u16, u16) -> u16) -> u128 {
    let (x, y) = (w::split(x), w::split(y));
    w::join(std::array::from_fn(|n| {
        let (v, n) = if n < 4 { (&x, n) } else { (&y, n - 4) };
        f(v[2 * n], v[2 * n + 1])
    }))
}

#[inline(always)]
pub fn neighbours_d(x: u128, y: u128, f: impl Fn(u32, u32) -> u32) -> u128 {
    let (x, y) = (d::split(x), d::split(y));
    d::join([f(x[0], x[1]), f(x[2], x[3]), f(y[0], y[1]), f(y[2], y[3])])
}

/// PMOVSX and PMOVZX.
#[inline(always)]
pub fn widen(from: Lane, to: Lane, signed: bool, a: u128) -> u128 {
    let lane = |n: usize| -> u64 {
        let v = match from {
            Lane::B => b::split(a)[n & 15] as i8 as i64,
            Lane::W => w::split(a)[n & 7] as i16 as i64,
            Lane::D => d::split(a)[n & 3] as i32 as i64,
            Lane::Q => q::split(a)[n & 1] as i64,
        } as u64;
        if signed { v } else { v & from.width().mask() }
    };
    match to {
        Lane::B => a,
        Lane::W => w::join(std::array::from_fn(|n| lane(n) as u16)),
        Lane::D => d::join(std::array::from_fn(|n| lane(n) as u32)),
        Lane::Q => q::join(std::array::from_fn(lane)),
    }
}
