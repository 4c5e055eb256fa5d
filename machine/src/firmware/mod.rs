//! Firmware: its image in memory, and what it is told of the machine.

mod find;
mod items;
mod live;

pub use find::{find, places, read};
pub(crate) use items::{boot_order, items};
pub(crate) use live::make_item;

use crate::MachineError;
use crate::board::{Builder, End};
use crate::boot::layout::{FOUR_GB, KB, MB};
use crate::config::Config;
use crate::machine::Machine;
use hw::flash::{self, Cfi, SECTOR};
use memory::Target;

/// The image that `-bios` names without being told.
pub const DEFAULT: &str = "bios-256k.bin";
/// The longest image: what is between it and the interrupt controllers belongs to PCI.
const LONGEST: u64 = 16 * MB;
/// How much of its end is shown below 1 MiB, too.
const ISA: u64 = 128 * KB;

/// What flash chips may have in all: OVMF's largest are half of it.
const FLASH: u64 = 8 * MB;

/// Puts the image below 4 GiB, and its end below 1 MiB. Gives where the latter's 128 KiB are in the board's memory.
pub(crate) fn map(b: &mut Builder, config: &Config) -> Result<Option<u64>, MachineError> {
    if !config.flash_contents.is_empty() {
        return chips(b, config).map(Some);
    }
    let boot = &config.boot;
    let Some(name) = &boot.firmware else { return Ok(None) };
    let image = read("-bios", name, &boot.firmware_dirs, LONGEST)?;
    if image.is_empty() || image.len() as u64 % (64 * KB) != 0 {
        let (name, len) = (name.display(), image.len());
        let why = format!("-bios: '{name}' has {len} bytes: expected a multiple of 64 KiB");
        return Err(MachineError::Option(why));
    }
    Ok(Some(show(b, image)))
}

/// Puts flash chips below 4 GiB, the first at the top.
fn chips(b: &mut Builder, config: &Config) -> Result<u64, MachineError> {
    let mut base = FOUR_GB;
    let mut end = Vec::new();
    for (n, chip) in config.flash_contents.iter().enumerate() {
        let len = chip.bytes.len() as u64;
        let why = if len == 0 || len % SECTOR != 0 {
            format!("{len} bytes: expected a multiple of {SECTOR}")
        } else if FOUR_GB - base + len > FLASH {
            format!("{len} bytes: the chips may have {} MiB in all", FLASH / MB)
        } else {
            base -= len;
            if n == 0 {
                end = isa_part(&chip.bytes);
            }
            let backing = b.image(chip.bytes.clone());
            let read_only = chip.read_only;
            let chip = Cfi::new(flash::Config { base, len, backing, read_only });
            let device = b.part("cfi.pflash01", chip, &[]);
            if let Some(drive) = config.flash.get(n) {
                b.drives.push((*drive, End { device, path: Vec::new() }, 0));
            }
            b.flash.push((device, n));
            continue;
        };
        return Err(MachineError::Option(format!("flash chip {n}: {why}")));
    }
    Ok(show_isa(b, end))
}

/// Gives the drives of flash chips what is on its way to them, before the end.
pub fn keep_flash(m: &mut Machine) {
    for (device, n) in m.board.flash.clone() {
        let Some(chip) = m.parts.get::<Cfi>(device) else { continue };
        let drive = m.config.flash.get(n).and_then(|d| m.world.drives.get(*d));
        let Some(disk) = drive.and_then(|d| d.disk()) else { continue };
        for (at, place, len) in chip.unsaved() {
            let mut bytes = vec![0; len as usize];
            if m.world.ram.read(place, &mut bytes).is_some()
                && let Err(why) = disk.image.write(at, &bytes)
            {
                let item = crate::config::Item::GuestErrors;
                m.world.log.line(item, format_args!("flash at {at:#x} was not kept: {why}"));
            }
        }
    }
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
