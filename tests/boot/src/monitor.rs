//! The monitor for people (HMP), on a socket.

use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

const PROMPT: &[u8] = b"(qemu) ";

pub struct Monitor {
    socket: UnixStream,
}

/// The count of instructions and a hash over all that the guest can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateHash {
    pub count: u64,
    pub hash: u128,
}

/// Connects, as soon as the emulator listens.
pub(crate) fn connect(path: &Path) -> Result<UnixStream> {
    let mut tries = 0;
    loop {
        match UnixStream::connect(path) {
            Ok(socket) => return Ok(socket),
            Err(e) if tries == 200 => {
                return Err(e).with_context(|| format!("connecting to {}", path.display()));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
        tries += 1;
    }
}

impl Monitor {
    /// Connects, as soon as the emulator listens.
    pub fn open(path: &Path) -> Result<Monitor> {
        let socket = connect(path)?;
        socket.set_read_timeout(Some(Duration::from_secs(120)))?;
        let mut monitor = Monitor { socket };
        monitor.until_prompt()?;
        Ok(monitor)
    }

    /// Says a command; gives the answer.
    pub fn say(&mut self, command: &str) -> Result<String> {
        self.socket.write_all(format!("{command}\n").as_bytes())?;
        let text = self.until_prompt().with_context(|| format!("monitor: {command}"))?;
        // The echo, with the line editing of the terminal, stands on the first line.
        Ok(text.split_once('\n').map_or("", |(_echo, answer)| answer).trim().to_owned())
    }

    /// Says a command that ends the program.
    pub fn last(&mut self, command: &str) -> Result<()> {
        Ok(self.socket.write_all(format!("{command}\n").as_bytes())?)
    }

    fn until_prompt(&mut self) -> Result<String> {
        let mut text = Vec::new();
        let mut byte = [0];
        while !text.ends_with(PROMPT) {
            if self.socket.read(&mut byte)? == 0 {
                bail!("the monitor closed after: {}", String::from_utf8_lossy(&text));
            }
            text.push(byte[0]);
        }
        text.truncate(text.len() - PROMPT.len());
        Ok(String::from_utf8_lossy(&text).replace('\r', ""))
    }

    /// `info statehash`.
    pub fn state_hash(&mut self) -> Result<StateHash> {
        let text = self.say("info statehash")?;
        parse(&text)
            .with_context(|| format!("info statehash: expected count=N hash=HEX, got '{text}'"))
    }

    /// Waits until `info status` has the word.
    pub fn wait_for_status(&mut self, word: &str, limit: Duration) -> Result<()> {
        let end = crate::machine::now() + limit;
        loop {
            let status = self.say("info status")?;
            if status.contains(word) {
                return Ok(());
            }
            if crate::machine::now() > end {
                bail!("waited for status {word}, got '{status}'");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn parse(text: &str) -> Option<StateHash> {
    let value = |key: &str| text.split_whitespace().find_map(|w| w.strip_prefix(key));
    let count = value("count=")?.parse().ok()?;
    let hash = u128::from_str_radix(value("hash=")?.trim_start_matches("0x"), 16).ok()?;
    Some(StateHash { count, hash })
}
