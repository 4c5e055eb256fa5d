//! Drivers of Debian's kernel for PCs, as modules for an initial RAM file system: those named and all that they need, in
//! the order in which they load.

use crate::debian::{self, KERNELS};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What tests use of the machine's devices.
const WANTED: &[&str] = &[
    "ata_piix",
    "ahci",
    "sd_mod",
    "sr_mod",
    "virtio_pci",
    "virtio_blk",
    "virtio_rng",
    "virtio_console",
    "ext4",
    "isofs",
    "pcspkr",
    "psmouse",
];

/// A kernel for PCs, and an initial RAM file system with drivers for disks and more programs.
pub fn get(programs: &[(&str, Vec<u8>)], say: &mut dyn FnMut(&str)) -> Result<debian::Debian> {
    let kernel = debian::kernel(KERNELS[1], say)?;
    let modules = modules(say)?;
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    let order: String = modules.iter().map(|m| format!("{}\n", m.0)).collect();
    files.push(("etc/modules".into(), order.into_bytes()));
    files.extend(modules.into_iter().map(|(name, bytes)| (format!("lib/{name}.ko"), bytes)));
    let bytes = debian::initramfs_with(&debian::busybox(say)?, programs, &files);
    let initrd = debian::cached("initrd-drivers.cpio")?;
    debian::replace(&initrd, &bytes)?;
    Ok(debian::Debian { kernel, initrd })
}

/// The modules by name, with their contents.
fn modules(say: &mut dyn FnMut(&str)) -> Result<Vec<(String, Vec<u8>)>> {
    let tree = debian::tree(KERNELS[1], "lib/modules", say)?;
    let mut all = BTreeMap::new();
    find(tree, &mut all)?;
    let mut order = Vec::new();
    WANTED.iter().try_for_each(|name| need(name, &all, &mut order))?;
    Ok(order)
}

fn find(dir: PathBuf, all: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(&dir).with_context(|| format!("reading {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() && !path.is_symlink() {
            find(path, all)?;
        } else if let Some(name) = path.file_name().and_then(|n| n.to_str()?.strip_suffix(".ko")) {
            all.insert(name.replace('-', "_"), path);
        }
    }
    Ok(())
}

/// Puts a module behind all that it needs. One that is not there is built into the kernel.
fn need(
    name: &str,
    all: &BTreeMap<String, PathBuf>,
    order: &mut Vec<(String, Vec<u8>)>,
) -> Result<()> {
    let name = name.replace('-', "_");
    let Some(path) = all.get(&name).filter(|_| !order.iter().any(|o| o.0 == name)) else {
        return Ok(());
    };
    let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    for key in ["depends=", "softdep=pre: "] {
        for other in info(&bytes, key).split([',', ' ']).filter(|n| !n.is_empty()) {
            need(other, all, order)?;
        }
    }
    order.push((name, bytes));
    Ok(())
}

/// A value of a module's `.modinfo`: strings that end with a zero byte.
fn info(module: &[u8], key: &str) -> String {
    let wanted = format!("\0{key}");
    let at = module.windows(wanted.len()).position(|w| w == wanted.as_bytes());
    let rest = at.map_or(&[][..], |at| &module[at + wanted.len()..]);
    let end = rest.iter().position(|b| *b == 0).unwrap_or(0);
    String::from_utf8_lossy(&rest[..end]).into_owned()
}
