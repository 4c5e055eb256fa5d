//! Whether to wait for the host: what it does at once lately, it is asked at once again.

use std::sync::atomic::{AtomicU32, Ordering::*};
use std::time::{Duration, Instant};

/// What takes longer was waiting.
const LONG: Duration = Duration::from_micros(500);
/// So many later requests are not tried then.
const PAUSE: u32 = 256;

/// Requests that are not to be tried.
#[derive(Default)]
pub struct Patience(AtomicU32);

impl Patience {
    /// Does the work here; `None`: it is not done, since the host took long over such work lately.
    pub fn spend<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        if self.0.fetch_update(AcqRel, Relaxed, |n| n.checked_sub(1)).is_ok() {
            return None;
        }
        let start = Instant::now();
        let done = work();
        if start.elapsed() > LONG {
            self.0.store(PAUSE, Release);
        }
        Some(done)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn who_had_to_wait_leaves_the_next_ones_to_others() {
        let p = Patience::default();
        let slow = || {
            std::thread::sleep(2 * LONG);
            7
        };
        assert_eq!(p.spend(slow), Some(7));
        assert!((0..PAUSE).all(|_| p.spend(|| 1).is_none()));
        assert_eq!(p.spend(|| 1), Some(1));
    }
}
