//! The window at 0xA0000 in front of four planes of memory: latches, write modes, odd and even addresses.  IBM PS/2
//! Hardware Interface Technical Reference, Video Subsystem; FreeVGA, "Accessing the VGA Display Memory".
//!
//! Byte `n` of plane `p` lies at `4 * n + p` of video memory. On a VGA the word and doubleword modes spread what the
//! processor writes over the planes' addresses, and the CRT controller gathers it again. Here, as in QEMU, it is written
//! dense and read dense; so fonts, which are never written in word mode, are where they are looked for.

use super::Vram;
use super::state::*;
use device::Dma;

/// The address of a byte of the window in video memory's terms, if it is decoded.
fn decode(s: &State, at: u64) -> Option<u32> {
    let at = at as u32;
    match s.graphics.0[MISC] >> 2 & 3 {
        0 => (at < 0x2_0000).then_some(at),
        1 => (at < 0x1_0000).then_some(at.wrapping_add(s.dispi.bank)),
        2 => (0x1_0000..0x1_8000).contains(&at).then(|| at - 0x1_0000),
        _ => (0x1_8000..0x2_0000).contains(&at).then(|| at - 0x1_8000),
    }
}

/// Masks of the bytes of all planes whose bit is set.
const SPREAD: [u32; 16] = {
    let mut masks = [0; 16];
    let mut n = 0;
    while n < 64 {
        if n / 4 >> (n % 4) & 1 != 0 {
            masks[n / 4] |= 0xFF << (8 * (n % 4));
        }
        n += 1;
    }
    masks
};

fn spread(planes: u8) -> u32 {
    SPREAD[usize::from(planes & 0xF)]
}

/// What doubleword and word mode leave of an address.
fn dense(s: &State, at: u32, odd_even: bool) -> u64 {
    let word = odd_even && s.crtc.0[CRTC_MODE] & 0x40 == 0;
    let shift = if s.crtc.0[UNDERLINE] & 0x40 != 0 { 2 } else { word as u32 };
    u64::from(at >> shift)
}

/// The low bit of the address chooses planes, and does not address within them.
fn without_low(s: &State, at: u32) -> u32 {
    if s.graphics.0[MISC] & 2 != 0 { at & !1 } else { at }
}

/// A read of one byte, at this offset into the window.
pub fn read(s: &mut State, at: u64, vram: Vram, memory: &mut dyn Dma) -> u8 {
    let Some(at) = decode(s, at) else { return 0xFF };
    let odd_even = s.graphics.0[MODE] & 0x10 != 0;
    let read_plane = s.graphics.0[READ_PLANE] & 3;
    if s.chained() {
        let cell = dense(s, without_low(s, at & !3), odd_even);
        let mut byte = [0xFF];
        vram.read(cell * 4 + u64::from(at & 3), &mut byte, memory);
        return byte[0];
    }
    let plane = if odd_even { read_plane & 2 | (at & 1) as u8 } else { read_plane };
    let cell = dense(s, without_low(s, at), odd_even);
    let mut bytes = [0xFF; 4];
    if vram.read(cell * 4, &mut bytes, memory) {
        s.latch = u32::from_le_bytes(bytes);
    }
    if s.graphics.0[MODE] & 8 == 0 {
        return bytes[usize::from(plane)];
    }
    // Pixels of the colour asked for, in the planes that count.
    let differs = (u32::from_le_bytes(bytes) ^ spread(s.graphics.0[COMPARE]))
        & spread(s.graphics.0[COMPARE_PLANES]);
    !differs.to_le_bytes().iter().fold(0, |all, byte| all | byte)
}

/// A write of one byte.
pub fn write(s: &State, at: u64, v: u8, vram: Vram, memory: &mut dyn Dma) {
    let Some(at) = decode(s, at) else { return };
    let odd_even = s.sequencer(MEMORY) & 4 == 0;
    let planes = s.sequencer(PLANES) & 0xF;
    if s.chained() {
        let cell = dense(s, without_low(s, at & !3), odd_even);
        if planes >> (at & 3) & 1 != 0 {
            vram.write(cell * 4 + u64::from(at & 3), &[v], memory);
        }
        return;
    }
    let planes = match (odd_even, at & 1) {
        (false, _) => planes,
        (true, 0) => planes & 0x5,
        (true, _) => planes & 0xA,
    };
    let place = dense(s, without_low(s, at), odd_even) * 4;
    let value = combine(s, v);
    if planes.is_power_of_two() {
        let n = planes.trailing_zeros();
        vram.write(place + u64::from(n), &[(value >> (8 * n)) as u8], memory);
        return;
    }
    let (mut bytes, mask) = ([0; 4], spread(planes));
    if mask != 0 && vram.read(place, &mut bytes, memory) {
        let bytes = u32::from_le_bytes(bytes) & !mask | value & mask;
        vram.write(place, &bytes.to_le_bytes(), memory);
    }
}

/// What the four write modes make of a byte and the latches, for all planes.
fn combine(s: &State, v: u8) -> u32 {
    let g = |n: usize| s.graphics.0[n];
    let rotated = v.rotate_right(u32::from(g(FUNCTION) & 7));
    let all = |v: u8| u32::from_le_bytes([v; 4]);
    let (value, bits) = match g(MODE) & 3 {
        0 => {
            let set = spread(g(SET_ENABLE));
            (all(rotated) & !set | spread(g(SET)) & set, g(BITS))
        }
        1 => return s.latch,
        2 => (spread(v & 0xF), g(BITS)),
        _ => (spread(g(SET)), g(BITS) & rotated),
    };
    let value = match g(FUNCTION) >> 3 & 3 {
        0 => value,
        1 => value & s.latch,
        2 => value | s.latch,
        _ => value ^ s.latch,
    };
    value & all(bits) | s.latch & !all(bits)
}
