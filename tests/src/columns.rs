//! The columns side by side: run a case in each, compare, make a difference small, print it.

use crate::case::{self, Case, End, FLAGS, Outcome, State};
use crate::emulator::{Native, Tier};
use crate::mode::Mode;
use crate::policy::{self, Ignore};
use crate::text;
use std::fmt::Write;

/// Something that can execute a case.
pub trait Column {
    fn name(&self) -> &'static str;
    fn run(&mut self, case: &Case) -> Outcome;
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
impl Column for crate::native::Native {
    fn name(&self) -> &'static str {
        "native"
    }

    fn run(&mut self, case: &Case) -> Outcome {
        Self::run(self, case)
    }
}

/// The names of all columns, the one that is right first.
pub const NAMES: [&str; 5] = ["native", "interp", "baseline", "jit", "cranelift"];

/// Opens a column by its name.
pub fn open(name: &str) -> Result<Box<dyn Column>, String> {
    match name {
        #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
        "native" => Ok(Box::new(crate::native::Native::open()?)),
        #[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
        "native" => Err("this host cannot be a column: x86-64 Linux is needed".into()),
        "interp" => Ok(Box::new(crate::emulator::Interpreter::new()?)),
        "baseline" => Ok(Box::new(Native::new(Tier::Baseline)?)),
        "jit" => Ok(Box::new(Native::new(Tier::Regions)?)),
        "cranelift" => Ok(Box::new(Native::new(Tier::Cranelift)?)),
        _ => Err(format!("{name}: no such column; there are {}", NAMES.join(", "))),
    }
}

/// Whether the host as a column can run code of a size, or why not.
pub fn host_runs(mode: Mode) -> Result<(), String> {
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    return crate::native::Native::open()?.supports(mode);
    #[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
    return Err(format!("{}-bit code: this host cannot be a column", mode.bits()));
}

/// How `got` differs from `want`, one line each; empty if it does not.
pub fn differences(case: &Case, want: &Outcome, got: &Outcome) -> Vec<String> {
    if want == got {
        return Vec::new();
    }
    let fault = (want.end != End::Done).then_some(&want.state);
    let loose = policy::ignore(case, fault);
    let mut out = Vec::new();
    if want.end != got.end {
        out.push(format!("ends {} instead of {}", end(got.end), end(want.end)));
    }
    state_differences(&mut out, &loose, &want.state, &got.state);
    memory_differences(&mut out, &loose, case, want, got);
    out
}

fn end(e: End) -> String {
    let names = ["#DE", "#DB", "2", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "9", "#TS", "#NP"];
    let more = ["#SS", "#GP", "#PF", "15", "#MF", "#AC", "#MC", "#XM"];
    match e {
        End::Done => "normally".into(),
        End::Fault { vector, address, write } => {
            let name = names.iter().chain(&more).nth(vector.into()).copied().unwrap_or("?");
            let kind = if write { "write" } else { "read" };
            let at = if vector == 14 { format!(" at {address:x}, {kind}") } else { String::new() };
            format!("with {name}{at}")
        }
    }
}

fn state_differences(out: &mut Vec<String>, ignore: &Ignore, want: &State, got: &State) {
    let mut put = |name: &str, w: u128, g: u128| {
        if w != g {
            out.push(format!("{name} {g:x} instead of {w:x}"));
        }
    };
    const GPR: [&str; 16] = [
        "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12",
        "r13", "r14", "r15",
    ];
    for i in (0..16).filter(|i| ignore.gpr & (1 << i) == 0) {
        let mask = if ignore.upper & (1 << i) != 0 { u64::from(u32::MAX) } else { u64::MAX };
        put(GPR[i], (want.gpr[i] & mask).into(), (got.gpr[i] & mask).into());
    }
    put("rip", want.rip.into(), got.rip.into());
    for (n, name) in ["es", "cs", "ss", "ds"].into_iter().enumerate() {
        put(name, want.seg[n].into(), got.seg[n].into());
    }
    let names = [("cf", 0), ("pf", 2), ("af", 4), ("zf", 6), ("sf", 7), ("df", 10), ("of", 11)];
    for (name, bit) in names {
        if (FLAGS & !ignore.flags) >> bit & 1 != 0 {
            put(name, u128::from(want.rflags >> bit & 1), u128::from(got.rflags >> bit & 1));
        }
    }
    put("mxcsr", want.mxcsr.into(), got.mxcsr.into());
    put("fcw", want.fcw.into(), got.fcw.into());
    put("fsw", (want.fsw & !ignore.fsw).into(), (got.fsw & !ignore.fsw).into());
    put("ftw", want.ftw.into(), got.ftw.into());
    for i in 0..8 {
        let near = ignore.ulp && ordinal(want.st[i]).abs_diff(ordinal(got.st[i])) <= 1;
        if !near {
            put(&format!("st{i}"), want.st[i], got.st[i]);
        }
    }
    for i in 0..16 {
        let near = ignore.approximate & (1 << i) != 0 && about(&want.ymm[i], &got.ymm[i]);
        if want.ymm[i] != got.ymm[i] && !near && ignore.ymm & (1 << i) == 0 {
            let show = |y: &[u64; 4]| {
                y.iter().rev().map(|q| format!("{q:016x}")).collect::<Vec<_>>().join("_")
            };
            out.push(format!("ymm{i} {} instead of {}", show(&got.ymm[i]), show(&want.ymm[i])));
        }
    }
}

/// The place of an 80-bit float among all of its sign: neighbours differ by one, also across a power of two. Encodings
/// without the integer bit keep a place of their own.
fn ordinal(x: u128) -> u128 {
    const INTEGER: u128 = 1 << 63;
    let (high, sig) = (x >> 64, x & u128::from(u64::MAX));
    match (high & 0x7FFF, sig & INTEGER) {
        (0, _) => high << 63 | sig,
        (_, 0) => 1 << 100 | x,
        _ => high << 63 | sig & !INTEGER,
    }
}

/// Lanes of 32-bit floats whose relative error is below twice what the manual allows one side.
fn about(want: &[u64; 4], got: &[u64; 4]) -> bool {
    want.iter().zip(got).all(|(w, g)| {
        [0, 32].iter().all(|s| {
            let (w, g) = ((w >> s) as u32, (g >> s) as u32);
            let (a, b) = (f64::from(f32::from_bits(w)), f64::from(f32::from_bits(g)));
            w == g || (a - b).abs() <= a.abs() * (3.0 / 4096.0)
        })
    })
}

fn memory_differences(
    out: &mut Vec<String>,
    ignore: &Ignore,
    case: &Case,
    want: &Outcome,
    got: &Outcome,
) {
    if want.mem == got.mem {
        return;
    }
    let before = case::memory(case);
    let mut addresses: Vec<u64> = want.mem.iter().chain(&got.mem).map(|(at, _)| *at).collect();
    addresses.sort_unstable();
    addresses.dedup();
    for at in addresses {
        let value = |o: &Outcome| match o.mem.binary_search_by_key(&at, |(a, _)| *a) {
            Ok(i) => o.mem[i].1,
            Err(_) => case::window_offset(at).map_or(0, |off| before[off / 8]),
        };
        let (w, g) = (value(want), value(got));
        let ignored = |at: u64| ignore.mem.iter().any(|(a, n)| at.wrapping_sub(*a) < *n);
        let mask = (0..8).filter(|i| !ignored(at + i)).fold(0u64, |m, i| m | 0xFF << (8 * i));
        if (w ^ g) & mask != 0 {
            out.push(format!("[{at:x}] {g:016x} instead of {w:016x}"));
        }
    }
}

/// Makes a differing case smaller as long as the two columns still differ: fewer instructions,
/// less in the registers, fewer patches.
pub fn shrink(case: &Case, right: &mut dyn Column, other: &mut dyn Column) -> Case {
    let mut best = case.clone();
    // The way it ends must stay, or the small case would show another difference.
    let kind = |e: End| match e {
        End::Done => None,
        End::Fault { vector, write, .. } => Some((vector, write)),
    };
    let ends = |w: &Outcome, g: &Outcome| (kind(w.end), kind(g.end));
    let first = ends(&right.run(case), &other.run(case));
    let mut still = |c: &Case| {
        let (w, g) = (right.run(c), other.run(c));
        ends(&w, &g) == first && !differences(c, &w, &g).is_empty()
    };
    let mut changed = true;
    while changed {
        changed = false;
        for n in 0..best.count {
            if let Some(c) = without(&best, n).filter(&mut still) {
                best = c;
                changed = true;
                break;
            }
        }
    }
    let plain = case.mode.adapt(State::plain());
    let try_out = |best: &mut Case, still: &mut dyn FnMut(&Case) -> bool, f: &dyn Fn(&mut Case)| {
        let mut c = best.clone();
        f(&mut c);
        if c != *best && still(&c) {
            *best = c;
        }
    };
    for i in 0..16 {
        try_out(&mut best, &mut still, &|c| c.state.gpr[i] = plain.gpr[i]);
        try_out(&mut best, &mut still, &|c| c.state.ymm[i] = [0; 4]);
    }
    for i in 0..8 {
        try_out(&mut best, &mut still, &|c| c.state.st[i] = 0);
    }
    try_out(&mut best, &mut still, &|c| c.state.rflags = 0);
    try_out(&mut best, &mut still, &|c| c.state.mxcsr = plain.mxcsr);
    try_out(&mut best, &mut still, &|c| (c.state.fsw, c.state.fcw) = (plain.fsw, plain.fcw));
    try_out(&mut best, &mut still, &|c| c.state.ftw = plain.ftw);
    try_out(&mut best, &mut still, &|c| c.patches.clear());
    try_out(&mut best, &mut still, &|c| c.mem_seed = 0);
    // Few values left: start from zero instead of from the seed.
    let mut bare = best.clone();
    bare.seed = 0;
    if text::line(&bare, None).len() <= text::line(&best, None).len() { bare } else { best }
}

/// The case without its n-th instruction, unless nothing would be left.
fn without(case: &Case, n: usize) -> Option<Case> {
    if case.count < 2 {
        return None;
    }
    let mut c = case.clone();
    let start: usize = policy::instructions(case).take(n).map(|i| i.len()).sum();
    let len = policy::instructions(case).nth(n)?.len();
    c.code.drain(start..start + len);
    c.count -= 1;
    // RIP-relative operands and branches of what follows would point elsewhere.
    let moved = policy::instructions(case)
        .skip(n + 1)
        .any(|i| i.is_ip_rel_memory_operand() || i.near_branch_target() != 0);
    (!moved).then_some(c)
}

/// A difference for people: what ran, what came out, and a line to repeat it with.
pub fn report(case: &Case, right: (&str, &Outcome), other: (&str, &Outcome)) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{} differs from {}: {}", other.0, right.0, text::assembly(case));
    for d in differences(case, right.1, other.1) {
        let _ = writeln!(out, "    {d}");
    }
    let _ = writeln!(out, "  repro: {}", text::line(case, Some(right.1)));
    out
}

#[cfg(test)]
mod test;
