//! The words of [`Sem`], answered with Cranelift values.

use crate::clif::{Arisen, Clif, Flags, Term, V, ty};
use cpu::sem::Big;
use cpu::{Cond, Exception, Flag, FlagKind, Insn, Op1, Op2, Res, SegReg, Sem, Var, Width, flags};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{BlockArg, InstBuilder, types};
use std::convert::Infallible;

/// A meaning, for this tier.
pub type Meaning = for<'a, 'b, 'c> fn(&'a mut Clif<'b>, &'c Insn) -> Result<(), Infallible>;

macro_rules! clif_rows {
    ($($name:ident $kind:ident $first:ident$(::$rest:ident)* $($flag:ident)*;)*) => {
        &[$((iced_x86::Mnemonic::$name, clif_rows!(@run $kind $first$(::$rest)*))),*]
    };
    (@run gen $($p:ident)::+) => { Some((|s, i| cpu::sem::$($p)::+(s, i)) as Meaning) };
    (@run big $($p:ident)::+) => { None };
}
type Rows = &'static [(iced_x86::Mnemonic, Option<Meaning>)];
static INTEGER: Rows = cpu::integer_rows!(clif_rows);
static SSE: Rows = cpu::sse_rows!(clif_rows);
static AVX: Rows = cpu::avx_rows!(clif_rows);

/// Meanings by row number; `None` is called.
pub fn table() -> Vec<Option<Meaning>> {
    let mut all = vec![None; cpu::rows::ROWS.len()];
    for &(m, f) in [INTEGER, SSE, AVX].into_iter().flatten() {
        all[cpu::rows::number(m) as usize] = f;
    }
    all
}

impl Clif<'_> {
    /// Both operands in the type of the width.
    fn pair(
        &mut self,
        w: Width,
        a: V,
        b: V,
    ) -> (cranelift_codegen::ir::Value, cranelift_codegen::ir::Value) {
        (self.narrow(a, w), self.narrow(b, w))
    }
    pub fn compare(&mut self, cc: IntCC, w: Width, a: V, b: V) -> V {
        let (a, b) = self.pair(w, a, b);
        let c = self.b.ins().icmp(cc, a, b);
        self.bit(c)
    }
    /// `a` as a signed 64-bit number.
    fn signed(&mut self, w: Width, a: V) -> cranelift_codegen::ir::Value {
        let a = self.narrow(a, w);
        if w == Width::W64 { a } else { self.b.ins().sextend(types::I64, a) }
    }
    fn zext(&mut self, w: Width, a: V) -> V {
        match a {
            V::K(k) => V::K(k & w.mask()),
            V::S(_, max) if max <= w.mask() => a,
            _ => {
                let a = self.narrow(a, w);
                self.wide(a, w)
            }
        }
    }

    fn shift(&mut self, op: Op2, w: Width, a: V, n: V) -> V {
        let most = match n {
            V::K(k) => k,
            V::S(_, max) => max,
        };
        let small = most < w.bits() as u64;
        if small {
            // The count's low bits are all of it.
            let (a, n) = (self.narrow(a, w), self.val(n));
            let r = match op {
                Op2::Shl => self.b.ins().ishl(a, n),
                Op2::Shr => self.b.ins().ushr(a, n),
                _ => self.b.ins().sshr(a, n),
            };
            return self.wide(r, w);
        }
        let n = self.val(n);
        let a = match op {
            Op2::Sar => self.signed(w, a),
            Op2::Shr => {
                let a = self.zext(w, a);
                self.val(a)
            }
            _ => self.val(a),
        };
        let r = match op {
            Op2::Shl => self.b.ins().ishl(a, n),
            Op2::Shr => self.b.ins().ushr(a, n),
            _ => self.b.ins().sshr(a, n),
        };
        let r = if most < 64 {
            r
        } else {
            let big = self.b.ins().icmp_imm_u(IntCC::UnsignedGreaterThan, n, 63);
            let end = match op {
                Op2::Sar => self.b.ins().sshr_imm_u(a, 63),
                _ => self.b.ins().iconst(types::I64, 0),
            };
            self.b.ins().select(big, end, r)
        };
        self.zext(w, V::S(r, u64::MAX))
    }
}

impl Sem for Clif<'_> {
    type V = V;
    type Fault = Infallible;
    const LEAVES: bool = true;

    fn imm(&mut self, x: u64) -> V {
        V::K(x)
    }

    fn op1(&mut self, op: Op1, w: Width, a: V) -> V {
        if let V::K(k) = a {
            return V::K(op.eval(w, k));
        }
        match op {
            Op1::Zext => return self.zext(w, a),
            Op1::Sext(from) => {
                let a = self.narrow(a, from);
                let r = if from >= w { a } else { self.b.ins().sextend(ty(w), a) };
                return self.wide(r, w);
            }
            Op1::Bswap if w == Width::W8 => return self.zext(w, a),
            _ => {}
        }
        let a = self.narrow(a, w);
        let i = self.b.ins();
        let r = match op {
            Op1::Not => i.bnot(a),
            Op1::Neg => i.ineg(a),
            Op1::Clz => i.clz(a),
            Op1::Ctz => i.ctz(a),
            Op1::Popcnt => i.popcnt(a),
            _ => i.bswap(a),
        };
        let V::S(v, max) = self.wide(r, w) else { return V::K(0) };
        let count = matches!(op, Op1::Clz | Op1::Ctz | Op1::Popcnt);
        V::S(v, if count { w.bits() as u64 } else { max })
    }

    fn op2(&mut self, op: Op2, w: Width, a: V, b: V) -> V {
        if let (V::K(x), V::K(y)) = (a, b) {
            return V::K(op.eval(w, x, y));
        }
        match op {
            Op2::Shl | Op2::Shr | Op2::Sar => return self.shift(op, w, a, b),
            Op2::Eq => return self.compare(IntCC::Equal, w, a, b),
            Op2::Ne => {
                if let (V::S(_, 1), V::K(0)) = (a, b) {
                    return a;
                }
                return self.compare(IntCC::NotEqual, w, a, b);
            }
            Op2::Ltu => return self.compare(IntCC::UnsignedLessThan, w, a, b),
            Op2::Lts => return self.compare(IntCC::SignedLessThan, w, a, b),
            Op2::Add if w == Width::W64 && (matches!(a, V::K(_)) || matches!(b, V::K(_))) => {
                let ((V::K(k), v) | (v, V::K(k))) = (a, b) else { return a };
                let v = self.val(v);
                return V::S(self.plus(v, k as i64), u64::MAX);
            }
            Op2::Xor | Op2::Sub => {
                if let (V::S(x, _), V::S(y, _)) = (a, b)
                    && x == y
                {
                    return V::K(0);
                }
            }
            Op2::MulHiU if w != Width::W64 => {
                let (a, b) = (self.zext(w, a), self.zext(w, b));
                let p = self.op2(Op2::Mul, Width::W64, a, b);
                return self.shift(Op2::Shr, Width::W64, p, V::K(w.bits() as u64));
            }
            Op2::MulHiS if w != Width::W64 => {
                let (a, b) = (self.signed(w, a), self.signed(w, b));
                let p = self.b.ins().imul(a, b);
                let p = self.shift(Op2::Shr, Width::W64, V::S(p, u64::MAX), V::K(w.bits() as u64));
                return self.zext(w, p);
            }
            _ => {}
        }
        // Logic on zero-extended operands stays so without narrowing.
        if matches!(op, Op2::And | Op2::Or | Op2::Xor | Op2::AndNot) {
            let top = |v| match v {
                V::K(k) => k,
                V::S(_, max) => max,
            };
            let (ta, tb) = (top(a), top(b));
            let fill = |m: u64| if m == 0 { 0 } else { u64::MAX >> m.leading_zeros() };
            let max = match op {
                Op2::And => ta.min(tb),
                Op2::AndNot => ta,
                _ => fill(ta | tb),
            };
            if max <= w.mask() {
                let (x, y) = (self.val(a), self.val(b));
                let i = self.b.ins();
                let r = match op {
                    Op2::And => i.band(x, y),
                    Op2::Or => i.bor(x, y),
                    Op2::Xor => i.bxor(x, y),
                    _ => i.band_not(x, y),
                };
                return V::S(r, max);
            }
        }
        let (x, y) = self.pair(w, a, b);
        let i = self.b.ins();
        let r = match op {
            Op2::Add => i.iadd(x, y),
            Op2::Sub => i.isub(x, y),
            Op2::Mul => i.imul(x, y),
            Op2::MulHiU => i.umulhi(x, y),
            Op2::MulHiS => i.smulhi(x, y),
            Op2::And => i.band(x, y),
            Op2::Or => i.bor(x, y),
            Op2::Xor => i.bxor(x, y),
            Op2::AndNot => i.band_not(x, y),
            Op2::Rol => i.rotl(x, y),
            _ => i.rotr(x, y),
        };
        self.wide(r, w)
    }

    fn pick(&mut self, c: V, yes: V, no: V) -> V {
        match c {
            V::K(0) => no,
            V::K(_) => yes,
            V::S(c, _) => {
                let top = |v| match v {
                    V::K(k) => k,
                    V::S(_, max) => max,
                };
                let max = top(yes).max(top(no));
                let (yes, no) = (self.val(yes), self.val(no));
                V::S(self.b.ins().select(c, yes, no), max)
            }
        }
    }

    fn divide(&mut self, sign: bool, w: Width, hi: V, lo: V, d: V) -> Result<(V, V), Infallible> {
        if matches!(d, V::K(0)) {
            self.give_up();
            return Ok((V::K(0), V::K(0)));
        }
        let full = Width::W64;
        // Whatever is not plain, tier 0 does: it raises #DE where it must.
        let zero = self.compare(IntCC::Equal, w, d, V::K(0));
        self.exit_if(zero);
        let (n, d) = if w == full {
            let plain = if sign {
                let s = self.shift(Op2::Sar, full, lo, V::K(63));
                self.compare(IntCC::NotEqual, full, hi, s)
            } else {
                self.compare(IntCC::NotEqual, full, hi, V::K(0))
            };
            self.exit_if(plain);
            (self.val(lo), self.val(d))
        } else {
            let (hi, lo) = (self.zext(w, hi), self.zext(w, lo));
            let hi = self.op2(Op2::Shl, full, hi, V::K(w.bits() as u64));
            let n = self.op2(Op2::Or, full, hi, lo);
            if !sign {
                let d = self.zext(w, d);
                (self.val(n), self.val(d))
            } else {
                let n = match w {
                    Width::W8 => self.signed(Width::W16, n),
                    Width::W16 => self.signed(Width::W32, n),
                    _ => self.val(n),
                };
                (n, self.signed(w, d))
            }
        };
        if !sign {
            let (q, r) = (self.b.ins().udiv(n, d), self.b.ins().urem(n, d));
            if w != full {
                let over = self.b.ins().icmp_imm_u(IntCC::UnsignedGreaterThan, q, w.mask() as i64);
                let over = self.bit(over);
                self.exit_if(over);
            }
            return Ok((V::S(q, w.mask()), V::S(r, w.mask())));
        }
        let least = self.b.ins().icmp_imm_s(IntCC::Equal, n, i64::MIN);
        let minus = self.b.ins().icmp_imm_s(IntCC::Equal, d, -1);
        let over = self.b.ins().band(least, minus);
        let over = self.bit(over);
        self.exit_if(over);
        let (q, r) = (self.b.ins().sdiv(n, d), self.b.ins().srem(n, d));
        if w != full {
            let back = self.signed(w, V::S(q, u64::MAX));
            let over = self.b.ins().icmp(IntCC::NotEqual, back, q);
            let over = self.bit(over);
            self.exit_if(over);
        }
        Ok((self.zext(w, V::S(q, u64::MAX)), self.zext(w, V::S(r, u64::MAX))))
    }

    fn get(&mut self, r: Var) -> V {
        match r {
            Var::Gpr(n) => self.get_gpr(n as usize),
            Var::Rip => self.rip(self.next),
            Var::System => self.load_state(crate::native::rflags_at()),
            Var::SegBase(s) => self.load_state(crate::native::base_at(s as usize)),
        }
    }
    fn set(&mut self, r: Var, v: V) {
        match r {
            Var::Gpr(n) => self.set_gpr(n as usize, v),
            Var::System => self.store_state(crate::native::rflags_at(), v),
            Var::SegBase(s) => self.store_state(crate::native::base_at(s as usize), v),
            Var::Rip => {}
        }
    }

    fn flags(&mut self, kind: FlagKind, w: Width, a: V, b: V, r: V) {
        let r = if kind == FlagKind::Raw {
            self.op2(Op2::And, Width::W64, r, V::K(flags::STATUS))
        } else {
            r
        };
        self.set_flags(Flags::Known(Arisen { kind, w, a, b, r }));
    }
    fn flags_but_carry(&mut self, kind: FlagKind, w: Width, a: V, r: V) {
        self.step_flags(kind, w, a, r);
    }
    fn patch_flags(&mut self, mask: u64, bits: V) {
        self.change_flags(mask, bits);
    }
    fn flag(&mut self, f: Flag) -> V {
        self.flag_of(self.flags, f)
    }
    fn cond(&mut self, c: Cond) -> V {
        self.condition(c)
    }
    fn status(&mut self) -> V {
        self.status_of(self.flags)
    }

    fn load(&mut self, seg: SegReg, w: Width, at: V) -> Result<V, Infallible> {
        let la = self.linear(seg, at, w);
        Ok(self.load_linear(la, w))
    }
    fn store(&mut self, seg: SegReg, w: Width, at: V, v: V) -> Res<Self> {
        let la = self.linear(seg, at, w);
        self.store_linear(la, w, v);
        Ok(())
    }
    fn rmw(
        &mut self,
        seg: SegReg,
        w: Width,
        at: V,
        _lock: bool,
        f: impl FnOnce(&mut Self, V) -> Result<V, Infallible>,
    ) -> Res<Self> {
        let la = self.linear(seg, at, w);
        let host = self.writable(la, w);
        let old = self.load_host(host, w);
        let new = f(self, old)?;
        self.store_host(host, w, new);
        self.changed = true;
        Ok(())
    }

    fn fault_if(&mut self, c: V, _: Exception) -> Res<Self> {
        self.exit_if(c);
        Ok(())
    }
    fn rare(&mut self, c: V) -> Res<Self> {
        self.exit_if(c);
        Ok(())
    }
    fn when(&mut self, c: V, body: impl FnOnce(&mut Self) -> Res<Self>) -> Res<Self> {
        let c = match c {
            V::K(0) => return Ok(()),
            V::K(_) => return body(self),
            V::S(c, _) => c,
        };
        // Either way the state has the flags afterwards.
        self.stored_flags();
        let (set, before) = (self.flags_set(), self.stale());
        let (yes, no, on) = (self.b.create_block(), self.b.create_block(), self.b.create_block());
        let none: [BlockArg; 0] = [];
        self.b.ins().brif(c, yes, &none, no, &none);
        self.b.switch_to_block(yes);
        body(self)?;
        self.stored_flags();
        self.b.ins().jump(on, &none);
        self.b.switch_to_block(no);
        let missing = self.meet(before);
        self.load_these(missing);
        self.b.ins().jump(on, &none);
        self.b.switch_to_block(on);
        // What the body set has another name now.
        self.forget();
        self.put_flags_set(set);
        Ok(())
    }

    fn target(&mut self, w: Width, to: V) -> Result<V, Infallible> {
        let to = self.zext(w, to);
        if self.mode().long64() {
            let n = if self.mode().has(cpu::Mode::LA57) { 7 } else { 16 };
            if w == Width::W64 {
                let x = self.op2(Op2::Shl, Width::W64, to, V::K(n));
                let x = self.op2(Op2::Sar, Width::W64, x, V::K(n));
                let bad = self.op2(Op2::Ne, Width::W64, x, to);
                self.exit_if(bad);
            }
        }
        Ok(to)
    }
    fn jump(&mut self, to: V) {
        self.term = Term::Indirect(to);
    }
    fn jump_rel(&mut self, w: Width, rel: i64) -> Res<Self> {
        if w == Width::W16 {
            self.give_up();
        }
        self.term = Term::Jump(self.next + rel);
        Ok(())
    }
    fn branch(&mut self, c: V, w: Width, rel: i64) -> Res<Self> {
        if w == Width::W16 {
            self.give_up();
        }
        self.term = Term::Branch(c, self.next + rel);
        Ok(())
    }

    fn big(&mut self, _: Big, _: &Insn) -> Res<Self> {
        self.give_up();
        Ok(())
    }
}
