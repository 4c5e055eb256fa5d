//! Jumps into other pages: whether the page of code is where it was when the jump was made.
//!
//! There are so many of these that the code for it is shared: what is in the caches is worth more than the call.

use super::asm::{Alu, Asm, Hole, Mark, NOT_EQUAL, RAX, RCX, RDX, Rm, Shift};
use super::body::{context, core, tlb_entry};
use super::miss::{page_of, tlb_index};
use crate::clif::rip_at;
use crate::native;
use cpu::{Mode, Width};
use memory::PAGE;

/// Code to be called with a linear address in RAX, and the number in RAM of the page in RCX where that was. The flag "equal" says
/// that it still is, by this set of the TLB. It uses RDX. `ram`: where the host has RAM.
pub fn same_page(set: usize, ram: u64) -> Vec<u8> {
    let mut a = Asm::default();
    let entry = |field| tlb_entry(RDX, native::tlb_at(set) + field);
    page_of(&mut a, RAX);
    tlb_index(&mut a, RDX, RAX);
    a.alu(Alu::Cmp, Width::W64, RAX, entry(native::TAG_EXEC));
    let other = a.jcc(NOT_EQUAL);
    a.alu(Alu::Add, Width::W64, RAX, entry(native::ADDEND));
    a.constant(RDX, ram);
    a.alu(Alu::Sub, Width::W64, RAX, Rm::R(RDX));
    a.shift(Shift::Shr, Width::W64, Rm::R(RAX), PAGE.trailing_zeros() as u8);
    a.alu(Alu::Cmp, Width::W64, RAX, Rm::R(RCX));
    a.land(other);
    a.ret();
    a.code
}

/// Adds to RIP what leads to RAM offset `at`, as far as that is known, and gives two jumps: where it does not, and where it does.
/// `from`: the RAM offset of the code, if that may be kept. Uses RAX, RCX and RDX.
pub fn go(a: &mut Asm, mode: Mode, delta: i32, at: u64, from: Option<u64>) -> [Hole; 2] {
    a.load(Width::W64, RAX, core(rip_at()));
    a.lea(Width::W64, RAX, Rm::M(RAX, delta));
    a.store(Width::W64, core(rip_at()), RAX);
    a.constant(RCX, page_number(at).into());
    if let Some(from) = from {
        a.mark(4, Mark::Page(at.wrapping_sub(from) as i64));
    }
    a.call(context(native::SAME_PAGE + size_of::<u64>() as i32 * mode.code_set() as i32));
    [a.jcc(NOT_EQUAL), a.jmp()]
}
/// The number in RAM of the page of a RAM offset. There is no RAM where it has more bits.
pub fn page_number(at: u64) -> u32 {
    (at / PAGE) as u32
}
