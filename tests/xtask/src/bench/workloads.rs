//! Our own workloads in Debian's kernel, with an initial RAM disk that has nothing else: one trait of a processor or of a
//! system each. `tests/bench/workloads.rs` has them.

use super::marks::{LIMIT, Runs};
use super::{Case, Set, static_program};
use crate::shell::{output, split};
use anyhow::{Context, Result};
use boot_tests::machine::now;
use boot_tests::{Machine, debian, place};
use std::path::PathBuf;
use std::process::Command;

/// A PC with enough memory, the same for both.
const OPTIONS: &str = "-M q35 -no-reboot -m 1024";

/// What each workload is counted among.
#[rustfmt::skip]
const FAMILIES: &[(&str, &[&str])] = &[
    ("boot", &["boot"]),
    ("int",  &["sieve", "sort", "divide", "calls", "bytes", "chase", "copy", "text"]),
    ("fp",   &["matrix", "orbit", "vector"]),
    ("sys",  &["fault", "syscall", "fork", "exec", "pipe"]),
];

pub struct Workloads {
    program: PathBuf,
    cases: Vec<Case>,
    cpu: String,
    files: Option<(PathBuf, PathBuf)>,
}

impl Workloads {
    pub fn new(cpu: Option<&str>) -> Result<Workloads> {
        let program = static_program("workloads")?;
        let list = output(Command::new(&program).arg("list"))?;
        let cases = std::iter::once("boot").chain(list.lines()).map(case).collect::<Result<_>>()?;
        let cpu = cpu.unwrap_or("max").to_owned();
        Ok(Workloads { program, cases, cpu, files: None })
    }
}

fn case(name: &str) -> Result<Case> {
    let family = FAMILIES.iter().find(|(_, names)| names.contains(&name));
    let (family, _) = family.with_context(|| {
        format!("workload '{name}' has no family: give it one in bench/workloads.rs")
    })?;
    Ok(Case { family, name: name.to_owned() })
}

impl Set for Workloads {
    fn name(&self) -> &'static str {
        "workloads"
    }

    fn cases(&self) -> Vec<Case> {
        self.cases.clone()
    }

    fn prepare(&mut self) -> Result<()> {
        let files = debian::get(&mut |t| println!("{t}"))?;
        let busybox = std::fs::read(place::cache()?.join("debian/busybox"))?;
        let initrd = place::target().join("bench/initrd.cpio");
        let programs = [("workloads", std::fs::read(&self.program)?)];
        std::fs::write(&initrd, debian::initramfs(&busybox, &programs))?;
        self.files = Some((files.kernel, initrd));
        Ok(())
    }

    /// A process each, as nothing of one should warm up the next.
    fn on_host(&self, names: &[String], runs: &mut Runs) -> Result<()> {
        for name in names {
            let name = std::slice::from_ref(name);
            runs.of_command(Command::new(&self.program).args(name), name)?;
        }
        Ok(())
    }

    fn boot(&self, command: &[String], names: &[String], runs: &mut Runs) -> Result<()> {
        let (kernel, initrd) = self.files.as_ref().context("not prepared")?;
        let line = format!(
            "console=ttyS0 panic=-1 quiet run=echo,bench,end,boot,-;workloads,{};poweroff,-f",
            names.join(",")
        );
        let machine = Machine::serial(command).args(split(OPTIONS)).args(["-cpu", &self.cpu]);
        let start = now();
        let mut running = machine.kernel(kernel).initrd(initrd).append(&line).boot()?;
        running.wait_for("bench end boot ", LIMIT)?;
        runs.note("boot", start, now(), "-")?;
        runs.of_machine(&mut running, names)?;
        running.expect_exit(0, LIMIT).context("after the last workload")
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_workload_without_a_family_is_told() {
        assert_eq!(case("sieve").unwrap().family, "int");
        assert!(case("knit").err().unwrap().to_string().contains("knit"));
    }
}
