//! Our VGA on a bench, and QEMU's by its qtest protocol and its monitor.

use device::{Bench, Device, Dma, Place, Reg, Seen, Space, Width};
use hw::pci::Function;
use hw::{Picture, Vga, VgaConfig};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

pub const FRAMEBUFFER: u64 = 0xE000_0000;
pub const REGISTERS: u64 = 0xE100_0000;

/// A machine with a VGA.
pub trait Machine {
    fn port(&mut self, port: u16, w: Width) -> u64;
    fn set_port(&mut self, port: u16, w: Width, v: u64);
    fn memory(&mut self, at: u64, w: Width) -> u64;
    fn set_memory(&mut self, at: u64, bytes: &[u8]);
    fn picture(&mut self) -> Picture;
}

pub struct Ours {
    vga: Vga,
    bench: Bench,
}

impl Ours {
    pub fn new() -> Self {
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

pub struct Qemu {
    process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    monitor: UnixStream,
    folder: std::path::PathBuf,
}

impl Qemu {
    /// Starts this program.
    pub fn new(program: &str, name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("vga-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let socket = folder.join("monitor");
        let monitor = format!("unix:{},server=on,wait=off", socket.display());
        let args = "-accel tcg -S -M pc -display none -nodefaults -vga std -qtest stdio -qtest-log none -monitor";
        let mut process = Command::new(program)
            .args(args.split(' '))
            .arg(monitor)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the peer starts");
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
