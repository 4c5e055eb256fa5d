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
