//! What the main thread waits for: events of other threads.
//!
//! Who waits sleeps at once. A channel that first gives its turn away a few times would wait for milliseconds on a host with
//! more work than processors, and each disk request would.

use crate::chardev::Event;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

#[derive(Default)]
struct State {
    events: VecDeque<Event>,
    /// The main thread takes no more.
    closed: bool,
}
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    filled: Condvar,
}
impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where other threads put events.
#[derive(Clone)]
pub struct Inbox(Arc<Shared>);

/// The main thread's end.
pub struct Events(Arc<Shared>);

pub fn inbox() -> (Inbox, Events) {
    let shared = Arc::<Shared>::default();
    (Inbox(shared.clone()), Events(shared))
}

impl Inbox {
    /// False: nobody will take it any more.
    pub fn send(&self, event: Event) -> bool {
        let mut state = self.0.lock();
        if !state.closed {
            state.events.push_back(event);
            self.0.filled.notify_one();
        }
        !state.closed
    }
}

impl Events {
    pub fn try_take(&self) -> Option<Event> {
        self.0.lock().events.pop_front()
    }
    /// Waits for an event; without end if there is no `until`.
    pub fn wait(&self, until: Option<Instant>) -> Option<Event> {
        let mut state = self.0.lock();
        while state.events.is_empty() {
            let filled = &self.0.filled;
            state = match until.map(|at| at.saturating_duration_since(Instant::now())) {
                None => filled.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => break,
                Some(left) => {
                    filled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        state.events.pop_front()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.closed = true;
        state.events.clear();
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use std::time::Duration;

    #[test]
    fn events_come_in_order_and_waiting_ends_in_time() {
        let (to, from) = inbox();
        assert!(to.send(Event::Disk) && to.send(Event::Signal { number: 15, pid: 1 }));
        assert!(matches!(from.try_take(), Some(Event::Disk)));
        assert!(matches!(from.wait(None), Some(Event::Signal { number: 15, .. })));
        let start = Instant::now();
        assert!(from.try_take().is_none());
        assert!(from.wait(Some(start + Duration::from_millis(20))).is_none());
        assert!(start.elapsed() >= Duration::from_millis(20));
        drop(from);
        assert!(!to.send(Event::Disk), "the sender hears that nobody listens");
    }

    #[test]
    fn another_thread_wakes_who_waits() {
        let (to, from) = inbox();
        std::thread::scope(|s| {
            s.spawn(|| {
                std::thread::sleep(Duration::from_millis(20));
                to.send(Event::Disk)
            });
            assert!(matches!(from.wait(None), Some(Event::Disk)));
        });
    }
}
