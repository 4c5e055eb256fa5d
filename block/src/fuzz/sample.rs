//! Good images, small ones, of which bad ones are made.

use crate::bytes::{put, u32_at, u64_at};
use crate::qcow2::{Create, Options, Qcow2, create};
use crate::{Image, Mem};
use std::io::{Result, Write};
use std::sync::Arc;

/// An image, and where its tables are: places that are worth a change.
pub struct Sample {
    pub bytes: Vec<u8>,
    pub tables: Vec<u64>,
    pub cluster: u64,
}

/// Version, cluster bits, refcount order, backing file, whether compressed with zstd.
type Row = (u32, u32, u32, Option<(&'static str, &'static str)>, bool);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    (3, 16, 4, None, false),
    (3, 9,  4, None, false),
    (3, 9,  6, Some(("base/raw", "raw")), false),
    (3, 12, 0, None, true),
    (2, 16, 4, Some(("raw", "raw")), false),
    (2, 10, 4, None, false),
    (3, 14, 3, Some(("raw", "raw")), true),
];

pub fn all() -> Result<Vec<Sample>> {
    ROWS.iter().map(one).collect()
}

fn one(&(version, cluster_bits, refcount_order, backing, zstd): &Row) -> Result<Sample> {
    let file = Arc::new(Mem::new(0, 8 << 20));
    let backing = backing.map(|(name, format)| (name.to_owned(), format.to_owned()));
    let what = Create { version, cluster_bits, refcount_order, backing, ..Create::new(1 << 20) };
    create(&*file, &what)?;
    let options = Options { discard: false, ..Options::default() };
    let image = Qcow2::open(file.clone(), None, options).map_err(std::io::Error::other)?;
    for n in 0..6u64 {
        image.write(n * 150_016, &vec![n as u8 + 1; 30_208])?;
    }
    image.zero(150_016, 8192, false)?;
    image.flush()?;
    drop(image);
    let mut bytes = file.bytes();
    let cluster = 1 << cluster_bits;
    pack(&mut bytes, cluster, zstd)?;
    if refcount_order > 0 {
        snapshot(&mut bytes, cluster);
    }
    let l1 = u64_at(&bytes, 40);
    let mut tables = vec![l1, u64_at(&bytes, 48), u64_at(&bytes, 64)];
    tables.push(u64_at(&bytes, u64_at(&bytes, 48) as usize));
    for n in 0..u32_at(&bytes, 36) as usize {
        tables.push(u64_at(&bytes, l1 as usize + n * 8) & 0x00FF_FFFF_FFFF_FE00);
    }
    // The compressed cluster, too.
    tables.push((file.bytes().len() as u64) & !7);
    tables.retain(|&t| t != 0);
    Ok(Sample { bytes, tables, cluster })
}

/// Makes the first cluster a compressed one, at the file's end.
fn pack(bytes: &mut Vec<u8>, cluster: u64, zstd: bool) -> Result<()> {
    let plain = vec![3; cluster as usize];
    let packed = if zstd {
        // The feature, and the type of compression.
        bytes[79] |= 1 << 3;
        bytes[104] = 1;
        ruzstd::encoding::compress_to_vec(&plain[..], ruzstd::encoding::CompressionLevel::Fastest)
    } else {
        let mut deflate =
            flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        deflate.write_all(&plain)?;
        deflate.finish()?
    };
    let at = bytes.len() as u64;
    bytes.extend(&packed);
    bytes.resize((bytes.len() as u64).next_multiple_of(cluster) as usize, 0);
    let x = 62 - (cluster.trailing_zeros() - 8);
    let sectors = (at % 512 + packed.len() as u64).div_ceil(512) - 1;
    let l2 = u64_at(bytes, u64_at(bytes, 40) as usize) & 0x00FF_FFFF_FFFF_FE00;
    put(bytes, l2 as usize, &(1 << 62 | sectors << x | at).to_be_bytes());
    Ok(())
}

/// Adds a table with one snapshot, whose L1 table is the image's own.
fn snapshot(bytes: &mut Vec<u8>, cluster: u64) {
    let at = bytes.len();
    bytes.resize(at + cluster as usize, 0);
    let (l1, size) = (u64_at(bytes, 40), u32_at(bytes, 36));
    put(bytes, at, &l1.to_be_bytes());
    put(bytes, at + 8, &size.to_be_bytes());
    put(bytes, at + 12, &[0, 1, 0, 4]);
    put(bytes, at + 36, &16u32.to_be_bytes());
    put(bytes, at + 48, &(1u64 << 20).to_be_bytes());
    put(bytes, at + 56, b"1name");
    put(bytes, 60, &1u32.to_be_bytes());
    put(bytes, 64, &(at as u64).to_be_bytes());
}
