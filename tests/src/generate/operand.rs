//! Operands of every kind, and the bytes in memory that they meet.

use super::rows::Row;
use super::{Draft, compat, gpr_number, steer};
use crate::case::{RSP, WINDOW_SIZE, WINDOWS, window_offset};
use crate::mode::SELECTORS;
use crate::rng::{self, Rng};
use iced_x86::{
    Code, FlowControl, Instruction, MemorySize, Mnemonic, OpCodeOperandKind as Kind, OpKind,
    Register,
};

/// An instance of a row, not yet encoded.
pub(super) fn instance(d: &mut Draft, row: &Row, ip: u64) -> Option<Instruction> {
    let mut i = Instruction::new();
    i.set_code(row.code);
    let mut has_memory = false;
    for (n, kind) in row.op.op_kinds().iter().enumerate() {
        let n = n as u32;
        let memory = match kind {
            Kind::mem | Kind::mem_offs => true,
            Kind::mem_vsib32x | Kind::mem_vsib64x | Kind::mem_vsib32y | Kind::mem_vsib64y => true,
            Kind::r8_or_mem
            | Kind::r16_or_mem
            | Kind::r32_or_mem
            | Kind::r64_or_mem
            | Kind::mm_or_mem
            | Kind::xmm_or_mem
            | Kind::ymm_or_mem => d.r.permille(400),
            _ => false,
        };
        if memory {
            has_memory = true;
            memory_operand(d, row, &mut i, n, *kind)?;
        } else {
            other_operand(d, row, &mut i, n, *kind, ip)?;
        }
    }
    if has_memory && row.op.can_use_lock_prefix() {
        let exchange = row.mnemonic == Mnemonic::Xchg;
        i.set_has_lock_prefix(d.r.permille(if exchange { 100 } else { 350 }));
    }
    if row.op.can_use_rep_prefix() || row.op.can_use_repne_prefix() {
        repeat(d, row, &mut i)?;
    }
    Some(i)
}

fn register(d: &mut Draft, first: Register) -> Register {
    first + d.r.below(d.case.mode.registers()) as u32
}

fn other_operand(
    d: &mut Draft,
    row: &Row,
    i: &mut Instruction,
    n: u32,
    kind: Kind,
    ip: u64,
) -> Option<()> {
    let r = match kind {
        Kind::r8_or_mem | Kind::r8_reg | Kind::r8_opcode => {
            let all = if d.case.mode.is_64() { 20 } else { 8 };
            Register::AL + d.r.below(all) as u32
        }
        Kind::r16_or_mem | Kind::r16_reg | Kind::r16_rm | Kind::r16_opcode | Kind::r16_reg_mem => {
            register(d, Register::AX)
        }
        Kind::r32_or_mem
        | Kind::r32_reg
        | Kind::r32_rm
        | Kind::r32_opcode
        | Kind::r32_vvvv
        | Kind::r32_reg_mem => register(d, Register::EAX),
        Kind::r64_or_mem
        | Kind::r64_reg
        | Kind::r64_rm
        | Kind::r64_opcode
        | Kind::r64_vvvv
        | Kind::r64_reg_mem => register(d, Register::RAX),
        Kind::mm_or_mem | Kind::mm_reg | Kind::mm_rm => Register::MM0 + d.r.below(8) as u32,
        Kind::xmm_or_mem | Kind::xmm_reg | Kind::xmm_rm | Kind::xmm_vvvv | Kind::xmm_is4 => {
            register(d, Register::XMM0)
        }
        Kind::ymm_or_mem | Kind::ymm_reg | Kind::ymm_rm | Kind::ymm_vvvv | Kind::ymm_is4 => {
            register(d, Register::YMM0)
        }
        Kind::al => Register::AL,
        Kind::cl => Register::CL,
        Kind::ax => Register::AX,
        Kind::dx => Register::DX,
        Kind::eax => Register::EAX,
        Kind::rax => Register::RAX,
        Kind::st0 => Register::ST0,
        Kind::es => Register::ES,
        Kind::cs => Register::CS,
        Kind::ss => Register::SS,
        Kind::ds => Register::DS,
        Kind::fs => Register::FS,
        Kind::gs => Register::GS,
        // Written: not FS and GS; CS is an invalid instruction.
        Kind::seg_reg if n == 0 => Register::ES + d.r.below(4) as u32,
        Kind::seg_reg => Register::ES + d.r.below(6) as u32,
        Kind::sti_opcode => Register::ST0 + d.r.below(8) as u32,
        _ => return value_operand(d, row, i, n, kind, ip),
    };
    i.set_op_register(n, r);
    Some(())
}

/// Immediates, branch targets, and the memory operands of string instructions.
fn value_operand(
    d: &mut Draft,
    row: &Row,
    i: &mut Instruction,
    n: u32,
    kind: Kind,
    ip: u64,
) -> Option<()> {
    let byte = rng::integer(&mut d.r, 8);
    let sign = byte as u8 as i8;
    let small = d.r.permille(150);
    match kind {
        Kind::imm8 => {
            let second = (0..n).any(|k| i.op_kind(k) == OpKind::Immediate8)
                || row.mnemonic == Mnemonic::Enter;
            let kind = if second { OpKind::Immediate8_2nd } else { OpKind::Immediate8 };
            i.set_op_kind(n, kind);
            let v = if row.mnemonic == Mnemonic::Enter { byte & 0x23 } else { byte };
            if second { i.set_immediate8_2nd(v as u8) } else { i.set_immediate8(v as u8) }
        }
        Kind::imm4_m2z => return None,
        Kind::imm8_const_1 => {
            i.set_op_kind(n, OpKind::Immediate8);
            i.set_immediate8(1);
        }
        Kind::imm8sex16 => {
            i.set_op_kind(n, OpKind::Immediate8to16);
            i.set_immediate8to16(i16::from(sign));
        }
        Kind::imm8sex32 => {
            i.set_op_kind(n, OpKind::Immediate8to32);
            i.set_immediate8to32(i32::from(sign));
        }
        Kind::imm8sex64 => {
            i.set_op_kind(n, OpKind::Immediate8to64);
            i.set_immediate8to64(i64::from(sign));
        }
        Kind::imm16 => {
            i.set_op_kind(n, OpKind::Immediate16);
            let short = matches!(row.mnemonic, Mnemonic::Enter | Mnemonic::Ret) && !small;
            let v = rng::integer(&mut d.r, 16) as u16;
            i.set_immediate16(if short { v & 0x1FF } else { v });
        }
        Kind::imm32 => {
            i.set_op_kind(n, OpKind::Immediate32);
            i.set_immediate32(rng::integer(&mut d.r, 32) as u32);
        }
        Kind::imm32sex64 => {
            i.set_op_kind(n, OpKind::Immediate32to64);
            i.set_immediate32to64(i64::from(rng::integer(&mut d.r, 32) as u32 as i32));
        }
        Kind::imm64 => {
            i.set_op_kind(n, OpKind::Immediate64);
            i.set_immediate64(rng::integer(&mut d.r, 64));
        }
        Kind::br64_1 | Kind::br64_4 => {
            i.set_op_kind(n, OpKind::NearBranch64);
            // Short branches land in the INT3s that columns put around the code.
            let short = kind == Kind::br64_1;
            let back = d.r.below(2) == 0;
            i.set_near_branch64(match short {
                true if back && !d.block => ip - 1 - d.r.below(12),
                true => ip + 20 + d.r.below(8),
                false => d.target(),
            });
        }
        Kind::br16_1 | Kind::br16_2 | Kind::br32_1 | Kind::br32_4 => {
            let short = matches!(kind, Kind::br16_1 | Kind::br32_1);
            let to = match short {
                true if d.r.below(2) == 0 && !d.block => ip - 1 - d.r.below(12),
                true => ip + 20 + d.r.below(8),
                false => d.target(),
            };
            if matches!(kind, Kind::br16_1 | Kind::br16_2) {
                // From 32-bit code this goes to the low 64 KiB, where nothing is.
                i.set_op_kind(n, OpKind::NearBranch16);
                i.set_near_branch16(to as u16);
            } else {
                let beyond = if !short && d.r.permille(30) { d.beyond() } else { 0 };
                i.set_op_kind(n, OpKind::NearBranch32);
                i.set_near_branch32((to + beyond) as u32);
            }
        }
        Kind::seg_rSI | Kind::es_rDI | Kind::seg_rDI | Kind::seg_rBX_al => {
            let width = string_width(d, i, n);
            implicit_address(d, row, i, n, kind, width)?;
        }
        _ => return None,
    }
    Some(())
}

/// How many bits the addresses of a string instruction have: the second operand must do as the first.
fn string_width(d: &mut Draft, i: &Instruction, n: u32) -> u32 {
    match (0..n).find_map(|k| address_width(i.op_kind(k))) {
        Some(w) => w,
        None if !d.case.mode.is_64() => compat::width(d),
        None if d.r.permille(120) => 32,
        None => 64,
    }
}

/// The address width of a string instruction's memory operand.
fn address_width(k: OpKind) -> Option<u32> {
    Some(match k {
        OpKind::MemorySegSI | OpKind::MemoryESDI | OpKind::MemorySegDI => 16,
        OpKind::MemorySegESI | OpKind::MemoryESEDI | OpKind::MemorySegEDI => 32,
        OpKind::MemorySegRSI | OpKind::MemoryESRDI | OpKind::MemorySegRDI => 64,
        _ => return None,
    })
}

/// Something above the bits of a register that an address of some width uses.
pub(super) fn dirt(d: &mut Draft, width: u32) -> u64 {
    if width == 64 { 0 } else { d.r.next() << width }
}

fn implicit_address(
    d: &mut Draft,
    row: &Row,
    i: &mut Instruction,
    n: u32,
    kind: Kind,
    width: u32,
) -> Option<()> {
    let size = row.op.memory_size().size().max(1) as u64;
    let at = address(d, size);
    let segment = match kind {
        Kind::es_rDI => Register::ES,
        // The other operand of a string instruction may have said it already.
        _ if i.segment_prefix() != Register::None => i.segment_prefix(),
        _ => compat::segment(d, i, Register::DS, width),
    };
    let at = compat::reach(d, segment, width, at);
    let mask = u64::MAX >> (64 - width);
    let value = compat::offset(d, segment, width, at) & mask | dirt(d, width);
    let which = match width {
        16 => 0,
        32 => 1,
        _ => 2,
    };
    match kind {
        Kind::seg_rBX_al => {
            i.set_op_kind(n, OpKind::Memory);
            i.set_memory_base([Register::BX, Register::EBX, Register::RBX][which]);
            i.set_memory_index(Register::AL);
            return d.pin(3, value);
        }
        Kind::seg_rSI => i.set_op_kind(
            n,
            [OpKind::MemorySegSI, OpKind::MemorySegESI, OpKind::MemorySegRSI][which],
        ),
        Kind::es_rDI => {
            i.set_op_kind(n, [OpKind::MemoryESDI, OpKind::MemoryESEDI, OpKind::MemoryESRDI][which]);
        }
        _ => i.set_op_kind(
            n,
            [OpKind::MemorySegDI, OpKind::MemorySegEDI, OpKind::MemorySegRDI][which],
        ),
    }
    d.pin(if kind == Kind::seg_rSI { 6 } else { 7 }, value)
}

/// REP, REPE, REPNE and a count that ends soon.
fn repeat(d: &mut Draft, row: &Row, i: &mut Instruction) -> Option<()> {
    match d.r.below(4) {
        0 => return Some(()),
        1 if row.op.can_use_repne_prefix() => i.set_has_repne_prefix(true),
        _ => i.set_has_rep_prefix(true),
    }
    let width = i.op_kinds().find_map(address_width).unwrap_or(64);
    let count = d.r.pick(&[0, 1, 2, 3, 5, 8, 16, 17, 40]);
    let dirt = dirt(d, width);
    d.pin(1, count | dirt)
}

/// An address for an access of `size` bytes: mostly inside a window and aligned.
pub(super) fn address(d: &mut Draft, size: u64) -> u64 {
    let wild = if d.case.mode.is_64() { 1 << 63 & !(1 << 62) } else { 1 << 31 };
    address_or(&mut d.r, size, wild)
}

/// Mostly as `address` says; now and then anywhere, with the bits `wild` set.
fn address_or(r: &mut Rng, size: u64, wild: u64) -> u64 {
    let base = r.pick(&WINDOWS);
    let inside = base + 0x400 + r.below(WINDOW_SIZE - 0x800);
    match r.below(100) {
        0..=63 => inside & !(size.next_power_of_two() - 1),
        64..=90 => inside,
        91..=95 => (inside & !0xFFF).wrapping_sub(r.below(size + 1)).max(base),
        96 | 97 => base + WINDOW_SIZE - r.below(size + 1),
        98 => base - r.below(size + 1),
        _ if r.below(4) == 0 => r.next() | wild,
        _ => base + WINDOW_SIZE - size,
    }
}

/// A ModRM memory operand whose address is one of `address`.
fn memory_operand(d: &mut Draft, row: &Row, i: &mut Instruction, n: u32, k: Kind) -> Option<()> {
    i.set_op_kind(n, OpKind::Memory);
    let size = match row.op.memory_size().size() as u64 {
        0 => 1,
        s => s,
    };
    let mut at = address(d, size);
    let canonical = (at as i64) << 16 >> 16 == at as i64;
    let narrow = canonical && d.r.permille(80);
    match k {
        Kind::mem_offs if !d.case.mode.is_64() => {
            let width = compat::width(d);
            let segment = compat::segment(d, i, Register::DS, width);
            at = compat::reach(d, segment, width, at);
            i.set_memory_displacement64(compat::offset(d, segment, width, at));
            i.set_memory_displ_size(width / 8);
        }
        Kind::mem_offs => {
            i.set_memory_displacement64(at);
            i.set_memory_displ_size(if narrow { 4 } else { 8 });
        }
        Kind::mem_vsib32x => at = steer::vsib(d, i, at, Register::XMM0, 4)?,
        Kind::mem_vsib64x => at = steer::vsib(d, i, at, Register::XMM0, 8)?,
        Kind::mem_vsib32y => at = steer::vsib(d, i, at, Register::YMM0, 4)?,
        Kind::mem_vsib64y => at = steer::vsib(d, i, at, Register::YMM0, 8)?,
        _ if !d.case.mode.is_64() => at = compat::modrm(d, i, at)?,
        _ => modrm(d, i, at, narrow)?,
    }
    contents(d, row, at, size);
    Some(())
}

/// Gives a register that is to be an index a value, unless it has one already; `None` if nobody knows it.
pub(super) fn draw_index(d: &mut Draft, index: usize) -> Option<()> {
    if d.free(index) {
        let any = d.r.next();
        let v = d.r.pick(&[0, 1, 2, 7, 64, (-1i64) as u64, (-9i64) as u64, any]);
        d.pin(index, v)?;
    } else if d.gpr_written[index] {
        return None;
    }
    Some(())
}

/// A register for an address: now and then the one that the instruction writes.
fn register_of_address(d: &mut Draft, i: &Instruction) -> usize {
    let first = gpr_number(i.op0_register().full_register());
    let any = d.r.below(16) as usize;
    first.filter(|_| d.r.permille(200)).unwrap_or(any)
}
/// Base, index, scale and displacement that add up to `at`.
fn modrm(d: &mut Draft, i: &mut Instruction, at: u64, narrow: bool) -> Option<()> {
    let first = if narrow { Register::EAX } else { Register::RAX };
    let wide = if narrow { 4 } else { 8 };
    let low = at < 1 << 31;
    i.set_memory_displ_size(wide);
    match d.r.below(20) {
        0 if low => {
            i.set_memory_base(if narrow { Register::EIP } else { Register::RIP });
            i.set_memory_displacement64(at);
            return Some(());
        }
        1 if low => {
            i.set_memory_displacement64(at);
            return Some(());
        }
        _ => {}
    }
    let (base, index) = (register_of_address(d, i), register_of_address(d, i));
    let with_index = d.r.below(2) == 0 && index != RSP;
    let scale = 1u64 << d.r.below(4);
    i.set_memory_base(first + base as u32);
    let mut sum = 0u64;
    if with_index {
        i.set_memory_index(first + index as u32);
        i.set_memory_index_scale(scale as u32);
        draw_index(d, index)?;
        sum = d.case.state.gpr[index].wrapping_mul(scale);
    }
    let displacement = if d.free(base) {
        // The base makes up what is missing.
        let disp = match d.r.below(4) {
            0 => 0,
            1 => rng::integer(&mut d.r, 32) as u32 as i32,
            _ => i32::from(rng::integer(&mut d.r, 8) as u8 as i8),
        };
        let rest = at.wrapping_sub(sum).wrapping_sub(disp as i64 as u64);
        let dirt = if narrow { d.r.next() << 32 } else { 0 };
        d.pin(base, if narrow { rest & 0xFFFF_FFFF | dirt } else { rest })?;
        disp
    } else if d.gpr_written[base] {
        return None;
    } else {
        // The displacement does, if it can.
        let rest = at.wrapping_sub(sum).wrapping_sub(d.case.state.gpr[base]);
        match i32::try_from(rest as i64) {
            _ if narrow => rest as i32,
            Ok(v) => v,
            Err(_) => return None,
        }
    };
    let displ_size = displacement_size(d, displacement, wide);
    i.set_memory_displ_size(displ_size);
    let disp = displacement as i64 as u64;
    i.set_memory_displacement64(if narrow { disp & 0xFFFF_FFFF } else { disp });
    Some(())
}

/// In how many bytes a displacement is written.
pub(super) fn displacement_size(d: &mut Draft, displacement: i32, wide: u32) -> u32 {
    let fits = i8::try_from(displacement).is_ok();
    match displacement {
        0 if d.r.below(2) == 0 => 0,
        _ if fits && d.r.below(4) != 0 => 1,
        _ => wide,
    }
}

/// Puts something that suits the operand's type at its address.
fn contents(d: &mut Draft, row: &Row, at: u64, size: u64) {
    let flow = row.code.flow_control();
    if matches!(flow, FlowControl::IndirectBranch | FlowControl::IndirectCall) {
        let to = d.target().to_le_bytes();
        return d.patch(at, to[..size.min(8) as usize].to_vec());
    }
    let selector = steer::takes_selector(row);
    if window_offset(at).is_none() || size > 64 || d.r.below(2) == 0 && !selector {
        return;
    }
    let mut bytes = Vec::new();
    match row.op.memory_size() {
        MemorySize::Float80 => bytes.extend(rng::extended(&mut d.r).to_le_bytes()),
        MemorySize::SegPtr16 | MemorySize::SegPtr32 => {
            bytes.extend((d.r.next() as u32).to_le_bytes());
            bytes.truncate(size as usize - 2);
            bytes.extend(d.r.pick(&SELECTORS).to_le_bytes());
        }
        _ if size == 2 && selector => {
            bytes.extend(d.r.pick(&SELECTORS).to_le_bytes());
        }
        MemorySize::Bcd => {
            let mut digits = || d.r.below(10) as u8 | (d.r.below(10) as u8) << 4;
            bytes.extend([(); 9].map(|()| digits()));
            bytes.push(d.r.pick(&[0, 0x80, 0x7F]));
        }
        _ if row.code == Code::Fldcw_m2byte => {
            let cw = 0x40 | d.r.below(64) as u16 | (d.r.below(16) as u16) << 8;
            bytes.extend((cw | if d.r.below(8) == 0 { 0 } else { 0x3F }).to_le_bytes());
        }
        _ if matches!(row.mnemonic, Mnemonic::Ldmxcsr | Mnemonic::Vldmxcsr) => {
            let reserved = if d.r.below(8) == 0 { d.r.next() as u32 } else { 0 };
            let mask = if d.r.below(8) == 0 { 0 } else { 0x1F80 };
            bytes.extend((d.r.next() as u32 & 0xFFFF | mask | reserved).to_le_bytes());
        }
        m => {
            let kind = match m.element_size() {
                _ if d.r.below(6) == 0 => d.r.below(10),
                2 if format!("{m:?}").contains("Float16") => 4,
                4 if format!("{m:?}").contains("Float") => 5,
                8 if format!("{m:?}").contains("Float") => 7,
                1 => 0,
                2 => 1,
                4 => 2,
                _ => 3,
            };
            for _ in 0..size.div_ceil(8) {
                bytes.extend(rng::lanes(&mut d.r, kind).to_le_bytes());
            }
        }
    }
    bytes.truncate(size as usize);
    d.patch(at, bytes);
}

/// The number of the 64-bit register that holds an operand register.
pub(super) fn holder(r: Register) -> Option<usize> {
    gpr_number(r.full_register())
}
