//! Guest memory: the probe of the TLB as in `softmmu`, and calls of helpers where it misses.

use super::asm::{
    ABOVE, Alu, Asm, EQUAL, Hole, NOT_EQUAL, One, R8, RAX, RCX, RDI, RDX, RSI, RSP, Rm, Shift,
};
use super::body::{Body, CX, POOL, V, WINDOWS, Window, context, core, pass_on, tlb_entry};
use super::vector::avx;
use crate::clif::rip_at;
use crate::native::{self, Cx};

use ::memory::{OTHER, PAGE, TLB_SIZE};
use cpu::{Insn, NO_REG, Opnd, RIP, SegReg, Width};
use iced_x86::Mnemonic;
use std::mem::offset_of;

/// What helpers do not keep: the host's convention.
const CALLERS: [u8; 9] = [RAX, RCX, RDX, RSI, RDI, R8, 9, 10, 11];

/// What is done where a probe misses.
#[derive(Clone, Copy)]
enum Way {
    /// Into a register.
    Load(Width, u8),
    Store(Width, u8),
    /// The TLB's entry is made, and the probe's end is done again.
    Refill(Width),
    /// The entry is made, and the register gets the host's address.
    Place(Width, u8),
}

/// A probe that missed.
pub struct Slow {
    hole: Hole,
    back: u32,
    way: Way,
    la: u8,
    exit: usize,
    /// Vector registers are in use.
    vectors: bool,
    /// A window's offset: there is none then.
    window: Option<u8>,
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
}
/// The number of RIP's value.
pub const RIP_VALUE: u32 = u32::MAX;
/// A window's offset that is on no page.
const NOWHERE: u64 = 1 << 30;

/// What is done where a probe misses, by a helper.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Miss {
    Load,
    Store,
    /// Makes the TLB's entry for a place that is to be read and written.
    Refill,
}
impl Miss {
    pub const ALL: [Miss; 3] = [Miss::Load, Miss::Store, Miss::Refill];
    /// Where the helper is in [`Cx`], and how it is told of so many bytes.
    pub fn helper(self, bytes: u64) -> (usize, u64) {
        match self {
            Miss::Load => (offset_of!(Cx, load), 8 * bytes),
            Miss::Store => (offset_of!(Cx, store), 8 * bytes),
            Miss::Refill => (offset_of!(Cx, refill), bytes),
        }
    }
}

/// Sets of the TLB for data.
pub const SETS: usize = 3;
/// How many thunks there are, which all probes that miss call: each for four widths and three sets, and once more for where
/// vector registers are in use.
pub const THUNKS: usize = 2 * KINDS;
const KINDS: usize = 4 * SETS * Miss::ALL.len();

/// The number of a thunk.
fn number(m: Miss, w: Width, set: usize) -> usize {
    4 * (SETS * m as usize + set % SETS) + w.bytes().trailing_zeros() as usize
}
/// All thunks, by their numbers.
pub fn thunks() -> impl Iterator<Item = (usize, Vec<u8>)> {
    let widths = [Width::W8, Width::W16, Width::W32, Width::W64];
    let all = widths.into_iter().flat_map(|w| (0..SETS).map(move |set| (w, set)));
    let of = move |m| all.clone().map(move |(w, set)| (m, w, set));
    Miss::ALL.into_iter().flat_map(of).flat_map(|(m, w, set)| {
        let n = number(m, w, set);
        [(n, thunk(m, w, set, false)), (n + KINDS, thunk(m, w, set, true))]
    })
}

/// Bytes of the vector registers on the stack.
pub const VECTORS: i32 = 16 * 32;
/// Stores the vector registers on the stack, all of them or their low halves, or loads them from there.
pub fn keep_vectors(a: &mut Asm, whole: bool, load: bool) {
    for x in 0..16 {
        let at = Rm::M(RSP, 32 * i32::from(x));
        if load { a.load_wide(whole, x, at) } else { a.store_wide(whole, at, x) }
    }
}

/// Code to be called that keeps the registers which helpers do not, and the host's flags as `body` leaves them. That has `room`
/// bytes of the stack, and is told how far up is what stands above the return address.
pub fn keeping(room: i32, body: impl FnOnce(&mut Asm, i32)) -> Vec<u8> {
    let mut a = Asm::default();
    CALLERS.iter().for_each(|r| a.push(*r));
    a.lea(Width::W64, RSP, Rm::M(RSP, -room));
    body(&mut a, room + 8 * CALLERS.len() as i32 + 8);
    a.lea(Width::W64, RSP, Rm::M(RSP, room));
    CALLERS.iter().rev().for_each(|r| a.pop(*r));
    a.ret();
    a.code
}

/// A thunk. On the stack are the address, and above it what is to be stored; what was read is where the address was. The
/// flag "not equal" says that tier 0 has to do it.
fn thunk(m: Miss, w: Width, set: usize, vectors: bool) -> Vec<u8> {
    let mut a = Asm::default();
    if m != Miss::Refill {
        aside(&mut a, m, w, set);
    }
    a.code.extend(missed(m, w, vectors));
    a.code
}
/// What [`look`] uses besides the address.
pub const LOOKS: [u8; 3] = [RAX, RCX, RDX];
/// Has the addend of the page of `la` in RAX, which is in its place in the TLB or aside; gives the jump where it is neither.
pub fn look(a: &mut Asm, la: u8, m: Miss, bytes: u32, set: usize) -> Hole {
    let tag = if m == Miss::Load { native::TAG_READ } else { native::TAG_WRITE };
    let entry = |field| tlb_entry(RAX, native::tlb_at(set) + field);
    // Regions by Cranelift come here, too.
    tlb_index_by_itself(a, RAX, la);
    a.lea(Width::W64, RCX, Rm::M(la, bytes as i32 - 1));
    a.alu_constant(Alu::And, Width::W64, Rm::R(RCX), !0xfff);
    a.alu(Alu::Cmp, Width::W64, RCX, entry(tag));
    let here = a.jcc(EQUAL);
    a.alu_constant(Alu::Xor, Width::W64, Rm::R(RAX), OTHER as i32);
    a.alu(Alu::Cmp, Width::W64, RCX, entry(tag));
    let other = a.jcc(NOT_EQUAL);
    a.land(here);
    a.load(Width::W64, RAX, entry(native::ADDEND));
    other
}
/// Does it if the page is in the other place where it may be.
fn aside(a: &mut Asm, m: Miss, w: Width, set: usize) {
    let address = Rm::M(RSP, 8 * LOOKS.len() as i32 + 8);
    let value = Rm::M(RSP, 8 * LOOKS.len() as i32 + 16);
    LOOKS.iter().for_each(|r| a.push(*r));
    a.load(Width::W64, RDX, address);
    let other = look(a, RDX, m, w.bytes() as u32, set);
    let there = Rm::X(RAX, RDX, 0, 0);
    if m == Miss::Load {
        a.load(w, RCX, there);
        a.store(Width::W64, address, RCX);
    } else {
        a.load(Width::W64, RCX, value);
        a.store(w, there, RCX);
    }
    // The flag "equal" is there since the comparison.
    LOOKS.iter().rev().for_each(|r| a.pop(*r));
    a.ret();
    a.land(other);
    LOOKS.iter().rev().for_each(|r| a.pop(*r));
}
fn missed(m: Miss, w: Width, vectors: bool) -> Vec<u8> {
    let (helper, about) = m.helper(w.bytes());
    // The stack is aligned for the call: one word is there for a load, two are for a store.
    let room = if m == Miss::Store { 8 } else { 0 } + if vectors { VECTORS } else { 0 };
    keeping(room, |a, first| {
        if vectors {
            keep_vectors(a, avx(), false);
        }
        a.load(Width::W64, RDX, Rm::M(RSP, first));
        if m == Miss::Store {
            a.load(Width::W64, R8, Rm::M(RSP, first + 8));
        }
        a.constant(RCX, about);
        call(a, helper);
        a.test(Width::W32, Rm::R(RAX), RAX);
        if m == Miss::Load {
            a.load(Width::W64, RAX, context(native::VALUE));
            a.store(Width::W64, Rm::M(RSP, first), RAX);
        }
        if vectors {
            keep_vectors(a, avx(), true);
        }
    })
}

/// Calls function `at` of [`Cx`]; what it wants besides the core and the context is in its registers.
pub fn call(a: &mut Asm, at: usize) {
    pass_on(a);
    a.call(context(at as i32));
}
/// Looks for the entry of `la`, and has its index in `x`; gives the jump where it is there.
pub fn look_again(a: &mut Asm, x: u8, la: u8, bytes: i32, tag: i32, set: usize) -> Hole {
    let t = [RAX, RCX, RDX].into_iter().find(|t| *t != x && *t != la).unwrap_or(RAX);
    a.push(t);
    tlb_index(a, x, la);
    a.lea(Width::W64, t, Rm::M(la, bytes - 1));
    a.alu_constant(Alu::And, Width::W64, Rm::R(t), !0xfff);
    a.alu(Alu::Cmp, Width::W64, t, tlb_entry(x, native::tlb_at(set) + tag));
    a.pop(t);
    a.jcc(EQUAL)
}
/// `x`, the index of the entry of `la`, becomes the host's address.
pub fn placed(a: &mut Asm, x: u8, la: u8, set: usize) {
    a.load(Width::W64, x, tlb_entry(x, native::tlb_at(set) + native::ADDEND));
    a.alu(Alu::Add, Width::W64, x, Rm::R(la));
}
/// `index` becomes the number of the entry of `la` in the TLB.
pub fn tlb_index(a: &mut Asm, index: u8, la: u8) {
    if super::has_counts() {
        // The register has the number of the first bit and how many there are: see `native::CONTEXT_BIAS`.
        return a.bits(Width::W64, index, la, CX);
    }
    tlb_index_by_itself(a, index, la);
}
/// The same without the context.
fn tlb_index_by_itself(a: &mut Asm, index: u8, la: u8) {
    a.mov(index, la);
    a.shift(Shift::Shr, Width::W64, Rm::R(index), PAGE.trailing_zeros() as u8);
    a.alu_constant(Alu::And, Width::W32, Rm::R(index), TLB_SIZE as i32 - 1);
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
        self.asm.alu_constant(Alu::And, Width::W64, Rm::R(e), !0xfff);
        let entry = self.entry(t, tag);
        self.asm.alu(Alu::Cmp, Width::W64, e, entry);
        (t, e, self.asm.jcc(NOT_EQUAL))
    }
    pub fn entry(&self, t: u8, field: i32) -> Rm {
        tlb_entry(t, native::tlb_at(self.mode.data_set()) + field)
    }
    fn later(&mut self, hole: Hole, way: Way, la: u8, window: Option<u8>) {
        let exit = self.exit_number();
        let back = self.asm.here();
        let vectors = self.now.vector.any();
        self.slow.push(Slow { hole, back, way, la, exit, vectors, window });
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
    /// Finds the page of `la`, which is in the TLB or kept in mind.
    fn page(&mut self, la: u8, bytes: u64, write: bool) -> Page {
        let (root, at) = self.now.origin[la as usize];
        let same = |w: &&Window| w.root.0 == root && (w.write || !write);
        if let Some(w) = self.now.windows.iter().flatten().find(same).copied()
            && let Some(d) = at.checked_sub(w.root.1).filter(|d| d.unsigned_abs() < 1 << 20)
        {
            let used = 1 << w.addend | 1 << w.offset;
            self.pinned |= used;
            let x = self.fresh();
            self.asm.lea(Width::W64, x, Rm::M(w.offset, d));
            self.clobber();
            self.asm.alu_constant(Alu::Cmp, Width::W64, Rm::R(x), PAGE as i32 - bytes as i32);
            let miss = self.asm.jcc(ABOVE);
            return Page { addend: w.addend, free: Some(x), miss, known: true, window: None };
        }
        let tag = if write { native::TAG_WRITE } else { native::TAG_READ };
        let pays = self.mode.long64() && self.pays();
        let (t, e, miss) = self.probe(la, bytes, tag);
        Page { addend: t, free: Some(e), miss, known: false, window: pays.then_some(e) }
    }
    /// Loads what leads to the page, and keeps it in mind if that pays.
    fn found(&mut self, la: u8, p: &mut Page, write: bool) {
        if p.known {
            return;
        }
        self.asm.load(Width::W64, p.addend, self.entry(p.addend, native::ADDEND));
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
        let mut p = self.page(la, bytes, write);
        if p.known {
            let x = p.free.unwrap_or(0);
            self.asm.lea(Width::W64, x, Rm::X(p.addend, la, 0, 0));
            late(self, p.miss, Some(x));
            return Rm::M(x, 0);
        }
        late(self, p.miss, None);
        self.found(la, &mut p, write);
        Rm::X(p.addend, la, 0, 0)
    }

    pub fn load_linear(&mut self, la: u8, w: Width) -> V {
        let mut p = self.page(la, w.bytes(), false);
        self.found(la, &mut p, false);
        use Mnemonic::{Mov, Movsx, Movsxd, Movzx, Pop};
        let moves =
            matches!(self.insns[self.index].iced().mnemonic(), Mov | Movzx | Movsx | Movsxd | Pop);
        let out = match p.free {
            _ if moves => self.result_register(),
            Some(free) => free,
            None => self.fresh(),
        };
        self.asm.load(w, out, Rm::X(p.addend, la, 0, 0));
        self.later(p.miss, Way::Load(w, out), la, p.window);
        V::R(out, w.mask())
    }
    pub fn store_linear(&mut self, la: u8, w: Width, v: V) {
        let v = self.low(w, v);
        let mut p = self.page(la, w.bytes(), true);
        self.found(la, &mut p, true);
        self.asm.store(w, Rm::X(p.addend, la, 0, 0), v);
        self.later(p.miss, Way::Store(w, v), la, p.window);
    }
    /// The host address of a place that is about to be read and written.
    pub fn writable(&mut self, la: u8, w: Width) -> u8 {
        let place = self.place_at(la, w.bytes(), true, |s, miss, x| {
            let way = x.map_or(Way::Refill(w), |x| Way::Place(w, x));
            s.later(miss, way, la, None);
        });
        match place {
            Rm::M(x, _) => x,
            place => {
                let x = self.fresh();
                self.asm.lea(Width::W64, x, place);
                x
            }
        }
    }

    /// Looks whether the page of the linear address in `x` is there in the TLB for code, and is this one of the host's; gives the jumps
    /// where it is not: `x` is the page still at the first. Uses both registers.
    pub fn same_page(&mut self, x: u8, t: u8, host: u64) -> [Hole; 2] {
        let set = native::tlb_at(self.mode.code_set());
        let a = &mut self.asm;
        a.alu_constant(Alu::And, Width::W64, Rm::R(x), !(PAGE as i32 - 1));
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
                Way::Refill(w) | Way::Place(w, _) => (Miss::Refill, w),
            };
            a.push(s.la);
            let n = number(miss, w, set) + if s.vectors { KINDS } else { 0 };
            a.call(context(native::THUNK + 8 * n as i32));
            match s.way {
                Way::Load(_, out) => a.pop(out),
                Way::Store(..) => a.lea(Width::W64, RSP, Rm::M(RSP, 16)),
                Way::Refill(_) | Way::Place(..) => a.pop(s.la),
            }
            let bad = a.jcc(NOT_EQUAL);
            self.ways_out.push((s.exit as u32, bad));
            if let Some(offset) = s.window {
                a.constant(offset, NOWHERE);
            }
            if let Way::Place(_, x) = s.way {
                there.into_iter().for_each(|h| a.land(h));
                placed(a, x, s.la, set);
            }
            a.jmp_back(s.back);
        }
    }
}
