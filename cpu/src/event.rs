//! Exceptions and interrupts: how they are delivered, which are due, and in what order.  SDM 3A, chapter 7.

use crate::big::far::inner_stack;
use crate::big::segment::{Descriptor, Stack, code, null, null_segment};
use crate::big::task;
use crate::mmu::{SYSTEM, breakpoint, canonical};
use crate::{Activity, Core, Exception, Interp, Raised, Segment, State, Width, flags};

/// Where an event comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// An exception.
    Exception,
    /// INT n, INT3, INTO: the gate's privilege counts.
    Software,
    /// INT1, which counts as from outside.
    Icebp,
    /// An interrupt line, or NMI.
    External,
}

/// What [`pending`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Init,
    Startup,
    Debug,
    Smi,
    Nmi,
    Interrupt(u8),
    /// MWAIT ended by an interrupt that is masked.
    Wake,
}

/// DR6: single step.
pub const BS: u32 = 1 << 14;
/// DR6: task switch.
pub const BT: u32 = 1 << 15;
/// DR6: access to a debug register.
pub const BD: u32 = 1 << 13;

fn contributory(vector: u8) -> bool {
    matches!(vector, 0 | 10..=13 | 21)
}

/// Whether `second`, raised while `first` was delivered, makes a double fault.  SDM 3A, table 7-5.
fn doubles(first: u8, second: u8) -> bool {
    match first {
        14 => second == 14 || contributory(second),
        f if contributory(f) => contributory(second),
        _ => false,
    }
}

/// Delivers an exception, and whatever goes wrong on the way; at last the core shuts down. It counts as an instruction:
/// a handler whose first instruction faults must not keep a core from the end of its budget.
pub fn deliver(s: &mut Interp<'_>, e: Exception) {
    s.c.left -= 1;
    let mut now = e;
    loop {
        match now.vector {
            1 => {
                let dr6 = &mut s.c.state.dr6;
                *dr6 = *dr6 & !15 | now.detail & 0xe00f;
                s.c.state.dr7 &= !(1 << 13);
            }
            14 => s.c.state.cr2 = now.detail,
            _ => {}
        }
        if inject(s, now.vector, now.code, Cause::Exception).is_ok() {
            break;
        }
        let next = s.c.fault;
        if now.vector == 8 {
            s.bus.complain(format_args!("triple fault at {:#x}", s.c.state.rip));
            s.c.set_activity(Activity::Shutdown);
            break;
        }
        now = if doubles(now.vector, next.vector) {
            if next.vector == 14 {
                s.c.state.cr2 = next.detail;
            }
            Exception::df()
        } else {
            next
        };
    }
    s.c.state.shadow = 0;
    s.c.refresh();
}

/// Delivers an external interrupt or NMI, which counts as an instruction, too.
pub fn interrupt(s: &mut Interp<'_>, vector: u8) {
    match inject(s, vector, None, Cause::External) {
        Ok(()) => s.c.left -= 1,
        Err(Raised) => deliver(s, s.c.fault),
    }
}

/// Goes to the handler of a vector. On a fault nothing has changed but memory.
pub fn inject(
    s: &mut Interp<'_>,
    vector: u8,
    error: Option<u32>,
    cause: Cause,
) -> Result<(), Raised> {
    let mut image = s.c.state.flags();
    // Faults are restarted with RF set. #DB says for itself: an instruction breakpoint must not set it.
    if cause == Cause::Exception && !matches!(vector, 1 | 3 | 4 | 8 | 18) {
        image |= flags::RF;
    }
    if !s.c.state.protected() {
        return real(s, vector, image);
    }
    let ext = (cause != Cause::Software) as u32;
    if s.lma() {
        long(s, vector, error, cause, ext, image)
    } else {
        legacy(s, vector, error, cause, ext, image)
    }
}

/// Real mode: the vector table holds far pointers.
pub fn real(s: &mut Interp<'_>, vector: u8, image: u64) -> Result<(), Raised> {
    let at = 4 * vector as u64;
    let idt = s.c.state.idtr;
    if at + 3 > idt.limit as u64 {
        return s.raise(Exception::GP0);
    }
    let to = s.load_in(SYSTEM, idt.base.wrapping_add(at) & 0xffff_ffff, Width::W32)?;
    let mut st = Stack::current(s, 0);
    let (cs, ip) = (s.c.state.seg[1].sel as u64, s.c.state.rip);
    st.push(s, Width::W16, image)?;
    st.push(s, Width::W16, cs)?;
    st.push(s, Width::W16, ip)?;
    st.commit(s);
    s.c.state.rflags &= !(flags::IF | flags::TF | flags::AC | flags::RF);
    crate::big::far::set_real_code(s, (to >> 16) as u16, to & 0xffff);
    Ok(())
}

/// The gate's privilege is checked for software interrupts, its presence for all.
fn check_gate(
    s: &mut Interp<'_>,
    gate: Descriptor,
    cause: Cause,
    e: u32,
    good: bool,
) -> Result<(), Raised> {
    if !good || !gate.is_system() || cause == Cause::Software && gate.dpl() < s.cpl() {
        return s.raise(Exception::gp(e));
    }
    if !gate.present() {
        return s.raise(Exception::np(e));
    }
    Ok(())
}

/// The handler's code segment.
fn handler(s: &mut Interp<'_>, sel: u16, ext: u32) -> Result<Descriptor, Raised> {
    if null(sel) {
        return s.raise(Exception::gp(ext));
    }
    let gp = Exception::gp(code(sel, ext));
    let d = s.descriptor_or(sel, gp)?;
    if !d.is_code() || d.dpl() > s.cpl() || s.lma() && (!d.long() || d.big()) {
        return s.raise(gp);
    }
    if !d.present() {
        return s.raise(Exception::np(code(sel, ext)));
    }
    Ok(d)
}

/// Flags as a handler finds them.
fn enter_flags(s: &mut Interp<'_>, interrupt_gate: bool) {
    let f = &mut s.c.state.rflags;
    *f &= !(flags::TF | flags::NT | flags::RF | flags::VM);
    if interrupt_gate {
        *f &= !flags::IF;
    }
}

/// Protected mode.  SDM 3A, 7.12.
fn legacy(
    s: &mut Interp<'_>,
    vector: u8,
    error: Option<u32>,
    cause: Cause,
    ext: u32,
    image: u64,
) -> Result<(), Raised> {
    let e = 8 * vector as u32 + 2 + ext;
    let idt = s.c.state.idtr;
    if 8 * vector as u64 + 7 > idt.limit as u64 {
        return s.raise(Exception::gp(e));
    }
    let la = idt.base.wrapping_add(8 * vector as u64) & 0xffff_ffff;
    let gate = Descriptor(s.load_in(SYSTEM, la, Width::W64)?);
    check_gate(s, gate, cause, e, matches!(gate.kind(), 5..=7 | 14 | 15))?;
    if gate.kind() == 5 {
        return task::gate(s, gate.gate_selector(), error, ext);
    }
    let wide = gate.kind() & 8 != 0;
    let w = if wide { Width::W32 } else { Width::W16 };
    let to = gate.gate_offset() as u64 & w.mask();
    let sel = gate.gate_selector();
    let d = handler(s, sel, ext)?;
    let (cpl, vm86) = (s.cpl(), s.c.state.vm86());
    let (cs, ip) = (s.c.state.seg[1].sel as u64, s.c.state.rip);
    let inner = !d.is_conforming() && d.dpl() < cpl;
    if vm86 && (!inner || d.dpl() != 0) {
        return s.raise(Exception::gp(code(sel, ext)));
    }
    let new = if inner { d.dpl() } else { cpl };
    let (mut st, ss) = if inner {
        inner_stack(s, new, 0, ext)?
    } else {
        (Stack::current(s, ext), s.c.state.seg[2])
    };
    if inner {
        let (ss, sp) = (s.c.state.seg[2].sel as u64, s.c.state.gpr[4]);
        if vm86 {
            for n in [5, 4, 3, 0] {
                let sel = s.c.state.seg[n].sel as u64;
                st.push(s, w, sel)?;
            }
        }
        st.push(s, w, ss)?;
        st.push(s, w, sp)?;
    }
    st.push(s, w, image)?;
    st.push(s, w, cs)?;
    st.push(s, w, ip)?;
    if let Some(error) = error {
        st.push(s, w, error as u64)?;
    }
    let seg = s.mark_accessed(sel, d)?.segment(sel);
    if to > seg.limit as u64 {
        return s.raise(Exception::gp(ext));
    }
    if inner {
        s.c.state.seg[2] = ss;
        if vm86 {
            for n in [0, 3, 4, 5] {
                s.c.state.seg[n] = null_segment(0);
            }
        }
    }
    st.commit(s);
    enter_flags(s, gate.kind() & 1 == 0);
    s.set_code(seg, new, to);
    Ok(())
}

/// Long mode.  SDM 3A, 7.14.
fn long(
    s: &mut Interp<'_>,
    vector: u8,
    error: Option<u32>,
    cause: Cause,
    ext: u32,
    image: u64,
) -> Result<(), Raised> {
    let e = 8 * vector as u32 + 2 + ext;
    let idt = s.c.state.idtr;
    if 16 * vector as u64 + 15 > idt.limit as u64 {
        return s.raise(Exception::gp(e));
    }
    let la = idt.base.wrapping_add(16 * vector as u64);
    let gate = Descriptor(s.load_in(SYSTEM, la, Width::W64)?);
    let upper = s.load_in(SYSTEM, la.wrapping_add(8), Width::W64)?;
    check_gate(s, gate, cause, e, matches!(gate.kind(), 14 | 15))?;
    let to = gate.gate_offset() as u64 | upper << 32;
    let sel = gate.gate_selector();
    let d = handler(s, sel, ext)?;
    let cpl = s.cpl();
    let inner = !d.is_conforming() && d.dpl() < cpl;
    let new = if inner { d.dpl() } else { cpl };
    let ist = gate.0 >> 32 & 7;
    let (mut st, null_ss) = if inner || ist != 0 {
        inner_stack(s, new, ist, ext)?
    } else {
        (Stack::flat(s, s.c.state.gpr[4], new, ext), null_segment(0))
    };
    st.sp &= !15;
    let w = Width::W64;
    let now = &s.c.state;
    let frame = [now.seg[2].sel as u64, now.gpr[4], image, now.seg[1].sel as u64, now.rip];
    for v in frame {
        st.push(s, w, v)?;
    }
    if let Some(error) = error {
        st.push(s, w, error as u64)?;
    }
    let seg = s.mark_accessed(sel, d)?.segment(sel);
    if !canonical(to, s.la57()) {
        return s.raise(Exception::gp(ext));
    }
    if inner {
        s.c.state.seg[2] = null_ss;
    }
    s.c.state.gpr[4] = st.sp;
    enter_flags(s, gate.kind() & 1 == 0);
    s.set_code(seg, new, to);
    Ok(())
}

/// Asks for a return to the machine loop if an event may be due now, after something unmasked it.
pub fn check(s: &mut Interp<'_>) {
    let st = &s.c.state;
    if s.c.intr && st.rflags & flags::IF != 0
        || st.nmi_pending && !st.nmi_blocked
        || smi_due(st)
        || st.pending_debug != 0
    {
        s.c.stop = true;
    }
}

/// At an instruction boundary: takes the event that is due, if any. Machine checks do not happen here.
/// SDM 3A, table 7-2.
pub fn pending(s: &mut Interp<'_>) -> Option<Event> {
    if s.c.state.init_pending && !s.c.state.smm {
        init(s);
        return Some(Event::Init);
    }
    match s.c.activity() {
        Activity::WaitForSipi => {
            let sipi = std::mem::take(&mut s.c.state.sipi);
            return (sipi != 0).then(|| {
                startup(s, sipi as u8);
                Event::Startup
            });
        }
        Activity::Shutdown => return None,
        _ => s.c.state.sipi = 0,
    }
    let shadow = s.c.state.shadow;
    if s.c.state.pending_debug != 0 && shadow & 2 == 0 {
        let bits = std::mem::take(&mut s.c.state.pending_debug);
        wake(s);
        deliver(s, Exception::db(bits as u64));
        return Some(Event::Debug);
    }
    // A trap of the last instruction is reported first, so that it is not reported in the handler.
    if smi_due(&s.c.state) && shadow == 0 && s.c.state.pending_debug == 0 {
        s.c.state.smi_pending = false;
        crate::big::smm::enter(s);
        return Some(Event::Smi);
    }
    if s.c.state.nmi_pending && !s.c.state.nmi_blocked && shadow == 0 {
        s.c.state.nmi_pending = false;
        s.c.state.nmi_blocked = true;
        wake(s);
        interrupt(s, 2);
        return Some(Event::Nmi);
    }
    if s.c.intr && shadow == 0 && s.c.state.rflags & flags::IF != 0 {
        let vector = s.bus.acknowledge(s.c.retired());
        s.after_bus();
        if let Some(vector) = vector {
            wake(s);
            interrupt(s, vector);
            return Some(Event::Interrupt(vector));
        }
    }
    if s.c.activity() == Activity::Mwait && mwait_ends(s.c) {
        wake(s);
        return Some(Event::Wake);
    }
    if s.c.activity() == Activity::Running
        && s.c.state.dr7 & 0xff != 0
        && s.c.state.rflags & flags::RF == 0
        // Intel's processors suppress instruction breakpoints after MOV SS (SDM 3A, 7.8.3), AMD's do not.
        && (shadow & 2 == 0 || s.c.model.amd())
        && let Some(bits) = code_breakpoint(s)
    {
        let held = std::mem::take(&mut s.c.state.pending_debug);
        deliver(s, Exception::db(bits | held as u64));
        return Some(Event::Debug);
    }
    None
}

fn smi_due(st: &State) -> bool {
    st.smi_pending && !st.smm
}

/// The monitored line at `at` in RAM.
pub fn line(c: &Core, at: u64) -> [u64; 8] {
    std::array::from_fn(|n| c.tlb.ram().read_u64((at & !63) + 8 * n as u64).unwrap_or(0))
}

/// Whether MWAIT is over: the line has changed, or an interrupt came that it was told to heed.
fn mwait_ends(c: &Core) -> bool {
    let Some(m) = c.state.monitor else { return true };
    m & 1 != 0 && c.intr || line(c, m) != c.state.monitor_line
}

/// Whether the core has something to do: it runs, or [`pending`] would wake it.
pub fn runnable(c: &Core) -> bool {
    let st = &c.state;
    st.init_pending && !st.smm
        || match c.activity() {
            Activity::Running => true,
            Activity::WaitForSipi => st.sipi != 0,
            Activity::Shutdown => false,
            a => {
                st.pending_debug != 0
                    || smi_due(st)
                    || st.nmi_pending && !st.nmi_blocked
                    || c.intr && st.rflags & flags::IF != 0
                    || a == Activity::Mwait && mwait_ends(c)
            }
        }
}

fn wake(s: &mut Interp<'_>) {
    if s.c.activity() != Activity::Running {
        s.c.state.activity = Activity::Running as u8;
        s.c.state.monitor = None;
    }
}

/// The DR6 bits of the instruction breakpoints at RIP.
fn code_breakpoint(s: &Interp<'_>) -> Option<u64> {
    let st = &s.c.state;
    let la = if s.c.mode.long64() { st.rip } else { st.rip + st.seg[1].base & 0xffff_ffff };
    let bits = (0..4)
        .filter(|&n| st.dr7 >> (2 * n) & 3 != 0 && breakpoint(st.dr7, n).0 == 0 && st.dr[n] == la)
        .fold(0, |all, n| all | 1 << n);
    (bits != 0).then_some(bits)
}

/// The state after power-on. The boot processor starts at the reset vector, others wait for INIT and a start-up message.
/// SDM 3A, table 11-1.
pub fn power_on(c: &mut Core, boot: bool) {
    c.state = State::default();
    c.state.gpr[2] = c.model.signature() as u64;
    c.state.msr.apic_base = 0xfee0_0800 | if boot { BOOT } else { 0 };
    c.set_activity(if boot { Activity::Running } else { Activity::WaitForSipi });
    c.intr = false;
    c.tlb.flush();
    c.large.clear();
    c.refresh();
}
/// A reset of the machine.
pub fn reset(c: &mut Core) {
    let boot = c.state.msr.apic_base & BOOT != 0;
    power_on(c, boot);
}

/// IA32_APIC_BASE: the boot processor.
const BOOT: u64 = 1 << 8;

/// INIT.  SDM 3A, table 11-1.
pub fn init(s: &mut Interp<'_>) {
    let old = std::mem::take(&mut s.c.state);
    let mut msr = old.msr;
    msr.efer = 0;
    let boot = msr.apic_base & BOOT != 0;
    let mut new = State {
        ymm: old.ymm,
        mxcsr: old.mxcsr,
        fpu: old.fpu,
        cr0: old.cr0 & 0x6000_0000 | 0x10,
        xcr0: old.xcr0,
        pkru: old.pkru,
        // A start-up message may have followed before this core's turn came.
        sipi: old.sipi,
        msr,
        ..State::default()
    };
    new.gpr[2] = s.c.model.signature() as u64;
    s.c.state = new;
    s.c.set_activity(if boot { Activity::Running } else { Activity::WaitForSipi });
    s.flush_all();
    s.c.refresh();
}

/// A start-up message: real mode at page `vector`.
pub fn startup(s: &mut Interp<'_>, vector: u8) {
    let st = &mut s.c.state;
    st.seg[1] = Segment { base: (vector as u64) << 12, ..Segment::real((vector as u16) << 8) };
    st.rip = 0;
    s.c.set_activity(Activity::Running);
    s.c.refresh();
}

#[cfg(test)]
mod test;
