//! What an instruction becomes that may not run: its exception.

use crate::{Exception, Insn, Interp, Raised};

pub fn ud(s: &mut Interp<'_>, _: &Insn) -> Result<(), Raised> {
    s.raise(Exception::UD)
}
pub fn nm(s: &mut Interp<'_>, _: &Insn) -> Result<(), Raised> {
    s.raise(Exception::NM)
}
pub fn gp(s: &mut Interp<'_>, _: &Insn) -> Result<(), Raised> {
    s.raise(Exception::GP0)
}
