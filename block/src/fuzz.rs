//! Images of strangers: good ones, changed at random, must be refused or be used without a panic, a hang or much memory, and
//! must not make us open files that nobody allowed.
//!
//! Each case follows from its seed. A panic is a finding; so is what [`run`] gives back as an error.

mod mutate;
mod sample;

use crate::qcow2::{Options, Qcow2};
use crate::{Graph, Image, Mem, Null, Qcow2Spec};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What became of the cases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub refused: u64,
    pub opened: u64,
    /// Operations on those that were opened, and how many of them failed.
    pub operations: u64,
    pub failed: u64,
    /// Chains of backing files that were opened.
    pub chains: u64,
}

/// Random numbers of a seed.
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5851_F42D_4C95_7F2D)
    }
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let x = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ x >> 31
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }
}

/// A case that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(20);
/// Bytes to which a file may grow.
const MOST: u64 = 64 << 20;

/// Runs `count` cases from `seed` on. `dir`: an empty folder for cases with files.
pub fn run(seed: u64, count: u64, dir: &Path) -> Result<Report, String> {
    let mut report = Report::default();
    let samples = sample::all().map_err(|e| format!("making samples: {e}"))?;
    let files = Files::new(dir).map_err(|e| format!("making files: {e}"))?;
    for n in 0..count {
        let case = seed.wrapping_add(n);
        let mut rng = Rng::new(case);
        let start = Instant::now();
        let sample = &samples[rng.below(samples.len() as u64) as usize];
        let bytes = mutate::mutate(sample, &mut rng);
        if rng.below(8) == 0 {
            files.chain(&bytes, &mut rng, &mut report).map_err(|e| format!("case {case}: {e}"))?;
        } else {
            single(bytes, &mut rng, &mut report);
        }
        if start.elapsed() > LIMIT {
            return Err(format!("case {case}: it took {:?}", start.elapsed()));
        }
    }
    Ok(report)
}

/// One image in memory.
fn single(bytes: Vec<u8>, rng: &mut Rng, report: &mut Report) {
    let file = Arc::new(Mem::of(&bytes, MOST));
    let under: Option<Arc<dyn Image>> =
        (rng.below(2) == 0).then(|| Arc::new(Null { len: 1 << 20 }) as Arc<dyn Image>);
    let options = Options {
        read_only: rng.below(3) == 0,
        discard: rng.below(2) == 0,
        l2_cache: rng.below(2) << 20,
        ..Options::default()
    };
    match Qcow2::open(file, under, options) {
        Err(_) => report.refused += 1,
        Ok(image) => {
            report.opened += 1;
            operate(&image, rng, report);
        }
    }
}

/// Some operations. Errors are fine.
fn operate(image: &dyn Image, rng: &mut Rng, report: &mut Report) {
    let mut bytes = vec![0; 256 << 10];
    for _ in 0..24 {
        let len = image.info().len;
        let n = 512 * (1 + rng.below(512));
        // Where images have something, or anywhere.
        let most = if rng.below(4) == 0 { len } else { len.min(2 << 20) };
        let at = rng.below(most) & !511;
        let n = n.min(len.saturating_sub(at));
        let piece = &mut bytes[..n as usize];
        let result = match rng.below(12) {
            0..4 => image.read(at, piece),
            4 => image.try_read(at, piece).unwrap_or(Ok(())),
            5..8 => image.write(at, piece),
            8 => image.zero(at, n, rng.below(2) == 0),
            9 => image.discard(at, n),
            10 => image.flush(),
            _ => image.resize(len.saturating_add(512 * rng.below(5000))),
        };
        report.operations += 1;
        report.failed += result.is_err() as u64;
    }
}

/// A folder with images in it, and one that is none of theirs.
struct Files<'a> {
    dir: &'a Path,
}

impl Files<'_> {
    fn new(dir: &Path) -> std::io::Result<Files<'_>> {
        std::fs::create_dir_all(dir.join("vm/base"))?;
        std::fs::write(dir.join("secret"), vec![7; 4096])?;
        std::fs::write(dir.join("vm/raw"), vec![1; 4096])?;
        std::fs::write(dir.join("vm/base/raw"), vec![2; 4096])?;
        std::os::unix::fs::symlink("../secret", dir.join("vm/link")).or_else(|e| {
            match e.kind() {
                std::io::ErrorKind::AlreadyExists => Ok(()),
                _ => Err(e),
            }
        })?;
        Ok(Files { dir })
    }

    /// Opens an image with all that it names, and looks at what was opened.
    fn chain(&self, bytes: &[u8], rng: &mut Rng, report: &mut Report) -> Result<(), String> {
        let path = self.dir.join("vm/image");
        std::fs::write(&path, bytes).map_err(|e| e.to_string())?;
        let file = crate::Driver::File { path, locking: true }.into();
        let spec = crate::Driver::Qcow2 { file, qcow2: Qcow2Spec::default() }.into();
        let mut graph = Graph::new();
        let Ok(node) = graph.open(&spec) else {
            report.refused += 1;
            return Ok(());
        };
        report.chains += 1;
        let root = self.dir.join("vm").canonicalize().map_err(|e| e.to_string())?;
        for node in graph.nodes() {
            let real =
                node.path().map(|p| p.canonicalize()).transpose().map_err(|e| e.to_string())?;
            if let Some(real) = real.filter(|r| !r.starts_with(&root)) {
                return Err(format!("it made us open {}", real.display()));
            }
        }
        // On the host's file system, a file is not to grow without bound: it is only read.
        let mut b = vec![0; 64 << 10];
        for _ in 0..8 {
            let at = rng.below(node.info().len) & !511;
            let n = (b.len() as u64).min(node.info().len - at) as usize;
            report.operations += 1;
            report.failed += node.read(at, &mut b[..n]).is_err() as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn changed_images_are_refused_or_used_and_never_worse() {
        let dir = tempfile::tempdir().unwrap();
        let report = run(1, 1500, dir.path()).unwrap();
        let Report { refused, opened, operations, failed, chains } = report;
        // All kinds of fates are met, or the changes are too wild or too tame.
        assert!(refused > 100 && opened > 300 && failed > 50 && chains > 10, "{report:?}");
        assert!(operations > 10 * opened);
        let again = tempfile::tempdir().unwrap();
        assert_eq!(run(1, 1500, again.path()).unwrap(), report);
    }
}
