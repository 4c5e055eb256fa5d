//! What a comparison leaves out, and why.
//!
//! * Flags that the manual calls undefined (iced-x86 knows them per instruction and immediate).
//! * FOP, FIP and FDP, never compared: processors differ in when they update them (CPUID leaf 7,
//!   EBX bits 6 and 13), and so do the fields where FNSTENV and FNSAVE store them.
//! * RCPPS, RSQRTPS and their kin: the manual gives a relative error of 1.5 * 2^-12, no bits.
//! * x87 transcendental functions: within 1 ulp, and without the flags that say how it was rounded
//!   (C1, PE).  SDM vol. 1, 8.3.10.
//! * SHLD and SHRD of 16 bits by more than 16: the result is undefined.
//! * The destination and the mask of a gather that faults: which elements above the faulting
//!   one are there already is the implementation's choice.  SDM 2C, VPGATHERDD.
//! * The upper halves of RCX, RSI and RDI after a repeated string instruction with 32-bit addresses
//!   and a count of zero: some processors clear some of them, the manual does not say.
//! * What a CALL to a non-canonical address, or beyond the limit, has pushed: RSP is as before, but whether the word below
//!   it has been written differs.
//!
//! * Where makers differ, and this is not Intel's: see [`by_maker`].
//!
//! * Outside of 64-bit mode: the upper halves of the general registers, which 64-bit code later finds undefined.
//!   SDM vol. 1, 3.4.1.1.
//!
//! Everything else is compared bit for bit, the contents of empty x87 registers too.

use crate::case::{Case, FLAGS, OF, RSP, State};
use crate::mode::Mode;
use iced_x86::{
    Decoder, DecoderError, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register,
    RflagsBits,
};
use std::sync::LazyLock;

/// What to leave out when the outcomes of a case are compared.
#[derive(Clone, Debug, Default)]
pub struct Ignore {
    pub flags: u64,
    /// General registers, by bit.
    pub gpr: u16,
    /// General registers of which only the low 32 bits count, by bit.
    pub upper: u16,
    /// Vector registers, by bit.
    pub ymm: u16,
    /// Vector registers of 32-bit floats to compare approximately, by bit.
    pub approximate: u16,
    /// x87 registers within one unit of the last place, and these bits of FSW not at all.
    pub ulp: bool,
    pub fsw: u16,
    /// Address and length of memory that is not compared.
    pub mem: Vec<(u64, u64)>,
}

/// RCX, RSI, RDI.
const REPEATED: u16 = 1 << 1 | 1 << 6 | 1 << 7;

/// The instructions of a case.
pub fn instructions(case: &Case) -> impl Iterator<Item = Instruction> {
    let mut d =
        Decoder::with_ip(case.mode.bits(), &case.code, case.state.rip, DecoderOptions::NONE);
    std::iter::from_fn(move || d.can_decode().then(|| d.decode()))
}

/// Whether the bytes of a case end where an instruction ends.
pub fn is_whole(case: &Case) -> bool {
    let mut d =
        Decoder::with_ip(case.mode.bits(), &case.code, case.state.rip, DecoderOptions::NONE);
    while d.can_decode() {
        if d.decode().is_invalid() && d.last_error() == DecoderError::NoMoreBytes {
            return false;
        }
    }
    !case.code.is_empty()
}

/// Whether the instruction is tested in single cases only, since what follows in a block would
/// carry its undefined results along (or, POPF, could be made to set TF).
pub fn only_alone(i: &Instruction) -> bool {
    is_transcendental(i.mnemonic())
        || is_approximate(i.mnemonic())
        || narrow_double_shift(i)
        || narrow_repeat(i)
        || environment(i.mnemonic()).is_some()
        || matches!(
            i.mnemonic(),
            Mnemonic::Popf | Mnemonic::Popfd | Mnemonic::Popfq | Mnemonic::Into
        )
        || loads_segment(i)
}

/// Whether the instruction loads a segment register: what follows would have other bases.
fn loads_segment(i: &Instruction) -> bool {
    i.op_count() > 0 && i.op0_register().is_segment_register() && i.mnemonic() != Mnemonic::Push
        || matches!(i.mnemonic(), Mnemonic::Les | Mnemonic::Lds | Mnemonic::Lss)
}

/// The parts of the outcome that two right columns may differ in. `fault`: the state at the
/// fault; the instruction there and what follows have left nothing undefined.
pub fn ignore(case: &Case, fault: Option<&State>) -> Ignore {
    let mut out = Ignore::default();
    if !case.mode.is_64() {
        out.upper = 0xFF;
    }
    for i in instructions(case) {
        if let Some(at) = fault.filter(|s| s.rip == i.ip()) {
            if i.is_vsib() {
                out.ymm |= 1 << i.op0_register().number() | 1 << i.op2_register().number();
            }
            if matches!(i.flow_control(), FlowControl::IndirectCall | FlowControl::Call) {
                let below = at.gpr[RSP].wrapping_sub(8);
                out.mem.push((stack_address(case, below), 8));
            }
            break;
        }
        if narrow_repeat(&i) && case.state.gpr[1] as u32 == 0 {
            out.upper |= REPEATED;
        }
        let defined = if may_keep_flags(&i) { 0 } else { flag_mask(i.rflags_modified()) };
        out.flags = out.flags & !defined | undefined_flags(case, &i);
        if is_approximate(i.mnemonic()) {
            out.approximate |= 1 << i.op0_register().number();
        }
        if is_transcendental(i.mnemonic()) {
            out.ulp = true;
            out.fsw |= 0x0220;
        }
        if narrow_double_shift(&i) {
            let count = match i.op2_kind() {
                OpKind::Immediate8 => i.immediate8(),
                _ => case.state.gpr[1] as u8,
            };
            if count & 31 > 16 {
                out.flags = FLAGS & !crate::case::DF;
                match i.op0_kind() {
                    OpKind::Memory => out.mem.extend(operand_address(case, &i).map(|at| (at, 2))),
                    _ => out.gpr |= 1 << i.op0_register().full_register().number(),
                }
            }
        }
        if let Some((skip, len)) = environment(i.mnemonic()) {
            let narrow = matches!(i.memory_size().size(), 14 | 94);
            let (skip, len) = if narrow { (6, 8) } else { (skip, len) };
            out.mem.extend(operand_address(case, &i).map(|at| (at.wrapping_add(skip), len)));
        }
    }
    out
}

/// Whether the host is of Intel's make.
static INTEL: LazyLock<bool> = LazyLock::new(|| {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.contains("GenuineIntel")
});
/// Whether this host answers a case otherwise than Intel's processors, which the emulator follows: so AMD's do where a word with
/// a segment register is pushed (all of the word is written), in products' NaNs, in flags of transcendental functions, in the
/// upper halves of registers of repeated string instructions, in how much MOVSXD to 16 bits reads, in MXCSR's bit 17, and in what has
/// been done or comes first at a fault.
pub fn by_maker(case: &Case, fault: bool) -> bool {
    use Mnemonic::*;
    !*INTEL
        && instructions(case).any(|i| {
            let m = i.mnemonic();
            let mmx = || i.op_kinds().any(|k| k == OpKind::Memory) && has_mmx(&i);
            is_transcendental(m)
                || matches!(m, Dpps | Dppd | Vdpps | Vdppd)
                || m == Push && i.op0_register().is_segment_register()
                || narrow_repeat(&i)
                || fault
                    && (loads_segment(&i)
                        || i.has_rep_prefix()
                        || i.has_repne_prefix()
                        || i.is_string_instruction() && matches!(m, Cmpsb | Cmpsw | Cmpsd | Cmpsq)
                        || mmx()
                        || matches!(m, Ldmxcsr | Vldmxcsr)
                        || matches!(m, Maskmovdqu | Maskmovq | Vmaskmovdqu | Vcvtps2ph)
                        || matches!(m, Vmaskmovps | Vmaskmovpd | Vpmaskmovd | Vpmaskmovq)
                        || m == Movsxd && i.op0_register().size() == 2
                        || matches!(m, Bound | Fst | Fstp | Fist | Fistp | Fisttp | Fbstp)
                        || matches!(m, Sha1msg1 | Sha1msg2 | Sha1nexte | Sha1rnds4)
                        || matches!(m, Sha256msg1 | Sha256msg2 | Sha256rnds2))
        })
}
fn has_mmx(i: &Instruction) -> bool {
    (0..i.op_count()).any(|n| i.op_kind(n) == OpKind::Register && i.op_register(n).is_mm())
}

/// Whether the flags can stay as they were, for a count of zero in a register.
pub fn may_keep_flags(i: &Instruction) -> bool {
    i.has_rep_prefix() || i.has_repne_prefix() || shifts_by_cl(i)
}

fn is_rotate(m: Mnemonic) -> bool {
    matches!(m, Mnemonic::Rcl | Mnemonic::Rcr | Mnemonic::Rol | Mnemonic::Ror)
}

fn is_shift(m: Mnemonic) -> bool {
    use Mnemonic::*;
    matches!(m, Shl | Sal | Shr | Sar | Shld | Shrd) || is_rotate(m)
}

fn shifts_by_cl(i: &Instruction) -> bool {
    is_shift(i.mnemonic()) && i.op_kind(i.op_count() - 1) == OpKind::Register
}

fn shift_is_wide(i: &Instruction) -> bool {
    i.op0_register().is_gpr64() || i.memory_size().size() == 8
}

/// The flags (iced-x86's bits) that an instruction leaves undefined, not knowing the registers.
pub fn undefined_bits(i: &Instruction) -> u32 {
    let bits = i.rflags_undefined();
    if !is_rotate(i.mnemonic()) || shifts_by_cl(i) {
        return bits;
    }
    // Also where the count is a multiple of the 9 or 17 bits that RCL and RCR go round.
    let count = i.immediate(1) & if shift_is_wide(i) { 63 } else { 31 };
    bits | if count > 1 { RflagsBits::OF } else { 0 }
}

/// Undefined flags of an instruction, the count in CL taken into account where it is known.
fn undefined_flags(case: &Case, i: &Instruction) -> u64 {
    let mask = flag_mask(undefined_bits(i));
    if !shifts_by_cl(i) || case.count != 1 {
        return mask;
    }
    match case.state.gpr[1] & if shift_is_wide(i) { 63 } else { 31 } {
        0 => 0,
        1 => mask & !OF,
        _ => mask,
    }
}

/// iced-x86's flag bits as those of RFLAGS.
pub fn flag_mask(bits: u32) -> u64 {
    use crate::case::{AF, CF, DF, PF, SF, ZF};
    [
        (RflagsBits::OF, OF),
        (RflagsBits::SF, SF),
        (RflagsBits::ZF, ZF),
        (RflagsBits::AF, AF),
        (RflagsBits::CF, CF),
        (RflagsBits::PF, PF),
        (RflagsBits::DF, DF),
    ]
    .iter()
    .filter(|(b, _)| bits & b != 0)
    .fold(0, |m, (_, f)| m | f)
}

fn is_transcendental(m: Mnemonic) -> bool {
    use Mnemonic::*;
    matches!(m, Fsin | Fcos | Fsincos | Fptan | Fpatan | F2xm1 | Fyl2x | Fyl2xp1)
}

fn is_approximate(m: Mnemonic) -> bool {
    use Mnemonic::*;
    matches!(m, Rcpps | Rcpss | Rsqrtps | Rsqrtss | Vrcpps | Vrcpss | Vrsqrtps | Vrsqrtss)
}

fn narrow_double_shift(i: &Instruction) -> bool {
    matches!(i.mnemonic(), Mnemonic::Shld | Mnemonic::Shrd) && (i.op1_register().is_gpr16())
}

/// A repeated string instruction with 32-bit addresses.
fn narrow_repeat(i: &Instruction) -> bool {
    (i.has_rep_prefix() || i.has_repne_prefix())
        && i.op_kinds().any(|k| matches!(k, OpKind::MemorySegESI | OpKind::MemoryESEDI))
}

/// Where the 32-bit x87 environment holds the pointers: offset and length.
fn environment(m: Mnemonic) -> Option<(u64, u64)> {
    matches!(m, Mnemonic::Fnstenv | Mnemonic::Fnsave | Mnemonic::Fstenv | Mnemonic::Fsave)
        .then_some((12, 16))
}

/// The linear address of an offset in the stack segment.
fn stack_address(case: &Case, offset: u64) -> u64 {
    let mask = match case.mode {
        Mode::Bits64 => u64::MAX,
        Mode::Bits32 => 0xFFFF_FFFF,
        Mode::Bits16 => 0xFFFF,
    };
    case.mode.base(Register::SS) + (offset & mask)
}

/// The address of an instruction's memory operand before the case runs.
pub fn operand_address(case: &Case, i: &Instruction) -> Option<u64> {
    let n = (0..i.op_count()).find(|n| i.op_kind(*n) == OpKind::Memory)?;
    i.virtual_address(n, 0, |r, _, _| {
        let full = r.full_register();
        let v = match () {
            () if r.is_segment_register() => return Some(case.mode.base(r)),
            () if full.is_gpr64() => case.state.gpr[full.number()],
            () => return None,
        };
        Some(match () {
            () if r.is_gpr32() => v & 0xFFFF_FFFF,
            () if r.is_gpr16() => v & 0xFFFF,
            () => v,
        })
    })
    .map(|at| if case.mode.is_64() { at } else { at & 0xFFFF_FFFF })
}
