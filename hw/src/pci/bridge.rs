//! Bridges to other PCI buses: the header of type 1, what it lets through, and the plain bridges.
//!
//! PCI-to-PCI Bridge Architecture 1.2, chapter 3. `pci-bridge` (1b36:0001) leads from PCI to PCI, `pcie-pci-bridge`
//! (1b36:000e) from PCI Express to PCI; neither has a hot-plug controller of its own. The way through them is the bus's
//! work (`root/tree.rs`): they are registers only.

use super::express::Express;
use super::msi::Msi;
use super::{Config, Function, Ids};
use device::*;

const IO: usize = 0x1C;
const MEMORY: usize = 0x20;
const PREFETCHABLE: usize = 0x24;
/// Bridge control.
const CONTROL: usize = 0x3E;
/// Its bits: the bus below is reset; ISA and VGA addresses; VGA with 16 bits decoded.
const BUS_RESET: u16 = 1 << 6;
const ISA_ENABLE: u16 = 1 << 2;
const VGA_ENABLE: u16 = 1 << 3;
const VGA_16BIT: u16 = 1 << 4;

/// From and to, both included.
type Range = (u64, u64);

/// What a bridge lets through to the bus below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forward {
    pub primary: u8,
    pub secondary: u8,
    pub subordinate: u8,
    pub io: Option<Range>,
    pub memory: Option<Range>,
    pub prefetchable: Option<Range>,
    /// The functions below have power.
    pub powered: bool,
    /// The bus below is being reset.
    pub reset: bool,
    isa: bool,
    vga: Option<VgaPorts>,
    /// Command bits, for VGA addresses.
    decodes: (bool, bool),
}

/// How many bits of a VGA port count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum VgaPorts {
    Ten,
    Sixteen,
}

impl Forward {
    /// The windows as they are written, empty or closed as they may be: I/O, memory, prefetchable memory.
    pub fn ranges(c: &Config) -> [Range; 3] {
        let io = |at: usize| u64::from(c.u8(at) & 0xF0) << 8;
        let mb = |at: usize| u64::from(c.u16(at) & 0xFFF0) << 16;
        let wide = c.u8(PREFETCHABLE) & 0xF == 1;
        let high = |at: usize| if wide { u64::from(c.u32(at)) << 32 } else { 0 };
        [
            (io(IO), io(IO + 1) | 0xFFF),
            (mb(MEMORY), mb(MEMORY + 2) | 0xF_FFFF),
            (mb(PREFETCHABLE) | high(0x28), mb(PREFETCHABLE + 2) | 0xF_FFFF | high(0x2C)),
        ]
    }
    /// What a header of type 1 says.
    pub fn of(c: &Config) -> Self {
        let (command, control) = (c.u8(4), c.u16(CONTROL));
        let [io, memory, prefetchable] = Self::ranges(c);
        let open = |on: bool, (from, to): Range| (on && from <= to).then_some((from, to));
        let decodes = (command & 1 != 0, command & 2 != 0);
        let ports = if control & VGA_16BIT != 0 { VgaPorts::Sixteen } else { VgaPorts::Ten };
        Self {
            primary: c.u8(0x18),
            secondary: c.u8(0x19),
            subordinate: c.u8(0x1A),
            io: open(decodes.0, io),
            memory: open(decodes.1, memory),
            prefetchable: open(decodes.1, prefetchable),
            powered: true,
            reset: control & BUS_RESET != 0,
            isa: control & ISA_ENABLE != 0,
            vga: (control & VGA_ENABLE != 0).then_some(ports),
            decodes,
        }
    }
    /// The same through a slot with or without power.
    pub fn with_power(self, powered: bool) -> Self {
        Self { powered, ..self }
    }
    /// Whether configuration cycles for this bus go this way.
    pub fn leads_to(&self, bus: u8) -> bool {
        self.secondary != 0 && (self.secondary..=self.subordinate).contains(&bus)
    }
    /// Whether all of a window is let through. One that is let through in part is not seen.
    pub fn passes(&self, p: &Place) -> bool {
        let Some(last) = p.base.checked_add(p.len.saturating_sub(1)) else { return false };
        let inside = |r: Option<Range>| r.is_some_and(|(from, to)| from <= p.base && last <= to);
        match p.space {
            Space::Io => {
                inside(self.io) && !self.kept_for_isa(p.base, last) || self.vga_ports(p.base, last)
            }
            _ => inside(self.memory) || inside(self.prefetchable) || self.vga_memory(p.base, last),
        }
    }
    /// Of each kilobyte of ports, the upper three quarters are ISA's.  1.2, 3.2.5.18.
    fn kept_for_isa(&self, first: u64, last: u64) -> bool {
        self.isa && (first & 0x300 != 0 || last & !0xFF != first & !0xFF)
    }
    fn vga_memory(&self, first: u64, last: u64) -> bool {
        self.vga.is_some() && self.decodes.1 && first >= 0xA_0000 && last <= 0xB_FFFF
    }
    fn vga_ports(&self, first: u64, last: u64) -> bool {
        let cut = match self.vga {
            None => return false,
            Some(VgaPorts::Ten) => 0x3FF,
            Some(VgaPorts::Sixteen) => 0xFFFF,
        };
        let (low, high) = (first & cut, last & cut);
        let vga = [(0x3B0, 0x3BB), (0x3C0, 0x3DF)];
        self.decodes.0
            && last - first < 0x400
            && vga.iter().any(|(from, to)| *from <= low && low <= high && high <= *to)
    }
}

impl Config {
    /// A header of type 1, its windows closed or not as [`Config::set`] says afterwards.
    pub fn bridge(mut self, control: u16) -> Self {
        let kind = self.u8(0x0E) & 0x80 | 1;
        self.set(0x0E, &[kind]);
        // No subsystem stands here.
        self.set(0x28, &[0; 8]);
        self.allow(0x18, &[0xFF, 0xFF, 0xFF, 0]);
        self.allow(IO, &[0xF0, 0xF0]);
        self.allow_clear(0x1F, &[0xF9]);
        self.allow(MEMORY, &[0xF0, 0xFF, 0xF0, 0xFF, 0xF0, 0xFF, 0xF0, 0xFF]);
        self.allow(0x28, &[0xFF; 8]);
        self.set(PREFETCHABLE, &[1, 0, 1, 0]);
        self.allow(CONTROL, &control.to_le_bytes());
        self
    }
}

const RED_HAT: u16 = 0x1B36;
const BRIDGE: u32 = 0x06_0400;

/// A bridge that is its registers.
pub struct Bridge {
    config: Config,
    name: &'static str,
}

impl Bridge {
    fn conventional(device: u16) -> Config {
        let ids = Ids { vendor: RED_HAT, device, class: BRIDGE, revision: 0 };
        // It reports discarded delayed transactions, of which there are none.
        let mut config = Config::new(ids).newest_first().bridge(0x0BFF);
        config.set(0x06, &[0xA0, 0x00]);
        config.set(0x1E, &[0xA0, 0x00]);
        config
    }
    /// `pci-bridge`, without a hot-plug controller.
    pub fn pci(chassis: u8) -> Self {
        let mut config = Self::conventional(0x0001);
        // The first of its chassis, without slots of its own.  1.2, 13.2.
        config.capability(4, &[0x20, chassis], &[0, 0xFF]);
        Self { config, name: "pci-bridge" }
    }
    /// `pcie-pci-bridge`, without a hot-plug controller.
    pub fn express_to_pci() -> Self {
        let mut config = Self::conventional(0x000E).extended().interrupt_pin(1);
        config.express_at_offset(0x48, Express::PciBridge);
        config.power_management();
        Msi::add(&mut config, 0);
        config.error_reporting(false, 0);
        Self { config, name: "pcie-pci-bridge" }
    }
}

impl Function for Bridge {
    fn config(&self) -> &Config {
        &self.config
    }
    fn config_mut(&mut self) -> &mut Config {
        &mut self.config
    }
}

impl Device for Bridge {
    fn name(&self) -> &'static str {
        self.name
    }
    fn read(&mut self, _: Reg, w: Width, _: &mut dyn Cx) -> u64 {
        w.mask()
    }
    fn write(&mut self, _: Reg, _: Width, _: u64, _: &mut dyn Cx) {}
    fn reset(&mut self) {
        self.config.reset();
    }
    fn save(&self) -> Vec<u8> {
        super::save(&self.config, Vec::new())
    }
    fn load(&mut self, from: &[u8]) -> Result<(), Misfit> {
        super::load(&mut self.config, from, |_| Ok(()))
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use Width::*;

    fn memory(base: u64, len: u64) -> Place {
        Place { space: Space::Memory, base, len, what: Seen::Registers }
    }
    fn io(base: u64, len: u64) -> Place {
        Place { space: Space::Io, ..memory(base, len) }
    }
    fn forward(writes: &[(u64, Width, u64)]) -> Forward {
        let mut b = Bridge::pci(1);
        writes.iter().for_each(|(at, w, v)| b.config.write(*at, *w, *v));
        Forward::of(&b.config)
    }

    #[test]
    fn registers_are_as_the_peer_has_them() {
        let mut c = Bridge::pci(4).config;
        let got = [0, 4, 8, 0xC, 0x1C, 0x20, 0x24, 0x34, 0x3C, 0x40].map(|at| c.u32(at));
        let want = [0x0001_1B36, 0xB0_0000, 0x0604_0000, 0x1_0000, 0xA0_0000, 0, 0x1_0001, 0x40, 0];
        assert_eq!(got[..9], want);
        assert_eq!(got[9], 0x0420_0004);
        (0..64).filter(|n| *n != 1).for_each(|n| c.write(n * 4, W32, 0xFFFF_FFFF));
        let got = [0x18, 0x1C, 0x20, 0x24, 0x3C, 0x40].map(|at| c.u32(at));
        let want = [0x00FF_FFFF, 0xA0_F0F0, 0xFFF0_FFF0, 0xFFF1_FFF1, 0x0BFF_00FF, 0xFF20_0004];
        assert_eq!(got, want);
        let c = Bridge::express_to_pci().config;
        let got = [0x34, 0x48, 0x84, 0x8C, 0x100].map(|at| c.u32(at));
        assert_eq!(got, [0x8C, 0x0072_0010, 0x0003_4801, 0x0180_8405, 0x2_0001]);
    }

    #[test]
    fn windows_open_with_the_command_bits() {
        let setup = [(0x1C, W16, 0xD0C0), (0x20, W32, 0xFE10_FE00), (0x24, W32, 0x0010_0000)];
        let high = [(0x28, W32, 2), (0x2C, W32, 2)];
        let all: Vec<_> = setup.into_iter().chain(high).chain([(4, W16, 3)]).collect();
        let f = forward(&all);
        assert!(f.passes(&io(0xC000, 0x2000)) && !f.passes(&io(0xD000, 0x2000)));
        assert!(f.passes(&memory(0xFE1F_F000, 0x1000)) && !f.passes(&memory(0xFE1F_F000, 0x2000)));
        assert!(f.passes(&memory(0x2_0000_0000, 0x1000)), "prefetchable, above 4 GiB");
        assert!(!f.passes(&memory(0xFFFF_FFFF_FFFF_F000, u64::MAX)));
        let f = forward(&all[..5]);
        assert!(!f.passes(&io(0xC000, 16)) && !f.passes(&memory(0xFE00_0000, 16)));
        let f = forward(&[(0x20, W32, 0xFE00_FE10), (4, W16, 3)]);
        assert!(!f.passes(&memory(0xFE00_0000, 16)), "an inverted window");
    }

    #[test]
    fn vga_addresses_pass_when_enabled() {
        let memory_closed = [(0x20, W32, 0xFFF0), (0x24, W32, 0xFFF0)];
        let closed = [(0x1C, W16, 0x00F0), memory_closed[0], memory_closed[1], (4, W16, 3)];
        let with = |control| {
            let w: Vec<_> = closed.into_iter().chain([(0x3E, W16, control)]).collect();
            forward(&w)
        };
        assert!(!with(0).passes(&memory(0xA_0000, 0x2_0000)));
        assert!(with(8).passes(&memory(0xA_0000, 0x2_0000)));
        assert!(with(8).passes(&io(0x3C0, 0x20)) && with(8).passes(&io(0x7C0, 16)));
        assert!(!with(8).passes(&io(0x3B0, 0x20)) && !with(0x18).passes(&io(0x7C0, 16)));
    }

    #[test]
    fn isa_ports_are_kept() {
        let f = forward(&[(0x1C, W16, 0xC0C0), (0x3E, W16, 4), (4, W16, 1)]);
        assert!(f.passes(&io(0xC000, 0x100)) && f.passes(&io(0xC420, 32)));
        assert!(!f.passes(&io(0xC100, 16)) && !f.passes(&io(0xC0F0, 32)));
    }
}
