//! Addition, subtraction, logic, comparison.  SDM 2.

use super::operand::{read, update};
use crate::{FlagKind, Insn, Op2, Res, Sem};

macro_rules! alu { ($($(#[$m:meta])* $name:ident = $op:ident, $kind:ident;)*) => {$(
    $(#[$m])*
    #[inline(always)]
    pub fn $name<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
        let (w, mut saved) = (i.w, None);
        let b = read(s, i, 1)?;
        update(s, i, 0, |s, a| {
            let r = s.op2(Op2::$op, w, a, b);
            saved = Some((a, r));
            Ok(r)
        })?;
        if let Some((a, r)) = saved {
            s.flags(FlagKind::$kind, w, a, b, r);
        }
        Ok(())
    }
)*}}
alu! {
    add = Add, Add;
    sub = Sub, Sub;
    and = And, Logic;
    or = Or, Logic;
    xor = Xor, Logic;
}

/// CMP.
#[inline(always)]
pub fn cmp<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    let (a, b) = (read(s, i, 0)?, read(s, i, 1)?);
    let r = s.op2(Op2::Sub, i.w, a, b);
    s.flags(FlagKind::Sub, i.w, a, b, r);
    Ok(())
}

/// TEST.
#[inline(always)]
pub fn test<S: Sem>(s: &mut S, i: &Insn) -> Res<S> {
    let (a, b) = (read(s, i, 0)?, read(s, i, 1)?);
    let r = s.op2(Op2::And, i.w, a, b);
    s.flags(FlagKind::Logic, i.w, a, b, r);
    Ok(())
}
