//! SSE, AVX, F16C and FMA.

use super::Dice;
use core::arch::asm;
use cpu::soft::float::{self, Env, F32, F64, Order, Round};

/// Runs `$insn` between LDMXCSR and STMXCSR; the flags it raised.
macro_rules! under {
    ($mxcsr:expr, $insn:expr, $($operands:tt)*) => {{
        let (control, mut after, normal) = ($mxcsr, 0u32, 0x1f80u32);
        // SAFETY: exceptions are masked, the instruction has only register operands, and MXCSR is put back.
        unsafe {
            asm!(
                "ldmxcsr [{control}]", $insn, "stmxcsr [{after}]", "ldmxcsr [{normal}]",
                $($operands)*,
                control = in(reg) &control, after = in(reg) &mut after, normal = in(reg) &normal,
                options(nostack),
            );
        }
        (after & 0x3f) as u8
    }};
}

macro_rules! two {
    ($name:ident, $bits:ty, $insn:literal) => {
        fn $name(a: $bits, b: $bits, mxcsr: u32) -> ($bits, u8) {
            let mut x = <f64>::from_bits(a as u64);
            let y = <f64>::from_bits(b as u64);
            let flags = under!(mxcsr, $insn, x = inout(xmm_reg) x, y = in(xmm_reg) y);
            (x.to_bits() as $bits, flags)
        }
    };
}

two!(addss, u32, "addss {x}, {y}");
two!(addsd, u64, "addsd {x}, {y}");
two!(subss, u32, "subss {x}, {y}");
two!(subsd, u64, "subsd {x}, {y}");
two!(mulss, u32, "mulss {x}, {y}");
two!(mulsd, u64, "mulsd {x}, {y}");
two!(divss, u32, "divss {x}, {y}");
two!(divsd, u64, "divsd {x}, {y}");
two!(minss, u32, "minss {x}, {y}");
two!(minsd, u64, "minsd {x}, {y}");
two!(maxss, u32, "maxss {x}, {y}");
two!(maxsd, u64, "maxsd {x}, {y}");
two!(sqrtss, u32, "sqrtss {x}, {y}");
two!(sqrtsd, u64, "sqrtsd {x}, {y}");
two!(rcpss, u32, "rcpss {x}, {y}");
two!(rsqrtss, u32, "rsqrtss {x}, {y}");
two!(cvtss2sd, u64, "cvtss2sd {x}, {y}");
two!(cvtsd2ss, u64, "cvtsd2ss {x}, {y}");
two!(vcvtph2ps, u64, "vcvtph2ps {x}, {y}");
two!(cvtps2dq, u64, "cvtps2dq {x}, {y}");
two!(cvttps2dq, u64, "cvttps2dq {x}, {y}");
two!(cvtdq2ps, u64, "cvtdq2ps {x}, {y}");

/// Control values: rounding, DAZ and FTZ at random, all masked.
fn control(d: &mut Dice) -> u32 {
    let r = d.next() as u32;
    0x1f80 | (r & 3) << 13 | (r >> 2 & 1) << 6 | (r >> 3 & 1) << 15
}

const CASES: u32 = 400_000;

macro_rules! same {
    ($want:expr, $got:expr, $($about:tt)*) => {
        let (want, got) = ($want, $got);
        assert!(want == got, "native {want:x?}, soft {got:x?}: {}", format_args!($($about)*));
    };
}

macro_rules! binary {
    ($($test:ident: $native:ident, $soft:ident, $format:ident, $bits:ty, $f:literal, $e:literal;)*) => {$(
        #[test]
        fn $test() {
            let mut d = Dice($f);
            for _ in 0..CASES {
                let mxcsr = control(&mut d);
                let a = d.float($f, $e);
                let (a, b) = (a as $bits, d.near(a, $f, $e) as $bits);
                let mut env = Env::from_mxcsr(mxcsr);
                let r = float::$soft::<$format>(a, b, &mut env);
                same!($native(a, b, mxcsr), (r, env.flags), "{a:x} {b:x} mxcsr {mxcsr:x}");
            }
        }
    )*};
}

binary! {
    adds_singles: addss, add, F32, u32, 23, 8;
    adds_doubles: addsd, add, F64, u64, 52, 11;
    subtracts_singles: subss, sub, F32, u32, 23, 8;
    subtracts_doubles: subsd, sub, F64, u64, 52, 11;
    multiplies_singles: mulss, mul, F32, u32, 23, 8;
    multiplies_doubles: mulsd, mul, F64, u64, 52, 11;
    divides_singles: divss, div, F32, u32, 23, 8;
    divides_doubles: divsd, div, F64, u64, 52, 11;
    least_of_singles: minss, min, F32, u32, 23, 8;
    least_of_doubles: minsd, min, F64, u64, 52, 11;
    greatest_of_singles: maxss, max, F32, u32, 23, 8;
    greatest_of_doubles: maxsd, max, F64, u64, 52, 11;
}

#[test]
fn products_near_the_edges_of_the_range() {
    // Exponents that sum to just about the least or the greatest.
    let mut d = Dice(3);
    for _ in 0..CASES {
        let mxcsr = control(&mut d);
        let target = if d.below(2) == 0 { 1023 + d.below(4) } else { 3069 - d.below(5) };
        let ea = 1 + d.below(target.min(2046));
        let eb = (target - ea.min(target)).clamp(1, 2046);
        let a = ea << 52 | d.pattern(52) | d.next() << 63;
        let b = eb << 52 | d.pattern(52);
        let mut env = Env::from_mxcsr(mxcsr);
        let r = float::mul::<F64>(a, b, &mut env);
        same!(mulsd(a, b, mxcsr), (r, env.flags), "{a:x} * {b:x} mxcsr {mxcsr:x}");
        let gap = if d.below(2) == 0 { 1021 + d.below(4) } else { 0 };
        let b = (if gap > 0 { ea + gap } else { (ea + 2).saturating_sub(1025 - d.below(4)) })
            .clamp(1, 2046)
            << 52
            | d.pattern(52);
        let mut env = Env::from_mxcsr(mxcsr);
        let r = float::div::<F64>(a, b, &mut env);
        same!(divsd(a, b, mxcsr), (r, env.flags), "{a:x} / {b:x} mxcsr {mxcsr:x}");
    }
}

#[test]
fn square_roots() {
    let mut d = Dice(4);
    for _ in 0..CASES {
        let mxcsr = control(&mut d);
        let a = d.float(23, 8) as u32;
        let mut env = Env::from_mxcsr(mxcsr);
        let r = float::sqrt::<F32>(a, &mut env);
        same!(sqrtss(0, a, mxcsr), (r, env.flags), "{a:x} mxcsr {mxcsr:x}");
        let a = d.float(52, 11);
        let mut env = Env::from_mxcsr(mxcsr);
        let r = float::sqrt::<F64>(a, &mut env);
        same!(sqrtsd(0, a, mxcsr), (r, env.flags), "{a:x} mxcsr {mxcsr:x}");
    }
}

#[test]
fn approximations() {
    let intel = core::arch::x86_64::__cpuid(0).ebx == 0x756e_6547;
    let mut d = Dice(5);
    for i in 0..CASES {
        let a = if i % 2 == 0 { d.float(23, 8) as u32 } else { i << 12 };
        if intel {
            same!(rcpss(0, a, 0x1f80), (float::rcp(a), 0), "rcp {a:x}");
            same!(rsqrtss(0, a, 0x1f80), (float::rsqrt(a), 0), "rsqrt {a:x}");
        }
    }
}

#[test]
fn fused_products() {
    if !std::arch::is_x86_feature_detected!("fma") {
        return;
    }
    macro_rules! check {
        ($d:ident, $bits:ty, $format:ident, $f:literal, $e:literal, $insn:literal, $order:expr, $neg:literal, $sub:literal) => {
            let mxcsr = control(&mut $d);
            let a = $d.float($f, $e);
            let b = if $d.below(2) == 0 { (1u64 << ($e - 1)) - 1 << $f | $d.pattern($f) } else { $d.float($f, $e) };
            let (a, b, c) = (a as $bits, b as $bits, $d.near(a, $f, $e) as $bits);
            let mut x = f64::from_bits(a as u64);
            let flags = under!(mxcsr, $insn, x = inout(xmm_reg) x,
                y = in(xmm_reg) f64::from_bits(b as u64), z = in(xmm_reg) f64::from_bits(c as u64));
            let (p, q, r) = $order(a, b, c);
            let mut env = Env::from_mxcsr(mxcsr);
            let got = float::fma_as::<$format>(p, q, r, $neg, $sub, &mut env);
            same!((x.to_bits() as $bits, flags), (got, env.flags), "{} {a:x} {b:x} {c:x} mxcsr {mxcsr:x}", $insn);
        };
    }
    let mut d = Dice(6);
    for _ in 0..CASES / 4 {
        check!(d, u32, F32, 23, 8, "vfmadd132ss {x}, {y}, {z}", |a, b, c| (a, c, b), false, false);
        check!(d, u32, F32, 23, 8, "vfmadd213ss {x}, {y}, {z}", |a, b, c| (b, a, c), false, false);
        check!(d, u32, F32, 23, 8, "vfmadd231ss {x}, {y}, {z}", |a, b, c| (b, c, a), false, false);
        check!(d, u64, F64, 52, 11, "vfmadd213sd {x}, {y}, {z}", |a, b, c| (b, a, c), false, false);
        check!(d, u64, F64, 52, 11, "vfmsub213sd {x}, {y}, {z}", |a, b, c| (b, a, c), false, true);
        check!(d, u64, F64, 52, 11, "vfnmadd213sd {x}, {y}, {z}", |a, b, c| (b, a, c), true, false);
        check!(d, u32, F32, 23, 8, "vfnmsub213ss {x}, {y}, {z}", |a, b, c| (b, a, c), true, true);
    }
}

#[test]
fn conversions_between_formats() {
    let mut d = Dice(7);
    for _ in 0..CASES {
        let mxcsr = control(&mut d);
        let a = d.float(23, 8) as u32;
        let mut env = Env::from_mxcsr(mxcsr);
        let r = float::convert::<F32, F64>(a, &mut env);
        same!(cvtss2sd(0, a as u64, mxcsr), (r, env.flags), "{a:x} mxcsr {mxcsr:x}");
        let a = match d.below(3) {
            0 => d.float(52, 11),
            1 => (d.below(60) + 1023 - 160) << 52 | d.pattern(52),
            _ => (d.below(4) + 1023 + 126) << 52 | d.pattern(52),
        };
        let mut env = Env::from_mxcsr(mxcsr);
        let r = float::convert::<F64, F32>(a, &mut env);
        same!(cvtsd2ss(0, a, mxcsr), (r as u64, env.flags), "{a:x} mxcsr {mxcsr:x}");
        if !std::arch::is_x86_feature_detected!("f16c") {
            continue;
        }
        let h = d.float(10, 5) as u16;
        let mut env = Env::from_mxcsr(mxcsr);
        let r = float::widen_half(h, &mut env);
        let (native, flags) = vcvtph2ps(0, h as u64, mxcsr);
        same!((native as u32, flags), (r, env.flags), "half {h:x} mxcsr {mxcsr:x}");
        let a = match d.below(2) {
            0 => d.float(23, 8) as u32,
            _ => ((d.below(50) + 127 - 30) << 23 | d.pattern(23)) as u32,
        };
        macro_rules! half {
            ($imm:literal, $insn:literal) => {
                let mut x = f64::from_bits(a as u64);
                let flags = under!(mxcsr, $insn, x = inout(xmm_reg) x);
                let mut env = Env::from_mxcsr(mxcsr);
                let r = float::to_half(a, $imm, &mut env);
                same!((x.to_bits() as u16, flags), (r, env.flags), "to half {a:x} {} mxcsr {mxcsr:x}", $imm);
            };
        }
        half!(4, "vcvtps2ph {x}, {x}, 4");
        half!(0, "vcvtps2ph {x}, {x}, 0");
        half!(1, "vcvtps2ph {x}, {x}, 1");
        half!(2, "vcvtps2ph {x}, {x}, 2");
        half!(3, "vcvtps2ph {x}, {x}, 3");
    }
}

#[test]
fn conversions_to_and_from_integers() {
    macro_rules! to {
        ($a:ident, $mxcsr:ident, $format:ident, $int:ty, $soft:ident, $insn:literal) => {
            let r: $int;
            let flags = under!($mxcsr, $insn, r = out(reg) r, x = in(xmm_reg) f64::from_bits($a as u64));
            let mut env = Env::from_mxcsr($mxcsr);
            let got = float::$soft::<$format>($a, &mut env);
            same!((r, flags), (got, env.flags), "{} {:x} mxcsr {:x}", $insn, $a, $mxcsr);
        };
    }
    macro_rules! from {
        ($i:expr, $mxcsr:ident, $format:ident, $soft:ident, $insn:literal) => {
            let (i, mut x) = ($i, 0f64);
            let flags = under!($mxcsr, $insn, r = in(reg) i, x = inout(xmm_reg) x);
            let mut env = Env::from_mxcsr($mxcsr);
            let got = float::$soft::<$format>(i, &mut env);
            same!((x.to_bits(), flags), (got as u64, env.flags), "{} {i:x} mxcsr {:x}", $insn, $mxcsr);
        };
    }
    let mut d = Dice(8);
    let wide = std::arch::is_x86_feature_detected!("avx512f");
    for _ in 0..CASES {
        let mxcsr = control(&mut d);
        let a = match d.below(2) {
            0 => d.float(52, 11),
            _ => (d.below(70) + 1021) << 52 | d.pattern(52) | d.next() << 63,
        };
        to!(a, mxcsr, F64, i32, to_i32, "cvtsd2si {r:e}, {x}");
        to!(a, mxcsr, F64, i64, to_i64, "cvtsd2si {r:r}, {x}");
        to!(a, mxcsr, F64, i32, to_i32_trunc, "cvttsd2si {r:e}, {x}");
        to!(a, mxcsr, F64, i64, to_i64_trunc, "cvttsd2si {r:r}, {x}");
        if wide {
            let rc = Round::from_bits((mxcsr >> 13) as u8);
            let (mut x, mut y, mut env) = (0u32, 0u64, Env::from_mxcsr(mxcsr));
            let flags = under!(mxcsr, "vcvtsd2usi {r:e}, {x}", r = inout(reg) x, x = in(xmm_reg) f64::from_bits(a));
            same!(
                (x, flags),
                (float::to_u32::<F64>(a, rc, &mut env), env.flags),
                "u32 {a:x} {mxcsr:x}"
            );
            env = Env::from_mxcsr(mxcsr);
            let flags = under!(mxcsr, "vcvtsd2usi {r:r}, {x}", r = inout(reg) y, x = in(xmm_reg) f64::from_bits(a));
            same!(
                (y, flags),
                (float::to_u64::<F64>(a, rc, &mut env), env.flags),
                "u64 {a:x} {mxcsr:x}"
            );
        }
        let b = match d.below(2) {
            0 => d.float(23, 8) as u32,
            _ => ((d.below(70) + 125) << 23 | d.pattern(23) | d.next() << 31) as u32,
        };
        to!(b, mxcsr, F32, i32, to_i32, "cvtss2si {r:e}, {x}");
        to!(b, mxcsr, F32, i64, to_i64_trunc, "cvttss2si {r:r}, {x}");
        let lane = |(bits, flags): (u64, u8)| (bits as i32, flags);
        let mut env = Env::from_mxcsr(mxcsr);
        let r = float::to_i32::<F32>(b, &mut env);
        same!(lane(cvtps2dq(0, b as u64, mxcsr)), (r, env.flags), "{b:x} mxcsr {mxcsr:x}");
        let mut env = Env::from_mxcsr(mxcsr);
        let r = float::to_i32_trunc::<F32>(b, &mut env);
        same!(lane(cvttps2dq(0, b as u64, mxcsr)), (r, env.flags), "{b:x} mxcsr {mxcsr:x}");
        let i = d.pattern(64) as i64;
        from!(i, mxcsr, F64, from_i64, "cvtsi2sd {x}, {r:r}");
        from!(i, mxcsr, F32, from_i64, "cvtsi2ss {x}, {r:r}");
        from!(i as i32, mxcsr, F64, from_i32, "cvtsi2sd {x}, {r:e}");
        from!(i as i32, mxcsr, F32, from_i32, "cvtsi2ss {x}, {r:e}");
        if wide {
            from!(i as u64, mxcsr, F64, from_u64, "vcvtusi2sd {x}, {x}, {r:r}");
            from!(i as u64, mxcsr, F32, from_u64, "vcvtusi2ss {x}, {x}, {r:r}");
            from!(i as u32, mxcsr, F32, from_u32, "vcvtusi2ss {x}, {x}, {r:e}");
        }
        let mut env = Env::from_mxcsr(mxcsr);
        let r = float::from_i32::<F32>(i as i32, &mut env);
        let (bits, flags) = cvtdq2ps(0, i as u32 as u64, mxcsr);
        same!((bits as u32, flags), (r, env.flags), "{i:x} mxcsr {mxcsr:x}");
    }
}

#[test]
fn rounding_to_integers() {
    macro_rules! check {
        ($d:ident, $($imm:literal)*) => {$(
            let mxcsr = control(&mut $d);
            let a = match $d.below(2) {
                0 => $d.float(52, 11),
                _ => ($d.below(60) + 1018) << 52 | $d.pattern(52) | $d.next() << 63,
            };
            let mut x = f64::from_bits(a);
            let flags = under!(mxcsr, concat!("roundsd {x}, {x}, ", $imm), x = inout(xmm_reg) x);
            let mut env = Env::from_mxcsr(mxcsr);
            let r = float::round_to_int::<F64>(a, $imm, &mut env);
            same!((x.to_bits(), flags), (r, env.flags), "{a:x} by {} mxcsr {mxcsr:x}", $imm);
            let a = match $d.below(2) {
                0 => $d.float(23, 8) as u32,
                _ => (($d.below(30) + 120) << 23 | $d.pattern(23) | $d.next() << 31) as u32,
            };
            let mut x = f64::from_bits(a as u64);
            let flags = under!(mxcsr, concat!("roundss {x}, {x}, ", $imm), x = inout(xmm_reg) x);
            let mut env = Env::from_mxcsr(mxcsr);
            let r = float::round_to_int::<F32>(a, $imm, &mut env);
            same!((x.to_bits() as u32, flags), (r, env.flags), "{a:x} by {} mxcsr {mxcsr:x}", $imm);
        )*};
    }
    let mut d = Dice(9);
    for _ in 0..CASES / 10 {
        check!(d, 0 1 2 3 4 5 7 8 9 10 11 12 15);
    }
}

#[test]
fn all_predicates() {
    macro_rules! check {
        ($d:ident, $($p:literal)*) => {$(
            let mxcsr = control(&mut $d);
            let a = $d.float(52, 11);
            let b = $d.near(a, 52, 11);
            let mut x = f64::from_bits(a);
            let flags = under!(mxcsr, concat!("vcmpsd {x}, {x}, {y}, ", $p),
                x = inout(xmm_reg) x, y = in(xmm_reg) f64::from_bits(b));
            let mut env = Env::from_mxcsr(mxcsr);
            let r = float::predicate::<F64>(a, b, $p, &mut env);
            same!((x.to_bits() != 0, flags), (r, env.flags), "{a:x} {b:x} by {} mxcsr {mxcsr:x}", $p);
        )*};
    }
    let mut d = Dice(10);
    for _ in 0..CASES / 20 {
        check!(d, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31);
    }
}

#[test]
fn ordered_compares_set_the_flags() {
    let mut d = Dice(11);
    let order = |ax: u32| match ax >> 8 & 0x45 {
        0x45 => Order::Unordered,
        0x40 => Order::Equal,
        0x01 => Order::Less,
        _ => Order::Greater,
    };
    for _ in 0..CASES {
        let mxcsr = control(&mut d);
        let a = d.float(23, 8);
        let (a, b) = (a as u32, d.near(a, 23, 8) as u32);
        let (x, y) = (f64::from_bits(a as u64), f64::from_bits(b as u64));
        let mut ax = 0u32;
        let flags = under!(mxcsr, "comiss {x}, {y}\nlahf", x = in(xmm_reg) x, y = in(xmm_reg) y, inout("eax") ax);
        let mut env = Env::from_mxcsr(mxcsr);
        same!(
            (order(ax), flags),
            (float::comi::<F32>(a, b, &mut env), env.flags),
            "{a:x} {b:x} {mxcsr:x}"
        );
        let flags = under!(mxcsr, "ucomiss {x}, {y}\nlahf", x = in(xmm_reg) x, y = in(xmm_reg) y, inout("eax") ax);
        let mut env = Env::from_mxcsr(mxcsr);
        same!(
            (order(ax), flags),
            (float::ucomi::<F32>(a, b, &mut env), env.flags),
            "{a:x} {b:x} {mxcsr:x}"
        );
    }
}
