//! Fused multiply-add.  SDM vol. 1, 14.5; vol. 2, VFMADD132PS and relatives.

use super::super::wide::{mul64, shr_jam128};
use super::*;

/// `a * b + c` with one rounding.  Name the operands in the order of the mnemonic's digits: VFMADD132 is
/// `fma(op1, op3, op2)`, 213 is `fma(op2, op1, op3)`, 231 is `fma(op2, op3, op1)`; the first NaN in that order wins.
pub fn fma<F: Format>(a: F::Bits, b: F::Bits, c: F::Bits, env: &mut Env) -> F::Bits {
    fma_as::<F>(a, b, c, false, false, env)
}

/// VFMADD, VFMSUB (`sub`), VFNMADD (`neg`), VFNMSUB (both): `(-)a * b +(-) c`.  A NaN keeps its sign.
pub fn fma_as<F: Format>(
    a: F::Bits,
    b: F::Bits,
    c: F::Bits,
    neg: bool,
    sub: bool,
    env: &mut Env,
) -> F::Bits {
    let (a, b, c) = (F::wide(a), F::wide(b), F::wide(c));
    let (x, y) = (unpack::<F>(a, env.daz), unpack::<F>(b, env.daz));
    let mut z = unpack::<F>(c, env.daz);
    F::narrow(if [x.kind, y.kind, z.kind].contains(&Kind::Nan) {
        // Infinity times zero is not invalid beside a quiet NaN.
        let (first, rest) = if is_nan::<F>(a) { (a, b) } else { (b, a) };
        let early = nan2::<F>(rest, c, env);
        if is_nan::<F>(first) { nan2::<F>(first, first, env) } else { early }
    } else {
        z.sign ^= sub;
        fused::<F>(&x, &y, &z, x.sign ^ y.sign ^ neg, env)
    })
}

fn fused<F: Format>(x: &Num, y: &Num, z: &Num, sign: bool, env: &mut Env) -> u64 {
    let infinite = x.kind == Kind::Infinity || y.kind == Kind::Infinity;
    let zero = x.kind == Kind::Zero || y.kind == Kind::Zero;
    if infinite && (zero || (z.kind == Kind::Infinity && z.sign != sign)) {
        return invalid::<F>(env);
    }
    if x.denormal || y.denormal || z.denormal {
        env.raise(flag::DE);
    }
    if infinite {
        return signed::<F>(sign, F::INFINITY);
    }
    match z.kind {
        Kind::Infinity => return signed::<F>(z.sign, F::INFINITY),
        Kind::Zero if zero => {
            let sign = if sign == z.sign { sign } else { env.rc == Round::Down };
            return signed::<F>(sign, 0);
        }
        _ if zero => return round_pack::<F>(z.sign, z.exp, z.sig, env),
        _ => {}
    }
    // The product's low 22 bits or more are clear, so the top bit may be given up for the carry.
    let p = mul64(x.sig, y.sig);
    let shift = p.leading_zeros();
    let (p, p_exp) = (p << shift, x.exp + y.exp + 1 - shift as i32);
    if z.kind == Kind::Zero {
        return pack_wide::<F>(sign, p_exp, p, env);
    }
    let (p, c) = (p >> 1, (z.sig as u128) << 63);
    let (exp, p, c) = if p_exp >= z.exp {
        (p_exp, p, shr_jam128(c, (p_exp - z.exp) as u32))
    } else {
        (z.exp, shr_jam128(p, (z.exp - p_exp) as u32), c)
    };
    let (sign, sig) = if sign == z.sign {
        (sign, p + c)
    } else if p >= c {
        (sign, p - c)
    } else {
        (z.sign, c - p)
    };
    if sig == 0 {
        return signed::<F>(env.rc == Round::Down, 0);
    }
    let shift = sig.leading_zeros();
    pack_wide::<F>(sign, exp + 1 - shift as i32, sig << shift, env)
}

fn pack_wide<F: Format>(sign: bool, exp: i32, sig: u128, env: &mut Env) -> u64 {
    round_pack::<F>(sign, exp, (sig >> 64) as u64 | (sig as u64 != 0) as u64, env)
}
