//! The host CPU as a column: runs arbitrary user-mode instruction bytes with a wholly given
//! register file and returns the whole result. x86-64 Linux with AVX only.
//!
//! How: fixed low addresses hold the code window, the two memory windows, a page of INT3 as
//! landing place of branches, and a context area that our entry and exit code reach by absolute
//! address, so that no register needs to survive. Tested code is followed by a jump to the exit
//! code. (32-bit and 16-bit code is entered and left by far jumps; `mode` has the segments.) Faults arrive as signals on an alternate stack; the handler copies the state at the
//! fault out of its frame and goes on in the harness.
//!
//! The caller promises that the code has no system calls, no privileged or far transfers, does
//! not set TF or AC, and that its accesses go to the windows or to addresses where the process
//! has nothing (see `generate`).
// UNSAFE: running given machine code and catching its signals cannot be said in safe Rust.
#![allow(unsafe_code)]

mod segments;
mod signal;
mod stub;

use crate::case::{self, CODE, CODE_SIZE, Case, End, FLAGS, LANDING, LANDING_SIZE, Outcome};
use crate::case::{State, WINDOW_SIZE, WINDOWS};
use crate::mode::Mode;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};

/// The context area: what entry and exit code and the signal handler share.
#[repr(C, align(64))]
struct Context {
    in_gpr: [u64; 16],
    in_flags: u64,
    target: u64,
    host_rsp: u64,
    host_mxcsr: u32,
    /// 32-bit and 16-bit code: the far pointer to it, and ES, SS, DS.
    far_offset: u32,
    far_selector: u16,
    es: u16,
    ss: u16,
    ds: u16,
    out_es: u16,
    out_cs: u16,
    out_ss: u16,
    out_ds: u16,
    /// Thread that runs tested code at the moment, 0 if none.
    active: AtomicU32,
    out_gpr: [u64; 16],
    out_flags: u64,
    out_rip: u64,
    /// 0: came out by the exit code. 1: by a signal.
    faulted: u64,
    vector: u64,
    error: u64,
    address: u64,
    in_fp: Fp,
    out_fp: Fp,
    scratch: [u64; 32],
    scratch_top: u64,
}

/// The standard XSAVE area with x87, SSE and AVX state.  SDM vol. 1, 13.4.
#[repr(C, align(64))]
#[derive(Clone)]
struct Fp {
    fcw: u16,
    fsw: u16,
    ftw: u16,
    fop: u16,
    fip: u64,
    fdp: u64,
    mxcsr: u32,
    mxcsr_mask: u32,
    st: [u128; 8],
    xmm: [[u64; 2]; 16],
    software: [u64; 12],
    xstate_bv: u64,
    xcomp_bv: u64,
    reserved: [u64; 6],
    ymm_high: [[u64; 2]; 16],
}

const WORDS: usize = (WINDOW_SIZE / 8) as usize;
/// Bytes before and after the code that are ours: INT3s as landing places of short branches.
const AROUND: u64 = 32;
/// The bit of a page fault's error code that says that it was a fetch.
const FETCH: u64 = 1 << 4;
const CONTEXT: u64 = 0x0D00_0000;
const CONTEXT_SIZE: u64 = 0x2000;
const STUB: u64 = 0x0D10_0000;
const STUB_SIZE: u64 = 0x1000;

fn context() -> *mut Context {
    CONTEXT as *mut Context
}

/// The addresses where the stubs begin.
#[derive(Clone, Copy)]
struct Stubs {
    enter: u64,
    exit: u64,
    recover: u64,
    /// The same for code that is not 64-bit code.
    enter_compat: u64,
    exit_compat: u64,
    recover_compat: u64,
}

/// Linux's selector of 64-bit user code.
const USER_64: u16 = 0x33;

static LOCAL: OnceLock<Result<(), String>> = OnceLock::new();
static STUBS: OnceLock<Result<Stubs, String>> = OnceLock::new();
static ONE: Mutex<()> = Mutex::new(());

/// The host CPU. One at a time a process: others wait in `open`.
pub struct Native {
    stubs: Stubs,
    /// What the windows hold between cases, and the seed it is made from.
    pristine: Vec<u64>,
    /// The same with the patches of the case that runs.
    shadow: Vec<u64>,
    mem_seed: u64,
    /// The alternate signal stack: freed after `drop` has taken it out of use.
    _alternate: Vec<u8>,
    thread: u32,
    _one: MutexGuard<'static, ()>,
    /// The alternate signal stack belongs to this thread.
    _thread: PhantomData<*mut ()>,
}

impl Native {
    /// Maps the areas (first time) and takes the host CPU for this thread.
    pub fn open() -> Result<Native, String> {
        let one = ONE.lock().unwrap_or_else(|e| e.into_inner());
        let stubs = STUBS.get_or_init(prepare).clone()?;
        let mut alternate = vec![0u8; 256 << 10];
        signal::use_stack(&mut alternate)?;
        let mut n = Native {
            stubs,
            pristine: Vec::new(),
            shadow: Vec::new(),
            mem_seed: 0,
            _alternate: alternate,
            thread: signal::thread_id(),
            _one: one,
            _thread: PhantomData,
        };
        n.fill(0);
        Ok(n)
    }

    /// Runs one case. Code that does not fit its window is refused.
    pub fn run(&mut self, case: &Case) -> Outcome {
        let (s, at) = (&case.state, case.at());
        let end = at.checked_add(case.code.len() as u64 + AROUND);
        assert!(
            at >= CODE + AROUND && end.is_some_and(|e| e <= CODE + CODE_SIZE),
            "the code window is {CODE:#x}..{:#x} less {AROUND} bytes, the case stands at {at:#x}",
            CODE + CODE_SIZE,
        );
        let compat = !case.mode.is_64();
        if compat {
            self.supports(case.mode).unwrap_or_else(|e| panic!("{e}"));
        }
        if self.mem_seed != case.mem_seed || self.pristine.is_empty() {
            self.fill(case.mem_seed);
        }
        self.patch(case);
        self.place_code(case);
        place_landings();
        let enter = if compat { self.stubs.enter_compat } else { self.stubs.enter };
        // SAFETY: the context area is mapped since `open`; only this thread uses it (`_one`).
        let out = unsafe {
            let c = &mut *context();
            c.in_gpr = s.gpr;
            c.in_flags = s.rflags & FLAGS | 2;
            c.target = s.rip;
            let [es, cs, ss, ds] = case.mode.segments().map(|p| p.selector);
            (c.far_offset, c.far_selector) = (s.rip as u32, cs);
            (c.es, c.ss, c.ds) = (es, ss, ds);
            c.out_cs = cs;
            c.faulted = 0;
            to_fp(s, &mut c.in_fp);
            c.active.store(self.thread, Ordering::Relaxed);
            let enter: extern "sysv64" fn() = std::mem::transmute(enter as *const u8);
            // SAFETY: the stub saves what the ABI asks for; the tested code obeys the promise in
            // the module's description.
            enter();
            let c = &mut *context();
            c.active.store(0, Ordering::Relaxed);
            outcome(c, case)
        };
        self.finish(case, out)
    }

    /// Writes the code, the jump to the exit stub behind it, and INT3 around both.
    fn place_code(&self, case: &Case) {
        let (around, len) = (AROUND as usize, case.code.len());
        let start = case.at() - AROUND;
        let leave = self.leave(case);
        // SAFETY: `run` has checked that all fits the code window, which is mapped writable; the
        // slice is gone when the code runs.
        let to = unsafe { std::slice::from_raw_parts_mut(start as *mut u8, len + 2 * around) };
        let mut code = vec![0xCC; len + 2 * around];
        code[around..around + len].copy_from_slice(&case.code);
        code[around + len..][..leave.len()].copy_from_slice(&leave);
        // A write to code that has just run is slow, even of what is there.
        if *to != code[..] {
            to.copy_from_slice(&code);
        }
    }

    /// The jump to the exit stub; a far one if there is 64-bit code to return to.
    fn leave(&self, case: &Case) -> Vec<u8> {
        let (mut bytes, to) = match case.mode {
            Mode::Bits64 => {
                let next = case.at() + case.code.len() as u64 + 5;
                (vec![0xE9], self.stubs.exit.wrapping_sub(next) as u32)
            }
            Mode::Bits32 => (vec![0xEA], self.stubs.exit_compat as u32),
            Mode::Bits16 => (vec![0x66, 0xEA], self.stubs.exit_compat as u32),
        };
        bytes.extend(to.to_le_bytes());
        if !case.mode.is_64() {
            bytes.extend(USER_64.to_le_bytes());
        }
        bytes
    }

    /// Whether code of this size can be run; the first time this asks the kernel for its segments.
    pub fn supports(&self, mode: Mode) -> Result<(), String> {
        if mode.is_64() {
            return Ok(());
        }
        let done = LOCAL.get_or_init(segments::install);
        done.clone().map_err(|e| format!("{}-bit code needs segments of its own: {e}", mode.bits()))
    }

    /// Collects the changes of the windows and undoes them.
    fn finish(&mut self, case: &Case, mut out: Outcome) -> Outcome {
        for w in 0..WINDOWS.len() {
            if !case.writes {
                break;
            }
            let (now, was) = (window(w), &self.shadow[w * WORDS..(w + 1) * WORDS]);
            for (k, (now, was)) in now.chunks_mut(64).zip(was.chunks(64)).enumerate() {
                if now == was {
                    continue;
                }
                for i in (0..64).filter(|i| now[*i] != was[*i]) {
                    out.mem.push((WINDOWS[w] + (k * 64 + i) as u64 * 8, now[i]));
                }
                now.copy_from_slice(was);
            }
        }
        for i in case.patches.iter().flat_map(case::patched_words) {
            self.shadow[i] = self.pristine[i];
            window(i / WORDS)[i % WORDS] = self.pristine[i];
        }
        out
    }

    /// Puts the patches into the windows and their shadow.
    fn patch(&mut self, case: &Case) {
        case::apply(&case.patches, &mut self.shadow);
        for i in case.patches.iter().flat_map(case::patched_words) {
            window(i / WORDS)[i % WORDS] = self.shadow[i];
        }
    }

    fn fill(&mut self, mem_seed: u64) {
        self.pristine = case::background(mem_seed);
        self.shadow = self.pristine.clone();
        self.mem_seed = mem_seed;
        for w in 0..WINDOWS.len() {
            window(w).copy_from_slice(&self.pristine[w * WORDS..(w + 1) * WORDS]);
        }
    }

    /// Whether the windows hold what they should between cases.
    pub fn windows_are_clean(&self) -> bool {
        self.shadow == self.pristine
            && (0..WINDOWS.len()).all(|w| *window(w) == self.pristine[w * WORDS..(w + 1) * WORDS])
    }
}

/// The words of a window in host memory. Callers hold `Native`, and keep no two at a time.
fn window<'a>(w: usize) -> &'a mut [u64] {
    // SAFETY: the windows are mapped writable since `open`, and no reference outlives its use in
    // the functions above; tested code runs only while none is held.
    unsafe { std::slice::from_raw_parts_mut(WINDOWS[w] as *mut u64, WORDS) }
}

impl Drop for Native {
    fn drop(&mut self) {
        signal::drop_stack();
    }
}

/// Maps the areas, writes the stubs, installs the signal handlers: once a process.
fn prepare() -> Result<Stubs, String> {
    for f in ["avx", "xsave"] {
        let have = match f {
            "avx" => is_x86_feature_detected!("avx"),
            _ => is_x86_feature_detected!("xsave"),
        };
        if !have {
            return Err(format!("the host CPU has no {f}"));
        }
    }
    let rw = libc::PROT_READ | libc::PROT_WRITE;
    let rwx = rw | libc::PROT_EXEC;
    map(CONTEXT, CONTEXT_SIZE, rw)?;
    map(STUB, STUB_SIZE, rwx)?;
    map(CODE, CODE_SIZE + LANDING_SIZE, rwx)?;
    map(LANDING, LANDING_SIZE, rwx)?;
    for base in WINDOWS {
        map(base, WINDOW_SIZE, rw)?;
    }
    place_landings();
    let stubs = stub::write()?;
    signal::install(stubs)?;
    Ok(stubs)
}

/// Has INT3 where branches go. A case may have written there.
fn place_landings() {
    const INT3: [u8; LANDING_SIZE as usize] = [0xCC; LANDING_SIZE as usize];
    for landing in [LANDING, CODE + CODE_SIZE] {
        // SAFETY: `prepare` has mapped both; no code runs while the slice lives.
        let to =
            unsafe { std::slice::from_raw_parts_mut(landing as *mut u8, LANDING_SIZE as usize) };
        if *to != INT3 {
            to.copy_from_slice(&INT3);
        }
    }
}

/// Maps zeroed memory at a fixed address where nothing may be yet.
fn map(at: u64, size: u64, protection: i32) -> Result<(), String> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    // SAFETY: MAP_FIXED_NOREPLACE never touches an existing mapping.
    let got = unsafe { libc::mmap(at as *mut _, size as usize, protection, flags, -1, 0) };
    if got as u64 == at {
        Ok(())
    } else {
        Err(format!("cannot map {size:#x} bytes at {at:#x}: {}", std::io::Error::last_os_error()))
    }
}

/// The state as an XSAVE area.
fn to_fp(s: &State, fp: &mut Fp) {
    (fp.fcw, fp.fsw, fp.ftw, fp.fop) = (s.fcw, s.fsw, u16::from(s.ftw), s.fop);
    (fp.fip, fp.fdp, fp.mxcsr) = (s.fip, s.fdp, s.mxcsr & 0xFFFF);
    fp.st = s.st;
    for (i, y) in s.ymm.iter().enumerate() {
        fp.xmm[i] = [y[0], y[1]];
        fp.ymm_high[i] = [y[2], y[3]];
    }
    (fp.xstate_bv, fp.xcomp_bv, fp.reserved) = (7, 0, [0; 6]);
}

/// Reads what the exit code or the signal handler left.
fn outcome(c: &Context, case: &Case) -> Outcome {
    let mut s = State::plain();
    s.gpr = c.out_gpr;
    s.rflags = c.out_flags & FLAGS;
    if !case.mode.is_64() {
        s.seg = [c.out_es, c.out_cs, c.out_ss, c.out_ds];
    }
    let fp = &c.out_fp;
    // A component whose XSTATE_BV bit is clear is in its initial state, whatever its bytes say.
    if fp.xstate_bv & 1 != 0 {
        (s.fcw, s.fsw, s.ftw, s.fop) = (fp.fcw, fp.fsw, fp.ftw as u8, fp.fop);
        (s.fip, s.fdp) = (fp.fip, fp.fdp);
        s.st = fp.st.map(|v| v & (u128::MAX >> 48));
    }
    s.mxcsr = fp.mxcsr;
    for (i, y) in s.ymm.iter_mut().enumerate() {
        if fp.xstate_bv & 2 != 0 {
            y[..2].copy_from_slice(&fp.xmm[i]);
        }
        if fp.xstate_bv & 4 != 0 {
            y[2..].copy_from_slice(&fp.ymm_high[i]);
        }
    }
    let end = if c.faulted == 0 {
        s.rip = case.state.rip + case.code.len() as u64;
        End::Done
    } else if c.vector == 3 {
        // An INT3 of the landing page: the branch has arrived.
        s.rip = c.out_rip - 1;
        End::Done
    } else if c.vector == 14 && c.error & FETCH != 0 {
        // So it has where nothing is, the low 64 KiB.
        s.rip = c.out_rip;
        End::Done
    } else {
        s.rip = c.out_rip;
        let page = c.vector == 14;
        End::Fault {
            vector: c.vector as u8,
            address: if page { c.address } else { 0 },
            write: page && c.error & 2 != 0,
        }
    };
    Outcome { end, state: s, mem: Vec::new() }
}

#[cfg(test)]
mod test;
