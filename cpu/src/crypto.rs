//! Ciphers, hashes and polynomials: what AES-NI, SHA, PCLMULQDQ and GFNI compute.

pub mod aes;
pub mod gf;
pub mod sha;

/// The carry-less product.  SDM 2, PCLMULQDQ.
pub fn clmul(a: u64, b: u64) -> u128 {
    // Products of `b` with the polynomials of four bits.
    let mut of = [0u128; 16];
    of[1] = b as u128;
    for n in (2..16).step_by(2) {
        of[n] = of[n / 2] << 1;
        of[n + 1] = of[n] ^ of[1];
    }
    (0..16).rev().fold(0, |r, n| r << 4 ^ of[(a >> (4 * n)) as usize & 15])
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::lanes::d;

    /// A value from its hexadecimal digits in the order of memory, as the standards print them.
    fn x(text: &str) -> u128 {
        u128::from_str_radix(text, 16).unwrap().swap_bytes()
    }

    /// FIPS 197, appendix B: round 1 and the last round; appendix A.1: the first step of the key.
    #[test]
    fn aes_rounds_are_those_of_the_standard() {
        let start = x("193de3bea0f4e22b9ac68d2ae9f84808");
        let key = x("a0fafe1788542cb123a339392a6c7605");
        let next = x("a49c7ff2689f352b6b5bea43026a5049");
        assert_eq!(aes::encrypt(start) ^ key, next);
        let last = x("eb40f21e592e38848ba113e71bc342d2");
        let key = x("d014f9a8c9ee2589e13f0cc8b6630ca6");
        assert_eq!(aes::encrypt_last(last) ^ key, x("3925841d02dc09fbdc118597196a0b32"));
        assert_eq!(aes::decrypt_last(aes::encrypt_last(start)), start);
        assert_eq!(aes::decrypt(aes::encrypt_last(start)), aes::inverse_mix(start));
        let words = d::split(aes::keygen_assist(x("2b7e151628aed2a6abf7158809cf4f3c"), 1));
        // RotWord and SubWord of the last word give 8a84eb01 before the constant.
        assert_eq!(words[3], u32::from_le_bytes([0x8b, 0x84, 0xeb, 0x01]));
        assert_eq!(words[2], u32::from_le_bytes([0x01, 0x8a, 0x84, 0xeb]));
    }

    /// FIPS 180-4 examples: the digest of "abc", in steps as a program takes them.
    #[test]
    fn sha256_of_abc() {
        let k = constants();
        let iv = [
            0x6a09e667,
            0xbb67ae85,
            0x3c6ef372,
            0xa54ff53a,
            0x510e527f,
            0x9b05688c,
            0x1f83d9ab,
            0x5be0cd19u32,
        ];
        let [a, b, c, dd, e, f, g, h] = iv;
        let (mut abef, mut cdgh) = (d::join([f, e, b, a]), d::join([h, g, dd, c]));
        let mut w = [d::join([0x61626380, 0, 0, 0]), 0, 0, d::join([0, 0, 0, 24])];
        for n in 0..16 {
            let wk = crate::vector::X2::Add(crate::vector::Lane::D).eval(w[0], k[n]);
            let t = sha::sha256_rounds(cdgh, abef, wk);
            (cdgh, abef) = (abef, t);
            let t = sha::sha256_rounds(cdgh, abef, wk >> 64);
            (cdgh, abef) = (abef, t);
            // Four new words from the last sixteen; those seven back straddle two values.
            let (w2, w3) = (d::split(w[2]), d::split(w[3]));
            let seven = d::join([w2[1], w2[2], w2[3], w3[0]]);
            let t = sha::sha256_msg1(w[0], w[1]);
            let t = crate::vector::X2::Add(crate::vector::Lane::D).eval(t, seven);
            w = [w[1], w[2], w[3], sha::sha256_msg2(t, w[3])];
        }
        let ([f, e, b, a], [h, g, dd, c]) = (d::split(abef), d::split(cdgh));
        let sum: Vec<u32> =
            iv.iter().zip([a, b, c, dd, e, f, g, h]).map(|(x, y)| x.wrapping_add(y)).collect();
        assert_eq!(
            sum,
            [
                0xba7816bf, 0x8f01cfea, 0x414140de, 0x5dae2223, 0xb00361a3, 0x96177a9c, 0xb410ff61,
                0xf20015ad
            ]
        );
    }

    /// Fractions of the cube roots of the first 64 primes.
    fn constants() -> [u128; 16] {
        let prime = |n: &u64| (2..*n).all(|p| n % p != 0);
        let root = |n: u64| {
            // The largest r with r^3 <= n * 2^96: 32 bits after the point.
            let (mut lo, mut hi) = (0u128, 1 << 36);
            while hi - lo > 1 {
                let m = (lo + hi) / 2;
                if m * m * m <= (n as u128) << 96 { lo = m } else { hi = m }
            }
            lo as u32
        };
        let k: Vec<u32> = (2..).filter(prime).take(64).map(root).collect();
        std::array::from_fn(|n| d::join([k[4 * n], k[4 * n + 1], k[4 * n + 2], k[4 * n + 3]]))
    }

    #[test]
    fn products_without_carries() {
        // The example of the manual for GF(2): (x + 1)^2 = x^2 + 1, and the largest product.
        assert_eq!(clmul(3, 3), 5);
        assert_eq!(clmul(u64::MAX, u64::MAX), 0x5555_5555_5555_5555_5555_5555_5555_5555);
        assert_eq!(clmul(0x7b5b_5465_7374_5665, 0x4869_2853_6861_7929), {
            // Bit by bit.
            let (a, b) = (0x7b5b_5465_7374_5665u64, 0x4869_2853_6861_7929u128);
            (0..64).fold(0, |r, n| if a >> n & 1 != 0 { r ^ b << n } else { r })
        });
    }

    #[test]
    fn the_field_has_inverses_and_affine_maps() {
        // FIPS 197, 4.2: {57} times {83} is {c1}.
        assert_eq!(gf::mul(0x57, 0x83), 0xc1);
        assert!((1..=255).all(|a| gf::mul(a, gf::inverse(a)) == 1) && gf::inverse(0) == 0);
        // The identity has row n in byte 7 - n; one more line mirrors the bits.
        assert_eq!(gf::times(0x0102_0408_1020_4080, 0xb1), 0xb1);
        assert_eq!(gf::times(0x8040_2010_0804_0201, 0xb1), 0x8d);
    }
}
