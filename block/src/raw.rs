//! A raw image: the bytes of another image as they are, or a range of them (`offset=`, `size=`).

use crate::{Image, Info, within};
use std::io::{Error, ErrorKind, Result};
use std::sync::Arc;

/// Bytes `from..from + len` of another image. The guest sees whole sectors: a last half one reads as zero behind its end.
pub struct Raw {
    under: Arc<dyn Image>,
    from: u64,
    /// `None`: to the end, wherever that is.
    len: Option<u64>,
}

const SECTOR: u64 = 512;

impl Raw {
    pub fn whole(under: Arc<dyn Image>) -> Raw {
        Raw { under, from: 0, len: None }
    }
    /// A range; an error says why it is none.
    pub fn range(
        under: Arc<dyn Image>,
        from: u64,
        len: Option<u64>,
    ) -> std::result::Result<Raw, String> {
        let all = under.info().len;
        let rest = all
            .checked_sub(from)
            .ok_or_else(|| format!("offset {from} is beyond the end, {all}"))?;
        match len {
            Some(n) if n > rest => {
                Err(format!("size {n} is more than the {rest} bytes from offset {from} on"))
            }
            Some(n) if n % SECTOR != 0 => Err(format!("size {n} is not a multiple of {SECTOR}")),
            _ => Ok(Raw { under, from, len }),
        }
    }
    /// Bytes that are really there.
    fn there(&self) -> u64 {
        self.len.unwrap_or_else(|| self.under.info().len.saturating_sub(self.from))
    }
    fn place(&self, at: u64, len: u64) -> Result<u64> {
        within(self.info().len, at, len)?;
        at.checked_add(self.from).ok_or_else(|| ErrorKind::InvalidInput.into())
    }
}

impl Image for Raw {
    fn info(&self) -> Info {
        let under = self.under.info();
        // A half sector at the end can be read; it can be written only where the file may grow.
        Info { len: self.there().next_multiple_of(SECTOR), ..under }
    }
    fn read(&self, at: u64, into: &mut [u8]) -> Result<()> {
        let place = self.place(at, into.len() as u64)?;
        let n = self.there().saturating_sub(at).min(into.len() as u64) as usize;
        let (have, behind) = into.split_at_mut(n);
        behind.fill(0);
        self.under.read(place, have)
    }
    fn write(&self, at: u64, from: &[u8]) -> Result<()> {
        let place = self.place(at, from.len() as u64)?;
        if at + from.len() as u64 > self.there() {
            self.under.resize(self.from + self.info().len)?;
        }
        self.under.write(place, from)
    }
    fn flush(&self) -> Result<()> {
        self.under.flush()
    }
    fn discard(&self, at: u64, len: u64) -> Result<()> {
        let place = self.place(at, len)?;
        self.under.discard(place, len.min(self.there().saturating_sub(at)))
    }
    fn zero(&self, at: u64, len: u64, unmap: bool) -> Result<()> {
        let place = self.place(at, len)?;
        self.under.zero(place, len.min(self.there().saturating_sub(at)), unmap)
    }
    fn resize(&self, len: u64) -> Result<()> {
        if self.len.is_some() {
            return Err(Error::new(ErrorKind::Unsupported, "it is a part of a file"));
        }
        let end = self.from.checked_add(len).ok_or(ErrorKind::InvalidInput)?;
        self.under.resize(end)
    }
    fn try_read(&self, at: u64, into: &mut [u8]) -> Option<Result<()>> {
        let place = self.place(at, into.len() as u64).ok()?;
        let all = at + into.len() as u64 <= self.there();
        all.then(|| self.under.try_read(place, into)).flatten()
    }
    fn try_write(&self, at: u64, from: &[u8]) -> Option<Result<()>> {
        let place = self.place(at, from.len() as u64).ok()?;
        let all = at + from.len() as u64 <= self.there();
        all.then(|| self.under.try_write(place, from)).flatten()
    }
    fn on_host(&self) -> u64 {
        self.under.on_host()
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::{Access, HostFile};

    fn file(len: usize) -> (tempfile::TempDir, Arc<dyn Image>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, vec![5; len]).unwrap();
        let how = Access { write: true, ..Access::default() };
        (dir, Arc::new(HostFile::open(&path, how).unwrap()))
    }

    #[test]
    fn a_half_sector_at_the_end_is_whole_to_the_guest() {
        let (_dir, f) = file(1000);
        let raw = Raw::whole(f.clone());
        assert_eq!(raw.info().len, 1024);
        let mut b = [1; 512];
        raw.read(512, &mut b).unwrap();
        assert!(b[..488] == [5; 488] && b[488..] == [0; 24]);
        raw.write(512, &[7; 512]).unwrap();
        assert_eq!(f.info().len, 1024);
        assert!(raw.read(1024, &mut b[..1]).is_err());
    }

    #[test]
    fn a_range_is_kept_to() {
        let (_dir, f) = file(4096);
        let raw = Raw::range(f.clone(), 1024, Some(1024)).unwrap();
        raw.write(0, &[9; 1024]).unwrap();
        assert!(raw.write(1024, &[9]).is_err());
        let mut b = [0; 4096];
        f.read(0, &mut b).unwrap();
        assert!(b[1023] == 5 && b[1024..2048] == [9; 1024] && b[2048] == 5);
        for (from, len) in [(5000, None), (0, Some(8192)), (0, Some(100))] {
            assert!(Raw::range(f.clone(), from, len).is_err());
        }
    }
}
