//! The window at 0xA0000.

use super::*;

const A: u64 = 0xA_0000;

fn cell(d: &mut Desk, n: usize) -> [u8; 4] {
    d.vram()[4 * n..4 * n + 4].try_into().expect("four bytes")
}

#[test]
fn write_modes_combine_data_and_latches() {
    let mut d = Desk::new();
    planar(&mut d, 80, 480);
    // Graphics registers 0 to 8, what is written, what was there (and is in the latches), what is there then.
    #[rustfmt::skip]
    let rows: [([u8; 9], u8, [u8; 4], [u8; 4]); 9] = [
        // Mode 0: the byte, rotated, set or reset in some planes, combined, through the mask.
        ([0, 0, 0, 0,    0, 0, 5, 15, 0xFF], 0x5A, [1, 2, 3, 4],          [0x5A; 4]),
        ([0, 0, 0, 4,    0, 0, 5, 15, 0xFF], 0x5A, [1, 2, 3, 4],          [0xA5; 4]),
        ([1, 3, 0, 0,    0, 0, 5, 15, 0xFF], 0x5A, [1, 2, 3, 4],          [0xFF, 0, 0x5A, 0x5A]),
        ([0, 0, 0, 0x08, 0, 0, 5, 15, 0xFF], 0x0F, [0xFF, 0x55, 0, 0x3C], [0x0F, 0x05, 0, 0x0C]),
        ([0, 0, 0, 0x10, 0, 0, 5, 15, 0xFF], 0x0F, [0xFF, 0x55, 0, 0x3C], [0xFF, 0x5F, 0x0F, 0x3F]),
        ([0, 0, 0, 0x18, 0, 0, 5, 15, 0x3C], 0xFF, [0xFF, 0x55, 0, 0x3C], [0xC3, 0x69, 0x3C, 0x00]),
        // Mode 1: the latches.
        ([0, 0, 0, 0,    0, 1, 5, 15, 0xFF], 0x5A, [1, 2, 3, 4],          [1, 2, 3, 4]),
        // Mode 2: a colour.
        ([0, 0, 0, 0,    0, 2, 5, 15, 0xF0], 0x05, [0; 4],                [0xF0, 0, 0xF0, 0]),
        // Mode 3: the colour of set/reset, where byte and mask allow.
        ([6, 0, 0, 0,    0, 3, 5, 15, 0x0F], 0x3C, [0xFF; 4],             [0xF3, 0xFF, 0xFF, 0xF3]),
    ];
    for (registers, v, before, after) in rows {
        d.set_all(0x3CE, &registers);
        d.vram()[20..24].copy_from_slice(&before);
        d.peek(A + 5);
        d.poke(A + 5, v);
        assert_eq!(cell(&mut d, 5), after, "{registers:?}");
    }
    // Planes that are not enabled stay.
    d.set_all(0x3CE, &[0, 0, 0, 0, 0, 0, 5, 15, 0xFF]);
    d.vram()[20..24].copy_from_slice(&[1, 2, 3, 4]);
    d.set(0x3C4, 2, 0x6);
    d.poke(A + 5, 0xEE);
    assert_eq!(cell(&mut d, 5), [1, 0xEE, 0xEE, 4]);
}

#[test]
fn read_modes_give_a_plane_or_compare_a_colour() {
    let mut d = Desk::new();
    planar(&mut d, 80, 480);
    d.vram()[..4].copy_from_slice(&[0b1100, 0b1010, 0b1111, 0b0000]);
    let planes: Vec<u8> = (0..4).map(|n| (d.set(0x3CE, 4, n), d.peek(A)).1).collect();
    assert_eq!(planes, [0b1100, 0b1010, 0b1111, 0]);
    d.set(0x3CE, 5, 8);
    d.set(0x3CE, 2, 0b0101);
    d.set(0x3CE, 7, 0b1111);
    assert_eq!(d.peek(A), 0b0100);
    d.set(0x3CE, 7, 0b0001);
    assert_eq!(d.peek(A), 0b1100);
    d.set(0x3CE, 7, 0);
    assert_eq!(d.peek(A), 0xFF);
}

#[test]
fn a_page_of_text_lies_in_two_planes() {
    let mut d = Desk::new();
    text(&mut d);
    let place = d.place(Space::Memory, 0xB_8000).expect("the window").1;
    assert_eq!((place.base, place.len, place.what), (A, 0x2_0000, Seen::Registers));
    let at = Reg { bank: WINDOW[0], at: 0x1_8004 };
    d.d.write(at, W32, 0x1F42_1E41, &mut d.b);
    assert_eq!(d.vram()[8..16], [0x41, 0x1E, 0, 0, 0x42, 0x1F, 0, 0]);
    assert_eq!(d.d.read(at, W32, &mut d.b), 0x1F42_1E41);
    assert_eq!((d.peek(A), d.peek(0xB_0000)), (0xFF, 0xFF), "only 32 KiB are decoded");
}

#[test]
fn fonts_are_written_one_behind_the_other_into_the_third_plane() {
    let mut d = Desk::new();
    text(&mut d);
    d.set(0x3C4, 2, 4);
    d.set(0x3C4, 4, 7);
    d.set(0x3CE, 4, 2);
    d.set(0x3CE, 5, 0);
    d.set(0x3CE, 6, 4);
    d.poke(A, 0x11);
    d.poke(A + 1, 0x22);
    d.poke(A + 2, 0x33);
    assert_eq!([2, 6, 10].map(|n| d.vram()[n]), [0x11, 0x22, 0x33]);
    assert_eq!(d.peek(A + 1), 0x22);
}

#[test]
fn flat_memory_is_shown_without_calls() {
    let mut d = Desk::new();
    planar(&mut d, 80, 400);
    d.set(0x3C4, 4, 0x0E);
    let windows = |d: &Desk| {
        let of = |n: u16| d.b.windows.get(&n).map(|p| (p.base, p.len, p.what));
        WINDOW.map(of)
    };
    let ram = |offset| Seen::Ram { offset };
    let tail = Some((0xB_0000, 0x1_0000, Seen::Registers));
    assert_eq!(windows(&d), [None, Some((A, 0x1_0000, ram(0x1000))), tail]);
    // With banks of the extension.
    d.extended(640, 480, 8);
    d.bochs(5, 2);
    assert_eq!(windows(&d), [None, Some((A, 0x1_0000, ram(0x2_1000))), tail]);
    d.bochs(5, 0xFFFF);
    assert_eq!(windows(&d)[1], Some((A, 0x1_0000, ram(0xF_1000))));
    d.bochs(4, 0);
    assert_eq!(windows(&d)[1], Some((A, 0x1_0000, ram(0x1000))));
    // At 0xB8000, and all of it.
    d.set(0x3CE, 6, 0x0D);
    let head = Some((A, 0x1_8000, Seen::Registers));
    assert_eq!(windows(&d), [head, Some((0xB_8000, 0x8000, ram(0x1000))), None]);
    d.set(0x3CE, 6, 0x01);
    assert_eq!(windows(&d), [None, Some((A, 0x2_0000, ram(0x1000))), None]);
    // A plane that must not be written.
    d.set(0x3C4, 2, 7);
    assert_eq!(windows(&d), [Some((A, 0x2_0000, Seen::Registers)), None, None]);
}

#[test]
fn chained_bytes_go_to_the_plane_of_their_address() {
    let mut d = Desk::new();
    planar(&mut d, 80, 400);
    d.set(0x3C4, 4, 0x0E);
    d.set(0x3C4, 2, 0x0B);
    d.set(0x3D4, 0x14, 0x40);
    (0..8).for_each(|n| d.poke(A + n, 0x10 + n as u8));
    assert_eq!(d.vram()[..8], [0x10, 0x11, 0, 0x13, 0x14, 0x15, 0, 0x17]);
    assert_eq!((d.peek(A + 3), d.peek(A + 6)), (0x13, 0));
}

#[test]
fn a_wide_access_over_the_end_of_the_window_harms_nobody() {
    let mut d = Desk::new();
    planar(&mut d, 80, 400);
    d.set(0x3CE, 6, 1);
    for at in [0x1_FFFD, 0x2_0000, u64::MAX, u64::MAX - 3] {
        let reg = Reg { bank: WINDOW[0], at };
        d.d.write(reg, W64, u64::MAX, &mut d.b);
        d.d.read(reg, W64, &mut d.b);
    }
    assert_eq!(d.vram()[0x1_FFFF * 4..0x2_0000 * 4 + 4], [0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0]);
}
