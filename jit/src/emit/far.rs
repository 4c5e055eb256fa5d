//! Jumps into other pages: whether the page of code is where it was when the jump was made.
//!
//! There are so many of these that the code for it is shared: what is in the caches is worth more than the call.

use super::asm::{Alu, Asm, Hole, NOT_EQUAL, RAX, RCX, RDX, Rm, Shift};
use super::body::{context, tlb_entry};
use super::miss::{page_of, tlb_index};
use crate::native;
use cpu::{Mode, Width};
use memory::PAGE;

/// Sets of the TLB that code is fetched by.
pub const SETS: usize = 2;

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

/// Asks whether the address in RAX is in the page of RAM offset `at`, and gives the jump where it is not. Uses RAX, RCX and RDX.
pub fn other_page(a: &mut Asm, mode: Mode, at: u64) -> Hole {
    a.constant(RCX, at / PAGE);
    a.call(context(native::SAME_PAGE + size_of::<u64>() as i32 * mode.code_set() as i32));
    a.jcc(NOT_EQUAL)
}
