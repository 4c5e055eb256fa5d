//! The VGA beside QEMU's: the same accesses to both, the same answers and the same pictures.
//!
//! Needs `qemu-system-x86_64`, so it runs only when asked for: `cargo test -p hw --test vga -- --ignored`. QEMU's processor
//! stands still; its qtest protocol makes the accesses, and its monitor the pictures.

use device::{Bench, Device, Dma, Place, Reg, Seen, Space, Width};
use hw::pci::Function;
use hw::{Picture, Vga, VgaConfig};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const FRAMEBUFFER: u64 = 0xE000_0000;
const REGISTERS: u64 = 0xE100_0000;

/// A machine with a VGA.
trait Machine {
    fn port(&mut self, port: u16, w: Width) -> u64;
    fn set_port(&mut self, port: u16, w: Width, v: u64);
    fn memory(&mut self, at: u64, w: Width) -> u64;
    fn set_memory(&mut self, at: u64, bytes: &[u8]);
    fn picture(&mut self) -> Picture;
}

struct Ours {
    vga: Vga,
    bench: Bench,
}

impl Ours {
    fn new() -> Self {
        let (mut vga, mut bench) = (Vga::new(VgaConfig::default()), Bench::default());
        bench.backing.0 = vec![0; 16 << 20];
        let config = vga.config_mut();
        config.write(0x10, Width::W32, FRAMEBUFFER);
        config.write(0x18, Width::W32, REGISTERS);
        config.write(4, Width::W16, 3);
        config.show_all(&mut bench);
        vga.settle(&mut bench);
        Self { vga, bench }
    }
    fn window(&self, space: Space, at: u64) -> Option<(u16, Place)> {
        let has = |p: &Place| p.space == space && at.checked_sub(p.base).is_some_and(|n| n < p.len);
        self.bench.windows.iter().find(|(_, p)| has(p)).map(|(bank, p)| (*bank, *p))
    }
    fn access(&mut self, space: Space, at: u64, w: Width, write: Option<u64>) -> u64 {
        let Some((bank, p)) = self.window(space, at) else { return w.mask() };
        let n = at - p.base;
        if n + w.bytes() > p.len {
            return (0..w.bytes()).fold(0, |all, i| {
                let v = write.map(|v| v >> (8 * i) & 0xFF);
                all | self.access(space, at + i, Width::W8, v) << (8 * i)
            });
        }
        match (p.what, write) {
            (Seen::Ram { offset }, None) => {
                let mut bytes = [0; 8];
                self.bench.backing.read(offset + n, &mut bytes[..w.bytes() as usize]).unwrap();
                u64::from_le_bytes(bytes)
            }
            (Seen::Ram { offset }, Some(v)) => {
                let bytes = &v.to_le_bytes()[..w.bytes() as usize];
                self.bench.backing.write(offset + n, bytes).unwrap();
                0
            }
            (_, None) => self.vga.read(Reg { bank, at: n }, w, &mut self.bench),
            (_, Some(v)) => {
                self.vga.write(Reg { bank, at: n }, w, v, &mut self.bench);
                0
            }
        }
    }
}

impl Machine for Ours {
    fn port(&mut self, port: u16, w: Width) -> u64 {
        self.access(Space::Io, port.into(), w, None)
    }
    fn set_port(&mut self, port: u16, w: Width, v: u64) {
        self.access(Space::Io, port.into(), w, Some(v));
    }
    fn memory(&mut self, at: u64, w: Width) -> u64 {
        self.access(Space::Memory, at, w, None)
    }
    fn set_memory(&mut self, at: u64, bytes: &[u8]) {
        for (n, b) in bytes.iter().enumerate() {
            self.access(Space::Memory, at + n as u64, Width::W8, Some((*b).into()));
        }
    }
    fn picture(&mut self) -> Picture {
        let memory = &mut self.bench.backing;
        let mut read = |at: u64, into: &mut [u8]| memory.read(at, into).unwrap();
        self.vga.picture(&mut read, self.bench.now)
    }
}

struct Qemu {
    process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    monitor: UnixStream,
    folder: std::path::PathBuf,
}

impl Qemu {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("vga-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let socket = folder.join("monitor");
        let monitor = format!("unix:{},server=on,wait=off", socket.display());
        let args = "-accel tcg -S -M pc -display none -nodefaults -vga std -qtest stdio -qtest-log none -monitor";
        let mut process = Command::new("qemu-system-x86_64")
            .args(args.split(' '))
            .arg(monitor)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("qemu-system-x86_64 starts");
        let to = process.stdin.take().unwrap();
        let from = BufReader::new(process.stdout.take().unwrap());
        let connect = || {
            std::thread::sleep(std::time::Duration::from_millis(20));
            UnixStream::connect(&socket).ok()
        };
        let monitor = (0..500).find_map(|_| connect()).expect("the monitor answers");
        let mut q = Self { process, to, from, monitor, folder };
        q.prompt();
        // The VGA is the only device behind the chips: number 2.
        for (at, v) in [(0x10, FRAMEBUFFER), (0x18, REGISTERS), (4, 3)] {
            q.command(&format!("outl 0xcf8 {:#x}", 0x8000_1000u32 | at));
            q.command(&format!("outl 0xcfc {v:#x}"));
        }
        q
    }
    /// One line, and the answer behind "OK".
    fn command(&mut self, line: &str) -> String {
        writeln!(self.to, "{line}").unwrap();
        let mut answer = String::new();
        self.from.read_line(&mut answer).unwrap();
        answer.trim().strip_prefix("OK").unwrap_or_else(|| panic!("{line}: {answer}")).trim().into()
    }
    fn number(&mut self, line: &str) -> u64 {
        let answer = self.command(line);
        u64::from_str_radix(answer.trim_start_matches("0x"), 16).unwrap()
    }
    fn prompt(&mut self) {
        let mut seen = Vec::new();
        while !seen.ends_with(b"(qemu) ") {
            let mut byte = [0];
            self.monitor.read_exact(&mut byte).unwrap();
            seen.push(byte[0]);
        }
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn letter(w: Width) -> char {
    match w {
        Width::W8 => 'b',
        Width::W16 => 'w',
        _ => 'l',
    }
}

impl Machine for Qemu {
    fn port(&mut self, port: u16, w: Width) -> u64 {
        self.number(&format!("in{} {port:#x}", letter(w)))
    }
    fn set_port(&mut self, port: u16, w: Width, v: u64) {
        self.command(&format!("out{} {port:#x} {v:#x}", letter(w)));
    }
    fn memory(&mut self, at: u64, w: Width) -> u64 {
        self.number(&format!("read{} {at:#x}", letter(w)))
    }
    fn set_memory(&mut self, at: u64, bytes: &[u8]) {
        // As bytes: what an access is cut into shows in planes.
        if at < FRAMEBUFFER {
            for (n, b) in bytes.iter().enumerate() {
                self.command(&format!("writeb {:#x} {b:#x}", at + n as u64));
            }
            return;
        }
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        self.command(&format!("write {at:#x} {:#x} 0x{hex}", bytes.len()));
    }
    fn picture(&mut self) -> Picture {
        let file = self.folder.join("picture.ppm");
        writeln!(self.monitor, "screendump {}", file.display()).unwrap();
        self.prompt();
        let bytes = std::fs::read(file).unwrap();
        let mut parts = bytes.splitn(4, |b| *b == b'\n' || *b == b' ');
        let mut part = || parts.next().unwrap();
        assert_eq!(part(), b"P6");
        let mut number = || std::str::from_utf8(part()).unwrap().parse().unwrap();
        let (width, height) = (number(), number());
        let rgb = part().strip_prefix(b"255\n").unwrap().to_vec();
        Picture { width, height, rgb }
    }
}

/// What the registers hold in a mode: miscellaneous output, sequencer, CRT controller, graphics and attribute controllers.
struct Mode {
    misc: u8,
    sequencer: [u8; 5],
    crtc: [u8; 25],
    graphics: [u8; 9],
    attribute: [u8; 21],
}

/// Reads hexadecimal digits.
fn hex<const N: usize>(text: &str) -> [u8; N] {
    let bytes: Vec<u8> =
        text.split_whitespace().map(|b| u8::from_str_radix(b, 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

fn mode(rows: [&str; 5]) -> Mode {
    let [misc, sequencer, crtc, graphics, attribute] = rows;
    let [misc] = hex(misc);
    Mode {
        misc,
        sequencer: hex(sequencer),
        crtc: hex(crtc),
        graphics: hex(graphics),
        attribute: hex(attribute),
    }
}

const SIXTEEN: &str = "00 01 02 03 04 05 14 07 38 39 3A 3B 3C 3D 3E 3F 01 00 0F 00 00";
const PLAIN: &str = "00 01 02 03 04 05 06 07 08 09 0A 0B 0C 0D 0E 0F 41 00 0F 00 00";
const PAGE: &str = "00 01 02 03 04 05 14 07 38 39 3A 3B 3C 3D 3E 3F 0C 00 0F 08 00";
const CGA: &str = "00 13 15 17 02 04 06 07 10 11 12 13 14 15 16 17 01 00 03 00 00";

#[rustfmt::skip]
fn modes(name: &str) -> Mode {
    match name {
        "80x25" => mode(["67", "03 00 03 00 02",
            "5F 4F 50 82 55 81 BF 1F 00 4F 2D 0E 00 00 00 00 9C 8E 8F 28 1F 96 B9 A3 FF",
            "00 00 00 00 00 10 0E 0F FF", PAGE]),
        "40x25" => mode(["67", "03 08 03 00 02",
            "2D 27 28 90 2B A0 BF 1F 00 4F 2D 0E 00 00 00 00 9C 8E 8F 14 1F 96 B9 A3 FF",
            "00 00 00 00 00 10 0E 0F FF", PAGE]),
        "80x50, 8 dots, two fonts" => mode(["63", "03 01 03 04 02",
            "5F 4F 50 82 55 81 BF 1F 00 47 26 07 00 00 00 00 9C 8E 8F 28 1F 96 B9 A3 FF",
            "00 00 00 00 00 10 0E 0F FF", PLAIN]),
        "0Dh" => mode(["63", "03 09 0F 00 06",
            "2D 27 28 90 2B 80 BF 1F 00 C0 00 00 00 00 00 00 9C 8E 8F 14 00 96 B9 E3 FF",
            "00 00 00 00 00 00 05 0F FF", SIXTEEN]),
        "12h" => mode(["E3", "03 01 0F 00 06",
            "5F 4F 50 82 54 80 0B 3E 00 40 00 00 00 00 00 00 EA 8C DF 28 00 E7 04 E3 FF",
            "00 00 00 00 00 00 05 0F FF", SIXTEEN]),
        "13h" => mode(["63", "03 01 0F 00 0E",
            "5F 4F 50 82 54 80 BF 1F 00 41 00 00 00 00 00 00 9C 8E 8F 28 40 96 B9 A3 FF",
            "00 00 00 00 00 40 05 0F FF", PLAIN]),
        "X" => mode(["E3", "03 01 0F 00 06",
            "5F 4F 50 82 54 80 0D 3E 00 41 00 00 00 00 00 00 EA AC DF 28 00 E7 06 E3 FF",
            "00 00 00 00 00 40 05 0F FF", PLAIN]),
        "4" => mode(["63", "03 09 03 00 02",
            "2D 27 28 90 2B 80 BF 1F 00 C1 00 00 00 00 00 00 9C 8E 8F 14 00 96 B9 A2 FF",
            "00 00 00 00 00 30 0F 0F FF", CGA]),
        "6" => mode(["63", "03 01 01 00 06",
            "5F 4F 50 82 54 80 BF 1F 00 C1 00 00 00 00 00 00 9C 8E 8F 28 00 96 B9 C2 FF",
            "00 00 00 00 00 00 0D 0F FF", SIXTEEN]),
        _ => panic!("{name}"),
    }
}

/// Two machines that are told the same.
struct Both {
    ours: Ours,
    qemu: Qemu,
}

impl Both {
    fn new(name: &str) -> Self {
        Self { ours: Ours::new(), qemu: Qemu::new(name) }
    }
    fn each(&mut self, mut body: impl FnMut(&mut dyn Machine)) {
        body(&mut self.ours);
        body(&mut self.qemu);
    }
    fn set_port(&mut self, port: u16, w: Width, v: u64) {
        self.each(|m| m.set_port(port, w, v));
    }
    fn indexed(&mut self, port: u16, values: &[u8]) {
        for (n, v) in values.iter().enumerate() {
            self.set_port(port, Width::W16, u64::from(*v) << 8 | n as u64);
        }
    }
    fn bochs(&mut self, values: &[(u16, u16)]) {
        for (index, v) in values {
            self.set_port(0x1CE, Width::W16, (*index).into());
            self.set_port(0x1CF, Width::W16, (*v).into());
        }
    }
    /// Sets a mode, and colours that are all different.
    fn mode(&mut self, name: &str) {
        let m = modes(name);
        self.set_port(0x3C2, Width::W8, m.misc.into());
        self.indexed(0x3C4, &m.sequencer);
        self.set_port(0x3D4, Width::W16, 0x11);
        self.indexed(0x3D4, &m.crtc);
        self.indexed(0x3CE, &m.graphics);
        self.each(|machine| {
            machine.port(0x3DA, Width::W8);
        });
        for (n, v) in m.attribute.iter().enumerate() {
            self.set_port(0x3C0, Width::W8, n as u64);
            self.set_port(0x3C0, Width::W8, (*v).into());
        }
        self.set_port(0x3C0, Width::W8, 0x20);
        self.set_port(0x3C6, Width::W8, 0xFF);
        self.set_port(0x3C8, Width::W8, 0);
        for n in 0..768u64 {
            self.set_port(0x3C9, Width::W8, (n * 37 + n / 5) & 0x3F);
        }
    }
    fn write(&mut self, at: u64, bytes: &[u8]) {
        self.each(|m| m.set_memory(at, bytes));
    }
    /// Writes random bytes, as a run of `len`.
    fn scribble(&mut self, at: u64, len: usize) {
        let mut r = Random(at ^ len as u64 | 1);
        let bytes: Vec<u8> = (0..len).map(|_| r.next() as u8).collect();
        self.write(at, &bytes);
    }
    fn same_picture(&mut self, what: &str) {
        let (ours, qemu) = (self.ours.picture(), self.qemu.picture());
        assert_eq!((ours.width, ours.height), (qemu.width, qemu.height), "{what}");
        for y in 0..ours.height {
            for x in 0..ours.width {
                assert_eq!(ours.pixel(x, y), qemu.pixel(x, y), "{what}: at {x}, {y}");
            }
        }
        assert!(ours.rgb.iter().any(|b| *b != ours.rgb[0]), "{what}: there is nothing to be seen");
    }
}

struct Random(u64);
impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }
}

/// A font in plane 2 and a page of all characters.
fn text(b: &mut Both, name: &str) {
    b.mode(name);
    // Planes one behind the other, in the window at 0xA0000, as a BIOS loads fonts.
    for (port, v) in
        [(0x3C4, 0x0402), (0x3C4, 0x0704), (0x3CE, 0x0204), (0x3CE, 0x0005), (0x3CE, 0x0406)]
    {
        b.set_port(port, Width::W16, v);
    }
    b.scribble(0xA_0000, 0x2000);
    b.scribble(0xA_4000, 0x2000);
    for (port, v) in
        [(0x3C4, 0x0302), (0x3C4, 0x0204), (0x3CE, 0x0004), (0x3CE, 0x1005), (0x3CE, 0x0E06)]
    {
        b.set_port(port, Width::W16, v);
    }
    let page: Vec<u8> =
        (0..4000u32).flat_map(|n| [n as u8, ((n * 7 + n / 256) & 0x7F) as u8]).collect();
    b.write(0xB_8000, &page);
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn text_is_as_qemus() {
    for name in ["80x25", "40x25", "80x50, 8 dots, two fonts"] {
        let mut b = Both::new(&name[..2]);
        text(&mut b, name);
        b.same_picture(name);
        // Another start, and a second half that begins again.
        b.set_port(0x3D4, Width::W16, 0x500C);
        b.set_port(0x3D4, Width::W16, 0x280D);
        b.set_port(0x3D4, Width::W16, 0x0F07);
        b.set_port(0x3D4, Width::W16, 0x0F09 | if name.starts_with("80x50") { 0x0700 } else { 0 });
        b.same_picture(&format!("{name}, split"));
    }
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn the_cursor_is_as_qemus() {
    let mut b = Both::new("cursor");
    text(&mut b, "80x25");
    for v in [0x0D0A, 0x0E0B, 0x000E, 0xA50F] {
        b.set_port(0x3D4, Width::W16, v);
    }
    b.same_picture("with a cursor");
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn graphics_are_as_qemus() {
    for name in ["0Dh", "12h", "13h", "X", "4", "6"] {
        let mut b = Both::new(name);
        b.mode(name);
        let at = if modes(name).graphics[6] & 8 != 0 { 0xB_8000 } else { 0xA_0000 };
        for plane in 0..4 {
            if matches!(name, "13h" | "4" | "6") && plane != 0 {
                break;
            }
            if !matches!(name, "13h" | "4" | "6") {
                b.set_port(0x3C4, Width::W16, 0x100 << plane | 2);
            }
            b.scribble(at + plane, 0x5000);
        }
        b.same_picture(name);
        // Scrolled by lines and pixels.
        b.set_port(0x3D4, Width::W16, 0x010C);
        b.set_port(0x3D4, Width::W16, 0x430D);
        b.each(|m| {
            m.port(0x3DA, Width::W8);
        });
        // In 256 colours QEMU moves four pixels for each of IBM's.
        let panning = if modes(name).graphics[5] & 0x40 != 0 { 0 } else { 6 };
        for v in [0x33, panning] {
            b.set_port(0x3C0, Width::W8, v);
        }
        b.same_picture(&format!("{name}, scrolled"));
    }
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn extended_modes_are_as_qemus() {
    for depth in [4, 8, 15, 16, 24, 32] {
        let mut b = Both::new(&format!("bochs{depth}"));
        b.mode("13h");
        b.bochs(&[(4, 0), (1, 200), (2, 120), (3, depth), (4, 0x41), (6, 256), (8, 8), (9, 3)]);
        b.scribble(FRAMEBUFFER, 256 * 130 * 4);
        b.same_picture(&format!("{depth} bits"));
        // Through the window, a bank further.
        if depth != 4 {
            b.bochs(&[(5, 1)]);
            b.scribble(0xA_0000, 0x400);
            b.bochs(&[(8, 0), (9, 60)]);
            b.same_picture(&format!("{depth} bits, banked"));
        }
    }
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn what_the_monitor_says_is_what_qemus_says() {
    let mut b = Both::new("edid");
    for at in (0..0x400).step_by(4) {
        let at = REGISTERS + at;
        let (ours, qemu) = (b.ours.memory(at, Width::W32), b.qemu.memory(at, Width::W32));
        assert_eq!(ours, qemu, "at {at:#x}");
    }
}

/// Ports, and how often they are chosen.
const HIT: [u16; 17] = [
    0x3C0, 0x3C1, 0x3C2, 0x3C4, 0x3C5, 0x3C7, 0x3C8, 0x3CA, 0x3CC, 0x3CE, 0x3CF, 0x3D4, 0x3D5,
    0x3B4, 0x3B5, 0x3DA, 0x3C3,
];

/// A random access; what it reads must be the same.
fn step(b: &mut Both, r: &mut Random, n: u32) {
    let port = HIT[(r.next() % HIT.len() as u64) as usize];
    // With some sense, or the windows would hardly ever be open.
    let v = if r.next() % 3 == 0 { r.next() & 0xFF } else { 1 << (r.next() % 8) };
    let w = if r.next() % 4 == 0 { Width::W16 } else { Width::W8 };
    let at = [0xA_0000, 0xB_0000, 0xB_8000, 0xA_FFF0][(r.next() % 4) as usize] + r.next() % 64;
    let (ours, qemu) = match r.next() % 8 {
        0..=2 => return b.set_port(port, Width::W8, v),
        3 => (b.ours.port(port, Width::W8), b.qemu.port(port, Width::W8)),
        4 | 5 => return b.write(at, &v.to_le_bytes()[..w.bytes() as usize]),
        6 => (b.ours.memory(at, w), b.qemu.memory(at, w)),
        _ => {
            let (index, v) = (r.next() % 12, r.next() % 2048);
            // Four planes with the extension: QEMU forgets which planes are written.
            let v = match index {
                3 => [8, 15, 16, 24, 32][(v % 5) as usize],
                4 => v & 0xE3,
                _ => v,
            };
            b.bochs(&[(index as u16, v as u16)]);
            (b.ours.port(0x1CF, Width::W16), b.qemu.port(0x1CF, Width::W16))
        }
    };
    // The beam stands still in QEMU.
    if port & 0xF != 0xA || at == 0 {
        assert_eq!(ours, qemu, "step {n}: port {port:#x}, or address {at:#x} {w:?}");
    }
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn random_accesses_are_answered_as_by_qemu() {
    let mut b = Both::new("random");
    b.set_port(0x3C2, Width::W8, 0x67);
    let mut r = Random(0x5DEE_CE66_D1CE_4E5B);
    for n in 0..40_000 {
        step(&mut b, &mut r, n);
    }
}
