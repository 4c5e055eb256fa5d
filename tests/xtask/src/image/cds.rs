//! `cargo xtask image cds`: CDs that both firmwares boot: GRUB alone, Debian's installer, and memtest86+.

use super::{EPOCH, EPOCH_TEXT, Scratch, disk, images, make, mirror, quiet, room};
use crate::shell::install;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What GRUB's maker of CDs needs: a file of each package. Two packages have no program to look for.
#[rustfmt::skip]
const TOOLS: &[(&str, &str)] = &[
    ("grub-mkrescue",                       "grub-common"),
    ("/usr/lib/grub/i386-pc/boot.img",      "grub-pc-bin"),
    ("/usr/lib/grub/x86_64-efi/normal.mod", "grub-efi-amd64-bin"),
    ("xorriso",                             "xorriso"),
    ("mformat",                             "mtools"),
    ("faketime",                            "faketime"),
];

/// A CD: its menu, and files of one package.
struct Cd {
    name: &'static str,
    menu: &'static str,
    package: Option<&'static str>,
    /// Where a file is in the package, and on the CD.
    files: &'static [(&'static str, &'static str)],
}

#[rustfmt::skip]
const CDS: &[Cd] = &[
    Cd { name: "grub-rescue", menu: include_str!("rescue.cfg"), package: None, files: &[] },
    Cd { name: "debian-12-installer", menu: include_str!("installer.cfg"), package: Some("debian-installer-12-netboot-amd64"), files: &[
        ("usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64/linux",     "install/vmlinuz"),
        ("usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64/initrd.gz", "install/initrd.gz"),
    ] },
    Cd { name: "memtest86+", menu: include_str!("memtest.cfg"), package: Some("memtest86+"), files: &[
        ("boot/memtest86+x64.bin", "memtest.bin"),
        ("boot/memtest86+x64.efi", "memtest.efi"),
    ] },
];

/// All of them, from the cache or made.
pub fn get(fresh: bool) -> Result<Vec<PathBuf>> {
    CDS.iter().map(|cd| cd.get(fresh)).collect()
}

/// One of them.
pub fn named(name: &str) -> Result<PathBuf> {
    CDS.iter().find(|cd| cd.name == name).with_context(|| format!("no CD {name}"))?.get(false)
}

impl Cd {
    fn get(&self, fresh: bool) -> Result<PathBuf> {
        let file = images()?.join(format!("{}.iso", self.name));
        make(&file, fresh, |part| {
            install(TOOLS)?;
            room(&images()?, 500)?;
            let work = Scratch::new("cd")?;
            let grub = work.0.join("boot/grub");
            std::fs::create_dir_all(&grub)?;
            let menu = self.menu.replace("@ROOT@", disk::ROOT_UUID);
            std::fs::write(grub.join("grub.cfg"), menu)?;
            if let Some(package) = self.package {
                mirror::unpack(package, |from| self.copy(from, &work.0))?;
            }
            println!("making {}.iso", self.name);
            // It names the CD by the time of day.
            let mut command = Command::new("faketime");
            command.env("SOURCE_DATE_EPOCH", EPOCH.to_string()).env("TZ", "UTC");
            command.args(["-f", EPOCH_TEXT, "grub-mkrescue"]);
            command.args(["--locales=", "--themes=", "-o"]).arg(part).arg(&work.0);
            quiet(command.args(["--", "-volid", "REPRISE"])).map(drop)
        })?;
        Ok(file)
    }

    fn copy(&self, from: &Path, to: &Path) -> Result<()> {
        for (source, target) in self.files {
            let target = to.join(target);
            std::fs::create_dir_all(target.parent().unwrap_or(to))?;
            std::fs::copy(from.join(source), target)
                .with_context(|| format!("{} has no {source}", self.package.unwrap_or_default()))?;
        }
        Ok(())
    }
}
