//! An instruction after decoding: compact, and free of what only decoding needs.

use crate::{SegReg, Width};

/// An operand. Registers carry their number; widths stand beside them in [`Insn::ow`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opnd {
    None,
    /// The low part of a general register.
    Gpr(u8),
    /// AH, CH, DH, BH as 0-3.
    High(u8),
    /// Memory as the instruction's address fields say.
    Mem,
    /// [`Insn::imm`].
    Imm,
    /// [`Insn::disp`] holds the second immediate (ENTER, EXTRQ).
    Imm2,
    Seg(SegReg),
    /// XMM or YMM; [`Insn::wide`] says which.
    Xmm(u8),
    Mmx(u8),
    St(u8),
    Cr(u8),
    Dr(u8),
    /// A near branch: [`Insn::imm`] is relative to the next instruction.
    Near,
    /// A far pointer: [`Insn::imm`] is the offset, [`Insn::disp`] the selector.
    Far,
}

/// log2 of the index factor.
pub type Scale = u8;

/// No register, in [`Insn::base`] and [`Insn::index`].
pub const NO_REG: u8 = 0xff;
/// [`Insn::base`]: relative to the next instruction.
pub const RIP: u8 = 0xfe;

/// A decoded instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Insn {
    /// Index into [`crate::rows::ROWS`].
    pub row: u16,
    /// Bytes.
    pub len: u8,
    /// Flag bits below.
    pub bits: u8,
    /// The width of the first operand that has one up to 64 bits; the operand size of instructions without operands.
    pub w: Width,
    /// The address width.
    pub aw: Width,
    /// The stack pointer's width.
    pub sw: Width,
    pub seg: SegReg,
    pub base: u8,
    pub index: u8,
    pub scale: Scale,
    /// The opcode-specific small number: condition of Jcc, SETcc and CMOVcc; row-specific elsewhere.
    pub sub: u8,
    pub op: [Opnd; 4],
    /// Width of each operand; vectors and structures in memory have [`Width::W64`] here and their size in [`Insn::bytes`].
    pub ow: [Width; 4],
    /// iced-x86's code, which names the exact encoding: for meanings that differ between forms.
    pub code: u16,
    /// Bytes of the memory operand; 0 if it has none or is an address only.
    pub bytes: u16,
    /// Displacement, sign-extended.
    pub disp: i32,
    /// Immediate, sign-extended as the manual says for the operand size; an absolute address of MOV moffs; a branch distance.
    pub imm: i64,
}

impl Insn {
    pub const LOCK: u8 = 1;
    /// REP or REPE.
    pub const REP: u8 = 2;
    pub const REPNE: u8 = 4;
    /// VEX-encoded: the rest of the vector register is zeroed.
    pub const VEX: u8 = 8;
    /// 256-bit vectors.
    pub const WIDE: u8 = 16;
    /// [`Insn::imm`] is the absolute address of the memory operand (MOV moffs).
    pub const MOFFS: u8 = 32;

    pub fn lock(&self) -> bool {
        self.bits & Self::LOCK != 0
    }
    /// REP or REPE.
    pub fn rep(&self) -> bool {
        self.bits & Self::REP != 0
    }
    pub fn repne(&self) -> bool {
        self.bits & Self::REPNE != 0
    }
    pub fn vex(&self) -> bool {
        self.bits & Self::VEX != 0
    }
    pub fn wide(&self) -> bool {
        self.bits & Self::WIDE != 0
    }
    /// The code as iced-x86's type.
    pub fn iced(&self) -> iced_x86::Code {
        iced_x86::Code::try_from(self.code as usize).unwrap_or(iced_x86::Code::INVALID)
    }
}
