//! The transcendental functions of the x87 unit.  The processor itself is allowed an error just above half a unit of
//! the last place, so results may differ by one unit; special cases and flags may not differ at all.

use super::Dice;
use super::x87::{CASES, Left, any, differs, near, x87};
use core::arch::asm;
use cpu::soft::f80::{self, Class, Env, F80};

/// Distance in units of the last place, if both are finite and of one sign.
fn apart(a: F80, b: F80) -> Option<u128> {
    let place = |x: F80| ((x.sign_exp & 0x7fff) as u128) << 63 | (x.sig & !(1 << 63)) as u128;
    let ordinary = |x: F80| matches!(x.class(), Class::Normal | Class::Denormal);
    (ordinary(a) && ordinary(b) && a.sign() == b.sign()).then(|| place(a).abs_diff(place(b)))
}

type Answer = (F80, Option<F80>, bool);
type Soft = fn(F80, F80, &mut Env) -> Answer;

/// Compares both on `inputs`; ST0 first.
fn compare(
    name: &str,
    native: impl Fn(F80, F80, u16) -> Left,
    soft: Soft,
    mut inputs: impl FnMut(&mut Dice) -> (F80, F80),
) {
    let mut d = Dice(1);
    let (mut equal, mut c1, mut total) = (0u32, 0u32, 0u32);
    for _ in 0..CASES / 8 {
        let masks = if d.below(2) == 0 { 0x3f } else { d.next() as u16 & 0x3f };
        let control = masks | (d.below(16) as u16) << 8;
        let (a, b) = inputs(&mut d);
        let left = native(a, b, control);
        if differs(&left) {
            continue;
        }
        let mut env = Env::from_control(control);
        let (r, pushed, far) = soft(a, b, &mut env);
        let about = format_args!("{name} {a:x?} {b:x?} control {control:x}\n native {left:x?}\n soft {r:x?} {pushed:x?} {env:x?}").to_string();
        if env.aborted() {
            assert_eq!((left.st0, left.st1), (a, left.st1), "{about}");
            assert_eq!(left.status as u8 & 0x3f, env.flags, "flags: {about}");
            continue;
        }
        // Where a push is due, the main result is below the pushed one.
        let main = if pushed.is_some() { left.st1 } else { left.st0 };
        let pairs = [(main, r), pushed.map_or((main, r), |p| (left.st0, p))];
        for (want, got) in pairs {
            assert!(want == got || apart(want, got).is_some_and(|u| u <= 1), "{about}");
        }
        assert_eq!(left.status & 0x400 != 0, far, "C2: {about}");
        assert_eq!(left.status as u8 & 0x3f, env.flags, "flags: {about}");
        total += 1;
        let same = pairs.iter().all(|(want, got)| want == got);
        equal += same as u32;
        c1 += (same && (left.status & 0x200 != 0) == env.c1) as u32;
    }
    println!("{name}: {equal} of {total} equal, {c1} with C1 too");
    assert!(equal > total / 100 * 85, "{name}: only {equal} of {total} equal");
}

fn value(r: F80) -> Answer {
    (r, None, false)
}

/// A number between about 2^low and 2^high.
fn sized(d: &mut Dice, low: i64, high: i64) -> F80 {
    let exp = (0x3fff + low + d.below((high - low + 1) as u64) as i64) as u16;
    let sig = if d.below(4) == 0 { d.pattern(63) } else { d.next() } | 1 << 63;
    F80 { sig, sign_exp: exp | d.next() as u16 & 0x8000 }
}

fn angle(d: &mut Dice) -> (F80, F80) {
    let x = match d.below(8) {
        0 => any(d),
        1 => sized(d, -70, 0),
        2 => sized(d, 0, 64),
        _ => sized(d, -6, 8),
    };
    (x, f80::ONE)
}

fn turn(r: Option<F80>, a: F80) -> Answer {
    (r.unwrap_or(a), None, r.is_none())
}

#[test]
fn sine() {
    compare("fsin", |a, b, c| x87!("fsin", a, b, c), |a, _, e| turn(f80::sin(a, e), a), angle);
}

#[test]
fn cosine() {
    compare("fcos", |a, b, c| x87!("fcos", a, b, c), |a, _, e| turn(f80::cos(a, e), a), angle);
}

fn pair(r: Option<(F80, F80)>, a: F80) -> Answer {
    r.map_or((a, None, true), |(r, pushed)| (r, Some(pushed), false))
}

#[test]
fn sine_and_cosine() {
    let native = |a, b, c| x87!("fstp st(1)\nfsincos", a, b, c);
    compare("fsincos", native, |a, _, e| pair(f80::sincos(a, e), a), angle);
}

#[test]
fn tangent() {
    let native = |a, b, c| x87!("fstp st(1)\nfptan", a, b, c);
    compare("fptan", native, |a, _, e| pair(f80::tan(a, e), a), angle);
}

#[test]
fn arc_tangent() {
    let inputs = |d: &mut Dice| match d.below(4) {
        0 => {
            let a = any(d);
            (a, near(d, a))
        }
        1 => (sized(d, -60, 60), sized(d, -60, 60)),
        _ => (sized(d, -3, 3), sized(d, -3, 3)),
    };
    compare(
        "fpatan",
        |a, b, c| x87!("fpatan", a, b, c),
        |a, b, e| value(f80::atan(b, a, e)),
        inputs,
    );
}

#[test]
fn power_of_two() {
    let inputs = |d: &mut Dice| {
        let x = match d.below(4) {
            0 => any(d),
            1 => sized(d, -70, -1),
            _ => sized(d, -7, -1),
        };
        (x, f80::ONE)
    };
    compare("f2xm1", |a, b, c| x87!("f2xm1", a, b, c), |a, _, e| value(f80::exp2m1(a, e)), inputs);
}

#[test]
fn logarithm() {
    let inputs = |d: &mut Dice| {
        let x = match d.below(4) {
            0 => any(d),
            1 => F80 { sig: 1 << 63 | d.next() >> d.below(64), sign_exp: 0x3fff },
            2 => F80 { sig: !(d.next() >> 1 >> d.below(63)), sign_exp: 0x3ffe },
            _ => sized(d, -60, 60),
        };
        let y = if d.below(4) == 0 { any(d) } else { sized(d, -8, 8) };
        (if d.below(8) != 0 { x.abs() } else { x }, y)
    };
    compare(
        "fyl2x",
        |a, b, c| x87!("fyl2x", a, b, c),
        |a, b, e| value(f80::ylog2(b, a, e)),
        inputs,
    );
}

#[test]
fn logarithm_of_one_plus() {
    let inputs = |d: &mut Dice| {
        let x = match d.below(4) {
            0 => any(d),
            1 => sized(d, -100, -3),
            _ => sized(d, -9, -3),
        };
        let far = x.sign_exp & 0x7fff >= 0x3ffd && x.class() == Class::Normal;
        let x = if far { F80 { sign_exp: x.sign_exp & 0x8000 | 0x3ffc, ..x } } else { x };
        (x, if d.below(4) == 0 { any(d) } else { sized(d, -8, 8) })
    };
    compare(
        "fyl2xp1",
        |a, b, c| x87!("fyl2xp1", a, b, c),
        |a, b, e| value(f80::ylog2p1(b, a, e)),
        inputs,
    );
}
