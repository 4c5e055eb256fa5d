use super::*;
use crate::virtio::driver::*;
use crate::virtio::rng::{Rng, RngConfig};
use crate::virtio::{Blk, BlkConfig};
use Width::*;

const MODERN: u64 = 1 << VERSION_1;
const EVENT: u64 = 1 << EVENT_IDX;

fn rng() -> Rng {
    Rng::new(RngConfig::default())
}
fn blk() -> Blk {
    Blk::new(BlkConfig { queues: 2, ..BlkConfig::default() })
}
fn guest() -> Guest<Rng> {
    Guest::new(rng(), PciOptions::default())
}
fn started(features: u64) -> Guest<Rng> {
    let mut g = guest();
    g.start_modern(features | MODERN);
    g
}

#[test]
fn configuration_space_is_qemus() {
    let mut d = VirtioPci::new(blk(), PciOptions::default());
    #[rustfmt::skip]
    let rows = [
        (0x00, 0x1001_1AF4), (0x08, 0x0100_0000), (0x2C, 0x0002_1AF4), (0x3C, 0x0100),
        (0x40, 0x0110_5009), (0x44, 4), (0x48, 0), (0x4C, 0x1000),
        (0x50, 0x0310_6009), (0x54, 4), (0x58, 0x1000), (0x5C, 0x1000),
        (0x60, 0x0410_7009), (0x64, 4), (0x68, 0x2000), (0x6C, 0x1000),
        (0x70, 0x0214_8409), (0x74, 4), (0x78, 0x3000), (0x7C, 0x1000), (0x80, 4),
        (0x84, 0x0514_9809), (0x88, 0), (0x8C, 0), (0x90, 0), (0x94, 0),
        (0x98, 0x0002_0011), (0x9C, 1), (0xA0, 0x801),
    ];
    for (at, expected) in rows {
        assert_eq!(d.config.u32(at), expected, "{at:#x}");
    }
    let size = |d: &mut VirtioPci<Blk>, n: u64| {
        d.config.write(0x10 + 4 * n, W32, 0xFFFF_FFFF);
        d.config.read(0x10 + 4 * n, W32)
    };
    let bars = [0, 1, 2, 4, 5].map(|n| size(&mut d, n));
    assert_eq!(bars, [0xFFFF_FF81, 0xFFFF_F000, 0, 0xFFFF_C00C, 0xFFFF_FFFF]);
    let modern = VirtioPci::new(blk(), PciOptions { legacy: false, ..PciOptions::default() });
    let c = &modern.config;
    assert_eq!((c.u32(0), c.u32(8), c.u32(0x2C)), (0x1042_1AF4, 0x0100_0001, 0x1100_1AF4));
    assert_eq!(c.u32(0x10), 0);
    let legacy = VirtioPci::new(rng(), PciOptions { modern: false, ..PciOptions::default() });
    let c = &legacy.config;
    assert_eq!((c.u32(0), c.u32(8), c.u32(0x2C)), (0x1005_1AF4, 0x00FF_0000, 0x0004_1AF4));
    assert_eq!((c.u8(0x34), c.u32(0x40), c.u32(0x20)), (0x40, 0x0001_0011, 0));
    let bare = PciOptions { vectors: Some(0), modern: false, ..PciOptions::default() };
    assert_eq!(VirtioPci::new(rng(), bare).config.u8(6) & 0x10, 0, "no capabilities at all");
}

#[test]
fn many_vectors_have_a_longer_bar() {
    for (vectors, len, pending) in
        [(128, 0x1000, 0x800), (129, 0x1000, 0x810), (256, 0x2000, 0x1000)]
    {
        let options = PciOptions { vectors: Some(vectors), ..PciOptions::default() };
        let mut d = VirtioPci::new(rng(), options);
        d.config.write(0x14, W32, 0xFFFF_FFFF);
        assert_eq!(d.config.u32(0x14), (-len) as u32, "{vectors}");
        assert_eq!(d.config.u32(0xA0), pending + 1, "{vectors}");
        let (mut b, last) = (Bench::default(), 16 * u64::from(vectors) - 4);
        assert_eq!(d.read(Reg { bank: 1, at: last }, W32, &mut b), 1);
        assert_eq!(d.read(Reg { bank: 1, at: pending.into() }, W32, &mut b), 0);
    }
}

#[test]
fn features_are_what_both_know() {
    let mut g = guest();
    for (word, expected) in [(0, 0x3000_0000), (1, 0x101), (2, 0), (0xFFFF_FFFF, 0)] {
        g.write(4, 0, W32, word);
        assert_eq!(g.read(4, 4, W32), expected);
    }
    for word in 0..3 {
        g.write(4, 8, W32, word);
        g.write(4, 0xC, W32, 0xFFFF_FFFF);
    }
    assert_eq!(g.d.s.features, 0x101_3000_0000);
    g.write(4, 0x14, W8, 0xB);
    g.write(4, 8, W32, 0);
    g.write(4, 0xC, W32, 0);
    assert_eq!((g.read(4, 0xC, W32), g.read(4, 0x14, W8)), (0x3000_0000, 0xB), "too late");
    let none = PciOptions {
        indirect_desc: false,
        event_idx: false,
        queue_reset: false,
        ..PciOptions::default()
    };
    let mut g = Guest::new(rng(), none);
    assert_eq!(g.read(4, 4, W32), 0);
    g.write(4, 0, W32, 1);
    assert_eq!(g.read(4, 4, W32), 1);
    assert_eq!(g.read(0, 0, W32), 0x4900_0000);
    g.write(0, 4, W32, 0xFFFF_FFFF);
    assert_eq!(g.read(0, 4, W32), 0, "a driver that takes bit 30");
    g.write(0, 4, W32, 0x0800_0001);
    assert_eq!(g.read(0, 4, W32), 0x0800_0000);
}

#[test]
fn registers_can_be_reached_in_pieces() {
    let mut g = guest();
    g.write(4, 0x20, W64, 0x1122_3344_5566_7788);
    g.write(4, 0x28, W16, 0xAABB);
    g.write(4, 0x2E, W8, 0xCC);
    assert_eq!(g.read(4, 0x20, W64), 0x1122_3344_5566_7788);
    assert_eq!(g.read(4, 0x24, W32), 0x1122_3344);
    assert_eq!(g.read(4, 0x28, W64), 0x00CC_0000_0000_AABB);
    assert_eq!(g.read(4, 0x10, W32), 0x1_FFFF, "vector and number of queues");
    g.write(4, 0x14, W32, 0x0005_0001);
    assert_eq!((g.read(4, 0x14, W8), g.read(4, 0x16, W16)), (1, 5));
    assert_eq!((g.read(4, 0x3E, W32), g.read(4, 0x800, W64), g.read(4, 0x1001, W8)), (0, 0, 0));
}

#[test]
fn a_queue_that_is_not_there_is_empty() {
    let mut g = guest();
    for n in [1, 7, 0xFFFF] {
        g.write(4, 0x16, W16, n);
        for at in [0x18, 0x1A, 0x1C, 0x20, 0x28, 0x30, 0x3A] {
            g.write(4, at, W16, 1);
        }
        assert_eq!([0x18, 0x1C, 0x20, 0x28].map(|at| g.read(4, at, W16)), [0; 4], "{n}");
        g.write(0, 8, W32, 5);
        assert_eq!((g.read(0, 8, W32), g.read(0, 0xC, W16)), (0, 0));
        g.write(4, 0x3000 + 4 * n, W16, n);
        g.write(0, 0x10, W16, n);
    }
}

#[test]
fn a_queue_takes_sizes_that_make_sense_until_it_is_enabled() {
    let mut g = guest();
    for (size, then) in [(4, 4), (16, 4), (3, 4), (0, 4), (8, 8), (1, 1)] {
        g.write(4, 0x18, W16, size);
        assert_eq!(g.read(4, 0x18, W16), then, "{size}");
    }
    g.write(4, 0x1C, W16, 2);
    assert_eq!(g.read(4, 0x1C, W16), 0);
    g.write(4, 0x1C, W16, 1);
    for at in [0x18, 0x20, 0x1C] {
        g.write(4, at, W16, 0x100);
    }
    assert_eq!([0x18, 0x1C, 0x20].map(|at| g.read(4, at, W16)), [1, 1, 0]);
}

#[test]
fn vectors_that_are_not_there_are_none() {
    let mut g = guest();
    for (vector, then) in [(0, 0), (1, 1), (2, 0xFFFF), (0xFFFF, 0xFFFF)] {
        for (bank, at) in [(4, 0x10), (4, 0x1A)] {
            g.write(bank, at, W16, vector);
            assert_eq!(g.read(bank, at, W16), then, "{vector}");
        }
    }
}

#[test]
fn a_masked_vector_waits() {
    let mut g = started(0);
    g.start_msix(0, &[1]);
    g.write(1, 0x1C, W32, 1);
    let at = g.alloc(8);
    g.send(0, &[(at, 8, true)]);
    assert_eq!((g.message(1), g.read(1, 0x800, W32), g.used(0)), (0, 2, vec![(0, 8)]));
    assert!(g.d.config.intx().is_none(), "no INTx beside MSI-X");
    g.write(1, 0x1C, W32, 0);
    assert_eq!((g.message(1), g.read(1, 0x800, W32)), (2, 0));
    let msix = g.msix_at();
    g.config_write(msix + 2, W16, 0xC000);
    g.send(0, &[(at, 8, true)]);
    assert_eq!(g.message(1), 0);
    g.config_write(msix + 2, W16, 0x8000);
    assert_eq!(g.message(1), 2);
    g.config_write(msix + 2, W16, 0);
    assert!(g.d.config.intx().is_none(), "what was told is not told again");
    g.config_write(msix + 2, W16, 0x8000);
    g.write(4, 0x16, W16, 0);
    g.write(4, 0x1A, W16, 0xFFFF);
    g.send(0, &[(at, 8, true)]);
    assert_eq!((g.message(0), g.message(1), g.used(0).len()), (0, 0, 2));
}

#[test]
fn the_driver_is_told_only_when_it_wants() {
    let mut g = started(0);
    let at = g.alloc(8);
    let avail = g.rings[0].avail;
    g.put(avail, &[1]);
    g.send(0, &[(at, 8, true)]);
    assert_eq!(g.intx(), None);
    g.put(avail, &[0]);
    g.send(0, &[(at, 8, true)]);
    assert_eq!(g.intx(), Some(1));
    // With the event index: at the next but one.
    let mut g = started(EVENT);
    g.start_msix(0, &[1]);
    g.send(0, &[(at, 8, true)]);
    assert_eq!((g.message(1), g.used(0).len()), (2, 1));
    g.want(0, 1);
    for expected in [0, 2, 0, 0] {
        g.send(0, &[(at, 8, true)]);
        assert_eq!(g.message(1), expected);
    }
    // Several at once are one interrupt.
    g.used(0);
    g.want(0, 0);
    for _ in 0..3 {
        g.queue(0, &[(at, 8, true)]);
    }
    g.kick(0);
    assert_eq!((g.message(1), g.used(0).len()), (2, 3));
}

#[test]
fn the_device_tells_when_it_wants_to_be_told() {
    let mut g = started(EVENT);
    let Ring { used, size, .. } = g.rings[0];
    let (at, event) = (g.alloc(8), used + 4 + 8 * u64::from(size));
    for n in 1..100 {
        g.send(0, &[(at, 8, true)]);
        assert_eq!((g.u16(event), g.used(0).len()), (n, 1));
    }
}

#[test]
fn indices_wrap() {
    let mut g = started(EVENT | 1 << INDIRECT_DESC);
    let at = g.alloc(8);
    g.indirect = false;
    for n in 0..70_000u32 {
        g.send(0, &[(at, 8, true)]);
        assert_eq!((g.used(0).len(), g.intx().is_some()), (1, n % 0x1_0000 == 0), "{n}");
    }
}

#[test]
fn a_rest_without_sense_breaks_the_device_until_reset() {
    type Break = fn(&mut Guest<Rng>);
    fn one(g: &mut Guest<Rng>, buffer: Piece, flags: u16, next: u16) {
        let desc = g.rings[0].desc;
        g.descriptor(desc, buffer, flags, next);
        g.offer(0, 0);
    }
    fn table(g: &mut Guest<Rng>, entries: &[(Piece, u16, u16)], len: u32) {
        let at = g.alloc(16 * entries.len() as u64);
        for (i, (buffer, flags, next)) in entries.iter().enumerate() {
            g.descriptor(at + 16 * i as u64, *buffer, *flags, *next);
        }
        one(g, (at, len, false), INDIRECT, 0);
    }
    const GOOD: Piece = (0x2000, 8, true);
    #[rustfmt::skip]
    let rows: &[(&str, Break)] = &[
        ("a head beyond the table",       |g| g.offer(0, 8)),
        ("the index moved too far",       |g| { let at = g.rings[0].avail + 2; g.put(at, &[9, 0]) }),
        ("a loop of one",                 |g| one(g, GOOD, NEXT, 0)),
        ("next beyond the table",         |g| one(g, GOOD, NEXT, 8)),
        ("no bytes",                      |g| one(g, (0x2000, 0, true), 0, 0)),
        ("beyond all memory",             |g| one(g, (u64::MAX - 3, 8, true), 0, 0)),
        ("no memory there",               |g| one(g, (1 << 50, 8, true), 0, 0)),
        ("a table of no bytes",           |g| one(g, (0x2000, 0, false), INDIRECT, 0)),
        ("a table of odd length",         |g| one(g, (0x2000, 24, false), INDIRECT, 0)),
        ("a table outside memory",        |g| one(g, (1 << 50, 16, false), INDIRECT, 0)),
        ("a table at the end of memory",  |g| one(g, (u64::MAX - 7, 32, false), INDIRECT, 0)),
        ("a huge table",                  |g| one(g, (0, 0xFFFF_FFF0, false), INDIRECT, 0)),
        ("indirect and next",             |g| one(g, (0x2000, 16, false), INDIRECT | NEXT, 1)),
        ("indirect in indirect",          |g| table(g, &[((0x3000, 16, false), INDIRECT, 0)], 16)),
        ("next beyond the indirect",      |g| table(g, &[(GOOD, NEXT, 1)], 16)),
        ("a loop in the indirect",        |g| table(g, &[(GOOD, NEXT, 1), (GOOD, NEXT, 0)], 32)),
        ("to read behind to write",       |g| table(g, &[(GOOD, NEXT, 1), ((0x2000, 8, false), 0, 0)], 32)),
        ("descriptors outside memory",    |g| { g.d.s.queues[0].desc = 1 << 50; g.offer(0, 0) }),
        ("descriptors at the very end",   |g| { g.d.s.queues[0].desc = u64::MAX - 15; g.offer(0, 1) }),
        ("available outside memory",      |g| g.d.s.queues[0].avail = 1 << 50),
        ("used outside memory",           |g| { g.d.s.queues[0].used = 1 << 50; one(g, GOOD, 0, 0) }),
    ];
    for (what, breaks) in rows {
        for features in [0, EVENT, MODERN, MODERN | EVENT] {
            let mut g = guest();
            g.start_modern(features);
            g.start_msix(0, &[1]);
            breaks(&mut g);
            g.kick(0);
            let modern = features & MODERN != 0;
            let broken = (g.d.s.broken, g.d.s.status.needs_reset(), g.message(0));
            assert_eq!(broken, (true, modern, modern as u32), "{what}");
            assert_eq!(g.b.complaints.len(), 1, "{what}: {:?}", g.b.complaints);
            g.write(4, 0x14, W8, 0xF);
            assert_eq!(g.status() & 0x40 != 0, modern, "{what}: only a reset helps");
            g.kick(0);
            g.start_modern(MODERN);
            let at = g.alloc(8);
            g.send(0, &[(at, 8, true)]);
            assert_eq!((g.used(0).len(), g.d.s.broken), (1, false), "{what}");
        }
    }
}

#[test]
fn a_table_may_follow_descriptors() {
    let mut g = started(1 << INDIRECT_DESC);
    let (at, rest, desc) = (g.alloc(8), g.alloc(16), g.rings[0].desc);
    let table = g.alloc(16);
    g.descriptor(table, (rest, 16, true), 0, 0);
    g.descriptor(desc, (at, 8, true), NEXT, 5);
    g.descriptor(desc + 80, (table, 16, false), INDIRECT, 0);
    g.offer(0, 0);
    g.kick(0);
    assert_eq!(g.used(0), [(0, 24)]);
}

#[test]
fn without_bus_mastering_nothing_moves() {
    let mut g = started(0);
    let at = g.alloc(8);
    g.queue(0, &[(at, 8, true)]);
    g.config_write(4, W16, 3);
    assert_eq!(g.status(), 0xB);
    g.kick(0);
    assert_eq!((g.used(0), g.d.s.broken), (vec![], false));
    g.config_write(4, W16, 7);
    g.kick(0);
    assert_eq!(g.used(0).len(), 1);
    // Drivers that forget it are helped.
    let mut g = guest();
    g.config_write(4, W16, 3);
    g.start_legacy(0, 1);
    assert!(g.d.config.bus_master());
}

#[test]
fn configuration_space_has_a_window_to_the_registers() {
    let mut g = started(0);
    let window = |g: &mut Guest<Rng>, at: u64, len: u64| {
        g.config_write(0x88, W8, 4);
        g.config_write(0x8C, W32, at);
        g.config_write(0x90, W32, len);
    };
    let read = |g: &mut Guest<Rng>, w: Width| {
        g.d.config_reading(0x94, w, &mut g.b);
        g.d.config.read(0x94, w)
    };
    window(&mut g, 0x18, 2);
    assert_eq!(read(&mut g, W16), 8);
    window(&mut g, 0x16, 2);
    g.config_write(0x94, W16, 9);
    assert_eq!(g.read(4, 0x16, W16), 9);
    g.config_write(0x94, W16, 0);
    // The same notification twice.
    let at = g.alloc(8);
    window(&mut g, 0x3000, 2);
    for _ in 0..2 {
        g.queue(0, &[(at, 8, true)]);
        g.config_write(0x94, W16, 0);
        assert_eq!(g.used(0).len(), 1);
    }
    window(&mut g, 0x1000, 1);
    assert!(g.d.config.intx().is_some());
    g.d.config_reading(0x40, W32, &mut g.b);
    assert!(g.d.config.intx().is_some(), "elsewhere");
    assert_eq!((read(&mut g, W8), g.d.config.intx()), (1, None));
    for (at, len) in [(0x4000, 4), (0, 3), (0, 8), (0xFFFF_FFFF, 1)] {
        window(&mut g, at, len);
        g.config_write(0x94, W32, 0);
        read(&mut g, W32);
    }
    assert_eq!(g.status(), 0xF);
}

#[test]
fn the_legacy_registers_are_where_they_were() {
    let mut g = Guest::new(blk(), PciOptions::default());
    g.start_legacy(1 << EVENT_IDX | 1 << INDIRECT_DESC, 2);
    assert_eq!(g.read(0, 4, W32), 0x3000_0000);
    assert_eq!((g.read(0, 0xC, W32), g.read(0, 0x12, W8)), (0x1_0100, 7));
    assert_eq!(g.read(0, 0x20, W32), 0xFE, "seg_max without MSI-X");
    assert_eq!(g.read(0, 0x7C, W32), 0xFFFF_FFFF);
    g.start_msix(1, &[2, 0]);
    assert_eq!(g.read(0, 0x24, W32), 0xFE, "and with");
    assert_eq!((g.read(0, 0x14, W32), g.read(0, 0x12, W32)), (1, 0x0001_0007));
    g.write(0, 8, W32, 0);
    assert_eq!((g.status(), g.read(0, 4, W32), g.read(0, 0x14, W16)), (0, 0, 0xFFFF));
}

#[test]
fn a_state_of_another_device_is_refused() {
    let mut g = started(0);
    let good = g.d.save();
    let narrow = PciOptions { vectors: Some(1), ..PciOptions::default() };
    let mut others: Vec<Box<dyn Device>> = vec![
        Box::new(VirtioPci::new(blk(), PciOptions::default())),
        Box::new(VirtioPci::new(rng(), narrow)),
    ];
    for other in &mut others {
        let before = other.save();
        assert!(other.load(&good).is_err());
        assert_eq!(other.save(), before);
    }
    g.d.s.queues[0].size = 6;
    assert!(VirtioPci::new(rng(), PciOptions::default()).load(&g.d.save()).is_err());
    g.d.s.queues[0].size = 8;
    g.start_msix(0, &[1]);
    let at = g.alloc(8);
    g.send(0, &[(at, 8, true)]);
    g.message(1);
    g.move_to(rng(), PciOptions::default());
    g.send(0, &[(at, 8, true)]);
    assert_eq!((g.used(0).len(), g.message(1)), (2, 2));
}
