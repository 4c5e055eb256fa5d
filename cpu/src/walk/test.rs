use super::*;
use crate::Width;
use crate::testing::Bench;

const LA: u64 = 0x1234_5678;
const PAGE_AT: u64 = 0x5000;
const P: u64 = PRESENT;
const RW: u64 = WRITE;
const US: u64 = USER;

/// 64-bit mode whose tables (4 levels, at 0x10000 and on) map `LA` to `PAGE_AT` with these entries' flags.
fn four_levels(b: &mut Bench, flags: [u64; 4]) {
    b.long(0, 0);
    b.core.state.cr3 = 0x10000;
    for (n, f) in flags.iter().enumerate() {
        let shift = 39 - 9 * n as u32;
        let at = 0x10000 + 0x1000 * n as u64 + (LA >> shift & 511) * 8;
        let next = if n == 3 { PAGE_AT } else { 0x11000 + 0x1000 * n as u64 };
        b.put_u64(at, next | f);
    }
}
fn entry_at(n: u64) -> u64 {
    0x10000 + 0x1000 * n + (LA >> (39 - 9 * n) & 511) * 8
}
fn code_of(b: &mut Bench, set: usize, a: Access) -> Option<u32> {
    b.interp().flush_all();
    match b.interp().page(set, LA, a) {
        Ok(i) => {
            assert_eq!(i.phys, PAGE_AT);
            None
        }
        Err(_) => {
            let e = b.core.fault;
            assert_eq!((e.vector, e.detail), (14, LA));
            e.code
        }
    }
}

/// Control bits of a row.
#[derive(Clone, Copy, Default)]
struct On {
    wp: bool,
    smep: bool,
    smap: bool,
    no_nxe: bool,
    pke: Option<u32>,
    pks: Option<u64>,
}
const OFF: On = On { wp: false, smep: false, smap: false, no_nxe: false, pke: None, pks: None };

#[test]
fn four_level_faults_have_the_manuals_codes() {
    use Access::*;
    let all = P | RW | US;
    let wp = On { wp: true, ..OFF };
    let smep = On { smep: true, ..OFF };
    let smap = On { smap: true, ..OFF };
    let key = |bits| On { pke: Some(bits), ..OFF };
    let key_wp = |bits| On { pke: Some(bits), wp: true, ..OFF };
    let keyed = all | 1 << 59;
    #[rustfmt::skip]
    let rows: &[([u64; 4], On, usize, Access, Option<u32>)] = &[
        ([all; 4],                       OFF,  1, Write, None),
        ([all, all, all, 0],             OFF,  0, Read,  Some(0)),
        ([all, all, all, 0],             OFF,  1, Write, Some(6)),
        ([all, 0, all, all],             OFF,  1, Exec,  Some(0x14)),
        ([all, all, all, P | US],        OFF,  1, Write, Some(7)),
        ([all, P | US, all, all],        OFF,  1, Write, Some(7)),
        ([all, all, all, P | US],        OFF,  0, Write, None),
        ([all, all, all, P | US],        wp,   0, Write, Some(3)),
        ([all, all, all, P | RW],        OFF,  1, Read,  Some(5)),
        ([P | RW, all, all, all],        OFF,  1, Read,  Some(5)),
        ([all, all, all | NX, all],      OFF,  0, Exec,  Some(0x11)),
        ([all, all, all, all | NX],      OFF,  1, Exec,  Some(0x15)),
        ([all, all, all, all | NX],      OFF,  1, Read,  None),
        ([all; 4],                       smep, 0, Exec,  Some(0x11)),
        ([all; 4],                       smep, 1, Exec,  None),
        ([all; 4],                       smap, 0, Read,  Some(1)),
        ([all; 4],                       smap, 2, Read,  None),
        ([all; 4],                       smap, 0, Exec,  None),
        // Reserved: NX without EFER.NXE, an address beyond the width, a large page where there is none.
        ([all, all, all, all | NX],      On { no_nxe: true, ..OFF }, 0, Read, Some(9)),
        ([all, all, all | NX, 0],        On { no_nxe: true, ..OFF }, 0, Read, Some(9)),
        ([all, all, all, all | 1 << 45], OFF,  1, Write, Some(0xf)),
        ([all | LARGE, all, all, all],   OFF,  0, Read,  Some(9)),
        ([all, all, all | LARGE | 1 << 13, 0], OFF, 0, Read, Some(9)),
        // Keys: bit 2k denies all data, bit 2k + 1 writes.
        ([all, all, all, keyed],         key(4),    1, Read,  Some(0x25)),
        ([all, all, all, keyed],         key(4),    0, Read,  Some(0x21)),
        ([all, all, all, keyed],         key(4),    1, Exec,  None),
        ([all, all, all, keyed],         key(8),    1, Read,  None),
        ([all, all, all, keyed],         key(8),    1, Write, Some(0x27)),
        ([all, all, all, keyed],         key(8),    0, Write, None),
        ([all, all, all, keyed],         key_wp(8), 0, Write, Some(0x23)),
        ([all, all, all, keyed],         key(1),    1, Write, None),
        ([all, all, all, P | RW | 1 << 59], key(0xc), 0, Write, None),
        ([all, all, all, P | RW | 1 << 59], On { pks: Some(4), ..OFF }, 0, Read, Some(0x21)),
        ([all, all, all, keyed],         On { pks: Some(4), ..OFF }, 0, Read, None),
    ];
    for (n, &(flags, on, set, access, want)) in rows.iter().enumerate() {
        let mut b = Bench::new();
        four_levels(&mut b, flags);
        let s = &mut b.core.state;
        let mut bit4 = |on: bool, n: u32| s.cr4 |= (on as u64) << n;
        bit4(on.smep, 20);
        bit4(on.smap, 21);
        bit4(on.pke.is_some(), 22);
        bit4(on.pks.is_some(), 24);
        s.cr0 |= (on.wp as u64) << 16;
        s.pkru = on.pke.unwrap_or(0);
        s.msr.pkrs = on.pks.unwrap_or(0);
        if on.no_nxe {
            s.msr.efer &= !(1 << 11);
        }
        assert_eq!(code_of(&mut b, set, access), want, "row {n}");
    }
}

#[test]
fn accessed_and_dirty_are_set_when_due() {
    let mut b = Bench::new();
    four_levels(&mut b, [P | RW | US; 4]);
    let mut s = b.interp();
    let info = s.page(0, LA, Access::Read).unwrap();
    assert!(info.read && !info.write, "a clean page must be walked again for a write");
    s.c.refresh();
    for n in 0..4 {
        assert_eq!(b.get_u64(entry_at(n)) & (ACCESSED | DIRTY), ACCESSED);
    }
    let mut s = b.interp();
    s.store_linear(LA, Width::W32, 0xabcd).unwrap();
    assert!(s.c.tlb.info(0, LA).unwrap().write);
    assert_eq!(b.get_u64(entry_at(3)) & DIRTY, DIRTY);
    assert_eq!(b.get_u64(entry_at(2)) & DIRTY, 0);
    assert_eq!(b.get_u32(PAGE_AT | LA & 0xfff), 0xabcd);
}

#[test]
fn large_pages_are_dropped_whole() {
    let mut b = Bench::new();
    four_levels(&mut b, [P | RW, P | RW, P | RW, P]);
    b.put_u64(entry_at(2), P | RW | LARGE);
    let mut s = b.interp();
    let a = LA & !0x1f_ffff;
    assert_eq!(s.page(0, a + 0x3000, Access::Read).unwrap().phys, 0x3000);
    assert_eq!(s.page(0, a + 0x4000, Access::Read).unwrap().phys, 0x4000);
    s.flush_page(a);
    assert!(s.c.tlb.info(0, a + 0x3000).is_none());
    // Gigabytes, where the model has them.
    b.put_u64(entry_at(1), P | RW | LARGE);
    let mut s = b.interp();
    s.flush_all();
    assert_eq!(s.page(0, 0x1123, Access::Read).unwrap().phys, 0x1000);
    let mut b = Bench::with("max,-pdpe1gb");
    four_levels(&mut b, [P | RW; 4]);
    b.put_u64(entry_at(1), P | RW | LARGE);
    assert!(b.interp().page(0, LA, Access::Read).is_err());
    assert_eq!(b.core.fault.code, Some(9));
}

#[test]
fn thirty_two_bit_paging() {
    let mut b = Bench::new();
    b.flat32(0, 0);
    let s = &mut b.core.state;
    s.cr3 = 0x10000;
    s.cr0 |= 1 << 31;
    b.put_u32(0x10000 + (LA >> 22) as u32 as u64 * 4, 0x11007);
    b.put_u32(0x11000 + (LA >> 12 & 1023) * 4, 0x5003);
    let mut s = b.interp();
    assert_eq!(s.page(0, LA, Access::Write).unwrap().phys, 0x5000);
    assert!(s.page(1, LA, Access::Read).is_err());
    assert_eq!(s.c.fault.code, Some(5));
    // No NX here: fetches do not show in the code.
    assert!(s.page(1, LA, Access::Exec).is_err());
    assert_eq!(s.c.fault.code, Some(5));
    // PSE-36: bit 13 is address bit 32.
    b.core.state.cr4 |= 0x10;
    b.put_u32(0x10000 + (LA >> 22) * 4, 0x0040_2083);
    let mut s = b.interp();
    s.flush_all();
    assert_eq!(s.page(0, LA, Access::Write).unwrap().phys, 0x1_0040_0000 | LA & 0x3f_f000);
    b.put_u32(0x10000 + (LA >> 22) * 4, 0x0060_0083);
    let mut s = b.interp();
    s.flush_all();
    assert!(s.page(0, LA, Access::Read).is_err());
    assert_eq!(s.c.fault.code, Some(9), "bit 21 is reserved");
}

#[test]
fn pae_uses_the_loaded_pointers() {
    let mut b = Bench::new();
    b.flat32(0, 0);
    let s = &mut b.core.state;
    s.cr4 |= 0x20;
    s.msr.efer = 1 << 11;
    b.put_u64(0x10020, 0x11001);
    b.put_u64(0x11000 + (LA >> 21 & 511) * 8, 0x12003);
    b.put_u64(0x12000 + (LA >> 12 & 511) * 8, 0x5003 | NX);
    let mut s = b.interp();
    s.load_pdptes(0x10020).unwrap();
    s.c.state.cr3 = 0x10020;
    s.c.state.cr0 |= 1 << 31;
    assert_eq!(s.page(0, LA, Access::Write).unwrap().phys, 0x5000);
    assert!(s.page(0, LA, Access::Exec).is_err());
    assert_eq!(s.c.fault.code, Some(0x11));
    b.put_u64(0x10020, 0);
    let mut s = b.interp();
    s.flush_all();
    assert!(s.page(0, LA, Access::Read).is_ok(), "memory does not count until CR3 is loaded");
    b.put_u64(0x10020, 0x11003);
    assert!(b.interp().load_pdptes(0x10020).is_err(), "bit 1 is reserved");
    assert_eq!(b.core.fault, Exception::GP0);
}

#[test]
fn five_levels_and_canonical_addresses() {
    let mut b = Bench::new();
    four_levels(&mut b, [P | RW; 4]);
    b.core.state.cr4 |= 1 << 12;
    b.core.state.cr3 = 0x20000;
    b.put_u64(0x20000, 0x10003);
    let mut s = b.interp();
    assert_eq!(s.page(0, LA, Access::Read).unwrap().phys, PAGE_AT);
    assert!(s.page(0, 1 << 47, Access::Read).is_err());
    assert_eq!(s.c.fault.vector, 14);
    assert!(s.page(0, 1 << 56, Access::Read).is_err());
    assert_eq!(s.c.fault, Exception::GP0);
    s.c.state.cr4 &= !(1 << 12);
    assert!(s.page(0, 1 << 47, Access::Read).is_err());
    assert_eq!(s.c.fault, Exception::GP0);
    s.c.refresh();
    assert!(s.linear(crate::SegReg::Ss, 1 << 47, 8, Access::Read).is_err());
    assert_eq!(s.c.fault, Exception::ss(0));
}

#[test]
fn a_crossing_write_changes_nothing_unless_both_pages_allow_it() {
    let mut b = Bench::new();
    four_levels(&mut b, [P | RW | US; 4]);
    let at = LA | 0xfff;
    let mut s = b.interp();
    assert!(s.store_linear(at, Width::W32, u64::MAX).is_err());
    assert_eq!((s.c.fault.code, s.c.fault.detail), (Some(2), at + 1));
    assert_eq!(b.get_u64(PAGE_AT + 0xff8), 0);
}

#[test]
fn data_breakpoints_catch_accesses_that_overlap() {
    let mut b = Bench::new();
    b.long(0, 0);
    let s = &mut b.core.state;
    s.dr[1] = 0x6004;
    s.dr7 = 0x400 | 1 << 3 | 1 << 20 | 3 << 22; // writes of 4 bytes
    b.core.refresh();
    let mut s = b.interp();
    s.load_linear(0x6004, Width::W8).unwrap();
    s.store_linear(0x6000, Width::W32, 1).unwrap();
    assert_eq!(s.c.state.pending_debug, 0);
    s.store_linear(0x6007, Width::W8, 1).unwrap();
    assert_eq!(s.c.state.pending_debug, 2);
}

#[test]
fn small_pages_rarely_pass_for_large_ones() {
    let mut large = Large::default();
    // All of a GiB of RAM, as Linux maps it, and its own code.
    let ram = (0..512u64).map(|n| 0xffff_8880_0000_0000 + (n << 21));
    let code = (0..16u64).map(|n| 0xffff_ffff_8100_0000 + (n << 21));
    let all: Vec<u64> = ram.chain(code).collect();
    all.iter().for_each(|&la| large.note(la, 21));
    assert!(all.iter().all(|&la| large.has(la + 0x5000)));
    let small = (0..10_000u64).map(|n| 0x5555_0000_0000 + n * 0x31_7000);
    let wrong = small.filter(|&la| large.has(la)).count();
    assert!(wrong < 200, "{wrong} of 10000");
    large.clear();
    assert!(!all.iter().any(|&la| large.has(la)));
}
