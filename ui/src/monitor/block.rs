//! Block commands of both monitors.

use crate::guest::DriveState;
use crate::options::size;
use crate::vm::Vm;
use block::{Description, SnapshotSync};
use serde_json::{Value, json};

fn mode(write_cache: bool, d: &Description) -> &'static str {
    match (write_cache, d.cache.direct, d.cache.no_flush) {
        (true, false, true) => "unsafe",
        (true, true, _) => "none",
        (true, false, false) => "writeback",
        (false, true, _) => "directsync",
        (false, false, _) => "writethrough",
    }
}

/// `info block [-n] [-v] [device]`.
pub fn info(vm: &mut Vm, args: &str) -> Result<String, String> {
    let words: Vec<_> = args.split_whitespace().filter(|w| !w.starts_with('-')).collect();
    let mut out = String::new();
    for drive in vm.guest.drives() {
        if words.first().is_none_or(|w| *w == drive.name) {
            out += &one(vm, &drive);
        }
    }
    match (words.first(), out.is_empty()) {
        (Some(name), true) => Err(format!("Device '{name}' not found")),
        _ => Ok(out),
    }
}

fn one(vm: &Vm, drive: &DriveState) -> String {
    let backend = vm.blocks.backend(drive.id);
    let description = backend.map(|b| b.node().describe());
    let mut text = match &description {
        None => format!("{}: [not inserted]\n", drive.name),
        Some(d) => {
            let file = if d.filename.is_empty() { d.driver } else { &d.filename };
            let read_only = if d.read_only { ", read-only" } else { "" };
            format!("{} ({}): {file} ({}{read_only})\n", drive.name, d.node_name, d.driver)
        }
    };
    if let Some(id) = vm.device_of_drive(drive.id) {
        text += &format!("    Attached to:      {id}\n");
    }
    if drive.removable {
        let lock = if drive.locked { "locked" } else { "not locked" };
        let tray = if drive.tray_open { "open" } else { "closed" };
        text += &format!("    Removable device: {lock}, tray {tray}\n");
    }
    if let (Some(b), Some(d)) = (backend, &description) {
        let mode = mode(b.is_writeback(), d);
        let flush = if d.cache.no_flush { ", ignore flushes" } else { "" };
        let direct = if d.cache.direct { ", direct" } else { "" };
        let base = if b.is_writeback() { "writeback" } else { "writethrough" };
        text += &format!("    Cache mode:       {base}{direct}{flush} ({mode})\n");
        if let Some(file) = &d.backing_filename {
            text += &format!("    Backing file:     {file} (chain depth: {})\n", d.backing_depth);
        }
    }
    text + "\n"
}

/// `info blockstats`.
pub fn stats(vm: &mut Vm, _: &str) -> Result<String, String> {
    let line = |d: &DriveState| {
        let mut text = format!("{}:", d.name);
        for (kind, c) in machine::COUNTED.iter().zip(&d.counts) {
            if matches!(*kind, "rd" | "wr") {
                text += &format!(" {kind}_bytes={}", c.bytes);
            }
            text += &format!(" {kind}_operations={} {kind}_total_time_ns={}", c.operations, c.time);
        }
        text + "\n"
    };
    Ok(vm.guest.drives().iter().map(line).collect())
}

fn image(d: &Description) -> Value {
    let mut v = json!({
        "filename": d.filename,
        "format": d.driver,
        "virtual-size": d.virtual_size,
        "actual-size": d.actual_size,
        "dirty-flag": d.qcow2.as_ref().is_some_and(|q| q.dirty),
    });
    if let Some(q) = &d.qcow2 {
        v["cluster-size"] = json!(q.cluster_size);
        if let Some(name) = &q.backing_name {
            v["backing-filename"] = json!(name);
        }
    }
    v
}

/// A node as `query-named-block-nodes` and `query-block` show it.
fn node(d: &Description, writeback: bool) -> Value {
    let mut v = json!({
        "node-name": d.node_name,
        "drv": d.driver,
        "file": d.filename,
        "ro": d.read_only,
        "encrypted": false,
        "detect_zeroes": d.detect_zeroes.name(),
        "backing_file_depth": d.backing_depth,
        "cache": {"writeback": writeback, "direct": d.cache.direct, "no-flush": d.cache.no_flush},
        "image": image(d),
        "bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0,
        "write_threshold": 0,
    });
    if let Some(file) = &d.backing_filename {
        v["backing_file"] = json!(file);
    }
    v
}

/// `query-block`.
pub fn query(vm: &Vm) -> Value {
    let one = |drive: &DriveState| {
        let mut v = json!({
            "device": drive.name,
            "qdev": vm.path_of_drive(drive.id),
            "type": "unknown",
            "removable": drive.removable,
            "locked": drive.locked,
            "io-status": vm.io_status(drive.id),
        });
        if drive.removable {
            v["tray_open"] = json!(drive.tray_open);
        }
        if let Some(b) = vm.blocks.backend(drive.id) {
            v["inserted"] = node(&b.node().describe(), b.is_writeback());
        }
        v
    };
    vm.guest.drives().iter().map(one).collect()
}

/// `query-named-block-nodes`.
pub fn query_nodes(vm: &Vm) -> Value {
    vm.blocks.graph.nodes().map(|n| node(&n.describe(), true)).collect()
}

/// `query-blockstats`.
pub fn query_stats(vm: &Vm) -> Value {
    let one = |d: &DriveState| {
        let mut stats =
            json!({"wr_highest_offset": 0, "account_failed": true, "account_invalid": true});
        for (kind, c) in machine::COUNTED.iter().zip(&d.counts) {
            stats[format!("{kind}_operations")] = json!(c.operations);
            stats[format!("{kind}_total_time_ns")] = json!(c.time);
            stats[format!("failed_{kind}_operations")] = json!(c.failed);
            if *kind != "flush" {
                stats[format!("{kind}_bytes")] = json!(c.bytes);
            }
        }
        json!({"device": d.name, "qdev": vm.path_of_drive(d.id), "stats": stats})
    };
    vm.guest.drives().iter().map(one).collect()
}

/// `eject [-f] device`.
pub fn eject(vm: &mut Vm, args: &str) -> Result<String, String> {
    let (force, name) = match args.strip_prefix("-f") {
        Some(rest) => (true, rest.trim()),
        None => (false, args),
    };
    vm.eject(name, force).map(|()| String::new())
}

/// `change device file [format [mode]]`.
pub fn change(vm: &mut Vm, args: &str) -> Result<String, String> {
    let (force, args) = match args.strip_prefix("-f ") {
        Some(rest) => (true, rest.trim()),
        None => (false, args),
    };
    let words: Vec<_> = args.split_whitespace().collect();
    let [name, file, rest @ ..] = &words[..] else {
        return Err("expected a device and a file".into());
    };
    let (format, mode) = (rest.first().copied(), rest.get(1).copied());
    vm.change(name, file, format, mode, force).map(|()| String::new())
}

/// `block_resize device size`: in MiB unless it says otherwise.
pub fn resize(vm: &mut Vm, args: &str) -> Result<String, String> {
    let (name, text) = args.split_once(' ').ok_or("expected a device and a size")?;
    let bytes = size(text.trim(), 1 << 20).ok_or_else(|| format!("'{text}' is not a size"))?;
    let node = vm.node(Some(name), None)?;
    vm.resize(&node, bytes).map(|()| String::new())
}

/// `snapshot_blkdev [-n] device file [format]`.
pub fn snapshot(vm: &mut Vm, args: &str) -> Result<String, String> {
    let (existing, args) = match args.strip_prefix("-n ") {
        Some(rest) => (true, rest.trim()),
        None => (false, args),
    };
    let words: Vec<_> = args.split_whitespace().collect();
    let [name, file, rest @ ..] = &words[..] else {
        return Err("expected a device and a file".into());
    };
    if rest.first().is_some_and(|f| *f != "qcow2") {
        return Err(format!("'{}': only qcow2 overlays can be made", rest[0]));
    }
    let node = vm.node(Some(name), None)?;
    let what = SnapshotSync { file: file.into(), name: None, existing };
    vm.snapshot(&node, &what).map(|()| String::new())
}
