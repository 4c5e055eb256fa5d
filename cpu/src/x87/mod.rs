//! The x87 instructions, in plain Rust over the exact arithmetic of [`crate::soft::f80`].  SDM vol. 1, chapter 8.
//!
//! Every meaning begins with [`Interp::x87`] (is the unit there, is an exception waiting), reads its memory operand,
//! which may fault, and only then touches the registers.

mod arith;
mod compare;
mod control;
mod image;
mod transfer;

pub use arith::*;
pub use compare::*;
pub use control::*;
pub use image::*;
pub use transfer::*;

use crate::sem::operand::address;
use crate::soft::f80::{Env, F80, INDEFINITE};
use crate::soft::flag;
use crate::{Access, Exception, Insn, Interp, Mode, Opnd, Raised, Sem, Width};

type Done = Result<(), Raised>;

/// Status word: stack fault, exception summary, condition codes, busy.  SDM vol. 1, 8.1.3.
const SF: u16 = 1 << 6;
const ES: u16 = 1 << 7;
const C0: u16 = 1 << 8;
const C1: u16 = 1 << 9;
const C2: u16 = 1 << 10;
const C3: u16 = 1 << 14;
const BUSY: u16 = 1 << 15;
/// CR0.NE: exceptions come as #MF.
const NE: u64 = 1 << 5;

impl Interp<'_> {
    /// Begins an instruction that does not wait: #NM if the unit is not to be used.  SDM vol. 3A, 2.5.
    #[inline(always)]
    fn x87_no_wait(&mut self) -> Done {
        if self.c.mode.0 & (Mode::EM | Mode::TS) != 0 {
            return self.raise(Exception::NM);
        }
        Ok(())
    }

    /// Begins an instruction that waits: #MF if an unmasked exception is pending.
    #[inline(always)]
    fn x87_wait(&mut self) -> Done {
        self.x87_no_wait()?;
        if self.c.state.fpu.sw & ES != 0 && self.c.state.cr0 & NE != 0 {
            return self.raise(Exception::MF);
        }
        Ok(())
    }

    /// Begins an instruction that computes: it waits, and its address is kept.  The opcode and the operand's address
    /// stay as they are, as on processors that note them for unmasked exceptions only.
    #[inline(always)]
    fn x87(&mut self, i: &Insn) -> Result<Env, Raised> {
        self.x87_wait()?;
        let ip = self.c.state.rip.wrapping_sub(i.len as u64);
        let fpu = &mut self.c.state.fpu;
        fpu.ip = ip;
        Ok(Env::from_control(fpu.cw))
    }

    #[inline(always)]
    fn at(&self, n: u8) -> usize {
        (self.c.state.fpu.top.wrapping_add(n) & 7) as usize
    }

    /// What register `n` holds, empty or not.
    #[inline(always)]
    fn raw(&self, n: u8) -> F80 {
        let (k, fpu) = (self.at(n), &self.c.state.fpu);
        F80 { sig: fpu.sig[k], sign_exp: fpu.sexp[k] }
    }

    #[inline(always)]
    fn is_empty(&self, n: u8) -> bool {
        self.c.state.fpu.empty >> self.at(n) & 1 != 0
    }

    /// Register `n`, if it is not empty.
    #[inline(always)]
    fn st(&self, n: u8) -> Option<F80> {
        if self.is_empty(n) { None } else { Some(self.raw(n)) }
    }

    #[inline(always)]
    fn set_st(&mut self, n: u8, x: F80) {
        let k = self.at(n);
        let fpu = &mut self.c.state.fpu;
        (fpu.sig[k], fpu.sexp[k]) = (x.sig, x.sign_exp);
        fpu.empty &= !(1 << k);
    }

    #[inline(always)]
    fn pop(&mut self) {
        let k = self.at(0);
        let fpu = &mut self.c.state.fpu;
        fpu.empty |= 1 << k;
        fpu.top = fpu.top.wrapping_add(1) & 7;
    }

    #[inline(always)]
    fn grow(&mut self) {
        let fpu = &mut self.c.state.fpu;
        fpu.top = fpu.top.wrapping_sub(1) & 7;
    }

    /// ORs exceptions into the status word, sets C1, and works ES out.
    #[inline(always)]
    fn note(&mut self, env: &Env) {
        let fpu = &mut self.c.state.fpu;
        fpu.sw = fpu.sw & !C1 | env.flags as u16 | if env.c1 { C1 } else { 0 };
        if env.flags & !env.masks != 0 {
            fpu.sw |= ES | BUSY;
        }
    }

    /// A stack overflow (`over`) or underflow.  Whether it is masked, so that the instruction goes on with indefinites.
    #[cold]
    fn stack_fault(&mut self, over: bool, env: &mut Env) -> bool {
        env.flags |= flag::IE;
        env.c1 = over;
        self.c.state.fpu.sw |= SF;
        self.note(env);
        !env.aborted()
    }

    /// Pushes, if there is room.
    #[inline(always)]
    fn push(&mut self, x: F80, env: &mut Env) {
        if !self.is_empty(7) {
            if self.stack_fault(true, env) {
                self.grow();
                self.set_st(0, INDEFINITE);
            }
            return;
        }
        self.note(env);
        self.grow();
        self.set_st(0, x);
    }

    /// Sets the condition codes C0, C2, C3 among `mask`.
    #[inline(always)]
    fn codes(&mut self, mask: u16, codes: u16) {
        let fpu = &mut self.c.state.fpu;
        fpu.sw = fpu.sw & !mask | codes;
    }

    /// Reads `w` bits, `offset` bytes into the memory operand.
    #[inline(always)]
    fn x87_load(&mut self, i: &Insn, offset: u64, w: Width) -> Result<u64, Raised> {
        let at = address(self, i).wrapping_add(offset) & i.aw.mask();
        self.load(i.seg, w, at)
    }

    #[inline(always)]
    fn x87_store(&mut self, i: &Insn, offset: u64, w: Width, v: u64) -> Done {
        let at = address(self, i).wrapping_add(offset) & i.aw.mask();
        self.store(i.seg, w, at, v)
    }

    /// The 80 bits of a memory operand.
    fn load80(&mut self, i: &Insn, offset: u64) -> Result<F80, Raised> {
        let sig = self.x87_load(i, offset, Width::W64)?;
        let sign_exp = self.x87_load(i, offset.wrapping_add(8), Width::W16)? as u16;
        Ok(F80 { sig, sign_exp })
    }

    /// Faults now if a byte of the unit's image in memory cannot be had: its first field, `w` wide, and its last byte are
    /// tried, in this order, and what faults is the address of the fault (seen on Intel's processors).
    fn x87_probe_image(&mut self, i: &Insn, w: Width, a: Access) -> Done {
        let at = address(self, i);
        let la = self.linear(i.seg, at, i.bytes as u64, a)?;
        self.probe(la, w.bytes(), a)?;
        let last = la.wrapping_add(i.bytes as u64 - 1);
        self.probe(if self.c.state.long() { last } else { last & 0xffff_ffff }, 1, a)
    }

    /// Writes 80 bits: first the significand, which stays if the rest then faults.
    fn store80(&mut self, i: &Insn, offset: u64, x: F80) -> Done {
        self.x87_store(i, offset, Width::W64, x.sig)?;
        self.x87_store(i, offset.wrapping_add(8), Width::W16, x.sign_exp as u64)
    }
}

/// The number of a stack register operand.
#[inline(always)]
fn number(o: Opnd) -> u8 {
    match o {
        Opnd::St(n) => n,
        _ => 0,
    }
}
