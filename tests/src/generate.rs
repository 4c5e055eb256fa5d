//! Random instructions, and cases made of them: the same seed gives the same cases for ever.
//!
//! For a `Code` of iced-x86 the operand kinds say which operands it can have; each is made at
//! random, memory operands so that they (mostly) hit the windows, and the encoder makes bytes of
//! it. A decoder must read the same `Code` back. What is needed of registers and memory for the
//! instruction to do something sensible (addresses, counts, divisors) is put into the state.

mod compat;
mod operand;
mod rows;
mod steer;

pub use rows::{Row, rows, rows_of};

use crate::case::{CODE, CODE_SIZE, Case, LANDING_SIZE, Patch, RSP, State};
use crate::mode::Mode;
use crate::policy;
use crate::rng::Rng;
use iced_x86::{
    Decoder, DecoderOptions, Encoder, Instruction, InstructionInfoFactory, OpAccess, OpKind,
    Register,
};

/// Makes cases.
pub struct Generator {
    rows: Vec<Row>,
    mode: Mode,
    /// How many cases in a row have the same code, each with a state of its own. (Code that stays need not be compiled
    /// again.)
    pub states: u64,
    encoder: Encoder,
    info: InstructionInfoFactory,
}

/// A case in the making.
struct Draft {
    r: Rng,
    case: Case,
    /// In a block of several instructions.
    block: bool,
    /// General registers whose value something relies on.
    pinned: [bool; 16],
    /// Registers that an earlier instruction of the block has written.
    gpr_written: [bool; 16],
    vector_written: [bool; 16],
    /// Flags with undefined values at this point of the block.
    undefined: u32,
}

impl Generator {
    /// A generator of 64-bit code over the given rows.
    pub fn new(rows: Vec<Row>) -> Generator {
        Generator::of(Mode::Bits64, rows)
    }

    /// A generator of code of some size over the given rows, which must exist there.
    pub fn of(mode: Mode, rows: Vec<Row>) -> Generator {
        assert!(!rows.is_empty(), "no instruction matches");
        Generator {
            rows,
            mode,
            states: 1,
            encoder: Encoder::new(mode.bits()),
            info: InstructionInfoFactory::new(),
        }
    }

    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// A case of one instruction of any row.
    pub fn single(&mut self, seed: u64, index: u64) -> Case {
        let row = Rng::of(seed, index / self.states).below(self.rows.len() as u64) as usize;
        self.of_row(row, seed, index)
    }

    /// A case of one instruction of the given row.
    pub fn of_row(&mut self, row: usize, seed: u64, index: u64) -> Case {
        let case = self.try_row(row, seed, index);
        case.unwrap_or_else(|| panic!("cannot make an instance of {:?}", self.rows[row].code))
    }

    fn try_row(&mut self, row: usize, seed: u64, index: u64) -> Option<Case> {
        let row = self.rows[row];
        let (index, variant) = (index / self.states, index % self.states);
        (0..500).find_map(|attempt: u64| {
            let mut d =
                Draft::new(self.mode, seed, index.wrapping_add(attempt << 48), variant, false);
            self.add(&mut d, row).map(|()| d.case)
        })
    }

    /// A case of several instructions, of which only the last may be a branch.
    pub fn block(&mut self, seed: u64, index: u64) -> Case {
        let mut d = Draft::new(self.mode, seed, index / self.states, index % self.states, true);
        let count = 3 + d.r.below(10) as usize;
        let mut attempts = 0;
        while d.case.count < count && attempts < 200 {
            attempts += 1;
            let row = self.rows[d.r.below(self.rows.len() as u64) as usize];
            if row.branches && d.case.count + 1 != count {
                continue;
            }
            let kept = (d.case.clone(), d.pinned);
            if self.add(&mut d, row).is_none() {
                (d.case, d.pinned) = kept;
            }
        }
        d.case
    }

    /// Appends an instance of a row to the draft.
    fn add(&mut self, d: &mut Draft, row: Row) -> Option<()> {
        let ip = d.case.state.rip + d.case.code.len() as u64;
        let mut i = operand::instance(d, &row, ip)?;
        steer::registers(d, &row, &mut i)?;
        let bytes = self.encode(d, &row, &i, ip)?;
        let decoded = decode(self.mode, &bytes, ip);
        if decoded.code() != row.code || decoded.len() != bytes.len() {
            return None;
        }
        if decoded.rflags_read() & d.undefined != 0 || d.block && policy::only_alone(&decoded) {
            return None;
        }
        let defined = if policy::may_keep_flags(&decoded) { 0 } else { decoded.rflags_modified() };
        d.undefined = d.undefined & !defined | policy::undefined_bits(&decoded);
        self.note_effects(d, &decoded);
        d.case.code.extend(bytes);
        d.case.count += 1;
        Some(())
    }

    fn encode(&mut self, d: &mut Draft, row: &Row, i: &Instruction, ip: u64) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        if row.legacy && d.r.permille(30) && (!has_memory(i) || self.mode.is_64()) {
            // Segment prefixes without meaning (in 64-bit mode they never have one); so are branch hints.
            bytes.push(d.r.pick(&[0x26, 0x2E, 0x36, 0x3E]));
        }
        if row.free_rep && d.r.permille(10) {
            bytes.push(d.r.pick(&[0xF2, 0xF3]));
        }
        self.encoder.set_vex_wig(d.r.below(2) as u32);
        self.encoder.set_vex_lig(d.r.below(2) as u32);
        self.encoder.set_prevent_vex2(d.r.permille(100));
        self.encoder.encode(i, ip + bytes.len() as u64).ok()?;
        let made = self.encoder.take_buffer();
        bytes.extend(made);
        (bytes.len() <= 15).then_some(bytes)
    }

    /// Notes what later instructions of a block may no longer rely on.
    fn note_effects(&mut self, d: &mut Draft, i: &Instruction) {
        let info = self.info.info(i);
        for u in info.used_registers() {
            if !writes(u.access()) {
                continue;
            }
            let full = u.register().full_register();
            if let Some(n) = gpr_number(full) {
                // Stack instructions move RSP a little: it still points into the window.
                let named = (0..i.op_count()).any(|k| operand::holder(i.op_register(k)) == Some(n));
                d.gpr_written[n] |= n != RSP || named || !i.is_stack_instruction();
            } else if full.is_vector_register() {
                d.vector_written[full.number() & 15] = true;
            }
        }
        d.case.writes |= info.used_memory().iter().any(|m| writes(m.access()));
        // Forms whose effect iced does not list as a memory operand.
        d.case.writes |= i.is_stack_instruction();
    }
}

impl Draft {
    fn new(mode: Mode, seed: u64, index: u64, variant: u64, block: bool) -> Draft {
        let mut r = Rng::of(seed, index ^ 0x5EED_0000_0000_0000);
        let state_seed = (r.next() ^ variant << 1) | 1;
        let mut state = mode.adapt(State::from_seed(state_seed));
        // A slot of 256 bytes each: code is not written where code has run a moment ago.
        // The first page is not in the 16-bit code segment.
        let first = if mode == Mode::Bits16 { LANDING_SIZE } else { 0 };
        let slots = (CODE_SIZE - first) / 256;
        state.rip = mode.ip(CODE + first + index % slots * 256 + 32 + r.below(48));
        let case = Case {
            mode,
            code: Vec::new(),
            count: 0,
            seed: state_seed,
            state,
            mem_seed: 1 + seed.wrapping_mul(31).wrapping_add(index / 4096) % 64,
            patches: Vec::new(),
            writes: false,
        };
        Draft {
            r,
            case,
            block,
            pinned: [false; 16],
            gpr_written: [false; 16],
            vector_written: [false; 16],
            undefined: 0,
        }
    }

    /// Whether a register may be given a value now.
    fn free(&self, n: usize) -> bool {
        !self.pinned[n] && !self.gpr_written[n]
    }

    /// Gives a register a value that something relies on.
    fn pin(&mut self, n: usize, value: u64) -> Option<()> {
        let value = if self.case.mode.is_64() { value } else { value & 0xFFFF_FFFF };
        if self.gpr_written[n] || self.pinned[n] && self.case.state.gpr[n] != value {
            return None;
        }
        // Another instruction might read by it, and what is left of other cases there is not the same in all columns.
        if self.case.mode.is_64() && (CODE..CODE + CODE_SIZE).contains(&value) {
            return None;
        }
        self.case.state.gpr[n] = value;
        self.pinned[n] = true;
        Some(())
    }

    /// Where a branch may go.
    fn target(&mut self) -> u64 {
        self.case.mode.landing() + self.r.below(0x800)
    }

    /// What makes a target one beyond the limit of the code segment, if there is such a thing.
    fn beyond(&mut self) -> u64 {
        match self.case.mode {
            Mode::Bits16 => 1 << (16 + self.r.below(16)),
            _ => 0,
        }
    }

    fn patch(&mut self, at: u64, bytes: Vec<u8>) {
        self.case.patches.push(Patch { at, bytes });
    }
}

fn writes(a: OpAccess) -> bool {
    matches!(
        a,
        OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite
    )
}

/// The manual's number of a 64-bit register.
pub fn gpr_number(r: Register) -> Option<usize> {
    r.is_gpr64().then(|| r.number())
}

fn has_memory(i: &Instruction) -> bool {
    i.op_kinds().any(|k| {
        !matches!(k, OpKind::Register | OpKind::NearBranch16 | OpKind::NearBranch32)
            && !(OpKind::Immediate8..=OpKind::Immediate32to64).contains(&k)
    })
}

pub fn decode(mode: Mode, bytes: &[u8], ip: u64) -> Instruction {
    Decoder::with_ip(mode.bits(), bytes, ip, DecoderOptions::NONE).decode()
}

#[cfg(test)]
mod test;
