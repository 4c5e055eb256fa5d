//! The pure vector operations against the processor that runs the test.
//!
//! Only on x86-64, and of each extension only what that processor has; the fixed vectors of `crypto` stand alone.
#![cfg(target_arch = "x86_64")]
#![allow(unsafe_code)]

use core::arch::x86_64::*;
use cpu::vector::Lane::{B, D, Q, W};
use cpu::vector::{Shift, X1, X2, X3};
use cpu::{Width, lanes};

const ROUNDS: u64 = 10_000;

/// A small generator (splitmix64), with lanes that are all ones, zero, extreme or few.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn value(&mut self) -> u128 {
        let mut bytes = [0; 16];
        for pair in bytes.as_chunks_mut::<2>().0 {
            *pair = match self.next() % 8 {
                0 => 0,
                1 => 0xffff,
                2 => 0x8000,
                3 => 0x7fff,
                4 => self.next() % 20,
                _ => self.next(),
            }
            .to_le_bytes()[..2]
                .try_into()
                .unwrap();
        }
        u128::from_le_bytes(bytes)
    }
}

fn host(x: u128) -> __m128i {
    // SAFETY: both are 128 bits without invalid values.
    unsafe { core::mem::transmute(x) }
}
fn ours<T>(x: T) -> u128 {
    assert_eq!(size_of::<T>(), 16);
    // SAFETY: only called for vector types of 128 bits.
    unsafe { core::mem::transmute_copy(&x) }
}

/// Compares `$ours` of random operands with an intrinsic, if the host has the feature.
macro_rules! same {
    ($feature:tt: $($intrinsic:ident$(::<$imm:literal>)? ($($arg:ident),*) = $ours:expr;)*) => {
        if is_x86_feature_detected!($feature) {
            let mut dice = Dice(1);
            $(for _ in 0..ROUNDS {
                $(let $arg = dice.value();)*
                // SAFETY: the feature was detected, and the operands are plain vectors.
                let want = ours(unsafe { $intrinsic$(::<$imm>)?($(host($arg)),*) });
                let got: u128 = $ours;
                assert_eq!(
                    got, want,
                    "{} of {:x?}: {got:x} instead of {want:x}", stringify!($intrinsic), [$($arg),*]
                );
            })*
        }
    };
}

#[test]
fn integer_lanes_are_those_of_the_host() {
    same! { "sse2":
        _mm_add_epi8(a, b) = X2::Add(B).eval(a, b);
        _mm_add_epi16(a, b) = X2::Add(W).eval(a, b);
        _mm_add_epi32(a, b) = X2::Add(D).eval(a, b);
        _mm_add_epi64(a, b) = X2::Add(Q).eval(a, b);
        _mm_sub_epi8(a, b) = X2::Sub(B).eval(a, b);
        _mm_sub_epi16(a, b) = X2::Sub(W).eval(a, b);
        _mm_sub_epi32(a, b) = X2::Sub(D).eval(a, b);
        _mm_sub_epi64(a, b) = X2::Sub(Q).eval(a, b);
        _mm_adds_epi8(a, b) = X2::AddS(B).eval(a, b);
        _mm_adds_epi16(a, b) = X2::AddS(W).eval(a, b);
        _mm_adds_epu8(a, b) = X2::AddU(B).eval(a, b);
        _mm_adds_epu16(a, b) = X2::AddU(W).eval(a, b);
        _mm_subs_epi8(a, b) = X2::SubS(B).eval(a, b);
        _mm_subs_epi16(a, b) = X2::SubS(W).eval(a, b);
        _mm_subs_epu8(a, b) = X2::SubU(B).eval(a, b);
        _mm_subs_epu16(a, b) = X2::SubU(W).eval(a, b);
        _mm_mullo_epi16(a, b) = X2::Mul(W).eval(a, b);
        _mm_mulhi_epi16(a, b) = X2::MulHiS.eval(a, b);
        _mm_mulhi_epu16(a, b) = X2::MulHiU.eval(a, b);
        _mm_mul_epu32(a, b) = X2::MulEvenU.eval(a, b);
        _mm_madd_epi16(a, b) = X2::MulAdd.eval(a, b);
        _mm_and_si128(a, b) = X2::And.eval(a, b);
        _mm_or_si128(a, b) = X2::Or.eval(a, b);
        _mm_xor_si128(a, b) = X2::Xor.eval(a, b);
        _mm_andnot_si128(a, b) = X2::AndNot.eval(a, b);
        _mm_cmpeq_epi8(a, b) = X2::Eq(B).eval(a, b);
        _mm_cmpeq_epi16(a, b) = X2::Eq(W).eval(a, b);
        _mm_cmpeq_epi32(a, b) = X2::Eq(D).eval(a, b);
        _mm_cmpgt_epi8(a, b) = X2::Gt(B).eval(a, b);
        _mm_cmpgt_epi16(a, b) = X2::Gt(W).eval(a, b);
        _mm_cmpgt_epi32(a, b) = X2::Gt(D).eval(a, b);
        _mm_min_epu8(a, b) = X2::MinU(B).eval(a, b);
        _mm_max_epu8(a, b) = X2::MaxU(B).eval(a, b);
        _mm_min_epi16(a, b) = X2::MinS(W).eval(a, b);
        _mm_max_epi16(a, b) = X2::MaxS(W).eval(a, b);
        _mm_avg_epu8(a, b) = X2::Avg(B).eval(a, b);
        _mm_avg_epu16(a, b) = X2::Avg(W).eval(a, b);
        _mm_sad_epu8(a, b) = X2::Sad.eval(a, b);
        _mm_packs_epi16(a, b) = X2::PackS(W).eval(a, b);
        _mm_packs_epi32(a, b) = X2::PackS(D).eval(a, b);
        _mm_packus_epi16(a, b) = X2::PackU(W).eval(a, b);
    }
    same! { "ssse3":
        _mm_abs_epi8(a) = X1::Abs(B).eval(a);
        _mm_abs_epi16(a) = X1::Abs(W).eval(a);
        _mm_abs_epi32(a) = X1::Abs(D).eval(a);
        _mm_mulhrs_epi16(a, b) = X2::MulHrs.eval(a, b);
        _mm_maddubs_epi16(a, b) = X2::MulAddUs.eval(a, b);
        _mm_hadd_epi16(a, b) = X2::HAdd(W).eval(a, b);
        _mm_hadd_epi32(a, b) = X2::HAdd(D).eval(a, b);
        _mm_hadds_epi16(a, b) = X2::HAddS.eval(a, b);
        _mm_hsub_epi16(a, b) = X2::HSub(W).eval(a, b);
        _mm_hsub_epi32(a, b) = X2::HSub(D).eval(a, b);
        _mm_hsubs_epi16(a, b) = X2::HSubS.eval(a, b);
        _mm_sign_epi8(a, b) = X2::Sign(B).eval(a, b);
        _mm_sign_epi16(a, b) = X2::Sign(W).eval(a, b);
        _mm_sign_epi32(a, b) = X2::Sign(D).eval(a, b);
        _mm_shuffle_epi8(a, b) = X2::PickB.eval(a, b);
    }
    same! { "sse4.2":
        _mm_mullo_epi32(a, b) = X2::Mul(D).eval(a, b);
        _mm_mul_epi32(a, b) = X2::MulEvenS.eval(a, b);
        _mm_cmpeq_epi64(a, b) = X2::Eq(Q).eval(a, b);
        _mm_cmpgt_epi64(a, b) = X2::Gt(Q).eval(a, b);
        _mm_min_epi8(a, b) = X2::MinS(B).eval(a, b);
        _mm_max_epi8(a, b) = X2::MaxS(B).eval(a, b);
        _mm_min_epi32(a, b) = X2::MinS(D).eval(a, b);
        _mm_max_epi32(a, b) = X2::MaxS(D).eval(a, b);
        _mm_min_epu16(a, b) = X2::MinU(W).eval(a, b);
        _mm_max_epu16(a, b) = X2::MaxU(W).eval(a, b);
        _mm_min_epu32(a, b) = X2::MinU(D).eval(a, b);
        _mm_max_epu32(a, b) = X2::MaxU(D).eval(a, b);
        _mm_packus_epi32(a, b) = X2::PackU(D).eval(a, b);
        _mm_mpsadbw_epu8::<0>(a, b) = X2::Mpsadbw(0).eval(a, b);
        _mm_mpsadbw_epu8::<5>(a, b) = X2::Mpsadbw(5).eval(a, b);
        _mm_mpsadbw_epu8::<7>(a, b) = X2::Mpsadbw(7).eval(a, b);
        _mm_minpos_epu16(a) = X1::MinPos.eval(a);
        _mm_cvtepi8_epi16(a) = X1::Sext { from: B, to: W }.eval(a);
        _mm_cvtepi8_epi64(a) = X1::Sext { from: B, to: Q }.eval(a);
        _mm_cvtepi16_epi32(a) = X1::Sext { from: W, to: D }.eval(a);
        _mm_cvtepi32_epi64(a) = X1::Sext { from: D, to: Q }.eval(a);
        _mm_cvtepu8_epi32(a) = X1::Zext { from: B, to: D }.eval(a);
        _mm_cvtepu16_epi64(a) = X1::Zext { from: W, to: Q }.eval(a);
        _mm_cvtepu32_epi64(a) = X1::Zext { from: D, to: Q }.eval(a);
        _mm_blendv_epi8(a, b, c) = X3::Blend(B).eval(a, b, c);
    }
    same! { "avx2":
        _mm_sllv_epi32(a, b) = X2::ShiftV(Shift::Shl, D).eval(a, b);
        _mm_sllv_epi64(a, b) = X2::ShiftV(Shift::Shl, Q).eval(a, b);
        _mm_srlv_epi32(a, b) = X2::ShiftV(Shift::Shr, D).eval(a, b);
        _mm_srlv_epi64(a, b) = X2::ShiftV(Shift::Shr, Q).eval(a, b);
        _mm_srav_epi32(a, b) = X2::ShiftV(Shift::Sar, D).eval(a, b);
    }
}

#[test]
fn shifts_are_those_of_the_host() {
    same! { "sse2":
        _mm_sll_epi16(a, b) = lanes::shift(Shift::Shl, W, a, b as u64);
        _mm_sll_epi32(a, b) = lanes::shift(Shift::Shl, D, a, b as u64);
        _mm_sll_epi64(a, b) = lanes::shift(Shift::Shl, Q, a, b as u64);
        _mm_srl_epi16(a, b) = lanes::shift(Shift::Shr, W, a, b as u64);
        _mm_srl_epi32(a, b) = lanes::shift(Shift::Shr, D, a, b as u64);
        _mm_srl_epi64(a, b) = lanes::shift(Shift::Shr, Q, a, b as u64);
        _mm_sra_epi16(a, b) = lanes::shift(Shift::Sar, W, a, b as u64);
        _mm_sra_epi32(a, b) = lanes::shift(Shift::Sar, D, a, b as u64);
        _mm_slli_epi16::<3>(a) = X1::Shift(Shift::Shl, W, 3).eval(a);
        _mm_srli_epi32::<32>(a) = X1::Shift(Shift::Shr, D, 32).eval(a);
        _mm_srai_epi16::<200>(a) = X1::Shift(Shift::Sar, W, 200).eval(a);
    }
    // Small counts, which random values hardly ever are.
    let mut dice = Dice(2);
    for n in 0..70 {
        let a = dice.value();
        // SAFETY: SSE2 is part of x86-64.
        let (l, r) = unsafe {
            (_mm_sll_epi32(host(a), host(n as u128)), _mm_sra_epi16(host(a), host(n as u128)))
        };
        assert_eq!(lanes::shift(Shift::Shl, D, a, n), ours(l));
        assert_eq!(lanes::shift(Shift::Sar, W, a, n), ours(r));
    }
}

#[test]
fn masks_are_those_of_the_host() {
    let mut dice = Dice(3);
    for _ in 0..ROUNDS {
        let a = dice.value();
        // SAFETY: SSE2 is part of x86-64.
        let (b, d, q) = unsafe {
            (
                _mm_movemask_epi8(host(a)),
                _mm_movemask_ps(_mm_castsi128_ps(host(a))),
                _mm_movemask_pd(_mm_castsi128_pd(host(a))),
            )
        };
        assert_eq!(lanes::movemask(B, a), b as u64);
        assert_eq!(lanes::movemask(D, a), d as u64);
        assert_eq!(lanes::movemask(Q, a), q as u64);
    }
}

#[test]
fn ciphers_and_hashes_are_those_of_the_host() {
    same! { "aes":
        _mm_aesenc_si128(a, b) = X2::AesEnc.eval(a, b);
        _mm_aesenclast_si128(a, b) = X2::AesEncLast.eval(a, b);
        _mm_aesdec_si128(a, b) = X2::AesDec.eval(a, b);
        _mm_aesdeclast_si128(a, b) = X2::AesDecLast.eval(a, b);
        _mm_aesimc_si128(a) = X1::AesImc.eval(a);
        _mm_aeskeygenassist_si128::<0x1b>(a) = X1::AesKeygen(0x1b).eval(a);
    }
    same! { "pclmulqdq":
        _mm_clmulepi64_si128::<0x00>(a, b) = X2::Clmul(0x00).eval(a, b);
        _mm_clmulepi64_si128::<0x10>(a, b) = X2::Clmul(0x10).eval(a, b);
        _mm_clmulepi64_si128::<0x01>(a, b) = X2::Clmul(0x01).eval(a, b);
        _mm_clmulepi64_si128::<0x11>(a, b) = X2::Clmul(0x11).eval(a, b);
    }
    same! { "sha":
        _mm_sha1msg1_epu32(a, b) = X2::Sha1Msg1.eval(a, b);
        _mm_sha1msg2_epu32(a, b) = X2::Sha1Msg2.eval(a, b);
        _mm_sha1nexte_epu32(a, b) = X2::Sha1Nexte.eval(a, b);
        _mm_sha1rnds4_epu32::<0>(a, b) = X2::Sha1Rnds4(0).eval(a, b);
        _mm_sha1rnds4_epu32::<1>(a, b) = X2::Sha1Rnds4(1).eval(a, b);
        _mm_sha1rnds4_epu32::<2>(a, b) = X2::Sha1Rnds4(2).eval(a, b);
        _mm_sha1rnds4_epu32::<3>(a, b) = X2::Sha1Rnds4(3).eval(a, b);
        _mm_sha256msg1_epu32(a, b) = X2::Sha256Msg1.eval(a, b);
        _mm_sha256msg2_epu32(a, b) = X2::Sha256Msg2.eval(a, b);
        _mm_sha256rnds2_epu32(a, b, c) = X3::Sha256Rnds2.eval(a, b, c);
    }
    same! { "gfni":
        _mm_gf2p8mul_epi8(a, b) = X2::GfMul.eval(a, b);
        _mm_gf2p8affine_epi64_epi8::<0xc5>(a, b) = X2::GfAffine(0xc5).eval(a, b);
        _mm_gf2p8affineinv_epi64_epi8::<0x63>(a, b) = X2::GfAffineInv(0x63).eval(a, b);
    }
}

#[test]
fn crc32_is_that_of_the_host() {
    if !is_x86_feature_detected!("sse4.2") {
        return;
    }
    let mut dice = Dice(4);
    for _ in 0..ROUNDS {
        let (crc, x) = (dice.next() as u32, dice.next());
        // SAFETY: the feature was detected.
        let want = unsafe {
            [
                _mm_crc32_u8(crc, x as u8) as u64,
                _mm_crc32_u16(crc, x as u16) as u64,
                _mm_crc32_u32(crc, x as u32) as u64,
                _mm_crc32_u64(crc as u64, x),
            ]
        };
        let got = [Width::W8, Width::W16, Width::W32, Width::W64]
            .map(|w| lanes::crc32c(w, crc as u64, x));
        assert_eq!(got, want, "{crc:x} {x:x}");
    }
}

#[test]
fn shuffles_count_through_both_operands() {
    let a = u128::from_le_bytes(std::array::from_fn(|n| n as u8));
    let b = u128::from_le_bytes(std::array::from_fn(|n| 16 + n as u8));
    let from = [31, 0, 0x80, 16, 15, 1, 2, 3, 4, 5, 6, 0xff, 8, 9, 10, 30];
    let want = from.map(|n| if n < 0x80 { n } else { 0 });
    assert_eq!(lanes::shuffle(a, b, from).to_le_bytes(), want);
}
