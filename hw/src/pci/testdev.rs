//! `pci-testdev`: counts writes, for kvm-unit-tests' measurements.  QEMU docs/specs/pci-testdev.rst.
//!
//! BAR 0 is memory, BAR 1 ports; BAR 2, if there is one, holds nothing (it is there to be mapped). The first two begin with a header that describes the test whose number was written to its first
//! byte. Of the three tests of each BAR, those with an event descriptor do not count.

use super::{Bar, Config, Function, Ids};
use device::*;

const MEMORY: u32 = 2048;
const PORTS: u32 = 128;
const KINDS: [&str; 3] = ["no-eventfd", "wildcard-eventfd", "datamatch-eventfd"];

state! {
    /// Everything the guest can see.
    pub struct State {
        /// The test that runs: 0 to 2 memory, 3 to 5 ports.
        1 current: Option<u8> = None,
        2 counts: [u32; 6] = [0; 6],
    }
}

pub struct TestDev {
    config: Config,
    s: State,
}

impl Default for TestDev {
    fn default() -> Self {
        Self::new(0)
    }
}

impl TestDev {
    /// With a memory bar of this size, a power of two; 0: without.
    pub fn new(membar: u64) -> Self {
        let ids = Ids { vendor: 0x1B36, device: 0x0005, class: 0x00_FF00, revision: 0 };
        let mut config = Config::new(ids)
            .bar(0, Bar::memory(u64::from(MEMORY) * 2))
            .bar(1, Bar::io(u64::from(PORTS) * 2));
        if membar != 0 {
            config = config.bar(2, Bar::memory(membar.max(16)).wide().prefetchable());
        }
        Self { config, s: State::default() }
    }
    /// Where the guest is to write for a test, and what.
    fn target(n: u8) -> (u32, u8) {
        let size = if n < 3 { MEMORY } else { PORTS };
        (size + u32::from(n), if n % 3 == 1 { 0xCE } else { 0xFA })
    }
    fn header(&self, n: u8) -> Vec<u8> {
        let (offset, data) = Self::target(n);
        let mut header = vec![n, 1, 0, 0];
        header.extend(offset.to_le_bytes());
        header.extend([data, 0, 0, 0]);
        header.extend(self.s.counts[n as usize % 6].to_le_bytes());
        header.extend(if n < 3 { "mmio-" } else { "portio-" }.bytes());
        header.extend(KINDS[n as usize % 3].bytes());
        header.push(0);
        header
    }
}

impl Function for TestDev {
    fn config(&self) -> &Config {
        &self.config
    }
    fn config_mut(&mut self) -> &mut Config {
        &mut self.config
    }
}

impl Device for TestDev {
    fn name(&self) -> &'static str {
        "pci-testdev"
    }
    fn read(&mut self, at: Reg, w: Width, _: &mut dyn Cx) -> u64 {
        if at.bank > 1 {
            return 0;
        }
        let header = self.s.current.map(|n| self.header(n % 6)).unwrap_or_default();
        // The last byte of the header does not show.
        let shown = header.len().saturating_sub(1);
        join(at.at, w, 1, |i| header[..shown].get(i as usize).map_or(0, |b| u64::from(*b)))
    }
    fn write(&mut self, at: Reg, w: Width, value: u64, _: &mut dyn Cx) {
        if at.bank > 1 {
            return;
        }
        let first = if at.bank == 0 { 0 } else { 3 };
        split(at.at, w, 1, value, |i, _, v| {
            if i == 0 {
                self.s.current = (v < 3).then(|| first + v as u8);
                if let Some(n) = self.s.current {
                    self.s.counts[n as usize] = 0;
                }
            } else if let Some(n) = self.s.current.map(|n| n % 6) {
                let (offset, data) = Self::target(n);
                if n % 3 == 0 && i == u64::from(offset) && v == u64::from(data) {
                    self.s.counts[n as usize] = self.s.counts[n as usize].wrapping_add(1);
                }
            }
        });
    }
    fn reset(&mut self) {
        self.config.reset();
        self.s.current = None;
    }
    fn save(&self) -> Vec<u8> {
        super::save(&self.config, self.s.save())
    }
    fn load(&mut self, from: &[u8]) -> Result<(), Misfit> {
        super::load(&mut self.config, from, |rest| {
            self.s = State::load(rest)?;
            Ok(())
        })
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use Width::*;

    #[test]
    fn a_test_describes_itself_and_counts() {
        let (mut d, mut b) = (TestDev::default(), Bench::default());
        d.write(Reg { bank: 1, at: 0 }, W8, 0, &mut b);
        let at = d.read(Reg { bank: 1, at: 4 }, W32, &mut b);
        let data = d.read(Reg { bank: 1, at: 8 }, W8, &mut b);
        assert_eq!((at, data), (131, 0xFA));
        let name: Vec<u8> =
            (0..17).map(|i| d.read(Reg { bank: 1, at: 16 + i }, W8, &mut b) as u8).collect();
        assert_eq!(name, b"portio-no-eventfd");
        for _ in 0..3 {
            d.write(Reg { bank: 1, at }, W8, data, &mut b);
        }
        d.write(Reg { bank: 1, at }, W8, data + 1, &mut b);
        assert_eq!(d.read(Reg { bank: 1, at: 12 }, W32, &mut b), 3);
        d.write(Reg { bank: 0, at: 0 }, W8, 3, &mut b);
        assert_eq!(d.read(Reg { bank: 0, at: 0 }, W32, &mut b), 0);
    }
}
