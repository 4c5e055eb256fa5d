//! What a CD drive says of itself and of its medium.  SPC-3 chapters 6 and 7; MMC-6 chapter 6.

use super::{BAD_FIELD, SECTOR, Sense, be16};
use crate::ata::Drive;

/// Bytes of a whole sector.
pub const RAW: usize = 2352;

/// Minute, second and frame of a sector; the first two seconds are lead-in.
fn msf(sector: u32) -> [u8; 3] {
    let n = sector.saturating_add(150);
    [(n / 75 / 60).min(255) as u8, (n / 75 % 60) as u8, (n % 75) as u8]
}

/// Whole mode 1 sectors around their data: synchronisation, address; checks are left out.
pub fn raw_sectors(at: u64, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() / SECTOR as usize * RAW);
    let bcd = |n: u8| n / 10 % 10 << 4 | n % 10;
    for (i, sector) in data.chunks(SECTOR as usize).enumerate() {
        let number = (at / SECTOR).saturating_add(i as u64);
        let [minute, second, frame] = msf(number.min(u32::MAX.into()) as u32).map(bcd);
        out.extend([0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0]);
        out.extend([minute, second, frame, 1]);
        out.extend(sector);
        out.resize((i + 1) * RAW, 0);
    }
    out
}

pub fn disc_information(p: &[u8; 12]) -> Result<Vec<u8>, Sense> {
    if p[1] & 7 != 0 {
        return Err(BAD_FIELD);
    }
    let mut d = vec![0; 34];
    // Complete, one session of one track, for any use.
    d[1..8].copy_from_slice(&[32, 0x0E, 1, 1, 1, 1, 0x20]);
    Ok(d)
}

/// `text` in `len` bytes.
fn padded(text: &str, len: usize) -> impl Iterator<Item = u8> {
    text.bytes().chain(std::iter::repeat(b' ')).take(len)
}

/// Puts the length of what follows it before the rest.
fn with_length(body: Vec<u8>) -> Vec<u8> {
    [&(body.len() as u16).to_be_bytes()[..], &body].concat()
}

impl Drive {
    pub(super) fn inquiry(&self, p: &[u8; 12]) -> Result<Vec<u8>, Sense> {
        if p[1] & 1 != 0 {
            return self.vital_page(p[2]);
        }
        if p[2] != 0 {
            return Err(BAD_FIELD);
        }
        let mut d = vec![5, 0x80, 0, 0x21, 31, 0, 0, 0];
        d.extend(padded("QEMU", 8));
        d.extend(padded(&self.config.model, 16));
        d.extend(padded(&self.config.firmware, 4));
        Ok(d)
    }
    fn vital_page(&self, page: u8) -> Result<Vec<u8>, Sense> {
        let mut d = Vec::new();
        match page {
            0 => d.extend([0, 0x80, 0x83]),
            0x80 => d.extend(padded(&self.serial(), self.serial().len().min(20))),
            0x83 => {
                let serial: Vec<u8> = padded(&self.serial(), 20).collect();
                // Vendor's name for it; then maker, model and serial number.
                d.extend([2, 0, 0, 20]);
                d.extend(&serial);
                d.extend([2, 1, 0, 68]);
                d.extend(padded("ATA", 8));
                d.extend(padded(&self.config.model, 40));
                d.extend(&serial);
                if let Some(wwn) = self.config.wwn {
                    d.extend([1, 3, 0, 8]);
                    d.extend(wwn.to_be_bytes());
                }
            }
            _ => return Err(BAD_FIELD),
        }
        Ok([vec![5, page, 0, d.len() as u8], d].concat())
    }
    pub(super) fn toc(&self, p: &[u8; 12]) -> Result<Vec<u8>, Sense> {
        let minutes = p[1] & 2 != 0;
        let address = |sector: u32| match minutes {
            true => [[0].as_slice(), &msf(sector)].concat(),
            false => sector.to_be_bytes().to_vec(),
        };
        let end = self.cd_sectors();
        // The format stood in the control byte once.
        let format = if p[2] & 0xF != 0 { p[2] & 0xF } else { p[9] >> 6 };
        let mut d = vec![1, 1];
        match format {
            0 if p[6] > 1 && p[6] != 0xAA => return Err(BAD_FIELD),
            0 => {
                if p[6] <= 1 {
                    d.extend([0, 0x14, 1, 0]);
                    d.extend(address(0));
                }
                d.extend([0, 0x16, 0xAA, 0]);
                d.extend(address(end));
            }
            // The first track of the last session.
            1 => {
                d.extend([0, 0x14, 1, 0]);
                d.extend(address(0));
            }
            // First and last track, lead-out, and the track, as on the disc.
            2 => {
                let track =
                    |point: u8, [m, s, f]: [u8; 3]| [1, 0x14, 0, point, 0, 0, 0, 0, m, s, f];
                d.extend(track(0xA0, [1, 0, 0]));
                d.extend(track(0xA1, [1, 0, 0]));
                d.extend(track(0xA2, msf(end)));
                d.extend(track(1, msf(0)));
            }
            _ => return Err(BAD_FIELD),
        }
        Ok(with_length(d))
    }
    /// GET CONFIGURATION.  MMC-6, 5.3 and 6.5.
    pub(super) fn configuration(&self, p: &[u8; 12]) -> Result<Vec<u8>, Sense> {
        let (here, dvd) = (self.present(), self.is_dvd());
        let profile: u16 = match (here, dvd) {
            (false, _) => 0,
            (_, true) => 0x10,
            (_, false) => 0x08,
        };
        let list = [0, 0x10, (profile == 0x10) as u8, 0, 0, 8, (profile == 8) as u8, 0];
        // Number, version with "persistent" and "current", contents.
        let features: [(u16, u8, &[u8]); 6] = [
            (0x00, 0x03, &list),
            // Core: ATAPI.
            (0x01, 0x0B, &[0, 0, 0, 2, 1, 0, 0, 0]),
            // Removable: a tray that can be locked and opened.
            (0x03, 0x03, &[0x29, 0, 0, 0]),
            (0x10, here as u8, &[0, 0, 8, 0, 0, 16, 1, 0]),
            (0x1E, 0x08 | (profile == 8) as u8, &[0, 0, 0, 0]),
            (0x1F, (profile == 0x10) as u8, &[]),
        ];
        let (from, how) = (be16(p, 2) as u16, p[1] & 3);
        let mut d = vec![0, 0];
        d.extend(profile.to_be_bytes());
        for (number, version, body) in features {
            let wanted = match how {
                0 => number >= from,
                1 => number >= from && version & 1 != 0,
                2 => number == from,
                _ => return Err(BAD_FIELD),
            };
            if wanted {
                d.extend(number.to_be_bytes());
                d.extend([version, body.len() as u8]);
                d.extend(body);
            }
        }
        Ok([&(d.len() as u32).to_be_bytes()[..], &d].concat())
    }
    /// GET EVENT STATUS NOTIFICATION: of the medium only, and only when asked.
    pub(super) fn event(&mut self, p: &[u8; 12]) -> Result<Vec<u8>, Sense> {
        if p[1] & 1 == 0 {
            return Err(BAD_FIELD);
        }
        if p[4] & 0x10 == 0 {
            return Ok(vec![0, 2, 0x80, 0x10]);
        }
        let s = &mut self.s.packet;
        let code = match (s.eject_event, s.new_event) {
            (true, _) => 1,
            (_, true) => 2,
            _ => 0,
        };
        (s.eject_event, s.new_event) = (s.eject_event && code != 1, s.new_event && code != 2);
        let status = (self.medium.is_some() as u8) << 1 | self.s.packet.open as u8;
        Ok(vec![0, 6, 4, 0x10, code, status, 0, 0])
    }
    pub(super) fn mode_sense(&self, page: u8) -> Result<Vec<u8>, Sense> {
        let locked = self.s.packet.locked as u8;
        let mut errors = vec![1, 6, 0, 5, 0, 0, 0, 0];
        let mut audio = vec![0x0E, 0x0E, 4, 0, 0, 0, 0, 75, 1, 0xFF, 2, 0xFF, 0, 0, 0, 0];
        // Reads CD-R, CD-RW, DVD; plays, reads mode 2 and sessions; a tray that locks; 4x, 512 KiB.
        let caps = [0x2A, 0x12, 0x0B, 0, 0x71, 0x60, 0x29 | locked << 1, 0];
        let mut caps = [&caps[..], &[2, 0xC2, 0, 2, 2, 0, 2, 0xC2, 0, 0, 0, 0]].concat();
        let mut d = match page {
            0x01 => errors,
            0x0E => audio,
            0x2A => caps,
            0x3F => {
                errors.append(&mut audio);
                errors.append(&mut caps);
                errors
            }
            _ => return Err(BAD_FIELD),
        };
        let medium = if self.present() { 1 } else { 0x70 };
        let mut head = vec![medium, 0, 0, 0, 0, 0];
        head.append(&mut d);
        Ok(with_length(head))
    }
    pub(super) fn dvd_structure(&self, p: &[u8; 12]) -> Result<Vec<u8>, Sense> {
        if p[6] != 0 {
            return Err(BAD_FIELD);
        }
        let last = self.cd_sectors().saturating_sub(1).to_be_bytes();
        let mut d = vec![0, 0];
        match p[7] {
            // DVD-ROM of 120 mm, one layer.
            0x00 => {
                d.extend([0x01, 0x0F, 0x01, 0, 0, 0, 0, 0]);
                d.extend([last, last].concat());
                d.resize(2 + 2048, 0);
            }
            // No copyright protection; nothing of the maker.
            0x01 => d.extend([0; 4]),
            0x04 => d.resize(2 + 2048, 0),
            0xFF => {
                for (format, len) in [(0u8, 2052u16), (1, 8), (4, 2052)] {
                    d.extend([format, 0x40]);
                    d.extend(len.to_be_bytes());
                }
            }
            _ => return Err(BAD_FIELD),
        }
        Ok(with_length(d))
    }
}
