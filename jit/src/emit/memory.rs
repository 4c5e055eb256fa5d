//! Guest memory: the probe of the TLB as in `softmmu`, and calls of helpers where it misses.

use super::asm::{Alu, Hole, RAX, RCX, RDX, RSP, Rm, Shift};
use super::body::{Body, CORE, CX, V};
use crate::clif::rip_at;
use crate::native::{self, Cx};
use cpu::{SegReg, Width};
use std::mem::offset_of;

const RSI: u8 = 6;
const RDI: u8 = 7;
const R8: u8 = 8;
/// What helpers do not keep: the host's convention.
const CALLERS: u16 = 1 << RAX | 1 << RCX | 1 << RDX | 1 << RSI | 1 << RDI | 0b1111 << R8;
const NOT_EQUAL: u8 = 5;

/// What is done where a probe misses.
#[derive(Clone, Copy)]
enum Way {
    /// Into a register.
    Load(Width, u8),
    Store(Width, u8),
    /// The TLB's entry is made, and the probe's end is done again.
    Refill(u64),
}

/// A probe that missed.
pub struct Slow {
    hole: Hole,
    back: u32,
    way: Way,
    la: u8,
    exit: usize,
    /// Registers that are in use then.
    used: u16,
}

impl Body<'_> {
    pub fn load_state(&mut self, at: i32) -> V {
        let t = self.fresh();
        self.asm.load(Width::W64, t, Rm::M(CORE, at));
        V::R(t, u64::MAX)
    }
    pub fn store_state(&mut self, at: i32, v: V) {
        self.changed = true;
        let h = self.reg(v);
        self.asm.store(Width::W64, Rm::M(CORE, at), h);
    }
    /// The linear address `delta` bytes from the block's start.
    pub fn rip(&mut self, delta: i32) -> V {
        let t = self.fresh();
        self.asm.load(Width::W64, t, Rm::M(CORE, rip_at()));
        if self.mode.long64() {
            self.asm.lea(Width::W64, t, Rm::M(t, delta));
            return V::R(t, u64::MAX);
        }
        self.asm.lea(Width::W32, t, Rm::M(t, delta));
        V::R(t, 0xffff_ffff)
    }
    /// The linear address of a segment offset, in a register.
    pub fn linear(&mut self, seg: SegReg, at: V) -> u8 {
        let based = matches!(seg, SegReg::Fs | SegReg::Gs);
        if !self.mode.long64() && (based || seg == SegReg::Cs) {
            // Limits and rights of these are not part of the mode.
            self.misfit = true;
            return 0;
        }
        if !based {
            return self.reg(at);
        }
        let t = self.copy(at);
        self.clobber();
        self.asm.alu(Alu::Add, Width::W64, t, Rm::M(CORE, native::base_at(seg as usize)));
        t
    }

    /// Looks for the entry of `la`: `(index of the entry, a register that is free now, the jump where it is not there)`.
    fn probe(&mut self, la: u8, bytes: u64, tag: i32) -> (u8, u8, Hole) {
        let (t, e) = (self.fresh(), self.fresh());
        self.clobber();
        self.asm.mov(t, la);
        self.asm.shift(Shift::Shr, Width::W64, Rm::R(t), 7);
        self.asm.alu_constant(Alu::And, Width::W64, Rm::R(t), native::TLB_MASK as i32);
        self.asm.lea(Width::W64, e, Rm::M(la, bytes as i32 - 1));
        self.asm.alu_constant(Alu::And, Width::W64, Rm::R(e), !0xfff);
        let entry = self.entry(t, tag);
        self.asm.alu(Alu::Cmp, Width::W64, e, entry);
        (t, e, self.asm.jcc(NOT_EQUAL))
    }
    fn entry(&self, t: u8, field: i32) -> Rm {
        Rm::X(CORE, t, 0, native::tlb_at(self.mode.data_set()) + field)
    }
    fn later(&mut self, hole: Hole, way: Way, la: u8) {
        let exit = self.exit_number();
        let cached = self.now.cache.iter().flatten().fold(0u16, |all, h| all | 1 << h);
        let (back, used) = (self.asm.here(), cached | self.pinned);
        self.slow.push(Slow { hole, back, way, la, exit, used });
    }

    pub fn load_linear(&mut self, la: u8, w: Width) -> V {
        let (t, e, miss) = self.probe(la, w.bytes(), native::TAG_READ);
        self.asm.load(Width::W64, t, self.entry(t, native::ADDEND));
        self.asm.load(w, e, Rm::X(t, la, 0, 0));
        self.later(miss, Way::Load(w, e), la);
        V::R(e, w.mask())
    }
    pub fn store_linear(&mut self, la: u8, w: Width, v: V) {
        let v = self.reg(v);
        let (t, _, miss) = self.probe(la, w.bytes(), native::TAG_WRITE);
        self.asm.load(Width::W64, t, self.entry(t, native::ADDEND));
        self.asm.store(w, Rm::X(t, la, 0, 0), v);
        self.later(miss, Way::Store(w, v), la);
    }
    /// The host address of a place that is about to be read and written.
    pub fn writable(&mut self, la: u8, w: Width) -> u8 {
        let (t, _, miss) = self.probe(la, w.bytes(), native::TAG_WRITE);
        self.later(miss, Way::Refill(w.bytes()), la);
        // A write tag without a read tag does not exist: what may be written may be read.
        self.asm.load(Width::W64, t, self.entry(t, native::ADDEND));
        self.asm.alu(Alu::Add, Width::W64, t, Rm::R(la));
        t
    }

    // Calls.

    /// Saves registers and makes room, so that the stack is aligned for a call; gives what [`Body::restore`] needs.
    fn save(&mut self, used: u16) -> (u16, bool) {
        let saved = used & CALLERS;
        (0..16).filter(|h| saved & 1 << h != 0).for_each(|h| self.asm.push(h));
        // Here, right behind a return address, the stack is 8 bytes off.
        let odd = saved.count_ones() % 2 == 0;
        if odd {
            self.asm.lea(Width::W64, RSP, Rm::M(RSP, -8));
        }
        (saved, odd)
    }
    /// Leaves the flags alone.
    fn restore(&mut self, (saved, odd): (u16, bool)) {
        if odd {
            self.asm.lea(Width::W64, RSP, Rm::M(RSP, 8));
        }
        (0..16).rev().filter(|h| saved & 1 << h != 0).for_each(|h| self.asm.pop(h));
    }
    /// Calls function `at` of [`Cx`]; what it wants besides the core and the context is in its registers.
    pub fn call(&mut self, at: usize) {
        self.asm.mov(RDI, CORE);
        self.asm.mov(RSI, CX);
        self.asm.call(Rm::M(CX, at as i32));
    }
    /// Asks a helper that takes a number and changes nothing.
    pub fn ask(&mut self, at: usize, arg: u64) -> V {
        let t = self.fresh();
        self.clobber();
        let cached = self.now.cache.iter().flatten().fold(0u16, |all, h| all | 1 << h);
        let saved = self.save((cached | self.pinned) & !(1 << t));
        self.asm.constant(RDX, arg);
        self.call(at);
        self.asm.mov(t, RAX);
        self.restore(saved);
        V::R(t, u64::MAX)
    }

    /// Writes the code of all probes that miss.
    pub fn write_slow(&mut self) {
        for s in std::mem::take(&mut self.slow) {
            self.asm.land(s.hole);
            let out = if let Way::Load(_, out) = s.way { 1 << out } else { 0 };
            let saved = self.save(s.used & !out);
            // Whatever registers these are in.
            let v = if let Way::Store(_, v) = s.way { v } else { s.la };
            self.asm.push(s.la);
            self.asm.push(v);
            self.asm.pop(R8);
            self.asm.pop(RDX);
            let (at, number) = match s.way {
                Way::Load(w, _) => (offset_of!(Cx, load), w.bits().into()),
                Way::Store(w, _) => (offset_of!(Cx, store), w.bits().into()),
                Way::Refill(bytes) => (offset_of!(Cx, refill), bytes),
            };
            self.asm.constant(RCX, number);
            self.call(at);
            self.asm.test(Width::W32, Rm::R(RAX), RAX);
            self.restore(saved);
            let bad = self.asm.jcc(NOT_EQUAL);
            self.exits[s.exit].holes.push(bad);
            if let Way::Load(_, out) = s.way {
                self.asm.load(Width::W64, out, Rm::M(CX, offset_of!(Cx, value) as i32));
            }
            self.asm.jmp_back(s.back);
        }
    }
}
