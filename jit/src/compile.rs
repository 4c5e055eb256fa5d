//! Cranelift at work: a plan in, native code out. On a thread of its own, or at once.

use crate::arena::{ALIGN, JMP};
use crate::clif::{self, Misfit};
use crate::emit::vector;
use crate::engine::JitError;
use crate::links::Links;
use crate::plan::Plan;
use crate::words::{self, Meaning};
use cpu::Insn;
use cranelift_codegen::Context;
use cranelift_codegen::ir::DebugTag;
use cranelift_codegen::isa::{self, OwnedTargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_frontend::FunctionBuilderContext;
use crossbeam_channel::{Receiver, Sender, TrySendError};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::*};

/// Makes native code, one region after the other.
pub struct Compiler {
    isa: OwnedTargetIsa,
    context: Context,
    builder: FunctionBuilderContext,
    table: Vec<Option<Meaning>>,
    /// Instructions that are known not to fit.
    misfits: HashSet<(u16, u8)>,
}

/// Native code.
pub struct Code {
    pub bytes: Vec<u8>,
    /// What a function begins with: done before an entry is jumped to.
    pub prologue: usize,
    /// Where the entries are; empty if there is one, at the start.
    pub entries: Vec<u32>,
}
impl Code {
    /// Bytes that it takes with a way into each of so many entries.
    pub fn room(&self, entries: usize) -> usize {
        self.bytes.len() + entries * (self.prologue + JMP + ALIGN)
    }
}

/// A region in native code, not yet in its place.
pub struct Done {
    pub plan: Plan,
    /// `None`: it cannot be compiled.
    pub code: Option<Code>,
    /// Its ways out.
    pub links: Links,
    /// It can be without an instruction that turned out to be better in the baseline tier.
    pub again: bool,
    pub nanos: u64,
}

/// What a misfit depends on besides the mode: the encoding, and an immediate that chooses the operation.
fn shape(i: &Insn) -> (u16, u8) {
    (i.code, i.imm as u8)
}

impl Compiler {
    pub fn new() -> Result<Compiler, JitError> {
        let host = |e: &dyn std::fmt::Display| JitError::Host(e.to_string());
        let mut flags = settings::builder();
        for (name, value) in [
            // Its optimizer doubles the time of compiling and saves the code a tenth at best: a loss where little runs long.
            ("opt_level", "none"),
            ("enable_verifier", if cfg!(debug_assertions) { "true" } else { "false" }),
            ("unwind_info", "false"),
            ("enable_probestack", "false"),
            ("is_pic", "false"),
            ("regalloc_algorithm", "backtracking"),
            // The core is in it.
            ("enable_pinned_reg", "true"),
        ] {
            flags.set(name, value).map_err(|e| host(&e))?;
        }
        let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        let mut isa = isa::lookup_by_name(&triple).map_err(|e| host(&e))?;
        for name in host_features() {
            isa.enable(name).map_err(|e| host(&e))?;
        }
        let isa = isa.finish(settings::Flags::new(flags)).map_err(|e| host(&e))?;
        Ok(Compiler {
            isa,
            context: Context::new(),
            builder: FunctionBuilderContext::new(),
            table: words::table(),
            misfits: HashSet::new(),
        })
    }

    /// The code that enters regions.
    fn enter(&mut self) -> Result<Vec<u8>, JitError> {
        self.context.clear();
        clif::enter(&mut self.context.func, &mut self.builder, self.isa.frontend_config());
        match self.context.compile(&*self.isa, &mut Default::default()) {
            Ok(c) => Ok(c.code_buffer().to_vec()),
            Err(e) => Err(JitError::Host(e.inner.to_string())),
        }
    }

    /// Compiles a plan. Instructions that turn out not to fit are called instead.
    pub fn compile(&mut self, mut plan: Plan) -> Done {
        #[allow(clippy::disallowed_methods)] // how long it took; no guest sees it
        let start = std::time::Instant::now();
        let mut links = Links::new(0);
        let mut again = false;
        let code = self.code(&mut plan, &mut links, &mut again);
        Done { plan, code, links, again, nanos: start.elapsed().as_nanos() as u64 }
    }

    fn code(&mut self, plan: &mut Plan, links: &mut Links, again: &mut bool) -> Option<Code> {
        for (k, i) in plan.insns.iter().enumerate() {
            plan.call[k] |=
                self.table[i.row as usize].is_none() || self.misfits.contains(&shape(i));
        }
        plan.connect();
        let target = self.isa.frontend_config();
        for _ in 0..=plan.insns.len() {
            self.context.clear();
            self.context.func.signature = clif::signature(plan.entries.len());
            let func = &mut self.context.func;
            *links = Links::new(2 * plan.blocks.len());
            match clif::translate(plan, links, func, &mut self.builder, &self.table, target) {
                Ok(()) => break,
                Err(Misfit(at)) if vector::set_apart(&plan.insns[at]) => {
                    self.builder = FunctionBuilderContext::new();
                    *again = true;
                    return None;
                }
                Err(Misfit(at)) => {
                    plan.call[at] = true;
                    if plan.mode.long64() && plan.mode.has(cpu::Mode::MASKED) {
                        self.misfits.insert(shape(&plan.insns[at]));
                    }
                    plan.connect();
                    self.builder = FunctionBuilderContext::new();
                }
            }
        }
        match self.context.compile(&*self.isa, &mut Default::default()) {
            Ok(c) if c.buffer.relocs().is_empty() => {
                let bytes = c.code_buffer().to_vec();
                let many = if plan.entries.len() > 1 { plan.entries.len() } else { 0 };
                let mut entries = vec![0; many];
                for at in c.buffer.debug_tags() {
                    for tag in at.tags {
                        if let DebugTag::User(n) = tag {
                            entries[*n as usize] = at.offset;
                        }
                    }
                }
                let prologue = if many > 0 { prologue(&bytes)? } else { 0 };
                Some(Code { bytes, prologue, entries })
            }
            Ok(_) => None,
            Err(e) => {
                debug_assert!(false, "{:?}", e.inner);
                None
            }
        }
    }
}

/// The length of what a function begins with on x86-64: it keeps RBP and makes room on the stack.
fn prologue(code: &[u8]) -> Option<usize> {
    match code {
        // push rbp; mov rbp, rsp; sub rsp, imm8 or imm32
        [0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, ..] => Some(8),
        [0x55, 0x48, 0x89, 0xe5, 0x48, 0x81, 0xec, ..] => Some(11),
        [0x55, 0x48, 0x89, 0xe5, ..] => Some(4),
        _ => None,
    }
}

/// What this host's processor has that Cranelift can use.
fn host_features() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    {
        let mut all = Vec::new();
        macro_rules! detect { ($($have:tt $name:literal;)*) => {
            $(if std::is_x86_feature_detected!($have) { all.push($name); })*
        } }
        detect! {
            "sse3" "has_sse3"; "ssse3" "has_ssse3"; "sse4.1" "has_sse41"; "sse4.2" "has_sse42";
            "popcnt" "has_popcnt"; "avx" "has_avx"; "avx2" "has_avx2"; "fma" "has_fma";
            "bmi1" "has_bmi1"; "bmi2" "has_bmi2"; "lzcnt" "has_lzcnt";
        }
        all
    }
    #[cfg(not(target_arch = "x86_64"))]
    Vec::new()
}

/// Regions that wait for the compiler's thread at most. Few: what finds no room is asked for again, the hottest soonest.
const QUEUE: usize = 12;

/// The compiler, wherever it runs.
pub enum Worker {
    Here(Box<Compiler>, Vec<Done>),
    Thread { to: Sender<Plan>, from: Receiver<Done>, ready: Arc<AtomicUsize> },
}

impl Worker {
    /// A worker, and the code that enters regions.
    pub fn new(background: bool) -> Result<(Worker, Vec<u8>), JitError> {
        let mut compiler = Compiler::new()?;
        let enter = compiler.enter()?;
        if !background {
            return Ok((Worker::Here(Box::new(compiler), Vec::new()), enter));
        }
        let (to, plans) = crossbeam_channel::bounded::<Plan>(QUEUE);
        let (results, from) = crossbeam_channel::unbounded();
        let ready = Arc::new(AtomicUsize::new(0));
        let count = ready.clone();
        let work = move || {
            // Guest code comes first where processors are few.
            let _ = rustix::process::nice(1);
            for plan in plans {
                if results.send(compiler.compile(plan)).is_err() {
                    return;
                }
                count.fetch_add(1, Release);
            }
        };
        std::thread::Builder::new().name("jit".into()).spawn(work).map_err(JitError::Thread)?;
        Ok((Worker::Thread { to, from, ready }, enter))
    }

    /// Whether there is something for [`Worker::take`].
    #[inline(always)]
    pub fn ready(&self) -> bool {
        match self {
            Worker::Here(_, done) => !done.is_empty(),
            Worker::Thread { ready, .. } => ready.load(Relaxed) != 0,
        }
    }
    pub fn take(&mut self) -> Option<Done> {
        match self {
            Worker::Here(_, done) => done.pop(),
            Worker::Thread { from, ready, .. } => {
                let d = from.try_recv().ok()?;
                ready.fetch_sub(1, Acquire);
                Some(d)
            }
        }
    }
    /// Whether a plan would be taken now.
    pub fn room(&self) -> bool {
        match self {
            Worker::Here(..) => true,
            Worker::Thread { to, .. } => !to.is_full(),
        }
    }
    /// Hands a plan over; gives it back if there is no room.
    pub fn submit(&mut self, plan: Plan) -> Result<(), Plan> {
        match self {
            Worker::Here(c, done) => {
                done.push(c.compile(plan));
                Ok(())
            }
            Worker::Thread { to, .. } => to.try_send(plan).map_err(|e| match e {
                TrySendError::Full(p) | TrySendError::Disconnected(p) => p,
            }),
        }
    }
}
