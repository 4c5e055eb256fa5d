//! COM1, a 16550A: output by polling, input by interrupt 4.

use crate::port::{read8, write8};
use core::fmt;
use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};

const COM1: u16 = 0x3F8;
const LINE_STATUS: u16 = COM1 + 5;
const DATA_READY: u8 = 1 << 0;
const TRANSMIT_EMPTY: u8 = 1 << 5;

/// What has been typed: written by the interrupt at `HEAD`, read at `TAIL`.
static TYPED: [AtomicU8; 256] = [const { AtomicU8::new(0) }; 256];
static HEAD: AtomicUsize = AtomicUsize::new(0);
static TAIL: AtomicUsize = AtomicUsize::new(0);

pub fn init() {
    let rows = [(1, 0x00), (3, 0x80), (0, 0x01), (1, 0x00), (3, 0x03), (2, 0x07), (4, 0x0B)];
    rows.iter().for_each(|&(register, value)| write8(COM1 + register, value));
}

/// From now on typed bytes raise interrupt 4.
pub fn listen() {
    write8(COM1 + 1, 0x01);
}

pub struct Console;

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                put(b'\r');
            }
            put(byte);
        }
        Ok(())
    }
}

fn put(byte: u8) {
    while read8(LINE_STATUS) & TRANSMIT_EMPTY == 0 {}
    write8(COM1, byte);
}

/// The interrupt's work. Bytes that nobody has read for 255 more are lost.
pub fn receive() {
    while read8(LINE_STATUS) & DATA_READY != 0 {
        let byte = read8(COM1);
        let head = HEAD.load(Relaxed);
        if (head + 1) % TYPED.len() != TAIL.load(Relaxed) {
            TYPED[head].store(byte, Relaxed);
            HEAD.store((head + 1) % TYPED.len(), Relaxed);
        }
    }
}

/// Whether a typed byte waits.
pub fn waiting() -> bool {
    HEAD.load(Relaxed) != TAIL.load(Relaxed)
}

/// A typed byte, if there is one.
pub fn typed() -> Option<u8> {
    if !waiting() {
        return None;
    }
    let tail = TAIL.load(Relaxed);
    TAIL.store((tail + 1) % TYPED.len(), Relaxed);
    Some(TYPED[tail].load(Relaxed))
}

#[macro_export]
macro_rules! print {
    ($($part:tt)*) => {{
        use core::fmt::Write;
        let _ = write!($crate::console::Console, $($part)*);
    }};
}
#[macro_export]
macro_rules! println {
    ($($part:tt)*) => { $crate::print!("{}\n", format_args!($($part)*)) };
}
