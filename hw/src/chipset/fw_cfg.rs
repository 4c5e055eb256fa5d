//! QEMU's firmware configuration device.  QEMU docs/specs/fw_cfg.rst.
//!
//! Bank 0 is twelve ports at 0x510: the selector (16 bits, little endian), the data port at 1, the DMA address at 4 (64
//! bits, big endian). Items are added by the board before the machine starts, or, where they say what the guest has made of
//! the machine until then, when it selects them: then the device asks ([`Request::FirmwareItem`]) and waits for [`FwCfg::go_on`],
//! which comes before the guest's next instruction.

use device::*;
use std::collections::BTreeMap;

/// Well-known items.
pub const SIGNATURE: u16 = 0x00;
pub const ID: u16 = 0x01;
pub const UUID: u16 = 0x02;
pub const RAM_SIZE: u16 = 0x03;
pub const NOGRAPHIC: u16 = 0x04;
pub const NB_CPUS: u16 = 0x05;
pub const KERNEL_ADDR: u16 = 0x07;
pub const KERNEL_SIZE: u16 = 0x08;
pub const INITRD_ADDR: u16 = 0x0A;
pub const INITRD_SIZE: u16 = 0x0B;
pub const BOOT_DEVICE: u16 = 0x0C;
pub const NUMA: u16 = 0x0D;
pub const BOOT_MENU: u16 = 0x0E;
pub const MAX_CPUS: u16 = 0x0F;
pub const KERNEL_ENTRY: u16 = 0x10;
pub const KERNEL_DATA: u16 = 0x11;
pub const INITRD_DATA: u16 = 0x12;
pub const CMDLINE_ADDR: u16 = 0x13;
pub const CMDLINE_SIZE: u16 = 0x14;
pub const CMDLINE_DATA: u16 = 0x15;
pub const SETUP_ADDR: u16 = 0x16;
pub const SETUP_SIZE: u16 = 0x17;
pub const SETUP_DATA: u16 = 0x18;
pub const FILE_DIR: u16 = 0x19;
/// x86 only: ACPI tables, SMBIOS, IRQ0 override, E820, HPET.
pub const ACPI_TABLES: u16 = 0x8000;
pub const SMBIOS: u16 = 0x8001;
pub const IRQ0_OVERRIDE: u16 = 0x8002;
pub const HPET: u16 = 0x8004;

/// The first selector of named files.
const FILES: u16 = 0x20;
/// "QEMU CFG": reads as the DMA address register.
const DMA_SIGNATURE: u64 = 0x5145_4D55_2043_4647;
/// A DMA transfer moves this much at a time.
const CHUNK: usize = 4096;

/// DMA control bits.
const ERROR: u32 = 1;
const READ: u32 = 2;
const SKIP: u32 = 4;
const SELECT: u32 = 8;
const WRITE: u32 = 16;

state! {
    /// Everything the guest can see, beside the items themselves.
    pub struct State {
        1 selector: u16 = 0,
        2 offset: u32 = 0,
        /// The high half of the DMA address, once written.
        3 dma_high: u32 = 0,
        /// What the guest wrote to the items it may write.
        4 written: Vec<(u16, crate::Bytes)> = Vec::new(),
        /// The items made on request that have been made.
        5 made: Vec<u16> = Vec::new(),
    }
}

struct Item {
    bytes: Vec<u8>,
    writable: bool,
    /// What it was at reset, if it is made on request.
    live: Option<Vec<u8>>,
}

impl Item {
    /// Whether it may differ from what the board made it.
    fn changes(&self) -> bool {
        self.writable || self.live.is_some()
    }
}

/// What waits for an item to be made.
#[derive(Clone, Copy)]
enum Waiting {
    Select,
    /// The rest of a DMA operation, by its descriptor.
    Dma {
        at: u64,
        control: u32,
        length: u32,
        address: u64,
    },
}

pub struct FwCfg {
    s: State,
    items: BTreeMap<u16, Item>,
    /// Names of the files, from selector [`FILES`] on.
    names: Vec<String>,
    waiting: Option<Waiting>,
}

impl Default for FwCfg {
    fn default() -> Self {
        Self::new()
    }
}

impl FwCfg {
    pub fn new() -> Self {
        let mut d =
            Self { s: State::default(), items: BTreeMap::new(), names: Vec::new(), waiting: None };
        d.add(SIGNATURE, *b"QEMU");
        // The traditional interface, and DMA.
        d.add(ID, 3u32.to_le_bytes());
        d.add(FILE_DIR, 0u32.to_be_bytes());
        d
    }
    /// Adds, or replaces, the item of a well-known selector.
    pub fn add(&mut self, key: u16, bytes: impl Into<Vec<u8>>) {
        let item = Item { bytes: bytes.into(), writable: false, live: None };
        self.items.insert(key & 0xBFFF, item);
    }
    pub fn add_u16(&mut self, key: u16, value: u16) {
        self.add(key, value.to_le_bytes());
    }
    pub fn add_u32(&mut self, key: u16, value: u32) {
        self.add(key, value.to_le_bytes());
    }
    pub fn add_u64(&mut self, key: u16, value: u64) {
        self.add(key, value.to_le_bytes());
    }
    /// Adds, or replaces, a file of at most 55 bytes of name.
    pub fn add_file(&mut self, name: &str, bytes: impl Into<Vec<u8>>) {
        self.put_file(name, Item { bytes: bytes.into(), writable: false, live: None });
    }
    /// A file that is made when the guest selects it; until then it is so. Its length must stay.
    pub fn add_live_file(&mut self, name: &str, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        self.put_file(name, Item { live: Some(bytes.clone()), bytes, writable: false });
    }
    /// The file that the device waits for.
    pub fn wanted(&self) -> Option<&str> {
        self.waiting?;
        let n = self.s.selector.checked_sub(FILES)?;
        self.names.get(n as usize).map(|name| name.as_str())
    }
    /// Gives a live file its contents.
    pub fn make(&mut self, name: &str, mut bytes: Vec<u8>) {
        let Some(n) = self.names.iter().position(|have| have == name) else { return };
        let key = FILES + n as u16;
        if let Some(item) = self.items.get_mut(&key) {
            bytes.resize(item.bytes.len(), 0);
            item.bytes = bytes;
            if !self.s.made.contains(&key) {
                self.s.made.push(key);
            }
        }
    }
    /// What was wanted has been made, or cannot be: goes on with what waited for it.
    pub fn go_on(&mut self, cx: &mut dyn Cx) {
        if let Some(Waiting::Dma { at, control, length, address }) = self.waiting.take() {
            let done = self.transfer(control & !SELECT, length, address, cx).is_some();
            self.answer(at, done, cx);
        }
    }
    /// A file that the guest may write by DMA.
    pub fn add_writable_file(&mut self, name: &str, bytes: impl Into<Vec<u8>>) {
        self.put_file(name, Item { bytes: bytes.into(), writable: true, live: None });
    }
    fn put_file(&mut self, name: &str, item: Item) {
        let n = self.names.iter().position(|have| have == name).unwrap_or_else(|| {
            self.names.push(name.to_string());
            self.names.len() - 1
        });
        self.items.insert(FILES + n as u16, item);
        self.list_files();
    }
    /// The directory: a count, then size, selector, name of each, sorted by name. Its numbers are big endian.
    fn list_files(&mut self) {
        let mut files: Vec<_> = self.names.iter().zip(FILES..).collect();
        files.sort();
        let mut dir = (files.len() as u32).to_be_bytes().to_vec();
        for (name, key) in files {
            let size = self.items.get(&key).map_or(0, |item| item.bytes.len());
            dir.extend((size as u32).to_be_bytes());
            dir.extend(key.to_be_bytes());
            dir.extend([0; 2]);
            let mut field = [0; 56];
            let len = name.len().min(55);
            field[..len].copy_from_slice(&name.as_bytes()[..len]);
            dir.extend(field);
        }
        self.add(FILE_DIR, dir);
    }
    /// What a file holds now: for the board, to see what the guest wrote.
    pub fn file(&self, name: &str) -> Option<&[u8]> {
        let n = self.names.iter().position(|have| have == name)?;
        self.items.get(&(FILES + n as u16)).map(|item| item.bytes.as_slice())
    }
    /// Selects an item; `true` if it has to be made first.
    fn select(&mut self, key: u16) -> bool {
        // Bit 14 once asked for writing by the data port, which is no more.
        let key = key & 0xBFFF;
        (self.s.selector, self.s.offset) = (key, 0);
        self.items.get(&key).is_some_and(|item| item.live.is_some()) && !self.s.made.contains(&key)
    }
    fn wait(&mut self, what: Waiting, cx: &mut dyn Cx) {
        self.waiting = Some(what);
        cx.ask(Request::FirmwareItem);
    }
    /// The next bytes of the selected item; zeros after its end.
    fn next(&mut self, into: &mut [u8]) {
        let item = self.items.get(&self.s.selector).map_or(&[][..], |item| &item.bytes);
        let rest = item.get(self.s.offset as usize..).unwrap_or(&[]);
        let n = rest.len().min(into.len());
        into[..n].copy_from_slice(&rest[..n]);
        into[n..].fill(0);
        self.s.offset = self.s.offset.saturating_add(n as u32);
    }
    /// A DMA operation by its descriptor in memory: control, length, address, all big endian.
    fn dma(&mut self, at: u64, cx: &mut dyn Cx) {
        let mut descriptor = [0; 16];
        let read = cx.dma().read(at, &mut descriptor);
        let word = |i: usize| u32::from_be_bytes([0, 1, 2, 3].map(|n| descriptor[i + n]));
        let (control, length) = (word(0), word(4));
        let address = u64::from(word(8)) << 32 | u64::from(word(12));
        if read.is_ok() && control & SELECT != 0 && self.select((control >> 16) as u16) {
            return self.wait(Waiting::Dma { at, control, length, address }, cx);
        }
        let done = read.is_ok() && self.transfer(control, length, address, cx).is_some();
        self.answer(at, done, cx);
    }
    fn answer(&mut self, at: u64, done: bool, cx: &mut dyn Cx) {
        let status = if done { 0 } else { ERROR };
        if cx.dma().write(at, &status.to_be_bytes()).is_err() {
            cx.complain(format_args!("fw_cfg: no memory for a DMA descriptor at {at:#x}"));
        }
    }
    fn transfer(&mut self, control: u32, length: u32, address: u64, cx: &mut dyn Cx) -> Option<()> {
        if control & READ != 0 {
            self.copy_out(length, address, cx)
        } else if control & WRITE != 0 {
            self.copy_in(length, address, cx)
        } else {
            if control & SKIP != 0 {
                self.s.offset = self.s.offset.saturating_add(length);
            }
            Some(())
        }
    }
    fn copy_out(&mut self, length: u32, address: u64, cx: &mut dyn Cx) -> Option<()> {
        let mut chunk = [0; CHUNK];
        let mut done = 0;
        while done < length {
            let n = (length - done).min(CHUNK as u32);
            let part = &mut chunk[..n as usize];
            self.next(part);
            cx.dma().write(address.checked_add(done.into())?, part).ok()?;
            done += n;
        }
        Some(())
    }
    fn copy_in(&mut self, length: u32, address: u64, cx: &mut dyn Cx) -> Option<()> {
        let (from, key) = (self.s.offset as usize, self.s.selector);
        let item = self.items.get_mut(&key).filter(|item| item.writable)?;
        let part = item.bytes.get_mut(from..from.checked_add(length as usize)?)?;
        cx.dma().read(address, part).ok()?;
        self.s.offset += length;
        Some(())
    }
}

impl Device for FwCfg {
    fn name(&self) -> &'static str {
        "fw_cfg"
    }
    fn read(&mut self, at: Reg, w: Width, _: &mut dyn Cx) -> u64 {
        match at.at {
            // The data port gives one byte after another, whatever the width.
            1 => {
                let mut bytes = [0; 8];
                self.next(&mut bytes[..w.bytes() as usize]);
                u64::from_le_bytes(bytes)
            }
            4..12 => {
                let bytes = DMA_SIGNATURE.to_be_bytes();
                join(at.at - 4, w, 1, |i| bytes.get(i as usize).map_or(0xFF, |b| u64::from(*b)))
            }
            _ => 0,
        }
    }
    fn write(&mut self, at: Reg, w: Width, value: u64, cx: &mut dyn Cx) {
        match (at.at, w) {
            (0, Width::W16) => {
                if self.select(value as u16) {
                    self.wait(Waiting::Select, cx);
                }
            }
            (4, Width::W32) => self.s.dma_high = (value as u32).swap_bytes(),
            (8, Width::W32) => {
                let high = std::mem::take(&mut self.s.dma_high);
                self.dma(u64::from(high) << 32 | u64::from((value as u32).swap_bytes()), cx);
            }
            (4, Width::W64) => self.dma(value.swap_bytes(), cx),
            _ => {}
        }
    }
    fn reset(&mut self) {
        (self.s, self.waiting) = (State::default(), None);
        for item in self.items.values_mut() {
            if let Some(first) = &item.live {
                item.bytes.clone_from(first);
            }
            if item.writable {
                item.bytes.fill(0);
            }
        }
    }
    fn save(&self) -> Vec<u8> {
        let written = self.items.iter().filter(|(_, item)| item.changes());
        let written = written.map(|(key, item)| (*key, crate::Bytes(item.bytes.clone()))).collect();
        State { written, ..self.s.clone() }.save()
    }
    fn load(&mut self, from: &[u8]) -> Result<(), Misfit> {
        let mut s = State::load(from)?;
        let written = std::mem::take(&mut s.written);
        let fits = |(key, bytes): &(u16, crate::Bytes)| {
            self.items
                .get(key)
                .is_some_and(|item| item.changes() && item.bytes.len() == bytes.0.len())
        };
        if !written.iter().all(fits) {
            return Err(Misfit::Unfit("fw_cfg: another set of writable files".into()));
        }
        for (key, bytes) in written {
            if let Some(item) = self.items.get_mut(&key) {
                item.bytes = bytes.0;
            }
        }
        self.waiting = None;
        self.s = s;
        Ok(())
    }
    fn describe(&self) -> String {
        let mut out = format!("selector {:#x} offset {}\n", self.s.selector, self.s.offset);
        for (key, item) in &self.items {
            let name = key.checked_sub(FILES).and_then(|n| self.names.get(n as usize));
            out +=
                &format!("{key:#06x} {:8} {}\n", item.bytes.len(), name.map_or("", |n| n.as_str()));
        }
        out
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use Width::*;

    fn select(d: &mut FwCfg, b: &mut Bench, key: u16) {
        d.write(Reg { bank: 0, at: 0 }, W16, key.into(), b)
    }
    fn bytes(d: &mut FwCfg, b: &mut Bench, n: usize) -> Vec<u8> {
        (0..n).map(|_| d.read(Reg { bank: 0, at: 1 }, W8, b) as u8).collect()
    }
    fn dma(d: &mut FwCfg, b: &mut Bench, control: u32, length: u32, address: u64) -> u32 {
        b.ram[0x10..0x14].copy_from_slice(&control.to_be_bytes());
        b.ram[0x14..0x18].copy_from_slice(&length.to_be_bytes());
        b.ram[0x18..0x20].copy_from_slice(&address.to_be_bytes());
        d.write(Reg { bank: 0, at: 4 }, W32, 0, b);
        d.write(Reg { bank: 0, at: 8 }, W32, 0x10u32.swap_bytes().into(), b);
        u32::from_be_bytes(b.ram[0x10..0x14].try_into().unwrap())
    }
    fn world() -> (FwCfg, Bench) {
        (FwCfg::new(), Bench::with_ram(0x4000))
    }

    #[test]
    fn firmware_finds_signature_and_id() {
        let (mut d, mut b) = world();
        select(&mut d, &mut b, SIGNATURE);
        assert_eq!(bytes(&mut d, &mut b, 6), b"QEMU\0\0");
        select(&mut d, &mut b, ID);
        assert_eq!(d.read(Reg { bank: 0, at: 1 }, W32, &mut b), 3);
        assert_eq!(
            d.read(Reg { bank: 0, at: 4 }, W32, &mut b),
            u32::from_le_bytes(*b"QEMU").into()
        );
        assert_eq!(
            d.read(Reg { bank: 0, at: 8 }, W32, &mut b),
            u32::from_le_bytes(*b" CFG").into()
        );
        select(&mut d, &mut b, 0x7777);
        assert_eq!(bytes(&mut d, &mut b, 2), [0, 0]);
    }

    #[test]
    fn the_directory_lists_files_by_name() {
        let (mut d, mut b) = world();
        d.add_file("etc/e820", vec![1; 20]);
        d.add_file("bootorder", *b"x\0");
        select(&mut d, &mut b, FILE_DIR);
        let dir = bytes(&mut d, &mut b, 4 + 64 * 2);
        assert_eq!(dir[..4], [0, 0, 0, 2]);
        assert_eq!(dir[4..13], [0, 0, 0, 2, 0, 0x21, 0, 0, b'b']);
        assert_eq!(dir[68..77], [0, 0, 0, 20, 0, 0x20, 0, 0, b'e']);
        select(&mut d, &mut b, 0x20);
        assert_eq!(bytes(&mut d, &mut b, 21), [[1; 20].as_slice(), &[0]].concat());
    }

    #[test]
    fn a_live_file_is_made_before_it_is_read() {
        let (mut d, mut b) = world();
        d.add_live_file("t", *b"old");
        select(&mut d, &mut b, 0x20);
        assert_eq!((d.wanted(), b.asked.len()), (Some("t"), 1));
        d.go_on(&mut b);
        assert_eq!(
            dma(&mut d, &mut b, 0x20 << 16 | SELECT | READ, 3, 0x100),
            0x20 << 16 | 0xA,
            "waits"
        );
        d.make("t", b"new!".to_vec());
        d.go_on(&mut b);
        assert_eq!((&b.ram[0x100..0x103], &b.ram[0x10..0x14]), (&b"new"[..], &[0; 4][..]));
        assert_eq!(dma(&mut d, &mut b, 0x20 << 16 | SELECT | READ, 3, 0x180), 0, "made already");
        let mut e = FwCfg::new();
        e.add_live_file("t", *b"old");
        e.load(&d.save()).unwrap();
        assert_eq!(e.file("t"), Some(&b"new"[..]));
        d.reset();
        assert_eq!(d.file("t"), Some(&b"old"[..]));
        select(&mut d, &mut b, 0x20);
        assert!(d.wanted().is_some());
    }

    #[test]
    fn dma_reads_skips_and_writes() {
        let (mut d, mut b) = world();
        let data: Vec<u8> = (0..10_000).map(|i| i as u8).collect();
        d.add_file("a", data.clone());
        d.add_writable_file("b", vec![0; 4]);
        assert_eq!(dma(&mut d, &mut b, 0x20 << 16 | SELECT | SKIP, 16, 0), 0);
        assert_eq!(dma(&mut d, &mut b, READ, 5000, 0x100), 0);
        assert_eq!(b.ram[0x100..0x100 + 5000], data[16..5016]);
        assert_eq!(dma(&mut d, &mut b, READ, 0x4000, 0x3FFF), ERROR, "no memory there");
        assert_eq!(dma(&mut d, &mut b, 0x20 << 16 | SELECT | WRITE, 1, 0x100), ERROR, "read-only");
        b.ram[0x80..0x84].copy_from_slice(b"abcd");
        assert_eq!(dma(&mut d, &mut b, 0x21 << 16 | SELECT | WRITE, 4, 0x80), 0);
        assert_eq!(d.file("b"), Some(&b"abcd"[..]));
        assert_eq!(dma(&mut d, &mut b, WRITE, 1, 0x80), ERROR, "past the end");
        let mut e = FwCfg::new();
        e.add_file("a", data);
        e.add_writable_file("b", vec![0; 4]);
        e.load(&d.save()).unwrap();
        assert_eq!(e.file("b"), Some(&b"abcd"[..]));
    }
}
