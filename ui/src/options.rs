//! The command line: QEMU's words, read into an [`Options`] or refused with one line that says why.
//!
//! An option is a row of [`table`]. Rows only gather what was said; [`finish`] then works out defaults and joins names
//! to what they name, since the order of, say, `-chardev` and `-serial chardev:` does not matter.

mod clock;
mod device;
mod disk;
mod finish;
mod machine;
mod number;
mod outside;
mod place;
mod profile;
mod table;
#[cfg(test)]
mod test;
mod words;

use ::machine::config::{Config, CpuModel, Item};
use serde_json::{Map, Value};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub use device::Plug;
pub use finish::WantedDevice;
pub use number::{on_off, size, whole};
pub use table::{log_help, log_item, usage};
pub use words::split;

/// All that a command line says.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    pub config: Config,
    /// The character back ends; `machine::config::Backend(n)` is the n-th.
    pub chardevs: Vec<Chardev>,
    pub monitors: Vec<Monitor>,
    /// `-blockdev`, in order.
    pub nodes: Vec<Map<String, Value>>,
    /// What is in the drives of `config.drives` at first.
    pub disks: Vec<Disk>,
    pub actions: Actions,
    /// `-S`: wait for `cont`.
    pub paused: bool,
    pub log_items: Vec<Item>,
    pub log_file: Option<PathBuf>,
    pub pidfile: Option<PathBuf>,
    pub profile: Option<Profile>,
    /// `-loadvm`: a file written by `savevm`.
    pub load: Option<PathBuf>,
    /// `-echr`: the byte that begins a command to a multiplexer.
    pub escape: u8,
    /// Things worth a warning.
    pub warnings: Vec<String>,
}

/// `-profile`: samples of where the guest is.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Where they go in the end.
    pub file: PathBuf,
    /// Instructions from one to the next.
    pub every: u64,
    /// Files with names of code.
    pub symbols: Vec<PathBuf>,
}

/// What is in a drive.
#[derive(Clone, Debug, PartialEq)]
pub struct Disk {
    /// The option that it came from, for messages.
    pub option: String,
    pub content: Content,
    /// Writes go to a temporary overlay.
    pub snapshot: bool,
    /// The guest is told of a write cache.
    pub write_cache: bool,
}

/// Where a drive's bytes are.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    Empty,
    /// A node of its own, as `-blockdev` would describe it.
    Own(Map<String, Value>),
    /// A `-blockdev` by its node name.
    Node(String),
}

/// A character back end.
#[derive(Clone, Debug, PartialEq)]
pub struct Chardev {
    /// The option that it came from, for messages.
    pub option: String,
    pub id: String,
    pub kind: ChardevKind,
    /// Whether several front ends may share it.
    pub mux: bool,
    pub logfile: Option<PathBuf>,
    pub logappend: bool,
}

/// What a character back end talks to.
#[derive(Clone, Debug, PartialEq)]
pub enum ChardevKind {
    Null,
    /// Our own standard input and output; with `signals`, Ctrl-C still ends the emulator.
    Stdio {
        signals: bool,
    },
    File {
        path: PathBuf,
        append: bool,
        input: Option<PathBuf>,
    },
    /// Named pipes `path.in` and `path.out`, or `path` for both ways.
    Pipe {
        path: PathBuf,
    },
    /// A new pseudo-terminal, and a symbolic link to make to it.
    Pty {
        link: Option<PathBuf>,
    },
    Socket(Socket),
    Ringbuf {
        size: usize,
    },
}

/// A stream socket.
#[derive(Clone, Debug, PartialEq)]
pub struct Socket {
    pub address: Address,
    pub server: bool,
    /// A server waits for its first client before the machine starts.
    pub wait: bool,
    pub telnet: bool,
    pub nodelay: bool,
    /// A client tries again after this time when the connection ends.
    pub reconnect: Option<Duration>,
}

/// Where a socket is.
#[derive(Clone, Debug, PartialEq)]
pub enum Address {
    Unix(PathBuf),
    Tcp { host: String, port: u16 },
}

/// A monitor and the back end it talks through.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Monitor {
    pub chardev: usize,
    pub mode: Mode,
}

/// What a monitor speaks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// Words for people.
    Readline,
    /// QMP.
    Control { pretty: bool },
}

/// What to do when the guest ends, one way or another (`-action`).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Actions {
    pub reboot: OnReboot,
    pub shutdown: OnShutdown,
    pub panic: OnPanic,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum OnReboot {
    #[default]
    Reset,
    /// `-no-reboot`.
    Shutdown,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum OnShutdown {
    #[default]
    Poweroff,
    /// `-no-shutdown`.
    Pause,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum OnPanic {
    #[default]
    Shutdown,
    Pause,
    ExitFailure,
    Nothing,
}

/// What is wrong with the command line: which option, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub option: String,
    pub text: String,
}

impl Fault {
    pub fn new(option: impl Into<String>, text: impl Into<String>) -> Fault {
        Fault { option: option.into(), text: text.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.option, self.text)
    }
}

/// Why there is nothing to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    Fault(Fault),
    /// Somebody asked for help: print this and leave with success.
    Text(String),
}

impl From<Fault> for Stop {
    fn from(f: Fault) -> Stop {
        Stop::Fault(f)
    }
}

/// Lists that only others know.
#[derive(Clone, Copy, Debug)]
pub struct Catalog {
    /// The text of `-cpu help`.
    pub cpus: fn() -> String,
    /// Whether there is such a CPU, or what is wrong with it.
    pub check_cpu: fn(&CpuModel) -> Result<(), String>,
}

/// Reads a command line (without the program's name).
pub fn parse(args: &[String], catalog: &Catalog) -> Result<Options, Stop> {
    let mut gathered = finish::Gathered::default();
    let mut args = args.iter();
    while let Some(word) = args.next() {
        let Some(name) = word.strip_prefix('-').map(|w| w.strip_prefix('-').unwrap_or(w)) else {
            let mut at = Said { option: "disk image", value: word, catalog };
            disk::short(&mut gathered, &mut at)?;
            continue;
        };
        let option = format!("-{name}");
        let Some(row) = table::find(name) else {
            let text = "no such option; see reprise -help";
            return Err(Fault::new(option, text).into());
        };
        let value = match row.arg {
            "" => "",
            what => match args.next() {
                Some(value) => value,
                None => {
                    return Err(Fault::new(option, format!("expected {what} after it")).into());
                }
            },
        };
        let mut at = Said { option: &option, value, catalog };
        (row.take)(&mut gathered, &mut at)?;
    }
    let bad_cpu = |text| Fault::new("-cpu", text);
    (catalog.check_cpu)(&gathered.config.cpu).map_err(bad_cpu)?;
    Ok(finish::finish(gathered)?)
}

/// One option as it was said.
pub struct Said<'a> {
    pub option: &'a str,
    pub value: &'a str,
    pub catalog: &'a Catalog,
}

impl Said<'_> {
    pub fn fault(&self, text: impl Into<String>) -> Fault {
        Fault::new(self.option, text)
    }

    /// Whether only a list of what there is was asked for.
    pub fn is_help(&self) -> bool {
        matches!(self.value, "help" | "?")
    }
}

/// What went wrong with a file, without the error's number.
pub fn reason(e: &std::io::Error) -> String {
    let text = e.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_string(),
        None => text,
    }
}
