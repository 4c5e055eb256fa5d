//! I/O APIC with 24 pins.  Intel 82093AA data sheet; version 0x20 with its EOI register as on ICH.
//!
//! Bank 0 is the 4 KiB window at 0xFEC0_0000. Wires say "asserted", so the polarity bit is kept but not obeyed: firmware
//! tables and redirection entries of a virtual board would otherwise have to agree on a voltage that is not there.

use device::*;

pub const PINS: u16 = 24;
/// Version 0x20, 24 entries.
const VERSION: u32 = 0x0017_0020;

bits! {
    /// A redirection entry.  82093AA, 3.2.4.
    pub struct Entry: u64 {
        vector: 0..8, mode: 8..11, logical: 11, pending: 12, low_active: 13, remote_irr: 14, level: 15, masked: 16,
        destination: 56..64,
    }
}

/// Delivery status and remote IRR belong to the I/O APIC.
const READ_ONLY: u64 = 0x5000;
/// What there is of an entry.
const THERE: u64 = 0xFF00_0000_0001_FFFF;

state! {
    /// Everything the guest can see.
    pub struct State {
        1 id: u8 = 0,
        2 select: u8 = 0,
        3 entries: [Entry; 24] = [Entry(0).with_masked(true); 24],
        /// The levels of the input pins.
        4 pins: u32 = 0,
    }
}

#[derive(Default)]
pub struct IoApic {
    s: State,
}

impl IoApic {
    pub fn new() -> Self {
        Self::default()
    }
    /// A local APIC ended the interrupt of this vector.
    pub fn eoi(&mut self, vector: u8, cx: &mut dyn Cx) {
        for n in 0..PINS as usize {
            let e = self.s.entries[n];
            if e.remote_irr() && e.vector() == u64::from(vector) {
                self.s.entries[n] = e.with_remote_irr(false);
                self.service(n, cx);
            }
        }
    }
    /// Sends what a level-triggered pin wants: once, until its EOI.
    fn service(&mut self, n: usize, cx: &mut dyn Cx) {
        let e = self.s.entries[n];
        if self.s.pins >> n & 1 != 0 && e.level() && !e.masked() && !e.remote_irr() {
            self.s.entries[n] = e.with_remote_irr(true);
            self.send(e, cx);
        }
    }
    fn send(&self, e: Entry, cx: &mut dyn Cx) {
        let how = match e.mode() {
            0 => Delivery::Fixed,
            1 => Delivery::LowestPriority,
            2 => Delivery::Smi,
            4 => Delivery::Nmi,
            5 => Delivery::Init,
            7 => Delivery::ExtInt,
            mode => return cx.complain(format_args!("ioapic: reserved delivery mode {mode}")),
        };
        let to = match (e.destination() as u32, e.logical()) {
            (0xFF, false) => Target::All,
            (n, false) => Target::Physical(n),
            (n, true) => Target::Logical(n),
        };
        cx.apic(ApicMessage { to, how, vector: e.vector() as u8, level_triggered: e.level() });
    }
    fn read_reg(&self) -> u32 {
        match self.s.select {
            0 | 2 => u32::from(self.s.id) << 24,
            1 => VERSION,
            n @ 0x10..0x40 => (self.s.entries[(n - 0x10) as usize / 2].0 >> (n % 2 * 32)) as u32,
            _ => 0,
        }
    }
    fn write_reg(&mut self, value: u32, cx: &mut dyn Cx) {
        match self.s.select {
            0 => self.s.id = (value >> 24 & 0xF) as u8,
            n @ 0x10..0x40 => {
                let pin = (n - 0x10) as usize / 2;
                let (old, shift) = (self.s.entries[pin].0, n % 2 * 32);
                let mine = (0xFFFF_FFFF << shift) & THERE & !READ_ONLY;
                let e = Entry(old & !mine | u64::from(value) << shift & mine);
                // An edge has no remote IRR: software ends a level-triggered interrupt so, too.
                self.s.entries[pin] = if e.level() { e } else { e.with_remote_irr(false) };
                self.service(pin, cx);
            }
            _ => {}
        }
    }
}

impl Device for IoApic {
    fn name(&self) -> &'static str {
        "ioapic"
    }
    fn read(&mut self, at: Reg, w: Width, _: &mut dyn Cx) -> u64 {
        let value = match at.at & 0xFF {
            0x00 => self.s.select.into(),
            0x10 => self.read_reg(),
            _ => 0,
        };
        u64::from(value) & w.mask()
    }
    fn write(&mut self, at: Reg, _: Width, value: u64, cx: &mut dyn Cx) {
        match at.at & 0xFF {
            0x00 => self.s.select = value as u8,
            0x10 => self.write_reg(value as u32, cx),
            0x40 => self.eoi(value as u8, cx),
            _ => {}
        }
    }
    fn wire(&mut self, pin: Pin, high: bool, cx: &mut dyn Cx) {
        if pin.0 >= PINS {
            return;
        }
        let (n, bit) = (pin.0 as usize, 1 << pin.0);
        let rose = high && self.s.pins & bit == 0;
        self.s.pins = self.s.pins & !bit | if high { bit } else { 0 };
        let e = self.s.entries[n];
        if e.level() {
            self.service(n, cx);
        } else if rose && !e.masked() {
            // An edge at a masked pin is lost.  82093AA, 3.2.4.
            self.send(e, cx);
        }
    }
    fn reset(&mut self) {
        self.s = State::default();
    }
    saved!();
    fn describe(&self) -> String {
        use std::fmt::Write;
        let mut out =
            format!("id {:#x} select {:#x} pins {:#08x}\n", self.s.id, self.s.select, self.s.pins);
        for (n, e) in self.s.entries.iter().enumerate() {
            let _ = writeln!(
                out,
                "pin {n:2}: vector {:3} {} {} dest {:#04x} mode {}{}{}",
                e.vector(),
                if e.level() { "level" } else { "edge " },
                if e.logical() { "logical " } else { "physical" },
                e.destination(),
                e.mode(),
                if e.masked() { " masked" } else { "" },
                if e.remote_irr() { " remote-irr" } else { "" },
            );
        }
        out
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use Width::*;

    fn write(d: &mut IoApic, b: &mut Bench, reg: u64, value: u64) {
        d.write(Reg { bank: 0, at: 0 }, W32, reg, b);
        d.write(Reg { bank: 0, at: 0x10 }, W32, value, b);
    }
    fn read(d: &mut IoApic, b: &mut Bench, reg: u64) -> u64 {
        d.write(Reg { bank: 0, at: 0 }, W32, reg, b);
        d.read(Reg { bank: 0, at: 0x10 }, W32, b)
    }
    fn entry(d: &mut IoApic, b: &mut Bench, pin: u64, e: u64) {
        write(d, b, 0x11 + 2 * pin, e >> 32);
        write(d, b, 0x10 + 2 * pin, e & 0xFFFF_FFFF);
    }
    fn world() -> (IoApic, Bench) {
        (IoApic::new(), Bench::default())
    }
    const PIN: Pin = Pin(14);

    #[test]
    fn the_version_is_fixed_and_the_id_has_four_bits() {
        let (mut d, mut b) = world();
        write(&mut d, &mut b, 1, 0xFFFF_FFFF);
        assert_eq!(read(&mut d, &mut b, 1), 0x0017_0020);
        write(&mut d, &mut b, 0, 0xFFFF_FFFF);
        assert_eq!((read(&mut d, &mut b, 0), read(&mut d, &mut b, 2)), (0x0F00_0000, 0x0F00_0000));
        write(&mut d, &mut b, 2, 0);
        assert_eq!(read(&mut d, &mut b, 2), 0x0F00_0000);
        assert_eq!(read(&mut d, &mut b, 0x3E), 0x10000);
    }

    #[test]
    fn an_edge_is_sent_once_and_lost_behind_a_mask() {
        let (mut d, mut b) = world();
        entry(&mut d, &mut b, 14, 0x81 | 1 << 16);
        d.wire(PIN, true, &mut b);
        d.wire(PIN, false, &mut b);
        entry(&mut d, &mut b, 14, 0x0300_0000_0000_0081);
        assert!(b.messages.is_empty());
        d.wire(PIN, true, &mut b);
        d.wire(PIN, true, &mut b);
        let m = ApicMessage {
            to: Target::Physical(3),
            how: Delivery::Fixed,
            vector: 0x81,
            level_triggered: false,
        };
        assert_eq!(b.messages, [m]);
    }

    #[test]
    fn a_level_comes_again_after_eoi_as_long_as_it_lasts() {
        let (mut d, mut b) = world();
        entry(&mut d, &mut b, 14, 0x8000 | 0x9A);
        d.wire(PIN, true, &mut b);
        d.wire(PIN, false, &mut b);
        d.wire(PIN, true, &mut b);
        assert_eq!((b.messages.len(), read(&mut d, &mut b, 0x2C)), (1, 0xC09A), "coalesced");
        d.eoi(0x9B, &mut b);
        assert_eq!(b.messages.len(), 1);
        d.eoi(0x9A, &mut b);
        assert_eq!(b.messages.len(), 2);
        d.wire(PIN, false, &mut b);
        d.write(Reg { bank: 0, at: 0x40 }, W32, 0x9A, &mut b);
        assert_eq!((b.messages.len(), read(&mut d, &mut b, 0x2C)), (2, 0x809A));
    }

    #[test]
    fn a_masked_level_is_sent_when_unmasked() {
        let (mut d, mut b) = world();
        entry(&mut d, &mut b, 14, 0x1_8000 | 0x82);
        d.wire(PIN, true, &mut b);
        assert!(b.messages.is_empty());
        entry(&mut d, &mut b, 14, 0x8000 | 0x82);
        assert_eq!(b.messages.len(), 1);
    }

    #[test]
    fn remote_irr_is_not_for_software_to_write_but_an_edge_clears_it() {
        let (mut d, mut b) = world();
        entry(&mut d, &mut b, 14, 0xD000 | 0x55);
        assert_eq!(read(&mut d, &mut b, 0x2C), 0x8055);
        d.wire(PIN, true, &mut b);
        write(&mut d, &mut b, 0x2D, 1 << 24);
        assert_eq!(read(&mut d, &mut b, 0x2C), 0xC055);
        entry(&mut d, &mut b, 14, 0x1_0055);
        assert_eq!(read(&mut d, &mut b, 0x2C), 0x1_0055);
    }

    #[test]
    fn destinations_and_modes_are_as_the_entry_says() {
        let (mut d, mut b) = world();
        for (e, to, how) in [
            (0xFF00_0000_0000_0140, Target::All, Delivery::LowestPriority),
            (0x0D00_0000_0000_0840, Target::Logical(0xD), Delivery::Fixed),
            (0x0000_0000_0000_0440, Target::Physical(0), Delivery::Nmi),
            (0x0000_0000_0000_0740, Target::Physical(0), Delivery::ExtInt),
        ] {
            entry(&mut d, &mut b, 14, e);
            d.wire(PIN, true, &mut b);
            d.wire(PIN, false, &mut b);
            assert_eq!(b.messages.pop().map(|m| (m.to, m.how)), Some((to, how)));
        }
    }
}
