//! Entries of L1 and L2 tables.  QEMU docs/interop/qcow2.txt, "Cluster mapping".

/// Bits 9 to 55 of an entry: where it points.
pub const OFFSET: u64 = 0x00FF_FFFF_FFFF_FE00;
/// Nobody else refers to it: it may be written in place.
pub const COPIED: u64 = 1 << 63;
const COMPRESSED: u64 = 1 << 62;
/// Reads as zero, whatever it points to. Version 3.
pub const ZERO: u64 = 1 << 0;

/// Where a cluster of the disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The backing file has it, or nobody.
    Nowhere,
    /// Zeroes; perhaps with a cluster that waits for data, and whether that is ours alone.
    Zero {
        host: Option<u64>,
        own: bool,
    },
    Data {
        host: u64,
        own: bool,
    },
    /// Compressed: `len` bytes at most.
    Packed {
        host: u64,
        len: u64,
    },
    /// Nonsense.
    Bad,
}

/// What an L2 entry means in an image with such clusters.
pub fn place(entry: u64, cluster_bits: u32, version: u32) -> Place {
    if entry & COMPRESSED != 0 {
        let x = 62 - (cluster_bits - 8);
        let host = entry & (1 << x) - 1;
        let sectors = (entry & (1 << 62) - 1) >> x;
        let len = (sectors + 1) * 512 - host % 512;
        return if host == 0 || host >= 1 << 56 { Place::Bad } else { Place::Packed { host, len } };
    }
    let (host, own) = (entry & OFFSET, entry & COPIED != 0);
    if host % (1 << cluster_bits) != 0 {
        return Place::Bad;
    }
    if entry & ZERO != 0 && version >= 3 {
        return Place::Zero { host: (host != 0).then_some(host), own };
    }
    if host == 0 { Place::Nowhere } else { Place::Data { host, own } }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn entries_mean_what_the_specification_says() {
        let p = |e| place(e, 16, 3);
        assert_eq!(p(0), Place::Nowhere);
        assert_eq!(p(0x50000 | COPIED), Place::Data { host: 0x50000, own: true });
        assert_eq!(p(0x50000), Place::Data { host: 0x50000, own: false });
        assert_eq!(p(ZERO), Place::Zero { host: None, own: false });
        assert_eq!(p(ZERO | COPIED | 0x50000), Place::Zero { host: Some(0x50000), own: true });
        assert_eq!(place(ZERO, 16, 2), Place::Nowhere);
        assert_eq!(p(0x50200), Place::Bad);
        // 64 KiB clusters: the number of sectors is in bits 54 to 61.
        let packed = COMPRESSED | 3 << 54 | 0x12345;
        assert_eq!(p(packed), Place::Packed { host: 0x12345, len: 4 * 512 - 0x145 });
        assert_eq!(p(COMPRESSED), Place::Bad);
        assert_eq!(place(u64::MAX, 9, 3), Place::Bad);
        assert_eq!(
            place(u64::MAX, 21, 3),
            Place::Packed { host: (1 << 49) - 1, len: 8192 * 512 - 511 }
        );
    }
}
