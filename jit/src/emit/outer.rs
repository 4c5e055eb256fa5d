//! What regions call where a probe of the TLB misses: code that keeps every register, so that the way without a miss, which
//! is nearly all, pays nothing for the call.

use super::asm::{Asm, R8, RAX, RCX, RDI, RDX, RSI, RSP, Rm};
use super::body::core;
use super::memory::CALLERS;
use crate::native::{self, Cx};
use cpu::Width;
use std::mem::offset_of;

/// What is done.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Miss {
    /// `(la)`; what was read is in [`Cx::value`].
    Load,
    /// `(la, v)`
    Store,
    /// `(la)`: makes the TLB's entry for a place that is to be read and written.
    Refill,
}
/// The number of the code that makes the host compute as the guest's MXCSR says.
pub const FLOATS: usize = KINDS.len() * SIZES;
const KINDS: [Miss; 3] = [Miss::Load, Miss::Store, Miss::Refill];
/// Powers of two: bytes of an access.
const SIZES: usize = 6;
/// How many pieces of code there are.
pub const MISSES: usize = FLOATS + 1;

/// The number of the code for so many bytes.
pub fn number(m: Miss, bytes: u32) -> usize {
    SIZES * m as usize + bytes.trailing_zeros() as usize
}

/// All of them, by their numbers. Each calls a helper and notes in [`Cx::bad`] whether tier 0 has to do the access.
pub fn all() -> impl Iterator<Item = (usize, Vec<u8>)> {
    let misses = KINDS
        .into_iter()
        .flat_map(move |m| (0..SIZES).map(move |n| (number(m, 1 << n), code(m, 1 << n))));
    misses.chain([(FLOATS, floats())])
}

/// Bytes of the vector registers.
const VECTORS: i32 = 16 * 16;

fn code(m: Miss, bytes: u32) -> Vec<u8> {
    let (helper, about) = match m {
        Miss::Load => (offset_of!(Cx, load), 8 * bytes),
        Miss::Store => (offset_of!(Cx, store), 8 * bytes),
        Miss::Refill => (offset_of!(Cx, refill), bytes),
    };
    let mut a = Asm::default();
    CALLERS.iter().for_each(|r| a.push(*r));
    // Nine words and the return address: the stack is aligned.
    a.lea(Width::W64, RSP, Rm::M(RSP, -VECTORS));
    (0..16).for_each(|x| a.store_vector(Rm::M(RSP, 16 * i32::from(x)), x));
    a.mov(RDX, RDI);
    if m == Miss::Store {
        a.mov(R8, RSI);
    }
    a.constant(RCX, about.into());
    a.load(Width::W64, RSI, core(native::context_at()));
    a.lea(Width::W64, RDI, core(0));
    a.call(Rm::M(RSI, helper as i32));
    a.load(Width::W64, RSI, core(native::context_at()));
    a.store(Width::W64, Rm::M(RSI, native::BAD), RAX);
    (0..16).for_each(|x| a.load_vector(x, Rm::M(RSP, 16 * i32::from(x))));
    a.lea(Width::W64, RSP, Rm::M(RSP, VECTORS));
    CALLERS.iter().rev().for_each(|r| a.pop(*r));
    a.ret();
    a.code
}

fn floats() -> Vec<u8> {
    let mut a = Asm::default();
    a.push(RAX);
    a.load(Width::W64, RAX, core(native::context_at()));
    a.store_constant(Width::W64, Rm::M(RAX, native::FLOATS), 1);
    a.load_mxcsr(core(native::mxcsr_at()));
    a.pop(RAX);
    a.ret();
    a.code
}
