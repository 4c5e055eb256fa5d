//! Jumps into other pages: whether the page of code is where it was when the jump was made.
//!
//! There are so many of these that the code for it is shared: what is in the caches is worth more than the call.

use super::asm::{Alu, Asm, Mark, NOT_EQUAL, RAX, RCX, RDI, RDX, RSI, RSP, Rm, Shift};
use super::body::{Body, context, core, tlb_entry};
use super::frames;
use super::miss::{here_or_aside, page_of, tlb_index};
use super::ways::Ways;
use crate::clif::rip_at;
use crate::native;
use cpu::Width;
use memory::PAGE;

/// Code comes to RIP, which is in `x`: its page takes its place, as it is while code runs. See [`super::Source::alone`].
pub fn come(a: &mut Asm, x: u8) {
    page_of(a, x);
    a.store(Width::W64, core(rip_at()), x);
}

/// Code to be called with how far from RIP, which is at a page's start, a place is in EAX, and the number in RAM of its page in ECX as
/// that was. If it still is, by this set of the TLB, its page is RIP; else it does not come back, but searches. It uses RAX, RCX,
/// RDX and RSI. `ram`: where the host has RAM; `call`: a frame comes next, for which there is room then.
pub fn same_page(set: usize, ram: u64, call: bool) -> Vec<u8> {
    let mut a = Asm::default();
    a.load_signed(Width::W32, Width::W64, RAX, Rm::R(RAX));
    a.alu(Alu::Add, Width::W64, RAX, core(rip_at()));
    a.mov(RSI, RAX);
    page_of(&mut a, RAX);
    tlb_index(&mut a, RDX, RAX);
    let tag = native::tlb_at(set) + native::TAG_EXEC;
    let other = here_or_aside(&mut a, RAX, RDX, tag);
    // What leads there is where the host has that page, less the address.
    a.shift(Shift::Shl, Width::W64, Rm::R(RCX), PAGE.trailing_zeros() as u8);
    a.alu(Alu::Sub, Width::W64, RCX, tlb_entry(RDX, native::tlb_at(set) + native::ADDEND));
    a.alu(Alu::Sub, Width::W64, RCX, Rm::R(RAX));
    a.constant(RDX, ram.wrapping_neg());
    a.alu(Alu::Cmp, Width::W64, RCX, Rm::R(RDX));
    let moved = a.jcc(NOT_EQUAL);
    a.store(Width::W64, core(rip_at()), RAX);
    if call {
        let full = frames::full(&mut a);
        a.ret();
        a.land(full);
        a.pop(RAX);
        frames::reset(&mut a);
        a.jmp_to(Rm::R(RAX));
    } else {
        a.ret();
    }
    a.land(moved);
    a.land(other);
    a.store(Width::W64, core(rip_at()), RSI);
    a.lea(Width::W64, RSP, Rm::M(RSP, 8));
    a.jmp_to(context(native::search_in(set)));
    a.code
}

/// A place in another page: how far it is from RIP, which is at a page's start, and where it is in RAM, as far as that is known.
pub struct Far {
    pub delta: i32,
    pub at: u64,
    /// RAM offset of the code that goes there, if that may be kept.
    pub from: Option<u64>,
}
impl Far {
    /// Goes on there only if that is where it is.
    fn look(&self, b: &mut Body<'_>, call: bool) {
        b.asm.constant(RAX, (self.delta as u32).into());
        b.asm.constant(RCX, page_number(self.at).into());
        if let Some(from) = self.from {
            b.asm.mark(4, Mark::Page(self.at.wrapping_sub(from) as i64));
        }
        b.asm.call(context(native::same_page_at(b.mode, call)));
    }
    /// Goes there.
    pub fn go(&self, b: &mut Body<'_>, ways: &mut Ways) {
        self.look(b, false);
        ways.links.push((b.asm.jmp(), self.at));
    }
    /// Calls it, for a CALL behind which comes the instruction so far from RIP.
    pub fn call(&self, b: &mut Body<'_>, ways: &mut Ways, next: i32) {
        let mut x = b.rip_of(next);
        if [RAX, RCX, RDX, RSI].contains(&x) {
            b.asm.mov(RDI, x);
            x = RDI;
        }
        self.look(b, true);
        b.asm.push(x);
        ways.links.push((b.asm.call_near(), self.at));
    }
}
/// The number in RAM of the page of a RAM offset. There is no RAM where it has more bits.
pub fn page_number(at: u64) -> u32 {
    (at / PAGE) as u32
}
