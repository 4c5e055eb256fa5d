//! `columns`: random instructions in all columns, and every difference.
//!
//! columns [--seed N] [--runs N] [--bits 64,32,16] [--rows a,b] [--columns native,interp,baseline,jit,cranelift] [--blocks]
//!         [--states N] [--stop K] [--counts] [--record FILE] [--replay FILE] [--list] [--all] [--speed]

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;
use tests::case::{Case, End, Outcome};
use tests::columns::{self, Column};
use tests::generate::{Generator, Row, rows_of};
use tests::mode::Mode;
use tests::{policy, text};

struct Options {
    seed: u64,
    runs: u64,
    /// Cases in a row with the same code.
    states: u64,
    /// Sizes of code.
    modes: Vec<Mode>,
    rows: Vec<String>,
    columns: Vec<String>,
    blocks: bool,
    stop: u64,
    counts: bool,
    speed: bool,
    list: bool,
    /// Also rows that the emulator does not have (they are #UD there).
    all: bool,
    record: Option<String>,
    replay: Option<String>,
}

fn options() -> Result<Options, String> {
    let mut o = Options {
        seed: 1,
        runs: 100_000,
        states: 32,
        modes: Mode::ALL.to_vec(),
        rows: Vec::new(),
        columns: columns::NAMES.map(str::to_owned).to_vec(),
        blocks: false,
        stop: 20,
        counts: false,
        speed: false,
        list: false,
        all: false,
        record: None,
        replay: None,
    };
    let mut args = std::env::args().skip(1);
    while let Some(a) = args.next() {
        let mut value = || args.next().ok_or(format!("{a}: expected a value"));
        let number = |v: String| v.parse().map_err(|_| format!("{v}: expected a number"));
        let list = |v: String| v.split(',').map(str::to_owned).collect();
        match a.as_str() {
            "--seed" => o.seed = number(value()?)?,
            "--runs" => o.runs = number(value()?)?,
            "--states" => o.states = number(value()?)?.max(1),
            "--stop" => o.stop = number(value()?)?,
            "--bits" => {
                let mode =
                    |v: &str| Mode::of_bits(v).ok_or_else(|| format!("{v}: expected 64, 32 or 16"));
                o.modes = value()?.split(',').map(mode).collect::<Result<_, _>>()?;
            }
            "--rows" => o.rows = list(value()?),
            "--columns" => o.columns = list(value()?),
            "--blocks" => o.blocks = true,
            "--counts" => o.counts = true,
            "--all" => o.all = true,
            "--speed" => o.speed = true,
            "--list" => o.list = true,
            "--record" => o.record = Some(value()?),
            "--replay" => o.replay = Some(value()?),
            _ => return Err(format!("{a}: no such option; see the head of columns.rs")),
        }
    }
    Ok(o)
}

fn main() -> ExitCode {
    match options().and_then(|o| work(&o)) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(n) => {
            println!("{n} differences");
            ExitCode::FAILURE
        }
        Err(e) => {
            eprintln!("columns: {e}");
            ExitCode::from(2)
        }
    }
}

fn work(o: &Options) -> Result<u64, String> {
    let mut makers = Vec::new();
    let modes = runnable(o)?;
    if modes.is_empty() {
        // It has been said why.
        return Ok(0);
    }
    for mode in modes {
        let rows = chosen(o, mode);
        if o.list {
            rows.iter().for_each(|r| println!("{:2} {:?}", mode.bits(), r.code));
        }
        if !rows.is_empty() {
            let mut g = Generator::of(mode, rows);
            g.states = if o.record.is_some() { 1 } else { o.states };
            makers.push((mode, g));
        }
    }
    if makers.is_empty() {
        return Err(format!("{}: no such mnemonic or code", o.rows.join(", ")));
    }
    if o.list {
        return Ok(0);
    }
    if let Some(file) = &o.record {
        return record(&mut makers, o, file).map(|()| 0);
    }
    let mut open = Vec::new();
    for c in &o.columns {
        open.push(columns::open(c)?);
    }
    if let Some(file) = &o.replay {
        return replay(file, &mut open, o.stop);
    }
    if o.speed {
        for (mode, g) in &mut makers {
            println!("{}-bit code", mode.bits());
            speed(g, &mut open, o);
        }
        return Ok(0);
    }
    compare(&mut makers, &mut open, o)
}

fn uses_host(o: &Options) -> bool {
    o.columns.iter().any(|c| c == "native") || o.record.is_some()
}

/// The sizes of code that are asked for and that the host can run, if it has to.
fn runnable(o: &Options) -> Result<Vec<Mode>, String> {
    #[cfg_attr(not(all(target_os = "linux", target_arch = "x86_64")), allow(unused_mut))]
    let mut modes = o.modes.clone();
    if uses_host(o) {
        drop(columns::open("native")?);
        modes.retain(|m| columns::host_runs(*m).map_err(|e| println!("not run: {e}")).is_ok());
    }
    Ok(modes)
}

/// The rows of a size of code that are asked for.
fn chosen(o: &Options, mode: Mode) -> Vec<Row> {
    let named = |r: &Row| {
        let m = format!("{:?}", r.mnemonic).to_lowercase();
        let c = format!("{:?}", r.code).to_lowercase();
        o.rows.is_empty() || o.rows.iter().any(|n| *n == m || *n == c)
    };
    let mut rows: Vec<Row> = rows_of(mode, uses_host(o)).into_iter().filter(named).collect();
    if !o.all && o.record.is_none() && o.columns.iter().any(|c| c == "interp" || c == "jit") {
        let before = rows.len();
        rows.retain(|r| tests::emulator::has(r.mnemonic));
        let have = rows.len();
        println!("{}-bit: {have} of {before} forms have a meaning in the emulator", mode.bits());
    }
    rows
}

/// How long a column takes for a case, without making the case: 4096 cases over and over.
fn speed(g: &mut Generator, open: &mut [Box<dyn Column>], o: &Options) {
    for c in open {
        let mut make = |i| if o.blocks { g.block(o.seed, i) } else { g.single(o.seed, i) };
        let all: Vec<Case> = (0..4096).map(&mut make).collect();
        let (quiet, faulting): (Vec<Case>, Vec<Case>) =
            all.into_iter().partition(|case| c.run(case).end == End::Done);
        for (name, cases) in [("without", &quiet), ("with", &faulting)] {
            let start = Instant::now();
            let runs = o.runs.min(1_000_000) as usize;
            cases.iter().cycle().take(runs).for_each(|case| drop(c.run(case)));
            let each = start.elapsed().as_secs_f64() / runs as f64;
            println!("{}: {:.3} us a case {name} a fault", c.name(), each * 1e6);
        }
    }
}

/// What was seen of a mnemonic: runs, faults, differences.
#[derive(Default)]
struct Count {
    runs: u64,
    faults: u64,
    differences: u64,
}

/// Random cases in all columns; the first is taken to be right.
fn compare(
    makers: &mut [(Mode, Generator)],
    open: &mut [Box<dyn Column>],
    o: &Options,
) -> Result<u64, String> {
    let share = shares(makers);
    let by_host = open.first().is_some_and(|c| c.name() == "native");
    let start = Instant::now();
    let mut counts: BTreeMap<String, Count> = BTreeMap::new();
    let (mut found, mut faults, mut runs, mut instructions) = (0, 0, 0, 0);
    for index in 0..o.runs {
        let (_, g) = &mut makers[share[(index / o.states) as usize % share.len()]];
        let case = if o.blocks { g.block(o.seed, index) } else { g.single(o.seed, index) };
        let (right, others) = open.split_first_mut().ok_or("no columns")?;
        let want = right.run(&case);
        runs += 1;
        instructions += case.count;
        let fault = want.end != End::Done;
        faults += u64::from(fault);
        // With one column only, it must at least agree with itself.
        let mut bad = None;
        if others.is_empty() {
            let again = right.run(&case);
            if again != want {
                bad = Some((right.name(), again));
            }
        }
        let mut want = want;
        for (n, other) in others.iter_mut().enumerate() {
            let got = other.run(&case);
            if n == 0 && by_host && policy::by_maker(&case, fault || got.end != End::Done) {
                want = got;
                continue;
            }
            if bad.is_none() && !columns::differences(&case, &want, &got).is_empty() {
                bad = Some((other.name(), got));
            }
        }
        if o.counts || bad.is_some() {
            count(&mut counts, &case, fault, bad.is_some());
        }
        if let Some((name, got)) = bad {
            found += 1;
            show(&case, open, name, &want, &got);
            if found >= o.stop {
                break;
            }
        }
        if index % (1 << 20) == (1 << 20) - 1 {
            eprintln!("{} runs, {found} differences", index + 1);
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    if o.counts {
        println!("{:16} {:>8} {:>8} {:>8}", "mnemonic", "runs", "faults", "differ");
        for (m, c) in &counts {
            println!("{m:16} {:8} {:8} {:8}", c.runs, c.faults, c.differences);
        }
    }
    println!(
        "{runs} runs, {instructions} instructions of {} forms, {faults} faults, {:.0} runs a second",
        makers.iter().map(|(_, g)| g.rows().len()).sum::<usize>(),
        runs as f64 / seconds
    );
    Ok(found)
}

/// Which maker makes which of the cases, over and over: five of eight are 64-bit code, two 32-bit code.
fn shares(makers: &[(Mode, Generator)]) -> Vec<usize> {
    let weight = |m: Mode| match m {
        Mode::Bits64 => 5,
        Mode::Bits32 => 2,
        Mode::Bits16 => 1,
    };
    let each = makers.iter().enumerate();
    each.flat_map(|(n, (m, _))| std::iter::repeat_n(n, weight(*m))).collect()
}

fn count(counts: &mut BTreeMap<String, Count>, case: &Case, fault: bool, differs: bool) {
    for i in policy::instructions(case) {
        let c = counts.entry(format!("{:?}", i.mnemonic()).to_lowercase()).or_default();
        c.runs += 1;
        c.faults += u64::from(fault);
        c.differences += u64::from(differs);
    }
}

/// Prints a difference, as small as it can be made.
fn show(case: &Case, open: &mut [Box<dyn Column>], name: &str, want: &Outcome, got: &Outcome) {
    let (right, others) = open.split_first_mut().expect("a difference needs a column");
    let Some(other) = others.iter_mut().find(|c| c.name() == name) else {
        print!("{}", columns::report(case, (name, want), (name, got)));
        return;
    };
    let small = columns::shrink(case, &mut **right, &mut **other);
    let (w, g) = (right.run(&small), other.run(&small));
    if columns::differences(&small, &w, &g).is_empty() {
        // It differs only when run again: then the case as it was is all we can show.
        print!("{}", columns::report(case, (right.name(), want), (name, got)));
    } else {
        print!("{}", columns::report(&small, (right.name(), &w), (name, &g)));
    }
}

/// Writes what the host does with a few instances of every row; outside of 64-bit mode one is enough, the meanings are
/// the same.
fn record(makers: &mut [(Mode, Generator)], o: &Options, file: &str) -> Result<(), String> {
    let mut native = columns::open("native")?;
    let (mut out, mut cases) = (Vec::new(), 0);
    for (mode, g) in makers {
        let per_row = if mode.is_64() { 3 } else { 1 };
        for row in 0..g.rows().len() {
            for index in 0..per_row {
                let case = g.of_row(row, o.seed, index * 256 + row as u64 % 256);
                let outcome = native.run(&case);
                let _ = writeln!(out, "{}", text::line(&case, Some(&outcome)));
                cases += 1;
            }
        }
    }
    std::fs::write(file, &out).map_err(|e| format!("{file}: {e}"))?;
    println!("{cases} cases, {} bytes", out.len());
    Ok(())
}

/// Runs the lines of a file in all columns.
fn replay(file: &str, open: &mut [Box<dyn Column>], stop: u64) -> Result<u64, String> {
    let content = std::fs::read_to_string(file).map_err(|e| format!("{file}: {e}"))?;
    let mut found = 0;
    for c in open {
        let bad = tests::lines::failures(&content, &mut **c)?;
        bad.iter().take(stop as usize).for_each(|b| println!("{b}"));
        found += bad.len() as u64;
    }
    Ok(found)
}
