//! MMX instructions in plain Rust.

use crate::{Exception, Insn, Interp, Raised};

/// EMMS: all x87 registers empty.
pub fn emms(s: &mut Interp<'_>, _: &Insn) -> Result<(), Raised> {
    if s.c.state.fpu.sw & 0x80 != 0 {
        return s.raise(Exception::MF);
    }
    s.c.state.fpu.empty = 0xff;
    s.c.state.fpu.top = 0;
    Ok(())
}
