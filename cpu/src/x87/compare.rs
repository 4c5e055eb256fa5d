//! Compares and FXAM.  SDM vol. 1, 8.3.6; vol. 2A, FCOM, FCOMI, FXAM.

use super::arith::integer;
use super::*;
use crate::FlagKind;
use crate::soft::Order;
use crate::soft::f80::{self, Class};

/// C3, C2, C0 of an order.
fn codes(o: Order) -> u16 {
    match o {
        Order::Less => C0,
        Order::Equal => C3,
        Order::Greater => 0,
        Order::Unordered => C0 | C2 | C3,
    }
}

fn pops(s: &mut Interp<'_>, n: u8) {
    for _ in 0..n {
        s.pop();
    }
}

/// Compares ST0 with `b` and pops `n` times.
fn with(s: &mut Interp<'_>, b: Option<F80>, signals: bool, n: u8, mut env: Env) -> Done {
    let (Some(a), Some(b)) = (s.st(0), b) else {
        if s.stack_fault(false, &mut env) {
            pops(s, n);
        }
        s.codes(C0 | C2 | C3, C0 | C2 | C3);
        return Ok(());
    };
    let order = f80::compare(a, b, signals, &mut env);
    settle(s, order, n, &env)
}

fn settle(s: &mut Interp<'_>, order: Order, n: u8, env: &Env) -> Done {
    s.note(env);
    s.codes(C0 | C2 | C3, codes(order));
    if !env.aborted() {
        pops(s, n);
    }
    Ok(())
}

fn compare(s: &mut Interp<'_>, i: &Insn, signals: bool, n: u8) -> Done {
    let env = s.x87(i)?;
    if i.op[0] != Opnd::Mem {
        let b = s.st(if n == 2 { 1 } else { number(i.op[1]) });
        return with(s, b, signals, n, env);
    }
    let m = s.x87_load(i, 0, i.ow[0])?;
    let Some(a) = s.st(0) else {
        return with(s, None, signals, n, env);
    };
    // The wrappers notice a denormal in memory; what they give back does not matter.
    let (mut env, order) = (env, core::cell::Cell::new(Order::Unordered));
    let op = |a, b, e: &mut Env| {
        order.set(f80::compare(a, b, signals, e));
        a
    };
    match i.bytes {
        4 => f80::with_f32(a, m as u32, &mut env, op),
        _ => f80::with_f64(a, m, &mut env, op),
    };
    settle(s, order.get(), n, &env)
}

pub fn fcom(s: &mut Interp<'_>, i: &Insn) -> Done {
    compare(s, i, true, 0)
}
pub fn fcomp(s: &mut Interp<'_>, i: &Insn) -> Done {
    compare(s, i, true, 1)
}
pub fn fcompp(s: &mut Interp<'_>, i: &Insn) -> Done {
    compare(s, i, true, 2)
}
pub fn fucom(s: &mut Interp<'_>, i: &Insn) -> Done {
    compare(s, i, false, 0)
}
pub fn fucomp(s: &mut Interp<'_>, i: &Insn) -> Done {
    compare(s, i, false, 1)
}
pub fn fucompp(s: &mut Interp<'_>, i: &Insn) -> Done {
    compare(s, i, false, 2)
}
pub fn ficom(s: &mut Interp<'_>, i: &Insn) -> Done {
    let env = s.x87(i)?;
    let m = integer(s, i)?;
    with(s, Some(m), true, 0, env)
}
pub fn ficomp(s: &mut Interp<'_>, i: &Insn) -> Done {
    let env = s.x87(i)?;
    let m = integer(s, i)?;
    with(s, Some(m), true, 1, env)
}
pub fn ftst(s: &mut Interp<'_>, i: &Insn) -> Done {
    let env = s.x87(i)?;
    with(s, Some(f80::ZERO), true, 0, env)
}

/// FCOMI and relatives: the order goes to ZF, PF and CF; OF, SF and AF are cleared.
fn to_flags(s: &mut Interp<'_>, i: &Insn, signals: bool, n: u8) -> Done {
    let mut env = s.x87(i)?;
    let (a, b) = (s.st(0), s.st(number(i.op[1])));
    let (order, go) = match (a, b) {
        (Some(a), Some(b)) => {
            let order = f80::compare(a, b, signals, &mut env);
            // These leave C1 alone (seen on Intel's processors).
            env.c1 = s.c.state.fpu.sw & C1 != 0;
            s.note(&env);
            (order, !env.aborted())
        }
        _ => (Order::Unordered, s.stack_fault(false, &mut env)),
    };
    let (z, p, c) = order.zpc();
    let status = (z as u64) << 6 | (p as u64) << 2 | c as u64;
    s.flags(FlagKind::Raw, Width::W64, 0, 0, status);
    if go {
        pops(s, n);
    }
    Ok(())
}
pub fn fcomi(s: &mut Interp<'_>, i: &Insn) -> Done {
    to_flags(s, i, true, 0)
}
pub fn fcomip(s: &mut Interp<'_>, i: &Insn) -> Done {
    to_flags(s, i, true, 1)
}
pub fn fucomi(s: &mut Interp<'_>, i: &Insn) -> Done {
    to_flags(s, i, false, 0)
}
pub fn fucomip(s: &mut Interp<'_>, i: &Insn) -> Done {
    to_flags(s, i, false, 1)
}

/// FXAM: the class to C3, C2, C0 and the sign to C1, of an empty register too.
pub fn fxam(s: &mut Interp<'_>, i: &Insn) -> Done {
    s.x87(i)?;
    let x = s.raw(0);
    let (c3, c2, c0) = if s.is_empty(0) { (true, false, true) } else { Class::fxam(x.class()) };
    let bit = |on, code| if on { code } else { 0 };
    let codes = bit(c3, C3) | bit(c2, C2) | bit(c0, C0) | bit(x.sign(), C1);
    s.codes(C0 | C1 | C2 | C3, codes);
    Ok(())
}
