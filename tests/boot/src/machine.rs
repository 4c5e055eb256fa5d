//! A machine under test: its command line, and the running program with its serial line.

use crate::monitor::Monitor;
use crate::place;
use crate::qmp::Qmp;
use anyhow::{Context, Result, bail};
use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What the machine is to be. Serial line 1 is the program's input and output.
#[derive(Clone)]
pub struct Machine {
    program: Vec<String>,
    args: Vec<OsString>,
}

impl Machine {
    pub fn new(board: &str) -> Result<Machine> {
        Ok(Machine::of(place::reprise()?, board))
    }

    /// The same of another emulator.
    pub fn of(program: &[String], board: &str) -> Machine {
        Machine::serial(program).args(["-M", board, "-cpu", "max"])
    }

    /// With a serial line, and no more.
    pub fn serial(program: &[String]) -> Machine {
        let machine = Machine { program: program.to_vec(), args: Vec::new() };
        machine.args(["-display", "none", "-serial", "stdio"])
    }

    /// Without any option.
    pub fn bare() -> Result<Machine> {
        Ok(Machine { program: place::reprise()?.to_vec(), args: Vec::new() })
    }

    pub fn args<T: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = T>) -> Self {
        self.args.extend(args.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    pub fn kernel(self, file: &Path) -> Self {
        self.args(["-kernel".as_ref(), file.as_os_str()])
    }

    pub fn initrd(self, file: &Path) -> Self {
        self.args(["-initrd".as_ref(), file.as_os_str()])
    }

    pub fn append(self, words: &str) -> Self {
        self.args(["-append", words])
    }

    /// Starts it without a monitor.
    pub fn boot(self) -> Result<Running> {
        Running::start(self, None)
    }

    /// Starts it with monitors for people and for programs, each on a socket.
    pub fn boot_with_monitor(self) -> Result<Running> {
        let dir = place::scratch("m")?;
        let socket = |name| format!("unix:{},server=on,wait=off", dir.join(name).display());
        let machine = self.args(["-monitor", &socket("monitor"), "-qmp", &socket("qmp")]);
        Running::start(machine, Some(dir))
    }
}

/// What a stream has given so far.
#[derive(Default)]
struct Stream {
    text: Mutex<(Vec<u8>, bool)>,
    more: Condvar,
}

impl Stream {
    fn of(mut from: impl Read + Send + 'static) -> Arc<Stream> {
        let stream = Arc::new(Stream::default());
        let to = stream.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                let n = from.read(&mut buffer).unwrap_or(0);
                let mut text = to.text.lock().unwrap_or_else(PoisonError::into_inner);
                text.0.extend(&buffer[..n]);
                text.1 = n == 0;
                to.more.notify_all();
                if n == 0 {
                    return;
                }
            }
        });
        stream
    }

    fn text(&self) -> String {
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&text.0).replace('\r', "")
    }
}

/// A running emulator; dropped, it is ended.
pub struct Running {
    child: Child,
    input: Option<ChildStdin>,
    output: Arc<Stream>,
    errors: Arc<Stream>,
    /// How much of the output earlier waits have used up.
    seen: usize,
    dir: Option<PathBuf>,
    command: String,
}

impl Running {
    fn start(machine: Machine, dir: Option<PathBuf>) -> Result<Running> {
        let (name, words) = machine.program.split_first().context("no program to test")?;
        let mut command = Command::new(name);
        command.args(words).args(&machine.args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let line = format!("{command:?}");
        let mut child = command.spawn().with_context(|| format!("starting {name}"))?;
        let output = Stream::of(child.stdout.take().context("no output")?);
        let errors = Stream::of(child.stderr.take().context("no errors")?);
        let input = child.stdin.take();
        Ok(Running { child, input, output, errors, seen: 0, dir, command: line })
    }

    /// All of the output so far.
    pub fn text(&self) -> String {
        self.output.text()
    }

    /// What the emulator itself said on its error output.
    pub fn errors(&self) -> String {
        self.errors.text()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `what` comes, after what earlier waits found. Gives what came before it.
    pub fn wait_for(&mut self, what: &str, limit: Duration) -> Result<String> {
        self.wait_for_any(&[what], limit).map(|(_, before)| before)
    }

    /// As [`Self::wait_for`], for the first of several words; gives its number, too.
    pub fn wait_for_any(&mut self, what: &[&str], limit: Duration) -> Result<(usize, String)> {
        let end = now() + limit * patience();
        let mut text = self.output.text.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let find = |w: &&str| find(&text.0[self.seen..], w.as_bytes());
            let first = what.iter().enumerate().filter_map(|(n, w)| Some((find(w)?, n))).min();
            if let Some((at, n)) = first {
                let before = text.0[self.seen..self.seen + at].to_vec();
                self.seen += at + what[n].len();
                return Ok((n, String::from_utf8_lossy(&before).replace('\r', "")));
            }
            let left = end.saturating_duration_since(now());
            if text.1 || left.is_zero() {
                let ended = text.1;
                drop(text);
                let why = if ended { "it ended" } else { "the time is over" };
                bail!("waited for {what:?}, but {why}{}", self.report());
            }
            let woken = self.output.more.wait_timeout(text, left);
            text = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Types.
    pub fn send(&mut self, text: &str) -> Result<()> {
        let input = self.input.as_mut().context("the input is closed")?;
        input.write_all(text.as_bytes()).and_then(|()| input.flush()).context("typing")
    }

    /// Types a line and waits for the prompt after it; gives what the guest said between.
    pub fn command(&mut self, line: &str, prompt: &str, limit: Duration) -> Result<String> {
        self.send(line)?;
        self.send("\n")?;
        let said = self.wait_for(prompt, limit)?;
        Ok(said.split_once('\n').map_or(said.clone(), |(_echo, rest)| rest.to_owned()))
    }

    /// Waits for the end.
    pub fn exit(&mut self, limit: Duration) -> Result<ExitStatus> {
        let end = now() + limit * patience();
        loop {
            if let Some(status) = self.child.try_wait()? {
                self.input = None;
                self.drain(Duration::from_secs(2));
                return Ok(status);
            }
            if now() > end {
                bail!("waited for the end, but the time is over{}", self.report());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Lets the readers see the last words of a program that has ended.
    fn drain(&self, limit: Duration) {
        for stream in [&self.output, &self.errors] {
            let text = stream.text.lock().unwrap_or_else(PoisonError::into_inner);
            drop(stream.more.wait_timeout_while(text, limit, |t| !t.1));
        }
    }

    /// Waits for the end, which must have this status.
    pub fn expect_exit(&mut self, status: i32, limit: Duration) -> Result<()> {
        let got = self.exit(limit)?;
        if got.code() != Some(status) {
            bail!("expected exit status {status}, got {got}{}", self.report());
        }
        Ok(())
    }

    /// A new connection to the monitor.
    pub fn monitor(&self) -> Result<Monitor> {
        let dir = self.dir.as_ref().context("this machine has no monitor")?;
        Monitor::open(&dir.join("monitor"))
    }

    /// A new connection to the monitor for programs.
    pub fn qmp(&self) -> Result<Qmp> {
        let dir = self.dir.as_ref().context("this machine has no monitor")?;
        Qmp::open(&dir.join("qmp"))
    }

    /// For failures: the command, and the last lines of both streams.
    fn report(&self) -> String {
        let tail = |text: String| {
            let lines: Vec<_> = text.lines().collect();
            lines[lines.len().saturating_sub(15)..].join("\n    ")
        };
        let (output, errors) = (tail(self.text()), tail(self.errors()));
        format!("\n  {}\n  output:\n    {output}\n  errors:\n    {errors}", self.command)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(dir) = &self.dir {
            let _ = std::fs::remove_dir_all(dir);
        }
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|w| w == what)
}

/// The host's clock: a test has to give up some time.
pub fn now() -> Instant {
    Instant::now()
}

/// By how much all time limits are stretched: `PATIENCE`, for slow hosts.
fn patience() -> u32 {
    std::env::var("PATIENCE").ok().and_then(|p| p.parse().ok()).unwrap_or(1)
}
