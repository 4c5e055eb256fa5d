//! A new pseudo-terminal for somebody else's terminal program.
//!
//! While nobody has the other end open, reading our end fails at once, so a wait for the next opening is needed: a watch
//! on the terminal's file gives it without polling.

use super::stream::{plain, read_all, spawn};
use super::{Inlet, Outbox, terminal};
use rustix::fs::{OFlags, inotify};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Makes one; returns the path of the other end.
pub fn start(
    id: &str,
    link: Option<&Path>,
    outbox: &Arc<Outbox>,
    inlet: Inlet,
) -> io::Result<String> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let path = ptsname(&ours, Vec::new())?.into_string().map_err(io::Error::other)?;
    // Raw from the first: what we send must not come back as an echo.
    let theirs =
        rustix::fs::open(&path, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, 0.into())?;
    let mut modes = rustix::termios::tcgetattr(&theirs)?;
    modes.make_raw();
    rustix::termios::tcsetattr(&theirs, rustix::termios::OptionalActions::Now, &modes)?;
    drop(theirs);
    let watch = watch(&path).ok();
    if let Some(link) = link {
        std::os::unix::fs::symlink(&path, link)?;
        terminal::remove_at_exit(link.into());
    }
    let (ours, outbox) = (File::from(ours), outbox.clone());
    spawn("pty", id, move || {
        loop {
            wait_for_opening(watch.as_ref(), &ours);
            let Ok(peer) = ours.try_clone() else { return };
            let generation = outbox.connect(Box::new(peer));
            let alive = inlet.opened() && read_all(&ours, &inlet, plain);
            outbox.disconnect(generation);
            if !(alive && inlet.closed()) {
                return;
            }
        }
    })?;
    Ok(path)
}

fn watch(path: &str) -> rustix::io::Result<OwnedFd> {
    let fd = inotify::init(inotify::CreateFlags::CLOEXEC)?;
    inotify::add_watch(&fd, path, inotify::WatchFlags::OPEN)?;
    Ok(fd)
}

/// Whether somebody has the other end open now.
fn is_open(ours: &File) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::new(ours, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok() && !fds[0].revents().contains(PollFlags::HUP)
}

/// Sleeps until the other end is open. Where files cannot be watched, looks once a second.
fn wait_for_opening(watch: Option<&OwnedFd>, ours: &File) {
    let mut events = [0; 4096];
    while !is_open(ours) {
        let told = watch.map(|w| rustix::io::read(w, &mut events));
        if !matches!(told, Some(Ok(1..))) {
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}
