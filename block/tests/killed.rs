//! A few rounds of being killed while writing; `cargo run --release -p block --example crash` does hundreds.

mod common;
#[path = "common/kill.rs"]
mod kill;
#[path = "common/model.rs"]
mod model;

use std::process::Command;

const CHILD: &str = "REPRISE_BLOCK_KILLED";

#[test]
fn what_was_flushed_is_there_after_a_kill() {
    if let Ok(words) = std::env::var(CHILD) {
        let (seed, file) = words.split_once(' ').unwrap();
        kill::child(file.as_ref(), seed.parse().unwrap());
    }
    kill::run(6, 1, |file, seed| {
        let mut c = Command::new(std::env::current_exe().unwrap());
        c.args(["--exact", "what_was_flushed_is_there_after_a_kill", "--nocapture"]);
        c.env(CHILD, format!("{seed} {}", file.display()));
        c
    });
}
