//! What an instruction needs of the registers to do something worth testing.

use super::operand::{address, dirt, holder};
use super::rows::Row;
use super::{Draft, compat};
use crate::case::{RSP, STACK, WINDOW_SIZE, WINDOWS};
use crate::mode::{Mode, SELECTORS};
use crate::rng;
use iced_x86::OpCodeOperandKind as Kind;
use iced_x86::{Code, FlowControl, Instruction, Mnemonic, OpKind, Register};

const RAX: usize = 0;
const RDX: usize = 2;
const RBP: usize = 5;

/// Gives registers the values that the finished operands ask for.
pub(super) fn registers(d: &mut Draft, row: &Row, i: &mut Instruction) -> Option<()> {
    stack(d, row)?;
    let memory = (0..i.op_count()).any(|n| i.op_kind(n) == OpKind::Memory);
    match row.mnemonic {
        Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc
            if memory && i.op_kind(1) == OpKind::Register =>
        {
            // The bit offset reaches far beyond the operand's address: keep it near.
            let offset = d.r.below(4096) as i64 - 2048;
            let n = holder(i.op_register(1))?;
            return if d.free(n) { d.pin(n, offset as u64) } else { None };
        }
        Mnemonic::Div | Mnemonic::Idiv if !d.r.permille(200) => {
            // The high half of the dividend mostly such that the quotient fits.
            if d.free(RDX) {
                let low = d.case.state.gpr[RAX];
                let high = match d.case.mode {
                    Mode::Bits64 => (low as i64 >> 63) as u64,
                    _ => u64::from((low as i32 >> 31) as u32),
                };
                d.case.state.gpr[RDX] =
                    if row.mnemonic == Mnemonic::Idiv { high } else { d.r.below(3) };
            }
        }
        Mnemonic::Bound if d.r.permille(600) => within(d, i),
        Mnemonic::Cmpxchg => equal_half_of_the_time(d, i, memory),
        Mnemonic::Cmpxchg8b | Mnemonic::Cmpxchg16b if d.r.below(2) == 0 => {
            let wide = row.mnemonic == Mnemonic::Cmpxchg16b;
            let s = &d.case.state;
            let (low, high) = (s.gpr[RAX].to_le_bytes(), s.gpr[RDX].to_le_bytes());
            let half = if wide { 8 } else { 4 };
            if let Some(p) = d.case.patches.last_mut().filter(|p| p.bytes.len() == 2 * half) {
                p.bytes[..half].copy_from_slice(&low[..half]);
                p.bytes[half..].copy_from_slice(&high[..half]);
            }
        }
        _ => {}
    }
    if takes_selector(row) && !memory {
        selector(d, i);
    }
    if matches!(row.code.flow_control(), FlowControl::IndirectBranch | FlowControl::IndirectCall)
        && !memory
    {
        let n = holder(i.op0_register())?;
        if !d.free(n) {
            return None;
        }
        let far = d.r.permille(20);
        let to = d.target();
        let to = match d.case.mode {
            Mode::Bits64 if far => 1 << 63,
            _ if far && i.op0_register().is_gpr32() => to + d.beyond(),
            _ => to,
        };
        d.pin(n, to)?;
    }
    Some(())
}

/// Whether the source is a selector.
pub(super) fn takes_selector(row: &Row) -> bool {
    use Mnemonic::*;
    matches!(row.mnemonic, Lar | Lsl | Verr | Verw | Les | Lds | Lss)
        || matches!(row.code, Code::Mov_Sreg_rm16 | Code::Mov_Sreg_r32m16)
}

/// A selector worth trying in the last operand.
fn selector(d: &mut Draft, i: &Instruction) {
    let last = i.op_register(i.op_count() - 1);
    if let Some(n) = holder(last).filter(|n| d.free(*n)) {
        let v = d.case.state.gpr[n] & !0xFFFF | u64::from(d.r.pick(&SELECTORS));
        d.case.state.gpr[n] = v;
    }
}

/// Bounds around what BOUND compares with them.
fn within(d: &mut Draft, i: &Instruction) {
    let Some(n) = holder(i.op0_register()).filter(|n| !d.gpr_written[*n]) else { return };
    let v = d.case.state.gpr[n];
    let (low, high) = (v.wrapping_sub(d.r.below(4)), v.wrapping_add(d.r.below(4)));
    let half = i.op0_register().size();
    d.pinned[n] = true;
    if let Some(p) = d.case.patches.last_mut().filter(|p| p.bytes.len() == 2 * half) {
        p.bytes[..half].copy_from_slice(&low.to_le_bytes()[..half]);
        p.bytes[half..].copy_from_slice(&high.to_le_bytes()[..half]);
    }
}

/// CMPXCHG finds what it expects in half of the cases.
fn equal_half_of_the_time(d: &mut Draft, i: &Instruction, memory: bool) {
    if d.r.below(2) == 0 {
        return;
    }
    let rax = d.case.state.gpr[RAX];
    if memory {
        if let Some(p) = d.case.patches.last_mut().filter(|p| p.bytes.len() <= 8) {
            let n = p.bytes.len();
            p.bytes.copy_from_slice(&rax.to_le_bytes()[..n]);
        }
    } else if let Some(n) = holder(i.op0_register()).filter(|n| d.free(*n)) {
        d.case.state.gpr[n] = rax;
    }
}

/// RSP (and RBP where used) for instructions that use the stack.
fn stack(d: &mut Draft, row: &Row) -> Option<()> {
    if !row.op.is_stack_instruction() {
        return Some(());
    }
    if d.gpr_written[RSP] {
        return None;
    }
    let was_pinned = d.pinned[RSP];
    if !was_pinned {
        let end = WINDOWS[1] + WINDOW_SIZE;
        let at = match d.r.below(60) {
            0 => WINDOWS[1] + d.r.below(10),
            1 => end - d.r.below(10),
            2 => STACK + d.r.below(64),
            3 if !d.block => address(d, 8),
            _ => STACK - 0x400 + 8 * d.r.below(256),
        };
        pin_stack(d, RSP, at)?;
    }
    // The linear address of what is on top.
    let rsp = match d.case.mode {
        Mode::Bits16 => d.case.mode.base(Register::SS) + (d.case.state.gpr[RSP] & 0xFFFF),
        _ => d.case.state.gpr[RSP],
    };
    match row.mnemonic {
        // Inside a block RSP has moved by an amount that nobody tracks.
        Mnemonic::Ret if d.block && was_pinned => return None,
        Mnemonic::Ret => {
            let to = d.target().to_le_bytes();
            d.patch(rsp, to.to_vec());
        }
        Mnemonic::Popf | Mnemonic::Popfd | Mnemonic::Popfq => {
            // Neither TF, which would trap in the harness, nor AC and the virtual-8086 bits.
            let v = d.r.next() & 0xCD5;
            d.patch(rsp, v.to_le_bytes().to_vec());
        }
        Mnemonic::Pop
            if row
                .op
                .op_kinds()
                .iter()
                .any(|k| matches!(k, Kind::es | Kind::ss | Kind::ds | Kind::fs | Kind::gs)) =>
        {
            let v = d.r.pick(&SELECTORS);
            d.patch(rsp, v.to_le_bytes().to_vec());
        }
        Mnemonic::Leave | Mnemonic::Enter => {
            let at = STACK + 8 * d.r.below(64);
            let near_guard = d.r.permille(20);
            if !d.pinned[RBP] {
                pin_stack(d, RBP, if near_guard { WINDOWS[1] + 4 } else { at })?;
            } else {
                return None;
            }
        }
        _ => {}
    }
    Some(())
}

/// Gives RSP or RBP a linear address; of a 16-bit stack only the low half is used.
fn pin_stack(d: &mut Draft, n: usize, at: u64) -> Option<()> {
    let width = d.case.mode.bits();
    let at = compat::reach(d, Register::SS, width, at);
    let value = compat::offset(d, Register::SS, width, at) | dirt(d, width);
    d.pin(n, value)
}

/// The index lanes and base of a gather.
pub(super) fn vsib(
    d: &mut Draft,
    i: &mut Instruction,
    at: u64,
    first: Register,
    element: u32,
) -> Option<u64> {
    let index = d.r.below(d.case.mode.registers()) as usize;
    let base = d.r.below(d.case.mode.registers()) as usize;
    if d.vector_written[index] || !d.free(base) || d.block {
        return None;
    }
    let wide = d.case.mode.is_64();
    i.set_memory_base(if wide { Register::RAX } else { Register::EAX } + base as u32);
    let default = if base == RSP || base == RBP { Register::SS } else { Register::DS };
    let segment = compat::segment(d, i, default, 32);
    let at = compat::reach(d, segment, 32, at);
    i.set_memory_index(first + index as u32);
    i.set_memory_index_scale(1 << d.r.below(4));
    i.set_memory_displ_size(1);
    let disp = i64::from(rng::integer(&mut d.r, 8) as u8 as i8);
    i.set_memory_displacement64(disp as u64);
    let spread = d.r.pick(&[8, 64, 64, 64, 600]);
    for q in 0..4 {
        let mut lane = || d.r.below(2 * spread) as i64 - spread as i64;
        d.case.state.ymm[index][q] = match element {
            4 => u64::from(lane() as u32) | (lane() as u64) << 32,
            _ => lane() as u64,
        };
    }
    let offset = d.case.mode.offset(segment, at);
    d.pin(base, offset.wrapping_sub(disp as u64))?;
    Some(at)
}
