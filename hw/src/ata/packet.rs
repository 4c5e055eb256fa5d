//! A CD drive: packet commands.  ATA8-ACS 7.21; MMC-6; SPC-3.

mod replies;

use super::drive::{Drive, Job, Next, What};
use crate::Bytes;
use device::*;
pub(super) use replies::raw_sectors;

/// Bytes of a sector's data.
pub(super) const SECTOR: u64 = 2048;
/// The most sectors of one command.
const MOST: u32 = 0xFFFF;

state! {
    /// What a CD drive remembers.
    pub struct PacketState {
        /// Sense key and the two bytes of additional sense.
        1 sense: [u8; 3] = [0; 3],
        2 locked: bool = false,
        3 open: bool = false,
        /// A new medium: 1, nobody was told; 2, somebody saw the drive empty.
        4 changed: u8 = 0,
        5 new_event: bool = false,
        6 eject_event: bool = false,
        /// Whether there was a medium when the world last said so.
        7 had: Option<bool> = None,
    }
}

impl PacketState {
    pub(super) fn after_reset(&self) -> Self {
        Self { open: self.open, had: self.had, ..Self::default() }
    }
    pub(super) fn describe(&self) -> &'static str {
        match (self.open, self.locked) {
            (true, _) => ", tray open",
            (_, true) => ", tray locked",
            _ => "",
        }
    }
}

/// Sense key, additional sense code and its qualifier.
type Sense = [u8; 3];
const NOT_PRESENT: Sense = [2, 0x3A, 0];
const READ_ERROR: Sense = [3, 0x11, 0];
const BAD_COMMAND: Sense = [5, 0x20, 0];
const OUT_OF_RANGE: Sense = [5, 0x21, 0];
pub(super) const BAD_FIELD: Sense = [5, 0x24, 0];
const NOT_SAVED: Sense = [5, 0x39, 0];
const CHANGED: Sense = [6, 0x28, 0];
const WRONG_MEDIUM: Sense = [5, 0x30, 0];

/// What a command minds: a changed medium, a missing one.
fn minds(command: u8) -> (bool, bool) {
    let change = !matches!(command, 0x03 | 0x12 | 0x46 | 0x4A);
    let ready = [0x00, 0x25, 0x28, 0x2B, 0x43, 0x51, 0xA8, 0xAD, 0xBE].contains(&command);
    (change, ready)
}

fn be16(from: &[u8], at: usize) -> usize {
    usize::from(from[at]) << 8 | usize::from(from[at + 1])
}
fn be32(from: &[u8], at: usize) -> u32 {
    (be16(from, at) as u32) << 16 | be16(from, at + 2) as u32
}

impl Drive {
    /// A command in the registers.
    pub(super) fn cd_command(&mut self, code: u8) -> Next {
        match code {
            0xA0 => {
                let dma = self.s.regs.feature & 1 != 0;
                let job = Job { what: What::Packet, packet: true, dma, ..Job::default() };
                self.s.job = Some(job);
                Next::Packet
            }
            0xA1 => {
                let data = self.identify();
                self.reply(data)
            }
            // Who asks for a disk, learns that this is none.
            0xEC | 0x20 | 0x21 => {
                self.sign();
                self.abort()
            }
            0x90 => self.diagnose(),
            0xE7 => self.done(),
            0xEF => match self.s.regs.feature as u8 {
                0x03 if self.set_mode() => self.done(),
                0x02 | 0x82 | 0x55 | 0xAA | 0x66 | 0xCC | 0x05 | 0x85 => self.done(),
                _ => self.abort(),
            },
            _ => self.power(code).unwrap_or_else(|| self.abort()),
        }
    }
    fn present(&self) -> bool {
        self.medium.is_some() && !self.s.packet.open
    }
    fn cd_sectors(&self) -> u32 {
        let len = self.medium.as_ref().map_or(0, |m| m.len);
        (len / SECTOR).min(u32::MAX.into()) as u32
    }
    /// The end of a packet command with this sense.
    fn sense(&mut self, sense: Sense) -> Next {
        self.s.packet.sense = sense;
        self.s.regs.count = self.s.regs.count & 0xF8 | 3;
        self.fail(sense[0] << 4)
    }
    pub(super) fn cd_failed(&mut self, why: DiskError) -> Next {
        self.sense(match why {
            DiskError::NoMedium => NOT_PRESENT,
            DiskError::Range => OUT_OF_RANGE,
            _ => READ_ERROR,
        })
    }
    /// How many bytes PIO moves at once.
    fn limit(&self, len: u32) -> u32 {
        let r = &self.s.regs;
        match u32::from(r.mid & 0xFF) | u32::from(r.high & 0xFF) << 8 {
            0 | 0xFFFF => 0xFFFE,
            // More than one block: each but the last is even.
            n if len > n => (n & !1).max(2),
            n => n,
        }
    }
    /// A reply, cut to what the host has room for.
    fn give(&mut self, mut data: Vec<u8>, room: usize, cx: &mut dyn Cx) -> Next {
        data.truncate(room);
        let (left, dma) = (data.len() as u32, self.s.job.as_ref().is_some_and(|j| j.dma));
        let block = self.limit(left);
        let (what, reply) = (What::Reply, Bytes(data));
        self.start(Job { what, left, dma, block, packet: true, reply, ..Job::default() }, cx)
    }
    pub(super) fn packet_command(&mut self, p: &[u8; 12], cx: &mut dyn Cx) -> Next {
        let (change, ready) = minds(p[0]);
        if change && self.present() && self.s.packet.changed != 0 {
            // A guest that looks has to see the drive empty, then that the medium is another.
            let first = self.s.packet.changed == 1;
            self.s.packet.changed = if first { 2 } else { 0 };
            return self.sense(if first { NOT_PRESENT } else { CHANGED });
        }
        if ready && !self.present() {
            return self.sense(NOT_PRESENT);
        }
        match p[0] {
            // SET CD SPEED, and TEST UNIT READY, for what is.
            0x00 | 0xBB => self.done(),
            0x2B if be32(p, 2) < self.cd_sectors() => self.done(),
            0x2B => self.sense(OUT_OF_RANGE),
            0x1B => self.start_stop(p[4], cx),
            0x1E => {
                self.s.packet.locked = p[4] & 1 != 0;
                self.tell_lock(cx);
                self.done()
            }
            0x28 => self.read_cd(be32(p, 2), be16(p, 7) as u32, false, cx),
            0xA8 => self.read_cd(be32(p, 2), be32(p, 6), false, cx),
            0xBE => {
                let count = be32(p, 5) & 0xFF_FFFF;
                match p[9] & 0xF8 {
                    0 => self.done(),
                    0x10 => self.read_cd(be32(p, 2), count, false, cx),
                    0xF8 => self.read_cd(be32(p, 2), count, true, cx),
                    _ => self.sense(BAD_FIELD),
                }
            }
            _ => self.inform(p, cx),
        }
    }
    /// Commands that are answered with a few bytes.
    fn inform(&mut self, p: &[u8; 12], cx: &mut dyn Cx) -> Next {
        let (data, room) = match p[0] {
            0x03 => {
                let [key, code, qualifier] = std::mem::take(&mut self.s.packet.sense);
                let head = [0x70 | 0x80, 0, key, 0, 0, 0, 0, 10, 0, 0, 0, 0, code, qualifier];
                (Ok([&head[..], &[0; 4]].concat()), p[4].into())
            }
            0x12 => (self.inquiry(p), be16(p, 3)),
            0x25 => {
                let last = self.cd_sectors().saturating_sub(1);
                (Ok([last.to_be_bytes(), (SECTOR as u32).to_be_bytes()].concat()), 8)
            }
            0x43 => (self.toc(p), be16(p, 7)),
            0x46 => (self.configuration(p), be16(p, 7)),
            0x4A => (self.event(p), be16(p, 7)),
            0x51 => (replies::disc_information(p), be16(p, 7)),
            0x5A if p[2] >> 6 == 3 => (Err(NOT_SAVED), 0),
            0x5A => (self.mode_sense(p[2] & 0x3F), be16(p, 7)),
            0xAD if !self.is_dvd() => (Err(WRONG_MEDIUM), 0),
            0xAD => (self.dvd_structure(p), be16(p, 8)),
            0xBD => (Ok(vec![0, 0, 0, 0, 0, 1, 0, 0]), be16(p, 8)),
            _ => (Err(BAD_COMMAND), 0),
        };
        match data {
            Ok(data) => self.give(data, room, cx),
            Err(sense) => self.sense(sense),
        }
    }
    /// More than a CD can hold: 80 minutes.
    fn is_dvd(&self) -> bool {
        self.cd_sectors() > 80 * 60 * 75
    }
    fn read_cd(&mut self, sector: u32, count: u32, raw: bool, cx: &mut dyn Cx) -> Next {
        if count == 0 {
            return self.done();
        }
        let end = sector.checked_add(count).filter(|end| *end <= self.cd_sectors());
        if end.is_none() {
            return self.sense(OUT_OF_RANGE);
        }
        // Raw sectors are put together here: fewer at once.
        if count > MOST || raw && count > 1024 {
            return self.sense(BAD_FIELD);
        }
        let dma = self.s.job.as_ref().is_some_and(|j| j.dma);
        let (at, left) = (u64::from(sector) * SECTOR, count * SECTOR as u32);
        let what = if raw { What::ReadRaw } else { What::Read };
        let size = if raw { count * replies::RAW as u32 } else { left };
        let block = self.limit(size);
        self.start(Job { what, at, left, dma, block, packet: true, ..Job::default() }, cx)
    }

    // The tray.

    fn start_stop(&mut self, how: u8, cx: &mut dyn Cx) -> Next {
        // Power conditions, and starting and stopping alone, do not move the tray.
        if how >> 4 != 0 || how & 2 == 0 {
            return self.done();
        }
        let open = how & 1 == 0;
        if open && !self.s.packet.open && self.s.packet.locked {
            return self.sense([if self.medium.is_some() { 2 } else { 5 }, 0x53, 2]);
        }
        self.move_tray(open, cx);
        self.done()
    }
    fn move_tray(&mut self, open: bool, cx: &mut dyn Cx) {
        if self.s.packet.open != open {
            self.s.packet.open = open;
            self.ask(DiskOp::Tray { open }, cx);
        }
    }
    pub(super) fn tell_lock(&mut self, cx: &mut dyn Cx) {
        if self.told_lock != self.s.packet.locked {
            self.told_lock = self.s.packet.locked;
            self.ask(DiskOp::Lock(self.told_lock), cx);
        }
    }
    /// What is in the drive now.
    pub fn medium(&mut self, medium: Option<Medium>) {
        let now = medium.is_some();
        let first = !std::mem::replace(&mut self.told, true);
        self.medium = medium;
        let had = self.s.packet.had.replace(now);
        // The first word of it is no news, unless what was saved says otherwise; that it is still empty never is.
        let known = first && had.is_none_or(|had| had == now);
        if !self.is_cd() || known || !now && had == Some(false) {
            return;
        }
        let p = &mut self.s.packet;
        p.open = !now;
        if now {
            (p.changed, p.new_event, p.eject_event) = (1, true, false);
        }
    }
    /// The user wants the medium out: a locked drive asks the guest.
    pub fn eject_request(&mut self, cx: &mut dyn Cx) {
        if !self.is_cd() {
            return;
        }
        if self.s.packet.locked {
            self.s.packet.eject_event = true;
        } else {
            self.move_tray(true, cx);
        }
    }
}
