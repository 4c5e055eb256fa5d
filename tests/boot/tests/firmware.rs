//! Firmware from Debian's packages: SeaBIOS to its last words, OVMF to its shell.

use crate::{repeat, seconds};
use anyhow::{Result, ensure};
use boot_tests::{Machine, Skip, Test, place};
use std::path::{Path, PathBuf};

/// A build of OVMF with the variables that go with it; the second one keeps them in system management mode.
const OVMF: &[(&str, &str)] =
    &[("4M", "OVMF_CODE_4M.fd"), ("4M secboot", "OVMF_CODE_4M.secboot.fd")];

pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for board in ["pc", "q35"] {
        let mut add = |name: &str, run: fn(&str) -> Result<()>| {
            tests.push(Test::new(format!("{name} on {board}"), move || run(board)));
        };
        add("SeaBIOS finds nothing to boot", nothing_to_boot);
        add("SeaBIOS without system management mode finds nothing to boot", without_smm);
        add("SeaBIOS runs twice the same, once under load", |b| {
            repeat::ours().and_then(|()| repeat::twice(ends(b)))
        });
        add("SeaBIOS, saved in the middle, goes on the same", |b| {
            repeat::ours().and_then(|()| repeat::saved(ends(b)))
        });
    }
    tests.push(Test::new("firmware that is missing is named with its package", missing_firmware));
    tests.push(Test::new("OVMF by -bios shows its shell", ovmf_by_bios));
    for (name, code) in OVMF {
        let name = format!("OVMF {name} in flash shows its shell, and keeps its variables");
        tests.push(Test::new(name, move || ovmf_in_flash(code)));
    }
    tests
}

/// SeaBIOS talks to the serial line if there is no screen.
fn seabios(board: &str, more: &str) -> Result<Machine> {
    Machine::new(&format!("{board},graphics=off{more}"))
}

fn nothing(machine: Machine) -> Result<()> {
    let mut running = machine.boot()?;
    running.wait_for("SeaBIOS (version ", seconds(30))?;
    running.wait_for("No bootable device.", seconds(60))?;
    Ok(())
}

fn nothing_to_boot(board: &str) -> Result<()> {
    nothing(seabios(board, "")?)
}

fn without_smm(board: &str) -> Result<()> {
    nothing(seabios(board, ",smm=off")?)
}

/// It resets after a while, and that is the end.
fn ends(board: &str) -> Result<Machine> {
    Ok(seabios(board, "")?.args(["-boot", "reboot-timeout=100", "-no-reboot"]))
}

fn missing_firmware() -> Result<()> {
    let mut running = Machine::new("pc")?.args(["-bios", "bios-none.bin"]).boot()?;
    running.expect_exit(1, seconds(20))?;
    let said = running.errors();
    ensure!(said.contains("package seabios"), "it said: {said}");
    Ok(())
}

/// A file of the package `ovmf`.
fn ovmf(dir: &str, name: &str) -> Result<PathBuf> {
    let file = Path::new(dir).join(name);
    if file.is_file() {
        return Ok(file);
    }
    Err(Skip(format!("there is no {}: it is in the package ovmf", file.display())).into())
}

fn shell(machine: Machine) -> Result<()> {
    let mut running = machine.args(["-m", "256"]).boot()?;
    running.wait_for("UEFI Interactive Shell", seconds(120))?;
    running.send("\x1b")?;
    running.wait_for("Shell>", seconds(60))?;
    running.send("echo 6*7\r")?;
    running.wait_for("\n6*7", seconds(60))?;
    running.send("reset -s\r")?;
    running.expect_exit(0, seconds(60))
}

fn ovmf_by_bios() -> Result<()> {
    let file = ovmf("/usr/share/ovmf", "OVMF.fd")?;
    shell(Machine::new("q35")?.args(["-bios".as_ref(), file.as_os_str()]))
}

fn ovmf_in_flash(code: &str) -> Result<()> {
    let dir = "/usr/share/OVMF";
    let (code, vars) = (ovmf(dir, code)?, ovmf(dir, "OVMF_VARS_4M.fd")?);
    let scratch = place::scratch("vars")?;
    let mine = scratch.join("vars.fd");
    std::fs::copy(&vars, &mine)?;
    let drive =
        |file: &Path, how: &str| format!("if=pflash,format=raw{how},file={}", file.display());
    let fresh = std::fs::read(&vars)?;
    for _ in 0..2 {
        let drives = [drive(&code, ",readonly=on"), drive(&mine, "")];
        shell(Machine::new("q35")?.args(["-drive", &drives[0], "-drive", &drives[1]]))?;
        ensure!(std::fs::read(&mine)? != fresh, "no variable was kept");
    }
    // The same chips as block nodes that the board names.
    std::fs::copy(&vars, &mine)?;
    let node = |name: &str, file: &Path, how: &str| {
        let file = file.display();
        format!("driver=raw,node-name={name}{how},file.driver=file,file.filename={file}")
    };
    let nodes = [node("code", &code, ",read-only=on"), node("vars", &mine, "")];
    let machine = Machine::new("q35")?.args(["-machine", "pflash0=code,pflash1=vars"]);
    shell(machine.args(["-blockdev", &nodes[0], "-blockdev", &nodes[1]]))?;
    ensure!(std::fs::read(&mine)? != fresh, "no variable was kept in a node");
    std::fs::remove_dir_all(scratch)?;
    Ok(())
}
