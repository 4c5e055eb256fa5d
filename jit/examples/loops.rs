//! Times the loops of the tests in tier 0 and in native code.

#[path = "../tests/guest/mod.rs"]
mod guest;
#[path = "../tests/guest/programs.rs"]
#[allow(dead_code)] // the tests use them all
mod programs;

use jit::Config;
use rustix::time::{ClockId, clock_gettime};

/// Time this thread has had of the processor: right on a busy machine too.
fn cpu_seconds() -> f64 {
    let t = clock_gettime(ClockId::ThreadCPUTime);
    t.tv_sec as f64 + t.tv_nsec as f64 / 1e9
}

fn main() {
    let only = std::env::args().nth(1);
    for (name, code) in programs::all() {
        if only.as_ref().is_some_and(|o| !name.contains(o.as_str())) {
            continue;
        }
        print!("{name:>12}:");
        for (tier, threshold, insns) in
            [("tier 0", u32::MAX, 50_000_000u64), ("native", 50, 1_000_000_000)]
        {
            let config = Config { threshold, background: false, ..Config::default() };
            let mut g = guest::Guest::new(&code, config);
            g.run(1_000_000);
            let t = cpu_seconds();
            for _ in 0..insns / 1_000_000 {
                g.run(1_000_000);
            }
            let t = cpu_seconds() - t;
            if std::env::var_os("COUNTERS").is_some() {
                println!("{:#?}", g.engine.counters());
            }
            print!("  {tier} {:6.0} MIPS", insns as f64 / t / 1e6);
        }
        println!();
    }
}
