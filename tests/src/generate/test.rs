use super::*;
use crate::text;

#[test]
fn every_row_has_instances_and_they_decode_to_it() {
    let mut g = Generator::new(rows(false));
    let mut failed = Vec::new();
    for n in 0..g.rows().len() {
        let row = g.rows()[n];
        let Some(c) = g.try_row(n, 1, 0) else {
            failed.push(row.code);
            continue;
        };
        let i = decode(Mode::Bits64, &c.code, c.state.rip);
        assert_eq!(i.code(), row.code, "{}", text::line(&c, None));
    }
    assert!(failed.is_empty(), "no instance of {failed:?}");
    assert!(g.rows().len() > 1500, "only {} rows", g.rows().len());
}

#[test]
fn rows_of_32_bit_and_16_bit_code_have_instances_too() {
    for mode in [Mode::Bits32, Mode::Bits16] {
        let mut g = Generator::of(mode, rows_of(mode, false));
        assert!(g.rows().len() > 1500, "only {} rows", g.rows().len());
        for n in 0..g.rows().len() {
            let row = g.rows()[n];
            let c = g.try_row(n, 1, 0).unwrap_or_else(|| panic!("no instance of {:?}", row.code));
            let i = decode(mode, &c.code, c.state.rip);
            assert_eq!(i.code(), row.code, "{}", text::line(&c, None));
        }
        for outside in ["Daa", "Pushad", "Bound_r32_m3232", "Arpl_rm16_r16", "Inc_r32", "Salc"] {
            assert!(g.rows().iter().any(|r| format!("{:?}", r.code) == outside), "{outside}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_cases() {
    let (mut a, mut b) = (Generator::new(rows(false)), Generator::new(rows(false)));
    for index in 0..500 {
        assert_eq!(a.single(3, index), b.single(3, index));
        assert_eq!(a.block(3, index), b.block(3, index));
    }
    assert_ne!(a.single(3, 0), a.single(4, 0));
}

#[test]
fn cases_with_the_same_code_have_states_of_their_own() {
    let mut g = Generator::new(rows(false));
    g.states = 8;
    let mut same = 0;
    for first in (0..800).step_by(8) {
        let a = g.single(3, first);
        for index in first + 1..first + 8 {
            let b = g.single(3, index);
            assert_ne!(a.state, b.state);
            same += u64::from((&a.code, a.state.rip) == (&b.code, b.state.rip));
        }
    }
    assert!(same > 600, "only {same} of 700 kept the code");
}
