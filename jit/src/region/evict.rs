//! Room for new code where there is none: the oldest goes.

use super::{Region, Regions};
use crate::baseline;
use crate::block::Blocks;

/// Of the executions that earn a region, a head whose region was evicted has this part still to go: what is hot has it again at
/// once, and what was hot long ago does not.
const AGAIN: u32 = 16;

impl Regions {
    /// Has room for hot and cold code, if need be in place of the oldest. `false`: there cannot be so much. Native code is never
    /// running here: it is on the same thread, and whoever asks for more of it has left it.
    pub(super) fn room_for(&mut self, hot: usize, cold: usize, blocks: &mut Blocks) -> bool {
        if !self.arena.could_have(hot, cold) {
            return false;
        }
        while !self.arena.has(hot, cold) {
            self.evict(blocks);
        }
        true
    }
    /// Begins to fill the next part of the arena. What is in it is dropped, but how hot it was stays known.
    fn evict(&mut self, blocks: &mut Blocks) {
        let part = self.arena.following();
        self.base.forget_links(part);
        for number in self.all.of(part) {
            let Region { head, alive, .. } = self.all[number];
            self.drop(number, blocks);
            if alive && blocks.all[head.0 as usize].serial == head.1 {
                let heat = self.threshold - self.threshold / AGAIN;
                self.set_heat(blocks, head.0, heat);
            }
        }
        for (number, id) in self.base.alive(part) {
            let b = &mut blocks.all[id as usize];
            if b.base == number {
                b.heat = self.gate.heat(id);
                b.base = baseline::NONE;
            }
            self.drop_base(number);
        }
        self.all.empty(part);
        self.base.empty(part);
        self.exits.empty(part);
        self.evicted += u64::from(self.arena.next());
    }
}
