//! The disk benchmark's program: reads and writes a block device past the guest's cache, and says how long it took.
//!
//! `disk DEVICE KIND SIZE BYTES`: KIND is seqread, seqwrite, randread, randwrite; SIZE is that of one request. It prints
//! `disk begin` and `disk end SUM` around the work; SUM is of what was read. Built by `cargo xtask bench` with rustc alone.

use std::fs::OpenOptions;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

const O_DIRECT: i32 = 0x4000;
/// Random places are within this much from the start.
const SPAN: u64 = 512 << 20;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [device, kind, size, bytes] = &words[..] else { panic!("disk DEVICE KIND SIZE BYTES") };
    let (size, bytes): (usize, u64) = (size.parse().unwrap(), bytes.parse().unwrap());
    let write = kind.ends_with("write");
    let file = OpenOptions::new().read(true).write(write).custom_flags(O_DIRECT).open(device);
    let file = file.unwrap_or_else(|e| panic!("{device}: {e}"));
    let mut memory = vec![0u8; size + 4096];
    let from = memory.as_ptr().align_offset(4096);
    let buffer = &mut memory[from..from + size];
    for (n, b) in buffer.iter_mut().enumerate() {
        *b = n as u8;
    }
    let mut state = 88_172_645_463_325_252u64;
    let mut sum = 0u64;
    println!("disk begin");
    for n in 0..bytes / size as u64 {
        let at = if kind.starts_with("rand") {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % (SPAN / size as u64) * size as u64
        } else {
            n * size as u64 % SPAN
        };
        if write {
            buffer[..8].copy_from_slice(&n.to_le_bytes());
            file.write_all_at(buffer, at).unwrap();
        } else {
            file.read_exact_at(buffer, at).unwrap();
            let word = buffer[size / 2..].first_chunk().map_or(0, |w| u64::from_le_bytes(*w));
            sum = sum.rotate_left(1) ^ word;
        }
    }
    println!("disk end {sum:x}");
}
