//! Nodes from descriptions.

use super::{Entry, Graph};
use crate::backing::{self, Policy};
use crate::faults::Faults;
use crate::node::Kind;
use crate::null::Null;
use crate::probe::{self, Guessed};
use crate::qcow2::{Options, Qcow2};
use crate::throttle::{Limiter, Limits, Throttle};
use crate::{
    Access, Backing, Cache, Child, Driver, HostFile, Image, Node, NodeSpec, OpenError, Qcow2Spec,
    Raw,
};
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

type Built = Result<Arc<Node>, OpenError>;

/// What a node takes over from the one above.
#[derive(Clone, Copy, Default)]
struct Above {
    read_only: bool,
    auto_read_only: bool,
    cache: Cache,
    discard: bool,
    share_rw: bool,
    force_share: bool,
    depth: usize,
}

/// Nodes in nodes that a description may have.
const DEEPEST: usize = 64;

/// Where in a chain of backing files we are.
struct Chain {
    policy: Policy,
    /// The files above: device and number.
    files: Vec<(u64, u64)>,
}

impl Graph {
    pub(super) fn build(&mut self, spec: &NodeSpec) -> Built {
        self.node(spec, Above::default(), None)
    }

    fn node(&mut self, spec: &NodeSpec, above: Above, chain: Option<&Chain>) -> Built {
        let name = self.name_for(spec.name.as_deref())?;
        if above.depth > DEEPEST {
            return Err(OpenError::Node { name, why: "too many nodes in one another".into() });
        }
        let mut with = Above {
            read_only: spec.read_only.unwrap_or(above.read_only),
            auto_read_only: spec.auto_read_only.unwrap_or(above.auto_read_only),
            cache: spec.cache.unwrap_or(above.cache),
            discard: spec.discard.unwrap_or(above.discard),
            share_rw: spec.share_rw.unwrap_or(above.share_rw),
            force_share: spec.force_share.unwrap_or(above.force_share),
            depth: above.depth + 1,
        };
        // Whether writes are flushed at once is for the device to say.
        with.cache.writeback = true;
        if with.force_share && !with.read_only {
            let why = "force-share=on can only be used with read-only images".into();
            return Err(OpenError::Node { name, why });
        }
        let made = self.make(&spec.driver, with, chain)?;
        Ok(self.put(name, spec, with, made))
    }

    fn put(&mut self, name: String, spec: &NodeSpec, with: Above, made: Made) -> Arc<Node> {
        let read_only = with.read_only || made.image.info().read_only;
        let node = Arc::new(Node {
            name: name.clone(),
            kind: made.kind,
            image: made.image,
            file: made.file,
            backing: made.backing,
            read_only: read_only.into(),
            discard: with.discard,
            detect_zeroes: spec.detect_zeroes,
            cache: with.cache,
        });
        self.nodes.retain(|_, e| e.node.strong_count() > 0);
        self.nodes.insert(name, Entry { node: Arc::downgrade(&node), kept: None });
        node
    }

    fn name_for(&mut self, name: Option<&str>) -> Result<String, OpenError> {
        let Some(name) = name else {
            self.next += 1;
            return Ok(format!("#block{:03}", self.next));
        };
        let fail = |why: &str| Err(OpenError::Node { name: name.to_owned(), why: why.to_owned() });
        let mut bytes = name.bytes();
        let well = bytes.next().is_some_and(|b| b.is_ascii_alphabetic())
            && bytes.all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
        if !well || name.len() > 31 {
            return fail(
                "a node's name has a letter, then letters, digits, '-', '.', '_', at most 31",
            );
        }
        if self.get(name).is_some() {
            return fail("there is a node of that name");
        }
        Ok(name.to_owned())
    }

    fn child(&mut self, child: &Child, with: Above, chain: Option<&Chain>) -> Built {
        match child {
            Child::Spec(spec) => self.node(spec, with, chain),
            Child::Name(name) => self.get(name).ok_or_else(|| OpenError::Node {
                name: name.clone(),
                why: "there is no such node".into(),
            }),
        }
    }

    fn make(
        &mut self,
        driver: &Driver,
        with: Above,
        chain: Option<&Chain>,
    ) -> Result<Made, OpenError> {
        Ok(match driver {
            Driver::File { path, locking } => host(path, *locking, with, false)?,
            Driver::HostDevice { path, locking } => host(path, *locking, with, true)?,
            Driver::Null { size, .. } => Made::new(Kind::Null, Arc::new(Null { len: *size })),
            Driver::Raw { file, offset, size } => {
                let file = self.child(file, with, chain)?;
                let raw = Raw::range(file.clone(), *offset, *size).map_err(|w| format(&file, w))?;
                Made::on(Kind::Raw, Arc::new(raw), file)
            }
            Driver::Probe { file, qcow2 } => {
                let file = self.child(file, with, chain)?;
                self.probe(file, qcow2, with, chain)?
            }
            Driver::Qcow2 { file, qcow2 } => {
                let file = self.child(file, with, chain)?;
                self.qcow2(file, qcow2, with, chain)?
            }
            Driver::Throttle { file, group, limits } => {
                let file = self.child(file, with, chain)?;
                limits.check().map_err(|w| format(&file, w))?;
                let limiter = self.limiter(group.as_deref(), *limits);
                let t = Arc::new(Throttle::new(file.clone(), limiter));
                Made::on(Kind::Throttle(t.clone()), t, file)
            }
            Driver::Blkdebug { file, rules } => {
                let file = self.child(file, with, chain)?;
                let f = Arc::new(Faults::new(file.clone(), rules.clone()));
                Made::on(Kind::Blkdebug(f.clone()), f, file)
            }
            Driver::Temporary { base } => {
                let above = Above { read_only: true, ..with };
                let base = self.child(base, above, chain)?;
                super::overlay::temporary(base)?
            }
        })
    }

    fn limiter(&mut self, group: Option<&str>, limits: Limits) -> Arc<Limiter> {
        let Some(name) = group else { return Arc::new(Limiter::new(limits)) };
        if let Some(limiter) = self.group(name) {
            if limits != Limits::default() {
                limiter.set(limits);
            }
            return limiter;
        }
        let limiter = Arc::new(Limiter::new(limits));
        self.groups.insert(name.to_owned(), Arc::downgrade(&limiter));
        limiter
    }

    fn probe(
        &mut self,
        file: Arc<Node>,
        qcow2: &Qcow2Spec,
        with: Above,
        chain: Option<&Chain>,
    ) -> Result<Made, OpenError> {
        let found = probe::probe(&*file).map_err(|e| format(&file, e.to_string()))?;
        match found {
            "qcow2" => self.qcow2(file, qcow2, with, chain),
            "raw" => {
                let raw: Arc<dyn Image> = Arc::new(Raw::whole(file.clone()));
                if with.read_only || file.is_read_only() {
                    return Ok(Made::on(Kind::Raw, raw, file));
                }
                let name = file.path().map(|p| p.display().to_string()).unwrap_or_default();
                self.warnings.push(probe::warning(&name));
                Ok(Made::on(Kind::Raw, Arc::new(Guessed(raw)), file))
            }
            other => Err(format(
                &file,
                format!(
                    "it looks like a {other} image, which is not supported; convert it with 'qemu-img convert', or say \
                     format=raw if it is none"
                ),
            )),
        }
    }

    fn qcow2(
        &mut self,
        file: Arc<Node>,
        spec: &Qcow2Spec,
        with: Above,
        chain: Option<&Chain>,
    ) -> Result<Made, OpenError> {
        let header = Qcow2::header_of(&*file).map_err(|w| format(&file, w))?;
        let below = Above { read_only: true, ..with };
        let backing = match (&spec.backing, &header.backing) {
            (Backing::None, _) | (Backing::Header, None) => None,
            (Backing::Child(child), _) => Some(self.child(child, below, None)?),
            (Backing::Header, Some(name)) => {
                let format_name = header.backing_format.as_deref();
                Some(self.backing(&file, name, format_name, spec, below, chain)?)
            }
        };
        let mut options = Options {
            read_only: with.read_only || file.is_read_only(),
            discard: with.discard,
            zeroed: file.grows_with_zeroes(),
            ..Options::default()
        };
        options.l2_cache = spec.l2_cache.unwrap_or(options.l2_cache);
        options.refcount_cache = spec.refcount_cache.unwrap_or(options.refcount_cache);
        let under = backing.clone().map(|b| b as Arc<dyn Image>);
        let image = Qcow2::open(file.clone(), under, options).map_err(|w| format(&file, w))?;
        let image = Arc::new(image);
        Ok(Made { backing, ..Made::on(Kind::Qcow2(image.clone()), image, file) })
    }

    /// Opens what an image's header names.
    fn backing(
        &mut self,
        file: &Node,
        name: &str,
        format_name: Option<&str>,
        spec: &Qcow2Spec,
        with: Above,
        chain: Option<&Chain>,
    ) -> Built {
        let fail = |why: String| format(file, why);
        let path =
            file.path().ok_or_else(|| fail(format!("its backing file '{name}' has no folder")))?;
        let mut chain = Chain {
            policy: match chain {
                Some(c) => c.policy.clone(),
                None => Policy::of(path, spec.backing_outside),
            },
            files: chain.map(|c| c.files.clone()).unwrap_or_default(),
        };
        let below = chain.policy.resolve(path, name).map_err(fail)?;
        chain.files.push(identity(path).map_err(|e| fail(e.to_string()))?);
        let id = identity(&below).map_err(|e| fail(format!("its backing file '{name}': {e}")))?;
        if chain.files.contains(&id) {
            return Err(fail(format!("its backing file '{name}' stands on itself")));
        }
        if chain.files.len() > backing::MOST {
            return Err(fail(format!("more than {} backing files on one another", backing::MOST)));
        }
        let below = Child::from(Driver::File { path: below, locking: true });
        let driver = match format_name {
            None => Driver::Probe { file: below, qcow2: Qcow2Spec::default() },
            Some("qcow2") => Driver::Qcow2 { file: below, qcow2: Qcow2Spec::default() },
            Some("raw" | "file" | "host_device") => {
                Driver::Raw { file: below, offset: 0, size: None }
            }
            Some(other) => {
                return Err(fail(format!(
                    "the format '{other}' of its backing file is not supported"
                )));
            }
        };
        // The number of nodes in one another is bounded by the length of the chain.
        self.node(&driver.into(), Above { depth: 0, ..with }, Some(&chain))
    }
}

fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    std::fs::metadata(path).map(|m| (m.dev(), m.ino()))
}

/// A node that is not in the graph yet.
pub(super) struct Made {
    pub kind: Kind,
    pub image: Arc<dyn Image>,
    pub file: Option<Arc<Node>>,
    pub backing: Option<Arc<Node>>,
}

impl Made {
    pub fn new(kind: Kind, image: Arc<dyn Image>) -> Made {
        Made { kind, image, file: None, backing: None }
    }
    fn on(kind: Kind, image: Arc<dyn Image>, file: Arc<Node>) -> Made {
        Made { file: Some(file), ..Made::new(kind, image) }
    }
}

/// An error in what a file holds.
pub(super) fn format(node: &Node, why: String) -> OpenError {
    let file = node.path().map_or_else(|| node.name.clone(), |p| p.display().to_string());
    OpenError::Format { file, why }
}

fn host(path: &PathBuf, locking: bool, with: Above, device: bool) -> Result<Made, OpenError> {
    let is_device = std::fs::metadata(path).is_ok_and(|m| m.file_type().is_block_device());
    if device && !is_device && path.exists() {
        let why = "it is no block device".into();
        return Err(OpenError::Format { file: path.display().to_string(), why });
    }
    let access = |write| Access {
        write,
        shared: with.share_rw,
        no_lock: !locking || with.force_share,
        cache: with.cache,
    };
    let file = match HostFile::open(path, access(!with.read_only)) {
        Err(OpenError::Open { why, .. })
            if with.auto_read_only
                && !with.read_only
                && matches!(
                    why.kind(),
                    ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem
                ) =>
        {
            HostFile::open(path, access(false))?
        }
        other => other?,
    };
    let kind = if is_device { Kind::HostDevice(path.clone()) } else { Kind::File(path.clone()) };
    Ok(Made::new(kind, Arc::new(file)))
}

/// A place for a node that does not exist yet.
impl Default for Entry {
    fn default() -> Entry {
        Entry { node: Weak::new(), kept: None }
    }
}
