//! From segment offsets to memory: segmentation, and the slow path of every access. Page tables are read in `walk`.
//!
//! The TLB has five sets of entries: 0 for the supervisor, 1 for the user, 2 for the supervisor with RFLAGS.AC set while
//! CR4.SMAP is, 3 and 4 for the code of the first two. What the processor reads on its own behalf (descriptor tables, task
//! states) goes through set 0.

use crate::state::Segment;
use crate::{Exception, Interp, Mode, Raised, SegReg, Width};
use memory::{PAGE, TlbInfo};

/// What an access wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
    Exec,
}

/// The TLB set of accesses that the processor makes on its own behalf.  SDM 3A, 5.6.1: SMAP always has a say in them.
pub const SYSTEM: usize = 0;

/// Whether `la` is canonical with 4-level (or, `la57`, 5-level) paging.  SDM 1, 3.3.7.1.
#[inline(always)]
pub fn canonical(la: u64, la57: bool) -> bool {
    let n = if la57 { 7 } else { 16 };
    ((la << n) as i64 >> n) as u64 == la
}

/// Whether no relative branch from here can reach an address that is not canonical with 4-level paging.
#[inline(always)]
pub fn far_from_hole(la: u64) -> bool {
    const NEAR: u64 = 1 << 32;
    la < (1 << 47) - NEAR || la >= 0u64.wrapping_sub(1 << 47) + NEAR
}

/// The linear address of `bytes` bytes at offset `at` of a segment, or `None` if its limit or (unless `real`) its rights
/// say no. A segment that is not present is a null one.  SDM 3A, 6.3 to 6.5.
pub fn in_segment(s: &Segment, at: u64, bytes: u64, a: Access, real: bool) -> Option<u64> {
    let code = s.attr & Segment::CODE != 0;
    if !real {
        let allowed = match a {
            Access::Read => !code || s.attr & Segment::RW != 0,
            Access::Write => !code && s.attr & Segment::RW != 0,
            Access::Exec => true,
        };
        if !allowed || !s.present() {
            return None;
        }
    }
    let last = at + (bytes - 1);
    let fits = if !code && s.attr & Segment::DOWN != 0 {
        at > s.limit as u64 && last <= if s.big() { 0xffff_ffff } else { 0xffff }
    } else {
        last <= s.limit as u64
    };
    fits.then(|| s.base.wrapping_add(at) & 0xffff_ffff)
}

impl Interp<'_> {
    /// The linear address of `bytes` bytes at offset `at` of a segment, checked against its limit and rights.
    /// In 64-bit mode canonical checks are left to the access itself: a non-canonical address has no TLB entry. Only the
    /// stack's are made here, as its fault is another.
    #[inline(always)]
    pub fn linear(&mut self, seg: SegReg, at: u64, bytes: u64, a: Access) -> Result<u64, Raised> {
        if self.c.mode.0 & (Mode::SIZE | Mode::ALIGN) == 2 {
            return match seg {
                SegReg::Fs | SegReg::Gs => Ok(at.wrapping_add(self.c.state.seg[seg as usize].base)),
                SegReg::Ss if !canonical(at, self.c.mode.has(Mode::LA57)) => {
                    self.raise(Exception::ss(0))
                }
                _ => Ok(at),
            };
        }
        self.linear_odd(seg, at, bytes, a)
    }

    /// Outside 64-bit mode: the linear address of a run of bytes, if the segment allows all of them and nothing else is to be
    /// checked.
    pub fn span(&self, seg: SegReg, at: u64, bytes: u64, a: Access) -> Option<u64> {
        let m = self.c.mode;
        if m.has(Mode::ALIGN) || m.long64() {
            return None;
        }
        let real = !m.has(Mode::PROTECTED) || m.has(Mode::VM86);
        let la = in_segment(&self.c.state.seg[seg as usize], at & 0xffff_ffff, bytes, a, real)?;
        (la + (bytes - 1) <= 0xffff_ffff).then_some(la)
    }

    /// Outside 64-bit mode, and wherever alignment is checked.
    #[inline(never)]
    fn linear_odd(&mut self, seg: SegReg, at: u64, bytes: u64, a: Access) -> Result<u64, Raised> {
        let m = self.c.mode;
        let s = self.c.state.seg[seg as usize];
        let la = if m.long64() {
            if seg == SegReg::Ss && !canonical(at, m.has(Mode::LA57)) {
                return self.raise(Exception::ss(0));
            }
            let based = matches!(seg, SegReg::Fs | SegReg::Gs);
            at.wrapping_add(if based { s.base } else { 0 })
        } else if m.has(Mode::FLAT)
            && matches!(seg, SegReg::Ds | SegReg::Ss | SegReg::Es)
            && at + (bytes - 1) <= 0xffff_ffff
        {
            at
        } else {
            let real = !m.has(Mode::PROTECTED) || m.has(Mode::VM86);
            match in_segment(&s, at & 0xffff_ffff, bytes, a, real) {
                Some(la) => la,
                None if seg == SegReg::Ss => return self.raise(Exception::ss(0)),
                None => return self.raise(Exception::GP0),
            }
        };
        if m.has(Mode::ALIGN) && a != Access::Exec {
            let unit = match bytes {
                1 | 2 | 4 | 8 | 16 | 32 => bytes,
                6 => 4,
                10 => 8,
                _ => 4,
            };
            if la & (unit - 1) != 0 {
                // A page fault comes first.
                self.probe(la, bytes, a)?;
                return self.raise(Exception::ac());
            }
        }
        Ok(la)
    }

    /// The TLB set of explicit data accesses at privilege `cpl`.
    pub fn set_of(&self, cpl: u8) -> usize {
        let s = &self.c.state;
        match cpl {
            3 => 1,
            _ if s.rflags & crate::flags::AC != 0 && s.cr4 & 1 << 21 != 0 => 2,
            _ => 0,
        }
    }

    #[inline(always)]
    pub fn load_linear(&mut self, la: u64, w: Width) -> Result<u64, Raised> {
        self.load_in(self.c.mode.data_set(), la, w)
    }
    #[inline(always)]
    pub fn store_linear(&mut self, la: u64, w: Width, v: u64) -> Result<(), Raised> {
        self.store_in(self.c.mode.data_set(), la, w, v)
    }
    /// Reads linear memory with the rights of a TLB set.
    #[inline(always)]
    pub fn load_in(&mut self, set: usize, la: u64, w: Width) -> Result<u64, Raised> {
        match self.c.tlb.read(set, la, w) {
            Some(v) => Ok(v),
            None => self.load_slow(set, la, w),
        }
    }
    #[inline(always)]
    pub fn store_in(&mut self, set: usize, la: u64, w: Width, v: u64) -> Result<(), Raised> {
        if self.c.tlb.write(set, la, w, v) {
            return Ok(());
        }
        self.store_slow(set, la, w, v)
    }
    /// Reads a place that is about to be written: faults as a write.
    #[inline(always)]
    pub fn load_for_write(&mut self, la: u64, w: Width) -> Result<u64, Raised> {
        if self.c.tlb.ram_at(self.c.mode.data_set(), la, true).is_none()
            || (la & (PAGE - 1)) + w.bytes() > PAGE
        {
            self.probe(la, w.bytes(), Access::Write)?;
        }
        self.load_linear(la, w)
    }

    /// Faults as an access to these bytes would, and does nothing else.
    pub fn probe(&mut self, la: u64, bytes: u64, a: Access) -> Result<(), Raised> {
        self.probe_in(self.c.mode.data_set(), la, bytes, a)
    }
    pub fn probe_in(&mut self, set: usize, la: u64, bytes: u64, a: Access) -> Result<(), Raised> {
        self.page(set, la, a)?;
        if (la & (PAGE - 1)) + bytes > PAGE {
            self.page(set, self.next_page(la), a)?;
        }
        Ok(())
    }
    /// The start of the page after that of `la`; outside 64-bit mode addresses wrap at 4 GiB.
    fn next_page(&self, la: u64) -> u64 {
        self.forward(la & !(PAGE - 1), PAGE)
    }
    #[inline(always)]
    fn forward(&self, la: u64, by: u64) -> u64 {
        let to = la.wrapping_add(by);
        if self.c.state.long() { to } else { to & 0xffff_ffff }
    }

    /// Reads bytes of linear memory, with the rights of data accesses.
    pub fn load_bytes(&mut self, la: u64, into: &mut [u8]) -> Result<(), Raised> {
        self.probe(la, into.len().max(1) as u64, Access::Read)?;
        let mut at = la;
        for part in into.chunks_mut(8) {
            let w = Width::of_bytes(part.len() as u64).unwrap_or(Width::W8);
            for unit in part.chunks_mut(w.bytes() as usize) {
                let v = self.load_linear(at, w)?;
                unit.copy_from_slice(&v.to_le_bytes()[..unit.len()]);
                at = self.forward(at, w.bytes());
            }
        }
        Ok(())
    }
    /// Writes bytes of linear memory: all or, on a fault, none. At most a page.
    pub fn store_bytes(&mut self, la: u64, from: &[u8]) -> Result<(), Raised> {
        self.probe(la, from.len().max(1) as u64, Access::Write)?;
        let mut at = la;
        for part in from.chunks(8) {
            let w = Width::of_bytes(part.len() as u64).unwrap_or(Width::W8);
            for unit in part.chunks(w.bytes() as usize) {
                let mut v = [0; 8];
                v[..unit.len()].copy_from_slice(unit);
                self.store_linear(at, w, u64::from_le_bytes(v))?;
                at = self.forward(at, w.bytes());
            }
        }
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn load_slow(&mut self, set: usize, la: u64, w: Width) -> Result<u64, Raised> {
        if (la & (PAGE - 1)) + w.bytes() > PAGE {
            self.probe_in(set, la, w.bytes(), Access::Read)?;
            let mut v = 0;
            for n in 0..w.bytes() {
                v |= self.load_in(set, self.forward(la, n), Width::W8)? << (8 * n);
            }
            return Ok(v);
        }
        let info = self.page(set, la, Access::Read)?;
        self.watch(la, w.bytes(), false);
        let within = la & (PAGE - 1);
        if let Some(at) = info.ram {
            let mut b = [0; 8];
            let _ = self.c.tlb.ram().read(at | within, &mut b[..w.bytes() as usize]);
            return Ok(u64::from_le_bytes(b));
        }
        let v = self.bus.read(self.c.retired(), info.phys | within, w);
        self.after_bus();
        Ok(v & w.mask())
    }

    #[cold]
    #[inline(never)]
    fn store_slow(&mut self, set: usize, la: u64, w: Width, v: u64) -> Result<(), Raised> {
        if (la & (PAGE - 1)) + w.bytes() > PAGE {
            self.probe_in(set, la, w.bytes(), Access::Write)?;
            for n in 0..w.bytes() {
                self.store_in(set, self.forward(la, n), Width::W8, v >> (8 * n) & 0xff)?;
            }
            return Ok(());
        }
        let info = self.page(set, la, Access::Write)?;
        self.watch(la, w.bytes(), true);
        let within = la & (PAGE - 1);
        match info.ram {
            Some(at) if !info.rom => {
                let ram = self.c.tlb.ram();
                let _ = ram.write(at | within, &v.to_le_bytes()[..w.bytes() as usize]);
                if ram.code_was_written() {
                    self.c.stop = true;
                }
                // Now that the page is dirty, or no longer code, the next write may go straight there.
                if !ram.write_is_watched(at) && !self.watched(la) {
                    self.c.tlb.insert(set, la, info);
                }
            }
            // A device; or one behind a ROM that wants its writes.
            _ => {
                self.bus.write(self.c.retired(), info.phys | within, w, v & w.mask());
                self.after_bus();
            }
        }
        Ok(())
    }

    /// Notes which data breakpoints an access hits: their trap comes after the instruction.  SDM 3B, 19.2.4.
    #[inline]
    fn watch(&mut self, la: u64, bytes: u64, write: bool) {
        let dr7 = self.c.state.dr7;
        if dr7 & 0xff == 0 {
            return;
        }
        for n in 0..4 {
            let (kind, len) = breakpoint(dr7, n);
            let wanted = match kind {
                1 => write,
                3 => true,
                _ => false,
            };
            let at = self.c.state.dr[n] & !(len - 1);
            // Also where it is not enabled DR6 may show it; we report enabled ones only.
            let meets = la.wrapping_sub(at) < len || at.wrapping_sub(la) < bytes;
            if wanted && dr7 >> (2 * n) & 3 != 0 && meets {
                self.c.state.pending_debug |= 1 << n;
            }
        }
    }
    /// Whether a data breakpoint lies in this page, so that every access must take the slow path.
    fn watched(&self, la: u64) -> bool {
        let dr7 = self.c.state.dr7;
        dr7 & 0xff != 0
            && (0..4).any(|n| {
                dr7 >> (2 * n) & 3 != 0
                    && breakpoint(dr7, n).0 & 1 != 0
                    && (self.c.state.dr[n] ^ la) & !(PAGE - 1) == 0
            })
    }

    /// The TLB entry of a page, walked and filled if need be; faults if the access is not allowed.
    #[inline]
    pub fn page(&mut self, set: usize, la: u64, a: Access) -> Result<TlbInfo, Raised> {
        let allowed = |i: &TlbInfo| match a {
            Access::Read => i.read,
            Access::Write => i.write,
            Access::Exec => i.exec,
        };
        if let Some(i) = self.c.tlb.info(set, la).filter(allowed) {
            return Ok(i);
        }
        if let Some(i) = self.c.tlb.recall(set, la).filter(allowed) {
            self.c.tlb.insert(set, la, i);
            return Ok(i);
        }
        self.c.tlb.counts.walks += 1;
        let mut info = self.walk(set, la, a)?;
        info.edge = !far_from_hole(la);
        if !self.watched(la) {
            self.c.tlb.insert(set, la, info);
        }
        Ok(info)
    }

    /// A run of RAM for string instructions: the RAM offset behind `la`, and how many of the `len` bytes from there on lie in
    /// the same page. `None` where the access faults or is not plain RAM (then the caller goes byte by byte and meets the
    /// reason). Writers use [`memory::Ram`]'s own writes, which note dirty pages and code.
    #[inline]
    pub fn ram_run(&mut self, la: u64, len: u64, write: bool) -> Option<(u64, u64)> {
        let set = self.c.mode.data_set();
        let run = len.min(PAGE - (la & (PAGE - 1)));
        if let Some(at) = self.c.tlb.ram_at(set, la, write) {
            return Some((at, run));
        }
        if self.watched(la) {
            return None;
        }
        let info = self.page(set, la, if write { Access::Write } else { Access::Read }).ok()?;
        match info.ram {
            Some(at) if !(write && info.rom) => Some((at | la & (PAGE - 1), run)),
            _ => None,
        }
    }

    /// The linear address of RIP; #GP(0) outside the code segment.
    #[inline]
    fn code_linear(&mut self, ip: u64) -> Result<u64, Raised> {
        if self.c.mode.long64() {
            return Ok(ip);
        }
        let cs = &self.c.state.seg[1];
        if ip > cs.limit as u64 {
            return self.raise(Exception::GP0);
        }
        Ok(ip.wrapping_add(cs.base) & 0xffff_ffff)
    }

    /// The RAM offset of the instruction at RIP; `None` if it is not in RAM.
    #[inline]
    pub fn code_page(&mut self) -> Result<Option<u64>, Raised> {
        let la = self.code_linear(self.c.state.rip)?;
        let set = self.c.mode.code_set();
        if let Some(at) = self.c.tlb.exec(set, la) {
            return Ok(Some(at));
        }
        let i = self.page(set, la, Access::Exec)?;
        Ok(i.ram.map(|r| r | la & (PAGE - 1)))
    }

    /// Reads code bytes at RIP into `into` behind the first `have`, up to 15 together, and no further than the page of the first of
    /// them: who needs more asks again, since nobody else touches the next page. Gives how many there are then.
    pub fn fetch(&mut self, into: &mut [u8; 15], have: usize) -> Result<usize, Raised> {
        let ip = self.c.state.rip.wrapping_add(have as u64);
        let la = self.code_linear(ip)?;
        let set = self.c.mode.code_set();
        let within = la & (PAGE - 1);
        let mut run = (15 - have).min((PAGE - within) as usize);
        if !self.c.mode.long64() {
            let limit = self.c.state.seg[1].limit as u64;
            run = run.min((limit - ip).min(15) as usize + 1);
        }
        let into = &mut into[have..have + run];
        if let Some(off) = self.c.tlb.exec(set, la) {
            let _ = self.c.tlb.ram().read(off, into);
            return Ok(have + run);
        }
        let info = self.page(set, la, Access::Exec)?;
        match info.ram {
            Some(at) => {
                let _ = self.c.tlb.ram().read(at | within, into);
            }
            None => {
                for (k, b) in into.iter_mut().enumerate() {
                    let phys = info.phys | (within + k as u64);
                    *b = self.bus.read(self.c.retired(), phys, Width::W8) as u8;
                }
                self.after_bus();
            }
        }
        Ok(have + run)
    }

    pub fn has(&self, bit: u32) -> bool {
        self.c.mode.has(bit)
    }
}

/// Kind (0 execute, 1 write, 2 I/O, 3 read or write) and length of breakpoint `n`.  SDM 3B, 19.2.4.
pub fn breakpoint(dr7: u64, n: usize) -> (u64, u64) {
    let len = match dr7 >> (18 + 4 * n) & 3 {
        0 => 1,
        1 => 2,
        2 => 8,
        _ => 4,
    };
    (dr7 >> (16 + 4 * n) & 3, len)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn segments_refuse_what_their_rights_and_limits_say() {
        let data = Segment { sel: 8, attr: 0x9200, limit: 0xfff, base: 0x1000 };
        use Access::*;
        assert_eq!(in_segment(&data, 0xffe, 2, Write, false), Some(0x1ffe));
        assert_eq!(in_segment(&data, 0xfff, 2, Read, false), None);
        let read_only = Segment { attr: 0x9000, ..data };
        assert_eq!(in_segment(&read_only, 0, 1, Write, false), None);
        assert_eq!(in_segment(&read_only, 0, 1, Write, true), Some(0x1000));
        let down = Segment { attr: 0x9600, ..data };
        assert_eq!(in_segment(&down, 0xfff, 1, Read, false), None);
        assert_eq!(in_segment(&down, 0x1000, 1, Read, false), Some(0x2000));
        assert_eq!(in_segment(&down, 0xffff, 2, Read, false), None);
        let big = Segment { attr: 0x9600 | Segment::BIG, ..data };
        assert_eq!(in_segment(&big, 0xffff, 2, Read, false), Some(0x10fff));
        let exec_only = Segment { attr: 0x9800, ..data };
        assert_eq!(in_segment(&exec_only, 0, 1, Read, false), None);
        let readable = Segment { attr: 0x9a00, ..data };
        assert_eq!(in_segment(&readable, 0, 1, Read, false), Some(0x1000));
        assert_eq!(in_segment(&readable, 0, 1, Write, false), None);
        assert_eq!(in_segment(&Segment { attr: 0, ..data }, 0, 1, Read, false), None);
    }

    #[test]
    fn canonical_addresses() {
        assert!(canonical(0x7fff_ffff_ffff, false) && !canonical(0x8000_0000_0000, false));
        assert!(canonical(0xffff_8000_0000_0000, false));
        assert!(canonical(0x8000_0000_0000, true) && !canonical(1 << 56, true));
    }
}
