//! A disk that keeps nothing (`null-co`).

use crate::{Image, Info, within};
use std::io::Result;

/// Reads as zero; writes go nowhere.
pub struct Null {
    pub len: u64,
}

impl Image for Null {
    fn info(&self) -> Info {
        Info { len: self.len & !511, read_only: false, best: 512, discard: true }
    }
    fn read(&self, at: u64, into: &mut [u8]) -> Result<()> {
        within(self.info().len, at, into.len() as u64)?;
        into.fill(0);
        Ok(())
    }
    fn write(&self, at: u64, from: &[u8]) -> Result<()> {
        within(self.info().len, at, from.len() as u64)
    }
    fn flush(&self) -> Result<()> {
        Ok(())
    }
    fn discard(&self, at: u64, len: u64) -> Result<()> {
        within(self.info().len, at, len)
    }
    fn zero(&self, at: u64, len: u64, _: bool) -> Result<()> {
        within(self.info().len, at, len)
    }
    fn resize(&self, _: u64) -> Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
    fn try_read(&self, at: u64, into: &mut [u8]) -> Option<Result<()>> {
        Some(self.read(at, into))
    }
}
