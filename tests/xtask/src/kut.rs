//! `cargo xtask kut DIR`: a built kvm-unit-tests tree, by its own runner, with us as its QEMU.

use crate::shell::status;
use anyhow::{Context, Result, bail};
use boot_tests::place;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// What the runner says of a test.
#[derive(Clone, Copy, PartialEq)]
enum Verdict {
    Pass,
    Fail,
    Skip,
}

pub fn run(args: &[String]) -> Result<ExitCode> {
    let (dir, tests) =
        args.split_first().context("expected the folder of a built kvm-unit-tests")?;
    let runner = Path::new(dir).join("run_tests.sh");
    if !runner.is_file() {
        bail!("no run_tests.sh in {dir}: build it there first, by ./configure && make");
    }
    let [program] = place::reprise()? else {
        bail!("REPRISE has arguments; the runner takes a program only");
    };
    let mut command = Command::new("./run_tests.sh");
    command.current_dir(dir).env("QEMU", program).env("ACCEL", "tcg").args(tests);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting run_tests.sh")?;
    let out = child.stdout.take().context("no output")?;
    let mut results = Vec::new();
    for line in BufReader::new(out).lines() {
        let line = plain(&line?);
        if let Some(result) = parse(&line) {
            println!("{line}");
            results.push(result);
        }
    }
    child.wait()?;
    let count = |v| results.iter().filter(|r| **r == v).count();
    let (passed, failed, skipped) =
        (count(Verdict::Pass), count(Verdict::Fail), count(Verdict::Skip));
    println!("kut: {passed} passed, {failed} failed, {skipped} skipped");
    Ok(status(failed == 0 && passed > 0))
}

/// Without the colours of a terminal.
fn plain(line: &str) -> String {
    let mut out = String::new();
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c == '\x1b' {
            chars.by_ref().find(|c| c.is_ascii_alphabetic());
        } else {
            out.push(c);
        }
    }
    out
}

/// `PASS name (3 tests)`, `FAIL name (...)`, `SKIP name (why)`.
fn parse(line: &str) -> Option<Verdict> {
    match line.split_once(' ')?.0 {
        "PASS" => Some(Verdict::Pass),
        "FAIL" => Some(Verdict::Fail),
        "SKIP" => Some(Verdict::Skip),
        _ => None,
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn coloured_verdicts_are_read() {
        assert!(parse(&plain("\x1b[32mPASS\x1b[0m apic (50 tests)")) == Some(Verdict::Pass));
        assert!(
            parse(&plain("\x1b[31mFAIL\x1b[0m msr (1 tests, 1 unexpected failures)"))
                == Some(Verdict::Fail)
        );
        assert!(parse("timeout -k 1s").is_none());
    }
}
