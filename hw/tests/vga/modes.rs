//! Register values of IBM's modes, and of two that games made.  IBM PS/2 Hardware Interface Technical Reference.

/// What the registers hold in a mode: miscellaneous output, sequencer, CRT controller, graphics and attribute controllers.
pub struct Mode {
    pub misc: u8,
    pub sequencer: [u8; 5],
    pub crtc: [u8; 25],
    pub graphics: [u8; 9],
    pub attribute: [u8; 21],
}

/// Reads hexadecimal digits.
fn hex<const N: usize>(text: &str) -> [u8; N] {
    let bytes: Vec<u8> =
        text.split_whitespace().map(|b| u8::from_str_radix(b, 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

fn mode(rows: [&str; 5]) -> Mode {
    let [misc, sequencer, crtc, graphics, attribute] = rows;
    let [misc] = hex(misc);
    Mode {
        misc,
        sequencer: hex(sequencer),
        crtc: hex(crtc),
        graphics: hex(graphics),
        attribute: hex(attribute),
    }
}

const SIXTEEN: &str = "00 01 02 03 04 05 14 07 38 39 3A 3B 3C 3D 3E 3F 01 00 0F 00 00";
const PLAIN: &str = "00 01 02 03 04 05 06 07 08 09 0A 0B 0C 0D 0E 0F 41 00 0F 00 00";
const PAGE: &str = "00 01 02 03 04 05 14 07 38 39 3A 3B 3C 3D 3E 3F 0C 00 0F 08 00";
const CGA: &str = "00 13 15 17 02 04 06 07 10 11 12 13 14 15 16 17 01 00 03 00 00";

#[rustfmt::skip]
pub fn named(name: &str) -> Mode {
    match name {
        "80x25" => mode(["67", "03 00 03 00 02",
            "5F 4F 50 82 55 81 BF 1F 00 4F 2D 0E 00 00 00 00 9C 8E 8F 28 1F 96 B9 A3 FF",
            "00 00 00 00 00 10 0E 0F FF", PAGE]),
        "40x25" => mode(["67", "03 08 03 00 02",
            "2D 27 28 90 2B A0 BF 1F 00 4F 2D 0E 00 00 00 00 9C 8E 8F 14 1F 96 B9 A3 FF",
            "00 00 00 00 00 10 0E 0F FF", PAGE]),
        "80x50, 8 dots, two fonts" => mode(["63", "03 01 03 04 02",
            "5F 4F 50 82 55 81 BF 1F 00 47 26 07 00 00 00 00 9C 8E 8F 28 1F 96 B9 A3 FF",
            "00 00 00 00 00 10 0E 0F FF", PLAIN]),
        "0Dh" => mode(["63", "03 09 0F 00 06",
            "2D 27 28 90 2B 80 BF 1F 00 C0 00 00 00 00 00 00 9C 8E 8F 14 00 96 B9 E3 FF",
            "00 00 00 00 00 00 05 0F FF", SIXTEEN]),
        "12h" => mode(["E3", "03 01 0F 00 06",
            "5F 4F 50 82 54 80 0B 3E 00 40 00 00 00 00 00 00 EA 8C DF 28 00 E7 04 E3 FF",
            "00 00 00 00 00 00 05 0F FF", SIXTEEN]),
        "13h" => mode(["63", "03 01 0F 00 0E",
            "5F 4F 50 82 54 80 BF 1F 00 41 00 00 00 00 00 00 9C 8E 8F 28 40 96 B9 A3 FF",
            "00 00 00 00 00 40 05 0F FF", PLAIN]),
        "X" => mode(["E3", "03 01 0F 00 06",
            "5F 4F 50 82 54 80 0D 3E 00 41 00 00 00 00 00 00 EA AC DF 28 00 E7 06 E3 FF",
            "00 00 00 00 00 40 05 0F FF", PLAIN]),
        "4" => mode(["63", "03 09 03 00 02",
            "2D 27 28 90 2B 80 BF 1F 00 C1 00 00 00 00 00 00 9C 8E 8F 14 00 96 B9 A2 FF",
            "00 00 00 00 00 30 0F 0F FF", CGA]),
        "6" => mode(["63", "03 01 01 00 06",
            "5F 4F 50 82 54 80 BF 1F 00 C1 00 00 00 00 00 00 9C 8E 8F 28 00 96 B9 C2 FF",
            "00 00 00 00 00 00 0D 0F FF", SIXTEEN]),
        _ => panic!("{name}"),
    }
}
