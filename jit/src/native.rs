//! Between native code and the rest: the context it gets, the helpers it calls, how it is entered.
// UNSAFE: native code has only raw pointers; this module makes and follows them.
#![allow(unsafe_code)]

use crate::clif::leave;
use cpu::rows::ROWS;
use cpu::{Access, Bus, Cond, Core, Flag, Insn, Interp, Segment, Sem, State, Width};
use memory::{PAGE, TLB_SIZE, Tlb, TlbEntry};
use std::mem::offset_of;

pub const TAG_READ: i32 = offset_of!(TlbEntry, read) as i32;
pub const TAG_WRITE: i32 = offset_of!(TlbEntry, write) as i32;
pub const TAG_EXEC: i32 = offset_of!(TlbEntry, exec) as i32;
pub const ADDEND: i32 = offset_of!(TlbEntry, addend) as i32;
/// What an address shifted right by 7 keeps: its entry's distance from the first.
pub const TLB_MASK: i64 = ((TLB_SIZE - 1) * size_of::<TlbEntry>()) as i64;
const _: () = assert!(size_of::<TlbEntry>() == 32 && PAGE == 4096);

/// Offset of entry 0 of a TLB set in [`Core`].
pub fn tlb_at(set: usize) -> i32 {
    (offset_of!(Core, tlb) + Tlb::<3>::set_offset(set)) as i32
}
pub fn rflags_at() -> i32 {
    (offset_of!(Core, state) + offset_of!(State, rflags)) as i32
}
pub fn base_at(seg: usize) -> i32 {
    let seg = offset_of!(State, seg) + seg * size_of::<Segment>() + offset_of!(Segment, base);
    (offset_of!(Core, state) + seg) as i32
}

type Access2 = extern "C" fn(*mut Core, *mut Cx, u64, u64) -> u64;
type Access3 = extern "C" fn(*mut Core, *mut Cx, u64, u64, u64) -> u64;
type Ask = extern "C" fn(*mut Core, *mut Cx, u64) -> u64;
type Get = extern "C" fn(*mut Core, *mut Cx) -> u64;

/// What native code has besides the core: helpers, and what they need.
#[repr(C, align(16))]
pub struct Cx {
    /// What a load helper has read; also where results go that count only by their flags.
    pub value: [u64; 2],
    /// The host's MXCSR is the guest's.
    floats: bool,
    pub load: Access2,
    pub store: Access3,
    pub refill: Access2,
    pub interpret: Access2,
    flag: Ask,
    cond: Ask,
    status: Get,
    /// Instructions of the region that runs.
    pub insns: *const Insn,
    bus: *mut dyn Bus,
}
pub const FLAG: usize = offset_of!(Cx, flag);
pub const COND: usize = offset_of!(Cx, cond);
pub const STATUS: usize = offset_of!(Cx, status);

/// A region's entry.
pub type Code = unsafe extern "C" fn(*mut Core, *mut Cx) -> u64;

/// The entry at a place in the arena.
///
/// # Safety
/// There must be a whole region's code there, and it must stay as long as the entry is called.
pub unsafe fn entry(at: *const u8) -> Code {
    // SAFETY: the caller vouches for the code; its signature is `clif::signature`.
    unsafe { std::mem::transmute::<*const u8, Code>(at) }
}

/// Runs a region. Gives what it says it left for.
///
/// # Safety
/// `code` must be a region compiled for this host from `insns` and this core's mode.
#[inline(always)]
pub unsafe fn run(code: Code, insns: &[Insn], floats: bool, s: &mut Interp<'_>) -> u64 {
    // The context does not outlive this call, and neither does its pointer to the bus.
    // SAFETY: only the lifetime is changed.
    let bus = unsafe { std::mem::transmute::<*mut (dyn Bus + '_), *mut dyn Bus>(&raw mut *s.bus) };
    let mut cx = Cx {
        load,
        store,
        refill,
        interpret,
        flag,
        cond,
        status,
        value: [0; 2],
        floats,
        insns: insns.as_ptr(),
        bus,
    };
    if floats {
        mxcsr::load(s.c.state.mxcsr);
    }
    // SAFETY: the caller vouches for the code; core and bus are borrowed by `s` for as long.
    let out = unsafe { code(&raw mut *s.c, &raw mut cx) };
    if floats {
        s.c.state.mxcsr = mxcsr::store();
        mxcsr::load(mxcsr::PLAIN);
    }
    out
}

/// The host's MXCSR, where it has one.
mod mxcsr {
    /// All exceptions masked, round to nearest: what Rust code expects.
    pub const PLAIN: u32 = 0x1f80;
    #[cfg(target_arch = "x86_64")]
    pub fn load(v: u32) {
        // SAFETY: the value comes from a guest's MXCSR, whose reserved bits are zero and whose exceptions are masked.
        unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &v, options(nostack, readonly)) }
    }
    #[cfg(target_arch = "x86_64")]
    pub fn store() -> u32 {
        let mut v = 0u32;
        // SAFETY: writes the four bytes of `v`.
        unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &mut v, options(nostack)) }
        v
    }
    #[cfg(not(target_arch = "x86_64"))]
    pub fn load(_: u32) {}
    #[cfg(not(target_arch = "x86_64"))]
    pub fn store() -> u32 {
        PLAIN
    }
}

/// The core and the bus as the interpreter wants them.
///
/// # Safety
/// The pointers are those that native code was entered with.
unsafe fn interp<'a>(core: *mut Core, cx: *mut Cx) -> Interp<'a> {
    // SAFETY: `run` made both from exclusive borrows which nobody uses while native code runs.
    unsafe { Interp { c: &mut *core, bus: &mut *(*cx).bus } }
}

fn width(bits: u64) -> Width {
    Width::of_bytes(bits / 8).unwrap_or(Width::W64)
}

/// Whether the bytes go on in the next page; `None` if that is nothing for a helper.
fn crosses(s: &Interp<'_>, la: u64, w: Width) -> Option<bool> {
    let end = la.wrapping_add(w.bytes() - 1);
    if !s.c.mode.long64() && end > 0xffff_ffff {
        return None;
    }
    Some((la ^ end) & !(PAGE - 1) != 0)
}

/// A load whose TLB entry was not there. 1: tier 0 has to do it.
extern "C" fn load(core: *mut Core, cx: *mut Cx, la: u64, bits: u64) -> u64 {
    // SAFETY: called by native code only.
    let mut s = unsafe { interp(core, cx) };
    let parts = if bits == 128 { 2 } else { 1 };
    for part in 0..parts {
        match load_part(&mut s, la.wrapping_add(8 * part), width(bits.min(64))) {
            // SAFETY: as above.
            Some(v) => unsafe { (*cx).value[part as usize] = v },
            None => return 1,
        }
    }
    0
}

fn load_part(s: &mut Interp<'_>, la: u64, w: Width) -> Option<u64> {
    let set = s.c.mode.data_set();
    match crosses(s, la, w) {
        None => None,
        Some(false) => match s.page(set, la, Access::Read) {
            Ok(_) => s.c.tlb.read(set, la, w),
            Err(_) => None,
        },
        Some(true) => {
            let mut v = Some(0);
            for n in 0..w.bytes() {
                let at = la.wrapping_add(n);
                let byte = match s.page(set, at, Access::Read) {
                    Ok(_) => s.c.tlb.read(set, at, Width::W8),
                    Err(_) => None,
                };
                v = v.zip(byte).map(|(v, b)| v | b << (8 * n));
            }
            v
        }
    }
}

/// A store whose TLB entry was not there. 1: tier 0 has to do it, nothing is done.
extern "C" fn store(core: *mut Core, cx: *mut Cx, la: u64, bits: u64, v: u64) -> u64 {
    // SAFETY: called by native code only.
    let mut s = unsafe { interp(core, cx) };
    let (w, set) = (width(bits), s.c.mode.data_set());
    let plain = |s: &mut Interp<'_>, at: u64| {
        s.page(set, at, Access::Write).is_ok() && s.c.tlb.ram_at(set, at, true).is_some()
    };
    match crosses(&s, la, w) {
        None => 1,
        Some(false) => (!(plain(&mut s, la) && s.c.tlb.write(set, la, w, v))) as u64,
        Some(true) => {
            let last = la.wrapping_add(w.bytes() - 1);
            if !plain(&mut s, la) || !plain(&mut s, last) || !plain(&mut s, la) {
                return 1;
            }
            let done = (0..w.bytes())
                .all(|n| s.c.tlb.write(set, la.wrapping_add(n), Width::W8, v >> (8 * n) & 0xff));
            !done as u64
        }
    }
}

/// Makes the TLB entry for a place that is to be read and written. 1: tier 0 has to do it.
extern "C" fn refill(core: *mut Core, cx: *mut Cx, la: u64, bytes: u64) -> u64 {
    // SAFETY: called by native code only.
    let mut s = unsafe { interp(core, cx) };
    let set = s.c.mode.data_set();
    let last = la.wrapping_add(bytes - 1);
    if (la ^ last) & !(PAGE - 1) != 0 || s.page(set, la, Access::Write).is_err() {
        return 1;
    }
    s.c.tlb.ram_at(set, la, true).is_none() as u64
}

/// Does an instruction of the region with the interpreter. The state is whole, RIP is the next instruction's, and the count is
/// that before it. 0: go on.
extern "C" fn interpret(core: *mut Core, cx: *mut Cx, index: u64, len: u64) -> u64 {
    // SAFETY: called by native code only, with an index of its own region.
    let (mut s, insn) = unsafe { (interp(core, cx), &*(*cx).insns.add(index as usize)) };
    let next = s.c.state.rip;
    // SAFETY: as above.
    let floats = unsafe { (*cx).floats };
    if floats {
        s.c.state.mxcsr = mxcsr::store();
        mxcsr::load(mxcsr::PLAIN);
    }
    let done = (ROWS[insn.row as usize].run)(&mut s, insn);
    if floats {
        mxcsr::load(s.c.state.mxcsr);
    }
    if done.is_err() {
        let rip = next.wrapping_sub(len);
        s.c.state.rip = if s.c.mode.long64() { rip } else { rip & 0xffff_ffff };
        return leave::FAULT;
    }
    if s.c.stop {
        s.c.left -= 1;
        return leave::EVENT;
    }
    if s.c.state.rip != next {
        s.c.left -= 1;
        return leave::JUMP;
    }
    0
}

extern "C" fn flag(core: *mut Core, cx: *mut Cx, f: u64) -> u64 {
    // SAFETY: called by native code only.
    unsafe { interp(core, cx) }.flag(Flag::ALL[f as usize % 6])
}
extern "C" fn cond(core: *mut Core, cx: *mut Cx, c: u64) -> u64 {
    // SAFETY: called by native code only.
    unsafe { interp(core, cx) }.cond(Cond::ALL[c as usize & 15])
}
extern "C" fn status(core: *mut Core, cx: *mut Cx) -> u64 {
    // SAFETY: called by native code only.
    unsafe { interp(core, cx) }.status()
}
