//! The commands, from the command line and from the prompt: a row each.

use crate::interrupts::{sleep_unless, unmask};
use crate::{acpi, cmos, console, port, print, println, runtime, selftest, work};

struct Row {
    name: &'static str,
    about: &'static str,
    run: fn(&str, u64),
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row { name: "help",     about: "this list",                                run: |_, _| help() },
    Row { name: "selftest", about: "interrupts, timers, paging, exceptions",   run: |_, _| selftest::run() },
    Row { name: "hash",     about: "a little work and the hash of its answers", run: |_, _| hash(false) },
    Row { name: "bench",    about: "the same work for longer",                 run: |_, _| hash(true) },
    Row { name: "time",     about: "the real-time clock",                      run: |_, _| println!("{}", cmos::now()) },
    Row { name: "spin",     about: "spin=N: count to N million",               run: |n, _| spin(n) },
    Row { name: "poweroff", about: "switch off by ACPI",                       run: |_, rsdp| power_off(rsdp) },
    Row { name: "reboot",   about: "reset by port CF9h",                       run: |_, _| reboot() },
    Row { name: "exit",     about: "exit=N: end by isa-debug-exit",            run: |n, _| runtime::exit(n.parse().unwrap_or(0)) },
    Row { name: "halt",     about: "stop for ever",                            run: |_, _| halt() },
];

/// Does a command: `name` or `name=argument`. An unknown one is said and skipped.
pub fn run(word: &str, rsdp: u64) {
    let (name, argument) = word.split_once('=').unwrap_or((word, ""));
    match ROWS.iter().find(|row| row.name == name) {
        Some(row) => (row.run)(argument, rsdp),
        None => println!("{name}: no such command; help lists them"),
    }
}

/// Reads lines and does them; never comes back.
pub fn prompt(rsdp: u64) -> ! {
    unmask(4, true);
    console::listen();
    let mut line = [0u8; 128];
    loop {
        print!("guest> ");
        let text = read_line(&mut line);
        let (name, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        match name {
            "" => {}
            "echo" => println!("{rest}"),
            _ => text.split_ascii_whitespace().for_each(|word| run(word, rsdp)),
        }
    }
}

/// A line, echoed as it is typed; backspace takes a byte back, Ctrl-C all of them.
fn read_line(line: &mut [u8]) -> &str {
    let mut len = 0;
    loop {
        let Some(byte) = console::typed() else {
            sleep_unless(console::waiting);
            continue;
        };
        match byte {
            b'\r' | b'\n' => break,
            8 | 0x7F if len > 0 => {
                len -= 1;
                print!("\x08 \x08");
            }
            3 => {
                len = 0;
                print!("^C\nguest> ");
            }
            b' '..=b'~' if len < line.len() => {
                line[len] = byte;
                len += 1;
                print!("{}", byte as char);
            }
            _ => {}
        }
    }
    println!("");
    core::str::from_utf8(&line[..len]).unwrap_or("")
}

fn help() {
    ROWS.iter().for_each(|row| println!("{:10}{}", row.name, row.about));
    println!("{:10}echo WORDS: say them again (prompt only)", "echo");
}

fn hash(long: bool) {
    let name = if long { "bench" } else { "hash" };
    let all = work::hash(long, |work, answer| println!("{name}: {} {answer:016x}", work.name));
    println!("{name}: all {all:016x}");
}

/// By a name of its own, for profiles.
#[inline(never)]
fn spin(millions: &str) {
    let n = millions.parse::<u64>().unwrap_or(1) * 1_000_000;
    let left = (0..n).fold(0u64, |x, k| core::hint::black_box(x ^ k));
    println!("spin: {n} {left:x}");
}

fn power_off(rsdp: u64) {
    println!("switching off");
    acpi::power_off(rsdp);
    println!("FAIL no power-off by ACPI");
    runtime::exit(0x7D)
}

fn reboot() {
    println!("rebooting");
    port::write8(0xCF9, 0x02);
    port::write8(0xCF9, 0x06);
    runtime::stop()
}

fn halt() {
    println!("halted");
    runtime::stop()
}
