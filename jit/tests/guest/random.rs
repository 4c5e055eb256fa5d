//! Programs made by chance: blocks that branch among each other, routines that call later ones. They run for ever.

use crate::guest::{Chance, DATA, DEVICE, asm};
use iced_x86::IcedError;
use iced_x86::code_asm::*;

/// Registers that anything may happen to: not RSP, RDI (the data) and RSI (a device).
const WIDE: [AsmRegister64; 13] = [
    gpr64::rax,
    gpr64::rcx,
    gpr64::rdx,
    gpr64::rbx,
    gpr64::rbp,
    gpr64::r8,
    gpr64::r9,
    gpr64::r10,
    gpr64::r11,
    gpr64::r12,
    gpr64::r13,
    gpr64::r14,
    gpr64::r15,
];
const NARROW: [AsmRegister32; 13] = [
    gpr32::eax,
    gpr32::ecx,
    gpr32::edx,
    gpr32::ebx,
    gpr32::ebp,
    gpr32::r8d,
    gpr32::r9d,
    gpr32::r10d,
    gpr32::r11d,
    gpr32::r12d,
    gpr32::r13d,
    gpr32::r14d,
    gpr32::r15d,
];
const VECTORS: [AsmRegisterXmm; 6] =
    [xmm::xmm0, xmm::xmm1, xmm::xmm2, xmm::xmm3, xmm::xmm8, xmm::xmm15];

/// One instruction, or a few that belong together.
fn piece(a: &mut CodeAssembler, c: &mut Chance) -> Result<(), IcedError> {
    let (x, y, n, m) = (c.of(&WIDE), c.of(&WIDE), c.of(&NARROW), c.of(&NARROW));
    let (v, w) = (c.of(&VECTORS), c.of(&VECTORS));
    let at = rdi + c.below(0x3000) as i32;
    match c.below(30) {
        0 => a.add(x, y),
        1 => a.sub(n, m),
        2 => a.xor(x, y),
        3 => a.imul_2(x, y),
        4 => a.lea(x, y + x * 4 + c.below(99) as i32),
        5 => a.mov(n, c.below(1 << 31) as i32),
        6 => a.mov(x, y),
        7 => a.mov(qword_ptr(at), x),
        8 => a.mov(x, qword_ptr(at)),
        9 => a.add(dword_ptr(at), n),
        10 => a.adc(x, qword_ptr(at)),
        11 => a.cmp(x, y),
        12 => a.cmovb(x, y),
        13 => a.inc(n),
        14 => a.shl(n, c.below(33) as u32),
        15 => {
            a.mov(ecx, n)?;
            a.shr(x, cl)
        }
        16 => a.rol(n, c.below(20) as u32),
        17 => a.bt(x, y),
        18 => a.setl(bl),
        19 => {
            a.push(x)?;
            a.pop(y)
        }
        20 => a.movzx(n, byte_ptr(at)),
        21 => a.movsx(x, word_ptr(at)),
        22 => a.mov(byte_ptr(at), dl),
        23 => a.paddd(v, w),
        24 => a.movdqu(v, xmmword_ptr(at)),
        25 => a.movdqu(xmmword_ptr(at), v),
        26 => a.pxor(v, w),
        27 => a.movq(x, v),
        28 => a.addsd(v, w),
        _ if c.below(8) == 0 => a.mov(x, qword_ptr(rsi)),
        _ => a.test(x, y),
    }
}

/// A few pieces, then perhaps a branch to one of the places.
fn block(
    a: &mut CodeAssembler,
    c: &mut Chance,
    places: &[CodeLabel],
    routines: &[CodeLabel],
) -> Result<(), IcedError> {
    for _ in 0..c.below(7) {
        piece(a, c)?;
    }
    if !routines.is_empty() && c.below(3) == 0 {
        a.call(c.of(routines))?;
    }
    if places.is_empty() {
        return Ok(());
    }
    let to = c.of(places);
    match c.below(8) {
        0 => a.je(to),
        1 => a.jb(to),
        2 => a.jg(to),
        3 => a.js(to),
        4 => a.jp(to),
        5 => a.jno(to),
        _ => Ok(()),
    }
}

/// A program. Different seeds give different ones.
pub fn program(seed: u64) -> Vec<u8> {
    let c = &mut Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    asm(|a| {
        let mut routines: Vec<CodeLabel> = (0..c.below(4)).map(|_| a.create_label()).collect();
        let mut top = a.create_label();
        a.mov(rdi, DATA)?;
        a.mov(rsi, DEVICE)?;
        a.jmp(top)?;
        for n in 0..routines.len() {
            a.set_label(&mut routines[n])?;
            a.dec(rbx)?;
            // Within a routine only forwards.
            let mut ends: Vec<CodeLabel> = (0..1 + c.below(3)).map(|_| a.create_label()).collect();
            for k in 0..ends.len() {
                let (later, ahead) = (routines[n + 1..].to_vec(), ends[k..].to_vec());
                block(a, c, &ahead, &later)?;
                block(a, c, &ahead, &later)?;
                a.set_label(&mut ends[k])?;
                a.nop()?;
            }
            a.ret()?;
        }
        let mut places: Vec<CodeLabel> = (0..2 + c.below(8)).map(|_| a.create_label()).collect();
        a.set_label(&mut top)?;
        a.inc(r14)?;
        for n in 0..places.len() {
            a.set_label(&mut places[n])?;
            let all = places.clone();
            a.inc(rbp)?;
            block(a, c, &all, &routines)?;
            block(a, c, &all, &routines)?;
        }
        // A loop that the branches leave is seldom left for good.
        a.add(r15, 0x1357)?;
        a.jmp(top)
    })
}
