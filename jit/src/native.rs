//! Between native code and the rest: the context it gets, the helpers it calls, how it is entered.
// UNSAFE: native code has only raw pointers; this module makes and follows them.
#![allow(unsafe_code)]

use crate::clif::leave;
use crate::counters::Why;
use crate::emit::outer::MISSES;
use crate::emit::{self, THUNKS};
use crate::event;
use crate::placed::Placed;
use crate::x87::{Thunk, Unit};
use cpu::rows::ROWS;
use cpu::{
    Access, Bus, Cond, Core, CoreTlb, Flag, Insn, Interp, Mode, Msrs, Numbers, Segment, Sem, State,
    Width,
};
use memory::{BranchTargets, CODE_SETS, DATA_SETS, PAGE, TLB_SIZE, TlbEntries};
use std::mem::{MaybeUninit, offset_of};
use std::sync::atomic::{AtomicU64, Ordering};

pub const TAG_READ: i32 = offset_of!(TlbEntries, first) as i32;
pub const TAG_WRITE: i32 = offset_of!(TlbEntries, write) as i32;
/// In sets for code.
pub const TAG_EXEC: i32 = offset_of!(TlbEntries, first) as i32;
pub const ADDEND: i32 = offset_of!(TlbEntries, addend) as i32;
/// What an address shifted right by [`TLB_SHIFT`] keeps: the distance of its entry's parts from those of the first.
pub const TLB_MASK: i64 = ((TLB_SIZE - 1) * size_of::<u64>()) as i64;
pub const TLB_SHIFT: u8 = 9;
const _: () = assert!(size_of::<u64>() << TLB_SHIFT == PAGE as usize);

/// Native code has the core's address plus this in the host's register [`crate::emit::CORE`], or what Cranelift calls the
/// pinned one: what is most used has short distances then.
pub const BIAS: i32 = (offset_of!(Core, state) + offset_of!(State, gpr)) as i32 + 64;
/// Offset of the bits of a page's number in [`Core`].
pub fn page_bits_at() -> i32 {
    (offset_of!(Core, numbers) + offset_of!(Numbers, page)) as i32
}
/// Offset of how far within a page an access of so many bytes may begin, where the core has that.
pub fn within_at(bytes: u64) -> Option<i32> {
    let k = bytes.trailing_zeros() as usize;
    let at = offset_of!(Core, numbers) + offset_of!(Numbers, within) + size_of::<u64>() * k;
    (bytes.is_power_of_two() && bytes <= 32).then_some(at as i32)
}
pub fn context_at() -> i32 {
    offset_of!(Core, context) as i32
}
/// Offset of entry 0 of a TLB set in [`Core`].
pub fn tlb_at(set: usize) -> i32 {
    (offset_of!(Core, tlb) + CoreTlb::set_offset(set)) as i32
}
/// Offset of the first branch target of a set of the TLB for code in [`Core`].
pub fn targets_at(set: usize) -> i32 {
    (targets() + BranchTargets::set_offset(set - DATA_SETS)) as i32
}
/// Offset of the bits of the rows of targets that are in use.
pub fn targets_used_at(set: usize) -> i32 {
    (targets() + BranchTargets::used_offset(set - DATA_SETS)) as i32
}
fn targets() -> usize {
    offset_of!(Core, tlb) + CoreTlb::targets_offset()
}
pub fn rflags_at() -> i32 {
    (offset_of!(Core, state) + offset_of!(State, rflags)) as i32
}
pub fn mxcsr_at() -> i32 {
    (offset_of!(Core, state) + offset_of!(State, mxcsr)) as i32
}
pub fn cr4_at() -> i32 {
    (offset_of!(Core, state) + offset_of!(State, cr4)) as i32
}
pub fn pkru_at() -> i32 {
    (offset_of!(Core, state) + offset_of!(State, pkru)) as i32
}
pub fn intr_at() -> i32 {
    offset_of!(Core, intr) as i32
}
pub fn shares_at() -> i32 {
    offset_of!(Core, shares) as i32
}
pub fn kernel_gs_base_at() -> i32 {
    let msr = offset_of!(State, msr) + offset_of!(Msrs, kernel_gs_base);
    (offset_of!(Core, state) + msr) as i32
}
pub fn base_at(seg: usize) -> i32 {
    segment_at(seg) + offset_of!(Segment, base) as i32
}
pub fn selector_at(seg: usize) -> i32 {
    segment_at(seg) + offset_of!(Segment, sel) as i32
}
fn segment_at(seg: usize) -> i32 {
    (offset_of!(Core, state) + offset_of!(State, seg) + seg * size_of::<Segment>()) as i32
}

pub type Access2 = extern "C" fn(*mut Core, *mut Cx, u64, u64) -> u64;
type Access3 = extern "C" fn(*mut Core, *mut Cx, u64, u64, u64) -> u64;
type Ask = extern "C" fn(*mut Core, *mut Cx, u64) -> u64;
type Interpret = extern "C" fn(*mut Core, *mut Cx, *const Insn, u64) -> u64;
type Enter = extern "C" fn(*mut Core, *mut Cx);
type Find = extern "C" fn(*mut Core, *mut Cx, u64) -> u64;
type Get = extern "C" fn(*mut Core, *mut Cx) -> u64;

/// Native code has the context's address plus this: the address below this in [`Placed`] makes its two low bytes those that BEXTR
/// wants, which takes the number of a page's entry in the TLB out of an address, 12 bits from bit 12 on.
pub const CONTEXT_BIAS: i32 = 0x0c;
const BELOW: usize = 0x0c00;
const _: () = assert!(PAGE == 1 << 12 && TLB_SIZE == 1 << 12);
/// What native code has besides the core: helpers, and what they need.
#[repr(C, align(16))]
pub struct Cx {
    /// What a load helper has read; also where results go that count only by their flags.
    pub value: [u64; 2],
    /// See [`crate::emit::frames`]: the host's stack where native code was entered, and how far it may grow.
    stack: [u64; 2],
    /// Where the arena is: branch targets count from there.
    arena: *const u8,
    /// By codes: see [`emit::leaving`].
    leave: [*const u8; LEAVES],
    /// By sets of the TLB for code: see [`emit::far::same_page`].
    same_page: [[*const u8; 2]; CODE_SETS],
    /// See [`crate::emit::thunks`].
    thunks: [*const u8; THUNKS],
    /// See [`crate::emit::outer`].
    misses: [*const u8; MISSES],
    /// What the last of those found: not 0 where tier 0 has to do the access.
    bad: u64,
    /// The host's MXCSR is the guest's, if this is not 0.
    floats: u64,
    pub x87: Unit,
    /// Where regions go on: [`JUMP_SLOTS`] entries.
    jumps: *mut Jump,
    pub load: Access2,
    pub store: Access3,
    pub refill: Access2,
    pub find: Find,
    pub interpret: Interpret,
    pub finish: Interpret,
    enter_floats: Enter,
    flag: Ask,
    cond: Ask,
    status: Get,
    /// Code of the baseline tier that goes on at RIP, if the table knows where that is.
    search: [*const u8; SEARCHES],
    /// The same, for regions.
    search_outer: [*const u8; SEARCHES],
    /// What goes on where a RET does not find its frame.
    astray: [*const u8; SEARCHES],
    /// The one of the first that goes on after [`Cx::finish`] gave 0, and the one of the second.
    after: [*const u8; 2],
    /// Why a helper sent native code away.
    why: Why,
    /// How often the interpreter did an instruction for native code, by rows.
    called: Box<[u64]>,
    /// Set while native code runs.
    bus: MaybeUninit<*mut dyn Bus>,
}
pub const VALUE: i32 = offset_of!(Cx, value) as i32;
pub const STACK_TOP: i32 = offset_of!(Cx, stack) as i32;
pub const STACK_END: i32 = STACK_TOP + size_of::<u64>() as i32;
pub const ARENA: i32 = offset_of!(Cx, arena) as i32;
pub const LEAVE: i32 = offset_of!(Cx, leave) as i32;
/// Codes of [`leave`] that native code leaves with by itself.
pub const LEAVES: usize = leave::EVENT as usize + 1;
/// Offset in [`Cx`] of the one for this mode.
pub fn same_page_at(mode: Mode, call: bool) -> i32 {
    let n = 2 * (mode.code_set() - DATA_SETS) + usize::from(call);
    (offset_of!(Cx, same_page) + size_of::<*const u8>() * n) as i32
}
pub const THUNK: i32 = offset_of!(Cx, thunks) as i32;
pub const MISS: i32 = offset_of!(Cx, misses) as i32;
pub const BAD: i32 = offset_of!(Cx, bad) as i32;
pub const FLOATS: i32 = offset_of!(Cx, floats) as i32;
pub const JUMPS: i32 = offset_of!(Cx, jumps) as i32;
pub const AFTER: i32 = offset_of!(Cx, after) as i32;
pub const AFTER_OUTER: i32 = AFTER + size_of::<*const u8>() as i32;
/// Where counters of entered blocks are, behind the context: see [`Gate::heat`].
pub const HEAT: i32 = Placed::<Cx>::COUNTERS as i32;
pub const MODE: i32 = offset_of!(Core, mode) as i32;
pub const ENTER_FLOATS: usize = offset_of!(Cx, enter_floats);
pub const FLAG: usize = offset_of!(Cx, flag);
pub const COND: usize = offset_of!(Cx, cond);
pub const STATUS: usize = offset_of!(Cx, status);

/// How many pieces of code there are that go on at RIP.
pub const SEARCHES: usize = 4;
/// Which of them is for a mode: there is one for each set of the TLB that code is fetched by, for 64-bit mode and for others.
pub fn search_number(mode: Mode) -> usize {
    number(mode.code_set(), mode.long64())
}
fn number(code_set: usize, long64: bool) -> usize {
    code_set - DATA_SETS | usize::from(long64) << 1
}
/// Offsets in [`Cx`] of that one: for the baseline tier, for others, and for RETs that have not found their frame.
pub fn search_at(mode: Mode) -> i32 {
    of_mode(offset_of!(Cx, search), mode)
}
/// The first one for 64-bit code of a set of the TLB.
pub fn search_in(set: usize) -> i32 {
    (offset_of!(Cx, search) + size_of::<*const u8>() * number(set, true)) as i32
}
pub fn search_outer_at(mode: Mode) -> i32 {
    of_mode(offset_of!(Cx, search_outer), mode)
}
pub fn astray_at(mode: Mode) -> i32 {
    of_mode(offset_of!(Cx, astray), mode)
}
fn of_mode(all: usize, mode: Mode) -> i32 {
    (all + size_of::<*const u8>() * search_number(mode)) as i32
}
/// Counters of entered blocks.
pub const HEATS: usize = 1 << 21;
/// Entries of the table of jumps; a power of two.
pub const JUMP_SLOTS: usize = 1 << 17;
/// Log2 of the size of an entry.
pub const JUMP_BITS: i64 = 4;
const _: () = assert!(size_of::<Jump>() == 1 << JUMP_BITS);

/// The code for a place in a mode.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
struct Jump {
    /// See [`Jump::key`].
    key: u64,
    code: *const u8,
}
/// Two that are looked at one after the other: their addresses differ in one bit.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
struct Pair([Jump; 2]);
pub const JUMP_KEY: i32 = offset_of!(Jump, key) as i32;
pub const JUMP_CODE: i32 = offset_of!(Jump, code) as i32;
/// Code is at no host address of zero.
const NO_JUMP: Jump = Jump { key: 0, code: std::ptr::null() };
/// How far up the mode is in a key: RAM is shorter than what is below.
pub const KEY_MODE: u8 = 44;

impl Jump {
    /// The host's address of the guest's code, and the mode.
    fn key(host: u64, mode: Mode) -> u64 {
        host ^ u64::from(mode.0) << KEY_MODE
    }
}

/// What enters a region: the convention of C outside, that of regions inside.
type Enterer = unsafe extern "C" fn(*mut Core, *const u8) -> u64;

/// The way into native code, with what it needs besides the core.
pub struct Gate {
    cx: Placed<Cx>,
    jumps: Box<[Pair]>,
    /// Executions of a block after which native code is left.
    hot: u32,
    enter: Option<Enterer>,
    /// Whoever has branch targets of this code only, and what has gone since.
    targets: u64,
    gone: Vec<(u64, u32)>,
}

/// So much code that has gone is looked for among the branch targets; if it is more they are all forgotten.
const MOST_GONE: usize = 64;
/// Numbers for [`Gate::targets`]: no two cores of any engines, nor one before and after some code went, may take each other's targets.
fn owner() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

// SAFETY: the pointers in it lead to its own table and, while native code runs, to what `run` was given.
unsafe impl Send for Gate {}

impl Gate {
    /// `hot`: executions of a block in the baseline tier after which native code is left.
    pub fn new(hot: u32) -> Gate {
        let mut jumps = vec![Pair([NO_JUMP; 2]); JUMP_SLOTS / 2].into_boxed_slice();
        let cx = Cx {
            load,
            store,
            refill,
            find,
            interpret,
            finish,
            enter_floats,
            flag,
            cond,
            status,
            search: [std::ptr::null(); SEARCHES],
            search_outer: [std::ptr::null(); SEARCHES],
            astray: [std::ptr::null(); SEARCHES],
            after: [std::ptr::null(); 2],
            value: [0; 2],
            stack: [0; 2],
            arena: std::ptr::null(),
            leave: [std::ptr::null(); LEAVES],
            same_page: [[std::ptr::null(); 2]; CODE_SETS],
            thunks: [std::ptr::null(); THUNKS],
            misses: [std::ptr::null(); MISSES],
            bad: 0,
            floats: 0,
            why: Why::Insn,
            called: vec![0; ROWS.len()].into_boxed_slice(),
            x87: Unit::new(),
            jumps: jumps.as_mut_ptr().cast(),
            bus: MaybeUninit::uninit(),
        };
        let cx = Placed::new(cx, BELOW, HEATS);
        let (targets, gone) = (owner(), Vec::new());
        Gate { cx, jumps, hot, enter: None, targets, gone }
    }

    /// Takes the code that enters regions, and where the arena is that has all code.
    ///
    /// # Safety
    /// It must be what [`crate::clif::enter`] translated, and stay as long as the gate is used.
    pub unsafe fn open(&mut self, at: *const u8, arena: *const u8) {
        self.cx.arena = arena;
        // SAFETY: the caller vouches for the code.
        self.enter = Some(unsafe { std::mem::transmute::<*const u8, Enterer>(at) });
    }

    /// Takes the code that goes on at RIP: see [`search_number`].
    ///
    /// # Safety
    /// It must be what [`emit::search::search`] gave for that number, and stay as long as the gate is used.
    pub unsafe fn set_search(&mut self, n: usize, code: *const u8, search: &emit::search::Search) {
        self.cx.search[n] = code.wrapping_add(search.inner as usize);
        self.cx.astray[n] = code.wrapping_add(search.astray as usize);
        self.cx.search_outer[n] = code;
    }
    /// The code that goes on at RIP, for others than the baseline tier.
    pub fn search(&self, mode: Mode) -> *const u8 {
        self.cx.search_outer[search_number(mode)]
    }
    /// Takes the code of a thunk.
    ///
    /// # Safety
    /// It must be what [`crate::emit::thunks`] gave for that number, and stay as long as the gate is used.
    pub unsafe fn set_thunk(&mut self, n: usize, code: *const u8) {
        self.cx.thunks[n] = code;
    }
    /// Takes the code that leaves native code.
    ///
    /// # Safety
    /// It must be what [`emit::leaving`] gave for that code, and stay as long as the gate is used.
    pub unsafe fn set_leave(&mut self, n: usize, code: *const u8) {
        self.cx.leave[n] = code;
    }
    /// Takes the code that looks whether a page of code is where it was.
    ///
    /// # Safety
    /// It must be what [`emit::far::same_page`] gave for that set, and stay as long as the gate is used.
    pub unsafe fn set_same_page(&mut self, set: usize, call: bool, code: *const u8) {
        self.cx.same_page[set - DATA_SETS][usize::from(call)] = code;
    }
    /// Takes what regions call where the TLB has no entry.
    ///
    /// # Safety
    /// It must be what [`crate::emit::outer::all`] gave for that number, and stay as long as the gate is used.
    pub unsafe fn set_miss(&mut self, n: usize, code: *const u8) {
        self.cx.misses[n] = code;
    }
    /// Takes the code of a thunk for the x87 unit.
    ///
    /// # Safety
    /// As [`Unit::set_thunk`] says.
    pub unsafe fn set_x87_thunk(&mut self, t: Thunk, code: *const u8) {
        // SAFETY: the caller vouches for it.
        unsafe { self.cx.x87.set_thunk(t, code) }
    }
    /// How often a block was entered by the baseline tier, which counts down from where it is hot.
    pub fn heat(&self, id: u32) -> u32 {
        self.hot.wrapping_sub(self.cx.counter(id as usize))
    }
    pub fn set_heat(&mut self, id: u32, heat: u32) {
        self.cx.set_counter(id as usize, self.hot.wrapping_sub(heat));
    }
    /// Why native code was left, if a helper had a say in it; asked once.
    #[inline]
    pub fn take_why(&mut self) -> Why {
        std::mem::replace(&mut self.cx.why, Why::Insn)
    }
    /// How often the interpreter did an instruction for native code, by rows.
    pub fn called(&self) -> &[u64] {
        &self.cx.called
    }
    fn slot(host: u64) -> usize {
        (host ^ host >> 12) as usize % JUMP_SLOTS
    }
    /// Notes that `code` is what runs for the guest's code at `host` in this mode. What was there moves aside.
    pub fn know(&mut self, mode: Mode, host: u64, code: *const u8) {
        let n = Self::slot(host);
        let key = Jump::key(host, mode);
        let old = *self.jump(n);
        if old.key != key && old.key != NO_JUMP.key {
            *self.jump(n ^ 1) = old;
        }
        *self.jump(n) = Jump { key, code };
    }
    fn jump(&mut self, n: usize) -> &mut Jump {
        &mut self.jumps[n / 2].0[n % 2]
    }
    /// Forgets the code that is known for a place.
    pub fn forget(&mut self, host: u64, code: *const u8) {
        if self.gone.len() <= MOST_GONE {
            self.gone.push((host, (code as usize).wrapping_sub(self.cx.arena as usize) as u32));
        }
        for slot in &mut self.jumps[Self::slot(host) / 2].0 {
            if std::ptr::eq(slot.code, code) {
                *slot = NO_JUMP;
            }
        }
    }
    pub fn forget_all(&mut self) {
        self.targets = owner();
        self.jumps.fill(Pair([NO_JUMP; 2]));
    }

    /// Has only branch targets whose code is still there.
    #[cold]
    fn sync(&mut self, core: &mut Core) {
        let targets = &mut core.tlb.targets;
        if targets.owner() == self.targets && self.gone.len() <= MOST_GONE {
            self.gone.iter().for_each(|&(at, code)| targets.forget_code(at, code));
        } else {
            targets.clear();
        }
        if !self.gone.is_empty() {
            self.gone.clear();
            self.targets = owner();
        }
        targets.own(self.targets);
    }

    /// Runs a region and those it goes on in. Gives what it was left for.
    ///
    /// # Safety
    /// `code` must be a region compiled for this host and this core's mode, and so must be all that [`Gate::know`] was told,
    /// and their instructions must be alive.
    #[inline(always)]
    pub unsafe fn run(&mut self, code: *const u8, s: &mut Interp<'_>) -> u64 {
        let Some(enter) = self.enter else { return leave::SIDE };
        // The pointer to the bus is not followed after this call.
        // SAFETY: only the lifetime is changed.
        let bus =
            unsafe { std::mem::transmute::<*mut (dyn Bus + '_), *mut dyn Bus>(&raw mut *s.bus) };
        self.cx.bus = MaybeUninit::new(bus);
        s.c.context = &raw mut *self.cx as usize + CONTEXT_BIAS as usize;
        if !self.gone.is_empty() || s.c.tlb.targets.owner() != self.targets {
            self.sync(s.c);
        }
        // SAFETY: the caller vouches for the code; core and bus are borrowed by `s` for as long.
        let out = unsafe { enter(&raw mut *s.c, code) };
        if self.cx.floats != 0 {
            self.cx.floats = 0;
            s.c.state.mxcsr = mxcsr::store();
            mxcsr::load(mxcsr::PLAIN);
        }
        self.cx.x87.leave(&mut s.c.state.fpu);
        out
    }
}

/// The host's MXCSR, where it has one.
mod mxcsr {
    /// All exceptions masked, round to nearest: what Rust code expects.
    pub const PLAIN: u32 = 0x1f80;
    #[cfg(target_arch = "x86_64")]
    pub fn load(v: u32) {
        // SAFETY: the value comes from a guest's MXCSR, whose reserved bits are zero and whose exceptions are masked.
        unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &v, options(nostack, readonly)) }
    }
    #[cfg(target_arch = "x86_64")]
    pub fn store() -> u32 {
        let mut v = 0u32;
        // SAFETY: writes the four bytes of `v`.
        unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &mut v, options(nostack)) }
        v
    }
    #[cfg(not(target_arch = "x86_64"))]
    pub fn load(_: u32) {}
    #[cfg(not(target_arch = "x86_64"))]
    pub fn store() -> u32 {
        PLAIN
    }
}

/// The core and the bus as the interpreter wants them.
///
/// # Safety
/// The pointers are those that native code was entered with.
unsafe fn interp<'a>(core: *mut Core, cx: *mut Cx) -> Interp<'a> {
    // SAFETY: `run` made both from exclusive borrows which nobody uses while native code runs.
    unsafe { Interp { c: &mut *core, bus: &mut *(*cx).bus.assume_init() } }
}

fn width(bits: u64) -> Width {
    Width::of_bytes(bits / 8).unwrap_or(Width::W64)
}

/// Whether the bytes go on in the next page.
fn crosses(s: &Interp<'_>, la: u64, w: Width) -> Result<bool, Why> {
    let end = la.wrapping_add(w.bytes() - 1);
    if !s.c.mode.long64() && end > 0xffff_ffff {
        return Err(Why::Crossing);
    }
    Ok((la ^ end) & !(PAGE - 1) != 0)
}

/// What native code gets: 0, or 1 with the reason noted.
///
/// # Safety
/// `cx` must be what a helper was called with.
unsafe fn answer(cx: *mut Cx, done: Result<(), Why>) -> u64 {
    match done {
        Ok(()) => 0,
        Err(why) => {
            // SAFETY: the caller vouches for it.
            unsafe { (*cx).why = why };
            1
        }
    }
}
/// Makes the TLB entry of a page.
fn page(s: &mut Interp<'_>, set: usize, la: u64, a: Access) -> Result<(), Why> {
    s.page(set, la, a).map(drop).map_err(|_| Why::Page)
}

/// A load whose TLB entry was not there. 1: tier 0 has to do it.
extern "C" fn load(core: *mut Core, cx: *mut Cx, la: u64, bits: u64) -> u64 {
    // SAFETY: called by native code only.
    let mut s = unsafe { interp(core, cx) };
    let parts = if bits == 128 { 2 } else { 1 };
    for part in 0..parts {
        match load_part(&mut s, la.wrapping_add(8 * part), width(bits.min(64))) {
            // SAFETY: as above.
            Ok(v) => unsafe { (*cx).value[part as usize] = v },
            // SAFETY: as above.
            Err(why) => return unsafe { answer(cx, Err(why)) },
        }
    }
    0
}

fn load_part(s: &mut Interp<'_>, la: u64, w: Width) -> Result<u64, Why> {
    let set = s.c.mode.data_set();
    if !crosses(s, la, w)? {
        page(s, set, la, Access::Read)?;
        return s.c.tlb.read(set, la, w).ok_or(Why::NotRam);
    }
    // The two are neighbours, which are never in each other's place.
    page(s, set, la, Access::Read)?;
    page(s, set, la.wrapping_add(w.bytes() - 1), Access::Read)?;
    let byte = |n: u64| Some(s.c.tlb.read(set, la.wrapping_add(n), Width::W8)? << (8 * n));
    (0..w.bytes()).try_fold(0, |v, n| Some(v | byte(n)?)).ok_or(Why::NotRam)
}

/// A store whose TLB entry was not there. 1: tier 0 has to do it, nothing is done.
extern "C" fn store(core: *mut Core, cx: *mut Cx, la: u64, bits: u64, v: u64) -> u64 {
    // SAFETY: called by native code only.
    let mut s = unsafe { interp(core, cx) };
    let done = store_whole(&mut s, la, width(bits), v);
    // SAFETY: as above.
    unsafe { answer(cx, done) }
}

fn store_whole(s: &mut Interp<'_>, la: u64, w: Width, v: u64) -> Result<(), Why> {
    let set = s.c.mode.data_set();
    let plain = |s: &mut Interp<'_>, at: u64| {
        page(s, set, at, Access::Write)?;
        s.c.tlb.ram_at(set, at, true).map(drop).ok_or(Why::NotRam)
    };
    let done = if !crosses(s, la, w)? {
        plain(s, la)?;
        s.c.tlb.write(set, la, w, v)
    } else {
        let last = la.wrapping_add(w.bytes() - 1);
        plain(s, la)?;
        plain(s, last)?;
        plain(s, la)?;
        (0..w.bytes())
            .all(|n| s.c.tlb.write(set, la.wrapping_add(n), Width::W8, v >> (8 * n) & 0xff))
    };
    if done { Ok(()) } else { Err(Why::NotRam) }
}

/// Makes the TLB entry for a place that is to be read and written, and gives its addend. 1: tier 0 has to do it.
extern "C" fn refill(core: *mut Core, cx: *mut Cx, la: u64, bytes: u64) -> u64 {
    // SAFETY: called by native code only.
    let mut s = unsafe { interp(core, cx) };
    let done = reach(&mut s, la, bytes, true);
    if done.is_ok() {
        let at = s.c.tlb.ram_at(s.c.mode.data_set(), la, true).unwrap_or(0);
        let host = (s.c.tlb.ram().base() as u64).wrapping_add(at);
        // SAFETY: as above.
        unsafe { (*cx).value[0] = host.wrapping_sub(la) };
    }
    // SAFETY: as above.
    unsafe { answer(cx, done) }
}
/// The same for a place that is only to be read.
pub extern "C" fn refill_read(core: *mut Core, cx: *mut Cx, la: u64, bytes: u64) -> u64 {
    // SAFETY: called by native code only.
    unsafe { answer(cx, reach(&mut interp(core, cx), la, bytes, false)) }
}
/// Lets native code at these bytes, once the TLB has their entry.
fn reach(s: &mut Interp<'_>, la: u64, bytes: u64, write: bool) -> Result<(), Why> {
    let set = s.c.mode.data_set();
    let last = la.wrapping_add(bytes - 1);
    let access = if write { Access::Write } else { Access::Read };
    if (la ^ last) & !(PAGE - 1) != 0 {
        return Err(Why::Crossing);
    }
    page(s, set, la, access)?;
    s.c.tlb.ram_at(set, la, write).map(drop).ok_or(Why::NotRam)
}

/// Makes the TLB entry for code at `la`. 1: the engine has to see to it.
extern "C" fn find(core: *mut Core, cx: *mut Cx, la: u64) -> u64 {
    // SAFETY: called by native code only.
    let mut s = unsafe { interp(core, cx) };
    let set = s.c.mode.code_set();
    let within = s.c.mode.long64() || la >> 32 == 0;
    let there = within && cpu::far_from_hole(la) && s.page(set, la, Access::Exec).is_ok();
    let there = there && s.c.tlb.exec(set, la).is_some();
    // SAFETY: as above.
    unsafe { answer(cx, if there { Ok(()) } else { Err(Why::Page) }) }
}

/// Does an instruction of a region with the interpreter. The state is whole, and RIP is the next instruction's.
///
/// # Safety
/// Called by native code only, with an instruction of its own region.
unsafe fn do_insn(core: *mut Core, cx: *mut Cx, insn: *const Insn, len: u64) -> bool {
    // SAFETY: the caller vouches for the pointers.
    let (mut s, insn, floats) = unsafe { (interp(core, cx), &*insn, (*cx).floats != 0) };
    let next = s.c.state.rip;
    // SAFETY: as above.
    let (x87, called) = unsafe { (&mut (*cx).x87, &mut (*cx).called) };
    called[insn.row as usize] += 1;
    x87.before(insn, &mut s.c.state.fpu);
    if floats {
        s.c.state.mxcsr = mxcsr::store();
        mxcsr::load(mxcsr::PLAIN);
    }
    let done = (ROWS[insn.row as usize].run)(&mut s, insn).is_ok();
    if floats {
        mxcsr::load(s.c.state.mxcsr);
    }
    if !done {
        let rip = next.wrapping_sub(len);
        s.c.state.rip = if s.c.mode.long64() { rip } else { rip & 0xffff_ffff };
    }
    done
}

/// Does an instruction in the middle of a block. The count is that before it. 0: go on.
extern "C" fn interpret(core: *mut Core, cx: *mut Cx, insn: *const Insn, len: u64) -> u64 {
    // SAFETY: called by native code only, which has stored the next instruction's RIP.
    let next = unsafe { interp(core, cx) }.c.state.rip;
    // SAFETY: as above.
    if !unsafe { do_insn(core, cx, insn, len) } {
        return leave::FAULT;
    }
    // SAFETY: as above.
    let mut s = unsafe { interp(core, cx) };
    if s.c.stop && !stays(&mut s) || !stack_is_near(s.c.state.gpr[4]) {
        s.c.left -= 1;
        // SAFETY: as above.
        unsafe { (*cx).why = Why::Due };
        return leave::EVENT;
    }
    if s.c.state.rip != next {
        s.c.left -= 1;
        return leave::JUMP;
    }
    0
}

/// Whether native code may have this stack pointer: bits 62 and 63 are the same. It tells pages of the stack from none by that; code
/// that moves the pointer by less than 4 GiB at a time is left long before it can matter.
pub fn stack_is_near(rsp: u64) -> bool {
    (rsp ^ rsp << 1) >> 63 == 0
}

/// Whether the code goes on as it is although something said that it should not: what STI holds off is not there.
fn stays(s: &mut Interp<'_>) -> bool {
    let mode = s.c.mode.0 & !Mode::STEP;
    s.c.state.shadow == 1 && s.c.left > 1 && event::nothing_due(s) && s.c.mode.0 == mode
}

/// Does an instruction after which something may be due. 0: nothing is, and [`Cx::after`] goes on.
extern "C" fn finish(core: *mut Core, cx: *mut Cx, insn: *const Insn, len: u64) -> u64 {
    // SAFETY: called by native code only.
    unsafe {
        if !do_insn(core, cx, insn, len) {
            return leave::FAULT;
        }
        let mut s = interp(core, cx);
        s.c.left -= 1;
        if !event::nothing_due(&mut s) || !stack_is_near(s.c.state.gpr[4]) {
            (*cx).why = Why::Due;
            return leave::EVENT;
        }
        let n = search_number(s.c.mode);
        (*cx).after = [(*cx).search[n], (*cx).search_outer[n]];
        if (*cx).after[0].is_null() { leave::JUMP } else { 0 }
    }
}

/// Makes the host compute as the guest's MXCSR says.
extern "C" fn enter_floats(core: *mut Core, cx: *mut Cx) {
    // SAFETY: called by native code only.
    unsafe {
        (*cx).floats = 1;
        mxcsr::load(interp(core, cx).c.state.mxcsr);
    }
}

extern "C" fn flag(core: *mut Core, cx: *mut Cx, f: u64) -> u64 {
    // SAFETY: called by native code only.
    unsafe { interp(core, cx) }.flag(Flag::ALL[f as usize % 6])
}
extern "C" fn cond(core: *mut Core, cx: *mut Cx, c: u64) -> u64 {
    // SAFETY: called by native code only.
    unsafe { interp(core, cx) }.cond(Cond::ALL[c as usize & 15])
}
extern "C" fn status(core: *mut Core, cx: *mut Cx) -> u64 {
    // SAFETY: called by native code only.
    unsafe { interp(core, cx) }.status()
}
