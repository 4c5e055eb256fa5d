//! The vector words answered with numbers.

use super::{Conv, F1, F2, F3, Fmt, Form, Lane, Shift, Vector, X1, X2, X3};
use crate::lanes::{self, float};
use crate::{Access, Exception, Interp, Raised, Res, SegReg, Width};

/// An MXCSR flag or fault after a floating-point word.
type Done<T> = (T, float::Outcome);

impl Interp<'_> {
    /// Notes MXCSR flags; #XM if one is unmasked, or #UD if the system does not take those.  SDM 3A, 2.5.
    #[inline(always)]
    fn settle<T>(&mut self, (v, o): Done<T>) -> Result<T, Raised> {
        self.c.state.mxcsr |= o.sticky as u32;
        if o.fault {
            let taken = self.c.state.cr4 & 1 << 10 != 0;
            return self.raise(if taken { Exception::XM } else { Exception::UD });
        }
        Ok(v)
    }
    #[inline(always)]
    fn vector_at(
        &mut self,
        seg: SegReg,
        at: u64,
        bytes: u64,
        aligned: bool,
        a: Access,
    ) -> Result<u64, Raised> {
        // Alignment is looked at before the address is checked otherwise.
        if aligned {
            let flat = self.c.mode.long64() && !matches!(seg, SegReg::Fs | SegReg::Gs);
            let base = if flat { 0 } else { self.c.state.seg[seg as usize].base };
            if at.wrapping_add(base) & (bytes - 1) != 0 {
                return self.raise(Exception::GP0);
            }
        }
        self.linear(seg, at, bytes, a)
    }
    /// A linear address further on; outside long mode they wrap at 4 GiB.
    #[inline(always)]
    fn further(&self, la: u64, by: u64) -> u64 {
        let to = la.wrapping_add(by);
        if self.c.state.long() { to } else { to & 0xffff_ffff }
    }
    #[inline(always)]
    fn load_16(&mut self, la: u64) -> Result<u128, Raised> {
        if let Some(v) = self.c.tlb.read_128(self.c.mode.data_set(), la) {
            return Ok(v);
        }
        let lo = self.load_linear(la, Width::W64)?;
        let hi = self.load_linear(self.further(la, 8), Width::W64)?;
        Ok(lo as u128 | (hi as u128) << 64)
    }
    /// Writes where [`Interp::probe`] has been.
    #[inline(always)]
    fn store_16(&mut self, la: u64, v: u128) -> Result<(), Raised> {
        if self.c.tlb.write_128(self.c.mode.data_set(), la, v) {
            return Ok(());
        }
        self.store_linear(la, Width::W64, v as u64)?;
        self.store_linear(self.further(la, 8), Width::W64, (v >> 64) as u64)
    }
}

impl Vector for Interp<'_> {
    type X = u128;

    #[inline(always)]
    fn get_x(&mut self, n: u8, half: u8) -> u128 {
        self.c.state.ymm[n as usize & 15][half as usize & 1]
    }
    #[inline(always)]
    fn set_x(&mut self, n: u8, half: u8, v: u128) {
        self.c.state.ymm[n as usize & 15][half as usize & 1] = v
    }

    #[inline(always)]
    fn load_x(&mut self, seg: SegReg, at: u64, aligned: bool) -> Result<u128, Raised> {
        let la = self.vector_at(seg, at, 16, aligned, Access::Read)?;
        self.load_16(la)
    }
    #[inline(always)]
    fn store_x(&mut self, seg: SegReg, at: u64, v: u128, aligned: bool) -> Result<(), Raised> {
        let la = self.vector_at(seg, at, 16, aligned, Access::Write)?;
        if self.c.tlb.write_128(self.c.mode.data_set(), la, v) {
            return Ok(());
        }
        self.probe(la, 16, Access::Write)?;
        self.store_16(la, v)
    }
    #[inline(always)]
    fn load_y(&mut self, seg: SegReg, at: u64, aligned: bool) -> Result<[u128; 2], Raised> {
        let la = self.vector_at(seg, at, 32, aligned, Access::Read)?;
        Ok([self.load_16(la)?, self.load_16(self.further(la, 16))?])
    }
    #[inline(always)]
    fn store_y(&mut self, seg: SegReg, at: u64, v: [u128; 2], aligned: bool) -> Result<(), Raised> {
        let la = self.vector_at(seg, at, 32, aligned, Access::Write)?;
        self.probe(la, 32, Access::Write)?;
        self.store_16(la, v[0])?;
        self.store_16(self.further(la, 16), v[1])
    }

    #[inline(always)]
    fn imm_x(&mut self, v: u128) -> u128 {
        v
    }
    #[inline(always)]
    fn x1(&mut self, op: X1, a: u128) -> u128 {
        op.eval(a)
    }
    #[inline(always)]
    fn x2(&mut self, op: X2, a: u128, b: u128) -> u128 {
        op.eval(a, b)
    }
    #[inline(always)]
    fn x3(&mut self, op: X3, a: u128, b: u128, c: u128) -> u128 {
        op.eval(a, b, c)
    }
    #[inline(always)]
    fn shuffle(&mut self, a: u128, b: u128, from: [u8; 16]) -> u128 {
        lanes::shuffle(a, b, from)
    }
    #[inline(always)]
    fn shift_x(&mut self, op: Shift, lane: Lane, a: u128, count: u64) -> u128 {
        lanes::shift(op, lane, a, count)
    }

    #[inline(always)]
    fn extract(&mut self, lane: Lane, n: u8, a: u128) -> u64 {
        (a >> (n as u32 * lane.bits() & 127)) as u64 & lane.width().mask()
    }
    #[inline(always)]
    fn insert(&mut self, lane: Lane, n: u8, a: u128, v: u64) -> u128 {
        lanes::insert(lane, n, a, v)
    }
    #[inline(always)]
    fn splat(&mut self, lane: Lane, v: u64) -> u128 {
        lanes::splat(lane, v)
    }
    #[inline(always)]
    fn movemask(&mut self, lane: Lane, a: u128) -> u64 {
        lanes::movemask(lane, a)
    }
    #[inline(always)]
    fn any(&mut self, a: u128) -> u64 {
        (a != 0) as u64
    }

    #[inline]
    fn f1(&mut self, op: F1, fmt: Fmt, form: Form, a: [u128; 2]) -> Result<[u128; 2], Raised> {
        let r = float::f1(op, fmt, form, a, self.c.state.mxcsr);
        self.settle(r)
    }
    #[inline]
    fn f2(
        &mut self,
        op: F2,
        fmt: Fmt,
        form: Form,
        a: [u128; 2],
        b: [u128; 2],
    ) -> Result<[u128; 2], Raised> {
        let r = float::f2(op, fmt, form, a, b, self.c.state.mxcsr);
        self.settle(r)
    }
    #[inline]
    fn f3(
        &mut self,
        op: F3,
        fmt: Fmt,
        form: Form,
        a: [u128; 2],
        b: [u128; 2],
        c: [u128; 2],
    ) -> Result<[u128; 2], Raised> {
        let r = float::f3(op, fmt, form, a, b, c, self.c.state.mxcsr);
        self.settle(r)
    }
    #[inline]
    fn convert(&mut self, op: Conv, form: Form, a: [u128; 2]) -> Result<[u128; 2], Raised> {
        let r = float::convert(op, form, a, self.c.state.mxcsr);
        self.settle(r)
    }
    #[inline]
    fn fcomi(&mut self, fmt: Fmt, quiet: bool, a: u128, b: u128) -> Result<u64, Raised> {
        let r = float::fcomi(fmt, quiet, a, b, self.c.state.mxcsr);
        self.settle(r)
    }
    #[inline]
    fn to_int(&mut self, fmt: Fmt, w: Width, trunc: bool, a: u128) -> Result<u64, Raised> {
        let r = float::to_int(fmt, w, trunc, a, self.c.state.mxcsr);
        self.settle(r)
    }
    #[inline]
    fn from_int(&mut self, fmt: Fmt, w: Width, v: u64) -> Result<u128, Raised> {
        let r = float::from_int(fmt, w, v, self.c.state.mxcsr);
        self.settle(r)
    }

    #[inline]
    fn crc32c(&mut self, w: Width, crc: u64, data: u64) -> u64 {
        lanes::crc32c(w, crc, data)
    }

    #[inline(always)]
    fn mmx_check(&mut self) -> Res<Self> {
        // ES, the summary of unmasked x87 exceptions.
        if self.c.state.fpu.sw & 0x80 != 0 { self.raise(Exception::MF) } else { Ok(()) }
    }
    #[inline(always)]
    fn mmx_enter(&mut self) {
        self.c.state.fpu.top = 0;
        self.c.state.fpu.empty = 0;
    }
    #[inline(always)]
    fn mmx_top(&mut self) {
        self.c.state.fpu.top = 0;
    }
    #[inline(always)]
    fn get_mm(&mut self, n: u8) -> u64 {
        self.c.state.fpu.sig[n as usize & 7]
    }
    #[inline(always)]
    fn set_mm(&mut self, n: u8, v: u64) {
        self.c.state.fpu.sig[n as usize & 7] = v;
        self.c.state.fpu.sexp[n as usize & 7] = 0xffff;
    }
}
