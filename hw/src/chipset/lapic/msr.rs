//! Model specific registers: IA32_APIC_BASE, IA32_TSC_DEADLINE and the x2APIC range.  SDM 3A, 11.4.4 and 11.12.

use super::regs::*;
use super::*;

/// IA32_APIC_BASE.
pub const APIC_BASE: u32 = 0x1B;
/// IA32_TSC_DEADLINE.
pub const TSC_DEADLINE: u32 = 0x6E0;

/// The instruction ends in #GP(0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GpFault;

impl Lapic {
    /// RDMSR of 0x1B, 0x6E0 or 0x800..0x900.
    pub fn msr_read(&mut self, n: u32, cx: &mut dyn Cx) -> Result<u64, GpFault> {
        match n {
            APIC_BASE => Ok(self.s.base.0),
            TSC_DEADLINE => {
                self.advance(cx);
                Ok(if self.deadline_mode() { self.s.deadline } else { 0 })
            }
            _ => {
                let reg = self.x2apic_reg(n)?;
                match reg {
                    ICR => Ok(self.s.icr),
                    _ if readable(reg) => Ok(self.read_reg(reg, cx).into()),
                    _ => Err(GpFault),
                }
            }
        }
    }

    /// WRMSR of 0x1B, 0x6E0 or 0x800..0x900.
    pub fn msr_write(&mut self, n: u32, value: u64, cx: &mut dyn Cx) -> Result<(), GpFault> {
        match n {
            APIC_BASE => return self.set_base(Base(value), cx),
            TSC_DEADLINE => {
                self.advance(cx);
                self.set_deadline(value, cx);
                return Ok(());
            }
            _ => {}
        }
        let reg = self.x2apic_reg(n)?;
        if reg == SELF_IPI {
            if value > 0xFF {
                return Err(GpFault);
            }
            self.send(Target::Oneself, Delivery::Fixed, value as u8, cx);
            return Ok(());
        }
        // The interrupt command register alone has 64 bits; its delivery status is ignored, not reserved.
        let high = if reg == ICR { u64::MAX << 32 } else { 0 };
        let legal = u64::from(writable(reg).ok_or(GpFault)?) | high;
        if value & !legal != 0 {
            return Err(GpFault);
        }
        if reg == ICR {
            self.s.icr = value;
        }
        self.write_reg(reg, value as u32, cx);
        Ok(())
    }

    fn x2apic_reg(&self, n: u32) -> Result<u8, GpFault> {
        let reg = n.checked_sub(0x800).and_then(|n| u8::try_from(n).ok());
        reg.filter(|_| self.is_x2apic()).ok_or(GpFault)
    }

    /// Which changes of mode are legal: SDM 3A, 11.12.5.
    fn set_base(&mut self, new: Base, cx: &mut dyn Cx) -> Result<(), GpFault> {
        let x2apic = if self.config.x2apic { 1 << 10 } else { 0 };
        let address = (1u64 << self.config.phys_bits.clamp(13, 52)) - 0x1000;
        if new.0 & !(address | 0x900 | x2apic) != 0 {
            return Err(GpFault);
        }
        let old = self.s.base;
        let illegal = matches!(
            ((old.enabled(), old.x2apic()), (new.enabled(), new.x2apic())),
            (_, (false, true)) | ((true, true), (true, false)) | ((false, _), (true, true))
        );
        if illegal {
            return Err(GpFault);
        }
        self.advance(cx);
        self.s.base = new;
        match ((old.enabled(), old.x2apic()), (new.enabled(), new.x2apic())) {
            // A disabled APIC forgets all; CR8 stays what it was.
            ((true, _), (false, _)) => {
                let State { tpr, lint, .. } = self.s;
                let id = self.config.id as u8;
                self.s = State { base: new, id, tpr, lint, ..State::default() };
            }
            // The destination half of the command register has another format.
            ((true, false), (true, true)) => self.s.icr &= 0xFFFF_FFFF,
            _ => {}
        }
        self.settle(cx);
        Ok(())
    }
}
