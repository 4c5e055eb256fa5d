//! Who has which piece of RAM while an image is being put into memory.

use super::layout::{EBDA, F_SEGMENT, FOUR_GB, MB};
use super::{BootError, Layout, Placed, Range};

/// RAM with the pieces already given away. Pieces never overlap.
pub struct Space {
    ram: Vec<Range>,
    taken: Vec<(Range, String)>,
    ram_text: String,
}

/// Below this the BIOS data area and the real-mode vectors live; nothing of ours goes there.
const FIRST: u64 = 0x1000;

impl Space {
    /// RAM with the parts that firmware keeps already taken.
    pub fn new(layout: &Layout, placed: &Placed) -> Self {
        let mut ram = vec![Range::new(0, layout.ram_low)];
        if layout.ram_high > 0 {
            ram.push(Range::new(FOUR_GB, FOUR_GB + layout.ram_high));
        }
        let mut taken = vec![
            (Range::new(EBDA, 0xC_0000), "the EBDA and video memory".to_owned()),
            (Range::new(0xC_0000, F_SEGMENT), "the option ROM area".to_owned()),
            (Range::new(F_SEGMENT, MB), "the firmware segment".to_owned()),
        ];
        if !placed.tables.is_empty() {
            taken.push((placed.tables, "the ACPI tables".to_owned()));
        }
        Space { ram, taken, ram_text: layout.ram_text() }
    }

    /// Takes exactly this range, which must be free RAM.
    pub fn claim(&mut self, at: u64, len: u64, what: &str) -> Result<Range, BootError> {
        let range = Range::sized(at, len);
        let in_ram = self.ram.iter().any(|r| r.start <= at && range.end <= r.end);
        if !in_ram || range.len() != len {
            let ram = self.ram_text.clone();
            return Err(BootError::Outside { what: what.into(), at, len, ram });
        }
        if let Some((_, other)) = self.taken.iter().find(|(r, _)| r.overlaps(&range)) {
            let (at, end, other) = (range.start, range.end, other.clone());
            return Err(BootError::Overlap { what: what.into(), at, end, other });
        }
        if len > 0 {
            self.taken.push((range, what.to_owned()));
        }
        Ok(range)
    }

    /// Takes `len` bytes as low as possible within `within`.
    pub fn lowest(
        &mut self,
        len: u64,
        align: u64,
        within: Range,
        what: &str,
    ) -> Result<Range, BootError> {
        let mut at = align_up(within.start.max(FIRST), align);
        while let Some(end) = at.and_then(|a| a.checked_add(len)).filter(|e| *e <= within.end) {
            let here = Range::new(end - len, end);
            match self.blocker(&here) {
                None => return self.claim(here.start, len, what),
                Some(next) => at = align_up(next.end, align),
            }
        }
        Err(no_room(what, len, within))
    }

    /// Takes `len` bytes as high as possible within `within`.
    pub fn highest(
        &mut self,
        len: u64,
        align: u64,
        within: Range,
        what: &str,
    ) -> Result<Range, BootError> {
        let mut end = within.end;
        while let Some(start) = end.checked_sub(len).map(|s| s - s % align) {
            if start < within.start.max(FIRST) {
                break;
            }
            let here = Range::sized(start, len);
            match self.blocker(&here) {
                None => return self.claim(here.start, len, what),
                Some(next) => end = next.start.min(here.end - 1),
            }
        }
        Err(no_room(what, len, within))
    }

    /// What stands in the way of a range: another piece, or the end of RAM with all beyond it.
    fn blocker(&self, here: &Range) -> Option<Range> {
        // An empty piece takes no room, but has to lie somewhere in RAM.
        let probe = Range::new(here.start, here.end.max(here.start + 1));
        if let Some((r, _)) = self.taken.iter().find(|(r, _)| r.overlaps(&probe)) {
            return Some(*r);
        }
        if self.ram.iter().any(|r| r.start <= probe.start && probe.end <= r.end) {
            return None;
        }
        // The hole that the range touches: from the end of one bank to the start of the next.
        let mut hole = Range::new(0, u64::MAX);
        for bank in &self.ram {
            if bank.end < probe.end {
                hole.start = hole.start.max(bank.end);
            }
            if bank.start > probe.start {
                hole.end = hole.end.min(bank.start);
            }
        }
        Some(hole)
    }
}

fn align_up(at: u64, align: u64) -> Option<u64> {
    at.checked_next_multiple_of(align.max(1))
}

fn no_room(what: &str, len: u64, within: Range) -> BootError {
    BootError::NoRoom { what: what.into(), len, from: within.start, to: within.end }
}
