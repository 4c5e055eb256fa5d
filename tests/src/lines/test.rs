use super::{failures, parse};
use crate::columns::{self, Column};
use crate::emulator;
use crate::mode::Mode;
use crate::policy;

const FILES: [(&str, &str); 6] = [
    ("compat.ins", include_str!("../../insn/compat.ins")),
    ("shift.ins", include_str!("../../insn/shift.ins")),
    ("integer.ins", include_str!("../../insn/integer.ins")),
    ("memory.ins", include_str!("../../insn/memory.ins")),
    ("vector.ins", include_str!("../../insn/vector.ins")),
    ("x87.ins", include_str!("../../insn/x87.ins")),
];
const RECORDED: &str = include_str!("../../insn/vectors.txt");

/// The host as a column, or a word to the reader that it was not tried.
fn native() -> Option<Box<dyn Column>> {
    columns::open("native").map_err(|e| eprintln!("not run on this host: {e}")).ok()
}

/// The lines whose instructions the emulator has; how many it does not have.
fn with_meaning(content: &str) -> (String, usize) {
    let mut out = String::new();
    let mut missing = 0;
    let lines: Vec<&str> = content.lines().collect();
    for (n, line) in parse(content).unwrap() {
        if policy::instructions(&line.case).all(|i| emulator::has(i.mnemonic())) {
            out.push_str(lines[n - 1]);
            out.push('\n');
        } else {
            missing += 1;
        }
    }
    (out, missing)
}

#[test]
fn hand_written_lines_hold_on_the_host() {
    let Some(n) = native() else { return };
    drop(n);
    let small = columns::host_runs(Mode::Bits16).map_err(|e| eprintln!("not run: {e}")).is_ok();
    let mut n = columns::open("native").unwrap();
    for (name, content) in FILES {
        if name == "compat.ins" && !small {
            continue;
        }
        let bad = failures(content, &mut *n).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(bad.is_empty(), "{name}:\n{}", bad.join("\n"));
    }
}

#[test]
fn hand_written_lines_hold_in_the_interpreter() {
    hand_written_lines_hold("interp");
}

/// On hosts that it has no native code for, the engine runs its other tiers.
#[test]
fn hand_written_lines_hold_in_the_jit() {
    hand_written_lines_hold("jit");
    hand_written_lines_hold("baseline");
}

fn hand_written_lines_hold(column: &str) {
    let mut i = columns::open(column).unwrap();
    for (name, content) in FILES {
        let (content, missing) = with_meaning(content);
        println!("{name}: {missing} lines wait for a meaning");
        let bad = failures(&content, &mut *i).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(bad.is_empty(), "{name}:\n{}", bad.join("\n"));
    }
}

#[test]
fn recorded_vectors_hold_in_the_interpreter() {
    let mut i = columns::open("interp").unwrap();
    let (content, missing) = with_meaning(RECORDED);
    println!("{missing} vectors wait for a meaning");
    let bad = failures(&content, &mut *i).unwrap();
    assert!(bad.is_empty(), "{} differ:\n{}", bad.len(), bad[..bad.len().min(20)].join("\n"));
}

#[test]
fn a_wrong_expectation_is_noticed() {
    let Some(mut n) = native() else { return };
    let wrong = "48C1E004 | shl rax, 4 | rax=1 => rax=11\n\
                 90 | nop | ==> rax=1\n\
                 488908 | mov [rax], rcx | rax=10000000 rcx=1 ==>\n\
                 90 | nop | => fault=6\n";
    assert_eq!(failures(wrong, &mut *n).unwrap().len(), 4);
    assert!(parse("0F | half an instruction | =>").is_err());
}
