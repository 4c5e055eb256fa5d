//! One block's code: the words of [`Sem`](cpu::Sem) answered with host registers.
//!
//! Guest registers are written through: a value that is set is stored at once, and what is in a host register is a copy
//! for later reads. A host register never changes while somebody knows what is in it. So a *side exit*, which leaves the
//! current instruction to tier 0, has nothing to store but the flags, RIP and the count; all that is in [`Exit`].

use super::asm::{Alu, Asm, Hole, NOT_EQUAL, OVERFLOW, RAX, RDI, RSI, RSP, Rm};
use super::copies::Copies;
use super::flags::{Flags, registers};
use super::sem::top;
use crate::clif::{gpr_at, leave, left_at, rip_at};
use crate::native::{self, BIAS, context_at};
use cpu::{Insn, Mode, Op2, Opnd, Width};
use iced_x86::Mnemonic;

/// The core and the context, in registers that helpers keep. Regions have the first one there, too.
pub const CORE: u8 = 15;
pub const CX: u8 = 12;
/// How many instructions may be executed, where all code of a mode is this tier's; else that is in the core all the time.
pub const LEFT: u8 = 14;
/// Bytes that a block's code has room for at first, and each instruction's: more than most need.
const ROOM: usize = 256;
const PER_INSN: usize = 128;
/// The page of the stack, where all code of a mode is this tier's: less the page's address, and what leads from the guest's
/// address to the host's. It may be read and written.
pub const STACK: [u8; 2] = [5, 13];
/// What the first of them is where there is no such page: no address that is [`native::stack_is_near`] and this make an offset in one.
const NO_STACK: u64 = 1 << 63;
/// Registers for values.
pub const POOL: u16 = !(1 << RSP | 1 << CORE | 1 << CX | 1 << LEFT | 1 << STACK[0] | 1 << STACK[1]);

/// A place in the core.
pub fn core(at: i32) -> Rm {
    Rm::M(CORE, at - BIAS)
}
/// A place in the context.
pub fn context(at: i32) -> Rm {
    context_by(CX, at)
}
/// The same where another register has what [`context_at`] has.
pub fn context_by(base: u8, at: i32) -> Rm {
    Rm::M(base, at - native::CONTEXT_BIAS)
}
/// A place in one of the parts of the TLB, with the entry's number.
pub fn tlb_entry(index: u8, at: i32) -> Rm {
    const EIGHT: u8 = 3;
    Rm::X(CORE, index, EIGHT, at - BIAS)
}
/// A place in one of the core's tables, with an index in bytes.
pub fn core_table(index: u8, at: i32) -> Rm {
    Rm::X(CORE, index, 0, at - BIAS)
}
/// Has the context where this tier wants it.
pub fn come_in(a: &mut Asm) {
    a.load(Width::W64, CX, core(context_at()));
}
/// Takes the count from the core, or puts it there.
pub fn load_left(a: &mut Asm) {
    a.load(Width::W64, LEFT, core(left_at()));
}
pub fn store_left(a: &mut Asm) {
    a.store(Width::W64, core(left_at()), LEFT);
}
/// The TLB may have changed: the page of the stack is not known.
pub fn forget_stack(a: &mut Asm) {
    a.constant(STACK[0], NO_STACK);
}
/// Gives the two to a helper.
pub fn pass_on(a: &mut Asm) {
    a.lea(Width::W64, RDI, core(0));
    a.lea(Width::W64, RSI, context(0));
}

/// A value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum V {
    K(u64),
    /// A host register, with the most that is in it.
    R(u8, u64),
    /// The low bits of a host register.
    L(u8, Width),
    /// A condition of the guest's flags as they were when there had been so many of them in this block.
    C(u8, u32),
    /// Part of the flags that follows from the others.
    Gone,
}
impl V {
    pub fn host(self) -> Option<u8> {
        if let V::R(h, _) | V::L(h, _) = self { Some(h) } else { None }
    }
}

/// Leaving before an instruction.
pub struct Exit {
    pub flags: Flags,
    /// See [`super::x87::Now`].
    pub last: Option<(i32, u8)>,
    /// The instruction's distance from the block's start.
    pub delta: i32,
    /// Instructions from this one on that are counted already.
    undone: i32,
}

/// How the block ends.
#[derive(Clone, Copy, Debug)]
pub enum Term {
    Fall,
    Jump(i64),
    Branch(V, i64),
    Indirect(V),
}

/// What changes from instruction to instruction, and is taken back when one does not fit.
#[derive(Clone)]
pub struct Now {
    /// Where copies of guest registers are.
    pub cache: Copies,
    pub flags: Flags,
    /// The host's flags are those that [`Flags::Known`] describes.
    pub live: bool,
    /// CF is the low byte of this register.
    pub carry: Option<u8>,
    /// How often the flags have changed.
    pub age: u32,
    pub term: Term,
    pub x87: super::x87::Now,
    pub vector: super::vector::Now,
    /// The operation whose flags the host has, with its result.
    pub made: Option<(Op2, Width, V)>,
    /// Guest registers whose copies are below 2^32.
    pub short: u16,
    /// What each host register is: so far from a value that has a number.
    pub origin: [(u32, i32); 16],
    /// The same for guest registers, also while no host register has a copy; number 0 where it is not known.
    pub guest: [(u32, i32); 16],
    /// Pages that are kept in mind.
    pub windows: [Option<Window>; WINDOWS],
    /// The next register to take, so that copies last.
    turn: u8,
}

/// A page that an access has found: good for places near it without a look at the TLB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The value that addresses are relative to, and how far from it the first access was.
    pub root: (u32, i32),
    /// The register with what leads from the guest's address to the host's.
    pub addend: u8,
    /// The register with the distance of the first access from the start of the page.
    pub offset: u8,
    /// The page may be written, too.
    pub write: bool,
}
pub const WINDOWS: usize = 3;

impl Now {
    /// Where nothing is known.
    pub fn new() -> Now {
        Now {
            cache: Copies::NONE,
            flags: Flags::Stored,
            live: false,
            carry: None,
            age: 0,
            made: None,
            term: Term::Fall,
            x87: Default::default(),
            vector: Default::default(),
            short: 0,
            origin: [(0, 0); 16],
            guest: [(0, 0); 16],
            windows: [None; WINDOWS],
            turn: 0,
        }
    }
    /// At the start of a block, behind what is done there.
    pub fn begin(&mut self) {
        (self.live, self.made, self.term, self.carry) = (false, None, Term::Fall, None);
    }
}

/// An address that was computed by the last instruction that was emitted, at this place.
pub struct Sum {
    pub la: u8,
    pub base: u8,
    pub disp: i32,
    pub at: std::ops::Range<u32>,
}

/// A block under construction.
pub struct Body<'a> {
    pub asm: Asm,
    pub insns: &'a [Insn],
    pub mode: Mode,
    /// All code of the mode is this tier's: the count is in a register, and CALLs and RETs use the host's stack.
    pub alone: bool,
    /// The host has POPCNT, LZCNT and TZCNT; SHLX, SHRX and SARX.
    pub counts: bool,
    pub shifts_x: bool,
    pub now: Now,
    pub exits: Vec<Exit>,
    /// Jumps to them, by their numbers.
    pub ways_out: Vec<(u32, Hole)>,
    pub slow: Vec<super::memory::Slow>,
    /// Where the host's stack has no room for one more frame, and where that goes on.
    pub full: Vec<(Hole, u32)>,
    /// Where it is not known which code is next, the registers with the address and for the code, and where that goes on.
    pub unknown: Vec<([Hole; 2], u8, u8, u32)>,
    pub late: Vec<super::x87::Late>,
    /// In use by the current instruction.
    pub pinned: u16,
    /// Where the loop around wants guest registers.
    home: Copies,
    homes: u16,
    /// Values that have numbers so far.
    values: u32,
    /// Where the current block's instructions end, up to where they are counted, and where what it has in registers is no longer
    /// known for certain.
    pub end: usize,
    pub until: usize,
    pub horizon: usize,
    // Of the current instruction.
    pub index: usize,
    pub delta: i32,
    pub next: i32,
    before: Flags,
    /// Its way out, if it has one.
    exit: Option<usize>,
    /// It has changed something: it may not leave any more.
    pub changed: bool,
    /// It cannot be done here: it is called. It cannot because of what is in registers.
    pub misfit: bool,
    crowded: bool,
    /// The operand's register that its result is in.
    pub owned: Option<u8>,
    pub sum: Option<Sum>,
}

impl<'a> Body<'a> {
    pub fn new(insns: &'a [Insn], mode: Mode, alone: bool) -> Body<'a> {
        let now = Now::new();
        Body {
            asm: Asm::with_room(ROOM + PER_INSN * insns.len()),
            insns,
            mode,
            alone,
            counts: super::has_counts(),
            shifts_x: super::host_has!("bmi2"),
            now,
            exits: Vec::with_capacity(insns.len()),
            ways_out: Vec::with_capacity(insns.len()),
            slow: Vec::with_capacity(insns.len()),
            full: Vec::new(),
            unknown: Vec::new(),
            late: Vec::new(),
            pinned: 0,
            home: Copies::NONE,
            homes: 0,
            values: 0,
            end: insns.len(),
            until: insns.len(),
            horizon: insns.len(),
            index: 0,
            delta: 0,
            next: 0,
            before: Flags::Stored,
            exit: None,
            changed: false,
            misfit: false,
            crowded: false,
            owned: None,
            sum: None,
        }
    }

    /// A block begins with these instructions, so far from where RIP is.
    pub fn begin(&mut self, insns: std::ops::Range<usize>, delta: i32) {
        (self.index, self.end, self.delta) = (insns.start, insns.end, delta);
        (self.before, self.exit, self.changed, self.pinned) = (self.now.flags, None, false, 0);
    }
    /// Emits an instruction; `false`, and nothing emitted, if it does not fit.
    pub fn one(&mut self, meaning: super::sem::Meaning) -> bool {
        if self.fits(meaning) {
            return true;
        }
        // Without registers that others hold it may.
        let again = self.crowded;
        if again {
            self.stored_flags();
            (self.now.cache, self.now.windows) = (Copies::NONE, [None; WINDOWS]);
        }
        again && self.fits(meaning)
    }
    fn fits(&mut self, meaning: super::sem::Meaning) -> bool {
        let saved = self.now.clone();
        let lens = (self.asm.code.len(), self.exits.len(), self.slow.len(), self.late.len());
        let ways = self.ways_out.len();
        self.begin_insn();
        (self.now.made, self.owned, self.sum) = (None, None, None);
        let Ok(()) = meaning(self, &self.insns[self.index]);
        if self.misfit {
            self.now = saved;
            self.asm.code.truncate(lens.0);
            self.exits.truncate(lens.1);
            self.ways_out.truncate(ways);
            self.slow.truncate(lens.2);
            self.late.truncate(lens.3);
        }
        self.pinned = 0;
        !self.misfit
    }

    /// Nothing is known of the current instruction yet.
    pub fn begin_insn(&mut self) {
        (self.before, self.exit) = (self.now.flags, None);
        (self.changed, self.misfit, self.crowded) = (false, false, false);
        self.pinned = self.flag_registers();
    }

    // Registers.

    pub fn flag_registers(&self) -> u16 {
        registers(self.now.flags) | self.now.carry.map_or(0, |h| 1 << h)
    }
    /// Registers with copies of guest registers, or with pages that are kept in mind.
    pub fn cached(&self) -> u16 {
        self.windows() | self.now.cache.hosts()
    }
    fn windows(&self) -> u16 {
        let windows = self.now.windows.iter().flatten();
        windows.fold(0, |all, w| all | 1 << w.addend | 1 << w.offset)
    }
    /// A register that nobody needs, taken for the current instruction.
    pub fn fresh(&mut self) -> u8 {
        let taken = self.pinned | self.flag_registers() | !POOL;
        // To find a page again costs more than to load a guest register again.
        let (windows, cached) = (self.windows(), self.cached());
        let after = |mask: u16, turn: u8| {
            let turned = mask.rotate_right(turn.into());
            (turned != 0).then(|| (turned.trailing_zeros() as u8 + turn) & 15)
        };
        let homes = self.homes;
        let found = after(!taken & !cached & !homes, self.now.turn)
            .or_else(|| after(!taken & !cached, self.now.turn))
            .or_else(|| after(!taken & !windows & !homes, self.now.turn))
            .or_else(|| after(!taken & !homes, self.now.turn))
            .or_else(|| after(!taken, self.now.turn));
        let Some(h) = found else {
            (self.misfit, self.crowded) = (true, true);
            return 0;
        };
        self.now.turn = (h + 1) & 15;
        self.taken(h)
    }
    pub fn taken(&mut self, h: u8) -> u8 {
        self.forget(h);
        self.pinned |= 1 << h;
        self.now.origin[h as usize] = self.new_value();
        h
    }
    /// The loop around wants guest registers there.
    pub fn at_home(&mut self, home: Copies) {
        (self.home, self.homes) = (home, home.hosts());
    }
    /// Gives new numbers to all values that somebody else has made.
    pub fn number(&mut self, now: &mut Now) {
        now.origin.fill_with(|| self.new_value());
        now.guest = [(0, 0); 16];
    }
    fn new_value(&mut self) -> (u32, i32) {
        self.values += 1;
        (self.values, 0)
    }
    /// Others have used these registers.
    pub fn changed_registers(&mut self, registers: u16) {
        for h in (0..16).filter(|h| registers & 1 << h != 0) {
            self.now.origin[h] = self.new_value();
        }
    }
    /// No guest register has its copy there any more.
    fn forget(&mut self, h: u8) {
        self.now.cache.forget(h);
        for w in &mut self.now.windows {
            *w = w.filter(|w| w.addend != h && w.offset != h);
        }
    }
    /// Somebody else had the turn: no copies are left, and the TLB may have changed.
    pub fn forget_all(&mut self) {
        self.now.cache = Copies::NONE;
        self.now.guest = [(0, 0); 16];
        self.now.windows = [None; WINDOWS];
        self.now.vector.forget();
        self.changed_registers(POOL);
    }
    /// Takes a certain register for the current instruction; `false`: somebody needs what is in it. It is not given out afterwards
    /// in any case.
    pub fn take_if_free(&mut self, h: u8) -> bool {
        let free = (self.pinned | self.flag_registers()) & 1 << h == 0;
        if free {
            self.taken(h);
        }
        self.pinned |= 1 << h;
        free
    }
    /// The register of a value.
    pub fn reg(&mut self, v: V) -> u8 {
        match v {
            V::R(h, _) => h,
            V::L(h, w) => {
                let t = self.fresh();
                self.asm.load(w, t, Rm::R(h));
                t
            }
            V::Gone => {
                self.misfit = true;
                0
            }
            V::K(k) => {
                let h = self.fresh();
                self.asm.constant(h, k);
                h
            }
            V::C(..) => {
                let h = self.fresh();
                if let Some(c) = self.host_condition(v) {
                    self.asm.set(c, h);
                    self.asm.load(Width::W8, h, Rm::R(h));
                }
                h
            }
        }
    }
    /// A register for operations of a width, which do not look at what is above it.
    pub fn low(&mut self, w: Width, v: V) -> u8 {
        match v {
            V::L(h, known) if w <= known => h,
            _ => self.reg(v),
        }
    }
    /// The register for an instruction's result: where a loop wants it, if that is free.
    pub fn result_register(&mut self) -> u8 {
        if let Opnd::Gpr(n) = self.insns[self.index].op[0]
            && let Some(h) = self.home.get(n.into())
        {
            let taken = self.pinned | self.flag_registers();
            let mut copies = self.now.cache.of(h);
            let window = |w: &Window| w.addend == h || w.offset == h;
            if taken & 1 << h == 0
                && copies.all(|k| k == n as usize & 15)
                && !self.now.windows.iter().flatten().any(window)
            {
                return self.taken(h);
            }
        }
        self.fresh()
    }
    /// The register of a value that the current instruction overwrites in its guest register, if nobody else needs it: it may be
    /// changed.
    pub fn own(&mut self, w: Width, a: V, b: V) -> Option<u8> {
        use Mnemonic::*;
        let (V::R(h, _) | V::L(h, Width::W32)) = a else { return None };
        let i = &self.insns[self.index];
        let Opnd::Gpr(n) = i.op[0] else { return None };
        let fits = match i.iced().mnemonic() {
            Add | Sub | And | Or | Xor | Inc | Dec | Not | Bswap | Rol | Ror | Lea => true,
            Shl | Shr | Sar => i.op[1] == Opnd::Imm && self.unseen(),
            _ => false,
        };
        // Its address comes first.
        let leads = fits && i.op.contains(&Opnd::Mem) && i.iced().mnemonic() != Lea;
        if leads && (i.base == n || i.index == n) {
            return None;
        }
        let mut copies = self.now.cache.of(h);
        let alone = copies.next() == Some(n as usize & 15) && copies.next().is_none();
        let free = fits && alone && w >= Width::W32 && i.ow[0] == w && b.host() != Some(h);
        if !free || self.flag_registers() & 1 << h != 0 || self.changed {
            return None;
        }
        self.now.origin[h as usize] = self.new_value();
        self.owned = Some(h);
        Some(h)
    }
    /// A copy of a value that may be changed.
    pub fn copy(&mut self, v: V) -> u8 {
        match v {
            V::R(h, _) => {
                let t = self.fresh();
                self.asm.mov(t, h);
                t
            }
            _ => self.reg(v),
        }
    }
    pub fn get_gpr(&mut self, n: u8) -> V {
        let n = (n & 15) as usize;
        let h = match self.now.cache.get(n) {
            Some(h) => h,
            None => {
                let h = self.fresh();
                self.asm.load(Width::W64, h, core(gpr_at(n)));
                self.now.cache.set(n, Some(h));
                self.now.short &= !(1 << n);
                match self.now.guest[n] {
                    (0, _) => self.now.guest[n] = self.now.origin[h as usize],
                    known => self.now.origin[h as usize] = known,
                }
                h
            }
        };
        self.pinned |= 1 << h;
        V::R(h, if self.now.short & 1 << n != 0 { u32::MAX.into() } else { u64::MAX })
    }
    /// Leaves before the instruction if the stack pointer is about to be one that must not be in native code. It may have been read
    /// from memory already.
    fn stays_near(&mut self, v: V) {
        let root = self.now.guest[usize::from(RSP)].0;
        match v {
            V::K(k) => self.misfit |= !native::stack_is_near(k),
            V::R(h, _) if root != 0 && self.now.origin[h as usize].0 == root => {}
            _ if top(v) >> 62 == 0 => {}
            _ => {
                let h = self.reg(v);
                let t = self.copy(V::R(h, u64::MAX));
                self.clobber();
                self.asm.alu(Alu::Add, Width::W64, t, Rm::R(t));
                self.exit(Some(OVERFLOW));
            }
        }
    }
    pub fn set_gpr(&mut self, n: u8, v: V) {
        let n = (n & 15) as usize;
        if n == usize::from(RSP) && self.alone {
            self.stays_near(v);
        }
        self.changed = true;
        let place = core(gpr_at(n));
        if let V::K(k) = v
            && let Ok(k) = i32::try_from(k as i64)
        {
            self.asm.store_constant(Width::W64, place, k);
            self.now.cache.set(n, None);
            self.now.guest[n] = (0, 0);
            return;
        }
        let h = self.reg(v);
        self.asm.store(Width::W64, place, h);
        self.now.cache.set(n, Some(h));
        self.now.guest[n] = self.now.origin[h as usize];
        let short = top(v) <= u32::MAX.into();
        self.now.short = self.now.short & !(1 << n) | u16::from(short) << n;
    }
    /// The host's flags are about to change.
    pub fn clobber(&mut self) {
        (self.now.live, self.now.made) = (false, None);
    }

    // Ways out.

    /// Leaves before the current instruction under a condition of the host's flags; `None`: in any case.
    pub fn exit(&mut self, cond: Option<u8>) {
        if self.changed {
            self.misfit = true;
        }
        let n = match self.exit {
            Some(n) => n,
            None => {
                let (flags, delta) = (self.before, self.delta);
                let (last, undone) = (self.now.x87.last, (self.until - self.index) as i32);
                self.exits.push(Exit { flags, last, delta, undone });
                *self.exit.insert(self.exits.len() - 1)
            }
        };
        let hole = match cond {
            Some(c) => self.asm.jcc(c),
            None => self.asm.jmp(),
        };
        self.ways_out.push((n as u32, hole));
    }
    /// The number of the current instruction's exit, for code that is written later.
    pub fn exit_number(&mut self) -> usize {
        let cut = self.asm.code.len();
        self.exit(None);
        self.asm.code.truncate(cut);
        let n = self.exit.unwrap_or(0);
        self.ways_out.pop();
        n
    }
    /// Leaves before the current instruction where `c` is not zero.
    pub fn exit_if(&mut self, c: V) {
        match c {
            V::K(0) => {}
            V::K(_) => self.exit(None),
            V::C(..) => {
                if let Some(c) = self.host_condition(c) {
                    self.exit(Some(c));
                }
            }
            V::R(..) | V::L(..) | V::Gone => {
                let h = self.reg(c);
                self.clobber();
                self.asm.test(Width::W64, Rm::R(h), h);
                self.exit(Some(NOT_EQUAL));
            }
        }
    }

    /// Writes the code of all exits.
    pub fn write_exits(&mut self) {
        self.write_late();
        self.write_full();
        self.write_unknown();
        let mut ways = std::mem::take(&mut self.ways_out);
        ways.sort_by_key(|w| w.0);
        let mut ways = ways.into_iter().peekable();
        let exits = std::mem::take(&mut self.exits);
        // They have one end, which the last one is right before.
        let many = exits.len();
        let mut ends = Vec::with_capacity(many);
        for (n, x) in exits.into_iter().enumerate() {
            while let Some((_, hole)) = ways.next_if(|w| w.0 == n as u32) {
                self.asm.land(hole);
            }
            self.now = Now { flags: x.flags, ..Now::new() };
            self.stored_flags();
            if let Some(last) = x.last {
                self.store_place(RAX, last);
            }
            self.put_place(x.delta, x.undone);
            if n + 1 < many {
                ends.push(self.asm.jmp());
            }
        }
        if many > 0 {
            ends.into_iter().for_each(|h| self.asm.land(h));
            self.leave(leave::SIDE);
        }
    }
    /// Adds to RIP and to the count.
    pub fn put_place(&mut self, delta: i32, undone: i32) {
        // A 32-bit RIP wraps; its upper half is zero.
        let w = if self.mode.long64() { Width::W64 } else { Width::W32 };
        self.count(undone);
        self.add(w, core(rip_at()), delta);
    }
    /// Adds to RIP, however much.
    pub fn put_far(&mut self, delta: i64) {
        match i32::try_from(delta) {
            Ok(d) => self.put_place(d, 0),
            Err(_) => {
                self.asm.constant(RAX, delta as u64);
                self.asm.alu_to(Alu::Add, Width::W64, core(rip_at()), RAX);
            }
        }
    }
    /// Adds to the count of what may be executed.
    pub fn count(&mut self, n: i32) {
        let left = if self.alone { Rm::R(LEFT) } else { core(left_at()) };
        self.add(Width::W64, left, n);
    }
    fn add(&mut self, w: Width, place: Rm, n: i32) {
        if n != 0 {
            self.asm.alu_constant(Alu::Add, w, place, n);
        }
    }
    pub fn leave(&mut self, code: u64) {
        super::frames::leave(&mut self.asm, self.alone, code);
    }
}
