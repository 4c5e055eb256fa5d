//! The least native code that an engine can have room for, so that it is evicted all the time, against plain single steps.

mod guest;
#[path = "guest/random.rs"]
mod random;

use guest::{DATA, Guest, NEVER, asm, configs, tiers};
use iced_x86::code_asm::*;
use jit::{Config, Counters};

const EMITS: bool = cfg!(target_arch = "x86_64");

fn least(config: Config) -> Config {
    Config { code_bytes: 0, ..config }
}

/// Places of programs, and how many there are.
const FIRST: u64 = 0x20_0000;
const APART: u64 = 0x8000;
const MANY: u64 = 48;

/// Runs many programs by turns, `insns` instructions each time; gives the state, and what the engine did.
fn by_turns(config: Config, turns: u64, insns: u64) -> (String, Counters) {
    let mut g = Guest::new(&[0x90], config);
    for n in 0..MANY {
        g.ram.write(FIRST + n * APART, &random::program(1000 + n)).unwrap();
    }
    for turn in 0..turns {
        g.core.state.settle();
        // Neighbours in time are not neighbours in memory, nor always the same.
        g.core.state.rip = FIRST + turn * (turn / MANY + 7) % MANY * APART;
        g.core.state.gpr[4] = DATA;
        g.run(insns);
    }
    (g.state(), g.engine.counters())
}

#[test]
fn programs_by_turns_end_in_the_same_state_while_code_is_evicted() {
    let (turns, insns) = (20 * MANY, 1500);
    let (want, _) = by_turns(tiers(NEVER, NEVER), turns, insns);
    let mut evictions = 0;
    for config in configs() {
        // Cranelift needs a while: not where each block is a region of its own at once.
        let slow = config.cranelift && config.threshold < 50;
        let background = [false, true].into_iter().filter(|b| !b || config.cranelift);
        for background in background.filter(|b| !slow || *b) {
            let config = least(Config { background, ..config });
            let (got, n) = by_turns(config, turns, insns);
            assert_eq!(got, want, "{config:?}");
            let makes = config.threshold != NEVER || EMITS && config.baseline != NEVER;
            // How much a thread of its own gets done depends on the host.
            assert!(n.evictions > 0 || !makes || background, "{config:?}: {n:?}");
            assert_eq!(n.flushes, 0);
            evictions += n.evictions;
        }
    }
    assert!(evictions > 3000 || !EMITS, "{evictions}");
}

/// A loop around many blocks, each of which leads to the next one.
fn long_way(blocks: usize) -> Vec<u8> {
    asm(|a| {
        let mut top = a.create_label();
        a.set_label(&mut top)?;
        for _ in 0..blocks {
            let mut next = a.create_label();
            a.inc(rax)?;
            a.add(rbx, rax)?;
            a.jmp(next)?;
            a.set_label(&mut next)?;
        }
        a.jmp(top)
    })
}

#[test]
fn code_that_was_evicted_is_made_again_when_it_is_executed_next() {
    const BLOCKS: u64 = 20_000;
    let code = long_way(BLOCKS as usize);
    for threshold in [NEVER, 3] {
        let mut g = Guest::new(&code, least(tiers(threshold, 2)));
        let round = 3 * BLOCKS + 1;
        for _ in 0..50 {
            g.run(round);
        }
        assert_eq!(g.core.state.gpr[0], 50 * BLOCKS);
        let n = g.engine.counters();
        assert!(!EMITS || n.evictions > 1000, "{n:?}");
        // Two rounds are tier 0's; afterwards nothing has to be earned again.
        assert!(!EMITS || n.tier0 < 3 * round, "{n:?}");
        assert_eq!((n.flushes, n.blocks), (0, n.decoded), "{n:?}");
    }
}

#[test]
fn hot_code_has_its_region_again_soon_after_it_was_evicted() {
    const OFTEN: u32 = 600;
    let hot = 16 * u64::from(OFTEN);
    let code = asm(|a| {
        let (mut top, mut inner) = (a.create_label(), a.create_label());
        a.set_label(&mut top)?;
        a.mov(rcx, hot)?;
        a.set_label(&mut inner)?;
        a.inc(rdx)?;
        a.dec(rcx)?;
        a.jnz(inner)?;
        // What evicts all else.
        for _ in 0..10_000 {
            let mut next = a.create_label();
            a.inc(rax)?;
            a.jmp(next)?;
            a.set_label(&mut next)?;
        }
        a.jmp(top)
    });
    let mut g = Guest::new(&code, least(tiers(OFTEN, 2)));
    let round = 1 + 3 * hot + 20_001;
    g.run(3 * round);
    let before = g.engine.counters();
    g.run(20 * round);
    let n = g.engine.counters();
    assert_eq!(g.core.state.gpr[2], 23 * hot);
    let (made, evictions) = (n.regions - before.regions, n.evictions - before.evictions);
    assert!(!EMITS || evictions > 20 * 16 && made >= 20, "{n:?}");
}

#[test]
fn blocks_that_are_executed_no_more_do_not_stay_for_ever() {
    // Each pass of new code is in the same place as the one before, and in another one in memory.
    const PIECE: u64 = 0x4_0000;
    let code: Vec<u8> = std::iter::repeat_n([0xeb, 0x00], PIECE as usize / 2).flatten().collect();
    for config in [tiers(NEVER, NEVER), tiers(NEVER, 0), tiers(600, 2)] {
        let mut g = Guest::new(&[0x90], least(config));
        let mut most = 0;
        for n in 0..40 {
            let at = FIRST + n * PIECE;
            g.ram.write(at, &code).unwrap();
            g.core.state.settle();
            g.core.state.rip = at;
            g.run(PIECE / 2);
            assert_eq!(g.core.state.rip, at + PIECE);
            most = most.max(g.engine.counters().blocks);
        }
        let n = g.engine.counters();
        assert!(n.decoded > 5_000_000, "{n:?}");
        assert!(most < 300_000, "{most}, {config:?}");
        assert_eq!(n.flushes, 0);
    }
}
