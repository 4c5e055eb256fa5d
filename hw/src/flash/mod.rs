//! A flash chip with Intel's command set (CFI 0001h): firmware and its variables.
//!
//! Intel StrataFlash data sheet, "Device commands"; the details are those of QEMU's pflash_cfi01, for which firmware is
//! written: clearing the status clears all of it, and programming replaces what was there.
//!
//! The contents are memory of the board's, seen as ROM while the chip reads as an array; whatever else it reads as, each
//! access is a call. Bank 0 is the whole chip at a fixed address. Unit 0 is the drive that keeps the contents: a sector is
//! written to it as soon as a command on it is over, and never twice at the same time.

mod query;
#[cfg(test)]
mod test;

use device::*;
use std::collections::BTreeSet;

/// Bytes that are erased at once.
pub const SECTOR: u64 = 4096;
/// How long the contents of a chip may lie after the last write before they are kept.
const LATER: Tick = 1_000_000;

bits! {
    /// The status register.
    pub struct Status: u8 { program_failed: 4, erase_failed: 5, ready: 7 }
}

/// Commands, and what the chip is in the middle of.
mod command {
    pub const PROGRAM: u8 = 0x10;
    pub const ERASE: u8 = 0x20;
    pub const PROGRAM_TOO: u8 = 0x40;
    pub const CLEAR: u8 = 0x50;
    pub const LOCK: u8 = 0x60;
    pub const STATUS: u8 = 0x70;
    pub const ID: u8 = 0x90;
    pub const QUERY: u8 = 0x98;
    pub const CONFIRM: u8 = 0xD0;
    pub const BUFFER: u8 = 0xE8;
    pub const ARRAY: u8 = 0xFF;
}

state! {
    /// Everything the guest can see, beside the contents.
    pub struct State {
        /// The command in progress; 0: reads are of the array.
        1 command: u8 = 0,
        /// How many writes of it have come.
        2 cycle: u8 = 0,
        3 status: Status = Status(0x80),
        /// Bytes that the buffer still expects, less one.
        4 counter: u32 = 0,
        /// What is to be programmed from the buffer: address and byte.
        5 buffer: Vec<(u32, u8)> = Vec::new(),
        /// Sectors that the drive has not got yet.
        6 unsaved: Vec<u32> = Vec::new(),
        /// Those that are on their way to it.
        7 going: Vec<u32> = Vec::new(),
    }
}

/// Where a chip is, and how it is kept.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    pub base: u64,
    /// A multiple of [`SECTOR`].
    pub len: u64,
    /// Where the contents are in the board's memory.
    pub backing: u64,
    pub read_only: bool,
}

pub struct Cfi {
    s: State,
    config: Config,
    query: [u8; 0x52],
    shown: Option<bool>,
    /// The contents came from elsewhere: the drive gets all of them when it is there.
    loaded: bool,
}

impl Cfi {
    pub fn new(config: Config) -> Self {
        let sectors = (config.len / SECTOR).clamp(1, 1 << 16) as u32;
        let query = query::table(sectors);
        Self { s: State::default(), config, query, shown: None, loaded: false }
    }
    /// The sectors that the drive may not have: `(position, place in the board's memory, bytes)`.
    pub fn unsaved(&self) -> Vec<(u64, u64, u64)> {
        let all: BTreeSet<u32> = self.s.unsaved.iter().chain(&self.s.going).copied().collect();
        let at = |n: u32| u64::from(n) * SECTOR;
        all.into_iter().map(|n| (at(n), self.config.backing + at(n), SECTOR)).collect()
    }
    fn is_array(&self) -> bool {
        self.s.command == 0
    }
    /// Back to reading the array; what was written is kept.
    fn read_array(&mut self, cx: &mut dyn Cx) {
        (self.s.command, self.s.cycle) = (0, 0);
        self.s.buffer.clear();
        self.keep(cx);
    }
    /// Gives the drive what it has not got, but no sector that is on its way already.
    fn keep(&mut self, cx: &mut dyn Cx) {
        let (wait, ready): (Vec<u32>, Vec<u32>) =
            std::mem::take(&mut self.s.unsaved).iter().partition(|n| self.s.going.contains(n));
        self.s.unsaved = wait;
        for n in ready {
            let at = u64::from(n) * SECTOR;
            let mut data = vec![0; SECTOR as usize];
            if cx.backing().read(self.config.backing + at, &mut data).is_ok() {
                self.s.going.push(n);
                let op = DiskOp::Write { at, data: data.into(), fua: true };
                cx.ask(Request::Disk { unit: 0, tag: n.into(), op });
            }
        }
    }
    fn note(&mut self, at: u64, cx: &mut dyn Cx) {
        let sector = (at / SECTOR) as u32;
        if !self.s.unsaved.contains(&sector) {
            self.s.unsaved.push(sector);
        }
        cx.wake_at(Some(cx.now().saturating_add(LATER)));
    }
    /// Puts bytes into the array, or says that it cannot.
    fn program(&mut self, at: u64, bytes: &[u8], cx: &mut dyn Cx) {
        let fits = at.checked_add(bytes.len() as u64).is_some_and(|end| end <= self.config.len);
        let done = fits
            && !self.config.read_only
            && cx.backing().write(self.config.backing + at, bytes).is_ok();
        if !done {
            self.s.status = self.s.status.with_program_failed(true);
            return;
        }
        self.note(at, cx);
        self.note(at + bytes.len() as u64 - 1, cx);
    }
    fn erase(&mut self, at: u64, cx: &mut dyn Cx) {
        let at = at & !(SECTOR - 1);
        let ones = [0xFF; SECTOR as usize];
        let done = at < self.config.len
            && !self.config.read_only
            && cx.backing().write(self.config.backing + at, &ones).is_ok();
        if done {
            self.note(at, cx);
        } else {
            self.s.status = self.s.status.with_erase_failed(true);
        }
    }
    /// The first write of a command.
    fn begin(&mut self, at: u64, command: u8, cx: &mut dyn Cx) {
        use command::*;
        let ready = self.s.status.with_ready(true);
        match command {
            PROGRAM | PROGRAM_TOO | LOCK | QUERY => self.s.cycle = 1,
            ERASE => {
                self.s.status = ready;
                self.erase(at, cx);
                self.s.cycle = 1;
            }
            BUFFER => {
                self.s.status = ready;
                self.s.buffer.clear();
                self.s.cycle = 1;
            }
            STATUS | ID => {}
            CLEAR => {
                self.s.status = Status(0);
                return self.read_array(cx);
            }
            _ => return self.read_array(cx),
        }
        self.s.command = command;
    }
    /// The writes after it.
    fn go_on(&mut self, at: u64, w: Width, value: u64, cx: &mut dyn Cx) {
        use command::*;
        let ready = self.s.status.with_ready(true);
        let byte = value as u8;
        match (self.s.command, self.s.cycle) {
            (PROGRAM | PROGRAM_TOO, _) => {
                self.program(at, &value.to_le_bytes()[..w.bytes() as usize], cx);
                self.s.status = self.s.status.with_ready(true);
                self.s.cycle = 0;
            }
            (ERASE, _) if byte == CONFIRM => (self.s.cycle, self.s.status) = (0, ready),
            (LOCK, _) if matches!(byte, CONFIRM | 1) => (self.s.cycle, self.s.status) = (0, ready),
            (BUFFER, 1) => {
                self.s.counter = u32::from(byte);
                self.s.cycle = 2;
            }
            (BUFFER, 2) => self.fill(at, w, value),
            (BUFFER, 3) if byte == CONFIRM => {
                for (at, byte) in std::mem::take(&mut self.s.buffer) {
                    self.program(at.into(), &[byte], cx);
                }
                (self.s.cycle, self.s.status) = (0, self.s.status.with_ready(true));
            }
            (QUERY, _) if byte != ARRAY => {}
            _ => self.read_array(cx),
        }
    }
    /// Takes data into the buffer, which lies within one aligned block of its size.
    fn fill(&mut self, at: u64, w: Width, value: u64) {
        let size = 1u64 << query::BUFFER_SHIFT;
        for (n, byte) in value.to_le_bytes()[..w.bytes() as usize].iter().enumerate() {
            let at = at + n as u64;
            let first = self.s.buffer.first().map_or(at, |b| b.0.into());
            if at / size == first / size {
                self.s.buffer.push((at as u32, *byte));
            } else {
                self.s.status = self.s.status.with_program_failed(true);
            }
            if self.s.counter == 0 {
                self.s.cycle = 3;
                return;
            }
            self.s.counter -= 1;
        }
    }
    fn read_byte(&self, at: u64) -> u8 {
        match self.s.command {
            command::ID => 0,
            command::QUERY => self.query.get((at & 0xFF) as usize).copied().unwrap_or(0),
            _ => self.s.status.0,
        }
    }
    fn show(&mut self, cx: &mut dyn Cx) {
        let array = self.is_array();
        if self.shown == Some(array) {
            return;
        }
        self.shown = Some(array);
        let Config { base, len, backing, .. } = self.config;
        let what = if array { Seen::Rom { offset: backing } } else { Seen::Registers };
        cx.map(0, Some(Place { space: Space::Memory, base, len, what }));
    }
}

impl Device for Cfi {
    fn name(&self) -> &'static str {
        "cfi.pflash01"
    }
    fn read(&mut self, at: Reg, w: Width, cx: &mut dyn Cx) -> u64 {
        if self.is_array() {
            let mut bytes = [0xFF; 8];
            let part = &mut bytes[..w.bytes() as usize];
            let _ = cx.backing().read(self.config.backing.saturating_add(at.at), part);
            return u64::from_le_bytes(bytes) & w.mask();
        }
        join(at.at, w, 1, |at| self.read_byte(at).into())
    }
    fn write(&mut self, at: Reg, w: Width, value: u64, cx: &mut dyn Cx) {
        if at.at >= self.config.len {
            return;
        }
        if self.s.cycle == 0 {
            self.begin(at.at, value as u8, cx);
        } else {
            self.go_on(at.at, w, value, cx);
        }
        self.show(cx);
    }
    fn wake(&mut self, cx: &mut dyn Cx) {
        self.keep(cx);
    }
    fn input(&mut self, what: Input, cx: &mut dyn Cx) {
        match what {
            Input::Disk { tag, result, .. } => {
                self.s.going.retain(|n| u64::from(*n) != tag);
                if let Err(why) = result {
                    cx.complain(format_args!("flash: sector {tag} was not kept: {why:?}"));
                }
                if self.is_array() {
                    self.keep(cx);
                }
            }
            // The drive is there, with whatever it was left with.
            Input::Medium { medium: Some(_), .. } if std::mem::take(&mut self.loaded) => {
                if !self.config.read_only {
                    self.s.unsaved = (0..(self.config.len / SECTOR) as u32).collect();
                    self.keep(cx);
                }
            }
            _ => {}
        }
    }
    fn reset(&mut self) {
        // The contents stay, and so does what is to become of them.
        let State { unsaved, going, .. } = std::mem::take(&mut self.s);
        self.s = State { unsaved, going, ..State::default() };
        self.shown = None;
    }
    fn settle(&mut self, cx: &mut dyn Cx) {
        self.shown = None;
        self.show(cx);
        let waits = !self.s.unsaved.is_empty();
        cx.wake_at(waits.then(|| cx.now().saturating_add(LATER)));
    }
    fn save(&self) -> Vec<u8> {
        self.s.save()
    }
    fn load(&mut self, from: &[u8]) -> Result<(), Misfit> {
        let s = State::load(from)?;
        let sectors = self.config.len / SECTOR;
        let known = |n: &u32| u64::from(*n) < sectors;
        if s.buffer.len() > 1 << query::BUFFER_SHIFT
            || !s.unsaved.iter().chain(&s.going).all(known)
            || s.cycle > 3
        {
            return Err(Misfit::Unfit("a flash chip that cannot be".into()));
        }
        self.s = s;
        self.loaded = true;
        Ok(())
    }
    fn describe(&self) -> String {
        let Config { base, len, read_only, .. } = self.config;
        let kind = if read_only { "read-only" } else { "writable" };
        let (command, status) = (self.s.command, self.s.status.0);
        format!(
            "{len:#x} bytes at {base:#x}, {kind}; command {command:#04x} status {status:#04x}\n"
        )
    }
}
