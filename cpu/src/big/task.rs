//! Hardware task switches.  SDM 3A, chapter 8.

use super::segment::{Descriptor, Stack, code, null, null_segment, vm86_segment};
use crate::event::{BT, deliver};
use crate::mmu::SYSTEM;
use crate::{Exception, Interp, Raised, Segment, Width, flags};

/// What makes the switch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum How {
    Jump,
    Call,
    Return,
    /// An exception or interrupt through a task gate: its error code, and whether it came from outside the program.
    Gate(Option<u32>, u32),
}

/// Where things are in a task state, which has words of two or four bytes.
struct Layout {
    w: Width,
    min_limit: u32,
    ip: u64,
    flags: u64,
    regs: u64,
    segs: u64,
    seg_count: usize,
    ldt: u64,
}
const WIDE: Layout = Layout {
    w: Width::W32,
    min_limit: 0x67,
    ip: 0x20,
    flags: 0x24,
    regs: 0x28,
    segs: 0x48,
    seg_count: 6,
    ldt: 0x60,
};
const NARROW: Layout = Layout {
    w: Width::W16,
    min_limit: 0x2b,
    ip: 0xe,
    flags: 0x10,
    regs: 0x12,
    segs: 0x22,
    seg_count: 4,
    ldt: 0x2a,
};
fn layout(kind: u8) -> &'static Layout {
    if kind & 8 != 0 { &WIDE } else { &NARROW }
}

/// A far JMP or CALL to a task state or task gate, whose descriptor `d` is.
pub fn transfer(s: &mut Interp<'_>, sel: u16, d: Descriptor, how: How) -> Result<(), Raised> {
    if d.dpl() < s.cpl() || d.dpl() < (sel & 3) as u8 {
        return s.raise(Exception::gp(code(sel, 0)));
    }
    if !d.present() {
        return s.raise(Exception::np(code(sel, 0)));
    }
    if d.kind() != 5 {
        return switch(s, sel, how);
    }
    switch(s, d.gate_selector(), how)
}

/// An event through a task gate.
pub fn gate(s: &mut Interp<'_>, sel: u16, error: Option<u32>, ext: u32) -> Result<(), Raised> {
    switch(s, sel, How::Gate(error, ext))
}

/// IRET with NT set: back to the task in the link field.
pub fn back(s: &mut Interp<'_>) -> Result<(), Raised> {
    let base = s.c.state.tr.base;
    let sel = s.load_in(SYSTEM, base & 0xffff_ffff, Width::W16)? as u16;
    switch(s, sel, How::Return)
}

fn switch(s: &mut Interp<'_>, sel: u16, how: How) -> Result<(), Raised> {
    let ext = if let How::Gate(_, ext) = how { ext } else { 0 };
    let ts = Exception::ts(code(sel, ext));
    let bad = if how == How::Return { ts } else { Exception::gp(code(sel, ext)) };
    if sel & 4 != 0 || null(sel) {
        return s.raise(bad);
    }
    let d = s.descriptor_or(sel, bad)?;
    let wanted = if how == How::Return { 3 } else { 1 };
    if !d.is_system() || d.kind() & 7 != wanted {
        return s.raise(bad);
    }
    if !d.present() {
        return s.raise(Exception::np(code(sel, ext)));
    }
    let new = d.segment(sel);
    let (to, from) = (layout(d.kind()), layout(s.c.state.tr.kind()));
    if new.limit < to.min_limit {
        return s.raise(ts);
    }
    let old = s.c.state.tr;
    if old.limit < from.min_limit {
        return s.raise(Exception::ts(code(old.sel, ext)));
    }
    // What could page-fault does so while the old task is still whole.
    let frame = read(s, new.base, to)?;
    let size = from.ldt + from.w.bytes();
    s.probe_in(SYSTEM, old.base, size, crate::Access::Write)?;
    s.probe_in(SYSTEM, new.base, 4, crate::Access::Write)?;
    if how == How::Jump || how == How::Return {
        set_busy(s, old.sel, false)?;
    }
    if how != How::Return {
        set_busy(s, sel, true)?;
    }
    save(s, old.base, from, how == How::Return)?;
    let nested = matches!(how, How::Call | How::Gate(..));
    if nested {
        s.store_in(SYSTEM, new.base, Width::W16, old.sel as u64)?;
    }
    // From here on the new task runs: its faults are its own.
    s.c.state.tr = Segment { attr: new.attr | 2 << 8, ..new };
    s.c.state.cr0 |= 8;
    if let Err(Raised) = enter(s, &frame, to, nested, how) {
        deliver(s, s.c.fault);
    }
    Ok(())
}

/// The contents of a task state.
struct Frame {
    cr3: u64,
    ip: u64,
    flags: u64,
    regs: [u64; 8],
    segs: [u16; 6],
    ldt: u16,
    trap: bool,
}

fn read(s: &mut Interp<'_>, base: u64, l: &Layout) -> Result<Frame, Raised> {
    let step = l.w.bytes();
    let mut get = |at: u64, w| s.load_in(SYSTEM, base.wrapping_add(at) & 0xffff_ffff, w);
    let mut f = Frame {
        cr3: 0,
        ip: get(l.ip, l.w)?,
        flags: get(l.flags, l.w)?,
        regs: [0; 8],
        segs: [0; 6],
        ldt: get(l.ldt, Width::W16)? as u16,
        trap: false,
    };
    for (n, r) in f.regs.iter_mut().enumerate() {
        *r = get(l.regs + n as u64 * step, l.w)?;
    }
    for (n, r) in f.segs[..l.seg_count].iter_mut().enumerate() {
        *r = get(l.segs + n as u64 * step, Width::W16)? as u16;
    }
    if l.w == Width::W32 {
        f.cr3 = get(0x1c, Width::W32)?;
        f.trap = get(0x64, Width::W16)? & 1 != 0;
    }
    Ok(f)
}

fn save(s: &mut Interp<'_>, base: u64, l: &Layout, leave: bool) -> Result<(), Raised> {
    let step = l.w.bytes();
    let mut image = s.c.state.flags();
    if leave {
        image &= !flags::NT;
    }
    let (ip, regs) = (s.c.state.rip, s.c.state.gpr);
    let segs = s.c.state.seg;
    let mut put = |at: u64, w, v| s.store_in(SYSTEM, base.wrapping_add(at) & 0xffff_ffff, w, v);
    put(l.ip, l.w, ip)?;
    put(l.flags, l.w, image)?;
    for n in 0..8 {
        put(l.regs + n * step, l.w, regs[n as usize])?;
    }
    for n in 0..l.seg_count {
        put(l.segs + n as u64 * step, Width::W16, segs[n].sel as u64)?;
    }
    Ok(())
}

/// Sets or clears the busy bit in a task state's descriptor.
fn set_busy(s: &mut Interp<'_>, sel: u16, busy: bool) -> Result<(), Raised> {
    let Some(la) = s.descriptor_at(sel & !7, 8) else { return Ok(()) };
    let la = la.wrapping_add(5);
    let b = s.load_in(SYSTEM, la, Width::W8)?;
    s.store_in(SYSTEM, la, Width::W8, if busy { b | 2 } else { b & !2 })
}

/// Loads the state of the new task.
fn enter(s: &mut Interp<'_>, f: &Frame, l: &Layout, nested: bool, how: How) -> Result<(), Raised> {
    let wide = l.w == Width::W32;
    let image = f.flags | if nested { flags::NT } else { 0 };
    let keep = if wide { 0 } else { s.c.state.flags() & !0xffff };
    s.c.state.set_flags((image | keep) & 0x3f_7fd7);
    s.c.state.rip = f.ip;
    for (n, &r) in f.regs.iter().enumerate() {
        s.c.state.gpr[n] = if wide { r } else { s.c.state.gpr[n] & 0xffff_0000 | r };
    }
    let vm86 = s.c.state.vm86();
    s.c.state.cpl = if vm86 { 3 } else { (f.segs[1] & 3) as u8 };
    for (n, &sel) in f.segs.iter().enumerate() {
        s.c.state.seg[n] = if vm86 { vm86_segment(sel) } else { null_segment(sel) };
    }
    s.c.state.ldtr = null_segment(f.ldt);
    if f.trap {
        s.c.state.pending_debug |= BT;
    }
    s.c.state.dr7 &= !0x155; // the local enables
    s.c.refresh();
    if wide && s.c.state.cr0 >> 31 != 0 {
        if s.c.state.cr4 & 1 << 5 != 0 {
            s.load_pdptes(f.cr3)?;
        }
        s.c.state.cr3 = f.cr3;
        s.flush_non_global();
    }
    load_ldt(s, f.ldt)?;
    if !vm86 {
        load_segments(s, f)?;
    }
    s.c.refresh();
    if let How::Gate(Some(error), _) = how {
        let mut st = Stack::current(s, 0);
        st.push(s, l.w, error as u64)?;
        st.commit(s);
    }
    if f.ip > s.c.state.seg[1].limit as u64 {
        return s.raise(Exception::GP0);
    }
    Ok(())
}

fn load_ldt(s: &mut Interp<'_>, sel: u16) -> Result<(), Raised> {
    if null(sel) {
        return Ok(());
    }
    let ts = Exception::ts(code(sel, 0));
    if sel & 4 != 0 {
        return s.raise(ts);
    }
    let d = s.descriptor_or(sel, ts)?;
    if !d.is_system() || d.kind() != 2 || !d.present() {
        return s.raise(ts);
    }
    s.c.state.ldtr = d.segment(sel);
    Ok(())
}

/// CS, SS and the data segments of the new task: what is wrong with them is #TS.
fn load_segments(s: &mut Interp<'_>, f: &Frame) -> Result<(), Raised> {
    let cpl = s.c.state.cpl;
    for n in [1, 2, 0, 3, 4, 5] {
        let sel = f.segs[n];
        let ts = Exception::ts(code(sel, 0));
        if null(sel) {
            if n == 1 || n == 2 {
                return s.raise(ts);
            }
            continue;
        }
        let d = s.descriptor_or(sel, ts)?;
        let (dpl, rpl) = (d.dpl(), (sel & 3) as u8);
        let wrong = match n {
            1 => !d.is_code() || if d.is_conforming() { dpl > rpl } else { dpl != rpl },
            2 => !d.is_writable_data() || rpl != cpl || dpl != cpl,
            _ => !d.is_readable() || !d.is_conforming() && (rpl > dpl || cpl > dpl),
        };
        if wrong {
            return s.raise(ts);
        }
        if !d.present() {
            let e = if n == 2 { Exception::ss } else { Exception::np };
            return s.raise(e(code(sel, 0)));
        }
        s.c.state.seg[n] = s.mark_accessed(sel, d)?.segment(sel);
        s.c.refresh();
    }
    Ok(())
}
