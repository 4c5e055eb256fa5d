//! The terminal that we run in: raw while the machine runs, and as it was before on every way out.

use rustix::termios::{
    ControlModes, InputModes, LocalModes, OptionalActions, OutputModes, SpecialCodeIndex, Termios,
    isatty, tcgetattr, tcsetattr,
};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Mutex;

/// How the terminal was, and how it is to be while we run.
struct Kept {
    before: Termios,
    raw: Termios,
}

static KEPT: Mutex<Option<Kept>> = Mutex::new(None);

/// The settings of a terminal that hands every byte over as it is; with `signals`, Ctrl-C and the like still work.
pub fn raw(before: &Termios, signals: bool) -> Termios {
    let mut t = before.clone();
    t.input_modes.remove(
        InputModes::IGNBRK
            | InputModes::BRKINT
            | InputModes::PARMRK
            | InputModes::ISTRIP
            | InputModes::INLCR
            | InputModes::IGNCR
            | InputModes::ICRNL
            | InputModes::IXON,
    );
    t.output_modes.insert(OutputModes::OPOST);
    t.local_modes
        .remove(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::IEXTEN);
    if !signals {
        t.local_modes.remove(LocalModes::ISIG);
    }
    t.control_modes.remove(ControlModes::CSIZE | ControlModes::PARENB);
    t.control_modes.insert(ControlModes::CS8);
    t.special_codes[SpecialCodeIndex::VMIN] = 1;
    t.special_codes[SpecialCodeIndex::VTIME] = 0;
    t
}

/// Makes standard input raw, if it is a terminal.
pub fn enter(signals: bool) {
    let stdin = std::io::stdin();
    let fd: BorrowedFd = stdin.as_fd();
    if !isatty(fd) {
        return;
    }
    let Ok(before) = tcgetattr(fd) else { return };
    let raw = raw(&before, signals);
    let mut kept = KEPT.lock().unwrap_or_else(|e| e.into_inner());
    let before = kept.take().map_or(before, |k| k.before);
    let _ = tcsetattr(fd, OptionalActions::Now, &raw);
    *kept = Some(Kept { before, raw });
}

/// Makes it raw again after somebody else (a shell, at Ctrl-Z) had it.
pub fn again() {
    if let Some(kept) = &*KEPT.lock().unwrap_or_else(|e| e.into_inner()) {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &kept.raw);
    }
}

/// Gives the terminal back as it was. Does nothing the second time.
pub fn restore() {
    if let Some(kept) = KEPT.lock().unwrap_or_else(|e| e.into_inner()).take() {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &kept.before);
    }
}

/// Restores the terminal before a panic is reported, and then lets the usual report follow.
pub fn restore_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        restore();
        report(info);
    }));
}

static LEFTOVERS: Mutex<Vec<std::path::PathBuf>> = Mutex::new(Vec::new());

/// Remembers a file that is to go when we do.
pub fn remove_at_exit(path: std::path::PathBuf) {
    LEFTOVERS.lock().unwrap_or_else(|e| e.into_inner()).push(path);
}

/// Puts the host back as it was: the terminal, and files that were only for this run.
pub fn clean_up() {
    restore();
    for path in LEFTOVERS.lock().unwrap_or_else(|e| e.into_inner()).drain(..) {
        let _ = std::fs::remove_file(path);
    }
}
