//! Regions in native code: kept, entered, thrown away.
// UNSAFE: entering native code.
#![allow(unsafe_code)]

use crate::arena::Arena;
use crate::baseline::{self, Baseline};
use crate::block::{Block, Blocks, NONE};
use crate::clif::leave;
use crate::compile::{Done, Worker};
use crate::emit::{self, Source};
use crate::engine::{Config, JitError};
use crate::native::Gate;
use crate::perf::Perf;
use crate::plan::Plan;
use crate::x87::Thunk;
use cpu::{Core, Insn, Interp};

/// Numbers in [`crate::block::Block::region`] from here on are none.
pub const MAX: u32 = u32::MAX - 8;
/// The compiler has been asked for it.
pub const ASKED: u32 = u32::MAX - 1;
/// It cannot be compiled.
pub const NEVER: u32 = u32::MAX - 2;

/// Heat of blocks that became part of a region: enough for the baseline tier.
const BEGUN: u32 = 2;

/// Why a region was left.
pub enum After {
    Side,
    Jump,
    Fault,
    Event,
}

/// Native code that may be run now, in this mode.
#[derive(Clone, Copy)]
pub struct Native(*const u8);

struct Region {
    code: *const u8,
    /// What the code has pointers to.
    _insns: Vec<Insn>,
    /// The block it starts with.
    head: (u32, u64),
    alive: bool,
}
// SAFETY: the pointer leads into the arena, which goes where the regions go.
unsafe impl Send for Region {}

/// What all code of the baseline tier uses.
fn add_common(arena: &mut Arena, gate: &mut Gate) {
    for set in 0..2 {
        let (code, inner) = emit::search(set);
        if let Some(at) = arena.add(&code) {
            // SAFETY: it was made for this; the caller keeps it.
            unsafe { gate.set_search(set, at, inner) };
        }
    }
    for (n, code) in emit::thunks() {
        if let Some(at) = arena.add(&code) {
            // SAFETY: as above.
            unsafe { gate.set_thunk(n, at) };
        }
    }
    for (n, code) in emit::outer::all() {
        if let Some(at) = arena.add(&code) {
            // SAFETY: as above.
            unsafe { gate.set_miss(n, at) };
        }
    }
    for t in Thunk::ALL {
        if let Some(at) = arena.add(&emit::x87::thunk(t)) {
            // SAFETY: as above.
            unsafe { gate.set_x87_thunk(t, at) };
        }
    }
}

/// All regions, and the compiler that makes them.
pub struct Regions {
    all: Vec<Region>,
    arena: Arena,
    gate: Gate,
    worker: Option<Worker>,
    pub base: Baseline,
    perf: Perf,
    // What was done so far, for `Counters`.
    pub made: u64,
    pub dropped: u64,
    pub failed: u64,
    pub insns: u64,
    pub bytes: u64,
    pub nanos: u64,
}

impl Regions {
    pub fn new(config: &Config) -> Result<Regions, JitError> {
        let emits = config.baseline != u32::MAX;
        let compiles = config.threshold != u32::MAX;
        let mut arena = Arena::new(if emits || compiles { config.code_bytes } else { 0 })?;
        let mut gate = Gate::new();
        let mut worker = None;
        let mut enter = emit::EMITS.then(emit::enter);
        if compiles {
            let (w, code) = Worker::new(config.background)?;
            (worker, enter) = (Some(w), enter.or(Some(code)));
        }
        if let Some(at) = enter.and_then(|code| arena.add(&code)) {
            if emit::EMITS {
                add_common(&mut arena, &mut gate);
            }
            arena.keep();
            // SAFETY: it was made for this, and is kept.
            unsafe { gate.open(at) };
        }
        Ok(Regions {
            all: Vec::new(),
            arena,
            gate,
            worker,
            base: Baseline::new(),
            perf: Perf::new(config.profilers)?,
            made: 0,
            dropped: 0,
            failed: 0,
            insns: 0,
            bytes: 0,
            nanos: 0,
        })
    }

    /// Forgets all regions. None may be running.
    pub fn clear(&mut self) {
        self.all.clear();
        self.base.clear();
        self.arena.clear();
        self.gate.forget_all();
    }

    #[inline(always)]
    pub fn ready(&self) -> bool {
        self.worker.as_ref().is_some_and(Worker::ready)
    }
    pub fn take(&mut self) -> Option<Done> {
        self.worker.as_mut()?.take()
    }
    pub fn room(&self) -> bool {
        self.worker.as_ref().is_some_and(Worker::room)
    }
    pub fn submit(&mut self, plan: Plan) -> Result<(), Plan> {
        match &mut self.worker {
            Some(w) => w.submit(plan),
            None => Err(plan),
        }
    }

    /// Puts a compiled region in its place, unless its code has changed since. `false`: there is no room.
    pub fn install(&mut self, done: Done, blocks: &mut Blocks) -> bool {
        let plan = done.plan;
        self.nanos += done.nanos;
        let head = plan.from[0];
        let current = |(id, serial): (u32, u64)| {
            blocks.all.get(id as usize).is_some_and(|b| b.serial == serial && b.at != u64::MAX)
        };
        let parts: Vec<_> = plan.from.iter().copied().filter(|&f| current(f)).collect();
        let whole = parts.len() == plan.from.len();
        let here = current(head);
        for (id, _) in parts {
            // What is still executed in tier 0 from here on has another way in, and earns a region of its own.
            let b = &mut blocks.all[id as usize];
            (b.pending, b.heat) = (false, b.heat.min(BEGUN));
            self.gate.set_heat(id, BEGUN);
        }
        if !here {
            return true;
        }
        if !whole {
            blocks.all[head.0 as usize].region = NONE;
            return true;
        }
        let Some(code) = done.code else {
            self.failed += 1;
            blocks.all[head.0 as usize].region = NEVER;
            return true;
        };
        let Some(place) = self.arena.add(&code) else { return false };
        if self.perf.wanted() {
            self.perf.note('r', plan.rip, self.arena.newest().0);
        }
        let number = self.all.len() as u32;
        for &(id, _) in &plan.from {
            blocks.all[id as usize].users.push(number);
        }
        let b = &mut blocks.all[head.0 as usize];
        b.region = number;
        // Whoever has a link to it goes on in the region from now on.
        self.take_base(b);
        b.base = self.base.bridge(&mut self.arena, place).unwrap_or(baseline::NONE);
        self.made += 1;
        self.insns += plan.insns.len() as u64;
        self.bytes += code.len() as u64;
        self.all.push(Region { code: place, _insns: plan.insns, head, alive: true });
        true
    }

    /// A region's code has changed.
    pub fn drop(&mut self, number: u32, blocks: &mut Blocks) {
        let Some(r) = self.all.get_mut(number as usize) else { return };
        if !std::mem::replace(&mut r.alive, false) {
            return;
        }
        self.dropped += 1;
        self.gate.forget(r.code);
        let b = &mut blocks.all[r.head.0 as usize];
        if b.serial == r.head.1 && b.region == number {
            (b.region, b.heat) = (NONE, 0);
            self.gate.set_heat(r.head.0, 0);
            self.take_base(b);
        }
    }

    /// The code of a region.
    pub fn code(&self, number: u32) -> Native {
        Native(self.all[number as usize].code)
    }
    /// The code of a block in the baseline tier, which is made if there is none. `None`: there is no room.
    pub fn base_code(&mut self, blocks: &mut Blocks, id: u32, core: &Core) -> Option<Native> {
        let b = &blocks.all[id as usize];
        if b.base != baseline::NONE {
            return Some(Native(self.base.entry(b.base)));
        }
        let ops = &blocks.ops[b.first as usize..][..b.count as usize];
        let insns: Box<[Insn]> = ops.iter().map(|op| op.insn).collect();
        let (mode, at, end) = (b.mode, b.at, b.end);
        let second = b.crosses().then(|| core.tlb.ram().base() as u64 + b.second);
        let source = Source { insns, mode, at, second, end, id };
        let heat = b.heat;
        let number = self.base.make(&mut self.arena, source)?;
        if self.perf.wanted() {
            let (hot, cold) = self.arena.newest();
            self.perf.note('b', core.state.rip, hot);
            self.perf.note('c', core.state.rip, cold);
        }
        self.gate.set_heat(id, heat);
        blocks.all[id as usize].base = number;
        Some(Native(self.base.entry(number)))
    }
    /// If a link was missing when native code was left: sets it to this block.
    pub fn link(&mut self, b: &Block) {
        let link = self.gate.take_link();
        if link != 0 && b.base != baseline::NONE {
            self.base.set(&mut self.arena, link, b.base, b.at, b.mode);
        }
    }
    fn take_base(&mut self, b: &mut Block) {
        let base = std::mem::replace(&mut b.base, baseline::NONE);
        if base != baseline::NONE {
            self.drop_base(base);
        }
    }
    /// A block's code is gone.
    pub fn drop_base(&mut self, number: u32) {
        let code = self.base.drop(&mut self.arena, number);
        self.gate.forget(code);
    }
    /// How often a block was executed.
    #[inline]
    pub fn heat(&self, b: &Block, id: u32) -> u32 {
        if b.base == baseline::NONE { b.heat } else { self.gate.heat(id) }
    }
    pub fn set_heat(&mut self, blocks: &mut Blocks, id: u32, heat: u32) {
        blocks.all[id as usize].heat = heat;
        self.gate.set_heat(id, heat);
    }

    /// Runs native code, and what it goes on in.
    #[inline(always)]
    pub fn run(&mut self, code: Native, s: &mut Interp<'_>) -> After {
        // SAFETY: the code is alive, and was made for this mode; so is all that the gate knows.
        match unsafe { self.gate.run(code.0, s) } {
            leave::SIDE => After::Side,
            leave::JUMP => After::Jump,
            leave::FAULT => After::Fault,
            _ => After::Event,
        }
    }

    /// Notes that this is what runs for the code at this RAM offset: others go on in it from now on.
    pub fn know(&mut self, code: Native, s: &Interp<'_>, at: u64) {
        let host = s.c.tlb.ram().base() as u64 + at;
        self.gate.know(s.c.mode, host, code.0);
    }
}
