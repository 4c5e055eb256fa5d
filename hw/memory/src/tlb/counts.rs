//! What the slow path of the TLB has done.

/// What the slow path of a TLB has done: hits in emitted code are not in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlbCounts {
    /// Pages that were not in their slots: found in the other one, in the second level, or by reading page tables.
    pub aside: u64,
    pub second: u64,
    pub walks: u64,
    /// Times everything was dropped, all but global entries, what another address space had, and single pages.
    pub flushes: u64,
    pub own_flushes: u64,
    pub switches: u64,
    pub pages: u64,
}

impl std::ops::AddAssign for TlbCounts {
    fn add_assign(&mut self, o: TlbCounts) {
        let TlbCounts { aside, second, walks, flushes, own_flushes, switches, pages } = o;
        self.aside += aside;
        self.second += second;
        self.walks += walks;
        self.flushes += flushes;
        self.own_flushes += own_flushes;
        self.switches += switches;
        self.pages += pages;
    }
}
