//! Overlays: a temporary one that goes with the process, and one that a running disk goes on in (`blockdev-snapshot-sync`).

use super::Graph;
use super::build::{Made, format};
use crate::node::Kind;
use crate::qcow2::{Create, Options, Qcow2, create};
use crate::{
    Access, Backing, Cache, Child, DetectZeroes, Driver, HostFile, Image, Node, NodeSpec,
    OpenError, Qcow2Spec,
};
use std::fs::File;
use std::io::Error;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::*;

/// Where temporary overlays are: a folder that is not in memory, as they may become large.
fn folder() -> PathBuf {
    match std::env::var_os("TMPDIR") {
        Some(dir) if !dir.is_empty() => dir.into(),
        _ => "/var/tmp".into(),
    }
}

/// A file without a name.
fn unnamed(dir: &Path) -> std::io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).mode(0o600);
    let without = options.clone().custom_flags(rustix::fs::OFlags::TMPFILE.bits() as i32).open(dir);
    if let Ok(file) = without {
        return Ok(file);
    }
    // Not every file system can: a name that is removed at once.
    let mut n = 0;
    loop {
        let path = dir.join(format!("reprise-{}-{n}", std::process::id()));
        match options.clone().create_new(true).open(&path) {
            Ok(file) => {
                std::fs::remove_file(&path)?;
                return Ok(file);
            }
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists && n < 1000 => n += 1,
            Err(e) => return Err(e),
        }
    }
}

/// An overlay on a node; nobody else sees it.
pub(super) fn temporary(base: Arc<Node>) -> Result<Made, OpenError> {
    let dir = folder();
    let fail =
        |why: Error| OpenError::Open { file: format!("{}: a temporary file", dir.display()), why };
    let cache = Cache { writeback: true, direct: false, no_flush: true };
    let how = Access { write: true, shared: false, no_lock: true, cache };
    let file = HostFile::of(unnamed(&dir).map_err(fail)?, &dir, how)?;
    let file: Arc<dyn Image> = Arc::new(file);
    create(&*file, &Create::new(base.info().len)).map_err(fail)?;
    let options = Options { discard: true, ..Options::default() };
    let image = Qcow2::open(file, Some(base.clone()), options).map_err(|w| format(&base, w))?;
    let image = Arc::new(image);
    Ok(Made { backing: Some(base), ..Made::new(Kind::Qcow2(image.clone()), image) })
}

/// How a disk is to go on in another file.
#[derive(Clone, Debug)]
pub struct SnapshotSync {
    pub file: PathBuf,
    /// `snapshot-node-name`.
    pub name: Option<String>,
    /// `mode=existing`: the file is there, as an overlay of the right length. Otherwise it is made.
    pub existing: bool,
}

impl Graph {
    /// Lets all devices of a node go on in an overlay on it. The node itself is not written to any more.
    pub fn snapshot(
        &mut self,
        node: &Arc<Node>,
        what: &SnapshotSync,
    ) -> Result<Arc<Node>, OpenError> {
        let fail = |why: Error| OpenError::Open { file: what.file.display().to_string(), why };
        let len = node.info().len;
        if !what.existing {
            make(node, &what.file, len)?;
        }
        let kept = self.nodes.get(&node.name).is_some_and(|e| e.kept.is_some());
        let below = self.name_of(node);
        let file = Child::from(Driver::File { path: what.file.clone(), locking: true });
        let backing = Backing::Child(Child::Name(below));
        let driver = Driver::Qcow2 { file, qcow2: Qcow2Spec { backing, ..Qcow2Spec::default() } };
        let spec = NodeSpec {
            name: what.name.clone(),
            cache: Some(node.cache),
            discard: Some(node.discard),
            detect_zeroes: DetectZeroes::Off,
            ..driver.into()
        };
        let overlay = self.build(&spec)?;
        if overlay.info().len != len {
            let why = format!("its length is {}, and the disk's {len}", overlay.info().len);
            return Err(format(&overlay, why));
        }
        if (kept || what.name.is_some())
            && let Some(e) = self.nodes.get_mut(&overlay.name)
        {
            e.kept = Some(overlay.clone());
        }
        let all: Vec<_> = self.backends.iter().filter_map(|b| b.upgrade()).collect();
        let mut stopped: Vec<_> = all.iter().map(|b| b.stop()).collect();
        stopped.retain(|root| Arc::ptr_eq(root, node));
        node.flush().map_err(fail)?;
        node.read_only.store(true, Release);
        stopped.iter_mut().for_each(|root| **root = overlay.clone());
        Ok(overlay)
    }

    /// A node's name, under which it can be found.
    fn name_of(&mut self, node: &Arc<Node>) -> String {
        let entry = self.nodes.entry(node.name.clone()).or_default();
        entry.node = Arc::downgrade(node);
        node.name.clone()
    }
}

/// A new file that names a node's file as what it stands on.
fn make(node: &Node, path: &Path, len: u64) -> Result<(), OpenError> {
    let fail = |why: Error| OpenError::Open { file: path.display().to_string(), why };
    let below = node
        .path()
        .ok_or_else(|| format(node, "it is in no file that an overlay could name".into()))?;
    let below = std::path::absolute(below).map_err(fail)?;
    let name = below.to_str().ok_or_else(|| format(node, "its name is no UTF-8".into()))?;
    let driver = match node.describe().qcow2 {
        Some(_) => "qcow2",
        None => "raw",
    };
    let existed = path.exists();
    let mut options = File::options();
    let file =
        options.read(true).write(true).create(true).truncate(false).open(path).map_err(fail)?;
    // The lock first: nobody uses what is emptied now.
    let file = HostFile::of(file, path, Access { write: true, ..Access::default() })?;
    let what = Create { backing: Some((name.to_owned(), driver.to_owned())), ..Create::new(len) };
    let made = file.resize(0).and_then(|()| create(&file, &what));
    if made.is_err() && !existed {
        // A half one would be in the way of the next try.
        let _ = std::fs::remove_file(path);
    }
    made.map_err(fail)
}
