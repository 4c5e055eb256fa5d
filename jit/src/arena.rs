//! Memory for native code: what all code uses, and then equal parts that are filled one after the other, as a ring. When all are
//! full, the one that was filled longest ago is taken back, so only the oldest code is lost.
// UNSAFE: executable memory can only be had from the system and written through pointers.
#![allow(unsafe_code)]

use crate::emit::asm::Asm;
use crate::engine::JitError;
use rustix::mm::{MapFlags, ProtFlags};
use std::ptr::null_mut;

/// A mapping that code is written to and executed from. Each part has hot code from its start, cold code from its end.
pub struct Arena {
    /// Where it is written.
    write: *mut u8,
    /// Where it is executed: the same place, or a second view where the system wants them apart.
    run: *const u8,
    len: usize,
    /// Room for all parts together.
    room: usize,
    /// Where parts begin; what is before them stays.
    kept: usize,
    /// The part that is being filled, and whether those behind it have code, too.
    part: usize,
    round: bool,
    /// Of that part: where hot code ends, and where cold code begins.
    used: usize,
    top: usize,
    /// Where the newest hot and cold code are.
    newest: [(usize, usize); 2],
}

/// Code in its place.
pub struct Code<'a> {
    pub at: *const u8,
    pub bytes: &'a [u8],
}

/// Hot code starts at multiples of this.
pub const ALIGN: usize = 16;
/// Bytes of a jump.
pub const JMP: usize = 5;
/// Parts: with more of them less is lost at a time, and more room is left over at their ends.
pub const PARTS: usize = 16;
/// Bytes of a part at least: nearly all blocks fit, and what does not fit stays in tier 0.
const LEAST: usize = 8 << 10;
/// Bytes at most: jumps reach so far.
const MOST: usize = 2047 << 20;
/// Room for what stays.
const COMMON: usize = 128 << 10;

impl Arena {
    /// An arena of parts that have so many bytes together, or [`MOST`].
    pub fn new(room: usize) -> Result<Arena, JitError> {
        let room = room.min(MOST).next_multiple_of(PARTS * ALIGN).max(PARTS * LEAST);
        let len = (room + COMMON).next_multiple_of(2 << 20);
        let rw = ProtFlags::READ | ProtFlags::WRITE;
        let fail = |e: rustix::io::Errno| JitError::Memory { bytes: len, why: e.into() };
        // SAFETY: a new private mapping at a place the system chooses touches no other memory.
        let one = unsafe {
            rustix::mm::mmap_anonymous(null_mut(), len, rw | ProtFlags::EXEC, MapFlags::PRIVATE)
        };
        if let Ok(p) = one {
            // Fewer, larger pages; without them all is the same.
            // SAFETY: advice on the mapping just made.
            let _ = unsafe { rustix::mm::madvise(p, len, rustix::mm::Advice::LinuxHugepage) };
            return Ok(Arena::of(p.cast(), p.cast(), len, room));
        }
        let file =
            rustix::fs::memfd_create("code", rustix::fs::MemfdFlags::CLOEXEC).map_err(fail)?;
        rustix::fs::ftruncate(&file, len as u64).map_err(fail)?;
        // SAFETY: as above; the file is ours alone.
        let (write, run) = unsafe {
            let map = |p| rustix::mm::mmap(null_mut(), len, p, MapFlags::SHARED, &file, 0);
            let write = map(rw).map_err(fail)?;
            let run = match map(ProtFlags::READ | ProtFlags::EXEC) {
                Ok(run) => run,
                Err(e) => {
                    let _ = rustix::mm::munmap(write, len);
                    return Err(fail(e));
                }
            };
            (write, run)
        };
        Ok(Arena::of(write.cast(), run.cast(), len, room))
    }
    /// All of it is one part until [`Arena::keep`].
    fn of(write: *mut u8, run: *const u8, len: usize, room: usize) -> Arena {
        let newest = [(0, 0); 2];
        Arena { write, run, len, room, kept: 0, part: 0, round: false, used: 0, top: len, newest }
    }

    /// Where code is executed.
    pub fn start(&self) -> *const u8 {
        self.run
    }
    /// Puts code in and gives where to call it; `None` if there is no room.
    pub fn add(&mut self, code: &[u8]) -> Option<*const u8> {
        let at = self.room(code.len(), 0)?;
        self.put(at, code);
        // SAFETY: `at` is inside the view.
        Some(unsafe { self.run.add(at) })
    }
    /// Puts code in that goes on at a place in the arena; `None` if there is no room.
    pub fn add_jump(&mut self, code: &[u8], to: *const u8) -> Option<*const u8> {
        const INSN: u8 = 0xe9;
        let at = self.add(&[code, &[INSN, 0, 0, 0, 0]].concat())?;
        let end = at.wrapping_add(code.len() + JMP);
        let distance = (to as i64).wrapping_sub(end as i64);
        self.patch(end.wrapping_sub(4), i32::try_from(distance).ok()?);
        Some(at)
    }
    /// Puts code in, hot and cold in their places; `None` if there is no room.
    pub fn add_parts(&mut self, code: &mut Asm) -> Option<*const u8> {
        let (hot, cold) = code.lengths();
        let at = self.room(hot, cold)?;
        let below = self.top;
        let (hot, cold) = code.split((below - (at + hot)) as i32);
        self.put(at, hot);
        self.put(below, cold);
        // SAFETY: `at` is inside the view.
        Some(unsafe { self.run.add(at) })
    }
    /// Takes room for hot and cold code, and gives where the hot code goes; the other is on top.
    fn room(&mut self, hot: usize, cold: usize) -> Option<usize> {
        let at = self.used.next_multiple_of(ALIGN);
        let (end, top) = (at.checked_add(hot)?, self.top.checked_sub(cold)?);
        (end <= top).then(|| {
            self.newest = [(at, hot), (top, cold)];
            (self.used, self.top) = (end, top);
            at
        })
    }
    fn put(&mut self, at: usize, code: &[u8]) {
        debug_assert!(at + code.len() <= self.len);
        // SAFETY: `room` gave this place, which is inside the view, and no code in use is there.
        unsafe { self.write.add(at).copy_from_nonoverlapping(code.as_ptr(), code.len()) };
        flush(self.write, self.run, at, code.len());
    }
    /// What was put in last, hot and cold.
    pub fn newest(&self) -> (Code<'_>, Code<'_>) {
        let [hot, cold] = self.newest.map(|(at, len)| {
            // SAFETY: `room` gave this place, which is inside the view; nobody writes while this is borrowed.
            let bytes = unsafe { std::slice::from_raw_parts(self.write.add(at), len) };
            Code { at: self.run.wrapping_add(at), bytes }
        });
        (hot, cold)
    }
    /// Changes four bytes of code, which is not running.
    pub fn patch(&mut self, at: *const u8, to: i32) {
        let offset = (at as usize).wrapping_sub(self.run as usize);
        if offset <= self.len - 4 {
            // SAFETY: the bytes are inside the mapping, as was just seen.
            unsafe { self.write.add(offset).cast::<i32>().write_unaligned(to) };
            flush(self.write, self.run, offset, 4);
        }
    }
    /// Bytes that have code, as far as parts that are full have, and how many there are.
    pub fn usage(&self) -> (usize, usize) {
        let others = if self.round { PARTS - 1 } else { self.part };
        let here = self.size() - (self.top - self.used);
        (self.kept + others * self.size() + here, self.kept + self.room)
    }
    /// What is in the arena so far stays in it; the rest becomes parts.
    pub fn keep(&mut self) {
        const LINE: usize = 64;
        self.kept = self.used.next_multiple_of(LINE);
        self.room = self.room.min(self.len - self.kept);
        self.clear();
    }
    /// Forgets all code but what is kept. None of it may be running.
    pub fn clear(&mut self) {
        self.round = false;
        self.begin(0);
    }
    fn size(&self) -> usize {
        self.room / PARTS / ALIGN * ALIGN
    }
    fn begin(&mut self, part: usize) {
        self.part = part;
        self.used = self.kept + part * self.size();
        self.top = self.used + self.size();
    }
    /// The part that is being filled.
    pub fn part(&self) -> usize {
        self.part
    }
    /// Whether the part that is being filled has room for hot and cold code.
    pub fn has(&self, hot: usize, cold: usize) -> bool {
        let at = self.used.next_multiple_of(ALIGN);
        at.checked_add(hot).zip(self.top.checked_sub(cold)).is_some_and(|(end, top)| end <= top)
    }
    /// Whether an empty part has.
    pub fn could_have(&self, hot: usize, cold: usize) -> bool {
        hot.checked_add(cold).is_some_and(|n| n <= self.size() - ALIGN)
    }
    /// Begins to fill the next part, whose code is lost: none of it may be running, nor be known to anybody. Gives whether there
    /// was some.
    pub fn next(&mut self) -> bool {
        self.round |= self.part + 1 == PARTS;
        self.begin(self.following());
        self.round
    }
    /// The part that [`Arena::next`] begins.
    pub fn following(&self) -> usize {
        (self.part + 1) % PARTS
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: the mappings are ours, and nobody holds code pointers beyond the engine.
        unsafe {
            let _ = rustix::mm::munmap(self.write.cast(), self.len);
            if !std::ptr::eq(self.write, self.run) {
                let _ = rustix::mm::munmap(self.run.cast_mut().cast(), self.len);
            }
        }
    }
}

/// Makes new code visible to instruction fetches.
#[cfg(not(target_arch = "aarch64"))]
fn flush(_: *mut u8, _: *const u8, _: usize, _: usize) {}

/// Makes new code visible to instruction fetches: data cleaned to where caches join, instruction lines dropped.
#[cfg(target_arch = "aarch64")]
fn flush(write: *mut u8, run: *const u8, at: usize, len: usize) {
    // Lines are at least 16 bytes; 16 is always right.
    let lines = |base: usize| ((base + at) & !15..base + at + len).step_by(16);
    // SAFETY: cache maintenance of our own mapping changes no values.
    unsafe {
        use std::arch::asm;
        for p in lines(write as usize) {
            asm!("dc cvau, {}", in(reg) p, options(nostack, preserves_flags));
        }
        asm!("dsb ish", options(nostack, preserves_flags));
        for p in lines(run as usize) {
            asm!("ic ivau, {}", in(reg) p, options(nostack, preserves_flags));
        }
        asm!("dsb ish", "isb", options(nostack, preserves_flags));
    }
}
