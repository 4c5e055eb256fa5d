//! The run loop: blocks one after the other, events between them.

use crate::block::{Block, Blocks, Id, NONE};
use crate::counters::{Counters, Fallen, Report, Why};
use crate::cross::Steps;
use crate::emit::EMITS;
use crate::perf::Profilers;
use crate::region::{self, After, Native, Regions};
use crate::store::Store;
use crate::{decode, event, native, plan};
use cpu::{Activity, Bus, Core, Exception, Features, Interp, Mode};
use memory::{Ram, TlbCounts};
use std::path::Path;
use std::sync::Arc;

/// How the engine is to work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Executions of a block after which a region is made of it; `u32::MAX` for never.
    pub threshold: u32,
    /// Executions of a block after which it gets code of the baseline tier, on hosts that have one; `u32::MAX` for never.
    pub baseline: u32,
    /// All regions are made by Cranelift, also those that the baseline tier's emitter can make.
    pub cranelift: bool,
    /// Compile on a thread of its own, else at once.
    pub background: bool,
    /// Room for native code. When there is none, the oldest is evicted.
    pub code_bytes: usize,
    /// Guest instructions in a region at most.
    pub max_region_insns: usize,
    /// Who is told of native code.
    pub profilers: Profilers,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            threshold: 2000,
            baseline: 2,
            cranelift: false,
            background: true,
            // Debian's boot needs 100 MiB. A compiler at work, a new process for each file, needs 200, but hardly more time with 64.
            code_bytes: 128 << 20,
            max_region_insns: 120,
            profilers: Profilers::default(),
        }
    }
}

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
pub enum JitError {
    #[error("cannot get {bytes} bytes of memory for native code: {why}")]
    Memory { bytes: usize, why: std::io::Error },
    #[error("cannot start the compiler's thread: {0}")]
    Thread(std::io::Error),
    #[error("no native code for this host: {0}")]
    Host(String),
    #[error("cannot keep code in {path}: {why}")]
    Folder { path: String, why: std::io::Error },
    #[error("cannot write {path}: {why}")]
    Profile { path: String, why: std::io::Error },
}

/// The block at a place in RAM that was executed lately.
#[derive(Clone, Copy)]
struct Jump {
    at: u64,
    mode: Mode,
    id: Id,
}

/// Native code that is left with fewer instructions to go than this has used up its time.
const SAMPLE: i64 = 128;
/// A core is so far behind that its TLB is to be flushed: for a core that has not run for long, nothing is kept.
const BEHIND: usize = usize::MAX;
const MOST_PROTECTED: usize = 1024;
const JUMPS: usize = 16384;
const ODD: usize = 1024;
const NOT_ODD: (u64, Mode) = (!0, Mode(0));
const NO_JUMP: Jump = Jump { at: !0, mode: Mode(0), id: NONE };

/// Runs the cores of one machine, in turn.
pub struct Engine {
    ram: Arc<Ram>,
    config: Config,
    blocks: Blocks,
    steps: Steps,
    regions: Regions,
    jumps: Box<[Jump]>,
    /// Places, with their modes, where no instruction was found. If that is no longer so, it is executed one at a time for
    /// nothing until code is written somewhere.
    odd: Box<[(u64, Mode); ODD]>,
    /// There are some.
    some_odd: bool,
    /// How far each core's TLB follows [`Blocks::protected`], or [`BEHIND`].
    seen: Vec<usize>,
    count: Counters,
    /// By rows: instructions that native code left to tier 0.
    fallen: Box<[Fallen]>,
    /// Exceptions end the run instead of being delivered, and this is the last.
    catch: bool,
    caught: Option<Exception>,
    /// Native code was left because its time was over: where it was is likely to be hot.
    sample: bool,
    /// Why native code was left last, if tier 0 has to go on.
    why: Why,
}

/// Whether the code segment reaches to the end of a block of this length at RIP.
#[inline(always)]
fn within(core: &Core, bytes: u16) -> bool {
    core.mode.long64() || core.state.rip + bytes as u64 - 1 <= core.state.seg[1].limit as u64
}

/// The linear address of the page behind that of `la`.
fn next_page(la: u64) -> u64 {
    (la | (memory::PAGE - 1)).wrapping_add(1)
}
/// Whether a block at a linear address goes on where it did when it was decoded.
#[inline(always)]
fn goes_on(core: &Core, la: u64, b: &Block) -> bool {
    !b.crosses() || core.tlb.exec(core.mode.code_set(), next_page(la)) == Some(b.second)
}

fn slot(at: u64) -> usize {
    (at ^ at >> 12) as usize % JUMPS
}

impl Engine {
    pub fn new(ram: Arc<Ram>, config: Config) -> Result<Engine, JitError> {
        let baseline = if EMITS { config.baseline } else { u32::MAX };
        let config = Config { baseline, cranelift: config.cranelift || !EMITS, ..config };
        let regions = Regions::new(&config, &ram)?;
        Ok(Engine {
            ram,
            config,
            blocks: Blocks::new(),
            steps: Steps::new(),
            regions,
            jumps: vec![NO_JUMP; JUMPS].into_boxed_slice(),
            odd: Box::new([NOT_ODD; ODD]),
            some_odd: false,
            seen: Vec::new(),
            count: Counters::default(),
            fallen: vec![Fallen::default(); cpu::rows::ROWS.len()].into_boxed_slice(),
            catch: false,
            caught: None,
            sample: false,
            why: Why::Insn,
        })
    }

    /// Keeps native code in a folder, which is made if need be, and uses what earlier runs have left there. `features`: of all cores.
    pub fn keep_code(&mut self, folder: &Path, features: &Features) -> Result<(), JitError> {
        if self.config.baseline != u32::MAX {
            let Config { cranelift, threshold, .. } = self.config;
            let config = format!("{cranelift} {}", threshold != u32::MAX);
            let fault = |why| JitError::Folder { path: folder.display().to_string(), why };
            let store = Store::open(folder, features, &config).map_err(fault)?;
            self.regions.store = Some(store);
        }
        Ok(())
    }

    /// Forgets everything.
    pub fn flush(&mut self) {
        self.blocks.clear(&self.ram);
        self.regions.clear();
        self.jumps.fill(NO_JUMP);
        self.odd.fill(NOT_ODD);
        self.count.flushes += 1;
    }

    pub fn counters(&self) -> Counters {
        let (used, memory) = self.regions.memory();
        Counters {
            blocks: self.blocks.len() as u64,
            ops: self.blocks.insns,
            dropped: self.blocks.dropped,
            evictions: self.regions.evicted,
            baseline: self.regions.base.made,
            baseline_bytes: self.regions.base.bytes,
            baseline_nanos: self.regions.base_nanos(),
            regions: self.regions.made,
            regions_dropped: self.regions.dropped,
            regions_failed: self.regions.failed,
            region_insns: self.regions.insns,
            code_bytes: self.regions.bytes,
            compile_nanos: self.regions.nanos,
            memory_used: used as u64,
            memory: memory as u64,
            recalled: self.regions.recalled,
            ..self.count
        }
    }
    /// The text of `info jit`, with what the cores' TLBs have counted.
    pub fn report(&self, tlb: TlbCounts) -> String {
        let (fallen, called) = (&*self.fallen, self.regions.called());
        Report { count: self.counters(), tlb, fallen, called }.to_string()
    }

    /// Runs `core` until its budget is used up, something wants the machine's attention, or it stops running.
    pub fn run(&mut self, core: &mut Core, bus: &mut dyn Bus) {
        self.catch_up(core);
        core.refresh();
        let mut s = Interp { c: core, bus };
        let (mut check, mut plain) = (true, false);
        while s.c.left > 0 {
            if self.regions.ready() {
                self.publish();
            }
            if check {
                if self.attend(&mut s) || self.caught.is_some() {
                    break;
                }
                if event::pending(&mut s) {
                    continue;
                }
                if s.c.left <= 0 || s.c.activity() != Activity::Running {
                    break;
                }
                if event::only_shadow(&s) {
                    // STI or MOV SS held interrupts off, which is over with the next instruction.
                    s.c.state.shadow = 0;
                    s.c.refresh();
                    self.step(&mut s);
                    continue;
                }
                if event::single(&s) {
                    self.count.stepped += 1;
                    cpu::step_with_events(&mut s);
                    s.c.refresh();
                    continue;
                }
            }
            let Some(id) = self.next(&mut s) else {
                check = self.step(&mut s);
                continue;
            };
            self.look_at_heat(s.c, id);
            if !std::mem::take(&mut plain) {
                if let Some(code) = self.code(&s, id) {
                    (check, plain) = self.native(&mut s, code);
                    continue;
                }
            } else {
                self.count_fallen(s.c, id);
            }
            check = self.tier0(&mut s, id);
        }
        self.note_protected(core);
    }

    /// Runs as [`Engine::run`] does, but gives back the first exception, undelivered. For tests.
    pub fn run_to_fault(&mut self, core: &mut Core, bus: &mut dyn Bus) -> Option<Exception> {
        self.catch = true;
        self.run(core, bus);
        self.catch = false;
        self.caught.take()
    }

    /// Makes a region of the code at RIP at once, if that can be. For tests.
    pub fn compile_now(&mut self, core: &mut Core, bus: &mut dyn Bus) -> bool {
        let mut s = Interp { c: core, bus };
        self.attend(&mut s);
        let Some(id) = self.next(&mut s) else { return false };
        if self.blocks.all[id as usize].region == NONE && plan::may(s.c.mode) {
            self.request(s.c, id);
            self.publish();
        }
        self.blocks.all[id as usize].region < region::MAX
    }

    #[cold]
    fn fault(&mut self, s: &mut Interp<'_>) {
        let e = s.c.fault;
        if self.catch {
            self.caught = Some(e);
        } else {
            cpu::event::deliver(s, e);
        }
        s.c.refresh();
    }

    /// Executes a block, or as much of it as the budget allows. Gives whether events are to be looked at.
    #[inline]
    fn tier0(&mut self, s: &mut Interp<'_>, id: Id) -> bool {
        if self.blocks.ops(id).is_none() {
            decode::again(&mut self.blocks, id, s.c);
        }
        let b = &mut self.blocks.all[id as usize];
        (b.heat, b.idle) = (b.heat + 1, false);
        let n = (b.count as i64).min(s.c.left);
        let (end, whole) = (b.end, n == b.count as i64);
        let ops = &self.blocks.ops(id).unwrap_or_default()[..n as usize];
        let mut fault = false;
        let wrap = if s.c.mode.long64() { !0 } else { 0xffff_ffff };
        let before = s.c.left;
        let mut rip = s.c.state.rip;
        let mut check = end && whole;
        for op in ops {
            let next = rip.wrapping_add(op.insn.len as u64) & wrap;
            s.c.state.rip = next;
            if (op.run)(s, &op.insn).is_err() {
                s.c.state.rip = rip;
                (check, fault) = (true, true);
                break;
            }
            s.c.left -= 1;
            if s.c.stop {
                check = true;
                break;
            }
            rip = next;
        }
        self.count.tier0 += (before - s.c.left) as u64;
        if fault {
            self.fault(s);
        }
        if end {
            s.c.refresh();
        }
        check
    }

    /// Counts why native code was left to tier 0, which does this block next.
    fn count_fallen(&mut self, core: &Core, id: Id) {
        let first = decode::insns(&self.blocks, id, core).next();
        let Some(row) = first.map(|i| usize::from(i.row)) else { return };
        let c = &mut self.count;
        let memory = match self.why {
            Why::Insn | Why::Due => {
                // Regions look at the budget once for several blocks.
                if core.left < self.config.max_region_insns as i64 {
                    c.short += 1;
                } else {
                    self.fallen[row].itself += 1;
                }
                return;
            }
            Why::Page => &mut c.pages,
            Why::NotRam => &mut c.not_ram,
            Why::Crossing => &mut c.crossings,
        };
        *memory += 1;
        self.fallen[row].memory += 1;
    }
    /// Counts what native code was left to see.
    fn count_event(&mut self, core: &Core, why: Why) {
        let c = &mut self.count;
        c.events += 1;
        match why {
            Why::Due if core.left <= 0 => c.over += 1,
            Why::Due if core.yields || core.activity() != Activity::Running => c.waits += 1,
            Why::Due if self.ram.code_was_written() => c.overwritten += 1,
            Why::Due => {}
            _ => c.hot += 1,
        }
    }

    /// Executes native code and what it goes on in. Gives whether events are to be looked at, and whether the block at RIP must
    /// be executed by tier 0.
    #[inline]
    fn native(&mut self, s: &mut Interp<'_>, mut code: Native) -> (bool, bool) {
        let before = s.c.left;
        if !cpu::far_from_hole(s.c.state.rip) {
            return (false, true);
        }
        let out = loop {
            let after = self.regions.run(code, s);
            let why = self.regions.take_why();
            match after {
                After::Side => {
                    self.count.side_exits += 1;
                    // Nobody goes on where the budget is over.
                    self.count.short += u64::from(s.c.left <= 0);
                    self.why = why;
                    self.sample = s.c.left < SAMPLE;
                    break (false, true);
                }
                After::Jump => {
                    self.count.jumps += 1;
                    match self.code_at(s) {
                        Some(next) => {
                            self.count.known += 1;
                            code = next;
                        }
                        None => break (false, false),
                    }
                }
                After::Fault => {
                    self.count.faults += 1;
                    self.fault(s);
                    break (true, false);
                }
                After::Event => {
                    self.count_event(s.c, why);
                    self.sample = true;
                    break (true, false);
                }
            }
        };
        self.count.native += (before - s.c.left) as u64;
        out
    }

    /// The native code at RIP, if there is some that may be entered.
    #[inline]
    fn code_at(&mut self, s: &mut Interp<'_>) -> Option<Native> {
        let id = self.next(s)?;
        let code = self.code(s, id)?;
        if !cpu::far_from_hole(s.c.state.rip) {
            return None;
        }
        let b = &self.blocks.all[id as usize];
        self.regions.know(code, s, b.at);
        Some(code)
    }
    /// The native code of a block: a region, or the baseline tier's, which is made if the block has earned it.
    #[inline]
    fn code(&mut self, s: &Interp<'_>, id: Id) -> Option<Native> {
        if !native::stack_is_near(s.c.state.gpr[4]) {
            return None;
        }
        let b = &self.blocks.all[id as usize];
        if b.region < region::MAX {
            return Some(self.regions.code(b.region));
        }
        if b.base == NONE && (b.heat < self.config.baseline || !plan::may(s.c.mode)) {
            return None;
        }
        let code = self.regions.base_code(&mut self.blocks, id, s.c);
        if code.is_none() {
            // Not again soon.
            self.blocks.all[id as usize].heat = 0;
        }
        code
    }

    /// Asks for a region of a block that has earned one.
    #[inline]
    fn look_at_heat(&mut self, core: &Core, id: Id) {
        let sample = std::mem::take(&mut self.sample);
        let b = &self.blocks.all[id as usize];
        if b.region != NONE || b.pending || b.base != NONE && !sample {
            return;
        }
        if self.regions.heat(b, id) >= self.config.threshold && plan::may(core.mode) {
            self.request(core, id);
        }
    }
    /// Asks for a region that starts with block `id`, which is about to run.
    #[cold]
    fn request(&mut self, core: &Core, id: Id) {
        let again = self.config.threshold / 2;
        let native = !self.config.cranelift && core.mode.long64();
        if !native && !self.regions.room() {
            self.regions.set_heat(&mut self.blocks, id, again);
            return;
        }
        let wish = plan::Wish {
            head: id,
            most: self.config.max_region_insns,
            heat: &|id| {
                let b = &self.blocks.all[id as usize];
                self.regions.heat(b, id).max(b.profile)
            },
            hot: self.config.threshold,
            again: &|id| self.regions.heat(&self.blocks.all[id as usize], id),
            region: &|n| self.regions.made(n),
            native,
        };
        let state = match plan::plan(&self.blocks, core, &wish) {
            Some(p) if native => match self.regions.emit(p, &mut self.blocks) {
                true => return,
                false => region::NEVER,
            },
            Some(p) => {
                let parts: Vec<Id> = p.from.iter().map(|f| f.0).collect();
                if self.regions.submit(p).is_ok() {
                    parts.into_iter().for_each(|b| self.blocks.all[b as usize].pending = true);
                    region::ASKED
                } else {
                    self.regions.set_heat(&mut self.blocks, id, again);
                    NONE
                }
            }
            None => region::NEVER,
        };
        self.blocks.all[id as usize].region = state;
    }

    /// Puts finished regions in their places.
    #[cold]
    fn publish(&mut self) {
        while let Some(done) = self.regions.take() {
            self.regions.install(done, &mut self.blocks);
        }
    }

    /// Executes one instruction that no block has. Gives whether events are to be looked at.
    #[cold]
    fn step(&mut self, s: &mut Interp<'_>) -> bool {
        self.count.stepped += 1;
        match self.steps.step(s) {
            Ok(end) => {
                s.c.refresh();
                end || s.c.stop
            }
            Err(_) => {
                self.fault(s);
                true
            }
        }
    }

    /// The block at RIP. `None`: step.
    #[inline]
    fn next(&mut self, s: &mut Interp<'_>) -> Option<Id> {
        let (rip, mode) = (s.c.state.rip, s.c.mode);
        let la =
            if mode.long64() { rip } else { rip.wrapping_add(s.c.state.seg[1].base) & 0xffff_ffff };
        let at = s.c.tlb.exec(mode.code_set(), la);
        let j = self.jumps[slot(at.unwrap_or(0))];
        if j.mode == mode && at == Some(j.at) {
            let b = &self.blocks.all[j.id as usize];
            if b.at == j.at && b.mode == mode && within(s.c, b.bytes) && goes_on(s.c, la, b) {
                return Some(j.id);
            }
        }
        let id = self.find(s, la, at)?;
        let b = &self.blocks.all[id as usize];
        (within(s.c, b.bytes) && goes_on(s.c, la, b)).then_some(id)
    }

    #[cold]
    fn find(&mut self, s: &mut Interp<'_>, la: u64, at: Option<u64>) -> Option<Id> {
        let at = match at {
            Some(at) => at,
            // Beyond the segment's limit nothing is fetched, so no page is accessed.
            None if !within(s.c, 1) => return None,
            None => {
                let set = s.c.mode.code_set();
                s.page(set, la, cpu::Access::Exec).ok()?;
                s.c.tlb.exec(set, la)?
            }
        };
        let mode = s.c.mode;
        let id = match self.blocks.find(at, mode) {
            Some(id) => id,
            None => {
                let odd = (at ^ at >> 12) as usize % ODD;
                if self.odd[odd] == (at, mode) || self.blocks.shunned(at, s.c.retired()) {
                    return None;
                }
                if self.blocks.full() {
                    self.blocks.sweep(&self.ram, s.c.retired());
                }
                let mut id = match plan::may(mode) {
                    true => self.regions.recall(&mut self.blocks, s.c, at, s.c.state.rip),
                    false => None,
                };
                id = id.or_else(|| decode::block(&mut self.blocks, s.c, at));
                if id.is_none() {
                    // Executed one at a time, it gets its second page into the TLB.
                    let second = s.c.tlb.exec(mode.code_set(), next_page(la))?;
                    if self.blocks.shunned(second, s.c.retired()) {
                        return None;
                    }
                    id = decode::across(&mut self.blocks, s.c, at, second);
                }
                let Some(id) = id else {
                    self.odd[odd] = (at, mode);
                    self.some_odd = true;
                    return None;
                };
                self.count.decoded += 1;
                id
            }
        };
        self.jumps[slot(at)] = Jump { at, mode, id };
        Some(id)
    }

    /// After [`Core::stop`]: deals with overwritten code. Gives whether the machine is wanted.
    #[inline]
    fn attend(&mut self, s: &mut Interp<'_>) -> bool {
        if self.ram.code_was_written() {
            self.code_written(s.c.retired());
        }
        // PAUSE gives the turn away: whoever spins waits for another core.
        if s.c.yields || s.bus.attention() {
            s.c.stop = true;
            return true;
        }
        s.c.stop = false;
        s.c.refresh();
        false
    }

    #[cold]
    fn code_written(&mut self, now: u64) {
        let writes = self.ram.take_code_writes();
        self.count.code_writes += writes.len() as u64;
        if std::mem::take(&mut self.some_odd) {
            self.odd.fill(NOT_ODD);
        }
        let (regions, bases) = self.blocks.written(&self.ram, &writes, now);
        regions.into_iter().for_each(|n| self.regions.drop(n, &mut self.blocks));
        bases.into_iter().for_each(|n| self.regions.drop_base(n));
    }

    /// Makes the core's TLB know which pages became code while other cores ran.
    fn catch_up(&mut self, core: &mut Core) {
        let n = core.id as usize;
        if self.seen.len() <= n {
            self.seen.resize(n + 1, 0);
        }
        match self.blocks.protected.get(self.seen[n]..) {
            Some(new) if new.len() <= 64 => new.iter().for_each(|&page| core.tlb.protect(page)),
            _ => core.tlb.flush(),
        }
        self.seen[n] = self.blocks.protected.len();
    }

    /// The core's TLB knows of all pages that became code while it ran.
    fn note_protected(&mut self, core: &mut Core) {
        let all = self.blocks.protected.len();
        self.seen[core.id as usize] = all;
        if all > MOST_PROTECTED || self.seen.iter().all(|&n| n == all) {
            self.blocks.protected.clear();
            self.seen.iter_mut().for_each(|n| *n = if *n == all { 0 } else { BEHIND });
        }
    }
}
