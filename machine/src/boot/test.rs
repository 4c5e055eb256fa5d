//! Each loader with images made by hand, Debian's kernel where it is there, and broken images.

mod images;

use images::{Bz, ELF_AT, multiboot_elf, multiboot_flat, put};

use super::layout::{FOUR_GB, MB};
use super::*;

const RAM: u64 = 64 << 20;

fn layout() -> Layout {
    Layout::new(Board::Q35, RAM, 2)
}

struct Run {
    ram: VecRam,
    state: EntryState,
}

impl Run {
    fn number(&self, at: u64, size: usize) -> u64 {
        let mut bytes = [0; 8];
        self.ram.read(at, &mut bytes[..size]).unwrap();
        u64::from_le_bytes(bytes)
    }

    fn text(&self, at: u64) -> String {
        let bytes = &self.ram.0[at as usize..];
        let end = bytes.iter().position(|b| *b == 0).unwrap();
        String::from_utf8(bytes[..end].to_vec()).unwrap()
    }
}

/// Boots an image called "kernel"; the files "one" (3 bytes) and "two" (5000 bytes) are there too.
fn boot_on(
    layout: &Layout,
    image: &[u8],
    initrd: Option<&str>,
    append: &str,
) -> Result<Run, BootError> {
    // Memory that was used before: nothing may depend on finding zeros.
    let mut ram = VecRam(vec![0xCC; layout.ram_low as usize]);
    let request = Request {
        kernel: "kernel".into(),
        initrd: initrd.map(str::to_owned),
        append: append.into(),
        seed: None,
    };
    let files = |path: &str| match path {
        "kernel" => Ok(image.to_vec()),
        "one" => Ok(b"abc".to_vec()),
        "two" => Ok(vec![7; 5000]),
        "huge" => Ok(vec![1; RAM as usize]),
        _ => Err(std::io::Error::from_raw_os_error(2)),
    };
    let state = load(&mut ram, layout, &request, &files)?;
    Ok(Run { ram, state })
}

fn boot(image: &[u8], initrd: Option<&str>, append: &str) -> Result<Run, BootError> {
    boot_on(&layout(), image, initrd, append)
}

fn refused(image: &[u8], initrd: Option<&str>, append: &str) -> String {
    match boot(image, initrd, append) {
        Ok(_) => panic!("was accepted"),
        Err(why) => why.to_string(),
    }
}

#[test]
fn linux_64_gets_its_kernel_parameters_and_page_tables() {
    let r = boot(&Bz::default().image(), Some("two"), "console=ttyS0").unwrap();
    let s = &r.state;
    assert_eq!((s.mode, s.rip), (Mode::Long64, 0x100_0200));
    assert_eq!(&r.ram.0[0x100_0000..0x100_0004], &[0, 1, 2, 3]);
    assert_eq!((s.cs.selector, s.data.selector, s.rflags), (0x10, 0x18, 2));
    assert_eq!((s.cr0 & 0x8000_0001, s.cr4 & 0x20, s.efer & 0x500), (0x8000_0001, 0x20, 0x500));
    let p = s.rsi;
    assert_eq!(r.text(r.number(p + 0x228, 4)), "console=ttyS0");
    let initrd = r.number(p + 0x218, 4);
    assert_eq!((r.number(p + 0x21C, 4), r.ram.0[initrd as usize + 4999]), (5000, 7));
    assert_eq!((r.number(p + 0x1FE, 2), r.number(p + 0x202, 4)), (0xAA55, 0x5372_6448));
    assert_eq!((r.number(p + 0x210, 1), r.number(p + 0x214, 4)), (0xFF, 0x100_0000));
    assert_eq!(r.number(p + 0x70, 8), 0xF_0000);
    assert_eq!(r.number(p + 0x1EF, 1), 0, "the sentinel");
    // A walk for an address in the fourth gigabyte ends at that address.
    let l4 = r.number(s.cr3, 8) & !0xFFF;
    let l3 = r.number(l4 + 3 * 8, 8) & !0xFFF;
    assert_eq!(r.number(l3 + 5 * 8, 8), (3 << 30 | 5 << 21) | 0x83);
    // The descriptors in memory are those the registers hold.
    let code = r.number(s.gdt.base + 0x10, 8);
    assert_eq!(code >> 40 & 0xF0FF, u64::from(s.cs.attr & 0xF0FF));
    assert_eq!(code >> 53 & 1, 1, "64-bit code");
}

#[test]
fn the_memory_map_is_what_firmware_gives() {
    let r = boot(&Bz::default().image(), None, "").unwrap();
    let p = r.state.rsi;
    let rows: Vec<_> = (0..r.number(p + 0x1E8, 1))
        .map(|i| p + 0x2D0 + 20 * i)
        .map(|at| (r.number(at, 8), r.number(at, 8) + r.number(at + 8, 8), r.number(at + 16, 4)))
        .collect();
    let tables = rows[3].1;
    assert!((RAM - 0x2_0000..RAM).contains(&tables) && tables % 0x1000 == 0);
    let want = [
        (0, 0x9FC00, 1),
        (0x9FC00, 0xA0000, 2),
        (0xF0000, 0x10_0000, 2),
        (0x10_0000, tables, 1),
        (tables, RAM, 2),
        (0xB000_0000, 0xC000_0000, 2),
        (0xFED1_C000, 0xFED2_0000, 2),
    ];
    assert_eq!(rows, want);
    // RSDP, its XSDT in the reserved pages, and both SMBIOS anchors.
    assert_eq!(&r.ram.0[0xF0000..0xF0008], b"RSD PTR ");
    assert!((tables..RAM).contains(&r.number(0xF0018, 8)));
    assert_eq!(
        (&r.ram.0[0xF0040..0xF0044], &r.ram.0[0xF0060..0xF0065]),
        (&b"_SM_"[..], &b"_SM3_"[..])
    );
    assert_eq!((r.number(0x40E, 2), r.number(0x413, 2)), (0x9FC0, 639));
}

#[test]
fn memory_above_4_gib_is_split_off_as_on_the_boards() {
    for (board, ram, low) in [
        (Board::Q35, 0xAFFF_F000, 0xAFFF_F000),
        (Board::Q35, 0xB000_0000, 2 << 30),
        (Board::Pc, 0xDFFF_F000, 0xDFFF_F000),
        (Board::Pc, 8 << 30, 3 << 30),
    ] {
        let l = Layout::new(board, ram, 1);
        assert_eq!((l.ram_low, l.ram_high), (low, ram - low));
        l.check().unwrap();
        let map = l.e820(&Range::new(low - 0x1000, low));
        assert!(map.windows(2).all(|w| w[0].range.end <= w[1].range.start), "{map:?}");
        assert_eq!(map.iter().any(|r| r.range.start == FOUR_GB), ram > low);
    }
}

#[test]
fn linux_32_enters_at_its_first_byte() {
    let old = Bz { version: 0x0204, ..Bz::default() }.image();
    let r = boot(&old, None, "quiet").unwrap();
    assert_eq!((r.state.mode, r.state.rip), (Mode::Protected32, 0x10_0000));
    assert_eq!((r.state.cr0 & 0x8000_0001, r.state.rbx, r.state.rdi), (1, 0, 0));
    assert_eq!(r.text(r.number(r.state.rsi + 0x228, 4)), "quiet");
    let mut l = layout();
    l.long_mode = false;
    let r = boot_on(&l, &Bz::default().image(), None, "").unwrap();
    assert_eq!((r.state.mode, r.state.rip), (Mode::Protected32, 0x100_0000));
}

#[test]
fn a_kernels_last_paragraph_may_be_short() {
    let image = Bz::default().image();
    for missing in [0, 8, 15] {
        boot(&image[..image.len() - missing], None, "").unwrap();
    }
    assert!(refused(&image[..image.len() - 16], None, "").contains("truncated: Linux kernel"));
}

#[test]
fn a_random_seed_is_handed_over_as_setup_data() {
    let image = Bz::default().image();
    let mut ram = VecRam(vec![0xCC; RAM as usize]);
    let request = Request { kernel: "k".into(), seed: Some(vec![5; 32]), ..Request::default() };
    let state = load(&mut ram, &layout(), &request, &|_| Ok(image.clone())).unwrap();
    let r = Run { ram, state };
    let at = r.number(r.state.rsi + 0x250, 8);
    assert_eq!((r.number(at, 8), r.number(at + 8, 4), r.number(at + 12, 4)), (0, 9, 32));
    assert_eq!(r.ram.0[at as usize + 16..at as usize + 48], [5; 32]);
}

#[test]
fn the_initrd_stays_below_the_kernels_limit() {
    let image = Bz { initrd_max: 0x27F_FFFF, ..Bz::default() }.image();
    let r = boot(&image, Some("two"), "").unwrap();
    assert_eq!(r.number(r.state.rsi + 0x218, 4), 0x280_0000 - 0x2000);
    let r = boot(&Bz { xloadflags: 3, ..Bz::default() }.image(), Some("one"), "").unwrap();
    assert!(r.number(r.state.rsi + 0x218, 4) > RAM - MB);
}

#[test]
fn multiboot_elf_gets_its_information() {
    let r = boot(&multiboot_elf(), Some("one a=1,two"), "-x 7").unwrap();
    let s = &r.state;
    assert_eq!((s.mode, s.rip, s.rax), (Mode::Protected32, u64::from(ELF_AT) + 4, 0x2BAD_B002));
    assert_eq!(r.number(ELF_AT.into(), 4), 0x1BAD_B002);
    assert_eq!(r.number(u64::from(ELF_AT) + 212, 8), 0, "what the file does not hold is cleared");
    let i = s.rbx;
    assert_eq!(r.number(i, 4), 0b10_0100_1111);
    assert_eq!(r.number(i + 4, 4), 639);
    assert_eq!(r.text(r.number(i + 16, 4)), "kernel -x 7");
    assert_eq!(r.text(r.number(i + 64, 4)), "reprise");
    let list = r.number(i + 24, 4);
    assert_eq!(r.number(i + 20, 4), 2);
    let first = r.number(list, 4);
    assert_eq!((first % 0x1000, r.number(list + 4, 4) - first), (0, 3));
    assert_eq!(&r.ram.0[first as usize..first as usize + 3], b"abc");
    assert_eq!(r.text(r.number(list + 8, 4)), "one a=1");
    assert_eq!(r.text(r.number(list + 24, 4)), "two");
    // The memory map: 20-byte rows behind their size; the first is conventional memory.
    let map = r.number(i + 48, 4);
    assert_eq!((r.number(i + 44, 4) % 24, r.number(map, 4)), (0, 20));
    assert_eq!(
        (r.number(map + 4, 8), r.number(map + 12, 8), r.number(map + 20, 4)),
        (0, 0x9FC00, 1)
    );
}

#[test]
fn a_double_comma_is_a_comma_in_a_modules_text() {
    assert_eq!(multiboot::split_modules("a x,,y,b,,"), ["a x,y", "b,"]);
    assert_eq!(multiboot::split_modules("a,"), ["a", ""]);
}

#[test]
fn multiboot_addresses_say_what_goes_where() {
    // The header is 16 bytes into the file, which begins at 30_0000h; 20 bytes of bss follow.
    let size = 16 + 32 + 100;
    let end = 0x30_0000 + size;
    let image = multiboot_flat([0x30_0010, 0x30_0000, end, end + 20, 0x30_0030]);
    let r = boot(&image, None, "").unwrap();
    assert_eq!(r.state.rip, 0x30_0030);
    assert_eq!(&r.ram.0[0x30_0000..end as usize], &image[..]);
    assert_eq!(&r.ram.0[end as usize..end as usize + 20], &[0; 20]);
    assert_eq!(r.ram.0[end as usize + 20], 0xCC);
    for (addresses, why) in [
        ([0x30_0010, 0x30_0020, 0, 0, 0], "load_addr"),
        ([0x30_0100, 0x30_0000, 0, 0, 0], "load_addr"),
        ([0x30_0010, 0x30_0000, 0x2F_0000, 0, 0], "load_end_addr"),
        ([0x30_0010, 0x30_0000, end, end - 1, 0], "bss_end_addr"),
        ([0x30_0010, 0x30_0000, end + 1, 0, 0], "truncated"),
        ([0x30_0010, 0x30_0000, end, 0xF000_0000, 0], "outside guest RAM"),
        ([0x10, 0, 0, 0x10_0000, 0], "overlaps the EBDA"),
    ] {
        let text = refused(&multiboot_flat(addresses), None, "");
        assert!(text.contains(why), "{text} ({why})");
    }
}

#[test]
fn pvh_gets_its_start_info() {
    for wide in [false, true] {
        let entry = (ELF_AT + 8).to_le_bytes();
        let entry = if wide { [entry, [0; 4]].concat() } else { entry.to_vec() };
        let image =
            images::elf(wide, if wide { 62 } else { 3 }, &[0x90; 64], &images::pvh_note(&entry));
        let r = boot(&image, Some("two"), "root=/dev/vda").unwrap();
        assert_eq!((r.state.mode, r.state.rip), (Mode::Protected32, u64::from(ELF_AT) + 8));
        let i = r.state.rbx;
        assert_eq!((r.number(i, 4), r.number(i + 4, 4), r.number(i + 12, 4)), (0x336E_C578, 1, 1));
        let module = r.number(i + 16, 8);
        assert_eq!(r.number(module + 8, 8), 5000);
        assert_eq!(r.number(r.number(module, 8), 1), 7);
        assert_eq!(r.text(r.number(i + 24, 8)), "root=/dev/vda");
        assert_eq!(r.number(i + 32, 8), 0xF_0000);
        let map = r.number(i + 40, 8);
        assert_eq!((r.number(i + 48, 4), r.number(map + 8, 8)), (7, 0x9FC00));
    }
}

#[test]
fn errors_say_what_where_and_what_was_expected() {
    let bz = |b: Bz| b.image();
    let good = Bz::default();
    let cut = |image: Vec<u8>, len: usize| image[..len].to_vec();
    let wide_multiboot = images::elf(true, 62, &images::multiboot_header(0), &[]);
    let plain_elf = images::elf(true, 62, &[0; 64], &[]);
    let note = |entry: &[u8]| images::elf(true, 62, &[0; 64], &images::pvh_note(entry));
    let mut many = plain_elf.clone();
    put(&mut many, 56, &[0xFF, 0xFF]);
    let mut no_flag = good.image();
    put(&mut no_flag, 0x1FE, &[0, 0]);
    for (image, initrd, append, want) in [
        (vec![], None, "", "-kernel kernel: not a bzImage/ELF/multiboot image (0 bytes)"),
        (
            vec![b'x'; 9000],
            None,
            "",
            "-kernel kernel: not a bzImage/ELF/multiboot image (9000 bytes)",
        ),
        (
            bz(Bz { version: 0x0201, ..good.clone() }),
            None,
            "",
            "too old Linux boot protocol 2.01, at least 2.02 needed",
        ),
        (bz(Bz { loadflags: 0, ..good.clone() }), None, "", "zImage"),
        (
            bz(Bz { init_size: 1 << 30, ..good.clone() }),
            None,
            "",
            "outside guest RAM (0-0x4000000)",
        ),
        (bz(Bz { init_size: 0x2FF_FFFF, ..good.clone() }), None, "", "overlaps the ACPI tables"),
        (bz(Bz { init_size: u32::MAX, ..good.clone() }), None, "", "below 4 GiB expected"),
        (
            bz(Bz { cmdline_size: 3, ..good.clone() }),
            None,
            "four",
            "-append: the command line has 4 bytes, this kernel takes 3",
        ),
        (
            bz(good.clone()),
            Some("huge"),
            "",
            "-initrd huge: 67108864 bytes do not fit between the kernel's end 0x1200000",
        ),
        (bz(good.clone()), Some("none"), "", "-initrd none: No such file or directory"),
        (cut(bz(good.clone()), 0x206), None, "", "truncated: Linux setup header"),
        (cut(bz(good.clone()), 0x600), None, "", "truncated: Linux real-mode part"),
        (
            cut(bz(good.clone()), 0x700),
            None,
            "",
            "truncated: Linux kernel ends at byte 5632, file has 1792",
        ),
        (no_flag, None, "", "boot flag is 0x0000, 0xaa55 expected"),
        (wide_multiboot, None, "", "Cannot load x86-64 image, give a 32bit one"),
        (plain_elf, None, "", "ELF image without a PVH entry note"),
        (many, None, "", "ELF image with 65535 segments, at most 1024 expected"),
        (note(&[0; 3]), None, "", "PVH entry note of 3 bytes, 4 or 8 expected"),
        (
            note(&[0, 0, 0, 0, 1, 0, 0, 0]),
            None,
            "",
            "PVH entry 0x100000000 is not a 32-bit address",
        ),
        (multiboot_elf(), Some("one,none x"), "", "-initrd none: No such file or directory"),
        (multiboot_elf(), Some("huge"), "", "-initrd huge: 67108864 bytes do not fit in guest RAM"),
        (cut(multiboot_elf(), 200), None, "", "truncated: ELF segment"),
        (cut(multiboot_elf(), 300), None, "", "truncated: ELF segment"),
        (images::multiboot_header(0), None, "", "neither ELF nor has addresses"),
        (images::multiboot_header(8), None, "", "unknown features (flags 0x8)"),
    ] {
        let text = refused(&image, initrd, append);
        assert!(text.contains(want), "{text:?} does not say {want:?}");
        assert!(!text.contains('\n'));
    }
    let request = Request { kernel: "/nonexist".into(), ..Request::default() };
    let why = load_from_disk(&mut VecRam::new(RAM as usize), &layout(), &request).unwrap_err();
    assert_eq!(why.to_string(), "-kernel /nonexist: No such file or directory");
}

#[test]
fn odd_machines_are_refused_in_words() {
    for change in [
        (|l| l.ram_low = 0) as fn(&mut Layout),
        |l| l.ram_low += 1,
        |l| l.ram_low = 0xFF00_0000,
        |l| l.ram_high = u64::MAX - 0xFFF,
        |l| l.apic_ids.clear(),
        |l| l.topology.sockets = 7,
        |l| l.ecam = Some(Range::new(0x1000, 0x2000)),
        |l| l.ecam = Some(Range::new(5 << 20, 6 << 20)),
        |l| l.pci_mmio32.push(Range::new(0, 0x1000)),
        |l| l.pci_mmio64 = Some(Range::new(0, 1)),
        |l| l.reserved.push(Range::new(0xBFFF_F000, 0xC000_1000)),
        |l| l.pm_base = 0xFFFF,
    ] {
        let mut l = layout();
        change(&mut l);
        let text = l.check().unwrap_err().to_string();
        assert!(text.starts_with("machine layout: "), "{text}");
    }
}

/// A small generator with a fixed seed: the same broken images every time.
struct Xorshift(u64);

impl Xorshift {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

/// Values at which sizes and offsets tend to go wrong.
const EDGES: [u64; 8] =
    [0, 1, u64::MAX, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0xFFFF_F000, 1 << 63];

#[test]
fn broken_images_give_errors_and_never_panic() {
    let note = images::pvh_note(&(ELF_AT + 8).to_le_bytes());
    let seeds = [
        Bz::default().image(),
        Bz { version: 0x0203, ..Bz::default() }.image(),
        multiboot_elf(),
        multiboot_flat([0x30_0010, 0x30_0000, 0x30_0080, 0x30_0100, 0x30_0030]),
        images::elf(false, 3, &[0x90; 64], &note),
        images::elf(true, 62, &[0x90; 64], &note),
    ];
    let small = Layout::new(Board::Pc, 20 << 20, 1);
    let mut ram = VecRam::new(small.ram_low as usize);
    let mut random = Xorshift(0x9E37_79B9_7F4A_7C15);
    let (mut good, mut bad) = (0, 0);
    for round in 0..6000 {
        let mut image = seeds[round % seeds.len()].clone();
        // Headers are where it matters: most changes go to the first bytes.
        for _ in 0..1 + random.below(3) {
            let reach = [64, 256, 0x270, image.len()][random.below(4)].min(image.len());
            let at = random.below(reach);
            match random.below(4) {
                0 => image[at] = random.next() as u8,
                1 => image[at] ^= 1 << random.below(8),
                2 => image.truncate(at.max(1)),
                _ => {
                    let width = [2, 4, 8][random.below(3)].min(image.len() - at);
                    let edge = EDGES[random.below(EDGES.len())].to_le_bytes();
                    put(&mut image, at, &edge[..width]);
                }
            }
        }
        let request = Request {
            kernel: "k".into(),
            initrd: (random.below(2) == 0).then(|| "i".to_owned()),
            ..Request::default()
        };
        let files = |path: &str| Ok(if path == "k" { image.clone() } else { vec![3; 100] });
        match load(&mut ram, &small, &request, &files) {
            Ok(_) => good += 1,
            Err(why) => {
                assert!(!why.to_string().contains('\n'));
                bad += 1;
            }
        }
    }
    // The loop means something only while both happen often.
    assert!(good > 500 && bad > 500, "{good} loaded, {bad} refused");
}

#[test]
fn debians_kernels_load() {
    let home = std::env::var("HOME").unwrap_or_default();
    for name in ["vmlinuz-cloud", "vmlinuz"] {
        let path = format!("{home}/.cache/guest/bench/{name}");
        let Ok(image) = std::fs::read(&path) else {
            eprintln!("skipped: no kernel at {path}");
            continue;
        };
        let header = linux::Header::parse(&path, &image).unwrap();
        assert_eq!((header.version, header.load_at, header.entry_64), (0x020F, 16 << 20, true));
        let l = Layout::new(Board::Q35, 256 << 20, 2);
        let r = boot_on(&l, &image, Some("two"), "console=ttyS0").unwrap();
        assert_eq!((r.state.mode, r.state.rip), (Mode::Long64, 0x100_0200));
        let payload = image.len() - header.payload;
        assert_eq!(&r.ram.0[16 << 20..(16 << 20) + payload], &image[header.payload..]);
    }
}

#[test]
fn real_mode_vectors_lead_to_handlers() {
    let r = boot(&Bz::default().image(), None, "").unwrap();
    for vector in 0..256u64 {
        let (to, seg) = (r.number(4 * vector, 2), r.number(4 * vector + 2, 2));
        let first = r.number(seg * 16 + to, 1);
        let lines = matches!(vector, 0x08..0x10 | 0x70..0x78);
        assert_eq!((seg, first), (0xF000, if lines { 0x50 } else { 0xCF }), "{vector:#x}");
    }
    assert_eq!((r.number(4 * 8, 2), r.number(4 * 0x1C, 2)), (0xFEA5, 0xFF53));
}
