//! What is drawn.

use super::*;

/// The rows of a character's dots as text, one character a dot.
fn dots(p: &Picture, left: u32, top: u32, width: u32, rows: u32, lit: [u8; 3]) -> Vec<String> {
    let dot = |x, y| if p.pixel(left + x, top + y) == lit { '#' } else { '.' };
    (0..rows).map(|y| (0..width).map(|x| dot(x, y)).collect()).collect()
}

/// Puts a character and its attribute on the page, and rows of dots into the first font.
fn put(d: &mut Desk, cell: usize, code: u8, attribute: u8, rows: &[u8]) {
    d.vram()[cell * 4..cell * 4 + 2].copy_from_slice(&[code, attribute]);
    for (n, row) in rows.iter().enumerate() {
        d.vram()[(usize::from(code) * 32 + n) * 4 + 2] = *row;
    }
}

#[test]
fn a_character_has_its_fonts_dots_and_its_attributes_colours() {
    let mut d = Desk::new();
    text(&mut d);
    d.set(0x3D4, 0x0A, 0x20);
    put(&mut d, 81, 0x41, 0x2F, &[0x18, 0x24, 0x81]);
    let p = d.picture();
    assert_eq!((p.width, p.height), (720, 400));
    assert_eq!(
        dots(&p, 9, 16, 9, 4, grey(15)),
        ["...##....", "..#..#...", "#......#.", "........."]
    );
    assert_eq!((p.pixel(9, 16), p.pixel(17, 31), p.pixel(8, 16)), (grey(2), grey(2), grey(0)));
}

#[test]
fn line_graphics_go_on_into_the_ninth_dot() {
    let mut d = Desk::new();
    text(&mut d);
    put(&mut d, 0, 0xC4, 7, &[0xFF]);
    put(&mut d, 1, 0x2D, 7, &[0xFF]);
    let p = d.picture();
    assert_eq!(dots(&p, 0, 0, 18, 1, grey(7)), ["#################."]);
    d.attribute(0x10, 0x08);
    let p = d.picture();
    assert_eq!(dots(&p, 0, 0, 18, 1, grey(7)), ["########.########."]);
}

#[test]
fn eight_dots_and_doubled_dots() {
    let mut d = Desk::new();
    text(&mut d);
    d.attribute(0x13, 0);
    put(&mut d, 0, 0x41, 7, &[0xA1]);
    d.set(0x3C4, 1, 1);
    let p = d.picture();
    assert_eq!((p.width, dots(&p, 0, 0, 8, 1, grey(7))), (640, vec!["#.#....#".into()]));
    d.set(0x3C4, 1, 9);
    let p = d.picture();
    assert_eq!((p.width, dots(&p, 0, 0, 16, 1, grey(7))), (1280, vec!["##..##........##".into()]));
}

#[test]
fn the_intensity_bit_chooses_the_other_font() {
    let mut d = Desk::new();
    text(&mut d);
    d.set(0x3C4, 3, 0x04);
    put(&mut d, 0, 1, 0x07, &[0xF0]);
    put(&mut d, 1, 1, 0x0F, &[0xF0]);
    d.vram()[0x4000 * 4 + 32 * 4 + 2] = 0x0F;
    let p = d.picture();
    assert_eq!(dots(&p, 0, 0, 9, 1, grey(7)), ["####....."]);
    assert_eq!(dots(&p, 9, 0, 9, 1, grey(15)), ["....####."]);
}

#[test]
fn the_cursor_has_lines_and_blinks() {
    let mut d = Desk::new();
    text(&mut d);
    d.set(0x3D4, 0x0F, 2);
    put(&mut d, 2, 0x20, 0x07, &[0]);
    let lit = |d: &mut Desk| {
        let p = d.picture();
        (0..16).filter(|y| p.pixel(18, *y) == grey(7)).collect::<Vec<_>>()
    };
    d.set(0x3D4, 0x0A, 0x0D);
    assert_eq!(lit(&mut d), [13, 14]);
    d.b.now = SECOND * 17 / 60;
    assert_eq!(lit(&mut d), []);
    d.b.now = SECOND * 33 / 60;
    assert_eq!(lit(&mut d), [13, 14]);
    d.set(0x3D4, 0x0A, 0x0F);
    assert_eq!(lit(&mut d), [], "it ends above its beginning");
    d.set(0x3D4, 0x0A, 0x2D);
    assert_eq!(lit(&mut d), [], "it is off");
}

#[test]
fn characters_blink_or_have_bright_backgrounds() {
    let mut d = Desk::new();
    text(&mut d);
    d.set(0x3D4, 0x0A, 0x20);
    put(&mut d, 0, 1, 0x97, &[0x80]);
    let p = d.picture();
    assert_eq!((p.pixel(0, 0), p.pixel(1, 0)), (grey(7), grey(1)));
    d.b.now = SECOND * 40 / 60;
    assert_eq!(d.picture().pixel(0, 0), grey(1));
    d.attribute(0x10, 0x04);
    let p = d.picture();
    assert_eq!((p.pixel(0, 0), p.pixel(1, 0)), (grey(7), grey(9)));
}

#[test]
fn blue_is_underlined_where_the_line_is_inside_the_character() {
    let mut d = Desk::new();
    text(&mut d);
    d.set(0x3D4, 0x0A, 0x20);
    put(&mut d, 0, 1, 0x01, &[0]);
    put(&mut d, 1, 1, 0x07, &[0]);
    assert_eq!(d.picture().pixel(0, 12), grey(0));
    d.set(0x3D4, 0x14, 12);
    let p = d.picture();
    assert_eq!((p.pixel(0, 12), p.pixel(0, 11), p.pixel(9, 12)), (grey(1), grey(0), grey(0)));
}

#[test]
fn text_scrolls_by_characters_rows_and_dots() {
    let mut d = Desk::new();
    text(&mut d);
    d.set(0x3D4, 0x0A, 0x20);
    put(&mut d, 85, 1, 7, &[0, 0, 0x80]);
    d.set(0x3D4, 0x0D, 82);
    d.set(0x3D4, 8, 0x02);
    assert_eq!(d.picture().pixel(27, 0), grey(7), "from row 2 of the fourth character");
    // Two characters more by byte panning; with nine dots, 0 moves by one, 8 by none.
    d.set(0x3D4, 8, 0x42);
    d.attribute(0x13, 0);
    assert_eq!(d.picture().pixel(8, 0), grey(7));
    // The part below line 99 begins at address 0, without panning where that is chosen.
    put(&mut d, 0, 1, 7, &[]);
    d.set(0x3D4, 0x18, 99);
    d.set(0x3D4, 7, 0x0F);
    d.set(0x3D4, 9, 0x0F);
    let p = d.picture();
    assert_eq!([p.pixel(0, 102), p.pixel(8, 102)], [grey(0); 2], "moved out to the left");
    d.attribute(0x10, 0x2C);
    assert_eq!(d.picture().pixel(0, 102), grey(7));
}

#[test]
fn scan_lines_are_doubled() {
    let mut d = Desk::new();
    text(&mut d);
    d.set(0x3D4, 9, 0xC7);
    d.set(0x3D4, 0x0A, 0x20);
    put(&mut d, 80, 1, 7, &[0x80, 0, 0x80]);
    let p = d.picture();
    let lit: Vec<u32> = (0..400).filter(|y| p.pixel(0, *y) == grey(7)).collect();
    assert_eq!((p.height, lit), (400, vec![16, 17, 20, 21]));
}

#[test]
fn planes_make_colours() {
    let mut d = Desk::new();
    planar(&mut d, 80, 480);
    d.vram()[320 * 2..320 * 2 + 4].copy_from_slice(&[
        0b1000_0001,
        0b0100_0001,
        0b0010_0001,
        0b0001_0001,
    ]);
    let p = d.picture();
    assert_eq!((p.width, p.height), (640, 480));
    let row: Vec<_> = (0..8).map(|x| p.pixel(x, 2)).collect();
    assert_eq!(row, [1, 2, 4, 8, 0, 0, 0, 15].map(grey));
    // Without the second plane, and three pixels to the left.
    d.attribute(0x12, 0x0D);
    d.attribute(0x13, 3);
    let p = d.picture();
    let row: Vec<_> = (0..5).map(|x| p.pixel(x, 2)).collect();
    assert_eq!(row, [8, 0, 0, 0, 13].map(grey));
}

#[test]
fn mode_13h_shows_each_pixel_four_times() {
    let mut d = Desk::new();
    planar(&mut d, 80, 400);
    d.set(0x3C4, 4, 0x0E);
    d.set(0x3D4, 9, 0x41);
    d.set(0x3D4, 0x14, 0x40);
    d.set(0x3D4, 0x17, 0xA3);
    d.set(0x3CE, 5, 0x40);
    d.attribute(0x10, 0x41);
    d.poke(0xA_0000 + 320 + 5, 33);
    d.poke(0xA_0000 + 63_999, 62);
    let p = d.picture();
    assert_eq!((p.width, p.height), (640, 400));
    let lit = (0..640 * 400).filter(|n| p.pixel(n % 640, n / 640) == grey(33)).count();
    assert_eq!(
        (lit, p.pixel(10, 2), p.pixel(11, 3), p.pixel(639, 399)),
        (4, grey(33), grey(33), grey(62))
    );
    // The mask of the palette's input.
    d.out(0x3C6, 0x01);
    assert_eq!(d.picture().pixel(10, 2), grey(1));
}

#[test]
fn a_cgas_lines_are_in_two_halves() {
    let mut d = Desk::new();
    planar(&mut d, 80, 400);
    d.set(0x3D4, 9, 0xC1);
    d.set(0x3D4, 0x17, 0xC2);
    d.set(0x3CE, 6, 0x0D);
    d.attribute(0x12, 1);
    for at in [0, 0x2000 + 1, 80 + 2] {
        d.poke(0xB_8000 + at, 0x80);
    }
    let p = d.picture();
    let lit = |y: u32| (0..640).find(|x| p.pixel(*x, y) == grey(1));
    assert_eq!([0, 1, 2, 3, 4, 6].map(lit), [Some(0), Some(0), Some(8), Some(8), Some(16), None]);
}

#[test]
fn extended_pictures_have_their_depth() {
    // Depth, the bytes of two pixels, and their colours.
    #[rustfmt::skip]
    let rows: [(u16, &[u8], [[u8; 3]; 2]); 6] = [
        (4,  &[0x80, 0x40, 0x40, 0x00],                      [grey(1), grey(6)]),
        (8,  &[5, 9],                                        [grey(5), grey(9)]),
        (15, &[0x00, 0x7C, 0x21, 0x04],                      [[255, 0, 0], [8, 8, 8]]),
        (16, &[0xE0, 0x07, 0x01, 0x80],                      [[0, 255, 0], [132, 0, 8]]),
        (24, &[1, 2, 3, 4, 5, 6],                            [[3, 2, 1], [6, 5, 4]]),
        (32, &[1, 2, 3, 99, 4, 5, 6, 99],                    [[3, 2, 1], [6, 5, 4]]),
    ];
    for (depth, bytes, colours) in rows {
        let mut d = Desk::new();
        d.greys();
        d.extended(64, 40, depth);
        d.attribute(0x12, 0x0F);
        d.bochs(6, 128);
        d.bochs(9, 2);
        let at = 2
            * 128
            * match depth {
                4 => 4,
                depth => usize::from(depth.div_ceil(8)) * 8,
            }
            / 8;
        d.vram()[at..at + bytes.len()].copy_from_slice(bytes);
        let p = d.picture();
        assert_eq!((p.width, p.height), (64, 40), "{depth} bits");
        assert_eq!([p.pixel(0, 0), p.pixel(1, 0)], colours, "{depth} bits");
    }
}

#[test]
fn colours_of_eight_bits_and_the_other_byte_order() {
    let mut d = Desk::new();
    d.extended(64, 40, 8);
    d.bochs(4, 0xE1);
    d.out(0x3C8, 7);
    [0x81, 0x42, 0xFF].into_iter().for_each(|v| d.out(0x3C9, v));
    d.vram()[0] = 7;
    assert_eq!(d.picture().pixel(0, 0), [0x81, 0x42, 0xFF]);
    d.extended(64, 40, 32);
    d.d.write(Reg { bank: 2, at: 0x604 }, W32, 0xBEBE_BEBE, &mut d.b);
    d.vram()[..4].copy_from_slice(&[0, 1, 2, 3]);
    assert_eq!(d.picture().pixel(0, 0), [1, 2, 3]);
}

#[test]
fn a_blank_picture_is_black_and_as_large() {
    let mut d = Desk::new();
    let p = d.picture();
    assert_eq!((p.width, p.height), (640, 480), "no mode was set");
    d.extended(64, 40, 32);
    d.vram()[..LFB.min(0x1000) as usize].fill(0xFF);
    assert_eq!(d.picture().pixel(0, 0), [0xFF; 3]);
    d.inp(0x3DA);
    d.out(0x3C0, 0);
    assert!(d.picture() == Picture::black(64, 40));
    text(&mut d);
    assert!(d.d.describe().contains("64x40"), "the extension is on: {}", d.d.describe());
}

#[test]
fn any_registers_give_a_picture_of_bounded_size() {
    let mut seed = 0x1234_5678_9ABC_DEF1u64;
    let mut random = |n: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % n
    };
    for _ in 0..60 {
        let mut d = Desk::new();
        for _ in 0..200 {
            match random(4) {
                0 => d.set(0x3D4, random(32) as u8, random(256) as u8),
                1 => d.set([0x3C4, 0x3CE][random(2) as usize], random(9) as u8, random(256) as u8),
                2 => d.attribute(random(21) as u8, random(256) as u8),
                _ if random(6) == 0 => d.bochs(random(11) as u16, random(0x1_0000) as u16),
                _ => d.bochs(4, random(2) as u16),
            }
        }
        d.b.now = random(1 << 60);
        let p = d.picture();
        assert!(p.width <= 16_000 && p.height <= 12_000, "{} by {}", p.width, p.height);
        assert!(p.height > 1 && p.rgb.len() == (p.width * p.height * 3) as usize);
        assert!(p.rgb.len() <= 4096 * 1024 * 3);
    }
}
