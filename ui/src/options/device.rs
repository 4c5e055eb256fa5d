//! `-device` and `-global`: the parts that can be added, and what can be said of each.

use super::finish::{Front, Gathered, WantedDevice};
use super::words::Words;
use super::{Fault, Said, Stop};
use ::machine::config::{Global, Kind, PciAddr};

type Done = Result<(), Stop>;

/// A device that can be asked for.
struct Row {
    name: &'static str,
    bus: &'static str,
    about: &'static str,
    /// What `-device name,help` shows.
    properties: &'static [&'static str],
    make: fn(&mut Words) -> Result<Kind, Fault>,
}

const DEVICES: &[Row] = &[
    Row {
        name: "isa-debug-exit",
        bus: "ISA",
        about: "a write of n ends the emulator with status n * 2 + 1",
        properties: &["iobase=<uint32> (default: 0x501)", "iosize=<uint32> (default: 2)"],
        make: |w| {
            Ok(Kind::IsaDebugExit {
                iobase: w.number("iobase", 0..=0xFFFF)?.unwrap_or(0x501) as u16,
                iosize: w.number("iosize", 1..=4)?.unwrap_or(2) as u8,
            })
        },
    },
    Row {
        name: "isa-debugcon",
        bus: "ISA",
        about: "each byte written goes to a character device",
        properties: &[
            "chardev=<str>",
            "iobase=<uint32> (default: 0xe9)",
            "readback=<uint32> (default: 0xe9)",
        ],
        make: |w| {
            Ok(Kind::IsaDebugcon {
                iobase: w.number("iobase", 0..=0xFFFF)?.unwrap_or(0xE9) as u16,
                readback: w.number("readback", 0..=0xFF)?.unwrap_or(0xE9) as u8,
                backend: None,
            })
        },
    },
    Row {
        name: "isa-serial",
        bus: "ISA",
        about: "serial port, 16550A",
        properties: &[
            "chardev=<str>",
            "index=<uint32>",
            "iobase=<uint32>",
            "irq=<uint32>",
            "paced=<bool> (default: off; on: characters take their time, by the baud rate)",
        ],
        make: |w| {
            Ok(Kind::IsaSerial {
                index: w.number("index", 0..=3)?.map(|n| n as u8),
                iobase: w.number("iobase", 0..=0xFFF8)?.map(|n| n as u16),
                irq: w.number("irq", 0..=15)?.map(|n| n as u8),
                paced: w.on_off("paced")?.unwrap_or(false),
                backend: None,
            })
        },
    },
    Row {
        name: "pc-testdev",
        bus: "ISA",
        about: "test device of kvm-unit-tests",
        properties: &[],
        make: |_| Ok(Kind::PcTestdev),
    },
    Row {
        name: "pci-testdev",
        bus: "PCI",
        about: "PCI test device",
        properties: &["addr=<slot[.function]>", "membar=<size> (default: 0)"],
        make: |w| {
            let membar = w.size("membar", 1)?.unwrap_or(0);
            if membar != 0 && !(membar.is_power_of_two() && membar <= 1 << 40) {
                return Err(w.fault(format!("membar={membar}: expected a power of two up to 1T")));
            }
            Ok(Kind::PciTestdev { addr: pci_addr(w)?, membar })
        },
    },
    Row {
        name: "pvpanic",
        bus: "ISA",
        about: "lets the guest say that it panicked",
        properties: &["ioport=<uint16> (default: 0x505)", "events=<uint8> (default: 7)"],
        make: |w| {
            Ok(Kind::Pvpanic {
                ioport: w.number("ioport", 0..=0xFFFF)?.unwrap_or(0x505) as u16,
                events: w.number("events", 0..=7)?.unwrap_or(7) as u8,
            })
        },
    },
];

/// `addr=3` or `addr=3.1`, in hexadecimal.
fn pci_addr(w: &mut Words) -> Result<Option<PciAddr>, Fault> {
    let Some(text) = w.text("addr")? else { return Ok(None) };
    let (slot, function) = text.split_once('.').unwrap_or((&text, "0"));
    let slot = slot.strip_prefix("0x").unwrap_or(slot);
    match (u8::from_str_radix(slot, 16), u8::from_str_radix(function, 16)) {
        (Ok(slot @ 0..=31), Ok(function @ 0..=7)) => Ok(Some(PciAddr { slot, function })),
        _ => Err(w.fault(format!("addr={text}: expected a slot 0 to 1f and a function 0 to 7"))),
    }
}

/// `-device`, kept until all of the line is known, since a later `-global` holds for it, too.
pub fn device(g: &mut Gathered, said: &mut Said) -> Done {
    if said.is_help() {
        return Err(Stop::Text(list()));
    }
    let words = Words::new(said.option, said.value, Some("driver"))?;
    if words.asks_help() {
        return Err(Stop::Text(properties(words)?));
    }
    g.devices.push(words);
    Ok(())
}

fn list() -> String {
    let rows = DEVICES.iter();
    rows.map(|d| format!("name \"{}\", bus {}, desc \"{}\"\n", d.name, d.bus, d.about)).collect()
}

fn properties(mut words: Words) -> Result<String, Fault> {
    let row = row(&mut words)?;
    let lines: String = row.properties.iter().map(|p| format!("  {p}\n")).collect();
    Ok(format!("{} options:\n{lines}", row.name))
}

fn row(words: &mut Words) -> Result<&'static Row, Fault> {
    let name = words.needed("driver")?;
    DEVICES.iter().find(|d| d.name == name).ok_or_else(|| {
        words.fault(format!("no device '{name}'; -device help lists those that there are"))
    })
}

/// Makes one device of its words and of the `-global` options that are about it.
pub fn make(mut words: Words, globals: &[Global]) -> Result<WantedDevice, Fault> {
    let row = row(&mut words)?;
    for global in globals.iter().filter(|g| g.driver == row.name).rev() {
        words.before(&global.property, &global.value);
    }
    let id = words.text("id")?;
    if let Some(id) = &id {
        well_formed(id).map_err(|text| words.fault(text))?;
    }
    let kind = (row.make)(&mut words)?;
    let takes_chardev = row.properties.iter().any(|p| p.starts_with("chardev="));
    let chardev = if takes_chardev { words.text("chardev")? } else { None };
    words.none_left()?;
    Ok(WantedDevice { id, kind, front: chardev.map(Front::Named) })
}

/// Whether `driver` is one of ours, whose `-global` lines are used up here.
pub fn knows(driver: &str) -> bool {
    DEVICES.iter().any(|d| d.name == driver)
}

/// `-global driver.property=value`, or with the three spelled out.
pub fn global(g: &mut Gathered, said: &mut Said) -> Done {
    let short = said.value.split_once('=').and_then(|(left, value)| {
        let (driver, property) = left.split_once('.')?;
        Some((driver.to_string(), property.to_string(), value.to_string()))
    });
    let (driver, property, value) = match short {
        Some(all) => all,
        None => {
            let mut words = Words::new(said.option, said.value, None)?;
            let all = (words.needed("driver")?, words.needed("property")?, words.needed("value")?);
            words.none_left()?;
            all
        }
    };
    if driver.is_empty() || property.is_empty() {
        let text = format!("'{}': expected driver.property=value", said.value);
        return Err(said.fault(text).into());
    }
    g.config.globals.push(Global { driver, property, value });
    Ok(())
}

/// Identifiers begin with a letter and go on with letters, digits, `-`, `.` and `_`.
pub fn well_formed(id: &str) -> Result<(), String> {
    let mut bytes = id.bytes();
    let good = bytes.next().is_some_and(|b| b.is_ascii_alphabetic())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
    if good {
        return Ok(());
    }
    Err(format!("id={id}: expected a letter and then letters, digits, '-', '.' or '_'"))
}
