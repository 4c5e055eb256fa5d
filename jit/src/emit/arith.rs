//! Shifts, products and quotients: what the host has certain registers for.

use super::asm::{ABOVE_EQUAL, Alu, BELOW_EQUAL, NOT_EQUAL, One, RAX, RCX, RDX, Rm, Shift};
use super::body::{Body, V};
use super::sem::{Max32, top};
use cpu::{Op1, Op2, Sem, Width};

impl Body<'_> {
    pub fn shift(&mut self, op: Op2, w: Width, a: V, n: V) -> V {
        let kind = match op {
            Op2::Shl => Shift::Shl,
            Op2::Shr => Shift::Shr,
            Op2::Sar => Shift::Sar,
            Op2::Rol => Shift::Rol,
            _ => Shift::Ror,
        };
        let rotate = matches!(op, Op2::Rol | Op2::Ror);
        let bits = u64::from(w.bits());
        self.clobber();
        if let V::K(n) = n {
            let n = if rotate { n % bits } else { n };
            if n >= bits && op != Op2::Sar {
                return V::K(0);
            }
            let n = n.min(bits - 1) as u8;
            if n == 0 {
                return self.zext(w, a);
            }
            // The upper bits do not come down: right shifts have zero-extended operands.
            let t = self.changeable(w, a, V::K(0));
            self.asm.shift(kind, w, Rm::R(t), n);
            let v = self.result(w, t);
            return if op == Op2::Shr { V::R(t, w.mask() >> n) } else { v };
        }
        // The host takes the count modulo 32 or 64.
        let most = if w == Width::W64 { 64 } else { 32 };
        if !rotate && top(n) >= most {
            self.misfit = true;
            return V::K(0);
        }
        let n = self.low(Width::W8, n);
        // Counts from the width on: at 32 bits the operand is long enough to show what happens.
        let wide = if rotate { w } else { w.max32() };
        if self.shifts_x && !rotate {
            let (h, t) = (self.reg(a), self.fresh());
            let signed = op == Op2::Sar && wide != w;
            if signed {
                self.asm.load_signed(w, wide, t, Rm::R(h));
            }
            self.asm.shift_x(kind, wide, t, if signed { t } else { h }, n);
            return self.result(w, t);
        }
        let held = !self.take_if_free(RCX);
        let t = match op {
            Op2::Sar if wide != w => {
                let (h, t) = (self.reg(a), self.fresh());
                self.asm.load_signed(w, wide, t, Rm::R(h));
                t
            }
            _ => self.copy(a),
        };
        let keep = held.then(|| self.fresh());
        if let Some(k) = keep {
            self.asm.mov(k, RCX);
        }
        self.asm.mov(RCX, n);
        self.asm.shift_cl(kind, wide, Rm::R(t));
        if let Some(k) = keep {
            self.asm.mov(RCX, k);
        }
        self.result(w, t)
    }
    pub fn multiply(&mut self, op: Op2, w: Width, a: V, b: V) -> V {
        self.clobber();
        if op == Op2::Mul {
            let t = self.copy(a);
            let b = self.low(w, b);
            self.asm.imul(w.max32(), t, Rm::R(b));
            return self.result(w, t);
        }
        if w == Width::W64 {
            return self.products(op == Op2::MulHiS, w, a, b).1;
        }
        // The whole product fits in 64 bits.
        let extend = |s: &mut Self, v: V| {
            if op == Op2::MulHiU {
                return s.zext(w, v);
            }
            let (h, t) = (s.reg(v), s.fresh());
            s.asm.load_signed(w, Width::W64, t, Rm::R(h));
            V::R(t, u64::MAX)
        };
        let (a, b) = (extend(self, a), extend(self, b));
        let t = self.copy(a);
        let b = self.reg(b);
        self.asm.imul(Width::W64, t, Rm::R(b));
        self.asm.shift(Shift::Shr, Width::W64, Rm::R(t), w.bits() as u8);
        self.zext(w, V::R(t, u64::MAX))
    }
    /// Both halves of an unsigned product of 64-bit numbers, the low one first. The host's flags stay. For hosts with BMI2.
    pub fn wide_product(&mut self, a: V, b: V) -> (u8, u8) {
        let (a, b) = (self.reg(a), self.reg(b));
        let (a, b) = if b == RDX { (b, a) } else { (a, b) };
        let held = a != RDX && !self.take_if_free(RDX);
        let keep = held.then(|| self.fresh());
        if let Some(k) = keep {
            self.asm.mov(k, RDX);
        }
        if a != RDX {
            self.asm.mov(RDX, a);
        }
        let (lo, hi) = (self.fresh(), self.fresh());
        self.asm.mulx(Width::W64, hi, lo, b);
        if let Some(k) = keep {
            self.asm.mov(RDX, k);
        }
        (lo, hi)
    }
    /// The quotient and the rest of `hi:lo` by `d`.
    pub fn quotient(&mut self, sign: bool, w: Width, hi: V, lo: V, d: V) -> (V, V) {
        // Whatever is not plain, tier 0 does: it raises #DE where it must.
        let [hi, lo, d] = [hi, lo, d].map(|v| V::R(self.reg(v), u64::MAX));
        self.clobber();
        let (q, r) = match (sign, w) {
            (false, Width::W32 | Width::W64) => {
                let h = self.reg(hi);
                self.apply(Alu::Cmp, w, h, d);
                self.exit(Some(ABOVE_EQUAL));
                self.pair(One::Div, w, lo, Some(hi), d)
            }
            (true, Width::W64) => {
                let s = self.shift(Op2::Sar, w, lo, V::K(63));
                let (s, h) = (self.reg(s), self.reg(d));
                self.apply(Alu::Cmp, w, s, hi);
                self.exit(Some(NOT_EQUAL));
                self.exit_small(w, h);
                self.pair(One::Idiv, w, lo, Some(hi), d)
            }
            (true, Width::W32) => {
                let h = self.reg(d);
                self.exit_small(w, h);
                let n = self.op2(Op2::Shl, Width::W64, hi, V::K(32));
                let lo = self.zext(w, lo);
                let n = self.op2(Op2::Or, Width::W64, n, lo);
                let top = self.shift(Op2::Sar, Width::W64, n, V::K(63));
                let d = self.op1(Op1::Sext(w), Width::W64, d);
                let (q, r) = self.pair(One::Idiv, Width::W64, n, Some(top), d);
                let back = self.op1(Op1::Sext(w), Width::W64, V::R(q, u64::MAX));
                let back = self.reg(back);
                self.apply(Alu::Cmp, Width::W64, back, V::R(q, 0));
                self.exit(Some(NOT_EQUAL));
                (q, r)
            }
            _ => {
                self.misfit = true;
                return (V::K(0), V::K(0));
            }
        };
        let (q, r) = (V::R(q, u64::MAX), V::R(r, u64::MAX));
        (self.zext(w, q), self.zext(w, r))
    }
    /// Leaves a signed division by 0 and by -1 to tier 0.
    fn exit_small(&mut self, w: Width, d: u8) {
        let t = self.fresh();
        self.asm.lea(w, t, Rm::M(d, 1));
        self.asm.alu_constant(Alu::Cmp, w, Rm::R(t), 1);
        self.exit(Some(BELOW_EQUAL));
    }
    /// An operation on rDX:rAX with its results in registers: the low half or the quotient, and the other. Whatever is in those two
    /// registers stays.
    pub fn pair(&mut self, one: One, w: Width, low: V, high: Option<V>, by: V) -> (u8, u8) {
        let (low, high, by) = (self.reg(low), high.map(|v| self.reg(v)), self.reg(by));
        let keep = [RAX, RDX].map(|h| (!self.take_if_free(h)).then_some(h));
        let keep = keep.map(|h| {
            let t = h.map(|_| self.fresh());
            if let (Some(h), Some(t)) = (h, t) {
                self.asm.mov(t, h);
            }
            t
        });
        let now = |h: u8| match h {
            RAX => keep[0].unwrap_or(h),
            RDX => keep[1].unwrap_or(h),
            _ => h,
        };
        self.asm.mov(RAX, now(low));
        if let Some(high) = high {
            self.asm.mov(RDX, now(high));
        }
        self.asm.one(one, w, Rm::R(now(by)));
        let [a, d] = [(RAX, keep[0]), (RDX, keep[1])].map(|(h, held)| match held {
            Some(_) => {
                let t = self.fresh();
                self.asm.mov(t, h);
                t
            }
            None => self.taken(h),
        });
        for (h, t) in [RAX, RDX].into_iter().zip(keep) {
            if let Some(t) = t {
                self.asm.mov(h, t);
            }
        }
        (a, d)
    }
}
