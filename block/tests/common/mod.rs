//! What tests of images share: qemu-img as the judge, random numbers, and a disk as a plain row of bytes.
#![allow(dead_code)]

use block::{Access, Cache, HostFile, Image, Qcow2, Raw, qcow2::Options};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// Runs qemu-img; gives its exit code and what it said.
pub fn qemu_img_says(args: &[&str]) -> (i32, String) {
    for _ in 0..100 {
        let out = Command::new("qemu-img").args(args).output().unwrap_or_else(|e| {
            panic!("these tests need qemu-img (package qemu-utils), and it does not run: {e}")
        });
        let text = [out.stdout, out.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        // A program that another test starts has our files open until it is loaded.
        if !text.contains("Failed to get") {
            return (out.status.code().unwrap_or(-1), text);
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("qemu-img {args:?}: locked");
}
/// Runs qemu-img, which has to succeed.
pub fn qemu_img(args: &[&str]) -> String {
    let (code, text) = qemu_img_says(args);
    assert_eq!(code, 0, "qemu-img {args:?}: {text}");
    text
}
pub fn name(path: &Path) -> &str {
    path.to_str().unwrap()
}
/// The image is good, and no cluster is lost.
pub fn check(path: &Path) {
    qemu_img(&["check", "-f", "qcow2", name(path)]);
}
/// The image is good; clusters may be lost.
pub fn check_but_leaks(path: &Path) {
    let (code, text) = qemu_img_says(&["check", "-f", "qcow2", name(path)]);
    assert!(code == 0 || code == 3, "qemu-img check: {code}: {text}");
}
/// What QEMU reads from an image.
pub fn contents(path: &Path) -> Vec<u8> {
    let raw = path.with_extension("contents");
    qemu_img(&["convert", "-O", "raw", name(path), name(&raw)]);
    let bytes = std::fs::read(&raw).unwrap();
    std::fs::remove_file(&raw).unwrap();
    bytes
}
/// A directory on a file system with direct access: where the program is that was built.
pub fn dir() -> tempfile::TempDir {
    let program = std::env::current_exe().unwrap();
    tempfile::tempdir_in(program.parent().unwrap()).unwrap()
}
pub fn path(dir: &tempfile::TempDir, file: &str) -> PathBuf {
    dir.path().join(file)
}
pub fn host(path: &Path, write: bool, cache: &str) -> Arc<dyn Image> {
    let cache = Cache::named(cache).unwrap();
    Arc::new(HostFile::open(path, Access { write, cache, ..Access::default() }).unwrap())
}
pub fn open(path: &Path, backing: Option<Arc<dyn Image>>, cache: &str) -> Qcow2 {
    Qcow2::open(host(path, true, cache), backing, Options { discard: true, ..Options::default() })
        .unwrap()
}
/// Opens a chain: the last one is a raw image if it is named so.
pub fn backing(paths: &[&Path]) -> Option<Arc<dyn Image>> {
    let (first, rest) = paths.split_first()?;
    let file = host(first, false, "writeback");
    if first.extension().is_some_and(|e| e == "raw") {
        return Some(Arc::new(Raw::whole(file)));
    }
    let options = Options { read_only: true, ..Options::default() };
    Some(Arc::new(Qcow2::open(file, backing(rest), options).unwrap()))
}

pub struct Rng(pub u64);
impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let x = self.0 ^ self.0 >> 29;
        x.wrapping_mul(0xBF58476D1CE4E5B9) >> 8
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }
    /// Bytes that no other call gives.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let tag = self.next().to_le_bytes();
        (0..len).map(|n| tag[n % 8] ^ (n >> 3) as u8).collect()
    }
}

/// A range of whole sectors: mostly small, some large.
pub fn range(rng: &mut Rng, size: u64) -> (u64, u64) {
    let sectors = size / 512;
    let at = rng.below(sectors);
    let most = [8, 64, 300, 3000][rng.below(4) as usize];
    let len = (1 + rng.below(most)).min(sectors - at);
    (at * 512, len * 512)
}

/// Does one random thing to an image and to the model, and compares.
pub fn step(image: &dyn Image, model: &mut [u8], rng: &mut Rng) {
    let (at, len) = range(rng, model.len() as u64);
    let here = at as usize..(at + len) as usize;
    match rng.below(20) {
        0..8 => {
            let bytes = rng.bytes(len as usize);
            image.write(at, &bytes).unwrap();
            model[here].copy_from_slice(&bytes);
        }
        8..15 => {
            let mut got = vec![0xEE; len as usize];
            image.read(at, &mut got).unwrap();
            assert!(got == model[here], "read {len} at {at:#x}");
        }
        15 | 16 => {
            image.zero(at, len, rng.below(2) == 0).unwrap();
            model[here].fill(0);
        }
        17 | 18 => {
            image.discard(at, len).unwrap();
            let mut got = vec![0xEE; len as usize];
            image.read(at, &mut got).unwrap();
            for (now, old) in got.iter().zip(&mut model[here]) {
                assert!(now == old || *now == 0, "discard {len} at {at:#x}");
                *old = *now;
            }
        }
        _ => image.flush().unwrap(),
    }
}

pub fn read_all(image: &dyn Image) -> Vec<u8> {
    let mut bytes = vec![0; image.info().len as usize];
    for (n, piece) in bytes.chunks_mut(1 << 20).enumerate() {
        image.read((n as u64) << 20, piece).unwrap();
    }
    bytes
}
