//! `-device` and `-global`: the parts that can be added, and what can be said of each.

use super::finish::{Front, Gathered, WantedDevice};
use super::number;
use super::words::{Words, not_a_size};
use super::{Fault, Said, Stop};
use ::machine::config::{Global, PciAddr};
use ::machine::devices::{self, Driver, Prop, PropKind, Props, Value};

type Done = Result<(), Stop>;

/// `3` or `3.1`, in hexadecimal.
fn pci_addr(text: &str) -> Result<PciAddr, String> {
    let (slot, function) = text.split_once('.').unwrap_or((text, "0"));
    let slot = slot.strip_prefix("0x").unwrap_or(slot);
    match (u8::from_str_radix(slot, 16), u8::from_str_radix(function, 16)) {
        (Ok(slot @ 0..=31), Ok(function @ 0..=7)) => Ok(PciAddr { slot, function }),
        _ => Err(format!("addr={text}: expected a slot 0 to 1f and a function 0 to 7")),
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
    let line = |d: &Driver| format!("name \"{}\", bus {}, desc \"{}\"\n", d.name, d.bus(), d.about);
    devices::all().map(line).collect()
}

fn properties(mut words: Words) -> Result<String, Fault> {
    let driver = driver(&mut words)?;
    let line = |p: &Prop| {
        let about = if p.about.is_empty() { String::new() } else { format!(" ({})", p.about) };
        format!("  {}=<{}>{about}\n", p.name, p.kind.name())
    };
    let lines: String = driver.all_props().map(line).collect();
    Ok(format!("{} options:\n{lines}", driver.name))
}

fn driver(words: &mut Words) -> Result<&'static Driver, Fault> {
    let name = words.needed("driver")?;
    Driver::named(&name).ok_or_else(|| {
        words.fault(format!("no device '{name}'; -device help lists those that there are"))
    })
}

/// Makes one device of its words and of the `-global` options that are about it.
pub fn make(mut words: Words, globals: &[Global]) -> Result<WantedDevice, Fault> {
    let driver = driver(&mut words)?;
    for global in globals.iter().filter(|g| g.driver == driver.name).rev() {
        words.before(&global.property, &global.value);
    }
    let id = words.text("id")?;
    if let Some(id) = &id {
        well_formed(id).map_err(|text| words.fault(text))?;
    }
    let mut wanted =
        WantedDevice { id, driver: driver.name, props: Props::default(), front: None, drive: None };
    for p in driver.all_props() {
        if let PropKind::Chardev = p.kind {
            wanted.front = words.text(p.name)?.map(Front::Named);
        } else if let PropKind::Drive = p.kind {
            wanted.drive = words.text(p.name)?;
        } else if let Some(value) = value(&mut words, p)? {
            wanted.props.set(p.name, value);
        }
    }
    words.none_left()?;
    Ok(wanted)
}

/// A device for the running machine.
pub struct Plug(pub WantedDevice);

impl Plug {
    /// Reads what a monitor was told, `driver` among it.
    pub fn new(said: &[(String, String)]) -> Result<Plug, String> {
        let list: Vec<_> =
            said.iter().map(|(k, v)| format!("{k}={}", v.replace(',', ",,"))).collect();
        let made = Words::new("device_add", &list.join(","), None).and_then(|w| make(w, &[]));
        made.map(Plug).map_err(|fault| fault.text)
    }
}

/// What was said of a property.
fn value(words: &mut Words, p: &Prop) -> Result<Option<Value>, Fault> {
    Ok(match p.kind {
        PropKind::Number(low, high) => words.number(p.name, low..=high)?.map(Value::Number),
        PropKind::OnOff => words.on_off(p.name)?.map(Value::On),
        kind => match words.text(p.name)? {
            None => None,
            Some(text) => Some(plain(p.name, kind, text).map_err(|why| words.fault(why))?),
        },
    })
}

fn plain(name: &str, kind: PropKind, text: String) -> Result<Value, String> {
    match kind {
        PropKind::Size => {
            number::size(&text, 1).map(Value::Number).ok_or_else(|| not_a_size(&text))
        }
        PropKind::PciAddr => pci_addr(&text).map(Value::PciAddr),
        PropKind::OnOffAuto if text == "auto" => Ok(Value::Auto),
        PropKind::OnOffAuto => number::on_off(&text)
            .map(Value::On)
            .ok_or_else(|| format!("{name}={text}: expected on, off or auto")),
        PropKind::Choice(words) if !words.contains(&text.as_str()) => {
            Err(format!("{name}={text}: expected one of {}", words.join(", ")))
        }
        _ => Ok(Value::Text(text)),
    }
}

/// Whether `driver` is one of ours, whose `-global` lines are used up here.
pub fn knows(driver: &str) -> bool {
    Driver::named(driver).is_some()
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
