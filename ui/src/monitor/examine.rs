//! `x`, `xp` and `print`: memory and numbers in many forms.

use super::expression::evaluate;
use crate::guest::{CodeWidth, Guest};
use iced_x86::{Decoder, DecoderOptions, Formatter, GasFormatter};

/// How values are shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Format {
    pub count: u64,
    pub form: char,
    /// Bytes of a value: 1, 2, 4 or 8.
    pub size: usize,
}

/// No command shows more values than this.
const MOST: u64 = 1 << 16;

/// Splits `/4xw rest`. The form and size that are not given are those of the last time.
pub fn format<'a>(text: &'a str, last: &Format) -> Result<(Format, &'a str), String> {
    let Some(text) = text.trim_start().strip_prefix('/') else {
        return Ok((Format { count: 1, ..*last }, text));
    };
    let (letters, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let digits = letters.len() - letters.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let mut f = Format { count: 1, ..*last };
    if digits > 0 {
        let count = letters[..digits].parse().ok().filter(|n| (1..=MOST).contains(n));
        f.count = count.ok_or_else(|| format!("invalid count: expected 1 to {MOST}"))?;
    }
    for c in letters[digits..].chars() {
        match c {
            'o' | 'd' | 'u' | 'x' | 'i' | 'c' => f.form = c,
            'b' => f.size = 1,
            'h' => f.size = 2,
            'w' | 'L' => f.size = 4,
            'g' => f.size = 8,
            _ => return Err(format!("invalid char in format: '{c}'")),
        }
    }
    Ok((f, rest))
}

/// One value.
pub fn value(n: u64, f: &Format) -> String {
    let bits = 8 * f.size as u32;
    let n = if bits < 64 { n & ((1 << bits) - 1) } else { n };
    let signed = (n << (64 - bits)) as i64 >> (64 - bits);
    // So wide are the longest numbers of that many bits.
    let decimal = (bits as usize * 10).div_ceil(33);
    match f.form {
        'o' => format!("{:#0w$o}", n, w = bits.div_ceil(3) as usize).replacen("0o", "0", 1),
        'd' => format!("{signed:decimal$}"),
        'u' => format!("{n:decimal$}"),
        'c' => match n as u8 {
            b'\'' => "'\\''".into(),
            b'\\' => "'\\\\'".into(),
            b'\n' => "'\\n'".into(),
            b'\r' => "'\\r'".into(),
            c @ 32..=126 => format!("'{}'", char::from(c)),
            c => format!("'\\x{c:02x}'"),
        },
        _ => format!("{n:#0w$x}", w = 2 + 2 * f.size),
    }
}

/// `print/f expression`.
pub fn print(guest: &dyn Guest, cpu: u32, args: &str) -> Result<String, String> {
    let last = Format { count: 1, form: 'd', size: 8 };
    let (f, rest) = format(args, &last)?;
    let n = evaluate(rest, &|name| guest.register(cpu, name))?;
    Ok(match f.form {
        'o' => format!("{n:#o}\n").replacen("0o", "0", 1),
        'x' => format!("{n:#x}\n"),
        'u' => format!("{n}\n"),
        'c' => format!("{}\n", value(n, &Format { size: 1, ..f })),
        _ => format!("{}\n", n as i64),
    })
}

/// `x/f address` and `xp/f address`.
pub fn dump(
    guest: &mut dyn Guest,
    cpu: u32,
    args: &str,
    physical: bool,
    last: &mut Format,
) -> Result<String, String> {
    let (f, rest) = format(args, last)?;
    let at = evaluate(rest, &|name| guest.register(cpu, name))?;
    if f.form != 'i' {
        *last = f;
    }
    let mut read = |at, into: &mut [u8]| match physical {
        true => guest.read_physical(at, into),
        false => guest.read_virtual(cpu, at, into),
    };
    if f.form == 'i' {
        // Instructions are at most 15 bytes; where memory ends early, the last few come byte by byte.
        let mut code = vec![0; 15 * f.count.min(4096) as usize];
        let mut there = code.len();
        if read(at, &mut code).is_err() {
            there = (0..code.len())
                .find(|&n| read(at.wrapping_add(n as u64), &mut code[n..n + 1]).is_err())
                .unwrap_or(code.len());
        }
        let width = guest.code_width(cpu);
        return Ok(disassemble(&code[..there], at, f.count, width));
    }
    let f = if f.form == 'c' { Format { size: 1, ..f } } else { f };
    let per_line = if f.size == 1 { 8 } else { 16 / f.size as u64 };
    let mut text = String::new();
    for n in 0..f.count {
        let here = at.wrapping_add(n * f.size as u64);
        if n % per_line == 0 {
            if n > 0 {
                text.push('\n');
            }
            text += &format!("{here:016x}:");
        }
        let mut bytes = [0; 8];
        if read(here, &mut bytes[..f.size]).is_err() {
            text += "\nCannot access memory";
            break;
        }
        text += &format!(" {}", value(u64::from_le_bytes(bytes), &f));
    }
    Ok(text + "\n")
}

fn disassemble(code: &[u8], at: u64, count: u64, width: CodeWidth) -> String {
    let (bits, digits) = match width {
        CodeWidth::Bits16 => (16, 8),
        CodeWidth::Bits32 => (32, 8),
        CodeWidth::Bits64 => (64, 16),
    };
    let mut decoder = Decoder::with_ip(bits, code, at, DecoderOptions::NONE);
    let mut formatter = GasFormatter::new();
    let mut text = String::new();
    for _ in 0..count {
        if !decoder.can_decode() {
            text += "Cannot access memory\n";
            break;
        }
        let start = decoder.position();
        let i = decoder.decode();
        let bytes = &code[start..decoder.position()];
        let hex: Vec<_> = bytes.iter().map(|b| format!("{b:02x}")).collect();
        let mut shown = String::new();
        formatter.format(&i, &mut shown);
        text += &format!("0x{:0digits$x}:  {:<24} {shown}\n", i.ip(), hex.join(" "));
    }
    text
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn formats_are_read_and_values_shown() {
        let last = Format { count: 9, form: 'x', size: 4 };
        let of = |count, form, size| Format { count, form, size };
        assert_eq!(format("/10i $pc", &last), Ok((of(10, 'i', 4), "$pc")));
        assert_eq!(format(" /xg 1", &last), Ok((of(1, 'x', 8), "1")));
        assert_eq!(format("1", &last), Ok((of(1, 'x', 4), "1")));
        assert!(format("/0x 1", &last).is_err());
        assert!(format("/99999999999999999999x 1", &last).is_err());
        assert_eq!(format("/q 1", &last), Err("invalid char in format: 'q'".into()));
        for (form, size, want) in [
            ('x', 4, "0xfffffffe"),
            ('x', 1, "0xfe"),
            ('x', 8, "0x00000000fffffffe"),
            ('d', 4, "         -2"),
            ('u', 2, "65534"),
            ('o', 1, "0376"),
            ('c', 1, "'\\xfe'"),
        ] {
            let got = value(0xFFFF_FFFE, &of(1, form, size));
            assert_eq!(got.trim(), want.trim(), "{form}{size}");
        }
    }

    #[test]
    fn code_is_shown_as_instructions() {
        let text = disassemble(&[0x90, 0xB8, 1, 0, 0, 0, 0x0F], 0x100, 3, CodeWidth::Bits64);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("0x0000000000000100:  90"), "{text}");
        assert!(lines[1].ends_with("mov $1,%eax"), "{text}");
        assert_eq!(lines.len(), 3);
    }
}
