//! Which controller each device behind one stands on, and at which of its places.
//!
//! A bus is named `CONTROLLER.N`, as in `ide.1` or `ahci0.3`. A device that names none gets the first free place of the first
//! controller with its kind of bus.

use crate::config::{Config, DeviceSpec};
use crate::devices::{Child, Driver, Home};

/// A controller that others stand behind.
struct Controller {
    /// What its buses' names begin with.
    name: String,
    bus: &'static str,
    buses: u16,
    /// Places on each bus.
    units: u16,
    taken: Vec<u16>,
}

/// All devices that stand behind controllers.
pub(super) struct Behind<'a> {
    children: Vec<(String, Child<'a>)>,
}

/// The board's own controllers: `(name, kind of bus, buses, places on each)`.
pub(super) type Own = (&'static str, &'static str, u16, u16);

impl<'a> Behind<'a> {
    /// Finds a place for all; an error names the device.
    pub fn place(config: &'a Config, own: &[Own]) -> Result<Behind<'a>, (&'a DeviceSpec, String)> {
        let mut controllers: Vec<Controller> = own
            .iter()
            .map(|&(name, bus, buses, units)| Controller {
                name: name.into(),
                bus,
                buses,
                units,
                taken: Vec::new(),
            })
            .collect();
        for (n, spec) in config.devices.iter().enumerate() {
            if let Some((bus, buses, units)) = Driver::named(spec.driver).and_then(|d| d.carries) {
                let name = controller_name(spec, n);
                controllers.push(Controller { name, bus, buses, units, taken: Vec::new() });
            }
        }
        let mut children = Vec::new();
        // Those that say where they stand come first, or others might stand there already.
        for explicit in [true, false] {
            for spec in &config.devices {
                let Some(driver) = Driver::named(spec.driver) else { continue };
                let Home::Behind(bus) = driver.home else { continue };
                if spec.props.text("bus").is_some() != explicit {
                    continue;
                }
                let (controller, unit) =
                    seat(&mut controllers, bus, spec).map_err(|why| (spec, why))?;
                children.push((controller, Child { driver, props: &spec.props, unit }));
            }
        }
        Ok(Behind { children })
    }

    /// What stands behind a controller.
    pub fn of(&self, controller: &str) -> Vec<Child<'a>> {
        let mine = self.children.iter().filter(|c| c.0 == controller);
        mine.map(|(_, c)| Child { driver: c.driver, props: c.props, unit: c.unit }).collect()
    }
}

/// What the buses of the n-th `-device` are called.
pub(super) fn controller_name(spec: &DeviceSpec, n: usize) -> String {
    spec.id.clone().unwrap_or_else(|| format!("{}-{n}", spec.driver))
}

/// The place of a device: its controller's name, and its number there.
fn seat(
    controllers: &mut [Controller],
    bus: &'static str,
    spec: &DeviceSpec,
) -> Result<(String, u16), String> {
    let unit = spec.props.number("unit").or(spec.props.number("nr")).map(|n| n as u16);
    if let Some(name) = spec.props.text("bus") {
        let (head, number) = name.rsplit_once('.').unwrap_or((name, "0"));
        let there = |c: &&mut Controller| c.name == head && c.bus == bus;
        let Some(c) = controllers.iter_mut().find(there) else {
            return Err(format!("bus={name}: there is no such {bus} bus"));
        };
        let Some(n) = number.parse().ok().filter(|n: &u16| *n < c.buses) else {
            return Err(format!("bus={name}: expected {head}.0 to {head}.{}", c.buses - 1));
        };
        let Some(unit) =
            unit.or_else(|| (0..c.units).find(|u| !c.taken.contains(&(n * c.units + u))))
        else {
            return Err(format!("bus={name}: all its places are taken"));
        };
        return c.take(n * c.units + unit, unit).map_err(|why| format!("bus={name}: {why}"));
    }
    for c in controllers.iter_mut().filter(|c| c.bus == bus) {
        let free = |p: &u16| !c.taken.contains(p) && unit.is_none_or(|u| p % c.units == u);
        if let Some(place) = (0..c.buses * c.units).find(free) {
            return c.take(place, place % c.units);
        }
    }
    Err(format!("no {bus} bus has room for it"))
}

impl Controller {
    fn take(&mut self, place: u16, unit: u16) -> Result<(String, u16), String> {
        if unit >= self.units {
            return Err(format!("there are {} places, from 0 on", self.units));
        }
        if self.taken.contains(&place) {
            return Err(format!("place {unit} is taken"));
        }
        self.taken.push(place);
        Ok((self.name.clone(), place))
    }
}
