//! The baseline tier's blocks in their places: entered, linked to each other, taken out.
//!
//! A link is a jump in one block's code to another block in the same page. It is known by where in RAM it leads, so it may be
//! set whenever that block, in that mode, has code; it is taken back when the block goes.
// UNSAFE: writing to code in its place.
#![allow(unsafe_code)]

use crate::arena::Arena;
use crate::block::Blocks;
use crate::emit::{self, Emitted, Meaning, Source};
use crate::hash::Map;
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
    /// Links that lead here, by their numbers.
    incoming: Vec<u32>,
}
/// A jump from one block to another.
struct Link {
    /// Where its distance is, and what that was when nobody had set it.
    hole: *const u8,
    unset: i32,
    /// Where in RAM it leads, and in which mode.
    at: u64,
    mode: Mode,
}
// SAFETY: the pointers lead into the arena, which goes where these go.
unsafe impl Send for Code {}
// SAFETY: as above.
unsafe impl Send for Link {}

/// All code of the tier.
pub struct Baseline {
    all: Vec<Code>,
    links: Vec<Link>,
    /// Links that lead to where there is no code yet.
    waiting: Map<(u64, u32), Vec<u32>>,
    table: Vec<Option<Meaning>>,
    // What was done so far, for `Counters`.
    pub made: u64,
    pub bytes: u64,
}

impl Baseline {
    pub fn new() -> Baseline {
        Baseline {
            all: Vec::new(),
            links: Vec::new(),
            waiting: Map::default(),
            table: emit::table(),
            made: 0,
            bytes: 0,
        }
    }
    pub fn clear(&mut self) {
        self.all.clear();
        self.links.clear();
        self.waiting.clear();
    }

    /// Makes a block's code; `None`: there is no room.
    pub fn make(&mut self, arena: &mut Arena, source: Source) -> Option<u32> {
        let first = self.links.len() as u32;
        let Emitted { mut asm, inner, links, calls } = emit::emit(&source, first, &self.table);
        let outer = arena.add_parts(&mut asm)?;
        let code = asm.code;
        for (hole, delta) in links {
            let (at, bytes) = (hole.0 as usize, &code[hole.0 as usize..][..4]);
            self.links.push(Link {
                hole: outer.wrapping_add(at),
                unset: bytes.try_into().map_or(0, i32::from_le_bytes),
                at: source.at.wrapping_add(delta as i64 as u64),
                mode: source.mode,
            });
        }
        (self.made, self.bytes) = (self.made + 1, self.bytes + code.len() as u64);
        let inner = outer.wrapping_add(inner as usize);
        self.all.push(Code {
            outer,
            inner,
            at: source.at,
            mode: source.mode,
            _insns: calls.then_some(source.insns),
            incoming: Vec::new(),
        });
        Some(self.all.len() as u32 - 1)
    }
    /// Makes a region's code; `None`: there is no room. Gives for each entry where it is entered from outside, and from this tier.
    pub fn make_region(
        &mut self,
        arena: &mut Arena,
        plan: &Plan,
        ram: u64,
    ) -> Option<Vec<(*const u8, *const u8)>> {
        let first = self.links.len() as u32;
        let emitted = emit::region::emit(plan, ram, first, &self.table);
        let emit::region::Emitted { mut asm, entries, links } = emitted;
        let (hot, _) = asm.lengths();
        let outer = arena.add_parts(&mut asm)?;
        let cold = arena.newest().1.at;
        for (hole, at) in links {
            let hole = hole.0 as usize;
            let bytes = &asm.code[hole..][..4];
            let place =
                if hole < hot { outer.wrapping_add(hole) } else { cold.wrapping_add(hole - hot) };
            let unset = bytes.try_into().map_or(0, i32::from_le_bytes);
            self.links.push(Link { hole: place, unset, at, mode: plan.mode });
        }
        let place = |at: u32| outer.wrapping_add(at as usize);
        Some(entries.into_iter().map(|(outer, inner)| (place(outer), place(inner))).collect())
    }
    /// Takes a region for a block's code: this tier goes on in it, too.
    pub fn add(&mut self, (outer, inner): (*const u8, *const u8), at: u64, mode: Mode) -> u32 {
        let incoming = Vec::new();
        self.all.push(Code { outer, inner, at, mode, _insns: None, incoming });
        self.all.len() as u32 - 1
    }
    /// Where code is entered from outside.
    pub fn entry(&self, number: u32) -> *const u8 {
        self.all[number as usize].outer
    }

    /// Sets the links from this number on that lead to blocks with code; the others wait for it.
    pub fn lead(&mut self, arena: &mut Arena, first: u32, blocks: &Blocks) {
        for n in first..self.links.len() as u32 {
            let Link { at, mode, .. } = self.links[n as usize];
            match blocks.find(at, mode).map(|id| blocks.all[id as usize].base) {
                Some(to) if to != NONE => self.set(arena, u64::from(n) + 1, to, at, mode),
                _ => self.waiting.entry((at, mode.0)).or_default().push(n),
            }
        }
    }
    /// There is code for a place: sets the links that waited for it.
    pub fn awaited(&mut self, arena: &mut Arena, to: u32) {
        let Code { at, mode, .. } = self.all[to as usize];
        for n in self.waiting.remove(&(at, mode.0)).unwrap_or_default() {
            self.set(arena, u64::from(n) + 1, to, at, mode);
        }
    }
    /// How many links there are: the number of the next one.
    pub fn next_link(&self) -> u32 {
        self.links.len() as u32
    }

    /// Sets a link, counted from 1, if it leads to this place.
    pub fn set(&mut self, arena: &mut Arena, link: u64, to: u32, at: u64, mode: Mode) {
        let Some(l) = link.checked_sub(1).and_then(|n| self.links.get(n as usize)) else { return };
        if (l.at, l.mode) != (at, mode) {
            return;
        }
        let code = &mut self.all[to as usize];
        let from = l.hole.wrapping_add(4);
        if let Ok(distance) = i32::try_from((code.inner as i64).wrapping_sub(from as i64)) {
            arena.patch(l.hole, distance);
            code.incoming.push(link as u32 - 1);
        }
    }
    /// A block is gone: nobody goes there any more. Gives its code and what that was for.
    pub fn drop(&mut self, arena: &mut Arena, number: u32) -> (*const u8, u64, Mode) {
        let code = &mut self.all[number as usize];
        let incoming = std::mem::take(&mut code.incoming);
        for &n in &incoming {
            let l = &self.links[n as usize];
            arena.patch(l.hole, l.unset);
        }
        if !incoming.is_empty() {
            self.waiting.entry((code.at, code.mode.0)).or_default().extend(incoming);
        }
        code._insns = None;
        (code.outer, code.at, code.mode)
    }
}
