//! Where devices stand on PCI buses, and how they come and go while the machine runs.
//!
//! A bus is named by its bridge's `id`; the root bus is `pci.0` or `pcie.0`. The same rows make a device at the start and
//! later; what cannot come later is refused in QEMU's words, which programs look for.

use crate::board::{Builder, End};
use crate::boot::HotBus;
use crate::config::{Config, DeviceSpec, DriveId};
use crate::devices::{Driver, Env, Home, Made, Value};
use crate::machine::Machine;
use device::Request;
use hw::pci::{Function, PlugError, Root};

/// A device that was asked for, and where it stands.
pub(crate) struct Standing {
    pub spec: DeviceSpec,
    pub at: At,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    Isa,
    /// The PCI function of this number.
    Function(u16),
    /// Behind the PCI function of this number, at this place.
    Behind(u16, u16),
}

/// What the root bus is called.
pub(crate) fn root_name(root: &Root) -> &'static str {
    if root.chipset() == hw::pci::Chipset::Q35 { "pcie.0" } else { "pci.0" }
}

/// What a bus is called: that below a bridge, or the root bus.
pub(crate) fn bus_name(root: &Root, parent: Option<u16>) -> &str {
    parent.map_or(root_name(root), |n| root.id_of(n))
}

/// A place on a bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    pub parent: Option<u16>,
    pub device: u8,
    pub function: u8,
}

impl Seat {
    /// The place that a device asks for, or the first free one.
    pub fn find(root: &Root, spec: &DeviceSpec) -> Result<Seat, String> {
        let parent = match spec.props.text("bus") {
            None => None,
            Some(name) if name == root_name(root) => None,
            Some(name) => {
                let is = |n: &u16| root.is_bridge(*n) && root.id_of(*n) == name;
                let found = root.functions().find(is).filter(|_| !name.is_empty());
                Some(found.ok_or_else(|| format!("Bus '{name}' not found"))?)
            }
        };
        let driver = spec.driver;
        if let Some(a) = spec.props.addr() {
            let seat = Seat { parent, device: a.slot, function: a.function };
            return seat.free(root, driver).map(|()| seat);
        }
        let port = parent.is_some_and(|n| root.is_port(n));
        let free = match parent {
            None => root.free_device(),
            // Who stands there already, is named below.
            Some(_) if port => Some(0),
            Some(n) => root.free_device_below(n),
        };
        let none =
            || format!("PCI: no slot/function available for {driver}, all in use or reserved");
        let seat = Seat { parent, device: free.ok_or_else(none)?, function: 0 };
        seat.free(root, driver).map(|()| seat)
    }

    fn free(&self, root: &Root, driver: &str) -> Result<(), String> {
        let Seat { parent, device, function } = *self;
        if let Some(n) = root.number_at(parent, device, function) {
            let (name, id) = (root.peek(n).map_or("?", |f| f.name()), root.id_of(n));
            let id = if id.is_empty() { "(null)" } else { id };
            return Err(format!(
                "PCI: slot {device} function {function} not available for {driver}, in use by {name},id={id}"
            ));
        }
        if device != 0 && parent.is_some_and(|n| root.is_port(n)) {
            return Err(format!(
                "PCI: slot {device} is not valid for {driver}, parent device only allows plugging into slot 0."
            ));
        }
        match root.is_free_on(parent, device, function) {
            true => Ok(()),
            false => Err(PlugError::Full.to_string()),
        }
    }

    /// Whether the functions of the device go together.
    pub fn fits(&self, root: &Root, driver: &str, part: &dyn Function) -> Result<(), String> {
        let Seat { parent, device, function } = *self;
        let several = |f: &dyn Function| f.config().u8(0x0E) & 0x80 != 0;
        let first = root.number_at(parent, device, 0).and_then(|n| root.peek(n));
        let other = (1..8).find(|f| root.number_at(parent, device, *f).is_some());
        match (function, first, other) {
            (1.., Some(first), _) if !several(first) => Err(format!(
                "PCI: single function device can't be populated in function {device:x}.{function:x}"
            )),
            (0, _, Some(other)) if !several(part) => Err(format!(
                "PCI: {device:x}.0 indicates single function, but {device:x}.{other:x} is already populated."
            )),
            _ if root.is_free_on(parent, device, function) => Ok(()),
            _ => Err(format!("{driver}: {}", PlugError::Full)),
        }
    }
}

/// Slots of ports are told apart by chassis and number.
pub(crate) fn own_slot<'a>(
    spec: &DeviceSpec,
    mut others: impl Iterator<Item = &'a DeviceSpec>,
) -> Result<(), String> {
    let of = |s: &DeviceSpec| ["chassis", "slot"].map(|name| s.props.number(name).unwrap_or(0));
    let port = |s: &DeviceSpec| s.driver == "pcie-root-port";
    if port(spec) && others.any(|o| port(o) && of(o) == of(spec)) {
        let [chassis, slot] = of(spec);
        return Err(format!("there is a port with chassis={chassis},slot={slot} already"));
    }
    Ok(())
}

/// Makes a function for a place.
pub(crate) fn make(
    root: &Root,
    seat: &Seat,
    spec: &DeviceSpec,
    env: &mut Env<'_>,
) -> Result<Made, String> {
    let driver = Driver::find(spec.driver)?;
    let Home::Pci(make) = &driver.home else { return Err(cold(driver.name)) };
    let mut props = spec.props.clone();
    // In a slot of PCI Express there is no room for the ports of legacy virtio.
    let auto = matches!(props.get("disable-legacy"), None | Some(Value::Auto));
    let port = seat.parent.is_some_and(|n| root.is_port(n));
    if port && auto && driver.all_props().any(|p| p.name == "disable-legacy") {
        props.set("disable-legacy", Value::On(true));
    }
    let mut made = make(&props, env)?;
    if props.on("multifunction") == Some(true) {
        let config = made.function.config_mut();
        let header = config.u8(0x0E) | 0x80;
        config.set(0x0E, &[header]);
    }
    Ok(made)
}

/// More buses than these would not fit into the space that firmware has for tables.
const MOST_BUSES: usize = 40;

/// The buses that ACPI's methods are about, from the root bus on.
pub(crate) fn hot_buses(root: &Root) -> Option<HotBus> {
    let all: Vec<u16> = root.hotplug_buses().take(MOST_BUSES).collect();
    hot_bus(root, None, &all)
}

fn hot_bus(root: &Root, parent: Option<u16>, all: &[u16]) -> Option<HotBus> {
    let number = parent.map_or(0, |n| n + 1);
    if !all.contains(&number) {
        return None;
    }
    let below = root.below(parent).filter_map(|n| {
        let (_, device, function) = root.place_of(n)?;
        Some((device, function, hot_bus(root, Some(n), all)?))
    });
    Some(HotBus { number, removable: root.removable(number), below: below.collect() })
}

fn not_hot(bus: &str) -> String {
    format!("Bus '{bus}' does not support hotplugging")
}

impl Machine {
    /// Puts a device into the running machine.
    pub fn plug(&mut self, spec: DeviceSpec) -> Result<(), String> {
        self.note_unplugged();
        if let Some(id) = spec.id.as_ref().filter(|id| self.standing(id).is_some()) {
            return Err(format!("Duplicate device ID '{id}'"));
        }
        let pci = self.board.pci;
        match Driver::find(spec.driver)?.home {
            Home::Isa(_) => return Err(not_hot("isa.0")),
            Home::Behind(bus) => return Err(not_hot(spec.props.text("bus").unwrap_or(bus))),
            Home::Pci(_) => {}
        }
        let (seat, made) = self.make(&spec)?;
        let Made { function, drives, backends } = made;
        let Seat { parent, device, function: f } = seat;
        self.world.now = self.now();
        let plugged = self.parts.with_as(&mut self.world, pci, |r: &mut Root, cx| {
            r.plug(parent, device, f, function, cx)
        });
        let number = match plugged {
            Some(Ok(number)) => number,
            Some(Err(why)) => return Err(why.to_string()),
            None => return Err("there is no PCI bus".into()),
        };
        if let Some(root) = self.parts.get_mut::<Root>(pci) {
            root.set_id(number, spec.id.as_deref().unwrap_or(""));
        }
        for (drive, unit) in drives {
            self.world.drives.join(drive, pci, vec![number], unit);
            self.tell_medium(drive);
        }
        for (backend, port) in backends {
            let path = std::iter::once(number).chain(port).collect();
            self.board.backends.push((backend, End { device: pci, path }));
        }
        self.board.standing.push(Standing { spec, at: At::Function(number) });
        self.obey();
        Ok(())
    }

    /// Finds a place for a device, and makes it.
    fn make(&mut self, spec: &DeviceSpec) -> Result<(Seat, Made), String> {
        let root: &mut Root = self.parts.get_mut(self.board.pci).ok_or("there is no PCI bus")?;
        let seat = match Seat::find(root, spec) {
            // Nobody would look for it beside a function 0 that is known already.
            Ok(seat) => match root.number_at(seat.parent, seat.device, 0) {
                Some(n) => Err(occupied(root, n, seat.device, spec)),
                None => Ok(seat),
            },
            Err(why) => Err(why),
        };
        let parent = match (&seat, spec.props.text("bus")) {
            (Ok(seat), _) => Some(seat.parent),
            (Err(_), None) => Some(None),
            _ => None,
        };
        if let Some(parent) = parent.filter(|p| !root.is_hot(*p)) {
            return Err(not_hot(bus_name(root, parent)));
        }
        let seat = seat?;
        own_slot(spec, self.board.standing.iter().map(|s| &s.spec))?;
        let mut builder = Builder::default();
        let made = make(root, &seat, spec, &mut env(&self.config, &mut builder))?;
        if builder.has_backing() {
            // Memory of its own has to be there from the start.
            return Err(cold(spec.driver));
        }
        seat.fits(root, spec.driver, &*made.function)?;
        Ok((seat, made))
    }

    fn standing(&self, id: &str) -> Option<&Standing> {
        self.board.standing.iter().find(|s| s.spec.id.as_deref() == Some(id))
    }

    /// Asks the guest for a device back. It is gone once [`Machine::take_unplugged`] says so.
    pub fn unplug(&mut self, id: &str) -> Result<(), String> {
        self.note_unplugged();
        let found = self.standing(id).ok_or_else(|| format!("Device '{id}' not found"))?;
        let (at, driver) = (found.at, found.spec.driver);
        let number = match (at, Driver::named(driver).map(|d| d.home)) {
            (At::Function(n), _) => n,
            (At::Behind(..), Some(Home::Behind(bus))) => return Err(not_hot(bus)),
            _ => return Err(not_hot("isa.0")),
        };
        let pci = self.board.pci;
        let root: &mut Root = self.parts.get_mut(pci).ok_or("there is no PCI bus")?;
        let parent = root.place_of(number).and_then(|p| p.0);
        if !root.is_hot(parent) {
            return Err(not_hot(bus_name(root, parent)));
        }
        if driver == "VGA" {
            return Err(cold(driver));
        }
        self.world.now = self.now();
        let asked = self
            .parts
            .with_as(&mut self.world, pci, |r: &mut Root, cx| r.unplug_request(number, cx));
        self.obey();
        match asked {
            Some(Err(PlugError::Asked)) => {
                Err(format!("Device {id} is already in the process of unplug"))
            }
            Some(Err(PlugError::Fixed)) => Err(cold(driver)),
            Some(Err(why)) => Err(why.to_string()),
            _ => Ok(()),
        }
    }

    /// The devices that were taken out since the last call. Their drives are still there.
    pub fn take_unplugged(&mut self) -> Vec<DeviceSpec> {
        self.note_unplugged();
        std::mem::take(&mut self.unplugged)
    }

    /// A function was taken out: its number may be another's next.
    pub(crate) fn gone(&mut self, number: u16) {
        let is =
            |s: &mut Standing| matches!(s.at, At::Function(n) | At::Behind(n, _) if n == number);
        let gone: Vec<_> = self.board.standing.extract_if(.., is).map(|s| s.spec).collect();
        for drive in gone.iter().filter_map(|s| s.props.drive()) {
            self.world.drives.part(drive);
        }
        let pci = self.board.pci;
        self.board.backends.retain(|(_, e)| e.device != pci || e.path.first() != Some(&number));
        self.unplugged.extend(gone);
    }

    /// Notes what was taken out and nobody has looked at yet. The requests stay, for who waits for them.
    pub(crate) fn note_unplugged(&mut self) {
        let pci = self.board.pci;
        let mut new = Vec::new();
        for (from, what) in &mut self.world.requests {
            if let Request::Unplugged(n) = what
                && *from == pci
                && *n != NOTED
            {
                new.push(std::mem::replace(n, NOTED));
            }
        }
        new.into_iter().for_each(|n| self.gone(n));
    }
    /// A drive for a device that is about to be plugged.
    pub fn add_drive(&mut self, drive: crate::config::Drive) -> DriveId {
        self.world.drives.add(drive)
    }
    /// Forgets a drive that no device has.
    pub fn remove_drive(&mut self, drive: DriveId) {
        self.world.drives.remove(drive);
    }
}

/// The number of a function that was noted as gone; there is none of this number.
const NOTED: u16 = u16::MAX;

fn cold(driver: &str) -> String {
    format!("Device '{driver}' does not support hotplugging")
}

fn occupied(root: &Root, n: u16, device: u8, spec: &DeviceSpec) -> String {
    let name = root.peek(n).map_or("?", |f| f.name());
    format!(
        "PCI: slot {device} function 0 already occupied by {name}, new func {} cannot be exposed to guest.",
        spec.driver
    )
}

fn env<'a>(config: &'a Config, builder: &'a mut Builder) -> Env<'a> {
    Env {
        cpus: config.topology.cpus,
        builder,
        without_firmware: config.boot.firmware.is_none(),
        dirs: &config.boot.firmware_dirs,
        children: &[],
    }
}

#[cfg(test)]
#[path = "plug/test.rs"]
mod test;
