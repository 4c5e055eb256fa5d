//! The block nodes of a machine and what is in its drives.

mod spec;
#[cfg(test)]
mod test;

pub use spec::{Fields, limits, node};

use crate::options::{Content, Disk, Fault};
use block::throttle::Limits;
use block::{Backend, Cache, Child, Driver, Graph, Image, Node, NodeSpec};
use machine::config::DriveId;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Nodes, and each drive's end of them.
#[derive(Default)]
pub struct Blocks {
    pub graph: Graph,
    backends: BTreeMap<DriveId, Arc<Backend>>,
}

impl Blocks {
    /// Opens what the command line names.
    pub fn open(nodes: &[Map<String, Value>], disks: &[Disk]) -> Result<Blocks, Fault> {
        let mut blocks = Blocks::default();
        for map in nodes {
            blocks.add(map.clone()).map_err(|why| Fault::new("-blockdev", why))?;
        }
        for (n, disk) in disks.iter().enumerate() {
            let fault = |why: String| Fault::new(&disk.option, why);
            let mut wanted = Limits::default();
            let node = match &disk.content {
                Content::Empty => continue,
                Content::Own(map) => {
                    let mut map = map.clone();
                    if let Some(Value::Object(words)) = map.remove("throttling") {
                        wanted = limits(&mut Fields::new(words)).map_err(fault)?;
                    }
                    blocks.node(map, disk.snapshot).map_err(fault)?
                }
                Content::Node(name) => {
                    let node = blocks.graph.get(name);
                    let node = node.ok_or_else(|| fault(format!("no node '{name}'")))?;
                    blocks.over(node, disk.snapshot).map_err(fault)?
                }
            };
            let id = DriveId(n as u32);
            blocks.put(id, Some((node, disk.write_cache)));
            if let Some(backend) = blocks.backend(id) {
                backend.limiter.set(wanted);
            }
        }
        Ok(blocks)
    }

    /// `blockdev-add`: a node that stays.
    pub fn add(&mut self, map: Map<String, Value>) -> Result<(), String> {
        let spec = node(map)?;
        if spec.name.is_none() {
            return Err("'node-name' is missing".into());
        }
        self.graph.open(&spec).map(drop).map_err(|e| e.to_string())
    }

    /// A node of its own for a drive, as `-drive` describes it.
    fn node(&mut self, mut map: Map<String, Value>, snapshot: bool) -> Result<Arc<Node>, String> {
        // Below a temporary overlay nothing is written.
        if snapshot {
            map.insert("read-only".into(), true.into());
        }
        let mut spec = node(map)?;
        spec.auto_read_only.get_or_insert(false);
        let node = self.graph.open(&spec).map_err(|e| e.to_string())?;
        self.over(node, snapshot)
    }

    /// A node, or a temporary overlay on it.
    fn over(&mut self, node: Arc<Node>, snapshot: bool) -> Result<Arc<Node>, String> {
        if !snapshot {
            return Ok(node);
        }
        let base = Child::Name(node.name.clone());
        let spec = NodeSpec::from(Driver::Temporary { base });
        self.graph.open(&spec).map_err(|e| e.to_string())
    }

    /// Opens a file for a drive whose medium is changed.
    pub fn open_file(
        &mut self,
        path: &str,
        format: Option<&str>,
        read_only: Option<bool>,
    ) -> Result<Arc<Node>, String> {
        let spec = NodeSpec::disk(path, format);
        let mut spec = spec.ok_or_else(|| format!("no format '{}'", format.unwrap_or("")))?;
        spec.read_only = read_only;
        spec.auto_read_only = Some(read_only.is_none());
        spec.cache = Some(Cache::default());
        self.graph.open(&spec).map_err(|e| e.to_string())
    }

    /// Puts a node behind a drive, or takes it away. Gives what the machine needs.
    pub fn put(&mut self, id: DriveId, node: Option<(Arc<Node>, bool)>) -> Option<machine::Disk> {
        match node {
            Some((node, write_cache)) => {
                let backend = self.graph.attach(node, write_cache);
                self.backends.insert(id, backend.clone());
                Some(machine::Disk { image: backend as Arc<dyn Image>, write_cache })
            }
            None => {
                self.backends.remove(&id);
                None
            }
        }
    }

    /// What is behind a drive.
    pub fn backend(&self, id: DriveId) -> Option<&Arc<Backend>> {
        self.backends.get(&id)
    }
    /// What the machine is given for each drive at the start.
    pub fn disks(&self) -> Vec<(DriveId, machine::Disk)> {
        let one = |(id, b): (&DriveId, &Arc<Backend>)| {
            let image: Arc<dyn Image> = b.clone();
            (*id, machine::Disk { image, write_cache: b.is_writeback() })
        };
        self.backends.iter().map(one).collect()
    }
}
