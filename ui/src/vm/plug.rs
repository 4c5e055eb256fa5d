//! Devices that are put into the running machine and taken out of it.

use super::Vm;
use crate::options::{Plug, WantedDevice};
use block::{Image, Node};
use machine::config::{self, DeviceSpec, DriveId, OnError};
use machine::devices::{Driver, PropKind, Value};
use serde_json::json;
use std::sync::Arc;

impl Vm {
    /// `device_add`: `driver` and what is said of it, as `-device` takes them.
    pub fn device_add(&mut self, said: &[(String, String)]) -> Result<(), String> {
        let driver = said.iter().find(|s| s.0 == "driver").filter(|s| !s.1.is_empty());
        let driver = &driver.ok_or("Parameter 'driver' is missing")?.1;
        let row = Driver::find(driver)?;
        let known =
            |key: &str| matches!(key, "driver" | "id") || row.all_props().any(|p| p.name == key);
        if let Some((key, _)) = said.iter().find(|s| !known(&s.0)) {
            return Err(format!("Property '{driver}.{key}' not found"));
        }
        let mut wanted = Plug::new(said)?.0;
        if wanted.front.take().is_some() {
            return Err("a chardev cannot be given to a device that is plugged later".into());
        }
        let needs = row.all_props().any(|p| p.kind == PropKind::Drive);
        let (drive, fresh) = match wanted.drive.take() {
            Some(name) => self.drive_for(&wanted, &name)?,
            None if needs => return Err("drive property not set".into()),
            None => (None, false),
        };
        if let Some(drive) = drive {
            wanted.props.set("drive", Value::Drive(drive));
        }
        let spec = DeviceSpec { id: wanted.id, driver: wanted.driver, props: wanted.props };
        let plugged = self.guest.plug(spec.clone());
        // The numbers of what went before may be used again.
        self.unplugged();
        match (&plugged, drive) {
            (Ok(()), _) => self.config.devices.push(spec),
            (Err(_), Some(drive)) if fresh => self.drop_drive(drive),
            _ => {}
        }
        plugged
    }

    /// The drive of this name, or a new one for the block node of this name.
    fn drive_for(
        &mut self,
        wanted: &WantedDevice,
        name: &str,
    ) -> Result<(Option<DriveId>, bool), String> {
        let taken = || format!("Drive '{name}' is already in use by another device");
        let drive = self.guest.drives().into_iter().find(|d| d.name == name);
        if let Some(id) = drive.map(|d| d.id) {
            let has = |d: &DeviceSpec| d.props.drive() == Some(id);
            let used = self.config.devices.iter().any(has) || self.config.flash.contains(&id);
            return if used { Err(taken()) } else { Ok((Some(id), false)) };
        }
        let Some(node) = self.blocks.graph.get(name) else {
            return Err(format!("Property '{}.drive' can't find value '{name}'", wanted.driver));
        };
        let all = self.guest.drives();
        let same = |n: &Arc<Node>| Arc::ptr_eq(n, &node);
        let used = all.iter().any(|d| self.blocks.backend(d.id).is_some_and(|b| same(&b.node())));
        if used && wanted.props.on("share-rw") != Some(true) {
            return Err(taken());
        }
        let name = wanted.id.clone().unwrap_or_else(|| format!("anon{}", all.len()));
        let id = self.guest.add_drive(config::Drive {
            name,
            removable: false,
            read_error: wanted.props.on_error("rerror").unwrap_or(OnError::Report),
            write_error: wanted.props.on_error("werror").unwrap_or(OnError::Enospc),
        });
        let write_cache = wanted.props.on("write-cache").unwrap_or(true);
        let disk = self.blocks.put(id, Some((node, write_cache)));
        match self.guest.insert(id, disk) {
            Ok(()) => Ok((Some(id), true)),
            Err(why) => {
                self.drop_drive(id);
                Err(why.to_string())
            }
        }
    }

    /// A drive goes with its device; its node closes unless it has a name of its own.
    fn drop_drive(&mut self, id: DriveId) {
        if let Some(backend) = self.blocks.backend(id)
            && let Err(why) = backend.flush()
        {
            self.tell_unsafe(id, &why);
        }
        self.guest.remove_drive(id);
        self.blocks.put(id, None);
    }

    /// `device_del`.
    pub fn device_del(&mut self, id: &str) -> Result<(), String> {
        let asked = self.guest.unplug(id);
        self.unplugged();
        asked
    }

    /// Tells of the devices that are gone, and lets go what they had.
    pub(super) fn unplugged(&mut self) {
        for spec in self.guest.take_unplugged() {
            if let Some(n) = self.config.devices.iter().position(|d| *d == spec) {
                self.config.devices.remove(n);
            }
            if let Some(drive) = spec.props.drive() {
                self.drop_drive(drive);
            }
            let path = match &spec.id {
                Some(id) => format!("/machine/peripheral/{id}"),
                None => format!("/machine/peripheral-anon/{}", spec.driver),
            };
            // Devices of virtio are two: the function, and what is on its bus.
            if spec.driver.starts_with("virtio-") && spec.driver.ends_with("-pci") {
                let data = json!({"path": format!("{path}/virtio-backend")});
                self.notify("DEVICE_DELETED", Some(data));
            }
            let mut data = json!({"path": path});
            if let Some(id) = &spec.id {
                data["device"] = json!(id);
            }
            self.notify("DEVICE_DELETED", Some(data));
        }
    }
}
