//! A fast hash for keys that the guest can choose but gains nothing by colliding: a slow table hurts only itself.

use std::hash::{BuildHasherDefault, Hasher};

#[derive(Default)]
pub struct Mix(u64);

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        for &b in bytes {
            self.write_u64(b as u64);
        }
    }
    fn write_u32(&mut self, n: u32) {
        self.write_u64(n as u64);
    }
    fn write_u64(&mut self, n: u64) {
        let x = (self.0.rotate_left(5) ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = x ^ x >> 32;
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

pub type Map<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<Mix>>;
