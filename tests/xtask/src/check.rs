//! `cargo xtask check`: the rules that a machine can check. Each message says what to do instead.

mod arrows;
mod source;

use crate::shell::{cargo, files, flag, good, no_more, status};
use anyhow::Result;
use boot_tests::place;
use std::process::ExitCode;

/// One thing that breaks a rule.
pub struct Finding {
    pub place: String,
    pub text: String,
}

impl Finding {
    pub fn new(place: impl Into<String>, text: impl Into<String>) -> Finding {
        Finding { place: place.into(), text: text.into() }
    }
}

pub fn run(args: &[String]) -> Result<ExitCode> {
    let mut words = args.to_vec();
    let fast = flag(&mut words, "--fast");
    no_more(&words)?;
    let (passed, failed) = all(fast)?;
    println!("check: {passed} passed, {failed} failed");
    Ok(status(failed == 0))
}

/// Runs all rules; gives how many were kept and how many broken.
pub fn all(fast: bool) -> Result<(u32, u32)> {
    let root = place::root();
    let files = files(&root);
    let (mut passed, mut failed) = (0, 0);
    let mut tell = |name: &str, findings: &[Finding]| {
        for f in findings {
            println!("  {}: {}", f.place, f.text);
        }
        println!("check {name}: {}", if findings.is_empty() { "ok" } else { "FAILED" });
        *if findings.is_empty() { &mut passed } else { &mut failed } += 1;
    };
    tell("arrows", &arrows::check(&root, &files));
    for (name, findings) in source::check(&root, &files) {
        tell(name, &findings);
    }
    let mut by_compiler = |name: &str, advice: &str, words: &[&str]| -> Result<()> {
        let fine = good(cargo().args(words))?;
        let finding = Finding::new("cargo ".to_owned() + words[0], advice);
        tell(name, if fine { &[] } else { std::slice::from_ref(&finding) });
        Ok(())
    };
    by_compiler("format", "run cargo fmt --all", &["fmt", "--all", "--check"])?;
    if !fast {
        let words =
            ["clippy", "--quiet", "--workspace", "--all-targets", "--features", "xtask/rows"];
        let words = [&words[..], &["--", "-D", "warnings"]].concat();
        by_compiler("clippy", "the messages above say what to do instead", &words)?;
    }
    Ok((passed, failed))
}
