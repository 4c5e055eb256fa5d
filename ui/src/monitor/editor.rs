//! One line of input over any character device: echo, cursor keys, history.
//!
//! The bytes are those of a terminal: control characters and ECMA-48 escape sequences.

use std::collections::VecDeque;

/// So many bytes make a line; more are ignored.
const LONGEST: usize = 4096;
/// So many lines are remembered.
const HISTORY: usize = 64;

/// What a byte did.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Still the same line.
    Typing,
    /// The line is complete.
    Line(String),
    /// The tab key: the text before the cursor wants completing.
    Complete(String),
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum At {
    #[default]
    Text,
    Escape,
    /// After `ESC [` or `ESC O`, with the number so far.
    Sequence(u32),
}

/// The line being typed.
#[derive(Debug, Default)]
pub struct Editor {
    pub prompt: String,
    line: Vec<u8>,
    cursor: usize,
    at: At,
    history: VecDeque<Vec<u8>>,
    /// Which line of the history is shown; its length: the new line.
    shown: usize,
    /// The new line, while one of the history is shown.
    new_line: Vec<u8>,
    last_was_cr: bool,
}

impl Editor {
    pub fn new(prompt: &str) -> Editor {
        Editor { prompt: prompt.to_string(), ..Editor::default() }
    }

    /// Shows the prompt and what has been typed.
    pub fn show(&self, out: &mut Vec<u8>) {
        out.extend(self.prompt.as_bytes());
        out.extend(&self.line);
        back(out, self.line.len() - self.cursor);
    }

    pub fn history(&self) -> impl Iterator<Item = String> + '_ {
        self.history.iter().map(|l| String::from_utf8_lossy(l).into_owned())
    }

    /// Takes a byte; what is to be shown for it goes to `out`.
    pub fn byte(&mut self, b: u8, out: &mut Vec<u8>) -> Step {
        let after_cr = std::mem::replace(&mut self.last_was_cr, b == b'\r');
        match self.at {
            At::Text => return self.text(b, after_cr, out),
            At::Escape => {
                self.at = At::Text;
                match b {
                    b'[' | b'O' => self.at = At::Sequence(0),
                    b'b' => self.go(self.word_before(), out),
                    b'f' => self.go(self.word_after(), out),
                    b'd' => self.cut(self.cursor, self.word_after(), out),
                    _ => {}
                }
            }
            At::Sequence(n) => {
                self.at = At::Text;
                match (b, n) {
                    (b'0'..=b'9', _) => {
                        self.at =
                            At::Sequence(n.saturating_mul(10).saturating_add(u32::from(b - b'0')));
                    }
                    (b';', _) => self.at = At::Sequence(0),
                    (b'A', _) => self.recall(self.shown.checked_sub(1), out),
                    (b'B', _) => self.recall(Some(self.shown + 1), out),
                    (b'C', _) => self.go(self.cursor + 1, out),
                    (b'D', _) => self.go(self.cursor.saturating_sub(1), out),
                    (b'H', _) | (b'~', 1 | 7) => self.go(0, out),
                    (b'F', _) | (b'~', 4 | 8) => self.go(self.line.len(), out),
                    (b'~', 3) => self.cut(self.cursor, self.cursor + 1, out),
                    _ => {}
                }
            }
        }
        Step::Typing
    }

    fn text(&mut self, b: u8, after_cr: bool, out: &mut Vec<u8>) -> Step {
        match b {
            b'\n' if after_cr => {}
            b'\r' | b'\n' => {
                out.extend(b"\r\n");
                return Step::Line(self.finish());
            }
            b'\t' => {
                let before = String::from_utf8_lossy(&self.line[..self.cursor]).into_owned();
                return Step::Complete(before);
            }
            0x1B => self.at = At::Escape,
            // ^A ^B ^E ^F: to the start, back, to the end, on.
            0x01 => self.go(0, out),
            0x02 => self.go(self.cursor.saturating_sub(1), out),
            0x05 => self.go(self.line.len(), out),
            0x06 => self.go(self.cursor + 1, out),
            // ^D, backspace, ^K, ^U, ^W: delete this, the one before, to the end, to the start, the word before.
            0x04 => self.cut(self.cursor, self.cursor + 1, out),
            0x08 | 0x7F if self.cursor > 0 => self.cut(self.cursor - 1, self.cursor, out),
            0x0B => self.cut(self.cursor, self.line.len(), out),
            0x15 => self.cut(0, self.cursor, out),
            0x17 => self.cut(self.word_before(), self.cursor, out),
            // ^L: all again; ^N and ^P: the history; ^C: a new line.
            0x0C => {
                out.extend(b"\x1b[2J\x1b[1;1H");
                self.show(out);
            }
            0x0E => self.recall(Some(self.shown + 1), out),
            0x10 => self.recall(self.shown.checked_sub(1), out),
            0x03 => {
                self.cut(0, self.line.len(), out);
            }
            0x20..=0x7E | 0x80.. => self.insert(&[b], out),
            _ => {}
        }
        Step::Typing
    }

    /// Puts text in at the cursor.
    pub fn insert(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.line.len() + bytes.len() > LONGEST {
            return;
        }
        self.line.splice(self.cursor..self.cursor, bytes.iter().copied());
        out.extend(&self.line[self.cursor..]);
        self.cursor += bytes.len();
        back(out, self.line.len() - self.cursor);
    }

    fn finish(&mut self) -> String {
        let line = std::mem::take(&mut self.line);
        self.cursor = 0;
        if !line.iter().all(u8::is_ascii_whitespace) {
            self.history.retain(|old| *old != line);
            self.history.push_back(line.clone());
            if self.history.len() > HISTORY {
                self.history.pop_front();
            }
        }
        self.shown = self.history.len();
        String::from_utf8_lossy(&line).into_owned()
    }

    fn go(&mut self, to: usize, out: &mut Vec<u8>) {
        let to = to.min(self.line.len());
        match to < self.cursor {
            true => back(out, self.cursor - to),
            false => out.extend(&self.line[self.cursor..to]),
        }
        self.cursor = to;
    }

    fn cut(&mut self, from: usize, to: usize, out: &mut Vec<u8>) {
        let to = to.min(self.line.len());
        if from >= to {
            return;
        }
        self.go(from, out);
        self.line.drain(from..to);
        out.extend(b"\x1b[K");
        out.extend(&self.line[from..]);
        back(out, self.line.len() - from);
    }

    fn recall(&mut self, which: Option<usize>, out: &mut Vec<u8>) {
        let Some(which) = which.filter(|n| *n <= self.history.len()) else { return };
        if self.shown >= self.history.len() {
            self.new_line = self.line.clone();
        }
        self.shown = which;
        let line = self.history.get(which).unwrap_or(&self.new_line).clone();
        self.cut(0, self.line.len(), out);
        self.insert(&line, out);
    }

    fn word_before(&self) -> usize {
        let before = &self.line[..self.cursor];
        let end = before.iter().rposition(|b| *b != b' ').map_or(0, |n| n + 1);
        before[..end].iter().rposition(|b| *b == b' ').map_or(0, |n| n + 1)
    }

    fn word_after(&self) -> usize {
        let after = &self.line[self.cursor..];
        let start = after.iter().position(|b| *b != b' ').unwrap_or(after.len());
        let len = after[start..].iter().position(|b| *b == b' ').unwrap_or(after.len() - start);
        self.cursor + start + len
    }
}

/// Moves the terminal's cursor left.
fn back(out: &mut Vec<u8>, by: usize) {
    for _ in 0..by {
        out.extend(b"\x1b[D");
    }
}

#[cfg(test)]
mod test {
    use super::*;

    /// A terminal of one line: what a person would see.
    fn seen(bytes: &[u8]) -> String {
        let (mut line, mut at, mut i) = (Vec::new(), 0, 0);
        while i < bytes.len() {
            match &bytes[i..] {
                [0x1B, b'[', b'D', ..] => (at, i) = (at - 1, i + 2),
                [0x1B, b'[', b'K', ..] => {
                    line.truncate(at);
                    i += 2;
                }
                [b, ..] => {
                    line.resize(line.len().max(at + 1), 0);
                    line[at] = *b;
                    at += 1;
                }
                [] => unreachable!(),
            }
            i += 1;
        }
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn keys_edit_the_line_and_the_screen_shows_it() {
        for (keys, want) in [
            (&b"help"[..], "help"),
            (b"hlp\x02\x02e", "help"),
            (b"helpx\x7f", "help"),
            (b"elp\x01h\x05!", "help!"),
            (b"xhelp\x01\x04", "help"),
            (b"help me\x17", "help "),
            (b"help me\x15", ""),
            (b"help\x02\x02\x0b", "he"),
            (b"hp\x1b[Del", "help"),
            (b"elp\x1b[Hh\x1b[F.", "help."),
            (b"hhelp\x1b[1~\x1b[3~", "help"),
            (b"a b\x1bbx", "a xb"),
            (b"\x1b[9999999999999~ok\x1b[C\x1bq", "ok"),
        ] {
            let (mut e, mut out) = (Editor::new(""), Vec::new());
            for b in keys {
                assert_eq!(e.byte(*b, &mut out), Step::Typing);
            }
            assert_eq!(seen(&out), want, "{keys:?}");
            assert_eq!(e.byte(b'\r', &mut out), Step::Line(want.into()), "{keys:?}");
        }
    }

    #[test]
    fn earlier_lines_come_back() {
        let (mut e, mut out) = (Editor::new("(qemu) "), Vec::new());
        let mut lines = Vec::new();
        for b in b"one\rtwo\r\n\rthr\x1b[A\x1b[A\x1b[A\x1b[B\x1b[Bee\r\x10\x10\x10\r" {
            if let Step::Line(l) = e.byte(*b, &mut out) {
                lines.push(l);
            }
        }
        assert_eq!(lines, ["one", "two", "", "three", "one"]);
        assert_eq!(e.history().collect::<Vec<_>>(), ["two", "three", "one"]);
    }
}
