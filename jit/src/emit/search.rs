//! Where native code goes on whose target only the guest knows: by the branch targets, or by the TLB and the table of jumps.

use super::asm::{Alu, Asm, EQUAL, NOT_EQUAL, R8, RAX, RCX, RDI, RDX, RSI, Rm, Shift};
use super::body::{Body, CORE, come_in, context, core, core_table, load_left, tlb_entry};
use super::miss::{call, here_or_aside, page_of, tlb_index};
use super::{aligned, far, frames};
use crate::clif::{leave, rip_at};
use crate::native::{self, BIAS, Cx};
use ::memory::{BranchTarget, DATA_SETS, TARGET_MASK, TARGET_PART, TARGET_ROWS};
use cpu::Width;
use std::mem::offset_of;

/// The parts of a branch target with this offset: the address, the mode, the code.
fn target(at: u8, set: usize) -> [Rm; 3] {
    let target = |field: usize| core_table(at, native::targets_at(set) + field as i32);
    let (linear, mode) = (offset_of!(BranchTarget, linear), offset_of!(BranchTarget, mode));
    [linear, mode, offset_of!(BranchTarget, code)].map(target)
}

/// Code that finds where to go on, and where this tier enters it: everybody, and whoever has not found a RET's frame.
pub struct Search {
    pub code: Vec<u8>,
    pub inner: u32,
    pub astray: u32,
}

/// Code that goes on at RIP. If that is not among the branch targets, the TLB says where it is in RAM, and the engine's table which
/// code it has in this mode.
/// `n`: see [`native::search_number`]; `alone`: see [`super::Source::alone`].
pub fn search(n: usize, alone: bool) -> Search {
    let (set, alone) = (DATA_SETS + (n & 1), alone && n & 2 != 0);
    let [linear, mode, code] = target(R8, set);
    let mut a = Asm::default();
    come_in(&mut a);
    if alone {
        load_left(&mut a);
    }
    let inner = a.here();
    a.load(Width::W64, RAX, core(rip_at()));
    a.mov(R8, RAX);
    a.alu_constant(Alu::And, Width::W32, Rm::R(R8), TARGET_MASK);
    a.load(Width::W32, RDI, core(native::MODE));
    a.load(Width::W64, RDX, context(native::ARENA));
    a.alu(Alu::Cmp, Width::W64, RAX, linear);
    let new = a.jcc(NOT_EQUAL);
    a.alu(Alu::Cmp, Width::W32, RDI, mode);
    let new_mode = a.jcc(NOT_EQUAL);
    a.load(Width::W32, RSI, code);
    a.alu(Alu::Add, Width::W64, RDX, Rm::R(RSI));
    if alone {
        far::come(&mut a, RAX);
    }
    a.jmp_to(Rm::R(RDX));

    a.land(new);
    a.land(new_mode);
    tlb_index(&mut a, RCX, RAX);
    a.mov(RSI, RAX);
    page_of(&mut a, RSI);
    let entry = |field| tlb_entry(RCX, native::tlb_at(set) + field);
    let other = here_or_aside(&mut a, RSI, RCX, native::tlb_at(set) + native::TAG_EXEC);
    a.alu(Alu::Add, Width::W64, RAX, entry(native::ADDEND));
    a.mov(RCX, RAX);
    a.shift(Shift::Shr, Width::W64, Rm::R(RCX), 12);
    a.alu(Alu::Xor, Width::W64, RCX, Rm::R(RAX));
    a.alu_constant(Alu::And, Width::W64, Rm::R(RCX), native::JUMP_SLOTS as i32 - 1);
    a.shift(Shift::Shl, Width::W64, Rm::R(RCX), native::JUMP_BITS as u8);
    a.alu(Alu::Add, Width::W64, RCX, context(native::JUMPS));
    a.mov(RSI, RDI);
    a.shift(Shift::Shl, Width::W64, Rm::R(RSI), native::KEY_MODE);
    a.alu(Alu::Xor, Width::W64, RSI, Rm::R(RAX));
    a.alu(Alu::Cmp, Width::W64, RSI, Rm::M(RCX, native::JUMP_KEY));
    let here = a.jcc(EQUAL);
    a.alu_constant(Alu::Xor, Width::W64, Rm::R(RCX), 1 << native::JUMP_BITS);
    a.alu(Alu::Cmp, Width::W64, RSI, Rm::M(RCX, native::JUMP_KEY));
    let unknown = a.jcc(NOT_EQUAL);
    a.land(here);
    // It becomes a branch target, and its row is used.
    a.load(Width::W64, RSI, Rm::M(RCX, native::JUMP_CODE));
    a.load(Width::W64, RCX, core(rip_at()));
    a.store(Width::W64, linear, RCX);
    a.store(Width::W32, mode, RDI);
    a.mov(RAX, RSI);
    a.alu(Alu::Sub, Width::W64, RAX, Rm::R(RDX));
    a.store(Width::W32, code, RAX);
    a.shift(Shift::Shr, Width::W64, Rm::R(RCX), TARGET_PART);
    a.small(RAX, 1);
    a.shift_cl(Shift::Shl, Width::W32, Rm::R(RAX));
    a.shift(Shift::Shr, Width::W64, Rm::R(RCX), 5);
    a.alu_constant(Alu::And, Width::W32, Rm::R(RCX), TARGET_ROWS as i32 - 1);
    let used = Rm::X(CORE, RCX, 2, native::targets_used_at(set) - BIAS);
    a.alu_to(Alu::Or, Width::W32, used, RAX);
    if alone {
        a.load(Width::W64, RAX, linear);
        far::come(&mut a, RAX);
    }
    a.jmp_to(Rm::R(RSI));
    a.land(other);
    a.mov(RDX, RAX);
    aligned(&mut a, |a| call(a, offset_of!(Cx, find)));
    a.test(Width::W32, Rm::R(RAX), RAX);
    let bad = a.jcc(NOT_EQUAL);
    a.jmp_back(inner);
    a.land(bad);
    a.land(unknown);
    frames::leave(&mut a, alone, leave::JUMP);
    let astray = a.here();
    frames::astray(&mut a, inner);
    Search { code: a.code, inner, astray }
}

impl Body<'_> {
    /// Goes to the place in `h`: the code for it is in a register to jump to, what is remembered of it, or the search.
    pub fn code_of(&mut self, h: u8) -> u8 {
        self.pinned |= 1 << h;
        let (t, code) = (self.fresh(), self.fresh());
        let set = self.mode.code_set();
        let [linear, mode, offset] = target(t, set);
        self.asm.mov(t, h);
        self.asm.alu_constant(Alu::And, Width::W32, Rm::R(t), TARGET_MASK);
        self.asm.alu(Alu::Cmp, Width::W64, h, linear);
        let new = self.asm.jcc(NOT_EQUAL);
        self.asm.alu_constant(Alu::Cmp, Width::W32, mode, self.mode.0 as i32);
        let new_mode = self.asm.jcc(NOT_EQUAL);
        self.asm.load(Width::W32, code, offset);
        self.asm.alu(Alu::Add, Width::W64, code, context(native::ARENA));
        self.asm.mov(t, h);
        far::come(&mut self.asm, t);
        self.unknown.push(([new, new_mode], h, code, self.asm.here()));
        code
    }
    /// Where it is not known which code is next.
    pub fn write_unknown(&mut self) {
        let search = context(native::search_at(self.mode));
        for (holes, to, code, back) in std::mem::take(&mut self.unknown) {
            holes.into_iter().for_each(|h| self.asm.land(h));
            self.asm.store(Width::W64, core(rip_at()), to);
            self.asm.load(Width::W64, code, search);
            self.asm.jmp_back(back);
        }
    }
}
