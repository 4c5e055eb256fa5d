//! Limits on bytes and operations a second: a filter that lets requests wait in their own threads.
//!
//! Each limit is a leaky bucket. It leaks at the limit's rate; a request waits until the bucket is not fuller than what may
//! come at once, then pours itself in. The limits can be changed at any time, and several nodes may share them.

use crate::{Image, Info};
use std::io::Result;
use std::sync::atomic::{AtomicBool, Ordering::*};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A limit: so much a second; `max`: so much in a second may come at once. 0: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    pub rate: u64,
    pub max: u64,
}

/// Limits of reads and writes together, of reads, of writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub bytes: [Limit; 3],
    pub operations: [Limit; 3],
}

/// The names of options, for `x-max` and `x`: in the order of [`Limits`].
pub const NAMES: [&str; 3] = ["total", "read", "write"];

impl Limits {
    /// Whether these limits make sense.
    pub fn check(&self) -> std::result::Result<(), String> {
        for (kind, all) in [("bps", &self.bytes), ("iops", &self.operations)] {
            for (limit, name) in all.iter().zip(NAMES) {
                if limit.max > 0 && (limit.rate == 0 || limit.max < limit.rate) {
                    return Err(format!("{kind}-{name}-max must be at least {kind}-{name}"));
                }
                if limit.rate.max(limit.max) > 1_000_000_000_000_000 {
                    return Err(format!("{kind}-{name}: at most 10^15 are possible"));
                }
            }
            if all[0].rate > 0 && (all[1].rate > 0 || all[2].rate > 0) {
                return Err(format!(
                    "{kind}-total cannot be used with {kind}-read or {kind}-write"
                ));
            }
        }
        Ok(())
    }
}

/// Limits that one node or several share.
pub struct Limiter {
    state: Mutex<State>,
    changed: Condvar,
    /// There are limits at all.
    any: AtomicBool,
}

impl Default for Limiter {
    fn default() -> Self {
        Limiter::new(Limits::default())
    }
}

struct State {
    limits: Limits,
    /// How full the buckets are: bytes, then operations.
    levels: [f64; 6],
    since: Instant,
}

impl State {
    fn each(&self) -> impl Iterator<Item = &Limit> {
        self.limits.bytes.iter().chain(&self.limits.operations)
    }
    fn leak(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.since).as_secs_f64();
        self.since = now;
        let rates: Vec<f64> = self.each().map(|l| l.rate as f64).collect();
        for (level, rate) in self.levels.iter_mut().zip(rates) {
            *level = if rate == 0.0 { 0.0 } else { (*level - rate * seconds).max(0.0) };
        }
    }
    /// Seconds until a request may go.
    fn wait(&self, write: bool) -> f64 {
        let other = if write { 1 } else { 2 };
        let limits = self.each().zip(self.levels).enumerate().filter(|(n, _)| n % 3 != other);
        limits.fold(0.0, |wait: f64, (_, (l, level))| {
            // A tenth of a second's worth may come at once, unless more is allowed.
            let room = if l.max > 0 { l.max as f64 } else { l.rate as f64 / 10.0 };
            if l.rate > 0 && level > room { wait.max((level - room) / l.rate as f64) } else { wait }
        })
    }
    fn pour(&mut self, write: bool, bytes: u64) {
        for n in [0, if write { 2 } else { 1 }] {
            self.levels[n] += bytes as f64;
            self.levels[n + 3] += 1.0;
        }
    }
}

impl Limiter {
    pub fn new(limits: Limits) -> Limiter {
        let state = State { limits, levels: [0.0; 6], since: Instant::now() };
        let any = (limits != Limits::default()).into();
        Limiter { state: Mutex::new(state), changed: Condvar::new(), any }
    }
    pub fn limits(&self) -> Limits {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).limits
    }
    /// Other limits from now on, for those who wait, too. No limits let all of them go.
    pub fn set(&self, limits: Limits) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.leak(Instant::now());
        state.limits = limits;
        self.any.store(limits != Limits::default(), Release);
        drop(state);
        self.changed.notify_all();
    }
    /// Whether nobody has to wait, ever.
    pub fn is_free(&self) -> bool {
        !self.any.load(Acquire)
    }
    /// Waits until a request of so many bytes may go.
    pub(crate) fn pass(&self, write: bool, bytes: u64) {
        if self.is_free() {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            state.leak(Instant::now());
            let wait = state.wait(write);
            if wait <= 0.0 {
                return state.pour(write, bytes);
            }
            let time = Duration::from_secs_f64(wait.min(3600.0)) + Duration::from_micros(20);
            state = match self.changed.wait_timeout(state, time) {
                Ok((state, _)) => state,
                Err(p) => p.into_inner().0,
            };
        }
    }
}

/// The filter.
pub struct Throttle {
    under: Arc<dyn Image>,
    pub limiter: Arc<Limiter>,
}

impl Throttle {
    pub fn new(under: Arc<dyn Image>, limiter: Arc<Limiter>) -> Throttle {
        Throttle { under, limiter }
    }
}

impl Image for Throttle {
    fn info(&self) -> Info {
        self.under.info()
    }
    fn read(&self, at: u64, into: &mut [u8]) -> Result<()> {
        self.limiter.pass(false, into.len() as u64);
        self.under.read(at, into)
    }
    fn write(&self, at: u64, from: &[u8]) -> Result<()> {
        self.limiter.pass(true, from.len() as u64);
        self.under.write(at, from)
    }
    fn flush(&self) -> Result<()> {
        self.under.flush()
    }
    fn discard(&self, at: u64, len: u64) -> Result<()> {
        self.under.discard(at, len)
    }
    fn zero(&self, at: u64, len: u64, unmap: bool) -> Result<()> {
        self.limiter.pass(true, len);
        self.under.zero(at, len, unmap)
    }
    fn resize(&self, len: u64) -> Result<()> {
        self.under.resize(len)
    }
    fn try_read(&self, at: u64, into: &mut [u8]) -> Option<Result<()>> {
        if self.limiter.is_free() { self.under.try_read(at, into) } else { None }
    }
    fn on_host(&self) -> u64 {
        self.under.on_host()
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::Mem;

    fn limited(limits: Limits) -> Throttle {
        Throttle::new(Arc::new(Mem::new(1 << 20, 1 << 20)), Arc::new(Limiter::new(limits)))
    }

    #[test]
    fn a_limit_is_kept_over_time_and_the_other_direction_is_free() {
        let mut limits = Limits::default();
        limits.operations[2].rate = 200;
        let t = limited(limits);
        let start = Instant::now();
        (0..200).for_each(|_| t.read(0, &mut [0; 512]).unwrap());
        assert!(start.elapsed() < Duration::from_millis(300));
        let start = Instant::now();
        (0..60).for_each(|_| t.write(0, &[0; 512]).unwrap());
        // 20 at once, 40 at 200 a second.
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(170), "{took:?}");
    }

    #[test]
    fn bytes_that_may_come_at_once_do_and_who_waits_hears_of_new_limits() {
        let mut limits = Limits::default();
        limits.bytes[0] = Limit { rate: 1000, max: 100_000 };
        let t = Arc::new(limited(limits));
        let start = Instant::now();
        (0..190).for_each(|_| t.write(0, &[0; 512]).unwrap());
        assert!(start.elapsed() < Duration::from_millis(500));
        let other = t.clone();
        let wait = std::thread::Builder::new().spawn(move || {
            (0..100).for_each(|_| other.write(0, &[0; 512]).unwrap());
        });
        std::thread::sleep(Duration::from_millis(50));
        t.limiter.set(Limits::default());
        wait.unwrap().join().unwrap();
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn nonsense_is_told() {
        let mut limits = Limits::default();
        limits.bytes[1].max = 5;
        assert!(limits.check().unwrap_err().contains("bps-read-max"));
        limits.bytes[1] = Limit { rate: 5, max: 0 };
        assert!(limits.check().is_ok());
        limits.bytes[0].rate = 1;
        assert!(limits.check().unwrap_err().contains("bps-total"));
    }
}
