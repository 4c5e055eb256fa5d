//! An image in memory: for tests, and for what need not last (`null-co`).

use crate::{Image, Info, within};
use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Result};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Bytes in memory, as many as are not zero. It may grow up to a limit.
pub struct Mem {
    inner: RwLock<Inner>,
    limit: u64,
}

#[derive(Default)]
struct Inner {
    len: u64,
    pages: BTreeMap<u64, Box<[u8]>>,
}

const PAGE: u64 = 4096;

impl Mem {
    pub fn new(len: u64, limit: u64) -> Mem {
        Mem { inner: RwLock::new(Inner { len, ..Inner::default() }), limit }
    }
    /// Holds such bytes, and may grow up to a limit.
    pub fn of(bytes: &[u8], limit: u64) -> Mem {
        let mem = Mem::new(bytes.len() as u64, limit.max(bytes.len() as u64));
        mem.inner.write().unwrap_or_else(PoisonError::into_inner).put(0, bytes);
        mem
    }
    /// All bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let inner = self.read_lock();
        let mut all = vec![0; inner.len as usize];
        inner.get(0, &mut all);
        all
    }
    fn read_lock(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }
    fn write_lock(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pages of a range: number, place in the page, place in the range.
fn pages(at: u64, len: usize) -> impl Iterator<Item = (u64, std::ops::Range<usize>, usize)> {
    let (mut now, end) = (at, at + len as u64);
    std::iter::from_fn(move || {
        (now < end).then(|| {
            let to = end.min((now / PAGE + 1) * PAGE);
            let in_page = (now % PAGE) as usize;
            let piece = (now / PAGE, in_page..in_page + (to - now) as usize, (now - at) as usize);
            now = to;
            piece
        })
    })
}

impl Inner {
    fn get(&self, at: u64, into: &mut [u8]) {
        for (page, range, from) in pages(at, into.len()) {
            let into = &mut into[from..from + range.len()];
            match self.pages.get(&page) {
                Some(p) => into.copy_from_slice(&p[range]),
                None => into.fill(0),
            }
        }
    }
    fn put(&mut self, at: u64, from: &[u8]) {
        for (page, range, first) in pages(at, from.len()) {
            let p = self.pages.entry(page).or_insert_with(|| vec![0; PAGE as usize].into());
            let n = range.len();
            p[range].copy_from_slice(&from[first..first + n]);
        }
    }
    fn clear(&mut self, at: u64, end: u64) {
        let keys: Vec<u64> =
            self.pages.range(at / PAGE..end.div_ceil(PAGE)).map(|(&k, _)| k).collect();
        for k in keys {
            let (from, to) = (at.max(k * PAGE) - k * PAGE, end.min((k + 1) * PAGE) - k * PAGE);
            if to - from == PAGE {
                self.pages.remove(&k);
            } else if let Some(p) = self.pages.get_mut(&k) {
                p[from as usize..to as usize].fill(0);
            }
        }
    }
}

impl Image for Mem {
    fn info(&self) -> Info {
        Info { len: self.read_lock().len, read_only: false, best: 512, discard: true }
    }
    fn read(&self, at: u64, into: &mut [u8]) -> Result<()> {
        let inner = self.read_lock();
        within(inner.len, at, into.len() as u64)?;
        inner.get(at, into);
        Ok(())
    }
    fn write(&self, at: u64, from: &[u8]) -> Result<()> {
        let mut inner = self.write_lock();
        within(inner.len, at, from.len() as u64)?;
        inner.put(at, from);
        Ok(())
    }
    fn flush(&self) -> Result<()> {
        Ok(())
    }
    fn discard(&self, at: u64, len: u64) -> Result<()> {
        self.zero(at, len, true)
    }
    fn zero(&self, at: u64, len: u64, _: bool) -> Result<()> {
        let mut inner = self.write_lock();
        within(inner.len, at, len)?;
        inner.clear(at, at + len);
        Ok(())
    }
    fn resize(&self, len: u64) -> Result<()> {
        if len > self.limit {
            return Err(Error::new(ErrorKind::StorageFull, "no more memory for this image"));
        }
        let mut inner = self.write_lock();
        let old = inner.len;
        if len < old {
            inner.clear(len, old);
        }
        inner.len = len;
        Ok(())
    }
    fn on_host(&self) -> u64 {
        self.read_lock().pages.len() as u64 * PAGE
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn what_is_cut_off_is_zero_when_it_comes_back() {
        let m = Mem::of(&[7; 10_000], 1 << 20);
        m.resize(5000).unwrap();
        m.resize(20_000).unwrap();
        m.write(9_999, &[1, 2]).unwrap();
        let all = m.bytes();
        assert!(all[..5000] == [7; 5000] && all[5000..9_999].iter().all(|&b| b == 0));
        assert!(all[9_999..10_001] == [1, 2] && m.resize(2 << 20).is_err());
        m.zero(100, 9_900, true).unwrap();
        assert!(m.bytes()[99..10_001].iter().map(|&b| b as u32).sum::<u32>() == 7 + 2);
    }
}
