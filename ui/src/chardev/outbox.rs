//! Bytes on their way out: a bounded queue that the main thread fills and a writer thread empties.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// So many bytes may be on their way before the main thread has to wait.
const ROOM: usize = 1 << 20;
/// So long it waits for a peer that must not hold the machine up.
const MOMENT: Duration = Duration::from_millis(250);
/// So many go out in one write.
const CHUNK: usize = 1 << 16;

/// The queue. With no peer, what is pushed is dropped.
pub struct Outbox {
    state: Mutex<State>,
    /// Something changed that the writer may wait for.
    filled: Condvar,
    /// Something changed that the main thread may wait for.
    emptied: Condvar,
    /// Whether the other end may take as long as it likes.
    patient: bool,
}

#[derive(Default)]
struct State {
    bytes: VecDeque<u8>,
    /// The writer is in the middle of this many bytes.
    writing: usize,
    peer: Option<Box<dyn Write + Send>>,
    has_peer: bool,
    /// Counts peers, so that the end of an old one does not remove the next.
    generation: u64,
    /// The peer has let us wait too long; until it takes something again it is not waited for.
    stalled: bool,
    /// The process is about to end: never wait.
    hurry: bool,
}

impl Outbox {
    /// A queue without a peer. A patient one loses nothing at exit, as long as the other end is there.
    pub fn new(patient: bool) -> Outbox {
        Outbox { state: Mutex::default(), filled: Condvar::new(), emptied: Condvar::new(), patient }
    }

    /// Our own threads do not panic while they hold this; if one did, the bytes are still good.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// From now on bytes go to `peer`. Returns a number to name it by.
    pub fn connect(&self, peer: Box<dyn Write + Send>) -> u64 {
        let mut s = self.lock();
        s.bytes.clear();
        s.peer = Some(peer);
        s.has_peer = true;
        s.stalled = false;
        s.generation += 1;
        self.filled.notify_all();
        s.generation
    }

    /// This peer is gone, and what was for it with it.
    pub fn disconnect(&self, generation: u64) {
        let mut s = self.lock();
        if s.generation == generation {
            s.bytes.clear();
            s.peer = None;
            s.has_peer = false;
            self.emptied.notify_all();
        }
    }

    /// Puts bytes in the queue. While it is full, waits for a patient peer as long as it takes; another has a moment, and
    /// then misses what there is no room for.
    pub fn push(&self, bytes: &[u8]) {
        let mut s = self.lock();
        let give_up = Instant::now() + MOMENT;
        while s.has_peer && !s.hurry && !s.stalled && s.bytes.len() >= ROOM {
            if self.patient {
                s = self.emptied.wait(s).unwrap_or_else(|e| e.into_inner());
                continue;
            }
            let left = give_up.saturating_duration_since(Instant::now());
            s.stalled = left.is_zero();
            s = self.emptied.wait_timeout(s, left).unwrap_or_else(|e| e.into_inner()).0;
        }
        if s.has_peer && s.bytes.len() < ROOM {
            s.bytes.extend(bytes);
            self.filled.notify_all();
        }
    }

    /// Nobody shall wait for room any more: the process is about to end.
    pub fn hurry(&self) {
        self.lock().hurry = true;
        self.emptied.notify_all();
    }

    /// Waits until all is written or the peer is gone. A peer that is slow but not patient, or any when in a hurry,
    /// gets a second without progress.
    pub fn drain(&self) {
        let mut s = self.lock();
        let mut left = usize::MAX;
        let mut since = Instant::now();
        while s.has_peer && s.bytes.len() + s.writing > 0 {
            let now = s.bytes.len() + s.writing;
            if now < left {
                (left, since) = (now, Instant::now());
            }
            let limited = s.hurry || !self.patient;
            if limited && since.elapsed() > Duration::from_secs(1) {
                return;
            }
            s = match limited {
                true => {
                    let wait = Duration::from_millis(100);
                    self.emptied.wait_timeout(s, wait).unwrap_or_else(|e| e.into_inner()).0
                }
                false => self.emptied.wait(s).unwrap_or_else(|e| e.into_inner()),
            };
        }
    }

    /// The writer thread's whole life.
    pub fn write_all(&self) {
        let mut chunk = Vec::with_capacity(CHUNK);
        loop {
            let mut s = self.lock();
            while s.bytes.is_empty() || s.peer.is_none() {
                s = self.filled.wait(s).unwrap_or_else(|e| e.into_inner());
            }
            let n = s.bytes.len().min(CHUNK);
            chunk.clear();
            chunk.extend(s.bytes.drain(..n));
            s.writing = n;
            let generation = s.generation;
            let Some(mut peer) = s.peer.take() else { continue };
            drop(s);
            let done = peer.write_all(&chunk).and_then(|()| peer.flush());
            let mut s = self.lock();
            s.writing = 0;
            s.stalled = false;
            if s.generation == generation && s.has_peer {
                match done {
                    Ok(()) => s.peer = Some(peer),
                    Err(_) => {
                        s.bytes.clear();
                        s.has_peer = false;
                    }
                }
            }
            self.emptied.notify_all();
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use std::sync::{Arc, mpsc};

    struct Slow(mpsc::Sender<Vec<u8>>, mpsc::Receiver<()>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.1.recv().map_err(std::io::Error::other)?;
            let n = bytes.len().min(1000);
            self.0.send(bytes[..n].to_vec()).map_err(std::io::Error::other)?;
            Ok(n)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nothing_is_lost_and_a_peer_that_goes_lets_everybody_go_on() {
        let outbox = Arc::new(Outbox::new(true));
        let writer = outbox.clone();
        std::thread::spawn(move || writer.write_all());
        outbox.push(b"nobody hears this");
        let ((out, seen), (go, gate)) = (mpsc::channel(), mpsc::channel());
        outbox.connect(Box::new(Slow(out, gate)));
        let data: Vec<u8> = (0..5000u32).map(|n| n as u8).collect();
        outbox.push(&data);
        for _ in 0..5 {
            go.send(()).unwrap();
        }
        outbox.drain();
        let all: Vec<u8> = seen.try_iter().flatten().collect();
        assert_eq!(all, data);
        // Fill it up; then the other end breaks.
        let pusher = outbox.clone();
        let full = std::thread::spawn(move || {
            for _ in 0..2 * ROOM / 5000 {
                pusher.push(&data);
            }
        });
        drop(go);
        full.join().unwrap();
        outbox.drain();
    }

    #[test]
    fn a_stalled_peer_holds_up_the_machine_for_a_moment_only() {
        let outbox = Arc::new(Outbox::new(false));
        let writer = outbox.clone();
        std::thread::spawn(move || writer.write_all());
        let ((out, seen), (go, gate)) = (mpsc::channel(), mpsc::channel());
        outbox.connect(Box::new(Slow(out, gate)));
        let before = Instant::now();
        for _ in 0..100 {
            outbox.push(&[0; ROOM / 10]);
        }
        let took = before.elapsed();
        assert!(took >= MOMENT && took < 10 * MOMENT, "{took:?}");
        // It takes something again: all that there was room for is there.
        for _ in 0..2 * ROOM / 1000 {
            go.send(()).unwrap();
        }
        outbox.drain();
        let all: usize = seen.try_iter().map(|b| b.len()).sum();
        assert!((ROOM..2 * ROOM).contains(&all), "{all}");
    }

    #[test]
    fn in_a_hurry_a_stuck_peer_is_left_behind() {
        let outbox = Arc::new(Outbox::new(true));
        let writer = outbox.clone();
        std::thread::spawn(move || writer.write_all());
        let ((out, _seen), (_go, gate)) = (mpsc::channel(), mpsc::channel());
        outbox.connect(Box::new(Slow(out, gate)));
        outbox.push(b"stuck");
        outbox.hurry();
        let before = Instant::now();
        outbox.drain();
        assert!(before.elapsed() >= Duration::from_secs(1));
    }
}
