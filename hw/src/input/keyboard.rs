//! PS/2 keyboard.  IBM PS/2 hardware technical reference, "Keyboards"; scan code sets 1, 2 and 3.

use device::*;
use std::collections::VecDeque;

/// How the 8042 translates: scan code set 2 to set 1. Codes from 0x80 on stay, but 0x83 and 0x84.
#[rustfmt::skip]
const TRANSLATION: [u8; 128] = [
    0xFF, 0x43, 0x41, 0x3F, 0x3D, 0x3B, 0x3C, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3E, 0x0F, 0x29, 0x59,
    0x65, 0x38, 0x2A, 0x70, 0x1D, 0x10, 0x02, 0x5A, 0x66, 0x71, 0x2C, 0x1F, 0x1E, 0x11, 0x03, 0x5B,
    0x67, 0x2E, 0x2D, 0x20, 0x12, 0x05, 0x04, 0x5C, 0x68, 0x39, 0x2F, 0x21, 0x14, 0x13, 0x06, 0x5D,
    0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5E, 0x6A, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5F,
    0x6B, 0x33, 0x25, 0x17, 0x18, 0x0B, 0x0A, 0x60, 0x6C, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0C, 0x61,
    0x6D, 0x73, 0x28, 0x74, 0x1A, 0x0D, 0x62, 0x6E, 0x3A, 0x36, 0x1C, 0x1B, 0x75, 0x2B, 0x63, 0x76,
    0x55, 0x56, 0x77, 0x78, 0x79, 0x7A, 0x0E, 0x7B, 0x7C, 0x4F, 0x7D, 0x4B, 0x47, 0x7E, 0x7F, 0x6F,
    0x52, 0x53, 0x50, 0x4C, 0x4D, 0x48, 0x01, 0x45, 0x57, 0x4E, 0x51, 0x4A, 0x37, 0x49, 0x46, 0x54,
];

/// Keys whose set 3 code is not that of set 2: `(key number, code)`.
#[rustfmt::skip]
const SET3: [(u8, u8); 43] = [
    (0x01, 0x08), (0x3B, 0x07), (0x3C, 0x0F), (0x3D, 0x17), (0x3E, 0x1F), (0x3F, 0x27), (0x40, 0x2F), (0x41, 0x37),
    (0x42, 0x3F), (0x43, 0x47), (0x44, 0x4F), (0x57, 0x56), (0x58, 0x5E), (0xB7, 0x57), (0x46, 0x5F), (0xC6, 0x62),
    (0xD2, 0x67), (0xC7, 0x6E), (0xC9, 0x6F), (0xD3, 0x64), (0xCF, 0x65), (0xD1, 0x6D), (0xC8, 0x63), (0xCB, 0x61),
    (0xD0, 0x60), (0xCD, 0x6A), (0x45, 0x76), (0xB5, 0x77), (0x37, 0x7E), (0x4A, 0x84), (0x4E, 0x7C), (0x9C, 0x79),
    (0x2B, 0x5C), (0x3A, 0x14), (0x1D, 0x11), (0x38, 0x19), (0xB8, 0x39), (0x9D, 0x58), (0xDB, 0x8B), (0xDC, 0x8C),
    (0xDD, 0x8D), (0x56, 0x13), (0x53, 0x71),
];

/// What the 8042 makes of a byte from the keyboard, beside the break prefix.
pub(super) fn translate(code: u8) -> u8 {
    match code {
        0x83 => 0x41,
        0x84 => 0x54,
        c => TRANSLATION.get(c as usize).copied().unwrap_or(c),
    }
}
/// The set 2 code of a set 1 code.
fn set2(code: u8) -> u8 {
    match code {
        0x41 => 0x83,
        0x54 => 0x84,
        c => TRANSLATION.iter().position(|t| *t == c).unwrap_or(0) as u8,
    }
}

const ACK: u8 = 0xFA;
const RESEND: u8 = 0xFE;
/// Keys wait here, as many as fit.
const QUEUE: usize = 16;

state! {
    /// Everything the guest can see.
    pub struct State {
        1 set: u8 = 2,
        2 leds: u8 = 0,
        3 enabled: bool = true,
        /// The command whose argument comes next.
        4 command: u8 = 0,
        5 replies: VecDeque<u8> = VecDeque::new(),
        6 keys: VecDeque<u8> = VecDeque::new(),
        7 last: u8 = 0,
    }
}

#[derive(Default)]
pub struct Keyboard {
    pub s: State,
}

impl Keyboard {
    pub fn leds(&self) -> u8 {
        self.s.leds
    }
    /// The next byte on the line.
    pub fn take(&mut self) -> Option<u8> {
        let byte = self.s.replies.pop_front().or_else(|| self.s.keys.pop_front())?;
        self.s.last = byte;
        Some(byte)
    }
    pub fn has_data(&self) -> bool {
        !self.s.replies.is_empty() || !self.s.keys.is_empty()
    }
    fn reply(&mut self, bytes: &[u8]) {
        // A guest that never reads its replies loses the oldest.
        self.s.replies.extend(bytes);
        let extra = self.s.replies.len().saturating_sub(QUEUE);
        self.s.replies.drain(..extra);
    }
    /// A key by its number: set 1 code, with 0x80 for those prefixed 0xE0.
    pub fn key(&mut self, key: u8, down: bool) {
        if !self.s.enabled || key & 0x7F == 0 {
            return;
        }
        let codes = self.codes(key, down);
        if self.s.keys.len() + codes.len() <= QUEUE {
            self.s.keys.extend(codes);
        }
    }
    fn codes(&self, key: u8, down: bool) -> Vec<u8> {
        let (code, extended) = (key & 0x7F, key & 0x80 != 0);
        if self.s.set == 3 {
            let code = SET3.iter().find(|(k, _)| *k == key).map_or(set2(code), |(_, c)| *c);
            return if down { vec![code] } else { vec![0xF0, code] };
        }
        // Pause and Print Screen have codes of their own.
        let raw = |set1: u8| if self.s.set == 1 { set1 } else { set2(set1) };
        let one = |prefix: &[u8], code: u8, down: bool| {
            let mut out = prefix.to_vec();
            match (down, self.s.set) {
                (true, _) => out.push(raw(code)),
                (false, 1) => out.push(code | 0x80),
                (false, _) => out.extend([0xF0, raw(code)]),
            }
            out
        };
        match (key, down) {
            (0xC6, true) => [
                one(&[0xE1], 0x1D, true),
                one(&[], 0x45, true),
                one(&[0xE1], 0x1D, false),
                one(&[], 0x45, false),
            ]
            .concat(),
            (0xC6, false) => Vec::new(),
            (0xB7, true) => [one(&[0xE0], 0x2A, true), one(&[0xE0], 0x37, true)].concat(),
            (0xB7, false) => [one(&[0xE0], 0x37, false), one(&[0xE0], 0x2A, false)].concat(),
            _ => one(if extended { &[0xE0] } else { &[] }, code, down),
        }
    }
    fn defaults(&mut self, enabled: bool) {
        self.s =
            State { enabled, replies: std::mem::take(&mut self.s.replies), ..State::default() };
    }
    /// A byte from the computer.
    pub fn write(&mut self, value: u8) {
        match (std::mem::take(&mut self.s.command), value) {
            // Arguments, unless it is a command after all.
            (0xED, 0..0xED) => {
                self.s.leds = value & 7;
                self.reply(&[ACK]);
            }
            (0xF0, 0) => self.reply(&[ACK, self.s.set]),
            (0xF0, 1..=3) => {
                self.s.set = value;
                self.s.keys.clear();
                self.reply(&[ACK]);
            }
            // Typematic rate; keys whose behaviour in set 3 changes.
            (0xF3 | 0xFB..=0xFD, 0..0xED) => self.reply(&[ACK]),
            (_, 0xEE) => self.reply(&[0xEE]),
            (_, 0xED | 0xF0 | 0xF3 | 0xFB..=0xFD) => {
                self.s.command = value;
                self.reply(&[ACK]);
            }
            (_, 0xF2) => self.reply(&[ACK, 0xAB, 0x83]),
            (_, 0xF4) => {
                self.s.enabled = true;
                self.reply(&[ACK]);
            }
            (_, 0xF5 | 0xF6) => {
                self.defaults(value == 0xF6);
                self.reply(&[ACK]);
            }
            (_, 0xF7..=0xFA) => self.reply(&[ACK]),
            (_, 0xFE) => self.reply(&[self.s.last]),
            (_, 0xFF) => {
                self.s = State::default();
                self.reply(&[ACK, 0xAA]);
            }
            _ => self.reply(&[RESEND]),
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn all(k: &mut Keyboard) -> Vec<u8> {
        std::iter::from_fn(|| k.take()).collect()
    }
    fn pressed(set: u8, key: u8) -> Vec<u8> {
        let mut k = Keyboard::default();
        k.s.set = set;
        k.key(key, true);
        k.key(key, false);
        all(&mut k)
    }

    #[test]
    fn keys_have_codes_in_three_sets() {
        assert_eq!(pressed(2, 0x1E), [0x1C, 0xF0, 0x1C]);
        assert_eq!(pressed(1, 0x1E), [0x1E, 0x9E]);
        assert_eq!(pressed(3, 0x1E), [0x1C, 0xF0, 0x1C]);
        assert_eq!(pressed(2, 0xC8), [0xE0, 0x75, 0xE0, 0xF0, 0x75]);
        assert_eq!(pressed(3, 0xC8), [0x63, 0xF0, 0x63]);
        assert_eq!(pressed(2, 0x41), [0x83, 0xF0, 0x83]);
        assert_eq!(pressed(2, 0xC6), [0xE1, 0x14, 0x77, 0xE1, 0xF0, 0x14, 0xF0, 0x77]);
        assert_eq!(pressed(1, 0xB7), [0xE0, 0x2A, 0xE0, 0x37, 0xE0, 0xB7, 0xE0, 0xAA]);
    }

    #[test]
    fn every_key_of_set_1_comes_back_from_set_2() {
        for code in (1..=0x58).filter(|c| *c != 0x55) {
            assert_eq!(translate(set2(code)), code, "{code:#x}");
        }
    }

    #[test]
    fn commands_are_acknowledged() {
        let mut k = Keyboard::default();
        for (bytes, want) in [
            (vec![0xFF], vec![0xFA, 0xAA]),
            (vec![0xF2], vec![0xFA, 0xAB, 0x83]),
            (vec![0xED, 5], vec![0xFA, 0xFA]),
            (vec![0xF0, 0], vec![0xFA, 0xFA, 2]),
            (vec![0xF0, 3, 0xF0, 0], vec![0xFA, 0xFA, 0xFA, 0xFA, 3]),
            (vec![0xEE], vec![0xEE]),
            (vec![0xF3, 0x20], vec![0xFA, 0xFA]),
            (vec![0x12], vec![0xFE]),
            (vec![0xFE], vec![0xFE]),
        ] {
            bytes.iter().for_each(|b| k.write(*b));
            assert_eq!(all(&mut k), want, "{bytes:x?}");
        }
        assert_eq!(k.leds(), 5);
        k.write(0xF5);
        k.key(0x1E, true);
        assert_eq!(all(&mut k), [0xFA]);
    }
}
