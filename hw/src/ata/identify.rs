//! IDENTIFY DEVICE and IDENTIFY PACKET DEVICE.  ATA8-ACS 7.16, 7.17.

use super::{Drive, Kind};

/// 256 words.
struct Words([u8; 512]);

impl Words {
    fn set(&mut self, n: usize, v: u16) {
        self.0[2 * n..2 * n + 2].copy_from_slice(&v.to_le_bytes());
    }
    fn set_all(&mut self, rows: &[(usize, u16)]) {
        rows.iter().for_each(|(n, v)| self.set(*n, *v));
    }
    /// The low word comes first.
    fn set_long(&mut self, n: usize, words: usize, v: u64) {
        (0..words).for_each(|i| self.set(n + i, (v >> (16 * i)) as u16));
    }
    /// The first character is in the high byte; blanks fill.
    fn text(&mut self, n: usize, words: usize, text: &str) {
        let mut bytes = text.bytes().chain(std::iter::repeat(b' '));
        for i in 0..words {
            let (high, low) = (bytes.next().unwrap_or(b' '), bytes.next().unwrap_or(b' '));
            self.set(n + i, u16::from_be_bytes([high, low]));
        }
    }
}

/// Multiple-word and ultra DMA: which modes there are, and which is chosen.
fn modes(chosen: u8) -> [(usize, u16); 3] {
    let bit = |from: u8| 1u16 << (8 + u16::from(chosen & 7).min(7)) & (from as u16) << 8;
    let (multi, ultra) = match chosen >> 3 {
        4 => (bit(0x07), 0),
        8 => (0, bit(0x3F)),
        _ => (0, 0),
    };
    [(62, 0x07), (63, 0x07 | multi), (88, 0x3F | ultra)]
}

impl Drive {
    fn names(&self, w: &mut Words) {
        let c = &self.config;
        w.text(10, 10, &self.serial());
        w.text(23, 4, &c.firmware);
        w.text(27, 20, &c.model);
        // A buffer of 256 KiB; four bytes for READ LONG, which is long gone.
        w.set_all(&[(20, 3), (21, 512), (22, 4)]);
        w.set_all(&modes(self.s.mode));
    }
    /// The 512 bytes that the drive says of itself.
    pub(super) fn identify(&self) -> Vec<u8> {
        let mut w = Words([0; 512]);
        self.names(&mut w);
        match self.config.kind {
            Kind::Disk => {
                self.disk_words(&mut w);
                self.feature_words(&mut w);
            }
            Kind::Cd => w.set_all(&[
                // A removable CD drive that takes 12-byte packets and is ready for them within 50 us.
                (0, 0x85C0),
                (48, 1),
                (49, 0x0300),
                (53, 7),
                (64, 3),
                (65, 0xB4),
                (66, 0xB4),
                (67, 0x12C),
                (68, 0xB4),
                (71, 30),
                (72, 30),
                (80, 0x1E),
            ]),
        }
        w.0.to_vec()
    }
    fn disk_words(&self, w: &mut Words) {
        let (sectors, g, now) = (self.sectors(), self.geometry(), self.translation());
        let capacity = u64::from(now.cylinders * now.heads * now.sectors);
        w.set_all(&[
            (0, 0x0040),
            (1, g.cylinders as u16),
            (3, g.heads as u16),
            (4, (512 * g.sectors) as u16),
            (5, 512),
            (6, g.sectors as u16),
            (47, 0x8010),
            (48, 1),
            // DMA, LBA, IORDY.
            (49, 0x0B00),
            (51, 0x200),
            (52, 0x200),
            (53, 7),
            (54, now.cylinders as u16),
            (55, now.heads as u16),
            (56, now.sectors as u16),
            (59, if self.s.multiple != 0 { 0x100 | u16::from(self.s.multiple) } else { 0 }),
            (64, 3),
            (65, 120),
            (66, 120),
            (67, 120),
            (68, 120),
        ]);
        w.set_long(57, 2, capacity);
        w.set_long(60, 2, sectors.min(0x0FFF_FFFF));
        w.set_long(100, 4, sectors);
        let (block, physical) = (self.block(), self.physical());
        let exponent = (physical / block).max(1).trailing_zeros() as u16;
        let big = if block != 512 { 0x1000 } else { 0 };
        w.set(106, 0x6000 | big | exponent.min(15));
        if block != 512 {
            w.set_long(117, 2, u64::from(block / 2));
        }
        w.set(217, self.config.rotation);
    }
    fn feature_words(&self, w: &mut Words) {
        let wwn = if self.config.wwn.is_some() { 0x100 } else { 0 };
        // General purpose logs, FUA, SMART's error log and self-test.
        let logs = 0x4063 | wwn;
        // NOP, write cache, look-ahead, SMART; FLUSH CACHE (EXT), 48 bits.
        let on = 0x4000
            | (self.look_ahead() as u16) << 6
            | (self.write_cache() as u16) << 5
            | self.s.smart.on as u16;
        w.set_all(&[
            (80, 0xF0),
            (81, 0x16),
            (82, 0x4061),
            (83, 0x7400),
            (84, logs),
            (85, on),
            (86, 0x3400),
            (87, logs),
            (93, if self.sata { 0 } else { 0x6001 }),
        ]);
        if let Some(wwn) = self.config.wwn {
            (0..4).for_each(|i| w.set(108 + i, (wwn >> (48 - 16 * i)) as u16));
        }
        if self.sata {
            // 32 commands at once; native queueing, first generation.
            w.set_all(&[(75, 31), (76, 0x0102)]);
        }
        // TRIM is there even if the host gives no space back: a guest shall not see which host it has. Sectors that were
        // trimmed read the same each time; one block of ranges a command.
        w.set_all(&[(69, 0x4000), (105, 1), (169, 1)]);
    }
}
