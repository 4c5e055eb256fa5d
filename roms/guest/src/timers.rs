//! The 8254 and the local APIC's timer.

use crate::interrupts::{APIC_TIMER, apic_write};
use crate::port::write8;

/// Channel 0 about 1,000 times a second (mode 2, divisor 1193).
pub fn start_pit() {
    write8(0x43, 0x34);
    write8(0x40, 0xA9);
    write8(0x40, 0x04);
}

/// Divided by 16, again and again.
pub fn start_apic(count: u32) {
    apic_write(0x3E0, 0x3);
    apic_write(0x320, 1 << 17 | APIC_TIMER as u32);
    apic_write(0x380, count);
}

pub fn stop_apic() {
    apic_write(0x320, 1 << 16);
    apic_write(0x380, 0);
}
