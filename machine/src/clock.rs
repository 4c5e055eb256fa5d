//! Guest time: the host's monotonic clock, or the count of instructions.
//!
//! The host may let us wait in the middle of the guest's work, for milliseconds. If guest time leapt then, whoever measures one
//! clock by another would find them broken (Linux's calibration of the TSC against the 8254 compares the longest step of a
//! loop with the shortest). So guest time is held to a pace while a core works, and makes up for the rest as they work on,
//! or at once when they wait.

use crate::config::{Shift, Timebase};
use device::Tick;
use std::cell::Cell;
use std::time::Instant;

/// The time-stamp counter's frequency: a count is a nanosecond.
pub const TSC_HZ: u64 = 1_000_000_000;

/// The most that guest time goes on from one look at it to the next: so much,
const PER_LOOK: Tick = 250;
/// and so much for each instruction between. Several times what one takes, so that what was missed is made up for soon.
const PER_INSTRUCTION: Tick = 100;

/// Guest time by the host's clock, as it was last seen.
#[derive(Clone, Copy, Default)]
pub struct Seen {
    at: Tick,
    count: u64,
    /// Nobody works: time need not keep to a pace.
    waiting: bool,
}

/// Where guest time comes from.
pub enum Clock {
    /// The host's clock, less the time the machine stood still.
    Host {
        /// Guest time when the clock last started.
        base: Tick,
        started: Option<Instant>,
        /// When it was stopped last.
        stopped: Instant,
        seen: Cell<Seen>,
    },
    /// `(instructions << shift) + skipped`: nothing of the host.
    Count {
        shift: u8,
        /// Whether idle time is waited for in host time.
        sleep: bool,
        /// Idle time that was jumped over.
        skipped: Tick,
    },
}

impl Clock {
    pub fn new(how: Timebase) -> Clock {
        match how {
            Timebase::Host => {
                #[allow(clippy::disallowed_methods)]
                let stopped = Instant::now();
                Clock::Host { base: 0, started: None, stopped, seen: Cell::default() }
            }
            Timebase::Count { shift, sleep, .. } => {
                // A rate that followed the host's speed would not be the same twice.
                let shift = match shift {
                    Shift::Fixed(n) => n,
                    Shift::Auto => 2,
                };
                Clock::Count { shift, sleep, skipped: 0 }
            }
        }
    }
    /// Guest time after `count` instructions in all.
    pub fn now(&self, count: u64) -> Tick {
        match self {
            Clock::Host { seen, .. } => {
                let now = paced(seen.get(), count, self.host());
                seen.set(now);
                now.at
            }
            Clock::Count { shift, skipped, .. } => (count << shift) + skipped,
        }
    }
    /// By the host's clock alone.
    #[allow(clippy::disallowed_methods)] // the one place that reads the host's clock
    fn host(&self) -> Tick {
        match self {
            Clock::Host { base, started, .. } => {
                base + started.map_or(0, |s| s.elapsed().as_nanos() as Tick)
            }
            Clock::Count { skipped, .. } => *skipped,
        }
    }
    /// Says whether all cores wait, or the one that ran.
    pub fn set_waiting(&self, waiting: bool) {
        if let Clock::Host { seen, .. } = self {
            seen.set(Seen { waiting, ..seen.get() });
        }
    }
    /// Lets the host's clock run, or holds it. Gives for how long it was held until now.
    #[allow(clippy::disallowed_methods)]
    pub fn set_running(&mut self, on: bool) -> Tick {
        let time = self.host();
        let Clock::Host { base, started, stopped, .. } = self else { return 0 };
        if started.is_some() == on {
            return 0;
        }
        let now = Instant::now();
        *base = time;
        *started = on.then_some(now);
        let held = now.saturating_duration_since(*stopped);
        *stopped = now;
        if on { held.as_nanos() as Tick } else { 0 }
    }
    /// Instructions until guest time `at`, if time is counted in them.
    pub fn instructions_until(&self, count: u64, at: Tick) -> Option<u64> {
        match self {
            Clock::Host { .. } => None,
            Clock::Count { shift, .. } => {
                let left = at.saturating_sub(self.now(count));
                Some(left.div_ceil(1 << shift))
            }
        }
    }
    /// All CPUs wait: jumps to `at`. `false` if the host's clock has to get there by itself.
    pub fn skip_to(&mut self, count: u64, at: Tick) -> bool {
        let now = self.now(count);
        match self {
            Clock::Host { .. } => false,
            Clock::Count { skipped, .. } => {
                *skipped += at.saturating_sub(now);
                true
            }
        }
    }
    /// Whether idle time is also waited for in host time although it is jumped over.
    pub fn sleeps(&self) -> bool {
        matches!(self, Clock::Count { sleep: true, .. })
    }
    /// For a saved state: guest time without a count, or the skipped part.
    pub fn save(&self) -> Tick {
        match self {
            Clock::Host { seen, .. } => seen.get().at,
            Clock::Count { skipped, .. } => *skipped,
        }
    }
    /// Sets what [`Clock::save`] gave; `now` is the guest time then, `count` the instructions.
    pub fn load(&mut self, now: Tick, count: u64) {
        match self {
            Clock::Host { base, started, seen, .. } => {
                *base = now;
                seen.set(Seen { at: now, count, waiting: false });
                if let Some(s) = started {
                    #[allow(clippy::disallowed_methods)]
                    let fresh = Instant::now();
                    *s = fresh;
                }
            }
            Clock::Count { shift, skipped, .. } => *skipped = now.saturating_sub(count << *shift),
        }
    }
}

/// What is seen of the host's time `host` after `count` instructions.
fn paced(seen: Seen, count: u64, host: Tick) -> Seen {
    let most = match seen.waiting {
        true => Tick::MAX,
        false => PER_LOOK + count.saturating_sub(seen.count).saturating_mul(PER_INSTRUCTION),
    };
    Seen { at: host.clamp(seen.at, seen.at.saturating_add(most)), count, ..seen }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn time_makes_no_leap_while_a_core_works_and_catches_up() {
        let mut seen = Seen { at: 1_000, count: 50, waiting: false };
        // Fast enough: the host's time, whatever it is.
        seen = paced(seen, 60, 1_200);
        assert_eq!(seen.at, 1_200);
        // The host was away for a second.
        seen = paced(seen, 70, 1_000_000_000);
        assert_eq!(seen.at, 1_200 + PER_LOOK + 10 * PER_INSTRUCTION);
        seen = paced(seen, 70 + 20_000_000, 1_000_001_000);
        assert_eq!(seen.at, 1_000_001_000);
        // Never back.
        seen = paced(seen, 20_000_100, 999);
        assert_eq!(seen.at, 1_000_001_000);
        seen = paced(Seen { waiting: true, ..seen }, seen.count, 3_000_000_000);
        assert_eq!(seen.at, 3_000_000_000);
    }
}
