use super::*;
use crate::virtio::driver::*;
use crate::virtio::pci::PciOptions;
use crate::virtio::{EVENT_IDX, INDIRECT_DESC, NO_VECTOR, VERSION_1};
use Width::*;

const MODERN: u64 = 1 << VERSION_1;
const LEN: u64 = 1 << 20;

fn config() -> BlkConfig {
    BlkConfig { unit: 3, serial: "abc".into(), queues: 2, ..BlkConfig::default() }
}
fn medium(len: u64) -> Medium {
    let (block, physical) = (512, 512);
    Medium { len, read_only: false, block, physical, write_cache: true }
}
fn guest_of(config: BlkConfig, medium: Medium) -> Guest<Blk> {
    let mut g = Guest::new(Blk::new(config), PciOptions::default());
    g.input(Input::Medium { unit: 3, medium: Some(medium) });
    g
}
fn guest() -> Guest<Blk> {
    guest_of(config(), medium(LEN))
}
fn started(features: u64) -> Guest<Blk> {
    let mut g = guest();
    g.start_modern(features | MODERN);
    g
}

/// A request as a driver lays it out, with its data in these pieces.
fn request(g: &mut Guest<Blk>, kind: u32, sector: u64, data: &[Piece]) -> (Vec<Piece>, u64) {
    let mut header = [0; 16];
    header[..4].copy_from_slice(&kind.to_le_bytes());
    header[8..].copy_from_slice(&sector.to_le_bytes());
    let (header, status) = (g.bytes(&header), g.bytes(&[0xEE]));
    let mut all = vec![(header, 16, false)];
    all.extend(data);
    all.push((status, 1, true));
    (all, status)
}
fn submit(g: &mut Guest<Blk>, kind: u32, sector: u64, data: &[Piece]) -> u64 {
    let (all, status) = request(g, kind, sector, data);
    g.send(0, &all);
    status
}
/// The only thing that was asked.
fn asked(g: &mut Guest<Blk>) -> (u64, DiskOp) {
    let all = std::mem::take(&mut g.b.asked);
    let [Request::Disk { unit: 3, tag, op }] = &all[..] else { panic!("asked: {all:?}") };
    (*tag, op.clone())
}
fn answer(g: &mut Guest<Blk>, tag: u64, result: Result<Vec<u8>, DiskError>) {
    g.input(Input::Disk { unit: 3, tag, result: result.map(Buffer::from) });
}
fn range(sector: u64, count: u32, flags: u32) -> Vec<u8> {
    let mut out = sector.to_le_bytes().to_vec();
    out.extend([count, flags].map(u32::to_le_bytes).concat());
    out
}

#[test]
fn a_read_is_scattered_where_the_driver_said() {
    for features in [0, 1 << INDIRECT_DESC, 1 << EVENT_IDX, 1 << INDIRECT_DESC | 1 << EVENT_IDX] {
        let mut g = started(features);
        let (a, b) = (g.alloc(512), g.alloc(1536));
        let status = submit(&mut g, IN, 7, &[(a, 512, true), (b, 1536, true)]);
        let (tag, op) = asked(&mut g);
        assert_eq!(op, DiskOp::Read { at: 7 * 512, len: 2048 });
        assert_eq!((g.used(0), g.get(status, 1)), (vec![], &[0xEE][..]));
        let data: Vec<u8> = (0..2048u32).map(|i| (i / 8) as u8).collect();
        answer(&mut g, tag, Ok(data.clone()));
        assert_eq!(g.used(0), [(0, 2049)]);
        assert_eq!((g.get(a, 512), g.get(b, 1536)), (&data[..512], &data[512..]));
        assert_eq!((g.intx(), g.get(status, 1)), (Some(1), &[OK][..]));
    }
}

#[test]
fn a_write_is_gathered_however_it_is_laid_out() {
    let mut g = started(0);
    let (mut all, status) = request(&mut g, OUT, 2, &[]);
    // The header and the data in one buffer and a half.
    let first = g.bytes(&[g.get(all[0].0, 16), &[1; 100]].concat());
    let second = g.bytes(&[2; 412]);
    all.splice(0..1, [(first, 10, false), (first + 10, 106, false), (second, 412, false)]);
    g.send(0, &all);
    let (tag, op) = asked(&mut g);
    let data = [vec![1; 100], vec![2; 412]].concat();
    assert_eq!(
        op,
        DiskOp::Write { at: 1024, data: data.into(), fua: true },
        "no flush was agreed on"
    );
    answer(&mut g, tag, Ok(vec![]));
    assert_eq!((g.used(0), g.get(status, 1)), (vec![(0, 1)], &[OK][..]));
}

#[test]
fn many_requests_are_in_flight_and_end_in_any_order() {
    let mut g = started(0);
    let pages: Vec<u64> = (0..4).map(|_| g.alloc(512)).collect();
    for (n, page) in pages.iter().enumerate() {
        let (all, _) = request(&mut g, IN, n as u64, &[(*page, 512, true)]);
        g.queue(0, &all);
    }
    g.kick(0);
    assert_eq!(g.b.asked.len(), 4);
    for tag in [2, 0, 3, 1] {
        answer(&mut g, tag, Ok(vec![tag as u8 + 1; 512]));
    }
    assert_eq!(g.used(0), [(6, 513), (0, 513), (9, 513), (3, 513)]);
    for (n, page) in pages.iter().enumerate() {
        assert_eq!(g.get(*page, 512), [n as u8 + 1; 512]);
    }
    answer(&mut g, 2, Ok(vec![9; 512]));
    assert_eq!(g.used(0), [], "an answer that nobody waits for");
}

#[test]
fn what_cannot_be_ends_with_an_error() {
    let sectors = LEN / 512;
    #[rustfmt::skip]
    let rows = [
        (IN, sectors, 512, IOERR), (IN, sectors - 1, 1024, IOERR), (IN, u64::MAX, 512, IOERR),
        (IN, 1 << 55, 512, IOERR), (IN, 0, 100, IOERR), (SCSI, 0, 512, UNSUPP), (24, 0, 512, UNSUPP),
    ];
    for (kind, sector, len, status) in rows {
        let mut g = started(0);
        let data = g.alloc(1024);
        let at = submit(&mut g, kind, sector, &[(data, len, true)]);
        assert_eq!((g.used(0), g.b.asked.len()), (vec![(0, len + 1)], 0), "{kind} {sector} {len}");
        assert_eq!(g.get(at, 1), [status], "{kind} {sector} {len}");
    }
    let errors = [DiskError::Io, DiskError::NoSpace, DiskError::Range, DiskError::ReadOnly];
    for error in errors {
        let mut g = started(0);
        let data = g.alloc(512);
        let at = submit(&mut g, OUT, 0, &[(data, 512, false)]);
        let (tag, _) = asked(&mut g);
        answer(&mut g, tag, Err(error));
        assert_eq!((g.used(0), g.get(at, 1)), (vec![(0, 1)], &[IOERR][..]));
    }
}
const SCSI: u32 = 2;

#[test]
fn a_disk_that_is_read_only_says_so() {
    let mut g = guest_of(config(), Medium { read_only: true, ..medium(LEN) });
    assert_eq!(g.start_modern(1 << 5 | MODERN), 1 << 5 | MODERN);
    let data = g.alloc(512);
    let at = submit(&mut g, OUT, 0, &[(data, 512, false)]);
    assert_eq!((g.b.asked.len(), g.get(at, 1)), (0, &[IOERR][..]));
}

#[test]
fn the_serial_number_is_cut_to_twenty_bytes() {
    for (serial, expected) in [
        ("abc", &b"abc\0\xFF"[..]),
        ("0123456789012345678", b"0123456789012345678\0\xFF"),
        ("01234567890123456789x", b"01234567890123456789\xFF"),
    ] {
        let mut g = guest_of(BlkConfig { serial: serial.into(), ..config() }, medium(LEN));
        g.start_modern(MODERN);
        let data = g.bytes(&[0xFF; 24]);
        let at = submit(&mut g, GET_ID, 0, &[(data, 20, true)]);
        assert_eq!((g.get(data, expected.len()), g.get(at, 1)), (expected, &[OK][..]));
    }
}

#[test]
fn discards_and_zeroes_are_one_range() {
    #[rustfmt::skip]
    let rows = [
        (DISCARD, range(8, 16, 0), Ok(DiskOp::Discard { at: 4096, len: 8192 })),
        (DISCARD, range(8, 16, 1), Err(UNSUPP)),
        (DISCARD, range(8, 0, 0), Err(OK)),
        (DISCARD, range(2048, 1, 0), Err(IOERR)),
        (DISCARD, range(0, u32::MAX, 0), Err(IOERR)),
        (DISCARD, [range(8, 16, 0), range(0, 1, 0)].concat(), Err(UNSUPP)),
        (DISCARD - 1, range(8, 16, 0), Err(UNSUPP)),
        (WRITE_ZEROES, range(0, 1, 0), Ok(DiskOp::Zero { at: 0, len: 512, unmap: false })),
        (WRITE_ZEROES, range(0, 1, 1), Ok(DiskOp::Zero { at: 0, len: 512, unmap: true })),
        (WRITE_ZEROES, range(0, 1, 2), Err(UNSUPP)),
        (WRITE_ZEROES, range(u64::MAX, 1, 0), Err(IOERR)),
    ];
    for (kind, range, expected) in rows {
        let mut g = started(1 << FLUSHES | 1 << CONFIG_WCE);
        let data = g.bytes(&range);
        let at = submit(&mut g, kind, 0, &[(data, range.len() as u32, false)]);
        match expected {
            Ok(op) => {
                let (tag, got) = asked(&mut g);
                assert_eq!(got, op);
                answer(&mut g, tag, Ok(vec![]));
                assert_eq!(g.get(at, 1), [OK]);
            }
            Err(status) => assert_eq!((g.b.asked.len(), g.get(at, 1)), (0, &[status][..])),
        }
        assert_eq!(g.used(0), [(0, 1)]);
    }
}

#[test]
fn without_a_write_cache_everything_written_is_safe() {
    let mut g = started(1 << FLUSHES | 1 << CONFIG_WCE);
    assert_eq!(g.read(4, CONFIG + 0x20, W8), 1);
    let data = g.alloc(512);
    for (cache, fua) in [(1, false), (0, true), (1, false)] {
        g.write(4, CONFIG + 0x20, W8, cache);
        submit(&mut g, OUT, 0, &[(data, 512, false)]);
        let (_, op) = asked(&mut g);
        assert_eq!(op, DiskOp::Write { at: 0, data: vec![0; 512].into(), fua });
    }
    g.write(4, CONFIG + 0x20, W8, 0);
    let zeroes = g.bytes(&range(0, 1, 0));
    let at = submit(&mut g, WRITE_ZEROES, 0, &[(zeroes, 16, false)]);
    let (tag, _) = asked(&mut g);
    answer(&mut g, tag, Ok(vec![]));
    let (tag, op) = asked(&mut g);
    assert_eq!((op, g.used(0), g.get(at, 1)), (DiskOp::Flush, vec![], &[0xEE][..]));
    answer(&mut g, tag, Ok(vec![]));
    assert_eq!((g.used(0).len(), g.get(at, 1)), (1, &[OK][..]));
    g.write(4, 0x14, W8, 0);
    assert_eq!(g.read(4, CONFIG + 0x20, W8), 1, "a reset turns it on again");
    let mut g = guest_of(config(), Medium { write_cache: false, ..medium(LEN) });
    assert_eq!(g.read(4, CONFIG + 0x20, W8), 0);
    g.start_modern(1 << FLUSHES | 1 << CONFIG_WCE | MODERN);
    assert_eq!(g.read(4, CONFIG + 0x20, W8), 0);
}

#[test]
fn a_flush_is_asked_and_answered() {
    let mut g = started(1 << FLUSHES);
    let at = submit(&mut g, FLUSH, 0, &[]);
    let (tag, op) = asked(&mut g);
    assert_eq!(op, DiskOp::Flush);
    answer(&mut g, tag, Ok(vec![]));
    assert_eq!((g.used(0), g.get(at, 1)), (vec![(0, 1)], &[OK][..]));
}

#[test]
fn the_configuration_is_qemus() {
    let mut g = guest_of(config(), medium(1 << 30));
    let got: Vec<u8> = (0..60).map(|i| g.read(4, CONFIG + i, W8) as u8).collect();
    #[rustfmt::skip]
    let expected = [
        0, 0, 0x20, 0, 0, 0, 0, 0, /* size_max */ 0, 0, 0, 0, /* seg_max */ 0xFE, 0, 0, 0,
        /* geometry */ 0x20, 0x08, 0x10, 0x3F, /* block */ 0, 2, 0, 0, /* topology */ 0, 0, 0, 0, 0, 0, 0, 0,
        /* cache */ 1, 0, /* queues */ 2, 0, /* discard */ 0xFF, 0xFF, 0x3F, 0, 1, 0, 0, 0, 1, 0, 0, 0,
        /* zeroes */ 0xFF, 0xFF, 0x3F, 0, 1, 0, 0, 0, 1, 0, 0, 0,
    ];
    assert_eq!(got, expected);
    assert_eq!((g.read(4, 4, W32), g.read(4, CONFIG + 60, W32)), (0x3000_7E54, 0xFFFF_FFFF));
    assert_eq!(g.read(0, 0, W32), 0x7900_7E54);
    g.write(4, 0, W32, 1);
    assert_eq!(g.read(4, 4, W32), 0x101);
    let big = BlkConfig { logical_block_size: 4096, ..config() };
    let mut g = guest_of(big, medium(1 << 30));
    assert_eq!((g.read(4, CONFIG + 0x13, W8), g.read(4, CONFIG + 0x14, W32)), (0x38, 4096));
    g.start_modern(MODERN);
    let data = g.alloc(4096);
    let at = submit(&mut g, IN, 1, &[(data, 4096, true)]);
    assert_eq!(g.get(at, 1), [IOERR], "not at a block");
    submit(&mut g, IN, 8, &[(data, 4096, true)]);
    assert_eq!(asked(&mut g).1, DiskOp::Read { at: 4096, len: 4096 });
}

#[test]
fn a_resize_is_told() {
    let mut g = started(0);
    g.start_msix(0, &[1, 2]);
    g.input(Input::Medium { unit: 3, medium: Some(medium(LEN)) });
    assert_eq!((g.message(0), g.read(4, 0x15, W8)), (0, 0), "the same as before is no news");
    g.input(Input::Medium { unit: 3, medium: Some(medium(2 * LEN)) });
    assert_eq!((g.message(0), g.read(4, 0x15, W8)), (1, 1));
    assert_eq!(g.read(4, CONFIG, W64), 2 * LEN / 512);
    g.input(Input::Medium { unit: 3, medium: None });
    assert_eq!((g.message(0), g.read(4, CONFIG, W64)), (1, 0));
}

#[test]
fn a_reset_gives_up_what_is_in_flight() {
    let mut g = started(0);
    let data = g.alloc(512);
    submit(&mut g, IN, 0, &[(data, 512, true)]);
    g.b.asked.clear();
    g.write(4, 0x14, W8, 0);
    assert_eq!(g.b.asked, [Request::DiskAbandon { unit: 3 }]);
    answer(&mut g, 0, Ok(vec![7; 512]));
    assert_eq!(g.get(data, 1), [0]);
    g.b.asked.clear();
    g.d.reset();
    g.d.settle(&mut g.b);
    g.d.settle(&mut g.b);
    assert_eq!(g.b.asked, [Request::DiskAbandon { unit: 3 }], "and so does the machine's");
    assert_eq!(g.d.device.sectors(), LEN / 512, "the disk is still there");
}

#[test]
fn a_request_outlives_a_move() {
    let mut g = started(1 << EVENT_IDX | 1 << INDIRECT_DESC);
    g.start_msix(NO_VECTOR.into(), &[1]);
    let data = g.alloc(1024);
    let first = submit(&mut g, IN, 4, &[(data, 1024, true)]);
    let (tag, _) = asked(&mut g);
    g.move_to(Blk::new(config()), PciOptions::default());
    assert!(g.b.asked.is_empty());
    g.input(Input::Medium { unit: 3, medium: Some(medium(LEN)) });
    submit(&mut g, FLUSH, 0, &[]);
    let (second, _) = asked(&mut g);
    assert_ne!(tag, second);
    answer(&mut g, tag, Ok(vec![5; 1024]));
    assert_eq!(
        (g.used(0), g.get(data, 1024), g.get(first, 1)),
        (vec![(0, 1025)], &[5; 1024][..], &[OK][..])
    );
    assert_eq!((g.message(1), g.message(0)), (2, 0));
}

#[test]
fn with_enough_in_flight_the_queues_wait() {
    let mut g = guest_of(config(), medium(1 << 40));
    g.start_modern(MODERN);
    // The same megabyte, again and again: 96 MiB in a request.
    g.indirect = true;
    let data = g.alloc(1 << 20);
    let huge = vec![(data, 1 << 20, true); 96];
    let (all, _) = request(&mut g, IN, 0, &huge);
    g.queue(0, &all);
    let small = submit(&mut g, IN, 0, &[(data, 512, true)]);
    let (tag, op) = asked(&mut g);
    assert_eq!(op, DiskOp::Read { at: 0, len: 96 << 20 });
    g.move_to(Blk::new(config()), PciOptions::default());
    answer(&mut g, tag, Err(DiskError::Io));
    let (tag, op) = asked(&mut g);
    assert_eq!(op, DiskOp::Read { at: 0, len: 512 });
    answer(&mut g, tag, Ok(vec![1; 512]));
    assert_eq!((g.used(0).len(), g.get(small, 1)), (2, &[OK][..]));
}

#[test]
fn a_queue_that_is_reset_forgets_its_requests() {
    let mut g = started(1 << crate::virtio::RING_RESET);
    let data = g.alloc(512);
    submit(&mut g, IN, 0, &[(data, 512, true)]);
    g.write(4, 0x16, W16, 0);
    g.write(4, 0x3A, W16, 1);
    assert_eq!((g.read(4, 0x3A, W16), g.read(4, 0x1C, W16), g.read(4, 0x18, W16)), (0, 0, 256));
    answer(&mut g, 0, Ok(vec![7; 512]));
    assert_eq!((g.used(0), g.get(data, 1)), (vec![], &[0][..]));
}

#[test]
fn requests_without_sense_break_the_device() {
    let (a, size) = (0x2000, 16);
    let chains: [&[Piece]; 4] = [
        &[(a, size, false)],
        &[(a, size, true)],
        &[(a, 8, false), (a, 1, true)],
        &[(1 << 40, size, false), (a, 1, true)],
    ];
    for chain in chains {
        let mut g = started(0);
        g.send(0, chain);
        assert_eq!((g.status(), g.b.complaints.len()), (0x4F, 1), "{chain:?}");
    }
    // Where the data is to go, there is no memory.
    let mut g = started(0);
    submit(&mut g, IN, 0, &[(1 << 40, 512, true)]);
    let (tag, _) = asked(&mut g);
    answer(&mut g, tag, Ok(vec![0; 512]));
    assert_eq!((g.status(), g.used(0)), (0x4F, vec![]));
}

#[test]
fn the_legacy_interface_does_the_same() {
    let mut g = guest();
    g.start_legacy(0, 1);
    assert_eq!((g.read(0, 0x14, W32), g.read(0, 0x18, W32)), (LEN / 512, 0));
    let data = g.alloc(512);
    let at = submit(&mut g, IN, 1, &[(data, 512, true)]);
    let (tag, _) = asked(&mut g);
    answer(&mut g, tag, Ok(vec![3; 512]));
    assert_eq!(
        (g.used(0), g.get(data, 512), g.get(at, 1)),
        (vec![(0, 513)], &[3; 512][..], &[OK][..])
    );
    assert_eq!(g.intx(), Some(1));
    g.start_msix(0, &[1]);
    assert_eq!((g.read(0, 0x18, W32), g.read(0, 0x16, W16)), (LEN / 512, 1));
    submit(&mut g, FLUSH, 0, &[]);
    let (tag, _) = asked(&mut g);
    answer(&mut g, tag, Ok(vec![]));
    assert_eq!((g.message(1), g.intx()), (2, None));
}
