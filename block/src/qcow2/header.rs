//! The header of a qcow2 image: read, checked, written.  QEMU docs/interop/qcow2.txt, "Header".
//!
//! Every field of a stranger's image is checked here; what is kept is within the bounds that the rest relies on.

use crate::bytes::{put, u32_at, u64_at};

pub const MAGIC: u32 = 0x5146_49FB;

/// Bits of `incompatible_features`.
pub const DIRTY: u64 = 1 << 0;
pub const CORRUPT: u64 = 1 << 1;
const DATA_FILE: u64 = 1 << 2;
const COMPRESSION: u64 = 1 << 3;
const EXTENDED_L2: u64 = 1 << 4;
/// A bit of `compatible_features`.
pub const LAZY_REFCOUNTS: u64 = 1 << 0;

/// Header extensions.
const EXT_END: u32 = 0;
const EXT_FORMAT: u32 = 0xE279_2ACA;
const EXT_FEATURES: u32 = 0x6803_F857;
const EXT_CRYPTO: u32 = 0x0537_BE77;
const EXT_DATA_FILE: u32 = 0x4441_5441;

/// Places of fields that are written later, too.
pub const AT_SIZE: u64 = 24;
pub const AT_L1: u64 = 36;
pub const AT_REFTABLE: u64 = 48;
pub const AT_INCOMPATIBLE: u64 = 72;
pub const AT_AUTOCLEAR: u64 = 88;

/// Tables may not be larger; the same limits as QEMU's.
pub const MOST_L1: u64 = 32 << 20;
pub const MOST_REFTABLE: u64 = 8 << 20;
pub const MOST_SNAPSHOTS: u32 = 65536;

/// How clusters are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    Zlib,
    Zstd,
}

/// What a header says.
#[derive(Clone, Debug)]
pub struct Header {
    pub version: u32,
    pub cluster_bits: u32,
    /// Length of the disk, whole sectors.
    pub size: u64,
    pub l1_size: u32,
    pub l1_at: u64,
    pub reftable_at: u64,
    pub reftable_clusters: u32,
    pub snapshots: u32,
    pub snapshots_at: u64,
    pub incompatible: u64,
    pub compatible: u64,
    pub autoclear: u64,
    pub refcount_order: u32,
    pub compression: Compression,
    pub backing: Option<String>,
    pub backing_format: Option<String>,
}

/// Bytes of the file that [`Header::parse`] wants: a whole cluster at most.
pub const MOST: usize = 2 << 20;

impl Header {
    pub fn cluster(&self) -> u64 {
        1 << self.cluster_bits
    }
    /// Bytes of the disk that one L2 table maps.
    pub fn l2_covers(&self) -> u64 {
        1 << (2 * self.cluster_bits - 3)
    }
    /// Entries that the L1 table needs for so many bytes.
    pub fn l1_needed(&self, size: u64) -> u64 {
        size.div_ceil(self.l2_covers())
    }
    /// Refcounts in a block.
    pub fn counts_per_block(&self) -> u64 {
        1 << (self.cluster_bits + 3 - self.refcount_order)
    }
    pub fn is_dirty(&self) -> bool {
        self.incompatible & DIRTY != 0
    }
    pub fn is_corrupt(&self) -> bool {
        self.incompatible & CORRUPT != 0
    }

    /// Reads a header. An error says what is wrong with it.
    pub fn parse(b: &[u8]) -> Result<Header, String> {
        if b.len() < 72 || u32_at(b, 0) != MAGIC {
            return Err("no qcow2 image: the magic number is missing".into());
        }
        let version = u32_at(b, 4);
        if !(2..=3).contains(&version) {
            return Err(format!("qcow2 version {version}; versions 2 and 3 are known"));
        }
        let cluster_bits = u32_at(b, 20);
        if !(9..=21).contains(&cluster_bits) {
            return Err(format!("clusters of 2^{cluster_bits} bytes; 2^9 to 2^21 are possible"));
        }
        let v3 = version == 3;
        let mut h = Header {
            version,
            cluster_bits,
            size: u64_at(b, 24) & !511,
            l1_size: u32_at(b, 36),
            l1_at: u64_at(b, 40),
            reftable_at: u64_at(b, 48),
            reftable_clusters: u32_at(b, 56),
            snapshots: u32_at(b, 60),
            snapshots_at: u64_at(b, 64),
            incompatible: if v3 { u64_at(b, 72) } else { 0 },
            compatible: if v3 { u64_at(b, 80) } else { 0 },
            autoclear: if v3 { u64_at(b, 88) } else { 0 },
            refcount_order: if v3 { u32_at(b, 96) } else { 4 },
            compression: Compression::Zlib,
            backing: None,
            backing_format: None,
        };
        let length = if v3 { u32_at(b, 100) as usize } else { 72 };
        if v3 && (length < 104 || length % 8 != 0 || length as u64 > h.cluster()) {
            return Err(format!("a header of {length} bytes"));
        }
        h.check_crypt(u32_at(b, 32))?;
        h.check_tables()?;
        let first = &b[..b.len().min(h.cluster() as usize)];
        h.names(first, length)?;
        h.check_features(first, length)?;
        Ok(h)
    }

    fn check_crypt(&self, method: u32) -> Result<(), String> {
        match method {
            0 => Ok(()),
            1 => Err("encrypted (AES); encrypted images are not supported".into()),
            2 => Err("encrypted (LUKS); encrypted images are not supported".into()),
            n => Err(format!("encrypted (method {n}); encrypted images are not supported")),
        }
    }

    fn check_tables(&self) -> Result<(), String> {
        let whole = |at: u64| at % self.cluster() == 0 && at < 1 << 56;
        if self.size >= 1 << 62 {
            return Err(format!("a disk of {} bytes", self.size));
        }
        if self.refcount_order > 6 {
            return Err(format!("refcounts of 2^{} bits; 64 are possible", self.refcount_order));
        }
        let l1 = self.l1_size as u64 * 8;
        if l1 > MOST_L1 || (self.l1_size as u64) < self.l1_needed(self.size) {
            return Err(format!("an L1 table of {} entries for {} bytes", self.l1_size, self.size));
        }
        if l1 > 0 && (!whole(self.l1_at) || self.l1_at == 0) {
            return Err(format!("the L1 table is at {:#x}", self.l1_at));
        }
        let reftable = self.reftable_clusters as u64 * self.cluster();
        if reftable == 0 || reftable > MOST_REFTABLE {
            return Err(format!("a refcount table of {} clusters", self.reftable_clusters));
        }
        if !whole(self.reftable_at) || self.reftable_at == 0 {
            return Err(format!("the refcount table is at {:#x}", self.reftable_at));
        }
        let snapshots = self.snapshots > MOST_SNAPSHOTS || !self.snapshots_at.is_multiple_of(8);
        if self.snapshots > 0 && (snapshots || self.snapshots_at >= 1 << 56) {
            return Err(format!("{} snapshots at {:#x}", self.snapshots, self.snapshots_at));
        }
        Ok(())
    }

    /// The name of the backing file, its format, and other extensions. They all lie in the first cluster.
    fn names(&mut self, b: &[u8], length: usize) -> Result<(), String> {
        let (at, len) = (u64_at(b, 8), u32_at(b, 16) as usize);
        let mut end = b.len();
        if at != 0 {
            let place = usize::try_from(at).ok().filter(|_| (1..=1023).contains(&len));
            let name = place.and_then(|at| b.get(at..at.checked_add(len)?));
            let name = name.ok_or("the name of the backing file is not in the first cluster")?;
            let name =
                std::str::from_utf8(name).map_err(|_| "the backing file's name: no UTF-8")?;
            if name.contains('\0') {
                return Err("the backing file's name has a zero byte in it".into());
            }
            self.backing = Some(name.to_owned());
            end = at as usize;
        }
        for (kind, data) in extensions(b, length, end)? {
            match kind {
                EXT_FORMAT => {
                    let text =
                        std::str::from_utf8(data).map_err(|_| "the backing format's name")?;
                    self.backing_format = Some(text.to_owned());
                }
                EXT_CRYPTO => {
                    return Err("encrypted (LUKS); encrypted images are not supported".into());
                }
                EXT_DATA_FILE => {
                    return Err("its data is in an external file, which is not supported".into());
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn check_features(&mut self, b: &[u8], length: usize) -> Result<(), String> {
        if self.incompatible & DATA_FILE != 0 {
            return Err("its data is in an external file, which is not supported".into());
        }
        if self.incompatible & EXTENDED_L2 != 0 {
            return Err("extended L2 entries (subclusters) are not supported".into());
        }
        let unknown = self.incompatible & !(DIRTY | CORRUPT | COMPRESSION);
        if unknown != 0 {
            let bit = unknown.trailing_zeros();
            let name = feature_name(b, length, bit).unwrap_or_default();
            return Err(format!("unknown incompatible feature, bit {bit}{name}"));
        }
        let kind = if length > 104 { b.get(104).copied().unwrap_or(0) } else { 0 };
        self.compression = match (kind, self.incompatible & COMPRESSION != 0) {
            (0, false) => Compression::Zlib,
            (1, true) => Compression::Zstd,
            (n, _) => return Err(format!("compression type {n} does not fit the feature bits")),
        };
        Ok(())
    }
}

/// Header extensions from `at` to `end`.
fn extensions(b: &[u8], mut at: usize, end: usize) -> Result<Vec<(u32, &[u8])>, String> {
    let mut all = Vec::new();
    while at + 8 <= end {
        let (kind, len) = (u32_at(b, at), u32_at(b, at + 4) as usize);
        if kind == EXT_END {
            break;
        }
        let from = at + 8;
        let data = from.checked_add(len).filter(|&to| to <= end).and_then(|to| b.get(from..to));
        all.push((kind, data.ok_or_else(|| format!("header extension {kind:#x} is cut off"))?));
        at = from + len.next_multiple_of(8);
    }
    Ok(all)
}

/// What the image itself calls an incompatible feature.
fn feature_name(b: &[u8], length: usize, bit: u32) -> Option<String> {
    let all = extensions(b, length, b.len()).ok()?;
    let (_, table) = all.iter().find(|e| e.0 == EXT_FEATURES)?;
    let row = table.chunks_exact(48).find(|r| r[0] == 0 && r[1] as u32 == bit)?;
    let name = row[2..].split(|&c| c == 0).next()?;
    Some(format!(" ({})", String::from_utf8_lossy(name).escape_debug()))
}

impl Header {
    /// The first cluster of a new image; version 3 as QEMU makes it.
    pub fn bytes(&self) -> Vec<u8> {
        let mut b = vec![0; self.cluster() as usize];
        let length = if self.version == 3 { 112 } else { 72 };
        put(&mut b, 0, &MAGIC.to_be_bytes());
        put(&mut b, 4, &self.version.to_be_bytes());
        put(&mut b, 20, &self.cluster_bits.to_be_bytes());
        put(&mut b, 24, &self.size.to_be_bytes());
        put(&mut b, 36, &self.l1_size.to_be_bytes());
        put(&mut b, 40, &self.l1_at.to_be_bytes());
        put(&mut b, 48, &self.reftable_at.to_be_bytes());
        put(&mut b, 56, &self.reftable_clusters.to_be_bytes());
        if self.version == 3 {
            put(&mut b, 72, &self.incompatible.to_be_bytes());
            put(&mut b, 80, &self.compatible.to_be_bytes());
            put(&mut b, 96, &self.refcount_order.to_be_bytes());
            put(&mut b, 100, &(length as u32).to_be_bytes());
        }
        let mut at = length;
        if let Some(format) = &self.backing_format {
            put(&mut b, at, &EXT_FORMAT.to_be_bytes());
            put(&mut b, at + 4, &(format.len() as u32).to_be_bytes());
            put(&mut b, at + 8, format.as_bytes());
            at += 8 + format.len().next_multiple_of(8);
        }
        at += 8;
        if let Some(name) = &self.backing {
            put(&mut b, 8, &(at as u64).to_be_bytes());
            put(&mut b, 16, &(name.len() as u32).to_be_bytes());
            put(&mut b, at, name.as_bytes());
        }
        b
    }
}
