//! From a region's plan to Cranelift's form: blocks, edges, exits.
//!
//! Guest registers are variables (SSA names), loaded where they are first wanted: in a small loop before it, else in each
//! block whose way here is not the only one. Which of them are newer than their place in [`cpu::State`] is known at every
//! point, and so is how the status flags arose, so that
//! - a *side exit* (cold) stores just those, as they were before the current instruction, and lets tier 0 execute it;
//! - an *edge* to another block of the region stores what that block does not expect to be newer.
//!
//! Side exits and edges are written last, when all is known of the blocks.
//!
//! The native function gives a number, see [`leave`], or the address of the code that goes on ([`Clif::dispatch`]), which who
//! entered it calls next. Its convention is one that has it keep no registers. The core is in the pinned register, which is
//! nobody's to use for anything else.

use crate::lanes::X;
use crate::links::Links;
use crate::native::{self, Cx};
use crate::plan::{Plan, Succ};
use crate::softmmu::Window;
use cpu::{Core, Insn, Mode, State, Width};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    AbiParam, Block, BlockArg, Function, InstBuilder, InstructionData, MemFlagsData, Opcode,
    SigRef, Signature, Type, Value, ValueDef, types,
};
use cranelift_codegen::isa::{CallConv, TargetFrontendConfig};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext, Variable};
use std::mem::offset_of;
use ways::{Edge, Exit};

pub use status::{Arisen, Flags};

mod status;
mod ways;

/// What a region returns.
pub mod leave {
    /// Tier 0 executes what is at RIP.
    pub const SIDE: u64 = 0;
    /// Go on at RIP, wherever that is.
    pub const JUMP: u64 = 1;
    /// An exception waits to be delivered; the state is that before the instruction.
    pub const FAULT: u64 = 2;
    /// Something is to be looked at before the instruction at RIP.
    pub const EVENT: u64 = 3;
    /// What is not below this is the address of code to go on in.
    pub const CODE: u64 = 16;
}

/// A value of the translator: a constant, or a name with a bound.
#[derive(Clone, Copy, Debug)]
pub enum V {
    K(u64),
    /// A 64-bit name that is never above `max`.
    S(Value, u64),
}

/// What is known where a block ends.
#[derive(Clone)]
struct Known {
    flags: Flags,
    dirty: u64,
    stale: u64,
    windows: Vec<Window>,
}
impl Known {
    const NOTHING: Known =
        Known { flags: Flags::Stored, dirty: 0, stale: ALL, windows: Vec::new() };
}

/// How a block ends.
pub enum Term {
    Fall,
    Jump(i64),
    /// To `delta` if the value is not zero, else on.
    Branch(V, i64),
    Indirect(V),
}

/// 16 general registers, then the low halves of 16 vector registers.
pub const VARS: usize = 32;
const ALL: u64 = 0xffff_ffff;

/// The translator.
pub struct Clif<'b> {
    pub b: FunctionBuilder<'b>,
    pub plan: &'b Plan,
    links: &'b mut Links,
    vars: [Variable; VARS],
    left: Variable,
    /// RIP of the head.
    base: Variable,
    /// Registers that each small loop has to do with: who enters it loads them.
    looped: Vec<u64>,
    exits: Vec<Exit>,
    edges: Vec<Edge>,
    heads: Vec<Block>,
    wrote: Vec<u64>,
    needs_flags: Vec<bool>,
    sigs: Vec<(usize, bool, SigRef)>,
    /// The convention of helpers.
    conv: CallConv,
    /// Goes on at the address that is its parameter; the state is whole.
    dispatch: Option<Block>,
    // Of the current block.
    pub guest: usize,
    pub dirty: u64,
    /// The core, where it was asked for last.
    pinned: Option<((Option<Block>, usize), Value)>,
    /// Pages that were accessed in this block or on the one way to it.
    pub windows: Vec<Window>,
    /// Registers whose variables mean nothing here: the state has them.
    stale: u64,
    pub flags: Flags,
    flags_set: bool,
    known: [Option<V>; 16],
    known_x: [Option<X>; 16],
    pub term: Term,
    pub dead: bool,
    // Of the current instruction.
    delta: i64,
    pub next: i64,
    done: i64,
    exit: Option<Block>,
    before: (u64, Flags),
    /// It has changed something: it may not leave any more.
    pub changed: bool,
    /// It asked to leave too late, or for what this tier does not do: it must be called.
    pub misfit: bool,
    /// The region computes with the host's floating point.
    pub floats: bool,
    pub index: usize,
}

/// A translation that did not work: this instruction must be called instead.
pub struct Misfit(pub usize);

/// Signature of regions. One with several entries has a parameter that keeps them from being taken for unreachable; it is not
/// entered at its start.
pub fn signature(entries: usize) -> Signature {
    // Where there is a convention in which nothing is the caller's, that one.
    let free = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));
    let conv = if free { CallConv::Winch } else { CallConv::SystemV };
    let mut s = Signature::new(conv);
    if entries > 1 {
        s.params.push(AbiParam::new(types::I64));
    }
    s.returns.push(AbiParam::new(types::I64));
    s
}

pub const fn ty(w: Width) -> Type {
    match w {
        Width::W8 => types::I8,
        Width::W16 => types::I16,
        Width::W32 => types::I32,
        Width::W64 => types::I64,
    }
}

/// Flags of accesses to our own structures.
pub fn own() -> MemFlagsData {
    MemFlagsData::trusted()
}

fn state(at: usize) -> i32 {
    (offset_of!(Core, state) + at) as i32
}
pub fn gpr_at(n: usize) -> i32 {
    state(offset_of!(State, gpr) + 8 * n)
}
fn ymm_at(r: usize, half: usize) -> i32 {
    state(offset_of!(State, ymm) + 32 * r + 16 * half)
}
/// Type of a variable and its place in [`Core`].
fn place(n: usize) -> (Type, i32) {
    if n < 16 { (types::I64, gpr_at(n)) } else { (types::I8X16, ymm_at(n - 16, 0)) }
}
pub fn rip_at() -> i32 {
    state(offset_of!(State, rip))
}
fn lazy_at(field: usize) -> i32 {
    state(offset_of!(State, lazy) + field)
}
pub fn left_at() -> i32 {
    offset_of!(Core, left) as i32
}

/// The function that enters a region from code with the host's own convention: `(core, region) -> u64`.
pub fn enter(func: &mut Function, fcx: &mut FunctionBuilderContext, target: TargetFrontendConfig) {
    func.signature = Signature::new(target.default_call_conv);
    func.signature.params.extend([AbiParam::new(types::I64); 2]);
    func.signature.returns.push(AbiParam::new(types::I64));
    let mut b = FunctionBuilder::new(func, fcx);
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    let [core, code] = [0, 1].map(|n| b.block_params(entry)[n]);
    let sig = b.import_signature(signature(1));
    // The host wants its register back.
    let kept = b.ins().get_pinned_reg(types::I64);
    let core = b.ins().iadd_imm_s(core, i64::from(native::BIAS));
    b.ins().set_pinned_reg(core);
    let (go, end) = (b.create_block(), b.create_block());
    let next = b.append_block_param(go, types::I64);
    b.ins().jump(go, &[code.into()]);
    b.switch_to_block(go);
    let call = b.ins().call_indirect(sig, next, &[]);
    let out = b.inst_results(call)[0];
    let done = b.ins().icmp_imm_u(IntCC::UnsignedLessThan, out, leave::CODE as i64);
    b.ins().brif(done, end, &[], go, &[out.into()]);
    b.switch_to_block(end);
    b.ins().set_pinned_reg(kept);
    b.ins().return_(&[out]);
    b.seal_all_blocks();
    b.finalize(target);
}

/// Translates a plan into `func`.
pub fn translate(
    plan: &Plan,
    links: &mut Links,
    func: &mut Function,
    fcx: &mut FunctionBuilderContext,
    table: &[Option<crate::words::Meaning>],
    target: TargetFrontendConfig,
) -> Result<(), Misfit> {
    let conv = target.default_call_conv;
    let mut b = FunctionBuilder::new(func, fcx);
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    b.ensure_inserted_block();
    let number = b.block_params(entry).first().copied();
    let vars = std::array::from_fn(|n| b.declare_var(place(n).0));
    let left = b.declare_var(types::I64);
    let base = b.declare_var(types::I64);
    let first = b.create_block();
    b.ins().jump(first, &[]);
    let heads = plan.blocks.iter().map(|_| b.create_block()).collect();
    let many = plan.blocks.len();
    let mut c = Clif {
        b,
        plan,
        links,
        vars,
        left,
        base,
        looped: vec![0; plan.loops.len()],
        exits: Vec::new(),
        edges: Vec::new(),
        heads,
        wrote: vec![0; many],
        needs_flags: vec![false; many],
        sigs: Vec::new(),
        conv,
        dispatch: None,
        guest: 0,
        dirty: 0,
        pinned: None,
        windows: Vec::new(),
        stale: 0,
        flags: Flags::Stored,
        flags_set: false,
        known: [None; 16],
        known_x: [None; 16],
        floats: false,
        term: Term::Fall,
        dead: false,
        delta: 0,
        next: 0,
        done: 0,
        exit: None,
        before: (0, Flags::Stored),
        changed: false,
        misfit: false,
        index: 0,
    };
    let mut ends = vec![Known::NOTHING; many];
    for n in 0..many {
        let inherited = plan.blocks[n].only.map_or(Known::NOTHING, |p| ends[p].clone());
        c.block(n, inherited, table)?;
        ends[n] = c.known_after(n);
    }
    c.finish(first, number);
    c.b.finalize(target);
    Ok(())
}

impl Clif<'_> {
    fn block(
        &mut self,
        n: usize,
        inherited: Known,
        table: &[Option<crate::words::Meaning>],
    ) -> Result<(), Misfit> {
        let plan = self.plan;
        let g = &plan.blocks[n];
        self.b.switch_to_block(self.heads[n]);
        let Known { flags, dirty, stale, windows } = inherited;
        // Who enters a loop loads what it wants.
        (self.stale, self.dirty) = if g.loop_.is_some() { (0, 0) } else { (stale, dirty) };
        self.guest = n;
        (self.flags, self.flags_set, self.dead) = (flags, false, false);
        self.forget();
        self.windows = windows;
        self.term = Term::Fall;
        self.delta = g.delta;
        for (k, at) in g.insns.clone().enumerate() {
            let i = &plan.insns[at];
            self.next = self.delta + i.len as i64;
            self.done = k as i64;
            self.exit = None;
            self.before = (self.dirty, self.flags);
            (self.changed, self.misfit, self.index) = (false, false, at);
            match table[i.row as usize] {
                Some(meaning) if !plan.call[at] => {
                    let Ok(()) = meaning(self, i);
                    if self.misfit {
                        return Err(Misfit(at));
                    }
                }
                _ => self.call_out(i, at),
            }
            self.delta = self.next;
            if self.dead {
                break;
            }
        }
        self.wrote[n] = self.dirty;
        if !self.flags_set {
            self.needs_flags[n] = true;
        }
        if self.dead {
            // What comes after an exit for certain is never reached.
            let none = self.b.ins().iconst(types::I64, 0);
            self.b.ins().return_(&[none]);
            return Ok(());
        }
        let taken = |d: i64| g.taken.filter(|&(at, _)| at == d).map_or(Succ::Out, |t| t.1);
        match std::mem::replace(&mut self.term, Term::Fall) {
            Term::Fall => {
                let e = self.edge(g.fall, self.next);
                self.b.ins().jump(e, &[]);
            }
            Term::Jump(d) => {
                let e = self.edge(taken(d), d);
                self.b.ins().jump(e, &[]);
            }
            Term::Branch(V::K(k), d) => {
                let e = if k != 0 { self.edge(taken(d), d) } else { self.edge(g.fall, self.next) };
                self.b.ins().jump(e, &[]);
            }
            Term::Branch(V::S(c, _), d) => {
                let (yes, no) = (self.edge(taken(d), d), self.edge(g.fall, self.next));
                self.b.ins().brif(c, yes, &[], no, &[]);
            }
            Term::Indirect(to) => {
                let to = self.val(to);
                for &(delta, block) in &g.returns {
                    let there = self.rip(delta);
                    let there = self.val(there);
                    let same = self.b.ins().icmp(IntCC::Equal, to, there);
                    let e = self.edge(Succ::Block(block), delta);
                    let other = self.b.create_block();
                    self.b.ins().brif(same, e, &[], other, &[]);
                    self.b.switch_to_block(other);
                }
                let e = self.edge(Succ::Out, 0);
                self.b.ins().jump(e, &[]);
                if let Some(e) = self.edges.last_mut() {
                    e.at = Some(to);
                }
            }
        }
        Ok(())
    }

    fn edge(&mut self, to: Succ, delta: i64) -> Block {
        let block = self.b.create_block();
        let (from, dirty, stale, flags) = (self.guest, self.dirty, self.stale, self.flags);
        self.edges.push(Edge { block, from, to, delta, at: None, dirty, stale, flags });
        block
    }

    /// What a block after block `n`, which is not come to otherwise, can rely on.
    fn known_after(&self, n: usize) -> Known {
        let (mut stale, mut dirty) = (self.stale, self.dirty);
        if let Some(l) = self.plan.blocks[n].loop_ {
            // More will be there; what is newer is stored on the way out.
            (stale, dirty) = (stale | !self.looped[l], 0);
        }
        Known { flags: self.flags, dirty, stale, windows: self.windows.clone() }
    }
    /// Whether block `to` goes on with what block `from` has not stored.
    fn passes_dirty(&self, from: usize, to: usize) -> bool {
        let (a, b) = (&self.plan.blocks[from], &self.plan.blocks[to]);
        b.only == Some(from) && a.loop_.is_none() && b.loop_.is_none()
    }
    /// Registers that a loop has in variables all the way round.
    fn wanted(&self, l: usize) -> u64 {
        self.plan.loops[l].iter().fold(self.looped[l], |all, &b| all | self.wrote[b])
    }
    /// Registers that may be newer than the state when block `n` begins: those its loop writes. Known once all is translated.
    fn carried(&self, n: usize) -> u64 {
        let Some(l) = self.plan.blocks[n].loop_ else { return 0 };
        self.plan.loops[l].iter().fold(0, |all, &b| all | self.wrote[b])
    }

    // Variables.

    pub fn val(&mut self, v: V) -> Value {
        match v {
            V::K(k) => self.b.ins().iconst(types::I64, k as i64),
            V::S(v, _) => v,
        }
    }
    /// The low bits of `v` as a value of the width's own type.
    pub fn narrow(&mut self, v: V, w: Width) -> Value {
        match (v, w) {
            (V::K(k), _) => {
                let k = k & w.mask();
                self.b.ins().iconst(ty(w), k as i64)
            }
            (V::S(v, _), Width::W64) => v,
            (V::S(v, _), _) => self.b.ins().ireduce(ty(w), v),
        }
    }
    /// A value of the width's own type, extended with zeroes.
    pub fn wide(&mut self, v: Value, w: Width) -> V {
        let v = if w == Width::W64 { v } else { self.b.ins().uextend(types::I64, v) };
        V::S(v, w.mask())
    }
    /// 0 or 1 out of a comparison.
    pub fn bit(&mut self, v: Value) -> V {
        V::S(self.b.ins().uextend(types::I64, v), 1)
    }
    pub fn get_gpr(&mut self, n: usize) -> V {
        let n = n & 15;
        self.want(n);
        if let Some(v) = self.known[n] {
            return v;
        }
        let v = V::S(self.b.use_var(self.vars[n]), u64::MAX);
        self.known[n] = Some(v);
        v
    }
    pub fn set_gpr(&mut self, n: usize, v: V) {
        let n = n & 15;
        self.changed = true;
        self.known[n] = Some(v);
        let v = self.val(v);
        self.define(n, v);
    }
    /// Gives a variable a new value.
    fn define(&mut self, n: usize, v: Value) {
        self.note_use(1 << n);
        self.b.def_var(self.vars[n], v);
        self.dirty |= 1 << n;
        self.stale &= !(1 << n);
    }
    /// The current loop has to do with these.
    fn note_use(&mut self, which: u64) {
        if let Some(l) = self.plan.blocks[self.guest].loop_ {
            self.looped[l] |= which;
        }
    }
    /// Has a variable ready.
    fn want(&mut self, n: usize) {
        self.note_use(1 << n);
        if self.stale & 1 << n != 0 {
            self.fetch(n);
        }
    }
    /// Takes a variable from the state.
    fn fetch(&mut self, n: usize) {
        let (t, at) = place(n);
        let v = self.get_state(t, at);
        self.b.def_var(self.vars[n], v);
        self.stale &= !(1 << n);
    }
    /// Half of a vector register. The upper halves stay in the state.
    pub fn get_half(&mut self, r: usize, half: usize) -> X {
        if half == 1 {
            return X::S(self.get_state(types::I8X16, ymm_at(r, 1)));
        }
        let n = 16 + r;
        self.want(n);
        if let Some(v) = self.known_x[r] {
            return v;
        }
        let v = X::S(self.b.use_var(self.vars[n]));
        self.known_x[r] = Some(v);
        v
    }
    pub fn set_half(&mut self, r: usize, half: usize, x: X) {
        self.changed = true;
        let v = self.xval(x);
        if half == 1 {
            self.put_state(v, ymm_at(r, 1));
            return;
        }
        let n = 16 + r;
        self.known_x[r] = Some(x);
        self.define(n, v);
    }
    /// The values of registers are unknown from here: a join of two paths, or a new block.
    pub fn forget(&mut self) {
        (self.known, self.known_x) = ([None; 16], [None; 16]);
        self.windows.clear();
    }
    /// Stores these registers, and the flags if they are only known.
    fn spill(&mut self, dirty: u64, f: Flags) {
        for n in 0..VARS {
            if dirty & 1 << n != 0 {
                let v = self.b.use_var(self.vars[n]);
                self.put_state(v, place(n).1);
            }
        }
        self.store_flags(f);
    }
    /// The linear address of the code at `delta` from the region's head.
    pub fn rip(&mut self, delta: i64) -> V {
        let base = self.b.use_var(self.base);
        let v = if delta == 0 { base } else { self.b.ins().iadd_imm_s(base, delta) };
        if self.plan.mode.long64() {
            return V::S(v, u64::MAX);
        }
        let v = self.b.ins().band_imm_u(v, 0xffff_ffff);
        V::S(v, 0xffff_ffff)
    }

    // Calls.

    /// Calls function `at` of [`Cx`] with the core, the context and `args`.
    pub fn call(&mut self, at: usize, args: &[Value], result: bool) -> Option<Value> {
        // All arguments are 64-bit numbers.
        let n = args.len();
        let sig = match self.sigs.iter().find(|s| (s.0, s.1) == (n, result)) {
            Some(s) => s.2,
            None => {
                let mut s = Signature::new(self.conv);
                s.params.extend((0..n + 2).map(|_| AbiParam::new(types::I64)));
                if result {
                    s.returns.push(AbiParam::new(types::I64));
                }
                let r = self.b.import_signature(s);
                self.sigs.push((n, result, r));
                r
            }
        };
        let cx = self.cx();
        let f = self.b.ins().load(types::I64, own().with_readonly(), cx, at as i32);
        let core = self.core();
        let mut all = vec![self.b.ins().iadd_imm_s(core, -i64::from(native::BIAS)), cx];
        all.extend_from_slice(args);
        let call = self.b.ins().call_indirect(sig, f, &all);
        result.then(|| self.b.inst_results(call)[0])
    }

    /// Calls the code whose address is at `at` in the context, which keeps all registers and gives nothing.
    pub fn call_keeping(&mut self, at: i32, args: &[Value]) {
        let mut s = Signature::new(CallConv::PreserveAll);
        s.params.extend(args.iter().map(|_| AbiParam::new(types::I64)));
        let sig = self.b.import_signature(s);
        let cx = self.cx();
        let f = self.b.ins().load(types::I64, own().with_readonly(), cx, at);
        self.b.ins().call_indirect(sig, f, args);
    }

    /// Has the interpreter do the current instruction: everything goes through the state.
    fn call_out(&mut self, i: &Insn, index: usize) {
        // A loop that carries registers has no calls (see `plan`).
        let dirty = self.dirty;
        self.note_flags_of(self.flags);
        self.spill(dirty, self.flags);
        let next = self.rip(self.next);
        let next = self.val(next);
        self.put_state(next, rip_at());
        let left = self.b.use_var(self.left);
        let left = self.b.ins().iadd_imm_s(left, -self.done);
        self.put_state(left, left_at());
        // The plan's list of instructions stays where it is as long as the region.
        let (insn, len) = (
            self.b.ins().iconst(types::I64, &raw const self.plan.insns[index] as i64),
            self.b.ins().iconst(types::I64, i.len as i64),
        );
        let last =
            self.plan.blocks[self.guest].end && index + 1 == self.plan.blocks[self.guest].insns.end;
        let helper = if last { offset_of!(Cx, finish) } else { offset_of!(Cx, interpret) };
        let r = self.call(helper, &[insn, len], true);
        let Some(r) = r else { return };
        if last {
            self.end_after(r);
            let nowhere = self.b.create_block();
            self.b.switch_to_block(nowhere);
            self.flags_set = true;
            self.dead = true;
            return;
        }
        self.leave_unless_zero(r);
        // What was carried in is in the state now, and so is everything else.
        self.stale = ALL;
        self.dirty = 0;
        self.forget();
        self.flags = Flags::Stored;
        self.flags_set = true;
        self.changed = true;
    }
    /// The place of the TLB entry for linear address `la`, as a pointer and an offset.
    pub fn tlb_entry(&mut self, la: Value, set: usize) -> (Value, i32) {
        let i = self.b.ins().ushr_imm_u(la, i64::from(native::TLB_SHIFT));
        let i = self.b.ins().band_imm_u(i, native::TLB_MASK);
        let core = self.core();
        (self.b.ins().iadd(core, i), native::tlb_at(set) - native::BIAS)
    }

    /// Leaves the instruction to tier 0 for good.
    pub fn give_up(&mut self) {
        self.exit_if(V::K(1));
    }
    /// The core's address plus [`native::BIAS`]. Each instruction asks anew: it has its register anyway, and no other may be
    /// kept for it.
    fn core(&mut self) -> Value {
        let here = (self.b.current_block(), self.index);
        if let Some((at, v)) = self.pinned
            && at == here
        {
            return v;
        }
        let v = self.b.ins().get_pinned_reg(types::I64);
        self.pinned = Some((here, v));
        v
    }
    /// A name and a constant whose sum a value is.
    pub fn parts(&self, v: Value) -> (Value, i64) {
        let dfg = &self.b.func.dfg;
        let parts = |v: Value| match dfg.value_def(dfg.resolve_aliases(v)) {
            ValueDef::Result(inst, _) => Some(dfg.insts[inst]),
            _ => None,
        };
        let constant = |v: Value| match parts(v) {
            Some(InstructionData::UnaryImm { opcode: Opcode::Iconst, imm }) => Some(imm.bits()),
            _ => None,
        };
        match parts(v) {
            Some(InstructionData::Binary { opcode: Opcode::Iadd, args: [a, b] }) => {
                constant(b).map_or((v, 0), |c| (a, c))
            }
            _ => (v, 0),
        }
    }
    /// `v + k`, where `v` may be a sum itself.
    pub fn plus(&mut self, v: Value, k: i64) -> Value {
        let (v, c) = self.parts(v);
        let k = k.wrapping_add(c);
        if k == 0 { v } else { self.b.ins().iadd_imm_s(v, k) }
    }
    pub fn cx(&mut self) -> Value {
        let at = self.get_state(types::I64, native::context_at());
        self.b.ins().iadd_imm_s(at, -i64::from(native::CONTEXT_BIAS))
    }
    /// What is in the core at this offset.
    pub fn get_state(&mut self, t: Type, at: i32) -> Value {
        let core = self.core();
        self.b.ins().load(t, own(), core, at - native::BIAS)
    }
    pub fn put_state(&mut self, v: Value, at: i32) {
        let core = self.core();
        self.b.ins().store(own(), v, core, at - native::BIAS);
    }
    pub fn flags_set(&self) -> bool {
        self.flags_set
    }
    pub fn put_flags_set(&mut self, set: bool) {
        self.flags_set = set;
    }
    /// Which registers only the state has.
    pub fn stale(&self) -> u64 {
        self.stale
    }
    /// Two ways meet: on the other one these were stale, and here those are. Gives what the other one has to load: what is
    /// newer here than in the state.
    pub fn meet(&mut self, before: u64) -> u64 {
        let load = before & !self.stale & self.dirty;
        self.stale = before & !load;
        load
    }
    pub fn load_these(&mut self, which: u64) {
        (0..VARS).filter(|n| which & 1 << n != 0).for_each(|n| self.fetch(n));
    }
    pub fn mode(&self) -> Mode {
        self.plan.mode
    }
    pub fn jump_to(&mut self, b: Block, args: &[Value]) {
        let args: Vec<BlockArg> = args.iter().map(|&v| v.into()).collect();
        self.b.ins().jump(b, &args);
    }
}
