//! `fuzz-bytes`: the same random case on three machines, whose cores differ in how they run. They must end alike.

use super::{Target, code, scene};
use cpu::Activity;
use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};
use machine::config::{Board, Chipset, Config, CpuModel, DeviceSpec, Shift, Timebase};
use machine::config::{RtcBase, Topology};
use machine::devices::Props;
use machine::{Machine, Slice};
use migration::snapshot::Snapshot;
use std::fmt::Write;

/// How a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Its instructions are used up.
    Counted,
    /// A reset, or another wish of the guest's that ends it.
    Asked,
    /// No core will do anything more without input.
    Idle,
    /// Cores sleep while timers go on: how far is up to how the slices were cut.
    Asleep,
}

type Hash = Option<u128>;

struct Column {
    name: &'static str,
    machine: Machine,
}

pub struct Bytes {
    columns: Vec<Column>,
    pool: Vec<Vec<u8>>,
    /// The machine after power-on.
    fresh: Vec<u8>,
    instructions: u64,
    ends: [u64; 4],
    /// Instructions by kind of scene.
    kinds: Vec<u64>,
}

/// A machine with everything that the boards know.
pub(super) fn config(chipset: Chipset, cpus: u32, ram: u64) -> Config {
    let device = |driver| DeviceSpec::new(driver, Props::default());
    Config {
        board: Board { chipset, ..Board::default() },
        cpu: CpuModel { model: Some("max".into()), features: vec![] },
        topology: Topology { cpus, cores: cpus, ..Topology::default() },
        ram,
        serial: [0, 1, 2, 3].map(|n| Some(machine::config::Backend(n))),
        devices: vec![
            device("isa-debug-exit"),
            device("pvpanic"),
            device("pc-testdev"),
            device("pci-testdev"),
            device("isa-debugcon"),
        ],
        time: Timebase::Count { shift: Shift::Fixed(6), sleep: false, align: false },
        rtc: machine::config::Rtc { base: RtcBase::At(1_700_000_000), ..Default::default() },
        seed: Some(1),
        ..Config::default()
    }
}

impl Bytes {
    pub fn new(seed: u64) -> Result<Bytes, String> {
        // Native code is made of what ran a few times only; how few is another number for each seed.
        const NEVER: u32 = u32::MAX;
        let baseline = 1 + seed as u32 / 7 % 3;
        let thresholds = [
            ("interp", NEVER, NEVER),
            ("tier0", NEVER, NEVER),
            ("baseline", NEVER, baseline),
            ("regions", 1 + seed as u32 % 7, NEVER),
            ("native", 20 + seed as u32 % 7, baseline),
        ];
        let mut columns = Vec::new();
        for (name, threshold, baseline) in thresholds {
            let config = config(Chipset::Q35, 2, super::tables::RAM);
            let mut machine = Machine::new(config).map_err(|e| e.to_string())?;
            machine.plain = name == "interp";
            let engine = jit::Config {
                threshold,
                baseline,
                background: false,
                code_bytes: 8 << 20,
                ..jit::Config::default()
            };
            let ram = machine.world.ram.clone();
            machine.engine = jit::Engine::new(ram, engine).map_err(|e| e.to_string())?;
            machine.set_running(true);
            columns.push(Column { name, machine });
        }
        let mut fresh = Vec::new();
        columns[0].machine.save(&mut fresh).map_err(|e| e.to_string())?;
        let kinds = vec![0; scene::KINDS.len()];
        let pool = code::pool();
        Ok(Bytes { columns, pool, fresh, instructions: 0, ends: [0; 4], kinds })
    }

    /// Runs a case in one column, for so many instructions at most (0: as many as it likes). Gives its end, and what it came to
    /// if that is to be compared.
    fn run(&mut self, n: usize, case: (u64, u64), most: u64) -> Result<(End, Hash, usize), String> {
        let Column { name, machine: m } = &mut self.columns[n];
        m.until = u64::MAX;
        m.load(&mut &self.fresh[..])?;
        m.take_requests();
        let scene = scene::set(m, case.0, case.1, &self.pool);
        m.until = if most == 0 { scene.length } else { most };
        let end = run(m);
        for core in &m.cores {
            core.state.check().map_err(|e| format!("{name}: {e}"))?;
        }
        let kind = scene::KINDS.iter().position(|k| k.name == scene.kind.name).unwrap_or(0);
        Ok((end, (!scene.damaged).then(|| m.hash()), kind))
    }

    /// Says where two columns part.
    fn explain(&mut self, n: usize, case: (u64, u64), most: u64) -> Result<String, String> {
        let (mut same, mut differ) = (0, most);
        while differ - same > 1 {
            let middle = same + (differ - same) / 2;
            let (a, b) = (self.run(0, case, middle)?.1, self.run(n, case, middle)?.1);
            *if a == b { &mut same } else { &mut differ } = middle;
        }
        let mut out = String::new();
        // The way there, by both.
        for at in same.saturating_sub(trail()).max(1)..=differ + trail() / 4 {
            for n in [0, n] {
                self.run(n, case, at)?;
                let c = &mut self.columns[n];
                let _ = write!(out, "{at} {}: ", c.name);
                place(&mut out, &mut c.machine);
            }
        }
        let (a, b) = (self.run(0, case, differ)?, self.run(n, case, differ)?);
        let _ = writeln!(out, "after {differ} instructions (of {most}): {:?} and {:?}", a.0, b.0);
        let (first, rest) = self.columns.split_at_mut(n);
        differences(&mut out, &mut first[0].machine, &mut rest[0].machine);
        let c = self.columns[n].machine.engine.counters();
        let _ = writeln!(out, "native {} tier0 {} stepped {}", c.native, c.tier0, c.stepped);
        Ok(out)
    }
}

impl Target for Bytes {
    fn case(&mut self, seed: u64, number: u64) -> Result<(), String> {
        let case = (seed, number);
        let (want, hash, kind) = self.run(0, case, 0)?;
        let count = self.columns[0].machine.count;
        self.instructions += count;
        self.kinds[kind] += count;
        self.ends[want as usize] += 1;
        for n in 1..self.columns.len() {
            let (end, other, _) = self.run(n, case, 0)?;
            let now = self.columns[n].machine.count;
            if hash.is_none() || want == End::Asleep && end == End::Asleep && now == count {
                continue;
            }
            if (end, now, other) != (want, count, hash) {
                let name = self.columns[n].name;
                let text = self.explain(n, case, count.min(now).max(1))?;
                let kind = scene::KINDS[kind].name;
                return Err(format!(
                    "{kind}: interp {want:?} after {count}, {name} {end:?} after {now}\n{text}"
                ));
            }
        }
        Ok(())
    }

    fn summary(&self) -> String {
        let mut out = format!("{} instructions in each column", self.instructions);
        for (name, end) in ["counted", "asked", "idle", "asleep"].iter().zip(self.ends) {
            let _ = write!(out, ", {end} {name}");
        }
        for c in &self.columns {
            let k = c.machine.engine.counters();
            let (native, all) = (k.native, k.native + k.tier0 + k.stepped);
            let _ = write!(
                out,
                "\n  {}: {all} in engine, {native} native, {} regions",
                c.name, k.regions
            );
        }
        for (kind, n) in scene::KINDS.iter().zip(&self.kinds) {
            let _ = write!(out, "\n  {:28} {n}", kind.name);
        }
        out
    }
}

fn run(m: &mut Machine) -> End {
    let (mut before, mut still) = (m.count, 0);
    loop {
        let slice = m.run_slice();
        if m.take_requests().iter().any(|(_, q)| ends(q)) {
            return End::Asked;
        }
        if slice != Slice::Ran {
            return End::Idle;
        }
        if m.count >= m.until {
            return End::Counted;
        }
        still = if m.count == before { still + 1 } else { 0 };
        before = m.count;
        if still > 20 {
            return End::Asleep;
        }
    }
}

fn ends(q: &device::Request) -> bool {
    use device::Request::*;
    match q {
        From(_, q) => ends(q),
        Reset | PowerOff | Suspend | Exit(_) => true,
        _ => false,
    }
}

/// The instruction at the RIP of each core that runs.
fn place(out: &mut String, m: &mut Machine) {
    let running: Vec<_> =
        (0..m.cores.len()).filter(|&n| m.cores[n].activity() == Activity::Running).collect();
    for n in running {
        let (mode, rip) = (m.cores[n].mode, m.cores[n].state.rip);
        let mut bytes = [0; 15];
        let got = m.with_core(n, |s| s.fetch(&mut bytes, 0)).unwrap_or(0);
        let mut d = Decoder::with_ip(mode.bits(), &bytes[..got], rip, DecoderOptions::NONE);
        let mut text = String::new();
        let i = d.decode();
        IntelFormatter::new().format(&i, &mut text);
        let s = &m.cores[n].state;
        let gpr: Vec<_> = s.gpr.iter().map(|g| format!("{g:x}")).collect();
        let _ = write!(out, "[core {n} {} bits cpl {} at {rip:x}: ", mode.bits(), s.cpl);
        out.extend(bytes[..i.len()].iter().map(|b| format!("{b:02x}")));
        let _ = write!(out, " {text}; flags {:x} gpr {}] ", s.flags(), gpr.join(" "));
    }
    out.push('\n');
}

fn differences(out: &mut String, a: &mut Machine, b: &mut Machine) {
    let _ = writeln!(out, "count {} and {}", a.count, b.count);
    let s = &a.cores[0].state;
    let _ = writeln!(out, "cr0 {:x} cr4 {:x} efer {:x} dr7 {:x}", s.cr0, s.cr4, s.msr.efer, s.dr7);
    for n in 0..a.cores.len() {
        let text = |m: &mut Machine| {
            m.cores[n].state.settle();
            format!("{:#x?}", m.cores[n].state)
        };
        let (a, b) = (text(a), text(b));
        for (number, (a, b)) in a.lines().zip(b.lines()).enumerate().filter(|(_, (a, b))| a != b) {
            let _ = writeln!(out, "core {n}, line {number}: {} and {}", a.trim(), b.trim());
        }
    }
    let len = a.world.ram.len();
    let words = (0..len).step_by(8);
    let words = words.map(|at| (at, a.world.ram.read_u64(at), b.world.ram.read_u64(at)));
    for (at, a, b) in words.filter(|w| w.1 != w.2).take(8) {
        let (a, b) = (a.unwrap_or(0), b.unwrap_or(0));
        let _ = writeln!(out, "RAM {at:#x}: {a:016x} and {b:016x}");
    }
    let _ = writeln!(out, "parts that differ: {}", sections(a, b).join(", "));
}

/// The names of the parts whose saved states differ.
pub(super) fn sections(a: &mut Machine, b: &mut Machine) -> Vec<String> {
    let save = |m: &mut Machine| {
        let mut bytes = Vec::new();
        m.save(&mut bytes).ok()?;
        Snapshot::read(&bytes[..], m.world.ram.len()).ok()
    };
    let (Some(a), Some(b)) = (save(a), save(b)) else { return vec!["cannot be saved".into()] };
    let differ = |name: &&str| a.section(name) != b.section(name);
    a.names().filter(differ).map(str::to_owned).collect()
}

/// How many instructions before the difference are shown.
fn trail() -> u64 {
    std::env::var("TRAIL").ok().and_then(|t| t.parse().ok()).unwrap_or(5)
}
