//! `cargo xtask disks`: the speed of disks in a Linux guest, on a peer and on ours, in turn, with the same image.
//!
//! The host's clock stamps the marks that the guest prints, and what was read is compared.

use crate::bench::{geometric, median, static_program};
use crate::shell::{no_more, number, split, status, value};
use anyhow::{Context, Result, bail};
use boot_tests::machine::now;
use boot_tests::{Machine, Running, drivers, place};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(300);
const OPTIONS: &str = "-no-reboot -m 512";
/// Bytes of the image.
const IMAGE: u64 = 512 << 20;

/// How a disk is joined: the board, the option, the device's name in Linux.
#[rustfmt::skip]
const BUSES: &[(&str, &str, &str, &str)] = &[
    ("ide",    "pc",  "if=ide",    "/dev/sda"),
    ("ahci",   "q35", "if=ide",    "/dev/sda"),
    ("virtio", "q35", "if=virtio", "/dev/vda"),
];
const CACHES: &[&str] = &["writeback", "none"];
const KINDS: &[&str] = &["seqread", "randread", "seqwrite", "randwrite"];
/// Bytes of a request, and of all requests.
const SIZES: &[(u64, u64)] = &[(4 << 10, 32 << 20), (64 << 10, 256 << 20), (1 << 20, 512 << 20)];

/// Seconds of each run, and the sum of what was read, by the line of the table.
type Runs = BTreeMap<String, (Vec<f64>, String)>;

pub fn run(args: &[String]) -> Result<ExitCode> {
    let mut words = args.to_vec();
    let reps = number(&mut words, "--reps", 3)?;
    let only = value(&mut words, "--only")?;
    let peer = value(&mut words, "--peer")?.unwrap_or_else(|| "qemu-system-x86_64".to_owned());
    let ours = value(&mut words, "--ours")?;
    let dir =
        value(&mut words, "--dir")?.map_or_else(|| place::target().join("bench"), PathBuf::from);
    no_more(&words)?;
    let ours = match ours {
        Some(words) => split(&words),
        None => place::reprise()?.to_vec(),
    };
    if let Some(only) = &only
        && !BUSES.iter().any(|b| CACHES.iter().any(|c| format!("{} {c}", b.0).contains(only)))
    {
        bail!("--only {only}: there is no such row");
    }
    std::fs::create_dir_all(&dir)?;
    let image = image(&dir)?;
    let program = std::fs::read(static_program("disk")?)?;
    let files = drivers::get(&[("disk", program)], &mut |t| println!("{t}"))?;
    let mut columns = [("peer", split(&peer), Runs::new()), ("ours", ours, Runs::new())];
    for rep in 1..=reps {
        for (bus, board, how, device) in BUSES {
            for cache in CACHES {
                let name = format!("{bus} {cache}");
                if only.as_ref().is_some_and(|o| !name.contains(o.as_str())) {
                    continue;
                }
                for (who, command, runs) in &mut columns {
                    println!("round {rep} of {reps}: {name}: {who}");
                    // The same bytes for each.
                    let disk = dir.join("disk.run");
                    std::fs::copy(&image, &disk)?;
                    let drive = format!("file={},format=raw,cache={cache},{how}", disk.display());
                    let machine = Machine::of(command, board).args(split(OPTIONS));
                    let machine = machine.args(["-drive", &drive]);
                    let machine = machine.kernel(&files.kernel).initrd(&files.initrd);
                    one(machine, device, &name, runs).with_context(|| format!("{name}: {who}"))?;
                }
            }
        }
    }
    Ok(status(table(&columns)))
}

/// A file without holes.
fn image(dir: &Path) -> Result<PathBuf> {
    let file = dir.join("disk.raw");
    if std::fs::metadata(&file).is_ok_and(|m| m.len() == IMAGE) {
        return Ok(file);
    }
    let piece: Vec<u8> =
        (0..1u32 << 18).flat_map(|n| n.wrapping_mul(0x9E37_79B9).to_le_bytes()).collect();
    let all: Vec<u8> =
        std::iter::repeat_n(&piece, (IMAGE >> 20) as usize).flatten().copied().collect();
    std::fs::write(&file, all).with_context(|| format!("writing {}", file.display()))?;
    Ok(file)
}

/// One boot, all kinds and sizes.
fn one(machine: Machine, device: &str, name: &str, runs: &mut Runs) -> Result<()> {
    let mut script = String::new();
    for kind in KINDS {
        for (size, bytes) in SIZES {
            script += &format!("disk,{device},{kind},{size},{bytes};");
        }
    }
    let line = format!("console=ttyS0 panic=-1 quiet run={script}poweroff,-f");
    let mut running = machine.append(&line).boot()?;
    for kind in KINDS {
        for (size, bytes) in SIZES {
            running.wait_for("disk begin", LIMIT)?;
            let start = now();
            running.wait_for("disk end ", LIMIT)?;
            let seconds = start.elapsed().as_secs_f64();
            let sum = rest(&mut running)?;
            let key = format!("{name:17} {kind:9} {:4} KiB {:4} MiB", size >> 10, bytes >> 20);
            let run = runs.entry(key).or_default();
            run.0.push(seconds);
            run.1 = sum;
        }
    }
    running.expect_exit(0, LIMIT).context("after the last one")
}

fn rest(running: &mut Running) -> Result<String> {
    Ok(running.wait_for("\n", LIMIT)?.trim().to_owned())
}

/// Prints the table; true if both read the same.
fn table(columns: &[(&str, Vec<String>, Runs); 2]) -> bool {
    let [(_, _, peer), (_, _, ours)] = columns;
    let median = |runs: &Runs, key: &str| median(&runs.get(key)?.0);
    println!("\nSeconds, medians. Above 1, peer/ours means that ours is faster.");
    let mut right = true;
    let mut ratios = Vec::new();
    for key in peer.keys() {
        let (Some(p), Some(o)) = (median(peer, key), median(ours, key)) else { continue };
        let same = peer.get(key).map(|r| &r.1) == ours.get(key).map(|r| &r.1);
        right &= same;
        ratios.push(p / o);
        let word = if same { "" } else { "  WRONG" };
        println!("{key}  {p:8.3} {o:8.3} {:6.2}{word}", p / o);
    }
    if let Some(mean) = geometric(ratios.iter().copied()) {
        println!("geometric mean of peer/ours over {} rows: {mean:.2}", ratios.len());
    }
    right
}
