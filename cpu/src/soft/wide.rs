//! Integer steps wider than a machine word, chosen to be quick on any 64-bit host.

/// `x >> n`, with every bit that falls off ORed into bit 0 ("jamming": the result rounds as the exact value would).
#[inline(always)]
pub(super) const fn shr_jam64(x: u64, n: u32) -> u64 {
    if n == 0 {
        x
    } else if n < 64 {
        (x >> n) | ((x << (64 - n) != 0) as u64)
    } else {
        (x != 0) as u64
    }
}

/// [`shr_jam64`] for 128 bits.
#[inline(always)]
pub(super) const fn shr_jam128(x: u128, n: u32) -> u128 {
    if n == 0 {
        x
    } else if n < 128 {
        (x >> n) | ((x << (128 - n) != 0) as u128)
    } else {
        (x != 0) as u128
    }
}

/// 64 by 64 bits.
#[inline(always)]
pub(super) const fn mul64(a: u64, b: u64) -> u128 {
    a as u128 * b as u128
}

/// The high half of a 128 by 128 bit product.
#[inline(always)]
pub(super) const fn mul_high128(a: u128, b: u128) -> u128 {
    let (a1, a0) = ((a >> 64) as u64, a as u64);
    let (b1, b0) = ((b >> 64) as u64, b as u64);
    let mid = mul64(a1, b0);
    let mid2 = mul64(a0, b1);
    let low = (mul64(a0, b0) >> 64) + (mid as u64) as u128 + (mid2 as u64) as u128;
    mul64(a1, b1) + (mid >> 64) + (mid2 >> 64) + (low >> 64)
}

/// Divides `high:low` by `d`, whose top bit is set and which is above `high`: quotient and remainder.
/// Two digits of 32 bits, each guessed from the top digit of `d` and put right by at most two (Knuth, 4.3.1 D).
#[inline]
pub(super) const fn div128(high: u64, low: u64, d: u64) -> (u64, u64) {
    debug_assert!(d >> 63 == 1 && high < d);
    let (q1, r1) = digit(high, low >> 32, d);
    let (q0, r0) = digit(r1, low & 0xffff_ffff, d);
    ((q1 << 32) | q0, r0)
}

/// One 32-bit digit of `(r << 32 | next) / d`.
#[inline(always)]
const fn digit(r: u64, next: u64, d: u64) -> (u64, u64) {
    let mut q = r / (d >> 32);
    if q > 0xffff_ffff {
        q = 0xffff_ffff;
    }
    let whole = ((r as u128) << 32) | next as u128;
    let mut took = mul64(q, d);
    while took > whole {
        q -= 1;
        took -= d as u128;
    }
    (q, (whole - took) as u64)
}

/// `(n << 128) / d` to 128 bits, for `n < d` and the top bit of `d` set; the flag says the division was not exact.
pub(super) const fn div_fraction128(n: u128, d: u128) -> (u128, bool) {
    let (q1, r1) = digit64(n, d);
    let (q0, r0) = digit64(r1, d);
    (((q1 as u128) << 64) | q0 as u128, r0 != 0)
}

/// One 64-bit digit of `(r << 64) / d` for `r < d`, with the remainder.
const fn digit64(r: u128, d: u128) -> (u64, u128) {
    let (d1, d0) = ((d >> 64) as u64, d as u64);
    let (r1, r0) = ((r >> 64) as u64, r as u64);
    let (mut q, mut top) = if r1 == d1 {
        (u64::MAX, d1 as u128 + r0 as u128)
    } else {
        let (q, rest) = div128(r1, r0, d1);
        (q, rest as u128)
    };
    // r * 2^64 - q * d = top * 2^64 - q * d0; bring it to zero or above.
    let mut off = mul64(q, d0);
    while (top >> 64) == 0 && (top << 64) < off {
        q -= 1;
        off -= d0 as u128;
        top += d1 as u128;
    }
    (q, (top << 64).wrapping_sub(off))
}

/// The integer square root of a 128-bit number whose top bit or the one below is set, and the remainder.
#[inline]
pub(super) const fn sqrt128(n: u128) -> (u64, u128) {
    let s = n.isqrt();
    (s as u64, n - s * s)
}
