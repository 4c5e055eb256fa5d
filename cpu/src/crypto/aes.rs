//! The rounds of AES.  FIPS 197; SDM 1, 12.13.
//!
//! Byte `r + 4 * c` of a value is row `r`, column `c` of the state. A round looks every byte up in a table that holds its
//! substitute times the column of the mixing matrix, and adds up columns.

use super::gf;

/// SubBytes.
static SUB: [u8; 256] = substitutes();
static INV_SUB: [u8; 256] = {
    let (s, mut t, mut n) = (substitutes(), [0; 256], 0);
    while n < 256 {
        t[s[n] as usize] = n as u8;
        n += 1;
    }
    t
};
/// A byte's substitute times the first column of MixColumns; the others are rotations.
static ENC: [u32; 256] = mixed(&SUB, [2, 1, 1, 3]);
static DEC: [u32; 256] = mixed(&INV_SUB, INVERSE_COLUMN);
const INVERSE_COLUMN: [u8; 4] = [14, 9, 13, 11];

/// The inverse in the field, through an affine map.
const fn substitutes() -> [u8; 256] {
    let (mut t, mut n) = ([0; 256], 0);
    while n < 256 {
        let x = INVERSES[n];
        t[n] = x ^ x.rotate_left(1) ^ x.rotate_left(2) ^ x.rotate_left(3) ^ x.rotate_left(4) ^ 0x63;
        n += 1;
    }
    t
}
const INVERSES: [u8; 256] = gf::inverses();

const fn mixed(sub: &[u8; 256], by: [u8; 4]) -> [u32; 256] {
    let (mut t, mut n) = ([0; 256], 0);
    while n < 256 {
        t[n] = column(sub[n], by);
        n += 1;
    }
    t
}
const fn column(x: u8, by: [u8; 4]) -> u32 {
    u32::from_le_bytes([gf::mul(x, by[0]), gf::mul(x, by[1]), gf::mul(x, by[2]), gf::mul(x, by[3])])
}

/// One column after another, each of the bytes that the row shift brings there; `step` is 1 for ShiftRows, 3 for its inverse.
#[inline(always)]
fn columns(a: u128, step: usize, f: impl Fn([u8; 4]) -> u32) -> u128 {
    let s = a.to_le_bytes();
    (0..4).fold(0, |r, c| {
        let byte = |row: usize| s[row + 4 * ((c + row * step) & 3)];
        r | (f([byte(0), byte(1), byte(2), byte(3)]) as u128) << (32 * c)
    })
}

#[inline(always)]
fn look_up(t: &[u32; 256], col: [u8; 4]) -> u32 {
    (0..4).fold(0, |r, n| r ^ t[col[n] as usize].rotate_left(8 * n as u32))
}

/// ShiftRows, SubBytes, MixColumns.
pub fn encrypt(a: u128) -> u128 {
    columns(a, 1, |c| look_up(&ENC, c))
}
/// ShiftRows, SubBytes.
pub fn encrypt_last(a: u128) -> u128 {
    columns(a, 1, |c| u32::from_le_bytes(c.map(|x| SUB[x as usize])))
}
/// InvShiftRows, InvSubBytes, InvMixColumns.
pub fn decrypt(a: u128) -> u128 {
    columns(a, 3, |c| look_up(&DEC, c))
}
/// InvShiftRows, InvSubBytes.
pub fn decrypt_last(a: u128) -> u128 {
    columns(a, 3, |c| u32::from_le_bytes(c.map(|x| INV_SUB[x as usize])))
}
/// InvMixColumns.
pub fn inverse_mix(a: u128) -> u128 {
    columns(a, 0, |c| look_up(&DEC, c.map(|x| SUB[x as usize])))
}
/// AESKEYGENASSIST: columns 1 and 3 substituted, and also rotated with the round constant.
pub fn keygen_assist(a: u128, rcon: u8) -> u128 {
    let sub = |n: u32| {
        let c = (a >> (32 * n)) as u32;
        u32::from_le_bytes(c.to_le_bytes().map(|x| SUB[x as usize]))
    };
    let rotated = |x: u32| x.rotate_right(8) ^ rcon as u32;
    let (x1, x3) = (sub(1), sub(3));
    super::super::lanes::d::join([x1, rotated(x1), x3, rotated(x3)])
}
