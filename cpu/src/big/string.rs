//! String instructions, with and without REP.  SDM 1, 7.3.9; SDM 2B, REP.
//!
//! A repeated instruction does its elements in chunks: up to the nearer end of the pages it reads and writes. A chunk counts as
//! one instruction and leaves RIP at the instruction itself while elements remain. How long a chunk is follows from the
//! registers alone, so the count of instructions is the same whatever the TLB holds.

use super::io;
use crate::{Access, FlagKind, Insn, Interp, Mode, Op2, Raised, SegReg, Sem, Width, flags};
use memory::PAGE;

const RCX: usize = 1;
const RSI: usize = 6;
const RDI: usize = 7;

/// The element of a string instruction, from its memory operand.
pub(crate) fn element(i: &Insn) -> Width {
    Width::of_bytes(i.bytes as u64).unwrap_or(Width::W8)
}

/// What of the registers the chunk moves.
struct Chunk {
    w: Width,
    aw: Width,
    /// Elements to do now; 0 if REP finds rCX zero.
    n: u64,
    /// Bytes from one element to the next, as a wrapping number.
    step: u64,
    repeat: bool,
    /// Each element may end in a trap.
    single: bool,
}

impl Chunk {
    fn is_down(&self) -> bool {
        self.step != self.w.bytes()
    }
}

/// Elements up to the end of the page, counting one that crosses it.
fn room(at: u64, w: Width, down: bool) -> u64 {
    let (off, b) = (at & (PAGE - 1), w.bytes());
    if down { off / b + 1 } else { (PAGE - off).div_ceil(b) }
}

fn chunk(s: &mut Interp<'_>, i: &Insn, src: bool, dst: bool) -> Chunk {
    let (w, aw) = (element(i), i.aw);
    let down = s.c.state.rflags & flags::DF != 0;
    let repeat = i.rep() || i.repne();
    if repeat && aw == Width::W32 {
        narrow(s, RCX);
    }
    let g = &s.c.state.gpr;
    let mut n = if repeat { g[RCX] & aw.mask() } else { 1 };
    if src {
        n = n.min(room(g[RSI] & aw.mask(), w, down));
    }
    if dst {
        n = n.min(room(g[RDI] & aw.mask(), w, down));
    }
    // By the state: the mode that runs has `STEP` also while interrupts are held off, and not all tiers wait for the end of that.
    let st = &s.c.state;
    let traps = st.rflags & (flags::TF | flags::RF) != 0 || st.dr7 & 0xff != 0;
    let single = traps || st.pending_debug != 0;
    if single {
        n = n.min(1);
    }
    let step = if down { w.bytes().wrapping_neg() } else { w.bytes() };
    Chunk { w, aw, n, step, repeat, single }
}

/// Clears the upper half of a register.  A repeated instruction with 32-bit addresses begins with that: of RCX, and of
/// the pointers of MOVS and STOS, so that it is seen at a fault and where the count is zero (as on Intel's processors).
fn narrow(s: &mut Interp<'_>, r: usize) {
    s.c.state.gpr[r] &= 0xffff_ffff;
}

/// Moves register `r` on by `n` elements.
fn advance(s: &mut Interp<'_>, c: &Chunk, r: usize, n: u64) {
    let v = s.c.state.gpr[r].wrapping_add(c.step.wrapping_mul(n));
    crate::sem::operand::set_gpr(s, r as u8, c.aw, v & c.aw.mask());
}

/// Takes `n` done elements off rCX and says whether more remain.
fn count_down(s: &mut Interp<'_>, c: &Chunk, n: u64) -> bool {
    if !c.repeat {
        return false;
    }
    let left = s.c.state.gpr[RCX].wrapping_sub(n) & c.aw.mask();
    crate::sem::operand::set_gpr(s, RCX as u8, c.aw, left);
    left != 0
}

/// Puts RIP back at the instruction, which is to run again.
fn again(s: &mut Interp<'_>, i: &Insn) {
    let rip = s.c.state.rip.wrapping_sub(i.len as u64);
    s.c.state.rip = if s.c.mode.long64() { rip } else { rip & 0xffff_ffff };
}

/// Does up to `c.n` elements one by one. `one` says whether to go on after an element. A fault leaves the elements before it
/// done. Whether elements remain, so that the instruction is to run again.
fn each(
    s: &mut Interp<'_>,
    i: &Insn,
    c: &Chunk,
    src: bool,
    dst: bool,
    mut one: impl FnMut(&mut Interp<'_>) -> Result<bool, Raised>,
) -> Result<bool, Raised> {
    let (mut more, mut wanted) = (false, true);
    for _ in 0..c.n {
        wanted = one(s)?;
        if src {
            advance(s, c, RSI, 1);
        }
        if dst {
            advance(s, c, RDI, 1);
        }
        more = count_down(s, c, 1);
        if !wanted {
            break;
        }
    }
    if more && wanted {
        again(s, i);
    }
    Ok(more && wanted)
}

/// Whether segments are flat here, so that a run of bytes in a page needs no check of its own.
fn flat(s: &Interp<'_>, c: &Chunk) -> bool {
    s.c.mode.long64() || s.c.mode.has(Mode::FLAT) && c.aw == Width::W32
}

/// The RAM offset of a run at linear address `la` inside one page.
fn run(s: &mut Interp<'_>, la: u64, write: bool) -> Option<u64> {
    s.ram_run(la, 1, write).map(|(at, _)| at)
}

/// The linear address of the lowest of the bytes of a chunk that register `r` points at, if they need no checks one by one.
fn whole(
    s: &mut Interp<'_>,
    c: &Chunk,
    seg: SegReg,
    r: usize,
    a: Access,
) -> Result<Option<u64>, Raised> {
    let (at, bytes) = (s.c.state.gpr[r] & c.aw.mask(), c.n * c.w.bytes());
    if c.n <= 1 {
        return Ok(None);
    }
    let below = if c.is_down() { bytes - c.w.bytes() } else { 0 };
    let wraps = |from: u64| from.checked_add(bytes - 1).is_none_or(|last| last > c.aw.mask());
    let Some(from) = at.checked_sub(below).filter(|from| !wraps(*from)) else { return Ok(None) };
    if flat(s, c) {
        let la = s.linear(seg, at, 1, a)?;
        return Ok(la.checked_sub(below));
    }
    Ok(s.span(seg, from, bytes, a))
}

/// A chunk's bytes lie in so many pages at most: it ends with a page of offsets, which segments need not be aligned with.
const PIECES: usize = 6;

/// A chunk in pieces that lie in one page each on both sides: RAM offsets and lengths.
#[derive(Default)]
struct Pieces {
    all: [(u64, u64, u64); PIECES],
    n: usize,
}

impl Pieces {
    /// `None` if any of it is not RAM, or not there. Without a source the first offset is that of the destination, too.
    fn of(s: &mut Interp<'_>, c: &Chunk, from: Option<u64>, to: u64) -> Option<Pieces> {
        let mut p = Pieces::default();
        // What is not in a piece yet.
        let (mut low, mut high) = (0, c.n * c.w.bytes());
        while low < high {
            let up = |la: u64| PAGE - (la.wrapping_add(low) & (PAGE - 1));
            let down = |la: u64| (la.wrapping_add(high - 1) & (PAGE - 1)) + 1;
            let left = |la: u64| if c.is_down() { down(la) } else { up(la) };
            let n = (high - low).min(left(to)).min(from.map_or(PAGE, left));
            let done = if c.is_down() { high - n } else { low };
            // The source first: where it faults, the other page is not touched.
            let a = match from {
                Some(la) => Some(run(s, la.wrapping_add(done), false)?),
                None => None,
            };
            let b = run(s, to.wrapping_add(done), true)?;
            *p.all.get_mut(p.n)? = (a.unwrap_or(b), b, n);
            p.n += 1;
            if c.is_down() {
                high -= n;
            } else {
                low += n;
            }
        }
        Some(p)
    }
    fn iter(&self) -> impl Iterator<Item = (u64, u64, u64)> + '_ {
        self.all[..self.n].iter().copied()
    }
}

/// MOVS.
pub fn movs(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    let c = chunk(s, i, true, true);
    if c.repeat && c.aw == Width::W32 {
        narrow(s, RSI);
        narrow(s, RDI);
    }
    let w = c.w;
    if let Some(from) = whole(s, &c, i.seg, RSI, Access::Read)?
        && let Some(to) = whole(s, &c, SegReg::Es, RDI, Access::Write)?
        && let Some(pieces) = Pieces::of(s, &c, Some(from), to)
        // Element by element, a copy to just ahead of its source repeats the source; a block move would not.
        && pieces.iter().all(|(a, b, n)| a == b || b >= a + n || a >= b + n || (b > a) == c.is_down())
    {
        for (a, b, n) in pieces.iter() {
            let _ = s.c.tlb.ram().copy(a, b, n);
        }
        return finish(s, i, &c, true);
    }
    each(s, i, &c, true, true, |s| {
        let v = s.load(i.seg, w, s.c.state.gpr[RSI] & c.aw.mask())?;
        s.store(SegReg::Es, w, s.c.state.gpr[RDI] & c.aw.mask(), v)?;
        Ok(true)
    })
    .map(drop)
}

/// After a chunk that was written at once.
fn finish(s: &mut Interp<'_>, i: &Insn, c: &Chunk, src: bool) -> Result<(), Raised> {
    if s.c.tlb.ram().code_was_written() {
        s.c.stop = true;
    }
    if src {
        advance(s, c, RSI, c.n);
    }
    advance(s, c, RDI, c.n);
    if count_down(s, c, c.n) {
        again(s, i);
    }
    Ok(())
}

/// STOS.
pub fn stos(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    let c = chunk(s, i, false, true);
    if c.repeat && c.aw == Width::W32 {
        narrow(s, RDI);
    }
    let w = c.w;
    let v = s.c.state.gpr[0] & w.mask();
    if let Some(to) = whole(s, &c, SegReg::Es, RDI, Access::Write)?
        && let Some(pieces) = Pieces::of(s, &c, None, to)
        // An element in two pieces would have to be taken apart.
        && pieces.iter().all(|(_, _, n)| n % w.bytes() == 0)
    {
        for (_, at, n) in pieces.iter() {
            fill(s, at, n, w, v);
        }
        return finish(s, i, &c, false);
    }
    each(s, i, &c, false, true, |s| {
        s.store(SegReg::Es, w, s.c.state.gpr[RDI] & c.aw.mask(), v)?;
        Ok(true)
    })
    .map(drop)
}

fn fill(s: &mut Interp<'_>, at: u64, bytes: u64, w: Width, v: u64) {
    let ram = s.c.tlb.ram();
    let b = v as u8;
    let same = v == b as u64 * 0x0101_0101_0101_0101 & w.mask();
    if same {
        let _ = ram.fill(at, bytes, b);
        return;
    }
    let mut page = [0u8; PAGE as usize];
    let n = w.bytes() as usize;
    let run = &mut page[..bytes as usize];
    run.chunks_exact_mut(n).for_each(|e| e.copy_from_slice(&v.to_le_bytes()[..n]));
    let _ = ram.write(at, run);
}

/// LODS.
pub fn lods(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    let c = chunk(s, i, true, false);
    each(s, i, &c, true, false, |s| {
        let v = s.load(i.seg, c.w, s.c.state.gpr[RSI] & c.aw.mask())?;
        crate::sem::operand::set_gpr(s, 0, c.w, v);
        Ok(true)
    })
    .map(drop)
}

/// Compares the elements that `two` gives, and sets the flags by the last two. A repeated instruction sets them when it
/// is done, as a page fault on the way must leave them as they were before it (SDM 2B, REP); single steps see them too.
fn compare(
    s: &mut Interp<'_>,
    i: &Insn,
    c: &Chunk,
    src: bool,
    two: impl Fn(&mut Interp<'_>) -> Result<(u64, u64), Raised>,
) -> Result<(), Raised> {
    let (w, mut last) = (c.w, None);
    let goes_on = each(s, i, c, src, true, |s| {
        let (a, b) = two(s)?;
        last = Some((a, b));
        Ok((a == b) != i.repne())
    })?;
    if let Some((a, b)) = last.filter(|_| !goes_on || c.single) {
        s.flags(FlagKind::Sub, w, a, b, Op2::Sub.eval(w, a, b));
    }
    Ok(())
}
/// CMPS.
pub fn cmps(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    let c = chunk(s, i, true, true);
    compare(s, i, &c, true, |s| {
        // Where both fault, Intel's processors report that of the destination (AMD's that of the source).
        let b = s.load(SegReg::Es, c.w, s.c.state.gpr[RDI] & c.aw.mask())?;
        let a = s.load(i.seg, c.w, s.c.state.gpr[RSI] & c.aw.mask())?;
        Ok((a, b))
    })
}
/// SCAS.
pub fn scas(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    let c = chunk(s, i, false, true);
    compare(s, i, &c, false, |s| {
        let a = s.c.state.gpr[0] & c.w.mask();
        let b = s.load(SegReg::Es, c.w, s.c.state.gpr[RDI] & c.aw.mask())?;
        Ok((a, b))
    })
}

/// INS.
pub fn ins(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    let c = chunk(s, i, false, true);
    let port = s.c.state.gpr[2] as u16;
    io::check(s, port, c.w)?;
    each(s, i, &c, false, true, |s| {
        // The destination must take the element before the device gives it.
        let at = s.c.state.gpr[RDI] & c.aw.mask();
        let la = s.linear(SegReg::Es, at, c.w.bytes(), Access::Write)?;
        s.probe(la, c.w.bytes(), Access::Write)?;
        let v = s.bus.port_read(s.c.retired(), port, c.w);
        s.after_bus();
        s.store(SegReg::Es, c.w, at, v)?;
        Ok(true)
    })
    .map(drop)
}
/// OUTS.
pub fn outs(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    let c = chunk(s, i, true, false);
    let port = s.c.state.gpr[2] as u16;
    io::check(s, port, c.w)?;
    each(s, i, &c, true, false, |s| {
        let v = s.load(i.seg, c.w, s.c.state.gpr[RSI] & c.aw.mask())?;
        s.bus.port_write(s.c.retired(), port, c.w, v);
        s.after_bus();
        Ok(true)
    })
    .map(drop)
}
