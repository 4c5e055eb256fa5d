use super::*;
use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic as N, OpKind, Register};

const WIDTHS: [Width; 4] = [Width::W8, Width::W16, Width::W32, Width::W64];
const WIDE: [Width; 2] = [Width::W32, Width::W64];

fn register(w: Width, n: u8) -> Register {
    let first = match w {
        Width::W8 if n < 4 => Register::AL,
        // Behind AH to BH.
        Width::W8 => return Register::try_from(Register::SPL as usize + n as usize - 4).unwrap(),
        Width::W16 => Register::AX,
        Width::W32 => Register::EAX,
        Width::W64 => Register::RAX,
    };
    Register::try_from(first as usize + n as usize).unwrap()
}

/// All kinds of places, with all kinds of registers and displacements.
fn places() -> Vec<Rm> {
    let mut all: Vec<Rm> = (0..16).map(R).collect();
    for disp in [0, 1, -128, 127, 128, -129, i32::MAX, i32::MIN] {
        all.extend((0..16).map(|b| M(b, disp)));
        for b in 0..16 {
            all.extend((0..16).filter(|x| *x != RSP).map(|x| X(b, x, (b + x) & 3, disp)));
        }
    }
    all
}

/// What one instruction of code is.
fn decode(code: &[u8]) -> Instruction {
    let mut d = Decoder::with_ip(64, code, 0, DecoderOptions::NONE);
    let i = d.decode();
    assert!(!i.is_invalid() && i.len() == code.len(), "{code:02x?} is {i:?}");
    i
}
fn emit(f: impl FnOnce(&mut Asm)) -> Instruction {
    let mut a = Asm::default();
    f(&mut a);
    decode(&a.code)
}
fn is_rm(i: &Instruction, n: u32, w: Width, rm: Rm) {
    let (base, index, scale, disp) = match rm {
        R(r) => {
            return assert_eq!(
                (i.op_kind(n), i.op_register(n)),
                (OpKind::Register, register(w, r)),
                "{i:?}"
            );
        }
        M(b, disp) => (b, Register::None, 0, disp),
        X(b, x, scale, disp) => (b, register(Width::W64, x), scale, disp),
    };
    assert_eq!(i.op_kind(n), OpKind::Memory, "{i:?}");
    let place = (i.memory_base(), i.memory_index(), i.memory_displacement64() as i64);
    assert_eq!(place, (register(Width::W64, base), index, disp.into()), "{i:?}");
    assert!(index == Register::None || i.memory_index_scale() == 1 << scale, "{i:?}");
}

#[test]
fn operations_with_a_register_and_a_place_are_what_they_say() {
    for (k, rm) in places().into_iter().enumerate() {
        let (r, w) = ((k * 7 & 15) as u8, WIDTHS[k & 3]);
        for (op, name) in [N::Add, N::Or, N::And, N::Sub, N::Xor, N::Cmp].into_iter().enumerate() {
            let op = [Alu::Add, Alu::Or, Alu::And, Alu::Sub, Alu::Xor, Alu::Cmp][op];
            let i = emit(|a| a.alu(op, w, r, rm));
            assert_eq!(i.mnemonic(), name);
            is_rm(&i, 0, w, R(r));
            is_rm(&i, 1, w, rm);
            let i = emit(|a| a.alu_to(op, w, rm, r));
            assert_eq!(i.mnemonic(), name);
            is_rm(&i, 0, w, rm);
            is_rm(&i, 1, w, R(r));
            for n in [0, 5, -128, 127, 128, -129, 0x1234_5678] {
                let n = if w == Width::W8 {
                    n as i8 as i32
                } else if w == Width::W16 {
                    n as i16 as i32
                } else {
                    n
                };
                let i = emit(|a| a.alu_constant(op, w, rm, n));
                is_rm(&i, 0, w, rm);
                let shown = i.immediate(1) & w.mask();
                assert_eq!((i.mnemonic(), shown), (name, n as i64 as u64 & w.mask()));
            }
        }
        let i = emit(|a| a.test(w, rm, r));
        assert_eq!(i.mnemonic(), N::Test);
        is_rm(&i, 0, w, rm);
        is_rm(&i, 1, w, R(r));
        let i = emit(|a| a.lea(Width::W64, r, if let R(b) = rm { M(b, 3) } else { rm }));
        assert_eq!((i.mnemonic(), i.op_register(0)), (N::Lea, register(Width::W64, r)));
        let i = emit(|a| a.store(w, rm, r));
        assert_eq!(i.mnemonic(), N::Mov);
        is_rm(&i, 0, w, rm);
        is_rm(&i, 1, w, R(r));
        let i = emit(|a| a.store_constant(w, rm, -2));
        assert_eq!((i.mnemonic(), i.immediate(1) & w.mask()), (N::Mov, -2i64 as u64 & w.mask()));
        is_rm(&i, 0, w, rm);
    }
}

#[test]
fn loads_extend_as_they_say() {
    for (k, rm) in places().into_iter().enumerate() {
        let r = (k * 5 & 15) as u8;
        let rows = [
            (Width::W8, N::Movzx),
            (Width::W16, N::Movzx),
            (Width::W32, N::Mov),
            (Width::W64, N::Mov),
        ];
        for (w, name) in rows {
            let i = emit(|a| a.load(w, r, rm));
            assert_eq!(i.mnemonic(), name);
            is_rm(&i, 0, if w == Width::W64 { w } else { Width::W32 }, R(r));
            is_rm(&i, 1, w, rm);
        }
        for (from, w, name) in [
            (Width::W8, Width::W32, N::Movsx),
            (Width::W8, Width::W64, N::Movsx),
            (Width::W16, Width::W32, N::Movsx),
            (Width::W16, Width::W64, N::Movsx),
            (Width::W32, Width::W64, N::Movsxd),
        ] {
            let i = emit(|a| a.load_signed(from, w, r, rm));
            assert_eq!(i.mnemonic(), name);
            is_rm(&i, 0, w, R(r));
            is_rm(&i, 1, from, rm);
        }
    }
}

#[test]
fn operations_on_one_place_are_what_they_say() {
    for (k, rm) in places().into_iter().enumerate() {
        let (r, w) = ((k * 3 & 15) as u8, WIDTHS[k & 3]);
        for (op, name) in [
            (One::Not, N::Not),
            (One::Neg, N::Neg),
            (One::Mul, N::Mul),
            (One::Imul, N::Imul),
            (One::Div, N::Div),
            (One::Idiv, N::Idiv),
        ] {
            let i = emit(|a| a.one(op, w, rm));
            assert_eq!(i.mnemonic(), name);
            is_rm(&i, 0, w, rm);
        }
        for (op, name) in [
            (Shift::Rol, N::Rol),
            (Shift::Ror, N::Ror),
            (Shift::Shl, N::Shl),
            (Shift::Shr, N::Shr),
            (Shift::Sar, N::Sar),
        ] {
            let i = emit(|a| a.shift(op, w, rm, 5));
            assert_eq!((i.mnemonic(), i.immediate(1)), (name, 5));
            is_rm(&i, 0, w, rm);
            let i = emit(|a| a.shift_cl(op, w, rm));
            assert_eq!((i.mnemonic(), i.op_register(1)), (name, Register::CL));
            is_rm(&i, 0, w, rm);
        }
        for w in &WIDTHS[1..] {
            for (op, name) in
                [(Count::Popcnt, N::Popcnt), (Count::Tzcnt, N::Tzcnt), (Count::Lzcnt, N::Lzcnt)]
            {
                let i = emit(|a| a.count(op, *w, r, rm));
                assert_eq!(i.mnemonic(), name);
                is_rm(&i, 0, *w, R(r));
                is_rm(&i, 1, *w, rm);
            }
            let i = emit(|a| a.imul(*w, r, rm));
            assert_eq!(i.mnemonic(), N::Imul);
            is_rm(&i, 1, *w, rm);
            let i = emit(|a| a.cmov(k as u8, *w, r, rm));
            assert_eq!(i.condition_code() as u8, (k as u8 & 15) + 1);
            is_rm(&i, 0, *w, R(r));
            is_rm(&i, 1, *w, rm);
        }
        assert_eq!(emit(|a| a.jmp_to(rm)).mnemonic(), N::Jmp);
        assert_eq!(emit(|a| a.call(rm)).mnemonic(), N::Call);
    }
}

#[test]
fn constants_take_the_shortest_form_that_holds_them() {
    for r in 0..16 {
        for (k, len) in
            [(0, 5), (u32::MAX.into(), 5), (1 << 32, 10), (-1i64 as u64, 7), (1 << 63, 10)]
        {
            let mut a = Asm::default();
            a.constant(r, k);
            let i = decode(&a.code);
            assert!(a.code.len() <= len + 1 && i.mnemonic() == N::Mov, "{i:?}");
            let wide = i.op_register(0).size() == 8;
            let shown = if wide { i.immediate(1) } else { i.immediate(1) & 0xffff_ffff };
            assert_eq!((shown, i.op_register(0).number()), (k, r as usize));
        }
    }
}

#[test]
fn registers_alone_and_control_are_what_they_say() {
    for r in 0..16 {
        for w in WIDE {
            let i = emit(|a| a.bswap(w, r));
            assert_eq!((i.mnemonic(), i.op_register(0)), (N::Bswap, register(w, r)));
        }
        let i = emit(|a| a.push(r));
        assert_eq!((i.mnemonic(), i.op_register(0)), (N::Push, register(Width::W64, r)));
        let i = emit(|a| a.pop(r));
        assert_eq!((i.mnemonic(), i.op_register(0)), (N::Pop, register(Width::W64, r)));
        let i = emit(|a| a.set(r, r));
        assert_eq!((i.condition_code() as u8, i.op_register(0)), (r + 1, register(Width::W8, r)));
        let i = emit(|a| a.mov(r, 15 - r));
        assert_eq!(
            (i.op_register(0), i.op_register(1)),
            (register(Width::W64, r), register(Width::W64, 15 - r))
        );
    }
    assert_eq!(emit(Asm::ret).mnemonic(), N::Ret);
    let mut a = Asm::default();
    let (one, two) = (a.jcc(4), a.jmp());
    a.ret();
    a.land(one);
    a.ret();
    a.land(two);
    let mut d = Decoder::with_ip(64, &a.code, 0, DecoderOptions::NONE);
    let (i, j) = (d.decode(), d.decode());
    assert_eq!(
        (i.mnemonic(), i.near_branch64(), j.mnemonic(), j.near_branch64()),
        (N::Je, 12, N::Jmp, 13)
    );
}

#[test]
fn bits_and_double_shifts_are_encoded() {
    let ops =
        [(BitOp::Bt, N::Bt), (BitOp::Bts, N::Bts), (BitOp::Btr, N::Btr), (BitOp::Btc, N::Btc)];
    for (w, r, other) in WIDE.into_iter().flat_map(|w| (0..16).map(move |r| (w, r, 15 - r))) {
        for (op, name) in ops {
            let i = emit(|a| a.bit(op, w, r, other));
            assert_eq!((i.mnemonic(), i.op1_register()), (name, register(w, other)));
            is_rm(&i, 0, w, R(r));
            let i = emit(|a| a.bit_constant(op, w, r, 31));
            assert_eq!((i.mnemonic(), i.immediate8()), (name, 31));
            is_rm(&i, 0, w, R(r));
        }
        for (left, name) in [(true, N::Shld), (false, N::Shrd)] {
            let i = emit(|a| a.shift_double(left, w, r, other, 9));
            assert_eq!((i.mnemonic(), i.op1_register()), (name, register(w, other)));
            assert_eq!(i.immediate8(), 9);
            is_rm(&i, 0, w, R(r));
        }
        let i = emit(|a| a.low_bits(w, r, other, 11));
        let operands = [r, other, 11].map(|n| register(w, n));
        assert_eq!(i.mnemonic(), N::Bzhi);
        assert_eq!([i.op0_register(), i.op1_register(), i.op2_register()], operands);
    }
}
