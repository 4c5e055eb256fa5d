//! Integer arithmetic, comparison and logic on lanes; AES, SHA, GF and carry-less products, which have the same shape.

use super::{is_mmx, one, read, two, two_mm, write};
use crate::vector::{Lane, Vector, X1, X2, X3};
use crate::{Insn, Opnd, Res};
use Lane::{B, D, Q, W};

/// Operations whose 64-bit form is the low half of the 128-bit one.
macro_rules! lanes { ($($name:ident = $op:expr;)*) => {$(
    #[inline(always)]
    pub fn $name<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
        if is_mmx(i) {
            return two_mm(s, i, |s, a, b| s.x2($op, a, b));
        }
        two(s, i, |s, _, a, b| s.x2($op, a, b))
    }
)*}}
lanes! {
    paddb = X2::Add(B);     paddw = X2::Add(W);     paddd = X2::Add(D);     paddq = X2::Add(Q);
    psubb = X2::Sub(B);     psubw = X2::Sub(W);     psubd = X2::Sub(D);     psubq = X2::Sub(Q);
    paddsb = X2::AddS(B);   paddsw = X2::AddS(W);   paddusb = X2::AddU(B);  paddusw = X2::AddU(W);
    psubsb = X2::SubS(B);   psubsw = X2::SubS(W);   psubusb = X2::SubU(B);  psubusw = X2::SubU(W);
    pmullw = X2::Mul(W);    pmulld = X2::Mul(D);    pmulhw = X2::MulHiS;    pmulhuw = X2::MulHiU;
    pmulhrsw = X2::MulHrs;  pmuldq = X2::MulEvenS;  pmuludq = X2::MulEvenU;
    pmaddwd = X2::MulAdd;   pmaddubsw = X2::MulAddUs;
    pand = X2::And;         por = X2::Or;           pxor = X2::Xor;         pandn = X2::AndNot;
    pcmpeqb = X2::Eq(B);    pcmpeqw = X2::Eq(W);    pcmpeqd = X2::Eq(D);    pcmpeqq = X2::Eq(Q);
    pcmpgtb = X2::Gt(B);    pcmpgtw = X2::Gt(W);    pcmpgtd = X2::Gt(D);    pcmpgtq = X2::Gt(Q);
    pminsb = X2::MinS(B);   pminsw = X2::MinS(W);   pminsd = X2::MinS(D);
    pmaxsb = X2::MaxS(B);   pmaxsw = X2::MaxS(W);   pmaxsd = X2::MaxS(D);
    pminub = X2::MinU(B);   pminuw = X2::MinU(W);   pminud = X2::MinU(D);
    pmaxub = X2::MaxU(B);   pmaxuw = X2::MaxU(W);   pmaxud = X2::MaxU(D);
    pavgb = X2::Avg(B);     pavgw = X2::Avg(W);     psadbw = X2::Sad;
    psignb = X2::Sign(B);   psignw = X2::Sign(W);   psignd = X2::Sign(D);
    aesenc = X2::AesEnc;    aesenclast = X2::AesEncLast;
    aesdec = X2::AesDec;    aesdeclast = X2::AesDecLast;
    sha1msg1 = X2::Sha1Msg1;     sha1msg2 = X2::Sha1Msg2;     sha1nexte = X2::Sha1Nexte;
    sha256msg1 = X2::Sha256Msg1; sha256msg2 = X2::Sha256Msg2;
    gf2p8mulb = X2::GfMul;
    vpsllvd = X2::ShiftV(crate::vector::Shift::Shl, D);
    vpsllvq = X2::ShiftV(crate::vector::Shift::Shl, Q);
    vpsrlvd = X2::ShiftV(crate::vector::Shift::Shr, D);
    vpsrlvq = X2::ShiftV(crate::vector::Shift::Shr, Q);
    vpsravd = X2::ShiftV(crate::vector::Shift::Sar, D);
}

/// Operations that take lanes of the first source, then of the second: in the 64-bit form both fit into one operand.
macro_rules! joined { ($($name:ident = $op:expr;)*) => {$(
    #[inline(always)]
    pub fn $name<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
        if is_mmx(i) {
            return two_mm(s, i, |s, a, b| {
                let both = s.shuffle(a, b, [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23]);
                s.x2($op, both, both)
            });
        }
        two(s, i, |s, _, a, b| s.x2($op, a, b))
    }
)*}}
joined! {
    packsswb = X2::PackS(W); packssdw = X2::PackS(D); packuswb = X2::PackU(W); packusdw = X2::PackU(D);
    phaddw = X2::HAdd(W);    phaddd = X2::HAdd(D);    phaddsw = X2::HAddS;
    phsubw = X2::HSub(W);    phsubd = X2::HSub(D);    phsubsw = X2::HSubS;
}

/// Operations with an immediate.
macro_rules! with_imm { ($($name:ident = $op:ident;)*) => {$(
    #[inline(always)]
    pub fn $name<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
        two(s, i, |s, _, a, b| s.x2(X2::$op(i.imm as u8), a, b))
    }
)*}}
with_imm! {
    pclmulqdq = Clmul;
    sha1rnds4 = Sha1Rnds4;
    gf2p8affineqb = GfAffine;
    gf2p8affineinvqb = GfAffineInv;
}

/// MPSADBW: three bits of the immediate for each half.
#[inline(always)]
pub fn mpsadbw<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    two(s, i, |s, half, a, b| s.x2(X2::Mpsadbw((i.imm as u8) >> (3 * half) & 7), a, b))
}

/// PSHUFB; the 64-bit form looks at three bits of the index.
#[inline(always)]
pub fn pshufb<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    if is_mmx(i) {
        return two_mm(s, i, |s, a, b| {
            let m = s.imm_x(0x8787_8787_8787_8787);
            let b = s.x2(X2::And, b, m);
            s.x2(X2::PickB, a, b)
        });
    }
    two(s, i, |s, _, a, b| s.x2(X2::PickB, a, b))
}

/// Operations on one source.
macro_rules! unary { ($($name:ident = $op:expr;)*) => {$(
    #[inline(always)]
    pub fn $name<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
        if is_mmx(i) {
            return two_mm(s, i, |s, _, b| s.x1($op, b));
        }
        one(s, i, |s, _, a| s.x1($op, a))
    }
)*}}
unary! {
    pabsb = X1::Abs(B);
    pabsw = X1::Abs(W);
    pabsd = X1::Abs(D);
    phminposuw = X1::MinPos;
    aesimc = X1::AesImc;
}

/// PMOVZX and PMOVSX: the high half of a 256-bit result comes from further up in the low half of the source.
macro_rules! widen { ($($zext:ident $sext:ident = $from:ident $to:ident;)*) => {$(
    #[inline(always)]
    pub fn $zext<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
        widen(s, i, $to.bytes() / $from.bytes(), X1::Zext { from: $from, to: $to })
    }
    #[inline(always)]
    pub fn $sext<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
        widen(s, i, $to.bytes() / $from.bytes(), X1::Sext { from: $from, to: $to })
    }
)*}}
widen! {
    pmovzxbw pmovsxbw = B W;
    pmovzxbd pmovsxbd = B D;
    pmovzxbq pmovsxbq = B Q;
    pmovzxwd pmovsxwd = W D;
    pmovzxwq pmovsxwq = W Q;
    pmovzxdq pmovsxdq = D Q;
}

#[inline(always)]
fn widen<S: Vector>(s: &mut S, i: &Insn, times: u8, op: X1) -> Res<S> {
    let a = read(s, i, 1)?[0];
    let lo = s.x1(op, a);
    let hi = if i.wide() {
        let from = std::array::from_fn(|n| (n as u8 + 16 / times) & 15);
        let up = s.shuffle(a, a, from);
        s.x1(op, up)
    } else {
        lo
    };
    write(s, i, [lo, hi]);
    Ok(())
}

/// AESKEYGENASSIST.
#[inline(always)]
pub fn aeskeygenassist<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    one(s, i, |s, _, a| s.x1(X1::AesKeygen(i.imm as u8), a))
}

/// SHA256RNDS2, with the words in XMM0.
#[inline(always)]
pub fn sha256rnds2<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
    let wk = s.get_x(0, 0);
    two(s, i, |s, _, a, b| s.x3(X3::Sha256Rnds2, a, b, wk))
}

/// BLENDVPS and relatives: the mask is XMM0, in VEX encodings the fourth operand.
macro_rules! blend { ($($name:ident = $lane:ident;)*) => {$(
    #[inline(always)]
    pub fn $name<S: Vector>(s: &mut S, i: &Insn) -> Res<S> {
        let r = match i.op[3] {
            Opnd::Xmm(r) if i.vex() => r,
            _ => 0,
        };
        two(s, i, |s, half, a, b| {
            let m = s.get_x(r, half as u8);
            s.x3(X3::Blend($lane), a, b, m)
        })
    }
)*}}
blend! {
    pblendvb = B;
    blendvps = D;
    blendvpd = Q;
}
