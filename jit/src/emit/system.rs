//! What kernels do all the time of the system's instructions, and which can neither fail nor have anything due behind it.

use super::asm::{Alu, EQUAL, NOT_EQUAL, RCX, Rm};
use super::body::{Body, LEFT, V, context, core, forget_stack};
use super::frames;
use super::sem::Meaning;
use crate::native;
use cpu::sem::{moves, operand};
use cpu::{Insn, Op2, Opnd, Sem, Width, flags};
use iced_x86::Mnemonic;
use std::convert::Infallible;

pub static TABLE: &[(Mnemonic, Meaning)] = &[
    (Mnemonic::Cli, cli),
    (Mnemonic::Sti, sti),
    (Mnemonic::Swapgs, swapgs),
    (Mnemonic::Pushfq, pushfq),
    (Mnemonic::Pause, pause),
    // Whatever is written is seen at once.
    (Mnemonic::Serialize, |_, _| Ok(())),
    (Mnemonic::Mov, mov),
    (Mnemonic::Rdfsbase, |s, i| read_base(s, i, FS)),
    (Mnemonic::Rdgsbase, |s, i| read_base(s, i, GS)),
    (Mnemonic::Wrfsbase, |s, i| write_base(s, i, FS)),
    (Mnemonic::Wrgsbase, |s, i| write_base(s, i, GS)),
    (Mnemonic::Rdpkru, rdpkru),
];

const FS: usize = 4;
const GS: usize = 5;
/// Bits of CR4.
const FSGSBASE: i32 = 1 << 16;
const SMAP: i32 = 1 << 21;
const PKE: i32 = 1 << 22;

/// With the privilege for it.  SDM 2, CLI.
fn cli(s: &mut Body<'_>, _: &Insn) -> Result<(), Infallible> {
    s.misfit |= s.mode.cpl() != 0;
    s.clobber();
    s.asm.alu_constant(Alu::And, Width::W64, core(native::rflags_at()), !flags::IF as i32);
    s.changed = true;
    Ok(())
}
/// SDM 2, SWAPGS.
fn swapgs(s: &mut Body<'_>, _: &Insn) -> Result<(), Infallible> {
    s.misfit |= s.mode.cpl() != 0 || !s.mode.long64();
    let places = [native::base_at(GS), native::kernel_gs_base_at()].map(core);
    let values = places.map(|place| {
        let t = s.fresh();
        s.asm.load(Width::W64, t, place);
        t
    });
    s.asm.store(Width::W64, places[0], values[1]);
    s.asm.store(Width::W64, places[1], values[0]);
    s.changed = true;
    Ok(())
}
/// SDM 2, PUSHFQ: VM and RF are pushed clear.
fn pushfq(s: &mut Body<'_>, i: &Insn) -> Result<(), Infallible> {
    s.misfit |= !s.mode.long64();
    const FIXED: u64 = 2;
    let status = s.status();
    let t = s.fresh();
    s.clobber();
    s.asm.load(Width::W64, t, core(native::rflags_at()));
    let gone = flags::STATUS | flags::VM | flags::RF;
    s.asm.alu_constant(Alu::And, Width::W64, Rm::R(t), !gone as i32);
    s.asm.alu_constant(Alu::Or, Width::W64, Rm::R(t), FIXED as i32);
    s.apply(Alu::Or, Width::W64, t, status);
    operand::push(s, i, Width::W64, V::R(t, u64::MAX))
}

/// SDM 2, STI, with the privilege for it. Where an interrupt waits, or nobody knows whether one will when the budget is over, tier 0
/// sees to it that it comes one instruction later.
fn sti(s: &mut Body<'_>, _: &Insn) -> Result<(), Infallible> {
    s.misfit |= s.mode.cpl() != 0 || !s.mode.long64() || !s.alone;
    s.clobber();
    s.asm.alu_constant(Alu::Cmp, Width::W8, core(native::intr_at()), 0);
    s.exit(Some(NOT_EQUAL));
    if s.index + 1 == s.until {
        s.asm.test(Width::W64, Rm::R(LEFT), LEFT);
        s.exit(Some(EQUAL));
    }
    s.asm.alu_constant(Alu::Or, Width::W64, core(native::rflags_at()), flags::IF as i32);
    s.changed = true;
    Ok(())
}
/// SDM 2, PAUSE.
fn pause(s: &mut Body<'_>, _: &Insn) -> Result<(), Infallible> {
    s.clobber();
    s.asm.alu_constant(Alu::Cmp, Width::W8, core(native::shares_at()), 0);
    s.exit(Some(NOT_EQUAL));
    Ok(())
}
/// SDM 2, MOV: what a segment register holds, too.
fn mov(s: &mut Body<'_>, i: &Insn) -> Result<(), Infallible> {
    let Opnd::Seg(seg) = i.op[1] else { return moves::mov(s, i) };
    let t = s.fresh();
    s.asm.load(Width::W16, t, core(native::selector_at(seg as usize)));
    // Memory takes 16 bits whatever the operand size.
    let mut i = *i;
    if i.op[0] == Opnd::Mem {
        i.ow[0] = Width::W16;
    }
    operand::write(s, &i, 0, V::R(t, Width::W16.mask()))
}
/// Leaves to tier 0 unless CR4 has a bit.
fn enabled(s: &mut Body<'_>, bit: i32) {
    s.clobber();
    s.asm.test_constant(Width::W32, core(native::cr4_at()), bit);
    s.exit(Some(EQUAL));
}
/// SDM 2, RDFSBASE.
fn read_base(s: &mut Body<'_>, i: &Insn, seg: usize) -> Result<(), Infallible> {
    enabled(s, FSGSBASE);
    let v = s.load_state(native::base_at(seg));
    let v = s.zext(i.ow[0], v);
    operand::write(s, i, 0, v)
}
/// SDM 2, WRFSBASE. An address that may not be canonical is for tier 0.
fn write_base(s: &mut Body<'_>, i: &Insn, seg: usize) -> Result<(), Infallible> {
    enabled(s, FSGSBASE);
    let v = operand::read(s, i, 0)?;
    let v = V::R(s.reg(v), u64::MAX);
    let x = s.op2(Op2::Shl, Width::W64, v, V::K(16));
    let x = s.op2(Op2::Sar, Width::W64, x, V::K(16));
    let other = s.op2(Op2::Ne, Width::W64, v, x);
    s.exit_if(other);
    s.store_state(native::base_at(seg), v);
    Ok(())
}
/// SDM 2, RDPKRU.
fn rdpkru(s: &mut Body<'_>, _: &Insn) -> Result<(), Infallible> {
    enabled(s, PKE);
    let c = s.get_gpr(RCX);
    let wrong = s.op2(Op2::Ne, Width::W32, c, V::K(0));
    s.exit_if(wrong);
    let t = s.fresh();
    s.asm.load(Width::W32, t, core(native::pkru_at()));
    s.set_gpr(0, V::R(t, u32::MAX.into()));
    s.set_gpr(2, V::K(0));
    Ok(())
}

impl Body<'_> {
    /// STAC or CLAC at a block's end, in a kernel with SMAP or without: what comes next is in another mode. `false` if it is not such
    /// an instruction.
    pub fn flip_access(&mut self, i: &Insn) -> bool {
        let on = match i.iced().mnemonic() {
            Mnemonic::Stac => true,
            Mnemonic::Clac => false,
            _ => return false,
        };
        let next = self.mode.with_access(on);
        if self.mode.cpl() != 0 || !self.mode.long64() || !self.alone {
            return false;
        }
        self.begin_insn();
        if on && next != self.mode {
            enabled(self, SMAP);
        }
        self.stored_flags();
        let rflags = core(native::rflags_at());
        match on {
            true => self.asm.alu_constant(Alu::Or, Width::W64, rflags, flags::AC as i32),
            false => self.asm.alu_constant(Alu::And, Width::W64, rflags, !flags::AC as i32),
        }
        self.asm.store_constant(Width::W32, core(native::MODE), next.0 as i32);
        self.put_place(self.next, (self.until - self.index) as i32 - 1);
        forget_stack(&mut self.asm);
        // The frames are for code of the other mode.
        frames::reset(&mut self.asm);
        self.asm.jmp_to(context(native::search_at(self.mode)));
        true
    }
}
