//! The status flags in regions: how they arose, as far as the region knows, and what somebody wants of them.

use super::{Clif, V, lazy_at};
use crate::native;
use cpu::sem::cond_of_flags;
use cpu::{Cond, Flag, FlagKind, Op2, Sem, Width, flags};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{BlockArg, InstBuilder, Value, types};
use std::mem::offset_of;

/// A result and what it arose from, as in [`flags::Lazy`].
#[derive(Clone, Copy)]
pub struct Arisen {
    pub kind: FlagKind,
    pub w: Width,
    pub a: V,
    pub b: V,
    pub r: V,
}

/// What is known of the status flags.
#[derive(Clone, Copy)]
pub enum Flags {
    /// They are in the state.
    Stored,
    Known(Arisen),
    /// Those of INC or DEC, but CF is the state's: `b` means nothing.
    Step(Arisen),
    /// Those in the mask are the value's, the others are as they arose, or are in the state.
    Patched(Option<Arisen>, u64, V),
}
use Flags::*;

impl Clif<'_> {
    pub fn set_flags(&mut self, f: Flags) {
        self.changed = true;
        self.flags_set = true;
        self.flags = f;
    }
    /// Makes sure that the state has the flags; for reading them in a way only helpers know.
    pub fn stored_flags(&mut self) {
        self.note_flags();
        self.store_flags(self.flags);
        self.flags = Stored;
    }
    /// This block looks at the flags it was entered with, if it has set none.
    pub fn note_flags(&mut self) {
        if !self.flags_set {
            self.needs_flags[self.guest] = true;
        }
    }

    /// INC or DEC: CF stays, and is looked at when somebody wants it.
    pub fn step_flags(&mut self, kind: FlagKind, w: Width, a: V, r: V) {
        let mut step = Arisen { kind, w, a, b: V::K(0), r };
        self.note_flags();
        let f = match self.flags {
            Stored | Step(_) => Step(step),
            f => {
                step.b = self.flag_of(f, Flag::Cf);
                Known(step)
            }
        };
        self.set_flags(f);
    }
    /// Sets the flags in `mask` to those in `bits`.
    pub fn change_flags(&mut self, mask: u64, bits: V) {
        self.note_flags();
        let f = match self.flags {
            Stored => Patched(None, mask, bits),
            Known(k) => Patched(Some(k), mask, bits),
            Patched(under, old, _) if old & !mask == 0 => Patched(under, mask, bits),
            Patched(under, old, others) => {
                let others = self.op2(Op2::And, Width::W64, others, V::K(!mask));
                Patched(under, old | mask, self.op2(Op2::Or, Width::W64, others, bits))
            }
            Step(s) => {
                let whole = self.whole_step(s);
                Patched(Some(whole), mask, bits)
            }
        };
        self.set_flags(f);
    }

    /// With the carry of the state.
    fn whole_step(&mut self, s: Arisen) -> Arisen {
        // Where the state has what an INC or DEC left, it has the carry as it is.
        let how = self.get_state(types::I8, lazy_at(offset_of!(flags::Lazy, how)));
        let kind = self.b.ins().band_imm_u(how, i64::from(flags::HOW_KIND));
        let from = self.b.ins().iadd_imm_s(kind, -(FlagKind::Inc as i64));
        let is = self.b.ins().icmp_imm_u(IntCC::UnsignedLessThan, from, 2);
        let b = lazy_at(offset_of!(flags::Lazy, b));
        Arisen { b: self.shortcut(is, b, |c| c.ask(native::FLAG, &[Flag::Cf as u64])), ..s }
    }
    /// All flags out of the state.
    fn stored_status(&mut self) -> V {
        self.note_flags();
        let how = self.get_state(types::I8, lazy_at(offset_of!(flags::Lazy, how)));
        let kind = self.b.ins().band_imm_u(how, i64::from(flags::HOW_KIND));
        let is = self.b.ins().icmp_imm_u(IntCC::Equal, kind, FlagKind::Raw as i64);
        self.shortcut(is, lazy_at(offset_of!(flags::Lazy, r)), |c| c.ask(native::STATUS, &[]))
    }
    /// What is in the core at `at`, if `is` is not zero, else what `other` gives.
    fn shortcut(&mut self, is: Value, at: i32, other: impl FnOnce(&mut Self) -> V) -> V {
        let (yes, no, on) = (self.b.create_block(), self.b.create_block(), self.b.create_block());
        self.b.set_cold_block(no);
        let v = self.b.append_block_param(on, types::I64);
        let none: [BlockArg; 0] = [];
        self.b.ins().brif(is, yes, &none, no, &none);
        self.b.switch_to_block(no);
        let o = other(self);
        let o = self.val(o);
        self.jump_to(on, &[o]);
        self.b.switch_to_block(yes);
        let here = self.get_state(types::I64, at);
        self.jump_to(on, &[here]);
        self.b.switch_to_block(on);
        V::S(v, u64::MAX)
    }
    fn ask(&mut self, helper: usize, args: &[u64]) -> V {
        let args: Vec<_> = args.iter().map(|&k| self.val(V::K(k))).collect();
        match self.call(helper, &args, true) {
            Some(v) => V::S(v, u64::MAX),
            None => V::K(0),
        }
    }

    /// One flag, 0 or 1.
    pub fn flag_of(&mut self, f: Flags, flag: Flag) -> V {
        match f {
            Known(k) => self.flag_arisen(k, flag),
            Step(s) if flag != Flag::Cf => self.flag_arisen(s, flag),
            Patched(_, mask, bits) if mask & 1 << flag.bit() != 0 => {
                let bit = self.op2(Op2::Shr, Width::W64, bits, V::K(u64::from(flag.bit())));
                self.op2(Op2::And, Width::W64, bit, V::K(1))
            }
            Patched(Some(k), ..) => self.flag_arisen(k, flag),
            Stored | Step(_) | Patched(None, ..) => {
                self.note_flags();
                let v = self.ask(native::FLAG, &[flag as u64]);
                self.op2(Op2::And, Width::W64, v, V::K(1))
            }
        }
    }
    fn flag_arisen(&mut self, k: Arisen, flag: Flag) -> V {
        flags::value(self, flag, k.kind, k.w, k.a, k.b, k.r)
    }
    /// A condition, 0 or 1.
    pub fn condition(&mut self, c: Cond) -> V {
        let arisen = match self.flags {
            Known(k) | Step(k) => k,
            Patched(..) => return cond_of_flags(self, c),
            Stored => {
                self.note_flags();
                let v = self.ask(native::COND, &[c as u64]);
                return self.op2(Op2::And, Width::W64, v, V::K(1));
            }
        };
        match self.fused(c, arisen) {
            Some(v) => v,
            None if c as u8 & 1 == 1 => {
                let v = self.condition(Cond::ALL[c as usize - 1]);
                self.op2(Op2::Xor, Width::W64, v, V::K(1))
            }
            None => cond_of_flags(self, c),
        }
    }
    /// All flags at their places.
    pub fn status_of(&mut self, f: Flags) -> V {
        match f {
            Known(Arisen { kind: FlagKind::Raw, r, .. }) => r,
            Known(k) => Flag::ALL.iter().fold(V::K(0), |all, &f| {
                let v = self.flag_arisen(k, f);
                let v = self.op2(Op2::Shl, Width::W64, v, V::K(f.bit() as u64));
                self.op2(Op2::Or, Width::W64, all, v)
            }),
            Step(s) => {
                let whole = self.whole_step(s);
                self.status_of(Known(whole))
            }
            Patched(under, mask, bits) => {
                let others = self.status_of(under.map_or(Stored, Known));
                let others = self.op2(Op2::And, Width::W64, others, V::K(!mask));
                self.op2(Op2::Or, Width::W64, others, bits)
            }
            Stored => {
                let all = self.stored_status();
                self.op2(Op2::And, Width::W64, all, V::K(flags::STATUS))
            }
        }
    }

    /// Puts the flags into the state, unless they are there.
    pub(super) fn store_flags(&mut self, f: Flags) {
        let arisen = match f {
            Stored => return,
            Known(k) => k,
            Step(s) => self.whole_step(s),
            Patched(..) => {
                let (zero, r) = (V::K(0), self.status_of(f));
                Arisen { kind: FlagKind::Raw, w: Width::W64, a: zero, b: zero, r }
            }
        };
        let put = |c: &mut Self, v: V, at: usize| {
            let v = c.val(v);
            c.put_state(v, lazy_at(at));
        };
        // Where a formula does not look, what stands there does not matter.
        let [a_at, b_at, r_at] =
            [offset_of!(flags::Lazy, a), offset_of!(flags::Lazy, b), offset_of!(flags::Lazy, r)];
        let fields = [(arisen.a, a_at), (arisen.b, b_at), (arisen.r, r_at)];
        for ((v, at), _) in fields.into_iter().zip(arisen.kind.fields()).filter(|f| f.1) {
            put(self, v, at);
        }
        let how = self.b.ins().iconst(types::I8, i64::from(flags::how(arisen.kind, arisen.w)));
        self.put_state(how, lazy_at(offset_of!(flags::Lazy, how)));
    }

    /// A condition by the kind of the last result, where one comparison says it.
    fn fused(&mut self, c: Cond, arisen: Arisen) -> Option<V> {
        use Cond::*;
        use IntCC::*;
        let Arisen { kind, w, a, b, r } = arisen;
        let zero = V::K(0);
        if kind == FlagKind::Raw {
            return None;
        }
        match c {
            E => return Some(self.compare(Equal, w, r, zero)),
            Ne => return Some(self.compare(NotEqual, w, r, zero)),
            S => return Some(self.compare(SignedLessThan, w, r, zero)),
            Ns => return Some(self.compare(SignedGreaterThanOrEqual, w, r, zero)),
            _ => {}
        }
        let (cc, x, y) = match (kind, c) {
            (FlagKind::Sub, B) => (UnsignedLessThan, a, b),
            (FlagKind::Sub, Ae) => (UnsignedGreaterThanOrEqual, a, b),
            (FlagKind::Sub, Be) => (UnsignedLessThanOrEqual, a, b),
            (FlagKind::Sub, A) => (UnsignedGreaterThan, a, b),
            (FlagKind::Sub, L) => (SignedLessThan, a, b),
            (FlagKind::Sub, Ge) => (SignedGreaterThanOrEqual, a, b),
            (FlagKind::Sub, Le) => (SignedLessThanOrEqual, a, b),
            (FlagKind::Sub, G) => (SignedGreaterThan, a, b),
            (FlagKind::Add, B) => (UnsignedLessThan, r, a),
            (FlagKind::Add, Ae) => (UnsignedGreaterThanOrEqual, r, a),
            (FlagKind::Logic, B | O) => return Some(V::K(0)),
            (FlagKind::Logic, Ae | No) => return Some(V::K(1)),
            (FlagKind::Logic, Be) => (Equal, r, zero),
            (FlagKind::Logic, A) => (NotEqual, r, zero),
            (FlagKind::Logic, L) => (SignedLessThan, r, zero),
            (FlagKind::Logic, Ge) => (SignedGreaterThanOrEqual, r, zero),
            (FlagKind::Logic, Le) => (SignedLessThanOrEqual, r, zero),
            (FlagKind::Logic, G) => (SignedGreaterThan, r, zero),
            _ => return None,
        };
        Some(self.compare(cc, w, x, y))
    }
}
