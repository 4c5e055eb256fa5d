//! The baseline tier: native code for one block at a time, made in one pass. For x86-64 hosts.
//!
//! Code has the convention of regions: all guest state is in the core where a block begins and ends, so that blocks of this
//! tier, regions and tier 0 follow each other freely. A block has two entries: one for who comes from outside, with nothing
//! but the core in its register, and one behind it for other blocks of this tier.

mod arith;
pub mod asm;
mod bits;
mod body;
mod copies;
pub mod far;
mod flags;
mod frames;
mod memory;
mod miss;
pub mod outer;
pub mod region;
pub mod search;
mod sem;
mod system;
pub mod vector;
mod ways;
pub mod x87;

use crate::clif::{leave, rip_at};
use crate::native::{self, Cx};
use ::memory::PAGE;
use asm::{
    Alu, Asm, BELOW, EQUAL, Hole, Mark, NEGATIVE, NOT_EQUAL, RAX, RCX, RDI, RDX, RSI, RSP, Rm,
};
pub use body::CORE;
use body::{Body, Term, V, come_in, context, core, forget_stack, load_left, store_left};
use cpu::{Insn, Mode, Width};
use far::Far;
use frames::Kind;
pub use frames::leaving;
use miss::call;
pub use miss::{Miss, THUNKS, thunks};
pub use sem::{Meaning, table};
use std::mem::offset_of;
use ways::Ways;

/// Whether this host is one for which there is an emitter.
pub const EMITS: bool = cfg!(target_arch = "x86_64");

/// A block's code, to be put anywhere.
pub struct Emitted {
    pub asm: Asm,
    /// Where blocks of this tier enter it.
    pub inner: u32,
    /// Jumps to places in RAM: until they are set they lead back to the engine.
    pub links: Vec<(Hole, u64)>,
    /// The code has pointers to the block's instructions.
    pub calls: bool,
}

/// A block that is to be emitted.
pub struct Source {
    pub insns: Box<[Insn]>,
    pub mode: Mode,
    /// RAM offset of its first byte.
    pub at: u64,
    /// The host's address of the page that its only instruction goes on in.
    pub second: Option<u64>,
    /// A place in another page that it may go on at: how far it is from the block, and where it is in RAM now, less than 2 GiB away.
    pub far: Option<(i32, u64)>,
    /// After its last instruction the engine has to look what is due.
    pub end: bool,
    /// The number of its counter.
    pub id: u32,
    /// The engine is told when that has come down to 0.
    pub hot: bool,
    /// All code of its mode is this tier's: its CALLs and RETs use the host's stack (see [`frames`]), the count is in a register
    /// from where native code is entered on, and while code runs, the state has the address of its page in place of RIP, to which
    /// whoever leaves adds where in the page that is.
    pub alone: bool,
}

/// Whether the host has all of these instruction sets, which must be among those of [`host`].
macro_rules! host_has {
    ($($set:tt),*) => {{
        #[cfg(target_arch = "x86_64")]
        let all = true $(&& std::is_x86_feature_detected!($set))*;
        #[cfg(not(target_arch = "x86_64"))]
        let all = false;
        all
    }};
}
use host_has;

/// The instruction sets of the host by which its code differs, as far as it has them: all that [`host_has`]
/// and [`vector`] ask for.
pub fn host() -> String {
    macro_rules! those { ($($set:tt)*) => { [$(($set, host_has!($set))),*] } }
    let all = those!("popcnt" "lzcnt" "bmi1" "bmi2" "sse3" "ssse3" "sse4.1" "sse4.2" "aes" "pclmulqdq" "sha" "avx" "avx2" "fma"
        "f16c" "vaes" "vpclmulqdq" "gfni");
    all.iter().filter(|s| s.1).map(|s| s.0).collect::<Vec<_>>().join(" ")
}

/// Whether the host counts bits, and takes them out of words.
fn has_counts() -> bool {
    host_has!("popcnt", "lzcnt", "bmi1")
}

/// The code that enters native code, in place of [`crate::clif::enter`]: it keeps what the host's convention wants kept, which
/// this tier uses freely. `(core, code) -> u64`
pub fn enter() -> Vec<u8> {
    const KEPT: [u8; 6] = [3, 5, 12, 13, 14, 15];
    let mut a = Asm::default();
    KEPT.iter().for_each(|r| a.push(*r));
    a.lea(Width::W64, CORE, Rm::M(RDI, native::BIAS));
    a.mov(RAX, RSI);
    let words = frames::begin(&mut a);
    let next = a.here();
    forget_stack(&mut a);
    a.call(Rm::R(RAX));
    // Regions do not go on by themselves.
    a.alu_constant(Alu::Cmp, Width::W64, Rm::R(RAX), leave::CODE as i32);
    let done = a.jcc(BELOW);
    a.jmp_back(next);
    a.land(done);
    a.lea(Width::W64, RSP, Rm::M(RSP, 8 * words));
    KEPT.iter().rev().for_each(|r| a.pop(*r));
    a.ret();
    a.code
}

/// Where in the context a block's counter is; too far for a distance of one byte.
fn counter_at(id: u32) -> i32 {
    native::HEAT + 4 * (id as usize % native::HEATS) as i32
}
/// What stands in the code where a block's counter is marked.
pub fn counter_distance(id: u32) -> u32 {
    let Rm::M(_, distance) = context(counter_at(id)) else { return 0 };
    distance as u32
}

/// A call from where the stack is 8 bytes off, as it is right behind a return address. The host's flags stay.
fn aligned(a: &mut Asm, call: impl FnOnce(&mut Asm)) {
    a.lea(Width::W64, RSP, Rm::M(RSP, -8));
    call(a);
    a.lea(Width::W64, RSP, Rm::M(RSP, 8));
}

/// The writer of one block.
struct Writer<'a> {
    body: Body<'a>,
    source: &'a Source,
    ways: Ways,
    calls: bool,
    /// Jumps to where the block is left to tier 0.
    others: Vec<Hole>,
    /// How far the block is from what the state has for RIP.
    origin: i32,
    /// The jump to where the next page is put into the TLB, and where that goes on.
    second: Option<(Hole, u32)>,
}

/// Emits a block. `table`: see [`table`].
pub fn emit(source: &Source, table: &[Option<Meaning>]) -> Emitted {
    let mut w = Writer {
        body: Body::new(&source.insns, source.mode, source.alone),
        source,
        ways: Ways::default(),
        calls: false,
        others: Vec::new(),
        origin: if source.alone { (source.at % PAGE) as i32 } else { 0 },
        second: None,
    };
    w.body.delta = w.origin;
    if !source.alone {
        come_in(&mut w.body.asm);
    }
    let inner = w.body.asm.here();
    let n = source.insns.len() as i32;
    w.body.count(-n);
    let short = w.body.asm.jcc(NEGATIVE);
    w.others.push(short);
    if let Some(second) = source.second {
        w.check_second(second);
    }
    w.body.asm.step(true, Width::W32, context(counter_at(source.id)));
    w.body.asm.mark(4, Mark::Counter);
    let hot = source.hot.then(|| w.body.asm.jcc(EQUAL));
    let mut over = false;
    for (k, i) in source.insns.iter().enumerate() {
        w.body.index = k;
        w.body.next = w.body.delta + i32::from(i.len);
        let last = k + 1 == source.insns.len() && source.end;
        over = last && w.body.flip_access(i);
        if !over && !table[i.row as usize].is_some_and(|m| w.body.one(m)) {
            over = call_out(&mut w.body, &mut w.ways.rets, i, last);
            w.calls = true;
        }
        w.body.delta = w.body.next;
    }
    if !over {
        w.end();
    }
    w.body.asm.cold();
    w.body.write_slow();
    w.body.write_exits();
    w.find_second();
    // The rest of a budget is for tier 0.
    std::mem::take(&mut w.others).into_iter().for_each(|h| w.body.asm.land(h));
    w.body.put_place(w.origin, n);
    w.body.leave(leave::SIDE);
    if let Some(hot) = hot {
        w.body.asm.land(hot);
        w.body.put_place(w.origin, n);
        w.body.leave(leave::EVENT);
    }
    w.ways.write(&mut w.body);
    Emitted { asm: w.body.asm, inner, links: w.ways.links, calls: w.calls }
}

/// Has the interpreter do the current instruction; gives whether the block ends with that.
fn call_out(b: &mut Body<'_>, rets: &mut Vec<Hole>, i: &Insn, last: bool) -> bool {
    b.stored_flags();
    b.clobber();
    b.forget_all();
    b.call_beside_unit(i);
    let undone = (b.until - b.index) as i32;
    b.put_place(b.next, undone);
    b.asm.marked(RDX, &raw const *i as u64, Mark::Insn(b.index as u32));
    b.asm.constant(RCX, i.len.into());
    let helper = if last { offset_of!(Cx, finish) } else { offset_of!(Cx, interpret) };
    if b.alone {
        store_left(&mut b.asm);
    }
    aligned(&mut b.asm, |a| call(a, helper));
    b.asm.test(Width::W64, Rm::R(RAX), RAX);
    rets.push(b.asm.jcc(NOT_EQUAL));
    if b.alone || last {
        load_left(&mut b.asm);
        forget_stack(&mut b.asm);
    }
    if last {
        frames::reset(&mut b.asm);
        b.asm.jmp_to(context(native::AFTER));
        return true;
    }
    // The helper has put RIP and the count right.
    b.put_place(-b.next, -undone);
    false
}

impl Writer<'_> {
    /// Leaves the block to tier 0 unless the next page is at this address of the host's.
    fn check_second(&mut self, host: u64) {
        let a = &mut self.body.asm;
        let again = a.here();
        a.load(Width::W64, RAX, core(rip_at()));
        a.alu_constant(Alu::Or, Width::W64, Rm::R(RAX), PAGE as i32 - 1);
        a.alu_constant(Alu::Add, Width::W64, Rm::R(RAX), 1);
        let [other, moved] = self.body.same_page(RAX, RDX, host);
        self.others.push(moved);
        self.second = Some((other, again));
    }
    /// Puts the next page into the TLB.
    fn find_second(&mut self) {
        let Some((other, again)) = self.second else { return };
        let a = &mut self.body.asm;
        a.land(other);
        a.mov(RDX, RAX);
        aligned(a, |a| call(a, offset_of!(Cx, find)));
        a.test(Width::W32, Rm::R(RAX), RAX);
        self.others.push(a.jcc(NOT_EQUAL));
        a.jmp_back(again);
    }

    fn end(&mut self) {
        let b = &mut self.body;
        let (flags, next) = (b.now.flags, i64::from(b.next));
        let term = match b.now.term {
            Term::Branch(V::K(k), d) => Term::Jump(if k != 0 { d } else { next }),
            Term::Fall => Term::Jump(next),
            other => other,
        };
        b.pinned = match term {
            Term::Branch(v, _) | Term::Indirect(v) => v.host().map_or(0, |h| 1 << h),
            _ => 0,
        };
        b.store_flags(flags);
        let last = self.source.insns.last().filter(|_| b.alone);
        let kind = last.map_or(Kind::Other, frames::kind);
        match term {
            Term::Branch(c, d) => {
                let cond = b.branch_on(c);
                let taken = b.asm.jcc(cond);
                let near = self.near(d).filter(|_| self.source.alone);
                self.ways.links.extend(near.map(|at| (taken, at)));
                self.go(next);
                if near.is_none() {
                    self.body.asm.land(taken);
                    self.go(d);
                }
            }
            Term::Indirect(to) => {
                let h = b.reg(to);
                if kind == Kind::Call {
                    b.push_frame(next as i32);
                }
                if kind != Kind::Ret {
                    b.asm.store(Width::W64, core(rip_at()), h);
                }
                match kind {
                    Kind::Ret => self.ways.astray.push((b.ret_by_frame(h), h)),
                    Kind::Other => self.ways.search.push(b.asm.jmp()),
                    Kind::Call => {
                        b.asm.call(context(native::search_at(b.mode)));
                        self.behind_call(next);
                    }
                }
            }
            Term::Jump(d) if kind == Kind::Call => {
                if let Some(far) = self.far(d) {
                    far.call(&mut self.body, &mut self.ways, next as i32);
                    return self.behind_call(next);
                }
                self.body.push_frame(next as i32);
                self.place(d);
                let hole = self.body.asm.call_near();
                self.lead(hole, d);
                self.behind_call(next);
            }
            Term::Jump(d) => self.go(d),
            Term::Fall => {}
        }
    }
    /// Goes to a place so far from the block's start.
    fn go(&mut self, delta: i64) {
        if let Some(far) = self.far(delta) {
            return far.go(&mut self.body, &mut self.ways);
        }
        self.place(delta);
        let hole = self.body.asm.jmp();
        self.lead(hole, delta);
    }
    /// Puts RIP there, unless the state has that already.
    fn place(&mut self, delta: i64) {
        if !self.source.alone || self.near(delta).is_none() {
            self.body.put_far(delta);
        }
    }
    /// Where a place is in another page, if that is known.
    fn far(&self, delta: i64) -> Option<Far> {
        let (d, at) = self.source.far?;
        let far = Far { delta: d.checked_add(self.origin)?, at, from: Some(self.source.at) };
        (i64::from(far.delta) == delta).then_some(far)
    }
    /// Where a place is in this page.
    fn near(&self, delta: i64) -> Option<u64> {
        let at = self.source.at;
        let near = (at % PAGE) as i64 + delta - i64::from(self.origin);
        (0..PAGE as i64).contains(&near).then(|| at / PAGE * PAGE + near as u64)
    }
    /// Where the callee comes back to.
    fn behind_call(&mut self, next: i64) {
        let near = self.near(next).is_some();
        frames::pop(&mut self.body.asm, near);
        let hole = self.body.asm.jmp();
        self.lead(hole, next);
    }
    fn lead(&mut self, hole: Hole, delta: i64) {
        match self.near(delta) {
            Some(at) => self.ways.links.push((hole, at)),
            None => self.ways.search.push(hole),
        }
    }
}
