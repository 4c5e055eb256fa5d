//! The status flags: what is known of them, who wants them, and how the host gets them or the state does.

use super::asm::{ABOVE_EQUAL, Alu, BELOW, NOT_EQUAL, One, Rm, Shift};
use super::body::{Body, V, context, core};
use super::outer;
use crate::native;
use cpu::{Cond, Flag, FlagKind, Insn, Opnd, Sem, State, Width, flags};
use std::mem::offset_of;

/// What is known of the status flags.
#[derive(Clone, Copy, Debug)]
pub enum Flags {
    Stored,
    Known(FlagKind, Width, V, V, V),
    /// CF and OF are those of a rotation, to the left or right, with this result. The state has the others.
    Turned(bool, Width, V),
    /// CF and OF are these numbers, of which only the low bytes count. The state has the others.
    Apart(V, V),
}

/// The registers of flags.
pub fn registers(f: Flags) -> u16 {
    let all = match f {
        Flags::Stored => return 0,
        Flags::Known(_, _, a, b, r) => [a, b, r],
        Flags::Turned(_, _, r) => [r; 3],
        Flags::Apart(c, o) => [c, o, o],
    };
    all.iter().filter_map(|v| v.host()).fold(0, |all, h| all | 1 << h)
}

/// What an instruction without an operand in memory does with the flags.
enum Status {
    /// It reads none that it does not write, and neither leaves nor is called.
    Keeps,
    /// It writes all, and reads none.
    Writes,
    Other,
}

fn status_of(i: &Insn) -> Status {
    use iced_x86::Mnemonic::*;
    let m = i.iced().mnemonic();
    if i.op.contains(&Opnd::Mem) && m != Lea
        || i.op.iter().any(|o| matches!(o, Opnd::Seg(_) | Opnd::Cr(_) | Opnd::Dr(_)))
    {
        return Status::Other;
    }
    match m {
        Mov | Movzx | Movsx | Movsxd | Lea | Not | Bswap | Nop | Inc | Dec => Status::Keeps,
        Rol | Ror if i.op[1] == Opnd::Imm => Status::Keeps,
        Add | Sub | And | Or | Xor | Cmp | Test | Neg | Mul | Imul => Status::Writes,
        Shl | Shr | Sar if i.op[1] == Opnd::Imm && i.imm & 31 != 0 => Status::Writes,
        _ => Status::Other,
    }
}

/// Whether the host has all flags of such a kind by doing the operation again.
pub fn whole_flags(kind: FlagKind) -> bool {
    matches!(kind, FlagKind::Sub | FlagKind::Add | FlagKind::Logic | FlagKind::Adc | FlagKind::Sbb)
}

/// The bit of the flag that a condition is about, if it is one.
fn one_flag(c: Cond) -> Option<u8> {
    use Cond::*;
    let flag = match c {
        O | No => flags::OF,
        B | Ae => flags::CF,
        E | Ne => flags::ZF,
        S | Ns => flags::SF,
        P | Np => flags::PF,
        _ => return None,
    };
    Some(flag.trailing_zeros() as u8)
}

impl Body<'_> {
    pub fn set_flags(&mut self, f: Flags, live: bool) {
        self.changed = true;
        (self.now.flags, self.now.live, self.now.carry) = (f, live, None);
        self.now.age += 1;
    }
    /// Makes sure that the state has the flags.
    pub fn stored_flags(&mut self) {
        self.store_flags(self.now.flags);
        (self.now.flags, self.now.carry) = (Flags::Stored, None);
    }
    /// Stores what is known of the flags; touches no register that is in use, nor the host's flags if they are these.
    pub fn store_flags(&mut self, f: Flags) {
        let pinned = self.pinned;
        self.pinned |= registers(f);
        match f {
            Flags::Stored => {}
            Flags::Known(kind, w, a, b, r) => self.store_known(kind, w, a, b, r),
            Flags::Turned(left, w, r) => {
                let (h, t) = (self.low(w, r), self.fresh());
                self.state_flags();
                self.asm.mov(t, h);
                // One back and forth.
                let ways = if left { [Shift::Ror, Shift::Rol] } else { [Shift::Rol, Shift::Ror] };
                ways.into_iter().for_each(|s| self.asm.shift(s, w, Rm::R(t), 1));
                let t = self.host_flags(t);
                self.store_known(FlagKind::Raw, Width::W64, V::K(0), V::K(0), t);
            }
            Flags::Apart(c, o) => {
                let t = self.fresh();
                self.state_flags();
                let all = self.host_flags(t);
                self.asm.alu_constant(
                    Alu::And,
                    Width::W64,
                    Rm::R(t),
                    !(flags::CF | flags::OF) as i32,
                );
                for (v, flag) in [(c, flags::CF), (o, flags::OF)] {
                    let x = match v {
                        V::K(0) => continue,
                        V::K(_) => V::K(flag),
                        _ => {
                            let (h, x) = (self.low(Width::W8, v), self.fresh());
                            self.asm.load(Width::W8, x, Rm::R(h));
                            let n = flag.trailing_zeros() as u8;
                            self.asm.shift(Shift::Shl, Width::W32, Rm::R(x), n);
                            V::R(x, flag)
                        }
                    };
                    self.apply(Alu::Or, Width::W32, t, x);
                }
                self.store_known(FlagKind::Raw, Width::W64, V::K(0), V::K(0), all);
            }
        }
        self.pinned = pinned;
    }
    /// The host's status flags, in this register.
    pub fn host_flags(&mut self, t: u8) -> V {
        self.asm.push_flags();
        self.asm.pop(t);
        self.clobber();
        self.asm.alu_constant(Alu::And, Width::W64, Rm::R(t), flags::STATUS as i32);
        V::R(t, flags::STATUS)
    }
    /// Has the flags of the state in the host's.
    pub fn state_flags(&mut self) {
        self.asm.call(context(native::MISS + 8 * outer::STATUS as i32));
        self.now.vector.forget();
    }
    fn store_known(&mut self, kind: FlagKind, w: Width, a: V, b: V, r: V) {
        let place = |field: usize| {
            let lazy = offset_of!(cpu::Core, state) + offset_of!(State, lazy) + field;
            core(lazy as i32)
        };
        // Where a formula does not look, what stands there does not matter.
        let [a_at, b_at, r_at] =
            [offset_of!(flags::Lazy, a), offset_of!(flags::Lazy, b), offset_of!(flags::Lazy, r)];
        let fields = [(a, a_at), (b, b_at), (r, r_at)];
        for ((v, field), _) in fields.into_iter().zip(kind.fields()).filter(|f| f.1) {
            let v = if v == V::Gone { self.derived(kind, w, a, b, r) } else { v };
            match v {
                V::R(h, _) => self.asm.store(Width::W64, place(field), h),
                V::L(h, Width::W32) => {
                    self.asm.store(Width::W32, place(field), h);
                    self.asm.store_constant(Width::W32, place(field + 4), 0);
                }
                V::L(..) => {
                    let h = self.reg(v);
                    self.asm.store(Width::W64, place(field), h);
                }
                V::K(k) => self.store_number(place(field), place(field + 4), k),
                // Values of flags are never conditions.
                V::C(..) | V::Gone => self.misfit = true,
            }
        }
        let how = i32::from(flags::how(kind, w) as i8);
        self.asm.store_constant(Width::W8, place(offset_of!(flags::Lazy, how)), how);
    }
    /// The part of the flags that follows from the others. If the host's flags are these, they still are.
    pub fn derived(&mut self, kind: FlagKind, w: Width, a: V, b: V, r: V) -> V {
        match kind {
            FlagKind::Sub | FlagKind::Logic if r == V::Gone => {
                let t = self.copy(a);
                self.apply(if kind == FlagKind::Sub { Alu::Sub } else { Alu::And }, w, t, b);
                self.result(w, t)
            }
            FlagKind::Inc => self.beside(w, r, V::K(1), true),
            FlagKind::Dec => self.beside(w, r, V::K(1), false),
            FlagKind::Add => self.beside(w, r, b, true),
            FlagKind::Sub => self.beside(w, r, b, false),
            _ => {
                self.misfit = true;
                V::K(0)
            }
        }
    }
    /// A sum or difference without touching the host's flags.
    fn beside(&mut self, w: Width, r: V, b: V, less: bool) -> V {
        let (h, t) = (self.low(w, r), self.fresh());
        match b {
            V::K(k) => {
                let k = if less { k.wrapping_neg() } else { k };
                match i32::try_from(k as i64) {
                    Ok(k) => self.asm.lea(w, t, Rm::M(h, k)),
                    Err(_) => {
                        self.asm.constant(t, k);
                        self.asm.lea(w, t, Rm::X(h, t, 0, 0));
                    }
                }
            }
            _ => {
                let b = self.low(w, b);
                if less {
                    self.asm.mov(t, b);
                    self.asm.one(One::Not, Width::W64, Rm::R(t));
                }
                let b = if less { t } else { b };
                self.asm.lea(w, t, Rm::X(h, b, 0, i32::from(less)));
            }
        }
        V::R(t, w.mask())
    }
    /// Stores a constant without a register: in two halves if it is long.
    fn store_number(&mut self, low: Rm, high: Rm, k: u64) {
        match i32::try_from(k as i64) {
            Ok(k) => self.asm.store_constant(Width::W64, low, k),
            Err(_) => {
                self.asm.store_constant(Width::W32, low, k as i32);
                self.asm.store_constant(Width::W32, high, (k >> 32) as i32);
            }
        }
    }
    /// Nobody sees the flags that the current instruction leaves: others follow before the block may be left.
    pub fn unseen(&self) -> bool {
        let mut next = self.insns[self.index + 1..self.end].iter().map(status_of);
        matches!(next.find(|s| !matches!(s, Status::Keeps)), Some(Status::Writes))
    }
    /// Makes the host's flags those of a condition of the guest's; gives the host's condition.
    pub fn host_condition(&mut self, v: V) -> Option<u8> {
        let V::C(c, age) = v else {
            self.misfit = true;
            return None;
        };
        if age != self.now.age {
            self.misfit = true;
            return None;
        }
        if let Flags::Turned(..) | Flags::Apart(..) = self.now.flags {
            self.stored_flags();
        }
        if let Flags::Known(FlagKind::Raw, _, _, _, r) = self.now.flags {
            let Some(bit) = one_flag(Cond::ALL[c as usize & 15]) else {
                self.misfit = true;
                return None;
            };
            let h = self.reg(r);
            self.clobber();
            self.asm.bit_test(h, bit);
            return Some(if c & 1 == 0 { BELOW } else { ABOVE_EQUAL });
        }
        if let (Flags::Known(kind, w, a, b, r), false) = (self.now.flags, self.now.live) {
            let whole = matches!(kind, FlagKind::Sub | FlagKind::Add) && a == V::Gone;
            let a = if whole { self.derived(kind, w, a, b, r) } else { a };
            match kind {
                FlagKind::Sub => {
                    let a = self.low(w, a);
                    self.apply(Alu::Cmp, w, a, b);
                }
                FlagKind::Add => {
                    let t = self.copy(a);
                    self.apply(Alu::Add, w, t, b);
                }
                FlagKind::Logic if r == V::Gone => {
                    let a = self.low(w, a);
                    self.test(w, a, b);
                }
                FlagKind::Adc | FlagKind::Sbb => self.again(kind == FlagKind::Sbb, w, a, b, r),
                _ => {
                    let r = self.low(w, r);
                    self.asm.test(w, Rm::R(r), r);
                }
            }
            self.now.live = whole_flags(kind);
        } else if !self.now.live {
            self.state_flags();
            self.now.live = true;
        }
        Some(c)
    }
    /// Has the flags of a sum or difference with a carry in the host's again.
    fn again(&mut self, less: bool, w: Width, a: V, b: V, r: V) {
        // What the operands alone do not explain was the carry.
        let t = self.copy(if less { a } else { r });
        [if less { r } else { a }, b].into_iter().for_each(|v| self.apply(Alu::Sub, w, t, v));
        let x = self.copy(a);
        self.asm.bit_test(t, 0);
        self.apply(if less { Alu::Sbb } else { Alu::Adc }, w, x, b);
    }
    /// A flag, by the host's.
    pub fn by_host(&mut self, f: Flag) -> V {
        let c = match f {
            Flag::Cf => Cond::B,
            Flag::Zf => Cond::E,
            Flag::Sf => Cond::S,
            Flag::Pf => Cond::P,
            _ => Cond::O,
        };
        V::R(self.reg(V::C(c as u8, self.now.age)), 1)
    }
    /// CF, which may still be the host's.
    pub fn carry(&mut self) -> V {
        match (self.now.flags, self.now.carry) {
            (Flags::Apart(c, _), _) => c,
            (Flags::Known(..), Some(h)) if !self.now.live => V::L(h, Width::W8),
            _ if self.has_condition(Cond::B) => V::C(Cond::B as u8, self.now.age),
            _ => self.flag(Flag::Cf),
        }
    }
    /// The host's CF becomes this.
    pub fn carry_in(&mut self, c: V) {
        match c {
            V::C(..) => _ = self.host_condition(c),
            V::K(k) => self.asm.carry(k & 1 != 0),
            _ => {
                let h = self.low(Width::W8, c);
                self.asm.bit_test(h, 0);
            }
        }
    }
    /// Whether CF is wanted later in the block, when the host has it no more.
    pub fn carries(&self) -> bool {
        use iced_x86::Mnemonic::{Adc, Mov, Sbb};
        let mut lost = false;
        for i in &self.insns[self.index + 1..self.end] {
            let (m, memory) = (i.iced().mnemonic(), i.op.contains(&Opnd::Mem));
            lost |= memory;
            match status_of(i) {
                _ if matches!(m, Adc | Sbb) => return lost,
                Status::Keeps => {}
                _ if memory && m == Mov => {}
                _ => return false,
            }
        }
        false
    }
    /// The host's condition for a branch.
    pub fn branch_on(&mut self, c: V) -> u8 {
        if let V::R(..) | V::L(..) = c {
            let h = self.reg(c);
            self.asm.test(Width::W64, Rm::R(h), h);
            return NOT_EQUAL;
        }
        self.host_condition(c).unwrap_or(NOT_EQUAL)
    }
    /// Whether [`Body::host_condition`] can have it.
    pub fn has_condition(&self, c: Cond) -> bool {
        use Cond::*;
        match self.now.flags {
            Flags::Known(kind, ..) if whole_flags(kind) => true,
            Flags::Known(FlagKind::Raw, ..) => one_flag(c).is_some(),
            Flags::Stored | Flags::Turned(..) | Flags::Apart(..) => true,
            // By the result alone.
            Flags::Known(..) => matches!(c, E | Ne | S | Ns | P | Np),
        }
    }
}
