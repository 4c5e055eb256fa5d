//! Ports by which a guest talks to whoever tests it.  QEMU docs/specs/pvpanic.rst; hw/misc/debugexit.c, hw/misc/pc-testdev.c
//! and hw/char/debugcon.c for the interface.

use crate::Bytes;
use device::*;

/// A port whose written bytes go to the character back end.
///
/// Bank 0 is the port: 0x402 for firmware, 0xE9 for Bochs's. It reads as `readback`, by default 0xE9, which tells that it is there.
pub struct DebugCon {
    pub readback: u8,
}

impl Default for DebugCon {
    fn default() -> Self {
        Self { readback: 0xE9 }
    }
}

impl Device for DebugCon {
    fn name(&self) -> &'static str {
        "isa-debugcon"
    }
    fn read(&mut self, at: Reg, w: Width, _: &mut dyn Cx) -> u64 {
        join(at.at, w, 1, |i| if i == 0 { self.readback.into() } else { 0xFF })
    }
    fn write(&mut self, at: Reg, _: Width, value: u64, cx: &mut dyn Cx) {
        if at.at == 0 {
            cx.ask(Request::Send(vec![value as u8]));
        }
    }
    fn reset(&mut self) {}
    fn save(&self) -> Vec<u8> {
        Vec::new()
    }
    fn load(&mut self, _: &[u8]) -> Result<(), Misfit> {
        Ok(())
    }
}

/// `isa-debug-exit`: a write of `v` ends the emulator with the status `v * 2 + 1`. Bank 0 is its port or ports.
#[derive(Default)]
pub struct DebugExit;

impl Device for DebugExit {
    fn name(&self) -> &'static str {
        "isa-debug-exit"
    }
    fn read(&mut self, _: Reg, _: Width, _: &mut dyn Cx) -> u64 {
        0
    }
    fn write(&mut self, _: Reg, _: Width, value: u64, cx: &mut dyn Cx) {
        cx.ask(Request::Exit((value << 1 | 1) as u8));
    }
    fn reset(&mut self) {}
    fn save(&self) -> Vec<u8> {
        Vec::new()
    }
    fn load(&mut self, _: &[u8]) -> Result<(), Misfit> {
        Ok(())
    }
}

/// `pvpanic`: the guest says how its kernel ended. Bank 0 is port 0x505; it reads as the events there are: `events`.
pub struct PvPanic {
    pub events: u8,
}

impl Default for PvPanic {
    fn default() -> Self {
        Self { events: EVENTS }
    }
}

/// Panicked, crash kernel loaded, shut down.
const EVENTS: u8 = 7;

impl Device for PvPanic {
    fn name(&self) -> &'static str {
        "pvpanic"
    }
    fn read(&mut self, at: Reg, w: Width, _: &mut dyn Cx) -> u64 {
        join(at.at, w, 1, |i| if i == 0 { self.events.into() } else { 0xFF })
    }
    fn write(&mut self, at: Reg, _: Width, value: u64, cx: &mut dyn Cx) {
        let (known, unknown) = (value as u8 & EVENTS, value as u8 & !EVENTS);
        if unknown != 0 {
            cx.complain(format_args!("pvpanic: unknown event {unknown:#x}"));
        }
        if at.at == 0 && known != 0 {
            cx.ask(Request::Panicked(known));
        }
    }
    fn reset(&mut self) {}
    fn save(&self) -> Vec<u8> {
        Vec::new()
    }
    fn load(&mut self, _: &[u8]) -> Result<(), Misfit> {
        Ok(())
    }
}

/// The memory of the test device.
const IOMEM: usize = 0x1_0000;

state! {
    /// Everything the guest can see of the test device.
    pub struct State {
        1 port: u32 = 0,
        2 memory: Bytes = Bytes(vec![0; IOMEM]),
        /// The interrupt lines it holds up.
        3 lines: u32 = 0,
    }
}

/// `pc-testdev`, for kvm-unit-tests.
///
/// Banks: 0 four ports at 0xE0 that keep what is written, 1 four at 0xE4 (flush a page: nothing to do), 2 four at 0xE8 that
/// are bank 0 again, by bytes, 3 twenty-four at 0x2000 that set interrupt lines, 4 memory of 64 KiB at 0xFF00_0000.
/// Output pin `n` is line `n`.
#[derive(Default)]
pub struct TestDev {
    s: State,
}

impl TestDev {
    pub fn new() -> Self {
        Self::default()
    }
}

impl Device for TestDev {
    fn name(&self) -> &'static str {
        "pc-testdev"
    }
    fn read(&mut self, at: Reg, w: Width, _: &mut dyn Cx) -> u64 {
        match at.bank {
            0 | 2 => join(at.at & 3, w, 1, |i| u64::from(self.s.port) >> (8 * (i & 3)) & 0xFF),
            4 => {
                let byte = |i: u64| usize::try_from(i).ok().and_then(|i| self.s.memory.0.get(i));
                join(at.at, w, 1, |i| byte(i).map_or(0xFF, |v| u64::from(*v)))
            }
            _ => w.mask(),
        }
    }
    fn write(&mut self, at: Reg, w: Width, value: u64, cx: &mut dyn Cx) {
        match at.bank {
            0 | 2 => split(at.at & 3, w, 1, value, |i, _, v| {
                let shift = 8 * (i & 3);
                self.s.port = self.s.port & !(0xFF << shift) | (v as u32) << shift;
            }),
            3 if at.at < 24 && w == Width::W8 => {
                let bit = 1 << at.at;
                self.s.lines = self.s.lines & !bit | if value != 0 { bit } else { 0 };
                cx.irq(Pin(at.at as u16), value != 0);
            }
            4 => split(at.at, w, 1, value, |i, _, v| {
                if let Some(byte) = usize::try_from(i).ok().and_then(|i| self.s.memory.0.get_mut(i))
                {
                    *byte = v as u8;
                }
            }),
            _ => {}
        }
    }
    fn reset(&mut self) {
        self.s.lines = 0;
    }
    fn settle(&mut self, cx: &mut dyn Cx) {
        (0..24).for_each(|n| cx.irq(Pin(n), self.s.lines >> n & 1 != 0));
    }
    fn save(&self) -> Vec<u8> {
        self.s.save()
    }
    fn load(&mut self, from: &[u8]) -> Result<(), Misfit> {
        let s = State::load(from)?;
        if s.memory.0.len() != IOMEM {
            return Err(Misfit::Unfit("the test device's memory is 64 KiB".into()));
        }
        self.s = s;
        Ok(())
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use Width::*;

    #[test]
    fn the_debug_console_sends_and_is_there() {
        let mut b = Bench::default();
        DebugCon::default().write(Reg { bank: 0, at: 0 }, W8, b'!'.into(), &mut b);
        assert_eq!(
            (b.sent(), DebugCon::default().read(Reg { bank: 0, at: 0 }, W8, &mut b)),
            (b"!".to_vec(), 0xE9)
        );
    }

    #[test]
    fn the_exit_status_is_odd() {
        let mut b = Bench::default();
        DebugExit.write(Reg { bank: 0, at: 0 }, W32, 0x10, &mut b);
        assert_eq!(b.asked, [Request::Exit(33)]);
    }

    #[test]
    fn a_panic_is_told_with_its_known_events() {
        let mut b = Bench::default();
        assert_eq!(PvPanic::default().read(Reg { bank: 0, at: 0 }, W8, &mut b), 7);
        assert_eq!(PvPanic { events: 1 }.read(Reg { bank: 0, at: 0 }, W8, &mut b), 1);
        PvPanic::default().write(Reg { bank: 0, at: 0 }, W8, 0x11, &mut b);
        assert_eq!((b.asked, b.complaints.len()), (vec![Request::Panicked(1)], 1));
    }

    #[test]
    fn the_test_device_echoes_and_pulls_lines() {
        let (mut d, mut b) = (TestDev::new(), Bench::default());
        d.write(Reg { bank: 0, at: 0 }, W32, 0x1234_5678, &mut b);
        assert_eq!(d.read(Reg { bank: 0, at: 1 }, W16, &mut b), 0x3456);
        assert_eq!(d.read(Reg { bank: 2, at: 0 }, W32, &mut b), 0x1234_5678);
        d.write(Reg { bank: 3, at: 14 }, W8, 1, &mut b);
        assert!(b.pin(Pin(14)));
        d.write(Reg { bank: 3, at: 14 }, W8, 0, &mut b);
        assert!(!b.pin(Pin(14)));
        d.write(Reg { bank: 4, at: 0xFFF8 }, W64, 0x0102_0304_0506_0708, &mut b);
        assert_eq!(d.read(Reg { bank: 4, at: 0xFFFC }, W32, &mut b), 0x0102_0304);
    }
}
