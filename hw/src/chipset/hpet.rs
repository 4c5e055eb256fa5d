//! High precision event timers: three of 64 bits at 100 MHz.  IA-PC HPET specification 1.0a.
//!
//! Bank 0 is the 1 KiB window at 0xFED0_0000. Output pin `n` is interrupt line `n` (0..32); [`LEGACY`] silences the PIT.
//! The PIT and the clock come in at [`PIT`] and [`RTC`]: they pass to lines 0 and 8 unless legacy replacement is on.
//! A comparator that is set to a time already past waits for the counter to come round, as in the specification.

use device::*;

/// Output: legacy replacement is on.
pub const LEGACY: Pin = Pin(32);
/// Input: channel 0 of the PIT.
pub const PIT: Pin = Pin(0);
/// Input: the clock's interrupt.
pub const RTC: Pin = Pin(1);

/// Ticks in a count.
const PERIOD: Tick = 10;
/// Revision 1, three timers, 64 bits, legacy replacement, vendor 8086h; the period in femtoseconds.
const CAPABILITIES: u64 = (PERIOD * 1_000_000) << 32 | 0x8086_A201;

bits! {
    /// A timer's configuration and capabilities.  HPET, 2.3.8.
    pub struct Config: u64 {
        level: 1, enabled: 2, periodic: 3, can_period: 4, is_64: 5, set_value: 6, force_32: 8, route: 9..14,
    }
}
/// What software may write of it; it cannot write to memory (FSB).
const WRITABLE: u64 = 0x3F4E;

state! {
    /// One comparator.
    pub struct Timer {
        1 config: Config = Config(0x30),
        2 comparator: u64 = u64::MAX,
        3 period: u64 = 0,
        /// Its next match, in counts since the time `since`: these never come round.
        4 due: Option<u64> = None,
    }
}

impl Timer {
    fn mask(&self) -> u64 {
        if self.config.force_32() { u32::MAX.into() } else { u64::MAX }
    }
    /// Works out the next match, from this count on, so many counts after the start.
    fn aim(&mut self, count: u64, gone: u64) {
        let ahead = self.comparator.wrapping_sub(count) & self.mask();
        self.due = gone.checked_add(ahead);
    }
    /// Whether it matched until so many counts after the start, when the count was `first`. However often, that is one
    /// interrupt.
    fn advance(&mut self, gone: u64, first: u64) -> bool {
        let Some(due) = self.due.filter(|due| *due <= gone) else { return false };
        let step = match (self.config.periodic(), self.mask()) {
            (true, mask) => self.period & mask,
            (false, mask) => mask.wrapping_add(1),
        };
        let next =
            |step: u64| due.checked_add(((gone - due) / step).checked_add(1)?.checked_mul(step)?);
        self.due = if step == 0 { None } else { next(step) };
        if let (true, Some(due)) = (self.config.periodic(), self.due) {
            self.comparator = first.wrapping_add(due) & self.mask();
        }
        true
    }
    /// A write to the comparator.  HPET, 2.3.9.2.3: in periodic mode the period, and the comparator too after "set value".
    fn set(&mut self, mask: u64, value: u64) {
        let with = |old: u64| old & !mask | value & mask;
        let config = self.config;
        if !config.periodic() || config.set_value() {
            self.comparator = with(self.comparator) & self.mask();
        }
        if config.periodic() {
            self.period = with(self.period) & self.mask();
        }
        self.config = config.with_set_value(false);
    }
}

state! {
    /// Everything the guest can see.
    pub struct State {
        1 timers: [Timer; 3] = [Timer::default(), Timer::default(), Timer::default()],
        /// Bit 0 running, bit 1 legacy replacement.
        2 config: u64 = 0,
        /// Level-triggered interrupts that wait to be cleared.
        3 status: u8 = 0,
        /// The counter at the time `since` (a running one), or where it stands.
        4 count: u64 = 0,
        5 since: Tick = 0,
        6 pit: bool = false,
        7 rtc: bool = false,
    }
}

pub struct Hpet {
    s: State,
    /// The lines that each timer can be routed to.
    routes: u32,
}

impl Hpet {
    /// `routes`: the lines that timers may use: 0x4 on `pc`, 0xFF0104 on `q35`.
    pub fn new(routes: u32) -> Self {
        Self { s: State::default(), routes }
    }
    fn running(&self) -> bool {
        self.s.config & 1 != 0
    }
    fn legacy(&self) -> bool {
        self.s.config & 2 != 0
    }
    /// Counts since the start.
    fn gone(&self, now: Tick) -> u64 {
        if self.running() { now.saturating_sub(self.s.since) / PERIOD } else { 0 }
    }
    fn count(&self, now: Tick) -> u64 {
        self.s.count.wrapping_add(self.gone(now))
    }
    fn line(&self, n: usize) -> u16 {
        match n {
            0 if self.legacy() => 0,
            1 if self.legacy() => 8,
            _ => self.s.timers[n].config.route() as u16,
        }
    }
    fn advance(&mut self, cx: &mut dyn Cx) {
        if !self.running() {
            return;
        }
        let gone = self.gone(cx.now());
        for n in 0..3 {
            if !self.s.timers[n].advance(gone, self.s.count) {
                continue;
            }
            let c = self.s.timers[n].config;
            if c.level() {
                self.s.status |= 1 << n;
            } else if c.enabled() {
                let line = Pin(self.line(n));
                cx.irq(line, true);
                cx.irq(line, false);
            }
        }
    }
    fn aim(&mut self, now: Tick) {
        let (running, count, gone) = (self.running(), self.count(now), self.gone(now));
        self.s
            .timers
            .iter_mut()
            .for_each(|t| if running { t.aim(count, gone) } else { t.due = None });
    }
    fn read_reg(&self, at: u64, now: Tick) -> u64 {
        match at {
            0x00 => CAPABILITIES,
            0x10 => self.s.config,
            0x20 => self.s.status.into(),
            0xF0 => self.count(now),
            0x100..0x160 => {
                let t = &self.s.timers[(at as usize - 0x100) / 0x20];
                match at & 0x1F {
                    0x00 => t.config.0 | u64::from(self.routes) << 32,
                    0x08 => t.comparator,
                    _ => 0,
                }
            }
            _ => 0,
        }
    }
    fn write_reg(&mut self, at: u64, mask: u64, value: u64, cx: &mut dyn Cx) {
        let now = cx.now();
        match at {
            0x10 => {
                let count = self.count(now);
                let was = self.running();
                // Lines of the old routing fall.
                self.release(cx);
                self.s.config = (self.s.config & !mask | value & mask) & 3;
                if was != self.running() {
                    (self.s.count, self.s.since) = (count, now);
                    self.aim(now);
                }
            }
            0x20 => self.s.status &= !((value & mask) as u8),
            0xF0 => {
                let count = self.count(now);
                (self.s.count, self.s.since) = (count & !mask | value & mask, now);
                self.aim(now);
            }
            0x100..0x160 => {
                let n = (at as usize - 0x100) / 0x20;
                let count = self.count(now);
                let (running, gone) = (self.running(), self.gone(now));
                if at & 0x1F == 0 {
                    self.release(cx);
                }
                let t = &mut self.s.timers[n];
                match at & 0x1F {
                    0x00 => {
                        let mask = mask & WRITABLE;
                        t.config = Config(t.config.0 & !mask | value & mask);
                        (t.comparator, t.period) = (t.comparator & t.mask(), t.period & t.mask());
                        if !t.config.level() {
                            self.s.status &= !(1 << n);
                        }
                    }
                    0x08 => t.set(mask, value),
                    _ => return,
                }
                if running {
                    self.s.timers[n].aim(count, gone);
                }
            }
            _ => {}
        }
    }
    /// Takes the timers' levels from their lines, before a line changes.
    fn release(&self, cx: &mut dyn Cx) {
        (0..3)
            .filter(|n| self.s.status >> n & 1 != 0)
            .for_each(|n| cx.irq(Pin(self.line(n)), false));
    }
}

impl Device for Hpet {
    fn name(&self) -> &'static str {
        "hpet"
    }
    fn read(&mut self, at: Reg, w: Width, cx: &mut dyn Cx) -> u64 {
        // Looking at the clock changes nothing.
        if at.at & 0x3F8 == 0xF0 {
            return join(at.at & 0x3FF, w, 8, |at| self.read_reg(at, cx.now()));
        }
        self.advance(cx);
        let value = join(at.at & 0x3FF, w, 8, |at| self.read_reg(at, cx.now()));
        self.settle(cx);
        value
    }
    fn write(&mut self, at: Reg, w: Width, value: u64, cx: &mut dyn Cx) {
        self.advance(cx);
        split(at.at & 0x3FF, w, 8, value, |at, mask, v| self.write_reg(at, mask, v, cx));
        self.settle(cx);
    }
    fn wake(&mut self, cx: &mut dyn Cx) {
        self.advance(cx);
        self.settle(cx);
    }
    fn wire(&mut self, pin: Pin, high: bool, cx: &mut dyn Cx) {
        match pin {
            PIT => self.s.pit = high,
            RTC => self.s.rtc = high,
            _ => return,
        }
        self.settle(cx);
    }
    fn reset(&mut self) {
        self.s = State::default();
    }
    fn settle(&mut self, cx: &mut dyn Cx) {
        let mut lines = 0u32;
        for n in 0..3 {
            let on =
                self.s.status >> n & 1 != 0 && self.s.timers[n].config.enabled() && self.running();
            lines |= (on as u32) << (self.line(n) & 31);
        }
        if !self.legacy() {
            lines |= self.s.pit as u32 | (self.s.rtc as u32) << 8;
        }
        let usable = self.routes | 0x101 | (0..3).fold(0, |all, n| all | 1 << (self.line(n) & 31));
        (0..32).filter(|n| usable >> n & 1 != 0).for_each(|n| cx.irq(Pin(n), lines >> n & 1 != 0));
        cx.irq(LEGACY, self.legacy());
        let watched = |t: &&Timer| t.config.enabled();
        let due = self.s.timers.iter().filter(watched).filter_map(|t| t.due).min();
        let at = due
            .filter(|_| self.running())
            .and_then(|due| due.checked_mul(PERIOD)?.checked_add(self.s.since));
        cx.wake_at(at);
    }
    saved!();
    fn describe(&self) -> String {
        let s = &self.s;
        let mut out = format!(
            "config {:#x} status {:#x} counter {:#x} at {}\n",
            s.config, s.status, s.count, s.since
        );
        for (n, t) in s.timers.iter().enumerate() {
            out += &format!(
                "timer {n}: config {:#x} comparator {:#x} period {:#x}\n",
                t.config.0, t.comparator, t.period
            );
        }
        out
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use Width::*;

    fn put(d: &mut Hpet, b: &mut Bench, at: u64, value: u64) {
        d.write(Reg { bank: 0, at }, W32, value, b)
    }
    fn get(d: &mut Hpet, b: &mut Bench, at: u64) -> u64 {
        d.read(Reg { bank: 0, at }, W32, b)
    }
    fn world() -> (Hpet, Bench) {
        (Hpet::new(0xFF0104), Bench::default())
    }

    #[test]
    fn linux_finds_a_counter_of_64_bits_at_10_ns() {
        let (mut d, mut b) = world();
        assert_eq!(d.read(Reg { bank: 0, at: 0 }, W64, &mut b), 0x0098_9680_8086_A201);
        assert_eq!(get(&mut d, &mut b, 0x104), 0xFF0104);
        put(&mut d, &mut b, 0x10, 1);
        b.now = 1000;
        assert_eq!(get(&mut d, &mut b, 0xF0), 100);
        put(&mut d, &mut b, 0x10, 0);
        b.now = 2000;
        assert_eq!(get(&mut d, &mut b, 0xF0), 100);
    }

    #[test]
    fn a_one_shot_pulses_its_legacy_line() {
        let (mut d, mut b) = world();
        put(&mut d, &mut b, 0x10, 3);
        assert!(b.pin(LEGACY));
        put(&mut d, &mut b, 0x100, 0x104);
        put(&mut d, &mut b, 0x108, 50);
        assert_eq!(b.wake, Some(500));
        b.run_to_wake(&mut d);
        assert_eq!((b.rises.get(&Pin(0)), b.pin(Pin(0))), (Some(&1), false));
        assert_eq!(b.wake, Some(((1 << 32) + 50) * 10), "again when 32 bits come round");
    }

    #[test]
    fn a_periodic_timer_takes_comparator_and_period() {
        let (mut d, mut b) = world();
        put(&mut d, &mut b, 0x10, 3);
        put(&mut d, &mut b, 0x100, 0x14C);
        put(&mut d, &mut b, 0x108, 100);
        put(&mut d, &mut b, 0x108, 1000);
        let mut at = Vec::new();
        for _ in 0..3 {
            b.run_to_wake(&mut d);
            at.push(b.now);
        }
        assert_eq!((at, b.rises[&Pin(0)]), (vec![1000, 11_000, 21_000], 3));
        b.now = 1_000_000_005;
        d.wake(&mut b);
        assert_eq!((b.wake, b.rises[&Pin(0)]), (Some(1_000_001_000), 4), "late ones come once");
    }

    #[test]
    fn a_level_stays_until_it_is_cleared() {
        let (mut d, mut b) = world();
        put(&mut d, &mut b, 0x10, 1);
        put(&mut d, &mut b, 0x140, 20 << 9 | 6);
        put(&mut d, &mut b, 0x148, 7);
        put(&mut d, &mut b, 0x14C, 0);
        b.run_to_wake(&mut d);
        assert_eq!((b.pin(Pin(20)), get(&mut d, &mut b, 0x20)), (true, 4));
        put(&mut d, &mut b, 0x20, 4);
        assert_eq!((b.pin(Pin(20)), b.wake), (false, None));
    }

    #[test]
    fn legacy_replacement_cuts_off_pit_and_clock() {
        let (mut d, mut b) = world();
        d.wire(PIT, true, &mut b);
        d.wire(RTC, true, &mut b);
        assert!(b.pin(Pin(0)) && b.pin(Pin(8)));
        put(&mut d, &mut b, 0x10, 2);
        assert!(!b.pin(Pin(0)) && !b.pin(Pin(8)));
    }

    #[test]
    fn a_comparator_in_the_past_waits() {
        let (mut d, mut b) = world();
        put(&mut d, &mut b, 0x10, 1);
        put(&mut d, &mut b, 0x100, 4);
        b.now = 10_000;
        d.write(Reg { bank: 0, at: 0x108 }, W64, 999, &mut b);
        assert_eq!(b.wake, None);
        d.write(Reg { bank: 0, at: 0x108 }, W64, 1001, &mut b);
        assert_eq!(b.wake, Some(10_010));
    }
}
