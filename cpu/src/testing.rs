//! A machine small enough for tests: RAM at address 0, ports that remember, one interrupt line.

use crate::big::cpuid::Model;
use crate::{Bus, Core, Interp, Segment, Width};
use memory::{Ram, Target};
use std::sync::Arc;

/// The machine around a core under test.
#[derive(Default)]
pub struct TestBus {
    pub ram: u64,
    /// Reads and writes that reached no RAM: `(address, width, value written)`.
    pub io: Vec<(u64, Width, Option<u64>)>,
    pub ports: Vec<(u16, Width, Option<u64>)>,
    /// What ports read as.
    pub port_value: u64,
    /// The vector that is waiting.
    pub vector: Option<u8>,
    pub tpr: u8,
    /// Interrupts sent by hypercall: `(APIC id, command)`.
    pub ipis: Vec<(u32, u32)>,
    pub complaints: Vec<String>,
    random: u64,
}

impl Bus for TestBus {
    fn page(&mut self, phys: u64) -> Option<Target> {
        let page = phys & !0xfff;
        Some(if page < self.ram { Target::Ram { offset: page } } else { Target::Hole })
    }
    fn read(&mut self, _: u64, phys: u64, w: Width) -> u64 {
        self.io.push((phys, w, None));
        u64::MAX
    }
    fn write(&mut self, _: u64, phys: u64, w: Width, value: u64) {
        self.io.push((phys, w, Some(value)));
    }
    fn port_read(&mut self, _: u64, port: u16, w: Width) -> u64 {
        self.ports.push((port, w, None));
        self.port_value
    }
    fn port_write(&mut self, _: u64, port: u16, w: Width, value: u64) {
        self.ports.push((port, w, Some(value)));
    }
    fn tsc(&mut self, count: u64) -> u64 {
        count
    }
    fn acknowledge(&mut self, _: u64) -> Option<u8> {
        self.vector.take()
    }
    fn msr_read(&mut self, _: u64, msr: u32) -> Option<u64> {
        (msr == 0x1b).then_some(0xfee0_0900)
    }
    fn msr_write(&mut self, _: u64, msr: u32, _: u64) -> Option<()> {
        (msr == 0x1b).then_some(())
    }
    fn send_ipi(&mut self, _: u64, id: u32, command: u32) -> bool {
        self.ipis.push((id, command));
        true
    }
    fn tpr(&mut self) -> u8 {
        self.tpr
    }
    fn set_tpr(&mut self, _: u64, class: u8) {
        self.tpr = class;
    }
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_mul(6364136223846793005).wrapping_add(1);
        self.random
    }
    fn attention(&mut self) -> bool {
        false
    }
    fn complain(&mut self, what: std::fmt::Arguments<'_>) {
        self.complaints.push(what.to_string());
    }
}

/// A core and its machine.
pub struct Bench {
    pub core: Box<Core>,
    pub bus: TestBus,
}

impl Bench {
    /// Two MiB of RAM, everything that a core can have, in the state after power-on.
    pub fn new() -> Bench {
        Self::with("max")
    }
    /// The same with a CPU model.
    pub fn with(model: &str) -> Bench {
        const BYTES: u64 = 2 << 20;
        let ram = match Ram::new(BYTES) {
            Ok(ram) => Arc::new(ram),
            Err(e) => panic!("no memory for a test: {e}"),
        };
        let model = match Model::parse(model) {
            Ok(m) => Arc::new(m),
            Err(e) => panic!("{e}"),
        };
        let mut core = Core::new(0, ram, model);
        crate::event::power_on(&mut core, true);
        core.set_budget(1 << 40);
        core.stop = false;
        Bench { core, bus: TestBus { ram: BYTES, ..TestBus::default() } }
    }
    pub fn interp(&mut self) -> Interp<'_> {
        Interp { c: &mut self.core, bus: &mut self.bus }
    }
    pub fn put(&self, at: u64, bytes: &[u8]) {
        assert!(self.core.tlb.ram().write(at, bytes).is_some(), "{at:#x} is outside RAM");
    }
    pub fn put_u64(&self, at: u64, v: u64) {
        self.put(at, &v.to_le_bytes());
    }
    pub fn put_u32(&self, at: u64, v: u32) {
        self.put(at, &v.to_le_bytes());
    }
    pub fn get_u64(&self, at: u64) -> u64 {
        self.core.tlb.ram().read_u64(at).unwrap_or(0)
    }
    pub fn get_u32(&self, at: u64) -> u32 {
        self.core.tlb.ram().read_u32(at).unwrap_or(0)
    }
    /// Real mode with code at 0:`ip` and a stack below 0x8000.
    pub fn real(&mut self, ip: u64) {
        let s = &mut self.core.state;
        s.seg[1] = Segment::real(0);
        s.rip = ip;
        s.gpr[4] = 0x8000;
        self.core.refresh();
    }
    /// A descriptor table at 0x6e000 that agrees with the flat segments: 8 code and 0x10 data, 0x18 and 0x20 for
    /// privilege 3, 0x28 the other code size, 0x30 a 16-bit data segment.
    pub fn table(&mut self) {
        let code = if self.core.state.long() { 0x00af } else { 0x00cf } << 48;
        let other = if self.core.state.long() { 0x00cf } else { 0x008f } << 48;
        let all = [
            0,
            code | 0x9b00_0000_ffff,
            0x00cf_9300_0000_ffff,
            code | 0xfb00_0000_ffff,
            0x00cf_f300_0000_ffff,
            other | 0x9b00_0000_ffff,
            0x0000_9300_0000_ffff,
        ];
        for (n, d) in all.into_iter().enumerate() {
            self.put_u64(0x6e000 + 8 * n as u64, d);
        }
        (self.core.state.gdtr.base, self.core.state.gdtr.limit) = (0x6e000, 0xfff);
    }
    /// A task state at 0x6f000 with stacks below 0xa000 and no ports allowed.
    fn task(&mut self) {
        self.core.state.tr = Segment { sel: 0x38, attr: 0x8b00, limit: 0x67, base: 0x6f000 };
        self.put(0x6f000, &[0; 0x68]);
        self.put(0x6f066, &[0x68, 0]);
        let long = self.core.state.long();
        if long {
            (0..10).for_each(|n| self.put_u64(0x6f004 + 8 * n, 0xa000 + 0x100 * n));
        } else {
            (0..3).for_each(|n| self.put_u64(0x6f004 + 8 * n, 0x10 << 32 | 0xa000));
        }
    }
    /// Flat 32-bit protected mode at privilege `cpl`, without paging.
    pub fn flat32(&mut self, ip: u64, cpl: u8) {
        let s = &mut self.core.state;
        s.cr0 |= 1;
        flat(s, Segment::BIG, cpl, ip);
        self.task();
        self.core.refresh();
    }
    /// 64-bit mode at privilege `cpl`, with one GiB mapped to itself, for everybody, by tables at 0x70000.
    pub fn long(&mut self, ip: u64, cpl: u8) {
        self.put_u64(0x70000, 0x71007);
        self.put_u64(0x71000, 0x87);
        let s = &mut self.core.state;
        s.cr0 = 0x8000_0031;
        s.cr3 = 0x70000;
        s.cr4 |= 0x20;
        s.msr.efer = 0xd01;
        flat(s, Segment::LONG, cpl, ip);
        self.task();
        self.core.refresh();
    }
}

impl Default for Bench {
    fn default() -> Self {
        Self::new()
    }
}

/// Flat segments: code of a size (`Segment::BIG` or `LONG`) at 8, data at 0x10 (0x1b and 0x23 at privilege 3).
fn flat(s: &mut crate::State, size: u32, cpl: u8, ip: u64) {
    let dpl = (cpl as u32) << 13;
    let all = Segment { sel: 0, attr: Segment::GRANULAR | dpl, limit: u32::MAX, base: 0 };
    for n in 0..6 {
        s.seg[n] = Segment {
            sel: if cpl == 3 { 0x23 } else { 0x10 },
            attr: all.attr | 0x9300 | Segment::BIG,
            ..all
        };
    }
    s.seg[1] =
        Segment { sel: if cpl == 3 { 0x1b } else { 8 }, attr: all.attr | 0x9b00 | size, ..all };
    s.cpl = cpl;
    s.rip = ip;
    s.gpr[4] = 0x9000;
}
