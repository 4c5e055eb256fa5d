//! Tables in memory: L2 tables or refcount blocks, by their place in the file, as many as memory was given for.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

pub type Bytes = Arc<Vec<u8>>;

struct Slot {
    bytes: Bytes,
    /// What has to be written.
    dirty: Range<usize>,
    /// It is being written: the file does not have it yet.
    writing: bool,
    /// The file does not point to it yet, so it may be written at any time.
    fresh: bool,
    used: bool,
}

/// A part of a table that is to be written.
pub struct Write {
    pub at: u64,
    pub range: Range<usize>,
    pub bytes: Bytes,
    pub fresh: bool,
}

pub struct Tables {
    slots: HashMap<u64, Slot>,
    /// In the order in which they are asked whether they are still used.
    clock: VecDeque<u64>,
    dirty: BTreeSet<u64>,
    most: usize,
    /// Goes up when a table is dropped: whoever read one meanwhile may have an old one.
    pub dropped: u64,
}

impl Tables {
    pub fn new(most: usize) -> Tables {
        Tables {
            slots: HashMap::new(),
            clock: VecDeque::new(),
            dirty: BTreeSet::new(),
            most: most.max(2),
            dropped: 0,
        }
    }
    pub fn get(&mut self, at: u64) -> Option<&Bytes> {
        let slot = self.slots.get_mut(&at)?;
        slot.used = true;
        Some(&slot.bytes)
    }
    pub fn has(&self, at: u64) -> bool {
        self.slots.contains_key(&at)
    }

    /// So much has to be written that it should be done before more is changed.
    pub fn crowded(&self) -> bool {
        self.dirty.len() >= self.most
    }

    /// Puts a table in that is in the file as it is here. `false`: there is no room, as all that are here must be written
    /// first; `force` puts it in all the same.
    pub fn insert(&mut self, at: u64, bytes: Bytes, force: bool) -> bool {
        if !self.slots.contains_key(&at) {
            if !self.make_room() && !force {
                return false;
            }
            self.clock.push_back(at);
        }
        let slot = Slot { bytes, dirty: 0..0, writing: false, fresh: false, used: true };
        self.slots.insert(at, slot);
        true
    }
    /// Puts a new table in, which nothing in the file points to.
    pub fn insert_fresh(&mut self, at: u64, bytes: Bytes) {
        let all = 0..bytes.len();
        // What an earlier table left here is gone: its cluster was given up.
        self.forget(at);
        self.insert(at, bytes, true);
        if let Some(slot) = self.slots.get_mut(&at) {
            slot.fresh = true;
            slot.dirty = all;
        }
        self.dirty.insert(at);
    }
    /// Bytes of a table to be changed; `range` of them will be.
    pub fn change(&mut self, at: u64, range: Range<usize>) -> Option<&mut Vec<u8>> {
        let slot = self.slots.get_mut(&at)?;
        slot.used = true;
        slot.dirty = join(&slot.dirty, &range);
        self.dirty.insert(at);
        Some(Arc::make_mut(&mut slot.bytes))
    }
    /// The cluster holds no table any more.
    pub fn forget(&mut self, at: u64) {
        if self.slots.remove(&at).is_some() {
            self.dirty.remove(&at);
            self.clock.retain(|&c| c != at);
            self.dropped += 1;
        }
    }

    fn make_room(&mut self) -> bool {
        for _ in 0..2 * self.clock.len() {
            if self.slots.len() < self.most {
                break;
            }
            let Some(at) = self.clock.pop_front() else { break };
            let Some(slot) = self.slots.get_mut(&at) else { continue };
            if std::mem::take(&mut slot.used) || !slot.dirty.is_empty() || slot.writing {
                self.clock.push_back(at);
                continue;
            }
            self.slots.remove(&at);
            self.dropped += 1;
        }
        self.slots.len() < self.most
    }

    /// All that has to be written, in the order of the file. Until [`Tables::written`] says how it went, nothing of it is
    /// dropped.
    pub fn to_write(&mut self) -> Vec<Write> {
        let mut all = Vec::new();
        for at in std::mem::take(&mut self.dirty) {
            let Some(slot) = self.slots.get_mut(&at) else { continue };
            let range = std::mem::replace(&mut slot.dirty, 0..0);
            slot.writing = true;
            all.push(Write { at, range, bytes: slot.bytes.clone(), fresh: slot.fresh });
        }
        all
    }
    /// What [`Tables::to_write`] gave was written, or could not be.
    pub fn written(&mut self, all: &[Write], well: bool) {
        for w in all {
            let Some(slot) = self.slots.get_mut(&w.at) else { continue };
            slot.writing = false;
            if well {
                slot.fresh = false;
            } else {
                slot.dirty = join(&slot.dirty, &w.range);
                self.dirty.insert(w.at);
            }
        }
    }
}

fn join(a: &Range<usize>, b: &Range<usize>) -> Range<usize> {
    if a.is_empty() { b.clone() } else { a.start.min(b.start)..a.end.max(b.end) }
}

#[cfg(test)]
mod test {
    use super::*;

    fn bytes(n: u8) -> Bytes {
        Arc::new(vec![n; 16])
    }

    #[test]
    fn what_was_not_used_lately_goes_and_what_is_not_written_stays() {
        let mut t = Tables::new(2);
        assert!((1..4).all(|n| t.insert(n, bytes(n as u8), false)));
        assert!(!t.has(1) && t.has(3) && t.dropped == 1);
        t.change(2, 0..8).unwrap()[0] = 9;
        t.change(3, 8..16).unwrap()[9] = 9;
        assert!(!t.insert(4, bytes(4), false));
        let writes = t.to_write();
        assert!(writes.len() == 2 && writes[0].range == (0..8) && !t.insert(4, bytes(4), false));
        // It changes while it is being written: what is written stays as it was.
        t.change(2, 4..5).unwrap()[4] = 7;
        assert_eq!(writes[0].bytes[4], 2);
        t.written(&writes, true);
        assert!(t.insert(4, bytes(4), false) && t.has(2) && !t.has(3));
        let writes = t.to_write();
        t.written(&writes, false);
        assert_eq!(t.to_write()[0].range, 4..5);
    }

    #[test]
    fn a_new_table_is_fresh_until_it_was_written_well() {
        let mut t = Tables::new(4);
        t.insert_fresh(1, bytes(1));
        let w = t.to_write();
        assert!(w[0].fresh && w[0].range == (0..16));
        t.written(&w, false);
        let w = t.to_write();
        assert!(w[0].fresh);
        t.written(&w, true);
        t.change(1, 0..1);
        assert!(!t.to_write()[0].fresh);
    }
}
