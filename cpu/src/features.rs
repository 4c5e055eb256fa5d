//! Which instruction-set extensions a core has.

use iced_x86::CpuidFeature;

/// A set of iced-x86's feature names: an instruction that needs one outside it is #UD.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Features([u64; 4]);

impl Features {
    pub const fn none() -> Self {
        Features([0; 4])
    }
    /// Everything the rows have; for tests.
    pub const fn all() -> Self {
        Features([!0; 4])
    }
    pub fn has(&self, f: CpuidFeature) -> bool {
        let n = f as usize;
        self.0.get(n / 64).is_some_and(|w| w >> (n % 64) & 1 != 0)
    }
    pub fn with(mut self, f: CpuidFeature) -> Self {
        self.0[f as usize / 64] |= 1 << (f as usize % 64);
        self
    }
    pub fn without(mut self, f: CpuidFeature) -> Self {
        self.0[f as usize / 64] &= !(1 << (f as usize % 64));
        self
    }
}
