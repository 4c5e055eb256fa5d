//! `cargo xtask demo`: from a clone to a shell. Debian's own kernel and busybox; without them, our test guest.

use crate::shell::{flag, status};
use anyhow::{Result, bail, ensure};
use boot_tests::debian::{self, Debian, PROMPT};
use boot_tests::{Machine, guest, place};
use std::process::{Command, ExitCode};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(240);

pub fn run(args: &[String]) -> Result<ExitCode> {
    let split = args.iter().position(|a| a == "--").unwrap_or(args.len());
    let (ours, more) = (&mut args[..split].to_vec(), args.get(split + 1..).unwrap_or(&[]));
    let (batch, fresh, only_guest) =
        (flag(ours, "--batch"), flag(ours, "--fresh"), flag(ours, "--guest"));
    crate::shell::no_more(ours)?;
    if fresh {
        let _ = std::fs::remove_dir_all(place::cache()?.join("debian"));
    }
    let debian = if only_guest {
        Err(anyhow::anyhow!("--guest"))
    } else {
        debian::get(&mut |t| println!("{t}"))
    };
    println!("building reprise");
    let reprise = place::reprise()?;
    let files = match debian {
        Ok(files) => Some(files),
        Err(why) => {
            println!("not Debian ({why:#}): the small test guest of roms/guest");
            None
        }
    };
    let words = match &files {
        Some(files) => debian_words(files),
        None => guest_words()?,
    };
    let words: Vec<_> = words.iter().chain(more).cloned().collect();
    if batch {
        let machine = Machine::bare()?.args(&words);
        match files {
            Some(_) => debian_batch(machine)?,
            None => guest_batch(machine)?,
        }
        println!("demo: ok");
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "{} {}",
        reprise.join(" "),
        words.iter().map(|w| quoted(w)).collect::<Vec<_>>().join(" ")
    );
    let ended = Command::new(&reprise[0]).args(&reprise[1..]).args(&words).status()?;
    println!("reprise ended: {ended}");
    Ok(status(ended.success()))
}

fn quoted(word: &str) -> String {
    if word.contains(' ') { format!("\"{word}\"") } else { word.to_owned() }
}

fn machine_words() -> Vec<String> {
    crate::shell::split("-M q35 -m 512 -nographic -no-reboot")
}

fn debian_words(files: &Debian) -> Vec<String> {
    let text = |p: &std::path::Path| p.to_string_lossy().into_owned();
    let more = ["-kernel", &text(&files.kernel), "-initrd", &text(&files.initrd), "-append"];
    let mut words = machine_words();
    words.extend(more.map(str::to_owned));
    words.push("console=ttyS0 panic=-1".to_owned());
    words
}

fn guest_words() -> Result<Vec<String>> {
    let mut words = machine_words();
    let kernel = guest::get()?.to_string_lossy().into_owned();
    words.extend(["-kernel", &kernel, "-append", "help"].map(str::to_owned));
    Ok(words)
}

/// What somebody would try, with the answers checked.
fn debian_batch(machine: Machine) -> Result<()> {
    let mut running = machine.boot()?;
    println!("waiting for the shell");
    running.wait_for(PROMPT, LIMIT)?;
    let seconds = Duration::from_secs;
    let rows =
        [("echo $((6*7))", "42"), ("uname -m", "x86_64"), ("echo one two | tr a-z A-Z", "ONE TWO")];
    for (line, expected) in rows {
        let said = running.command(line, PROMPT, seconds(30))?;
        println!("{line}: {}", said.trim());
        if expected != said.trim() {
            bail!("{line}: expected {expected}, got {}", said.trim());
        }
    }
    running.send("sleep 1000\n")?;
    std::thread::sleep(seconds(2));
    running.send("\x03")?;
    running.wait_for(PROMPT, seconds(20))?;
    println!("Ctrl-C: the prompt is back");
    running.send("poweroff\n")?;
    running.expect_exit(0, seconds(60))?;
    println!("poweroff: exit status 0");
    Ok(())
}

fn guest_batch(machine: Machine) -> Result<()> {
    let mut running = machine.boot()?;
    running.wait_for("guest> ", LIMIT)?;
    let said = running.command("echo one two", "guest> ", LIMIT)?;
    ensure!(said.trim() == "one two", "expected the line again, got {said}");
    running.send("poweroff\n")?;
    running.expect_exit(0, LIMIT)
}
