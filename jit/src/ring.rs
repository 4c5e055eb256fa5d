//! The last things of many, in runs that lie in one piece.

/// A ring of so many things.
pub struct Ring<T> {
    all: Vec<T>,
    most: usize,
    /// How many places were filled since the beginning, those that were left out among them.
    filled: u64,
}

/// Where no run is.
pub const NOWHERE: u64 = u64::MAX;

impl<T: Copy> Ring<T> {
    /// An empty one. `most`: a power of two.
    pub fn new(most: usize) -> Ring<T> {
        debug_assert!(most.is_power_of_two());
        Ring { all: Vec::new(), most, filled: 0 }
    }
    /// Puts a run in, which is no longer than the ring, in place of the oldest ones; gives where.
    pub fn put(&mut self, run: &[T]) -> u64 {
        let at = self.filled as usize % self.most;
        if at + run.len() > self.most {
            // It goes to the start.
            self.all.resize(self.most, run[0]);
            self.filled += (self.most - at) as u64;
        }
        let (first, at) = (self.filled, self.filled as usize % self.most);
        let over = run.len().min(self.all.len() - at);
        self.all[at..at + over].copy_from_slice(&run[..over]);
        self.all.extend_from_slice(&run[over..]);
        self.filled += run.len() as u64;
        first
    }
    /// The run that was put there, if it still is.
    #[inline(always)]
    pub fn get(&self, first: u64, len: usize) -> Option<&[T]> {
        let there = first != NOWHERE && self.filled - first <= self.most as u64;
        there.then(|| &self.all[first as usize % self.most..][..len])
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_run_is_there_until_newer_ones_need_its_place() {
        const MOST: usize = 64;
        let mut ring = Ring::new(MOST);
        let mut runs: Vec<(u64, Vec<usize>)> = Vec::new();
        for n in 0..1000 {
            let run = vec![n; 1 + n * 7 % 13];
            let first = ring.put(&run);
            runs.push((first, run));
            let mut places = 0;
            for (first, run) in runs.iter().rev() {
                places += run.len();
                match ring.get(*first, run.len()) {
                    Some(got) => assert_eq!(got, run),
                    // What is left out at the end is shorter than a run.
                    None => assert!(places + 13 > MOST, "{n}"),
                }
                if places > 2 * MOST {
                    assert_eq!(ring.get(*first, run.len()), None);
                    break;
                }
            }
        }
    }
}
