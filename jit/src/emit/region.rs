//! A region's code by the baseline tier: blocks that know what the ones before them have in registers, and go to each other
//! without a look at RIP or at what the flags are.
//!
//! Guest registers are written through as in single blocks. Where ways join, what is in registers is agreed upon: who comes
//! otherwise loads what is missing. RIP stays the address of the page of the region's head until the region is left.

use super::asm::{Asm, Hole, NEGATIVE, RDX, Rm};
use super::body::{Body, Now, Term, V, WINDOWS, core};
use super::copies::Copies;
use super::far::Far;
use super::flags::Flags;
use super::frames::{self, Kind};
use super::ways::Ways;
use super::{Meaning, call_out, vector};
use crate::clif::{gpr_at, rip_at};
use crate::plan::{Guest, Plan, Succ};
use cpu::{Insn, Opnd, Width};
use memory::PAGE;

/// A region's code, to be put anywhere.
pub struct Emitted {
    pub asm: Asm,
    /// Where it is entered.
    pub entries: Vec<u32>,
    /// Jumps to places in RAM: until they are set they lead back to the engine.
    pub links: Vec<(Hole, u64)>,
    /// The code has pointers to the plan's instructions.
    pub calls: bool,
}

/// Where a way out of a block leads.
#[derive(Clone, Copy)]
enum To {
    Block(usize),
    /// So far from RIP.
    Out(i64),
}
/// A jump, and what is known where it is taken.
struct Edge {
    hole: Hole,
    from: usize,
    now: Now,
    to: To,
}

struct Writer<'a> {
    body: Body<'a>,
    plan: &'a Plan,
    calls: bool,
    ways: Ways,
    /// Where blocks are, and what they know at their start, once they are there.
    labels: Vec<(u32, Now)>,
    /// The way into the next block from the one before it.
    fall: Option<(usize, Now)>,
    /// Jumps to blocks that are not there yet.
    ahead: Vec<Edge>,
    /// Jumps that have something to do on their way.
    stubs: Vec<Edge>,
    /// Loops around the current block: their last blocks, and where they keep guest registers.
    loops: Vec<(usize, Copies)>,
    /// For each block, where the chain ends that it is part of: the count at its head is for all of it.
    until: Vec<usize>,
}

/// Registers for what loops keep: those first that nothing else asks for by name.
const KEPT: [u8; 8] = [3, 8, 9, 10, 11, 6, 7, RDX];
/// So many guest registers are kept where ways join.
const MOST: u32 = 8;

/// Guest registers that an instruction reads, by its operands.
fn reads(i: &Insn) -> u16 {
    let bit = |n: u8| if n < 16 { 1 << n } else { 0 };
    let all = i.op.iter().fold(bit(i.base) | bit(i.index), |all, o| match o {
        Opnd::Gpr(n) => all | bit(*n),
        _ => all,
    });
    if i.iced().op_code().is_stack_instruction() { all | 1 << 4 } else { all }
}

/// Where each block's chain ends, as an index of instructions: blocks of a chain have no other way in than from the one before
/// them, which mostly goes on there.
fn chains(plan: &Plan) -> Vec<usize> {
    let blocks = &plan.blocks;
    let mut until: Vec<usize> = blocks.iter().map(|g| g.insns.end).collect();
    for n in (1..blocks.len()).rev() {
        let (p, g) = (&blocks[n - 1], &blocks[n]);
        let on = g.only == Some(n - 1) && g.page == p.page;
        if on && g.heat >= p.heat / 2 {
            until[n - 1] = until[n];
        }
    }
    until
}

/// Emits a region.
pub fn emit(plan: &Plan, table: &[Option<Meaning>]) -> Emitted {
    let mut w = Writer {
        body: Body::new(&plan.insns, plan.mode, true),
        plan,
        calls: false,
        ways: Ways::default(),
        labels: Vec::new(),
        fall: None,
        ahead: Vec::new(),
        stubs: Vec::new(),
        loops: Vec::new(),
        until: chains(plan),
    };
    for n in 0..plan.blocks.len() {
        w.block(n, table);
    }
    let mut entries = Vec::new();
    for &n in &plan.entries {
        entries.push(w.body.asm.here());
        // Whoever comes here has its page there.
        w.body.put_place(-w.page(n), 0);
        w.body.now = Now::new();
        w.settle(n, None);
    }
    w.body.asm.cold();
    w.body.write_slow();
    while let Some(e) = w.stubs.pop() {
        w.body.asm.land(e.hole);
        w.body.now = e.now;
        w.way(e.from, e.to);
    }
    w.body.write_exits();
    w.ways.write(&mut w.body);
    Emitted { asm: w.body.asm, entries, links: w.ways.links, calls: w.calls }
}

impl<'a> Writer<'a> {
    fn guest(&self, n: usize) -> &'a Guest {
        &self.plan.blocks[n]
    }
    fn block(&mut self, n: usize, table: &[Option<Meaning>]) {
        let (plan, g) = (self.plan, self.guest(n));
        let (ahead, rest) = std::mem::take(&mut self.ahead)
            .into_iter()
            .partition::<Vec<_>, _>(|e| matches!(e.to, To::Block(t) if t == n));
        self.ahead = rest;
        let fall = self.fall.take();
        let one = g.only.is_some();
        let first = fall.as_ref().map(|f| &f.1).or(ahead.first().map(|e| &e.now));
        let mut state = first.cloned().unwrap_or_else(Now::new);
        self.loops.retain(|l| l.0 >= n);
        if !one {
            let end;
            (state, end) = self.agreed(n, &state);
            self.loops.extend(end.map(|end| (end, state.cache)));
            self.body.number(&mut state);
        } else if g.only.is_some_and(|p| self.guest(p).page != g.page) {
            // The look at the page uses registers.
            state.windows = [None; WINDOWS];
        }
        state.begin();
        if let Some((from, now)) = fall {
            self.body.now = now;
            self.reach(n, from, &state);
        }
        self.body.at_home(self.loops.last().map_or(Copies::NONE, |l| l.1));
        self.labels.push((self.body.asm.here(), state.clone()));
        for e in ahead {
            if self.straight(e.from, n) {
                self.body.asm.land(e.hole);
            } else {
                self.stubs.push(e);
            }
        }
        self.body.now = state;
        self.body.begin(g.insns.clone(), g.delta as i32);
        let blocks = &plan.blocks;
        let on = |&m: &usize| blocks[m].only == Some(m - 1) && blocks[m].page == blocks[m - 1].page;
        let chain = (n + 1..blocks.len()).take_while(on).count();
        self.body.horizon = blocks[n + chain].insns.end;
        self.body.until = self.until[n];
        // Who alone leads here has counted what is left of its own chain.
        let before = g.only.filter(|&p| self.straight(p, n)).map_or(0, |p| self.owed(p));
        let count = (self.until[n] - g.insns.start) as i32 - before;
        self.body.count(-count);
        if count > 0 {
            self.body.exit(Some(NEGATIVE));
        }
        let mut over = false;
        for at in g.insns.clone() {
            let i = &plan.insns[at];
            self.body.index = at;
            self.body.next = self.body.delta + i32::from(i.len);
            let last = at + 1 == g.insns.end && g.end;
            let meaning = table[i.row as usize].filter(|_| !last);
            over = last && self.body.flip_access(i);
            if !over && !meaning.is_some_and(|m| self.body.one(m)) {
                over = call_out(&mut self.body, &mut self.ways.rets, i, last);
                self.calls = true;
            }
            self.body.delta = self.body.next;
        }
        if !over {
            self.end(n);
        }
    }

    /// What all ways into a block bring: what the first one has of what is wanted there, and in loops all that is. With the last
    /// block of the loop that begins here.
    fn agreed(&self, n: usize, first: &Now) -> (Now, Option<usize>) {
        let preds_behind =
            (n..self.plan.blocks.len()).filter(|&m| self.plan.succs(m).any(|t| t == n));
        let end = preds_behind.max();
        let body = n..end.unwrap_or(n) + 1;
        let mut counts = [0u32; 16];
        for g in &self.plan.blocks[body] {
            for i in &self.plan.insns[g.insns.clone()] {
                let r = reads(i);
                (0..16).filter(|k| r & 1 << k != 0).for_each(|k| counts[k] += 1);
            }
        }
        let mut state = Now::new();
        let mut order: Vec<usize> = (0..16).filter(|&k| counts[k] > 0).collect();
        order.sort_by_key(|&k| std::cmp::Reverse(counts[k]));
        order.truncate(MOST as usize);
        let mut used = 0u16;
        for &k in &order {
            if let Some(h) = first.cache.get(k).filter(|h| used & 1 << h == 0) {
                state.cache.set(k, Some(h));
                used |= 1 << h;
            }
        }
        if end.is_some() {
            for &k in &order {
                if state.cache.get(k).is_none()
                    && let Some(h) = KEPT.into_iter().find(|h| used & 1 << h == 0)
                {
                    state.cache.set(k, Some(h));
                    used |= 1 << h;
                }
            }
            state.vector = first.vector.registers();
        }
        (state, end)
    }

    /// The end of a block.
    fn end(&mut self, n: usize) {
        let g = self.guest(n);
        let b = &mut self.body;
        let next = i64::from(b.next);
        b.pinned = 0;
        let term = match b.now.term {
            Term::Branch(V::K(k), d) => Term::Jump(if k != 0 { d } else { next }),
            other => other,
        };
        let to = |s: Succ, d: i64| if let Succ::Block(t) = s { To::Block(t) } else { To::Out(d) };
        let taken = |d: i64| {
            let known = g.taken.filter(|&(at, _)| at == d);
            known.map_or(if d == next { to(g.fall, d) } else { To::Out(d) }, |t| to(t.1, d))
        };
        let kind = frames::kind(&self.plan.insns[g.insns.end - 1]);
        match term {
            Term::Jump(d) if kind == Kind::Call => {
                b.stored_flags();
                let to = taken(d);
                let far = self.far(n, d).filter(|_| matches!(to, To::Out(_)));
                if let Some(far) = far {
                    let owed = self.owed(n);
                    self.body.count(owed);
                    far.call(&mut self.body, &mut self.ways, next as i32);
                    return self.behind_call(n, next);
                }
                self.body.push_frame(next as i32);
                let near = match to {
                    To::Block(_) => None,
                    To::Out(d) => self.plan.near(n, d),
                };
                if near.is_some() {
                    let page = self.page(n);
                    self.body.put_place(page, 0);
                }
                let b = &mut self.body;
                let hole = b.asm.call_near();
                self.behind_call(n, next);
                match (to, near) {
                    (To::Out(_), Some(at)) => self.ways.links.push((hole, at)),
                    (To::Out(_), None) => {
                        self.body.asm.land(hole);
                        self.way(n, to);
                    }
                    (To::Block(_), _) => self.lead(hole, n, to),
                }
            }
            Term::Branch(c, d) => {
                let cond = b.branch_on(c);
                b.pinned = 0;
                let (yes, no) = (taken(d), to(g.fall, next));
                let is_next = |t: To| matches!(t, To::Block(t) if t == n + 1);
                if is_next(yes) && !is_next(no) {
                    self.jump(cond ^ 1, n, no);
                    self.pass(n, yes);
                } else {
                    self.jump(cond, n, yes);
                    self.pass(n, no);
                }
            }
            Term::Indirect(v) => {
                let h = b.reg(v);
                b.pinned |= 1 << h;
                b.store_flags(b.now.flags);
                if kind == Kind::Call {
                    b.push_frame(next as i32);
                }
                if kind == Kind::Ret {
                    self.ways.astray.push((b.ret_by_frame(h), h));
                    return;
                }
                let code = Rm::R(b.code_of(h));
                if kind == Kind::Call {
                    b.asm.call(code);
                    self.behind_call(n, next);
                } else {
                    b.asm.jmp_to(code);
                }
            }
            Term::Jump(d) => self.pass(n, taken(d)),
            Term::Fall => self.pass(n, to(g.fall, next)),
        }
    }
    /// Where a callee comes back to.
    fn behind_call(&mut self, n: usize, next: i64) {
        let near = self.plan.near(n, next);
        frames::pop(&mut self.body.asm, near.is_some());
        let hole = self.body.asm.jmp();
        match near {
            Some(at) => self.ways.links.push((hole, at)),
            None => self.ways.search.push(hole),
        }
    }
    /// A jump under a condition.
    fn jump(&mut self, cond: u8, from: usize, to: To) {
        if let To::Block(t) = to
            && t < self.labels.len()
        {
            // Round a loop.
            let past = self.body.asm.jcc(cond ^ 1);
            let (now, pinned) = (self.body.now.clone(), self.body.pinned);
            self.way(from, to);
            (self.body.now, self.body.pinned) = (now, pinned);
            self.body.asm.land(past);
            return;
        }
        let hole = self.body.asm.jcc(cond);
        self.lead(hole, from, to);
    }
    /// Sees to it that a jump leads there.
    fn lead(&mut self, hole: Hole, from: usize, to: To) {
        let edge = Edge { hole, from, now: self.body.now.clone(), to };
        match to {
            To::Block(t) if t >= self.labels.len() => self.ahead.push(edge),
            _ => self.stubs.push(edge),
        }
    }
    /// Goes there in any case.
    fn pass(&mut self, from: usize, to: To) {
        match to {
            To::Block(t) if t == self.labels.len() => {
                if !self.straight(from, t) {
                    self.body.count(self.owed(from));
                }
                self.fall = Some((from, self.body.now.clone()))
            }
            To::Block(t) if t > self.labels.len() => {
                let hole = self.body.asm.jmp();
                self.lead(hole, from, to);
            }
            _ => self.way(from, to),
        }
    }
    /// Goes to a block that is there, or out.
    fn way(&mut self, from: usize, to: To) {
        let owed = if from == usize::MAX { 0 } else { self.owed(from) };
        match to {
            To::Block(n) => {
                self.body.count(owed);
                self.settle(n, Some(from));
            }
            To::Out(d) => self.go(from, d, owed),
        }
    }
    /// A place in another page than a block's, if it is known where that is.
    fn far(&self, from: usize, delta: i64) -> Option<Far> {
        let near = || self.plan.near(from, delta).is_some();
        let known = from != usize::MAX && !near();
        let at = self.plan.far.iter().find(|f| known && f.0 == delta)?.1;
        Some(Far { delta: delta.try_into().ok()?, at, from: None })
    }
    /// How far a block's page is from RIP.
    fn page(&self, n: usize) -> i32 {
        (self.guest(n).page * PAGE as i64) as i32
    }
    /// Instructions behind a block that were counted at the head of its chain.
    fn owed(&self, n: usize) -> i32 {
        (self.until[n] - self.guest(n).insns.end) as i32
    }
    /// Whether a block is led to from one place only, and without anything to be done on the way.
    fn straight(&self, from: usize, to: usize) -> bool {
        let g = self.guest(to);
        g.only.is_some() && self.guest(from).page == g.page
    }
    /// Makes what is known what a block that is there wants to be known, and goes there.
    fn settle(&mut self, n: usize, from: Option<usize>) {
        let (label, state) = self.labels[n].clone();
        match from {
            Some(from) => self.reach(n, from, &state),
            None => self.load(&state),
        }
        self.body.asm.jmp_back(label);
    }
    /// The same, up to the jump.
    fn reach(&mut self, n: usize, from: usize, state: &Now) {
        if matches!(state.flags, Flags::Stored) {
            self.body.stored_flags();
        }
        let g = self.guest(n);
        if g.page != self.guest(from).page {
            self.check_page(g);
        }
        self.load(state);
    }
    /// Leaves the region unless a block's page is where it was.
    fn check_page(&mut self, g: &Guest) {
        let b = &mut self.body;
        b.pinned = 0;
        // Whoever comes by a stub has all flags in the state or in registers that stay.
        let (x, t) = (b.fresh(), b.fresh());
        b.asm.load(Width::W64, x, core(rip_at()));
        b.asm.lea(Width::W64, x, Rm::M(x, g.delta as i32));
        let [other, moved] = b.same_page(x, t, g.host);
        let now = b.now.clone();
        // It is left by way of the search, as if the block were not part of it.
        for hole in [other, moved] {
            self.stubs.push(Edge {
                hole,
                from: usize::MAX,
                now: now.clone(),
                to: To::Out(g.delta),
            });
        }
    }
    /// Has in registers what `state` says.
    fn load(&mut self, state: &Now) {
        let b = &mut self.body;
        let mut todo: Vec<(usize, u8)> = (0..16)
            .filter_map(|k| state.cache.get(k).map(|h| (k, h)))
            .filter(|&(k, h)| b.now.cache.get(k) != Some(h))
            .collect();
        // What is in another register moves, as long as its new place is not another's old one.
        let old = b.now.cache;
        while !todo.is_empty() {
            let needed =
                |h: u8, but: usize| todo.iter().any(|&(k, _)| k != but && old.get(k) == Some(h));
            let Some(at) = todo.iter().position(|&(k, h)| !needed(h, k)) else { break };
            let (k, h) = todo.swap_remove(at);
            match old.get(k) {
                Some(from) => b.asm.mov(h, from),
                None => b.asm.load(Width::W64, h, core(gpr_at(k))),
            }
        }
        for (k, h) in todo {
            b.asm.load(Width::W64, h, core(gpr_at(k)));
        }
        for (r, whole) in b.now.vector.missing(&state.vector) {
            b.asm.load_wide(whole, r, vector::place(r, 0));
        }
    }

    /// Leaves the region for a place so far from RIP.
    fn go(&mut self, from: usize, delta: i64, owed: i32) {
        self.body.stored_flags();
        let near = (from != usize::MAX).then(|| self.plan.near(from, delta)).flatten();
        let b = &mut self.body;
        b.count(owed);
        if let Some(at) = near {
            let page = self.page(from);
            self.body.put_place(page, 0);
            return self.ways.links.push((self.body.asm.jmp(), at));
        }
        if let Some(far) = self.far(from, delta) {
            return far.go(&mut self.body, &mut self.ways);
        }
        let b = &mut self.body;
        b.put_far(delta);
        self.ways.search.push(b.asm.jmp());
    }
}
