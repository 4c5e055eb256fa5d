//! The VGA beside QEMU's: the same accesses to both, the same answers and the same pictures.
//!
//! Needs QEMU, so it runs only when asked to: `cargo test -p hw --test vga`; `PEER` names another program than
//! `qemu-system-x86_64`. QEMU's processor stands still; its qtest protocol makes the accesses, and its monitor the pictures.

mod machines;
mod modes;

use device::Width;
use machines::{FRAMEBUFFER, Machine, Ours, Qemu, REGISTERS};

/// Two machines that are told the same.
struct Both {
    ours: Ours,
    qemu: Qemu,
}

impl Both {
    fn new(name: &str) -> Self {
        let program = std::env::var("PEER").unwrap_or_else(|_| "qemu-system-x86_64".into());
        Self { ours: Ours::new(), qemu: Qemu::new(&program, name) }
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
        let m = modes::named(name);
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
fn the_cursor_is_as_qemus() {
    let mut b = Both::new("cursor");
    text(&mut b, "80x25");
    for v in [0x0D0A, 0x0E0B, 0x000E, 0xA50F] {
        b.set_port(0x3D4, Width::W16, v);
    }
    b.same_picture("with a cursor");
}

#[test]
fn graphics_are_as_qemus() {
    for name in ["0Dh", "12h", "13h", "X", "4", "6"] {
        let mut b = Both::new(name);
        b.mode(name);
        let at = if modes::named(name).graphics[6] & 8 != 0 { 0xB_8000 } else { 0xA_0000 };
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
        let panning = if modes::named(name).graphics[5] & 0x40 != 0 { 0 } else { 6 };
        for v in [0x33, panning] {
            b.set_port(0x3C0, Width::W8, v);
        }
        b.same_picture(&format!("{name}, scrolled"));
    }
}

#[test]
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
fn random_accesses_are_answered_as_by_qemu() {
    let mut b = Both::new("random");
    b.set_port(0x3C2, Width::W8, 0x67);
    let mut r = Random(0x5DEE_CE66_D1CE_4E5B);
    for n in 0..40_000 {
        step(&mut b, &mut r, n);
    }
}
