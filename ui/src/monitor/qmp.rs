//! QMP, the monitor for programs: JSON objects in, JSON objects out, one to a line.

use super::qmp_commands::{self, Args};
use crate::vm::{Notice, Vm};
use serde_json::{Map, Value, json};

/// A message that is longer than this is refused.
const LONGEST: usize = 1 << 20;

/// What went wrong with a command.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    pub class: &'static str,
    pub desc: String,
}

impl Fault {
    pub fn generic(desc: impl Into<String>) -> Fault {
        Fault { class: "GenericError", desc: desc.into() }
    }
}

impl From<String> for Fault {
    fn from(desc: String) -> Fault {
        let missing = desc.starts_with("Device '") && desc.ends_with("' not found");
        let class = if missing { "DeviceNotFound" } else { "GenericError" };
        Fault { class, desc }
    }
}

/// One such monitor.
pub struct Qmp {
    pretty: bool,
    /// Whether the client has said `qmp_capabilities`.
    ready: bool,
    /// What came in and is not a whole object yet.
    partial: Vec<u8>,
    here: bool,
}

impl Qmp {
    pub fn new(pretty: bool) -> Qmp {
        Qmp { pretty, ready: false, partial: Vec::new(), here: false }
    }

    /// Somebody is there: the greeting.
    pub fn greet(&mut self) -> Vec<u8> {
        *self = Qmp { here: true, ..Qmp::new(self.pretty) };
        let greeting = json!({"QMP": {"version": qmp_commands::version(), "capabilities": []}});
        self.text(&greeting)
    }

    pub fn hang_up(&mut self) {
        *self = Qmp::new(self.pretty);
    }

    /// An event, if the client is to hear of them.
    pub fn notice(&self, n: &Notice) -> Vec<u8> {
        if !(self.ready && self.here) {
            return Vec::new();
        }
        let mut event = json!({
            "timestamp": {"seconds": n.at.0, "microseconds": n.at.1},
            "event": n.event,
        });
        if let Some(data) = &n.data {
            event["data"] = data.clone();
        }
        self.text(&event)
    }

    fn text(&self, value: &Value) -> Vec<u8> {
        let text = if self.pretty {
            serde_json::to_string_pretty(value)
        } else {
            serde_json::to_string(value)
        };
        // A Value has only string keys, so it can always be written.
        let mut text = text.unwrap_or_default();
        text.push_str("\r\n");
        text.into_bytes()
    }

    /// Takes what came in and returns the answers.
    pub fn input(&mut self, bytes: &[u8], vm: &mut Vm) -> Vec<u8> {
        let mut out = Vec::new();
        self.partial.extend(bytes);
        // Only a brace or a line's end can complete an object.
        if !bytes.iter().any(|b| matches!(b, b'}' | b'\n')) && self.partial.len() <= LONGEST {
            return out;
        }
        while vm.leaving.is_none() {
            match self.next() {
                Next::Nothing => break,
                Next::Message(m) => out.extend(self.answer(m, vm)),
                Next::Nonsense(desc) => {
                    let fault = Fault::generic(desc);
                    out.extend(self.text(&error(&fault, None)));
                }
            }
        }
        out
    }

    /// Takes one object off what came in.
    fn next(&mut self) -> Next {
        let mut stream = serde_json::Deserializer::from_slice(&self.partial).into_iter::<Value>();
        match stream.next() {
            None => {
                self.partial.clear();
                Next::Nothing
            }
            Some(Ok(value)) => {
                let end = stream.byte_offset();
                self.partial.drain(..end);
                Next::Message(value)
            }
            Some(Err(e)) if e.is_eof() && self.partial.len() <= LONGEST => Next::Nothing,
            Some(Err(e)) => {
                // Whatever it was, it ends with its line.
                let start = self.partial.iter().position(|b| !b.is_ascii_whitespace()).unwrap_or(0);
                let end = self.partial[start..].iter().position(|b| *b == b'\n');
                let end = end.map_or(self.partial.len(), |n| start + n + 1);
                self.partial.drain(..end);
                match e.is_eof() {
                    true => Next::Nonsense("JSON message is too long".into()),
                    false => Next::Nonsense(format!("JSON parse error, {e}")),
                }
            }
        }
    }

    fn answer(&mut self, message: Value, vm: &mut Vm) -> Vec<u8> {
        let id = message.get("id").cloned();
        let done = self.execute(message, vm);
        let mut answer = match done {
            Ok(value) => json!({"return": value}),
            Err(fault) => return self.text(&error(&fault, id)),
        };
        if let Some(id) = id {
            answer["id"] = id;
        }
        self.text(&answer)
    }

    fn execute(&mut self, message: Value, vm: &mut Vm) -> Result<Value, Fault> {
        let Value::Object(mut message) = message else {
            return Err(Fault::generic("QMP input must be a JSON object"));
        };
        let name = match message.remove("execute") {
            Some(Value::String(name)) => name,
            Some(_) => return Err(Fault::generic("QMP input member 'execute' must be a string")),
            None => return Err(Fault::generic("QMP input lacks member 'execute'")),
        };
        let args = match message.remove("arguments") {
            None => Map::new(),
            Some(Value::Object(args)) => args,
            Some(_) => {
                return Err(Fault::generic("QMP input member 'arguments' must be an object"));
            }
        };
        if let Some(key) = message.keys().find(|k| *k != "id") {
            return Err(Fault::generic(format!("QMP input member '{key}' is unexpected")));
        }
        let unknown = |desc: String| Err(Fault { class: "CommandNotFound", desc });
        if name == "qmp_capabilities" {
            if self.ready {
                return unknown(
                    "Capabilities negotiation is already complete, command ignored".into(),
                );
            }
            let mut args = Args::new(args);
            let wanted = args.list("enable")?;
            args.finish()?;
            if let Some(first) = wanted.first() {
                return Err(Fault::generic(format!("Capability {first} not available")));
            }
            self.ready = true;
            return Ok(json!({}));
        }
        if !self.ready {
            return unknown("Expecting capabilities negotiation with 'qmp_capabilities'".into());
        }
        match qmp_commands::find(&name) {
            None => unknown(format!("The command {name} has not been found")),
            Some(command) => {
                let mut args = Args::new(args);
                (command.run)(vm, &mut args)
            }
        }
    }
}

enum Next {
    Nothing,
    Message(Value),
    Nonsense(String),
}

fn error(fault: &Fault, id: Option<Value>) -> Value {
    let mut answer = json!({"error": {"class": fault.class, "desc": fault.desc}});
    if let Some(id) = id {
        answer["id"] = id;
    }
    answer
}
