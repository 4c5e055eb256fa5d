use super::*;
use Width::*;

/// Memory, the function, a disk of 64 MiB as primary master, a CD of 10 MiB as secondary master.
struct Board {
    d: Piix3Ide,
    b: Bench,
    disk: Vec<u8>,
    cd: Vec<u8>,
    tags: Vec<u64>,
}

fn medium(len: u64, block: u32) -> Medium {
    Medium { len, read_only: block == 2048, block, physical: block, write_cache: true }
}
fn make() -> Piix3Ide {
    Piix3Ide::new([Some(DriveConfig::disk()), None, Some(DriveConfig::cd()), None])
}
fn tell_media(d: &mut Piix3Ide, b: &mut Bench) {
    d.input(Input::Medium { unit: 0, medium: Some(medium(64 << 20, 512)) }, b);
    d.input(Input::Medium { unit: 2, medium: Some(medium(10 << 20, 2048)) }, b);
}
/// Each sector begins with its number.
fn pattern(len: usize, sector: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    for (n, s) in bytes.chunks_mut(sector).enumerate() {
        s[..4].copy_from_slice(&(n as u32).to_le_bytes());
        s[sector - 1] = n as u8;
    }
    bytes
}

impl Board {
    fn new() -> Self {
        let (mut d, mut b) = (make(), Bench::with_ram(4 << 20));
        d.config_mut().write(4, W16, 5);
        d.settle(&mut b);
        tell_media(&mut d, &mut b);
        let (disk, cd) = (pattern(64 << 20, 512), pattern(10 << 20, 2048));
        Self { d, b, disk, cd, tags: Vec::new() }
    }
    fn out(&mut self, port: u64, w: Width, v: u64) {
        let reg = Self::reg(port);
        self.d.write(reg, w, v, &mut self.b);
    }
    fn inp(&mut self, port: u64, w: Width) -> u64 {
        let reg = Self::reg(port);
        self.d.read(reg, w, &mut self.b)
    }
    /// Ports as the function maps them; 0xC000 is the bus master.
    fn reg(port: u64) -> Reg {
        let (bank, base) = match port {
            0x1F0..=0x1F7 => (8, 0x1F0),
            0x3F6 => (9, 0x3F6),
            0x170..=0x177 => (10, 0x170),
            0x376 => (11, 0x376),
            _ => (4, 0xC000),
        };
        Reg { bank, at: port - base }
    }
    fn b8(&mut self, port: u64) -> u8 {
        self.inp(port, W8) as u8
    }
    /// What the disk is asked, done and answered.
    fn serve(&mut self) {
        while !self.b.asked.is_empty() {
            for r in std::mem::take(&mut self.b.asked) {
                let Request::Disk { unit, tag, op } = r else { continue };
                assert!(!self.tags.contains(&tag) || unit == 2);
                self.tags.push(tag);
                let image = if unit == 0 { &mut self.disk } else { &mut self.cd };
                let result: Result<_, DiskError> = Ok(match op {
                    DiskOp::Read { at, len } => image[at as usize..][..len as usize].to_vec(),
                    DiskOp::Write { at, data, .. } => {
                        image[at as usize..][..data.len()].copy_from_slice(&data);
                        Vec::new()
                    }
                    DiskOp::Discard { at, len } => {
                        image[at as usize..][..len as usize].fill(0);
                        Vec::new()
                    }
                    _ => Vec::new(),
                });
                self.d.input(
                    Input::Disk { unit, tag, result: result.map(Buffer::from) },
                    &mut self.b,
                );
            }
        }
    }
    fn answer(&mut self, result: Result<Vec<u8>, DiskError>) {
        let Some(Request::Disk { unit, tag, .. }) = self.b.asked.pop() else {
            panic!("nothing asked")
        };
        self.d.input(Input::Disk { unit, tag, result: result.map(Buffer::from) }, &mut self.b);
    }
    /// Registers 1 to 5 and 7 of a channel, high-order bytes first where it needs them.
    fn command48(&mut self, lba: u64, count: u16, code: u8) {
        for shift in [24, 0] {
            self.out(0x1F2, W8, u64::from(count) >> (shift / 3));
            (0..3).for_each(|i| self.out(0x1F3 + i, W8, lba >> (8 * i + shift) & 0xFF));
        }
        self.out(0x1F6, W8, 0x40);
        self.out(0x1F7, W8, code.into());
    }
    fn command28(&mut self, lba: u64, count: u8, code: u8) {
        self.out(0x1F2, W8, count.into());
        (0..3).for_each(|i| self.out(0x1F3 + i, W8, lba >> (8 * i) & 0xFF));
        self.out(0x1F6, W8, 0xE0 | lba >> 24 & 0xF);
        self.out(0x1F7, W8, code.into());
    }
    /// Puts a list of regions at 0x1000 and starts the bus master.
    fn prds(&mut self, regions: &[(u32, u16)], read: bool) {
        for (i, (base, len)) in regions.iter().enumerate() {
            let last = if i + 1 == regions.len() { 0x8000_0000 } else { 0 };
            let entry = [base.to_le_bytes(), (u32::from(*len) | last).to_le_bytes()].concat();
            self.b.ram[0x1000 + 8 * i..][..8].copy_from_slice(&entry);
        }
        self.out(0xC004, W32, 0x1000);
        self.out(0xC002, W8, 6);
        self.out(0xC000, W8, if read { 8 } else { 0 });
    }
    fn start(&mut self) {
        let v = self.inp(0xC000, W8);
        self.out(0xC000, W8, v | 1);
    }
    fn packet(&mut self, packet: [u8; 12], limit: u16, dma: bool) {
        self.out(0x171, W8, dma.into());
        self.out(0x174, W16, limit.into());
        self.out(0x176, W8, 0xA0);
        self.out(0x177, W8, 0xA0);
        assert_eq!((self.b8(0x376), self.b8(0x172) & 7), (0x58, 1));
        for pair in packet.chunks(2) {
            self.out(0x170, W16, u16::from_le_bytes([pair[0], pair[1]]).into());
        }
    }
    /// A packet command by PIO: all its data, and the last status and error.
    fn packet_in(&mut self, packet: [u8; 12], limit: u16) -> (Vec<u8>, u8, u8) {
        self.packet(packet, limit, false);
        let mut data = Vec::new();
        for _ in 0..1000 {
            self.serve();
            let status = self.b8(0x177);
            if status & 8 == 0 {
                assert_eq!(self.b8(0x172) & 7, 3);
                return (data, status, self.b8(0x171));
            }
            assert_eq!(self.b8(0x172) & 7, 2);
            let n = self.inp(0x174, W16) as usize;
            assert!(n != 0 && n <= limit.into());
            for _ in 0..n.div_ceil(2) {
                let word = self.inp(0x170, W16) as u16;
                data.extend(word.to_le_bytes());
            }
            data.truncate(data.len() - n % 2);
        }
        panic!("no end");
    }
    fn sense(&mut self) -> [u8; 3] {
        let (d, ..) = self.packet_in([3, 0, 0, 0, 18, 0, 0, 0, 0, 0, 0, 0], 18);
        [d[2], d[12], d[13]]
    }
    fn tur(&mut self) -> u8 {
        self.packet_in([0; 12], 0xFFFE).2 >> 4
    }
    fn irq(&self, n: u16) -> bool {
        self.b.pin(Pin(n))
    }
}

fn words(bytes: &[u8]) -> Vec<u16> {
    bytes.as_chunks().0.iter().map(|w| u16::from_le_bytes(*w)).collect()
}

#[test]
fn firmware_finds_what_is_there_and_nothing_else() {
    let mut t = Board::new();
    let shown = |t: &mut Board, base: u64, v: u64| {
        t.out(base + 6, W8, v);
        [2, 3, 4, 5, 7].map(|i| t.b8(base + i))
    };
    assert_eq!(shown(&mut t, 0x1F0, 0xA0), [1, 1, 0, 0, 0x50]);
    assert_eq!(shown(&mut t, 0x1F0, 0xB0)[4], 0, "no slave");
    assert_eq!(shown(&mut t, 0x170, 0xA0), [1, 1, 0x14, 0xEB, 0x50]);
    t.out(0x1F7, W8, 0xEC);
    assert_eq!((t.b8(0x1F7), t.irq(14)), (0, false), "nobody to answer");
    // Software reset, as SeaBIOS and libata do it.
    t.out(0x376, W8, 0xA);
    t.out(0x376, W8, 0xE);
    assert_eq!(t.b8(0x177), 0x80);
    t.out(0x376, W8, 0x8);
    assert_eq!(shown(&mut t, 0x170, 0xA0), [1, 1, 0x14, 0xEB, 0]);
    // A channel without drives does not keep what is written.
    let mut none = Piix3Ide::new([None, None, None, None]);
    none.write(Reg { bank: 8, at: 2 }, W8, 0x55, &mut t.b);
    assert_eq!(none.read(Reg { bank: 8, at: 2 }, W8, &mut t.b), 0);
    assert_eq!(t.b.windows[&8].base, 0x1F0);
}

#[test]
fn identify_is_read_word_by_word() {
    let mut t = Board::new();
    t.command28(0, 0, 0xEC);
    assert!(t.irq(14));
    assert_eq!((t.b8(0x1F7), t.irq(14)), (0x58, false));
    let d: Vec<u8> = (0..128).flat_map(|_| (t.inp(0x1F0, W32) as u32).to_le_bytes()).collect();
    let w = words(&d);
    assert_eq!(t.b8(0x1F7), 0x50);
    // As QEMU's disk of this length has it.
    let rows = [
        (0, 0x40),
        (1, 130),
        (3, 16),
        (6, 63),
        (10, 0x514D),
        (27, 0x5145),
        (47, 0x8010),
        (49, 0xB00),
        (53, 7),
        (54, 130),
        (57, 0xFFE0),
        (58, 1),
        (59, 0x110),
        (60, 0),
        (61, 2),
        (63, 7),
        (80, 0xF0),
        (83, 0x7400),
        (88, 0x203F),
        (93, 0x6001),
        (100, 0),
        (101, 2),
        (106, 0x6000),
        (169, 1),
    ];
    for (n, v) in rows {
        assert_eq!(w[n], v, "word {n}");
    }
    // A CD says what it is when asked for a disk, and who it is when asked rightly.
    t.out(0x176, W8, 0xA0);
    t.out(0x177, W8, 0xEC);
    assert_eq!([1, 4, 5, 7].map(|i| t.b8(0x170 + i)), [4, 0x14, 0xEB, 0x41]);
    t.out(0x177, W8, 0xA1);
    assert_eq!((t.b8(0x177), t.inp(0x170, W16)), (0x58, 0x85C0));
}

#[test]
fn sectors_are_read_and_written_by_pio() {
    let mut t = Board::new();
    t.command28(1000, 3, 0x20);
    assert_eq!(t.b8(0x3F6), 0xD0);
    assert_eq!(t.b.asked.len(), 1, "one request for the command");
    t.serve();
    for n in 1000..1003u32 {
        assert!(t.irq(14));
        assert_eq!(t.b8(0x1F7), 0x58);
        let d: Vec<u8> = (0..256).flat_map(|_| (t.inp(0x1F0, W16) as u16).to_le_bytes()).collect();
        assert_eq!((&d[..4], d[511]), (&n.to_le_bytes()[..], n as u8));
    }
    assert_eq!((t.b8(0x1F7), t.irq(14)), (0x50, false));
    // 16 sectors at once.
    t.command48(5, 20, 0x39);
    assert_eq!((t.irq(14), t.b8(0x1F7)), (false, 0x58), "the first block without an interrupt");
    (0..16 * 128).for_each(|i| t.out(0x1F0, W32, i));
    assert!(t.irq(14));
    assert_eq!(t.b8(0x1F7), 0x58);
    (0..4 * 128).for_each(|i| t.out(0x1F0, W32, 0x1_0000 | i));
    assert_eq!((t.b8(0x1F7), t.irq(14)), (0xD0, false));
    t.serve();
    assert_eq!((t.irq(14), t.b8(0x1F7)), (true, 0x50));
    assert_eq!(t.disk[5 * 512 + 4..][..4], [1, 0, 0, 0]);
    assert_eq!(t.disk[21 * 512..][..4], [0, 0, 1, 0]);
    // 256 sectors come in two parts, so that never much is on its way.
    t.command28(0, 0, 0xC4);
    let mut all = Vec::new();
    for _ in 0..16 {
        t.serve();
        assert_eq!(t.b8(0x1F7), 0x58);
        all.extend((0..2048).flat_map(|_| (t.inp(0x1F0, W32) as u32).to_le_bytes()));
    }
    assert_eq!((t.b8(0x1F7), all == t.disk[..0x2_0000]), (0x50, true));
}

#[test]
fn dma_goes_over_odd_regions() {
    let mut t = Board::new();
    t.command48(77, 8, 0x25);
    t.prds(&[(0x2002, 1000), (0x8000, 2), (0x3000, 3094)], true);
    assert!(t.b.asked.is_empty(), "the bus master was not started");
    t.start();
    assert_eq!(t.inp(0xC002, W8), 1);
    t.serve();
    assert!(t.irq(14));
    assert_eq!((t.inp(0xC002, W8), t.b8(0x1F7), t.irq(14)), (4, 0x50, false));
    let all =
        [&t.b.ram[0x2002..0x23EA], &t.b.ram[0x8000..0x8002], &t.b.ram[0x3000..0x3C16]].concat();
    assert!(all == t.disk[77 * 512..85 * 512]);
    // And back elsewhere; the bus master first, 64 KiB as zero.
    t.prds(&[(0x10_0000, 0)], false);
    t.start();
    t.b.ram[0x10_0000..0x11_0000].fill(0xA5);
    t.command28(1, 128, 0xCA);
    t.serve();
    assert_eq!(t.inp(0xC002, W8), 4);
    assert!(t.disk[512..129 * 512].iter().all(|b| *b == 0xA5) && t.disk[129 * 512] == 129);
}

#[test]
fn short_and_long_lists_show_in_the_status() {
    let mut t = Board::new();
    for (len, want, irq) in [(512, 0, false), (1024, 4, true), (1536, 5, true)] {
        t.command28(0, 2, 0xC8);
        t.prds(&[(0x2000, len)], true);
        t.start();
        t.serve();
        assert_eq!((t.inp(0xC002, W8), t.irq(14)), (want, irq), "{len} bytes");
        assert_eq!(t.b8(0x1F7), 0x50);
        t.out(0xC000, W8, 0);
    }
    // Memory that is not there.
    t.command28(0, 2, 0xC8);
    t.prds(&[(0xF000_0000, 1024)], true);
    t.start();
    t.serve();
    assert_eq!((t.inp(0xC002, W8), t.b8(0x1F1), t.b8(0x1F7)), (6, 0x84, 0x41));
}

#[test]
fn errors_are_told_apart() {
    let mut t = Board::new();
    t.command28(131_071, 2, 0x20);
    assert_eq!((t.b8(0x1F1), t.b8(0x1F7), t.b.asked.len()), (0x10, 0x41, 0));
    t.command48(1234, 2, 0x24);
    t.answer(Err(DiskError::Io));
    assert_eq!((t.irq(14), t.b8(0x1F1), t.b8(0x1F7)), (true, 0x40, 0x41));
    assert_eq!((t.b8(0x1F3), t.b8(0x1F4)), (0xD2, 4));
    t.command28(0, 1, 0xFF);
    assert_eq!((t.b8(0x1F1), t.b8(0x1F7)), (4, 0x41));
    t.d.input(
        Input::Medium { unit: 0, medium: Some(Medium { read_only: true, ..medium(1 << 20, 512) }) },
        &mut t.b,
    );
    t.command28(0, 1, 0xCA);
    assert_eq!((t.b8(0x1F1), t.b8(0x1F7)), (4, 0x41));
}

#[test]
fn settings_are_kept_and_shown() {
    let mut t = Board::new();
    let features = |t: &mut Board, sub: u64, v: u8| {
        t.out(0x1F1, W8, sub);
        t.command28(0, v, 0xEF);
        t.serve();
        t.b8(0x1F7)
    };
    assert_eq!(features(&mut t, 3, 0x22), 0x50);
    assert_eq!(features(&mut t, 3, 0x4F), 0x41);
    assert_eq!(features(&mut t, 0x82, 0), 0x50);
    assert_eq!(features(&mut t, 0x77, 0), 0x41);
    t.command28(0, 8, 0xC6);
    assert_eq!(t.b8(0x1F7), 0x50);
    t.command28(0, 5, 0xC6);
    assert_eq!(t.b8(0x1F7), 0x41);
    t.command28(0, 0, 0xEC);
    let w: Vec<u16> = (0..256).map(|_| t.inp(0x1F0, W16) as u16).collect();
    assert_eq!((w[59], w[63], w[85] & 0x20, w[88]), (0x108, 0x0407, 0, 0x3F));
    // Without the cache writes are safe when they are answered.
    t.command28(9, 1, 0x30);
    (0..256).for_each(|_| t.out(0x1F0, W16, 0));
    assert!(matches!(t.b.asked[0], Request::Disk { op: DiskOp::Write { fua: true, .. }, .. }));
    t.serve();
    t.command28(0, 0, 0xE7);
    assert!(matches!(t.b.asked[0], Request::Disk { op: DiskOp::Flush, .. }));
    assert_eq!(t.b8(0x1F7), 0xD0);
    t.serve();
    assert_eq!((t.irq(14), t.b8(0x1F7)), (true, 0x50));
    t.command48(0, 0, 0x27);
    assert_eq!([3, 4, 5].map(|i| t.b8(0x1F0 + i)), [0xFF, 0xFF, 1]);
    t.out(0x3F6, W8, 0x80);
    assert_eq!([3, 4, 5].map(|i| t.b8(0x1F0 + i)), [0, 0, 0]);
    t.command28(0, 0, 0xE5);
    assert_eq!(t.b8(0x1F2), 0xFF);
}

#[test]
fn cylinders_heads_and_sectors_are_where_they_were() {
    let mut t = Board::new();
    // 8 heads of 32 sectors; then cylinder 3, head 2, sector 5.
    t.out(0x1F2, W8, 32);
    t.out(0x1F6, W8, 0xA7);
    t.out(0x1F7, W8, 0x91);
    for (i, v) in [(2, 1), (3, 5), (4, 3), (5, 0), (6, 0xA2), (7, 0x20)] {
        t.out(0x1F0 + i, W8, v);
    }
    t.serve();
    assert_eq!(t.inp(0x1F0, W16), (3 * 8 + 2) * 32 + 4);
    t.out(0x3F6, W8, 4);
    t.out(0x3F6, W8, 0);
    for (i, v) in [(2, 1), (3, 33), (6, 0xA2), (7, 0x20)] {
        t.out(0x1F0 + i, W8, v);
    }
    assert_eq!((t.b8(0x1F1), t.b8(0x1F7)), (0x10, 0x41), "there is no such sector");
}

#[test]
fn smart_says_that_all_is_well() {
    let mut t = Board::new();
    let mut smart = |sub: u64, lba: u64| {
        t.out(0x1F1, W8, sub);
        t.command28(0xC2_4F00 | lba, 1, 0xB0);
        let status = t.b8(0x1F7);
        let n = if status & 8 != 0 { 256 } else { 0 };
        let d: Vec<u8> = (0..n).flat_map(|_| (t.inp(0x1F0, W16) as u16).to_le_bytes()).collect();
        (status, d, [t.b8(0x1F4), t.b8(0x1F5)])
    };
    assert_eq!(smart(0xDA, 0), (0x50, vec![], [0x4F, 0xC2]));
    for sub in [0xD0, 0xD1] {
        let (status, d, _) = smart(sub, 0);
        assert_eq!((status, d.iter().fold(0u8, |a, b| a.wrapping_add(*b))), (0x58, 0));
        assert_eq!((d[0], d[2]), (1, 1));
    }
    assert_eq!(smart(0xD4, 1).0, 0x50);
    let (_, log, _) = smart(0xD5, 6);
    assert_eq!((log[2], log[508]), (1, 1));
    assert_eq!(smart(0xD9, 0).0, 0x50);
    assert_eq!(smart(0xD0, 0).0, 0x41, "it is off");
}

#[test]
fn trimmed_sectors_are_discarded() {
    let mut t = Board::new();
    let ranges = [(100u64, 8u64), (0, 0), (5000, 2)];
    for (i, (at, n)) in ranges.into_iter().enumerate() {
        t.b.ram[0x2000 + 8 * i..][..8].copy_from_slice(&(at | n << 48).to_le_bytes());
    }
    t.prds(&[(0x2000, 512)], false);
    t.start();
    t.out(0x1F1, W8, 1);
    t.command48(0, 1, 0x06);
    assert_eq!(t.b.asked.len(), 2);
    t.serve();
    assert_eq!((t.irq(14), t.b8(0x1F7)), (true, 0x50));
    assert_eq!((t.disk[100 * 512], t.disk[108 * 512], t.disk[5001 * 512 + 511]), (0, 108, 0));
}

#[test]
fn a_reset_gives_up_what_is_under_way() {
    let mut t = Board::new();
    t.command28(0, 1, 0x20);
    let Some(Request::Disk { tag, .. }) = t.b.asked.pop() else { panic!() };
    t.out(0x3F6, W8, 4);
    assert_eq!(t.b.asked, [Request::DiskAbandon { unit: 0 }]);
    t.out(0x3F6, W8, 0);
    t.d.input(Input::Disk { unit: 0, tag, result: Ok(vec![0; 512].into()) }, &mut t.b);
    assert_eq!((t.b8(0x1F7), t.b8(0x1F1), t.irq(14)), (0x50, 1, false));
    t.b.asked.clear();
    t.command28(0, 1, 0x20);
    t.b.asked.clear();
    t.d.reset();
    t.d.settle(&mut t.b);
    assert_eq!(t.b.asked, [Request::DiskAbandon { unit: 0 }]);
    t.b.asked.clear();
    t.d.settle(&mut t.b);
    assert!(t.b.asked.is_empty());
}

#[test]
fn interrupts_wait_behind_nien() {
    let mut t = Board::new();
    t.out(0x3F6, W8, 2);
    t.command28(0, 0, 0xE7);
    t.serve();
    assert_eq!((t.irq(14), t.inp(0xC002, W8) & 4), (false, 0));
    t.out(0x3F6, W8, 0);
    assert_eq!((t.irq(14), t.inp(0xC002, W8) & 4), (true, 4));
    assert_eq!((t.b8(0x3F6), t.irq(14)), (0x50, true), "the alternate status ends none");
    t.b8(0x1F7);
    assert!(!t.irq(14));
}

#[test]
fn a_cd_is_read_by_packets() {
    let mut t = Board::new();
    assert_eq!(t.tur(), 0);
    let (d, status, _) = t.packet_in([0x12, 0, 0, 0, 36, 0, 0, 0, 0, 0, 0, 0], 0xFFFE);
    assert_eq!(
        (status, d[0], d[1], &d[8..36]),
        (0x50, 5, 0x80, &b"QEMU    QEMU DVD-ROM    2.5+"[..])
    );
    let (d, ..) = t.packet_in([0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 8);
    assert_eq!(d, [0, 0, 0x13, 0xFF, 0, 0, 8, 0]);
    // 40 sectors, 4096 bytes at a time.
    let (d, ..) = t.packet_in([0x28, 0, 0, 0, 1, 0, 0, 0, 40, 0, 0, 0], 4096);
    assert!(d == t.cd[256 * 2048..296 * 2048]);
    let (d, ..) = t.packet_in([0xBE, 0, 0, 0, 0, 7, 0, 0, 2, 0xF8, 0, 0], 0xFFFE);
    assert_eq!((d.len(), &d[12..16], &d[16..20]), (4704, &[0, 2, 7, 1][..], &[7, 0, 0, 0][..]));
    let (_, status, error) = t.packet_in([0x28, 0, 0, 0, 0x14, 0, 0, 0, 1, 0, 0, 0], 2048);
    assert_eq!((status, error), (0x41, 0x50));
    assert_eq!((t.sense(), t.sense()), ([5, 0x21, 0], [0, 0, 0]));
    let (d, ..) = t.packet_in([0x43, 2, 0, 0, 0, 0, 0, 0, 99, 0, 0, 0], 99);
    assert_eq!(d, [0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 2, 0, 0, 0x16, 0xAA, 0, 0, 1, 10, 20]);
    let (d, ..) = t.packet_in([0x5A, 0, 0x2A, 0, 0, 0, 0, 0, 128, 0, 0, 0], 128);
    assert_eq!((usize::from(d[1]) + 2, d[8], d[9]), (d.len(), 0x2A, 0x12));
    let (d, ..) = t.packet_in([0x46, 0, 0, 0, 0, 0, 0, 0, 128, 0, 0, 0], 128);
    assert_eq!((usize::from(d[3]) + 4, d[7]), (d.len(), 8));
    assert_eq!(t.packet_in([0x99; 12], 8).1, 0x41);
    assert_eq!(t.sense(), [5, 0x20, 0]);
}

#[test]
fn a_cd_is_read_by_dma() {
    let mut t = Board::new();
    let entry = [0x2000u32.to_le_bytes(), 0x8000_1000u32.to_le_bytes()].concat();
    t.b.ram[0x1000..0x1008].copy_from_slice(&entry);
    t.out(0xC00C, W32, 0x1000);
    t.out(0xC008, W8, 9);
    t.packet([0x28, 0, 0, 0, 0, 9, 0, 0, 2, 0, 0, 0], 0, true);
    t.serve();
    assert_eq!((t.irq(15), t.inp(0xC00A, W8), t.b8(0x177), t.b8(0x172) & 7), (true, 4, 0x50, 3));
    assert!(t.b.ram[0x2000..0x3000] == t.cd[9 * 2048..11 * 2048]);
}

#[test]
fn a_changed_medium_is_noticed() {
    let mut t = Board::new();
    let event = |t: &mut Board| {
        let p = [0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8, 0, 0, 0];
        let (d, ..) = t.packet_in(p, 8);
        [d[4], d[5]]
    };
    assert_eq!(event(&mut t), [0, 2]);
    t.packet_in([0x1E, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0], 8);
    t.d.input(Input::EjectRequest { unit: 2 }, &mut t.b);
    assert_eq!(event(&mut t), [1, 2], "locked: the guest is asked");
    let eject = [0x1B, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(t.packet_in(eject, 8).1, 0x41);
    assert_eq!(t.sense(), [2, 0x53, 2]);
    t.packet([0x1E, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 8, false);
    assert!(matches!(t.b.asked[0], Request::Disk { unit: 2, op: DiskOp::Lock(false), .. }));
    t.serve();
    t.packet(eject, 8, false);
    assert!(matches!(t.b.asked[0], Request::Disk { op: DiskOp::Tray { open: true }, .. }));
    t.serve();
    assert_eq!((t.tur(), event(&mut t)), (2, [0, 3]));
    t.d.input(Input::Medium { unit: 2, medium: None }, &mut t.b);
    assert_eq!(event(&mut t), [0, 1]);
    t.d.input(Input::Medium { unit: 2, medium: Some(medium(4096, 2048)) }, &mut t.b);
    assert_eq!(event(&mut t), [2, 2]);
    assert_eq!([t.tur(), t.tur(), t.tur()], [2, 6, 0]);
}

#[test]
fn a_machine_saved_in_a_command_goes_on() {
    let mut t = Board::new();
    t.command48(77, 2, 0x25);
    t.prds(&[(0x2000, 1024)], true);
    t.start();
    let saved = t.d.save();
    let mut other = make();
    other.load(&saved).unwrap();
    other.settle(&mut t.b);
    tell_media(&mut other, &mut t.b);
    assert_eq!(other.save(), saved);
    t.d = other;
    t.serve();
    assert_eq!((t.irq(14), t.inp(0xC002, W8), t.b8(0x1F7)), (true, 4, 0x50));
    assert!(t.b.ram[0x2000..0x2400] == t.disk[77 * 512..79 * 512]);
    // In the middle of a block.
    t.command28(3, 1, 0x20);
    t.serve();
    t.inp(0x1F0, W16);
    let saved = t.d.save();
    let mut other = make();
    other.load(&saved).unwrap();
    tell_media(&mut other, &mut t.b);
    t.d = other;
    assert_eq!(t.b8(0x1F7), 0x58);
    (0..255).for_each(|_| assert!(t.inp(0x1F0, W16) < 0x400));
    assert_eq!(t.b8(0x1F7), 0x50);
    // All of a block was written, and the disk is at work.
    t.command28(9, 1, 0x30);
    (0..256).for_each(|n| t.out(0x1F0, W16, n));
    let mut other = make();
    other.load(&t.d.save()).unwrap();
    tell_media(&mut other, &mut t.b);
    t.d = other;
    t.serve();
    assert_eq!((t.b8(0x1F7), t.disk[9 * 512 + 510]), (0x50, 255));
    // A machine with other drives does not take it.
    let mut wrong = Piix3Ide::new([None, None, Some(DriveConfig::cd()), None]);
    let before = wrong.save();
    assert!(wrong.load(&saved).is_err());
    assert_eq!(wrong.save(), before);
    assert!(t.d.describe().contains("primary master: QEMU HARDDISK QM00001: 64 MiB"));
}
