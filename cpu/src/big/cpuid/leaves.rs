//! The leaves.

use super::table::{Reg, bits};
use super::{Feature, Model};
use crate::Core;
use crate::big::xsave;

/// The number of bits that `n` things are numbered with.
fn width(n: u32) -> u32 {
    n.next_power_of_two().trailing_zeros()
}

/// EAX, EBX, ECX, EDX of a leaf.
pub fn leaf(c: &Core, leaf: u32, sub: u32) -> [u32; 4] {
    let m = &*c.model;
    let (base, extended) = limits(m);
    let f = |leaf, sub, reg| bits(|f| m.offers(f), leaf, sub, reg);
    match leaf {
        // Beyond the last leaf the last basic one answers on Intel; AMD gives zeroes.
        0x8000_0000.. if leaf <= extended => extended_leaf(c, leaf),
        0x4000_0000..=0x4000_00ff if m.offers(Feature::Hypervisor) => hypervisor(leaf),
        _ if leaf <= base => basic_leaf(c, leaf, sub, f),
        _ if !m.amd() && leaf < 0x4000_0000 => basic_leaf(c, base, sub, f),
        _ => [0; 4],
    }
}

fn limits(m: &Model) -> (u32, u32) {
    let base = if m.offers(Feature::Xsave) || m.offers(Feature::Smep) {
        if m.amd() { 0xd } else { 0x1f }
    } else {
        0xd
    };
    let extended = match (m.amd(), m.offers(Feature::Lm)) {
        (true, true) => 0x8000_0021,
        (_, true) => 0x8000_0008,
        _ => 0x8000_0004,
    };
    (base, extended)
}

fn text(b: &[u8]) -> u32 {
    b.iter().rev().fold(0, |all, &b| all << 8 | b as u32)
}

fn hypervisor(leaf: u32) -> [u32; 4] {
    match leaf {
        0x4000_0000 => {
            let name = b"TCGTCGTCGTCG";
            [0x4000_0001, text(&name[..4]), text(&name[4..8]), text(&name[8..])]
        }
        _ => [0; 4],
    }
}

fn basic_leaf(c: &Core, leaf: u32, sub: u32, f: impl Fn(u32, u32, Reg) -> u32) -> [u32; 4] {
    let m = &*c.model;
    let (_, cores, threads) = m.topology;
    let logical = cores * threads;
    match leaf {
        0 => {
            let v = &m.vendor;
            [limits(m).0, text(&v[..4]), text(&v[8..]), text(&v[4..8])]
        }
        1 => {
            let osxsave = (c.state.cr4 >> 18 & 1) as u32;
            let several = if logical > 1 { logical.min(255) << 16 } else { 0 };
            let ebx = c.id << 24 | several | 8 << 8;
            let ecx = f(1, 0, Reg::Ecx) | osxsave << 27;
            let mut edx = f(1, 0, Reg::Edx);
            if c.state.msr.apic_base & 1 << 11 == 0 {
                edx &= !(1 << 9);
            }
            if logical > 1 {
                edx |= 1 << 28;
            }
            [m.signature(), ebx, ecx, edx]
        }
        2 if !m.amd() => [1, 0, 0x4d, 0x2c_307d],
        4 if !m.amd() => cache(m, sub),
        // One state of C1 (EDX): guests idle by MWAIT then, and wake each other by a store instead of an interrupt.
        5 => [64, 64, 3, 0x10],
        6 => [f(6, 0, Reg::Eax), 0, 0, 0],
        7 if sub == 0 => {
            let ospke = (c.state.cr4 >> 22 & 1) as u32;
            let ecx = f(7, 0, Reg::Ecx) | ospke << 4;
            [0, f(7, 0, Reg::Ebx), ecx, f(7, 0, Reg::Edx)]
        }
        0xb | 0x1f if !m.amd() || leaf == 0xb => topology(c, sub),
        0xd if m.offers(Feature::Xsave) => state_leaf(c, sub, f),
        0x15 if !m.amd() => {
            // TSC = crystal * EBX / EAX.
            [1, (m.tsc_hz / 1_000_000).max(1) as u32, 1_000_000, 0]
        }
        0x16 if !m.amd() => {
            let mhz = (m.tsc_hz / 1_000_000) as u32 & 0xffff;
            [mhz, mhz, 100, 0]
        }
        _ => [0; 4],
    }
}

/// Leaf 4: 32 KiB of data and of instructions, 4 MiB, 16 MiB shared by the package.
fn cache(m: &Model, sub: u32) -> [u32; 4] {
    let (_, cores, threads) = m.topology;
    let (kind, level, ways, sets, shared, edx) = match sub {
        0 => (1, 1, 8, 64, threads, 1),
        1 => (2, 1, 8, 64, threads, 1),
        2 => (3, 2, 16, 4096, threads, 1),
        3 => (3, 3, 16, 16384, cores * threads, 6),
        _ => return [0; 4],
    };
    let shared = (1u32 << width(shared)) - 1;
    let cores = (1u32 << width(cores)) - 1;
    let eax = kind | level << 5 | 1 << 8 | (shared & 0xfff) << 14 | (cores & 0x3f) << 26;
    [eax, (ways - 1) << 22 | 63, sets - 1, edx]
}

/// Leaves 0xB and 0x1F: thread and core numbers in the APIC id.
fn topology(c: &Core, sub: u32) -> [u32; 4] {
    let (_, cores, threads) = c.model.topology;
    match sub {
        0 => [width(threads), threads, 1 << 8, c.id],
        1 => [width(threads) + width(cores), cores * threads, 1 | 2 << 8, c.id],
        _ => [0, 0, sub & 0xff, c.id],
    }
}

/// Leaf 0xD.  SDM 1, 13.2.
fn state_leaf(c: &Core, sub: u32, f: impl Fn(u32, u32, Reg) -> u32) -> [u32; 4] {
    let m = &*c.model;
    let all = xsave::components(m);
    match sub {
        0 => {
            let (now, most) = (xsave::size(c.state.xcr0), xsave::size(all));
            [all as u32, now, most, (all >> 32) as u32]
        }
        1 => {
            let now = xsave::compact_size(c.state.xcr0 | c.state.msr.xss);
            let has = m.offers(Feature::Xsavec) || m.offers(Feature::Xsaves);
            [f(0xd, 1, Reg::Eax), if has { now } else { 0 }, 0, 0]
        }
        2..=62 if all >> sub & 1 != 0 => {
            let (at, len) = xsave::place(sub);
            [len, at, 0, 0]
        }
        _ => [0; 4],
    }
}

fn extended_leaf(c: &Core, leaf: u32) -> [u32; 4] {
    let m = &*c.model;
    let f = |leaf, sub, reg| bits(|f| m.offers(f), leaf, sub, reg);
    let (_, cores, threads) = m.topology;
    let logical = cores * threads;
    match leaf {
        0x8000_0000 => {
            let v = &m.vendor;
            [limits(m).1, text(&v[..4]), text(&v[8..]), text(&v[4..8])]
        }
        0x8000_0001 => {
            let mut edx = f(leaf, 0, Reg::Edx);
            let mut ecx = f(leaf, 0, Reg::Ecx);
            if m.amd() {
                // AMD repeats most of leaf 1.
                edx |= f(1, 0, Reg::Edx) & 0x0183_f3ff;
                if logical > 1 {
                    ecx |= 1 << 1;
                }
            }
            [if m.amd() { m.signature() } else { 0 }, 0, ecx, edx]
        }
        0x8000_0002..=0x8000_0004 => {
            let mut b = [0; 48];
            for (to, from) in b.iter_mut().zip(m.brand.bytes()) {
                *to = from;
            }
            let at = (leaf - 0x8000_0002) as usize * 16;
            std::array::from_fn(|n| text(&b[at + 4 * n..at + 4 * n + 4]))
        }
        0x8000_0005 if m.amd() => {
            // 32 KiB, 8 ways, lines of 64 bytes.
            let l1 = 32 << 24 | 8 << 16 | 1 << 8 | 64;
            [0x01ff_01ff, 0x01ff_01ff, l1, l1]
        }
        0x8000_0006 => {
            let l3 = if m.amd() { 32 << 18 | 8 << 12 | 1 << 8 | 64 } else { 0 };
            [0, if m.amd() { 0x4200_4200 } else { 0 }, 512 << 16 | 6 << 12 | 1 << 8 | 64, l3]
        }
        0x8000_0007 => [0, 0, 0, f(leaf, 0, Reg::Edx)],
        0x8000_0008 => {
            let virt = if m.offers(Feature::La57) { 57 } else { 48 };
            let ecx = if m.amd() && logical > 1 {
                width(logical) << 12 | (logical - 1) & 0xff
            } else {
                0
            };
            [m.phys_bits() | virt << 8, f(leaf, 0, Reg::Ebx), ecx, 0]
        }
        0x8000_0021 => [f(leaf, 0, Reg::Eax), 0, 0, 0],
        _ => [0; 4],
    }
}
