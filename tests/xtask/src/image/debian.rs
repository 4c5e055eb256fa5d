//! `cargo xtask image debian`: a small Debian 12 that boots from its own disk by BIOS or UEFI, with both kinds of
//! console and root without a password.
//!
//! Debian's packages make an archive of the root file system, which is kept; from it follow images of any size.
//! The same packages give the same image, byte by byte.

use super::{EPOCH, Scratch, TOOLS, am_root, disk, images, make, mirror, quiet, room};
use crate::shell::{files, install};
use anyhow::{Context, Result};
use boot_tests::place;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What every image has.
#[rustfmt::skip]
const BASE: &[&str] = &[
    "systemd-sysv", "udev", "kmod", "dbus", "procps", "iproute2",
    "linux-image-amd64", "initramfs-tools", "zstd", "e2fsprogs",
    "grub-common", "grub-pc-bin", "grub-efi-amd64-bin",
    "util-linux", "pciutils", "hdparm", "smartmontools", "dmidecode", "acpica-tools",
    "python3-minimal",
];

/// What people work with, for `--programs`.
#[rustfmt::skip]
const PROGRAMS: &[&str] = &[
    "python3", "gcc", "libc6-dev", "make", "xz-utils", "openssl", "sqlite3", "perl", "git",
];

/// Nobody reads them there.
const LEFT_OUT: [&str; 4] = [
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/locale/*",
];

/// The files that the maker needs beside it.
const SCRIPTS: [(&str, &str); 3] = [
    ("early.sh", include_str!("early.sh")),
    ("system.sh", include_str!("system.sh")),
    ("disk.cfg", include_str!("disk.cfg")),
];

/// The raw image, from the cache or made.
pub fn get(programs: bool, gib: u64, fresh: bool) -> Result<PathBuf> {
    let name = name(programs);
    let size = if gib == 4 { String::new() } else { format!("-{gib}g") };
    let image = images()?.join(format!("{name}{size}.img"));
    // The benchmark's programs may have changed since; they are put in anew without installing Debian again.
    let (bench, has) = (bench_text(programs)?, image.with_extension("bench"));
    let stale = programs && std::fs::read_to_string(&has).ok().as_ref() != Some(&bench);
    make(&image, fresh || stale, |part| {
        let archive = archive(programs, fresh)?;
        room(&images()?, 2 * mib(programs))?;
        let work = Scratch::new("root")?;
        disk::write(part, gib, &archive, programs.then(bench_dir).as_deref(), &work.0)
    })?;
    if programs && stale {
        std::fs::write(&has, bench).with_context(|| format!("writing {}", has.display()))?;
    }
    Ok(image)
}

/// The installed system, from the cache or made.
pub fn archive(programs: bool, fresh: bool) -> Result<PathBuf> {
    install(TOOLS)?;
    if !am_root()? {
        install(&[("newuidmap", "uidmap")])?;
    }
    let archive = images()?.join(format!("{}.tar.zst", name(programs)));
    make(&archive, fresh, |part| {
        room(&images()?, mib(programs))?;
        room(&std::env::temp_dir(), mib(programs))?;
        archive_of(programs, part)
    })?;
    Ok(archive)
}

fn name(programs: bool) -> &'static str {
    if programs { "debian-12-programs" } else { "debian-12" }
}

/// What the installed system takes.
fn mib(programs: bool) -> u64 {
    if programs { 1500 } else { 1000 }
}

/// The programs of `cargo xtask bench programs`, which stand in `/opt/bench` of the image that has what they need.
pub fn bench_dir() -> PathBuf {
    place::root().join("tests/bench/programs")
}

/// All of them, with their names; of an image without them nothing.
fn bench_text(programs: bool) -> Result<String> {
    let mut text = String::new();
    for name in programs.then(|| files(&bench_dir())).into_iter().flatten() {
        let file = bench_dir().join(&name);
        let read = std::fs::read_to_string(&file);
        text += &format!("{name}\n{}", read.with_context(|| file.display().to_string())?);
    }
    Ok(text)
}

/// An archive of the installed system.
fn archive_of(programs: bool, file: &Path) -> Result<()> {
    let mirror = mirror::find()?;
    println!("installing Debian 12 from {mirror} (some minutes)");
    // Not in the cache: in a user namespace it is somebody else who reads them.
    let scripts = Scratch(place::scratch("image")?);
    std::fs::set_permissions(&scripts.0, Permissions::from_mode(0o755))?;
    for (name, text) in SCRIPTS {
        let file = scripts.0.join(name);
        std::fs::write(&file, text.replace("@ROOT@", disk::ROOT_UUID))?;
        std::fs::set_permissions(&file, Permissions::from_mode(0o644))?;
    }
    let script = |name| format!("sh '{}' \"$1\"", scripts.0.join(name).display());
    let more = if programs { PROGRAMS } else { &[] };
    let packages = [BASE, more].concat().join(",");
    let mut command = Command::new("mmdebstrap");
    command.env("SOURCE_DATE_EPOCH", EPOCH.to_string()).env("LC_ALL", "C.UTF-8");
    command.env("ROOT_UUID", disk::ROOT_UUID).env("MENU", scripts.0.join("disk.cfg"));
    command.args(["--variant=minbase", "--architectures=amd64", "--format=tar"]);
    // It would empty /etc/machine-id, and every start be the first one. The rest of that our script does.
    command.arg("--skip=cleanup/reproducible");
    command.arg(format!("--include={packages}"));
    command.args(mirror::options()?.iter().map(|o| format!("--aptopt={o}")));
    command.args(LEFT_OUT.iter().map(|o| format!("--dpkgopt={o}")));
    command.arg(format!("--essential-hook={}", script("early.sh")));
    command.arg(format!("--customize-hook={}", script("system.sh")));
    // Its own program for compression is chosen by the name, which is not yet the last one.
    let tar = file.with_extension("tar");
    let made = quiet(command.arg(mirror::SUITE).arg(&tar).arg(mirror)).map(drop);
    let made =
        made.context("installing Debian (as root, or with user namespaces)").and_then(|()| {
            let mut zstd = Command::new("zstd");
            quiet(zstd.args(["-q", "-f", "-6", "--rm"]).arg(&tar).arg("-o").arg(file)).map(drop)
        });
    let _ = std::fs::remove_file(&tar);
    made
}
