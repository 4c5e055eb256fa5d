//! Regions in native code: kept, entered, thrown away.
// UNSAFE: entering native code.
#![allow(unsafe_code)]

use crate::arena::Arena;
use crate::baseline::{self, Baseline, Made as Base};
use crate::block::{Block, Blocks, NONE};
use crate::clif::leave;
use crate::compile::{Done, Worker};
use crate::counters::Why;
use crate::decode;
use crate::emit::{self, Source};
use crate::engine::{Config, JitError};
use crate::links::Exits;
use crate::native::Gate;
use crate::parts::Parts;
use crate::perf::Perf;
use crate::plan::{Made, Plan};
use crate::store::Store;
use cpu::{Core, Insn, Interp};
use memory::{PAGE, Ram};
use std::sync::Arc;

mod evict;
mod recall;
mod shared;

/// Numbers in [`crate::block::Block::region`] from here on are none.
pub const MAX: u32 = u32::MAX - 8;
/// The compiler has been asked for it.
pub const ASKED: u32 = u32::MAX - 1;
/// It cannot be compiled.
pub const NEVER: u32 = u32::MAX - 2;

/// Heat of blocks that became part of a region: enough for the baseline tier.
const BEGUN: u32 = 2;

/// The time that it takes is measured of each so many-th block that gets code: the host's clock costs time, too.
const SAMPLED: u64 = 8;

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

/// A way into a region.
struct Region {
    code: *const u8,
    /// What the code has pointers to, and what it was made of; with the first of its ways in.
    _insns: Vec<Insn>,
    made: Arc<Made>,
    /// The block it starts with, and where that is.
    head: (u32, u64),
    at: u64,
    alive: bool,
}
// SAFETY: the pointer leads into the arena, which goes where the regions go.
unsafe impl Send for Region {}

/// All regions, and the compiler that makes them.
pub struct Regions {
    all: Parts<Region>,
    arena: Arena,
    gate: Gate,
    worker: Option<Worker>,
    /// Where the host has RAM.
    ram: u64,
    /// Executions that earn a region.
    threshold: u32,
    /// Native code is left at once then.
    hot: bool,
    /// All code of 64-bit mode is the baseline tier's: see [`Source::alone`].
    alone: bool,
    pub base: Baseline,
    /// Code that is kept from run to run.
    pub store: Option<Store>,
    exits: Exits,
    perf: Perf,
    // What was done so far, for `Counters`.
    pub made: u64,
    pub dropped: u64,
    pub evicted: u64,
    pub failed: u64,
    pub insns: u64,
    pub bytes: u64,
    pub nanos: u64,
    /// Blocks whose code was kept.
    pub recalled: u64,
    /// The time that the code of some blocks took, and of how many: see [`SAMPLED`].
    base_nanos: u64,
    base_sampled: u64,
}

impl Regions {
    pub fn new(config: &Config, ram: &Ram) -> Result<Regions, JitError> {
        let ram = ram.base() as u64;
        let emits = config.baseline != u32::MAX;
        let compiles = config.threshold != u32::MAX;
        let mut arena = Arena::new(if emits || compiles { config.code_bytes } else { 0 })?;
        let (mut gate, mut perf) = (Gate::new(config.threshold), Perf::new(config.profilers)?);
        let mut worker = None;
        let mut enter = emit::EMITS.then(emit::enter);
        if compiles {
            let (w, code) = Worker::new(config.background)?;
            (worker, enter) = (Some(w), enter.or(Some(code)));
        }
        if let Some(at) = enter.and_then(|code| arena.add(&code)) {
            if emit::EMITS {
                shared::add(&mut arena, &mut gate, &mut perf, ram, !config.cranelift);
            }
            arena.keep();
            // SAFETY: it was made for this, and is kept.
            unsafe { gate.open(at, arena.start()) };
        }
        Ok(Regions {
            all: Parts::new(),
            arena,
            gate,
            worker,
            hot: !config.cranelift && config.threshold != u32::MAX,
            alone: !config.cranelift,
            base: Baseline::new(),
            store: None,
            exits: Exits::new(),
            ram,
            threshold: config.threshold,
            perf,
            made: 0,
            dropped: 0,
            evicted: 0,
            failed: 0,
            insns: 0,
            bytes: 0,
            nanos: 0,
            recalled: 0,
            base_nanos: 0,
            base_sampled: 0,
        })
    }

    /// Forgets all regions. None may be running.
    pub fn clear(&mut self) {
        self.all.clear();
        self.base.clear();
        self.exits.clear();
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

    /// Puts a compiled region in its place, unless its code has changed since.
    pub fn install(&mut self, done: Done, blocks: &mut Blocks) {
        let plan = done.plan;
        self.nanos += done.nanos;
        let head = plan.from[plan.entries[0]];
        let current = |(id, serial): (u32, u64)| {
            blocks.all.get(id as usize).is_some_and(|b| b.serial == serial && b.at != u64::MAX)
        };
        let parts: Vec<_> = plan.from.iter().copied().filter(|&f| current(f)).collect();
        let whole = parts.len() == plan.from.len();
        let here = current(head);
        for (id, _) in parts {
            self.begin(blocks, id);
        }
        if !here {
            return;
        }
        // A region that got there meanwhile stays.
        let none = |blocks: &mut Blocks, state| {
            let b = &mut blocks.all[head.0 as usize];
            if b.region == ASKED {
                b.region = state;
            }
        };
        if !whole {
            return none(blocks, NONE);
        }
        let code = done.code.filter(|c| self.room_for(c.room(plan.entries.len()), 0, blocks));
        let Some(code) = code else {
            self.failed += u64::from(!done.again);
            return none(blocks, if done.again { NONE } else { NEVER });
        };
        let Some(place) = self.arena.add(&code.bytes) else { return };
        if self.perf.wanted() {
            self.perf.note('r', plan.rip, self.arena.newest().0);
        }
        let bytes = code.bytes.len();
        let mode = plan.mode;
        let start = |r: &mut Regions, n: usize| match code.entries.get(n) {
            None => Some(place),
            Some(&at) => {
                let to = place.wrapping_add(at as usize);
                r.arena.add_jump(&code.bytes[..code.prologue], to)
            }
        };
        let mut starts = Vec::new();
        for n in 0..plan.entries.len() {
            let Some(at) = start(self, n) else { return };
            starts.push(at);
        }
        self.place(plan, blocks, &starts, bytes, true);
        let unset = self.gate.search(mode) as u64;
        self.exits.add(self.arena.part(), done.links, mode, |at| {
            let b = blocks.find(at, mode).map(|id| &blocks.all[id as usize]);
            match b {
                Some(b) if b.base != baseline::NONE => self.base.entry(b.base) as u64,
                _ => unset,
            }
        });
    }
    /// Has a region whose entries' code is there.
    fn place(
        &mut self,
        plan: Plan,
        blocks: &mut Blocks,
        starts: &[*const u8],
        bytes: usize,
        calls: bool,
    ) {
        let made = |&(n, serial): &(u32, u64)| self.made(n).filter(|m| m.serial == serial);
        let replaced = plan.replaces.iter().filter_map(made);
        let heads: Vec<u32> = replaced.flat_map(Made::heads).collect();
        for id in heads {
            let n = blocks.all[id as usize].region;
            self.drop(n, blocks);
        }
        (self.made, self.insns) = (self.made + 1, self.insns + plan.insns.len() as u64);
        self.bytes += bytes as u64;
        let made = Arc::new(Made {
            deltas: plan.blocks.iter().map(|g| g.delta - plan.origin).collect(),
            insns: plan.insns.len(),
            from: plan.from,
            entries: plan.entries,
            grown: plan.grown,
            serial: self.made,
        });
        let mut insns = if calls { plan.insns } else { Vec::new() };
        for (&entry, &start) in made.entries.iter().zip(starts) {
            let head = made.from[entry];
            let b = &mut blocks.all[head.0 as usize];
            let (at, mode) = (b.at, b.mode);
            if b.region < MAX {
                let old = b.region;
                self.drop(old, blocks);
            }
            let _insns = std::mem::take(&mut insns);
            let region = Region { code: start, _insns, made: made.clone(), head, at, alive: true };
            let number = self.all.add(self.arena.part(), region);
            for &(id, _) in &made.from {
                let b = &mut blocks.all[id as usize];
                b.users.push(number);
                b.part = number;
            }
            // Whoever has a link to it goes on in the region from now on.
            let b = &mut blocks.all[head.0 as usize];
            self.take_base(b);
            (b.region, b.base) =
                (number, self.base.add(&self.arena, (start, start), (head.0, at, mode)));
            self.exits.lead(at, mode, start as u64);
            self.base.awaited(&mut self.arena, b.base);
        }
    }
    /// Makes a region by the baseline tier. `false`: there cannot be room for it.
    pub fn emit(&mut self, plan: Plan, blocks: &mut Blocks) -> bool {
        #[allow(clippy::disallowed_methods)] // how long it took; no guest sees it
        let begun = std::time::Instant::now();
        let made = self.base.emit_region(&plan);
        let ((hot, cold), calls) = (made.asm.lengths(), made.calls);
        if !self.room_for(hot, cold, blocks) {
            return false;
        }
        let starts = self.base.put_region(&mut self.arena, blocks, made, plan.mode);
        let Some(starts) = starts else { return false };
        let (hot, cold) = self.arena.newest();
        let bytes = hot.bytes.len() + cold.bytes.len();
        if self.perf.wanted() {
            self.perf.note('n', plan.rip, hot);
            self.perf.note('m', plan.rip, cold);
        }
        for &(id, _) in &plan.from {
            self.begin(blocks, id);
        }
        self.place(plan, blocks, &starts, bytes, calls);
        self.nanos += begun.elapsed().as_nanos() as u64;
        true
    }
    /// A block became part of a region: what is still executed otherwise has another way in, and earns a region of its own.
    fn begin(&mut self, blocks: &mut Blocks, id: u32) {
        let heat = self.heat(&blocks.all[id as usize], id);
        let b = &mut blocks.all[id as usize];
        b.profile = b.profile.max(heat);
        (b.pending, b.heat) = (false, b.heat.min(BEGUN));
        self.gate.set_heat(id, BEGUN);
    }
    /// What a region that is alive was made of.
    pub fn made(&self, number: u32) -> Option<&Made> {
        self.all.get(number).filter(|r| r.alive).map(|r| &*r.made)
    }

    /// A way into a region is gone: its code has changed, or another is in its place.
    pub fn drop(&mut self, number: u32, blocks: &mut Blocks) {
        let Some(r) = self.all.get_mut(number) else { return };
        if !std::mem::replace(&mut r.alive, false) {
            return;
        }
        let (head, made) = (r.head, r.made.clone());
        self.gate.forget(self.ram + r.at, r.code);
        self.dropped += u64::from(head == made.from[made.entries[0]]);
        for &(id, serial) in &made.from {
            let b = &mut blocks.all[id as usize];
            if b.serial == serial {
                b.users.retain(|&n| n != number);
            }
        }
        let b = &mut blocks.all[head.0 as usize];
        if b.serial == head.1 && b.region == number {
            (b.region, b.heat) = (NONE, 0);
            self.gate.set_heat(head.0, 0);
            self.take_base(b);
        }
    }

    /// The code of a region.
    pub fn code(&self, number: u32) -> Native {
        Native(self.all[number].code)
    }
    /// The code of a block in the baseline tier, which is made if there is none. `None`: there cannot be room for it.
    pub fn base_code(&mut self, blocks: &mut Blocks, id: u32, core: &Core) -> Option<Native> {
        let b = &blocks.all[id as usize];
        if b.base != baseline::NONE {
            return Some(Native(self.base.entry(b.base)));
        }
        if let Some(code) = self.kept_code(blocks, id, core) {
            return Some(code);
        }
        let insns: Box<[Insn]> = decode::insns(blocks, id, core).collect();
        let b = &blocks.all[id as usize];
        let (mode, at, end) = (b.mode, b.at, b.end);
        let second = b.crosses().then(|| self.ram + b.second);
        let hot = mode.long64() && self.hot;
        let alone = mode.long64() && self.alone;
        let far = if alone && !end { far_from(b, core) } else { None };
        let source = Source { insns, mode, at, second, far, end, id, hot, alone };
        #[allow(clippy::disallowed_methods)] // how long it takes; no guest sees it
        let begun = (self.base.made % SAMPLED == 0).then(std::time::Instant::now);
        let made = self.base.emit(source);
        self.keep(blocks, id, &made, core);
        let code = self.put_base(blocks, made, core.state.rip)?;
        if let Some(begun) = begun {
            self.base_nanos += begun.elapsed().as_nanos() as u64;
            self.base_sampled += 1;
        }
        Some(code)
    }
    /// Puts a block's code in its place. `rip`: where it is, for profilers.
    fn put_base(&mut self, blocks: &mut Blocks, made: Base, rip: u64) -> Option<Native> {
        let (hot, cold) = made.lengths();
        if !self.room_for(hot, cold, blocks) {
            return None;
        }
        let (id, at, mode) = (made.block, made.at, made.mode);
        let number = self.base.put(&mut self.arena, blocks, made)?;
        if self.perf.wanted() {
            let (hot, cold) = self.arena.newest();
            self.perf.note('b', rip, hot);
            self.perf.note('c', rip, cold);
        }
        let b = &mut blocks.all[id as usize];
        self.gate.set_heat(id, b.heat);
        b.base = number;
        self.base.awaited(&mut self.arena, number);
        let code = self.base.entry(number);
        self.exits.lead(at, mode, code as u64);
        Some(Native(code))
    }
    /// The time that the baseline tier's code took, as far as a part of it tells.
    pub fn base_nanos(&self) -> u64 {
        let all = u128::from(self.base_nanos) * u128::from(self.base.made - self.recalled);
        (all / u128::from(self.base_sampled.max(1))) as u64
    }
    /// Bytes of memory that have native code, and how many there are.
    pub fn memory(&self) -> (usize, usize) {
        self.arena.usage()
    }
    /// Why native code was left, if a helper had a say in it; asked once.
    #[inline]
    pub fn take_why(&mut self) -> Why {
        self.gate.take_why()
    }
    /// How often the interpreter did an instruction for native code, by rows.
    pub fn called(&self) -> &[u64] {
        self.gate.called()
    }
    fn take_base(&mut self, b: &mut Block) {
        let base = std::mem::replace(&mut b.base, baseline::NONE);
        if base != baseline::NONE {
            self.drop_base(base);
        }
    }
    /// A block's code is gone.
    pub fn drop_base(&mut self, number: u32) {
        let (code, at, mode) = self.base.drop(&mut self.arena, number);
        self.gate.forget(self.ram + at, code);
        self.exits.lead(at, mode, self.gate.search(mode) as u64);
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
        if self.alone && s.c.mode.long64() {
            s.c.state.rip &= !(PAGE - 1);
        }
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
        self.gate.know(s.c.mode, self.ram + at, code.0);
    }
}

/// Where a block leads in another page, and where that is in RAM now, if it is where the guest is: see [`Source::far`].
fn far_from(b: &Block, core: &Core) -> Option<(i32, u64)> {
    let place = |linear| core.tlb.exec(b.mode.code_set(), linear);
    let delta = b.flow.taken?.checked_add(b.bytes.into())?;
    let start = core.state.rip;
    if place(start) != Some(b.at) || (b.at % PAGE).wrapping_add_signed(delta.into()) < PAGE {
        return None;
    }
    let to = place(start.wrapping_add_signed(delta.into()))?;
    i32::try_from(to.wrapping_sub(b.at) as i64).ok()?;
    Some((delta, to))
}
