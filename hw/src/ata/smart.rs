//! SMART: what a drive thinks of its health, and logs.  ATA8-ACS 7.52, annex A.

use super::drive::{Drive, Next};
use device::*;

state! {
    /// What SMART remembers.
    pub struct Smart {
        1 on: bool = true,
        2 autosave: bool = true,
        /// Self-tests so far, and the kind of each of the last 21, the newest last.
        3 tests: Vec<u8> = Vec::new(),
        4 done: u32 = 0,
    }
}

/// Attributes: number, flags, value, worst, raw, threshold.
const ATTRIBUTES: [(u8, u16, u8, u64, u8); 6] = [
    // Raw read errors, spin-up time, starts, reallocated sectors, hours, power cycles; then the temperature.
    (1, 0x0003, 100, 0, 6),
    (3, 0x0003, 100, 16, 0),
    (4, 0x0002, 100, 100, 20),
    (5, 0x0003, 100, 0, 36),
    (9, 0x0003, 100, 1, 0),
    (12, 0x0003, 100, 0, 0),
];
/// Like the rest, at 31 degrees.
const TEMPERATURE: (u8, u16, u8, u64, u8) = (190, 0x0003, 69, 0x1F_001F_001F, 50);

/// The last byte makes the sum zero.
pub(super) fn checksum(page: &mut [u8]) {
    if let Some((last, rest)) = page.split_last_mut() {
        *last = rest.iter().fold(0u8, |sum, b| sum.wrapping_add(*b)).wrapping_neg();
    }
}

/// How many self-tests the log holds.
const LOGGED: usize = 21;

impl Smart {
    fn attributes() -> impl Iterator<Item = (u8, u16, u8, u64, u8)> {
        ATTRIBUTES.into_iter().chain([TEMPERATURE])
    }
    fn data(&self) -> Vec<u8> {
        let mut page = vec![0; 512];
        page[0] = 1;
        for (i, (id, flags, value, raw, _)) in Self::attributes().enumerate() {
            let row = &mut page[2 + 12 * i..14 + 12 * i];
            row[0] = id;
            row[1..3].copy_from_slice(&flags.to_le_bytes());
            (row[3], row[4]) = (value, value);
            row[5..11].copy_from_slice(&raw.to_le_bytes()[..6]);
        }
        // Off-line collection done, 288 s; self-tests; autosave; logs; 2 and 54 minutes.
        page[362] = 0x82;
        page[364..366].copy_from_slice(&288u16.to_le_bytes());
        page[367] = 0x19;
        page[368..370].copy_from_slice(&3u16.to_le_bytes());
        page[370] = 1;
        (page[372], page[373], page[374]) = (2, 54, 1);
        checksum(&mut page);
        page
    }
    fn thresholds() -> Vec<u8> {
        let mut page = vec![0; 512];
        page[0] = 1;
        for (i, (id, _, _, _, threshold)) in Self::attributes().enumerate() {
            (page[2 + 12 * i], page[3 + 12 * i]) = (id, threshold);
        }
        checksum(&mut page);
        page
    }
    /// The self-test log: newest at the index in byte 508.
    fn self_tests(&self) -> Vec<u8> {
        let mut page = vec![0; 512];
        page[0] = 1;
        let first = self.done as usize - self.tests.len().min(self.done as usize);
        for (i, kind) in self.tests.iter().enumerate() {
            let at = 2 + 24 * ((first + i) % LOGGED);
            // Done without error, in its first hour.
            (page[at], page[at + 1]) = (*kind, 0);
            page[at + 2..at + 4].copy_from_slice(&1u16.to_le_bytes());
        }
        if let Some(last) = self.done.checked_sub(1) {
            page[508] = (last as usize % LOGGED) as u8 + 1;
        }
        checksum(&mut page);
        page
    }
    /// A SMART log of one sector.
    pub(super) fn log(&self, number: u8) -> Option<Vec<u8>> {
        let mut page = vec![0; 512];
        match number {
            // The directory: its version, then one sector each for the two logs there are.
            0 => (page[0], page[2], page[12]) = (1, 1, 1),
            // Errors: none so far.
            1 => {
                page[0] = 1;
                checksum(&mut page);
            }
            6 => return Some(self.self_tests()),
            _ => return None,
        }
        Some(page)
    }
    fn test(&mut self, kind: u8) {
        self.tests.push(kind);
        if self.tests.len() > LOGGED {
            self.tests.remove(0);
        }
        self.done = self.done.saturating_add(1);
    }
    pub(super) fn fits(&self) -> bool {
        self.tests.len() <= LOGGED && self.done as usize >= self.tests.len()
    }
}

impl Drive {
    /// SMART, by its subcommand in the feature register.
    pub(super) fn smart(&mut self) -> Next {
        let regs = &self.s.regs;
        let (sub, log, count) = (regs.feature as u8, regs.low as u8, regs.count as u8);
        let key = (regs.mid as u8, regs.high as u8) == (0x4F, 0xC2);
        if !key || !self.s.smart.on && sub != 0xD8 {
            return self.abort();
        }
        match sub {
            0xD0 => self.reply(self.s.smart.data()),
            0xD1 => self.reply(Smart::thresholds()),
            0xD2 if matches!(count, 0 | 0xF1) => {
                self.s.smart.autosave = count != 0;
                self.done()
            }
            0xD3 => self.done(),
            // Off-line collection and self-tests are over at once; 0x7F stops one.
            0xD4 => match log {
                0 | 0x7F | 0x81..=0x84 => self.done(),
                1 | 2 => {
                    self.s.smart.test(log);
                    self.done()
                }
                _ => self.abort(),
            },
            0xD5 => match self.s.smart.log(log) {
                Some(page) if count == 1 => self.reply(page),
                _ => self.abort(),
            },
            0xD8 | 0xD9 => {
                self.s.smart.on = sub == 0xD8;
                self.done()
            }
            // The key as it was: no threshold is exceeded.
            0xDA => self.done(),
            0xDB => self.done(),
            _ => self.abort(),
        }
    }
}
