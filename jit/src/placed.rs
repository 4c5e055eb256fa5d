//! A thing at an address whose low bytes are known, and counters behind it: native code reaches all of them by one register.
// UNSAFE: places things in memory by itself.
#![allow(unsafe_code)]

use std::ops::{Deref, DerefMut};

/// Addresses' low bytes are those of a place in this many.
const ALIGN: usize = 1 << 16;
/// Where counters begin: a line of the host's caches.
const LINE: usize = 64;

/// A thing and its counters, all of which are 0 at first. Untouched counters take no memory.
pub struct Placed<T> {
    /// Room for all. Nobody but the pointers uses it.
    _memory: Vec<u8>,
    thing: *mut T,
    counters: *mut u32,
    many: usize,
}

// SAFETY: the pointers lead into its own memory.
unsafe impl<T: Send> Send for Placed<T> {}

impl<T> Placed<T> {
    /// The distance of the counters from the thing.
    pub const COUNTERS: usize = size_of::<T>().next_multiple_of(LINE);

    /// `low`: the address's two low bytes, a multiple of a line.
    pub fn new(thing: T, low: usize, many: usize) -> Placed<T> {
        assert!(low < ALIGN && low % LINE == 0 && align_of::<T>() <= LINE);
        let mut memory = vec![0u8; ALIGN + low + Self::COUNTERS + many * size_of::<u32>()];
        let base = memory.as_mut_ptr();
        let at = base.wrapping_add(base.align_offset(ALIGN) + low);
        let (to, counters) = (at.cast::<T>(), at.wrapping_add(Self::COUNTERS).cast());
        // SAFETY: the next multiple of `ALIGN` is less than that away, so the place is inside `memory`, and it is aligned.
        unsafe { to.write(thing) };
        Placed { _memory: memory, thing: to, counters, many }
    }
    pub fn counter(&self, n: usize) -> u32 {
        // SAFETY: `n % many` is below `many`, so it is inside the memory; native code that writes it is not running.
        unsafe { self.counters.add(n % self.many).read() }
    }
    pub fn set_counter(&mut self, n: usize, to: u32) {
        // SAFETY: as above.
        unsafe { self.counters.add(n % self.many).write(to) }
    }
}
impl<T> Deref for Placed<T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: `new` put it there, and it goes with this.
        unsafe { &*self.thing }
    }
}
impl<T> DerefMut for Placed<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above.
        unsafe { &mut *self.thing }
    }
}
impl<T> Drop for Placed<T> {
    fn drop(&mut self) {
        // SAFETY: as above; nobody uses it any more.
        unsafe { self.thing.drop_in_place() }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_thing_is_where_it_should_be_and_goes_with_its_place() {
        let thing = std::rc::Rc::new(7);
        let mut p = Placed::new(thing.clone(), 0x0c00, 3);
        assert_eq!(&raw const *p as usize % ALIGN, 0x0c00);
        assert_eq!((**p, p.counter(0), p.counter(2)), (7, 0, 0));
        p.set_counter(2, 9);
        p.set_counter(4, 5);
        assert_eq!([0, 1, 2].map(|n| p.counter(n)), [0, 5, 9]);
        drop(p);
        assert_eq!(std::rc::Rc::strong_count(&thing), 1);
    }
}
