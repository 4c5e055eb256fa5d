//! Vector instructions as the host's own: the guest's registers are in the host's of the same numbers while a block needs them,
//! and what is written is stored at once.
//!
//! Left to the interpreter is what the host lacks, what processors of different makers answer differently (approximations, dot
//! products), what touches memory in parts (masks, gathers), MMX, and floating point while an exception is unmasked.

use super::asm::{Alu, NOT_EQUAL, Rm, Vector};
use super::body::{Body, V, context, core};
use super::flags::Flags;
use super::outer;
use super::sem::Meaning;
use crate::native;
use crate::x87::Thunk;
use cpu::flags::STATUS;
use cpu::sem::operand;
use cpu::{FlagKind, Insn, Mode, Opnd, State, Width};
use iced_x86::{Code, CpuidFeature, EncodingKind, MandatoryPrefix, Mnemonic, OpCodeTableKind};
use std::convert::Infallible;
use std::mem::offset_of;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

type Done = Result<(), Infallible>;

macro_rules! paths { ($($name:ident $kind:ident $first:ident$(::$rest:ident)*;)*) => {
    &[$((Mnemonic::$name, &[$(stringify!($rest)),*])),*]
} }
type Paths = &'static [(Mnemonic, &'static [&'static str])];
static SSE: Paths = cpu::sse_rows!(paths);
static AVX: Paths = cpu::avx_rows!(paths);

/// What is to be known of an instruction beyond its encoding.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Kind {
    /// It computes as MXCSR says.
    floats: bool,
    /// Its operand in memory may be anywhere in either encoding; nowhere but at multiples of its size.
    unaligned: bool,
    aligned: bool,
    /// It writes status flags.
    flags: bool,
    /// It reads what it writes even if it is VEX-encoded; it does not even if it is not.
    reads: bool,
    moves: bool,
    /// XMM0 is one more operand.
    xmm0: bool,
}

fn kind(m: Mnemonic, path: &[&str]) -> Option<Kind> {
    use Mnemonic::*;
    let &[module, name] = path else { return None };
    let none = Kind {
        floats: false,
        unaligned: false,
        aligned: false,
        flags: false,
        reads: false,
        moves: false,
        xmm0: matches!(m, Pblendvb | Blendvps | Blendvpd | Sha256rnds2),
    };
    Some(match (module, name) {
        ("float", "rcpps" | "rcpss" | "rsqrtps" | "rsqrtss" | "dpps" | "dppd") => return None,
        ("float", "comiss" | "comisd" | "ucomiss" | "ucomisd") => {
            Kind { floats: true, flags: true, ..none }
        }
        ("float" | "convert", _) => Kind { floats: true, ..none },
        ("fma", _) => Kind { floats: true, reads: true, ..none },
        ("moves", "aligned") => Kind { aligned: true, moves: true, ..none },
        ("moves", "unaligned") => Kind { unaligned: true, moves: true, ..none },
        ("moves", "movd" | "movq") => Kind { moves: true, ..none },
        ("moves", "movss" | "movsd" | "movlp" | "movhp") => none,
        ("lane", "crc32") => return None,
        ("lane", "ptest" | "vtestps" | "vtestpd") => Kind { flags: true, ..none },
        ("arith" | "shuffle" | "lane" | "permute", _) => none,
        _ => return None,
    })
}

/// By row number.
static KINDS: LazyLock<Vec<Option<Kind>>> = LazyLock::new(|| {
    let mut all = vec![None; cpu::rows::ROWS.len()];
    for (m, path) in SSE.iter().chain(AVX) {
        all[cpu::rows::number(*m) as usize] = kind(*m, path);
    }
    all
});

/// What is done here, and how.
pub fn table() -> impl Iterator<Item = (Mnemonic, Meaning)> {
    let there = |m: Mnemonic| KINDS[cpu::rows::number(m) as usize].is_some();
    let rows = SSE.iter().chain(AVX).map(|r| r.0).filter(move |m| there(*m));
    let zero = (Mnemonic::Vzeroupper, zero_upper as Meaning);
    rows.map(|m| (m, one as Meaning)).chain(avx().then_some(zero))
}

/// Whether the host has 256-bit registers.
pub fn avx() -> bool {
    super::host_has!("avx")
}
/// Whether the host has an instruction.
fn has(code: Code) -> bool {
    macro_rules! detected { ($f:expr; $($name:ident $text:tt)*) => {
        match $f {
            CpuidFeature::SSE | CpuidFeature::SSE2 => true,
            #[cfg(target_arch = "x86_64")]
            $(CpuidFeature::$name => std::is_x86_feature_detected!($text),)*
            _ => false,
        }
    } }
    code.cpuid_features().iter().all(|f| {
        detected!(*f; SSE3 "sse3" SSSE3 "ssse3" SSE4_1 "sse4.1" SSE4_2 "sse4.2" AES "aes" PCLMULQDQ "pclmulqdq" SHA "sha"
            AVX "avx" AVX2 "avx2" FMA "fma" F16C "f16c" VAES "vaes" VPCLMULQDQ "vpclmulqdq" GFNI "gfni")
    })
}

/// Codes of instructions that are done here, and that regions would have to call: a bit for each.
static APART: [AtomicU64; 128] = [const { AtomicU64::new(0) }; 128];
/// An instruction did not fit into a region. Gives whether it is better in this tier.
pub fn set_apart(i: &Insn) -> bool {
    let here = super::EMITS && KINDS[i.row as usize].is_some() && operands(i).is_some();
    if here {
        APART[usize::from(i.code) / 64 % 128].fetch_or(1 << (i.code % 64), Ordering::Relaxed);
    }
    here
}
pub fn is_apart(i: &Insn) -> bool {
    APART[usize::from(i.code) / 64 % 128].load(Ordering::Relaxed) & 1 << (i.code % 64) != 0
}

/// What a block knows of the vector registers at an instruction.
#[derive(Clone, Copy, Default)]
pub struct Now {
    /// What of the guest's registers is in the host's: the low half; all.
    low: u16,
    whole: u16,
    /// The host computes as the guest's MXCSR says.
    floats: bool,
}
impl Now {
    /// A register is in use, which helpers do not keep.
    pub fn any(&self) -> bool {
        self.low != 0
    }
    /// What is in registers, and nothing else.
    pub fn registers(&self) -> Now {
        Now { floats: false, ..*self }
    }
    /// What `other` has in registers and this has not: numbers, and whether all of it is wanted.
    pub fn missing(&self, other: &Now) -> impl Iterator<Item = (u8, bool)> {
        let (low, whole) = (other.low & !self.low, other.whole & !self.whole);
        (0..16).filter(move |r| (low | whole) & 1 << r != 0).map(move |r| (r, whole & 1 << r != 0))
    }
    /// A helper was called.
    pub fn forget(&mut self) {
        (self.low, self.whole) = (0, 0);
    }
}

/// Where operand `n` goes in the encoding.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Reg,
    Vvvv,
    Rm,
    Is4,
    Imm,
}
/// The fields of all operands; `None`: this is nothing for this tier.
fn operands(i: &Insn) -> Option<[Option<Field>; 4]> {
    use iced_x86::OpCodeOperandKind as K;
    let code = i.iced();
    let mut fields = [None; 4];
    let kinds = code.op_code().op_kinds();
    let vectors = i.op.iter().any(|o| matches!(o, Opnd::Xmm(_)));
    if !vectors || kinds.len() > 4 || !has(code) {
        return None;
    }
    for (field, k) in fields.iter_mut().zip(kinds) {
        *field = Some(match k {
            K::xmm_reg | K::ymm_reg | K::r32_reg | K::r64_reg => Field::Reg,
            K::xmm_vvvv | K::ymm_vvvv => Field::Vvvv,
            K::xmm_rm | K::ymm_rm | K::xmm_or_mem | K::ymm_or_mem => Field::Rm,
            K::r32_or_mem | K::r64_or_mem | K::r32_rm | K::r64_rm | K::mem => Field::Rm,
            K::xmm_is4 | K::ymm_is4 => Field::Is4,
            K::imm8 => Field::Imm,
            _ => return None,
        });
    }
    Some(fields)
}

/// A place in vector register `n`: 0 its low, 1 its upper half.
pub fn place(n: u8, half: i32) -> Rm {
    let at = offset_of!(cpu::Core, state) + offset_of!(State, ymm) + 32 * usize::from(n);
    core(at as i32 + 16 * half)
}

/// Any of them.
pub fn one(s: &mut Body<'_>, i: &Insn) -> Done {
    let (Some(kind), Some(fields)) = (KINDS[i.row as usize], operands(i)) else {
        s.misfit = true;
        return Ok(());
    };
    if kind.floats {
        s.enter_floats();
    }
    let code = i.iced().op_code();
    let vex = code.encoding() == EncodingKind::VEX;
    if s.misfit || !vex && code.encoding() != EncodingKind::Legacy {
        s.misfit = true;
        return Ok(());
    }
    let wide = code.l() == 1;
    let mut e = Vector {
        vex,
        wide,
        w: if vex { code.w() == 1 } else { code.operand_size() == 64 },
        prefix: match code.mandatory_prefix() {
            MandatoryPrefix::P66 => 1,
            MandatoryPrefix::PF3 => 2,
            MandatoryPrefix::PF2 => 3,
            _ => 0,
        },
        map: match code.table() {
            OpCodeTableKind::T0F => 1,
            OpCodeTableKind::T0F38 => 2,
            _ => 3,
        },
        opcode: code.op_code() as u8,
        reg: if code.is_group() { code.group_index() as u8 } else { 0 },
        vvvv: 0,
        rm: Rm::R(0),
        imm: None,
    };
    let (mut written, mut number) = (None, None);
    for (n, field) in fields.iter().enumerate() {
        let Some(field) = *field else { break };
        let at = match i.op[n] {
            Opnd::Xmm(r) => {
                let r = r & 15;
                if n != 0 || kind.reads || kind.flags || !vex && !kind.moves {
                    s.have(r, wide);
                }
                written = written.or((n == 0 && !kind.flags).then_some(r));
                Rm::R(r)
            }
            Opnd::Gpr(r) if n == 0 => {
                let t = s.fresh();
                number = Some((r, t));
                Rm::R(t)
            }
            Opnd::Gpr(r) => {
                let V::R(h, _) = s.get_gpr(r) else { return Ok(()) };
                Rm::R(h)
            }
            Opnd::Mem => {
                let aligned = kind.aligned || !vex && i.bytes == 16 && !kind.unaligned;
                s.place(i, n == 0 && !kind.flags, aligned)
            }
            Opnd::Imm => Rm::R(0),
            _ => {
                s.misfit = true;
                return Ok(());
            }
        };
        let named = if let Rm::R(r) = at { r } else { 0 };
        match field {
            Field::Reg => e.reg = named,
            Field::Vvvv => e.vvvv = named,
            Field::Rm => e.rm = at,
            Field::Is4 => e.imm = Some(named << 4 | e.imm.unwrap_or(0)),
            Field::Imm => e.imm = Some(i.imm as u8),
        }
    }
    if kind.xmm0 && !vex {
        s.have(0, false);
    }
    if kind.flags {
        s.clobber();
    }
    s.asm.vector_insn(e);
    s.changed = true;
    if let Some(r) = written {
        s.wrote(r, vex);
    }
    if let Some((r, t)) = number {
        s.set_gpr(r, V::R(t, i.ow[0].mask()));
    }
    if kind.flags {
        let t = s.fresh();
        s.asm.push_flags();
        s.asm.pop(t);
        s.asm.alu_constant(Alu::And, Width::W32, Rm::R(t), STATUS as i32);
        let zero = V::K(0);
        s.set_flags(Flags::Known(FlagKind::Raw, Width::W64, zero, zero, V::R(t, STATUS)), false);
    }
    Ok(())
}

/// VZEROUPPER.
fn zero_upper(s: &mut Body<'_>, _: &Insn) -> Done {
    // Outside of 64-bit mode there are eight registers.
    s.misfit |= !s.mode.long64();
    s.asm.call(context(native::MISS + 8 * outer::ZERO_UPPER as i32));
    s.now.vector.low &= !1;
    s.now.vector.whole = 0;
    s.changed = true;
    Ok(())
}

impl Body<'_> {
    /// Has a guest's register in the host's.
    fn have(&mut self, r: u8, whole: bool) {
        let now = &mut self.now.vector;
        if now.low & 1 << r != 0 && (!whole || now.whole & 1 << r != 0) {
            return;
        }
        now.low |= 1 << r;
        if whole {
            now.whole |= 1 << r;
        }
        self.asm.load_wide(whole, r, place(r, 0));
    }
    /// Stores a register that was written. In VEX-encoded instructions all of it is.
    fn wrote(&mut self, r: u8, vex: bool) {
        self.now.vector.low |= 1 << r;
        if vex {
            self.now.vector.whole |= 1 << r;
        }
        self.asm.store_wide(vex, place(r, 0), r);
    }
    /// Where the host has the operand in memory.
    fn place(&mut self, i: &Insn, write: bool, aligned: bool) -> Rm {
        let Ok(bytes) = i8::try_from(i.bytes) else {
            self.misfit = true;
            return Rm::R(0);
        };
        let at = operand::address(self, i);
        let la = self.linear(i.seg, at);
        if aligned {
            self.clobber();
            self.asm.test_constant(Width::W8, Rm::R(la), bytes as i32 - 1);
            self.exit(Some(NOT_EQUAL));
        }
        let thunk = if write { Thunk::Write } else { Thunk::Read };
        self.place_at(la, bytes as u64, write, |s, miss, host| {
            s.go_late(miss, thunk, (la, bytes), host)
        })
    }
    /// The host computes as the guest's MXCSR says from here on.
    fn enter_floats(&mut self) {
        self.misfit |= !self.mode.has(Mode::MASKED);
        if std::mem::replace(&mut self.now.vector.floats, true) {
            return;
        }
        self.clobber();
        self.asm.alu_constant(Alu::Cmp, Width::W64, context(native::FLOATS), 0);
        let on = self.asm.jcc(NOT_EQUAL);
        self.asm.call(context(native::MISS + 8 * outer::FLOATS as i32));
        self.asm.land(on);
    }
}
