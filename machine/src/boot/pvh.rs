//! ELF kernels with a PVH entry note: 32-bit entry with the start info's address in EBX.
//! Xen's public/arch-x86/hvm/start_info.h and docs/misc/pvh.

use super::elf::{EM_386, EM_X86_64, Elf};
use super::layout::FOUR_GB;
use super::{BootError, EntryState, Job, Mode, Range, entry, open, read};

const XEN_ELFNOTE_PHYS32_ENTRY: u32 = 18;
const MAGIC: u32 = 0x336E_C578;
const START_INFO_LEN: u64 = 56;
const MODULE_LEN: u64 = 32;
const ROW_LEN: u64 = 24;

/// The PVH entry of an ELF image, if it has one.
pub fn entry_of(name: &str, elf: &Elf, image: &[u8]) -> Result<Option<u32>, BootError> {
    let Some(desc) = elf.note(image, b"Xen\0", XEN_ELFNOTE_PHYS32_ENTRY) else {
        return Ok(None);
    };
    let entry = match desc.len() {
        4 => read::u32(desc, 0).map(u64::from),
        8 => read::u64(desc, 0),
        _ => None,
    };
    let entry = entry.ok_or_else(|| {
        let why = format!("PVH entry note of {} bytes, 4 or 8 expected", desc.len());
        BootError::image(name, why)
    })?;
    match u32::try_from(entry) {
        Ok(entry) => Ok(Some(entry)),
        Err(_) => {
            Err(BootError::image(name, format!("PVH entry {entry:#x} is not a 32-bit address")))
        }
    }
}

pub(crate) fn load(job: &mut Job, image: &[u8]) -> Result<EntryState, BootError> {
    let name = job.request.kernel.clone();
    let elf = Elf::parse(&name, image)?;
    if elf.machine != EM_386 && elf.machine != EM_X86_64 {
        let why = format!("ELF image for machine {}, x86 expected", elf.machine);
        return Err(BootError::image(&name, why));
    }
    let entry = entry_of(&name, &elf, image)?.ok_or_else(|| BootError::no_pvh_note(&name))?;
    elf.load(job, image)?;
    let low = Range::new(0x1000, super::layout::EBDA);
    let anywhere = Range::new(0x1000, FOUR_GB);

    let module = match &job.request.initrd {
        None => None,
        Some(path) => {
            let bytes = open(job.files, "-initrd", path)?;
            let top = Range::new(1 << 20, FOUR_GB);
            let at = job
                .space
                .highest(bytes.len() as u64, 0x1000, top, "-initrd")
                .map_err(|_| too_big(path, bytes.len(), &job.layout.ram_text()))?;
            job.ram.write(at.start, &bytes)?;
            Some(at)
        }
    };

    let cmdline = job.request.append.as_bytes();
    let text_len = cmdline.len() as u64 + 1;
    let text = job
        .space
        .lowest(text_len, 16, low, "command line")
        .or_else(|_| job.space.lowest(text_len, 16, anywhere, "command line"))?;
    job.ram.write(text.start, cmdline)?;
    job.ram.zero(text.end - 1, 1)?;

    let rows = &job.placed.memory_map;
    let map_at = START_INFO_LEN + MODULE_LEN;
    let len = map_at + ROW_LEN * rows.len() as u64;
    let info = job
        .space
        .lowest(len, 16, low, "PVH start info")
        .or_else(|_| job.space.lowest(len, 16, anywhere, "PVH start info"))?;
    let mut out = Vec::with_capacity(len as usize);
    out.extend(MAGIC.to_le_bytes());
    out.extend(1u32.to_le_bytes()); // version
    out.extend(0u32.to_le_bytes()); // flags
    out.extend(u32::from(module.is_some()).to_le_bytes());
    let modules_at = if module.is_some() { info.start + START_INFO_LEN } else { 0 };
    for value in [modules_at, text.start, job.placed.rsdp, info.start + map_at] {
        out.extend(value.to_le_bytes());
    }
    out.extend((rows.len() as u32).to_le_bytes());
    out.extend(0u32.to_le_bytes());
    let module = module.unwrap_or(Range::new(0, 0));
    for value in [module.start, module.len(), 0, 0] {
        out.extend(value.to_le_bytes());
    }
    for row in rows {
        out.extend(row.range.start.to_le_bytes());
        out.extend(row.range.len().to_le_bytes());
        out.extend((row.kind as u32).to_le_bytes());
        out.extend(0u32.to_le_bytes());
    }
    job.ram.write(info.start, &out)?;

    let table = job.space.lowest(entry::GDT_LEN, 8, anywhere, "GDT")?;
    let gdt = entry::write_gdt(job.ram, table.start, Mode::Protected32)?;
    Ok(EntryState { rbx: info.start, ..EntryState::protected32(entry, gdt) })
}

pub(crate) fn too_big(path: &str, len: usize, ram: &str) -> BootError {
    BootError::initrd(path, format!("{len} bytes do not fit in guest RAM ({ram})"))
}
