//! The table: one row per iced-x86 mnemonic that has a meaning.
//!
//! Rows are offered as macros so that each tier makes its own table of functions from the same lines. A line is
//! `Mnemonic kind path::to::meaning FLAGS;` with kind `gen` for a meaning generic over [`crate::Sem`] (or
//! [`crate::Vector`]) below [`crate::sem`], and `big` for plain Rust over [`crate::Interp`] below [`crate::big`].
//! `END` ends the block: control goes elsewhere in a way only the interpreter knows, or the mode may change, or an
//! interrupt may have become possible.

mod avx;
mod integer;
mod sse;
mod system;
mod x87;

use crate::sem::Big;
use iced_x86::{Code, CpuidFeature, EncodingKind, Mnemonic};

/// A mnemonic and what it means.
pub struct Row {
    pub mnemonic: Mnemonic,
    /// The meaning as the interpreter does it.
    pub run: Big,
    /// The block ends after it.
    pub end: bool,
    /// Plain Rust: a translator calls it.
    pub big: bool,
}

/// Makes rows of the lines of a family.
macro_rules! interp_rows {
    ($($name:ident $kind:ident $first:ident$(::$rest:ident)* $($flag:ident)*;)*) => {
        &[$(crate::rows::Row {
            mnemonic: iced_x86::Mnemonic::$name,
            run: interp_rows!(@run $kind $first$(::$rest)*),
            end: false $(|| interp_rows!(@end $flag))*,
            big: interp_rows!(@big $kind),
        }),*]
    };
    (@run gen $($p:ident)::+) => { |s, i| crate::sem::$($p)::+(s, i) };
    (@run big $($p:ident)::+) => { crate::big::$($p)::+ };
    (@big gen) => { false };
    (@big big) => { true };
    (@end END) => { true };
}
use interp_rows;

/// All rows, one family after the other.
pub static FAMILIES: &[&[Row]] = &[integer::ROWS, system::ROWS, sse::ROWS, avx::ROWS, x87::ROWS];

/// All rows by number. Number 0 is an instruction without a meaning: #UD.
pub static ROWS: std::sync::LazyLock<Vec<&'static Row>> = std::sync::LazyLock::new(|| {
    std::iter::once(&UNKNOWN).chain(FAMILIES.iter().copied().flatten()).collect()
});

static UNKNOWN: Row =
    Row { mnemonic: Mnemonic::INVALID, run: crate::big::gate::ud, end: true, big: true };

static NUMBER: std::sync::LazyLock<Vec<u16>> = std::sync::LazyLock::new(|| {
    let mut all = vec![0; Mnemonic::values().len()];
    for (n, row) in ROWS.iter().enumerate().skip(1) {
        all[row.mnemonic as usize] = n as u16;
    }
    all
});

/// The number of a mnemonic's row; 0 if it has none.
pub fn number(m: Mnemonic) -> u16 {
    NUMBER[m as usize]
}

/// Mnemonics without a row among the legacy and VEX encodings that need any of these features.
pub fn missing(features: &[CpuidFeature]) -> Vec<Mnemonic> {
    let mut all: Vec<_> = Code::values()
        .filter(|c| matches!(c.encoding(), EncodingKind::Legacy | EncodingKind::VEX))
        .filter(|c| c.op_code().is_instruction())
        .filter(|c| c.cpuid_features().iter().any(|f| features.contains(f)))
        .map(|c| c.mnemonic())
        .filter(|m| number(*m) == 0)
        .collect();
    all.sort();
    all.dedup();
    all
}

#[cfg(test)]
mod test {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_mnemonic_has_two_rows() {
        let mut seen = BTreeSet::new();
        let all = FAMILIES.iter().copied().flatten();
        let twice: Vec<_> = all.filter(|r| !seen.insert(r.mnemonic)).map(|r| r.mnemonic).collect();
        assert_eq!(twice, []);
    }

    #[test]
    fn every_vector_instruction_has_a_row() {
        use CpuidFeature::*;
        let families = [
            MMX, SSE2, SSSE3, SSE4_1, SSE4_2, AES, PCLMULQDQ, SHA, GFNI, F16C, AVX2, FMA, VAES,
            VPCLMULQDQ,
        ];
        assert_eq!(missing(&families), []);
    }
}
