//! Drives and the devices that they are joined to: those that are named, and those that follow from `if=`.

use super::disk::{Interface, WantedDrive};
use super::finish::{Gathered, WantedDevice};
use super::words::Words;
use super::{Content, Disk, Fault, device};
use ::machine::config::{self, Chipset, DeviceSpec, DriveId, OnError};
use ::machine::devices::Value;
use serde_json::Map;

/// All drives, while they find their places.
pub struct Drives {
    list: Vec<Placed>,
    snapshot: bool,
}

struct Placed {
    wanted: WantedDrive,
    name: String,
    content: Option<Content>,
    /// A device has it.
    taken: bool,
}

impl Drives {
    pub fn new(wanted: Vec<WantedDrive>, snapshot: bool) -> Drives {
        let one = |wanted: WantedDrive| Placed {
            wanted,
            name: String::new(),
            content: None,
            taken: false,
        };
        Drives { list: wanted.into_iter().map(one).collect(), snapshot }
    }

    /// Names and places those that `if=` places, and adds the CD drive that boards have.
    pub fn defaults(&mut self, g: &mut Gathered) -> Result<(), Fault> {
        // A controller of `pc` has two drives on each of two buses, one of `q35` one on each of six.
        let (buses, units) = if g.config.board.chipset == Chipset::Pc { (2, 2) } else { (6, 1) };
        let mut next = [0; 4];
        for n in 0..self.list.len() {
            let w = &self.list[n].wanted;
            let kind = w.interface as usize;
            let on_bus = if w.interface == Interface::Ide { units } else { 1 };
            let said = match (w.index, w.bus, w.unit) {
                (Some(index), ..) => Some(index),
                (_, None, None) => None,
                (_, bus, unit) => Some(bus.unwrap_or(0) * on_bus + unit.unwrap_or(0)),
            };
            let index = said.unwrap_or_else(|| self.free(n, w.interface, next[kind]));
            let twin =
                |p: &Placed| p.wanted.interface == w.interface && p.wanted.index == Some(index);
            if self.list[..n].iter().any(twin) {
                let text = format!("index={index}: there is a drive at that place already");
                return Err(Fault::new(&w.option, text));
            }
            if w.interface == Interface::Ide && index >= buses * units {
                let text = format!("index={index}: the controller has {} places", buses * units);
                return Err(Fault::new(&w.option, text));
            }
            next[kind] = index + 1;
            self.list[n].wanted.index = Some(index);
            self.name(n, index, units)?;
            self.device(n, index, units, g)?;
        }
        let cd_asked = g.devices.iter().any(|d| d.names("ide-cd"));
        let third = |p: &Placed| p.wanted.interface == Interface::Ide && p.wanted.index == Some(2);
        if !g.config.no_defaults && !cd_asked && !self.list.iter().any(third) {
            let wanted = super::disk::empty_cd();
            self.list.push(Placed { wanted, name: String::new(), content: None, taken: false });
            let n = self.list.len() - 1;
            self.name(n, 2, units)?;
            self.device(n, 2, units, g)?;
        }
        Ok(())
    }

    /// The first place from `from` on that no drive, said before or after, asks for.
    fn free(&self, n: usize, of: Interface, from: u64) -> u64 {
        let asked = |i: u64| {
            let at = |(m, p): (usize, &Placed)| {
                m != n && p.wanted.interface == of && p.wanted.index == Some(i)
            };
            self.list.iter().enumerate().any(at)
        };
        (0..).find(|i| (*i >= from || from > 255) && !asked(*i)).unwrap_or(from)
    }

    fn name(&mut self, n: usize, index: u64, units: u64) -> Result<(), Fault> {
        let w = &self.list[n].wanted;
        let media = if w.cdrom { "cd" } else { "hd" };
        let name = match (&w.id, w.interface) {
            (Some(id), _) => id.clone(),
            (None, Interface::Ide) => format!("ide{}-{media}{}", index / units, index % units),
            (None, Interface::Virtio) => format!("virtio{index}"),
            (None, Interface::Pflash) => format!("pflash{index}"),
            (None, Interface::None) => format!("none{index}"),
        };
        if self.list.iter().any(|p| p.name == name) {
            let text = format!("id={name}: there is a drive of that name already");
            return Err(Fault::new(&w.option, text));
        }
        self.list[n].name = name;
        Ok(())
    }

    /// The device that `if=` asks for.
    fn device(&mut self, n: usize, index: u64, units: u64, g: &mut Gathered) -> Result<(), Fault> {
        let p = &mut self.list[n];
        let (driver, place) = match (p.wanted.interface, p.wanted.cdrom) {
            (Interface::Ide, cd) => {
                let driver = if cd { "ide-cd" } else { "ide-hd" };
                (driver, format!(",bus=ide.{},unit={}", index / units, index % units))
            }
            (Interface::Virtio, _) => ("virtio-blk-pci", String::new()),
            (Interface::Pflash, _) => {
                p.taken = true;
                return Ok(());
            }
            (Interface::None, _) => return Ok(()),
        };
        p.taken = true;
        let words = Words::new(&p.wanted.option, &format!("{driver}{place}"), Some("driver"))?;
        let mut wanted = device::make(words, &g.config.globals)?;
        wanted.props.set("drive", Value::Drive(DriveId(n as u32)));
        let (driver, props) = (wanted.driver, wanted.props);
        g.config.devices.push(DeviceSpec { id: None, driver, props });
        Ok(())
    }

    /// Joins a `-device` to the drive or block node that it names.
    pub fn join(
        &mut self,
        wanted: &mut WantedDevice,
        nodes: &[Map<String, serde_json::Value>],
    ) -> Result<(), Fault> {
        let (read, write) = (wanted.props.on_error("rerror"), wanted.props.on_error("werror"));
        let write_cache = wanted.props.on("write-cache");
        let n = match wanted.drive.take() {
            Some(name) => {
                let cd = wanted.driver == "ide-cd";
                self.named(("-device", "drive"), name, wanted.id.clone(), cd, nodes)?
            }
            None if wanted.driver == "ide-cd" => {
                self.add("-device", wanted.id.clone(), Content::Empty, true)
            }
            None => return Ok(()),
        };
        let p = &mut self.list[n];
        p.taken = true;
        p.wanted.read_error = read.unwrap_or(p.wanted.read_error);
        p.wanted.write_error = write.unwrap_or(p.wanted.write_error);
        p.wanted.write_cache = write_cache.unwrap_or(p.wanted.write_cache);
        wanted.props.set("drive", Value::Drive(DriveId(n as u32)));
        Ok(())
    }

    /// Makes a flash chip of the drive or block node that `pflash0=` or `pflash1=` of the board names.
    pub fn flash(
        &mut self,
        chip: u64,
        name: String,
        nodes: &[Map<String, serde_json::Value>],
    ) -> Result<(), Fault> {
        let there =
            |p: &Placed| p.wanted.interface == Interface::Pflash && p.wanted.index == Some(chip);
        if self.list.iter().any(there) {
            let text = format!("pflash{chip}={name}: there is a flash chip at that place already");
            return Err(Fault::new("-machine", text));
        }
        let key = format!("pflash{chip}");
        let n = self.named(("-machine", &key), name, Some(key.clone()), false, nodes)?;
        let p = &mut self.list[n];
        p.taken = true;
        (p.wanted.interface, p.wanted.index) = (Interface::Pflash, Some(chip));
        Ok(())
    }

    /// The drive of that name, or one, called `id`, for the block node of that name. `said`: option and key.
    fn named(
        &mut self,
        said: (&str, &str),
        name: String,
        id: Option<String>,
        cdrom: bool,
        nodes: &[Map<String, serde_json::Value>],
    ) -> Result<usize, Fault> {
        let what = match self.list.iter().position(|p| p.name == name) {
            Some(n) if self.list[n].taken => "another device has it",
            Some(n) => return Ok(n),
            None if nodes.iter().any(|d| is_named(d, &name)) => {
                return Ok(self.add(said.0, id, Content::Node(name), cdrom));
            }
            None => "no -drive and no -blockdev of that name",
        };
        Err(Fault::new(said.0, format!("{}={name}: {what}", said.1)))
    }

    /// A drive for a device that brings its own.
    fn add(&mut self, option: &str, id: Option<String>, content: Content, cdrom: bool) -> usize {
        let mut wanted = WantedDrive { cdrom, ..super::disk::empty_cd() };
        (wanted.option, wanted.interface) = (option.into(), Interface::None);
        wanted.write_error = OnError::Enospc;
        let n = self.list.len();
        let name = id.unwrap_or_else(|| format!("anon{n}"));
        self.list.push(Placed { wanted, name, content: Some(content), taken: true });
        n
    }

    /// The drives for the machine, and what is in them.
    pub fn finish(
        self,
        disks: &mut Vec<Disk>,
    ) -> Result<(Vec<config::Drive>, Vec<DriveId>), Fault> {
        let mut drives = Vec::new();
        let mut flash = Vec::new();
        for (n, p) in self.list.into_iter().enumerate() {
            let w = p.wanted;
            if w.interface == Interface::Pflash {
                flash.push((w.index, DriveId(n as u32)));
            }
            let content = p.content.unwrap_or_else(|| w.node.map_or(Content::Empty, Content::Own));
            if content == Content::Empty && !w.cdrom {
                return Err(Fault::new(&w.option, "file= is missing"));
            }
            let named = matches!(content, Content::Node(_));
            disks.push(Disk {
                option: w.option,
                content,
                snapshot: (w.snapshot || self.snapshot) && !w.cdrom && !named,
                write_cache: w.write_cache,
            });
            let (read_error, write_error) = (w.read_error, w.write_error);
            let (name, removable) = (p.name, w.cdrom);
            drives.push(config::Drive { name, removable, read_error, write_error });
        }
        flash.sort();
        Ok((drives, flash.into_iter().map(|f| f.1).collect()))
    }
}

fn is_named(node: &Map<String, serde_json::Value>, name: &str) -> bool {
    node.get("node-name").and_then(|v| v.as_str()) == Some(name)
}
