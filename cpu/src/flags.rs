//! The status flags, each formula once.
//!
//! An arithmetic instruction notes how its flags arose; they are worked out when somebody reads them. The formulas are
//! generic over [`Sem`], so the interpreter and the translator share them.

use crate::sem::{Flag, FlagKind, Op1, Op2, Sem};
use memory::Width;

pub const CF: u64 = 1;
pub const PF: u64 = 1 << 2;
pub const AF: u64 = 1 << 4;
pub const ZF: u64 = 1 << 6;
pub const SF: u64 = 1 << 7;
pub const TF: u64 = 1 << 8;
pub const IF: u64 = 1 << 9;
pub const DF: u64 = 1 << 10;
pub const OF: u64 = 1 << 11;
pub const IOPL: u64 = 3 << 12;
pub const NT: u64 = 1 << 14;
pub const RF: u64 = 1 << 16;
pub const VM: u64 = 1 << 17;
pub const AC: u64 = 1 << 18;
pub const VIF: u64 = 1 << 19;
pub const VIP: u64 = 1 << 20;
pub const ID: u64 = 1 << 21;
/// The six status flags.
pub const STATUS: u64 = CF | PF | AF | ZF | SF | OF;

/// How the status flags arose. `r` of a raw one holds the flags themselves, at their places in RFLAGS. Which of the others count:
/// see [`FlagKind::fields`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Lazy {
    pub a: u64,
    pub b: u64,
    pub r: u64,
    /// [`FlagKind`] in bits 0-5, log2 of the bytes in bits 6-7: one byte, which takes few to store.
    pub how: u8,
    pad: [u8; 7],
}

impl Default for Lazy {
    fn default() -> Self {
        Self::raw(0)
    }
}

impl FlagKind {
    /// Which of a [`Lazy`]'s `a`, `b` and `r` are looked at.
    pub const fn fields(self) -> [bool; 3] {
        match self {
            FlagKind::Raw | FlagKind::Logic => [false, false, true],
            FlagKind::Mul => [false, true, true],
            FlagKind::Add | FlagKind::Sub => [true, true, false],
            _ => [true, true, true],
        }
    }
}
impl Lazy {
    pub const fn raw(status: u64) -> Self {
        Lazy { a: 0, b: 0, r: status, how: how(FlagKind::Raw, Width::W64), pad: [0; 7] }
    }
    #[inline(always)]
    pub const fn new(kind: FlagKind, w: Width, a: u64, b: u64, r: u64) -> Self {
        Lazy { a, b, r, how: how(kind, w), pad: [0; 7] }
    }
    pub fn kind(&self) -> FlagKind {
        FlagKind::ALL[usize::from(self.how & HOW_KIND) % FlagKind::ALL.len()]
    }
    pub fn width(&self) -> Width {
        match self.how >> HOW_WIDTH {
            0 => Width::W8,
            1 => Width::W16,
            2 => Width::W32,
            _ => Width::W64,
        }
    }
    /// All six, at their places.
    pub fn status(&self) -> u64 {
        if self.kind() == FlagKind::Raw {
            return self.r & STATUS;
        }
        let mut n = Numbers;
        Flag::ALL.iter().fold(0, |all, &f| all | self.flag_with(&mut n, f) << f.bit())
    }
    /// One flag: 0 or 1.
    #[inline]
    pub fn flag(&self, f: Flag) -> u64 {
        self.flag_with(&mut Numbers, f)
    }
    #[inline(always)]
    fn flag_with(&self, n: &mut Numbers, f: Flag) -> u64 {
        value(n, f, self.kind(), self.width(), self.a, self.b, self.result())
    }
    /// The result, which follows from the operands of an addition or a subtraction.
    #[inline(always)]
    pub fn result(&self) -> u64 {
        match self.kind() {
            FlagKind::Add => Op2::Add.eval(self.width(), self.a, self.b),
            FlagKind::Sub => Op2::Sub.eval(self.width(), self.a, self.b),
            _ => self.r,
        }
    }
}

/// Where in the `how` byte of a [`Lazy`] the width is, and what is below.
const HOW_WIDTH: u8 = 6;
pub const HOW_KIND: u8 = (1 << HOW_WIDTH) - 1;
/// The `how` byte of a [`Lazy`].
pub const fn how(kind: FlagKind, w: Width) -> u8 {
    kind as u8 | ((w as u32).trailing_zeros() as u8 - 3) << HOW_WIDTH
}

impl state::Field for Lazy {
    fn put(&self, out: &mut Vec<u8>) {
        self.status().put(out)
    }
    fn take(from: &[u8]) -> Option<Self> {
        u64::take(from).map(|v| Lazy::raw(v & STATUS))
    }
}

/// The words that a flag formula needs.
pub trait FlagWords {
    type V: Copy;
    fn imm(&mut self, x: u64) -> Self::V;
    fn op1(&mut self, op: Op1, w: Width, a: Self::V) -> Self::V;
    fn op2(&mut self, op: Op2, w: Width, a: Self::V, b: Self::V) -> Self::V;
}

impl<S: Sem> FlagWords for S {
    type V = S::V;
    #[inline(always)]
    fn imm(&mut self, x: u64) -> S::V {
        Sem::imm(self, x)
    }
    #[inline(always)]
    fn op1(&mut self, op: Op1, w: Width, a: S::V) -> S::V {
        Sem::op1(self, op, w, a)
    }
    #[inline(always)]
    fn op2(&mut self, op: Op2, w: Width, a: S::V, b: S::V) -> S::V {
        Sem::op2(self, op, w, a, b)
    }
}

/// Plain numbers, for reading a [`Lazy`].
struct Numbers;
impl FlagWords for Numbers {
    type V = u64;
    #[inline(always)]
    fn imm(&mut self, x: u64) -> u64 {
        x
    }
    #[inline(always)]
    fn op1(&mut self, op: Op1, w: Width, a: u64) -> u64 {
        op.eval(w, a)
    }
    #[inline(always)]
    fn op2(&mut self, op: Op2, w: Width, a: u64, b: u64) -> u64 {
        op.eval(w, a, b)
    }
}

/// Flag `f` (0 or 1) of a result `r` that arose from `a` and `b` as `kind` says.  SDM 1, 3.4.3.1.
///
/// `a`, `b` and `r` are zero-extended from `w`. Where the manual leaves a flag undefined this gives some fixed value.
#[inline(always)]
pub fn value<S: FlagWords>(
    s: &mut S,
    f: Flag,
    kind: FlagKind,
    w: Width,
    a: S::V,
    b: S::V,
    r: S::V,
) -> S::V {
    use FlagKind as K;
    use Op2::*;
    if kind == K::Raw {
        let n = s.imm(f.bit() as u64);
        let x = s.op2(Shr, Width::W64, r, n);
        return bit0(s, x);
    }
    match f {
        Flag::Zf => {
            let zero = s.imm(0);
            s.op2(Eq, w, r, zero)
        }
        Flag::Sf => top(s, w, r),
        Flag::Pf => {
            let low = s.imm(0xff);
            let x = s.op2(And, Width::W64, r, low);
            let x = s.op1(Op1::Popcnt, Width::W32, x);
            let x = bit0(s, x);
            let one = s.imm(1);
            s.op2(Xor, Width::W64, x, one)
        }
        Flag::Af => auxiliary(s, kind, a, b, r),
        Flag::Cf => carry(s, kind, w, a, b, r),
        Flag::Of => overflow(s, kind, w, a, b, r),
    }
}

#[inline(always)]
fn bit0<S: FlagWords>(s: &mut S, x: S::V) -> S::V {
    let one = s.imm(1);
    s.op2(Op2::And, Width::W64, x, one)
}
#[inline(always)]
fn top<S: FlagWords>(s: &mut S, w: Width, x: S::V) -> S::V {
    let n = s.imm(w.bits() as u64 - 1);
    let x = s.op2(Op2::Shr, w, x, n);
    bit0(s, x)
}

#[inline(always)]
fn auxiliary<S: FlagWords>(s: &mut S, kind: FlagKind, a: S::V, b: S::V, r: S::V) -> S::V {
    use FlagKind as K;
    let x = match kind {
        K::Add | K::Adc | K::Sub | K::Sbb => {
            let x = s.op2(Op2::Xor, Width::W64, a, b);
            s.op2(Op2::Xor, Width::W64, x, r)
        }
        // The other operand is 1, which does not reach bit 4.
        K::Inc | K::Dec => s.op2(Op2::Xor, Width::W64, a, r),
        _ => return s.imm(0),
    };
    let four = s.imm(4);
    let x = s.op2(Op2::Shr, Width::W64, x, four);
    bit0(s, x)
}

#[inline(always)]
fn carry<S: FlagWords>(s: &mut S, kind: FlagKind, w: Width, a: S::V, b: S::V, r: S::V) -> S::V {
    use FlagKind as K;
    use Op2::*;
    match kind {
        K::Add => s.op2(Ltu, w, r, a),
        K::Sub => s.op2(Ltu, w, a, b),
        // Carry out of the top bit: both set, or one set and the sum's bit clear.
        K::Adc => {
            let (both, any) = (s.op2(And, w, a, b), s.op2(Or, w, a, b));
            let not_r = s.op1(Op1::Not, w, r);
            let x = s.op2(And, w, any, not_r);
            let x = s.op2(Or, w, both, x);
            top(s, w, x)
        }
        K::Sbb => {
            let not_a = s.op1(Op1::Not, w, a);
            let (both, any) = (s.op2(And, w, not_a, b), s.op2(Or, w, not_a, b));
            let x = s.op2(And, w, any, r);
            let x = s.op2(Or, w, both, x);
            top(s, w, x)
        }
        K::Inc | K::Dec | K::Mul => b,
        K::Shl => {
            // The last bit out: bit (w - n) of a. A count beyond the width shifts out zeroes.
            let n = s.imm(w.bits() as u64);
            let back = s.op2(Sub, Width::W64, n, b);
            let (big, x) = (s.op2(Ltu, Width::W64, n, b), s.op2(Shr, Width::W64, a, back));
            let x = bit0(s, x);
            let one = s.imm(1);
            let small = s.op2(Xor, Width::W64, big, one);
            s.op2(And, Width::W64, x, small)
        }
        K::Shr | K::Sar => {
            let one = s.imm(1);
            let back = s.op2(Sub, Width::W64, b, one);
            let x = if kind == K::Sar { s.op1(Op1::Sext(w), Width::W64, a) } else { a };
            let x = s.op2(if kind == K::Sar { Sar } else { Shr }, Width::W64, x, back);
            bit0(s, x)
        }
        K::Raw | K::Logic => s.imm(0),
    }
}

#[inline(always)]
fn overflow<S: FlagWords>(s: &mut S, kind: FlagKind, w: Width, a: S::V, b: S::V, r: S::V) -> S::V {
    use FlagKind as K;
    use Op2::*;
    let x = match kind {
        K::Add | K::Adc => {
            let (p, q) = (s.op2(Xor, w, a, r), s.op2(Xor, w, b, r));
            s.op2(And, w, p, q)
        }
        K::Sub | K::Sbb => {
            let (p, q) = (s.op2(Xor, w, a, b), s.op2(Xor, w, a, r));
            s.op2(And, w, p, q)
        }
        // From 0111.. to 1000.. and back.
        K::Inc => {
            let not_a = s.op1(Op1::Not, w, a);
            s.op2(And, w, not_a, r)
        }
        K::Dec => {
            let not_r = s.op1(Op1::Not, w, r);
            s.op2(And, w, a, not_r)
        }
        K::Mul => return b,
        // For a count of 1; undefined otherwise.
        K::Shl => s.op2(Xor, w, a, r),
        K::Shr => a,
        K::Raw | K::Logic | K::Sar => return s.imm(0),
    };
    top(s, w, x)
}
