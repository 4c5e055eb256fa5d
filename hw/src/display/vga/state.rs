//! All that a guest can see of a VGA, and what resets it.

use device::*;

/// A register file: as many bytes as there are registers.
#[derive(Clone, Debug, PartialEq)]
pub struct Table<const N: usize>(pub [u8; N]);

impl<const N: usize> Field for Table<N> {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.0)
    }
    fn take(from: &[u8]) -> Option<Self> {
        Some(Self(from.try_into().ok()?))
    }
}

state! {
    /// The palette of 256 colours.
    pub struct Dac {
        /// What the state register reads: 0 while colours are written, 3 while they are read.
        1 mode: u8 = 0,
        /// The component that comes next: red, green, blue.
        2 component: u8 = 0,
        3 read: u8 = 0,
        4 write: u8 = 0,
        5 pending: Table<3> = Table([0; 3]),
        6 colours: Table<768> = Table([0; 768]),
        /// Ands all pixels.
        7 mask: u8 = 0xFF,
    }
}

state! {
    /// Bochs' extension.
    pub struct Dispi {
        1 index: u16 = 0,
        2 registers: [u16; 10] = [super::dispi::NEWEST, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        /// What the legacy window's addresses begin at.
        3 bank: u32 = 0,
        4 big_endian: bool = false,
    }
}

state! {
    /// Everything the guest can see, but the video memory.
    pub struct State {
        1 misc: u8 = 0,
        2 feature: u8 = 0,
        3 sequencer_index: u8 = 0,
        4 sequencer: Table<8> = Table([0; 8]),
        5 graphics_index: u8 = 0,
        6 graphics: Table<16> = Table([0; 16]),
        /// With bit 5: the picture is shown.
        7 attribute_index: u8 = 0,
        8 attribute: Table<32> = Table([0; 32]),
        /// The next write to port 0x3C0 is data.
        9 attribute_data: bool = false,
        10 crtc_index: u8 = 0,
        11 crtc: Table<256> = Table([0; 256]),
        /// One byte for each plane, the first lowest.
        12 latch: u32 = 0,
        13 dac: Dac = Dac::default(),
        14 dispi: Dispi = Dispi::default(),
    }
}

/// Sequencer registers.
pub const CLOCKING: usize = 1;
pub const PLANES: usize = 2;
pub const FONTS: usize = 3;
pub const MEMORY: usize = 4;

/// Graphics controller registers.
pub const SET: usize = 0;
pub const SET_ENABLE: usize = 1;
pub const COMPARE: usize = 2;
pub const FUNCTION: usize = 3;
pub const READ_PLANE: usize = 4;
pub const MODE: usize = 5;
pub const MISC: usize = 6;
pub const COMPARE_PLANES: usize = 7;
pub const BITS: usize = 8;

/// Attribute controller registers.
pub const ATTRIBUTE_MODE: usize = 0x10;
pub const PLANE_ENABLE: usize = 0x12;
pub const PANNING: usize = 0x13;
pub const COLOUR_SELECT: usize = 0x14;

/// CRT controller registers.
pub const H_TOTAL: usize = 0x00;
pub const H_DISPLAY: usize = 0x01;
pub const V_TOTAL: usize = 0x06;
pub const OVERFLOW: usize = 0x07;
pub const PRESET_ROW: usize = 0x08;
pub const SCAN_LINES: usize = 0x09;
pub const CURSOR_START: usize = 0x0A;
pub const CURSOR_END: usize = 0x0B;
pub const START: usize = 0x0C;
pub const CURSOR: usize = 0x0E;
pub const V_SYNC: usize = 0x10;
pub const V_SYNC_END: usize = 0x11;
pub const V_DISPLAY: usize = 0x12;
pub const OFFSET: usize = 0x13;
pub const UNDERLINE: usize = 0x14;
pub const CRTC_MODE: usize = 0x17;
pub const LINE_COMPARE: usize = 0x18;

impl State {
    /// A sequencer register as it works: with the extension on, it is set up for a flat picture.
    pub fn sequencer(&self, n: usize) -> u8 {
        let own = self.sequencer.0[n];
        match (self.dispi.depth(), n) {
            (None, _) => own,
            (Some(4), CLOCKING) => own & !0x28,
            (Some(4), _) => own,
            (Some(_), PLANES) => 0x0F,
            (Some(_), MEMORY) => 0x0E,
            (Some(_), _) => 0,
        }
    }
    /// Each byte is in the plane that its address ends with: memory is flat.
    pub fn chained(&self) -> bool {
        self.sequencer(MEMORY) & 8 != 0
    }
    /// A CRT controller register with the bits that overflowed, as `(overflow bit, place)`.
    pub fn crtc_wide(&self, n: usize, overflow: &[(u8, u8)]) -> u32 {
        let more = overflow
            .iter()
            .fold(0, |all, (from, to)| all | u32::from(self.crtc.0[OVERFLOW] >> from & 1) << to);
        u32::from(self.crtc.0[n]) | more
    }
    /// A pair of registers, high byte first.
    pub fn crtc_pair(&self, n: usize) -> u16 {
        u16::from_be_bytes([self.crtc.0[n], self.crtc.0[n + 1]])
    }
    /// Shown lines.
    pub fn lines(&self) -> u32 {
        self.crtc_wide(V_DISPLAY, &[(1, 8), (6, 9)]) + 1
    }
    /// The line after which the picture goes on at address 0.
    pub fn line_compare(&self) -> u32 {
        let ninth = u32::from(self.crtc.0[SCAN_LINES] >> 6 & 1) << 9;
        self.crtc_wide(LINE_COMPARE, &[(4, 8)]) | ninth
    }
    /// Whether saved state can be worked with.
    pub fn check(&self, vram: u64) -> Result<(), Misfit> {
        let bad = |what: &str| Err(Misfit::Unfit(format!("VGA: {what}")));
        let indexes =
            [(self.sequencer_index, 8), (self.graphics_index, 16), (self.attribute_index, 64)];
        if indexes.iter().any(|(index, limit)| index >= limit) || self.dac.component > 2 {
            return bad("an index is out of range");
        }
        let mut fixed = self.dispi.clone();
        fixed.fix(vram);
        if fixed != self.dispi || u64::from(self.dispi.bank) + 0x1_0000 > vram {
            return bad("an extended mode that does not fit into video memory");
        }
        Ok(())
    }
}
