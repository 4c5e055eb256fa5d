//! Where native code goes on, by linear address: what a look at the TLB and at a table of code has found, remembered as long
//! as the TLB has the page for execution.
//!
//! The places of a page are together in one row, so that a page that goes takes only its own with it. Emitted code looks here
//! and fills it; what the code of a target is, only its owner knows.

use super::DATA_SETS;
use crate::PAGE;

/// Sets of the TLB that code is fetched by.
pub const CODE_SETS: usize = 2;
/// Rows of a set, which pages have in turn, and targets in a row; powers of two.
pub const TARGET_ROWS: usize = 16;
const ROW: usize = PAGE as usize / size_of::<BranchTarget>();
/// Log2 of the bytes of code whose targets are one part of a row, of 32; and how many these are.
pub const TARGET_PART: u8 = PAGE.trailing_zeros() as u8 - 5;
const PART: usize = ROW / 32;
/// What an address keeps of itself to be the offset of its target: no two targets are for the same bytes.
pub const TARGET_MASK: i32 = ((TARGET_ROWS * ROW - 1) * size_of::<BranchTarget>()) as i32;
const _: () = assert!(size_of::<BranchTarget>().is_power_of_two());

/// The code that runs for a linear address in a mode.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
pub struct BranchTarget {
    pub linear: u64,
    pub mode: u32,
    /// As its owner counts.
    pub code: u32,
}
const NONE: BranchTarget = BranchTarget { linear: !0, mode: !0, code: 0 };

#[repr(C, align(64))]
pub struct BranchTargets {
    slots: [[[BranchTarget; ROW]; TARGET_ROWS]; CODE_SETS],
    /// Bits for the parts of each row that may have targets.
    used: [[u32; TARGET_ROWS]; CODE_SETS],
    /// Who filled it, and for which code: nobody else may use it.
    owner: u64,
}

impl BranchTargets {
    pub const NEW: BranchTargets = BranchTargets {
        slots: [[[NONE; ROW]; TARGET_ROWS]; CODE_SETS],
        used: [[0; TARGET_ROWS]; CODE_SETS],
        owner: 0,
    };
    /// Offset of the first target of a set, for emitted code.
    pub const fn set_offset(set: usize) -> usize {
        std::mem::offset_of!(BranchTargets, slots)
            + set * size_of::<[[BranchTarget; ROW]; TARGET_ROWS]>()
    }
    /// Offset of the bits for the rows of a set, 32 each: of those, bit `linear >> TARGET_PART % 32`.
    pub const fn used_offset(set: usize) -> usize {
        std::mem::offset_of!(BranchTargets, used) + set * size_of::<[u32; TARGET_ROWS]>()
    }

    pub fn owner(&self) -> u64 {
        self.owner
    }
    /// From now on it is somebody else's, or for other code; what is in it stays.
    pub fn own(&mut self, owner: u64) {
        self.owner = owner;
    }
    /// Forgets all.
    pub fn clear(&mut self) {
        (0..CODE_SETS).for_each(|set| self.clear_set(set));
    }
    fn clear_set(&mut self, set: usize) {
        (0..TARGET_ROWS).for_each(|n| self.clear_row(set, n));
    }
    fn clear_row(&mut self, set: usize, n: usize) {
        let mut used = std::mem::take(&mut self.used[set][n]);
        while used != 0 {
            let part = used.trailing_zeros() as usize * PART;
            self.slots[set][n][part..part + PART].fill(NONE);
            used &= used - 1;
        }
    }
    /// Forgets the targets in a page of a set of the TLB.
    pub fn forget_page(&mut self, set: usize, linear: u64) {
        if let Some(set) = set.checked_sub(DATA_SETS) {
            self.clear_row(set, (linear / PAGE) as usize % TARGET_ROWS);
        }
    }
    /// Forgets code, which is for a place of this linear address within its page.
    pub fn forget_code(&mut self, linear: u64, code: u32) {
        let low = (linear % PAGE) as usize;
        let at = low / size_of::<BranchTarget>();
        for (set, used) in self.slots.iter_mut().zip(self.used) {
            let bit = 1 << (at / PART);
            for (row, _) in set.iter_mut().zip(used).filter(|(_, used)| used & bit != 0) {
                if row[at].code == code {
                    row[at] = NONE;
                }
            }
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    /// As emitted code does it.
    fn slot(t: &mut BranchTargets, set: usize, linear: u64) -> &mut BranchTarget {
        let n = (linear as usize & TARGET_MASK as usize) / size_of::<BranchTarget>();
        t.used[set][(linear / PAGE) as usize % TARGET_ROWS] |= 1 << (linear >> TARGET_PART) % 32;
        &mut t.slots[set][n / ROW][n % ROW]
    }
    fn fill(t: &mut BranchTargets, set: usize, linear: u64, code: u32) {
        *slot(t, set, linear) = BranchTarget { linear, mode: 7, code };
    }

    #[test]
    fn a_page_goes_with_all_its_targets_and_no_others() {
        let mut t = Box::new(BranchTargets::NEW);
        let places = [0x7f12_3456_7000, 0x7f12_3456_7abc, 0x7f12_3456_7fff];
        places.iter().for_each(|&at| fill(&mut t, 1, at, 5));
        fill(&mut t, 1, 0x7f12_3456_8000, 6);
        fill(&mut t, 0, 0x7f12_3456_7000, 7);
        t.forget_page(DATA_SETS + 1, 0x7f12_3456_7123);
        assert!(places.iter().all(|&at| slot(&mut t, 1, at).linear == !0));
        assert_eq!(slot(&mut t, 1, 0x7f12_3456_8000).code, 6);
        assert_eq!(slot(&mut t, 0, 0x7f12_3456_7000).code, 7);
        t.forget_page(1, 0x7f12_3456_8000);
        assert_eq!(slot(&mut t, 1, 0x7f12_3456_8000).code, 6);
    }

    #[test]
    fn code_goes_from_every_page_it_is_seen_in() {
        let mut t = Box::new(BranchTargets::NEW);
        for (set, at) in [(0, 0xffff_ffff_8100_0120), (1, 0x40_1120), (1, 0x7fff_0000_0120)] {
            fill(&mut t, set, at, 9);
        }
        fill(&mut t, 1, 0x9120, 8);
        t.forget_code(0x120, 9);
        assert_eq!(slot(&mut t, 0, 0xffff_ffff_8100_0120).linear, !0);
        assert_eq!(slot(&mut t, 1, 0x40_1120).linear, !0);
        assert_eq!(slot(&mut t, 1, 0x7fff_0000_0120).linear, !0);
        assert_eq!(slot(&mut t, 1, 0x9120).code, 8);
        t.clear();
        assert_eq!(slot(&mut t, 1, 0x9120).linear, !0);
    }
}
