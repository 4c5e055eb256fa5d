//! The little of telnet that a serial console needs.  RFC 854, RFC 857, RFC 858.

use super::stream::Piece;

const IAC: u8 = 255;
const SB: u8 = 250;
const SE: u8 = 240;
const BREAK: u8 = 243;

/// What a server says first: we echo (1), never "go ahead" (3), and both ways are 8 bits wide (0).
pub const GREETING: &[u8] = &[IAC, 251, 1, IAC, 251, 3, IAC, 251, 0, IAC, 253, 0];

/// Where in a command the stream is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum At {
    #[default]
    Data,
    Command,
    Option,
    Inside,
    InsideCommand,
}

/// Takes the commands out of what comes in.
#[derive(Default)]
pub struct Filter(At);

impl Filter {
    pub fn pieces(&mut self, bytes: &[u8]) -> Vec<Piece> {
        let (mut pieces, mut data) = (Vec::new(), Vec::new());
        for &b in bytes {
            self.0 = match (self.0, b) {
                (At::Data, IAC) => At::Command,
                (At::Data, b) => {
                    data.push(b);
                    At::Data
                }
                (At::Command, IAC) => {
                    data.push(IAC);
                    At::Data
                }
                (At::Command, BREAK) => {
                    pieces.push(Piece::Bytes(std::mem::take(&mut data)));
                    pieces.push(Piece::Break);
                    At::Data
                }
                (At::Command, SB) => At::Inside,
                (At::Command, 251..=254) => At::Option,
                (At::Command | At::Option, _) => At::Data,
                (At::Inside, IAC) => At::InsideCommand,
                (At::InsideCommand, SE) => At::Data,
                (At::Inside | At::InsideCommand, _) => At::Inside,
            };
        }
        pieces.push(Piece::Bytes(data));
        pieces.retain(|p| *p != Piece::Bytes(Vec::new()));
        pieces
    }
}

/// Doubles the byte that would be a command.
pub fn escape(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|&b| std::iter::repeat_n(b, 1 + usize::from(b == IAC))).collect()
}

/// A peer that speaks telnet.
pub struct Writer<W>(pub W);

impl<W: std::io::Write> std::io::Write for Writer<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write_all(&escape(bytes))?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn commands_are_taken_out_wherever_the_stream_is_cut() {
        let stream = b"a\xff\xfb\x01b\xff\xffc\xff\xf3d\xff\xfa\x18\x00x\xff\xffy\xff\xf0e";
        for cut in 0..stream.len() {
            let mut filter = Filter::default();
            let mut pieces = filter.pieces(&stream[..cut]);
            pieces.extend(filter.pieces(&stream[cut..]));
            let at = pieces.iter().position(|p| *p == Piece::Break).unwrap();
            let join = |p: &[Piece]| -> Vec<u8> {
                let bytes = p.iter().map(|p| match p {
                    Piece::Bytes(b) => b.clone(),
                    Piece::Break => Vec::new(),
                });
                bytes.flatten().collect()
            };
            assert_eq!(join(&pieces[..at]), b"ab\xffc", "cut at {cut}");
            assert_eq!(join(&pieces[at..]), b"de", "cut at {cut}");
        }
        assert_eq!(escape(b"a\xffb"), b"a\xff\xffb");
    }
}
