//! What a node of the block graph is to be, as the command line, the monitor and tests describe it: plain data.

use crate::Cache;
use crate::faults::Rule;
use crate::throttle::Limits;
use std::path::PathBuf;

/// What becomes of writes that are all zeroes (`detect-zeroes=`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DetectZeroes {
    #[default]
    Off,
    On,
    Unmap,
}

impl DetectZeroes {
    pub const NAMES: [(&str, DetectZeroes); 3] =
        [("off", DetectZeroes::Off), ("on", DetectZeroes::On), ("unmap", DetectZeroes::Unmap)];
    pub fn named(name: &str) -> Option<DetectZeroes> {
        DetectZeroes::NAMES.iter().find(|n| n.0 == name).map(|n| n.1)
    }
    pub fn name(self) -> &'static str {
        DetectZeroes::NAMES.iter().find(|n| n.1 == self).map_or("off", |n| n.0)
    }
}

/// A node. What is `None` is taken over from the node above, or is QEMU's default.
#[derive(Clone, Debug)]
pub struct NodeSpec {
    /// `node-name`; without one it gets a name that nobody can choose.
    pub name: Option<String>,
    pub driver: Driver,
    pub read_only: Option<bool>,
    /// Read-only will do if it cannot be written to.
    pub auto_read_only: Option<bool>,
    /// `cache.direct` and `cache.no-flush`; write-back is a matter of the device, see [`crate::Backend`].
    pub cache: Option<Cache>,
    /// `discard=unmap`; otherwise discards are ignored.
    pub discard: Option<bool>,
    pub detect_zeroes: DetectZeroes,
    /// Other writers of the file are welcome (`share-rw=on`).
    pub share_rw: Option<bool>,
    /// Nobody is asked for a lock (`force-share=on`); read-only nodes alone.
    pub force_share: Option<bool>,
}

/// A node below another one.
#[derive(Clone, Debug)]
pub enum Child {
    /// One that is there, by its name.
    Name(String),
    Spec(Box<NodeSpec>),
}

/// What stands below a qcow2 image.
#[derive(Clone, Debug, Default)]
pub enum Backing {
    /// What its header names.
    #[default]
    Header,
    /// Nothing (`backing=null`).
    None,
    Child(Child),
}

#[derive(Clone, Debug)]
pub enum Driver {
    /// qcow2 or raw, as the first bytes look.
    Probe {
        file: Child,
        qcow2: Qcow2Spec,
    },
    File {
        path: PathBuf,
        locking: bool,
    },
    HostDevice {
        path: PathBuf,
        locking: bool,
    },
    Null {
        size: u64,
        zeroes: bool,
    },
    Raw {
        file: Child,
        offset: u64,
        size: Option<u64>,
    },
    Qcow2 {
        file: Child,
        qcow2: Qcow2Spec,
    },
    Throttle {
        file: Child,
        group: Option<String>,
        limits: Limits,
    },
    Blkdebug {
        file: Child,
        rules: Vec<Rule>,
    },
    /// An overlay that nobody else sees and that goes with the process (`snapshot=on`).
    Temporary {
        base: Child,
    },
}

/// What is particular to qcow2.
#[derive(Clone, Debug, Default)]
pub struct Qcow2Spec {
    pub backing: Backing,
    /// Backing files that an image's header names may lie outside of the folder of the image that the user named.
    pub backing_outside: bool,
    pub l2_cache: Option<u64>,
    pub refcount_cache: Option<u64>,
}

impl From<Driver> for NodeSpec {
    fn from(driver: Driver) -> NodeSpec {
        NodeSpec {
            name: None,
            driver,
            read_only: None,
            auto_read_only: None,
            cache: None,
            discard: None,
            detect_zeroes: DetectZeroes::Off,
            share_rw: None,
            force_share: None,
        }
    }
}
impl From<Driver> for Child {
    fn from(driver: Driver) -> Child {
        Child::Spec(Box::new(driver.into()))
    }
}

impl NodeSpec {
    /// A file in the format of this name; without one its first bytes say. `None`: there is no such format.
    pub fn disk(path: impl Into<PathBuf>, format: Option<&str>) -> Option<NodeSpec> {
        let file = Child::from(Driver::File { path: path.into(), locking: true });
        Some(NodeSpec::from(match format {
            None => Driver::Probe { file, qcow2: Qcow2Spec::default() },
            Some("raw") => Driver::Raw { file, offset: 0, size: None },
            Some("qcow2") => Driver::Qcow2 { file, qcow2: Qcow2Spec::default() },
            Some(_) => return None,
        }))
    }
    pub fn named(mut self, name: &str) -> NodeSpec {
        self.name = Some(name.to_owned());
        self
    }
    pub fn read_only(mut self) -> NodeSpec {
        self.read_only = Some(true);
        self
    }
}
