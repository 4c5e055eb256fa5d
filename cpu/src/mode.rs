//! What decoding and translation depend on besides the bytes.

use crate::{Segment, State, Width, flags};
use memory::DATA_SETS;

/// A core's mode: two cores in equal modes run the same bytes in the same way. Blocks are keyed by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Mode(pub u32);

impl Mode {
    /// Bits 0-1: code size, 0: 16 bits, 1: 32, 2: 64.
    pub(crate) const SIZE: u32 = 3;
    /// Bits 2-3: current privilege level.
    const CPL: u32 = 2;
    /// The stack pointer is ESP (outside 64-bit mode).
    pub const STACK32: u32 = 1 << 4;
    /// CS, DS, ES and SS start at 0 and reach to 4 GiB (outside 64-bit mode).
    pub const FLAT: u32 = 1 << 5;
    /// CR0.EM is set: x87 is #NM, MMX and SSE #UD.
    pub const EM: u32 = 1 << 6;
    /// CR0.TS is set: x87, MMX, SSE and AVX are #NM.
    pub const TS: u32 = 1 << 7;
    /// CR4.OSFXSR: SSE may be used.
    pub const SSE: u32 = 1 << 8;
    /// CR4.OSXSAVE and XCR0 let AVX be used.
    pub const AVX: u32 = 1 << 9;
    pub const OSXSAVE: u32 = 1 << 10;
    /// RFLAGS.TF or RF, an enabled breakpoint, a due debug trap, interrupts held off: one instruction at a time, with
    /// [`crate::step_with_events`].
    pub const STEP: u32 = 1 << 11;
    /// MXCSR masks all exceptions.
    pub const MASKED: u32 = 1 << 12;
    pub const PROTECTED: u32 = 1 << 13;
    pub const VM86: u32 = 1 << 14;
    /// Bits 15-16: the TLB set of ordinary data accesses (see `mmu`).
    const SET: u32 = 15;
    pub const LA57: u32 = 1 << 17;
    /// Alignment checks (CPL 3, CR0.AM and RFLAGS.AC).
    pub const ALIGN: u32 = 1 << 18;
    /// CR0.MP with TS makes WAIT #NM.
    pub const MP: u32 = 1 << 19;

    /// The mode that a state is in.
    pub fn of(s: &State) -> Mode {
        let (cs, ss) = (&s.seg[1], &s.seg[2]);
        let long64 = s.long() && cs.attr & Segment::LONG != 0;
        let size = match (long64, cs.big()) {
            (true, _) => 2,
            (false, true) => 1,
            (false, false) => 0,
        };
        let mut m = size | (s.cpl as u32) << Self::CPL;
        let mut bit = |on: bool, bit: u32| m |= if on { bit } else { 0 };
        let flat = |n: usize| {
            s.seg[n].base == 0 && s.seg[n].limit == u32::MAX && s.seg[n].attr & Segment::DOWN == 0
        };
        bit(!long64 && ss.big(), Self::STACK32);
        // An expand-up data segment, or conforming bit of code: only the limits matter to CS.
        bit(
            !long64
                && flat(0)
                && flat(2)
                && flat(3)
                && cs.base == 0
                && cs.limit == u32::MAX
                && [0, 2, 3]
                    .iter()
                    .all(|&n: &usize| s.seg[n].attr & (Segment::RW | Segment::CODE) == Segment::RW),
            Self::FLAT,
        );
        bit(s.cr0 & 1 << 2 != 0, Self::EM);
        bit(s.cr0 & 1 << 3 != 0, Self::TS);
        bit(s.cr0 & 1 << 1 != 0, Self::MP);
        bit(s.cr4 & 1 << 9 != 0, Self::SSE);
        let osxsave = s.cr4 & 1 << 18 != 0;
        bit(osxsave, Self::OSXSAVE);
        bit(osxsave && s.xcr0 & 6 == 6, Self::AVX);
        let watched = s.dr7 & 0xff != 0 || s.pending_debug != 0 || s.shadow != 0;
        bit(watched || s.rflags & (flags::TF | flags::RF) != 0, Self::STEP);
        bit(s.mxcsr & 0x1f80 == 0x1f80, Self::MASKED);
        bit(s.protected(), Self::PROTECTED);
        bit(s.vm86(), Self::VM86);
        bit(s.cr4 & 1 << 12 != 0, Self::LA57);
        bit(s.cpl == 3 && s.cr0 & 1 << 18 != 0 && s.rflags & flags::AC != 0, Self::ALIGN);
        let set = match s.cpl {
            3 => 1,
            _ if s.rflags & flags::AC != 0 && s.cr4 & 1 << 21 != 0 => 2,
            _ => 0,
        };
        Mode(m | set << Self::SET)
    }

    pub fn has(self, bit: u32) -> bool {
        self.0 & bit != 0
    }
    /// Bits of the code segment: 16, 32 or 64.
    #[inline(always)]
    pub fn bits(self) -> u32 {
        16 << (self.0 & Self::SIZE)
    }
    #[inline(always)]
    pub fn long64(self) -> bool {
        self.0 & Self::SIZE == 2
    }
    pub fn cpl(self) -> u8 {
        (self.0 >> Self::CPL & 3) as u8
    }
    /// The TLB set of ordinary data accesses.
    #[inline(always)]
    pub fn data_set(self) -> usize {
        (self.0 >> Self::SET & 3) as usize
    }
    /// The TLB set that instruction fetches use: SMAP has no say in them.
    pub fn code_set(self) -> usize {
        DATA_SETS + (self.cpl() == 3) as usize
    }
    /// The mode that a kernel with SMAP is in while RFLAGS.AC is like this.
    pub fn with_access(self, on: bool) -> Mode {
        let user = if on { 2 << Self::SET } else { 0 };
        Mode(self.0 & !(3 << Self::SET) | user)
    }
    /// Width of the stack pointer.
    #[inline(always)]
    pub fn stack_width(self) -> Width {
        match (self.long64(), self.has(Self::STACK32)) {
            (true, _) => Width::W64,
            (false, true) => Width::W32,
            (false, false) => Width::W16,
        }
    }
}
