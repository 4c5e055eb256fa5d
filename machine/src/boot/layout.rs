//! The description of a machine that the loaders and the tables are made from.

use super::BootError;

pub const KB: u64 = 1 << 10;
pub const MB: u64 = 1 << 20;
pub const GB: u64 = 1 << 30;
pub const FOUR_GB: u64 = 4 * GB;

/// Where conventional memory ends and the extended BIOS data area begins.
pub const EBDA: u64 = 0x9_FC00;
/// Firmware's segment, where the RSDP and the SMBIOS tables are looked for.
pub const F_SEGMENT: u64 = 0xF_0000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Board {
    /// Intel Q35 and ICH9: PCI Express, `-machine q35`.
    Q35,
    /// Intel 440FX and PIIX3/4: PCI, `-machine pc`.
    Pc,
}

/// From `start` up to but without `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    pub start: u64,
    pub end: u64,
}

impl Range {
    pub fn new(start: u64, end: u64) -> Self {
        Range { start, end }
    }

    pub fn sized(start: u64, len: u64) -> Self {
        Range { start, end: start.saturating_add(len) }
    }

    pub fn len(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    pub fn is_empty(&self) -> bool {
        self.end <= self.start
    }

    pub fn overlaps(&self, other: &Range) -> bool {
        self.start < other.end && other.start < self.end
    }
}

/// `-smp sockets=,cores=,threads=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topology {
    pub sockets: u32,
    pub cores: u32,
    pub threads: u32,
}

impl Topology {
    pub fn cpus(&self) -> u32 {
        self.sockets.saturating_mul(self.cores).saturating_mul(self.threads)
    }

    /// The APIC identifiers, in processor order: thread, core and package each get as many bits
    /// as their count needs (SDM vol. 3, 10.9.1).
    pub fn apic_ids(&self) -> Vec<u32> {
        let bits = |n: u32| n.max(1).next_power_of_two().trailing_zeros();
        let (t, c) = (bits(self.threads), bits(self.cores));
        let mut ids = Vec::new();
        for socket in 0..self.sockets {
            for core in 0..self.cores {
                ids.extend((0..self.threads).map(|thread| (socket << c | core) << t | thread));
            }
        }
        ids
    }
}

/// ACPI's SMI command port with the values that hand the power registers over and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SmiCommand {
    pub port: u16,
    pub enable: u8,
    pub disable: u8,
}

/// A PCI bus whose devices ACPI's methods plug and eject.
#[derive(Clone, Debug, PartialEq)]
pub struct HotBus {
    /// Its number in the registers of hot plug.
    pub number: u16,
    /// Which of its 32 devices can be ejected.
    pub removable: u32,
    /// Such buses behind bridges on it, with the bridges' devices and functions.
    pub below: Vec<(u8, u8, HotBus)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    pub board: Board,
    /// "Standard PC (...)"-like name, for SMBIOS.
    pub name: String,
    /// Bytes of RAM from address 0, the hole at 640 KiB counted as RAM.
    pub ram_low: u64,
    /// Bytes of RAM from 4 GiB.
    pub ram_high: u64,
    pub topology: Topology,
    /// One for each processor, the boot processor's first.
    pub apic_ids: Vec<u32>,
    /// So many of them are there; the others are sockets without a processor.
    pub present: usize,
    /// EAX and EDX of processor 0's CPUID leaf 1.
    pub cpu_id: [u32; 2],
    /// Whether processor 0 knows 64-bit mode.
    pub long_mode: bool,
    pub local_apic: u32,
    pub io_apic_id: u8,
    pub io_apic: u32,
    pub hpet: Option<u32>,
    /// PCI Express configuration space of segment 0, 1 MiB a bus.
    pub ecam: Option<Range>,
    /// Where PCI memory may be put below 4 GiB.
    pub pci_mmio32: Vec<Range>,
    pub pci_mmio64: Option<Range>,
    /// Further ranges the memory map must call reserved.
    pub reserved: Vec<Range>,
    /// The power-management ports: PM1a events at +0, control at +4, the timer at +8.
    pub pm_base: u16,
    pub gpe0: u16,
    pub gpe0_len: u8,
    /// `None`: the board is in ACPI mode from reset on.
    pub smi: Option<SmiCommand>,
    pub sci_irq: u8,
    /// COM1 (3F8, IRQ 4) and COM2 (2F8, IRQ 3).
    pub com: [bool; 2],
    /// The 8042 with keyboard and mouse.
    pub ps2: bool,
    pub vga: bool,
    /// fw_cfg at port 510.
    pub fw_cfg: bool,
    pub pvpanic: Option<u16>,
    /// The root bus, if ACPI's methods plug and eject PCI devices.
    pub hotplug: Option<HotBus>,
    /// SMBIOS system UUID, all zero for none.
    pub uuid: [u8; 16],
}

const IO_APIC: u64 = 0xFEC0_0000;
const Q35_ECAM: Range = Range { start: 0xB000_0000, end: 0xC000_0000 };

impl Layout {
    /// A board with QEMU's addresses, its processors the cores of one socket. RAM that reaches the PCI hole continues at 4 GiB: on q35
    /// from 2 GiB on when there is 2.75 GiB or more, on pc from 3 GiB on when 3.5 GiB or more.
    pub fn new(board: Board, ram: u64, cpus: u32) -> Self {
        let (full, split) = match board {
            Board::Q35 => (0xB000_0000, 2 * GB),
            Board::Pc => (0xE000_0000, 3 * GB),
        };
        let ram_low = if ram < full { ram } else { split };
        let ram_high = ram - ram_low;
        let topology = Topology { sockets: 1, cores: cpus, threads: 1 };
        let mmio64 = FOUR_GB.saturating_add(ram_high).next_multiple_of(GB);
        let q35 = board == Board::Q35;
        Layout {
            board,
            name: if q35 { "Q35 + ICH9" } else { "i440FX + PIIX" }.into(),
            ram_low,
            ram_high,
            topology,
            apic_ids: topology.apic_ids(),
            present: cpus as usize,
            cpu_id: [0; 2],
            long_mode: true,
            local_apic: 0xFEE0_0000,
            io_apic_id: 0,
            io_apic: IO_APIC as u32,
            hpet: Some(0xFED0_0000),
            ecam: q35.then_some(Q35_ECAM),
            pci_mmio32: if q35 {
                vec![Range::new(ram_low, Q35_ECAM.start), Range::new(Q35_ECAM.end, IO_APIC)]
            } else {
                vec![Range::new(ram_low, IO_APIC)]
            },
            pci_mmio64: Some(Range::sized(mmio64, if q35 { 32 * GB } else { 2 * GB })),
            reserved: if q35 { vec![Range::new(0xFED1_C000, 0xFED2_0000)] } else { vec![] },
            pm_base: 0x600,
            gpe0: if q35 { 0x620 } else { 0xAFE0 },
            gpe0_len: if q35 { 16 } else { 4 },
            smi: Some(if q35 {
                SmiCommand { port: 0xB2, enable: 2, disable: 3 }
            } else {
                SmiCommand { port: 0xB2, enable: 0xF1, disable: 0xF0 }
            }),
            sci_irq: 9,
            com: [true, true],
            ps2: true,
            vga: true,
            fw_cfg: true,
            pvpanic: None,
            hotplug: None,
            uuid: [0; 16],
        }
    }

    /// PCI Express configuration space is here; PCI memory is around it.
    pub fn set_ecam(&mut self, ecam: Range) {
        let holes = [Range::new(self.ram_low, ecam.start), Range::new(ecam.end, IO_APIC)];
        self.pci_mmio32 = holes.into_iter().filter(|r| !r.is_empty()).collect();
        self.ecam = Some(ecam);
    }

    /// The power-management ports are here, with the general events where they are among them.
    pub fn set_pm_base(&mut self, base: u16) {
        if self.board == Board::Q35 {
            self.gpe0 = base.saturating_add(0x20);
        }
        self.pm_base = base;
    }

    /// Where RAM ends.
    pub fn high_end(&self) -> u64 {
        FOUR_GB.saturating_add(self.ram_high)
    }

    /// Makes the window for PCI above 4 GiB reach from `from` to `to` at least.
    pub fn cover_high(&mut self, from: u64, to: u64) {
        let now = self.pci_mmio64.unwrap_or(Range::new(from, to));
        let to = to.min(1 << 52).next_multiple_of(MB);
        self.pci_mmio64 = Some(Range::new(now.start.min(from), now.end.max(to)));
    }

    pub fn ram_text(&self) -> String {
        match self.ram_high {
            0 => format!("0-{:#x}", self.ram_low),
            high => {
                format!("0-{:#x}, {FOUR_GB:#x}-{:#x}", self.ram_low, FOUR_GB.saturating_add(high))
            }
        }
    }

    /// What must hold for the tables to make sense. The machine builder's mistakes and absurd
    /// sizes end here rather than in an overflow.
    pub fn check(&self) -> Result<(), BootError> {
        let bad = |why: String| Err(BootError::Layout(why));
        if self.ram_low < 2 * MB {
            return bad(format!("{} bytes of RAM, at least 2 MiB are needed", self.ram_low));
        }
        if !self.ram_low.is_multiple_of(4096) || !self.ram_high.is_multiple_of(4096) {
            return bad("RAM is not a whole number of 4 KiB pages".into());
        }
        if self.ram_low > IO_APIC || self.ram_high > 1 << 51 {
            return bad(format!("RAM {} runs into the devices", self.ram_text()));
        }
        if self.apic_ids.is_empty() || self.apic_ids.len() > 4096 {
            return bad(format!("{} processors, 1 to 4096 are possible", self.apic_ids.len()));
        }
        if self.topology.cpus() as usize != self.apic_ids.len() {
            let t = &self.topology;
            return bad(format!(
                "{} sockets of {} cores of {} threads are not {} processors",
                t.sockets,
                t.cores,
                t.threads,
                self.apic_ids.len()
            ));
        }
        if self.pm_base > 0xFF00 || self.gpe0_len > 30 {
            let (pm, len) = (self.pm_base, self.gpe0_len);
            return bad(format!("power management at port {pm:#x}, {len} bytes of events"));
        }
        let low = Range::new(0, self.ram_low);
        if let Some(ecam) = self.ecam
            && (ecam.len() % MB != 0
                || !(1..=256).contains(&(ecam.len() / MB))
                || ecam.overlaps(&low))
        {
            return bad(format!("PCI configuration space at {:#x}-{:#x}", ecam.start, ecam.end));
        }
        let holes = self.pci_mmio32.iter().chain(&self.reserved);
        for hole in holes {
            if hole.end > FOUR_GB || hole.overlaps(&low) {
                return bad(format!("the range {:#x}-{:#x} is not free", hole.start, hole.end));
            }
        }
        let kept: Vec<&Range> = self.ecam.iter().chain(&self.reserved).collect();
        for (i, a) in kept.iter().enumerate() {
            if let Some(b) = kept[i + 1..].iter().find(|b| a.overlaps(b)) {
                let (a, b) = (a.start.max(b.start), a.end.min(b.end));
                return bad(format!("{a:#x}-{b:#x} is reserved twice"));
            }
        }
        if let Some(high) = self.pci_mmio64
            && (high.is_empty() || high.start < FOUR_GB + self.ram_high || high.end > 1 << 52)
        {
            return bad(format!("64-bit PCI memory at {:#x}-{:#x}", high.start, high.end));
        }
        Ok(())
    }

    /// The memory map that firmware would give, `tables` being the reserved pages at the top of
    /// low RAM. Sorted, without overlap.
    pub fn e820(&self, tables: &Range) -> Vec<E820Row> {
        use E820Kind::{Ram, Reserved};
        let row = |start, end, kind| E820Row { range: Range::new(start, end), kind };
        let mut map = vec![
            row(0, EBDA, Ram),
            row(EBDA, 0xA_0000, Reserved),
            row(F_SEGMENT, MB, Reserved),
            row(MB, tables.start, Ram),
            row(tables.start, tables.end, Reserved),
            row(tables.end, self.ram_low, Ram),
            row(FOUR_GB, FOUR_GB + self.ram_high, Ram),
        ];
        map.extend(self.ecam.iter().chain(&self.reserved).map(|r| row(r.start, r.end, Reserved)));
        map.retain(|r| !r.range.is_empty());
        map.sort_by_key(|r| r.range);
        map
    }
}

/// The type field of an INT 15h, E820h entry (ACPI 6.5, table 15.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum E820Kind {
    Ram = 1,
    Reserved = 2,
    AcpiReclaim = 3,
    AcpiNvs = 4,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct E820Row {
    pub range: Range,
    pub kind: E820Kind,
}
