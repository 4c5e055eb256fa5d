//! The VGA's ports 0x3B4 to 0x3DA.  IBM PS/2 Hardware Interface Technical Reference, Video Subsystem; FreeVGA.

use super::state::*;
use super::timing;
use device::Tick;

/// Which bits of sequencer and graphics controller registers there are.
const SEQUENCER: [u8; 8] = [0x03, 0x3D, 0x0F, 0x3F, 0x0E, 0x00, 0x00, 0xFF];
#[rustfmt::skip]
const GRAPHICS: [u8; 16] = [0x0F, 0x0F, 0x0F, 0x1F, 0x03, 0x7B, 0x0F, 0x0F, 0xFF, 0, 0, 0, 0, 0, 0, 0];

/// The same of an attribute controller register.
fn attribute_bits(n: u8) -> u8 {
    match n {
        0..=0x0F | 0x12 => 0x3F,
        0x10 => 0xEF,
        0x11 => 0xFF,
        0x13 | 0x14 => 0x0F,
        _ => 0,
    }
}

/// The CRT controller and status ports are at 0x3Bx or 0x3Dx, as the miscellaneous output register says.
fn elsewhere(s: &State, port: u16) -> bool {
    let at = if s.misc & 1 != 0 { 0x3B0 } else { 0x3D0 };
    port & 0xFFF0 == at
}

pub fn read(s: &mut State, port: u16, now: Tick) -> u8 {
    if elsewhere(s, port) {
        return 0xFF;
    }
    match port {
        0x3C0 if !s.attribute_data => s.attribute_index,
        0x3C1 => s.attribute.0[usize::from(s.attribute_index & 0x1F)],
        0x3C4 => s.sequencer_index,
        0x3C5 => s.sequencer.0[usize::from(s.sequencer_index & 7)],
        0x3C6 => s.dac.mask,
        0x3C7 => s.dac.mode,
        0x3C8 => s.dac.write,
        0x3C9 => read_colour(s),
        0x3CA => s.feature,
        0x3CC => s.misc,
        0x3CE => s.graphics_index,
        0x3CF => s.graphics.0[usize::from(s.graphics_index & 15)],
        0x3B4 | 0x3D4 => s.crtc_index,
        0x3B5 | 0x3D5 => s.crtc.0[usize::from(s.crtc_index)],
        0x3BA | 0x3DA => {
            s.attribute_data = false;
            timing::status(s, now)
        }
        // Input status 0 has no switches set and no interrupt; the rest is not there.
        _ => 0,
    }
}

pub fn write(s: &mut State, port: u16, v: u8) {
    if elsewhere(s, port) {
        return;
    }
    match port {
        0x3C0 => write_attribute(s, v),
        0x3C2 => s.misc = v & !0x10,
        0x3C4 => s.sequencer_index = v & 7,
        0x3C5 => {
            let n = usize::from(s.sequencer_index & 7);
            s.sequencer.0[n] = v & SEQUENCER[n];
        }
        0x3C6 => s.dac.mask = v,
        0x3C7 => (s.dac.read, s.dac.component, s.dac.mode) = (v, 0, 3),
        0x3C8 => (s.dac.write, s.dac.component, s.dac.mode) = (v, 0, 0),
        0x3C9 => write_colour(&mut s.dac, v),
        0x3CE => s.graphics_index = v & 15,
        0x3CF => {
            let n = usize::from(s.graphics_index & 15);
            s.graphics.0[n] = v & GRAPHICS[n];
            s.hold();
        }
        0x3B4 | 0x3D4 => s.crtc_index = v,
        0x3B5 | 0x3D5 => write_crtc(s, v),
        0x3BA | 0x3DA => s.feature = v & 0x10,
        _ => {}
    }
}

/// Index and data have the same port, in turns.
fn write_attribute(s: &mut State, v: u8) {
    if s.attribute_data {
        let n = s.attribute_index & 0x1F;
        s.attribute.0[usize::from(n)] = v & attribute_bits(n);
    } else {
        s.attribute_index = v & 0x3F;
    }
    s.attribute_data = !s.attribute_data;
}

/// The first eight registers may be locked, all but one bit of the line compare.
fn write_crtc(s: &mut State, v: u8) {
    let n = usize::from(s.crtc_index);
    let locked = s.crtc.0[V_SYNC_END] & 0x80 != 0 && n <= OVERFLOW;
    let bits = match (locked, n) {
        (false, _) => 0xFF,
        (true, OVERFLOW) => 0x10,
        (true, _) => 0,
    };
    s.crtc.0[n] = s.crtc.0[n] & !bits | v & bits;
    s.hold();
}

fn read_colour(s: &mut State) -> u8 {
    let bits = if s.dispi.wide_dac() { 0xFF } else { 0x3F };
    let d = &mut s.dac;
    let v = d.colours.0[usize::from(d.read) * 3 + usize::from(d.component % 3)];
    d.component = (d.component + 1) % 3;
    if d.component == 0 {
        d.read = d.read.wrapping_add(1);
    }
    v & bits
}

/// A colour changes when its last component is written.
fn write_colour(d: &mut Dac, v: u8) {
    d.pending.0[usize::from(d.component % 3)] = v;
    d.component = (d.component + 1) % 3;
    if d.component == 0 {
        let at = usize::from(d.write) * 3;
        d.colours.0[at..at + 3].copy_from_slice(&d.pending.0);
        d.write = d.write.wrapping_add(1);
    }
}
