//! The benchmark's program: fixed work with an answer to check, for a guest and for the host alike.
//!
//! `workloads NAME...` does each and prints `bench begin NAME` and `bench end NAME ANSWER` around it; `workloads all` does
//! all; `workloads list` names them. Built by `cargo xtask bench` with rustc alone, statically.

#[path = "../../roms/guest/src/work.rs"]
mod work;

use std::ffi::c_void;
use std::hint::black_box;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

unsafe extern "C" {
    fn fork() -> i32;
    fn waitpid(pid: i32, status: *mut i32, options: i32) -> i32;
    fn _exit(status: i32) -> !;
    fn syscall(number: i64, ...) -> i64;
    fn mmap(
        at: *mut c_void,
        len: usize,
        protection: i32,
        flags: i32,
        fd: i32,
        from: i64,
    ) -> *mut c_void;
    fn munmap(at: *mut c_void, len: usize) -> i32;
}

const GETPPID: i64 = 110;
const READ_WRITE: i32 = 3;
const PRIVATE_ANONYMOUS: i32 = 0x22;

/// Work that needs an operating system; the rest is `work.rs`.
#[rustfmt::skip]
const SYSTEM: &[(&str, fn() -> u64)] = &[
    ("chase",   chase),
    ("copy",    copy),
    ("vector",  vector),
    ("text",    text),
    ("fault",   fault),
    ("syscall", syscalls),
    ("fork",    forks),
    ("exec",    execs),
    ("pipe",    pipe),
];

fn main() {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let named = |name: &str| names.iter().any(|n| n == name || n == "all");
    let list = names.iter().any(|n| n == "list");
    for w in work::ALL {
        step(w.name, named(w.name), list, || (w.run)(w.long * 5));
    }
    for (name, run) in SYSTEM {
        step(name, named(name), list, run);
    }
    // `exec` starts us with no name at all.
}

fn step(name: &str, wanted: bool, list: bool, run: impl FnOnce() -> u64) {
    if list {
        println!("{name}");
    } else if wanted {
        println!("bench begin {name}");
        println!("bench end {name} {:016x}", run());
    }
}

fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Dependent loads all over 8 MiB.
fn chase() -> u64 {
    let n = 1 << 20;
    let mut next: Vec<u64> = (0..n).collect();
    let mut seed = 88_172_645_463_325_252;
    for i in (1..n).rev() {
        // Sattolo: one cycle through all.
        next.swap(i as usize, (random(&mut seed) % i) as usize);
    }
    (0..20_000_000).fold(0, |at, _| next[at as usize])
}

fn copy() -> u64 {
    let mut from: Vec<u8> = (0..32 << 20).map(|n: u32| (n >> 7) as u8).collect();
    let mut to = vec![0u8; from.len()];
    (0..60).fold(0, |sum, n| {
        to.copy_from_slice(&from);
        from[n] = n as u8;
        sum + u64::from(black_box(&to)[n * 4099])
    })
}

/// Loops that the compiler makes vectors of.
fn vector() -> u64 {
    let a: Vec<f32> = (0..16384).map(|n| n as f32 * 0.5).collect();
    let mut b: Vec<f32> = (0..16384).map(|n| (n % 97) as f32).collect();
    let mut c = vec![1u32; 16384];
    for round in 0..8000u32 {
        b.iter_mut().zip(&a).for_each(|(b, a)| *b = *b * 0.5 + *a);
        c.iter_mut().zip(&b).for_each(|(c, b)| *c = (*c ^ b.to_bits()).wrapping_add(round));
    }
    c.iter().fold(0, |sum, x| (sum ^ u64::from(*x)).wrapping_mul(0x100_0000_01B3))
}

/// Strings, a map, the allocator.
fn text() -> u64 {
    let mut seed = 2_463_534_242;
    let mut counts = std::collections::BTreeMap::<String, u64>::new();
    for _ in 0..400_000 {
        let word: String =
            (0..3).map(|_| (b'a' + (random(&mut seed) % 11) as u8) as char).collect();
        *counts.entry(word + "-").or_default() += 1;
    }
    counts.iter().fold(0, |sum, (w, n)| (sum ^ u64::from(w.as_bytes()[1])).rotate_left(7) + n)
}

fn fault() -> u64 {
    let len = 32 << 20;
    (0..20u64).fold(0, |mut sum, round| {
        // SAFETY: memory of our own, given back at the end.
        unsafe {
            let at =
                mmap(std::ptr::null_mut(), len, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0).cast::<u8>();
            assert!(at as isize != -1, "no memory");
            for page in (0..len).step_by(4096) {
                at.add(page).write_volatile((page >> 12) as u8);
                sum += u64::from(at.add(page).read_volatile()) ^ round;
            }
            munmap(at.cast(), len);
        }
        sum
    })
}

fn syscalls() -> u64 {
    // SAFETY: takes no arguments and touches no memory.
    (0..1_500_000).filter(|_| unsafe { syscall(GETPPID) } >= 0).count() as u64
}

fn forks() -> u64 {
    (0..1000).fold(0, |sum, n| {
        // SAFETY: one thread; the child leaves at once.
        unsafe {
            let child = fork();
            if child == 0 {
                _exit(n & 7);
            }
            let mut status = 0;
            waitpid(child, &mut status, 0);
            sum + (status >> 8 & 0xFF) as u64
        }
    })
}

fn execs() -> u64 {
    let me = std::env::current_exe().expect("our own name");
    (0..300).filter(|_| Command::new(&me).status().is_ok_and(|s| s.success())).count() as u64
}

/// A byte to another process and back.
fn pipe() -> u64 {
    let mut cat =
        Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("cat");
    let (mut to, mut from) = (cat.stdin.take().expect("in"), cat.stdout.take().expect("out"));
    let mut sum = 0;
    for n in 0..40_000u32 {
        let mut byte = [n as u8];
        to.write_all(&byte).expect("write");
        from.read_exact(&mut byte).expect("read");
        sum += u64::from(byte[0]);
    }
    drop(to);
    cat.wait().expect("cat's end");
    sum
}
