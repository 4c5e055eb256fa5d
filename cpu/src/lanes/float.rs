//! Floating-point vector operations in numbers: every lane in one environment, so that their flags are ORed.
//!
//! Exact and the same on every host: [`crate::soft`] computes the lanes.

use crate::Width;
use crate::soft::float::{self as soft, Env, F32, F64, Format};
use crate::vector::{Conv, F1, F2, F3, Fmt, Form};

/// A 256-bit value, the low half first.
type Y = [u128; 2];

/// What an operation did to MXCSR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Flags to OR in.
    pub sticky: u8,
    /// One of them is unmasked: the result means nothing.
    pub fault: bool,
}

#[inline(always)]
fn done<T>(v: T, env: &Env) -> (T, Outcome) {
    let (sticky, fault) = env.finish();
    (v, Outcome { sticky, fault })
}

#[inline(always)]
const fn bits<F: Format>() -> usize {
    size_of::<F::Bits>() * 8
}
#[inline(always)]
fn get<F: Format>(a: &Y, n: usize) -> F::Bits {
    let at = n * bits::<F>();
    F::narrow((a[at >> 7 & 1] >> (at & 127)) as u64)
}
#[inline(always)]
fn set_word(a: &mut Y, bits: usize, n: usize, v: u64) {
    let at = n * bits;
    let mask = (u64::MAX >> (64 - bits)) as u128;
    let half = &mut a[at >> 7 & 1];
    *half = *half & !(mask << (at & 127)) | (v as u128 & mask) << (at & 127);
}
#[inline(always)]
fn set<F: Format>(a: &mut Y, n: usize, v: F::Bits) {
    set_word(a, bits::<F>(), n, F::wide(v))
}
/// Lanes of `bits` bits that a form has.
#[inline(always)]
fn count(form: Form, bits: usize) -> usize {
    match form {
        Form::Scalar => 1,
        Form::X => 128 / bits,
        Form::Y => 256 / bits,
    }
}

/// See [`crate::Vector::f1`].
pub fn f1(op: F1, fmt: Fmt, form: Form, a: Y, mxcsr: u32) -> (Y, Outcome) {
    match fmt {
        Fmt::F32 => one::<F32>(op, form, a, mxcsr),
        Fmt::F64 => one::<F64>(op, form, a, mxcsr),
    }
}

fn one<F: Format>(op: F1, form: Form, a: Y, mxcsr: u32) -> (Y, Outcome) {
    let (mut env, mut r) = (Env::from_mxcsr(mxcsr), a);
    for n in 0..count(form, bits::<F>()) {
        let x = get::<F>(&a, n);
        let narrow = |f: fn(u32) -> u32| F::narrow(f(F::wide(x) as u32) as u64);
        let v = match op {
            F1::Sqrt => soft::sqrt::<F>(x, &mut env),
            F1::Round(imm) => soft::round_to_int::<F>(x, imm, &mut env),
            F1::Rcp => narrow(soft::rcp),
            F1::Rsqrt => narrow(soft::rsqrt),
        };
        set::<F>(&mut r, n, v);
    }
    done(r, &env)
}

/// See [`crate::Vector::f2`].
pub fn f2(op: F2, fmt: Fmt, form: Form, a: Y, b: Y, mxcsr: u32) -> (Y, Outcome) {
    match fmt {
        Fmt::F32 => two::<F32>(op, form, a, b, mxcsr),
        Fmt::F64 => two::<F64>(op, form, a, b, mxcsr),
    }
}

fn two<F: Format>(op: F2, form: Form, a: Y, b: Y, mxcsr: u32) -> (Y, Outcome) {
    let (mut env, mut r) = (Env::from_mxcsr(mxcsr), a);
    let mut before = 0;
    let env_ref = &mut env;
    match op {
        F2::HAdd => neighbours::<F>(form, &a, &b, &mut r, |x, y| soft::add::<F>(x, y, env_ref)),
        F2::HSub => neighbours::<F>(form, &a, &b, &mut r, |x, y| soft::sub::<F>(x, y, env_ref)),
        F2::Dot(imm) => before = dot::<F>(form, imm, &a, &b, &mut r, env_ref),
        _ => {
            for n in 0..count(form, bits::<F>()) {
                let v = pair::<F>(op, n, get::<F>(&a, n), get::<F>(&b, n), env_ref);
                set::<F>(&mut r, n, v);
            }
        }
    }
    let (r, outcome) = done(r, &env);
    (r, Outcome { sticky: outcome.sticky | before, ..outcome })
}

/// Lane `n` of an operation whose lanes do not mix.
#[inline(always)]
fn pair<F: Format>(op: F2, n: usize, x: F::Bits, y: F::Bits, env: &mut Env) -> F::Bits {
    match op {
        F2::Add => soft::add::<F>(x, y, env),
        F2::Sub => soft::sub::<F>(x, y, env),
        F2::AddSub if n & 1 == 0 => soft::sub::<F>(x, y, env),
        F2::AddSub => soft::add::<F>(x, y, env),
        F2::Mul => soft::mul::<F>(x, y, env),
        F2::Div => soft::div::<F>(x, y, env),
        F2::Min => soft::min::<F>(x, y, env),
        F2::Max => soft::max::<F>(x, y, env),
        F2::Cmp(p) => F::narrow(if soft::predicate::<F>(x, y, p, env) { u64::MAX } else { 0 }),
        F2::HAdd | F2::HSub | F2::Dot(_) => x,
    }
}

fn neighbours<F: Format>(
    form: Form,
    a: &Y,
    b: &Y,
    r: &mut Y,
    mut f: impl FnMut(F::Bits, F::Bits) -> F::Bits,
) {
    let half = 128 / bits::<F>();
    for n in 0..count(form, bits::<F>()) {
        let (base, k) = (n / half * half, n % half);
        let (from, k) = if k < half / 2 { (a, k) } else { (b, k - half / 2) };
        set::<F>(r, n, f(get::<F>(from, base + 2 * k), get::<F>(from, base + 2 * k + 1)));
    }
}

/// DPPS, DPPD: the high bits of `imm` choose products, the low ones where the sum goes. Every lane adds its neighbour, then
/// the lane two away, so that of several NaNs not all lanes take the same; an unmasked exception of one step keeps the
/// next from being made. Gives the flags of all steps but the last, whose are in `env`.  SDM 2, DPPS.
fn dot<F: Format>(form: Form, imm: u8, a: &Y, b: &Y, r: &mut Y, env: &mut Env) -> u8 {
    let half = 128 / bits::<F>();
    let zero = F::narrow(0);
    let lanes = count(form, bits::<F>());
    let mut v = [zero; 8];
    for (n, v) in v.iter_mut().enumerate().take(lanes) {
        if imm >> (4 + n % half) & 1 != 0 {
            *v = soft::mul::<F>(get::<F>(a, n), get::<F>(b, n), env);
        }
    }
    // Flags of steps that are over.
    let (mut by, mut before) = (1, 0);
    while by < half && !env.finish().1 {
        before |= std::mem::take(&mut env.flags);
        let old = v;
        for (n, v) in v.iter_mut().enumerate().take(lanes) {
            // Of two NaNs DPPS prefers the neighbour in its first step, as measured on Intel's processors.
            let (p, q) = if half == 4 && by == 1 { (n ^ 1, n) } else { (n, n ^ by) };
            *v = soft::add::<F>(old[p], old[q], env);
        }
        by *= 2;
    }
    for (n, v) in v.into_iter().enumerate().take(lanes) {
        set::<F>(r, n, if imm >> (n % half) & 1 != 0 { v } else { zero });
    }
    before
}

/// See [`crate::Vector::f3`].
pub fn f3(op: F3, fmt: Fmt, form: Form, a: Y, b: Y, c: Y, mxcsr: u32) -> (Y, Outcome) {
    match fmt {
        Fmt::F32 => three::<F32>(op, form, a, b, c, mxcsr),
        Fmt::F64 => three::<F64>(op, form, a, b, c, mxcsr),
    }
}

fn three<F: Format>(op: F3, form: Form, a: Y, b: Y, c: Y, mxcsr: u32) -> (Y, Outcome) {
    let (mut env, mut r) = (Env::from_mxcsr(mxcsr), a);
    for n in 0..count(form, bits::<F>()) {
        let (neg, sub) = match op {
            F3::MulAdd => (false, false),
            F3::MulSub => (false, true),
            F3::NegMulAdd => (true, false),
            F3::NegMulSub => (true, true),
            F3::MulAddSub => (false, n & 1 == 0),
            F3::MulSubAdd => (false, n & 1 != 0),
        };
        let (x, y, z) = (get::<F>(&a, n), get::<F>(&b, n), get::<F>(&c, n));
        set::<F>(&mut r, n, soft::fma_as::<F>(x, y, z, neg, sub, &mut env));
    }
    done(r, &env)
}

/// See [`crate::Vector::convert`].
pub fn convert(op: Conv, form: Form, a: Y, mxcsr: u32) -> (Y, Outcome) {
    let (mut env, mut r) = (Env::from_mxcsr(mxcsr), [0; 2]);
    let env_ref = &mut env;
    let wide =
        if matches!(op, Conv::I32ToF64 | Conv::F64ToI32 { .. } | Conv::F32ToF64 | Conv::F64ToF32) {
            64
        } else {
            32
        };
    let word = |bits: usize, n: usize| {
        let at = n * bits;
        (a[at >> 7 & 1] >> (at & 127)) as u64 & (u64::MAX >> (64 - bits))
    };
    for n in 0..count(form, wide) {
        let (to, v) = match op {
            Conv::I32ToF32 => {
                (32, soft::from_i32::<F32>(word(32, n) as u32 as i32, env_ref) as u64)
            }
            Conv::I32ToF64 => (64, soft::from_i32::<F64>(word(32, n) as u32 as i32, env_ref)),
            Conv::F32ToI32 { trunc } => (32, int32::<F32>(word(32, n), trunc, env_ref)),
            Conv::F64ToI32 { trunc } => (32, int32::<F64>(word(64, n), trunc, env_ref)),
            Conv::F32ToF64 => (64, soft::convert::<F32, F64>(word(32, n) as u32, env_ref)),
            Conv::F64ToF32 => (32, soft::convert::<F64, F32>(word(64, n), env_ref) as u64),
            Conv::F16ToF32 => (32, soft::widen_half(word(16, n) as u16, env_ref) as u64),
            Conv::F32ToF16(imm) => (16, half(word(32, n) as u32, imm, env_ref)),
        };
        set_word(&mut r, to, n, v);
    }
    done(r, &env)
}

/// Of a denormal operand Intel's processors also note inexactness if underflow is unmasked, even for an exact result.
fn half(x: u32, imm: u8, env: &mut Env) -> u64 {
    let denormal = matches!(x & 0x7fff_ffff, 1..0x80_0000);
    if denormal && !env.daz && env.masks & soft::flag::UE == 0 {
        env.flags |= soft::flag::PE;
    }
    soft::to_half(x, imm, env) as u64
}

fn int32<F: Format>(x: u64, trunc: bool, env: &mut Env) -> u64 {
    let x = F::narrow(x);
    let v = if trunc { soft::to_i32_trunc::<F>(x, env) } else { soft::to_i32::<F>(x, env) };
    v as u32 as u64
}

fn int64<F: Format>(x: u64, trunc: bool, env: &mut Env) -> u64 {
    let x = F::narrow(x);
    let v = if trunc { soft::to_i64_trunc::<F>(x, env) } else { soft::to_i64::<F>(x, env) };
    v as u64
}

/// See [`crate::Vector::fcomi`].
pub fn fcomi(fmt: Fmt, quiet: bool, a: u128, b: u128, mxcsr: u32) -> (u64, Outcome) {
    let mut env = Env::from_mxcsr(mxcsr);
    let (z, p, c) = match fmt {
        Fmt::F32 => soft::compare::<F32>(a as u32, b as u32, !quiet, &mut env),
        Fmt::F64 => soft::compare::<F64>(a as u64, b as u64, !quiet, &mut env),
    }
    .zpc();
    done((z as u64) << 6 | (p as u64) << 2 | c as u64, &env)
}

/// See [`crate::Vector::to_int`].
pub fn to_int(fmt: Fmt, w: Width, trunc: bool, a: u128, mxcsr: u32) -> (u64, Outcome) {
    let mut env = Env::from_mxcsr(mxcsr);
    let v = match (fmt, w) {
        (Fmt::F32, Width::W64) => int64::<F32>(a as u64, trunc, &mut env),
        (Fmt::F64, Width::W64) => int64::<F64>(a as u64, trunc, &mut env),
        (Fmt::F32, _) => int32::<F32>(a as u64, trunc, &mut env),
        (Fmt::F64, _) => int32::<F64>(a as u64, trunc, &mut env),
    };
    done(v, &env)
}

/// See [`crate::Vector::from_int`].
pub fn from_int(fmt: Fmt, w: Width, v: u64, mxcsr: u32) -> (u128, Outcome) {
    let mut env = Env::from_mxcsr(mxcsr);
    let v = if w == Width::W64 { v as i64 } else { v as u32 as i32 as i64 };
    let r = match fmt {
        Fmt::F32 => soft::from_i64::<F32>(v, &mut env) as u128,
        Fmt::F64 => soft::from_i64::<F64>(v, &mut env) as u128,
    };
    done(r, &env)
}
