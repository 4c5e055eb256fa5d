//! The emulator as columns: one core in 64-bit mode at CPL 3, paging on, over a small RAM in
//! which only the code, the landing page and the windows are mapped.

use crate::case::{self, CODE, CODE_SIZE, Case, End, FLAGS, IF, LANDING, LANDING_SIZE, Outcome};
use crate::case::{State, WINDOW_SIZE, WINDOWS};
use crate::columns::Column;
use crate::mode::{GLOBAL, LOCAL, Mode, Part};
use cpu::Table;
use cpu::{Bus, Core, Exception, Interp, Segment, Stopped, Width};
use memory::{PAGE, Ram, Target};
use std::sync::Arc;

/// Physical places of the page tables and of what they map.
const PML4: u64 = 0x1000;
const PDPT: u64 = 0x2000;
const DIRECTORY: u64 = 0x3000;
const TABLES: u64 = 0x4000;
const CODE_AT: u64 = 0x10000;
/// The landing place of 16-bit code, then that of other code.
const LANDING_16_AT: u64 = CODE_AT + CODE_SIZE;
const LANDING_AT: u64 = LANDING_16_AT + LANDING_SIZE;
const WINDOWS_AT: u64 = LANDING_AT + LANDING_SIZE;
const TABLES_AT: u64 = WINDOWS_AT + 2 * WINDOW_SIZE;
const RAM_SIZE: u64 = 0x40000;

/// The linear address of the global descriptor table, and how far behind it the local one is.
const DESCRIPTORS: u64 = 0x3000_0000;
const LOCAL_AT: u64 = 0x800;
/// As Linux's.
const GLOBAL_LIMIT: u16 = 0x7F;
/// The error code of INTO where the interrupt table is too short: entry 4 of it.
const OVERFLOW: u32 = 4 << 3 | 2;

/// Linear address, which is also the physical one; where in RAM that is; size; whether it is code.
const MAPPED: [(u64, u64, u64, bool); 5] = [
    (CODE, CODE_AT, CODE_SIZE + LANDING_SIZE, true),
    (LANDING, LANDING_AT, LANDING_SIZE, true),
    (WINDOWS[0], WINDOWS_AT, WINDOW_SIZE, false),
    (WINDOWS[1], WINDOWS_AT + WINDOW_SIZE, WINDOW_SIZE, false),
    (DESCRIPTORS, TABLES_AT, PAGE, false),
];

/// A core with RAM and nothing else around it.
pub struct Machine {
    pub core: Box<Core>,
    pub bus: Nothing,
    ram: Arc<Ram>,
    /// What the windows hold between cases, and the seed it is made from.
    pristine: Vec<u64>,
    mem_seed: u64,
    /// What they held when the case began.
    before: Vec<u64>,
    scratch: Vec<u8>,
    runs: u64,
    mode: Mode,
}

/// Has INT3 where branches go. A case may have written there.
fn place_landings(ram: &Ram) -> Option<()> {
    const INT3: [u8; 2 * LANDING_SIZE as usize] = [0xCC; 2 * LANDING_SIZE as usize];
    let mut there = [0; INT3.len()];
    ram.read(LANDING_16_AT, &mut there)?;
    if there == INT3 { Some(()) } else { ram.write(LANDING_16_AT, &INT3) }
}

impl Machine {
    pub fn new() -> Result<Machine, String> {
        let ram = Arc::new(Ram::new(RAM_SIZE).map_err(|e| e.to_string())?);
        build_tables(&ram);
        build_descriptors(&ram);
        place_landings(&ram).ok_or("the landing page is outside of RAM")?;
        let model = Arc::new(cpu::big::cpuid::Model::max());
        let core = Core::new(0, ram.clone(), model);
        let mut m = Machine {
            core,
            bus: Nothing,
            ram,
            pristine: vec![],
            mem_seed: 0,
            before: vec![],
            scratch: vec![],
            runs: 0,
            mode: Mode::Bits64,
        };
        m.system(Mode::Bits64);
        m.fill(0);
        Ok(m)
    }

    /// The registers that user mode cannot see, as a 64-bit kernel sets them for code of some size.
    fn system(&mut self, mode: Mode) {
        self.mode = mode;
        let s = &mut self.core.state;
        s.cr0 = 0x8005_0033; // PG AM WP NE ET MP PE
        s.cr3 = PML4;
        s.cr4 = 1 << 5 | 1 << 9 | 1 << 10 | 1 << 18; // PAE OSFXSR OSXMMEXCPT OSXSAVE
        s.msr.efer = 0xD01; // NXE LMA LME SCE
        s.xcr0 = 7;
        s.seg = [Segment { sel: 0, attr: 0, limit: 0, base: 0 }; 6];
        for (to, part) in s.seg.iter_mut().zip(mode.segments()) {
            if part.selector != 0 {
                *to = segment(part);
            }
        }
        s.gdtr = Table { base: DESCRIPTORS, limit: GLOBAL_LIMIT };
        // A software interrupt is told by the fault that comes of it.
        s.idtr = Table { base: 0, limit: 0 };
        s.ldtr.sel = 0x50;
        s.ldtr.attr = 0x8200;
        (s.ldtr.base, s.ldtr.limit) = (DESCRIPTORS + LOCAL_AT, 8 * LOCAL.len() as u32 - 1);
        s.cpl = 3;
        self.core.refresh();
    }

    /// Puts a case into the core and its memory.
    fn load(&mut self, case: &Case) {
        if self.mem_seed != case.mem_seed {
            self.fill(case.mem_seed);
        }
        let selectors = case.mode.segments().map(|p| p.selector);
        let same = self.core.state.seg.iter().zip(selectors).all(|(s, want)| s.sel == want);
        if self.mode != case.mode || !same {
            self.system(case.mode);
        }
        // Now and then all translations go, so that misses are tested as well as hits.
        self.runs += 1;
        if self.runs.is_multiple_of(64) {
            self.core.tlb.flush();
        }
        case::apply(&case.patches, &mut self.before);
        for i in case.patches.iter().flat_map(case::patched_words) {
            self.put(i, self.before[i]);
        }
        let _ = place_landings(&self.ram);
        // INT3 around the code: landing places of short branches.
        let at = CODE_AT + case.at() - CODE;
        let mut code = vec![0xCC; 32];
        code.extend(&case.code);
        code.extend([0xCC; 32]);
        let mut there = vec![0; code.len()];
        let _ = self.ram.read(at - 32, &mut there);
        if there != code {
            let _ = self.ram.write(at - 32, &code);
        }
        let (from, s) = (&case.state, &mut self.core.state);
        s.gpr = from.gpr;
        s.rip = from.rip;
        s.set_flags(from.rflags & FLAGS | IF | 2);
        s.ymm = from.ymm.map(|y| [join(y[0], y[1]), join(y[2], y[3])]);
        s.mxcsr = from.mxcsr;
        s.fpu.cw = from.fcw;
        s.fpu.sw = from.fsw & !0x3800;
        s.fpu.top = from.top() as u8;
        s.fpu.empty = !from.ftw;
        (s.fpu.op, s.fpu.ip, s.fpu.dp) = (from.fop, from.fip, from.fdp);
        for (n, v) in from.st.iter().enumerate() {
            let r = (from.top() + n) & 7;
            (s.fpu.sig[r], s.fpu.sexp[r]) = (*v as u64, (v >> 64) as u16);
        }
        (s.shadow, s.activity, s.pending_debug) = (0, 0, 0);
        self.core.stop = false;
        self.core.yields = false;
    }

    /// Takes the outcome, and puts the windows back.
    fn unload(&mut self, case: &Case, fault: Option<Exception>) -> Outcome {
        let s = &self.core.state;
        let mut to = State::plain();
        if !case.mode.is_64() {
            to.seg = [0, 1, 2, 3].map(|n| s.seg[n].sel);
        }
        to.gpr = s.gpr;
        to.rip = s.rip;
        to.rflags = s.flags() & FLAGS;
        to.ymm =
            s.ymm.map(|y| [y[0] as u64, (y[0] >> 64) as u64, y[1] as u64, (y[1] >> 64) as u64]);
        to.mxcsr = s.mxcsr;
        to.fcw = s.fpu.cw;
        to.fsw = s.fpu.sw & !0x3800 | u16::from(s.fpu.top & 7) << 11;
        to.ftw = !s.fpu.empty;
        (to.fop, to.fip, to.fdp) = (s.fpu.op, s.fpu.ip, s.fpu.dp);
        for (n, v) in to.st.iter_mut().enumerate() {
            let r = (usize::from(s.fpu.top) + n) & 7;
            *v = u128::from(s.fpu.sexp[r]) << 64 | u128::from(s.fpu.sig[r]);
        }
        let end = match fault {
            None => End::Done,
            // An INT3 where a branch landed.
            Some(e) if e.vector == 3 => End::Done,
            Some(e) if e.vector == 13 && e.code == Some(OVERFLOW) => {
                let into = crate::policy::instructions(case).find(|i| i.ip() == to.rip);
                to.rip += into.map_or(0, |i| i.len() as u64);
                End::Fault { vector: 4, address: 0, write: false }
            }
            Some(e) => {
                let page = e.vector == 14;
                End::Fault {
                    vector: e.vector,
                    address: if page { e.detail } else { 0 },
                    write: page && e.code.is_some_and(|c| c & 2 != 0),
                }
            }
        };
        Outcome { end, state: to, mem: Vec::new() }
    }

    /// The changed words of the windows; afterwards the windows are as between cases.
    fn changes(&mut self, case: &Case) -> Vec<(u64, u64)> {
        let mut now = std::mem::take(&mut self.scratch);
        now.resize(8 * self.before.len(), 0);
        let _ = self.ram.read(WINDOWS_AT, &mut now);
        let mut out = Vec::new();
        for (k, (now, was)) in now.chunks(512).zip(self.before.chunks(64)).enumerate() {
            let same = now.chunks_exact(8).zip(was).all(|(n, w)| *n == w.to_le_bytes());
            if !same {
                for (i, (n, w)) in now.chunks_exact(8).zip(was).enumerate() {
                    if *n != w.to_le_bytes() {
                        let v = n.iter().rev().fold(0, |v, b| v << 8 | u64::from(*b));
                        out.push((k * 64 + i, v));
                    }
                }
            }
        }
        self.scratch = now;
        let patched = case.patches.iter().flat_map(case::patched_words);
        for i in out.iter().map(|(i, _)| *i).chain(patched) {
            self.before[i] = self.pristine[i];
            self.put(i, self.pristine[i]);
        }
        out.into_iter().map(|(i, v)| (case::window_address(8 * i), v)).collect()
    }

    fn fill(&mut self, mem_seed: u64) {
        self.pristine = case::background(mem_seed);
        self.before = self.pristine.clone();
        self.mem_seed = mem_seed;
        let bytes: Vec<u8> = self.pristine.iter().flat_map(|w| w.to_le_bytes()).collect();
        let _ = self.ram.write(WINDOWS_AT, &bytes);
    }

    /// Sets a word of the windows.
    fn put(&self, index: usize, word: u64) {
        let _ = self.ram.write(WINDOWS_AT + 8 * index as u64, &word.to_le_bytes());
    }
}

/// A descriptor's contents, as the segment register has them after a load.
fn segment(p: Part) -> Segment {
    let mut attr = 3 << 13 | Segment::CODE_DATA | p.kind << 8;
    for (set, bit) in [
        (p.present, Segment::PRESENT),
        (p.long, Segment::LONG),
        (p.big, Segment::BIG),
        (p.limit > 0xF_FFFF, Segment::GRANULAR),
    ] {
        attr |= if set { bit } else { 0 };
    }
    Segment { sel: p.selector, attr, limit: p.limit, base: p.base }
}

/// The eight bytes of a descriptor.  SDM vol. 3, 3.4.5.
fn descriptor(p: Part) -> u64 {
    let s = segment(p);
    let limit = if p.limit > 0xF_FFFF { p.limit >> 12 } else { p.limit };
    let high = u64::from(s.attr & 0xF0_FF00 | limit & 0xF_0000);
    high << 32
        | (p.base & 0xFF00_0000) << 32
        | (p.base & 0xFF_FFFF) << 16
        | u64::from(limit & 0xFFFF)
}

fn join(low: u64, high: u64) -> u128 {
    u128::from(high) << 64 | u128::from(low)
}

/// Four-level tables that map `MAPPED` (for user mode, but for the descriptors), accessed and dirty already.
fn build_tables(ram: &Ram) {
    const ALL: u64 = 0x67; // dirty, accessed, user, writable, present
    const USER: u64 = 4;
    let put = |table: u64, index: u64, v: u64| {
        let _ = ram.write(table + 8 * (index & 511), &v.to_le_bytes());
    };
    put(PML4, 0, PDPT | ALL);
    put(PDPT, 0, DIRECTORY | ALL);
    for (n, (linear, _, size, code)) in MAPPED.into_iter().enumerate() {
        // Each area lies in a 2 MiB piece of its own.
        let table = TABLES + PAGE * n as u64;
        put(DIRECTORY, linear >> 21, table | ALL);
        for page in 0..size / PAGE {
            let no_execute = if code { 0 } else { 1 << 63 };
            let user = if linear == DESCRIPTORS { ALL & !USER } else { ALL };
            put(table, (linear >> 12) + page, linear + page * PAGE | user | no_execute);
        }
    }
}

/// What 32-bit and 16-bit code finds in the descriptor tables. The kernel's own entries are there, but closed to it.
fn build_descriptors(ram: &Ram) {
    let put = |at: u64, v: u64| {
        let _ = ram.write(TABLES_AT + at, &v.to_le_bytes());
    };
    for part in GLOBAL {
        put(u64::from(part.selector & !7), descriptor(part));
        // 32-bit code, 64-bit code, data of privilege 0.
        put(u64::from(part.selector & !7) - 0x18, descriptor(part) & !(3 << 45));
    }
    // Linux keeps the number of the CPU there.
    put(0x78, descriptor(Part { limit: 0, kind: 5, ..GLOBAL[1] }));
    for (n, part) in LOCAL.into_iter().enumerate() {
        put(LOCAL_AT + 8 * n as u64, descriptor(part));
    }
}

/// A machine without devices.
pub struct Nothing;

impl Bus for Nothing {
    fn page(&mut self, phys: u64) -> Option<Target> {
        let area = MAPPED.iter().find(|(at, _, size, _)| phys.wrapping_sub(*at) < *size);
        Some(match area {
            Some((at, offset, ..)) => Target::Ram { offset: offset + (phys - at) },
            None if phys < CODE_AT => Target::Ram { offset: phys },
            None => Target::Hole,
        })
    }
    fn read(&mut self, _: u64, _: u64, w: Width) -> u64 {
        w.mask()
    }
    fn write(&mut self, _: u64, _: u64, _: Width, _: u64) {}
    fn port_read(&mut self, _: u64, _: u16, w: Width) -> u64 {
        w.mask()
    }
    fn port_write(&mut self, _: u64, _: u16, _: Width, _: u64) {}
    fn tsc(&mut self, count: u64) -> u64 {
        count
    }
    fn acknowledge(&mut self, _: u64) -> Option<u8> {
        None
    }
    fn msr_read(&mut self, _: u64, _: u32) -> Option<u64> {
        None
    }
    fn msr_write(&mut self, _: u64, _: u32, _: u64) -> Option<()> {
        None
    }
    fn tpr(&mut self) -> u8 {
        0
    }
    fn set_tpr(&mut self, _: u64, _: u8) {}
    fn random(&mut self) -> u64 {
        0
    }
    fn attention(&mut self) -> bool {
        false
    }
    fn complain(&mut self, _: std::fmt::Arguments<'_>) {}
}

impl Machine {
    /// Runs a case by an engine: `go` executes as many instructions as it is told, or stops with
    /// an exception that it does not deliver.
    pub fn run(
        &mut self,
        case: &Case,
        go: impl FnOnce(&mut Machine, usize) -> Option<Exception>,
    ) -> Outcome {
        self.load(case);
        let fault = go(self, case.count);
        let mut out = self.unload(case, fault);
        out.mem = self.changes(case);
        out
    }
}

/// The interpreter, one step at a time.
pub struct Interpreter(Machine);

impl Interpreter {
    pub fn new() -> Result<Interpreter, String> {
        Machine::new().map(Interpreter)
    }
}

/// Steps that one case may take: its instructions, and the rounds of string instructions if a
/// step is one round.
const MOST_STEPS: u32 = 1 << 17;

impl Column for Interpreter {
    fn name(&self) -> &'static str {
        "interp"
    }

    fn run(&mut self, case: &Case) -> Outcome {
        self.0.run(case, |m, count| {
            m.core.set_budget(u64::from(MOST_STEPS) + 1);
            let (mut left, mut steps) = (count, 0);
            while left > 0 && steps < MOST_STEPS {
                let rip = m.core.state.rip;
                match cpu::step(&mut Interp { c: &mut m.core, bus: &mut m.bus }) {
                    Ok(()) => left -= usize::from(m.core.state.rip != rip),
                    Err(Stopped::Fault(e)) => return Some(e),
                }
                steps += 1;
            }
            None
        })
    }
}

/// Native code: each case is compiled before it runs, unless its code is that of the case before.
pub struct Native {
    machine: Machine,
    engine: jit::Engine,
    /// Where the code stands that is compiled, and its bytes.
    last: (Mode, u64, Vec<u8>),
    tier: Tier,
}

/// Which native code is made of all there is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    Baseline,
    /// Regions by the baseline tier's emitter, where it may make them.
    Regions,
    /// Regions by Cranelift.
    Cranelift,
}

impl Native {
    pub fn new(tier: Tier) -> Result<Native, String> {
        let machine = Machine::new()?;
        const NEVER: u32 = u32::MAX;
        let (baseline, threshold) = match tier {
            Tier::Baseline => (0, NEVER),
            Tier::Regions | Tier::Cranelift => (NEVER, 0),
        };
        let config = jit::Config {
            threshold,
            baseline,
            cranelift: tier == Tier::Cranelift,
            background: false,
            code_bytes: 8 << 20,
            ..jit::Config::default()
        };
        let engine = jit::Engine::new(machine.ram.clone(), config).map_err(|e| e.to_string())?;
        Ok(Native { machine, engine, last: (Mode::Bits64, 0, vec![]), tier })
    }
    /// How many instructions native code has executed.
    pub fn executed(&self) -> u64 {
        self.engine.counters().native
    }

    /// As many instructions as that.
    fn go(engine: &mut jit::Engine, m: &mut Machine, count: u64) -> Option<Exception> {
        // The block has the breakpoint behind the code, too, and is for tier 0 if the budget is smaller. Whatever comes of
        // what follows the case is not looked at.
        const MORE: u64 = 1;
        m.core.set_budget(count + MORE);
        loop {
            let fault = engine.run_to_fault(&mut m.core, &mut m.bus);
            let left = m.core.left as u64;
            if left <= MORE && (fault.is_none() || left == 1) {
                return None;
            }
            if fault.is_some() || !m.core.yields {
                return fault;
            }
            m.core.yields = false;
        }
    }
}

impl Column for Native {
    fn name(&self) -> &'static str {
        match self.tier {
            Tier::Baseline => "baseline",
            Tier::Regions => "jit",
            Tier::Cranelift => "cranelift",
        }
    }

    fn run(&mut self, case: &Case) -> Outcome {
        let (engine, tier) = (&mut self.engine, self.tier);
        let same =
            self.last.0 == case.mode && self.last.1 == case.state.rip && self.last.2 == case.code;
        if !same {
            self.last = (case.mode, case.state.rip, case.code.clone());
        }
        self.machine.run(case, |m, count| {
            if !same {
                engine.flush();
            }
            let repeats = crate::policy::instructions(case)
                .any(|i| i.has_rep_prefix() || i.has_repne_prefix());
            if !repeats {
                if tier != Tier::Baseline {
                    engine.compile_now(&mut m.core, &mut m.bus);
                }
                return Self::go(engine, m, count as u64);
            }
            // A round of a repeated instruction counts as one: go on until it is done.
            let (mut left, mut steps) = (count, 0);
            while left > 0 && steps < MOST_STEPS {
                let rip = m.core.state.rip;
                m.core.yields = false;
                if tier != Tier::Baseline {
                    engine.compile_now(&mut m.core, &mut m.bus);
                }
                m.core.set_budget(1);
                if let Some(e) = engine.run_to_fault(&mut m.core, &mut m.bus) {
                    return Some(e);
                }
                left -= usize::from(m.core.state.rip != rip);
                steps += 1;
            }
            None
        })
    }
}

/// Whether the emulator has a meaning for the instruction.
pub fn has(m: iced_x86::Mnemonic) -> bool {
    cpu::rows::number(m) != 0
}

/// What the engine has counted, for those who work on it.
impl Drop for Native {
    fn drop(&mut self) {
        if std::env::var_os("COUNTERS").is_some() {
            eprintln!("{:#?}", self.engine.counters());
        }
    }
}
