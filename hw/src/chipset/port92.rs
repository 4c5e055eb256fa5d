//! Port 92h: the fast A20 gate and the fast reset.  PIIX3 data sheet, "Port 92"; IBM PS/2 technical reference.

use device::*;

state! {
    /// Everything the guest can see.
    pub struct State { 1 value: u8 = 0 }
}

/// Bank 0 is the one port. The gate has other users, and its state is the board's: it hears of changes.
#[derive(Default)]
pub struct Port92 {
    s: State,
}

impl Port92 {
    pub fn new() -> Self {
        Self::default()
    }
}

impl Device for Port92 {
    fn name(&self) -> &'static str {
        "port92"
    }
    fn read(&mut self, _: Reg, w: Width, _: &mut dyn Cx) -> u64 {
        w.mask() & !0xFF | u64::from(self.s.value)
    }
    fn write(&mut self, at: Reg, _: Width, value: u64, cx: &mut dyn Cx) {
        if at.at != 0 {
            return;
        }
        let changed = value as u8 ^ self.s.value;
        self.s.value = value as u8;
        if changed & 2 != 0 {
            cx.ask(Request::A20(value & 2 != 0));
        }
        // Only the rise of bit 0 resets.
        if changed & value as u8 & 1 != 0 {
            cx.ask(Request::Reset);
        }
    }
    fn reset(&mut self) {
        self.s = State::default();
    }
    saved!();
    fn describe(&self) -> String {
        format!("value {:#04x}\n", self.s.value)
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use Width::*;

    #[test]
    fn it_opens_a20_and_resets() {
        let (mut d, mut b) = (Port92::new(), Bench::default());
        d.write(Reg { bank: 0, at: 0 }, W8, 2, &mut b);
        d.write(Reg { bank: 0, at: 0 }, W8, 2, &mut b);
        assert_eq!(d.read(Reg { bank: 0, at: 0 }, W8, &mut b), 2);
        d.write(Reg { bank: 0, at: 0 }, W8, 3, &mut b);
        d.write(Reg { bank: 0, at: 0 }, W8, 3, &mut b);
        d.write(Reg { bank: 0, at: 0 }, W8, 0, &mut b);
        assert_eq!(b.asked, [Request::A20(true), Request::Reset, Request::A20(false)]);
    }
}
