//! Direct boot: everything that is in guest memory before the first instruction runs.
//!
//! [`load`] takes a description of the machine ([`Layout`]), a way to write guest memory ([`GuestRam`]) and what the
//! user asked for ([`Request`]); it writes the kernel, its modules, the ACPI and SMBIOS tables and
//! what the boot protocol wants, and answers how processor 0 has to be set ([`EntryState`]).
//! Nothing here knows a processor or a device, and nothing but the files comes from the host.
//!
//! No firmware runs, so the machine has to come out of reset as firmware would have left it:
//! the F segment (where the tables go) readable as RAM; on q35 PCIEXBAR at [`Layout::ecam`] and
//! the LPC bridge's PMBASE (with ACPI_CNTL) at [`Layout::pm_base`], on pc the same for function
//! 1.3; A20 open; LINT0 of processor 0 taking ExtINT; [`EntryState::mtrr_def_type`] on every
//! processor. Interrupt routing and BARs are left to the system, which programs them by the DSDT.
//!
//! The kinds of image, in the order they are tried (QEMU's): Linux bzImage ([`linux`]),
//! Multiboot 1 ([`multiboot`]), ELF with a PVH note ([`pvh`]).

pub mod elf;
pub mod entry;
pub mod error;
pub mod firmware;
pub mod layout;
pub mod linux;
pub mod multiboot;
pub mod pvh;
pub mod ram;
pub mod space;

pub(crate) mod read;

#[cfg(test)]
mod test;

pub use entry::{EntryState, Mode, Segment, TableReg};
pub use error::BootError;
pub use firmware::Placed;
pub use layout::{Board, E820Kind, E820Row, HotBus, Layout, Range, Topology};
pub use ram::{GuestRam, VecRam};

use space::Space;
use std::io::Read;

/// What the user asked for with `-kernel`, `-initrd` and `-append`.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub kernel: String,
    /// For Linux and PVH one file; for Multiboot "file args,file args" with ",," for a comma.
    pub initrd: Option<String>,
    pub append: String,
    /// Random bytes handed to Linux (SETUP_RNG_SEED). Recorded input, or absent: never the host's.
    pub seed: Option<Vec<u8>>,
}

/// Gives the bytes of a file named on the command line.
pub type Files<'a> = dyn Fn(&str) -> std::io::Result<Vec<u8>> + 'a;

/// The kinds of kernel image that `-kernel` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Linux,
    Multiboot,
    Pvh,
}

/// Looks at an image and says what it is. `name` is for the message only.
pub fn detect(name: &str, image: &[u8]) -> Result<Kind, BootError> {
    if linux::is_linux(image) {
        return Ok(Kind::Linux);
    }
    if multiboot::find_header(image).is_some() {
        return Ok(Kind::Multiboot);
    }
    if elf::is_elf(image) {
        let elf = elf::Elf::parse(name, image)?;
        return match pvh::entry_of(name, &elf, image)? {
            Some(_) => Ok(Kind::Pvh),
            None => Err(BootError::no_pvh_note(name)),
        };
    }
    Err(BootError::unknown_image(name, image.len()))
}

/// Reads the files, loads the kernel and all that goes with it, and tells how to start.
pub fn load(
    ram: &mut dyn GuestRam,
    layout: &Layout,
    request: &Request,
    files: &Files,
) -> Result<EntryState, BootError> {
    layout.check()?;
    let kernel = open(files, "-kernel", &request.kernel)?;
    let kind = detect(&request.kernel, &kernel)?;
    let placed = firmware::place(ram, layout)?;
    let mut space = Space::new(layout, &placed);
    let mut job = Job { ram, layout, request, files, space: &mut space, placed: &placed };
    match kind {
        Kind::Linux => linux::load(&mut job, &kernel),
        Kind::Multiboot => multiboot::load(&mut job, &kernel),
        Kind::Pvh => pvh::load(&mut job, &kernel),
    }
}

/// [`load`] with the host's file system.
pub fn load_from_disk(
    ram: &mut dyn GuestRam,
    layout: &Layout,
    request: &Request,
) -> Result<EntryState, BootError> {
    // What is longer than all of RAM cannot be loaded; a device may go on for ever.
    let most = (layout.ram_low + layout.ram_high).max(1 << 30);
    load(ram, layout, request, &|path| {
        let mut content = Vec::new();
        std::fs::File::open(path)?.take(most + 1).read_to_end(&mut content)?;
        if content.len() as u64 > most {
            return Err(std::io::Error::other(format!("longer than {} MiB", most >> 20)));
        }
        Ok(content)
    })
}

/// What every loader works with.
pub(crate) struct Job<'a> {
    pub ram: &'a mut dyn GuestRam,
    pub layout: &'a Layout,
    pub request: &'a Request,
    pub files: &'a Files<'a>,
    pub space: &'a mut Space,
    pub placed: &'a Placed,
}

pub(crate) fn open(files: &Files, option: &str, path: &str) -> Result<Vec<u8>, BootError> {
    files(path).map_err(|why| BootError::file(option, path, &why))
}
