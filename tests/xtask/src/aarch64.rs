//! `cargo xtask aarch64`: the emulator built for another host must do exactly the same.
//!
//! It is linked with Rust's own linker against musl, so no cross compiler is needed, and run by QEMU's user-mode emulator.

use crate::shell::{cargo, good, install, no_more, output, status};
use anyhow::{Context, Result, bail};
use boot_tests::monitor::StateHash;
use boot_tests::{Machine, guest, place};
use std::process::{Command, ExitCode};
use std::time::Duration;

const TARGET: &str = "aarch64-unknown-linux-musl";
const LIMIT: Duration = Duration::from_secs(600);

pub fn run(args: &[String]) -> Result<ExitCode> {
    no_more(args)?;
    let user = "qemu-aarch64-static";
    if place::program("qemu-aarch64").is_none() {
        install(&[(user, "qemu-user-static")])?;
    }
    let user = if place::program(user).is_some() { user } else { "qemu-aarch64" };
    output(Command::new("rustup").args(["target", "add", TARGET])).context("adding the target")?;
    let mut build = cargo();
    build.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER", "rust-lld");
    build.args(["build", "--release", "--package", "ui", "--bin", "reprise", "--target", TARGET]);
    if !good(&mut build)? {
        bail!("reprise did not build for {TARGET}");
    }
    let file = place::target().join(TARGET).join("release/reprise");
    let file = file.to_str().context("the target directory is not UTF-8")?;
    let there = run_guest(&[user.to_owned(), file.to_owned()])?;
    let here = run_guest(place::reprise()?)?;
    println!("here:    count {} hash {:x}", here.0.count, here.0.hash);
    println!("aarch64: count {} hash {:x}", there.0.count, there.0.hash);
    let same = here == there;
    println!(
        "aarch64: {}",
        if same { "ok, the same state and the same words" } else { "FAILED: they differ" }
    );
    Ok(status(same))
}

/// The state at the end of the test guest's run, and what it said.
fn run_guest(program: &[String]) -> Result<(StateHash, String)> {
    let machine = Machine::of(program, "q35").args(["-m", "64", "-no-shutdown"]);
    let machine = machine.args(["-icount", "shift=0,sleep=off", "-seed", "7"]);
    let machine = machine.args(["-rtc", "base=2026-01-02T03:04:05,clock=vm"]);
    let machine = machine.kernel(&guest::get()?).append("selftest hash time poweroff");
    let mut running = machine.boot_with_monitor()?;
    let mut monitor = running.monitor()?;
    monitor.wait_for_status("paused", LIMIT)?;
    let hash = monitor.state_hash()?;
    monitor.last("quit")?;
    running.expect_exit(0, LIMIT)?;
    Ok((hash, running.text()))
}
