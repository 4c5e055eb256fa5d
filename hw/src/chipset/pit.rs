//! 8254 interval timer and the system control port 61h.  Intel 8254 data sheet; PIIX3 data sheet, 2.5.3 and 2.5.6.
//!
//! Banks: 0 the ports 0x40-0x43, 1 the port 0x61. Output pin [`IRQ0`]; input pin [`OFF`] keeps channel 0 silent while the
//! HPET stands in for it.

use device::*;

/// Output: channel 0.
pub const IRQ0: Pin = Pin(0);
/// Input: channel 0 gives no interrupts.
pub const OFF: Pin = Pin(0);
/// Clocks in a second.
pub const HZ: u64 = 1_193_182;
/// The memory refresh of old toggles port 61h bit 4 this often.
const REFRESH: Tick = 15_085;

state! {
    /// One of the three counters.
    pub struct Channel {
        1 mode: u8 = 3,
        2 bcd: bool = false,
        /// How the count is accessed: 1 low byte, 2 high byte, 3 low then high.
        3 access: u8 = 3,
        /// Clocks in a cycle; never zero.
        4 count: u32 = 0x1_0000,
        /// When counting began; not at all before a count is written.
        5 start: Option<Tick> = Some(0),
        /// Clocks done when the gate closed.
        6 held: Option<u64> = None,
        7 gate: bool = true,
        /// The low byte of a count that waits for its high byte.
        8 low: Option<u8> = None,
        9 read_high: bool = false,
        10 latched: Option<u16> = None,
        11 status: Option<u8> = None,
        /// How many rises of the output have been told.
        12 rises: u64 = 0,
        /// A count was written since the mode was set.
        13 loaded: bool = true,
    }
}

impl Channel {
    /// Clocks since the start.
    fn clocks(&self, now: Tick) -> Option<u64> {
        self.held.or_else(|| {
            let gone = u128::from(now.saturating_sub(self.start?));
            Some((gone * u128::from(HZ) / u128::from(SECOND)) as u64)
        })
    }
    /// When this many clocks will have passed.
    fn time(&self, clocks: u64) -> Option<Tick> {
        let ticks = (u128::from(clocks) * u128::from(SECOND)).div_ceil(HZ.into());
        self.start?.checked_add(u64::try_from(ticks).ok()?)
    }
    fn count(&self) -> u64 {
        self.count.clamp(1, 0x1_0000).into()
    }
    fn output(&self, now: Tick) -> bool {
        let Some(d) = self.clocks(now) else { return self.mode != 0 };
        let n = self.count();
        match self.mode {
            0 | 1 => d >= n,
            2 => !self.gate || d % n != n - 1,
            3 => !self.gate || d % n < n.div_ceil(2),
            _ => d != n,
        }
    }
    /// How often the output has risen until now.
    fn risen(&self, now: Tick) -> u64 {
        let Some(d) = self.clocks(now) else { return 0 };
        let n = self.count();
        match self.mode {
            0 | 1 => (d >= n) as u64,
            2 | 3 => d / n,
            _ => (d > n) as u64,
        }
    }
    /// When it will rise next.
    fn next_rise(&self, now: Tick) -> Option<Tick> {
        if self.held.is_some() {
            return None;
        }
        let (d, n) = (self.clocks(now)?, self.count());
        match self.mode {
            0 | 1 if d < n => self.time(n),
            2 | 3 => self.time((d / n + 1) * n),
            4.. if d <= n => self.time(n + 1),
            _ => None,
        }
    }
    /// The counter as it reads.
    fn value(&self, now: Tick) -> u16 {
        let (n, d) = (self.count(), self.clocks(now).unwrap_or(0));
        let v = match self.mode {
            2 => n - d % n,
            3 => n - d.wrapping_mul(2) % n,
            _ => n.wrapping_sub(d) & 0xFFFF,
        };
        if self.bcd { to_bcd(v % 10_000) } else { v as u16 }
    }
    fn set_count(&mut self, value: u16, now: Tick) {
        let (value, full) =
            if self.bcd { (from_bcd(value), 10_000) } else { (value.into(), 0x1_0000) };
        self.count = if value == 0 { full } else { value };
        (self.loaded, self.rises) = (true, 0);
        // Modes 1 and 5 wait for the gate; the others count when it is open.
        self.start = (!matches!(self.mode, 1 | 5)).then_some(now);
        self.held = (!self.gate && self.start.is_some()).then_some(0);
    }
    fn set_gate(&mut self, open: bool, now: Tick) {
        match (self.gate, open, self.mode) {
            (false, true, 1 | 5) if self.loaded => (self.start, self.rises) = (Some(now), 0),
            (false, true, 2 | 3) => {
                (self.start, self.held, self.rises) = (self.start.map(|_| now), None, 0)
            }
            (false, true, _) => {
                // Goes on where it stopped.
                if let Some(d) = self.held.take() {
                    let done = u128::from(d) * u128::from(SECOND) / u128::from(HZ);
                    self.start = Some(now.saturating_sub(done as u64));
                }
            }
            (true, false, 0 | 2 | 3 | 4) => self.held = self.clocks(now),
            _ => {}
        }
        self.gate = open;
    }
    fn control(&mut self, value: u8, now: Tick) {
        if value & 0x30 == 0 {
            return self.latch(now);
        }
        let mode = match value >> 1 & 7 {
            n @ 6.. => n - 4,
            n => n,
        };
        let gate = self.gate;
        let (access, bcd) = (value >> 4 & 3, value & 1 != 0);
        *self =
            Channel { mode, access, bcd, gate, start: None, loaded: false, ..Channel::default() };
    }
    fn latch(&mut self, now: Tick) {
        if self.latched.is_none() {
            self.latched = Some(self.value(now));
        }
    }
    /// The read-back command's status byte.  8254, figure 13.
    fn latch_status(&mut self, now: Tick) {
        if self.status.is_none() {
            let out = (self.output(now) as u8) << 7;
            let null = (!self.loaded as u8) << 6;
            self.status = Some(out | null | self.access << 4 | self.mode << 1 | self.bcd as u8);
        }
    }
    fn read(&mut self, now: Tick) -> u8 {
        if let Some(status) = self.status.take() {
            return status;
        }
        let value = self.latched.unwrap_or_else(|| self.value(now));
        let high = match self.access {
            1 => false,
            2 => true,
            _ => {
                self.read_high = !self.read_high;
                !self.read_high
            }
        };
        if high || self.access == 1 {
            self.latched = None;
        }
        (value >> if high { 8 } else { 0 }) as u8
    }
    fn write(&mut self, value: u8, now: Tick) {
        match (self.access, self.low) {
            (1, _) => self.set_count(value.into(), now),
            (2, _) => self.set_count(u16::from(value) << 8, now),
            (_, None) => self.low = Some(value),
            (_, Some(low)) => {
                self.low = None;
                self.set_count(u16::from_le_bytes([low, value]), now)
            }
        }
    }
}

fn from_bcd(v: u16) -> u32 {
    (0..4).rev().fold(0, |sum, i| sum * 10 + u32::from(v >> (4 * i) & 0xF))
}
fn to_bcd(v: u64) -> u16 {
    [1000, 100, 10, 1].iter().fold(0, |out, place| out << 4 | (v / place % 10) as u16)
}

state! {
    /// Everything the guest can see.
    pub struct State {
        1 channels: [Channel; 3] =
            [Channel::default(), Channel::default(), Channel { gate: false, held: Some(0), ..Channel::default() }],
        /// Port 61h, the bits that can be written.
        2 port61: u8 = 0,
        3 off: bool = false,
    }
}

#[derive(Default)]
pub struct Pit {
    s: State,
    /// What the speaker was last told.
    tone: Option<u32>,
}

impl Pit {
    pub fn new() -> Self {
        Self::default()
    }
    fn read_port(&mut self, at: Reg, now: Tick) -> u8 {
        match (at.bank, at.at) {
            (0, n @ 0..3) => self.s.channels[n as usize].read(now),
            (1, 0) => {
                let refresh = ((now / REFRESH % 2) as u8) << 4;
                let out = (self.s.channels[2].output(now) as u8) << 5;
                self.s.port61 | refresh | out
            }
            (0, 3) => 0,
            _ => 0xFF,
        }
    }
    fn write_port(&mut self, at: Reg, value: u8, now: Tick) {
        let channels = &mut self.s.channels;
        match (at.bank, at.at) {
            (0, n @ 0..3) => channels[n as usize].write(value, now),
            (0, 3) if value >> 6 == 3 => {
                for (_, c) in channels.iter_mut().enumerate().filter(|(n, _)| value & (2 << n) != 0)
                {
                    if value & 0x20 == 0 {
                        c.latch(now);
                    }
                    if value & 0x10 == 0 {
                        c.latch_status(now);
                    }
                }
            }
            (0, 3) => channels[value as usize >> 6].control(value, now),
            (1, 0) => {
                self.s.port61 = value & 0xF;
                channels[2].set_gate(value & 1 != 0, now);
            }
            _ => {}
        }
    }
    /// The frequency that the speaker plays.
    fn speaker(&self) -> Option<u32> {
        let c = &self.s.channels[2];
        let on = self.s.port61 & 3 == 3 && matches!(c.mode, 2 | 3) && c.start.is_some();
        on.then(|| (HZ / c.count()) as u32)
    }
}

impl Device for Pit {
    fn name(&self) -> &'static str {
        "i8254"
    }
    fn read(&mut self, at: Reg, w: Width, cx: &mut dyn Cx) -> u64 {
        join(at.at, w, 1, |i| self.read_port(Reg { bank: at.bank, at: i }, cx.now()).into())
    }
    fn write(&mut self, at: Reg, w: Width, value: u64, cx: &mut dyn Cx) {
        let now = cx.now();
        split(at.at, w, 1, value, |i, _, v| {
            self.write_port(Reg { bank: at.bank, at: i }, v as u8, now)
        });
        self.settle(cx);
    }
    fn wake(&mut self, cx: &mut dyn Cx) {
        self.settle(cx);
    }
    fn wire(&mut self, pin: Pin, high: bool, cx: &mut dyn Cx) {
        if pin == OFF {
            self.s.off = high;
            self.settle(cx);
        }
    }
    fn reset(&mut self) {
        self.s = State::default();
    }
    fn settle(&mut self, cx: &mut dyn Cx) {
        let now = cx.now();
        let c = &mut self.s.channels[0];
        let risen = c.risen(now);
        if self.s.off {
            cx.irq(IRQ0, false);
            cx.wake_at(None);
        } else {
            // Of the falls in between nobody is told, so a rise is a pulse from low.
            if risen != c.rises {
                cx.irq(IRQ0, false);
                cx.irq(IRQ0, true);
            }
            cx.irq(IRQ0, c.output(now));
            cx.wake_at(c.next_rise(now));
        }
        c.rises = risen;
        let tone = self.speaker();
        if tone != self.tone {
            self.tone = tone;
            cx.ask(Request::Tone(tone));
        }
    }
    saved!();
    fn describe(&self) -> String {
        let line = |(n, c): (usize, &Channel)| {
            format!(
                "channel {n}: mode {} count {:#x} gate {} bcd {}\n",
                c.mode, c.count, c.gate, c.bcd
            )
        };
        self.s.channels.iter().enumerate().map(line).collect()
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use Width::*;

    fn out(d: &mut Pit, b: &mut Bench, port: u64, value: u64) {
        d.write(reg(port), W8, value, b)
    }
    fn inb(d: &mut Pit, b: &mut Bench, port: u64) -> u64 {
        d.read(reg(port), W8, b)
    }
    fn reg(port: u64) -> Reg {
        if port == 0x61 { Reg { bank: 1, at: 0 } } else { Reg { bank: 0, at: port - 0x40 } }
    }
    fn world() -> (Pit, Bench) {
        let (mut d, mut b) = (Pit::new(), Bench::default());
        d.settle(&mut b);
        (d, b)
    }
    /// The time of so many clocks.
    fn clocks(n: u64) -> Tick {
        (n * SECOND).div_ceil(HZ)
    }

    #[test]
    fn a_rate_generator_ticks_without_drift() {
        let (mut d, mut b) = world();
        for (port, v) in [(0x43, 0x34), (0x40, 0x9C), (0x40, 0x2E)] {
            out(&mut d, &mut b, port, v);
        }
        let before = b.rises.get(&IRQ0).copied().unwrap_or(0);
        b.run_for(&mut d, 10 * SECOND);
        assert_eq!(b.rises[&IRQ0] - before, (10 * HZ / 0x2E9C) as u32);
    }

    #[test]
    fn a_one_shot_interrupts_once() {
        let (mut d, mut b) = world();
        for (port, v) in [(0x43, 0x30), (0x40, 0xE8), (0x40, 0x03)] {
            out(&mut d, &mut b, port, v);
        }
        assert!(!b.pin(IRQ0));
        b.run_to_wake(&mut d);
        assert_eq!((b.now, b.pin(IRQ0), b.wake), (clocks(1000), true, None));
        out(&mut d, &mut b, 0x43, 0x38);
        out(&mut d, &mut b, 0x40, 10);
        out(&mut d, &mut b, 0x40, 0);
        let before = b.rises[&IRQ0];
        b.run_for(&mut d, SECOND);
        assert_eq!(b.rises[&IRQ0], before + 1, "mode 4, as Linux uses it");
    }

    #[test]
    fn channel_2_measures_for_linux() {
        let (mut d, mut b) = world();
        out(&mut d, &mut b, 0x61, 1);
        for (port, v) in [(0x43, 0xB0), (0x42, 0xE8), (0x42, 0x03)] {
            out(&mut d, &mut b, port, v);
        }
        assert_eq!(inb(&mut d, &mut b, 0x61) & 0x21, 1);
        b.now = clocks(999);
        assert_eq!(inb(&mut d, &mut b, 0x61) & 0x20, 0);
        b.now = clocks(1000);
        assert_eq!(inb(&mut d, &mut b, 0x61) & 0x20, 0x20);
    }

    #[test]
    fn a_closed_gate_stops_the_count() {
        let (mut d, mut b) = world();
        out(&mut d, &mut b, 0x61, 1);
        for (port, v) in [(0x43, 0xB0), (0x42, 0xE8), (0x42, 0x03)] {
            out(&mut d, &mut b, port, v);
        }
        b.now = clocks(400);
        out(&mut d, &mut b, 0x61, 0);
        b.now = clocks(5000);
        out(&mut d, &mut b, 0x43, 0x80);
        assert_eq!(inb(&mut d, &mut b, 0x42) | inb(&mut d, &mut b, 0x42) << 8, 600);
        out(&mut d, &mut b, 0x61, 1);
        b.now = clocks(5599);
        assert_eq!(inb(&mut d, &mut b, 0x61) & 0x20, 0);
        b.now = clocks(5602);
        assert_eq!(inb(&mut d, &mut b, 0x61) & 0x20, 0x20);
    }

    #[test]
    fn a_latched_count_stands_still_until_read() {
        let (mut d, mut b) = world();
        for (port, v) in [(0x43, 0x34), (0x40, 0), (0x40, 0x10)] {
            out(&mut d, &mut b, port, v);
        }
        b.now = clocks(0x234);
        out(&mut d, &mut b, 0x43, 0);
        b.now = clocks(0x500);
        out(&mut d, &mut b, 0x43, 0);
        assert_eq!((inb(&mut d, &mut b, 0x40), inb(&mut d, &mut b, 0x40)), (0xCC, 0xD));
        assert_eq!((inb(&mut d, &mut b, 0x40), inb(&mut d, &mut b, 0x40)), (0, 0xB));
    }

    #[test]
    fn read_back_gives_status_then_count() {
        let (mut d, mut b) = world();
        out(&mut d, &mut b, 0x43, 0x34);
        out(&mut d, &mut b, 0x43, 0xE2);
        assert_eq!(inb(&mut d, &mut b, 0x40), 0xF4, "no count yet");
        out(&mut d, &mut b, 0x40, 0x34);
        out(&mut d, &mut b, 0x40, 0x12);
        out(&mut d, &mut b, 0x43, 0xC2);
        let got = [0; 3].map(|_| inb(&mut d, &mut b, 0x40));
        assert_eq!(got, [0xB4, 0x34, 0x12]);
    }

    #[test]
    fn decimal_counts_are_decimal() {
        let (mut d, mut b) = world();
        for (port, v) in [(0x43, 0x35), (0x40, 0), (0x40, 0)] {
            out(&mut d, &mut b, port, v);
        }
        b.now = clocks(1);
        assert_eq!(inb(&mut d, &mut b, 0x40) | inb(&mut d, &mut b, 0x40) << 8, 0x9999);
    }

    #[test]
    fn the_speaker_hears_the_square_wave() {
        let (mut d, mut b) = world();
        for (port, v) in [(0x43, 0xB6), (0x42, 0xA9), (0x42, 0x04), (0x61, 3), (0x61, 0)] {
            out(&mut d, &mut b, port, v);
        }
        assert_eq!(b.asked, [Request::Tone(Some(1000)), Request::Tone(None)]);
    }

    #[test]
    fn the_hpet_silences_channel_0() {
        let (mut d, mut b) = world();
        assert!(b.wake.is_some());
        d.wire(OFF, true, &mut b);
        assert_eq!((b.wake, b.pin(IRQ0)), (None, false));
    }
}
