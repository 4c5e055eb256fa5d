//! From registers and memory to a picture: graphics, and what all pictures need.  IBM PS/2 Hardware Interface Technical
//! Reference, Video Subsystem; FreeVGA, "VGA Display Generation".

use super::dispi::Flat;
use super::state::*;
use super::{Vram, text};
use crate::display::Picture;
use device::Tick;

/// What the registers and planes of a VGA without extension can address.
pub const PLANES_BYTES: u64 = 256 << 10;

/// Reads the board's memory.
pub type Memory<'a> = dyn FnMut(u64, &mut [u8]) + 'a;

/// What kind of picture there is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Blank,
    Text,
    Graphics,
}

fn kind(s: &State) -> Kind {
    let blank = s.attribute_index & 0x20 == 0 || s.sequencer(CLOCKING) & 0x20 != 0;
    match (blank, s.graphics.0[MISC] & 1) {
        (true, _) => Kind::Blank,
        (_, 0) => Kind::Text,
        _ => Kind::Graphics,
    }
}

/// What is shown while nobody has set a mode.
const NO_MODE: (u32, u32) = (640, 480);

fn size(s: &State) -> (u32, u32) {
    let text = s.graphics.0[MISC] & 1 == 0;
    match if text { text::Page::of(s).size() } else { Graphics::of(s).size() } {
        (_, 0 | 1) => NO_MODE,
        size => size,
    }
}

/// In words.
pub fn shows(s: &State) -> String {
    let (width, height) = size(s);
    match kind(s) {
        Kind::Blank => "nothing".into(),
        Kind::Text => format!("{width}x{height} of text"),
        Kind::Graphics => format!("{width}x{height}"),
    }
}

pub fn picture(s: &State, vram: Vram, memory: &mut Memory<'_>, now: Tick) -> Picture {
    let drawn = match kind(s) {
        Kind::Text => text::draw(s, vram, memory, now),
        Kind::Graphics => Graphics::of(s).draw(s, vram, memory),
        Kind::Blank => Picture::default(),
    };
    if drawn.height > 1 {
        return drawn;
    }
    let (width, height) = size(s);
    Picture::black(width, height)
}

/// Reads video memory, which goes on at its beginning after `size` bytes (a power of two).
pub fn fetch(vram: Vram, memory: &mut Memory<'_>, at: u64, size: u64, into: &mut [u8]) {
    let size = size.min(vram.bytes);
    let (mut at, mut into) = (at & (size - 1), into);
    while !into.is_empty() {
        let n = into.len().min((size - at) as usize);
        let (now, rest) = into.split_at_mut(n);
        memory(vram.offset + at, now);
        (at, into) = (0, rest);
    }
}

/// The colour of a pixel value behind the palette.
fn colour(s: &State, value: u8) -> [u8; 3] {
    let at = usize::from(value & s.dac.mask) * 3;
    let wide = s.dispi.wide_dac();
    [0, 1, 2].map(|n| match s.dac.colours.0[at + n] {
        v if wide => v,
        // The lowest bit is repeated, so that neither end of the range is lost.
        v => v << 2 | (v & 1) * 3,
    })
}

/// All 256 colours.
fn palette(s: &State) -> [[u8; 3]; 256] {
    std::array::from_fn(|n| colour(s, n as u8))
}

/// The sixteen colours that the attribute controller chooses.
pub fn attributes(s: &State) -> [[u8; 3]; 16] {
    let select = s.attribute.0[COLOUR_SELECT];
    std::array::from_fn(|n| {
        let v = s.attribute.0[n];
        let value = if s.attribute.0[ATTRIBUTE_MODE] & 0x80 != 0 {
            select << 4 | v & 0xF
        } else {
            select << 4 & 0xC0 | v & 0x3F
        };
        colour(s, value)
    })
}

/// How bytes become pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// A bit of each of four planes.
    Planar,
    /// Two bits a pixel, as a CGA has them: in planes 0 and 1, and from 2 and 3 two bits more.
    Cga,
    /// A byte a pixel.
    Indexed,
    /// This many bits a pixel.
    Direct(u16),
}

/// A picture in graphics.
struct Graphics {
    format: Format,
    /// Pixels in video memory that make up a line, and how often each is shown.
    pixels: u32,
    wide: u32,
    lines: u32,
    pitch: u64,
    start: u64,
    /// After so many bytes memory begins again.
    size: u64,
    /// Pixels to the left of the first that is shown.
    panning: usize,
}

impl Graphics {
    fn of(s: &State) -> Self {
        let (columns, lines) = ((u32::from(s.crtc.0[H_DISPLAY]) + 1) * 8, s.lines());
        let depth = s.dispi.depth();
        let shift = s.graphics.0[MODE] >> 5 & 3;
        let format = match (shift, depth) {
            (0, _) => Format::Planar,
            (1, _) => Format::Cga,
            (_, Some(depth @ (15 | 16 | 24 | 32))) => Format::Direct(depth),
            _ => Format::Indexed,
        };
        if let Some(Flat { width, height, pitch, start }) = s.dispi.flat() {
            let (pitch, start) = (pitch.into(), start.into());
            let size = u64::MAX / 2 + 1;
            return Self {
                format,
                pixels: width,
                wide: 1,
                lines: height,
                pitch,
                start,
                size,
                panning: 0,
            };
        }
        let panning = usize::from(s.attribute.0[PANNING] & 7);
        // 256 colours take two clocks a pixel; the other modes do so at half the clock.
        let (pixels, wide, panning) = match (format, s.sequencer(CLOCKING) & 8) {
            (Format::Indexed, _) => (columns / 2, 2, panning / 2),
            (_, 0) => (columns, 1, panning),
            _ => (columns, 2, panning),
        };
        let pitch = u64::from(s.crtc.0[OFFSET]) * 8;
        // Byte panning: up to three more of the CRT controller's addresses.
        let start = u64::from(s.crtc_pair(START)) + u64::from(s.crtc.0[PRESET_ROW] >> 5 & 3);
        Self { format, pixels, wide, lines, pitch, start: start * 4, size: PLANES_BYTES, panning }
    }
    fn size(&self) -> (u32, u32) {
        (self.pixels * self.wide, self.lines)
    }
    /// Bytes of video memory under this many pixels.
    fn bytes(&self, pixels: usize) -> usize {
        match self.format {
            Format::Planar | Format::Cga => pixels.div_ceil(8) * 4,
            Format::Indexed => pixels,
            Format::Direct(bits) => pixels * usize::from(bits.div_ceil(8)),
        }
    }
    fn draw(mut self, s: &State, vram: Vram, memory: &mut Memory<'_>) -> Picture {
        let (width, height) = self.size();
        let mut picture = Picture::black(width, height);
        let colours = Colours {
            sixteen: attributes(s),
            all: palette(s),
            planes: s.attribute.0[PLANE_ENABLE] & 0xF,
        };
        let mut line = vec![0; self.bytes(self.pixels as usize + 8)];
        let mut walk = Walk::of(s, self.start);
        let line_compare = if s.dispi.depth().is_some() { u32::MAX } else { s.line_compare() };
        for (y, out) in picture.rgb.chunks_exact_mut(width.max(1) as usize * 3).enumerate() {
            fetch(vram, memory, walk.address(), self.size, &mut line);
            self.line(s, &colours, &line, out);
            walk.next(self.pitch);
            if y as u32 == line_compare {
                walk.at = 0;
                if s.attribute.0[ATTRIBUTE_MODE] & 0x20 != 0 {
                    self.panning = 0;
                }
            }
        }
        picture
    }
    /// One line of pixels.
    fn line(&self, s: &State, colours: &Colours, from: &[u8], to: &mut [u8]) {
        let wide = self.wide as usize;
        let (mut x, pixels) = (0, to.as_chunks_mut::<3>().0);
        let mut put = |c: [u8; 3]| {
            pixels[x * wide..(x + 1) * wide].fill(c);
            x += 1;
        };
        let range = self.panning..self.panning + self.pixels as usize;
        match self.format {
            Format::Planar => range.for_each(|n| put(colours.planar(from, n))),
            Format::Cga => range.for_each(|n| put(colours.cga(from, n))),
            Format::Indexed => from[range].iter().for_each(|v| put(colours.all[usize::from(*v)])),
            Format::Direct(bits) => {
                let (big, bytes) = (s.dispi.big_endian, usize::from(bits.div_ceil(8)));
                let count = self.pixels as usize;
                from.chunks_exact(bytes).take(count).for_each(|p| put(direct(p, bits, big)));
            }
        }
    }
}

/// Which address each line has.
struct Walk {
    at: u64,
    /// The row scan counter.
    row: u32,
    /// How often each row is shown, and how often it was.
    repeat: u32,
    done: u32,
    mode: u8,
}

impl Walk {
    fn of(s: &State, at: u64) -> Self {
        let (scan, mode) = (s.crtc.0[SCAN_LINES], s.crtc.0[CRTC_MODE]);
        // With rows as a CGA's, the counter chooses addresses, and each is shown once.
        let rows = if mode & 1 != 0 { u32::from(scan & 0x1F) + 1 } else { 1 };
        Self { at, row: 0, repeat: rows << (scan >> 7), done: 0, mode }
    }
    /// Where this line begins: the row scan counter may stand in for address bits 13 and 14.
    fn address(&self) -> u64 {
        let (mut at, row) = (self.at, u64::from(self.row));
        if self.mode & 1 == 0 {
            let bit = if self.mode & 0x40 != 0 { 15 } else { 14 };
            at = at & !(1 << bit) | (row & 1) << bit;
        }
        if self.mode & 2 == 0 {
            at = at & !0x8000 | (row & 2) << 14;
        }
        at
    }
    fn next(&mut self, pitch: u64) {
        self.done += 1;
        if self.done < self.repeat {
            return;
        }
        let stays = u32::from(!self.mode & 3);
        if self.row & stays == stays {
            self.at += pitch;
        }
        self.row += 1;
        self.done = 0;
    }
}

/// What values become.
struct Colours {
    sixteen: [[u8; 3]; 16],
    all: [[u8; 3]; 256],
    /// Planes that are shown.
    planes: u8,
}

impl Colours {
    fn planar(&self, from: &[u8], n: usize) -> [u8; 3] {
        let (cell, shift) = (&from[n / 8 * 4..], 7 - n % 8);
        let value = (0..4).fold(0, |v, plane| v | (cell[plane] >> shift & 1) << plane);
        self.sixteen[usize::from(value & self.planes)]
    }
    fn cga(&self, from: &[u8], n: usize) -> [u8; 3] {
        let cell = &from[n / 8 * 4..];
        // Four pixels from the first pair of planes, four from the second.
        let (plane, shift) = (n / 4 % 2, 6 - n % 4 * 2);
        let enabled = |plane: usize| if self.planes >> plane & 1 != 0 { cell[plane] } else { 0 };
        let value = enabled(plane) >> shift & 3 | (enabled(plane + 2) >> shift & 3) << 2;
        self.sixteen[usize::from(value)]
    }
}

/// A pixel that is a colour itself.
fn direct(p: &[u8], bits: u16, big: bool) -> [u8; 3] {
    // Five or six bits become eight: the upper ones are repeated below.
    let five = |v: u16| ((v & 0x1F) << 3 | v >> 2 & 7) as u8;
    match bits {
        15 | 16 => {
            let v = if big {
                u16::from_be_bytes([p[0], p[1]])
            } else {
                u16::from_le_bytes([p[0], p[1]])
            };
            match bits {
                15 => [five(v >> 10), five(v >> 5), five(v)],
                _ => [five(v >> 11), ((v >> 5 & 0x3F) << 2 | v >> 9 & 3) as u8, five(v)],
            }
        }
        24 if big => [p[0], p[1], p[2]],
        32 if big => [p[1], p[2], p[3]],
        _ => [p[2], p[1], p[0]],
    }
}
