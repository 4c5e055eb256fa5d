//! What firmware reads of the machine through fw_cfg, and from the clock's memory.
//!
//! The names and forms are those that SeaBIOS and OVMF look for (QEMU docs/specs/fw_cfg.rst).

use super::read;
use crate::MachineError;
use crate::acpi::Tables;
use crate::boot::layout::FOUR_GB;
use crate::boot::{Layout, Range};
use crate::config::{Chipset, Config, FwContent};
use crate::smbios;
use hw::chipset::fw_cfg::{self, FwCfg};

/// Blobs of tables have room to grow until firmware fetches them, since their length is told before.
pub(super) const TABLES_LEN: usize = 128 << 10;
pub(super) const LOADER_LEN: usize = 4096;
/// The longest file that a user may add.
const LONGEST: u64 = 64 << 20;

/// All items.
pub(crate) fn items(config: &Config, layout: &Layout) -> Result<FwCfg, MachineError> {
    let mut f = FwCfg::new();
    f.add(fw_cfg::UUID, config.uuid);
    f.add_u64(fw_cfg::RAM_SIZE, layout.ram_low + layout.ram_high);
    f.add_u16(fw_cfg::NOGRAPHIC, u16::from(!config.board.graphics));
    f.add_u16(fw_cfg::NB_CPUS, config.topology.cpus as u16);
    let ids = layout.apic_ids.iter().max().map_or(1, |id| id + 1);
    f.add_u16(fw_cfg::MAX_CPUS, ids as u16);
    // No nodes: their count, and none for each CPU.
    f.add(fw_cfg::NUMA, vec![0; 8 * (1 + ids as usize)]);
    f.add_u32(fw_cfg::IRQ0_OVERRIDE, 1);
    f.add(fw_cfg::HPET, hpet(layout));
    f.add_file("etc/e820", e820(layout));
    boot(&mut f, config);
    // S5 is there as type 0; S3 and S4 are not.
    f.add_file("etc/system-states", [128, 0, 0, 1, 2, 128]);
    if config.board.acpi {
        for (name, bytes) in tables(layout) {
            f.add_live_file(name, bytes);
        }
    }
    let all = smbios::build(layout)?;
    // The entry point that says less is understood by more, as long as what it points at is short enough.
    let short = all.structures.len() <= 0xFFFF;
    let anchor = if short { smbios::entry_2_8(&all, 0) } else { smbios::entry_3_0(&all, 0) };
    f.add_file("etc/smbios/smbios-anchor", anchor);
    f.add_file("etc/smbios/smbios-tables", all.structures);
    if config.board.smm && config.board.chipset == Chipset::Q35 {
        f.add_file("etc/smi/supported-features", super::live::SMI_FEATURES.to_le_bytes());
        f.add_writable_file("etc/smi/requested-features", [0; 8]);
        f.add_live_file(super::live::SMI_OK, [0]);
    }
    for file in &config.fw_files {
        let bytes = match &file.content {
            FwContent::Text(text) => text.clone(),
            FwContent::File(path) => read("-fw_cfg", path, &[], LONGEST)?,
        };
        f.add_file(&file.name, bytes);
    }
    Ok(f)
}

/// How to boot.
fn boot(f: &mut FwCfg, config: &Config) {
    let boot = &config.boot;
    let order = boot_order(config).bytes().next().unwrap_or(b'c');
    f.add_u16(fw_cfg::BOOT_DEVICE, order.into());
    f.add_u16(fw_cfg::BOOT_MENU, boot.menu.into());
    if let Some(time) = boot.splash_time {
        f.add_file("etc/boot-menu-wait", time.to_le_bytes());
    }
    f.add_file("etc/boot-fail-wait", boot.reboot_timeout.unwrap_or(-1).to_le_bytes());
    f.add_file("bootorder", boot_paths(config));
}

/// The devices to boot from, one a line; "HALT" keeps firmware from trying others.
fn boot_paths(config: &Config) -> Vec<u8> {
    if config.boot.strict { b"HALT\0".to_vec() } else { Vec::new() }
}

/// The letters of the drives to try: those for this once come first.
pub(crate) fn boot_order(config: &Config) -> &str {
    let boot = &config.boot;
    boot.once.as_deref().or(boot.order.as_deref()).unwrap_or("cad")
}

/// RAM as (address, length, type).
fn e820(layout: &Layout) -> Vec<u8> {
    const RAM: u32 = 1;
    let all = [Range::sized(0, layout.ram_low), Range::sized(FOUR_GB, layout.ram_high)];
    let mut bytes = Vec::new();
    for r in all.iter().filter(|r| !r.is_empty()) {
        bytes.extend(r.start.to_le_bytes());
        bytes.extend(r.len().to_le_bytes());
        bytes.extend(RAM.to_le_bytes());
    }
    bytes
}

/// How many HPETs there are, and for each of eight: its id, address, shortest period, page protection.
fn hpet(layout: &Layout) -> Vec<u8> {
    let mut bytes = vec![0; 1 + 8 * 15];
    if let Some(at) = layout.hpet {
        bytes[0] = 1;
        bytes[1..5].copy_from_slice(&0x8086_A201u32.to_le_bytes());
        bytes[5..13].copy_from_slice(&u64::from(at).to_le_bytes());
        bytes[13..15].copy_from_slice(&100u16.to_le_bytes());
    } else {
        bytes[0] = 0xFF;
    }
    bytes
}

/// The ACPI tables with the script that places them, each of a length that does not change.
pub(super) fn tables(layout: &Layout) -> Vec<(&'static str, Vec<u8>)> {
    let tables = Tables::build(layout);
    let padded = |bytes: &[u8], unit: usize| {
        let mut bytes = bytes.to_vec();
        bytes.resize(bytes.len().max(1).next_multiple_of(unit), 0);
        bytes
    };
    let [(rsdp, rsdp_bytes), (name, bytes)] = tables.files();
    vec![
        (rsdp, rsdp_bytes.to_vec()),
        (name, padded(bytes, TABLES_LEN)),
        ("etc/table-loader", padded(&tables.loader_script(), LOADER_LEN)),
    ]
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::boot::Board;

    #[test]
    fn ram_is_listed_below_and_above_the_hole() {
        let l = Layout::new(Board::Pc, 5 << 30, 1);
        let bytes = e820(&l);
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        assert_eq!((bytes.len(), number(0), number(8)), (40, 0, 3 << 30));
        assert_eq!((number(20), number(28), bytes[36]), (4 << 30, 2 << 30, 1));
    }

    #[test]
    fn the_first_letter_is_tried_first_and_once_wins() {
        let mut config = Config::default();
        assert_eq!(boot_order(&config), "cad");
        config.boot.order = Some("dc".into());
        config.boot.once = Some("n".into());
        assert_eq!(boot_order(&config), "n");
        config.boot.strict = true;
        let f = items(&config, &Layout::new(Board::Pc, 64 << 20, 1)).unwrap();
        assert_eq!(f.file("bootorder"), Some(&b"HALT\0"[..]));
        assert_eq!(f.file("etc/boot-fail-wait"), Some(&[0xFF; 4][..]));
    }

    #[test]
    fn tables_keep_their_lengths() {
        for ram in [64 << 20, 8 << 30] {
            for (name, bytes) in tables(&Layout::new(Board::Q35, ram, 4)) {
                let want = match name {
                    "etc/acpi/tables" => TABLES_LEN,
                    "etc/table-loader" => LOADER_LEN,
                    _ => 36,
                };
                assert_eq!(bytes.len(), want, "{name}");
            }
        }
    }
}
