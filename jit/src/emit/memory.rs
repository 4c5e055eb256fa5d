//! Guest memory: the probe of the TLB as in `softmmu`, and calls of helpers where it misses.

use super::asm::{ABOVE, Alu, Asm, Hole, NOT_EQUAL, One, RAX, RDX, RSP, Rm};
use super::body::{Body, POOL, STACK, V, WINDOWS, Window, context, core, tlb_entry};
use super::miss::{CALLERS, Miss, call, look_again, number, page_of, placed, stack_is, tlb_index};
use crate::clif::rip_at;
use crate::native;

use ::memory::PAGE;
use cpu::{Insn, NO_REG, Opnd, RIP, SegReg, Width};
use iced_x86::Mnemonic;

/// What is done where a probe misses.
#[derive(Clone, Copy)]
enum Way {
    /// Into a register.
    Load(Width, u8),
    Store(Width, u8),
    /// The register gets the addend.
    Refill(Width, u8),
    /// The register gets the host's address.
    Place(Width, u8),
}

/// A probe that missed.
pub struct Slow {
    hole: Hole,
    back: u32,
    way: Way,
    la: u8,
    /// Where the address is a register and a distance, and has not been computed.
    sum: Option<(u8, i32)>,
    exit: usize,
    /// Vector registers are in use.
    vectors: bool,
    /// A window's offset: there is none then.
    window: Option<u8>,
    /// It was not in the page of the stack, which is this one from now on.
    stack: bool,
}

/// Where a page is.
struct Page {
    /// The register with what leads from the guest's address to the host's.
    addend: u8,
    /// A register that is free now.
    free: Option<u8>,
    /// The jump where it is not there.
    miss: Hole,
    /// It was kept in mind: there is no entry to go back to.
    known: bool,
    /// It is, from now on.
    window: Option<u8>,
    /// It is that of the stack.
    stack: bool,
    /// See [`Slow::sum`].
    sum: Option<(u8, i32)>,
}
impl Page {
    /// Where the host has a guest's address.
    fn place(&self, la: u8) -> Rm {
        let (base, disp) = self.sum.unwrap_or((la, 0));
        Rm::X(base, self.addend, 0, disp)
    }
}
/// The number of RIP's value.
pub const RIP_VALUE: u32 = u32::MAX;
/// A window's offset that is on no page.
const NOWHERE: u64 = 1 << 30;

/// The jump where so many bytes from an offset on are not all in the page.
fn outside(a: &mut Asm, offset: u8, bytes: u64) -> Hole {
    match native::within_at(bytes) {
        Some(at) => a.alu(Alu::Cmp, Width::W64, offset, core(at)),
        None => {
            let last = PAGE as i32 - bytes as i32;
            a.alu_constant(Alu::Cmp, Width::W64, Rm::R(offset), last);
        }
    }
    a.jcc(ABOVE)
}

impl Body<'_> {
    pub fn load_state(&mut self, at: i32) -> V {
        let t = self.fresh();
        self.asm.load(Width::W64, t, core(at));
        V::R(t, u64::MAX)
    }
    pub fn store_state(&mut self, at: i32, v: V) {
        self.changed = true;
        let h = self.reg(v);
        self.asm.store(Width::W64, core(at), h);
    }
    /// The linear address `delta` bytes from the block's start.
    pub fn rip(&mut self, delta: i32) -> V {
        let t = self.fresh();
        self.asm.load(Width::W64, t, core(rip_at()));
        if self.mode.long64() {
            self.asm.lea(Width::W64, t, Rm::M(t, delta));
            // What the core has for RIP stays all through a region.
            self.now.origin[t as usize] = (RIP_VALUE, delta);
            return V::R(t, u64::MAX);
        }
        self.asm.lea(Width::W32, t, Rm::M(t, delta));
        V::R(t, 0xffff_ffff)
    }
    /// The same, in a register that may have it already.
    pub fn rip_of(&mut self, delta: i32) -> u8 {
        let known = |&h: &u8| self.now.origin[h as usize] == (RIP_VALUE, delta);
        match (0..16).filter(|h| POOL & 1 << h != 0).find(known) {
            Some(h) => h,
            None => {
                let v = self.rip(delta);
                self.reg(v)
            }
        }
    }
    /// The linear address of a segment offset, in a register.
    pub fn linear(&mut self, seg: SegReg, at: V) -> u8 {
        let based = matches!(seg, SegReg::Fs | SegReg::Gs);
        if !self.mode.long64() && (based || seg == SegReg::Cs) {
            // Limits and rights of these are not part of the mode.
            self.misfit = true;
            return 0;
        }
        if !based {
            return self.reg(at);
        }
        let t = self.copy(at);
        self.clobber();
        self.asm.alu(Alu::Add, Width::W64, t, core(native::base_at(seg as usize)));
        t
    }

    /// Looks for the entry of `la`: `(index of the entry, a register that is free now, the jump where it is not there)`.
    pub fn probe(&mut self, la: u8, bytes: u64, tag: i32) -> (u8, u8, Hole) {
        let (t, e) = (self.fresh(), self.fresh());
        self.clobber();
        tlb_index(&mut self.asm, t, la);
        match bytes {
            1 => self.asm.mov(e, la),
            _ => self.asm.lea(Width::W64, e, Rm::M(la, bytes as i32 - 1)),
        }
        page_of(&mut self.asm, e);
        let entry = self.entry(t, tag);
        self.asm.alu(Alu::Cmp, Width::W64, e, entry);
        (t, e, self.asm.jcc(NOT_EQUAL))
    }
    pub fn entry(&self, t: u8, field: i32) -> Rm {
        tlb_entry(t, native::tlb_at(self.mode.data_set()) + field)
    }
    fn later(&mut self, p: &Page, way: Way, la: u8) {
        let exit = self.exit_number();
        let back = self.asm.here();
        let vectors = self.now.vector.any();
        let (hole, window, stack, sum) = (p.miss, p.window, p.stack, p.sum);
        self.slow.push(Slow { hole, back, way, la, sum, exit, vectors, window, stack });
    }

    /// Whether another access by the same register is near.
    fn pays(&self) -> bool {
        let i = &self.insns[self.index];
        let base = |i: &Insn| {
            let plain = i.op.contains(&Opnd::Mem)
                && i.index == NO_REG
                && i.iced().mnemonic() != Mnemonic::Lea;
            let stack = || i.iced().op_code().is_stack_instruction().then_some(4);
            if plain { Some(i.base).filter(|b| *b < 16 || *b == RIP) } else { stack() }
        };
        let Some(b) = base(i) else { return false };
        for i in self.insns[self.index + 1..self.horizon].iter().take(16) {
            if base(i) == Some(b) {
                return true;
            }
            if b != 4 && i.op[0] == Opnd::Gpr(b) {
                return false;
            }
        }
        false
    }
    /// Whether an address is so far from the stack pointer that it is likely to be in the stack's page.
    fn on_stack(&self, la: u8) -> bool {
        const RSP: usize = 4;
        let root = |h: u8| self.now.origin[h as usize].0;
        self.alone && self.now.cache.get(RSP).is_some_and(|h| root(h) == root(la))
    }
    /// Takes the code of an address away again which nobody has used yet, where the access can do without it.
    fn uncomputed(&mut self, la: u8) -> Option<(u8, i32)> {
        use Mnemonic::*;
        let s = self.sum.take().filter(|s| s.la == la && s.at.end == self.asm.here())?;
        let once = matches!(
            self.insns[self.index].iced().mnemonic(),
            Mov | Movzx | Movsx | Movsxd | Add | Sub | And | Or | Xor | Cmp | Test | Inc | Dec
        );
        if !once {
            return None;
        }
        self.asm.code.truncate(s.at.start as usize);
        Some((s.base, s.disp))
    }
    /// Finds the page of `la`, which is in the TLB or kept in mind, or is that of the stack, for who sees to it that this follows.
    fn page(&mut self, la: u8, bytes: u64, write: bool, stack: bool) -> Page {
        if stack && self.on_stack(la) {
            let [page, addend] = STACK;
            let x = self.fresh();
            let sum = self.uncomputed(la);
            let (base, disp) = sum.unwrap_or((la, 0));
            self.asm.lea(Width::W64, x, Rm::X(base, page, 0, disp));
            self.clobber();
            let miss = outside(&mut self.asm, x, bytes);
            return Page { addend, free: Some(x), miss, known: true, window: None, stack, sum };
        }
        let (root, at) = self.now.origin[la as usize];
        let same = |w: &&Window| w.root.0 == root && (w.write || !write);
        if let Some(w) = self.now.windows.iter().flatten().find(same).copied()
            && let Some(d) = at.checked_sub(w.root.1).filter(|d| d.unsigned_abs() < 1 << 20)
        {
            let used = 1 << w.addend | 1 << w.offset;
            self.pinned |= used;
            let x = self.fresh();
            let sum = self.uncomputed(la);
            self.asm.lea(Width::W64, x, Rm::M(w.offset, d));
            self.clobber();
            let miss = outside(&mut self.asm, x, bytes);
            let (addend, window) = (w.addend, None);
            return Page { addend, free: Some(x), miss, known: true, window, stack: false, sum };
        }
        let tag = if write { native::TAG_WRITE } else { native::TAG_READ };
        let pays = self.mode.long64() && self.pays();
        let (t, e, miss) = self.probe(la, bytes, tag);
        let window = pays.then_some(e);
        Page { addend: t, free: Some(e), miss, known: false, window, stack: false, sum: None }
    }
    /// Loads what leads to the page, and keeps it in mind if that pays.
    fn found(&mut self, la: u8, p: &mut Page, write: bool) {
        if p.known {
            return;
        }
        self.load_addend(p);
        self.keep(la, p, write);
    }
    fn load_addend(&mut self, p: &Page) {
        self.asm.load(Width::W64, p.addend, self.entry(p.addend, native::ADDEND));
    }
    fn keep(&mut self, la: u8, p: &mut Page, write: bool) {
        let Some(e) = p.window else { return };
        self.clobber();
        self.asm.one(One::Neg, Width::W64, Rm::R(e));
        self.asm.alu(Alu::Add, Width::W64, e, Rm::R(la));
        p.free = None;
        let root = self.now.origin[la as usize];
        let w = Window { root, addend: p.addend, offset: e, write };
        // The newest is the first; one of the same value, or the oldest, goes.
        let all = &mut self.now.windows;
        let same = |o: &Option<Window>| o.is_none_or(|o| o.root.0 == root.0);
        let end = all.iter().position(same).unwrap_or(WINDOWS - 1);
        all[..=end].rotate_right(1);
        all[0] = Some(w);
    }
    /// The host's place of an operand that other instructions than plain moves use.
    pub fn place_at(
        &mut self,
        la: u8,
        bytes: u64,
        write: bool,
        late: impl FnOnce(&mut Self, Hole, Option<u8>),
    ) -> Rm {
        let mut p = self.page(la, bytes, write, false);
        if p.known {
            let x = p.free.unwrap_or(0);
            self.asm.lea(Width::W64, x, p.place(la));
            late(self, p.miss, Some(x));
            return Rm::M(x, 0);
        }
        late(self, p.miss, None);
        self.found(la, &mut p, write);
        p.place(la)
    }

    pub fn load_linear(&mut self, la: u8, w: Width) -> V {
        let mut p = self.page(la, w.bytes(), false, true);
        self.found(la, &mut p, false);
        use Mnemonic::{Mov, Movsx, Movsxd, Movzx, Pop};
        let moves =
            matches!(self.insns[self.index].iced().mnemonic(), Mov | Movzx | Movsx | Movsxd | Pop);
        let out = match p.free {
            _ if moves => self.result_register(),
            Some(free) => free,
            None => self.fresh(),
        };
        self.asm.load(w, out, p.place(la));
        self.later(&p, Way::Load(w, out), la);
        self.done_with(&p, out);
        V::R(out, w.mask())
    }
    pub fn store_linear(&mut self, la: u8, w: Width, v: V) {
        let v = self.low(w, v);
        let mut p = self.page(la, w.bytes(), true, true);
        self.found(la, &mut p, true);
        self.asm.store(w, p.place(la), v);
        self.later(&p, Way::Store(w, v), la);
        self.done_with(&p, v);
    }
    /// The instruction may use the registers that led to the page for something else, but for this one. A page that is kept in mind
    /// goes if no other registers are left.
    fn done_with(&mut self, p: &Page, but: u8) {
        let lead = if p.stack { p.free } else { Some(p.addend) };
        let used = lead.into_iter().chain(p.window).filter(|h| *h != but);
        self.pinned &= !used.fold(0, |all, h| all | 1 << h);
    }
    /// The host address of a place that is about to be read and written.
    pub fn writable(&mut self, la: u8, w: Width) -> u8 {
        let mut p = self.page(la, w.bytes(), true, true);
        if p.known {
            let x = p.free.unwrap_or(0);
            self.asm.lea(Width::W64, x, p.place(la));
            self.later(&p, Way::Place(w, x), la);
            return x;
        }
        self.load_addend(&p);
        let way = Way::Refill(w, p.addend);
        self.later(&Page { window: None, ..p }, way, la);
        self.keep(la, &mut p, true);
        let x = self.fresh();
        self.asm.lea(Width::W64, x, p.place(la));
        x
    }

    /// Looks whether the page of the linear address in `x` is there in the TLB for code, and is this one of the host's; gives the jumps
    /// where it is not: `x` is the page still at the first. Uses both registers.
    pub fn same_page(&mut self, x: u8, t: u8, host: u64) -> [Hole; 2] {
        let set = native::tlb_at(self.mode.code_set());
        let a = &mut self.asm;
        page_of(a, x);
        tlb_index(a, t, x);
        a.alu(Alu::Cmp, Width::W64, x, tlb_entry(t, set + native::TAG_EXEC));
        let other = a.jcc(NOT_EQUAL);
        a.alu(Alu::Add, Width::W64, x, tlb_entry(t, set + native::ADDEND));
        a.constant(t, host);
        a.alu(Alu::Cmp, Width::W64, x, Rm::R(t));
        [other, a.jcc(NOT_EQUAL)]
    }

    /// Asks a helper that takes a number and changes nothing.
    pub fn ask(&mut self, at: usize, arg: u64) -> V {
        let t = self.fresh();
        self.clobber();
        self.now.vector.forget();
        // Here, right behind a return address, the stack is 8 bytes off, and so it is with an even number of words.
        let used = (self.cached() | self.pinned) & !(1 << t);
        let saved: Vec<u8> = CALLERS.into_iter().filter(|r| used & 1 << r != 0).collect();
        saved.iter().for_each(|r| self.asm.push(*r));
        let pad = if saved.len() % 2 == 0 { 8 } else { 0 };
        self.asm.lea(Width::W64, RSP, Rm::M(RSP, -pad));
        self.asm.constant(RDX, arg);
        call(&mut self.asm, at);
        self.asm.mov(t, RAX);
        self.asm.lea(Width::W64, RSP, Rm::M(RSP, pad));
        saved.iter().rev().for_each(|r| self.asm.pop(*r));
        self.changed_registers(!used & !(1 << t));
        V::R(t, u64::MAX)
    }

    /// Writes the code of all probes that miss.
    pub fn write_slow(&mut self) {
        let set = self.mode.data_set();
        for s in std::mem::take(&mut self.slow) {
            let a = &mut self.asm;
            a.land(s.hole);
            if let Some((base, disp)) = s.sum {
                a.lea(Width::W64, s.la, Rm::M(base, disp));
            }
            let there = match s.way {
                Way::Place(w, x) => {
                    Some(look_again(a, x, s.la, w.bytes() as i32, native::TAG_WRITE, set))
                }
                _ => None,
            };
            let (miss, w) = match s.way {
                Way::Load(w, _) => (Miss::Load, w),
                Way::Store(w, v) => {
                    a.push(v);
                    (Miss::Store, w)
                }
                Way::Refill(w, _) | Way::Place(w, _) => (Miss::Refill, w),
            };
            a.push(s.la);
            let n = number(miss, w, set, s.vectors, s.stack);
            a.call(context(native::THUNK + 8 * n as i32));
            match s.way {
                Way::Load(_, out) | Way::Refill(_, out) | Way::Place(_, out) => a.pop(out),
                Way::Store(..) => a.lea(Width::W64, RSP, Rm::M(RSP, 16)),
            }
            let bad = a.jcc(NOT_EQUAL);
            self.ways_out.push((s.exit as u32, bad));
            if let Some(offset) = s.window {
                a.constant(offset, NOWHERE);
            }
            if let Way::Place(_, x) = s.way {
                a.alu(Alu::Add, Width::W64, x, Rm::R(s.la));
                a.jmp_back(s.back);
                there.into_iter().for_each(|h| a.land(h));
                if s.stack {
                    stack_is(a, tlb_entry(x, native::tlb_at(set) + native::ADDEND), s.la);
                }
                placed(a, x, s.la, set);
            }
            a.jmp_back(s.back);
        }
    }
}
