//! Debian's own kernel and busybox, from the mirror that this machine uses, and an initial RAM file system of them.
//!
//! Nothing is installed and nobody need be root: where the system's package lists do not know the packages, private
//! ones are fetched into the cache.

use crate::cpio::Archive;
use crate::place;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A kernel and its initial RAM file system.
pub struct Debian {
    pub kernel: PathBuf,
    pub initrd: PathBuf,
}

/// The kernel for virtual machines, which the tests boot, and the one for PCs.
pub const KERNELS: [&str; 2] = ["linux-image-cloud-amd64", "linux-image-amd64"];
const BUSYBOX: &str = "busybox-static";

/// What the shell shows when it waits.
pub const PROMPT: &str = "/root # ";

/// From the cache, or downloaded. `say` is told what takes a while.
pub fn get(say: &mut dyn FnMut(&str)) -> Result<Debian> {
    Ok(Debian { kernel: kernel(KERNELS[0], say)?, initrd: initrd(say)? })
}

/// One of [`KERNELS`].
pub fn kernel(package: &str, say: &mut dyn FnMut(&str)) -> Result<PathBuf> {
    let name = if package == KERNELS[0] { "vmlinuz".into() } else { format!("vmlinuz-{package}") };
    let file = cached(&name)?;
    if !file.is_file() {
        say(&format!("downloading {package} from Debian"));
        download(&cached("")?, package, "boot", "vmlinuz-", &file)?;
    }
    Ok(file)
}

/// Busybox and a shell.
pub fn initrd(say: &mut dyn FnMut(&str)) -> Result<PathBuf> {
    let initrd = cached("initrd.cpio")?;
    replace(&initrd, &initramfs(&busybox(say)?, &[]))?;
    Ok(initrd)
}

/// The program.
pub fn busybox(say: &mut dyn FnMut(&str)) -> Result<Vec<u8>> {
    let busybox = cached("busybox")?;
    if !busybox.is_file() {
        say(&format!("downloading {BUSYBOX} from Debian"));
        download(&cached("")?, BUSYBOX, "bin", "busybox", &busybox)?;
    }
    Ok(fs::read(&busybox)?)
}

/// A folder of a package, unpacked.
pub fn tree(package: &str, folder: &str, say: &mut dyn FnMut(&str)) -> Result<PathBuf> {
    let to = cached(&format!("{package}-{}", folder.replace('/', "-")))?;
    if !to.is_dir() {
        say(&format!("downloading {package} from Debian"));
        unpacked(&cached("")?, package, |work| {
            let there = [work.join(folder), work.join("usr").join(folder)];
            let from = there.iter().find(|d| d.is_dir());
            let from = from.with_context(|| format!("{package} has no folder {folder}"))?;
            fs::rename(from, &to).with_context(|| format!("writing {}", to.display()))
        })?;
    }
    Ok(to)
}

pub fn cached(name: &str) -> Result<PathBuf> {
    let dir = place::cache()?.join("debian");
    fs::create_dir_all(&dir)?;
    Ok(dir.join(name))
}

/// A file system with busybox, a shell on the console, and `more` programs in /bin.
pub fn initramfs(busybox: &[u8], more: &[(&str, Vec<u8>)]) -> Vec<u8> {
    initramfs_with(busybox, more, &[])
}

/// The same with files anywhere.
pub fn initramfs_with(
    busybox: &[u8],
    more: &[(&str, Vec<u8>)],
    files: &[(String, Vec<u8>)],
) -> Vec<u8> {
    let mut archive = Archive::default();
    for dir in ["bin", "dev", "etc", "lib", "mnt", "proc", "root", "sys", "tmp"] {
        archive = archive.directory(dir);
    }
    archive = archive.character_device("dev/console", 5, 1).program("bin/busybox", busybox);
    for (name, content) in more {
        archive = archive.program(&format!("bin/{name}"), content);
    }
    for (name, content) in files {
        archive = archive.file(name, content);
    }
    archive.program("init", include_bytes!("init.sh")).finish()
}

/// Downloads `package`, or the one it stands for, and puts the file `prefix*` of its folder `from` at `to`.
fn download(dir: &Path, package: &str, from: &str, prefix: &str, to: &Path) -> Result<()> {
    unpacked(dir, package, |work| {
        let folder = [work.join(from), work.join("usr").join(from)];
        let files = folder.iter().filter_map(|f| fs::read_dir(f).ok()).flatten().flatten();
        let starts = |e: &fs::DirEntry| e.file_name().to_string_lossy().starts_with(prefix);
        let file = files.into_iter().find(starts);
        let file = file.with_context(|| format!("{package} has no {from}/{prefix}*"))?;
        replace(to, &fs::read(file.path())?)
    })
}

/// Downloads `package`, or the one it stands for, unpacks it and lets `take` have what it wants of it.
fn unpacked(dir: &Path, package: &str, take: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if place::program("apt-get").is_none() || place::program("dpkg-deb").is_none() {
        bail!("this is not a Debian system: apt-get and dpkg-deb are needed to get {package}");
    }
    let work = dir.join("unpack");
    let _ = fs::remove_dir_all(&work);
    fs::create_dir_all(&work)?;
    let done = fetch(dir, package, &work).and_then(|deb| {
        run(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&work))?;
        take(&work)
    });
    let _ = fs::remove_dir_all(&work);
    done
}

/// The package's file, by the system's lists or, failing that, by private ones.
fn fetch(dir: &Path, package: &str, into: &Path) -> Result<PathBuf> {
    let first = fetch_by(&[], package, into);
    let Err(first) = first else { return first };
    let lists = dir.join("apt");
    fs::create_dir_all(lists.join("lists/partial"))?;
    fs::create_dir_all(lists.join("archives/partial"))?;
    let private = [
        format!("Dir::State::Lists={}", lists.join("lists").display()),
        format!("Dir::Cache={}", lists.display()),
    ];
    run(apt("apt-get", &private).args(["-q", "update"]))
        .with_context(|| format!("{first:#}; and with lists of our own"))?;
    fetch_by(&private, package, into)
}

fn fetch_by(options: &[String], package: &str, into: &Path) -> Result<PathBuf> {
    let text = run(apt("apt-cache", options).args(["depends", "--important", package]))?;
    let real = text.lines().find_map(|l| l.trim().strip_prefix("Depends: linux-image-"));
    let real = real.map_or(package.to_owned(), |rest| format!("linux-image-{rest}"));
    run(apt("apt-get", options).args(["-q", "download", &real]).current_dir(into))?;
    let deb = fs::read_dir(into)?.flatten().map(|e| e.path());
    deb.into_iter()
        .find(|p| p.extension().is_some_and(|e| e == "deb"))
        .with_context(|| format!("apt-get download {real} left no .deb file"))
}

fn apt(program: &str, options: &[String]) -> Command {
    let mut command = Command::new(program);
    command.env("LC_ALL", "C").args(["-o", "APT::Architecture=amd64"]);
    command.args(["-o", "APT::Sandbox::User=root"]);
    command.args(options.iter().flat_map(|o| ["-o", o]));
    command
}

fn run(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("starting {name}"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let last = text.lines().rfind(|l| !l.trim().is_empty()).unwrap_or("no message").to_owned();
        bail!("{name}: {last}");
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Writes beside and renames, so that nobody ever sees half a file.
pub fn replace(file: &Path, content: &[u8]) -> Result<()> {
    if fs::read(file).is_ok_and(|old| old == content) {
        return Ok(());
    }
    let new = file.with_extension(format!("new{}", std::process::id()));
    fs::write(&new, content).with_context(|| format!("writing {}", new.display()))?;
    fs::rename(&new, file).with_context(|| format!("writing {}", file.display()))
}
