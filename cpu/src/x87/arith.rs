//! Arithmetic: two operands, one operand, transcendental.  SDM vol. 1, 8.3.5 to 8.3.10.

use super::*;
use crate::soft::f80;

type Op = fn(F80, F80, &mut Env) -> F80;

/// `dest = op(dest, source)`; the memory forms have ST0 as the destination.
#[inline(always)]
fn binary(s: &mut Interp<'_>, i: &Insn, op: impl Fn(F80, F80, &mut Env) -> F80, pop: bool) -> Done {
    let mut env = s.x87(i)?;
    if i.op[0] == Opnd::Mem {
        let (bytes, m) = (i.bytes, s.x87_load(i, 0, i.ow[0])?);
        let Some(a) = s.st(0) else {
            return underflow(s, 0, false, &mut env);
        };
        let r = match bytes {
            4 => f80::with_f32(a, m as u32, &mut env, op),
            _ => f80::with_f64(a, m, &mut env, op),
        };
        return finish(s, 0, r, false, &env);
    }
    let (d, r) = (number(i.op[0]), number(i.op[1]));
    let (Some(a), Some(b)) = (s.st(d), s.st(r)) else {
        return underflow(s, d, pop, &mut env);
    };
    let r = op(a, b, &mut env);
    finish(s, d, r, pop, &env)
}

/// The same with an integer in memory.
#[inline(always)]
fn with_integer(s: &mut Interp<'_>, i: &Insn, op: Op) -> Done {
    let mut env = s.x87(i)?;
    let m = integer(s, i)?;
    let Some(a) = s.st(0) else {
        return underflow(s, 0, false, &mut env);
    };
    let r = op(a, m, &mut env);
    finish(s, 0, r, false, &env)
}

/// An integer operand in memory: 16, 32 or 64 bits.
pub(super) fn integer(s: &mut Interp<'_>, i: &Insn) -> Result<F80, Raised> {
    let m = s.x87_load(i, 0, i.ow[0])?;
    Ok(f80::from_i64(crate::sem::signed(i.ow[0], m)))
}

/// A masked stack underflow puts the indefinite into the destination.
#[cold]
fn underflow(s: &mut Interp<'_>, d: u8, pop: bool, env: &mut Env) -> Done {
    if s.stack_fault(false, env) {
        s.set_st(d, INDEFINITE);
        if pop {
            s.pop();
        }
    }
    Ok(())
}

#[inline(always)]
fn finish(s: &mut Interp<'_>, d: u8, r: F80, pop: bool, env: &Env) -> Done {
    s.note(env);
    if !env.aborted() {
        s.set_st(d, r);
        if pop {
            s.pop();
        }
    }
    Ok(())
}

macro_rules! binary {
    ($($plain:ident $pops:ident $int:ident $op:expr;)*) => {$(
        pub fn $plain(s: &mut Interp<'_>, i: &Insn) -> Done {
            binary(s, i, $op, false)
        }
        pub fn $pops(s: &mut Interp<'_>, i: &Insn) -> Done {
            binary(s, i, $op, true)
        }
        pub fn $int(s: &mut Interp<'_>, i: &Insn) -> Done {
            with_integer(s, i, $op)
        }
    )*};
}

binary! {
    fadd faddp fiadd f80::add;
    fsub fsubp fisub f80::sub;
    fsubr fsubrp fisubr |a, b, e| f80::sub(b, a, e);
    fmul fmulp fimul f80::mul;
    fdiv fdivp fidiv f80::div;
    fdivr fdivrp fidivr |a, b, e| f80::div(b, a, e);
}

/// `ST0 = op(ST0)`.
#[inline(always)]
fn unary(s: &mut Interp<'_>, i: &Insn, op: impl Fn(F80, &mut Env) -> F80) -> Done {
    let mut env = s.x87(i)?;
    let Some(a) = s.st(0) else {
        return underflow(s, 0, false, &mut env);
    };
    let r = op(a, &mut env);
    finish(s, 0, r, false, &env)
}

pub fn fabs(s: &mut Interp<'_>, i: &Insn) -> Done {
    unary(s, i, |a, _| a.abs())
}
pub fn fchs(s: &mut Interp<'_>, i: &Insn) -> Done {
    unary(s, i, |a, _| a.neg())
}
pub fn fsqrt(s: &mut Interp<'_>, i: &Insn) -> Done {
    unary(s, i, f80::sqrt)
}
pub fn frndint(s: &mut Interp<'_>, i: &Insn) -> Done {
    unary(s, i, f80::round_to_int)
}
pub fn f2xm1(s: &mut Interp<'_>, i: &Insn) -> Done {
    unary(s, i, f80::exp2m1)
}

/// `ST(d) = op(ST0, ST1)`, then a pop if `d` is 1.
#[inline(always)]
fn of_two(s: &mut Interp<'_>, i: &Insn, d: u8, op: impl Fn(F80, F80, &mut Env) -> F80) -> Done {
    let mut env = s.x87(i)?;
    let (Some(a), Some(b)) = (s.st(0), s.st(1)) else {
        return underflow(s, d, d == 1, &mut env);
    };
    let r = op(a, b, &mut env);
    finish(s, d, r, d == 1, &env)
}

pub fn fscale(s: &mut Interp<'_>, i: &Insn) -> Done {
    of_two(s, i, 0, f80::scale)
}
pub fn fpatan(s: &mut Interp<'_>, i: &Insn) -> Done {
    of_two(s, i, 1, |x, y, e| f80::atan(y, x, e))
}
pub fn fyl2x(s: &mut Interp<'_>, i: &Insn) -> Done {
    of_two(s, i, 1, |x, y, e| f80::ylog2(y, x, e))
}
pub fn fyl2xp1(s: &mut Interp<'_>, i: &Insn) -> Done {
    of_two(s, i, 1, |x, y, e| f80::ylog2p1(y, x, e))
}

fn remainder(s: &mut Interp<'_>, i: &Insn, nearest: bool) -> Done {
    let mut env = s.x87(i)?;
    let (Some(a), Some(b)) = (s.st(0), s.st(1)) else {
        s.codes(C2, 0);
        return underflow(s, 0, false, &mut env);
    };
    let r = f80::rem(a, b, nearest, &mut env);
    finish(s, 0, r.value, false, &env)?;
    s.codes(C2, 0);
    if !env.aborted() {
        // A NaN as the result leaves C0 and C3 alone (seen on Intel's processors).
        let nan = r.value.class() == f80::Class::Nan;
        let mask = if nan { C1 | C2 } else { C0 | C1 | C2 | C3 };
        let bit = |n: u8, code| if r.quotient >> n & 1 != 0 { code } else { 0 };
        let codes = bit(0, C1) | bit(1, C3) | bit(2, C0) | if r.incomplete { C2 } else { 0 };
        s.codes(mask, codes & mask);
    }
    Ok(())
}
pub fn fprem(s: &mut Interp<'_>, i: &Insn) -> Done {
    remainder(s, i, false)
}
pub fn fprem1(s: &mut Interp<'_>, i: &Insn) -> Done {
    remainder(s, i, true)
}

/// FSIN, FCOS: C2 says that the angle is out of range.
fn turn(s: &mut Interp<'_>, i: &Insn, op: fn(F80, &mut Env) -> Option<F80>) -> Done {
    let mut env = s.x87(i)?;
    let Some(a) = s.st(0) else {
        s.codes(C2, 0);
        return underflow(s, 0, false, &mut env);
    };
    let r = op(a, &mut env);
    s.codes(C2, if r.is_none() { C2 } else { 0 });
    finish(s, 0, r.unwrap_or(a), false, &env)
}
pub fn fsin(s: &mut Interp<'_>, i: &Insn) -> Done {
    turn(s, i, f80::sin)
}
pub fn fcos(s: &mut Interp<'_>, i: &Insn) -> Done {
    turn(s, i, f80::cos)
}

/// Instructions that replace ST0 and push a second result; those of an `angle` say in C2 that it is out of range.
fn two_results(
    s: &mut Interp<'_>,
    i: &Insn,
    angle: bool,
    op: impl Fn(F80, &mut Env) -> Option<(F80, F80)>,
) -> Done {
    let mut env = s.x87(i)?;
    let under = s.is_empty(0);
    if under || !s.is_empty(7) {
        if angle {
            s.codes(C2, 0);
        }
        if s.stack_fault(!under, &mut env) {
            s.set_st(0, INDEFINITE);
            s.grow();
            s.set_st(0, INDEFINITE);
        }
        return Ok(());
    }
    let r = op(s.raw(0), &mut env);
    s.note(&env);
    if angle {
        s.codes(C2, if r.is_none() { C2 } else { 0 });
    }
    let Some((first, second)) = r else {
        return Ok(());
    };
    if !env.aborted() {
        s.set_st(0, first);
        s.grow();
        s.set_st(0, second);
    }
    Ok(())
}
pub fn fsincos(s: &mut Interp<'_>, i: &Insn) -> Done {
    two_results(s, i, true, f80::sincos)
}
pub fn fptan(s: &mut Interp<'_>, i: &Insn) -> Done {
    two_results(s, i, true, f80::tan)
}
pub fn fxtract(s: &mut Interp<'_>, i: &Insn) -> Done {
    two_results(s, i, false, |a, e| Some(f80::extract(a, e)))
}
