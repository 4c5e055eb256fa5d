//! The x87 unit.

use super::{Dice, intel};
use core::arch::asm;
use cpu::soft::Order;
use cpu::soft::f80::{self, Class, Constant, Env, F80};

/// What an instruction left: ST0, ST1 and the status word.
#[derive(Clone, Copy, Debug)]
pub struct Left {
    pub st0: F80,
    pub st1: F80,
    pub status: u16,
}

impl Left {
    /// From the image of FNSAVE.  SDM vol. 1, figure 8-9.
    pub fn of(saved: &[u8; 108]) -> Left {
        let register = |i: usize| F80::from_bytes(saved[28 + 10 * i..][..10].try_into().unwrap());
        let status = u16::from_le_bytes([saved[4], saved[5]]);
        Left { st0: register(0), st1: register(1), status }
    }

    /// (ST0, exceptions, C1)
    pub fn outcome(&self) -> (F80, u8, bool) {
        (self.st0, self.status as u8 & 0x3f, self.status & 0x200 != 0)
    }
}

/// Runs `$insn` with ST0 = a, ST1 = b under a control word; `{m}` is a memory operand.  What it left is taken with
/// FNSAVE, which does not wait, so that unmasked exceptions stay without a trap.
macro_rules! x87 {
    ($insn:expr, $a:expr, $b:expr, $control:expr, $memory:expr) => {{
        let (a, b, control): ([u8; 10], [u8; 10], u16) =
            (F80::to_bytes($a), F80::to_bytes($b), $control);
        let mut saved = [0u8; 108];
        let memory: *mut u8 = core::ptr::from_mut($memory).cast();
        // SAFETY: every pointer is to a local of the size used, and FNSAVE resets the unit.
        unsafe {
            asm!(
                "fninit", "fld tbyte ptr [{b}]", "fld tbyte ptr [{a}]", "fldcw [{c}]",
                $insn,
                "fnsave [{s}]",
                a = in(reg) &a, b = in(reg) &b, c = in(reg) &control,
                s = in(reg) &mut saved, m = in(reg) memory,
                out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
                out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
            );
        }
        Left::of(&saved)
    }};
    ($insn:expr, $a:expr, $b:expr, $control:expr) => {
        x87!(concat!($insn, "\n/* {m} */"), $a, $b, $control, &mut [0u8; 16])
    };
}
pub(crate) use x87;

/// Rounding, precision and, in half of the cases, masks at random.
pub fn control(d: &mut Dice) -> u16 {
    const PRECISION: [u16; 6] = [0, 0x100, 0x200, 0x300, 0x300, 0x300];
    let masks = if d.below(2) == 0 { 0x3f } else { d.next() as u16 & 0x3f };
    masks | (d.below(4) as u16) << 10 | PRECISION[d.below(6) as usize]
}

/// A register of any kind, odd encodings included.
pub fn any(d: &mut Dice) -> F80 {
    let exp = match d.below(10) {
        0 => d.below(2),
        1 => 0x7fff - d.below(3),
        2 => d.below(70),
        3..=6 => 0x3fff + 70 - d.below(140),
        7 => 0x3fff,
        8 => 0x1fff + d.below(4),
        _ => d.below(0x8000),
    };
    let sig = d.pattern(63) | ((d.below(16) != 0) as u64) << 63;
    let sig = match (exp, d.below(2)) {
        (0, 0) => sig & !(1 << 63),
        (0x7fff, 0) => 1 << 63,
        _ => sig,
    };
    F80 { sig, sign_exp: exp as u16 | (d.next() as u16 & 0x8000) }
}

/// Often close to `x`, or with an exponent that takes the product or quotient to the edge of the range.
pub fn near(d: &mut Dice, x: F80) -> F80 {
    let sign = d.next() as u16 & 0x8000;
    let e = x.sign_exp & 0x7fff;
    let with = |e: u16, sig| F80 { sig, sign_exp: e & 0x7fff | sign };
    let sig = d.pattern(63) | 1 << 63;
    match d.below(8) {
        0 => with(e, x.sig ^ d.below(4)),
        1 => with(e ^ d.below(4) as u16, sig),
        2 => with(0x3fffu16.wrapping_sub(e).wrapping_add(d.below(70) as u16), sig),
        3 => with(0xbffeu16.wrapping_sub(e).wrapping_add(4).wrapping_sub(d.below(8) as u16), sig),
        4 => with(e.wrapping_add(66).wrapping_sub(d.below(132) as u16), sig),
        5 => with(e.wrapping_add(0x3fff).wrapping_add(d.below(70) as u16), sig),
        _ => any(d),
    }
}

pub const CASES: u32 = 400_000;

macro_rules! same {
    ($want:expr, $got:expr, $($about:tt)*) => {
        let (want, got) = ($want, $got);
        assert!(want == got, "native {want:x?}, soft {got:x?}: {}", format_args!($($about)*));
    };
}

macro_rules! binary {
    ($($test:ident: $insn:literal, $soft:expr;)*) => {$(
        #[test]
        fn $test() {
            let mut d = Dice(line!() as u64);
            let soft: fn(F80, F80, &mut Env) -> F80 = $soft;
            for _ in 0..CASES {
                let c = control(&mut d);
                let a = any(&mut d);
                let b = near(&mut d, a);
                let mut env = Env::from_control(c);
                let r = soft(a, b, &mut env);
                let r = if env.aborted() { a } else { r };
                same!(x87!($insn, a, b, c).outcome(), (r, env.flags, env.c1), "{a:x?} {b:x?} control {c:x}");
            }
        }
    )*};
}

binary! {
    adds: "fadd st, st(1)", f80::add;
    subtracts: "fsub st, st(1)", f80::sub;
    subtracts_reversed: "fsubr st, st(1)", |a, b, env| f80::sub(b, a, env);
    multiplies: "fmul st, st(1)", f80::mul;
    divides: "fdiv st, st(1)", f80::div;
    divides_reversed: "fdivr st, st(1)", |a, b, env| f80::div(b, a, env);
    square_root: "fsqrt", |a, _, env| f80::sqrt(a, env);
    rounds: "frndint", |a, _, env| f80::round_to_int(a, env);
    scales: "fscale", |a, b, env| f80::scale(a, b, env);
}

/// Makers differ in what becomes of denormals here, and this is not Intel's.
pub fn differs(native: &Left) -> bool {
    const DENORMAL_UNDERFLOW: u16 = 0x12;
    !intel() && native.status & DENORMAL_UNDERFLOW != 0
}

#[test]
fn scales_by_moderate_integers() {
    let mut d = Dice(2);
    for _ in 0..CASES {
        let c = control(&mut d);
        let a = any(&mut d);
        let e = (a.sign_exp & 0x7fff) as i64;
        let to = [0, 0x7fff, 0x3fff][d.below(3) as usize];
        let b = f80::from_i64(to - e + 70 - d.below(140) as i64);
        let mut env = Env::from_control(c);
        let r = f80::scale(a, b, &mut env);
        let r = if env.aborted() { a } else { r };
        let native = x87!("fscale", a, b, c);
        if differs(&native) {
            continue;
        }
        same!(native.outcome(), (r, env.flags, env.c1), "{a:x?} {b:x?} control {c:x}");
    }
}

#[test]
fn remainders() {
    let mut d = Dice(3);
    let condition = |s: u16| (s >> 8 & 1) << 2 | (s >> 14 & 1) << 1 | s >> 9 & 1;
    for _ in 0..CASES {
        let c = control(&mut d);
        let a = any(&mut d);
        let b = near(&mut d, a);
        for nearest in [false, true] {
            let native = match nearest {
                false => x87!("fprem", a, b, c),
                true => x87!("fprem1", a, b, c),
            };
            if differs(&native) {
                continue;
            }
            let mut env = Env::from_control(c);
            let r = f80::rem(a, b, nearest, &mut env);
            if env.aborted() {
                same!((native.st0, native.status as u8 & 0x3f), (a, env.flags), "{a:x?} {b:x?}");
                continue;
            }
            let want = (
                native.st0,
                native.status as u8 & 0x3f,
                condition(native.status),
                native.status & 0x400 != 0,
            );
            same!(
                want,
                (r.value, env.flags, r.quotient as u16, r.incomplete),
                "{a:x?} {b:x?} {nearest}"
            );
        }
    }
}

#[test]
fn compares_and_classes() {
    let mut d = Dice(4);
    let order = |s: u16| match s & 0x4500 {
        0x4500 => Order::Unordered,
        0x4000 => Order::Equal,
        0x0100 => Order::Less,
        _ => Order::Greater,
    };
    for _ in 0..CASES {
        let c = control(&mut d);
        let a = any(&mut d);
        let b = near(&mut d, a);
        let c = c | 0x3f;
        let s = x87!("fcom st(1)", a, b, c).status;
        let mut env = Env::from_control(c);
        same!(
            (order(s), s as u8 & 0x3f),
            (f80::compare(a, b, true, &mut env), env.flags),
            "{a:x?} {b:x?}"
        );
        let s = x87!("fucom st(1)", a, b, c).status;
        let mut env = Env::from_control(c);
        same!(
            (order(s), s as u8 & 0x3f),
            (f80::compare(a, b, false, &mut env), env.flags),
            "{a:x?} {b:x?}"
        );
        let s = x87!("ftst", a, b, c).status;
        let mut env = Env::from_control(c);
        same!((order(s), s as u8 & 0x3f), (f80::test(a, &mut env), env.flags), "{a:x?}");
        let s = x87!("fxam", a, b, c).status;
        same!((s & 0x4000 != 0, s & 0x400 != 0, s & 0x100 != 0), Class::fxam(a.class()), "{a:x?}");
    }
}

#[test]
fn extracts() {
    let mut d = Dice(5);
    for _ in 0..CASES {
        let (c, a) = (control(&mut d), any(&mut d));
        let n = x87!("fstp st(1)\nfxtract", a, a, c);
        let mut env = Env::from_control(c);
        let (exponent, significand) = f80::extract(a, &mut env);
        if env.aborted() {
            same!((n.st0, n.status as u8 & 0x3f), (a, env.flags), "{a:x?}");
            continue;
        }
        same!((n.st1, n.st0, n.status as u8 & 0x3f), (exponent, significand, env.flags), "{a:x?}");
    }
}

/// A load pushes unless the operand is invalid.
fn loaded(x: F80, old: F80, env: &Env) -> F80 {
    if env.load_aborted() { old } else { x }
}

#[test]
fn loads_and_memory_operands() {
    let mut d = Dice(6);
    for _ in 0..CASES {
        let (c, a) = (control(&mut d), any(&mut d));
        let (mut single, mut double) = (d.float(23, 8) as u32, d.float(52, 11));
        macro_rules! check {
            ($insn:literal, $memory:ident, $soft:expr) => {
                let soft: fn(F80, _, &mut Env) -> F80 = $soft;
                let mut env = Env::from_control(c);
                let r = soft(a, $memory, &mut env);
                let arithmetic = !$insn.starts_with("fstp");
                let r = if arithmetic && env.aborted() { a } else { r };
                let n = x87!($insn, a, a, c, &mut $memory).outcome();
                same!(n, (r, env.flags, env.c1), "{} {a:x?} {:x} {c:x}", $insn, $memory);
            };
        }
        check!("fstp st(1)\nfld dword ptr [{m}]", single, |a, m, e| loaded(
            f80::from_f32(m, e),
            a,
            e
        ));
        check!("fstp st(1)\nfld qword ptr [{m}]", double, |a, m, e| loaded(
            f80::from_f64(m, e),
            a,
            e
        ));
        check!("fadd dword ptr [{m}]", single, |a, m, e| f80::with_f32(a, m, e, f80::add));
        check!("fsubr qword ptr [{m}]", double, |a, m, e| f80::with_f64(a, m, e, |a, b, e| {
            f80::sub(b, a, e)
        }));
        check!("fmul qword ptr [{m}]", double, |a, m, e| f80::with_f64(a, m, e, f80::mul));
        check!("fdiv dword ptr [{m}]", single, |a, m, e| f80::with_f32(a, m, e, f80::div));
        check!("fdivr dword ptr [{m}]", single, |a, m, e| f80::with_f32(a, m, e, |a, b, e| {
            f80::div(b, a, e)
        }));
        let mut i = d.pattern(64) as i64;
        check!("fstp st(1)\nfild qword ptr [{m}]", i, |_, m: i64, _| f80::from_i64(m));
        let mut i = i as i16;
        check!("fstp st(1)\nfild word ptr [{m}]", i, |_, m: i16, _| f80::from_i16(m));
    }
}

#[test]
fn stores() {
    let mut d = Dice(7);
    for _ in 0..CASES {
        let c = control(&mut d);
        let mut a = any(&mut d);
        let edge = [0x3fff - 1023, 0x3fff + 1023, 0x3fff - 127, 0x3fff + 127, 0x4000, 0x3fff + 62];
        match d.below(8) {
            e @ 0..6 => {
                a.sign_exp = a.sign_exp & 0x8000 | (edge[e as usize] + 30 - d.below(90)) as u16;
            }
            _ => {}
        }
        macro_rules! check {
            ($insn:literal, $zero:expr, $soft:expr) => {
                let zero = $zero;
                let mut memory = zero;
                let status = x87!($insn, a, a, c, &mut memory).status;
                let mut env = Env::from_control(c);
                let r = $soft(a, &mut env);
                let r = if env.store_aborted() { zero } else { r };
                let got = (r, env.flags, env.c1);
                same!(
                    (memory, status as u8 & 0x3f, status & 0x200 != 0),
                    got,
                    "{} {a:x?} {c:x}",
                    $insn
                );
            };
        }
        let rc = Env::from_control(c).rc;
        check!("fstp dword ptr [{m}]", 0u32, f80::to_f32);
        check!("fstp qword ptr [{m}]", 0u64, f80::to_f64);
        check!("fistp word ptr [{m}]", 0i16, |a, e: &mut Env| f80::to_i16(a, rc, e));
        check!("fistp dword ptr [{m}]", 0i32, |a, e: &mut Env| f80::to_i32(a, rc, e));
        check!("fistp qword ptr [{m}]", 0i64, |a, e: &mut Env| f80::to_i64(a, rc, e));
        check!("fisttp dword ptr [{m}]", 0i32, |a, e: &mut Env| f80::to_i32(
            a,
            f80::Round::Zero,
            e
        ));
        check!("fisttp qword ptr [{m}]", 0i64, |a, e: &mut Env| f80::to_i64(
            a,
            f80::Round::Zero,
            e
        ));
        check!("fbstp tbyte ptr [{m}]", [0u8; 10], f80::to_bcd);
    }
}

#[test]
fn decimals_load() {
    let mut d = Dice(8);
    for i in 0..CASES {
        let mut bytes = [0u8; 10];
        for b in &mut bytes {
            *b = (d.below(10) | d.below(10) << 4) as u8;
        }
        if i % 2 == 0 {
            bytes[9] = d.next() as u8;
        }
        if i % 4 == 0 {
            bytes[d.below(9) as usize] = d.next() as u8;
        }
        let n = x87!("fstp st(1)\nfbld tbyte ptr [{m}]", f80::ONE, f80::ONE, 0x37f, &mut bytes);
        same!(n.st0, f80::from_bcd(bytes), "{bytes:x?}");
    }
}

#[test]
fn constants_load() {
    fn check(native: impl Fn(u16) -> F80, soft: Constant) {
        for rc in 0..4 {
            let c = 0x7f | rc << 10;
            assert_eq!(native(c), soft.load(Env::from_control(c).rc), "control {c:x}");
        }
    }
    macro_rules! native {
        ($insn:literal) => {
            |c| x87!(concat!("fstp st(1)\n", $insn), f80::ONE, f80::ONE, c).st0
        };
    }
    check(native!("fldpi"), f80::PI);
    check(native!("fldl2t"), f80::LOG2_10);
    check(native!("fldl2e"), f80::LOG2_E);
    check(native!("fldlg2"), f80::LOG10_2);
    check(native!("fldln2"), f80::LN_2);
}
