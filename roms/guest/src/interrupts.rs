//! Interrupts and exceptions: the tables, the two 8259s, the local APIC, and what each vector does.

use crate::port::{read8, write8};
use crate::{console, paging, println, runtime};
use core::arch::asm;
use core::ptr::addr_of;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Where the 8259s' sixteen lines and the local APIC's timer arrive.
pub const FIRST_LINE: u64 = 0x20;
pub const APIC_TIMER: u64 = 0x30;
const SPURIOUS: u32 = 0x3F;
const APIC: usize = 0xFEE0_0000;

/// How often each vector came.
static SEEN: [AtomicU64; 64] = [const { AtomicU64::new(0) }; 64];

/// What the stubs leave on the stack.
#[repr(C)]
pub struct Frame {
    registers: [u64; 15],
    pub vector: u64,
    pub error: u64,
    pub rip: u64,
    _cs: u64,
    _rflags: u64,
    _rsp: u64,
    _ss: u64,
}

#[repr(C, packed)]
struct Pointer {
    limit: u16,
    base: u64,
}

/// 64-bit TSS: only IST 1 is used (SDM vol. 3, 8.7).
#[repr(C, align(16))]
struct Tss([u32; 26]);

unsafe extern "C" {
    static stubs: u8;
    static mut gdt: [u64; 5];
    static interrupt_stack_top: u8;
}
static mut IDT: [[u64; 2]; 64] = [[0; 2]; 64];
static mut TSS: Tss = Tss([0; 26]);

/// Sets up tables, masks all lines of the 8259s, enables the local APIC with the 8259s behind LINT0, and interrupts.
pub fn init() {
    // SAFETY: runs once, before the first interrupt; nobody else touches these tables.
    unsafe {
        let stack = addr_of!(interrupt_stack_top) as u64;
        TSS.0[9] = stack as u32;
        TSS.0[10] = (stack >> 32) as u32;
        let base = addr_of!(TSS) as u64;
        let limit = size_of::<Tss>() as u64 - 1;
        gdt[3] = limit | (base & 0xFF_FFFF) << 16 | 0x89 << 40 | (base >> 24 & 0xFF) << 56;
        gdt[4] = base >> 32;
        asm!("ltr {0:x}", in(reg) 0x18u16);
        for vector in 0..64 {
            // An interrupt gate on IST 1: Rust code uses the red zone below its stack pointer.
            let at = addr_of!(stubs) as u64 + 16 * vector as u64;
            IDT[vector][0] =
                at & 0xFFFF | 8 << 16 | 1 << 32 | 0x8E << 40 | (at >> 16 & 0xFFFF) << 48;
            IDT[vector][1] = at >> 32;
        }
        let idt = Pointer { limit: 64 * 16 - 1, base: addr_of!(IDT) as u64 };
        asm!("lidt [{0}]", in(reg) &idt);
    }
    for (port, value) in [
        (0x20, 0x11),
        (0x21, FIRST_LINE as u8),
        (0x21, 4),
        (0x21, 1),
        (0x21, 0xFF),
        (0xA0, 0x11),
        (0xA1, FIRST_LINE as u8 + 8),
        (0xA1, 2),
        (0xA1, 1),
        (0xA1, 0xFF),
    ] {
        write8(port, value);
    }
    apic_write(0xF0, 0x100 | SPURIOUS);
    apic_write(0x350, 0x700);
    // SAFETY: all vectors lead to code.
    unsafe { asm!("sti") };
}

pub fn apic_write(register: usize, value: u32) {
    // SAFETY: the local APIC's page, identity-mapped and no memory of ours.
    unsafe { ((APIC + register) as *mut u32).write_volatile(value) };
}

/// Lets a line of the 8259s through, or not.
pub fn unmask(line: u8, on: bool) {
    let change =
        |port, bit: u8| write8(port, if on { read8(port) & !bit } else { read8(port) | bit });
    if line < 8 {
        change(0x21, 1 << line);
    } else {
        change(0xA1, 1 << (line - 8));
        change(0x21, 1 << 2);
    }
}

/// How often `vector` has come so far.
pub fn seen(vector: u64) -> u64 {
    SEEN[vector as usize].load(Relaxed)
}

/// Waits until `vector` has come `times` more than `before`, sleeping between interrupts.
pub fn wait_for(vector: u64, before: u64, times: u64) {
    while seen(vector) - before < times {
        sleep_unless(|| seen(vector) - before >= times);
    }
}

/// Sleeps until the next interrupt, unless `done`; looks with interrupts off, so none is missed.
pub fn sleep_unless(done: impl Fn() -> bool) {
    // SAFETY: an interrupt after STI is taken only after HLT began.
    unsafe {
        asm!("cli");
        if done() {
            asm!("sti");
        } else {
            asm!("sti", "hlt");
        }
    }
}

#[unsafe(no_mangle)]
extern "C" fn interrupt(frame: &mut Frame) {
    SEEN[frame.vector as usize & 63].fetch_add(1, Relaxed);
    match frame.vector {
        0 => frame.rip += 2, // DIV of the self-test: two bytes
        3 => {}
        6 => frame.rip += 2, // UD2
        14 => paging::fault(frame),
        0..0x20 => {
            println!(
                "FAIL exception {} error {:#x} at {:#x}",
                frame.vector, frame.error, frame.rip
            );
            runtime::exit(0x7E);
        }
        APIC_TIMER => apic_write(0xB0, 0),
        v if v < FIRST_LINE + 16 => line(v - FIRST_LINE),
        _ => {}
    }
}

fn line(line: u64) {
    match line {
        4 => console::receive(),
        8 => crate::cmos::acknowledge(),
        _ => {}
    }
    if line >= 8 {
        write8(0xA0, 0x20);
    }
    write8(0x20, 0x20);
}
