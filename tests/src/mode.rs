//! The size of the code that a case is made of, and the segments that go with it.
//!
//! 64-bit code has flat segments. 32-bit code runs in compatibility mode with flat segments, too, but for ES, whose base
//! lets 16-bit addresses reach a window. 16-bit code (compatibility mode with D = 0) has segments of 64 KiB each: one for
//! code, with a landing place for branches at its end, and one for each window, which lies in the middle.
//!
//! What needs a base or a limit comes from a local descriptor table; the flat segments are those of every Linux process.

use crate::case::{CODE, CODE_SIZE, LANDING, LANDING_SIZE, RSP, START, State, WINDOWS};
use iced_x86::Register;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    Bits64,
    Bits32,
    Bits16,
}

/// A segment as both the emulator and the host's kernel are told of it.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    pub selector: u16,
    pub base: u64,
    /// The last byte.
    pub limit: u32,
    pub code: bool,
    /// D or B: 32-bit code, 32-bit stack.
    pub big: bool,
    /// L: 64-bit code.
    pub long: bool,
}

/// Where the segments begin that have a window in them.
const BEFORE: u64 = 0x4000;
const LOW: u64 = WINDOWS[0] - BEFORE;
const HIGH: u64 = WINDOWS[1] - BEFORE;
/// The last page of the 16-bit code segment is a landing place, mapped right behind the code window.
const CODE_16: u64 = CODE + LANDING_SIZE;

const fn local(index: u16, base: u64, limit: u32, code: bool, big: bool) -> Part {
    Part { selector: index << 3 | 7, base, limit, code, big, long: false }
}

const fn flat(selector: u16, code: bool, long: bool) -> Part {
    Part { selector, base: 0, limit: u32::MAX, code, big: !long, long }
}

const NULL: Part = Part { selector: 0, base: 0, limit: 0, code: false, big: false, long: false };
const USER_32: Part = flat(0x23, true, false);
const USER_DATA: Part = flat(0x2B, false, false);
const USER_64: Part = flat(0x33, true, true);
/// The local descriptor table, in order.
pub const LOCAL: [Part; 4] = [
    local(0, CODE_16, 0xFFFF, true, false),
    local(1, LOW, u32::MAX, false, true),
    local(2, LOW, 0xFFFF, false, false),
    local(3, HIGH, 0xFFFF, false, false),
];

impl Mode {
    pub const ALL: [Mode; 3] = [Mode::Bits64, Mode::Bits32, Mode::Bits16];

    pub fn bits(self) -> u32 {
        match self {
            Mode::Bits64 => 64,
            Mode::Bits32 => 32,
            Mode::Bits16 => 16,
        }
    }

    pub fn of_bits(bits: &str) -> Option<Mode> {
        Mode::ALL.into_iter().find(|m| m.bits().to_string() == bits)
    }

    pub fn is_64(self) -> bool {
        self == Mode::Bits64
    }

    /// How many registers of a kind there are.
    pub fn registers(self) -> u64 {
        if self.is_64() { 16 } else { 8 }
    }

    /// ES, CS, SS, DS.
    pub fn segments(self) -> [Part; 4] {
        match self {
            Mode::Bits64 => [NULL, USER_64, USER_DATA, NULL],
            Mode::Bits32 => [LOCAL[1], USER_32, USER_DATA, USER_DATA],
            Mode::Bits16 => [LOCAL[3], LOCAL[0], LOCAL[3], LOCAL[2]],
        }
    }

    /// The base of a segment register; FS and GS are not used.
    pub fn base(self, segment: Register) -> u64 {
        let n = segment as usize - Register::ES as usize;
        self.segments().get(n).map_or(0, |s| s.base)
    }

    /// The linear address of the instruction at an instruction pointer.
    pub fn code(self, ip: u64) -> u64 {
        self.base(Register::CS) + ip
    }

    /// The instruction pointer of a linear address in the code segment.
    pub fn ip(self, linear: u64) -> u64 {
        linear - self.base(Register::CS)
    }

    /// The instruction pointer where the landing place begins.
    pub fn landing(self) -> u64 {
        match self {
            Mode::Bits16 => self.ip(CODE + CODE_SIZE),
            _ => LANDING,
        }
    }

    /// The offset in a segment of a linear address, as a register of this mode's width holds it.
    pub fn offset(self, segment: Register, linear: u64) -> u64 {
        let offset = linear.wrapping_sub(self.base(segment));
        if self.is_64() { offset } else { offset & 0xFFFF_FFFF }
    }

    /// Makes a state one of this mode: no more than 32 bits in the registers that such code can name, and a stack
    /// pointer and instruction pointer that count from their segments. The registers that it cannot name stay: nothing
    /// may change them.
    pub fn adapt(self, mut s: State) -> State {
        if !self.is_64() {
            s.gpr[..8].iter_mut().for_each(|v| *v &= 0xFFFF_FFFF);
            s.gpr[RSP] = self.offset(Register::SS, s.gpr[RSP]);
            s.rip = match self {
                Mode::Bits16 => START - CODE,
                _ => START,
            };
        }
        s
    }
}
