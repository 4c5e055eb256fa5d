//! `virtio-serial`: consoles and other byte streams.  Virtio 1.2, 5.3.
//!
//! Queues 0 and 1 are port 0, 2 and 3 carry control messages, 2n+2 and 2n+3 are port n. Bytes for and from a port's back
//! end are [`Input::To`] and [`Request::From`] with the port's number.

use super::queue::{Chain, Io, le, total};
use super::{Kind, VirtioDevice};
use crate::Bytes;
use device::*;
use std::collections::VecDeque;

const MULTIPORT: u32 = 1;
const EMERGENCY_WRITE: u32 = 2;

// Control messages: 5.3.6.2.
const DEVICE_READY: u16 = 0;
const PORT_ADD: u16 = 1;
const PORT_READY: u16 = 3;
const CONSOLE_PORT: u16 = 4;
const PORT_OPEN: u16 = 6;
const PORT_NAME: u16 = 7;

const CONTROL_IN: usize = 2;
const CONTROL_OUT: usize = 3;
const QUEUE_SIZE: u16 = 128;
const CONTROL_SIZE: u16 = 32;
/// Where the configuration has the register that writes without queues.
const EMERGENCY: usize = 8;

/// Input that waits for the driver's buffers.
const INPUT: usize = 4096;
/// Messages that wait likewise; of more the driver does not hear.
const MESSAGES: usize = 1024;
/// The longest output in one chain.
const LONGEST: u64 = 1 << 20;

/// A port.
#[derive(Clone, Debug)]
pub struct Port {
    pub number: u32,
    /// `virtconsole`, not `virtserialport`.
    pub console: bool,
    /// What the guest finds it by; may be empty.
    pub name: String,
}

#[derive(Clone, Debug)]
pub struct ConsoleConfig {
    pub ports: Vec<Port>,
    pub max_ports: u32,
    pub emergency_write: bool,
}

impl Default for ConsoleConfig {
    fn default() -> Self {
        Self { ports: Vec::new(), max_ports: 31, emergency_write: true }
    }
}

state! {
    /// What is known of a port.
    pub struct PortState {
        1 guest_open: bool = false,
        2 host_open: bool = false,
        3 input: Bytes = Bytes::default(),
    }
}

state! {
    /// Everything the guest can see.
    pub struct State {
        1 ports: Vec<PortState> = Vec::new(),
        /// Messages for the driver: port, event, value.
        2 messages: VecDeque<(u32, u16, u16)> = VecDeque::new(),
    }
}

pub struct Console {
    config: ConsoleConfig,
    s: State,
    /// The room for input, as last told, by port.
    told: Vec<Option<usize>>,
    chain: Chain,
}

fn queue_in(port: u32) -> usize {
    if port == 0 { 0 } else { 2 * port as usize + 2 }
}

impl Console {
    /// Panics if two ports have the same number, or one a number that there is no queue for.
    pub fn new(config: ConsoleConfig) -> Self {
        let mut config = config;
        config.max_ports = config.max_ports.clamp(1, 511);
        for (i, p) in config.ports.iter().enumerate() {
            let again = config.ports[..i].iter().any(|other| other.number == p.number);
            assert!(!again && p.number < config.max_ports, "virtio-serial port {}", p.number);
        }
        let told = vec![None; config.ports.len()];
        let fresh = |p: &Port| PortState { host_open: p.console, ..PortState::default() };
        let s = State { ports: config.ports.iter().map(fresh).collect(), ..State::default() };
        Self { config, s, told, chain: Chain::default() }
    }
    /// Which of the ports has this number.
    fn find(&self, number: u32) -> Option<usize> {
        self.config.ports.iter().position(|p| p.number == number)
    }
    fn is_open(&self, port: usize, io: &Io) -> bool {
        if io.has(MULTIPORT) {
            self.s.ports[port].guest_open
        } else {
            // One port, without messages.
            self.config.ports[port].number == 0 && io.running
        }
    }

    /// Output of a port to its back end.
    fn flush(&mut self, queue: usize, io: &mut Io) {
        let number = if queue == 1 { 0 } else { (queue as u32 - 3) / 2 };
        let open = self.find(number).is_some_and(|port| self.s.ports[port].host_open);
        let (mut chain, mut bytes) = (std::mem::take(&mut self.chain), Vec::new());
        while io.next(queue, &mut chain) {
            let (before, len) = (bytes.len(), total(&chain.out));
            if len > LONGEST {
                io.fail("more output than a port takes at once");
            } else if open {
                bytes.resize(before + len as usize, 0);
                if !io.gather(&chain.out, 0, &mut bytes[before..]) {
                    bytes.truncate(before);
                }
            }
            io.push(queue, chain.head, 0);
            if bytes.len() as u64 >= LONGEST {
                send(number, std::mem::take(&mut bytes), io);
            }
        }
        if !bytes.is_empty() {
            send(number, bytes, io);
        }
        self.chain = chain;
    }
    /// Input of a port to the driver's buffers.
    fn deliver(&mut self, port: usize, io: &mut Io) {
        let queue = queue_in(self.config.ports[port].number);
        let (input, chain) = (&mut self.s.ports[port].input.0, &mut self.chain);
        let mut done = 0;
        while done < input.len() && io.next(queue, chain) {
            let n = total(&chain.inn).min((input.len() - done) as u64) as usize;
            if !io.scatter(&chain.inn, &input[done..done + n]) {
                break;
            }
            io.push(queue, chain.head, n as u32);
            done += n;
        }
        input.drain(..done);
    }

    // Control messages.

    fn tell(&mut self, port: u32, event: u16, value: u16) {
        if self.s.messages.len() < MESSAGES {
            self.s.messages.push_back((port, event, value));
        }
    }
    fn deliver_messages(&mut self, io: &mut Io) {
        let mut chain = std::mem::take(&mut self.chain);
        while let Some((port, event, value)) = self.s.messages.front().copied() {
            if !io.next(CONTROL_IN, &mut chain) {
                break;
            }
            self.s.messages.pop_front();
            let mut bytes = port.to_le_bytes().to_vec();
            bytes.extend([event.to_le_bytes(), value.to_le_bytes()].as_flattened());
            if let (PORT_NAME, Some(port)) = (event, self.find(port)) {
                bytes.extend(self.config.ports[port].name.bytes());
                bytes.push(0);
            }
            let len = total(&chain.inn).min(bytes.len() as u64) as u32;
            if io.scatter(&chain.inn, &bytes) {
                io.push(CONTROL_IN, chain.head, len);
            }
        }
        self.chain = chain;
    }
    fn control(&mut self, io: &mut Io) {
        let mut chain = std::mem::take(&mut self.chain);
        while io.next(CONTROL_OUT, &mut chain) {
            let mut message = [0; 8];
            if io.gather(&chain.out, 0, &mut message) {
                let [event, value] = [4, 6].map(|i| le(&message[i..i + 2]) as u16);
                self.heard(le(&message[..4]) as u32, event, value, io);
            }
            io.push(CONTROL_OUT, chain.head, 0);
        }
        self.chain = chain;
        self.deliver_messages(io);
    }
    fn heard(&mut self, number: u32, event: u16, value: u16, io: &mut Io) {
        if event == DEVICE_READY {
            if value != 0 {
                let numbers: Vec<u32> = self.config.ports.iter().map(|p| p.number).collect();
                numbers.into_iter().for_each(|number| self.tell(number, PORT_ADD, 1));
            }
            return;
        }
        let Some(port) = self.find(number) else {
            return io.cx.complain(format_args!("virtio-serial: no port {number}"));
        };
        match event {
            PORT_READY if value != 0 => {
                if self.config.ports[port].console {
                    self.tell(number, CONSOLE_PORT, 1);
                }
                if !self.config.ports[port].name.is_empty() {
                    self.tell(number, PORT_NAME, 1);
                }
                if self.s.ports[port].host_open {
                    self.tell(number, PORT_OPEN, 1);
                }
            }
            PORT_OPEN => {
                self.s.ports[port].guest_open = value != 0;
                if value == 0 {
                    self.s.ports[port].input.0.clear();
                }
            }
            _ => {}
        }
    }
    /// The back end has come or gone. A console is always there.
    fn carrier(&mut self, port: usize, on: bool, io: &mut Io) {
        let Port { number, console, .. } = self.config.ports[port];
        let was = std::mem::replace(&mut self.s.ports[port].host_open, on || console);
        if was != self.s.ports[port].host_open && io.has(MULTIPORT) && io.running {
            self.tell(number, PORT_OPEN, on.into());
            self.deliver_messages(io);
        }
    }
}

fn send(port: u32, bytes: Vec<u8>, io: &mut Io) {
    io.cx.ask(Request::From(port as u16, Box::new(Request::Send(bytes))));
}

impl VirtioDevice for Console {
    fn kind(&self) -> Kind {
        Kind { name: "virtio-serial-pci", id: 3, transitional: 0x1003, class: 0x07_8000 }
    }
    fn queues(&self) -> Vec<u16> {
        let size =
            |n| if (CONTROL_IN..=CONTROL_OUT).contains(&n) { CONTROL_SIZE } else { QUEUE_SIZE };
        (0..2 * self.config.max_ports as usize + 2).map(size).collect()
    }
    fn vectors(&self) -> u16 {
        2
    }
    fn features(&self) -> u64 {
        u64::from(self.config.max_ports > 1) << MULTIPORT
            | u64::from(self.config.emergency_write) << EMERGENCY_WRITE
    }
    fn config(&self) -> Vec<u8> {
        // Columns, rows, ports, and the register that only takes.
        [0, self.config.max_ports, 0].map(u32::to_le_bytes).concat()
    }
    fn write_config(&mut self, at: usize, bytes: &[u8], io: &mut Io) {
        let byte = EMERGENCY.checked_sub(at).and_then(|n| bytes.get(n)).filter(|b| **b != 0);
        let first = self.config.ports.iter().find(|p| p.console).map(|p| p.number);
        if let (Some(byte), Some(number), true) = (byte, first, self.config.emergency_write) {
            send(number, vec![*byte], io);
        }
    }
    fn kick(&mut self, queue: usize, io: &mut Io) {
        match queue {
            CONTROL_IN => self.deliver_messages(io),
            CONTROL_OUT => self.control(io),
            _ if queue % 2 == 1 => self.flush(queue, io),
            _ => {
                if let Some(port) = self.find(if queue == 0 { 0 } else { (queue as u32 - 2) / 2 }) {
                    self.deliver(port, io);
                }
            }
        }
    }
    fn input(&mut self, what: Input, io: &mut Io) {
        let Input::To(number, what) = what else { return };
        let Some(port) = self.find(number.into()) else { return };
        match *what {
            Input::Bytes(bytes) if self.is_open(port, io) => {
                let input = &mut self.s.ports[port].input.0;
                let room = INPUT.saturating_sub(input.len()).min(bytes.len());
                input.extend(&bytes[..room]);
                self.deliver(port, io);
            }
            Input::Carrier(on) => self.carrier(port, on, io),
            _ => {}
        }
    }
    fn reset(&mut self) {
        self.s.messages.clear();
        for p in &mut self.s.ports {
            // The back end stays where it is.
            *p = PortState { host_open: p.host_open, ..PortState::default() };
        }
        self.told.fill(None);
    }
    fn settle(&mut self, io: &mut Io) {
        for port in 0..self.s.ports.len() {
            let free = INPUT - self.s.ports[port].input.0.len();
            let room = if self.is_open(port, io) { free } else { 0 };
            if self.told[port].replace(room) != Some(room) {
                let number = self.config.ports[port].number as u16;
                io.cx.ask(Request::From(number, Box::new(Request::Accept(room))));
            }
        }
    }
    fn save(&self) -> Vec<u8> {
        self.s.save()
    }
    fn load(&mut self, from: &[u8]) -> Result<(), Misfit> {
        let s = State::load(from)?;
        let long = s.ports.iter().any(|p| p.input.0.len() > INPUT);
        if s.ports.len() != self.s.ports.len() || long || s.messages.len() > MESSAGES {
            return Err(Misfit::Unfit("a virtio-serial with other ports".into()));
        }
        self.s = s;
        self.told.fill(None);
        Ok(())
    }
    fn describe(&self) -> String {
        let line = |(p, s): (&Port, &PortState)| {
            let on = |on| if on { "on" } else { "off" };
            let (guest, host) = (on(s.guest_open), on(s.host_open));
            format!("port {}, guest {guest}, host {host}, {} waiting\n", p.number, s.input.0.len())
        };
        self.config.ports.iter().zip(&self.s.ports).map(line).collect()
    }
}

#[cfg(test)]
mod test;
