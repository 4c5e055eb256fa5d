//! The unit's state in memory: FNSTENV, FLDENV, FNSAVE, FRSTOR.  SDM vol. 1, 8.1.10, figures 8-9 to 8-12.

use super::control::{control_word, reset, status_word, summary};
use super::*;
use crate::soft::f80::Class;

/// Whether the image has 32-bit fields (28 bytes) or 16-bit ones (14), and whether the pointers are linear addresses.
fn layout(s: &Interp<'_>, i: &Insn) -> (Width, bool) {
    let wide = matches!(i.bytes, 28 | 108);
    let m = s.c.mode;
    (if wide { Width::W32 } else { Width::W16 }, !m.has(Mode::PROTECTED) || m.has(Mode::VM86))
}

/// Two bits a physical register: valid, zero, special, empty.
fn tags(s: &Interp<'_>) -> u16 {
    let fpu = &s.c.state.fpu;
    (0..8).fold(0, |word, k| {
        let x = F80 { sig: fpu.sig[k], sign_exp: fpu.sexp[k] };
        let tag = match x.class() {
            _ if fpu.empty >> k & 1 != 0 => 3,
            Class::Zero => 1,
            Class::Normal => 0,
            _ => 2,
        };
        word | tag << (2 * k)
    })
}

/// The seven fields of the environment.
fn environment(s: &Interp<'_>, w: Width, linear: bool) -> [u64; 7] {
    let fpu = &s.c.state.fpu;
    let (cw, sw, tag) = (fpu.cw as u64, status_word(fpu) as u64, tags(s) as u64);
    let (op, ip, dp) = (fpu.op as u64 & 0x7ff, fpu.ip, fpu.dp);
    let (cs, ds) = (fpu.cs as u64, fpu.ds as u64);
    match (w, linear) {
        (Width::W16, false) => [cw, sw, tag, ip, cs, dp, ds].map(|x| x & 0xffff),
        (Width::W16, true) => {
            let (ip, dp) = (ip.wrapping_add(cs << 4), dp.wrapping_add(ds << 4));
            let high = |x: u64| (x >> 16 & 15) << 12;
            [cw, sw, tag, ip, high(ip) | op, dp, high(dp)].map(|x| x & 0xffff)
        }
        (_, false) => {
            // The upper halves of the short fields are reserved and read as ones.
            let r = 0xffff_0000;
            [r | cw, r | sw, r | tag, ip & 0xffff_ffff, cs | op << 16, dp & 0xffff_ffff, r | ds]
        }
        (_, true) => {
            let r = 0xffff_0000;
            let (ip, dp) = (ip.wrapping_add(cs << 4), dp.wrapping_add(ds << 4));
            let (low, high) = (|x: u64| x & 0xffff, |x: u64| (x >> 16 & 0xffff) << 12);
            [r | cw, r | sw, r | tag, r | low(ip), high(ip) | op, r | low(dp), high(dp)]
        }
    }
}

fn store_environment(s: &mut Interp<'_>, i: &Insn) -> Done {
    let (w, linear) = layout(s, i);
    for (k, v) in environment(s, w, linear).into_iter().enumerate() {
        s.x87_store(i, k as u64 * w.bytes(), w, v)?;
    }
    Ok(())
}

fn load_environment(s: &mut Interp<'_>, i: &Insn) -> Result<[u64; 7], Raised> {
    let (w, _) = layout(s, i);
    let mut e = [0; 7];
    for (k, v) in e.iter_mut().enumerate() {
        *v = s.x87_load(i, k as u64 * w.bytes(), w)?;
    }
    Ok(e)
}

fn set_environment(s: &mut Interp<'_>, i: &Insn, e: [u64; 7]) {
    let (w, linear) = layout(s, i);
    let fpu = &mut s.c.state.fpu;
    fpu.cw = control_word(e[0]);
    fpu.sw = e[1] as u16 & !0x3800;
    fpu.top = (e[1] >> 11 & 7) as u8;
    fpu.empty = (0..8).fold(0, |m, k| m | ((e[2] >> (2 * k) & 3 == 3) as u8) << k);
    let op = |x: u64| x as u16 & 0x7ff;
    match (w, linear) {
        (Width::W16, false) => {
            (fpu.ip, fpu.cs, fpu.dp, fpu.ds) = (e[3], e[4] as u16, e[5], e[6] as u16);
        }
        (Width::W16, true) => {
            (fpu.ip, fpu.cs, fpu.op) = (e[3] | e[4] >> 12 << 16, 0, op(e[4]));
            (fpu.dp, fpu.ds) = (e[5] | e[6] >> 12 << 16, 0);
        }
        (_, false) => {
            (fpu.ip, fpu.cs, fpu.op) = (e[3], e[4] as u16, op(e[4] >> 16));
            (fpu.dp, fpu.ds) = (e[5], e[6] as u16);
        }
        (_, true) => {
            (fpu.ip, fpu.cs, fpu.op) = (e[3] & 0xffff | (e[4] >> 12 & 0xffff) << 16, 0, op(e[4]));
            (fpu.dp, fpu.ds) = (e[5] & 0xffff | (e[6] >> 12 & 0xffff) << 16, 0);
        }
    }
    summary(fpu);
}

/// FNSTENV masks all exceptions after it.
pub fn fnstenv(s: &mut Interp<'_>, i: &Insn) -> Done {
    s.x87_no_wait()?;
    s.x87_probe_image(i, layout(s, i).0, Access::Write)?;
    store_environment(s, i)?;
    s.c.state.fpu.cw |= 0x3f;
    summary(&mut s.c.state.fpu);
    Ok(())
}
pub fn fldenv(s: &mut Interp<'_>, i: &Insn) -> Done {
    s.x87_wait()?;
    s.x87_probe_image(i, layout(s, i).0, Access::Read)?;
    let e = load_environment(s, i)?;
    set_environment(s, i, e);
    Ok(())
}
/// FNSAVE: environment, registers from ST0 on, then as FNINIT.
pub fn fnsave(s: &mut Interp<'_>, i: &Insn) -> Done {
    s.x87_no_wait()?;
    s.x87_probe_image(i, layout(s, i).0, Access::Write)?;
    store_environment(s, i)?;
    let start = layout(s, i).0.bytes() * 7;
    for n in 0..8 {
        let x = s.raw(n);
        s.store80(i, start + 10 * n as u64, x)?;
    }
    reset(&mut s.c.state.fpu);
    Ok(())
}
pub fn frstor(s: &mut Interp<'_>, i: &Insn) -> Done {
    s.x87_wait()?;
    s.x87_probe_image(i, layout(s, i).0, Access::Read)?;
    let e = load_environment(s, i)?;
    let start = layout(s, i).0.bytes() * 7;
    let mut registers = [F80::default(); 8];
    for (n, x) in registers.iter_mut().enumerate() {
        *x = s.load80(i, start + 10 * n as u64)?;
    }
    set_environment(s, i, e);
    let empty = s.c.state.fpu.empty;
    for (n, x) in registers.into_iter().enumerate() {
        s.set_st(n as u8, x);
    }
    s.c.state.fpu.empty = empty;
    Ok(())
}
