//! Locks on image files, such that neither two of us nor one of us and QEMU write the same image.
//!
//! The protocol is QEMU's: locks of open file descriptions on single bytes of the file. Byte 100 + n: somebody uses
//! permission n. Byte 200 + n: somebody does not share permission n with others. All locks are read locks, so that they can
//! be held together; whoever comes asks whether a write lock on the opposite byte would be possible.

use nix::fcntl::{FcntlArg, fcntl};
use std::fs::File;
use std::os::unix::fs::MetadataExt;

const USED: i64 = 100;
const UNSHARED: i64 = 200;

/// Permissions by their bit: to see data that stays as it is, to write, to write what is there already, to resize.
const READ: u8 = 1 << 0;
const WRITE: u8 = 1 << 1;
const SAME: u8 = 1 << 2;
const RESIZE: u8 = 1 << 3;
const ALL: u8 = READ | WRITE | SAME | RESIZE;

/// What is in the way.
pub struct Held {
    pub what: &'static str,
    /// Who has the file open, if that is known.
    pub by: Option<String>,
}

fn spec(byte: i64, kind: i32) -> nix::libc::flock {
    nix::libc::flock {
        l_type: kind as i16,
        l_whence: nix::libc::SEEK_SET as i16,
        l_start: byte,
        l_len: 1,
        l_pid: 0,
    }
}

/// Locks a file for reading, or for writing too; `shared`: other writers are welcome (`share-rw=on`). Files that know no
/// locks are let pass.
pub fn lock(file: &File, write: bool, shared: bool) -> Result<(), Held> {
    let used = if write { READ | WRITE | RESIZE } else { READ };
    let unshared = match (write, shared) {
        (_, true) => 0,
        (true, false) => ALL & !READ & !SAME,
        (false, false) => WRITE | RESIZE,
    };
    let bits = |set: u8| (0..8).filter(move |n| set & 1 << n != 0);
    let mine = bits(used).map(|n| USED + n).chain(bits(unshared).map(|n| UNSHARED + n));
    for byte in mine {
        match fcntl(file, FcntlArg::F_OFD_SETLK(&spec(byte, nix::libc::F_RDLCK))) {
            Ok(_) => {}
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EACCES) => {
                return Err(held(file, "another program has locked it as a whole"));
            }
            // No locks on this file system.
            Err(_) => return Ok(()),
        }
    }
    let free = |byte: i64| {
        let mut l = spec(byte, nix::libc::F_WRLCK);
        match fcntl(file, FcntlArg::F_OFD_GETLK(&mut l)) {
            Ok(_) => l.l_type == nix::libc::F_UNLCK as i16,
            Err(_) => true,
        }
    };
    if !bits(used).all(|n| free(UNSHARED + n)) {
        let what = if write {
            "somebody uses it and lets nobody else write"
        } else {
            "its writer lets nobody else read"
        };
        return Err(held(file, what));
    }
    if !bits(unshared).all(|n| free(USED + n)) {
        return Err(held(file, "somebody writes to it"));
    }
    Ok(())
}

#[cold]
fn held(file: &File, what: &'static str) -> Held {
    Held { what, by: holder(file) }
}

/// Another process that has the file open, as far as we may look.
fn holder(file: &File) -> Option<String> {
    let mine = file.metadata().ok()?;
    let own = std::process::id();
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(fds) = std::fs::read_dir(entry.path().join("fd")) else { continue };
        let same = |path: std::path::PathBuf| {
            std::fs::metadata(path).is_ok_and(|m| (m.dev(), m.ino()) == (mine.dev(), mine.ino()))
        };
        if pid != own && fds.flatten().any(|fd| same(fd.path())) {
            let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            return Some(format!("process {pid} ({})", name.trim()));
        }
    }
    None
}

#[cfg(test)]
mod test {
    use super::*;

    fn open(path: &std::path::Path) -> File {
        File::options().read(true).write(true).open(path).unwrap()
    }

    #[test]
    fn one_writer_or_many_readers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, [0; 4096]).unwrap();
        let (a, b, c) = (open(&path), open(&path), open(&path));
        assert!(lock(&a, false, false).is_ok());
        assert!(lock(&b, false, false).is_ok());
        assert!(lock(&c, true, false).is_err());
        drop((a, b, c));
        let (a, b) = (open(&path), open(&path));
        assert!(lock(&a, true, false).is_ok());
        assert!(lock(&b, true, false).is_err());
        assert!(lock(&open(&path), false, false).is_err());
        drop((a, b));
        let (a, b) = (open(&path), open(&path));
        assert!(lock(&a, true, true).is_ok());
        assert!(lock(&b, true, true).is_ok());
        assert!(lock(&open(&path), true, false).is_err());
    }
}
