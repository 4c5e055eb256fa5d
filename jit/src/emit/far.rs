//! Jumps into other pages: whether the page of code is where it was when the jump was made.
//!
//! There are so many of these that the code for it is shared: what is in the caches is worth more than the call.

use super::asm::{Alu, Asm, Mark, NOT_EQUAL, RAX, RCX, RDX, Rm, Shift};
use super::body::{Body, context, core, tlb_entry};
use super::miss::{here_or_aside, tlb_index};
use super::ways::Ways;
use crate::clif::rip_at;
use crate::native;
use cpu::Width;
use memory::PAGE;

/// Code to be called with the linear address of a page in RAX, and the number in RAM of the page in RCX where that was. The flag
/// "equal" says that it still is, by this set of the TLB: RIP is there then. It uses RDX and RCX. `ram`: where the host has RAM.
pub fn same_page(set: usize, ram: u64) -> Vec<u8> {
    let mut a = Asm::default();
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
    a.land(moved);
    a.land(other);
    a.ret();
    a.code
}

/// Goes so far from where RIP is, which is at a page's start, to RAM offset `at`, as far as that is known. `from`: the RAM offset of the
/// code, if that may be kept. Uses RAX, RCX and RDX.
pub fn go(b: &mut Body<'_>, ways: &mut Ways, delta: i64, at: u64, from: Option<u64>) {
    let (a, low) = (&mut b.asm, delta.rem_euclid(PAGE as i64) as i32);
    a.load(Width::W64, RAX, core(rip_at()));
    a.lea(Width::W64, RAX, Rm::M(RAX, delta as i32 - low));
    a.constant(RCX, page_number(at).into());
    if let Some(from) = from {
        a.mark(4, Mark::Page(at.wrapping_sub(from) as i64));
    }
    a.call(context(native::same_page_at(b.mode)));
    ways.lost.push((a.jcc(NOT_EQUAL), low));
    ways.links.push((a.jmp(), at));
}
/// The number in RAM of the page of a RAM offset. There is no RAM where it has more bits.
pub fn page_number(at: u64) -> u32 {
    (at / PAGE) as u32
}
