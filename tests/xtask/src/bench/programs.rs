//! Real programs in Debian, from power-on to the prompt and to the end. `tests/bench/programs` has what they do.
//!
//! The host runs the same programs, of the same Debian: in a name space of its own in which the unpacked image's archive is
//! the root file system.

use super::marks::{LIMIT, Runs};
use super::{Case, Set};
use crate::image::{Scratch, debian};
use crate::shell::{output, split};
use anyhow::{Context, Result};
use boot_tests::machine::now;
use boot_tests::{Machine, place};
use std::path::{Path, PathBuf};
use std::process::Command;

const OPTIONS: &str = "-M q35 -m 1024 -snapshot";
const PROMPT: &str = "root@reprise:~# ";

/// What each program is counted among, in the order in which they run. The first is no program.
#[rustfmt::skip]
const CASES: &[(&str, &str)] = &[
    ("boot",     "login"),
    ("programs", "python"),
    ("programs", "perl"),
    ("programs", "gcc"),
    ("programs", "sqlite"),
    ("programs", "git"),
    ("programs", "gzip"),
    ("programs", "xz"),
    ("crypto",   "sha256"),
    ("crypto",   "aes"),
    ("crypto",   "rsa"),
];

pub struct Programs {
    cpu: Option<String>,
    image: PathBuf,
    /// The host's root file system for the same programs, if it can have one.
    root: Option<Scratch>,
}

impl Programs {
    pub fn new(cpu: Option<&str>) -> Programs {
        Programs { cpu: cpu.map(str::to_owned), image: PathBuf::new(), root: None }
    }
}

impl Set for Programs {
    fn name(&self) -> &'static str {
        "programs"
    }

    fn cases(&self) -> Vec<Case> {
        CASES.iter().map(|(family, name)| Case { family, name: (*name).to_owned() }).collect()
    }

    fn prepare(&mut self) -> Result<()> {
        self.image = debian::get(true, 4, false)?;
        match root() {
            Ok(root) => self.root = Some(root),
            Err(why) => println!("the host itself is not measured: {why:#}"),
        }
        Ok(())
    }

    fn on_host(&self, names: &[String], runs: &mut Runs) -> Result<()> {
        match &self.root {
            Some(root) => runs.of_command(in_root(&root.0).args(names), names),
            None => Ok(()),
        }
    }

    fn boot(&self, command: &[String], names: &[String], runs: &mut Runs) -> Result<()> {
        let drive = format!("file={},format=raw,if=virtio", self.image.display());
        let machine = Machine::serial(command).args(split(OPTIONS)).args(["-drive", &drive]);
        let cpu = self.cpu.iter().flat_map(|c| ["-cpu", c]);
        let start = now();
        let mut running = machine.args(cpu).boot()?;
        running.wait_for("reprise login: ", LIMIT)?;
        runs.note("login", start, now(), "-")?;
        running.send("root\n")?;
        running.wait_for(PROMPT, LIMIT)?;
        // What still starts, would run beside the first program; what the kernel says, between the marks.
        running.command("systemctl is-system-running --wait; dmesg -n 1", PROMPT, LIMIT)?;
        running.send(&format!("sh /opt/bench/run {}\n", names.join(" ")))?;
        runs.of_machine(&mut running, names)?;
        running.wait_for(PROMPT, LIMIT)?;
        running.send("poweroff\n")?;
        running.expect_exit(0, LIMIT).context("after the last program")
    }
}

/// The image's files, unpacked on the host; its devices are the host's.
fn root() -> Result<Scratch> {
    let archive = debian::archive(true, false)?;
    println!("unpacking Debian for the host itself");
    let root = Scratch::new("native")?;
    let mut tar = Command::new("tar");
    tar.args(["--zstd", "-x", "-p", "--no-same-owner", "--exclude=./dev/*", "-f"]);
    output(tar.arg(archive).arg("-C").arg(&root.0))?;
    let bench = root.0.join("opt/bench");
    std::fs::create_dir_all(&bench)?;
    for entry in std::fs::read_dir(debian::bench_dir())? {
        let entry = entry?;
        std::fs::copy(entry.path(), bench.join(entry.file_name()))?;
    }
    output(&mut in_root(&root.0)).context("a root of its own (unshare)")?;
    Ok(root)
}

/// Runs the programs that are added as words; none, without any.
fn in_root(root: &Path) -> Command {
    let script = "mount --rbind /dev \"$0/dev\" && exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin \
                  chroot \"$0\" sh /opt/bench/run \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]).arg(root);
    command.current_dir(place::root());
    command
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn each_program_has_its_file() {
        for (family, name) in &CASES[1..] {
            let file = debian::bench_dir().join(name).with_extension("sh");
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            assert!(text.contains("prepare()") && text.contains("work()"), "{family} {name}");
        }
    }
}
