//! One instruction at a time: the plainest engine, and the oracle of the others.

use crate::decode::{Odd, decode};
use crate::rows::ROWS;
use crate::{Exception, Interp, Raised};

/// Why a step did not retire an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// An exception, not yet delivered: the state is that before the instruction.
    Fault(Exception),
}

/// Fetches, decodes and executes the instruction at RIP, and counts it. An exception is given back, not delivered.
pub fn step(s: &mut Interp<'_>) -> Result<(), Stopped> {
    match step_raw(s) {
        Ok(()) => {
            s.c.left -= 1;
            Ok(())
        }
        Err(Raised) => Err(Stopped::Fault(s.c.fault)),
    }
}

fn step_raw(s: &mut Interp<'_>) -> Result<(), Raised> {
    let mut bytes = [0; 15];
    let n = s.fetch(&mut bytes)?;
    let i = match decode(&bytes[..n], s.c.mode, &s.c.features) {
        Ok(i) => i,
        Err(Odd::TooLong) => return s.raise(Exception::GP0),
        Err(Odd::Short) => {
            // The instruction runs into the page that could not be fetched: its fault is ours.
            let rip = s.c.state.rip;
            s.c.state.rip = rip.wrapping_add(n as u64);
            let e = s.fetch(&mut bytes).err();
            s.c.state.rip = rip;
            return Err(e.unwrap_or(Raised));
        }
    };
    let rip = s.c.state.rip;
    let next = rip.wrapping_add(i.len as u64);
    s.c.state.rip = if s.c.mode.long64() { next } else { next & 0xffff_ffff };
    let r = (ROWS[i.row as usize].run)(s, &i);
    if r.is_err() {
        s.c.state.rip = rip;
    }
    r
}
