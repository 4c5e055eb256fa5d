//! PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM.  SDM 1, 12.8 and SDM 2B, 4.1.

use crate::vector::Vector;
use crate::{Insn, Interp, Raised, Width, flags, lanes};

/// Both strings as signed or unsigned elements, with their lengths.
struct Strings {
    a: [i32; 16],
    b: [i32; 16],
    /// Elements that count.
    len_a: usize,
    len_b: usize,
    /// Elements in a register: 16 or 8.
    n: usize,
}

/// Elements of the format in bits 1:0 of the immediate.
fn elements(v: u128, imm: u8) -> [i32; 16] {
    match imm & 3 {
        0 => v.to_le_bytes().map(|x| x as i32),
        2 => v.to_le_bytes().map(|x| x as i8 as i32),
        f => {
            let w = lanes::w::split(v);
            std::array::from_fn(|n| if f == 1 { w[n & 7] as i32 } else { w[n & 7] as i16 as i32 })
        }
    }
}

impl Strings {
    /// Bit n: whether element n of `b` matches, by the aggregation of bits 3:2.  Table 4-1 and 4.1.6.
    fn matches(&self, imm: u8) -> u32 {
        let Strings { a, b, len_a, len_b, n } = *self;
        (0..n)
            .filter(|&j| match imm >> 2 & 3 {
                // Equal any: one of the set `a`.
                0 => j < len_b && a[..len_a].contains(&b[j]),
                // Ranges: between one of the pairs in `a`.
                1 => j < len_b && a[..len_a & !1].chunks(2).any(|r| r[0] <= b[j] && b[j] <= r[1]),
                // Equal each: where both have ended they are equal, where one has they are not.
                2 => match (j < len_a, j < len_b) {
                    (true, true) => a[j] == b[j],
                    (x, y) => x == y,
                },
                // Equal ordered: `a` begins here. What runs past the register is taken as equal.
                _ => (0..len_a.min(n - j)).all(|k| j + k < len_b && a[k] == b[j + k]),
            })
            .fold(0, |m, j| m | 1 << j)
    }

    /// The same after the polarity of bits 5:4.
    fn result(&self, imm: u8) -> u32 {
        let (m, all) = (self.matches(imm), (1u32 << self.n) - 1);
        match imm >> 4 & 3 {
            1 => m ^ all,
            3 => m ^ ((1u32 << self.len_b) - 1),
            _ => m,
        }
    }
}

/// Reads the operands; `explicit` lengths are in EAX and EDX (RAX and RDX with REX.W), else a zero element ends a string.
fn compare(s: &mut Interp<'_>, i: &Insn, explicit: bool) -> Result<(u32, usize), Raised> {
    let imm = i.imm as u8;
    let b = crate::sem::simd::read_from(s, i, 1, false)?[0];
    let a = crate::sem::simd::read_from(s, i, 0, false)?[0];
    let n = if imm & 1 == 0 { 16 } else { 8 };
    let (a, b) = (elements(a, imm), elements(b, imm));
    let (len_a, len_b) = if explicit {
        use iced_x86::Mnemonic as M;
        let wide = matches!(
            i.iced().mnemonic(),
            M::Pcmpestri64 | M::Pcmpestrm64 | M::Vpcmpestri64 | M::Vpcmpestrm64
        );
        let w = if wide { Width::W64 } else { Width::W32 };
        let len = |r: usize| {
            let v = crate::sem::signed(w, s.c.state.gpr[r]);
            v.unsigned_abs().min(n as u64) as usize
        };
        (len(0), len(2))
    } else {
        let len = |v: &[i32; 16]| v[..n].iter().position(|x| *x == 0).unwrap_or(n);
        (len(&a), len(&b))
    };
    let r = Strings { a, b, len_a, len_b, n }.result(imm);
    let bit = |on: bool, f: u64| if on { f } else { 0 };
    let f = bit(r != 0, flags::CF)
        | bit(len_b < n, flags::ZF)
        | bit(len_a < n, flags::SF)
        | bit(r & 1 != 0, flags::OF);
    s.c.state.lazy = flags::Lazy::raw(f);
    Ok((r, n))
}

/// The number of the first or last match to ECX; the number of elements if there is none.
fn index(s: &mut Interp<'_>, i: &Insn, explicit: bool) -> Result<(), Raised> {
    let (r, n) = compare(s, i, explicit)?;
    s.c.state.gpr[1] = match r {
        0 => n as u64,
        _ if i.imm & 0x40 == 0 => r.trailing_zeros() as u64,
        _ => 31 - r.leading_zeros() as u64,
    };
    Ok(())
}

/// The matches to XMM0, as bits or as whole elements.
fn mask(s: &mut Interp<'_>, i: &Insn, explicit: bool) -> Result<(), Raised> {
    let (r, n) = compare(s, i, explicit)?;
    let v = match (i.imm & 0x40, n) {
        (0, _) => r as u128,
        (_, 16) => {
            u128::from_le_bytes(std::array::from_fn(|k| 0u8.wrapping_sub((r >> k & 1) as u8)))
        }
        _ => lanes::w::join(std::array::from_fn(|k| 0u16.wrapping_sub((r >> k & 1) as u16))),
    };
    s.set_x(0, 0, v);
    if i.vex() {
        s.set_x(0, 1, 0);
    }
    Ok(())
}

pub fn pcmpestri(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    index(s, i, true)
}
pub fn pcmpestrm(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    mask(s, i, true)
}
pub fn pcmpistri(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    index(s, i, false)
}
pub fn pcmpistrm(s: &mut Interp<'_>, i: &Insn) -> Result<(), Raised> {
    mask(s, i, false)
}
