//! The second level of the TLB: what page walks found, also in address spaces that are not current.
//!
//! To forget an address space costs nothing: what it had bears a number that is nobody's any more.

use super::TlbInfo;
use crate::PAGE;

/// Slots; a power of two.
const SLOTS: usize = 16384;
/// Address spaces by their PCIDs.  SDM 3A, 4.10.1.
const SPACES: usize = 4096;

/// One of the host's cache lines.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Slot {
    /// The linear page, and the set of rights in the low bits.
    page: u64,
    /// Whose it is; 0: nobody's.
    owner: u64,
    info: TlbInfo,
}

pub struct Second {
    slots: Vec<Slot>,
    /// The number of each address space; from `oldest` on, or it has none yet.
    spaces: Vec<u64>,
    oldest: u64,
    /// The next number.
    next: u64,
    /// Numbers of the current address space, and of what is global.
    own: u64,
    global: u64,
}

fn index(page: u64) -> usize {
    let n = page / PAGE;
    (n ^ n >> 14 ^ (page % PAGE) << 9) as usize % SLOTS
}

impl Second {
    pub fn new() -> Second {
        Second {
            slots: vec![Slot::default(); SLOTS],
            spaces: vec![0; SPACES],
            oldest: 1,
            next: 3,
            own: 1,
            global: 2,
        }
    }
    fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }
    fn owner(&self, info: &TlbInfo) -> u64 {
        if info.global { self.global } else { self.own }
    }

    pub fn get(&self, set: usize, linear: u64) -> Option<TlbInfo> {
        let page = linear & !(PAGE - 1) | set as u64;
        let s = &self.slots[index(page)];
        (s.page == page && s.owner == self.owner(&s.info)).then_some(s.info)
    }
    pub fn insert(&mut self, set: usize, linear: u64, info: TlbInfo) {
        let page = linear & !(PAGE - 1) | set as u64;
        self.slots[index(page)] = Slot { page, owner: self.owner(&info), info };
    }
    pub fn flush(&mut self) {
        (self.oldest, self.own, self.global) = (self.next, self.next, self.next + 1);
        self.next += 2;
    }
    /// Forgets the current address space.
    pub fn flush_own(&mut self) {
        self.own = self.fresh();
    }
    /// Forgets a page in all address spaces.
    pub fn flush_page(&mut self, set: usize, linear: u64) {
        let page = linear & !(PAGE - 1) | set as u64;
        let s = &mut self.slots[index(page)];
        if s.page == page {
            *s = Slot::default();
        }
    }
    /// Makes the address space with this PCID the current one; `keep`: with what is known of it.
    pub fn switch(&mut self, pcid: usize, keep: bool) {
        let known = self.spaces[pcid % SPACES];
        self.own = if keep && known >= self.oldest { known } else { self.fresh() };
        self.spaces[pcid % SPACES] = self.own;
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn page(at: u64, global: bool) -> TlbInfo {
        TlbInfo { phys: at, ram: Some(at), read: true, global, ..TlbInfo::default() }
    }

    #[test]
    fn address_spaces_keep_what_they_have() {
        let mut s = Second::new();
        s.switch(1, false);
        s.insert(0, 0x5123, page(0x1000, false));
        s.insert(1, 0x6000, page(0x2000, true));
        assert_eq!(s.get(0, 0x5fff).map(|i| i.phys), Some(0x1000));
        assert_eq!(s.get(1, 0x5000), None);
        s.switch(2, true);
        assert_eq!(s.get(0, 0x5000), None);
        assert_eq!(s.get(1, 0x6000).map(|i| i.phys), Some(0x2000));
        s.switch(1, true);
        assert_eq!(s.get(0, 0x5000).map(|i| i.phys), Some(0x1000));
        s.flush_page(0, 0x5000);
        assert_eq!(s.get(0, 0x5000), None);
        s.insert(0, 0x5000, page(0x1000, false));
        s.switch(1, false);
        assert_eq!(s.get(0, 0x5000), None);
        s.insert(0, 0x5000, page(0x1000, false));
        s.switch(2, true);
        s.flush();
        assert_eq!(s.get(1, 0x6000), None);
        s.switch(1, true);
        assert_eq!(s.get(0, 0x5000), None);
        s.insert(0, 0x7000, page(0x1000, false));
        s.flush_own();
        assert_eq!(s.get(0, 0x7000), None);
    }
}
