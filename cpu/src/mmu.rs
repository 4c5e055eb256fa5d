//! From segment offsets to memory: segmentation, paging, and the slow path of every access.

use crate::{Exception, Interp, Mode, Raised, SegReg, Width};
use memory::{PAGE, Target, TlbInfo};

/// What an access wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
    Exec,
}

impl Interp<'_> {
    /// The linear address of `bytes` bytes at offset `at` of a segment, checked against its limit and rights.
    /// In 64-bit mode canonical checks are left to the access itself: a non-canonical address has no TLB entry.
    #[inline(always)]
    pub fn linear(&mut self, seg: SegReg, at: u64, bytes: u64, a: Access) -> Result<u64, Raised> {
        if self.c.mode.long64() {
            return Ok(match seg {
                SegReg::Fs | SegReg::Gs => at.wrapping_add(self.c.state.seg[seg as usize].base),
                _ => at,
            });
        }
        self.linear_legacy(seg, at, bytes, a)
    }

    fn linear_legacy(
        &mut self,
        seg: SegReg,
        at: u64,
        bytes: u64,
        _a: Access,
    ) -> Result<u64, Raised> {
        let s = &self.c.state.seg[seg as usize];
        let e = if seg == SegReg::Ss { Exception::ss(0) } else { Exception::GP0 };
        if at + (bytes - 1) > s.limit as u64 {
            return self.raise(e);
        }
        Ok(at.wrapping_add(s.base) & 0xffff_ffff)
    }

    #[inline(always)]
    pub fn load_linear(&mut self, la: u64, w: Width) -> Result<u64, Raised> {
        match self.c.tlb.read(self.c.mode.data_set(), la, w) {
            Some(v) => Ok(v),
            None => self.load_slow(la, w),
        }
    }
    #[inline(always)]
    pub fn store_linear(&mut self, la: u64, w: Width, v: u64) -> Result<(), Raised> {
        if self.c.tlb.write(self.c.mode.data_set(), la, w, v) {
            return Ok(());
        }
        self.store_slow(la, w, v)
    }
    /// Reads a place that is about to be written: faults as a write.
    #[inline(always)]
    pub fn load_for_write(&mut self, la: u64, w: Width) -> Result<u64, Raised> {
        if self.c.tlb.ram_at(self.c.mode.data_set(), la, true).is_none() {
            self.probe(la, w.bytes(), Access::Write)?;
        }
        self.load_linear(la, w)
    }

    /// Faults as an access to these bytes would, and does nothing else.
    pub fn probe(&mut self, la: u64, bytes: u64, a: Access) -> Result<(), Raised> {
        let set = self.c.mode.data_set();
        self.page(set, la, a)?;
        if (la & (PAGE - 1)) + bytes > PAGE {
            self.page(set, la.wrapping_add(bytes - 1), a)?;
        }
        Ok(())
    }

    #[cold]
    fn load_slow(&mut self, la: u64, w: Width) -> Result<u64, Raised> {
        let set = self.c.mode.data_set();
        if (la & (PAGE - 1)) + w.bytes() > PAGE {
            self.probe(la, w.bytes(), Access::Read)?;
            let mut v = 0;
            for n in 0..w.bytes() {
                v |= self.load_linear(la.wrapping_add(n), Width::W8)? << (8 * n);
            }
            return Ok(v);
        }
        let info = self.page(set, la, Access::Read)?;
        if let Some(v) = self.c.tlb.read(set, la, w) {
            return Ok(v);
        }
        let v = self.bus.read(self.c.retired(), info.phys | la & (PAGE - 1), w);
        self.after_bus();
        Ok(v & w.mask())
    }

    #[cold]
    fn store_slow(&mut self, la: u64, w: Width, v: u64) -> Result<(), Raised> {
        let set = self.c.mode.data_set();
        if (la & (PAGE - 1)) + w.bytes() > PAGE {
            self.probe(la, w.bytes(), Access::Write)?;
            for n in 0..w.bytes() {
                self.store_linear(la.wrapping_add(n), Width::W8, v >> (8 * n) & 0xff)?;
            }
            return Ok(());
        }
        let info = self.page(set, la, Access::Write)?;
        if self.c.tlb.write(set, la, w, v) {
            return Ok(());
        }
        match info.ram {
            Some(_) if info.rom => {}
            Some(at) => {
                let ram = self.c.tlb.ram();
                let _ = ram.write(at | la & (PAGE - 1), &v.to_le_bytes()[..w.bytes() as usize]);
                if ram.code_was_written() {
                    self.c.stop = true;
                }
            }
            None => {
                self.bus.write(self.c.retired(), info.phys | la & (PAGE - 1), w, v & w.mask());
                self.after_bus();
            }
        }
        Ok(())
    }

    /// The TLB entry of a page, walked and filled if need be; faults if the access is not allowed.
    pub fn page(&mut self, set: usize, la: u64, a: Access) -> Result<TlbInfo, Raised> {
        if let Some(i) = self.c.tlb.info(set, la) {
            let allowed = match a {
                Access::Read => i.read,
                Access::Write => i.write,
                Access::Exec => i.exec,
            };
            if allowed {
                return Ok(i);
            }
        }
        let phys = la & !(PAGE - 1) & self.c.phys_mask;
        let mut info = TlbInfo { phys, read: true, write: true, exec: true, ..TlbInfo::default() };
        match self.bus.page(phys) {
            Some(Target::Ram { offset }) => info.ram = Some(offset),
            Some(Target::Rom { offset }) => (info.ram, info.rom) = (Some(offset), true),
            _ => {}
        }
        self.c.tlb.insert(set, la, info);
        Ok(info)
    }

    /// Reads up to 15 code bytes at RIP into `into`; gives how many there are before a page that faults. If not even the
    /// first byte can be had, that is the fault.
    pub fn fetch(&mut self, into: &mut [u8; 15]) -> Result<usize, Raised> {
        let ip = self.c.state.rip;
        let long = self.c.mode.long64();
        let base = if long { 0 } else { self.c.state.seg[1].base };
        let set = self.c.mode.code_set();
        let mut n = 0;
        while n < 15 {
            let at = ip.wrapping_add(n as u64);
            if !long && at > self.c.state.seg[1].limit as u64 {
                return if n == 0 { self.raise(Exception::GP0) } else { Ok(n) };
            }
            let la = at.wrapping_add(base) & if long { !0 } else { 0xffff_ffff };
            let off = match self.c.tlb.exec(set, la) {
                Some(off) => Some(off),
                None => match self.page(set, la, Access::Exec) {
                    Ok(i) => i.ram.map(|r| r | la & (PAGE - 1)),
                    Err(e) => return if n == 0 { Err(e) } else { Ok(n) },
                },
            };
            let run = (15 - n).min((PAGE - (la & (PAGE - 1))) as usize);
            match off {
                Some(off) => {
                    let _ = self.c.tlb.ram().read(off, &mut into[n..n + run]);
                }
                None => {
                    for b in &mut into[n..n + run] {
                        *b = 0xff; // code in device memory: nothing there executes
                    }
                }
            }
            n += run;
        }
        Ok(n)
    }

    pub fn has(&self, bit: u32) -> bool {
        self.c.mode.has(bit)
    }
}

// Paging modes other than none are walked in `walk`.
const _: u32 = Mode::LA57;
