//! The words of [`Sem`], answered with host code.

use super::asm::{Alu, BELOW, Count, EQUAL, LESS, NOT_EQUAL, OVERFLOW, One, Rm};
use super::body::{Body, Sum, Term, V};
use super::flags::Flags;
use cpu::sem::{Big, cond_of_flags, operand};
use cpu::{
    Cond, Exception, Flag, FlagKind, Insn, NO_REG, Op1, Op2, RIP, Res, SegReg, Sem, Var, Width,
    flags,
};
use std::convert::Infallible;

/// A meaning, for this tier.
pub type Meaning = for<'a, 'b, 'c> fn(&'a mut Body<'b>, &'c Insn) -> Result<(), Infallible>;

macro_rules! emit_rows {
    ($($name:ident $kind:ident $first:ident$(::$rest:ident)* $($flag:ident)*;)*) => {
        &[$((iced_x86::Mnemonic::$name, emit_rows!(@run $kind $first$(::$rest)*))),*]
    };
    (@run gen $($p:ident)::+) => { Some((|s, i| cpu::sem::$($p)::+(s, i)) as Meaning) };
    (@run big $($p:ident)::+) => { None };
}
static INTEGER: &[(iced_x86::Mnemonic, Option<Meaning>)] = cpu::integer_rows!(emit_rows);

/// Meanings by row number; `None` is called.
pub fn table() -> Vec<Option<Meaning>> {
    let mut all = vec![None; cpu::rows::ROWS.len()];
    for &(m, f) in INTEGER {
        all[cpu::rows::number(m) as usize] = f;
    }
    for &(m, f) in super::x87::TABLE {
        all[cpu::rows::number(m) as usize] = Some(f);
    }
    for &(m, f) in super::system::TABLE.iter().chain(super::bits::TABLE) {
        all[cpu::rows::number(m) as usize] = Some(f);
    }
    for (m, f) in super::vector::table() {
        all[cpu::rows::number(m) as usize] = Some(f);
    }
    if super::host_has!("sse4.2") {
        all[cpu::rows::number(iced_x86::Mnemonic::Crc32) as usize] = Some(|s, i| {
            let v = operand::read(s, i, 1)?;
            let old = operand::read(s, i, 0)?;
            let (h, t) = (s.low(i.ow[1], v), s.copy(old));
            s.asm.crc32(i.ow[1], t, h);
            operand::write(s, i, 0, V::R(t, u32::MAX.into()))
        });
    }
    // The string instruction shares its mnemonic with one of vector registers.
    all[cpu::rows::number(iced_x86::Mnemonic::Movsd) as usize] = Some(|s, i| {
        if i.op.iter().any(|o| matches!(o, cpu::Opnd::Xmm(_))) {
            return super::vector::one(s, i);
        }
        cpu::sem::string::movs(s, i)
    });
    all
}

/// The most that a value can be.
pub fn top(v: V) -> u64 {
    match v {
        V::K(k) => k,
        V::R(_, max) => max,
        V::L(_, w) => w.mask(),
        V::Gone => u64::MAX,
        V::C(..) => 1,
    }
}

impl Body<'_> {
    /// Whether a sum in the current instruction may be one whose flags count.
    fn adds(&self) -> bool {
        use iced_x86::Mnemonic::*;
        matches!(self.insns[self.index].iced().mnemonic(), Add | Adc | Xadd | Inc | Adcx | Adox)
    }
    /// The value in a register, zero-extended from the width.
    pub fn zext(&mut self, w: Width, v: V) -> V {
        match v {
            V::K(k) => V::K(k & w.mask()),
            _ if top(v) <= w.mask() => v,
            V::R(h, _) | V::L(h, _) => V::L(h, w),
            V::C(..) | V::Gone => V::R(self.reg(v), 1),
        }
    }
    /// An operation's result: those on bytes and words leave the other bits.
    pub fn result(&mut self, w: Width, t: u8) -> V {
        if matches!(w, Width::W8 | Width::W16) { V::L(t, w) } else { V::R(t, w.mask()) }
    }
    /// `t op= b`; afterwards the host's flags are the operation's.
    pub fn apply(&mut self, op: Alu, w: Width, t: u8, b: V) {
        match b {
            V::K(k) if let Some(k) = small(w, k) => self.asm.alu_constant(op, w, Rm::R(t), k),
            _ => {
                let b = self.low(w, b);
                self.asm.alu(op, w, t, Rm::R(b));
            }
        }
    }
    /// A register with a value that may be changed: its own, if nobody needs it any more.
    pub fn changeable(&mut self, w: Width, a: V, b: V) -> u8 {
        if let Some(h) = self.own(w, a, b) {
            return h;
        }
        let V::R(h, _) = a else { return self.copy(a) };
        let t = self.result_register();
        self.asm.mov(t, h);
        t
    }
    fn compare(&mut self, cond: u8, w: Width, a: V, b: V) -> V {
        let a = self.low(w, a);
        let b =
            if matches!(b, V::K(k) if small(w, k).is_some()) { b } else { V::R(self.low(w, b), 0) };
        self.clobber();
        self.apply(Alu::Cmp, w, a, b);
        let t = self.fresh();
        self.asm.set(cond, t);
        self.asm.load(Width::W8, t, Rm::R(t));
        V::R(t, 1)
    }
    /// The result of a comparison, which only its flags need: they are set, and it is not there, or is an operand.
    fn compared(&mut self, op: Op2, w: Width, a: V, b: V) -> Option<V> {
        let m = self.insns[self.index].iced().mnemonic();
        let compares = op == Op2::Sub && m == iced_x86::Mnemonic::Cmp;
        if !compares && (op != Op2::And || m != iced_x86::Mnemonic::Test) {
            return None;
        }
        if self.unseen() {
            return Some(V::K(0));
        }
        let h = self.low(w, a);
        self.clobber();
        let r = if compares {
            self.apply(Alu::Cmp, w, h, b);
            V::Gone
        } else if b.host() == Some(h) {
            self.asm.test(w, Rm::R(h), h);
            a
        } else {
            self.test(w, h, b);
            V::Gone
        };
        self.now.made = Some((op, w, r));
        Some(r)
    }
    pub fn test(&mut self, w: Width, h: u8, b: V) {
        match b {
            V::K(k) if let Some(k) = small(w, k) => self.asm.test_constant(w, Rm::R(h), k),
            _ => {
                let b = self.low(w, b);
                self.asm.test(w, Rm::R(h), b);
            }
        }
    }
}

/// A constant as an operand of this width, if it fits.
pub fn small(w: Width, k: u64) -> Option<i32> {
    let n = 64 - w.bits();
    i32::try_from((k << n) as i64 >> n).ok()
}

/// The width of host operations that do for a guest's bytes and words.
pub trait Max32 {
    fn max32(self) -> Width;
}
impl Max32 for Width {
    fn max32(self) -> Width {
        if self == Width::W64 { self } else { Width::W32 }
    }
}

impl Sem for Body<'_> {
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
            Op1::Zext => self.zext(w, a),
            Op1::Sext(from) if from >= w => self.zext(w, a),
            Op1::Sext(from) => {
                let (h, t) = (self.low(from, a), self.fresh());
                self.asm.load_signed(from, w.max32(), t, Rm::R(h));
                self.result(w, t)
            }
            Op1::Not | Op1::Neg => {
                self.clobber();
                let t = self.changeable(w, a, V::K(0));
                self.asm.one(if op == Op1::Not { One::Not } else { One::Neg }, w, Rm::R(t));
                self.result(w, t)
            }
            Op1::Bswap if matches!(w, Width::W32 | Width::W64) => {
                let t = self.changeable(w, a, V::K(0));
                self.asm.bswap(w, t);
                V::R(t, w.mask())
            }
            Op1::Popcnt if self.counts => {
                self.clobber();
                let a = self.zext(w, a);
                let (h, t) = (self.reg(a), self.fresh());
                self.asm.count(Count::Popcnt, Width::W64, t, Rm::R(h));
                V::R(t, 64)
            }
            Op1::Clz | Op1::Ctz if self.counts && matches!(w, Width::W32 | Width::W64) => {
                self.clobber();
                let (h, t) = (self.reg(a), self.fresh());
                let count = if op == Op1::Clz { Count::Lzcnt } else { Count::Tzcnt };
                self.asm.count(count, w, t, Rm::R(h));
                V::R(t, 64)
            }
            _ => {
                self.misfit = true;
                V::K(0)
            }
        }
    }
    fn op2(&mut self, op: Op2, w: Width, a: V, b: V) -> V {
        if let (V::K(x), V::K(y)) = (a, b) {
            return V::K(op.eval(w, x, y));
        }
        if (op, w, b) == (Op2::Add, Width::W64, V::K(0)) && !self.adds() {
            return a;
        }
        if let Some(v) = self.compared(op, w, a, b) {
            return v;
        }
        let alu = match op {
            Op2::Add => Alu::Add,
            Op2::Sub => Alu::Sub,
            Op2::And => Alu::And,
            Op2::Or => Alu::Or,
            Op2::Xor => Alu::Xor,
            Op2::Eq => return self.compare(EQUAL, w, a, b),
            Op2::Ne if b == V::K(0) && top(a) == 1 => return a,
            Op2::Ne => return self.compare(NOT_EQUAL, w, a, b),
            Op2::Ltu => return self.compare(BELOW, w, a, b),
            Op2::Lts => return self.compare(LESS, w, a, b),
            Op2::Mul | Op2::MulHiU | Op2::MulHiS => return self.multiply(op, w, a, b),
            Op2::AndNot => {
                let b = self.op1(Op1::Not, w, b);
                return self.op2(Op2::And, w, a, b);
            }
            Op2::Shl | Op2::Shr | Op2::Sar | Op2::Rol | Op2::Ror => return self.shift(op, w, a, b),
        };
        // Constants are better on the right.
        let swap = matches!(a, V::K(_)) && op != Op2::Sub;
        let (a, b) = if swap { (b, a) } else { (a, b) };
        let b = match b {
            V::K(k) if small(w, k).is_some() => b,
            _ => V::R(self.low(w, b), top(b)),
        };
        if op == Op2::Add && matches!(w, Width::W32 | Width::W64) && !self.adds() {
            let h = self.low(w, a);
            let b = if let V::K(_) = b { b } else { V::R(self.reg(b), 0) };
            let (root, at) = self.now.origin[h as usize];
            let t = self.own(w, a, b).unwrap_or_else(|| self.result_register());
            match b {
                V::K(k) => {
                    let k = small(w, k).unwrap_or(0);
                    let start = self.asm.here();
                    self.asm.lea(w, t, Rm::M(h, k));
                    if w == Width::W64 && t != h {
                        self.sum =
                            Some(Sum { la: t, base: h, disp: k, at: start..self.asm.here() });
                    }
                    if let (Some(at), Width::W64) = (at.checked_add(k), w) {
                        self.now.origin[t as usize] = (root, at);
                    }
                }
                _ => {
                    let b = self.reg(b);
                    self.asm.lea(w, t, Rm::X(h, b, 0, 0));
                }
            }
            return V::R(t, w.mask());
        }
        let from = a.host().map(|h| self.now.origin[h as usize]);
        let t = self.changeable(w, a, b);
        self.clobber();
        self.apply(alu, w, t, b);
        if let (V::K(k), Some((root, at)), Width::W64, Op2::Add | Op2::Sub) = (b, from, w, op) {
            let k = small(w, k).unwrap_or(0);
            let k = if op == Op2::Add { Some(k) } else { k.checked_neg() };
            if let Some(at) = k.and_then(|k| at.checked_add(k)) {
                self.now.origin[t as usize] = (root, at);
            }
        }
        let max = match op {
            Op2::And => top(a).min(top(b)),
            _ => u64::MAX,
        };
        let v = match self.result(w, t) {
            V::R(t, bound) => V::R(t, max.min(bound)),
            v => v,
        };
        self.now.made = Some((op, w, v));
        v
    }
    fn pick(&mut self, c: V, yes: V, no: V) -> V {
        let max = top(yes).max(top(no));
        if let V::K(k) = c {
            return if k != 0 { yes } else { no };
        }
        let (yes, t) = (self.reg(yes), self.copy(no));
        let cond = match c {
            V::C(..) => self.host_condition(c).unwrap_or(0),
            _ => {
                let c = self.reg(c);
                self.clobber();
                self.asm.test(Width::W64, Rm::R(c), c);
                NOT_EQUAL
            }
        };
        self.asm.cmov(cond, Width::W64, t, Rm::R(yes));
        V::R(t, max)
    }
    fn divide(&mut self, sign: bool, w: Width, hi: V, lo: V, d: V) -> Result<(V, V), Infallible> {
        Ok(self.quotient(sign, w, hi, lo, d))
    }

    fn get(&mut self, r: Var) -> V {
        match r {
            Var::Gpr(n) => self.get_gpr(n),
            Var::Rip => self.rip(self.next),
            Var::System => self.load_state(crate::native::rflags_at()),
            Var::SegBase(s) => self.load_state(crate::native::base_at(s as usize)),
        }
    }
    fn sum(&mut self, i: &Insn) -> V {
        if i.aw == Width::W16 || self.mode.bits() == 16 {
            return operand::sum(self, i);
        }
        let w = i.aw;
        let (base, index) = match (i.base, i.index) {
            (RIP, NO_REG)
                if w == Width::W64
                    && let Some(d) = self.next.checked_add(i.disp) =>
            {
                return self.rip(d);
            }
            (NO_REG | RIP, _) | (_, NO_REG) => return operand::sum(self, i),
            (b, x) => (self.get_gpr(b), self.get_gpr(x)),
        };
        let (b, x) = (self.reg(base), self.reg(index));
        let leads = i.iced().mnemonic() == iced_x86::Mnemonic::Lea;
        let t = if leads { self.result_register() } else { self.fresh() };
        self.asm.lea(w, t, Rm::X(b, x, i.scale, i.disp));
        V::R(t, w.mask())
    }
    fn merge(&mut self, old: V, at: u64, w: Width, v: V) -> V {
        if at != 0 || v.host().is_none() {
            return operand::merge(self, old, at, w, v);
        }
        let h = self.low(w, v);
        let t = self.copy(old);
        self.asm.store(w, Rm::R(t), h);
        V::R(t, u64::MAX)
    }
    fn set(&mut self, r: Var, v: V) {
        match r {
            Var::Gpr(n) => self.set_gpr(n, v),
            Var::System => self.store_state(crate::native::rflags_at(), v),
            Var::SegBase(s) => self.store_state(crate::native::base_at(s as usize), v),
            Var::Rip => {}
        }
    }

    fn flags(&mut self, kind: FlagKind, w: Width, a: V, b: V, r: V) {
        if self.unseen() {
            return;
        }
        let r = if kind == FlagKind::Raw {
            self.op2(Op2::And, Width::W64, r, V::K(flags::STATUS))
        } else {
            r
        };
        // Numbers that are kept are no conditions.
        let keep = |s: &mut Self, v: V| if let V::C(..) = v { V::R(s.reg(v), 1) } else { v };
        let (a, b, r) = (keep(self, a), keep(self, b), keep(self, r));
        // The operation took its operand's register.
        let a = if self.owned.is_some() && a.host() == self.owned { V::Gone } else { a };
        let live = match self.now.made {
            Some((op, ow, v)) if v.host() == r.host() && ow == w => match kind {
                FlagKind::Add => op == Op2::Add,
                FlagKind::Sub => op == Op2::Sub,
                FlagKind::Logic => matches!(op, Op2::And | Op2::Or | Op2::Xor),
                // Nothing but a sum with a carry has this kind.
                FlagKind::Adc | FlagKind::Sbb => true,
                _ => false,
            },
            _ => false,
        };
        self.set_flags(Flags::Known(kind, w, a, b, r), live);
        if live && self.carries() {
            let h = self.fresh();
            self.asm.set(BELOW, h);
            self.now.carry = Some(h);
        }
    }
    fn wants_flags(&mut self) -> bool {
        !self.unseen()
    }
    fn carried(&mut self, op: Op2, w: Width, a: V, b: V) -> V {
        let c = self.carry();
        let b = match b {
            V::K(k) if small(w, k).is_some() => b,
            _ => V::R(self.low(w, b), top(b)),
        };
        let h = self.low(w, a);
        let t = self.result_register();
        self.asm.mov(t, h);
        self.carry_in(c);
        self.apply(if op == Op2::Sub { Alu::Sbb } else { Alu::Adc }, w, t, b);
        self.clobber();
        let v = self.result(w, t);
        self.now.made = Some((op, w, v));
        v
    }
    fn added(&mut self, f: Flag, w: Width, a: V, b: V) -> V {
        let (c, o) = match self.now.flags {
            Flags::Apart(c, o) => (c, o),
            Flags::Known(FlagKind::Logic, ..) => {
                self.stored_flags();
                (V::K(0), V::K(0))
            }
            _ => {
                self.stored_flags();
                if !self.now.live {
                    self.state_flags();
                }
                let (c, o) = (self.fresh(), self.fresh());
                self.asm.set(BELOW, c);
                self.asm.set(OVERFLOW, o);
                (V::L(c, Width::W8), V::L(o, Width::W8))
            }
        };
        let b = V::R(self.low(w, b), top(b));
        let t = self.changeable(w, a, b);
        self.carry_in(if f == Flag::Cf { c } else { o });
        self.apply(Alu::Adc, w, t, b);
        self.clobber();
        let n = self.fresh();
        self.asm.set(BELOW, n);
        let n = V::L(n, Width::W8);
        self.set_flags(if f == Flag::Cf { Flags::Apart(n, o) } else { Flags::Apart(c, n) }, false);
        self.result(w, t)
    }
    fn product(&mut self, w: Width, a: V, b: V) -> (V, V) {
        let (t, b) = (self.copy(a), self.low(w, b));
        self.clobber();
        self.asm.imul(w, t, Rm::R(b));
        let over = if self.unseen() {
            V::K(0)
        } else {
            let o = self.fresh();
            self.asm.set(OVERFLOW, o);
            self.asm.load(Width::W8, o, Rm::R(o));
            V::R(o, 1)
        };
        (self.result(w, t), over)
    }
    fn products(&mut self, sign: bool, w: Width, a: V, b: V) -> (V, V) {
        if w != Width::W64 {
            return cpu::sem::arith::products(self, sign, w, a, b);
        }
        let (lo, hi) = if !sign && self.shifts_x {
            self.wide_product(a, b)
        } else {
            self.clobber();
            self.pair(if sign { One::Imul } else { One::Mul }, w, a, None, b)
        };
        (V::R(lo, u64::MAX), V::R(hi, u64::MAX))
    }
    fn flags_but_carry(&mut self, kind: FlagKind, w: Width, a: V, r: V) {
        if !self.unseen() {
            let c = self.flag(Flag::Cf);
            self.flags(kind, w, a, c, r);
        }
    }
    fn patch_flags(&mut self, mask: u64, bits: V) {
        if !self.unseen() {
            let all = self.status();
            let all = self.op2(Op2::And, Width::W64, all, V::K(!mask));
            let all = self.op2(Op2::Or, Width::W64, all, bits);
            self.set_status(all);
        }
    }
    fn turned(&mut self, left: bool, w: Width, r: V) {
        if self.unseen() {
            return;
        }
        if !matches!(self.now.flags, Flags::Turned(..)) {
            self.stored_flags();
        }
        let r = V::L(self.low(w, r), w);
        self.set_flags(Flags::Turned(left, w, r), false);
    }
    fn flag(&mut self, f: Flag) -> V {
        let pinned = self.pinned;
        match (self.now.flags, f) {
            (Flags::Apart(v, _), Flag::Cf) | (Flags::Apart(_, v), Flag::Of) => {
                let v = if let V::K(_) = v { v } else { V::R(self.reg(v), 1) };
                self.pinned = pinned | v.host().map_or(0, |h| 1 << h);
                return v;
            }
            (Flags::Turned(..) | Flags::Apart(..), _) => self.stored_flags(),
            _ => {}
        }
        let v = match self.now.flags {
            Flags::Known(FlagKind::Adc | FlagKind::Sbb, ..)
            | Flags::Known(_, _, _, _, V::Gone)
            | Flags::Stored
                if f != Flag::Af =>
            {
                self.by_host(f)
            }
            Flags::Known(kind, w, a, b, r) => {
                let part = |s: &mut Self, v: V| {
                    if v == V::Gone { s.derived(kind, w, a, b, r) } else { v }
                };
                let a = if matches!(f, Flag::Cf | Flag::Of | Flag::Af) && kind != FlagKind::Logic {
                    part(self, a)
                } else {
                    a
                };
                let r = part(self, r);
                flags::value(self, f, kind, w, a, b, r)
            }
            _ => {
                let v = self.ask(crate::native::FLAG, f as u64);
                self.op2(Op2::And, Width::W64, v, V::K(1))
            }
        };
        // What it was worked out from is not wanted any more.
        self.pinned = pinned | if let V::R(h, _) = v { 1 << h } else { 0 };
        v
    }
    fn cond(&mut self, c: Cond) -> V {
        if self.has_condition(c) {
            return V::C(c as u8, self.now.age);
        }
        cond_of_flags(self, c)
    }
    fn status(&mut self) -> V {
        match self.now.flags {
            Flags::Known(FlagKind::Raw, _, _, _, r) => r,
            _ => {
                self.stored_flags();
                let t = self.fresh();
                self.state_flags();
                self.host_flags(t)
            }
        }
    }

    fn load(&mut self, seg: SegReg, w: Width, at: V) -> Result<V, Infallible> {
        let la = self.linear(seg, at);
        Ok(self.load_linear(la, w))
    }
    fn store(&mut self, seg: SegReg, w: Width, at: V, v: V) -> Res<Self> {
        let la = self.linear(seg, at);
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
        let la = self.linear(seg, at);
        let host = self.writable(la, w);
        let t = self.fresh();
        self.asm.load(w, t, Rm::M(host, 0));
        let new = f(self, V::R(t, w.mask()))?;
        let new = self.reg(new);
        self.asm.store(w, Rm::M(host, 0), new);
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
        if let V::K(k) = c {
            return if k != 0 { body(self) } else { Ok(()) };
        }
        let c = self.reg(c);
        // Either way the state has the flags afterwards.
        self.stored_flags();
        self.clobber();
        self.asm.test(Width::W64, Rm::R(c), c);
        let hole = self.asm.jcc(EQUAL);
        let (before, windows) = (self.now.cache, self.now.windows);
        body(self)?;
        self.stored_flags();
        self.clobber();
        self.asm.land(hole);
        // What only one of the two ways has, nobody has.
        for (now, was) in self.now.windows.iter_mut().zip(windows) {
            *now = now.filter(|w| was == Some(*w));
        }
        self.now.cache.keep(&before);
        Ok(())
    }

    fn target(&mut self, w: Width, to: V) -> Result<V, Infallible> {
        let to = self.zext(w, to);
        // Native code runs far from the hole in the address space only, and relative jumps do not lead as far.
        if to.host().is_some_and(|h| self.now.origin[h as usize].0 == super::memory::RIP_VALUE) {
            return Ok(to);
        }
        if self.mode.long64() && w == Width::W64 && !matches!(to, V::K(_)) {
            let n = if self.mode.has(cpu::Mode::LA57) { 7 } else { 16 };
            let x = self.op2(Op2::Shl, Width::W64, to, V::K(n));
            let x = self.op2(Op2::Sar, Width::W64, x, V::K(n));
            let (x, to) = (self.reg(x), self.reg(to));
            self.clobber();
            self.asm.alu(Alu::Cmp, Width::W64, x, Rm::R(to));
            self.exit(Some(NOT_EQUAL));
        }
        Ok(to)
    }
    fn jump(&mut self, to: V) {
        self.now.term = Term::Indirect(to);
    }
    fn jump_rel(&mut self, w: Width, rel: i64) -> Res<Self> {
        self.misfit |= w == Width::W16;
        self.now.term = Term::Jump(i64::from(self.next) + rel);
        Ok(())
    }
    fn branch(&mut self, c: V, w: Width, rel: i64) -> Res<Self> {
        self.misfit |= w == Width::W16;
        self.now.term = Term::Branch(c, i64::from(self.next) + rel);
        Ok(())
    }
    fn big(&mut self, _: Big, _: &Insn) -> Res<Self> {
        self.misfit = true;
        Ok(())
    }
}
