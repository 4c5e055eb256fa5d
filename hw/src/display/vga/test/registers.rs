//! Ports, Bochs' registers, BAR 2, what is saved.

use super::*;

#[test]
fn it_is_qemus_vga_on_the_bus() {
    let mut d = Desk::with(VgaConfig { rom: Some((1 << 24, 0x1_0000)), ..VgaConfig::default() });
    let c = d.d.config_mut();
    assert_eq!(
        (c.u32(0), c.u32(8), c.u32(0x2C), c.u8(0x3D)),
        (0x1111_1234, 0x0300_0002, 0x1100_1AF4, 0)
    );
    for at in [0x10, 0x14, 0x18, 0x30] {
        c.write(at, W32, 0xFFFF_FFFF);
    }
    let bars = [0x10, 0x14, 0x18, 0x30].map(|at| c.u32(at));
    assert_eq!(bars, [0xFF00_0008, 0, 0xFFFF_F000, 0xFFFF_0001]);
    let second = Vga::new(VgaConfig { legacy: Legacy::None, ..VgaConfig::default() });
    assert_eq!(second.config().u32(8), 0x0380_0002);
}

#[test]
fn registers_keep_the_bits_that_they_have() {
    let mut d = Desk::new();
    let got: Vec<u8> = (0..8).map(|n| (d.set(0x3C4, n, 0xFF), d.get(0x3C4, n)).1).collect();
    assert_eq!(got, [0x03, 0x3D, 0x0F, 0x3F, 0x0E, 0, 0, 0xFF]);
    let got: Vec<u8> = (0..10).map(|n| (d.set(0x3CE, n, 0xFF), d.get(0x3CE, n)).1).collect();
    assert_eq!(got, [0x0F, 0x0F, 0x0F, 0x1F, 0x03, 0x7B, 0x0F, 0x0F, 0xFF, 0]);
    d.out(0x3CE, 0xF3);
    assert_eq!((d.inp(0x3CE), d.inp(0x3CC)), (3, 0x67));
    d.out(0x3DA, 0xFF);
    assert_eq!(d.inp(0x3CA), 0x10);
}

#[test]
fn a_word_writes_index_and_data() {
    let mut d = Desk::new();
    d.d.write(Reg { bank: 8, at: 4 }, W16, 0x0A02, &mut d.b);
    assert_eq!((d.inp(0x3C4), d.inp(0x3C5)), (2, 0x0A));
    assert_eq!(d.d.read(Reg { bank: 8, at: 4 }, W16, &mut d.b), 0x0A02);
}

#[test]
fn the_crt_controller_locks_its_first_registers() {
    let mut d = Desk::new();
    d.set(0x3D4, 0, 0x5F);
    d.set(0x3D4, 0x11, 0x80);
    d.set(0x3D4, 0, 0);
    d.set(0x3D4, 7, 0xFF);
    d.set(0x3D4, 8, 0x12);
    assert_eq!((d.get(0x3D4, 0), d.get(0x3D4, 7), d.get(0x3D4, 8)), (0x5F, 0x10, 0x12));
    d.set(0x3D4, 0x11, 0);
    d.set(0x3D4, 0, 0x2D);
    assert_eq!(d.get(0x3D4, 0), 0x2D);
}

#[test]
fn its_ports_are_where_the_miscellaneous_output_register_says() {
    let mut d = Desk::new();
    d.set(0x3D4, 0x0F, 0x42);
    assert_eq!((d.inp(0x3B5), d.inp(0x3D5)), (0xFF, 0x42));
    d.out(0x3C2, 0x66);
    assert_eq!((d.inp(0x3B5), d.inp(0x3D5), d.inp(0x3DA)), (0x42, 0xFF, 0xFF));
    assert_eq!(d.get(0x3B4, 0x0F), 0x42);
}

#[test]
fn the_attribute_controller_takes_index_and_data_in_turns() {
    let mut d = Desk::new();
    d.inp(0x3DA);
    d.out(0x3C0, 0x10);
    d.out(0x3C0, 0xFF);
    d.out(0x3C0, 0x31);
    assert_eq!((d.inp(0x3C1), d.inp(0x3C0)), (0, 0), "data is expected");
    d.inp(0x3DA);
    assert_eq!(d.inp(0x3C0), 0x31);
    d.out(0x3C0, 0x10);
    assert_eq!(d.inp(0x3C1), 0xEF);
}

#[test]
fn colours_are_written_and_read_three_by_three() {
    let mut d = Desk::new();
    d.out(0x3C8, 0xFE);
    (0..6).for_each(|n| d.out(0x3C9, n + 0x40));
    assert_eq!((d.inp(0x3C7), d.inp(0x3C8)), (0, 0));
    d.out(0x3C7, 0xFF);
    // Six bits are there.
    assert_eq!([d.inp(0x3C9), d.inp(0x3C9), d.inp(0x3C9), d.inp(0x3C7)], [3, 4, 5, 3]);
    d.out(0x3C8, 1);
    d.out(0x3C9, 9);
    d.out(0x3C7, 1);
    assert_eq!(d.inp(0x3C9), 0, "a colour changes with its last component");
    assert_eq!(d.inp(0x3C6), 0xFF);
}

#[test]
fn the_beam_moves_with_time() {
    let mut d = Desk::new();
    text(&mut d);
    // 449 lines of 100 characters of 9 dots at 28.322 MHz.
    let (mut retrace, mut dark) = (0, 0);
    for n in 0..10_000 {
        d.b.now = 7 * SECOND + n * 14_268_000 / 10_000;
        let status = d.inp(0x3DA);
        assert_eq!(status & !9, 0);
        retrace += u32::from(status >> 3 & 1);
        dark += u32::from(status & 1);
    }
    // Two lines of 449; all but 400 lines of 449, and 80 characters of 100.
    assert!((40..50).contains(&retrace), "{retrace}");
    assert!((2800..2950).contains(&dark), "{dark}");
    let now = d.inp(0x3DA);
    assert_eq!(d.inp(0x3DA), now, "no time has gone by");
}

#[test]
fn whoever_waits_for_the_retrace_sees_it_whatever_the_registers_hold() {
    let mut d = Desk::new();
    let mut seen = [false; 2];
    for sync in [0, 0xFF] {
        d.set(0x3D4, 0x10, sync);
        for n in 0..2000 {
            d.b.now = n * 10_000;
            seen[usize::from(d.inp(0x3DA) >> 3 & 1)] = true;
        }
        assert_eq!(std::mem::take(&mut seen), [true; 2]);
    }
}

#[test]
fn bochs_registers_take_what_can_be() {
    let mut d = Desk::new();
    let ids = [0xB0C0, 0xB0C6, 0, 0xB0C5].map(|v| (d.bochs(0, v), d.bochs_read(0)).1);
    assert_eq!(ids, [0xB0C0, 0xB0C0, 0xB0C0, 0xB0C5]);
    assert_eq!(d.bochs_read(10), 16, "64 KiB each");
    d.bochs(4, 2);
    assert_eq!([1, 2, 3].map(|n| d.bochs_read(n)), [16_000, 12_000, 32]);
    for (index, v) in [(4, 0), (1, 0xFFFF), (2, 0xFFFF), (3, 7), (4, 0x41)] {
        d.bochs(index, v);
    }
    assert_eq!([1, 2, 3, 6, 7].map(|n| d.bochs_read(n)), [16_000, 65, 8, 16_000, 65]);
    d.bochs(1, 0);
    d.bochs(6, 0);
    d.bochs(2, 0);
    // 131072 lines fit; the register has 16 bits of it.
    assert_eq!([1, 2, 6, 7].map(|n| d.bochs_read(n)), [8, 1, 8, 0]);
    d.bochs(8, 0xFFFF);
    d.bochs(9, 0xFFFF);
    assert!(d.bochs_read(8) <= 16_000 && d.bochs_read(9) <= 12_000);
    assert_eq!(d.bochs_read(11), 0);
}

#[test]
fn setting_an_extended_mode_clears_its_memory_unless_told_not_to() {
    let mut d = Desk::new();
    for (flags, left) in [(0x41, 0), (0xC1, 0xAA)] {
        d.vram().fill(0xAA);
        for (index, v) in [(4, 0), (1, 320), (2, 200), (3, 8), (4, flags)] {
            d.bochs(index, v);
        }
        assert_eq!((d.vram()[0], d.vram()[63_999], d.vram()[64_000]), (left, left, 0xAA));
    }
    assert_eq!(d.b.backing.0[0xFFF], 0, "not outside video memory");
}

#[test]
fn bar_2_has_the_ports_and_bochs_registers_again() {
    let mut d = Desk::new();
    let at = |at| Reg { bank: 2, at };
    d.d.write(at(0x404), W16, 0x0502, &mut d.b);
    assert_eq!((d.get(0x3C4, 2), d.d.read(at(0x404), W16, &mut d.b)), (5, 0x0502));
    d.d.write(at(0x502), W16, 640, &mut d.b);
    assert_eq!(d.bochs_read(1), 640);
    assert_eq!(d.d.read(at(0x500), W32, &mut d.b), 0x0280_B0C5);
    assert_eq!(d.d.read(at(0x514), W16, &mut d.b), 16);
    assert_eq!(d.d.read(at(0x600), W32, &mut d.b), 8);
    d.d.write(at(0x604), W32, 0xBEBE_BEBE, &mut d.b);
    d.d.write(at(0x604), W32, 1, &mut d.b);
    assert_eq!(d.d.read(at(0x604), W32, &mut d.b), 0xBEBE_BEBE);
    assert_eq!(d.d.read(at(0), W64, &mut d.b), 0x00FF_FFFF_FFFF_FF00);
    assert_eq!([0x180, 0x420, 0x516, 0x608].map(|n| d.d.read(at(n), W8, &mut d.b)), [0xFF; 4]);
}

#[test]
fn fixed_addresses_are_decoded_as_chosen() {
    let count = |legacy, command: u64| {
        let mut d = Desk::with(VgaConfig { legacy, ..VgaConfig::default() });
        d.d.config_mut().write(4, W16, command);
        d.d.config_written(&mut d.b);
        d.b.windows.len()
    };
    assert_eq!([0, 3].map(|c| count(Legacy::Always, c)), [7, 7]);
    assert_eq!([0, 1, 2, 3].map(|c| count(Legacy::Decoded, c)), [0, 6, 1, 7]);
    assert_eq!([0, 3].map(|c| count(Legacy::None, c)), [0, 0]);
}

#[test]
fn a_saved_vga_goes_on_where_it_was() {
    let mut d = Desk::new();
    d.extended(320, 200, 8);
    d.greys();
    d.bochs(5, 3);
    d.out(0x3C0, 0x33);
    let saved = d.d.save();
    let mut copy = Desk::new();
    copy.d.load(&saved).expect("it fits");
    copy.d.settle(&mut copy.b);
    assert!(copy.d.save() == saved && copy.b.windows == d.b.windows);
    assert_eq!((copy.bochs_read(5), copy.get(0x3D4, 1)), (3, 39));
}

#[test]
fn saved_state_that_cannot_be_is_refused() {
    let mut d = Desk::new();
    let spoil: [fn(&mut State); 6] = [
        |s| s.sequencer_index = 8,
        |s| s.graphics_index = 16,
        |s| s.attribute_index = 64,
        |s| s.dac.component = 3,
        |s| s.dispi.bank = 1 << 20,
        |s| s.dispi.registers = [0xB0C5, 16_000, 12_000, 32, 1, 0, 16_000, 0, 0, 0],
    ];
    for spoil in spoil {
        let mut s = d.d.s.clone();
        spoil(&mut s);
        let saved = crate::pci::save(d.d.config(), s.save());
        assert!(matches!(d.d.load(&saved), Err(Misfit::Unfit(_))));
    }
}
