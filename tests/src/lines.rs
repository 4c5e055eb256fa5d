//! Files of test lines (`text`): hand-written ones and recorded ones, run in any column.

use crate::columns::{Column, differences};
use crate::policy;
use crate::text::{self, Line};

/// The lines of a file that are neither empty nor comments, parsed, with their numbers.
pub fn parse(content: &str) -> Result<Vec<(usize, Line)>, String> {
    let mut out = Vec::new();
    for (n, text) in content.lines().enumerate() {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let line = Line::parse(text).map_err(|e| format!("line {}: {e}", n + 1))?;
        if !policy::is_whole(&line.case) {
            return Err(format!("line {}: the bytes are not whole instructions", n + 1));
        }
        out.push((n + 1, line));
    }
    Ok(out)
}

/// Runs all lines in a column and says which did not come out as written.
pub fn failures(content: &str, column: &mut dyn Column) -> Result<Vec<String>, String> {
    let mut out = Vec::new();
    for (n, line) in parse(content)? {
        if column.name() == "native" && policy::by_maker(&line.case, true) {
            continue;
        }
        let got = column.run(&line.case);
        let want = line.wanted(&got)?;
        let bad = differences(&line.case, &want, &got);
        if !bad.is_empty() {
            let what = text::assembly(&line.case);
            out.push(format!("line {n}: {}: {what}: {}", column.name(), bad.join(", ")));
        }
    }
    Ok(out)
}

#[cfg(test)]
mod test;
