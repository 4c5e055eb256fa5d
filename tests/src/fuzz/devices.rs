//! `fuzz-devices`: drivers gone mad, for disks and all else that is put on PCI buses.
//!
//! As `fuzz-ports`, but with devices that move data by themselves: a small firmware gives each function its place, then come
//! commands that are almost good, with descriptors in memory that are almost good, among random accesses, waits, saves and loads;
//! functions come and go, and sectors fail.

use super::Target;
use super::drivers::{Found, Mad};
use super::ports::{Pair, both, rest, same};
use super::rack::{self, Brittle};
use super::script::{Script, Step};
use crate::rng::Rng;
use device::Width::*;
use machine::config::Chipset;
use std::sync::Arc;

pub struct Devices {
    pairs: Vec<(Pair, Vec<Arc<Brittle>>)>,
    steps: u64,
    saves: u64,
    found: u64,
}

fn pair(q35: bool) -> Result<(Pair, Vec<Arc<Brittle>>), String> {
    let chipset = if q35 { Chipset::Q35 } else { Chipset::Pc };
    let ((mut machine, mut images), (twin, others)) =
        (rack::machine(chipset)?, rack::machine(chipset)?);
    images.extend(others);
    let mut fresh = Vec::new();
    machine.save(&mut fresh).map_err(|e| e.to_string())?;
    Ok((Pair { q35, machine, twin, fresh }, images))
}

impl Devices {
    pub fn new(_: u64) -> Result<Devices, String> {
        Ok(Devices { pairs: vec![pair(false)?, pair(true)?], steps: 0, saves: 0, found: 0 })
    }

    /// Puts a pair back to its beginning. Where functions came or went, it is made anew.
    fn renew(&mut self, n: usize) -> Result<(), String> {
        let p = &mut self.pairs[n].0;
        let loads = |m: &mut machine::Machine| m.load(&mut &p.fresh[..]).is_ok();
        if !loads(&mut p.machine) || !loads(&mut p.twin) {
            let q35 = p.q35;
            self.pairs[n] = pair(q35)?;
        }
        let (p, images) = &mut self.pairs[n];
        images.iter().for_each(|i| i.fill());
        rest(&mut p.machine);
        rest(&mut p.twin);
        Ok(())
    }

    fn attempt(&mut self, seed: u64, number: u64, every: Option<u64>) -> Result<(), String> {
        let mut r = Rng::of(seed, number);
        let n = r.below(self.pairs.len() as u64) as usize;
        self.renew(n)?;
        let pair = &mut self.pairs[n].0;
        let parts = pair.machine.parts.ids().count() as u32;
        let length = 100 + r.below(1500);
        let usual = 20 + r.below(300);
        let every = every.unwrap_or(usual);
        let mut script = Script::new(r, parts, pair.q35);
        let (mut todo, mut trail) = (Vec::new(), Vec::new());
        script.awake(&mut todo);
        for step in todo.drain(..) {
            both(pair, &mut trail, step)?;
        }
        let mut firmware = |step| both(pair, &mut trail, step);
        let found = Found::all(&mut firmware)?;
        self.found += found.len() as u64;
        let mut mad = Mad::new(found, pair.q35);
        for n in 0..length {
            mad.next(&mut script, &mut todo);
            for step in todo.drain(..) {
                self.steps += 1;
                both(pair, &mut trail, step)?;
                if every < 20 && self.steps % every == 0 {
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

impl Target for Devices {
    fn case(&mut self, seed: u64, number: u64) -> Result<(), String> {
        // `EVERY=1` compares after every step, which takes long, but says more.
        let every = std::env::var("EVERY").ok().and_then(|e| e.parse().ok());
        self.attempt(seed, number, every)
    }
    fn summary(&self) -> String {
        let (steps, saves, found) = (self.steps, self.saves, self.found);
        let drives = self.pairs.iter().flat_map(|(p, _)| p.machine.world.drives.iter());
        let counts: Vec<_> = drives.flat_map(|(_, d)| d.counts).collect();
        let asked: u64 = counts.iter().map(|c| c.operations).sum();
        let failed: u64 = counts.iter().map(|c| c.failed).sum();
        format!(
            "{steps} steps, {saves} saves and loads, {found} functions found; since machines were made \
             anew, disks were asked {asked} times, and {failed} times in vain"
        )
    }
}

/// Reads and writes of configuration space, by ports.
pub(super) struct ConfigSpace<'a>(pub &'a mut dyn FnMut(Step) -> Result<u64, String>);

impl ConfigSpace<'_> {
    pub fn read(&mut self, function: u64, at: u64) -> Result<u64, String> {
        (self.0)(Step::PortWrite(0xCF8, W32, 1 << 31 | function << 8 | at))?;
        (self.0)(Step::PortRead(0xCFC, W32))
    }
    pub fn write(&mut self, function: u64, at: u64, value: u64) -> Result<(), String> {
        (self.0)(Step::PortWrite(0xCF8, W32, 1 << 31 | function << 8 | at))?;
        (self.0)(Step::PortWrite(0xCFC, W32, value & 0xFFFF_FFFF)).map(drop)
    }
}
