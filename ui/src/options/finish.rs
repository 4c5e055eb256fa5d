//! From what was said to what it means: defaults, and names joined to what they name.

use super::device;
use super::disk::WantedDrive;
use super::place::Drives;
use super::words::Words;
use super::{Actions, Chardev, ChardevKind, Fault, Mode, Monitor, Options, Profile};
use ::machine::config::{Backend, Chipset, Config, DeviceSpec, Item, PciAddr};
use ::machine::devices::{self, Props};
use serde_json::{Map, Value};
use std::path::PathBuf;

/// What the options said so far.
#[derive(Default)]
pub struct Gathered {
    pub config: Config,
    pub tcg: bool,
    /// An accelerator that is not ours: the option and the name.
    pub other_accel: Option<(String, String)>,
    pub devices: Vec<Words>,
    pub drives: Vec<WantedDrive>,
    pub nodes: Vec<Map<String, Value>>,
    /// `pflash0=` and `pflash1=` of the board.
    pub flash: Vec<(u64, String)>,
    /// `-snapshot`.
    pub snapshot: bool,
    pub chardevs: Vec<Chardev>,
    pub serials: Vec<Front>,
    pub debugcons: Vec<Front>,
    pub monitors: Vec<WantedMonitor>,
    pub said_monitor: bool,
    pub said_display: bool,
    /// `-vga`: whether there is one.
    pub vga: Option<bool>,
    pub nographic: bool,
    pub actions: Actions,
    pub paused: bool,
    pub log_items: Vec<Item>,
    pub log_file: Option<PathBuf>,
    pub pidfile: Option<PathBuf>,
    pub profile: Option<Profile>,
    pub load: Option<PathBuf>,
    pub escape: Option<u8>,
}

/// What something wants to be joined to.
#[derive(Clone, Debug, PartialEq)]
pub enum Front {
    /// `none`.
    Absent,
    /// A `-chardev` by its id.
    Named(String),
    /// A back end of its own; with `monitor`, a monitor shares it.
    Own { chardev: Chardev, monitor: bool },
}

pub struct WantedMonitor {
    pub option: String,
    pub front: Front,
    pub mode: Mode,
}

pub struct WantedDevice {
    pub id: Option<String>,
    pub driver: &'static str,
    pub props: Props,
    pub front: Option<Front>,
    /// The drive or block node that it names.
    pub drive: Option<String>,
}

/// Works out the rest.
pub fn finish(mut g: Gathered) -> Result<Options, Fault> {
    if let (Some((option, name)), false) = (&g.other_accel, g.tcg) {
        let text = format!("'{name}' needs a processor of the host; expected tcg");
        return Err(Fault::new(option, text));
    }
    let bootable = check_boot(&g);
    let mut disks = Vec::new();
    choose_firmware(&mut g);
    let mut warnings = Vec::new();
    if !g.config.no_defaults {
        add_defaults(&mut g, &mut warnings);
    }
    let mut joiner = Joiner::new(std::mem::take(&mut g.chardevs))?;
    for w in std::mem::take(&mut g.monitors) {
        if let Some(chardev) = joiner.join(&w.option, w.front)? {
            joiner.monitors.push(Monitor { chardev, mode: w.mode });
        }
    }
    for (n, front) in std::mem::take(&mut g.serials).into_iter().enumerate() {
        let backend = joiner.join("-serial", front)?;
        g.config.serial[n] = backend.map(|b| Backend(b as u32));
    }
    let mut drives = Drives::new(std::mem::take(&mut g.drives), g.snapshot);
    add_display(&mut g)?;
    drives.defaults(&mut g)?;
    for (chip, name) in std::mem::take(&mut g.flash) {
        drives.flash(chip, name, &g.nodes)?;
    }
    for words in std::mem::take(&mut g.devices) {
        let mut wanted = device::make(words, &g.config.globals)?;
        if let Some(front) = wanted.front.take()
            && let Some(b) = joiner.join("-device", front)?
        {
            wanted.props.set("chardev", devices::Value::Chardev(Backend(b as u32)));
        }
        drives.join(&mut wanted, &g.nodes)?;
        let taken = |d: &DeviceSpec| d.id.is_some() && d.id == wanted.id;
        if g.config.devices.iter().any(taken) {
            let id = wanted.id.unwrap_or_default();
            return Err(Fault::new(
                "-device",
                format!("id={id}: there is one of that name already"),
            ));
        }
        let (driver, props) = (wanted.driver, wanted.props);
        g.config.devices.push(DeviceSpec { id: wanted.id, driver, props });
    }
    for front in std::mem::take(&mut g.debugcons) {
        let words = Words::new("-debugcon", "isa-debugcon", Some("driver"))?;
        let mut wanted = device::make(words, &g.config.globals)?;
        if let Some(b) = joiner.join("-debugcon", front)? {
            wanted.props.set("chardev", devices::Value::Chardev(Backend(b as u32)));
        }
        g.config.devices.push(DeviceSpec::new(wanted.driver, wanted.props));
    }
    let words = Words::new("-serial", "isa-serial", Some("driver"))?;
    g.config.serial_props = device::make(words, &g.config.globals)?.props;
    (g.config.drives, g.config.flash) = drives.finish(&mut disks)?;
    g.config.globals.retain(|global| !device::knows(&global.driver));
    for global in &g.config.globals {
        // QEMU only warns, too: such lines are often meant for several kinds of machine.
        let (driver, property) = (&global.driver, &global.property);
        warnings.push(format!("-global: {driver}.{property} is nothing that can be set here"));
    }
    bootable?;
    Ok(Options {
        config: g.config,
        chardevs: joiner.chardevs,
        monitors: joiner.monitors,
        nodes: g.nodes,
        disks,
        actions: g.actions,
        paused: g.paused,
        log_items: g.log_items,
        log_file: g.log_file,
        pidfile: g.pidfile,
        profile: g.profile,
        load: g.load,
        escape: g.escape.unwrap_or(1),
        warnings,
    })
}

fn check_boot(g: &Gathered) -> Result<(), Fault> {
    let boot = &g.config.boot;
    if let Some(kernel) = &boot.kernel {
        // Test runners look for these words, which are QEMU's, to find whether a program works.
        let told =
            |e| format!("could not open kernel file '{}': {}", kernel.display(), super::reason(&e));
        return std::fs::File::open(kernel).map(drop).map_err(|e| Fault::new("-kernel", told(e)));
    }
    for (option, said) in [("-initrd", boot.initrd.is_some()), ("-append", boot.append.is_some())] {
        if said {
            return Err(Fault::new(option, "only allowed with -kernel"));
        }
    }
    Ok(())
}

/// The display adapter that boards have unless another is asked for, or none.
fn add_display(g: &mut Gathered) -> Result<(), Fault> {
    let asked = g.devices.iter().any(|d| d.names("VGA"));
    let wanted = g.vga.unwrap_or(!g.config.no_defaults && !asked);
    if wanted {
        let words = Words::new("-vga", "VGA", Some("driver"))?;
        let mut made = device::make(words, &g.config.globals)?;
        let slot = if g.config.board.chipset == Chipset::Pc { 2 } else { 1 };
        let addr = devices::Value::PciAddr(PciAddr { slot, function: 0 });
        made.props.set("addr", addr);
        g.config.devices.push(DeviceSpec::new(made.driver, made.props));
    }
    Ok(())
}

/// What starts without a kernel is firmware.
fn choose_firmware(g: &mut Gathered) {
    let config = &mut g.config;
    if config.boot.kernel.is_none() && config.boot.firmware.is_none() {
        config.boot.firmware = Some(::machine::firmware::DEFAULT.into());
    }
    if g.nographic {
        config.board.graphics = false;
    }
    let board = &mut config.board;
    config.globals.retain(|global| {
        let ours = global.driver == "mch" && global.property == "extended-tseg-mbytes";
        let size = global.value.parse().ok().filter(|n: &u16| ours && *n <= 0xFFF);
        board.extended_tseg = size.unwrap_or(board.extended_tseg);
        size.is_none()
    });
}

/// Serial port and monitor where nothing was said of them: both on the terminal with `-nographic`, or else on virtual
/// consoles, which without a window are nowhere.
fn add_defaults(g: &mut Gathered, warnings: &mut Vec<String>) {
    let stdio = |label: &str, shared: bool| Front::Own {
        chardev: Chardev {
            option: "-nographic".into(),
            id: label.into(),
            kind: ChardevKind::Stdio { signals: !shared },
            mux: shared,
            logfile: None,
            logappend: false,
        },
        monitor: shared,
    };
    let no_serial = g.serials.is_empty() && !g.devices.iter().any(|d| d.names("isa-serial"));
    let shared = |f: &Front| matches!(f, Front::Own { monitor: true, .. });
    let no_monitor = !g.said_monitor && !g.serials.iter().chain(&g.debugcons).any(shared);
    match (g.nographic, no_serial, no_monitor) {
        (true, true, true) => g.serials.push(stdio("serial0", true)),
        (true, true, false) => g.serials.push(stdio("serial0", false)),
        (true, false, true) => g.monitors.push(WantedMonitor {
            option: "-nographic".into(),
            front: stdio("compat_monitor0", false),
            mode: Mode::Readline,
        }),
        (false, true, _) => {
            let chardev = Chardev {
                option: "-serial".into(),
                id: "serial0".into(),
                kind: ChardevKind::Null,
                mux: false,
                logfile: None,
                logappend: false,
            };
            g.serials.push(Front::Own { chardev, monitor: false });
            if no_monitor && !g.said_display && g.debugcons.is_empty() && g.chardevs.is_empty() {
                let text =
                    "no window yet, so nothing will be seen: -nographic shows the serial port";
                warnings.push(text.into());
            }
        }
        _ => {}
    }
}

/// Joins front ends to back ends, each to one unless it is a multiplexer.
struct Joiner {
    chardevs: Vec<Chardev>,
    users: Vec<usize>,
    monitors: Vec<Monitor>,
}

/// The most front ends that a multiplexer takes.
const MUX_FRONTS: usize = 4;

impl Joiner {
    fn new(list: Vec<Chardev>) -> Result<Joiner, Fault> {
        let mut joiner = Joiner { chardevs: Vec::new(), users: Vec::new(), monitors: Vec::new() };
        for c in list {
            joiner.add(c)?;
        }
        Ok(joiner)
    }

    fn add(&mut self, c: Chardev) -> Result<usize, Fault> {
        if self.chardevs.iter().any(|d| d.id == c.id) {
            let text = format!("id={}: there is one of that name already", c.id);
            return Err(Fault::new(c.option, text));
        }
        let is_stdio = |c: &Chardev| matches!(c.kind, ChardevKind::Stdio { .. });
        if is_stdio(&c)
            && let Some(d) = self.chardevs.iter().find(|d| is_stdio(d))
        {
            let text = format!("stdio is in use already, by '{}' of {}", d.id, d.option);
            return Err(Fault::new(c.option, text));
        }
        self.chardevs.push(c);
        self.users.push(0);
        Ok(self.chardevs.len() - 1)
    }

    /// The back end's number, or `None` for none at all.
    fn join(&mut self, option: &str, front: Front) -> Result<Option<usize>, Fault> {
        let at = match front {
            Front::Absent => return Ok(None),
            Front::Named(id) => match self.chardevs.iter().position(|c| c.id == id) {
                Some(at) => at,
                None => return Err(Fault::new(option, format!("no chardev '{id}'"))),
            },
            Front::Own { chardev, monitor } => {
                let at = self.add(chardev)?;
                if monitor {
                    self.monitors.push(Monitor { chardev: at, mode: Mode::Readline });
                    self.users[at] += 1;
                }
                at
            }
        };
        let id = &self.chardevs[at].id;
        self.users[at] += 1;
        match (self.chardevs[at].mux, self.users[at]) {
            (false, 2..) => {
                let text = format!("chardev '{id}' is in use already; mux=on lets it be shared");
                Err(Fault::new(option, text))
            }
            (true, n) if n > MUX_FRONTS => {
                let text = format!("chardev '{id}' has {MUX_FRONTS} users already, the most");
                Err(Fault::new(option, text))
            }
            _ => Ok(Some(at)),
        }
    }
}
