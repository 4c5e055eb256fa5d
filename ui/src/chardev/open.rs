//! From what an option says to an open character device.

use super::{Chardev, Outbox, Ring, Sink, pty, socket, stream, terminal};
use crate::inbox::Inbox;
use crate::options::{self, Address, ChardevKind, Fault};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Opens the `n`-th character device; its threads report to `inbox`.
pub fn open(n: usize, spec: &options::Chardev, inbox: &Inbox) -> Result<Chardev, Fault> {
    let mut c = Chardev::new(&spec.id, "");
    if let Some(path) = &spec.logfile {
        let file = create(path, spec.logappend);
        c.log = Some(file.map_err(|e| fault(spec, "open log file", path, &e))?);
    }
    let opened = match &spec.kind {
        ChardevKind::Null => Ok("null".to_string()),
        ChardevKind::Stdio { signals } => stdio(n, &mut c, inbox, *signals),
        ChardevKind::File { path, append, input } => {
            file(n, &mut c, inbox, path, *append, input.as_deref())
        }
        ChardevKind::Pipe { path } => pipe(n, &mut c, inbox, path),
        ChardevKind::Pty { link } => {
            let outbox = away(&mut c, false)?;
            c.connected = false;
            let inlet = c.inlet(n, inbox);
            pty::start(&c.id, link.as_deref(), &outbox, inlet).map(|path| {
                let text = format!("char device redirected to {path} (label {})\n", c.id);
                let _ = io::Write::write_all(&mut io::stdout(), text.as_bytes());
                format!("pty:{path}")
            })
        }
        ChardevKind::Socket(s) => {
            let outbox = away(&mut c, false)?;
            c.connected = false;
            let inlet = c.inlet(n, inbox);
            socket::start(&c.id, s, &outbox, inlet)
        }
        ChardevKind::Ringbuf { size } => {
            c.sink = Sink::Ring(Arc::new(Mutex::new(Ring::new(*size))));
            Ok("ringbuf".to_string())
        }
    };
    match opened {
        Ok(filename) => {
            c.filename = filename;
            Ok(c)
        }
        Err(e) => Err(what_failed(spec, &e)),
    }
}

fn what_failed(spec: &options::Chardev, e: &io::Error) -> Fault {
    let (verb, path) = match &spec.kind {
        ChardevKind::File { path, .. } | ChardevKind::Pipe { path } => ("open", path.clone()),
        ChardevKind::Pty { link } => ("make a terminal", link.clone().unwrap_or_default()),
        ChardevKind::Socket(s) => {
            let verb = if s.server { "listen on" } else { "connect to" };
            let place = match &s.address {
                Address::Unix(path) => path.clone(),
                Address::Tcp { host, port } => PathBuf::from(format!("{host}:{port}")),
            };
            (verb, place)
        }
        _ => ("open", PathBuf::from(&spec.id)),
    };
    fault(spec, verb, &path, e)
}

fn fault(spec: &options::Chardev, verb: &str, path: &Path, e: &io::Error) -> Fault {
    let why = options::reason(e);
    Fault::new(&spec.option, format!("{}: cannot {verb} '{}': {why}", spec.id, path.display()))
}

/// Gives it an outbox and a writer.
fn away(c: &mut Chardev, patient: bool) -> Result<Arc<Outbox>, Fault> {
    let outbox = Arc::new(Outbox::new(patient));
    stream::writer(&c.id, &outbox).map_err(|e| Fault::new(&c.id, e.to_string()))?;
    c.sink = Sink::Outbox(outbox.clone());
    Ok(outbox)
}

fn stdio(n: usize, c: &mut Chardev, inbox: &Inbox, signals: bool) -> io::Result<String> {
    let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    terminal::enter(signals);
    away(c, true).map_err(|f| io::Error::other(f.text))?.connect(Box::new(output));
    let inlet = c.inlet(n, inbox);
    stream::reader(&c.id, input, inlet)?;
    Ok("stdio".to_string())
}

fn create(path: &Path, append: bool) -> io::Result<File> {
    OpenOptions::new().create(true).write(true).append(append).truncate(!append).open(path)
}

fn file(
    n: usize,
    c: &mut Chardev,
    inbox: &Inbox,
    path: &Path,
    append: bool,
    input: Option<&Path>,
) -> io::Result<String> {
    let output = create(path, append)?;
    let input = input.map(File::open).transpose()?;
    away(c, true).map_err(|f| io::Error::other(f.text))?.connect(Box::new(output));
    if let Some(input) = input {
        let inlet = c.inlet(n, inbox);
        stream::reader(&c.id, input, inlet)?;
    }
    Ok(format!("file:{}", path.display()))
}

/// `path.in` and `path.out`, or else `path` for both ways. Opened for both ways, so that no opening waits.
fn pipe(n: usize, c: &mut Chardev, inbox: &Inbox, path: &Path) -> io::Result<String> {
    let both = |path: &Path| OpenOptions::new().read(true).write(true).open(path);
    let end = |suffix: &str| {
        let mut p = path.as_os_str().to_owned();
        p.push(suffix);
        both(Path::new(&p))
    };
    let (input, output) = match (end(".in"), end(".out")) {
        (Ok(input), Ok(output)) => (input, output),
        _ => {
            let all = both(path)?;
            (all.try_clone()?, all)
        }
    };
    away(c, false).map_err(|f| io::Error::other(f.text))?.connect(Box::new(output));
    let inlet = c.inlet(n, inbox);
    stream::reader(&c.id, input, inlet)?;
    Ok(format!("pipe:{}", path.display()))
}
