//! The field of 256 elements, and affine maps over bits.  SDM 2, GF2P8MULB, GF2P8AFFINEQB.

/// The product modulo x^8 + x^4 + x^3 + x + 1.
#[inline]
pub const fn mul(a: u8, b: u8) -> u8 {
    let (mut a, mut r, mut n) = (a, 0, 0);
    while n < 8 {
        r ^= a & (b >> n & 1).wrapping_neg();
        a = a << 1 ^ 0x1b & (a >> 7).wrapping_neg();
        n += 1;
    }
    r
}

/// The multiplicative inverse; zero for zero.
pub fn inverse(a: u8) -> u8 {
    INVERSE[a as usize]
}

static INVERSE: [u8; 256] = inverses();

/// Powers of 3, a generator: the inverse of 3^n is 3^(255-n).
pub(super) const fn inverses() -> [u8; 256] {
    let (mut power, mut t) = ([1u8; 256], [0; 256]);
    let mut n = 1;
    while n < 256 {
        power[n] = mul(power[n - 1], 3);
        n += 1;
    }
    n = 0;
    while n < 255 {
        t[power[n] as usize] = power[255 - n];
        n += 1;
    }
    t
}

/// The 8x8 bit matrix in `m` times `x`: byte 7 holds the row of result bit 0.
pub const fn times(m: u64, x: u8) -> u8 {
    // Parities of eight rows at once.
    let mut v = m & x as u64 * 0x0101_0101_0101_0101;
    v ^= v >> 4;
    v ^= v >> 2;
    v ^= v >> 1;
    // The bit of byte 7 lands in bit 0 of the top byte, that of byte 0 in bit 7.
    ((v & 0x0101_0101_0101_0101).wrapping_mul(0x8040_2010_0804_0201) >> 56) as u8
}

/// Every byte of `x` by the matrix in its half of `m`, plus a constant.
pub fn affine(x: u128, m: u128, c: u8) -> u128 {
    let mut bytes = x.to_le_bytes();
    for (n, b) in bytes.iter_mut().enumerate() {
        *b = times((m >> (n / 8 * 64)) as u64, *b) ^ c;
    }
    u128::from_le_bytes(bytes)
}
