use super::*;
use crate::emulator::{self, Native, Tier};
use crate::generate::{Generator, rows_of};
use crate::text::Line;

/// A column that is right, except for one thing.
struct Wrong<C: Column>(C, fn(&mut Outcome));

impl<C: Column> Column for Wrong<C> {
    fn name(&self) -> &'static str {
        "wrong"
    }
    fn run(&mut self, case: &Case) -> Outcome {
        let mut o = self.0.run(case);
        (self.1)(&mut o);
        o
    }
}

/// Echoes the state: what a case of NOPs would do.
struct Still;

impl Column for Still {
    fn name(&self) -> &'static str {
        "still"
    }
    fn run(&mut self, case: &Case) -> Outcome {
        let mut state = case.state.clone();
        state.rip += case.code.len() as u64;
        Outcome { end: End::Done, state, mem: Vec::new() }
    }
}

fn case(line: &str) -> Case {
    Line::parse(&format!("{line} =>")).unwrap().case
}

#[test]
fn columns_of_native_code_run_native_code() {
    let mut all = vec![Tier::Cranelift];
    if cfg!(target_arch = "x86_64") {
        all.extend([Tier::Baseline, Tier::Regions]);
    }
    let c = case("4801C84801C848FFC9 | add rax, rcx; add rax, rcx; dec rcx | rax=1 rcx=2");
    for tier in all {
        let mut n = Native::new(tier).unwrap();
        n.run(&c);
        assert_eq!(n.executed(), 3);
    }
}

#[test]
fn every_part_of_an_outcome_is_compared() {
    let c = case("90 | nop | seed=5 mem=5");
    let wrongs: [fn(&mut Outcome); 15] = [
        |o| o.state.gpr[13] ^= 1 << 63,
        |o| o.state.rip += 1,
        |o| o.state.rflags ^= case::CF,
        |o| o.state.rflags ^= case::OF,
        |o| o.state.rflags ^= case::DF,
        |o| o.state.ymm[15][3] ^= 1 << 63,
        |o| o.state.mxcsr ^= 1,
        |o| o.state.fcw ^= 0x400,
        |o| o.state.fsw ^= 0x200,
        |o| o.state.ftw ^= 1,
        |o| o.state.st[7] ^= 1 << 79,
        |o| o.mem.push((case::WINDOWS[1], 0)),
        |o| o.end = End::Fault { vector: 13, address: 0, write: false },
        |o| o.end = End::Fault { vector: 14, address: 5, write: false },
        |o| o.end = End::Fault { vector: 14, address: 5, write: true },
    ];
    for (n, w) in wrongs.into_iter().enumerate() {
        let (a, b) = (Still.run(&c), Wrong(Still, w).run(&c));
        assert!(!differences(&c, &a, &b).is_empty(), "wrong number {n}");
    }
    let (a, mut b) = (Still.run(&c), Still.run(&c));
    b.state.fip ^= 1;
    assert_eq!(differences(&c, &a, &b), [""; 0], "FIP is not compared");
}

#[test]
fn what_is_undefined_is_left_out_and_nothing_more() {
    // Undefined after SHL: AF, and OF unless the count is one.
    let flag = |line: &str, wrong: fn(&mut Outcome)| {
        let c = case(line);
        !differences(&c, &Still.run(&c), &Wrong(Still, wrong).run(&c)).is_empty()
    };
    let (of, af, cf): (fn(&mut Outcome), fn(&mut Outcome), fn(&mut Outcome)) = (
        |o| o.state.rflags ^= case::OF,
        |o| o.state.rflags ^= case::AF,
        |o| o.state.rflags ^= case::CF,
    );
    let by = |n: u32| format!("48D3E0 | shl rax, cl | rcx={n:x}");
    assert!(flag(&by(0), of) && flag(&by(0), af) && flag(&by(0x40), of));
    assert!(flag(&by(1), of) && !flag(&by(1), af));
    assert!(!flag(&by(5), of) && flag(&by(5), cf));
    // A later instruction defines them again.
    assert!(flag("48C1E0054801C8 | shl rax, 5 ; add rax, rcx |", of));
    // Transcendental: one unit of the last place.
    assert!(!flag("D9FE | fsin | ftw=ff", |o| o.state.st[0] += 1));
    assert!(flag("D9FE | fsin | ftw=ff", |o| o.state.st[0] += 2));
    // Also across a power of two, but not into the next sign.
    let below: fn(&mut Outcome) = |o| o.state.st[0] = 0x4000_FFFF_FFFF_FFFF_FFFF;
    assert!(!flag("D9F1 | fyl2x | ftw=ff st0=40018000000000000000", below));
    assert!(flag("D9F1 | fyl2x | ftw=ff st0=40018000000000000001", below));
    assert!(flag("D9F1 | fyl2x | ftw=ff st0=c0018000000000000000", below));
    assert!(flag("D9FA | fsqrt | ftw=ff", |o| o.state.st[0] += 1));
    // Approximate: only the destination.
    let one = "0F53C1 | rcpps xmm0, xmm1 | xmm0=3f800000 xmm1=3f800000";
    assert!(!flag(one, |o| o.state.ymm[0][0] -= 0x800));
    assert!(flag(one, |o| o.state.ymm[0][0] -= 0x8000));
    assert!(flag(one, |o| o.state.ymm[1][0] -= 1));
    // The pointers in the environment, but not the words beside them.
    let env = "D937 | fnstenv [rdi] | rdi=10000000";
    assert!(!flag(env, |o| o.mem.push((0x1000_0010, 7))));
    assert!(flag(env, |o| o.mem.push((0x1000_0008, 7))));
}

#[test]
fn a_difference_in_a_block_shrinks_to_what_makes_it() {
    // Wrong whenever the block has an INC RAX.
    struct NoInc;
    impl Column for NoInc {
        fn name(&self) -> &'static str {
            "no-inc"
        }
        fn run(&mut self, case: &Case) -> Outcome {
            let mut o = Still.run(case);
            let inc = |i: iced_x86::Instruction| i.code() == iced_x86::Code::Inc_rm64;
            o.state.gpr[0] ^= u64::from(policy::instructions(case).any(inc));
            o
        }
    }
    let c = case("4801C848FFC090 | add rax, rcx ; inc rax ; nop | seed=7 mem=3 @10000000=11");
    let small = shrink(&c, &mut Still, &mut NoInc);
    assert_eq!(text::line(&small, None), "48FFC0 | inc rax |");
}

/// The emulator's columns against the host over what it has, briefly; `columns` does this at length.
#[test]
fn random_cases_are_the_same_in_all_columns() {
    let may_be_small = host_runs(Mode::Bits16).is_ok();
    let Ok(mut native) = open("native") else { return };
    let mut others = ["interp", "jit", "cranelift"].map(|name| open(name).unwrap());
    let mut makers = Mode::ALL.map(|mode| {
        let mut all = rows_of(mode, true);
        all.retain(|r| emulator::has(r.mnemonic));
        let mut g = Generator::of(mode, all);
        g.states = 16;
        g
    });
    let makers = &mut makers[..if may_be_small { 3 } else { 1 }];
    for index in 0..30_000u64 {
        let g = &mut makers[index as usize / 64 % makers.len()];
        let c = if index / 16 % 4 == 3 { g.block(11, index) } else { g.single(11, index) };
        let want = native.run(&c);
        for other in &mut others {
            let got = other.run(&c);
            if policy::by_maker(&c, (want.end, got.end) != (End::Done, End::Done)) {
                continue;
            }
            let same = differences(&c, &want, &got).is_empty();
            assert!(same, "{}", report(&c, ("native", &want), (other.name(), &got)));
        }
    }
}
