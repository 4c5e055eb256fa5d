//! `info`: what there is to know about the machine.

use super::block;
use super::hmp::Hmp;
use crate::vm::Vm;

type Answer = fn(&mut Hmp, &mut Vm, &str) -> Result<String, String>;

/// Topics, with what they show. Those without an answer of ours are the machine's.
#[rustfmt::skip]
pub const TOPICS: &[(&str, &str, Option<Answer>)] = &[
    ("block",     "show info of one block device or all block devices", Some(|_, vm, a| block::info(vm, a))),
    ("blockstats", "show block device statistics", Some(|_, vm, a| block::stats(vm, a))),
    ("chardev",   "show the character devices", Some(chardev)),
    ("cpus",      "show infos for each CPU", Some(cpus)),
    ("history",   "show the command line history", Some(|h, _, _| Ok(h.history()))),
    ("irq",       "show the interrupts statistics (if available)", None),
    ("jit",       "show dynamic compiler info", None),
    ("kvm",       "show KVM information", Some(|_, _, _| Ok("kvm support: not compiled\n".into()))),
    ("lapic",     "show local apic state", None),
    ("mem",       "show the active virtual memory mappings", None),
    ("mtree",     "show memory tree", None),
    ("name",      "show the current VM name", Some(|_, vm, _| Ok(vm.config.name.clone().map_or(String::new(), |n| n + "\n")))),
    ("pci",       "show PCI info", None),
    ("pic",       "show PIC state", None),
    ("profile",   "show where the guest spends its instructions (-profile)", None),
    ("qtree",     "show device tree", None),
    ("registers", "show the cpu registers (-a: all: show register info for all cpus)", Some(registers)),
    ("status",    "show the current VM status (running|paused)", Some(status)),
    ("tlb",       "show virtual to physical memory mappings", None),
    ("uuid",      "show the current VM UUID", Some(|_, vm, _| Ok(vm.uuid() + "\n"))),
    ("version",   "show the version", Some(|_, _, _| Ok(concat!(env!("CARGO_PKG_VERSION"), " (Reprise)\n").into()))),
];

/// What `info` alone shows.
pub fn list() -> String {
    TOPICS.iter().map(|t| format!("info {} -- {}\n", t.0, t.1)).collect()
}

pub fn info(h: &mut Hmp, vm: &mut Vm, args: &str) -> Result<String, String> {
    let (name, rest) = args.split_once(' ').unwrap_or((args, ""));
    if name.is_empty() {
        return Ok(list());
    }
    let topic = TOPICS.iter().find(|t| t.0 == name);
    if let Some((_, _, Some(answer))) = topic {
        return answer(h, vm, rest.trim());
    }
    match (vm.guest.describe(h.cpu, name), topic) {
        (Some(text), _) if text.is_empty() || text.ends_with('\n') => Ok(text),
        (Some(text), _) => Ok(text + "\n"),
        (None, Some(_)) => Err(format!("info {name}: this machine has nothing to say about it")),
        (None, None) => Err(format!("unknown command: 'info {name}'")),
    }
}

fn chardev(_: &mut Hmp, vm: &mut Vm, _: &str) -> Result<String, String> {
    let rows = vm.lines.iter().map(|l| {
        let gone = if l.open { "" } else { "disconnected:" };
        format!("{}: filename={gone}{}\n", l.label, l.filename)
    });
    Ok(rows.collect())
}

fn cpus(h: &mut Hmp, vm: &mut Vm, _: &str) -> Result<String, String> {
    let rows = (0..vm.guest.cpus()).map(|n| {
        let mark = if n == h.cpu { '*' } else { ' ' };
        let halted = if vm.guest.halted(n) { " (halted)" } else { "" };
        format!("{mark} CPU #{n}: thread_id={}{halted}\n", std::process::id())
    });
    Ok(rows.collect())
}

fn registers(h: &mut Hmp, vm: &mut Vm, args: &str) -> Result<String, String> {
    let which = match args {
        "" => h.cpu..h.cpu + 1,
        "-a" => 0..vm.guest.cpus(),
        other => return Err(format!("unexpected '{other}': expected -a or nothing")),
    };
    let rows = which.map(|n| format!("\nCPU#{n}\n{}\n", vm.guest.registers(n).trim_end()));
    Ok(rows.collect())
}

fn status(_: &mut Hmp, vm: &mut Vm, _: &str) -> Result<String, String> {
    use crate::vm::Status::{Paused, Running};
    Ok(match vm.status {
        Running => "VM status: running\n".into(),
        Paused => "VM status: paused\n".into(),
        other => format!("VM status: paused ({})\n", other.name()),
    })
}
