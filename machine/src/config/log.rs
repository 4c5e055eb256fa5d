//! What is worth a line in the log (`-d`), and where such a line goes (`-D`).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A kind of log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    InAsm,
    Int,
    Exec,
    Cpu,
    CpuReset,
    GuestErrors,
    Unimp,
}

/// The kinds by their `-d` names.
#[rustfmt::skip]
pub const ITEMS: &[(Item, &str, &str)] = &[
    (Item::InAsm,       "in_asm",       "show guest code as it is first decoded"),
    (Item::Int,         "int",          "show interrupts and exceptions"),
    (Item::Exec,        "exec",         "show each block of code that runs (slow)"),
    (Item::Cpu,         "cpu",          "show CPU registers before each block (slow)"),
    (Item::CpuReset,    "cpu_reset",    "show CPU state before CPU resets"),
    (Item::GuestErrors, "guest_errors", "show nonsense done by the guest to a device"),
    (Item::Unimp,       "unimp",        "show uses of what is not there yet"),
];

type Sink = dyn Fn(Item, fmt::Arguments<'_>) + Send + Sync;

/// The log as all of the machine sees it. Clones share the choice of items, which a monitor may change at any time.
#[derive(Clone)]
pub struct Log {
    items: Arc<AtomicU32>,
    sink: Arc<Sink>,
}

impl Default for Log {
    fn default() -> Self {
        Log::new(|_, _| ())
    }
}

impl Log {
    /// A log with nothing chosen whose lines go to `sink`; a line has no newline at its end.
    pub fn new(sink: impl Fn(Item, fmt::Arguments<'_>) + Send + Sync + 'static) -> Log {
        Log { items: Arc::new(AtomicU32::new(0)), sink: Arc::new(sink) }
    }

    /// Whether `item` was asked for. Cheap: ask before working a line out.
    pub fn wants(&self, item: Item) -> bool {
        self.items.load(Ordering::Relaxed) & item.bit() != 0
    }

    /// Chooses exactly these.
    pub fn choose(&self, items: &[Item]) {
        let all = items.iter().fold(0, |all, i| all | i.bit());
        self.items.store(all, Ordering::Relaxed);
    }

    /// Writes one line, if its kind was asked for.
    pub fn line(&self, item: Item, what: fmt::Arguments<'_>) {
        if self.wants(item) {
            (self.sink)(item, what);
        }
    }
}

impl Item {
    fn bit(self) -> u32 {
        1 << self as u32
    }

    /// The item of this `-d` name.
    pub fn named(name: &str) -> Option<Item> {
        ITEMS.iter().find(|i| i.1 == name).map(|i| i.0)
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on: Vec<_> = ITEMS.iter().filter(|i| self.wants(i.0)).map(|i| i.1).collect();
        f.debug_tuple("Log").field(&on).finish()
    }
}

/// Two logs are the same when the same items are chosen; where the lines go does not count.
impl PartialEq for Log {
    fn eq(&self, other: &Log) -> bool {
        self.items.load(Ordering::Relaxed) == other.items.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn only_chosen_items_reach_the_sink() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let to = seen.clone();
        let log = Log::new(move |i, what| to.lock().unwrap().push((i, what.to_string())));
        let copy = log.clone();
        log.line(Item::Int, format_args!("one"));
        log.choose(&[Item::Int, Item::Unimp]);
        copy.line(Item::Int, format_args!("two"));
        copy.line(Item::Cpu, format_args!("three"));
        assert_eq!(*seen.lock().unwrap(), [(Item::Int, "two".to_string())]);
        assert_eq!(format!("{copy:?}"), r#"Log(["int", "unimp"])"#);
    }
}
