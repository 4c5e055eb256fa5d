//! System management mode: how a core gets there, and RSM.
//!
//! SDM 3C, chapter 33; the state save area is laid out as on AMD's 64-bit processors (AMD64 APM 2, 10.2.3), as QEMU's
//! processors have it and firmware for them expects. What stands in the first 0x1FF of the area that we do not use is left
//! as it was.

use super::control::{bits, cr0, cr0_is_sound, cr4, efer};
use crate::state::Table;
use crate::{Activity, Core, Insn, Interp, Raised, Segment, State};
use crate::{Exception, Width};
use memory::{PAGE, Target};

/// The area is the last 512 bytes of the 64 KiB from SMBASE.
const AREA: u64 = 0xFE00;
const LEN: usize = 0x200;
/// Execution begins here, from SMBASE.
const ENTRY: u64 = 0x8000;
/// SMBASE may be moved; the 64-bit layout.
const REVISION: u64 = 0x2_0064;
const RELOCATES: u64 = 0x2_0000;

/// Offsets in the area, less 0xFE00.
mod at {
    pub const SEGMENTS: usize = 0x00;
    pub const GDTR: usize = 0x60;
    pub const LDTR: usize = 0x70;
    pub const IDTR: usize = 0x80;
    pub const TR: usize = 0x90;
    /// A byte: the core was halted, and is to be so again.
    pub const HALTED: usize = 0xC9;
    pub const NMI_BLOCKED: usize = 0xCA;
    pub const CPL: usize = 0xCB;
    pub const EFER: usize = 0xD0;
    pub const REVISION: usize = 0xFC;
    pub const SMBASE: usize = 0x100;
    pub const CR4: usize = 0x148;
    pub const CR3: usize = 0x150;
    pub const CR0: usize = 0x158;
    pub const DR7: usize = 0x160;
    pub const DR6: usize = 0x168;
    pub const RFLAGS: usize = 0x170;
    pub const RIP: usize = 0x178;
    /// R15 first, RAX last.
    pub const GPRS: usize = 0x180;
}

/// The bytes of the area.
struct Area([u8; LEN]);

impl Area {
    fn get(&self, at: usize, bytes: usize) -> u64 {
        self.0[at..at + bytes].iter().rev().fold(0, |v, b| v << 8 | u64::from(*b))
    }
    fn put(&mut self, at: usize, bytes: usize, v: u64) {
        self.0[at..at + bytes].copy_from_slice(&v.to_le_bytes()[..bytes]);
    }
    fn put_segment(&mut self, at: usize, s: &Segment) {
        self.put(at, 2, s.sel.into());
        self.put(at + 2, 2, u64::from(s.attr >> 8 & 0xF0FF));
        self.put(at + 4, 4, s.limit.into());
        self.put(at + 8, 8, s.base);
    }
    fn segment(&self, at: usize) -> Segment {
        Segment {
            sel: self.get(at, 2) as u16,
            attr: (self.get(at + 2, 2) as u32 & 0xF0FF) << 8,
            limit: self.get(at + 4, 4) as u32,
            base: self.get(at + 8, 8),
        }
    }
    fn table(&self, at: usize) -> Table {
        Table { base: self.get(at + 8, 8), limit: self.get(at + 4, 4) as u16 }
    }

    /// Everything of a core that it keeps.
    fn save(&mut self, c: &Core) {
        let s = &c.state;
        for (n, seg) in s.seg.iter().enumerate() {
            self.put_segment(at::SEGMENTS + 16 * n, seg);
        }
        self.put_segment(at::LDTR, &s.ldtr);
        self.put_segment(at::TR, &s.tr);
        for (at, table) in [(at::GDTR, &s.gdtr), (at::IDTR, &s.idtr)] {
            self.put(at + 4, 4, table.limit.into());
            self.put(at + 8, 8, table.base);
        }
        for (n, v) in s.gpr.iter().rev().enumerate() {
            self.put(at::GPRS + 8 * n, 8, *v);
        }
        #[rustfmt::skip]
        let rest = [
            (at::HALTED, 1, (c.activity() == Activity::Halted).into()),
            (at::NMI_BLOCKED, 1, s.nmi_blocked.into()), (at::CPL, 1, s.cpl.into()),
            (at::EFER, 8, s.msr.efer), (at::REVISION, 4, REVISION), (at::SMBASE, 4, s.msr.smbase),
            (at::CR4, 8, s.cr4), (at::CR3, 8, s.cr3), (at::CR0, 8, s.cr0),
            (at::DR7, 8, s.dr7), (at::DR6, 8, s.dr6), (at::RFLAGS, 8, s.flags()), (at::RIP, 8, s.rip),
        ];
        rest.into_iter().for_each(|(at, bytes, v)| self.put(at, bytes, v));
    }

    /// The state to go back to; what the area does not keep is as in `now`.
    fn restore(&self, now: &State) -> State {
        let mut s = now.clone();
        s.seg = std::array::from_fn(|n| self.segment(at::SEGMENTS + 16 * n));
        (s.ldtr, s.tr) = (self.segment(at::LDTR), self.segment(at::TR));
        (s.gdtr, s.idtr) = (self.table(at::GDTR), self.table(at::IDTR));
        s.gpr = std::array::from_fn(|n| self.get(at::GPRS + 8 * (15 - n), 8));
        s.nmi_blocked = self.get(at::NMI_BLOCKED, 1) & 1 != 0;
        s.cpl = self.get(at::CPL, 1) as u8 & 3;
        s.msr.efer = self.get(at::EFER, 8);
        (s.cr4, s.cr3, s.cr0) = (self.get(at::CR4, 8), self.get(at::CR3, 8), self.get(at::CR0, 8));
        s.dr7 = self.get(at::DR7, 8) & 0xFFFF_2FFF | 0x400;
        s.dr6 = self.get(at::DR6, 8) & 0xE00F | 0xFFFF_0FF0;
        s.set_flags(self.get(at::RFLAGS, 8) & 0x3F_7FD5);
        s.rip = self.get(at::RIP, 8);
        if self.get(at::REVISION, 4) & RELOCATES != 0 {
            s.msr.smbase = self.get(at::SMBASE, 4);
        }
        (s.smm, s.shadow, s.pending_debug) = (false, 0, 0);
        s
    }
}

/// Copies between an area and physical memory as the core sees it now.
fn transfer(s: &mut Interp<'_>, area: &mut Area, write: bool) {
    let base = s.c.state.msr.smbase + AREA;
    let mut done = 0;
    while done < LEN {
        let phys = base + done as u64;
        let n = ((PAGE - phys % PAGE) as usize).min(LEN - done);
        let part = &mut area.0[done..done + n];
        match (s.bus.page(phys), write) {
            (Some(Target::Ram { offset }), true) => {
                let _ = s.c.tlb.ram().write(offset | phys % PAGE, part);
            }
            (Some(Target::Ram { offset } | Target::Rom { offset, .. }), false) => {
                let _ = s.c.tlb.ram().read(offset | phys % PAGE, part);
            }
            (_, true) => {
                for (n, b) in part.iter().enumerate() {
                    s.bus.write(s.c.retired(), phys + n as u64, Width::W8, (*b).into());
                }
            }
            (_, false) => {
                for (n, b) in part.iter_mut().enumerate() {
                    *b = s.bus.read(s.c.retired(), phys + n as u64, Width::W8) as u8;
                }
            }
        }
        done += n;
    }
    if s.c.tlb.ram().code_was_written() {
        s.c.stop = true;
    }
    s.after_bus();
}

/// A system management interrupt: the handler begins. It counts as an instruction.
pub fn enter(s: &mut Interp<'_>) {
    s.c.left -= 1;
    s.bus.set_smm(true);
    let mut area = Area([0; LEN]);
    transfer(s, &mut area, false);
    area.save(s.c);
    transfer(s, &mut area, true);
    let st = &mut s.c.state;
    st.smm = true;
    st.nmi_blocked = true;
    st.activity = Activity::Running as u8;
    st.monitor = None;
    let flat = |sel, base| Segment { sel, attr: 0x93 << 8 | Segment::GRANULAR, limit: !0, base };
    st.seg = [flat(0, 0); 6];
    st.seg[1] = flat((st.msr.smbase >> 4) as u16, st.msr.smbase);
    st.rip = ENTRY;
    st.set_flags(2);
    st.cpl = 0;
    st.cr0 &= !(cr0::PE | 1 << 2 | cr0::TS | cr0::PG);
    (st.cr4, st.msr.efer, st.dr7) = (0, 0, 0x400);
    s.flush_all();
    s.c.stop = true;
    s.c.refresh();
}

/// Whether a processor can be in this state.
fn sound(s: &Interp<'_>, new: &State) -> bool {
    let (cr4_mask, efer_mask) = bits(s);
    let efer = new.msr.efer;
    new.check().is_ok()
        && cr0_is_sound(new.cr0)
        && new.cr4 & !cr4_mask == 0
        && (new.cr4 & cr4::PCIDE == 0 || efer & efer::LMA != 0)
        && efer & !efer_mask == 0
        && (efer & efer::LMA == 0 || new.cr3 >> s.c.model.phys_bits() == 0)
}

/// RSM. Outside system management mode it is no instruction; a state that cannot be is a shutdown.
pub fn rsm(s: &mut Interp<'_>, _: &Insn) -> Result<(), Raised> {
    if !s.c.state.smm {
        return s.raise(Exception::UD);
    }
    let mut area = Area([0; LEN]);
    transfer(s, &mut area, false);
    let new = area.restore(&s.c.state);
    s.bus.set_smm(false);
    let sound = sound(s, &new);
    s.c.state = new;
    s.flush_all();
    let st = &s.c.state;
    let pae = st.cr0 & cr0::PG != 0 && st.cr4 & cr4::PAE != 0 && st.msr.efer & efer::LMA == 0;
    let cr3 = st.cr3;
    if !sound || pae && s.load_pdptes(cr3).is_err() {
        s.bus.complain(format_args!("RSM to a state that no processor has"));
        // Only a reset helps; until then the rest of us meets a state as processors have it.
        s.c.state = State { msr: s.c.state.msr.clone(), ..State::default() };
        s.c.state.msr.efer = 0;
        s.c.set_activity(Activity::Shutdown);
        s.c.refresh();
        return Ok(());
    }
    if area.get(at::HALTED, 1) & 1 != 0 {
        s.c.set_activity(Activity::Halted);
    }
    s.c.refresh();
    // Whatever waited for the end of this mode is due.
    s.c.stop = true;
    Ok(())
}

#[cfg(test)]
mod test;
