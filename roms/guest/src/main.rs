//! A small guest of our own: 64-bit, freestanding, started by its PVH note (`-kernel`).
//!
//! The words of the kernel command line are commands, done in order; then comes a prompt for more. `help` lists them.
//! What it computes is in `work.rs`, which the tests also run on the host.
#![no_std]
#![no_main]

mod acpi;
mod cmos;
mod commands;
mod console;
mod interrupts;
mod paging;
mod port;
mod runtime;
mod selftest;
mod timers;
mod work;

core::arch::global_asm!(include_str!("entry.s"));

/// What the PVH loader leaves for us: Xen's hvm/start_info.h, version 0 and 1.
#[repr(C)]
pub struct StartInfo {
    magic: u32,
    _version: u32,
    _flags: u32,
    _modules: u32,
    _modules_at: u64,
    command_line: u64,
    rsdp: u64,
}

#[unsafe(no_mangle)]
extern "C" fn main(info: *const StartInfo) -> ! {
    console::init();
    interrupts::init();
    // SAFETY: the loader's pointer, checked by its magic.
    let info = unsafe { info.as_ref() }.filter(|i| i.magic == 0x336E_C578);
    println!("Reprise test guest, {} command words", words(info).count());
    let rsdp = info.map_or(0, |i| i.rsdp);
    for word in words(info) {
        commands::run(word, rsdp);
    }
    commands::prompt(rsdp)
}

/// The words of the command line, up to 4 KiB of it.
fn words(info: Option<&'static StartInfo>) -> impl Iterator<Item = &'static str> {
    let at = info.map_or(0, |i| i.command_line) as *const u8;
    let bytes: &[u8] = if at.is_null() {
        &[]
    } else {
        // SAFETY: memory below 4 GiB is mapped, and the loader ends the text with a zero.
        unsafe {
            let len = (0..4096).find(|&n| *at.add(n) == 0).unwrap_or(0);
            core::slice::from_raw_parts(at, len)
        }
    };
    core::str::from_utf8(bytes).unwrap_or("").split_ascii_whitespace()
}
