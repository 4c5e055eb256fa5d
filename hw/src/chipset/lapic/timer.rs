//! The APIC timer: one-shot, periodic, TSC-deadline.  SDM 3A, 11.5.4.
//!
//! The bus clock is 1 GHz, so an undivided count is a nanosecond.

use super::*;

const PERIODIC: u32 = 1;

impl Lapic {
    /// The time stamp counter that deadlines are compared with.
    pub fn set_tsc(&mut self, hz: u64, offset: u64, cx: &mut dyn Cx) {
        self.advance(cx);
        (self.config.tsc_hz, self.tsc_offset) = (hz, offset);
        self.advance(cx);
        self.arm(cx);
    }
    fn counts(&self, now: Tick) -> u128 {
        u128::from(now) * u128::from(self.config.tsc_hz) / u128::from(SECOND)
    }
    fn tsc(&self, now: Tick) -> u64 {
        (self.counts(now) as u64).wrapping_add(self.tsc_offset)
    }
    /// The first time from now on at which the TSC has reached `tsc`. The offset may stand for a negative number.
    fn tsc_time(&self, tsc: u64, now: Tick) -> Option<Tick> {
        let counts = self.counts(now) + u128::from(tsc.saturating_sub(self.tsc(now)));
        let hz = u128::from(self.config.tsc_hz);
        (counts * u128::from(SECOND)).div_ceil(hz.max(1)).try_into().ok()
    }
    fn timer(&self) -> Lvt {
        self.s.lvt[Local::Timer as usize]
    }
    pub(super) fn deadline_mode(&self) -> bool {
        self.timer().timer_mode() & 2 != 0
    }
    /// The divider, as a shift.  SDM 3A, figure 11-10.
    fn shift(&self) -> u32 {
        let d = self.s.divide & 3 | self.s.divide >> 1 & 4;
        (d + 1) & 7
    }
    fn end(&self) -> Tick {
        self.s.since.saturating_add(u64::from(self.s.count) << self.shift())
    }
    /// The current count register.
    pub(super) fn current(&self, now: Tick) -> u32 {
        let gone = now.saturating_sub(self.s.since) >> self.shift();
        u64::from(self.s.count).saturating_sub(gone) as u32
    }
    /// Does what the timer was to do until now. However late it is, that is one interrupt.
    pub(super) fn advance(&mut self, cx: &mut dyn Cx) {
        let now = cx.now();
        let fired = if self.deadline_mode() {
            self.s.deadline != 0 && self.tsc(now) >= self.s.deadline
        } else {
            self.s.count != 0 && now >= self.end()
        };
        if !fired {
            return;
        }
        let period = u64::from(self.s.initial) << self.shift();
        if self.deadline_mode() {
            self.s.deadline = 0;
        } else if self.timer().timer_mode() == PERIODIC && period != 0 {
            let end = self.end();
            self.s.since = end + (now - end) / period * period;
            self.s.count = self.s.initial;
        } else {
            self.s.count = 0;
        }
        self.local(Local::Timer, cx);
    }
    /// Asks to be woken for the next interrupt. A masked timer counts, but needs nobody to watch it.
    pub(super) fn arm(&self, cx: &mut dyn Cx) {
        let at = match self.timer() {
            t if t.masked() || !self.s.base.enabled() => None,
            _ if self.deadline_mode() => {
                Some(self.s.deadline).filter(|d| *d != 0).and_then(|d| self.tsc_time(d, cx.now()))
            }
            _ => (self.s.count != 0).then(|| self.end()),
        };
        cx.wake_at(at);
    }
    pub(super) fn set_initial(&mut self, value: u32, cx: &mut dyn Cx) {
        // In TSC-deadline mode writes are ignored.
        if !self.deadline_mode() {
            self.s.initial = value;
            (self.s.count, self.s.since) = (value, cx.now());
            self.arm(cx);
        }
    }
    /// The count goes on from where it is, at the new speed.
    pub(super) fn set_divide(&mut self, value: u32, cx: &mut dyn Cx) {
        if self.s.count != 0 {
            (self.s.count, self.s.since) = (self.current(cx.now()).max(1), cx.now());
        }
        self.s.divide = value;
        self.arm(cx);
    }
    /// The LVT entry was written: going to or from deadline mode stops the timer, nothing else does.
    pub(super) fn mode_changed(&mut self, old: Lvt, cx: &mut dyn Cx) {
        if (self.timer().0 ^ old.0) >> 18 & 1 != 0 {
            (self.s.initial, self.s.count, self.s.deadline) = (0, 0, 0);
        }
        self.arm(cx);
    }
    pub(super) fn set_deadline(&mut self, value: u64, cx: &mut dyn Cx) {
        if self.deadline_mode() {
            self.s.deadline = value;
            self.advance(cx);
            self.arm(cx);
        }
    }
}
