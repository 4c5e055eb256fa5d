//! The monitor for people: lines of words, answered with text.

use super::editor::{Editor, Step};
use super::examine::{self, Format};
use super::expression::{evaluate, prefix};
use super::{block, hmp_info, keys, pointer, qmp_device};
use crate::options;
use crate::vm::{Cause, Vm};
use std::time::Duration;

/// Scripts that drive QEMU wait for this.
pub const PROMPT: &str = "(qemu) ";

/// One such monitor.
pub struct Hmp {
    pub cpu: u32,
    format: Format,
    editor: Editor,
    greeted: bool,
}

/// A command: its names, what it takes, what it does.
pub struct Command {
    pub names: &'static [&'static str],
    pub args: &'static str,
    pub help: &'static str,
    run: fn(&mut Hmp, &mut Vm, &str) -> Result<String, String>,
}

macro_rules! commands {
    ($($($name:literal)|+ $args:literal $help:literal $run:expr;)*) => {
        &[$(Command { names: &[$($name),+], args: $args, help: $help, run: $run }),*]
    };
}

#[rustfmt::skip]
pub const COMMANDS: &[Command] = commands! {
    "help" | "?"        "[cmd]"             "show the help"                             help;
    "info"              "[subcommand]"      "show various information about the system state" |h, vm, a| hmp_info::info(h, vm, a);
    "quit" | "q"        ""                  "quit the emulator"                         |_, vm, _| { vm.shut_down(Cause::HostQuit); quiet() };
    "stop" | "s"        ""                  "stop emulation"                            |_, vm, _| { vm.stop(); quiet() };
    "cont" | "c"        ""                  "resume emulation"                          |_, vm, _| vm.cont().map(|()| String::new());
    "system_reset"      ""                  "reset the system"                          |_, vm, _| { vm.reset(Cause::HostReset); quiet() };
    "system_powerdown"  ""                  "send system power down event"              |_, vm, _| { vm.power_button(); quiet() };
    "nmi"               ""                  "inject an NMI on all CPUs"                 |_, vm, _| { vm.guest.nmi(); quiet() };
    "sendkey"           "keys [hold_ms]"    "send keys to the guest, as in ctrl-alt-f1" sendkey;
    "mouse_move"        "dx dy [dz]"        "send mouse move events"                    |_, vm, a| pointer::mouse_move(vm, a);
    "mouse_button"      "state"             "change mouse button state (1=L, 2=R, 4=M)" |_, vm, a| pointer::mouse_button(vm, a);
    "cpu"               "index"             "set the default CPU"                       cpu;
    "x"                 "/fmt addr"         "virtual memory dump starting at 'addr'"    |h, vm, a| examine::dump(&mut *vm.guest, h.cpu, a, false, &mut h.format);
    "xp"                "/fmt addr"         "physical memory dump starting at 'addr'"   |h, vm, a| examine::dump(&mut *vm.guest, h.cpu, a, true, &mut h.format);
    "print" | "p"       "/fmt expr"         "print expression value (use $reg for CPU registers)" |h, vm, a| examine::print(&*vm.guest, h.cpu, a);
    "i"                 "/fmt addr"         "I/O port read"                             port_read;
    "o"                 "/fmt addr value"   "I/O port write"                            port_write;
    "memsave"           "addr size file"    "save to disk virtual memory"               |h, vm, a| save_memory(h, vm, a, false);
    "pmemsave"          "addr size file"    "save to disk physical memory"              |h, vm, a| save_memory(h, vm, a, true);
    "screendump"        "filename [-f format]" "save screen from head 0 as PPM or PNG image" screendump;
    "eject"             "[-f] device"       "eject a removable medium (use -f to force it)" |_, vm, a| block::eject(vm, a);
    "change"            "[-f] device file [format [mode]]" "change a removable medium"      |_, vm, a| block::change(vm, a);
    "block_resize"      "device size"       "resize a block image (in MiB)"             |_, vm, a| block::resize(vm, a);
    "snapshot_blkdev"   "[-n] device file [format]" "go on in a new overlay"            |_, vm, a| block::snapshot(vm, a);
    "device_add"        "driver[,prop=value][,...]" "add device, like -device on the command line" |_, vm, a| qmp_device::add_line(vm, a);
    "device_del"        "device"            "remove device"                             |_, vm, a| qmp_device::del_line(vm, a);
    "savevm"            "file"              "save the machine to a file"                |_, vm, a| vm.save(file(a)?).map(|()| String::new());
    "loadvm"            "file"              "take the machine's state from a file"      |_, vm, a| vm.load(file(a)?).map(|()| String::new());
    "log"               "item1[,...]"       "activate logging of the specified items"   log;
    "logfile"           "filename"          "output logs to 'filename'"                 logfile;
    "ringbuf_read"      "device size"       "read from a ring buffer character device"  ringbuf_read;
    "boot_set"          "bootdevice"        "set the boot device list"                  |_, _, _| Err("boot_set: there is no firmware yet that could use it".into());
};

fn quiet() -> Result<String, String> {
    Ok(String::new())
}

impl Default for Hmp {
    fn default() -> Self {
        Hmp {
            cpu: 0,
            format: Format { count: 1, form: 'x', size: 4 },
            editor: Editor::new(PROMPT),
            greeted: false,
        }
    }
}

impl Hmp {
    /// A monitor that looks at this CPU.
    pub fn on(cpu: u32) -> Hmp {
        Hmp { cpu, ..Hmp::default() }
    }

    /// Somebody is there, or has turned to us: says who we are (once) and asks.
    pub fn greet(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        if !std::mem::replace(&mut self.greeted, true) {
            let version = env!("CARGO_PKG_VERSION");
            let text = "monitor - type 'help' for more information";
            out.extend(format!("Reprise {version} {text}\r\n").as_bytes());
        }
        self.editor.show(&mut out);
        out
    }

    /// The other end is gone: whoever comes next starts anew.
    pub fn hang_up(&mut self) {
        *self = Hmp::default();
    }

    /// Takes what was typed and returns what is to be shown.
    pub fn input(&mut self, bytes: &[u8], vm: &mut Vm) -> Vec<u8> {
        let mut out = Vec::new();
        for &b in bytes {
            match self.editor.byte(b, &mut out) {
                Step::Typing => {}
                Step::Line(line) => {
                    let text = self.line(&line, vm);
                    out.extend(text.replace('\n', "\r\n").as_bytes());
                    if vm.leaving.is_some() {
                        break;
                    }
                    self.editor.show(&mut out);
                }
                Step::Complete(before) => self.complete(&before, &mut out),
            }
        }
        out
    }

    /// Does one line and returns its answer, which is empty or ends with a newline.
    pub fn line(&mut self, line: &str, vm: &mut Vm) -> String {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return String::new();
        }
        let end = line.find(|c: char| c.is_whitespace() || c == '/').unwrap_or(line.len());
        let (name, args) = line.split_at(end);
        let Some(command) = find(name) else {
            return format!("unknown command: '{name}'\n");
        };
        if !args.trim().is_empty() && command.args.is_empty() {
            return format!("{name}: extraneous characters at the end of line\n");
        }
        if args.starts_with('/') && !command.args.starts_with('/') {
            return format!("{name}: takes no format\n");
        }
        match (command.run)(self, vm, args.trim()) {
            Ok(text) => text,
            Err(why) => format!("Error: {why}\n"),
        }
    }

    fn complete(&mut self, before: &str, out: &mut Vec<u8>) {
        let names: Vec<&str> = match before.strip_prefix("info ") {
            Some(_) => hmp_info::TOPICS.iter().map(|t| t.0).collect(),
            None => COMMANDS.iter().flat_map(|c| c.names).copied().collect(),
        };
        let start = before.strip_prefix("info ").unwrap_or(before);
        let fits: Vec<_> = names.into_iter().filter(|n| n.starts_with(start)).collect();
        let Some(first) = fits.first() else { return };
        let shared = (start.len()..=first.len())
            .take_while(|n| fits.iter().all(|f| f.starts_with(&first[..*n])))
            .last()
            .unwrap_or(start.len());
        if shared > start.len() || fits.len() == 1 {
            let space = if fits.len() == 1 { " " } else { "" };
            self.editor.insert(format!("{}{space}", &first[start.len()..shared]).as_bytes(), out);
        } else {
            out.extend(format!("\r\n{}\r\n", fits.join("  ")).as_bytes());
            self.editor.show(out);
        }
    }

    pub fn history(&self) -> String {
        self.editor.history().enumerate().map(|(n, l)| format!("{n}: '{l}'\n")).collect()
    }
}

fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|c| c.names.contains(&name))
}

fn help(_: &mut Hmp, _: &mut Vm, args: &str) -> Result<String, String> {
    let row = |c: &Command| {
        let space = if c.args.is_empty() || c.args.starts_with('/') { "" } else { " " };
        format!("{}{space}{} -- {}\n", c.names.join("|"), c.args, c.help)
    };
    match args {
        "" => Ok(COMMANDS.iter().map(row).collect()),
        "info" => Ok(hmp_info::list()),
        "log" => Ok(options::log_help()),
        name => find(name).map(row).ok_or_else(|| format!("unknown command: '{name}'")),
    }
}

fn file(args: &str) -> Result<&str, String> {
    let name = args.strip_prefix('"').and_then(|a| a.strip_suffix('"')).unwrap_or(args);
    if name.is_empty() { Err("expected the name of a file".into()) } else { Ok(name) }
}

fn sendkey(_: &mut Hmp, vm: &mut Vm, args: &str) -> Result<String, String> {
    let (names, hold) = args.split_once(' ').unwrap_or((args, "100"));
    let hold = options::whole(hold.trim()).filter(|ms| *ms <= 60_000);
    let hold = hold.ok_or("expected a time of 0 to 60000 ms")?;
    vm.press(&keys::combination(names)?, Duration::from_millis(hold));
    quiet()
}

fn cpu(h: &mut Hmp, vm: &mut Vm, args: &str) -> Result<String, String> {
    match options::whole(args) {
        Some(n) if n < u64::from(vm.guest.cpus()) => {
            h.cpu = n as u32;
            quiet()
        }
        _ => Err(format!("invalid CPU index '{args}': expected 0 to {}", vm.guest.cpus() - 1)),
    }
}

/// A port's number and the form of its value.
fn port<'a>(vm: &Vm, h: &Hmp, args: &'a str) -> Result<(Format, u16, &'a str), String> {
    let (f, rest) = examine::format(args, &Format { count: 1, form: 'x', size: 1 })?;
    let (at, rest) = prefix(rest, &|name| vm.guest.register(h.cpu, name))?;
    let at = u16::try_from(at).map_err(|_| format!("{at:#x} is not a port"))?;
    if f.size == 8 {
        return Err("ports are read in 1, 2 or 4 bytes".into());
    }
    Ok((f, at, rest))
}

fn port_read(h: &mut Hmp, vm: &mut Vm, args: &str) -> Result<String, String> {
    let (f, at, rest) = port(vm, h, args)?;
    if !rest.is_empty() {
        return Err(format!("unexpected '{rest}'"));
    }
    let n = vm.guest.read_port(at, f.size as u8);
    let suffix = ['b', 'w', ' ', 'l'][f.size - 1];
    Ok(format!("port{suffix}[{at:#06x}] = {}\n", examine::value(u64::from(n), &f)))
}

fn port_write(h: &mut Hmp, vm: &mut Vm, args: &str) -> Result<String, String> {
    let (f, at, rest) = port(vm, h, args)?;
    let n = evaluate(rest, &|name| vm.guest.register(h.cpu, name))?;
    vm.guest.write_port(at, f.size as u8, n as u32);
    quiet()
}

fn save_memory(h: &mut Hmp, vm: &mut Vm, args: &str, physical: bool) -> Result<String, String> {
    let registers = |name: &str| vm.guest.register(h.cpu, name);
    // The file's name is taken off first: an unquoted one may begin like the rest of a division.
    let start = match args.strip_suffix('"') {
        Some(quoted) => quoted.rfind('"'),
        None => args.rfind(char::is_whitespace),
    };
    let (numbers, name) = args.split_at(start.ok_or("expected an address, a size and a file")?);
    let (at, rest) = prefix(numbers, &registers)?;
    let size = evaluate(rest, &registers)?;
    write_memory(vm, h.cpu, at, size, file(name.trim())?, physical).map(|()| String::new())
}

/// Writes a piece of memory to a file.
pub fn write_memory(
    vm: &mut Vm,
    cpu: u32,
    at: u64,
    size: u64,
    path: &str,
    physical: bool,
) -> Result<(), String> {
    use std::io::Write;
    let told = |e: std::io::Error| format!("cannot write '{path}': {}", options::reason(&e));
    let mut out = std::io::BufWriter::new(std::fs::File::create(path).map_err(told)?);
    let mut chunk = [0; 4096];
    let mut done = 0;
    while done < size {
        let here = at.wrapping_add(done);
        // Up to the next page, as the next may not be there.
        let n = (4096 - (here & 4095)).min(size - done) as usize;
        let read = match physical {
            true => vm.guest.read_physical(here, &mut chunk[..n]),
            false => vm.guest.read_virtual(cpu, here, &mut chunk[..n]),
        };
        read.map_err(|e| format!("nothing is at {:#x}", e.0))?;
        out.write_all(&chunk[..n]).map_err(told)?;
        done += n as u64;
    }
    out.flush().map_err(told)
}

fn screendump(_: &mut Hmp, vm: &mut Vm, args: &str) -> Result<String, String> {
    let (name, format) = match args.split_once(" -f ") {
        Some((name, format)) => (name, format.trim()),
        None => (args, "ppm"),
    };
    vm.screendump(file(name.trim())?, format).map(|()| String::new())
}

fn log(_: &mut Hmp, vm: &mut Vm, args: &str) -> Result<String, String> {
    let names = args.split(',').filter(|n| *n != "none" && !n.is_empty());
    let items: Result<Vec<_>, _> = names.map(options::log_item).collect();
    vm.log.choose(&items?);
    quiet()
}

fn logfile(_: &mut Hmp, vm: &mut Vm, args: &str) -> Result<String, String> {
    let name = file(args)?;
    let set = vm.log_target.set_file(name.as_ref());
    set.map(|()| String::new())
        .map_err(|e| format!("cannot write '{name}': {}", options::reason(&e)))
}

fn ringbuf_read(_: &mut Hmp, vm: &mut Vm, args: &str) -> Result<String, String> {
    let (label, size) = args.split_once(' ').ok_or("expected a device and a size")?;
    let size = options::whole(size.trim()).ok_or("expected a size")?;
    let bytes = vm.ring_read(label, size as usize)?;
    Ok(format!("{}\n", String::from_utf8_lossy(&bytes)))
}
