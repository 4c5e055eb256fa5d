//! `fuzz-ports`: random accesses to all devices of whole machines.
//!
//! A machine is saved at random moments and its twin loads that: the twin must save the same bytes, and answer every access
//! after that as the machine does. Cores take no part but for the moments when an interrupt message wakes them.

use super::Target;
use super::bytes::{config, sections};
use super::script::{Script, Step};
use crate::rng::Rng;
use cpu::Activity;
use device::Width;
use machine::config::Chipset;
use machine::{DeviceId, Machine};
use std::time::{Duration, Instant};

const RAM: u64 = 4 << 20;
/// No step takes this long, even on a busy host.
const PATIENCE: Duration = Duration::from_secs(8);

/// A machine, its twin, and what they are as after power-on.
pub(super) struct Pair {
    pub q35: bool,
    pub machine: Machine,
    pub twin: Machine,
    pub fresh: Vec<u8>,
}

pub struct Ports {
    pairs: Vec<Pair>,
    steps: u64,
    saves: u64,
    taken: u64,
}

impl Ports {
    pub fn new(_: u64) -> Result<Ports, String> {
        let mut pairs = Vec::new();
        for (chipset, cpus) in
            [(Chipset::Pc, 1), (Chipset::Q35, 1), (Chipset::Pc, 2), (Chipset::Q35, 4)]
        {
            let make = || {
                let mut m = Machine::new(config(chipset, cpus, RAM)).map_err(|e| e.to_string())?;
                m.set_running(true);
                Ok::<_, String>(m)
            };
            let (mut machine, twin) = (make()?, make()?);
            let mut fresh = Vec::new();
            machine.save(&mut fresh).map_err(|e| e.to_string())?;
            pairs.push(Pair { q35: chipset == Chipset::Q35, machine, twin, fresh });
        }
        Ok(Ports { pairs, steps: 0, saves: 0, taken: 0 })
    }
}

impl Target for Ports {
    fn case(&mut self, seed: u64, number: u64) -> Result<(), String> {
        self.attempt(seed, number, None).map_err(|e| {
            // Compared after every step, it says more.
            self.attempt(seed, number, Some(1)).err().unwrap_or(e)
        })
    }

    fn summary(&self) -> String {
        let (steps, saves, taken) = (self.steps, self.saves, self.taken);
        format!("{steps} steps, {saves} saves and loads, {taken} interrupts taken")
    }
}

impl Ports {
    /// Does a case, with a save and load after so many steps.
    fn attempt(&mut self, seed: u64, number: u64, every: Option<u64>) -> Result<(), String> {
        let mut r = Rng::of(seed, number);
        let n = r.below(self.pairs.len() as u64) as usize;
        let pair = &mut self.pairs[n];
        for m in [&mut pair.machine, &mut pair.twin] {
            m.load(&mut &pair.fresh[..])?;
            rest(m);
        }
        let parts = pair.machine.parts.ids().count() as u32;
        let length = 200 + r.below(3000);
        let usual = 20 + r.below(400);
        let every = every.unwrap_or(usual);
        let mut script = Script::new(r, parts, pair.q35);
        let (mut todo, mut trail) = (Vec::new(), Vec::new());
        script.awake(&mut todo);
        for n in 0..length {
            script.next(&mut todo);
            for step in todo.drain(..) {
                self.steps += 1;
                let taking = matches!(step, Step::Acknowledge);
                let seen = both(pair, &mut trail, step)?;
                self.taken += u64::from(taking && seen != 0);
                if every == 1 {
                    same(pair, &trail)?;
                }
            }
            if n % every == every - 1 {
                self.saves += 1;
                same(pair, &trail)?;
            }
        }
        same(pair, &trail)
    }
}

/// Does a step on both machines; gives what both saw.
pub(super) fn both(pair: &mut Pair, trail: &mut Vec<Step>, step: Step) -> Result<u64, String> {
    let start = Instant::now();
    let ours = act(&mut pair.machine, &step);
    if start.elapsed() > PATIENCE {
        return Err(format!("{step:x?} took {:?}", start.elapsed()));
    }
    let other = act(&mut pair.twin, &step);
    trail.push(step);
    if ours != other {
        return Err(report(pair, trail, &format!("{ours:#x}, but {other:#x} in the twin")));
    }
    Ok(ours)
}

/// Saves the machine; its twin has done the same and must save the same, and again after loading.
pub(super) fn same(pair: &mut Pair, trail: &[Step]) -> Result<(), String> {
    let text = |e: std::io::Error| e.to_string();
    let (mut saved, mut other) = (Vec::new(), Vec::new());
    pair.machine.save(&mut saved).map_err(text)?;
    pair.twin.save(&mut other).map_err(text)?;
    if saved != other {
        return Err(report(pair, trail, "the twin, which has done the same, is not the same"));
    }
    pair.twin.load(&mut &saved[..]).map_err(|e| report(pair, trail, &e))?;
    other.clear();
    pair.twin.save(&mut other).map_err(text)?;
    if saved != other {
        return Err(report(pair, trail, "saved, loaded and saved again, it is not the same"));
    }
    Ok(())
}

fn report(pair: &mut Pair, trail: &[Step], what: &str) -> String {
    let mut out = format!("{} steps, the last ones:\n", trail.len());
    for step in &trail[trail.len().saturating_sub(12)..] {
        out += &format!("  {step:x?}\n");
    }
    out += what;
    for name in sections(&mut pair.machine, &mut pair.twin) {
        out += &format!("\n{name} differs");
        let n = name.strip_prefix("part ").and_then(|n| n.split(' ').next());
        let Some(id) = n.and_then(|n| n.parse().ok()).map(DeviceId) else { continue };
        for m in [&pair.machine, &pair.twin] {
            let d = m.parts.peek(id);
            let saved = d.map(|d| d.save()).unwrap_or_default();
            out += &format!("\n{}\n{saved:x?}", d.map(|d| d.describe()).unwrap_or_default());
        }
    }
    out
}

/// Cores that do nothing by themselves.
pub(super) fn rest(m: &mut Machine) {
    for core in &mut m.cores {
        if core.activity() == Activity::Running {
            core.set_activity(Activity::Halted);
            core.state.set_flags(2);
        }
    }
}

/// Does a step. Gives what the guest sees of it.
fn act(m: &mut Machine, step: &Step) -> u64 {
    let seen = match step {
        Step::PortRead(at, w) => m.with_core(0, |s| s.bus.port_read(s.c.retired(), *at, *w)),
        Step::PortWrite(at, w, v) => {
            m.with_core(0, |s| s.bus.port_write(s.c.retired(), *at, *w, *v));
            0
        }
        Step::Read(at, w) => m.with_core(0, |s| s.bus.read(s.c.retired(), *at, *w)),
        Step::Write(at, w, v) => {
            m.with_core(0, |s| s.bus.write(s.c.retired(), *at, *w, *v));
            0
        }
        Step::Put(at, bytes) => m.world.ram.write(*at, bytes).map_or(1, |()| 0),
        Step::MsrRead(n) => m.with_core(0, |s| s.bus.msr_read(s.c.retired(), *n)).unwrap_or(!0),
        Step::MsrWrite(n, v) => {
            m.with_core(0, |s| s.bus.msr_write(s.c.retired(), *n, *v)).map_or(1, |()| 0)
        }
        Step::Wait(time) => {
            let to = m.now() + time;
            m.clock.load(to, m.count);
            // No core runs: only devices are woken.
            m.until = m.count;
            m.run_slice();
            m.now()
        }
        Step::Acknowledge => {
            let vector = m.with_core(0, |s| s.bus.acknowledge(s.c.retired()));
            m.with_core(0, |s| s.bus.write(s.c.retired(), 0xFEE0_00B0, Width::W32, 0));
            vector.map_or(0, u64::from)
        }
        Step::Input(to, what) => {
            m.input(DeviceId(*to), what.clone());
            0
        }
        Step::Nmi => {
            m.nmi();
            0
        }
        Step::Reset => {
            let bad = m.reset().is_err();
            rest(m);
            u64::from(bad)
        }
        Step::Plug(spec) => u64::from(m.plug(spec.clone()).is_ok()),
        Step::Unplug(id) => u64::from(m.unplug(id).is_ok()),
        Step::Retry => {
            m.set_running(false);
            m.set_running(true);
            0
        }
    };
    m.take_unplugged();
    m.take_requests();
    m.take_drive_events();
    seen
}
