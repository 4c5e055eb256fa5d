//! A disk as a model knows it that may be cut off at any moment: what each sector may hold then.
//!
//! What was there at the last flush that was answered, or anything written since.
#![allow(dead_code)]

use crate::common::Rng;
use block::Image;

pub const SECTOR: usize = 512;

/// Contents of a sector: the number of the operation that wrote it, 0 for zeroes.
type Tag = u32;

pub struct Model {
    /// What was flushed, and what came after that, the newest last.
    sectors: Vec<Vec<Tag>>,
    next: Tag,
}

/// A random operation.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    Write { at: usize, n: usize, tag: Tag },
    Zero { at: usize, n: usize, unmap: bool },
    Discard { at: usize, n: usize },
    Flush,
}

impl Model {
    pub fn new(sectors: usize) -> Model {
        Model { sectors: vec![vec![0]; sectors], next: 1 }
    }
    /// The next step, by the numbers alone: two models with the same numbers do the same.
    pub fn step(&mut self, rng: &mut Rng) -> Step {
        let sectors = self.sectors.len() as u64;
        let at = rng.below(sectors);
        let most = [8, 200, 600][rng.below(3) as usize];
        let n = (1 + rng.below(most)).min(sectors - at) as usize;
        let at = at as usize;
        match rng.below(16) {
            0..10 => {
                self.next += 1;
                Step::Write { at, n, tag: self.next }
            }
            10 | 11 => Step::Zero { at, n, unmap: rng.below(2) == 0 },
            12 => Step::Discard { at, n },
            _ => Step::Flush,
        }
    }
    /// It is begun: it may be seen from now on.
    pub fn begin(&mut self, step: Step) {
        let (at, n, tag) = match step {
            Step::Write { at, n, tag } => (at, n, tag),
            Step::Zero { at, n, .. } | Step::Discard { at, n } => (at, n, 0),
            Step::Flush => return,
        };
        self.sectors[at..at + n].iter_mut().for_each(|s| s.push(tag));
    }
    /// It was answered.
    pub fn end(&mut self, step: Step) {
        if let Step::Flush = step {
            for s in &mut self.sectors {
                let last = s.len() - 1;
                s.drain(..last);
            }
        }
    }
    /// A discard may leave what was there: what is seen now, is so.
    pub fn look(&mut self, image: &dyn Image, step: Step) {
        if let Step::Discard { at, n } = step {
            let mut bytes = vec![0; n * SECTOR];
            image.read((at * SECTOR) as u64, &mut bytes).unwrap();
            for (s, b) in self.sectors[at..at + n].iter_mut().zip(bytes.chunks(SECTOR)) {
                let was = s[s.len() - 2];
                s.push(if holds(b, 0) { 0 } else { was });
            }
        }
    }
    /// Whether these may be the contents after all was cut off.
    pub fn check(&self, bytes: &[u8]) {
        for (n, (s, b)) in self.sectors.iter().zip(bytes.chunks(SECTOR)).enumerate() {
            let fine = s.iter().any(|&tag| holds(b, tag));
            assert!(fine, "sector {n}: {:x?} is none of {s:?}", &b[..16]);
        }
    }
    /// Whether these are the newest contents.
    pub fn check_newest(&self, bytes: &[u8]) {
        for (n, (s, b)) in self.sectors.iter().zip(bytes.chunks(SECTOR)).enumerate() {
            let tag = s[s.len() - 1];
            assert!(holds(b, tag), "sector {n}: {:x?} is not {tag}", &b[..16]);
        }
    }
}

fn fill(tag: Tag, sector: usize, into: &mut [u8]) {
    let word = (tag as u64) << 32 | sector as u64;
    into.chunks_mut(8).for_each(|c| c.copy_from_slice(&word.to_le_bytes()));
}
fn holds(bytes: &[u8], tag: Tag) -> bool {
    if tag == 0 {
        return bytes.iter().all(|&b| b == 0);
    }
    let first = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    (first >> 32) as u32 == tag && bytes.chunks(8).all(|c| c == first.to_le_bytes())
}

/// Does a step.
pub fn perform(image: &dyn Image, step: Step) -> std::io::Result<()> {
    let place = |at: usize, n: usize| ((at * SECTOR) as u64, (n * SECTOR) as u64);
    match step {
        Step::Write { at, n, tag } => {
            let mut bytes = vec![0; n * SECTOR];
            bytes.chunks_mut(SECTOR).enumerate().for_each(|(i, s)| fill(tag, at + i, s));
            image.write((at * SECTOR) as u64, &bytes)
        }
        Step::Zero { at, n, unmap } => image.zero(place(at, n).0, place(at, n).1, unmap),
        Step::Discard { at, n } => image.discard(place(at, n).0, place(at, n).1),
        Step::Flush => image.flush(),
    }
}
