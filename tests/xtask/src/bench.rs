//! `cargo xtask bench`: the same guest on a peer and on ours, in turn, beside the host itself.
//!
//! The host's clock stamps the marks that the guest prints, so no guest clock is trusted. Every answer is compared with
//! the host's own.

use crate::shell::{flag, no_more, number, output, split, status, value};
use anyhow::{Context, Result, bail};
use boot_tests::machine::now;
use boot_tests::{Machine, Running, debian, place};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(300);
/// A PC with enough memory, the same for both.
const OPTIONS: &str = "-no-reboot -m 1024";

/// Seconds and answer of each workload.
type Runs = BTreeMap<String, (Vec<f64>, String)>;

pub fn run(args: &[String]) -> Result<ExitCode> {
    let mut words = args.to_vec();
    let reps = number(&mut words, "--reps", 3)?;
    let only = value(&mut words, "--only")?;
    let ours = value(&mut words, "--ours")?;
    let peer = value(&mut words, "--peer")?;
    let no_peer = flag(&mut words, "--no-peer");
    no_more(&words)?;
    let program = build()?;
    let all = output(Command::new(&program).arg("list"))?;
    let wanted: Vec<_> = only.iter().flat_map(|o| o.split(',')).filter(|n| *n != "boot").collect();
    if let Some(name) = wanted.iter().find(|n| !all.lines().any(|l| l == **n)) {
        let there = all.split_whitespace().collect::<Vec<_>>().join(" ");
        bail!("no workload '{name}'; there are: boot {there}");
    }
    // In the program's order, which is the order of its marks.
    let chosen = all.lines().filter(|l| only.is_none() || wanted.contains(l));
    let names: Vec<_> = chosen.map(str::to_owned).collect();
    let mut columns = Vec::new();
    let peer = peer.unwrap_or_else(|| "qemu-system-x86_64".to_owned());
    let there = split(&peer)
        .first()
        .is_some_and(|p| place::program(p).is_some() || PathBuf::from(p).is_file());
    match (no_peer, there) {
        (true, _) => {}
        (_, true) => columns.push(("peer", split(&peer), Runs::new())),
        _ => println!("no peer: {peer} is not on this machine"),
    }
    let ours = match ours {
        Some(words) => split(&words),
        None => place::reprise()?.to_vec(),
    };
    columns.push(("ours", ours, Runs::new()));
    let guest = Guest::make(&program)?;
    let mut native = Runs::new();
    for rep in 1..=reps {
        on_host(&program, &names, &mut native)?;
        for (who, command, runs) in &mut columns {
            println!("round {rep} of {reps}: {who}");
            guest.run(command, &names, runs)?;
        }
    }
    Ok(status(table(&names, &native, &columns)))
}

/// The workloads' program.
fn build() -> Result<PathBuf> {
    static_program("workloads")
}

/// A program of tests/bench, for x86-64 Linux, static.
pub fn static_program(name: &str) -> Result<PathBuf> {
    let dir = place::target().join("bench");
    std::fs::create_dir_all(&dir)?;
    let file = dir.join(name);
    let source = place::root().join("tests/bench").join(name).with_extension("rs");
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args(["--edition", "2024", "-C", "opt-level=3", "-C", "target-feature=+crt-static"]);
    rustc.args(["--target", "x86_64-unknown-linux-gnu", "-C", "strip=symbols", "-o"]);
    output(rustc.arg(&file).arg(source))?;
    Ok(file)
}

fn on_host(program: &PathBuf, names: &[String], runs: &mut Runs) -> Result<()> {
    for name in names {
        let start = now();
        let text = output(Command::new(program).arg(name))?;
        let answer = text.split_whitespace().last().unwrap_or("").to_owned();
        let run = runs.entry(name.clone()).or_default();
        run.0.push(start.elapsed().as_secs_f64());
        run.1 = answer;
    }
    Ok(())
}

struct Guest {
    kernel: PathBuf,
    initrd: PathBuf,
}

impl Guest {
    fn make(program: &PathBuf) -> Result<Guest> {
        let files = debian::get(&mut |t| println!("{t}"))?;
        let busybox = std::fs::read(place::cache()?.join("debian/busybox"))?;
        let initrd = place::target().join("bench/initrd.cpio");
        let programs = [("workloads", std::fs::read(program)?)];
        std::fs::write(&initrd, debian::initramfs(&busybox, &programs))?;
        Ok(Guest { kernel: files.kernel, initrd })
    }

    /// One boot, all workloads.
    fn run(&self, command: &[String], names: &[String], runs: &mut Runs) -> Result<()> {
        let line = format!(
            "console=ttyS0 panic=-1 quiet run=echo,bench,end,boot,-;workloads,{};poweroff,-f",
            names.join(",")
        );
        let machine = Machine::of(command, "q35").args(split(OPTIONS));
        let start = now();
        let mut running = machine.kernel(&self.kernel).initrd(&self.initrd).append(&line).boot()?;
        let mut note = |running: &mut Running, name: &str, start| -> Result<()> {
            running.wait_for(&format!("bench end {name} "), LIMIT)?;
            let seconds = now().duration_since(start).as_secs_f64();
            let answer = running.wait_for("\n", LIMIT)?;
            let run = runs.entry(name.to_owned()).or_default();
            run.0.push(seconds);
            run.1 = answer.trim().to_owned();
            Ok(())
        };
        note(&mut running, "boot", start)?;
        for name in names {
            running.wait_for(&format!("bench begin {name}"), LIMIT)?;
            note(&mut running, name, now())?;
        }
        running.expect_exit(0, LIMIT).context("after the last workload")
    }
}

fn median(runs: &Runs, name: &str) -> Option<f64> {
    let mut seconds = runs.get(name)?.0.clone();
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).copied()
}

/// Prints the table; true if every answer is the host's.
fn table(names: &[String], native: &Runs, columns: &[(&str, Vec<String>, Runs)]) -> bool {
    let runs = |who: &str| columns.iter().find(|c| c.0 == who).map(|c| &c.2);
    let (peer, ours) = (runs("peer"), runs("ours"));
    let cell = |x: Option<f64>| x.map_or("-".to_owned(), |x| format!("{x:.3}"));
    println!("\nSeconds, medians. Above 1, peer/ours means that ours is faster.");
    println!(
        "{:10} {:>9} {:>9} {:>9} {:>10} {:>11}  answer",
        "workload", "native", "peer", "ours", "peer/ours", "ours/native"
    );
    let (mut logs, mut all_right) = (Vec::new(), true);
    for name in std::iter::once("boot").chain(names.iter().map(String::as_str)) {
        let (n, p, o) = (
            median(native, name),
            peer.and_then(|r| median(r, name)),
            ours.and_then(|r| median(r, name)),
        );
        let ratio = p.zip(o).map(|(p, o)| p / o);
        logs.extend(ratio.map(f64::ln));
        let slower = o.zip(n).map(|(o, n)| o / n);
        let right = native.get(name).is_none_or(|n| {
            [peer, ours].iter().flatten().all(|r| r.get(name).is_some_and(|r| r.1 == n.1))
        });
        all_right &= right;
        let word = if right { "ok" } else { "WRONG" };
        println!(
            "{name:10} {:>9} {:>9} {:>9} {:>10} {:>11}  {word}",
            cell(n),
            cell(p),
            cell(o),
            cell(ratio),
            cell(slower)
        );
    }
    if !logs.is_empty() {
        let mean = (logs.iter().sum::<f64>() / logs.len() as f64).exp();
        println!("geometric mean of peer/ours over {} workloads: {mean:.2}", logs.len());
    }
    all_right
}
