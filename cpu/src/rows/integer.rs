//! Integer instructions.

/// Gives the lines to the macro `$then`.
#[macro_export]
#[rustfmt::skip]
macro_rules! integer_rows { ($then:ident) => { $then! {
    Add   gen alu::add;
    And   gen alu::and;
    Cmp   gen alu::cmp;
    Or    gen alu::or;
    Sub   gen alu::sub;
    Test  gen alu::test;
    Xor   gen alu::xor;
} } }

use super::interp_rows;
pub static ROWS: &[super::Row] = integer_rows!(interp_rows);
