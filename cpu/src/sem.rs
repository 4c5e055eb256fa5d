//! The words in which instructions are written.
//!
//! A meaning is a function generic over [`Sem`]. The interpreter answers the words with numbers, the translator with SSA
//! names. Rules for whoever writes a meaning:
//! - A value ([`Sem::V`]) of width `w` is zero-extended to 64 bits. An operation at width `w` looks at the low `w` bits of
//!   its operands (except that comparisons and right shifts want them zero-extended) and gives a zero-extended result.
//! - Whatever can fault comes before the first [`Sem::set`], [`Sem::flags`] and [`Sem::store`]: a faulting instruction changes nothing.
//! - [`Var::Rip`] reads as the address of the *next* instruction.

pub mod operand;

pub mod alu;
pub mod arith;
pub mod bits;
pub mod branch;
pub mod moves;
pub mod shift;
pub mod simd;
pub mod string;

use crate::exception::Exception;
use crate::interp::Interp;
use crate::{Insn, Raised};
pub use memory::Width;

pub type Res<S> = Result<(), <S as Sem>::Fault>;

/// An instruction, or the rare case of one, in plain Rust over the interpreter's state: called by both tiers.
pub type Big = fn(&mut Interp<'_>, &Insn) -> Result<(), Raised>;

/// The words in which instructions are written.
pub trait Sem: Sized {
    /// A value: `u64` when interpreting, an SSA name when translating.
    type V: Copy;
    /// A guest exception; in the translator [`std::convert::Infallible`], as it emits a side exit instead.
    type Fault;
    /// A fault leaves the instruction to the interpreter, which does it from its start: nothing that it reads may be stored before.
    const LEAVES: bool;

    /// A constant.
    fn imm(&mut self, x: u64) -> Self::V;
    fn op1(&mut self, op: Op1, w: Width, a: Self::V) -> Self::V;
    /// Comparisons give 0 or 1.
    fn op2(&mut self, op: Op2, w: Width, a: Self::V, b: Self::V) -> Self::V;
    /// `yes` where `c` is not zero, else `no`.
    fn pick(&mut self, c: Self::V, yes: Self::V, no: Self::V) -> Self::V;
    /// Divides the double-width `hi:lo` by `d`: `(quotient, remainder)`. #DE when `d` is zero or the quotient does not fit.
    fn divide(
        &mut self,
        signed: bool,
        w: Width,
        hi: Self::V,
        lo: Self::V,
        d: Self::V,
    ) -> Result<(Self::V, Self::V), Self::Fault>;

    fn get(&mut self, r: Var) -> Self::V;
    fn set(&mut self, r: Var, v: Self::V);
    /// The sum of the parts of an effective address, not yet cut to the address width.
    #[inline(always)]
    fn sum(&mut self, i: &Insn) -> Self::V {
        operand::sum(self, i)
    }
    /// `old` with `v` in the `w` bits from `at` on. `v` has no more.
    #[inline(always)]
    fn merge(&mut self, old: Self::V, at: u64, w: Width, v: Self::V) -> Self::V {
        operand::merge(self, old, at, w, v)
    }

    /// Notes how the status flags arose; they are worked out only if somebody reads them.
    fn flags(&mut self, kind: FlagKind, w: Width, a: Self::V, b: Self::V, r: Self::V);
    /// Whether somebody may see the flags that the current instruction leaves: if not, nobody needs what is only for them.
    #[inline(always)]
    fn wants_flags(&mut self) -> bool {
        true
    }
    /// A sum or difference of `a`, `b` and CF, for [`FlagKind::Adc`] or [`FlagKind::Sbb`].
    #[inline(always)]
    fn carried(&mut self, op: Op2, w: Width, a: Self::V, b: Self::V) -> Self::V {
        let c = self.flag(Flag::Cf);
        let r = self.op2(op, w, a, b);
        self.op2(op, w, r, c)
    }
    /// The sum of `a`, `b` and a flag, which becomes the carry; the other flags stay.
    #[inline(always)]
    fn added(&mut self, f: Flag, w: Width, a: Self::V, b: Self::V) -> Self::V {
        arith::added(self, f, w, a, b)
    }
    /// The low half of a signed product, and 1 if that is not the whole.
    #[inline(always)]
    fn product(&mut self, w: Width, a: Self::V, b: Self::V) -> (Self::V, Self::V) {
        let (lo, hi) = self.products(true, w, a, b);
        let plain = arith::sign_of(self, w, lo);
        (lo, self.op2(Op2::Ne, w, hi, plain))
    }
    /// Both halves of a product, the low one first.
    #[inline(always)]
    fn products(&mut self, sign: bool, w: Width, a: Self::V, b: Self::V) -> (Self::V, Self::V) {
        arith::products(self, sign, w, a, b)
    }
    /// The flags of INC and DEC (`kind`), which keep CF.
    #[inline(always)]
    fn flags_but_carry(&mut self, kind: FlagKind, w: Width, a: Self::V, r: Self::V) {
        let c = self.flag(Flag::Cf);
        self.flags(kind, w, a, c, r);
    }
    /// Sets the status flags in `mask` to those in `bits`, which has no others, and keeps the rest.
    #[inline(always)]
    fn patch_flags(&mut self, mask: u64, bits: Self::V) {
        let (all, keep) = (self.status(), self.imm(!mask));
        let all = self.op2(Op2::And, Width::W64, all, keep);
        let all = self.op2(Op2::Or, Width::W64, all, bits);
        self.set_status(all);
    }
    /// The flags of ROL (`left`) and ROR, by their result: CF, and OF as for a count of one.
    #[inline(always)]
    fn turned(&mut self, left: bool, w: Width, r: Self::V) {
        shift::turned(self, left, w, r);
    }
    /// One status flag, 0 or 1.
    fn flag(&mut self, f: Flag) -> Self::V;
    /// A condition of Jcc, SETcc and CMOVcc, 0 or 1.
    fn cond(&mut self, c: Cond) -> Self::V;
    /// All status flags at their places in RFLAGS.
    fn status(&mut self) -> Self::V {
        let mut all = self.imm(0);
        for f in Flag::ALL {
            let (v, n) = (self.flag(f), self.imm(f.bit() as u64));
            let v = self.op2(Op2::Shl, Width::W64, v, n);
            all = self.op2(Op2::Or, Width::W64, all, v);
        }
        all
    }
    /// Sets all status flags from their places in RFLAGS; other bits are ignored.
    fn set_status(&mut self, v: Self::V) {
        let zero = self.imm(0);
        self.flags(FlagKind::Raw, Width::W64, zero, zero, v);
    }

    /// Reads memory at offset `at` of a segment.
    fn load(&mut self, seg: SegReg, w: Width, at: Self::V) -> Result<Self::V, Self::Fault>;
    fn store(&mut self, seg: SegReg, w: Width, at: Self::V, v: Self::V) -> Res<Self>;
    /// Reads, changes and writes one place, which must be writable before anything is read. `lock`: as one atomic step.
    fn rmw(
        &mut self,
        seg: SegReg,
        w: Width,
        at: Self::V,
        lock: bool,
        f: impl FnOnce(&mut Self, Self::V) -> Result<Self::V, Self::Fault>,
    ) -> Res<Self>;

    /// Raises `e` where `c` is not zero.
    fn fault_if(&mut self, c: Self::V, e: Exception) -> Res<Self>;
    /// Says that `c` not zero is rare: the translator leaves this instruction to the interpreter then. The interpreter goes on.
    fn rare(&mut self, c: Self::V) -> Res<Self>;
    /// Does `body` where `c` is not zero. State passes through `get` and `set`, so there is nothing to join by hand.
    fn when(&mut self, c: Self::V, body: impl FnOnce(&mut Self) -> Res<Self>) -> Res<Self>;

    /// Checks and truncates a branch target of operand width `w`: #GP(0) if it is outside the code segment or not canonical.
    fn target(&mut self, w: Width, to: Self::V) -> Result<Self::V, Self::Fault>;
    /// Goes to a target that was checked.
    fn jump(&mut self, to: Self::V);
    /// Goes to the next instruction plus `rel`, which was not checked yet; `w` is the operand width.
    fn jump_rel(&mut self, w: Width, rel: i64) -> Res<Self>;
    /// The same where `c` is not zero.
    fn branch(&mut self, c: Self::V, w: Width, rel: i64) -> Res<Self>;

    /// Does the whole instruction in plain Rust. Nothing may come before or after it on this path of the meaning.
    fn big(&mut self, f: Big, i: &Insn) -> Res<Self>;
}

/// Operations on one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op1 {
    Not,
    Neg,
    /// Leading zeroes in the width; the width for zero.
    Clz,
    /// Trailing zeroes in the width; the width for zero.
    Ctz,
    Popcnt,
    /// Reverses the bytes of the width.
    Bswap,
    /// From this width to the operation's.
    Sext(Width),
    /// Keeps the low bits of the operation's width.
    Zext,
}

/// Operations on two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op2 {
    Add,
    Sub,
    Mul,
    /// The high half of the double-width product.
    MulHiU,
    MulHiS,
    And,
    Or,
    Xor,
    /// `a & !b`.
    AndNot,
    /// Counts of the width and beyond give zero (Sar: the sign).
    Shl,
    Shr,
    Sar,
    /// Counts are taken modulo the width.
    Rol,
    Ror,
    Eq,
    Ne,
    Ltu,
    Lts,
}

impl Op1 {
    /// The result in numbers.
    #[inline(always)]
    pub fn eval(self, w: Width, a: u64) -> u64 {
        let m = w.mask();
        match self {
            Op1::Not => !a & m,
            Op1::Neg => a.wrapping_neg() & m,
            Op1::Clz => ((a & m).leading_zeros() - (64 - w.bits())) as u64,
            Op1::Ctz => ((a & m).trailing_zeros()).min(w.bits()) as u64,
            Op1::Popcnt => (a & m).count_ones() as u64,
            Op1::Bswap => a.swap_bytes() >> (64 - w.bits()),
            Op1::Sext(from) => {
                let n = 64 - from.bits();
                ((a << n) as i64 >> n) as u64 & m
            }
            Op1::Zext => a & m,
        }
    }
}

/// `a` as a signed number of width `w`.
#[inline(always)]
pub fn signed(w: Width, a: u64) -> i64 {
    let n = 64 - w.bits();
    (a << n) as i64 >> n
}

impl Op2 {
    /// The result in numbers.
    #[inline(always)]
    pub fn eval(self, w: Width, a: u64, b: u64) -> u64 {
        let (m, bits) = (w.mask(), w.bits());
        let r = match self {
            Op2::Add => a.wrapping_add(b),
            Op2::Sub => a.wrapping_sub(b),
            Op2::Mul => a.wrapping_mul(b),
            Op2::MulHiU => (((a & m) as u128 * (b & m) as u128) >> bits) as u64,
            Op2::MulHiS => ((signed(w, a) as i128 * signed(w, b) as i128) >> bits) as u64,
            Op2::And => a & b,
            Op2::Or => a | b,
            Op2::Xor => a ^ b,
            Op2::AndNot => a & !b,
            Op2::Shl if b >= 64 => 0,
            Op2::Shl => a << b,
            Op2::Shr if b >= 64 => 0,
            Op2::Shr => (a & m) >> b,
            Op2::Sar => (signed(w, a) >> b.min(63)) as u64,
            Op2::Rol => {
                let n = b as u32 % bits;
                if n == 0 { a } else { a << n | (a & m) >> (bits - n) }
            }
            Op2::Ror => {
                let n = b as u32 % bits;
                if n == 0 { a } else { (a & m) >> n | a << (bits - n) }
            }
            Op2::Eq => (a & m == b & m) as u64,
            Op2::Ne => (a & m != b & m) as u64,
            Op2::Ltu => (a & m < b & m) as u64,
            Op2::Lts => (signed(w, a) < signed(w, b)) as u64,
        };
        r & m
    }
}

/// A place that [`Sem::get`] and [`Sem::set`] reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Var {
    /// A whole general register.
    Gpr(u8),
    /// The address of the next instruction (read only; control goes elsewhere by the jump words).
    Rip,
    /// RFLAGS without the status flags. Setting it is for flags that change nothing else (DF); others end the block.
    System,
    /// Base of FS or GS.
    SegBase(SegReg),
}

/// Segment registers in the order of their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SegReg {
    Es,
    Cs,
    Ss,
    Ds,
    Fs,
    Gs,
}
impl SegReg {
    pub const ALL: [SegReg; 6] =
        [SegReg::Es, SegReg::Cs, SegReg::Ss, SegReg::Ds, SegReg::Fs, SegReg::Gs];
}

/// A status flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Flag {
    Cf,
    Pf,
    Af,
    Zf,
    Sf,
    Of,
}
impl Flag {
    pub const ALL: [Flag; 6] = [Flag::Cf, Flag::Pf, Flag::Af, Flag::Zf, Flag::Sf, Flag::Of];
    /// Its place in RFLAGS.
    pub const fn bit(self) -> u32 {
        [0, 2, 4, 6, 7, 11][self as usize]
    }
}

/// What made the flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FlagKind {
    /// `r` holds the flags at their places in RFLAGS.
    Raw,
    /// `a + b = r`.
    Add,
    /// `a + b + carry = r`.
    Adc,
    /// `a - b = r`.
    Sub,
    /// `a - b - carry = r`.
    Sbb,
    /// `r` from AND, OR, XOR, TEST.
    Logic,
    /// `a + 1 = r`, with the old carry in `b`.
    Inc,
    /// `a - 1 = r`, with the old carry in `b`.
    Dec,
    /// `a << b = r`, b not zero.
    Shl,
    /// `a >> b = r`, b not zero.
    Shr,
    /// The same, arithmetic.
    Sar,
    /// A product with low half `r`; `b` is 1 where the high half says something.
    Mul,
}
impl FlagKind {
    pub const ALL: [FlagKind; 12] = [
        FlagKind::Raw,
        FlagKind::Add,
        FlagKind::Adc,
        FlagKind::Sub,
        FlagKind::Sbb,
        FlagKind::Logic,
        FlagKind::Inc,
        FlagKind::Dec,
        FlagKind::Shl,
        FlagKind::Shr,
        FlagKind::Sar,
        FlagKind::Mul,
    ];
}

/// The sixteen conditions in the order of their encoding; odd ones negate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Cond {
    O,
    No,
    B,
    Ae,
    E,
    Ne,
    Be,
    A,
    S,
    Ns,
    P,
    Np,
    L,
    Ge,
    Le,
    G,
}
impl Cond {
    pub const ALL: [Cond; 16] = [
        Cond::O,
        Cond::No,
        Cond::B,
        Cond::Ae,
        Cond::E,
        Cond::Ne,
        Cond::Be,
        Cond::A,
        Cond::S,
        Cond::Ns,
        Cond::P,
        Cond::Np,
        Cond::L,
        Cond::Ge,
        Cond::Le,
        Cond::G,
    ];
}

/// A condition out of single flags, for an implementation that has nothing better.  SDM 1, appendix B.
#[inline(always)]
pub fn cond_of_flags<S: Sem>(s: &mut S, c: Cond) -> S::V {
    use Flag::*;
    let w = Width::W64;
    let v = match c as u8 >> 1 {
        0 => s.flag(Of),
        1 => s.flag(Cf),
        2 => s.flag(Zf),
        3 => {
            let (a, b) = (s.flag(Cf), s.flag(Zf));
            s.op2(Op2::Or, w, a, b)
        }
        4 => s.flag(Sf),
        5 => s.flag(Pf),
        n => {
            let (a, b) = (s.flag(Sf), s.flag(Of));
            let less = s.op2(Op2::Xor, w, a, b);
            match n {
                6 => less,
                _ => {
                    let z = s.flag(Zf);
                    s.op2(Op2::Or, w, less, z)
                }
            }
        }
    };
    if c as u8 & 1 == 0 {
        return v;
    }
    let one = s.imm(1);
    s.op2(Op2::Xor, w, v, one)
}
