//! Character devices: where the bytes of serial ports, debug ports and monitors come from and go to.
//!
//! A back end has at most two threads. One reads and puts [`Event`]s into the main thread's inbox, one chunk at a time:
//! it goes on when the main thread says that the last chunk is used up. The other writes what the main thread has put
//! into the [`Outbox`]. Both sleep in the kernel when there is nothing to do.

mod open;
mod outbox;
mod pty;
mod socket;
mod stream;
mod telnet;
pub mod terminal;

pub use open::open;
pub use outbox::Outbox;
pub(crate) use stream::spawn;

use crate::inbox::Inbox;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Mutex};

/// What the main thread is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Bytes came in. The reader waits for [`Chardev::go_on`].
    Bytes { chardev: usize, bytes: Vec<u8> },
    /// A break came in.
    Break { chardev: usize },
    /// Somebody is at the other end now.
    Opened { chardev: usize },
    /// The other end is gone.
    Closed { chardev: usize },
    /// A disk has answered: the machine has the answer.
    Disk,
    /// The process got a signal that ends it.
    Signal { number: i32, pid: i32 },
}

/// How a reader reaches the main thread.
#[derive(Clone)]
pub struct Inlet {
    chardev: usize,
    inbox: Inbox,
    go_on: Receiver<()>,
}

impl Inlet {
    /// Hands bytes over and waits until they are used up. False when the main thread is gone.
    pub fn bytes(&self, bytes: &[u8]) -> bool {
        if bytes.is_empty() {
            return true;
        }
        let event = Event::Bytes { chardev: self.chardev, bytes: bytes.to_vec() };
        self.inbox.send(event) && self.go_on.recv().is_ok()
    }

    pub fn send_break(&self) -> bool {
        self.inbox.send(Event::Break { chardev: self.chardev })
    }

    pub fn opened(&self) -> bool {
        self.inbox.send(Event::Opened { chardev: self.chardev })
    }

    pub fn closed(&self) -> bool {
        self.inbox.send(Event::Closed { chardev: self.chardev })
    }
}

/// Bytes kept in memory for `ringbuf_read`: the last `size` of them.
#[derive(Debug)]
pub struct Ring {
    bytes: VecDeque<u8>,
    size: usize,
}

impl Ring {
    pub fn new(size: usize) -> Ring {
        Ring { bytes: VecDeque::new(), size }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        let fits = &bytes[bytes.len().saturating_sub(self.size)..];
        let over = (self.bytes.len() + fits.len()).saturating_sub(self.size);
        self.bytes.drain(..over);
        self.bytes.extend(fits);
    }

    pub fn take(&mut self, most: usize) -> Vec<u8> {
        let n = most.min(self.bytes.len());
        self.bytes.drain(..n).collect()
    }
}

/// Where output goes.
enum Sink {
    Nowhere,
    Outbox(Arc<Outbox>),
    Ring(Arc<Mutex<Ring>>),
}

/// An open character device, as the main thread has it.
pub struct Chardev {
    pub id: String,
    /// What `info chardev` shows.
    pub filename: String,
    /// Whether somebody is at the other end, as far as events have told.
    pub connected: bool,
    sink: Sink,
    log: Option<File>,
    go_on: Option<Sender<()>>,
    waiting: bool,
}

impl Chardev {
    fn new(id: &str, filename: impl Into<String>) -> Chardev {
        Chardev {
            id: id.to_string(),
            filename: filename.into(),
            connected: true,
            sink: Sink::Nowhere,
            log: None,
            go_on: None,
            waiting: false,
        }
    }

    /// The way from a new reader to the main thread.
    fn inlet(&mut self, chardev: usize, inbox: &Inbox) -> Inlet {
        let (go, go_on) = bounded(1);
        self.go_on = Some(go);
        Inlet { chardev, inbox: inbox.clone(), go_on }
    }

    /// Sends bytes out. Waits when very many are on their way already, unless the other end is gone.
    pub fn write(&mut self, bytes: &[u8]) {
        if let Some(log) = &mut self.log
            && let Err(e) = log.write_all(bytes)
        {
            crate::log::tell(format_args!("-chardev: {}: log file: {e}", self.id));
            self.log = None;
        }
        match &self.sink {
            Sink::Nowhere => {}
            Sink::Outbox(o) => o.push(bytes),
            Sink::Ring(r) => {
                if let Ok(mut r) = r.lock() {
                    r.push(bytes);
                }
            }
        }
    }

    /// A chunk came; its reader waits.
    pub fn chunk_came(&mut self) {
        self.waiting = true;
    }

    /// Lets the reader read on, if it waits.
    pub fn go_on(&mut self) {
        if std::mem::take(&mut self.waiting)
            && let Some(go_on) = &self.go_on
        {
            // A reader that has ended does not need it.
            let _ = go_on.try_send(());
        }
    }

    pub fn ring(&self) -> Option<Arc<Mutex<Ring>>> {
        match &self.sink {
            Sink::Ring(r) => Some(r.clone()),
            _ => None,
        }
    }

    pub fn outbox(&self) -> Option<Arc<Outbox>> {
        match &self.sink {
            Sink::Outbox(o) => Some(o.clone()),
            _ => None,
        }
    }
}
