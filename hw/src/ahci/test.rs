use super::*;
use Width::*;

const LIST: u64 = 0x1_0000;
const RECEIVED: usize = 0x2_0000;
const TABLE: usize = 0x3_0000;
const DISK: u64 = 64 << 20;

/// Memory, the function, a disk at port 0 and a CD at port 1.
struct Board {
    d: Ahci,
    b: Bench,
    disk: Vec<u8>,
    port: usize,
}

fn make() -> Ahci {
    Ahci::new([Some(DriveConfig::disk()), Some(DriveConfig::cd()), None, None, None, None])
}
fn tell_media(d: &mut Ahci, b: &mut Bench) {
    let medium = |len, block| {
        let (physical, read_only) = (block, block == 2048);
        Some(Medium { len, read_only, block, physical, write_cache: true })
    };
    d.input(Input::Medium { unit: 0, medium: medium(DISK, 512) }, b);
    d.input(Input::Medium { unit: 1, medium: medium(1 << 20, 2048) }, b);
}
fn reg(at: u64) -> Reg {
    Reg { bank: 5, at }
}
/// A register frame.
fn command(code: u8, lba: u64, count: u16, feature: u16, device: u8) -> [u8; 20] {
    let (l, c, f) = (lba.to_le_bytes(), count.to_le_bytes(), feature.to_le_bytes());
    [
        0x27, 0x80, code, f[0], l[0], l[1], l[2], device, l[3], l[4], l[5], f[1], c[0], c[1], 0, 0,
        0, 0, 0, 0,
    ]
}
fn queued(write: bool, slot: u16, lba: u64, count: u16) -> [u8; 20] {
    command(if write { 0x61 } else { 0x60 }, lba, slot << 3, count, 0x40)
}

impl Board {
    fn new() -> Self {
        let (mut d, mut b) = (make(), Bench::with_ram(2 << 20));
        d.config_mut().write(4, W16, 7);
        d.settle(&mut b);
        tell_media(&mut d, &mut b);
        let mut disk = vec![0; DISK as usize];
        for (n, s) in disk.chunks_mut(512).enumerate() {
            s[..4].copy_from_slice(&(n as u32).to_le_bytes());
        }
        let mut t = Self { d, b, disk, port: 0 };
        t.w(4, 0x8000_0002);
        t.start_port(0);
        t.start_port(1);
        t.port = 0;
        t
    }
    fn r(&mut self, at: u64) -> u32 {
        self.d.read(reg(at), W32, &mut self.b) as u32
    }
    fn w(&mut self, at: u64, v: u32) {
        self.d.write(reg(at), W32, v.into(), &mut self.b);
    }
    fn p(&mut self, at: u64) -> u32 {
        self.r(0x100 + 0x80 * self.port as u64 + at)
    }
    fn pw(&mut self, at: u64, v: u32) {
        self.w(0x100 + 0x80 * self.port as u64 + at, v);
    }
    /// As drivers do: receive first, then start.
    fn start_port(&mut self, n: usize) {
        self.port = n;
        self.pw(0x00, LIST as u32 + 0x400 * n as u32);
        self.pw(0x08, RECEIVED as u32 + 0x100 * n as u32);
        self.pw(0x18, 0x16);
        assert_eq!(self.p(0x18), 0x4016);
        self.pw(0x30, u32::MAX);
        self.pw(0x10, u32::MAX);
        self.pw(0x14, u32::MAX);
        self.pw(0x18, 0x17);
        assert_eq!(self.p(0x18), 0xC017);
    }
    /// Puts a command into a slot, without saying so.
    fn put(
        &mut self,
        slot: usize,
        frame: [u8; 20],
        regions: &[(u64, u32)],
        packet: Option<[u8; 12]>,
    ) {
        let table = TABLE + 0x1000 * slot;
        self.b.ram[table..table + 20].copy_from_slice(&frame);
        self.b.ram[table + 0x40..table + 0x4C].copy_from_slice(&packet.unwrap_or_default());
        for (i, (base, len)) in regions.iter().enumerate() {
            let entry = [base.to_le_bytes(), (u64::from(len - 1) << 32).to_le_bytes()];
            self.b.ram[table + 0x80 + 16 * i..][..16].copy_from_slice(&entry.concat());
        }
        let flags = 5 | if packet.is_some() { 0x20 } else { 0 } | (regions.len() as u32) << 16;
        let at = LIST as usize + 0x400 * self.port + 32 * slot;
        self.b.ram[at..at + 4].copy_from_slice(&flags.to_le_bytes());
        self.b.ram[at + 8..at + 16].copy_from_slice(&(table as u64).to_le_bytes());
    }
    fn issue(&mut self, slot: usize, frame: [u8; 20], regions: &[(u64, u32)]) {
        self.put(slot, frame, regions, None);
        if matches!(frame[2], 0x60 | 0x61) {
            self.pw(0x34, 1 << slot);
        }
        self.pw(0x38, 1 << slot);
    }
    fn serve(&mut self) {
        while let Some(n) = (!self.b.asked.is_empty()).then_some(0) {
            self.serve_one(n);
        }
    }
    /// Answers the `n`th request that waits.
    fn serve_one(&mut self, n: usize) {
        let Request::Disk { unit, tag, op } = self.b.asked.remove(n) else { return };
        let result: Result<_, DiskError> = Ok(match op {
            DiskOp::Read { at, len } => self.disk[at as usize..][..len as usize].to_vec(),
            DiskOp::Write { at, data, .. } => {
                self.disk[at as usize..][..data.len()].copy_from_slice(&data);
                Vec::new()
            }
            _ => Vec::new(),
        });
        self.d.input(Input::Disk { unit, tag, result: result.map(Buffer::from) }, &mut self.b);
    }
    fn fail(&mut self, n: usize, why: DiskError) {
        let Request::Disk { unit, tag, .. } = self.b.asked.remove(n) else { panic!("no request") };
        self.d.input(Input::Disk { unit, tag, result: Err(why) }, &mut self.b);
    }
    fn frame(&self, at: usize, len: usize) -> Vec<u8> {
        self.b.ram[RECEIVED + 0x100 * self.port + at..][..len].to_vec()
    }
    fn moved(&self, slot: usize) -> u32 {
        let at = LIST as usize + 0x400 * self.port + 32 * slot + 4;
        u32::from_le_bytes(self.b.ram[at..at + 4].try_into().unwrap())
    }
    fn number(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.b.ram[at..at + 4].try_into().unwrap())
    }
    /// Stops and starts the port, as drivers do after an error.
    fn restart(&mut self) {
        self.pw(0x18, 0x16);
        assert_eq!((self.p(0x38), self.p(0x34)), (0, 0));
        self.pw(0x30, u32::MAX);
        self.pw(0x10, u32::MAX);
        self.pw(0x18, 0x17);
    }
    fn intx(&self) -> bool {
        self.d.config().intx() == Some(0)
    }
    /// A packet command at the CD.
    fn packet(&mut self, packet: [u8; 12], dma: bool, room: u32) {
        self.port = 1;
        let frame = command(0xA0, 0xFF_FF00, 0, dma as u16, 0);
        let regions = [(0x10_0000, room)];
        self.put(0, frame, if room == 0 { &[] } else { &regions }, Some(packet));
        self.pw(0x38, 1);
        self.serve();
    }
}

#[test]
fn a_driver_finds_ports_and_drives() {
    let (mut d, mut b) = (make(), Bench::with_ram(0));
    let mut r = |at| d.read(reg(at), W32, &mut b);
    assert_eq!([0, 4, 8, 0xC, 0x10].map(&mut r), [0xC014_1F05, 0x8000_0000, 0, 0x3F, 0x1_0000]);
    assert_eq!([0x118, 0x120, 0x124, 0x128].map(&mut r), [6, 0x7F, 0xFFFF_FFFF, 0x113]);
    assert_eq!([0x318, 0x320, 0x324, 0x328].map(&mut r), [6, 0x7F, 0xFFFF_FFFF, 0]);
    let c = d.config();
    assert_eq!((c.u32(0), c.u32(8), c.u8(0x34)), (0x2922_8086, 0x0106_0102, 0x80));
    assert_eq!(
        (c.u32(0x80), c.u32(0xA8), c.u32(0xAC), c.u8(0x90)),
        (0x0080_A805, 0x0010_0012, 0x48, 0x40)
    );
    let mut t = Board::new();
    assert_eq!((t.p(0x20), t.p(0x24)), (0x150, 0x101));
    t.port = 1;
    assert_eq!((t.p(0x20), t.p(0x24)), (0x150, 0xEB14_0101));
    assert_eq!(t.frame(0x40, 14), [0x34, 0x40, 0x50, 1, 1, 0x14, 0xEB, 0, 0, 0, 0, 0, 1, 0]);
    t.d.write(Reg { bank: 4, at: 0x10 }, W32, 0x128, &mut t.b);
    assert_eq!(t.d.read(Reg { bank: 4, at: 0x14 }, W32, &mut t.b), 0x113);
    assert_eq!(t.d.read(reg(0x124), W64, &mut t.b), 0x113_0000_0101, "two registers");
}

#[test]
fn identify_comes_as_pio_data() {
    let mut t = Board::new();
    t.issue(3, command(0xEC, 0, 0, 0, 0), &[(0x10_0000, 512)]);
    assert_eq!((t.p(0x38), t.p(0x10), t.p(0x20), t.moved(3)), (0, 3, 0x50, 512));
    let w = |n: usize| u16::from_le_bytes([t.b.ram[0x10_0000 + 2 * n], t.b.ram[0x10_0001 + 2 * n]]);
    assert_eq!([0, 10, 12, 75, 76, 93, 101].map(w), [0x40, 0x514D, 0x3030, 31, 0x102, 0, 2]);
    assert_eq!(t.frame(0x20, 4), [0x5F, 0x60, 0x58, 0]);
    assert_eq!(t.frame(0x2F, 3), [0x50, 0, 2]);
    assert!(t.intx() && t.r(8) == 1);
    t.pw(0x10, 3);
    assert!(!t.intx());
}

#[test]
fn dma_goes_both_ways_over_odd_regions() {
    let mut t = Board::new();
    let regions = [(0x10_0000, 6), (0x11_0000, 1000), (0x12_0000, 8192)];
    t.issue(0, command(0x25, 100, 4, 0, 0x40), &regions);
    assert_eq!((t.b.asked.len(), t.p(0x20), t.p(0x38)), (1, 0xD0, 1));
    t.serve();
    assert_eq!((t.p(0x10), t.p(0x38), t.moved(0)), (1, 0, 2048));
    let r = &t.b.ram;
    let all =
        [&r[0x10_0000..0x10_0006], &r[0x11_0000..0x11_03E8], &r[0x12_0000..0x12_0412]].concat();
    assert!(all == t.disk[100 * 512..104 * 512]);
    t.issue(1, command(0x35, 200, 4, 0, 0x40), &regions);
    t.serve();
    assert!(t.disk[200 * 512..204 * 512] == all);
    t.issue(2, command(0x3D, 200, 4, 0, 0x40), &regions);
    assert!(matches!(t.b.asked[0], Request::Disk { op: DiskOp::Write { fua: true, .. }, .. }));
    t.serve();
    // Too little room: over, with less moved.
    t.issue(2, command(0x25, 100, 4, 0, 0x40), &regions[..2]);
    t.serve();
    assert_eq!((t.p(0x38), t.moved(2), t.p(0x10) & 1 << 24), (0, 1006, 1 << 24));
    // PIO, which is the same here.
    t.issue(4, command(0x24, 9, 2, 0, 0x40), &[(0x10_0000, 1024)]);
    t.serve();
    assert_eq!((t.number(0x10_0200), t.moved(4)), (10, 1024));
}

#[test]
fn queued_commands_end_in_any_order() {
    let mut t = Board::new();
    for slot in 0..4 {
        let frame = queued(slot == 2, slot as u16, 1000 + 8 * slot as u64, 8);
        t.issue(slot, frame, &[(0x10_0000 + 0x1000 * slot as u64, 4096)]);
    }
    t.b.ram[0x10_2000] = 0xEE;
    assert_eq!((t.p(0x38), t.p(0x34), t.b.asked.len(), t.p(0x10)), (0, 0xF, 4, 0));
    t.serve_one(3);
    assert_eq!((t.p(0x34), t.p(0x10), t.number(0x10_3000)), (7, 8, 1024));
    assert_eq!(t.frame(0x58, 8), [0xA1, 0x40, 0x50, 0, 8, 0, 0, 0]);
    t.serve_one(0);
    t.serve_one(1);
    assert_eq!((t.p(0x34), t.number(0x10_0000), t.disk[1016 * 512]), (2, 1000, 0));
    // A command that is not queued waits for the queue.
    t.issue(9, command(0xEA, 0, 0, 0, 0), &[]);
    assert_eq!((t.p(0x38), t.b.asked.len()), (0x200, 1));
    t.serve_one(0);
    assert_eq!((t.p(0x34), t.b.asked.len()), (0, 1));
    t.serve_one(0);
    assert_eq!((t.p(0x38), t.p(0x20)), (0, 0x50));
    let mut frame = queued(true, 5, 0, 1);
    frame[7] |= 0x80;
    t.issue(5, frame, &[(0x10_0000, 512)]);
    assert!(matches!(t.b.asked[0], Request::Disk { op: DiskOp::Write { fua: true, .. }, .. }));
}

#[test]
fn a_queued_command_that_fails_stops_the_queue() {
    let mut t = Board::new();
    for slot in 0..3 {
        t.issue(slot, queued(false, slot as u16, 0x12_34 + slot as u64, 1), &[(0x10_0000, 512)]);
    }
    t.fail(1, DiskError::Io);
    assert!(matches!(t.b.asked.last(), Some(Request::DiskAbandon { unit: 0 })));
    assert_eq!((t.p(0x20), t.p(0x34)), (0x4041, 7));
    assert_eq!(t.p(0x10), 1 << 30 | 8);
    assert_eq!(t.frame(0x58, 8), [0xA1, 0x40, 0x41, 0x40, 0, 0, 0, 0]);
    t.b.asked.clear();
    t.issue(7, queued(false, 7, 0, 1), &[(0x10_0000, 512)]);
    assert_eq!((t.p(0x38), t.b.asked.len()), (0x80, 0), "nothing goes on");
    t.restart();
    // Which one was it?
    t.issue(0, command(0x2F, 0x10, 1, 0, 0), &[(0x10_0000, 512)]);
    let log = t.b.ram[0x10_0000..0x10_0200].to_vec();
    assert_eq!((log[0], log[2], log[3], &log[4..7]), (1, 0x41, 0x40, &[0x35, 0x12, 0][..]));
    assert_eq!(log.iter().fold(0u8, |a, b| a.wrapping_add(*b)), 0);
    t.issue(0, command(0x2F, 0x10, 1, 0, 0), &[(0x10_0000, 512)]);
    assert_eq!(t.b.ram[0x10_0000], 0x80, "it is told once");
    t.issue(0, queued(false, 0, DISK / 512, 1), &[(0x10_0000, 512)]);
    assert_eq!(t.p(0x20), 0x1041);
    t.restart();
    t.issue(0, queued(false, 0, 5, 1), &[(0x10_0000, 512)]);
    t.serve();
    assert_eq!((t.p(0x34), t.number(0x10_0000)), (0, 5));
}

#[test]
fn an_error_keeps_the_command_issued() {
    let mut t = Board::new();
    t.issue(5, command(0xFF, 0, 0, 0, 0), &[]);
    assert_eq!((t.p(0x38), t.p(0x20), t.p(0x10) >> 30 & 1), (0x20, 0x441, 1));
    t.restart();
    t.issue(5, command(0x25, 0, 1, 0, 0x40), &[(0x8000_0000, 512)]);
    t.serve();
    assert_eq!((t.p(0x10), t.p(0x38)), (1 << 29, 0x20));
    t.restart();
    t.issue(5, command(0x25, 7, 1, 0, 0x40), &[(0x10_0000, 512)]);
    t.serve();
    assert_eq!((t.p(0x38), t.number(0x10_0000)), (0, 7));
}

#[test]
fn resets_give_up_what_is_under_way() {
    let mut t = Board::new();
    t.issue(0, queued(false, 0, 5, 1), &[(0x10_0000, 512)]);
    let Some(Request::Disk { tag, .. }) = t.b.asked.pop() else { panic!() };
    // COMRESET.
    t.pw(0x18, 0x16);
    t.pw(0x2C, 0x301);
    assert_eq!(t.b.asked, [Request::DiskAbandon { unit: 0 }]);
    assert_eq!((t.p(0x20), t.p(0x24)), (0x7F, u32::MAX));
    t.pw(0x2C, 0x300);
    assert_eq!((t.p(0x20), t.p(0x24), t.p(0x28)), (0x150, 0x101, 0x113));
    t.d.input(Input::Disk { unit: 0, tag, result: Ok(vec![1; 512].into()) }, &mut t.b);
    assert_eq!((t.b.ram[0x10_0000], t.p(0x34)), (0, 0));
    // Software reset by two frames.
    t.b.asked.clear();
    t.restart();
    let control = |v| {
        let mut frame = command(0, 0, 0, 0, 0);
        (frame[1], frame[15]) = (0, v);
        frame
    };
    t.issue(0, control(4), &[]);
    assert_eq!((t.p(0x38), t.p(0x10)), (0, 0));
    t.issue(1, control(0), &[]);
    assert_eq!((t.p(0x38), t.p(0x10), t.p(0x20), t.p(0x24)), (0, 1, 0x150, 0x101));
    // Nobody behind a port multiplier.
    let mut frame = control(4);
    frame[1] = 0xF;
    t.issue(0, frame, &[]);
    assert_eq!(t.p(0x38), 0);
    // The whole adapter.
    t.issue(0, command(0x25, 0, 1, 0, 0x40), &[(0x10_0000, 512)]);
    t.b.asked.clear();
    t.w(4, 0x8000_0001);
    assert_eq!(t.b.asked, [Request::DiskAbandon { unit: 0 }]);
    assert_eq!((t.r(4), t.p(0x18), t.p(0x38)), (0x8000_0000, 6, 0));
}

#[test]
fn a_cd_takes_packets() {
    let mut t = Board::new();
    t.disk[..4].copy_from_slice(b"CD00");
    t.packet([0x12, 0, 0, 0, 36, 0, 0, 0, 0, 0, 0, 0], false, 36);
    assert_eq!(
        (t.p(0x38), t.p(0x10), t.moved(0), &t.b.ram[0x10_0008..0x10_000C]),
        (0, 3, 36, &b"QEMU"[..])
    );
    t.pw(0x10, u32::MAX);
    t.packet([0x28, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0], true, 4096);
    assert_eq!((t.p(0x10), t.moved(0), &t.b.ram[0x10_0000..0x10_0004]), (1, 4096, &b"CD00"[..]));
    t.packet([0x28, 0, 0, 1, 0, 0, 0, 0, 2, 0, 0, 0], true, 4096);
    assert_eq!((t.p(0x20), t.p(0x10) >> 30), (0x5041, 1));
    t.restart();
    t.packet([3, 0, 0, 0, 18, 0, 0, 0, 0, 0, 0, 0], true, 18);
    assert_eq!((t.b.ram[0x10_0002], t.b.ram[0x10_000C]), (5, 0x21));
    t.issue(0, queued(false, 0, 0, 1), &[(0x10_0000, 512)]);
    assert_eq!(t.p(0x20), 0x441, "a CD has no queue");
}

#[test]
fn messages_take_the_place_of_the_line() {
    let mut t = Board::new();
    for (at, w, v) in [(0x84, W32, 0x1000u64), (0x8C, W16, 0x55), (0x82, W16, 1)] {
        t.d.config_mut().write(at, w, v);
    }
    t.d.config_written(&mut t.b);
    t.issue(0, command(0xEC, 0, 0, 0, 0), &[(0x10_0000, 512)]);
    assert_eq!((t.number(0x1000), t.intx()), (0x55, false));
    t.b.ram[0x1000] = 0;
    t.pw(0x10, 1);
    assert_eq!(t.number(0x1000), 0x55, "the other bit still waits");
    t.b.ram[0x1000] = 0;
    t.pw(0x10, 2);
    t.w(8, 1);
    assert_eq!(t.number(0x1000), 0);
}

#[test]
fn a_machine_saved_in_a_queue_goes_on() {
    let mut t = Board::new();
    for slot in 0..5 {
        t.issue(
            slot,
            queued(slot == 1, slot as u16, 50 + slot as u64, 1),
            &[(0x10_0000 + 512 * slot as u64, 512)],
        );
    }
    let saved = t.d.save();
    let mut other = make();
    other.load(&saved).unwrap();
    other.settle(&mut t.b);
    tell_media(&mut other, &mut t.b);
    assert_eq!(other.save(), saved);
    t.d = other;
    t.serve();
    assert_eq!((t.p(0x34), t.number(0x10_0800)), (0, 54));
    t.issue(0, command(0x25, 7, 1, 0, 0x40), &[(0x10_0000, 512)]);
    let saved = t.d.save();
    let mut other = make();
    other.load(&saved).unwrap();
    tell_media(&mut other, &mut t.b);
    t.d = other;
    t.serve();
    assert_eq!((t.p(0x38), t.number(0x10_0000)), (0, 7));
    assert!(t.d.describe().contains("port 0: QEMU HARDDISK QM00001: 64 MiB"));
    let mut none = Ahci::new([const { None }; 6]);
    assert!(none.load(&saved).is_err());
}
