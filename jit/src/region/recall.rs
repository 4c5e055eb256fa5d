//! Code that is kept from run to run: looked up where a block is met, added where one is made.

use super::{Native, Regions};
use crate::baseline::Made;
use crate::block::{Blocks, Id, ONE_PAGE};
use crate::decode::{self, LONGEST_BLOCK, ahead};
use crate::emit::Emitted;
use crate::store::{About, Place};
use cpu::{Core, Insn};
use memory::PAGE;

impl Regions {
    /// The block at RAM offset `at`, with its code, if that is kept; and those in the same page that it leads to, which will be
    /// wanted, too. `rip`: where the guest has it.
    pub fn recall(
        &mut self,
        blocks: &mut Blocks,
        core: &mut Core,
        at: u64,
        rip: u64,
    ) -> Option<Id> {
        self.store.as_ref()?;
        let mut next = Vec::new();
        let first = self.recall_one(blocks, core, at, rip, &mut next)?;
        while let Some(to) = next.pop() {
            if blocks.find(to, core.mode).is_none() {
                let rip = rip.wrapping_add(to).wrapping_sub(at);
                self.recall_one(blocks, core, to, rip, &mut next);
            }
        }
        Some(first)
    }
    fn recall_one(
        &mut self,
        blocks: &mut Blocks,
        core: &mut Core,
        at: u64,
        rip: u64,
        next: &mut Vec<u64>,
    ) -> Option<Id> {
        let mode = core.mode;
        let mut room = [0; LONGEST_BLOCK];
        let ahead = ahead(core, at, &mut room)?;
        let (about, bytes, emitted) = self.store.as_mut()?.find(Place { mode, at }, ahead)?;
        next.extend(emitted.links.iter().map(|l| l.1).filter(|to| to / PAGE == at / PAGE));
        let id = blocks.add_kept((at, ONE_PAGE), mode, &about, &ahead[..bytes], core);
        self.adopt(blocks, id, emitted, core, rip);
        Some(id)
    }
    /// Gives a block its kept code.
    fn adopt(
        &mut self,
        blocks: &mut Blocks,
        id: Id,
        emitted: Emitted,
        core: &Core,
        rip: u64,
    ) -> Option<Native> {
        let insns: Box<[Insn]> = match emitted.calls {
            true => decode::insns(blocks, id, core).collect(),
            false => Box::default(),
        };
        let b = &blocks.all[id as usize];
        let mut made = Made { emitted, insns, at: b.at, mode: b.mode, block: id };
        made.adopt();
        self.recalled += 1;
        self.put_base(blocks, made, rip)
    }

    /// The code of a block that is there, if it is kept.
    pub(super) fn kept_code(&mut self, blocks: &mut Blocks, id: Id, core: &Core) -> Option<Native> {
        let store = self.store.as_mut()?;
        let b = &blocks.all[id as usize];
        if b.crosses() {
            return None;
        }
        let place = Place { mode: b.mode, at: b.at };
        let mut room = [0; LONGEST_BLOCK];
        let (_, bytes, emitted) = store.find(place, ahead(core, b.at, &mut room)?)?;
        let same = bytes == usize::from(b.bytes);
        if same { self.adopt(blocks, id, emitted, core, core.state.rip) } else { None }
    }
    /// Keeps the code of a block.
    pub(super) fn keep(&mut self, blocks: &Blocks, id: Id, made: &Made, core: &Core) {
        let Some(store) = &mut self.store else { return };
        let b = &blocks.all[id as usize];
        let mut room = [0; LONGEST_BLOCK];
        let Some(ahead) = ahead(core, b.at, &mut room) else { return };
        if !b.crosses() && ahead.starts_with(blocks.text(id)) {
            let about = About { count: b.count, end: b.end, flow: b.flow };
            let place = Place { mode: b.mode, at: b.at };
            store.add(place, ahead, b.bytes.into(), &about, &made.emitted);
        }
    }
}
