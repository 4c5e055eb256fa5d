//! A whole machine as a stream: named sections of numbered fields, the RAM pages that are not zero, and a checksum.
//!
//! Layout, little endian: magic (8 bytes), format version (4); then records, each a kind byte and its body; then a CRC-32 of all
//! before it. A section is `1, name length (2), name, length (8), bytes`, a page `2, offset (8), 4096 bytes`, the end `0`.

use memory::{PAGE, Ram};
use std::io::{self, Read, Write};

const MAGIC: &[u8; 8] = b"REPRISE\x1a";
/// The version of the layout above. Sections carry their own numbered fields and need no new version when they grow.
const VERSION: u32 = 1;
const END: u8 = 0;
const SECTION: u8 = 1;
const PAGE_RECORD: u8 = 2;
/// The longest section that is believed.
const MAX_SECTION: u64 = 64 << 20;

/// Why a stream is no saved machine.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("cannot read it: {0}")]
    Io(#[from] io::Error),
    #[error("not a saved machine (it does not begin with REPRISE)")]
    Foreign,
    #[error("saved in format {0}, this program reads format {VERSION}")]
    Version(u32),
    #[error("damaged: its checksum is {found:#010x}, not {wanted:#010x}")]
    Checksum { found: u32, wanted: u32 },
    #[error("damaged: {0}")]
    Damaged(&'static str),
    #[error("it holds RAM at {at:#x}, this machine has {ram} bytes of memory")]
    Ram { at: u64, ram: u64 },
}

/// What a stream holds, checked and not yet applied.
pub struct Snapshot {
    sections: Vec<(String, Vec<u8>)>,
    pages: Vec<(u64, Box<[u8]>)>,
}

struct Summed<T> {
    inner: T,
    crc: crc32fast::Hasher,
}
impl<T: Write> Summed<T> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.crc.update(bytes);
        self.inner.write_all(bytes)
    }
}
impl<T: Read> Summed<T> {
    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut b = [0; N];
        self.fill(&mut b)?;
        Ok(b)
    }
    fn fill(&mut self, b: &mut [u8]) -> io::Result<()> {
        self.inner.read_exact(b)?;
        self.crc.update(b);
        Ok(())
    }
}

/// Writes a machine: its sections and its RAM.
pub fn write(to: impl Write, sections: &[(String, Vec<u8>)], ram: &Ram) -> io::Result<()> {
    let mut out = Summed { inner: io::BufWriter::new(to), crc: crc32fast::Hasher::new() };
    out.put(MAGIC)?;
    out.put(&VERSION.to_le_bytes())?;
    for (name, bytes) in sections {
        out.put(&[SECTION])?;
        out.put(&(name.len() as u16).to_le_bytes())?;
        out.put(name.as_bytes())?;
        out.put(&(bytes.len() as u64).to_le_bytes())?;
        out.put(bytes)?;
    }
    let mut page = vec![0; PAGE as usize];
    for at in (0..ram.len()).step_by(PAGE as usize) {
        if ram.read(at, &mut page).is_some() && page.iter().any(|b| *b != 0) {
            out.put(&[PAGE_RECORD])?;
            out.put(&at.to_le_bytes())?;
            out.put(&page)?;
        }
    }
    out.put(&[END])?;
    let sum = out.crc.clone().finalize();
    out.inner.write_all(&sum.to_le_bytes())?;
    out.inner.flush()
}

impl Snapshot {
    /// Reads a stream for a machine with this much RAM, and checks it whole.
    pub fn read(from: impl Read, ram: u64) -> Result<Snapshot, SnapshotError> {
        let mut from = Summed { inner: io::BufReader::new(from), crc: crc32fast::Hasher::new() };
        if &from.take::<8>().map_err(|_| SnapshotError::Foreign)? != MAGIC {
            return Err(SnapshotError::Foreign);
        }
        let version = u32::from_le_bytes(from.take()?);
        if version != VERSION {
            return Err(SnapshotError::Version(version));
        }
        let mut s = Snapshot { sections: Vec::new(), pages: Vec::new() };
        loop {
            match from.take::<1>()?[0] {
                END => break,
                SECTION => s.sections.push(section(&mut from)?),
                PAGE_RECORD => {
                    let at = u64::from_le_bytes(from.take()?);
                    if at % PAGE != 0 || at >= ram {
                        return Err(SnapshotError::Ram { at, ram });
                    }
                    if s.pages.last().is_some_and(|(last, _)| *last >= at) {
                        return Err(SnapshotError::Damaged("its pages are not in order"));
                    }
                    let mut page = vec![0; PAGE as usize].into_boxed_slice();
                    from.fill(&mut page)?;
                    s.pages.push((at, page));
                }
                _ => return Err(SnapshotError::Damaged("a record of no known kind")),
            }
        }
        let wanted = from.crc.clone().finalize();
        let mut sum = [0; 4];
        from.inner.read_exact(&mut sum)?;
        let found = u32::from_le_bytes(sum);
        if found != wanted {
            return Err(SnapshotError::Checksum { found, wanted });
        }
        Ok(s)
    }

    /// A section's bytes.
    pub fn section(&self, name: &str) -> Option<&[u8]> {
        self.sections.iter().find(|(n, _)| n == name).map(|(_, b)| b.as_slice())
    }
    /// The names of all sections, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.sections.iter().map(|(n, _)| n.as_str())
    }
    /// Puts the saved pages into RAM; all others become zero.
    pub fn fill(&self, ram: &Ram) {
        ram.discard_all();
        for (at, page) in &self.pages {
            let _ = ram.write(*at, page);
        }
    }
}

fn section(from: &mut Summed<impl Read>) -> Result<(String, Vec<u8>), SnapshotError> {
    let mut name = vec![0; u16::from_le_bytes(from.take()?) as usize];
    from.fill(&mut name)?;
    let name = String::from_utf8(name).map_err(|_| SnapshotError::Damaged("a section's name"))?;
    let len = u64::from_le_bytes(from.take()?);
    if len > MAX_SECTION {
        return Err(SnapshotError::Damaged("a section that is too long"));
    }
    // Grown as it is read: a length alone allocates nothing.
    let (mut bytes, mut left, mut piece) = (Vec::new(), len as usize, [0; 4096]);
    while left > 0 {
        let n = left.min(piece.len());
        from.fill(&mut piece[..n])?;
        bytes.extend(&piece[..n]);
        left -= n;
    }
    Ok((name, bytes))
}

/// A fingerprint of sections and RAM: equal machines have equal ones.
pub fn hash(sections: &[(String, Vec<u8>)], ram: &Ram) -> u128 {
    let mut h = xxhash_rust::xxh3::Xxh3::new();
    for (name, bytes) in sections {
        h.update(&(name.len() as u64).to_le_bytes());
        h.update(name.as_bytes());
        h.update(&(bytes.len() as u64).to_le_bytes());
        h.update(bytes);
    }
    let mut page = vec![0; PAGE as usize];
    for at in (0..ram.len()).step_by(PAGE as usize) {
        if ram.read(at, &mut page).is_some() && page.iter().any(|b| *b != 0) {
            h.update(&at.to_le_bytes());
            h.update(&page);
        }
    }
    h.digest128()
}

#[cfg(test)]
mod test {
    use super::*;

    fn sample() -> (Vec<(String, Vec<u8>)>, Ram) {
        let ram = Ram::new(4 * PAGE).unwrap();
        ram.write(PAGE + 5, b"hello").unwrap();
        (vec![("core 0".into(), vec![1, 2, 3]), ("uart".into(), vec![])], ram)
    }

    #[test]
    fn what_is_written_is_read() {
        let (sections, ram) = sample();
        let mut bytes = Vec::new();
        write(&mut bytes, &sections, &ram).unwrap();
        let s = Snapshot::read(&bytes[..], ram.len()).unwrap();
        assert_eq!(s.section("core 0"), Some(&[1u8, 2, 3][..]));
        let other = Ram::new(4 * PAGE).unwrap();
        other.write(0, &[9]).unwrap();
        s.fill(&other);
        assert_eq!(hash(&sections, &ram), hash(&sections, &other));
    }

    #[test]
    fn every_damaged_byte_and_every_cut_is_an_error() {
        let (sections, ram) = sample();
        let mut good = Vec::new();
        write(&mut good, &sections, &ram).unwrap();
        for n in 0..good.len() {
            assert!(Snapshot::read(&good[..n], ram.len()).is_err(), "cut at {n}");
            let mut bad = good.clone();
            bad[n] ^= 0x41;
            assert!(Snapshot::read(&bad[..], ram.len()).is_err(), "byte {n}");
        }
        assert!(matches!(Snapshot::read(&good[..], PAGE), Err(SnapshotError::Ram { .. })));
    }
}
