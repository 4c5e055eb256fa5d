//! Cases and outcomes as one line of text: hand tests, recorded vectors and repro lines.
//!
//! `BYTES | assembly | inputs => outputs`. Numbers are hexadecimal. Inputs and outputs are
//! `name=value`: registers of any width, `es cs ss ds` (as outputs), `cf pf af zf sf df of`, `mxcsr fcw fsw ftw`, `stN`,
//! `mmN`, `xmmN`, `ymmN`, memory as `@address=bytes`, `fault=vector` or
//! `fault=0e:address:w`. Inputs can have `bits` (32 or 16, if not 64), `seed`, `mem` (what the
//! rest is made from) and `n`, the number of instructions. With `=>` only the named outputs count; with `==>` all else must be as
//! before.

use crate::case::{self, Case, End, Outcome, Patch, State};
use crate::mode::Mode;
use crate::policy;
use iced_x86::{Formatter, IntelFormatter};
use std::fmt::Write;

const GPR: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15",
];
const SEG: [&str; 4] = ["es", "cs", "ss", "ds"];
const FLAG: [(&str, u64); 7] = [
    ("cf", case::CF),
    ("pf", case::PF),
    ("af", case::AF),
    ("zf", case::ZF),
    ("sf", case::SF),
    ("df", case::DF),
    ("of", case::OF),
];

/// A line read back.
pub struct Line {
    pub case: Case,
    outputs: Vec<(String, String)>,
    whole: bool,
}

impl Line {
    pub fn parse(line: &str) -> Result<Line, String> {
        let mut parts = line.splitn(3, '|');
        let bytes = parts.next().unwrap_or_default();
        let (Some(_), Some(rest)) = (parts.next(), parts.next()) else {
            return Err("expected `bytes | assembly | inputs => outputs`".into());
        };
        let (whole, arrow) = if rest.contains("==>") { (true, "==>") } else { (false, "=>") };
        let (inputs, outputs) = rest.split_once(arrow).ok_or("expected `=>`")?;
        let (inputs, outputs) = (pairs(inputs)?, pairs(outputs)?);
        let find = |name| inputs.iter().find(|(k, _)| k == name).map(|(_, v)| number(v));
        let seed = find("seed").transpose()?.unwrap_or(0) as u64;
        let bits = inputs.iter().find(|(k, _)| k == "bits").map_or("64", |(_, v)| v);
        let mode = Mode::of_bits(bits).ok_or_else(|| format!("{bits}: expected 64, 32 or 16"))?;
        let mut case = Case {
            mode,
            code: unhex(bytes)?,
            count: 0,
            seed,
            state: mode.adapt(State::from_seed(seed)),
            mem_seed: find("mem").transpose()?.unwrap_or(0) as u64,
            patches: Vec::new(),
            writes: true,
        };
        for (k, v) in &inputs {
            match k.as_str() {
                "bits" | "seed" | "mem" => {}
                "n" => case.count = number(v)? as usize,
                k if k.starts_with('@') => {
                    case.patches.push(Patch { at: number(&k[1..])? as u64, bytes: unhex(v)? });
                }
                k => set(&mut case.state, k, v)?,
            }
        }
        if case.count == 0 {
            case.count = policy::instructions(&case).count();
        }
        let line = Line { case, outputs, whole };
        let nothing = Outcome { end: End::Done, state: line.case.state.clone(), mem: Vec::new() };
        line.wanted(&nothing)?; // all outputs must be words that we know
        Ok(line)
    }

    /// What the line says should have come out, given what did.
    pub fn wanted(&self, got: &Outcome) -> Result<Outcome, String> {
        let (c, mut want) = (&self.case, got.clone());
        let mut words = case::memory(c);
        if self.whole {
            want = Outcome { end: End::Done, state: c.state.clone(), mem: Vec::new() };
            want.state.rip += c.code.len() as u64;
        } else {
            for (at, v) in &got.mem {
                words[case::window_offset(*at).ok_or("memory outside of the windows")? / 8] = *v;
            }
        }
        if let Some((_, v)) = self.outputs.iter().find(|(k, _)| k == "fault") {
            let mut v = v.split(':');
            want.end = End::Fault {
                vector: number(v.next().unwrap_or_default())? as u8,
                address: v.next().map_or(Ok(0), number)? as u64,
                write: v.next() == Some("w"),
            };
            want.state.rip = c.state.rip;
        } else {
            want.end = End::Done;
        }
        for (k, v) in &self.outputs {
            match k.as_str() {
                "fault" => {}
                k if k.starts_with('@') => {
                    let at = number(&k[1..])? as u64;
                    case::apply(&[Patch { at, bytes: unhex(v)? }], &mut words);
                }
                k => set(&mut want.state, k, v)?,
            }
        }
        want.mem = changes(&case::memory(c), &words);
        Ok(want)
    }
}

/// The words that differ, as `Outcome::mem` has them.
pub fn changes(before: &[u64], after: &[u64]) -> Vec<(u64, u64)> {
    let differ = before.iter().zip(after).enumerate().filter(|(_, (a, b))| a != b);
    differ.map(|(i, (_, b))| (case::window_address(8 * i), *b)).collect()
}

/// The case as a line; with an outcome the whole of it follows.
pub fn line(case: &Case, outcome: Option<&Outcome>) -> String {
    let mut out = String::new();
    hex(&mut out, &case.code);
    let _ = write!(out, " | {} |", assembly(case));
    if !case.mode.is_64() {
        let _ = write!(out, " bits={}", case.mode.bits());
    }
    if case.seed != 0 {
        let _ = write!(out, " seed={:x}", case.seed);
    }
    if case.mem_seed != 0 {
        let _ = write!(out, " mem={:x}", case.mem_seed);
    }
    state_changes(&mut out, &case.seeded(), &case.state);
    for p in &case.patches {
        let _ = write!(out, " @{:x}=", p.at);
        hex(&mut out, &p.bytes);
    }
    let Some(o) = outcome else { return out };
    out.push_str(" ==>");
    let mut base = case.state.clone();
    match o.end {
        End::Done => base.rip += case.code.len() as u64,
        End::Fault { vector, address, write } => {
            let _ = write!(out, " fault={vector:x}");
            if vector == 14 {
                let _ = write!(out, ":{address:x}{}", if write { ":w" } else { "" });
            }
        }
    }
    state_changes(&mut out, &base, &o.state);
    for (at, v) in &o.mem {
        let _ = write!(out, " @{at:x}=");
        hex(&mut out, &v.to_le_bytes());
    }
    out
}

/// The instructions of a case in Intel's notation.
pub fn assembly(case: &Case) -> String {
    let mut f = IntelFormatter::new();
    f.options_mut().set_space_after_operand_separator(true);
    let mut out = String::new();
    for i in policy::instructions(case) {
        if !out.is_empty() {
            out.push_str(" ; ");
        }
        f.format(&i, &mut out);
    }
    out
}

/// ` name=value` for all that `to` has other than `from`. FOP, FIP and FDP are left out.
fn state_changes(out: &mut String, from: &State, to: &State) {
    for i in 0..16 {
        if from.gpr[i] != to.gpr[i] {
            let _ = write!(out, " {}={:x}", GPR[i], to.gpr[i]);
        }
    }
    let mut small = |name: &str, a: u64, b: u64| {
        if a != b {
            let _ = write!(out, " {name}={b:x}");
        }
    };
    small("rip", from.rip, to.rip);
    for (n, name) in SEG.iter().enumerate() {
        small(name, from.seg[n].into(), to.seg[n].into());
    }
    for (name, bit) in FLAG {
        small(name, u64::from(from.rflags & bit != 0), u64::from(to.rflags & bit != 0));
    }
    small("mxcsr", from.mxcsr.into(), to.mxcsr.into());
    small("fcw", from.fcw.into(), to.fcw.into());
    small("fsw", from.fsw.into(), to.fsw.into());
    small("ftw", from.ftw.into(), to.ftw.into());
    for i in 0..8 {
        if from.st[i] != to.st[i] {
            let _ = write!(out, " st{i}={:x}", to.st[i]);
        }
    }
    for i in 0..16 {
        if from.ymm[i] != to.ymm[i] {
            let y = to.ymm[i];
            let v: String = y.iter().rev().map(|q| format!("{q:016x}")).collect();
            let v = v.trim_start_matches('0');
            let _ = write!(out, " ymm{i}={}", if v.is_empty() { "0" } else { v });
        }
    }
}

/// Sets one named part of a state.
fn set(s: &mut State, name: &str, value: &str) -> Result<(), String> {
    if let Some((_, bit)) = FLAG.iter().find(|(n, _)| *n == name) {
        s.rflags = s.rflags & !bit | if number(value)? != 0 { *bit } else { 0 };
        return Ok(());
    }
    let index = |prefix: &str| name.strip_prefix(prefix).and_then(|n| n.parse::<usize>().ok());
    if let Some(i) = index("ymm").filter(|i| *i < 16) {
        if value.len() > 64 {
            return Err(format!("{value}: more than 256 bits"));
        }
        let padded = format!("{value:0>64}");
        for (q, to) in s.ymm[i].iter_mut().enumerate() {
            *to = number(&padded[48 - 16 * q..64 - 16 * q])? as u64;
        }
        return Ok(());
    }
    let v = number(value)?;
    if let Some(n) = SEG.iter().position(|n| *n == name) {
        s.seg[n] = v as u16;
        return Ok(());
    }
    if let Some(i) = index("xmm").filter(|i| *i < 16) {
        (s.ymm[i][0], s.ymm[i][1]) = (v as u64, (v >> 64) as u64);
    } else if let Some(i) = index("st").filter(|i| *i < 8) {
        s.st[i] = v;
    } else if let Some(i) = index("mm").filter(|i| *i < 8) {
        let n = i.wrapping_sub(s.top()) & 7;
        s.st[n] = 0xFFFF << 64 | v;
    } else if let Some((n, shift, mask)) = part(name) {
        s.gpr[n] = s.gpr[n] & !(mask << shift) | (v as u64 & mask) << shift;
    } else {
        match name {
            "rip" => s.rip = v as u64,
            "mxcsr" => s.mxcsr = v as u32,
            "fcw" => s.fcw = v as u16,
            "fsw" => s.fsw = v as u16,
            "ftw" => s.ftw = v as u8,
            _ => return Err(format!("{name}: no such register or flag")),
        }
    }
    Ok(())
}

/// The number, bit offset and mask of a general register's name.
fn part(name: &str) -> Option<(usize, u32, u64)> {
    if let Some(n) = GPR.iter().position(|g| *g == name) {
        return Some((n, 0, u64::MAX));
    }
    for (n, g) in GPR.iter().enumerate() {
        let tail = &g[1..];
        let found = if n >= 8 {
            let suffix = name.strip_prefix(g).unwrap_or_default();
            [("d", u64::from(u32::MAX)), ("w", 0xFFFF), ("b", 0xFF)]
                .iter()
                .find(|(x, _)| *x == suffix)
                .map(|(_, m)| (0, *m))
        } else {
            let first = &tail[..1];
            match name {
                _ if name == format!("e{tail}") => Some((0, u64::from(u32::MAX))),
                _ if name == tail => Some((0, 0xFFFF)),
                _ if name == format!("{first}l") && n < 4 => Some((0, 0xFF)),
                _ if name == format!("{first}h") && n < 4 => Some((8, 0xFF)),
                _ if name == format!("{tail}l") && n >= 4 => Some((0, 0xFF)),
                _ => None,
            }
        };
        if let Some((shift, mask)) = found {
            return Some((n, shift, mask));
        }
    }
    None
}

fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let pair = |w: &str| {
        let (k, v) = w.split_once('=').ok_or_else(|| format!("{w}: expected name=value"))?;
        Ok((k.to_owned(), v.to_owned()))
    };
    text.split_whitespace().map(pair).collect()
}

fn number(v: &str) -> Result<u128, String> {
    u128::from_str_radix(v, 16).map_err(|_| format!("{v}: not a hexadecimal number"))
}

fn hex(out: &mut String, bytes: &[u8]) {
    for b in bytes {
        let _ = write!(out, "{b:02X}");
    }
}

fn unhex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    if !digits.len().is_multiple_of(2) {
        return Err(format!("{text}: expected whole bytes"));
    }
    let byte = |p: &[char]| {
        let s: String = p.iter().collect();
        u8::from_str_radix(&s, 16).map_err(|_| format!("{s}: not a byte"))
    };
    digits.chunks(2).map(byte).collect()
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::generate::{Generator, rows};

    #[test]
    fn what_is_written_reads_back_the_same() {
        let mut g = Generator::new(rows(false));
        for index in 0..3000 {
            let case = g.single(9, index);
            let mut state = case.state.clone();
            state.gpr[3] ^= 0x55;
            state.ymm[7][2] ^= 1;
            state.rip += case.code.len() as u64;
            let o = Outcome { end: End::Done, state, mem: vec![] };
            let text = line(&case, Some(&o));
            let back = Line::parse(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
            let same = Case { writes: true, ..case };
            assert_eq!(back.case, same, "{text}");
            assert_eq!(back.wanted(&o).unwrap(), o, "{text}");
        }
    }

    #[test]
    fn parts_of_registers_have_their_places() {
        let l = Line::parse("90 | nop | rax=1122334455667788 ah=0 ebx=5 r9b=ff sil=3 =>").unwrap();
        let g = l.case.state.gpr;
        assert_eq!((g[0], g[3], g[9], g[6]), (0x1122_3344_5566_0088, 5, 0xFF, 3));
        assert!(Line::parse("90 | nop | rqx=1 =>").is_err());
        assert!(Line::parse("90 | nop | rax=1 => foo=2").is_err());
    }
}
