//! The vector words, answered with Cranelift values where one or a few native instructions do exactly the same.
//!
//! What is not done here makes its instruction a *misfit*: the interpreter is called for it. Floating point is native only
//! on hosts whose arithmetic is the guest's (x86-64), and while MXCSR masks all exceptions: the guest's MXCSR is in the
//! host's while a region runs, so rounding, denormals and sticky flags are right by themselves. Rules, from what Cranelift
//! does: no operation on constants alone (it would fold them rounded to nearest), and no loaded value as left operand of a
//! commutative one (it may swap them, which shows in the payload of NaNs).

use crate::clif::{Clif, V, own};
use crate::native::Cx;
use cpu::vector::{Conv, F1, F2, F3, Fmt, Form, Lane, Shift, X1, X2, X3, Y};
use cpu::{Mode, Res, SegReg, Vector, Width};
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{
    Endianness, InstBuilder, MemFlagsData, Opcode, Type, Value, ValueDef, types,
};
use std::convert::Infallible;
use std::mem::offset_of;

/// 128 bits of the translator.
#[derive(Clone, Copy, Debug)]
pub enum X {
    K(u128),
    S(Value),
}

const fn lanes(l: Lane) -> Type {
    match l {
        Lane::B => types::I8X16,
        Lane::W => types::I16X8,
        Lane::D => types::I32X4,
        Lane::Q => types::I64X2,
    }
}
const fn floats(f: Fmt) -> Type {
    match f {
        Fmt::F32 => types::F32X4,
        Fmt::F64 => types::F64X2,
    }
}
const HOST_FLOATS: bool = cfg!(target_arch = "x86_64");

/// Whether the host multiplies and adds in one instruction.
fn host_fma() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::is_x86_feature_detected!("fma");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

impl Clif<'_> {
    pub fn xval(&mut self, x: X) -> Value {
        match x {
            X::S(v) => v,
            X::K(k) => {
                let c = self.b.func.dfg.constants.insert(k.to_le_bytes()[..].into());
                self.b.ins().vconst(types::I8X16, c)
            }
        }
    }
    fn cast(&mut self, t: Type, v: Value) -> Value {
        if self.b.func.dfg.value_type(v) == t {
            return v;
        }
        self.b.ins().bitcast(t, MemFlagsData::new().with_endianness(Endianness::Little), v)
    }
    fn as_lanes(&mut self, l: Lane, x: X) -> Value {
        let v = self.xval(x);
        self.cast(lanes(l), v)
    }
    fn as_floats(&mut self, f: Fmt, x: X) -> Value {
        let v = self.xval(x);
        self.cast(floats(f), v)
    }
    fn bytes(&mut self, v: Value) -> X {
        X::S(self.cast(types::I8X16, v))
    }
    /// Leaves the current instruction to the interpreter, by a call.
    fn refuse<T>(&mut self, dummy: T) -> T {
        self.misfit = true;
        dummy
    }
    fn aligned(&mut self, la: Value, bytes: i64) {
        let low = self.b.ins().band_imm_u(la, bytes - 1);
        self.exit_if(V::S(low, bytes as u64 - 1));
    }
    /// Whether native floating point may be used here, and notes that it is.
    fn float(&mut self, operands: &[X]) -> bool {
        let constant = operands.iter().all(|x| matches!(x, X::K(_)));
        let ok = HOST_FLOATS && self.mode().has(Mode::MASKED) && !constant;
        self.floats |= ok;
        ok
    }
    fn lane0(&mut self, f: Fmt, x: X) -> Value {
        let v = self.as_floats(f, x);
        self.b.ins().extractlane(v, 0)
    }
    fn put0(&mut self, f: Fmt, x: X, r: Value) -> X {
        self.keep(r);
        let v = self.as_floats(f, x);
        let v = self.b.ins().insertlane(v, r, 0);
        self.bytes(v)
    }
    /// Whether Cranelift could take this value out of memory where it is used.
    fn is_load(&self, x: X) -> bool {
        let X::S(mut v) = x else { return true };
        for _ in 0..4 {
            v = self.b.func.dfg.resolve_aliases(v);
            let ValueDef::Result(inst, _) = self.b.func.dfg.value_def(v) else { return false };
            match self.b.func.dfg.insts[inst].opcode() {
                Opcode::Load => return true,
                Opcode::Bitcast | Opcode::ScalarToVector => v = self.b.func.dfg.inst_args(inst)[0],
                _ => return false,
            }
        }
        true
    }
    /// Has an operation done even if nobody wants its result: its MXCSR flags count.
    fn keep(&mut self, r: Value) {
        let cx = self.cx();
        self.b.ins().store(own(), r, cx, offset_of!(Cx, value) as i32);
    }
    /// Leaves where either is a NaN.
    fn no_nan(&mut self, a: Value, b: Value) {
        let c = self.b.ins().fcmp(FloatCC::Unordered, a, b);
        let c =
            if self.b.func.dfg.value_type(c).is_vector() { self.b.ins().vany_true(c) } else { c };
        let c = self.bit(c);
        self.exit_if(c);
    }
    /// Leaves where the result is a NaN. By its bits: a comparison would note a denormal in MXCSR.
    fn no_nan_bits(&mut self, fmt: Fmt, r: Value) {
        let (scalar, vector, wide, infinity) = match fmt {
            Fmt::F32 => (types::I32, types::I32X4, Width::W32, 0x7f80_0000u64),
            Fmt::F64 => (types::I64, types::I64X2, Width::W64, 0x7ff0_0000_0000_0000),
        };
        let is_vector = self.b.func.dfg.value_type(r).is_vector();
        let bits = self.cast(if is_vector { vector } else { scalar }, r);
        let mut limits =
            [wide.mask() >> 1, infinity].map(|k| self.b.ins().iconst(scalar, k as i64));
        if is_vector {
            limits = limits.map(|k| self.b.ins().splat(vector, k));
        }
        let size = self.b.ins().band(bits, limits[0]);
        let c = self.b.ins().icmp(IntCC::SignedGreaterThan, size, limits[1]);
        let c = if is_vector { self.b.ins().vany_true(c) } else { c };
        let c = self.bit(c);
        self.exit_if(c);
    }
}

impl Vector for Clif<'_> {
    type X = X;

    fn get_x(&mut self, n: u8, half: u8) -> X {
        self.get_half(n as usize & 15, half as usize & 1)
    }
    fn set_x(&mut self, n: u8, half: u8, v: X) {
        self.set_half(n as usize & 15, half as usize & 1, v)
    }

    fn load_x(&mut self, seg: SegReg, at: V, aligned: bool) -> Result<X, Infallible> {
        let la = self.linear(seg, at, Width::W64);
        if aligned {
            self.aligned(la, 16);
        }
        Ok(X::S(self.load_128(la)))
    }
    fn store_x(&mut self, seg: SegReg, at: V, v: X, aligned: bool) -> Res<Self> {
        let la = self.linear(seg, at, Width::W64);
        if aligned {
            self.aligned(la, 16);
        }
        let v = self.xval(v);
        let host = self.writable_bytes(la, 16);
        self.store_host_x(host, v, 0);
        Ok(())
    }
    fn load_y(&mut self, seg: SegReg, at: V, aligned: bool) -> Result<Y<Self>, Infallible> {
        let la = self.linear(seg, at, Width::W64);
        if aligned {
            self.aligned(la, 32);
        }
        let lo = self.load_128(la);
        let up = self.b.ins().iadd_imm_s(la, 16);
        let hi = self.load_128(up);
        Ok([X::S(lo), X::S(hi)])
    }
    fn store_y(&mut self, seg: SegReg, at: V, v: Y<Self>, aligned: bool) -> Res<Self> {
        let la = self.linear(seg, at, Width::W64);
        if aligned {
            self.aligned(la, 32);
        }
        let (lo, hi) = (self.xval(v[0]), self.xval(v[1]));
        let host = self.writable_bytes(la, 32);
        self.store_host_x(host, lo, 0);
        self.store_host_x(host, hi, 16);
        Ok(())
    }

    fn imm_x(&mut self, v: u128) -> X {
        X::K(v)
    }

    fn x1(&mut self, op: X1, a: X) -> X {
        if let X::K(k) = a {
            return X::K(op.eval(k));
        }
        let r = match op {
            X1::Abs(l) if l != Lane::Q => {
                let v = self.as_lanes(l, a);
                self.b.ins().iabs(v)
            }
            X1::Shift(s, l, n) if l != Lane::B && (s != Shift::Sar || l != Lane::Q) => {
                let bits = l.bits() as u8;
                if n >= bits && s != Shift::Sar {
                    return X::K(0);
                }
                let v = self.as_lanes(l, a);
                let n = self.b.ins().iconst(types::I32, n.min(bits - 1) as i64);
                match s {
                    Shift::Shl => self.b.ins().ishl(v, n),
                    Shift::Shr => self.b.ins().ushr(v, n),
                    Shift::Sar => self.b.ins().sshr(v, n),
                }
            }
            X1::Zext { from, to } | X1::Sext { from, to } => {
                let signed = matches!(op, X1::Sext { .. });
                let (mut l, mut v) = (from, self.as_lanes(from, a));
                while l != to {
                    v = self.cast(lanes(l), v);
                    v = if signed {
                        self.b.ins().swiden_low(v)
                    } else {
                        self.b.ins().uwiden_low(v)
                    };
                    l = match l {
                        Lane::B => Lane::W,
                        Lane::W => Lane::D,
                        _ => Lane::Q,
                    };
                }
                v
            }
            _ => return self.refuse(a),
        };
        self.bytes(r)
    }

    fn x2(&mut self, op: X2, a: X, b: X) -> X {
        if let (X::K(a), X::K(b)) = (a, b) {
            return X::K(op.eval(a, b));
        }
        if let (X::S(x), X::S(y)) = (a, b)
            && x == y
            && matches!(op, X2::Xor | X2::Sub(_))
        {
            return X::K(0);
        }
        if let (X::S(x), X::S(y), X2::Eq(_)) = (a, b, op)
            && x == y
        {
            return X::K(!0);
        }
        use Lane::*;
        let lane = match op {
            X2::And | X2::Or | X2::Xor | X2::AndNot => Q,
            X2::Add(l) | X2::Sub(l) | X2::Eq(l) | X2::Gt(l) => l,
            X2::AddS(l) | X2::AddU(l) | X2::SubS(l) | X2::SubU(l) if matches!(l, B | W) => l,
            X2::Mul(l) if matches!(l, W | D) => l,
            X2::MinS(l) | X2::MaxS(l) | X2::MinU(l) | X2::MaxU(l) if l != Q => l,
            X2::Avg(l) if matches!(l, B | W) => l,
            X2::PackS(l) | X2::PackU(l) if matches!(l, W | D) => l,
            _ => return self.refuse(a),
        };
        let (x, y) = (self.as_lanes(lane, a), self.as_lanes(lane, b));
        let i = self.b.ins();
        let r = match op {
            X2::And => i.band(x, y),
            X2::Or => i.bor(x, y),
            X2::Xor => i.bxor(x, y),
            X2::AndNot => i.band_not(y, x),
            X2::Add(_) => i.iadd(x, y),
            X2::Sub(_) => i.isub(x, y),
            X2::Eq(_) => i.icmp(IntCC::Equal, x, y),
            X2::Gt(_) => i.icmp(IntCC::SignedGreaterThan, x, y),
            X2::AddS(_) => i.sadd_sat(x, y),
            X2::AddU(_) => i.uadd_sat(x, y),
            X2::SubS(_) => i.ssub_sat(x, y),
            X2::SubU(_) => i.usub_sat(x, y),
            X2::Mul(_) => i.imul(x, y),
            X2::MinS(_) => i.smin(x, y),
            X2::MaxS(_) => i.smax(x, y),
            X2::MinU(_) => i.umin(x, y),
            X2::MaxU(_) => i.umax(x, y),
            X2::Avg(_) => i.avg_round(x, y),
            X2::PackS(_) => i.snarrow(x, y),
            _ => i.unarrow(x, y),
        };
        self.bytes(r)
    }

    fn x3(&mut self, op: X3, a: X, b: X, c: X) -> X {
        match (a, b, c) {
            (X::K(a), X::K(b), X::K(c)) => X::K(op.eval(a, b, c)),
            _ => self.refuse(a),
        }
    }

    fn shuffle(&mut self, a: X, b: X, from: [u8; 16]) -> X {
        if let (X::K(a), X::K(b)) = (a, b) {
            return X::K(cpu::lanes::shuffle(a, b, from));
        }
        if from == std::array::from_fn(|n| n as u8) {
            return a;
        }
        if from == std::array::from_fn(|n| n as u8 + 16) {
            return b;
        }
        let gaps = from.iter().any(|&n| n >= 32);
        let (use_a, use_b) =
            (from.iter().any(|&n| n < 16), from.iter().any(|&n| (16..32).contains(&n)));
        let zero = X::K(0);
        let (x, y, mask, after) = if !gaps {
            (a, b, from, false)
        } else if !use_b {
            (a, zero, from.map(|n| if n < 32 { n } else { 16 }), false)
        } else if !use_a {
            (zero, b, from.map(|n| if n < 32 { n } else { 0 }), false)
        } else {
            (a, b, from.map(|n| n & 31), true)
        };
        let (x, y) = (self.xval(x), self.xval(y));
        let m = self.b.func.dfg.immediates.push(mask[..].into());
        let r = X::S(self.b.ins().shuffle(x, y, m));
        if !after {
            return r;
        }
        let keep = from.map(|n| if n < 32 { 0xff } else { 0 });
        self.x2(X2::And, r, X::K(u128::from_le_bytes(keep)))
    }

    fn shift_x(&mut self, op: Shift, lane: Lane, a: X, count: V) -> X {
        match count {
            V::K(n) => self.x1(X1::Shift(op, lane, n.min(255) as u8), a),
            V::S(..) => self.refuse(a),
        }
    }

    fn extract(&mut self, lane: Lane, n: u8, a: X) -> V {
        if let X::K(k) = a {
            return V::K((k >> (n as u32 * lane.bits() & 127)) as u64 & lane.width().mask());
        }
        let v = self.as_lanes(lane, a);
        let r = self.b.ins().extractlane(v, n & (lane.count() - 1));
        self.wide(r, lane.width())
    }
    fn insert(&mut self, lane: Lane, n: u8, a: X, v: V) -> X {
        if let (X::K(a), V::K(v)) = (a, v) {
            return X::K(cpu::lanes::insert(lane, n, a, v));
        }
        let x = self.as_lanes(lane, a);
        let v = self.narrow(v, lane.width());
        let r = self.b.ins().insertlane(x, v, n & (lane.count() - 1));
        self.bytes(r)
    }
    fn splat(&mut self, lane: Lane, v: V) -> X {
        if let V::K(v) = v {
            return X::K(cpu::lanes::splat(lane, v));
        }
        let v = self.narrow(v, lane.width());
        let r = self.b.ins().splat(lanes(lane), v);
        self.bytes(r)
    }
    fn scalar(&mut self, lane: Lane, v: V) -> X {
        if let V::K(k) = v {
            return X::K((k & lane.width().mask()) as u128);
        }
        // The whole number, zero-extended, is what stands in the low half.
        let v = cpu::Sem::op1(self, cpu::Op1::Zext, lane.width(), v);
        let v = self.val(v);
        let r = self.b.ins().scalar_to_vector(types::I64X2, v);
        self.bytes(r)
    }
    fn movemask(&mut self, lane: Lane, a: X) -> V {
        if let X::K(k) = a {
            return V::K(cpu::lanes::movemask(lane, k));
        }
        let v = self.as_lanes(lane, a);
        let r = self.b.ins().vhigh_bits(types::I32, v);
        let V::S(v, _) = self.wide(r, Width::W32) else { return V::K(0) };
        V::S(v, (1 << lane.count()) - 1)
    }
    fn any(&mut self, a: X) -> V {
        if let X::K(k) = a {
            return V::K((k != 0) as u64);
        }
        let v = self.xval(a);
        let r = self.b.ins().vany_true(v);
        self.bit(r)
    }

    fn f1(&mut self, op: F1, fmt: Fmt, form: Form, a: Y<Self>) -> Result<Y<Self>, Infallible> {
        if op != F1::Sqrt || form == Form::Y || !self.float(&a[..1]) {
            return Ok(self.refuse(a));
        }
        let r = if form == Form::Scalar {
            let x = self.lane0(fmt, a[0]);
            let r = self.b.ins().sqrt(x);
            self.put0(fmt, a[0], r)
        } else {
            let x = self.as_floats(fmt, a[0]);
            let r = self.b.ins().sqrt(x);
            self.keep(r);
            self.bytes(r)
        };
        Ok([r, r])
    }
    fn f2(
        &mut self,
        op: F2,
        fmt: Fmt,
        form: Form,
        a: Y<Self>,
        b: Y<Self>,
    ) -> Result<Y<Self>, Infallible> {
        let plain = matches!(op, F2::Add | F2::Sub | F2::Mul | F2::Div);
        let least = matches!(op, F2::Min | F2::Max) && form == Form::Scalar;
        if !plain && !least {
            return Ok(self.refuse(a));
        }
        let halves = if form == Form::Y { 2 } else { 1 };
        let mut out = a;
        for h in 0..halves {
            if !self.float(&[a[h], b[h]]) {
                return Ok(self.refuse(a));
            }
            let scalar = form == Form::Scalar;
            let (x, y) = if scalar {
                (self.lane0(fmt, a[h]), self.lane0(fmt, b[h]))
            } else {
                (self.as_floats(fmt, a[h]), self.as_floats(fmt, b[h]))
            };
            if least {
                // A denormal may count as zero, and then is one in the result.
                for v in [a[h], b[h]] {
                    let (iw, normal) = match fmt {
                        Fmt::F32 => (Width::W32, 1u64 << 23),
                        Fmt::F64 => (Width::W64, 1u64 << 52),
                    };
                    let raw = self.extract(fmt.lane(), 0, v);
                    let size = cpu::Sem::op2(self, cpu::Op2::And, iw, raw, V::K(iw.mask() >> 1));
                    let below = cpu::Sem::op2(self, cpu::Op2::Sub, iw, size, V::K(1));
                    let bad = cpu::Sem::op2(self, cpu::Op2::Ltu, iw, below, V::K(normal - 1));
                    self.exit_if(bad);
                }
            }
            if least || matches!(op, F2::Add | F2::Mul) && self.is_load(a[h]) {
                self.no_nan(x, y);
            }
            let r = match op {
                F2::Add => self.b.ins().fadd(x, y),
                F2::Sub => self.b.ins().fsub(x, y),
                F2::Mul => self.b.ins().fmul(x, y),
                F2::Div => self.b.ins().fdiv(x, y),
                _ => {
                    let cc = if op == F2::Min { FloatCC::LessThan } else { FloatCC::GreaterThan };
                    let c = self.b.ins().fcmp(cc, x, y);
                    self.b.ins().select(c, x, y)
                }
            };
            out[h] = if scalar {
                self.put0(fmt, a[h], r)
            } else {
                self.keep(r);
                self.bytes(r)
            };
        }
        if halves == 1 {
            out[1] = out[0];
        }
        Ok(out)
    }
    fn f3(
        &mut self,
        op: F3,
        fmt: Fmt,
        form: Form,
        a: Y<Self>,
        b: Y<Self>,
        c: Y<Self>,
    ) -> Result<Y<Self>, Infallible> {
        let (neg, sub) = match op {
            F3::MulAdd => (false, false),
            F3::MulSub => (false, true),
            F3::NegMulAdd => (true, false),
            F3::NegMulSub => (true, true),
            F3::MulAddSub | F3::MulSubAdd => return Ok(self.refuse(a)),
        };
        let mut out = a;
        for h in 0..if form == Form::Y { 2 } else { 1 } {
            if !host_fma() || !self.float(&[a[h], b[h], c[h]]) {
                return Ok(self.refuse(a));
            }
            let part = |s: &mut Self, x: X| match form {
                Form::Scalar => s.lane0(fmt, x),
                _ => s.as_floats(fmt, x),
            };
            let (x, y, z) = (part(self, a[h]), part(self, b[h]), part(self, c[h]));
            let x = if neg { self.b.ins().fneg(x) } else { x };
            let z = if sub { self.b.ins().fneg(z) } else { z };
            let r = self.b.ins().fma(x, y, z);
            out[h] = if form == Form::Scalar {
                self.put0(fmt, a[h], r)
            } else {
                self.keep(r);
                self.bytes(r)
            };
            // Which NaN comes out is the interpreter's business: a negated one would show, and so would their order.
            self.no_nan_bits(fmt, r);
        }
        if form != Form::Y {
            out[1] = out[0];
        }
        Ok(out)
    }
    fn convert(&mut self, op: Conv, form: Form, a: Y<Self>) -> Result<Y<Self>, Infallible> {
        let known = matches!(op, Conv::F32ToF64 | Conv::F64ToF32);
        if !known || form != Form::Scalar || !self.float(&a[..1]) {
            return Ok(self.refuse(a));
        }
        let (r, to) = if op == Conv::F32ToF64 {
            let x = self.lane0(Fmt::F32, a[0]);
            (self.b.ins().fpromote(types::F64, x), Fmt::F64)
        } else {
            let x = self.lane0(Fmt::F64, a[0]);
            (self.b.ins().fdemote(types::F32, x), Fmt::F32)
        };
        let r = self.put0(to, X::K(0), r);
        Ok([r, r])
    }
    fn fcomi(&mut self, fmt: Fmt, quiet: bool, a: X, b: X) -> Result<V, Infallible> {
        if !self.float(&[a, b]) {
            return Ok(self.refuse(V::K(0)));
        }
        // A quiet NaN is invalid to COMISS only; either way NaNs are rare.
        let _ = quiet;
        let (x, y) = (self.lane0(fmt, a), self.lane0(fmt, b));
        self.no_nan(x, y);
        let (lt, eq) =
            (self.b.ins().fcmp(FloatCC::LessThan, x, y), self.b.ins().fcmp(FloatCC::Equal, x, y));
        let (lt, eq) = (self.bit(lt), self.bit(eq));
        let eq = cpu::Sem::op2(self, cpu::Op2::Shl, Width::W64, eq, V::K(6));
        Ok(cpu::Sem::op2(self, cpu::Op2::Or, Width::W64, lt, eq))
    }
    fn to_int(&mut self, fmt: Fmt, w: Width, trunc: bool, a: X) -> Result<V, Infallible> {
        if !trunc || !self.float(&[a]) {
            return Ok(self.refuse(V::K(0)));
        }
        let x = self.lane0(fmt, a);
        // What does not fit, NaNs too, is for the interpreter. The magnitude is compared as an integer, which raises nothing.
        let end = (1u64 << (w.bits() - 1)) as f64;
        let (iw, end) = match fmt {
            Fmt::F32 => (Width::W32, (end as f32).to_bits() as u64),
            Fmt::F64 => (Width::W64, end.to_bits()),
        };
        let raw = self.extract(fmt.lane(), 0, a);
        let size = cpu::Sem::op2(self, cpu::Op2::And, iw, raw, V::K(iw.mask() >> 1));
        let fits = cpu::Sem::op2(self, cpu::Op2::Ltu, iw, size, V::K(end));
        let bad = cpu::Sem::op2(self, cpu::Op2::Xor, Width::W64, fits, V::K(1));
        self.exit_if(bad);
        let t = if w == Width::W64 { types::I64 } else { types::I32 };
        let r = self.b.ins().fcvt_to_sint_sat(t, x);
        self.keep(r);
        Ok(self.wide(r, w))
    }
    fn from_int(&mut self, fmt: Fmt, w: Width, v: V) -> Result<X, Infallible> {
        if !HOST_FLOATS || !self.mode().has(Mode::MASKED) || matches!(v, V::K(_)) {
            return Ok(self.refuse(X::K(0)));
        }
        self.floats = true;
        let v = self.narrow(v, w);
        let t = if fmt == Fmt::F32 { types::F32 } else { types::F64 };
        let r = self.b.ins().fcvt_from_sint(t, v);
        Ok(self.put0(fmt, X::K(0), r))
    }

    fn crc32c(&mut self, _: Width, crc: V, _: V) -> V {
        self.refuse(crc)
    }
    fn mmx_check(&mut self) -> Res<Self> {
        self.refuse(());
        Ok(())
    }
    fn mmx_enter(&mut self) {
        self.refuse(())
    }
    fn get_mm(&mut self, _: u8) -> V {
        self.refuse(V::K(0))
    }
    fn set_mm(&mut self, _: u8, _: V) {
        self.refuse(())
    }
}
