//! The host's x87 unit in place of the guest's, while native code runs.  SDM vol. 1, chapter 8.
//!
//! From the first x87 instruction of the baseline tier on, the guest's whole state of the unit is in the host's, until native
//! code is left or somebody needs to see it. It survives calls of helpers: no Rust code for x86-64 touches the unit.
//! What notes the place of the last instruction stays in the core: the host's own notes are of the host's addresses.
// UNSAFE: loading and storing the host's unit.
#![allow(unsafe_code)]

use crate::native::{Access2, Cx, refill_read};
use cpu::Fpu;
use cpu::{Core, Insn, Opnd};
use iced_x86::Mnemonic;
use std::mem::offset_of;
use std::sync::LazyLock;

/// What the emitted code calls where it cannot go on: to load the unit, and to have a place in memory in the TLB.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Thunk {
    Enter,
    Read,
    Write,
}
impl Thunk {
    pub const ALL: [Thunk; 3] = [Thunk::Enter, Thunk::Read, Thunk::Write];
}

/// A part of the context of native code.
#[repr(C)]
pub struct Unit {
    /// The host's unit has the guest's state, if this is not 0.
    loaded: u64,
    thunks: [*const u8; 3],
    enter: Access2,
    read: Access2,
}
/// Places in the context.
pub const LOADED: i32 = (offset_of!(Cx, x87) + offset_of!(Unit, loaded)) as i32;
pub const ENTER: usize = offset_of!(Cx, x87) + offset_of!(Unit, enter);
pub const READ: usize = offset_of!(Cx, x87) + offset_of!(Unit, read);
pub fn thunk_at(t: Thunk) -> i32 {
    (offset_of!(Cx, x87) + offset_of!(Unit, thunks) + 8 * t as usize) as i32
}
/// Where the core has the address of the last instruction that computed.
pub fn ip_at() -> i32 {
    (offset_of!(Core, state) + offset_of!(cpu::State, fpu) + offset_of!(Fpu, ip)) as i32
}

impl Unit {
    pub fn new() -> Unit {
        Unit { loaded: 0, thunks: [std::ptr::null(); 3], enter, read: refill_read }
    }
    /// Takes the code of a thunk.
    ///
    /// # Safety
    /// It must be what [`crate::emit::x87::thunk`] gave for it, and stay as long as native code is run.
    pub unsafe fn set_thunk(&mut self, t: Thunk, code: *const u8) {
        self.thunks[t as usize] = code;
    }
    /// Puts the state back where it belongs, if the host's unit has it.
    #[inline(always)]
    pub fn leave(&mut self, fpu: &mut Fpu) {
        if self.loaded != 0 {
            self.store(fpu);
        }
    }
    #[cold]
    fn store(&mut self, fpu: &mut Fpu) {
        self.loaded = 0;
        Image::store().give(fpu);
    }
    /// The same before an instruction that is called, if that may see the state.
    #[inline(always)]
    pub fn before(&mut self, i: &Insn, fpu: &mut Fpu) {
        if self.loaded != 0 && sees(i) {
            self.leave(fpu);
        }
    }
}

/// Loads the unit. 1: that cannot be, so tier 0 has to do the instruction.
extern "C" fn enter(core: *mut Core, cx: *mut Cx, _: u64, _: u64) -> u64 {
    // SAFETY: called by native code only, whose pointers these are.
    let (fpu, unit) = unsafe { (&(*core).state.fpu, &mut (*cx).x87) };
    if !fits(fpu) {
        return 1;
    }
    Image::of(fpu).load();
    unit.loaded = 1;
    0
}

/// Whether the host's unit computes with this state as the guest's does, and never raises an exception: all are masked, and no
/// bits are set that no unit has.
fn fits(fpu: &Fpu) -> bool {
    fpu.cw & 0xe0ff == 0x7f && fpu.sw & 0xb880 == 0 && fpu.top < 8
}

/// Instructions of the system that may run while the host's unit has the guest's state: common, and they do not look at it.
#[rustfmt::skip]
const BLIND: &[Mnemonic] = &[
    Mnemonic::Clac, Mnemonic::Cli, Mnemonic::Clflush, Mnemonic::Clflushopt, Mnemonic::Cpuid, Mnemonic::Invlpg,
    Mnemonic::Iret, Mnemonic::Iretd, Mnemonic::Iretq, Mnemonic::Lfence, Mnemonic::Mfence, Mnemonic::Sfence,
    Mnemonic::Pause, Mnemonic::Popf, Mnemonic::Popfd, Mnemonic::Popfq, Mnemonic::Pushf, Mnemonic::Pushfd,
    Mnemonic::Pushfq, Mnemonic::Prefetch, Mnemonic::Prefetchnta, Mnemonic::Prefetcht0, Mnemonic::Prefetcht1,
    Mnemonic::Prefetcht2, Mnemonic::Prefetchw, Mnemonic::Rdtsc, Mnemonic::Rdtscp, Mnemonic::Reservednop,
    Mnemonic::Stac, Mnemonic::Sti, Mnemonic::Swapgs, Mnemonic::Syscall, Mnemonic::Sysret, Mnemonic::Sysretq,
];

macro_rules! names {
    ($($name:ident $kind:ident $first:ident$(::$rest:ident)* $($flag:ident)*;)*) => {
        &[$(Mnemonic::$name),*]
    };
}
static OWN: &[Mnemonic] = cpu::x87_rows!(names);
static SYSTEM: &[Mnemonic] = cpu::system_rows!(names);

/// Rows whose instructions may see the unit's state whatever their operands: those of the unit itself, EMMS, and all of the
/// system that are not known not to, among them FXSAVE, XSAVE and RSM.
static SEES: LazyLock<Vec<bool>> = LazyLock::new(|| {
    let mut all = vec![false; cpu::rows::ROWS.len()];
    let system = SYSTEM.iter().filter(|m| !BLIND.contains(m));
    for m in OWN.iter().chain(system).chain(&[Mnemonic::Emms]) {
        all[cpu::rows::number(*m) as usize] = true;
    }
    all
});

/// Whether an instruction that is called may see the unit's state. MMX registers are part of it.
pub fn sees(i: &Insn) -> bool {
    SEES[i.row as usize] || i.op.iter().any(|o| matches!(o, Opnd::Mmx(_)))
}

/// The unit's state as FNSAVE stores it in 32-bit protected mode.  SDM vol. 1, figure 8-9.
#[repr(C, align(16))]
struct Image([u8; 108]);

/// Where the fields are: control, status, tags, then the registers from ST0 on.
const SW: usize = 4;
const TAGS: usize = 8;
const REGISTERS: usize = 28;
/// TOP in the status word.
const TOP: u16 = 11;

impl Image {
    fn of(fpu: &Fpu) -> Image {
        let mut b = [0; 108];
        let mut put = |at: usize, v: u16| b[at..at + 2].copy_from_slice(&v.to_le_bytes());
        put(0, fpu.cw);
        put(SW, fpu.sw | u16::from(fpu.top) << TOP);
        // Of a tag only whether it says "empty" counts when it is loaded.
        put(TAGS, (0..8).fold(0, |all, k| all | u16::from(fpu.empty >> k & 1) * 3 << (2 * k)));
        for n in 0..8 {
            let (r, at) = (usize::from(fpu.top) + n & 7, REGISTERS + 10 * n);
            b[at..at + 8].copy_from_slice(&fpu.sig[r].to_le_bytes());
            b[at + 8..at + 10].copy_from_slice(&fpu.sexp[r].to_le_bytes());
        }
        Image(b)
    }
    fn give(&self, fpu: &mut Fpu) {
        let word = |at: usize| u16::from_le_bytes([self.0[at], self.0[at + 1]]);
        let (sw, tags) = (word(SW), word(TAGS));
        fpu.cw = word(0);
        fpu.sw = sw & !(7 << TOP);
        fpu.top = (sw >> TOP & 7) as u8;
        fpu.empty = (0..8).fold(0, |all, k| all | u8::from(tags >> (2 * k) & 3 == 3) << k);
        for n in 0..8 {
            let (r, at) = (usize::from(fpu.top) + n & 7, REGISTERS + 10 * n);
            fpu.sig[r] = u64::from_le_bytes(std::array::from_fn(|k| self.0[at + k]));
            fpu.sexp[r] = word(at + 8);
        }
    }
    #[cfg(target_arch = "x86_64")]
    fn load(&self) {
        // SAFETY: reads the 108 bytes; code for x86-64 does not use the unit, and no exception is unmasked in it.
        unsafe { std::arch::asm!("frstor [{}]", in(reg) self, options(nostack, readonly)) }
    }
    /// Takes the state from the host's unit, which is then as after its start, and as others expect it.
    #[cfg(target_arch = "x86_64")]
    fn store() -> Image {
        let mut to = Image([0; 108]);
        // SAFETY: writes the 108 bytes; see above.
        unsafe { std::arch::asm!("fnsave [{}]", in(reg) &mut to, options(nostack)) }
        to
    }
    #[cfg(not(target_arch = "x86_64"))]
    fn load(&self) {}
    #[cfg(not(target_arch = "x86_64"))]
    fn store() -> Image {
        Image([0; 108])
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod test {
    use super::*;

    #[test]
    fn the_state_comes_back_from_the_host_as_it_went() {
        for top in 0..8 {
            let fpu = Fpu {
                sig: std::array::from_fn(|n| 0x0123_4567_89ab_cdef << n),
                sexp: std::array::from_fn(|n| 0xffff - 0x1111 * n as u16),
                cw: 0xf7f,
                sw: 0x4703 | 0x3c,
                top,
                empty: 0b1010_0110,
                ip: 0x1_2345_6789,
                ..Fpu::default()
            };
            assert!(fits(&fpu));
            Image::of(&fpu).load();
            let mut back = Fpu { ip: fpu.ip, ..Fpu::default() };
            Image::store().give(&mut back);
            assert_eq!(back, fpu);
        }
    }
    #[test]
    fn what_the_host_would_raise_stays_with_the_interpreter() {
        assert!(fits(&Fpu::default()));
        for n in 0..6 {
            assert!(!fits(&Fpu { cw: 0x37f & !(1 << n), ..Fpu::default() }), "{n}");
        }
        assert!(!fits(&Fpu { sw: 0x8081, ..Fpu::default() }));
    }
}
