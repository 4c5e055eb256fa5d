//! The address map: which part answers at a guest-physical address (or an I/O port).
//!
//! Regions overlap by priority, as firmware shadows ROM with RAM and a guest moves BARs; the map is flattened on each change
//! and looked up by binary search.

/// A place in a device's register window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub device: u32,
    pub bank: u16,
    pub at: u64,
}

/// What answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// RAM from this offset into [`crate::Ram`].
    Ram { offset: u64 },
    /// The same for reads and instruction fetches; writes go to a device's register window, or nowhere.
    Rom { offset: u64, writes: Option<Window> },
    /// Register window `bank` of a device, from offset `at`.
    Io { device: u32, bank: u16, at: u64 },
    /// Nothing: reads give all ones.
    Hole,
}

impl Target {
    /// The same target, `by` bytes further in.
    fn further(self, by: u64) -> Target {
        match self {
            Target::Ram { offset } => Target::Ram { offset: offset + by },
            Target::Rom { offset, writes } => {
                let writes = writes.map(|w| Window { at: w.at + by, ..w });
                Target::Rom { offset: offset + by, writes }
            }
            Target::Io { device, bank, at } => Target::Io { device, bank, at: at + by },
            Target::Hole => Target::Hole,
        }
    }
}

/// A region as it was added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub base: u64,
    pub len: u64,
    pub target: Target,
    pub priority: i32,
    pub name: String,
    /// The device and bank that moves it.
    pub owner: Option<(u32, u16)>,
}

#[derive(Clone, Copy)]
struct Flat {
    first: u64,
    last: u64,
    target: Target,
}

/// An address space.
#[derive(Default)]
pub struct Map {
    entries: Vec<Entry>,
    flat: Vec<Flat>,
    /// The largest piece of RAM, which most look-ups are for.
    main: Option<Flat>,
    changes: u64,
}

impl Map {
    /// Adds a region. Of overlapping regions the higher priority is seen; of equal ones the later. `len` 0 is nothing.
    pub fn add(&mut self, entry: Entry) {
        if entry.len != 0 {
            self.entries.push(entry);
            self.flatten();
        }
    }
    /// Removes the regions that `which` names.
    pub fn remove(&mut self, which: impl Fn(&Entry) -> bool) {
        self.entries.retain(|e| !which(e));
        self.flatten();
    }
    /// How often the map has changed: TLBs filled before a change are out of date.
    pub fn changes(&self) -> u64 {
        self.changes
    }
    /// The regions as they were added.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What answers at `addr`.
    #[inline]
    pub fn at(&self, addr: u64) -> Target {
        let n = self.flat.partition_point(|f| f.last < addr);
        match self.flat.get(n) {
            Some(f) if f.first <= addr => f.target.further(addr - f.first),
            _ => Target::Hole,
        }
    }
    /// What answers at the 4 KiB page of `addr`, if one region covers it whole.
    #[inline]
    pub fn page(&self, addr: u64) -> Option<Target> {
        let page = addr & !0xfff;
        if let Some(m) = self.main
            && m.first <= page
            && page <= m.last
            && m.last - page >= 0xfff
        {
            return Some(m.target.further(page - m.first));
        }
        self.page_of_any(page)
    }
    fn page_of_any(&self, page: u64) -> Option<Target> {
        let n = self.flat.partition_point(|f| f.last < page);
        match self.flat.get(n) {
            Some(f) if f.first <= page && page + 0xfff <= f.last => {
                Some(f.target.further(page - f.first))
            }
            Some(f) if f.first <= page + 0xfff => None,
            _ => Some(Target::Hole),
        }
    }
    /// How many bytes from `addr` on the same region answers (at least 1).
    pub fn run(&self, addr: u64) -> u64 {
        let n = self.flat.partition_point(|f| f.last < addr);
        match self.flat.get(n) {
            Some(f) if f.first <= addr => (f.last - addr).saturating_add(1),
            Some(f) => f.first - addr,
            None => (u64::MAX - addr).saturating_add(1),
        }
    }
    /// The flattened map, for `info mtree -f`: `(first, last, target)`.
    pub fn flat(&self) -> impl Iterator<Item = (u64, u64, Target)> + '_ {
        self.flat.iter().map(|f| (f.first, f.last, f.target))
    }

    fn flatten(&mut self) {
        self.changes += 1;
        let mut order: Vec<(i32, usize)> =
            self.entries.iter().enumerate().map(|(n, e)| (e.priority, n)).collect();
        order.sort();
        let mut flat: Vec<Flat> = Vec::new();
        for (_, n) in order {
            let e = &self.entries[n];
            let (first, last) = (e.base, e.base.saturating_add(e.len - 1));
            let mut next = Vec::with_capacity(flat.len() + 2);
            for f in flat {
                if f.first < first {
                    next.push(Flat { last: f.last.min(first - 1), ..f });
                }
                if f.last > last {
                    let from = f.first.max(last + 1);
                    next.push(Flat { first: from, target: f.target.further(from - f.first), ..f });
                }
            }
            next.push(Flat { first, last, target: e.target });
            next.sort_by_key(|f| f.first);
            flat = next;
        }
        self.flat = flat;
        let ram = |f: &&Flat| matches!(f.target, Target::Ram { .. });
        self.main = self.flat.iter().filter(ram).max_by_key(|f| f.last - f.first).copied();
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn add(m: &mut Map, base: u64, len: u64, target: Target, priority: i32) {
        m.add(Entry { base, len, target, priority, name: String::new(), owner: None });
    }

    #[test]
    fn the_higher_priority_is_seen_and_the_rest_shows_around_it() {
        let mut m = Map::default();
        add(&mut m, 0, 0x10000, Target::Ram { offset: 0x100 }, 0);
        add(&mut m, 0x4000, 0x1000, Target::Io { device: 3, bank: 1, at: 0 }, 1);
        assert_eq!(m.at(0x3fff), Target::Ram { offset: 0x40ff });
        assert_eq!(m.at(0x4010), Target::Io { device: 3, bank: 1, at: 0x10 });
        assert_eq!(m.at(0x5000), Target::Ram { offset: 0x5100 });
        assert_eq!(m.at(0x10000), Target::Hole);
        assert_eq!(m.run(0x3ff0), 0x10);
        assert_eq!(m.page(0x4fff), Some(Target::Io { device: 3, bank: 1, at: 0 }));
        m.remove(|e| e.priority == 1);
        assert_eq!(m.at(0x4010), Target::Ram { offset: 0x4110 });
    }

    #[test]
    fn a_page_with_two_owners_is_nobodys() {
        let mut m = Map::default();
        add(&mut m, 0x1800, 0x1000, Target::Ram { offset: 0 }, 0);
        assert_eq!(m.page(0x1000), None);
        assert_eq!(m.page(0x2fff), None);
        assert_eq!(m.page(0x3000), Some(Target::Hole));
        add(&mut m, u64::MAX - 0xfff, 0x1000, Target::Ram { offset: 0 }, 0);
        assert_eq!(m.page(u64::MAX), Some(Target::Ram { offset: 0 }));
        assert_eq!(m.run(u64::MAX), 1);
    }
}
