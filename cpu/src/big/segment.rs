//! Segment registers and descriptors.  SDM 3A, chapters 3 and 6.

use crate::mmu::{SYSTEM, canonical, in_segment};
use crate::{Access, Exception, Insn, Interp, Opnd, Raised, SegReg, Segment, Sem, Width};

/// Eight bytes of a descriptor table.
#[derive(Clone, Copy, Debug)]
pub struct Descriptor(pub u64);

impl Descriptor {
    fn high(self) -> u32 {
        (self.0 >> 32) as u32
    }
    /// The segment it describes, with `sel` as its selector.
    pub fn segment(self, sel: u16) -> Segment {
        let (lo, hi) = (self.0 as u32, self.high());
        let limit = lo & 0xffff | hi & 0xf_0000;
        Segment {
            sel,
            attr: hi & 0x00f0_ff00,
            limit: if hi & Segment::GRANULAR != 0 { limit << 12 | 0xfff } else { limit },
            base: (lo >> 16 | (hi & 0xff) << 16 | hi & 0xff00_0000) as u64,
        }
    }
    pub fn kind(self) -> u8 {
        (self.high() >> 8 & 15) as u8
    }
    pub fn is_system(self) -> bool {
        self.high() & Segment::CODE_DATA == 0
    }
    pub fn is_code(self) -> bool {
        self.high() & (Segment::CODE_DATA | Segment::CODE) == Segment::CODE_DATA | Segment::CODE
    }
    pub fn is_conforming(self) -> bool {
        self.is_code() && self.high() & Segment::DOWN != 0
    }
    pub fn is_writable_data(self) -> bool {
        self.high() & (Segment::CODE_DATA | Segment::CODE | Segment::RW)
            == Segment::CODE_DATA | Segment::RW
    }
    pub fn is_readable(self) -> bool {
        !self.is_system() && (!self.is_code() || self.high() & Segment::RW != 0)
    }
    pub fn dpl(self) -> u8 {
        (self.high() >> 13 & 3) as u8
    }
    pub fn present(self) -> bool {
        self.high() & Segment::PRESENT != 0
    }
    pub fn long(self) -> bool {
        self.high() & Segment::LONG != 0
    }
    pub fn big(self) -> bool {
        self.high() & Segment::BIG != 0
    }
    /// Of a gate: the low 32 bits of its offset.
    pub fn gate_offset(self) -> u32 {
        self.0 as u32 & 0xffff | self.high() & 0xffff_0000
    }
    pub fn gate_selector(self) -> u16 {
        (self.0 >> 16) as u16
    }
    /// Of a call gate: how many parameters are copied.
    pub fn gate_count(self) -> u64 {
        (self.high() & 31) as u64
    }
}

/// The error code that names a selector. `ext`: 1 if the event came from outside the program.
pub fn code(sel: u16, ext: u32) -> u32 {
    (sel & 0xfffc) as u32 | ext
}
pub fn null(sel: u16) -> bool {
    sel & 0xfffc == 0
}

/// What a segment register holds after a null selector was loaded.
pub fn null_segment(sel: u16) -> Segment {
    Segment { sel, attr: 0, limit: 0, base: 0 }
}

/// A stack that is not (yet) the current one: pushes and pops change only this value.
#[derive(Clone, Copy)]
pub struct Stack {
    pub seg: Segment,
    pub sp: u64,
    /// Width of the stack pointer.
    pub sw: Width,
    /// TLB set of the accesses.
    pub set: usize,
    /// Error code of #SS.
    pub code: u32,
    /// No rights are checked.
    pub real: bool,
}

impl Stack {
    /// The current stack.
    pub fn current(s: &Interp<'_>, ext: u32) -> Stack {
        Stack {
            seg: s.c.state.seg[2],
            sp: s.c.state.gpr[4] & s.c.mode.stack_width().mask(),
            sw: s.c.mode.stack_width(),
            set: s.c.mode.data_set(),
            code: ext,
            real: !s.protected(),
        }
    }
    /// A stack in a segment of its own, outside 64-bit mode.
    pub fn of(s: &Interp<'_>, seg: Segment, sp: u64, cpl: u8, code: u32) -> Stack {
        let sw = if seg.big() { Width::W32 } else { Width::W16 };
        Stack { seg, sp: sp & sw.mask(), sw, set: s.set_of(cpl), code, real: false }
    }
    /// A 64-bit stack.
    pub fn flat(s: &Interp<'_>, sp: u64, cpl: u8, code: u32) -> Stack {
        let seg = Segment::default();
        Stack { seg, sp, sw: Width::W64, set: s.set_of(cpl), code, real: false }
    }
    fn linear(&self, s: &mut Interp<'_>, at: u64, w: Width, a: Access) -> Result<u64, Raised> {
        let la = if self.sw == Width::W64 {
            let la57 = s.c.state.cr4 & 1 << 12 != 0;
            canonical(at, la57).then_some(at)
        } else {
            in_segment(&self.seg, at, w.bytes(), a, self.real)
        };
        match la {
            Some(la) => Ok(la),
            None => s.raise(Exception::ss(self.code)),
        }
    }
    pub fn push(&mut self, s: &mut Interp<'_>, w: Width, v: u64) -> Result<(), Raised> {
        let sp = self.sp.wrapping_sub(w.bytes()) & self.sw.mask();
        let la = self.linear(s, sp, w, Access::Write)?;
        s.store_in(self.set, la, w, v & w.mask())?;
        self.sp = sp;
        Ok(())
    }
    pub fn pop(&mut self, s: &mut Interp<'_>, w: Width) -> Result<u64, Raised> {
        let la = self.linear(s, self.sp, w, Access::Read)?;
        let v = s.load_in(self.set, la, w)?;
        self.skip(w.bytes());
        Ok(v)
    }
    pub fn skip(&mut self, bytes: u64) {
        self.sp = self.sp.wrapping_add(bytes) & self.sw.mask();
    }
    /// Makes its pointer the stack pointer.
    pub fn commit(&self, s: &mut Interp<'_>) {
        let sp = &mut s.c.state.gpr[4];
        *sp = match self.sw {
            Width::W16 => *sp & !0xffff | self.sp & 0xffff,
            w => self.sp & w.mask(),
        };
    }
}

impl Interp<'_> {
    /// Protected mode without vm86.
    pub fn protected(&self) -> bool {
        self.c.state.protected() && !self.c.state.vm86()
    }
    /// EFER.LMA: descriptors of the long kind.
    pub fn lma(&self) -> bool {
        self.c.state.long()
    }
    pub fn la57(&self) -> bool {
        self.c.state.cr4 & 1 << 12 != 0
    }
    pub fn cpl(&self) -> u8 {
        self.c.state.cpl
    }
    pub fn iopl(&self) -> u8 {
        (self.c.state.rflags >> 12 & 3) as u8
    }

    /// The linear address of a descriptor of `bytes` bytes; `None` outside the table.
    pub fn descriptor_at(&self, sel: u16, bytes: u64) -> Option<u64> {
        let s = &self.c.state;
        let (base, limit) = match sel & 4 {
            0 => (s.gdtr.base, s.gdtr.limit as u64),
            _ if null(s.ldtr.sel) || !s.ldtr.present() => return None,
            _ => (s.ldtr.base, s.ldtr.limit as u64),
        };
        let at = (sel & !7) as u64;
        if at + bytes - 1 > limit {
            return None;
        }
        let la = base.wrapping_add(at);
        Some(if s.long() { la } else { la & 0xffff_ffff })
    }
    /// Reads a descriptor; `None` outside the table.
    pub fn descriptor(&mut self, sel: u16) -> Result<Option<Descriptor>, Raised> {
        match self.descriptor_at(sel, 8) {
            Some(la) => Ok(Some(Descriptor(self.load_in(SYSTEM, la, Width::W64)?))),
            None => Ok(None),
        }
    }
    /// Reads a descriptor, or raises `e`.
    pub fn descriptor_or(&mut self, sel: u16, e: Exception) -> Result<Descriptor, Raised> {
        match self.descriptor(sel)? {
            Some(d) => Ok(d),
            None => self.raise(e),
        }
    }
    /// The upper half of a 16-byte descriptor (long mode); #GP if it is outside the table or not of type 0.
    pub fn upper(&mut self, sel: u16, e: Exception) -> Result<u64, Raised> {
        let Some(la) = self.descriptor_at(sel, 16) else { return self.raise(e) };
        let v = self.load_in(SYSTEM, la.wrapping_add(8), Width::W64)?;
        if v >> 40 & 31 != 0 {
            return self.raise(e);
        }
        Ok(v)
    }
    /// Sets the accessed bit in the table.
    pub fn mark_accessed(&mut self, sel: u16, d: Descriptor) -> Result<Descriptor, Raised> {
        if d.high() & Segment::ACCESSED == 0
            && let Some(la) = self.descriptor_at(sel, 8)
        {
            let kind = (d.0 >> 40) as u8 | 1;
            self.store_in(SYSTEM, la.wrapping_add(5), Width::W8, kind as u64)?;
        }
        Ok(Descriptor(d.0 | 1 << 40))
    }

    /// Loads ES, SS, DS, FS or GS, with all checks.  SDM 3A, 6.5; SDM 2B, MOV.
    pub fn load_segment(&mut self, reg: SegReg, sel: u16) -> Result<(), Raised> {
        let n = reg as usize;
        if !self.protected() {
            let vm86 = self.c.state.vm86();
            let seg = &mut self.c.state.seg[n];
            seg.sel = sel;
            seg.base = (sel as u64) << 4;
            if vm86 {
                *seg = vm86_segment(sel);
            }
            self.c.refresh();
            return Ok(());
        }
        let seg = self.check_segment(reg, sel, self.cpl())?;
        self.c.state.seg[n] = seg;
        self.c.refresh();
        Ok(())
    }

    /// What a data or stack segment register would hold, in protected mode.
    fn check_segment(&mut self, reg: SegReg, sel: u16, cpl: u8) -> Result<Segment, Raised> {
        let rpl = (sel & 3) as u8;
        let gp = Exception::gp(code(sel, 0));
        if null(sel) {
            if reg == SegReg::Ss && !(self.c.mode.long64() && cpl != 3 && rpl == cpl) {
                return self.raise(Exception::GP0);
            }
            return Ok(null_segment(sel));
        }
        let d = self.descriptor_or(sel, gp)?;
        let dpl = d.dpl();
        if reg == SegReg::Ss {
            if rpl != cpl || dpl != cpl || !d.is_writable_data() {
                return self.raise(gp);
            }
            if !d.present() {
                return self.raise(Exception::ss(code(sel, 0)));
            }
        } else {
            if !d.is_readable() || !d.is_conforming() && (rpl > dpl || cpl > dpl) {
                return self.raise(gp);
            }
            if !d.present() {
                return self.raise(Exception::np(code(sel, 0)));
            }
        }
        Ok(self.mark_accessed(sel, d)?.segment(sel))
    }

    /// After a return to less privilege: segments that it may not have become null. Null ones stay as they are, and in long
    /// mode FS and GS keep their bases, which have nothing to do with a selector.
    pub fn drop_segments(&mut self) {
        let (cpl, long) = (self.cpl(), self.lma());
        for n in [0, 3, 4, 5] {
            let seg = &mut self.c.state.seg[n];
            let conforming =
                seg.attr & (Segment::CODE | Segment::DOWN) == Segment::CODE | Segment::DOWN;
            if seg.dpl() < cpl && !conforming && !null(seg.sel) {
                let base = if long && n >= 4 { seg.base } else { 0 };
                *seg = Segment { base, ..null_segment(0) };
            }
        }
    }

    /// Goes to `rip` in a code segment, at privilege `cpl`.
    pub fn set_code(&mut self, seg: Segment, cpl: u8, rip: u64) {
        let s = &mut self.c.state;
        s.seg[1] = Segment { sel: seg.sel & !3 | cpl as u16, ..seg };
        s.cpl = cpl;
        s.rip = rip;
        self.c.refresh();
    }
}

/// A segment register in virtual-8086 mode.
pub fn vm86_segment(sel: u16) -> Segment {
    Segment { sel, attr: 0xf300, limit: 0xffff, base: (sel as u64) << 4 }
}

/// MOV to and from a segment register.
pub fn mov(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    use crate::sem::operand::{read, write};
    match (i.op[0], i.op[1]) {
        (Opnd::Seg(reg), _) => {
            let sel = read(s, i, 1)? as u16;
            if reg == SegReg::Cs {
                return s.raise(Exception::UD);
            }
            s.load_segment(reg, sel)?;
            if reg == SegReg::Ss {
                s.c.state.shadow |= 2;
                s.c.refresh();
            }
            Ok(())
        }
        (_, Opnd::Seg(reg)) => {
            let sel = s.c.state.seg[reg as usize].sel as u64;
            // Memory takes 16 bits whatever the operand size.
            let mut i = *i;
            if i.op[0] == Opnd::Mem {
                i.ow[0] = Width::W16;
            }
            write(s, &i, 0, sel)
        }
        _ => s.raise(Exception::UD),
    }
}

/// PUSH of a segment register.
pub fn push(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    let Opnd::Seg(reg) = i.op[0] else { return s.raise(Exception::UD) };
    let w = stack_operand(i);
    let sel = s.c.state.seg[reg as usize].sel as u64;
    let mut st = Stack::current(s, 0);
    if w == Width::W32 {
        // Only the selector is written, and what is above it stays: so do Intel's processors.  SDM 2B, PUSH.
        let at = st.sp.wrapping_sub(4) & st.sw.mask();
        s.store(SegReg::Ss, Width::W16, at, sel)?;
        st.sp = at;
    } else {
        st.push(s, w, sel)?;
    }
    st.commit(s);
    Ok(())
}

/// POP of a segment register.
pub fn pop(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    let Opnd::Seg(reg) = i.op[0] else { return s.raise(Exception::UD) };
    let w = stack_operand(i);
    let mut st = Stack::current(s, 0);
    let sel = if w == Width::W32 {
        // Of the four bytes only the selector is read.
        let sel = s.load(SegReg::Ss, Width::W16, st.sp)?;
        st.skip(4);
        sel as u16
    } else {
        st.pop(s, w)? as u16
    };
    s.load_segment(reg, sel)?;
    // The width of the old stack pointer counts, even for POP SS.
    st.commit(s);
    if reg == SegReg::Ss {
        s.c.state.shadow |= 2;
        s.c.refresh();
    }
    Ok(())
}

fn stack_operand(i: &Insn) -> Width {
    use iced_x86::Code::*;
    match i.iced() {
        Pushw_CS | Pushw_DS | Pushw_ES | Pushw_FS | Pushw_GS | Pushw_SS | Popw_DS | Popw_ES
        | Popw_FS | Popw_GS | Popw_SS => Width::W16,
        Pushq_FS | Pushq_GS | Popq_FS | Popq_GS => Width::W64,
        _ => Width::W32,
    }
}

/// LES, LSS, LDS, LFS, LGS.
fn load_far(s: &mut Interp<'_>, i: &Insn, reg: SegReg) -> Result<(), Raised> {
    let w = i.ow[0];
    let (to, sel) = far_pointer(s, i, w)?;
    s.load_segment(reg, sel)?;
    crate::sem::operand::write(s, i, 0, to)
}
pub fn les(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    load_far(s, i, SegReg::Es)
}
pub fn lds(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    load_far(s, i, SegReg::Ds)
}
pub fn lss(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    load_far(s, i, SegReg::Ss)
}
pub fn lfs(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    load_far(s, i, SegReg::Fs)
}
pub fn lgs(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    load_far(s, i, SegReg::Gs)
}

/// Reads an offset of width `w` and a selector after it.
pub fn far_pointer(s: &mut Interp<'_>, i: &Insn, w: Width) -> Result<(u64, u16), Raised> {
    use crate::Sem;
    let at = crate::sem::operand::address(s, i);
    let to = s.load(i.seg, w, at)?;
    let at = at.wrapping_add(w.bytes()) & i.aw.mask();
    let sel = s.load(i.seg, Width::W16, at)? as u16;
    Ok((to, sel))
}
