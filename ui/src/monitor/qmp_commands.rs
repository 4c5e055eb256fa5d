//! The commands of QMP, a row each.

use super::hmp::{Hmp, write_memory};
use super::keys;
use super::pointer;
use super::qmp::Fault;
use super::{qmp_block, qmp_device};
use crate::vm::{Cause, Status, Vm};
use serde_json::{Map, Value, json};
use std::time::Duration;

pub type Answer = Result<Value, Fault>;

/// A command.
pub struct Command {
    pub name: &'static str,
    pub run: fn(&mut Vm, &mut Args) -> Answer,
}

macro_rules! commands {
    ($($name:literal $run:expr;)*) => { &[$(Command { name: $name, run: $run }),*] };
}

#[rustfmt::skip]
pub const COMMANDS: &[Command] = commands! {
    "query-version"         |_, a| { a.none()?; Ok(version()) };
    "query-commands"        query_commands;
    "query-status"          query_status;
    "query-name"            |vm, a| { a.none()?; Ok(match &vm.config.name { Some(n) => json!({"name": n}), None => json!({}) }) };
    "query-uuid"            |vm, a| { a.none()?; Ok(json!({"UUID": vm.uuid()})) };
    "query-kvm"             |_, a| { a.none()?; Ok(json!({"enabled": false, "present": false})) };
    "query-cpus-fast"       query_cpus;
    "query-chardev"         query_chardev;
    "query-chardev-backends" |_, a| { a.none()?; Ok(["socket", "file", "pipe", "pty", "stdio", "null", "ringbuf"].map(|n| json!({"name": n})).into()) };
    "query-machines"        query_machines;
    "query-current-machine" |_, a| { a.none()?; Ok(json!({"wakeup-suspend-support": false})) };
    "query-target"          |_, a| { a.none()?; Ok(json!({"arch": "x86_64"})) };
    "query-memory-size-summary" |vm, a| { a.none()?; Ok(json!({"base-memory": vm.config.ram, "plugged-memory": 0})) };
    "query-events"          |_, a| { a.none()?; Ok(EVENTS.iter().map(|n| json!({"name": n})).collect()) };
    "stop"                  |vm, a| { a.none()?; vm.stop(); nothing() };
    "cont"                  |vm, a| { a.none()?; vm.cont()?; nothing() };
    "system_reset"          |vm, a| { a.none()?; vm.reset(Cause::HostReset); nothing() };
    "system_powerdown"      |vm, a| { a.none()?; vm.power_button(); nothing() };
    "quit"                  |vm, a| { a.none()?; vm.shut_down(Cause::HostQuit); nothing() };
    "inject-nmi"            |vm, a| { a.none()?; vm.guest.nmi(); nothing() };
    "set-action"            set_action;
    "send-key"              send_key;
    "input-send-event"      |vm, a| { a.text("device")?; a.number("head")?; let l = a.list("events")?; a.finish()?; pointer::send(vm, &l)?; nothing() };
    "screendump"            |vm, a| {
        let file = Args::must(a.text("filename")?, "filename")?;
        let format = a.text("format")?.unwrap_or("ppm".into());
        a.text("device")?;
        a.number("head")?;
        a.finish()?;
        vm.screendump(&file, &format)?;
        nothing()
    };
    "memsave"               |vm, a| save_memory(vm, a, false);
    "pmemsave"              |vm, a| save_memory(vm, a, true);
    "human-monitor-command" human;
    "ringbuf-read"          ringbuf_read;
    "ringbuf-write"         ringbuf_write;
};

const EVENTS: &[&str] = &[
    "SHUTDOWN",
    "POWERDOWN",
    "RESET",
    "STOP",
    "RESUME",
    "SUSPEND",
    "GUEST_PANICKED",
    "GUEST_CRASHLOADED",
    "GUEST_PVSHUTDOWN",
    "BLOCK_IO_ERROR",
    "DEVICE_TRAY_MOVED",
    "DEVICE_DELETED",
];

/// All commands.
fn all() -> impl Iterator<Item = &'static Command> {
    COMMANDS.iter().chain(qmp_block::COMMANDS).chain(qmp_device::COMMANDS)
}

pub fn find(name: &str) -> Option<&'static Command> {
    all().find(|c| c.name == name)
}

pub fn nothing() -> Answer {
    Ok(json!({}))
}

/// Whose words we speak, and who we are.
pub fn version() -> Value {
    json!({
        "qemu": {"micro": 0, "minor": 0, "major": 10},
        "package": concat!("Reprise ", env!("CARGO_PKG_VERSION")),
    })
}

/// The arguments of a command. Each is taken by name; what is left is unexpected.
pub struct Args(Map<String, Value>);

impl Args {
    pub fn new(args: Map<String, Value>) -> Args {
        Args(args)
    }

    fn get<T>(
        &mut self,
        key: &str,
        expected: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, Fault> {
        let Some(value) = self.0.shift_remove(key) else { return Ok(None) };
        let wrong =
            || Fault::generic(format!("Invalid parameter type for '{key}', expected: {expected}"));
        read(&value).map(Some).ok_or_else(wrong)
    }

    pub fn must<T>(found: Option<T>, key: &str) -> Result<T, Fault> {
        found.ok_or_else(|| Fault::generic(format!("Parameter '{key}' is missing")))
    }

    pub fn text(&mut self, key: &str) -> Result<Option<String>, Fault> {
        self.get(key, "string", |v| v.as_str().map(str::to_string))
    }

    pub fn number(&mut self, key: &str) -> Result<Option<u64>, Fault> {
        self.get(key, "integer", Value::as_u64)
    }

    pub fn flag(&mut self, key: &str) -> Result<Option<bool>, Fault> {
        self.get(key, "boolean", Value::as_bool)
    }

    /// All that is left.
    pub fn rest(&mut self) -> Map<String, Value> {
        std::mem::take(&mut self.0)
    }

    pub fn list(&mut self, key: &str) -> Result<Vec<Value>, Fault> {
        let list = self.get(key, "array", |v| v.as_array().cloned())?;
        Ok(list.unwrap_or_default())
    }

    /// Nothing may be left.
    pub fn finish(&mut self) -> Result<(), Fault> {
        match self.0.keys().next() {
            Some(key) => Err(Fault::generic(format!("Parameter '{key}' is unexpected"))),
            None => Ok(()),
        }
    }

    pub fn none(&mut self) -> Result<(), Fault> {
        self.finish()
    }
}

fn query_commands(_: &mut Vm, a: &mut Args) -> Answer {
    a.none()?;
    let names = ["qmp_capabilities"].into_iter().chain(all().map(|c| c.name));
    Ok(names.map(|n| json!({"name": n})).collect())
}

fn query_status(vm: &mut Vm, a: &mut Args) -> Answer {
    a.none()?;
    let running = vm.status == Status::Running;
    Ok(json!({"status": vm.status.name(), "running": running}))
}

fn query_cpus(vm: &mut Vm, a: &mut Args) -> Answer {
    a.none()?;
    let t = vm.config.topology;
    let one = |n: u32| {
        let place = json!({
            "socket-id": n / (t.threads * t.cores * t.dies),
            "die-id": n / (t.threads * t.cores) % t.dies,
            "core-id": n / t.threads % t.cores,
            "thread-id": n % t.threads,
        });
        json!({
            "cpu-index": n,
            "qom-path": format!("/machine/unattached/cpu[{n}]"),
            "thread-id": std::process::id(),
            "props": place,
            "target": "x86_64",
        })
    };
    Ok((0..vm.guest.cpus()).map(one).collect())
}

fn query_chardev(vm: &mut Vm, a: &mut Args) -> Answer {
    a.none()?;
    let one = |l: &crate::vm::Line| {
        let gone = if l.open { "" } else { "disconnected:" };
        let filename = format!("{gone}{}", l.filename);
        json!({"label": l.label, "filename": filename, "frontend-open": true})
    };
    Ok(vm.lines.iter().map(one).collect())
}

fn query_machines(_: &mut Vm, a: &mut Args) -> Answer {
    a.none()?;
    let one = |name: &str, default: bool| {
        let mut m = json!({
            "name": name,
            "numa-mem-supported": false,
            "hotpluggable-cpus": false,
            "deprecated": false,
            "cpu-max": machine::config::MAX_CPUS,
            "acpi": true,
        });
        if default {
            m["is-default"] = json!(true);
        }
        m
    };
    Ok(json!([one("pc", true), one("q35", false)]))
}

fn set_action(vm: &mut Vm, a: &mut Args) -> Answer {
    use crate::options::{OnPanic, OnReboot, OnShutdown};
    let mut actions = vm.actions;
    let wrong = |key: &str, value: &str| {
        Err(Fault::generic(format!("Parameter '{key}' does not accept value '{value}'")))
    };
    if let Some(v) = a.text("reboot")? {
        actions.reboot = match v.as_str() {
            "reset" => OnReboot::Reset,
            "shutdown" => OnReboot::Shutdown,
            v => return wrong("reboot", v),
        };
    }
    if let Some(v) = a.text("shutdown")? {
        actions.shutdown = match v.as_str() {
            "poweroff" => OnShutdown::Poweroff,
            "pause" => OnShutdown::Pause,
            v => return wrong("shutdown", v),
        };
    }
    if let Some(v) = a.text("panic")? {
        actions.panic = match v.as_str() {
            "pause" => OnPanic::Pause,
            "shutdown" => OnPanic::Shutdown,
            "exit-failure" => OnPanic::ExitFailure,
            "none" => OnPanic::Nothing,
            v => return wrong("panic", v),
        };
    }
    a.finish()?;
    vm.actions = actions;
    nothing()
}

/// `{"keys": [{"type": "qcode", "data": "ctrl"}, ...], "hold-time": 100}`
fn send_key(vm: &mut Vm, a: &mut Args) -> Answer {
    let hold = a.number("hold-time")?.unwrap_or(100).min(60_000);
    let list = a.list("keys")?;
    a.finish()?;
    let mut codes = Vec::new();
    for key in &list {
        let (kind, data) = (key["type"].as_str(), &key["data"]);
        let code = match kind {
            Some("qcode") => data.as_str().and_then(keys::code),
            Some("number") => data.as_u64().and_then(|n| u8::try_from(n).ok()),
            _ => None,
        };
        match code {
            Some(code) => codes.push(code),
            None => return Err(Fault::generic(format!("Invalid parameter 'keys': {key}"))),
        }
    }
    vm.press(&codes, Duration::from_millis(hold));
    nothing()
}

fn save_memory(vm: &mut Vm, a: &mut Args, physical: bool) -> Answer {
    let at = Args::must(a.number("val")?, "val")?;
    let size = Args::must(a.number("size")?, "size")?;
    let file = Args::must(a.text("filename")?, "filename")?;
    let cpu = if physical { 0 } else { cpu_index(vm, a)? };
    a.finish()?;
    write_memory(vm, cpu, at, size, &file, physical)?;
    nothing()
}

fn cpu_index(vm: &Vm, a: &mut Args) -> Result<u32, Fault> {
    let n = a.number("cpu-index")?.unwrap_or(0);
    let there = u32::try_from(n).ok().filter(|n| *n < vm.guest.cpus());
    there.ok_or_else(|| Fault::generic("Parameter 'cpu-index' expects a CPU number"))
}

fn human(vm: &mut Vm, a: &mut Args) -> Answer {
    let line = Args::must(a.text("command-line")?, "command-line")?;
    let mut hmp = Hmp::on(cpu_index(vm, a)?);
    a.finish()?;
    Ok(hmp.line(&line, vm).replace('\n', "\r\n").into())
}

fn ringbuf_read(vm: &mut Vm, a: &mut Args) -> Answer {
    let device = Args::must(a.text("device")?, "device")?;
    let size = Args::must(a.number("size")?, "size")?;
    only_text(a)?;
    a.finish()?;
    let bytes = vm.ring_read(&device, size as usize)?;
    Ok(String::from_utf8_lossy(&bytes).into())
}

fn ringbuf_write(vm: &mut Vm, a: &mut Args) -> Answer {
    let device = Args::must(a.text("device")?, "device")?;
    let data = Args::must(a.text("data")?, "data")?;
    only_text(a)?;
    a.finish()?;
    vm.ring_write(&device, data.as_bytes())?;
    nothing()
}

fn only_text(a: &mut Args) -> Result<(), Fault> {
    match a.text("format")?.as_deref() {
        None | Some("utf8") => Ok(()),
        Some(_) => Err(Fault::generic("Parameter 'format' expects 'utf8'")),
    }
}
