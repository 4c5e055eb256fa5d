//! Disks: images, what they promise, and how they are kept.
//!
//! An [`Image`] is a row of bytes that can be read and written from several threads at once. [`HostFile`] is the one that
//! touches the host; formats stand on another image. What has been answered is where the next read finds it; what was
//! answered before a [`Image::flush`] that was answered, too, outlives the host.

mod backend;
mod backing;
mod bytes;
mod cache;
mod faults;
pub mod fuzz;
mod graph;
mod host;
mod lock;
mod mem;
mod node;
mod null;
mod patience;
mod probe;
pub mod qcow2;
mod queue;
mod raw;
mod spec;
pub mod throttle;

pub use backend::Backend;
pub use cache::Cache;
pub use faults::{Faults, Io, Rule};
pub use graph::{Graph, SnapshotSync};
pub use host::{Access, HostFile};
pub use mem::Mem;
pub use node::{Description, Kind, Node, Qcow2Description};
pub use null::Null;
pub use qcow2::Qcow2;
pub use queue::{Done, Op, Queue, perform};
pub use raw::Raw;
pub use spec::{Backing, Child, DetectZeroes, Driver, NodeSpec, Qcow2Spec};

/// Why an image cannot be opened: one line for the user, without the program's name.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot open '{file}': {why}")]
    Open { file: String, why: std::io::Error },
    #[error("'{file}' is a directory; an image file or a block device was expected")]
    Directory { file: String },
    #[error("'{file}' is neither a file nor a block device")]
    Kind { file: String },
    #[error(
        "'{file}': this file system has no direct access (cache=none, cache=directsync); try cache=writeback"
    )]
    NoDirect { file: String },
    #[error("'{file}' is in use{by}: {what}", by = holder(.by))]
    Locked { file: String, what: &'static str, by: Option<String> },
    #[error("'{file}': {why}")]
    Format { file: String, why: String },
    #[error("node '{name}': {why}")]
    Node { name: String, why: String },
}

fn holder(by: &Option<String>) -> String {
    by.as_ref().map(|b| format!(" by {b}")).unwrap_or_default()
}

/// What an image can do, and how it likes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Length in bytes, a multiple of 512.
    pub len: u64,
    pub read_only: bool,
    /// Bytes that accesses are best aligned to; a power of two.
    pub best: u32,
    /// Discarding gives space back to the host.
    pub discard: bool,
}

/// A row of bytes. Accesses beyond the end are errors of kind `InvalidInput`; nothing is done then.
pub trait Image: Send + Sync {
    fn info(&self) -> Info;
    fn read(&self, at: u64, into: &mut [u8]) -> std::io::Result<()>;
    fn write(&self, at: u64, from: &[u8]) -> std::io::Result<()>;
    /// All that was written before outlives a failure of the host.
    fn flush(&self) -> std::io::Result<()>;
    /// The contents do not matter any more: they may read as zeroes or as they were.
    fn discard(&self, at: u64, len: u64) -> std::io::Result<()>;
    /// Zeroes; with `unmap` their space may be given back.
    fn zero(&self, at: u64, len: u64, unmap: bool) -> std::io::Result<()>;
    /// Makes it longer or shorter. New bytes are zero.
    fn resize(&self, len: u64) -> std::io::Result<()>;
    /// Reads if that needs no waiting; `None`: it does, or nobody knows.
    fn try_read(&self, _at: u64, _into: &mut [u8]) -> Option<std::io::Result<()>> {
        None
    }
    /// Writes if that is not likely to need waiting; `None`: it is, or nobody knows, and nothing was written.
    fn try_write(&self, _at: u64, _from: &[u8]) -> Option<std::io::Result<()>> {
        None
    }
    /// Bytes that it takes on the host.
    fn on_host(&self) -> u64 {
        0
    }
}

/// Whether an access lies within `len` bytes.
fn within(len: u64, at: u64, bytes: u64) -> std::io::Result<()> {
    match at.checked_add(bytes) {
        Some(end) if end <= len => Ok(()),
        _ => Err(std::io::Error::new(
            std::io::ErrorKind::InvalidInput,
            "beyond the end of the image",
        )),
    }
}
