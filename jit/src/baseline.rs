//! The baseline tier's blocks in their places: entered, linked to each other, taken out.
//!
//! A link is a jump in one block's code to another block. It is known by where in RAM it leads, so it is set while that
//! block, in that mode, has code; else it leads back to the engine. All links to a place are a chain, so that one that goes with
//! its code is taken out of it at once.
// UNSAFE: writing to code in its place.
#![allow(unsafe_code)]

use crate::arena::Arena;
use crate::block::{Blocks, Id, Key};
use crate::emit::asm::{Asm, Hole, Mark};
use crate::emit::{self, Emitted, Meaning, Source, far};
use crate::hash::Map;
use crate::parts::Parts;
use crate::plan::Plan;
use cpu::{Insn, Mode};

/// No code.
pub const NONE: u32 = u32::MAX;

/// A block's code.
struct Code {
    outer: *const u8,
    inner: *const u8,
    /// What the code has pointers to.
    _insns: Option<Box<[Insn]>>,
    /// Where in RAM it begins, and the mode it is for.
    at: u64,
    mode: Mode,
    block: Id,
    alive: bool,
}
/// A jump from one block to another.
struct Link {
    /// Where its distance is, and what that was when nobody had set it.
    hole: *const u8,
    unset: i32,
    /// Where it leads.
    to: Key,
    /// Its neighbours among those that lead there.
    before: u32,
    next: u32,
}
// SAFETY: the pointers lead into the arena, which goes where these go.
unsafe impl Send for Code {}
// SAFETY: as above.
unsafe impl Send for Link {}

/// Code that is made, and has no place yet.
pub struct Made {
    pub emitted: Emitted,
    pub insns: Box<[Insn]>,
    pub at: u64,
    pub mode: Mode,
    pub block: Id,
}
impl Made {
    /// Bytes of hot and of cold code.
    pub fn lengths(&self) -> (usize, usize) {
        self.emitted.asm.lengths()
    }
    /// Code that was made for another block of the same bytes becomes this one's.
    pub fn adopt(&mut self) {
        let Made { emitted, insns, block, at, .. } = self;
        emitted.asm.fill(|mark| match mark {
            Mark::Counter => emit::counter_distance(*block).into(),
            Mark::Page(d) => far::page_number(at.wrapping_add_signed(d)).into(),
            Mark::Insn(n) => insns.get(n as usize).map_or(0, |i| &raw const *i as u64),
        });
    }
}

/// All code of the tier.
pub struct Baseline {
    all: Parts<Code>,
    links: Parts<Link>,
    /// The first link of each place that some lead to.
    chains: Map<Key, u32>,
    table: Vec<Option<Meaning>>,
    // What was done so far, for `Counters`.
    pub made: u64,
    pub bytes: u64,
}

impl Baseline {
    pub fn new() -> Baseline {
        Baseline {
            all: Parts::new(),
            links: Parts::new(),
            chains: Map::default(),
            table: emit::table(),
            made: 0,
            bytes: 0,
        }
    }
    pub fn clear(&mut self) {
        self.all.clear();
        self.links.clear();
        self.chains = Map::default();
    }

    /// Makes a block's code.
    pub fn emit(&self, source: Source) -> Made {
        let emitted = emit::emit(&source, &self.table);
        let Source { insns, at, mode, id: block, .. } = source;
        Made { emitted, insns, at, mode, block }
    }
    /// Puts it in its place; `None`: there is no room.
    pub fn put(&mut self, arena: &mut Arena, blocks: &Blocks, made: Made) -> Option<u32> {
        let Made { emitted: Emitted { asm, inner, links, calls }, insns, at, mode, block } = made;
        let bytes = asm.code.len();
        let outer = self.put_parts(arena, blocks, asm, links, mode)?;
        (self.made, self.bytes) = (self.made + 1, self.bytes + bytes as u64);
        let starts = (outer, outer.wrapping_add(inner as usize));
        let number = self.add(arena, starts, (block, at, mode));
        self.all[number]._insns = calls.then_some(insns);
        Some(number)
    }
    /// Makes a region's code.
    pub fn emit_region(&self, plan: &Plan) -> emit::region::Emitted {
        emit::region::emit(plan, &self.table)
    }
    /// Puts it in its place; `None`: there is no room. Gives where each entry is.
    pub fn put_region(
        &mut self,
        arena: &mut Arena,
        blocks: &Blocks,
        made: emit::region::Emitted,
        mode: Mode,
    ) -> Option<Vec<*const u8>> {
        let start = self.put_parts(arena, blocks, made.asm, made.links, mode)?;
        let place = |at: u32| start.wrapping_add(at as usize);
        Some(made.entries.into_iter().map(place).collect())
    }
    /// Puts code in its place, with its links: those that lead to blocks with code are set.
    fn put_parts(
        &mut self,
        arena: &mut Arena,
        blocks: &Blocks,
        mut asm: Asm,
        links: Vec<(Hole, u64)>,
        mode: Mode,
    ) -> Option<*const u8> {
        let (hot, _) = asm.lengths();
        let start = arena.add_parts(&mut asm)?;
        let cold = arena.newest().1.at;
        for (hole, at) in links {
            let n = hole.0 as usize;
            let unset = asm.code[n..][..4].try_into().map_or(0, i32::from_le_bytes);
            let hole = if n < hot { start.wrapping_add(n) } else { cold.wrapping_add(n - hot) };
            let to = Key::of(at, mode);
            let next = self.chains.get(&to).copied().unwrap_or(NONE);
            let link = Link { hole, unset, to, before: NONE, next };
            let number = self.links.add(arena.part(), link);
            if let Some(l) = self.links.get_mut(next) {
                l.before = number;
            }
            self.chains.insert(to, number);
            match blocks.find(at, mode).map(|id| blocks.all[id as usize].base) {
                Some(code) if code != NONE => self.set(arena, number, self.all[code].inner),
                _ => {}
            }
        }
        Some(start)
    }
    /// Code of a block, which lies in the newest code: its own, or a region's, in which this tier goes on, too.
    pub fn add(
        &mut self,
        arena: &Arena,
        (outer, inner): (*const u8, *const u8),
        (block, at, mode): (Id, u64, Mode),
    ) -> u32 {
        let code = Code { outer, inner, at, mode, block, _insns: None, alive: true };
        self.all.add(arena.part(), code)
    }
    /// Where code is entered from outside.
    pub fn entry(&self, number: u32) -> *const u8 {
        self.all[number].outer
    }

    /// There is code for a place: sets the links that lead there.
    pub fn awaited(&mut self, arena: &mut Arena, to: u32) {
        let Code { at, mode, inner, .. } = self.all[to];
        let mut n = self.chains.get(&Key::of(at, mode)).copied().unwrap_or(NONE);
        while let Some(l) = self.links.get(n) {
            let next = l.next;
            self.set(arena, n, inner);
            n = next;
        }
    }
    fn set(&self, arena: &mut Arena, link: u32, to: *const u8) {
        let hole = self.links[link].hole;
        let from = hole.wrapping_add(4);
        if let Ok(distance) = i32::try_from((to as i64).wrapping_sub(from as i64)) {
            arena.patch(hole, distance);
        }
    }
    /// A block is gone: nobody goes there any more. Gives its code and what that was for.
    pub fn drop(&mut self, arena: &mut Arena, number: u32) -> (*const u8, u64, Mode) {
        let code = &mut self.all[number];
        (code._insns, code.alive) = (None, false);
        let (outer, at, mode) = (code.outer, code.at, code.mode);
        let mut n = self.chains.get(&Key::of(at, mode)).copied().unwrap_or(NONE);
        while let Some(l) = self.links.get(n) {
            arena.patch(l.hole, l.unset);
            n = l.next;
        }
        (outer, at, mode)
    }

    /// The code of a part that is alive, and the blocks that it is of.
    pub fn alive(&self, part: usize) -> Vec<(u32, Id)> {
        let all = self.all.of(part).map(|n| (n, &self.all[n]));
        all.filter(|(_, c)| c.alive).map(|(n, c)| (n, c.block)).collect()
    }
    /// The links of a part are gone.
    pub fn forget_links(&mut self, part: usize) {
        for n in self.links.of(part) {
            let Link { to, before, next, .. } = self.links[n];
            if let Some(l) = self.links.get_mut(next) {
                l.before = before;
            }
            match (self.links.get_mut(before), next) {
                (Some(l), _) => l.next = next,
                (None, NONE) => _ = self.chains.remove(&to),
                (None, _) => _ = self.chains.insert(to, next),
            }
        }
        self.links.empty(part);
    }
    /// All code of a part is gone, and was dropped before.
    pub fn empty(&mut self, part: usize) {
        self.all.empty(part);
    }
}
