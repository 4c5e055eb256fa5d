//! Disks that come and go while Linux runs: into root ports, and by ACPI.

use crate::disks::{Folder, contents, linux, path, say, shell};
use crate::seconds;
use anyhow::{Context, Result, ensure};
use boot_tests::qmp::Qmp;
use boot_tests::{Machine, Running, Test, place};
use serde_json::json;
use std::path::Path;

/// A board with buses into which a disk can be put.
struct Row {
    name: &'static str,
    board: &'static str,
    options: &'static [&'static str],
    buses: &'static [&'static str],
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row { name: "root ports of q35", board: "q35", buses: &["p1", "p2"],
          options: &["-device", "pcie-root-port,id=p1,chassis=1", "-device", "pcie-root-port,id=p2,chassis=2"] },
    Row { name: "ACPI on pc, also below a bridge", board: "pc", buses: &["pci.0", "b1"],
          options: &["-device", "pci-bridge,id=b1,chassis_nr=1"] },
];

pub fn tests() -> Vec<Test> {
    let test = |row: &'static Row| {
        Test::new(format!("a disk comes and goes: {}", row.name), move || comes_and_goes(row))
    };
    ROWS.iter().map(test).collect()
}

fn machine(row: &Row) -> Result<Machine> {
    linux(Machine::new(row.board)?.args(row.options))
}

/// A node and a device of it, both with this name.
fn plug(qmp: &mut Qmp, name: &str, bus: &str, file: &Path) -> Result<()> {
    let node = json!({
        "driver": "raw", "node-name": format!("{name}-node"),
        "file": {"driver": "file", "filename": path(file)},
    });
    qmp.say("blockdev-add", node)?;
    let device = json!({
        "driver": "virtio-blk-pci", "id": name, "bus": bus, "drive": format!("{name}-node"),
        "serial": name,
    });
    qmp.say("device_add", device).map(drop)
}

/// Waits until the guest has as many disks of virtio.
fn disks(running: &mut Running, count: usize) -> Result<()> {
    let wait = format!(
        "for n in $(seq 100); do [ $(ls /sys/block | grep -c vd) = {count} ] && break; sleep 0.2; done; \
         ls /sys/block | grep -c vd"
    );
    let said = say(running, &wait)?;
    ensure!(said.lines().last() == Some(&count.to_string()), "the guest sees {said} disks");
    Ok(())
}

fn comes_and_goes(row: &Row) -> Result<()> {
    let dir = Folder::new()?;
    let mut running = machine(row)?.boot_with_monitor()?;
    let mut qmp = running.qmp()?;
    shell(&mut running)?;
    let mut wanted = contents();
    wanted.copy_within(0..1 << 20, 4 << 20);
    // Linux takes five seconds for a port, so all are used at once; and numbers are used again.
    for _ in 0..if row.board == "pc" { 2 } else { 1 } {
        for (n, bus) in row.buses.iter().enumerate() {
            std::fs::write(dir.file(bus), contents())?;
            plug(&mut qmp, &format!("v{n}"), bus, &dir.file(bus))
                .with_context(|| format!("into {bus}"))?;
        }
        disks(&mut running, row.buses.len())?;
        for n in 0..row.buses.len() {
            let disk = say(&mut running, &format!("grep -l v{n} /sys/block/vd?/serial"))?;
            let disk = disk.split('/').nth(3).context("no disk with this serial number")?;
            let copy =
                format!("dd if=/dev/{disk} of=/dev/{disk} bs=1M count=1 seek=4 oflag=direct");
            say(&mut running, &copy)?;
            let node = json!({"node-name": format!("v{n}-node")});
            ensure!(qmp.say("blockdev-del", node).is_err(), "a node in use has gone");
            qmp.say("device_del", json!({"id": format!("v{n}")}))?;
        }
        // They may go in any order.
        for _ in row.buses {
            let gone = loop {
                let event = qmp.event("DEVICE_DELETED", seconds(60))?;
                if let Some(name) = event["device"].as_str() {
                    break name.to_owned();
                }
            };
            qmp.say("blockdev-del", json!({"node-name": format!("{gone}-node")}))?;
        }
        disks(&mut running, 0)?;
        for bus in row.buses {
            ensure!(std::fs::read(dir.file(bus))? == wanted, "{bus}: bytes were lost");
        }
    }
    let log = say(&mut running, "dmesg | grep -c -E 'I/O error|BUG|WARNING|Failed to'")?;
    ensure!(log.lines().last() == Some("0"), "the kernel has seen {log} errors");
    drop(qmp);
    // A peer saves into images only.
    if row.board == "q35" && place::is_ours() {
        running = goes_on(row, running, &dir)?;
    }
    running.send("poweroff\n")?;
    running.expect_exit(0, seconds(60))
}

/// Saved with a disk that was plugged behind one that is gone, and loaded where it stands from the start.
fn goes_on(row: &Row, mut running: Running, dir: &Folder) -> Result<Running> {
    let mut qmp = running.qmp()?;
    for (n, bus) in row.buses.iter().enumerate() {
        plug(&mut qmp, &format!("v{n}"), bus, &dir.file(bus))?;
    }
    disks(&mut running, row.buses.len())?;
    qmp.say("device_del", json!({"id": "v0"}))?;
    qmp.event_with("DEVICE_DELETED", &[("device", "v0")], seconds(60))?;
    disks(&mut running, 1)?;
    let sum = "md5sum < $(ls /dev/vd?)";
    let before = say(&mut running, sum)?;
    let state = dir.file("state");
    let mut monitor = running.monitor()?;
    monitor.say("stop")?;
    let said = monitor.say(&format!("savevm {}", state.display()))?;
    ensure!(said.is_empty(), "savevm: {said}");
    drop(running);
    let file = dir.file(row.buses[1]);
    let node =
        format!("driver=raw,node-name=v1-node,file.driver=file,file.filename={}", file.display());
    let device = format!("virtio-blk-pci,id=v1,bus={},drive=v1-node,serial=v1", row.buses[1]);
    let again = machine(row)?.args(["-blockdev", &node, "-device", &device]);
    let mut running = again.args(["-loadvm", path(&state)]).boot_with_monitor()?;
    let after = say(&mut running, &format!("echo 3 > /proc/sys/vm/drop_caches; {sum}"))?;
    ensure!(after == before, "the guest read {after}, not {before}");
    let mut qmp = running.qmp()?;
    qmp.say("device_del", json!({"id": "v1"}))?;
    qmp.event_with("DEVICE_DELETED", &[("device", "v1")], seconds(60))?;
    disks(&mut running, 0)?;
    Ok(running)
}
