//! All that a guest can see of one core.

use crate::flags;
use state::state;

state! {
    /// A segment register with its hidden part.  SDM 3A, 3.4.3.
    #[derive(Copy, Eq)]
    #[repr(C)]
    pub struct Segment {
        1 sel: u16 = 0,
        /// Bits 8-23 of the descriptor's second half, as they stand there: type 8-11, S 12, DPL 13-14, P 15, AVL 20, L 21, D/B 22, G 23.
        2 attr: u32 = 0,
        /// In bytes, granularity applied.
        3 limit: u32 = 0xffff,
        4 base: u64 = 0,
    }
}

impl Segment {
    pub const PRESENT: u32 = 1 << 15;
    pub const CODE_DATA: u32 = 1 << 12;
    pub const LONG: u32 = 1 << 21;
    /// D of a code segment, B of a stack or expand-down segment.
    pub const BIG: u32 = 1 << 22;
    pub const GRANULAR: u32 = 1 << 23;
    /// Type bit 3: code (with S set).
    pub const CODE: u32 = 1 << 11;
    /// Type bit 1: writable data, readable code.
    pub const RW: u32 = 1 << 9;
    /// Type bit 2: expand-down data, conforming code.
    pub const DOWN: u32 = 1 << 10;
    pub const ACCESSED: u32 = 1 << 8;

    pub fn dpl(&self) -> u8 {
        (self.attr >> 13 & 3) as u8
    }
    /// The four type bits.
    pub fn kind(&self) -> u8 {
        (self.attr >> 8 & 15) as u8
    }
    pub fn present(&self) -> bool {
        self.attr & Self::PRESENT != 0
    }
    pub fn big(&self) -> bool {
        self.attr & Self::BIG != 0
    }
    /// A real-mode segment.
    pub fn real(sel: u16) -> Self {
        Segment { sel, attr: 0x9300, limit: 0xffff, base: (sel as u64) << 4 }
    }
}

state! {
    /// GDTR or IDTR.
    #[derive(Copy, Eq)]
    pub struct Table { 1 base: u64 = 0, 2 limit: u16 = 0xffff }
}

state! {
    /// The x87 unit; MMX registers are the significands.  SDM 1, chapter 8.
    #[repr(C)]
    pub struct Fpu {
        /// Physical registers R0-R7: significands, then sign and exponent.
        1 sig: [u64; 8] = [0; 8],
        2 sexp: [u16; 8] = [0; 8],
        3 cw: u16 = 0x37f,
        /// Status word without TOP (bits 11-13 are zero here).
        4 sw: u16 = 0,
        5 top: u8 = 0,
        /// One bit a physical register: 1 empty.
        6 empty: u8 = 0xff,
        7 op: u16 = 0,
        8 ip: u64 = 0,
        9 dp: u64 = 0,
        10 cs: u16 = 0,
        11 ds: u16 = 0,
    }
}

state! {
    /// Model-specific registers that hold a value of their own.
    pub struct Msrs {
        1 efer: u64 = 0,
        2 star: u64 = 0,
        3 lstar: u64 = 0,
        4 cstar: u64 = 0,
        5 sfmask: u64 = 0,
        6 kernel_gs_base: u64 = 0,
        7 sysenter_cs: u64 = 0,
        8 sysenter_esp: u64 = 0,
        9 sysenter_eip: u64 = 0,
        10 pat: u64 = 0x0007_0406_0007_0406,
        11 tsc_aux: u64 = 0,
        12 tsc_adjust: u64 = 0,
        13 misc_enable: u64 = 1,
        14 xss: u64 = 0,
        15 spec_ctrl: u64 = 0,
        16 pkrs: u64 = 0,
        17 mtrr_def_type: u64 = 0,
        18 mtrr_fixed: [u64; 11] = [0; 11],
        19 mtrr_base: [u64; 8] = [0; 8],
        20 mtrr_mask: [u64; 8] = [0; 8],
        21 debugctl: u64 = 0,
        22 mcg_status: u64 = 0,
        23 mc_ctl: [u64; 10] = [0; 10],
        24 mc_status: [u64; 10] = [0; 10],
        25 mc_addr: [u64; 10] = [0; 10],
        26 mc_misc: [u64; 10] = [0; 10],
        27 tsc_offset: u64 = 0,
        28 apic_base: u64 = 0xfee0_0000,
        29 smbase: u64 = 0x3_0000,
        30 feature_control: u64 = 1,
        31 bios_sign: u64 = 0,
    }
}

state! {
    /// One core. Emitted code reads and writes the first fields by their offsets.
    #[repr(C, align(32))]
    pub struct State {
        1 gpr: [u64; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        /// While an instruction runs: the address of the next one. Otherwise: of the one to run.
        2 rip: u64 = 0xfff0,
        /// How the status flags arose (see `flags`).
        3 lazy: flags::Lazy = flags::Lazy::default(),
        /// RFLAGS without the status flags, which are in `lazy`.
        4 rflags: u64 = 2,
        5 ymm: [[u128; 2]; 16] = [[0; 2]; 16],
        6 mxcsr: u32 = 0x1f80,
        7 fpu: Fpu = Fpu::default(),
        /// ES CS SS DS FS GS.
        8 seg: [Segment; 6] = [Segment::real(0), Segment { base: 0xffff_0000, ..Segment::real(0xf000) },
                               Segment::real(0), Segment::real(0), Segment::real(0), Segment::real(0)],
        9 ldtr: Segment = Segment { attr: 0x8200, ..Segment::default() },
        10 tr: Segment = Segment { attr: 0x8b00, ..Segment::default() },
        11 gdtr: Table = Table::default(),
        12 idtr: Table = Table::default(),
        13 cr0: u64 = 0x6000_0010,
        14 cr2: u64 = 0,
        15 cr3: u64 = 0,
        16 cr4: u64 = 0,
        17 xcr0: u64 = 1,
        18 dr: [u64; 4] = [0; 4],
        19 dr6: u64 = 0xffff_0ff0,
        20 dr7: u64 = 0x400,
        21 msr: Msrs = Msrs::default(),
        22 pkru: u32 = 0,
        23 cpl: u8 = 0,
        24 activity: u8 = 0,
        /// Interrupts are held off for one instruction (after STI, MOV SS, POP SS): bit 0 STI, bit 1 MOV SS.
        25 shadow: u8 = 0,
        26 nmi_blocked: bool = false,
        27 nmi_pending: bool = false,
        28 init_pending: bool = false,
        /// The vector of a start-up message that has come, plus 0x100.
        29 sipi: u16 = 0,
        /// Debug-exception causes (DR6 bits) that are due after this instruction.
        30 pending_debug: u32 = 0,
        /// Where in RAM the monitored line is; bit 0: an interrupt that is masked ends MWAIT too.
        31 monitor: Option<u64> = None,
        32 smm: bool = false,
        33 smi_pending: bool = false,
        /// The page-directory-pointer entries that PAE paging loads with CR3.
        34 pdpte: [u64; 4] = [0; 4],
        /// The monitored line as MONITOR saw it.
        35 monitor_line: [u64; 8] = [0; 8],
    }
}

impl State {
    /// RFLAGS as the guest reads it.
    pub fn flags(&self) -> u64 {
        self.rflags & !flags::STATUS | 2 | self.lazy.status()
    }
    /// Sets RFLAGS whole.
    pub fn set_flags(&mut self, v: u64) {
        self.rflags = v & !flags::STATUS | 2;
        self.lazy = flags::Lazy::raw(v & flags::STATUS);
    }
    /// Works out the lazy flags, so that equal states are equal in every bit.
    pub fn settle(&mut self) {
        self.lazy = flags::Lazy::raw(self.lazy.status());
    }
    /// EFER.LMA.
    pub fn long(&self) -> bool {
        self.msr.efer & 1 << 10 != 0
    }
    /// CR0.PE.
    pub fn protected(&self) -> bool {
        self.cr0 & 1 != 0
    }
    /// RFLAGS.VM.
    pub fn vm86(&self) -> bool {
        self.rflags & flags::VM != 0
    }
    /// Whether this is a state that a core can be in, as the rest takes for granted. For states that come from outside.
    pub fn check(&self) -> Result<(), state::Misfit> {
        let (pe, pg) = (self.cr0 & 1 != 0, self.cr0 >> 31 & 1 != 0);
        let (lme, lma) = (self.msr.efer & 1 << 8 != 0, self.long());
        let long64 = lma && self.seg[1].attr & Segment::LONG != 0;
        let rules = [
            (self.fpu.top < 8 && self.fpu.sw & 0x3800 == 0, "the x87 stack's top"),
            (self.mxcsr >> 16 == 0, "MXCSR"),
            (self.rflags & flags::STATUS == 0 && self.rflags & 2 != 0, "RFLAGS"),
            (self.cpl < 4 && (pe || self.cpl == 0), "the privilege level"),
            (pe || !pg, "CR0"),
            (lma == (lme && pg) && (!lma || self.cr4 & 1 << 5 != 0), "EFER"),
            (!self.vm86() || pe && !lma && self.cpl == 3, "RFLAGS.VM"),
            (long64 || self.rip <= 0xffff_ffff, "RIP"),
            (self.xcr0 & 1 != 0, "XCR0"),
        ];
        match rules.iter().find(|(good, _)| !good) {
            None => Ok(()),
            Some((_, what)) => {
                Err(state::Misfit::Unfit(format!("{what} is as no processor has it")))
            }
        }
    }
}
