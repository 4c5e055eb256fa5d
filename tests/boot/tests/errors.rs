//! Errors of disks: each policy does what it says, the guest sees the right error, and a machine that was stopped by one loses
//! nothing when it goes on.
//!
//! One boot has a disk for each policy on each of the board's controllers, and each disk has the same faults.

use crate::disks::{Folder, linux, path, say, shell, tool};
use crate::seconds;
use anyhow::{Context, Result, ensure};
use boot_tests::debian::PROMPT;
use boot_tests::qmp::Qmp;
use boot_tests::{Machine, Running, Skip, Test, place};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;

/// Bytes of a disk.
const LEN: usize = 4 << 20;
const BLOCK: usize = 4096;

/// A policy, and what becomes of a read, a write, a write without space and a flush: `+` done, `-` failed, `s` the machine
/// stops, and then it is done.
struct Policy {
    name: &'static str,
    properties: &'static str,
    becomes: &'static str,
}

#[rustfmt::skip]
const POLICIES: [Policy; 4] = [
    Policy { name: "report", properties: ",rerror=report,werror=report", becomes: "----" },
    Policy { name: "ignore", properties: ",rerror=ignore,werror=ignore", becomes: "++++" },
    Policy { name: "stop",   properties: ",rerror=stop,werror=stop",     becomes: "ssss" },
    // It is the policy for writes if nobody says another.
    Policy { name: "enospc", properties: "",                             becomes: "--s-" },
];

/// A fault: its kind in rules, its error, its block; then what QMP calls it.
struct Fault {
    io: &'static str,
    errno: i32,
    block: Option<usize>,
    operation: &'static str,
    reason: &'static str,
}

#[rustfmt::skip]
const FAULTS: [Fault; 4] = [
    Fault { io: "read",  errno: 5,  block: Some(125), operation: "read",  reason: "Input/output error" },
    Fault { io: "write", errno: 5,  block: Some(250), operation: "write", reason: "Input/output error" },
    Fault { io: "write", errno: 28, block: Some(375), operation: "write", reason: "No space left on device" },
    Fault { io: "flush", errno: 5,  block: None,      operation: "write", reason: "Input/output error" },
];

/// A controller.
struct Bus {
    name: &'static str,
    /// How its disk `n` is plugged.
    device: fn(usize) -> String,
    /// What the kernel says of a read that failed.
    read: &'static str,
    /// And of a write or flush.
    write: &'static str,
}

const IDE: Bus = Bus {
    name: "ide",
    device: |n| format!("ide-hd,bus=ide.{},unit={}", n / 2, n % 2),
    read: "{ UNC }",
    write: "{ ABRT }",
};
const AHCI: Bus = Bus { name: "ahci", device: |n| format!("ide-hd,bus=ide.{n}"), ..IDE };
const VIRTIO: Bus = Bus {
    name: "virtio",
    device: |_| "virtio-blk-pci".into(),
    // It does not say so each time.
    read: "",
    write: "",
};

pub fn tests() -> Vec<Test> {
    let row = |board: &'static str, bus: &'static Bus| {
        let name = format!("errors of disks on {board}: {} and virtio", bus.name);
        Test::new(name, move || policies(board, [bus, &VIRTIO]))
    };
    let name = "a full host file system: with space made, the machine goes on";
    vec![row("pc", &IDE), row("q35", &AHCI), Test::new(name, full)]
}

/// A disk of a policy on a bus.
struct Disk {
    policy: &'static Policy,
    bus: &'static Bus,
    /// The name of its node and its device.
    id: String,
    file: PathBuf,
    /// Its length, which no other disk has: names in Linux depend on who was found first.
    len: usize,
}

impl Disk {
    fn options(&self, n: usize) -> [String; 4] {
        let (id, file) = (&self.id, path(&self.file));
        let mut node = format!(
            "driver=raw,node-name={id},file.driver=blkdebug,file.image.driver=file,\
             file.image.filename={file}"
        );
        for (n, (fault, becomes)) in FAULTS.iter().zip(self.policy.becomes.chars()).enumerate() {
            let rule = format!(",file.inject-error.{n}");
            // What is reported stays so, as Linux tries some commands again.
            let once = if becomes == 's' { "on" } else { "off" };
            node += &format!("{rule}.event=none{rule}.iotype={}{rule}.once={once}", fault.io);
            node += &format!("{rule}.errno={}", fault.errno);
            if let Some(block) = fault.block {
                node += &format!("{rule}.sector={}", block * BLOCK / 512 + 3);
            }
        }
        let device = (self.bus.device)(n);
        let device = format!("{device},drive={id},id={id}{}", self.policy.properties);
        ["-blockdev".into(), node, "-device".into(), device]
    }

    /// Does all four operations, and looks at what becomes of each.
    fn try_all(&self, running: &mut Running, qmp: &mut Qmp) -> Result<()> {
        let size = format!("grep -lx {} /sys/block/*/size", self.len / 512);
        let found = say(running, &size)?;
        let name = found.strip_prefix("/sys/block/").and_then(|n| n.split('/').next());
        let disk = format!("/dev/{}", name.with_context(|| format!("no disk {}", self.id))?);
        for (n, (fault, becomes)) in FAULTS.iter().zip(self.policy.becomes.chars()).enumerate() {
            let what = format!("{} on {}, {}", fault.io, self.id, fault.reason);
            self.try_one(n, becomes, &disk, (running, qmp)).context(what)?;
        }
        Ok(())
    }

    fn try_one(
        &self,
        n: usize,
        becomes: char,
        disk: &str,
        (running, qmp): (&mut Running, &mut Qmp),
    ) -> Result<()> {
        let fault = &FAULTS[n];
        let dd = match (fault.io, fault.block) {
            ("read", Some(at)) => {
                format!("dd if={disk} of=/tmp/b bs=4k count=1 skip={at} iflag=direct")
            }
            (_, Some(at)) => format!("dd if=/tmp/a of={disk} bs=4k seek={at} oflag=direct"),
            _ => format!("dd if=/dev/null of={disk} conv=fsync,notrunc"),
        };
        running.send(&format!("dmesg -c >/dev/null; {dd}; echo $((6*7))x$?\n"))?;
        let action = match becomes {
            's' => "stop",
            '-' => "report",
            _ => "ignore",
        };
        let id = self.id.as_str();
        let (operation, reason) = (fault.operation, fault.reason);
        let with =
            [("node-name", id), ("action", action), ("operation", operation), ("reason", reason)];
        let event = qmp.event_with("BLOCK_IO_ERROR", &with, seconds(60))?;
        if becomes == 's' {
            ensure!(event["nospace"] == (fault.errno == 28), "the event says {event}");
            self.stopped(fault, qmp)?;
        }
        let errors = running.wait_for("\n42x", seconds(60))?;
        let said = running.wait_for(PROMPT, seconds(20))?;
        let expected = if becomes == '-' { "1" } else { "0" };
        ensure!(said.trim() == expected, "dd's status is {said}");
        if becomes == '-' {
            ensure!(
                errors.contains("Input/output error") || errors.contains("I/O error"),
                "dd says {errors}"
            );
            let words = if fault.io == "read" { self.bus.read } else { self.bus.write };
            let log = say(running, "dmesg")?;
            // A peer calls all of them aborted.
            let other = (!place::is_ours()).then_some(self.bus.write);
            ensure!(
                log.contains(words) || other.is_some_and(|o| log.contains(o)),
                "the kernel does not say {words}: {log}"
            );
        } else {
            let log = say(running, "dmesg | grep -c -E 'error|exception'")?;
            ensure!(log == "0", "the kernel has seen {log} errors");
        }
        Ok(())
    }

    /// The machine has stopped, says so, and goes on.
    fn stopped(&self, fault: &Fault, qmp: &mut Qmp) -> Result<()> {
        qmp.event("STOP", seconds(10))?;
        let status = qmp.status()?;
        ensure!(status == "io-error", "the status is {status}");
        // A peer does not forget the status of those that have no name of their own.
        let io = io_status(qmp, &self.id)?;
        let wanted = if fault.errno == 28 { "nospace" } else { "failed" };
        ensure!(io == wanted || !place::is_ours(), "io-status {io}");
        qmp.say("cont", json!({}))?;
        qmp.event("RESUME", seconds(10))?;
        let io = io_status(qmp, &self.id)?;
        ensure!(io == "ok" || !place::is_ours(), "io-status {io} after cont");
        Ok(())
    }

    /// What was done is in the file, what failed or was ignored is not.
    fn check(&self) -> Result<()> {
        let mut wanted = vec![b'o'; self.len];
        for (fault, becomes) in FAULTS.iter().zip(self.policy.becomes.chars()) {
            if let ("write", 's', Some(at)) = (fault.io, becomes, fault.block) {
                wanted[at * BLOCK..][..BLOCK].fill(b'A');
            }
        }
        ensure!(std::fs::read(&self.file)? == wanted, "{}: not the right bytes", self.id);
        Ok(())
    }
}

/// `io-status` of a drive's device, as `query-block` tells it.
fn io_status(qmp: &mut Qmp, device: &str) -> Result<String> {
    let all = qmp.say("query-block", json!({}))?;
    let is = |d: &&Value| d["qdev"].as_str().is_some_and(|q| q.split('/').any(|w| w == device));
    let drive = all.as_array().into_iter().flatten().find(is);
    let drive = drive.with_context(|| format!("no drive of {device}: {all}"))?;
    Ok(drive["io-status"].as_str().unwrap_or("none").to_owned())
}

fn machine(board: &str) -> Result<Machine> {
    linux(Machine::new(board)?.args(["-nodefaults"]))
}

fn policies(board: &str, buses: [&'static Bus; 2]) -> Result<()> {
    let dir = Folder::new()?;
    let (mut disks, mut machine) = (Vec::new(), machine(board)?);
    for bus in buses {
        for (n, policy) in POLICIES.iter().enumerate() {
            let id = format!("{}-{}", bus.name, policy.name);
            let len = LEN + disks.len() * BLOCK;
            let disk = Disk { policy, bus, file: dir.file(&id), id, len };
            std::fs::write(&disk.file, vec![b'o'; len])?;
            machine = machine.args(disk.options(n));
            disks.push(disk);
        }
    }
    let mut running = machine.boot_with_monitor()?;
    let mut qmp = running.qmp()?;
    shell(&mut running)?;
    say(&mut running, "tr '\\0' 'A' < /dev/zero | head -c 4096 > /tmp/a")?;
    for disk in &disks {
        disk.try_all(&mut running, &mut qmp)?;
    }
    qmp.say("quit", json!({}))?;
    // Some disks cannot be flushed, so it is not a good end.
    running.exit(seconds(30))?;
    disks.iter().try_for_each(Disk::check)
}

/// A file system of the host with this many bytes, gone with the test.
struct Small(PathBuf);

impl Small {
    fn new(dir: &Folder) -> Result<Small> {
        let place = dir.file("small");
        std::fs::create_dir(&place)?;
        let small = Small(place);
        match small.mount(&format!("size={SMALL}")) {
            Ok(()) => Ok(small),
            Err(_) => Err(Skip("only root can make a small file system".into()).into()),
        }
    }
    fn mount(&self, options: &str) -> Result<()> {
        let words = ["-t", "tmpfs", "-o", options, "small", path(&self.0)];
        let done = Command::new("mount").args(words).output()?;
        ensure!(done.status.success(), "mount: {}", String::from_utf8_lossy(&done.stderr));
        Ok(())
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l", path(&self.0)]).output();
    }
}

const SMALL: usize = 6 << 20;

/// A raw and a qcow2 image of 8 MiB each, where there is room for 6 in all.
fn full() -> Result<()> {
    let dir = Folder::new()?;
    let small = Small::new(&dir)?;
    let formats = ["raw", "qcow2"];
    let mut machine = machine("q35")?;
    for format in formats {
        let file = small.0.join(format);
        tool("qemu-img", &["create", "-q", "-f", format, path(&file), "8M"])?;
        let drive = format!("if=virtio,format={format},cache=writeback,file={}", file.display());
        machine = machine.args(["-drive", &drive]);
    }
    let mut running = machine.boot_with_monitor()?;
    let mut qmp = running.qmp()?;
    shell(&mut running)?;
    let fill =
        "tr '\\0' 'A' < /dev/zero | dd of=/dev/$d bs=64k iflag=fullblock count=128 conv=fsync";
    running.send(&format!(
        "for d in vda vdb; do {fill} 2>/dev/null || echo failed; done; echo $((6*7))x\n"
    ))?;
    let event = qmp.event("BLOCK_IO_ERROR", seconds(60))?;
    ensure!(event["nospace"] == true && event["action"] == "stop", "the event says {event}");
    qmp.event("STOP", seconds(10))?;
    // Without space, the next try fails in the same way.
    qmp.say("cont", json!({}))?;
    qmp.event("STOP", seconds(30))?;
    for megabytes in [9, 12, 15, 40] {
        let status = qmp.status()?;
        ensure!(status == "io-error", "the status is {status}");
        small.mount(&format!("remount,size={megabytes}m"))?;
        qmp.say("cont", json!({}))?;
        let is_done = |r: &Running| r.text().contains("\n42x");
        for _ in 0..60 {
            if is_done(&running) || qmp.event("STOP", seconds(1)).is_ok() {
                break;
            }
        }
        if is_done(&running) {
            break;
        }
    }
    running.wait_for("\n42x", seconds(60))?;
    ensure!(!running.text().contains("\nfailed"), "the guest has seen an error");
    qmp.say("quit", json!({}))?;
    running.expect_exit(0, seconds(30))?;
    tool("qemu-img", &["check", path(&small.0.join("qcow2"))])?;
    for format in formats {
        let (file, plain) = (small.0.join(format), dir.file("plain"));
        tool("qemu-img", &["convert", "-f", format, "-O", "raw", path(&file), path(&plain)])?;
        let bytes = std::fs::read(&plain)?;
        let wrong = bytes.iter().filter(|b| **b != b'A').count();
        ensure!(bytes.len() == 8 << 20 && wrong == 0, "{format}: {wrong} bytes were lost");
    }
    Ok(())
}
