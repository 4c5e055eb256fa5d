//! What the front end needs of a machine.
//!
//! All calls come from one thread, between slices. Nothing here may block: waiting is the front end's business.

use device::{Input, Request};
use machine::config::{Backend, DeviceSpec, DriveId};
use machine::{COUNTED, Counts, Disk, DriveEvent, Profile};
use std::io;
use std::time::Duration;

/// One of the machine's devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceId(pub u32);

/// How a slice of running ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Slice {
    /// There is more to do at once.
    Ran,
    /// All CPUs wait. The next timer is due after this long in host time; `None`: only input can wake them.
    Idle { until: Option<Duration> },
    /// All CPUs are in a state that only a reset ends (a triple fault is a [`Request::Reset`] instead).
    Stuck,
    /// The emulator itself cannot go on; the text says why.
    Failed(String),
}

/// A guest address that there is nothing at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unmapped(pub u64);

/// What a CPU's code is to be read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeWidth {
    Bits16,
    Bits32,
    Bits64,
}

/// A drive as monitors know it.
#[derive(Clone)]
pub struct DriveState {
    pub id: DriveId,
    pub name: String,
    pub disk: Option<Disk>,
    /// Media can be changed, and the tray can be locked.
    pub removable: bool,
    pub tray_open: bool,
    pub locked: bool,
    pub counts: [Counts; COUNTED.len()],
}

/// A machine, as seen from the front end.
pub trait Guest {
    /// Runs for a short while (some milliseconds at most), or until there are requests.
    fn run_slice(&mut self) -> Slice;
    /// What devices asked of the world since the last call, in order. Those for the machine itself (CPU signals, A20)
    /// never come here.
    fn take_requests(&mut self) -> Vec<(DeviceId, Request)>;
    /// Something for a device from outside. Of [`Input::Bytes`] it gets no more than it last said that it has room for
    /// with [`Request::Accept`], and one byte before it has said anything.
    fn input(&mut self, to: DeviceId, what: Input);
    /// Which device a character back end is joined to.
    fn device_of(&self, backend: Backend) -> Option<DeviceId>;

    /// Guest time stands still, or goes on. It stands still at first.
    fn set_running(&mut self, running: bool);
    /// The reset button.
    fn reset(&mut self);
    /// The power button.
    fn power_button(&mut self);
    /// A non-maskable interrupt for all CPUs.
    fn nmi(&mut self);
    /// A key of the keyboard; see [`Input::Key`].
    fn key(&mut self, code: u8, down: bool);

    /// The mouse moved, or its buttons changed; see [`Input::Pointer`].
    fn pointer(&mut self, _dx: i32, _dy: i32, _dz: i32, _buttons: u8) {}

    /// How many CPUs there are.
    fn cpus(&self) -> u32;
    /// Whether a CPU waits for an interrupt.
    fn halted(&self, cpu: u32) -> bool;
    /// A CPU's registers, for people.
    fn registers(&self, cpu: u32) -> String;
    /// A register by its lower-case name: `rip`, `eax`, `cs`, `cr3`...
    fn register(&self, cpu: u32, name: &str) -> Option<u64>;
    fn code_width(&self, cpu: u32) -> CodeWidth;
    /// Reads memory as a CPU's data accesses see it, without a trace (no faults, no accessed bits).
    fn read_virtual(&mut self, cpu: u32, at: u64, into: &mut [u8]) -> Result<(), Unmapped>;
    fn read_physical(&mut self, at: u64, into: &mut [u8]) -> Result<(), Unmapped>;
    /// Reads an I/O port, with all that follows from it. `size` is 1, 2 or 4.
    fn read_port(&mut self, port: u16, size: u8) -> u32;
    fn write_port(&mut self, port: u16, size: u8, value: u32);
    /// The text of `info what` for what only the machine knows (`mtree`, `pic`, `lapic`, `qtree`, `tlb`, `jit`, `irq`,
    /// `profile`);
    /// `cpu` is the monitor's current one.
    fn describe(&mut self, cpu: u32, what: &str) -> Option<String>;

    /// Takes samples of where the guest is from now on.
    fn start_profile(&mut self, _profile: Profile) {}
    /// All of them, for people.
    fn profile(&self) -> Option<String> {
        None
    }

    /// What wakes the front end when a disk has answered: called from another thread. Only the first one counts.
    fn set_waker(&mut self, _waker: Box<dyn Fn() + Send + Sync>) {}
    /// Puts a disk into a drive, or takes it out.
    fn insert(&mut self, _drive: DriveId, _disk: Option<Disk>) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// What is in the drives.
    fn drives(&self) -> Vec<DriveState> {
        Vec::new()
    }
    /// What happened to drives since the last call.
    fn take_drive_events(&mut self) -> Vec<DriveEvent> {
        Vec::new()
    }
    /// A disk's length has changed.
    fn resized(&mut self, _drive: DriveId) {}
    /// The user opens or closes a tray.
    fn set_tray(&mut self, _drive: DriveId, _open: bool) {}
    /// The guest is asked to let go of a medium.
    fn ask_to_eject(&mut self, _drive: DriveId) {}
    /// All that was asked of disks is done when this returns, and is safe. Gives what went wrong.
    fn finish_disks(&mut self) -> Vec<(DriveId, io::Error)> {
        Vec::new()
    }

    /// A drive for a device that is about to be plugged.
    fn add_drive(&mut self, _drive: machine::config::Drive) -> DriveId {
        DriveId(u32::MAX)
    }
    /// Forgets a drive that no device has.
    fn remove_drive(&mut self, _drive: DriveId) {}
    /// Puts a device into the running machine.
    fn plug(&mut self, _device: DeviceSpec) -> Result<(), String> {
        Err("nothing can be plugged into this machine".into())
    }
    /// Asks for a device back; once it is gone, there is a [`Request::Unplugged`].
    fn unplug(&mut self, id: &str) -> Result<(), String> {
        Err(format!("Device '{id}' not found"))
    }
    /// The devices that were taken out since the last call.
    fn take_unplugged(&mut self) -> Vec<DeviceSpec> {
        Vec::new()
    }

    /// What the screen shows: width, height, and three bytes for each point.
    fn picture(&mut self) -> Option<(u32, u32, Vec<u8>)> {
        None
    }

    /// Writes all of the machine's state.
    fn save(&mut self, to: &mut dyn io::Write) -> io::Result<()>;
    /// Takes a saved state. On an error, says why, and the machine is as it was.
    fn load(&mut self, from: &mut dyn io::Read) -> Result<(), String>;
}
