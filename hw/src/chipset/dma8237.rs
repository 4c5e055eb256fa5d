//! Two 8237A DMA controllers and their page registers, without devices that ask for transfers.  Intel 8237A data sheet.
//!
//! Banks: 0 the first controller's ports 0x00-0x0F, 1 the second's 0xC0-0xDF, 2 the page registers 0x80-0x8F. Registers
//! read back what was written, as software that looks for the parts wants.

use device::*;

state! {
    /// One controller.
    pub struct Chip {
        /// Address and count of each channel.
        1 words: [u16; 8] = [0; 8],
        /// Whether the high byte comes next.
        2 high: bool = false,
        3 command: u8 = 0,
        4 mask: u8 = 0xF,
        5 mode: [u8; 4] = [0; 4],
        6 requests: u8 = 0,
        7 status: u8 = 0,
    }
}

impl Chip {
    fn read(&mut self, at: u8) -> u8 {
        match at {
            0..8 => {
                let word = self.words[at as usize];
                self.high = !self.high;
                (word >> if self.high { 0 } else { 8 }) as u8
            }
            8 => {
                let status = self.status | self.requests << 4;
                self.status = 0;
                status
            }
            0xF => self.mask | 0xF0,
            _ => 0,
        }
    }
    fn write(&mut self, at: u8, value: u8) {
        let n = value as usize & 3;
        let bit = |set: u8| set & !(1 << n) | (value >> 2 & 1) << n;
        match at {
            0..8 => {
                let [low, high] = self.words[at as usize].to_le_bytes();
                let bytes = if self.high { [low, value] } else { [value, high] };
                self.words[at as usize] = u16::from_le_bytes(bytes);
                self.high = !self.high;
            }
            8 => self.command = value,
            9 => self.requests = bit(self.requests),
            0xA => self.mask = bit(self.mask),
            0xB => self.mode[n] = value,
            0xC => self.high = false,
            0xD => *self = Chip { words: self.words, mode: self.mode, ..Chip::default() },
            0xE => self.mask = 0,
            0xF => self.mask = value & 0xF,
            _ => {}
        }
    }
}

state! {
    /// Everything the guest can see.
    pub struct State {
        1 chips: [Chip; 2] = [Chip::default(), Chip::default()],
        2 pages: [u8; 16] = [0; 16],
    }
}

#[derive(Default)]
pub struct Dma8237 {
    s: State,
}

impl Dma8237 {
    pub fn new() -> Self {
        Self::default()
    }
}

impl Device for Dma8237 {
    fn name(&self) -> &'static str {
        "i8257"
    }
    fn read(&mut self, at: Reg, w: Width, _: &mut dyn Cx) -> u64 {
        join(at.at, w, 1, |i| {
            u64::from(match at.bank {
                0 if i < 0x10 => self.s.chips[0].read(i as u8),
                1 if i < 0x20 => self.s.chips[1].read(i as u8 >> 1),
                2 if i < 0x10 => self.s.pages[i as usize],
                _ => 0xFF,
            })
        })
    }
    fn write(&mut self, at: Reg, w: Width, value: u64, _: &mut dyn Cx) {
        split(at.at, w, 1, value, |i, _, v| match at.bank {
            0 if i < 0x10 => self.s.chips[0].write(i as u8, v as u8),
            1 if i < 0x20 => self.s.chips[1].write(i as u8 >> 1, v as u8),
            2 if i < 0x10 => self.s.pages[i as usize] = v as u8,
            _ => {}
        })
    }
    fn reset(&mut self) {
        self.s = State::default();
    }
    saved!();
}

#[cfg(test)]
mod test {
    use super::*;
    use Width::*;

    #[test]
    fn words_go_through_the_flip_flop() {
        let (mut d, mut b) = (Dma8237::new(), Bench::default());
        let at = |bank, at| Reg { bank, at };
        for (bank, shift) in [(0, 0), (1, 1)] {
            d.write(at(bank, 0xD << shift), W8, 0, &mut b);
            d.write(at(bank, 2 << shift), W8, 0x34, &mut b);
            d.write(at(bank, 2 << shift), W8, 0x12, &mut b);
            let got = [0; 2].map(|_| d.read(at(bank, 2 << shift), W8, &mut b));
            assert_eq!(got, [0x34, 0x12]);
            d.write(at(bank, 0xA << shift), W8, 1, &mut b);
            assert_eq!(d.read(at(bank, 0xF << shift), W8, &mut b), 0xFD);
        }
        d.write(at(2, 7), W8, 0xAB, &mut b);
        assert_eq!(d.read(at(2, 7), W8, &mut b), 0xAB);
    }
}
