//! The commands of both monitors about devices that come and go.

use super::qmp::Fault;
use super::qmp_commands::{Answer, Args, Command, nothing};
use crate::options::split;
use crate::vm::Vm;
use serde_json::Value;

macro_rules! commands {
    ($($name:literal $run:expr;)*) => { &[$(Command { name: $name, run: $run }),*] };
}

#[rustfmt::skip]
pub const COMMANDS: &[Command] = commands! {
    "device_add"    add;
    "device_del"    |vm, a| { let id = Args::must(a.text("id")?, "id")?; a.finish()?; vm.device_del(&id)?; nothing() };
};

fn add(vm: &mut Vm, a: &mut Args) -> Answer {
    let mut said = Vec::new();
    for (key, value) in a.rest() {
        let text = match value {
            Value::String(text) => text,
            Value::Number(n) => n.to_string(),
            Value::Bool(on) => if on { "on" } else { "off" }.into(),
            _ => {
                let desc = format!("Invalid parameter type for '{key}', expected: string");
                return Err(Fault::generic(desc));
            }
        };
        said.push((key, text));
    }
    vm.device_add(&said)?;
    nothing()
}

/// `device_add driver[,prop=value]...`
pub fn add_line(vm: &mut Vm, args: &str) -> Result<String, String> {
    let mut said = Vec::new();
    for (n, part) in split(args).into_iter().enumerate() {
        said.push(match part.split_once('=') {
            Some((key, value)) => (key.to_string(), value.to_string()),
            None if n == 0 => ("driver".to_string(), part),
            None => (part, "on".to_string()),
        });
    }
    vm.device_add(&said)?;
    Ok(String::new())
}

/// `device_del id`
pub fn del_line(vm: &mut Vm, args: &str) -> Result<String, String> {
    if args.is_empty() {
        return Err("expected the id of a device".into());
    }
    vm.device_del(args)?;
    Ok(String::new())
}
