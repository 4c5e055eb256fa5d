//! ATA controllers and drives.

use super::PropKind::{Number, Text};
use super::props::prop;
use super::virtio::DISK;
use super::{Child, Driver, Env, Home, Made, Prop, Props};
use crate::config::DriveId;
use hw::ahci::Ahci;
use hw::ata::DriveConfig;
use hw::ide::Piix3Ide;

const OWN: [Prop; 5] = [
    prop("unit", Number(0, 1), "default: the first free one"),
    prop("model", Text, ""),
    prop("ver", Text, "default: 2.5+"),
    prop("wwn", Number(0, u64::MAX), ""),
    prop("rotation_rate", Number(0, 0xFFFF), "default: 0, not said; 1: a solid-state disk"),
];

#[rustfmt::skip]
pub(super) const DRIVERS: &[Driver] = &[
    Driver { name: "ide-hd", home: Home::Behind("IDE"), carries: None, about: "ATA disk", props: &[&DISK, &OWN, &[
        prop("share-rw", super::PropKind::OnOff, "default: off"),
    ]] },
    Driver { name: "ide-cd", home: Home::Behind("IDE"), carries: None, about: "ATAPI CD-ROM drive", props: &[&DISK, &OWN] },
    Driver { name: "piix3-ide", home: Home::Pci(ide), carries: Some(("IDE", 2, 2)), about: "IDE controller", props: &[] },
    Driver { name: "piix4-ide", home: Home::Pci(ide4), carries: Some(("IDE", 2, 2)), about: "IDE controller", props: &[] },
    Driver { name: "ich9-ahci", home: Home::Pci(ahci), carries: Some(("IDE", 6, 1)), about: "serial ATA controller", props: &[] },
    Driver { name: "ahci", home: Home::Pci(ahci), carries: Some(("IDE", 6, 1)), about: "serial ATA controller", props: &[] },
];

/// The drives of a controller by their places, and what they are joined to.
type Places<const N: usize> = ([Option<DriveConfig>; N], Vec<(DriveId, u16)>);

fn places<const N: usize>(children: &[Child<'_>]) -> Result<Places<N>, String> {
    let mut all = [const { None }; N];
    let mut drives = Vec::new();
    for c in children {
        let Some(place) = all.get_mut(usize::from(c.unit)) else { continue };
        let drive =
            c.props.drive().ok_or_else(|| format!("{}: drive= is missing", c.driver.name))?;
        *place = Some(drive_config(c));
        drives.push((drive, c.unit));
    }
    Ok((all, drives))
}

fn drive_config(c: &Child<'_>) -> DriveConfig {
    let p = c.props;
    let mut d = if c.driver.name == "ide-cd" { DriveConfig::cd() } else { DriveConfig::disk() };
    let set = |to: &mut String, name: &str| {
        if let Some(text) = p.text(name) {
            *to = text.into();
        }
    };
    set(&mut d.model, "model");
    set(&mut d.firmware, "ver");
    d.serial = p.text("serial").map(Into::into);
    d.wwn = p.number("wwn").filter(|n| *n != 0);
    d.rotation = p.number("rotation_rate").unwrap_or(0) as u16;
    d
}

fn ide(_: &Props, env: &mut Env<'_>) -> Result<Made, String> {
    let (all, drives) = places(env.children)?;
    Ok(Made { drives, ..Made::new(Piix3Ide::new(all)) })
}

fn ide4(_: &Props, env: &mut Env<'_>) -> Result<Made, String> {
    let (all, drives) = places(env.children)?;
    Ok(Made { drives, ..Made::new(Piix3Ide::piix4(all)) })
}

fn ahci(_: &Props, env: &mut Env<'_>) -> Result<Made, String> {
    let (all, drives) = places(env.children)?;
    Ok(Made { drives, ..Made::new(Ahci::new(all)) })
}
