//! `cargo xtask bench`: the same guests on a peer and on ours, in turn, beside the host itself.
//!
//! The host's clock stamps the marks that a guest prints, so no guest clock is trusted. All answers to a piece of work must
//! be the same.

mod figures;
mod marks;
mod picture;
mod programs;
mod report;
mod workloads;

pub use figures::{geometric, median};

use crate::shell::{flag, is_there, no_more, number, output, split, status, value};
use anyhow::{Context, Result, bail, ensure};
use boot_tests::place;
use marks::Runs;
use programs::Programs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use workloads::Workloads;

/// A piece of work, and what it is counted among.
#[derive(Clone)]
pub struct Case {
    pub family: &'static str,
    pub name: String,
}

/// What one boot of a machine measures.
trait Set {
    fn name(&self) -> &'static str;
    /// The boot itself comes first, then all else in the order of the marks.
    fn cases(&self) -> Vec<Case>;
    /// Downloads and makes what is not there yet.
    fn prepare(&mut self) -> Result<()>;
    /// The host's own processor does the same, where it can.
    fn on_host(&self, names: &[String], runs: &mut Runs) -> Result<()>;
    fn boot(&self, command: &[String], names: &[String], runs: &mut Runs) -> Result<()>;
}

struct Options {
    sets: Vec<Box<dyn Set>>,
    reps: u64,
    only: Option<String>,
    ours: Option<String>,
    peer: Option<String>,
    picture: Option<PathBuf>,
}

/// Who runs the guests: a name, a command, and what came of it.
pub struct Column {
    pub who: &'static str,
    command: Vec<String>,
    pub runs: Runs,
}

impl Column {
    /// The program's name, without where it is.
    fn program(&self) -> String {
        let path = Path::new(self.command.first().map_or("", |w| w));
        path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

pub fn run(args: &[String]) -> Result<ExitCode> {
    let mut options = parse(args)?;
    let chosen: Vec<_> = choose(&options.sets, options.only.as_deref())?;
    let mut columns = columns(&options)?;
    if options.picture.is_some() {
        ensure!(columns.len() == 2, "--picture: its bars are ratios to a peer, and there is none");
    }
    for (set, _) in options.sets.iter_mut().zip(&chosen).filter(|(_, cases)| !cases.is_empty()) {
        set.prepare()?;
    }
    let mut native = Runs::default();
    for rep in 1..=options.reps {
        for (set, cases) in options.sets.iter().zip(&chosen).filter(|(_, c)| !c.is_empty()) {
            let names: Vec<_> = cases.iter().skip(1).map(|c| c.name.clone()).collect();
            println!("round {rep} of {}: {}, the host itself", options.reps, set.name());
            set.on_host(&names, &mut native).context("on the host itself")?;
            for column in &mut columns {
                println!("round {rep} of {}: {}, {}", options.reps, set.name(), column.who);
                set.boot(&column.command, &names, &mut column.runs)?;
            }
        }
    }
    let rows = report::rows(&chosen.concat(), &native, &columns);
    report::print(&rows);
    if let Some(file) = &options.picture {
        let text = picture::svg(&rows, &columns[0].program());
        std::fs::write(file, text).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(status(rows.iter().all(|r| r.right != Some(false))))
}

fn parse(args: &[String]) -> Result<Options> {
    let mut words = args.to_vec();
    let mut options = Options {
        sets: Vec::new(),
        reps: number(&mut words, "--reps", 3)?,
        only: value(&mut words, "--only")?,
        ours: value(&mut words, "--ours")?,
        peer: value(&mut words, "--peer")?,
        picture: value(&mut words, "--picture")?.map(PathBuf::from),
    };
    if flag(&mut words, "--no-peer") {
        options.peer = Some(String::new());
    }
    let cpu = value(&mut words, "--cpu")?;
    let mut named = |name: &str| flag(&mut words, name);
    let (programs, all) = (named("--programs") | named("programs"), named("all"));
    no_more(&words)?;
    ensure!(options.reps > 0, "--reps 0: expected 1 or more");
    let ends_well = |f: &PathBuf| f.extension().is_some_and(|e| e == "svg");
    if let Some(file) = options.picture.as_ref().filter(|f| !ends_well(f)) {
        bail!("--picture {}: expected a name that ends in .svg", file.display());
    }
    if !programs || all {
        options.sets.push(Box::new(Workloads::new(cpu.as_deref())?));
    }
    if programs || all {
        options.sets.push(Box::new(Programs::new(cpu.as_deref())));
    }
    Ok(options)
}

/// The cases of each set that are wanted, its boot among them; none, if nothing else is.
fn choose(sets: &[Box<dyn Set>], only: Option<&str>) -> Result<Vec<Vec<Case>>> {
    let all: Vec<_> = sets.iter().map(|s| s.cases()).collect();
    let Some(only) = only else { return Ok(all) };
    let wanted: Vec<_> = only.split(',').collect();
    let there = |name: &&str| all.iter().flatten().any(|c| c.name == *name);
    if let Some(name) = wanted.iter().find(|n| !there(n)) {
        let names: Vec<_> = all.iter().flatten().map(|c| c.name.as_str()).collect();
        bail!("--only {name}: there is no such row; there are {}", names.join(" "));
    }
    let pick = |cases: Vec<Case>| {
        let is_wanted = |c: &Case| wanted.contains(&c.name.as_str());
        let any = cases.iter().any(is_wanted);
        let keep = |(n, c): (usize, Case)| (any && (n == 0 || is_wanted(&c))).then_some(c);
        cases.into_iter().enumerate().filter_map(keep).collect()
    };
    Ok(all.into_iter().map(pick).collect())
}

/// The peer, if it is there, and ours.
fn columns(options: &Options) -> Result<Vec<Column>> {
    let mut columns = Vec::new();
    let mut add = |who, command| columns.push(Column { who, command, runs: Runs::default() });
    let peer = split(options.peer.as_deref().unwrap_or("qemu-system-x86_64"));
    match peer.first() {
        None => {}
        Some(name) if is_there(name) => add("peer", peer),
        Some(name) => println!("no peer: {name} is not on this machine; only ours is measured"),
    }
    let ours = match &options.ours {
        Some(words) => split(words),
        None => place::reprise()?.to_vec(),
    };
    match ours.first() {
        Some(name) if is_there(name) => add("ours", ours),
        name => bail!("--ours {}: no such program", name.map_or("", |n| n)),
    }
    Ok(columns)
}

/// A program of tests/bench, for x86-64 Linux, static.
pub fn static_program(name: &str) -> Result<PathBuf> {
    let dir = place::target().join("bench");
    std::fs::create_dir_all(&dir)?;
    let file = dir.join(name);
    let source = place::root().join("tests/bench").join(name).with_extension("rs");
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args(["--edition", "2024", "-C", "opt-level=3", "-C", "target-feature=+crt-static"]);
    rustc.args(["--target", "x86_64-unknown-linux-gnu", "-C", "strip=symbols", "-o"]);
    // Another one may build it, too, or run it.
    let part = dir.join(format!("new-{}-{name}", std::process::id()));
    output(rustc.arg(&part).arg(source))?;
    std::fs::rename(&part, &file).with_context(|| format!("writing {}", file.display()))?;
    Ok(file)
}
