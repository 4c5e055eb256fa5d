//! Requests in flight: a few threads that read and write one image for a controller.
//!
//! Requests run at the same time and end in any order, with one exception: a flush covers every write that was answered
//! before it was asked for, which holds by itself, because a write is answered when the image has it.
//!
//! A small read or write of what the host has in memory is done where it is asked for: waking a thread takes longer.

use crate::Image;
use memory::Buffer;
use std::collections::VecDeque;
use std::io::{Error, Result};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// What is to be done; positions and lengths in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Read {
        at: u64,
        len: u32,
    },
    /// `fua`: it is answered once it outlives the host.
    Write {
        at: u64,
        data: Buffer,
        fua: bool,
    },
    Flush,
    Discard {
        at: u64,
        len: u64,
    },
    Zero {
        at: u64,
        len: u64,
        unmap: bool,
    },
}

/// A request that is over. It brings its operation back, so that it can be tried again.
#[derive(Debug)]
pub struct Done {
    pub tag: u64,
    pub op: Op,
    /// The bytes that were read, nothing else.
    pub result: Result<Buffer>,
}

/// Does one operation.
pub fn perform(image: &dyn Image, op: &Op) -> Result<Buffer> {
    match *op {
        Op::Read { at, len } => {
            let mut bytes = Buffer::any(len as usize);
            image.read(at, &mut bytes)?;
            return Ok(bytes);
        }
        Op::Write { at, ref data, fua } => {
            image.write(at, data)?;
            if fua {
                image.flush()?;
            }
        }
        Op::Flush => image.flush()?,
        Op::Discard { at, len } => image.discard(at, len)?,
        Op::Zero { at, len, unmap } => image.zero(at, len, unmap)?,
    }
    Ok(Buffer::default())
}

/// What the threads and the machine share.
#[derive(Default)]
struct Work {
    waiting: VecDeque<(u64, Op)>,
    done: VecDeque<Done>,
    /// Nothing more will come.
    closed: bool,
}
#[derive(Default)]
struct Shared {
    work: Mutex<Work>,
    /// A request came, or the end.
    came: Condvar,
    /// A request is over.
    over: Condvar,
}
impl Shared {
    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// The next request; `None`: there will be none. It sleeps at once: who gives its turn away a few times first, as
    /// channels do, comes back late on a busy host.
    fn next(&self) -> Option<(u64, Op)> {
        let mut work = self.lock();
        loop {
            if let Some(next) = work.waiting.pop_front() {
                return Some(next);
            }
            if work.closed {
                return None;
            }
            work = self.came.wait(work).unwrap_or_else(PoisonError::into_inner);
        }
    }
    fn done(&self, done: Done) {
        self.lock().done.push_back(done);
        self.over.notify_one();
    }
}

/// The threads of one image.
pub struct Queue {
    image: Arc<dyn Image>,
    woken: Arc<dyn Fn() + Send + Sync>,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    flying: usize,
}

/// Bytes that are copied while the machine waits.
const AT_ONCE: u32 = 1 << 20;

impl Queue {
    /// `woken` is called after each answer, from another thread or within [`Queue::submit`]: [`Queue::take`] has it then.
    pub fn new(
        image: Arc<dyn Image>,
        threads: usize,
        woken: Arc<dyn Fn() + Send + Sync>,
    ) -> Result<Queue> {
        let shared = Arc::<Shared>::default();
        let mut queue = Queue { image, woken, shared, threads: Vec::new(), flying: 0 };
        for n in 0..threads.max(1) {
            let (image, shared) = (queue.image.clone(), queue.shared.clone());
            let woken = queue.woken.clone();
            let work = move || {
                while let Some((tag, op)) = shared.next() {
                    // A mistake of ours is an error of this request, not a request that is never answered.
                    let caught = catch_unwind(AssertUnwindSafe(|| perform(&*image, &op)));
                    let result =
                        caught.unwrap_or_else(|_| Err(Error::other("a disk thread failed")));
                    shared.done(Done { tag, op, result });
                    woken();
                }
            };
            let thread = std::thread::Builder::new().name(format!("disk {n}")).spawn(work)?;
            queue.threads.push(thread);
        }
        Ok(queue)
    }

    /// Starts a request.
    pub fn submit(&mut self, tag: u64, op: Op) {
        self.flying += 1;
        if let Some(result) = self.try_at_once(&op) {
            self.shared.done(Done { tag, op, result });
            return (self.woken)();
        }
        self.shared.lock().waiting.push_back((tag, op));
        self.shared.came.notify_one();
    }
    /// Does what needs no waiting.
    fn try_at_once(&self, op: &Op) -> Option<Result<Buffer>> {
        match *op {
            Op::Read { at, len } if len <= AT_ONCE => {
                let mut bytes = Buffer::any(len as usize);
                let result = self.image.try_read(at, &mut bytes)?;
                Some(result.map(|()| bytes))
            }
            Op::Write { at, ref data, fua: false } if data.len() <= AT_ONCE as usize => {
                let result = self.image.try_write(at, data)?;
                Some(result.map(|()| Buffer::default()))
            }
            _ => None,
        }
    }
    /// A request that is over, if there is one.
    pub fn take(&mut self) -> Option<Done> {
        let done = self.shared.lock().done.pop_front()?;
        self.flying -= 1;
        Some(done)
    }
    /// The next request that is over; waits for it. `None`: none is in flight.
    pub fn wait(&mut self) -> Option<Done> {
        if self.flying == 0 {
            return None;
        }
        let mut work = self.shared.lock();
        let done = loop {
            if let Some(done) = work.done.pop_front() {
                break done;
            }
            work = self.shared.over.wait(work).unwrap_or_else(PoisonError::into_inner);
        };
        self.flying -= 1;
        Some(done)
    }
    /// Requests whose answers were not taken yet.
    pub fn flying(&self) -> usize {
        self.flying
    }
}

impl Drop for Queue {
    /// What was begun is finished: no write is lost because somebody quits.
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.came.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::{Access, HostFile};
    use std::sync::atomic::{AtomicUsize, Ordering::*};

    fn file() -> (tempfile::TempDir, Arc<dyn Image>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, vec![0; 1 << 20]).unwrap();
        let how = Access { write: true, ..Access::default() };
        (dir, Arc::new(HostFile::open(&path, how).unwrap()))
    }

    #[test]
    fn every_request_is_answered_once_and_with_its_own_tag() {
        let (_dir, image) = file();
        let woken = Arc::new(AtomicUsize::new(0));
        let count = woken.clone();
        let wake = Arc::new(move || {
            count.fetch_add(1, SeqCst);
        });
        let mut q = Queue::new(image, 4, wake).unwrap();
        for n in 0..200u64 {
            q.submit(
                n,
                Op::Write { at: n * 512, data: vec![n as u8; 512].into(), fua: n % 50 == 0 },
            );
        }
        let mut seen = [false; 200];
        while let Some(d) = q.wait() {
            assert!(d.result.is_ok() && !std::mem::replace(&mut seen[d.tag as usize], true));
        }
        assert!(seen.iter().all(|&s| s) && q.flying() == 0);
        q.submit(7, Op::Read { at: 512 * 9, len: 1024 });
        let d = q.wait().unwrap();
        let bytes = d.result.unwrap();
        assert!(bytes[..512] == [9; 512] && bytes[512..] == [10; 512]);
        q.submit(8, Op::Read { at: 1 << 20, len: 1 });
        assert!(q.wait().unwrap().result.is_err());
        drop(q);
        assert_eq!(woken.load(SeqCst), 202);
    }

    #[test]
    fn what_was_begun_is_on_the_disk_after_a_drop() {
        let (dir, image) = file();
        let mut q = Queue::new(image, 2, Arc::new(|| {})).unwrap();
        for n in 0..64u64 {
            q.submit(n, Op::Write { at: n * 4096, data: vec![0xA5; 4096].into(), fua: false });
        }
        drop(q);
        let bytes = std::fs::read(dir.path().join("x")).unwrap();
        assert!(bytes[..64 * 4096].iter().all(|&b| b == 0xA5));
    }
}
