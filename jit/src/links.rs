//! Ways from regions into other native code on the same page: words that say where to go on, set as long as there is code.

use crate::hash::Map;
use cpu::Mode;

/// The words of one region, and where in RAM each leads.
pub struct Links {
    /// The region's code reads them, so they stay where they are.
    words: Box<[u64]>,
    to: Vec<u64>,
}

impl Links {
    /// Room for so many.
    pub fn new(most: usize) -> Links {
        Links { words: vec![0; most].into_boxed_slice(), to: Vec::new() }
    }
    /// The address of a new word, which leads to this RAM offset; `None` if there is no room.
    pub fn add(&mut self, at: u64) -> Option<u64> {
        let word = self.words.get(self.to.len())?;
        self.to.push(at);
        Some(&raw const *word as u64)
    }
}

/// The words of all regions.
#[derive(Default)]
pub struct Exits {
    all: Vec<Links>,
    /// Which words lead to a place in a mode.
    to: Map<(u64, u32), Vec<(u32, u32)>>,
}

impl Exits {
    /// Takes over the words of a region in this mode; `code` gives where to go on for a RAM offset.
    pub fn add(&mut self, mut links: Links, mode: Mode, code: impl Fn(u64) -> u64) {
        let region = self.all.len() as u32;
        for (n, &at) in links.to.iter().enumerate() {
            links.words[n] = code(at);
            self.to.entry((at, mode.0)).or_default().push((region, n as u32));
        }
        self.all.push(links);
    }
    /// All words that lead to this RAM offset lead to `code` from now on.
    pub fn lead(&mut self, at: u64, mode: Mode, code: u64) {
        for &(region, n) in self.to.get(&(at, mode.0)).map_or(&[][..], Vec::as_slice) {
            self.all[region as usize].words[n as usize] = code;
        }
    }
    pub fn clear(&mut self) {
        self.all.clear();
        self.to.clear();
    }
}
