//! A machine that is only as much of one as the front end can see: a serial port that echoes, some memory, a few keys.

use device::{Input, Request};
use machine::config::{Backend, Config, Item};
use std::io;
use std::sync::{Arc, Mutex};
use ui::guest::{CodeWidth, DeviceId, Guest, Slice, Unmapped};

/// What has been done to the machine, as words.
pub type Diary = Arc<Mutex<Vec<String>>>;

pub struct Fake {
    config: Config,
    diary: Diary,
    requests: Vec<(DeviceId, Request)>,
    ram: Vec<u8>,
    running: bool,
    booted: bool,
    slices: u64,
    /// What the serial ports hold that the guest has not read yet.
    fifo: Vec<(DeviceId, u8)>,
}

/// How many bytes a serial port holds.
const FIFO: usize = 16;

impl Fake {
    pub fn new(config: &Config, diary: Diary) -> Fake {
        let ram = (0..65536u32).map(|n| n as u8).collect();
        let config = config.clone();
        Fake {
            config,
            diary,
            requests: Vec::new(),
            ram,
            running: false,
            booted: false,
            slices: 0,
            fifo: Vec::new(),
        }
    }

    fn note(&self, what: impl Into<String>) {
        self.diary.lock().unwrap().push(what.into());
    }

    fn ask(&mut self, id: DeviceId, what: Request) {
        self.requests.push((id, what));
    }

    fn room(&self, id: DeviceId) -> usize {
        FIFO - self.fifo.iter().filter(|f| f.0 == id).count()
    }

    /// What the guest's program does with a byte from the serial port.
    fn byte(&mut self, id: DeviceId, b: u8) {
        match b {
            b'P' => self.ask(id, Request::PowerOff),
            b'R' => self.ask(id, Request::Reset),
            b'E' => self.ask(id, Request::Exit(33)),
            b'!' => self.ask(id, Request::Panicked(1)),
            b'T' => self.ask(id, Request::TimeOfDay),
            b'X' => panic!("a bug of the emulator"),
            b'L' => {
                for n in 0..50_000 {
                    self.ask(id, Request::Send(format!("line {n}\n").into_bytes()));
                }
            }
            b => self.ask(id, Request::Send(vec![b])),
        }
    }
}

impl Guest for Fake {
    fn run_slice(&mut self) -> Slice {
        assert!(self.running);
        self.slices += 1;
        self.config.log.line(Item::Exec, format_args!("slice {}", self.slices));
        // The guest reads a few bytes and is then busy with something else.
        let n = self.fifo.len().min(5);
        let read: Vec<_> = self.fifo.drain(..n).collect();
        for (id, b) in &read {
            self.byte(*id, *b);
            self.ask(*id, Request::Accept(self.room(*id)));
        }
        if read.is_empty() { Slice::Idle { until: None } } else { Slice::Ran }
    }

    fn take_requests(&mut self) -> Vec<(DeviceId, Request)> {
        std::mem::take(&mut self.requests)
    }

    fn input(&mut self, to: DeviceId, what: Input) {
        match what {
            Input::Bytes(bytes) => {
                let room = self.room(to);
                assert!(bytes.len() <= room, "room for {room}, not {bytes:?}");
                self.fifo.extend(bytes.into_iter().map(|b| (to, b)));
                self.ask(to, Request::Accept(self.room(to)));
            }
            Input::TimeOfDay(t) => self.note(format!("time {}", t > 1_700_000_000)),
            Input::Carrier(_) => {}
            other => self.note(format!("{other:?}")),
        }
    }

    fn device_of(&self, backend: Backend) -> Option<DeviceId> {
        Some(DeviceId(backend.0))
    }

    fn set_running(&mut self, running: bool) {
        self.running = running;
        if running && !self.booted {
            self.booted = true;
            for backend in self.config.serial.into_iter().flatten() {
                self.ask(DeviceId(backend.0), Request::Send(b"hello\r\n".to_vec()));
            }
        }
    }

    fn reset(&mut self) {
        self.booted = false;
        self.note("reset");
    }

    fn power_button(&mut self) {
        self.note("power button");
    }

    fn nmi(&mut self) {
        self.note("nmi");
    }

    fn key(&mut self, code: u8, down: bool) {
        self.note(format!("key {code:#x} {}", if down { "down" } else { "up" }));
    }

    fn cpus(&self) -> u32 {
        self.config.topology.cpus
    }

    fn halted(&self, cpu: u32) -> bool {
        cpu > 0
    }

    fn registers(&self, cpu: u32) -> String {
        format!("EAX={cpu:08x}\n")
    }

    fn register(&self, _: u32, name: &str) -> Option<u64> {
        matches!(name, "rip" | "pc").then_some(0x100)
    }

    fn code_width(&self, _: u32) -> CodeWidth {
        CodeWidth::Bits64
    }

    fn read_virtual(&mut self, _: u32, at: u64, into: &mut [u8]) -> Result<(), Unmapped> {
        self.read_physical(at, into)
    }

    fn read_physical(&mut self, at: u64, into: &mut [u8]) -> Result<(), Unmapped> {
        let start = usize::try_from(at).map_err(|_| Unmapped(at))?;
        let end = start.checked_add(into.len()).ok_or(Unmapped(at))?;
        into.copy_from_slice(self.ram.get(start..end).ok_or(Unmapped(at))?);
        Ok(())
    }

    fn read_port(&mut self, port: u16, size: u8) -> u32 {
        u32::from(port) << 8 | u32::from(size)
    }

    fn write_port(&mut self, port: u16, size: u8, value: u32) {
        self.note(format!("port {port:#x} {size} {value:#x}"));
    }

    fn describe(&mut self, cpu: u32, what: &str) -> Option<String> {
        (what == "lapic").then(|| format!("lapic of {cpu}"))
    }

    fn save(&mut self, to: &mut dyn io::Write) -> io::Result<()> {
        to.write_all(b"FAKE")?;
        to.write_all(&self.ram)
    }

    fn load(&mut self, from: &mut dyn io::Read) -> Result<(), String> {
        let mut all = Vec::new();
        from.read_to_end(&mut all).map_err(|e| e.to_string())?;
        self.ram = all.strip_prefix(b"FAKE").ok_or("not a machine's state")?.to_vec();
        Ok(())
    }
}
