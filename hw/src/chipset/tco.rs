//! ICH9's watchdog (TCO).  ICH9 data sheet, 13.9.
//!
//! It counts down in steps of 0.6 seconds. The first time it gets to zero it says so; the second time it resets the
//! machine, unless the "no reboot" bit forbids it. It is a part of [`super::pm`], at offset 0x60 of its ports.

use device::*;

/// Nanoseconds in a step.
const STEP: Tick = 600_000_000;
/// Status 1: timed out once.
const TIMEOUT: u16 = 1 << 3;
/// Status 2: timed out twice; and that before the last boot.
const SECOND_TIMEOUT: u16 = 1 << 1 | 1 << 2;
/// Control 1: the timer is halted.
const HALT: u16 = 1 << 11;
/// Control 1: locked until reset.
const LOCK: u16 = 1 << 12;

state! {
    /// Everything the guest can see.
    pub struct State {
        1 data: u16 = 0,
        2 status: [u16; 2] = [0; 2],
        3 control: [u16; 2] = [0, 8],
        4 messages: u16 = 0,
        5 boot: u16 = 0,
        6 legacy: u16 = 0x03,
        /// Steps of a countdown.
        7 steps: u16 = 4,
        /// When the countdown began; it has not before software reloads it.
        8 since: Option<Tick> = None,
        /// It has timed out once.
        9 barked: bool = false,
        /// It wants the machine reset.
        10 bite: bool = false,
    }
}

impl State {
    fn end(&self) -> Option<Tick> {
        let running = self.control[0] & HALT == 0 && !self.bite;
        let at = self.since?.saturating_add(STEP * u64::from(self.steps & 0x3FF).max(1));
        running.then_some(at)
    }
    /// When to look again.
    pub fn next(&self) -> Option<Tick> {
        self.end()
    }
    pub fn advance(&mut self, now: Tick) {
        while let Some(at) = self.end().filter(|at| *at <= now) {
            if self.barked {
                self.status[1] |= SECOND_TIMEOUT;
                self.bite = true;
            } else {
                self.status[0] |= TIMEOUT;
                (self.barked, self.since) = (true, Some(at));
            }
        }
    }
    /// What is left of the countdown.
    fn left(&self, now: Tick) -> u16 {
        let left = self.end().map_or(0, |at| at.saturating_sub(now).div_ceil(STEP));
        left.min(0x3FF) as u16
    }
    /// A register of 16 bits, by its offset.
    pub fn read(&self, at: u64, now: Tick) -> u16 {
        match at {
            0x00 => self.left(now),
            0x02 => self.data,
            0x04 => self.status[0],
            0x06 => self.status[1],
            0x08 => self.control[0],
            0x0A => self.control[1],
            0x0C => self.messages,
            0x0E => self.boot,
            0x10 => self.legacy,
            0x12 => self.steps,
            _ => 0,
        }
    }
    pub fn write(&mut self, at: u64, mask: u16, value: u16, now: Tick) {
        let with = |old: u16| old & !mask | value & mask;
        match at {
            // Any write begins again.
            0x00 => (self.since, self.barked) = (Some(now), false),
            0x02 => self.data = with(self.data),
            0x04 => self.status[0] &= !value,
            0x06 => self.status[1] &= !value,
            0x08 => {
                let (old, new) = (self.control[0], with(self.control[0]));
                self.control[0] = if old & LOCK != 0 { new | LOCK | old & HALT } else { new };
                // Let go, it begins again.
                if old & !self.control[0] & HALT != 0 && self.since.is_some() {
                    self.since = Some(now);
                }
            }
            0x0A => self.control[1] = with(self.control[1]),
            0x0C => self.messages = with(self.messages),
            0x0E => self.boot = with(self.boot),
            0x10 => self.legacy = with(self.legacy),
            0x12 => self.steps = with(self.steps) & 0x3FF,
            _ => {}
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn it_barks_then_bites_unless_reloaded() {
        let mut t = State::default();
        assert_eq!(t.next(), None);
        t.write(0x12, 0xFFFF, 10, 0);
        t.write(0, 0xFFFF, 1, 0);
        assert_eq!((t.next(), t.read(0, SECOND)), (Some(6 * SECOND), 9));
        t.advance(6 * SECOND);
        assert_eq!((t.read(4, 0), t.bite, t.next()), (8, false, Some(12 * SECOND)));
        t.write(0, 0xFFFF, 1, 7 * SECOND);
        t.advance(13 * SECOND);
        assert!(!t.bite && t.barked);
        t.advance(19 * SECOND);
        assert!(t.bite && t.read(6, 0) == 6);
        assert_eq!(t.next(), None);
    }

    #[test]
    fn a_halted_one_does_nothing() {
        let mut t = State::default();
        t.write(0, 1, 1, 0);
        t.write(8, 0xFFFF, HALT, 0);
        t.advance(100 * SECOND);
        assert_eq!((t.next(), t.read(4, 0)), (None, 0));
        t.write(8, 0xFFFF, 0, 100 * SECOND);
        assert_eq!(t.next(), Some(100 * SECOND + 4 * STEP));
    }
}
