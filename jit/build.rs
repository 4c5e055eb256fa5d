//! Tells builds apart whose native code may differ: by what all code that makes it, and all that it knows the layout of, is made of.

use std::hash::{DefaultHasher, Hasher};
use std::path::Path;

fn main() {
    let mut hash = DefaultHasher::new();
    for part in ["src", "../cpu/src", "../hw/memory/src", "../migration/state/src", "../Cargo.lock"]
    {
        println!("cargo::rerun-if-changed={part}");
        add(Path::new(part), &mut hash);
    }
    for name in ["RUSTC", "TARGET", "PROFILE", "OPT_LEVEL", "DEBUG"] {
        hash.write(std::env::var(name).unwrap_or_default().as_bytes());
    }
    let rustc = std::env::var("RUSTC").unwrap_or_default();
    if let Ok(version) = std::process::Command::new(rustc).arg("-vV").output() {
        hash.write(&version.stdout);
    }
    println!("cargo::rustc-env=BUILD={:016x}", hash.finish());
}

/// A file, or all files under a folder, in the order of their names.
fn add(path: &Path, hash: &mut DefaultHasher) {
    hash.write(path.as_os_str().as_encoded_bytes());
    match std::fs::read_dir(path) {
        Ok(all) => {
            let mut all: Vec<_> = all.filter_map(|e| Some(e.ok()?.path())).collect();
            all.sort();
            all.iter().for_each(|p| add(p, hash));
        }
        Err(_) => hash.write(&std::fs::read(path).unwrap_or_default()),
    }
}
