//! The block commands of QMP, a row each.

use super::block;
use super::qmp::Fault;
use super::qmp_commands::{Answer, Args, Command, nothing};
use crate::blocks::{Fields, limits};
use crate::vm::Vm;
use ::block::SnapshotSync;
use serde_json::Value;

macro_rules! commands {
    ($($name:literal $run:expr;)*) => { &[$(Command { name: $name, run: $run }),*] };
}

#[rustfmt::skip]
pub const COMMANDS: &[Command] = commands! {
    "query-block"               |vm, a| { a.none()?; Ok(block::query(vm)) };
    "query-blockstats"          |vm, a| { a.flag("query-nodes")?; a.none()?; Ok(block::query_stats(vm)) };
    "query-named-block-nodes"   |vm, a| { a.flag("flat")?; a.none()?; Ok(block::query_nodes(vm)) };
    "blockdev-add"              |vm, a| { vm.blocks.add(a.rest())?; nothing() };
    "blockdev-del"              delete;
    "block_resize"              resize;
    "eject"                     |vm, a| tray(vm, a, |vm, name, force| vm.eject(name, force));
    "blockdev-open-tray"        |vm, a| tray(vm, a, |vm, name, force| vm.open_tray(name, force));
    "blockdev-close-tray"       |vm, a| tray(vm, a, |vm, name, _| vm.close_tray(name));
    "blockdev-remove-medium"    |vm, a| tray(vm, a, |vm, name, _| vm.remove_medium(name));
    "blockdev-insert-medium"    insert;
    "blockdev-change-medium"    change;
    "blockdev-snapshot-sync"    snapshot;
    "block_set_io_throttle"     throttle;
};

/// `device`, or the `id` of the device that has the drive.
fn drive(a: &mut Args) -> Result<String, Fault> {
    let (device, id) = (a.text("device")?, a.text("id")?);
    Args::must(id.or(device), "id")
}

fn delete(vm: &mut Vm, a: &mut Args) -> Answer {
    let name = Args::must(a.text("node-name")?, "node-name")?;
    a.finish()?;
    vm.blocks.graph.remove(&name).map_err(|e| e.to_string())?;
    nothing()
}

fn resize(vm: &mut Vm, a: &mut Args) -> Answer {
    let (device, node) = (a.text("device")?, a.text("node-name")?);
    let size = Args::must(a.number("size")?, "size")?;
    a.finish()?;
    let node = vm.node(device.as_deref(), node.as_deref())?;
    vm.resize(&node, size)?;
    nothing()
}

fn tray(vm: &mut Vm, a: &mut Args, act: fn(&mut Vm, &str, bool) -> Result<(), String>) -> Answer {
    let (name, force) = (drive(a)?, a.flag("force")?.unwrap_or(false));
    a.finish()?;
    act(vm, &name, force)?;
    nothing()
}

fn insert(vm: &mut Vm, a: &mut Args) -> Answer {
    let (name, node) = (drive(a)?, Args::must(a.text("node-name")?, "node-name")?);
    a.finish()?;
    let node = vm.node(None, Some(&node))?;
    vm.insert_medium(&name, node)?;
    nothing()
}

fn change(vm: &mut Vm, a: &mut Args) -> Answer {
    let name = drive(a)?;
    let file = Args::must(a.text("filename")?, "filename")?;
    let (format, mode) = (a.text("format")?, a.text("read-only-mode")?);
    let force = a.flag("force")?.unwrap_or(false);
    a.finish()?;
    vm.change(&name, &file, format.as_deref(), mode.as_deref(), force)?;
    nothing()
}

fn snapshot(vm: &mut Vm, a: &mut Args) -> Answer {
    let (device, node) = (a.text("device")?, a.text("node-name")?);
    let file = Args::must(a.text("snapshot-file")?, "snapshot-file")?;
    let name = a.text("snapshot-node-name")?;
    if let Some(format) = a.text("format")?.filter(|f| f != "qcow2") {
        return Err(Fault::generic(format!("'{format}': only qcow2 overlays can be made")));
    }
    let existing = match a.text("mode")?.as_deref() {
        None | Some("absolute-paths") => false,
        Some("existing") => true,
        Some(other) => return Err(Fault::generic(format!("Invalid parameter '{other}'"))),
    };
    a.finish()?;
    let node = vm.node(device.as_deref(), node.as_deref())?;
    vm.snapshot(&node, &SnapshotSync { file: file.into(), name, existing })?;
    nothing()
}

/// The old names of limits, and those that nodes have.
const LIMITS: [(&str, &str); 6] = [
    ("bps", "bps-total"),
    ("bps_rd", "bps-read"),
    ("bps_wr", "bps-write"),
    ("iops", "iops-total"),
    ("iops_rd", "iops-read"),
    ("iops_wr", "iops-write"),
];

fn throttle(vm: &mut Vm, a: &mut Args) -> Answer {
    let name = drive(a)?;
    let mut words = serde_json::Map::new();
    for (old, new) in LIMITS {
        for end in ["", "_max"] {
            if let Some(n) = a.number(&format!("{old}{end}"))? {
                words.insert(format!("{new}{}", end.replace('_', "-")), Value::from(n));
            }
        }
    }
    a.number("iops_size")?;
    a.finish()?;
    let limits = limits(&mut Fields::new(words))?;
    vm.throttle(&name, limits)?;
    nothing()
}
