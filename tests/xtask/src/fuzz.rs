//! `cargo xtask fuzz`: long random runs. A row each; a new target is a new row.
//!
//! `columns` is about results, so it shares the release build; the others are about mistakes of ours, so they run with debug
//! assertions and overflow checks (the profile `fuzz`).

use crate::shell::{cargo, good, number, status};
use anyhow::{Result, bail};
use boot_tests::machine::now;
use std::process::ExitCode;
use std::time::Duration;

/// A program, as cargo finds it, and its words for `S`, the seed, and `N`, the seconds.
struct Row {
    name: &'static str,
    program: &'static str,
    profile: &'static str,
    words: &'static str,
    /// The program stops by itself after a part of the time: start it again with the next seed.
    again: bool,
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row { name: "columns", program: "-p tests --bin columns",      profile: "release", words: "--seed S --runs 300000",          again: true },
    Row { name: "blocks",  program: "-p tests --bin columns",      profile: "release", words: "--seed S --runs 100000 --blocks", again: true },
    Row { name: "bytes",   program: "-p tests --bin fuzz-bytes",   profile: "fuzz",    words: "--seed S --seconds N",            again: false },
    Row { name: "ports",   program: "-p tests --bin fuzz-ports",   profile: "fuzz",    words: "--seed S --seconds N",            again: false },
    Row { name: "devices", program: "-p tests --bin fuzz-devices", profile: "fuzz",    words: "--seed S --seconds N",            again: false },
    Row { name: "images",  program: "-p block --example fuzz",     profile: "fuzz",    words: "20000 S",                         again: true },
];

pub fn run(args: &[String]) -> Result<ExitCode> {
    let mut words = args.to_vec();
    let seconds = number(&mut words, "--seconds", 600)?;
    let seed = number(&mut words, "--seed", 1)?;
    if let Some(word) = words.iter().find(|w| !ROWS.iter().any(|r| r.name == **w)) {
        let names: Vec<_> = ROWS.iter().map(|r| r.name).collect();
        bail!("no target '{word}'; there are: {}", names.join(" "));
    }
    let (mut passed, mut failed) = (0, 0);
    for row in ROWS.iter().filter(|r| words.is_empty() || words.iter().any(|w| w == r.name)) {
        let fine = target(row, seed, Duration::from_secs(seconds))?;
        *if fine { &mut passed } else { &mut failed } += 1;
    }
    println!("fuzz: {passed} passed, {failed} failed");
    Ok(status(failed == 0))
}

fn target(row: &Row, first: u64, time: Duration) -> Result<bool> {
    let end = now() + time;
    let mut seed = first;
    loop {
        let (s, n) = (seed.to_string(), time.as_secs().to_string());
        let word = |w| match w {
            "S" => s.clone(),
            "N" => n.clone(),
            _ => String::from(w),
        };
        let mut command = cargo();
        command.args(["run", "--quiet", "--profile", row.profile]);
        command.args(row.program.split(' ')).arg("--");
        if !good(command.args(row.words.split(' ').map(word)))? {
            println!("fuzz {}: FAILED with seed {seed}", row.name);
            return Ok(false);
        }
        seed += 1;
        if !row.again || now() >= end {
            println!("fuzz {}: ok, seeds {first} to {}", row.name, seed - 1);
            return Ok(true);
        }
    }
}
