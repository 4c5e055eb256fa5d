//! The engine against plain single steps, at all thresholds.

mod guest;
#[path = "guest/programs.rs"]
mod programs;

use guest::Guest;
use jit::Config;

const NEVER: u32 = u32::MAX;
/// Thresholds of the baseline tier, where there is one.
const BASELINE: &[u32] = if cfg!(target_arch = "x86_64") { &[0, 2, NEVER] } else { &[NEVER] };

fn tiers(threshold: u32, baseline: u32) -> Config {
    Config { threshold, baseline, background: false, ..Config::default() }
}
/// All tiers in all their turns.
fn configs() -> impl Iterator<Item = Config> {
    let thresholds = [0, 1, 50, NEVER];
    thresholds.into_iter().flat_map(|t| BASELINE.iter().map(move |&b| tiers(t, b)))
}

/// The state after `insns` plain steps.
fn oracle(code: &[u8], insns: u64) -> String {
    let mut g = Guest::new(code, tiers(NEVER, NEVER));
    g.core.set_budget(insns);
    let mut s = cpu::Interp { c: &mut g.core, bus: &mut g.bus };
    for _ in 0..insns {
        cpu::step(&mut s).unwrap();
    }
    assert_eq!(g.core.left, 0);
    g.state()
}

/// Those that only tests want.
fn odd() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("self-modifying", programs::self_modifying()),
        ("across pages", programs::across_pages()),
        ("device", programs::device()),
        ("mixture", programs::mixture()),
    ]
}

#[test]
fn odd_programs_end_in_the_same_state_in_every_tier() {
    for (name, code) in odd() {
        for insns in [1000, 60_001] {
            let want = oracle(&code, insns);
            for config in configs() {
                let mut g = Guest::new(&code, config);
                let mut left = insns;
                while left > 0 {
                    g.run(left.min(777));
                    left -= left.min(777);
                }
                assert_eq!(g.state(), want, "{name}, {config:?}");
                let n = g.engine.counters();
                // Code that is overwritten all the time is not compiled.
                let native = (config.threshold, config.baseline) != (NEVER, NEVER);
                let compiled = native && insns > 1000 && name != "self-modifying";
                assert!(n.native > 0 || !compiled, "{name} {config:?}: {n:?}");
                assert!(n.native == 0 || native, "{name}: {n:?}");
            }
        }
    }
}

#[test]
fn loops_end_in_the_same_state_at_every_threshold() {
    for (name, code) in programs::all() {
        let want = oracle(&code, 300_000);
        for config in configs() {
            let mut g = Guest::new(&code, config);
            g.run(300_000);
            assert_eq!(g.core.left, 0);
            assert_eq!(g.state(), want, "{name}, {config:?}");
        }
    }
}

#[test]
fn the_budget_is_exact_at_every_count() {
    for (name, code) in programs::all() {
        for config in configs() {
            let mut g = Guest::new(&code, config);
            let mut o = Guest::new(&code, tiers(NEVER, NEVER));
            for n in 0..300 {
                g.run(n);
                assert_eq!(g.core.left, 0);
                o.core.set_budget(n);
                let mut s = cpu::Interp { c: &mut o.core, bus: &mut o.bus };
                (0..n).for_each(|_| cpu::step(&mut s).unwrap());
                assert_eq!(g.core.state.rip, o.core.state.rip, "{name} {n} {config:?}");
                assert_eq!(g.core.state.gpr, o.core.state.gpr, "{name} {n} {config:?}");
                assert_eq!(g.core.state.flags(), o.core.state.flags(), "{name} {n} {config:?}");
            }
        }
    }
}
