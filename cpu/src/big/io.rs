//! Port input and output.  SDM 1, chapter 19.

use crate::{Exception, Interp, Raised, Width, flags};

/// Whether the current privilege level may use the port: #GP(0) if not.
pub fn check(s: &mut Interp<'_>, _port: u16, _w: Width) -> Result<(), Raised> {
    let iopl = (s.c.state.rflags & flags::IOPL) >> 12;
    if s.c.state.protected() && s.c.state.cpl as u64 > iopl {
        return s.raise(Exception::GP0);
    }
    Ok(())
}
