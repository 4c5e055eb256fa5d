//! What the fuzz programs share: options, the loop over cases, the watchdog, the bound on memory.
//!
//! A case follows from the seed and its number alone, so `--seed S --only N` does it again.

pub mod bytes;
pub mod code;
pub mod devices;
pub mod drivers;
pub mod ports;
pub mod rack;
pub mod scene;
pub mod script;
pub mod tables;

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// No case takes this long on any host that works.
const PATIENCE: Duration = Duration::from_secs(30);
/// After this many cases everything that is kept has been made once.
const WARM: u64 = 200;
/// How much more memory than then may be used.
const GROWTH: u64 = 192 << 20;

/// Something that can be tried at random.
pub trait Target {
    /// Does one case; an error says what is wrong.
    fn case(&mut self, seed: u64, number: u64) -> Result<(), String>;
    /// A line on what was done.
    fn summary(&self) -> String;
}

struct Options {
    seed: u64,
    seconds: u64,
    only: Option<u64>,
    /// Failures after which to stop.
    stop: u64,
}

fn options() -> Result<Options, String> {
    let mut o = Options { seed: 1, seconds: 60, only: None, stop: 1 };
    let mut args = std::env::args().skip(1);
    while let Some(a) = args.next() {
        let value = args.next().ok_or(format!("{a}: expected a value"))?;
        let number = value.parse().map_err(|_| format!("{a} {value}: expected a number"))?;
        match a.as_str() {
            "--seed" => o.seed = number,
            "--seconds" => o.seconds = number,
            "--only" => o.only = Some(number),
            "--stop" => o.stop = number,
            _ => return Err(format!("{a}: there are --seed, --seconds, --only and --stop")),
        }
    }
    Ok(o)
}

/// The case at work, for those who can only watch: its number plus one, 0 for none; and how many there were.
static CASE: AtomicU64 = AtomicU64::new(0);
static SEED: AtomicU64 = AtomicU64::new(0);

fn repeat(name: &str) -> String {
    let (seed, case) = (SEED.load(Relaxed), CASE.load(Relaxed).wrapping_sub(1));
    format!("case {case}; again: {name} --seed {seed} --only {case}")
}

/// Runs a fuzz program.
pub fn run<T: Target>(name: &'static str, make: impl Fn(u64) -> Result<T, String>) -> ExitCode {
    match options().and_then(|o| cases(name, &o, make)) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(n) => {
            println!("{name}: {n} failed");
            ExitCode::FAILURE
        }
        Err(e) => {
            eprintln!("{name}: {e}");
            ExitCode::from(2)
        }
    }
}

fn cases<T: Target>(
    name: &'static str,
    o: &Options,
    make: impl Fn(u64) -> Result<T, String>,
) -> Result<u64, String> {
    SEED.store(o.seed, Relaxed);
    // A panic below native code ends the process at once: so the hook says which case it was.
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        usual(info);
        println!("{name}: PANIC in {}", repeat(name));
    }));
    std::thread::spawn(move || watch(name));
    let mut target = make(o.seed)?;
    let (start, mut done, mut failed) = (Instant::now(), 0, 0);
    let mut bound = None;
    let mut number = o.only.unwrap_or(0);
    while failed < o.stop && start.elapsed() < Duration::from_secs(o.seconds) {
        CASE.store(number + 1, Relaxed);
        let case = std::panic::AssertUnwindSafe(|| target.case(o.seed, number));
        match std::panic::catch_unwind(case) {
            Ok(Ok(())) => {}
            Ok(Err(what)) => {
                println!("{name}: {what}\n{name}: WRONG in {}", repeat(name));
                failed += 1;
            }
            Err(_) => {
                failed += 1;
                target = make(o.seed)?;
            }
        }
        (done, number) = (done + 1, number + 1);
        if done == WARM {
            bound = resident().map(|now| now + GROWTH);
        }
        if let (Some(bound), Some(now)) = (bound, resident())
            && now > bound
        {
            println!("{name}: GROWN to {} MiB in {}", now >> 20, repeat(name));
            return Ok(failed + 1);
        }
        if o.only.is_some() {
            break;
        }
    }
    CASE.store(0, Relaxed);
    let seconds = start.elapsed().as_secs_f64();
    let mib = resident().unwrap_or(0) >> 20;
    println!(
        "{name}: seed {}, {done} cases in {seconds:.0} s, {mib} MiB: {}",
        o.seed,
        target.summary()
    );
    Ok(failed)
}

/// Ends the process when a case does not end.
fn watch(name: &str) {
    let (mut last, mut since) = (0, Instant::now());
    loop {
        std::thread::sleep(Duration::from_millis(200));
        let case = CASE.load(Relaxed);
        if case != last || case == 0 {
            (last, since) = (case, Instant::now());
        } else if since.elapsed() > PATIENCE {
            println!("{name}: HANGS in {}", repeat(name));
            std::process::exit(3);
        }
    }
}

/// Bytes of memory in use, where the host tells.
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(text.split(' ').nth(1)?.parse::<u64>().ok()? << 12)
}
