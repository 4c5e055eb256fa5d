//! The operations of the vector words in numbers.

use super::{b, by_lane, d, mul, pack, q, shift, w};
use crate::crypto;
use crate::vector::{Lane, Shift, X1, X2, X3};

impl X1 {
    /// The result in numbers.
    #[inline(always)]
    pub fn eval(self, a: u128) -> u128 {
        match self {
            X1::Abs(Lane::B) => b::map(a, |x| (x as i8).unsigned_abs()),
            X1::Abs(Lane::W) => w::map(a, |x| (x as i16).unsigned_abs()),
            X1::Abs(Lane::D) => d::map(a, |x| (x as i32).unsigned_abs()),
            X1::Abs(Lane::Q) => q::map(a, |x| (x as i64).unsigned_abs()),
            X1::Shift(op, lane, n) => shift(op, lane, a, n as u64),
            X1::Zext { from, to } => pack::widen(from, to, false, a),
            X1::Sext { from, to } => pack::widen(from, to, true, a),
            X1::MinPos => min_pos(a),
            X1::AesImc => crypto::aes::inverse_mix(a),
            X1::AesKeygen(rcon) => crypto::aes::keygen_assist(a, rcon),
        }
    }
}

/// PHMINPOSUW.
fn min_pos(a: u128) -> u128 {
    let (mut least, mut at) = (u16::MAX, 0);
    for (n, x) in w::split(a).into_iter().enumerate() {
        if x < least {
            (least, at) = (x, n);
        }
    }
    least as u128 | (at as u128) << 16
}

impl X2 {
    /// The result in numbers.
    #[inline(always)]
    pub fn eval(self, x: u128, y: u128) -> u128 {
        match self {
            X2::And => x & y,
            X2::Or => x | y,
            X2::Xor => x ^ y,
            X2::AndNot => !x & y,
            X2::Add(l) => match l {
                Lane::B => b::zip(x, y, u8::wrapping_add),
                Lane::W => w::zip(x, y, u16::wrapping_add),
                Lane::D => d::zip(x, y, u32::wrapping_add),
                Lane::Q => q::zip(x, y, u64::wrapping_add),
            },
            X2::Sub(l) => match l {
                Lane::B => b::zip(x, y, u8::wrapping_sub),
                Lane::W => w::zip(x, y, u16::wrapping_sub),
                Lane::D => d::zip(x, y, u32::wrapping_sub),
                Lane::Q => q::zip(x, y, u64::wrapping_sub),
            },
            X2::AddS(Lane::B) => b::zips(x, y, i8::saturating_add),
            X2::AddS(_) => w::zips(x, y, i16::saturating_add),
            X2::AddU(Lane::B) => b::zip(x, y, u8::saturating_add),
            X2::AddU(_) => w::zip(x, y, u16::saturating_add),
            X2::SubS(Lane::B) => b::zips(x, y, i8::saturating_sub),
            X2::SubS(_) => w::zips(x, y, i16::saturating_sub),
            X2::SubU(Lane::B) => b::zip(x, y, u8::saturating_sub),
            X2::SubU(_) => w::zip(x, y, u16::saturating_sub),
            X2::Mul(Lane::D) => d::zip(x, y, u32::wrapping_mul),
            X2::Mul(_) => w::zip(x, y, u16::wrapping_mul),
            X2::MulHiS => w::zips(x, y, |p, q| ((p as i32 * q as i32) >> 16) as i16),
            X2::MulHiU => w::zip(x, y, |p, q| ((p as u32 * q as u32) >> 16) as u16),
            X2::MulHrs => w::zips(x, y, |p, q| (((p as i32 * q as i32 >> 14) + 1) >> 1) as i16),
            X2::MulEvenS => {
                q::zip(x, y, |p, q| (p as i32 as i64).wrapping_mul(q as i32 as i64) as u64)
            }
            X2::MulEvenU => q::zip(x, y, |p, q| (p as u32 as u64) * (q as u32 as u64)),
            X2::MulAdd => mul::madd(x, y),
            X2::MulAddUs => mul::madd_us(x, y),
            X2::Eq(l) => by_lane!(l, test(x, y, |p, q| p == q)),
            X2::Gt(l) => by_lane!(l, test(x, y, |p, q| p > q)),
            X2::MinS(l) => by_lane!(l, zips(x, y, |p, q| p.min(q))),
            X2::MaxS(l) => by_lane!(l, zips(x, y, |p, q| p.max(q))),
            X2::MinU(l) => by_lane!(l, zip(x, y, |p, q| p.min(q))),
            X2::MaxU(l) => by_lane!(l, zip(x, y, |p, q| p.max(q))),
            X2::Avg(Lane::B) => b::zip(x, y, |p, q| ((p as u16 + q as u16 + 1) >> 1) as u8),
            X2::Avg(_) => w::zip(x, y, |p, q| ((p as u32 + q as u32 + 1) >> 1) as u16),
            X2::Sad => mul::sad(x, y),
            X2::PackS(Lane::D) => pack::pack_d(x, y, |v| v.clamp(-0x8000, 0x7fff) as u16),
            X2::PackS(_) => pack::pack_w(x, y, |v| v.clamp(-0x80, 0x7f) as u8),
            X2::PackU(Lane::D) => pack::pack_d(x, y, |v| v.clamp(0, 0xffff) as u16),
            X2::PackU(_) => pack::pack_w(x, y, |v| v.clamp(0, 0xff) as u8),
            X2::HAdd(Lane::D) => pack::neighbours_d(x, y, u32::wrapping_add),
            X2::HAdd(_) => pack::neighbours_w(x, y, u16::wrapping_add),
            X2::HSub(Lane::D) => pack::neighbours_d(x, y, u32::wrapping_sub),
            X2::HSub(_) => pack::neighbours_w(x, y, u16::wrapping_sub),
            X2::HAddS => {
                pack::neighbours_w(x, y, |p, q| (p as i16).saturating_add(q as i16) as u16)
            }
            X2::HSubS => {
                pack::neighbours_w(x, y, |p, q| (p as i16).saturating_sub(q as i16) as u16)
            }
            X2::Sign(Lane::B) => b::zips(x, y, |p, q| p.wrapping_mul(q.signum())),
            X2::Sign(Lane::W) => w::zips(x, y, |p, q| p.wrapping_mul(q.signum())),
            X2::Sign(_) => d::zips(x, y, |p, q| p.wrapping_mul(q.signum())),
            X2::ShiftV(op, Lane::Q) => q::zip(x, y, |p, n| match op {
                Shift::Shl if n < 64 => p << n,
                Shift::Shr if n < 64 => p >> n,
                Shift::Sar => (p as i64 >> n.min(63)) as u64,
                _ => 0,
            }),
            X2::ShiftV(op, _) => d::zip(x, y, |p, n| match op {
                Shift::Shl if n < 32 => p << n,
                Shift::Shr if n < 32 => p >> n,
                Shift::Sar => (p as i32 >> n.min(31)) as u32,
                _ => 0,
            }),
            X2::PickB => {
                let from = x.to_le_bytes();
                b::map(y, |n| if n < 0x80 { from[n as usize & 15] } else { 0 })
            }
            X2::PickD => {
                let from = d::split(x);
                d::map(y, |n| from[n as usize & 3])
            }
            X2::PickQ => {
                let from = q::split(x);
                q::map(y, |n| from[n as usize >> 1 & 1])
            }
            X2::Mpsadbw(imm) => mul::mpsad(x, y, imm),
            X2::Clmul(imm) => {
                let pick = |v: u128, high: bool| (v >> if high { 64 } else { 0 }) as u64;
                crypto::clmul(pick(x, imm & 1 != 0), pick(y, imm & 16 != 0))
            }
            X2::AesEnc => crypto::aes::encrypt(x) ^ y,
            X2::AesEncLast => crypto::aes::encrypt_last(x) ^ y,
            X2::AesDec => crypto::aes::decrypt(x) ^ y,
            X2::AesDecLast => crypto::aes::decrypt_last(x) ^ y,
            X2::Sha1Msg1 => crypto::sha::sha1_msg1(x, y),
            X2::Sha1Msg2 => crypto::sha::sha1_msg2(x, y),
            X2::Sha1Nexte => crypto::sha::sha1_nexte(x, y),
            X2::Sha1Rnds4(imm) => crypto::sha::sha1_rounds(x, y, imm),
            X2::Sha256Msg1 => crypto::sha::sha256_msg1(x, y),
            X2::Sha256Msg2 => crypto::sha::sha256_msg2(x, y),
            X2::GfMul => b::zip(x, y, crypto::gf::mul),
            X2::GfAffine(c) => crypto::gf::affine(x, y, c),
            X2::GfAffineInv(c) => crypto::gf::affine(b::map(x, crypto::gf::inverse), y, c),
        }
    }
}

impl X3 {
    /// The result in numbers.
    #[inline(always)]
    pub fn eval(self, x: u128, y: u128, z: u128) -> u128 {
        match self {
            X3::Blend(l) => {
                let m = shift(Shift::Sar, l, z, l.bits() as u64);
                x & !m | y & m
            }
            X3::PickD => {
                let (lo, hi) = (d::split(x), d::split(y));
                d::map(z, |n| if n & 4 == 0 { lo[n as usize & 3] } else { hi[n as usize & 3] })
            }
            X3::Sha256Rnds2 => crypto::sha::sha256_rounds(x, y, z),
        }
    }
}
