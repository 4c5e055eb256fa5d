//! Loads, stores, constants, FXCH, FCMOV.  SDM vol. 1, 8.3.3 and 8.3.4.

use super::arith::integer;
use super::*;
use crate::Cond;
use crate::soft::Round;
use crate::soft::f80::{self, Constant};

/// FLD: register, or 32, 64 or 80 bits of memory.
pub fn fld(s: &mut Interp<'_>, i: &Insn) -> Done {
    let mut env = s.x87(i)?;
    if i.op[0] != Opnd::Mem {
        return match s.st(number(i.op[0])) {
            Some(x) => {
                s.push(x, &mut env);
                Ok(())
            }
            None => {
                // An underflow even where the stack is full too.
                if s.stack_fault(false, &mut env) {
                    s.grow();
                    s.set_st(0, INDEFINITE);
                }
                Ok(())
            }
        };
    }
    if i.bytes == 10 {
        let x = s.load80(i, 0)?;
        s.push(x, &mut env);
        return Ok(());
    }
    let m = s.x87_load(i, 0, i.ow[0])?;
    if !s.is_empty(7) {
        s.push(INDEFINITE, &mut env);
        return Ok(());
    }
    let x = match i.bytes {
        4 => f80::from_f32(m as u32, &mut env),
        _ => f80::from_f64(m, &mut env),
    };
    s.note(&env);
    if !env.load_aborted() {
        s.grow();
        s.set_st(0, x);
    }
    Ok(())
}

pub fn fild(s: &mut Interp<'_>, i: &Insn) -> Done {
    let mut env = s.x87(i)?;
    let x = integer(s, i)?;
    s.push(x, &mut env);
    Ok(())
}

pub fn fbld(s: &mut Interp<'_>, i: &Insn) -> Done {
    let mut env = s.x87(i)?;
    let bytes = s.load80(i, 0)?.to_bytes();
    s.push(f80::from_bcd(bytes), &mut env);
    Ok(())
}

fn constant(s: &mut Interp<'_>, i: &Insn, x: impl Fn(Round) -> F80) -> Done {
    let mut env = s.x87(i)?;
    let x = x(env.rc);
    s.push(x, &mut env);
    Ok(())
}
pub fn fld1(s: &mut Interp<'_>, i: &Insn) -> Done {
    constant(s, i, |_| f80::ONE)
}
pub fn fldz(s: &mut Interp<'_>, i: &Insn) -> Done {
    constant(s, i, |_| f80::ZERO)
}
macro_rules! constants {
    ($($name:ident $value:ident;)*) => {$(
        pub fn $name(s: &mut Interp<'_>, i: &Insn) -> Done {
            const VALUE: Constant = f80::$value;
            constant(s, i, |rc| VALUE.load(rc))
        }
    )*};
}
constants! {
    fldpi PI;
    fldl2t LOG2_10;
    fldl2e LOG2_E;
    fldlg2 LOG10_2;
    fldln2 LN_2;
}

/// Stores what `make` makes of ST0 (the indefinite if it is empty), and pops.  An unmasked exception other than that of
/// precision comes before the memory is touched, which then cannot fault; a fault of the memory leaves the unit as it was.
fn store(
    s: &mut Interp<'_>,
    i: &Insn,
    pop: bool,
    make: impl Fn(Option<F80>, &mut Env) -> Stored,
) -> Done {
    let mut env = s.x87(i)?;
    let x = s.st(0);
    let stored = make(x, &mut env);
    let goes = match x {
        Some(_) => !env.store_aborted(),
        None => env.masks & flag::IE != 0,
    };
    if goes {
        match stored {
            Stored::Word(v) => s.x87_store(i, 0, i.ow[0], v)?,
            Stored::Ten(x) => {
                let at = address(s, i);
                s.linear(i.seg, at, 10, Access::Write)?;
                s.store80(i, 0, x)?;
            }
        }
    }
    match x {
        Some(_) => s.note(&env),
        None => drop(s.stack_fault(false, &mut env)),
    }
    if goes && pop {
        s.pop();
    }
    Ok(())
}

/// What goes to memory.
enum Stored {
    Word(u64),
    Ten(F80),
}

fn real(s: &mut Interp<'_>, i: &Insn, pop: bool) -> Done {
    if i.op[0] == Opnd::Mem {
        return store(s, i, pop, |x, env| {
            let x = x.unwrap_or(INDEFINITE);
            match i.bytes {
                4 => Stored::Word(f80::to_f32(x, env) as u64),
                8 => Stored::Word(f80::to_f64(x, env)),
                _ => Stored::Ten(x),
            }
        });
    }
    let mut env = s.x87(i)?;
    let x = s.st(0);
    match x {
        Some(_) => s.note(&env),
        None if !s.stack_fault(false, &mut env) => return Ok(()),
        None => {}
    }
    s.set_st(number(i.op[0]), x.unwrap_or(INDEFINITE));
    if pop {
        s.pop();
    }
    Ok(())
}
pub fn fst(s: &mut Interp<'_>, i: &Insn) -> Done {
    real(s, i, false)
}
pub fn fstp(s: &mut Interp<'_>, i: &Insn) -> Done {
    real(s, i, true)
}

/// FSTPNCE (undocumented): FSTP ST(i), but an empty register is only popped.
pub fn fstpnce(s: &mut Interp<'_>, i: &Insn) -> Done {
    let env = s.x87(i)?;
    s.note(&env);
    if let Some(x) = s.st(0) {
        s.set_st(number(i.op[0]), x);
    }
    s.pop();
    Ok(())
}

fn int(s: &mut Interp<'_>, i: &Insn, pop: bool, rc: Option<Round>) -> Done {
    store(s, i, pop, |x, env| {
        let rc = rc.unwrap_or(env.rc);
        // Infinity does not fit, so it gives the indefinite.
        let x = x.unwrap_or(f80::INFINITY);
        Stored::Word(match i.bytes {
            2 => f80::to_i16(x, rc, env) as u16 as u64,
            4 => f80::to_i32(x, rc, env) as u32 as u64,
            _ => f80::to_i64(x, rc, env) as u64,
        })
    })
}
pub fn fist(s: &mut Interp<'_>, i: &Insn) -> Done {
    int(s, i, false, None)
}
pub fn fistp(s: &mut Interp<'_>, i: &Insn) -> Done {
    int(s, i, true, None)
}
pub fn fisttp(s: &mut Interp<'_>, i: &Insn) -> Done {
    int(s, i, true, Some(Round::Zero))
}
pub fn fbstp(s: &mut Interp<'_>, i: &Insn) -> Done {
    store(s, i, true, |x, env| {
        let x = x.unwrap_or(f80::INFINITY);
        Stored::Ten(F80::from_bytes(f80::to_bcd(x, env)))
    })
}

/// FXCH: an empty register counts as the indefinite.
pub fn fxch(s: &mut Interp<'_>, i: &Insn) -> Done {
    let mut env = s.x87(i)?;
    let n = number(i.op[1]);
    let (a, b) = (s.st(0), s.st(n));
    if (a.is_none() || b.is_none()) && !s.stack_fault(false, &mut env) {
        return Ok(());
    }
    if a.is_some() && b.is_some() {
        s.note(&env);
    }
    s.set_st(0, b.unwrap_or(INDEFINITE));
    s.set_st(n, a.unwrap_or(INDEFINITE));
    Ok(())
}

/// FCMOVcc: the registers must not be empty even where the condition is false.  C1 stays unless they are.
fn cmov(s: &mut Interp<'_>, i: &Insn, c: Cond) -> Done {
    let mut env = s.x87(i)?;
    let (a, b) = (s.st(0), s.st(number(i.op[1])));
    match (a, b) {
        (Some(_), Some(b)) => {
            if s.cond(c) != 0 {
                s.set_st(0, b);
            }
        }
        _ => {
            if s.stack_fault(false, &mut env) {
                s.set_st(0, INDEFINITE);
            }
        }
    }
    Ok(())
}
macro_rules! cmovs {
    ($($name:ident $cond:ident;)*) => {$(
        pub fn $name(s: &mut Interp<'_>, i: &Insn) -> Done {
            cmov(s, i, Cond::$cond)
        }
    )*};
}
cmovs! {
    fcmovb B;
    fcmove E;
    fcmovbe Be;
    fcmovu P;
    fcmovnb Ae;
    fcmovne Ne;
    fcmovnbe A;
    fcmovnu Np;
}
