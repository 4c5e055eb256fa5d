//! Changes at random, mostly where they matter.

use super::Rng;
use super::sample::Sample;
use crate::bytes::put;

/// Names of backing files that a stranger might try.
const NAMES: &[&str] = &[
    "../secret",
    "link",
    "/etc/passwd",
    "base/../../secret",
    "image",
    "raw",
    "base/raw",
    "./image",
    "file:raw",
    "file:../secret",
    "json:{\"driver\":\"file\",\"filename\":\"../secret\"}",
    "nbd://127.0.0.1:1/x",
    "fat:rw:/",
    "base",
    "/dev/stdin",
    "/proc/self/mem",
    "/dev/zero",
    "raw\0../secret",
    "",
    ".",
    "..",
    "http:x",
];

/// A changed image.
pub fn mutate(sample: &Sample, rng: &mut Rng) -> Vec<u8> {
    let mut bytes = sample.bytes.clone();
    for _ in 0..rng.below(6) {
        change(sample, &mut bytes, rng);
    }
    if rng.below(4) == 0 {
        name(&mut bytes, NAMES[rng.below(NAMES.len() as u64) as usize], rng);
    }
    if rng.below(20) == 0 {
        bytes.truncate(rng.below(bytes.len() as u64) as usize);
    }
    bytes
}

fn change(sample: &Sample, bytes: &mut [u8], rng: &mut Rng) {
    let len = bytes.len() as u64;
    let at = match rng.below(8) {
        // The header's fields, and what follows them.
        0..2 => 4 * rng.below(28),
        2 => 104 + rng.below(200),
        // Entries of tables.
        3..7 => {
            let table = sample.tables[rng.below(sample.tables.len() as u64) as usize];
            table + 8 * rng.below(sample.cluster.min(512) / 8)
        }
        _ => rng.below(len),
    };
    let value = value(sample, len, rng);
    let width = [1, 2, 4, 8][rng.below(4) as usize];
    let width = if at % 8 == 0 && rng.below(2) == 0 { 8 } else { width };
    if at + width as u64 <= len {
        put(bytes, at as usize, &value.to_be_bytes()[8 - width..]);
    }
}

/// A number that may be trouble.
fn value(sample: &Sample, len: u64, rng: &mut Rng) -> u64 {
    let table = sample.tables[rng.below(sample.tables.len() as u64) as usize];
    let flags = [0, 1 << 63, 1 << 62, 1, 1 << 63 | 1, 3 << 62][rng.below(6) as usize];
    match rng.below(10) {
        0 => rng.next(),
        1 => rng.below(64),
        2 => 1 << rng.below(64),
        3 => (1u64 << rng.below(64)).wrapping_sub(1),
        4 => table | flags,
        5 => rng.below(len / sample.cluster + 3) * sample.cluster | flags,
        6 => rng.below(len * 2) | flags,
        7 => flags,
        8 => u64::MAX - rng.below(2048),
        _ => 1 << 56 | flags | rng.below(2) << 9,
    }
}

/// Another name of a backing file.
fn name(bytes: &mut [u8], name: &str, rng: &mut Rng) {
    let at = 112 + 8 * rng.below(30);
    if bytes.len() as u64 > at + 64 + name.len() as u64 && at as usize + name.len() < 512 {
        put(bytes, at as usize, name.as_bytes());
        put(bytes, 8, &at.to_be_bytes());
        put(bytes, 16, &(name.len() as u32).to_be_bytes());
    }
}
