//! Commands, packages, words of a command line.

use anyhow::{Context, Result, bail};
use boot_tests::place;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

pub fn status(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The cargo that runs us.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(place::root());
    command
}

/// Runs a command with our own input and output; true if it ended well.
pub fn good(command: &mut Command) -> Result<bool> {
    let name = command.get_program().to_string_lossy().into_owned();
    Ok(command.status().with_context(|| format!("starting {name}"))?.success())
}

/// A command's output; an error with its last words if it ends badly.
pub fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let out = command.stdin(Stdio::null()).output().with_context(|| format!("starting {name}"))?;
    if !out.status.success() {
        bail!("{name}: {}", String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// Whether there is such a program, or a file if the name is a path.
pub fn is_there(name: &str) -> bool {
    match name.contains('/') {
        true => std::path::Path::new(name).is_file(),
        false => place::program(name).is_some(),
    }
}

/// Installs Debian packages that bring the missing ones of these programs (or files, by their paths). As root, or by sudo if it asks nothing.
pub fn install(needs: &[(&str, &str)]) -> Result<()> {
    let missing: Vec<_> = needs.iter().filter(|(name, _)| !is_there(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    packages.dedup();
    let list = packages.join(" ");
    if place::program("apt-get").is_none() {
        bail!("needs {list} (Debian's names); there is no apt-get here to install them with");
    }
    let root = output(Command::new("id").arg("-u"))?.trim() == "0";
    let sudo = place::program("sudo").is_some()
        && output(Command::new("sudo").args(["-n", "true"])).is_ok();
    if !root && !sudo {
        bail!("needs {list}: run 'apt-get install {list}' as root");
    }
    println!("installing {list}");
    let apt = |words: &[&str]| {
        let mut command = Command::new(if root { "apt-get" } else { "sudo" });
        if !root {
            command.args(["-n", "apt-get"]);
        }
        output(command.env("DEBIAN_FRONTEND", "noninteractive").args(words))
    };
    let wanted =
        [&["install", "-y", "-q", "--no-install-recommends"], packages.as_slice()].concat();
    if apt(&wanted).is_err() {
        apt(&["update", "-q"])?;
        apt(&wanted)?;
    }
    Ok(())
}

/// Takes `--name VALUE` out of the words.
pub fn value(words: &mut Vec<String>, name: &str) -> Result<Option<String>> {
    let Some(at) = words.iter().position(|w| w == name) else { return Ok(None) };
    if at + 1 == words.len() {
        bail!("{name}: expected a value after it");
    }
    words.remove(at);
    Ok(Some(words.remove(at)))
}

/// As [`value`], for a number.
pub fn number(words: &mut Vec<String>, name: &str, default: u64) -> Result<u64> {
    match value(words, name)? {
        None => Ok(default),
        Some(text) => text.parse().with_context(|| format!("{name} {text}: expected a number")),
    }
}

/// Takes a flag out of the words.
pub fn flag(words: &mut Vec<String>, name: &str) -> bool {
    let before = words.len();
    words.retain(|w| w != name);
    words.len() != before
}

/// All words must be used up.
pub fn no_more(words: &[String]) -> Result<()> {
    match words.first() {
        Some(word) => bail!("{word}: not expected here; see cargo xtask help"),
        None => Ok(()),
    }
}

/// Words of a command written as one text.
pub fn split(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// All files below `dir` that belong to the tree, by their names from its root, in order.
pub fn files(dir: &Path) -> Vec<String> {
    fn walk(root: &Path, dir: &Path, found: &mut Vec<String>) {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        for entry in entries {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            if matches!(&*name, "target" | ".git") || name.ends_with('~') {
                continue;
            }
            match entry.file_type() {
                Ok(t) if t.is_dir() => walk(root, &path, found),
                Ok(t) if t.is_file() => {
                    let name = path.strip_prefix(root).unwrap_or(&path);
                    found.push(name.to_string_lossy().into_owned());
                }
                _ => {}
            }
        }
    }
    let mut found = Vec::new();
    walk(dir, dir, &mut found);
    found.sort();
    found
}
