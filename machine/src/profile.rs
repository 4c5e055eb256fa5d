//! Where the guest spends its instructions: its RIP, sampled by their count.
//!
//! A core's budget ends where a sample is due, so nothing is looked at in between, and the guest cannot see it. All cores share
//! the count; a core that waits executes nothing and has no samples.

pub mod symbols;

use cpu::Core;
use std::collections::BTreeMap;
use std::fmt::Write;
use symbols::Symbols;

/// The most rows: a guest that goes everywhere does not use up memory.
const ROWS: usize = 1 << 18;
const PAGE: u64 = 4096;
/// The bits of CR3 that say where page tables are.  SDM 3A, 4.5.2.
const TABLES: u64 = 0x000f_ffff_ffff_f000;

/// Where samples are counted together. CPL 3 is told from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Symbol(u32),
    /// Of an address space, by CR3, if it is a user's.
    Page {
        at: u64,
        space: u64,
    },
    /// There are too many rows.
    Elsewhere,
}

/// Samples of where the guest is.
pub struct Profile {
    every: u64,
    symbols: Symbols,
    rows: [BTreeMap<Place, u64>; 2],
}

impl Profile {
    /// One sample after each `every` instructions.
    pub fn new(every: u64, symbols: Symbols) -> Profile {
        Profile { every: every.max(1), symbols, rows: [BTreeMap::new(), BTreeMap::new()] }
    }

    /// Instructions from this count to the next sample.
    pub(crate) fn until_next(&self, count: u64) -> u64 {
        self.every - count % self.every
    }
    /// Whether a sample was due after the first count, up to the second.
    pub(crate) fn is_due(&self, from: u64, to: u64) -> bool {
        from / self.every != to / self.every
    }

    /// Notes where a core is: the instruction that it executes next.
    pub(crate) fn sample(&mut self, core: &Core) {
        let s = &core.state;
        let long = cpu::Mode::of(s).long64();
        let at = if long { s.rip } else { s.rip.wrapping_add(s.seg[1].base) & 0xffff_ffff };
        self.add(s.cpl == 3, at, s.cr3);
    }
    fn add(&mut self, user: bool, at: u64, cr3: u64) {
        let rows = &mut self.rows[usize::from(user)];
        let space = if user { cr3 & TABLES } else { 0 };
        let page = Place::Page { at: at & !(PAGE - 1), space };
        let mut place = self.symbols.find(at).map_or(page, Place::Symbol);
        if rows.len() >= ROWS && !rows.contains_key(&place) {
            place = Place::Elsewhere;
        }
        *rows.entry(place).or_default() += 1;
    }

    /// The samples, the commonest first; at most so many rows of the kernel, and of user programs.
    pub fn report(&self, most: usize) -> String {
        let sums = [0, 1].map(|n: usize| self.rows[n].values().sum::<u64>());
        let all = sums[0] + sums[1];
        let share = |n: u64| {
            let parts = (u128::from(n) * 10_000).checked_div(all.into()).unwrap_or(0);
            format!("{}.{:02} %", parts / 100, parts % 100)
        };
        let mut o = String::new();
        let _ = writeln!(o, "{all} samples, one each {} instructions", self.every);
        for (n, name) in ["kernel (CPL 0 to 2)", "user (CPL 3)"].into_iter().enumerate() {
            let _ = writeln!(o, "\n{name}: {} samples, {}", sums[n], share(sums[n]));
            let mut rows: Vec<_> = self.rows[n].iter().map(|(&p, &n)| (p, n)).collect();
            rows.sort_by_key(|&(place, n)| (std::cmp::Reverse(n), place));
            for &(place, n) in rows.iter().take(most) {
                let (at, what) = self.describe(place);
                let _ = writeln!(o, "{n:>10} {:>9}  {at:16}  {what}", share(n));
            }
            if let Some(rest) = rows.get(most..).filter(|r| !r.is_empty()) {
                let n = rest.iter().map(|r| r.1).sum();
                let _ = writeln!(o, "{n:>10} {:>9}  in {} more rows", share(n), rest.len());
            }
        }
        o
    }
    /// An address and a name.
    fn describe(&self, place: Place) -> (String, String) {
        match place {
            Place::Symbol(n) => (format!("{:016x}", self.symbols.at(n)), self.symbols.name(n)),
            Place::Page { at, space: 0 } => (format!("{at:016x}"), "(page)".into()),
            Place::Page { at, space } => (format!("{at:016x}"), format!("(page, CR3 {space:x})")),
            Place::Elsewhere => (String::new(), "(elsewhere)".into()),
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn profile(map: &str) -> Profile {
        Profile::new(10, Symbols::parse_text(map.as_bytes().to_vec()).unwrap())
    }

    #[test]
    fn samples_are_due_at_multiples() {
        let p = profile("1000 T a\n");
        assert_eq!([0, 1, 9, 10, 25].map(|n| p.until_next(n)), [10, 9, 1, 10, 5]);
        let due = [(0, 9), (0, 10), (9, 11), (10, 19), (10, 45)].map(|(a, b)| p.is_due(a, b));
        assert_eq!(due, [false, true, true, false, true]);
    }

    #[test]
    fn kernel_and_user_are_apart_and_the_commonest_is_first() {
        let mut p = profile("ffffffff81000000 T rare\nffffffff81000100 t often\n");
        p.add(false, 0xffff_ffff_8100_0010, 0x5000);
        (0..5).for_each(|n| p.add(false, 0xffff_ffff_8100_0100 + n, 0x5000));
        (0..2).for_each(|n| p.add(true, 0x40_0000 + n, 0x8000_0000_0012_3005));
        p.add(false, 0x7c00, 0x5000);
        p.add(true, 0x40_0000, 0x7000);
        assert_eq!(
            p.report(9),
            "10 samples, one each 10 instructions\n\n\
             kernel (CPL 0 to 2): 7 samples, 70.00 %\n\
             \x20        5   50.00 %  ffffffff81000100  often\n\
             \x20        1   10.00 %  ffffffff81000000  rare\n\
             \x20        1   10.00 %  0000000000007000  (page)\n\n\
             user (CPL 3): 3 samples, 30.00 %\n\
             \x20        2   20.00 %  0000000000400000  (page, CR3 123000)\n\
             \x20        1   10.00 %  0000000000400000  (page, CR3 7000)\n"
        );
        assert!(p.report(1).contains("         2   20.00 %  in 2 more rows\n"));
        assert_eq!(
            profile("1 t a").report(1).lines().next(),
            Some("0 samples, one each 10 instructions")
        );
    }

    #[test]
    fn a_guest_that_goes_everywhere_is_counted_all_the_same() {
        let mut p = profile("1000 T a\n");
        (0..ROWS as u64 + 100).for_each(|n| p.add(true, n * PAGE, 0));
        assert_eq!(p.rows[1].len(), ROWS + 1);
        assert_eq!(p.rows[1].values().sum::<u64>(), ROWS as u64 + 100);
        assert!(p.report(1).contains("(elsewhere)"));
    }
}
