//! What cannot be is refused with exit status 1 and one line that names it.

use crate::seconds;
use anyhow::{Result, bail};
use boot_tests::{Machine, Test, guest, place};
use std::ffi::OsStr;

/// The command line (GUEST is the test guest's file), and what the line must contain: the culprit, and for ours what was expected.
#[rustfmt::skip]
const ROWS: &[(&str, &[&str])] = &[
    ("-kernel no-such-kernel",                      &["no-such-kernel"]),
    ("-kernel Cargo.toml",                          &["Cargo.toml"]),
    ("-no-such-option",                             &["-no-such-option"]),
    ("-M no-such-board",                            &["no-such-board"]),
    ("-M q35,no-such-property=on",                  &["no-such-property"]),
    ("-kernel GUEST -cpu no-such-cpu",                  &["no-such-cpu"]),
    ("-kernel GUEST -cpu max,+no-such-flag",                      &["no-such-flag"]),
    ("-device no-such-device",                      &["no-such-device"]),
    ("-device isa-debug-exit,no-such-property=1",   &["no-such-property"]),
    ("-m abc",                                      &["abc"]),
    ("-m 99999999G",                                &["99999999G"]),
    ("-smp 0",                                      &["smp"]),
    ("-smp x",                                      &["x"]),
    ("-serial no-such-backend",                     &["no-such-backend"]),
    ("-icount shift=99",                            &["99"]),
    ("-accel no-such-accelerator",                  &["no-such-accelerator"]),
    ("-loadvm no-such-file",                        &["no-such-file"]),
    ("-append only",                                &["-append"]),
    ("-initrd Cargo.toml",                          &["-initrd"]),
    ("-m",                                          &["-m"]),
];

pub fn tests() -> Vec<Test> {
    ROWS.iter()
        .map(|(line, words)| {
            Test::new(format!("{line} is refused in one line"), || refused(line, words))
        })
        .collect()
}

fn refused(line: &str, words: &[&str]) -> Result<()> {
    let kernel = guest::get()?;
    let word = |w| if w == "GUEST" { kernel.as_os_str() } else { OsStr::new(w) };
    let machine = Machine::bare()?.args(["-display", "none"]).args(line.split(' ').map(word));
    let mut running = machine.boot()?;
    running.expect_exit(1, seconds(10))?;
    let errors = running.errors();
    let missing = words.iter().find(|w| !errors.contains(**w));
    if let Some(word) = missing {
        bail!("the message does not say {word}: {errors}");
    }
    if place::is_ours() && (errors.trim().lines().count() != 1 || !errors.starts_with("reprise: "))
    {
        bail!("expected one line that begins with 'reprise: ', got: {errors}");
    }
    if !running.text().is_empty() {
        bail!("expected nothing on the output, got: {}", running.text());
    }
    Ok(())
}
