//! Ways from regions into other native code on the same page: words that say where to go on, set as long as there is code.

use crate::block::Key;
use crate::hash::Map;
use crate::parts::Parts;
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
pub struct Exits {
    all: Parts<(Links, Mode)>,
    /// Which words lead to a place.
    to: Map<Key, Vec<(u32, u32)>>,
}

impl Exits {
    pub fn new() -> Exits {
        Exits { all: Parts::new(), to: Map::default() }
    }
    /// Takes over the words of a region in this mode, whose code is in this part; `code` gives where to go on for a RAM offset.
    pub fn add(&mut self, part: usize, mut links: Links, mode: Mode, code: impl Fn(u64) -> u64) {
        for (word, &at) in links.words.iter_mut().zip(&links.to) {
            *word = code(at);
        }
        let number = self.all.add(part, (links, mode));
        for (n, &at) in self.all[number].0.to.iter().enumerate() {
            self.to.entry(Key::of(at, mode)).or_default().push((number, n as u32));
        }
    }
    /// All words that lead to this RAM offset lead to `code` from now on.
    pub fn lead(&mut self, at: u64, mode: Mode, code: u64) {
        for &(region, n) in self.to.get(&Key::of(at, mode)).map_or(&[][..], Vec::as_slice) {
            self.all[region].0.words[n as usize] = code;
        }
    }
    /// The regions of a part are gone.
    pub fn empty(&mut self, part: usize) {
        let gone = self.all.of(part);
        for number in gone.clone() {
            let (links, mode) = &self.all[number];
            for &at in &links.to {
                let key = Key::of(at, *mode);
                let Some(words) = self.to.get_mut(&key) else { continue };
                words.retain(|(region, _)| !gone.contains(region));
                if words.is_empty() {
                    self.to.remove(&key);
                }
            }
        }
        self.all.empty(part);
    }
    pub fn clear(&mut self) {
        *self = Exits::new();
    }
}
