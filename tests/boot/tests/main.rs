//! `cargo test -p boot-tests --test boot [-- [--family NAME] WORDS]`: the tests whose names contain one of WORDS, or all. `--list`
//! names them; `--record` prints what Debian's kernel complains of on this emulator, for `kernel-log.allow`.

mod bad_input;
mod disks;
mod errors;
mod firmware;
mod guest;
mod linux;
mod order;
mod plug;
mod profile;
mod repeat;

#[path = "../../../roms/guest/src/work.rs"]
#[allow(dead_code)]
mod work;

use boot_tests::{Test, runner};
use std::process::ExitCode;
use std::time::Duration;

/// `seconds(3)` reads better than the long form, everywhere.
fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

type Family = fn() -> Vec<Test>;

const FAMILIES: &[(&str, Family)] = &[
    ("bad-input", bad_input::tests),
    ("disks", disks::tests),
    ("errors", errors::tests),
    ("firmware", firmware::tests),
    ("guest", guest::tests),
    ("linux", linux::tests),
    ("order", order::tests),
    ("plug", plug::tests),
    ("profile", profile::tests),
    ("repeat", repeat::tests),
];

fn main() -> ExitCode {
    let mut words: Vec<_> = std::env::args().skip(1).collect();
    let mut family = None;
    if let Some(at) = words.iter().position(|w| w == "--family") {
        family = words.drain(at..words.len().min(at + 2)).nth(1);
    }
    let chosen = |name: &str| family.as_deref().is_none_or(|f| f == name);
    let tests: Vec<_> = FAMILIES.iter().filter(|f| chosen(f.0)).flat_map(|f| (f.1)()).collect();
    // Other options are those that cargo's own harness knows; they change nothing here.
    let (options, words): (Vec<_>, Vec<_>) = words.into_iter().partition(|w| w.starts_with('-'));
    if tests.is_empty() {
        let names: Vec<_> = FAMILIES.iter().map(|f| f.0).collect();
        eprintln!("no family of that name; there are: {}", names.join(" "));
        return ExitCode::FAILURE;
    }
    match options.iter().map(String::as_str).find(|o| matches!(*o, "--list" | "--record")) {
        Some("--record") => linux::record(),
        Some(_) => {
            tests.iter().for_each(|t| println!("{}: test", t.name));
            ExitCode::SUCCESS
        }
        None => runner::run(&tests, &words),
    }
}
