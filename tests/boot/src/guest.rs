//! The test guest of `roms/guest`, built by rustc alone: nothing else is needed on an x86-64 host.

use crate::place;
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// The guest's file, built once.
pub fn get() -> Result<PathBuf> {
    static FILE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    FILE.get_or_init(|| build().map_err(|e| format!("{e:#}"))).clone().map_err(anyhow::Error::msg)
}

/// Hosts that are not x86-64 need the target's library: `rustup target add x86_64-unknown-linux-gnu`.
const TARGET: &str = "x86_64-unknown-linux-gnu";

fn build() -> Result<PathBuf> {
    let source = place::root().join("roms/guest");
    let dir = place::target().join("guest");
    std::fs::create_dir_all(&dir)?;
    let (file, new) = (dir.join("guest"), dir.join(format!("guest.{}", std::process::id())));
    let output = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--edition", "2024", "--crate-name", "guest", "--crate-type", "bin"])
        .args(["--target", TARGET, "-C", "opt-level=2", "-C", "panic=abort"])
        .args(["-C", "relocation-model=static", "-C", "codegen-units=1", "-C", "strip=debuginfo"])
        .args(["-C", "linker=rust-lld", "-C", "linker-flavor=ld.lld"])
        .args(["-C", "link-arg=--build-id=none"])
        .arg("-C")
        .arg(format!("link-arg=-T{}", source.join("link.ld").display()))
        .arg("--remap-path-prefix")
        .arg(format!("{}=guest", source.display()))
        .arg("-o")
        .arg(&new)
        .arg(source.join("src/main.rs"))
        .output()
        .context("starting rustc")?;
    if !output.status.success() {
        bail!("building roms/guest:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    std::fs::rename(&new, &file)?;
    Ok(file)
}
