//! What 32-bit and 16-bit code needs of the kernel: descriptors of our own in the local descriptor table.

use crate::mode::{LOCAL, Part};

/// What `modify_ldt` takes.
#[repr(C)]
struct UserDesc {
    entry: u32,
    base: u32,
    limit: u32,
    /// Bit 0: 32-bit. Bits 1 and 2: the upper bits of the type. Bit 3: not writable, not readable. Bit 4: the limit counts
    /// pages. Bit 5: not present.
    flags: u32,
}

/// Puts `LOCAL` into this process's table. The kernel may have been built without it.
pub(super) fn install() -> Result<(), String> {
    LOCAL.iter().enumerate().try_for_each(|(n, p)| put(n as u32, p))
}

fn put(entry: u32, p: &Part) -> Result<(), String> {
    const WRITE: libc::c_long = 0x11;
    let pages = p.limit > 0xF_FFFF;
    // The kernel's words: two bits of the type, and what the segment is not.
    let (contents, sealed) = (p.kind >> 2 & 3, p.kind & 2 == 0);
    let flags = u32::from(p.big)
        | contents << 1
        | u32::from(sealed) << 3
        | u32::from(pages) << 4
        | u32::from(!p.present) << 5;
    let limit = if pages { p.limit >> 12 } else { p.limit };
    let d = UserDesc { entry, base: p.base as u32, limit, flags };
    // SAFETY: the kernel reads the structure and keeps nothing of it; a descriptor that no selector names changes nothing.
    let done = unsafe { libc::syscall(libc::SYS_modify_ldt, WRITE, &d, size_of::<UserDesc>()) };
    // The call returns an `int`, whose upper half is not always extended.
    match done as i32 {
        0 => Ok(()),
        _ => Err(format!("modify_ldt: {}", std::io::Error::last_os_error())),
    }
}
