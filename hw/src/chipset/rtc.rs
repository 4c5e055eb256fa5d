//! Real-time clock and battery-backed memory.  Motorola MC146818A data sheet; PIIX4 data sheet, 12.3.
//!
//! Bank 0: the index port 0x70 and the data port 0x71. Output pin [`IRQ8`] is high until register C is read.

use crate::Bytes;
use device::*;

pub const IRQ8: Pin = Pin(0);

/// Registers.
const ALARM: usize = 1;
const A: usize = 10;
const B: usize = 11;
const C: usize = 12;
const D: usize = 13;
const CENTURY: usize = 0x32;
/// Where IBM's PS/2 kept the century.
const CENTURY_PS2: usize = 0x37;

/// Update in progress shows this long before the time changes.  MC146818A, figure 13.
const WARNING: i64 = 244_141;
const DAY: i64 = 86_400;
const NS: i64 = SECOND as i64;

bits! {
    /// Register B: what is enabled, and the formats.
    pub struct Control: u8 {
        daylight: 0, hours24: 1, binary: 2, square_wave: 3, update_irq: 4, alarm_irq: 5, periodic_irq: 6, set: 7,
    }
}
/// Flags of register C, at the places of their enables in B.
const UPDATE: u8 = 0x10;
const ALARMED: u8 = 0x20;
const PERIODIC: u8 = 0x40;

state! {
    /// Everything the guest can see.
    pub struct State {
        1 index: u8 = 0,
        2 cmos: Bytes = Bytes(power_on()),
        /// Nanoseconds since 1970 at tick 0.
        3 epoch: i64 = 0,
        /// The time up to which flags have been worked out.
        4 seen: Tick = 0,
        /// The nanoseconds of the second at which a stopped clock stands.
        5 stopped: Option<u32> = None,
        6 flags: u8 = 0,
    }
}

fn power_on() -> Vec<u8> {
    let mut cmos = vec![0; 128];
    (cmos[A], cmos[B], cmos[D]) = (0x26, 0x02, 0x80);
    cmos
}

#[derive(Default)]
pub struct Rtc {
    s: State,
}

impl Rtc {
    /// A clock that shows this time, in seconds since 1970, at tick 0.
    pub fn new(unix: i64) -> Self {
        let unix = unix.clamp(-(NS * 8), NS * 9);
        Self { s: State { epoch: unix * NS, ..State::default() } }
    }
    /// Time went on outside while none went by for the guest.
    pub fn forward(&mut self, by: Tick, cx: &mut dyn Cx) {
        self.advance(cx.now());
        self.s.epoch = self.s.epoch.saturating_add_unsigned(by);
        self.settle(cx);
    }
    /// Sets a byte of the battery-backed memory, as the board or its firmware does.
    pub fn set(&mut self, at: u8, value: u8) {
        *self.reg(at as usize) = value;
    }
    pub fn get(&self, at: u8) -> u8 {
        self.peek(at as usize)
    }
    /// The sizes that firmware looks up here: conventional, extended, above 16 MiB, above 4 GiB.
    pub fn set_memory(&mut self, below_4g: u64, above_4g: u64) {
        let kib = (below_4g >> 10).saturating_sub(1024).min(0xFFFF);
        let high = (below_4g.saturating_sub(16 << 20) >> 16).min(0xFFFF);
        let above = above_4g >> 16;
        let bytes = [
            (0x15, 640),
            (0x16, 640 >> 8),
            (0x17, kib),
            (0x18, kib >> 8),
            (0x30, kib),
            (0x31, kib >> 8),
            (0x34, high),
            (0x35, high >> 8),
            (0x5B, above),
            (0x5C, above >> 8),
            (0x5D, above >> 16),
        ];
        bytes.into_iter().for_each(|(at, v)| self.set(at, v as u8));
    }
    fn reg(&mut self, at: usize) -> &mut u8 {
        self.s.cmos.0.resize(128, 0);
        &mut self.s.cmos.0[at & 127]
    }
    fn peek(&self, at: usize) -> u8 {
        self.s.cmos.0.get(at & 127).copied().unwrap_or(0)
    }
    fn control(&self) -> Control {
        Control(self.peek(B))
    }
    fn running(&self) -> bool {
        self.s.stopped.is_none()
    }
    /// Nanoseconds since 1970.
    fn time(&self, now: Tick) -> i64 {
        self.s.epoch.saturating_add_unsigned(now)
    }

    // Formats.

    fn encode(&self, v: i64) -> u8 {
        if self.control().binary() { v as u8 } else { (v / 10 * 16 + v % 10) as u8 }
    }
    fn decode(&self, v: u8) -> i64 {
        let v = i64::from(v);
        if self.control().binary() { v } else { (v >> 4) * 10 + (v & 15) }
    }
    fn encode_hour(&self, hour: i64) -> u8 {
        if self.control().hours24() {
            return self.encode(hour);
        }
        let pm = if hour >= 12 { 0x80 } else { 0 };
        self.encode((hour + 11) % 12 + 1) | pm
    }
    fn decode_hour(&self, v: u8) -> i64 {
        if self.control().hours24() {
            return self.decode(v);
        }
        self.decode(v & 0x7F) % 12 + if v & 0x80 != 0 { 12 } else { 0 }
    }
    /// Puts the time into the registers.
    fn show(&mut self, now: Tick) {
        let seconds = self.time(now).div_euclid(NS);
        let (days, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
        let (year, month, day) = civil(days);
        let values = [
            (0, self.encode(second % 60)),
            (2, self.encode(second / 60 % 60)),
            (4, self.encode_hour(second / 3600)),
            (6, self.encode((days + 4).rem_euclid(7) + 1)),
            (7, self.encode(day)),
            (8, self.encode(month)),
            (9, self.encode(year.rem_euclid(100))),
            (CENTURY, self.encode(year.div_euclid(100))),
        ];
        values.into_iter().for_each(|(at, v)| *self.reg(at) = v);
    }
    /// Makes what the registers show the time, `ns` into the second.
    fn take(&mut self, ns: u32, now: Tick) {
        let field = |at| self.decode(self.peek(at));
        let year = field(CENTURY) * 100 + field(9);
        let days = days(year, field(8).clamp(1, 12), field(7).clamp(1, 31));
        let hour = self.decode_hour(self.peek(4));
        let seconds = days * DAY + hour.min(23) * 3600 + field(2).min(59) * 60 + field(0).min(59);
        let seconds = seconds.clamp(-(NS * 8), NS * 9);
        self.s.epoch = (seconds * NS + i64::from(ns)).saturating_sub_unsigned(now);
    }
    /// Whether the divider chain is held in reset.
    fn held(a: u8) -> bool {
        a & 0x60 == 0x60
    }
    /// Stops or starts the clock as A and B say.
    fn run_or_stop(&mut self, was_held: bool, now: Tick) {
        let held = Self::held(self.peek(A));
        match (self.s.stopped, held || self.control().set()) {
            (None, true) => {
                self.show(now);
                self.s.stopped = Some(self.time(now).rem_euclid(NS) as u32);
            }
            (Some(ns), false) => {
                // The first update comes half a second after the divider is let go.
                self.take(if was_held { 500_000_000 } else { ns }, now);
                (self.s.stopped, self.s.seen) = (None, now);
            }
            _ => {}
        }
    }

    // Events.

    /// The period of the periodic interrupt, in clocks of 32768 Hz.
    fn period(&self) -> Option<u64> {
        match self.peek(A) & 0xF {
            0 => None,
            n @ 1..3 => Some(1 << (n + 6)),
            n => Some(1 << (n - 1)),
        }
    }
    fn clocks(at: Tick) -> u64 {
        (u128::from(at) * 32_768 / u128::from(SECOND)) as u64
    }
    fn next_period(&self, after: Tick) -> Option<Tick> {
        let next = (Self::clocks(after) / self.period()? + 1) * self.period()?;
        u64::try_from((u128::from(next) * u128::from(SECOND)).div_ceil(32_768)).ok()
    }
    /// The tick at which this second since 1970 begins.
    fn tick_of(&self, second: i64) -> Option<Tick> {
        u64::try_from(second.checked_mul(NS)?.checked_sub(self.s.epoch)?).ok()
    }
    fn next_update(&self, after: Tick) -> Option<Tick> {
        self.tick_of(self.time(after).div_euclid(NS) + 1)
    }
    /// The next time at which the alarm registers match. An alarm byte from 0xC0 on matches all.
    fn next_alarm(&self, after: Tick) -> Option<Tick> {
        let want = |at: usize, hour: bool| match self.peek(at) {
            0xC0.. => None,
            v if hour => Some(self.decode_hour(v)),
            v => Some(self.decode(v)),
        };
        let (second, minute, hour) = (want(ALARM, false), want(3, false), want(5, true));
        let fits = |want: Option<i64>, v: i64| want.is_none_or(|w| w == v);
        let mut at = self.time(after).div_euclid(NS) + 1;
        let last = at + DAY;
        while at <= last {
            let of_day = at.rem_euclid(DAY);
            at = if !fits(hour, of_day / 3600) {
                at - of_day % 3600 + 3600
            } else if !fits(minute, of_day / 60 % 60) {
                at - of_day % 60 + 60
            } else if !fits(second, of_day % 60) {
                at + 1
            } else {
                return self.tick_of(at);
            };
        }
        None
    }
    /// Sets the flags of all that has happened until now.
    fn advance(&mut self, now: Tick) {
        let seen = self.s.seen;
        let happened = |at: Option<Tick>| at.is_some_and(|at| at <= now);
        if !Self::held(self.peek(A)) && happened(self.next_period(seen)) {
            self.s.flags |= PERIODIC;
        }
        if self.running() {
            if happened(self.next_update(seen)) {
                self.s.flags |= UPDATE;
            }
            if self.s.flags & ALARMED == 0 && happened(self.next_alarm(seen)) {
                self.s.flags |= ALARMED;
            }
        }
        self.s.seen = seen.max(now);
    }
    fn read_reg(&mut self, at: usize, cx: &mut dyn Cx) -> u8 {
        let now = cx.now();
        match at {
            0 | 2 | 4 | 6..=9 | CENTURY | CENTURY_PS2 => {
                if self.running() {
                    self.show(now);
                }
                self.peek(if at == CENTURY_PS2 { CENTURY } else { at })
            }
            A => {
                let left = NS - self.time(now).rem_euclid(NS);
                let updating = self.running() && left <= WARNING;
                self.peek(A) & 0x7F | (updating as u8) << 7
            }
            C => {
                let flags = std::mem::take(&mut self.s.flags);
                let irq = flags & self.peek(B) & 0x70 != 0;
                flags | (irq as u8) << 7
            }
            _ => self.peek(at),
        }
    }
    fn write_reg(&mut self, at: usize, value: u8, cx: &mut dyn Cx) {
        let now = cx.now();
        let held = Self::held(self.peek(A));
        match at {
            0 | 2 | 4 | 6..=9 | CENTURY | CENTURY_PS2 => {
                let at = if at == CENTURY_PS2 { CENTURY } else { at };
                let ns = self.time(now).rem_euclid(NS) as u32;
                if self.running() {
                    self.show(now);
                }
                *self.reg(at) = value;
                if self.running() {
                    self.take(ns, now);
                }
            }
            A => {
                *self.reg(A) = value & 0x7F;
                self.run_or_stop(held, now);
            }
            B => {
                // Setting SET ends the update interrupt.  MC146818A, "SET".
                let new = Control(value);
                let new = if new.set() { new.with_update_irq(false) } else { new };
                // The time is converted when the format changes.
                if self.running() {
                    self.show(now);
                }
                *self.reg(B) = new.0;
                self.run_or_stop(held, now);
            }
            C | D => {}
            _ => *self.reg(at) = value,
        }
    }
}

/// Days since 1970 of a date in the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March, so that the leap day is the last.
    let y = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let (era, of_era) = (y.div_euclid(400), y.rem_euclid(400));
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The date of a day since 1970.
fn civil(day: i64) -> (i64, i64, i64) {
    let z = day + 719_468;
    let (era, of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let m = (5 * of_year + 2) / 153;
    let (day, month) = (of_year - (153 * m + 2) / 5 + 1, (m + 2) % 12 + 1);
    (era * 400 + year + (month <= 2) as i64, month, day)
}

impl Device for Rtc {
    fn name(&self) -> &'static str {
        "mc146818rtc"
    }
    fn read(&mut self, at: Reg, w: Width, cx: &mut dyn Cx) -> u64 {
        self.advance(cx.now());
        let value = join(at.at, w, 1, |i| match i {
            1 => self.read_reg(self.s.index as usize & 127, cx).into(),
            _ => 0xFF,
        });
        self.settle(cx);
        value
    }
    fn write(&mut self, at: Reg, w: Width, value: u64, cx: &mut dyn Cx) {
        self.advance(cx.now());
        split(at.at, w, 1, value, |i, _, v| match i {
            0 => self.s.index = v as u8 & 0x7F,
            1 => self.write_reg(self.s.index as usize & 127, v as u8, cx),
            _ => {}
        });
        self.settle(cx);
    }
    fn wake(&mut self, cx: &mut dyn Cx) {
        self.advance(cx.now());
        self.settle(cx);
    }
    fn input(&mut self, what: Input, cx: &mut dyn Cx) {
        if let Input::TimeOfDay(unix) = what {
            self.advance(cx.now());
            self.s.epoch = (unix.clamp(-(NS * 8), NS * 9) * NS).saturating_sub_unsigned(cx.now());
            self.settle(cx);
        }
    }
    fn reset(&mut self) {
        // The battery keeps all but the interrupt enables.  MC146818A, "RESET".
        let b =
            self.control().with_periodic_irq(false).with_alarm_irq(false).with_update_irq(false);
        *self.reg(B) = b.with_square_wave(false).0;
        (self.s.flags, self.s.index) = (0, 0);
    }
    fn settle(&mut self, cx: &mut dyn Cx) {
        let b = self.control();
        cx.irq(IRQ8, self.s.flags & b.0 & 0x70 != 0);
        // A flag that is set already has nobody to wake for.
        let wants = |flag: u8| b.0 & flag != 0 && self.s.flags & flag == 0;
        let seen = self.s.seen;
        let events = [
            (wants(PERIODIC) && !Self::held(self.peek(A))).then(|| self.next_period(seen)),
            (wants(UPDATE) && self.running()).then(|| self.next_update(seen)),
            (wants(ALARMED) && self.running()).then(|| self.next_alarm(seen)),
        ];
        cx.wake_at(events.into_iter().flatten().flatten().min());
    }
    saved!();
    fn describe(&self) -> String {
        let (year, month, day) = civil(self.time(self.s.seen).div_euclid(NS * DAY));
        let second = self.time(self.s.seen).div_euclid(NS).rem_euclid(DAY);
        format!(
            "{year}-{month:02}-{day:02} {:02}:{:02}:{:02} A={:02x} B={:02x} flags={:02x}\n",
            second / 3600,
            second / 60 % 60,
            second % 60,
            self.peek(A),
            self.peek(B),
            self.s.flags
        )
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use Width::*;

    fn get(d: &mut Rtc, b: &mut Bench, at: u64) -> u64 {
        d.write(Reg { bank: 0, at: 0 }, W8, at, b);
        d.read(Reg { bank: 0, at: 1 }, W8, b)
    }
    fn put(d: &mut Rtc, b: &mut Bench, at: u64, value: u64) {
        d.write(Reg { bank: 0, at: 0 }, W8, at, b);
        d.write(Reg { bank: 0, at: 1 }, W8, value, b)
    }
    /// 2024-02-29 23:59:58, a Thursday.
    fn world() -> (Rtc, Bench) {
        (Rtc::new(1_709_251_198), Bench::default())
    }
    fn time(d: &mut Rtc, b: &mut Bench) -> [u64; 8] {
        [0x32, 9, 8, 7, 4, 2, 0, 6].map(|at| get(d, b, at))
    }

    #[test]
    fn the_time_shows_in_bcd_and_goes_on() {
        let (mut d, mut b) = world();
        assert_eq!(time(&mut d, &mut b), [0x20, 0x24, 2, 0x29, 0x23, 0x59, 0x58, 5]);
        b.now = 2 * SECOND;
        assert_eq!(time(&mut d, &mut b), [0x20, 0x24, 3, 1, 0, 0, 0, 6]);
    }

    #[test]
    fn binary_and_twelve_hours_are_formats_too() {
        let (mut d, mut b) = world();
        put(&mut d, &mut b, 11, 4);
        assert_eq!(time(&mut d, &mut b), [20, 24, 2, 29, 0x8B, 59, 58, 5]);
        b.now = 2 * SECOND;
        assert_eq!(get(&mut d, &mut b, 4), 12, "midnight is 12 am");
    }

    #[test]
    fn the_guest_sets_the_time() {
        let (mut d, mut b) = world();
        put(&mut d, &mut b, 11, 0x82);
        for (at, v) in
            [(0x32, 0x19), (9, 0x99), (8, 0x12), (7, 0x31), (4, 0x23), (2, 0x59), (0, 0x59)]
        {
            put(&mut d, &mut b, at, v);
        }
        b.now += 5 * SECOND;
        assert_eq!(time(&mut d, &mut b)[..7], [0x19, 0x99, 0x12, 0x31, 0x23, 0x59, 0x59]);
        put(&mut d, &mut b, 11, 2);
        b.now += SECOND;
        assert_eq!(time(&mut d, &mut b), [0x20, 0, 1, 1, 0, 0, 0, 7], "a Saturday");
    }

    #[test]
    fn time_that_went_by_outside_is_added_to_what_the_guest_set() {
        let (mut d, mut b) = world();
        put(&mut d, &mut b, 11, 0x82);
        for (at, v) in [(4, 0x23), (2, 0x59), (0, 0x58)] {
            put(&mut d, &mut b, at, v);
        }
        put(&mut d, &mut b, 11, 2);
        let before = time(&mut d, &mut b);
        assert_eq!(before[4..7], [0x23, 0x59, 0x58]);
        d.forward(3 * SECOND, &mut b);
        assert_eq!(time(&mut d, &mut b)[4..7], [0, 0, 1]);
    }

    #[test]
    fn update_in_progress_shows_before_the_second_ends() {
        let (mut d, mut b) = world();
        assert_eq!(get(&mut d, &mut b, 10), 0x26);
        b.now = SECOND - 200_000;
        assert_eq!(get(&mut d, &mut b, 10), 0xA6);
        b.now = SECOND;
        assert_eq!(get(&mut d, &mut b, 10), 0x26);
    }

    #[test]
    fn the_periodic_interrupt_waits_for_register_c() {
        let (mut d, mut b) = world();
        put(&mut d, &mut b, 10, 0x26);
        put(&mut d, &mut b, 11, 0x42);
        b.run_to_wake(&mut d);
        assert_eq!((b.now, b.pin(IRQ8), b.wake), (976_563, true, None));
        assert_eq!((get(&mut d, &mut b, 12), b.pin(IRQ8)), (0xC0, false));
        assert_eq!(b.wake, Some(1_953_125));
    }

    #[test]
    fn the_update_ended_interrupt_comes_each_second() {
        let (mut d, mut b) = world();
        put(&mut d, &mut b, 11, 0x12);
        for n in 1..4 {
            b.run_to_wake(&mut d);
            assert_eq!((b.now, get(&mut d, &mut b, 12) & 0x90), (n * SECOND, 0x90));
        }
    }

    #[test]
    fn the_alarm_matches_hours_minutes_and_seconds() {
        let (mut d, mut b) = world();
        for (at, v) in [(1, 0x30), (3, 0x01), (5, 0x06), (11, 0x22)] {
            put(&mut d, &mut b, at, v);
        }
        b.run_to_wake(&mut d);
        assert_eq!(b.now, (2 + 6 * 3600 + 90) * SECOND);
        assert_eq!((time(&mut d, &mut b)[4..7].to_vec(), b.pin(IRQ8)), (vec![6, 1, 0x30], true));
        for at in [1, 3, 5] {
            put(&mut d, &mut b, at, 0xC0);
        }
        assert_eq!(get(&mut d, &mut b, 12) & 0xA0, 0xA0);
        assert_eq!(b.wake, Some(b.now + SECOND), "don't care: every second");
        put(&mut d, &mut b, 5, 0x77);
        assert_eq!(b.wake, None, "no such hour");
    }

    #[test]
    fn polled_flags_are_set_without_interrupts() {
        let (mut d, mut b) = world();
        b.now = SECOND + 1;
        assert_eq!(get(&mut d, &mut b, 12), 0x50);
        assert_eq!(get(&mut d, &mut b, 12), 0);
    }

    #[test]
    fn the_divider_starts_half_a_second_early() {
        let (mut d, mut b) = world();
        put(&mut d, &mut b, 10, 0x66);
        b.now += 10 * SECOND;
        assert_eq!(get(&mut d, &mut b, 0), 0x58);
        put(&mut d, &mut b, 10, 0x26);
        b.now += SECOND / 2;
        assert_eq!(get(&mut d, &mut b, 0), 0x59);
    }

    #[test]
    fn reset_keeps_memory_and_time() {
        let (mut d, mut b) = world();
        put(&mut d, &mut b, 0x40, 0xAA);
        put(&mut d, &mut b, 11, 0x72);
        d.reset();
        d.settle(&mut b);
        assert_eq!((get(&mut d, &mut b, 0x40), get(&mut d, &mut b, 11), b.wake), (0xAA, 2, None));
        assert_eq!(get(&mut d, &mut b, 13), 0x80);
        assert_eq!(get(&mut d, &mut b, 0x37), 0x20);
    }

    #[test]
    fn firmware_finds_the_memory_sizes() {
        let (mut d, mut b) = world();
        d.set_memory(3 << 30, 5 << 30);
        let got = [0x15, 0x16, 0x30, 0x31, 0x34, 0x35, 0x5B, 0x5C, 0x5D]
            .map(|at| get(&mut d, &mut b, at));
        assert_eq!(got, [0x80, 2, 0xFF, 0xFF, 0, 0xBF, 0, 0x40, 1]);
    }

    #[test]
    fn dates_go_both_ways() {
        for day in -800_000..800_000 {
            let (y, m, d) = civil(day);
            assert_eq!(days(y, m, d), day);
        }
        assert_eq!(civil(0), (1970, 1, 1));
    }
}
