//! A [`machine::Machine`] as the front end's [`Guest`].

use crate::guest::{CodeWidth, DeviceId, DriveState, Guest, Slice, Unmapped};
use device::{Input, Request, Width};
use machine::config::{Backend, Config, DeviceSpec, DriveId};
use machine::{Disk, DriveEvent, Machine, text};
use std::io;

/// The machine, and why it cannot go on if it cannot.
struct Whole(Machine, Option<String>);

/// From here on, a number is that of a back end whose other end is a part of a device.
const PARTS: u32 = 1 << 16;

/// Builds the machine that the options describe.
pub fn build(config: &Config) -> Result<Box<dyn Guest>, String> {
    let m = Machine::new(config.clone()).map_err(|e| e.to_string())?;
    Ok(Box::new(Whole(m, None)))
}

impl Whole {
    /// A request with whom it is from, where that is a part of a device that has a back end.
    fn unwrap(&self, from: machine::DeviceId, mut what: Request) -> (DeviceId, Request) {
        let mut path = Vec::new();
        while let Request::From(n, inner) = what {
            path.push(n);
            what = *inner;
        }
        let is = |end: &machine::End| end.device == from && end.path == path;
        let part = self.0.board.backends.iter().find(|(_, end)| !path.is_empty() && is(end));
        (DeviceId(part.map_or(from.0, |(b, _)| PARTS + b.0)), what)
    }
}

fn width(size: u8) -> Width {
    Width::of_bytes(size.into()).unwrap_or(Width::W8)
}

impl Guest for Whole {
    fn run_slice(&mut self) -> Slice {
        if let Some(why) = self.1.take() {
            return Slice::Failed(why);
        }
        match self.0.run_slice() {
            machine::Slice::Ran => Slice::Ran,
            machine::Slice::Idle { until } => Slice::Idle { until },
            machine::Slice::Stuck => Slice::Stuck,
        }
    }
    fn take_requests(&mut self) -> Vec<(DeviceId, Request)> {
        let requests = self.0.take_requests();
        requests.into_iter().map(|(id, r)| self.unwrap(id, r)).collect()
    }
    fn input(&mut self, to: DeviceId, what: Input) {
        let Some(backend) = to.0.checked_sub(PARTS) else {
            return self.0.input(machine::DeviceId(to.0), what);
        };
        let Some(end) = self.0.end_of(Backend(backend)) else { return };
        let what = end.path.iter().rev().fold(what, |what, n| Input::To(*n, Box::new(what)));
        self.0.input(end.device, what)
    }
    fn device_of(&self, backend: Backend) -> Option<DeviceId> {
        let end = self.0.end_of(backend)?;
        Some(DeviceId(if end.path.is_empty() { end.device.0 } else { PARTS + backend.0 }))
    }
    fn set_running(&mut self, running: bool) {
        self.0.set_running(running)
    }
    fn reset(&mut self) {
        self.0.has_booted();
        self.1 = self.0.reset().err().map(|e| e.to_string());
    }
    fn power_button(&mut self) {
        self.0.input(self.0.board.pci, Input::PowerButton)
    }
    fn nmi(&mut self) {
        self.0.nmi()
    }
    fn key(&mut self, code: u8, down: bool) {
        if let Some(id) = self.0.board.keyboard {
            self.0.input(id, Input::Key { code, down })
        }
    }
    fn pointer(&mut self, dx: i32, dy: i32, dz: i32, buttons: u8) {
        if let Some(id) = self.0.board.keyboard {
            self.0.input(id, Input::Pointer { dx, dy, dz, buttons })
        }
    }
    fn cpus(&self) -> u32 {
        self.0.cores.len() as u32
    }
    fn halted(&self, cpu: u32) -> bool {
        self.0.cores.get(cpu as usize).is_some_and(|c| c.activity() != cpu::Activity::Running)
    }
    fn registers(&self, cpu: u32) -> String {
        self.0.cores.get(cpu as usize).map(|c| text::registers(c)).unwrap_or_default()
    }
    fn register(&self, cpu: u32, name: &str) -> Option<u64> {
        text::register(self.0.cores.get(cpu as usize)?, name)
    }
    fn code_width(&self, cpu: u32) -> CodeWidth {
        match self.0.code_bits(cpu as usize) {
            16 => CodeWidth::Bits16,
            32 => CodeWidth::Bits32,
            _ => CodeWidth::Bits64,
        }
    }
    fn read_virtual(&mut self, cpu: u32, at: u64, into: &mut [u8]) -> Result<(), Unmapped> {
        self.0.read_virtual(cpu as usize, at, into).ok_or(Unmapped(at))
    }
    fn read_physical(&mut self, at: u64, into: &mut [u8]) -> Result<(), Unmapped> {
        self.0.read_physical(at, into).ok_or(Unmapped(at))
    }
    fn read_port(&mut self, port: u16, size: u8) -> u32 {
        self.0.with_core(0, |s| s.bus.port_read(s.c.retired(), port, width(size))) as u32
    }
    fn write_port(&mut self, port: u16, size: u8, value: u32) {
        self.0.with_core(0, |s| s.bus.port_write(s.c.retired(), port, width(size), value.into()))
    }
    fn describe(&mut self, cpu: u32, what: &str) -> Option<String> {
        self.0.describe(cpu as usize, what)
    }
    fn start_profile(&mut self, profile: machine::Profile) {
        self.0.profile = Some(Box::new(profile));
    }
    fn profile(&self) -> Option<String> {
        Some(self.0.profile.as_ref()?.report(usize::MAX))
    }
    fn set_waker(&mut self, waker: Box<dyn Fn() + Send + Sync>) {
        self.0.set_waker(waker)
    }
    fn insert(&mut self, drive: DriveId, disk: Option<Disk>) -> io::Result<()> {
        self.0.insert(drive, disk)
    }
    fn drives(&self) -> Vec<DriveState> {
        let one = |(id, d): (DriveId, &machine::Drive)| DriveState {
            id,
            name: d.config.name.clone(),
            disk: d.disk().cloned(),
            removable: d.config.removable,
            tray_open: d.tray_open,
            locked: d.locked,
            counts: d.counts,
        };
        self.0.world.drives.iter().map(one).collect()
    }
    fn take_drive_events(&mut self) -> Vec<DriveEvent> {
        self.0.take_drive_events()
    }
    fn resized(&mut self, drive: DriveId) {
        self.0.tell_medium(drive)
    }
    fn set_tray(&mut self, drive: DriveId, open: bool) {
        if let Some(d) = self.0.world.drives.get_mut(drive) {
            d.tray_open = open;
        }
    }
    fn ask_to_eject(&mut self, drive: DriveId) {
        self.0.ask_to_eject(drive)
    }
    fn finish_disks(&mut self) -> Vec<(DriveId, io::Error)> {
        let first = self.0.world.drives.finish_all();
        machine::firmware::keep_flash(&mut self.0);
        first.into_iter().chain(self.0.world.drives.finish_all()).collect()
    }
    fn add_drive(&mut self, drive: machine::config::Drive) -> DriveId {
        self.0.add_drive(drive)
    }
    fn remove_drive(&mut self, drive: DriveId) {
        self.0.remove_drive(drive)
    }
    fn plug(&mut self, device: DeviceSpec) -> Result<(), String> {
        self.0.plug(device)
    }
    fn unplug(&mut self, id: &str) -> Result<(), String> {
        self.0.unplug(id)
    }
    fn take_unplugged(&mut self) -> Vec<DeviceSpec> {
        self.0.take_unplugged()
    }
    fn picture(&mut self) -> Option<(u32, u32, Vec<u8>)> {
        let p = self.0.picture()?;
        Some((p.width, p.height, p.rgb))
    }
    fn save(&mut self, to: &mut dyn io::Write) -> io::Result<()> {
        self.0.save(to)
    }
    fn load(&mut self, from: &mut dyn io::Read) -> Result<(), String> {
        self.0.load(from)
    }
}
