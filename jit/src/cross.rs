//! Instructions that are executed one at a time: those that cross a page, those in pages that are overwritten all the time,
//! and those the mode wants single. They are fetched every time, and decoded only if their bytes are not as last time.

use cpu::decode::{Odd, decode};
use cpu::rows::ROWS;
use cpu::{Exception, Insn, Interp, Mode, Raised};

struct Slot {
    rip: u64,
    mode: Mode,
    bytes: [u8; 15],
    have: usize,
    insn: Option<Insn>,
}

/// What was decoded lately.
pub struct Steps {
    slots: Vec<Slot>,
}

const SLOTS: usize = 1024;

impl Steps {
    pub fn new() -> Self {
        let empty = || Slot { rip: 0, mode: Mode(0), bytes: [0; 15], have: 0, insn: None };
        Steps { slots: (0..SLOTS).map(|_| empty()).collect() }
    }

    /// Fetches and executes the instruction at RIP and counts it; gives whether its row ends a block. After an exception the state is that before the
    /// instruction.
    pub fn step(&mut self, s: &mut Interp<'_>) -> Result<bool, Raised> {
        let rip = s.c.state.rip;
        let mut bytes = [0; 15];
        let have = s.fetch(&mut bytes)?;
        let slot = &mut self.slots[(rip ^ rip >> 10) as usize % SLOTS];
        let known =
            slot.rip == rip && slot.mode == s.c.mode && slot.have == have && slot.bytes == bytes;
        let insn = match slot.insn {
            Some(i) if known => i,
            _ => {
                let i = match decode(&bytes[..have], s.c.mode, &s.c.features) {
                    Ok(i) => i,
                    Err(Odd::TooLong) => return s.raise(Exception::GP0),
                    Err(Odd::Short) => {
                        // It runs into the page that could not be fetched: that fault is its own.
                        s.c.state.rip = rip.wrapping_add(have as u64);
                        let e = s.fetch(&mut bytes).err();
                        s.c.state.rip = rip;
                        return Err(e.unwrap_or(Raised));
                    }
                };
                *slot = Slot { rip, mode: s.c.mode, bytes, have, insn: Some(i) };
                i
            }
        };
        let next = rip.wrapping_add(insn.len as u64);
        s.c.state.rip = if s.c.mode.long64() { next } else { next & 0xffff_ffff };
        let row = &ROWS[insn.row as usize];
        if let Err(e) = (row.run)(s, &insn) {
            s.c.state.rip = rip;
            return Err(e);
        }
        s.c.left -= 1;
        Ok(crate::decode::ends(&insn))
    }
}
