//! Multiboot 1 images (Multiboot Specification 0.6.96): an ELF32 file or a flat file whose
//! header says where its parts go. `-initrd` lists modules: "file args,file args".

use super::elf::{EM_X86_64, Elf, is_elf};
use super::layout::{EBDA, FOUR_GB, MB};
use super::{BootError, EntryState, Job, Mode, Range, entry, open, read};

const MAGIC: u32 = 0x1BAD_B002;
const BOOT_MAGIC: u64 = 0x2BAD_B002;
/// The header lies within this many bytes of the file's start, 4-byte aligned (3.1.1).
const SEARCH: usize = 8192;

const WANT_UNKNOWN: u32 = 0xFFF8;
const HAS_ADDRESSES: u32 = 1 << 16;

/// Bits of the information structure's flags (3.3).
const MEMORY: u32 = 1 << 0;
const BOOT_DEVICE: u32 = 1 << 1;
const CMDLINE: u32 = 1 << 2;
const MODULES: u32 = 1 << 3;
const MEMORY_MAP: u32 = 1 << 6;
const LOADER_NAME: u32 = 1 << 9;

const INFO_LEN: usize = 116;
const NAME: &[u8] = b"reprise\0";

/// Where the first good header of an image is.
pub fn find_header(image: &[u8]) -> Option<usize> {
    (0..image.len().min(SEARCH)).step_by(4).find(|&at| {
        let (Some(magic), Some(flags), Some(sum)) =
            (read::u32(image, at), read::u32(image, at + 4), read::u32(image, at + 8))
        else {
            return false;
        };
        magic == MAGIC && at + 12 <= SEARCH && magic.wrapping_add(flags).wrapping_add(sum) == 0
    })
}

pub(crate) fn load(job: &mut Job, image: &[u8]) -> Result<EntryState, BootError> {
    let name = job.request.kernel.clone();
    let at = find_header(image).ok_or_else(|| BootError::unknown_image(&name, image.len()))?;
    let flags = read::u32(image, at + 4).unwrap_or(0);
    if flags & WANT_UNKNOWN != 0 {
        let why = format!("multiboot header wants unknown features (flags {flags:#x})");
        return Err(BootError::image(&name, why));
    }
    let (entry, end) = if flags & HAS_ADDRESSES != 0 {
        load_flat(job, image, at)?
    } else {
        load_elf(job, &name, image)?
    };
    let modules = load_modules(job, end)?;
    let info = write_info(job, &name, &modules)?;
    let anywhere = Range::new(0x1000, FOUR_GB);
    let table = job.space.lowest(entry::GDT_LEN, 8, anywhere, "GDT")?;
    let gdt = entry::write_gdt(job.ram, table.start, Mode::Protected32)?;
    Ok(EntryState { rax: BOOT_MAGIC, rbx: info, ..EntryState::protected32(entry, gdt) })
}

/// The "a.out kludge": addresses in the header (3.1.3).
fn load_flat(job: &mut Job, image: &[u8], at: usize) -> Result<(u32, u64), BootError> {
    let name = job.request.kernel.clone();
    let bad = |why: String| Err(BootError::image(&name, why));
    if image.len() < at + 32 {
        return Err(BootError::truncated(&name, "multiboot header", at as u64 + 32, image.len()));
    }
    let field = |i: usize| u64::from(read::u32(image, at + 12 + 4 * i).unwrap_or(0));
    let (header, start, load_end, bss_end, entry) =
        (field(0), field(1), field(2), field(3), field(4));
    let Some(offset) = header.checked_sub(start).and_then(|d| (at as u64).checked_sub(d)) else {
        return bad(format!(
            "multiboot load_addr {start:#x} does not fit header_addr {header:#x} at file byte {at}"
        ));
    };
    let rest = image.len() as u64 - offset;
    let len = match load_end {
        0 => rest,
        end if end < start => {
            return bad(format!("multiboot load_end_addr {end:#x} is below load_addr {start:#x}"));
        }
        end => end - start,
    };
    if len > rest {
        return Err(BootError::truncated(&name, "multiboot image", offset + len, image.len()));
    }
    let memory = match bss_end {
        0 => len,
        end if end < start + len => {
            return bad(format!(
                "multiboot bss_end_addr {end:#x} is below the end of the data {:#x}",
                start + len
            ));
        }
        end => end - start,
    };
    let what = format!("-kernel {name}: multiboot image");
    let range = job.space.claim(start, memory, &what)?;
    let bytes = read::bytes(image, offset as usize, len as usize).unwrap_or(&[]);
    job.ram.write(start, bytes)?;
    job.ram.zero(start + len, memory - len)?;
    Ok((entry as u32, range.end))
}

fn load_elf(job: &mut Job, name: &str, image: &[u8]) -> Result<(u32, u64), BootError> {
    if !is_elf(image) {
        return Err(BootError::image(name, "multiboot image is neither ELF nor has addresses"));
    }
    let elf = Elf::parse(name, image)?;
    if elf.wide || elf.machine == EM_X86_64 {
        let why = "Cannot load x86-64 image, give a 32bit one (multiboot enters in 32-bit mode)";
        return Err(BootError::image(name, why));
    }
    let end = elf.load(job, image)?;
    Ok((elf.physical_entry() as u32, end))
}

struct Module {
    at: Range,
    text: String,
}

/// Splits at single commas; two together stand for one in the text.
pub fn split_modules(list: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut chars = list.chars().peekable();
    while let Some(c) = chars.next() {
        if c == ',' && chars.next_if_eq(&',').is_none() {
            all.push(String::new());
        } else if let Some(last) = all.last_mut() {
            last.push(c);
        }
    }
    all
}

/// Modules go page-aligned behind the kernel, each with its text: the file's name and arguments.
fn load_modules(job: &mut Job, kernel_end: u64) -> Result<Vec<Module>, BootError> {
    let Some(list) = &job.request.initrd else {
        return Ok(Vec::new());
    };
    let within = Range::new(kernel_end.max(MB), FOUR_GB);
    let mut modules = Vec::new();
    for text in split_modules(list) {
        let path = text.split(' ').next().unwrap_or("");
        let bytes = open(job.files, "-initrd", path)?;
        let at = job
            .space
            .lowest(bytes.len() as u64, 0x1000, within, "multiboot module")
            .map_err(|_| super::pvh::too_big(path, bytes.len(), &job.layout.ram_text()))?;
        job.ram.write(at.start, &bytes)?;
        modules.push(Module { at, text });
    }
    Ok(modules)
}

/// Writes the information structure with all it points at, in one piece; answers its address.
fn write_info(job: &mut Job, name: &str, modules: &[Module]) -> Result<u64, BootError> {
    let rows = &job.placed.memory_map;
    let cmdline = format!("{name} {}", job.request.append);
    let list_at = INFO_LEN;
    let map_at = list_at + 16 * modules.len();
    let text_at = map_at + 24 * rows.len();
    let texts: usize = modules.iter().map(|m| m.text.len() + 1).sum();
    let len = (text_at + texts + cmdline.len() + 1 + NAME.len()) as u64;

    let what = "multiboot information";
    let low = Range::new(0x9000, EBDA);
    let anywhere = Range::new(0x1000, FOUR_GB);
    let place = job.space.lowest(len, 16, low, what);
    let base = place.or_else(|_| job.space.lowest(len, 16, anywhere, what))?.start;
    let address = |offset: usize| base as u32 + offset as u32;

    let mut out = vec![0u8; text_at];
    let push_text = |out: &mut Vec<u8>, text: &str| {
        let at = address(out.len());
        out.extend(text.as_bytes());
        out.push(0);
        at
    };
    for (i, module) in modules.iter().enumerate() {
        let text = push_text(&mut out, &module.text);
        let fields = [module.at.start as u32, module.at.end as u32, text, 0];
        put(&mut out, list_at + 16 * i, &fields);
    }
    for (i, row) in rows.iter().enumerate() {
        let (start, len) = (row.range.start, row.range.len());
        let fields = [
            20, // bytes that follow
            start as u32,
            (start >> 32) as u32,
            len as u32,
            (len >> 32) as u32,
            row.kind as u32,
        ];
        put(&mut out, map_at + 24 * i, &fields);
    }
    let text = push_text(&mut out, &cmdline);
    let loader = address(out.len());
    out.extend(NAME);

    let flags = MEMORY | BOOT_DEVICE | CMDLINE | MODULES | MEMORY_MAP | LOADER_NAME;
    let upper = (job.placed.tables.start - MB) >> 10;
    let head = [flags, (EBDA >> 10) as u32, upper as u32, 0x8000_FFFF, text];
    put(&mut out, 0, &head);
    put(&mut out, 20, &[modules.len() as u32, address(list_at)]);
    put(&mut out, 44, &[24 * rows.len() as u32, address(map_at)]);
    put(&mut out, 64, &[loader]);
    job.ram.write(base, &out)?;
    Ok(base)
}

fn put(out: &mut [u8], at: usize, words: &[u32]) {
    for (i, word) in words.iter().enumerate() {
        out[at + 4 * i..at + 4 * i + 4].copy_from_slice(&word.to_le_bytes());
    }
}
