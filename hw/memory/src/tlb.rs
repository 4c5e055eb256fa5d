//! The soft TLB: guest-linear pages to host memory, at the speed of one compare.
//!
//! An entry has a tag for each kind of access and the number to add to a linear address to get the host's. A tag equals the
//! page's address when that access may go straight to RAM; any flag bit in it makes the compare fail, so that device
//! registers, watched pages and translated code never cost RAM anything. Emitted code does the same compare as here.
// UNSAFE: reads and writes host memory through `addend`. Entries are only made by `insert`, from a RAM offset that was
// checked against the mapping, which the TLB keeps alive.
#![allow(unsafe_code)]

use crate::{PAGE, Ram, Width};
use second::Second;
use std::sync::Arc;

pub use counts::TlbCounts;
pub use targets::{BranchTarget, BranchTargets, CODE_SETS, TARGET_MASK, TARGET_PART, TARGET_ROWS};

mod counts;
mod second;
mod targets;

/// Entries in each set; a power of two.
/// A system call of Linux that waits for a disk touches 300 pages; with 1024 entries, half of those got in each other's way.
pub const TLB_SIZE: usize = 4096;
/// A page that another one drives out of its slot goes to the slot with this bit the other way, where only the slow path looks:
/// two that are used in turn do not drive each other out.
pub const OTHER: usize = TLB_SIZE / 2;
/// The tag of an access that is not (known to be) allowed.
pub const INVALID: u64 = !0;
/// Tag bit: allowed, but not straight to RAM.
pub const SLOW: u64 = 1;
/// Tag bit of execution: straight from RAM, but native code does not go there by itself.
pub const EDGE: u64 = 2;

/// What an entry says. `addend + linear` is the host address.
#[derive(Clone, Copy)]
struct Entry {
    /// Of reading; in sets for code, of execution.
    first: u64,
    write: u64,
    addend: u64,
}

/// Between the parts: those of one entry, which are wanted together, must not be in each other's way in the host's caches,
/// where places that are a power of two apart are.
type Gap = [u64; 128];
const GAP: Gap = [0; 128];

/// What emitted code reads: the entries' parts, each kind together, so that an access by few of them wants few of the host's
/// cache lines.
#[repr(C, align(64))]
pub struct TlbEntries {
    /// Tags of reading; in sets for code, of execution.
    pub first: [u64; TLB_SIZE],
    _gap: Gap,
    pub write: [u64; TLB_SIZE],
    _other: Gap,
    pub addend: [u64; TLB_SIZE],
}
impl TlbEntries {
    const NONE: TlbEntries = TlbEntries {
        _gap: GAP,
        _other: GAP,
        first: [INVALID; TLB_SIZE],
        write: [INVALID; TLB_SIZE],
        addend: [0; TLB_SIZE],
    };
    #[inline(always)]
    fn get(&self, i: usize) -> Entry {
        Entry { first: self.first[i], write: self.write[i], addend: self.addend[i] }
    }
    /// The page that has a slot: the first tag says it, since what may be written may be read, too.
    #[inline(always)]
    fn page(&self, i: usize) -> Option<u64> {
        Some(self.first[i]).filter(|&tag| tag != INVALID).map(|tag| tag & !(PAGE - 1))
    }
    #[inline(always)]
    fn set(&mut self, i: usize, e: Entry) {
        (self.first[i], self.write[i], self.addend[i]) = (e.first, e.write, e.addend);
    }
    /// The same; `gone` is told of the page that was there, if it no longer is as it was.
    #[inline(always)]
    fn put(&mut self, i: usize, e: Entry, gone: impl FnOnce(u64)) {
        let (first, addend) = (self.first[i], self.addend[i]);
        if first != INVALID && (first, addend) != (e.first, e.addend) {
            gone(first);
        }
        self.set(i, e);
    }
}

/// What the slow path wants to know of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlbInfo {
    /// Guest-physical address of the page.
    pub phys: u64,
    /// Where the page is in [`Ram`]; `None` for device registers.
    pub ram: Option<u64>,
    /// RAM that ignores writes.
    pub rom: bool,
    /// Kept when only the current address space is flushed.
    pub global: bool,
    pub read: bool,
    pub write: bool,
    pub exec: bool,
    /// Native code does not go here by itself.
    pub edge: bool,
    /// Protection key of a user page, or of a supervisor page with PKS.
    pub key: u8,
}

const EMPTY: Entry = Entry { first: INVALID, write: INVALID, addend: 0 };

/// Sets of entries for data, by what may be accessed (see `cpu::mmu`). Those for code come behind them, and have the rights of the
/// first of these: code and data that are wanted together do not drive each other out.
pub const DATA_SETS: usize = 3;

/// One CPU's TLB.
#[repr(C)]
pub struct Tlb<const SETS: usize> {
    entries: [TlbEntries; SETS],
    pub targets: BranchTargets,
    info: Vec<[TlbInfo; TLB_SIZE]>,
    used: [[Used; 2]; SETS],
    /// Slots whose entries, if any, are global: as `info` says, without a look at each.
    global: [Bits; SETS],
    second: Second,
    /// A bit for each protection key that an entry had since all were dropped.
    keys: u16,
    ram: Arc<Ram>,
    pub counts: TlbCounts,
}

/// Slots that may hold an entry of a kind, each once: one list of those that an address space has for itself, one of global
/// entries, so that who changes between address spaces only looks at the first.
struct Used {
    slots: Vec<u16>,
    /// Those that are in the list.
    listed: Bits,
}
impl Used {
    const fn new() -> Used {
        Used { slots: Vec::new(), listed: Bits::NONE }
    }
    fn add(&mut self, slot: usize) {
        if !self.listed.has(slot) {
            self.listed.set(slot, true);
            self.slots.push(slot as u16);
        }
    }
    /// Takes all out.
    fn drain(&mut self) -> impl Iterator<Item = usize> {
        self.listed = Bits::NONE;
        self.slots.drain(..).map(usize::from)
    }
}

/// A bit for each slot.
struct Bits([u64; TLB_SIZE / 64]);
impl Bits {
    const NONE: Bits = Bits([0; TLB_SIZE / 64]);
    fn has(&self, slot: usize) -> bool {
        self.0[slot / 64] >> (slot % 64) & 1 != 0
    }
    fn set(&mut self, slot: usize, on: bool) {
        let word = &mut self.0[slot / 64];
        *word = *word & !(1 << (slot % 64)) | u64::from(on) << (slot % 64);
    }
}

// One machine thread owns all CPUs and the RAM; see `Ram`.
// SAFETY: the raw addends are only followed by the thread that has the TLB.
unsafe impl<const SETS: usize> Send for Tlb<SETS> {}

fn index(linear: u64) -> usize {
    (linear / PAGE) as usize % TLB_SIZE
}
/// What a tag must equal for an access of `bytes` at `linear` to be allowed and inside one page. A crossing access names the
/// next page, whose tag is never in this slot.
#[inline(always)]
fn wanted(linear: u64, bytes: u64) -> u64 {
    linear.wrapping_add(bytes - 1) & !(PAGE - 1)
}

impl<const SETS: usize> Tlb<SETS> {
    pub fn new(ram: Arc<Ram>) -> Self {
        Tlb {
            entries: [TlbEntries::NONE; SETS],
            targets: BranchTargets::NEW,
            info: vec![[TlbInfo::default(); TLB_SIZE]; SETS],
            used: [const { [Used::new(), Used::new()] }; SETS],
            global: [Bits::NONE; SETS],
            second: Second::new(),
            keys: 0,
            ram,
            counts: TlbCounts::default(),
        }
    }
    pub fn ram(&self) -> &Arc<Ram> {
        &self.ram
    }
    /// The offset of entry 0 of `set` from the start of the TLB, for emitted code.
    pub const fn set_offset(set: usize) -> usize {
        set * size_of::<TlbEntries>()
    }
    /// The offset of [`Tlb::targets`].
    pub const fn targets_offset() -> usize {
        std::mem::offset_of!(Self, targets)
    }

    /// Reads RAM if the entry is there and allows it.
    #[inline(always)]
    pub fn read(&self, set: usize, linear: u64, w: Width) -> Option<u64> {
        let (all, i) = (&self.entries[set], index(linear));
        if all.first[i] != wanted(linear, w.bytes()) {
            return None;
        }
        let p = all.addend[i].wrapping_add(linear) as *const u8;
        // SAFETY: the tag matched, so `p` is inside a RAM page, and all `w` bytes are.
        Some(unsafe {
            match w {
                Width::W8 => p.read() as u64,
                Width::W16 => u16::from_le(p.cast::<u16>().read_unaligned()) as u64,
                Width::W32 => u32::from_le(p.cast::<u32>().read_unaligned()) as u64,
                Width::W64 => u64::from_le(p.cast::<u64>().read_unaligned()),
            }
        })
    }
    /// Writes RAM if the entry is there and allows it; else does nothing and says `false`.
    #[inline(always)]
    #[must_use]
    pub fn write(&self, set: usize, linear: u64, w: Width, v: u64) -> bool {
        let (all, i) = (&self.entries[set], index(linear));
        if all.write[i] != wanted(linear, w.bytes()) {
            return false;
        }
        let p = all.addend[i].wrapping_add(linear) as *mut u8;
        // SAFETY: the tag matched, so `p` is inside a writable RAM page, and all `w` bytes are.
        unsafe {
            match w {
                Width::W8 => p.write(v as u8),
                Width::W16 => p.cast::<u16>().write_unaligned((v as u16).to_le()),
                Width::W32 => p.cast::<u32>().write_unaligned((v as u32).to_le()),
                Width::W64 => p.cast::<u64>().write_unaligned(v.to_le()),
            }
        }
        true
    }
    /// Reads 16 bytes.
    #[inline(always)]
    pub fn read_128(&self, set: usize, linear: u64) -> Option<u128> {
        let (all, i) = (&self.entries[set], index(linear));
        if all.first[i] != wanted(linear, 16) {
            return None;
        }
        let p = all.addend[i].wrapping_add(linear) as *const u128;
        // SAFETY: as in `read`.
        Some(u128::from_le(unsafe { p.read_unaligned() }))
    }
    /// Writes 16 bytes.
    #[inline(always)]
    #[must_use]
    pub fn write_128(&self, set: usize, linear: u64, v: u128) -> bool {
        let (all, i) = (&self.entries[set], index(linear));
        if all.write[i] != wanted(linear, 16) {
            return false;
        }
        let p = all.addend[i].wrapping_add(linear) as *mut u128;
        // SAFETY: as in `write`.
        unsafe { p.write_unaligned(v.to_le()) }
        true
    }
    /// The RAM offset behind `linear` if the page is RAM and this entry allows reading (`write` false) or unwatched writing.
    #[inline(always)]
    pub fn ram_at(&self, set: usize, linear: u64, write: bool) -> Option<u64> {
        let (all, i) = (&self.entries[set], index(linear));
        let tag = if write { all.write[i] } else { all.first[i] };
        (tag == linear & !(PAGE - 1))
            .then(|| all.addend[i].wrapping_add(linear).wrapping_sub(self.ram.base() as u64))
    }
    /// The RAM offset of the code at `linear`, by a set for code.
    #[inline(always)]
    pub fn exec(&self, set: usize, linear: u64) -> Option<u64> {
        let (all, i) = (&self.entries[set], index(linear));
        (all.first[i] & !EDGE == linear & !(PAGE - 1))
            .then(|| all.addend[i].wrapping_add(linear).wrapping_sub(self.ram.base() as u64))
    }
    /// The entry for `linear`, whatever it allows.
    #[inline]
    pub fn info(&self, set: usize, linear: u64) -> Option<TlbInfo> {
        let i = index(linear);
        self.has(set, i, linear).then(|| self.info[set][i])
    }
    /// What is known of `linear` without an entry in its slot: another page drove it out, or the second level has it. It is no
    /// entry until it is inserted again.
    #[inline]
    pub fn recall(&mut self, set: usize, linear: u64) -> Option<TlbInfo> {
        let i = index(linear) ^ OTHER;
        if self.has(set, i, linear) {
            self.counts.aside += 1;
            return Some(self.info[set][i]);
        }
        let found = self.second.get(set % DATA_SETS, linear);
        self.counts.second += u64::from(found.is_some());
        found
    }
    fn has(&self, set: usize, slot: usize, linear: u64) -> bool {
        self.entries[set].page(slot) == Some(linear & !(PAGE - 1))
    }
    /// The page in a slot, if it is there because no other was.
    fn at_home(&self, set: usize, slot: usize) -> Option<u64> {
        self.entries[set].page(slot).filter(|&page| index(page) == slot)
    }

    /// Puts an entry in. A `ram` offset outside the mapping makes it a device page.
    pub fn insert(&mut self, set: usize, linear: u64, mut info: TlbInfo) {
        self.second.insert(set % DATA_SETS, linear, info);
        self.keys |= 1 << (info.key & 15);
        let (i, page) = (index(linear), linear & !(PAGE - 1));
        if info.ram.is_some_and(|at| at % PAGE != 0 || at + PAGE > self.ram.len()) {
            info.ram = None;
        }
        let slow = |slow: bool| if slow { SLOW } else { 0 };
        let tag = |on: bool, slow: u64| if on { page | slow } else { INVALID };
        let io = info.ram.is_none();
        let watched = info.ram.is_none_or(|at| info.rom || self.ram.write_is_watched(at));
        let host = (self.ram.base() as u64).wrapping_add(info.ram.unwrap_or(0));
        let code = set >= DATA_SETS;
        let edge = if code && info.edge { EDGE } else { 0 };
        let e = Entry {
            first: tag(if code { info.exec } else { info.read }, slow(io) | edge),
            write: tag(info.write && !code, slow(watched)),
            addend: host.wrapping_sub(page),
        };
        let other = i ^ OTHER;
        if self.has(set, other, linear) {
            self.put(set, other, EMPTY);
        }
        if self.at_home(set, i).is_some_and(|there| there != page) {
            let global = self.global[set].has(i);
            self.used[set][usize::from(global)].add(other);
            self.global[set].set(other, global);
            let there = self.entries[set].get(i);
            self.put(set, other, there);
            self.info[set][other] = self.info[set][i];
        }
        self.used[set][usize::from(info.global)].add(i);
        self.global[set].set(i, info.global);
        self.put(set, i, e);
        self.info[set][i] = info;
    }
    /// Has an entry in a slot. What was known of the code of the page that was there is forgotten.
    fn put(&mut self, set: usize, slot: usize, e: Entry) {
        match set < DATA_SETS {
            true => self.entries[set].set(slot, e),
            false => self.entries[set].put(slot, e, |page| self.targets.forget_page(set, page)),
        }
    }

    /// Whether some page may be known that has one of these protection keys.
    pub fn has_keys(&self, keys: u16) -> bool {
        self.keys & keys != 0
    }
    pub fn flush(&mut self) {
        self.counts.flushes += 1;
        self.keys = 0;
        self.second.flush();
        self.targets.clear();
        for (used, entries) in self.used.iter_mut().zip(&mut self.entries) {
            used.iter_mut().flat_map(Used::drain).for_each(|i| entries.set(i, EMPTY));
        }
    }
    /// Drops all but global entries.
    pub fn flush_non_global(&mut self) {
        self.counts.own_flushes += 1;
        self.second.flush_own();
        self.drop_non_global();
    }
    /// Makes the address space with this PCID the current one; `keep`: with what is known of it.
    pub fn switch(&mut self, pcid: usize, keep: bool) {
        self.counts.switches += 1;
        self.second.switch(pcid, keep);
        self.drop_non_global();
    }
    fn drop_non_global(&mut self) {
        for (set, [own, _]) in self.used.iter_mut().enumerate() {
            for i in own.drain().filter(|&i| !self.global[set].has(i)) {
                self.entries[set].put(i, EMPTY, |page| self.targets.forget_page(set, page));
            }
        }
    }
    /// Drops the page of `linear` in all sets.
    pub fn flush_page(&mut self, linear: u64) {
        self.counts.pages += 1;
        (0..DATA_SETS).for_each(|set| self.second.flush_page(set, linear));
        for set in 0..SETS {
            for slot in [index(linear), index(linear) ^ OTHER] {
                if self.has(set, slot, linear) {
                    self.put(set, slot, EMPTY);
                }
            }
        }
    }
    /// Makes writes to the RAM page at `offset` take the slow path from now on.
    pub fn protect(&mut self, offset: u64) {
        for set in 0..SETS {
            for &i in self.used[set].iter().flat_map(|u| &u.slots) {
                let write = &mut self.entries[set].write[i as usize];
                if self.info[set][i as usize].ram == Some(offset) && *write != INVALID {
                    *write |= SLOW;
                }
            }
        }
    }
    /// The valid entries, for `info tlb`: `(set, linear page, info)`.
    pub fn list(&self) -> Vec<(usize, u64, TlbInfo)> {
        let mut all = Vec::new();
        for set in 0..SETS {
            // A slot that held an entry of each kind is in both lists.
            for (used, global) in self.used[set].iter().zip([false, true]) {
                for &i in &used.slots {
                    let info = self.info[set][i as usize];
                    if let Some(page) = self.entries[set].page(i.into())
                        && info.global == global
                    {
                        all.push((set, page, info));
                    }
                }
            }
        }
        all.sort_by_key(|&(set, page, _)| (set, page));
        all
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn tlb() -> Tlb<4> {
        Tlb::new(Arc::new(Ram::new(16 * PAGE).unwrap()))
    }
    fn page(at: u64) -> TlbInfo {
        TlbInfo {
            phys: at,
            ram: Some(at),
            read: true,
            write: true,
            exec: true,
            ..TlbInfo::default()
        }
    }

    #[test]
    fn only_what_was_inserted_is_reached() {
        let mut t = tlb();
        assert_eq!(t.read(0, 0x5000, Width::W8), None);
        t.insert(0, 0x5123, page(0x2000));
        assert!(t.write(0, 0x5ff8, Width::W64, 0x1122334455667788));
        assert_eq!(t.read(0, 0x5ffc, Width::W32), Some(0x11223344));
        assert_eq!(t.read(0, 0x5ffd, Width::W32), None, "crosses the page");
        assert_eq!(t.read(1, 0x5000, Width::W8), None, "another set");
        assert_eq!(t.exec(3, 0x5010), None);
        t.insert(3, 0x5123, page(0x2000));
        assert_eq!(t.exec(3, 0x5010), Some(0x2010));
        assert_eq!(t.ram().read_u64(0x2ff8), Some(0x1122334455667788));
        assert!(!t.write_128(0, 0x5ff1, 0));
        assert!(t.write_128(0, 0x5ff0, 7));
        assert_eq!(t.read_128(0, 0x5ff0), Some(7));
    }

    #[test]
    fn the_last_page_and_the_page_after_it_do_not_alias() {
        let mut t = tlb();
        t.insert(0, 0, page(0));
        assert_eq!(t.read(0, u64::MAX - 3, Width::W64), None);
        t.insert(0, 0xffff_ffff_ffff_f000, page(0x1000));
        assert_eq!(t.read(0, u64::MAX - 3, Width::W32), Some(0));
        assert_eq!(t.read(0, u64::MAX - 3, Width::W64), None);
    }

    #[test]
    fn rom_devices_and_watched_pages_are_slow() {
        let mut t = tlb();
        t.insert(0, 0x1000, TlbInfo { rom: true, ..page(0) });
        assert!(!t.write(0, 0x1000, Width::W8, 1));
        assert_eq!(t.read(0, 0x1000, Width::W8), Some(0));
        t.insert(0, 0x2000, TlbInfo { ram: Some(1 << 40), ..page(0) });
        assert_eq!(t.read(0, 0x2000, Width::W8), None);
        assert_eq!(t.info(0, 0x2000).unwrap().ram, None);
        t.insert(0, 0x3000, page(0x3000));
        assert!(t.write(0, 0x3000, Width::W8, 1));
        t.ram().set_flags(0x3000, crate::CODE);
        t.protect(0x3000);
        assert!(!t.write(0, 0x3000, Width::W8, 1));
        assert!(t.info(0, 0x3000).unwrap().write);
    }

    #[test]
    fn protection_keys_are_known_until_all_is_flushed() {
        let mut t = tlb();
        t.insert(0, 0x5000, TlbInfo { key: 3, ..page(0) });
        assert_eq!([1 << 3, 1 << 2, !0].map(|keys| t.has_keys(keys)), [true, false, true]);
        // The second level still has it.
        t.switch(1, false);
        assert!(t.has_keys(1 << 3));
        t.flush();
        assert!(!t.has_keys(!0));
    }
    #[test]
    fn flushes_keep_what_they_should() {
        let mut t = tlb();
        t.insert(0, 0x1000, TlbInfo { global: true, ..page(0) });
        t.insert(0, 0x2000, page(0));
        t.insert(1, 0x2000, page(0));
        t.flush_non_global();
        assert_eq!(t.list().len(), 1);
        t.insert(1, 0x1000, page(0));
        t.flush_page(0x1fff);
        assert_eq!(t.list(), []);
        t.insert(0, 0x2000, page(0));
        assert!(t.recall(0, 0x2000).is_some() && t.recall(0, 0x3000).is_none());
        t.flush();
        assert_eq!(t.read(0, 0x2000, Width::W8), None);
        let TlbCounts { second, flushes, own_flushes, pages, .. } = t.counts;
        assert_eq!((second, flushes, own_flushes, pages), (1, 1, 1, 1));
        // One slot, entries of both kinds in turn.
        let global = |on| TlbInfo { global: on, ..page(0) };
        let there = |t: &Tlb<4>| t.read(0, 0x2000, Width::W8).is_some();
        for kinds in [[false, true], [true, false]] {
            kinds.iter().for_each(|&on| t.insert(0, 0x2000, global(on)));
            assert_eq!(t.list().len(), 1);
            t.flush_non_global();
            assert_eq!(there(&t), kinds[1]);
            t.insert(0, 0x2000, global(kinds[0]));
            t.flush();
            assert!(!there(&t) && t.list().is_empty());
        }
    }
}
