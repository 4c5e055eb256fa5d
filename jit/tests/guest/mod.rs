#![allow(dead_code)] // Each user needs a part of it.
//! A machine of one core and some RAM, in 64-bit mode without paging, for programs written in Rust.

use cpu::{Bus, Core, Width, flags};
use iced_x86::code_asm::CodeAssembler;
use jit::{Config, Engine};
use memory::{Ram, Target};
use std::sync::Arc;

/// Where programs are.
pub const CODE: u64 = 0x10000;
/// Where their data is.
pub const DATA: u64 = 0x100000;
pub const RAM: u64 = 16 << 20;
/// A write to this port asks for interrupt [`VECTOR`].
pub const CALL: u16 = 0x20;
pub const VECTOR: u8 = 0x40;
/// A page that answers as a device: reads give the count of instructions, writes are noted.
pub const DEVICE: u64 = 0xf000_0000;

pub const NEVER: u32 = u32::MAX;
pub fn tiers(threshold: u32, baseline: u32) -> Config {
    Config { threshold, baseline, background: false, ..Config::default() }
}
/// All tiers in all their turns, regions by both compilers.
pub fn configs() -> impl Iterator<Item = Config> {
    let thresholds = [0, 1, 50, NEVER];
    let all = thresholds.into_iter().flat_map(|t| [0, 2, NEVER].map(|b| tiers(t, b)));
    all.flat_map(|c| [c, Config { cranelift: true, ..c }])
}

/// Numbers by chance (xorshift64*).
pub struct Chance(pub u64);
impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() >> 33) as usize % n
    }
    pub fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

#[derive(Default)]
pub struct TestBus {
    pub log: Vec<(u64, u64, u64)>,
    /// An interrupt waits. Port [`CALL`] asks for one.
    pub called: bool,
    /// Somebody has to look at that.
    pub attention: bool,
}

impl Bus for TestBus {
    fn page(&mut self, phys: u64) -> Option<Target> {
        (phys < RAM).then_some(Target::Ram { offset: phys })
    }
    fn read(&mut self, count: u64, phys: u64, _w: Width) -> u64 {
        if phys & !0xfff == DEVICE { count } else { !0 }
    }
    fn write(&mut self, count: u64, phys: u64, _w: Width, value: u64) {
        self.log.push((count, phys, value));
    }
    fn port_read(&mut self, count: u64, _port: u16, _w: Width) -> u64 {
        count
    }
    fn port_write(&mut self, count: u64, port: u16, _w: Width, value: u64) {
        self.log.push((count, port as u64, value));
        if port == CALL {
            (self.called, self.attention) = (true, true);
        }
    }
    fn tsc(&mut self, count: u64) -> u64 {
        count
    }
    fn acknowledge(&mut self, _count: u64) -> Option<u8> {
        self.attention = true;
        std::mem::take(&mut self.called).then_some(VECTOR)
    }
    fn msr_read(&mut self, _count: u64, _msr: u32) -> Option<u64> {
        None
    }
    fn msr_write(&mut self, _count: u64, _msr: u32, _value: u64) -> Option<()> {
        None
    }
    fn tpr(&mut self) -> u8 {
        0
    }
    fn set_tpr(&mut self, _count: u64, _class: u8) {}
    fn random(&mut self) -> u64 {
        4
    }
    fn attention(&mut self) -> bool {
        self.attention
    }
    fn complain(&mut self, _what: std::fmt::Arguments<'_>) {}
}

pub struct Guest {
    pub core: Box<Core>,
    pub bus: TestBus,
    pub ram: Arc<Ram>,
    pub engine: Engine,
}

impl Guest {
    /// A guest with `code` at [`CODE`], about to run it, with the stack below [`DATA`].
    pub fn new(code: &[u8], config: Config) -> Guest {
        Guest::at(CODE, code, config)
    }
    /// The same with the code elsewhere.
    pub fn at(at: u64, code: &[u8], config: Config) -> Guest {
        let ram = Arc::new(Ram::new(RAM).unwrap());
        ram.write(at, code).unwrap();
        let model = Arc::new(cpu::big::cpuid::Model::max());
        let mut core = Core::new(0, ram.clone(), model);
        let s = &mut core.state;
        s.msr.efer = 1 << 10 | 1 << 8;
        s.cr0 |= 1;
        s.cr4 |= 1 << 9 | 1 << 18;
        s.xcr0 = 7;
        s.seg[1].attr = 0xa09b00;
        s.seg[1].base = 0;
        s.seg[1].limit = u32::MAX;
        for n in [0, 2, 3, 4, 5] {
            s.seg[n].attr = 0xc09300;
            s.seg[n].base = 0;
            s.seg[n].limit = u32::MAX;
        }
        s.rflags = 2 | flags::IF;
        s.rip = at;
        s.gpr[4] = DATA;
        core.refresh();
        assert!(core.mode.long64());
        let engine = Engine::new(ram.clone(), config).unwrap();
        Guest { core, bus: TestBus::default(), ram, engine }
    }

    /// Runs `insns` instructions.
    pub fn run(&mut self, insns: u64) {
        self.core.set_budget(insns);
        self.engine.run(&mut self.core, &mut self.bus);
    }

    /// All that differs between two runs that ought to be the same: registers, flags and a sum over RAM.
    pub fn state(&mut self) -> String {
        self.core.state.settle();
        let s = &self.core.state;
        let mut sum = 0u64;
        for at in (0..RAM).step_by(8) {
            sum = (sum ^ self.ram.read_u64(at).unwrap()).wrapping_mul(0x100000001b3).rotate_left(7);
        }
        format!(
            "{:x?} rip={:x} flags={:x} ymm={:x?} mxcsr={:x} {:x?} ram={sum:x} n={} bus={:x?} act={:?}",
            s.gpr,
            s.rip,
            s.flags(),
            s.ymm,
            s.mxcsr,
            s.fpu,
            self.core.retired(),
            self.bus.log,
            self.core.activity(),
        )
    }
}

/// Assembles a program for [`CODE`].
pub fn asm(write: impl FnOnce(&mut CodeAssembler) -> Result<(), iced_x86::IcedError>) -> Vec<u8> {
    let mut a = CodeAssembler::new(64).unwrap();
    write(&mut a).unwrap();
    a.assemble(CODE).unwrap()
}
