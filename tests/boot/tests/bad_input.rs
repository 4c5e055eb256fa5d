//! What cannot be is refused with exit status 1 and one line that names it.

use crate::seconds;
use anyhow::{Result, bail};
use boot_tests::{Machine, Test, guest, place};
use std::path::Path;

/// The command line, with names for files and a port (see [`refused`]), and what the line must contain: the culprit, and for ours what was expected.
#[rustfmt::skip]
const ROWS: &[(&str, &[&str])] = &[
    ("-kernel no-such-kernel",                      &["no-such-kernel"]),
    ("-kernel Cargo.toml",                          &["Cargo.toml"]),
    ("-no-such-option",                             &["-no-such-option"]),
    ("-M no-such-board",                            &["no-such-board"]),
    ("-M q35,no-such-property=on",                  &["no-such-property"]),
    ("-kernel /dev/null",                           &["-kernel", "/dev/null"]),
    ("-kernel /dev/zero",                           &["-kernel", "/dev/zero"]),
    ("-kernel /",                                   &["-kernel", "/: ", "directory"]),
    ("-kernel GUEST -initrd no-such-initrd",        &["-initrd", "no-such-initrd"]),
    ("-kernel GUEST -initrd HUGE -m 64",            &["HUGE"]),
    ("-kernel GUEST -cpu no-such-cpu",              &["-cpu", "no-such-cpu"]),
    ("-kernel GUEST -cpu max,+no-such-flag",        &["-cpu", "no-such-flag"]),
    ("-kernel no-such-kernel -cpu no-such-cpu",     &["-cpu", "no-such-cpu"]),
    ("-cpu no-such-cpu",                            &["-cpu", "no-such-cpu"]),
    ("-kernel no-such-kernel -cpu max,+no-such-flag", &["-cpu", "no-such-flag"]),
    ("-kernel GUEST -serial tcp:127.0.0.1:PORT,server=on,wait=off",  &["-serial", "PORT"]),
    ("-kernel GUEST -monitor tcp:127.0.0.1:PORT,server=on,wait=off", &["-monitor", "PORT"]),
    ("-kernel GUEST -qmp tcp:127.0.0.1:PORT,server=on,wait=off",     &["-qmp", "PORT"]),
    ("-kernel GUEST -serial file:/no-such-dir/file", &["-serial", "/no-such-dir/file"]),
    ("-kernel GUEST -pidfile /no-such-dir/file",    &["-pidfile", "/no-such-dir/file"]),
    ("-kernel GUEST -D /no-such-dir/file",          &["-D", "/no-such-dir/file"]),
    ("-device isa-debug-exit,iobase=0x12345",       &["iobase=0x12345"]),
    ("-device isa-serial,chardev=no-such-chardev",  &["no-such-chardev"]),
    ("-device pci-testdev,membar=3",                &["membar=3"]),
    ("-rtc base=never",                             &["never"]),
    ("-accel kvm",                                  &["kvm"]),
    ("-device no-such-device",                      &["no-such-device"]),
    ("-device isa-debug-exit,no-such-property=1",   &["no-such-property"]),
    ("-m abc",                                      &["abc"]),
    ("-m 99999999G",                                &["99999999G"]),
    ("-smp 0",                                      &["smp"]),
    ("-smp x",                                      &["x"]),
    ("-serial no-such-backend",                     &["no-such-backend"]),
    ("-icount shift=99",                            &["99"]),
    ("-accel no-such-accelerator",                  &["no-such-accelerator"]),
    ("-loadvm no-such-file",                        &["no-such-file"]),
    ("-append only",                                &["-append"]),
    ("-initrd Cargo.toml",                          &["-initrd"]),
    ("-m",                                          &["-m"]),
];

pub fn tests() -> Vec<Test> {
    ROWS.iter()
        .map(|(line, words)| {
            Test::new(format!("{line} is refused in one line"), || refused(line, words))
        })
        .collect()
}

/// In place of GUEST the test guest, of HUGE a file that does not fit into RAM, of PORT the number of a port that is in use.
fn refused(line: &str, words: &[&str]) -> Result<()> {
    let kernel = guest::get()?;
    let dir = place::scratch("bad")?;
    let huge = dir.join("huge");
    std::fs::File::create(&huge)?.set_len(100 << 20)?;
    let port = std::net::TcpListener::bind("127.0.0.1:0")?;
    let number = port.local_addr()?.port().to_string();
    let path = |p: &Path| p.to_str().unwrap_or_default().to_owned();
    let fill = |text: &str| {
        let text = text.replace("GUEST", &path(&kernel)).replace("HUGE", &path(&huge));
        text.replace("PORT", &number)
    };
    let machine = Machine::bare()?.args(["-display", "none"]);
    let mut running = machine.args(fill(line).split(' ')).boot()?;
    let end = running.expect_exit(1, seconds(10));
    std::fs::remove_dir_all(&dir)?;
    end?;
    let errors = running.errors();
    let missing = words.iter().map(|w| fill(w)).find(|w| !errors.contains(w.as_str()));
    if let Some(word) = missing {
        bail!("the message does not say {word}: {errors}");
    }
    if place::is_ours() && (errors.trim().lines().count() != 1 || !errors.starts_with("reprise: "))
    {
        bail!("expected one line that begins with 'reprise: ', got: {errors}");
    }
    if !running.text().is_empty() {
        bail!("expected nothing on the output, got: {}", running.text());
    }
    Ok(())
}
