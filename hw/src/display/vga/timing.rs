//! Where the beam is: the CRT controller's timing, worked out from guest time.  IBM PS/2 Hardware Interface Technical
//! Reference, Video Subsystem; FreeVGA, "CRT Controller Registers".

use super::state::*;
use device::{SECOND, Tick};

/// Input status 1: not showing pixels; vertical retrace.
const DISPLAY_DISABLED: u8 = 1;
const RETRACE: u8 = 8;

/// Nanoseconds and lines of a frame.
struct Frame {
    line: Tick,
    shown: Tick,
    lines: u64,
    shown_lines: u64,
    retrace: std::ops::Range<u64>,
}

/// 640 by 480 at 60 Hz, for when the registers make no sense or have no part in it.
const NOMINAL: Frame =
    Frame { line: 31_778, shown: 25_422, lines: 525, shown_lines: 480, retrace: 490..492 };

impl Frame {
    fn of(s: &State) -> Self {
        let crtc = |n: usize| u64::from(s.crtc.0[n]);
        let lines = u64::from(s.crtc_wide(V_TOTAL, &[(0, 8), (5, 9)])) + 2;
        let sync = u64::from(s.crtc_wide(V_SYNC, &[(2, 8), (7, 9)]));
        let (columns, shown_columns) = (crtc(H_TOTAL) + 5, crtc(H_DISPLAY) + 1);
        let shown_lines = u64::from(s.lines());
        let sane = sync + 1 < lines && shown_lines < lines && shown_columns < columns;
        if !sane || s.dispi.depth().is_some() {
            return NOMINAL;
        }
        // The end has only four bits.
        let long = (crtc(V_SYNC_END) & 0xF).wrapping_sub(sync) & 0xF;
        let end = (sync + long.max(1)).min(lines);
        let hz = if s.misc >> 2 & 3 == 1 { 28_322_000 } else { 25_175_000 };
        let clocking = s.sequencer(CLOCKING);
        let dots = (9 - u64::from(clocking & 1)) << (clocking >> 3 & 1);
        let time = |columns: u64| columns * dots * SECOND / hz;
        Self {
            line: time(columns),
            shown: time(shown_columns),
            lines,
            shown_lines,
            retrace: sync..end,
        }
    }
}

/// Input status register 1 at this time.
pub fn status(s: &State, now: Tick) -> u8 {
    let f = Frame::of(s);
    let at = now % (f.line * f.lines);
    let (line, along) = (at / f.line, at % f.line);
    let mut status = 0;
    if line >= f.shown_lines || along >= f.shown {
        status |= DISPLAY_DISABLED;
    }
    if f.retrace.contains(&line) {
        status |= RETRACE;
    }
    status
}

/// Whether a cursor that blinks is seen: 16 frames of 60 Hz, and as long not.
pub fn cursor_shown(now: Tick) -> bool {
    now / (SECOND * 16 / 60) % 2 == 0
}

/// Whether characters that blink are seen: half as fast.
pub fn text_shown(now: Tick) -> bool {
    now / (SECOND * 32 / 60) % 2 == 0
}
