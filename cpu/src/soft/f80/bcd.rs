//! Packed decimal: 18 digits, two a byte, and a sign byte.  SDM vol. 1, 4.7.

use super::*;

/// FBLD.  Digits above nine are not checked; they count as what they are.
pub fn from_bcd(bytes: [u8; 10]) -> F80 {
    let digits = bytes[..9].iter().rev().flat_map(|b| [b >> 4, b & 15]);
    let size = digits.fold(0u64, |n, d| n * 10 + d as u64);
    let x = from_i64(size as i64);
    if bytes[9] & 0x80 != 0 { x.neg() } else { x }
}

/// FBSTP.  What does not fit gives the decimal indefinite.
pub fn to_bcd(a: F80, env: &mut Env) -> [u8; 10] {
    const MOST: u64 = 999_999_999_999_999_999;
    let Some(n) = convert::to_int(a, MOST, MOST, env.rc, env) else {
        return [0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff];
    };
    let mut size = n.unsigned_abs();
    let mut bytes = [0; 10];
    for b in &mut bytes[..9] {
        *b = (size % 10 | (size / 10 % 10) << 4) as u8;
        size /= 100;
    }
    bytes[9] = (a.sign() as u8) << 7;
    bytes
}
