//! The self-test: interrupts, timers, paging, exceptions, the clock. A row each.

use crate::interrupts::{APIC_TIMER, FIRST_LINE, seen, unmask, wait_for};
use crate::paging::*;
use crate::{cmos, println, timers};
use core::arch::asm;

const ROWS: &[(&str, fn() -> bool)] = &[
    ("the 8254 ticks through the 8259", pit),
    ("the local APIC's timer ticks", apic),
    ("the real-time clock shows a date", || cmos::now().is_plausible()),
    ("the real-time clock interrupts", rtc),
    ("two pages show one frame", alias),
    ("a changed page is seen after INVLPG", change),
    ("accessed and dirty bits are set", accessed_dirty),
    ("a missing page faults with its address", missing),
    ("a read-only page faults on a write", read_only),
    ("a no-execute page faults on a call", no_execute),
    ("a division by zero, INT3 and UD2 arrive", exceptions),
    ("the direction flag and string moves work", strings),
    ("rounding follows MXCSR", rounding),
    ("x87 has 64 bits of precision", x87),
];

/// Runs all rows.
pub fn run() {
    init();
    let mut failed = 0;
    for (name, test) in ROWS {
        let good = test();
        println!("{} {name}", if good { "ok  " } else { "FAIL" });
        failed += usize::from(!good);
    }
    println!("selftest: {} passed, {failed} failed", ROWS.len() - failed);
}

fn pit() -> bool {
    timers::start_pit();
    unmask(0, true);
    wait_for(FIRST_LINE, seen(FIRST_LINE), 20);
    unmask(0, false);
    true
}

fn apic() -> bool {
    timers::start_apic(20_000);
    wait_for(APIC_TIMER, seen(APIC_TIMER), 10);
    timers::stop_apic();
    true
}

fn rtc() -> bool {
    unmask(8, true);
    cmos::periodic(true);
    wait_for(FIRST_LINE + 8, seen(FIRST_LINE + 8), 8);
    cmos::periodic(false);
    unmask(8, false);
    true
}

fn alias() -> bool {
    set(1, frame(0) | PRESENT | WRITABLE);
    set(2, frame(0) | PRESENT);
    write(at(1) + 8, 0x1122_3344_5566_7788);
    read(at(2) + 8) == 0x1122_3344_5566_7788 && read(frame(0) + 8) == 0x1122_3344_5566_7788
}

fn change() -> bool {
    write(frame(0), 1);
    write(frame(1), 2);
    set(1, frame(0) | PRESENT);
    let first = read(at(1));
    set(1, frame(1) | PRESENT);
    (first, read(at(1))) == (1, 2)
}

fn accessed_dirty() -> bool {
    set(3, frame(0) | PRESENT | WRITABLE);
    let bits = || get(3) & (ACCESSED | DIRTY);
    let untouched = bits();
    read(at(3));
    let after_read = bits();
    write(at(3), 7);
    (untouched, after_read, bits()) == (0, ACCESSED, ACCESSED | DIRTY)
}

fn missing() -> bool {
    set(4, 0);
    let (address, error) = fault_of(frame(1) | PRESENT | WRITABLE, || {
        read(at(4) + 0x123);
    });
    (address, error) == (at(4) + 0x123, 0)
}

fn read_only() -> bool {
    set(5, frame(1) | PRESENT);
    let seen = fault_of(frame(1) | PRESENT | WRITABLE, || write(at(5) + 16, 99));
    seen == (at(5) + 16, 3) && read(frame(1) + 16) == 99
}

fn no_execute() -> bool {
    write(frame(0), 0xC3); // RET
    set(6, frame(0) | PRESENT | NO_EXECUTE);
    let seen = fault_of(frame(0) | PRESENT, || {
        // SAFETY: the page holds a RET.
        unsafe { asm!("call {0}", in(reg) at(6), clobber_abi("C")) }
    });
    seen == (at(6), 0x11)
}

fn exceptions() -> bool {
    let before = [seen(0), seen(3), seen(6)];
    // SAFETY: the handler steps over the DIV and the UD2.
    unsafe {
        asm!("div ecx", "int3", "ud2", in("ecx") 0, inout("eax") 1 => _, inout("edx") 0 => _)
    };
    [seen(0), seen(3), seen(6)] == before.map(|n| n + 1)
}

fn strings() -> bool {
    let mut text = *b"abcdefgh........";
    let (from, to) = (&raw const text[7], &raw mut text[15]);
    // SAFETY: eight bytes each, downwards.
    unsafe {
        asm!("std", "rep movsb", "cld", inout("rsi") from => _, inout("rdi") to => _, inout("rcx") 8u64 => _)
    };
    &text == b"abcdefghabcdefgh"
}

fn rounding() -> bool {
    [(0, 2), (1, 2), (2, 3), (3, 2)].iter().all(|&(mode, expected)| {
        let control: u32 = 0x1F80 | mode << 13;
        let usual: u32 = 0x1F80;
        let got: i32;
        // SAFETY: MXCSR is put back.
        unsafe {
            asm!("ldmxcsr [{c}]", "cvtsd2si {g:e}, {x}", "ldmxcsr [{u}]", c = in(reg) &control,
                u = in(reg) &usual, g = out(reg) got, x = in(xmm_reg) 2.5f64);
        }
        got == expected
    })
}

fn x87() -> bool {
    // 1 + 2^-63 is not 1 in 64 bits of mantissa; 1 + 2^-64 rounds to 1.
    let small = [2f64.to_bits() - (64 << 52), 2f64.to_bits() - (65 << 52)];
    let mut status = [0u16; 2];
    for (bits, status) in small.iter().zip(&mut status) {
        // SAFETY: the register stack is left as it was.
        unsafe {
            asm!("fninit", "fld1", "fld qword ptr [{0}]", "fadd st, st(1)", "fucompp", "fnstsw [{1}]",
                in(reg) bits, in(reg) status);
        }
    }
    status.map(|s| s & 0x4500) == [0, 0x4000]
}
