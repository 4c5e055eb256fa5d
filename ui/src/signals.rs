//! Signals that end the process: an orderly end, or at once when there is nothing yet, or any more, to put in order.

use crate::chardev::{Event, Outbox, terminal};
use crossbeam_channel::Sender;
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::origin::WithOrigin;
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
    pub fn listen(inbox: Sender<Event>) -> io::Result<Signals> {
        let mut signals = SignalsInfo::<WithOrigin>::new([SIGINT, SIGTERM, SIGHUP, SIGCONT])?;
        let stage = Arc::new(Mutex::new(Stage::Starting));
        let ours = stage.clone();
        crate::chardev::spawn("signals", "", move || {
            for origin in signals.forever() {
                if origin.signal == SIGCONT {
                    terminal::again();
                    continue;
                }
                let pid = origin.process.map_or(0, |p| p.pid);
                tell(&ours, &inbox, origin.signal, pid);
            }
        })?;
        Ok(Signals(stage))
    }

    /// From now on the main loop is told.
    pub fn running(&self, outboxes: Vec<Arc<Outbox>>) {
        *self.0.lock().unwrap_or_else(|e| e.into_inner()) = Stage::Running(outboxes);
    }
}

fn tell(stage: &Mutex<Stage>, inbox: &Sender<Event>, number: i32, pid: i32) {
    let mut stage = stage.lock().unwrap_or_else(|e| e.into_inner());
    match std::mem::replace(&mut *stage, Stage::Ending) {
        Stage::Running(outboxes) => {
            // The inbox before the hurry: whoever then stops waiting finds the signal.
            let told = inbox.send(Event::Signal { number, pid });
            outboxes.iter().for_each(|o| o.hurry());
            if told.is_ok() {
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
