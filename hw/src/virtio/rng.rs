//! `virtio-rng`: random bytes.  Virtio 1.2, 5.4.
//!
//! The limit is QEMU's: at most `max_bytes` in each `period` that begins when bytes are asked for.

use super::queue::{Chain, Io, total};
use super::{Kind, VirtioDevice};
use device::*;

const QUEUE_SIZE: u16 = 8;
/// Bytes for one request: the driver takes fewer than it asked for.
const MOST: usize = 4096;
/// The shortest period: QEMU counts it in milliseconds.
const SHORTEST: Tick = 1_000_000;

#[derive(Clone, Copy, Debug, Default)]
pub struct RngConfig {
    /// How many bytes in how much time; without: any.
    pub limit: Option<(u64, Tick)>,
}

state! {
    /// Everything the guest can see.
    pub struct State {
        /// When the period ends that was begun.
        1 end: Option<Tick> = None,
        /// What was given in it.
        2 given: u64 = 0,
    }
}

pub struct Rng {
    config: RngConfig,
    s: State,
    chain: Chain,
}

impl Rng {
    pub fn new(config: RngConfig) -> Self {
        Self { config, s: State::default(), chain: Chain::default() }
    }
    /// How many bytes may be given now.
    fn allowance(&mut self, now: Tick) -> u64 {
        let Some((most, period)) = self.config.limit else { return u64::MAX };
        if self.s.end.is_none_or(|end| end <= now) {
            self.s = State { end: Some(now.saturating_add(period.max(SHORTEST))), given: 0 };
        }
        most.saturating_sub(self.s.given)
    }
    fn run(&mut self, io: &mut Io) {
        let mut chain = std::mem::take(&mut self.chain);
        let mut bytes = [0; MOST];
        loop {
            let allowed = self.allowance(io.cx.now());
            if allowed == 0 || !io.next(0, &mut chain) {
                break;
            }
            let n = total(&chain.inn).min(allowed).min(MOST as u64) as usize;
            for word in bytes[..n].chunks_mut(8) {
                word.copy_from_slice(&io.cx.random().to_le_bytes()[..word.len()]);
            }
            if io.scatter(&chain.inn, &bytes[..n]) {
                self.s.given = self.s.given.saturating_add(n as u64);
                io.push(0, chain.head, n as u32);
            }
        }
        self.chain = chain;
    }
}

impl VirtioDevice for Rng {
    fn kind(&self) -> Kind {
        Kind { name: "virtio-rng-pci", id: 4, transitional: 0x1005, class: 0x00_FF00 }
    }
    fn queues(&self) -> Vec<u16> {
        vec![QUEUE_SIZE]
    }
    fn vectors(&self) -> u16 {
        2
    }
    fn features(&self) -> u64 {
        0
    }
    fn config(&self) -> Vec<u8> {
        Vec::new()
    }
    fn kick(&mut self, _: usize, io: &mut Io) {
        self.run(io);
    }
    fn wake(&mut self, io: &mut Io) {
        if self.s.end.is_some_and(|end| end <= io.cx.now()) {
            self.s = State::default();
            // A new period begins only if somebody waits.
            if io.waiting(0) {
                self.run(io);
            }
        }
    }
    fn reset(&mut self) {
        self.s = State::default();
    }
    fn settle(&mut self, io: &mut Io) {
        if self.config.limit.is_some() {
            io.cx.wake_at(self.s.end);
        }
    }
    fn save(&self) -> Vec<u8> {
        self.s.save()
    }
    fn load(&mut self, from: &[u8]) -> Result<(), Misfit> {
        self.s = State::load(from)?;
        Ok(())
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::virtio::driver::*;
    use crate::virtio::pci::PciOptions;

    fn guest(limit: Option<(u64, Tick)>) -> Guest<Rng> {
        let mut g = Guest::new(Rng::new(RngConfig { limit }), PciOptions::default());
        g.start_modern(u64::MAX);
        g
    }

    #[test]
    fn buffers_are_filled_with_bytes_that_differ() {
        let mut g = guest(None);
        let (a, b) = (g.alloc(13), g.alloc(100));
        g.send(0, &[(a, 13, true), (b, 100, true)]);
        assert_eq!(g.used(0), [(0, 113)]);
        let all = [g.get(a, 13), g.get(b, 100)].concat();
        assert!(all.windows(8).all(|w| w != [0; 8]) && all[..13] != all[13..26]);
        let long = g.alloc(5000);
        g.send(0, &[(long, 5000, true)]);
        assert_eq!(g.used(0), [(1, 4096)]);
        assert_eq!(g.get(long + 4096, 4), [0; 4]);
        g.send(0, &[(long, 8, false)]);
        assert_eq!(g.used(0), [(2, 0)], "nowhere to put any");
    }

    #[test]
    fn the_limit_holds_in_each_period() {
        let mut g = guest(Some((10, 65_536_000_000)));
        let at = g.alloc(8);
        for _ in 0..4 {
            g.queue(0, &[(at, 8, true)]);
        }
        g.kick(0);
        assert_eq!(g.used(0), [(0, 8), (1, 2)]);
        g.kick(0);
        assert_eq!((g.used(0), g.b.wake), (vec![], Some(65_536_000_000)));
        g.move_to(Rng::new(RngConfig { limit: Some((10, 65_536_000_000)) }), PciOptions::default());
        g.b.run_to_wake(&mut g.d);
        assert_eq!((g.used(0), g.b.wake), (vec![(2, 8), (3, 2)], Some(131_072_000_000)));
        g.b.run_to_wake(&mut g.d);
        assert_eq!((g.used(0), g.b.wake), (vec![], None), "nobody waits");
    }
}
