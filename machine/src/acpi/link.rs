//! Interrupt link devices: how PCI's four pins reach the interrupt controllers.
//!
//! `LNKx` is programmed through the ISA bridge's registers and ends at an IRQ. On q35 `GSIx` is
//! the same link's fixed wire to I/O APIC pin 16 + x, for systems that use the APIC.

use acpi_tables::aml::{
    And, Arg, CreateDWordField, Device, EISAName, If, LessThan, Method, MethodCall, Name, Or, Path,
    ResourceTemplate, Return, Store, ZERO,
};

use super::resource::{Levels, Raw, bytes};
use crate::boot::Board;

/// IRQs that a link may be given.
const CHOICES: &[u32] = &[5, 10, 11];
/// The power-management function's pin on pc is wired to the SCI.
const SCI: &[u32] = &[9];
/// Byte of the number in a resource template that begins with one [`Levels`].
const NUMBER_AT: u8 = 5;
const OFF: u8 = 0x80;
const PRESENT: u8 = 0x09;
const PRESENT_ENABLED: u8 = 0x0B;

pub fn all(board: Board) -> Vec<u8> {
    let mut out = current();
    let letters: &[u8] = if board == Board::Q35 { b"ABCDEFGH" } else { b"ABCD" };
    for (uid, letter) in letters.iter().enumerate() {
        out.extend(programmable(*letter as char, uid as u8));
    }
    match board {
        Board::Q35 => {
            for (i, letter) in letters.iter().enumerate() {
                let name = format!("GSI{}", *letter as char);
                out.extend(fixed(&name, 0x10 + i as u8, &[16 + i as u32]));
            }
        }
        Board::Pc => out.extend(fixed("LNKS", 4, SCI)),
    }
    out
}

/// IQCR(register): the resource template of a link's current IRQ, 0 when it is off.
fn current() -> Vec<u8> {
    bytes(&Method::new(
        "IQCR".into(),
        1,
        true,
        vec![
            &Name::new("PRR0".into(), &ResourceTemplate::new(vec![&Levels(&[0])])),
            &CreateDWordField::new(&Path::new("PRRI"), &Path::new("PRR0"), &NUMBER_AT),
            &If::new(&LessThan::new(&Arg(0), &OFF), vec![&Store::new(&Path::new("PRRI"), &Arg(0))]),
            &Return::new(&Path::new("PRR0")),
        ],
    ))
}

fn programmable(letter: char, uid: u8) -> Vec<u8> {
    let register = || Path::new(&format!("\\_SB_.PCI0.ISA_.PRQ{letter}"));
    bytes(&Device::new(
        format!("LNK{letter}").as_str().into(),
        vec![
            &Name::new("_HID".into(), &EISAName::new("PNP0C0F")),
            &Name::new("_UID".into(), &uid),
            &Name::new("_PRS".into(), &ResourceTemplate::new(vec![&Levels(CHOICES)])),
            &Method::new(
                "_STA".into(),
                0,
                false,
                vec![
                    &If::new(&And::new(&ZERO, &register(), &OFF), vec![&Return::new(&PRESENT)]),
                    &Return::new(&PRESENT_ENABLED),
                ],
            ),
            &Method::new("_DIS".into(), 0, false, vec![&Or::new(&register(), &register(), &OFF)]),
            &Method::new(
                "_CRS".into(),
                0,
                false,
                vec![&Return::new(&MethodCall::new("IQCR".into(), vec![&register()]))],
            ),
            &Method::new(
                "_SRS".into(),
                1,
                false,
                vec![
                    &CreateDWordField::new(&Path::new("PRRI"), &Arg(0), &NUMBER_AT),
                    &Store::new(&register(), &Path::new("PRRI")),
                ],
            ),
        ],
    ))
}

/// A link that has one place to go and cannot be changed.
fn fixed(name: &str, uid: u8, number: &[u32]) -> Vec<u8> {
    bytes(&Device::new(
        name.into(),
        vec![
            &Name::new("_HID".into(), &EISAName::new("PNP0C0F")),
            &Name::new("_UID".into(), &uid),
            &Name::new("_STA".into(), &PRESENT_ENABLED),
            &Name::new("_PRS".into(), &ResourceTemplate::new(vec![&Levels(number)])),
            &Name::new("_CRS".into(), &ResourceTemplate::new(vec![&Levels(number)])),
            &Method::new("_DIS".into(), 0, false, vec![&Raw(Vec::new())]),
            &Method::new("_SRS".into(), 1, false, vec![&Raw(Vec::new())]),
        ],
    ))
}
