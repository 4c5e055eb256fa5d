//! Power fails: of what was written since the last barrier, any part may be on the disk, in any order, torn at any sector.
//! The image must be good then, and hold all that was flushed. The same for errors of the host: whatever fails, and however
//! often, the image stays good, and trying again goes well.

mod common;
#[path = "common/model.rs"]
mod model;

use block::qcow2::Options;
use block::{Faults, Image, Info, Io, Mem, Qcow2, Rule};
use common::*;
use model::{Model, SECTOR, perform};
use std::io::Result;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// A host's disk with a cache that is lost.
struct Lossy {
    now: Mem,
    state: Mutex<State>,
}
struct State {
    durable: Vec<u8>,
    pending: Vec<Change>,
    /// Changes until the power fails.
    left: u64,
    rng: Rng,
}
enum Change {
    Write(u64, Vec<u8>),
    Length(u64),
}

impl Lossy {
    fn new(bytes: Vec<u8>, left: u64, seed: u64) -> Lossy {
        let now = Mem::of(&bytes, 1 << 30);
        let state = State { durable: bytes, pending: Vec::new(), left, rng: Rng(seed) };
        Lossy { now, state: Mutex::new(state) }
    }
    fn change(&self, change: Change) -> Result<()> {
        let mut s = self.state.lock().unwrap();
        if s.left == 0 {
            return Err(std::io::Error::from_raw_os_error(5));
        }
        s.left -= 1;
        s.pending.push(change);
        Ok(())
    }
    /// What is found when the power is back.
    fn found(&self) -> Vec<u8> {
        let mut s = self.state.lock().unwrap();
        let pending = std::mem::take(&mut s.pending);
        let mut all = std::mem::take(&mut s.durable);
        // Sometimes nearly all of it, sometimes nearly nothing.
        let chance = 1 + s.rng.below(15);
        for change in pending {
            match change {
                Change::Length(len) if s.rng.below(16) < chance => all.resize(len as usize, 0),
                Change::Write(at, bytes) => {
                    let (mut from, end) = (at as usize, at as usize + bytes.len());
                    while from < end {
                        let to = end.min((from / SECTOR + 1) * SECTOR);
                        if s.rng.below(16) < chance {
                            let len = all.len().max(to);
                            all.resize(len, 0);
                            all[from..to]
                                .copy_from_slice(&bytes[from - at as usize..to - at as usize]);
                        }
                        from = to;
                    }
                }
                _ => {}
            }
        }
        all
    }
}

impl Image for Lossy {
    fn info(&self) -> Info {
        self.now.info()
    }
    fn read(&self, at: u64, into: &mut [u8]) -> Result<()> {
        self.now.read(at, into)
    }
    fn write(&self, at: u64, from: &[u8]) -> Result<()> {
        self.change(Change::Write(at, from.to_vec()))?;
        self.now.write(at, from)
    }
    fn flush(&self) -> Result<()> {
        let mut s = self.state.lock().unwrap();
        if s.left == 0 {
            return Err(std::io::Error::from_raw_os_error(5));
        }
        s.pending.clear();
        s.durable = self.now.bytes();
        Ok(())
    }
    fn discard(&self, at: u64, len: u64) -> Result<()> {
        self.zero(at, len, true)
    }
    fn zero(&self, at: u64, len: u64, _: bool) -> Result<()> {
        self.change(Change::Write(at, vec![0; len as usize]))?;
        self.now.zero(at, len, true)
    }
    fn resize(&self, len: u64) -> Result<()> {
        self.change(Change::Length(len))?;
        self.now.resize(len)
    }
}

const SIZE: usize = 3 << 20;

/// Images as qemu-img makes them; the last ones have a snapshot with data in it.
fn images(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let rows = [
        "cluster_size=512",
        "",
        "cluster_size=4096,refcount_bits=1",
        "cluster_size=16384",
        "compat=0.10,cluster_size=1024",
        // Its refcount table has to grow.
        "cluster_size=512,refcount_bits=64",
    ];
    let mut all = Vec::new();
    for options in rows {
        for snapshot in [false, true] {
            if snapshot && options.contains("refcount_bits=1") {
                continue;
            }
            let file = dir.join("x.qcow2");
            let size = SIZE.to_string();
            let mut args = vec!["create", "-q", "-f", "qcow2"];
            if !options.is_empty() {
                args.extend(["-o", options]);
            }
            args.extend([name(&file), &size]);
            qemu_img(&args);
            if snapshot {
                let image = open(&file, None, "unsafe");
                image.write(0, &[9; 200_000]).unwrap();
                image.zero(0, 200_000 / 512 * 512, true).unwrap();
                image.write(300_032, &[0; 4096]).unwrap();
                drop(image);
                qemu_img(&["snapshot", "-c", "s", name(&file)]);
            }
            all.push((format!("{options} {snapshot}"), std::fs::read(&file).unwrap()));
        }
    }
    all
}

#[test]
fn after_a_power_cut_the_image_is_good_and_has_what_was_flushed() {
    let dir = dir();
    let images = images(dir.path());
    let (file, zero) = (path(&dir, "found.qcow2"), vec![0; SIZE]);
    for seed in 0..110u64 {
        let (which, bytes) = &images[seed as usize % images.len()];
        println!("seed {seed}: {which}");
        let mut rng = Rng(seed);
        let lossy = Arc::new(Lossy::new(bytes.clone(), 1 + rng.below(1500), seed));
        // Clusters of the snapshot's time hold what no tag is, but all of them read as zero now or are in the model as such.
        let options =
            Options { l2_cache: rng.below(2) << 20, discard: seed % 2 == 0, ..Options::default() };
        let image = Qcow2::open(lossy.clone(), None, options).unwrap();
        let mut model = Model::new(SIZE / SECTOR);
        let mut start = vec![1; SIZE];
        image.read(0, &mut start).unwrap();
        assert!(start == zero || which.ends_with("true"));
        if start != zero && (image.zero(0, SIZE as u64, true).is_err() || image.flush().is_err()) {
            continue;
        }
        loop {
            let step = model.step(&mut rng);
            model.begin(step);
            if perform(&image, step).is_err() {
                break;
            }
            model.look(&image, step);
            model.end(step);
        }
        drop(image);
        std::fs::write(&file, lossy.found()).unwrap();
        check_but_leaks(&file);
        let image = open(&file, None, "unsafe");
        let found = read_all(&image);
        model.check(&found);
        // It can be used as before.
        let mut plain = found;
        (0..30).for_each(|_| common::step(&image, &mut plain, &mut rng));
        drop(image);
        check_but_leaks(&file);
    }
}

#[test]
fn whatever_fails_the_image_stays_good_and_trying_again_goes_well() {
    let dir = dir();
    let images = images(dir.path());
    let file = path(&dir, "after.qcow2");
    let kinds = [Io::Read, Io::Write, Io::Flush, Io::Discard];
    for seed in 0..66u64 {
        let (which, bytes) = &images[seed as usize % images.len()];
        println!("seed {seed}: {which}");
        let mut rng = Rng(1000 + seed);
        let mem = Arc::new(Mem::of(bytes, 1 << 30));
        let faults = Arc::new(Faults::new(mem.clone(), Vec::new()));
        let options = Options { l2_cache: rng.below(2) << 20, discard: true, ..Options::default() };
        let image = Qcow2::open(faults.clone(), None, options).unwrap();
        image.zero(0, SIZE as u64, true).unwrap();
        let mut model = Model::new(SIZE / SECTOR);
        for _ in 0..150 {
            let io = kinds[rng.below(4) as usize];
            let errno = if rng.below(2) == 0 { 28 } else { 5 };
            let rule = Rule { after: rng.below(12), ..Rule::new(Some(io), errno).once() };
            faults.set(if rng.below(3) == 0 { vec![rule] } else { Vec::new() });
            let step = model.step(&mut rng);
            model.begin(step);
            if let Err(e) = perform(&image, step) {
                assert_eq!(e.raw_os_error(), Some(errno), "{e}");
                if rng.below(4) == 0 {
                    faults.set(Vec::new());
                    model.check(&read_all(&image));
                }
                faults.set(Vec::new());
                perform(&image, step).unwrap();
            }
            faults.set(Vec::new());
            model.look(&image, step);
            model.end(step);
        }
        model.check_newest(&read_all(&image));
        drop(image);
        std::fs::write(&file, mem.bytes()).unwrap();
        // Punching may have failed, and counting down may have: clusters are lost then, no more.
        check_but_leaks(&file);
        model.check_newest(&contents(&file));
    }
}

#[test]
fn a_full_host_is_told_and_space_makes_it_go_on() {
    let mem = Arc::new(Mem::new(0, 1 << 30));
    block::qcow2::create(&*mem, &block::qcow2::Create::new(64 << 20)).unwrap();
    let full = Rule::new(Some(Io::Write), 28);
    let faults = Arc::new(Faults::new(mem, Vec::new()));
    let image = Qcow2::open(faults.clone(), None, Options::default()).unwrap();
    image.write(0, &[1; 65536]).unwrap();
    faults.set(vec![full]);
    for _ in 0..3 {
        let e = image.write(1 << 20, &[2; 65536]).unwrap_err();
        assert_eq!((e.kind(), e.raw_os_error()), (std::io::ErrorKind::StorageFull, Some(28)));
        assert_eq!(image.flush().unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    }
    let mut b = [0; 512];
    image.read(0, &mut b).unwrap();
    assert_eq!(b, [1; 512]);
    image.read(1 << 20, &mut b).unwrap();
    assert_eq!(b, [0; 512]);
    faults.set(Vec::new());
    image.write(1 << 20, &[2; 65536]).unwrap();
    image.flush().unwrap();
}

#[test]
fn a_disk_that_grows_is_good_whenever_the_power_fails() {
    let dir = dir();
    let file = path(&dir, "found.qcow2");
    let made = Mem::new(0, 1 << 30);
    let what = block::qcow2::Create { cluster_bits: 9, ..block::qcow2::Create::new(1 << 20) };
    block::qcow2::create(&made, &what).unwrap();
    let start = made.bytes();
    let (mut sizes, under) = (std::collections::BTreeSet::new(), vec![5; 8 << 20]);
    for seed in 0..60u64 {
        let lossy = Arc::new(Lossy::new(start.clone(), seed * 2, seed));
        let backing: Option<Arc<dyn Image>> =
            (seed % 2 == 0).then(|| Arc::new(Mem::of(&under, 0)) as Arc<dyn Image>);
        let image = Qcow2::open(lossy.clone(), backing.clone(), Options::default()).unwrap();
        let written = image.write(0, &[1; 4096]).and_then(|()| image.flush()).is_ok();
        let grown = image.resize(3 << 20).and_then(|()| image.resize(12 << 20)).is_ok();
        drop(image);
        std::fs::write(&file, lossy.found()).unwrap();
        check_but_leaks(&file);
        let bytes = read_all(&open(&file, backing.clone(), "unsafe"));
        sizes.insert(bytes.len() >> 20);
        assert!(!written || bytes[..4096] == [1; 4096]);
        assert!(!grown || bytes.len() == 12 << 20);
        // The backing file is longer than the disk was: it must not show.
        assert!(bytes[1 << 20..].iter().all(|&b| b == 0), "seed {seed}");
    }
    assert_eq!(sizes.into_iter().collect::<Vec<_>>(), [1, 3, 12]);
}

/// Fails one operation while tables grow, goes on as if nothing had happened or tries again, and looks at what is there.
#[test]
fn tables_that_cannot_move_stay_where_they_are_known_to_be() {
    let dir = dir();
    let file = path(&dir, "after.qcow2");
    let what = block::qcow2::Create {
        cluster_bits: 9,
        refcount_order: 6,
        ..block::qcow2::Create::new(1 << 20)
    };
    let mut failed = 0;
    for seed in 0..90u64 {
        let mem = Arc::new(Mem::new(0, 1 << 30));
        block::qcow2::create(&*mem, &what).unwrap();
        let faults = Arc::new(Faults::new(mem.clone(), Vec::new()));
        let image = Qcow2::open(faults.clone(), None, Options::default()).unwrap();
        image.write(0, &vec![1; 1 << 20]).unwrap();
        let io = if seed % 2 == 0 { Io::Flush } else { Io::Write };
        let grown = if seed % 3 == 0 {
            // Behind what the refcount table covers at first.
            image.resize(4 << 20).unwrap();
            faults.set(vec![Rule {
                after: seed / 6 * if seed % 2 == 0 { 1 } else { 150 },
                ..Rule::new(Some(io), 5).once()
            }]);
            image.write(1 << 20, &vec![2; 3 << 20])
        } else {
            faults.set(vec![Rule { after: seed / 6, ..Rule::new(Some(io), 5).once() }]);
            image.resize(3 << 20)
        };
        failed += grown.is_err() as u32;
        faults.set(Vec::new());
        if seed % 4 < 2 && grown.is_err() {
            image.resize(4 << 20).unwrap();
        }
        let len = image.info().len;
        image.write(0, &vec![3; len as usize]).unwrap();
        image.flush().unwrap();
        std::fs::write(&file, mem.bytes()).unwrap();
        check_but_leaks(&file);
        let bytes = read_all(&open(&file, None, "unsafe"));
        assert!(bytes[..len as usize].iter().all(|&b| b == 3), "seed {seed}");
        drop(image);
        std::fs::write(&file, mem.bytes()).unwrap();
        check_but_leaks(&file);
    }
    assert!(failed > 20, "{failed}");
}
