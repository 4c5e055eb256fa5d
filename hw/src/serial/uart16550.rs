//! 16550A asynchronous receiver and transmitter with FIFOs.  National Semiconductor PC16550D data sheet.
//!
//! Bank 0 is its eight ports. Output pin [`IRQ`] passes the gate of MCR's OUT2, as on PC boards.
//!
//! When *paced*, transmitted characters leave at the speed of the divisor in guest time; the back end gets them a FIFO at
//! a time. Otherwise the transmitter is always empty. Input comes as fast as the guest reads it: [`Request::Accept`] tells
//! the back end how much room there is.

use device::*;
use std::collections::VecDeque;

pub const IRQ: Pin = Pin(0);
/// The FIFOs' depth.
const DEPTH: usize = 16;
/// The crystal, divided by 16 in the part.
const CLOCK: u64 = 1_843_200 / 16;

bits! {
    /// Line status.  PC16550D, 8.4.
    pub struct Lsr: u8 {
        ready: 0, overrun: 1, parity: 2, framing: 3, break_in: 4, thr_empty: 5, idle: 6, fifo_error: 7,
    }
}
bits! {
    /// Line control.  PC16550D, 8.1.
    pub struct Lcr: u8 { bits: 0..2, long_stop: 2, parity: 3, break_out: 6, dlab: 7 }
}
bits! {
    /// Modem control.  PC16550D, 8.6.
    pub struct Mcr: u8 { dtr: 0, rts: 1, out1: 2, out2: 3, looped: 4 }
}
bits! {
    /// Modem status: the lines above, their changes below.  PC16550D, 8.7.
    pub struct Msr: u8 { changed: 0..4, ri_ended: 2, cts: 4, dsr: 5, ri: 6, dcd: 7, lines: 4..8 }
}
/// Interrupt enables.  PC16550D, 8.5.
const DATA: u8 = 1;
const EMPTY: u8 = 2;
const LINE: u8 = 4;
const MODEM: u8 = 8;

state! {
    /// Everything the guest can see.
    pub struct State {
        1 ier: u8 = 0,
        2 fcr: u8 = 0,
        3 lcr: Lcr = Lcr(0),
        4 mcr: Mcr = Mcr(8),
        5 msr: Msr = Msr(0xB0),
        6 scratch: u8 = 0,
        /// 9600 baud.
        7 divisor: u16 = 12,
        /// Received characters, each with its error bits of the line status above.
        8 rx: VecDeque<u16> = VecDeque::new(),
        /// When a character last came or was read.
        9 rx_at: Tick = 0,
        10 overrun: bool = false,
        /// The character in the shift register, then the FIFO.
        11 tx: VecDeque<u8> = VecDeque::new(),
        /// When the shift register will be empty.
        12 tx_done: Tick = 0,
        /// The transmitter has become empty since IIR last told.
        13 emptied: bool = false,
        /// The error bits of the line status that software has not read.
        14 errors: Lsr = Lsr(0),
        /// The back end is there.
        15 carrier: bool = true,
    }
}

pub struct Uart {
    s: State,
    paced: bool,
    /// The room last told to the back end.
    room: Option<usize>,
}

impl Uart {
    /// `paced`: whether transmission takes guest time.
    pub fn new(paced: bool) -> Self {
        Self { s: State::default(), paced, room: None }
    }
    fn fifo(&self) -> bool {
        self.s.fcr & 1 != 0
    }
    /// How many characters a queue holds.
    fn depth(&self) -> usize {
        if self.fifo() { DEPTH } else { 1 }
    }
    /// The time of one character on the line.
    fn character(&self) -> Tick {
        let lcr = self.s.lcr;
        let halves = 2 * (1 + 5 + u64::from(lcr.bits()) + lcr.parity() as u64)
            + match (lcr.long_stop(), lcr.bits()) {
                (false, _) => 2,
                (true, 0) => 3,
                (true, _) => 4,
            };
        halves * u64::from(self.s.divisor.max(1)) * SECOND / CLOCK / 2
    }

    // The transmitter.

    fn thr_empty(&self) -> bool {
        self.s.tx.len() <= 1
    }
    /// Shifts out all that has left until now. Gives whether anything has.
    fn advance(&mut self, cx: &mut dyn Cx) -> bool {
        let (now, was_empty, each) = (cx.now(), self.thr_empty(), self.character());
        let mut out = Vec::new();
        while !self.s.tx.is_empty() && self.s.tx_done <= now {
            out.extend(self.s.tx.pop_front());
            self.s.tx_done = self.s.tx_done.saturating_add(each);
        }
        self.s.emptied |= !was_empty && self.thr_empty();
        let any = !out.is_empty();
        self.transmit(out, cx);
        any
    }
    fn transmit(&mut self, out: Vec<u8>, cx: &mut dyn Cx) {
        if out.is_empty() {
        } else if self.s.mcr.looped() {
            let mask = 0xFF >> (3 - self.s.lcr.bits());
            out.into_iter().for_each(|c| self.receive((c & mask).into(), cx.now()));
        } else {
            cx.ask(Request::Send(out));
        }
    }
    fn send(&mut self, c: u8, cx: &mut dyn Cx) {
        self.s.emptied = false;
        if !self.paced {
            self.s.emptied = true;
            return self.transmit(vec![c], cx);
        }
        if self.s.tx.is_empty() {
            self.s.tx_done = cx.now() + self.character();
        } else if self.s.tx.len() > self.depth() {
            // A full FIFO loses what is written; without FIFOs the holding register is written over.
            if !self.fifo() {
                self.s.tx.pop_back();
                self.s.tx.push_back(c);
            }
            return;
        }
        self.s.tx.push_back(c);
        // It went to the shift register, and the holding register is empty again.
        self.s.emptied |= self.thr_empty();
    }

    // The receiver.

    fn receive(&mut self, c: u16, now: Tick) {
        self.s.rx_at = now;
        if self.s.rx.len() >= self.depth() {
            self.s.overrun = true;
            if !self.fifo() {
                self.s.rx.clear();
                self.s.rx.push_back(c);
            }
        } else {
            self.s.rx.push_back(c);
        }
        self.surface();
    }
    /// The errors of the character at the top show in the line status.
    fn surface(&mut self) {
        if let Some(top) = self.s.rx.front_mut() {
            self.s.errors.0 |= (*top >> 8) as u8 & 0x1C;
            *top &= 0xFF;
        }
    }
    fn trigger(&self) -> usize {
        if self.fifo() { [1, 4, 8, 14][self.s.fcr as usize >> 6] } else { 1 }
    }
    /// When characters below the trigger level have waited long enough: four character times.  PC16550D, 8.9.
    fn timeout(&self) -> Option<Tick> {
        let waits = self.fifo() && !self.s.rx.is_empty() && self.s.rx.len() < self.trigger();
        waits.then(|| self.s.rx_at.saturating_add(4 * self.character()))
    }

    // Interrupts.

    fn lsr(&self) -> Lsr {
        let later_error = self.fifo() && self.s.rx.iter().any(|c| c >> 8 != 0);
        Lsr(self.s.errors.0 & 0x1C)
            .with_ready(!self.s.rx.is_empty())
            .with_overrun(self.s.overrun)
            .with_thr_empty(self.thr_empty())
            .with_idle(self.s.tx.is_empty())
            .with_fifo_error(later_error || self.fifo() && self.s.errors.0 & 0x1C != 0)
    }
    fn msr(&self) -> Msr {
        let (m, s) = (self.s.mcr, self.s.msr);
        if !m.looped() {
            return s;
        }
        Msr(s.changed()).with_cts(m.rts()).with_dsr(m.dtr()).with_ri(m.out1()).with_dcd(m.out2())
    }
    /// The modem lines have changed from `old`.
    fn modem_changed(&mut self, old: Msr) {
        let new = self.msr();
        let mut changed = (old.lines() ^ new.lines()) & 0b1011;
        // Of the ring indicator only the end counts.
        changed |= (old.ri() && !new.ri()) as u8 * 4;
        self.s.msr = self.s.msr.with_changed(self.s.msr.changed() | changed);
    }
    /// The interrupt identification: the first of these that is enabled and pending.  PC16550D, table IV.
    fn iir(&self, now: Tick) -> u8 {
        let on = |source| self.s.ier & source != 0;
        let fifo = if self.fifo() { 0xC0 } else { 0 };
        fifo | if on(LINE) && self.lsr().0 & 0x1E != 0 {
            6
        } else if on(DATA) && self.s.rx.len() >= self.trigger() {
            4
        } else if on(DATA) && self.timeout().is_some_and(|at| at <= now) {
            0xC
        } else if on(EMPTY) && self.s.emptied {
            2
        } else if on(MODEM) && self.s.msr.changed() != 0 {
            0
        } else {
            1
        }
    }
    fn read_reg(&mut self, at: u64, cx: &mut dyn Cx) -> u8 {
        let now = cx.now();
        match at {
            0 if self.s.lcr.dlab() => self.s.divisor as u8,
            0 => {
                let c = self.s.rx.pop_front().unwrap_or(0);
                self.s.rx_at = now;
                self.surface();
                c as u8
            }
            1 if self.s.lcr.dlab() => (self.s.divisor >> 8) as u8,
            1 => self.s.ier,
            2 => {
                let iir = self.iir(now);
                if iir & 0xF == 2 {
                    self.s.emptied = false;
                }
                iir
            }
            3 => self.s.lcr.0,
            4 => self.s.mcr.0,
            5 => {
                let lsr = self.lsr();
                (self.s.overrun, self.s.errors) = (false, Lsr(0));
                lsr.0
            }
            6 => {
                let msr = self.msr();
                self.s.msr = self.s.msr.with_changed(0);
                msr.0
            }
            7 => self.s.scratch,
            _ => 0xFF,
        }
    }
    fn write_reg(&mut self, at: u64, value: u8, cx: &mut dyn Cx) {
        match at {
            0 if self.s.lcr.dlab() => self.s.divisor = self.s.divisor & 0xFF00 | u16::from(value),
            0 => self.send(value, cx),
            1 if self.s.lcr.dlab() => {
                self.s.divisor = self.s.divisor & 0xFF | u16::from(value) << 8;
            }
            1 => {
                // Enabling the transmitter's interrupt while it is empty gives one.
                if value & !self.s.ier & EMPTY != 0 && self.thr_empty() {
                    self.s.emptied = true;
                }
                self.s.ier = value & 0xF;
            }
            2 => self.fifo_control(value),
            3 => {
                let lcr = Lcr(value);
                if lcr.break_out() && !self.s.lcr.break_out() {
                    if self.s.mcr.looped() {
                        self.receive(u16::from(Lsr(0).with_break_in(true).0) << 8, cx.now());
                    } else {
                        cx.ask(Request::SendBreak);
                    }
                }
                self.s.lcr = lcr;
            }
            4 => {
                let old = self.msr();
                self.s.mcr = Mcr(value & 0x1F);
                self.modem_changed(old);
            }
            7 => self.s.scratch = value,
            _ => {}
        }
    }
    fn fifo_control(&mut self, value: u8) {
        let switched = (value ^ self.s.fcr) & 1 != 0;
        if switched || value & 2 != 0 {
            self.s.rx.clear();
        }
        if (switched || value & 4 != 0) && self.s.tx.len() > 1 {
            self.s.tx.truncate(1);
            self.s.emptied = true;
        }
        // The other bits count only together with the enable.
        self.s.fcr = if value & 1 != 0 { value & 0xC9 } else { 0 };
    }
}

impl Device for Uart {
    fn name(&self) -> &'static str {
        "serial"
    }
    fn read(&mut self, at: Reg, w: Width, cx: &mut dyn Cx) -> u64 {
        let moved = self.advance(cx);
        // Waiting for the transmitter changes nothing.
        if !moved && (at.at, w) == (5, Width::W8) && self.lsr().0 & 0x1E == 0 {
            return self.lsr().0.into();
        }
        let value = join(at.at, w, 1, |i| self.read_reg(i, cx).into());
        self.settle(cx);
        value
    }
    fn write(&mut self, at: Reg, w: Width, value: u64, cx: &mut dyn Cx) {
        self.advance(cx);
        split(at.at, w, 1, value, |i, _, v| self.write_reg(i, v as u8, cx));
        self.settle(cx);
    }
    fn wake(&mut self, cx: &mut dyn Cx) {
        self.advance(cx);
        self.settle(cx);
    }
    fn input(&mut self, what: Input, cx: &mut dyn Cx) {
        self.advance(cx);
        match what {
            // In loopback the line is cut off.
            Input::Bytes(_) | Input::Break if self.s.mcr.looped() => {}
            Input::Bytes(bytes) => bytes.into_iter().for_each(|c| self.receive(c.into(), cx.now())),
            Input::Break => self.receive(u16::from(Lsr(0).with_break_in(true).0) << 8, cx.now()),
            Input::Carrier(on) => {
                let old = self.msr();
                (self.s.carrier, self.s.msr) = (on, self.s.msr.with_dcd(on));
                self.modem_changed(old);
            }
            _ => {}
        }
        self.settle(cx);
    }
    fn reset(&mut self) {
        let carrier = self.s.carrier;
        self.s = State { carrier, msr: Msr(0xB0).with_dcd(carrier), ..State::default() };
        self.room = None;
    }
    fn settle(&mut self, cx: &mut dyn Cx) {
        cx.irq(IRQ, self.iir(cx.now()) & 1 == 0 && self.s.mcr.out2());
        let queued = self.s.tx.len() as u64;
        // When the holding register is empty, or the last character gone.
        let sent = (queued > 0)
            .then(|| self.s.tx_done.saturating_add(queued.saturating_sub(2) * self.character()));
        let timeout = self.timeout().filter(|at| self.s.ier & DATA != 0 && *at > cx.now());
        cx.wake_at(sent.into_iter().chain(timeout).min());
        let free = self.depth().saturating_sub(self.s.rx.len());
        let room = if self.s.mcr.looped() { 0 } else { free };
        if self.room.replace(room) != Some(room) {
            cx.ask(Request::Accept(room));
        }
    }
    fn save(&self) -> Vec<u8> {
        self.s.save()
    }
    fn load(&mut self, from: &[u8]) -> Result<(), Misfit> {
        let s = State::load(from)?;
        if s.rx.len() > DEPTH || s.tx.len() > DEPTH + 1 {
            return Err(Misfit::Unfit("a serial FIFO with more than 16 characters".into()));
        }
        (self.s, self.room) = (s, None);
        Ok(())
    }
    fn describe(&self) -> String {
        let s = &self.s;
        format!(
            "divisor {} lcr {:#04x} mcr {:#04x} ier {:#03x} fcr {:#04x} lsr {:#04x} msr {:#04x} rx {} tx {}\n",
            s.divisor,
            s.lcr.0,
            s.mcr.0,
            s.ier,
            s.fcr,
            self.lsr().0,
            self.msr().0,
            s.rx.len(),
            s.tx.len()
        )
    }
}

#[cfg(test)]
mod test;
