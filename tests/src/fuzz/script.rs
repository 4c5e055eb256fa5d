//! What `fuzz-ports` does to a machine: random steps, each a value, so that two machines can do the same.

use crate::rng::{Rng, integer};
use device::Input;
use machine::config::DeviceSpec;
use memory::Width;

/// One step.
#[derive(Clone, Debug)]
pub enum Step {
    PortRead(u16, Width),
    PortWrite(u16, Width, u64),
    Read(u64, Width),
    Write(u64, Width, u64),
    /// Bytes to RAM.
    Put(u64, Vec<u8>),
    MsrRead(u32),
    MsrWrite(u32, u64),
    /// Guest time goes on by so many nanoseconds, and devices are woken.
    Wait(u64),
    /// The next interrupt is taken.
    Acknowledge,
    /// To the part with this number.
    Input(u32, Input),
    Nmi,
    Reset,
    /// A device is put in, or asked for.
    Plug(DeviceSpec),
    Unplug(&'static str),
    /// What disks did not do is tried again.
    Retry,
}

/// Makes steps that hit something. It knows where parts are, and where it has moved BARs.
pub struct Script {
    pub r: Rng,
    pub parts: u32,
    pub q35: bool,
    /// Places where windows were put, in memory and among the ports.
    memory: Vec<u64>,
    ports: Vec<u16>,
}

/// Where RAM is written: descriptors of fw_cfg's DMA, and targets of messages.
const DESCRIPTORS: u64 = 0x3000;
const ECAM: u64 = 0xB000_0000;

/// Windows of the boards: first port, length.
#[rustfmt::skip]
const PORTS: &[(u16, u16)] = &[
    (0x00, 0x10), (0x20, 2), (0xA0, 2), (0x40, 4), (0x60, 5), (0x61, 1), (0x64, 1), (0x70, 2), (0x80, 16), (0x92, 1),
    (0xB2, 2), (0xC0, 0x20), (0xE0, 12), (0x2E8, 8), (0x2F8, 8), (0x3E8, 8), (0x3F8, 8), (0x402, 1), (0x4D0, 2), (0x501, 4),
    (0x505, 1), (0x510, 12), (0x600, 0x80), (0x700, 0x40), (0xCF8, 8), (0xCF9, 1), (0x2000, 24), (0xAFE0, 4),
];
/// Windows in memory.
#[rustfmt::skip]
const MEMORY: &[(u64, u64)] = &[
    (0xFEC0_0000, 0x50), (0xFEE0_0000, 0x400), (0xFEE0_0000, 0x40_0000), (0xFED0_0000, 0x400), (0xFF00_0000, 0x1_0000),
    (ECAM, 0x10_0000), (ECAM + 0xF_8000, 0x8000), (0xFED1_C000, 0x4000), (0xA_0000, 0x2_0000), (0xF_0000, 0x1_0000),
    (0, 0x40_0000), (0xFFFF_0000, 0x1_0000), (1 << 32, 0x1000),
];
/// Functions that the boards have: device and function.
const FUNCTIONS: [u64; 8] =
    [0, 1 << 3, 1 << 3 | 3, 2 << 3, 3 << 3, 0x1F << 3, 0x1F << 3 | 3, 0x1F << 3 | 2];

const WIDTHS: [Width; 6] = [Width::W8, Width::W8, Width::W16, Width::W32, Width::W32, Width::W64];

impl Script {
    pub fn new(r: Rng, parts: u32, q35: bool) -> Script {
        Script { r, parts, q35, memory: vec![], ports: vec![] }
    }

    fn width(&mut self, port: bool) -> Width {
        match self.r.pick(&WIDTHS) {
            Width::W64 if port => Width::W8,
            w => w,
        }
    }
    pub fn value(&mut self) -> u64 {
        match self.r.below(4) {
            0 => self.r.below(16),
            1 => self.r.below(256),
            _ => integer(&mut self.r, 64),
        }
    }

    fn port(&mut self) -> u16 {
        if !self.ports.is_empty() && self.r.below(8) == 0 {
            return self.r.pick(&self.ports).wrapping_add(self.r.below(0x80) as u16);
        }
        match self.r.below(40) {
            0 => self.r.next() as u16,
            1 => u16::MAX - self.r.below(4) as u16,
            n => {
                let (at, len) = self.r.pick(PORTS);
                // Now and then it begins before the window.
                at.wrapping_add(self.r.below(len.into()) as u16).wrapping_sub((n == 2) as u16)
            }
        }
    }

    /// An address whose bytes do not go over the end of a page.
    fn address(&mut self, w: Width) -> u64 {
        let at = if !self.memory.is_empty() && self.r.below(6) == 0 {
            self.r.pick(&self.memory).wrapping_add(self.r.below(0x1100))
        } else if self.r.below(50) == 0 {
            integer(&mut self.r, 64) & ((1 << 52) - 1)
        } else {
            let (at, len) = self.r.pick(MEMORY);
            at + self.r.below(len)
        };
        let at = if self.r.below(4) != 0 { at & !(w.bytes() - 1) } else { at };
        at - (at & 0xFFF).saturating_sub(0x1000 - w.bytes())
    }

    /// The next steps: one, or several that belong together.
    pub fn next(&mut self, out: &mut Vec<Step>) {
        match self.r.below(100) {
            0..22 => {
                let (w, v) = (self.width(true), self.value());
                out.push(Step::PortWrite(self.port(), w, v & w.mask()));
            }
            22..34 => {
                let w = self.width(true);
                out.push(Step::PortRead(self.port(), w));
            }
            34..50 => {
                let (w, v) = (self.width(false), self.value());
                out.push(Step::Write(self.address(w), w, v & w.mask()));
            }
            50..60 => {
                let w = self.width(false);
                out.push(Step::Read(self.address(w), w));
            }
            60..72 => self.configure(out),
            72..76 => self.descriptor(out),
            76..80 => {
                let msr = self.r.pick(&[0x1Bu32, 0x800, 0x808, 0x80B, 0x830, 0x832, 0x838, 0x6E0]);
                let msr = msr + self.r.below(4) as u32 * self.r.below(4) as u32;
                let v = self.value();
                out.push(if self.r.below(2) == 0 {
                    Step::MsrRead(msr)
                } else {
                    Step::MsrWrite(msr, v)
                });
            }
            80..90 => {
                let longest = self.r.pick(&[10u64, 1000, 100_000, 10_000_000, 2_000_000_000]);
                out.push(Step::Wait(self.r.below(longest)));
            }
            90..93 => out.push(Step::Acknowledge),
            93..98 => {
                let to = self.r.below(self.parts.into()) as u32;
                let what = self.input();
                out.push(Step::Input(to, what));
            }
            98 => out.push(Step::Nmi),
            _ if self.r.below(6) == 0 => {
                self.memory.clear();
                self.ports.clear();
                out.push(Step::Reset);
                self.awake(out);
            }
            _ => self.awake(out),
        }
    }

    /// Interrupt controllers and timers as a system sets them, so that something happens.
    pub fn awake(&mut self, out: &mut Vec<Step>) {
        let every = 20 + self.r.below(50_000);
        #[rustfmt::skip]
        let ports = [
            (0x20u16, 0x11), (0x21, 0x20), (0x21, 4), (0x21, 1), (0x21, 0), (0xA0, 0x11), (0xA1, 0x28), (0xA1, 2), (0xA1, 1),
            (0xA1, 0), (0x43, 0x34), (0x40, every & 0xFF), (0x40, every >> 8), (0x70, 0x0B), (0x71, 0x72), (0x70, 0x0A),
            (0x71, 0x20 | self.r.below(16)), (0x3F9, 15), (0x3FC, 0x0B), (0x64, 0x60), (0x60, 0x47),
        ];
        out.extend(ports.map(|(at, v)| Step::PortWrite(at, Width::W8, v & 0xFF)));
        let start = 100 + self.r.below(1 << 20);
        let lapic =
            [(0xF0, 0x1FF), (0x350, 0x700), (0x320, 0x2_0040), (0x3E0, 0xB), (0x380, start)];
        out.extend(lapic.map(|(at, v)| Step::Write(0xFEE0_0000 + at, Width::W32, v)));
        for pin in 0..24 {
            let entry = 0x30 + pin | self.r.below(2) << 15 | u64::from(self.r.permille(100)) << 16;
            for (n, v) in [(0x11, 0), (0x10, entry)] {
                out.push(Step::Write(0xFEC0_0000, Width::W32, n + 2 * pin));
                out.push(Step::Write(0xFEC0_0010, Width::W32, v));
            }
        }
        if self.q35 {
            out.push(Step::PortWrite(0xCF8, Width::W32, 0x8000_0060));
            out.push(Step::PortWrite(0xCFC, Width::W32, ECAM | 1));
        }
    }

    /// PCI configuration: by ports or in memory, often a BAR with a place for it.
    fn configure(&mut self, out: &mut Vec<Step>) {
        let function =
            if self.r.below(10) == 0 { self.r.below(0x1000) } else { self.r.pick(&FUNCTIONS) };
        let bar = self.r.below(2) == 0;
        let reg = match bar {
            true => 0x10 + 4 * self.r.below(6),
            false => {
                self.r.pick(&[4, 4, 0x40, 0x44, 0x50, 0x58, 0x60, 0x64, 0x80, 0xD0, 0xE0, 0xF0])
                    + self.r.below(16)
            }
        };
        let w = if bar { Width::W32 } else { self.width(true) };
        let v = if bar { self.place() } else { self.value() } & w.mask();
        if self.r.below(2) == 0 {
            out.push(Step::PortWrite(0xCF8, Width::W32, 1 << 31 | function << 8 | reg & 0xFC));
            let at = 0xCFC + (reg & 3) as u16;
            out.push(if self.r.below(4) == 0 {
                Step::PortRead(at, w)
            } else {
                Step::PortWrite(at, w, v)
            });
        } else {
            let at = ECAM + (function << 12) + reg;
            let at = at - (at & 0xFFF).saturating_sub(0x1000 - w.bytes());
            out.push(if self.r.below(4) == 0 { Step::Read(at, w) } else { Step::Write(at, w, v) });
        }
        // Decoding has to be on for BARs to be seen.
        if self.r.below(3) == 0 {
            out.push(Step::PortWrite(0xCF8, Width::W32, 1 << 31 | function << 8 | 4));
            out.push(Step::PortWrite(0xCFC, Width::W16, self.r.below(8)));
        }
    }
    /// A value for a BAR.
    fn place(&mut self) -> u64 {
        const OVER: [u64; 10] = [
            0,
            0x1000,
            0xFEC0_0000,
            0xFEE0_0000,
            0xFED0_0000,
            ECAM,
            0xFEB0_0000,
            0xC000_0000,
            0xFFFF_F000,
            0xA_0000,
        ];
        let v = match self.r.below(4) {
            0 => u64::from(self.port()) & !3 | 1,
            1 => self.value() & 0xFFFF_FFFF,
            _ => self.r.pick(&OVER) + 0x1000 * self.r.below(4),
        };
        if v & 1 == 1 {
            self.ports.push(v as u16 & !3);
        } else {
            self.memory.push(v & !15);
        }
        if self.memory.len() + self.ports.len() > 16 {
            self.memory.clear();
            self.ports.clear();
        }
        v
    }

    /// A DMA descriptor of fw_cfg, and the writes that start it.
    fn descriptor(&mut self, out: &mut Vec<Step>) {
        let key = self.r.pick(&[0u64, 1, 2, 3, 5, 0x19, 0x20, 0x21, 0x7FFF, 0xFFFF]);
        let control =
            if self.r.below(5) == 0 { self.value() } else { key << 16 | self.r.below(32) };
        let length = match self.r.below(6) {
            0 => 0xFFFF_FFFF,
            1 => self.value(),
            _ => self.r.below(0x2000),
        };
        let address = match self.r.below(4) {
            0 => self.value(),
            1 => self.address(Width::W64),
            2 => DESCRIPTORS + self.r.below(16),
            _ => self.r.below(0x40_0000),
        };
        let mut bytes = (control as u32).to_be_bytes().to_vec();
        bytes.extend((length as u32).to_be_bytes());
        bytes.extend(address.to_be_bytes());
        let at = DESCRIPTORS + self.r.below(4) * 0x7F9;
        let target = if self.r.below(10) == 0 { self.address(Width::W64) } else { at };
        out.push(Step::Put(at, bytes));
        let halves = [(target >> 32) as u32, target as u32].map(|v| u64::from(v.swap_bytes()));
        out.push(Step::PortWrite(0x514, Width::W32, halves[0]));
        out.push(Step::PortWrite(0x518, Width::W32, halves[1]));
    }

    fn input(&mut self) -> Input {
        let code = self.r.next() as u8;
        let number = self.value() as i32;
        match self.r.below(10) {
            0 => Input::Bytes((0..self.r.below(40)).map(|n| n as u8 ^ code).collect()),
            1 => Input::Break,
            2 => Input::Carrier(code & 1 == 0),
            3 | 4 => Input::Key { code, down: self.r.below(2) == 0 },
            5 => Input::Pointer { dx: number, dy: -(number >> 1), dz: number >> 3, buttons: code },
            6 => Input::PowerButton,
            7 => Input::TimeOfDay(self.value() as i64),
            8 => Input::To(u16::from(code), Box::new(Input::PowerButton)),
            _ => Input::Nmi,
        }
    }
}
