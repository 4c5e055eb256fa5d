//! What vector operations compute: pure functions on 128 bits, the same on every host.
//!
//! Loops run over small arrays of lanes, which the compiler turns into vector code. Floating point is in [`float`].

mod eval;
pub mod float;
mod mul;
mod pack;

use crate::Width;
use crate::vector::{Lane, Shift};

/// A 128-bit value as lanes of one width.
macro_rules! width {
    ($(#[$doc:meta])* $name:ident $u:ident $s:ident $bytes:literal $n:literal) => {
        $(#[$doc])*
        pub(crate) mod $name {
            #[inline(always)]
            pub fn split(x: u128) -> [$u; $n] {
                let bytes = x.to_le_bytes();
                let parts = bytes.as_chunks::<$bytes>().0;
                std::array::from_fn(|i| $u::from_le_bytes(parts[i]))
            }
            #[inline(always)]
            pub fn join(x: [$u; $n]) -> u128 {
                let mut bytes = [0; 16];
                for (to, from) in bytes.as_chunks_mut::<$bytes>().0.iter_mut().zip(x) {
                    *to = from.to_le_bytes();
                }
                u128::from_le_bytes(bytes)
            }
            /// Each lane by itself.
            #[inline(always)]
            pub fn map(a: u128, f: impl Fn($u) -> $u) -> u128 {
                join(split(a).map(f))
            }
            /// Lanes in pairs.
            #[inline(always)]
            pub fn zip(a: u128, b: u128, f: impl Fn($u, $u) -> $u) -> u128 {
                let (a, b) = (split(a), split(b));
                join(std::array::from_fn(|i| f(a[i], b[i])))
            }
            /// The same with signed lanes.
            #[inline(always)]
            pub fn zips(a: u128, b: u128, f: impl Fn($s, $s) -> $s) -> u128 {
                zip(a, b, |x, y| f(x as $s, y as $s) as $u)
            }
            /// All ones where `f` holds.
            #[inline(always)]
            pub fn test(a: u128, b: u128, f: impl Fn($s, $s) -> bool) -> u128 {
                zip(a, b, |x, y| if f(x as $s, y as $s) { $u::MAX } else { 0 })
            }
            #[inline(always)]
            pub fn shl(a: u128, n: u64) -> u128 {
                if n < $u::BITS as u64 { map(a, |x| x << n) } else { 0 }
            }
            #[inline(always)]
            pub fn shr(a: u128, n: u64) -> u128 {
                if n < $u::BITS as u64 { map(a, |x| x >> n) } else { 0 }
            }
            #[inline(always)]
            pub fn sar(a: u128, n: u64) -> u128 {
                let n = n.min($u::BITS as u64 - 1);
                map(a, |x| (x as $s >> n) as $u)
            }
        }
    };
}
width! { /** Bytes. */ b u8 i8 1 16 }
width! { /** 16 bits. */ w u16 i16 2 8 }
width! { /** 32 bits. */ d u32 i32 4 4 }
width! { /** 64 bits. */ q u64 i64 8 2 }

/// Calls the same function of the module of a lane.
macro_rules! by_lane {
    ($lane:expr, $f:ident($($arg:expr),*)) => {
        match $lane {
            $crate::vector::Lane::B => $crate::lanes::b::$f($($arg),*),
            $crate::vector::Lane::W => $crate::lanes::w::$f($($arg),*),
            $crate::vector::Lane::D => $crate::lanes::d::$f($($arg),*),
            $crate::vector::Lane::Q => $crate::lanes::q::$f($($arg),*),
        }
    };
}
use by_lane;

/// See [`crate::Vector::shuffle`].
#[inline]
pub fn shuffle(a: u128, b: u128, from: [u8; 16]) -> u128 {
    let mut all = [0; 32];
    all[..16].copy_from_slice(&a.to_le_bytes());
    all[16..].copy_from_slice(&b.to_le_bytes());
    u128::from_le_bytes(from.map(|n| if n < 0x80 { all[n as usize & 31] } else { 0 }))
}

/// See [`crate::Vector::shift_x`].
#[inline(always)]
pub fn shift(op: Shift, lane: Lane, a: u128, n: u64) -> u128 {
    match op {
        Shift::Shl => by_lane!(lane, shl(a, n)),
        Shift::Shr => by_lane!(lane, shr(a, n)),
        Shift::Sar => by_lane!(lane, sar(a, n)),
    }
}

/// See [`crate::Vector::insert`].
#[inline(always)]
pub fn insert(lane: Lane, n: u8, a: u128, v: u64) -> u128 {
    let (at, mask) = (n as u32 * lane.bits() & 127, lane.width().mask() as u128);
    a & !(mask << at) | (v as u128 & mask) << at
}

/// See [`crate::Vector::splat`].
#[inline(always)]
pub fn splat(lane: Lane, v: u64) -> u128 {
    match lane {
        Lane::B => u128::from_le_bytes([v as u8; 16]),
        Lane::W => w::join([v as u16; 8]),
        Lane::D => d::join([v as u32; 4]),
        Lane::Q => q::join([v; 2]),
    }
}

/// See [`crate::Vector::movemask`].
#[inline(always)]
pub fn movemask(lane: Lane, a: u128) -> u64 {
    // Gathers the sign bits of 8 bytes: each lands at its own place of the product's top byte.
    let bytes = |x: u64| (x >> 7 & 0x0101_0101_0101_0101).wrapping_mul(0x0102_0408_1020_4080) >> 56;
    let (lo, hi) = (a as u64, (a >> 64) as u64);
    match lane {
        Lane::B => bytes(lo) | bytes(hi) << 8,
        Lane::W => w::split(a).iter().rev().fold(0, |m, x| m << 1 | (x >> 15) as u64),
        Lane::D => lo >> 31 & 1 | lo >> 62 & 2 | hi >> 29 & 4 | hi >> 60 & 8,
        Lane::Q => lo >> 63 | hi >> 62 & 2,
    }
}

/// See [`crate::Vector::crc32c`].
pub fn crc32c(w: Width, crc: u64, data: u64) -> u64 {
    let x = (crc & 0xffff_ffff) ^ data & w.mask();
    let n = w.bytes() as usize;
    let taken = (0..n).fold(0, |r, i| r ^ CRC[n - 1 - i][(x >> (8 * i)) as usize & 0xff]);
    // What of the old remainder the data did not reach moves down.
    let rest = if w.bits() < 32 { x as u32 >> w.bits() } else { 0 };
    (taken ^ rest) as u64
}

/// `CRC[n][b]`: the Castagnoli remainder of byte `b` followed by `n` zero bytes.
static CRC: [[u32; 256]; 8] = {
    let mut t = [[0u32; 256]; 8];
    let mut i = 0;
    while i < 256 {
        let (mut r, mut k) = (i as u32, 0);
        while k < 8 {
            r = r >> 1 ^ if r & 1 != 0 { 0x82f6_3b78 } else { 0 };
            k += 1;
        }
        t[0][i] = r;
        i += 1;
    }
    let mut n = 1;
    while n < 8 {
        i = 0;
        while i < 256 {
            let r = t[n - 1][i];
            t[n][i] = r >> 8 ^ t[0][r as usize & 0xff];
            i += 1;
        }
        n += 1;
    }
    t
};
