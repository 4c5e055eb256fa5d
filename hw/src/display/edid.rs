//! What a monitor says of itself.  VESA Enhanced EDID Standard, release A, revision 2 (EDID 1.4); CEA-861-E, 7.5.
//!
//! A base block and a CEA extension, as of QEMU's monitor: 100 dots an inch, 75 Hz, and all resolutions up to a limit.

/// What can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edid {
    /// The preferred resolution.
    pub width: u32,
    pub height: u32,
    /// Larger resolutions are not offered; 0: no limit.
    pub max_width: u32,
    pub max_height: u32,
}

impl Default for Edid {
    fn default() -> Self {
        Self { width: 1280, height: 800, max_width: 0, max_height: 0 }
    }
}

/// Where a block has a resolution.
#[derive(Clone, Copy)]
enum Listed {
    /// A bit of the established timings: byte of the block, bit.
    Established(usize, u8),
    /// The next of the eight standard timings, with the code of its aspect ratio.
    Standard(u8),
    /// A bit of the established timings III: byte of the descriptor, bit.
    Third(usize, u8),
    /// A video identification code in the extension.
    Cea(u8),
}

const R16_10: u8 = 0;
const R4_3: u8 = 1;
const R5_4: u8 = 2;
const R16_9: u8 = 3;

#[rustfmt::skip]
const MODES: &[(u32, u32, Listed)] = &[
    (5120, 2160, Listed::Cea(125)),
    (4096, 2160, Listed::Cea(101)),
    (3840, 2160, Listed::Cea(96)),
    (2560, 1080, Listed::Cea(89)),
    (1920, 1080, Listed::Cea(31)),
    (3840, 2160, Listed::Cea(97)),
    (2048, 1152, Listed::Standard(R16_9)),
    (1920, 1080, Listed::Standard(R16_9)),
    (1920, 1200, Listed::Standard(R16_10)),
    (1600, 1200, Listed::Standard(R4_3)),
    (1680, 1050, Listed::Standard(R16_10)),
    (1440,  900, Listed::Standard(R16_10)),
    (1280, 1024, Listed::Standard(R5_4)),
    (1280,  960, Listed::Standard(R4_3)),
    (1920, 1440, Listed::Third(11, 5)),
    (1856, 1392, Listed::Third(10, 3)),
    (1792, 1344, Listed::Third(10, 5)),
    (1400, 1050, Listed::Third(8, 1)),
    (1360,  768, Listed::Third(8, 7)),
    (1280,  768, Listed::Third(7, 6)),
    (1024,  768, Listed::Established(36, 3)),
    ( 800,  600, Listed::Established(35, 0)),
    ( 640,  480, Listed::Established(35, 5)),
];

/// sRGB's primaries and white point in 1024ths: x and y of red, green, blue, white.
const SRGB: [u16; 8] = [655, 338, 307, 614, 154, 61, 320, 337];

const TIMING: usize = 54;
const THIRD: usize = 72;
const RANGES: usize = 90;
const NAME: usize = 108;
const EXTENSION: usize = 128;

impl Edid {
    /// Both blocks.
    pub fn bytes(&self) -> [u8; 256] {
        let (width, height) = (self.width.clamp(8, 4095), self.height.clamp(8, 4095));
        let mut e = [0; 256];
        e[..20].copy_from_slice(&[
            0x00, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x00, // header
            0x49, 0x14, 0x34, 0x12, 0, 0, 0, 0, // "RHT", product, serial number
            42, 24, 1, 4, // week and year of 1990 + 24, version
        ]);
        // Digital with 8 bits a colour on a DisplayPort; size in cm; gamma 2.2; sRGB, the first timing is preferred.
        e[20] = 0xA5;
        e[21] = (width * 254 / 10_000).min(255) as u8;
        e[22] = (height * 254 / 10_000).min(255) as u8;
        (e[23], e[24]) = (120, 0x06);
        colours(&mut e);
        timing(&mut e[TIMING..THIRD], width, height);
        e[THIRD..THIRD + 6].copy_from_slice(&[0, 0, 0, 0xF7, 0, 10]);
        // 50 to 125 Hz, 30 to 160 kHz, any dot clock, no further formula.
        e[RANGES..NAME].copy_from_slice(b"\0\0\0\xFD\0\x32\x7D\x1E\xA0\xFF\x01\n      ");
        e[NAME..NAME + 18].copy_from_slice(b"\0\0\0\xFC\0QEMU Monitor\n");
        e[126] = 1;
        self.modes(&mut e);
        // Descriptors that are not used.
        let mut at = EXTENSION + usize::from(e[EXTENSION + 2]);
        while at + 18 <= 255 {
            e[at + 3] = 0x10;
            at += 18;
        }
        checksum(&mut e[..128]);
        checksum(&mut e[128..]);
        e
    }
    fn modes(&self, e: &mut [u8; 256]) {
        let fits = |at: u32, max: u32| max == 0 || at <= max;
        // The extension: its version, where descriptors begin, one block of video codes.
        e[EXTENSION..EXTENSION + 5].copy_from_slice(&[2, 3, 5, 0, 2 << 5]);
        let (mut standard, mut codes) = (38, 0);
        for (width, height, listed) in MODES {
            if !fits(*width, self.max_width) || !fits(*height, self.max_height) {
                continue;
            }
            match *listed {
                Listed::Established(byte, bit) => e[byte] |= 1 << bit,
                Listed::Third(byte, bit) => e[THIRD + byte] |= 1 << bit,
                Listed::Standard(aspect) => {
                    e[standard] = (width / 8 - 31) as u8;
                    e[standard + 1] = aspect << 6;
                    standard += 2;
                }
                Listed::Cea(code) => {
                    e[EXTENSION + 5 + codes] = code;
                    codes += 1;
                }
            }
        }
        e[standard..TIMING].fill(1);
        e[EXTENSION + 2] += codes as u8;
        e[EXTENSION + 4] += codes as u8;
    }
}

/// Ten bits each: the low two of all first.
fn colours(e: &mut [u8]) {
    for (n, value) in SRGB.iter().enumerate() {
        e[25 + n / 4] |= (value & 3) as u8 * (1 << (6 - 2 * (n % 4)));
        e[27 + n] = (value >> 2) as u8;
    }
}

/// A detailed timing: blanking in proportion to the resolution, at 75 Hz or as near as the field for the clock allows.
fn timing(d: &mut [u8], width: u32, height: u32) {
    let (x_blank, x_front, x_sync) = (width * 35 / 100, width * 25 / 100, width * 3 / 100);
    let (y_blank, y_front, y_sync) = (height * 35 / 1000, height * 5 / 1000, height * 5 / 1000);
    let total = u64::from(width + x_blank) * u64::from(height + y_blank);
    let clock = (75 * total / 10_000).min(0xFFFF);
    let (x_mm, y_mm) = (width * 254 / 1000, height * 254 / 1000);
    let high = |a: u32, b: u32| (a >> 4 & 0xF0 | b >> 8 & 0x0F) as u8;
    d[0..2].copy_from_slice(&(clock as u16).to_le_bytes());
    (d[2], d[3], d[4]) = (width as u8, x_blank as u8, high(width, x_blank));
    (d[5], d[6], d[7]) = (height as u8, y_blank as u8, high(height, y_blank));
    (d[8], d[9]) = (x_front as u8, x_sync as u8);
    d[10] = (y_front << 4 & 0xF0 | y_sync & 0xF) as u8;
    d[11] = (x_front >> 2 & 0xC0 | x_sync >> 4 & 0x30 | y_front >> 2 & 0xC | y_sync >> 4 & 3) as u8;
    (d[12], d[13], d[14]) = (x_mm as u8, y_mm as u8, high(x_mm, y_mm));
    // Digital, separate sync.
    d[17] = 0x18;
}

/// Makes the sum of a block's bytes zero.
fn checksum(block: &mut [u8]) {
    let sum = block[..127].iter().fold(0u8, |sum, b| sum.wrapping_add(*b));
    block[127] = sum.wrapping_neg();
}

#[cfg(test)]
mod test {
    use super::*;

    fn sound(e: &[u8]) -> bool {
        e.chunks(128).all(|block| block.iter().fold(0u8, |sum, b| sum.wrapping_add(*b)) == 0)
    }

    #[test]
    fn the_default_is_qemus_monitor_with_1280_by_800() {
        let e = Edid::default().bytes();
        assert!(sound(&e));
        assert_eq!(e[8..12], [0x49, 0x14, 0x34, 0x12]);
        assert_eq!(e[113..125], *b"QEMU Monitor");
        let high = |low: u8, high: u8| u32::from(low) | u32::from(high & 0xF0) << 4;
        assert_eq!((high(e[56], e[58]), high(e[59], e[61])), (1280, 800));
        assert_eq!(u16::from_le_bytes([e[54], e[55]]), 10730);
        // QEMU 10.0's checksums of the same blocks.
        assert_eq!((e[127], e[255]), (0x3A, 0x2F));
    }

    #[test]
    fn a_limit_leaves_larger_resolutions_out() {
        let e = Edid { max_width: 1024, max_height: 768, ..Edid::default() }.bytes();
        assert!(sound(&e));
        assert_eq!((e[35], e[36], &e[38..54], e[130]), (0x21, 8, &[1; 16][..], 5));
        assert!(e[THIRD + 6..RANGES].iter().all(|b| *b == 0));
    }

    #[test]
    fn any_resolution_gives_sound_blocks() {
        for (width, height) in [(0, 0), (1, 9000), (u32::MAX, u32::MAX), (4095, 4095)] {
            assert!(sound(&Edid { width, height, ..Edid::default() }.bytes()));
        }
    }
}
