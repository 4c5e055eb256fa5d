//! x87 instructions as the host's own, for a guest's unit that is in the host's (see [`crate::x87`]).
//!
//! Left to the interpreter is what processors of different makers answer differently (FSIN and its like, FPREM), what is rare,
//! and everything while an exception is unmasked.

use super::asm::{Alu, EQUAL, Hole, NOT_EQUAL, RAX, RCX, RDX, RSP, Rm};
use super::body::{Body, V, context, core};
use super::flags::Flags;
use super::miss::{Miss, VECTORS, call, keep_vectors, keeping, look_again, placed};
use super::sem::Meaning;
use super::vector::avx;
use crate::clif::rip_at;
use crate::native;
use crate::x87::{self, Thunk, sees};
use cpu::sem::operand;
use cpu::{Cond, FlagKind, Insn, Mode, Opnd, Sem, Width};
use iced_x86::{Mnemonic, OpCodeOperandKind};
use std::convert::Infallible;
use std::sync::LazyLock;

type Done = Result<(), Infallible>;

macro_rules! meanings { ($($meaning:path: $($name:ident)*;)*) => {
    /// What is done here, and how.
    pub static TABLE: &[(Mnemonic, Meaning)] = &[$($((Mnemonic::$name, $meaning),)*)*];
} }
meanings! {
    compute: Fabs Fadd Faddp Fchs Fcom Fcomp Fcompp Fdecstp Fdiv Fdivp Fdivr Fdivrp Ffree Ffreep Fiadd Ficom Ficomp Fidiv
        Fidivr Fild Fimul Fincstp Fisub Fisubr Fld Fld1 Fldl2e Fldl2t Fldlg2 Fldln2 Fldpi Fldz Fmul Fmulp Frndint Fsqrt Fsub
        Fsubp Fsubr Fsubrp Ftst Fucom Fucomp Fucompp Fxam Fxch;
    store: Fst Fstp Fist Fistp Fisttp;
    compare: Fcomi Fcomip Fucomi Fucomip;
    choose: Fcmovb Fcmove Fcmovbe Fcmovu Fcmovnb Fcmovne Fcmovnbe Fcmovnu;
    control: Fnop Fnclex;
    wait: Wait;
    word: Fnstsw Fnstcw;
    fldcw: Fldcw;
}

static HERE: LazyLock<Vec<bool>> = LazyLock::new(|| {
    let mut all = vec![false; cpu::rows::ROWS.len()];
    TABLE.iter().for_each(|(m, _)| all[cpu::rows::number(*m) as usize] = true);
    all
});
/// Whether an instruction is done here, and so best in this tier.
pub fn has(i: &Insn) -> bool {
    HERE[i.row as usize]
}

/// What a block knows of the unit at an instruction.
#[derive(Clone, Copy, Default)]
pub struct Now {
    /// The host's unit has the guest's state.
    loaded: bool,
    /// The last instruction that computed, if its address is not in the core yet: its end's distance from the block's start,
    /// and its length.
    pub last: Option<(i32, u8)>,
}

/// A way out of line, and back.
pub struct Late {
    hole: Hole,
    back: u32,
    thunk: Thunk,
    /// The register with the address of a place in memory, and its length.
    place: (u8, i8),
    /// The register that then gets the host's address.
    host: Option<u8>,
    exit: usize,
}

/// The code of a thunk, which keeps all registers. On the stack are an address and above it a number of bytes. The flag "not
/// equal" says that tier 0 has to do it.
pub fn thunk(t: Thunk) -> Vec<u8> {
    let helper = match t {
        Thunk::Enter => x87::ENTER,
        Thunk::Read => x87::READ,
        Thunk::Write => Miss::Refill.helper(0).0,
    };
    // Two words are there, and one more aligns the stack for the call.
    keeping(8 + VECTORS, |a, first| {
        keep_vectors(a, avx(), false);
        a.load(Width::W64, RDX, Rm::M(RSP, first));
        a.load(Width::W64, RCX, Rm::M(RSP, first + 8));
        call(a, helper);
        a.test(Width::W32, Rm::R(RAX), RAX);
        keep_vectors(a, avx(), true);
    })
}

/// An instruction that computes, with or without an operand that it reads from memory.
fn compute(s: &mut Body<'_>, i: &Insn) -> Done {
    s.whole(i, Thunk::Read);
    s.computed(i);
    Ok(())
}
/// One that stores, to memory or a register.
fn store(s: &mut Body<'_>, i: &Insn) -> Done {
    s.whole(i, Thunk::Write);
    s.computed(i);
    Ok(())
}
/// One that neither computes nor has operands.
fn control(s: &mut Body<'_>, i: &Insn) -> Done {
    s.whole(i, Thunk::Read);
    s.settle();
    Ok(())
}
/// A unit that is loaded has no exception to wait for.
fn wait(s: &mut Body<'_>, _: &Insn) -> Done {
    s.load_unit();
    s.settle();
    Ok(())
}
/// FCOMI and relatives: what the host's flags then are, the guest's are.
fn compare(s: &mut Body<'_>, i: &Insn) -> Done {
    const ZPC: i32 = 0x45;
    let t = s.fresh();
    s.whole(i, Thunk::Read);
    s.clobber();
    s.asm.push_flags();
    s.asm.pop(t);
    s.asm.alu_constant(Alu::And, Width::W32, Rm::R(t), ZPC);
    let zero = V::K(0);
    s.set_flags(Flags::Known(FlagKind::Raw, Width::W64, zero, zero, V::R(t, ZPC as u64)), false);
    s.computed(i);
    Ok(())
}
/// FCMOVcc: as FCMOVNE, after a test of whether the condition is true.
fn choose(s: &mut Body<'_>, i: &Insn) -> Done {
    use Mnemonic::*;
    s.load_unit();
    let cond = s.cond(match i.iced().mnemonic() {
        Fcmovb => Cond::B,
        Fcmove => Cond::E,
        Fcmovbe => Cond::Be,
        Fcmovu => Cond::P,
        Fcmovnb => Cond::Ae,
        Fcmovne => Cond::Ne,
        Fcmovnbe => Cond::A,
        _ => Cond::Np,
    });
    let h = s.reg(cond);
    s.clobber();
    s.asm.test(Width::W64, Rm::R(h), h);
    s.asm.bytes(&[0xdb, 0xc8 | number(i)]);
    s.changed = true;
    s.computed(i);
    Ok(())
}
/// FNSTSW, FNSTCW: by way of the context.
fn word(s: &mut Body<'_>, i: &Insn) -> Done {
    s.load_unit();
    let value = context(native::VALUE);
    let status = i.iced().mnemonic() == Mnemonic::Fnstsw;
    s.asm.x87(if status { 0xdd } else { 0xd9 }, 7, value);
    let t = s.fresh();
    s.asm.load(Width::W16, t, value);
    operand::write(s, i, 0, V::R(t, 0xffff))?;
    s.settle();
    Ok(())
}
/// FLDCW, if the new control word masks all exceptions, too.
fn fldcw(s: &mut Body<'_>, i: &Insn) -> Done {
    const MASKS: i32 = 0x3f;
    s.load_unit();
    let v = operand::read(s, i, 0)?;
    let (t, value) = (s.copy(v), context(native::VALUE));
    s.clobber();
    // What no unit has is left out.
    s.asm.alu_constant(Alu::And, Width::W32, Rm::R(t), 0x1f7f);
    s.asm.alu_constant(Alu::Or, Width::W32, Rm::R(t), 0x40);
    s.asm.store(Width::W16, value, t);
    s.asm.alu_constant(Alu::And, Width::W32, Rm::R(t), MASKS);
    s.asm.alu_constant(Alu::Cmp, Width::W32, Rm::R(t), MASKS);
    s.exit(Some(NOT_EQUAL));
    s.asm.x87(0xd9, 5, value);
    s.changed = true;
    s.settle();
    Ok(())
}

/// The stack register that an instruction names in its opcode.
fn number(i: &Insn) -> u8 {
    let named = |k: &OpCodeOperandKind| *k == OpCodeOperandKind::sti_opcode;
    match i.iced().op_code().op_kinds().iter().position(named).map(|n| i.op[n]) {
        Some(Opnd::St(n)) => n,
        _ => 0,
    }
}

impl Body<'_> {
    /// Makes sure that the host's unit has the guest's state.
    fn load_unit(&mut self) {
        // There these raise #NM.
        self.misfit |= self.mode.has(Mode::EM) || self.mode.has(Mode::TS);
        if std::mem::replace(&mut self.now.x87.loaded, true) {
            return;
        }
        self.clobber();
        self.asm.alu_constant(Alu::Cmp, Width::W64, context(x87::LOADED), 0);
        let hole = self.asm.jcc(EQUAL);
        self.go_late(hole, Thunk::Enter, (RAX, 0), None);
    }
    pub fn go_late(&mut self, hole: Hole, thunk: Thunk, place: (u8, i8), host: Option<u8>) {
        let exit = self.exit_number();
        let back = self.asm.here();
        self.late.push(Late { hole, back, thunk, place, host, exit });
    }
    /// The instruction with its operand, which memory may be.
    fn whole(&mut self, i: &Insn, thunk: Thunk) {
        self.load_unit();
        let code = i.iced().op_code();
        let opcode = code.op_code();
        if i.op[0] != Opnd::Mem {
            self.asm.bytes(&[(opcode >> 8) as u8, opcode as u8 | number(i)]);
        } else {
            let at = operand::address(self, i);
            let la = self.linear(i.seg, at);
            let write = thunk == Thunk::Write;
            let place = self.place_at(la, i.bytes.into(), write, |s, miss, host| {
                s.go_late(miss, thunk, (la, i.bytes as i8), host);
            });
            self.asm.x87(opcode as u8, code.group_index() as u8, place);
        }
        self.changed = true;
    }

    /// The current instruction is the last that computed.
    fn computed(&mut self, i: &Insn) {
        self.now.x87.last = Some((self.next, i.len));
        self.settle();
    }
    /// Has the core know the last that computed, unless a later instruction of the block will see to that.
    fn settle(&mut self) {
        let known = self.now.x87.last.is_none();
        if !known && !self.insns[self.index + 1..self.end].iter().any(sees) {
            let t = self.fresh();
            self.store_last(t);
        }
    }
    /// Stores the address of the last that computed; RIP is the block's start. Not the host's flags change.
    fn store_last(&mut self, t: u8) {
        let Some((end, len)) = self.now.x87.last.take() else { return };
        self.store_place(t, (end, len));
    }
    pub fn store_place(&mut self, t: u8, (end, len): (i32, u8)) {
        self.asm.load(Width::W64, t, core(rip_at()));
        // The end wraps as RIP does, what is before it does not.
        let wide = self.mode.long64();
        self.asm.lea(if wide { Width::W64 } else { Width::W32 }, t, Rm::M(t, end));
        self.asm.lea(Width::W64, t, Rm::M(t, -i32::from(len)));
        self.asm.store(Width::W64, core(x87::ip_at()), t);
    }
    /// An instruction is about to be called; no register is in use.
    pub fn call_beside_unit(&mut self, i: &Insn) {
        self.store_last(RAX);
        self.now.x87.loaded &= !sees(i);
    }

    /// Writes what is out of line.
    pub fn write_late(&mut self) {
        let set = self.mode.data_set();
        for l in std::mem::take(&mut self.late) {
            let a = &mut self.asm;
            a.land(l.hole);
            let tag = if l.thunk == Thunk::Write { native::TAG_WRITE } else { native::TAG_READ };
            let (la, bytes) = l.place;
            let there = l.host.map(|x| look_again(a, x, la, bytes.into(), tag, set));
            a.push_small(l.place.1);
            a.push(l.place.0);
            a.call(context(x87::thunk_at(l.thunk)));
            a.lea(Width::W64, RSP, Rm::M(RSP, 16));
            let bad = a.jcc(NOT_EQUAL);
            self.ways_out.push((l.exit as u32, bad));
            if let Some(x) = l.host {
                there.into_iter().for_each(|h| a.land(h));
                placed(a, x, l.place.0, set);
            }
            a.jmp_back(l.back);
        }
    }
}
