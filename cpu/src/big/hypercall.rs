//! VMCALL and VMMCALL as a guest of a hypervisor finds them: calls in the manner of KVM.
//!
//! Number in RAX, arguments in RBX, RCX, RDX and RSI, result in RAX; 32 bits of each outside of 64-bit mode (Linux,
//! Documentation/virt/kvm/x86/hypercalls.rst). CPUID does not announce them. The vendor's own instruction is the one that
//! works; the other one, and both with `hypervisor=off`, is undefined, as on a processor of its own.

use super::cpuid::Feature;
use crate::{Exception, Insn, Interp, Raised};
use iced_x86::Mnemonic;

/// Not for programs.
const EPERM: i64 = -1;
/// No such call.
const ENOSYS: i64 = -1000;
/// Sends interrupts: a map of 2 words in RBX and RCX of the APIC ids from RDX on, and the interrupt command in RSI.
const SEND_IPI: u64 = 10;

/// VMCALL.
pub fn vmcall(s: &mut Interp<'_>, _: &Insn) -> Result<(), Raised> {
    call(s, Mnemonic::Vmcall)
}
/// VMMCALL.
pub fn vmmcall(s: &mut Interp<'_>, _: &Insn) -> Result<(), Raised> {
    call(s, Mnemonic::Vmmcall)
}

fn call(s: &mut Interp<'_>, how: Mnemonic) -> Result<(), Raised> {
    let model = &s.c.model;
    let own = if model.amd() { Mnemonic::Vmmcall } else { Mnemonic::Vmcall };
    if how != own || !model.offers(Feature::Hypervisor) || !s.c.state.protected() {
        return s.raise(Exception::UD);
    }
    let (bits, mask) = if s.c.mode.long64() { (64, u64::MAX) } else { (32, 0xffff_ffff) };
    let [number, _, a2, a0, _, _, a3] = [0, 1, 2, 3, 4, 5, 6].map(|n| s.c.state.gpr[n] & mask);
    let a1 = s.c.state.gpr[1] & mask;
    let result = match number {
        _ if s.c.mode.cpl() != 0 => EPERM,
        SEND_IPI => {
            let map = u128::from(a1) << bits | u128::from(a0);
            let ids = (0..2 * bits).filter(|n| map >> n & 1 != 0);
            let ids = ids.filter_map(|n| u32::try_from(a2.checked_add(n)?).ok());
            let count = s.c.retired();
            let sent = ids.filter(|&id| s.bus.send_ipi(count, id, a3 as u32)).count();
            s.after_bus();
            sent as i64
        }
        _ => ENOSYS,
    };
    s.c.state.gpr[0] = result as u64 & mask;
    Ok(())
}
