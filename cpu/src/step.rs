//! One instruction at a time: the plainest engine, and the oracle of the others.

use crate::decode::{Odd, decode};
use crate::event::{self, Event};
use crate::rows::ROWS;
use crate::{Activity, Exception, Interp, Raised, flags};
use iced_x86::Mnemonic;

/// Why a step did not retire an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// An exception, not yet delivered: the state is that before the instruction.
    Fault(Exception),
}

/// What happened from one instruction boundary to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// An event was taken instead of an instruction.
    Took(Event),
    Retired,
    /// An instruction raised this, and it was delivered.
    Faulted(Exception),
    /// The core waits: see [`crate::event::runnable`].
    Asleep,
}

/// Fetches, decodes and executes the instruction at RIP, and counts it. An exception is given back, not delivered. Neither
/// debug traps nor the one-instruction effects of STI and MOV SS are looked after here.
pub fn step(s: &mut Interp<'_>) -> Result<(), Stopped> {
    match step_raw(s) {
        Ok(_) => {
            s.c.left -= 1;
            Ok(())
        }
        Err(Raised) => Err(Stopped::Fault(s.c.fault)),
    }
}

/// Gives the row of what was executed.
fn step_raw(s: &mut Interp<'_>) -> Result<u16, Raised> {
    let mut bytes = [0; 15];
    let mut have = s.fetch(&mut bytes, 0)?;
    let i = loop {
        match decode(&bytes[..have], s.c.mode, &s.c.features) {
            Ok(i) => break i,
            Err(Odd::TooLong) => return s.raise(Exception::GP0),
            // The instruction runs into the next page: if that cannot be fetched, its fault is ours.
            Err(Odd::Short) => have = s.fetch(&mut bytes, have)?,
        }
    };
    let rip = s.c.state.rip;
    let next = rip.wrapping_add(i.len as u64);
    s.c.state.rip = if s.c.mode.long64() { next } else { next & 0xffff_ffff };
    match (ROWS[i.row as usize].run)(s, &i) {
        Ok(()) => Ok(i.row),
        Err(e) => {
            s.c.state.rip = rip;
            Err(e)
        }
    }
}

/// From one boundary to the next: takes the event that is due, or else executes one instruction and delivers its exception.
pub fn step_with_events(s: &mut Interp<'_>) -> Boundary {
    if let Some(e) = event::pending(s) {
        return Boundary::Took(e);
    }
    if s.c.activity() != Activity::Running {
        return Boundary::Asleep;
    }
    one(s)
}

/// One instruction with its traps: RF and the shadows of STI and MOV SS last until it is over, and TF makes it trap.
/// SDM 3B, 19.3.1.
fn one(s: &mut Interp<'_>) -> Boundary {
    let st = &mut s.c.state;
    let (stepping, resume) = (st.rflags & flags::TF != 0, st.rflags & flags::RF);
    let shadow = std::mem::take(&mut st.shadow);
    let due = st.pending_debug;
    st.rflags &= !flags::RF;
    match step_raw(s) {
        Ok(row) => {
            s.c.left -= 1;
            let st = &mut s.c.state;
            use Mnemonic::*;
            let trap = match ROWS[row as usize].mnemonic {
                // A handler is not trapped on the way into it; SYSRET sees to itself.
                Int | Int1 | Int3 | Into | Sysenter | Syscall => {
                    stepping && st.rflags & flags::TF != 0
                }
                Sysret | Sysretq => false,
                // After MOV SS there is no step at all.
                _ => stepping && st.shadow & 2 == 0,
            };
            if trap {
                st.pending_debug |= event::BS;
            }
            if stepping || resume != 0 || shadow != 0 || st.pending_debug != 0 {
                s.c.refresh();
            }
            Boundary::Retired
        }
        Err(Raised) => {
            s.c.state.rflags |= resume;
            // Breakpoints that a faulting instruction hit are not reported.
            s.c.state.pending_debug = due;
            let e = s.c.fault;
            event::deliver(s, e);
            Boundary::Faulted(e)
        }
    }
}

/// Runs until the budget is used up, the core waits, or somebody wants attention.
pub fn run(s: &mut Interp<'_>) {
    while s.c.left > 0 {
        if step_with_events(s) == Boundary::Asleep || s.c.stop {
            break;
        }
    }
}

#[cfg(test)]
mod test;
