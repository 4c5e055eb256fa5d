//! The machine with what users can do to it: run, stop, reset, leave; and what monitors are told about it.

mod disks;
mod plug;
mod time;

use crate::blocks::Blocks;
use crate::chardev::Ring;
use crate::guest::{DeviceId, Guest};
use crate::log::Target;
use crate::options::{Actions, OnPanic, OnReboot, OnShutdown, Options};
use device::{Input, Request};
use machine::DriveEvent;
use machine::config::{Config, DriveId, Log, OnError, Timebase};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Whether the machine runs, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Prelaunch,
    Running,
    Paused,
    Shutdown,
    GuestPanicked,
    Suspended,
    InternalError,
    IoError,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Status::Prelaunch => "prelaunch",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Shutdown => "shutdown",
            Status::GuestPanicked => "guest-panicked",
            Status::Suspended => "suspended",
            Status::InternalError => "internal-error",
            Status::IoError => "io-error",
        }
    }

    /// Whether only a reset makes it go on.
    fn needs_reset(self) -> bool {
        matches!(self, Status::Shutdown | Status::GuestPanicked | Status::InternalError)
    }
}

/// Why the machine ends or starts again, in QMP's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    HostQuit,
    HostReset,
    HostSignal,
    HostKeys,
    GuestShutdown,
    GuestReset,
    GuestPanic,
}

impl Cause {
    fn name(self) -> &'static str {
        match self {
            Cause::HostQuit => "host-qmp-quit",
            Cause::HostReset => "host-qmp-system-reset",
            Cause::HostSignal => "host-signal",
            Cause::HostKeys => "host-ui",
            Cause::GuestShutdown => "guest-shutdown",
            Cause::GuestReset => "guest-reset",
            Cause::GuestPanic => "guest-panic",
        }
    }

    fn data(self) -> Value {
        let guest = matches!(self, Cause::GuestShutdown | Cause::GuestReset | Cause::GuestPanic);
        json!({"guest": guest, "reason": self.name()})
    }
}

/// Something that QMP clients are told.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    pub event: &'static str,
    pub data: Option<Value>,
    /// Seconds and microseconds since 1970.
    pub at: (u64, u32),
}

/// A character device as monitors know it.
pub struct Line {
    pub label: String,
    pub filename: String,
    pub open: bool,
    pub ring: Option<Arc<Mutex<Ring>>>,
}

/// The machine and its state.
pub struct Vm {
    pub guest: Box<dyn Guest>,
    pub status: Status,
    pub actions: Actions,
    /// The exit status, once it is time to go.
    pub leaving: Option<i32>,
    pub config: Config,
    pub log: Log,
    pub log_target: Target,
    pub lines: Vec<Line>,
    pub blocks: Blocks,
    notices: Vec<Notice>,
    /// Keys that are held down, and until when.
    held: Vec<(Instant, u8)>,
    /// The mouse's buttons that are held down.
    pub buttons: u8,
    clock: time::Clock,
    /// Drives with requests that wait for `cont`, and whether for want of space.
    io_errors: BTreeMap<DriveId, bool>,
}

impl Vm {
    pub fn new(guest: Box<dyn Guest>, options: &Options, log_target: Target) -> Vm {
        Vm {
            guest,
            status: Status::Prelaunch,
            actions: options.actions,
            leaving: None,
            log: options.config.log.clone(),
            clock: time::Clock::new(options.config.rtc),
            config: options.config.clone(),
            log_target,
            lines: Vec::new(),
            blocks: Blocks::default(),
            notices: Vec::new(),
            held: Vec::new(),
            buttons: 0,
            io_errors: BTreeMap::new(),
        }
    }

    pub fn notify(&mut self, event: &'static str, data: Option<Value>) {
        self.notices.push(Notice { event, data, at: time::now() });
    }

    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    fn halt(&mut self, status: Status) {
        if self.status == Status::Running {
            self.guest.set_running(false);
            self.notify("STOP", None);
        }
        self.status = status;
    }

    pub fn stop(&mut self) {
        if self.status == Status::Running {
            self.halt(Status::Paused);
        }
    }

    /// Goes on, if it can.
    pub fn cont(&mut self) -> Result<(), String> {
        if self.status.needs_reset() {
            return Err("Resetting the Virtual Machine is required".into());
        }
        if self.status == Status::Suspended {
            return Err("The guest sleeps; waking it up is not there yet".into());
        }
        self.io_errors.clear();
        if self.status != Status::Running {
            self.status = Status::Running;
            self.guest.set_running(true);
            self.notify("RESUME", None);
        }
        Ok(())
    }

    pub fn reset(&mut self, cause: Cause) {
        if self.actions.reboot == OnReboot::Shutdown {
            return self.shut_down(cause);
        }
        self.guest.reset();
        self.notify("RESET", Some(cause.data()));
        if self.status != Status::Running {
            self.status = Status::Prelaunch;
        }
    }

    /// The end, or a stop if that is what was asked for.
    pub fn shut_down(&mut self, cause: Cause) {
        if self.leaving.is_some() {
            return;
        }
        // Whoever hears of the end may count on it that nothing is under way any more.
        let safe = self.finish_disks();
        self.notify("SHUTDOWN", Some(cause.data()));
        let ours = matches!(cause, Cause::HostQuit | Cause::HostSignal | Cause::HostKeys);
        if self.actions.shutdown == OnShutdown::Pause && !ours {
            return self.halt(Status::Shutdown);
        }
        let failed = cause == Cause::GuestPanic && self.actions.panic == OnPanic::ExitFailure;
        self.leave(i32::from(failed || !safe));
    }

    /// Waits until all that was asked of disks is done. Whether it is safe, too; if not, the user is told.
    fn finish_disks(&mut self) -> bool {
        self.blocks.graph.unthrottle();
        let lost = self.guest.finish_disks();
        for (drive, why) in &lost {
            self.tell_unsafe(*drive, why);
        }
        lost.is_empty()
    }

    fn tell_unsafe(&self, drive: DriveId, why: &std::io::Error) {
        let name = self.drive_name(drive);
        crate::log::tell(format_args!("drive {name}: not all that was written is safe: {why}"));
    }

    fn leave(&mut self, status: i32) {
        self.leaving.get_or_insert(status);
    }

    fn drive_name(&self, id: DriveId) -> String {
        let drive = self.guest.drives().into_iter().find(|d| d.id == id);
        drive.map_or_else(|| format!("{}", id.0), |d| d.name)
    }

    /// Tells what happened to drives, and stops where that was asked for. Says whether there was anything.
    pub fn drive_events(&mut self) -> bool {
        let events = self.guest.take_drive_events();
        let any = !events.is_empty();
        for event in events {
            match event {
                DriveEvent::Tray { drive, open } => {
                    let data =
                        json!({"device": self.drive_name(drive), "id": "", "tray-open": open});
                    self.notify("DEVICE_TRAY_MOVED", Some(data));
                }
                DriveEvent::Error { drive, write, no_space, done, why } => {
                    let action = match done {
                        OnError::Report => "report",
                        OnError::Ignore => "ignore",
                        OnError::Stop | OnError::Enospc => "stop",
                    };
                    let mut data = json!({
                        "device": self.drive_name(drive),
                        "qom-path": self.path_of_drive(drive),
                        "operation": if write { "write" } else { "read" },
                        "action": action,
                        "nospace": no_space,
                        // The number behind it is not for people.
                        "reason": why.split(" (os error").next(),
                    });
                    if let Some(b) = self.blocks.backend(drive) {
                        data["node-name"] = json!(b.node().describe().node_name);
                    }
                    self.notify("BLOCK_IO_ERROR", Some(data));
                    if action == "stop" {
                        self.io_errors.entry(drive).or_insert(no_space);
                    }
                    if action == "stop" && self.status == Status::Running {
                        self.halt(Status::IoError);
                    }
                }
            }
        }
        any
    }

    pub fn power_button(&mut self) {
        self.guest.power_button();
        self.notify("POWERDOWN", None);
    }

    /// The emulator cannot go on with this machine.
    pub fn fail(&mut self, why: &str) {
        crate::log::tell(format_args!("{why}"));
        self.halt(Status::InternalError);
    }

    /// Does what a device asked for. Bytes for a back end and room for input are not for us.
    pub fn request(&mut self, from: DeviceId, what: Request) {
        match what {
            Request::Reset => self.reset(Cause::GuestReset),
            Request::PowerOff => self.shut_down(Cause::GuestShutdown),
            Request::Suspend => {
                crate::log::tell(format_args!(
                    "the guest sleeps (ACPI S3), and waking it up is not there yet"
                ));
                self.halt(Status::Suspended);
                self.notify("SUSPEND", None);
            }
            Request::Exit(code) => {
                self.notify("SHUTDOWN", Some(Cause::GuestShutdown.data()));
                self.leave(i32::from(code));
            }
            Request::Panicked(events) => self.panicked(events),
            Request::TimeOfDay => {
                // Where time is the count of instructions, the host's may not show.
                if self.config.time == Timebase::Host {
                    let now = self.clock.time_of_day();
                    self.guest.input(from, Input::TimeOfDay(now));
                }
            }
            Request::Send(_) | Request::Accept(_) | Request::SendBreak => {}
            Request::Unplugged(_) => self.unplugged(),
            // There is no sound, and the machine keeps its CPUs' affairs to itself.
            Request::Tone(_)
            | Request::Cpu { .. }
            | Request::A20(_)
            | Request::Eoi(_)
            | Request::FirmwareItem
            | Request::Smi { .. }
            | Request::Disk { .. }
            | Request::DiskAbandon { .. } => {}
            Request::From(_, what) => self.request(from, *what),
        }
    }

    fn panicked(&mut self, events: u8) {
        if events & 1 != 0 {
            let (action, pause) = match (self.actions.panic, self.actions.shutdown) {
                (OnPanic::Nothing, _) => ("run", false),
                (OnPanic::Pause, _) | (OnPanic::Shutdown, OnShutdown::Pause) => ("pause", true),
                _ => ("poweroff", true),
            };
            self.notify("GUEST_PANICKED", Some(json!({"action": action})));
            if pause {
                self.halt(Status::GuestPanicked);
            }
            if action == "poweroff" {
                self.shut_down(Cause::GuestPanic);
            }
        }
        if events & 2 != 0 {
            self.notify("GUEST_CRASHLOADED", Some(json!({"action": "run"})));
        }
        if events & 4 != 0 {
            self.notify("GUEST_PVSHUTDOWN", None);
            self.shut_down(Cause::GuestShutdown);
        }
    }

    /// The mouse moves, or its buttons change.
    pub fn pointer(&mut self, dx: i32, dy: i32, dz: i32, buttons: u8) {
        self.buttons = buttons;
        self.guest.pointer(dx, dy, dz, buttons);
    }

    /// Presses keys together and lets them go after a while.
    pub fn press(&mut self, codes: &[u8], hold: Duration) {
        let until = Instant::now() + hold;
        for &code in codes {
            self.guest.key(code, true);
        }
        self.held.extend(codes.iter().rev().map(|&code| (until, code)));
    }

    /// Lets go of keys whose time has come; returns when to look again.
    pub fn release_keys(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let due = self.held.extract_if(.., |(at, _)| *at <= now).collect::<Vec<_>>();
        for (_, code) in due {
            self.guest.key(code, false);
        }
        self.held.iter().map(|h| h.0).min()
    }

    /// Saves the machine to a file, which appears complete or not at all.
    pub fn save(&mut self, path: &str) -> Result<(), String> {
        let part = format!("{path}.part");
        let told =
            |e: std::io::Error| format!("cannot save to '{path}': {}", crate::options::reason(&e));
        let was_running = self.status == Status::Running;
        if was_running {
            self.guest.set_running(false);
        }
        let saved = std::fs::File::create(&part).and_then(|file| {
            let mut file = std::io::BufWriter::new(file);
            self.guest.save(&mut file)?;
            file.into_inner().map_err(|e| e.into_error())?.sync_all()?;
            std::fs::rename(&part, path)
        });
        if was_running {
            self.guest.set_running(true);
        }
        if saved.is_err() {
            let _ = std::fs::remove_file(&part);
        }
        saved.map_err(told)
    }

    /// Takes the machine's state from a file.
    pub fn load(&mut self, path: &str) -> Result<(), String> {
        let file = std::fs::File::open(path)
            .map_err(|e| format!("cannot read '{path}': {}", crate::options::reason(&e)))?;
        let was_running = self.status == Status::Running;
        if was_running {
            self.guest.set_running(false);
        }
        let loaded = self.guest.load(&mut std::io::BufReader::new(file));
        if was_running {
            self.guest.set_running(true);
        }
        if loaded.is_ok() && self.status.needs_reset() {
            self.status = Status::Paused;
        }
        loaded.map_err(|why| format!("cannot load '{path}': {why}"))
    }
}

impl Vm {
    /// The UUID in its usual form.
    pub fn uuid(&self) -> String {
        let hex: String = self.config.uuid.iter().map(|b| format!("{b:02x}")).collect();
        let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
        parts.join("-")
    }

    /// `screendump`.
    pub fn screendump(&mut self, path: &str, format: &str) -> Result<(), String> {
        let format = format.parse()?;
        let (width, height, rgb) = self.guest.picture().ok_or("There is no screen")?;
        let told =
            |e: std::io::Error| format!("cannot write '{path}': {}", crate::options::reason(&e));
        let mut file = std::fs::File::create(path).map_err(told)?;
        crate::picture::write(format, width, height, &rgb, &mut file).map_err(told)
    }

    /// The memory of a ring buffer.
    fn ring(&self, label: &str) -> Result<Arc<Mutex<Ring>>, String> {
        let line = self.lines.iter().find(|l| l.label == label);
        let line = line.ok_or_else(|| format!("Device '{label}' not found"))?;
        line.ring.clone().ok_or_else(|| format!("{label} is not a ringbuf device"))
    }

    pub fn ring_read(&self, label: &str, most: usize) -> Result<Vec<u8>, String> {
        let ring = self.ring(label)?;
        let mut ring = ring.lock().map_err(|e| e.to_string())?;
        Ok(ring.take(most))
    }

    pub fn ring_write(&self, label: &str, bytes: &[u8]) -> Result<(), String> {
        let ring = self.ring(label)?;
        ring.lock().map_err(|e| e.to_string())?.push(bytes);
        Ok(())
    }
}
