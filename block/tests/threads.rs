//! Many threads on one image: each one has sectors of its own, which lie in the same clusters as those of the others.

mod common;

use block::{Image, Qcow2};
use common::*;
use std::sync::atomic::{AtomicBool, Ordering::*};

const SIZE: u64 = 6 << 20;
const THREADS: u64 = 4;
/// Bytes in a row that one thread has.
const OWN: u64 = 2048;

/// Writes, zeroes and reads one thread's pieces; gives what they hold at the end.
fn work(image: &Qcow2, me: u64, steps: u32, mut mine: Vec<u8>) -> Vec<u8> {
    let mut rng = Rng(me);
    let pieces = SIZE / OWN / THREADS;
    for _ in 0..steps {
        let n = rng.below(pieces);
        let at = (n * THREADS + me) * OWN;
        let model = &mut mine[(n * OWN) as usize..((n + 1) * OWN) as usize];
        let mut got = vec![0xEE; OWN as usize];
        match rng.below(10) {
            0..4 => {
                let bytes = rng.bytes(OWN as usize);
                image.write(at, &bytes).unwrap();
                model.copy_from_slice(&bytes);
            }
            4 => {
                image.zero(at, OWN, true).unwrap();
                model.fill(0);
            }
            5 => {
                image.discard(at, OWN).unwrap();
                image.read(at, &mut got).unwrap();
                assert!(got.iter().zip(&*model).all(|(g, m)| g == m || *g == 0));
                model.copy_from_slice(&got);
            }
            6 if rng.below(8) == 0 => image.flush().unwrap(),
            _ => {
                image.read(at, &mut got).unwrap();
                assert!(got == model, "thread {me} at {at:#x}");
                if let Some(read) = image.try_read(at, &mut got) {
                    assert!(read.is_ok() && got == model);
                }
            }
        }
    }
    mine
}

/// Lets all threads work, and one that flushes; gives what the disk holds then.
fn all_work(image: &Qcow2, start: &[u8], steps: u32) -> Vec<u8> {
    let done = AtomicBool::new(false);
    let own = |me: u64| -> Vec<u8> {
        let mine = start.chunks(OWN as usize).skip(me as usize).step_by(THREADS as usize);
        mine.flatten().copied().collect()
    };
    let ends: Vec<Vec<u8>> = std::thread::scope(|s| {
        let one = |me: u64| {
            let mine = own(me);
            s.spawn(move || work(image, me, steps, mine))
        };
        let all: Vec<_> = (0..THREADS).map(one).collect();
        s.spawn(|| {
            while !done.load(Relaxed) {
                image.flush().unwrap();
                std::thread::sleep(std::time::Duration::from_micros(300));
            }
        });
        let ends = all.into_iter().map(|t| t.join().unwrap()).collect();
        done.store(true, Relaxed);
        ends
    });
    let mut model = vec![0; SIZE as usize];
    for (n, piece) in model.chunks_mut(OWN as usize).enumerate() {
        let from = n / THREADS as usize * OWN as usize;
        piece.copy_from_slice(&ends[n % THREADS as usize][from..from + OWN as usize]);
    }
    model
}

#[test]
fn threads_do_not_see_each_others_work() {
    let rows = [
        ("cluster_size=65536", "writeback"),
        ("cluster_size=4096", "writeback"),
        ("cluster_size=2048", "unsafe"),
        ("cluster_size=512,refcount_bits=8", "unsafe"),
        ("cluster_size=65536,compression_type=zstd", "none"),
        ("compat=0.10", "unsafe"),
    ];
    for (n, (options, cache)) in rows.into_iter().enumerate() {
        println!("{options} {cache}");
        let dir = dir();
        let (raw, file) = (path(&dir, "x.raw"), path(&dir, "x.qcow2"));
        let start: Vec<u8> = (0..SIZE).map(|n| (n >> 11) as u8).collect();
        std::fs::write(&raw, &start).unwrap();
        let packed = if n % 2 == 0 { "-c" } else { "-p" };
        qemu_img(&["convert", packed, "-O", "qcow2", "-o", options, name(&raw), name(&file)]);
        qemu_img(&["snapshot", "-c", "s", name(&file)]);
        let image = open(&file, None, cache);
        let model = all_work(&image, &start, if cache == "none" { 300 } else { 1500 });
        assert!(read_all(&image) == model);
        drop(image);
        check(&file);
        assert!(contents(&file) == model);
        qemu_img(&["snapshot", "-a", "s", name(&file)]);
        assert!(contents(&file) == start, "the snapshot");
    }
}

#[test]
fn whole_clusters_come_and_go_under_reading_threads() {
    let dir = dir();
    let file = path(&dir, "x.qcow2");
    qemu_img(&["create", "-q", "-f", "qcow2", "-o", "cluster_size=4096", name(&file), "8M"]);
    let image = open(&file, None, "unsafe");
    let done = AtomicBool::new(false);
    const CLUSTERS: u64 = 256;
    std::thread::scope(|s| {
        // Every cluster holds its own number, or zeroes: what another one held is never seen, though places change owners.
        let writers: Vec<_> = (0..2u64)
            .map(|me| {
                let image = &image;
                s.spawn(move || {
                    let mut rng = Rng(me);
                    for _ in 0..4000 {
                        let c = rng.below(CLUSTERS / 2) * 2 + me;
                        match rng.below(3) {
                            0 => image.discard(c * 4096, 4096).unwrap(),
                            1 if rng.below(10) == 0 => image.flush().unwrap(),
                            _ => image.write(c * 4096, &[c as u8 | 1; 4096]).unwrap(),
                        }
                    }
                })
            })
            .collect();
        for me in 0..2 {
            let (image, done) = (&image, &done);
            s.spawn(move || {
                let mut rng = Rng(50 + me);
                let mut b = vec![0; 4096 * 3];
                while !done.load(Relaxed) {
                    let c = rng.below(CLUSTERS - 3);
                    image.read(c * 4096, &mut b).unwrap();
                    for (n, part) in b.chunks(4096).enumerate() {
                        let own = (c + n as u64) as u8 | 1;
                        assert!(
                            part.iter().all(|&x| x == own || x == 0),
                            "cluster {c} {n}: {}",
                            part[0]
                        );
                    }
                }
            });
        }
        writers.into_iter().for_each(|w| w.join().unwrap());
        done.store(true, Relaxed);
    });
    drop(image);
    check(&file);
}
