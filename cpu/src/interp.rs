//! The interpreter: the words answered with numbers.

use crate::sem::{Big, cond_of_flags};
use crate::{
    Bus, Cond, Core, Exception, Flag, FlagKind, Insn, Mode, Op1, Op2, Raised, Res, SegReg, Sem,
    Var, Width, flags,
};

/// A core at work: its state, and the machine around it.
pub struct Interp<'a> {
    pub c: &'a mut Core,
    pub bus: &'a mut dyn Bus,
}

impl Interp<'_> {
    /// Notes an exception. The caller passes the [`Raised`] on.
    #[cold]
    pub fn raise<T>(&mut self, e: Exception) -> Result<T, Raised> {
        self.c.fault = e;
        Err(Raised)
    }
    /// After a call that may have reached a device.
    #[inline]
    pub fn after_bus(&mut self) {
        if self.bus.attention() {
            self.c.stop = true;
        }
    }
    pub fn mode(&self) -> Mode {
        self.c.mode
    }
}

impl Sem for Interp<'_> {
    type V = u64;
    type Fault = Raised;
    const LEAVES: bool = false;

    #[inline(always)]
    fn imm(&mut self, x: u64) -> u64 {
        x
    }
    #[inline(always)]
    fn op1(&mut self, op: Op1, w: Width, a: u64) -> u64 {
        op.eval(w, a)
    }
    #[inline(always)]
    fn op2(&mut self, op: Op2, w: Width, a: u64, b: u64) -> u64 {
        op.eval(w, a, b)
    }
    #[inline(always)]
    fn pick(&mut self, c: u64, yes: u64, no: u64) -> u64 {
        if c != 0 { yes } else { no }
    }
    #[inline]
    fn divide(
        &mut self,
        sign: bool,
        w: Width,
        hi: u64,
        lo: u64,
        d: u64,
    ) -> Result<(u64, u64), Raised> {
        let n = (hi as u128) << w.bits() | lo as u128;
        let (m, bits) = (w.mask(), w.bits());
        if d & m == 0 {
            return self.raise(Exception::DE);
        }
        if !sign {
            let (q, r) = (n / (d & m) as u128, n % (d & m) as u128);
            return if q > m as u128 {
                self.raise(Exception::DE)
            } else {
                Ok((q as u64, r as u64))
            };
        }
        let n = (n << (128 - 2 * bits)) as i128 >> (128 - 2 * bits);
        let d = crate::sem::signed(w, d) as i128;
        let (Some(q), Some(r)) = (n.checked_div(d), n.checked_rem(d)) else {
            return self.raise(Exception::DE);
        };
        let half = 1i128 << (bits - 1);
        if q < -half || q >= half {
            return self.raise(Exception::DE);
        }
        Ok((q as u64 & m, r as u64 & m))
    }

    #[inline(always)]
    fn get(&mut self, r: Var) -> u64 {
        match r {
            Var::Gpr(n) => self.c.state.gpr[n as usize & 15],
            Var::Rip => self.c.state.rip,
            Var::System => self.c.state.rflags,
            Var::SegBase(s) => self.c.state.seg[s as usize].base,
        }
    }
    #[inline(always)]
    fn set(&mut self, r: Var, v: u64) {
        match r {
            Var::Gpr(n) => self.c.state.gpr[n as usize & 15] = v,
            Var::System => self.c.state.rflags = v,
            Var::SegBase(s) => self.c.state.seg[s as usize].base = v,
            Var::Rip => {}
        }
    }

    #[inline(always)]
    fn flags(&mut self, kind: FlagKind, w: Width, a: u64, b: u64, r: u64) {
        self.c.state.lazy = flags::Lazy::new(kind, w, a, b, r);
    }
    #[inline]
    fn flag(&mut self, f: Flag) -> u64 {
        self.c.state.lazy.flag(f)
    }
    #[inline(always)]
    fn cond(&mut self, c: Cond) -> u64 {
        let l = &self.c.state.lazy;
        // The common ones without working out a flag: equality after anything, order after a comparison.
        if l.kind() != FlagKind::Raw {
            match c {
                Cond::E => return (l.result() == 0) as u64,
                Cond::Ne => return (l.result() != 0) as u64,
                _ => {}
            }
            if l.kind() == FlagKind::Sub {
                let w = l.width();
                match c {
                    Cond::B => return (l.a < l.b) as u64,
                    Cond::Ae => return (l.a >= l.b) as u64,
                    Cond::Be => return (l.a <= l.b) as u64,
                    Cond::A => return (l.a > l.b) as u64,
                    Cond::L => return Op2::Lts.eval(w, l.a, l.b),
                    Cond::Ge => return Op2::Lts.eval(w, l.a, l.b) ^ 1,
                    Cond::Le => return Op2::Lts.eval(w, l.b, l.a) ^ 1,
                    Cond::G => return Op2::Lts.eval(w, l.b, l.a),
                    _ => {}
                }
            }
        }
        cond_of_flags(self, c)
    }
    #[inline]
    fn status(&mut self) -> u64 {
        self.c.state.lazy.status()
    }
    #[inline(always)]
    fn set_status(&mut self, v: u64) {
        self.c.state.lazy = flags::Lazy::raw(v & flags::STATUS);
    }

    #[inline(always)]
    fn load(&mut self, seg: SegReg, w: Width, at: u64) -> Result<u64, Raised> {
        let la = self.linear(seg, at, w.bytes(), crate::Access::Read)?;
        self.load_linear(la, w)
    }
    #[inline(always)]
    fn store(&mut self, seg: SegReg, w: Width, at: u64, v: u64) -> Result<(), Raised> {
        let la = self.linear(seg, at, w.bytes(), crate::Access::Write)?;
        self.store_linear(la, w, v)
    }
    #[inline(always)]
    fn rmw(
        &mut self,
        seg: SegReg,
        w: Width,
        at: u64,
        _lock: bool,
        f: impl FnOnce(&mut Self, u64) -> Result<u64, Raised>,
    ) -> Result<(), Raised> {
        let la = self.linear(seg, at, w.bytes(), crate::Access::Write)?;
        let old = self.load_for_write(la, w)?;
        let new = f(self, old)?;
        self.store_linear(la, w, new)
    }

    #[inline(always)]
    fn fault_if(&mut self, c: u64, e: Exception) -> Result<(), Raised> {
        if c != 0 { self.raise(e) } else { Ok(()) }
    }
    #[inline(always)]
    fn rare(&mut self, _c: u64) -> Result<(), Raised> {
        Ok(())
    }
    #[inline(always)]
    fn when(&mut self, c: u64, body: impl FnOnce(&mut Self) -> Res<Self>) -> Res<Self> {
        if c != 0 { body(self) } else { Ok(()) }
    }

    #[inline(always)]
    fn target(&mut self, w: Width, to: u64) -> Result<u64, Raised> {
        let to = to & w.mask();
        if self.c.mode.long64() {
            let n = if self.c.mode.has(Mode::LA57) { 7 } else { 16 };
            if ((to << n) as i64 >> n) as u64 != to {
                return self.raise(Exception::GP0);
            }
        } else if to > self.c.state.seg[1].limit as u64 {
            return self.raise(Exception::GP0);
        }
        Ok(to)
    }
    #[inline(always)]
    fn jump(&mut self, to: u64) {
        self.c.state.rip = to;
    }
    #[inline(always)]
    fn jump_rel(&mut self, w: Width, rel: i64) -> Result<(), Raised> {
        let to = self.target(w, self.c.state.rip.wrapping_add(rel as u64))?;
        self.c.state.rip = to;
        Ok(())
    }
    #[inline(always)]
    fn branch(&mut self, c: u64, w: Width, rel: i64) -> Result<(), Raised> {
        if c != 0 { self.jump_rel(w, rel) } else { Ok(()) }
    }

    #[inline(always)]
    fn big(&mut self, f: Big, i: &Insn) -> Result<(), Raised> {
        f(self, i)
    }
}
