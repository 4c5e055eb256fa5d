//! `cargo run --release -p block --example speed [FOLDER]`: how long requests take, on raw and qcow2 images.

use block::{Graph, Image, NodeSpec, Op, Queue, qcow2};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

const SIZE: u64 = 512 << 20;

fn main() {
    let dir = std::env::args().nth(1).unwrap_or_else(|| ".".into());
    let dir = tempfile::tempdir_in(dir).expect("a folder");
    for format in ["raw", "qcow2"] {
        for cache in ["writeback", "none"] {
            one(&dir.path().join(format), format, cache);
        }
    }
}

fn open(graph: &mut Graph, path: &Path, format: &str, cache: &str) -> Arc<dyn Image> {
    let mut spec = NodeSpec::disk(path, Some(format)).expect("a format");
    spec.cache = block::Cache::named(cache);
    graph.open(&spec).expect("an image")
}

fn one(path: &Path, format: &str, cache: &str) {
    std::fs::write(path, []).expect("a file");
    let mut graph = Graph::new();
    let raw = open(&mut graph, path, "raw", "writeback");
    match format {
        "raw" => raw.resize(SIZE).expect("room"),
        _ => qcow2::create(&*raw, &qcow2::Create::new(SIZE)).expect("an image"),
    }
    drop(raw);
    let image = open(&mut graph, path, format, cache);
    let mut q = Queue::new(image, 4, Arc::new(|| {})).expect("threads");
    let pieces = |len: u64| (0..SIZE / len).map(move |n| n * len);
    let write =
        |len: u64| move |at| Op::Write { at, data: vec![7; len as usize].into(), fua: false };
    let read = |len: u64| move |at| Op::Read { at, len: len as u32 };
    let tell = |what: &str, n: u64, bytes: u64, start: Instant| {
        let s = start.elapsed().as_secs_f64();
        let (us, mb) = (s * 1e6 / n as f64, (n * bytes) as f64 / s / 1e6);
        println!("{format:6} {cache:10} {what:28} {us:9.2} us each {mb:9.1} MB/s");
    };
    let mut run = |what: &str, ops: &mut dyn Iterator<Item = Op>, depth: usize, bytes: u64| {
        let (start, mut n) = (Instant::now(), 0);
        for op in ops {
            if q.flying() >= depth {
                assert!(q.wait().expect("an answer").result.is_ok());
            }
            q.submit(n, op);
            n += 1;
        }
        while let Some(done) = q.wait() {
            assert!(done.result.is_ok());
        }
        tell(what, n, bytes, start);
    };
    run("fresh writes of 1 MiB", &mut pieces(1 << 20).map(write(1 << 20)), 4, 1 << 20);
    run("flush", &mut [Op::Flush].into_iter(), 1, 0);
    run("writes over, 1 MiB", &mut pieces(1 << 20).map(write(1 << 20)), 4, 1 << 20);
    run("reads of 1 MiB", &mut pieces(1 << 20).map(read(1 << 20)), 4, 1 << 20);
    let random =
        || (0..50_000u64).map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15) % (SIZE / 4096) * 4096);
    let few = |n| random().take(n);
    let n = if cache == "none" { 3000 } else { 50_000 };
    run("random reads of 4 KiB", &mut few(n).map(read(4096)), 1, 4096);
    run("the same, 16 at once", &mut few(n).map(read(4096)), 16, 4096);
    run("random writes of 4 KiB", &mut few(n).map(write(4096)), 1, 4096);
    run("the same, 16 at once", &mut few(n).map(write(4096)), 16, 4096);
}
