//! `cargo xtask WORD`: what a developer does with the tree, a row each.

mod aarch64;
mod bench;
mod check;
mod demo;
mod disks;
mod fuzz;
mod grid;
mod image;
mod kut;
mod rows;
mod shell;
mod soak;
mod test;

use std::process::ExitCode;

/// A word, what it does, and how. It gives whether all is well; an error is something that stood in the way.
struct Row {
    name: &'static str,
    about: &'static str,
    run: fn(&[String]) -> anyhow::Result<ExitCode>,
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row { name: "demo",    run: demo::run,    about: "boot Debian's kernel to a shell  [--batch] [--fresh] [--guest] [-- OPTIONS OF REPRISE]" },
    Row { name: "test",    run: test::run,    about: "everything that CI runs  [PART...]" },
    Row { name: "check",   run: check::run,   about: "format, lints and the rules of the tree  [--fast: without the compiler]" },
    Row { name: "rows",    run: rows::run,    about: "which instructions have a meaning, by CPUID feature  [--missing]" },
    Row { name: "bench",   run: bench::run,   about: "side by side with a peer: our workloads, or programs in Debian, or all  [programs|all] [--reps N] [--only A,B] [--peer CMD] [--no-peer] [--ours CMD] [--cpu MODEL] [--picture FILE.svg]" },
    Row { name: "disks",   run: disks::run,   about: "the speed of disks, side by side with a peer  [--reps N] [--only BUS] [--dir DIR] [--peer CMD] [--ours CMD]" },
    Row { name: "fuzz",    run: fuzz::run,    about: "random instructions and device accesses  [--seconds N] [--seed N] [NAME...]" },
    Row { name: "grid",    run: grid::run,    about: "boot Debian's kernels on all boards, and compare their logs with a peer's  [--only A,B] [--peer CMD] [--no-peer] [--ours CMD] [--kernels FILE,FILE] [--initrd FILE] [--keep DIR]" },
    Row { name: "image",   run: image::run,   about: "make a Debian disk, or CDs, to boot  debian|cds|try  [--programs] [--size GIB] [--format raw|qcow2] [--fresh] [--ours CMD] [--only A,B]" },
    Row { name: "soak",    run: soak::run,    about: "a guest at work for long with little room for code: its answers and our memory stay the same  [--minutes N] [--tb-size MIB]" },
    Row { name: "aarch64", run: aarch64::run, about: "build for aarch64 and compare it with x86-64  [--linux: Debian's boot, too]" },
    Row { name: "kut",     run: kut::run,     about: "run a built kvm-unit-tests tree  DIR [TEST...]" },
];

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    command(&words).unwrap_or_else(|e| {
        eprintln!("xtask {}: {e:#}", words[0]);
        ExitCode::FAILURE
    })
}

/// Does what the words say.
fn command(words: &[String]) -> anyhow::Result<ExitCode> {
    let word = words.first().map_or("help", String::as_str);
    let Some(row) = ROWS.iter().find(|r| r.name == word) else {
        let known = matches!(word, "help" | "--help" | "-h");
        if !known {
            eprintln!("xtask: no word '{word}'; there are:");
        }
        ROWS.iter().for_each(|r| println!("cargo xtask {:8} {}", r.name, r.about));
        return Ok(shell::status(known));
    };
    (row.run)(&words[1..])
}
