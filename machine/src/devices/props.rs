//! What can be said of a device: names, kinds of values, and the values themselves.

use crate::config::{Backend, DriveId, OnError, PciAddr};

/// Something that can be said of a device.
pub struct Prop {
    pub name: &'static str,
    pub kind: PropKind,
    /// What `-device name,help` adds: the default, mostly.
    pub about: &'static str,
}

/// What is expected of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PropKind {
    /// A number from the first to the second.
    Number(u64, u64),
    /// A number of bytes.
    Size,
    OnOff,
    /// `on`, `off` or `auto`.
    OnOffAuto,
    Text,
    /// One of these words.
    Choice(&'static [&'static str]),
    Chardev,
    Drive,
    /// `slot[.function]`, in hexadecimal.
    PciAddr,
}

impl PropKind {
    /// As QEMU names it.
    pub fn name(self) -> &'static str {
        match self {
            PropKind::Number(_, 0..=0xFF) => "uint8",
            PropKind::Number(_, 0x100..=0xFFFF) => "uint16",
            PropKind::Number(_, 0x1_0000..=0xFFFF_FFFF) => "uint32",
            PropKind::Number(..) => "uint64",
            PropKind::Size => "size",
            PropKind::OnOff => "bool",
            PropKind::OnOffAuto => "OnOffAuto",
            PropKind::Text | PropKind::Choice(_) | PropKind::Chardev | PropKind::Drive => "str",
            PropKind::PciAddr => "slot[.function]",
        }
    }
}

/// What was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Number(u64),
    On(bool),
    /// `auto`.
    Auto,
    Text(String),
    Chardev(Backend),
    Drive(DriveId),
    PciAddr(PciAddr),
}

/// What was said of one device, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Props(Vec<(&'static str, Value)>);

impl Props {
    /// Sets a property; of several settings the last holds.
    pub fn set(&mut self, name: &'static str, value: Value) {
        self.0.retain(|p| p.0 != name);
        self.0.push((name, value));
    }
    /// The same, in a chain.
    pub fn with(mut self, name: &'static str, value: Value) -> Props {
        self.set(name, value);
        self
    }
    pub fn iter(&self) -> impl Iterator<Item = &(&'static str, Value)> {
        self.0.iter()
    }
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|p| p.0 == name).map(|p| &p.1)
    }
    pub fn number(&self, name: &str) -> Option<u64> {
        match self.get(name)? {
            Value::Number(n) => Some(*n),
            _ => None,
        }
    }
    pub fn on(&self, name: &str) -> Option<bool> {
        match self.get(name)? {
            Value::On(on) => Some(*on),
            _ => None,
        }
    }
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
    /// `rerror` or `werror`, unless that is left to the drive.
    pub fn on_error(&self, name: &str) -> Option<OnError> {
        OnError::named(self.text(name)?)
    }
    pub fn backend(&self) -> Option<Backend> {
        match self.get("chardev")? {
            Value::Chardev(b) => Some(*b),
            _ => None,
        }
    }
    pub fn drive(&self) -> Option<DriveId> {
        match self.get("drive")? {
            Value::Drive(d) => Some(*d),
            _ => None,
        }
    }
    pub fn addr(&self) -> Option<PciAddr> {
        match self.get("addr")? {
            Value::PciAddr(a) => Some(*a),
            _ => None,
        }
    }
}

pub(super) const fn prop(name: &'static str, kind: PropKind, about: &'static str) -> Prop {
    Prop { name, kind, about }
}

/// What can be said of a device behind a controller.
pub(super) const BEHIND: &[Prop] = &[prop("bus", PropKind::Text, "the first with room")];
