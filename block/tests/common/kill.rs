//! A program that writes to an image and is killed: what was flushed must be there.
//!
//! The child does steps that follow from a seed, and says on its output when it begins and ends one. Whoever kills it does
//! the same steps in a model.

use crate::common::{Rng, check_but_leaks, dir, name, open, path, qemu_img, read_all};
use crate::model::{Model, SECTOR, Step, perform};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const SIZE: usize = 24 << 20;
const BEGIN: u8 = b'b';
const END: u8 = b'e';

/// A discard would leave it open what is there; nobody could look.
fn firm(step: Step) -> Step {
    match step {
        Step::Discard { at, n } => Step::Zero { at, n, unmap: true },
        other => other,
    }
}

/// The child: writes until it is killed.
pub fn child(file: &Path, seed: u64) -> ! {
    let image = open(file, None, "writeback");
    let mut model = Model::new(SIZE / SECTOR);
    let mut rng = Rng(seed);
    let mut out = std::io::stdout();
    let mut say = |b| out.write_all(&[b]).and_then(|()| out.flush()).unwrap();
    say(0);
    loop {
        let step = firm(model.step(&mut rng));
        say(BEGIN);
        perform(&image, step).unwrap();
        say(END);
    }
}

/// Starts a child, kills it after a while, and looks at what it leaves; then the next one goes on with the image.
pub fn run(rounds: u64, first: u64, command: impl Fn(&Path, u64) -> Command) {
    let dir = dir();
    let file = path(&dir, "x.qcow2");
    let clusters = ["65536", "4096", "512", "2097152"];
    for round in 0..rounds {
        let options = format!("cluster_size={}", clusters[round as usize % clusters.len()]);
        let size = SIZE.to_string();
        qemu_img(&["create", "-q", "-f", "qcow2", "-o", &options, name(&file), &size]);
        let seed = first + round;
        let mut child = command(&file, seed).stdout(Stdio::piped()).spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        let mut rng = Rng(seed ^ 0x5EED);
        let reader = std::thread::scope(|s| {
            let all = s.spawn(|| {
                let mut all = Vec::new();
                out.read_to_end(&mut all).unwrap();
                all
            });
            std::thread::sleep(Duration::from_micros(20_000 + rng.below(400_000)));
            child.kill().unwrap();
            child.wait().unwrap();
            all.join().unwrap()
        });
        // A test's program says other things before.
        let said: Vec<u8> = reader.into_iter().skip_while(|&b| b != 0).skip(1).collect();
        let (mut model, mut rng) = (Model::new(SIZE / SECTOR), Rng(seed));
        let mut open_step = None;
        for b in &said {
            match *b {
                BEGIN => {
                    let step = firm(model.step(&mut rng));
                    model.begin(step);
                    open_step = Some(step);
                }
                END => model.end(open_step.take().unwrap()),
                _ => panic!("the child said {b}"),
            }
        }
        check_but_leaks(&file);
        model.check(&read_all(&open(&file, None, "unsafe")));
        println!("round {round}: {options}, killed after {} steps", said.len() / 2);
    }
}
