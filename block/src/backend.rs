//! What a device holds of the block graph: a node that can be exchanged below it, and whether writes are flushed at once.

use crate::throttle::Limiter;
use crate::{Image, Info, Node};
use std::io::Result;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A device's end of the graph.
pub struct Backend {
    /// Requests hold it for reading, so that whoever exchanges the node waits until none is in flight.
    root: RwLock<Arc<Node>>,
    /// Writes may be lost until a flush. Otherwise each is flushed before its answer.
    writeback: bool,
    /// The device's own limits (`throttling.*` of `-drive`, `block_set_io_throttle`).
    pub limiter: Limiter,
}

impl Backend {
    pub fn new(node: Arc<Node>, writeback: bool) -> Backend {
        Backend { root: RwLock::new(node), writeback, limiter: Limiter::default() }
    }
    pub fn node(&self) -> Arc<Node> {
        self.root().clone()
    }
    pub fn is_writeback(&self) -> bool {
        self.writeback
    }
    fn root(&self) -> RwLockReadGuard<'_, Arc<Node>> {
        self.root.read().unwrap_or_else(PoisonError::into_inner)
    }
    /// Waits until no request is in flight; none begins until the guard is gone.
    pub(crate) fn stop(&self) -> RwLockWriteGuard<'_, Arc<Node>> {
        self.root.write().unwrap_or_else(PoisonError::into_inner)
    }
    fn after(&self, node: &Node, result: Result<()>) -> Result<()> {
        result?;
        if self.writeback { Ok(()) } else { node.flush() }
    }
}

impl Image for Backend {
    fn info(&self) -> Info {
        self.root().info()
    }
    fn read(&self, at: u64, into: &mut [u8]) -> Result<()> {
        self.limiter.pass(false, into.len() as u64);
        self.root().read(at, into)
    }
    fn write(&self, at: u64, from: &[u8]) -> Result<()> {
        self.limiter.pass(true, from.len() as u64);
        let node = self.root();
        self.after(&node, node.write(at, from))
    }
    fn flush(&self) -> Result<()> {
        self.root().flush()
    }
    fn discard(&self, at: u64, len: u64) -> Result<()> {
        let node = self.root();
        self.after(&node, node.discard(at, len))
    }
    fn zero(&self, at: u64, len: u64, unmap: bool) -> Result<()> {
        self.limiter.pass(true, len);
        let node = self.root();
        self.after(&node, node.zero(at, len, unmap))
    }
    fn resize(&self, len: u64) -> Result<()> {
        self.root().resize(len)
    }
    fn try_read(&self, at: u64, into: &mut [u8]) -> Option<Result<()>> {
        let node = self.root.try_read().ok().filter(|_| self.limiter.is_free())?;
        node.try_read(at, into)
    }
    fn try_write(&self, at: u64, from: &[u8]) -> Option<Result<()>> {
        let node = self.root.try_read().ok().filter(|_| self.limiter.is_free())?;
        self.writeback.then(|| node.try_write(at, from)).flatten()
    }
    fn on_host(&self) -> u64 {
        self.root().on_host()
    }
}
