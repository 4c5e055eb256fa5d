//! New images: empty, or standing on a backing file.

use super::counts;
use super::header::{Compression, Header, MOST_L1, MOST_REFTABLE};
use crate::Image;
use std::io::{Error, ErrorKind, Result};

/// A new image; the default is QEMU's: version 3, clusters of 64 KiB, refcounts of 16 bits.
#[derive(Clone, Debug)]
pub struct Create {
    /// Length of the disk; rounded up to whole sectors.
    pub size: u64,
    pub version: u32,
    pub cluster_bits: u32,
    pub refcount_order: u32,
    /// The name of the backing file as it is to stand in the header, and its format.
    pub backing: Option<(String, String)>,
    pub compatible: u64,
}

impl Create {
    pub fn new(size: u64) -> Create {
        Create {
            size,
            version: 3,
            cluster_bits: 16,
            refcount_order: 4,
            backing: None,
            compatible: 0,
        }
    }
}

/// The header of a new image, but for the places of its tables.
fn header(what: &Create) -> Result<Header> {
    let no = |text: &str| Err(Error::new(ErrorKind::InvalidInput, text.to_owned()));
    let bits = what.cluster_bits;
    if !(9..=21).contains(&bits) || !(2..=3).contains(&what.version) || what.refcount_order > 6 {
        return no("clusters have 2^9 to 2^21 bytes, versions are 2 and 3");
    }
    if what.version == 2 && what.refcount_order != 4 {
        return no("version 2 has refcounts of 16 bits");
    }
    if what.size > 1 << 61 {
        return no("so long a disk cannot be");
    }
    let (backing, backing_format) = what.backing.clone().unzip();
    let names = [&backing, &backing_format].map(|n| n.as_ref().map_or(0, |n| n.len()));
    if names[0] > 1023 || names[1] > 15 || 160 + names[0] + names[1] > 1 << bits {
        return no("the name of the backing file is too long");
    }
    Ok(Header {
        version: what.version,
        cluster_bits: bits,
        size: what.size.next_multiple_of(512),
        l1_size: 0,
        l1_at: 0,
        reftable_at: 1 << bits,
        reftable_clusters: 0,
        snapshots: 0,
        snapshots_at: 0,
        incompatible: 0,
        compatible: what.compatible,
        autoclear: 0,
        refcount_order: what.refcount_order,
        compression: Compression::Zlib,
        backing,
        backing_format,
    })
}

/// Makes an image of an empty file.
pub fn create(file: &dyn Image, what: &Create) -> Result<()> {
    let mut h = header(what)?;
    let bits = h.cluster_bits;
    let long = || Error::new(ErrorKind::InvalidInput, "so long a disk needs larger clusters");
    let l1 = h.l1_needed(h.size).max(1);
    if l1 * 8 > MOST_L1 {
        return Err(long());
    }
    h.l1_size = l1 as u32;
    let l1_clusters = (l1 * 8).div_ceil(h.cluster());
    let (blocks, total) = place_tables(&mut h, l1_clusters);
    if h.reftable_clusters as u64 * h.cluster() > MOST_REFTABLE {
        return Err(long());
    }
    // The header comes last: before, it is no image.
    file.resize(total * h.cluster())?;
    let first = 1 + h.reftable_clusters as u64;
    let table: Vec<u8> = (0..blocks).flat_map(|b| ((first + b) << bits).to_be_bytes()).collect();
    file.write(h.reftable_at, &table)?;
    let per = h.counts_per_block();
    for b in 0..blocks {
        let mut bytes = vec![0; h.cluster() as usize];
        let used = total.saturating_sub(b * per).min(per);
        (0..used).for_each(|n| counts::set(&mut bytes, n as usize, h.refcount_order, 1));
        file.write((first + b) << bits, &bytes)?;
    }
    file.flush()?;
    file.write(0, &h.bytes())?;
    file.flush()
}

/// The refcount table and its blocks follow the header, then the L1 table. Gives the number of blocks and of all clusters.
fn place_tables(h: &mut Header, l1_clusters: u64) -> (u64, u64) {
    let (mut blocks, mut table) = (1, 1);
    loop {
        let total = 1 + table + blocks + l1_clusters;
        let (b, t) = (total.div_ceil(h.counts_per_block()), (blocks * 8).div_ceil(h.cluster()));
        if b <= blocks && t <= table {
            h.reftable_clusters = table as u32;
            h.l1_at = (1 + table + blocks) << h.cluster_bits;
            return (blocks, total);
        }
        (blocks, table) = (b.max(blocks), t.max(table));
    }
}
