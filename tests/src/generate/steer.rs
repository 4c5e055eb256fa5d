//! What an instruction needs of the registers to do something worth testing.

use super::Draft;
use super::operand::{address, holder};
use super::rows::Row;
use crate::case::{LANDING, RSP, STACK, WINDOW_SIZE, WINDOWS};
use crate::rng;
use iced_x86::{FlowControl, Instruction, Mnemonic, OpKind, Register};

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
                let high = d.case.state.gpr[RAX] as i64 >> 63;
                d.case.state.gpr[RDX] =
                    if row.mnemonic == Mnemonic::Idiv { high as u64 } else { d.r.below(3) };
            }
        }
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
    if matches!(row.code.flow_control(), FlowControl::IndirectBranch | FlowControl::IndirectCall)
        && !memory
    {
        let n = holder(i.op0_register())?;
        if !d.free(n) {
            return None;
        }
        let far = d.r.permille(20);
        let to = LANDING + d.r.below(0x800);
        d.pin(n, if far { 1 << 63 } else { to })?;
    }
    Some(())
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
            3 if !d.block => address(&mut d.r, 8),
            _ => STACK - 0x400 + 8 * d.r.below(256),
        };
        d.pin(RSP, at)?;
    }
    let rsp = d.case.state.gpr[RSP];
    match row.mnemonic {
        // Inside a block RSP has moved by an amount that nobody tracks.
        Mnemonic::Ret if d.block && was_pinned => return None,
        Mnemonic::Ret => {
            let to = (LANDING + d.r.below(0x800)).to_le_bytes();
            d.patch(rsp, to.to_vec());
        }
        Mnemonic::Popf | Mnemonic::Popfd | Mnemonic::Popfq => {
            // Neither TF, which would trap in the harness, nor AC and the virtual-8086 bits.
            let v = d.r.next() & 0xCD5;
            d.patch(rsp, v.to_le_bytes().to_vec());
        }
        Mnemonic::Leave | Mnemonic::Enter => {
            let at = STACK + 8 * d.r.below(64);
            let near_guard = d.r.permille(20);
            if !d.pinned[RBP] {
                d.pin(RBP, if near_guard { WINDOWS[1] + 4 } else { at })?;
            } else {
                return None;
            }
        }
        _ => {}
    }
    Some(())
}

/// The index lanes and base of a gather.
pub(super) fn vsib(
    d: &mut Draft,
    i: &mut Instruction,
    at: u64,
    first: Register,
    element: u32,
) -> Option<()> {
    let index = d.r.below(16) as usize;
    let base = d.r.below(16) as usize;
    if d.vector_written[index] || !d.free(base) || d.block {
        return None;
    }
    i.set_memory_base(Register::RAX + base as u32);
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
    d.pin(base, at.wrapping_sub(disp as u64))
}
