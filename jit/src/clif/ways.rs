//! Ways out of a region's blocks: side exits, edges to other blocks, and the way on to the next region.

use super::{Clif, Flags, V, leave, left_at, own, rip_at};
use crate::emit::{EMITS, outer};
use crate::native;
use crate::plan::Succ;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Block, DebugTag, InstBuilder, Value, types};

/// A place where a block leaves an instruction to tier 0.
pub(super) struct Exit {
    pub(super) block: Block,
    pub(super) guest: usize,
    pub(super) dirty: u64,
    pub(super) flags: Flags,
    pub(super) delta: i64,
    pub(super) done: i64,
}

/// A way out of a block's end.
pub(super) struct Edge {
    pub(super) block: Block,
    pub(super) from: usize,
    pub(super) to: Succ,
    pub(super) delta: i64,
    /// Where it leads, if only the machine knows.
    pub(super) at: Option<Value>,
    pub(super) dirty: u64,
    pub(super) stale: u64,
    pub(super) flags: Flags,
}

impl Clif<'_> {
    /// The cold block that leaves before the current instruction.
    pub fn exit(&mut self) -> Block {
        if self.changed {
            self.misfit = true;
        }
        if let Some(b) = self.exit {
            return b;
        }
        self.note_flags_of(self.before.1);
        let block = self.b.create_block();
        self.b.set_cold_block(block);
        let (dirty, flags) = self.before;
        let (guest, delta, done) = (self.guest, self.delta, self.done);
        self.exits.push(Exit { block, guest, dirty, flags, delta, done });
        self.exit = Some(block);
        block
    }
    pub(super) fn note_flags_of(&mut self, f: Flags) {
        if !matches!(f, Flags::Known(_) | Flags::Patched(Some(_), ..)) {
            self.note_flags();
        }
    }
    /// Leaves before the current instruction where `c` is not zero.
    pub fn exit_if(&mut self, c: V) {
        match c {
            V::K(0) => {}
            V::K(_) => {
                let out = self.exit();
                self.b.ins().jump(out, &[]);
                let nowhere = self.b.create_block();
                self.b.switch_to_block(nowhere);
                self.dead = true;
            }
            V::S(c, _) => {
                let out = self.exit();
                let on = self.b.create_block();
                self.b.ins().brif(c, out, &[], on, &[]);
                self.b.switch_to_block(on);
            }
        }
    }

    /// Stores RIP and the count.
    fn put_place(&mut self, rip: Value, done: i64) {
        self.put_state(rip, rip_at());
        let left = self.b.use_var(self.left);
        let left = if done == 0 { left } else { self.b.ins().iadd_imm_s(left, -done) };
        self.put_state(left, left_at());
    }
    fn leave(&mut self, code: u64) {
        let code = self.b.ins().iconst(types::I64, code as i64);
        self.b.ins().return_(&[code]);
    }
    /// Leaves what is at `rip` to tier 0.
    fn leave_to_tier0(&mut self, rip: Value, done: i64) {
        self.put_place(rip, done);
        self.leave(leave::SIDE);
    }
    /// Goes on in the region at `rip`, if the engine knows one.
    pub(super) fn go_on_at(&mut self, rip: Value, done: i64) {
        self.put_place(rip, done);
        let to = match self.dispatch {
            Some(b) => b,
            None => {
                let b = self.b.create_block();
                self.b.append_block_param(b, types::I64);
                *self.dispatch.insert(b)
            }
        };
        self.jump_to(to, &[rip]);
    }

    /// Goes on where a word says, which leads to `rip`.
    fn go_on_by(&mut self, word: u64, rip: Value, done: i64) {
        self.put_place(rip, done);
        let word = self.b.ins().iconst(types::I64, word as i64);
        // It may change from one time to the next.
        let code = self.b.ins().load(types::I64, own(), word, 0);
        self.pass_to(code);
    }
    /// Leaves with `r`; if that is 0, goes on where [`native::AFTER_OUTER`] says.
    pub(super) fn end_after(&mut self, r: Value) {
        if !crate::emit::EMITS {
            self.b.ins().return_(&[r]);
            return;
        }
        self.leave_unless_zero(r);
        let cx = self.cx();
        let to = self.b.ins().load(types::I64, own(), cx, native::AFTER_OUTER);
        self.pass_to(to);
    }
    /// Leaves with `r`, which a helper gave, if it is not 0: the helper has put RIP and the count right.
    pub(super) fn leave_unless_zero(&mut self, r: Value) {
        let (out, on) = (self.b.create_block(), self.b.create_block());
        self.b.set_cold_block(out);
        self.b.ins().brif(r, out, &[], on, &[]);
        self.b.switch_to_block(out);
        self.b.ins().return_(&[r]);
        self.b.switch_to_block(on);
    }
    /// Goes on in other native code, for good.
    fn pass_to(&mut self, code: Value) {
        self.b.ins().return_(&[code]);
    }

    /// The way into the next region: the TLB says where RIP is in RAM, and the engine's table which code that has in this mode.
    fn dispatch(&mut self) {
        let Some(block) = self.dispatch else { return };
        self.b.switch_to_block(block);
        let rip = self.b.block_params(block)[0];
        let get = |c: &mut Self, from, at| c.b.ins().load(types::I64, own(), from, at);
        let page = self.b.ins().band_imm_s(rip, !0xfff);
        let (entry, off) = self.tlb_entry(rip, self.plan.mode.code_set());
        let (tag, add) =
            (get(self, entry, off + native::TAG_EXEC), get(self, entry, off + native::ADDEND));
        let host = self.b.ins().iadd(add, rip);
        let cx = self.cx();
        let table = self.b.ins().load(types::I64, own(), cx, native::JUMPS);
        let high = self.b.ins().ushr_imm_u(host, 12);
        let slot = self.b.ins().bxor(host, high);
        let slot = self.b.ins().band_imm_u(slot, native::JUMP_SLOTS as i64 - 1);
        let slot = self.b.ins().ishl_imm_u(slot, native::JUMP_BITS);
        let jump = self.b.ins().iadd(table, slot);
        let (have, code) = (get(self, jump, native::JUMP_KEY), get(self, jump, native::JUMP_CODE));
        let mode = u64::from(self.plan.mode.0) << native::KEY_MODE;
        let mode = self.b.ins().iconst(types::I64, mode as i64);
        let wanted = self.b.ins().bxor(host, mode);
        // Any difference anywhere. Whatever the host's address is without a tag, the table is not left.
        let (a, b) = (self.b.ins().bxor(have, wanted), self.b.ins().bxor(tag, page));
        let all = self.b.ins().bor(a, b);
        let (no, go) = (self.b.create_block(), self.b.create_block());
        self.b.set_cold_block(no);
        self.b.ins().brif(all, no, &[], go, &[]);
        self.b.switch_to_block(no);
        if crate::emit::EMITS {
            // The page may only be missing in the TLB.
            let at = native::search_outer_at(self.plan.mode);
            let cx = self.cx();
            let search = get(self, cx, at);
            self.pass_to(search);
        } else {
            self.leave(leave::JUMP);
        }
        self.b.switch_to_block(go);
        self.pass_to(code);
    }

    pub(super) fn finish(&mut self, first: Block, number: Option<Value>) {
        for x in std::mem::take(&mut self.exits) {
            self.b.switch_to_block(x.block);
            let dirty = x.dirty | self.carried(x.guest);
            self.spill(dirty, x.flags);
            let rip = self.rip(x.delta);
            let rip = self.val(rip);
            self.leave_to_tier0(rip, x.done);
        }
        for e in std::mem::take(&mut self.edges) {
            self.write_edge(e);
        }
        self.dispatch();
        self.b.switch_to_block(first);
        let plan = self.plan;
        for (n, &entry) in plan.entries.iter().enumerate() {
            let other = self.b.create_block();
            if let Some(number) = number {
                let here = self.b.create_block();
                let is = self.b.ins().icmp_imm_u(IntCC::Equal, number, n as i64);
                self.b.ins().brif(is, here, &[], other, &[]);
                self.b.switch_to_block(here);
                // Nobody comes that way: entries are jumped to. See `crate::compile`.
                let mark = self.b.ins().sequence_point();
                self.b.func.debug_tags.set(mark, [DebugTag::User(n as u32)]);
            }
            self.enter(entry);
            if number.is_some() {
                self.b.switch_to_block(other);
            }
        }
        if number.is_some() {
            self.leave(leave::SIDE);
        }
        self.b.seal_all_blocks();
    }

    /// From outside into a block.
    fn enter(&mut self, block: usize) {
        self.guest = block;
        let rip = self.get_state(types::I64, rip_at());
        let left = self.get_state(types::I64, left_at());
        self.b.def_var(self.left, left);
        let g = &self.plan.blocks[block];
        let base = if g.delta == 0 { rip } else { self.b.ins().iadd_imm_s(rip, -g.delta) };
        self.b.def_var(self.base, base);
        let (go, no) = (self.b.create_block(), self.b.create_block());
        self.b.set_cold_block(no);
        let short = self.b.ins().icmp_imm_s(IntCC::SignedLessThan, left, g.path);
        self.b.ins().brif(short, no, &[], go, &[]);
        self.b.switch_to_block(no);
        self.leave(leave::SIDE);
        self.b.switch_to_block(go);
        if self.floats {
            self.enter_floats();
        }
        if let Some(l) = g.loop_ {
            self.load_these(self.wanted(l));
        }
        let head = self.heads[block];
        self.b.ins().jump(head, &[]);
    }

    /// The host computes as the guest's MXCSR says, from here until the engine has the turn again.
    fn enter_floats(&mut self) {
        let cx = self.cx();
        let on = self.b.ins().load(types::I64, own(), cx, native::FLOATS);
        let (not, go) = (self.b.create_block(), self.b.create_block());
        self.b.set_cold_block(not);
        self.b.ins().brif(on, go, &[], not, &[]);
        self.b.switch_to_block(not);
        if crate::emit::EMITS {
            self.call_keeping(native::MISS + 8 * outer::FLOATS as i32, &[]);
        } else {
            self.call(native::ENTER_FLOATS, &[], false);
        }
        self.b.ins().jump(go, &[]);
        self.b.switch_to_block(go);
    }

    fn write_edge(&mut self, e: Edge) {
        self.b.switch_to_block(e.block);
        let plan = self.plan;
        let from = &plan.blocks[e.from];
        let len = from.insns.len() as i64;
        let have = e.dirty | self.carried(e.from);
        let outside = |c: &mut Self| {
            c.spill(have, e.flags);
            let rip = c.rip(e.delta);
            let rip = e.at.unwrap_or_else(|| c.val(rip));
            let near = if e.at.is_none() { plan.near(e.from, e.delta) } else { None };
            let word = near.filter(|_| EMITS).and_then(|at| c.links.add(at));
            match word {
                Some(word) => c.go_on_by(word, rip, len),
                None => c.go_on_at(rip, len),
            }
        };
        let Succ::Block(to) = e.to else { return outside(self) };
        let target = &plan.blocks[to];
        let left = self.b.use_var(self.left);
        let left = self.b.ins().iadd_imm_s(left, -len);
        // Loops are where the count is looked at.
        if to <= e.from {
            let (go, no) = (self.b.create_block(), self.b.create_block());
            self.b.set_cold_block(no);
            let short = self.b.ins().icmp_imm_s(IntCC::SignedLessThan, left, target.path);
            self.b.ins().brif(short, no, &[], go, &[]);
            self.b.switch_to_block(no);
            self.spill(have, e.flags);
            let rip = self.rip(e.delta);
            let rip = self.val(rip);
            self.leave_to_tier0(rip, len);
            self.b.switch_to_block(go);
        }
        if target.page != from.page {
            let ok = self.same_page(target.page, target.host);
            let (go, no) = (self.b.create_block(), self.b.create_block());
            self.b.set_cold_block(no);
            self.b.ins().brif(ok, go, &[], no, &[]);
            self.b.switch_to_block(no);
            outside(self);
            self.b.switch_to_block(go);
        }
        self.b.def_var(self.left, left);
        let expects = if self.passes_dirty(e.from, to) { have } else { self.carried(to) };
        let inherits = target.only == Some(e.from);
        let flags = if inherits || !self.needs_flags[to] { Flags::Stored } else { e.flags };
        self.spill(have & !expects, flags);
        if let Some(l) = target.loop_ {
            let there = from.loop_.map_or(u64::MAX, |l| self.wanted(l));
            self.load_these((e.stale | !there) & self.wanted(l));
        }
        let head = self.heads[to];
        self.b.ins().jump(head, &[]);
    }

    /// Whether the page of code `page` pages from the head's is mapped to host address `host` now.
    fn same_page(&mut self, page: i64, host: u64) -> Value {
        let base = self.b.use_var(self.base);
        let at = self.b.ins().band_imm_s(base, !0xfff);
        let at = self.b.ins().iadd_imm_s(at, page << 12);
        let at =
            if self.plan.mode.long64() { at } else { self.b.ins().band_imm_u(at, 0xffff_ffff) };
        let (entry, off) = self.tlb_entry(at, self.plan.mode.code_set());
        let tag = self.b.ins().load(types::I64, own(), entry, off + native::TAG_EXEC);
        let add = self.b.ins().load(types::I64, own(), entry, off + native::ADDEND);
        let there = self.b.ins().iadd(add, at);
        let host = self.b.ins().iconst(types::I64, host as i64);
        let (a, b) = (
            self.b.ins().icmp(IntCC::Equal, tag, at),
            self.b.ins().icmp(IntCC::Equal, there, host),
        );
        self.b.ins().band(a, b)
    }
}
