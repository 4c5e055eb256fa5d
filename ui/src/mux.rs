//! A character device shared by several front ends: which of them has the keyboard, and the keys that change it.
//!
//! The keys are QEMU's: an escape byte (Ctrl-A) and a letter.

use std::time::Duration;

/// What a byte that came in turns out to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Key {
    /// A byte for the front end that has the keyboard.
    Byte(u8),
    /// The first half of a command, or a command that there is not.
    Nothing,
    Help,
    Exit,
    Break,
    /// The keyboard goes to the next front end.
    Switch,
    /// Times at the beginning of lines, on or off.
    Timestamps,
}

/// The state of one such device.
#[derive(Debug)]
pub struct Mux {
    escape: u8,
    armed: bool,
    timestamps: bool,
    at_line_start: bool,
    /// Which of the front ends has the keyboard.
    pub focus: usize,
}

impl Mux {
    pub fn new(escape: u8) -> Mux {
        Mux { escape, armed: false, timestamps: false, at_line_start: true, focus: 0 }
    }

    pub fn key(&mut self, b: u8) -> Key {
        if !std::mem::take(&mut self.armed) {
            self.armed = b == self.escape;
            return if self.armed { Key::Nothing } else { Key::Byte(b) };
        }
        match b {
            b if b == self.escape => Key::Byte(b),
            b'h' | b'?' => Key::Help,
            b'x' => Key::Exit,
            b'b' => Key::Break,
            b'c' => Key::Switch,
            b't' => {
                self.timestamps = !self.timestamps;
                self.at_line_start = true;
                Key::Timestamps
            }
            _ => Key::Nothing,
        }
    }

    /// The text of Ctrl-A h.
    pub fn help(&self) -> String {
        let escape = match self.escape {
            1..=26 => format!("C-{}", char::from(b'a' - 1 + self.escape)),
            other => format!("<{other:#04x}>"),
        };
        let rows = [
            ("h", "print this help"),
            ("x", "exit emulator"),
            ("t", "toggle console timestamps"),
            ("b", "send break (magic sysrq)"),
            ("c", "switch between console and monitor"),
            (&escape, &format!("sends {escape}")),
        ];
        let rows = rows.map(|(key, what)| format!("{escape} {key:<4} {what}\r\n"));
        format!("\r\n{}", rows.concat())
    }

    /// Output on its way: with times at the beginning of lines, if they are on. `since` is how long we have run.
    pub fn output(&mut self, bytes: &[u8], since: Duration) -> Vec<u8> {
        if !self.timestamps {
            return bytes.to_vec();
        }
        let mut out = Vec::new();
        for &b in bytes {
            if std::mem::take(&mut self.at_line_start) {
                let (s, ms) = (since.as_secs(), since.subsec_millis());
                let text = format!("[{:02}:{:02}:{:02}.{ms:03}] ", s / 3600, s / 60 % 60, s % 60);
                out.extend(text.as_bytes());
            }
            self.at_line_start = b == b'\n';
            out.push(b);
        }
        out
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn keys_after_the_escape_are_commands() {
        use Key::*;
        let rows: &[(&[u8], &[Key])] = &[
            (b"ab", &[Byte(b'a'), Byte(b'b')]),
            (b"\x01x", &[Nothing, Exit]),
            (b"\x01h\x01?", &[Nothing, Help, Nothing, Help]),
            (b"\x01c", &[Nothing, Switch]),
            (b"\x01b", &[Nothing, Break]),
            (b"\x01t", &[Nothing, Timestamps]),
            (b"\x01\x01x", &[Nothing, Byte(1), Byte(b'x')]),
            (b"\x01qx", &[Nothing, Nothing, Byte(b'x')]),
        ];
        for (bytes, want) in rows {
            let mut mux = Mux::new(1);
            let keys: Vec<_> = bytes.iter().map(|b| mux.key(*b)).collect();
            assert_eq!(keys, *want, "{bytes:?}");
        }
        let mut mux = Mux::new(0x14);
        assert_eq!([1, 0x14, b'x'].map(|b| mux.key(b)), [Byte(1), Nothing, Exit]);
        assert!(mux.help().contains("C-t x    exit emulator\r\n"));
    }

    #[test]
    fn timestamps_stand_at_the_beginning_of_lines() {
        let mut mux = Mux::new(1);
        let at = Duration::from_millis(3_723_004);
        assert_eq!(mux.output(b"a\n", at), b"a\n");
        mux.key(1);
        mux.key(b't');
        assert_eq!(mux.output(b"a\nb", at), b"[01:02:03.004] a\n[01:02:03.004] b");
        assert_eq!(mux.output(b"c", at), b"c");
    }
}
