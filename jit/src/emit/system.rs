//! What kernels do all the time of the system's instructions, and which can neither fail nor have anything due behind it.

use super::asm::{Alu, Rm};
use super::body::{Body, V, core};
use super::sem::Meaning;
use crate::native;
use cpu::sem::operand;
use cpu::{Insn, Sem, Width, flags};
use iced_x86::Mnemonic;
use std::convert::Infallible;

pub static TABLE: &[(Mnemonic, Meaning)] =
    &[(Mnemonic::Cli, cli), (Mnemonic::Swapgs, swapgs), (Mnemonic::Pushfq, pushfq)];

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
    const GS: usize = 5;
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
