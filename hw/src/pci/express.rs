//! The PCI Express capability and its extended companions, as builders of [`Config`].
//!
//! PCI Express Base 4.0, 7.5.3 (Express), 7.8.4 (AER), 7.7.8 (ACS); values as QEMU's devices have them.

use super::Config;

/// What kind of function it is.  PCIe 4.0, 7.5.3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Express {
    /// Behind a port. `reset`: software can reset it alone (function level reset), which the bus does.
    Endpoint { reset: bool },
    /// On the root complex itself.
    Integrated { reset: bool },
    /// A root port with a slot.
    RootPort(SlotAbilities),
    /// A bridge to conventional PCI.
    PciBridge,
}

/// What a root port's slot can do.  PCIe 4.0, 7.5.3.9.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotAbilities {
    /// The number on the slot: 13 bits.
    pub number: u16,
    /// Cards come and go while it runs, announced or not.
    pub hotplug: bool,
    /// Its power can be switched.
    pub power: bool,
}

/// Offsets in the capability.
pub const LINK_STATUS: usize = 0x12;
pub const SLOT_CAPABILITIES: usize = 0x14;
pub const SLOT_CONTROL: usize = 0x18;
pub const SLOT_STATUS: usize = 0x1A;

/// Of an empty root port: 16 GT/s, 32 lanes.
pub const WIDEST_LINK: u16 = 0x0204;
/// Of QEMU's endpoints: 2.5 GT/s, one lane.
pub const ENDPOINT_LINK: u16 = 0x0011;

/// The capability's registers behind its header, as they are built.
struct Body {
    bytes: [u8; 0x3A],
    writable: [u8; 0x3A],
}

impl Body {
    /// Sets a register at an offset from the capability's beginning.
    fn set(&mut self, at: usize, value: u32, writable: u32) {
        self.bytes[at - 2..at + 2].copy_from_slice(&value.to_le_bytes());
        self.writable[at - 2..at + 2].copy_from_slice(&writable.to_le_bytes());
    }
}

impl SlotAbilities {
    fn bits(self) -> u32 {
        // Attention button, both indicators; an interlock.
        let always = 0x0002_0019;
        let hotplug = if self.hotplug { 0x60 } else { 0 };
        let power = if self.power { 2 } else { 0 };
        always | hotplug | power | u32::from(self.number & 0x1FFF) << 19
    }
}

impl Config {
    /// Adds the capability PCI Express. Gives its offset.
    pub fn express(&mut self, kind: Express) -> usize {
        let at = self.next_capability();
        self.express_at_offset(at, kind);
        at
    }
    /// The same at a place that software expects.
    pub fn express_at_offset(&mut self, at: usize, kind: Express) {
        let mut b = Body { bytes: [0; 0x3A], writable: [0; 0x3A] };
        let (flags, reset) = match kind {
            Express::Endpoint { reset } => (0x0002, reset),
            Express::Integrated { reset } => (0x0092, reset),
            Express::RootPort(_) => (0x0142, false),
            Express::PciBridge => (0x0072, false),
        };
        let port = matches!(kind, Express::RootPort(_));
        // Extended tags, role-based errors.
        b.set(4, 0x8020 | (reset as u32) << 28, 0);
        b.set(8, 0, 0xF);
        let (link, status) =
            if port { (0x0030_0604, WIDEST_LINK) } else { (0x0411, ENDPOINT_LINK) };
        b.set(0xC, link, 0);
        b.set(0x10, u32::from(status) << 16, 0);
        b.set(0x24, if port { 0x0030_0020 } else { 0x0030_0000 }, 0);
        b.set(0x28, 0, if port { 0x8020 } else { 0x8000 });
        if let Express::RootPort(slot) = kind {
            b.set(0x14, slot.bits(), 0);
            // Indicators off, power off; what can be switched, an interlock, and which events interrupt.
            b.set(0x18, 0x07C0, if slot.power { 0x1FF9 } else { 0x1BF9 });
            b.set(0x1C, 0, 7);
            b.set(0x2C, 0x1E, 0);
            b.set(0x30, 4, 0);
        }
        b.bytes[..2].copy_from_slice(&u16::to_le_bytes(flags));
        self.capability_at(at, 0x10, &b.bytes, &b.writable);
        self.allow_clear(at + 0xA, &[0xF]);
        if port {
            self.allow_clear(at + SLOT_STATUS, &[0x1F, 0x01]);
        }
        self.set_express(at);
    }
    /// Adds an extended capability, the first at 0x100: what stands behind its header. `next` is where another follows.
    pub fn extended_capability(&mut self, at: usize, id: u16, version: u8, next: u16, body: &[u8]) {
        let header = u32::from(id) | u32::from(version & 0xF) << 16 | u32::from(next) << 20;
        self.set(at, &header.to_le_bytes());
        self.set(at + 4, body);
    }
    /// Advanced error reporting at 0x100: nothing ever goes wrong, but software finds its masks.
    pub fn error_reporting(&mut self, root_port: bool, next: u16) {
        self.extended_capability(0x100, 1, 2, next, &[]);
        let kinds = 0x03FF_F030u32;
        let rows: [(usize, u32, u32); 4] = [
            (0x108, 0x0240_0000, kinds),
            (0x10C, 0x0046_2030, kinds),
            (0x114, 0xE000, 0xF1C1),
            (0x118, if root_port { 0x2A0 } else { 0xA0 }, if root_port { 0x540 } else { 0x140 }),
        ];
        for (at, value, writable) in rows {
            self.set(at, &value.to_le_bytes());
            self.allow(at, &writable.to_le_bytes());
        }
        self.allow_clear(0x104, &kinds.to_le_bytes());
        self.allow_clear(0x110, &0xF1C1u32.to_le_bytes());
        if root_port {
            self.allow(0x12C, &[7]);
            self.allow_clear(0x130, &[0x7F]);
        }
    }
    /// Access control services: all that a port can be asked for.
    pub fn access_control(&mut self, at: usize) {
        self.extended_capability(at, 0xD, 1, 0, &[0x5F, 0]);
        self.allow(at + 6, &[0x5F]);
    }
    /// The link's speed and width.
    pub fn link(&self) -> Option<u16> {
        self.express_at().map(|at| self.u16(at + LINK_STATUS) & 0x3FF)
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::pci::Ids;
    use device::Width::*;

    fn config() -> Config {
        Config::new(Ids { vendor: 1, device: 2, class: 0, revision: 0 }).extended()
    }

    #[test]
    fn an_endpoint_says_what_it_is() {
        let mut c = config();
        let at = c.express(Express::Endpoint { reset: true });
        let got = [0, 4, 0xC, 0x10, 0x24].map(|i| c.u32(at + i));
        assert_eq!(got, [0x0002_0010, 0x1000_8020, 0x0411, 0x0011_0000, 0x0030_0000]);
        assert_eq!(c.link(), Some(0x11));
        c.write(at as u64 + 8, W16, 0xFFFF);
        assert_eq!(c.u16(at + 8), 0xF);
        assert!(c.take_reset() && !c.take_reset());
        let at = config().express(Express::Integrated { reset: false });
        assert_eq!(at, 0x40);
    }

    #[test]
    fn no_reset_where_there_is_none() {
        let mut c = config();
        let at = c.express(Express::Integrated { reset: false });
        c.write(at as u64 + 8, W16, 0x8000);
        assert!(!c.take_reset());
    }

    #[test]
    fn asleep_it_decodes_nothing() {
        let mut c = config().bar(0, crate::pci::Bar::memory(0x1000));
        let at = c.power_management();
        c.write(0x10, W32, 0xFE00_0000);
        c.write(4, W16, 6);
        assert!(c.place(0).is_some() && c.bus_master());
        c.write(at as u64 + 4, W16, 3);
        assert!(c.place(0).is_none() && !c.bus_master());
        c.write(at as u64 + 4, W16, 0);
        assert!(c.place(0).is_some());
    }

    #[test]
    fn error_masks_can_be_written_in_part() {
        let mut c = config();
        c.error_reporting(true, 0x148);
        c.access_control(0x148);
        assert_eq!((c.u32(0x100), c.u32(0x148), c.u32(0x14C)), (0x1482_0001, 0x0001_000D, 0x5F));
        c.write(0x108, W32, 0xFFFF_FFFF);
        c.write(0x14C, W32, 0xFFFF_FFFF);
        assert_eq!((c.u32(0x108), c.u32(0x14C)), (0x03FF_F030, 0x005F_005F));
    }
}
