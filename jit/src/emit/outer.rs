//! What regions call where a probe of the TLB misses, or a window is not on the page: code that keeps every register, so that
//! the other way, which is nearly all, pays nothing for the call.

use super::asm::{Alu, Asm, EQUAL, R8, RAX, RCX, RDI, RDX, RSI, Rm, Shift, Vector};
use super::body::{context, context_by, core};
use super::miss::{LOOKS, Miss, SETS, VECTORS, call, keep_vectors, keeping, look};
use super::vector;
use crate::native;
use cpu::flags::{self, Lazy};
use cpu::{FlagKind, State, Width};
use std::mem::offset_of;

/// Powers of two: bytes of an access.
const SIZES: usize = 6;
/// The number of the code that makes the host compute as the guest's MXCSR says.
pub const FLOATS: usize = SETS * Miss::ALL.len() * SIZES;
/// The number of the code that does VZEROUPPER. It uses XMM0.
pub const ZERO_UPPER: usize = FLOATS + 1;
/// The number of the code that makes the host's status flags those that are in the state; AF may differ. It keeps all registers
/// but vector registers.
pub const STATUS: usize = ZERO_UPPER + 1;
/// How many pieces of code there are.
pub const MISSES: usize = STATUS + 1;

/// The number of the code for so many bytes by this set of the TLB. It takes the linear address, and what is to be stored; what
/// was read, or the page's addend, is in [`native::Cx::value`], and [`native::BAD`] says whether tier 0 has to do the access.
pub fn number(m: Miss, bytes: u32, set: usize) -> usize {
    SIZES * (SETS * m as usize + set % SETS) + bytes.trailing_zeros() as usize
}

/// All of them, by their numbers.
pub fn all() -> impl Iterator<Item = (usize, Vec<u8>)> {
    let sizes = || (0..SETS).flat_map(|set| (0..SIZES).map(move |n| (1 << n, set)));
    let one = |m, (n, set)| (number(m, n, set), code(m, n, set));
    let misses = Miss::ALL.into_iter().flat_map(move |m| sizes().map(move |about| one(m, about)));
    misses.chain([(FLOATS, floats()), (ZERO_UPPER, zero_upper()), (STATUS, status())])
}

fn code(m: Miss, bytes: u32, set: usize) -> Vec<u8> {
    let mut a = Asm::default();
    if m == Miss::Refill || bytes <= 16 {
        hit(&mut a, m, bytes, set);
    }
    a.code.extend(missed(m, bytes));
    a.code
}
/// Does it if the TLB has an entry, in its place or aside.
fn hit(a: &mut Asm, m: Miss, bytes: u32, set: usize) {
    LOOKS.iter().for_each(|r| a.push(*r));
    let other = look(a, RDI, m, bytes, set);
    a.load(Width::W64, RDX, core(native::context_at()));
    let there = |at| Rm::X(RAX, RDI, 0, at);
    let value = |at| context_by(RDX, native::VALUE + at);
    match (m, Width::of_bytes(bytes.into())) {
        (Miss::Refill, _) => a.store(Width::W64, value(0), RAX),
        (Miss::Store, w) => a.store(w.unwrap_or(Width::W64), there(0), RSI),
        (Miss::Load, Some(w)) => {
            a.load(w, RCX, there(0));
            a.store(Width::W64, value(0), RCX);
        }
        (Miss::Load, None) => {
            for at in [0, 8] {
                a.load(Width::W64, RCX, there(at));
                a.store(Width::W64, value(at), RCX);
            }
        }
    }
    a.store_constant(Width::W64, context_by(RDX, native::BAD), 0);
    LOOKS.iter().rev().for_each(|r| a.pop(*r));
    a.ret();
    a.land(other);
    LOOKS.iter().rev().for_each(|r| a.pop(*r));
}

fn missed(m: Miss, bytes: u32) -> Vec<u8> {
    let (helper, about) = m.helper(bytes.into());
    keeping(VECTORS, |a, _| {
        // Regions have nothing in the upper halves.
        keep_vectors(a, false, false);
        a.mov(RDX, RDI);
        if m == Miss::Store {
            a.mov(R8, RSI);
        }
        a.constant(RCX, about);
        a.load(Width::W64, RSI, core(native::context_at()));
        a.lea(Width::W64, RSI, context_by(RSI, 0));
        a.lea(Width::W64, RDI, core(0));
        a.call(Rm::M(RSI, helper as i32));
        a.load(Width::W64, RSI, core(native::context_at()));
        a.store(Width::W64, context_by(RSI, native::BAD), RAX);
        keep_vectors(a, false, true);
    })
}

fn floats() -> Vec<u8> {
    let mut a = Asm::default();
    a.push(RAX);
    a.load(Width::W64, RAX, core(native::context_at()));
    a.store_constant(Width::W64, context_by(RAX, native::FLOATS), 1);
    a.load_mxcsr(core(native::mxcsr_at()));
    a.pop(RAX);
    a.ret();
    a.code
}
fn zero_upper() -> Vec<u8> {
    let mut a = Asm::default();
    const XORPS: u8 = 0x57;
    a.vector_insn(Vector { opcode: XORPS, ..Vector::default() });
    (0..16).for_each(|n| a.store_wide(false, vector::place(n, 1), 0));
    if vector::avx() {
        a.zero_upper();
    }
    a.ret();
    a.code
}
/// By what the flags arose from, as far as the host has it in few instructions.
fn status() -> Vec<u8> {
    let mut a = Asm::default();
    let lazy = |field: usize| {
        let at = offset_of!(cpu::Core, state) + offset_of!(State, lazy) + field;
        core(at as i32)
    };
    let [x, y, r] = [offset_of!(Lazy, a), offset_of!(Lazy, b), offset_of!(Lazy, r)].map(lazy);
    use FlagKind::*;
    use Width::*;
    // The commonest first.
    let kinds = [
        (Sub, W64),
        (Sub, W32),
        (Logic, W64),
        (Logic, W32),
        (Dec, W64),
        (Dec, W32),
        (Inc, W64),
        (Inc, W32),
        (Add, W64),
        (Add, W32),
        (Sub, W8),
        (Logic, W8),
        (Raw, W64),
        (Sub, W16),
        (Logic, W16),
        (Add, W8),
        (Add, W16),
        (Adc, W64),
        (Sbb, W64),
        (Adc, W32),
        (Sbb, W32),
    ];
    a.push(RAX);
    a.load(W8, RAX, lazy(offset_of!(Lazy, how)));
    let holes = kinds.map(|(kind, w)| {
        a.alu_constant(Alu::Cmp, W32, Rm::R(RAX), flags::how(kind, w).into());
        (a.jcc(EQUAL), kind, w)
    });
    a.pop(RAX);
    let mut slow = keeping(8, |a, _| {
        call(a, native::STATUS);
        a.store(W64, context(native::VALUE), RAX);
    });
    slow.pop();
    a.bytes(&slow);
    a.load_flags(context(native::VALUE));
    a.ret();
    for (hole, kind, w) in holes {
        a.land(hole);
        match kind {
            Raw => {
                a.pop(RAX);
                a.load_flags(r);
                a.ret();
                continue;
            }
            Sub => {
                a.load(W64, RAX, x);
                a.alu(Alu::Cmp, w, RAX, y);
            }
            Add => {
                a.load(W64, RAX, x);
                a.alu(Alu::Add, w, RAX, y);
            }
            Adc | Sbb => {
                // What the operands alone do not explain was the carry.
                let (from, less) = if kind == Sbb { (x, r) } else { (r, x) };
                a.load(W64, RAX, from);
                [less, y].into_iter().for_each(|v| a.alu(Alu::Sub, w, RAX, v));
                a.bit_test(RAX, 0);
                a.load(W64, RAX, x);
                a.alu(if kind == Sbb { Alu::Sbb } else { Alu::Adc }, w, RAX, y);
            }
            Inc | Dec => {
                a.load(W64, RAX, y);
                a.shift(Shift::Shr, W64, Rm::R(RAX), 1);
                a.load(W64, RAX, x);
                a.step(kind == Dec, w, Rm::R(RAX));
            }
            _ => {
                a.load(W64, RAX, r);
                a.test(w, Rm::R(RAX), RAX);
            }
        }
        a.pop(RAX);
        a.ret();
    }
    a.code
}
