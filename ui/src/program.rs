//! From the command line to the exit status.

use crate::blocks::Blocks;
use crate::chardev::{Chardev, Event, Outbox, terminal};
use crate::guest::Guest;
use crate::log::Target;
use crate::options::{self, Catalog, Fault, Options, Stop};
use crate::profile::Report;
use crate::session::{Session, open_chardevs};
use crate::signals::Signals;
use crate::vm::Vm;
use machine::config::{Config, DriveId, FlashContents};
use std::sync::Arc;

/// Makes the machine of a configuration, or says why it cannot.
pub type Build = fn(&Config) -> Result<Box<dyn Guest>, String>;

/// Runs the program; returns its exit status.
pub fn run(args: impl Iterator<Item = std::ffi::OsString>, catalog: &Catalog, build: Build) -> i32 {
    let mut words = Vec::new();
    for arg in args {
        match arg.into_string() {
            Ok(word) => words.push(word),
            Err(arg) => {
                crate::log::tell(format_args!("{}: is not UTF-8", arg.to_string_lossy()));
                return 1;
            }
        }
    }
    let mut options = match options::parse(&words, catalog) {
        Ok(options) => options,
        Err(Stop::Text(text)) => {
            print(&text);
            return 0;
        }
        Err(Stop::Fault(fault)) => {
            crate::log::tell(format_args!("{fault}"));
            return 1;
        }
    };
    terminal::restore_on_panic();
    let _clean_up = CleanUp;
    start(&mut options, build).unwrap_or_else(|fault| {
        terminal::restore();
        crate::log::tell(format_args!("{fault}"));
        1
    })
}

/// Puts the host back as it was on the way out, even if that is a panic.
struct CleanUp;

impl Drop for CleanUp {
    fn drop(&mut self) {
        terminal::clean_up();
    }
}

/// Lets what the machine said get out on the way out, even if that is a panic.
struct LastWords(Vec<Arc<Outbox>>);

impl Drop for LastWords {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.iter().for_each(|o| o.hurry());
        }
        self.0.iter().for_each(|o| o.drain());
    }
}

/// Prints to a standard output that may be closed already.
fn print(text: &str) {
    use std::io::Write;
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// What is in the drives of flash chips now.
fn flash(drives: &[DriveId], blocks: &Blocks) -> Result<Vec<FlashContents>, Fault> {
    const MOST: u64 = 8 << 20;
    let disks = blocks.disks();
    let read = |id: &DriveId| {
        let disk = disks.iter().find(|(have, _)| have == id);
        let (_, disk) = disk.ok_or_else(|| Fault::new("-drive", "a flash chip without a file"))?;
        let info = disk.image.info();
        if info.len > MOST {
            let text = format!("{} bytes for a flash chip: at most {MOST}", info.len);
            return Err(Fault::new("-drive", text));
        }
        let mut bytes = vec![0; info.len as usize];
        let told = |e| Fault::new("-drive", format!("cannot read flash: {}", options::reason(&e)));
        disk.image.read(0, &mut bytes).map_err(told)?;
        Ok(FlashContents { bytes, read_only: info.read_only })
    };
    drives.iter().map(read).collect()
}

fn start(options: &mut Options, build: Build) -> Result<i32, Fault> {
    let target = Target::default();
    if let Some(path) = &options.log_file {
        let told = |e| format!("cannot write '{}': {}", path.display(), options::reason(&e));
        target.set_file(path).map_err(|e| Fault::new("-D", told(e)))?;
    }
    options.config.log = target.log();
    options.config.log.choose(&options.log_items);
    let (inbox, events) = crate::inbox::inbox();
    let signals = Signals::listen(inbox.clone())
        .map_err(|e| Fault::new("signals", format!("cannot listen: {e}")))?;
    if let Some(path) = &options.pidfile {
        let told = |e| format!("cannot write '{}': {}", path.display(), options::reason(&e));
        std::fs::write(path, format!("{}\n", std::process::id()))
            .map_err(|e| Fault::new("-pidfile", told(e)))?;
        terminal::remove_at_exit(path.clone());
    }
    for warning in &options.warnings {
        crate::log::tell(format_args!("warning: {warning}"));
    }
    let mut blocks = Blocks::open(&options.nodes, &options.disks)?;
    for warning in blocks.graph.take_warnings() {
        crate::log::tell(format_args!("warning: {warning}"));
    }
    options.config.flash_contents = flash(&options.config.flash, &blocks)?;
    let mut guest = build(&options.config).map_err(|text| Fault::new("machine", text))?;
    options.config.flash_contents = Vec::new();
    let waker = inbox.clone();
    guest.set_waker(Box::new(move || _ = waker.send(Event::Disk)));
    for (id, disk) in blocks.disks() {
        let put = guest.insert(id, Some(disk));
        put.map_err(|e| Fault::new("disks", format!("no thread for them: {e}")))?;
    }
    let chardevs = open_chardevs(options, &inbox)?;
    let outboxes: Vec<_> = chardevs.iter().filter_map(Chardev::outbox).collect();
    signals.running(outboxes.clone());
    let _last_words = LastWords(outboxes);
    let profile = options.profile.as_ref().map(|p| Report::start(p, &mut *guest)).transpose()?;
    let mut vm = Vm::new(guest, options, target);
    vm.blocks = blocks;
    let mut session = Session::new(vm, options, chardevs, events);
    if let Some(path) = &options.load {
        let loaded = session.vm.load(&path.to_string_lossy());
        loaded.map_err(|text| Fault::new("-loadvm", text))?;
    }
    if !options.paused {
        session.vm.cont().map_err(|text| Fault::new("-S", text))?;
    }
    let status = session.run();
    let written = profile.is_none_or(|p| p.write(&*session.vm.guest));
    Ok(if written { status } else { status.max(1) })
}
