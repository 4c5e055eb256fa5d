//! Which lines of a Linux log are complaints.
//!
//! `kernel-log.allow` lists those that Debian's kernels print on a good machine, too. It was written by runs under QEMU; what
//! one prints is shown by `REPRISE=qemu-system-x86_64 cargo test -p boot-tests --test boot -- --record`. Complaints about
//! clocks do not belong there: a peer makes them on a busy host, but ours has to keep time.

use std::collections::BTreeSet;

/// Any of these, whatever the case, makes a line a complaint.
const WORDS: &[&str] = &[
    "warning",
    "bug:",
    "call trace",
    "error",
    "fail",
    "oops",
    "kernel panic",
    "lockup",
    "stall",
    "unstable",
    "firmware bug",
    "invalid",
    "unexpected",
    "spurious",
    "timed out",
    "timeout",
    "not responding",
    "general protection",
    "segfault",
    "traps:",
    "nobody cared",
    "unable to",
    "missing",
    "mce: ",
    "can't",
    "cannot",
    "could not",
    "not found",
    "no such",
    "not supported",
    "unsupported",
    "skew",
    "conflict",
    "broken",
    "ignoring",
    "lost",
    "wrong",
    "corrupt",
    "inconsistent",
    "mismatch",
    "bogus",
    "hung",
];

/// A complaint with one of these words is about clocks.
#[rustfmt::skip]
const CLOCKS: &[&str] = &[
    "tsc", "clock", "clocks", "clocksource", "clockevents", "jiffy", "jiffies", "pit", "hpet", "timer", "calibrate",
    "calibration", "skew",
];

pub const ALLOWED: &str = include_str!("../kernel-log.allow");

/// The complaints in `log` that are not in `allowed`.
pub fn complaints(log: &str, allowed: &str) -> Vec<String> {
    let allowed: BTreeSet<_> = allowed.lines().filter(|l| !l.starts_with('#')).map(plain).collect();
    let is_bad = |line: &&str| {
        let lower = line.to_lowercase();
        WORDS.iter().any(|w| lower.contains(w)) && !allowed.contains(&plain(line))
    };
    log.lines().filter(|l| l.starts_with('[')).filter(is_bad).map(|l| l.trim().to_owned()).collect()
}

/// What remains of a peer's complaints, numbers made alike, when those about clocks are left out: more that is allowed.
pub fn excused(log: &str) -> String {
    let about_clocks = |line: &String| {
        let lower = line.to_lowercase();
        CLOCKS.iter().any(|w| lower.split(|c: char| !c.is_alphanumeric()).any(|x| x == *w))
    };
    let all = complaints(log, "").into_iter().map(|l| plain(&l)).filter(|l| !about_clocks(l));
    all.collect::<Vec<_>>().join("\n")
}

/// A line without its time, and with all numbers alike.
pub fn plain(line: &str) -> String {
    let text = match line.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        Some((_time, text)) => text,
        None => line,
    };
    let mut out = String::new();
    for c in text.trim().chars() {
        let c = if c.is_ascii_digit() { '#' } else { c };
        if c != '#' || !out.ends_with('#') {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_complaint_is_found_unless_allowed() {
        let log = "[    0.5] all is well\n[    1.0] clk: error -22\nerror from a program\n";
        assert_eq!(complaints(log, ""), ["[    1.0] clk: error -22"]);
        assert!(complaints(log, "clk: error -7").is_empty());
        assert_eq!(complaints(log, "# clk: error -7").len(), 1);
    }

    #[test]
    fn a_peer_excuses_what_is_not_about_clocks() {
        let log = "[    1.0] tsc: Fast TSC calibration failed\n[    2.0] pnp 00:05: error -19\n[    3.0] fine\n";
        assert_eq!(excused(log), "pnp #:#: error -#");
    }
}
