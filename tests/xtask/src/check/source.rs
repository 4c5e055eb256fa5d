//! Rules about the text of files: sizes, unsafe code and its notes, paths of a machine, unfinished work.

use super::Finding;
use std::path::Path;

const LISTED: usize = 400;
const LIMIT: usize = 800;

/// Where unsafe code may be, and why there.
#[rustfmt::skip]
const UNSAFE: &[(&str, &str)] = &[
    ("hw/memory/",              "guest RAM is a mapping that both guest and host use"),
    ("jit/",                    "calls the code that it made"),
    ("roms/guest/",             "a kernel"),
    ("tests/bench/",            "system calls are what it measures"),
    ("tests/src/native",        "runs instructions on the host's processor"),
    ("cpu/tests/soft_native/",  "runs instructions on the host's processor"),
    ("cpu/tests/lanes_native/", "runs instructions on the host's processor"),
];

type Rule = fn(&str, &str) -> Vec<Finding>;

const RULES: &[(&str, Rule)] =
    &[("sizes", sizes), ("unsafe", unsafe_code), ("paths", paths), ("unfinished", unfinished)];

pub fn check(root: &Path, files: &[String]) -> Vec<(&'static str, Vec<Finding>)> {
    let read = |f: &String| Some((f.clone(), std::fs::read_to_string(root.join(f)).ok()?));
    let texts: Vec<_> = files.iter().filter_map(read).collect();
    let apply = |rule: Rule| texts.iter().flat_map(|(f, text)| rule(f, text)).collect();
    RULES.iter().map(|(name, rule)| (*name, apply(*rule))).collect()
}

/// Tables may be long: they are looked up, not read.
fn is_table(file: &str) -> bool {
    file.contains("/rows/") || file.ends_with("/tables.rs") || file.ends_with("/table.rs")
}

fn sizes(file: &str, text: &str) -> Vec<Finding> {
    let lines = text.lines().count();
    if !file.ends_with(".rs") || is_table(file) || lines <= LISTED {
        return Vec::new();
    }
    if lines <= LIMIT {
        println!("  {file}: {lines} lines; could it be two files?");
        return Vec::new();
    }
    let text = format!("{lines} lines, {LIMIT} allowed: split it along its parts, one file a part");
    vec![Finding::new(file, text)]
}

/// A line without its comment and without what stands in quotes.
fn code_of(line: &str) -> String {
    let mut code = String::new();
    let mut quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if quoted => drop(chars.next()),
            '"' => quoted = !quoted,
            '/' if !quoted && chars.peek() == Some(&'/') => break,
            _ if quoted => {}
            _ => code.push(c),
        }
    }
    code
}

fn is_word(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == word)
}

fn unsafe_code(file: &str, text: &str) -> Vec<Finding> {
    if !file.ends_with(".rs") {
        return Vec::new();
    }
    let lines: Vec<_> = text.lines().collect();
    let allowed = UNSAFE.iter().any(|(place, _)| file.starts_with(place));
    let mut found = Vec::new();
    for (n, line) in lines.iter().enumerate() {
        let code = code_of(line);
        let opens = code.contains("unsafe {") || code.contains("unsafe impl");
        if !is_word(&code, "unsafe") {
            continue;
        }
        let place = format!("{file}:{}", n + 1);
        if !allowed {
            let advice = "use what memory and jit offer, or put it there behind a safe function";
            found.push(Finding::new(place, format!("unsafe code outside its crates: {advice}")));
        } else if opens && !is_explained(&lines, n) {
            let advice = "say above it, after // SAFETY:, why it is sound";
            found.push(Finding::new(place, format!("unsafe without a note: {advice}")));
        }
    }
    found
}

/// Whether the comment above the statement, or on the line itself, has the note.
fn is_explained(lines: &[&str], at: usize) -> bool {
    let first = at.saturating_sub(6);
    lines[first..=at].iter().any(|l| l.contains("// SAFETY:") || l.contains("# Safety"))
}

fn paths(file: &str, text: &str) -> Vec<Finding> {
    let own = file.ends_with("check/source.rs");
    let bad = ["/work/", "/root/", "/home/", "/Users/"];
    let is_bad = |line: &str| {
        bad.iter().find(|b| line.contains(**b)).filter(|_| !own && file != "Cargo.lock")
    };
    let lines = text.lines().enumerate();
    let advice = "a place on somebody's machine: find it by place.rs, $HOME or the PATH";
    lines
        .filter_map(|(n, l)| {
            is_bad(l).map(|b| Finding::new(format!("{file}:{}", n + 1), format!("{b}: {advice}")))
        })
        .collect()
}

fn unfinished(file: &str, text: &str) -> Vec<Finding> {
    let words = ["todo!(", "unimplemented!(", "#[ignore", "dbg!("];
    let bad = |line: &str| words.iter().find(|w| code_of(line).contains(**w)).copied();
    let lines = text.lines().enumerate().filter(|_| file.ends_with(".rs"));
    let advice = "finish it, or give the documented answer and say in the README what is missing";
    lines
        .filter_map(|(n, l)| {
            bad(l).map(|w| Finding::new(format!("{file}:{}", n + 1), format!("{w}: {advice}")))
        })
        .collect()
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn unsafe_is_found_in_code_only() {
        let count = |file, text| unsafe_code(file, text).len();
        assert_eq!(count("hw/src/a.rs", "unsafe { f() }\n"), 1);
        assert_eq!(
            count("hw/src/a.rs", "// unsafe { }\nlet s = \"unsafe {\";\n#![deny(unsafe_code)]\n"),
            0
        );
        assert_eq!(count("jit/src/a.rs", "unsafe { f() }\n"), 1);
        assert_eq!(count("jit/src/a.rs", "// SAFETY: f is sound.\nunsafe { f() }\n"), 0);
        assert_eq!(count("jit/src/a.rs", "unsafe fn f() {}\n"), 0);
    }

    #[test]
    fn long_files_are_found_unless_tables() {
        let long = "x\n".repeat(LIMIT + 1);
        assert_eq!(sizes("cpu/src/a.rs", &long).len(), 1);
        assert_eq!(sizes("cpu/src/rows/a.rs", &long).len(), 0);
        assert_eq!(sizes("README.md", &long).len(), 0);
    }
}
