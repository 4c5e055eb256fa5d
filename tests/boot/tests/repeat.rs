//! The same run twice is the same, and a saved machine goes on as if nothing had happened.

use crate::{linux, seconds};
use anyhow::{Context, Result, bail, ensure};
use boot_tests::monitor::StateHash;
use boot_tests::{Machine, Running, Skip, Test, drivers, guest, place};
use std::process::{Child, Command, Stdio};

const COUNTED: [&str; 2] = ["-icount", "shift=0,sleep=off"];
const FIXED_CLOCK: [&str; 2] = ["-rtc", "base=2026-01-02T03:04:05,clock=vm"];

type Make = fn() -> Result<Machine>;

pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for board in ["q35", "pc"] {
        let add = |name: &str, run: fn(&str) -> Result<()>| {
            Test::new(format!("{name} on {board}"), move || ours().and_then(|()| run(board)))
        };
        tests.push(add("the test guest runs twice the same, once under load", |b| twice(guest(b))));
        tests
            .push(add("a saved test guest goes on the same in a new process", |b| saved(guest(b))));
    }
    for cpus in [1, 4] {
        let add = |name: &str, run: fn(Make) -> Result<()>| {
            let machine = if cpus == 1 { debian::<1> } else { debian::<4> };
            let name = format!("{name} with -smp {cpus}");
            Test::new(name, move || ours().and_then(|()| run(machine)))
        };
        tests.push(add("Debian's boot runs twice the same, once under load", |m| twice(m())));
        tests.push(add("Debian's boot, saved in the middle, goes on the same", |m| saved(m())));
        tests.push(add("Debian's boot is the same while native code is evicted", |m| evicted(m())));
    }
    let name = "Debian's boot ends the same in all tiers, with -smp 4";
    tests.push(Test::new(name, || ours().and_then(|()| in_all_tiers(debian::<4>()))));
    let name = "Linux' disk traffic, saved in the middle, goes on the same";
    tests.push(Test::new(name, || ours().and_then(|()| saved(disks()))));
    tests
}

/// Linux reads a disk of AHCI and one of virtio at the same time. What it writes is gone afterwards.
fn disks() -> Result<Machine> {
    let files = drivers::get(&[], &mut |_| {})
        .map_err(|e| anyhow::Error::from(Skip(format!("no Debian packages: {e:#}"))))?;
    let image = place::target().join("repeat.img");
    let bytes = |n: u32| n.wrapping_mul(0x9E37_79B1).to_le_bytes();
    std::fs::write(&image, (0..1u32 << 20).flat_map(bytes).collect::<Vec<u8>>())?;
    let mut machine = Machine::new("q35")?.args(["-m", "256"]);
    for interface in ["ide", "virtio"] {
        let file = image.display();
        let drive = format!("if={interface},format=raw,snapshot=on,file={file}");
        machine = machine.args(["-drive", &drive]);
    }
    let machine = machine.kernel(&files.kernel).initrd(&files.initrd);
    let run = "run=cp,/dev/sda,/tmp/a&md5sum,/dev/vda;wait;md5sum,/tmp/a;poweroff,-f";
    Ok(machine.append(&format!("console=ttyS0 panic=-1 {run}")))
}

/// A peer has no `info statehash`.
pub fn ours() -> Result<()> {
    if place::is_ours() {
        Ok(())
    } else {
        Err(Skip("the program under test does not tell a hash of its state".into()).into())
    }
}

fn guest(board: &str) -> Result<Machine> {
    let machine = Machine::new(board)?.args(["-m", "64"]).kernel(&guest::get()?);
    Ok(machine.append("selftest hash time spin=500 selftest poweroff"))
}

/// Several CPUs idle by MWAIT, which `max` has, and one by HLT.
fn debian<const CPUS: u32>() -> Result<Machine> {
    let cpu = if CPUS == 1 { "qemu64" } else { "max" };
    let machine = linux::machine("q35", CPUS)?.args(["-cpu", cpu]);
    Ok(machine.append("console=ttyS0 panic=-1 run=seq,999|md5sum;poweroff,-f"))
}

pub fn counted(machine: Machine) -> Machine {
    machine.args(COUNTED).args(FIXED_CLOCK).args(["-seed", "7", "-no-shutdown"])
}

/// Runs to the end (the guest switches itself off, which pauses the machine) and looks.
pub fn end_of(mut running: Running) -> Result<(StateHash, String)> {
    let mut monitor = running.monitor()?;
    monitor.wait_for_status("paused", seconds(400))?;
    let hash = monitor.state_hash()?;
    monitor.last("quit")?;
    running.expect_exit(0, seconds(20))?;
    Ok((hash, running.text()))
}

pub fn twice(machine: Result<Machine>) -> Result<()> {
    let machine = counted(machine?);
    let (first, log) = end_of(machine.clone().boot_with_monitor()?)?;
    ensure!(!log.is_empty(), "the guest said nothing");
    let load = Load::start()?;
    let (second, again) = end_of(machine.boot_with_monitor()?)?;
    drop(load);
    if first != second {
        bail!("the first run ended with {first:x?}, the second with {second:x?}");
    }
    ensure!(log == again, "the same state, but not the same words:\n{log}\n{again}");
    Ok(())
}

/// With room for all native code; with so little, by both compilers, that it is made again and again.
fn evicted(machine: Result<Machine>) -> Result<()> {
    const DROPPED: &str = "times the oldest code was dropped";
    let machine = counted(machine?);
    let (want, _) = end_of(machine.clone().boot_with_monitor()?)?;
    for compiler in ["own", "cranelift"] {
        let accel = format!("tcg,tb-size=2,compiler={compiler}");
        let running = machine.clone().args(["-accel", &accel]).boot_with_monitor()?;
        let mut monitor = running.monitor()?;
        monitor.wait_for_status("paused", seconds(400))?;
        let counters = monitor.say("info jit")?;
        drop(monitor);
        let (hash, _) = end_of(running)?;
        ensure!(hash == want, "{accel}: expected {want:x?}, got {hash:x?}");
        let dropped = counters.lines().find_map(|l| l.trim().strip_prefix(DROPPED));
        let dropped: u64 = dropped.and_then(|n| n.trim().parse().ok()).unwrap_or(0);
        // On other hosts there is code for what is hot only.
        let least = if cfg!(target_arch = "x86_64") { 100 } else { 0 };
        ensure!(dropped >= least, "{accel}: code was evicted {dropped} times");
    }
    Ok(())
}

/// Where turns end shows in the order of what several CPUs do, so it must not depend on how instructions are executed.
fn in_all_tiers(machine: Result<Machine>) -> Result<()> {
    let machine = counted(machine?);
    let (want, _) = end_of(machine.clone().boot_with_monitor()?)?;
    let folder = place::scratch("code")?;
    // In the first run with a folder code is kept, which the second one uses.
    let kept = format!("code-cache={}", folder.display());
    for tiers in ["regions=never", "regions=never,baseline=never", &kept, &kept] {
        let machine = machine.clone().args(["-accel", &format!("tcg,{tiers}")]);
        let (got, _) = end_of(machine.boot_with_monitor()?)?;
        ensure!(got == want, "{tiers}: ended with {got:x?}, usually with {want:x?}");
    }
    let files = std::fs::read_dir(&folder)?.count();
    ensure!(files == 1 || !cfg!(target_arch = "x86_64"), "{files} files of kept code");
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

/// Whole run; run stopped at some moment and saved; the rest in a new process.
pub fn saved(machine: Result<Machine>) -> Result<()> {
    let machine = counted(machine?);
    let (whole, _) = end_of(machine.clone().boot_with_monitor()?)?;
    let dir = place::scratch("saved")?;
    let file = dir.join("state");
    let file = file.to_str().context("the temporary directory is not UTF-8")?;
    let mut running = machine.clone().boot_with_monitor()?;
    running.wait_for("\n", seconds(60))?;
    let mut monitor = running.monitor()?;
    monitor.say("stop")?;
    let middle = monitor.state_hash()?;
    let answer = monitor.say(&format!("savevm {file}"))?;
    ensure!(answer.is_empty(), "savevm: {answer}");
    monitor.last("quit")?;
    running.expect_exit(0, seconds(20))?;
    ensure!(middle.count < whole.count, "the run was over before it could be saved");

    let resumed = machine.args(["-S", "-loadvm", file]).boot_with_monitor()?;
    let mut monitor = resumed.monitor()?;
    let loaded = monitor.state_hash()?;
    ensure!(loaded == middle, "saved {middle:x?}, loaded {loaded:x?}");
    monitor.say("cont")?;
    drop(monitor);
    let (end, _) = end_of(resumed)?;
    std::fs::remove_dir_all(dir)?;
    ensure!(end == whole, "the whole run ended with {whole:x?}, the resumed one with {end:x?}");
    Ok(())
}

/// Two programs that do nothing but use the host's processors.
struct Load(Vec<Child>);

impl Load {
    fn start() -> Result<Load> {
        let busy = || {
            let mut command = Command::new("sh");
            command.args(["-c", "while :; do :; done"]).stdin(Stdio::null());
            command.spawn().context("starting a shell as load")
        };
        Ok(Load(vec![busy()?, busy()?]))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
