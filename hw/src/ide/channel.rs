//! One IDE channel: command block, control block, bus master.  ATA8-APT (parallel transport), chapter 9.

use super::master::{End, walk};
use crate::Bytes;
use crate::ata::{Drive, DriveConfig, Next, Regs, status};
use device::*;

/// What the drive that executes a command waits for.
mod wait {
    pub const NOTHING: u8 = 0;
    pub const DISK: u8 = 1;
    pub const DATA_IN: u8 = 2;
    pub const DATA_OUT: u8 = 3;
    /// The bus master.
    pub const MASTER: u8 = 4;
    pub const PACKET: u8 = 5;
}

/// Device control register.
mod control {
    pub const NO_INTERRUPT: u8 = 0x02;
    pub const RESET: u8 = 0x04;
    /// High-order bytes are read.
    pub const HIGH: u8 = 0x80;
}

/// Bus master status register.
mod bm {
    pub const ACTIVE: u8 = 0x01;
    pub const ERROR: u8 = 0x02;
    pub const INTERRUPT: u8 = 0x04;
}

state! {
    /// Everything the guest can see, but the drives.
    pub struct ChannelState {
        /// The drive that registers speak to, and the one that executes a command.
        1 selected: u8 = 0,
        2 active: u8 = 0,
        3 control: u8 = 0,
        /// A drive wants an interrupt; the line is up.
        4 irq: bool = false,
        5 level: bool = false,
        /// Registers where there is no drive.
        6 none: Regs = Regs { mid: 0xFF, high: 0xFF, ..Regs::default() },
        7 wait: u8 = 0,
        /// Data on its way: where the data port is, and where it has to ask again.
        8 data: Bytes = Bytes::default(),
        9 at: u32 = 0,
        10 end: u32 = 0,
        11 block: u32 = 512,
        /// The command under way uses the bus master; to the drive; so many bytes.
        12 dma: bool = false,
        13 dma_out: bool = false,
        14 dma_len: u32 = 0,
        15 bm_command: u8 = 0,
        16 bm_status: u8 = 0,
        17 bm_table: u32 = 0,
    }
}

pub struct Channel {
    pub s: ChannelState,
    pub drives: [Option<Drive>; 2],
    number: u16,
}

/// More is never on its way by PIO.
const MOST_DATA: usize = 0x4_0000;

impl Channel {
    pub fn new(number: u16, drives: [Option<DriveConfig>; 2]) -> Self {
        let mut unit = 2 * number;
        let drives = drives.map(|config| {
            let n = unit;
            unit += 1;
            config.map(|config| Drive::new(config, n, n + 1, false))
        });
        Self { s: ChannelState::default(), drives, number }
    }
    fn empty(&self) -> bool {
        self.drives.iter().all(Option::is_none)
    }
    fn selected(&self) -> Option<&Drive> {
        self.drives[usize::from(self.s.selected & 1)].as_ref()
    }
    fn active(&mut self) -> Option<&mut Drive> {
        self.drives[usize::from(self.s.active & 1)].as_mut()
    }

    // The command block.

    pub fn read(&mut self, at: u64, w: Width, cx: &mut dyn Cx) -> u64 {
        if at == 0 && w != Width::W64 {
            return self.read_data(w, cx);
        }
        let mut status = false;
        let value = join(at, w, 1, |i| {
            status |= i == 7;
            self.register(i).into()
        });
        if status {
            self.s.irq = false;
            self.tell(cx);
        }
        value
    }
    fn register(&self, at: u64) -> u8 {
        if self.empty() {
            return 0;
        }
        let drive = self.selected();
        let regs = drive.map_or(&self.s.none, |d| &d.s.regs);
        let high = self.s.control & control::HIGH != 0;
        let of = |r: u16| if high { (r >> 8) as u8 } else { r as u8 };
        match at {
            1 if high => (regs.feature >> 8) as u8,
            1 => drive.map_or(0, |d| d.s.error),
            2 => of(regs.count),
            3 => of(regs.low),
            4 => of(regs.mid),
            5 => of(regs.high),
            6 => regs.device & 0xEF | 0xA0 | self.s.selected << 4,
            7 => self.status(),
            _ => 0xFF,
        }
    }
    fn status(&self) -> u8 {
        match self.selected() {
            Some(_) if self.s.control & control::RESET != 0 => status::BUSY,
            Some(d) => d.s.status,
            None => 0,
        }
    }
    /// The status without the end of an interrupt.
    pub fn read_alternate(&self, at: u64, w: Width) -> u64 {
        if at == 0 { w.mask() & !0xFF | u64::from(self.status()) } else { w.mask() }
    }
    pub fn write(&mut self, at: u64, w: Width, value: u64, cx: &mut dyn Cx) {
        if at == 0 && w != Width::W64 {
            return self.write_data(w, value, cx);
        }
        split(at, w, 1, value, |i, _, v| self.write_register(i, v as u8, cx));
    }
    fn write_register(&mut self, at: u64, v: u8, cx: &mut dyn Cx) {
        self.s.control &= !control::HIGH;
        if at == 7 {
            return self.command(v, cx);
        }
        if at == 6 {
            self.s.selected = v >> 4 & 1;
        }
        // Both drives hear it.
        let busy = |d: &&mut Drive| d.s.status & (status::BUSY | status::DATA) == 0 || at == 6;
        let drives = self.drives.iter_mut().flatten().filter(busy).map(|d| &mut d.s.regs);
        for regs in drives.chain([&mut self.s.none]) {
            let register = match at {
                1 => &mut regs.feature,
                2 => &mut regs.count,
                3 => &mut regs.low,
                4 => &mut regs.mid,
                5 => &mut regs.high,
                6 => {
                    regs.device = v;
                    continue;
                }
                _ => continue,
            };
            *register = *register << 8 | u16::from(v);
        }
        // An absent drive has no signature but this.
        (self.s.none.mid, self.s.none.high) = (0xFF, 0xFF);
    }
    pub fn write_control(&mut self, v: u8, cx: &mut dyn Cx) {
        let (was, now) = (self.s.control & control::RESET, v & control::RESET);
        self.s.control = v & (control::NO_INTERRUPT | control::RESET | control::HIGH);
        if was != now {
            self.forget();
            (self.s.irq, self.s.selected) = (false, 0);
            self.s.bm_status &= !bm::ACTIVE;
            self.s.bm_command &= !1;
            self.drives.iter_mut().flatten().for_each(|d| d.soft_reset(cx));
        }
        self.tell(cx);
    }
    /// Nothing is on its way any more.
    fn forget(&mut self) {
        self.s.wait = wait::NOTHING;
        self.s.data.0 = Vec::new();
        (self.s.at, self.s.end, self.s.dma) = (0, 0, false);
    }
    fn command(&mut self, code: u8, cx: &mut dyn Cx) {
        let n = self.s.selected & 1;
        let under_way = self.s.wait != wait::NOTHING;
        let Some(drive) = &mut self.drives[usize::from(n)] else { return };
        if self.s.control & control::RESET != 0 {
            return;
        }
        if code == 0x08 && drive.is_cd() {
            // DEVICE RESET: it stops what the drive does, and ends without an interrupt.
            drive.soft_reset(cx);
            if !under_way || self.s.active == n {
                self.forget();
            }
            return;
        }
        if under_way {
            return cx.complain(format_args!("ide: command {code:#04x} while one is under way"));
        }
        (self.s.active, self.s.irq) = (n, false);
        let next = drive.command(code, cx);
        self.advance(next, true, cx);
        self.tell(cx);
    }

    // Commands under way.

    /// Does what the drive wants, until it has to wait. The `first` block of a write is asked for without an interrupt.
    fn advance(&mut self, mut next: Next, mut first: bool, cx: &mut dyn Cx) {
        loop {
            next = match next {
                Next::Done => {
                    self.forget();
                    self.s.irq = true;
                    return;
                }
                Next::Wait => {
                    self.s.wait = wait::DISK;
                    return;
                }
                Next::In { data, .. } if self.s.dma => match self.data_to_memory(&data, cx) {
                    Some(next) => next,
                    None => return,
                },
                Next::In { data, block } => {
                    return self.port(wait::DATA_IN, data.to_vec(), block, true);
                }
                Next::Out { len, block } => {
                    return self.port(wait::DATA_OUT, vec![0; len as usize], block, !first);
                }
                Next::Packet => return self.port(wait::PACKET, vec![0; 12], 12, false),
                Next::Dma { out, len } => {
                    self.s.wait = wait::MASTER;
                    (self.s.dma, self.s.dma_out, self.s.dma_len) = (true, out, len);
                    if self.s.bm_command & 1 == 0 {
                        return;
                    }
                    match self.master_goes(cx) {
                        Some(next) => next,
                        None => return,
                    }
                }
            };
            first = false;
        }
    }
    /// Lets data go through the data port.
    fn port(&mut self, wait: u8, data: Vec<u8>, block: u32, irq: bool) {
        (self.s.wait, self.s.block, self.s.at) = (wait, block.max(1), 0);
        self.s.data.0 = data;
        self.block(irq);
    }
    /// Begins the next block at the data port.
    fn block(&mut self, irq: bool) {
        let (at, len) = (self.s.at, self.s.data.0.len() as u32);
        self.s.end = at.saturating_add(self.s.block).min(len);
        let (n, out) = (self.s.end.saturating_sub(at), self.s.wait == wait::DATA_OUT);
        if self.s.wait != wait::PACKET
            && let Some(drive) = self.active()
        {
            drive.announce(n, out);
        }
        self.s.irq |= irq;
    }
    fn read_data(&mut self, w: Width, cx: &mut dyn Cx) -> u64 {
        if self.s.wait != wait::DATA_IN {
            return 0;
        }
        let (at, n) = (self.s.at as usize, w.bytes() as usize);
        // Beyond a block, or beyond an odd end, is nothing.
        let to = (at + n).min(self.s.end as usize);
        let mut bytes = [0; 8];
        bytes[..to - at].copy_from_slice(&self.s.data.0[at..to]);
        self.s.at = to as u32;
        if self.s.at == self.s.end {
            self.block_over(cx);
        }
        u64::from_le_bytes(bytes)
    }
    fn write_data(&mut self, w: Width, value: u64, cx: &mut dyn Cx) {
        if !matches!(self.s.wait, wait::DATA_OUT | wait::PACKET) {
            return;
        }
        let (at, n) = (self.s.at as usize, w.bytes() as usize);
        let to = (at + n).min(self.s.end as usize);
        self.s.data.0[at..to].copy_from_slice(&value.to_le_bytes()[..to - at]);
        self.s.at = to as u32;
        if self.s.at == self.s.end {
            self.block_over(cx);
        }
    }
    fn block_over(&mut self, cx: &mut dyn Cx) {
        if (self.s.at as usize) < self.s.data.0.len() {
            self.block(true);
            return self.tell(cx);
        }
        let data = std::mem::take(&mut self.s.data.0);
        let wait = self.s.wait;
        let Some(drive) = self.active() else { return };
        let next = match wait {
            wait::DATA_IN => drive.moved(cx),
            wait::PACKET => {
                let mut packet = [0; 12];
                let n = data.len().min(12);
                packet[..n].copy_from_slice(&data[..n]);
                drive.packet(&packet, cx)
            }
            _ => drive.received(data.into(), cx),
        };
        self.advance(next, false, cx);
        self.tell(cx);
    }

    // The bus master.

    pub fn read_master(&self, at: u64) -> u8 {
        match at {
            0 => self.s.bm_command,
            2 => self.s.bm_status,
            4..8 => self.s.bm_table.to_le_bytes()[at as usize - 4],
            _ => 0xFF,
        }
    }
    pub fn write_master(&mut self, at: u64, v: u8, cx: &mut dyn Cx) {
        match at {
            0 => self.start_stop(v & 0x09, cx),
            2 => {
                let kept = self.s.bm_status & (bm::ACTIVE | (bm::ERROR | bm::INTERRUPT) & !v);
                self.s.bm_status = v & 0x60 | kept;
            }
            4..8 => {
                let mut bytes = self.s.bm_table.to_le_bytes();
                bytes[at as usize - 4] = v;
                self.s.bm_table = u32::from_le_bytes(bytes) & !3;
            }
            _ => {}
        }
    }
    fn start_stop(&mut self, v: u8, cx: &mut dyn Cx) {
        let was = std::mem::replace(&mut self.s.bm_command, v);
        match (was & 1, v & 1) {
            (0, 1) => {
                self.s.bm_status |= bm::ACTIVE;
                if self.s.wait == wait::MASTER
                    && let Some(next) = self.master_goes(cx)
                {
                    self.advance(next, false, cx);
                    self.tell(cx);
                }
            }
            (1, 0) => {
                self.s.bm_status &= !bm::ACTIVE;
                // Stopped in the middle: the command fails, and the guest has to look.
                if self.s.wait == wait::DISK && self.s.dma {
                    if let Some(drive) = self.active() {
                        let _ = drive.transfer_failed(cx);
                    }
                    self.forget();
                }
            }
            _ => {}
        }
    }
    /// The drive is ready, and the bus master was started.
    fn master_goes(&mut self, cx: &mut dyn Cx) -> Option<Next> {
        if !self.s.dma_out {
            return self.active().map(|d| d.dma_ready(cx));
        }
        let mut data = Buffer::any(self.s.dma_len as usize);
        let end = walk(self.s.bm_table, data.len(), cx.dma(), |dma, at, range| {
            dma.read(at, &mut data[range])
        });
        self.walked(end, cx)?;
        self.active().map(|d| d.received(data, cx))
    }
    fn data_to_memory(&mut self, data: &[u8], cx: &mut dyn Cx) -> Option<Next> {
        let end = walk(self.s.bm_table, data.len(), cx.dma(), |dma, at, range| {
            dma.write(at, &data[range])
        });
        self.walked(end, cx)?;
        self.active().map(|d| d.moved(cx))
    }
    /// What the status says of a transfer. `None`: the command is over with it.
    fn walked(&mut self, end: Result<End, DmaFault>, cx: &mut dyn Cx) -> Option<()> {
        match end {
            Ok(End::Moved { exhausted }) => {
                if exhausted {
                    self.s.bm_status &= !bm::ACTIVE;
                }
                Some(())
            }
            Ok(End::Short) => {
                // Not active, and no interrupt: so software knows.
                self.s.bm_status &= !bm::ACTIVE;
                if let Some(drive) = self.active() {
                    drive.too_short();
                }
                self.forget();
                None
            }
            Err(DmaFault) => {
                self.s.bm_status = self.s.bm_status & !bm::ACTIVE | bm::ERROR;
                if let Some(drive) = self.active() {
                    let _ = drive.transfer_failed(cx);
                }
                self.forget();
                self.s.irq = true;
                cx.complain(format_args!("ide: bus master list or data outside memory"));
                None
            }
        }
    }

    // The world.

    pub fn input(&mut self, n: usize, what: Input, cx: &mut dyn Cx) {
        let Some(drive) = &mut self.drives[n] else { return };
        match what {
            Input::Medium { medium, .. } => drive.medium(medium),
            Input::EjectRequest { .. } => drive.eject_request(cx),
            Input::Disk { tag, result, .. } => {
                // A controller at rest has no use for an answer, nor has a drive that does not execute.
                let waits = self.s.wait == wait::DISK && usize::from(self.s.active) == n;
                if waits && let Some(next) = drive.answer(tag, result, cx) {
                    self.advance(next, false, cx);
                    self.tell(cx);
                }
            }
            _ => {}
        }
    }
    /// Sets the interrupt line. It is up while a drive wants it and software does not forbid it; the bus master notes
    /// when it rises.
    fn tell(&mut self, cx: &mut dyn Cx) {
        let level = self.s.irq && self.s.control & control::NO_INTERRUPT == 0;
        if level && !self.s.level {
            self.s.bm_status |= bm::INTERRUPT;
        }
        self.s.level = level;
        cx.irq(Pin(14 + self.number), level);
    }
    pub fn reset(&mut self) {
        self.s = ChannelState::default();
        self.drives.iter_mut().flatten().for_each(|d| d.reset(false));
    }
    pub fn settle(&mut self, cx: &mut dyn Cx) {
        self.drives.iter_mut().flatten().for_each(|d| d.settle(cx));
        self.tell(cx);
    }
    /// Whether a saved state can be lived with.
    pub fn fits(&self, s: &ChannelState) -> bool {
        let drive = &self.drives[usize::from(s.active & 1)];
        let (at, end, len) = (s.at as usize, s.end as usize, s.data.0.len());
        let port = matches!(s.wait, wait::DATA_IN | wait::DATA_OUT | wait::PACKET);
        let data = at <= end && end <= len && len <= MOST_DATA && (!port || at < end);
        let packet = s.wait != wait::PACKET || drive.as_ref().is_some_and(Drive::is_cd);
        let there = s.wait == wait::NOTHING || drive.is_some();
        data && packet
            && there
            && s.wait <= wait::PACKET
            && s.selected < 2
            && s.active < 2
            && s.block != 0
            && s.dma_len <= crate::ata::LONGEST
    }
    pub fn describe(&self) -> String {
        let s = &self.s;
        let mut out = String::new();
        for (n, drive) in self.drives.iter().enumerate() {
            let name = ["primary", "secondary"][usize::from(self.number & 1)];
            let role = ["master", "slave"][n];
            if let Some(drive) = drive {
                out += &format!("{name} {role}: {}\n", drive.describe());
            }
        }
        if !out.is_empty() {
            out += &format!(
                "  drive {} selected, irq {}, bus master command {:02x} status {:02x}\n",
                s.selected, s.irq as u8, s.bm_command, s.bm_status
            );
        }
        out
    }
}
