//! `cargo xtask image try`: boots the disk and the CDs on each kind of controller, by BIOS and by UEFI.
//!
//! On the disk, root must come in without a password, systemd must have nothing to complain about, and switching off must
//! work. CDs must show what they are. With `--ours CMD`, another emulator does it.

use super::{cds, debian};
use crate::shell::{flag, no_more, split, value};
use anyhow::{Result, bail, ensure};
use boot_tests::machine::{Running, now};
use boot_tests::{Machine, place};
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(600);
const PROMPT: &str = "root@reprise:~# ";
/// Where packages put a firmware of both halves in one file.
const UEFI: [&str; 2] = ["/usr/share/ovmf/OVMF.fd", "/usr/share/qemu/OVMF.fd"];

/// What is in the machine. `@` in its options stands for the file, which is never written.
enum Medium {
    Disk,
    Qcow2,
    Cd(&'static str, fn(&mut Running) -> Result<()>),
}

struct Row {
    name: &'static str,
    options: &'static str,
    uefi: bool,
    medium: Medium,
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row { name: "pc-ide",       options: "-M pc  -drive file=@,format=raw,snapshot=on,if=ide",    uefi: false, medium: Medium::Disk },
    Row { name: "q35-ahci",     options: "-M q35 -drive file=@,format=raw,snapshot=on,if=ide",    uefi: false, medium: Medium::Disk },
    Row { name: "pc-virtio",    options: "-M pc  -drive file=@,format=raw,snapshot=on,if=virtio", uefi: false, medium: Medium::Disk },
    Row { name: "q35-virtio",   options: "-M q35 -drive file=@,format=raw,snapshot=on,if=virtio", uefi: false, medium: Medium::Disk },
    Row { name: "pc-qcow2",     options: "-M pc  -drive file=@,format=qcow2,snapshot=on,if=ide", uefi: false, medium: Medium::Qcow2 },
    Row { name: "q35-smp",      options: "-M q35 -drive file=@,format=raw,snapshot=on,if=virtio -smp 4", uefi: false, medium: Medium::Disk },
    Row { name: "uefi-ahci",    options: "-M q35 -drive file=@,format=raw,snapshot=on,if=ide",    uefi: true,  medium: Medium::Disk },
    Row { name: "uefi-ide",     options: "-M pc  -drive file=@,format=raw,snapshot=on,if=ide",    uefi: true,  medium: Medium::Disk },
    Row { name: "uefi-virtio",  options: "-M q35 -drive file=@,format=raw,snapshot=on,if=virtio", uefi: true,  medium: Medium::Disk },
    Row { name: "uefi-qcow2",   options: "-M q35 -drive file=@,format=qcow2,snapshot=on,if=virtio -smp 4", uefi: true, medium: Medium::Qcow2 },
    Row { name: "cd-grub",      options: "-M pc  -cdrom @ -boot d",  uefi: false, medium: Medium::Cd("grub-rescue", grub) },
    Row { name: "cd-grub-q35",  options: "-M q35 -cdrom @ -boot d",  uefi: false, medium: Medium::Cd("grub-rescue", grub) },
    Row { name: "cd-grub-uefi", options: "-M q35 -cdrom @",          uefi: true,  medium: Medium::Cd("grub-rescue", grub) },
    Row { name: "cd-install",   options: "-M q35 -cdrom @ -boot d",  uefi: false, medium: Medium::Cd("debian-12-installer", installer) },
    Row { name: "cd-memtest",   options: "-M pc  -cdrom @ -boot d -m 128",  uefi: false, medium: Medium::Cd("memtest86+", memtest) },
    Row { name: "cd-mem-uefi",  options: "-M q35 -cdrom @ -m 128", uefi: true,  medium: Medium::Cd("memtest86+", memtest) },
];

pub fn run(words: &mut Vec<String>) -> Result<bool> {
    let only = value(words, "--only")?.unwrap_or_default();
    let ours = value(words, "--ours")?;
    let programs = flag(words, "--programs");
    no_more(words)?;
    let wanted = |r: &&Row| only.is_empty() || only.split(',').any(|w| w == r.name);
    let rows: Vec<_> = ROWS.iter().filter(wanted).collect();
    if rows.is_empty() {
        let names: Vec<_> = ROWS.iter().map(|r| r.name).collect();
        bail!("--only {only}: no such row; there are {}", names.join(" "));
    }
    let ours = ours.map_or_else(|| place::reprise().map(<[_]>::to_vec), |w| Ok(split(&w)))?;
    let mut good = 0;
    for row in &rows {
        let result = row.run(&ours, programs);
        good += usize::from(result.is_ok());
        let text = match result {
            Ok(times) => times,
            Err(e) => format!("FAILED {e:#}"),
        };
        println!("{:12} {text}", row.name);
    }
    println!("try: {good} of {} are well", rows.len());
    Ok(good == rows.len())
}

impl Row {
    /// Gives how many seconds it took.
    fn run(&self, program: &[String], programs: bool) -> Result<String> {
        let file = match self.medium {
            Medium::Disk => debian::get(programs, 4, false)?,
            Medium::Qcow2 => super::qcow2(&debian::get(programs, 4, false)?)?,
            Medium::Cd(name, _) => cds::named(name)?,
        };
        let file = file.to_string_lossy();
        let words = split(self.options).into_iter().map(|w| w.replace('@', &file));
        let mut machine = Machine::serial(program).args(["-m", "1024", "-no-reboot"]).args(words);
        if self.uefi {
            let firmware = UEFI.iter().find(|f| Path::new(f).is_file());
            let Some(firmware) = firmware else { bail!("no firmware: install the package ovmf") };
            machine = machine.args(["-bios", firmware]);
        }
        let start = now();
        let mut running = machine.boot()?;
        if let Medium::Cd(_, check) = self.medium {
            check(&mut running)?;
            return Ok(format!("ok {:.1} s", start.elapsed().as_secs_f64()));
        }
        let mut times = Vec::new();
        let mut lap = |name: &str| {
            times.push(format!("{name} {:.1} s", start.elapsed().as_secs_f64()));
        };
        running.wait_for("Linux version", LIMIT)?;
        lap("kernel");
        running.wait_for("reprise login: ", LIMIT)?;
        lap("login");
        debian_is_well(&mut running)?;
        lap("off");
        Ok(format!("ok {}", times.join(", ")))
    }
}

fn debian_is_well(running: &mut Running) -> Result<()> {
    running.send("root\n")?;
    running.wait_for(PROMPT, LIMIT)?;
    let state = running.command("systemctl is-system-running --wait", PROMPT, LIMIT)?;
    if !state.lines().any(|l| l.trim().ends_with("running")) {
        let failed = running.command("systemctl --failed --no-pager --plain", PROMPT, LIMIT)?;
        bail!("systemd says {}: {failed}", state.trim());
    }
    let root = running.command(
        "findmnt -n -o FSTYPE /; df -m --output=avail / | tail -1",
        PROMPT,
        LIMIT,
    )?;
    ensure!(root.contains("ext4"), "the root file system: {root}");
    running.send("poweroff\n")?;
    running.expect_exit(0, LIMIT)
}

fn grub(running: &mut Running) -> Result<()> {
    running.wait_for("Switch off", LIMIT)?;
    running.send("c")?;
    running.wait_for("grub> ", LIMIT)?;
    running.send("echo on=$grub_platform=\n")?;
    running.wait_for_any(&["on=pc=", "on=efi="], LIMIT)?;
    running.send("halt\n")?;
    running.expect_exit(0, LIMIT)
}

/// Its first question.
fn installer(running: &mut Running) -> Result<()> {
    running.wait_for("Linux version", LIMIT)?;
    running.wait_for("Select a language", LIMIT).map(drop)
}

/// Its first tests find nothing wrong. On the serial line it says only every two seconds where it is.
fn memtest(running: &mut Running) -> Result<()> {
    running.wait_for("Memtest86+", LIMIT)?;
    running.wait_for("Moving inversions, 64 bit pattern", LIMIT)?;
    running.wait_for("Errors: ", LIMIT)?;
    let count = running.wait_for(" ", LIMIT)?;
    ensure!(count == "0", "it found errors: {count}");
    Ok(())
}
