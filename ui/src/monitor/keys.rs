//! Keys by the names that `sendkey` and `send-key` use, with their numbers as [`device::Input::Key`] has them.

#[rustfmt::skip]
const KEYS: &[(&str, u8)] = &[
    ("esc", 0x01), ("1", 0x02), ("2", 0x03), ("3", 0x04), ("4", 0x05), ("5", 0x06), ("6", 0x07), ("7", 0x08), ("8", 0x09),
    ("9", 0x0A), ("0", 0x0B), ("minus", 0x0C), ("equal", 0x0D), ("backspace", 0x0E), ("tab", 0x0F),
    ("q", 0x10), ("w", 0x11), ("e", 0x12), ("r", 0x13), ("t", 0x14), ("y", 0x15), ("u", 0x16), ("i", 0x17), ("o", 0x18),
    ("p", 0x19), ("bracket_left", 0x1A), ("bracket_right", 0x1B), ("ret", 0x1C), ("ctrl", 0x1D),
    ("a", 0x1E), ("s", 0x1F), ("d", 0x20), ("f", 0x21), ("g", 0x22), ("h", 0x23), ("j", 0x24), ("k", 0x25), ("l", 0x26),
    ("semicolon", 0x27), ("apostrophe", 0x28), ("grave_accent", 0x29), ("shift", 0x2A), ("backslash", 0x2B),
    ("z", 0x2C), ("x", 0x2D), ("c", 0x2E), ("v", 0x2F), ("b", 0x30), ("n", 0x31), ("m", 0x32),
    ("comma", 0x33), ("dot", 0x34), ("slash", 0x35), ("shift_r", 0x36), ("asterisk", 0x37), ("kp_multiply", 0x37),
    ("alt", 0x38), ("spc", 0x39), ("caps_lock", 0x3A),
    ("f1", 0x3B), ("f2", 0x3C), ("f3", 0x3D), ("f4", 0x3E), ("f5", 0x3F), ("f6", 0x40), ("f7", 0x41), ("f8", 0x42),
    ("f9", 0x43), ("f10", 0x44), ("f11", 0x57), ("f12", 0x58),
    ("num_lock", 0x45), ("scroll_lock", 0x46), ("kp_7", 0x47), ("kp_8", 0x48), ("kp_9", 0x49), ("kp_subtract", 0x4A),
    ("kp_4", 0x4B), ("kp_5", 0x4C), ("kp_6", 0x4D), ("kp_add", 0x4E), ("kp_1", 0x4F), ("kp_2", 0x50), ("kp_3", 0x51),
    ("kp_0", 0x52), ("kp_decimal", 0x53), ("sysrq", 0x54), ("less", 0x56), ("kp_equals", 0x59),
    ("kp_enter", 0x9C), ("ctrl_r", 0x9D), ("kp_divide", 0xB5), ("print", 0xB7), ("alt_r", 0xB8), ("pause", 0xC6),
    ("home", 0xC7), ("up", 0xC8), ("pgup", 0xC9), ("left", 0xCB), ("right", 0xCD), ("end", 0xCF), ("down", 0xD0),
    ("pgdn", 0xD1), ("insert", 0xD2), ("delete", 0xD3), ("meta_l", 0xDB), ("meta_r", 0xDC), ("menu", 0xDD),
    ("power", 0xDE), ("sleep", 0xDF), ("wake", 0xE3),
];

/// The number of a key.
pub fn code(name: &str) -> Option<u8> {
    KEYS.iter().find(|k| k.0 == name).map(|k| k.1)
}

/// `ctrl-alt-delete` or `0x1d-0x38`: keys to be pressed together.
pub fn combination(text: &str) -> Result<Vec<u8>, String> {
    let one = |name: &str| {
        let number = name.strip_prefix("0x").and_then(|hex| u8::from_str_radix(hex, 16).ok());
        let found = code(name).or(number.filter(|n| *n != 0));
        found.ok_or_else(|| format!("unknown key: '{name}'"))
    };
    text.split('-').map(one).collect()
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn combinations_are_taken_apart() {
        assert_eq!(combination("ctrl-alt-delete"), Ok(vec![0x1D, 0x38, 0xD3]));
        assert_eq!(combination("0x2a-a"), Ok(vec![0x2A, 0x1E]));
        assert_eq!(combination("ctrl-"), Err("unknown key: ''".into()));
        assert_eq!(combination("0xfff"), Err("unknown key: '0xfff'".into()));
    }
}
