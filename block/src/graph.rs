//! The block graph: nodes by name, made of descriptions. A node lives as long as somebody stands on it.

mod build;
mod overlay;
#[cfg(test)]
mod test;

pub use overlay::SnapshotSync;

use crate::throttle::Limiter;
use crate::{Backend, Image, Node, NodeSpec, OpenError};
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

/// All nodes.
#[derive(Default)]
pub struct Graph {
    nodes: BTreeMap<String, Entry>,
    backends: Vec<Weak<Backend>>,
    /// Limits that several nodes share, by the group's name.
    groups: BTreeMap<String, Weak<Limiter>>,
    /// The next node that nobody named.
    next: u32,
    /// What the user should hear.
    warnings: Vec<String>,
}

struct Entry {
    node: Weak<Node>,
    /// Named by the user, it stays until the user removes it.
    kept: Option<Arc<Node>>,
}

impl Graph {
    pub fn new() -> Graph {
        Graph::default()
    }

    /// Makes a node (and those below it) of a description. A node that the user named stays (`blockdev-add`); others live as
    /// long as what is given here.
    pub fn open(&mut self, spec: &NodeSpec) -> Result<Arc<Node>, OpenError> {
        let node = self.build(spec)?;
        if spec.name.is_some()
            && let Some(e) = self.nodes.get_mut(&node.name)
        {
            e.kept = Some(node.clone());
        }
        Ok(node)
    }
    /// A device's end of a node.
    pub fn attach(&mut self, node: Arc<Node>, writeback: bool) -> Arc<Backend> {
        let backend = Arc::new(Backend::new(node, writeback));
        self.backends.retain(|b| b.strong_count() > 0);
        self.backends.push(Arc::downgrade(&backend));
        backend
    }
    pub fn get(&self, name: &str) -> Option<Arc<Node>> {
        self.nodes.get(name)?.node.upgrade()
    }
    /// All nodes, by name.
    pub fn nodes(&self) -> impl Iterator<Item = Arc<Node>> {
        self.nodes.values().filter_map(|e| e.node.upgrade())
    }
    /// Removes a node that the user named (`blockdev-del`). It is flushed; an error of that is an error of this.
    pub fn remove(&mut self, name: &str) -> Result<(), OpenError> {
        let fail = |why: &str| Err(OpenError::Node { name: name.to_owned(), why: why.to_owned() });
        let entry = self.nodes.get_mut(name).filter(|e| e.node.strong_count() > 0);
        let Some(entry) = entry else { return fail("there is no such node") };
        let Some(node) = &entry.kept else {
            return fail("it was not added by that name, and goes when nobody uses it");
        };
        if Arc::strong_count(node) > 1 {
            return fail("it is in use");
        }
        if let Err(e) = node.flush() {
            return fail(&e.to_string());
        }
        self.nodes.remove(name);
        Ok(())
    }
    /// Flushes all nodes that nobody stands on; gives those that could not be.
    pub fn flush(&self) -> Vec<(String, std::io::Error)> {
        let all = self.nodes();
        all.filter_map(|n| n.flush().err().map(|e| (n.name.clone(), e))).collect()
    }
    /// Lets all requests go that wait because of limits: nobody wants to wait for them when a machine ends.
    pub fn unthrottle(&self) {
        self.nodes().for_each(|n| {
            if let crate::Kind::Throttle(t) = &n.kind {
                t.limiter.set(crate::throttle::Limits::default());
            }
        });
        self.backends.iter().filter_map(|b| b.upgrade()).for_each(|b| {
            b.limiter.set(crate::throttle::Limits::default());
        });
    }
    /// What the user should hear; each line once.
    pub fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }
    /// The limits of a group, for changing them.
    pub fn group(&self, name: &str) -> Option<Arc<Limiter>> {
        self.groups.get(name)?.upgrade()
    }
}
