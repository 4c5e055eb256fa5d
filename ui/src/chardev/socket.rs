//! Stream sockets, as a server of one client at a time or as a client that comes back.

use super::stream::{Piece, plain, read_all, spawn};
use super::{Inlet, Outbox, telnet};
use crate::options::{Address, Socket};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;

/// A connection of either family.
enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Stream {
    fn try_clone(&self) -> io::Result<Stream> {
        Ok(match self {
            Stream::Unix(s) => Stream::Unix(s.try_clone()?),
            Stream::Tcp(s) => Stream::Tcp(s.try_clone()?),
        })
    }

    fn connect(to: &Socket) -> io::Result<Stream> {
        Ok(match &to.address {
            Address::Unix(path) => Stream::Unix(UnixStream::connect(path)?),
            Address::Tcp { host, port } => {
                let host = if host.is_empty() { "localhost" } else { host };
                let s = TcpStream::connect((host, *port))?;
                s.set_nodelay(to.nodelay)?;
                Stream::Tcp(s)
            }
        })
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(s) => s.read(into),
            Stream::Tcp(s) => s.read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(s) => s.write(bytes),
            Stream::Tcp(s) => s.write(bytes),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Listener {
    fn bind(to: &Socket) -> io::Result<Listener> {
        Ok(match &to.address {
            Address::Unix(path) => {
                // A socket that a dead process left behind is in the way; a live one is in use.
                if is_socket(path) {
                    if UnixStream::connect(path).is_ok() {
                        return Err(io::ErrorKind::AddrInUse.into());
                    }
                    std::fs::remove_file(path)?;
                }
                let listener = UnixListener::bind(path)?;
                super::terminal::remove_at_exit(path.clone());
                Listener::Unix(listener)
            }
            Address::Tcp { host, port } => {
                let host = if host.is_empty() { "0.0.0.0" } else { host };
                Listener::Tcp(TcpListener::bind((host, *port))?)
            }
        })
    }

    fn accept(&self, of: &Socket) -> io::Result<Stream> {
        Ok(match self {
            Listener::Unix(l) => Stream::Unix(l.accept()?.0),
            Listener::Tcp(l) => {
                let s = l.accept()?.0;
                s.set_nodelay(of.nodelay)?;
                Stream::Tcp(s)
            }
        })
    }

    /// The port that was really taken, where any would do.
    fn port(&self) -> Option<u16> {
        match self {
            Listener::Tcp(l) => l.local_addr().ok().map(|a| a.port()),
            Listener::Unix(_) => None,
        }
    }
}

fn is_socket(path: &std::path::Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket())
}

/// What `info chardev` shows, and a server that waits.
pub fn filename(socket: &Socket, port: Option<u16>) -> String {
    let server = if socket.server { ",server=on" } else { "" };
    match &socket.address {
        Address::Unix(path) => format!("unix:{}{server}", path.display()),
        Address::Tcp { host, port: said } => {
            let kind = if socket.telnet { "telnet" } else { "tcp" };
            let host = match (host.as_str(), socket.server) {
                ("", true) => "0.0.0.0",
                ("", false) => "localhost",
                (host, _) => host,
            };
            let host = if host.contains(':') { format!("[{host}]") } else { host.to_string() };
            format!("{kind}:{host}:{}{server}", port.unwrap_or(*said))
        }
    }
}

/// Starts it; returns what it is called. Whatever is wrong at the start is told here, and a first connection is
/// complete before the machine can say anything.
pub fn start(id: &str, socket: &Socket, outbox: &Arc<Outbox>, inlet: Inlet) -> io::Result<String> {
    let line = Line { socket: socket.clone(), outbox: outbox.clone(), inlet };
    if !socket.server {
        let first = match (Stream::connect(socket), socket.reconnect) {
            (Err(e), None) => return Err(e),
            (first, _) => first.ok().and_then(|s| line.attach(s)),
        };
        spawn("socket", id, move || line.call(first))?;
        return Ok(filename(socket, None));
    }
    let listener = Listener::bind(socket)?;
    let name = filename(socket, listener.port());
    let first = match socket.wait {
        true => {
            crate::log::tell(format_args!("info: waiting for connection on: disconnected:{name}"));
            line.attach(listener.accept(socket)?)
        }
        false => None,
    };
    spawn("socket", id, move || line.serve(&listener, first))?;
    Ok(name)
}

/// One end of a line, with nobody or somebody at the other.
struct Line {
    socket: Socket,
    outbox: Arc<Outbox>,
    inlet: Inlet,
}

/// A connection that the outbox already writes to.
struct Attached {
    stream: Stream,
    generation: u64,
}

impl Line {
    fn serve(&self, listener: &Listener, mut first: Option<Attached>) {
        loop {
            let next = match first.take() {
                Some(s) => Some(s),
                None => match listener.accept(&self.socket) {
                    Ok(stream) => self.attach(stream),
                    // Out of descriptors, or a client that left in between: others may come.
                    Err(_) => {
                        std::thread::sleep(std::time::Duration::from_millis(100));
                        None
                    }
                },
            };
            if let Some(attached) = next
                && !self.talk(attached)
            {
                return;
            }
        }
    }

    fn call(&self, mut first: Option<Attached>) {
        loop {
            let connect = || self.attach(Stream::connect(&self.socket).ok()?);
            if let Some(attached) = first.take().or_else(connect)
                && !self.talk(attached)
            {
                return;
            }
            let Some(pause) = self.socket.reconnect else { return };
            std::thread::sleep(pause);
        }
    }

    /// Output goes to this stream from now on.
    fn attach(&self, stream: Stream) -> Option<Attached> {
        let mut out = stream.try_clone().ok()?;
        let telnet = self.socket.telnet;
        if telnet && self.socket.server {
            out.write_all(telnet::GREETING).ok()?;
        }
        let peer: Box<dyn Write + Send> =
            if telnet { Box::new(telnet::Writer(out)) } else { Box::new(out) };
        Some(Attached { stream, generation: self.outbox.connect(peer) })
    }

    /// From the first byte to the last of one connection. False when the main thread is gone.
    fn talk(&self, mut attached: Attached) -> bool {
        if !self.inlet.opened() {
            return false;
        }
        let telnet = self.socket.telnet;
        let mut filter = telnet::Filter::default();
        let pieces = |bytes: &[u8]| -> Vec<Piece> {
            if telnet { filter.pieces(bytes) } else { plain(bytes) }
        };
        let alive = read_all(&mut attached.stream, &self.inlet, pieces);
        // A client may say all it has to say, close that way, and still wait for the answers.
        self.outbox.drain();
        self.outbox.disconnect(attached.generation);
        alive && self.inlet.closed()
    }
}
