//! Message-signalled interrupts: the capabilities MSI and MSI-X.  PCI Local Bus 3.0, 6.8.
//!
//! A message is a write of the function to memory; the board sees that it goes to the local APICs.

use super::Config;
use device::*;

fn send(address: u64, data: u32, config: &Config, cx: &mut dyn Cx) {
    // Without bus mastering no message leaves.
    if config.bus_master() && cx.dma().write(address, &data.to_le_bytes()).is_err() {
        cx.complain(format_args!("pci: message to no address {address:#x}"));
    }
}

/// MSI with a 64-bit address and per-vector masks. It lives in configuration space alone.
#[derive(Clone, Copy, Debug)]
pub struct Msi {
    at: usize,
}

impl Msi {
    /// Adds the capability for 1 << `log_vectors` vectors.
    pub fn add(config: &mut Config, log_vectors: u8) -> Self {
        let control = 0x0180 | u16::from(log_vectors) << 1;
        let mut body = [0; 22];
        body[..2].copy_from_slice(&control.to_le_bytes());
        let masks = u32::MAX >> (32 - (1 << log_vectors.min(5)));
        let mut writable = [0; 22];
        writable[0] = 0x71;
        writable[2..12]
            .copy_from_slice(&[0xFC, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]);
        writable[14..18].copy_from_slice(&masks.to_le_bytes());
        Self { at: config.capability(5, &body, &writable) }
    }
    pub fn enabled(self, config: &Config) -> bool {
        config.u16(self.at + 2) & 1 != 0
    }
    /// Sends vector `n`, or remembers it behind its mask.
    pub fn notify(self, n: u8, config: &mut Config, cx: &mut dyn Cx) {
        if !self.enabled(config) {
            return;
        }
        // Software may allow fewer vectors than there are: the high ones share.
        let allowed = 1u32 << (config.u16(self.at + 2) >> 4 & 7).min(5);
        let n = u32::from(n) & (allowed - 1);
        if config.u32(self.at + 0x10) >> n & 1 != 0 {
            return self.set_pending(config.u32(self.at + 0x14) | 1 << n, config);
        }
        let data = u32::from(config.u16(self.at + 0xC)) & !(allowed - 1) | n;
        send(config.u64(self.at + 4), data, config, cx);
    }
    /// After software wrote to configuration space: sends what is no longer masked.
    pub fn config_written(self, config: &mut Config, cx: &mut dyn Cx) {
        let ready = config.u32(self.at + 0x14) & !config.u32(self.at + 0x10);
        if ready != 0 && self.enabled(config) {
            self.set_pending(config.u32(self.at + 0x14) & !ready, config);
            (0..32).filter(|n| ready >> n & 1 != 0).for_each(|n| self.notify(n, config, cx));
        }
    }
    fn set_pending(self, bits: u32, config: &mut Config) {
        bits.to_le_bytes()
            .into_iter()
            .enumerate()
            .for_each(|(i, b)| config.put(self.at + 0x14 + i, b));
    }
}

state! {
    /// The tables of MSI-X: per vector address (two words), data, control; and who waits.
    pub struct MsixState { 1 table: Vec<u32> = Vec::new(), 2 pending: Vec<u64> = Vec::new() }
}

/// MSI-X: tables in a BAR of the function.
pub struct Msix {
    pub s: MsixState,
    at: usize,
    vectors: usize,
}

impl Msix {
    /// Adds the capability for so many vectors, with the table and the pending bits at these offsets in `bar`.
    pub fn add(config: &mut Config, vectors: u16, bar: u8, table: u32, pending: u32) -> Self {
        assert!(
            (1..=2048).contains(&vectors) && bar < 6,
            "MSI-X with {vectors} vectors in BAR {bar}"
        );
        let mut body = [0; 10];
        body[..2].copy_from_slice(&(vectors - 1).to_le_bytes());
        body[2..6].copy_from_slice(&(table & !7 | u32::from(bar)).to_le_bytes());
        body[6..].copy_from_slice(&(pending & !7 | u32::from(bar)).to_le_bytes());
        let at = config.capability(0x11, &body, &[0, 0xC0]);
        let mut msix = Self { s: MsixState::default(), at, vectors: vectors.into() };
        msix.reset();
        msix
    }
    pub fn reset(&mut self) {
        let masked = [0, 0, 0, 1];
        self.s.table = masked.repeat(self.vectors);
        self.s.pending = vec![0; self.vectors.div_ceil(64)];
    }
    /// Whether a saved state fits.
    pub fn load(&mut self, s: MsixState) -> Result<(), Misfit> {
        if (s.table.len(), s.pending.len()) != (self.s.table.len(), self.s.pending.len()) {
            return Err(Misfit::Unfit("MSI-X with another number of vectors".into()));
        }
        self.s = s;
        Ok(())
    }
    pub fn enabled(&self, config: &Config) -> bool {
        config.u16(self.at + 2) & 0x8000 != 0
    }
    fn masked(&self, n: usize, config: &Config) -> bool {
        config.u16(self.at + 2) & 0x4000 != 0 || self.s.table[4 * n + 3] & 1 != 0
    }
    /// Sends vector `n`, or remembers it behind its mask.
    pub fn notify(&mut self, n: u16, config: &Config, cx: &mut dyn Cx) {
        let n = usize::from(n);
        if n >= self.vectors || !self.enabled(config) {
            return;
        }
        if self.masked(n, config) {
            self.s.pending[n / 64] |= 1 << (n % 64);
            return;
        }
        let [low, high, data, _] = [0, 1, 2, 3].map(|i| self.s.table[4 * n + i]);
        send(u64::from(high) << 32 | u64::from(low), data, config, cx);
    }
    /// Sends what waits and is no longer masked: after software wrote to the table or to configuration space.
    pub fn flush(&mut self, config: &Config, cx: &mut dyn Cx) {
        if !self.enabled(config) {
            return;
        }
        for n in 0..self.vectors {
            let (word, bit) = (n / 64, 1 << (n % 64));
            if self.s.pending[word] & bit != 0 && !self.masked(n, config) {
                self.s.pending[word] &= !bit;
                self.notify(n as u16, config, cx);
            }
        }
    }
    /// Offset from the beginning of the table.
    pub fn read_table(&self, at: u64, w: Width) -> u64 {
        let word = |at: u64| self.s.table.get(at as usize / 4).copied().unwrap_or(0);
        join(at, w, 4, |at| word(at).into())
    }
    pub fn write_table(&mut self, at: u64, w: Width, value: u64, config: &Config, cx: &mut dyn Cx) {
        split(at, w, 4, value, |at, mask, v| {
            if let Some(word) = self.s.table.get_mut(at as usize / 4) {
                let mask = match at & 0xC {
                    0 => mask as u32 & !3,
                    0xC => mask as u32 & 1,
                    _ => mask as u32,
                };
                *word = *word & !mask | v as u32 & mask;
            }
        });
        self.flush(config, cx);
    }
    /// Offset from the beginning of the pending bits.
    pub fn read_pending(&self, at: u64, w: Width) -> u64 {
        join(at, w, 8, |at| self.s.pending.get(at as usize / 8).copied().unwrap_or(0))
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::pci::Ids;
    use Width::*;

    fn config() -> Config {
        let mut c = Config::new(Ids { vendor: 1, device: 2, class: 0, revision: 0 });
        c.write(4, W16, 4);
        c
    }
    fn word(b: &Bench, at: usize) -> u32 {
        u32::from_le_bytes(b.ram[at..at + 4].try_into().unwrap())
    }

    #[test]
    fn msi_writes_its_data_plus_the_vector() {
        let (mut c, mut b) = (config(), Bench::with_ram(0x100));
        let m = Msi::add(&mut c, 2);
        c.write(4, W16, 4);
        m.notify(1, &mut c, &mut b);
        assert_eq!(word(&b, 0x40), 0, "not enabled");
        for (at, w, v) in [(4, W32, 0x43), (8, W32, 0), (0xC, W16, 0x50), (2, W16, 0x21)] {
            c.write(m.at as u64 + at, w, v);
        }
        m.notify(3, &mut c, &mut b);
        assert_eq!(word(&b, 0x40), 0x53);
        c.write(m.at as u64 + 0x10, W32, 2);
        m.notify(1, &mut c, &mut b);
        assert_eq!((word(&b, 0x40), c.u32(m.at + 0x14)), (0x53, 2));
        c.write(m.at as u64 + 0x10, W32, 0);
        m.config_written(&mut c, &mut b);
        assert_eq!((word(&b, 0x40), c.u32(m.at + 0x14)), (0x51, 0));
    }

    #[test]
    fn msix_waits_behind_its_masks() {
        let (mut c, mut b) = (config(), Bench::with_ram(0x100));
        let mut m = Msix::add(&mut c, 3, 1, 0, 0x800);
        c.write(4, W16, 4);
        assert_eq!(c.u32(m.at) & 0xFFFF_00FF, 0x0002_0011);
        c.write(m.at as u64 + 2, W16, 0xC000);
        for (at, v) in [(0x20, 0x80), (0x24, 0), (0x28, 0x77), (0x2C, 0)] {
            m.write_table(at, W32, v, &c, &mut b);
        }
        m.notify(2, &c, &mut b);
        m.notify(9, &c, &mut b);
        assert_eq!((word(&b, 0x80), m.read_pending(0, W64)), (0, 4), "the function is masked");
        c.write(m.at as u64 + 2, W16, 0x8000);
        m.flush(&c, &mut b);
        assert_eq!((word(&b, 0x80), m.read_pending(0, W64)), (0x77, 0));
        m.notify(1, &c, &mut b);
        assert_eq!((m.read_table(0x1C, W32), m.read_pending(0, W8)), (1, 2));
    }
}
