//! One port: its registers, its command list, the drive.  AHCI 1.3.1, 3.3, 5.

use super::fis::{self, FromHost};
use super::prdt::walk;
use crate::ata::{Drive, DriveConfig, LONGEST, Next, Regs, error, status};
use device::*;

/// Interrupt status.
pub mod irq {
    pub const REGISTERS: u32 = 1;
    pub const PIO_SETUP: u32 = 1 << 1;
    pub const SET_BITS: u32 = 1 << 3;
    pub const OVERFLOW: u32 = 1 << 24;
    pub const BUS_FATAL: u32 = 1 << 29;
    pub const TASK_FILE: u32 = 1 << 30;
    pub const ALL: u32 = 0xFDC0_00FF;
}

/// Command and status.
mod cmd {
    pub const START: u32 = 1;
    pub const OVERRIDE: u32 = 1 << 3;
    pub const RECEIVE: u32 = 1 << 4;
    pub const RECEIVING: u32 = 1 << 14;
    pub const RUNNING: u32 = 1 << 15;
    /// Spun up, powered; what software may write.
    pub const RESET: u32 = 6;
    pub const WRITABLE: u32 = 0x0F82_0017;
}

state! {
    /// A command under way that is not queued.
    pub struct Slot {
        1 slot: u8 = 0,
        2 table: u64 = 0,
        3 entries: u16 = 0,
        /// Bytes moved.
        4 done: u32 = 0,
        5 dma: bool = false,
    }
}

state! {
    /// A queued command under way.
    pub struct Flight {
        1 slot: u8 = 0,
        2 tag: u64 = 0,
        3 at: u64 = 0,
        4 len: u32 = 0,
        5 write: bool = false,
        6 table: u64 = 0,
        7 entries: u16 = 0,
    }
}

state! {
    /// Everything the guest can see, but the drive.
    pub struct PortState {
        1 list: u64 = 0,
        2 received: u64 = 0,
        3 irq: u32 = 0,
        4 enabled: u32 = 0,
        5 cmd: u32 = cmd::RESET,
        6 task_file: u32 = 0x7F,
        7 signature: u32 = u32::MAX,
        8 control: u32 = 0,
        9 errors: u32 = 0,
        10 active: u32 = 0,
        11 issued: u32 = 0,
        12 slot: Option<Slot> = None,
        13 queue: Vec<Flight> = Vec::new(),
        /// After an error nothing goes on until software stops the port.
        14 halted: bool = false,
        15 resetting: bool = false,
        /// The drive has not yet said what it is.
        16 silent: bool = true,
        /// Where the next look for a command begins.
        17 next: u8 = 0,
    }
}

pub struct Port {
    pub s: PortState,
    pub drive: Option<Drive>,
    unit: u16,
    /// An interrupt status bit was set since the function last looked.
    pub event: bool,
}

impl Port {
    pub fn new(unit: u16, config: Option<DriveConfig>) -> Self {
        let drive = config.map(|c| Drive::new(c, unit, 2 * unit + 1, true));
        Self { s: PortState::default(), drive, unit, event: false }
    }
    /// Its interrupt is wanted.
    pub fn pending(&self) -> bool {
        self.s.irq & self.s.enabled != 0
    }
    fn raise(&mut self, bits: u32) {
        self.s.irq |= bits;
        self.event |= bits != 0;
    }

    // Registers.

    pub fn read(&self, at: u64) -> u32 {
        let s = &self.s;
        match at {
            0x00 => s.list as u32,
            0x04 => (s.list >> 32) as u32,
            0x08 => s.received as u32,
            0x0C => (s.received >> 32) as u32,
            0x10 => s.irq,
            0x14 => s.enabled,
            0x18 => s.cmd,
            0x20 => s.task_file,
            0x24 => s.signature,
            // A device, first generation, awake.
            0x28 => {
                if self.drive.is_some() {
                    0x113
                } else {
                    0
                }
            }
            0x2C => s.control,
            0x30 => s.errors,
            0x34 => s.active,
            0x38 => s.issued,
            _ => 0,
        }
    }
    /// `mask` says which bits are written.
    pub fn write(&mut self, at: u64, mask: u32, v: u32, cx: &mut dyn Cx) {
        let merge = |old: u32| old & !mask | v & mask;
        let low = |old: u64| old & !0xFFFF_FFFF | u64::from(merge(old as u32));
        let high = |old: u64| old & 0xFFFF_FFFF | u64::from(merge((old >> 32) as u32)) << 32;
        match at {
            0x00 => self.s.list = low(self.s.list),
            0x04 => self.s.list = high(self.s.list),
            0x08 => self.s.received = low(self.s.received),
            0x0C => self.s.received = high(self.s.received),
            0x10 => self.s.irq &= !(v & mask),
            0x14 => self.s.enabled = merge(self.s.enabled) & irq::ALL,
            0x18 => self.write_command(merge(self.s.cmd), cx),
            0x2C => self.write_control(merge(self.s.control), cx),
            0x30 => self.s.errors &= !(v & mask),
            0x34 => self.s.active |= if self.running() { v & mask } else { 0 },
            0x38 => {
                self.s.issued |= if self.running() { v & mask } else { 0 };
                self.run(cx);
            }
            _ => {}
        }
    }
    fn running(&self) -> bool {
        self.s.cmd & cmd::START != 0
    }
    fn write_command(&mut self, v: u32, cx: &mut dyn Cx) {
        let was = self.s.cmd;
        let mut now = v & cmd::WRITABLE;
        now |= if now & cmd::RECEIVE != 0 { cmd::RECEIVING } else { 0 };
        now |= if now & cmd::START != 0 { cmd::RUNNING } else { 0 };
        self.s.cmd = now;
        if v & cmd::OVERRIDE != 0 {
            self.s.task_file &= !0x88;
        }
        if was & !now & cmd::START != 0 {
            // Stopped: the list is forgotten, and what is under way with it.
            self.give_up(cx);
            (self.s.issued, self.s.active) = (0, 0);
            (self.s.halted, self.s.next) = (false, 0);
        }
        if now & cmd::RECEIVE != 0 && self.s.silent {
            self.sign(cx);
        }
        self.run(cx);
    }
    fn write_control(&mut self, v: u32, cx: &mut dyn Cx) {
        let was = self.s.control;
        self.s.control = v;
        // COMRESET lasts while the field is 1.
        if v & 0xF == 1 && was & 0xF != 1 {
            self.give_up(cx);
            if let Some(drive) = &mut self.drive {
                drive.reset(false);
                drive.settle(cx);
            }
            (self.s.issued, self.s.active, self.s.resetting) = (0, 0, false);
            (self.s.task_file, self.s.signature, self.s.silent) = (0x7F, u32::MAX, true);
        } else if was & 0xF == 1 && v & 0xF != 1 && self.s.cmd & cmd::RECEIVE != 0 {
            self.sign(cx);
        }
    }
    /// Whatever is under way is over without an end.
    fn give_up(&mut self, cx: &mut dyn Cx) {
        if !self.s.queue.is_empty() {
            self.s.queue.clear();
            cx.ask(Request::DiskAbandon { unit: self.unit });
        }
        if self.s.slot.take().is_some()
            && let Some(drive) = &mut self.drive
        {
            drive.abandon(cx);
            drive.s.status = status::READY;
            self.s.task_file = u32::from(status::READY);
        }
    }
    /// The drive says what it is.
    fn sign(&mut self, cx: &mut dyn Cx) {
        if self.s.control & 0xF == 1 {
            return;
        }
        let Some(drive) = &self.drive else { return };
        self.s.silent = false;
        let r = &drive.s.regs;
        self.s.signature = [r.high, r.mid, r.low, r.count]
            .into_iter()
            .fold(0, |all, r| all << 8 | u32::from(r & 0xFF));
        self.say_registers(true, cx);
    }

    // Frames to the host.

    fn receive(&self, at: u64, frame: &[u8], cx: &mut dyn Cx) {
        if self.s.cmd & cmd::RECEIVE != 0 {
            // A receive area that is nowhere receives nothing.
            let _ = cx.dma().write((self.s.received & !0xFF).wrapping_add(at), frame);
        }
    }
    /// The drive's registers as they are now.
    fn say_registers(&mut self, interrupt: bool, cx: &mut dyn Cx) {
        let Some(drive) = &self.drive else { return };
        let d = &drive.s;
        self.s.task_file = u32::from(d.error) << 8 | u32::from(d.status);
        let frame = fis::register(d.status, d.error, interrupt, &d.regs);
        let failed = d.status & status::ERROR != 0;
        self.receive(fis::REGISTER_AT, &frame, cx);
        self.raise(if interrupt { irq::REGISTERS } else { 0 });
        if failed {
            self.raise(irq::TASK_FILE);
            self.s.halted = true;
        }
    }
    /// Memory that is not there.
    fn bus_error(&mut self, cx: &mut dyn Cx) {
        self.give_up(cx);
        self.s.halted = true;
        self.raise(irq::BUS_FATAL);
        cx.complain(format_args!("ahci: port {} reaches outside memory", self.unit));
    }

    // Commands.

    /// Takes commands from the list as long as one can be taken.
    fn run(&mut self, cx: &mut dyn Cx) {
        while self.running() && !self.s.halted && self.s.slot.is_none() && self.s.issued != 0 {
            if self.drive.is_none() || self.s.silent {
                return;
            }
            let from = u32::from(self.s.next & 31);
            let n = (self.s.issued.rotate_right(from).trailing_zeros() + from) & 31;
            match self.issue(n as u8, cx) {
                Ok(true) => self.s.next = (n as u8 + 1) & 31,
                Ok(false) => return,
                Err(DmaFault) => self.bus_error(cx),
            }
        }
    }
    fn header(&self, n: u8) -> u64 {
        (self.s.list & !0x3FF).wrapping_add(32 * u64::from(n))
    }
    /// Begins the command of slot `n`. False: it has to wait.
    fn issue(&mut self, n: u8, cx: &mut dyn Cx) -> Result<bool, DmaFault> {
        let mut header = [0; 16];
        cx.dma().read(self.header(n), &mut header)?;
        let header = u128::from_le_bytes(header);
        let (table, entries) = ((header >> 64) as u64 & !0x7F, (header >> 16) as u16);
        let mut frame = [0; 20];
        cx.dma().read(table, &mut frame)?;
        let slot = Slot { slot: n, table, entries, ..Slot::default() };
        let Some(frame) = FromHost::decode(&frame) else {
            self.s.issued &= !(1 << n);
            cx.complain(format_args!("ahci: port {}: a frame that is no command", self.unit));
            return Ok(true);
        };
        match frame.command {
            // No port multiplier here: nobody hears it, and nothing waits.
            _ if frame.pm_port != 0 => self.nobody(n, frame.command.is_some(), cx),
            None => {
                self.s.issued &= !(1 << n);
                self.change_control(frame.control, cx);
            }
            Some(code @ (0x60 | 0x61)) => return self.queue(code == 0x61, slot, frame.regs, cx),
            Some(_) if !self.s.queue.is_empty() => return Ok(false),
            Some(code) => {
                let Some(drive) = &mut self.drive else { return Ok(false) };
                drive.s.regs = frame.regs;
                let next = drive.command(code, cx);
                self.s.slot = Some(slot);
                self.advance(next, cx)?;
            }
        }
        Ok(true)
    }
    fn nobody(&mut self, n: u8, command: bool, cx: &mut dyn Cx) {
        if !command {
            self.s.issued &= !(1 << n);
            return;
        }
        if let Some(drive) = &mut self.drive {
            (drive.s.status, drive.s.error) = (status::FAILED, error::ABORTED);
        }
        self.say_registers(true, cx);
    }
    /// Software reset: the bit goes up, and down again.
    fn change_control(&mut self, control: u8, cx: &mut dyn Cx) {
        let reset = control & 4 != 0;
        let over = std::mem::replace(&mut self.s.resetting, reset) && !reset;
        if !over {
            return;
        }
        self.give_up(cx);
        if let Some(drive) = &mut self.drive {
            drive.soft_reset(cx);
        }
        self.sign(cx);
    }
    /// Does what the drive wants, until it has to wait.
    fn advance(&mut self, mut next: Next, cx: &mut dyn Cx) -> Result<(), DmaFault> {
        loop {
            let (Some(drive), Some(slot)) = (&mut self.drive, &mut self.s.slot) else {
                return Ok(());
            };
            let list = (slot.table, slot.entries);
            next = match next {
                Next::Done => return self.finish(cx),
                Next::Wait => {
                    self.s.task_file = u32::from(drive.s.status);
                    return Ok(());
                }
                Next::Packet => {
                    let mut packet = [0; 12];
                    cx.dma().read(slot.table.wrapping_add(0x40), &mut packet)?;
                    drive.packet(&packet, cx)
                }
                Next::Dma { out: false, .. } => {
                    slot.dma = true;
                    drive.dma_ready(cx)
                }
                Next::Dma { out: true, len } | Next::Out { len, .. } => {
                    let mut data = Buffer::any(len as usize);
                    let skip = u64::from(slot.done);
                    let n = walk(list, skip, data.len(), cx.dma(), |dma, at, range| {
                        dma.read(at, &mut data[range])
                    })?;
                    if n < data.len() {
                        drive.too_short();
                        self.raise(irq::OVERFLOW);
                        return self.finish(cx);
                    }
                    slot.done = slot.done.saturating_add(len);
                    drive.received(data, cx)
                }
                Next::In { data, .. } => match self.to_memory(&data, cx)? {
                    Some(next) => next,
                    None => return self.finish(cx),
                },
            }
        }
    }
    /// Puts data where the command wants it.
    fn to_memory(&mut self, data: &[u8], cx: &mut dyn Cx) -> Result<Option<Next>, DmaFault> {
        let (Some(drive), Some(slot)) = (&mut self.drive, &mut self.s.slot) else {
            return Ok(None);
        };
        let (list, skip) = ((slot.table, slot.entries), u64::from(slot.done));
        let n =
            walk(list, skip, data.len(), cx.dma(), |dma, at, range| dma.write(at, &data[range]))?;
        slot.done = slot.done.saturating_add(n as u32);
        if n < data.len() {
            drive.too_short();
            self.raise(irq::OVERFLOW);
            return Ok(None);
        }
        let pio = !slot.dma;
        let next = drive.moved(cx);
        if pio {
            let frame = fis::pio_setup(true, &drive.s.regs, status::READY, data.len());
            self.receive(fis::PIO_SETUP_AT, &frame, cx);
            self.raise(irq::PIO_SETUP);
        }
        Ok(Some(next))
    }
    /// The command that is not queued is over.
    fn finish(&mut self, cx: &mut dyn Cx) -> Result<(), DmaFault> {
        let Some(slot) = self.s.slot.take() else { return Ok(()) };
        let at = self.header(slot.slot).wrapping_add(4);
        cx.dma().write(at, &slot.done.to_le_bytes())?;
        self.say_registers(true, cx);
        if !self.s.halted {
            self.s.issued &= !(1 << (slot.slot & 31));
        }
        Ok(())
    }

    // Native command queueing.

    fn queue(
        &mut self,
        write: bool,
        s: Slot,
        regs: Regs,
        cx: &mut dyn Cx,
    ) -> Result<bool, DmaFault> {
        let Some(drive) = &mut self.drive else { return Ok(false) };
        let q = match drive.queued(write, &regs) {
            Ok(q) if self.s.queue.iter().all(|f| f.slot != q.slot) => q,
            other => {
                let (slot, error) = (regs.count >> 3 & 31, other.err().unwrap_or(error::ABORTED));
                self.queue_failed(slot as u8, error, regs, cx);
                return Ok(true);
            }
        };
        let op = if write {
            let mut data = Buffer::any(q.len as usize);
            let n = walk((s.table, s.entries), 0, data.len(), cx.dma(), |dma, at, range| {
                dma.read(at, &mut data[range])
            })?;
            if n < data.len() {
                self.raise(irq::OVERFLOW);
                self.queue_failed(q.slot, error::ABORTED, regs, cx);
                return Ok(true);
            }
            DiskOp::Write { at: q.at, data, fua: q.fua }
        } else {
            DiskOp::Read { at: q.at, len: q.len }
        };
        // The drive takes it, and is ready for the next.
        drive.s.regs = regs;
        (drive.s.status, drive.s.error) = (status::READY, 0);
        let tag = drive.ask(op, cx);
        let (table, entries) = (s.table, s.entries);
        let flight = Flight { slot: q.slot, tag, at: q.at, len: q.len, write, table, entries };
        self.s.queue.push(flight);
        self.s.issued &= !(1 << s.slot);
        self.say_registers(false, cx);
        if write {
            self.receive(fis::DMA_SETUP_AT, &fis::dma_setup(q.slot, false, q.len), cx);
        }
        Ok(true)
    }
    /// One failed, and all others are given up; software will ask which.
    fn queue_failed(&mut self, slot: u8, error: u8, regs: Regs, cx: &mut dyn Cx) {
        self.s.queue.clear();
        if let Some(drive) = &mut self.drive {
            drive.queue_failed(slot, error, regs, cx);
        }
        self.receive(fis::SET_BITS_AT, &fis::set_bits(status::FAILED, error, 0), cx);
        self.s.task_file = u32::from(error) << 8 | u32::from(status::FAILED);
        self.s.halted = true;
        self.raise(irq::TASK_FILE | irq::SET_BITS);
    }
    fn queued_answer(
        &mut self,
        f: &Flight,
        result: Result<Buffer, DiskError>,
        cx: &mut dyn Cx,
    ) -> Result<(), DmaFault> {
        let Some(drive) = &mut self.drive else { return Ok(()) };
        let wrong = |data: &Buffer| !f.write && data.len() != f.len as usize;
        let data = match result {
            Ok(data) if !wrong(&data) => data,
            other => {
                let why = other.err().unwrap_or(DiskError::Io);
                let (error, regs) = (drive.queued_error(why, f.write), drive.queued_regs(f.at));
                self.queue_failed(f.slot, error, regs, cx);
                return Ok(());
            }
        };
        if !f.write {
            self.receive(fis::DMA_SETUP_AT, &fis::dma_setup(f.slot, true, f.len), cx);
            let n = walk((f.table, f.entries), 0, data.len(), cx.dma(), |dma, at, range| {
                dma.write(at, &data[range])
            })?;
            if n < data.len() {
                let regs = self.drive.as_ref().map(|d| d.queued_regs(f.at)).unwrap_or_default();
                self.raise(irq::OVERFLOW);
                self.queue_failed(f.slot, error::ABORTED, regs, cx);
                return Ok(());
            }
        }
        let bit = 1 << (f.slot & 31);
        self.s.active &= !bit;
        self.receive(fis::SET_BITS_AT, &fis::set_bits(status::READY, 0, bit), cx);
        self.raise(irq::SET_BITS);
        Ok(())
    }

    // The world.

    pub fn input(&mut self, what: Input, cx: &mut dyn Cx) {
        let Some(drive) = &mut self.drive else { return };
        let ended = match what {
            Input::Medium { medium, .. } => return drive.medium(medium),
            Input::EjectRequest { .. } => return drive.eject_request(cx),
            Input::Disk { tag, result, .. } => {
                if let Some(n) = self.s.queue.iter().position(|f| f.tag == tag) {
                    let flight = self.s.queue.remove(n);
                    self.queued_answer(&flight, result, cx)
                } else if self.s.slot.is_none() {
                    Ok(())
                } else {
                    match drive.answer(tag, result, cx) {
                        Some(next) => self.advance(next, cx),
                        None => Ok(()),
                    }
                }
            }
            _ => return,
        };
        if ended.is_err() {
            self.bus_error(cx);
        }
        self.run(cx);
    }
    pub fn reset(&mut self) {
        let queued = !self.s.queue.is_empty();
        self.s = PortState::default();
        self.event = false;
        if let Some(drive) = &mut self.drive {
            drive.reset(queued);
        }
    }
    /// The host bus adapter is reset: what is asked is given up at once.
    pub fn adapter_reset(&mut self, cx: &mut dyn Cx) {
        self.reset();
        if let Some(drive) = &mut self.drive {
            drive.settle(cx);
        }
    }
    /// Whether a saved state can be lived with.
    pub fn fits(&self, s: &PortState) -> bool {
        let slot = s.slot.as_ref().is_none_or(|slot| slot.slot < 32);
        let flight = |f: &Flight| f.slot < 32 && f.len <= LONGEST;
        let there = self.drive.is_some() || s.slot.is_none() && s.queue.is_empty();
        slot && there && s.queue.len() <= 32 && s.queue.iter().all(flight)
    }
    pub fn describe(&self) -> String {
        let Some(drive) = &self.drive else { return String::new() };
        let s = &self.s;
        format!(
            "port {}: {}\n  command {:x}, task file {:x}, interrupts {:x} of {:x}, issued {:x}, active {:x}\n",
            self.unit,
            drive.describe(),
            s.cmd,
            s.task_file,
            s.irq,
            s.enabled,
            s.issued,
            s.active
        )
    }
}
