//! Fixed vectors, taken from a processor (Intel, Ice Lake).

use super::*;

const ADD: u8 = 0;
const SUB: u8 = 1;
const MUL: u8 = 2;
const DIV: u8 = 3;
const SQRT: u8 = 4;
const MIN: u8 = 5;
const NARROW: u8 = 6;

/// Operation, precision, MXCSR, operands, result, flags.
#[rustfmt::skip]
const VECTORS: &[(u8, u32, u32, u64, u64, u64, u8)] = &[
    (ADD, 24, 0xff80, 0x80ffffc0, 0xf9800800, 0xf9800800, 0x20),
    (ADD, 24, 0xffc0, 0xc8ffffff, 0x427fffff, 0xc8fff7ff, 0x20),
    (ADD, 24, 0xff80, 0xff7ff000, 0x44fc0000, 0xff7fefff, 0x20),
    (ADD, 24, 0x9fc0, 0xbfffffff, 0xbebfffff, 0xc017ffff, 0x20),
    (ADD, 24, 0x3fc0, 0x207fffff, 0x7f000000, 0x7f000000, 0x20),
    (ADD, 24, 0x9f80, 0xff7fffe0, 0xff606008, 0xff800000, 0x28),
    (ADD, 24, 0xbf80, 0x80fffffe, 0x2075a210, 0x2075a20f, 0x20),
    (ADD, 24, 0xff80, 0x8d7fffff, 0xb96fffff, 0xb96fffff, 0x20),
    (ADD, 24, 0xff80, 0x84ffffdf, 0x84ffffdc, 0x857fffdd, 0x20),
    (ADD, 24, 0xdfc0, 0xc1800000, 0x1f800000, 0xc17fffff, 0x20),
    (ADD, 53, 0x3fc0, 0xbff0000000100000, 0x201fffffffbfffff, 0xbff0000000100000, 0x20),
    (ADD, 53, 0x3f80, 0x803fffffffffffff, 0x202ffffffffffffd, 0x202ffffffffffffc, 0x20),
    (ADD, 53, 0xdf80, 0x3ff0000000001000, 0xbfc0000000001000, 0x3fec000000001c00, 0x00),
    (ADD, 53, 0x3fc0, 0xa00fffffffffbfff, 0xa03676a311d86241, 0xa03a76a311d85a41, 0x20),
    (ADD, 53, 0x1fc0, 0xffe0000080000000, 0xffe0000080000001, 0xfff0000000000000, 0x28),
    (ADD, 53, 0x1fc0, 0x8d00bc3902607268, 0xc0ffffffffffffff, 0xc0ffffffffffffff, 0x20),
    (ADD, 53, 0x1f80, 0x4010000000000001, 0x2010000000000000, 0x4010000000000001, 0x20),
    (ADD, 53, 0x7f80, 0x10000008000000, 0x3ffe625c74251a9a, 0x3ffe625c74251a9a, 0x20),
    (ADD, 53, 0x1f80, 0x3f60000010000000, 0xc8d0000800000000, 0xc8d0000800000000, 0x20),
    (ADD, 53, 0x9f80, 0x98645f63386b5205, 0x986ba09cc794adfa, 0x9878000000000000, 0x20),
    (SUB, 53, 0x7f80, 0x41f0000000000000, 0x38d49b54b5e8e171, 0x41efffffffffffff, 0x20),
    (SUB, 53, 0x7fc0, 0x40efffffe0000000, 0x40e2aa61ad8dca87, 0x40daab3c64e46af2, 0x00),
    (SUB, 53, 0xdfc0, 0x81afffc000000000, 0x9160000000008000, 0x1160000000008000, 0x20),
    (SUB, 53, 0xff80, 0x10000000000008, 0x7fe9f37e70a4d901, 0xffe9f37e70a4d900, 0x20),
    (SUB, 53, 0x5fc0, 0x7fe0000000000000, 0x2d0000000000100, 0x7fe0000000000000, 0x20),
    (SUB, 53, 0x5f80, 0x8010000000000000, 0x2026f821e039f580, 0xa026f821e039f580, 0x20),
    (SUB, 53, 0xffc0, 0x3ccfffffffffffff, 0x3ff0000000000080, 0xbff000000000007c, 0x20),
    (SUB, 53, 0xbfc0, 0x3ffffffffbffffff, 0x7d4352c6987e886e, 0xfd4352c6987e886e, 0x20),
    (SUB, 53, 0xdf80, 0xa01ffffffffe0000, 0x200000000001efff, 0xa023ffffffff7bff, 0x20),
    (SUB, 53, 0x3fc0, 0x638426581fe76cb7, 0xffeff7ffffffffff, 0x7feff7ffffffffff, 0x20),
    (MUL, 24, 0xff80, 0xbfb60000, 0x3e49fff7, 0xbe8f9bf9, 0x20),
    (MUL, 24, 0x1fc0, 0x217fffff, 0xa17ffffc, 0x837ffffb, 0x20),
    (MUL, 24, 0x3f80, 0xb57fffff, 0x348fffff, 0xaa8fffff, 0x20),
    (MUL, 24, 0x9fc0, 0x84eae004, 0xbf8d455d, 0x5019d06, 0x20),
    (MUL, 24, 0x5fc0, 0xc025129, 0x6700000, 0x1, 0x30),
    (MUL, 24, 0x9f80, 0x8220f44a, 0x3f968595, 0x823d4640, 0x20),
    (MUL, 24, 0x9fc0, 0x3ffffff0, 0x3fe8880e, 0x406887ff, 0x20),
    (MUL, 24, 0xff80, 0x84800004, 0xbfecca59, 0x4ecca60, 0x20),
    (MUL, 24, 0xffc0, 0x49051a00, 0xfdffff, 0xa840fcb, 0x20),
    (MUL, 24, 0x3f80, 0x3ff00000, 0xbe0fefff, 0xbe86f100, 0x20),
    (MUL, 53, 0xdfc0, 0x3f10000000000080, 0x202fffffffffffff, 0x1f50000000000080, 0x20),
    (MUL, 53, 0x7fc0, 0x8013b31572206648, 0xbd4bffffffffffff, 0x44f, 0x30),
    (MUL, 53, 0xdfc0, 0x3ceddc951aa347b0, 0x197d6fca7c2e430, 0x0, 0x30),
    (MUL, 53, 0xff80, 0xc290000000800000, 0xd8119d90276693b5, 0x5ab19d9027f38036, 0x20),
    (MUL, 53, 0xbf80, 0x3eb1926a69c63bba, 0xbeb1926a69c63bbb, 0xbd734c5df9935ced, 0x20),
    (MUL, 53, 0x1f80, 0x364effffffffffff, 0x3671000000000000, 0x2cd077ffffffffff, 0x20),
    (MUL, 53, 0x3fc0, 0x200ffffeffffffff, 0x41be0c2f3834c1b3, 0x21de0c2e47d347f0, 0x20),
    (MUL, 53, 0x1f80, 0xbff97b1bdb725540, 0x3ff97b1bdb725542, 0xc0044a352521e457, 0x20),
    (MUL, 53, 0x9f80, 0x3d30000000000080, 0x3d3fffffffffff7f, 0x3a8000000000003f, 0x20),
    (MUL, 53, 0x9fc0, 0x817fffffffffbfff, 0x801b604800000000, 0x0, 0x30),
    (DIV, 24, 0x1f80, 0x897fff00, 0xb95ece2, 0xbd5a8f0e, 0x20),
    (DIV, 24, 0x9fc0, 0x20b80000, 0x35600000, 0x2ad24925, 0x20),
    (DIV, 24, 0xdfc0, 0xbaefe394, 0xbaefe395, 0x3f7fffff, 0x20),
    (DIV, 24, 0x5f80, 0xcb86382d, 0x9fffe000, 0x6b0648f7, 0x20),
    (DIV, 24, 0x1f80, 0xe99308, 0x1161308, 0x3f4737d1, 0x20),
    (DIV, 24, 0x5fc0, 0xbfffffff, 0x3e00ffff, 0xc17e03f9, 0x20),
    (DIV, 24, 0x5fc0, 0xb63a5e35, 0x363e04e0, 0xbf7b14c8, 0x20),
    (DIV, 24, 0xbf80, 0xff7ffff7, 0xa0fffffd, 0x7f7fffff, 0x28),
    (DIV, 24, 0xdfc0, 0xa1040000, 0xa1040001, 0x3f7fffff, 0x20),
    (DIV, 24, 0x5fc0, 0x20e22470, 0x21a22470, 0x3eb28605, 0x20),
    (DIV, 53, 0xff80, 0x3ff0000000400000, 0xbfe40b32c0400000, 0xbff98b4c2b1edd74, 0x20),
    (DIV, 53, 0x9f80, 0xffe41479ca6c376a, 0x202f7ec000000000, 0xfff0000000000000, 0x28),
    (DIV, 53, 0x5f80, 0x9ff0000000000000, 0x1ff0000000000002, 0xbfeffffffffffffc, 0x20),
    (DIV, 53, 0x3fc0, 0xbdd50ed1994fea75, 0xbff0000100000000, 0x3dd50ed04862e5ee, 0x20),
    (DIV, 53, 0xffc0, 0x4068000000000000, 0xa01fff7fffffffff, 0xe038006001800600, 0x20),
    (DIV, 53, 0xdf80, 0xbfffffffffffffff, 0xa00ffffeffffffff, 0x5fe0000080000401, 0x20),
    (DIV, 53, 0xffc0, 0xc137ffffffffffff, 0x803ffff7ffffffff, 0x7fefffffffffffff, 0x28),
    (DIV, 53, 0x7f80, 0x10fffffffffffff, 0x10ffffffffffffe, 0x3ff0000000000000, 0x20),
    (DIV, 53, 0x7fc0, 0x3e852475d212d3ac, 0xa00ffffbffffffff, 0xde65247876a1e280, 0x20),
    (DIV, 53, 0x5fc0, 0x7fe8800000000000, 0xb3d0080000000000, 0xffefffffffffffff, 0x28),
    (SQRT, 53, 0x1f80, 0x3f5dc20c2ccc6e8a, 0x81bf550eddb00000, 0xfff8000000000000, 0x01),
    (SQRT, 53, 0x5fc0, 0x2dfffffefffffff, 0x2c000002fffffff, 0x2156a09e8870294d, 0x20),
    (SQRT, 53, 0xff80, 0xfffffff7fffff, 0x2f0edf22da3dd6, 0x200f86890ac0ab6d, 0x20),
    (SQRT, 53, 0xdfc0, 0x2004e819144c9f64, 0x2004e819144c9f67, 0x2ff9dd8267106a3a, 0x20),
    (SQRT, 53, 0xffc0, 0xa00fffffffffffff, 0x177e3a800000000, 0x20b38cf86784feae, 0x20),
    (SQRT, 53, 0x7f80, 0xc06e3f74c9bd9e70, 0x418e000000000000, 0x40befbdeb14f4ed9, 0x20),
    (SQRT, 53, 0xdfc0, 0xbffb4ad585edca2b, 0x3fcdda8ce144df97, 0x3fdee881e002fbcb, 0x20),
    (SQRT, 53, 0x3fc0, 0x3ddfffffffffffff, 0x584e961c5edf70, 0x2023b8892a823798, 0x20),
    (SQRT, 53, 0x5fc0, 0xbfffffffffffffe0, 0x3fffffffffffffe3, 0x3ff6a09e667f3bc3, 0x20),
    (SQRT, 53, 0x5f80, 0xc24ffffffeffffff, 0x4240000001000000, 0x4116a09e673440c0, 0x20),
    (SQRT, 24, 0xbf80, 0xef800000, 0x6f800000, 0x57800000, 0x00),
    (SQRT, 24, 0x3f80, 0x35ffbfff, 0x4a7f0000, 0x44ff7fdf, 0x20),
    (SQRT, 24, 0x7fc0, 0x3ffffffb, 0x77fffdf, 0x237fffef, 0x20),
    (SQRT, 24, 0x9fc0, 0x33b770f7, 0x33b770f6, 0x39993bc1, 0x20),
    (SQRT, 24, 0xffc0, 0x16676b0, 0x3fffe000, 0x3fb4f9a2, 0x20),
    (SQRT, 24, 0x9f80, 0x80fffff0, 0xfffff1, 0x203504ee, 0x20),
    (SQRT, 24, 0xff80, 0x7f880000, 0x20e37ac4, 0x302aa35e, 0x20),
    (SQRT, 24, 0x7f80, 0x4ffffbf, 0x4800040, 0x2200001f, 0x20),
    (SQRT, 24, 0xdf80, 0xffd3d168, 0x17023ba, 0x2077f168, 0x20),
    (SQRT, 24, 0xffc0, 0x427fffff, 0x43abc18a, 0x419445ca, 0x20),
    (MIN, 53, 0x1fc0, 0x3ff5a147d4f20000, 0xbfda5eb82b0dffff, 0xbfda5eb82b0dffff, 0x00),
    (MIN, 53, 0xffc0, 0xfff3000000000000, 0x430ffffffffeffff, 0x430ffffffffeffff, 0x01),
    (MIN, 53, 0x7f80, 0xbd70000000000000, 0xfffcda9f8d3d6b91, 0xfffcda9f8d3d6b91, 0x01),
    (MIN, 53, 0x9fc0, 0xc210000000000000, 0x421674ec00000000, 0xc210000000000000, 0x00),
    (MIN, 53, 0x5fc0, 0x81d33391769ed000, 0x81dbab5ff58a8b15, 0x81dbab5ff58a8b15, 0x00),
    (MIN, 53, 0xdfc0, 0x300000400000000, 0x9ffffbffffffffff, 0x9ffffbffffffffff, 0x00),
    (MIN, 53, 0xbf80, 0x3ca7414ee0a903af, 0xbca2c14ee0a903af, 0xbca2c14ee0a903af, 0x00),
    (MIN, 53, 0xdf80, 0x7fec8d7e1d5f9268, 0xbfffffffffffffdf, 0xbfffffffffffffdf, 0x00),
    (MIN, 53, 0x7f80, 0x3ff15402600cc7a0, 0x60b0000000000001, 0x3ff15402600cc7a0, 0x00),
    (MIN, 53, 0x9f80, 0x201ffffffff00000, 0x32e55e000000000, 0x32e55e000000000, 0x00),
    (NARROW, 53, 0x3fc0, 0x3ffffffffffffe00, 0x3fc0000000001000, 0x3fffffff3e000000, 0x20),
    (NARROW, 53, 0xdfc0, 0xa02fffffffffffff, 0x2013a903be17d260, 0xa02fffff00000000, 0x30),
    (NARROW, 53, 0x3fc0, 0x3f70000000000000, 0x3f70000000000002, 0x3f7000003b800000, 0x20),
    (NARROW, 53, 0xffc0, 0x3f80200000000000, 0x3fafdfffefffffff, 0x3f8020003d7effff, 0x20),
    (NARROW, 53, 0x9fc0, 0x2963d567be12af3, 0xbd50000000002000, 0x2963d56aa800000, 0x20),
    (NARROW, 53, 0xbf80, 0xeaa20e99dc3e284f, 0xeaa20e99dc3e284c, 0xeaa20e99ff800000, 0x28),
    (NARROW, 53, 0xbfc0, 0x43367d7cfeb5ad81, 0x43398282feb5ad81, 0x43367d7c59cc1417, 0x20),
    (NARROW, 53, 0x3f80, 0xac7fffffffffffff, 0xac40000000000000, 0xac7fffff80000001, 0x30),
    (NARROW, 53, 0xffc0, 0x3da0e14000000000, 0xbd8788f93f2d6ffd, 0x3da0e140ac3c47c9, 0x20),
    (NARROW, 53, 0xbfc0, 0x3ffd6c99b1480000, 0x8180000800000000, 0x3ffd6c9980000000, 0x30),
];

fn run<F: Format>(op: u8, a: u64, b: u64, env: &mut Env) -> u64 {
    let (a, b) = (F::narrow(a), F::narrow(b));
    F::wide(match op {
        ADD => add::<F>(a, b, env),
        SUB => sub::<F>(a, b, env),
        MUL => mul::<F>(a, b, env),
        DIV => div::<F>(a, b, env),
        SQRT => sqrt::<F>(b, env),
        MIN => min::<F>(a, b, env),
        _ => unreachable!("operation {op}"),
    })
}

#[test]
fn vectors_hold() {
    for &(op, p, mxcsr, a, b, want, flags) in VECTORS {
        let mut env = Env::from_mxcsr(mxcsr);
        let got = match (op, p) {
            (NARROW, _) => {
                // CVTSD2SS leaves the upper half of the destination.
                convert::<F64, F32>(b, &mut env) as u64 | a >> 32 << 32
            }
            (_, 24) => run::<F32>(op, a, b, &mut env),
            _ => run::<F64>(op, a, b, &mut env),
        };
        assert_eq!((got, env.flags), (want, flags), "{op} {p} {mxcsr:x} {a:x} {b:x}: {got:x}");
    }
}

/// Multiplication of singles with exceptions unmasked: masks, MXCSR beside them, operands, what MXCSR holds when the
/// exception is taken.
#[rustfmt::skip]
const UNMASKED: &[(u32, u32, u32, u32, u8, bool)] = &[
    (0x37, 0,      0x7f7f_ffff, 0x3fc0_0001, 0x28, true),  // overflow, inexact
    (0x37, 0,      0x7f00_0000, 0x4000_0000, 0x08, true),  // overflow, exact
    (0x3f, 0,      0x7f00_0000, 0x4000_0000, 0x28, false), // the same, masked
    (0x2f, 0,      0x0080_0000, 0x3f00_0000, 0x10, true),  // tiny, exact
    (0x3f, 0,      0x0080_0000, 0x3f00_0000, 0x00, false), // the same, masked
    (0x2f, 0x8000, 0x0080_0000, 0x3f00_0000, 0x10, true),  // flush to zero needs the mask
    (0x3f, 0x8000, 0x0080_0000, 0x3f00_0000, 0x30, false),
    (0x2f, 0,      0x0080_0001, 0x3f00_0000, 0x10, true),  // exact but for the range
    (0x2f, 0,      0x0080_0001, 0x3f00_0001, 0x30, true),
];

#[test]
fn unmasked_exceptions_report_what_their_handler_sees() {
    for &(masks, beside, a, b, flags, fault) in UNMASKED {
        let mut env = Env::from_mxcsr(masks << 7 | beside);
        mul::<F32>(a, b, &mut env);
        assert_eq!(env.finish(), (flags, fault), "{masks:x} {a:x} {b:x}");
    }
}

#[test]
fn a_fault_before_computing_hides_the_flags_of_other_lanes() {
    // Lane 0 is inexact, lane 1 divides by zero, unmasked.
    let mut env = Env::from_mxcsr(0x3b << 7);
    div::<F32>(0x3f80_0000, 0x4040_0000, &mut env);
    div::<F32>(0x3f80_0000, 0, &mut env);
    assert_eq!(env.finish(), (flag::ZE, true));
}

#[test]
fn denormals_are_zeros_without_a_trace() {
    let mut env = Env::from_mxcsr(0x1fc0);
    assert_eq!(add::<F64>(1, 1, &mut env), 0);
    assert_eq!(div::<F64>(1f64.to_bits(), 1, &mut env), f64::INFINITY.to_bits());
    assert_eq!(env.flags, flag::ZE);
}

#[test]
fn approximations_are_close() {
    // Relative error at most 1.5 * 2^-12 over the significands, in exact integers.
    for i in 0..2048u32 {
        for low in [0, 0xfff] {
            let m = (1 << 23) + (i << 12) + low;
            let r = rcp(0x3f80_0000 | (i << 12) + low);
            let size = (r & 0x7f_ffff | 1 << 23) as u64 >> (127 - (r >> 23)).min(63);
            let one = m as u64 * size;
            assert!(one.abs_diff(1 << 46) <= 3 << 33, "{m:x} {r:x}");
        }
    }
}

#[test]
fn fused_products_round_once() {
    let mut env = Env::from_mxcsr(0x1f80);
    let (a, b) = (0x3ff0_0000_0000_0001, 0x3fef_ffff_ffff_fffe);
    // (1 + e)(1 - e) - 1 = -e^2, e = 2^-52.
    assert_eq!(fma::<F64>(a, b, 0xbff0_0000_0000_0000, &mut env), 0xb970_0000_0000_0000);
    assert_eq!(env.flags, 0);
    // Infinity times zero is not invalid beside a quiet NaN.
    let nan = 0x7ff8_0000_0000_0005;
    assert_eq!(fma::<F64>(0x7ff0_0000_0000_0000, 0, nan, &mut env), nan);
    assert_eq!(env.flags, 0);
}

#[test]
fn integers_that_do_not_fit_are_indefinite() {
    let mut env = Env::from_mxcsr(0x1f80);
    assert_eq!(to_i32::<F64>(0x41e0_0000_0000_0000, &mut env), i32::MIN);
    assert_eq!(env.flags, flag::IE);
    assert_eq!(to_i64::<F32>(0x7fc0_0000, &mut env), i64::MIN);
    assert_eq!(to_u32::<F64>(0xbff0_0000_0000_0000, Round::Zero, &mut env), u32::MAX);
    let mut env = Env::from_mxcsr(0x1f80);
    assert_eq!(to_i32_trunc::<F32>(0xc020_0000, &mut env), -2);
    assert_eq!(to_i32::<F32>(0x4020_0000, &mut env), 2);
    assert_eq!(env.flags, flag::PE);
}
