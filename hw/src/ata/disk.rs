//! The commands of a disk.  ATA8-ACS, chapter 7.

use super::drive::{Drive, Job, LONGEST, Next, QueueError, Queued, Regs, What};
use super::{error, smart, status};
use device::*;

/// How data moves.
#[derive(Clone, Copy, PartialEq)]
enum How {
    Pio,
    Multiple,
    Dma,
}

/// A read or write: its code, direction, whether it takes 48 bits, how data moves, whether it is written through.
type Transfer = (u8, bool, bool, How, bool);
const TRANSFERS: [Transfer; 19] = [
    (0x20, false, false, How::Pio, false),
    (0x21, false, false, How::Pio, false),
    (0x24, false, true, How::Pio, false),
    (0x25, false, true, How::Dma, false),
    (0x29, false, true, How::Multiple, false),
    (0x30, true, false, How::Pio, false),
    (0x31, true, false, How::Pio, false),
    (0x34, true, true, How::Pio, false),
    (0x35, true, true, How::Dma, false),
    (0x39, true, true, How::Multiple, false),
    (0x3C, true, false, How::Pio, false),
    (0x3D, true, true, How::Dma, true),
    (0xC4, false, false, How::Multiple, false),
    (0xC5, true, false, How::Multiple, false),
    (0xC8, false, false, How::Dma, false),
    (0xC9, false, false, How::Dma, false),
    (0xCA, true, false, How::Dma, false),
    (0xCB, true, false, How::Dma, false),
    (0xCE, true, true, How::Multiple, true),
];

impl Drive {
    pub(super) fn disk_command(&mut self, code: u8, cx: &mut dyn Cx) -> Next {
        if self.s.asleep {
            return self.abort();
        }
        if let Some(transfer) = TRANSFERS.iter().find(|t| t.0 == code) {
            return self.transfer(*transfer, cx);
        }
        match code {
            0xEC => {
                let data = self.identify();
                self.reply(data)
            }
            0x06 => self.data_set_management(cx),
            0x2F => self.read_log(),
            // RECALIBRATE, and INITIALIZE DEVICE PARAMETERS.
            0x10..=0x1F => self.done(),
            0x91 => {
                let r = &self.s.regs;
                (self.s.heads, self.s.sectors) = (Some((r.device & 0xF) + 1), Some(r.count as u8));
                self.done()
            }
            0x40 | 0x41 | 0x70..=0x7F => self.verify(false, code < 0x70),
            0x42 => self.verify(true, true),
            0x90 => self.diagnose(),
            0xB0 => self.smart(),
            0xC6 => self.set_multiple(),
            0xE7 | 0xEA => self.flush(cx),
            0xEF => self.set_features(cx),
            0x27 | 0xF8 => self.native_max(code == 0x27),
            // SECURITY FREEZE LOCK is harmless.
            0xF5 => self.done(),
            _ => self.power(code).unwrap_or_else(|| self.abort()),
        }
    }
    /// EXECUTE DEVICE DIAGNOSTIC: passed.
    pub(super) fn diagnose(&mut self) -> Next {
        self.sign();
        let next = self.done();
        self.s.error = 1;
        next
    }
    /// STANDBY, IDLE, SLEEP, CHECK POWER MODE, with their old codes.
    pub(super) fn power(&mut self, code: u8) -> Option<Next> {
        match code {
            0x94 | 0x96 | 0xE0 | 0xE2 => self.s.standby = true,
            0x95 | 0x97 | 0xE1 | 0xE3 => self.s.standby = false,
            0x98 | 0xE5 => self.s.regs.count = if self.s.standby { 0 } else { 0xFF },
            0x99 | 0xE6 => self.s.asleep = true,
            _ => return None,
        }
        Some(self.done())
    }

    // Addresses.

    fn sector_count(&self, ext: bool) -> u32 {
        match (ext, self.s.regs.count) {
            (true, 0) => 0x1_0000,
            (true, n) => n.into(),
            (false, n) if n & 0xFF == 0 => 0x100,
            (false, n) => u32::from(n & 0xFF),
        }
    }
    /// The sector that the registers name; `None` if cylinder, head and sector are of none.
    fn sector(&self, ext: bool) -> Option<u64> {
        let r = &self.s.regs;
        if ext {
            return Some(r.lba48());
        }
        let low = u64::from(r.low & 0xFF);
        let cylinder = u64::from(r.high & 0xFF) << 8 | u64::from(r.mid & 0xFF);
        let head = u64::from(r.device & 0xF);
        if r.device & 0x40 != 0 {
            return Some(head << 24 | cylinder << 8 | low);
        }
        let g = self.translation();
        let there = low != 0 && low <= g.sectors.into() && head < g.heads.into();
        there.then(|| (cylinder * u64::from(g.heads) + head) * u64::from(g.sectors) + low - 1)
    }
    /// The bytes of so many sectors.
    fn range(&self, sector: Option<u64>, count: u32) -> Option<(u64, u32)> {
        let sector = sector?;
        let end = sector.checked_add(count.into())?;
        let len = u64::from(count) * u64::from(self.block());
        let fits = end <= self.sectors() && len <= LONGEST.into();
        fits.then(|| (sector * u64::from(self.block()), len as u32))
    }
    fn verify(&mut self, ext: bool, counted: bool) -> Next {
        let n = if counted { self.sector_count(ext) } else { 1 };
        match self.range(self.sector(ext), n) {
            Some(_) => self.done(),
            None => self.fail(error::NOT_FOUND),
        }
    }

    // Data.

    fn transfer(&mut self, (_, write, ext, how, fua): Transfer, cx: &mut dyn Cx) -> Next {
        let Some(medium) = &self.medium else { return self.abort() };
        if write && medium.read_only || how == How::Multiple && self.s.multiple == 0 {
            return self.abort();
        }
        let Some((at, left)) = self.range(self.sector(ext), self.sector_count(ext)) else {
            return self.fail(error::NOT_FOUND);
        };
        self.s.standby = false;
        let many = if how == How::Multiple { u32::from(self.s.multiple) } else { 1 };
        let what = if write { What::Write } else { What::Read };
        let (block, dma) = (self.block().saturating_mul(many), how == How::Dma);
        self.start(Job { what, at, left, block, dma, fua, ..Job::default() }, cx)
    }
    /// The disk did not do what the command under way needed.
    pub(super) fn disk_failed(&mut self, why: DiskError) -> Next {
        let Some(job) = self.s.job.as_ref() else { return self.abort() };
        if job.packet {
            return self.cd_failed(why);
        }
        let (at, read) = (job.at / u64::from(self.block()), job.what == What::Read);
        self.blame(at);
        self.fail(error_of(why, read))
    }
    /// Names the sector that failed.
    fn blame(&mut self, sector: u64) {
        let r = &mut self.s.regs;
        r.set_lba48(sector);
        r.device = r.device & 0xF0 | (sector >> 24 & 0xF) as u8;
    }
    fn flush(&mut self, cx: &mut dyn Cx) -> Next {
        if self.medium.is_none() {
            return self.done();
        }
        self.s.job = Some(Job { what: What::Flush, ..Job::default() });
        self.ask_all([DiskOp::Flush], cx)
    }
    /// DATA SET MANAGEMENT, whose only use is TRIM.
    fn data_set_management(&mut self, cx: &mut dyn Cx) -> Next {
        let can = self.medium.as_ref().is_some_and(|m| !m.read_only);
        let blocks = u32::from(self.s.regs.count);
        if !can || self.s.regs.feature & 0xFF != 1 || !(1..=8).contains(&blocks) {
            return self.abort();
        }
        let left = 512 * blocks;
        self.start(Job { what: What::Trim, left, dma: true, ..Job::default() }, cx)
    }
    /// The ranges of a TRIM: 48 bits of sector, 16 bits of length.
    pub(super) fn trim(&mut self, data: &[u8], cx: &mut dyn Cx) -> Next {
        let mut ops = Vec::new();
        for entry in data.as_chunks::<8>().0 {
            let entry = u64::from_le_bytes(*entry);
            let (sector, count) = (entry & 0xFFFF_FFFF_FFFF, entry >> 48);
            if count == 0 {
                continue;
            }
            if sector + count > self.sectors() {
                return self.fail(error::NOT_FOUND);
            }
            let block = u64::from(self.block());
            ops.push(DiskOp::Discard { at: sector * block, len: count * block });
        }
        if ops.is_empty() { self.done() } else { self.ask_all(ops, cx) }
    }

    // Settings.

    fn set_multiple(&mut self) -> Next {
        let n = self.s.regs.count as u8;
        if n > 16 || n != 0 && !n.is_power_of_two() {
            return self.abort();
        }
        self.s.multiple = n;
        self.done()
    }
    fn native_max(&mut self, ext: bool) -> Next {
        let last = self.sectors().saturating_sub(1);
        if ext {
            self.s.regs.set_lba48(last);
            return self.done();
        }
        self.blame(last.min(0x0FFF_FFFF));
        self.done()
    }
    pub(super) fn set_features(&mut self, cx: &mut dyn Cx) -> Next {
        match self.s.regs.feature as u8 {
            0x02 => self.s.cache = Some(true),
            0x82 => {
                self.s.cache = Some(false);
                return self.flush(cx);
            }
            0x03 if !self.set_mode() => return self.abort(),
            0xAA => self.s.look_ahead = true,
            0x55 => self.s.look_ahead = false,
            // Power and noise, keeping settings over resets, the length of vendor data: taken, without effect.
            0x03 | 0x05 | 0x85 | 0x42 | 0xC2 | 0x66 | 0xCC | 0x67 | 0x69 | 0x96 | 0x9A => {}
            _ => return self.abort(),
        }
        self.done()
    }
    /// PIO modes, multiple-word DMA 0 to 2, ultra DMA 0 to 5.
    pub(super) fn set_mode(&mut self) -> bool {
        let mode = self.s.regs.count as u8;
        let known = matches!(mode, 0 | 1 | 0x08..=0x0C | 0x10..=0x12 | 0x20..=0x22 | 0x40..=0x45);
        if known {
            self.s.mode = mode;
        }
        known
    }

    // Logs and queueing.

    /// READ LOG EXT.  ATA8-ACS 7.23, annex A.
    fn read_log(&mut self) -> Next {
        let (number, page) = (self.s.regs.low as u8, self.s.regs.mid);
        if page != 0 || self.s.regs.count != 1 {
            return self.abort();
        }
        let mut data = vec![0; 512];
        match number {
            0 => {
                data[0] = 1;
                let logs: &[usize] = if self.sata { &[1, 6, 0x10] } else { &[1, 6] };
                logs.iter().for_each(|n| data[2 * n] = 1);
            }
            0x10 if self.sata => {
                self.queue_log(&mut data);
                // Having been read, it is forgotten.
                self.s.queue_error = None;
            }
            n => match self.s.smart.log(n) {
                Some(page) => data = page,
                None => return self.abort(),
            },
        }
        self.reply(data)
    }
    /// Log 10h: which queued command failed.
    fn queue_log(&self, data: &mut [u8]) {
        match &self.s.queue_error {
            Some(QueueError { slot, error, regs }) => {
                let [low, mid, high] = [regs.low, regs.mid, regs.high].map(u16::to_le_bytes);
                data[0] = slot & 0x1F;
                (data[2], data[3]) = (status::FAILED, *error);
                (data[4], data[5], data[6]) = (low[0], mid[0], high[0]);
                data[7] = regs.device;
                (data[8], data[9], data[10]) = (low[1], mid[1], high[1]);
                data[12..14].copy_from_slice(&regs.count.to_le_bytes());
            }
            None => data[0] = 0x80,
        }
        smart::checksum(data);
    }
    /// READ or WRITE FPDMA QUEUED with these registers; or the error.
    pub fn queued(&self, write: bool, regs: &Regs) -> Result<Queued, u8> {
        let Some(medium) = &self.medium else { return Err(error::ABORTED) };
        if self.is_cd() || self.s.asleep || write && medium.read_only {
            return Err(error::ABORTED);
        }
        let count = if regs.feature == 0 { 0x1_0000 } else { regs.feature.into() };
        let (at, len) = self.range(Some(regs.lba48()), count).ok_or(error::NOT_FOUND)?;
        let fua = write && (regs.device & 0x80 != 0 || self.through());
        Ok(Queued { slot: (regs.count >> 3 & 31) as u8, write, fua, at, len })
    }
    /// A queued command failed: all others are over as well.
    pub fn queue_failed(&mut self, slot: u8, error: u8, regs: Regs, cx: &mut dyn Cx) {
        cx.ask(Request::DiskAbandon { unit: self.unit });
        (self.s.status, self.s.error) = (status::FAILED, error);
        self.s.queue_error = Some(QueueError { slot, error, regs });
    }
    /// The error register for what the disk says of a queued command.
    pub fn queued_error(&self, why: DiskError, write: bool) -> u8 {
        error_of(why, !write)
    }
    /// Where a queued command failed, as the registers say it.
    pub fn queued_regs(&self, at: u64) -> Regs {
        let mut regs = Regs { device: 0x40, count: 0, ..Regs::default() };
        regs.set_lba48(at / u64::from(self.block()));
        regs
    }
}

fn error_of(why: DiskError, read: bool) -> u8 {
    match why {
        DiskError::Io if read => error::UNCORRECTABLE,
        DiskError::Range => error::NOT_FOUND,
        _ => error::ABORTED,
    }
}
