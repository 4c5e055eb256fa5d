//! Two cascaded 8259A interrupt controllers.  Intel 8259A data sheet; ELCR: PIIX3 data sheet, 2.5.4.
//!
//! Banks: 0 the master's ports 0x20-0x21, 1 the slave's 0xA0-0xA1, 2 the edge/level registers 0x4D0-0x4D1.
//! Input pins 0..16 are the ISA interrupts; output pin [`INTR`] goes to LINT0 of the local APICs.

use device::*;

/// Output: an interrupt is requested.
pub const INTR: Pin = Pin(0);
/// Interrupts that may be level-triggered: not 0, 1, 2, 8, 13.
const ELCR_MASK: [u8; 2] = [0xF8, 0xDE];
/// The slave's place at the master.
const CASCADE: u8 = 2;

state! {
    /// One 8259A.
    pub struct Chip {
        1 irr: u8 = 0,
        2 imr: u8 = 0,
        3 isr: u8 = 0,
        /// The input levels as the edge detector last saw them.
        4 lines: u8 = 0,
        5 elcr: u8 = 0,
        6 base: u8 = 0,
        /// The interrupt with the highest priority.
        7 first: u8 = 0,
        /// Which initialization word comes next: 0 none, 2, 3 or 4.
        8 icw: u8 = 0,
        9 wants_icw4: bool = false,
        10 single: bool = false,
        11 auto_eoi: bool = false,
        12 rotate: bool = false,
        13 special_mask: bool = false,
        14 fully_nested: bool = false,
        15 poll: bool = false,
        16 read_isr: bool = false,
    }
}

impl Chip {
    /// How far down the order the first of these interrupts stands.
    fn rank(&self, set: u8) -> u32 {
        set.rotate_right((self.first & 7).into()).trailing_zeros()
    }
    fn at_rank(&self, rank: u32) -> u8 {
        self.first.wrapping_add(rank as u8) & 7
    }
    /// The interrupt to request.
    fn wanted(&self, master: bool) -> Option<u8> {
        let rank = self.rank(self.irr & !self.imr);
        let mut busy = self.isr;
        if self.special_mask {
            busy &= !self.imr;
        }
        if self.fully_nested && master {
            busy &= !(1 << CASCADE);
        }
        (rank < self.rank(busy)).then(|| self.at_rank(rank))
    }
    fn line(&mut self, n: u8, high: bool) {
        let bit = 1 << n;
        let rose = high && self.lines & bit == 0;
        self.lines = self.lines & !bit | if high { bit } else { 0 };
        if self.elcr & bit != 0 {
            self.irr = self.irr & !bit | self.lines & bit;
        } else if rose {
            self.irr |= bit;
        }
    }
    /// The CPU took it.
    fn taken(&mut self, n: u8) {
        let bit = 1 << n;
        if !self.auto_eoi {
            self.isr |= bit;
        } else if self.rotate {
            self.first = (n + 1) & 7;
        }
        if self.elcr & bit == 0 {
            self.irr &= !bit;
        }
    }
    /// Operation control word 2.
    fn eoi(&mut self, value: u8) {
        let (rotate, n) = (value & 0x80 != 0, value & 7);
        let n = match value >> 5 & 3 {
            0 => return self.rotate = rotate,
            // Non-specific: the highest in service.
            1 if self.isr == 0 => return,
            1 => self.at_rank(self.rank(self.isr)),
            2 if rotate => return self.first = (n + 1) & 7,
            2 => return,
            _ => n,
        };
        self.isr &= !(1 << n);
        if rotate {
            self.first = (n + 1) & 7;
        }
    }
    fn command(&mut self, value: u8) {
        if value & 0x10 != 0 {
            // ICW1: edges are forgotten, levels stay. What is high already has to fall before it makes another edge.
            let (irr, elcr, lines) = (self.irr & self.elcr, self.elcr, self.lines);
            let (wants_icw4, single) = (value & 1 != 0, value & 2 != 0);
            *self = Chip { irr, elcr, lines, icw: 2, wants_icw4, single, ..Chip::default() };
        } else if value & 8 != 0 {
            self.poll |= value & 4 != 0;
            if value & 2 != 0 {
                self.read_isr = value & 1 != 0;
            }
            if value & 0x40 != 0 {
                self.special_mask = value & 0x20 != 0;
            }
        } else {
            self.eoi(value);
        }
    }
    fn data(&mut self, value: u8) {
        let icw4 = if self.wants_icw4 { 4 } else { 0 };
        match self.icw {
            2 => {
                self.base = value & 0xF8;
                self.icw = if self.single { icw4 } else { 3 };
            }
            3 => self.icw = icw4,
            4 => {
                (self.fully_nested, self.auto_eoi) = (value & 0x10 != 0, value & 2 != 0);
                self.icw = 0;
            }
            _ => self.imr = value,
        }
    }
}

state! {
    /// Everything the guest can see.
    pub struct State { 1 master: Chip = Chip::default(), 2 slave: Chip = Chip::default() }
}

#[derive(Default)]
pub struct Pic {
    s: State,
}

impl Pic {
    pub fn new() -> Self {
        Self::default()
    }
    /// The CPU acknowledges: the vector. IRQ 7 (or 15) when the request has gone.
    pub fn ack(&mut self, cx: &mut dyn Cx) -> u8 {
        let State { master, slave } = &mut self.s;
        let n = master.wanted(true).inspect(|n| master.taken(*n)).unwrap_or(7);
        let vector = if n == CASCADE {
            let n = slave.wanted(false).inspect(|n| slave.taken(*n)).unwrap_or(7);
            // The slave lets go of the cascade for a moment, so that its next request is an edge.
            master.line(CASCADE, false);
            slave.base & 0xF8 | n
        } else {
            master.base & 0xF8 | n
        };
        self.settle(cx);
        vector
    }
    fn chip(&mut self, bank: u16) -> &mut Chip {
        if bank == 0 { &mut self.s.master } else { &mut self.s.slave }
    }
    fn read_port(&mut self, bank: u16, at: u64, cx: &mut dyn Cx) -> u8 {
        let master = bank == 0;
        let chip = self.chip(bank);
        if std::mem::take(&mut chip.poll) {
            let n = chip.wanted(master).inspect(|n| chip.taken(*n));
            self.settle(cx);
            return n.map_or(0, |n| 0x80 | n);
        }
        match (at, chip.read_isr) {
            (0, true) => chip.isr,
            (0, false) => chip.irr,
            _ => chip.imr,
        }
    }
}

impl Device for Pic {
    fn name(&self) -> &'static str {
        "i8259"
    }
    fn read(&mut self, at: Reg, w: Width, cx: &mut dyn Cx) -> u64 {
        join(at.at, w, 1, |i| match (at.bank, i) {
            (0 | 1, 0 | 1) => self.read_port(at.bank, i, cx).into(),
            (2, 0) => self.s.master.elcr.into(),
            (2, 1) => self.s.slave.elcr.into(),
            _ => 0xFF,
        })
    }
    fn write(&mut self, at: Reg, w: Width, value: u64, cx: &mut dyn Cx) {
        split(at.at, w, 1, value, |i, _, v| match (at.bank, i) {
            (0 | 1, 0) => self.chip(at.bank).command(v as u8),
            (0 | 1, 1) => self.chip(at.bank).data(v as u8),
            (2, 0) => self.s.master.elcr = v as u8 & ELCR_MASK[0],
            (2, 1) => self.s.slave.elcr = v as u8 & ELCR_MASK[1],
            _ => {}
        });
        self.settle(cx);
    }
    fn wire(&mut self, pin: Pin, high: bool, cx: &mut dyn Cx) {
        match pin.0 {
            // The cascade is not for the board.
            2 => {}
            n @ 0..8 => self.s.master.line(n as u8, high),
            n @ 8..16 => self.s.slave.line(n as u8 - 8, high),
            _ => {}
        }
        self.settle(cx);
    }
    fn reset(&mut self) {
        self.s = State::default();
    }
    fn settle(&mut self, cx: &mut dyn Cx) {
        let slave = self.s.slave.wanted(false).is_some();
        self.s.master.line(CASCADE, slave);
        if !slave {
            // The cascade input is no latch: a request that the slave took back is gone.
            self.s.master.irr &= !(1 << CASCADE);
        }
        cx.irq(INTR, self.s.master.wanted(true).is_some());
    }
    saved!();
    fn describe(&self) -> String {
        let chip = |name, c: &Chip| {
            format!(
                "{name}: irr={:02x} imr={:02x} isr={:02x} base={:02x} elcr={:02x} lines={:02x} first={}\n",
                c.irr, c.imr, c.isr, c.base, c.elcr, c.lines, c.first
            )
        };
        chip("pic0", &self.s.master) + &chip("pic1", &self.s.slave)
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use Width::*;

    fn out(d: &mut Pic, b: &mut Bench, port: u64, value: u64) {
        d.write(reg(port), W8, value, b)
    }
    fn inb(d: &mut Pic, b: &mut Bench, port: u64) -> u64 {
        d.read(reg(port), W8, b)
    }
    fn reg(port: u64) -> Reg {
        match port {
            0x20 | 0x21 => Reg { bank: 0, at: port - 0x20 },
            0xA0 | 0xA1 => Reg { bank: 1, at: port - 0xA0 },
            _ => Reg { bank: 2, at: port - 0x4D0 },
        }
    }
    /// Initialized as Linux does it.
    fn world() -> (Pic, Bench) {
        let (mut d, mut b) = (Pic::new(), Bench::default());
        for (port, value) in [
            (0x20, 0x11),
            (0x21, 0x30),
            (0x21, 4),
            (0x21, 1),
            (0xA0, 0x11),
            (0xA1, 0x38),
            (0xA1, 2),
            (0xA1, 1),
            (0x21, 0),
            (0xA1, 0),
        ] {
            out(&mut d, &mut b, port, value);
        }
        (d, b)
    }
    fn pulse(d: &mut Pic, b: &mut Bench, n: u16) {
        d.wire(Pin(n), true, b);
        d.wire(Pin(n), false, b);
    }

    #[test]
    fn an_input_that_is_high_at_icw1_has_to_fall_before_it_makes_an_edge() {
        let (mut d, mut b) = world();
        d.wire(Pin(4), true, &mut b);
        for (port, value) in [(0x20, 0x11), (0x21, 0x30), (0x21, 4), (0x21, 1)] {
            out(&mut d, &mut b, port, value);
        }
        d.wire(Pin(4), true, &mut b);
        assert!(!b.pin(INTR));
        pulse(&mut d, &mut b, 4);
        d.wire(Pin(4), true, &mut b);
        assert!(b.pin(INTR));
    }

    #[test]
    fn an_edge_is_acknowledged_with_its_vector() {
        let (mut d, mut b) = world();
        pulse(&mut d, &mut b, 4);
        assert!(b.pin(INTR));
        assert_eq!((d.ack(&mut b), b.pin(INTR)), (0x34, false));
        pulse(&mut d, &mut b, 5);
        assert!(!b.pin(INTR), "a lower one waits");
        pulse(&mut d, &mut b, 1);
        assert_eq!(d.ack(&mut b), 0x31);
        out(&mut d, &mut b, 0x20, 0x20);
        out(&mut d, &mut b, 0x20, 0x20);
        assert_eq!(d.ack(&mut b), 0x35);
    }

    #[test]
    fn the_slave_comes_through_the_cascade() {
        let (mut d, mut b) = world();
        pulse(&mut d, &mut b, 14);
        pulse(&mut d, &mut b, 12);
        assert_eq!(d.ack(&mut b), 0x3C);
        assert!(!b.pin(INTR));
        out(&mut d, &mut b, 0xA0, 0x64);
        out(&mut d, &mut b, 0x20, 0x62);
        assert_eq!(d.ack(&mut b), 0x3E);
    }

    #[test]
    fn a_request_that_is_gone_is_spurious() {
        let (mut d, mut b) = world();
        assert_eq!(d.ack(&mut b), 0x37);
        out(&mut d, &mut b, 0x20, 0xB);
        assert_eq!(inb(&mut d, &mut b, 0x20), 0, "and is not in service");
    }

    #[test]
    fn a_level_lasts_and_goes_with_its_wire() {
        let (mut d, mut b) = world();
        out(&mut d, &mut b, 0x4D0, 0xFF);
        out(&mut d, &mut b, 0x4D1, 0xFF);
        assert_eq!(d.read(reg(0x4D0), W16, &mut b), 0xDEF8);
        d.wire(Pin(10), true, &mut b);
        assert_eq!(d.ack(&mut b), 0x3A);
        out(&mut d, &mut b, 0xA0, 0x20);
        out(&mut d, &mut b, 0x20, 0x20);
        assert!(b.pin(INTR));
        d.wire(Pin(10), false, &mut b);
        assert!(!b.pin(INTR));
    }

    #[test]
    fn the_mask_register_reads_back() {
        let (mut d, mut b) = world();
        out(&mut d, &mut b, 0x21, 0xFB);
        assert_eq!(inb(&mut d, &mut b, 0x21), 0xFB);
        pulse(&mut d, &mut b, 0);
        assert!(!b.pin(INTR));
        assert_eq!(inb(&mut d, &mut b, 0x20), 1);
        out(&mut d, &mut b, 0x21, 0);
        assert!(b.pin(INTR));
    }

    #[test]
    fn automatic_eoi_leaves_nothing_in_service() {
        let (mut d, mut b) = world();
        for (port, value) in [(0x20, 0x11), (0x21, 0x30), (0x21, 4), (0x21, 3), (0x20, 0x80)] {
            out(&mut d, &mut b, port, value);
        }
        pulse(&mut d, &mut b, 3);
        assert_eq!(d.ack(&mut b), 0x33);
        pulse(&mut d, &mut b, 3);
        pulse(&mut d, &mut b, 4);
        assert_eq!(d.ack(&mut b), 0x34, "rotated: 4 is first now");
        assert_eq!(d.ack(&mut b), 0x33);
    }

    #[test]
    fn rotation_makes_the_served_one_last() {
        let (mut d, mut b) = world();
        pulse(&mut d, &mut b, 3);
        d.ack(&mut b);
        out(&mut d, &mut b, 0x20, 0xA0);
        pulse(&mut d, &mut b, 3);
        pulse(&mut d, &mut b, 6);
        assert_eq!(d.ack(&mut b), 0x36);
        out(&mut d, &mut b, 0x20, 0x66);
        out(&mut d, &mut b, 0x20, 0xC7);
        pulse(&mut d, &mut b, 0);
        assert_eq!(d.ack(&mut b), 0x30);
    }

    #[test]
    fn special_mask_mode_lets_lower_ones_in() {
        let (mut d, mut b) = world();
        pulse(&mut d, &mut b, 1);
        d.ack(&mut b);
        pulse(&mut d, &mut b, 5);
        out(&mut d, &mut b, 0x21, 2);
        assert!(!b.pin(INTR));
        out(&mut d, &mut b, 0x20, 0x68);
        assert_eq!(d.ack(&mut b), 0x35);
    }

    #[test]
    fn polling_acknowledges_without_the_cpu() {
        let (mut d, mut b) = world();
        pulse(&mut d, &mut b, 5);
        out(&mut d, &mut b, 0x20, 0xC);
        assert_eq!((inb(&mut d, &mut b, 0x20), b.pin(INTR)), (0x85, false));
        out(&mut d, &mut b, 0x20, 0x20);
        out(&mut d, &mut b, 0x20, 0xC);
        assert_eq!(inb(&mut d, &mut b, 0x20), 0);
    }
}
