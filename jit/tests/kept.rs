//! Code that is kept from run to run.

mod guest;
#[path = "guest/programs.rs"]
mod programs;
#[path = "guest/random.rs"]
mod random;

use guest::{CODE, Guest, NEVER, configs, tiers};
use jit::Config;
use std::fs;
use std::path::Path;

const INSNS: u64 = 100_000;

/// The state after so many instructions of tier 0.
fn want(at: u64, code: &[u8]) -> String {
    let mut g = Guest::at(at, code, tiers(NEVER, NEVER));
    g.run(INSNS);
    g.state()
}
/// The same with code kept in a folder, and how many blocks' code had been.
fn kept(folder: &Path, at: u64, code: &[u8], config: Config) -> (String, u64) {
    let mut g = Guest::at(at, code, config);
    g.engine.keep_code(folder, &g.core.features).unwrap();
    g.run(INSNS);
    (g.state(), g.engine.counters().recalled)
}
fn all_programs() -> Vec<(String, Vec<u8>)> {
    let chance = (1..=20).map(|seed| (format!("by chance {seed}"), random::program(seed)));
    let all = programs::all().into_iter().chain(programs::odd());
    all.map(|(name, code)| (name.to_owned(), code)).chain(chance).collect()
}

#[test]
#[cfg(target_arch = "x86_64")]
fn programs_end_in_the_same_state_with_code_of_earlier_runs() {
    for config in configs().filter(|c| c.baseline != NEVER) {
        for (name, code) in all_programs() {
            // One for each: a file is not made anew for little more than there is.
            let folder = tempfile::tempdir().unwrap();
            let want = want(CODE, &code);
            let (first, _) = kept(folder.path(), CODE, &code, config);
            let (second, recalled) = kept(folder.path(), CODE, &code, config);
            assert_eq!(first, want, "{name}, {config:?}");
            assert_eq!(second, want, "{name} again, {config:?}");
            // Where all become regions at once there is no other code.
            let none = config.threshold < 2 || name == "self-modifying";
            assert!(recalled > 0 || none, "{name}, {config:?}");
        }
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn code_of_another_place_is_used_and_code_of_other_bytes_is_not() {
    let config = tiers(50, 2);
    for (name, code) in all_programs() {
        let folder = tempfile::tempdir().unwrap();
        kept(folder.path(), CODE, &code, config);
        // Other pages, so that RIP and the links are others.
        let there = CODE + 0x7000;
        let (state, recalled) = kept(folder.path(), there, &code, config);
        assert_eq!(state, want(there, &code), "{name}");
        assert!(recalled > 0 || name == "self-modifying", "{name}");
    }
    // Programs of which one byte is another.
    let folder = tempfile::tempdir().unwrap();
    for (name, code) in programs::all() {
        kept(folder.path(), CODE, &code, config);
        for n in (0..code.len()).step_by(5) {
            let mut other = code.clone();
            other[n] ^= 1;
            let want = std::panic::catch_unwind(|| want(CODE, &other));
            let got = std::panic::catch_unwind(|| kept(folder.path(), CODE, &other, config).0);
            assert_eq!(got.ok(), want.ok(), "{name} {n}");
        }
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_bad_file_is_as_good_as_none_and_a_bad_folder_is_told() {
    let config = tiers(50, 2);
    let (_, code) = programs::all().remove(0);
    let want = want(CODE, &code);
    let folder = tempfile::tempdir().unwrap();
    let mut g = Guest::new(&code, config);
    let file = folder.path().join("file");
    fs::write(&file, b"").unwrap();
    for bad in [&file, &folder.path().join("not/there")] {
        assert!(g.engine.keep_code(bad, &g.core.features).is_err());
    }
    fs::remove_file(file).unwrap();
    kept(folder.path(), CODE, &code, config);
    let file = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read(&file).unwrap();
    for n in 0..whole.len() {
        let mut bad = whole.clone();
        bad[n] = !bad[n];
        fs::write(&file, &bad).unwrap();
        assert_eq!(kept(folder.path(), CODE, &code, config).0, want, "byte {n}");
    }
    fs::write(&file, b"").unwrap();
    assert_eq!(kept(folder.path(), CODE, &code, config), (want, 0));
}
