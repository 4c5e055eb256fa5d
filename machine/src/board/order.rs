//! `bootindex`: the devices to boot from, as paths of Open Firmware in fw_cfg's `bootorder`.
//!
//! IEEE 1275 names nodes `name@address`; the names are those that SeaBIOS (its boot.c) and OVMF look for. A PCI function is
//! called after its class, or else by its numbers; what is behind it is told by the kind of controller.

use crate::MachineError;
use crate::config::DeviceSpec;
use crate::plug::{At, Standing};
use crate::{Machine, firmware};
use hw::chipset::fw_cfg::{BOOT_DEVICE, FwCfg};
use hw::chipset::rtc::Rtc;
use hw::pci::Root;

/// What functions of a class are called.
const NAMES: &[(u16, &str)] = &[
    (0x0100, "scsi"),
    (0x0101, "ide"),
    (0x0102, "fdc"),
    (0x0200, "ethernet"),
    (0x0300, "display"),
    (0x0604, "pci-bridge"),
];
const IDE: u16 = 0x0101;

/// The contents of `bootorder`: a line for each device, and `HALT` where nothing else is to be tried.
pub(super) fn boot_order(
    root: &Root,
    standing: &[Standing],
    strict: bool,
) -> Result<Vec<u8>, MachineError> {
    let index = |s: &DeviceSpec| s.props.number("bootindex");
    let mut all: Vec<_> =
        standing.iter().filter_map(|s| Some((index(&s.spec)?, path(root, s)?))).collect();
    all.sort();
    if let Some(two) = all.windows(2).find(|w| w[0].0 == w[1].0) {
        let why = format!("The bootindex {} has already been used", two[0].0);
        return Err(MachineError::Option(why));
    }
    let mut lines: Vec<String> = all.into_iter().map(|(_, path)| path).collect();
    lines.extend(strict.then(|| "HALT".to_string()));
    let mut text = lines.join("\n").into_bytes();
    if !text.is_empty() {
        text.push(0);
    }
    Ok(text)
}

fn path(root: &Root, s: &Standing) -> Option<String> {
    match s.at {
        At::Isa => None,
        At::Function(n) => {
            let class = root.peek(n)?.config().u16(0xA);
            let rest = match class >> 8 {
                _ if s.spec.props.drive().is_some() => "/disk@0,0",
                2 => "/ethernet-phy@0",
                _ => "",
            };
            Some(function(root, n)? + rest)
        }
        At::Behind(n, place) => {
            // Two drives to a bus, or one.
            let class = root.peek(n)?.config().u16(0xA);
            let (bus, unit) = if class == IDE { (place / 2, place % 2) } else { (place, 0) };
            Some(format!("{}/drive@{bus:x}/disk@{unit:x}", function(root, n)?))
        }
    }
}

/// A function with all bridges before it.
fn function(root: &Root, n: u16) -> Option<String> {
    let (parent, device, function_number) = root.place_of(n)?;
    let before = match parent {
        Some(bridge) => function(root, bridge)?,
        None => "/pci@i0cf8".to_string(),
    };
    let c = root.peek(n)?.config();
    let (class, vendor, id) = (c.u16(0xA), c.u16(0), c.u16(2));
    let known = NAMES.iter().find(|(known, _)| *known == class);
    let name = known.map_or_else(|| format!("pci{vendor:04x},{id:04x}"), |k| k.1.to_string());
    let comma = if function_number == 0 { String::new() } else { format!(",{function_number:x}") };
    Some(format!("{before}/{name}@{device:x}{comma}"))
}

/// The first three drives to try, as SeaBIOS finds them in the clock's memory.
pub(super) fn tell_clock(clock: &mut Rtc, letters: &str) {
    let nibble = |letter: Option<u8>| match letter {
        Some(b'a' | b'b') => 1,
        Some(b'c') => 2,
        Some(b'd') => 3,
        Some(b'n') => 4,
        _ => 0,
    };
    let mut order = letters.bytes();
    let [first, second, third] = [0; 3].map(|_: u8| nibble(order.next()));
    clock.set(0x3D, second << 4 | first);
    clock.set(0x38, third << 4);
}

impl Machine {
    /// The machine has booted once: from the next reset on, the usual order holds.
    pub fn has_booted(&mut self) {
        if self.config.boot.once.take().is_none() {
            return;
        }
        let letters = firmware::boot_order(&self.config);
        if let Some(clock) = self.parts.get_mut::<Rtc>(self.board.rtc) {
            tell_clock(clock, letters);
        }
        if let Some(f) = self.parts.get_mut::<FwCfg>(self.board.fw_cfg) {
            f.add_u16(BOOT_DEVICE, letters.bytes().next().unwrap_or(b'c').into());
        }
    }
}

#[cfg(test)]
mod test {
    use crate::config::{Chipset, Config, Drive, DriveId};
    use crate::devices::{Props, Value};
    use crate::{Machine, config::DeviceSpec};
    use hw::chipset::fw_cfg::FwCfg;
    use memory::Width;

    fn order(chipset: Chipset, disks: &[(&'static str, u64, &str)]) -> Result<String, String> {
        let mut config = Config { ram: 2 << 20, ..Config::default() };
        config.board.chipset = chipset;
        for (n, (driver, index, bus)) in disks.iter().enumerate() {
            let drive = Drive {
                name: format!("d{n}"),
                removable: false,
                read_error: Default::default(),
                write_error: Default::default(),
            };
            config.drives.push(drive);
            let mut props = Props::default()
                .with("bootindex", Value::Number(*index))
                .with("drive", Value::Drive(DriveId(n as u32)));
            if !bus.is_empty() {
                props.set("bus", Value::Text(bus.to_string()));
            }
            config.devices.push(DeviceSpec::new(driver, props));
        }
        let m = Machine::new(config).map_err(|e| e.to_string())?;
        let file = m.parts.get::<FwCfg>(m.board.fw_cfg).unwrap().file("bootorder").unwrap();
        Ok(String::from_utf8(file.to_vec()).unwrap())
    }

    #[test]
    fn devices_are_listed_by_their_boot_index() {
        let pc = [("virtio-blk-pci", 2, ""), ("ide-hd", 1, "ide.1")];
        let want = "/pci@i0cf8/ide@1,1/drive@1/disk@0\n/pci@i0cf8/scsi@2/disk@0,0\0";
        assert_eq!(order(Chipset::Pc, &pc).unwrap(), want);
        let want = "/pci@i0cf8/pci8086,2922@1f,2/drive@3/disk@0\0";
        assert_eq!(order(Chipset::Q35, &[("ide-hd", 0, "ide.3")]).unwrap(), want);
        assert_eq!(order(Chipset::Q35, &[]).unwrap(), "");
        let twice = [("virtio-blk-pci", 2, ""), ("ide-hd", 2, "")];
        assert_eq!(
            order(Chipset::Pc, &twice).unwrap_err(),
            "The bootindex 2 has already been used"
        );
    }

    #[test]
    fn an_order_for_once_holds_for_one_boot() {
        let mut config = Config { ram: 2 << 20, ..Config::default() };
        config.boot.order = Some("cn".into());
        config.boot.once = Some("d".into());
        let mut m = Machine::new(config).unwrap();
        for wanted in [3, 0x42, 0x42] {
            let cell = m.with_core(0, |s| {
                s.bus.port_write(0, 0x70, Width::W8, 0x3D);
                s.bus.port_read(0, 0x71, Width::W8)
            });
            assert_eq!(cell, wanted);
            m.has_booted();
            m.reset().unwrap();
        }
    }
}
