//! The words of vector instructions.

use crate::Sem;

/// Words over 128-bit lanes. 256-bit instructions do everything twice.
pub trait Vector: Sem {
    /// 128 bits: `u128` when interpreting, an SSA name when translating.
    type X: Copy;
    /// Half `half` (0 low, 1 high) of vector register `n`.
    fn get_x(&mut self, n: u8, half: u8) -> Self::X;
    fn set_x(&mut self, n: u8, half: u8, v: Self::X);
}

impl Vector for crate::Interp<'_> {
    type X = u128;
    #[inline(always)]
    fn get_x(&mut self, n: u8, half: u8) -> u128 {
        self.c.state.ymm[n as usize & 15][half as usize & 1]
    }
    #[inline(always)]
    fn set_x(&mut self, n: u8, half: u8, v: u128) {
        self.c.state.ymm[n as usize & 15][half as usize & 1] = v
    }
}
