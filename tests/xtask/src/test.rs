//! `cargo xtask test`: everything that CI runs, part by part, with a closing summary.

use crate::shell::{cargo, install, status};
use anyhow::{Context, Result, bail};
use boot_tests::machine::now;
use std::io::{BufRead, BufReader};
use std::process::{ExitCode, Stdio};

/// What a part came to.
#[derive(Default)]
struct Tally {
    passed: u32,
    failed: u32,
    skipped: u32,
}

/// A part: a command of cargo's.
struct Part {
    name: &'static str,
    words: &'static str,
    /// It prints a line `test result:` for each program; else it is one test itself.
    counts: bool,
}

/// Unit tests of what needs no compiler back end run with all checks of the dev profile; the rest shares the release
/// build with the program that is booted, so that Cranelift is compiled once.
#[rustfmt::skip]
const PARTS: &[Part] = &[
    Part { name: "units",     counts: true,  words: "test -p state -p memory -p device -p cpu -p hw -p migration -p block" },
    Part { name: "engine",    counts: true,  words: "test --release -p jit -p machine -p ui -p tests -p xtask -p boot-tests --lib --bins" },
    Part { name: "rows",      counts: false, words: "xtask rows --missing" },
    Part { name: "columns",   counts: false, words: "run --release -p tests --bin columns -- --seed 1 --runs 2000000 --bits 64 --columns native,interp,baseline,jit,cranelift" },
    Part { name: "compat",    counts: false, words: "run --release -p tests --bin columns -- --seed 1 --runs 600000 --bits 32,16 --columns native,interp,baseline,jit,cranelift" },
    Part { name: "bytes",     counts: false, words: "run --release -p tests --bin fuzz-bytes -- --seed 1 --seconds 15" },
    Part { name: "ports",     counts: false, words: "run --release -p tests --bin fuzz-ports -- --seed 1 --seconds 10" },
    Part { name: "options",   counts: true,  words: "test --release -p boot-tests --test boot -- --family bad-input" },
    Part { name: "guest",     counts: true,  words: "test --release -p boot-tests --test boot -- --family guest" },
    Part { name: "firmware",  counts: true,  words: "test --release -p boot-tests --test boot -- --family firmware" },
    Part { name: "disks",     counts: true,  words: "test --release -p boot-tests --test boot -- --family disks" },
    Part { name: "errors",    counts: true,  words: "test --release -p boot-tests --test boot -- --family errors" },
    Part { name: "order",     counts: true,  words: "test --release -p boot-tests --test boot -- --family order" },
    Part { name: "plug",      counts: true,  words: "test --release -p boot-tests --test boot -- --family plug" },
    Part { name: "linux",     counts: true,  words: "test --release -p boot-tests --test boot -- --family linux" },
    Part { name: "repeat",    counts: true,  words: "test --release -p boot-tests --test boot -- --family repeat" },
    Part { name: "profile",   counts: true,  words: "test --release -p boot-tests --test boot -- --family profile" },
    Part { name: "demo",      counts: false, words: "xtask demo --batch" },
];

/// Programs that some tests use, and Debian's packages of them. Without them those tests are skipped.
const NEEDS: &[(&str, &str)] = &[
    ("iasl", "acpica-tools"),
    ("busybox", "busybox-static"),
    ("qemu-img", "qemu-utils"),
    ("strace", "strace"),
    ("/usr/share/seabios/bios-256k.bin", "seabios"),
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "ovmf"),
];

pub fn run(args: &[String]) -> Result<ExitCode> {
    let known = |a: &String| a == "check" || PARTS.iter().any(|p| p.name == *a);
    if let Some(word) = args.iter().find(|a| !known(a)) {
        let names: Vec<_> = PARTS.iter().map(|p| p.name).collect();
        bail!("no part '{word}'; there are: check {}", names.join(" "));
    }
    let wanted = |name: &str| args.is_empty() || args.iter().any(|a| a == name);
    if let Err(e) = install(NEEDS) {
        println!("note: {e:#}; tests that want them are skipped");
    }
    let mut rows = Vec::new();
    if wanted("check") {
        let start = now();
        let (passed, failed) = crate::check::all(false)?;
        rows.push(("check", Tally { passed, failed, skipped: 0 }, start.elapsed()));
    }
    for part in PARTS.iter().filter(|p| wanted(p.name)) {
        println!("\n== {}: cargo {}", part.name, part.words);
        let start = now();
        let tally = run_part(part)?;
        rows.push((part.name, tally, start.elapsed()));
    }
    println!("\n{:10} {:>7} {:>7} {:>8} {:>8}", "part", "passed", "failed", "skipped", "seconds");
    let mut sum = Tally::default();
    for (name, t, time) in &rows {
        println!(
            "{name:10} {:7} {:7} {:8} {:8.0}",
            t.passed,
            t.failed,
            t.skipped,
            time.as_secs_f64()
        );
        sum.passed += t.passed;
        sum.failed += t.failed;
        sum.skipped += t.skipped;
    }
    println!("{} skipped, for the reasons above", sum.skipped);
    println!("{} passed, {} failed", sum.passed, sum.failed);
    Ok(status(sum.failed == 0))
}

/// Runs a part, showing its output as it comes.
fn run_part(part: &Part) -> Result<Tally> {
    let mut words: Vec<_> = part.words.split(' ').collect();
    if words[0] == "xtask" {
        return own(&words[1..]);
    }
    let mut command = cargo();
    // One program that fails must not hide the others.
    command.args(&words[..1]).args(if words[0] == "test" { &["--no-fail-fast"][..] } else { &[] });
    words.remove(0);
    let mut child = command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut tally = Tally::default();
    for line in BufReader::new(child.stdout.take().context("no output")?).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        println!("{line}");
        if part.counts {
            tally.add(&line);
        }
    }
    let good = child.wait()?.success();
    match (part.counts, good) {
        (false, true) => tally.passed += 1,
        // What ends badly without a failed test did not build, or broke down.
        (_, false) if tally.failed == 0 => tally.failed += 1,
        _ => {}
    }
    Ok(tally)
}

/// Runs a command of this program. Not as a process: what cargo built meanwhile may have replaced the file.
fn own(words: &[&str]) -> Result<Tally> {
    let words: Vec<_> = words.iter().map(|&w| w.to_owned()).collect();
    let good = match crate::command(&words) {
        Ok(code) => code == ExitCode::SUCCESS,
        Err(e) => {
            println!("{e:#}");
            false
        }
    };
    Ok(Tally { passed: good.into(), failed: (!good).into(), skipped: 0 })
}

impl Tally {
    /// Adds a line like `test result: ok. 3 passed; 0 failed; 1 ignored; ...`.
    fn add(&mut self, line: &str) {
        let Some(rest) = line.trim().strip_prefix("test result: ") else { return };
        let number = |what: &str| {
            let mut words = rest.split([' ', ';', '.']).filter(|w| !w.is_empty());
            let mut last = "";
            words
                .find(|w| {
                    *w == what || {
                        last = w;
                        false
                    }
                })
                .and_then(|_| last.parse::<u32>().ok())
        };
        self.passed += number("passed").unwrap_or(0);
        self.failed += number("failed").unwrap_or(0);
        self.skipped += number("ignored").unwrap_or(0);
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn results_of_several_programs_add_up() {
        let mut tally = Tally::default();
        tally.add("test result: ok. 12 passed; 0 failed; 3 ignored; 0 measured; 0 filtered out");
        tally.add("test result: FAILED. 1 passed; 2 failed; 0 ignored");
        tally.add("test something ... ok");
        assert_eq!((tally.passed, tally.failed, tally.skipped), (13, 2, 3));
    }
}
