//! Debian's unmodified cloud kernel.

use crate::seconds;
use anyhow::{Result, bail};
use boot_tests::debian::{self, Debian, PROMPT};
use boot_tests::kernel_log::{ALLOWED, complaints, plain};
use boot_tests::{Machine, Running, Skip, Test};
use std::collections::BTreeSet;
use std::process::ExitCode;

/// How long a boot to a shell may take.
const BOOT: u64 = 180;
/// What any machine says to `seq 20000 | md5sum`.
const SUM: &str = "e071f707df7bbeee2a6a1eb48011ddd0  -";

pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for board in ["q35", "pc"] {
        for cpus in [1, 2] {
            let name = format!(
                "Debian's kernel boots to a shell and off again on {board} with -smp {cpus}"
            );
            tests.push(Test::new(name, move || shell(board, cpus)));
        }
    }
    tests.extend([
        Test::new("Ctrl-C, job control and line editing work in the shell", keys),
        Test::new("Debian's kernel restarts when told to", reboot),
        Test::new("a panic ends the emulator with panic=-1 and -no-reboot", panic),
    ]);
    tests
}

/// Kernel and initial RAM file system, or why not.
pub fn debian() -> Result<Debian> {
    debian::get(&mut |_| {}).map_err(|e| Skip(format!("no Debian packages: {e:#}")).into())
}

pub fn machine(board: &str, cpus: u32) -> Result<Machine> {
    let files = debian()?;
    let machine = Machine::new(board)?.args(["-m", "256", "-smp", &cpus.to_string()]);
    Ok(machine.kernel(&files.kernel).initrd(&files.initrd))
}

fn to_shell(machine: Machine, append: &str) -> Result<Running> {
    let append = format!("console=ttyS0 panic=-1 {append}");
    let mut running = machine.append(&append).boot()?;
    running.wait_for(PROMPT, seconds(BOOT))?;
    Ok(running)
}

fn expect(said: &str, what: &str) -> Result<()> {
    if said.trim() != what {
        bail!("expected '{what}', got '{}'", said.trim());
    }
    Ok(())
}

fn shell(board: &str, cpus: u32) -> Result<()> {
    let mut running = to_shell(machine(board, cpus)?.args(["-no-reboot"]), "")?;
    expect(&running.command("echo sum $((6*7))", PROMPT, seconds(20))?, "sum 42")?;
    expect(&running.command("nproc", PROMPT, seconds(20))?, &cpus.to_string())?;
    expect(&running.command("uname -m", PROMPT, seconds(20))?, "x86_64")?;
    let sum = running.command("seq 20000 | md5sum", PROMPT, seconds(60))?;
    expect(&sum, SUM)?;
    let slept = running.command("time sleep 1 2>&1 | grep real", PROMPT, seconds(30))?;
    if slept.contains("0m 0.") {
        bail!("a second's sleep was shorter: {slept}");
    }
    running.send("poweroff\n")?;
    running.expect_exit(0, seconds(60))?;
    let found = complaints(&running.text(), ALLOWED);
    if !found.is_empty() {
        bail!("the kernel complains:\n    {}", found.join("\n    "));
    }
    Ok(())
}

fn keys() -> Result<()> {
    let mut running = to_shell(machine("q35", 1)?.args(["-no-reboot"]), "quiet")?;
    running.send("sleep 1000\n")?;
    running.wait_for("sleep 1000", seconds(20))?;
    std::thread::sleep(seconds(2));
    running.send("\x03")?;
    running.wait_for(PROMPT, seconds(20))?;
    // The arrow up brings back the line; the arrow left goes before the last figure.
    expect(&running.command("echo 1235", PROMPT, seconds(20))?, "1235")?;
    running.send("\x1b[A\x1b[D4\n")?;
    running.wait_for("\n12345", seconds(20))?;
    running.wait_for(PROMPT, seconds(20))?;
    running.send("cat\n")?;
    std::thread::sleep(seconds(2));
    running.send("\x1a")?;
    running.wait_for(PROMPT, seconds(20))?;
    let jobs = running.command("jobs", PROMPT, seconds(20))?;
    if !jobs.contains("Stopped") {
        bail!("expected a stopped job, got '{jobs}'");
    }
    running.send("kill %1; poweroff\n")?;
    running.expect_exit(0, seconds(60))
}

fn reboot() -> Result<()> {
    let mut running = to_shell(machine("q35", 1)?, "quiet")?;
    running.send("reboot\n")?;
    running.wait_for("Debian's kernel", seconds(BOOT))?;
    running.wait_for(PROMPT, seconds(60))?;
    running.send("poweroff\n")?;
    running.expect_exit(0, seconds(60))
}

/// Without an initial RAM file system there is no root.
fn panic() -> Result<()> {
    let machine = Machine::new("q35")?.args(["-m", "256", "-no-reboot"]).kernel(&debian()?.kernel);
    let mut running = machine.append("console=ttyS0 panic=-1").boot()?;
    running.wait_for("Kernel panic - not syncing", seconds(BOOT))?;
    running.expect_exit(0, seconds(30))
}

/// Prints the complaints of this emulator's kernel logs, numbers made alike, as `kernel-log.allow` wants them.
pub fn record() -> ExitCode {
    let mut lines = BTreeSet::new();
    for (board, cpus) in [("q35", 1), ("q35", 2), ("pc", 1), ("pc", 2)] {
        let log = machine(board, cpus).and_then(|m| to_shell(m, "")).map(|r| r.text());
        match log {
            Ok(log) => lines.extend(complaints(&log, "").iter().map(|l| plain(l))),
            Err(e) => {
                eprintln!("{board} -smp {cpus}: {e:#}");
                return ExitCode::FAILURE;
            }
        }
    }
    lines.iter().for_each(|l| println!("{l}"));
    ExitCode::SUCCESS
}
