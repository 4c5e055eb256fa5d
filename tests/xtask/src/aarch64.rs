//! `cargo xtask aarch64`: the emulator built for another host must do exactly the same.
//!
//! It is linked with Rust's own linker against musl, so no cross compiler is needed, and run by QEMU's user-mode emulator.
//! What x86-64 hosts have recorded of every instruction must hold there, in both tiers; and whole runs, in which time is the
//! count of instructions, must end in the same state as here.

use crate::shell::{cargo, flag, good, install, no_more, output, status};
use anyhow::{Context, Result, bail, ensure};
use boot_tests::monitor::StateHash;
use boot_tests::{Machine, debian, guest, place};
use std::process::{Command, ExitCode};
use std::time::Duration;

const TARGET: &str = "aarch64-unknown-linux-musl";
const LIMIT: Duration = Duration::from_secs(900);
const COUNTED: &str =
    "-no-shutdown -icount shift=0,sleep=off -seed 7 -rtc base=2026-01-02T03:04:05,clock=vm";

/// A whole run.
struct Row {
    name: &'static str,
    options: &'static str,
    append: &'static str,
    /// Debian's kernel, not the test guest. It takes some minutes: only with `--linux`.
    linux: bool,
    /// Whether native code must have run, or must not.
    native: bool,
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row { name: "test guest",               options: "-M q35 -m 64", append: "selftest hash time spin=20 selftest poweroff", linux: false, native: true },
    Row { name: "test guest, tier 0 alone", options: "-M pc -m 64 -accel tcg,one-insn-per-tb=on", append: "selftest hash time spin=2 poweroff", linux: false, native: false },
    Row { name: "Debian, -smp 2",           options: "-M q35 -m 256 -smp 2", append: "console=ttyS0 panic=-1 run=seq,999|md5sum;poweroff,-f", linux: true, native: true },
];

pub fn run(args: &[String]) -> Result<ExitCode> {
    let mut words = args.to_vec();
    let linux = flag(&mut words, "--linux");
    no_more(&words)?;
    let user = "qemu-aarch64-static";
    if place::program("qemu-aarch64").is_none() {
        install(&[(user, "qemu-user-static")])?;
    }
    let user = if place::program(user).is_some() { user } else { "qemu-aarch64" };
    output(Command::new("rustup").args(["target", "add", TARGET])).context("adding the target")?;
    let [program, columns] = build(["reprise", "columns"])?;
    let mut well = true;
    // Recorded and hand-written cases.
    let files = std::fs::read_dir(place::root().join("tests/insn"))?;
    let mut files = files.map(|f| Ok(f?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    for file in files {
        let mut command = Command::new(user);
        command.args([&columns, "--columns", "interp,jit", "--replay"]).arg(&file);
        let same = good(&mut command)?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        println!("aarch64: {name}: {}", if same { "ok" } else { "FAILED" });
        well &= same;
    }
    for row in ROWS.iter().filter(|r| linux || !r.linux) {
        let there = row.run(&[user.to_owned(), program.clone()])?;
        let here = row.run(place::reprise()?)?;
        let same = here.hash == there.hash && here.words == there.words;
        for (host, end) in [("here", &here), ("there", &there)] {
            let (count, hash, native) = (end.hash.count, end.hash.hash, end.native);
            println!("    {host:5} count {count} hash {hash:032x} native {native}");
        }
        println!("aarch64: {}: {}", row.name, if same { "ok" } else { "FAILED: they differ" });
        well &= same;
        ensure!(
            (there.native > 0) == row.native,
            "{}: {} instructions in native code",
            row.name,
            there.native
        );
    }
    Ok(status(well))
}

/// Builds programs for the other host; gives their files.
fn build<const N: usize>(names: [&str; N]) -> Result<[String; N]> {
    let mut build = cargo();
    build.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER", "rust-lld");
    build.args(["build", "--release", "-p", "ui", "-p", "tests", "--target", TARGET]);
    build.args(names.iter().flat_map(|n| ["--bin", n]));
    if !good(&mut build)? {
        bail!("{} did not build for {TARGET}", names.join(", "));
    }
    let dir = place::target().join(TARGET).join("release");
    let dir = dir.to_str().context("the target directory is not UTF-8")?;
    Ok(names.map(|name| format!("{dir}/{name}")))
}

/// How a run ended.
struct End {
    hash: StateHash,
    /// What the guest said.
    words: String,
    /// Instructions executed in native code.
    native: u64,
}

impl Row {
    fn run(&self, program: &[String]) -> Result<End> {
        let machine = Machine::serial(program).args(self.options.split(' '));
        let machine = machine.args(["-cpu", "max"]).args(COUNTED.split(' ')).append(self.append);
        let machine = if self.linux {
            let files = debian::get(&mut |t| println!("{t}"))?;
            machine.kernel(&files.kernel).initrd(&files.initrd)
        } else {
            machine.kernel(&guest::get()?)
        };
        let mut running = machine.boot_with_monitor()?;
        let mut monitor = running.monitor()?;
        monitor.wait_for_status("paused", LIMIT)?;
        let hash = monitor.state_hash()?;
        let counters = monitor.say("info jit")?;
        let native =
            counters.lines().find_map(|l| l.trim().strip_prefix("instructions in native code"));
        let native = native.and_then(|n| n.split_whitespace().next()?.parse().ok());
        let native = native.with_context(|| format!("info jit: no native code in {counters}"))?;
        monitor.last("quit")?;
        running.expect_exit(0, LIMIT)?;
        Ok(End { hash, words: running.text(), native })
    }
}
