//! Enough of ELF to load a kernel: header, program headers, notes (System V ABI, chapter 5).

use super::{BootError, Job, read};

pub const EM_386: u16 = 3;
pub const EM_X86_64: u16 = 62;

const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
const PF_X: u32 = 1;
/// More program headers than any kernel has; bounds the work that a hostile file can cause.
const MAX_SEGMENTS: u16 = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    kind: u32,
    flags: u32,
    pub offset: u64,
    pub vaddr: u64,
    pub paddr: u64,
    pub filesz: u64,
    pub memsz: u64,
    pub align: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elf {
    pub wide: bool,
    pub machine: u16,
    pub entry: u64,
    pub segments: Vec<Segment>,
}

pub fn is_elf(image: &[u8]) -> bool {
    image.starts_with(b"\x7fELF")
}

impl Elf {
    /// Reads the headers. All file ranges of loadable and note segments are in the file after this.
    pub fn parse(name: &str, image: &[u8]) -> Result<Elf, BootError> {
        let short = |what: &str, need| BootError::truncated(name, what, need, image.len());
        if !is_elf(image) {
            return Err(BootError::image(name, "not an ELF image"));
        }
        let wide = match (read::u8(image, 4), read::u8(image, 5)) {
            (Some(1), Some(1)) => false,
            (Some(2), Some(1)) => true,
            _ => return Err(BootError::image(name, "not a little-endian ELF32 or ELF64 image")),
        };
        let fixed = if wide { 64 } else { 52 };
        let header =
            read::bytes(image, 0, fixed).ok_or_else(|| short("ELF header", fixed as u64))?;
        let half = |at| read::u16(header, at).unwrap_or(0);
        let word = |at| u64::from(read::u32(header, at).unwrap_or(0));
        let long = |at| read::u64(header, at).unwrap_or(0);
        let (entry, phoff, phentsize, phnum) = if wide {
            (long(24), long(32), half(54), half(56))
        } else {
            (word(24), word(28), half(42), half(44))
        };
        let size = if wide { 56 } else { 32 };
        if phnum > 0 && usize::from(phentsize) < size {
            let why = format!("ELF program headers of {phentsize} bytes, at least {size} expected");
            return Err(BootError::image(name, why));
        }
        if phnum > MAX_SEGMENTS {
            let why = format!("ELF image with {phnum} segments, at most {MAX_SEGMENTS} expected");
            return Err(BootError::image(name, why));
        }
        let mut segments = Vec::new();
        for i in 0..u64::from(phnum) {
            let at = phoff.saturating_add(i * u64::from(phentsize));
            let row = usize::try_from(at).ok().and_then(|at| read::bytes(image, at, size));
            let row =
                row.ok_or_else(|| short("ELF program header", at.saturating_add(size as u64)))?;
            segments.push(Segment::parse(row, wide));
        }
        for s in segments.iter().filter(|s| s.kind == PT_LOAD || s.kind == PT_NOTE) {
            let end = s.offset.saturating_add(s.filesz);
            if end > image.len() as u64 {
                return Err(short("ELF segment", end));
            }
            if s.kind == PT_LOAD && s.filesz > s.memsz {
                let why = format!(
                    "ELF segment at {:#x} has {:#x} bytes in the file but {:#x} in memory",
                    s.paddr, s.filesz, s.memsz
                );
                return Err(BootError::image(name, why));
            }
        }
        Ok(Elf { wide, machine: half(18), entry, segments })
    }

    /// The entry as a physical address: where it is a virtual one of an executable segment, it is
    /// moved along with the segment.
    pub fn physical_entry(&self) -> u64 {
        let home = self.segments.iter().find(|s| {
            s.kind == PT_LOAD
                && s.flags & PF_X != 0
                && (s.vaddr..s.vaddr.saturating_add(s.filesz)).contains(&self.entry)
        });
        match home {
            Some(s) => self.entry.wrapping_sub(s.vaddr).wrapping_add(s.paddr),
            None => self.entry,
        }
    }

    /// Puts the loadable segments at their physical addresses; the rest of each is cleared.
    /// Answers the end of the highest.
    pub(crate) fn load(&self, job: &mut Job, image: &[u8]) -> Result<u64, BootError> {
        let name = &job.request.kernel;
        let mut end = 0;
        for s in self.segments.iter().filter(|s| s.kind == PT_LOAD && s.memsz > 0) {
            let what = format!("-kernel {name}: ELF segment");
            let range = job.space.claim(s.paddr, s.memsz, &what)?;
            job.ram.write(s.paddr, self.file_bytes(s, image))?;
            job.ram.zero(s.paddr + s.filesz, s.memsz - s.filesz)?;
            end = end.max(range.end);
        }
        if end == 0 {
            return Err(BootError::image(name, "ELF image with nothing to load"));
        }
        Ok(end)
    }

    fn file_bytes<'a>(&self, s: &Segment, image: &'a [u8]) -> &'a [u8] {
        read::bytes(image, s.offset as usize, s.filesz as usize).unwrap_or(&[])
    }

    /// The descriptor of the first note with this owner and type.
    pub fn note<'a>(&self, image: &'a [u8], owner: &[u8], kind: u32) -> Option<&'a [u8]> {
        self.segments.iter().filter(|s| s.kind == PT_NOTE).find_map(|s| {
            let align = if s.align == 8 { 8 } else { 4 };
            find_note(self.file_bytes(s, image), align, owner, kind)
        })
    }
}

impl Segment {
    fn parse(row: &[u8], wide: bool) -> Segment {
        let word = |at| read::u32(row, at).unwrap_or(0);
        let long = |at| read::u64(row, at).unwrap_or(0);
        if wide {
            Segment {
                kind: word(0),
                flags: word(4),
                offset: long(8),
                vaddr: long(16),
                paddr: long(24),
                filesz: long(32),
                memsz: long(40),
                align: long(48),
            }
        } else {
            Segment {
                kind: word(0),
                offset: word(4).into(),
                vaddr: word(8).into(),
                paddr: word(12).into(),
                filesz: word(16).into(),
                memsz: word(20).into(),
                flags: word(24),
                align: word(28).into(),
            }
        }
    }
}

fn find_note<'a>(notes: &'a [u8], align: usize, owner: &[u8], kind: u32) -> Option<&'a [u8]> {
    let mut at = 0;
    loop {
        let name_len = read::u32(notes, at)? as usize;
        let desc_len = read::u32(notes, at + 4)? as usize;
        let this = read::u32(notes, at + 8)?;
        let name = read::bytes(notes, at + 12, name_len)?;
        let desc_at = (at + 12).checked_add(name_len)?.checked_next_multiple_of(align)?;
        let desc = read::bytes(notes, desc_at, desc_len)?;
        if this == kind && name == owner {
            return Some(desc);
        }
        at = desc_at.checked_add(desc_len)?.checked_next_multiple_of(align)?;
    }
}
