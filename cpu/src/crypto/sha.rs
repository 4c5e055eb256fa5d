//! The steps of SHA-1 and SHA-256.  FIPS 180-4; SDM 2, SHA1RNDS4 and relatives.
//!
//! SHA-1 values have the oldest word in the top lane, SHA-256 message words in the bottom one.

use crate::lanes::d::{join, split};

/// SHA1MSG1: the first XORs of the next four message words.
pub fn sha1_msg1(a: u128, b: u128) -> u128 {
    // Words 0-3 are lanes 3-0 of `a`, words 4 and 5 lanes 3 and 2 of `b`: each word with the next but one.
    a ^ (a << 64 | b >> 64)
}

/// SHA1MSG2: the rest of the message schedule; the last word needs the first.
pub fn sha1_msg2(a: u128, b: u128) -> u128 {
    let (a, b) = (split(a), split(b));
    let w16 = (a[3] ^ b[2]).rotate_left(1);
    let w17 = (a[2] ^ b[1]).rotate_left(1);
    let w18 = (a[1] ^ b[0]).rotate_left(1);
    let w19 = (a[0] ^ w16).rotate_left(1);
    join([w19, w18, w17, w16])
}

/// SHA1NEXTE: the variable E after four rounds, added to the scheduled words.
pub fn sha1_nexte(a: u128, b: u128) -> u128 {
    let mut r = split(b);
    r[3] = r[3].wrapping_add(split(a)[3].rotate_left(30));
    join(r)
}

/// SHA1RNDS4: four rounds of the kind that the low bits of `imm` name.
pub fn sha1_rounds(a: u128, b: u128, imm: u8) -> u128 {
    let [mut d, mut c, mut b2, mut a1] = split(a);
    let words = split(b);
    let (f, k): (fn(u32, u32, u32) -> u32, u32) = match imm & 3 {
        0 => (choose, 0x5a82_7999),
        1 => (parity, 0x6ed9_eba1),
        2 => (majority, 0x8f1b_bcdc),
        _ => (parity, 0xca62_c1d6),
    };
    // E is already in the first word.
    let mut e = 0u32;
    for w in words.into_iter().rev() {
        let t = f(b2, c, d)
            .wrapping_add(a1.rotate_left(5))
            .wrapping_add(w)
            .wrapping_add(e)
            .wrapping_add(k);
        (e, d, c, b2, a1) = (d, c, b2.rotate_left(30), a1, t);
    }
    join([d, c, b2, a1])
}

fn choose(x: u32, y: u32, z: u32) -> u32 {
    x & y ^ !x & z
}
fn majority(x: u32, y: u32, z: u32) -> u32 {
    x & y ^ x & z ^ y & z
}
fn parity(x: u32, y: u32, z: u32) -> u32 {
    x ^ y ^ z
}

fn sigma0(x: u32) -> u32 {
    x.rotate_right(7) ^ x.rotate_right(18) ^ x >> 3
}
fn sigma1(x: u32) -> u32 {
    x.rotate_right(17) ^ x.rotate_right(19) ^ x >> 10
}

/// SHA256MSG1: each of four words plus sigma 0 of the next.
pub fn sha256_msg1(a: u128, b: u128) -> u128 {
    let (a, b) = (split(a), split(b));
    let next = [a[1], a[2], a[3], b[0]];
    join(std::array::from_fn(|n| a[n].wrapping_add(sigma0(next[n]))))
}

/// SHA256MSG2: plus sigma 1 of the word two before.
pub fn sha256_msg2(a: u128, b: u128) -> u128 {
    let (a, b) = (split(a), split(b));
    let w16 = a[0].wrapping_add(sigma1(b[2]));
    let w17 = a[1].wrapping_add(sigma1(b[3]));
    let w18 = a[2].wrapping_add(sigma1(w16));
    let w19 = a[3].wrapping_add(sigma1(w17));
    join([w16, w17, w18, w19])
}

/// SHA256RNDS2: two rounds; `x` holds C, D, G, H, `y` A, B, E, F, and `wk` the words with their constants added.
pub fn sha256_rounds(x: u128, y: u128, wk: u128) -> u128 {
    let ([mut h, mut g, mut d, mut c], [mut f, mut e, mut b, mut a]) = (split(x), split(y));
    for w in &split(wk)[..2] {
        let s1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let s0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let t = choose(e, f, g).wrapping_add(s1).wrapping_add(*w).wrapping_add(h);
        let top = t.wrapping_add(majority(a, b, c)).wrapping_add(s0);
        (h, g, f, e, d, c, b, a) = (g, f, e, d.wrapping_add(t), c, b, a, top);
    }
    join([f, e, b, a])
}
