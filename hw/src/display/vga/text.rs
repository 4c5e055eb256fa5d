//! Text: characters from plane 0, attributes from plane 1, fonts from plane 2.  IBM PS/2 Hardware Interface Technical
//! Reference, Video Subsystem; FreeVGA, "VGA Text Mode Operation".

use super::render::{Memory, PLANES_BYTES, attributes, fetch};
use super::state::*;
use super::{Vram, timing};
use crate::display::Picture;
use device::Tick;

/// Characters of the second half that are joined to their right neighbours: the ninth dot is as the eighth.
const JOINED: std::ops::RangeInclusive<u8> = 0xB0..=0xDF;
const FONT_BYTES: usize = 8192 * 4;

/// How a page of text is laid out.
pub struct Page {
    columns: u32,
    rows: u32,
    /// Dots and scan lines of a character; lines may be shown twice.
    dots: u32,
    scan_lines: u32,
    double: bool,
}

impl Page {
    pub fn of(s: &State) -> Self {
        let clocking = s.sequencer(CLOCKING);
        let dots = if clocking & 8 != 0 { 16 } else { 9 - u32::from(clocking & 1) };
        let scan_lines = u32::from(s.crtc.0[SCAN_LINES] & 0x1F) + 1;
        let double = s.crtc.0[SCAN_LINES] & 0x80 != 0;
        let rows = s.lines() / (scan_lines << double as u32);
        Self { columns: u32::from(s.crtc.0[H_DISPLAY]) + 1, rows, dots, scan_lines, double }
    }
    /// Whole characters only.
    pub fn size(&self) -> (u32, u32) {
        (self.columns * self.dots, self.rows * (self.scan_lines << self.double as u32))
    }
}

/// Everything that is the same for all lines.
struct Draw<'a> {
    s: &'a State,
    page: Page,
    fonts: [Box<[u8]>; 2],
    colours: [[u8; 3]; 16],
    /// Where the cursor is, and its lines, if it is seen.
    cursor: Option<(u16, std::ops::RangeInclusive<u8>)>,
    /// Characters that blink are gone now.
    blinked: bool,
}

/// The two fonts that are chosen: for attributes without bit 3, and with it.
fn fonts(s: &State, vram: Vram, memory: &mut Memory<'_>) -> [Box<[u8]>; 2] {
    let v = s.sequencer.0[FONTS];
    // The third bit of a number stands apart, and is the lowest of the address.
    let places = [v << 1 & 6 | v >> 4 & 1, v >> 1 & 6 | v >> 5 & 1];
    places.map(|n| {
        let mut font = vec![0; FONT_BYTES].into_boxed_slice();
        fetch(vram, memory, u64::from(n) * FONT_BYTES as u64, PLANES_BYTES, &mut font);
        font
    })
}

fn cursor(s: &State, now: Tick) -> Option<(u16, std::ops::RangeInclusive<u8>)> {
    let (start, end) = (s.crtc.0[CURSOR_START], s.crtc.0[CURSOR_END]);
    let on = start & 0x20 == 0 && timing::cursor_shown(now);
    on.then(|| (s.crtc_pair(CURSOR), start & 0x1F..=end & 0x1F))
}

/// Draws the page.
pub fn draw(s: &State, vram: Vram, memory: &mut Memory<'_>, now: Tick) -> Picture {
    let page = Page::of(s);
    let (width, height) = page.size();
    let mut picture = Picture::black(width, height);
    let blinks = s.attribute.0[ATTRIBUTE_MODE] & 8 != 0;
    let draw = Draw {
        s,
        fonts: fonts(s, vram, memory),
        colours: attributes(s),
        cursor: cursor(s, now),
        blinked: blinks && !timing::text_shown(now),
        page,
    };
    // One column more, for panning.
    let mut cells = vec![0; (draw.page.columns as usize + 1) * 4];
    let (mut beam, mut fetched) = (draw.top(), None);
    for (y, line) in picture.rgb.chunks_exact_mut(width.max(1) as usize * 3).enumerate() {
        if fetched != Some(beam.at) {
            fetch(vram, memory, u64::from(beam.at) * 4, PLANES_BYTES, &mut cells);
            fetched = Some(beam.at);
        }
        draw.line(&cells, &beam, line);
        draw.next(&mut beam, y as u32);
    }
    picture
}

/// Where a line is taken from.
struct Beam {
    /// The address of its first character.
    at: u16,
    /// Its row of the characters.
    row: u8,
    /// The line is shown once more.
    again: bool,
    /// Dots to the left of the first that is shown.
    panning: u32,
}

impl Draw<'_> {
    /// The first line.
    fn top(&self) -> Beam {
        let preset = self.s.crtc.0[PRESET_ROW];
        let at = self.s.crtc_pair(START).wrapping_add(u16::from(preset >> 5 & 3));
        Beam { at, row: preset & 0x1F, again: self.page.double, panning: self.panning() }
    }
    /// The line behind this one, the `y`th.
    fn next(&self, beam: &mut Beam, y: u32) {
        if beam.again {
            beam.again = false;
        } else {
            (beam.row, beam.again) = (beam.row + 1, self.page.double);
            if u32::from(beam.row) >= self.page.scan_lines {
                beam.row = 0;
                beam.at = beam.at.wrapping_add(u16::from(self.s.crtc.0[OFFSET]) * 2);
            }
        }
        // Behind the line of the line compare the picture goes on with the first character of memory.
        if y == self.s.line_compare() {
            (beam.at, beam.row, beam.again) = (0, 0, self.page.double);
            if self.s.attribute.0[ATTRIBUTE_MODE] & 0x20 != 0 {
                beam.panning = 0;
            }
        }
    }
    /// With nine dots, 8 stands for no panning.
    fn panning(&self) -> u32 {
        match (self.s.attribute.0[PANNING] & 0xF, self.page.dots) {
            (n @ 0..8, 9) => u32::from(n) + 1,
            (_, 9) => 0,
            (n @ 0..8, 8) => n.into(),
            (n @ 0..8, _) => u32::from(n) * 2,
            _ => 0,
        }
    }
    /// One scan line of the characters in `cells`.
    fn line(&self, cells: &[u8], beam: &Beam, to: &mut [u8]) {
        let (dots, pixels) = (self.page.dots as i64, to.as_chunks_mut::<3>().0);
        let mut left = -i64::from(beam.panning);
        for (n, cell) in cells.as_chunks::<4>().0.iter().enumerate() {
            let cursor = self.cursor.as_ref().is_some_and(|(place, rows)| {
                *place == beam.at.wrapping_add(n as u16) && rows.contains(&beam.row)
            });
            let (bits, fore, back) = self.character(cell[0], cell[1], beam.row, cursor);
            for dot in left.max(0)..(left + dots).min(pixels.len() as i64) {
                let lit = bits >> (15 - (dot - left)) & 1 != 0;
                pixels[dot as usize] = if lit { fore } else { back };
            }
            left += dots;
        }
    }
    /// The dots of a row of a character, from the highest bit on, and the colours of dots and background.
    fn character(&self, code: u8, attribute: u8, row: u8, cursor: bool) -> (u16, [u8; 3], [u8; 3]) {
        let mode = self.s.attribute.0[ATTRIBUTE_MODE];
        let blinks = mode & 8 != 0;
        let font = &self.fonts[usize::from(attribute >> 3 & 1)];
        let mut bits = font[(usize::from(code) * 32 + usize::from(row & 0x1F)) * 4 + 2];
        if blinks && attribute & 0x80 != 0 && self.blinked {
            bits = 0;
        }
        // Underlined is what is blue on a colour display; there the line is set outside the character.
        if attribute & 7 == 1 && row == self.s.crtc.0[UNDERLINE] & 0x1F {
            bits = 0xFF;
        }
        if cursor {
            bits = 0xFF;
        }
        let ninth = cursor || mode & 4 != 0 && JOINED.contains(&code);
        let dots = match self.page.dots {
            16 => (0..8).fold(0, |all, n| all | u16::from(bits >> n & 1) * 3 << (2 * n)),
            _ => u16::from(bits) << 8 | if ninth { u16::from(bits & 1) << 7 } else { 0 },
        };
        let back = attribute >> 4 & if blinks { 7 } else { 15 };
        (dots, self.colours[usize::from(attribute & 0xF)], self.colours[usize::from(back)])
    }
}
