//! Disks: `-drive`, its short forms, and `-blockdev`.
//!
//! Both come down to block nodes as `-blockdev` and QMP describe them, in JSON; the drives name them.

use super::finish::Gathered;
use super::words::{Words, split};
use super::{Fault, Said, Stop};
use ::machine::config::OnError;
use serde_json::{Map, Value, json};

type Done = Result<(), Stop>;

/// Where a drive is joined to the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    /// On the board's disk controller.
    Ide,
    Virtio,
    /// A flash chip.
    Pflash,
    /// Nowhere: a `-device` names it.
    None,
}

/// `-drive`.
#[derive(Clone, Debug)]
pub struct WantedDrive {
    pub option: String,
    pub id: Option<String>,
    pub interface: Interface,
    pub cdrom: bool,
    pub index: Option<u64>,
    pub bus: Option<u64>,
    pub unit: Option<u64>,
    /// `None`: the drive is empty.
    pub node: Option<Map<String, Value>>,
    pub snapshot: bool,
    pub write_cache: bool,
    pub read_error: OnError,
    pub write_error: OnError,
}

const INTERFACES: &[(&str, Interface)] = &[
    ("ide", Interface::Ide),
    ("virtio", Interface::Virtio),
    ("pflash", Interface::Pflash),
    ("none", Interface::None),
];

/// What an error is answered with: `rerror=` and `werror=`, `auto` as if not given.
fn policies(words: &mut Words) -> Result<(OnError, OnError), Fault> {
    let all = |auto| OnError::NAMES.into_iter().chain([("auto", auto)]);
    let of_reads: Vec<_> = all(OnError::Report).filter(|n| n.1 != OnError::Enospc).collect();
    let of_writes: Vec<_> = all(OnError::Enospc).collect();
    let read = words.choice("rerror", &of_reads)?.unwrap_or(OnError::Report);
    let write = words.choice("werror", &of_writes)?.unwrap_or(OnError::Enospc);
    Ok((read, write))
}

/// `-drive`.
pub fn drive(g: &mut Gathered, said: &mut Said) -> Done {
    let words = Words::new(said.option, said.value, None)?;
    let drive = read(said.option, words)?;
    g.drives.push(drive);
    Ok(())
}

/// `-hda` to `-hdd`, `-cdrom`, `-pflash`, and a word that is no option.
pub fn short(g: &mut Gathered, said: &mut Said) -> Done {
    let of = |key: &str, index: Option<u64>, media: &str, interface: &str| {
        let index = index.map(|n| format!("index={n},")).unwrap_or_default();
        format!("{index}if={interface},media={media},{key}={}", said.value.replace(',', ",,"))
    };
    let text = match said.option {
        "-hda" => of("file", Some(0), "disk", "ide"),
        "-hdb" => of("file", Some(1), "disk", "ide"),
        "-hdc" => of("file", Some(2), "disk", "ide"),
        "-hdd" => of("file", Some(3), "disk", "ide"),
        "-cdrom" => of("file", Some(2), "cdrom", "ide"),
        "-pflash" => of("file", None, "disk", "pflash"),
        _ => of("file", Some(0), "disk", "ide"),
    };
    let drive = read(said.option, Words::new(said.option, &text, None)?)?;
    g.drives.push(drive);
    Ok(())
}

/// What of a node `-drive` spells in its own way: the key there, and in a node.
const PLAIN: &[(&str, &str)] = &[
    ("discard", "discard"),
    ("detect-zeroes", "detect-zeroes"),
    ("node-name", "node-name"),
    ("force-share", "force-share"),
    ("auto-read-only", "auto-read-only"),
];

/// Words for throttling: old ones, and new ones.
#[rustfmt::skip]
const LIMITS: &[(&str, &str)] = &[
    ("bps",         "throttling.bps-total"),
    ("bps_rd",      "throttling.bps-read"),
    ("bps_wr",      "throttling.bps-write"),
    ("iops",        "throttling.iops-total"),
    ("iops_rd",     "throttling.iops-read"),
    ("iops_wr",     "throttling.iops-write"),
    ("bps_max",     "throttling.bps-total-max"),
    ("bps_rd_max",  "throttling.bps-read-max"),
    ("bps_wr_max",  "throttling.bps-write-max"),
    ("iops_max",    "throttling.iops-total-max"),
    ("iops_rd_max", "throttling.iops-read-max"),
    ("iops_wr_max", "throttling.iops-write-max"),
    ("iops_size",   "throttling.iops-size"),
];

fn read(option: &str, mut w: Words) -> Result<WantedDrive, Fault> {
    w.not_yet(&["copy-on-read"], "not there yet")?;
    let media = [("disk", false), ("cdrom", true)];
    let cdrom = w.choice("media", &media)?.unwrap_or(false);
    let mut drive = WantedDrive {
        option: option.to_string(),
        id: w.text("id")?,
        interface: w.choice("if", INTERFACES)?.unwrap_or(Interface::Ide),
        cdrom,
        index: w.number("index", 0..=255)?,
        bus: w.number("bus", 0..=255)?,
        unit: w.number("unit", 0..=255)?,
        node: None,
        snapshot: w.on_off("snapshot")?.unwrap_or(false),
        write_cache: true,
        read_error: OnError::Report,
        write_error: OnError::Report,
    };
    if let Some(id) = &drive.id {
        super::device::well_formed(id).map_err(|text| w.fault(text))?;
    }
    if drive.index.is_some() && (drive.bus.is_some() || drive.unit.is_some()) {
        return Err(w.fault("index= and bus=, unit= say the same thing: expected one of them"));
    }
    (drive.read_error, drive.write_error) = policies(&mut w)?;
    let (writeback, cache) = cache(&mut w)?;
    drive.write_cache = writeback;
    let (old, new) = (w.on_off("readonly")?, w.on_off("read-only")?);
    let read_only = new.or(old).unwrap_or(cdrom);
    let mut node = Map::new();
    let format = match (w.text("format")?, w.text("driver")?) {
        (Some(f), None) | (None, Some(f)) => Some(f),
        (None, None) => None,
        _ => return Err(w.fault("format= and driver= say the same thing: expected one of them")),
    };
    node.extend(format.map(|f| ("driver".to_string(), Value::from(f))));
    for (theirs, ours) in PLAIN {
        node.extend(w.text(theirs)?.map(|v| (ours.to_string(), Value::from(v))));
    }
    let mut limits = Map::new();
    for (old, new) in LIMITS {
        let text = match w.text(old)? {
            Some(text) => Some(text),
            None => w.text(new)?,
        };
        let name = new.trim_start_matches("throttling.");
        limits.extend(text.map(|v| (name.to_string(), Value::from(v))));
    }
    node.insert("read-only".into(), read_only.into());
    node.insert("cache".into(), cache.clone());
    if !limits.is_empty() {
        node.insert("throttling".into(), limits.into());
    }
    let file = w.text("file")?.filter(|f| !f.is_empty());
    let mut under = Map::new();
    for key in ["aio", "locking"] {
        under.extend(w.text(key)?.map(|v| (key.to_string(), Value::from(v))));
    }
    let rest = dotted(w.take_rest()).map_err(|why| Fault::new(option, why))?;
    match (file, rest.contains_key("file")) {
        (Some(name), false) => node.insert("file".into(), protocol(option, &name, under)?),
        (None, true) => None,
        (Some(_), true) => {
            return Err(Fault::new(option, "file= and file.KEY= say the same thing"));
        }
        (None, false) => return Ok(drive),
    };
    merge(&mut node, rest);
    drive.node = Some(node);
    Ok(drive)
}

/// `cache=` and its three switches: whether writes may be cached, and the node's `cache`.
fn cache(w: &mut Words) -> Result<(bool, Value), Fault> {
    let mode = match w.text("cache")? {
        Some(name) => block::Cache::named(&name).ok_or_else(|| {
            let names: Vec<_> = block::Cache::names().collect();
            w.fault(format!("cache={name}: expected one of {}", names.join(", ")))
        })?,
        None => block::Cache::default(),
    };
    let writeback = w.on_off("cache.writeback")?.unwrap_or(mode.writeback);
    let direct = w.on_off("cache.direct")?.unwrap_or(mode.direct);
    let no_flush = w.on_off("cache.no-flush")?.unwrap_or(mode.no_flush);
    let node = json!({"writeback": writeback, "direct": direct, "no-flush": no_flush});
    Ok((writeback, node))
}

/// A file's name as `-drive` takes it: perhaps with a protocol in front.
fn protocol(option: &str, name: &str, mut under: Map<String, Value>) -> Result<Value, Fault> {
    if let Some(text) = name.strip_prefix("json:") {
        return serde_json::from_str(text)
            .map_err(|e| Fault::new(option, format!("file={name}: {e}")));
    }
    let path = match name.split_once(':') {
        Some(("file", path)) => path,
        Some((word, _)) if is_protocol(word) => {
            let text = format!("file={name}: no protocol '{word}' here: expected a file's name");
            return Err(Fault::new(option, text));
        }
        _ => name,
    };
    under.insert("driver".into(), "file".into());
    under.insert("filename".into(), path.into());
    Ok(under.into())
}

/// Whether the word before a colon names a protocol rather than being part of a file's name.
fn is_protocol(word: &str) -> bool {
    const NAMES: [&str; 12] = [
        "nbd", "nbd+tcp", "nbd+unix", "http", "https", "ftp", "ssh", "iscsi", "rbd", "nfs",
        "vvfat", "fat",
    ];
    NAMES.contains(&word)
}

/// Nests `a.b=c`.
pub fn dotted(list: Vec<(String, Option<String>)>) -> Result<Map<String, Value>, String> {
    let mut all = Map::new();
    for (key, value) in list {
        let value = Value::from(value.ok_or_else(|| format!("{key} needs a value: {key}=..."))?);
        let clash = || format!("{key} contradicts another word");
        let mut at = &mut all;
        let mut parts = key.split('.').peekable();
        while let Some(part) = parts.next() {
            if part.is_empty() {
                return Err(format!("'{key}' is not a name"));
            }
            if parts.peek().is_none() {
                if at.get(part).is_some_and(Value::is_object) {
                    return Err(clash());
                }
                at.insert(part.into(), value);
                break;
            }
            let inner = at.entry(part.to_string()).or_insert_with(|| Map::new().into());
            at = inner.as_object_mut().ok_or_else(clash)?;
        }
    }
    Ok(all)
}

fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Object(old)), Value::Object(new)) => merge(old, new),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// `-blockdev`: JSON, or words with dots.
pub fn blockdev(g: &mut Gathered, said: &mut Said) -> Done {
    let node = if said.value.starts_with('{') {
        match serde_json::from_str(said.value) {
            Ok(Value::Object(map)) => map,
            Ok(_) => return Err(said.fault("expected a JSON object").into()),
            Err(e) => return Err(said.fault(format!("not JSON: {e}")).into()),
        }
    } else {
        let words =
            split(said.value).into_iter().enumerate().map(|(n, part)| match part.split_once('=') {
                Some((k, v)) => (k.to_string(), Some(v.to_string())),
                None if n == 0 => ("driver".to_string(), Some(part)),
                None => (part, None),
            });
        dotted(words.collect()).map_err(|why| said.fault(why))?
    };
    match node.get("node-name").and_then(Value::as_str) {
        Some(_) => {
            g.nodes.push(node);
            Ok(())
        }
        None => Err(said.fault("node-name= is missing").into()),
    }
}

/// A CD drive with nothing in it.
pub fn empty_cd() -> WantedDrive {
    WantedDrive {
        option: "-cdrom".into(),
        id: None,
        interface: Interface::Ide,
        cdrom: true,
        index: Some(2),
        bus: None,
        unit: None,
        node: None,
        snapshot: false,
        write_cache: true,
        read_error: OnError::Report,
        write_error: OnError::Report,
    }
}
