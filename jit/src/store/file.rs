//! A file of records that are found by a hash: a head, the records one after the other, and a table of where they are.
//!
//! Nothing of it is believed: a file of somebody else, of another build, or that is damaged is as good as none.

use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use xxhash_rust::xxh3::xxh3_64;

const MAGIC: &[u8; 16] = b"reprise's code 1";
/// Bytes of the head: the magic, the identity, where the table begins, how many places it has, what it hashes to, how many records
/// there are, and what all this hashes to.
const HEAD: usize = 72;
/// Records begin at multiples of this.
const ALIGN: u64 = 8;
/// Bytes before a record: its hash, and its length.
const LEAD: usize = 16;
/// Bytes that are read at a time, and how many such chunks are at hand: what is wanted together was mostly made together.
const CHUNK: u64 = 32 << 10;
const CHUNKS: usize = 16;
/// No record is longer.
const LONGEST: usize = 1 << 20;
/// So many places are looked at for one hash.
const PROBES: usize = 64;

/// What a record is found by. Few have the same, and who looks tells them apart.
pub type Hash = u32;
/// Who may use a file: see [`super::Store`].
pub type Identity = u128;

/// A place in the table: a record's hash, and where it is in the file, counted in [`ALIGN`]. 0: nowhere.
#[derive(Clone, Copy, Default)]
struct Slot {
    hash: Hash,
    place: u32,
}
impl Slot {
    fn of(word: u64) -> Slot {
        Slot { hash: (word >> 32) as u32, place: word as u32 }
    }
    fn word(self) -> u64 {
        u64::from(self.hash) << 32 | u64::from(self.place)
    }
}

/// Places where a record with this hash may be, in a table of so many.
fn places(hash: Hash, many: usize) -> impl Iterator<Item = usize> {
    let first = (u64::from(hash) * many as u64 >> 32) as usize;
    (0..PROBES.min(many)).map(move |n| (first + n) % many)
}

/// A file that was there.
pub struct Old {
    file: File,
    table: Vec<Slot>,
    /// Of each place in the table, whether its record was found.
    found: Vec<bool>,
    /// Where the table begins.
    end: u64,
    pub records: u32,
    /// Chunks with their numbers, each in the place that its number says.
    chunks: Vec<(u64, Vec<u8>)>,
    buffer: Vec<u8>,
}

impl Old {
    /// Opens a file if it is our own, whole, and of this identity.
    pub fn open(path: &Path, identity: Identity) -> Option<Old> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open(path, flags, Mode::empty()).ok()?);
        let about = file.metadata().ok()?;
        let ours = about.uid() == rustix::process::geteuid().as_raw() && about.mode() & 0o022 == 0;
        if !ours || !about.is_file() {
            return None;
        }
        let mut head = [0; HEAD];
        file.read_exact_at(&mut head, 0).ok()?;
        let word = |n: usize| u64_at(&head, 8 * n);
        let (end, slots, records) = (word(4), word(5) as usize, word(7));
        let is = head[..16] == MAGIC[..]
            && head[16..32] == identity.to_le_bytes()
            && word(8) == xxh3_64(&head[..HEAD - 8]);
        let bytes = slots.checked_mul(size_of::<u64>())?;
        if !is || end.checked_add(bytes as u64) != Some(about.len()) {
            return None;
        }
        let mut table = vec![0; bytes];
        file.read_exact_at(&mut table, end).ok()?;
        if xxh3_64(&table) != word(6) {
            return None;
        }
        let slots = table.as_chunks().0.iter().map(|w| Slot::of(u64::from_le_bytes(*w)));
        let table: Vec<Slot> = slots.collect();
        let found = vec![false; table.len()];
        let (chunks, buffer) = (vec![(u64::MAX, Vec::new()); CHUNKS], Vec::new());
        Some(Old { file, table, found, end, records: records as u32, chunks, buffer })
    }

    /// The first record with this hash that `wanted` makes something of.
    pub fn find<T>(&mut self, hash: Hash, mut wanted: impl FnMut(&[u8]) -> Option<T>) -> Option<T> {
        for n in places(hash, self.table.len()) {
            let slot = self.table[n];
            if slot.place == 0 {
                break;
            }
            if slot.hash == hash
                && let Some(that) = self.record(slot.place).and_then(&mut wanted)
            {
                self.found[n] = true;
                return Some(that);
            }
        }
        None
    }
    fn record(&mut self, place: u32) -> Option<&[u8]> {
        let at = u64::from(place) * ALIGN;
        let lead = self.bytes(at, LEAD)?;
        let (check, len) = (u64_at(lead, 0), u64_at(lead, 8));
        let record = self.bytes(at + LEAD as u64, usize::try_from(len).ok()?)?;
        (xxh3_64(record) == check).then_some(record)
    }
    fn bytes(&mut self, at: u64, n: usize) -> Option<&[u8]> {
        let end = at.checked_add(n as u64).filter(|end| *end <= self.end && n < LONGEST)?;
        let (chunk, from) = (at / CHUNK, (at % CHUNK) as usize);
        if from + n > CHUNK as usize {
            self.buffer.resize(n, 0);
            self.file.read_exact_at(&mut self.buffer, at).ok()?;
            return Some(&self.buffer);
        }
        let (number, bytes) = &mut self.chunks[chunk as usize % CHUNKS];
        if *number != chunk {
            *number = u64::MAX;
            let first = chunk * CHUNK;
            bytes.resize((self.end - first).min(CHUNK) as usize, 0);
            self.file.read_exact_at(bytes, first).ok()?;
            *number = chunk;
        }
        debug_assert!(end <= chunk * CHUNK + bytes.len() as u64);
        bytes.get(from..from + n)
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|b| b.first_chunk()).map_or(0, |w| u64::from_le_bytes(*w))
}

/// Writes a record with what is before it; gives how many bytes that were.
fn put(to: &mut impl Write, record: &[u8]) -> io::Result<u64> {
    const NOUGHTS: [u8; ALIGN as usize] = [0; ALIGN as usize];
    let pad = record.len().wrapping_neg() % ALIGN as usize;
    to.write_all(&xxh3_64(record).to_le_bytes())?;
    to.write_all(&(record.len() as u64).to_le_bytes())?;
    to.write_all(record)?;
    to.write_all(&NOUGHTS[..pad])?;
    Ok((LEAD + record.len() + pad) as u64)
}

/// Records that are to be in the next file: they are in one without a name meanwhile.
pub struct Added {
    file: BufWriter<File>,
    /// Bytes so far.
    len: u64,
    /// Hashes, and where their records are, without the head.
    index: Vec<(Hash, u64)>,
}

impl Added {
    /// None so far; the file is in this folder.
    pub fn new(folder: &Path) -> io::Result<Added> {
        let file = BufWriter::with_capacity(64 << 10, tempfile::tempfile_in(folder)?);
        Ok(Added { file, len: 0, index: Vec::new() })
    }
    pub fn records(&self) -> usize {
        self.index.len()
    }
    pub fn add(&mut self, hash: Hash, record: &[u8]) -> io::Result<()> {
        if record.len() >= LONGEST {
            return Ok(());
        }
        self.index.push((hash, self.len));
        self.len += put(&mut self.file, record)?;
        Ok(())
    }

    /// Makes the file at `path` one of these records and those of `old`; if that would have more than `most` bytes, of those that
    /// were found, and if that is still too much, of none of them. It is there as a whole or not at all.
    pub fn save(
        self,
        path: &Path,
        identity: Identity,
        old: Option<Old>,
        most: u64,
    ) -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let Added { file, len, index } = self;
        let mut new = file.into_inner().map_err(|e| e.into_error())?;
        let mut to = tempfile::Builder::new().prefix("new-").tempfile_in(folder)?;
        let out = to.as_file_mut();
        out.write_all(&[0; HEAD])?;
        let mut end = HEAD as u64;
        let mut all: Vec<Slot> = Vec::new();
        match old {
            Some(o) if o.end + len <= most => {
                let mut records = &o.file;
                records.seek(SeekFrom::Start(end))?;
                io::copy(&mut records.take(o.end - end), out)?;
                end = o.end;
                all.extend(o.table.iter().filter(|s| s.place != 0));
            }
            Some(mut o) => {
                let found = o.table.iter().zip(&o.found).filter(|(_, found)| **found);
                let found: Vec<Slot> = found.map(|(slot, _)| *slot).collect();
                for Slot { hash, place } in found {
                    let Some(record) = o.record(place).filter(|_| end + len <= most) else {
                        continue;
                    };
                    all.push(Slot { hash, place: (end / ALIGN) as u32 });
                    end += put(out, record)?;
                }
            }
            None => {}
        }
        new.rewind()?;
        io::copy(&mut new.take(len), out)?;
        all.extend(
            index.iter().map(|&(hash, at)| Slot { hash, place: ((end + at) / ALIGN) as u32 }),
        );
        end += len;

        // A third of it is free.
        let mut table = vec![Slot::default(); (all.len() + all.len() / 2).max(1)];
        let many = table.len();
        for slot in &all {
            // Who finds no place is not found, which is no loss.
            if let Some(n) = places(slot.hash, many).find(|&n| table[n].place == 0) {
                table[n] = *slot;
            }
        }
        let table: Vec<u8> = table.iter().flat_map(|s| s.word().to_le_bytes()).collect();
        out.write_all(&table)?;
        let mut head = Vec::with_capacity(HEAD);
        head.extend(MAGIC);
        head.extend(identity.to_le_bytes());
        let words = [end, many as u64, xxh3_64(&table), all.len() as u64];
        head.extend(words.iter().flat_map(|w| w.to_le_bytes()));
        head.extend(xxh3_64(&head).to_le_bytes());
        out.write_all_at(&head, 0)?;
        let made = to.persist(path)?.metadata()?.mtime();
        forget_others(folder, made);
        Ok(())
    }
}

/// Removes files of other builds and machines that are a month older than the one that was made now.
fn forget_others(folder: &Path, made: i64) {
    const MONTH: i64 = 30 * 24 * 3600;
    for e in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let ours = e.file_name().as_encoded_bytes().starts_with(super::NAME.as_bytes());
        if ours && e.metadata().is_ok_and(|m| m.is_file() && made - m.mtime() > MONTH) {
            let _ = std::fs::remove_file(e.path());
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    const IDENTITY: Identity = 0x1234_5678_9abc_def0_0fed_cba9_8765_4321;

    /// Records by the text in them, of which every third is a long one, and many have the same hash.
    fn make(path: &Path, old: Option<Old>, texts: std::ops::Range<u32>, most: u64) {
        let mut new = Added::new(path.parent().unwrap()).unwrap();
        for n in texts {
            let mut record = n.to_le_bytes().to_vec();
            record.resize(4 + if n % 3 == 0 { 5000 } else { n as usize % 50 }, n as u8);
            new.add((n / 3).wrapping_mul(0x9e37_79b1), &record).unwrap();
        }
        new.save(path, IDENTITY, old, most).unwrap();
    }
    fn has(old: &mut Old, n: u32) -> bool {
        let hash = (n / 3).wrapping_mul(0x9e37_79b1);
        old.find(hash, |r| r.starts_with(&n.to_le_bytes()).then_some(())).is_some()
    }

    #[test]
    fn records_are_found_again_together_with_those_of_the_file_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("code");
        make(&path, None, 0..1000, 1 << 30);
        let mut old = Old::open(&path, IDENTITY).unwrap();
        assert!((0..1000).all(|n| has(&mut old, n)) && !has(&mut old, 1000));
        make(&path, Some(old), 1000..1500, 1 << 30);
        let mut old = Old::open(&path, IDENTITY).unwrap();
        assert_eq!(old.records, 1500);
        assert!((0..1500).all(|n| has(&mut old, n)) && !has(&mut old, 1500));
        // When there are too many, those that nobody has asked for go.
        let mut old = Old::open(&path, IDENTITY).unwrap();
        assert!((700..710).all(|n| has(&mut old, n)));
        make(&path, Some(old), 2000..2010, 100_000);
        let mut old = Old::open(&path, IDENTITY).unwrap();
        assert_eq!(old.records, 20);
        assert!((2000..2010).chain(700..710).all(|n| has(&mut old, n)) && !has(&mut old, 1000));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
        // And when there are still too many, those, too.
        make(&path, Some(old), 2010..2020, 1000);
        let mut old = Old::open(&path, IDENTITY).unwrap();
        assert!((2010..2020).all(|n| has(&mut old, n)) && old.records == 10);
    }

    #[test]
    fn files_that_are_not_used_any_more_go() {
        let folder = tempfile::tempdir().unwrap();
        let old = |name: &str, days: u64| {
            let file = File::create(folder.path().join(name)).unwrap();
            let ago = std::time::Duration::from_secs(days * 24 * 3600);
            file.set_modified(file.metadata().unwrap().modified().unwrap() - ago).unwrap();
        };
        old("code-1", 40);
        old("code-2", 20);
        old("other", 40);
        make(&folder.path().join("code-3"), None, 0..5, 1 << 30);
        let mut names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["code-2", "code-3", "other"]);
    }

    #[test]
    fn what_is_damaged_foreign_or_open_to_others_is_as_good_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("code");
        assert!(Old::open(&path, IDENTITY).is_none());
        make(&path, None, 0..5, 1 << 30);
        assert!(Old::open(&path, IDENTITY ^ 1).is_none());
        let whole = fs::read(&path).unwrap();
        for n in 0..whole.len() {
            let mut bad = whole.clone();
            bad[n] ^= 0x40;
            fs::write(&path, &bad).unwrap();
            let Some(mut old) = Old::open(&path, IDENTITY) else { continue };
            // One record at most is not there.
            let there = (0..5).filter(|&n| has(&mut old, n)).count();
            assert!(n >= HEAD && there >= 4, "{n} {there}");
        }
        for n in (0..whole.len()).step_by(7) {
            fs::write(&path, &whole[..n]).unwrap();
            assert!(Old::open(&path, IDENTITY).is_none());
        }
        fs::write(&path, &whole).unwrap();
        assert!(Old::open(&path, IDENTITY).is_some());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(Old::open(&path, IDENTITY).is_none(), "others may write it");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(Old::open(&path, IDENTITY).is_some() && Old::open(&link, IDENTITY).is_none());
        assert!(Old::open(folder.path(), IDENTITY).is_none());
    }
}
