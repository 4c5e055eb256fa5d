//! ACPI tables, made from the machine's description (ACPI 6.5).
//!
//! [`Tables::build`] knows no addresses: the tables lie one after another in one blob and the
//! RSDP in another, with a list of the pointers and checksums that remain to be filled in.
//! [`Tables::place`] fills them in for a boot without firmware; [`Tables::loader_script`] is the
//! same list as firmware wants it through fw_cfg.

mod dsdt;
mod fixed;
mod hotplug;
mod isa;
mod link;
mod pci;
mod resource;

#[cfg(test)]
mod test;

use crate::boot::Layout;

pub const OEM_ID: &[u8; 6] = b"REPRIS";
pub const OEM_TABLE: &[u8; 8] = b"REPRISE ";
const CREATOR: &[u8; 4] = b"RPRS";

/// Bytes of the header that every table but the FACS begins with.
pub const HEADER: usize = 36;
const CHECKSUM_AT: usize = 9;
const RSDP_LEN: usize = 36;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    Rsdp,
    Tables,
}

impl File {
    /// The names firmware knows them by.
    pub fn name(self) -> &'static str {
        match self {
            File::Rsdp => "etc/acpi/rsdp",
            File::Tables => "etc/acpi/tables",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fixup {
    /// Add the address of the tables blob to the little-endian number of `size` bytes.
    Pointer { file: File, at: usize, size: u8 },
    /// Make the bytes `start..start + len` sum to zero with the byte at `at`.
    Checksum { file: File, at: usize, start: usize, len: usize },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    rsdp: Vec<u8>,
    tables: Vec<u8>,
    /// In the order in which they have to be done.
    fixups: Vec<Fixup>,
}

impl Tables {
    pub fn build(layout: &Layout) -> Tables {
        let mut t = Tables { rsdp: Vec::new(), tables: Vec::new(), fixups: Vec::new() };
        let facs = t.add(fixed::facs(), 64);
        let dsdt = t.add(table(b"DSDT", 2, &dsdt::build(layout)), 16);
        t.checksum(dsdt);
        let fadt = t.add(table(b"FACP", 6, &fixed::fadt(layout)), 16);
        t.pointer(File::Tables, fadt + fixed::FADT_FACS, 4, facs);
        t.pointer(File::Tables, fadt + fixed::FADT_DSDT, 4, dsdt);
        t.pointer(File::Tables, fadt + fixed::FADT_X_DSDT, 8, dsdt);
        t.checksum(fadt);
        let mut all = vec![fadt];
        let mut more = vec![table(b"APIC", 5, &fixed::madt(layout))];
        more.extend(layout.hpet.map(|at| table(b"HPET", 1, &fixed::hpet(at))));
        more.extend(layout.ecam.map(|at| table(b"MCFG", 1, &fixed::mcfg(&at))));
        more.push(table(b"WAET", 1, &fixed::waet()));
        for bytes in more {
            let at = t.add(bytes, 16);
            t.checksum(at);
            all.push(at);
        }
        let rsdt = t.add_root(b"RSDT", 4, &all);
        let xsdt = t.add_root(b"XSDT", 8, &all);
        t.add_rsdp(rsdt, xsdt);
        t
    }

    /// Bytes of the blob that holds all tables.
    pub fn len(&self) -> u64 {
        self.tables.len() as u64
    }

    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// The final bytes for these addresses: the RSDP's (16-byte aligned, in E0000h-FFFFFh) and
    /// the tables' (64-byte aligned, below 4 GiB).
    pub fn place(&self, rsdp: u64, tables: u64) -> Vec<(u64, Vec<u8>)> {
        let mut done = self.clone();
        for fixup in &self.fixups {
            match *fixup {
                Fixup::Pointer { file, at, size } => {
                    let field = &mut done.file_mut(file)[at..at + usize::from(size)];
                    let mut value = [0; 8];
                    value[..field.len()].copy_from_slice(field);
                    let value = u64::from_le_bytes(value).wrapping_add(tables);
                    field.copy_from_slice(&value.to_le_bytes()[..usize::from(size)]);
                }
                Fixup::Checksum { file, at, start, len } => {
                    let bytes = done.file_mut(file);
                    bytes[at] = 0;
                    bytes[at] = checksum(&bytes[start..start + len]);
                }
            }
        }
        vec![(rsdp, done.rsdp), (tables, done.tables)]
    }

    /// The two blobs as firmware fetches them, before any fixup.
    pub fn files(&self) -> [(&'static str, &[u8]); 2] {
        [(File::Rsdp.name(), &self.rsdp), (File::Tables.name(), &self.tables)]
    }

    /// "etc/table-loader": 128-byte commands to allocate the blobs, then one for each fixup
    /// (the format SeaBIOS and OVMF read).
    pub fn loader_script(&self) -> Vec<u8> {
        const ALLOCATE: u32 = 1;
        const ADD_POINTER: u32 = 2;
        const ADD_CHECKSUM: u32 = 3;
        const HIGH: u8 = 1;
        const F_SEGMENT: u8 = 2;
        let mut script = Script(Vec::new());
        for (file, align, zone) in [(File::Rsdp, 16, F_SEGMENT), (File::Tables, 64, HIGH)] {
            script.entry(ALLOCATE, &[file], &[align], &[zone]);
        }
        for fixup in &self.fixups {
            match *fixup {
                Fixup::Pointer { file, at, size } => {
                    script.entry(ADD_POINTER, &[file, File::Tables], &[at as u32], &[size]);
                }
                Fixup::Checksum { file, at, start, len } => {
                    let words = [at as u32, start as u32, len as u32];
                    script.entry(ADD_CHECKSUM, &[file], &words, &[]);
                }
            }
        }
        script.0
    }

    fn file_mut(&mut self, file: File) -> &mut Vec<u8> {
        match file {
            File::Rsdp => &mut self.rsdp,
            File::Tables => &mut self.tables,
        }
    }

    /// Appends a table; answers its offset.
    fn add(&mut self, bytes: Vec<u8>, align: usize) -> usize {
        let at = self.tables.len().next_multiple_of(align);
        self.tables.resize(at, 0);
        self.tables.extend(bytes);
        at
    }

    /// A pointer field: holds the offset of what it points at until it is placed.
    fn pointer(&mut self, file: File, at: usize, size: u8, to: usize) {
        let offset = (to as u64).to_le_bytes();
        self.file_mut(file)[at..at + usize::from(size)]
            .copy_from_slice(&offset[..usize::from(size)]);
        self.fixups.push(Fixup::Pointer { file, at, size });
    }

    /// The checksum of the table at `start`, whose length is in its header.
    fn checksum(&mut self, start: usize) {
        let length = &self.tables[start + 4..start + 8];
        let len = length.iter().rev().fold(0, |n, b| n << 8 | usize::from(*b));
        let at = start + CHECKSUM_AT;
        self.fixups.push(Fixup::Checksum { file: File::Tables, at, start, len });
    }

    fn add_root(&mut self, signature: &[u8; 4], size: u8, all: &[usize]) -> usize {
        let body = vec![0; all.len() * usize::from(size)];
        let at = self.add(table(signature, 1, &body), 16);
        for (i, to) in all.iter().enumerate() {
            self.pointer(File::Tables, at + HEADER + i * usize::from(size), size, *to);
        }
        self.checksum(at);
        at
    }

    /// Root System Description Pointer, revision 2 (5.2.5.3): the first checksum covers the
    /// first 20 bytes, the second all.
    fn add_rsdp(&mut self, rsdt: usize, xsdt: usize) {
        let mut r = b"RSD PTR \0".to_vec();
        r.extend(OEM_ID);
        r.push(2);
        r.resize(20, 0);
        r.extend((RSDP_LEN as u32).to_le_bytes());
        r.resize(RSDP_LEN, 0);
        self.rsdp = r;
        let file = File::Rsdp;
        self.pointer(file, 16, 4, rsdt);
        self.pointer(file, 24, 8, xsdt);
        self.fixups.push(Fixup::Checksum { file, at: 8, start: 0, len: 20 });
        self.fixups.push(Fixup::Checksum { file, at: 32, start: 0, len: RSDP_LEN });
    }
}

/// A table with its header; the checksum is left for later.
fn table(signature: &[u8; 4], revision: u8, body: &[u8]) -> Vec<u8> {
    let mut t = signature.to_vec();
    t.extend(((HEADER + body.len()) as u32).to_le_bytes());
    t.extend([revision, 0]);
    t.extend(OEM_ID);
    t.extend(OEM_TABLE);
    t.extend(1u32.to_le_bytes());
    t.extend(CREATOR);
    t.extend(1u32.to_le_bytes());
    t.extend(body);
    t
}

/// The byte that makes the sum zero.
pub(crate) fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0u8, |sum, b| sum.wrapping_sub(*b))
}

struct Script(Vec<u8>);

impl Script {
    const ENTRY: usize = 128;
    const NAME: usize = 56;

    fn entry(&mut self, command: u32, files: &[File], words: &[u32], bytes: &[u8]) {
        let end = self.0.len() + Self::ENTRY;
        self.0.extend(command.to_le_bytes());
        for file in files {
            let next = self.0.len() + Self::NAME;
            self.0.extend(file.name().as_bytes());
            self.0.resize(next, 0);
        }
        for word in words {
            self.0.extend(word.to_le_bytes());
        }
        self.0.extend(bytes);
        self.0.resize(end, 0);
    }
}
