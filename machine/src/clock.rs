//! Guest time: the host's monotonic clock, or the count of instructions.

use crate::config::{Shift, Timebase};
use device::Tick;
use std::time::Instant;

/// The time-stamp counter's frequency: a count is a nanosecond.
pub const TSC_HZ: u64 = 1_000_000_000;

/// Where guest time comes from.
pub enum Clock {
    /// The host's clock, less the time the machine stood still.
    Host {
        /// Guest time when the clock last started.
        base: Tick,
        started: Option<Instant>,
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
            Timebase::Host => Clock::Host { base: 0, started: None },
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
    #[allow(clippy::disallowed_methods)] // the one place that reads the host's clock
    pub fn now(&self, count: u64) -> Tick {
        match self {
            Clock::Host { base, started } => {
                base + started.map_or(0, |s| s.elapsed().as_nanos() as Tick)
            }
            Clock::Count { shift, skipped, .. } => (count << shift) + skipped,
        }
    }
    /// Lets the host's clock run, or holds it.
    #[allow(clippy::disallowed_methods)]
    pub fn set_running(&mut self, on: bool) {
        let now = self.now(0);
        if let Clock::Host { base, started } = self
            && started.is_some() != on
        {
            *base = now;
            *started = on.then(Instant::now);
        }
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
            Clock::Host { .. } => self.now(0),
            Clock::Count { skipped, .. } => *skipped,
        }
    }
    /// Sets what [`Clock::save`] gave; `now` is the guest time then, `count` the instructions.
    pub fn load(&mut self, now: Tick, count: u64) {
        match self {
            Clock::Host { base, started } => {
                *base = now;
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
