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
        let mut have = s.fetch(&mut bytes, 0)?;
        let slot = &mut self.slots[(rip ^ rip >> 10) as usize % SLOTS];
        let known = slot.insn.filter(|_| slot.rip == rip && slot.mode == s.c.mode);
        if known.is_some_and(|i| usize::from(i.len) > have) && slot.bytes[..have] == bytes[..have] {
            // It ran into the next page, and does so again.
            have = s.fetch(&mut bytes, have)?;
        }
        let insn = match known.filter(|_| slot.have == have && slot.bytes == bytes) {
            Some(i) => i,
            None => {
                let i = loop {
                    match decode(&bytes[..have], s.c.mode, &s.c.features) {
                        Ok(i) => break i,
                        Err(Odd::TooLong) => return s.raise(Exception::GP0),
                        // If the next page cannot be fetched, that fault is its own.
                        Err(Odd::Short) => have = s.fetch(&mut bytes, have)?,
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
