//! Errors on request: a filter that fails what its rules say, in the spirit of QEMU's blkdebug.

use crate::{Image, Info};
use std::io::{Error, Result};
use std::sync::{Arc, Mutex, PoisonError};

/// Kinds of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Io {
    Read,
    Write,
    WriteZeroes,
    Discard,
    Flush,
}

/// Their names in `iotype`.
const IO: [(&str, Io); 5] = [
    ("read", Io::Read),
    ("write", Io::Write),
    ("write-zeroes", Io::WriteZeroes),
    ("discard", Io::Discard),
    ("flush", Io::Flush),
];
/// Names in `event`, as far as they are about operations on the filter itself. `none`: any.
const EVENTS: [(&str, Option<Io>); 6] = [
    ("none", None),
    ("read_aio", Some(Io::Read)),
    ("write_aio", Some(Io::Write)),
    ("pwritev", Some(Io::Write)),
    ("pwritev_zero", Some(Io::WriteZeroes)),
    ("flush_to_disk", Some(Io::Flush)),
];

/// What fails, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `None`: all.
    pub io: Option<Io>,
    pub errno: i32,
    /// Only what touches this sector.
    pub sector: Option<u64>,
    /// So many operations pass before.
    pub after: u64,
    /// It happens once.
    pub once: bool,
}

impl Rule {
    pub fn new(io: Option<Io>, errno: i32) -> Rule {
        Rule { io, errno, sector: None, after: 0, once: false }
    }
    pub fn once(mut self) -> Rule {
        self.once = true;
        self
    }
    /// The operations that an `event` and an `iotype` are about; an error names what is not known.
    pub fn kinds(event: &str, iotype: Option<&str>) -> std::result::Result<Option<Io>, String> {
        let known = EVENTS.iter().find(|e| e.0 == event);
        let by_event = known.ok_or_else(|| format!("event '{event}' is not supported"))?.1;
        let Some(name) = iotype else { return Ok(by_event) };
        let io = IO.iter().find(|n| n.0 == name);
        let io = io.ok_or_else(|| format!("iotype '{name}' is not supported"))?.1;
        match by_event {
            Some(e) if e != io => Err(format!("event '{event}' is no '{name}'")),
            _ => Ok(Some(io)),
        }
    }
}

/// The filter.
pub struct Faults {
    under: Arc<dyn Image>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    /// Operations that failed.
    hits: u64,
}

impl Faults {
    pub fn new(under: Arc<dyn Image>, rules: Vec<Rule>) -> Faults {
        Faults { under, state: Mutex::new(State { rules, hits: 0 }) }
    }
    /// Other rules from now on.
    pub fn set(&self, rules: Vec<Rule>) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).rules = rules;
    }
    pub fn hits(&self) -> u64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).hits
    }
    fn pass(&self, io: Io, at: u64, len: u64) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let touches = |s: u64| at / 512 <= s && (s * 512) < at + len;
        let fits = |r: &Rule| r.io.is_none_or(|k| k == io) && r.sector.is_none_or(touches);
        for n in 0..state.rules.len() {
            let rule = &mut state.rules[n];
            if !fits(rule) {
                continue;
            }
            if rule.after > 0 {
                rule.after -= 1;
                continue;
            }
            let errno = rule.errno;
            if rule.once {
                state.rules.remove(n);
            }
            state.hits += 1;
            return Err(Error::from_raw_os_error(errno));
        }
        Ok(())
    }
}

impl Image for Faults {
    fn info(&self) -> Info {
        self.under.info()
    }
    fn read(&self, at: u64, into: &mut [u8]) -> Result<()> {
        self.pass(Io::Read, at, into.len() as u64)?;
        self.under.read(at, into)
    }
    fn write(&self, at: u64, from: &[u8]) -> Result<()> {
        self.pass(Io::Write, at, from.len() as u64)?;
        self.under.write(at, from)
    }
    fn flush(&self) -> Result<()> {
        self.pass(Io::Flush, 0, 0)?;
        self.under.flush()
    }
    fn discard(&self, at: u64, len: u64) -> Result<()> {
        self.pass(Io::Discard, at, len)?;
        self.under.discard(at, len)
    }
    fn zero(&self, at: u64, len: u64, unmap: bool) -> Result<()> {
        self.pass(Io::WriteZeroes, at, len)?;
        self.under.zero(at, len, unmap)
    }
    fn resize(&self, len: u64) -> Result<()> {
        self.under.resize(len)
    }
    fn on_host(&self) -> u64 {
        self.under.on_host()
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::Mem;

    #[test]
    fn what_the_rules_say_fails_and_nothing_else() {
        let rule = |io, errno| Rule::new(Some(io), errno);
        let rules = vec![
            Rule { sector: Some(3), ..rule(Io::Read, 5) },
            rule(Io::Write, 28).once(),
            Rule { after: 1, ..rule(Io::Flush, 5) },
        ];
        let f = Faults::new(Arc::new(Mem::new(8192, 8192)), rules);
        let mut b = [0; 1024];
        assert!(f.read(0, &mut b).is_ok() && f.read(2048, &mut b).is_ok());
        assert_eq!(f.read(1024, &mut b).unwrap_err().raw_os_error(), Some(5));
        let full = f.write(0, &b).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        assert!(f.write(0, &b).is_ok() && f.flush().is_ok() && f.flush().is_err());
        assert_eq!(f.hits(), 3);
        f.set(Vec::new());
        assert!(f.flush().is_ok() && f.read(1024, &mut b).is_ok());
    }

    #[test]
    fn names_are_qemus() {
        assert_eq!(Rule::kinds("none", None), Ok(None));
        assert_eq!(Rule::kinds("none", Some("flush")), Ok(Some(Io::Flush)));
        assert_eq!(Rule::kinds("read_aio", None), Ok(Some(Io::Read)));
        assert!(Rule::kinds("l1_grow", None).unwrap_err().contains("l1_grow"));
        assert!(Rule::kinds("none", Some("block-status")).is_err());
    }
}
