//! Firmware: its image in memory, and what it is told of the machine.

mod find;
mod items;
mod live;

pub use find::{find, places, read};
pub(crate) use items::{boot_order, items};
pub(crate) use live::make_item;

use crate::MachineError;
use crate::board::Builder;
use crate::boot::layout::{FOUR_GB, KB, MB};
use crate::config::Boot;
use memory::Target;

/// The image that `-bios` names without being told.
pub const DEFAULT: &str = "bios-256k.bin";
/// The longest image: what is between it and the interrupt controllers belongs to PCI.
const LONGEST: u64 = 16 * MB;
/// How much of its end is shown below 1 MiB, too.
const ISA: u64 = 128 * KB;

/// Puts the image below 4 GiB, and its end below 1 MiB. Gives where the latter's 128 KiB are in the board's memory.
pub(crate) fn map(b: &mut Builder, boot: &Boot) -> Result<Option<u64>, MachineError> {
    let Some(name) = &boot.firmware else { return Ok(None) };
    let image = read("-bios", name, &boot.firmware_dirs, LONGEST)?;
    if image.is_empty() || image.len() as u64 % (64 * KB) != 0 {
        let (name, len) = (name.display(), image.len());
        let why = format!("-bios: '{name}' has {len} bytes: expected a multiple of 64 KiB");
        return Err(MachineError::Option(why));
    }
    Ok(Some(show(b, image)))
}

/// The same with the bytes.
pub(crate) fn show(b: &mut Builder, image: Vec<u8>) -> u64 {
    let len = image.len() as u64;
    let end = isa_part(&image);
    let at = b.image(image);
    let rom = |offset| Target::Rom { offset, writes: None };
    b.map(FOUR_GB - len, len, rom(at), "firmware");
    show_isa(b, end)
}

/// The last 128 KiB, with ones in front if there are fewer.
fn isa_part(image: &[u8]) -> Vec<u8> {
    let mut end = vec![0xFF; ISA as usize];
    let n = image.len().min(end.len());
    let from = end.len() - n;
    end[from..].copy_from_slice(&image[image.len() - n..]);
    end
}

fn show_isa(b: &mut Builder, end: Vec<u8>) -> u64 {
    let at = b.image(end);
    b.map(MB - ISA, ISA, Target::Rom { offset: at, writes: None }, "firmware below 1 MiB");
    at
}
