//! The real-time clock: date, time, and its periodic interrupt.  Motorola MC146818A.

use crate::port::{read8, write8};
use core::fmt;

const UPDATE_IN_PROGRESS: u8 = 1 << 7;
const BINARY: u8 = 1 << 2;
const PERIODIC: u8 = 1 << 6;

fn read(register: u8) -> u8 {
    write8(0x70, register);
    read8(0x71)
}

fn write(register: u8, value: u8) {
    write8(0x70, register);
    write8(0x71, value);
}

#[derive(PartialEq, Clone, Copy)]
pub struct Time {
    year: u32,
    month: u32,
    day: u32,
    hour: u32,
    minute: u32,
    second: u32,
}

impl Time {
    pub fn is_plausible(&self) -> bool {
        let date = (1970..2200).contains(&self.year) && (1..=12).contains(&self.month);
        date && (1..=31).contains(&self.day)
            && self.hour < 24
            && self.minute < 60
            && self.second < 60
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Time { year, month, day, hour, minute, second } = self;
        write!(f, "{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
    }
}

/// Reads until two readings in a row are the same.
pub fn now() -> Time {
    let mut last = once();
    loop {
        let next = once();
        if next == last {
            return next;
        }
        last = next;
    }
}

fn once() -> Time {
    while read(0x0A) & UPDATE_IN_PROGRESS != 0 {}
    let binary = read(0x0B) & BINARY != 0;
    let number = |register| {
        let raw = u32::from(read(register));
        if binary { raw } else { (raw >> 4) * 10 + (raw & 15) }
    };
    Time {
        year: number(0x32) * 100 + number(9),
        month: number(8),
        day: number(7),
        hour: number(4),
        minute: number(2),
        second: number(0),
    }
}

/// The periodic interrupt, 1024 times a second, on or off.
pub fn periodic(on: bool) {
    write(0x0A, 0x26);
    let b = read(0x0B);
    write(0x0B, if on { b | PERIODIC } else { b & !PERIODIC });
    acknowledge();
}

/// A read of register C lets the next interrupt come.
pub fn acknowledge() {
    read(0x0C);
}
