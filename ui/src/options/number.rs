//! Numbers as QEMU reads them.

/// A whole number: decimal, 0x hexadecimal, or octal with a leading 0.
pub fn whole(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let digits = |d: &str, radix| {
        let plain = !d.is_empty() && d.bytes().all(|b| b.is_ascii_alphanumeric());
        plain.then(|| u64::from_str_radix(d, radix).ok()).flatten()
    };
    match lower.strip_prefix("0x") {
        Some(hex) => digits(hex, 16),
        None if lower.len() > 1 && lower.starts_with('0') => digits(&lower[1..], 8),
        None => digits(&lower, 10),
    }
}

/// A size: a number, perhaps with decimals, and a suffix B, K, M, G or T of either case (powers of 1024).
/// Without a suffix it counts in units of `unit` bytes.
pub fn size(text: &str, unit: u64) -> Option<u64> {
    if text.starts_with("0x") || text.starts_with("0X") {
        return whole(text)?.checked_mul(unit);
    }
    let (digits, unit) = match text.as_bytes().last()?.to_ascii_uppercase() {
        b'B' => (&text[..text.len() - 1], 1),
        b'K' => (&text[..text.len() - 1], 1 << 10),
        b'M' => (&text[..text.len() - 1], 1 << 20),
        b'G' => (&text[..text.len() - 1], 1 << 30),
        b'T' => (&text[..text.len() - 1], 1 << 40),
        _ => (text, unit),
    };
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, "0"));
    let plain = |d: &str| !d.is_empty() && d.len() < 19 && d.bytes().all(|b| b.is_ascii_digit());
    if !plain(whole) || !plain(decimals) {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let part: u128 = decimals.parse().ok()?;
    let part = part * u128::from(unit) / 10u128.pow(decimals.len() as u32);
    whole.checked_mul(unit)?.checked_add(part as u64)
}

/// `on` and `off` in all their spellings.
pub fn on_off(text: &str) -> Option<bool> {
    match text {
        "on" | "yes" | "true" | "y" => Some(true),
        "off" | "no" | "false" | "n" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn numbers_are_read_as_written() {
        for (text, want) in [
            ("0", Some(0)),
            ("12", Some(12)),
            ("0x1F", Some(31)),
            ("017", Some(15)),
            ("", None),
            ("+1", None),
            ("-1", None),
            ("08", None),
            ("0x", None),
            ("1 ", None),
            ("18446744073709551616", None),
        ] {
            assert_eq!(whole(text), want, "{text}");
        }
    }

    #[test]
    fn sizes_take_suffixes_and_decimals() {
        for (text, want) in [
            ("512", Some(512 << 20)),
            ("1G", Some(1 << 30)),
            ("1.5g", Some(3 << 29)),
            ("4096B", Some(4096)),
            ("64k", Some(65536)),
            ("0x10", Some(16 << 20)),
            ("G", None),
            ("1.G", None),
            (".5G", None),
            ("-1G", None),
            ("1GB", None),
            ("99999999999999999T", None),
            ("", None),
        ] {
            assert_eq!(size(text, 1 << 20), want, "{text}");
        }
    }
}
