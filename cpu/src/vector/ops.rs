//! The operations of the vector words. Each is evaluated once, in [`crate::lanes`].

/// Width of an integer lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Lane {
    B = 1,
    W = 2,
    D = 4,
    Q = 8,
}
impl Lane {
    #[inline(always)]
    pub const fn bytes(self) -> u8 {
        self as u8
    }
    #[inline(always)]
    pub const fn bits(self) -> u32 {
        self as u32 * 8
    }
    /// How many there are in 128 bits.
    #[inline(always)]
    pub const fn count(self) -> u8 {
        16 / self as u8
    }
    /// The integer width.
    #[inline(always)]
    pub const fn width(self) -> memory::Width {
        match self {
            Lane::B => memory::Width::W8,
            Lane::W => memory::Width::W16,
            Lane::D => memory::Width::W32,
            Lane::Q => memory::Width::W64,
        }
    }
}

/// How a lane is shifted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shift {
    Shl,
    Shr,
    Sar,
}

/// A floating-point format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fmt {
    F32,
    F64,
}
impl Fmt {
    #[inline(always)]
    pub const fn lane(self) -> Lane {
        match self {
            Fmt::F32 => Lane::D,
            Fmt::F64 => Lane::Q,
        }
    }
}

/// How many lanes a floating-point operation works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Lane 0.
    Scalar,
    /// All of the low half.
    X,
    /// All of both halves.
    Y,
}

/// Operations on one half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum X1 {
    /// Magnitudes.
    Abs(Lane),
    /// Shifts each lane by a constant; too large a one gives zero (Sar: the sign).
    Shift(Shift, Lane, u8),
    /// The low lanes `from` zero- or sign-extended to lanes `to`.
    Zext {
        from: Lane,
        to: Lane,
    },
    Sext {
        from: Lane,
        to: Lane,
    },
    /// PHMINPOSUW: the least 16-bit lane, and its number in lane 1.
    MinPos,
    /// AESIMC.
    AesImc,
    /// AESKEYGENASSIST with this round constant.
    AesKeygen(u8),
}

/// Operations on two halves; for those that are not symmetric `a` is the first source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum X2 {
    And,
    Or,
    Xor,
    /// `!a & b`, as PANDN.
    AndNot,
    Add(Lane),
    Sub(Lane),
    /// With signed or unsigned saturation (B and W).
    AddS(Lane),
    AddU(Lane),
    SubS(Lane),
    SubU(Lane),
    /// The low half of the product (W and D).
    Mul(Lane),
    /// The high half (W).
    MulHiS,
    MulHiU,
    /// PMULHRSW: bits 30-15 of the product, rounded.
    MulHrs,
    /// The products of the even D lanes as Q lanes.
    MulEvenS,
    MulEvenU,
    /// PMADDWD: products of W lanes, neighbours added to D lanes.
    MulAdd,
    /// PMADDUBSW: unsigned bytes of `a` times signed bytes of `b`, neighbours added with saturation.
    MulAddUs,
    /// All ones where equal.
    Eq(Lane),
    /// All ones where `a > b`, signed.
    Gt(Lane),
    MinS(Lane),
    MaxS(Lane),
    MinU(Lane),
    MaxU(Lane),
    /// `(a + b + 1) / 2`, unsigned (B and W).
    Avg(Lane),
    /// PSADBW.
    Sad,
    /// Lanes of `a`, then of `b`, narrowed to the next smaller lane with signed saturation (from W or D).
    PackS(Lane),
    /// The same to unsigned lanes.
    PackU(Lane),
    /// Neighbours added (subtracted), those of `a` first (W and D; with saturation W).
    HAdd(Lane),
    HSub(Lane),
    HAddS,
    HSubS,
    /// PSIGNB and relatives: `a` negated, zeroed or kept by the sign of `b`.
    Sign(Lane),
    /// Each lane of `a` shifted by the lane of `b` (D and Q).
    ShiftV(Shift, Lane),
    /// PSHUFB: bytes of `a` chosen by the low 4 bits of those of `b`; bit 7 gives zero.
    PickB,
    /// VPERMILPS: D lanes of `a` chosen by the low 2 bits of those of `b`.
    PickD,
    /// VPERMILPD: Q lanes of `a` chosen by bit 1 of those of `b`.
    PickQ,
    /// MPSADBW, with the three immediate bits of this half.
    Mpsadbw(u8),
    /// PCLMULQDQ: immediate bit 0 picks the Q lane of `a`, bit 4 of `b`.
    Clmul(u8),
    /// AES rounds: `a` is the state, `b` the round key.
    AesEnc,
    AesEncLast,
    AesDec,
    AesDecLast,
    Sha1Msg1,
    Sha1Msg2,
    Sha1Nexte,
    Sha1Rnds4(u8),
    Sha256Msg1,
    Sha256Msg2,
    /// GF2P8MULB.
    GfMul,
    /// GF2P8AFFINEQB: bytes of `a` by the matrices in `b`, plus the constant.
    GfAffine(u8),
    /// GF2P8AFFINEINVQB: the same on inverses.
    GfAffineInv(u8),
}

/// Operations on three halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum X3 {
    /// Lanes of `b` where the sign bit of that of `c` is set, else of `a` (B, D and Q).
    Blend(Lane),
    /// VPERMD: each D lane is the one of the eight in `a` and `b` that the low 3 bits of `c`'s lane name.
    PickD,
    /// SHA256RNDS2: `a` and `b` are the operands, `c` is XMM0.
    Sha256Rnds2,
}

/// Floating-point operations on one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum F1 {
    Sqrt,
    /// ROUNDPS with this immediate.
    Round(u8),
    /// Approximations (F32).
    Rcp,
    Rsqrt,
}

/// Floating-point operations on two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum F2 {
    Add,
    Sub,
    Mul,
    Div,
    /// As MINPS: `b` if either is a NaN or both are zero.
    Min,
    Max,
    /// Even lanes subtract, odd ones add.
    AddSub,
    /// Neighbours, within each half: those of `a`, then of `b`.
    HAdd,
    HSub,
    /// All ones where the predicate of CMPPS (0-31) holds, else zero.
    Cmp(u8),
    /// DPPS, DPPD with this immediate.
    Dot(u8),
}

/// Fused multiply-add: `a * b + c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum F3 {
    MulAdd,
    MulSub,
    /// `-(a * b) + c`.
    NegMulAdd,
    /// `-(a * b) - c`.
    NegMulSub,
    /// Even lanes subtract `c`, odd ones add.
    MulAddSub,
    /// Even lanes add `c`, odd ones subtract.
    MulSubAdd,
}

/// Conversions between vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conv {
    I32ToF32,
    I32ToF64,
    /// Rounded by MXCSR, or toward zero if `trunc`.
    F32ToI32 {
        trunc: bool,
    },
    F64ToI32 {
        trunc: bool,
    },
    F32ToF64,
    F64ToF32,
    F16ToF32,
    /// VCVTPS2PH with this immediate.
    F32ToF16(u8),
}
