//! Block nodes as `-blockdev` and `blockdev-add` describe them, read from JSON. On the command line all values are text.

use crate::options::{on_off, size, whole};
use block::throttle::{Limit, Limits, NAMES};
use block::{Backing, Cache, Child, DetectZeroes, Driver, NodeSpec, Qcow2Spec, Rule};
use serde_json::{Map, Value};

/// The members of an object. Each is taken by name; what is left is unexpected.
pub struct Fields(Map<String, Value>);

impl Fields {
    pub fn new(map: Map<String, Value>) -> Fields {
        Fields(map)
    }
    pub fn text(&mut self, key: &str) -> Result<Option<String>, String> {
        match self.0.remove(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(format!("'{key}' is {other}: a string was expected")),
        }
    }
    fn needed(&mut self, key: &str) -> Result<String, String> {
        self.text(key)?.ok_or_else(|| format!("'{key}' is missing"))
    }
    pub fn on(&mut self, key: &str) -> Result<Option<bool>, String> {
        match self.0.remove(key) {
            None => Ok(None),
            Some(Value::Bool(on)) => Ok(Some(on)),
            Some(Value::String(text)) if on_off(&text).is_some() => Ok(on_off(&text)),
            Some(other) => Err(format!("'{key}' is {other}: on or off was expected")),
        }
    }
    /// A number, or a size in text.
    pub fn number(&mut self, key: &str) -> Result<Option<u64>, String> {
        let wrong = |v: &Value| format!("'{key}' is {v}: a number was expected");
        match self.0.remove(key) {
            None => Ok(None),
            Some(Value::String(text)) => {
                let n = whole(&text).or_else(|| size(&text, 1));
                n.map(Some).ok_or_else(|| wrong(&Value::String(text)))
            }
            Some(v) => v.as_u64().map(Some).ok_or_else(|| wrong(&v)),
        }
    }
    fn object(&mut self, key: &str) -> Result<Option<Fields>, String> {
        match self.0.remove(key) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Fields(map))),
            Some(other) => Err(format!("'{key}' is {other}: an object was expected")),
        }
    }
    /// A node below: its name, or its description.
    fn child(&mut self, key: &str) -> Result<Option<Child>, String> {
        match self.0.remove(key) {
            None => Ok(None),
            Some(Value::String(name)) => Ok(Some(Child::Name(name))),
            Some(Value::Object(map)) => {
                let spec = node(map).map_err(|why| format!("{key}: {why}"))?;
                Ok(Some(Child::Spec(Box::new(spec))))
            }
            Some(other) => Err(format!("'{key}' is {other}: a node was expected")),
        }
    }
    fn file(&mut self) -> Result<Child, String> {
        self.child("file")?.ok_or_else(|| "'file' is missing".into())
    }
    pub fn none_left(self) -> Result<(), String> {
        match self.0.keys().next() {
            Some(key) => Err(format!("'{key}' is unexpected")),
            None => Ok(()),
        }
    }
}

/// A node.
pub fn node(map: Map<String, Value>) -> Result<NodeSpec, String> {
    let mut f = Fields(map);
    let name = f.text("node-name")?;
    let driver = f.text("driver")?;
    let mut spec = NodeSpec::from(self::driver(driver.as_deref(), &mut f)?);
    spec.name = name;
    spec.read_only = f.on("read-only")?;
    spec.auto_read_only = f.on("auto-read-only")?;
    spec.force_share = f.on("force-share")?;
    spec.share_rw = f.on("share-rw")?;
    if let Some(mut cache) = f.object("cache")? {
        let default = Cache::default();
        spec.cache = Some(Cache {
            // That is the device's matter; it is only said here by `-drive`.
            writeback: cache.on("writeback")?.is_none_or(|_| true),
            direct: cache.on("direct")?.unwrap_or(default.direct),
            no_flush: cache.on("no-flush")?.unwrap_or(default.no_flush),
        });
        cache.none_left().map_err(|why| format!("cache: {why}"))?;
    }
    spec.discard = match f.text("discard")?.as_deref() {
        None => None,
        Some("unmap" | "on") => Some(true),
        Some("ignore" | "off") => Some(false),
        Some(other) => return Err(format!("discard={other}: expected ignore or unmap")),
    };
    if let Some(text) = f.text("detect-zeroes")? {
        let found = DetectZeroes::named(&text);
        spec.detect_zeroes =
            found.ok_or_else(|| format!("detect-zeroes={text}: expected off, on or unmap"))?;
    }
    f.none_left()?;
    Ok(spec)
}

const DRIVERS: &str = "blkdebug, file, host_device, null-co, qcow2, raw, throttle";

fn driver(name: Option<&str>, f: &mut Fields) -> Result<Driver, String> {
    Ok(match name {
        None => Driver::Probe { file: f.file()?, qcow2: qcow2(f)? },
        Some("qcow2") => Driver::Qcow2 { file: f.file()?, qcow2: qcow2(f)? },
        Some("raw") => {
            let (offset, size) = (f.number("offset")?.unwrap_or(0), f.number("size")?);
            Driver::Raw { file: f.file()?, offset, size }
        }
        Some(kind @ ("file" | "host_device")) => {
            let path = f.needed("filename")?.into();
            if let Some(aio) = f.text("aio")?
                && !["threads", "native", "io_uring"].contains(&aio.as_str())
            {
                return Err(format!("aio={aio}: expected threads, native or io_uring"));
            }
            let locking = match f.text("locking")?.as_deref() {
                None | Some("auto" | "on") => true,
                Some("off") => false,
                Some(other) => return Err(format!("locking={other}: expected on, off or auto")),
            };
            match kind {
                "file" => Driver::File { path, locking },
                _ => Driver::HostDevice { path, locking },
            }
        }
        Some("null-co" | "null-aio") => {
            let size = f.number("size")?.unwrap_or(1 << 30);
            Driver::Null { size, zeroes: f.on("read-zeroes")?.unwrap_or(false) }
        }
        Some("throttle") => {
            let group = f.text("throttle-group")?;
            let file = f.file()?;
            Driver::Throttle { file, group, limits: limits(f)? }
        }
        Some("blkdebug") => {
            let rules = rules(f)?;
            let file = f.child("image")?.ok_or("'image' is missing")?;
            Driver::Blkdebug { file, rules }
        }
        Some(other) => return Err(format!("no driver '{other}': expected one of {DRIVERS}")),
    })
}

fn qcow2(f: &mut Fields) -> Result<Qcow2Spec, String> {
    let backing = match f.0.get("backing") {
        Some(Value::Null) => {
            f.0.remove("backing");
            Backing::None
        }
        _ => f.child("backing")?.map_or(Backing::Header, Backing::Child),
    };
    // How the caches are divided, and how often they are emptied, is our own affair.
    for key in ["cache-size", "cache-clean-interval", "l2-cache-entry-size"] {
        f.number(key)?;
    }
    for key in
        ["lazy-refcounts", "pass-discard-request", "pass-discard-snapshot", "pass-discard-other"]
    {
        f.on(key)?;
    }
    f.text("overlap-check")?;
    Ok(Qcow2Spec {
        backing,
        backing_outside: f.on("backing-outside")?.unwrap_or(false),
        l2_cache: f.number("l2-cache-size")?,
        refcount_cache: f.number("refcount-cache-size")?,
    })
}

/// Limits as `-drive throttling.` and `block_set_io_throttle` name them: `bps-total`, `iops-read-max`, ...
pub fn limits(f: &mut Fields) -> Result<Limits, String> {
    let mut all = Limits::default();
    for (kind, limits) in [("bps", &mut all.bytes), ("iops", &mut all.operations)] {
        for (limit, name) in limits.iter_mut().zip(NAMES) {
            *limit = Limit {
                rate: f.number(&format!("{kind}-{name}"))?.unwrap_or(0),
                max: f.number(&format!("{kind}-{name}-max"))?.unwrap_or(0),
            };
        }
    }
    f.number("iops-size")?;
    all.check()?;
    Ok(all)
}

/// `inject-error`: an array, or on the command line an object with numbers as names.
pub fn rules(f: &mut Fields) -> Result<Vec<Rule>, String> {
    let list = match f.0.remove("inject-error") {
        None => Vec::new(),
        Some(Value::Array(list)) => list,
        Some(Value::Object(map)) => map.into_iter().map(|(_, v)| v).collect(),
        Some(other) => return Err(format!("'inject-error' is {other}: a list was expected")),
    };
    list.into_iter().map(rule).collect()
}

fn rule(v: Value) -> Result<Rule, String> {
    let Value::Object(map) = v else { return Err(format!("inject-error: {v} is no object")) };
    let mut f = Fields(map);
    let event = f.text("event")?.unwrap_or_else(|| "none".into());
    let iotype = f.text("iotype")?;
    let errno = f.number("errno")?.unwrap_or(5);
    let errno = i32::try_from(errno).map_err(|_| format!("errno={errno} is none"))?;
    let rule = Rule {
        io: Rule::kinds(&event, iotype.as_deref())?,
        errno,
        sector: f.number("sector")?,
        after: f.number("after")?.unwrap_or(0),
        once: f.on("once")?.unwrap_or(false),
    };
    f.on("immediately")?;
    f.none_left().map_err(|why| format!("inject-error: {why}"))?;
    Ok(rule)
}
