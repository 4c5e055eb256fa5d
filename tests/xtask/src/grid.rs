//! `cargo xtask grid`: Debian's kernels on all boards, with few and many CPUs, with little and much memory.
//!
//! Each must come to its first program, say nothing that a good machine would not make it say, and switch itself off. What
//! counts as a complaint is in `boot_tests::kernel_log`; a peer's log of the same boot excuses more, but for clocks.

use crate::shell::{flag, no_more, split, status, value};
use anyhow::{Context, Result, bail};
use boot_tests::kernel_log::{ALLOWED, complaints, excused};
use boot_tests::machine::now;
use boot_tests::{Machine, debian, place};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(300);
const BOARDS: [&str; 2] = ["q35", "pc"];
const CPUS: [u32; 3] = [1, 2, 4];
/// Megabytes: little, some, and more than fits below the PCI hole.
const MEMORY: [u32; 3] = [256, 1024, 8192];
/// How much the peer has, which boots once for all three.
const PEER_MEMORY: u32 = 1024;
/// Said by the first program. Each initial RAM file system has its own way to say it, and ends by itself.
const READY: &str = "@@ ready";
const APPEND: &str = "console=ttyS0 panic=-1 loglevel=8 w=boot run=echo,@@,ready;poweroff,-f";

struct Kernel {
    name: String,
    file: PathBuf,
}

struct Grid {
    initrd: PathBuf,
    /// Where the logs go.
    keep: Option<PathBuf>,
}

pub fn run(args: &[String]) -> Result<ExitCode> {
    let mut words = args.to_vec();
    let kernels = value(&mut words, "--kernels")?;
    let initrd = value(&mut words, "--initrd")?;
    let keep = value(&mut words, "--keep")?.map(PathBuf::from);
    let only = value(&mut words, "--only")?.unwrap_or_default();
    let ours = value(&mut words, "--ours")?;
    let peer = value(&mut words, "--peer")?.unwrap_or_else(|| "qemu-system-x86_64".to_owned());
    let no_peer = flag(&mut words, "--no-peer");
    no_more(&words)?;
    let mut say = |t: &str| println!("{t}");
    let kernels = match kernels {
        Some(files) => files.split(',').map(Kernel::of).collect(),
        None => debian::KERNELS
            .iter()
            .map(|package| {
                let file = debian::kernel(package, &mut say)?;
                Ok(Kernel { name: package.trim_start_matches("linux-image-").to_owned(), file })
            })
            .collect::<Result<Vec<_>>>()?,
    };
    let initrd = initrd.map_or_else(|| debian::initrd(&mut say), |file| Ok(file.into()))?;
    if let Some(dir) = &keep {
        std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    }
    let grid = Grid { initrd, keep };
    let ours = ours.map_or_else(|| place::reprise().map(<[_]>::to_vec), |w| Ok(split(&w)))?;
    let peer = split(&peer);
    let there = peer.first().is_some_and(|p| place::program(p).is_some());
    if !no_peer && !there {
        println!("no peer: {} is not on this machine", peer.join(" "));
    }
    let has_peer = there && !no_peer;
    // A line must contain all the words of one of the wishes, as `generic pc`.
    let wanted = |row: &str| {
        let has = |wish: &str| wish.split(' ').all(|w| row.split(' ').any(|r| r == w));
        only.is_empty() || only.split(',').any(has)
    };
    println!(
        "{:14} {:4} {:>4} {:>6} {:>8} {:>8}  result",
        "kernel", "M", "smp", "m", "seconds", "peer"
    );
    let (mut tried, mut good) = (0, 0);
    for kernel in &kernels {
        for board in BOARDS {
            for cpus in CPUS {
                let mut theirs = None;
                for memory in MEMORY {
                    if !wanted(&format!("{} {board} {cpus} {memory}", kernel.name)) {
                        continue;
                    }
                    if has_peer && theirs.is_none() {
                        let boot = grid.boot(&peer, "peer", kernel, board, cpus, PEER_MEMORY);
                        theirs = Some(boot.map_err(|e| format!("{e:#}")));
                    }
                    let (time, allowed) = match &theirs {
                        Some(Ok(b)) => (format!("{:.1}", b.seconds), excused(&b.log)),
                        Some(Err(_)) => ("failed".to_owned(), String::new()),
                        None => ("-".to_owned(), String::new()),
                    };
                    let allowed = format!("{ALLOWED}\n{allowed}");
                    let boot = grid.boot(&ours, "ours", kernel, board, cpus, memory);
                    let (seconds, result, more) = match &boot {
                        Ok(b) => match complaints(&b.log, &allowed) {
                            none if none.is_empty() => (b.seconds, "ok", String::new()),
                            all => {
                                (b.seconds, "COMPLAINS", format!("\n    {}", all.join("\n    ")))
                            }
                        },
                        Err(e) => (0.0, "FAILED", format!(" {e:#}")),
                    };
                    tried += 1;
                    good += usize::from(result == "ok");
                    println!(
                        "{:14} {board:4} {cpus:4} {memory:6} {seconds:8.1} {time:>8}  {result}{more}",
                        kernel.name
                    );
                }
                if let Some(Err(e)) = theirs {
                    println!("note: the peer: {e}");
                }
            }
        }
    }
    if tried == 0 {
        bail!("--only {only}: no such row");
    }
    println!("grid: {good} of {tried} are well");
    Ok(status(good == tried))
}

impl Kernel {
    fn of(file: &str) -> Kernel {
        let name = Path::new(file).file_name().unwrap_or_default().to_string_lossy().into_owned();
        Kernel { name, file: file.into() }
    }
}

struct Boot {
    seconds: f64,
    log: String,
}

impl Grid {
    /// Boots until the machine switches itself off.
    fn boot(
        &self,
        program: &[String],
        who: &str,
        kernel: &Kernel,
        board: &str,
        cpus: u32,
        memory: u32,
    ) -> Result<Boot> {
        let machine = Machine::of(program, board).args([
            "-no-reboot",
            "-m",
            &memory.to_string(),
            "-smp",
            &cpus.to_string(),
        ]);
        let start = now();
        let machine = machine.kernel(&kernel.file).initrd(&self.initrd).append(APPEND);
        let mut running = machine.boot()?;
        let ready = running.wait_for(READY, LIMIT);
        let seconds = start.elapsed().as_secs_f64();
        let end = ready.and_then(|_| running.expect_exit(0, LIMIT));
        if let Some(dir) = &self.keep {
            let name = format!("{}-{board}-{cpus}-{memory}-{who}.log", kernel.name);
            std::fs::write(dir.join(name), running.text())?;
        }
        end?;
        Ok(Boot { seconds, log: running.text() })
    }
}
