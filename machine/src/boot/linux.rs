//! Linux bzImage: the 64-bit boot protocol, and the 32-bit one for kernels without a 64-bit entry.
//! Linux, Documentation/arch/x86/boot.rst and zero-page.rst.

use super::layout::{EBDA, FOUR_GB, MB};
use super::{BootError, EntryState, Job, Mode, Range, entry, open, read};

const MAGIC: &[u8] = b"HdrS";
const BOOT_FLAG: u16 = 0xAA55;
const LOADED_HIGH: u8 = 1;
const XLF_KERNEL_64: u16 = 1;
const XLF_CAN_BE_LOADED_ABOVE_4G: u16 = 2;
/// The oldest protocol with a command line pointer, which 32-bit entry needs.
const OLDEST: u16 = 0x0202;

const PAGE: u64 = 0x1000;
/// Entry of 64-bit code, from the start of the protected-mode part.
const ENTRY_64: u64 = 0x200;
/// "Undefined" boot loader: no number has been given to us.
const LOADER: u8 = 0xFF;
const SETUP_RNG_SEED: u32 = 9;
/// Rows that boot_params has room for.
const E820_MAX: usize = 128;

/// Offsets in boot_params; from 1F1h on they are the file's own (the setup header).
mod at {
    pub const EXT_MEM_K: usize = 0x002;
    pub const ACPI_RSDP: usize = 0x070;
    pub const ALT_MEM_K: usize = 0x1E0;
    pub const E820_ENTRIES: usize = 0x1E8;
    pub const SETUP_SECTS: usize = 0x1F1;
    pub const SYSSIZE: usize = 0x1F4;
    pub const VID_MODE: usize = 0x1FA;
    pub const BOOT_FLAG: usize = 0x1FE;
    pub const HEADER_LEN: usize = 0x201;
    pub const MAGIC: usize = 0x202;
    pub const VERSION: usize = 0x206;
    pub const TYPE_OF_LOADER: usize = 0x210;
    pub const LOADFLAGS: usize = 0x211;
    pub const CODE32_START: usize = 0x214;
    pub const RAMDISK_IMAGE: usize = 0x218;
    pub const RAMDISK_SIZE: usize = 0x21C;
    pub const CMD_LINE_PTR: usize = 0x228;
    pub const INITRD_ADDR_MAX: usize = 0x22C;
    pub const KERNEL_ALIGNMENT: usize = 0x230;
    pub const XLOADFLAGS: usize = 0x236;
    pub const CMDLINE_SIZE: usize = 0x238;
    pub const SETUP_DATA: usize = 0x250;
    pub const PREF_ADDRESS: usize = 0x258;
    pub const INIT_SIZE: usize = 0x260;
    pub const E820_TABLE: usize = 0x2D0;
}

pub fn is_linux(image: &[u8]) -> bool {
    read::bytes(image, at::MAGIC, 4) == Some(MAGIC)
}

/// What the setup header says, with the defaults of older protocols filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub version: u16,
    /// Where the protected-mode part begins in the file.
    pub payload: usize,
    /// Bytes 1F1h up to here are the setup header.
    pub end: usize,
    pub load_at: u64,
    /// Memory the kernel uses from `load_at` before it looks at the memory map.
    pub memory: u64,
    pub alignment: u64,
    pub initrd_max: u64,
    pub cmdline_max: usize,
    pub entry_64: bool,
}

impl Header {
    pub fn parse(name: &str, image: &[u8]) -> Result<Header, BootError> {
        let bad = |why: String| Err(BootError::image(name, why));
        let short = || BootError::truncated(name, "Linux setup header", 0x268, image.len());
        if !is_linux(image) {
            return bad("not a bzImage (no \"HdrS\" at byte 0x202)".into());
        }
        let half = |at| read::u16(image, at).ok_or_else(short);
        let word = |at| read::u32(image, at).ok_or_else(short);
        let flag = half(at::BOOT_FLAG)?;
        if flag != BOOT_FLAG {
            return bad(format!("bzImage boot flag is {flag:#06x}, {BOOT_FLAG:#06x} expected"));
        }
        let version = half(at::VERSION)?;
        if version < OLDEST {
            return bad(format!(
                "too old Linux boot protocol {}.{:02}, at least {}.{:02} needed",
                version >> 8,
                version & 0xFF,
                OLDEST >> 8,
                OLDEST & 0xFF
            ));
        }
        let flags = read::u8(image, at::LOADFLAGS).ok_or_else(short)?;
        if flags & LOADED_HIGH == 0 {
            return bad("zImage, which is loaded low; a bzImage is needed".into());
        }
        let sectors = match read::u8(image, at::SETUP_SECTS) {
            Some(0) | None => 4,
            Some(n) => usize::from(n),
        };
        let payload = (sectors + 1) * 512;
        let end = at::MAGIC + usize::from(read::u8(image, at::HEADER_LEN).ok_or_else(short)?);
        if image.len() <= payload || image.len() < end {
            let need = payload.max(end) as u64 + 1;
            return Err(BootError::truncated(name, "Linux real-mode part", need, image.len()));
        }
        let len = (image.len() - payload) as u64;
        if version >= 0x0204 {
            let need = payload as u64 + 16 * u64::from(word(at::SYSSIZE)?);
            // Sizes are in paragraphs, and memtest86+ does not fill the last one.
            if need >= image.len() as u64 + 16 {
                return Err(BootError::truncated(name, "Linux kernel", need, image.len()));
            }
        }
        let mut header = Header {
            version,
            payload,
            end,
            load_at: MB,
            memory: len,
            alignment: PAGE,
            initrd_max: 0x37FF_FFFF,
            cmdline_max: 255,
            entry_64: false,
        };
        if version >= 0x0203 {
            header.initrd_max = word(at::INITRD_ADDR_MAX)?.into();
        }
        if version >= 0x0205 {
            header.alignment = u64::from(word(at::KERNEL_ALIGNMENT)?).max(1);
        }
        if version >= 0x0206 {
            header.cmdline_max = word(at::CMDLINE_SIZE)? as usize;
        }
        if version >= 0x020A {
            header.load_at = read::u64(image, at::PREF_ADDRESS).ok_or_else(short)?;
            header.memory = len.max(word(at::INIT_SIZE)?.into());
        }
        if version >= 0x020C {
            let flags = half(at::XLOADFLAGS)?;
            header.entry_64 = flags & XLF_KERNEL_64 != 0;
            if flags & XLF_CAN_BE_LOADED_ABOVE_4G != 0 {
                header.initrd_max = FOUR_GB - 1;
            }
        }
        if header.load_at < MB || !header.load_at.is_multiple_of(header.alignment) {
            return bad(format!(
                "bzImage wants to be at {:#x}, a multiple of {:#x} from 1 MiB on expected",
                header.load_at, header.alignment
            ));
        }
        if header.load_at.saturating_add(header.memory) > FOUR_GB {
            return bad(format!(
                "bzImage wants {:#x} bytes at {:#x}, below 4 GiB expected",
                header.memory, header.load_at
            ));
        }
        Ok(header)
    }
}

pub(crate) fn load(job: &mut Job, image: &[u8]) -> Result<EntryState, BootError> {
    let name = job.request.kernel.clone();
    let header = Header::parse(&name, image)?;
    let kernel =
        job.space.claim(header.load_at, header.memory, &format!("-kernel {name}: bzImage"))?;
    job.ram.write(kernel.start, &image[header.payload..])?;

    let initrd = load_initrd(job, &header, kernel)?;
    let text = load_cmdline(job, &header)?;
    let seed = load_seed(job, &header)?;
    let low = low_memory();
    let params = job.space.lowest(PAGE, PAGE, low, "boot_params")?.start;
    let page = zero_page(job, image, &header, &Pieces { kernel, initrd, text, seed })?;
    job.ram.write(params, &page)?;

    let table = job.space.lowest(entry::GDT_LEN, 16, low, "GDT")?.start;
    let stack = job.space.lowest(PAGE, PAGE, low, "stack")?.end;
    let state = if header.entry_64 && job.layout.long_mode {
        const GIGABYTES: u64 = 4;
        let len = entry::identity_map_len(GIGABYTES);
        let cr3 = job.space.lowest(len, PAGE, low, "page tables")?.start;
        entry::write_identity_map(job.ram, cr3, GIGABYTES)?;
        let gdt = entry::write_gdt(job.ram, table, Mode::Long64)?;
        EntryState::long64(kernel.start + ENTRY_64, gdt, cr3)
    } else {
        let gdt = entry::write_gdt(job.ram, table, Mode::Protected32)?;
        EntryState::protected32(kernel.start as u32, gdt)
    };
    Ok(EntryState { rsi: params, rsp: stack, ..state })
}

/// Where a boot loader's own pieces go: above the first 64 KiB, which systems like to keep.
fn low_memory() -> Range {
    Range::new(0x1_0000, EBDA)
}

/// The initrd goes as high as RAM and the kernel's own limit allow.
fn load_initrd(job: &mut Job, header: &Header, kernel: Range) -> Result<Range, BootError> {
    let Some(path) = &job.request.initrd else {
        return Ok(Range::new(0, 0));
    };
    let bytes = open(job.files, "-initrd", path)?;
    let limit = header.initrd_max.saturating_add(1).min(FOUR_GB);
    let within = Range::new(kernel.end, limit);
    let at = job.space.highest(bytes.len() as u64, PAGE, within, "-initrd").map_err(|_| {
        let why = format!(
            "{} bytes do not fit between the kernel's end {:#x} and {:#x} (guest RAM {}, the kernel's \
             limit {limit:#x})",
            bytes.len(),
            kernel.end,
            limit.min(job.placed.tables.start),
            job.layout.ram_text()
        );
        BootError::initrd(path, why)
    })?;
    job.ram.write(at.start, &bytes)?;
    Ok(at)
}

fn load_cmdline(job: &mut Job, header: &Header) -> Result<u64, BootError> {
    let text = job.request.append.as_bytes();
    if text.len() > header.cmdline_max {
        let why = format!(
            "the command line has {} bytes, this kernel takes {}",
            text.len(),
            header.cmdline_max
        );
        return Err(BootError::Append { why });
    }
    let at = job.space.lowest(text.len() as u64 + 1, 16, low_memory(), "command line")?;
    job.ram.write(at.start, text)?;
    job.ram.zero(at.end - 1, 1)?;
    Ok(at.start)
}

/// A setup_data element with random bytes: next, type, length, data.
fn load_seed(job: &mut Job, header: &Header) -> Result<u64, BootError> {
    let Some(seed) = job.request.seed.as_ref().filter(|_| header.version >= 0x0209) else {
        return Ok(0);
    };
    let at = job.space.lowest(16 + seed.len() as u64, 16, low_memory(), "random seed")?.start;
    job.ram.write(at, &0u64.to_le_bytes())?;
    job.ram.write(at + 8, &SETUP_RNG_SEED.to_le_bytes())?;
    job.ram.write(at + 12, &(seed.len() as u32).to_le_bytes())?;
    job.ram.write(at + 16, seed)?;
    Ok(at)
}

struct Pieces {
    kernel: Range,
    initrd: Range,
    text: u64,
    seed: u64,
}

/// boot_params. All that is not written is zero, as the protocol asks; screen_info too, which
/// says that nobody has set a video mode.
fn zero_page(
    job: &Job,
    image: &[u8],
    header: &Header,
    pieces: &Pieces,
) -> Result<Vec<u8>, BootError> {
    let mut page = VecPage(vec![0; PAGE as usize]);
    let own = at::SETUP_SECTS..header.end.max(at::SETUP_SECTS);
    page.bytes(own.start, image.get(own).unwrap_or(&[]));
    page.bytes(at::TYPE_OF_LOADER, &[LOADER]);
    page.half(at::VID_MODE, 0xFFFF);
    page.word(at::CODE32_START, pieces.kernel.start as u32);
    page.word(at::RAMDISK_IMAGE, pieces.initrd.start as u32);
    page.word(at::RAMDISK_SIZE, pieces.initrd.len() as u32);
    page.word(at::CMD_LINE_PTR, pieces.text as u32);
    if header.version >= 0x0209 {
        page.bytes(at::SETUP_DATA, &pieces.seed.to_le_bytes());
    }
    if header.version >= 0x020E {
        page.bytes(at::ACPI_RSDP, &job.placed.rsdp.to_le_bytes());
    }
    let above = (job.placed.tables.start - MB) >> 10;
    page.half(at::EXT_MEM_K, above.min(0xFC00) as u16);
    page.word(at::ALT_MEM_K, above as u32);
    let map = &job.placed.memory_map;
    if map.len() > E820_MAX {
        let why = format!("{} memory ranges, Linux takes {E820_MAX}", map.len());
        return Err(BootError::Layout(why));
    }
    page.bytes(at::E820_ENTRIES, &[map.len() as u8]);
    for (i, row) in map.iter().enumerate() {
        let to = at::E820_TABLE + 20 * i;
        page.bytes(to, &row.range.start.to_le_bytes());
        page.bytes(to + 8, &row.range.len().to_le_bytes());
        page.word(to + 16, row.kind as u32);
    }
    Ok(page.0)
}

struct VecPage(Vec<u8>);

impl VecPage {
    fn bytes(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn half(&mut self, at: usize, value: u16) {
        self.bytes(at, &value.to_le_bytes());
    }

    fn word(&mut self, at: usize, value: u32) {
        self.bytes(at, &value.to_le_bytes());
    }
}
