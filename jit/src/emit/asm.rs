//! x86-64 machine code, one instruction after the other: the integer forms that the baseline tier emits.  SDM 2, chapter 2.

use cpu::Width;

/// Host registers by number.
pub const RAX: u8 = 0;
pub const RCX: u8 = 1;
pub const RDX: u8 = 2;
pub const RBX: u8 = 3;
pub const RSP: u8 = 4;
pub const RSI: u8 = 6;
pub const RDI: u8 = 7;
pub const R8: u8 = 8;

// Conditions, by the numbers of the encoding, which are those of [`cpu::Cond`].
pub const OVERFLOW: u8 = 0;
pub const BELOW: u8 = 2;
pub const ABOVE_EQUAL: u8 = 3;
pub const EQUAL: u8 = 4;
pub const NOT_EQUAL: u8 = 5;
pub const BELOW_EQUAL: u8 = 6;
pub const ABOVE: u8 = 7;
pub const NEGATIVE: u8 = 8;
pub const LESS: u8 = 12;

/// A register or a place in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rm {
    R(u8),
    /// Base and displacement.
    M(u8, i32),
    /// Base, index (not RSP), log2 of its factor, displacement.
    X(u8, u8, u8, i32),
}
use Rm::*;

/// Operations that share their encoding; the numbers are the encoding's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Alu {
    Add = 0,
    Or = 1,
    Adc = 2,
    Sbb = 3,
    And = 4,
    Sub = 5,
    Xor = 6,
    Cmp = 7,
}

/// Shifts; the numbers are the encoding's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Shift {
    Rol = 0,
    Ror = 1,
    Shl = 4,
    Shr = 5,
    Sar = 7,
}

/// Operations on one operand, in rAX and rDX beyond [`One::Neg`]; the numbers are the encoding's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum One {
    Not = 2,
    Neg = 3,
    Mul = 4,
    Imul = 5,
    Div = 6,
    Idiv = 7,
}

/// What is done with a bit besides copying it to CF; the numbers are the encoding's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum BitOp {
    Bt = 4,
    Bts = 5,
    Btr = 6,
    Btc = 7,
}

/// Bit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Count {
    Popcnt = 0xB8,
    Tzcnt = 0xBC,
    Lzcnt = 0xBD,
}

/// A vector instruction, by what its encoding has.
#[derive(Clone, Copy, Debug)]
pub struct Vector {
    pub vex: bool,
    /// 256 bits.
    pub wide: bool,
    pub w: bool,
    /// 1 for 0x66, 2 for 0xF3, 3 for 0xF2.
    pub prefix: u8,
    /// 1 for 0F, 2 for 0F 38, 3 for 0F 3A.
    pub map: u8,
    pub opcode: u8,
    pub reg: u8,
    pub vvvv: u8,
    pub rm: Rm,
    pub imm: Option<u8>,
}
impl Default for Vector {
    fn default() -> Vector {
        let (vex, wide, w, rm) = (false, false, false, R(0));
        Vector { vex, wide, w, prefix: 0, map: 1, opcode: 0, reg: 0, vvvv: 0, rm, imm: None }
    }
}

/// A place in the code whose 32-bit distance is filled in later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole(pub u32);

/// What in code is not the same each time: code that is kept gets it anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// 32 bits: where the block's counter is.
    Counter,
    /// 64 bits: the address of the instruction with this number.
    Insn(u32),
    /// 32 bits: the number in RAM of the page so many bytes from the code's RAM offset.
    Page(i64),
}
impl Mark {
    /// Bytes of what is marked.
    pub fn bytes(self) -> usize {
        if matches!(self, Mark::Insn(_)) { 8 } else { 4 }
    }
}

/// Code under construction: hot, and behind it cold, which goes to another place.
#[derive(Default)]
pub struct Asm {
    pub code: Vec<u8>,
    /// Where the cold code begins.
    pub cut: Option<u32>,
    /// Distances from one of the two to the other.
    pub crossing: Vec<u32>,
    pub marks: Vec<(u32, Mark)>,
}

/// How an instruction is put together, besides its operands.
#[derive(Clone, Copy)]
struct Form {
    /// 0x66, 0xF2, 0xF3; 0 for none.
    prefix: u8,
    wide: bool,
    /// Its register, and its register operand: as bytes, 4-7 are SPL to DIL, which takes a REX.
    byte_reg: bool,
    byte_rm: bool,
    opcode: Opcode,
}
impl Form {
    const fn of(opcode: Opcode) -> Form {
        Form { prefix: 0, wide: false, byte_reg: false, byte_rm: false, opcode }
    }
}
/// Bytes of an opcode, the first one lowest, and how many there are.
#[derive(Clone, Copy)]
struct Opcode(u32, u32);
/// An instruction's first bytes: as many as there may be before the displacement.
#[derive(Clone, Copy, Default)]
struct Head {
    bytes: u64,
    n: u32,
}
impl Head {
    fn add(&mut self, byte: u8) {
        self.bytes |= u64::from(byte) << (8 * self.n);
        self.n += 1;
    }
}

impl Asm {
    pub fn with_room(bytes: usize) -> Asm {
        Asm { code: Vec::with_capacity(bytes), ..Asm::default() }
    }
    pub fn here(&self) -> u32 {
        self.code.len() as u32
    }
    fn put4(&mut self, n: i32) {
        self.code.extend_from_slice(&n.to_le_bytes());
    }
    /// The low `n` bytes: all are written, which takes one step, and the rest goes.
    fn put(&mut self, bytes: u128, n: u32) {
        let end = self.code.len() + n as usize;
        self.code.extend_from_slice(&bytes.to_le_bytes());
        self.code.truncate(end);
    }

    fn form(&mut self, f: Form, reg: u8, rm: Rm) {
        let mut head = Head::default();
        if f.prefix != 0 {
            head.add(f.prefix);
        }
        let (b, x) = match rm {
            R(r) | M(r, _) => (r, 0),
            X(base, index, ..) => (base, index),
        };
        let rex = 0x40 | (f.wide as u8) << 3 | (reg >> 3) << 2 | (x >> 3) << 1 | b >> 3;
        let low = |r: u8| (4..8).contains(&r);
        let named = f.byte_reg && low(reg) || f.byte_rm && matches!(rm, R(r) if low(r));
        if rex != 0x40 || named {
            head.add(rex);
        }
        let Opcode(bytes, n) = f.opcode;
        head.bytes |= u64::from(bytes) << (8 * head.n);
        head.n += n;
        self.operands(head, reg, rm);
    }
    /// ModRM and what belongs to it, behind what comes before it.
    fn operands(&mut self, mut head: Head, reg: u8, rm: Rm) {
        let reg = (reg & 7) << 3;
        let (base, sib, disp) = match rm {
            R(r) => {
                head.add(0xC0 | reg | r & 7);
                return self.put(head.bytes.into(), head.n);
            }
            M(base, disp) => (base, (base & 7 == 4).then_some(0x24), disp),
            X(base, index, scale, disp) => {
                (base, Some(scale << 6 | (index & 7) << 3 | base & 7), disp)
            }
        };
        // Without a displacement RBP and R13 would mean something else.
        let (size, bytes) = match disp {
            0 if base & 7 != 5 => (0, 0),
            -128..=127 => (1, 1),
            _ => (2, 4),
        };
        head.add(size << 6 | reg | if sib.is_some() { 4 } else { base & 7 });
        if let Some(sib) = sib {
            head.add(sib);
        }
        let disp = u128::from(disp as u32) << (8 * head.n);
        self.put(u128::from(head.bytes) | disp, head.n + bytes);
    }
    /// An opcode whose lowest bit says "not bytes".
    fn sized(&mut self, w: Width, opcode: u8, reg: u8, rm: Rm, both: bool) {
        let byte = w == Width::W8;
        let f = Form {
            prefix: if w == Width::W16 { 0x66 } else { 0 },
            wide: w == Width::W64,
            byte_reg: byte && both,
            byte_rm: byte,
            opcode: Opcode((opcode | !byte as u8).into(), 1),
        };
        self.form(f, reg, rm);
    }
    /// An opcode of two bytes at 16, 32 or 64 bits.
    fn two(&mut self, w: Width, prefix: u8, opcode: u8, reg: u8, rm: Rm, byte_rm: bool) {
        let f = Form {
            prefix: 0,
            wide: w == Width::W64,
            byte_reg: false,
            byte_rm,
            opcode: Opcode(0x0F | u32::from(opcode) << 8, 2),
        };
        if w == Width::W16 {
            self.code.push(0x66);
        }
        self.form(Form { prefix, ..f }, reg, rm);
    }

    // Moves.

    /// Loads: 8 and 16 bits are zero-extended.
    pub fn load(&mut self, w: Width, to: u8, from: Rm) {
        match w {
            Width::W8 => self.two(Width::W32, 0, 0xB6, to, from, true),
            Width::W16 => self.two(Width::W32, 0, 0xB7, to, from, false),
            _ => self.sized(w, 0x8A, to, from, true),
        }
    }
    /// Sign-extends from one width to a larger one of 32 or 64 bits.
    pub fn load_signed(&mut self, from: Width, w: Width, to: u8, rm: Rm) {
        match from {
            Width::W8 => self.two(w, 0, 0xBE, to, rm, true),
            Width::W16 => self.two(w, 0, 0xBF, to, rm, false),
            _ => {
                let wide = w == Width::W64;
                self.form(Form { wide, ..Form::of(Opcode(0x63, 1)) }, to, rm)
            }
        }
    }
    pub fn store(&mut self, w: Width, to: Rm, from: u8) {
        self.sized(w, 0x88, from, to, true);
    }
    fn vector(&mut self, prefix: u8, opcode: u8, reg: u8, rm: Rm) {
        self.two(Width::W32, prefix, opcode, reg, rm, false);
    }
    /// The low half of a vector register, or all of it, whatever the alignment. All of it: on hosts that have it.
    pub fn load_wide(&mut self, whole: bool, to: u8, from: Rm) {
        self.move_wide(whole, 0x10, to, from);
    }
    pub fn store_wide(&mut self, whole: bool, to: Rm, from: u8) {
        self.move_wide(whole, 0x11, from, to);
    }
    fn move_wide(&mut self, wide: bool, opcode: u8, reg: u8, rm: Rm) {
        let vex = super::vector::avx();
        self.vector_insn(Vector { vex, wide, map: 1, opcode, reg, rm, ..Vector::default() });
    }
    /// A vector instruction.  SDM 2, 2.3.
    pub fn vector_insn(&mut self, v: Vector) {
        let prefix = [0, 0x66, 0xF3, 0xF2][usize::from(v.prefix & 3)];
        let opcode = u32::from(v.opcode);
        if v.vex {
            let (b, x) = match v.rm {
                R(r) | M(r, _) => (r >> 3, 0),
                X(base, index, ..) => (base >> 3, index >> 3),
            };
            let (r, last) = (!v.reg & 8, (!v.vvvv & 15) << 3 | (v.wide as u8) << 2 | v.prefix);
            let mut head = Head::default();
            let mut add = |bytes: &[u8]| bytes.iter().for_each(|b| head.add(*b));
            if x == 0 && b == 0 && v.map == 1 && !v.w {
                add(&[0xC5, r << 4 | last, v.opcode]);
            } else {
                let inverted = (!x & 1) << 6 | (!b & 1) << 5;
                add(&[0xC4, r << 4 | inverted | v.map, (v.w as u8) << 7 | last, v.opcode]);
            }
            self.operands(head, v.reg, v.rm);
        } else {
            let opcode = match v.map & 3 {
                0 => Opcode(opcode, 1),
                1 => Opcode(0x0F | opcode << 8, 2),
                2 => Opcode(0x380F | opcode << 16, 3),
                _ => Opcode(0x3A0F | opcode << 16, 3),
            };
            let f = Form { prefix, wide: v.w, byte_reg: false, byte_rm: false, opcode };
            self.form(f, v.reg, v.rm);
        }
        if let Some(imm) = v.imm {
            self.code.push(imm);
        }
    }
    pub fn zero_upper(&mut self) {
        self.code.extend([0xC5, 0xF8, 0x77]);
    }
    /// Sets MXCSR.
    pub fn load_mxcsr(&mut self, from: Rm) {
        self.vector(0, 0xAE, 2, from);
    }
    pub fn mov(&mut self, to: u8, from: u8) {
        self.sized(Width::W64, 0x8A, to, R(from), true);
    }
    /// A constant in the shortest way that leaves the flags alone.
    pub fn constant(&mut self, to: u8, k: u64) {
        if let Ok(k) = u32::try_from(k) {
            if to >= 8 {
                self.code.push(0x41);
            }
            self.code.push(0xB8 | to & 7);
            self.put4(k as i32);
        } else if let Ok(k) = i32::try_from(k as i64) {
            self.sized(Width::W64, 0xC6, 0, R(to), false);
            self.put4(k);
        } else {
            self.code.push(0x48 | to >> 3);
            self.code.push(0xB8 | to & 7);
            self.code.extend(k.to_le_bytes());
        }
    }
    /// A constant in the longest way, which is what the mark says.
    pub fn marked(&mut self, to: u8, k: u64, mark: Mark) {
        self.code.push(0x48 | to >> 3);
        self.code.push(0xB8 | to & 7);
        self.mark(0, mark);
        self.code.extend(k.to_le_bytes());
    }
    /// So many bytes before the end is what the mark says.
    pub fn mark(&mut self, back: u32, mark: Mark) {
        self.marks.push((self.here() - back, mark));
    }
    /// Gives all marked places what is in them now.
    pub fn fill(&mut self, value: impl Fn(Mark) -> u64) {
        for &(at, mark) in &self.marks {
            let n = mark.bytes();
            self.code[at as usize..][..n].copy_from_slice(&value(mark).to_le_bytes()[..n]);
        }
    }
    /// A small constant in the fewest bytes.
    pub fn small(&mut self, to: u8, k: i8) {
        self.push_small(k);
        self.pop(to);
    }
    /// Stores a constant, sign-extended from 32 bits.
    pub fn store_constant(&mut self, w: Width, to: Rm, k: i32) {
        self.sized(w, 0xC6, 0, to, false);
        self.immediate(w, k);
    }
    fn immediate(&mut self, w: Width, k: i32) {
        match w {
            Width::W8 => self.code.push(k as u8),
            Width::W16 => self.code.extend((k as i16).to_le_bytes()),
            _ => self.put4(k),
        }
    }
    pub fn lea(&mut self, w: Width, to: u8, from: Rm) {
        let wide = w == Width::W64;
        self.form(Form { wide, ..Form::of(Opcode(0x8D, 1)) }, to, from);
    }

    // Arithmetic.

    /// `to op= from`, the register being the target.
    pub fn alu(&mut self, op: Alu, w: Width, to: u8, from: Rm) {
        self.sized(w, (op as u8) << 3 | 2, to, from, true);
    }
    /// The same with the place being the target.
    pub fn alu_to(&mut self, op: Alu, w: Width, to: Rm, from: u8) {
        self.sized(w, (op as u8) << 3, from, to, true);
    }
    pub fn alu_constant(&mut self, op: Alu, w: Width, to: Rm, k: i32) {
        if w != Width::W8 && i8::try_from(k).is_ok() {
            self.sized(w, 0x82, op as u8, to, false);
            return self.code.push(k as u8);
        }
        self.sized(w, 0x80, op as u8, to, false);
        self.immediate(w, k);
    }
    pub fn test(&mut self, w: Width, a: Rm, b: u8) {
        self.sized(w, 0x84, b, a, true);
    }
    /// Tests the low byte.
    pub fn test_constant(&mut self, w: Width, rm: Rm, k: i32) {
        self.sized(w, 0xF6, 0, rm, false);
        match w {
            Width::W8 => self.code.push(k as u8),
            Width::W16 => self.code.extend((k as u16).to_le_bytes()),
            _ => self.put4(k),
        }
    }
    pub fn one(&mut self, op: One, w: Width, rm: Rm) {
        self.sized(w, 0xF6, op as u8, rm, false);
    }
    /// `to *= from` at 16 bits and more.
    pub fn imul(&mut self, w: Width, to: u8, from: Rm) {
        self.two(w, 0, 0xAF, to, from, false);
    }
    pub fn shift(&mut self, op: Shift, w: Width, rm: Rm, n: u8) {
        self.sized(w, 0xC0, op as u8, rm, false);
        self.code.push(n);
    }
    /// By CL.
    pub fn shift_cl(&mut self, op: Shift, w: Width, rm: Rm) {
        self.sized(w, 0xD2, op as u8, rm, false);
    }
    /// `to = a shift n` by a count in any register; the host's flags stay. For hosts with BMI2.
    pub fn shift_x(&mut self, op: Shift, w: Width, to: u8, a: u8, n: u8) {
        let pp = match op {
            Shift::Shl => 1,
            Shift::Sar => 2,
            _ => 3,
        };
        self.bmi(w, pp, 0xF7, to, a, n);
    }
    /// The bits of a register below the number in another's low byte. For hosts with BMI2.
    pub fn low_bits(&mut self, w: Width, to: u8, from: u8, n: u8) {
        self.bmi(w, 0, 0xF5, to, from, n);
    }
    /// So many bits of a register from a certain one on, by the two low bytes of another. For hosts with BMI1.
    pub fn bits(&mut self, w: Width, to: u8, from: u8, by: u8) {
        self.bmi(w, 0, 0xF7, to, from, by);
    }
    /// `hi:lo = rDX * from`, unsigned; the host's flags stay. For hosts with BMI2.
    pub fn mulx(&mut self, w: Width, hi: u8, lo: u8, from: u8) {
        self.bmi(w, 3, 0xF6, hi, from, lo);
    }
    fn bmi(&mut self, w: Width, pp: u8, opcode: u8, reg: u8, rm: u8, vvvv: u8) {
        let wide = u8::from(w == Width::W64) << 7;
        self.code.extend([0xC4, !(reg >> 3) << 7 | 0x40 | (!(rm >> 3) & 1) << 5 | 2]);
        self.code.extend([wide | (!vvvv & 15) << 3 | pp, opcode, 0xC0 | (reg & 7) << 3 | rm & 7]);
    }
    /// CF becomes a bit of a register.
    pub fn bit_test(&mut self, r: u8, bit: u8) {
        self.bit_constant(BitOp::Bt, Width::W32, r, bit);
    }
    pub fn bit_constant(&mut self, op: BitOp, w: Width, r: u8, bit: u8) {
        self.two(w, 0, 0xBA, op as u8, R(r), false);
        self.code.push(bit);
    }
    /// The bit that another register says, modulo the width.
    pub fn bit(&mut self, op: BitOp, w: Width, r: u8, bit: u8) {
        self.two(w, 0, 0x83 | (op as u8) << 3, bit, R(r), false);
    }
    /// Shifts `to`, and what comes in is from another register.
    pub fn shift_double(&mut self, left: bool, w: Width, to: u8, from: u8, n: u8) {
        self.two(w, 0, if left { 0xA4 } else { 0xAC }, from, R(to), false);
        self.code.push(n);
    }
    /// CF becomes this.
    pub fn carry(&mut self, on: bool) {
        self.code.push(0xF8 | u8::from(on));
    }
    /// One step of CRC-32C. For hosts with SSE4.2.
    pub fn crc32(&mut self, w: Width, to: u8, from: u8) {
        let f = Form {
            prefix: 0xF2,
            wide: w == Width::W64,
            byte_reg: false,
            byte_rm: w == Width::W8,
            opcode: Opcode(0xF0_380F | u32::from(w != Width::W8) << 16, 3),
        };
        if w == Width::W16 {
            self.code.push(0x66);
        }
        self.form(f, to, R(from));
    }
    pub fn count(&mut self, op: Count, w: Width, to: u8, from: Rm) {
        self.two(w, 0xF3, op as u8, to, from, false);
    }
    /// Reverses the bytes, at 32 and 64 bits.
    pub fn bswap(&mut self, w: Width, r: u8) {
        let rex = 0x40 | ((w == Width::W64) as u8) << 3 | r >> 3;
        if rex != 0x40 {
            self.code.push(rex);
        }
        self.code.extend([0x0F, 0xC8 | r & 7]);
    }

    // x87.

    /// An instruction with an operand in memory, by its opcode and the number beside it.
    pub fn x87(&mut self, opcode: u8, n: u8, place: Rm) {
        self.form(Form::of(Opcode(opcode.into(), 1)), n, place);
    }
    /// One without.
    pub fn bytes(&mut self, code: &[u8]) {
        self.code.extend(code);
    }

    // Conditions: the numbers are those of [`cpu::Cond`].

    pub fn set(&mut self, cond: u8, r: u8) {
        self.two(Width::W32, 0, 0x90 | cond & 15, 0, R(r), true);
    }
    pub fn cmov(&mut self, cond: u8, w: Width, to: u8, from: Rm) {
        self.two(w, 0, 0x40 | cond & 15, to, from, false);
    }

    // Control.

    pub fn jcc(&mut self, cond: u8) -> Hole {
        self.code.extend([0x0F, 0x80 | cond & 15]);
        self.put4(0);
        Hole(self.here() - 4)
    }
    pub fn jmp(&mut self) -> Hole {
        self.code.push(0xE9);
        self.put4(0);
        Hole(self.here() - 4)
    }
    pub fn call_near(&mut self) -> Hole {
        self.code.push(0xE8);
        self.put4(0);
        Hole(self.here() - 4)
    }
    /// To code that is there already.
    pub fn jmp_back(&mut self, to: u32) {
        let hole = self.jmp();
        self.aim(hole, to);
    }
    pub fn jmp_to(&mut self, rm: Rm) {
        self.control(4, rm);
    }
    pub fn call(&mut self, rm: Rm) {
        self.control(2, rm);
    }
    fn control(&mut self, n: u8, rm: Rm) {
        self.form(Form::of(Opcode(0xFF, 1)), n, rm);
    }
    pub fn ret(&mut self) {
        self.code.push(0xC3);
    }
    pub fn push(&mut self, r: u8) {
        if r >= 8 {
            self.code.push(0x41);
        }
        self.code.push(0x50 | r & 7);
    }
    pub fn push_small(&mut self, k: i8) {
        self.code.extend([0x6A, k as u8]);
    }
    /// Adds or subtracts 1, which leaves CF alone.
    pub fn step(&mut self, down: bool, w: Width, to: Rm) {
        self.sized(w, 0xFE, down as u8, to, false);
    }
    /// The flags from a place in memory.
    pub fn load_flags(&mut self, from: Rm) {
        self.control(6, from);
        self.code.push(0x9D);
    }
    pub fn push_flags(&mut self) {
        self.code.push(0x9C);
    }
    pub fn pop(&mut self, r: u8) {
        if r >= 8 {
            self.code.push(0x41);
        }
        self.code.push(0x58 | r & 7);
    }
    /// Makes a hole's jump go to what comes next.
    pub fn land(&mut self, hole: Hole) {
        self.aim(hole, self.here());
    }
    fn aim(&mut self, hole: Hole, to: u32) {
        let at = hole.0 as usize;
        let distance = to as i32 - (hole.0 as i32 + 4);
        self.code[at..at + 4].copy_from_slice(&distance.to_le_bytes());
        if self.cut.is_some_and(|cut| (hole.0 < cut) != (to < cut)) {
            self.crossing.push(hole.0);
        }
    }

    // Hot and cold.

    /// What comes from now on is cold.
    pub fn cold(&mut self) {
        self.cut = Some(self.here());
    }
    /// Lengths of the hot and the cold code.
    pub fn lengths(&self) -> (usize, usize) {
        let hot = self.cut.map_or(self.code.len(), |cut| cut as usize);
        (hot, self.code.len() - hot)
    }
    /// The two, for places that are so many bytes farther apart than they are here.
    pub fn split(&mut self, farther: i32) -> (&[u8], &[u8]) {
        let (hot, _) = self.lengths();
        for at in std::mem::take(&mut self.crossing) {
            let at = at as usize;
            let bytes = [0, 1, 2, 3].map(|n| self.code[at + n]);
            let more = if at < hot { farther } else { -farther };
            let distance = i32::from_le_bytes(bytes).wrapping_add(more);
            self.code[at..at + 4].copy_from_slice(&distance.to_le_bytes());
        }
        self.code.split_at(hot)
    }
}

#[cfg(test)]
#[path = "asm/test.rs"]
mod test;
