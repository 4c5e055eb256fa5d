//! The host bridge's bus: configuration access, the functions on it, and the way of their interrupts.
//!
//! Banks: 0 the eight ports at 0xCF8 (configuration mechanism #1 and the reset register 0xCF9), [`ECAM`] the memory
//! window of PCI Express, `(n + 1) << 8 | b` bank `b` of the `n`th function. Output pin `n` is interrupt line `n`: ISA
//! lines up to 15, then the I/O APIC's own.

use super::Function;
use crate::Bytes;
use device::*;
use std::collections::BTreeMap;

/// The bank of the PCI Express configuration window.
pub const ECAM: u16 = 1;

/// Which chips route the interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chipset {
    /// 440FX with PIIX3 at 1.0.
    I440fx,
    /// Q35 with ICH9's LPC bridge at 1f.0.
    Q35,
}

impl Chipset {
    /// The function whose registers route PIRQs.
    fn router(self) -> u8 {
        if self == Chipset::I440fx { 1 << 3 } else { 0x1F << 3 }
    }
}

state! {
    /// What the bus itself remembers.
    pub struct State {
        1 address: u32 = 0,
        /// Port 0xCF9.
        2 reset: u8 = 0,
        3 functions: Vec<Bytes> = Vec::new(),
    }
}

struct Slot {
    devfn: u8,
    function: Box<dyn Function>,
    wake: Option<Tick>,
    /// ISA lines that it holds up.
    lines: u32,
}

pub struct Root {
    s: State,
    chipset: Chipset,
    slots: Vec<Slot>,
    /// The lines as last told.
    told: Option<u32>,
    /// The windows as last shown.
    shown: BTreeMap<u16, Option<Place>>,
}

/// The world of one function.
struct Child<'a> {
    cx: &'a mut dyn Cx,
    number: u16,
    /// Whether it may be a bus master.
    master: bool,
    wake: &'a mut Option<Tick>,
    lines: &'a mut u32,
    shown: &'a mut BTreeMap<u16, Option<Place>>,
}

impl Cx for Child<'_> {
    fn now(&self) -> Tick {
        self.cx.now()
    }
    fn wake_at(&mut self, at: Option<Tick>) {
        *self.wake = at
    }
    fn irq(&mut self, pin: Pin, high: bool) {
        if pin.0 < 24 {
            *self.lines = *self.lines & !(1 << pin.0) | (high as u32) << pin.0;
        }
    }
    fn dma(&mut self) -> &mut dyn Dma {
        self
    }
    fn backing(&mut self) -> &mut dyn Dma {
        self.cx.backing()
    }
    fn ask(&mut self, what: Request) {
        // What is answered, or goes to a back end, has to say from whom it is.
        let what = match what {
            Request::Send(_)
            | Request::Accept(_)
            | Request::SendBreak
            | Request::TimeOfDay
            | Request::Disk { .. }
            | Request::DiskAbandon { .. }
            | Request::From(..) => Request::From(self.number, Box::new(what)),
            what => what,
        };
        self.cx.ask(what)
    }
    fn apic(&mut self, message: ApicMessage) {
        self.cx.apic(message)
    }
    fn map(&mut self, bank: u16, place: Option<Place>) {
        let bank = (self.number + 1) << 8 | bank & 0xFF;
        if self.shown.insert(bank, place) != Some(place) {
            self.cx.map(bank, place)
        }
    }
    fn random(&mut self) -> u64 {
        self.cx.random()
    }
    fn complain(&mut self, what: std::fmt::Arguments<'_>) {
        self.cx.complain(what)
    }
}

/// Memory as a function sees it: only with bus mastering on.  PCI 3.0, 6.2.2.
impl Dma for Child<'_> {
    fn read(&mut self, addr: u64, into: &mut [u8]) -> Result<(), DmaFault> {
        if self.master { self.cx.dma().read(addr, into) } else { Err(DmaFault) }
    }
    fn write(&mut self, addr: u64, from: &[u8]) -> Result<(), DmaFault> {
        if self.master { self.cx.dma().write(addr, from) } else { Err(DmaFault) }
    }
}

impl Root {
    pub fn new(chipset: Chipset) -> Self {
        Self { s: State::default(), chipset, slots: Vec::new(), told: None, shown: BTreeMap::new() }
    }
    /// Puts a function at `device`.`function` of bus 0. Gives its number, for [`Request::From`].
    pub fn add(&mut self, device: u8, function: u8, part: impl Function) -> u16 {
        self.add_boxed(device, function, Box::new(part))
    }
    pub fn add_boxed(&mut self, device: u8, function: u8, part: Box<dyn Function>) -> u16 {
        let devfn = device << 3 | function;
        assert!(
            device < 32 && function < 8 && self.slots.len() < 254,
            "PCI address {device:x}.{function}"
        );
        assert!(self.at(devfn).is_none(), "two functions at PCI {device:02x}.{function}");
        self.slots.push(Slot { devfn, function: part, wake: None, lines: 0 });
        self.slots.len() as u16 - 1
    }
    /// The first device number that is free.
    pub fn free_device(&self) -> Option<u8> {
        (1..32).find(|device| self.slots.iter().all(|s| s.devfn >> 3 != *device))
    }
    /// Whether a function can be put there.
    pub fn is_free(&self, device: u8, function: u8) -> bool {
        device < 32 && function < 8 && self.at(device << 3 | function).is_none()
    }
    /// The numbers of all functions.
    pub fn functions(&self) -> impl Iterator<Item = u16> + use<> {
        0..self.slots.len() as u16
    }
    /// The function of this number, as what it is.
    pub fn function<T: Function>(&self, number: u16) -> Option<&T> {
        let f: &dyn std::any::Any = &*self.slots.get(number as usize)?.function;
        f.downcast_ref()
    }
    /// Does something with a function, and tells what follows from it.
    pub fn with<T: Function, R>(
        &mut self,
        number: u16,
        cx: &mut dyn Cx,
        body: impl FnOnce(&mut T, &mut dyn Cx) -> R,
    ) -> Option<R> {
        let result = self.child(number as usize, cx, |f, cx| {
            let f: &mut dyn std::any::Any = f;
            f.downcast_mut().map(|f| body(f, cx))
        })?;
        self.tell(cx);
        result
    }
    /// The same with the function at a place.
    pub fn with_at<T: Function, R>(
        &mut self,
        device: u8,
        function: u8,
        cx: &mut dyn Cx,
        body: impl FnOnce(&mut T, &mut dyn Cx) -> R,
    ) -> Option<R> {
        let n = self.at(device << 3 | function)?;
        self.with(n as u16, cx, body)
    }
    /// Where configuration space is seen as memory.
    pub fn ecam(&self) -> Option<Place> {
        let host = self.at(0).filter(|_| self.chipset == Chipset::Q35)?;
        super::q35::ecam(self.slots[host].function.config())
    }
    /// Where the power management ports are.
    pub fn pm_base(&self) -> Option<u16> {
        let (at, enable) = match self.chipset {
            Chipset::I440fx => (1 << 3 | 3, (0x80, 1)),
            Chipset::Q35 => (0x1F << 3, (0x44, 0x80)),
        };
        let c = self.slots[self.at(at)?].function.config();
        let base = c.u16(0x40) & 0xFFC0;
        (base != 0 && c.u8(enable.0) & enable.1 != 0).then_some(base)
    }
    /// Where base address registers show memory.
    pub fn places(&self) -> impl Iterator<Item = Place> + '_ {
        let bars =
            |s: &Slot| (0..7).filter_map(|n| s.function.config().place(n)).collect::<Vec<_>>();
        self.slots.iter().flat_map(bars).filter(|p| p.space == Space::Memory)
    }
    fn at(&self, devfn: u8) -> Option<usize> {
        self.slots.iter().position(|s| s.devfn == devfn)
    }
    fn child<R>(
        &mut self,
        n: usize,
        cx: &mut dyn Cx,
        body: impl FnOnce(&mut dyn Function, &mut dyn Cx) -> R,
    ) -> Option<R> {
        let Slot { function, wake, lines, .. } = self.slots.get_mut(n)?;
        let (shown, master) = (&mut self.shown, function.config().bus_master());
        Some(body(&mut **function, &mut Child { cx, number: n as u16, master, wake, lines, shown }))
    }
    fn for_each(&mut self, cx: &mut dyn Cx, mut body: impl FnMut(&mut dyn Function, &mut dyn Cx)) {
        for n in 0..self.slots.len() {
            self.child(n, cx, &mut body);
        }
    }

    // Configuration access.

    fn find(&self, bus: u8, devfn: u8) -> Option<usize> {
        self.at(devfn).filter(|_| bus == 0)
    }
    fn config_read(&mut self, bus: u8, devfn: u8, at: u64, w: Width, cx: &mut dyn Cx) -> u64 {
        let Some(n) = self.find(bus, devfn) else { return w.mask() };
        if self.child(n, cx, |f, cx| f.config_reading(at, w, cx)) == Some(true) {
            self.tell(cx);
        }
        self.slots[n].function.config().read(at, w)
    }
    fn config_write(&mut self, bus: u8, devfn: u8, at: u64, w: Width, value: u64, cx: &mut dyn Cx) {
        let Some(n) = self.find(bus, devfn) else { return };
        self.child(n, cx, |f, cx| {
            f.config_mut().write(at, w, value);
            f.config_mut().show(cx);
            f.config_written(cx);
        });
        self.show_ecam(cx);
    }
    /// The bus, device and register that the address port selects.  PCI 3.0, 3.2.2.3.2.
    fn selected(&self) -> Option<(u8, u8, u64)> {
        let a = self.s.address;
        (a >> 31 != 0).then_some(((a >> 16) as u8, (a >> 8) as u8, u64::from(a & 0xFC)))
    }
    fn read_port(&mut self, at: u64, w: Width, cx: &mut dyn Cx) -> u64 {
        match (at, w) {
            (0, Width::W32) => self.s.address.into(),
            (1, Width::W8) => self.s.reset.into(),
            (4..8, _) => match self.selected() {
                Some((bus, devfn, reg)) => self.config_read(bus, devfn, reg + at - 4, w, cx),
                None => w.mask(),
            },
            _ => w.mask(),
        }
    }
    fn write_port(&mut self, at: u64, w: Width, value: u64, cx: &mut dyn Cx) {
        match (at, w) {
            (0, Width::W32) => self.s.address = value as u32 & 0x80FF_FFFC,
            (1, Width::W8) => {
                // PIIX3 data sheet, 2.5.5: bit 2 resets, bits 1 and 3 say how.
                self.s.reset = value as u8 & 0xA;
                if value & 4 != 0 {
                    cx.ask(Request::Reset);
                }
            }
            (4..8, _) => {
                if let Some((bus, devfn, reg)) = self.selected() {
                    self.config_write(bus, devfn, reg + at - 4, w, value, cx);
                }
            }
            _ => {}
        }
    }
    /// Shows the PCI Express window where the memory controller's PCIEXBAR says.
    fn show_ecam(&mut self, cx: &mut dyn Cx) {
        let place = self.ecam();
        if self.shown.insert(ECAM, place) != Some(place) {
            cx.map(ECAM, place);
        }
    }

    // Interrupts.

    /// The PIRQ of a function's INTx.
    fn pirq(&self, devfn: u8, pin: u8) -> usize {
        let slot = devfn >> 3;
        match self.chipset {
            Chipset::I440fx => (slot.wrapping_add(pin).wrapping_sub(1) & 3).into(),
            // Devices 25 to 31 are ICH9's own: A to D, but those behind the bridge at 30.
            Chipset::Q35 if slot >= 25 && slot != 30 => pin.into(),
            Chipset::Q35 if slot == 30 => (pin + 4).into(),
            Chipset::Q35 => usize::from(slot.wrapping_add(pin) & 3) + 4,
        }
    }
    /// The lines that are up now.
    fn lines(&self) -> u32 {
        let mut lines = self.slots.iter().fold(0, |all, s| all | s.lines);
        let router = self.at(self.chipset.router()).map(|n| self.slots[n].function.config());
        for s in &self.slots {
            let Some(pin) = s.function.config().intx() else { continue };
            let pirq = self.pirq(s.devfn, pin);
            if self.chipset == Chipset::Q35 {
                lines |= 1 << (16 + pirq);
            }
            let register = if pirq < 4 { 0x60 + pirq } else { 0x64 + pirq };
            // Bit 7: not to the 8259A.
            let route = router.map_or(0x80, |r| r.u8(register));
            if route & 0x80 == 0 {
                lines |= 1 << (route & 0xF);
            }
        }
        lines
    }
    fn tell(&mut self, cx: &mut dyn Cx) {
        let lines = self.lines();
        let changed = lines ^ self.told.unwrap_or(!lines);
        self.told = Some(lines);
        (0..24).filter(|n| changed >> n & 1 != 0).for_each(|n| cx.irq(Pin(n), lines >> n & 1 != 0));
        cx.wake_at(self.slots.iter().filter_map(|s| s.wake).min());
    }
    fn load_all(&mut self, functions: &[Bytes]) -> Result<(), Misfit> {
        for (slot, from) in self.slots.iter_mut().zip(functions) {
            slot.function.load(&from.0)?;
        }
        Ok(())
    }
}

impl Device for Root {
    fn name(&self) -> &'static str {
        if self.chipset == Chipset::Q35 { "q35-pcihost" } else { "i440FX-pcihost" }
    }
    fn read(&mut self, at: Reg, w: Width, cx: &mut dyn Cx) -> u64 {
        match at.bank {
            0 => self.read_port(at.at, w, cx),
            ECAM => {
                let (bus, devfn) = ((at.at >> 20) as u8, (at.at >> 12) as u8);
                self.config_read(bus, devfn, at.at & 0xFFF, w, cx)
            }
            bank => {
                let (n, bank) = ((bank >> 8).wrapping_sub(1).into(), bank & 0xFF);
                let value = self.child(n, cx, |f, cx| f.read(Reg { bank, at: at.at }, w, cx));
                self.tell(cx);
                value.unwrap_or(w.mask())
            }
        }
    }
    fn write(&mut self, at: Reg, w: Width, value: u64, cx: &mut dyn Cx) {
        match at.bank {
            0 => self.write_port(at.at, w, value, cx),
            ECAM => {
                let (bus, devfn) = ((at.at >> 20) as u8, (at.at >> 12) as u8);
                self.config_write(bus, devfn, at.at & 0xFFF, w, value, cx)
            }
            bank => {
                let (n, bank) = ((bank >> 8).wrapping_sub(1).into(), bank & 0xFF);
                self.child(n, cx, |f, cx| f.write(Reg { bank, at: at.at }, w, value, cx));
            }
        }
        self.tell(cx);
    }
    fn wake(&mut self, cx: &mut dyn Cx) {
        for n in 0..self.slots.len() {
            if self.slots[n].wake.is_some_and(|at| at <= cx.now()) {
                self.slots[n].wake = None;
                self.child(n, cx, |f, cx| f.wake(cx));
            }
        }
        self.tell(cx);
    }
    fn input(&mut self, what: Input, cx: &mut dyn Cx) {
        match what {
            Input::To(n, what) => {
                self.child(n.into(), cx, |f, cx| f.input(*what, cx));
            }
            // Whom it is for, knows it.
            what => self.for_each(cx, |f, cx| f.input(what.clone(), cx)),
        }
        self.tell(cx);
    }
    fn reset(&mut self) {
        self.s = State::default();
        for slot in &mut self.slots {
            slot.function.reset();
            (slot.wake, slot.lines) = (None, 0);
        }
    }
    fn settle(&mut self, cx: &mut dyn Cx) {
        (self.told, self.shown) = (None, BTreeMap::new());
        self.for_each(cx, |f, cx| {
            f.config_mut().show_all(cx);
            f.settle(cx);
        });
        self.show_ecam(cx);
        self.tell(cx);
    }
    fn save(&self) -> Vec<u8> {
        let functions = self.slots.iter().map(|s| Bytes(s.function.save())).collect();
        State { functions, ..self.s.clone() }.save()
    }
    fn load(&mut self, from: &[u8]) -> Result<(), Misfit> {
        let mut s = State::load(from)?;
        let functions = std::mem::take(&mut s.functions);
        if functions.len() != self.slots.len() {
            return Err(Misfit::Unfit(format!(
                "{} functions on the PCI bus, where this machine has {}",
                functions.len(),
                self.slots.len()
            )));
        }
        let before: Vec<_> = self.slots.iter().map(|s| Bytes(s.function.save())).collect();
        if let Err(misfit) = self.load_all(&functions) {
            self.load_all(&before).expect("a function takes what it saved");
            return Err(misfit);
        }
        s.address &= 0x80FF_FFFC;
        self.s = s;
        Ok(())
    }
    fn describe(&self) -> String {
        let mut out = String::new();
        let mut slots: Vec<_> = self.slots.iter().collect();
        slots.sort_by_key(|s| s.devfn);
        for s in slots {
            let c = s.function.config();
            out += &format!(
                "00:{:02x}.{} {} {:04x}:{:04x} class {:04x} irq {}\n",
                s.devfn >> 3,
                s.devfn & 7,
                s.function.name(),
                c.u16(0),
                c.u16(2),
                c.u16(0xA),
                c.u8(0x3C)
            );
            for n in 0..7 {
                if let Some(p) = c.place(n) {
                    out += &format!("  bar {n}: {:?} {:#x}, {:#x} bytes\n", p.space, p.base, p.len);
                }
            }
            out.extend(s.function.describe().lines().map(|line| format!("  {line}\n")));
        }
        out
    }
}

#[cfg(test)]
mod test;
