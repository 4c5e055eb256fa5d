//! Handlers of the commonest forms of instructions in tier 0.
//!
//! A handler is the meaning itself, given a copy of the instruction in which everything but the registers and numbers is
//! constant: the compiler then leaves out all that other forms need. No meaning is written a second time.

use cpu::sem::Big;
use cpu::sem::{alu, arith, branch, moves, shift};
use cpu::{Insn, Interp, Opnd, Raised, SegReg, Width};
use iced_x86::Mnemonic;

const NO_REG: u8 = 0xff;
const RIP: u8 = 0xfe;

type Done = Result<(), Raised>;

/// A meaning as a type, so that handlers can be made for it.
trait Meaning {
    fn run(s: &mut Interp<'_>, i: &Insn) -> Done;
}
macro_rules! meanings { ($($name:ident = $($path:ident)::+;)*) => {$(
    struct $name;
    impl Meaning for $name {
        #[inline(always)]
        fn run(s: &mut Interp<'_>, i: &Insn) -> Done {
            $($path)::+(s, i)
        }
    }
)*}}
meanings! {
    Add = alu::add;
    Sub = alu::sub;
    And = alu::and;
    Or = alu::or;
    Xor = alu::xor;
    Cmp = alu::cmp;
    Test = alu::test;
    Mov = moves::mov;
    Lea = moves::lea;
    Movzx = moves::movzx;
    Movsx = moves::movsx;
    Push = moves::push;
    Pop = moves::pop;
    Inc = arith::inc;
    Dec = arith::dec;
    Imul = arith::imul;
    Shl = shift::shl;
    Shr = shift::shr;
    Sar = shift::sar;
    Cmov = moves::cmovcc;
    Set = moves::setcc;
    Jcc = branch::jcc;
    Jmp = branch::jmp;
    Call = branch::call;
    Ret = branch::ret;
}

#[inline(always)]
const fn width(w: u8) -> Width {
    match w {
        8 => Width::W8,
        16 => Width::W16,
        32 => Width::W32,
        _ => Width::W64,
    }
}
#[inline(always)]
fn reg(o: Opnd) -> Opnd {
    match o {
        Opnd::Gpr(n) => Opnd::Gpr(n & 15),
        _ => Opnd::Gpr(0),
    }
}

// Kinds of operands.
const R: u8 = 0;
const I: u8 = 1;
/// Memory at a base register and a displacement.
const M: u8 = 2;
/// Memory at a base, a scaled index and a displacement.
const X: u8 = 3;
/// Memory relative to RIP.
const P: u8 = 4;
const NONE: u8 = 5;

/// The instruction with its form as constants: kinds and widths of two operands.
#[inline(always)]
fn form<const A: u8, const WA: u8, const B: u8, const WB: u8>(i: &Insn) -> Insn {
    let mut j = *i;
    let operand = |k: u8, o: Opnd| match k {
        R => reg(o),
        I => Opnd::Imm,
        NONE => Opnd::None,
        _ => Opnd::Mem,
    };
    j.op = [operand(A, i.op[0]), operand(B, i.op[1]), Opnd::None, Opnd::None];
    j.ow = [width(WA), width(WB), Width::W64, Width::W64];
    (j.w, j.bits, j.aw, j.sw) = (width(WA), 0, Width::W64, Width::W64);
    j.seg = SegReg::Ds;
    let mem = if A >= M && A <= P { A } else { B };
    match mem {
        M => (j.base, j.index) = (i.base & 15, NO_REG),
        X => (j.base, j.index) = (i.base & 15, i.index & 15),
        P => (j.base, j.index) = (RIP, NO_REG),
        _ => {}
    }
    j
}
fn two<T: Meaning, const A: u8, const WA: u8, const B: u8, const WB: u8>(
    s: &mut Interp<'_>,
    i: &Insn,
) -> Done {
    T::run(s, &form::<A, WA, B, WB>(i))
}
/// The same with the condition as a constant.
fn conditional<T: Meaning, const A: u8, const WA: u8, const B: u8, const WB: u8, const C: u8>(
    s: &mut Interp<'_>,
    i: &Insn,
) -> Done {
    let mut j = form::<A, WA, B, WB>(i);
    j.sub = C;
    T::run(s, &j)
}
fn near<T: Meaning, const C: u8>(s: &mut Interp<'_>, i: &Insn) -> Done {
    let mut j = *i;
    j.op = [Opnd::Near, Opnd::None, Opnd::None, Opnd::None];
    j.ow = [Width::W64; 4];
    (j.w, j.bits, j.aw, j.sw, j.sub) = (Width::W64, 0, Width::W64, Width::W64, C);
    T::run(s, &j)
}
fn ret(s: &mut Interp<'_>, i: &Insn) -> Done {
    let mut j = *i;
    j.op = [Opnd::None; 4];
    (j.bits, j.sw, j.code) = (0, Width::W64, iced_x86::Code::Retnq as u16);
    Ret::run(s, &j)
}

/// All sixteen conditions of a handler.
macro_rules! by_condition { ($c:expr, $f:ident, $($g:tt)*) => {
    match $c & 15 {
        0 => $f::<$($g)*, 0>, 1 => $f::<$($g)*, 1>, 2 => $f::<$($g)*, 2>, 3 => $f::<$($g)*, 3>,
        4 => $f::<$($g)*, 4>, 5 => $f::<$($g)*, 5>, 6 => $f::<$($g)*, 6>, 7 => $f::<$($g)*, 7>,
        8 => $f::<$($g)*, 8>, 9 => $f::<$($g)*, 9>, 10 => $f::<$($g)*, 10>, 11 => $f::<$($g)*, 11>,
        12 => $f::<$($g)*, 12>, 13 => $f::<$($g)*, 13>, 14 => $f::<$($g)*, 14>, _ => $f::<$($g)*, 15>,
    }
} }

/// Handlers of a two-operand meaning in these kinds and widths.
macro_rules! table { ($key:expr, $t:ident: $($a:ident $wa:literal $b:ident $wb:literal),* $(,)?) => {
    match $key {
        $(($a, $wa, $b, $wb) => two::<$t, $a, $wa, $b, $wb>,)*
        _ => return None,
    }
} }
macro_rules! arithmetic { ($key:expr, $t:ident) => {
    table!($key, $t:
        R 32 R 32, R 64 R 64, R 32 I 32, R 64 I 64, R 32 M 32, R 64 M 64, R 64 X 64, R 64 P 64, R 32 P 32,
        M 32 R 32, M 64 R 64, M 32 I 32, M 64 I 64, R 8 R 8, R 8 I 8, M 8 I 8)
} }

/// What kind of operand this is.
fn kind(i: &Insn, n: usize) -> Option<u8> {
    Some(match i.op[n] {
        Opnd::Gpr(_) => R,
        Opnd::Imm => I,
        Opnd::None => NONE,
        Opnd::Mem => {
            let plain = i.aw == Width::W64
                && !matches!(i.seg, SegReg::Fs | SegReg::Gs)
                && i.bits & Insn::MOFFS == 0;
            match (i.base, i.index) {
                _ if !plain => return None,
                (RIP, NO_REG) => P,
                (NO_REG, _) => return None,
                (_, NO_REG) => M,
                _ => X,
            }
        }
        _ => return None,
    })
}

/// The handler of a common form in 64-bit mode; `None`: the row's own.
pub fn handler(i: &Insn) -> Option<Big> {
    use Mnemonic as N;
    // What the mode forbids has the row of its exception.
    let gated = cpu::rows::ROWS[i.row as usize].mnemonic != i.iced().mnemonic();
    if i.row == 0
        || gated
        || i.bits & (Insn::LOCK | Insn::REP | Insn::REPNE) != 0
        || i.sw != Width::W64
    {
        return None;
    }
    // Memory through rBP or rSP is in the stack segment, which differs only in the exception of a bad address; the meaning
    // knows from the instruction, so those keep their own handlers unless the segment is the same.
    let m = i.iced().mnemonic();
    if i.op[0] == Opnd::Near {
        let wide = i.ow[0] == Width::W64;
        return match m {
            N::Jmp if wide => Some(near::<Jmp, 0>),
            N::Call if wide => Some(near::<Call, 0>),
            _ if wide && i.iced().is_jcc_short_or_near() => Some(by_condition!(i.sub, near, Jcc)),
            _ => None,
        };
    }
    if m == N::Ret {
        return (i.iced() == iced_x86::Code::Retnq).then_some(ret as Big);
    }
    if i.op[2] != Opnd::None {
        return None;
    }
    let (a, b) = (kind(i, 0)?, kind(i, 1)?);
    let w = |n: usize| i.ow[n] as u8;
    let key = (a, w(0), b, w(1));
    let memory = (M..=P).contains(&a) || (M..=P).contains(&b);
    if memory && m != N::Lea && i.seg == SegReg::Ss {
        return stack(m, key);
    }
    Some(match m {
        N::Add => arithmetic!(key, Add),
        N::Sub => arithmetic!(key, Sub),
        N::And => arithmetic!(key, And),
        N::Or => arithmetic!(key, Or),
        N::Xor => arithmetic!(key, Xor),
        N::Cmp => arithmetic!(key, Cmp),
        N::Test => arithmetic!(key, Test),
        N::Mov => table!(key, Mov:
            R 32 R 32, R 64 R 64, R 32 I 32, R 64 I 64, R 32 M 32, R 64 M 64, R 32 X 32, R 64 X 64, R 64 P 64, R 32 P 32,
            M 32 R 32, M 64 R 64, X 32 R 32, X 64 R 64, P 32 R 32, P 64 R 64, M 32 I 32, M 64 I 64, M 8 I 8, M 8 R 8,
            M 16 R 16, X 8 R 8, R 8 M 8),
        N::Lea => match (a, w(0), b) {
            (R, 64, M) => two::<Lea, R, 64, M, 64>,
            (R, 64, X) => two::<Lea, R, 64, X, 64>,
            (R, 64, P) => two::<Lea, R, 64, P, 64>,
            (R, 32, M) => two::<Lea, R, 32, M, 64>,
            (R, 32, X) => two::<Lea, R, 32, X, 64>,
            _ => return None,
        },
        N::Movzx => table!(key, Movzx:
            R 32 R 8, R 32 R 16, R 32 M 8, R 32 M 16, R 32 X 8, R 32 X 16, R 32 P 8),
        N::Movsx | N::Movsxd => table!(key, Movsx:
            R 64 R 32, R 64 M 32, R 64 X 32, R 32 R 8, R 32 M 8, R 32 R 16),
        N::Push if key.0 == R && w(0) == 64 => two::<Push, R, 64, NONE, 64>,
        N::Pop if key.0 == R && w(0) == 64 => two::<Pop, R, 64, NONE, 64>,
        N::Inc => match (a, w(0)) {
            (R, 64) => two::<Inc, R, 64, NONE, 64>,
            (R, 32) => two::<Inc, R, 32, NONE, 64>,
            _ => return None,
        },
        N::Dec => match (a, w(0)) {
            (R, 64) => two::<Dec, R, 64, NONE, 64>,
            (R, 32) => two::<Dec, R, 32, NONE, 64>,
            _ => return None,
        },
        N::Imul => table!(key, Imul: R 32 R 32, R 64 R 64),
        N::Shl => table!(key, Shl: R 32 I 8, R 64 I 8),
        N::Shr => table!(key, Shr: R 32 I 8, R 64 I 8),
        N::Sar => table!(key, Sar: R 32 I 8, R 64 I 8),
        _ if i.iced().is_jcc_short_or_near() => return None,
        _ if key == (R, 64, R, 64) && is_cmov(m) => {
            by_condition!(i.sub, conditional, Cmov, R, 64, R, 64)
        }
        _ if key == (R, 32, R, 32) && is_cmov(m) => {
            by_condition!(i.sub, conditional, Cmov, R, 32, R, 32)
        }
        _ if (a, w(0)) == (R, 8) && b == NONE && is_set(m) => {
            by_condition!(i.sub, conditional, Set, R, 8, NONE, 64)
        }
        _ => return None,
    })
}

/// Moves between registers and the stack frame.
fn stack(m: Mnemonic, key: (u8, u8, u8, u8)) -> Option<Big> {
    fn run<const A: u8, const WA: u8, const B: u8, const WB: u8>(
        s: &mut Interp<'_>,
        i: &Insn,
    ) -> Done {
        let mut j = form::<A, WA, B, WB>(i);
        j.seg = SegReg::Ss;
        Mov::run(s, &j)
    }
    if m != Mnemonic::Mov {
        return None;
    }
    Some(match key {
        (R, 64, M, 64) => run::<R, 64, M, 64>,
        (R, 32, M, 32) => run::<R, 32, M, 32>,
        (M, 64, R, 64) => run::<M, 64, R, 64>,
        (M, 32, R, 32) => run::<M, 32, R, 32>,
        _ => return None,
    })
}

fn is_cmov(m: Mnemonic) -> bool {
    use Mnemonic::*;
    matches!(
        m,
        Cmova
            | Cmovae
            | Cmovb
            | Cmovbe
            | Cmove
            | Cmovg
            | Cmovge
            | Cmovl
            | Cmovle
            | Cmovne
            | Cmovno
            | Cmovnp
            | Cmovns
            | Cmovo
            | Cmovp
            | Cmovs
    )
}
fn is_set(m: Mnemonic) -> bool {
    use Mnemonic::*;
    matches!(
        m,
        Seta | Setae
            | Setb
            | Setbe
            | Sete
            | Setg
            | Setge
            | Setl
            | Setle
            | Setne
            | Setno
            | Setnp
            | Setns
            | Seto
            | Setp
            | Sets
    )
}
