//! Which parts a board has, where they are, and how they are joined.

mod behind;
mod bus;
mod order;
pub(crate) mod pc;
mod start;

pub(crate) use start::start;

use crate::MachineError;
use crate::boot::{self, Layout};
use crate::clock::{Clock, TSC_HZ};
use crate::config::{Backend, Chipset, Config, CpuModel, DriveId, RtcBase, Setting, Timebase};
use crate::drives::Drives;
use crate::fabric::World;
use crate::machine::Machine;
use crate::parts::{DeviceId, Parts};
use crate::plug::{self, Standing};
use cpu::Core;
use cpu::big::cpuid::Model;
use device::{Device, Pin, Space};
use memory::{Entry, Map, Ram, Target};
use std::sync::Arc;

/// What of a board the run loop and the loaders ask for.
pub struct Board {
    pub layout: Layout,
    pub pic: Option<DeviceId>,
    pub ioapic: DeviceId,
    pub rtc: DeviceId,
    pub keyboard: Option<DeviceId>,
    /// The host bridge, with the chipset's power management.
    pub pci: DeviceId,
    pub fw_cfg: DeviceId,
    /// The flash chips, by their number among them.
    pub flash: Vec<(DeviceId, usize)>,
    /// What each character back end is joined to.
    pub backends: Vec<(Backend, End)>,
    /// The devices that were asked for, with where they stand.
    pub(crate) standing: Vec<Standing>,
}

/// A device, or a part of one: the numbers of [`device::Request::From`], outermost first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    pub device: DeviceId,
    pub path: Vec<u16>,
}

/// Where a register window is.
pub(crate) struct Window {
    space: Space,
    base: u64,
    len: u64,
}
/// A window of I/O ports.
pub(crate) fn ports(base: u16, len: u64) -> Window {
    Window { space: Space::Io, base: base.into(), len }
}
/// A window of memory.
pub(crate) fn mmio(base: u64, len: u64) -> Window {
    Window { space: Space::Memory, base, len }
}

/// A board while it is put together.
#[derive(Default)]
pub(crate) struct Builder {
    pub parts: Parts,
    pub memory: Map,
    pub ports: Map,
    pub backends: Vec<(Backend, End)>,
    /// Which unit of what each drive is joined to.
    pub drives: Vec<(DriveId, End, u16)>,
    pub flash: Vec<(DeviceId, usize)>,
    pub standing: Vec<Standing>,
    /// Bytes of the one block behind all memory: RAM, then what was given out of it.
    bytes: u64,
    /// What to put into it: offset and contents.
    images: Vec<(u64, Vec<u8>)>,
}

impl Builder {
    /// Memory for a device, for [`device::Cx::backing`] and windows of memory: gives its offset. Whole pages of zeros.
    pub fn backing(&mut self, bytes: u64) -> u64 {
        let at = self.bytes;
        self.bytes += bytes.next_multiple_of(memory::PAGE);
        at
    }
    /// The same with contents.
    pub fn image(&mut self, contents: Vec<u8>) -> u64 {
        let at = self.backing(contents.len() as u64);
        self.images.push((at, contents));
        at
    }
    /// Shows memory at a fixed address, behind the windows of devices.
    pub fn map(&mut self, base: u64, len: u64, target: Target, name: &str) {
        self.memory.add(Entry { base, len, target, priority: 0, name: name.into(), owner: None });
    }
    /// Adds a part with its fixed windows; the n-th is bank n.
    pub fn part(&mut self, name: &str, device: impl Device, windows: &[Window]) -> DeviceId {
        let id = self.parts.add(name, device);
        for (bank, w) in windows.iter().enumerate() {
            let target = Target::Io { device: id.0, bank: bank as u16, at: 0 };
            let entry = Entry {
                base: w.base,
                len: w.len,
                target,
                priority: 1,
                name: name.into(),
                owner: None,
            };
            match w.space {
                Space::Io => self.ports.add(entry),
                _ => self.memory.add(entry),
            }
        }
        id
    }
    /// Whether memory was asked for.
    pub fn has_backing(&self) -> bool {
        self.bytes != 0
    }
    pub fn backend(&mut self, backend: Option<Backend>, device: DeviceId, path: Vec<u16>) {
        self.backends.extend(backend.map(|b| (b, End { device, path })));
    }
}

/// ISA interrupt lines: each goes to the 8259 pair and to the I/O APIC, where line 0 arrives at pin 2.
pub(crate) struct IsaLines {
    pub pic: DeviceId,
    pub ioapic: DeviceId,
}
impl IsaLines {
    pub fn join(&self, b: &mut Builder, from: DeviceId, pin: Pin, irq: u16) {
        b.parts.join((from, pin), (self.pic, Pin(irq)));
        b.parts.join((from, pin), (self.ioapic, Pin(if irq == 0 { 2 } else { irq })));
    }
}

/// Builds a machine; its cores and memory are as after power-on, with a kernel loaded if one was asked for.
pub(crate) fn build(mut config: Config) -> Result<Machine, MachineError> {
    let mut layout = layout(&config);
    let mut b = Builder { bytes: layout.ram_low + layout.ram_high, ..Builder::default() };
    map_ram(&mut b, &layout);
    let model = Arc::new(model(&config)?);
    layout.cpu_id = [model.signature(), model.first_features()];
    let mut board = pc::wire(&mut b, &config, layout, &model)?;
    board.layout.hotplug = b.parts.get(board.pci).and_then(plug::hot_buses);
    let ram = Arc::new(Ram::new(b.bytes)?);
    for (at, contents) in &b.images {
        let _ = ram.write(*at, contents);
    }
    // They are in the chips now.
    config.flash_contents = Vec::new();
    let timed = config.time != Timebase::Host;
    let mut drives = Drives::new(&config.drives, timed);
    for (drive, end, unit) in b.drives {
        drives.join(drive, end.device, end.path, unit);
    }
    let mut world = World::new(ram.clone(), seed(&config), drives);
    world.log = config.log.clone();
    (world.memory, world.ports) = (b.memory, b.ports);
    let mut engine = jit::Engine::new(ram.clone(), engine_config(&config))?;
    if let Some(folder) = &config.accel.code_cache {
        engine.keep_code(folder, &model.features())?;
    }
    let cores = (0..config.topology.cpus).map(|n| {
        let id = board.layout.apic_ids[n as usize];
        Core::new(id, ram.clone(), model.clone())
    });
    let mut machine = Machine {
        cores: cores.collect(),
        clock: Clock::new(config.time),
        board,
        world,
        parts: b.parts,
        engine,
        count: 0,
        turn: 0,
        turn_ends: 0,
        hurry: 0,
        busy: 0,
        working: 0,
        running: false,
        map_version: 0,
        a20: true,
        until: u64::MAX,
        plain: false,
        profile: None,
        unplugged: Vec::new(),
        config,
    };
    machine.reset()?;
    machine.tell_media();
    Ok(machine)
}

fn layout(config: &Config) -> Layout {
    let board = match config.board.chipset {
        Chipset::Pc => boot::Board::Pc,
        Chipset::Q35 => boot::Board::Q35,
    };
    let t = &config.topology;
    let mut l = Layout::new(board, config.ram, t.cpus);
    l.topology = boot::Topology { sockets: t.sockets, cores: t.cores * t.dies, threads: t.threads };
    l.apic_ids = l.topology.apic_ids();
    l.com = [config.serial[0].is_some(), config.serial[1].is_some()];
    l.ps2 = config.board.i8042;
    l.uuid = config.uuid;
    if !config.board.hpet {
        l.hpet = None;
    }
    let pvpanic = config.devices.iter().find(|d| d.driver == "pvpanic");
    l.pvpanic = pvpanic.map(|d| crate::devices::pvpanic_port(&d.props));
    l
}

/// RAM from 0, with the hole below 1 MiB left to video memory and ROM, and from 4 GiB. RAM behind the hole is shown by the
/// memory controller.
fn map_ram(b: &mut Builder, l: &Layout) {
    use boot::layout::{FOUR_GB, MB};
    let ram = |offset| Target::Ram { offset };
    b.map(0, l.ram_low.min(0xA_0000), ram(0), "ram below 640 KiB");
    b.map(MB, l.ram_low.saturating_sub(MB), ram(MB), "ram below 4 GiB");
    b.map(FOUR_GB, l.ram_high, ram(l.ram_low), "ram above 4 GiB");
}

/// Whether there is such a CPU, or what is wrong with the words.
pub fn check_cpu(cpu: &CpuModel) -> Result<(), String> {
    named_model(cpu).map(|_| ())
}

fn named_model(cpu: &CpuModel) -> Result<Model, String> {
    // QEMU says qemu64 here; what runs on that runs on this, and what wants more than 2003 had does, too.
    let mut text = cpu.model.clone().unwrap_or_else(|| "max".into());
    for (name, setting) in &cpu.features {
        text += &match setting {
            Setting::On => format!(",{name}=on"),
            Setting::Off => format!(",{name}=off"),
            Setting::Is(v) => format!(",{name}={v}"),
        };
    }
    Model::parse(&text)
}

/// The CPU model that the options name.
fn model(config: &Config) -> Result<Model, MachineError> {
    let t = &config.topology;
    let mut model =
        named_model(&config.cpu).map_err(|e| MachineError::Option(format!("-cpu: {e}")))?;
    model.set_topology(t.sockets, t.cores * t.dies, t.threads);
    model.set_tsc_hz(TSC_HZ);
    Ok(model)
}

fn engine_config(config: &Config) -> jit::Config {
    let mut c = jit::Config::default();
    if let Some(bytes) = config.accel.code_bytes {
        c.code_bytes = usize::try_from(bytes).unwrap_or(c.code_bytes).clamp(1 << 20, 2 << 30);
    }
    c.baseline = config.accel.baseline.unwrap_or(c.baseline);
    c.threshold = config.accel.regions.unwrap_or(c.threshold);
    c.cranelift |= config.accel.cranelift;
    c.profilers = config.accel.profilers;
    if config.accel.one_instruction {
        (c.threshold, c.baseline) = (u32::MAX, u32::MAX);
    }
    c
}

/// What RDRAND and the like come from: the `-seed`, a fixed number when time is the instruction count, else the host.
fn seed(config: &Config) -> u64 {
    match (config.seed, config.time) {
        (Some(seed), _) => seed ^ 0x9E37_79B9_7F4A_7C15,
        (None, crate::config::Timebase::Count { .. }) => 0x9E37_79B9_7F4A_7C15,
        (None, crate::config::Timebase::Host) => host_entropy(),
    }
}
fn host_entropy() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    // The standard library seeds its hash maps from the host's entropy.
    std::hash::RandomState::new().build_hasher().finish()
}

/// Seconds since 1970 at power-on. When time is the instruction count, the host's clock may not show.
#[allow(clippy::disallowed_methods)]
pub(crate) fn unix_time(config: &Config) -> i64 {
    match (config.rtc.base, config.time) {
        (RtcBase::At(t), _) => t,
        (_, crate::config::Timebase::Count { .. }) => 1_750_000_000,
        _ => {
            let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            since.map_or(0, |d| d.as_secs() as i64)
        }
    }
}
