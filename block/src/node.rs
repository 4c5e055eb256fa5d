//! A node of the block graph: an image, and what is allowed with it.

use crate::faults::Faults;
use crate::qcow2::Snapshot;
use crate::throttle::Throttle;
use crate::{Cache, DetectZeroes, Image, Info, Qcow2};
use std::io::{ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::*};

/// What a node is; the filters among them can be changed while they run.
#[derive(Clone)]
pub enum Kind {
    File(PathBuf),
    HostDevice(PathBuf),
    Null,
    Raw,
    Qcow2(Arc<Qcow2>),
    Throttle(Arc<Throttle>),
    Blkdebug(Arc<Faults>),
}

impl Kind {
    /// QEMU's name of the driver.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::File(_) => "file",
            Kind::HostDevice(_) => "host_device",
            Kind::Null => "null-co",
            Kind::Raw => "raw",
            Kind::Qcow2(_) => "qcow2",
            Kind::Throttle(_) => "throttle",
            Kind::Blkdebug(_) => "blkdebug",
        }
    }
}

/// A node.
pub struct Node {
    pub name: String,
    pub kind: Kind,
    pub(crate) image: Arc<dyn Image>,
    /// The node that this one is made of, and the one that it stands on.
    pub file: Option<Arc<Node>>,
    pub backing: Option<Arc<Node>>,
    pub(crate) read_only: AtomicBool,
    pub discard: bool,
    pub detect_zeroes: DetectZeroes,
    pub cache: Cache,
}

/// What monitors say about a node.
#[derive(Clone, Debug)]
pub struct Description {
    pub node_name: String,
    pub driver: &'static str,
    /// The file that it is in; empty: none.
    pub filename: String,
    pub virtual_size: u64,
    /// Bytes that it takes on the host.
    pub actual_size: u64,
    pub backing_filename: Option<String>,
    /// Images below this one.
    pub backing_depth: u32,
    pub read_only: bool,
    pub cache: Cache,
    pub detect_zeroes: DetectZeroes,
    pub qcow2: Option<Qcow2Description>,
}

/// What monitors say about a qcow2 image.
#[derive(Clone, Debug)]
pub struct Qcow2Description {
    pub version: u32,
    pub cluster_size: u64,
    pub refcount_bits: u32,
    pub lazy_refcounts: bool,
    pub dirty: bool,
    pub corrupt: bool,
    pub compression: crate::qcow2::Compression,
    /// What the header says, whatever is really below.
    pub backing_name: Option<String>,
    pub backing_format: Option<String>,
    pub snapshots: Vec<Snapshot>,
}

impl Node {
    /// The file that it is in.
    pub fn path(&self) -> Option<&Path> {
        match &self.kind {
            Kind::File(path) | Kind::HostDevice(path) => Some(path),
            _ => self.file.as_ref()?.path(),
        }
    }
    pub fn is_read_only(&self) -> bool {
        self.read_only.load(Relaxed)
    }
    /// New bytes at its end are zero.
    pub(crate) fn grows_with_zeroes(&self) -> bool {
        match &self.kind {
            Kind::File(_) => true,
            Kind::HostDevice(_) | Kind::Null => false,
            _ => self.file.as_ref().is_some_and(|f| f.grows_with_zeroes()),
        }
    }
    /// The throttle of a node or of what is below it.
    pub fn throttle(&self) -> Option<&Arc<Throttle>> {
        match &self.kind {
            Kind::Throttle(t) => Some(t),
            _ => self.file.as_ref()?.throttle(),
        }
    }

    pub fn describe(&self) -> Description {
        let file = |n: &Node| n.path().map(|p| p.display().to_string()).unwrap_or_default();
        let mut depth = 0;
        let mut below = self.image_below();
        let first = below.map(file);
        while let Some(n) = below {
            depth += 1;
            below = n.image_below();
        }
        let qcow2 = match self.format() {
            Kind::Qcow2(q) => Some(Qcow2Description::of(q)),
            _ => None,
        };
        Description {
            node_name: self.name.clone(),
            driver: self.kind.name(),
            filename: file(self),
            virtual_size: self.image.info().len,
            actual_size: self.image.on_host(),
            backing_filename: first,
            backing_depth: depth,
            read_only: self.is_read_only(),
            cache: self.cache,
            detect_zeroes: self.detect_zeroes,
            qcow2,
        }
    }
    /// The node's kind, or that of the image below a filter.
    fn format(&self) -> &Kind {
        match (&self.kind, &self.file) {
            (Kind::Throttle(_) | Kind::Blkdebug(_), Some(file)) => file.format(),
            (kind, _) => kind,
        }
    }
    fn image_below(&self) -> Option<&Node> {
        match (&self.kind, &self.file) {
            (Kind::Throttle(_) | Kind::Blkdebug(_), Some(file)) => file.image_below(),
            _ => self.backing.as_deref(),
        }
    }
}

impl Qcow2Description {
    fn of(q: &Qcow2) -> Qcow2Description {
        let h = q.header();
        Qcow2Description {
            version: h.version,
            cluster_size: h.cluster(),
            refcount_bits: 1 << h.refcount_order,
            lazy_refcounts: h.compatible & crate::qcow2::LAZY_REFCOUNTS != 0,
            dirty: h.is_dirty(),
            corrupt: q.is_corrupt(),
            compression: h.compression,
            backing_name: h.backing.clone(),
            backing_format: h.backing_format.clone(),
            snapshots: q.snapshots().to_vec(),
        }
    }
}

impl Node {
    fn may_write(&self) -> Result<()> {
        if self.is_read_only() { Err(ErrorKind::ReadOnlyFilesystem.into()) } else { Ok(()) }
    }
}

impl Image for Node {
    fn info(&self) -> Info {
        let info = self.image.info();
        let read_only = info.read_only || self.is_read_only();
        Info { read_only, discard: info.discard && self.discard, ..info }
    }
    fn read(&self, at: u64, into: &mut [u8]) -> Result<()> {
        self.image.read(at, into)
    }
    fn write(&self, at: u64, from: &[u8]) -> Result<()> {
        self.may_write()?;
        if self.detect_zeroes != DetectZeroes::Off && !from.is_empty() && is_zero(from) {
            let unmap = self.detect_zeroes == DetectZeroes::Unmap && self.discard;
            return self.image.zero(at, from.len() as u64, unmap);
        }
        self.image.write(at, from)
    }
    fn flush(&self) -> Result<()> {
        if self.is_read_only() { Ok(()) } else { self.image.flush() }
    }
    fn discard(&self, at: u64, len: u64) -> Result<()> {
        self.may_write()?;
        if self.discard { self.image.discard(at, len) } else { Ok(()) }
    }
    fn zero(&self, at: u64, len: u64, unmap: bool) -> Result<()> {
        self.may_write()?;
        self.image.zero(at, len, unmap && self.discard)
    }
    fn resize(&self, len: u64) -> Result<()> {
        self.may_write()?;
        self.image.resize(len)
    }
    fn try_read(&self, at: u64, into: &mut [u8]) -> Option<Result<()>> {
        self.image.try_read(at, into)
    }
    fn try_write(&self, at: u64, from: &[u8]) -> Option<Result<()>> {
        let plain = !self.is_read_only() && self.detect_zeroes == DetectZeroes::Off;
        plain.then(|| self.image.try_write(at, from)).flatten()
    }
    fn on_host(&self) -> u64 {
        self.image.on_host()
    }
}

impl Drop for Node {
    /// What is closed is flushed; whoever wants to hear of errors flushes before.
    fn drop(&mut self) {
        let _ = self.flush();
    }
}

/// Whether all bytes are zero.
fn is_zero(bytes: &[u8]) -> bool {
    let (ends, words, rest) = (bytes.chunks_exact(64), bytes.len() / 64 * 64, 0u8);
    ends.into_iter().all(|c| c.iter().fold(0, |a, &b| a | b) == 0)
        && bytes[words..].iter().fold(rest, |a, &b| a | b) == 0
}
