//! Configuration space of a function.  PCI Local Bus 3.0, chapter 6; PCI Express Base 4.0, chapter 7.

use device::*;

/// The bank and number of the expansion ROM's BAR.
pub const ROM: usize = 6;

/// Who a function is.
#[derive(Clone, Copy, Debug)]
pub struct Ids {
    pub vendor: u16,
    pub device: u16,
    /// Class, subclass, programming interface.
    pub class: u32,
    pub revision: u8,
}

/// A base address register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    pub space: Space,
    /// A power of two.
    pub len: u64,
    /// 64 bits, together with the next register.
    pub wide: bool,
    pub prefetchable: bool,
    /// What is seen through it.
    pub what: Seen,
}

impl Bar {
    pub fn memory(len: u64) -> Self {
        Self { space: Space::Memory, len, wide: false, prefetchable: false, what: Seen::Registers }
    }
    pub fn io(len: u64) -> Self {
        Self { space: Space::Io, len, wide: false, prefetchable: false, what: Seen::Registers }
    }
    pub fn wide(self) -> Self {
        Self { wide: true, ..self }
    }
    pub fn prefetchable(self) -> Self {
        Self { prefetchable: true, ..self }
    }
    /// Memory that the board gave, rather than registers.
    pub fn seen(self, what: Seen) -> Self {
        Self { what, ..self }
    }
    fn kind(&self) -> u32 {
        let memory = (self.wide as u32) << 2 | (self.prefetchable as u32) << 3;
        if self.space == Space::Io { 1 } else { memory }
    }
}

const COMMAND: usize = 0x04;
const STATUS: usize = 0x06;
const INTX_PENDING: u8 = 8;
const CAPABILITIES: usize = 0x34;

/// The bytes of configuration space, and which of them software can write.
pub struct Config {
    bytes: Vec<u8>,
    initial: Vec<u8>,
    writable: Vec<u8>,
    cleared: Vec<u8>,
    bars: [Option<Bar>; 7],
    /// Where the bus was last told to show each BAR.
    shown: [Option<Place>; 7],
    last_capability: usize,
    next_capability: usize,
    /// Capabilities are put in front of those that are there.
    newest_first: bool,
    /// What software wrote last.
    written: std::ops::Range<usize>,
    /// Where the capabilities Express and power management are.
    express: Option<usize>,
    power: Option<usize>,
    /// Software asked for a function level reset.
    reset_asked: bool,
}

impl Config {
    pub fn new(ids: Ids) -> Self {
        let zeros = || vec![0; 256];
        let mut c = Self {
            bytes: zeros(),
            initial: zeros(),
            writable: zeros(),
            cleared: zeros(),
            bars: [None; 7],
            shown: [None; 7],
            last_capability: CAPABILITIES,
            next_capability: 0x40,
            newest_first: false,
            written: 0..0,
            express: None,
            power: None,
            reset_asked: false,
        };
        c.set(0, &ids.vendor.to_le_bytes());
        c.set(2, &ids.device.to_le_bytes());
        c.set(8, &(ids.class << 8 | u32::from(ids.revision)).to_le_bytes());
        // As QEMU's devices say that they are QEMU's.
        c.set(0x2C, &[0xF4, 0x1A, 0x00, 0x11]);
        // I/O, memory, bus master, SERR, interrupt disable; status bits are cleared by ones.
        c.allow(COMMAND, &[0x07, 0x05]);
        c.allow(0x0C, &[0xFF]);
        c.allow(0x3C, &[0xFF]);
        c.cleared[STATUS + 1] = 0xF9;
        c
    }

    // Building. All of these set what reset restores.

    pub fn set(&mut self, at: usize, bytes: &[u8]) {
        self.initial[at..at + bytes.len()].copy_from_slice(bytes);
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }
    /// Which bits software can write.
    pub fn allow(&mut self, at: usize, mask: &[u8]) {
        self.writable[at..at + mask.len()].copy_from_slice(mask);
    }
    /// Which bits software clears by writing ones.
    pub fn allow_clear(&mut self, at: usize, mask: &[u8]) {
        self.cleared[at..at + mask.len()].copy_from_slice(mask);
    }
    /// A chip's own registers, from 0x40 on: software can write them all.
    pub fn own_registers(mut self) -> Self {
        self.writable[0x40..256].fill(0xFF);
        self
    }
    pub fn multifunction(mut self) -> Self {
        self.set(0x0E, &[0x80]);
        self
    }
    /// INTA to INTD: 1 to 4.
    pub fn interrupt_pin(mut self, pin: u8) -> Self {
        self.set(0x3D, &[pin]);
        self
    }
    /// 4 KiB of extended space.
    pub fn extended(mut self) -> Self {
        for v in [&mut self.bytes, &mut self.initial, &mut self.writable, &mut self.cleared] {
            v.resize(4096, 0);
        }
        self
    }
    pub fn bar(mut self, n: usize, bar: Bar) -> Self {
        assert!(bar.len.is_power_of_two() && n < 6, "BAR {n} of length {:#x}", bar.len);
        let at = 0x10 + 4 * n;
        let mask = !(bar.len - 1);
        self.set(at, &bar.kind().to_le_bytes());
        let low = if bar.space == Space::Io { 3 } else { 0xF };
        self.allow(at, &(mask as u32 & !low).to_le_bytes());
        if bar.wide {
            self.allow(at + 4, &((mask >> 32) as u32).to_le_bytes());
        }
        self.bars[n] = Some(bar);
        self
    }
    /// An expansion ROM, a power of two of bytes at `offset` of the board's memory.
    pub fn rom(mut self, len: u64, offset: u64) -> Self {
        self.allow(0x30, &(!(len - 1) as u32 & !0x7FF | 1).to_le_bytes());
        self.bars[ROM] = Some(Bar::memory(len).seen(Seen::Rom { offset }));
        self
    }
    /// Adds a capability: its bytes after id and link, and which bits of these can be written. Gives its offset.
    pub fn capability(&mut self, id: u8, body: &[u8], writable: &[u8]) -> usize {
        let at = self.next_capability;
        self.capability_at(at, id, body, writable);
        at
    }
    /// The same at a place that software expects.
    pub fn capability_at(&mut self, at: usize, id: u8, body: &[u8], writable: &[u8]) {
        self.set(at, &[id, 0]);
        self.set(at + 2, body);
        self.writable[at..at + 2 + body.len()].fill(0);
        self.allow(at + 2, writable);
        self.list(at);
        self.next_capability = self.next_capability.max((at + 2 + body.len()).next_multiple_of(4));
        let status = self.initial[STATUS] | 0x10;
        self.set(STATUS, &[status]);
    }

    fn list(&mut self, at: usize) {
        let last = self.last_capability;
        if self.newest_first {
            let first = self.initial[CAPABILITIES];
            self.set(at + 1, &[first]);
            self.set(CAPABILITIES, &[at as u8]);
        } else {
            self.set(if last == CAPABILITIES { last } else { last + 1 }, &[at as u8]);
        }
        self.last_capability = at;
    }
    /// Capabilities are listed the newest first, as QEMU's devices have them.
    pub fn newest_first(mut self) -> Self {
        self.newest_first = true;
        self
    }
    /// Power management 1.2, with nothing lost in D3hot.  PCI Power Management 1.2, 3.2.
    pub fn power_management(&mut self) -> usize {
        let at = self.capability(1, &[3, 0, 8, 0, 0, 0], &[0, 0, 3]);
        self.power = Some(at);
        at
    }
    /// Where the next capability will be.
    pub(super) fn next_capability(&self) -> usize {
        self.next_capability
    }
    /// That the capability Express is here.
    pub(super) fn set_express(&mut self, at: usize) {
        self.express = Some(at);
    }

    // Use.

    /// Where the capability Express is.
    pub fn express_at(&self) -> Option<usize> {
        self.express
    }
    /// A base address register, or the expansion ROM.
    pub fn bar_at(&self, n: usize) -> Option<Bar> {
        self.bars.get(n).copied().flatten()
    }
    /// Whether it is a bridge to another bus: a header of type 1.
    pub fn is_bridge(&self) -> bool {
        self.bytes[0x0E] & 0x7F == 1
    }
    /// In D3hot nothing is decoded and nothing sent.
    fn asleep(&self) -> bool {
        self.power.is_some_and(|at| self.bytes[at + 4] & 3 == 3)
    }
    /// Whether software asked for a function level reset since the last time.
    pub(super) fn take_reset(&mut self) -> bool {
        std::mem::take(&mut self.reset_asked)
    }
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
    pub fn u8(&self, at: usize) -> u8 {
        self.bytes[at]
    }
    /// Changes two bytes as the device itself does.
    pub fn put_u16(&mut self, at: usize, value: u16) {
        self.bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }
    pub fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]])
    }
    pub fn u32(&self, at: usize) -> u32 {
        u32::from(self.u16(at)) | u32::from(self.u16(at + 2)) << 16
    }
    pub fn u64(&self, at: usize) -> u64 {
        u64::from(self.u32(at)) | u64::from(self.u32(at + 4)) << 32
    }
    /// Changes a byte as the device itself does.
    pub fn put(&mut self, at: usize, value: u8) {
        self.bytes[at] = value;
    }
    /// Whether the function may read and write memory.
    pub fn bus_master(&self) -> bool {
        self.bytes[COMMAND] & 4 != 0 && !self.asleep()
    }
    /// The function wants, or no longer wants, its interrupt.
    pub fn set_intx(&mut self, on: bool) {
        let status = self.bytes[STATUS] & !INTX_PENDING;
        self.bytes[STATUS] = status | if on { INTX_PENDING } else { 0 };
    }
    /// Which INTx line is pulled: 0 to 3 for A to D.
    pub fn intx(&self) -> Option<u8> {
        let on = self.bytes[STATUS] & INTX_PENDING != 0 && self.bytes[COMMAND + 1] & 4 == 0;
        self.bytes[0x3D].checked_sub(1).filter(|pin| on && *pin < 4)
    }
    pub fn reset(&mut self) {
        // Firmware's interrupt line is not the device's to forget, but QEMU's devices do.
        self.bytes.copy_from_slice(&self.initial);
    }
    /// Reads past the end give zeros: a conventional function in an extended space.
    pub fn read(&self, at: u64, w: Width) -> u64 {
        join(at, w, 1, |i| self.bytes.get(i as usize).map_or(0, |b| u64::from(*b)))
    }
    /// The bytes that the last write covered: for `config_written`.
    pub fn written(&self) -> std::ops::Range<usize> {
        self.written.clone()
    }
    pub fn write(&mut self, at: u64, w: Width, value: u64) {
        self.written = at as usize..at as usize + w.bytes() as usize;
        // Device control's last bit starts a reset; the high bits of device capabilities say whether there is such.
        let reset = self.express.filter(|at| self.bytes[at + 7] & 0x10 != 0).map(|at| at + 9);
        split(at, w, 1, value, |i, _, v| {
            let (i, v) = (i as usize, v as u8);
            self.reset_asked |= reset == Some(i) && v & 0x80 != 0;
            if i < self.bytes.len() {
                let mask = self.writable[i];
                self.bytes[i] = (self.bytes[i] & !mask | v & mask) & !(v & self.cleared[i]);
            }
        });
    }
    /// Where a BAR is to be seen, if anywhere.
    pub fn place(&self, n: usize) -> Option<Place> {
        let bar = self.bars[n]?;
        let at = if n == ROM { 0x30 } else { 0x10 + 4 * n };
        let decoded = self.bytes[COMMAND] & if bar.space == Space::Io { 1 } else { 2 } != 0;
        let value = if bar.wide { self.u64(at) } else { self.u32(at).into() };
        let base = value & !(bar.len - 1);
        let end = base.checked_add(bar.len - 1)?;
        let top = match (bar.space, bar.wide) {
            (Space::Io, _) => 0xFFFF,
            (_, false) => 0xFFFF_FFFE,
            (_, true) => (1 << 52) - 1,
        };
        // All ones are somebody sizing the BAR; zero is one that nobody has placed.
        let there =
            decoded && !self.asleep() && base != 0 && end <= top && (n != ROM || value & 1 != 0);
        there.then_some(Place { space: bar.space, base, len: bar.len, what: bar.what })
    }
    /// Shows the BARs where they are, as far as they have moved since the last time.
    pub fn show(&mut self, cx: &mut dyn Cx) {
        for n in 0..7 {
            let place = self.place(n);
            if place != self.shown[n] {
                self.shown[n] = place;
                cx.map(n as u16, place);
            }
        }
    }
    /// The same after reset or load, when nothing is known of what is shown.
    pub fn show_all(&mut self, cx: &mut dyn Cx) {
        for n in (0..7).filter(|n| self.bars[*n].is_some()) {
            self.shown[n] = self.place(n);
            cx.map(n as u16, self.shown[n]);
        }
    }
    /// Whether saved bytes are of such a function.
    pub fn check(&self, bytes: &[u8]) -> Result<(), Misfit> {
        if bytes.len() == self.bytes.len() && bytes[..4] == self.bytes[..4] {
            return Ok(());
        }
        Err(Misfit::Unfit(format!(
            "configuration space of another function than {:04x}:{:04x}",
            self.u16(0),
            self.u16(2)
        )))
    }
    /// Takes saved bytes that [`Config::check`] has passed.
    pub fn set_bytes(&mut self, bytes: Vec<u8>) {
        self.bytes = bytes;
    }
}

/// What the memory controller does with one region of the BIOS area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pam {
    pub base: u64,
    pub len: u64,
    /// Reads come from RAM, not from ROM or the bus.
    pub read_ram: bool,
    /// Writes go to RAM.
    pub write_ram: bool,
}

impl Pam {
    /// The thirteen regions from seven registers.  82441FX data sheet, 3.2.18; Q35 MCH data sheet, 5.1.21.
    pub(super) fn decode(registers: &[u8]) -> [Pam; 13] {
        std::array::from_fn(|n| {
            let register = registers.get(n.div_ceil(2)).copied().unwrap_or(0);
            let bits = if n % 2 == 0 { register >> 4 } else { register };
            let (base, len) = match n {
                0 => (0xF_0000, 0x1_0000),
                n => (0xC_0000 + (n as u64 - 1) * 0x4000, 0x4000),
            };
            Pam { base, len, read_ram: bits & 1 != 0, write_ram: bits & 2 != 0 }
        })
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use Width::*;

    fn config() -> Config {
        let mut c =
            Config::new(Ids { vendor: 0x1AF4, device: 0x1000, class: 0x02_0000, revision: 1 })
                .bar(0, Bar::io(32))
                .bar(1, Bar::memory(0x1000))
                .bar(4, Bar::memory(0x4000).wide().prefetchable())
                .rom(0x1_0000, 0)
                .interrupt_pin(1);
        c.capability(0x11, &[1, 2, 0, 0], &[0, 0x80]);
        c.capability(9, &[8, 0], &[]);
        c
    }

    #[test]
    fn ids_are_there_and_read_only() {
        let mut c = config();
        for at in (0..256).step_by(4) {
            c.write(at, W32, 0xFFFF_FFFF);
        }
        assert_eq!((c.u32(0), c.u32(8), c.u32(0x2C)), (0x1000_1AF4, 0x0200_0001, 0x1100_1AF4));
        assert_eq!((c.u16(4), c.u16(6), c.u8(0x3C)), (0x0507, 0x0010, 0xFF));
    }

    #[test]
    fn bars_tell_their_size() {
        let mut c = config();
        for n in 0..6 {
            c.write(0x10 + 4 * n, W32, 0xFFFF_FFFF);
        }
        let got = [0, 1, 2, 3, 4, 5].map(|n| c.u32(0x10 + 4 * n));
        assert_eq!(got, [0xFFFF_FFE1, 0xFFFF_F000, 0, 0, 0xFFFF_C00C, 0xFFFF_FFFF]);
        c.write(0x30, W32, 0xFFFF_FFFF);
        assert_eq!(c.u32(0x30), 0xFFFF_0001);
        c.write(4, W16, 7);
        assert!((0..7).all(|n| c.place(n).is_none()), "sizing shows nothing");
    }

    #[test]
    fn bars_move_when_decoding_is_on() {
        let (mut c, mut b) = (config(), Bench::default());
        c.write(0x10, W32, 0xC000);
        c.write(0x20, W32, 0x8000_0000);
        c.write(0x24, W32, 0x1);
        c.show(&mut b);
        assert!(b.windows.is_empty());
        c.write(4, W8, 3);
        c.show(&mut b);
        assert_eq!(
            b.windows[&0],
            Place { space: Space::Io, base: 0xC000, len: 32, what: Seen::Registers }
        );
        assert_eq!(b.windows[&4].base, 0x1_8000_0000);
        c.write(4, W8, 1);
        c.show(&mut b);
        assert_eq!(b.windows.len(), 1);
    }

    #[test]
    fn capabilities_are_a_list() {
        let c = config();
        assert_eq!((c.u8(0x34), c.u32(0x40), c.u8(0x48), c.u8(0x49)), (0x40, 0x0201_4811, 9, 0));
    }

    #[test]
    fn intx_obeys_its_disable_bit() {
        let mut c = config();
        c.set_intx(true);
        assert_eq!((c.intx(), c.u8(6) & 8), (Some(0), 8));
        c.write(4, W16, 0x400);
        assert_eq!((c.intx(), c.u8(6) & 8), (None, 8));
    }

    #[test]
    fn an_extended_space_is_longer() {
        let mut c = config();
        assert_eq!(c.read(0x100, W32), 0);
        c = c.extended();
        c.set(0x100, &[1, 0, 1, 0]);
        assert_eq!((c.read(0x100, W32), c.bytes().len()), (0x1_0001, 4096));
    }

    #[test]
    fn pam_regions_are_nibbles() {
        let pam = Pam::decode(&[0x30, 0x12, 0, 0, 0, 0, 0x30]);
        assert_eq!(pam[0], Pam { base: 0xF_0000, len: 0x1_0000, read_ram: true, write_ram: true });
        assert_eq!((pam[1].base, pam[1].read_ram, pam[1].write_ram), (0xC_0000, false, true));
        assert_eq!((pam[2].base, pam[2].read_ram, pam[2].write_ram), (0xC_4000, true, false));
        assert_eq!((pam[12].base, pam[12].read_ram), (0xE_C000, true));
    }
}
