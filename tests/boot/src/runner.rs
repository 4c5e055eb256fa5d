//! Runs tests that are rows, one after the other, and says plainly which passed, failed, or could not be done here.

use crate::machine::now;
use anyhow::Result;
use std::process::ExitCode;

/// A test. Its name is a sentence.
pub struct Test {
    pub name: String,
    pub run: Box<dyn Fn() -> Result<()>>,
}

impl Test {
    pub fn new(name: impl Into<String>, run: impl Fn() -> Result<()> + 'static) -> Test {
        Test { name: name.into(), run: Box::new(run) }
    }
}

/// Not a failure: why a test cannot be done here.
#[derive(Debug)]
pub struct Skip(pub String);

impl std::fmt::Display for Skip {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

/// Runs the tests whose names contain one of `only` (all, if there is none).
pub fn run(tests: &[Test], only: &[String]) -> ExitCode {
    let chosen = |t: &&Test| only.is_empty() || only.iter().any(|o| t.name.contains(o.as_str()));
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for test in tests.iter().filter(chosen) {
        let start = now();
        let result = (test.run)();
        let seconds = start.elapsed().as_secs_f64();
        match result {
            Ok(()) => {
                passed += 1;
                println!("test {} ... ok ({seconds:.1} s)", test.name);
            }
            Err(e) => match e.downcast_ref::<Skip>() {
                Some(Skip(why)) => {
                    skipped += 1;
                    println!("test {} ... skipped: {why}", test.name);
                }
                None => {
                    failed += 1;
                    println!("test {} ... FAILED ({seconds:.1} s)\n  {e:#}", test.name);
                }
            },
        }
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {word}. {passed} passed; {failed} failed; {skipped} ignored");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
