//! Who may import whom. The one table; `docs/tree.md` shows the same as a picture.

use super::Finding;
use std::path::Path;

/// A package and those of ours that it may name in its manifest.
#[rustfmt::skip]
const ARROWS: &[(&str, &[&str])] = &[
    ("state",      &[]),
    ("memory",     &["state"]),
    ("device",     &["memory", "state"]),
    ("block",      &["memory", "state"]),
    ("cpu",        &["memory", "state"]),
    ("jit",        &["cpu", "memory"]),
    ("hw",         &["device", "memory", "block", "state"]),
    ("migration",  &["memory", "block", "state"]),
    ("machine",    &["jit", "cpu", "hw", "device", "memory", "migration", "block", "state"]),
    ("ui",         &["machine", "cpu", "device", "block"]),
    ("tests",      &["machine", "jit", "cpu", "hw", "device", "memory", "migration", "block", "state"]),
    ("boot-tests", &[]),
    ("xtask",      &["cpu", "boot-tests"]),
];

pub fn check(root: &Path, files: &[String]) -> Vec<Finding> {
    let manifests = files.iter().filter(|f| f.ends_with("/Cargo.toml") && !f.starts_with("roms/"));
    manifests
        .flat_map(|f| of(f, &std::fs::read_to_string(root.join(f)).unwrap_or_default()))
        .collect()
}

fn of(file: &str, text: &str) -> Vec<Finding> {
    let name = text.lines().find_map(|l| l.strip_prefix("name = ")).unwrap_or("").trim_matches('"');
    let Some((_, allowed)) = ARROWS.iter().find(|(n, _)| *n == name) else {
        let text =
            format!("the package {name} has no row in check/arrows.rs: add what it may import");
        return vec![Finding::new(file, text)];
    };
    let ours = |n: &str| ARROWS.iter().any(|(other, _)| *other == n);
    let wrong = dependencies(text).filter(|d| ours(d) && !allowed.contains(d));
    wrong
        .map(|d| {
            let advice =
                "let them meet in machine, or move the shared piece to where both arrows point";
            Finding::new(file, format!("{name} may not import {d}: {advice}"))
        })
        .collect()
}

/// The names in all sections of dependencies.
fn dependencies(text: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    text.lines().filter_map(move |line| {
        if line.starts_with('[') {
            inside = line.trim_end().ends_with("dependencies]");
            return None;
        }
        let end = line.find(['.', ' ', '=']).filter(|_| inside && !line.starts_with('#'))?;
        Some(&line[..end])
    })
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn an_arrow_against_the_table_is_found_in_any_section() {
        let manifest = |section: &str, dependency: &str| {
            format!("[package]\nname = \"cpu\"\n[{section}]\n{dependency}.workspace = true\n")
        };
        assert!(of("f", &manifest("dependencies", "memory")).is_empty());
        assert!(of("f", &manifest("dependencies", "iced-x86")).is_empty());
        assert_eq!(of("f", &manifest("dependencies", "hw")).len(), 1);
        assert_eq!(of("f", &manifest("target.'cfg(unix)'.dev-dependencies", "jit")).len(), 1);
        assert!(of("f", &manifest("features", "jit")).is_empty());
        assert_eq!(of("f", "[package]\nname = \"unheard-of\"\n").len(), 1);
    }
}
