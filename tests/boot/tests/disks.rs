//! Disks, as Linux's own drivers see them: what is read is what is in the image, and what was written stays.

use crate::seconds;
use anyhow::{Context, Result, bail, ensure};
use boot_tests::debian::{Debian, PROMPT};
use boot_tests::{Machine, Running, Skip, Test, drivers, place};
use std::path::{Path, PathBuf};
use std::process::Command;

const BOOT: u64 = 240;
/// Bytes of a test's image.
const IMAGE: usize = 32 << 20;

/// How a disk is joined.
struct Bus {
    name: &'static str,
    board: &'static str,
    interface: &'static str,
    /// Its name in Linux.
    device: &'static str,
}

#[rustfmt::skip]
const BUSES: &[Bus] = &[
    Bus { name: "IDE",        board: "pc",  interface: "if=ide",    device: "/dev/sda" },
    Bus { name: "AHCI",       board: "q35", interface: "if=ide",    device: "/dev/sda" },
    Bus { name: "virtio-blk", board: "q35", interface: "if=virtio", device: "/dev/vda" },
];

/// Cache modes, and how often nine writes, five of them before a flush, go to the disk itself.
struct Mode {
    name: &'static str,
    direct: bool,
    /// At least so many fdatasync calls; at most: the same and those of the end.
    syncs: std::ops::RangeInclusive<usize>,
}

#[rustfmt::skip]
const MODES: &[Mode] = &[
    Mode { name: "writeback",    direct: false, syncs: 1..=4 },
    Mode { name: "none",         direct: true,  syncs: 1..=4 },
    Mode { name: "writethrough", direct: false, syncs: 9..=14 },
    Mode { name: "directsync",   direct: true,  syncs: 9..=14 },
    Mode { name: "unsafe",       direct: false, syncs: 0..=0 },
];

pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for bus in BUSES {
        for format in ["raw", "qcow2"] {
            let name = format!("Linux reads and writes a {format} image through {}", bus.name);
            tests.push(Test::new(name, move || round(bus, format)));
        }
    }
    for mode in MODES {
        for end in ["SIGKILL", "SIGTERM", "quit"] {
            let name = format!("cache={}: nine writes, then {end}", mode.name);
            tests.push(Test::new(name, move || nine(mode, end)));
        }
    }
    for (name, board) in [("AHCI and virtio-blk", "q35"), ("IDE and virtio-blk", "pc")] {
        let name = format!("a machine saved in the middle of traffic of {name} goes on");
        tests.push(Test::new(name, move || saved(board)));
    }
    tests.push(Test::new("werror=stop: the machine stops at an error and goes on after it", stop));
    tests.push(Test::new("snapshot=on leaves the image as it was", snapshot));
    tests
}

pub fn files() -> Result<Debian> {
    drivers::get(&[], &mut |_| {}).map_err(|e| Skip(format!("no Debian packages: {e:#}")).into())
}

/// A folder that goes with the test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Result<Folder> {
        // Not in memory: that has no direct access.
        let dir = place::target().join(format!("disks-{}", std::process::id()));
        std::fs::create_dir_all(&dir)?;
        Ok(Folder(dir))
    }
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}
impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Bytes that are not the same anywhere.
pub fn contents() -> Vec<u8> {
    let next = |n: &u32| Some(n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    let words = std::iter::successors(Some(1u32), next);
    words.flat_map(u32::to_le_bytes).take(IMAGE).collect()
}

pub fn tool(name: &str, args: &[&str]) -> Result<String> {
    let Some(program) = place::program(name) else {
        return Err(Skip(format!("{name} is not on this machine")).into());
    };
    let done = Command::new(program).args(args).output().with_context(|| name.to_owned())?;
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    ensure!(
        done.status.success(),
        "{name} {args:?}: {text}{}",
        String::from_utf8_lossy(&done.stderr)
    );
    Ok(text)
}

pub fn path(p: &Path) -> &str {
    p.to_str().unwrap_or_default()
}

/// A machine that boots Linux with the drivers, and its shell on the serial line.
pub fn linux(machine: Machine) -> Result<Machine> {
    let files = files()?;
    let machine = machine.args(["-m", "256", "-no-reboot"]);
    Ok(machine.kernel(&files.kernel).initrd(&files.initrd).append("console=ttyS0 panic=-1 quiet"))
}

/// The same with one drive.
fn machine(bus: &Bus, drive: &str) -> Result<Machine> {
    let drive = format!("{drive},{}", bus.interface);
    linux(Machine::new(bus.board)?.args(["-drive", &drive]))
}

pub fn shell(running: &mut Running) -> Result<()> {
    running.wait_for(PROMPT, seconds(BOOT)).map(drop)
}

pub fn say(running: &mut Running, line: &str) -> Result<String> {
    Ok(running.command(line, PROMPT, seconds(120))?.trim().to_owned())
}

fn round(bus: &Bus, format: &str) -> Result<()> {
    let dir = Folder::new()?;
    let (raw, image) = (dir.file("raw"), dir.file("image"));
    std::fs::write(&raw, contents())?;
    if format == "raw" {
        std::fs::copy(&raw, &image)?;
    } else {
        tool("qemu-img", &["convert", "-O", format, path(&raw), path(&image)])?;
    }
    let drive = format!("file={},format={format}", image.display());
    let mut running = machine(bus, &drive)?.boot()?;
    shell(&mut running)?;
    let disk = bus.device;
    let sum = tool("md5sum", &[path(&raw)])?;
    let seen = say(&mut running, &format!("md5sum < {disk}"))?;
    ensure!(sum.split(' ').next() == seen.split(' ').next(), "the guest read {seen}, not {sum}");
    // The first eight megabytes behind the next eight, past the guest's cache and through it.
    for (flags, to) in [("oflag=direct", 8), ("conv=fsync", 16)] {
        say(&mut running, &format!("dd if={disk} of={disk} bs=1M count=8 seek={to} {flags}"))?;
    }
    say(&mut running, &format!("dd if=/dev/zero of={disk} bs=64k count=16 seek=400 conv=fsync"))?;
    running.send("poweroff\n")?;
    running.expect_exit(0, seconds(60))?;
    let mut wanted = contents();
    wanted.copy_within(0..8 << 20, 8 << 20);
    wanted.copy_within(0..8 << 20, 16 << 20);
    wanted[400 << 16..416 << 16].fill(0);
    if format != "raw" {
        tool("qemu-img", &["check", path(&image)])?;
        tool("qemu-img", &["convert", "-O", "raw", path(&image), path(&raw)])?;
        std::fs::rename(&raw, &image)?;
    }
    ensure!(std::fs::read(&image)? == wanted, "the image does not hold what the guest wrote");
    Ok(())
}

/// Nine sectors past the guest's cache: five, a flush, four; then an end.
fn nine(mode: &Mode, end: &str) -> Result<()> {
    if place::program("strace").is_none() {
        return Err(Skip("strace is not on this machine".into()).into());
    }
    let dir = Folder::new()?;
    let (image, trace) = (dir.file("image"), dir.file("trace"));
    std::fs::write(&image, vec![0xEE; 1 << 20])?;
    let drive = format!("file={},format=raw,cache={}", image.display(), mode.name);
    let traced = ["strace", "-f", "-qq", "-e", "trace=openat,fdatasync,fsync", "-o", path(&trace)];
    let mut words: Vec<String> = traced.map(str::to_owned).to_vec();
    words.extend(place::reprise()?.iter().cloned());
    let drive = format!("{drive},if=virtio");
    let machine = linux(Machine::of(&words, "q35").args(["-drive", &drive]))?;
    let mut running = machine.boot_with_monitor()?;
    shell(&mut running)?;
    let before = syncs(&trace)?;
    let write = "dd if=/tmp/s of=/dev/vda bs=512 count=1 oflag=direct conv=notrunc";
    say(&mut running, "tr '\\0' 'A' < /dev/zero | head -c 512 > /tmp/s")?;
    say(&mut running, &format!("for n in 0 1 2 3 4; do {write} seek=$n; done 2>/dev/null"))?;
    say(&mut running, "dd if=/dev/null of=/dev/vda conv=fsync,notrunc")?;
    say(
        &mut running,
        &format!("for n in 5 6 7 8; do {write} seek=$n; done 2>/dev/null; echo all"),
    )?;
    let during = syncs(&trace)? - before;
    match end {
        "quit" => running.monitor()?.last("quit")?,
        signal => drop(tool("pkill", &["--signal", signal, "-P", &running.pid().to_string()])?),
    }
    running.exit(seconds(30))?;
    let bytes = std::fs::read(&image)?;
    ensure!(bytes[..9 * 512].iter().all(|b| *b == b'A'), "not all nine are in the file");
    ensure!(bytes[9 * 512..].iter().all(|b| *b == 0xEE), "more than nine sectors have changed");
    let text = std::fs::read_to_string(&trace)?;
    let opened = text.lines().filter(|l| l.contains(path(&image)) && l.contains("O_RDWR"));
    let direct = opened.clone().any(|l| l.contains("O_DIRECT"));
    ensure!(opened.count() > 0 && direct == mode.direct, "O_DIRECT: {direct}\n{text}");
    ensure!(
        mode.syncs.contains(&during),
        "{during} fdatasync calls where {:?} were expected",
        mode.syncs
    );
    Ok(())
}

fn syncs(trace: &Path) -> Result<usize> {
    let text = std::fs::read_to_string(trace)?;
    Ok(text.lines().filter(|l| l.contains("fdatasync(") || l.contains("fsync(")).count())
}

/// A saved machine goes on with copies of the disks as they were then.
fn saved(board: &str) -> Result<()> {
    let dir = Folder::new()?;
    let state = dir.file("state");
    let interfaces = ["ide", "virtio"];
    let machine = |copy: &str| {
        let mut machine = linux(Machine::new(board)?)?;
        for interface in interfaces {
            let file = dir.file(&format!("{interface}{copy}"));
            let drive = format!("if={interface},format=raw,file={}", file.display());
            machine = machine.args(["-drive", &drive]);
        }
        Ok::<_, anyhow::Error>(machine)
    };
    for interface in interfaces {
        std::fs::write(dir.file(interface), contents())?;
    }
    let mut first = machine("")?.boot_with_monitor()?;
    shell(&mut first)?;
    for disk in ["sda", "vda"] {
        let copy =
            format!("dd if=/dev/{disk} of=/dev/{disk} bs=64k count=64 seek=256 oflag=direct");
        let line = format!("while :; do {copy} 2>/dev/null && echo -n {disk}.; done &");
        first.send(&format!("({line}) 2>/dev/null\n"))?;
    }
    for disk in ["sda.", "vda.", "sda.", "vda."] {
        first.wait_for(disk, seconds(60))?;
    }
    let mut monitor = first.monitor()?;
    monitor.say("stop")?;
    let said = monitor.say(&format!("savevm {}", state.display()))?;
    ensure!(said.is_empty(), "savevm: {said}");
    for interface in interfaces {
        std::fs::copy(dir.file(interface), dir.file(&format!("{interface}-copy")))?;
    }
    drop(first);
    let again = machine("-copy")?.args(["-loadvm", path(&state)]);
    let mut second = again.boot_with_monitor()?;
    for disk in ["sda.", "vda.", "sda.", "vda."] {
        second.wait_for(disk, seconds(60)).context("it does not go on")?;
    }
    second.send("killall sh dd; sleep 1; echo $((6*7)) done\n")?;
    second.wait_for("42 done", seconds(60))?;
    second.wait_for(PROMPT, seconds(30))?;
    let log = say(&mut second, "dmesg | grep -c -E 'ata.*(error|exception|timeout)|I/O error'")?;
    ensure!(log.ends_with('0'), "the kernel has seen {log} errors");
    second.send("poweroff\n")?;
    second.expect_exit(0, seconds(60))?;
    let mut wanted = contents();
    wanted.copy_within(0..4 << 20, 16 << 20);
    for interface in interfaces {
        let bytes = std::fs::read(dir.file(&format!("{interface}-copy")))?;
        ensure!(bytes == wanted, "{interface}: bytes were lost");
    }
    Ok(())
}

/// The third write fails once.
fn stop() -> Result<()> {
    let dir = Folder::new()?;
    let image = dir.file("image");
    std::fs::write(&image, contents())?;
    let node = format!(
        "driver=raw,node-name=d,file.driver=blkdebug,file.image.driver=file,file.image.filename={},\
         file.inject-error.0.event=write_aio,file.inject-error.0.errno=5,\
         file.inject-error.0.once=on,file.inject-error.0.sector=6000",
        image.display()
    );
    let device = "virtio-blk-pci,drive=d,werror=stop,rerror=stop";
    let machine = linux(Machine::new("q35")?.args(["-blockdev", &node, "-device", device]))?;
    let mut running = machine.boot_with_monitor()?;
    shell(&mut running)?;
    running.send("dd if=/dev/vda of=/dev/vda bs=1M count=2 seek=2 oflag=direct; echo made $?\n")?;
    let mut monitor = running.monitor()?;
    monitor.wait_for_status("io-error", seconds(60))?;
    ensure!(!running.text().contains("made 0\n"), "the guest went on");
    monitor.say("cont")?;
    running.wait_for("\nmade 0", seconds(60)).context("after cont")?;
    running.wait_for(PROMPT, seconds(20))?;
    running.send("poweroff\n")?;
    running.expect_exit(0, seconds(60))?;
    let mut wanted = contents();
    wanted.copy_within(0..2 << 20, 2 << 20);
    ensure!(std::fs::read(&image)? == wanted, "bytes were lost");
    Ok(())
}

fn snapshot() -> Result<()> {
    let dir = Folder::new()?;
    let image = dir.file("image");
    std::fs::write(&image, contents())?;
    let drive = format!("file={},format=raw,snapshot=on", image.display());
    let mut running = machine(&BUSES[2], &drive)?.boot()?;
    shell(&mut running)?;
    say(&mut running, "dd if=/dev/zero of=/dev/vda bs=1M count=4 conv=fsync")?;
    let seen = say(&mut running, "head -c 4194304 /dev/vda | tr -d '\\0' | wc -c")?;
    if seen != "0" {
        bail!("the guest does not read what it wrote: {seen}");
    }
    running.send("poweroff\n")?;
    running.expect_exit(0, seconds(60))?;
    ensure!(std::fs::read(&image)? == contents(), "the image has changed");
    Ok(())
}
