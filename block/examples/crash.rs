//! `cargo run --release -p block --example crash [ROUNDS [SEED]]`: a child writes to a qcow2 image and is killed; what it had
//! flushed must be there, and the image good.

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/common/kill.rs"]
mod kill;
#[path = "../tests/common/model.rs"]
mod model;

use std::process::Command;

fn main() {
    let words: Vec<String> = std::env::args().collect();
    if words.get(1).is_some_and(|w| w == "child") {
        kill::child(words[3].as_ref(), words[2].parse().unwrap());
    }
    let number = |n: usize, or| words.get(n).map_or(or, |w| w.parse().expect("a number"));
    kill::run(number(1, 200), number(2, 1), |file, seed| {
        let mut c = Command::new(std::env::current_exe().unwrap());
        c.arg("child").arg(seed.to_string()).arg(file);
        c
    });
    println!("crash: ok");
}
