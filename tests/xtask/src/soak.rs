//! `cargo xtask soak`: a guest that works for a long time with so little room for native code that it is evicted all the time.
//! Its answers must stay the same, and so must the memory that the emulator takes.

use crate::shell::{no_more, number, status};
use anyhow::{Context, Result, bail, ensure};
use boot_tests::debian::{self, PROMPT};
use boot_tests::machine::now;
use boot_tests::monitor::Monitor;
use boot_tests::{Machine, Running, guest};
use std::process::ExitCode;
use std::time::Duration;

/// Of the time, this many percent are for all to find its size; after them memory grows by no more than this many percent.
const WARM_UP: u32 = 20;
const GROWTH: u64 = 3;
const LIMIT: Duration = Duration::from_secs(600);
const MINUTE: Duration = Duration::from_secs(60);
const COUNTER: &str = "times the oldest code was dropped";

/// A guest and its work, whose answers are the same each time.
struct Work {
    machine: Machine,
    prompt: &'static str,
    /// Touches all memory, so that it does not grow later.
    first: &'static [&'static str],
    rows: &'static [&'static str],
}

/// Processes, pipes, files, calculation: busybox's shell in Debian's kernel.
#[rustfmt::skip]
const SHELL: &[&str] = &[
    "seq 30000 | sort -r | sha256sum",
    "tar c /bin/busybox /init | gzip -9 | gunzip | md5sum",
    "awk 'BEGIN { for (i = 0; i < 300000; i++) s = (s * 31 + i) % 1000003; print s }'",
    "for n in $(seq 200); do sh -c \"expr $n \\* 7\"; done | md5sum",
    "find /bin /etc /lib | sort | md5sum",
    "dd if=/dev/zero of=/tmp/x bs=64k count=200 2>/dev/null; sha1sum /tmp/x; rm /tmp/x",
    "seq 20000 | sed 's/1/one/g; s/\\(.*\\)7/\\1seven/' | tr a-z A-Z | sha512sum",
    "seq 30000 | bzip2 -c | bunzip2 -c | md5sum",
    "echo 'scale=60; 4*a(1)' | bc -l; echo '2 200 ^ p' | dc",
    "(sleep 0.1; echo one) | cat & wait; mount | wc -l; hexdump -C /bin/busybox | head -n 4000 | md5sum",
];
/// A busy host is no lockup of the guest's, whose message would stand among the answers.
const APPEND: &str = "console=ttyS0 panic=-1 nosoftlockup rcupdate.rcu_cpu_stall_suppress=1";
const FILL: &[&str] = &["dd if=/dev/zero of=/tmp/fill bs=1M count=70 2>/dev/null; rm /tmp/fill"];

fn work(room: u64) -> Result<Work> {
    let machine =
        Machine::new("q35")?.args(["-no-reboot", "-accel", &format!("tcg,tb-size={room}")]);
    match debian::get(&mut |t| println!("{t}")) {
        Ok(files) => {
            let machine = machine.args(["-m", "128"]).kernel(&files.kernel).initrd(&files.initrd);
            let machine = machine.append(APPEND);
            Ok(Work { machine, prompt: PROMPT, first: FILL, rows: SHELL })
        }
        Err(why) => {
            println!("not Debian ({why:#}): the small test guest of roms/guest");
            let machine = machine.args(["-m", "64"]).kernel(&guest::get()?).append("");
            Ok(Work { machine, prompt: "guest> ", first: &[], rows: &["hash", "echo one two"] })
        }
    }
}

pub fn run(args: &[String]) -> Result<ExitCode> {
    let mut words = args.to_vec();
    let minutes = number(&mut words, "--minutes", 30)?;
    let room = number(&mut words, "--tb-size", 8)?;
    no_more(&words)?;
    ensure!(minutes > 0, "--minutes 0: expected 1 or more");
    let time = u32::try_from(minutes).ok().and_then(|n| MINUTE.checked_mul(n));
    let time = time.with_context(|| format!("--minutes {minutes}: too long"))?;
    let work = work(room)?;
    let mut running = work.machine.clone().boot_with_monitor()?;
    let mut monitor = running.monitor()?;
    running.wait_for(work.prompt, LIMIT)?;
    for line in work.first {
        running.command(line, work.prompt, LIMIT)?;
    }
    let (begun, mut answers) = (now(), Vec::new());
    let (mut minute, mut rounds, mut evictions) = (0, 0u64, 0);
    let (mut base, mut most) = (None, 0);
    println!("{:>6} {:>8} {:>10} {:>8}", "minute", "RSS, MiB", "evictions", "rounds");
    while begun.elapsed() < time {
        round(&mut running, &work, &mut answers)?;
        rounds += 1;
        if begun.elapsed() < MINUTE * (minute + 1) {
            continue;
        }
        minute = (begun.elapsed().as_secs() / 60) as u32;
        let (rss, n) = (resident(running.pid())?, counter(&mut monitor)?);
        println!("{minute:6} {:8.1} {n:10} {rounds:8}", rss as f64 / 1024.0);
        ensure!(n > evictions, "no code was evicted in this minute: --tb-size {room} is too much");
        evictions = n;
        if begun.elapsed() >= time * WARM_UP / 100 {
            let base = *base.get_or_insert(rss);
            most = most.max(rss);
            if most > base + base * GROWTH / 100 {
                bail!("after the warm-up memory grew from {base} to {most} KiB");
            }
        }
    }
    let base = base.context("no minute was over after the warm-up")?;
    running.send("poweroff\n")?;
    running.expect_exit(0, LIMIT)?;
    println!(
        "soak: {rounds} rounds with the same answers, {evictions} evictions, {base} to {most} KiB"
    );
    Ok(status(true))
}

/// All rows once. The first time says what the answers are.
fn round(running: &mut Running, work: &Work, answers: &mut Vec<String>) -> Result<()> {
    for (n, line) in work.rows.iter().enumerate() {
        let said = running.command(line, work.prompt, LIMIT)?;
        match answers.get(n) {
            None => answers.push(said),
            Some(first) if *first == said => {}
            Some(first) => bail!("{line}: first the answer was {first}, now it is {said}"),
        }
    }
    Ok(())
}

/// KiB of memory that a process has now.
fn resident(pid: u32) -> Result<u64> {
    let file = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&file).with_context(|| format!("reading {file}"))?;
    let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let number = line.and_then(|l| l.trim().strip_suffix("kB")?.trim().parse().ok());
    number.with_context(|| format!("{file} has no VmRSS"))
}

/// How often code was evicted so far.
fn counter(monitor: &mut Monitor) -> Result<u64> {
    let text = monitor.say("info jit")?;
    let line = text.lines().find_map(|l| l.trim().strip_prefix(COUNTER));
    line.and_then(|l| l.trim().parse().ok()).with_context(|| format!("info jit has no {COUNTER}"))
}
