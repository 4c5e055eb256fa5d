//! The test guest of `roms/guest`, on both boards.

use crate::{seconds, work};
use anyhow::{Result, bail};
use boot_tests::{Machine, Test, guest};

const PROMPT: &str = "guest> ";

pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for board in ["q35", "pc"] {
        let add = |name: &str, run: fn(&str) -> Result<()>| {
            Test::new(format!("the test guest {name} on {board}"), move || run(board))
        };
        tests.extend([
            add("passes its self-test", selftest),
            add("computes what the host computes", hash),
            add("echoes lines and takes a backspace", prompt),
            add("switches off with status 0", power_off),
            add("restarts when it asks for it", reboot),
            add("ends with -no-reboot when it asks for a restart", no_reboot),
            add("ends through isa-debug-exit with its own status", debug_exit),
            add("answers on the monitor and after Ctrl-A", monitor),
        ]);
    }
    tests
}

fn machine(board: &str, words: &str) -> Result<Machine> {
    Ok(Machine::new(board)?.args(["-m", "64"]).kernel(&guest::get()?).append(words))
}

fn selftest(board: &str) -> Result<()> {
    let mut running = machine(board, "selftest poweroff")?.boot()?;
    let log = running.wait_for("selftest: ", seconds(60))?;
    running.expect_exit(0, seconds(20))?;
    if !running.text().contains(", 0 failed") {
        bail!("{log}");
    }
    Ok(())
}

fn hash(board: &str) -> Result<()> {
    let mut running = machine(board, "hash poweroff")?.boot()?;
    running.expect_exit(0, seconds(60))?;
    let text = running.text();
    let mut wrong = Vec::new();
    let all = work::hash(false, |w, answer| {
        let line = format!("hash: {} {answer:016x}\n", w.name);
        if !text.contains(&line) {
            wrong.push(line);
        }
    });
    if !wrong.is_empty() || !text.contains(&format!("hash: all {all:016x}\n")) {
        bail!("expected {}, got:\n{text}", wrong.concat());
    }
    Ok(())
}

fn prompt(board: &str) -> Result<()> {
    let mut running = machine(board, "")?.boot()?;
    running.wait_for(PROMPT, seconds(30))?;
    let said = running.command("echo one two", PROMPT, seconds(5))?;
    if said.trim() != "one two" {
        bail!("expected the line again, got '{said}'");
    }
    let said = running.command("echo wrongx\x7f\x7f\x7f\x7f\x7f\x7fright", PROMPT, seconds(5))?;
    if said.trim() != "right" {
        bail!("expected 'right', got '{said}'");
    }
    running.send("poweroff\n")?;
    running.expect_exit(0, seconds(10))
}

fn power_off(board: &str) -> Result<()> {
    let mut running = machine(board, "poweroff")?.boot()?;
    running.wait_for("switching off", seconds(30))?;
    running.expect_exit(0, seconds(10))
}

fn reboot(board: &str) -> Result<()> {
    let mut running = machine(board, "")?.boot()?;
    for _ in 0..3 {
        running.wait_for("Reprise test guest", seconds(30))?;
        running.wait_for(PROMPT, seconds(10))?;
        running.send("reboot\n")?;
    }
    running.wait_for(PROMPT, seconds(30))?;
    running.send("poweroff\n")?;
    running.expect_exit(0, seconds(10))
}

fn no_reboot(board: &str) -> Result<()> {
    let mut running = machine(board, "reboot")?.args(["-no-reboot"]).boot()?;
    running.wait_for("rebooting", seconds(30))?;
    running.expect_exit(0, seconds(10))
}

fn debug_exit(board: &str) -> Result<()> {
    let device = ["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"];
    for code in [0, 3, 100] {
        let mut running = machine(board, &format!("exit={code}"))?.args(device).boot()?;
        running.expect_exit(code * 2 + 1, seconds(30))?;
    }
    Ok(())
}

fn monitor(board: &str) -> Result<()> {
    let machine = Machine::bare()?.args(["-M", board, "-m", "64", "-nographic"]);
    let mut running = machine.kernel(&guest::get()?).append("").boot()?;
    running.wait_for(PROMPT, seconds(30))?;
    running.send("\x01c")?;
    running.wait_for("(qemu) ", seconds(5))?;
    running.send("info status\n")?;
    running.wait_for("VM status: running", seconds(5))?;
    running.send("stop\ninfo status\n")?;
    running.wait_for("VM status: paused", seconds(5))?;
    running.send("cont\n")?;
    running.send("\x01c")?;
    let said = running.command("echo back", PROMPT, seconds(5))?;
    if !said.contains("back") {
        bail!("the guest does not answer after cont: '{said}'");
    }
    running.send("\x01x")?;
    running.expect_exit(0, seconds(10))
}
