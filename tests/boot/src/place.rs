//! Where things are: the source tree, the cache, programs, the emulator under test.

use anyhow::{Context, Result, bail};
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The source tree. A test program is started by cargo, which says where it is; so no path is built in.
pub fn root() -> PathBuf {
    let start = env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| ".".into(), PathBuf::from);
    let start = start.canonicalize().unwrap_or(start);
    let is_root = |dir: &&Path| dir.join("cpu").is_dir() && dir.join("roms").is_dir();
    start.ancestors().find(is_root).unwrap_or(&start).to_path_buf()
}

/// Where cargo builds.
pub fn target() -> PathBuf {
    root().join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// Where downloads and guests are kept: `$XDG_CACHE_HOME/reprise` or `~/.cache/reprise`.
pub fn cache() -> Result<PathBuf> {
    let base = match (env::var_os("XDG_CACHE_HOME"), env::var_os("HOME")) {
        (Some(dir), _) if Path::new(&dir).is_absolute() => PathBuf::from(dir),
        (_, Some(home)) => Path::new(&home).join(".cache"),
        _ => bail!("neither XDG_CACHE_HOME nor HOME is set: no place for a cache"),
    };
    let dir = base.join("reprise");
    std::fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
    Ok(dir)
}

/// A new directory for one run, below the target directory; short enough for a socket's path.
pub fn scratch(name: &str) -> Result<PathBuf> {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let n = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let dir = env::temp_dir().join(format!("reprise-{name}-{}-{n}", std::process::id()));
    std::fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
    Ok(dir)
}

/// A program on the `PATH`.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// The emulator under test, as words of a command.
pub fn reprise() -> Result<&'static [String]> {
    static WORDS: OnceLock<Result<Vec<String>, String>> = OnceLock::new();
    match WORDS.get_or_init(|| find_reprise().map_err(|e| format!("{e:#}"))) {
        Ok(words) => Ok(words),
        Err(why) => bail!("{why}"),
    }
}

fn find_reprise() -> Result<Vec<String>> {
    if let Ok(words) = env::var("REPRISE") {
        let words: Vec<_> = words.split_whitespace().map(str::to_owned).collect();
        if words.is_empty() {
            bail!("REPRISE is set, but empty: expected a program and perhaps arguments");
        }
        return Ok(words);
    }
    let file = build_reprise()?;
    Ok(vec![file.to_str().context("the path of the source tree is not UTF-8")?.to_owned()])
}

/// Builds the emulator for release.
pub fn build_reprise() -> Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--release", "--package", "ui", "--bin", "reprise"])
        .current_dir(root())
        .status()
        .context("starting cargo")?;
    if !status.success() {
        bail!("reprise did not build");
    }
    Ok(target().join("release").join("reprise"))
}

/// Whether the program under test is ours, and not a peer put in its place.
pub fn is_ours() -> bool {
    reprise().is_ok_and(|words| !words.iter().any(|w| w.contains("qemu-system")))
}
