//! `cargo xtask image`: disks and CDs to boot a whole computer from, made of Debian's packages.
//!
//! All of it is kept in the cache, and nothing is made that is there; `--fresh` makes it anew. No loop device, mount or
//! KVM is needed. Root is needed only to install missing tools; who is not root needs user namespaces.

mod cds;
pub mod debian;
mod disk;
mod mirror;
mod trial;

use crate::shell::{flag, install, no_more, number, output, status, value};
use anyhow::{Context, Result, bail, ensure};
use boot_tests::place;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// No file is newer than this, 2023-06-10 00:00 UTC, the day of Debian 12: a guest's clock should be later, or its check
/// of the file system complains.
pub const EPOCH: u64 = 1_686_355_200;
pub const EPOCH_TEXT: &str = "2023-06-10 00:00:00";

/// What Debian's file systems are made with: a file of each package. Not on a user's `PATH`, so with their directories.
#[rustfmt::skip]
const TOOLS: &[(&str, &str)] = &[
    ("mmdebstrap",                                       "mmdebstrap"),
    ("/usr/share/keyrings/debian-archive-keyring.gpg",   "debian-archive-keyring"),
    ("zstd",                                             "zstd"),
    ("fakeroot",                                         "fakeroot"),
    ("/usr/sbin/mke2fs",                                 "e2fsprogs"),
    ("/usr/sbin/sfdisk",                                 "fdisk"),
    ("mformat",                                          "mtools"),
];

pub fn run(args: &[String]) -> Result<ExitCode> {
    let mut words = args.to_vec();
    ensure!(!words.is_empty(), "expected debian, cds or try; see cargo xtask help");
    let what = words.remove(0);
    let fresh = flag(&mut words, "--fresh");
    match what.as_str() {
        "debian" => {
            let programs = flag(&mut words, "--programs");
            let gib = number(&mut words, "--size", 4)?;
            let format = value(&mut words, "--format")?.unwrap_or_else(|| "raw".into());
            no_more(&words)?;
            ensure!((2..=1024).contains(&gib), "--size {gib}: expected 2 to 1024 GiB");
            ensure!(
                ["raw", "qcow2"].contains(&&*format),
                "--format {format}: expected raw or qcow2"
            );
            let file = debian::get(programs, gib, fresh)?;
            let file = if format == "qcow2" { qcow2(&file)? } else { file };
            println!("{}", file.display());
            println!(
                "boot it: reprise -m 1024 -nographic -snapshot -drive file={},format={format}",
                file.display()
            );
        }
        "cds" => {
            no_more(&words)?;
            for file in cds::get(fresh)? {
                println!("{}", file.display());
            }
        }
        "try" => return Ok(status(trial::run(&mut words)?)),
        _ => bail!("{what}: expected debian, cds or try"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Where images are kept.
fn images() -> Result<PathBuf> {
    let dir = place::cache()?.join("images");
    std::fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
    Ok(dir)
}

/// A file that is whole, or not there: made under another name, and renamed. The maker gets that name.
fn make(file: &Path, fresh: bool, maker: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if file.is_file() && !fresh {
        return Ok(());
    }
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let part = file.with_file_name(format!("new-{}-{name}", std::process::id()));
    let done = maker(&part).and_then(|()| {
        std::fs::rename(&part, file).with_context(|| format!("writing {}", file.display()))
    });
    if done.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    done
}

/// A directory for one piece of work, gone with the end of it.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Result<Scratch> {
        let dir = images()?.join(format!("{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
        Ok(Scratch(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn am_root() -> Result<bool> {
    Ok(output(Command::new("id").arg("-u"))?.trim() == "0")
}

/// Room for what is to be written; better known before than after minutes of work.
fn room(dir: &Path, mib: u64) -> Result<()> {
    let text = output(Command::new("df").args(["-Pm"]).arg(dir))?;
    let free = text.lines().nth(1).and_then(|l| l.split_whitespace().nth(3)?.parse::<u64>().ok());
    match free {
        Some(free) if free < mib => bail!("{}: {free} MiB free, {mib} needed", dir.display()),
        _ => Ok(()),
    }
}

/// As [`output`], but of a failure only the last line that says something.
fn quiet(command: &mut Command) -> Result<String> {
    output(command).map_err(|e| {
        let text = format!("{e:#}");
        let name = command.get_program().to_string_lossy();
        let says = |l: &&str| l.starts_with("E:") || l.to_lowercase().contains("error");
        let last = text.lines().find(says).or(text.lines().rfind(|l| !l.trim().is_empty()));
        anyhow::anyhow!(
            "{name}: {}",
            last.unwrap_or("failed").trim_start_matches(&*format!("{name}: "))
        )
    })
}

fn qcow2(raw: &Path) -> Result<PathBuf> {
    let file = raw.with_extension("qcow2");
    let newer = |f: &Path| f.metadata().and_then(|m| m.modified()).ok();
    let stale = newer(&file) < newer(raw);
    install(&[("qemu-img", "qemu-utils")])?;
    make(&file, stale, |part| {
        println!("converting to qcow2");
        let mut command = Command::new("qemu-img");
        quiet(command.args(["convert", "-f", "raw", "-O", "qcow2"]).arg(raw).arg(part)).map(drop)
    })?;
    Ok(file)
}
