//! A window of 4-KiB pages at 512 GiB, for the self-test, and page faults in it.

use crate::interrupts::Frame;
use crate::{println, runtime};
use core::arch::asm;
use core::ptr::{addr_of, addr_of_mut};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub const WINDOW: u64 = 1 << 39;
pub const PRESENT: u64 = 1 << 0;
pub const WRITABLE: u64 = 1 << 1;
pub const ACCESSED: u64 = 1 << 5;
pub const DIRTY: u64 = 1 << 6;
pub const NO_EXECUTE: u64 = 1 << 63;

#[repr(C, align(4096))]
pub struct Page<T>(pub T);

unsafe extern "C" {
    static mut page_root: [u64; 512];
}
static mut POINTERS: Page<[u64; 512]> = Page([0; 512]);
static mut DIRECTORY: Page<[u64; 512]> = Page([0; 512]);
static mut TABLE: Page<[u64; 512]> = Page([0; 512]);
static mut FRAMES: Page<[[u8; 4096]; 2]> = Page([[0; 4096]; 2]);

/// The last fault in the window: address and error code; and the entry that mends it.
static ADDRESS: AtomicU64 = AtomicU64::new(0);
static ERROR: AtomicU64 = AtomicU64::new(!0);
static MEND: AtomicU64 = AtomicU64::new(0);

pub fn init() {
    // SAFETY: one thread; the window is used by nobody before.
    unsafe {
        DIRECTORY.0[0] = addr_of!(TABLE) as u64 | PRESENT | WRITABLE;
        POINTERS.0[0] = addr_of!(DIRECTORY) as u64 | PRESENT | WRITABLE;
        page_root[1] = addr_of!(POINTERS) as u64 | PRESENT | WRITABLE;
    }
}

/// The physical address of one of two frames to map.
pub fn frame(n: usize) -> u64 {
    addr_of!(FRAMES) as u64 + 4096 * n as u64
}

pub fn set(page: usize, entry: u64) {
    // SAFETY: an entry of the window's own table.
    unsafe {
        addr_of_mut!(TABLE.0[page]).write_volatile(entry);
        asm!("invlpg [{0}]", in(reg) at(page));
    }
}

pub fn get(page: usize) -> u64 {
    // SAFETY: as above; the processor writes it, too.
    unsafe { addr_of!(TABLE.0[page]).read_volatile() }
}

pub fn at(page: usize) -> u64 {
    WINDOW + 4096 * page as u64
}

pub fn read(address: u64) -> u64 {
    // SAFETY: the window or a frame; a fault is mended and the read done again.
    unsafe { (address as *const u64).read_volatile() }
}

pub fn write(address: u64, value: u64) {
    // SAFETY: as above.
    unsafe { (address as *mut u64).write_volatile(value) }
}

/// What `work` faults with (address, error code) when a fault makes the page's entry `mended`.
pub fn fault_of(mended: u64, work: impl FnOnce()) -> (u64, u64) {
    ERROR.store(!0, Relaxed);
    MEND.store(mended, Relaxed);
    work();
    (ADDRESS.load(Relaxed), ERROR.load(Relaxed))
}

pub fn fault(frame: &mut Frame) {
    let address: u64;
    // SAFETY: only reads CR2.
    unsafe { asm!("mov {0}, cr2", out(reg) address) };
    let page = address.wrapping_sub(WINDOW) / 4096;
    if page >= 512 || ERROR.swap(frame.error, Relaxed) != !0 {
        println!("FAIL page fault at {address:#x} error {:#x} rip {:#x}", frame.error, frame.rip);
        runtime::exit(0x7E);
    }
    ADDRESS.store(address, Relaxed);
    set(page as usize, MEND.load(Relaxed));
}
