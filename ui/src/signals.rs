//! Signals that end the process: an orderly end, or at once when there is nothing yet, or any more, to put in order.

use crate::chardev::{Event, Outbox, terminal};
use crate::inbox::Inbox;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io;
use std::sync::{Arc, Mutex};

/// How far the process has come.
enum Stage {
    /// There is no main loop yet that could hear of a signal.
    Starting,
    /// The main loop runs; it may be waiting for room in one of these.
    Running(Vec<Arc<Outbox>>),
    /// It has been told to end.
    Ending,
}

/// Listens for signals.
pub struct Signals(Arc<Mutex<Stage>>);

impl Signals {
    /// To be called before there are other threads: they must not take the signals either.
    pub fn listen(inbox: Inbox) -> io::Result<Signals> {
        let mut set = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGCONT] {
            set.add(signal);
        }
        set.thread_block()?;
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC)?;
        let stage = Arc::new(Mutex::new(Stage::Starting));
        let ours = stage.clone();
        crate::chardev::spawn("signals", "", move || {
            loop {
                match signals.read_signal() {
                    Ok(Some(s)) if s.ssi_signo == Signal::SIGCONT as u32 => terminal::again(),
                    Ok(Some(s)) => tell(&ours, &inbox, s.ssi_signo as i32, s.ssi_pid as i32),
                    Ok(None) | Err(nix::errno::Errno::EINTR) => {}
                    Err(_) => return,
                }
            }
        })?;
        Ok(Signals(stage))
    }

    /// From now on the main loop is told.
    pub fn running(&self, outboxes: Vec<Arc<Outbox>>) {
        *self.0.lock().unwrap_or_else(|e| e.into_inner()) = Stage::Running(outboxes);
    }
}

fn tell(stage: &Mutex<Stage>, inbox: &Inbox, number: i32, pid: i32) {
    let mut stage = stage.lock().unwrap_or_else(|e| e.into_inner());
    match std::mem::replace(&mut *stage, Stage::Ending) {
        Stage::Running(outboxes) => {
            // The inbox before the hurry: whoever then stops waiting finds the signal.
            let told = inbox.send(Event::Signal { number, pid });
            outboxes.iter().for_each(|o| o.hurry());
            if told {
                return;
            }
        }
        Stage::Starting => {
            terminal::clean_up();
            crate::log::tell(format_args!("terminating on signal {number} from pid {pid}"));
            std::process::exit(0);
        }
        Stage::Ending => {}
    }
    // A second signal: the main loop does not come to its end.
    terminal::clean_up();
    std::process::exit(1);
}
