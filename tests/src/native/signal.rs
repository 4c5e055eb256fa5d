//! Faults of tested code: from the signal frame into the context area, and back to the harness.

use super::{CONTEXT, Context, Fp, Stubs, USER_64, context};
use libc::{c_int, c_void, siginfo_t, ucontext_t};
use std::sync::atomic::{AtomicU64, Ordering};

const SIGNALS: [c_int; 5] =
    [libc::SIGSEGV, libc::SIGILL, libc::SIGFPE, libc::SIGBUS, libc::SIGTRAP];

/// Where the handler sends the thread that ran 64-bit code, or other code.
static RECOVER: AtomicU64 = AtomicU64::new(0);
static RECOVER_COMPAT: AtomicU64 = AtomicU64::new(0);
/// Linux's selector of user data.
const USER_DATA: u16 = 0x2B;

pub(super) fn thread_id() -> u32 {
    // SAFETY: gettid has no conditions.
    unsafe { libc::gettid() as u32 }
}

/// Installs the handler for all signals that an exception can become.
pub(super) fn install(stubs: Stubs) -> Result<(), String> {
    RECOVER.store(stubs.recover, Ordering::Relaxed);
    RECOVER_COMPAT.store(stubs.recover_compat, Ordering::Relaxed);
    for signal in SIGNALS {
        // SAFETY: the handler has the type that SA_SIGINFO asks for and does only what a handler
        // may: plain memory and one system call.
        let rc = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handle as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
            libc::sigaction(signal, &action, std::ptr::null_mut())
        };
        if rc != 0 {
            return Err(format!("sigaction: {}", std::io::Error::last_os_error()));
        }
    }
    Ok(())
}

/// Makes `stack` this thread's signal stack.
pub(super) fn use_stack(stack: &mut [u8]) -> Result<(), String> {
    let s = libc::stack_t {
        ss_sp: stack.as_mut_ptr().cast::<c_void>(),
        ss_flags: 0,
        ss_size: stack.len(),
    };
    // SAFETY: the caller keeps the memory until `drop_stack`.
    match unsafe { libc::sigaltstack(&s, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(format!("sigaltstack: {}", std::io::Error::last_os_error())),
    }
}

pub(super) fn drop_stack() {
    let s = libc::stack_t { ss_sp: std::ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
    // SAFETY: no handler runs on the stack now.
    unsafe { libc::sigaltstack(&s, std::ptr::null_mut()) };
}

/// Registers of `gregs` in the order of the manual's numbers.
const GREGS: [c_int; 16] = [
    libc::REG_RAX,
    libc::REG_RCX,
    libc::REG_RDX,
    libc::REG_RBX,
    libc::REG_RSP,
    libc::REG_RBP,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
];

/// `FP_XSTATE_MAGIC1`: the frame holds an XSAVE area, not only FXSAVE's 512 bytes.
const XSTATE_MAGIC: u32 = 0x4650_5853;

extern "C" fn handle(signal: c_int, _: *mut siginfo_t, frame: *mut c_void) {
    // SAFETY: the kernel gives a valid frame. The context area is mapped before the handler is
    // installed; while `active` names this thread, the thread is in tested code and holds no
    // reference into the area.
    unsafe {
        let c = context();
        if (*c).active.load(Ordering::Relaxed) != thread_id() {
            // Not ours: let it do what it would have done.
            libc::signal(signal, libc::SIG_DFL);
            return;
        }
        let machine = &mut (*frame.cast::<ucontext_t>()).uc_mcontext;
        let greg = |r: c_int| machine.gregs[r as usize] as u64;
        for (to, r) in GREGS.iter().enumerate() {
            (*c).out_gpr[to] = greg(*r);
        }
        (*c).out_flags = greg(libc::REG_EFL);
        (*c).out_rip = greg(libc::REG_RIP);
        (*c).vector = greg(libc::REG_TRAPNO);
        (*c).error = greg(libc::REG_ERR);
        (*c).address = greg(libc::REG_CR2);
        (*c).faulted = 1;
        let fp = machine.fpregs.cast::<u8>();
        let whole = fp.add(464).cast::<u32>().read_unaligned() == XSTATE_MAGIC;
        let size = if whole { size_of::<Fp>() } else { 512 };
        let to = (&raw mut (*c).out_fp).cast::<u8>();
        std::ptr::copy_nonoverlapping(fp, to, size);
        if !whole {
            (*c).out_fp.xstate_bv = 3;
        }
        // CS in the low word, SS in the high one.
        let segments = greg(libc::REG_CSGSFS);
        let was_64 = segments as u16 == USER_64;
        let recover = if was_64 { &RECOVER } else { &RECOVER_COMPAT };
        if !was_64 {
            ((*c).out_cs, (*c).out_ss) = (segments as u16, (segments >> 48) as u16);
            let kept = segments & 0x0000_FFFF_FFFF_0000;
            let now = kept | u64::from(USER_DATA) << 48 | u64::from(USER_64);
            machine.gregs[libc::REG_CSGSFS as usize] = now as i64;
        }
        machine.gregs[libc::REG_RIP as usize] = recover.load(Ordering::Relaxed) as i64;
        machine.gregs[libc::REG_RSP as usize] = CONTEXT as i64 + size_of::<Context>() as i64 - 64;
        machine.gregs[libc::REG_EFL as usize] = 0x202;
    }
}
