//! Files of symbols, good and bad.

use super::*;
use std::io::Cursor;

fn read_bytes(bytes: &[u8]) -> Result<Symbols, String> {
    let mut all = Symbols::default();
    all.take(&mut Cursor::new(bytes), bytes.len() as u64)?;
    all.finish();
    Ok(all)
}
fn name_at(s: &Symbols, at: u64) -> Option<String> {
    s.find(at).map(|n| s.name(n))
}

/// What is in an ELF file: name, info, section, address and size of each symbol. Section 1 is code, 2 is data.
type Row = (&'static str, u8, u16, u64, u64);
const FUNC: u8 = 2;
const GLOBAL: u8 = 1 << 4;

/// An ELF file of these symbols, which stand right behind the header; then names, then sections.
fn elf(wide: bool, rows: &[Row]) -> Vec<u8> {
    let mut names = vec![0];
    let mut table = vec![0; if wide { 24 } else { 16 }];
    for &(name, info, section, at, size) in rows {
        let here = (names.len() as u32).to_le_bytes();
        names.extend(name.bytes());
        names.push(0);
        let (kind, home) = ([info, 0], section.to_le_bytes());
        let word = |n: u64| (n as u32).to_le_bytes();
        let row = match wide {
            true => [&here[..], &kind, &home, &at.to_le_bytes(), &size.to_le_bytes()].concat(),
            false => [&here[..], &word(at), &word(size), &kind, &home].concat(),
        };
        table.extend(row);
    }
    let head = if wide { 64 } else { 52 };
    let (symbols, strings) = (head, head + table.len() as u64);
    let sections = strings + names.len() as u64;
    // Kind, flags, offset, size, link.
    let list = [
        (0, 0, 0, 0, 0),
        (1, EXECUTABLE, 0, 0, 0),
        (1, 0, 0, 0, 0),
        (SYMTAB, 0, symbols, table.len() as u64, 4),
        (STRTAB, 0, strings, names.len() as u64, 0),
    ];
    let number = |n: u64| n.to_le_bytes()[..if wide { 8 } else { 4 }].to_vec();
    let mut file = vec![0x7f, b'E', b'L', b'F', if wide { 2 } else { 1 }, 1, 1];
    file.resize(head as usize, 0);
    let at = if wide { [40, 58, 60] } else { [32, 46, 48] };
    file[at[0]..][..number(0).len()].copy_from_slice(&number(sections));
    let size: u16 = if wide { 64 } else { 40 };
    file[at[1]..][..2].copy_from_slice(&size.to_le_bytes());
    file[at[2]..][..2].copy_from_slice(&(list.len() as u16).to_le_bytes());
    file.extend(table);
    file.extend(names);
    for (kind, flags, offset, len, link) in list {
        file.extend([0; 4]);
        file.extend(kind.to_le_bytes());
        [flags, 0, offset, len].iter().for_each(|&n| file.extend(number(n)));
        file.extend((link as u32).to_le_bytes());
        file.extend([0; 4]);
        [0, 0].iter().for_each(|&n| file.extend(number(n)));
    }
    file
}

const SOME: &[Row] = &[
    ("main", FUNC | GLOBAL, 1, 0x1000, 0x20),
    ("main_alias", FUNC, 1, 0x1000, 0x20),
    ("label", 0, 1, 0x1040, 0),
    (".hidden", 0, 1, 0x1044, 0),
    ("data", 1 | GLOBAL, 2, 0x1048, 8),
    ("outside", FUNC | GLOBAL, 0, 0x104c, 4),
    ("last", FUNC, 1, 0x2000, 0),
];

#[test]
fn code_is_named_by_elf_files_of_both_widths() {
    for wide in [true, false] {
        let s = read_bytes(&elf(wide, SOME)).unwrap();
        for (at, want) in [
            (0xfff, None),
            (0x1000, Some("main")),
            (0x101f, Some("main")),
            (0x1020, None),
            (0x104c, Some("label")),
            (0x1fff, Some("label")),
            (0x2000, Some("last")),
            (0x2000 + UNSIZED - 1, Some("last")),
            (0x2000 + UNSIZED, None),
            (u64::MAX, None),
        ] {
            assert_eq!(name_at(&s, at).as_deref(), want, "{at:x} {wide}");
        }
    }
}

#[test]
fn lines_of_kernels_are_read() {
    let map = "0000000000000000 A fixed_percpu_data\n\
               ffffffff81000000 T _text\n\
               ffffffff81000000 t a_local_one\n\
               ffffffff81000040 t do_work.part.0\n\
               ffffffff82000000 D some_data\n\
               ffffffffc0000000 t probe\t[a_module]\r\n\n";
    let s = read_bytes(map.as_bytes()).unwrap();
    for (at, want) in [
        (0, None),
        (0xffff_ffff_8100_0000, Some("_text")),
        (0xffff_ffff_8100_0041, Some("do_work.part.0")),
        (0xffff_ffff_8200_0000, None),
        (0xffff_ffff_c000_0000, Some("probe [a_module]")),
    ] {
        assert_eq!(name_at(&s, at).as_deref(), want, "{at:x}");
    }
    assert_eq!(
        name_at(&read_bytes(b"ffffffffffffff00 T end").unwrap(), u64::MAX - 1).unwrap(),
        "end"
    );
}

#[test]
fn no_part_of_a_file_is_too_short_to_be_refused() {
    let whole = elf(true, SOME);
    for len in 0..whole.len() {
        let why = read_bytes(&whole[..len]).err().unwrap_or_else(|| panic!("{len} bytes"));
        assert!(!why.is_empty() && !why.contains('\n'), "{len}: {why}");
    }
    let cut = &whole[..whole.len() - 1];
    let want = format!(
        "truncated: its section table ends at byte {}, the file at {}",
        whole.len(),
        cut.len()
    );
    assert_eq!(read_bytes(cut).err(), Some(want));
}

#[test]
fn files_that_lie_are_refused_with_a_reason() {
    let whole = elf(true, SOME);
    let sections = whole.len() - 5 * 64;
    let broken = |at: usize, bytes: &[u8]| {
        let mut file = whole.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        read_bytes(&file).err().unwrap_or_else(|| panic!("{at}: {bytes:x?}"))
    };
    let (symbols, names) = (sections + 3 * 64, sections + 4 * 64);
    let (big, huge) = ((24u64 << 30).to_le_bytes(), u64::MAX.to_le_bytes());
    assert_eq!(broken(4, &[3]), "not a little-endian ELF32 or ELF64 file");
    assert_eq!(broken(60, &[0, 0]), "an ELF file without sections");
    assert_eq!(broken(58, &[63]), "an ELF file without sections");
    assert!(broken(40, &huge).starts_with("truncated: its section table"));
    assert!(broken(60, &[0xff, 0xff]).starts_with("truncated: its section table"));
    assert_eq!(broken(symbols + 32, &big), "1073741824 symbols, at most 4194304");
    assert_eq!(broken(symbols + 32, &huge), "768614336404564650 symbols, at most 4194304");
    assert!(broken(symbols + 24, &huge).starts_with("truncated: its symbol table"));
    assert_eq!(broken(symbols + 4, &[1]), "no symbol table: it is stripped");
    assert_eq!(broken(symbols + 40, &[200]), "its symbols have no table of names");
    assert_eq!(broken(names + 32, &big), "25769803776 bytes of names, at most 268435456");
    assert!(broken(names + 24, &[0xff, 0xff]).starts_with("truncated: its table of names"));
    // The second symbol: its name, then its section.
    assert_eq!(broken(64 + 24, &[0xff; 4]), "a symbol's name is outside of the table of names");
    assert_eq!(read_bytes(&elf(true, &SOME[4..6])).err().unwrap(), "no symbols of code");
    let zeros = "0000000000000000 T a\n0000000000000000 t b\n";
    assert!(read_bytes(zeros.as_bytes()).err().unwrap().starts_with("all addresses are 0"));
    for text in ["", "0 D a\n", "\n\n"] {
        assert_eq!(read_bytes(text.as_bytes()).err().unwrap(), "no symbols of code", "{text:?}");
    }
    for text in
        ["1 T", "1\n", "x T a\n", "+1 T a", "1 TT a", "11111111111111111 T a", "\0\0\0", "\u{fe}"]
    {
        let why = read_bytes(text.as_bytes()).err().unwrap();
        assert_eq!(why, "line 1: expected 'address type name', or an ELF file", "{text:?}");
    }
    let many = "1 T a\n".repeat(MOST + 1);
    assert_eq!(read_bytes(many.as_bytes()).err().unwrap(), "more than 4194304 symbols");
}

#[test]
fn names_are_fit_to_be_shown() {
    let long = format!("1 T {}\n", "x".repeat(100_000));
    let s = read_bytes(long.as_bytes()).unwrap();
    assert_eq!(s.name(0).len(), SHOWN);
    let s = read_bytes(b"1 T a\x1b[2J\xff\n").unwrap();
    assert_eq!(s.name(0), "a [2J\u{fffd}");
}

#[test]
fn endless_files_and_those_that_are_none_are_refused_in_one_line() {
    for path in ["/dev/zero", "/", "/no/such", "/dev/null"] {
        let why = Symbols::read(&[path]).err().unwrap_or_else(|| panic!("{path}"));
        assert!(why.starts_with(&format!("cannot read symbols of '{path}': ")), "{why}");
        assert!(!why.contains('\n') && !why.contains("os error"), "{why}");
    }
}
