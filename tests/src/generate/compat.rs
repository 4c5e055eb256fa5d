//! Memory operands outside of 64-bit mode: segments that have bases and limits, and 16-bit addresses.

use super::Draft;
use super::operand::{displacement_size, draw_index};
use crate::case::{CODE, CODE_SIZE, LANDING_SIZE, WINDOW_SIZE, WINDOWS};
use crate::mode::Mode;
use crate::rng;
use iced_x86::{FlowControl, Instruction, Register};

/// Bases and indices of 16-bit addresses.  SDM vol. 2, table 2-1.
const WORD: [(Register, Register); 8] = [
    (Register::BX, Register::SI),
    (Register::BX, Register::DI),
    (Register::BP, Register::SI),
    (Register::BP, Register::DI),
    (Register::SI, Register::None),
    (Register::DI, Register::None),
    (Register::BP, Register::None),
    (Register::BX, Register::None),
];

/// How many bits an address has: mostly what the code's size says.
pub(super) fn width(d: &mut Draft) -> u32 {
    let other = match d.case.mode {
        Mode::Bits64 => return 64,
        Mode::Bits32 => d.r.permille(150),
        Mode::Bits16 => d.r.permille(250),
    };
    if other == (d.case.mode == Mode::Bits32) { 16 } else { 32 }
}

/// The segment that an operand uses, with a prefix if need be.
pub(super) fn segment(
    d: &mut Draft,
    i: &mut Instruction,
    default: Register,
    width: u32,
) -> Register {
    // A branch must find what was put there for it.
    let branches = i.code().flow_control() != FlowControl::Next;
    let chosen = match d.case.mode {
        Mode::Bits64 => return default,
        // Only there is something in the low 64 KiB.
        Mode::Bits32 if width == 16 && d.r.permille(850) => Register::ES,
        _ if branches => default,
        _ if d.r.permille(120) => {
            d.r.pick(&[Register::ES, Register::CS, Register::SS, Register::DS])
        }
        _ => default,
    };
    if chosen != default || d.r.permille(60) {
        i.set_segment_prefix(chosen);
    }
    chosen
}

/// The linear address nearest to what is wanted that a segment and an address width can reach.
pub(super) fn reach(d: &mut Draft, segment: Register, width: u32, at: u64) -> u64 {
    let mode = d.case.mode;
    if mode.is_64() {
        return at;
    }
    if mode == Mode::Bits16 && segment == Register::CS {
        // Of the code segment only the landing place holds the same in all columns.
        return CODE + CODE_SIZE + d.r.below(LANDING_SIZE - 64);
    }
    if mode == Mode::Bits32 && width == 32 {
        return at & 0xFFFF_FFFF;
    }
    // As far from the segment's window as it was from one.
    let near = |w: &&u64| at.wrapping_sub(**w).wrapping_add(64) < WINDOW_SIZE + 128;
    let Some(from) = WINDOWS.iter().find(near) else { return at & 0xFFFF_FFFF };
    let base = mode.base(segment);
    let to = WINDOWS.iter().find(|w| w.wrapping_sub(base) < 0x1_0000).unwrap_or(&WINDOWS[0]);
    to.wrapping_add(at.wrapping_sub(*from))
}

/// The offset in a segment, as an address of some width names it.
pub(super) fn offset(d: &Draft, segment: Register, width: u32, at: u64) -> u64 {
    let offset = d.case.mode.offset(segment, at);
    if width == 16 { offset & 0xFFFF } else { offset }
}

/// Base, index, scale, displacement and segment that add up to an address near `at`: that one.
pub(super) fn modrm(d: &mut Draft, i: &mut Instruction, at: u64) -> Option<u64> {
    match width(d) {
        16 => word(d, i, at),
        _ => double(d, i, at),
    }
}

fn word(d: &mut Draft, i: &mut Instruction, at: u64) -> Option<u64> {
    let (base, index) = d.r.pick(&WORD);
    let alone = d.r.below(12) == 0;
    let default = if base == Register::BP && !alone { Register::SS } else { Register::DS };
    let s = segment(d, i, default, 16);
    let at = reach(d, s, 16, at);
    let mut rest = offset(d, s, 16, at);
    if alone {
        i.set_memory_displ_size(2);
        i.set_memory_displacement64(rest);
        return Some(at);
    }
    i.set_memory_base(base);
    i.set_memory_index(index);
    let numbers: Vec<usize> = [base, index]
        .iter()
        .filter(|r| **r != Register::None)
        .map(|r| r.full_register().number())
        .collect();
    if numbers.iter().any(|n| d.gpr_written[*n]) {
        return None;
    }
    // One register makes up what is missing, or else the displacement does.
    let taker = numbers.iter().copied().find(|n| d.free(*n));
    for n in numbers.iter().copied().filter(|n| Some(*n) != taker) {
        let v = d.case.state.gpr[n];
        d.pin(n, v)?;
        rest = rest.wrapping_sub(v);
    }
    let displacement = match taker {
        None => rest as u16,
        Some(n) => {
            let v = match d.r.below(4) {
                0 => 0,
                1 => rng::integer(&mut d.r, 16) as u16,
                _ => i16::from(rng::integer(&mut d.r, 8) as u8 as i8) as u16,
            };
            let low = rest.wrapping_sub(u64::from(v)) & 0xFFFF;
            let high = d.case.state.gpr[n] & !0xFFFF;
            d.pin(n, high | low)?;
            v
        }
    };
    let size = displacement_size(d, i32::from(displacement as i16), 2);
    i.set_memory_displ_size(size);
    i.set_memory_displacement64(u64::from(displacement));
    Some(at)
}

fn double(d: &mut Draft, i: &mut Instruction, at: u64) -> Option<u64> {
    let (base, index) = (d.r.below(8) as usize, d.r.below(8) as usize);
    let with_base = d.r.below(12) != 0;
    let with_index = d.r.below(2) == 0 && index != 4;
    let default = if with_base && (base == 4 || base == 5) { Register::SS } else { Register::DS };
    let s = segment(d, i, default, 32);
    let at = reach(d, s, 32, at);
    let mut rest = offset(d, s, 32, at) as u32;
    if with_index {
        let scale = 1u32 << d.r.below(4);
        i.set_memory_index(Register::EAX + index as u32);
        i.set_memory_index_scale(scale);
        draw_index(d, index)?;
        rest = rest.wrapping_sub((d.case.state.gpr[index] as u32).wrapping_mul(scale));
    }
    if !with_base {
        i.set_memory_displ_size(4);
        i.set_memory_displacement64(rest.into());
        return Some(at);
    }
    i.set_memory_base(Register::EAX + base as u32);
    let displacement = if d.free(base) {
        let v = match d.r.below(4) {
            0 => 0,
            1 => rng::integer(&mut d.r, 32) as i32,
            _ => i32::from(rng::integer(&mut d.r, 8) as u8 as i8),
        };
        d.pin(base, rest.wrapping_sub(v as u32).into())?;
        v
    } else if d.gpr_written[base] {
        return None;
    } else {
        rest.wrapping_sub(d.case.state.gpr[base] as u32) as i32
    };
    let size = displacement_size(d, displacement, 4);
    i.set_memory_displ_size(size);
    i.set_memory_displacement64((displacement as u32).into());
    Some(at)
}
