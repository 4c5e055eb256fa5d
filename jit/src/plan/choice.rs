//! Which blocks become a region.
//!
//! A block is part of one region at most. A block that is hot and free takes the hot ones behind it, and whole regions that
//! it meets, as long as there is room; one that is part of a region but is come to from outside has that region made again,
//! with one more entry.

use super::{ENTRIES, Flow, MAX_BLOCKS, ends, fits};
use crate::block::{Blocks, Id};
use cpu::Core;

/// What a plan is made from, besides the blocks.
pub struct Wish<'a> {
    /// The block that is about to run.
    pub head: Id,
    /// Instructions at most.
    pub most: usize,
    /// How hot a block is; more than `hot` does not count.
    pub heat: &'a dyn Fn(Id) -> u32,
    pub hot: u32,
    /// How often a block was executed since it became part of a region.
    pub again: &'a dyn Fn(Id) -> u32,
    /// The baseline tier's emitter makes it.
    pub native: bool,
    /// What the region with this number was made of, while it is alive.
    pub region: &'a dyn Fn(u32) -> Option<&'a Made>,
}

/// What a region was made of.
pub struct Made {
    pub from: Vec<(Id, u64)>,
    /// How far each block is from the head.
    pub deltas: Vec<i64>,
    pub entries: Vec<usize>,
    pub insns: usize,
    /// How often it grew.
    pub grown: u32,
    /// Tells it from other regions that had its number.
    pub serial: u64,
}
impl Made {
    /// The blocks it is entered at.
    pub fn heads(&self) -> impl Iterator<Item = Id> + '_ {
        self.entries.iter().map(|&e| self.from[e].0)
    }
}
/// So often a region grows.
const GROWTH: u32 = 16;

/// The blocks of a region to be, as they are chosen.
pub(super) struct Choice<'a, 'w> {
    blocks: &'a Blocks,
    wish: &'a Wish<'w>,
    core: &'a Core,
    /// Blocks, and how far they are from the head.
    pub(super) chosen: Vec<(i64, Id)>,
    /// For each of them, the region that it came with, as it is counted in `replaces`, from 1; 0: by itself.
    came: Vec<usize>,
    /// Where it is entered, the head first.
    entries: Vec<i64>,
    pub(super) replaces: Vec<(u32, u64)>,
    pub(super) grown: u32,
    room: usize,
    /// Places that may be next, and their heat.
    edges: Vec<(i64, u32)>,
    /// Near calls: where they come back to, and where they lead if the callee may be part of this.
    calls: Vec<(i64, Option<i64>)>,
}

impl<'a, 'w> Choice<'a, 'w> {
    pub(super) fn of(
        blocks: &'a Blocks,
        core: &'a Core,
        wish: &'a Wish<'w>,
    ) -> Option<Choice<'a, 'w>> {
        let mut c = Choice {
            blocks,
            wish,
            core,
            chosen: Vec::new(),
            came: Vec::new(),
            entries: vec![0],
            replaces: Vec::new(),
            grown: 0,
            room: wish.most,
            edges: vec![(0, u32::MAX)],
            calls: Vec::new(),
        };
        // The hottest block next, as long as there is room.
        while let Some(k) = (0..c.edges.len()).max_by_key(|&k| (c.edges[k].1, !k)) {
            let (delta, _) = c.edges.swap_remove(k);
            if !c.has(delta) {
                c.take(delta);
            }
            if c.chosen.is_empty() {
                return None;
            }
        }
        Some(c)
    }
    pub(super) fn heat(&self, id: Id) -> u32 {
        (self.wish.heat)(id).min(self.wish.hot)
    }
    fn has(&self, delta: i64) -> bool {
        self.chosen.iter().any(|c| c.0 == delta)
    }
    /// The block so far from the head.
    fn find(&self, delta: i64) -> Option<Id> {
        let (mode, base) = (self.core.mode, self.core.state.rip);
        let wrap = if mode.long64() { !0 } else { 0xffff_ffff };
        let la = base.wrapping_add(delta as u64) & wrap;
        let at = self.core.tlb.exec(mode.code_set(), la)?;
        self.blocks.find(at, mode).filter(|&id| fits(self.blocks, id, self.core, self.wish.native))
    }
    /// Takes a block, with the region that it is part of.
    fn take(&mut self, delta: i64) {
        let Some(id) = self.find(delta) else { return };
        let b = &self.blocks.all[id as usize];
        if b.pending && delta != 0 {
            return;
        }
        if let Some(made) = (self.wish.region)(b.part)
            && let Some(k) = made.from.iter().position(|&f| f == (id, b.serial))
        {
            if self.absorb(made, delta - made.deltas[k]) {
                self.replaces.push((b.part, made.serial));
            }
            return;
        }
        let n = b.count as usize;
        if n == 0 || n > self.room || self.chosen.len() >= MAX_BLOCKS {
            return;
        }
        self.room -= n;
        self.add(delta, id, 0);
    }
    /// Takes a whole region, whose head is so far from ours; `false`: that cannot be.
    fn absorb(&mut self, made: &Made, head: i64) -> bool {
        let all = || made.deltas.iter().map(|d| head + d).zip(&made.from);
        let same = |(d, f): (i64, &(Id, u64))| {
            self.find(d) == Some(f.0) && self.blocks.all[f.0 as usize].serial == f.1
        };
        if made.insns > self.room
            || self.chosen.len() + made.from.len() > MAX_BLOCKS
            || self.entries.len() + made.entries.len() > ENTRIES
            || made.grown >= GROWTH
            || !all().all(same)
        {
            return false;
        }
        self.room -= made.insns;
        self.grown = self.grown.max(made.grown + 1);
        for &e in &made.entries {
            let d = head + made.deltas[e];
            if !self.entries.contains(&d) {
                self.entries.push(d);
            }
        }
        // Who comes here otherwise than by its entries, will go on doing so.
        let often = self.wish.hot / 16;
        for (d, f) in all() {
            let more = (self.wish.again)(f.0) > often && self.entries.len() < ENTRIES;
            if more && !self.entries.contains(&d) {
                self.entries.push(d);
            }
        }
        let region = self.replaces.len() + 1;
        all().for_each(|(d, f)| self.add(d, f.0, region));
        true
    }
    fn add(&mut self, delta: i64, id: Id, region: usize) {
        self.chosen.push((delta, id));
        self.came.push(region);
        if ends(self.blocks, id) {
            return;
        }
        let b = &self.blocks.all[id as usize];
        let (next, Flow { taken, falls, calls: back, .. }) = (delta + b.bytes as i64, b.flow);
        // The baseline tier's callees are left to their own regions: see `emit::frames`.
        let taken = taken.filter(|_| !back || !self.wish.native).map(|t| next + i64::from(t));
        // Behind a call the callee's return may lead.
        if back {
            self.calls.push((next, taken));
        }
        let least = (self.heat(self.wish.head) / 32).max(1);
        for d in taken.into_iter().chain((falls || back).then_some(next)) {
            let near = d.unsigned_abs() < 1 << 30;
            if let Some(id) = near.then(|| self.find(d)).flatten() {
                let heat = self.heat(id);
                if heat >= least {
                    self.edges.push((d, heat));
                }
            }
        }
    }
    /// Whether a block that is here, and did not come with the one at this place, goes on there.
    fn led_to(&self, to: i64) -> bool {
        let place = self.chosen.iter().position(|c| c.0 == to);
        let region = place.map(|k| self.came[k]);
        self.chosen.iter().zip(&self.came).any(|(&(delta, id), &came)| {
            let b = &self.blocks.all[id as usize];
            let (next, flow) = (delta + i64::from(b.bytes), b.flow);
            let taken = flow.taken.is_some_and(|t| next + i64::from(t) == to);
            Some(came) != region && !ends(self.blocks, id) && (taken || flow.falls && next == to)
        })
    }
    /// Where it is entered: the head, entries of regions it is in place of, and where calls of what is not here come back to.
    /// Entries which those blocks lead to that are here now are left out: if others come there, too, that place gets hot again.
    pub(super) fn roots(&self) -> Vec<usize> {
        let at = |d: i64| self.chosen.iter().position(|c| c.0 == d);
        let others = self.calls.iter().filter(|(_, to)| to.is_none_or(|to| at(to).is_none()));
        let kept = self.entries.iter().filter(|&&d| d == 0 || !self.led_to(d));
        let mut roots = Vec::new();
        for d in kept.chain(others.map(|(next, _)| next)) {
            if let Some(root) = at(*d)
                && roots.len() < ENTRIES
                && !roots.contains(&root)
            {
                roots.push(root);
            }
        }
        roots
    }
}
