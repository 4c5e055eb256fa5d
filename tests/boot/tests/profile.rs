//! `-profile`: where the guest spends its time is told by name, and the guest does not notice.

use crate::repeat::{counted, end_of, ours};
use crate::{linux, seconds};
use anyhow::{Context, Result, ensure};
use boot_tests::{Machine, Test, guest, place};
use std::path::Path;

pub fn tests() -> Vec<Test> {
    let test =
        |name: &str, run: fn() -> Result<()>| Test::new(name, move || ours().and_then(|()| run()));
    let mut tests = vec![test("a loop of the test guest is told by its name", told)];
    for cpus in [1, 4] {
        let machine = if cpus == 1 { debian::<1> } else { debian::<4> };
        let name = format!("Debian's boot does not notice a profile, with -smp {cpus}");
        tests.push(Test::new(name, move || ours().and_then(|()| unseen(machine()?))));
    }
    tests.push(test("the test guest does not notice a profile", || unseen(loops()?)));
    tests.push(test("bad symbols are refused in one line", refused));
    tests
}

/// Most of what it does is one loop.
fn loops() -> Result<Machine> {
    let machine = Machine::new("q35")?.args(["-m", "64"]).kernel(&guest::get()?);
    Ok(machine.append("selftest spin=50 hash poweroff"))
}
fn debian<const CPUS: u32>() -> Result<Machine> {
    Ok(linux::machine("q35", CPUS)?.append("console=ttyS0 panic=-1 run=seq,999|md5sum;poweroff,-f"))
}
fn option(file: &Path, every: u64, symbols: &Path) -> [String; 2] {
    let (file, symbols) = (file.display(), symbols.display());
    ["-profile".into(), format!("file={file},every={every},symbols={symbols}")]
}

fn told() -> Result<()> {
    let dir = place::scratch("profile")?;
    let file = dir.join("samples");
    let machine = counted(loops()?.args(option(&file, 10_000, &guest::get()?)));
    let mut running = machine.boot_with_monitor()?;
    let mut monitor = running.monitor()?;
    monitor.wait_for_status("paused", seconds(60))?;
    let count = monitor.state_hash()?.count;
    let shown = monitor.say("info profile")?;
    monitor.last("quit")?;
    running.expect_exit(0, seconds(20))?;
    let text = std::fs::read_to_string(&file)?;
    std::fs::remove_dir_all(dir)?;
    let first = format!("{} samples, one each 10000 instructions", count / 10_000);
    for text in [&text, &shown] {
        ensure!(text.lines().next() == Some(&first), "expected '{first}':\n{text}");
        let row = text.lines().skip_while(|l| !l.starts_with("kernel")).nth(1);
        let row: Vec<_> = row.context("no rows")?.split_whitespace().collect();
        let share: f64 = row.get(1).context("no share")?.parse()?;
        let name = row.last().context("no name")?;
        ensure!(name.contains("spin") && share > 50.0, "expected spin first:\n{text}");
    }
    Ok(())
}

/// Samples at odd places, and none.
fn unseen(machine: Machine) -> Result<()> {
    let dir = place::scratch("profile")?;
    let machine = counted(machine);
    let (want, said) = end_of(machine.clone().boot_with_monitor()?)?;
    for every in [100_000, 997] {
        let profiled = machine.clone().args(option(&dir.join("samples"), every, &guest::get()?));
        let (got, words) = end_of(profiled.boot_with_monitor()?)?;
        ensure!(got == want && words == said, "every={every}: {got:x?}, without {want:x?}");
        let text = std::fs::read_to_string(dir.join("samples"))?;
        let samples: u64 = text.split(' ').next().context("an empty file")?.parse()?;
        ensure!(samples == want.count / every, "{samples} samples of {} instructions", want.count);
    }
    Ok(std::fs::remove_dir_all(dir)?)
}

fn refused() -> Result<()> {
    let dir = place::scratch("profile")?;
    let guest = guest::get()?;
    let short = dir.join("short");
    std::fs::write(&short, &std::fs::read(&guest)?[..4096])?;
    let none = dir.join("no-such-file");
    for (file, symbols, what) in [
        (dir.join("samples"), short, "truncated: its section table"),
        (dir.join("samples"), none.clone(), "no-such-file"),
        (dir.join("samples"), dir.clone(), "directory"),
        (none.join("samples"), guest.clone(), "cannot write"),
    ] {
        let mut running = loops()?.args(option(&file, 1000, &symbols)).boot()?;
        running.expect_exit(1, seconds(20))?;
        let said = running.errors();
        let good = said.lines().count() == 1 && said.contains("-profile: ") && said.contains(what);
        ensure!(good, "expected one line with '{what}', got {said}");
    }
    Ok(std::fs::remove_dir_all(dir)?)
}
