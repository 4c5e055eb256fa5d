//! A case of `fuzz-bytes`: a mode, what is in memory and registers, where code begins.

use super::code::Coder;
use super::tables::{self, Tables};
use crate::rng::{self, Rng, integer};
use cpu::{Segment, State, Table, flags};
use machine::Machine;
use memory::Width;

/// How addresses are translated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Paging {
    Off,
    Legacy,
    Pae,
    Four,
    Five,
}

/// A mode: its name, paging, code size, whether at privilege 3, whether virtual-8086.
#[derive(Debug)]
pub struct Kind {
    pub name: &'static str,
    paging: Paging,
    bits: u32,
    user: bool,
    protected: bool,
}

const fn kind(name: &'static str, paging: Paging, bits: u32, user: bool) -> Kind {
    Kind { name, paging, bits, user, protected: true }
}

#[rustfmt::skip]
pub const KINDS: &[Kind] = &[
    Kind { protected: false, ..kind("real", Paging::Off, 16, false) },
    kind("vm86", Paging::Legacy, 16, true),
    kind("protected 16, ring 0", Paging::Off, 16, false),
    kind("protected 16, ring 3", Paging::Pae, 16, true),
    kind("protected 32, ring 0", Paging::Off, 32, false),
    kind("protected 32, ring 3", Paging::Off, 32, true),
    kind("protected 32 paged, ring 0", Paging::Legacy, 32, false),
    kind("protected 32 paged, ring 3", Paging::Legacy, 32, true),
    kind("protected 32 PAE, ring 0", Paging::Pae, 32, false),
    kind("protected 32 PAE, ring 3", Paging::Pae, 32, true),
    kind("compatibility 16", Paging::Four, 16, true),
    kind("compatibility 32, ring 0", Paging::Four, 32, false),
    kind("compatibility 32, ring 3", Paging::Five, 32, true),
    kind("long, ring 0", Paging::Four, 64, false),
    kind("long, ring 3", Paging::Four, 64, true),
    kind("long with 5 levels, ring 0", Paging::Five, 64, false),
    kind("long with 5 levels, ring 3", Paging::Five, 64, true),
];

impl Kind {
    fn long(&self) -> bool {
        matches!(self.paging, Paging::Four | Paging::Five)
    }
    fn vm86(&self) -> bool {
        self.name == "vm86"
    }
    fn flat_segments(&self) -> bool {
        self.protected && !self.vm86()
    }
}

/// What was made for a case.
pub struct Scene {
    pub kind: &'static Kind,
    /// Instructions to execute.
    pub length: u64,
    /// The core's state is what a damaged file may hold: it must be lived with, but how is not compared.
    pub damaged: bool,
}

/// Puts a case into a machine that is as after power-on.
pub fn set(m: &mut Machine, seed: u64, number: u64, pool: &[Vec<u8>]) -> Scene {
    let mut r = Rng::of(seed, number);
    let kind = &KINDS[r.below(KINDS.len() as u64) as usize];
    let ram = m.world.ram.clone();
    let background: Vec<u8> = (0..0x4000).flat_map(|_| integer(&mut r, 64).to_le_bytes()).collect();
    for at in [tables::STACK, tables::DATA] {
        let _ = ram.write(at, &background[..0x1_0000]);
    }
    let narrow = if kind.bits == 16 { tables::DATA } else { 0 };
    let mut t = Tables { ram: &ram, r: &mut r, long: kind.long(), user: kind.user };
    t.pages();
    let descriptors = t.descriptors(narrow);
    t.tasks();
    t.handlers();
    if t.r.permille(120) {
        t.corrupt();
    }
    for n in 0..4 {
        let data = if kind.bits == 16 { 0 } else { tables::DATA };
        let mut c = Coder { r: &mut r, bits: kind.bits, pool, data, out: Vec::new() };
        c.program();
        let _ = ram.write(tables::CODE + 0x1000 * n, &c.out);
    }
    let damaged = r.permille(60);
    for n in 0..m.cores.len() {
        if n == 0 || r.below(2) == 0 {
            state(&mut m.cores[n].state, &mut r, kind, &descriptors);
            m.cores[n].state.rip += 0x1000 * n as u64;
            if damaged {
                damage(&mut m.cores[n].state, &mut r);
            }
            m.cores[n].refresh();
            m.cores[n].tlb.flush();
        }
    }
    if r.permille(400) {
        timers(m, &mut r);
    }
    Scene { kind, length: 200 << r.below(7), damaged }
}

/// A saved state with wrong bytes, as far as it can be loaded.
fn damage(s: &mut State, r: &mut Rng) {
    for _ in 0..1 + r.below(8) {
        let mut bytes = s.save();
        let at = r.below(bytes.len() as u64) as usize;
        bytes[at] = integer(r, 8) as u8;
        if let Ok(loaded) = State::load(&bytes)
            && loaded.check().is_ok()
        {
            *s = loaded;
        }
    }
}

fn state(s: &mut State, r: &mut Rng, kind: &Kind, descriptors: &[u64]) {
    control(s, r, kind);
    let pick = |index: u16| {
        let index = index + if kind.user { tables::USER } else { 0 };
        tables::segment(index << 3 | if kind.user { 3 } else { 0 }, descriptors[index as usize])
    };
    let (code, data) = match kind.bits {
        64 => (tables::CODE64, tables::DATA32),
        32 => (tables::CODE32, tables::DATA32),
        _ => (tables::CODE16, tables::DATA16),
    };
    if kind.flat_segments() {
        s.seg = [pick(data); 6];
        s.seg[1] = pick(code);
        if kind.bits == 64 {
            s.seg[4].base = tables::DATA;
            s.seg[5].base = r.pick(&[0, tables::DATA, 0xFFFF_8000_0000_0000]);
            s.msr.kernel_gs_base = tables::DATA;
        }
    } else {
        let attr = if kind.vm86() { 0xF300 } else { 0x9300 };
        let at = |linear: u64| Segment { attr, ..Segment::real((linear >> 4) as u16) };
        s.seg = [at(tables::DATA); 6];
        s.seg[1] = at(tables::CODE);
        s.seg[2] = at(tables::STACK);
    }
    s.cpl = if kind.user { 3 } else { 0 };
    s.rip = if kind.bits == 16 { 0 } else { tables::CODE };
    for (n, g) in s.gpr.iter_mut().enumerate() {
        *g = register(r, kind);
        if n == 4 {
            *g = 0x8000 + if kind.bits == 16 { 0 } else { tables::STACK };
        } else if !kind.long() {
            *g &= 0xFFFF_FFFF;
        }
    }
    s.gdtr = state_table(tables::GDT, 8 * 40 - 1);
    s.idtr = if kind.protected { state_table(tables::IDT, 0xFFF) } else { state_table(0, 0x3FF) };
    if kind.protected {
        s.tr = tables::segment(tables::TASK << 3, descriptors[tables::TASK as usize]);
        s.ldtr = tables::segment(tables::LOCAL << 3, descriptors[tables::LOCAL as usize]);
    }
    units(s, r);
    let mut f = r.next() & 0xCD5 | u64::from(r.permille(700)) << 9 | r.below(4) << 12;
    f |= u64::from(r.permille(20)) << 8 | u64::from(r.permille(50)) << 18;
    f |= u64::from(r.permille(20)) << 14 | u64::from(r.permille(10)) << 16;
    f |= if kind.vm86() { flags::VM } else { 0 };
    s.set_flags(f);
    if r.permille(40) {
        (0..4).for_each(|n| s.dr[n] = register(r, kind));
        s.dr7 = r.next() & 0xFFFF_0BFF | 0x400;
    }
}

fn state_table(base: u64, limit: u16) -> Table {
    Table { base, limit }
}

/// A number, or an address that means something.
fn register(r: &mut Rng, kind: &Kind) -> u64 {
    let base = if kind.bits == 16 { 0 } else { tables::DATA };
    let high = if kind.bits == 64 { r.pick(&[0, 0, 0xFFFF_FFFF_C000_0000]) } else { 0 };
    match r.below(16) {
        0..6 => base + r.below(0x8000) + high,
        6 => tables::DEVICES + r.below(0x20_0000) & !(r.below(2) * 7),
        7 => tables::CODE + r.below(0x200),
        8 => r.below(tables::RAM),
        9 => base + 0x1000 * r.below(8) - r.below(8).min(base),
        _ => integer(r, 64),
    }
}

/// Control registers and what depends on them.
fn control(s: &mut State, r: &mut Rng, kind: &Kind) {
    let mut some = |permille, bit: u64| u64::from(r.permille(permille)) << bit;
    let mut cr0 = 0x10 | some(500, 1) | some(30, 2) | some(30, 3) | some(500, 5);
    cr0 |= some(500, 16) | some(300, 18) | some(20, 30);
    // VME PVI TSD DE PSE MCE PGE PCE, OSFXSR OSXMMEXCPT UMIP, FSGSBASE, OSXSAVE, SMEP SMAP PKE.
    let mut cr4 = some(100, 0) | some(100, 1) | some(100, 2) | some(200, 3) | some(500, 4);
    cr4 |= some(300, 6) | some(500, 7) | some(500, 8) | some(930, 9) | some(900, 10);
    cr4 |= some(100, 11) | some(500, 16) | some(900, 18) | some(100, 20) | some(100, 21);
    cr4 |= some(100, 22);
    let efer = some(700, 0) | if kind.paging == Paging::Legacy { 0 } else { 1 << 11 };
    s.msr.efer = efer;
    if kind.protected {
        cr0 |= 1;
    }
    s.cr3 = match kind.paging {
        Paging::Off => 0,
        Paging::Legacy => tables::PD32,
        Paging::Pae => tables::PDPT_PAE,
        Paging::Four => tables::PML4,
        Paging::Five => tables::PML5,
    };
    if kind.paging != Paging::Off {
        cr0 |= 1 << 31;
        s.cr3 |= r.pick(&[0, 0, 8, 0x10]);
    }
    if !matches!(kind.paging, Paging::Off | Paging::Legacy) {
        cr4 |= 1 << 5;
    }
    if kind.paging == Paging::Pae {
        s.pdpte = [0x10_3001; 4];
    }
    if kind.long() {
        s.msr.efer |= 0x500;
        cr4 |= u64::from(kind.paging == Paging::Five) << 12;
        if r.permille(150) {
            cr4 |= 1 << 17;
            s.cr3 |= r.below(0x1000);
        }
    }
    (s.cr0, s.cr4) = (cr0, cr4);
    s.xcr0 = r.pick(&[7, 7, 7, 3, 1]);
    let to = tables::CODE + r.below(0x100);
    let index = |n: u16| u64::from(n << 3);
    s.msr.star = index(tables::CODE64) << 32 | (index(tables::CODE32 + tables::USER) | 3) << 48;
    (s.msr.lstar, s.msr.cstar, s.msr.sfmask) = (to, to, r.next() & 0x7_0600);
    s.msr.sysenter_cs = index(tables::CODE32);
    (s.msr.sysenter_esp, s.msr.sysenter_eip) = (0x11_E000, to);
    if r.permille(200) {
        s.pkru = r.next() as u32;
    }
}

/// x87 and vector registers.
fn units(s: &mut State, r: &mut Rng) {
    for y in &mut s.ymm {
        let mut wide = || match r.below(3) {
            0 => u128::from(rng::float(r, 11, 52)) << 64 | u128::from(rng::float(r, 11, 52)),
            1 => (0..4).fold(0, |v, _| v << 32 | u128::from(rng::float(r, 8, 23))),
            _ => u128::from(r.next()) << 64 | u128::from(r.next()),
        };
        *y = [wide(), wide()];
    }
    for n in 0..8 {
        let v = rng::extended(r);
        (s.fpu.sig[n], s.fpu.sexp[n]) = (v as u64, (v >> 64) as u16);
    }
    s.fpu.top = r.below(8) as u8;
    let any = r.next() as u8;
    s.fpu.empty = r.pick(&[0xFF, 0, 0x0F, any]);
    if r.permille(300) {
        s.fpu.cw = r.next() as u16 & 0x1F3F | 0x40;
        s.mxcsr = r.next() as u32 & 0xFFFF;
    }
    if r.permille(50) {
        s.fpu.sw = r.next() as u16 & 0x47FF;
    }
}

/// Interrupts: the PIT by the 8259s, and the local APIC's timer.
fn timers(m: &mut Machine, r: &mut Rng) {
    let every = 20 + r.below(2000);
    let mask = r.pick(&[0xFE, 0xFE, 0, 0xAA]);
    let ports = [
        (0x20u16, 0x11),
        (0x21, 0x20),
        (0x21, 4),
        (0x21, 1),
        (0x21, mask),
        (0xA0, 0x11),
        (0xA1, 0x28),
        (0xA1, 2),
        (0xA1, 1),
        (0xA1, mask),
        (0x43, 0x34),
        (0x40, every & 0xFF),
        (0x40, every >> 8),
    ];
    let timer = 0x40 | r.pick(&[0u64, 1 << 17, 1 << 16]);
    let apic = [
        (0xF0u64, 0x1FFu64),
        (0x350, 0x700),
        (0x320, timer),
        (0x3E0, r.below(12)),
        (0x380, 100 + r.below(20_000)),
    ];
    m.with_core(0, |s| {
        let now = s.c.retired();
        for (port, v) in ports {
            s.bus.port_write(now, port, Width::W8, v);
        }
        for (at, v) in apic {
            s.bus.write(now, 0xFEE0_0000 + at, Width::W32, v);
        }
    });
}
