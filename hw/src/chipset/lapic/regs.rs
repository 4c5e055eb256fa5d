//! The registers, by number: `offset / 16` in xAPIC mode, `MSR - 0x800` in x2APIC mode.  SDM 3A, tables 11-1 and 11-6.

use super::*;

pub(super) const ID: u8 = 0x02;
pub(super) const TPR: u8 = 0x08;
pub(super) const EOI: u8 = 0x0B;
pub(super) const LDR: u8 = 0x0D;
pub(super) const DFR: u8 = 0x0E;
pub(super) const ESR: u8 = 0x28;
pub(super) const ICR: u8 = 0x30;
pub(super) const ICR_HIGH: u8 = 0x31;
pub(super) const SELF_IPI: u8 = 0x3F;

/// The place in the local vector table of a register.
fn lvt(reg: u8) -> Option<usize> {
    (0x32..=0x37).contains(&reg).then(|| reg as usize - 0x32)
}

/// The bits that software may write, or `None` where it may not write at all.
pub(super) fn writable(reg: u8) -> Option<u32> {
    Some(match reg {
        TPR => 0xFF,
        EOI | ESR => 0,
        0x0F => 0x3FF,
        ICR => 0x000C_DFFF,
        0x32 => 0x0007_10FF,
        0x33 | 0x34 => 0x0001_17FF,
        0x35 | 0x36 => 0x0001_F7FF,
        0x37 => 0x0001_10FF,
        0x38 => u32::MAX,
        0x3E => 0xB,
        _ => return None,
    })
}

/// Whether there is such a register to read in both modes.
pub(super) fn readable(reg: u8) -> bool {
    matches!(reg, ID | 0x03 | TPR | 0x0A | LDR | 0x0F..=0x28 | ICR | 0x32..=0x39 | 0x3E)
}

impl Lapic {
    /// The low 32 bits of a register.
    pub(super) fn read_reg(&mut self, reg: u8, cx: &mut dyn Cx) -> u32 {
        self.advance(cx);
        match reg {
            ID if self.is_x2apic() => self.config.id,
            ID => u32::from(self.s.id) << 24,
            0x03 => VERSION,
            TPR => self.s.tpr.into(),
            0x09 => self.apr().into(),
            0x0A => self.ppr().into(),
            // Remote read: nobody answers one.
            0x0C | EOI => 0,
            LDR if self.is_x2apic() => self.x2apic_ldr(),
            LDR => u32::from(self.s.ldr) << 24,
            DFR => self.s.dfr,
            0x0F => self.s.svr.0,
            0x10..=0x17 => self.s.isr[reg as usize & 7],
            0x18..=0x1F => self.s.tmr[reg as usize & 7],
            0x20..=0x27 => self.s.irr[reg as usize & 7],
            ESR => self.s.esr,
            ICR => self.s.icr as u32,
            ICR_HIGH => (self.s.icr >> 32) as u32,
            0x32..=0x37 => self.s.lvt[reg as usize - 0x32].0,
            0x38 => self.s.initial,
            0x39 => self.current(cx.now()),
            0x3E => self.s.divide,
            _ => {
                self.error(BAD_REGISTER, cx);
                0
            }
        }
    }

    /// Writes a register; reserved bits are ignored.
    pub(super) fn write_reg(&mut self, reg: u8, value: u32, cx: &mut dyn Cx) {
        self.advance(cx);
        let value = value & writable(reg).unwrap_or(u32::MAX);
        match reg {
            ID => self.s.id = (value >> 24) as u8,
            TPR => self.set_tpr(value as u8, cx),
            EOI => self.eoi(cx),
            LDR => self.s.ldr = (value >> 24) as u8,
            DFR => self.s.dfr = value | 0x0FFF_FFFF,
            0x0F => {
                self.s.svr = Svr(value);
                if !self.s.svr.enabled() {
                    self.s.lvt = self.s.lvt.map(|l| l.with_masked(true));
                }
                self.tell(cx);
                self.arm(cx);
            }
            ESR => self.s.esr = std::mem::take(&mut self.s.errors),
            ICR => {
                self.s.icr = self.s.icr & !0xFFFF_FFFF | u64::from(value & !0x1000);
                self.command(cx);
            }
            ICR_HIGH => self.s.icr = self.s.icr & 0xFFFF_FFFF | u64::from(value) << 32,
            0x38 => self.set_initial(value, cx),
            0x3E => self.set_divide(value, cx),
            // Read-only.
            0x03 | 0x09 | 0x0A | 0x0C | 0x10..=0x27 | 0x39 => {}
            _ => match lvt(reg) {
                Some(n) => self.set_lvt(n, value, cx),
                None => self.error(BAD_REGISTER, cx),
            },
        }
    }

    fn set_lvt(&mut self, n: usize, value: u32, cx: &mut dyn Cx) {
        // Delivery status and remote IRR belong to the APIC.
        let old = self.s.lvt[n];
        let masked = !self.s.svr.enabled();
        let lvt = Lvt(value & !0x5000 | old.0 & 0x4000);
        let lvt = if masked { lvt.with_masked(true) } else { lvt };
        let level = lvt.level() && lvt.mode() == 0;
        self.s.lvt[n] = lvt.with_remote_irr(lvt.remote_irr() && level);
        match n {
            0 => self.mode_changed(old, cx),
            // A level that waited behind the mask.
            3 | 4 if level && self.s.lint[n - 3] => {
                self.local(if n == 3 { Local::Lint0 } else { Local::Lint1 }, cx)
            }
            _ => {}
        }
        self.tell(cx);
    }
}
