//! Names of code: the symbol table of an ELF file (System V ABI, chapter 4), or lines as in `System.map` and `/proc/kallsyms`.

#[cfg(test)]
mod test;

use crate::boot::read;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// The most symbols, and bytes of names in a file: what a file says of itself is not believed.
const MOST: usize = 4 << 20;
const NAMES: u64 = 256 << 20;
/// The most bytes of a text file.
const TEXT: u64 = 64 << 20;
/// Code of a symbol whose size nobody says ends here, or at the next symbol.
const UNSIZED: u64 = 64 << 10;
/// So much of a name is shown.
const SHOWN: usize = 200;

const SYMTAB: u32 = 2;
const DYNSYM: u32 = 11;
const STRTAB: u32 = 3;
const EXECUTABLE: u64 = 4;

/// A name for the code from `at` to `end`.
#[derive(Clone, Copy, Debug)]
struct Symbol {
    at: u64,
    /// Zero until it is known.
    end: u64,
    /// Which of those at one address has the name: the lowest.
    rank: u8,
    file: u8,
    /// Where the name is in the file's.
    name: u32,
}

/// Names of code, of some files.
#[derive(Default)]
pub struct Symbols {
    all: Vec<Symbol>,
    /// Of each file; a name ends at a zero or a new line.
    names: Vec<Vec<u8>>,
}

/// A section of an ELF file.
struct Section {
    kind: u32,
    flags: u64,
    offset: u64,
    size: u64,
    link: u32,
}

impl Symbols {
    /// Reads files; the error is one line that names the one that is wrong.
    pub fn read<P: AsRef<Path>>(files: &[P]) -> Result<Symbols, String> {
        let mut all = Symbols::default();
        for path in files.iter().map(AsRef::as_ref) {
            let io = |e: std::io::Error| {
                let text = e.to_string();
                text.split(" (os error").next().unwrap_or_default().to_string()
            };
            let file = File::open(path).map_err(io);
            let read = file.and_then(|mut f| {
                let len = f.metadata().map_err(io)?.len();
                all.take(&mut f, len).map_err(|e| e.replace('\n', " "))
            });
            read.map_err(|why| format!("cannot read symbols of '{}': {why}", path.display()))?;
        }
        all.finish();
        Ok(all)
    }
    /// The symbols of a text.
    #[cfg(test)]
    pub fn parse_text(text: Vec<u8>) -> Result<Symbols, String> {
        let mut all = Symbols::default();
        all.take(&mut std::io::Cursor::new(text), 0)?;
        all.finish();
        Ok(all)
    }

    /// Takes a file of this length.
    fn take(&mut self, file: &mut (impl Read + Seek), len: u64) -> Result<(), String> {
        let before = self.all.len();
        let number = u8::try_from(self.names.len()).map_err(|_| "too many files: at most 256")?;
        let io = |e: std::io::Error| e.kind().to_string();
        let mut start = Vec::new();
        file.by_ref().take(64).read_to_end(&mut start).map_err(io)?;
        if start.starts_with(b"\x7fELF") {
            self.take_elf(file, len, &start, number)?;
        } else {
            file.by_ref().take(TEXT).read_to_end(&mut start).map_err(io)?;
            if start.len() as u64 > TEXT {
                return Err(format!("more than {} MiB of text", TEXT >> 20));
            }
            self.take_text(start, number)?;
        }
        let new = &self.all[before..];
        if new.is_empty() {
            return Err("no symbols of code".into());
        }
        if new.iter().all(|s| s.at == 0) {
            return Err(
                "all addresses are 0, as kernels show them to those who may not know".into()
            );
        }
        Ok(())
    }
    fn add(&mut self, s: Symbol) -> Result<(), String> {
        if self.all.len() >= MOST {
            return Err(format!("more than {MOST} symbols"));
        }
        self.all.push(s);
        Ok(())
    }

    /// Lines `address type name`, of which those of code count.
    fn take_text(&mut self, text: Vec<u8>, file: u8) -> Result<(), String> {
        let mut begin = 0;
        for (n, line) in text.split_inclusive(|&b| b == b'\n').enumerate() {
            let mut parts = line.splitn(3, |&b| b == b' ');
            let address = parts.next().unwrap_or_default();
            let (kind, name) = (parts.next(), parts.next());
            let (here, next) = (begin, begin + line.len());
            begin = next;
            if line.trim_ascii().is_empty() {
                continue;
            }
            let digits = std::str::from_utf8(address).unwrap_or_default();
            let hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
            let at = u64::from_str_radix(digits, 16).ok().filter(|_| hex);
            let (Some(at), Some([kind]), Some(name)) = (at, kind, name) else {
                let what = "expected 'address type name', or an ELF file";
                return Err(format!("line {}: {what}", n + 1));
            };
            let rank = match kind {
                b'T' => 0,
                b't' => 1,
                b'W' | b'w' => 2,
                _ => continue,
            };
            let name = (next - name.len()).max(here) as u32;
            self.add(Symbol { at, end: 0, rank, file, name })?;
        }
        self.names.push(text);
        Ok(())
    }

    fn take_elf(
        &mut self,
        file: &mut (impl Read + Seek),
        len: u64,
        head: &[u8],
        number: u8,
    ) -> Result<(), String> {
        let wide = match (read::u8(head, 4), read::u8(head, 5)) {
            (Some(1), Some(1)) => false,
            (Some(2), Some(1)) => true,
            _ => return Err("not a little-endian ELF32 or ELF64 file".into()),
        };
        let mut part = |what: &str, at: u64, size: u64| {
            let end = at.saturating_add(size);
            if end > len {
                return Err(format!("truncated: its {what} ends at byte {end}, the file at {len}"));
            }
            let mut bytes = vec![0; size as usize];
            let got = file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut bytes));
            got.map(|()| bytes).map_err(|e| format!("its {what}: {}", e.kind()))
        };
        let header = part("header", 0, if wide { 64 } else { 52 })?;
        let number_at = |at, long| number_of(&header, at, long);
        let (table, entry, count) = match wide {
            true => (number_at(40, true), half(&header, 58), half(&header, 60)),
            false => (number_at(32, false), half(&header, 46), half(&header, 48)),
        };
        let size = if wide { 64 } else { 40 };
        if count == 0 || entry != size {
            return Err("an ELF file without sections".into());
        }
        let table = part("section table", table, u64::from(count) * u64::from(size))?;
        let sections: Vec<_> =
            table.chunks_exact(size.into()).map(|row| Section::parse(row, wide)).collect();
        let of = |kind| sections.iter().filter(move |s| s.kind == kind);
        let symbols = of(SYMTAB).next().or_else(|| of(DYNSYM).next());
        let Some(symbols) = symbols else {
            return Err("no symbol table: it is stripped".into());
        };
        let row = if wide { 24 } else { 16 };
        if symbols.size / row > MOST as u64 {
            return Err(format!("{} symbols, at most {MOST}", symbols.size / row));
        }
        let names = sections.get(symbols.link as usize).filter(|s| s.kind == STRTAB);
        let names = names.ok_or("its symbols have no table of names")?;
        if names.size > NAMES {
            return Err(format!("{} bytes of names, at most {NAMES}", names.size));
        }
        let rows = part("symbol table", symbols.offset, symbols.size)?;
        let names = part("table of names", names.offset, names.size)?;
        for row in rows.chunks_exact(row as usize) {
            let (info, section, value, size) = match wide {
                true => (row[4], half(row, 6), number_of(row, 8, true), number_of(row, 16, true)),
                false => {
                    (row[12], half(row, 14), number_of(row, 4, false), number_of(row, 8, false))
                }
            };
            let code =
                sections.get(usize::from(section)).is_some_and(|s| s.flags & EXECUTABLE != 0);
            let name = read::u32(row, 0).unwrap_or(0);
            // No type, a function, or one that finds functions.
            if section == 0 || !code || !matches!(info & 15, 0 | 2 | 10) {
                continue;
            }
            match names.get(name as usize) {
                None => return Err("a symbol's name is outside of the table of names".into()),
                // Marks within code.
                Some(0 | b'.' | b'$') => continue,
                Some(_) => {}
            }
            let bind = match info >> 4 {
                1 => 0,
                0 => 1,
                _ => 2,
            };
            let rank = if size == 0 { bind + 3 } else { bind };
            let end = if size == 0 { 0 } else { value.saturating_add(size) };
            self.add(Symbol { at: value, end, rank, file: number, name })?;
        }
        self.names.push(names);
        Ok(())
    }

    /// Puts them in order, one for each address.
    fn finish(&mut self) {
        self.all.sort_by_key(|s| (s.at, s.rank, s.file, s.name));
        self.all.dedup_by_key(|s| s.at);
        for n in 0..self.all.len() {
            let next = self.all.get(n + 1).map_or(u64::MAX, |s| s.at);
            let s = &mut self.all[n];
            if s.end == 0 {
                s.end = next.min(s.at.saturating_add(UNSIZED));
            }
        }
    }

    /// The number of the symbol that has this address.
    pub(super) fn find(&self, at: u64) -> Option<u32> {
        let n = self.all.partition_point(|s| s.at <= at).checked_sub(1)?;
        (at < self.all[n].end).then_some(n as u32)
    }
    pub(super) fn at(&self, n: u32) -> u64 {
        self.all[n as usize].at
    }
    /// A name, fit to be shown.
    pub(super) fn name(&self, n: u32) -> String {
        let s = &self.all[n as usize];
        let from = self.names[usize::from(s.file)].get(s.name as usize..).unwrap_or_default();
        let end = from.iter().take(SHOWN).position(|b| matches!(b, 0 | b'\n' | b'\r'));
        let name = &from[..end.unwrap_or(from.len().min(SHOWN))];
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        String::from_utf8_lossy(name).chars().map(plain).collect()
    }
}

fn half(from: &[u8], at: usize) -> u16 {
    read::u16(from, at).unwrap_or(0)
}
/// 8 bytes, or 4.
fn number_of(from: &[u8], at: usize, long: bool) -> u64 {
    let short = || read::u32(from, at).map(u64::from);
    if long { read::u64(from, at) } else { short() }.unwrap_or(0)
}

impl Section {
    fn parse(row: &[u8], wide: bool) -> Section {
        let word = |at| read::u32(row, at).unwrap_or(0);
        let of = |at| number_of(row, at, wide);
        match wide {
            true => Section {
                kind: word(4),
                flags: of(8),
                offset: of(24),
                size: of(32),
                link: word(40),
            },
            false => Section {
                kind: word(4),
                flags: of(8),
                offset: of(16),
                size: of(20),
                link: word(24),
            },
        }
    }
}
