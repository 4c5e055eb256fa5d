//! Code that all probes share which miss the TLB: it looks aside, and calls helpers.

use super::asm::{
    Alu, Asm, EQUAL, Hole, NOT_EQUAL, One, R8, RAX, RCX, RDI, RDX, RSI, RSP, Rm, Shift,
};
use super::body::{CX, STACK, context, core, pass_on, tlb_entry};
use super::vector::avx;
use crate::native::{self, Cx};
use ::memory::{DATA_SETS, OTHER, PAGE, TLB_SIZE};
use cpu::Width;
use std::mem::offset_of;

/// What helpers do not keep: the host's convention.
pub const CALLERS: [u8; 9] = [RAX, RCX, RDX, RSI, RDI, R8, 9, 10, 11];

/// What is done where a probe misses, by a helper.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Miss {
    Load,
    Store,
    /// Finds the addend for a place that is to be read and written.
    Refill,
}
impl Miss {
    pub const ALL: [Miss; 3] = [Miss::Load, Miss::Store, Miss::Refill];
    /// Where the helper is in [`Cx`], and how it is told of so many bytes.
    pub fn helper(self, bytes: u64) -> (usize, u64) {
        match self {
            Miss::Load => (offset_of!(Cx, load), 8 * bytes),
            Miss::Store => (offset_of!(Cx, store), 8 * bytes),
            Miss::Refill => (offset_of!(Cx, refill), bytes),
        }
    }
}

/// Sets of the TLB for data.
pub const SETS: usize = DATA_SETS;
/// How many thunks there are, which all probes that miss call: each for four widths and three sets, once more for where
/// vector registers are in use, and all of them for what was not in the page of the stack.
pub const THUNKS: usize = 4 * KINDS;
const KINDS: usize = 4 * SETS * Miss::ALL.len();

/// The number of a thunk; `vectors`: vector registers are in use; `stack`: it was not in the page of the stack.
pub fn number(m: Miss, w: Width, set: usize, vectors: bool, stack: bool) -> usize {
    let kind = 4 * (SETS * m as usize + set % SETS) + w.bytes().trailing_zeros() as usize;
    kind + KINDS * (usize::from(vectors) + 2 * usize::from(stack))
}
/// All thunks, by their numbers.
pub fn thunks() -> impl Iterator<Item = (usize, Vec<u8>)> {
    let widths = [Width::W8, Width::W16, Width::W32, Width::W64];
    let all = widths.into_iter().flat_map(|w| (0..SETS).map(move |set| (w, set)));
    let of = move |m| all.clone().map(move |(w, set)| (m, w, set));
    Miss::ALL.into_iter().flat_map(of).flat_map(|(m, w, set)| {
        [false, true].into_iter().flat_map(move |vectors| {
            let [plain, stack] = [false, true].map(|stack| number(m, w, set, vectors, stack));
            [(plain, thunk(m, w, set, vectors)), (stack, stack_thunk(m, w, set, plain))]
        })
    })
}

/// Bytes of the vector registers on the stack.
pub const VECTORS: i32 = 16 * 32;
/// Stores the vector registers on the stack, all of them or their low halves, or loads them from there.
pub fn keep_vectors(a: &mut Asm, whole: bool, load: bool) {
    for x in 0..16 {
        let at = Rm::M(RSP, 32 * i32::from(x));
        if load { a.load_wide(whole, x, at) } else { a.store_wide(whole, at, x) }
    }
}

/// Code to be called that keeps the registers which helpers do not, and the host's flags as `body` leaves them. That has `room`
/// bytes of the stack, and is told how far up is what stands above the return address.
pub fn keeping(room: i32, body: impl FnOnce(&mut Asm, i32)) -> Vec<u8> {
    let mut a = Asm::default();
    CALLERS.iter().for_each(|r| a.push(*r));
    a.lea(Width::W64, RSP, Rm::M(RSP, -room));
    body(&mut a, room + 8 * CALLERS.len() as i32 + 8);
    a.lea(Width::W64, RSP, Rm::M(RSP, room));
    CALLERS.iter().rev().for_each(|r| a.pop(*r));
    a.ret();
    a.code
}

/// A thunk. On the stack are the address, and above it what is to be stored; what was read, or the addend, is where the address was.
/// The flag "not equal" says that tier 0 has to do it.
fn thunk(m: Miss, w: Width, set: usize, vectors: bool) -> Vec<u8> {
    let mut a = Asm::default();
    aside(&mut a, m, w, set, false);
    a.code.extend(missed(m, w, vectors));
    a.code
}
/// A thunk for what was not in the page of the stack: another page becomes that if it may be read and written. Else it goes on in
/// thunk `n`.
fn stack_thunk(m: Miss, w: Width, set: usize, n: usize) -> Vec<u8> {
    let mut a = Asm::default();
    aside(&mut a, m, w, set, true);
    a.jmp_to(context(native::THUNK + 8 * n as i32));
    a.code
}
/// The page of the stack is that of `la` from now on, to which `addend` leads.
pub fn stack_is(a: &mut Asm, addend: Rm, la: u8) {
    let [page, to] = STACK;
    a.load(Width::W64, to, addend);
    a.mov(page, la);
    page_of(a, page);
    a.one(One::Neg, Width::W64, Rm::R(page));
}
/// What [`look`] uses besides the address.
pub const LOOKS: [u8; 3] = [RAX, RCX, RDX];
/// Has the addend of the page of `la` in RAX, which is in its place in the TLB or aside; gives the jump where it is neither.
pub fn look(a: &mut Asm, la: u8, m: Miss, bytes: u32, set: usize) -> Hole {
    let tag = if m == Miss::Load { native::TAG_READ } else { native::TAG_WRITE };
    let entry = |field| tlb_entry(RAX, native::tlb_at(set) + field);
    // Regions by Cranelift come here, too.
    tlb_index_by_itself(a, RAX, la);
    a.lea(Width::W64, RCX, Rm::M(la, bytes as i32 - 1));
    page_of(a, RCX);
    let other = here_or_aside(a, RCX, RAX, native::tlb_at(set) + tag);
    a.load(Width::W64, RAX, entry(native::ADDEND));
    other
}
/// Looks for the tag `page` at `tag` of the entry `index`, and where the page is if another one took that place; gives the jump where
/// it is neither.
pub fn here_or_aside(a: &mut Asm, page: u8, index: u8, tag: i32) -> Hole {
    a.alu(Alu::Cmp, Width::W64, page, tlb_entry(index, tag));
    let here = a.jcc(EQUAL);
    a.alu_constant(Alu::Xor, Width::W64, Rm::R(index), OTHER as i32);
    a.alu(Alu::Cmp, Width::W64, page, tlb_entry(index, tag));
    let other = a.jcc(NOT_EQUAL);
    a.land(here);
    other
}
/// Does it if the page is in one of the two places where it may be; `stack`: and may be written, too, and becomes that of the stack.
fn aside(a: &mut Asm, m: Miss, w: Width, set: usize, stack: bool) {
    let address = Rm::M(RSP, 8 * LOOKS.len() as i32 + 8);
    let value = Rm::M(RSP, 8 * LOOKS.len() as i32 + 16);
    LOOKS.iter().for_each(|r| a.push(*r));
    a.load(Width::W64, RDX, address);
    let other = look(a, RDX, if stack { Miss::Store } else { m }, w.bytes() as u32, set);
    if stack {
        stack_is(a, Rm::R(RAX), RDX);
        a.alu(Alu::Cmp, Width::W64, RAX, Rm::R(RAX));
    }
    let there = Rm::X(RAX, RDX, 0, 0);
    match m {
        Miss::Load => {
            a.load(w, RCX, there);
            a.store(Width::W64, address, RCX);
        }
        Miss::Store => {
            a.load(Width::W64, RCX, value);
            a.store(w, there, RCX);
        }
        Miss::Refill => a.store(Width::W64, address, RAX),
    }
    // The flag "equal" is there since the comparison.
    LOOKS.iter().rev().for_each(|r| a.pop(*r));
    a.ret();
    a.land(other);
    LOOKS.iter().rev().for_each(|r| a.pop(*r));
}
fn missed(m: Miss, w: Width, vectors: bool) -> Vec<u8> {
    let (helper, about) = m.helper(w.bytes());
    // The stack is aligned for the call: one word is there for a load, two are for a store.
    let room = if m == Miss::Store { 8 } else { 0 } + if vectors { VECTORS } else { 0 };
    keeping(room, |a, first| {
        if vectors {
            keep_vectors(a, avx(), false);
        }
        a.load(Width::W64, RDX, Rm::M(RSP, first));
        if m == Miss::Store {
            a.load(Width::W64, R8, Rm::M(RSP, first + 8));
        }
        a.constant(RCX, about);
        call(a, helper);
        a.test(Width::W32, Rm::R(RAX), RAX);
        if m != Miss::Store {
            a.load(Width::W64, RAX, context(native::VALUE));
            a.store(Width::W64, Rm::M(RSP, first), RAX);
        }
        if vectors {
            keep_vectors(a, avx(), true);
        }
    })
}

/// Calls function `at` of [`Cx`]; what it wants besides the core and the context is in its registers.
pub fn call(a: &mut Asm, at: usize) {
    pass_on(a);
    a.call(context(at as i32));
}
/// Looks for the entry of `la`, and has its index in `x`; gives the jump where it is there.
pub fn look_again(a: &mut Asm, x: u8, la: u8, bytes: i32, tag: i32, set: usize) -> Hole {
    let t = [RAX, RCX, RDX].into_iter().find(|t| *t != x && *t != la).unwrap_or(RAX);
    a.push(t);
    tlb_index(a, x, la);
    a.lea(Width::W64, t, Rm::M(la, bytes - 1));
    page_of(a, t);
    a.alu(Alu::Cmp, Width::W64, t, tlb_entry(x, native::tlb_at(set) + tag));
    a.pop(t);
    a.jcc(EQUAL)
}
/// `x`, the index of the entry of `la`, becomes the host's address.
pub fn placed(a: &mut Asm, x: u8, la: u8, set: usize) {
    a.load(Width::W64, x, tlb_entry(x, native::tlb_at(set) + native::ADDEND));
    a.alu(Alu::Add, Width::W64, x, Rm::R(la));
}
/// An address becomes that of its page.
pub fn page_of(a: &mut Asm, x: u8) {
    a.alu(Alu::And, Width::W64, x, core(native::page_bits_at()));
}
/// `index` becomes the number of the entry of `la` in the TLB.
pub fn tlb_index(a: &mut Asm, index: u8, la: u8) {
    if super::has_counts() {
        // The register has the number of the first bit and how many there are: see `native::CONTEXT_BIAS`.
        return a.bits(Width::W64, index, la, CX);
    }
    tlb_index_by_itself(a, index, la);
}
/// The same without the context.
fn tlb_index_by_itself(a: &mut Asm, index: u8, la: u8) {
    a.mov(index, la);
    a.shift(Shift::Shr, Width::W64, Rm::R(index), PAGE.trailing_zeros() as u8);
    a.alu_constant(Alu::And, Width::W32, Rm::R(index), TLB_SIZE as i32 - 1);
}
