//! The fast path of loads and stores: the TLB probe of `memory::Tlb`, in native code.

use crate::clif::{Clif, V, own, ty};
use crate::emit::{EMITS, Miss, outer};
use crate::native::{self, Cx};
use cpu::{Insn, Opnd, SegReg, Width};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Type, Value, types};
use iced_x86::Mnemonic;
use memory::PAGE;
use std::mem::offset_of;

/// Flags of accesses to guest memory: any alignment, never a host fault.
fn guest() -> MemFlagsData {
    MemFlagsData::new().with_notrap()
}

/// A page that was accessed: what else is on it, by its distance from a name, needs no probe.
#[derive(Clone, Copy)]
pub struct Window {
    root: Value,
    /// The distance from the name of the access that found the page.
    at: i64,
    /// How far the name is behind the page's start. Nothing is on the page if the page is not known: it is far from any.
    from: Value,
    addend: Value,
    write: bool,
}
/// What is farther away is likely to be on another page.
const NEAR: u64 = PAGE / 2;
/// Pages that are kept in mind.
const WINDOWS: usize = 4;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Load,
    Store,
    /// Not done here: what may be read and written is looked for.
    Modify,
}

/// The register to which the address of an instruction's memory is relative, if that is all.
fn base_of(i: &Insn) -> Option<u8> {
    const SP: u8 = 4;
    let plain = i.index > 15 && i.base < 16 && !matches!(i.seg, SegReg::Fs | SegReg::Gs);
    match i.iced().mnemonic() {
        Mnemonic::Push | Mnemonic::Pop | Mnemonic::Call | Mnemonic::Ret => Some(SP),
        _ => (i.bytes != 0 && plain && i.op.contains(&Opnd::Mem)).then_some(i.base),
    }
}
/// Whether it stores to memory.
fn writes(i: &Insn) -> bool {
    use Mnemonic::*;
    match i.iced().mnemonic() {
        Push | Call => true,
        Cmp | Test | Bt | Pop | Ret | Jmp | Div | Idiv | Mul | Imul | Nop => false,
        _ => i.op[0] == Opnd::Mem,
    }
}
/// Whether it changes a register otherwise than by a constant.
fn moves(i: &Insn, r: u8) -> bool {
    use Mnemonic::*;
    match i.iced().mnemonic() {
        Cmp | Test | Bt | Push | Inc | Dec => false,
        Add | Sub if i.op[1] == Opnd::Imm => false,
        Call => r != 4,
        _ => i.op[0] == Opnd::Gpr(r),
    }
}

impl Clif<'_> {
    pub fn load_state(&mut self, at: i32) -> V {
        V::S(self.get_state(types::I64, at), u64::MAX)
    }
    pub fn store_state(&mut self, at: i32, v: V) {
        self.changed = true;
        let v = self.val(v);
        self.put_state(v, at);
    }

    /// The linear address of a segment offset.
    pub fn linear(&mut self, seg: SegReg, at: V, _w: Width) -> Value {
        let at = self.val(at);
        if !self.mode().long64() && matches!(seg, SegReg::Cs | SegReg::Fs | SegReg::Gs) {
            // Limits and rights of these are not part of the mode; code is not writable.
            self.misfit = true;
            return at;
        }
        if !matches!(seg, SegReg::Fs | SegReg::Gs) {
            return at;
        }
        let base = self.load_state(native::base_at(seg as usize));
        let base = self.val(base);
        self.b.ins().iadd(at, base)
    }

    /// Compares the tag at `tag` of the entry for `la`; gives whether the access may go straight on, the page that would have
    /// been there, and the entry.
    fn probe(&mut self, la: Value, bytes: u64, tag: i32) -> (Value, Value, (Value, i32)) {
        let (entry, off) = self.tlb_entry(la, self.mode().data_set());
        let have = self.b.ins().load(types::I64, own(), entry, off + tag);
        let end = self.plus(la, bytes as i64 - 1);
        let want = self.b.ins().band_imm_s(end, !0xfff);
        (self.b.ins().icmp(IntCC::Equal, have, want), want, (entry, off))
    }

    /// An access: `fast` does it with the page's addend if a window or the TLB has the page, `slow` otherwise. Gives what
    /// they give.
    fn access(
        &mut self,
        (la, bytes, kind): (Value, u64, Kind),
        slow: impl FnOnce(&mut Self) -> Option<Value>,
        fast: impl FnOnce(&mut Self, Value) -> Option<Value>,
    ) -> Option<Value> {
        let blocks = [(); 3].map(|()| self.b.create_block());
        let [quick, other, done] = blocks;
        self.b.set_cold_block(other);
        let (root, distance) = self.parts(la);
        let write = kind != Kind::Load;
        let near = |w: &Window| w.root == root && (w.at - distance).unsigned_abs() < NEAR;
        let known = |w: &Window| near(w) && (w.write || !write);
        let (addend, opens) = match self.windows.iter().copied().find(known) {
            Some(w) => {
                let at = self.plus(w.from, distance);
                let last = PAGE as i64 - bytes as i64;
                let there = self.b.ins().icmp_imm_u(IntCC::UnsignedLessThanOrEqual, at, last);
                self.b.ins().brif(there, quick, &[], other, &[]);
                self.b.switch_to_block(quick);
                (w.addend, None)
            }
            None => {
                let again = self.again();
                let write = write || again == Some(true);
                let tag = if write { native::TAG_WRITE } else { native::TAG_READ };
                let (hit, page, (entry, off)) = self.probe(la, bytes, tag);
                self.b.ins().brif(hit, quick, &[], other, &[]);
                self.b.switch_to_block(quick);
                let addend = self.b.ins().load(types::I64, own(), entry, off + native::ADDEND);
                let opens = again.map(|_| {
                    self.windows.retain(|w| !near(w));
                    let from = self.b.ins().isub(root, page);
                    Window { root, at: distance, from, addend, write }
                });
                (addend, opens)
            }
        };
        // A device that was written to may have changed what is where: no window is good any more.
        let lost = if kind == Kind::Store { self.windows.len() } else { 0 };
        let opened = opens.iter().flat_map(|w| [w.from, w.addend]);
        let kept: Vec<Value> = self.windows[..lost].iter().map(|w| w.from).chain(opened).collect();
        self.b.switch_to_block(other);
        let result = slow(self);
        let nothing = self.b.ins().iconst(types::I64, i64::MIN);
        let all: Vec<Value> = result.into_iter().chain(kept.iter().map(|_| nothing)).collect();
        let params: Vec<Value> = all
            .iter()
            .map(|&v| {
                let t = self.b.func.dfg.value_type(v);
                self.b.append_block_param(done, t)
            })
            .collect();
        self.jump_to(done, &all);
        self.b.switch_to_block(quick);
        let all: Vec<Value> = fast(self, addend).into_iter().chain(kept).collect();
        self.jump_to(done, &all);
        self.b.switch_to_block(done);
        let mut params = params.into_iter();
        let result = result.and_then(|_| params.next());
        for w in &mut self.windows[..lost] {
            w.from = params.next().unwrap_or(w.from);
        }
        if let (Some(w), Some(from), Some(addend)) = (opens, params.next(), params.next()) {
            if self.windows.len() == WINDOWS {
                self.windows.remove(0);
            }
            self.windows.push(Window { from, addend, ..w });
        }
        result
    }

    /// Whether the current instruction's memory is accessed by the same base again in this block or one that only it leads to;
    /// and if so, whether it is written there.
    fn again(&self) -> Option<bool> {
        let plan = self.plan;
        let g = &plan.blocks[self.guest];
        let base = base_of(&plan.insns[self.index])?;
        let distance = i64::from(plan.insns[self.index].disp);
        let near = |i: &Insn| (i64::from(i.disp) - distance).unsigned_abs() < NEAR;
        let (mut found, mut write) = (false, false);
        if moves(&plan.insns[self.index], base) {
            return None;
        }
        for i in &plan.insns[self.index + 1..g.insns.end] {
            if base_of(i) == Some(base) && near(i) {
                (found, write) = (true, write | writes(i));
            }
            if moves(i, base) {
                return found.then_some(write);
            }
        }
        let next = plan.blocks.iter().filter(|b| b.only == Some(self.guest));
        for b in next {
            for i in &plan.insns[b.insns.clone()] {
                found |= base_of(i) == Some(base) && near(i);
                if moves(i, base) {
                    break;
                }
            }
        }
        found.then_some(write)
    }

    pub fn load_linear(&mut self, la: Value, w: Width) -> V {
        let v = self.load(la, ty(w));
        self.wide(v, w)
    }
    /// Loads 16 bytes.
    pub fn load_128(&mut self, la: Value) -> Value {
        self.load(la, types::I8X16)
    }
    /// Where the TLB has no entry: has a helper do the access, or leaves it to tier 0.
    fn miss(&mut self, m: Miss, bytes: u32, args: &[Value]) {
        let exit = self.exit();
        let on = self.b.create_block();
        self.b.set_cold_block(on);
        let bad = if EMITS {
            let at = native::MISS + 8 * outer::number(m, bytes, self.mode().data_set()) as i32;
            self.call_keeping(at, args);
            let cx = self.cx();
            self.b.ins().load(types::I64, own(), cx, native::BAD)
        } else {
            let (helper, about) = m.helper(bytes.into());
            let about = self.b.ins().iconst(types::I64, about as i64);
            let mut all = args.to_vec();
            all.insert(1, about);
            let Some(bad) = self.call(helper, &all, true) else { return };
            bad
        };
        self.b.ins().brif(bad, exit, &[], on, &[]);
        self.b.switch_to_block(on);
    }
    fn load(&mut self, la: Value, t: Type) -> Value {
        let slow = |c: &mut Self| {
            c.miss(Miss::Load, t.bytes(), &[la]);
            let cx = c.cx();
            Some(c.b.ins().load(t, own(), cx, offset_of!(Cx, value) as i32))
        };
        let fast = |c: &mut Self, addend| {
            let p = c.b.ins().iadd(addend, la);
            Some(c.b.ins().load(t, guest(), p, 0))
        };
        self.access((la, t.bytes().into(), Kind::Load), slow, fast).unwrap_or(la)
    }

    pub fn store_linear(&mut self, la: Value, w: Width, v: V) {
        let whole = self.val(v);
        let slow = |c: &mut Self| {
            c.miss(Miss::Store, w.bytes() as u32, &[la, whole]);
            None
        };
        let fast = |c: &mut Self, addend| {
            let p = c.b.ins().iadd(addend, la);
            c.store_host(p, w, v);
            None
        };
        self.access((la, w.bytes(), Kind::Store), slow, fast);
    }

    /// The host address of a place that is about to be read and written.
    pub fn writable(&mut self, la: Value, w: Width) -> Value {
        self.writable_bytes(la, w.bytes())
    }
    /// The same for any number of bytes; those that cross a page are left to tier 0.
    pub fn writable_bytes(&mut self, la: Value, n: u64) -> Value {
        let host = |c: &mut Self, addend| Some(c.b.ins().iadd(addend, la));
        let slow = |c: &mut Self| {
            c.miss(Miss::Refill, n as u32, &[la]);
            // A write tag without a read tag does not exist: what may be written may be read.
            let cx = c.cx();
            let addend = c.b.ins().load(types::I64, own(), cx, offset_of!(Cx, value) as i32);
            host(c, addend)
        };
        self.access((la, n, Kind::Modify), slow, host).unwrap_or(la)
    }
    pub fn load_host(&mut self, p: Value, w: Width) -> V {
        let v = self.b.ins().load(ty(w), guest(), p, 0);
        self.wide(v, w)
    }
    pub fn store_host(&mut self, p: Value, w: Width, v: V) {
        let v = self.narrow(v, w);
        self.b.ins().store(guest(), v, p, 0);
    }

    pub fn store_host_x(&mut self, p: Value, v: Value, at: i32) {
        self.b.ins().store(guest(), v, p, at);
    }
}
