//! What a device is, and all that it may know of the world.
//!
//! A [`Device`] is a pure function of its calls: it has no threads, locks, clocks or files. Everything else reaches it, and
//! leaves it, through [`Cx`]. What is not determined by the machine itself (a key, a packet, a finished disk read) enters by
//! one door, [`Device::input`], so that a recording is a log at that door.

mod bench;
mod disk;
mod split;

pub use bench::Bench;
pub use disk::{DiskError, DiskOp, Medium};
pub use memory::{Buffer, Width};
pub use split::{join, split};
pub use state::{Field, Misfit, bits, state};

/// Guest time in nanoseconds since power-on.
pub type Tick = u64;

/// Nanoseconds in a second.
pub const SECOND: Tick = 1_000_000_000;

/// One of a device's own pins: outputs for [`Cx::irq`], inputs for [`Device::wire`]. The board joins them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pin(pub u16);

/// A place inside a device: which of its register windows, and the byte offset into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reg {
    pub bank: u16,
    pub at: u64,
}

/// Which address space a window lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Space {
    Memory,
    Io,
    /// Memory, in front of all that other devices show: for the memory controller.
    Front,
    /// What a CPU in system management mode sees in front of all memory.
    Smm,
}

/// Where a register window is to be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub space: Space,
    pub base: u64,
    pub len: u64,
    pub what: Seen,
}

/// What is to be seen in a window. Offsets are into [`Cx::backing`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Seen {
    /// The device's registers: each access is a call.
    #[default]
    Registers,
    /// Memory: no call is made.
    Ram { offset: u64 },
    /// Memory for reads and instruction fetches; writes come to the device.
    Rom { offset: u64 },
}

/// What comes in from outside the machine.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Bytes from the device's character back end.
    Bytes(Vec<u8>),
    /// A break condition on a serial line.
    Break,
    /// The back end is there (or gone).
    Carrier(bool),
    /// A key by its QEMU key number (PS/2 set 1, 0xE0-prefixed ones as 0x80 | code), and whether it went down.
    Key { code: u8, down: bool },
    /// Relative pointer motion with the buttons' state (bit 0 left, 1 right, 2 middle).
    Pointer { dx: i32, dy: i32, dz: i32, buttons: u8 },
    /// The power button was pressed.
    PowerButton,
    /// A non-maskable interrupt was asked for by the user.
    Nmi,
    /// Time of day in seconds since 1970, as an answer to [`Request::TimeOfDay`].
    TimeOfDay(i64),
    /// The answer to the [`Request::Disk`] of this unit and tag: the bytes that were read, nothing else.
    Disk { unit: u16, tag: u64, result: Result<Buffer, DiskError> },
    /// What is in this unit's drive now, at power-on and after each change.
    Medium { unit: u16, medium: Option<Medium> },
    /// The user wants the medium back.
    EjectRequest { unit: u16 },
    /// For one part of a device that has several, such as a function on a bus: see [`Request::From`].
    To(u16, Box<Input>),
}

/// What a device may ask of the world outside. An answer, where there is one, comes back as an [`Input`].
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Bytes to the device's character back end.
    Send(Vec<u8>),
    /// How many bytes of input the device has room for now.
    Accept(usize),
    /// A break condition for the back end.
    SendBreak,
    /// Reset the machine.
    Reset,
    /// Turn the machine off (ACPI S5).
    PowerOff,
    /// Sleep (ACPI S3).
    Suspend,
    /// Leave the emulator with this exit status.
    Exit(u8),
    /// The guest says that its kernel panicked (bit 0), loaded a crash kernel (bit 1), shut down (bit 2).
    Panicked(u8),
    /// An INIT, NMI or SIPI for one CPU.
    Cpu { cpu: u32, what: CpuSignal },
    /// A local APIC ended the level-triggered interrupt of this vector: for all I/O APICs.
    Eoi(u8),
    /// Address line 20 is let through (true) or held at zero.
    A20(bool),
    /// The speaker's frequency in Hz, or silence.
    Tone(Option<u32>),
    /// Ask for the time of day.
    TimeOfDay,
    /// Something of the disk that is this device's `unit`. The device chooses the tag; it is free again with the answer.
    Disk { unit: u16, tag: u64, op: DiskOp },
    /// Everything asked of this unit so far is over when this returns, done or not, and no answer comes any more.
    DiskAbandon { unit: u16 },
    /// The function of this number is gone from the bus: its back ends are free, and so is its number.
    Unplugged(u16),
    /// The firmware configuration device waits for the item that was selected.
    FirmwareItem,
    /// A system management interrupt: for the CPU that works now, or for all.
    Smi { all: bool },
    /// One part of a device asks; answers go back as [`Input::To`] with the same number.
    From(u16, Box<Request>),
}

/// What one CPU can be told by the interrupt fabric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuSignal {
    Init,
    /// Start-up with this vector: execution begins at `vector << 12` in real mode.
    Startup(u8),
    Nmi,
    Smi,
    /// The level of the CPU's external interrupt request (from its local APIC).
    Intr(bool),
}

/// How an interrupt message is delivered.  SDM 3A, 11.6.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    Fixed,
    LowestPriority,
    Smi,
    Nmi,
    Init,
    /// INIT level de-assert: sets arbitration ids on old parts, no effect now.
    InitDeassert,
    Startup,
    ExtInt,
}

/// Whom an interrupt message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The APIC with this physical id; 0xFF (xAPIC) or 0xFFFF_FFFF is everybody.
    Physical(u32),
    /// A logical destination; matched by every local APIC in its own mode.
    Logical(u32),
    /// The sender alone.
    Oneself,
    All,
    AllButSender,
}

/// A message on the bus between I/O APICs, message-signalled interrupts and local APICs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApicMessage {
    pub to: Target,
    pub how: Delivery,
    pub vector: u8,
    pub level_triggered: bool,
}

/// A DMA access that hit no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DmaFault;

/// Guest-physical memory as a bus master sees it.
pub trait Dma {
    fn read(&mut self, addr: u64, into: &mut [u8]) -> Result<(), DmaFault>;
    fn write(&mut self, addr: u64, from: &[u8]) -> Result<(), DmaFault>;
}

/// A device's only way to the world.
pub trait Cx {
    /// Guest time.
    fn now(&self) -> Tick;
    /// When [`Device::wake`] is to be called next; `None`: not at all. Replaces the earlier wish.
    fn wake_at(&mut self, at: Option<Tick>);
    /// The level of an output pin. Saying the same again is free.
    fn irq(&mut self, pin: Pin, high: bool);
    /// Memory as this device sees it.
    fn dma(&mut self) -> &mut dyn Dma;
    /// Memory that the board gave this device, behind windows of [`Seen::Ram`] and [`Seen::Rom`]: addresses are offsets.
    fn backing(&mut self) -> &mut dyn Dma;
    /// Something of the world outside.
    fn ask(&mut self, what: Request);
    /// Sends an interrupt message. A message-signalled interrupt is a DMA write to 0xFEEx_xxxx instead.
    fn apic(&mut self, message: ApicMessage);
    /// Shows register window `bank` at `place`, or nowhere. Replaces where it was.
    fn map(&mut self, bank: u16, place: Option<Place>);
    /// A number that a guest cannot guess; from the seed when time is the instruction count.
    fn random(&mut self) -> u64;
    /// One line for the log of guest errors (`-d guest_errors`); rate-limited.
    fn complain(&mut self, what: std::fmt::Arguments<'_>);
}

/// A part of a computer.
///
/// Outputs (pins, wake time, mapped windows) are a function of the state: `settle` sets them all, and is called after
/// reset and load; a device calls it itself after each change.
pub trait Device: std::any::Any + Send {
    /// What `info qtree` calls it.
    fn name(&self) -> &'static str;
    /// A guest read of `w` at `at`. Reads of nothing give all ones.
    fn read(&mut self, at: Reg, w: Width, cx: &mut dyn Cx) -> u64;
    fn write(&mut self, at: Reg, w: Width, value: u64, cx: &mut dyn Cx);
    /// The time it asked for has come.
    fn wake(&mut self, _cx: &mut dyn Cx) {}
    /// Something came from outside.
    fn input(&mut self, _what: Input, _cx: &mut dyn Cx) {}
    /// One of its input pins changed (the board joins another device's output to it).
    fn wire(&mut self, _pin: Pin, _high: bool, _cx: &mut dyn Cx) {}
    /// Power-on or reset values. Followed by `settle`.
    fn reset(&mut self);
    /// Sets every output from the state.
    fn settle(&mut self, _cx: &mut dyn Cx) {}
    /// All that the guest can see, as [`state!`] writes it.
    fn save(&self) -> Vec<u8>;
    /// Takes a saved state. Followed by `settle`. On an error the device is as it was.
    fn load(&mut self, from: &[u8]) -> Result<(), Misfit>;
    /// A few lines for the monitor (`info pic`, `info lapic`, ...).
    fn describe(&self) -> String {
        String::new()
    }
}
