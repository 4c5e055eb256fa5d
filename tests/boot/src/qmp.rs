//! The monitor for programs (QMP), on a socket.

use crate::machine::now;
use crate::monitor::connect;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

pub struct Qmp {
    socket: BufReader<UnixStream>,
    /// Events that nobody has waited for yet.
    events: VecDeque<Value>,
    /// A line of which the end has not come.
    line: Vec<u8>,
}

impl Qmp {
    /// Connects, as soon as the emulator listens, and says hello.
    pub fn open(path: &Path) -> Result<Qmp> {
        let socket = connect(path)?;
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        let (socket, events) = (BufReader::new(socket), VecDeque::new());
        let mut qmp = Qmp { socket, events, line: Vec::new() };
        let hello = qmp.line(Duration::from_secs(30))?.context("no greeting")?;
        hello.get("QMP").context("the greeting has no QMP")?;
        qmp.say("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// The next line, if it comes in time.
    fn line(&mut self, limit: Duration) -> Result<Option<Value>> {
        let end = now() + limit;
        loop {
            match self.socket.read_until(b'\n', &mut self.line) {
                Ok(0) => bail!("the monitor has closed"),
                Ok(_) if self.line.ends_with(b"\n") => {
                    let line = std::mem::take(&mut self.line);
                    let value = serde_json::from_slice(&line);
                    return value
                        .map(Some)
                        .with_context(|| String::from_utf8_lossy(&line).into_owned());
                }
                Ok(_) => {}
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if now() >= end {
                        return Ok(None);
                    }
                }
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Says a command; gives what it returns, or the error's text as an error.
    pub fn say(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let said = json!({"execute": command, "arguments": arguments});
        self.socket.get_mut().write_all(format!("{said}\n").as_bytes())?;
        loop {
            let answer = self.line(Duration::from_secs(120))?;
            let mut answer = answer.with_context(|| format!("no answer to {said}"))?;
            if answer.get("event").is_some() {
                self.events.push_back(answer);
            } else if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            } else {
                bail!("{command}: {}", answer["error"]["desc"].as_str().unwrap_or("?"));
            }
        }
    }

    /// Waits for an event of this name; gives its data. Others are kept: some are told late, so their order says little.
    pub fn event(&mut self, name: &str, limit: Duration) -> Result<Value> {
        self.event_with(name, &[], limit)
    }

    /// As [`Self::event`], where the data has these values.
    pub fn event_with(
        &mut self,
        name: &str,
        with: &[(&str, &str)],
        limit: Duration,
    ) -> Result<Value> {
        let end = now() + limit;
        loop {
            let fits = |e: &Value| {
                e["event"] == name && with.iter().all(|(key, value)| e["data"][key] == *value)
            };
            if let Some(mut event) =
                self.events.iter().position(fits).and_then(|n| self.events.remove(n))
            {
                return Ok(event["data"].take());
            }
            let left = end.saturating_duration_since(now());
            match self.line(left)? {
                Some(event) if event.get("event").is_some() => self.events.push_back(event),
                Some(other) => bail!("an answer to nothing: {other}"),
                None => bail!("waited for the event {name} {with:?}"),
            }
        }
    }

    /// `query-status`: its word.
    pub fn status(&mut self) -> Result<String> {
        let status = self.say("query-status", json!({}))?;
        Ok(status["status"].as_str().unwrap_or("?").to_owned())
    }
}
