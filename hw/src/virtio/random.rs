//! For tests: a driver gone mad. Rings full of almost good chains, answers that were never asked for, moves, resets.

use super::driver::*;
use super::pci::{PciOptions, VirtioPci};
use super::*;
use crate::pci::Function;
use Width::*;
use std::cell::Cell;

/// xorshift64*.
struct Random(Cell<u64>);
impl Random {
    fn below(&self, n: u64) -> u64 {
        let mut x = self.0.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.0.set(x);
        (x.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16) % n
    }
    fn one_in(&self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// Almost always memory, often the rings themselves.
fn place(r: &Random) -> u64 {
    match r.below(40) {
        0 => u64::MAX - r.below(32),
        1 => 0x1000 + r.below(0x400),
        _ => 0x10_0000 + 16 * r.below(0x100),
    }
}

fn descriptor<D: VirtioDevice>(g: &mut Guest<D>, r: &Random, at: u64, size: u64) {
    let len = [1, 8, 16, 32, 512, 513, 4096, 1 << 20, u32::MAX][r.below(9) as usize];
    let next = r.below(size + u64::from(r.one_in(50)));
    let flags = [0, 0, NEXT, NEXT, NEXT, INDIRECT][r.below(6) as usize];
    let write = flags != INDIRECT && r.below(2) == 0;
    g.descriptor(at, (place(r), len, write), flags, next as u16);
}

/// A chain that is good in form, with a disk's header.
fn good<D: VirtioDevice>(g: &mut Guest<D>, r: &Random, n: usize) {
    let header = 0x10_0000 + 16 * r.below(0x100);
    let kind = [0, 1, 4, 8, 11, 13, 3][r.below(7) as usize] as u32;
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&kind.to_le_bytes());
    bytes[8] = r.below(64) as u8;
    g.put(header, &bytes);
    let (len, write) = ([16, 512, 1024][r.below(3) as usize], r.below(2) == 0);
    g.queue(n, &[(header, 16, false), (place(r), len, write), (place(r), 1, true)]);
}

fn step<D: VirtioDevice>(g: &mut Guest<D>, r: &Random, make: fn() -> D) {
    let n = r.below(g.rings.len() as u64) as usize;
    let Ring { size, desc, avail, .. } = g.rings[n];
    match r.below(16) {
        0..=3 => good(g, r, n),
        4 => descriptor(g, r, desc + 16 * r.below(size.into()), size.into()),
        5 => descriptor(g, r, 0x10_0000 + 16 * r.below(0x100), 8),
        6 => g.offer(n, r.below(u64::from(size) + u64::from(r.one_in(50))) as u16),
        7 if r.one_in(20) => g.put(avail + r.below(8), &[r.below(256) as u8]),
        8..=10 => g.kick(n),
        11 => {
            let result = match r.below(3) {
                0 => Err(DiskError::Io),
                1 => Ok(vec![]),
                _ => Ok(vec![1; 512 << r.below(2)]),
            };
            let tag = r.below(64);
            g.input(Input::Disk { unit: 0, tag, result: result.map(Buffer::from) });
        }
        12 => {
            let what = match r.below(3) {
                0 => Input::Carrier(r.one_in(2)),
                _ => Input::Bytes(vec![7; r.below(5000) as usize]),
            };
            g.input(Input::To(r.below(4) as u16, Box::new(what)));
        }
        13 if r.one_in(10) => {
            let (block, physical) = (512 << r.below(4), r.below(5000) as u32);
            let len = r.below(100_000);
            let medium = Medium { len, read_only: r.one_in(3), block, physical, write_cache: true };
            g.input(Input::Medium { unit: 0, medium: Some(medium) });
        }
        14 if r.one_in(10) => g.move_to(make(), PciOptions::default()),
        15 if r.one_in(20) => g.config_write(4, W16, r.below(8)),
        _ => {
            g.b.now += r.below(2_000_000);
            if g.b.wake.is_some_and(|at| at <= g.b.now) {
                g.b.run_to_wake(&mut g.d);
            }
        }
    }
}

fn run<D: VirtioDevice>(make: fn() -> D) {
    let r = Random(Cell::new(0x1234_5678_9ABC_DEF1));
    for life in 0..300 {
        let mut g = Guest::new(make(), PciOptions::default());
        g.config_write(4, W16, 7);
        if life % 3 == 0 {
            let queues = make().queues().len().min(2) as u64;
            g.start_legacy(0x3000_0000, queues);
        } else {
            g.start_modern(if life % 2 == 0 { u64::MAX } else { 1 << VERSION_1 });
            g.indirect = false;
        }
        for _ in 0..300 {
            step(&mut g, &r, make);
        }
        let before = g.d.save();
        g.d.settle(&mut g.b);
        assert!(g.d.save() == before && before.len() < 200_000);
        g.config_write(4, W16, 7);
        // Whatever has happened, a reset heals it.
        g.start_modern(u64::MAX);
        assert_eq!(g.status(), 0xF);
        let _: &VirtioPci<D> = &g.d;
        assert!(g.d.config().bus_master());
    }
}

#[test]
fn a_disk_stands_a_mad_driver() {
    run(|| Blk::new(BlkConfig { queues: 2, ..BlkConfig::default() }));
}
#[test]
fn random_bytes_stand_a_mad_driver() {
    run(|| Rng::new(RngConfig { limit: Some((100_000, 3_000_000)) }));
}
#[test]
fn ports_stand_a_mad_driver() {
    run(|| {
        let port = |number, console| Port { number, console, name: "name".into() };
        let ports = vec![port(0, true), port(2, false)];
        Console::new(ConsoleConfig { ports, max_ports: 3, emergency_write: true })
    });
}
