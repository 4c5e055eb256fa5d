//! Times the loops of the tests in tier 0 and in native code.

#[path = "../tests/guest/mod.rs"]
mod guest;
#[path = "../tests/guest/programs.rs"]
mod programs;

use jit::Config;
use std::time::Instant;

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
            let t = Instant::now();
            for _ in 0..insns / 1_000_000 {
                g.run(1_000_000);
            }
            let t = t.elapsed().as_secs_f64();
            print!("  {tier} {:6.0} MIPS", insns as f64 / t / 1e6);
        }
        println!();
    }
}
