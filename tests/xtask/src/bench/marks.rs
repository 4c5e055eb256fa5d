//! The marks around each piece of work, as a guest's serial line or a program's output brings them, and their times.
//!
//! `bench begin NAME` and `bench end NAME ANSWER`, each a line. An answer that begins with `failed` is a failure's reason.

use anyhow::{Context, Result, bail};
use boot_tests::Running;
use boot_tests::machine::now;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub const LIMIT: Duration = Duration::from_secs(600);

/// The seconds that each repetition took, and all answers there were; one, if all is well.
#[derive(Default)]
pub struct Run {
    pub seconds: Vec<f64>,
    pub answers: BTreeSet<String>,
}

/// By the name of the work.
#[derive(Default)]
pub struct Runs(BTreeMap<String, Run>);

impl Runs {
    pub fn get(&self, name: &str) -> Option<&Run> {
        self.0.get(name)
    }

    pub fn median(&self, name: &str) -> Option<f64> {
        super::median(&self.get(name)?.seconds)
    }

    pub fn note(&mut self, name: &str, start: Instant, end: Instant, answer: &str) -> Result<()> {
        if answer.is_empty() || answer.starts_with("failed") {
            bail!("{name}: {answer}");
        }
        let seconds = end.duration_since(start).as_secs_f64();
        println!("  {name} {seconds:.3} s");
        let run = self.0.entry(name.to_owned()).or_default();
        run.seconds.push(seconds);
        run.answers.insert(answer.to_owned());
        Ok(())
    }

    /// Waits for what a machine says of these, in this order.
    pub fn of_machine(&mut self, running: &mut Running, names: &[String]) -> Result<()> {
        for name in names {
            running.wait_for(&format!("bench begin {name}"), LIMIT)?;
            let start = now();
            running.wait_for(&format!("bench end {name} "), LIMIT)?;
            let end = now();
            let answer = running.wait_for("\n", LIMIT)?;
            self.note(name, start, end, answer.trim())?;
        }
        Ok(())
    }

    /// The same of a program on the host.
    pub fn of_command(&mut self, command: &mut Command, names: &[String]) -> Result<()> {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("starting {name}"))?;
        let lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let (mut start, mut seen) = (now(), Vec::new());
        for line in lines.map_while(Result::ok) {
            let at = now();
            let Some(mark) = line.strip_prefix("bench ") else { continue };
            match mark.splitn(3, ' ').collect::<Vec<_>>()[..] {
                ["begin", _] => start = at,
                ["end", of, answer] => {
                    self.note(of, start, at, answer.trim())?;
                    seen.push(of.to_owned());
                }
                _ => {}
            }
        }
        let status = child.wait()?;
        if !status.success() || seen != names {
            bail!("{name}: {status}, after {} of {} pieces of work", seen.len(), names.len());
        }
        Ok(())
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(|w| (*w).to_owned()).collect()
    }

    fn of(script: &str, names: &[&str]) -> Result<Runs> {
        let mut runs = Runs::default();
        runs.of_command(Command::new("sh").args(["-c", script]), &words(names))?;
        Ok(runs)
    }

    #[test]
    fn marks_of_a_program_give_times_and_answers() {
        let script = "echo bench begin a; sleep 0.05; echo bench end a 12; echo noise; \
                      echo bench begin b; echo bench end b 3 4";
        let runs = of(script, &["a", "b"]).unwrap();
        assert!(runs.median("a").unwrap() >= 0.05);
        assert_eq!(runs.get("b").unwrap().answers, BTreeSet::from(["3 4".to_owned()]));
        assert!(runs.median("c").is_none());
    }

    #[test]
    fn failures_and_missing_marks_are_errors() {
        let error = |script, names: &[&str]| of(script, names).err().unwrap().to_string();
        assert_eq!(
            error("echo bench begin a; echo bench end a failed: gcc", &["a"]),
            "a: failed: gcc"
        );
        assert!(error("echo bench begin a", &["a"]).contains("after 0 of 1"));
        assert!(error("echo bench begin a; echo bench end a 1; exit 3", &["a"]).contains("3"));
    }

    #[test]
    fn the_median_is_the_middle_one() {
        let (mut runs, start) = (Runs::default(), now());
        for n in [9, 1, 5] {
            runs.note("a", start, start + Duration::from_secs(n), "x").unwrap();
        }
        assert_eq!(runs.median("a"), Some(5.0));
    }
}
