//! The return stack: a CALL of the guest is a call of the host's, too, so that a RET finds by itself where to go on, and the
//! host foresees it.
//!
//! A frame on the host's stack is the host's return address, and above it the guest's. A RET that finds the address it goes to there
//! returns; one that does not looks a few frames further up, since some may be left over, and else it searches. Nothing depends
//! on frames: whoever leaves native code, or does an instruction after which other code may be where a frame was made, goes
//! back to where the stack began, and all are gone.

use super::asm::{Alu, Asm, BELOW, Hole, NOT_EQUAL, RAX, RCX, RSP, Rm};
use super::body::{Body, come_in, context, core, load_left, store_left};
use super::far;
use crate::clif::rip_at;
use crate::{native, plan};
use cpu::{Insn, Width};
use iced_x86::FlowControl;

/// Bytes of a frame.
const FRAME: i32 = 16;
/// So many frames may be there.
const MOST: i32 = 512;
/// So many are looked at.
const LOOKED_AT: i32 = 3;
/// No RET that gets as far as a comparison goes there: the address is not canonical.
const NOWHERE: u64 = 1 << 63;

/// What an instruction at a block's end is for the return stack.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Call,
    Ret,
    Other,
}
pub fn kind(i: &Insn) -> Kind {
    match i.iced().flow_control() {
        FlowControl::Call | FlowControl::IndirectCall => Kind::Call,
        FlowControl::Return if plan::returns(i) => Kind::Ret,
        _ => Kind::Other,
    }
}

/// Makes the stack's beginning, right above the return address of the call that comes next: words that no RET goes to, where
/// frames would have the guest's address. Gives how many words that are; they keep the stack aligned. Uses RCX.
pub fn begin(a: &mut Asm) -> i32 {
    let words = 2 * LOOKED_AT - 1;
    a.lea(Width::W64, RSP, Rm::M(RSP, -8 * words));
    a.constant(RCX, NOWHERE);
    (0..LOOKED_AT).for_each(|n| a.store(Width::W64, Rm::M(RSP, FRAME * n), RCX));
    come_in(a);
    load_left(a);
    a.lea(Width::W64, RCX, Rm::M(RSP, -8));
    a.store(Width::W64, context(native::STACK_TOP), RCX);
    a.lea(Width::W64, RCX, Rm::M(RCX, -FRAME * MOST));
    a.store(Width::W64, context(native::STACK_END), RCX);
    words
}
/// The jump where there is no room for a frame.
pub fn full(a: &mut Asm) -> Hole {
    a.alu(Alu::Cmp, Width::W64, RSP, context(native::STACK_END));
    a.jcc(BELOW)
}
/// No frame is there any more.
pub fn reset(a: &mut Asm) {
    a.load(Width::W64, RSP, context(native::STACK_TOP));
}
/// Leaves native code. `alone`: see [`Body::alone`].
pub fn leave(a: &mut Asm, alone: bool, code: u64) {
    if alone {
        return a.jmp_to(context(native::LEAVE + size_of::<u64>() as i32 * code as i32));
    }
    a.small(RAX, code as i8);
    reset(a);
    a.ret();
}
/// What that is for all code that is alone.
pub fn leaving(code: u64) -> Vec<u8> {
    let mut a = Asm::default();
    store_left(&mut a);
    leave(&mut a, false, code);
    a.code
}
/// Takes what is left of a frame, behind the call that made it. RIP is its page, or all of it if code of another page is next. Uses
/// RAX.
pub fn pop(a: &mut Asm, near: bool) {
    a.pop(RAX);
    if !near {
        a.store(Width::W64, core(rip_at()), RAX);
    }
}
/// Returns to a place whose address is in this register.
fn back(a: &mut Asm, h: u8) {
    far::come(a, h);
    a.ret();
}
/// For a RET whose address, which is in RAX, was not on top.
pub fn astray(a: &mut Asm, search: u32) {
    a.store(Width::W64, core(rip_at()), RAX);
    for n in 1..LOOKED_AT {
        a.alu(Alu::Cmp, Width::W64, RAX, Rm::M(RSP, FRAME * n + 8));
        let other = a.jcc(NOT_EQUAL);
        a.lea(Width::W64, RSP, Rm::M(RSP, FRAME * n));
        back(a, RAX);
        a.land(other);
    }
    a.jmp_back(search);
}

impl Body<'_> {
    /// The guest's half of a frame, for a CALL behind which comes the instruction so far from where RIP is. The host's call
    /// comes next.
    pub fn push_frame(&mut self, next: i32) {
        let x = self.rip_of(next);
        let again = self.asm.here();
        let hole = full(&mut self.asm);
        self.full.push((hole, again));
        self.asm.push(x);
    }
    /// Returns by the frame on top, if that is for the address in this register, which is nobody else's any more; gives the jump where
    /// it is not.
    pub fn ret_by_frame(&mut self, h: u8) -> Hole {
        self.asm.alu(Alu::Cmp, Width::W64, h, Rm::M(RSP, 8));
        let other = self.asm.jcc(NOT_EQUAL);
        back(&mut self.asm, h);
        other
    }
    /// Where there is no room for a frame.
    pub fn write_full(&mut self) {
        for (hole, back) in std::mem::take(&mut self.full) {
            self.asm.land(hole);
            reset(&mut self.asm);
            self.asm.jmp_back(back);
        }
    }
}
