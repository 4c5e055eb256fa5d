//! What a machine is to be: plain data, made by the command line (or a test) and read by the boards.
//!
//! The defaults are those of `qemu-system-x86_64` without options: a `pc`, one CPU, 128 MiB.

use crate::devices::Props;
use std::path::PathBuf;

mod log;

pub use log::{ITEMS, Item, Log};

/// Bytes in a mebibyte.
pub const MIB: u64 = 1 << 20;
/// Bytes in a gibibyte.
pub const GIB: u64 = 1 << 30;
/// The most memory that a machine may have.
pub const MAX_RAM: u64 = 64 * GIB;
/// The most CPUs that a machine may have.
pub const MAX_CPUS: u32 = 16;
/// How many serial ports the boards have (COM1 to COM4).
pub const SERIAL_PORTS: usize = 4;

/// A character back end, by its number in the front end's list. The machine only hands it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Backend(pub u32);

/// A drive, by its number in [`Config::drives`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DriveId(pub u32);

/// What a drive does with errors of its image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// The guest is told.
    #[default]
    Report,
    /// The guest is told that all went well.
    Ignore,
    /// The machine stops, and tries again when it goes on.
    Stop,
    /// As [`OnError::Stop`] if the host has no room, else as [`OnError::Report`].
    Enospc,
}

impl OnError {
    /// QEMU's names; `auto` is not among them, for it depends on what failed.
    pub const NAMES: [(&str, OnError); 4] = [
        ("report", OnError::Report),
        ("ignore", OnError::Ignore),
        ("stop", OnError::Stop),
        ("enospc", OnError::Enospc),
    ];
    pub fn named(name: &str) -> Option<OnError> {
        OnError::NAMES.iter().find(|n| n.0 == name).map(|n| n.1)
    }
}

/// A drive: what is put into it comes by [`crate::Machine::insert`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drive {
    /// What monitors call it.
    pub name: String,
    /// Its medium can be changed.
    pub removable: bool,
    /// `rerror=`, `werror=`.
    pub read_error: OnError,
    pub write_error: OnError,
}

/// The contents of a flash chip.
#[derive(Clone, PartialEq, Eq)]
pub struct FlashContents {
    pub bytes: Vec<u8>,
    pub read_only: bool,
}

impl std::fmt::Debug for FlashContents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes, read_only: {}", self.bytes.len(), self.read_only)
    }
}

/// Everything that can be said about a machine before it is built.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `-name`: what monitors call it.
    pub name: Option<String>,
    /// `-uuid`, as 16 bytes in the order of the text; zeros when not given.
    pub uuid: [u8; 16],
    pub board: Board,
    pub cpu: CpuModel,
    pub topology: Topology,
    /// Bytes of RAM.
    pub ram: u64,
    pub accel: Accel,
    pub boot: Boot,
    /// `-fw_cfg`.
    pub fw_files: Vec<FwFile>,
    /// COM1 to COM4: there, and joined to a back end, or not there.
    pub serial: [Option<Backend>; SERIAL_PORTS],
    /// The drives, to which devices are joined.
    pub drives: Vec<Drive>,
    /// The drives behind the flash chips, from the lowest unit on.
    pub flash: Vec<DriveId>,
    /// What those drives hold when the machine is built.
    pub flash_contents: Vec<FlashContents>,
    /// What `-global isa-serial` says of these.
    pub serial_props: Props,
    /// `-device`, in order. `-debugcon` adds one, too.
    pub devices: Vec<DeviceSpec>,
    /// `-global driver.property=value`, in order.
    pub globals: Vec<Global>,
    pub time: Timebase,
    pub rtc: Rtc,
    /// `-seed`: where RDRAND and the like come from when time is the instruction count.
    pub seed: Option<u64>,
    /// `-nodefaults`: only the parts asked for.
    pub no_defaults: bool,
    pub log: Log,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            name: None,
            uuid: [0; 16],
            board: Board::default(),
            cpu: CpuModel::default(),
            topology: Topology::default(),
            ram: 128 * MIB,
            accel: Accel::default(),
            boot: Boot::default(),
            fw_files: Vec::new(),
            serial: [None; SERIAL_PORTS],
            drives: Vec::new(),
            flash: Vec::new(),
            flash_contents: Vec::new(),
            serial_props: Props::default(),
            devices: Vec::new(),
            globals: Vec::new(),
            time: Timebase::Host,
            rtc: Rtc::default(),
            seed: None,
            no_defaults: false,
            log: Log::default(),
        }
    }
}

/// Which chipset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chipset {
    /// Intel 440FX with the PIIX3 south bridge.
    #[default]
    Pc,
    /// Intel Q35 with the ICH9 south bridge.
    Q35,
}

/// `-M` with its properties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Board {
    pub chipset: Chipset,
    /// `acpi=`: whether there are ACPI tables and power management.
    pub acpi: bool,
    /// `hpet=`: whether there is a high-precision event timer.
    pub hpet: bool,
    /// `pit=`: whether there is an 8254 timer.
    pub pit: bool,
    /// `pic=`: whether there is a pair of 8259 interrupt controllers; `None`: as the board likes.
    pub pic: Option<bool>,
    /// `graphics=`: whether firmware and loaders may use a screen.
    pub graphics: bool,
    /// `i8042=`: whether there is a keyboard controller.
    pub i8042: bool,
    /// `smm=`: whether CPUs have a system management mode.
    pub smm: bool,
    /// `-global mch.extended-tseg-mbytes=`.
    pub extended_tseg: u16,
}

impl Default for Board {
    fn default() -> Self {
        Board {
            chipset: Chipset::Pc,
            acpi: true,
            hpet: true,
            pit: true,
            pic: None,
            graphics: true,
            i8042: true,
            smm: true,
            extended_tseg: 16,
        }
    }
}

/// `-cpu`: a name and what is changed about it, in order. The cpu crate knows what the words mean.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuModel {
    /// `None`: the board's usual one.
    pub model: Option<String>,
    pub features: Vec<(String, Setting)>,
}

/// What a `-cpu` property is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// `+f`, `f=on`, `f`.
    On,
    /// `-f`, `f=off`.
    Off,
    /// `f=anything else`.
    Is(String),
}

/// `-smp`, complete and checked: `cpus == sockets * dies * cores * threads`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topology {
    pub cpus: u32,
    pub sockets: u32,
    pub dies: u32,
    pub cores: u32,
    pub threads: u32,
}

impl Default for Topology {
    fn default() -> Self {
        Topology { cpus: 1, sockets: 1, dies: 1, cores: 1, threads: 1 }
    }
}

/// `-accel tcg,...`: how, never what, the machine computes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accel {
    /// `tb-size=`: bytes of translated code to keep; `None`: as the engine likes.
    pub code_bytes: Option<u64>,
    /// `one-insn-per-tb=on`: translate one instruction at a time.
    pub one_instruction: bool,
    /// `baseline=`: executions after which a block gets native code of its own; `None`: as the engine likes.
    pub baseline: Option<u32>,
    /// `regions=`: executions after which the optimizing compiler is asked; `None`: as the engine likes.
    pub regions: Option<u32>,
    /// `compiler=cranelift`: that compiler makes all regions.
    pub cranelift: bool,
    /// `code-cache=`: the folder where native code is kept for later runs.
    pub code_cache: Option<PathBuf>,
    /// `-perfmap` and `-jitdump`.
    pub profilers: jit::Profilers,
}

/// What to load without firmware.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Boot {
    pub kernel: Option<PathBuf>,
    pub initrd: Option<PathBuf>,
    pub append: Option<String>,
    /// `-bios`: firmware, by its path or by a name to look for; `None`: there is none.
    pub firmware: Option<PathBuf>,
    /// `-L`: where to look for firmware first.
    pub firmware_dirs: Vec<PathBuf>,
    /// `-boot order=`.
    pub order: Option<String>,
    /// `-boot once=`: the order until the first reset.
    pub once: Option<String>,
    /// `-boot menu=`.
    pub menu: bool,
    /// `-boot strict=`: nothing but what has a boot index is tried.
    pub strict: bool,
    /// `-boot splash-time=`: how long the menu waits, in milliseconds.
    pub splash_time: Option<u16>,
    /// `-boot reboot-timeout=`: how long after a failure to boot, in milliseconds; -1: never.
    pub reboot_timeout: Option<i32>,
}

/// One `-fw_cfg`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FwFile {
    pub name: String,
    pub content: FwContent,
}

/// What a `-fw_cfg` file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FwContent {
    Text(Vec<u8>),
    File(PathBuf),
}

/// One `-device`: a driver's name, and what was said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceSpec {
    pub id: Option<String>,
    pub driver: &'static str,
    pub props: Props,
}

impl DeviceSpec {
    pub fn new(driver: &'static str, props: Props) -> DeviceSpec {
        DeviceSpec { id: None, driver, props }
    }
}

/// A place on a PCI bus, as in `addr=3.1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PciAddr {
    pub slot: u8,
    pub function: u8,
}

/// One `-global`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Global {
    pub driver: String,
    pub property: String,
    pub value: String,
}

/// What guest time is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timebase {
    /// The host's monotonic clock.
    #[default]
    Host,
    /// `-icount`: the count of instructions.
    Count {
        shift: Shift,
        /// Whether idle time is waited for in host time, or jumped over.
        sleep: bool,
        /// Whether the guest is held back when it runs ahead of the host's clock.
        align: bool,
    },
}

/// How long an instruction takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shift {
    /// `2^n` nanoseconds; at most 10.
    Fixed(u8),
    /// So that guest time keeps up with the host's.
    Auto,
}

/// `-rtc`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rtc {
    pub base: RtcBase,
    pub clock: RtcClock,
    /// `driftfix=slew`: lost ticks are made up for.
    pub slew: bool,
}

/// What the clock shows at power-on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RtcBase {
    /// The host's time, in UTC.
    #[default]
    Utc,
    /// The host's time, in its own time zone.
    LocalTime,
    /// This many seconds since 1970.
    At(i64),
}

/// What drives the real-time clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RtcClock {
    /// The host's time of day, with all its jumps.
    #[default]
    Host,
    /// The host's monotonic clock.
    Rt,
    /// Guest time.
    Vm,
}
