//! What regions call where a probe of the TLB misses: code that keeps every register, so that the way without a miss, which
//! is nearly all, pays nothing for the call.

use super::asm::{Asm, R8, RAX, RCX, RDI, RDX, RSI, RSP, Rm};
use super::body::core;
use super::memory::{Miss, keeping};
use crate::native;
use cpu::Width;

/// Powers of two: bytes of an access.
const SIZES: usize = 6;
/// The number of the code that makes the host compute as the guest's MXCSR says.
pub const FLOATS: usize = Miss::ALL.len() * SIZES;
/// How many pieces of code there are.
pub const MISSES: usize = FLOATS + 1;

/// The number of the code for so many bytes. It takes the linear address, and what is to be stored; what was read is in
/// [`native::Cx::value`], and [`native::BAD`] says whether tier 0 has to do the access.
pub fn number(m: Miss, bytes: u32) -> usize {
    SIZES * m as usize + bytes.trailing_zeros() as usize
}

/// All of them, by their numbers.
pub fn all() -> impl Iterator<Item = (usize, Vec<u8>)> {
    let sizes = || (0..SIZES).map(|n| 1 << n);
    let misses =
        Miss::ALL.into_iter().flat_map(move |m| sizes().map(move |n| (number(m, n), code(m, n))));
    misses.chain([(FLOATS, floats())])
}

/// Bytes of the vector registers. With the others and the return address they keep the stack aligned.
const VECTORS: i32 = 16 * 16;

fn code(m: Miss, bytes: u32) -> Vec<u8> {
    let (helper, about) = m.helper(bytes.into());
    let place = |x: u8| Rm::M(RSP, 16 * i32::from(x));
    keeping(VECTORS, |a, _| {
        (0..16).for_each(|x| a.store_vector(place(x), x));
        a.mov(RDX, RDI);
        if m == Miss::Store {
            a.mov(R8, RSI);
        }
        a.constant(RCX, about);
        a.load(Width::W64, RSI, core(native::context_at()));
        a.lea(Width::W64, RDI, core(0));
        a.call(Rm::M(RSI, helper as i32));
        a.load(Width::W64, RSI, core(native::context_at()));
        a.store(Width::W64, Rm::M(RSI, native::BAD), RAX);
        (0..16).for_each(|x| a.load_vector(x, place(x)));
    })
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
