//! The machines of `fuzz-devices`: all kinds of disks and PCI functions, bridges and ports, and images that fail.

use super::bytes::config;
use block::{Image, Info};
use machine::config::{Backend, RtcClock};
use machine::config::{Chipset, Config, DeviceSpec, Drive, DriveId, FlashContents, OnError};
use machine::devices::{Props, Value};
use machine::{Disk, Machine};
use std::io::{Error, Result};
use std::sync::{Arc, Mutex, PoisonError};

pub const RAM: u64 = 4 << 20;
/// Bytes of an image.
const LEN: usize = 256 << 10;
/// Bytes of the flash chip.
pub const FLASH: u64 = 64 << 10;

/// An image in memory; some of its sectors fail.
pub struct Brittle(Mutex<Vec<u8>>);

impl Brittle {
    fn new() -> Arc<Brittle> {
        Arc::new(Brittle(Mutex::new(vec![0; LEN])))
    }
    /// As it was at first.
    pub fn fill(&self) {
        let mut bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.iter_mut().enumerate().for_each(|(n, b)| *b = (n >> 9) as u8 ^ n as u8);
    }
    fn with(&self, at: u64, len: u64, f: impl FnOnce(&mut [u8])) -> Result<()> {
        let end = at.checked_add(len).filter(|end| *end <= LEN as u64);
        let Some(end) = end else { return Err(std::io::ErrorKind::InvalidInput.into()) };
        for sector in at / 512..end.div_ceil(512) {
            match sector % 61 {
                7 => return Err(Error::from_raw_os_error(5)),
                11 => return Err(Error::from_raw_os_error(28)),
                _ => {}
            }
        }
        let mut bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        f(&mut bytes[at as usize..end as usize]);
        Ok(())
    }
}

impl Image for Brittle {
    fn info(&self) -> Info {
        Info { len: LEN as u64, read_only: false, best: 512, discard: true }
    }
    fn read(&self, at: u64, into: &mut [u8]) -> Result<()> {
        self.with(at, into.len() as u64, |b| into.copy_from_slice(b))
    }
    fn write(&self, at: u64, from: &[u8]) -> Result<()> {
        self.with(at, from.len() as u64, |b| b.copy_from_slice(from))
    }
    fn flush(&self) -> Result<()> {
        Ok(())
    }
    fn discard(&self, at: u64, len: u64) -> Result<()> {
        self.with(at, len, |_| {})
    }
    fn zero(&self, at: u64, len: u64, _: bool) -> Result<()> {
        self.with(at, len, |b| b.fill(0))
    }
    fn resize(&self, _: u64) -> Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}

/// A device: driver, `id`, bus, what its drive does with errors.
type Row = (&'static str, &'static str, &'static str, Option<OnError>);

#[rustfmt::skip]
const PC: &[Row] = &[
    ("VGA", "", "", None),
    ("pci-bridge", "b", "", None),
    ("ide-hd", "", "ide.0", Some(OnError::Report)),
    ("ide-hd", "", "ide.0", Some(OnError::Stop)),
    ("ide-cd", "", "ide.1", Some(OnError::Report)),
    ("ide-hd", "", "ide.1", Some(OnError::Ignore)),
    ("virtio-blk-pci", "v", "", Some(OnError::Enospc)),
    ("virtio-rng-pci", "r", "", None),
    ("virtio-serial-pci", "s", "", None),
    ("virtconsole", "", "s.0", None),
    ("virtio-rng-pci", "w", "b", None),
];
#[rustfmt::skip]
const Q35: &[Row] = &[
    ("VGA", "", "", None),
    ("pcie-root-port", "p", "", None),
    ("pcie-root-port", "q", "", None),
    ("pcie-pci-bridge", "b", "", None),
    ("ide-hd", "", "ide.0", Some(OnError::Report)),
    ("ide-hd", "", "ide.1", Some(OnError::Stop)),
    ("ide-cd", "", "ide.2", Some(OnError::Report)),
    ("virtio-blk-pci", "v", "", Some(OnError::Stop)),
    ("virtio-rng-pci", "w", "p", None),
    ("virtio-serial-pci", "s", "", None),
    ("virtserialport", "", "s.0", None),
    ("virtio-rng-pci", "r", "b", None),
];

/// What is put into a running machine, and where.
pub fn spare(q35: bool, n: u64) -> DeviceSpec {
    let bus = if q35 { "q" } else { "pci.0" };
    let driver = ["virtio-rng-pci", "pci-testdev"][n as usize % 2];
    let props = Props::default().with("bus", Value::Text(bus.into()));
    DeviceSpec { id: Some("x".into()), ..DeviceSpec::new(driver, props) }
}

fn whole(chipset: Chipset) -> (Config, usize) {
    let mut c = config(chipset, 1, RAM);
    c.rtc.clock = RtcClock::Vm;
    let rows = if chipset == Chipset::Q35 { Q35 } else { PC };
    for (n, (driver, id, bus, policy)) in rows.iter().enumerate() {
        let mut props = Props::default();
        if !bus.is_empty() {
            props.set("bus", Value::Text((*bus).into()));
        }
        match *driver {
            "pci-bridge" => props.set("chassis_nr", Value::Number(1)),
            "pcie-root-port" => props.set("chassis", Value::Number(n as u64)),
            "VGA" => {
                props.set("romfile", Value::Text(String::new()));
                props.set("vgamem_mb", Value::Number(1));
            }
            "virtconsole" | "virtserialport" => props.set("chardev", Value::Chardev(Backend(9))),
            _ => {}
        }
        if let Some(policy) = *policy {
            props.set("drive", Value::Drive(DriveId(c.drives.len() as u32)));
            c.drives.push(drive(format!("d{n}"), *driver == "ide-cd", policy));
        }
        let id = (!id.is_empty()).then(|| (*id).into());
        c.devices.push(DeviceSpec { id, ..DeviceSpec::new(driver, props) });
    }
    let disks = c.drives.len();
    c.flash = vec![DriveId(disks as u32)];
    c.flash_contents = vec![FlashContents { bytes: vec![0xFF; FLASH as usize], read_only: false }];
    c.drives.push(drive("flash".into(), false, OnError::Report));
    (c, disks)
}

fn drive(name: String, removable: bool, policy: OnError) -> Drive {
    Drive { name, removable, read_error: policy, write_error: policy }
}

/// A machine that runs, and its images.
pub fn machine(chipset: Chipset) -> std::result::Result<(Machine, Vec<Arc<Brittle>>), String> {
    let (config, disks) = whole(chipset);
    let mut m = Machine::new(config).map_err(|e| e.to_string())?;
    let mut images = Vec::new();
    for n in 0..disks {
        let image = Brittle::new();
        let disk = Disk { image: image.clone(), write_cache: true };
        m.insert(DriveId(n as u32), Some(disk)).map_err(|e| e.to_string())?;
        images.push(image);
    }
    m.set_running(true);
    Ok((m, images))
}
