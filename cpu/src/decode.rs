//! Bytes to [`Insn`].

use crate::insn::{Insn, NO_REG, Opnd, RIP};
use crate::{Features, Mode, SegReg, Width, rows};
use iced_x86::{
    Code, Decoder, DecoderOptions, EncodingKind, Instruction, MemorySize, Mnemonic, OpKind,
    Register,
};

/// Why bytes are not an instruction that may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Odd {
    /// The bytes end before the instruction does: the next page decides.
    Short,
    /// Longer than 15 bytes: #GP(0).
    TooLong,
}

/// Decodes one instruction. An undefined one decodes to a row that raises #UD.
pub fn decode(bytes: &[u8], mode: Mode, features: &Features) -> Result<Insn, Odd> {
    let mut d = Decoder::with_ip(mode.bits(), bytes, 0, DecoderOptions::NONE);
    let mut n = Instruction::default();
    d.decode_out(&mut n);
    if n.is_invalid() && d.last_error() == iced_x86::DecoderError::NoMoreBytes {
        return Err(if bytes.len() >= 15 { Odd::TooLong } else { Odd::Short });
    }
    if n.is_invalid() && n.len() >= 15 {
        return Err(Odd::TooLong);
    }
    Ok(compact(&n, mode, features))
}

/// iced-x86's instruction in our form. Row 0 (#UD) where the mode or the features do not have it.
pub fn compact(n: &Instruction, mode: Mode, features: &Features) -> Insn {
    let mut i = Insn {
        row: if n.is_invalid() { 0 } else { gate(n, mode, features) },
        len: n.len().max(1) as u8,
        bits: bits(n),
        w: Width::W32,
        aw: address_width(n, mode),
        sw: mode.stack_width(),
        seg: segment(n, mode),
        base: NO_REG,
        index: NO_REG,
        scale: n.memory_index_scale().trailing_zeros() as u8,
        sub: n.condition_code() as u8,
        op: [Opnd::None; 4],
        ow: [Width::W64; 4],
        code: n.code() as u16,
        bytes: 0,
        disp: 0,
        imm: 0,
    };
    if n.condition_code() != iced_x86::ConditionCode::None {
        i.sub = condition(n.condition_code());
    }
    let mut imms = 0;
    for k in 0..n.op_count().min(4) as usize {
        operand(&mut i, n, k, &mut imms);
    }
    if n.op_count() == 5 {
        // The fifth operand is an immediate (VPERMIL2 and the like), which no row has.
        i.row = 0;
    }
    i.w = (0..4)
        .find(|&k| matches!(i.op[k], Opnd::Gpr(_) | Opnd::High(_) | Opnd::Mem) && i.ow_is_int(k))
        .map_or_else(|| operand_size(n, mode), |k| i.ow[k]);
    i
}

impl Insn {
    fn ow_is_int(&self, k: usize) -> bool {
        self.op[k] != Opnd::Mem || matches!(self.bytes, 1 | 2 | 4 | 8)
    }
}

fn bits(n: &Instruction) -> u8 {
    let mut b = 0;
    let mut bit = |on: bool, bit: u8| b |= if on { bit } else { 0 };
    bit(n.has_lock_prefix(), Insn::LOCK);
    bit(n.has_rep_prefix(), Insn::REP);
    bit(n.has_repne_prefix(), Insn::REPNE);
    let vex = n.code().encoding() != EncodingKind::Legacy;
    bit(vex, Insn::VEX);
    if vex {
        let ymm = (0..n.op_count())
            .any(|k| n.op_kind(k) == OpKind::Register && n.op_register(k).is_ymm());
        let ymm = ymm || n.memory_index().is_ymm();
        bit(ymm || n.memory_size().size() == 32, Insn::WIDE);
    }
    b
}

/// The width of an address without a memory operand in ModRM (string instructions, LOOP, JCXZ) comes from the prefix too.
fn address_width(n: &Instruction, mode: Mode) -> Width {
    for k in 0..n.op_count() {
        match n.op_kind(k) {
            OpKind::MemorySegSI | OpKind::MemoryESDI | OpKind::MemorySegDI => return Width::W16,
            OpKind::MemorySegESI | OpKind::MemoryESEDI | OpKind::MemorySegEDI => return Width::W32,
            OpKind::MemorySegRSI | OpKind::MemoryESRDI | OpKind::MemorySegRDI => return Width::W64,
            OpKind::Memory => {
                let r = match n.memory_base() {
                    Register::None => n.memory_index(),
                    r => r,
                };
                return match r {
                    Register::None => match n.memory_displ_size() {
                        2 => Width::W16,
                        4 => Width::W32,
                        8 => Width::W64,
                        _ => default_width(mode),
                    },
                    Register::RIP => Width::W64,
                    Register::EIP => Width::W32,
                    r if r.is_vector_register() => default_width(mode),
                    r => Width::of_bytes(r.size() as u64).unwrap_or(Width::W64),
                };
            }
            _ => {}
        }
    }
    match n.code() {
        Code::Jcxz_rel8_16 | Code::Jcxz_rel8_32 => Width::W16,
        Code::Jecxz_rel8_16 | Code::Jecxz_rel8_32 | Code::Jecxz_rel8_64 => Width::W32,
        Code::Jrcxz_rel8_16 | Code::Jrcxz_rel8_64 => Width::W64,
        c => loop_width(c).unwrap_or(default_width(mode)),
    }
}

fn loop_width(c: Code) -> Option<Width> {
    use Code::*;
    Some(match c {
        Loop_rel8_16_CX | Loop_rel8_32_CX | Loope_rel8_16_CX | Loope_rel8_32_CX
        | Loopne_rel8_16_CX | Loopne_rel8_32_CX => Width::W16,
        Loop_rel8_16_ECX | Loop_rel8_32_ECX | Loop_rel8_64_ECX | Loope_rel8_16_ECX
        | Loope_rel8_32_ECX | Loope_rel8_64_ECX | Loopne_rel8_16_ECX | Loopne_rel8_32_ECX
        | Loopne_rel8_64_ECX => Width::W32,
        Loop_rel8_16_RCX | Loop_rel8_64_RCX | Loope_rel8_16_RCX | Loope_rel8_64_RCX
        | Loopne_rel8_16_RCX | Loopne_rel8_64_RCX => Width::W64,
        _ => return None,
    })
}

fn default_width(mode: Mode) -> Width {
    match mode.bits() {
        16 => Width::W16,
        32 => Width::W32,
        _ => Width::W64,
    }
}

/// The operand size of an instruction that shows it in no operand (CBW, PUSHF, LEAVE, near branches, string moves).
fn operand_size(n: &Instruction, mode: Mode) -> Width {
    if let Some(w) = Width::of_bytes(n.memory_size().size() as u64) {
        return w;
    }
    use iced_x86::CodeSize;
    let info = n.op_code();
    match info.operand_size() {
        16 => Width::W16,
        32 => Width::W32,
        64 => Width::W64,
        _ => match (n.op0_kind(), n.code_size()) {
            (OpKind::NearBranch16, _) => Width::W16,
            (OpKind::NearBranch32, _) => Width::W32,
            (OpKind::NearBranch64, _) => Width::W64,
            (_, CodeSize::Code16) => Width::W16,
            (_, CodeSize::Code32) => Width::W32,
            _ if mode.bits() == 16 => Width::W16,
            _ => Width::W32,
        },
    }
}

fn operand(i: &mut Insn, n: &Instruction, k: usize, imms: &mut u32) {
    let kind = n.op_kind(k as u32);
    let mut imm = |i: &mut Insn, v: i64, w: Width| {
        *imms += 1;
        i.ow[k] = w;
        if *imms == 1 {
            i.imm = v;
            Opnd::Imm
        } else {
            i.disp = v as i32;
            Opnd::Imm2
        }
    };
    i.op[k] = match kind {
        OpKind::Register => register(i, n.op_register(k as u32), k),
        OpKind::Immediate8 => imm(i, n.immediate8() as i64, Width::W8),
        OpKind::Immediate8_2nd => imm(i, n.immediate8_2nd() as i64, Width::W8),
        OpKind::Immediate16 => imm(i, n.immediate16() as i64, Width::W16),
        OpKind::Immediate32 => imm(i, n.immediate32() as i64, Width::W32),
        OpKind::Immediate64 => imm(i, n.immediate64() as i64, Width::W64),
        OpKind::Immediate8to16 => imm(i, n.immediate8to16() as i64, Width::W16),
        OpKind::Immediate8to32 => imm(i, n.immediate8to32() as i64, Width::W32),
        OpKind::Immediate8to64 => imm(i, n.immediate8to64(), Width::W64),
        OpKind::Immediate32to64 => imm(i, n.immediate32to64(), Width::W64),
        OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64 => {
            // Decoded at address 0: what is left after the length is the distance.
            let to = n.near_branch_target().wrapping_sub(n.len() as u64) as i64;
            i.ow[k] = match kind {
                OpKind::NearBranch16 => Width::W16,
                OpKind::NearBranch32 => Width::W32,
                _ => Width::W64,
            };
            i.imm = match kind {
                OpKind::NearBranch16 => to as i16 as i64,
                OpKind::NearBranch32 => to as i32 as i64,
                _ => to,
            };
            Opnd::Near
        }
        OpKind::FarBranch16 | OpKind::FarBranch32 => {
            i.disp = n.far_branch_selector() as i32;
            let wide = kind == OpKind::FarBranch32;
            i.imm = if wide { n.far_branch32() as i64 } else { n.far_branch16() as i64 };
            i.ow[k] = if wide { Width::W32 } else { Width::W16 };
            Opnd::Far
        }
        _ => memory(i, n, k, kind),
    };
}

fn memory(i: &mut Insn, n: &Instruction, k: usize, kind: OpKind) -> Opnd {
    let size = n.memory_size();
    if size != MemorySize::Unknown {
        i.bytes = size.size() as u16;
    }
    i.ow[k] = Width::of_bytes(i.bytes as u64).unwrap_or(Width::W64);
    if kind != OpKind::Memory {
        // String operands: the meaning knows its registers, the segment is in `seg` unless it is ES:DI.
        return Opnd::Mem;
    }
    let disp = n.memory_displacement64();
    let reg = |r: Register| if r == Register::None { NO_REG } else { r.number() as u8 };
    match n.memory_base() {
        Register::RIP | Register::EIP => {
            i.base = RIP;
            // iced gives the absolute target as if the instruction stood at 0.
            i.disp = (disp as i64).wrapping_sub(n.len() as i64) as i32;
            if n.memory_base() == Register::EIP {
                i.disp = (disp as i32).wrapping_sub(n.len() as i32);
            }
            return Opnd::Mem;
        }
        r => i.base = reg(r),
    }
    i.index = reg(n.memory_index());
    i.disp = disp as i32;
    if n.memory_displ_size() == 8
        && i.base == NO_REG
        && i.index == NO_REG
        && disp as i32 as i64 != disp as i64
    {
        // MOV moffs64: the one absolute address that a displacement cannot hold.
        i.imm = disp as i64;
        i.bits |= Insn::MOFFS;
    }
    Opnd::Mem
}

fn register(i: &mut Insn, r: Register, k: usize) -> Opnd {
    i.ow[k] = Width::of_bytes(r.size() as u64).unwrap_or(Width::W64);
    let n = r.number() as u8;
    if r.is_gpr8() {
        return match r {
            Register::AH | Register::CH | Register::DH | Register::BH => {
                Opnd::High(r as u8 - Register::AH as u8)
            }
            _ => Opnd::Gpr(r.full_register().number() as u8),
        };
    }
    if r.is_gpr() {
        return Opnd::Gpr(n);
    }
    if r.is_vector_register() {
        return Opnd::Xmm(n);
    }
    if r.is_mm() {
        return Opnd::Mmx(n);
    }
    if r.is_st() {
        return Opnd::St(n);
    }
    if r.is_cr() {
        return Opnd::Cr(n);
    }
    if r.is_dr() {
        return Opnd::Dr(n);
    }
    seg_of(r).map_or(Opnd::None, Opnd::Seg)
}

/// The segment of the memory operand. 64-bit mode ignores prefixes that name ES, CS, SS or DS.  SDM 1, 3.4.4.
fn segment(n: &Instruction, mode: Mode) -> SegReg {
    let named = seg_of(n.memory_segment()).unwrap_or(SegReg::Ds);
    if mode.bits() != 64 || matches!(named, SegReg::Fs | SegReg::Gs) {
        return named;
    }
    match n.memory_base() {
        Register::RSP | Register::RBP | Register::ESP | Register::EBP => SegReg::Ss,
        _ => SegReg::Ds,
    }
}

fn seg_of(r: Register) -> Option<SegReg> {
    Some(match r {
        Register::ES => SegReg::Es,
        Register::CS => SegReg::Cs,
        Register::SS => SegReg::Ss,
        Register::DS => SegReg::Ds,
        Register::FS => SegReg::Fs,
        Register::GS => SegReg::Gs,
        _ => return None,
    })
}

fn condition(c: iced_x86::ConditionCode) -> u8 {
    use iced_x86::ConditionCode as C;
    match c {
        C::o => 0,
        C::no => 1,
        C::b => 2,
        C::ae => 3,
        C::e => 4,
        C::ne => 5,
        C::be => 6,
        C::a => 7,
        C::s => 8,
        C::ns => 9,
        C::p => 10,
        C::np => 11,
        C::l => 12,
        C::ge => 13,
        C::le => 14,
        C::g => 15,
        C::None => 0,
    }
}

/// What must be switched on before an instruction may run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    None,
    X87,
    /// WAIT.
    Wait,
    Mmx,
    Sse,
    Avx,
    /// FXSAVE and FXRSTOR.
    Fx,
    Xsave,
    /// XGETBV and XSETBV.
    Xcr,
}

fn unit(n: &Instruction) -> Unit {
    use Mnemonic::*;
    use iced_x86::CpuidFeature as C;
    let any = |f: fn(Register) -> bool| {
        (0..n.op_count()).any(|k| n.op_kind(k) == OpKind::Register && f(n.op_register(k)))
    };
    let has = |all: &[C]| n.cpuid_features().iter().any(|f| all.contains(f));
    if n.code().encoding() != EncodingKind::Legacy {
        let plain = has(&[C::BMI1, C::BMI2]) && !any(Register::is_vector_register);
        return if plain { Unit::None } else { Unit::Avx };
    }
    match n.mnemonic() {
        Wait => return Unit::Wait,
        Fxsave | Fxsave64 | Fxrstor | Fxrstor64 => return Unit::Fx,
        Xgetbv | Xsetbv => return Unit::Xcr,
        Ldmxcsr | Stmxcsr => return Unit::Sse,
        Fisttp => return Unit::X87,
        _ => {}
    }
    if has(&[C::XSAVE, C::XSAVEOPT, C::XSAVEC, C::XSAVES]) {
        Unit::Xsave
    } else if has(&[C::FPU, C::FPU287, C::FPU387]) {
        Unit::X87
    } else if any(Register::is_vector_register) {
        Unit::Sse
    } else if any(Register::is_mm) || has(&[C::MMX]) {
        Unit::Mmx
    } else {
        Unit::None
    }
}

/// Encodings that mean something older where a feature is missing: hints, and prefixes that used to be ignored.
fn older(m: Mnemonic) -> Option<Mnemonic> {
    use Mnemonic::*;
    Some(match m {
        Tzcnt => Bsf,
        Lzcnt => Bsr,
        Wbnoinvd => Wbinvd,
        Endbr32 | Endbr64 | Rdsspd | Rdsspq | Cldemote | Prefetchwt1 | Prefetchw | Prefetch
        | Prefetchit0 | Prefetchit1 | Pause | Bndmk | Bndcl | Bndcu | Bndcn | Bndmov | Bndldx
        | Bndstx | Reservednop => Nop,
        _ => return None,
    })
}

/// The row that this instruction gets in this mode: its own, or one that raises what the mode makes of it.
fn gate(n: &Instruction, mode: Mode, features: &Features) -> u16 {
    use Mnemonic::*;
    let (ud, nm, gp) = (0, rows::number(Db), rows::number(Dw));
    let mut m = n.mnemonic();
    if matches!(m, Db | Dw | Dd | Dq) {
        return ud;
    }
    // A mnemonic's row means its legacy and VEX forms.
    if !matches!(n.code().encoding(), EncodingKind::Legacy | EncodingKind::VEX) {
        return ud;
    }
    // Calls to a hypervisor see to themselves.
    if matches!(m, Vmcall | Vmmcall) {
        return rows::number(m);
    }
    if n.cpuid_features().iter().any(|f| !features.has(*f)) {
        match older(m) {
            Some(o) => m = o,
            None => return ud,
        }
    }
    let row = rows::number(m);
    let info = n.op_code();
    let (real, vm86) = (!mode.has(Mode::PROTECTED), mode.has(Mode::VM86));
    let vex = info.encoding() != EncodingKind::Legacy;
    if real && !info.real_mode() || vm86 && !info.virtual8086_mode() || vex && (real || vm86) {
        return ud;
    }
    if row == ud {
        return ud;
    }
    let (em, ts) = (mode.has(Mode::EM), mode.has(Mode::TS));
    let row = match unit(n) {
        Unit::X87 | Unit::Fx if em || ts => nm,
        Unit::Wait if ts && mode.has(Mode::MP) => nm,
        Unit::Mmx | Unit::Sse if em => ud,
        Unit::Sse if !mode.has(Mode::SSE) => ud,
        Unit::Avx if !mode.has(Mode::AVX) => ud,
        Unit::Xsave | Unit::Xcr if !mode.has(Mode::OSXSAVE) => ud,
        Unit::Mmx | Unit::Sse | Unit::Avx | Unit::Xsave if ts => nm,
        _ => row,
    };
    if mode.cpl() != 0 && row != ud {
        // These are undefined there, not forbidden.
        if matches!(m, Clac | Stac | Monitor | Mwait) {
            return ud;
        }
        if info.must_be_cpl0() && !matches!(m, Sysret | Sysretq | Sysexit | Sysexitq) {
            return if row == nm { nm } else { gp };
        }
    }
    row
}

#[cfg(test)]
mod test {
    use super::*;

    fn long(bytes: &[u8]) -> Insn {
        decode(bytes, Mode(2), &Features::all()).unwrap()
    }

    #[test]
    fn addresses_are_relative_and_displacements_signed() {
        // add rax, [rip-8]; 7 bytes long
        let i = long(&[0x48, 0x03, 0x05, 0xf8, 0xff, 0xff, 0xff]);
        assert_eq!((i.base, i.disp, i.len, i.w), (RIP, -8, 7, Width::W64));
        // add [rbx+rcx*4-0x80], al
        let i = long(&[0x00, 0x44, 0x8b, 0x80]);
        assert_eq!((i.base, i.index, i.scale, i.disp), (3, 1, 2, -0x80));
        assert_eq!((i.op[0], i.op[1], i.w), (Opnd::Mem, Opnd::Gpr(0), Width::W8));
        // add ah, dil is not encodable; add ah, dh is
        let i = long(&[0x00, 0xf4]);
        assert_eq!((i.op[0], i.op[1]), (Opnd::High(0), Opnd::High(2)));
    }

    #[test]
    fn what_has_no_row_is_undefined_and_what_is_cut_off_is_short() {
        assert_eq!(long(&[0x0f, 0x0b]).row, 0);
        assert_eq!(decode(&[0x48, 0x03], Mode(2), &Features::all()), Err(Odd::Short));
        assert_eq!(decode(&[0x66; 15], Mode(2), &Features::all()), Err(Odd::TooLong));
    }
}
