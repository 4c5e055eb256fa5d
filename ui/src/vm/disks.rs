//! What users do to drives while the machine runs: change media, resize, go on in an overlay, set limits.

use super::Vm;
use crate::guest::DriveState;
use block::throttle::Limits;
use block::{Image, Node, SnapshotSync};
use machine::config::DriveId;
use serde_json::json;
use std::sync::Arc;

impl Vm {
    /// A drive by its name, or by the `id` of the device that has it.
    pub fn drive(&self, name: &str) -> Result<DriveState, String> {
        let drives = self.guest.drives();
        let of_device = self.config.devices.iter().find(|d| d.id.as_deref() == Some(name));
        let wanted = of_device.and_then(|d| d.props.drive());
        let is = |d: &DriveState| d.name == name || Some(d.id) == wanted;
        drives.into_iter().find(is).ok_or_else(|| format!("Device '{name}' not found"))
    }

    /// The `id` of the device that has a drive.
    pub fn device_of_drive(&self, id: DriveId) -> Option<&str> {
        let has = |d: &&machine::config::DeviceSpec| d.props.drive() == Some(id);
        self.config.devices.iter().find(has)?.id.as_deref()
    }

    /// Where the device that has a drive stands, in QEMU's words; nothing for those of the board.
    pub fn path_of_drive(&self, id: DriveId) -> String {
        let has = |d: &&machine::config::DeviceSpec| d.props.drive() == Some(id);
        let found = self.config.devices.iter().find(has);
        let path = |d: &machine::config::DeviceSpec| {
            let behind = if d.driver.starts_with("virtio-") { "/virtio-backend" } else { "" };
            d.id.as_ref().map(|id| format!("/machine/peripheral/{id}{behind}"))
        };
        found.and_then(path).unwrap_or_default()
    }

    /// Why a drive's requests wait for `cont`, if they do.
    pub fn io_status(&self, id: DriveId) -> &'static str {
        match self.io_errors.get(&id) {
            None => "ok",
            Some(true) => "nospace",
            Some(false) => "failed",
        }
    }

    fn removable(&self, name: &str) -> Result<DriveState, String> {
        let drive = self.drive(name)?;
        match drive.removable {
            true => Ok(drive),
            false => Err(format!("Device '{name}' is not removable")),
        }
    }

    /// Opens the tray, or asks the guest to, if it has locked it.
    pub fn open_tray(&mut self, name: &str, force: bool) -> Result<(), String> {
        let drive = self.removable(name)?;
        if drive.tray_open {
            return Ok(());
        }
        if drive.locked && !force {
            self.guest.ask_to_eject(drive.id);
            return Err(format!(
                "Device '{name}' is locked and force was not specified, wait for tray to open and try again"
            ));
        }
        self.tray(&drive, true);
        Ok(())
    }

    pub fn close_tray(&mut self, name: &str) -> Result<(), String> {
        let drive = self.removable(name)?;
        if drive.tray_open {
            self.tray(&drive, false);
        }
        Ok(())
    }

    fn tray(&mut self, drive: &DriveState, open: bool) {
        self.guest.set_tray(drive.id, open);
        let id = self.device_of_drive(drive.id).unwrap_or("").to_string();
        let data = json!({"device": drive.name, "id": id, "tray-open": open});
        self.notify("DEVICE_TRAY_MOVED", Some(data));
    }

    /// Takes the medium out of an open tray.
    pub fn remove_medium(&mut self, name: &str) -> Result<(), String> {
        let drive = self.removable(name)?;
        if !drive.tray_open {
            return Err(format!("Tray of device '{name}' is not open"));
        }
        self.fill(drive.id, None)
    }

    /// Puts a node into an open, empty tray.
    pub fn insert_medium(&mut self, name: &str, node: Arc<Node>) -> Result<(), String> {
        let drive = self.removable(name)?;
        if !drive.tray_open {
            return Err(format!("Tray of device '{name}' is not open"));
        }
        if drive.disk.is_some() {
            return Err(format!("There already is a medium in device '{name}'"));
        }
        self.fill(drive.id, Some(node))
    }

    fn fill(&mut self, id: DriveId, node: Option<Arc<Node>>) -> Result<(), String> {
        let disk = self.blocks.put(id, node.map(|n| (n, true)));
        self.guest.insert(id, disk).map_err(|e| e.to_string())
    }

    /// `eject`.
    pub fn eject(&mut self, name: &str, force: bool) -> Result<(), String> {
        self.open_tray(name, force)?;
        self.remove_medium(name)
    }

    /// `change`: another file in the drive.
    pub fn change(
        &mut self,
        name: &str,
        file: &str,
        format: Option<&str>,
        mode: Option<&str>,
        force: bool,
    ) -> Result<(), String> {
        let drive = self.removable(name)?;
        let read_only = match mode {
            None | Some("retain") => Some(drive.disk.is_none_or(|d| d.image.info().read_only)),
            Some("read-only") => Some(true),
            Some("read-write") => Some(false),
            Some(other) => {
                return Err(format!("'{other}': expected retain, read-only or read-write"));
            }
        };
        let node = self.blocks.open_file(file, format, read_only)?;
        self.open_tray(name, force)?;
        self.remove_medium(name)?;
        self.insert_medium(name, node)?;
        self.close_tray(name)
    }

    /// The node that a command is about: behind a drive, or by its own name.
    pub fn node(&self, drive: Option<&str>, node: Option<&str>) -> Result<Arc<Node>, String> {
        match (drive, node) {
            (Some(name), None) => {
                let drive = self.drive(name)?;
                let backend = self.blocks.backend(drive.id);
                backend.map(|b| b.node()).ok_or_else(|| format!("Device '{name}' has no medium"))
            }
            (None, Some(name)) => {
                let found = self.blocks.graph.get(name);
                found.ok_or_else(|| format!("Cannot find device='' nor node-name='{name}'"))
            }
            _ => Err("expected either a device or a node name".into()),
        }
    }

    /// `block_resize`, in bytes.
    pub fn resize(&mut self, node: &Arc<Node>, bytes: u64) -> Result<(), String> {
        node.resize(bytes.next_multiple_of(512)).map_err(|e| e.to_string())?;
        let drives = self.guest.drives();
        for drive in drives {
            if self.blocks.backend(drive.id).is_some_and(|b| Arc::ptr_eq(&b.node(), node)) {
                self.guest.resized(drive.id);
            }
        }
        Ok(())
    }

    /// `blockdev-snapshot-sync`.
    pub fn snapshot(&mut self, node: &Arc<Node>, what: &SnapshotSync) -> Result<(), String> {
        self.blocks.graph.snapshot(node, what).map(drop).map_err(|e| e.to_string())
    }

    /// `block_set_io_throttle`.
    pub fn throttle(&mut self, name: &str, limits: Limits) -> Result<(), String> {
        let drive = self.drive(name)?;
        let backend = self.blocks.backend(drive.id);
        backend.ok_or_else(|| format!("Device '{name}' has no medium"))?.limiter.set(limits);
        Ok(())
    }
}
