//! Virtio devices.

use super::PropKind::{Chardev, Choice, Drive, Number, OnOff, OnOffAuto, Size, Text};
use super::props::prop;
use super::{Driver, Env, Home, Made, Prop, Props, Value};
use hw::virtio::{self, PciOptions, VirtioDevice, VirtioPci};

/// What a drive is called in the properties of any disk.
pub(super) const DISK: [Prop; 8] = [
    prop("drive", Drive, ""),
    prop("serial", Text, ""),
    prop("bootindex", Number(0, 0x7FFF_FFFF), ""),
    prop("logical_block_size", Size, "default: 512"),
    prop("physical_block_size", Size, "default: 512"),
    prop("write-cache", OnOffAuto, "default: auto, as the drive says"),
    prop("rerror", Choice(&["auto", "report", "ignore", "stop"]), "default: auto"),
    prop("werror", Choice(&["auto", "report", "ignore", "stop", "enospc"]), "default: auto"),
];

/// What every virtio device on PCI takes.
const PCI: [Prop; 5] = [
    prop("disable-legacy", OnOffAuto, "default: auto"),
    prop("disable-modern", OnOff, "default: off"),
    prop("vectors", Number(0, 2048), "default: as many as it can use"),
    prop("event_idx", OnOff, "default: on"),
    prop("indirect_desc", OnOff, "default: on"),
];

#[rustfmt::skip]
pub(super) const DRIVERS: &[Driver] = &[
    Driver {
        name: "virtio-blk-pci", home: Home::Pci(blk), carries: None, about: "disk",
        props: &[&DISK, &PCI, &[
            prop("num-queues", Number(1, 1024), "default: one for each CPU"),
            prop("queue-size", Number(2, 1024), "default: 256"),
            prop("seg-max-adjust", OnOff, "default: on"),
            prop("config-wce", OnOff, "default: on"),
            prop("discard", OnOff, "default: on"),
            prop("write-zeroes", OnOff, "default: on"),
            prop("share-rw", OnOff, "default: off"),
            prop("min_io_size", Size, "default: 0"),
            prop("opt_io_size", Size, "default: 0"),
            prop("discard_granularity", Size, ""),
            prop("request-merging", OnOff, "accepted: without effect"),
            prop("ioeventfd", OnOff, "accepted: without effect"),
        ]],
    },
    Driver {
        name: "virtio-rng-pci", home: Home::Pci(rng), carries: None, about: "random numbers",
        props: &[&PCI, &[
            prop("max-bytes", Number(0, u64::MAX), "default: no limit"),
            prop("period", Number(1, u32::MAX as u64), "milliseconds, default: 65536"),
            prop("rng", Text, "accepted: random numbers come from the host, or the seed"),
        ]],
    },
    Driver {
        name: "virtio-serial-pci", home: Home::Pci(serial), carries: Some(("virtio-serial-bus", 1, 31)),
        about: "ports for virtconsole and virtserialport",
        props: &[&PCI, &[
            prop("max_ports", Number(1, 31), "default: 31"),
            prop("emergency-write", OnOff, "default: on"),
        ]],
    },
    Driver { name: "virtconsole", home: Home::Behind("virtio-serial-bus"), carries: None, about: "console", props: &[&PORT] },
    Driver { name: "virtserialport", home: Home::Behind("virtio-serial-bus"), carries: None, about: "port", props: &[&PORT] },
];

const PORT: [Prop; 3] = [
    prop("chardev", Chardev, ""),
    prop("name", Text, ""),
    prop("nr", Number(0, 30), "default: the first free one"),
];

fn options(p: &Props) -> Result<PciOptions, String> {
    let legacy = p.get("disable-legacy") != Some(&Value::On(true));
    let modern = p.on("disable-modern") != Some(true);
    if !legacy && !modern {
        return Err("disable-legacy=on and disable-modern=on leave nothing".into());
    }
    Ok(PciOptions {
        legacy,
        modern,
        vectors: p.number("vectors").map(|n| n as u16),
        event_idx: p.on("event_idx").unwrap_or(true),
        indirect_desc: p.on("indirect_desc").unwrap_or(true),
        ..PciOptions::default()
    })
}

fn made(device: impl VirtioDevice, p: &Props) -> Result<Made, String> {
    Ok(Made::new(VirtioPci::new(device, options(p)?)))
}

/// A size of blocks: 0 as the medium has.
pub(super) fn block_size(p: &Props, name: &str) -> Result<u32, String> {
    match p.number(name) {
        None => Ok(0),
        Some(n) if n.is_power_of_two() && (512..=2 << 20).contains(&n) => Ok(n as u32),
        Some(n) => Err(format!("{name}={n}: expected a power of two from 512 to 2M")),
    }
}

fn blk(p: &Props, env: &mut Env<'_>) -> Result<Made, String> {
    let default = virtio::BlkConfig::default();
    let drive = p.drive().ok_or("drive= is missing")?;
    let config = virtio::BlkConfig {
        serial: p.text("serial").unwrap_or("").into(),
        queues: p.number("num-queues").unwrap_or(env.cpus.into()) as u16,
        queue_size: p.number("queue-size").unwrap_or(256) as u16,
        seg_max_adjust: p.on("seg-max-adjust").unwrap_or(default.seg_max_adjust),
        logical_block_size: block_size(p, "logical_block_size")?,
        physical_block_size: block_size(p, "physical_block_size")?,
        min_io_size: p.number("min_io_size").unwrap_or(0) as u32,
        opt_io_size: p.number("opt_io_size").unwrap_or(0) as u32,
        discard_granularity: p.number("discard_granularity").map(|n| n as u32),
        config_wce: p.on("config-wce").unwrap_or(true),
        discard: p.on("discard").unwrap_or(true),
        write_zeroes: p.on("write-zeroes").unwrap_or(true),
        ..default
    };
    Ok(Made { drives: vec![(drive, 0)], ..made(virtio::Blk::new(config), p)? })
}

fn rng(p: &Props, _: &mut Env<'_>) -> Result<Made, String> {
    let period = p.number("period").unwrap_or(1 << 16) * 1_000_000;
    let limit = p.number("max-bytes").map(|n| (n, period));
    made(virtio::Rng::new(virtio::RngConfig { limit }), p)
}

fn serial(p: &Props, env: &mut Env<'_>) -> Result<Made, String> {
    let max_ports = p.number("max_ports").unwrap_or(31) as u32;
    let mut ports = Vec::new();
    let mut backends = Vec::new();
    for c in env.children {
        let number = u32::from(c.unit);
        if number >= max_ports {
            return Err(format!("{}: nr={number}: there are {max_ports} ports", c.driver.name));
        }
        let name = c.props.text("name").unwrap_or("").into();
        ports.push(virtio::Port { number, console: c.driver.name == "virtconsole", name });
        backends.extend(c.props.backend().map(|b| (b, Some(c.unit))));
    }
    let emergency_write = p.on("emergency-write").unwrap_or(true);
    let config = virtio::ConsoleConfig { ports, max_ports, emergency_write };
    Ok(Made { backends, ..made(virtio::Console::new(config), p)? })
}
