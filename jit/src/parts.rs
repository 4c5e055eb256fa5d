//! What belongs to native code, by the part of the arena that the code is in: it goes when that is taken back.

use crate::arena::PARTS;
use std::ops::{Index, IndexMut};

/// Things with numbers, which are used again once a part is emptied.
pub struct Parts<T>([Vec<T>; PARTS]);

/// Bits of a number that tell things of one part apart.
const BITS: u32 = 28;
const _: () = assert!(PARTS == 1 << (u32::BITS - BITS));

/// The part that a number's thing belongs to, and which one of its things it is.
fn split(number: u32) -> (usize, usize) {
    ((number >> BITS) as usize, (number & ((1 << BITS) - 1)) as usize)
}

impl<T> Parts<T> {
    pub fn new() -> Parts<T> {
        Parts(std::array::from_fn(|_| Vec::new()))
    }
    /// Takes a thing of a part; gives its number.
    pub fn add(&mut self, part: usize, thing: T) -> u32 {
        let all = &mut self.0[part];
        all.push(thing);
        (part as u32) << BITS | (all.len() as u32 - 1)
    }
    pub fn get(&self, number: u32) -> Option<&T> {
        let (part, n) = split(number);
        self.0[part].get(n)
    }
    pub fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        let (part, n) = split(number);
        self.0[part].get_mut(n)
    }
    /// The numbers of a part's things.
    pub fn of(&self, part: usize) -> std::ops::Range<u32> {
        let first = (part as u32) << BITS;
        first..first + self.0[part].len() as u32
    }
    pub fn empty(&mut self, part: usize) {
        self.0[part].clear();
    }
    pub fn clear(&mut self) {
        *self = Parts::new();
    }
}

impl<T> Index<u32> for Parts<T> {
    type Output = T;
    fn index(&self, number: u32) -> &T {
        let (part, n) = split(number);
        &self.0[part][n]
    }
}
impl<T> IndexMut<u32> for Parts<T> {
    fn index_mut(&mut self, number: u32) -> &mut T {
        let (part, n) = split(number);
        &mut self.0[part][n]
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn an_emptied_part_gives_its_numbers_again_and_the_others_keep_theirs() {
        let mut all = Parts::new();
        let (a, b) = (all.add(0, 'a'), all.add(PARTS - 1, 'b'));
        let c = all.add(PARTS - 1, 'c');
        assert_eq!((all[a], all[b], all[c]), ('a', 'b', 'c'));
        assert_eq!(all.of(PARTS - 1).collect::<Vec<_>>(), [b, c]);
        all.empty(PARTS - 1);
        assert_eq!((all.get(a), all.get(b), all.get(c)), (Some(&'a'), None, None));
        assert_eq!(all.add(PARTS - 1, 'd'), b);
        assert_eq!(all.get(u32::MAX), None);
    }
}
