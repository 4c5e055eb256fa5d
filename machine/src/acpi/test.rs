//! The tables as a system reads them, and ACPICA's own opinion of them.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;
use crate::boot::{Board, HotBus, Range, Topology};

const RSDP: u64 = 0xF_0000;
const AT: u64 = 0x7FE_0000;

/// Every kind of machine whose tables differ.
fn layouts() -> Vec<(&'static str, Layout)> {
    let mut bare = Layout::new(Board::Q35, 1 << 30, 1);
    (bare.hpet, bare.pci_mmio64, bare.smi) = (None, None, None);
    (bare.ps2, bare.vga, bare.fw_cfg, bare.com) = (false, false, false, [false, false]);
    let mut full = Layout::new(Board::Pc, 8 << 30, 4);
    full.pvpanic = Some(0x505);
    // A bridge behind a bridge.
    let bus = |number, removable, below| HotBus { number, removable, below };
    let inner = bus(7, 0xFFFF_FFFE, vec![(0, 1, bus(8, u32::MAX, vec![]))]);
    full.hotplug = Some(bus(0, 0xFFFF_FFE4, vec![(3, 0, inner)]));
    let mut pc = Layout::new(Board::Pc, 256 << 20, 1);
    pc.hotplug = Some(bus(0, 0xFFFF_FFFC, vec![]));
    let mut small_ecam = Layout::new(Board::Q35, 6 << 30, 300);
    small_ecam.ecam = Some(Range::sized(0xE000_0000, 16 << 20));
    small_ecam.topology = Topology { sockets: 2, cores: 75, threads: 2 };
    small_ecam.apic_ids = small_ecam.topology.apic_ids();
    small_ecam.present = 290;
    small_ecam.pvpanic = Some(0x505);
    vec![
        ("q35", Layout::new(Board::Q35, 256 << 20, 2)),
        ("pc", pc),
        ("bare", bare),
        ("full", full),
        ("many", small_ecam),
    ]
}

fn number(bytes: &[u8], at: usize, size: usize) -> u64 {
    bytes[at..at + size].iter().rev().fold(0, |n, b| n << 8 | u64::from(*b))
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |s: u8, b| s.wrapping_add(*b))
}

/// The placed table at an address.
fn at(blob: &[u8], address: u64) -> &[u8] {
    let start = (address - AT) as usize;
    &blob[start..start + number(blob, start + 4, 4) as usize]
}

/// All tables that the RSDP leads to, by the root table asked for.
fn walk<'a>(rsdp: &[u8], blob: &'a [u8], extended: bool) -> Vec<&'a [u8]> {
    let (root, size) = if extended { (number(rsdp, 24, 8), 8) } else { (number(rsdp, 16, 4), 4) };
    let root = at(blob, root);
    assert_eq!(sum(root), 0);
    assert_eq!(&root[..4], if extended { b"XSDT" } else { b"RSDT" });
    (HEADER..root.len()).step_by(size).map(|i| at(blob, number(root, i, size))).collect()
}

fn find<'a>(all: &[&'a [u8]], signature: &[u8; 4]) -> Option<&'a [u8]> {
    all.iter().find(|t| t.starts_with(signature)).copied()
}

#[test]
fn both_roots_lead_to_the_same_tables_and_all_of_them_add_up() {
    for (name, layout) in layouts() {
        let placed = Tables::build(&layout).place(RSDP, AT);
        let (rsdp, blob) = (&placed[0].1, &placed[1].1);
        assert_eq!((placed[0].0, placed[1].0), (RSDP, AT));
        assert_eq!((sum(&rsdp[..20]), sum(rsdp)), (0, 0), "{name}");
        let all = walk(rsdp, blob, true);
        assert_eq!(all, walk(rsdp, blob, false));
        assert!(all.iter().all(|t| sum(t) == 0), "{name}");
        assert!(all[0].starts_with(b"FACP"), "the FADT comes first");
        assert_eq!(find(&all, b"MCFG").is_some(), layout.ecam.is_some());
        assert_eq!(find(&all, b"HPET").is_some(), layout.hpet.is_some());
        let fadt = all[0];
        let dsdt = at(blob, number(fadt, fixed::FADT_DSDT, 4));
        assert_eq!(number(fadt, fixed::FADT_X_DSDT, 8), number(fadt, fixed::FADT_DSDT, 4));
        assert_eq!((&dsdt[..4], sum(dsdt)), (&b"DSDT"[..], 0));
        let facs = number(fadt, fixed::FADT_FACS, 4);
        assert_eq!((&at(blob, facs)[..4], facs % 64), (&b"FACS"[..], 0));
    }
}

#[test]
fn the_loader_script_gives_the_same_bytes_as_placing() {
    for (name, layout) in layouts() {
        let tables = Tables::build(&layout);
        let mut files: Vec<(String, u64, Vec<u8>)> = Vec::new();
        for entry in tables.loader_script().chunks(128) {
            let text = |at: usize| {
                let text = &entry[at..at + 56];
                String::from_utf8(text[..text.iter().position(|b| *b == 0).unwrap()].to_vec())
                    .unwrap()
            };
            let file = |name: &str, all: &[(String, u64, Vec<u8>)]| {
                all.iter().position(|f| f.0 == name).unwrap()
            };
            match number(entry, 0, 4) {
                1 => {
                    let bytes = tables.files().iter().find(|f| f.0 == text(4)).unwrap().1.to_vec();
                    let base = if entry[64] == 2 { RSDP } else { AT };
                    assert_eq!(base % number(entry, 60, 4), 0);
                    files.push((text(4), base, bytes));
                }
                2 => {
                    let (to, from) = (file(&text(4), &files), file(&text(60), &files));
                    let (offset, size) = (number(entry, 116, 4) as usize, usize::from(entry[120]));
                    let value = number(&files[to].2, offset, size) + files[from].1;
                    files[to].2[offset..offset + size]
                        .copy_from_slice(&value.to_le_bytes()[..size]);
                }
                3 => {
                    let f = file(&text(4), &files);
                    let [offset, start, len] = [60, 64, 68].map(|at| number(entry, at, 4) as usize);
                    files[f].2[offset] = 0;
                    let byte = sum(&files[f].2[start..start + len]).wrapping_neg();
                    files[f].2[offset] = byte;
                }
                other => panic!("command {other}"),
            }
        }
        let got: Vec<_> = files.into_iter().map(|f| (f.1, f.2)).collect();
        assert_eq!(got, tables.place(RSDP, AT), "{name}");
    }
}

#[test]
fn the_madt_lists_every_processor_once() {
    for (name, layout) in layouts() {
        let madt = fixed::madt(&layout);
        let (mut ids, mut at, mut enabled) = (Vec::new(), 8, 0);
        while at < madt.len() {
            match madt[at] {
                0 => {
                    ids.push(u32::from(madt[at + 3]));
                    enabled += number(&madt, at + 4, 4);
                }
                9 => {
                    ids.push(number(&madt, at + 4, 4) as u32);
                    enabled += number(&madt, at + 8, 4);
                }
                _ => {}
            }
            at += usize::from(madt[at + 1]);
        }
        assert_eq!((at, ids), (madt.len(), layout.apic_ids), "{name}");
        assert_eq!(enabled, layout.present as u64, "{name}");
    }
}

#[test]
fn apic_ids_leave_gaps_where_counts_are_not_powers_of_two() {
    let ids = Topology { sockets: 2, cores: 3, threads: 2 }.apic_ids();
    assert_eq!(ids, [0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13]);
}

fn run(tool: &str, args: &[&str], dir: &Path) -> Option<(bool, String)> {
    match Command::new(tool).args(args).current_dir(dir).output() {
        Ok(out) => {
            let text = [out.stdout, out.stderr].concat();
            Some((out.status.success(), String::from_utf8_lossy(&text).into_owned()))
        }
        Err(why) => {
            eprintln!("skipped: {tool}: {why} (Debian package acpica-tools)");
            None
        }
    }
}

/// Writes the placed tables of a layout, one file each; answers the directory.
fn write_tables(name: &str, layout: &Layout) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("reprise-acpi-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let placed = Tables::build(layout).place(RSDP, AT);
    let (rsdp, blob) = (&placed[0].1, &placed[1].1);
    let mut all = walk(rsdp, blob, true);
    let fadt = all[0];
    for field in [fixed::FADT_DSDT, fixed::FADT_FACS] {
        all.push(at(blob, number(fadt, field, 4)));
    }
    for root in [number(rsdp, 16, 4), number(rsdp, 24, 8)] {
        all.push(at(blob, root));
    }
    for t in all {
        let file = String::from_utf8(t[..4].to_vec()).unwrap().to_lowercase();
        std::fs::write(dir.join(file + ".dat"), t).unwrap();
    }
    dir
}

/// Every table disassembles, and what comes out compiles again without an error.
#[test]
fn acpica_takes_all_tables() {
    for (name, layout) in layouts() {
        let dir = write_tables(name, &layout);
        let mut files: Vec<_> = std::fs::read_dir(&dir)
            .unwrap()
            .map(|f| f.unwrap().file_name().into_string().unwrap())
            .filter(|f| f.ends_with(".dat"))
            .collect();
        files.sort();
        for file in &files {
            let Some((good, text)) = run("iasl", &["-d", file], &dir) else {
                return;
            };
            let clean = !text.contains("Error") && !text.contains("Warning");
            assert!(good && clean, "{name}/{file}: {text}");
            let source = file.replace(".dat", ".dsl");
            let (good, text) = run("iasl", &["-p", "again", &source], &dir).unwrap();
            assert!(good && text.contains("0 Errors"), "{name}/{source}: {text}");
            assert!(!file.starts_with("dsdt") || text.contains("0 Warnings"), "{name}: {text}");
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }
}

/// ACPICA's interpreter runs the methods that a system runs at boot.
#[test]
fn acpica_runs_the_methods() {
    // (`_PRT` is left out: its result is larger than the tool's buffer.)
    let cases = [
        ("q35", "\\_PIC 1; \\_SB.PCI0._CRS", "Length"),
        ("q35", "\\_SB.GSIA._CRS", "10 00 00 00"),
        ("q35", "\\_SB.LNKA._DIS; \\_SB.LNKA._STA", "= 0000000000000009"),
        (
            "q35",
            "\\_SB.LNKB._SRS (89 06 00 09 01 0B 00 00 00 79 00); \\_SB.LNKB._CRS",
            "89 06 00 09 01 0B 00 00 00 79",
        ),
        ("q35", "\\_SB.LNKH._STA", "= 000000000000000B"),
        ("q35", "\\_SB.LNKH._CRS", "89 06 00 09 01 00 00 00 00 79"),
        ("q35", "\\_SB.CPUS.C001._UID", "= 0000000000000001"),
        ("pc", "\\_SB.PCI0._CRS", "Length"),
        ("pc", "\\_SB.LNKD._DIS; \\_SB.LNKD._CRS", "89 06 00 09 01 00 00 00 00 79"),
        ("pc", "\\_SB.LNKS._STA", "= 000000000000000B"),
        ("pc", "\\_S5", "4 Elements"),
        ("pc", "\\_GPE._E01; \\_SB.PCI0.S1F_._EJ0 1; \\_SB.PCI0.S02_._SUN", "= 0000000000000002"),
    ];
    for name in ["q35", "pc"] {
        let layout = layouts().into_iter().find(|l| l.0 == name).unwrap().1;
        let dir = write_tables(&format!("run-{name}"), &layout);
        let calls: Vec<&str> =
            cases.iter().filter(|c| c.0 == name).flat_map(|c| c.1.split("; ")).collect();
        let script: Vec<String> = calls.iter().map(|c| format!("evaluate {c}")).collect();
        let Some((_, text)) = run("acpiexec", &["-b", &script.join(";"), "dsdt.dat"], &dir) else {
            return;
        };
        std::fs::remove_dir_all(&dir).unwrap();
        let errors: Vec<_> =
            text.lines().filter(|l| l.contains("AE_") && !l.contains("AE_OK")).collect();
        assert!(errors.is_empty(), "{name}: {errors:#?}\n{text}");
        // One piece of the output for each call; the last call of a case gives its result.
        let pieces: Vec<&str> = text.split("Evaluating ").skip(1).collect();
        assert_eq!(pieces.len(), calls.len(), "{name}: {text}");
        let mut at = 0;
        for (_, calls, want) in cases.iter().filter(|c| c.0 == name) {
            at += calls.split("; ").count();
            assert!(pieces[at - 1].contains(want), "{name} {calls}: {}", pieces[at - 1]);
        }
    }
}
