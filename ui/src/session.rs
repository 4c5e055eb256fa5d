//! The main thread: runs the machine in slices and, between them, does what has come in from outside.

use crate::chardev::{self, Chardev, Event};
use crate::guest::{DeviceId, Slice};
use crate::inbox::{Events, Inbox};
use crate::monitor::hmp::Hmp;
use crate::monitor::qmp::Qmp;
use crate::mux::{Key, Mux};
use crate::options::{self, Fault, Mode, Options};
use crate::vm::{Cause, Line, Status, Vm};
use device::{Input, Request};
use machine::config::Backend;
use std::collections::VecDeque;
use std::time::Instant;

/// A reader is let on while no more than this waits for a device.
const ENOUGH: usize = 4096;
/// The same where commands to a multiplexer may follow, which a machine that hangs must not hold up.
const ENOUGH_SHARED: usize = 1 << 20;

/// One end of a character device that is ours.
struct Front {
    chardev: usize,
    kind: Kind,
}

enum Kind {
    /// A device, with what it has not had room for, and how much room it has.
    Device {
        id: DeviceId,
        pending: VecDeque<u8>,
        room: usize,
    },
    Hmp(Box<Hmp>),
    Qmp(Qmp),
}

/// An open character device and who uses it.
struct Port {
    chardev: Chardev,
    /// Its users by their numbers. Without a multiplexer there is at most one.
    fronts: Vec<usize>,
    mux: Option<Mux>,
}

/// Opens the character devices, in order.
pub fn open_chardevs(options: &Options, inbox: &Inbox) -> Result<Vec<Chardev>, Fault> {
    let all = options.chardevs.iter().enumerate();
    all.map(|(n, spec)| chardev::open(n, spec, inbox)).collect()
}

/// A machine and all that it is joined to.
pub struct Session {
    pub vm: Vm,
    inbox: Events,
    ports: Vec<Port>,
    fronts: Vec<Front>,
    began: Instant,
}

impl Session {
    pub fn new(vm: Vm, options: &Options, chardevs: Vec<Chardev>, inbox: Events) -> Session {
        let mut ports: Vec<Port> = chardevs
            .into_iter()
            .zip(&options.chardevs)
            .map(|(chardev, spec): (Chardev, &options::Chardev)| {
                let mux = spec.mux.then(|| Mux::new(options.escape));
                Port { chardev, fronts: Vec::new(), mux }
            })
            .collect();
        let mut fronts = Vec::new();
        // Serial ports come first: they have the keyboard of a shared terminal at the start.
        let config = &options.config;
        let devices = config.devices.iter().filter_map(|d| d.props.backend());
        for backend in config.serial.iter().flatten().copied().chain(devices) {
            let Backend(n) = backend;
            if let Some(id) = vm.guest.device_of(backend)
                && let Some(port) = ports.get_mut(n as usize)
            {
                port.fronts.push(fronts.len());
                let kind = Kind::Device { id, pending: VecDeque::new(), room: 1 };
                fronts.push(Front { chardev: n as usize, kind });
            }
        }
        for m in &options.monitors {
            let kind = match m.mode {
                Mode::Readline => Kind::Hmp(Box::default()),
                Mode::Control { pretty } => Kind::Qmp(Qmp::new(pretty)),
            };
            ports[m.chardev].fronts.push(fronts.len());
            fronts.push(Front { chardev: m.chardev, kind });
        }
        let mut session = Session { vm, inbox, ports, fronts, began: Instant::now() };
        session.vm.lines = session.lines();
        session
    }

    fn lines(&self) -> Vec<Line> {
        let one = |p: &Port| {
            let c = &p.chardev;
            let mux = if p.mux.is_some() { "mux" } else { &c.filename };
            let filename = mux.to_string();
            Line { label: c.id.clone(), filename, open: c.connected, ring: c.ring() }
        };
        self.ports.iter().map(one).collect()
    }

    /// Runs until it is time to go; returns the exit status.
    pub fn run(&mut self) -> i32 {
        for n in 0..self.ports.len() {
            if self.ports[n].chardev.connected {
                self.opened(n);
            }
        }
        let status = loop {
            while self.vm.leaving.is_none()
                && let Some(event) = self.inbox.try_take()
            {
                self.event(event);
            }
            let keys = self.vm.release_keys();
            let mut wait = None;
            if self.vm.leaving.is_none() {
                wait = self.slice();
            }
            self.announce();
            if let Some(status) = self.vm.leaving {
                break status;
            }
            if let Some(until) = wait {
                let until = match (until, keys) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
                self.wait(until);
            }
        };
        for port in &self.ports {
            if let Some(outbox) = port.chardev.outbox() {
                outbox.drain();
            }
        }
        status
    }

    /// Runs the machine for a while, if it runs. Returns until when there is nothing to do: `None` for not at all,
    /// `Some(None)` for until something comes in.
    fn slice(&mut self) -> Option<Option<Instant>> {
        if self.vm.status != Status::Running {
            // A monitor may have made devices say something.
            let any = self.vm.drive_events() | self.requests();
            return if any { None } else { Some(None) };
        }
        let ended = self.vm.guest.run_slice();
        let asked = self.vm.drive_events() | self.requests();
        match ended {
            _ if asked => None,
            Slice::Ran => None,
            Slice::Idle { until: None } | Slice::Stuck => Some(None),
            // A time too far away to count is no time.
            Slice::Idle { until: Some(d) } if d.is_zero() => None,
            Slice::Idle { until: Some(d) } => Some(Instant::now().checked_add(d)),
            Slice::Failed(why) => {
                self.vm.fail(&why);
                None
            }
        }
    }

    fn wait(&mut self, until: Option<Instant>) {
        if let Some(event) = self.inbox.wait(until) {
            self.event(event);
        }
    }

    /// Does what devices have asked for; says whether there was anything.
    fn requests(&mut self) -> bool {
        let requests = self.vm.guest.take_requests();
        let any = !requests.is_empty();
        // Bytes that follow each other go out together.
        let mut sending: Option<(DeviceId, Vec<u8>)> = None;
        // Of several words about a device's room only the last still holds.
        let mut rooms: Vec<(DeviceId, usize)> = Vec::new();
        for (id, what) in requests {
            match (&mut sending, what) {
                (Some((to, bytes)), Request::Send(more)) if *to == id => bytes.extend(more),
                (last, Request::Send(bytes)) => {
                    if let Some((to, bytes)) = last.replace((id, bytes)) {
                        self.send(to, &bytes);
                    }
                }
                (_, Request::Accept(n)) => {
                    rooms.retain(|r| r.0 != id);
                    rooms.push((id, n));
                }
                (last, what) => {
                    if let Some((to, bytes)) = last.take() {
                        self.send(to, &bytes);
                    }
                    self.vm.request(id, what);
                }
            }
        }
        if let Some((to, bytes)) = sending {
            self.send(to, &bytes);
        }
        for (id, n) in rooms {
            self.accept(id, n);
        }
        any
    }

    /// The front end that a device is.
    fn front_of(&self, device: DeviceId) -> Option<usize> {
        let is = |f: &Front| matches!(&f.kind, Kind::Device { id, .. } if *id == device);
        self.fronts.iter().position(is)
    }

    fn send(&mut self, from: DeviceId, bytes: &[u8]) {
        if let Some(front) = self.front_of(from) {
            self.output(self.fronts[front].chardev, bytes);
        }
    }

    /// Bytes for the other end of a character device.
    fn output(&mut self, port: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let port = &mut self.ports[port];
        match &mut port.mux {
            Some(mux) => port.chardev.write(&mux.output(bytes, self.began.elapsed())),
            None => port.chardev.write(bytes),
        }
    }

    fn accept(&mut self, device: DeviceId, n: usize) {
        if let Some(front) = self.front_of(device) {
            if let Kind::Device { room, .. } = &mut self.fronts[front].kind {
                *room = n;
            }
            self.feed(front);
            self.let_on(self.fronts[front].chardev);
        }
    }

    /// Gives a device as much as it has room for.
    fn feed(&mut self, front: usize) {
        if let Kind::Device { id, pending, room } = &mut self.fronts[front].kind {
            let n = pending.len().min(*room);
            if n > 0 {
                *room -= n;
                let bytes = pending.drain(..n).collect();
                self.vm.guest.input(*id, Input::Bytes(bytes));
            }
        }
    }

    /// Lets the reader of a character device go on, unless very much is waiting already.
    fn let_on(&mut self, port: usize) {
        let enough = if self.ports[port].mux.is_some() { ENOUGH_SHARED } else { ENOUGH };
        let full = |f: &usize| match &self.fronts[*f].kind {
            Kind::Device { pending, .. } => pending.len() >= enough,
            _ => false,
        };
        let full = self.ports[port].fronts.iter().any(full);
        if !full {
            self.ports[port].chardev.go_on();
        }
    }

    /// Who has the keyboard of a character device.
    fn focus(&self, port: usize) -> Option<usize> {
        let port = &self.ports[port];
        port.fronts.get(port.mux.as_ref().map_or(0, |m| m.focus)).copied()
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Bytes { chardev, bytes } => {
                self.ports[chardev].chardev.chunk_came();
                if self.ports[chardev].mux.is_some() {
                    self.shared(chardev, &bytes);
                } else if let Some(front) = self.focus(chardev) {
                    self.typed(front, &bytes);
                }
                self.let_on(chardev);
            }
            Event::Disk => {}
            Event::Break { chardev } => self.send_break(chardev),
            Event::Opened { chardev } => self.opened(chardev),
            Event::Closed { chardev } => self.closed(chardev),
            Event::Signal { number, pid } => {
                crate::log::tell(format_args!("terminating on signal {number} from pid {pid}"));
                self.vm.shut_down(Cause::HostSignal);
            }
        }
        self.announce();
    }

    /// Bytes for one front end.
    fn typed(&mut self, front: usize, bytes: &[u8]) {
        let chardev = self.fronts[front].chardev;
        let out = match &mut self.fronts[front].kind {
            Kind::Device { pending, .. } => {
                pending.extend(bytes);
                self.feed(front);
                return;
            }
            Kind::Hmp(hmp) => hmp.input(bytes, &mut self.vm),
            Kind::Qmp(qmp) => qmp.input(bytes, &mut self.vm),
        };
        self.output(chardev, &out);
    }

    /// Bytes from a shared character device: some of them are commands to the multiplexer.
    fn shared(&mut self, port: usize, bytes: &[u8]) {
        let mut plain = Vec::new();
        for &b in bytes {
            let Some(mux) = &mut self.ports[port].mux else { return };
            let key = mux.key(b);
            if let Key::Byte(b) = key {
                plain.push(b);
                continue;
            }
            if let Some(front) = self.focus(port) {
                self.typed(front, &std::mem::take(&mut plain));
            }
            match key {
                Key::Byte(_) | Key::Nothing | Key::Timestamps => {}
                Key::Help => {
                    let help = self.ports[port].mux.as_ref().map(Mux::help).unwrap_or_default();
                    self.output(port, help.as_bytes());
                }
                Key::Exit => {
                    self.output(port, b"reprise: Terminated\r\n");
                    self.vm.shut_down(Cause::HostKeys);
                }
                Key::Break => self.send_break(port),
                Key::Switch => self.switch(port),
            }
            if self.vm.leaving.is_some() {
                return;
            }
        }
        if let Some(front) = self.focus(port) {
            self.typed(front, &plain);
        }
    }

    /// The keyboard goes to the next front end.
    fn switch(&mut self, port: usize) {
        let count = self.ports[port].fronts.len().max(1);
        if let Some(mux) = &mut self.ports[port].mux {
            mux.focus = (mux.focus + 1) % count;
        }
        if let Some(front) = self.focus(port)
            && let Kind::Hmp(hmp) = &mut self.fronts[front].kind
        {
            let text = hmp.greet();
            self.output(port, &text);
        }
    }

    fn send_break(&mut self, port: usize) {
        if let Some(front) = self.focus(port)
            && let Kind::Device { id, .. } = self.fronts[front].kind
        {
            self.vm.guest.input(id, Input::Break);
        }
    }

    fn opened(&mut self, port: usize) {
        self.ports[port].chardev.connected = true;
        self.vm.lines = self.lines();
        let focus = self.focus(port);
        for front in self.ports[port].fronts.clone() {
            let text = match &mut self.fronts[front].kind {
                Kind::Device { id, .. } => {
                    self.vm.guest.input(*id, Input::Carrier(true));
                    continue;
                }
                Kind::Hmp(hmp) if focus == Some(front) => hmp.greet(),
                Kind::Hmp(_) => continue,
                Kind::Qmp(qmp) => qmp.greet(),
            };
            self.output(port, &text);
        }
    }

    fn closed(&mut self, port: usize) {
        self.ports[port].chardev.connected = false;
        self.vm.lines = self.lines();
        for front in self.ports[port].fronts.clone() {
            match &mut self.fronts[front].kind {
                Kind::Device { id, .. } => self.vm.guest.input(*id, Input::Carrier(false)),
                Kind::Hmp(hmp) => hmp.hang_up(),
                Kind::Qmp(qmp) => qmp.hang_up(),
            }
        }
    }

    /// Tells QMP clients what has happened.
    fn announce(&mut self) {
        for notice in self.vm.take_notices() {
            for front in 0..self.fronts.len() {
                if let Kind::Qmp(qmp) = &self.fronts[front].kind {
                    let text = qmp.notice(&notice);
                    self.output(self.fronts[front].chardev, &text);
                }
            }
        }
    }
}
