//! Single bits, exchanges under a condition and shifts over two registers, by the host's own instructions.  SDM 2.

use super::asm::{Alu, BELOW, BitOp, EQUAL, NOT_EQUAL, RAX, RBX, RCX, RDX, Rm, Shift};
use super::body::{Body, V};
use super::flags::Flags;
use super::sem::Meaning;
use cpu::sem::operand::{address, read, write};
use cpu::sem::{bits, moves, shift};
use cpu::{FlagKind, Insn, Op1, Op2, Opnd, Sem, Width, flags};
use iced_x86::Mnemonic;
use std::convert::Infallible;

type Done = Result<(), Infallible>;

pub static TABLE: &[(Mnemonic, Meaning)] = &[
    (Mnemonic::Bt, |s, i| s.bit(i, BitOp::Bt).unwrap_or_else(|| bits::bt(s, i))),
    (Mnemonic::Bts, |s, i| s.bit(i, BitOp::Bts).unwrap_or_else(|| bits::bts(s, i))),
    (Mnemonic::Btr, |s, i| s.bit(i, BitOp::Btr).unwrap_or_else(|| bits::btr(s, i))),
    (Mnemonic::Btc, |s, i| s.bit(i, BitOp::Btc).unwrap_or_else(|| bits::btc(s, i))),
    (Mnemonic::Bzhi, |s, i| s.low_bits(i).unwrap_or_else(|| bits::bzhi(s, i))),
    (Mnemonic::Cmpxchg, |s, i| s.exchange(i).unwrap_or_else(|| moves::cmpxchg(s, i))),
    (Mnemonic::Cmpxchg16b, |s, i| s.exchange_wide(i)),
    (Mnemonic::Shld, |s, i| s.shift_double(i, true).unwrap_or_else(|| shift::shld(s, i))),
    (Mnemonic::Shrd, |s, i| s.shift_double(i, false).unwrap_or_else(|| shift::shrd(s, i))),
];

fn mask(v: V) -> u16 {
    v.host().map_or(0, |h| 1 << h)
}

impl Body<'_> {
    /// The status flags, if somebody sees what becomes of them, in a register that may be changed; without those of `but`.
    fn flags_besides(&mut self, but: u64) -> Option<u8> {
        if self.unseen() {
            return None;
        }
        let all = self.status();
        let t = match all {
            V::R(h, _) if mask(all) & self.flag_registers() == 0 => h,
            _ => self.copy(all),
        };
        self.clobber();
        self.asm.alu_constant(Alu::And, Width::W64, Rm::R(t), !but as i32);
        Some(t)
    }
    /// The status flags are in this register from now on.
    fn flags_are(&mut self, t: u8) {
        let all = V::R(t, flags::STATUS);
        self.set_flags(Flags::Known(FlagKind::Raw, Width::W64, V::K(0), V::K(0), all), false);
    }

    /// The host's flags of these, and no others, if somebody sees them, in a register.
    fn flags_of_host(&mut self, few: u64) -> Option<u8> {
        if self.unseen() {
            return None;
        }
        let all = self.fresh();
        self.host_flags(all);
        self.asm.alu_constant(Alu::And, Width::W32, Rm::R(all), few as i32);
        Some(all)
    }
    /// Where the host has what is to be read and written, with no register taken but for that and those that are held.
    fn place_alone(&mut self, held: u16, la: u8, w: Width) -> u8 {
        self.pinned = held | 1 << la;
        let place = self.writable(la, w);
        self.pinned = held | 1 << place;
        place
    }

    /// BT and its kin; `None` for words.
    fn bit(&mut self, i: &Insn, op: BitOp) -> Option<Done> {
        let w = i.w;
        if w == Width::W16 {
            return None;
        }
        let Ok(n) = read(self, i, 1);
        let held = self.pinned;
        let (mut host, mut gpr) = (None, false);
        let t = if i.op[0] == Opnd::Mem {
            let mut at = address(self, i);
            if i.op[1] != Opnd::Imm {
                let unit = w.bits().trailing_zeros() as u64;
                let wide = self.op1(Op1::Sext(w), Width::W64, n);
                let units = self.op2(Op2::Sar, Width::W64, wide, V::K(unit));
                let bytes = self.op2(Op2::Shl, Width::W64, units, V::K(unit - 3));
                at = self.op2(Op2::Add, i.aw, at, bytes);
            }
            let la = self.linear(i.seg, at);
            if op == BitOp::Bt {
                self.pinned = held | 1 << la;
                let v = self.load_linear(la, w);
                self.reg(v)
            } else {
                let place = self.place_alone(held, la, w);
                host = Some(place);
                let t = self.fresh();
                self.asm.load(w, t, Rm::M(place, 0));
                t
            }
        } else {
            let Ok(v) = read(self, i, 0);
            gpr = op != BitOp::Bt;
            if gpr { self.copy(v) } else { self.low(w, v) }
        };
        let rest = self.flags_besides(flags::CF);
        self.clobber();
        match n {
            V::K(k) => self.asm.bit_constant(op, w, t, k as u8 & (w.bits() - 1) as u8),
            _ => {
                let n = self.low(w, n);
                self.asm.bit(op, w, t, n);
            }
        }
        let carry = rest.map(|_| {
            let x = self.fresh();
            self.asm.set(BELOW, x);
            self.asm.load(Width::W8, x, Rm::R(x));
            x
        });
        if let Some(place) = host {
            self.asm.store(w, Rm::M(place, 0), t);
            self.changed = true;
        }
        if gpr {
            let Ok(()) = write(self, i, 0, V::R(t, w.mask()));
        }
        if let (Some(rest), Some(x)) = (rest, carry) {
            self.asm.alu(Alu::Or, Width::W32, rest, Rm::R(x));
            self.flags_are(rest);
        }
        Some(Ok(()))
    }

    /// BZHI; `None` where the host has none.
    fn low_bits(&mut self, i: &Insn) -> Option<Done> {
        if !self.shifts_x {
            return None;
        }
        let (Ok(v), Ok(n)) = (read(self, i, 1), read(self, i, 2));
        let (v, n) = (self.low(i.w, v), self.low(Width::W8, n));
        let t = self.fresh();
        self.clobber();
        self.asm.low_bits(i.w, t, v, n);
        if let Some(all) = self.flags_of_host(flags::CF | flags::ZF | flags::SF) {
            self.flags_are(all);
        }
        let v = self.result(i.w, t);
        Some(write(self, i, 0, v))
    }

    /// CMPXCHG with memory.
    fn exchange(&mut self, i: &Insn) -> Option<Done> {
        let w = i.w;
        if i.op[0] != Opnd::Mem {
            return None;
        }
        let Ok(new) = read(self, i, 1);
        let new = self.low(w, new);
        let whole = self.get_gpr(0);
        let a = self.reg(whole);
        let held = self.pinned;
        let at = address(self, i);
        let la = self.linear(i.seg, at);
        let place = self.place_alone(held, la, w);
        let (old, kept) = (self.fresh(), self.fresh());
        self.asm.load(w, old, Rm::M(place, 0));
        self.asm.mov(kept, old);
        self.clobber();
        self.asm.alu(Alu::Cmp, w, a, Rm::R(old));
        self.asm.cmov(EQUAL, Width::W64, kept, Rm::R(new));
        self.asm.store(w, Rm::M(place, 0), kept);
        self.changed = true;
        // On a match all of the accumulator stays.
        let v = match w {
            Width::W64 => V::R(old, u64::MAX),
            Width::W32 => {
                self.asm.mov(kept, old);
                self.asm.cmov(EQUAL, Width::W64, kept, Rm::R(a));
                V::R(kept, u64::MAX)
            }
            _ => {
                self.asm.mov(kept, a);
                self.asm.store(w, Rm::R(kept), old);
                V::R(kept, u64::MAX)
            }
        };
        self.set_gpr(0, v);
        let want = self.zext(w, V::R(a, u64::MAX));
        self.now.made = Some((Op2::Sub, w, V::Gone));
        self.flags(FlagKind::Sub, w, want, V::R(old, w.mask()), V::Gone);
        Some(Ok(()))
    }

    /// CMPXCHG16B.
    fn exchange_wide(&mut self, i: &Insn) -> Done {
        let w = Width::W64;
        self.misfit |= !self.mode.long64();
        let [a, d, b, c] = [RAX, RDX, RBX, RCX].map(|n| {
            let v = self.get_gpr(n);
            self.reg(v)
        });
        let held = self.pinned;
        let at = address(self, i);
        let la = self.linear(i.seg, at);
        self.clobber();
        self.asm.test_constant(Width::W8, Rm::R(la), 15);
        self.exit(Some(NOT_EQUAL));
        // Both halves are in one page.
        let place = self.place_alone(held, la, w);
        let rest = self.flags_besides(flags::ZF);
        let (lo, hi) = (self.fresh(), self.fresh());
        self.asm.load(w, lo, Rm::M(place, 0));
        self.asm.load(w, hi, Rm::M(place, 8));
        self.clobber();
        self.asm.alu(Alu::Cmp, w, lo, Rm::R(a));
        let other = self.asm.jcc(NOT_EQUAL);
        self.asm.alu(Alu::Cmp, w, hi, Rm::R(d));
        let others = self.asm.jcc(NOT_EQUAL);
        self.asm.store(w, Rm::M(place, 0), b);
        self.asm.store(w, Rm::M(place, 8), c);
        [other, others].into_iter().for_each(|h| self.asm.land(h));
        self.changed = true;
        if let Some(rest) = rest {
            self.asm.set(EQUAL, place);
            self.asm.load(Width::W8, place, Rm::R(place));
            self.asm.shift(Shift::Shl, Width::W32, Rm::R(place), flags::ZF.trailing_zeros() as u8);
            self.asm.alu(Alu::Or, Width::W32, rest, Rm::R(place));
        }
        // On a match they are the same.
        self.set_gpr(RAX, V::R(lo, u64::MAX));
        self.set_gpr(RDX, V::R(hi, u64::MAX));
        if let Some(rest) = rest {
            self.flags_are(rest);
        }
        Ok(())
    }

    /// SHLD and SHRD of registers by a constant, at 32 and 64 bits.
    fn shift_double(&mut self, i: &Insn, left: bool) -> Option<Done> {
        let (w, n) = (i.w, i.imm as u8 & (i.w.bits() - 1) as u8);
        let plain = matches!(i.op[0], Opnd::Gpr(_)) && i.op[2] == Opnd::Imm;
        if !plain || n == 0 || !matches!(w, Width::W32 | Width::W64) {
            return None;
        }
        let (Ok(a), Ok(b)) = (read(self, i, 0), read(self, i, 1));
        let (a, b) = (self.low(w, a), self.low(w, b));
        let t = self.fresh();
        self.asm.mov(t, a);
        self.clobber();
        self.asm.shift_double(left, w, t, b, n);
        let few = flags::CF | flags::PF | flags::ZF | flags::SF;
        if let Some(all) = self.flags_of_host(few) {
            // OF is the change of sign, whatever the count; AF is clear.
            let x = self.fresh();
            self.asm.mov(x, a);
            self.asm.alu(Alu::Xor, w, x, Rm::R(t));
            self.asm.shift(Shift::Shr, w, Rm::R(x), (w.bits() - 1) as u8);
            self.asm.shift(Shift::Shl, w, Rm::R(x), flags::OF.trailing_zeros() as u8);
            self.asm.alu(Alu::Or, Width::W32, all, Rm::R(x));
            self.flags_are(all);
        }
        let v = self.result(w, t);
        Some(write(self, i, 0, v))
    }
}
