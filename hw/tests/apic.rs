//! Several local APICs and an I/O APIC joined as a board joins them: the scenes of kvm-unit-tests' apic and ioapic.

use device::*;
use hw::chipset::ioapic::IoApic;
use hw::chipset::lapic::{APIC_BASE, Config, Interrupt, Lapic, lowest_priority};

const W: Width = Width::W32;
const LINE: Pin = Pin(14);

struct Board {
    cpus: Vec<Lapic>,
    ioapic: IoApic,
    b: Bench,
}

impl Board {
    fn new(cpus: u32) -> Self {
        let lapic = |n| {
            Lapic::new(Config {
                cpu: n,
                id: n,
                bsp: n == 0,
                phys_bits: 40,
                x2apic: true,
                tsc_hz: SECOND,
            })
        };
        let mut board = Board {
            cpus: (0..cpus).map(lapic).collect(),
            ioapic: IoApic::new(),
            b: Bench::default(),
        };
        (0..cpus).for_each(|n| board.write(n, 0xF0, 0x1FF));
        board
    }
    /// Carries messages until nobody has more to say. `sender` wrote something.
    fn carry(&mut self, sender: Option<u32>) {
        while !self.b.messages.is_empty()
            || self.b.asked.iter().any(|r| matches!(r, Request::Eoi(_)))
        {
            for m in std::mem::take(&mut self.b.messages) {
                let to: Vec<usize> = match m.how {
                    Delivery::LowestPriority => {
                        lowest_priority(self.cpus.iter().enumerate(), &m).into_iter().collect()
                    }
                    _ => (0..self.cpus.len())
                        .filter(|n| self.cpus[*n].matches(&m))
                        .filter(|n| m.to != Target::AllButSender || sender != Some(*n as u32))
                        .collect(),
                };
                to.into_iter().for_each(|n| self.cpus[n].accept(&m, &mut self.b));
            }
            for r in std::mem::take(&mut self.b.asked) {
                if let Request::Eoi(v) = r {
                    self.ioapic.eoi(v, &mut self.b);
                }
            }
        }
    }
    fn write(&mut self, cpu: u32, at: u64, value: u64) {
        self.cpus[cpu as usize].write(Reg { bank: 0, at }, W, value, &mut self.b);
        self.carry(Some(cpu));
    }
    fn x2apic(&mut self) {
        for (n, l) in self.cpus.iter_mut().enumerate() {
            let bsp = if n == 0 { 0x100 } else { 0 };
            l.msr_write(APIC_BASE, 0xFEE0_0C00 | bsp, &mut self.b).unwrap();
        }
    }
    fn icr(&mut self, cpu: u32, to: u64, low: u64) {
        if self.cpus[cpu as usize].is_x2apic() {
            self.cpus[cpu as usize].msr_write(0x830, to << 32 | low, &mut self.b).unwrap();
            self.carry(Some(cpu));
        } else {
            self.write(cpu, 0x310, to << 24);
            self.write(cpu, 0x300, low);
        }
    }
    /// Takes what is pending at a CPU.
    fn take(&mut self, cpu: usize) -> Option<u8> {
        self.cpus[cpu].pending()?;
        match self.cpus[cpu].ack(&mut self.b) {
            Interrupt::Vector(v) => Some(v),
            Interrupt::ExtInt => None,
        }
    }
    fn eoi(&mut self, cpu: usize) {
        self.cpus[cpu].eoi(&mut self.b);
        self.carry(None);
    }
    /// Who has this vector; and ends it.
    fn got(&mut self, vector: u8) -> Vec<usize> {
        let who: Vec<_> = (0..self.cpus.len()).filter(|n| self.take(*n) == Some(vector)).collect();
        who.iter().for_each(|n| self.eoi(*n));
        who
    }
    fn line(&mut self, pin: Pin, high: bool) {
        self.ioapic.wire(pin, high, &mut self.b);
        self.carry(None);
    }
    fn entry(&mut self, pin: Pin, e: u64) {
        for (half, value) in [(1, e >> 32), (0, e & 0xFFFF_FFFF)] {
            self.ioapic.write(
                Reg { bank: 0, at: 0 },
                W,
                0x10 + u64::from(pin.0) * 2 + half,
                &mut self.b,
            );
            self.ioapic.write(Reg { bank: 0, at: 0x10 }, W, value, &mut self.b);
        }
        self.carry(None);
    }
    fn low(&mut self, pin: Pin) -> u64 {
        self.ioapic.write(Reg { bank: 0, at: 0 }, W, 0x10 + u64::from(pin.0) * 2, &mut self.b);
        self.ioapic.read(Reg { bank: 0, at: 0x10 }, W, &mut self.b)
    }
}

const LEVEL: u64 = 1 << 15;
const REMOTE_IRR: u64 = 1 << 14;
const LOGICAL: u64 = 1 << 11;

#[test]
fn broadcasts_reach_everybody_in_both_modes() {
    let mut b = Board::new(3);
    b.icr(0, 0xFF, 0x40CF);
    assert_eq!(b.got(0xCF), [0, 1, 2]);
    b.icr(0, 0, 0xC40CF);
    assert_eq!(b.got(0xCF), [1, 2]);
    b.x2apic();
    b.icr(1, 0xFFFF_FFFF, 0x40CF);
    assert_eq!(b.got(0xCF), [0, 1, 2]);
    b.icr(1, 0, 0x840CF);
    assert_eq!(b.got(0xCF), [0, 1, 2]);
    b.icr(1, 0xFF, 0x40CF);
    assert!(b.got(0xCF).is_empty(), "there is no CPU 255");
}

#[test]
fn logical_flat_and_cluster_destinations() {
    let mut b = Board::new(2);
    for (i, j) in (0..8).flat_map(|i| (0..8).map(move |j| (i, j))).filter(|(i, j)| i != j) {
        b.write(0, 0xD0, 1 << (24 + i));
        b.write(1, 0xD0, 1 << (24 + j));
        for to in 0..0xFF {
            b.icr(0, to, LOGICAL | 0xF1);
            let want: Vec<_> = [i, j]
                .iter()
                .enumerate()
                .filter(|(_, n)| to >> **n & 1 != 0)
                .map(|(n, _)| n)
                .collect();
            assert_eq!(b.got(0xF1), want);
        }
    }
    for cluster in 0..0xF {
        for (cpu, bit) in [(0, 1), (1, 4)] {
            b.write(cpu, 0xE0, 0x0FFF_FFFF);
            b.write(cpu, 0xD0, (cluster << 4 | bit) << 24);
        }
        for to in 0..0xFF {
            b.icr(0, to, LOGICAL | 0xF1);
            let here = to >> 4 == cluster;
            let want: Vec<_> = [1, 4]
                .iter()
                .enumerate()
                .filter(|(_, bit)| here && to & **bit != 0)
                .map(|(n, _)| n)
                .collect();
            assert_eq!(b.got(0xF1), want, "cluster {cluster} to {to:#x}");
        }
    }
}

#[test]
fn simultaneous_edges_come_by_priority() {
    let mut b = Board::new(1);
    b.entry(LINE, 0x78);
    b.entry(Pin(15), 0x66);
    for pin in [Pin(15), LINE] {
        b.line(pin, true);
        b.line(pin, false);
    }
    assert_eq!((b.take(0), b.take(0)), (Some(0x78), None));
    b.eoi(0);
    assert_eq!(b.take(0), Some(0x66));
}

#[test]
fn levels_coalesce_and_come_again() {
    let mut b = Board::new(1);
    b.entry(LINE, LEVEL | 0x98);
    b.line(LINE, true);
    assert_eq!(b.take(0), Some(0x98));
    for high in [false, true, false] {
        b.line(LINE, high);
    }
    b.eoi(0);
    assert_eq!(b.take(0), None, "coalesced");
    b.line(LINE, true);
    assert_eq!(b.take(0), Some(0x98));
    b.eoi(0);
    assert_eq!(b.take(0), Some(0x98), "retriggered without masking");
    b.entry(LINE, LEVEL | 0x1_0098);
    b.eoi(0);
    assert_eq!((b.take(0), b.low(LINE) & REMOTE_IRR), (None, 0));
    b.entry(LINE, LEVEL | 0x98);
    assert_eq!(b.take(0), Some(0x98), "retriggered with a mask");
}

#[test]
fn the_trigger_mode_register_follows_the_last_trigger() {
    let mut b = Board::new(1);
    let tmr = |b: &mut Board| b.cpus[0].read(Reg { bank: 0, at: 0x1B0 }, W, &mut b.b) >> 25 & 1;
    for (mode, want) in [(0, 0), (LEVEL, 1), (LEVEL, 1), (0, 0)] {
        b.entry(LINE, mode | 0x79);
        b.line(LINE, true);
        b.line(LINE, false);
        assert_eq!((b.take(0), tmr(&mut b)), (Some(0x79), want));
        b.eoi(0);
    }
}

#[test]
fn an_interrupt_may_reconfigure_itself() {
    let mut b = Board::new(2);
    b.x2apic();
    b.entry(Pin(13), LEVEL | 0x64);
    b.entry(LINE, LEVEL | 0x84);
    b.line(Pin(13), true);
    assert_eq!(b.take(0), Some(0x64));
    b.line(LINE, true);
    for (pin, vector) in [(LINE, 0x84), (Pin(13), 0x64)] {
        b.line(pin, false);
        assert_ne!(b.low(pin) & REMOTE_IRR, 0);
        b.entry(pin, 1 << 56 | LEVEL | vector);
    }
    b.eoi(0);
    assert_eq!(b.low(Pin(13)) & REMOTE_IRR, 0);
    assert_eq!(b.take(0), Some(0x84));
    b.eoi(0);
    assert_eq!(b.low(LINE) & REMOTE_IRR, 0);
}

#[test]
fn the_io_apic_reaches_x2apic_cpus() {
    let mut b = Board::new(4);
    b.x2apic();
    b.entry(LINE, 1 << 56 | LEVEL | 0x85);
    b.line(LINE, true);
    b.line(LINE, false);
    assert_eq!(b.got(0x85), [1]);
    b.entry(LINE, 0xD << 56 | LOGICAL | LEVEL | 0x86);
    b.line(LINE, true);
    b.line(LINE, false);
    assert_eq!(b.got(0x86), [0, 2, 3]);
    assert_eq!(b.low(LINE) & REMOTE_IRR, 0);
}

#[test]
fn lowest_priority_goes_to_one() {
    let mut b = Board::new(3);
    b.cpus[0].set_cr8(3, &mut b.b);
    for n in 0..3 {
        b.write(n, 0xD0, 1 << (24 + n));
    }
    b.entry(LINE, 0xFF << 56 | LOGICAL | 1 << 8 | 0x50);
    b.line(LINE, true);
    assert_eq!(b.got(0x50), [1]);
}
