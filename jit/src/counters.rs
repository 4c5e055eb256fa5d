//! What the engine has done.

use cpu::rows::ROWS;
use memory::TlbCounts;
use std::fmt::{Display, Formatter, Result};

/// Why native code was left, as its helpers know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Why {
    /// No helper had a say in it.
    Insn,
    /// An access to a page that is not there, or not for this.
    Page,
    /// An access to what is not plain RAM: a device, ROM, a page with code, one whose writes are noted.
    NotRam,
    /// An access across two pages, where that is nothing for native code.
    Crossing,
    /// Something was due after an instruction.
    Due,
}

/// What the engine has done, for `info jit`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Blocks alive, and decoded so far.
    pub blocks: u64,
    pub decoded: u64,
    /// Instructions of blocks alive.
    pub ops: u64,
    /// Instructions executed block by block, and one at a time.
    pub tier0: u64,
    pub stepped: u64,
    /// Instructions executed in native code.
    pub native: u64,
    /// Times native code was left: for tier 0 to do an instruction or the rest of a budget, for a place it does not know,
    /// for an exception, to see what is due.
    pub side_exits: u64,
    pub jumps: u64,
    pub faults: u64,
    pub events: u64,
    /// Of the first: the budget was too short for a block; an access was none for native code, see [`Why`].
    pub short: u64,
    pub pages: u64,
    pub not_ram: u64,
    pub crossings: u64,
    /// Of the second: the engine had native code for that place.
    pub known: u64,
    /// Of the last: a block became hot; the budget was over; the core waits; code was overwritten.
    pub hot: u64,
    pub over: u64,
    pub waits: u64,
    pub overwritten: u64,
    /// Blocks that got code of the baseline tier, its bytes, and about how long that took.
    pub baseline: u64,
    pub baseline_bytes: u64,
    pub baseline_nanos: u64,
    /// Blocks whose code an earlier run had kept.
    pub recalled: u64,
    /// Regions compiled, thrown away, and those that could not be.
    pub regions: u64,
    pub regions_dropped: u64,
    pub regions_failed: u64,
    /// Instructions in compiled regions, their bytes of native code, and the time that took.
    pub region_insns: u64,
    pub code_bytes: u64,
    pub compile_nanos: u64,
    /// Bytes of memory with native code, and all there are for it.
    pub memory_used: u64,
    pub memory: u64,
    /// Blocks dropped because their bytes changed.
    pub dropped: u64,
    /// Writes to pages with code.
    pub code_writes: u64,
    /// Times the oldest part of native code was dropped to have room.
    pub evictions: u64,
    /// Times everything was forgotten.
    pub flushes: u64,
}

/// How often tier 0 had to do an instruction that native code was left for: because of the instruction, or of its memory.
#[derive(Clone, Copy, Default)]
pub struct Fallen {
    pub itself: u64,
    pub memory: u64,
}

/// All that `info jit` tells.
pub struct Report<'a> {
    pub count: Counters,
    pub tlb: TlbCounts,
    /// By rows: what was left to tier 0, and how often native code called the interpreter.
    pub fallen: &'a [Fallen],
    pub called: &'a [u64],
}

/// So many instructions are in a list.
const MOST: usize = 10;

/// A number with its share of `all`.
fn share(f: &mut Formatter<'_>, name: &str, n: u64, all: u64) -> Result {
    let parts = (u128::from(n) * 10_000).checked_div(all.into()).unwrap_or(0);
    writeln!(f, "{name:34} {n:>14} {:>4}.{:02} %", parts / 100, parts % 100)
}

/// The commonest, by names; the order of equal ones is always the same.
fn top<T: Copy>(rows: &[T], count: impl Fn(T) -> u64) -> Vec<(String, T)> {
    let mut all: Vec<(usize, T)> = rows.iter().copied().enumerate().collect();
    all.retain(|(_, n)| count(*n) != 0);
    all.sort_by_key(|(row, n)| (std::cmp::Reverse(count(*n)), *row));
    all.truncate(MOST);
    let name = |row: usize| ROWS.get(row).map_or_else(String::new, |r| format!("{:?}", r.mnemonic));
    all.into_iter().map(|(row, n)| (name(row).to_lowercase(), n)).collect()
}

impl Display for Report<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let (c, t) = (&self.count, &self.tlb);
        let insns = c.native + c.tier0 + c.stepped;
        share(f, "instructions in native code", c.native, insns)?;
        share(f, "instructions in tier 0", c.tier0, insns)?;
        share(f, "instructions one at a time", c.stepped, insns)?;
        let each = |nanos: u64, of: u64| nanos.checked_div(of).unwrap_or(0);
        let rows = [
            ("blocks alive", c.blocks),
            ("blocks decoded", c.decoded),
            ("blocks dropped, overwritten", c.dropped),
            ("instructions in blocks", c.ops),
            ("blocks with baseline code", c.baseline),
            ("  of them kept from earlier runs", c.recalled),
            ("bytes of baseline code", c.baseline_bytes),
            ("baseline compile time, ms", c.baseline_nanos / 1_000_000),
            ("  per block, ns", each(c.baseline_nanos, c.baseline - c.recalled)),
            ("regions compiled", c.regions),
            ("regions dropped", c.regions_dropped),
            ("regions that did not compile", c.regions_failed),
            ("instructions in regions", c.region_insns),
            ("bytes of regions", c.code_bytes),
            ("region compile time, ms", c.compile_nanos / 1_000_000),
            ("  per instruction, ns", each(c.compile_nanos, c.region_insns)),
        ];
        let plain = |f: &mut Formatter<'_>, rows: &[(&str, u64)]| {
            rows.iter().try_for_each(|(name, n)| writeln!(f, "{name:34} {n:>14}"))
        };
        plain(f, &rows)?;
        share(f, "KiB of native code", c.memory_used >> 10, c.memory >> 10)?;
        plain(f, &[("KiB of memory for it", c.memory >> 10)])?;
        let itself = c.side_exits.saturating_sub(c.short + c.pages + c.not_ram + c.crossings);
        let due = c.events.saturating_sub(c.hot + c.over + c.waits + c.overwritten);
        let rows = [
            ("exits to tier 0", c.side_exits),
            ("  the rest of a budget", c.short),
            ("  a page not there, or protected", c.pages),
            ("  no plain RAM (device, code, ROM)", c.not_ram),
            ("  an access across two pages", c.crossings),
            ("  the instruction itself", itself),
            ("exits to unknown places", c.jumps),
            ("  with native code after all", c.known),
            ("exits with exceptions", c.faults),
            ("exits to see what is due", c.events),
            ("  a block became hot", c.hot),
            ("  the budget was over", c.over),
            ("  the CPU waits (hlt, pause)", c.waits),
            ("  code was overwritten", c.overwritten),
            ("  an interrupt, a device, a mode", due),
            ("pages found aside in the TLB", t.aside),
            ("pages found in its second level", t.second),
            ("pages looked up in page tables", t.walks),
            ("TLB flushes, all", t.flushes),
            ("  all but global pages", t.own_flushes),
            ("  changes of the address space", t.switches),
            ("  single pages", t.pages),
            ("writes to code pages", c.code_writes),
            ("times the oldest code was dropped", c.evictions),
            ("times everything was forgotten", c.flushes),
        ];
        plain(f, &rows)?;
        let fallen = top(self.fallen, |n| n.itself + n.memory);
        if !fallen.is_empty() {
            writeln!(
                f,
                "left to tier 0 by native code      {:>14} {:>14}",
                "itself", "its memory"
            )?;
        }
        for (name, n) in fallen {
            writeln!(f, "  {name:32} {:>14} {:>14}", n.itself, n.memory)?;
        }
        let called = top(self.called, |n| n);
        if !called.is_empty() {
            writeln!(f, "native code called the interpreter {:>14}", "times")?;
        }
        called.iter().try_for_each(|(name, n)| writeln!(f, "  {name:32} {n:>14}"))
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use iced_x86::Mnemonic;

    #[test]
    fn the_commonest_come_first_and_all_columns_are_aligned() {
        let mut fallen = vec![Fallen::default(); ROWS.len()];
        let mut called = vec![0; ROWS.len()];
        let row = |m| cpu::rows::number(m) as usize;
        fallen[row(Mnemonic::Mov)] = Fallen { itself: 1, memory: 7 };
        fallen[row(Mnemonic::Push)] = Fallen { itself: 9, memory: 0 };
        (called[row(Mnemonic::Cpuid)], called[row(Mnemonic::Rdtsc)]) = (4, 5);
        let count = Counters {
            native: 2,
            tier0: 1,
            memory_used: 1 << 20,
            memory: 4 << 20,
            ..Counters::default()
        };
        let report = Report { count, tlb: TlbCounts::default(), fallen: &fallen, called: &called };
        let text = report.to_string();
        let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what}: {text}"));
        assert!(at("  push  ") < at("  mov  ") && at("  rdtsc  ") < at("  cpuid  "), "{text}");
        for line in text.lines() {
            let number = line.get(35..49).unwrap_or_default().trim();
            let is = number.parse::<u64>().is_ok() || ["itself", "times"].contains(&number);
            assert!(is, "{line}");
        }
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for what in ["in native code 2 66.66 %", "KiB of native code 1024 25.00 %"] {
            assert!(words.contains(what), "{what}: {text}");
        }
    }

    #[test]
    fn a_list_has_ten_lines_at_most() {
        let many: Vec<u64> = (0..50).collect();
        let list = top(&many, |n| n);
        assert_eq!((list.len(), list[0].1, list[9].1), (MOST, 49, 40));
    }
}
