//! The whole machine to a stream and back, and its fingerprint.

use crate::machine::{END_OF_TIME, Machine, TURN};
use cpu::State;
use migration::snapshot;
use state::{Misfit, state};
use std::io::{Read, Write};

state! {
    /// What of the machine belongs to no part.
    struct Rest {
        1 board: String = String::new(),
        2 ram: u64 = 0,
        3 cores: u32 = 0,
        /// Instructions retired by all cores.
        4 count: u64 = 0,
        /// Guest time in nanoseconds.
        5 now: u64 = 0,
        6 turn: u32 = 0,
        7 random: u64 = 0,
        8 a20: bool = true,
        9 turn_ends: u64 = 0,
        10 hurry: u32 = 0,
        11 busy: u32 = 0,
    }
}

impl Machine {
    fn rest(&self) -> Rest {
        Rest {
            board: format!("{:?}", self.config.board.chipset),
            ram: self.config.ram,
            cores: self.cores.len() as u32,
            count: self.count,
            now: self.now(),
            turn: self.turn as u32,
            random: self.world.random.0,
            a20: self.a20,
            turn_ends: self.turn_ends,
            hurry: self.hurry,
            busy: self.busy as u32,
        }
    }
    /// Every part's state under its name.
    fn sections(&mut self) -> Vec<(String, Vec<u8>)> {
        // Devices bring themselves up to date, as they do after a load: so both sides of a save are the same.
        self.world.now = self.clock.now(self.count);
        self.parts.settle_all(&mut self.world);
        let mut all = vec![("machine".to_string(), self.rest().save())];
        all.push(("drives".to_string(), self.world.drives.save()));
        for (n, core) in self.cores.iter_mut().enumerate() {
            core.state.settle();
            all.push((format!("core {n}"), core.state.save()));
        }
        for id in self.parts.ids() {
            if let Some(d) = self.parts.peek(id) {
                all.push((format!("part {} {}", id.0, self.parts.name(id)), d.save()));
            }
        }
        all
    }

    /// Writes all that a guest can see.
    pub fn save(&mut self, to: &mut dyn Write) -> std::io::Result<()> {
        let sections = self.sections();
        snapshot::write(to, &sections, &self.world.ram)
    }

    /// A fingerprint of registers, devices and RAM. Host time is no part of it where time is the instruction count.
    pub fn hash(&mut self) -> u128 {
        let sections = self.sections();
        snapshot::hash(&sections, &self.world.ram)
    }

    /// Takes a saved machine of the same kind. On an error nothing has changed.
    pub fn load(&mut self, from: &mut dyn Read) -> Result<(), String> {
        let s = snapshot::Snapshot::read(from, self.world.ram.len()).map_err(|e| e.to_string())?;
        let section = |name: &str| {
            s.section(name).ok_or_else(|| format!("it has no part '{name}' that this machine has"))
        };
        let text = |e: Misfit| e.to_string();
        let rest = Rest::load(section("machine")?).map_err(text)?;
        let mine = self.rest();
        if (&rest.board, rest.ram, rest.cores) != (&mine.board, mine.ram, mine.cores) {
            return Err(format!(
                "it is a {} with {} CPUs and {} MiB; this machine is a {} with {} CPUs and {} MiB",
                rest.board,
                rest.cores,
                rest.ram >> 20,
                mine.board,
                mine.cores,
                mine.ram >> 20
            ));
        }
        if rest.now >= END_OF_TIME || rest.count >= END_OF_TIME >> 10 {
            return Err("damaged: it says that it ran for longer than 73 years".into());
        }
        let drives = section("drives")?;
        self.world.drives.check(drives).map_err(text)?;
        let mut cores = Vec::new();
        for n in 0..self.cores.len() {
            let state = State::load(section(&format!("core {n}"))?).map_err(text)?;
            state.check().map_err(|e| format!("core {n}: {e}"))?;
            cores.push(state);
        }
        self.load_parts(section)?;
        self.world.drives.load(drives).map_err(text)?;
        for (core, state) in self.cores.iter_mut().zip(cores) {
            core.state = state;
            core.intr = false;
            core.refresh();
        }
        s.fill(&self.world.ram);
        self.count = rest.count;
        self.turn = rest.turn as usize % self.cores.len();
        self.turn_ends = rest.turn_ends.min(rest.count.saturating_add(TURN));
        (self.hurry, self.busy) = (rest.hurry, rest.busy as usize);
        self.world.random.0 = rest.random;
        self.clock.load(rest.now, rest.count);
        self.after_load(rest.a20);
        Ok(())
    }

    /// Loads every device, or puts back those already loaded if one refuses.
    fn load_parts<'a>(
        &mut self,
        section: impl Fn(&str) -> Result<&'a [u8], String>,
    ) -> Result<(), String> {
        let mut undo = Vec::new();
        let mut result = Ok(());
        for id in self.parts.ids() {
            let name = format!("part {} {}", id.0, self.parts.name(id));
            let old = self.parts.peek(id).map(|d| d.save()).unwrap_or_default();
            let new = match section(&name) {
                Ok(bytes) => bytes,
                Err(e) => {
                    result = Err(e);
                    break;
                }
            };
            if let Err(e) = self.parts.load(id, new) {
                result = Err(format!("{name}: {e}"));
                break;
            }
            undo.push((id, old));
        }
        if result.is_err() {
            for (id, old) in undo {
                let _ = self.parts.load(id, &old);
            }
        }
        result
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::config::{Config, DeviceSpec, Rtc, RtcBase, Shift, Timebase};
    use crate::devices::Props;
    use device::Width;

    fn machine() -> Machine {
        let config = Config {
            ram: 2 << 20,
            devices: vec![DeviceSpec::new("pc-testdev", Props::default())],
            time: Timebase::Count { shift: Shift::Fixed(0), sleep: false, align: false },
            rtc: Rtc { base: RtcBase::At(0), ..Rtc::default() },
            ..Config::default()
        };
        Machine::new(config).unwrap()
    }
    fn saved(m: &mut Machine) -> Vec<u8> {
        let mut bytes = Vec::new();
        m.save(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn an_edge_that_was_dealt_with_is_not_made_again_by_a_load() {
        let (mut m, mut other) = (machine(), machine());
        m.with_core(0, |s| {
            // The test device holds line 5 high; the I/O APIC sent its message when that began, but the pin was masked.
            s.bus.port_write(0, 0x2005, Width::W8, 1);
            s.bus.write(0, 0xFEC0_0000, Width::W32, 0x10 + 2 * 5);
            s.bus.write(0, 0xFEC0_0010, Width::W32, 0x45);
            // The 8259 forgets the edge.
            s.bus.port_write(0, 0x20, Width::W8, 0x11);
        });
        let first = saved(&mut m);
        other.load(&mut &first[..]).unwrap();
        assert!(saved(&mut other) == first);
        assert_eq!(other.hash(), m.hash());
    }

    #[test]
    fn a_load_puts_address_line_20_as_it_was_saved() {
        let mut m = machine();
        let on = saved(&mut m);
        m.with_core(0, |s| s.bus.port_write(0, 0x92, Width::W8, 2));
        m.with_core(0, |s| s.bus.port_write(0, 0x92, Width::W8, 0));
        let off = saved(&mut m);
        assert_eq!(m.cores[0].phys_mask, !(1 << 20));
        m.load(&mut &on[..]).unwrap();
        assert_eq!(m.cores[0].phys_mask, !0);
        m.load(&mut &off[..]).unwrap();
        assert_eq!(m.cores[0].phys_mask, !(1 << 20));
    }

    #[test]
    fn firmware_reads_the_boot_order_in_the_clock() {
        let mut m = machine();
        let cells = m.with_core(0, |s| {
            [0x3D, 0x38, 0x14, 0x5F].map(|at| {
                s.bus.port_write(0, 0x70, Width::W8, at | 0x80);
                s.bus.port_read(0, 0x71, Width::W8)
            })
        });
        assert_eq!(cells, [0x12, 0x30, 6, 0]);
    }

    #[test]
    fn firmware_at_work_is_the_same_after_a_load() {
        let new = || {
            let mut config = machine().config.clone();
            config.ram = 32 << 20;
            config.boot.firmware = Some(crate::firmware::DEFAULT.into());
            Machine::new(config)
        };
        // Without the package there is nothing to try.
        let (Ok(mut m), Ok(mut other)) = (new(), new()) else { return };
        m.set_running(true);
        while m.count < 3_000_000 {
            m.run_slice();
        }
        let bytes = saved(&mut m);
        other.load(&mut &bytes[..]).unwrap();
        let (a, b) = (m.sections(), other.sections());
        let differ: Vec<_> = a.iter().zip(&b).filter(|(a, b)| a != b).map(|(a, _)| &a.0).collect();
        assert!(differ.is_empty(), "{differ:?}");
        assert_eq!(m.hash(), other.hash());
        m.run_slice();
        other.set_running(true);
        other.run_slice();
        assert_eq!(m.hash(), other.hash());
    }
}
