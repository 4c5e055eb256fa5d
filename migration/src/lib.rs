//! Moving and repeating a machine. So far: a whole machine as one file.

pub mod snapshot;

pub use snapshot::{Snapshot, SnapshotError};
