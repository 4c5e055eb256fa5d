//! Page tables: 32-bit, PAE, 4-level and 5-level paging.  SDM 3A, chapter 5.

use crate::mmu::canonical;
use crate::{Access, Exception, Interp, Raised};
use memory::{DATA_SETS, PAGE, Target, TlbInfo};

const PRESENT: u64 = 1;
const WRITE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
/// In an entry that is not the last: it maps a large page.
const LARGE: u64 = 1 << 7;
const GLOBAL: u64 = 1 << 8;
const NX: u64 = 1 << 63;

/// Error code of #PF.  SDM 3A, 5.7.
mod code {
    pub const PRESENT: u32 = 1;
    pub const WRITE: u32 = 1 << 1;
    pub const USER: u32 = 1 << 2;
    pub const RESERVED: u32 = 1 << 3;
    pub const FETCH: u32 = 1 << 4;
    pub const KEY: u32 = 1 << 5;
}

/// Which large pages may have a piece in the TLB. INVLPG must drop all pieces of a page at once, and they are not found by
/// their address; so a set bit makes it flush everything. There are so many bits that a small page rarely meets the bit of
/// another page, which is large: where that happens to one that is invalidated often, a process takes half as long again.
#[derive(Clone)]
pub struct Large {
    bits: Box<[u64; Large::WORDS]>,
    /// The sizes that there are, by their log2.
    sizes: u64,
}

impl Default for Large {
    fn default() -> Large {
        Large { bits: Box::new([0; Large::WORDS]), sizes: 0 }
    }
}

impl Large {
    const WORDS: usize = 1024;

    fn bit(la: u64, shift: u32) -> (usize, u64) {
        let n = (la >> shift << 6 | u64::from(shift)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
        (n as usize / 64, 1 << (n % 64))
    }
    fn note(&mut self, la: u64, shift: u32) {
        let (word, bit) = Self::bit(la, shift);
        self.bits[word] |= bit;
        self.sizes |= 1 << shift;
    }
    fn has(&self, la: u64) -> bool {
        [21, 22, 30].iter().any(|&shift| {
            let (word, bit) = Self::bit(la, shift);
            self.sizes >> shift & 1 != 0 && self.bits[word] & bit != 0
        })
    }
    pub fn clear(&mut self) {
        self.bits.fill(0);
        self.sizes = 0;
    }
}

/// The form of the page tables.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// 32-bit paging: two levels of 1024 entries of four bytes.
    Legacy,
    Pae,
    /// This many levels of 512 entries of eight bytes.
    Long(u32),
}

/// What the tables say of an address.
struct Leaf {
    /// Physical address of the 4 KiB page.
    phys: u64,
    /// AND of all entries.
    rights: u64,
    /// Bit 63 is the OR of all entries'; the rest is the last entry's.
    entry: u64,
    /// The entries passed, for their accessed bits: address, contents.
    path: [(u64, u64); 5],
    depth: usize,
    /// log2 of the page's size.
    shift: u32,
}

impl Interp<'_> {
    /// Forgets all translations.
    pub fn flush_all(&mut self) {
        self.c.tlb.flush();
        self.c.large.clear();
    }
    /// Forgets the translations that are not global.
    pub fn flush_non_global(&mut self) {
        self.c.tlb.flush_non_global();
    }
    /// Another address space; `keep`: what is known of it is still so.
    pub fn switch_space(&mut self, pcid: u64, keep: bool) {
        self.c.tlb.switch(pcid as usize, keep);
    }
    /// INVLPG.
    pub fn flush_page(&mut self, la: u64) {
        if self.c.large.has(la) {
            self.flush_all();
        } else {
            self.c.tlb.flush_page(la);
        }
    }

    /// Translates, checks and marks as accessed (and dirty).
    #[cold]
    pub(crate) fn walk(&mut self, set: usize, la: u64, a: Access) -> Result<TlbInfo, Raised> {
        let s = &self.c.state;
        if s.cr0 >> 31 & 1 == 0 {
            let all = TlbInfo { read: true, write: true, exec: true, ..TlbInfo::default() };
            return Ok(self.place(all, la & !(PAGE - 1) & 0xffff_ffff));
        }
        let long = s.long();
        let (cr4, nxe) = (s.cr4, s.msr.efer >> 11 & 1 != 0);
        let bit4 = |n: u32| cr4 >> n & 1 != 0;
        let wp = s.cr0 >> 16 & 1 != 0;
        let (smep, smap, pke, pks) = (bit4(20), bit4(21), long && bit4(22), long && bit4(24));
        let (pkru, pkrs) = (s.pkru, s.msr.pkrs as u32);
        if long && !canonical(la, bit4(12)) {
            return self.raise(Exception::GP0);
        }
        let form = match (long, bit4(5)) {
            (true, _) => Form::Long(if bit4(12) { 5 } else { 4 }),
            (_, true) => Form::Pae,
            _ => Form::Legacy,
        };
        let set = set % DATA_SETS;
        let user = set == 1;
        let mut error = match a {
            Access::Read => 0,
            Access::Write => code::WRITE,
            Access::Exec if nxe && form != Form::Legacy || smep => code::FETCH,
            Access::Exec => 0,
        };
        if user {
            error |= code::USER;
        }
        let leaf = match self.tables(form, la, nxe) {
            Ok(leaf) => leaf,
            Err(c) => return self.raise(Exception::pf(error | c, la)),
        };

        let user_page = leaf.rights & USER != 0;
        let writable = leaf.rights & WRITE != 0;
        // The protection key: what it denies to data accesses.
        let key = (leaf.entry >> 59 & 15) as u8;
        let keyed = if user_page { pke } else { pks };
        let deny = if keyed { (if user_page { pkru } else { pkrs }) >> (2 * key) & 3 } else { 0 };
        let (deny_all, deny_write) = (deny & 1 != 0, deny & 2 != 0 && (user || wp));
        let mut info = TlbInfo {
            global: leaf.entry & GLOBAL != 0 && bit4(7),
            key: if keyed { key } else { 0 },
            ..TlbInfo::default()
        };
        let data = if user { user_page } else { !(user_page && smap && set == 0) };
        let may_write = data && (writable || !user && !wp);
        info.read = data && !deny_all;
        info.write = may_write && !deny_all && !deny_write;
        info.exec = leaf.entry & NX == 0 && if user { user_page } else { !(user_page && smep) };
        let allowed = match a {
            Access::Read => info.read,
            Access::Write => info.write,
            Access::Exec => info.exec,
        };
        if !allowed {
            error |= code::PRESENT;
            let by_key = match a {
                Access::Read => deny_all,
                Access::Write => deny_all || deny_write,
                Access::Exec => false,
            };
            if by_key {
                error |= code::KEY;
            }
            return self.raise(Exception::pf(error, la));
        }

        let width = if form == Form::Legacy { 4 } else { 8 };
        for (n, &(at, entry)) in leaf.path[..leaf.depth].iter().enumerate() {
            let last = n + 1 == leaf.depth;
            let marks = ACCESSED | if last && a == Access::Write { DIRTY } else { 0 };
            if entry & marks != marks {
                self.mark(at, entry | marks, width);
            }
        }
        let dirty = a == Access::Write || leaf.entry & DIRTY != 0;
        info.write &= dirty;
        if leaf.shift > 12 {
            self.c.large.note(la, leaf.shift);
        }
        Ok(self.place(info, leaf.phys))
    }

    /// Adds where the page is.
    fn place(&mut self, mut info: TlbInfo, phys: u64) -> TlbInfo {
        info.phys = phys & self.c.phys_mask;
        match self.bus.page(info.phys) {
            Some(Target::Ram { offset }) => info.ram = Some(offset),
            Some(Target::Rom { offset, .. }) => (info.ram, info.rom) = (Some(offset), true),
            _ => {}
        }
        info
    }

    /// Follows the tables down. The error is bits of #PF's code.
    fn tables(&mut self, form: Form, la: u64, nxe: bool) -> Result<Leaf, u32> {
        let s = &self.c.state;
        let phys_bits = self.c.model.phys_bits();
        let gigabytes = self.c.model.gigabyte_pages();
        let pse = s.cr4 >> 4 & 1 != 0;
        let mut leaf = Leaf {
            phys: 0,
            rights: USER | WRITE,
            entry: 0,
            path: [(0, 0); 5],
            depth: 0,
            shift: 12,
        };
        let (mut level, bytes, index_bits) = match form {
            Form::Legacy => (2, 4, 10),
            Form::Pae => (2, 8, 9),
            Form::Long(n) => (n, 8, 9),
        };
        // Bits that no entry may have.
        let mut reserved = match form {
            Form::Legacy => 0,
            Form::Pae => (1 << 63) - (1 << phys_bits),
            Form::Long(_) => (1 << 52) - (1 << phys_bits),
        };
        if form != Form::Legacy && !nxe {
            reserved |= NX;
        }
        let address = match form {
            Form::Legacy => 0xffff_f000,
            _ => ((1 << phys_bits) - 1) & !(PAGE - 1),
        };
        let mut table = match form {
            Form::Legacy => s.cr3 & 0xffff_f000,
            Form::Pae => {
                let e = s.pdpte[(la >> 30 & 3) as usize];
                if e & PRESENT == 0 {
                    return Err(0);
                }
                e & address
            }
            Form::Long(_) => s.cr3 & address,
        };
        loop {
            let shift = 12 + index_bits * (level - 1);
            let at = table + (la >> shift & ((1 << index_bits) - 1)) * bytes;
            let e = self.entry(at, bytes);
            if e & PRESENT == 0 {
                return Err(0);
            }
            let large = e & LARGE != 0
                && match (form, level) {
                    (Form::Legacy, 2) => pse,
                    (_, 2) => true,
                    (_, 3) => gigabytes,
                    _ => false,
                };
            let bad = match (large, form, level) {
                (true, Form::Legacy, _) => {
                    // PSE-36: bits 13-20 are address bits 32-39, as many as there are.
                    let high = 0xff << phys_bits.saturating_sub(32).min(8) & 0xff;
                    1 << 21 | high << 13
                }
                (true, _, _) => reserved | ((1 << shift) - 1) & !0x1fff,
                (false, Form::Long(_), 3..) => reserved | LARGE,
                _ => reserved,
            };
            if e & bad != 0 {
                return Err(code::PRESENT | code::RESERVED);
            }
            leaf.path[leaf.depth] = (at, e);
            leaf.depth += 1;
            leaf.rights &= e;
            leaf.entry = e | leaf.entry & NX;
            if large || level == 1 {
                let size = 1u64 << shift;
                let base = match form {
                    Form::Legacy if large => e & 0xffc0_0000 | (e >> 13 & 0xff) << 32,
                    _ => e & address & !(size - 1),
                };
                leaf.phys = base | la & (size - 1) & !(PAGE - 1);
                leaf.shift = shift;
                return Ok(leaf);
            }
            table = e & address;
            level -= 1;
        }
    }

    /// Reads an entry of a table, or the like, by its physical address.
    fn entry(&mut self, at: u64, bytes: u64) -> u64 {
        let at = at & self.c.phys_mask;
        match self.bus.page(at) {
            Some(Target::Ram { offset } | Target::Rom { offset, .. }) => {
                let at = offset | at & (PAGE - 1);
                let ram = self.c.tlb.ram();
                match bytes {
                    4 => ram.read_u32(at).map_or(0, |v| v as u64),
                    _ => ram.read_u64(at).unwrap_or(0),
                }
            }
            _ => {
                let w = if bytes == 4 { crate::Width::W32 } else { crate::Width::W64 };
                self.bus.read(self.c.retired(), at, w)
            }
        }
    }
    fn mark(&mut self, at: u64, value: u64, bytes: usize) {
        let at = at & self.c.phys_mask;
        if let Some(Target::Ram { offset }) = self.bus.page(at) {
            let ram = self.c.tlb.ram();
            let _ = ram.write(offset | at & (PAGE - 1), &value.to_le_bytes()[..bytes]);
            if ram.code_was_written() {
                self.c.stop = true;
            }
        }
    }

    /// Loads the four page-directory-pointer entries of PAE paging: #GP(0) if a reserved bit is set.  SDM 3A, 5.4.1.
    pub fn load_pdptes(&mut self, cr3: u64) -> Result<(), Raised> {
        let reserved = 0x1e6 | !((1u64 << self.c.model.phys_bits()) - 1);
        let mut all = [0; 4];
        for (n, e) in all.iter_mut().enumerate() {
            *e = self.entry((cr3 & 0xffff_ffe0) + 8 * n as u64, 8);
            if *e & PRESENT != 0 && *e & reserved != 0 {
                return self.raise(Exception::GP0);
            }
        }
        self.c.state.pdpte = all;
        Ok(())
    }

    /// What the page tables make of a linear address, for a debugger: no faults, no marks, no TLB.
    pub fn translate(&mut self, la: u64) -> Option<u64> {
        let s = &self.c.state;
        if s.cr0 >> 31 & 1 == 0 {
            return Some(la & self.c.phys_mask);
        }
        let form = match (s.long(), s.cr4 >> 5 & 1 != 0) {
            (true, _) => Form::Long(if s.cr4 >> 12 & 1 != 0 { 5 } else { 4 }),
            (_, true) => Form::Pae,
            _ => Form::Legacy,
        };
        let nxe = s.msr.efer >> 11 & 1 != 0;
        let leaf = self.tables(form, la, nxe).ok()?;
        Some((leaf.phys | la & (PAGE - 1)) & self.c.phys_mask)
    }
}

#[cfg(test)]
mod test;
