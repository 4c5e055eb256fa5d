//! Which drive SeaBIOS boots from: `-boot order=`, `once=` and `bootindex=`.
//!
//! Each drive holds a program that says the drive's letter on the serial line and resets the machine.

use crate::seconds;
use anyhow::{Context, Result, ensure};
use boot_tests::{Machine, Test, place};
use std::path::Path;

/// A machine, and the letters of the drives that it boots from, one boot after the other.
struct Row {
    name: &'static str,
    board: &'static str,
    options: &'static str,
    boots: &'static str,
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row { name: "a hard disk comes before a CD",   board: "pc",  options: "-hda A -cdrom C", boots: "AA" },
    Row { name: "order=dc",                        board: "pc",  options: "-hda A -cdrom C -boot order=dc", boots: "CC" },
    Row { name: "once=d is for one boot",          board: "pc",  options: "-hda A -cdrom C -boot order=c,once=d", boots: "CAA" },
    Row { name: "once=d is for one boot",          board: "q35", options: "-hda A -cdrom C -boot once=d", boots: "CAA" },
    Row { name: "bootindex among two virtio disks", board: "q35", boots: "BB",
          options: "-drive if=none,id=a,format=raw,file=A -drive if=none,id=b,format=raw,file=B \
                    -device virtio-blk-pci,drive=a,bootindex=2 -device virtio-blk-pci,drive=b,bootindex=1" },
    Row { name: "bootindex of an IDE disk before virtio", board: "pc", boots: "BB",
          options: "-drive if=none,id=a,format=raw,file=A -drive if=none,id=b,format=raw,file=B \
                    -device virtio-blk-pci,drive=a,bootindex=2 -device ide-hd,bus=ide.1,unit=1,drive=b,bootindex=1" },
    Row { name: "bootindex of a CD before a disk", board: "q35", boots: "CC",
          options: "-drive if=none,id=a,format=raw,file=A -drive if=none,id=c,format=raw,file=C,media=cdrom \
                    -device ide-hd,bus=ide.0,drive=a,bootindex=2 -device ide-cd,bus=ide.3,drive=c,bootindex=1" },
    Row { name: "bootindex of a disk behind a root port", board: "q35", boots: "BB",
          options: "-drive if=none,id=a,format=raw,file=A -drive if=none,id=b,format=raw,file=B -device pcie-root-port,id=p,chassis=1 \
                    -device virtio-blk-pci,drive=a,bootindex=2 -device virtio-blk-pci,bus=p,drive=b,bootindex=1" },
    Row { name: "bootindex of a disk behind a bridge", board: "pc", boots: "BB",
          options: "-drive if=none,id=a,format=raw,file=A -drive if=none,id=b,format=raw,file=B -device pci-bridge,id=p,chassis_nr=1 \
                    -device virtio-blk-pci,drive=a,bootindex=2 -device virtio-blk-pci,bus=p,addr=3,drive=b,bootindex=1" },
];

pub fn tests() -> Vec<Test> {
    let test = |row: &'static Row| {
        Test::new(format!("SeaBIOS on {}: {}", row.board, row.name), move || boots(row))
    };
    ROWS.iter().map(test).collect()
}

/// A program that says "drive X" and resets the machine by the keyboard controller.
fn program(letter: char) -> Vec<u8> {
    const TEXT: u16 = 0x7C00 + 0x20;
    let [low, high] = TEXT.to_le_bytes();
    #[rustfmt::skip]
    let mut bytes = vec![
        0x31, 0xC0,             // xor ax, ax
        0x8E, 0xD8,             // mov ds, ax
        0xBA, 0xF8, 0x03,       // mov dx, 0x3F8
        0xBE, low, high,        // mov si, TEXT
        0xAC,                   // lodsb
        0x84, 0xC0,             // test al, al
        0x74, 0x03,             // jz over the next two
        0xEE,                   // out dx, al
        0xEB, 0xF8,             // jmp to lodsb
        0xB0, 0xFE, 0xE6, 0x64, // mov al, 0xFE; out 0x64, al
        0xF4, 0xEB, 0xFD,       // hlt; jmp to hlt
    ];
    bytes.resize(0x20, 0);
    bytes.extend(format!("\ndrive {letter}.\0").as_bytes());
    bytes
}

/// A disk with the program in its first sector.
fn disk(letter: char) -> Vec<u8> {
    let mut bytes = program(letter);
    bytes.resize(1 << 20, 0);
    (bytes[510], bytes[511]) = (0x55, 0xAA);
    bytes
}

/// A CD that boots without emulation.  El Torito 1.0, 2.
fn cd(letter: char) -> Vec<u8> {
    const SECTOR: usize = 2048;
    let mut bytes = vec![0; 64 * SECTOR];
    let mut put = |sector: usize, at: usize, what: &[u8]| {
        bytes[sector * SECTOR + at..][..what.len()].copy_from_slice(what);
    };
    put(16, 0, b"\x01CD001\x01");
    put(17, 0, b"\0CD001\x01EL TORITO SPECIFICATION");
    put(17, 0x47, &19u32.to_le_bytes());
    put(18, 0, b"\xFFCD001\x01");
    // The catalogue: a header whose words have the sum 0, and an entry: bootable, four sectors of 512 bytes from 20 on.
    put(19, 0, &[1]);
    put(19, 0x1C, &[0xAA, 0x55, 0x55, 0xAA]);
    put(19, 0x20, &[0x88, 0, 0, 0, 0, 0, 4, 0, 20]);
    put(20, 0, &program(letter));
    bytes
}

fn boots(row: &Row) -> Result<()> {
    let dir = place::scratch("order")?;
    let images = [("A", disk('A')), ("B", disk('B')), ("C", cd('C'))];
    for (name, bytes) in &images {
        std::fs::write(dir.join(name), bytes)?;
    }
    let result = boots_from(row, &dir);
    std::fs::remove_dir_all(dir)?;
    result
}

fn boots_from(row: &Row, dir: &Path) -> Result<()> {
    let full = |word: &str| {
        let path = |letter: &str| dir.join(letter).display().to_string();
        match word {
            "A" | "B" | "C" => path(word),
            _ => ["A", "B", "C"].iter().fold(word.to_owned(), |w, letter| {
                w.replace(&format!("file={letter}"), &format!("file={}", path(letter)))
            }),
        }
    };
    let options: Vec<_> = row.options.split_whitespace().map(full).collect();
    let mut running = Machine::new(row.board)?.args(options).boot()?;
    for (n, letter) in row.boots.chars().enumerate() {
        running.wait_for("\ndrive ", seconds(30)).with_context(|| format!("boot {}", n + 1))?;
        let said = running.wait_for(".", seconds(5))?;
        ensure!(said == letter.to_string(), "boot {} was from drive {said}, not {letter}", n + 1);
    }
    Ok(())
}
