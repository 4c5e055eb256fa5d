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
    /// The type, with the bit that says that it has been accessed.  SDM vol. 3, 3.4.5.1.
    pub kind: u32,
    pub present: bool,
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

const DATA: u32 = 3;
const READ_ONLY: u32 = 1;
const DOWN: u32 = 7;
const CODE_READ: u32 = 0xB;
const CODE_ONLY: u32 = 9;

const fn local(index: u16, base: u64, limit: u32, kind: u32, big: bool) -> Part {
    Part { selector: index << 3 | 7, base, limit, kind, present: true, big, long: false }
}

const fn flat(selector: u16, kind: u32, long: bool) -> Part {
    Part { selector, base: 0, limit: u32::MAX, kind, present: true, big: !long, long }
}

const NULL: Part = flat(0, 0, false);
const USER_32: Part = flat(0x23, CODE_READ, false);
const USER_DATA: Part = flat(0x2B, DATA, false);
const USER_64: Part = flat(0x33, CODE_READ, true);
/// What user code finds in Linux's global descriptor table.
pub const GLOBAL: [Part; 3] = [USER_32, USER_DATA, USER_64];
/// The local descriptor table, in order. The first four are used; the others are for instructions that load or look at
/// selectors.
pub const LOCAL: [Part; 8] = [
    local(0, CODE_16, 0xFFFF, CODE_READ, false),
    local(1, LOW, u32::MAX, DATA, true),
    local(2, LOW, 0xFFFF, DATA, false),
    local(3, HIGH, 0xFFFF, DATA, false),
    local(4, LOW, 0x7FFF, READ_ONLY, false),
    local(5, HIGH, 0x3FFF, DOWN, false),
    local(6, CODE, 0xFFFF, CODE_ONLY, true),
    Part { present: false, ..local(7, LOW, 0xFFFF, DATA, true) },
];
/// Selectors worth trying: those of both tables, null ones, the kernel's, and what is beyond the tables.
pub const SELECTORS: [u16; 24] = [
    0, 1, 2, 3, 0x23, 0x20, 0x2B, 0x28, 0x2B, 0x33, 7, 6, 0xF, 0xD, 0x17, 0x1F, 0x1F, 0x27, 0x2F,
    0x37, 0x3F, 0x10, 0x47, 0xFFFB,
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
            s.seg = self.segments().map(|p| p.selector);
            s.gpr[RSP] = self.offset(Register::SS, s.gpr[RSP]);
            s.rip = match self {
                Mode::Bits16 => START - CODE,
                _ => START,
            };
        }
        s
    }
}
