//! `info qtree`: the buses, what stands on them, and what was said of each.

use crate::devices::Value;
use crate::machine::Machine;
use crate::parts::DeviceId;
use crate::plug::{At, Standing, bus_name};
use hw::pci::{ROM, Root};
use std::fmt::Write;

/// Parts that stand on no bus of their own; all others but PCI's are on the ISA bus.
const SYSTEM: &[&str] = &["lapic", "ioapic", "hpet", "fw_cfg", "cfi.pflash01"];

fn line(out: &mut String, depth: usize, text: std::fmt::Arguments<'_>) {
    let _ = writeln!(out, "{:1$}{text}", "", 2 * depth);
}

fn value(v: &Value) -> String {
    match v {
        Value::Number(n) => format!("{n} ({n:#x})"),
        Value::On(on) => on.to_string(),
        Value::Auto => "\"auto\"".into(),
        Value::Text(text) => format!("{text:?}"),
        Value::Chardev(b) => format!("\"chardev {}\"", b.0),
        Value::Drive(d) => format!("\"drive {}\"", d.0),
        Value::PciAddr(a) => format!("{:02x}.{:x}", a.slot, a.function),
    }
}

impl Machine {
    pub(crate) fn tree(&self) -> String {
        let mut out = "bus: main-system-bus\n  type System\n".to_string();
        let o = &mut out;
        let others = self.parts.ids().filter(|id| *id != self.board.pci);
        for id in others.filter(|id| SYSTEM.contains(&self.parts.name(*id))) {
            line(o, 1, format_args!("dev: {}, id \"\"", self.parts.name(id)));
        }
        if let Some(root) = self.parts.get::<Root>(self.board.pci) {
            line(o, 1, format_args!("dev: {}, id \"\"", device::Device::name(root)));
            self.pci_bus(root, None, 2, o);
        }
        out
    }

    fn pci_bus(&self, root: &Root, parent: Option<u16>, depth: usize, o: &mut String) {
        let express = parent.map_or(root.chipset() == hw::pci::Chipset::Q35, |n| root.is_port(n));
        line(o, depth, format_args!("bus: {}", bus_name(root, parent)));
        line(o, depth + 1, format_args!("type {}", if express { "PCIE" } else { "PCI" }));
        for n in root.below(parent) {
            self.function(root, n, depth + 1, o);
        }
    }

    fn function(&self, root: &Root, n: u16, depth: usize, o: &mut String) {
        let (Some(f), Some((parent, device, function))) = (root.peek(n), root.place_of(n)) else {
            return;
        };
        let asked = self.board.standing.iter().find(|s| s.at == At::Function(n));
        let name = asked.map_or(f.name(), |s| s.spec.driver);
        line(o, depth, format_args!("dev: {name}, id \"{}\"", root.id_of(n)));
        if let Some(s) = asked {
            self.said(s, depth + 1, o);
        }
        let c = f.config();
        let several = c.u8(0x0E) & 0x80 != 0;
        line(o, depth + 1, format_args!("addr = {device:02x}.{function:x}"));
        line(o, depth + 1, format_args!("multifunction = {several}"));
        let bus = parent.and_then(|n| root.peek(n)).map_or(0, |b| b.config().u8(0x19));
        let (class, vendor, id) = (c.u16(0xA), c.u16(0), c.u16(2));
        line(
            o,
            depth + 1,
            format_args!(
                "class {class:04x}, addr {bus:02x}:{device:02x}.{function:x}, pci id {vendor:04x}:{id:04x} (sub {:04x}:{:04x})",
                c.u16(0x2C),
                c.u16(0x2E)
            ),
        );
        for bar in 0..=ROM {
            if let Some(p) = c.place(bar) {
                let kind = if p.space == device::Space::Io { "i/o" } else { "mem" };
                let last = p.base + (p.len - 1);
                line(o, depth + 1, format_args!("bar {bar}: {kind} at {:#x} [{last:#x}]", p.base));
            }
        }
        self.behind(n, depth + 1, o);
        if root.is_bridge(n) {
            self.pci_bus(root, Some(n), depth + 1, o);
        }
        if parent.is_none() && c.u16(0xA) == 0x0601 {
            self.isa_bus(depth + 1, o);
        }
    }

    fn said(&self, s: &Standing, depth: usize, o: &mut String) {
        for (name, v) in s.spec.props.iter().filter(|p| !matches!(p.0, "addr" | "multifunction")) {
            let text = match v {
                Value::Drive(d) => match self.world.drives.get(*d) {
                    Some(d) => format!("{:?}", d.config.name),
                    None => continue,
                },
                v => value(v),
            };
            line(o, depth, format_args!("{name} = {text}"));
        }
    }

    /// What stands behind a controller.
    fn behind(&self, n: u16, depth: usize, o: &mut String) {
        for s in &self.board.standing {
            let At::Behind(controller, unit) = s.at else { continue };
            if controller == n {
                let id = s.spec.id.as_deref().unwrap_or("");
                line(o, depth, format_args!("place {unit}"));
                line(o, depth + 1, format_args!("dev: {}, id \"{id}\"", s.spec.driver));
                self.said(s, depth + 2, o);
            }
        }
    }

    fn isa_bus(&self, depth: usize, o: &mut String) {
        line(o, depth, format_args!("bus: isa.0"));
        line(o, depth + 1, format_args!("type ISA"));
        let asked = |id: &DeviceId| {
            let name = self.parts.name(*id);
            self.board.standing.iter().any(|s| s.at == At::Isa && s.spec.driver == name)
        };
        for id in self.parts.ids().filter(|id| *id != self.board.pci && !asked(id)) {
            let name = self.parts.name(id);
            if !SYSTEM.contains(&name) {
                line(o, depth + 1, format_args!("dev: {name}, id \"\""));
            }
        }
        for s in self.board.standing.iter().filter(|s| s.at == At::Isa) {
            let id = s.spec.id.as_deref().unwrap_or("");
            line(o, depth + 1, format_args!("dev: {}, id \"{id}\"", s.spec.driver));
            self.said(s, depth + 2, o);
        }
    }
}
