//! Compares, minimum and maximum.  SDM vol. 2, CMPPS (table 3-1), COMISS, UCOMISS, MINPS, MAXPS.

use super::*;

/// The order of two operands; a quiet NaN is invalid only if `signals`.
#[inline]
pub fn compare<F: Format>(a: F::Bits, b: F::Bits, signals: bool, env: &mut Env) -> Order {
    let (a, b) = (F::wide(a), F::wide(b));
    if is_nan::<F>(a) || is_nan::<F>(b) {
        if signals || is_signalling::<F>(a) || is_signalling::<F>(b) {
            env.raise(flag::IE);
        }
        return Order::Unordered;
    }
    if is_denormal::<F>(a, env) || is_denormal::<F>(b, env) {
        env.raise(flag::DE);
    }
    match key::<F>(a, env.daz).cmp(&key::<F>(b, env.daz)) {
        core::cmp::Ordering::Less => Order::Less,
        core::cmp::Ordering::Equal => Order::Equal,
        core::cmp::Ordering::Greater => Order::Greater,
    }
}

/// An integer that sorts as the number does.
#[inline]
fn key<F: Format>(x: u64, daz: bool) -> i64 {
    let size = x & !F::SIGN;
    let size = if daz && size < 1 << F::FRACTION { 0 } else { size as i64 };
    if x & F::SIGN != 0 { -size } else { size }
}

/// COMISS, COMISD: any NaN is invalid.
#[inline]
pub fn comi<F: Format>(a: F::Bits, b: F::Bits, env: &mut Env) -> Order {
    compare::<F>(a, b, true, env)
}

/// UCOMISS, UCOMISD: only a signalling NaN is invalid.
#[inline]
pub fn ucomi<F: Format>(a: F::Bits, b: F::Bits, env: &mut Env) -> Order {
    compare::<F>(a, b, false, env)
}

/// CMPPS and relatives: the answer of one of the 32 predicates.  The SSE forms know the first eight.  Predicates 16 to
/// 31 are the first 16 with signalling and quiet exchanged.
#[inline]
pub fn predicate<F: Format>(a: F::Bits, b: F::Bits, number: u8, env: &mut Env) -> bool {
    /// For each predicate the orders that satisfy it: less 1, equal 2, greater 4, unordered 8.
    #[rustfmt::skip]
    const HOLDS: [u8; 16] = [
        2, 1, 3, 8, 8 | 4 | 1, 8 | 4 | 2, 8 | 4, 7,         // EQ LT LE UNORD NEQ NLT NLE ORD
        8 | 2, 8 | 1, 8 | 1 | 2, 0, 4 | 1, 4 | 2, 4, 15,    // EQ_U NGE NGT FALSE NEQ_O GE GT TRUE
    ];
    let signals = matches!(number & 3, 1 | 2) != (number & 16 != 0);
    let order = match compare::<F>(a, b, signals, env) {
        Order::Less => 1,
        Order::Equal => 2,
        Order::Greater => 4,
        Order::Unordered => 8,
    };
    HOLDS[number as usize & 15] & order != 0
}

/// MINPS: the lesser; the second operand if either is a NaN or both are zeros.
#[inline]
pub fn min<F: Format>(a: F::Bits, b: F::Bits, env: &mut Env) -> F::Bits {
    pick::<F>(a, b, Order::Less, env)
}

/// MAXPS: the greater; the second operand if either is a NaN or both are zeros.
#[inline]
pub fn max<F: Format>(a: F::Bits, b: F::Bits, env: &mut Env) -> F::Bits {
    pick::<F>(a, b, Order::Greater, env)
}

#[inline]
fn pick<F: Format>(a: F::Bits, b: F::Bits, first_if: Order, env: &mut Env) -> F::Bits {
    let x = F::wide(if compare::<F>(a, b, true, env) == first_if { a } else { b });
    let denormal = x & !F::SIGN < 1 << F::FRACTION;
    F::narrow(if env.daz && denormal { x & F::SIGN } else { x })
}
