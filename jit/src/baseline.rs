//! The baseline tier's blocks in their places: entered, linked to each other, taken out.
//!
//! A link is a jump in one block's code to another block. It is known by where in RAM it leads, so it is set while that
//! block, in that mode, has code; else it leads back to the engine.
// UNSAFE: writing to code in its place.
#![allow(unsafe_code)]

use crate::arena::Arena;
use crate::block::Blocks;
use crate::emit::asm::{Asm, Hole};
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
    /// So many of them were led somewhere, or wait.
    led: usize,
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
            led: 0,
            waiting: Map::default(),
            table: emit::table(),
            made: 0,
            bytes: 0,
        }
    }
    pub fn clear(&mut self) {
        self.all.clear();
        self.links.clear();
        self.led = 0;
        self.waiting.clear();
    }

    /// Makes a block's code; `None`: there is no room.
    pub fn make(&mut self, arena: &mut Arena, source: Source) -> Option<u32> {
        let Emitted { asm, inner, links, calls } = emit::emit(&source, &self.table);
        let (mode, at) = (source.mode, source.at);
        let bytes = asm.code.len();
        let outer = self.put(arena, asm, links, mode)?;
        (self.made, self.bytes) = (self.made + 1, self.bytes + bytes as u64);
        let number = self.add((outer, outer.wrapping_add(inner as usize)), at, mode);
        self.all[number as usize]._insns = calls.then_some(source.insns);
        Some(number)
    }
    /// Makes a region's code; `None`: there is no room. Gives for each entry where it is entered from outside, and from this tier.
    pub fn make_region(
        &mut self,
        arena: &mut Arena,
        plan: &Plan,
        ram: u64,
    ) -> Option<Vec<(*const u8, *const u8)>> {
        let emit::region::Emitted { asm, entries, links } =
            emit::region::emit(plan, ram, &self.table);
        let start = self.put(arena, asm, links, plan.mode)?;
        let place = |at: u32| start.wrapping_add(at as usize);
        Some(entries.into_iter().map(|(outer, inner)| (place(outer), place(inner))).collect())
    }
    /// Puts code in its place, and takes its links, which are not set yet.
    fn put(
        &mut self,
        arena: &mut Arena,
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
            self.links.push(Link { hole, unset, at, mode });
        }
        Some(start)
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

    /// Sets the new links that lead to blocks with code; the others wait for it.
    pub fn lead(&mut self, arena: &mut Arena, blocks: &Blocks) {
        for n in std::mem::replace(&mut self.led, self.links.len())..self.links.len() {
            let Link { at, mode, .. } = self.links[n];
            match blocks.find(at, mode).map(|id| blocks.all[id as usize].base) {
                Some(to) if to != NONE => self.set(arena, n as u32, to),
                _ => self.waiting.entry((at, mode.0)).or_default().push(n as u32),
            }
        }
    }
    /// There is code for a place: sets the links that waited for it.
    pub fn awaited(&mut self, arena: &mut Arena, to: u32) {
        let Code { at, mode, .. } = self.all[to as usize];
        for n in self.waiting.remove(&(at, mode.0)).unwrap_or_default() {
            self.set(arena, n, to);
        }
    }
    fn set(&mut self, arena: &mut Arena, link: u32, to: u32) {
        let (hole, code) = (self.links[link as usize].hole, &mut self.all[to as usize]);
        let from = hole.wrapping_add(4);
        if let Ok(distance) = i32::try_from((code.inner as i64).wrapping_sub(from as i64)) {
            arena.patch(hole, distance);
            code.incoming.push(link);
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
