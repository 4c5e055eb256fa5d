//! Which code to compile together: a region's blocks, how they follow each other, and where its loops are.

use crate::block::{Blocks, Id};
use crate::decode;
use crate::emit::{self, EMITS};
use choice::Choice;
pub use choice::{Made, Wish};
use cpu::rows::ROWS;
use cpu::{Core, Insn, Mode};
use iced_x86::{Code, FlowControl};
use memory::PAGE;

mod choice;

/// What follows a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Succ {
    Block(usize),
    Out,
}

/// A block of the region.
#[derive(Clone, Debug)]
pub struct Guest {
    /// Indices into [`Plan::insns`].
    pub insns: std::ops::Range<usize>,
    /// Linear distance of its first byte from where RIP is: see [`Plan::origin`].
    pub delta: i64,
    /// Linear page, counted from the region's first.
    pub page: i64,
    /// Host address of that page.
    pub host: u64,
    /// RAM offset of that page.
    pub ram: u64,
    /// The region may be entered here.
    pub entry: bool,
    /// Where its branch goes.
    pub taken: Option<(i64, Succ)>,
    /// What follows it otherwise.
    pub fall: Succ,
    /// Where its RET is likely to go: distances and blocks, behind calls of the region.
    pub returns: Vec<(i64, usize)>,
    /// The one block that leads here, if there is just one, and it comes earlier.
    pub only: Option<usize>,
    /// The small loop it belongs to.
    pub loop_: Option<usize>,
    /// Its last instruction is one after which the engine looks at what is due.
    pub end: bool,
    /// Instructions of the longest way from its start to a place where the count is looked at.
    pub path: i64,
    /// How often it was executed, up to where that did not count any more.
    pub heat: u32,
}

/// A region to be compiled.
#[derive(Clone, Debug)]
pub struct Plan {
    pub mode: Mode,
    /// Where the guest had it, for profilers.
    pub rip: u64,
    /// How far the head is from what the state has for RIP in the region's code, which all distances here count from.
    pub origin: i64,
    pub insns: Vec<Insn>,
    /// Instructions that the interpreter does.
    pub call: Vec<bool>,
    /// In an order in which only loops go backwards.
    pub blocks: Vec<Guest>,
    /// Blocks of each small loop.
    pub loops: Vec<Vec<usize>>,
    /// The blocks this was made of: `(id, serial)`.
    pub from: Vec<(Id, u64)>,
    /// Blocks where the region is entered, the head first.
    pub entries: Vec<usize>,
    /// Places in other pages that it may go on at: how far they are, and where they are in RAM now.
    pub far: Vec<(i64, u64)>,
    /// Regions that it is in place of, by their numbers and serials.
    pub replaces: Vec<(u32, u64)>,
    /// How often what it is in place of grew.
    pub grown: u32,
}

const MAX_BLOCKS: usize = 50;
/// Entries of a region at most.
const ENTRIES: usize = if EMITS { 32 } else { 1 };
/// Blocks in a loop that keeps its registers in registers all the way round.
const SMALL: usize = 8;

/// Where control goes behind a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// How far behind it a near branch or call leads.
    pub taken: Option<i32>,
    /// It may go on right behind it.
    pub falls: bool,
    /// It ends with a near call, or with a near return.
    pub calls: bool,
    pub returns: bool,
}

/// How control leaves an instruction.
pub fn flow(i: &Insn) -> Flow {
    let (kind, near) = (i.iced().flow_control(), i.op[0] == cpu::Opnd::Near);
    let distance = || i32::try_from(i.imm).ok();
    let (taken, falls) = match kind {
        FlowControl::ConditionalBranch => (distance(), true),
        FlowControl::UnconditionalBranch | FlowControl::Call if near => (distance(), false),
        FlowControl::Next => (None, true),
        _ => (None, false),
    };
    let calls = kind == FlowControl::Call && near || kind == FlowControl::IndirectCall;
    Flow { taken, falls, calls, returns: returns(i) }
}
pub fn returns(i: &Insn) -> bool {
    matches!(i.iced(), Code::Retnq | Code::Retnd | Code::Retnq_imm16 | Code::Retnd_imm16)
}

/// Whether code in this mode is compiled.
pub fn may(mode: Mode) -> bool {
    let flat = mode.bits() == 32 && mode.has(Mode::FLAT) && mode.has(Mode::STACK32);
    (mode.long64() || flat)
        && !mode.has(Mode::STEP)
        && !mode.has(Mode::ALIGN)
        && !mode.has(Mode::VM86)
}

/// Plans the region that starts with the head.
pub fn plan(blocks: &Blocks, core: &Core, wish: &Wish<'_>) -> Option<Plan> {
    let choice = Choice::of(blocks, core, wish)?;
    let (mode, head) = (core.mode, core.state.rip);
    let origin = if wish.native { (head % PAGE) as i64 } else { 0 };
    let base = head.wrapping_sub(origin as u64);
    let first_page = base & !(PAGE - 1);
    let page_of = |delta: i64| {
        let la = base.wrapping_add(delta as u64) & !(PAGE - 1);
        (la.wrapping_sub(first_page) as i64) >> 12
    };
    let chosen = &choice.chosen;
    let mut p = Plan {
        mode,
        rip: head,
        origin,
        insns: Vec::new(),
        call: Vec::new(),
        blocks: Vec::new(),
        loops: Vec::new(),
        from: Vec::new(),
        entries: Vec::new(),
        far: Vec::new(),
        replaces: choice.replaces.clone(),
        grown: choice.grown,
    };
    // The baseline tier finds its way back by itself.
    let behind = match wish.native {
        true => Vec::new(),
        false => behind_calls(blocks, chosen, &|id| choice.heat(id)),
    };
    let roots = choice.roots();
    let order = order(blocks, chosen, &behind, &roots);
    let place = |d: i64| order.iter().position(|&k| chosen[k].0 == d);
    // The code will have pointers to them.
    p.insns.reserve_exact(
        order.iter().map(|&k| blocks.all[chosen[k].1 as usize].count as usize).sum(),
    );
    for &k in &order {
        let (delta, id) = (chosen[k].0 + origin, chosen[k].1);
        let b = &blocks.all[id as usize];
        let start = p.insns.len();
        p.insns.extend(decode::insns(blocks, id, core));
        let n = p.insns.len() - start;
        p.call.extend(p.insns[start..].iter().map(|i| ROWS[i.row as usize].big));
        let end = delta + i64::from(b.bytes);
        let stop = ends(blocks, id);
        if let (true, Some(last)) = (stop, p.call.last_mut()) {
            *last = true;
        }
        let Flow { taken, falls, .. } = if stop { Flow::default() } else { b.flow };
        let page = page_of(delta);
        let succ = |d: i64| place(d - origin).map_or(Succ::Out, Succ::Block);
        let taken = taken.map(|t| (end + i64::from(t), succ(end + i64::from(t))));
        if let Some((d, Succ::Out)) = taken
            && page_of(d) != page
            && mode.long64()
        {
            let at = core.tlb.exec(mode.code_set(), base.wrapping_add(d as u64));
            p.far.extend(at.map(|at| (d, at)));
        }
        let fall = if falls { succ(end) } else { Succ::Out };
        let host = core.tlb.ram().base() as u64 + (b.at & !(PAGE - 1));
        p.blocks.push(Guest {
            insns: start..start + n,
            delta,
            page,
            host,
            ram: b.at & !(PAGE - 1),
            entry: false,
            taken,
            fall,
            returns: Vec::new(),
            end: stop,
            only: None,
            loop_: None,
            path: 0,
            heat: choice.heat(id),
        });
        p.from.push((id, b.serial));
    }
    let sites: Vec<_> =
        behind.iter().filter_map(|&k| Some((chosen[k].0 + origin, place(chosen[k].0)?))).collect();
    for g in &mut p.blocks {
        if !g.end && returns(&p.insns[g.insns.end - 1]) {
            g.returns.clone_from(&sites);
        }
    }
    p.entries = roots.iter().filter_map(|&k| place(chosen[k].0)).collect();
    p.entries.iter().for_each(|&n| p.blocks[n].entry = true);
    p.connect();
    Some(p)
}

/// So many places are compared with where a return goes.
const RETURNS: usize = 3;

/// The chosen blocks that calls come back to, the hottest first.
fn behind_calls(blocks: &Blocks, chosen: &[(i64, Id)], heat: &dyn Fn(Id) -> u32) -> Vec<usize> {
    let callers = chosen.iter().filter(|c| blocks.all[c.1 as usize].flow.calls);
    let mut all: Vec<usize> = callers
        .filter_map(|&(delta, id)| {
            let next = delta + i64::from(blocks.all[id as usize].bytes);
            chosen.iter().position(|c| c.0 == next)
        })
        .collect();
    all.sort_by_key(|&k| (std::cmp::Reverse(heat(chosen[k].1)), chosen[k].0));
    all.dedup();
    all.truncate(RETURNS);
    all
}

/// Whether a block may be part of a region: not if it is on two pages, nor if it has instructions that the baseline tier does by
/// itself and regions call.
fn fits(blocks: &Blocks, id: Id, core: &Core, native: bool) -> bool {
    let apart = |i: &Insn| emit::x87::has(i) || emit::vector::is_apart(i);
    let fit = || !decode::insns(blocks, id, core).any(|i| apart(&i));
    !blocks.all[id as usize].crosses() && (native || !EMITS || fit())
}

/// Whether the engine looks at what is due after a block.
fn ends(blocks: &Blocks, id: Id) -> bool {
    blocks.all[id as usize].end
}

/// Reverse post-order from the roots, of which the head is the first; what cannot be reached is left out.
fn order(blocks: &Blocks, chosen: &[(i64, Id)], behind: &[usize], roots: &[usize]) -> Vec<usize> {
    let succs: Vec<Vec<usize>> = chosen
        .iter()
        .map(|&(delta, id)| {
            let b = &blocks.all[id as usize];
            if ends(blocks, id) {
                return Vec::new();
            }
            let (next, Flow { taken, falls, returns, .. }) = (delta + b.bytes as i64, b.flow);
            let taken = taken.map(|t| next + i64::from(t));
            let all = taken.into_iter().chain(falls.then_some(next));
            let back = if returns { behind } else { &[] };
            let here = all.filter_map(|d| chosen.iter().position(|c| c.0 == d));
            here.chain(back.iter().copied()).collect()
        })
        .collect();
    let mut seen = vec![false; chosen.len()];
    let mut post = Vec::new();
    for &root in roots {
        if std::mem::replace(&mut seen[root], true) {
            continue;
        }
        let mut stack = vec![(root, 0)];
        while let Some((n, k)) = stack.pop() {
            match succs[n].get(k) {
                Some(&to) => {
                    stack.push((n, k + 1));
                    if !std::mem::replace(&mut seen[to], true) {
                        stack.push((to, 0));
                    }
                }
                None => post.push(n),
            }
        }
    }
    post.reverse();
    post
}

impl Plan {
    pub fn succs(&self, n: usize) -> impl Iterator<Item = usize> + '_ {
        let g = &self.blocks[n];
        let block = |s: Succ| if let Succ::Block(to) = s { Some(to) } else { None };
        let back = g.returns.iter().map(|r| r.1);
        g.taken.and_then(|t| block(t.1)).into_iter().chain(block(g.fall)).chain(back)
    }

    /// Where in RAM a place so far from the head is, if it is on the same page as block `n`.
    pub fn near(&self, n: usize, delta: i64) -> Option<u64> {
        let at = (self.rip % PAGE) as i64 + delta - self.origin;
        let g = &self.blocks[n];
        (at >> 12 == g.page).then(|| g.ram + (at as u64 & (PAGE - 1)))
    }
    /// Works out what follows from the edges.
    pub fn connect(&mut self) {
        let many = self.blocks.len();
        let mut preds = vec![Vec::new(); many];
        for n in 0..many {
            for to in self.succs(n) {
                preds[to].push(n);
            }
        }
        for n in (0..many).rev() {
            let rest = self.succs(n).filter(|&to| to > n).map(|to| self.blocks[to].path).max();
            let len = self.blocks[n].insns.len() as i64;
            let g = &mut self.blocks[n];
            g.path = len + rest.unwrap_or(0);
            g.only = match preds[n][..] {
                [p] if p < n && !g.entry => Some(p),
                _ => None,
            };
            g.loop_ = None;
        }
        self.loops.clear();
        for head in 0..many {
            let mut body = vec![head];
            let mut work: Vec<usize> = preds[head].iter().copied().filter(|&p| p >= head).collect();
            if work.is_empty() {
                continue;
            }
            while let Some(n) = work.pop() {
                if !body.contains(&n) {
                    body.push(n);
                    work.extend_from_slice(&preds[n]);
                }
            }
            let calls = body.iter().any(|&n| self.blocks[n].insns.clone().any(|k| self.call[k]));
            if body.len() > SMALL || calls || body.iter().any(|&n| n < head) {
                continue;
            }
            let l = self.loops.len();
            for &n in &body {
                let smaller =
                    self.blocks[n].loop_.is_none_or(|o: usize| self.loops[o].len() > body.len());
                if smaller {
                    self.blocks[n].loop_ = Some(l);
                }
            }
            self.loops.push(body);
        }
    }
}
