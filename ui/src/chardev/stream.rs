//! Reading from a file descriptor until it ends.

use super::{Inlet, Outbox};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::sync::Arc;

/// So many bytes are read at once.
pub const CHUNK: usize = 4096;

/// Starts a thread with a name that a debugger shows.
pub fn spawn(name: &str, id: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    let name = format!("{name} {id}");
    std::thread::Builder::new().name(name).spawn(body).map(|_| ())
}

/// Reads `from` to its end and hands all of it over, through `filter`. False when the main thread is gone.
pub fn read_all(
    mut from: impl Read,
    inlet: &Inlet,
    mut filter: impl FnMut(&[u8]) -> Vec<Piece>,
) -> bool {
    let mut chunk = [0; CHUNK];
    loop {
        let n = match from.read(&mut chunk) {
            Ok(0) => return true,
            Ok(n) => n,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return true,
        };
        for piece in filter(&chunk[..n]) {
            let alive = match piece {
                Piece::Bytes(bytes) => inlet.bytes(&bytes),
                Piece::Break => inlet.send_break(),
            };
            if !alive {
                return false;
            }
        }
    }
}

/// What a stream of bytes turns out to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    Bytes(Vec<u8>),
    Break,
}

/// A stream that is nothing but bytes.
pub fn plain(bytes: &[u8]) -> Vec<Piece> {
    vec![Piece::Bytes(bytes.to_vec())]
}

/// A thread that reads a file until it ends. The end of the input is not the end of the device.
pub fn reader(id: &str, from: File, inlet: Inlet) -> std::io::Result<()> {
    spawn("read", id, move || {
        read_all(from, &inlet, plain);
    })
}

/// A thread that writes what the outbox holds.
pub fn writer(id: &str, outbox: &Arc<Outbox>) -> std::io::Result<()> {
    let outbox = outbox.clone();
    spawn("write", id, move || outbox.write_all())
}
