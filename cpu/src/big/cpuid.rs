//! CPU models and CPUID.

use crate::Features;

/// A CPU model with its flags.
pub struct Model {
    features: Features,
}

impl Model {
    /// Everything there is.
    pub fn max() -> Self {
        Model { features: Features::all() }
    }
    pub fn features(&self) -> Features {
        self.features
    }
}
